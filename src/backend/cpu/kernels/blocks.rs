//! Kernels of the block types: integers within a block, floats across blocks.
//!
//! Activations are sixteen-bit integers with one scale for 32 columns ([`Block`]), so a
//! rounding is at most 1/65534 of the largest of the 32. No sum can overflow 31 bits:
//! the largest is that of 32 products of a signed byte, `32 * 128 * 32767 < 2^27.1`.

use super::lanes::Lanes;
use super::{Form, GROUP, Job, rows_at_once, tiles};

/// Columns of activations that share a scale.
pub const BLOCK: usize = 32;

/// 32 columns of one row of activations: `x[i] = scale * values[i]`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Block {
    /// Two columns at a time.
    pub values: [[i16; 2]; BLOCK / 2],
    /// Of the block; NaN or infinite where a column was.
    pub scale: f32,
    /// Of all values.
    pub sum: i32,
    /// `scale * sum`.
    pub scaled_sum: f32,
}

impl Block {
    /// Of zeros.
    pub const ZERO: Self = Self {
        values: [[0; 2]; BLOCK / 2],
        scale: 0.0,
        sum: 0,
        scaled_sum: 0.0,
    };

    /// The same everywhere: sixteen bits are taken by multiplication with a float that
    /// is rounded once, and rounding to the nearest integer, ties to even.
    #[inline(always)]
    pub fn new(x: &[f32; BLOCK]) -> Self {
        /// Added to and taken from a float, leaves it rounded to an integer.
        const ROUND: f32 = 12_582_912.0;
        // As integers magnitudes sort as they do as floats, and NaN comes last.
        let largest = x.iter().map(|x| x.to_bits() & 0x7fff_ffff);
        let largest = f32::from_bits(largest.fold(0, u32::max));
        // What is too small to be divided by is taken for zero.
        let (scale, inverse) = if largest >= 1e-30 {
            (largest / 32767.0, 32767.0 / largest)
        } else if largest.is_nan() {
            (largest, 0.0)
        } else {
            (0.0, 0.0)
        };
        let mut values = [[0i16; 2]; BLOCK / 2];
        let mut sum = 0;
        for (pair, x) in values.iter_mut().zip(x.as_chunks::<2>().0) {
            for (value, x) in pair.iter_mut().zip(x) {
                let rounded = (x * inverse + ROUND).to_bits() as i32 - ROUND.to_bits() as i32;
                *value = rounded as i16;
                sum += i32::from(rounded as i16);
            }
        }
        Self {
            values,
            scale,
            sum,
            scaled_sum: scale * sum as f32,
        }
    }
}

/// A layout: one tile of it.
trait Tile {
    /// Columns of a block of weights, in blocks of activations.
    const X_BLOCKS: usize;
    /// Bytes of a block of eight weight rows.
    const BYTES: usize;

    /// Adds the products of one block of weights, `x` from there on, to `totals`.
    fn add<L: Lanes, const M: usize>(
        lanes: L,
        block: &[u8],
        x: [&[Block]; M],
        totals: &mut [L::Floats; M],
    );
}

#[inline(always)]
pub fn run<L: Lanes>(lanes: L, job: &mut Job<'_>, x: &[Block]) {
    match job.form {
        Form::Q8 => groups::<L, Q8>(lanes, job, x),
        Form::Q4 => groups::<L, Q4>(lanes, job, x),
        Form::Q4Offset => groups::<L, Q4Offset>(lanes, job, x),
        Form::Q4K => groups::<L, Q4K>(lanes, job, x),
        Form::Q6K => groups::<L, Q6K>(lanes, job, x),
        Form::F32 | Form::Bf16 | Form::F16 => panic!("blocks for {:?}", job.form),
    }
}

