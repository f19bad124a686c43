//! How far to guess: the planner.
//!
//! A round that drafts `k` tokens costs `k` draft steps and one target pass over
//! `k + 1` rows, and makes `1 + a1 + a1 a2 + ...` tokens, where `ai` is the chance
//! that the `i`-th guess is right once those before it were. The planner keeps all of
//! these as measured on this device, and takes the `k` with the most tokens a second.
//! Zero is a legal answer: speculation switches itself off where it would lose, and
//! looks again from time to time by drafting without verifying (which costs a draft
//! step, not a wider pass).
//!
//! Where trees are allowed it also keeps how often the draft's second choice is right
//! once its first was not, and so on; the best tree of every size and depth follows from
//! that ([`Trees`]), and the one with the most tokens a second competes with the chains.

use std::rc::Rc;

use super::cost::{Costs, TreeSize};
use super::draft::MAX_DRAFT_TOKENS;
use super::tree::{TreeShape, Trees};

/// How fast acceptance forgets: a guess `n` guesses ago counts `0.97^n`.
const ACCEPTANCE_DECAY: f64 = 0.97;
/// Acceptance assumed before anything is known, and how many guesses that is worth.
const PRIOR_ACCEPTANCE: f64 = 0.6;
const PRIOR_GUESSES: f64 = 3.0;
/// How often a second choice is assumed to be right where the first is wrong, and a third
/// where both are.
const PRIOR_NEXT_CHOICE: f64 = 0.3;
/// Another length must promise this much more before it is taken.
const HYSTERESIS: f64 = 1.02;
/// Rounds between looks while switched off: doubled after every look in vain, and a
/// quarter after one that saw the draft be right.
const FIRST_LOOK_ROUNDS: u32 = 16;
const LAST_LOOK_ROUNDS: u32 = 64;
const LEAST_LOOK_ROUNDS: u32 = 4;
/// While nothing is drafted what was seen grows old, but not so old that a single look
/// says more than all before.
const OLDEST_TRIES: f64 = 6.0;

/// The draft's choices that a tree can hold at every node.
pub const MAX_RANKS: usize = 4;
/// Guesses of the largest tree.
pub const MAX_TREE_NODES: usize = 32;
/// Levels of the deepest tree.
pub const MAX_TREE_DEPTH: usize = 8;
/// Rounds for which a tree's shape is kept.
const RESHAPE_ROUNDS: u32 = 8;

/// A decayed count of hits among tries.
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    hits: f64,
    tries: f64,
}

impl Ratio {
    /// As if there had been a few tries; they are forgotten like all others.
    fn assumed(ratio: f64) -> Self {
        Self {
            hits: ratio * PRIOR_GUESSES,
            tries: PRIOR_GUESSES,
        }
    }

    fn observe(&mut self, hit: bool) {
        self.hits = self.hits * ACCEPTANCE_DECAY + f64::from(u8::from(hit));
        self.tries = self.tries * ACCEPTANCE_DECAY + 1.0;
    }

    /// `rounds` went by in which nothing was tried.
    fn grow_old(&mut self, rounds: u32) {
        let decay = ACCEPTANCE_DECAY.powi(rounds as i32);
        let decay = decay.max(OLDEST_TRIES / self.tries).min(1.0);
        self.hits *= decay;
        self.tries *= decay;
    }

    /// The ratio of one that began with an assumption.
    fn value(self) -> f64 {
        self.hits / self.tries
    }

    /// The ratio, leaning towards `other` while tries are few.
    fn leaning_to(self, other: f64) -> f64 {
        (self.hits + other * PRIOR_GUESSES) / (self.tries + PRIOR_GUESSES)
    }
}

/// How many tokens to draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftLength {
    /// As many as pay on this device, which may be none.
    Auto,
    /// This many every round.
    Fixed(usize),
}

