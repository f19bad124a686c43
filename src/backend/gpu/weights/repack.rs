//! One matrix row: a file's blocks -> the planes of a [`Format`].
//!
//! Block layouts are GGML's (ggml-common.h); `format::quant` has the scalar
//! functions that say what their elements mean. Bytes were checked: whole blocks, and
//! finite.

use super::format::{BLOCK, Format, PLANES, SUPERBLOCK};
use crate::format::DType;
use crate::format::quant::dequantize_row;

/// The planes of some rows, one row after the other.
pub type Planes = [Vec<u8>; PLANES];

/// Appends a row of `n` elements in `dtype`'s blocks to `planes`, padded to whole blocks
/// of 32.
pub fn repack_row(format: Format, dtype: DType, row: &[u8], n: usize, planes: &mut Planes) {
    let start = planes[0].len();
    match (format, dtype) {
        (Format::F32, DType::F32) | (Format::F16, DType::F16) | (Format::BF16, DType::BF16) => {
            planes[0].extend_from_slice(row);
            let padded = format.row_bytes(n.div_ceil(BLOCK))[0];
            planes[0].resize(start + padded, 0);
        }
        (Format::F16, _) => {
            let mut values = vec![0.0; n.next_multiple_of(BLOCK)];
            dequantize_row(dtype, row, &mut values[..n]);
            let halves = values
                .iter()
                .flat_map(|v| half::f16::from_f32(*v).to_le_bytes());
            planes[0].extend(halves);
        }
        _ => {
            let bytes = dtype.block_bytes();
            assert!(bytes > 1, "{dtype} has no layout as {format:?}");
            for block in row.chunks_exact(bytes) {
                repack_block(dtype, block, planes);
            }
        }
    }
}

fn repack_block(dtype: DType, b: &[u8], planes: &mut Planes) {
    let [p0, p1, p2, p3] = planes;
    match dtype {
        DType::Q8_0 => {
            p0.extend_from_slice(&b[2..]);
            p1.extend_from_slice(&b[..2]);
        }
        // The nibbles of blocks of 32 already lie as the shader wants them.
        DType::Q4_0 => {
            p0.extend_from_slice(&b[2..]);
            p1.extend_from_slice(&b[..2]);
        }
        DType::Q4_1 => {
            p0.extend_from_slice(&b[4..]);
            p1.extend_from_slice(&b[..4]);
        }
        DType::Q5_0 => {
            p0.extend_from_slice(&b[6..]);
            p1.extend_from_slice(&b[..2]);
            p2.extend_from_slice(&b[2..6]);
        }
        DType::Q5_1 => {
            p0.extend_from_slice(&b[8..]);
            p1.extend_from_slice(&b[..4]);
            p2.extend_from_slice(&b[4..8]);
        }
        DType::IQ4NL => {
            levels(&b[2..], &IQ4_LEVELS, p0);
            p1.extend_from_slice(&b[..2]);
        }
        DType::MXFP4 => {
            levels(&b[1..], &MXFP4_LEVELS, p0);
            // 2^(e - 128): the levels are doubled. The two smallest are subnormal.
            let e = u32::from(b[0]);
            let bits = if e < 2 {
                0x0020_0000 << e
            } else {
                (e - 1) << 23
            };
            p1.extend_from_slice(&bits.to_le_bytes());
        }
        DType::IQ4XS => {
            let d = half(&b[0..2]);
            let high = u16::from_le_bytes([b[2], b[3]]);
            for sub in 0..8 {
                let low = (b[4 + sub / 2] >> (4 * (sub % 2))) & 15;
                let scale = low | ((((high >> (2 * sub)) & 3) as u8) << 4);
                let d = d * (f32::from(scale) - 32.0);
                levels(&b[8 + 16 * sub..][..16], &IQ4_LEVELS, p0);
                p1.extend_from_slice(&d.to_le_bytes());
            }
        }
        DType::Q4K => {
            p1.extend_from_slice(&b[..16]);
            let q = nibbles_of_pairs(&b[16..]);
            push_nibbles(&q, p0);
        }
        DType::Q5K => {
            p1.extend_from_slice(&b[..16]);
            let q = nibbles_of_pairs(&b[48..]);
            push_nibbles(&q, p0);
            let high: [u8; SUPERBLOCK] =
                std::array::from_fn(|e| (b[16 + e % BLOCK] >> (e / BLOCK)) & 1);
            push_bits(&high, p2);
        }
        DType::Q6K => {
            // 128 elements share 64 bytes of nibbles (low half first) and 32 of pairs.
            let low: [u8; SUPERBLOCK] = std::array::from_fn(|e| {
                let (half, e) = (e / 128, e % 128);
                (b[64 * half + e % 64] >> (4 * (e / 64))) & 15
            });
            let high: [u8; SUPERBLOCK] = std::array::from_fn(|e| {
                let (half, e) = (e / 128, e % 128);
                (b[128 + 32 * half + e % 32] >> (2 * (e / 32))) & 3
            });
            push_nibbles(&low, p0);
            p1.extend_from_slice(&b[192..208]);
            push_pairs(&high, p2);
            p3.extend_from_slice(&b[208..]);
        }
        DType::Q3K => {
            push_pairs(&bit_pairs(&b[32..96]), p0);
            for sub in 0..16 {
                let low = (b[96 + sub % 8] >> (4 * (sub / 8))) & 15;
                let high = (b[104 + sub % 4] >> (2 * (sub / 4))) & 3;
                p1.push((low | (high << 4)).wrapping_sub(32));
            }
            let high: [u8; SUPERBLOCK] = std::array::from_fn(|e| (b[e % BLOCK] >> (e / BLOCK)) & 1);
            push_bits(&high, p2);
            p3.extend_from_slice(&b[108..]);
        }
        DType::Q2K => {
            push_pairs(&bit_pairs(&b[16..80]), p0);
            p1.extend_from_slice(&b[..16]);
            p3.extend_from_slice(&b[80..]);
        }
        DType::F32 | DType::F16 | DType::BF16 | DType::Unknown(_) => {
            unreachable!("{dtype} has no blocks")
        }
    }
}

