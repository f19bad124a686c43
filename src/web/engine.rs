//! Loading a session, and the clocks and chance that a browser has.

use std::rc::Rc;

use serde::Deserialize;
use wasm_bindgen::prelude::wasm_bindgen;

use super::source::{self, Listener, Place};
use crate::backend::Backend;
use crate::backend::cpu::CpuBackend;
use crate::chat::openai::{Moment, Service};
use crate::chat::session::{LoadOptions, LoadedModel, Session};
use crate::chat::template::LocalTime;
use crate::error::Result;
#[cfg(not(feature = "gpu"))]
use crate::error::{Code, Error};
use crate::format::LocalFuture;

/// What to load: `LoadRequest` of `www/lib/protocol.ts`.
pub struct Request {
    /// The model that speaks.
    pub target: Place,
    /// The model that guesses.
    pub draft: Option<Place>,
    /// How they run.
    pub options: Options,
}

/// How models run: the rest of `LoadRequest`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// What computes.
    pub device: Device,
    /// Tokens of context.
    pub context_tokens: Option<usize>,
    /// Refuse to load what needs more.
    pub memory_budget_bytes: Option<u64>,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A real GPU where there is one, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The GPU, even an emulated one.
    Gpu,
}

/// Loads what `request` asks for.
///
/// # Errors
/// What each layer reports.
pub async fn load(request: Request, threads: Threads, listener: Listener) -> Result<Service> {
    let backend = open_backend(request.options.device, threads).await?;
    let options = LoadOptions {
        context_tokens: request.options.context_tokens,
        memory_budget_bytes: request.options.memory_budget_bytes,
    };
    let checkpoint = source::open(request.target, Rc::clone(&listener)).await?;
    let target = LoadedModel::load(&checkpoint, backend.as_ref(), &options).await?;
    let draft = match request.draft {
        None => None,
        Some(place) => {
            let checkpoint = source::open(place, listener).await?;
            Some(LoadedModel::load(&checkpoint, backend.as_ref(), &options).await?)
        }
    };
    let mut session = Session::new(target, draft, Rc::new(now_s))?;
    if session.draft().is_some() {
        session.warm_up().await?;
    }
    Ok(Service::new(session))
}

/// Starts threads, once it is known that the processor computes; answers how many there are.
pub type Threads = Box<dyn FnOnce() -> LocalFuture<'static, usize>>;

/// The processor, on all the threads there are.
async fn open_cpu(threads: Threads) -> Box<dyn Backend> {
    Box::new(CpuBackend {
        threads: threads().await,
        spawn: super::threads::SPAWN,
        ..CpuBackend::default()
    })
}

/// The backend that `device` stands for here.
async fn open_backend(device: Device, threads: Threads) -> Result<Box<dyn Backend>> {
    match device {
        Device::Cpu => Ok(open_cpu(threads).await),
        #[cfg(feature = "gpu")]
        Device::Auto | Device::Gpu => {
            use crate::backend::gpu::{CacheType, Gpu, GpuBackend, GpuOptions};
            match Gpu::open(&GpuOptions::default()).await {
                // An emulated GPU is slower than the processor that emulates it.
                Ok(gpu) if device == Device::Auto && gpu.capabilities().is_software => {
                    Ok(open_cpu(threads).await)
                }
                Ok(gpu) => Ok(Box::new(GpuBackend::new(gpu, CacheType::default()))),
                Err(_) if device == Device::Auto => Ok(open_cpu(threads).await),
                Err(error) => Err(error),
            }
        }
        #[cfg(not(feature = "gpu"))]
        Device::Auto => Ok(open_cpu(threads).await),
        #[cfg(not(feature = "gpu"))]
        Device::Gpu => {
            let detail = "this build has no GPU backend";
            Err(Error::new(Code::GpuUnavailable, "device", detail))
        }
    }
}

/// Now: the clock on the wall of whoever reads the page, and a number of chance.
pub fn moment() -> Moment {
    let now = js_sys::Date::new_0();
    let unix_s = now.get_time() / 1000.0;
    let local_s = unix_s - now.get_timezone_offset() * 60.0;
    // For seeds and names of replies; nothing secret hangs on it.
    let half = || (js_sys::Math::random() * 4_294_967_296.0) as u64;
    Moment {
        chance: half() << 32 | half(),
        created: unix_s as u64,
        now: LocalTime::from_unix(local_s as i64),
    }
}

#[wasm_bindgen]
extern "C" {
    /// Milliseconds; windows and workers both have it.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn now_ms() -> f64;
}

/// Seconds since the worker began.
fn now_s() -> f64 {
    now_ms() / 1000.0
}
