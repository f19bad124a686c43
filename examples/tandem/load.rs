//! MODEL -> something that runs.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use pollster::block_on;
use tandem::Result;
use tandem::backend::Backend;
use tandem::backend::cpu::CpuBackend;
#[cfg(feature = "gpu")]
use tandem::backend::gpu::{CacheType, Gpu, GpuBackend, GpuOptions};
use tandem::chat::session::{LoadOptions, LoadedModel, Session};
use tandem::decode::round::Clock;
use tandem::format::{Checkpoint, Quantize};

use super::{Device, Running};

/// The part of the shipped pair that `embedded` means.
#[derive(Clone, Copy)]
pub enum Role {
    Target,
    Draft,
}

/// A model that is ready to run.
pub struct Loaded {
    pub model: LoadedModel,
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
    pub fn open(running: &Running) -> Result<Self> {
        let mut cpu = CpuBackend::default();
        cpu.threads = running.threads.unwrap_or(cpu.threads);
        match running.device {
            Device::Cpu => Ok(Self::Cpu(cpu)),
            Device::Gpu => Self::open_gpu(),
            Device::Auto => Ok(match Self::open_gpu() {
                Ok(gpu) if !gpu.is_software() => gpu,
                _ => Self::Cpu(cpu),
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
        Err(tandem::Error::new(
            tandem::Code::GpuUnavailable,
            "device",
            detail,
        ))
    }

    fn is_software(&self) -> bool {
        match self {
            Self::Cpu(_) => true,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.gpu().capabilities().is_software,
        }
    }

    pub fn backend(&self) -> &dyn Backend {
        match self {
            Self::Cpu(cpu) => cpu,
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu,
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
    let options = LoadOptions {
        context_tokens: running.context,
        memory_budget_bytes: running.memory_budget,
    };
    let model = block_on(LoadedModel::load(&checkpoint, devices.backend(), &options))?;
    let load_s = start.elapsed().as_secs_f64();
    eprintln!(
        "{}: {}, {:.1} M parameters, {} tokens of context on {}, {load_s:.2} s",
        model.name,
        model.model.spec.architecture,
        model.model.n_parameters() as f64 / 1e6,
        model.context_tokens(),
        model.device,
    );
    Ok(Loaded { model, load_s })
}

/// Loads a target, and a draft if one is named, and makes a session of them.
pub fn session(target: &str, draft: Option<&str>, running: &Running) -> Result<(Session, f64)> {
    let devices = Devices::open(running)?;
    let target = load(target, Role::Target, running, &devices)?;
    let draft = match draft {
        Some(draft) => Some(load(draft, Role::Draft, running, &devices)?),
        None => None,
    };
    let load_s = target.load_s + draft.as_ref().map_or(0.0, |draft| draft.load_s);
    let start = Instant::now();
    let clock: Clock = Rc::new(move || start.elapsed().as_secs_f64());
    let session = Session::new(target.model, draft.map(|draft| draft.model), clock)?;
    for warning in session.pair().into_iter().flat_map(|pair| &pair.warnings) {
        eprintln!("warning: {warning}");
    }
    Ok((session, load_s))
}
