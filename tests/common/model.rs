//! Running a checkpoint on the CPU, for tests that compare what comes out.

#![allow(dead_code, reason = "no test uses all of it")]

use std::path::Path;

use tandem::Result;
use tandem::backend::cpu::CpuBackend;
use tandem::backend::{Backend, CacheId, CompileOptions, Executor, LogitRows, Rows};
use tandem::format::Checkpoint;
use tandem::model::Model;

/// A checkpoint from a folder or a file.
pub fn checkpoint(path: &Path) -> Result<Checkpoint> {
    pollster::block_on(Checkpoint::open_path(path))
}

/// A checkpoint ready to run on the CPU over sequences of up to `capacity_tokens`.
pub fn executor(checkpoint: &Checkpoint, capacity_tokens: usize) -> Result<Box<dyn Executor>> {
    pollster::block_on(async {
        let model = Model::open(checkpoint).await?;
        let plan = model.plan(capacity_tokens)?;
        let options = CompileOptions {
            capacity_tokens,
            ..CompileOptions::default()
        };
        CpuBackend::default()
            .compile(&plan, &checkpoint.tensors, &options)
            .await
    })
}

/// The logits of every row of one pass.
pub fn forward(executor: &mut dyn Executor, cache: CacheId, rows: &Rows) -> Result<Vec<f32>> {
    pollster::block_on(executor.forward(cache, rows, LogitRows::All))
}

/// The bits of numbers, for comparisons that allow nothing.
pub fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
