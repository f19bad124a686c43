//! The file's rows -> groups of eight, interleaved as the kernels read them.
//!
//! Nothing is rounded: [`Packed::row`] gives [`dequantize_row`]'s numbers back, to the
//! bit. Most types keep their size; see [`packed_bytes`] for what grows and why.
//!
//! [`dequantize_row`]: crate::format::quant::dequantize_row

use super::kernels::{Form, GROUP};
use crate::format::DType;
use crate::format::quant::f16_to_f32;

/// Narrower matrices stay as they are: padding would cost more than kernels gain.
const MIN_COLUMNS: usize = 32;

/// A matrix in groups of eight rows.
pub struct Packed {
    pub form: Form,
    /// Blocks of a row.
    pub n_blocks: usize,
    n_in: usize,
    /// Whole groups; rows past the matrix's are zeros.
    pub bytes: Vec<u8>,
}

/// The layout that rows of `n_in` elements of `dtype` get; `None` where they stay as
/// the file has them.
fn form(dtype: DType, n_in: usize) -> Option<Form> {
    if n_in < MIN_COLUMNS {
        return None;
    }
    Some(match dtype {
        DType::F32 => Form::F32,
        DType::BF16 => Form::Bf16,
        DType::F16 => Form::F16,
        DType::Q8_0 => Form::Q8,
        DType::Q4_0 => Form::Q4,
        DType::Q4_1 => Form::Q4Offset,
        DType::Q4K => Form::Q4K,
        DType::Q6K => Form::Q6K,
        _ => return None,
    })
}

/// Bytes that a matrix takes when it is packed; `None` where it stays as it is.
///
/// Beyond the file's: Q8_0 keeps its scales as `f32` (6%), Q4_K its scales as whole
/// bytes (3%), Q6_K its elements too (30%); rows are padded to a multiple of eight, and
/// those of floats to whole segments.
pub fn packed_bytes(dtype: DType, n_out: usize, n_in: usize) -> Option<usize> {
    let form = form(dtype, n_in)?;
    let row = n_in
        .div_ceil(form.columns())
        .checked_mul(form.block_bytes())?;
    row.checked_mul(n_out.div_ceil(GROUP))
}

impl Packed {
    /// Packs the rows of a matrix, in place as far as they fit; `Err` gives the bytes
    /// back where the type has no layout or there is no memory for one.
    pub fn new(dtype: DType, n_out: usize, n_in: usize, bytes: Vec<u8>) -> Result<Self, Vec<u8>> {
        let sizes = form(dtype, n_in)
            .zip(dtype.row_bytes(n_in))
            .zip(packed_bytes(dtype, n_out, n_in));
        let Some(((form, row_bytes), n_bytes)) = sizes else {
            return Err(bytes);
        };
        let mut bytes = bytes;
        assert_eq!(bytes.len(), n_out * row_bytes, "{n_out} rows of {dtype}");
        let n_more = n_bytes.saturating_sub(bytes.len());
        if bytes.try_reserve_exact(n_more).is_err() {
            return Err(bytes);
        }
        bytes.resize(n_bytes, 0);
        let n_blocks = n_in.div_ceil(form.columns());
        let group_bytes = n_blocks * form.block_bytes();
        // No group is smaller than its rows were, so from the last to the first none is
        // written over rows that are still to be read.
        let mut rows = Vec::with_capacity(GROUP * row_bytes);
        for g in (0..n_out.div_ceil(GROUP)).rev() {
            let from = g * GROUP * row_bytes;
            rows.clear();
            rows.extend_from_slice(&bytes[from..][..(n_out - g * GROUP).min(GROUP) * row_bytes]);
            rows.resize(GROUP * row_bytes, 0);
            let group = &mut bytes[g * group_bytes..][..group_bytes];
            group.fill(0);
            for (r, row) in rows.chunks_exact(row_bytes).enumerate() {
                pack_row(form, r, row, group);
            }
        }
        Ok(Self {
            form,
            n_blocks,
            n_in,
            bytes,
        })
    }

    /// Columns of activations, padding included.
    pub fn n_columns(&self) -> usize {
        self.n_blocks * self.form.columns()
    }

    /// Bytes of a group.
    pub fn group_bytes(&self) -> usize {
        self.n_blocks * self.form.block_bytes()
    }

    /// Row `row` as numbers, into `out`: `[n_in]`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.n_in, "elements of a row");
        let group = &self.bytes[row / GROUP * self.group_bytes()..][..self.group_bytes()];
        let blocks = group.chunks_exact(self.form.block_bytes());
        for (block, out) in blocks.zip(out.chunks_mut(self.form.columns())) {
            unpack_row(self.form, row % GROUP, block, out);
        }
    }
}

fn half(bytes: &[u8], r: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([bytes[2 * r], bytes[2 * r + 1]]))
}