#[inline(always)]
fn groups<L: Lanes, T: Tile>(lanes: L, job: &mut Job<'_>, x: &[Block]) {
    let (n_blocks, n_rows) = (job.n_blocks, job.n_rows);
    let n_x = n_blocks * T::X_BLOCKS;
    assert_eq!(x.len(), n_rows * n_x, "blocks of {n_rows} rows of {n_x}");
    let at_once = rows_at_once(n_x * size_of::<Block>());
    for start in (0..n_rows).step_by(at_once) {
        let rows = start..n_rows.min(start + at_once);
        let groups = job.groups.chunks_exact(n_blocks * T::BYTES);
        for (group, out) in groups.zip(job.out.chunks_exact_mut(n_rows)) {
            tiles!(rows.clone(), |r, M| {
                let x: [&[Block]; M] = std::array::from_fn(|m| &x[(r + m) * n_x..][..n_x]);
                let totals = tile::<L, T, M>(lanes, group, n_blocks, x);
                for m in 0..M {
                    lanes.store(totals[m], &mut out[r + m]);
                }
            });
        }
    }
}

#[inline(always)]
fn tile<L: Lanes, T: Tile, const M: usize>(
    lanes: L,
    group: &[u8],
    n_blocks: usize,
    x: [&[Block]; M],
) -> [L::Floats; M] {
    let mut totals = [lanes.float(0.0); M];
    for b in 0..n_blocks {
        let block = &group[b * T::BYTES..][..T::BYTES];
        let x = std::array::from_fn(|m| &x[m][b * T::X_BLOCKS..][..T::X_BLOCKS]);
        T::add(lanes, block, x, &mut totals);
    }
    totals
}

/// `N` bytes of a block.
#[inline(always)]
fn at<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    match block[at..].first_chunk() {
        Some(chunk) => chunk,
        None => panic!("{N} bytes at {at} of a block of {}", block.len()),
    }
}

/// `sums += w . x` of `2 N` columns of signed bytes.
#[inline(always)]
fn dot_bytes<L: Lanes, const M: usize, const N: usize>(
    lanes: L,
    sums: &mut [L::Ints; M],
    weights: &[u8],
    x: [&[[i16; 2]]; M],
) {
    #[allow(
        clippy::needless_range_loop,
        reason = "every row's pair `p`, not a row"
    )]
    for p in 0..N {
        let w = lanes.bytes(at(weights, 2 * GROUP * p));
        for m in 0..M {
            sums[m] = lanes.dot(sums[m], w, lanes.pair(&x[m][p]));
        }
    }
}

/// `sums += w . x` of 32 columns of nibbles.
#[inline(always)]
fn dot_nibbles<L: Lanes, const M: usize>(
    lanes: L,
    sums: &mut [L::Ints; M],
    weights: &[u8],
    x: [&Block; M],
) {
    for quarter in 0..4 {
        let w = lanes.nibbles(at(weights, 32 * quarter));
        for (n, w) in w.into_iter().enumerate() {
            for m in 0..M {
                let x = lanes.pair(&x[m].values[4 * quarter + n]);
                sums[m] = lanes.dot(sums[m], w, x);
            }
        }
    }
}

/// `totals += sums * (scales * x.scale)`.
#[inline(always)]
fn scale<L: Lanes, const M: usize>(
    lanes: L,
    totals: &mut [L::Floats; M],
    sums: [L::Ints; M],
    scales: L::Floats,
    x: [&Block; M],
) {
    for m in 0..M {
        let scale = lanes.mul(scales, lanes.float(x[m].scale));
        totals[m] = lanes.add(totals[m], lanes.mul(lanes.floats(sums[m]), scale));
    }
}

struct Q8;

impl Tile for Q8 {
    const X_BLOCKS: usize = 1;
    const BYTES: usize = Form::Q8.block_bytes();

    #[inline(always)]
    fn add<L: Lanes, const M: usize>(
        lanes: L,
        block: &[u8],
        x: [&[Block]; M],
        totals: &mut [L::Floats; M],
    ) {
        let x = x.map(|x| &x[0]);
        let mut sums = [lanes.int(0); M];
        dot_bytes::<L, M, 16>(lanes, &mut sums, &block[32..], x.map(|x| &x.values[..]));
        scale(lanes, totals, sums, lanes.load(at(block, 0)), x);
    }
}

