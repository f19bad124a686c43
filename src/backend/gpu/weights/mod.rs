//! Checkpoint tensors -> buffers on the device.
//!
//! A matrix streams in chunks of rows: read, checked, repacked ([`repack`]), written; the
//! heap never holds more than one chunk. What does not fit one binding is split by rows
//! into segments. Projections of the same input are packed into one matrix, so that they
//! take one launch.

mod format;
mod repack;

use std::ops::Range;

use format::PLANES;
pub use format::{BLOCK, Format};
use repack::{Planes, repack_row};

use super::super::plan::{Linear, Plan, Transform, WeightId};
use super::device::Gpu;
use crate::error::{Code, Error, Result};
use crate::format::quant::check_finite;
use crate::format::{DType, TensorTable};

/// Bytes of the file that are in the heap at a time.
const CHUNK_BYTES: usize = 4 << 20;
/// Bytes that may wait to be copied to the device before they are waited for.
const STAGED_BYTES: usize = 64 << 20;

/// How the rows of several matrices become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packing {
    /// One after the other.
    Stacked,
    /// Row 0 of each, row 1 of each, ...
    Interleaved,
}

/// Some rows of a weight of the plan.
pub type Part = (WeightId, Range<usize>);

/// What becomes one matrix on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Where the rows come from.
    pub parts: Vec<Part>,
    /// How they are put together.
    pub packing: Packing,
    /// The layout on the device.
    pub format: Format,
    /// Elements a row.
    pub n_in: usize,
    /// Rows in all.
    pub n_out: usize,
    /// First output of the op that these rows are.
    pub first_out: usize,
}

/// Rows of a matrix in one buffer.
#[derive(Debug)]
pub struct Segment {
    /// The planes, one after the other.
    pub buffer: wgpu::Buffer,
    /// Which rows.
    pub rows: Range<usize>,
    /// The word where planes 1, 2 and 3 begin.
    pub planes: [u32; PLANES - 1],
    /// Bytes of weights.
    pub bytes: u64,
}

impl Packed {
    /// The matrices that `parts` become: one, or, where formats differ, one for each run
    /// of equal formats.
    ///
    /// # Errors
    /// `tensor_missing`, `tensor_shape`, `dtype_unsupported`.
    pub fn plan(
        plan: &Plan,
        tensors: &TensorTable,
        parts: &[&Linear],
        packing: Packing,
    ) -> Result<Vec<Packed>> {
        let mut matrices: Vec<Packed> = Vec::new();
        let mut first_out = 0;
        for linear in parts {
            let (dtype, [n_out, n_in]) = matrix(plan, tensors, linear.weight)?;
            let name = &plan.weights[linear.weight.0].name;
            if linear.rows.is_empty() || linear.rows.end > n_out {
                let detail = format!("rows {:?} of {n_out} are asked for", linear.rows);
                return Err(Error::new(Code::TensorShape, name, detail));
            }
            let format = Format::of(dtype, name)?;
            let part = (linear.weight, linear.rows.clone());
            let n_out = linear.n_out();
            match matrices.last_mut() {
                Some(last) if last.n_in != n_in => {
                    let detail = format!("{n_in} inputs, beside a matrix of {}", last.n_in);
                    return Err(Error::new(Code::TensorShape, name, detail));
                }
                Some(last) if packing == Packing::Interleaved => {
                    if last.parts[0].1.len() != n_out {
                        let detail = format!("{n_out} rows, beside {}", last.parts[0].1.len());
                        return Err(Error::new(Code::TensorShape, name, detail));
                    }
                    // Rows that alternate need one format. Both of a pair as halves lose
                    // less than 2^-11 of a value, far below what quantising lost.
                    if last.format != format {
                        last.format = Format::F16;
                    }
                    last.parts.push(part);
                    last.n_out += n_out;
                }
                Some(last) if last.format == format => {
                    last.parts.push(part);
                    last.n_out += n_out;
                }
                _ => matrices.push(Packed {
                    parts: vec![part],
                    packing,
                    format,
                    n_in,
                    n_out,
                    first_out,
                }),
            }
            first_out += n_out;
        }
        Ok(matrices)
    }

