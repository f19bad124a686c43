//! A compiled op's launches: which kernel and how many workgroups, at any row count.

use std::ops::RangeInclusive;

use super::super::MAX_ROUND_ROWS;
use super::shader::Variant;

/// Rows a matvec takes at once.
pub const TILE_ROWS: usize = 16;
/// Rows whose logits one pass can give, and whose results are the same to the bit
/// whatever runs beside them: the longest proposal and the token before it.
pub const LOGITS_ROWS: usize = MAX_ROUND_ROWS;
/// Threads a workgroup, in most kernels.
pub const THREADS: usize = 64;
/// Matrix rows and rows that a workgroup of `shared/gemm.wgsl` takes.
const GEMM_TILE: (usize, usize) = (64, 32);
/// More rows than this are multiplied in tiles. The bits are the same.
const MATVEC_ROWS: usize = 24;
/// Workgroups along one dimension of a launch (WebGPU's default limit).
const MAX_WORKGROUPS: u32 = 65_535;

/// Which rows a step runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// All rows of the pass.
    Rows,
    /// The rows whose logits are wanted.
    Logits,
}

/// How many workgroups a step takes.
#[derive(Debug, Clone, Copy)]
pub enum Grid {
    /// `[x, rows, 1]`.
    Each(u32),
    /// `[x, rows, splits]`, for as many splits as the cache has tokens for.
    Splits {
        /// Workgroups a row and split.
        x: u32,
        /// Tokens a split.
        tokens: usize,
    },
    /// A projection: tiles of outputs, then of rows.
    Matvec {
        /// Matrix rows.
        n_out: usize,
        /// Blocks a matrix row.
        n_blocks: usize,
    },
}

/// One kernel of an op, ready to be launched at any row count.
pub struct Step {
    /// The kernel, without what depends on the row count.
    pub variant: Variant,
    /// How many workgroups.
    pub grid: Grid,
    /// Everything but the cache.
    pub group: wgpu::BindGroup,
    /// Whether `group` binds a state, at an offset.
    pub has_state: bool,
    /// The layer whose cache is bound, and whether it is written.
    pub cache: Option<(usize, bool)>,
    /// Which rows.
    pub over: Over,
    /// Row counts it is for.
    pub rows: RangeInclusive<usize>,
    /// Bytes of weights it reads a tile of rows.
    pub weight_bytes: u64,
    /// Bytes of the cache it reads a token and row.
    pub cache_bytes: u64,
}

impl Step {
    /// The kernel for `rows` rows.
    pub fn variant(&self, rows: usize) -> Variant {
        specialised(&self.variant, self.grid, rows)
    }

    /// Workgroups for `rows` rows, when the cache holds `tokens` tokens with them.
    pub fn workgroups(&self, rows: usize, tokens: usize) -> [u32; 3] {
        let n = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match self.grid {
            Grid::Each(x) => [x, n(rows), 1],
            Grid::Splits { x, tokens: each } => [x, n(rows), n(tokens.div_ceil(each))],
            Grid::Matvec { n_out, n_blocks } => {
                let shape = MatvecShape::new(rows, n_blocks);
                let tiles = n(n_out.div_ceil(shape.tile_cols));
                let y = tiles.div_ceil(MAX_WORKGROUPS);
                [tiles.div_ceil(y), y, n(rows.div_ceil(shape.rows))]
            }
        }
    }

    /// Bytes of weights and caches that a launch over `rows` rows touches.
    pub fn bytes_moved(&self, rows: usize, tokens: usize) -> u64 {
        let tiles = match self.grid {
            Grid::Matvec { n_blocks, .. } => rows.div_ceil(MatvecShape::new(rows, n_blocks).rows),
            _ => 1,
        };
        self.weight_bytes * tiles as u64 + self.cache_bytes * (tokens * rows) as u64
    }
}

/// A step's kernel at a row count.
pub fn specialised(variant: &Variant, grid: Grid, rows: usize) -> Variant {
    let variant = variant.clone();
    match grid {
        Grid::Matvec { n_blocks, .. } => {
            let shape = MatvecShape::new(rows, n_blocks);
            let group = shape.lanes.min(8);
            let variant = variant.with("LANES", shape.lanes).with("GROUP", group);
            if shape.cols == 0 {
                return variant.flag("GEMM", true);
            }
            let batch = shape.rows.min(4);
            variant
                .with("ROWS", shape.rows)
                .with("COLS", shape.cols)
                .with("BATCH", batch)
                .with("BATCHES", shape.rows / batch)
        }
        Grid::Each(_) | Grid::Splits { .. } => variant,
    }
}

/// How a matvec is cut up.
struct MatvecShape {
    /// Rows a workgroup takes.
    rows: usize,
    /// Matrix rows a thread takes; 0 where they are taken in tiles.
    cols: usize,
    /// Matrix rows a workgroup takes.
    tile_cols: usize,
    /// Threads that share a matrix row. Depends on the matrix alone: it is the shape of
    /// a sum.
    lanes: usize,
}

impl MatvecShape {
    fn new(rows: usize, n_blocks: usize) -> Self {
        // As many lanes as have something to do for most of the time.
        let busy = |lanes: usize| n_blocks * 10 >= n_blocks.div_ceil(lanes) * lanes * 7;
        let lanes = [32, 16, 8, 4, 2]
            .into_iter()
            .find(|&l| l <= n_blocks && busy(l))
            .unwrap_or(1);
        if rows > MATVEC_ROWS {
            let (tile_cols, rows) = GEMM_TILE;
            return Self {
                rows,
                cols: 0,
                tile_cols,
                lanes,
            };
        }
        let rows = rows.next_power_of_two().min(TILE_ROWS);
        let cols = if (4..=8).contains(&rows) { 4 } else { 2 };
        Self {
            rows,
            cols,
            tile_cols: THREADS / lanes * cols,
            lanes,
        }
    }
}