/// The planner's answer for one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Tokens to draft.
    pub num_draft_tokens: usize,
    /// The tree that they make; `None` for a chain.
    pub tree: Option<Rc<TreeShape>>,
    /// Draft, but let the target pass be one row wide: only to see whether the drafter
    /// would have been right.
    pub look_only: bool,
    /// Tokens a second that this choice promises, over those of plain decoding.
    pub expected_speedup: f64,
}

impl Choice {
    /// To draft nothing.
    pub const NONE: Choice = Choice {
        num_draft_tokens: 0,
        tree: None,
        look_only: false,
        expected_speedup: 1.0,
    };
}

/// What there is room for in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Guesses in a line: no more become text.
    pub depth: usize,
    /// Guesses of a tree: no more fit behind the text.
    pub nodes: usize,
}

/// What a round was, as the planner sees it.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// Tokens proposed.
    pub num_draft_tokens: usize,
    /// Of those, how many were right before the first wrong one.
    pub num_accepted_tokens: usize,
    /// Time spent proposing.
    pub draft_s: f64,
    /// Rows of the target pass.
    pub rows: usize,
    /// Time of the target pass.
    pub pass_s: f64,
}

/// A draw of the target's, and which of the draft's choices there it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Which, from 0; `None` for none of them.
    pub rank: Option<usize>,
    /// How many of its choices are known.
    pub n_choices: usize,
}

/// Chooses a draft length, or a tree, every round.
#[derive(Debug, Clone)]
pub struct Planner {
    length: DraftLength,
    trees: bool,
    costs: Costs,
    overall: Ratio,
    by_position: [Ratio; MAX_DRAFT_TOKENS],
    /// Of the choices after the first: right where those before were not.
    by_rank: [Ratio; MAX_RANKS],
    current: usize,
    /// The tree that is best, as of lately; and for how many rounds it stays so.
    tree: Option<Rc<TreeShape>>,
    fresh_rounds: u32,
    in_tree: bool,
    rounds_off: u32,
    look_every: u32,
    /// The round at hand only looks.
    looks: bool,
}

impl Planner {
    /// A planner that starts from `costs` (of the warm-up, or of the last reply).
    pub fn new(length: DraftLength, trees: bool, costs: Costs) -> Self {
        Self {
            length,
            trees,
            costs,
            overall: Ratio::assumed(PRIOR_ACCEPTANCE),
            by_position: [Ratio::default(); MAX_DRAFT_TOKENS],
            by_rank: [Ratio::assumed(PRIOR_NEXT_CHOICE); MAX_RANKS],
            current: 0,
            tree: None,
            fresh_rounds: 0,
            in_tree: false,
            rounds_off: 0,
            look_every: FIRST_LOOK_ROUNDS,
            looks: false,
        }
    }

    /// The costs as measured so far.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// How many of its choices a drafter is to tell of.
    pub fn n_choices(&self) -> usize {
        if self.trees { MAX_RANKS } else { 1 }
    }

    /// The chance that the guess at `position` (from 0) is right once those before it were.
    pub fn acceptance(&self, position: usize) -> f64 {
        self.by_position[position].leaning_to(self.overall.value())
    }

    /// The chance that at `position`, once all before was guessed, the draft's choice of
    /// this rank is right.
    pub fn chance(&self, position: usize, rank: usize) -> f64 {
        let first = self.acceptance(position);
        if rank == 0 {
            return first;
        }
        let next = |rank: usize| self.by_rank[rank].value();
        let others_wrong: f64 = (1..rank).map(|rank| 1.0 - next(rank)).product();
        (1.0 - first) * others_wrong * next(rank)
    }

    /// Tokens a second of rounds that draft `k`.
    fn tokens_per_s(&self, k: usize) -> f64 {
        let mut reached = 1.0;
        let mut tokens = 1.0;
        for position in 0..k {
            reached *= self.acceptance(position);
            tokens += reached;
        }
        tokens / (k as f64 * self.costs.draft_step_s() + self.costs.pass_s(k + 1))
    }

