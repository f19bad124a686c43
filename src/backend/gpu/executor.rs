//! Runs a compiled plan: state in, one compute pass, logits out.

use std::any::Any;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::plan::Plan;
use super::super::{
    CacheId, CompileOptions, Counters, Executor, LogitRows, Round, RoundResult, Rows,
};
use super::CacheType;
use super::cache::Cache;
use super::compile::{Compiled, compile, kv_move};
use super::device::Gpu;
use super::launch::{LOGITS_ROWS, Over};
use super::pass::{Program, check_rows};
use super::pipeline::Kernel;
use super::sampler::TOLD_BYTES;
use super::state::{DRAWN_WORDS, MAX_ROWS, Pass};
use crate::error::{Code, Error, Result};
use crate::format::{LocalFuture, TensorTable};

/// What an executor is compiled from. Weights stay where they came from.
struct Origin {
    cache_type: CacheType,
    plan: Plan,
    tensors: TensorTable,
    options: CompileOptions,
}

/// A plan on a device.
pub struct GpuExecutor {
    pub(super) gpu: Rc<Gpu>,
    /// What it was compiled from, to compile it again where a device was lost.
    origin: Origin,
    pub(super) compiled: Compiled,
    programs: BTreeMap<(usize, usize), Rc<Program>>,
    pub(super) kv_move: Rc<Kernel>,
    /// Mapped to read logits, or a round's outcome.
    pub(super) staging: wgpu::Buffer,
    pub(super) caches: Vec<Option<Cache>>,
    pub(super) capacity_tokens: usize,
    pub(super) budget_bytes: u64,
    pub(super) used_bytes: u64,
    pub(super) n_vocab: usize,
    /// Kept between passes, so that a pass allocates nothing.
    pub(super) words: Vec<u32>,
}

impl GpuExecutor {
    /// Compiles a plan; see [`super::Backend::compile`].
    pub(super) async fn compile(
        gpu: Rc<Gpu>,
        cache_type: CacheType,
        plan: &Plan,
        tensors: &TensorTable,
        options: &CompileOptions,
    ) -> Result<Self> {
        let budget_bytes = options.memory_budget_bytes.unwrap_or(u64::MAX);
        let capacity_tokens = options.capacity_tokens.max(1);
        let compiled = compile(
            &gpu,
            cache_type,
            plan,
            tensors,
            capacity_tokens,
            budget_bytes,
        )
        .await?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let outcome_bytes = DRAWN_WORDS as u64 * 4 + TOLD_BYTES;
        let staging_bytes = ((plan.n_vocab * LOGITS_ROWS * 4) as u64).max(outcome_bytes);
        let make = || gpu.buffer("logits readback", staging_bytes, usage);
        let staging = gpu.guarded("logits readback", make).await?;
        let kv_move = gpu.kernel(&kv_move()).await?;
        let used_bytes = compiled.bytes + staging_bytes;
        Ok(Self {
            gpu,
            origin: Origin {
                cache_type,
                plan: plan.clone(),
                tensors: tensors.clone(),
                options: options.clone(),
            },
            compiled,
            programs: BTreeMap::new(),
            kv_move,
            staging,
            caches: Vec::new(),
            capacity_tokens,
            budget_bytes,
            used_bytes,
            n_vocab: plan.n_vocab,
            words: Vec::new(),
        })
    }

    async fn compile_again(&mut self) -> Result<bool> {
        if !self.gpu.is_lost() {
            return Ok(false);
        }
        let gpu = self.gpu.successor().await?;
        let Origin {
            cache_type,
            plan,
            tensors,
            options,
        } = &self.origin;
        let mut next = Self::compile(gpu, *cache_type, plan, tensors, options).await?;
        // Ids are places in this list.
        for _ in &self.caches {
            next.make_cache()?;
        }
        for (id, slot) in (0..).zip(&self.caches) {
            if slot.is_none() {
                next.free_cache(CacheId(id));
            }
        }
        *self = next;
        Ok(true)
    }

    /// The device it runs on.
    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    /// Bytes on the device: weights, scratch and caches.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Compiles the kernels for these row counts now, so that the first pass over so
    /// many rows does not have to.
    ///
    /// # Errors
    /// `gpu_failed`, naming the kernel that the device refuses.
    pub async fn warm_up(&mut self, rows: &[usize]) -> Result<()> {
        for &n in rows {
            let n = n.clamp(1, MAX_ROWS);
            for logits in [0, 1, n.min(LOGITS_ROWS)] {
                self.program(n, logits).await?;
            }
        }
        Ok(())
    }

