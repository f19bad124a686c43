//! The CPU backend: what runs where there is no GPU, and, as [`CpuBackend::exact`], the
//! reference for every kernel.
//!
//! Activations are plain `f32` rows in buffers that are allocated once. One file per
//! concern: [`kernels`] the products and [`pack`] the weights laid out for them, [`pool`]
//! the threads that share them, [`compute`] what the ops compute with, [`dot`] the
//! reductions, [`math`] exponentials and angles, [`weights`] and their projection, [`ops`]
//! embed, norms and projections, [`rope`], [`attention`], [`cache`].
//!
//! # What is rounded
//! Weights never: they keep the file's numbers to the bit. Where they are floats,
//! activations are not either. Where they are blocks (Q8_0, Q4_0, Q4_1, Q4_K, Q6_K), a
//! projection takes its activations as sixteen-bit integers with a scale for each 32
//! columns, so that an activation is off by at most 1/65534 of the largest of the 32:
//! on the models under `tests/goldens` that moves a logit by less than the 1e-4 within which
//! they are held to transformers. Products within a block are then integers, whose sum
//! is exact. [`CpuBackend::exact`], and every other type, dequantises a row at a time
//! and rounds no activation.
//!
//! # What a result depends on
//! On the row and those before it; never on which rows run beside it, on how many
//! threads there are, or on whether vectors are 128 or 256 bits wide or absent. Every
//! function that a platform might round in its own way is this crate's own ([`math`]), so
//! a browser computes the bits that this machine does.
//!
//! candle-core is this crate's CPU library where it is the right tool: its quantisers
//! make blocks of a float checkpoint while it is read (`format::quant`). Its tensors
//! are not used for the pass itself: its matrix product takes other paths for one row
//! and for many, so a row's result would depend on what runs beside it and
//! speculation would change the text; its tensors are immutable, so a cache is copied
//! to be appended to; and its quantised products round activations to eight bits,
//! which costs hundreds of times what sixteen do.

mod attention;
mod cache;
mod compute;
mod dot;
mod kernels;
mod math;
mod ops;
mod pack;
mod pool;
mod rope;
#[cfg(test)]
mod testing;
mod visible;
mod weights;

use attention::Scores;
use cache::Caches;
use compute::Compute;
use ops::Workspace;
pub use pool::{Job, Pool, Spawn, abandon_work};
use rope::{QkNorms, Turns};
use visible::Visible;
use weights::Weight;

use super::plan::{BufferId, Linear, Op, Plan, Rope};
use super::{Backend, CacheId, CompileOptions, Executor, LogitRows, Rows};
use crate::error::{Code, Error, Result};
use crate::format::{LocalFuture, TensorTable};

/// Prompt chunk for which the memory estimate has room.
const ESTIMATED_ROWS: u64 = 128;

/// The processor.
#[derive(Debug, Clone, Copy)]
pub struct CpuBackend {
    /// Threads that an executor computes on, the caller's included; 0 counts as 1.
    /// Those that cannot be had are done without. They change how long a pass takes and
    /// nothing else.
    pub threads: usize,
    /// Where threads come from. WebAssembly starts none: there a page hands them over.
    pub spawn: Spawn,
    /// Rounds no activation, on one thread and several times slower: the reference.
    pub exact: bool,
}

impl Default for CpuBackend {
    /// As many threads as the machine runs at once; one where that is not known, as in
    /// a browser.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            spawn: Spawn::SYSTEM,
            exact: false,
        }
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        "cpu"
    }

    fn compile<'a>(
        &'a self,
        plan: &'a Plan,
        tensors: &'a TensorTable,
        options: &'a CompileOptions,
    ) -> LocalFuture<'a, Result<Box<dyn Executor>>> {
        Box::pin(async move {
            let executor = CpuExecutor::load(*self, plan, tensors, options).await?;
            Ok(Box::new(executor) as Box<dyn Executor>)
        })
    }
}

/// A plan with its weights in memory.
pub struct CpuExecutor {
    plan: Plan,
    workspace: Workspace,
    /// The plan's different ropes, and the cosines and sines of the pass at hand.
    ropes: Vec<(Rope, Turns)>,
    /// Of each op of the plan, which of `ropes` it turns by.
    rope_of_op: Vec<Option<usize>>,
    caches: Caches,
    /// The plan's buffers, `[R, width]` each, for the most rows seen so far.
    arena: Vec<Vec<f32>>,
    visible: Visible,
}

