//! The shape of a token tree: which guesses, and guesses after guesses, to verify in
//! one pass.
//!
//! A chain bets everything on the draft's first choice; a tree also covers its second
//! and third. A node's children are the draft's best tokens under the shared noise
//! (Gumbel-top-b: sampling without replacement), and at most one of them is what the
//! target draws. With `p[l][b]` the chance that below a node of level `l` it is the
//! `b`-th, a node is reached with the product of its path's chances, and a tree makes as
//! many tokens a round, on average, as the sum over its nodes. The tree with the most for
//! its size comes from Sequoia's dynamic programme (Chen et al., arXiv 2402.12374,
//! section 3.1), here with its bound on depth, and with chances that may depend on the
//! level.

/// A tree over a root (the last token, which is known): nodes in an order in which
/// parents come before children.
#[derive(Debug, Clone, Default, PartialEq)]
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
        let trees = Trees::new(&|_, rank| by_rank[rank], by_rank.len(), size, max_depth);
        let size = (0..=size)
            .rev()
            .find(|&size| trees.expected(size).is_some());
        trees.shape(size.unwrap_or(0))
    }

    /// How many levels below the root.
    pub fn depth(&self) -> usize {
        self.level_of_nodes().into_iter().max().unwrap_or(0)
    }

    /// The level of the root, which is 0, and of every node.
    fn level_of_nodes(&self) -> Vec<usize> {
        let mut levels = vec![0];
        for node in &self.nodes {
            levels.push(levels[node.parent] + 1);
        }
        levels
    }

    /// How many children the node at `index` has (0 is the root).
    pub fn n_children(&self, index: usize) -> usize {
        self.nodes
            .iter()
            .filter(|node| node.parent == index)
            .count()
    }

    /// The child of the node at `index` of a rank.
    pub fn child(&self, index: usize, rank: usize) -> Option<usize> {
        let is_child = |node: &TreeNode| {
            *node
                == TreeNode {
                    parent: index,
                    rank,
                }
        };
        Some(self.nodes.iter().position(is_child)? + 1)
    }

    /// Nodes with children, the root among them: those that a draft must run.
    pub fn n_inner(&self) -> usize {
        (0..=self.nodes.len())
            .filter(|&index| self.nodes.iter().any(|node| node.parent == index))
            .count()
    }

    /// Whether no node has a sibling.
    pub fn is_chain(&self) -> bool {
        self.depth() == self.nodes.len()
    }

    /// Tokens a round makes on average where the draft's choice of a rank, below a node
    /// of a level, is right with this chance.
    pub fn expected(&self, chance: &dyn Fn(usize, usize) -> f64) -> f64 {
        let levels = self.level_of_nodes();
        let mut reached = vec![1.0];
        for node in &self.nodes {
            reached.push(reached[node.parent] * chance(levels[node.parent], node.rank));
        }
        reached.iter().sum()
    }
}

/// The best trees of every size, under one bound on depth: the dynamic programme's
/// tables.
pub struct Trees {
    n_ranks: usize,
    max_nodes: usize,
    max_depth: usize,
    /// `[depth, ranks, nodes]` -> expected tokens of the best tree of exactly so many
    /// nodes, its root included, of at most so many levels below the root, whose root has
    /// children of the first `ranks` ranks only (each at least a leaf); and how many of
    /// its nodes hang below the child of the last rank. Minus infinity where there is none.
    ranked: Vec<(f64, u16)>,
    /// `[depth, nodes]` -> the same over all ranks, and how many ranks.
    best: Vec<(f64, u16)>,
}

const NO_TREE: (f64, u16) = (f64::NEG_INFINITY, 0);