/// Where `column` of row `r` is among interleaved elements of `N` bytes: pairs of
/// columns, each eight pairs.
fn interleaved<const N: usize>(r: usize, column: usize) -> usize {
    ((column / 2 * GROUP + r) * 2 + column % 2) * N
}

/// Where the nibble of `column` of row `r` is: its byte and its shift. Eight columns
/// take sixteen words of four nibbles: word `2r + p` has the columns `p, p + 2, ..`.
fn nibble(r: usize, column: usize) -> (usize, u32) {
    let (eight, within) = (column / 8, column % 8);
    let (nibble, parity) = (within / 2, within % 2);
    let word = 2 * r + parity;
    (32 * eight + 2 * word + nibble / 2, 4 * (nibble as u32 % 2))
}

/// Writes 32 columns of nibbles.
fn put_nibbles(r: usize, to: &mut [u8], element: impl Fn(usize) -> u8) {
    for column in 0..32 {
        let (at, shift) = nibble(r, column);
        to[at] |= (element(column) & 15) << shift;
    }
}

/// Column `column` of a block of 32 nibbles: the low ones of sixteen bytes, then the
/// high ones.
fn low_then_high(bytes: &[u8], column: usize) -> u8 {
    bytes[column % 16] >> (4 * (column / 16))
}

/// The six-bit scale and minimum of sub-block `sub` of Q4_K (ggml-quants.c,
/// `get_scale_min_k4`).
fn scale_min(packed: &[u8], sub: usize) -> (u8, u8) {
    if sub < 4 {
        return (packed[sub] & 63, packed[sub + 4] & 63);
    }
    let low = packed[sub + 4];
    (
        (low & 15) | ((packed[sub - 4] >> 6) << 4),
        (low >> 4) | ((packed[sub] >> 6) << 4),
    )
}

/// Writes row `r` of a zeroed group from the file's bytes.
fn pack_row(form: Form, r: usize, row: &[u8], group: &mut [u8]) {
    let blocks = group.chunks_exact_mut(form.block_bytes());
    match form {
        Form::F32 => {
            for (column, value) in row.as_chunks::<4>().0.iter().enumerate() {
                group[(column * GROUP + r) * 4..][..4].copy_from_slice(value);
            }
        }
        Form::Bf16 | Form::F16 => {
            for (column, value) in row.as_chunks::<2>().0.iter().enumerate() {
                group[interleaved::<2>(r, column)..][..2].copy_from_slice(value);
            }
        }
        Form::Q8 => {
            for (from, to) in row.as_chunks::<34>().0.iter().zip(blocks) {
                to[4 * r..][..4].copy_from_slice(&half(from, 0).to_le_bytes());
                for (p, pair) in from[2..].as_chunks::<2>().0.iter().enumerate() {
                    to[32 + (p * GROUP + r) * 2..][..2].copy_from_slice(pair);
                }
            }
        }
        Form::Q4 => {
            for (from, to) in row.as_chunks::<18>().0.iter().zip(blocks) {
                to[2 * r..][..2].copy_from_slice(&from[..2]);
                put_nibbles(r, &mut to[16..], |column| low_then_high(&from[2..], column));
            }
        }
        Form::Q4Offset => {
            for (from, to) in row.as_chunks::<20>().0.iter().zip(blocks) {
                to[2 * r..][..2].copy_from_slice(&from[..2]);
                to[16 + 2 * r..][..2].copy_from_slice(&from[2..4]);
                put_nibbles(r, &mut to[32..], |column| low_then_high(&from[4..], column));
            }
        }
        Form::Q4K => {
            for (from, to) in row.as_chunks::<144>().0.iter().zip(blocks) {
                to[2 * r..][..2].copy_from_slice(&from[..2]);
                to[16 + 2 * r..][..2].copy_from_slice(&from[2..4]);
                for (sub, to) in to[32..].as_chunks_mut::<144>().0.iter_mut().enumerate() {
                    (to[r], to[8 + r]) = scale_min(&from[4..16], sub);
                    let nibbles = &from[16 + 32 * (sub / 2)..][..32];
                    put_nibbles(r, &mut to[16..], |column| {
                        nibbles[column] >> (4 * (sub % 2))
                    });
                }
            }
        }
        Form::Q6K => {
            for (from, to) in row.as_chunks::<210>().0.iter().zip(blocks) {
                to[2 * r..][..2].copy_from_slice(&from[208..]);
                for (sub, to) in to[16..].as_chunks_mut::<136>().0.iter_mut().enumerate() {
                    to[r] = from[192 + sub];
                    // 128 elements share 64 bytes of nibbles (low half first) and 32 of pairs.
                    let (half, within) = (sub / 8, sub % 8);
                    let low = &from[64 * half + 16 * (within % 4)..][..16];
                    let high = &from[128 + 32 * half + 16 * (within % 2)..][..16];
                    for column in 0..16 {
                        let low = (low[column] >> (4 * (within / 4))) & 15;
                        let high = (high[column] >> (2 * (within / 2))) & 3;
                        let value = (low | (high << 4)) as i8 - 32;
                        to[8 + interleaved::<1>(r, column)] = value as u8;
                    }
                }
            }
        }
    }
}

