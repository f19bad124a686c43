//! Blocks of 256 with scales of sub-blocks. Each function takes whole blocks;
//! lengths were checked.

use super::blocks::{IQ4_LEVELS, each, half_at};

/// 16 bytes of (scale, min) nibbles, 64 bytes of two-bit elements, `d`, `dmin`
/// (f16). Sub-blocks of 16: `d * scale * q - dmin * min`.
pub(super) fn q2_k(bytes: &[u8], out: &mut [f32]) {
    each::<84, 256>(bytes, out, |b, out| {
        let (d, dmin) = (half_at(b, 80), half_at(b, 82));
        for (sub, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(b[sub] & 15);
            let min = dmin * f32::from(b[sub] >> 4);
            let (at, shift) = two_bits(sub);
            for (l, out) in out.iter_mut().enumerate() {
                *out = scale * f32::from((b[16 + at + l] >> shift) & 3) - min;
            }
        }
    });
}

/// Where the two-bit elements of sub-block `sub` (16 elements) begin, and their
/// shift: 128 elements share 32 bytes, four of them a byte, 32 elements apart.
#[inline(always)]
fn two_bits(sub: usize) -> (usize, usize) {
    (32 * (sub / 8) + 16 * (sub % 2), 2 * ((sub % 8) / 2))
}

/// 32 bytes of third bits (set means *not* minus four), 64 bytes of two-bit
/// elements, twelve bytes of six-bit scales, `d` (f16). Sub-blocks of 16:
/// `d * (scale - 32) * q`.
pub(super) fn q3_k(bytes: &[u8], out: &mut [f32]) {
    each::<110, 256>(bytes, out, |b, out| {
        let d = half_at(b, 108);
        for (sub, out) in out.chunks_exact_mut(16).enumerate() {
            let low = (b[96 + sub % 8] >> (4 * (sub / 8))) & 15;
            let high = (b[104 + sub % 4] >> (2 * (sub / 4))) & 3;
            let scale = d * f32::from((low | (high << 4)) as i8 - 32);
            let (at, shift) = two_bits(sub);
            let (mask_at, mask_shift) = (16 * (sub % 2), sub / 2);
            for (l, out) in out.iter_mut().enumerate() {
                let low = ((b[32 + at + l] >> shift) & 3) as i8;
                let high = ((b[mask_at + l] >> mask_shift) & 1) as i8;
                *out = scale * f32::from(low - 4 * (1 - high));
            }
        }
    });
}

/// The six-bit scale and min of sub-block `sub` of eight, from the twelve bytes
/// Q4_K and Q5_K pack them in (ggml-quants.c, `get_scale_min_k4`).
#[inline(always)]
fn scale_min(packed: &[u8], sub: usize) -> (u8, u8) {
    if sub < 4 {
        (packed[sub] & 63, packed[sub + 4] & 63)
    } else {
        let low = packed[sub + 4];
        (
            (low & 15) | ((packed[sub - 4] >> 6) << 4),
            (low >> 4) | ((packed[sub] >> 6) << 4),
        )
    }
}

/// `d`, `dmin` (f16), twelve bytes of scales and mins, 128 bytes of nibbles: 64
/// elements share 32 bytes, low nibbles first. Sub-blocks of 32:
/// `d * scale * q - dmin * min`.
pub(super) fn q4_k(bytes: &[u8], out: &mut [f32]) {
    each::<144, 256>(bytes, out, |b, out| {
        let (d, dmin) = (half_at(b, 0), half_at(b, 2));
        for (pair, out) in out.chunks_exact_mut(64).enumerate() {
            let qs = &b[16 + 32 * pair..][..32];
            let (low, high) = out.split_at_mut(32);
            let (scale, min) = scale_min(&b[4..16], 2 * pair);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            for (out, q) in low.iter_mut().zip(qs) {
                *out = scale * f32::from(q & 15) - min;
            }
            let (scale, min) = scale_min(&b[4..16], 2 * pair + 1);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            for (out, q) in high.iter_mut().zip(qs) {
                *out = scale * f32::from(q >> 4) - min;
            }
        }
    });
}

/// As Q4_K, with 32 bytes of fifth bits between scales and nibbles: bit `s` of byte
/// `l` belongs to element `l` of sub-block `s`.
pub(super) fn q5_k(bytes: &[u8], out: &mut [f32]) {
    each::<176, 256>(bytes, out, |b, out| {
        let (d, dmin) = (half_at(b, 0), half_at(b, 2));
        for (sub, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = scale_min(&b[4..16], sub);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            let (high, low) = (&b[16..48], &b[48 + 32 * (sub / 2)..][..32]);
            let shift = 4 * (sub % 2);
            for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                let q = ((low >> shift) & 15) | (((high >> sub) & 1) << 4);
                *out = scale * f32::from(q) - min;
            }
        }
    });
}

/// 128 bytes of low nibbles, 64 bytes of high bit pairs, sixteen signed byte scales,
/// `d` (f16). Sub-blocks of 16: `d * scale * (q - 32)`.
pub(super) fn q6_k(bytes: &[u8], out: &mut [f32]) {
    each::<210, 256>(bytes, out, |b, out| {
        let d = half_at(b, 208);
        for (sub, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(b[192 + sub] as i8);
            // 128 elements share 64 bytes of nibbles (low half first) and 32 of pairs.
            let (half, within) = (sub / 8, sub % 8);
            let low = &b[64 * half + 16 * (within % 4)..][..16];
            let high = &b[128 + 32 * half + 16 * (within % 2)..][..16];
            let (low_shift, high_shift) = (4 * (within / 4), 2 * (within / 2));
            for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                let q = ((low >> low_shift) & 15) | (((high >> high_shift) & 3) << 4);
                *out = scale * f32::from(q as i8 - 32);
            }
        }
    });
}

/// `d` (f16), eight high scale pairs, eight low scale nibbles, 128 bytes of nibbles:
/// each sub-block of 32 has 16 of them, low half first, indices into the levels.
/// `d * (scale - 32) * level`.
pub(super) fn iq4_xs(bytes: &[u8], out: &mut [f32]) {
    each::<136, 256>(bytes, out, |b, out| {
        let d = half_at(b, 0);
        let high_scales = u16::from_le_bytes([b[2], b[3]]);
        for (sub, out) in out.chunks_exact_mut(32).enumerate() {
            let low = (b[4 + sub / 2] >> (4 * (sub % 2))) & 15;
            let high = ((high_scales >> (2 * sub)) & 3) as u8;
            let scale = d * f32::from((low | (high << 4)) as i8 - 32);
            for l in 0..16 {
                let q = b[8 + 16 * sub + l];
                out[l] = scale * IQ4_LEVELS[usize::from(q & 15)];
                out[l + 16] = scale * IQ4_LEVELS[usize::from(q >> 4)];
            }
        }
    });
}
