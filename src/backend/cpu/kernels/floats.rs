//! Kernels of the float types.

use super::lanes::Lanes;
use super::{Form, GROUP, Job, rows_at_once, tiles};

/// Columns that are added up before they are added to the total.
pub const SEGMENT: usize = 16;

/// A type of float: how two columns of eight rows are read.
trait Pair {
    /// Bytes of a pair of columns.
    const BYTES: usize;

    fn load<L: Lanes>(lanes: L, bytes: &[u8]) -> [L::Floats; 2];
}

#[inline(always)]
pub fn run<L: Lanes>(lanes: L, job: &mut Job<'_>, x: &[f32]) {
    match job.form {
        Form::F32 => groups::<L, F32>(lanes, job, x),
        Form::Bf16 => groups::<L, Bf16>(lanes, job, x),
        Form::F16 => groups::<L, F16>(lanes, job, x),
        _ => panic!("floats for {:?}", job.form),
    }
}

#[inline(always)]
fn groups<L: Lanes, P: Pair>(lanes: L, job: &mut Job<'_>, x: &[f32]) {
    let (n_segments, n_rows) = (job.n_blocks, job.n_rows);
    let n_x = n_segments * SEGMENT;
    assert_eq!(x.len(), n_rows * n_x, "floats of {n_rows} rows of {n_x}");
    let at_once = rows_at_once(n_x * size_of::<f32>());
    for start in (0..n_rows).step_by(at_once) {
        let rows = start..n_rows.min(start + at_once);
        let groups = job.groups.chunks_exact(n_segments * SEGMENT / 2 * P::BYTES);
        for (group, out) in groups.zip(job.out.chunks_exact_mut(n_rows)) {
            tiles!(rows.clone(), |r, M| {
                let x: [&[f32]; M] = std::array::from_fn(|m| &x[(r + m) * n_x..][..n_x]);
                let mut totals = [lanes.float(0.0); M];
                // Several segments at once where few rows run, so that additions need not
                // wait for one another; their sums are added in order all the same.
                const AT_ONCE: usize = 4 / M;
                let mut s = 0;
                while n_segments - s >= AT_ONCE {
                    segments::<L, P, M, AT_ONCE>(lanes, group, s, x, &mut totals);
                    s += AT_ONCE;
                }
                while s < n_segments {
                    segments::<L, P, M, 1>(lanes, group, s, x, &mut totals);
                    s += 1;
                }
                for m in 0..M {
                    lanes.store(totals[m], &mut out[r + m]);
                }
            });
        }
    }
}

/// Adds the segments `s..s + S` to `totals`.
#[inline(always)]
fn segments<L: Lanes, P: Pair, const M: usize, const S: usize>(
    lanes: L,
    group: &[u8],
    s: usize,
    x: [&[f32]; M],
    totals: &mut [L::Floats; M],
) {
    let bytes = SEGMENT / 2 * P::BYTES;
    let weights: [&[u8]; S] = std::array::from_fn(|i| &group[(s + i) * bytes..][..bytes]);
    let x = x.map(|x| &x[s * SEGMENT..][..S * SEGMENT]);
    let mut sums = [[lanes.float(0.0); M]; S];
    for p in 0..SEGMENT / 2 {
        for i in 0..S {
            let w = P::load(lanes, &weights[i][p * P::BYTES..][..P::BYTES]);
            for (half, w) in w.into_iter().enumerate() {
                for m in 0..M {
                    let x = lanes.float(x[m][i * SEGMENT + 2 * p + half]);
                    sums[i][m] = lanes.add(sums[i][m], lanes.mul(w, x));
                }
            }
        }
    }
    for sums in sums {
        for m in 0..M {
            totals[m] = lanes.add(totals[m], sums[m]);
        }
    }
}

/// `N` bytes of a pair.
#[inline(always)]
fn at<const N: usize>(pair: &[u8], at: usize) -> &[u8; N] {
    match pair[at..].first_chunk() {
        Some(chunk) => chunk,
        None => panic!("{N} bytes at {at} of a pair of {}", pair.len()),
    }
}

struct F32;

impl Pair for F32 {
    const BYTES: usize = 8 * GROUP;

    #[inline(always)]
    fn load<L: Lanes>(lanes: L, bytes: &[u8]) -> [L::Floats; 2] {
        [lanes.load(at(bytes, 0)), lanes.load(at(bytes, 32))]
    }
}

struct Bf16;

impl Pair for Bf16 {
    const BYTES: usize = 4 * GROUP;

    #[inline(always)]
    fn load<L: Lanes>(lanes: L, bytes: &[u8]) -> [L::Floats; 2] {
        lanes.bf16_pairs(at(bytes, 0))
    }
}

struct F16;

impl Pair for F16 {
    const BYTES: usize = 4 * GROUP;

    #[inline(always)]
    fn load<L: Lanes>(lanes: L, bytes: &[u8]) -> [L::Floats; 2] {
        lanes.f16_pairs(at(bytes, 0))
    }
}
