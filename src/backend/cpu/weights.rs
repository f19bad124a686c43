//! A plan's weights in memory: packed for the kernels, or as the file has them.

use std::ops::Range;

use super::compute::{Compute, Inputs};
use super::dot::{dot, dot2};
use super::kernels::{GROUP, Job, Lanes, Work};
use super::pack::Packed;
use crate::backend::plan::{Transform, WeightSpec};
use crate::error::{Code, Error, Result};
use crate::format::quant::{check_finite, dequantize_row};
use crate::format::{DType, RawTensor, TensorTable};

/// A weight of the plan.
pub enum Weight {
    /// Norms and biases: `[n]`.
    Vector(Vec<f32>),
    /// Projections and tables.
    Matrix(Matrix),
}

/// A matrix, its elements those of the file to the bit.
pub struct Matrix {
    /// Columns.
    n_in: usize,
    n_out: usize,
    stored: Stored,
}

enum Stored {
    /// For the kernels.
    Packed(Packed),
    /// As the file has it, to be dequantised a row at a time.
    Rows {
        dtype: DType,
        row_bytes: usize,
        /// Rows of `row_bytes`.
        bytes: Vec<u8>,
    },
}

impl Weight {
    /// Reads one weight: once, and without a second copy of it. With `pack` a matrix
    /// of a type that the kernels know is laid out for them.
    ///
    /// # Errors
    /// What the table reports; `tensor_shape` where the file has another shape than
    /// the plan; `not_finite` where a value is NaN or infinite.
    pub async fn read(spec: &WeightSpec, tensors: &TensorTable, pack: bool) -> Result<Self> {
        let named = |e: Error| Error::new(e.code(), &spec.name, e.detail());
        let raw = read_raw(&spec.source, tensors).await.map_err(named)?;
        if raw.shape != spec.shape {
            let detail = format!("is {:?}, and the plan wants {:?}", raw.shape, spec.shape);
            return Err(Error::new(Code::TensorShape, &spec.name, detail));
        }
        check_finite(&spec.name, raw.dtype, &raw.bytes)?;
        let offset = match spec.transform {
            Transform::None => 0.0,
            Transform::AddOne => 1.0,
        };
        let &[n_out, n_in] = spec.shape.as_slice() else {
            let mut values = raw.to_f32().map_err(named)?;
            values.iter_mut().for_each(|value| *value += offset);
            return Ok(Weight::Vector(values));
        };
        if spec.transform != Transform::None {
            let detail = "only vectors can be transformed as they are read";
            return Err(Error::new(Code::Internal, &spec.name, detail));
        }
        let row_bytes = raw
            .dtype
            .row_bytes(n_in)
            .filter(|row_bytes| row_bytes.checked_mul(n_out) == Some(raw.bytes.len()))
            .ok_or_else(|| {
                let detail = format!("{} bytes are not {n_out} rows", raw.bytes.len());
                Error::new(Code::TensorShape, &spec.name, detail)
            })?;
        let packed = match pack {
            true => Packed::new(raw.dtype, n_out, n_in, raw.bytes),
            false => Err(raw.bytes),
        };
        let stored = match packed {
            Ok(packed) => Stored::Packed(packed),
            Err(bytes) => Stored::Rows {
                dtype: raw.dtype,
                row_bytes,
                bytes,
            },
        };
        Ok(Weight::Matrix(Matrix {
            n_in,
            n_out,
            stored,
        }))
    }
}

/// Reads a tensor whole; one that is quantised as it is read, a few rows at a time, so
/// that its floats are never all in memory.
async fn read_raw(name: &str, tensors: &TensorTable) -> Result<RawTensor> {
    /// Of quantised rows at a time.
    const CHUNK_BYTES: usize = 4 << 20;
    let Some(info) = tensors.get(name) else {
        return tensors.read(name).await;
    };
    let (n_rows, n_cols) = info.matrix();
    let row_bytes = info.dtype.row_bytes(n_cols);
    let n_bytes = row_bytes.and_then(|row_bytes| row_bytes.checked_mul(n_rows));
    let (dtype, shape) = (info.dtype, info.shape.clone());
    let Some(n_bytes) = n_bytes.filter(|&n| n as u64 != info.range.end - info.range.start) else {
        return tensors.read(name).await;
    };
    let mut bytes = Vec::new();
    for rows in info.row_chunks(CHUNK_BYTES) {
        let chunk = tensors.read_rows(name, rows).await?;
        // Only now is it known that the file is as long as its header says.
        bytes.reserve_exact(n_bytes - bytes.len());
        bytes.extend_from_slice(&chunk.bytes);
    }
    Ok(RawTensor {
        name: name.to_string(),
        dtype,
        shape,
        bytes,
    })
}