impl CpuExecutor {
    async fn load(
        backend: CpuBackend,
        plan: &Plan,
        tensors: &TensorTable,
        options: &CompileOptions,
    ) -> Result<Self> {
        let caches = Caches::new(&plan.cache, options.capacity_tokens);
        let to_pack = match backend.exact {
            true => vec![false; plan.weights.len()],
            false => projections(plan),
        };
        check_budget(plan, tensors, &caches, &to_pack, options)?;
        let mut weights = Vec::with_capacity(plan.weights.len());
        for (spec, &pack) in plan.weights.iter().zip(&to_pack) {
            weights.push(Weight::read(spec, tensors, pack).await?);
        }
        let n_threads = if backend.exact { 1 } else { backend.threads };
        let mut ropes: Vec<(Rope, Turns)> = Vec::new();
        let rope_of_op = plan.ops.iter().map(|op| match op {
            Op::RopeAppend {
                rope: Some(rope), ..
            } => {
                let known = ropes.iter().position(|(other, _)| other == rope);
                Some(known.unwrap_or_else(|| {
                    ropes.push((rope.clone(), Turns::new(rope)));
                    ropes.len() - 1
                }))
            }
            _ => None,
        });
        let rope_of_op = rope_of_op.collect();
        Ok(Self {
            workspace: Workspace::new(weights, Compute::new(n_threads, backend.spawn)),
            ropes,
            rope_of_op,
            caches,
            arena: vec![Vec::new(); plan.buffers.len()],
            visible: Visible::new(),
            plan: plan.clone(),
        })
    }

    /// One pass; the rows' keys and values lie past the end of the cache, whose
    /// length the caller moves once the logits have proved sound.
    fn pass(&mut self, cache: CacheId, rows: &Rows, logits: LogitRows) -> Result<Vec<f32>> {
        let n_rows = rows.len();
        let base = self.caches.get(cache).len;
        self.visible.fill(rows, base);
        for (rope, turns) in &mut self.ropes {
            turns.fill(rope, &self.visible.positions);
        }
        let plan = &self.plan;
        let ws = &mut self.workspace;
        let arena = &mut self.arena;
        let width = |id: BufferId| plan.buffers[id.0].width;
        // A buffer that is written leaves the arena meanwhile, so that others can be read.
        let take = |arena: &mut Vec<Vec<f32>>, id: BufferId| {
            let mut buffer = std::mem::take(&mut arena[id.0]);
            buffer.resize(n_rows * width(id), 0.0);
            buffer
        };
        let layers = &mut self.caches.get_mut(cache).layers;
        let mut result = Vec::new();
        for (op, rope) in plan.ops.iter().zip(&self.rope_of_op) {
            match op {
                Op::Embed { table, scale, out } => {
                    let mut to = take(arena, *out);
                    ops::embed(ws.matrix(*table), *scale, &rows.tokens, &mut to);
                    arena[out.0] = to;
                }
                Op::NormLinear {
                    x,
                    norm,
                    parts,
                    out,
                } => {
                    let mut to = take(arena, *out);
                    ops::norm_linear(ws, &arena[x.0], *norm, parts, &mut to, width(*out));
                    arena[out.0] = to;
                }
                Op::RopeAppend {
                    qkv,
                    layer,
                    heads,
                    qk_norm,
                    ..
                } => {
                    let norms = qk_norm.map(|norm| QkNorms {
                        q: (ws.vector(norm.q.weight), norm.q.eps),
                        k: (ws.vector(norm.k.weight), norm.k.eps),
                        span: norm.span,
                    });
                    let rope = rope.map(|index| (&self.ropes[index].0, &self.ropes[index].1));
                    rope::rope_append(
                        &mut arena[qkv.0],
                        width(*qkv),
                        *heads,
                        norms.as_ref(),
                        rope,
                        &mut layers[*layer],
                        base,
                    );
                }
                Op::Attention {
                    qkv,
                    layer,
                    heads,
                    scale,
                    softcap,
                    window,
                    out,
                } => {
                    let mut to = take(arena, *out);
                    let how = Scores {
                        scale: *scale,
                        softcap: *softcap,
                        window: *window,
                    };
                    let input = attention::Input {
                        qkv: &arena[qkv.0],
                        width: width(*qkv),
                        heads: *heads,
                        how: &how,
                        visible: &self.visible,
                        cache: &layers[*layer],
                    };
                    attention::attention(&mut ws.compute, &input, &mut to, width(*out));
                    arena[out.0] = to;
                }
                Op::LinearAdd {
                    x,
                    linear,
                    scale,
                    residual,
                } => {
                    let mut to = take(arena, *residual);
                    ops::linear_add(ws, &arena[x.0], linear, *scale, &mut to);
                    arena[residual.0] = to;
                }
                Op::NormAdd {
                    x,
                    norm,
                    scale,
                    residual,
                } => {
                    let mut to = take(arena, *residual);
                    ops::norm_add(ws, &arena[x.0], *norm, *scale, &mut to);
                    arena[residual.0] = to;
                }
                Op::NormGateUp {
                    x,
                    norm,
                    gate,
                    up,
                    activation,
                    out,
                } => {
                    let mut to = take(arena, *out);
                    ops::norm_gate_up(ws, &arena[x.0], *norm, gate, up, *activation, &mut to);
                    arena[out.0] = to;
                }
                Op::Head {
                    x,
                    norm,
                    weight,
                    scale,
                    softcap,
                    ..
                } => {
                    let from = match logits {
                        LogitRows::None => continue,
                        LogitRows::Last => (n_rows - 1) * width(*x),
                        LogitRows::All => 0,
                    };
                    result = ops::head(ws, &arena[x.0][from..], *norm, weight, *scale, *softcap);
                }
            }
        }
        match result.iter().position(|logit| !logit.is_finite()) {
            None => Ok(result),
            Some(at) => {
                let detail = format!(
                    "row {} has a logit that is NaN or infinite, of token {}",
                    at / plan.n_vocab,
                    at % plan.n_vocab
                );
                Err(Error::new(Code::NotFinite, "logits", detail))
            }
        }
    }
}

