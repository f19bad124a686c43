//! The kernels' operations on WebAssembly's 128-bit vectors, two of them for eight lanes.

use std::arch::wasm32::*;

use super::lanes::Lanes;

/// The build has 128-bit vectors.
#[derive(Debug, Clone, Copy)]
pub struct Simd128;

/// Eight lanes: the lower four, then the upper.
type Two = [v128; 2];

#[inline(always)]
fn each(a: Two, b: Two, f: impl Fn(v128, v128) -> v128) -> Two {
    [f(a[0], b[0]), f(a[1], b[1])]
}

/// Sixteen bytes at `at`.
#[inline(always)]
fn load(from: &[u8], at: usize) -> v128 {
    let from: &[u8; 16] = from[at..].first_chunk().unwrap_or(&[0; 16]);
    // SAFETY: the reference is to sixteen bytes; the load need not be aligned.
    unsafe { v128_load(from.as_ptr().cast()) }
}

/// Finite half-precision numbers in the low halves of four `u32`.
#[inline(always)]
fn widen_halves(bits: v128) -> v128 {
    let magnitude = i32x4_shl(v128_and(bits, i32x4_splat(0x7fff)), 13);
    let sign = i32x4_shl(v128_and(bits, i32x4_splat(0x8000)), 16);
    let moved = i32x4_add(magnitude, i32x4_splat(112 << 23));
    let subnormal = f32x4_sub(
        i32x4_add(moved, i32x4_splat(1 << 23)),
        i32x4_splat(113 << 23),
    );
    let is_subnormal = i32x4_lt(magnitude, i32x4_splat(1 << 23));
    v128_or(v128_bitselect(subnormal, moved, is_subnormal), sign)
}

impl Lanes for Simd128 {
    type Pairs = Two;
    type Ints = Two;
    type Floats = Two;

    #[inline(always)]
    fn bytes(self, from: &[u8; 16]) -> Two {
        // SAFETY: each load is of eight of the sixteen bytes.
        unsafe {
            [
                i16x8_load_extend_i8x8(from.as_ptr().cast()),
                i16x8_load_extend_i8x8(from.as_ptr().add(8).cast()),
            ]
        }
    }

    #[inline(always)]
    fn nibbles(self, from: &[u8; 32]) -> [Two; 4] {
        let words = [load(from, 0), load(from, 16)];
        let low = u16x8_splat(15);
        [
            words.map(|w| v128_and(w, low)),
            words.map(|w| v128_and(u16x8_shr(w, 4), low)),
            words.map(|w| v128_and(u16x8_shr(w, 8), low)),
            words.map(|w| u16x8_shr(w, 12)),
        ]
    }

    #[inline(always)]
    fn pair(self, x: &[i16; 2]) -> Two {
        // SAFETY: the load is of the four bytes of the reference.
        let both = unsafe { v128_load32_splat(x.as_ptr().cast()) };
        [both, both]
    }

    #[inline(always)]
    fn int(self, x: i32) -> Two {
        [i32x4_splat(x); 2]
    }

    #[inline(always)]
    fn dot(self, sums: Two, a: Two, b: Two) -> Two {
        let products = each(a, b, |a, b| i32x4_dot_i16x8(a, b));
        each(sums, products, |a, b| i32x4_add(a, b))
    }

    #[inline(always)]
    fn floats(self, x: Two) -> Two {
        x.map(|x| f32x4_convert_i32x4(x))
    }

    #[inline(always)]
    fn float(self, x: f32) -> Two {
        [f32x4_splat(x); 2]
    }

    #[inline(always)]
    fn load(self, from: &[u8; 32]) -> Two {
        [load(from, 0), load(from, 16)]
    }

    #[inline(always)]
    fn read(self, from: &[f32; 8]) -> Two {
        // SAFETY: each load is of four of the eight floats, and need not be aligned.
        unsafe {
            [
                v128_load(from.as_ptr().cast()),
                v128_load(from.as_ptr().add(4).cast()),
            ]
        }
    }

    #[inline(always)]
    fn halves(self, from: &[u8; 16]) -> Two {
        // SAFETY: each load is of eight of the sixteen bytes.
        let bits = unsafe {
            [
                u32x4_load_extend_u16x4(from.as_ptr().cast()),
                u32x4_load_extend_u16x4(from.as_ptr().add(8).cast()),
            ]
        };
        bits.map(widen_halves)
    }

    #[inline(always)]
    fn small(self, from: &[u8; 8]) -> Two {
        // SAFETY: the load is of the eight bytes of the reference.
        let words = unsafe { u16x8_load_extend_u8x8(from.as_ptr()) };
        let ints = [
            u32x4_extend_low_u16x8(words),
            u32x4_extend_high_u16x8(words),
        ];
        self.floats(ints)
    }

    #[inline(always)]
    fn small_signed(self, from: &[u8; 8]) -> Two {
        // SAFETY: the load is of the eight bytes of the reference.
        let words = unsafe { i16x8_load_extend_i8x8(from.as_ptr().cast()) };
        let ints = [
            i32x4_extend_low_i16x8(words),
            i32x4_extend_high_i16x8(words),
        ];
        self.floats(ints)
    }

    #[inline(always)]
    fn bf16_pairs(self, from: &[u8; 32]) -> [Two; 2] {
        let words = [load(from, 0), load(from, 16)];
        [
            words.map(|w| i32x4_shl(w, 16)),
            words.map(|w| v128_and(w, i32x4_splat(!0xffff))),
        ]
    }

    #[inline(always)]
    fn f16_pairs(self, from: &[u8; 32]) -> [Two; 2] {
        let words = [load(from, 0), load(from, 16)];
        [
            words.map(widen_halves),
            words.map(|w| widen_halves(u32x4_shr(w, 16))),
        ]
    }

    #[inline(always)]
    fn add(self, a: Two, b: Two) -> Two {
        each(a, b, |a, b| f32x4_add(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Two, b: Two) -> Two {
        each(a, b, |a, b| f32x4_sub(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Two, b: Two) -> Two {
        each(a, b, |a, b| f32x4_mul(a, b))
    }

    #[inline(always)]
    fn store(self, x: Two, to: &mut [f32; 8]) {
        // SAFETY: the stores are to the two halves of the reference.
        unsafe {
            v128_store(to.as_mut_ptr().cast(), x[0]);
            v128_store(to.as_mut_ptr().add(4).cast(), x[1]);
        }
    }
}