    /// Blocks of 32 a row.
    pub fn n_blocks(&self) -> usize {
        self.n_in.div_ceil(BLOCK)
    }

    /// Which rows go into one buffer.
    fn segments(&self, max_binding_bytes: u64) -> Result<Vec<Range<usize>>> {
        let row_bytes: usize = self.format.row_bytes(self.n_blocks()).iter().sum();
        // Four planes' alignment on top; whole pairs and whole words of halves.
        let fit = max_binding_bytes.saturating_sub(64) / row_bytes.max(1) as u64;
        let step = usize::try_from(fit)
            .unwrap_or(usize::MAX)
            .min(self.n_out.next_multiple_of(4))
            / 4
            * 4;
        if step == 0 {
            let detail = format!("a row of {row_bytes} bytes does not fit a binding");
            return Err(Error::new(Code::OutOfMemory, "weights", detail));
        }
        let starts = (0..self.n_out).step_by(step);
        Ok(starts.map(|at| at..(at + step).min(self.n_out)).collect())
    }

    /// Bytes the matrix will take on the device.
    ///
    /// # Errors
    /// `out_of_memory` where a single row does not fit a binding.
    pub fn bytes(&self, max_binding_bytes: u64) -> Result<u64> {
        let segments = self.segments(max_binding_bytes)?;
        let bytes =
            |rows: &Range<usize>| self.format.plane_offsets(self.n_blocks(), rows.len())[PLANES];
        Ok(segments.iter().map(bytes).sum())
    }

    /// Streams the matrix to the device.
    ///
    /// # Errors
    /// What the tensors report; `not_finite`; `out_of_memory`.
    pub async fn upload(
        &self,
        gpu: &Gpu,
        plan: &Plan,
        tensors: &TensorTable,
    ) -> Result<Vec<Segment>> {
        let n_blocks = self.n_blocks();
        let row_bytes = self.format.row_bytes(n_blocks);
        let name = &plan.weights[self.parts[0].0.0].name;
        let mut segments = Vec::new();
        let mut staged = 0;
        for rows in self.segments(gpu.capabilities().max_binding_bytes)? {
            let offsets = self.format.plane_offsets(n_blocks, rows.len());
            let make = || gpu.storage(name, offsets[PLANES]);
            let buffer = gpu.guarded(name, make).await?;
            let step = (CHUNK_BYTES / row_bytes.iter().sum::<usize>().max(1) / 4 * 4).max(4);
            for at in rows.clone().step_by(step) {
                let chunk = at..(at + step).min(rows.end);
                let mut planes = self.read(plan, tensors, chunk).await?;
                for (i, plane) in planes.iter_mut().enumerate() {
                    staged += plane.len();
                    plane.resize(plane.len().next_multiple_of(4), 0);
                    let to = offsets[i] + ((at - rows.start) * row_bytes[i]) as u64;
                    if !plane.is_empty() {
                        gpu.queue.write_buffer(&buffer, to, plane);
                    }
                }
                if staged > STAGED_BYTES {
                    gpu.drain().await?;
                    staged = 0;
                }
            }
            segments.push(Segment {
                buffer,
                rows,
                planes: [1, 2, 3].map(|i| (offsets[i] / 4) as u32),
                bytes: offsets[PLANES],
            });
        }
        gpu.drain().await?;
        Ok(segments)
    }

