//! Every processor against the scalar one, bit by bit.

use super::super::pack::Packed;
use super::*;
use crate::format::DType;
// The runner of tests in a browser knows only its own.
#[cfg(target_feature = "simd128")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[cfg(target_feature = "simd128")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

const DTYPES: [DType; 8] = [
    DType::F32,
    DType::BF16,
    DType::F16,
    DType::Q8_0,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q4K,
    DType::Q6K,
];

/// Finite half-precision numbers, the extremes among them: zeros, the smallest, the
/// largest subnormal, one, the largest.
const HALVES: [u16; 10] = [
    0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x3c00, 0xc123, 0x7bff, 0xfbff,
];

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = (self.0.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Rows of any bytes where any mean something, and of finite floats.
    fn rows(&mut self, dtype: DType, n_bytes: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..n_bytes)
            .map(|_| match self.below(4) {
                0 => self.of(&[0x00, 0x80, 0x7f, 0xff]),
                _ => self.below(256) as u8,
            })
            .collect();
        let (len, halves): (usize, &[usize]) = match dtype {
            DType::F16 => (2, &[0]),
            DType::Q8_0 => (34, &[0]),
            DType::Q4_0 => (18, &[0]),
            DType::Q4_1 => (20, &[0, 2]),
            DType::Q4K => (144, &[0, 2]),
            DType::Q6K => (210, &[208]),
            _ => (1, &[]),
        };
        for block in bytes.chunks_exact_mut(len) {
            for &at in halves {
                block[at..at + 2].copy_from_slice(&self.of(&HALVES).to_le_bytes());
            }
        }
        // No product of two of these overflows.
        let floats = [0.0, -0.0, 1e-40, -1e-45, 1.5, -3e-3, 7e4, -1e15];
        match dtype {
            DType::F32 => {
                for value in bytes.chunks_exact_mut(4) {
                    let x: f32 = self.of(&floats) * self.below(1000) as f32;
                    value.copy_from_slice(&x.to_le_bytes());
                }
            }
            DType::BF16 => {
                for value in bytes.chunks_exact_mut(2) {
                    let x: f32 = self.of(&floats) * self.below(1000) as f32;
                    value.copy_from_slice(&x.to_le_bytes()[2..]);
                }
            }
            _ => {}
        }
        bytes
    }

    /// Activations: usual ones, blocks of zeros, of one spike, of tiny and of huge ones.
    fn activations(&mut self, n: usize) -> Vec<f32> {
        let mut x = Vec::with_capacity(n);
        while x.len() < n {
            let largest = self.of(&[1.0, 1.0, 30.0, 0.0, -0.0, 1e-30, 1e-38, 1e15]);
            let is_spike = self.below(4) == 0;
            for column in 0..BLOCK.min(n - x.len()) {
                let part = match is_spike {
                    true => (column == 7) as u8 as f32,
                    false => self.below(2001) as f32 / 1000.0 - 1.0,
                };
                x.push(largest * part);
            }
        }
        x
    }
}

#[test]
fn every_processor_gives_the_bits_of_the_scalar_one() {
    let mut random = Random(7);
    let processors = Processor::all();
    for dtype in DTYPES {
        for n_blocks in [1, 3] {
            let n_in = n_blocks * dtype.block_len().max(32);
            let row_bytes = dtype.row_bytes(n_in).unwrap();
            for n_out in [8, 21] {
                let bytes = random.rows(dtype, n_out * row_bytes);
                let Ok(packed) = Packed::new(dtype, n_out, n_in, bytes) else {
                    panic!("{dtype} has no layout");
                };
                for n_rows in 1..=9 {
                    let x = random.activations(n_rows * n_in);
                    let blocks: Vec<Block> = x.as_chunks().0.iter().map(Block::new).collect();
                    let run = |processor: Processor| {
                        let n_groups = n_out.div_ceil(GROUP);
                        let mut out = vec![[f32::NAN; GROUP]; n_groups * n_rows];
                        processor.run(&mut Job {
                            form: packed.form,
                            groups: &packed.bytes,
                            n_blocks: packed.n_blocks,
                            x: match packed.form.is_float() {
                                true => Columns::Floats(&x),
                                false => Columns::Blocks(&blocks),
                            },
                            n_rows,
                            out: &mut out,
                        });
                        out
                    };
                    let want = run(Processor::Scalar);
                    assert!(want.iter().flatten().all(|y| y.is_finite()), "{dtype}");
                    for &processor in &processors {
                        let found = run(processor);
                        let bits = |x: &[[f32; 8]]| {
                            x.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>()
                        };
                        assert_eq!(
                            bits(&found),
                            bits(&want),
                            "{dtype}, {processor:?}, {n_rows} rows"
                        );
                    }
                }
            }
        }
    }
}

/// Where this fails the test above has compared nothing but the scalar one to itself.
#[test]
fn the_vectors_that_this_machine_has_are_used() {
    let best = Processor::best();
    #[cfg(target_arch = "x86_64")]
    assert_eq!(
        matches!(best, Processor::Avx2(_)),
        std::arch::is_x86_feature_detected!("avx2")
    );
    #[cfg(target_feature = "simd128")]
    assert!(matches!(best, Processor::Simd128), "{best:?}");
    let _ = best;
}

#[test]
fn sixteen_bits_are_off_by_half_a_step_at_most() {
    let mut random = Random(3);
    for x in random.activations(200 * BLOCK).as_chunks::<BLOCK>().0 {
        let block = Block::new(x);
        let largest = x.iter().fold(0f32, |max, x| max.max(x.abs()));
        for (value, x) in block.values.iter().flatten().zip(x) {
            let off = (f64::from(block.scale) * f64::from(*value) - f64::from(*x)).abs();
            let step = f64::from(largest) / 65_534.0;
            assert!(
                off <= step * 1.01 || largest < 1e-30,
                "{x} of {largest}: {off:e}"
            );
        }
        let sum: i32 = block.values.iter().flatten().map(|&v| i32::from(v)).sum();
        assert_eq!(block.sum, sum);
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = [1.0; BLOCK];
        x[5] = bad;
        assert!(!Block::new(&x).scale.is_finite(), "{bad}");
    }
}
