//! The shape of a token tree: which guesses, and guesses after guesses, to verify in
//! one pass.
//!
//! A chain bets everything on the draft's first choice; a tree also covers its second
//! and third. A node's children are the draft's best tokens under the shared noise
//! (Gumbel-top-b: sampling without replacement), and at most one of them is what the
//! target draws. With `p[b]` the chance that it is the `b`-th, a node is reached with
//! the product of its path's chances, and a tree makes as many tokens a round, on
//! average, as the sum over its nodes. The tree with the most for its size comes from
//! Sequoia's dynamic programme (Chen et al., arXiv 2402.12374, section 3.1), here with
//! its bound on depth.

/// A tree over a root (the last token, which is known): nodes in an order in which
/// parents come before children.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeShape {
    /// For every node but the root: its parent (0 is the root, `i + 1` is `nodes[i]`) and
    /// its rank among the parent's children, from 0.
    pub nodes: Vec<TreeNode>,
    /// Tokens a round makes on average: the root's own draw and every node reached.
    pub expected_tokens: f64,
}

/// A node of a [`TreeShape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeNode {
    /// Its parent: 0 is the root, `i + 1` is the `i`-th node.
    pub parent: usize,
    /// Which of the draft's choices it is, from 0.
    pub rank: usize,
}

impl TreeShape {
    /// The best tree of `size` nodes (the root not counted; fewer where so many do not
    /// fit) and at most `max_depth` levels below the root, where the draft's `b`-th
    /// choice is right with chance `by_rank[b]`.
    pub fn best(by_rank: &[f64], size: usize, max_depth: usize) -> Self {
        let mut table = Table::new(by_rank, max_depth);
        let fits = |size: &usize| table.subtree(size + 1, max_depth).0.is_finite();
        let size = (0..=size).rev().find(fits).unwrap_or(0);
        let (expected_tokens, _) = table.subtree(size + 1, max_depth);
        let mut shape = Self {
            nodes: Vec::with_capacity(size),
            expected_tokens,
        };
        table.write(size + 1, max_depth, 0, &mut shape.nodes);
        shape
    }

    /// How many levels below the root.
    pub fn depth(&self) -> usize {
        let mut depths = vec![0];
        for node in &self.nodes {
            depths.push(depths[node.parent] + 1);
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// How many children the node at `index` has (0 is the root).
    pub fn n_children(&self, index: usize) -> usize {
        self.nodes
            .iter()
            .filter(|node| node.parent == index)
            .count()
    }
}

/// The dynamic programme's memory.
struct Table<'p> {
    by_rank: &'p [f64],
    /// `(nodes, depth, ranks)` -> expected tokens of the best such tree, and how many of
    /// its nodes hang below the child of the last rank.
    best: std::collections::HashMap<(usize, usize, usize), (f64, usize)>,
    max_depth: usize,
}

impl<'p> Table<'p> {
    fn new(by_rank: &'p [f64], max_depth: usize) -> Self {
        Self {
            by_rank,
            best: std::collections::HashMap::new(),
            max_depth,
        }
    }

    /// The best tree of exactly `n` nodes, root included, whose root has children of the
    /// first `ranks` ranks only (each of them at least a leaf).
    fn ranked(&mut self, n: usize, depth: usize, ranks: usize) -> (f64, usize) {
        debug_assert!(depth <= self.max_depth);
        if ranks == 0 {
            return (if n == 1 { 1.0 } else { f64::NEG_INFINITY }, 0);
        }
        if n <= ranks || depth == 0 {
            return (f64::NEG_INFINITY, 0); // too few nodes, or no room below
        }
        if let Some(&known) = self.best.get(&(n, depth, ranks)) {
            return known;
        }
        let mut best = (f64::NEG_INFINITY, 0);
        for below in 1..n {
            let rest = self.ranked(n - below, depth, ranks - 1).0;
            let child = self.subtree(below, depth - 1).0;
            let expected = rest + self.by_rank[ranks - 1] * child;
            if expected > best.0 {
                best = (expected, below);
            }
        }
        self.best.insert((n, depth, ranks), best);
        best
    }

