//! Runs a compiled plan: state in, one compute pass, logits out.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::plan::{BufferId, Plan};
use super::super::{CacheId, CompileOptions, Counters, Draw, Executor, LogitRows, Rows};
use super::CacheType;
use super::compile::{Compiled, compile, kv_move, sample};
use super::device::Gpu;
use super::launch::{LOGITS_ROWS, Over};
use super::pipeline::Kernel;
use super::state::{MAX_ROWS, MAX_TREE_ROWS, Pass};
use crate::error::{Code, Error, Result};
use crate::format::{LocalFuture, TensorTable};

/// The kernels of a pass over so many rows, so many of whose logits are wanted.
type Program = Vec<(usize, Rc<Kernel>)>;

/// A plan on a device.
pub struct GpuExecutor {
    gpu: Rc<Gpu>,
    compiled: Compiled,
    programs: BTreeMap<(usize, usize), Rc<Program>>,
    kv_move: Rc<Kernel>,
    sample: Rc<Kernel>,
    /// Mapped to read logits.
    staging: wgpu::Buffer,
    caches: Vec<Option<Cache>>,
    capacity_tokens: usize,
    budget_bytes: u64,
    used_bytes: u64,
    n_vocab: usize,
    /// Kept between passes, so that a pass allocates nothing.
    words: Vec<u32>,
}

/// Keys and values of one sequence.
struct Cache {
    len: usize,
    /// Keys and values of each layer.
    layers: Vec<[wgpu::Buffer; 2]>,
    /// Each layer's bind group for writing and for reading.
    groups: Vec<[Option<wgpu::BindGroup>; 2]>,
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
        let staging_bytes = (plan.n_vocab * LOGITS_ROWS * 4) as u64;
        let make = || gpu.buffer("logits readback", staging_bytes, usage);
        let staging = gpu.guarded("logits readback", make).await?;
        let kv_move = gpu.kernel(&kv_move()).await?;
        let sample = gpu.kernel(&sample()).await?;
        let used_bytes = compiled.bytes + staging_bytes;
        Ok(Self {
            gpu,
            compiled,
            programs: BTreeMap::new(),
            kv_move,
            sample,
            staging,
            caches: Vec::new(),
            capacity_tokens,
            budget_bytes,
            used_bytes,
            n_vocab: plan.n_vocab,
            words: Vec::new(),
        })
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
    async fn program(&mut self, rows: usize, logits: usize) -> Result<Rc<Program>> {
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

    fn cache(&self, id: CacheId) -> &Cache {
        let found = self.caches.get(id.0 as usize).and_then(Option::as_ref);
        found.unwrap_or_else(|| panic!("{id:?} was dropped, or belongs to another executor"))
    }

    fn cache_mut(&mut self, id: CacheId) -> &mut Cache {
        let found = self.caches.get_mut(id.0 as usize).and_then(Option::as_mut);
        found.unwrap_or_else(|| panic!("{id:?} was dropped, or belongs to another executor"))
    }

    /// Bytes of one layer's keys, and again of its values.
    fn layer_bytes(&self, layer: usize) -> u64 {
        (self.compiled.cache_widths[layer] * 16 * self.capacity_tokens) as u64
    }

    fn cache_bytes(&self) -> u64 {
        (0..self.compiled.cache_widths.len())
            .map(|layer| 2 * self.layer_bytes(layer))
            .sum()
    }

    /// Runs one pass and copies what is wanted of it to the staging buffer: logits, or the
    /// tokens drawn from them. Gives its length.
    fn submit(&mut self, id: CacheId, pass: &Pass<'_>, program: &Program, draws: bool) -> u64 {
        pass.words(&mut self.words);
        let state = &self.compiled.state;
        self.gpu
            .queue
            .write_buffer(state, 0, bytemuck::cast_slice(&self.words));
        if let Some((at, paths)) = pass.paths() {
            self.gpu
                .queue
                .write_buffer(state, at, bytemuck::cast_slice(&paths));
        }

        let cache = self.cache(id);
        let tokens = pass.len + pass.first + pass.n;
        let mut bytes_moved = 0;
        let sample = self.compiled.sample.as_ref();
        let sample = sample.filter(|_| draws && pass.n_logits > 0);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut compute = encoder.begin_compute_pass(&Default::default());
            for (i, kernel) in program {
                let step = &self.compiled.steps[*i];
                compute.set_pipeline(&kernel.pipeline);
                compute.set_bind_group(0, &step.group, &[]);
                if let Some((layer, writes)) = step.cache {
                    let group = cache.groups[layer][usize::from(!writes)].as_ref();
                    compute.set_bind_group(1, group, &[]);
                }
                let rows = match step.over {
                    Over::Rows => pass.n,
                    Over::Logits => pass.n_logits,
                };
                let [x, y, z] = step.workgroups(rows, tokens);
                compute.dispatch_workgroups(x, y, z);
                bytes_moved += step.bytes_moved(rows, tokens);
            }
            if let Some(sample) = sample {
                compute.set_pipeline(&self.sample.pipeline);
                compute.set_bind_group(0, &sample.group, &[]);
                compute.dispatch_workgroups(1, pass.n_logits as u32, 1);
            }
        }
        let source = match (sample, self.compiled.logits) {
            (Some(sample), _) => Some((&sample.drawn, 4)),
            (None, Some(logits)) => Some((&self.compiled.buffers[logits], self.n_vocab * 4)),
            (None, None) => None,
        };
        let bytes = source.map_or(0, |(_, row_bytes)| (pass.n_logits * row_bytes) as u64);
        if let (Some((buffer, _)), 1..) = (source, bytes) {
            encoder.copy_buffer_to_buffer(buffer, 0, &self.staging, 0, bytes);
        }
        self.gpu.count(|c| {
            c.dispatches += program.len() as u64 + u64::from(sample.is_some());
            c.bytes_moved += bytes_moved;
        });
        self.gpu.submit(encoder);
        bytes
    }