/// Reads row `r` of a block; the order of operations is that of
/// [`crate::format::quant`], so the bits are too.
fn unpack_row(form: Form, r: usize, block: &[u8], out: &mut [f32]) {
    let nibble_at = |bytes: &[u8], column: usize| {
        let (at, shift) = nibble(r, column);
        (bytes[at] >> shift) & 15
    };
    match form {
        Form::F32 => {
            for (column, out) in out.iter_mut().enumerate() {
                let bytes = block[(column * GROUP + r) * 4..].first_chunk();
                *out = f32::from_le_bytes(*bytes.unwrap_or(&[0; 4]));
            }
        }
        Form::Bf16 | Form::F16 => {
            for (column, out) in out.iter_mut().enumerate() {
                let at = interleaved::<2>(r, column);
                let bits = u16::from_le_bytes([block[at], block[at + 1]]);
                *out = match form {
                    Form::F16 => f16_to_f32(bits),
                    _ => f32::from_bits(u32::from(bits) << 16),
                };
            }
        }
        Form::Q8 => {
            let d = f32::from_le_bytes(*block[4 * r..].first_chunk().unwrap_or(&[0; 4]));
            for (column, out) in out.iter_mut().enumerate() {
                *out = f32::from(block[32 + interleaved::<1>(r, column)] as i8) * d;
            }
        }
        Form::Q4 => {
            let d = half(block, r);
            for (column, out) in out.iter_mut().enumerate() {
                *out = d * f32::from(nibble_at(&block[16..], column) as i8 - 8);
            }
        }
        Form::Q4Offset => {
            let (d, m) = (half(block, r), half(&block[16..], r));
            for (column, out) in out.iter_mut().enumerate() {
                *out = d * f32::from(nibble_at(&block[32..], column)) + m;
            }
        }
        Form::Q4K => {
            let (d, d_min) = (half(block, r), half(&block[16..], r));
            let subs = block[32..].as_chunks::<144>().0;
            for (sub, out) in subs.iter().zip(out.chunks_exact_mut(32)) {
                let scale = d * f32::from(sub[r]);
                let min = d_min * f32::from(sub[8 + r]);
                for (column, out) in out.iter_mut().enumerate() {
                    *out = scale * f32::from(nibble_at(&sub[16..], column)) - min;
                }
            }
        }
        Form::Q6K => {
            let d = half(block, r);
            let subs = block[16..].as_chunks::<136>().0;
            for (sub, out) in subs.iter().zip(out.chunks_exact_mut(16)) {
                let scale = d * f32::from(sub[r] as i8);
                for (column, out) in out.iter_mut().enumerate() {
                    *out = scale * f32::from(sub[8 + interleaved::<1>(r, column)] as i8);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::noise;
    use super::*;
    use crate::format::quant::dequantize_row;

    #[test]
    fn a_packed_row_has_the_numbers_of_the_file() {
        for &dtype in DType::ALL {
            for (n_out, blocks) in [(1, 1), (8, 2), (13, 3), (17, 1)] {
                let n_in = match dtype.block_len() {
                    1 => blocks * 37,
                    len => blocks * len,
                };
                let row_bytes = dtype.row_bytes(n_in).unwrap();
                let bytes = noise(n_out * row_bytes);
                let Ok(packed) = Packed::new(dtype, n_out, n_in, bytes.clone()) else {
                    assert!(packed_bytes(dtype, n_out, n_in).is_none());
                    continue;
                };
                assert_eq!(packed_bytes(dtype, n_out, n_in), Some(packed.bytes.len()));
                for (row, bytes) in bytes.chunks_exact(row_bytes).enumerate() {
                    let (mut want, mut found) = (vec![0.0; n_in], vec![1.0; n_in]);
                    dequantize_row(dtype, bytes, &mut want);
                    packed.row(row, &mut found);
                    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&found), bits(&want), "{dtype}, row {row} of {n_out}");
                }
            }
        }
    }

    #[test]
    fn packing_does_not_grow_a_matrix_by_much() {
        for &dtype in DType::ALL {
            let (n_out, n_in) = (512, 1024);
            let stored = n_out * dtype.row_bytes(n_in).unwrap();
            if let Some(packed) = packed_bytes(dtype, n_out, n_in) {
                let growth = packed as f64 / stored as f64;
                assert!((1.0..1.31).contains(&growth), "{dtype}: {growth}");
            }
        }
    }
}