    /// Reads and repacks some rows of the packed matrix.
    async fn read(&self, plan: &Plan, tensors: &TensorTable, rows: Range<usize>) -> Result<Planes> {
        let mut planes = Planes::default();
        let n = self.parts.len();
        match self.packing {
            Packing::Stacked => {
                let mut first = 0;
                for (weight, part) in &self.parts {
                    let from = rows.start.clamp(first, first + part.len()) - first;
                    let until = rows.end.clamp(first, first + part.len()) - first;
                    first += part.len();
                    if from < until {
                        let source = part.start + from..part.start + until;
                        let (dtype, bytes) = read_rows(plan, tensors, *weight, source).await?;
                        for row in bytes.chunks_exact(bytes.len() / (until - from)) {
                            repack_row(self.format, dtype, row, self.n_in, &mut planes);
                        }
                    }
                }
            }
            Packing::Interleaved => {
                assert!(
                    rows.start.is_multiple_of(n) && rows.end.is_multiple_of(n),
                    "rows {rows:?} are not whole groups of {n}"
                );
                let each = rows.start / n..rows.end / n;
                let mut sources = Vec::new();
                for (weight, part) in &self.parts {
                    let source = part.start + each.start..part.start + each.end;
                    sources.push(read_rows(plan, tensors, *weight, source).await?);
                }
                for i in 0..each.len() {
                    for (dtype, bytes) in &sources {
                        let len = bytes.len() / each.len();
                        let row = &bytes[i * len..][..len];
                        repack_row(self.format, *dtype, row, self.n_in, &mut planes);
                    }
                }
            }
        }
        Ok(planes)
    }
}

/// Type and shape of a matrix of the plan.
fn matrix(plan: &Plan, tensors: &TensorTable, id: WeightId) -> Result<(DType, [usize; 2])> {
    let spec = &plan.weights[id.0];
    let info = tensors.get(&spec.source).ok_or_else(|| {
        Error::new(
            Code::TensorMissing,
            &spec.name,
            format!("{} is not in the checkpoint", spec.source),
        )
    })?;
    if spec.transform != Transform::None {
        return Err(Error::new(
            Code::Internal,
            &spec.name,
            "only vectors are transformed on the GPU",
        ));
    }
    let shape: [usize; 2] = spec.shape.as_slice().try_into().map_err(|_| {
        Error::new(
            Code::TensorShape,
            &spec.name,
            format!("{:?} is not a matrix", spec.shape),
        )
    })?;
    if info.shape != spec.shape {
        let detail = format!(
            "shape {:?}, but the configuration implies {:?}",
            info.shape, spec.shape
        );
        return Err(Error::new(Code::TensorShape, &spec.name, detail));
    }
    Ok((info.dtype, shape))
}

/// Rows of a matrix, checked to be finite, in the type it has on the way to the device.
async fn read_rows(
    plan: &Plan,
    tensors: &TensorTable,
    id: WeightId,
    rows: Range<usize>,
) -> Result<(DType, Vec<u8>)> {
    let spec = &plan.weights[id.0];
    let raw = tensors.read_rows(&spec.source, rows).await?;
    check_finite(&spec.name, raw.dtype, &raw.bytes)?;
    Ok((raw.dtype, raw.bytes))
}

/// A vector of the plan as numbers, transformed.
///
/// # Errors
/// `tensor_missing`, `tensor_shape`, `dtype_unsupported`, `not_finite`.
pub async fn read_vector(plan: &Plan, tensors: &TensorTable, id: WeightId) -> Result<Vec<f32>> {
    let spec = &plan.weights[id.0];
    let raw = tensors.read(&spec.source).await?;
    check_finite(&spec.name, raw.dtype, &raw.bytes)?;
    let mut values = raw.to_f32()?;
    let n: usize = spec.shape.iter().product();
    if values.len() != n {
        let detail = format!(
            "shape {:?}, but the configuration implies {:?}",
            raw.shape, spec.shape
        );
        return Err(Error::new(Code::TensorShape, &spec.name, detail));
    }
    if spec.transform == Transform::AddOne {
        values.iter_mut().for_each(|v| *v += 1.0);
    }
    Ok(values)
}