    /// Runs rows in as many passes as they need and gives the words that come back: bits of
    /// logits, or tokens.
    async fn run(
        &mut self,
        id: CacheId,
        rows: &Rows,
        wanted: LogitRows,
        draw: Option<&Draw>,
    ) -> Result<Vec<u32>> {
        self.gpu.check()?;
        let len = self.cache(id).len;
        check_rows(rows, len, self.capacity_tokens, self.n_vocab)?;
        let wanted = match self.compiled.logits {
            Some(_) => wanted,
            None => LogitRows::None,
        };
        if let (Some(draw), Some(sample)) = (draw, &self.compiled.sample) {
            let words = draw_words(draw);
            let words = bytemuck::cast_slice(&words);
            self.gpu.queue.write_buffer(&sample.draw, 0, words);
        }
        // As many rows at a time as the logits have room for, where all are wanted.
        let (step, n_wanted) = match wanted {
            LogitRows::All => (LOGITS_ROWS, rows.len()),
            LogitRows::Last => (MAX_ROWS, 1),
            LogitRows::None => (MAX_ROWS, 0),
        };
        let row_words = if draw.is_some() { 1 } else { self.n_vocab };
        let mut words = Vec::with_capacity(n_wanted * row_words);
        for first in (0..rows.len()).step_by(step) {
            let n = (rows.len() - first).min(step);
            let last = first + n == rows.len();
            let (first_logits, n_logits) = match wanted {
                LogitRows::All => (0, n),
                LogitRows::Last if last => (n - 1, 1),
                LogitRows::Last | LogitRows::None => (0, 0),
            };
            let program = self.program(n, n_logits).await?;
            let pass = Pass {
                rows,
                first,
                n,
                len,
                first_logits,
                n_logits,
            };
            let bytes = self.submit(id, &pass, &program, draw.is_some());
            if bytes > 0 {
                let read = self.gpu.read(&self.staging, bytes).await?;
                words.extend(read.chunks_exact(4).map(word));
            }
        }
        self.gpu.check()?;
        self.cache_mut(id).len = len + rows.len();
        Ok(words)
    }

    async fn logits(&mut self, id: CacheId, rows: &Rows, wanted: LogitRows) -> Result<Vec<f32>> {
        let words = self.run(id, rows, wanted, None).await?;
        let logits: Vec<f32> = words.into_iter().map(f32::from_bits).collect();
        if let Some(at) = logits.iter().position(|v| v.is_nan()) {
            let (row, token) = (at / self.n_vocab, at % self.n_vocab);
            let detail = format!("row {row} has a NaN at token {token}");
            return Err(Error::new(Code::NotFinite, "logits", detail));
        }
        Ok(logits)
    }

