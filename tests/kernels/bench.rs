//! What the tests build plans, checkpoints and inputs with.

use std::rc::Rc;

use tandem::backend::gpu::{CacheType, Gpu, GpuBackend, GpuExecutor, GpuOptions};
use tandem::backend::plan::{
    BufferId, BufferSpec, CacheLayer, Linear, Op, Plan, Transform, WeightId, WeightSpec,
};
use tandem::backend::{CacheId, CompileOptions, Executor, LogitRows, Rows};
use tandem::format::quant::{dequantize, quantize};
use tandem::format::{DType, MemorySource, TensorInfo, TensorTable};

use super::common::skip;

/// The device, or `None` with a line that says why the test is skipped.
pub fn gpu() -> Option<Rc<Gpu>> {
    gpu_with(GpuOptions::default())
}

pub fn gpu_with(options: GpuOptions) -> Option<Rc<Gpu>> {
    match pollster::block_on(Gpu::open(&options)) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            skip("gpu", &error.to_string());
            None
        }
    }
}

/// Numbers that look random and are the same everywhere: a xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In -1..1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn vector(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit()).collect()
    }
}

/// A plan and a checkpoint in the making.
#[derive(Default)]
pub struct Case {
    pub plan: Plan0,
    bytes: Vec<u8>,
    infos: Vec<TensorInfo>,
    /// What each weight's elements are, by the scalar functions.
    pub values: Vec<Vec<f32>>,
}

/// The parts of a [`Plan`] that can be empty.
#[derive(Default)]
pub struct Plan0 {
    pub buffers: Vec<BufferSpec>,
    pub weights: Vec<WeightSpec>,
    pub cache: Vec<CacheLayer>,
    pub ops: Vec<Op>,
    pub n_vocab: usize,
}

impl Case {
    pub fn buffer(&mut self, width: usize) -> BufferId {
        self.plan.buffers.push(BufferSpec {
            name: "test",
            width,
        });
        BufferId(self.plan.buffers.len() - 1)
    }

    /// A weight with the given blocks.
    pub fn weight(&mut self, dtype: DType, shape: &[usize], blocks: Vec<u8>) -> WeightId {
        let name = format!("weight.{}", self.infos.len());
        let n: usize = shape.iter().product();
        let mut values = vec![0.0; n];
        dequantize(dtype, &blocks, &mut values).unwrap();
        let start = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&blocks);
        self.infos.push(TensorInfo {
            name: name.clone(),
            dtype,
            shape: shape.to_vec(),
            source: 0,
            range: start..self.bytes.len() as u64,
        });
        self.plan.weights.push(WeightSpec {
            name: name.clone(),
            source: name,
            shape: shape.to_vec(),
            transform: Transform::None,
        });
        self.values.push(values);
        WeightId(self.values.len() - 1)
    }

    /// A weight of random elements, about 1 in size.
    pub fn random(&mut self, dtype: DType, shape: &[usize], random: &mut Random) -> WeightId {
        let n = shape.iter().product();
        let blocks = match dtype {
            // Nothing writes these; any nibbles do, under sane scales.
            DType::IQ4NL | DType::IQ4XS | DType::MXFP4 => {
                let mut blocks: Vec<u8> = (0..dtype.row_bytes(n).unwrap())
                    .map(|_| random.bits() as u8)
                    .collect();
                for block in blocks.chunks_exact_mut(dtype.block_bytes()) {
                    match dtype {
                        DType::MXFP4 => block[0] = 120 + block[0] % 6,
                        // Halves of about 2^-7 and 2^-12.
                        DType::IQ4NL => block[1] = 0x20,
                        _ => block[1] = 0x0c,
                    }
                }
                blocks
            }
            _ => quantize(dtype, &random.vector(n)).unwrap(),
        };
        self.weight(dtype, shape, blocks)
    }

    pub fn vector(&mut self, n: usize, random: &mut Random) -> WeightId {
        self.random(DType::F32, &[n], random)
    }

    /// All rows of a matrix.
    pub fn linear(&self, weight: WeightId) -> Linear {
        let rows = 0..self.plan.weights[weight.0].shape[0];
        Linear {
            weight,
            rows,
            bias: None,
            bias_offset: 0,
        }
    }

    pub fn tensors(&self) -> TensorTable {
        let source = MemorySource::new("test", self.bytes.clone());
        TensorTable::new(vec![Rc::new(source)], self.infos.clone())
    }

    pub fn plan(&self) -> Plan {
        Plan {
            buffers: self.plan.buffers.clone(),
            weights: self.plan.weights.clone(),
            cache: self.plan.cache.clone(),
            ops: self.plan.ops.clone(),
            n_vocab: self.plan.n_vocab.max(1),
        }
    }

    pub fn compile_with(
        &self,
        gpu: &Rc<Gpu>,
        cache_type: CacheType,
        options: &CompileOptions,
    ) -> tandem::Result<GpuExecutor> {
        let backend = GpuBackend::new(gpu.clone(), cache_type);
        pollster::block_on(backend.compile_plan(&self.plan(), &self.tensors(), options))
    }

    pub fn compile(&self, gpu: &Rc<Gpu>, capacity_tokens: usize) -> Bench {
        self.compile_as(gpu, CacheType::F16, capacity_tokens)
    }

    pub fn compile_as(
        &self,
        gpu: &Rc<Gpu>,
        cache_type: CacheType,
        capacity_tokens: usize,
    ) -> Bench {
        let options = CompileOptions {
            capacity_tokens,
            ..Default::default()
        };
        let mut executor = self.compile_with(gpu, cache_type, &options).unwrap();
        let cache = executor.new_cache().unwrap();
        let widths = self.plan.buffers.iter().map(|b| b.width).collect();
        Bench {
            executor,
            cache,
            widths,
        }
    }
}

