//! What a row sees: the slots of its past, in a chain or in a tree.

use crate::backend::Rows;

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
    #[inline(always)]
    pub fn slots(&self, r: usize, window: Option<usize>) -> Slots<'_> {
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
        let first = first.min(chain_end);
        Slots {
            first,
            n_chain: chain_end - first,
            base: self.base,
            lineage,
        }
    }
}

/// Slots in order of position: some in a row, then some of a tree.
pub struct Slots<'a> {
    /// Of those in a row.
    pub first: usize,
    /// How many those are.
    pub n_chain: usize,
    /// Where the tree begins.
    pub base: usize,
    /// Its nodes, from `base` on.
    pub lineage: &'a [usize],
}

impl Slots<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.n_chain + self.lineage.len()
    }

    /// The one at `i`.
    #[inline(always)]
    pub fn get(&self, i: usize) -> usize {
        match i.checked_sub(self.n_chain) {
            None => self.first + i,
            Some(i) => self.base + self.lineage[i],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(rows: &Rows, base: usize, window: Option<usize>) -> Vec<Vec<usize>> {
        let mut visible = Visible::new();
        visible.fill(rows, base);
        let each = |r| {
            let slots = visible.slots(r, window);
            (0..slots.len()).map(|i| slots.get(i)).collect()
        };
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
