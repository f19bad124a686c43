//! A plan's weights in memory, as the file has them.

use std::ops::Range;

use super::dot::{dot, dot2};
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

/// A matrix in the file's own element type.
pub struct Matrix {
    dtype: DType,
    /// Columns.
    n_in: usize,
    row_bytes: usize,
    /// Rows of `row_bytes`.
    bytes: Vec<u8>,
}

impl Weight {
    /// Reads one weight: once, and without a second copy of it.
    ///
    /// # Errors
    /// What the table reports; `tensor_shape` where the file has another shape than
    /// the plan; `not_finite` where a value is NaN or infinite.
    pub async fn read(spec: &WeightSpec, tensors: &TensorTable) -> Result<Self> {
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
        Ok(Weight::Matrix(Matrix {
            dtype: raw.dtype,
            n_in,
            row_bytes,
            bytes: raw.bytes,
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
    pub fn new(dtype: DType, n_in: usize, bytes: Vec<u8>) -> Self {
        Self {
            dtype,
            n_in,
            row_bytes: dtype.row_bytes(n_in).unwrap(),
            bytes,
        }
    }

    /// Columns.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Row `row` as numbers, into `out`: `[n_in]`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        let bytes = &self.bytes[row * self.row_bytes..][..self.row_bytes];
        dequantize_row(self.dtype, bytes, out);
    }

    /// Calls `sink(r, j, y)` with `y = w[rows[j]] . x[r]` for every `r` and `j`.
    ///
    /// Each weight row is read and dequantised once and meets every activation row
    /// while it is in the cache; what a row sees does not depend on the others.
    ///
    /// `x` is `[R, n_in]`; `scratch` grows to a row.
    pub fn project(
        &self,
        x: &[f32],
        rows: Range<usize>,
        scratch: &mut Vec<f32>,
        sink: impl FnMut(usize, usize, f32),
    ) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was asked.
            return unsafe { self.project_wide(x, rows, scratch, sink) };
        }
        self.project_here(x, rows, scratch, sink);
    }

    /// [`Matrix::project`] compiled for vectors of eight: the same operations in the
    /// same order, so the same bits.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn project_wide(
        &self,
        x: &[f32],
        rows: Range<usize>,
        scratch: &mut Vec<f32>,
        sink: impl FnMut(usize, usize, f32),
    ) {
        self.project_here(x, rows, scratch, sink);
    }

    #[inline(always)]
    fn project_here(
        &self,
        x: &[f32],
        rows: Range<usize>,
        scratch: &mut Vec<f32>,
        mut sink: impl FnMut(usize, usize, f32),
    ) {
        let n_in = self.n_in;
        assert_eq!(x.len() % n_in, 0, "{} elements in rows of {n_in}", x.len());
        scratch.resize(n_in, 0.0);
        for (j, row) in rows.enumerate() {
            self.row(row, scratch);
            let mut pairs = x.chunks_exact(2 * n_in);
            let mut r = 0;
            for pair in &mut pairs {
                let (x0, x1) = pair.split_at(n_in);
                let [y0, y1] = dot2(x0, x1, scratch);
                sink(r, j, y0);
                sink(r + 1, j, y1);
                r += 2;
            }
            if !pairs.remainder().is_empty() {
                sink(r, j, dot(pairs.remainder(), scratch));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are whole blocks of any type, each of a finite value: no float, scale
    /// or exponent has its highest exponent bit set.
    fn noise(n_bytes: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0xbf
        };
        (0..n_bytes).map(|_| next()).collect()
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it() {
        const N_IN: usize = 512;
        const N_OUT: usize = 3;
        let x: Vec<f32> = noise(17 * N_IN)
            .iter()
            .map(|&b| f32::from(b) - 99.5)
            .collect();
        for &dtype in DType::ALL {
            let row_bytes = dtype.row_bytes(N_IN).unwrap();
            let matrix = Matrix::new(dtype, N_IN, noise(N_OUT * row_bytes));
            let run = |x: &[f32]| {
                let mut out = vec![0u32; x.len() / N_IN * N_OUT];
                matrix.project(x, 0..N_OUT, &mut Vec::new(), |r, j, y| {
                    out[r * N_OUT + j] = y.to_bits();
                });
                out
            };
            let alone: Vec<u32> = x.chunks(N_IN).flat_map(run).collect();
            for n_rows in 1..=17 {
                let found = run(&x[..n_rows * N_IN]);
                assert_eq!(found, alone[..n_rows * N_OUT], "{dtype}, {n_rows} rows");
            }
        }
    }
}
