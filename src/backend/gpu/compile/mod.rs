//! A plan -> launches: every op's kernels, uniforms and bind groups, made once.

mod data;
mod ops;

use std::collections::HashMap;
use std::rc::Rc;

use super::super::plan::{Heads, Linear, Op, Plan, Rope, WeightId};
use super::CacheType;
use super::device::Gpu;
use super::launch::{LOGITS_ROWS, Step};
use super::params;
use super::pipeline::Layout;
use super::sampler::{self, Sampler};
use super::shader::Variant;
use super::state::{self, MAX_ROWS};
use super::weights::{BLOCK, Packed, Packing, Segment};
use crate::error::{Code, Error, Result};
use crate::format::TensorTable;
use data::{Arena, Place, whole};

/// Splits a cache is cut into at most.
const MAX_SPLITS: usize = 128;

/// What compiling a plan made.
pub struct Compiled {
    /// The launches, in order.
    pub steps: Vec<Step>,
    /// Activation buffers, by `BufferId`.
    pub buffers: Vec<wgpu::Buffer>,
    /// Elements from one row to the next in each.
    pub strides: Vec<usize>,
    /// The pass's state.
    pub state: wgpu::Buffer,
    /// How each layer's cache is bound: for writing, for reading.
    pub cache_layouts: Vec<[Option<Rc<Layout>>; 2]>,
    /// Vectors of four words a token and layer.
    pub cache_widths: Vec<usize>,
    /// Index of the buffer with the logits.
    pub logits: Option<usize>,
    /// How tokens are drawn from the logits, where there are any.
    pub sampler: Option<Sampler>,
    /// Where a tree's path is written for `kv_move`.
    pub path: wgpu::Buffer,
    /// `kv_move`'s bind group of each layer.
    pub move_groups: Vec<wgpu::BindGroup>,
    /// Bytes all of this takes on the device.
    pub bytes: u64,
}

/// Vectors of four words a cached head takes.
pub fn head_vectors(cache_type: CacheType, head_dim: usize) -> usize {
    head_dim.div_ceil(per_vector(cache_type))
}

fn per_vector(cache_type: CacheType) -> usize {
    match cache_type {
        CacheType::F16 => 8,
        CacheType::F32 => 4,
    }
}

/// Elements from one row of an activation buffer to the next: whole blocks, so that
/// matrices can be padded.
fn stride(width: usize) -> usize {
    width.next_multiple_of(BLOCK)
}

/// A kernel that reads or writes caches of heads of `head_dim`.
pub fn cached(variant: Variant, cache_type: CacheType, head_dim: usize) -> Variant {
    let per_vector = per_vector(cache_type);
    variant
        .with("HEAD_DIM", head_dim)
        .with("HEAD_VECTORS", head_vectors(cache_type, head_dim))
        .with("PER_VECTOR", per_vector)
        .with("WIDE", per_vector / 4)
        .flag("CACHE_F32", cache_type == CacheType::F32)
}

/// The variant that moves tokens inside a cache.
pub fn kv_move() -> Variant {
    Variant::new("kv_move", params::KvMove::WGSL)
}

/// Makes everything a plan needs on the device.
///
/// # Errors
/// What the tensors report; `config_invalid` for a head the kernels have no room for;
/// `out_of_memory` where it passes `budget_bytes`; `gpu_failed`.
pub async fn compile(
    gpu: &Gpu,
    cache_type: CacheType,
    plan: &Plan,
    tensors: &TensorTable,
    capacity_tokens: usize,
    budget_bytes: u64,
) -> Result<Compiled> {
    let builder = Builder::new(gpu, cache_type, plan, tensors, capacity_tokens);
    builder.check_budget(budget_bytes)?;
    builder.build().await
}
struct Builder<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan,
    tensors: &'a TensorTable,
    cache_type: CacheType,
    capacity_tokens: usize,
    /// Small buffers at aligned offsets of large ones: uniforms, and vectors.
    uniforms: Vec<Arena>,
    vectors: Vec<Arena>,
    /// Matrices that several ops use, such as a tied embedding.
    matrices: Vec<(Packed, Rc<Vec<Segment>>)>,
    known_vectors: HashMap<WeightId, Place>,
    known_angles: Vec<(Rope, Place)>,
    steps: Vec<Step>,
    bytes: u64,
}
/// What every step of a pass can bind.
struct Common {
    buffers: Vec<wgpu::Buffer>,
    strides: Vec<usize>,
    state: wgpu::Buffer,
    partial: wgpu::Buffer,
}

