//! Weight rows times activation rows, as fast as the processor allows, to the same bits
//! on every processor.
//!
//! Weights lie in groups of eight rows ([`super::pack`]), interleaved, so that a vector
//! holds one or two columns of all eight and no sum ever crosses lanes. A kernel is
//! written once ([`blocks`], [`floats`]) over [`Lanes`]; what a processor adds is one
//! implementation of that trait.
//!
//! The order of every float operation is fixed by the weights' type and the number of
//! columns, never by how many rows run, on how many threads, or on what:
//!
//! - Block types: the products within a block (16 or 32 columns) are integers and so is
//!   their sum, exactly; blocks are added up first to last.
//! - Float types: sixteen columns are added up first to last, starting from zero, and
//!   so are these sums.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod blocks;
mod floats;
mod lanes;
mod scalar;
#[cfg(target_feature = "simd128")]
mod simd128;

pub use blocks::{BLOCK, Block};
pub use floats::SEGMENT;

pub use lanes::Lanes;
use scalar::Scalar;

/// Weight rows in a group.
pub const GROUP: usize = 8;

/// How a group's weights are laid out; a column's eight rows always lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Sixteen columns a time: per pair of columns eight `f32` of the first, eight of the second.
    F32,
    /// Per pair of columns eight pairs of bfloat16, a row's two columns side by side.
    Bf16,
    /// As [`Form::Bf16`], of half-precision numbers.
    F16,
    /// Blocks of 32 columns: eight scales (`f32`), then sixteen pairs of columns, each
    /// eight pairs of signed bytes.
    Q8,
    /// Blocks of 32 columns: eight scales (f16), then 128 bytes of nibbles (see
    /// [`Lanes::nibbles`]; eight columns at a time), less eight.
    Q4,
    /// As [`Form::Q4`], without the subtraction: eight scales, eight offsets (f16), nibbles.
    Q4Offset,
    /// Blocks of 256: eight scales and eight scales of minimums (f16); then eight
    /// sub-blocks: eight scales, eight minimums (unsigned bytes), nibbles.
    Q4K,
    /// Blocks of 256: eight scales (f16); then sixteen sub-blocks of 16 columns: eight
    /// scales (signed bytes), eight pairs of columns of signed bytes.
    Q6K,
}

impl Form {
    /// Columns of a block; a row is whole blocks.
    pub const fn columns(self) -> usize {
        match self {
            Form::F32 | Form::Bf16 | Form::F16 => SEGMENT,
            Form::Q8 | Form::Q4 | Form::Q4Offset => BLOCK,
            Form::Q4K | Form::Q6K => 256,
        }
    }

    /// Bytes of a block of eight rows.
    pub const fn block_bytes(self) -> usize {
        match self {
            Form::F32 => SEGMENT * 32,
            Form::Bf16 | Form::F16 => SEGMENT * 16,
            Form::Q8 => 32 + 256,
            Form::Q4 => 16 + 128,
            Form::Q4Offset => 32 + 128,
            Form::Q4K => 32 + 8 * (16 + 128),
            Form::Q6K => 16 + 16 * (8 + 128),
        }
    }

    /// Whether its activations are floats, not [`Block`]s.
    pub const fn is_float(self) -> bool {
        matches!(self, Form::F32 | Form::Bf16 | Form::F16)
    }
}

/// Activations as a form wants them: `[rows, columns]`.
#[derive(Debug, Clone, Copy)]
pub enum Columns<'a> {
    /// Whole segments of [`SEGMENT`].
    Floats(&'a [f32]),
    /// Blocks of [`BLOCK`].
    Blocks(&'a [Block]),
}

/// Groups of weight rows times rows of activations.
pub struct Job<'a> {
    /// Layout of `groups`.
    pub form: Form,
    /// Whole groups, each `n_blocks * form.block_bytes()`.
    pub groups: &'a [u8],
    /// Blocks of a weight row.
    pub n_blocks: usize,
    /// `[n_rows, n_blocks * form.columns()]`, of the form's kind.
    pub x: Columns<'a>,
    /// How many rows of activations.
    pub n_rows: usize,
    /// Written: `[groups, n_rows]` of eight outputs.
    pub out: &'a mut [[f32; GROUP]],
}

/// Loops that are compiled once for each kind of vectors.
pub trait Work {
    /// Does it. Has to be `#[inline(always)]`, and so has all that it calls: a function
    /// of its own would be compiled for the least of processors.
    fn run<L: Lanes>(self, lanes: L);
}

/// What computes.
#[derive(Debug, Clone, Copy)]
pub enum Processor {
    /// Anything.
    Scalar,
    /// An x86-64 with AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    /// A WebAssembly engine with 128-bit vectors.
    #[cfg(target_feature = "simd128")]
    Simd128,
}

impl Processor {
    /// All that work here, the best last.
    pub fn all() -> Vec<Self> {
        #[allow(unused_mut, reason = "there may be no other")]
        let mut all = vec![Processor::Scalar];
        #[cfg(target_arch = "x86_64")]
        all.extend(avx2::Avx2::detect().map(Processor::Avx2));
        #[cfg(target_feature = "simd128")]
        all.push(Processor::Simd128);
        all
    }

    /// The best that works here.
    pub fn best() -> Self {
        // The scalar one is always there.
        Self::all().pop().unwrap_or(Processor::Scalar)
    }

    /// Does `work` with this processor's vectors. The operations and their order stay
    /// the same, and so do the bits.
    #[inline(always)]
    pub fn work<W: Work>(self, work: W) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Processor::Avx2(avx2) => avx2.work(work),
            #[cfg(target_feature = "simd128")]
            Processor::Simd128 => work.run(simd128::Simd128),
            Processor::Scalar => work.run(Scalar),
        }
    }

    /// Does the job.
    ///
    /// # Panics
    /// Where its lengths disagree.
    pub fn run(self, job: &mut Job<'_>) {
        match self {
            Processor::Scalar => run(Scalar, job),
            #[cfg(target_arch = "x86_64")]
            Processor::Avx2(avx2) => avx2.run(job),
            #[cfg(target_feature = "simd128")]
            Processor::Simd128 => run(simd128::Simd128, job),
        }
    }
}

/// How many rows of activations of so many bytes meet all weights of a job before the
/// next ones do: as many as stay in the innermost cache, in whole tiles.
fn rows_at_once(row_bytes: usize) -> usize {
    const BYTES: usize = 24 << 10;
    (BYTES / row_bytes.max(1) / 4 * 4).max(4)
}

#[inline(always)]
fn run<L: Lanes>(lanes: L, job: &mut Job<'_>) {
    match job.x {
        Columns::Floats(x) => floats::run(lanes, job, x),
        Columns::Blocks(x) => blocks::run(lanes, job, x),
    }
}

/// Calls `$tile` for the rows `$rows` in runs of four, three, two and one: a tile's
/// rows share each weight that is loaded and unpacked.
macro_rules! tiles {
    ($rows:expr, |$r:ident, $m:ident| $tile:expr) => {{
        let rows: std::ops::Range<usize> = $rows;
        let mut $r = rows.start;
        while rows.end - $r >= 4 {
            const $m: usize = 4;
            $tile;
            $r += 4;
        }
        match rows.end - $r {
            3 => {
                const $m: usize = 3;
                $tile
            }
            2 => {
                const $m: usize = 2;
                $tile
            }
            1 => {
                const $m: usize = 1;
                $tile
            }
            _ => {}
        }
    }};
}
use tiles;

#[cfg(test)]
mod tests;
