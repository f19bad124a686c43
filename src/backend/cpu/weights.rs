//! A plan's weights in memory, as the file has them.

use std::ops::Range;

use super::dot::{dot, dot2};
use crate::backend::plan::{Transform, WeightSpec};
use crate::error::{Code, Error, Result};
use crate::format::quant::{check_finite, dequantize_row};
use crate::format::{DType, TensorTable};

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
    /// Reads one weight: once, whole, and no copy of it is made.
    ///
    /// # Errors
    /// What the table reports; `tensor_shape` where the file has another shape than
    /// the plan; `not_finite` where a value is NaN or infinite.
    pub async fn read(spec: &WeightSpec, tensors: &TensorTable) -> Result<Self> {
        let named = |e: Error| Error::new(e.code(), &spec.name, e.detail());
        let raw = tensors.read(&spec.source).await.map_err(named)?;
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
            if let [] = pairs.remainder() {
                continue;
            }
            sink(r, j, dot(pairs.remainder(), scratch));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are whole blocks of any type; some of the values are not finite.
    fn noise(n_bytes: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
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