    async fn draw(
        &mut self,
        id: CacheId,
        rows: &Rows,
        wanted: LogitRows,
        draw: &Draw,
    ) -> Result<Option<Vec<u32>>> {
        if self.compiled.sample.is_none() {
            return Ok(None);
        }
        let tokens = self.run(id, rows, wanted, Some(draw)).await?;
        if tokens.iter().any(|token| *token as usize >= self.n_vocab) {
            let detail = "no token could be drawn: the logits are not numbers";
            return Err(Error::new(Code::NotFinite, "logits", detail));
        }
        Ok(Some(tokens))
    }

    /// Rows of an activation buffer as the last pass left it, without padding: for tests,
    /// and to find where two backends part.
    ///
    /// # Errors
    /// `gpu_failed`, `gpu_lost`.
    pub async fn read_buffer(&self, id: BufferId, n_rows: usize, width: usize) -> Result<Vec<f32>> {
        let stride = self.compiled.strides[id.0];
        let bytes = (n_rows * stride * 4) as u64;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.gpu.buffer("inspection", bytes, usage);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.compiled.buffers[id.0], 0, &staging, 0, bytes);
        self.gpu.submit(encoder);
        let read = self.gpu.read(&staging, bytes).await?;
        let rows = read.chunks_exact(stride * 4);
        let numbers = rows.flat_map(|row| {
            let numbers = row.chunks_exact(4).take(width);
            numbers.map(|b| f32::from_bits(word(b)))
        });
        Ok(numbers.collect())
    }

    /// Sets rows of an activation buffer, `values.len() / width` of them: the other half
    /// of [`GpuExecutor::read_buffer`].
    pub fn write_buffer(&self, id: BufferId, values: &[f32], width: usize) {
        let stride = self.compiled.strides[id.0];
        let mut padded = vec![0.0f32; values.len() / width * stride];
        for (to, from) in padded
            .chunks_exact_mut(stride)
            .zip(values.chunks_exact(width))
        {
            to[..width].copy_from_slice(from);
        }
        let buffer = &self.compiled.buffers[id.0];
        self.gpu
            .queue
            .write_buffer(buffer, 0, bytemuck::cast_slice(&padded));
    }
}