impl Trees {
    /// Works out all trees of up to `max_size` nodes, roots not counted, and `max_depth`
    /// levels, where the draft's choice of a rank (under `n_ranks`), below a node of a
    /// level (the root's is 0), is right with `chance(level, rank)`.
    pub fn new(
        chance: &dyn Fn(usize, usize) -> f64,
        n_ranks: usize,
        max_size: usize,
        max_depth: usize,
    ) -> Self {
        let max_nodes = max_size + 1;
        let mut trees = Self {
            n_ranks,
            max_nodes,
            max_depth,
            ranked: vec![NO_TREE; (max_depth + 1) * (n_ranks + 1) * (max_nodes + 1)],
            best: vec![NO_TREE; (max_depth + 1) * (max_nodes + 1)],
        };
        for depth in 0..=max_depth {
            // A tree with `depth` levels below it has its root on this one.
            let level = max_depth - depth;
            let leaf = trees.at(depth, 0, 1);
            trees.ranked[leaf] = (1.0, 0);
            let ranks = if depth == 0 { 0 } else { n_ranks };
            for ranks in 1..=ranks {
                let chance = chance(level, ranks - 1);
                for nodes in ranks + 1..=max_nodes {
                    let mut found = NO_TREE;
                    for below in 1..nodes {
                        let rest = trees.ranked[trees.at(depth, ranks - 1, nodes - below)].0;
                        let child = trees.best[(depth - 1) * (max_nodes + 1) + below].0;
                        let expected = rest + chance * child;
                        if expected > found.0 {
                            found = (expected, below as u16);
                        }
                    }
                    let at = trees.at(depth, ranks, nodes);
                    trees.ranked[at] = found;
                }
            }
            for nodes in 1..=max_nodes {
                let mut found = NO_TREE;
                for ranks in 0..=ranks {
                    let expected = trees.ranked[trees.at(depth, ranks, nodes)].0;
                    if expected > found.0 {
                        found = (expected, ranks as u16);
                    }
                }
                trees.best[depth * (max_nodes + 1) + nodes] = found;
            }
        }
        trees
    }

    fn at(&self, depth: usize, ranks: usize, nodes: usize) -> usize {
        (depth * (self.n_ranks + 1) + ranks) * (self.max_nodes + 1) + nodes
    }

    /// Tokens that the best tree of exactly `size` nodes makes; `None` where there is none.
    pub fn expected(&self, size: usize) -> Option<f64> {
        let best = self
            .best
            .get(self.max_depth * (self.max_nodes + 1) + size + 1)?;
        best.0.is_finite().then_some(best.0)
    }

    /// The best tree of exactly `size` nodes; no node where there is none.
    pub fn shape(&self, size: usize) -> TreeShape {
        let mut shape = TreeShape {
            nodes: Vec::new(),
            expected_tokens: 1.0,
        };
        if let Some(expected) = self.expected(size) {
            shape.expected_tokens = expected;
            self.write(size + 1, self.max_depth, 0, &mut shape.nodes);
        }
        shape
    }

    fn write(&self, nodes: usize, depth: usize, parent: usize, to: &mut Vec<TreeNode>) {
        let ranks = usize::from(self.best[depth * (self.max_nodes + 1) + nodes].1);
        // From the last rank to the first: each says how much hangs below it.
        let mut below = vec![0; ranks];
        let mut left = nodes;
        for rank in (1..=ranks).rev() {
            below[rank - 1] = usize::from(self.ranked[self.at(depth, rank, left)].1);
            left -= below[rank - 1];
        }
        let first = to.len();
        to.extend((0..ranks).map(|rank| TreeNode { parent, rank }));
        for (rank, &nodes) in below.iter().enumerate() {
            self.write(nodes, depth - 1, first + rank + 1, to);
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

    #[test]
    fn chances_may_depend_on_the_level() {
        // Right at the root, at random below it: broad below, narrow above.
        let chance = |level: usize, rank: usize| match (level, rank) {
            (0, 0) => 1.0,
            (0, _) => 0.0,
            _ => [0.3, 0.28, 0.26, 0.16][rank],
        };
        let trees = Trees::new(&chance, 4, 5, 3);
        let shape = trees.shape(5);
        assert_eq!((shape.n_children(0), shape.n_children(1)), (1, 4));
        assert!((shape.expected_tokens - 3.0).abs() < 1e-9);
        assert!((shape.expected(&chance) - shape.expected_tokens).abs() < 1e-9);
        assert_eq!((shape.n_inner(), shape.is_chain()), (2, false));
        assert_eq!(shape.child(1, 3), Some(5));
        assert_eq!(shape.child(2, 0), None);
    }

    #[test]
    fn what_a_shape_expects_is_what_the_programme_said() {
        for (size, depth) in [(1, 1), (7, 3), (32, 8)] {
            let shape = TreeShape::best(&BY_RANK, size, depth);
            let again = shape.expected(&|_, rank| BY_RANK[rank]);
            assert!((again - shape.expected_tokens).abs() < 1e-9);
        }
    }
}
