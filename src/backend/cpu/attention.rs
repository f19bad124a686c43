//! `attention`: each query over the keys and values it may see.

use super::cache::LayerCache;
use super::dot::{add_scaled, dot};
use crate::backend::Rows;
use crate::backend::plan::Heads;

/// Which slots each row of a pass sees, and where it stands.
///
/// A row sees the tokens that were in the cache, then those earlier rows it descends
/// from, then itself: always in order of position, whether the rows are a chain or a
/// tree, so that the sums below run in one order for one history.
pub struct Visible {
    /// Tokens in the cache before the tree or chain: slot and position of each are one.
    base: usize,
    /// Of each row.
    pub positions: Vec<usize>,
    /// Of each row, where its ancestors end in `ancestors`.
    ends: Vec<usize>,
    /// Nodes in order of position, each row's own last.
    ancestors: Vec<usize>,
}

impl Visible {
    /// For no rows yet.
    pub fn new() -> Self {
        Self {
            base: 0,
            positions: Vec::new(),
            ends: Vec::new(),
            ancestors: Vec::new(),
        }
    }

    /// Works it out for `rows` after `len` cached tokens.
    pub fn fill(&mut self, rows: &Rows, len: usize) {
        let n_before = rows.n_before();
        self.base = len - n_before;
        self.positions.clear();
        self.ends.clear();
        self.ancestors.clear();
        let is_chain = rows.parents.is_empty();
        for r in 0..rows.len() {
            let depth = rows.depth(r);
            self.positions.push(self.base + depth);
            if is_chain {
                continue;
            }
            let (start, node) = (self.ancestors.len(), n_before + r);
            self.ancestors.resize(start + depth + 1, node);
            let mut at = node;
            for slot in self.ancestors[start..].iter_mut().rev() {
                *slot = at;
                at = rows.parent(at).unwrap_or(at);
            }
            self.ends.push(self.ancestors.len());
        }
    }

    /// The slots row `r` sees through `window`, in order of position.
    fn slots(&self, r: usize, window: Option<usize>) -> impl Iterator<Item = usize> + '_ {
        let position = self.positions[r];
        let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
        let depth = position - self.base;
        let hidden_rows = first.saturating_sub(self.base);
        let lineage = match self.ends.get(r) {
            Some(&end) => &self.ancestors[end - depth - 1 + hidden_rows..end],
            None => &[],
        };
        let chain_end = if self.ends.is_empty() {
            position + 1
        } else {
            self.base
        };
        let chain = first.min(chain_end)..chain_end;
        chain.chain(lineage.iter().map(|node| self.base + node))
    }
}

/// How one layer attends.
pub struct Scores {
    /// Multiplies `q . k`.
    pub scale: f32,
    /// `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// A row sees only the last `window` positions, itself included.
    pub window: Option<usize>,
}

/// `out = softmax(mask(cap(q k^T * scale))) v`. `qkv`: `[R, width]`, of which the
/// leading columns are queries; `out`: `[R, out_width]`. `scratch` holds one head's
/// scores.
#[allow(clippy::too_many_arguments, reason = "two buffers with their widths")]
pub fn attention(
    qkv: &[f32],
    width: usize,
    heads: Heads,
    how: &Scores,
    visible: &Visible,
    cache: &LayerCache,
    scratch: &mut Vec<f32>,
    out: &mut [f32],
    out_width: usize,
) {
    let head_dim = heads.head_dim;
    let n_kv = heads.n_kv_heads * head_dim;
    let group = heads.n_heads / heads.n_kv_heads;
    let rows = qkv.chunks_exact(width).zip(out.chunks_exact_mut(out_width));
    for (r, (row, out)) in rows.enumerate() {
        for head in 0..heads.n_heads {
            let query = &row[head * head_dim..][..head_dim];
            let column = head / group * head_dim;
            let at = |slot: usize| slot * n_kv + column..slot * n_kv + column + head_dim;
            scratch.clear();
            let mut highest = f32::NEG_INFINITY;
            for slot in visible.slots(r, how.window) {
                let mut score = dot(query, &cache.keys[at(slot)]) * how.scale;
                if let Some(cap) = how.softcap {
                    score = cap * (score / cap).tanh();
                }
                highest = highest.max(score);
                scratch.push(score);
            }
            let mut total = 0.0;
            for score in scratch.iter_mut() {
                *score = (*score - highest).exp();
                total += *score;
            }
            let out = &mut out[head * head_dim..][..head_dim];
            out.fill(0.0);
            for (slot, &weight) in visible.slots(r, how.window).zip(scratch.iter()) {
                add_scaled(out, weight, &cache.values[at(slot)]);
            }
            out.iter_mut().for_each(|x| *x /= total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(rows: &Rows, base: usize, window: Option<usize>) -> Vec<Vec<usize>> {
        let mut visible = Visible::new();
        visible.fill(rows, base);
        let each = |r| visible.slots(r, window).collect();
        (0..rows.len()).map(each).collect()
    }

    #[test]
    fn a_chain_sees_what_came_before() {
        let rows = Rows::chain([7, 7, 7]);
        assert_eq!(
            slots(&rows, 2, None),
            [vec![0, 1, 2], vec![0, 1, 2, 3], vec![0, 1, 2, 3, 4]]
        );
        assert_eq!(
            slots(&rows, 2, Some(2)),
            [vec![1, 2], vec![2, 3], vec![3, 4]]
        );
    }

    #[test]
    fn a_branch_sees_its_own_line_only() {
        // 0 - 1 - 3
        //   \ 2     4 starts over
        let rows = Rows {
            tokens: vec![7; 5],
            parents: vec![None, Some(0), Some(0), Some(1), None],
        };
        assert_eq!(
            slots(&rows, 2, None),
            [
                vec![0, 1, 2],
                vec![0, 1, 2, 3],
                vec![0, 1, 2, 4],
                vec![0, 1, 2, 3, 5],
                vec![0, 1, 6],
            ]
        );
        assert_eq!(
            slots(&rows, 2, Some(2)),
            [vec![1, 2], vec![2, 3], vec![2, 4], vec![3, 5], vec![1, 6]]
        );
        assert_eq!(slots(&rows, 2, Some(1))[3], [5]);
    }

    #[test]
    fn a_tree_goes_on_where_the_cache_ends() {
        // The last three nodes of the tree above, once the first two are in the cache.
        let rows = Rows {
            tokens: vec![7; 3],
            parents: vec![None, Some(0), Some(0), Some(1), None],
        };
        assert_eq!(
            slots(&rows, 4, None),
            [vec![0, 1, 2, 4], vec![0, 1, 2, 3, 5], vec![0, 1, 6]]
        );
        assert_eq!(
            slots(&rows, 4, Some(2)),
            [vec![2, 4], vec![3, 5], vec![1, 6]]
        );
    }
}