/// What `sample.wgsl` reads of a request.
fn draw_words(draw: &Draw) -> [u32; 6] {
    let inverse = if draw.temperature > 0.0 {
        1.0 / draw.temperature
    } else {
        0.0
    };
    // Far below any score, and a number: a logarithm of nothing is not.
    let ln_min_p = if draw.min_p > 0.0 {
        draw.min_p.ln()
    } else {
        -1e30
    };
    [
        f32::to_bits(inverse),
        draw.top_p.to_bits(),
        ln_min_p.to_bits(),
        u32::try_from(draw.top_k).unwrap_or(u32::MAX),
        draw.seed as u32,
        (draw.seed >> 32) as u32,
    ]
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// What the kernels rely on.
fn check_rows(rows: &Rows, len: usize, capacity_tokens: usize, n_vocab: usize) -> Result<()> {
    let invalid = |detail: String| Err(Error::new(Code::RequestInvalid, "rows", detail));
    if rows.is_empty() {
        return invalid("there are none".into());
    }
    if len + rows.len() > capacity_tokens {
        let detail = format!(
            "{len} tokens and {} more, but there is room for {capacity_tokens}",
            rows.len()
        );
        return Err(Error::new(Code::ContextOverflow, "cache", detail));
    }
    if let Some(token) = rows.tokens.iter().find(|t| **t as usize >= n_vocab) {
        let detail = format!("the vocabulary has {n_vocab} tokens");
        return Err(Error::new(
            Code::TokenUnknown,
            format!("token {token}"),
            detail,
        ));
    }
    rows.check_tree(len)
}

impl Executor for GpuExecutor {
    fn new_cache(&mut self) -> Result<CacheId> {
        self.gpu.check()?;
        let bytes = self.cache_bytes();
        let limit = self.gpu.capabilities().max_binding_bytes;
        let n_layers = self.compiled.cache_widths.len();
        let largest = (0..n_layers)
            .map(|layer| self.layer_bytes(layer))
            .max()
            .unwrap_or(0);
        if self.used_bytes + bytes > self.budget_bytes || largest > limit {
            let detail = format!(
                "another {bytes} bytes, {largest} of them in one binding, do not fit: {} of {} \
                 bytes are in use and a binding holds {limit}",
                self.used_bytes, self.budget_bytes
            );
            return Err(Error::new(Code::OutOfMemory, "cache", detail));
        }
        let mut cache = Cache {
            len: 0,
            layers: Vec::new(),
            groups: Vec::new(),
        };
        for layer in 0..n_layers {
            let buffers = ["keys", "values"].map(|l| self.gpu.storage(l, self.layer_bytes(layer)));
            let mut groups = [None, None];
            for (group, layout) in groups.iter_mut().zip(&self.compiled.cache_layouts[layer]) {
                if let Some(layout) = layout {
                    let bound = [
                        ("k_cache", buffers[0].as_entire_buffer_binding()),
                        ("v_cache", buffers[1].as_entire_buffer_binding()),
                    ];
                    *group = Some(self.gpu.bind(layout, 1, &bound)?);
                }
            }
            cache.layers.push(buffers);
            cache.groups.push(groups);
        }
        self.gpu.check()?;
        self.used_bytes += bytes;
        let free = self.caches.iter().position(Option::is_none);
        let at = free.unwrap_or(self.caches.len());
        match free {
            Some(at) => self.caches[at] = Some(cache),
            None => self.caches.push(Some(cache)),
        }
        Ok(CacheId(u32::try_from(at).unwrap_or(u32::MAX)))
    }

    fn cache_len(&self, cache: CacheId) -> usize {
        self.cache(cache).len
    }

    fn capacity_tokens(&self) -> usize {
        self.capacity_tokens
    }

    fn truncate(&mut self, cache: CacheId, len: usize) {
        let cache = self.cache_mut(cache);
        cache.len = cache.len.min(len);
    }

    fn keep(&mut self, cache: CacheId, base: usize, path: &[u32]) -> Result<()> {
        let len = self.cache(cache).len;
        let ascends = path.windows(2).all(|pair| pair[0] < pair[1]);
        let there = path.last().is_none_or(|last| base + (*last as usize) < len);
        if !ascends || !there || base > len || path.len() > MAX_TREE_ROWS {
            let detail = format!("{path:?} after {base} of {len} tokens is not a path");
            return Err(Error::new(Code::RequestInvalid, "path", detail));
        }
        if path.iter().enumerate().any(|(i, row)| i != *row as usize) {
            let mut words = vec![base as u32, path.len() as u32];
            words.extend_from_slice(path);
            self.gpu
                .queue
                .write_buffer(&self.compiled.path, 0, bytemuck::cast_slice(&words));
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&self.kv_move.pipeline);
                let groups = &self.cache(cache).groups;
                for (layer, width) in self.compiled.cache_widths.iter().enumerate() {
                    if let Some(group) = &groups[layer][0] {
                        pass.set_bind_group(0, &self.compiled.move_groups[layer], &[]);
                        pass.set_bind_group(1, group, &[]);
                        pass.dispatch_workgroups(width.div_ceil(64) as u32, 1, 1);
                        self.gpu.count(|c| c.dispatches += 1);
                    }
                }
            }
            self.gpu.submit(encoder);
        }
        self.truncate(cache, base + path.len());
        self.gpu.check()
    }

    fn fork(&mut self, cache: CacheId) -> Result<CacheId> {
        let copy = self.new_cache()?;
        let (from, to) = (self.cache(cache), self.cache(copy));
        let len = from.len;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for (layer, width) in self.compiled.cache_widths.iter().enumerate() {
            let bytes = (width * 16 * len) as u64;
            for (from, to) in from.layers[layer].iter().zip(&to.layers[layer]) {
                if bytes > 0 {
                    encoder.copy_buffer_to_buffer(from, 0, to, 0, bytes);
                }
            }
        }
        self.gpu.submit(encoder);
        self.cache_mut(copy).len = len;
        self.gpu.check()?;
        Ok(copy)
    }

    fn drop_cache(&mut self, cache: CacheId) {
        let bytes = self.cache_bytes();
        if let Some(slot) = self.caches.get_mut(cache.0 as usize)
            && slot.take().is_some()
        {
            self.used_bytes -= bytes;
        }
    }

    fn forward<'a>(
        &'a mut self,
        cache: CacheId,
        rows: &'a Rows,
        logits: LogitRows,
    ) -> LocalFuture<'a, Result<Vec<f32>>> {
        Box::pin(self.logits(cache, rows, logits))
    }

    fn forward_draw<'a>(
        &'a mut self,
        cache: CacheId,
        rows: &'a Rows,
        wanted: LogitRows,
        draw: &'a Draw,
    ) -> LocalFuture<'a, Result<Option<Vec<u32>>>> {
        Box::pin(self.draw(cache, rows, wanted, draw))
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.gpu.counters())
    }
}
