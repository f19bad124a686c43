//! MODEL -> something that runs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pollster::block_on;
use tandem::backend::cpu::CpuBackend;
#[cfg(feature = "gpu")]
use tandem::backend::gpu::{CacheType, Gpu, GpuBackend, GpuOptions};
use tandem::backend::{Backend, CompileOptions, Executor};
use tandem::decode::pair::Member;
use tandem::format::{Checkpoint, Quantize};
use tandem::model::Model;
use tandem::tokenizer::Tokenizer;
use tandem::{Code, Error, Result};

use super::{Device, Running};

/// Longest context that is made where none was asked for: caches are allocated for it.
const DEFAULT_CONTEXT_TOKENS: usize = 4096;

/// The part of the shipped pair that `embedded` means.
#[derive(Clone, Copy)]
pub enum Role {
    Target,
    Draft,
}

/// A model that is ready to run.
pub struct Loaded {
    pub checkpoint: Checkpoint,
    pub model: Model,
    pub tokenizer: Tokenizer,
    pub executor: Box<dyn Executor>,
    /// From opening the file to being ready.
    pub load_s: f64,
}

/// Opens what MODEL names; reads headers only.
pub fn open(model: &str, role: Role) -> Result<Checkpoint> {
    let path = match (model, role) {
        ("embedded", Role::Target) => shipped("tandem-target-q8_0.gguf"),
        ("embedded", Role::Draft) => shipped("tandem-draft-q8_0.gguf"),
        (path, _) => PathBuf::from(path),
    };
    block_on(Checkpoint::open_path(&path))
}

/// A file of the pair that ships.
fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(file)
}

/// What computes: one device for every model that is loaded.
pub enum Devices {
    Cpu(CpuBackend),
    #[cfg(feature = "gpu")]
    Gpu(GpuBackend),
}

impl Devices {
    /// `auto` takes a real GPU; a software adapter is slower than the processor it
    /// runs on.
    pub fn open(device: Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(Self::Cpu(CpuBackend)),
            Device::Gpu => Self::open_gpu(),
            Device::Auto => Ok(match Self::open_gpu() {
                Ok(gpu) if !gpu.is_software() => gpu,
                _ => Self::Cpu(CpuBackend),
            }),
        }
    }

    #[cfg(feature = "gpu")]
    fn open_gpu() -> Result<Self> {
        let gpu = block_on(Gpu::open(&GpuOptions::default()))?;
        Ok(Self::Gpu(GpuBackend::new(gpu, CacheType::default())))
    }

    #[cfg(not(feature = "gpu"))]
    fn open_gpu() -> Result<Self> {
        let detail = "this build has no GPU backend (feature `gpu`)";
        Err(tandem::Error::new(Code::GpuUnavailable, "device", detail))
    }

    fn is_software(&self) -> bool {
        match self {
            Self::Cpu(_) => true,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.gpu().capabilities().is_software,
        }
    }

    fn backend(&self) -> &dyn Backend {
        match self {
            Self::Cpu(cpu) => cpu,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu,
        }
    }
}

impl Loaded {
    /// As the check of a pair sees it.
    pub fn member(&self) -> Member<'_> {
        Member {
            name: self.checkpoint.name(),
            tokenizer: &self.tokenizer,
            n_parameters: self.model.n_parameters(),
            capacity_tokens: self.executor.capacity_tokens(),
        }
    }
}

/// Opens, reads and compiles what MODEL names.
pub fn load(model: &str, role: Role, running: &Running, devices: &Devices) -> Result<Loaded> {
    let start = Instant::now();
    let mut checkpoint = open(model, role)?;
    if let Some(quantize) = &running.quantize {
        let to = Quantize::from_name(quantize)?;
        checkpoint.tensors = std::mem::take(&mut checkpoint.tensors).quantized(to);
    }
    let tokenizer = Tokenizer::from_checkpoint(&checkpoint)?;
    let (model, executor) = block_on(compile(&checkpoint, running, devices.backend()))?;
    let load_s = start.elapsed().as_secs_f64();
    eprintln!(
        "{}: {}, {:.1} M parameters, {} tokens of context on {}, {load_s:.2} s",
        checkpoint.name(),
        model.spec.architecture,
        model.n_parameters() as f64 / 1e6,
        executor.capacity_tokens(),
        devices.backend().name(),
    );
    Ok(Loaded {
        checkpoint,
        model,
        tokenizer,
        executor,
        load_s,
    })
}

async fn compile(
    checkpoint: &Checkpoint,
    running: &Running,
    backend: &dyn Backend,
) -> Result<(Model, Box<dyn Executor>)> {
    let model = Model::open(checkpoint).await?;
    let default = model.spec.context_tokens.min(DEFAULT_CONTEXT_TOKENS);
    let capacity_tokens = running.context.unwrap_or(default);
    if capacity_tokens == 0 {
        return Err(Error::new(
            Code::RequestInvalid,
            "context",
            "must be 1 or more",
        ));
    }
    let plan = model.plan(capacity_tokens)?;
    let options = CompileOptions {
        capacity_tokens,
        memory_budget_bytes: running.memory_budget,
    };
    let executor = backend
        .compile(&plan, &checkpoint.tensors, &options)
        .await?;
    Ok((model, executor))
}