    /// The best tree of exactly `n` nodes, root included, and its root's ranks.
    fn subtree(&mut self, n: usize, depth: usize) -> (f64, usize) {
        let mut best = (f64::NEG_INFINITY, 0);
        for ranks in 0..=self.by_rank.len() {
            let expected = self.ranked(n, depth, ranks).0;
            if expected > best.0 {
                best = (expected, ranks);
            }
        }
        best
    }

    fn write(&mut self, n: usize, depth: usize, parent: usize, nodes: &mut Vec<TreeNode>) {
        let ranks = self.subtree(n, depth).1;
        // From the last rank to the first: each says how much hangs below it.
        let mut below = vec![0; ranks];
        let mut left = n;
        for rank in (1..=ranks).rev() {
            below[rank - 1] = self.ranked(left, depth, rank).1;
            left -= below[rank - 1];
        }
        let first = nodes.len();
        nodes.extend((0..ranks).map(|rank| TreeNode { parent, rank }));
        for (rank, &n) in below.iter().enumerate() {
            self.write(n, depth - 1, first + rank + 1, nodes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::noise::uniform;

    const BY_RANK: [f64; 4] = [0.6, 0.2, 0.08, 0.04];

    /// Tokens a round makes, simulated: at every node the draw is of rank `b` with
    /// chance `by_rank[b]`.
    fn simulate(shape: &TreeShape, rounds: u32) -> f64 {
        let mut made = 0_usize;
        for round in 0..rounds {
            let mut at = 0;
            for depth in 0.. {
                made += 1;
                let draw = uniform(5, round, depth);
                let mut reached = 0.0;
                let rank = BY_RANK.iter().position(|p| {
                    reached += p;
                    draw < reached
                });
                let child = shape
                    .nodes
                    .iter()
                    .position(|node| node.parent == at && Some(node.rank) == rank);
                match child {
                    Some(child) => at = child + 1,
                    None => break,
                }
            }
        }
        made as f64 / f64::from(rounds)
    }

    #[test]
    fn gains_follow_the_prediction() {
        for (size, depth) in [(1, 1), (4, 4), (8, 4), (16, 6)] {
            let shape = TreeShape::best(&BY_RANK, size, depth);
            assert_eq!(shape.nodes.len(), size);
            assert!(shape.depth() <= depth);
            let got = simulate(&shape, 60_000);
            assert!(
                (got - shape.expected_tokens).abs() < 0.02,
                "{size} nodes: {got}, not {}",
                shape.expected_tokens
            );
        }
    }

    /// Every tree of `size` nodes, grown node by node.
    fn brute_force(size: usize, depth: usize) -> f64 {
        fn grow(shape: &mut Vec<(usize, f64, usize)>, left: usize, max_depth: usize) -> f64 {
            if left == 0 {
                return shape.iter().map(|node| node.1).sum();
            }
            let mut best: f64 = 0.0;
            for parent in 0..shape.len() {
                let rank = shape.iter().skip(1).filter(|node| node.0 == parent).count();
                if rank < BY_RANK.len() && shape[parent].2 < max_depth {
                    shape.push((parent, shape[parent].1 * BY_RANK[rank], shape[parent].2 + 1));
                    best = best.max(grow(shape, left - 1, max_depth));
                    shape.pop();
                }
            }
            best
        }
        grow(&mut vec![(usize::MAX, 1.0, 0)], size, depth)
    }

    #[test]
    fn no_tree_of_the_same_size_makes_more() {
        for (size, depth) in [(2, 2), (4, 3), (6, 2), (6, 6)] {
            let got = TreeShape::best(&BY_RANK, size, depth).expected_tokens;
            assert!(
                (got - brute_force(size, depth)).abs() < 1e-9,
                "{size} nodes, depth {depth}"
            );
        }
    }

    #[test]
    fn a_size_that_does_not_fit_is_cut() {
        assert_eq!(TreeShape::best(&[0.5, 0.2], 100, 2).nodes.len(), 6);
        assert_eq!(TreeShape::best(&[], 4, 2).nodes.len(), 0);
    }

    #[test]
    fn a_certain_draft_makes_a_chain() {
        let shape = TreeShape::best(&[1.0, 0.0], 5, 5);
        assert_eq!(shape.depth(), 5);
        assert_eq!(shape.expected_tokens, 6.0);
    }
}