struct Q4;

impl Tile for Q4 {
    const X_BLOCKS: usize = 1;
    const BYTES: usize = Form::Q4.block_bytes();

    #[inline(always)]
    fn add<L: Lanes, const M: usize>(
        lanes: L,
        block: &[u8],
        x: [&[Block]; M],
        totals: &mut [L::Floats; M],
    ) {
        let x = x.map(|x| &x[0]);
        // The sum of (w - 8) x is that of w x, less eight times that of x.
        let mut sums = x.map(|x| lanes.int(-8 * x.sum));
        dot_nibbles(lanes, &mut sums, &block[16..], x);
        scale(lanes, totals, sums, lanes.halves(at(block, 0)), x);
    }
}

struct Q4Offset;

impl Tile for Q4Offset {
    const X_BLOCKS: usize = 1;
    const BYTES: usize = Form::Q4Offset.block_bytes();

    #[inline(always)]
    fn add<L: Lanes, const M: usize>(
        lanes: L,
        block: &[u8],
        x: [&[Block]; M],
        totals: &mut [L::Floats; M],
    ) {
        let x = x.map(|x| &x[0]);
        let mut sums = [lanes.int(0); M];
        dot_nibbles(lanes, &mut sums, &block[32..], x);
        scale(lanes, totals, sums, lanes.halves(at(block, 0)), x);
        let offsets = lanes.halves(at(block, 16));
        for m in 0..M {
            let offset = lanes.mul(offsets, lanes.float(x[m].scaled_sum));
            totals[m] = lanes.add(totals[m], offset);
        }
    }
}

struct Q4K;

impl Tile for Q4K {
    const X_BLOCKS: usize = 8;
    const BYTES: usize = Form::Q4K.block_bytes();

    #[inline(always)]
    fn add<L: Lanes, const M: usize>(
        lanes: L,
        block: &[u8],
        x: [&[Block]; M],
        totals: &mut [L::Floats; M],
    ) {
        let (d, d_min) = (lanes.halves(at(block, 0)), lanes.halves(at(block, 16)));
        for sub in 0..8 {
            let block: &[u8; 144] = at(block, 32 + 144 * sub);
            let x = x.map(|x| &x[sub]);
            let mut sums = [lanes.int(0); M];
            dot_nibbles(lanes, &mut sums, &block[16..], x);
            let scales = lanes.mul(d, lanes.small(at(block, 0)));
            scale(lanes, totals, sums, scales, x);
            let minimums = lanes.mul(d_min, lanes.small(at(block, 8)));
            for m in 0..M {
                let minimum = lanes.mul(minimums, lanes.float(x[m].scaled_sum));
                totals[m] = lanes.sub(totals[m], minimum);
            }
        }
    }
}

struct Q6K;

impl Tile for Q6K {
    const X_BLOCKS: usize = 8;
    const BYTES: usize = Form::Q6K.block_bytes();

    #[inline(always)]
    fn add<L: Lanes, const M: usize>(
        lanes: L,
        block: &[u8],
        x: [&[Block]; M],
        totals: &mut [L::Floats; M],
    ) {
        let d = lanes.halves(at(block, 0));
        for sub in 0..16 {
            let block: &[u8; 136] = at(block, 16 + 136 * sub);
            let x = x.map(|x| &x[sub / 2]);
            let mut sums = [lanes.int(0); M];
            let values = x.map(|x| &x.values[8 * (sub % 2)..][..8]);
            dot_bytes::<L, M, 8>(lanes, &mut sums, &block[8..], values);
            let scales = lanes.mul(d, lanes.small_signed(at(block, 0)));
            scale(lanes, totals, sums, scales, x);
        }
    }
}