impl Common {
    /// The state of a pass: the dynamic offset says which.
    fn state(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: &self.state,
            offset: 0,
            size: wgpu::BufferSize::new(state::WORDS as u64 * 4),
        }
    }
}

impl<'a> Builder<'a> {
    fn new(
        gpu: &'a Gpu,
        cache_type: CacheType,
        plan: &'a Plan,
        tensors: &'a TensorTable,
        capacity_tokens: usize,
    ) -> Self {
        Self {
            gpu,
            plan,
            tensors,
            cache_type,
            capacity_tokens,
            uniforms: Vec::new(),
            vectors: Vec::new(),
            matrices: Vec::new(),
            known_vectors: HashMap::new(),
            known_angles: Vec::new(),
            steps: Vec::new(),
            bytes: 0,
        }
    }

    /// The matrices an op multiplies with.
    fn packed(&self, op: &Op) -> Result<Vec<Packed>> {
        let table;
        let (parts, packing): (Vec<&Linear>, _) = match op {
            Op::Embed { table: weight, .. } => {
                let n_rows = self.plan.weights[weight.0]
                    .shape
                    .first()
                    .copied()
                    .unwrap_or(0);
                table = Linear {
                    weight: *weight,
                    rows: 0..n_rows,
                    bias: None,
                    bias_offset: 0,
                };
                (vec![&table], Packing::Stacked)
            }
            Op::NormLinear { parts, .. } => (parts.iter().collect(), Packing::Stacked),
            Op::LinearAdd { linear, .. } => (vec![linear], Packing::Stacked),
            Op::Head { weight, .. } => (vec![weight], Packing::Stacked),
            Op::NormGateUp { gate, up, .. } => (vec![gate, up], Packing::Interleaved),
            Op::RopeAppend { .. } | Op::Attention { .. } | Op::NormAdd { .. } => return Ok(vec![]),
        };
        Packed::plan(self.plan, self.tensors, &parts, packing)
    }

    /// Refuses before anything is read what will not fit: weights, scratch and one cache.
    fn check_budget(&self, budget_bytes: u64) -> Result<()> {
        let mut seen: Vec<Packed> = Vec::new();
        let mut needed = self.scratch_bytes() + self.cache_bytes();
        for op in &self.plan.ops {
            for mut matrix in self.packed(op)? {
                matrix.first_out = 0;
                if !seen.contains(&matrix) {
                    needed += matrix.bytes(self.gpu.capabilities().max_binding_bytes)?;
                    seen.push(matrix);
                }
            }
        }
        if needed > budget_bytes {
            let detail = format!(
                "weights, cache and scratch take {needed} bytes, the budget is {budget_bytes}"
            );
            return Err(Error::new(Code::OutOfMemory, "memory_budget_bytes", detail));
        }
        Ok(())
    }

    fn cache_bytes(&self) -> u64 {
        let per_token: usize = self.cache_widths().iter().map(|width| width * 16 * 2).sum();
        per_token as u64 * self.capacity_tokens as u64
    }

