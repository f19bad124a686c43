//! The pass's state: the small buffer that kernels read token ids, positions and
//! lengths from. Nothing else changes from token to token.
//!
//! All words are `u32`. A header, then two words a row (its token and its depth), then,
//! for tree passes, a table `[row, depth]` of the rows on each row's path.
//!
//! A round of speculation is several passes in one submission. Each has a state of its
//! own, a [`SLOT_WORDS`] after the one before, and binds the buffer from there on: so few
//! rows need nothing of what the next slot overwrites. A row whose token an earlier
//! pass draws names the place in the device's `drawn` buffer instead ([`DRAWN`]).

pub use super::super::MAX_TREE_ROWS;
use super::super::{Draw, Rows};
use super::launch::LOGITS_ROWS;
use super::sampler::Drawing;

/// Rows one pass can take: the chunk a prompt is cut into.
pub const MAX_ROWS: usize = 256;

const ROWS: usize = 16;
const PATHS: usize = ROWS + 2 * MAX_ROWS;
/// Length of what a pass binds.
pub const WORDS: usize = PATHS + MAX_TREE_ROWS * MAX_TREE_ROWS;
/// From one pass of a round to the next: WebGPU's alignment of bindings' offsets.
pub const SLOT_WORDS: usize = 64;
const _: () = assert!(
    ROWS + 2 * LOGITS_ROWS <= SLOT_WORDS,
    "a pass of a round needs more"
);
/// Passes of a round that share a state buffer.
pub const MAX_SLOTS: usize = 16;
/// The buffer's length.
pub const BUFFER_WORDS: usize = WORDS + (MAX_SLOTS - 1) * SLOT_WORDS;

/// Set in a row's token: the rest is a place in the `drawn` buffer, where the token is.
pub const DRAWN: u32 = 1 << 31;
/// Where in `drawn` a round's draft leaves its guesses; the target's draws stand at 0.
pub const DRAWN_GUESSES: usize = 32;
/// Where in `drawn` the outcome of a round stands: how many guesses were right, then the
/// target's draws.
pub const DRAWN_OUTCOME: usize = 64;
/// Length of `drawn`.
pub const DRAWN_WORDS: usize = 96;

/// Offsets, for the shaders (`shared/state.wgsl` gives them names and meanings).
pub const DEFINES: &[(&str, u32)] = &[
    ("STATE_ROWS", ROWS as u32),
    ("STATE_PATHS", PATHS as u32),
    ("STATE_PATH_STRIDE", MAX_TREE_ROWS as u32),
    ("DRAWN", DRAWN),
    ("DRAWN_OUTCOME", DRAWN_OUTCOME as u32),
    ("DRAWN_GUESSES", DRAWN_GUESSES as u32),
];

/// What one pass writes into the state before it runs.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// All rows of the call.
    pub rows: &'a Rows,
    /// Which of them this pass runs.
    pub first: usize,
    /// How many.
    pub n: usize,
    /// Tokens in the cache before the call's first row. Where the tree began in earlier
    /// calls, kernels are told of those before the tree, and of its nodes so far as of
    /// rows that earlier passes ran.
    pub len: usize,
    /// The first row, counted from the pass's own first, whose logits are wanted.
    pub first_logits: usize,
    /// How many rows' logits are wanted.
    pub n_logits: usize,
    /// How tokens are drawn from those logits, if any are.
    pub drawing: Option<Drawing<'a>>,
}

