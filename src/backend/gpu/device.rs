//! The device: adapter, limits, errors, and everything that is created on it.
//!
//! A [`Gpu`] is shared by all that runs on it (target, draft, sampler). Buffers, bind
//! groups and pipelines are made here and nowhere else, so the [`Counters`] can show
//! that none is made once generation runs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::super::Counters;
use super::pipeline::{Kernel, Layout};
use super::sampler::Shared;
use super::shader::Variant;
use super::state::DRAWN_WORDS;
use crate::error::{Code, Error, Result};

/// How to choose and use an adapter.
#[derive(Debug, Clone, Copy, Default)]
pub struct GpuOptions {
    /// Ask for no more than WebGPU's default limits, as tests do.
    pub default_limits: bool,
    /// Split what is larger than this, even where the device could bind it whole.
    pub max_binding_bytes: Option<u64>,
    /// Do not use subgroup operations where the adapter has them.
    pub no_subgroups: bool,
}

/// What a device can do beyond WebGPU's defaults.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// The adapter's name, as far as it tells.
    pub adapter: String,
    /// Whether it computes on the CPU.
    pub is_software: bool,
    /// Whether shaders may use subgroup operations.
    pub subgroups: bool,
    /// Bytes of one storage binding.
    pub max_binding_bytes: u64,
}

/// The first thing that went wrong outside any call, kept until someone asks.
type Failure = Arc<Mutex<Option<Error>>>;

/// An open device.
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    capabilities: Capabilities,
    failure: Failure,
    /// How it was opened, and what was opened in its place when it was lost.
    options: GpuOptions,
    successor: RefCell<Option<Rc<Gpu>>>,
    counters: Cell<Counters>,
    /// Tokens drawn, by all that runs here: a draft leaves its guesses where the target
    /// finds them (`state.rs` says where).
    pub(super) drawn: wgpu::Buffer,
    /// What else the passes of a round share.
    pub(super) shared: Shared,
    pub(super) kernels: RefCell<BTreeMap<Variant, Rc<Kernel>>>,
    pub(super) layouts: RefCell<BTreeMap<String, Rc<Layout>>>,
}