fn half(bytes: &[u8]) -> f32 {
    crate::format::quant::f16_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// ggml-common.h, `kvalues_iq4nl`.
const IQ4_LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// ggml-common.h, `kvalues_mxfp4`: twice the values of FP4 E2M1.
const MXFP4_LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 16 bytes of nibbles, elements 0..16 low and 16..32 high, through a table.
fn levels(nibbles: &[u8], table: &[i8; 16], out: &mut Vec<u8>) {
    out.extend(nibbles.iter().map(|b| table[usize::from(b & 15)] as u8));
    out.extend(nibbles.iter().map(|b| table[usize::from(b >> 4)] as u8));
}

/// The nibbles of Q4_K and Q5_K: 64 elements share 32 bytes, the first 32 low.
fn nibbles_of_pairs(b: &[u8]) -> [u8; SUPERBLOCK] {
    std::array::from_fn(|e| (b[32 * (e / 64) + e % 32] >> (4 * (e / 32 % 2))) & 15)
}

/// The bit pairs of Q2_K and Q3_K: 128 elements share 32 bytes, four a byte, 32
/// elements apart.
fn bit_pairs(b: &[u8]) -> [u8; SUPERBLOCK] {
    std::array::from_fn(|e| (b[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32))) & 3)
}

/// Nibbles as Q4_0 has them: byte `j` of a block holds elements `j` and `j + 16`.
fn push_nibbles(q: &[u8; SUPERBLOCK], out: &mut Vec<u8>) {
    for block in q.chunks_exact(BLOCK) {
        out.extend((0..16).map(|j| block[j] | (block[j + 16] << 4)));
    }
}

/// Bit pairs, so that one shift and mask of a word gives four neighbours, one a byte:
/// byte `j` of a half block holds elements `j`, `j + 4`, `j + 8` and `j + 12` of it.
fn push_pairs(q: &[u8; SUPERBLOCK], out: &mut Vec<u8>) {
    for half in q.chunks_exact(BLOCK / 2) {
        out.extend(
            (0..4).map(|j| half[j] | (half[j + 4] << 2) | (half[j + 8] << 4) | (half[j + 12] << 6)),
        );
    }
}

/// Single bits, element `e` of a block in bit `e` of its word.
fn push_bits(q: &[u8; SUPERBLOCK], out: &mut Vec<u8>) {
    for byte in q.chunks_exact(8) {
        out.push(
            byte.iter()
                .enumerate()
                .fold(0, |bits, (i, bit)| bits | (bit << i)),
        );
    }
}