    /// The kernels of a pass; compiled if its row count is new.
    pub(super) async fn program(&mut self, rows: usize, logits: usize) -> Result<Rc<Program>> {
        if let Some(program) = self.programs.get(&(rows, logits)) {
            return Ok(program.clone());
        }
        let mut program = Vec::new();
        for (i, step) in self.compiled.steps.iter().enumerate() {
            let n = match step.over {
                Over::Rows => rows,
                Over::Logits => logits,
            };
            if n > 0 && step.rows.contains(&n) {
                program.push((i, self.gpu.kernel(&step.variant(n)).await?));
            }
        }
        let program = Rc::new(program);
        self.programs.insert((rows, logits), program.clone());
        Ok(program)
    }

    /// Runs rows in as many passes as they need and gives the logits asked for.
    async fn logits(&mut self, id: CacheId, rows: &Rows, wanted: LogitRows) -> Result<Vec<f32>> {
        self.gpu.check()?;
        let len = self.cache(id).len;
        check_rows(rows, len, self.capacity_tokens, self.n_vocab)?;
        let wanted = match self.compiled.logits {
            Some(_) => wanted,
            None => LogitRows::None,
        };
        // As many rows at a time as the logits have room for, where all are wanted.
        let (step, n_wanted) = match wanted {
            LogitRows::All => (LOGITS_ROWS, rows.len()),
            LogitRows::Last => (MAX_ROWS, 1),
            LogitRows::None => (MAX_ROWS, 0),
        };
        let mut logits: Vec<f32> = Vec::with_capacity(n_wanted * self.n_vocab);
        for first in (0..rows.len()).step_by(step) {
            let n = (rows.len() - first).min(step);
            let last = first + n == rows.len();
            let (first_logits, n_logits) = match wanted {
                LogitRows::All => (0, n),
                LogitRows::Last if last => (n - 1, 1),
                LogitRows::Last | LogitRows::None => (0, 0),
            };
            let pass = Pass {
                rows,
                first,
                n,
                len,
                first_logits,
                n_logits,
                drawing: None,
            };
            let bytes = self.submit(id, &pass).await?;
            if bytes > 0 {
                let read = self.gpu.read(&self.staging, bytes).await?;
                logits.extend(read.chunks_exact(4).map(|b| f32::from_bits(word(b))));
            }
        }
        self.gpu.check()?;
        self.cache_mut(id).len = len + rows.len();
        if let Some(at) = logits.iter().position(|v| v.is_nan()) {
            let (row, token) = (at / self.n_vocab, at % self.n_vocab);
            let detail = format!("row {row} has a NaN at token {token}");
            return Err(Error::new(Code::NotFinite, "logits", detail));
        }
        Ok(logits)
    }

    /// Runs one pass and copies the logits that are wanted of it to the staging buffer.
    /// Gives their length in bytes.
    async fn submit(&mut self, id: CacheId, pass: &Pass<'_>) -> Result<u64> {
        let program = self.program(pass.n, pass.n_logits).await?;
        self.write_states(std::slice::from_ref(pass));
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut compute = encoder.begin_compute_pass(&Default::default());
            self.replay(&mut compute, id, 0, pass, &program);
        }
        let bytes = (pass.n_logits * self.n_vocab * 4) as u64;
        if let (Some(logits), 1..) = (self.compiled.logits, bytes) {
            let logits = &self.compiled.buffers[logits];
            encoder.copy_buffer_to_buffer(logits, 0, &self.staging, 0, bytes);
        }
        self.gpu.submit(encoder);
        Ok(bytes)
    }
}

/// A word of what was read back.
pub fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

impl Executor for GpuExecutor {
    fn new_cache(&mut self) -> Result<CacheId> {
        self.make_cache()
    }

    fn cache_len(&self, cache: CacheId) -> usize {
        self.cache(cache).len
    }

    fn capacity_tokens(&self) -> usize {
        self.capacity_tokens
    }

    fn truncate(&mut self, cache: CacheId, len: usize) {
        self.cut_cache(cache, len);
    }

    fn keep(&mut self, cache: CacheId, base: usize, path: &[u32]) -> Result<()> {
        self.keep_path(cache, base, path)
    }

    fn fork(&mut self, cache: CacheId) -> Result<CacheId> {
        self.copy_cache(cache)
    }

    fn drop_cache(&mut self, cache: CacheId) {
        self.free_cache(cache);
    }

    fn forward<'a>(
        &'a mut self,
        cache: CacheId,
        rows: &'a Rows,
        logits: LogitRows,
    ) -> LocalFuture<'a, Result<Vec<f32>>> {
        Box::pin(self.logits(cache, rows, logits))
    }

    fn round<'a, 'g: 'a>(
        &'a mut self,
        cache: CacheId,
        round: Round<'g>,
    ) -> LocalFuture<'a, Result<Option<RoundResult>>> {
        Box::pin(self.run_round(cache, round))
    }

    fn settle(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(async move { self.gpu.drain().await })
    }

    fn revive(&mut self) -> LocalFuture<'_, Result<bool>> {
        Box::pin(self.compile_again())
    }

    fn as_any_mut(&mut self) -> Option<&mut dyn Any> {
        Some(self)
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.gpu.counters())
    }
}