    /// Tokens a second of rounds with a tree.
    fn tree_tokens_per_s(&self, tree: &TreeShape) -> f64 {
        let tokens = tree.expected(&|level, rank| self.chance(level, rank));
        tokens / self.costs.tree_s(size_of(tree))
    }

    /// The tree with the most tokens a second; with exactly `size` guesses, where given,
    /// the one with the most tokens.
    fn best_tree(&self, room: Room, size: Option<usize>) -> Option<Rc<TreeShape>> {
        let nodes = room
            .nodes
            .min(size.unwrap_or(MAX_TREE_NODES))
            .min(MAX_TREE_NODES);
        let depth = room.depth.min(MAX_TREE_DEPTH).min(nodes);
        let chance = |level: usize, rank: usize| self.chance(level, rank);
        if size.is_some() {
            let trees = Trees::new(&chance, MAX_RANKS, nodes, depth);
            let fits = (1..=nodes)
                .rev()
                .find(|&size| trees.expected(size).is_some());
            return fits.map(|size| Rc::new(trees.shape(size)));
        }
        let mut best: Option<(f64, TreeShape)> = None;
        for depth in 1..=depth {
            let trees = Trees::new(&chance, MAX_RANKS, nodes, depth);
            // How many nodes the draft runs is known once the shape is: half will do here.
            let rate = |size: usize| {
                let tree = TreeSize {
                    rows: size + 1,
                    depth,
                    draft_rows: depth + (size - depth.min(size)) / 2,
                };
                let tokens = trees.expected(size).unwrap_or(0.0);
                tokens / self.costs.tree_s(tree)
            };
            let size = (1..=nodes).max_by(|&a, &b| rate(a).total_cmp(&rate(b)));
            let Some(size) = size.filter(|&size| trees.expected(size).is_some()) else {
                continue;
            };
            let shape = trees.shape(size);
            let rate = self.tree_tokens_per_s(&shape);
            if !shape.is_chain() && best.as_ref().is_none_or(|(best, _)| rate > *best) {
                best = Some((rate, shape));
            }
        }
        best.map(|(_, shape)| Rc::new(shape))
    }

    /// The tree at hand, made anew from time to time.
    fn current_tree(&mut self, room: Room, size: Option<usize>) -> Option<Rc<TreeShape>> {
        if !self.trees || room.depth.min(room.nodes) == 0 {
            return None;
        }
        if self.fresh_rounds == 0 {
            self.fresh_rounds = RESHAPE_ROUNDS;
            self.tree = self.best_tree(room, size);
        }
        self.fresh_rounds -= 1;
        let fits = |tree: &TreeShape| tree.nodes.len() <= room.nodes && tree.depth() <= room.depth;
        if self.tree.as_deref().is_some_and(|tree| !fits(tree)) {
            self.fresh_rounds = 0; // the end is near, and every round has less room
            return self.best_tree(room, size);
        }
        self.tree.clone()
    }