impl Gpu {
    /// Opens the most capable adapter.
    ///
    /// # Errors
    /// `gpu_unavailable` where there is none, or none with WebGPU's default limits.
    pub async fn open(options: &GpuOptions) -> Result<Rc<Self>> {
        let unavailable =
            |e: &dyn std::fmt::Display| Error::new(Code::GpuUnavailable, "adapter", e.to_string());
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        let instance = wgpu::Instance::new(descriptor);
        let request = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance
            .request_adapter(&request)
            .await
            .map_err(|e| unavailable(&e))?;

        let mut limits = wgpu::Limits::default();
        if !options.default_limits {
            let theirs = adapter.limits();
            limits.max_buffer_size = theirs.max_buffer_size.max(limits.max_buffer_size);
            limits.max_storage_buffer_binding_size = theirs
                .max_storage_buffer_binding_size
                .max(limits.max_storage_buffer_binding_size);
        }
        let subgroups = !options.no_subgroups
            && has_subgroups(&adapter)
            && adapter.get_info().subgroup_min_size >= 4;
        let mut features = wgpu::Features::empty();
        features.set(wgpu::Features::SUBGROUP, subgroups);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("tandem"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| unavailable(&e))?;

        let failure = Failure::default();
        let slot = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error| keep_first(&slot, from_wgpu(&error))));
        let slot = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            let detail = format!("the device was lost ({reason:?}): {message}");
            keep_first(&slot, Error::new(Code::GpuLost, "device", detail));
        });

        let info = adapter.get_info();
        let max_binding_bytes = limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size);
        let max_binding_bytes = options
            .max_binding_bytes
            .map_or(max_binding_bytes, |wanted| wanted.min(max_binding_bytes));
        let capabilities = Capabilities {
            adapter: name_of(&info),
            is_software: info.device_type == wgpu::DeviceType::Cpu,
            subgroups,
            max_binding_bytes,
        };
        let drawn = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("drawn"),
            size: DRAWN_WORDS as u64 * 4,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Ok(Rc::new(Self {
            drawn,
            shared: Shared::new(&device),
            device,
            queue,
            capabilities,
            failure,
            options: *options,
            successor: RefCell::default(),
            counters: Cell::default(),
            kernels: RefCell::default(),
            layouts: RefCell::default(),
        }))
    }

    /// What the device can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What has been done so far.
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        add(&mut counters);
        self.counters.set(counters);
    }

    /// Fails if the device was lost or refused something since it was opened. What
    /// happened once stays: a lost device does not come back, open another.
    ///
    /// # Errors
    /// `gpu_lost`, `gpu_failed`, `out_of_memory`.
    pub fn check(&self) -> Result<()> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Destroys the device, as if it had been lost: what runs on it fails from here on.
    pub fn destroy(&self) {
        self.device.destroy();
        keep_first(
            &self.failure,
            Error::new(Code::GpuLost, "device", "the device was destroyed"),
        );
    }

    /// The device that stands in for this one, which was lost: opened by the first who
    /// asks, the same for all.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub(super) async fn successor(&self) -> Result<Rc<Self>> {
        if let Some(next) = &*self.successor.borrow() {
            return Ok(next.clone());
        }
        let next = Self::open(&self.options).await?;
        next.counters.set(self.counters.get());
        *self.successor.borrow_mut() = Some(next.clone());
        Ok(next)
    }

    /// Whether it was lost, and not merely misused.
    pub(super) fn is_lost(&self) -> bool {
        self.check()
            .is_err_and(|error| error.code() == Code::GpuLost)
    }

    /// Runs `f` and reports what the device refused of it. `subject` is what was being
    /// made.
    ///
    /// # Errors
    /// `out_of_memory`, `gpu_failed`, `gpu_lost`.
    pub(super) async fn guarded<T>(&self, subject: &str, f: impl FnOnce() -> T) -> Result<T> {
        self.check()?;
        let scopes = [
            wgpu::ErrorFilter::Internal,
            wgpu::ErrorFilter::Validation,
            wgpu::ErrorFilter::OutOfMemory,
        ]
        .map(|filter| self.device.push_error_scope(filter));
        let made = f();
        let mut pending = Vec::new();
        for scope in scopes.into_iter().rev() {
            pending.push(scope.pop());
        }
        for scope in pending {
            if let Some(error) = scope.await {
                let error = from_wgpu(&error);
                return Err(Error::new(error.code(), subject, error.detail()));
            }
        }
        self.check()?;
        Ok(made)
    }

    /// A buffer of zeros, rounded up to whole vectors of four words. Errors surface in
    /// [`Gpu::guarded`] or [`Gpu::check`].
    pub(super) fn buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> wgpu::Buffer {
        self.count(|c| c.buffer_creations += 1);
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.next_multiple_of(16).max(16),
            usage,
            mapped_at_creation: false,
        })
    }

    /// A storage buffer that can be copied to and from.
    pub(super) fn storage(&self, label: &str, bytes: u64) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC;
        self.buffer(label, bytes, usage)
    }

    pub(super) fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.count(|c| c.submits += 1);
        self.queue.submit([encoder.finish()]);
    }

    /// Waits for the first `bytes` of a `MAP_READ` buffer and copies them out.
    ///
    /// # Errors
    /// `gpu_lost`, `gpu_failed`.
    pub(super) async fn read(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>> {
        let signal = Signal::default();
        let done = signal.clone();
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            done.set(result.is_ok())
        });
        self.wait_for_work();
        let mapped = signal.await;
        self.check()?;
        if !mapped {
            // Nothing was refused, so the device is gone; it may not have said so yet.
            let error = Error::new(Code::GpuLost, "readback", "the result could not be mapped");
            keep_first(&self.failure, error.clone());
            return Err(error);
        }
        let view = buffer.get_mapped_range(..bytes);
        let view = view.map_err(|e| Error::new(Code::GpuFailed, "readback", e.to_string()))?;
        let copy = view.to_vec();
        drop(view);
        buffer.unmap();
        self.count(|c| c.readback_bytes += bytes);
        Ok(copy)
    }

    /// Waits until all submitted work is done, so that staging memory is given back.
    ///
    /// # Errors
    /// `gpu_lost`, `gpu_failed`, `out_of_memory`.
    pub(super) async fn drain(&self) -> Result<()> {
        let signal = Signal::default();
        let done = signal.clone();
        self.queue.submit([]);
        self.queue.on_submitted_work_done(move || done.set(true));
        self.wait_for_work();
        signal.await;
        self.check()
    }

    /// Natively nothing happens unless the device is polled; a browser calls back by
    /// itself and must not be blocked.
    #[cfg(not(target_arch = "wasm32"))]
    fn wait_for_work(&self) {
        // A lost device reports through its callback, which `check` reads.
        let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
    }

    #[cfg(target_arch = "wasm32")]
    fn wait_for_work(&self) {}
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

fn keep_first(slot: &Mutex<Option<Error>>, error: Error) {
    slot.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(error);
}

fn from_wgpu(error: &wgpu::Error) -> Error {
    let code = match error {
        wgpu::Error::OutOfMemory { .. } => Code::OutOfMemory,
        _ => Code::GpuFailed,
    };
    Error::new(code, "device", error.to_string())
}

/// Browsers leave the name out and give an architecture at best.
fn name_of(info: &wgpu::AdapterInfo) -> String {
    let parts = [&info.name, &info.driver, &info.driver_info];
    let found = parts.into_iter().find(|part| !part.trim().is_empty());
    found.map_or_else(|| "WebGPU".to_string(), |name| name.trim().to_string())
}

#[cfg(not(target_arch = "wasm32"))]
fn has_subgroups(adapter: &wgpu::Adapter) -> bool {
    adapter.features().contains(wgpu::Features::SUBGROUP)
}

/// wgpu 30 does not know the browser's feature of that name.
#[cfg(target_arch = "wasm32")]
fn has_subgroups(_adapter: &wgpu::Adapter) -> bool {
    false
}

/// Something that is awaited once and set from a callback, on any thread.
#[derive(Clone, Default)]
struct Signal(Arc<Mutex<(Option<bool>, Option<Waker>)>>);

impl Signal {
    fn set(&self, value: bool) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = Some(value);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Signal {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0 {
            Some(value) => Poll::Ready(value),
            None => {
                state.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
