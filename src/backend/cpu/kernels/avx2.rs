//! The kernels' operations on AVX2.

use std::arch::x86_64::*;

use super::lanes::Lanes;
use super::{Job, Work, run};

/// The proof that the processor has AVX2.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// Where the processor has it.
    pub fn detect() -> Option<Self> {
        std::arch::is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Does `work`.
    pub fn work<W: Work>(self, work: W) {
        #[target_feature(enable = "avx2")]
        fn wide<W: Work>(lanes: Avx2, work: W) {
            work.run(lanes);
        }
        // SAFETY: `self` is made by `detect` alone, which asked the processor.
        unsafe { wide(self, work) }
    }

    /// Runs `job`.
    pub fn run(self, job: &mut Job<'_>) {
        #[target_feature(enable = "avx2")]
        fn wide(lanes: Avx2, job: &mut Job<'_>) {
            run(lanes, job);
        }
        // SAFETY: `self` is made by `detect` alone, which asked the processor.
        unsafe { wide(self, job) }
    }
}

/// Finite half-precision numbers in the low halves of eight `u32`.
#[inline(always)]
fn widen_halves(bits: __m256i) -> __m256 {
    // SAFETY: called with a proof of AVX2 only; no memory is touched.
    unsafe {
        let magnitude = _mm256_slli_epi32::<13>(_mm256_and_si256(bits, _mm256_set1_epi32(0x7fff)));
        let sign = _mm256_slli_epi32::<16>(_mm256_and_si256(bits, _mm256_set1_epi32(0x8000)));
        let moved = _mm256_add_epi32(magnitude, _mm256_set1_epi32(112 << 23));
        let subnormal = _mm256_sub_ps(
            _mm256_castsi256_ps(_mm256_add_epi32(moved, _mm256_set1_epi32(1 << 23))),
            _mm256_castsi256_ps(_mm256_set1_epi32(113 << 23)),
        );
        let is_subnormal = _mm256_cmpgt_epi32(_mm256_set1_epi32(1 << 23), magnitude);
        let value = _mm256_blendv_epi8(moved, _mm256_castps_si256(subnormal), is_subnormal);
        _mm256_castsi256_ps(_mm256_or_si256(value, sign))
    }
}

// SAFETY of all below: a value of `Avx2` exists only where the processor has the
// feature, and every load and store goes through a reference to as many bytes.
impl Lanes for Avx2 {
    type Pairs = __m256i;
    type Ints = __m256i;
    type Floats = __m256;

    #[inline(always)]
    fn bytes(self, from: &[u8; 16]) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn nibbles(self, from: &[u8; 32]) -> [__m256i; 4] {
        // SAFETY: see above.
        unsafe {
            let words = _mm256_loadu_si256(from.as_ptr().cast());
            let low = _mm256_set1_epi16(15);
            [
                _mm256_and_si256(words, low),
                _mm256_and_si256(_mm256_srli_epi16::<4>(words), low),
                _mm256_and_si256(_mm256_srli_epi16::<8>(words), low),
                _mm256_srli_epi16::<12>(words),
            ]
        }
    }

    #[inline(always)]
    fn pair(self, x: &[i16; 2]) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_set1_epi32(x.as_ptr().cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn int(self, x: i32) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_set1_epi32(x) }
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)) }
    }

    #[inline(always)]
    fn floats(self, x: __m256i) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_cvtepi32_ps(x) }
    }

    #[inline(always)]
    fn float(self, x: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, from: &[u8; 32]) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn read(self, from: &[f32; 8]) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn halves(self, from: &[u8; 16]) -> __m256 {
        // SAFETY: see above.
        unsafe { widen_halves(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn small(self, from: &[u8; 8]) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let bytes = _mm_loadl_epi64(from.as_ptr().cast());
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
        }
    }

    #[inline(always)]
    fn small_signed(self, from: &[u8; 8]) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let bytes = _mm_loadl_epi64(from.as_ptr().cast());
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
        }
    }

    #[inline(always)]
    fn bf16_pairs(self, from: &[u8; 32]) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe {
            let words = _mm256_loadu_si256(from.as_ptr().cast());
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)),
                _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(!0xffff))),
            ]
        }
    }

    #[inline(always)]
    fn f16_pairs(self, from: &[u8; 32]) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe {
            let words = _mm256_loadu_si256(from.as_ptr().cast());
            [
                widen_halves(words),
                widen_halves(_mm256_srli_epi32::<16>(words)),
            ]
        }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn store(self, x: __m256, to: &mut [f32; 8]) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), x) }
    }
}
