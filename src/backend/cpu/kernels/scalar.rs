//! The kernels' operations in plain Rust: what every other implementation must equal,
//! and what runs where there is none.

use super::lanes::Lanes;

/// Arrays that the compiler may vectorise as it likes.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

#[inline(always)]
fn u16_at(bytes: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]])
}

#[inline(always)]
fn f32_at(bytes: &[u8], index: usize) -> f32 {
    let at = 4 * index;
    f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A finite half-precision number; as [`crate::format::quant::f16_to_f32`], less the
/// test for those that are not.
#[inline(always)]
fn half(bits: u16) -> f32 {
    let sign = (u32::from(bits) & 0x8000) << 16;
    let magnitude = (u32::from(bits) & 0x7fff) << 13;
    let moved = magnitude + (112 << 23);
    let subnormal = f32::from_bits(moved + (1 << 23)) - f32::from_bits(113 << 23);
    let value = match magnitude < 1 << 23 {
        true => subnormal.to_bits(),
        false => moved,
    };
    f32::from_bits(value | sign)
}

impl Lanes for Scalar {
    type Pairs = [i16; 16];
    type Ints = [i32; 8];
    type Floats = [f32; 8];

    #[inline(always)]
    fn bytes(self, from: &[u8; 16]) -> [i16; 16] {
        from.map(|byte| i16::from(byte as i8))
    }

    #[inline(always)]
    fn nibbles(self, from: &[u8; 32]) -> [[i16; 16]; 4] {
        let words: [u16; 16] = std::array::from_fn(|i| u16_at(from, i));
        [0, 4, 8, 12].map(|shift| words.map(|word| ((word >> shift) & 15) as i16))
    }

    #[inline(always)]
    fn pair(self, x: &[i16; 2]) -> [i16; 16] {
        std::array::from_fn(|i| x[i % 2])
    }

    #[inline(always)]
    fn int(self, x: i32) -> [i32; 8] {
        [x; 8]
    }

    #[inline(always)]
    fn dot(self, sums: [i32; 8], a: [i16; 16], b: [i16; 16]) -> [i32; 8] {
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        std::array::from_fn(|i| sums[i] + product(2 * i) + product(2 * i + 1))
    }

    #[inline(always)]
    fn floats(self, x: [i32; 8]) -> [f32; 8] {
        x.map(|x| x as f32)
    }

    #[inline(always)]
    fn float(self, x: f32) -> [f32; 8] {
        [x; 8]
    }

    #[inline(always)]
    fn load(self, from: &[u8; 32]) -> [f32; 8] {
        std::array::from_fn(|i| f32_at(from, i))
    }

    #[inline(always)]
    fn read(self, from: &[f32; 8]) -> [f32; 8] {
        *from
    }

    #[inline(always)]
    fn halves(self, from: &[u8; 16]) -> [f32; 8] {
        std::array::from_fn(|i| half(u16_at(from, i)))
    }

    #[inline(always)]
    fn small(self, from: &[u8; 8]) -> [f32; 8] {
        from.map(f32::from)
    }

    #[inline(always)]
    fn small_signed(self, from: &[u8; 8]) -> [f32; 8] {
        from.map(|byte| f32::from(byte as i8))
    }

    #[inline(always)]
    fn bf16_pairs(self, from: &[u8; 32]) -> [[f32; 8]; 2] {
        [0, 1].map(|half| {
            std::array::from_fn(|i| f32::from_bits(u32::from(u16_at(from, 2 * i + half)) << 16))
        })
    }

    #[inline(always)]
    fn f16_pairs(self, from: &[u8; 32]) -> [[f32; 8]; 2] {
        [0, 1].map(|which| std::array::from_fn(|i| half(u16_at(from, 2 * i + which))))
    }

    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn store(self, x: [f32; 8], to: &mut [f32; 8]) {
        *to = x;
    }
}