impl Executor for CpuExecutor {
    fn new_cache(&mut self) -> Result<CacheId> {
        Ok(self.caches.create())
    }

    fn cache_len(&self, cache: CacheId) -> usize {
        self.caches.get(cache).len
    }

    fn capacity_tokens(&self) -> usize {
        self.caches.capacity()
    }

    fn n_threads(&self) -> usize {
        self.workspace.compute.pool.n_threads()
    }

    fn truncate(&mut self, cache: CacheId, len: usize) {
        self.caches.truncate(cache, len);
    }

    fn keep(&mut self, cache: CacheId, base: usize, path: &[u32]) -> Result<()> {
        self.caches.keep(cache, base, path)
    }

    fn fork(&mut self, cache: CacheId) -> Result<CacheId> {
        self.caches.fork(cache)
    }

    fn drop_cache(&mut self, cache: CacheId) {
        self.caches.remove(cache);
    }

    fn forward<'a>(
        &'a mut self,
        cache: CacheId,
        rows: &'a Rows,
        logits: LogitRows,
    ) -> LocalFuture<'a, Result<Vec<f32>>> {
        Box::pin(async move {
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let n_vocab = self.plan.n_vocab;
            if let Some(&token) = rows.tokens.iter().find(|&&token| token as usize >= n_vocab) {
                let detail = format!("outside a vocabulary of {n_vocab}");
                return Err(Error::new(Code::TokenUnknown, token.to_string(), detail));
            }
            rows.check_tree(self.caches.get(cache).len)?;
            self.caches.reserve(cache, rows.len())?;
            let logits = self.pass(cache, rows, logits)?;
            self.caches.get_mut(cache).len += rows.len();
            Ok(logits)
        })
    }
}

/// Of each weight of the plan, whether activations are multiplied with it; a table that
/// is only looked up in stays as it is.
fn projections(plan: &Plan) -> Vec<bool> {
    let mut is_projection = vec![false; plan.weights.len()];
    for op in &plan.ops {
        let linears: &[&Linear] = match op {
            Op::NormLinear { parts, .. } => &parts.iter().collect::<Vec<_>>(),
            Op::LinearAdd { linear, .. } => &[linear],
            Op::NormGateUp { gate, up, .. } => &[gate, up],
            Op::Head { weight, .. } => &[weight],
            Op::Embed { .. }
            | Op::RopeAppend { .. }
            | Op::Attention { .. }
            | Op::NormAdd { .. } => &[],
        };
        for linear in linears {
            is_projection[linear.weight.0] = true;
        }
    }
    is_projection
}

/// Weights, one full cache and scratch against the budget.
fn check_budget(
    plan: &Plan,
    tensors: &TensorTable,
    caches: &Caches,
    to_pack: &[bool],
    options: &CompileOptions,
) -> Result<()> {
    let Some(budget) = options.memory_budget_bytes else {
        return Ok(());
    };
    let weights: u64 = plan
        .weights
        .iter()
        .zip(to_pack)
        .filter_map(|(spec, &pack)| Some((tensors.get(&spec.source)?, pack)))
        .map(|(info, pack)| {
            let (n_rows, n_cols) = info.matrix();
            let packed = pack.then(|| pack::packed_bytes(info.dtype, n_rows, n_cols));
            if let Some(n_bytes) = packed.flatten() {
                return n_bytes as u64;
            }
            let row_bytes = info.dtype.row_bytes(n_cols).unwrap_or(0) as u64;
            (n_rows as u64).saturating_mul(row_bytes)
        })
        .fold(0, u64::saturating_add);
    let widths: u64 = plan.buffers.iter().map(|buffer| buffer.width as u64).sum();
    let scratch = widths * ESTIMATED_ROWS * size_of::<f32>() as u64;
    let cache = caches.full_bytes();
    if weights.saturating_add(cache).saturating_add(scratch) > budget {
        let detail = format!(
            "weights of {weights} bytes, a cache of {cache} and scratch of {scratch} \
             do not fit a budget of {budget}"
        );
        return Err(Error::new(Code::OutOfMemory, "memory budget", detail));
    }
    Ok(())
}