impl Pass<'_> {
    /// Whether rows continue others than the one before them.
    fn is_tree(&self) -> bool {
        !self.rows.parents.is_empty()
    }

    /// Appends header and rows, as they stand from word 0 of the pass's state.
    pub fn words(&self, out: &mut Vec<u32>) {
        let start = out.len();
        let n_before = self.rows.n_before();
        let header = [
            self.n,
            self.len - n_before,
            n_before + self.first,
            usize::from(self.is_tree()),
            self.first_logits,
            self.n_logits,
        ];
        out.extend(header.map(|n| n as u32));
        if let Some(drawing) = &self.drawing {
            out.push(drawing.at as u32);
            out.extend(draw_words(drawing.draw));
            let terms = &drawing.terms;
            out.push(drawing.n_guessed as u32);
            out.push(u32::from(!terms.masks.is_empty()));
            out.push(terms.logprobs.unwrap_or(0) as u32);
        }
        out.resize(start + ROWS, 0);
        for r in self.first..self.first + self.n {
            out.push(self.rows.tokens[r]);
            out.push(self.rows.depth(r) as u32);
        }
    }

    /// The path table and the byte where it stands; `None` for a chain.
    pub fn paths(&self) -> Option<(u64, Vec<u32>)> {
        if !self.is_tree() {
            return None;
        }
        let mut table = vec![0; self.n * MAX_TREE_ROWS];
        let first_node = self.rows.n_before() + self.first;
        for (i, path) in table.chunks_exact_mut(MAX_TREE_ROWS).enumerate() {
            let mut depth = self.rows.depth(self.first + i);
            let mut at = first_node + i;
            path[depth] = at as u32;
            while let Some(parent) = self.rows.parent(at) {
                (at, depth) = (parent, depth - 1);
                path[depth] = at as u32;
            }
        }
        Some(((PATHS * 4) as u64, table))
    }
}

/// What `sample.wgsl` reads of a request.
fn draw_words(draw: &Draw) -> [u32; 6] {
    let inverse = if draw.temperature > 0.0 {
        1.0 / draw.temperature
    } else {
        0.0
    };
    // Far below any score, and a number: a logarithm of nothing is not.
    let ln_min_p = if draw.min_p > 0.0 {
        draw.min_p.ln()
    } else {
        -1e30
    };
    [
        f32::to_bits(inverse),
        draw.top_p.to_bits(),
        ln_min_p.to_bits(),
        u32::try_from(draw.top_k).unwrap_or(u32::MAX),
        draw.seed as u32,
        (draw.seed >> 32) as u32,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_lists_every_rows_path() {
        // 0 -> 1 -> 3, 0 -> 2, and 4 continues the cache.
        let rows = Rows {
            tokens: vec![10, 11, 12, 13, 14],
            parents: vec![None, Some(0), Some(0), Some(1), None],
        };
        let pass = Pass {
            rows: &rows,
            first: 0,
            n: 5,
            len: 7,
            first_logits: 0,
            n_logits: 5,
            drawing: None,
        };
        let mut words = Vec::new();
        pass.words(&mut words);
        assert_eq!(words[..6], [5, 7, 0, 1, 0, 5]);
        assert_eq!(words[ROWS..], [10, 0, 11, 1, 12, 1, 13, 2, 14, 0]);
        let (at, table) = pass.paths().unwrap();
        assert_eq!(at, (PATHS * 4) as u64);
        let path = |r: usize, n| table[r * MAX_TREE_ROWS..][..n].to_vec();
        assert_eq!(path(3, 3), [0, 1, 3]);
        assert_eq!(path(2, 2), [0, 2]);
        assert_eq!(path(4, 1), [4]);
    }

    #[test]
    fn a_tree_goes_on_where_the_cache_ends() {
        // The last three nodes of the tree above, once the first two are in the cache.
        let rows = Rows {
            tokens: vec![12, 13, 14],
            parents: vec![None, Some(0), Some(0), Some(1), None],
        };
        let pass = Pass {
            rows: &rows,
            first: 0,
            n: 3,
            len: 9,
            first_logits: 0,
            n_logits: 3,
            drawing: None,
        };
        let mut words = Vec::new();
        pass.words(&mut words);
        assert_eq!(words[..6], [3, 7, 2, 1, 0, 3]);
        assert_eq!(words[ROWS..], [12, 1, 13, 2, 14, 0]);
        let (_, table) = pass.paths().unwrap();
        let path = |r: usize, n| table[r * MAX_TREE_ROWS..][..n].to_vec();
        assert_eq!(path(0, 2), [0, 2]);
        assert_eq!(path(1, 3), [0, 1, 3]);
        assert_eq!(path(2, 1), [4]);
    }
}