    /// Vectors of four words a token takes in each layer, for keys and again for values.
    fn cache_widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.plan.cache.len()];
        for op in &self.plan.ops {
            if let Op::RopeAppend { layer, heads, .. } | Op::Attention { layer, heads, .. } = op {
                widths[*layer] = heads.n_kv_heads * head_vectors(self.cache_type, heads.head_dim);
            }
        }
        widths
    }

    fn scratch_bytes(&self) -> u64 {
        let logits = self.logits();
        let buffers = self.plan.buffers.iter().enumerate();
        let buffers = buffers.map(|(i, spec)| match Some(i) == logits {
            true => spec.width * LOGITS_ROWS * 4,
            false => stride(spec.width) * MAX_ROWS * 4,
        });
        let sampler = logits.map_or(0, |_| sampler::scratch_bytes(self.plan.n_vocab));
        buffers.sum::<usize>() as u64 + self.partial_bytes() + sampler
    }

    fn logits(&self) -> Option<usize> {
        self.plan.ops.iter().find_map(|op| match op {
            Op::Head { out, .. } => Some(out.0),
            _ => None,
        })
    }

    /// Chunks of 64 tokens a split has: depends on the capacity alone, because it is the
    /// shape of a sum.
    fn chunks_per_split(&self) -> usize {
        self.capacity_tokens
            .div_ceil(64)
            .div_ceil(MAX_SPLITS)
            .max(1)
    }

    fn n_splits(&self) -> usize {
        self.capacity_tokens
            .div_ceil(64 * self.chunks_per_split())
            .max(1)
    }

    /// Room for the splits' partial results of the most rows that are split.
    fn partial_bytes(&self) -> u64 {
        let ops = self.plan.ops.iter();
        let each = ops.map(|op| match op {
            Op::Attention { heads, .. } => {
                let vectors = self.q_vectors(heads) + 1;
                LOGITS_ROWS * heads.n_heads * self.n_splits() * vectors * 16
            }
            _ => 0,
        });
        each.max().unwrap_or(0) as u64
    }

    /// Vectors of four elements a query head takes, padded as the cache is.
    fn q_vectors(&self, heads: &Heads) -> usize {
        head_vectors(self.cache_type, heads.head_dim) * per_vector(self.cache_type) / 4
    }

    async fn build(mut self) -> Result<Compiled> {
        let logits = self.logits();
        self.bytes = self.scratch_bytes();
        let make = || Common {
            buffers: (self.plan.buffers.iter().enumerate())
                .map(|(i, spec)| {
                    let elements = match Some(i) == logits {
                        true => spec.width * LOGITS_ROWS,
                        false => stride(spec.width) * MAX_ROWS,
                    };
                    self.gpu.storage(spec.name, elements as u64 * 4)
                })
                .collect(),
            strides: (self.plan.buffers.iter().enumerate())
                .map(|(i, spec)| {
                    if Some(i) == logits {
                        spec.width
                    } else {
                        stride(spec.width)
                    }
                })
                .collect(),
            state: self.gpu.storage("state", state::BUFFER_WORDS as u64 * 4),
            partial: self.gpu.storage("attention splits", self.partial_bytes()),
        };
        let common = self.gpu.guarded("scratch", make).await?;
        let limit = self.gpu.capabilities().max_binding_bytes;
        for (buffer, spec) in common.buffers.iter().zip(&self.plan.buffers) {
            if buffer.size() > limit {
                let detail = format!(
                    "{} bytes of scratch do not fit a binding of {limit}",
                    buffer.size()
                );
                return Err(Error::new(Code::OutOfMemory, spec.name, detail));
            }
        }

        let mut cache_layouts = vec![[None, None]; self.plan.cache.len()];
        for op in &self.plan.ops {
            let before = self.steps.len();
            self.op(op, &common).await?;
            for step in &self.steps[before..] {
                if let Some((layer, writes)) = step.cache {
                    let layout = self.gpu.layout(&step.variant(1))?;
                    cache_layouts[layer][usize::from(!writes)] = Some(layout);
                }
            }
        }

        let path = self
            .gpu
            .storage("path", (2 + state::MAX_TREE_ROWS) as u64 * 4);
        let cache_widths = self.cache_widths();
        let layout = self.gpu.layout(&kv_move())?;
        let mut move_groups = Vec::new();
        for width in &cache_widths {
            let params = self.uniform(params::KvMove {
                width: *width as u32,
            });
            let bound = [("params", params.binding()), ("path", whole(&path))];
            move_groups.push(self.gpu.bind(&layout, 0, &bound)?);
        }
        let sampler = match logits {
            Some(logits) => Some(self.sampler(&common, logits).await?),
            None => None,
        };
        self.gpu.check()?;
        Ok(Compiled {
            sampler,
            steps: self.steps,
            buffers: common.buffers,
            strides: common.strides,
            state: common.state,
            cache_layouts,
            cache_widths,
            logits,
            path,
            move_groups,
            bytes: self.bytes,
        })
    }

    async fn sampler(&mut self, common: &Common, logits: usize) -> Result<Sampler> {
        let n_vocab = self.plan.n_vocab;
        let params = self.uniform(params::Sample {
            n_vocab: n_vocab as u32,
        });
        let logits = &common.buffers[logits];
        Sampler::new(self.gpu, n_vocab, params.binding(), common.state(), logits).await
    }
}