impl Matrix {
    /// A matrix from parts, for tests of the ops.
    #[cfg(test)]
    pub fn new(dtype: DType, n_in: usize, bytes: Vec<u8>, pack: bool) -> Self {
        let row_bytes = dtype.row_bytes(n_in).unwrap();
        let n_out = bytes.len() / row_bytes;
        let packed = match pack {
            true => Packed::new(dtype, n_out, n_in, bytes),
            false => Err(bytes),
        };
        let stored = packed.map_or_else(
            |bytes| Stored::Rows {
                dtype,
                row_bytes,
                bytes,
            },
            Stored::Packed,
        );
        Self {
            n_in,
            n_out,
            stored,
        }
    }

    /// Columns.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Row `row` as numbers, into `out`: `[n_in]`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        match &self.stored {
            Stored::Packed(packed) => packed.row(row, out),
            Stored::Rows {
                dtype,
                row_bytes,
                bytes,
            } => dequantize_row(*dtype, &bytes[row * row_bytes..][..*row_bytes], out),
        }
    }

    /// Calls `sink(r, j, y)` with `y[i] = w[rows[j + i]] . x[r]`, so that every output
    /// comes once; a few at a time, in any order.
    ///
    /// Each weight row is read once and meets every activation row while it is in the
    /// cache; what a row sees does not depend on the others, nor on threads.
    pub fn project(
        &self,
        x: &mut Inputs<'_>,
        rows: Range<usize>,
        compute: &mut Compute,
        sink: impl FnMut(usize, usize, &[f32]),
    ) {
        assert_eq!(x.n_in, self.n_in, "columns");
        assert!(rows.end <= self.n_out, "{rows:?} of {} rows", self.n_out);
        if x.x.is_empty() || rows.is_empty() {
            return;
        }
        if let Stored::Packed(packed) = &self.stored {
            return self.project_packed(packed, x, rows, compute, sink);
        }
        compute.processor.work(ByRow {
            matrix: self,
            x: x.x,
            rows,
            scratch: &mut compute.row,
            sink,
        });
    }

    fn project_packed(
        &self,
        packed: &Packed,
        x: &mut Inputs<'_>,
        rows: Range<usize>,
        compute: &mut Compute,
        mut sink: impl FnMut(usize, usize, &[f32]),
    ) {
        let n_rows = x.x.len() / self.n_in;
        let Compute {
            processor,
            pool,
            out,
            ..
        } = compute;
        let x = x.columns(packed, *processor, pool);
        let (first, end) = (rows.start / GROUP, rows.end.div_ceil(GROUP));
        let group_bytes = packed.group_bytes();
        let groups = &packed.bytes[first * group_bytes..end * group_bytes];
        out.clear();
        out.resize((end - first) * n_rows, [0.0; GROUP]);
        let piece = pool.piece(end - first, GROUP * packed.n_columns() * n_rows);
        pool.chunks(out, piece * n_rows, |i, out| {
            let n_groups = out.len() / n_rows;
            processor.run(&mut Job {
                form: packed.form,
                groups: &groups[i * piece * group_bytes..][..n_groups * group_bytes],
                n_blocks: packed.n_blocks,
                x,
                n_rows,
                out,
            });
        });
        for (g, out) in out.chunks_exact(n_rows).enumerate() {
            let start = (first + g) * GROUP;
            let wanted = rows.start.max(start)..rows.end.min(start + GROUP);
            for (r, out) in out.iter().enumerate() {
                let out = &out[wanted.start - start..wanted.end - start];
                sink(r, wanted.start - rows.start, out);
            }
        }
    }
}

/// A dequantised row at a time, on this thread; activations are not rounded.
struct ByRow<'a, F> {
    matrix: &'a Matrix,
    /// `[R, n_in]`.
    x: &'a [f32],
    rows: Range<usize>,
    scratch: &'a mut Vec<f32>,
    sink: F,
}

