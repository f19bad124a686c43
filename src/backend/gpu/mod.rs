//! Plans -> numbers on a GPU, through WebGPU.
//!
//! A plan is compiled once: weights are repacked and uploaded ([`weights`]), every op
//! gets its buffers and bind groups ([`compile`], [`launch`]), and a list of launches is made per row
//! count. A pass then writes a few words of state and replays the list in one compute
//! pass and one submission ([`executor`], [`pass`]); nothing is created. A round of speculation
//! is the draft's passes and the target's in one submission ([`round`]).
//!
//! Shaders are WGSL files with a few directives ([`shader`]); a variant is compiled when a
//! row count first needs it ([`pipeline`]).

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod cache;
mod catalogue;
mod compile;
mod device;
mod executor;
mod inspect;
mod launch;
mod params;
mod pass;
mod pipeline;
mod round;
mod sampler;
mod shader;
mod state;
mod weights;

use std::rc::Rc;

pub use super::Counters;
pub use catalogue::{check_all, compile_all};
pub use device::{Capabilities, Gpu, GpuOptions};
pub use executor::GpuExecutor;
pub use state::{MAX_ROWS, MAX_TREE_ROWS};

use super::plan::Plan;
use super::{Backend, CompileOptions, Executor};
use crate::error::Result;
use crate::format::{LocalFuture, TensorTable};

/// How caches keep keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheType {
    /// Half precision, packed by hand, so no adapter needs f16.
    #[default]
    F16,
    /// Full precision, at twice the memory.
    F32,
}

/// The backend that compiles plans for one device; clones share it.
#[derive(Debug, Clone)]
pub struct GpuBackend {
    gpu: Rc<Gpu>,
    cache_type: CacheType,
}

impl GpuBackend {
    /// A backend on an open device. Target and draft use the same one.
    pub fn new(gpu: Rc<Gpu>, cache_type: CacheType) -> Self {
        Self { gpu, cache_type }
    }

    /// The device.
    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    /// [`Backend::compile`], with the executor's own type.
    ///
    /// # Errors
    /// As [`Backend::compile`].
    pub async fn compile_plan(
        &self,
        plan: &Plan,
        tensors: &TensorTable,
        options: &CompileOptions,
    ) -> Result<GpuExecutor> {
        GpuExecutor::compile(self.gpu.clone(), self.cache_type, plan, tensors, options).await
    }
}

impl Backend for GpuBackend {
    fn name(&self) -> &str {
        &self.gpu.capabilities().adapter
    }

    fn compile<'a>(
        &'a self,
        plan: &'a Plan,
        tensors: &'a TensorTable,
        options: &'a CompileOptions,
    ) -> LocalFuture<'a, Result<Box<dyn Executor>>> {
        Box::pin(async move {
            let executor = self.compile_plan(plan, tensors, options).await?;
            Ok(Box::new(executor) as Box<dyn Executor>)
        })
    }
}