/// A compiled case with a cache.
pub struct Bench {
    pub executor: GpuExecutor,
    pub cache: CacheId,
    widths: Vec<usize>,
}

impl Bench {
    pub fn set(&self, id: BufferId, values: &[f32]) {
        self.executor.write_buffer(id, values, self.widths[id.0]);
    }

    pub fn get(&self, id: BufferId, n_rows: usize) -> Vec<f32> {
        pollster::block_on(self.executor.read_buffer(id, n_rows, self.widths[id.0])).unwrap()
    }

    pub fn forward(&mut self, rows: &Rows, logits: LogitRows) -> Vec<f32> {
        pollster::block_on(self.executor.forward(self.cache, rows, logits)).unwrap()
    }

    pub fn executor_reset(&mut self) {
        self.executor.truncate(self.cache, 0);
    }

    /// Runs `n` rows of token 0 against an empty cache.
    pub fn run(&mut self, n: usize) {
        self.executor.truncate(self.cache, 0);
        self.forward(&Rows::chain(vec![0; n]), LogitRows::None);
    }
}

/// Asserts that `got` is `want` within `bound` of the largest element of its row.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], want: &[f64], width: usize, bound: f64) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    for (row, (got, want)) in got.chunks(width).zip(want.chunks(width)).enumerate() {
        let size = want.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            let error = (f64::from(*g) - w).abs() / size;
            assert!(
                error <= bound,
                "{what}: row {row}, element {i}: {g}, not {w} ({error:.2e} off)"
            );
        }
    }
}

/// `x / sqrt(mean(x^2) + eps) * weight`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f64> {
    let squares: f64 = x.iter().map(|v| f64::from(*v).powi(2)).sum();
    let factor = 1.0 / (squares / x.len() as f64 + f64::from(eps)).sqrt();
    x.iter()
        .zip(weight)
        .map(|(v, w)| f64::from(*v) * factor * f64::from(*w))
        .collect()
}

/// `matrix . x` for a row-major matrix.
pub fn product(matrix: &[f32], x: &[f64]) -> Vec<f64> {
    let rows = matrix.chunks_exact(x.len());
    rows.map(|row| row.iter().zip(x).map(|(w, v)| f64::from(*w) * v).sum())
        .collect()
}

pub fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}
