//! What the ops compute with: a processor, threads, and scratch that is allocated once.

use super::kernels::{BLOCK, Block, Columns, GROUP, Lanes, Processor, Work};
use super::pack::Packed;
use super::pool::{Pool, Spawn};

/// A processor, threads and scratch.
pub struct Compute {
    pub processor: Processor,
    pub pool: Pool,
    /// One dequantised weight row.
    pub row: Vec<f32>,
    /// Of [`Inputs`] that are not in use.
    floats: Vec<f32>,
    blocks: Vec<Block>,
    /// `[groups, R]` of eight outputs.
    pub out: Vec<[f32; GROUP]>,
}

impl Compute {
    /// The best that this processor has, on `n_threads` of those that `spawn` finds.
    pub fn new(n_threads: usize, spawn: Spawn) -> Self {
        Self {
            processor: Processor::best(),
            pool: Pool::new(n_threads, spawn),
            row: Vec::new(),
            floats: Vec::new(),
            blocks: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Rows of `n_in` to multiply with.
    ///
    /// # Panics
    /// Where they are not whole.
    pub fn inputs<'a>(&mut self, x: &'a [f32], n_in: usize) -> Inputs<'a> {
        assert_eq!(x.len() % n_in, 0, "{} elements of rows of {n_in}", x.len());
        let mut inputs = Inputs {
            x,
            n_in,
            floats: std::mem::take(&mut self.floats),
            blocks: std::mem::take(&mut self.blocks),
        };
        inputs.floats.clear();
        inputs.blocks.clear();
        inputs
    }

    /// Takes the scratch of `inputs` back.
    pub fn recycle(&mut self, inputs: Inputs<'_>) {
        self.floats = inputs.floats;
        self.blocks = inputs.blocks;
    }
}

/// Rows of activations, and, once a weight has asked for them, as kernels want them.
pub struct Inputs<'a> {
    /// `[R, n_in]`.
    pub x: &'a [f32],
    pub n_in: usize,
    /// Padded to whole segments with zeros.
    floats: Vec<f32>,
    /// Of sixteen bits.
    blocks: Vec<Block>,
}

impl Inputs<'_> {
    /// As `packed` wants them; worked out for the first matrix of a kind alone.
    pub fn columns(
        &mut self,
        packed: &Packed,
        processor: Processor,
        pool: &mut Pool,
    ) -> Columns<'_> {
        if !packed.form.is_float() {
            // Rows of these types are whole blocks.
            if self.blocks.is_empty() {
                let x = self.x.as_chunks().0;
                self.blocks.resize(x.len(), Block::ZERO);
                let piece = pool.piece(x.len(), 8 * BLOCK);
                pool.chunks(&mut self.blocks, piece, |i, blocks| {
                    let x = &x[i * piece..][..blocks.len()];
                    processor.work(Rounding { x, blocks });
                });
            }
            return Columns::Blocks(&self.blocks);
        }
        let n_columns = packed.n_columns();
        if n_columns == self.n_in {
            return Columns::Floats(self.x);
        }
        if self.floats.is_empty() {
            for row in self.x.chunks_exact(self.n_in) {
                self.floats.extend_from_slice(row);
                let n = self.floats.len() + n_columns - self.n_in;
                self.floats.resize(n, 0.0);
            }
        }
        Columns::Floats(&self.floats)
    }
}

/// Activations to sixteen bits.
struct Rounding<'a> {
    x: &'a [[f32; BLOCK]],
    /// Written, as many.
    blocks: &'a mut [Block],
}

impl Work for Rounding<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for (block, x) in self.blocks.iter_mut().zip(self.x) {
            *block = Block::new(x);
        }
    }
}
