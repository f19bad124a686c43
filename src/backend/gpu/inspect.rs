//! A look at what a pass leaves in between: for tests, and to find where two backends part.

use super::super::plan::BufferId;
use super::GpuExecutor;
use super::executor::word;
use crate::error::Result;

impl GpuExecutor {
    /// Rows of an activation buffer as the last pass left it, without padding.
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