    /// What to do this round, with this room for drafted tokens.
    pub fn choose(&mut self, room: Room) -> Choice {
        let max = room.depth.min(MAX_DRAFT_TOKENS);
        let plain = self.tokens_per_s(0);
        let chain = |k: usize, look_only: bool, rate: f64| Choice {
            num_draft_tokens: k,
            tree: None,
            look_only,
            expected_speedup: rate / plain,
        };
        let grown = |tree: Rc<TreeShape>, rate: f64| Choice {
            num_draft_tokens: tree.nodes.len(),
            tree: Some(tree),
            look_only: false,
            expected_speedup: rate / plain,
        };
        if let DraftLength::Fixed(k) = self.length {
            if k > 0
                && let Some(tree) = self.current_tree(room, Some(k))
            {
                let rate = self.tree_tokens_per_s(&tree);
                return grown(tree, rate);
            }
            let k = k.min(max);
            return chain(k, false, self.tokens_per_s(k));
        }
        let rates: Vec<f64> = (0..=max).map(|k| self.tokens_per_s(k)).collect();
        let best = (0..=max)
            .max_by(|&a, &b| rates[a].total_cmp(&rates[b]))
            .unwrap_or(0);
        let current = self.current.min(max);
        let k = if rates[best] > rates[current] * HYSTERESIS {
            best
        } else {
            current
        };
        // Staying is not an excuse for losing.
        let k = if rates[k] < rates[0] { 0 } else { k };
        self.current = k;
        if let Some(tree) = self.current_tree(room, None) {
            let rate = self.tree_tokens_per_s(&tree);
            let than_chain = if self.in_tree { 1.0 } else { HYSTERESIS };
            self.in_tree = rate > rates[k] * than_chain;
            if self.in_tree {
                (self.rounds_off, self.look_every) = (0, FIRST_LOOK_ROUNDS);
                return grown(tree, rate);
            }
        }
        if k > 0 || max == 0 {
            (self.rounds_off, self.look_every) = (0, FIRST_LOOK_ROUNDS);
            return chain(k, false, rates[k]);
        }
        self.rounds_off += 1;
        if self.rounds_off < self.look_every {
            return chain(0, false, plain);
        }
        let seen = [&mut self.overall, &mut self.by_position[0]];
        for ratio in seen.into_iter().chain(&mut self.by_rank) {
            ratio.grow_old(self.rounds_off);
        }
        self.rounds_off = 0;
        self.looks = true;
        chain(1, true, plain)
    }

    /// Takes note of what a round cost and how far it was right.
    pub fn observe(&mut self, round: &Observed) {
        self.costs.observe_pass(round.rows, round.pass_s);
        self.costs
            .observe_draft(round.num_draft_tokens, round.draft_s);
        self.costs.forget_trees();
        if std::mem::take(&mut self.looks) {
            self.look_every = match round.num_accepted_tokens {
                0 => (self.look_every * 2).min(LAST_LOOK_ROUNDS),
                _ => (self.look_every / 4).max(LEAST_LOOK_ROUNDS),
            };
        }
        for position in 0..round
            .num_draft_tokens
            .min(round.num_accepted_tokens + 1)
            .min(MAX_DRAFT_TOKENS)
        {
            self.observe_first(position, position < round.num_accepted_tokens);
        }
    }

    /// Takes note of a round with a tree.
    pub fn observe_tree(&mut self, tree: TreeSize, tried: &[Tried], seconds: f64) {
        self.costs.observe_tree(tree, seconds);
        for (position, tried) in tried.iter().enumerate().take(MAX_DRAFT_TOKENS) {
            self.observe_first(position, tried.rank == Some(0));
        }
        self.observe_choices(tried);
    }

    /// Takes note of which choices after the first were right.
    pub fn observe_choices(&mut self, tried: &[Tried]) {
        for tried in tried {
            let right = tried.rank.unwrap_or(usize::MAX);
            for rank in 1..tried.n_choices.min(MAX_RANKS) {
                if rank <= right {
                    self.by_rank[rank].observe(rank == right);
                }
            }
        }
    }

    fn observe_first(&mut self, position: usize, hit: bool) {
        self.overall.observe(hit);
        self.by_position[position].observe(hit);
    }

    /// From now on this tree and nothing else.
    #[cfg(test)]
    pub(super) fn always(&mut self, tree: TreeShape) {
        self.trees = true;
        self.length = DraftLength::Fixed(tree.nodes.len());
        self.tree = Some(Rc::new(tree));
        self.fresh_rounds = u32::MAX;
    }
}

/// What a tree of this shape costs by.
fn size_of(tree: &TreeShape) -> TreeSize {
    TreeSize {
        rows: tree.nodes.len() + 1,
        depth: tree.depth(),
        draft_rows: tree.n_inner(),
    }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
