//! Floats and blocks of 32. Each function takes whole blocks; lengths were checked.

use super::f16_to_f32;

/// Calls `f` on every block of `B` bytes and its `N` elements.
#[inline(always)]
pub(super) fn each<const B: usize, const N: usize>(
    bytes: &[u8],
    out: &mut [f32],
    f: impl Fn(&[u8; B], &mut [f32; N]),
) {
    for (block, out) in bytes.chunks_exact(B).zip(out.chunks_exact_mut(N)) {
        // Always both: `chunks_exact` gives these lengths. The compiler sees it too.
        if let (Ok(block), Ok(out)) = (block.try_into(), out.try_into()) {
            f(block, out);
        }
    }
}

/// The half-precision number at byte `at`.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

#[inline(always)]
fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

pub(super) fn f32(bytes: &[u8], out: &mut [f32]) {
    each::<4, 1>(bytes, out, |b, out| out[0] = f32::from_le_bytes(*b));
}

pub(super) fn f16(bytes: &[u8], out: &mut [f32]) {
    each::<2, 1>(bytes, out, |b, out| {
        out[0] = f16_to_f32(u16::from_le_bytes(*b))
    });
}

pub(super) fn bf16(bytes: &[u8], out: &mut [f32]) {
    each::<2, 1>(bytes, out, |b, out| {
        out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
    });
}

/// `d` (f16), 16 bytes of nibbles: elements 0..16 low, 16..32 high. `d * (q - 8)`.
pub(super) fn q4_0(bytes: &[u8], out: &mut [f32]) {
    each::<18, 32>(bytes, out, |b, out| {
        let d = half_at(b, 0);
        for j in 0..16 {
            out[j] = d * f32::from((b[2 + j] & 15) as i8 - 8);
            out[j + 16] = d * f32::from((b[2 + j] >> 4) as i8 - 8);
        }
    });
}

/// `d`, `m` (f16), nibbles as in Q4_0. `d * q + m`.
pub(super) fn q4_1(bytes: &[u8], out: &mut [f32]) {
    each::<20, 32>(bytes, out, |b, out| {
        let (d, m) = (half_at(b, 0), half_at(b, 2));
        for j in 0..16 {
            out[j] = d * f32::from(b[4 + j] & 15) + m;
            out[j + 16] = d * f32::from(b[4 + j] >> 4) + m;
        }
    });
}

/// `d` (f16), 32 fifth bits, nibbles as in Q4_0. `d * (q - 16)`.
pub(super) fn q5_0(bytes: &[u8], out: &mut [f32]) {
    each::<22, 32>(bytes, out, |b, out| {
        let (d, high) = (half_at(b, 0), u32_at(b, 2));
        for j in 0..16 {
            let (lo, hi) = five_bits(b[6 + j], high, j);
            out[j] = d * f32::from(lo as i8 - 16);
            out[j + 16] = d * f32::from(hi as i8 - 16);
        }
    });
}

/// `d`, `m` (f16), 32 fifth bits, nibbles as in Q4_0. `d * q + m`.
pub(super) fn q5_1(bytes: &[u8], out: &mut [f32]) {
    each::<24, 32>(bytes, out, |b, out| {
        let (d, m, high) = (half_at(b, 0), half_at(b, 2), u32_at(b, 4));
        for j in 0..16 {
            let (lo, hi) = five_bits(b[8 + j], high, j);
            out[j] = d * f32::from(lo) + m;
            out[j + 16] = d * f32::from(hi) + m;
        }
    });
}

/// Elements `j` and `j + 16` of a block with five bits an element.
#[inline(always)]
fn five_bits(nibbles: u8, high: u32, j: usize) -> (u8, u8) {
    let lo = (nibbles & 15) | (((high >> j) & 1) << 4) as u8;
    let hi = (nibbles >> 4) | (((high >> (j + 16)) & 1) << 4) as u8;
    (lo, hi)
}

/// `d` (f16), 32 signed bytes. `d * q`.
pub(super) fn q8_0(bytes: &[u8], out: &mut [f32]) {
    each::<34, 32>(bytes, out, |b, out| {
        let d = half_at(b, 0);
        for j in 0..32 {
            out[j] = f32::from(b[2 + j] as i8) * d;
        }
    });
}

/// The sixteen levels of IQ4_NL and IQ4_XS (ggml-common.h, `kvalues_iq4nl`).
pub(super) const IQ4_LEVELS: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// `d` (f16), nibbles as in Q4_0, each an index into the levels. `d * level`.
pub(super) fn iq4_nl(bytes: &[u8], out: &mut [f32]) {
    each::<18, 32>(bytes, out, |b, out| {
        let d = half_at(b, 0);
        for j in 0..16 {
            out[j] = d * IQ4_LEVELS[usize::from(b[2 + j] & 15)];
            out[j + 16] = d * IQ4_LEVELS[usize::from(b[2 + j] >> 4)];
        }
    });
}

/// Twice the sixteen values of FP4 E2M1 (ggml-common.h, `kvalues_mxfp4`); the scale
/// is halved to match. Zero has no sign here, as in GGML.
const MXFP4_LEVELS: [f32; 16] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0,
];

/// A block exponent (E8M0), nibbles as in Q4_0. `2^(e - 128) * level`
/// (OCP Microscaling Formats, v1.0).
pub(super) fn mxfp4(bytes: &[u8], out: &mut [f32]) {
    each::<17, 32>(bytes, out, |b, out| {
        let e = u32::from(b[0]);
        // The two smallest are subnormal in f32.
        let bits = if e < 2 {
            0x0020_0000 << e
        } else {
            (e - 1) << 23
        };
        let d = f32::from_bits(bits);
        for j in 0..16 {
            out[j] = d * MXFP4_LEVELS[usize::from(b[1 + j] & 15)];
            out[j + 16] = d * MXFP4_LEVELS[usize::from(b[1 + j] >> 4)];
        }
    });
}