impl<F: FnMut(usize, usize, &[f32])> Work for ByRow<'_, F> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, _: L) {
        let n_in = self.matrix.n_in;
        let scratch = self.scratch;
        scratch.resize(n_in, 0.0);
        for (j, row) in self.rows.enumerate() {
            self.matrix.row(row, scratch);
            let mut pairs = self.x.chunks_exact(2 * n_in);
            let mut r = 0;
            for pair in &mut pairs {
                let (x0, x1) = pair.split_at(n_in);
                let [y0, y1] = dot2(x0, x1, scratch);
                (self.sink)(r, j, &[y0]);
                (self.sink)(r + 1, j, &[y1]);
                r += 2;
            }
            if !pairs.remainder().is_empty() {
                (self.sink)(r, j, &[dot(pairs.remainder(), scratch)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::noise;
    use super::*;
    use crate::backend::cpu::pool::Spawn;

    const N_OUT: usize = 13;
    const N_IN: usize = 512;

    /// Seventeen rows of activations.
    fn activations() -> Vec<f32> {
        let bytes = noise(17 * N_IN);
        bytes.iter().map(|&b| f32::from(b) - 99.5).collect()
    }

    /// `[R, rows]`.
    fn run(matrix: &Matrix, x: &[f32], rows: Range<usize>, compute: &mut Compute) -> Vec<f32> {
        let mut out = vec![f32::NAN; x.len() / matrix.n_in() * rows.len()];
        let mut x = compute.inputs(x, matrix.n_in());
        matrix.project(&mut x, rows.clone(), compute, |r, j, y| {
            out[r * rows.len() + j..][..y.len()].copy_from_slice(y);
        });
        compute.recycle(x);
        out
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it() {
        let x = activations();
        for (&dtype, pack) in DType::ALL.iter().flat_map(|d| [(d, false), (d, true)]) {
            let row_bytes = dtype.row_bytes(N_IN).unwrap();
            let matrix = Matrix::new(dtype, N_IN, noise(N_OUT * row_bytes), pack);
            let mut compute = Compute::new(1, Spawn::SYSTEM);
            let mut run = |x: &[f32]| bits(&run(&matrix, x, 0..N_OUT, &mut compute));
            let alone: Vec<u32> = x.chunks(N_IN).flat_map(&mut run).collect();
            for n_rows in 1..=17 {
                let found = run(&x[..n_rows * N_IN]);
                assert_eq!(found, alone[..n_rows * N_OUT], "{dtype}, {n_rows} rows");
            }
        }
    }

    #[test]
    fn an_output_does_not_depend_on_threads_or_on_which_others_are_wanted() {
        let x = activations();
        for &dtype in DType::ALL {
            let row_bytes = dtype.row_bytes(N_IN).unwrap();
            // Enough for pieces on each of five threads.
            let n_out = 2003;
            let matrix = Matrix::new(dtype, N_IN, noise(n_out * row_bytes), true);
            let all = bits(&run(
                &matrix,
                &x,
                0..n_out,
                &mut Compute::new(1, Spawn::SYSTEM),
            ));
            for n_threads in [2, 3, 5] {
                let found = run(
                    &matrix,
                    &x,
                    0..n_out,
                    &mut Compute::new(n_threads, Spawn::SYSTEM),
                );
                assert!(bits(&found) == all, "{dtype}, {n_threads} threads");
            }
            for rows in [3..4, 5..17, 8..16, 1..2003] {
                let found = run(
                    &matrix,
                    &x,
                    rows.clone(),
                    &mut Compute::new(2, Spawn::SYSTEM),
                );
                let want = all.chunks(n_out).flat_map(|row| row[rows.clone()].to_vec());
                assert!(
                    bits(&found) == want.collect::<Vec<_>>(),
                    "{dtype}, {rows:?}"
                );
            }
        }
    }

    /// Against sums in `f64` of the numbers that the file has. A sixteen-bit activation
    /// is off by at most half a step, 1/65534 of the largest of its 32 columns (and a
    /// little, as the step is rounded too); an `f32` sum by an ulp or so a term.
    #[test]
    fn a_projection_is_off_by_no_more_than_sixteen_bits_allow() {
        for &dtype in DType::ALL {
            for n_blocks in [1, 3] {
                let n_in = match dtype.block_len() {
                    1 => n_blocks * 37,
                    len => n_blocks * len,
                };
                let row_bytes = dtype.row_bytes(n_in).unwrap();
                // Columns of every magnitude beside one another.
                let x: Vec<f32> = noise(5 * n_in)
                    .iter()
                    .enumerate()
                    .map(|(i, &b)| (f32::from(b) - 99.5) * 0.1f32.powi(i as i32 % 7))
                    .collect();
                for pack in [false, true] {
                    let matrix = Matrix::new(dtype, n_in, noise(N_OUT * row_bytes), pack);
                    let is_rounded = match &matrix.stored {
                        Stored::Packed(packed) => !packed.form.is_float(),
                        Stored::Rows { .. } => false,
                    };
                    let found = run(&matrix, &x, 0..N_OUT, &mut Compute::new(1, Spawn::SYSTEM));
                    let mut w = vec![0.0; n_in];
                    for (at, &y) in found.iter().enumerate() {
                        matrix.row(at % N_OUT, &mut w);
                        let x = &x[at / N_OUT * n_in..][..n_in];
                        let (mut sum, mut bound) = (0.0, 0.0);
                        for (w, x) in w.chunks(32).zip(x.chunks(32)) {
                            let largest = x.iter().fold(0f32, |max, x| max.max(x.abs()));
                            for (w, x) in w.iter().zip(x) {
                                sum += f64::from(*w) * f64::from(*x);
                                let step = f64::from(largest) / 65_534.0 * 1.01;
                                let off = if is_rounded { step } else { 0.0 };
                                let ulps = f64::from(x.abs()).max(off) * n_in as f64 * 1.2e-7;
                                bound += f64::from(w.abs()) * (off + ulps);
                            }
                            // The parts of a sum that offsets and minimums cancel.
                            bound += f64::from(largest) * 32.0 * 32.0 * 1.2e-7 * 2.0;
                        }
                        let off = (f64::from(y) - sum).abs();
                        assert!(off <= bound, "{dtype}, {n_in}: off by {off:e} of {bound:e}");
                    }
                }
            }
        }
    }
}
