//! How far to guess: the planner.
//!
//! A round that drafts `k` tokens costs `k` draft steps and one target pass over
//! `k + 1` rows, and makes `1 + a1 + a1 a2 + ...` tokens, where `ai` is the chance
//! that the `i`-th guess is right once those before it were. The planner keeps all of
//! these as measured on this device, and takes the `k` with the most tokens a second.
//! What the text itself suggests costs no draft step and has an acceptance of its own, so
//! the two compete. A length whose cost is not known is tried where it could be worth it.
//!
//! Zero is a legal answer: speculation switches itself off where it would lose. Then what
//! the text suggests is watched for nothing; a draft model is looked at from time to time,
//! for a small share of the time spent so far.
//!
//! Where trees are allowed the planner also keeps how often the draft's second choice is
//! right once its first was not, and so on; the best tree of every size and depth follows
//! from that ([`Trees`]), and the one with the most tokens a second competes with the chains.

use std::rc::Rc;

use super::acceptance::Acceptance;
pub use super::acceptance::{MAX_RANKS, Tried};
use super::cost::{Costs, TreeSize};
use super::draft::MAX_DRAFT_TOKENS;
use super::tree::{TreeShape, Trees};

/// Another length must promise this much more before it is taken.
const HYSTERESIS: f64 = 1.02;
/// A length of unknown cost must be able to promise this much more before it is tried.
const WORTH_TRYING: f64 = 1.03;
/// Rounds between looks while switched off: doubled after every look in vain, and a
/// quarter after one that saw the draft be right.
const FIRST_LOOK_ROUNDS: u32 = 16;
const LAST_LOOK_ROUNDS: u32 = 64;
const LEAST_LOOK_ROUNDS: u32 = 4;
/// Looks that follow one another: the draft has read the text then.
const LOOKS_IN_A_ROW: u32 = 3;
/// Looks, and lengths tried for the first time, may cost this much of a reply's time, and as
/// many plain rounds to begin with.
const LEARNING_SHARE: f64 = 0.015;
const LEARNING_ROUNDS: f64 = 2.0;
/// A length is tried where so many tries could be afforded: most are in vain.
const TRIES_IN_STOCK: f64 = 4.0;

/// Guesses of the largest tree.
pub const MAX_TREE_NODES: usize = 32;
/// Levels of the deepest tree.
pub const MAX_TREE_DEPTH: usize = 8;
/// Rounds for which a tree's shape is kept.
const RESHAPE_ROUNDS: u32 = 8;

/// How many tokens to draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftLength {
    /// As many as pay on this device, which may be none.
    Auto,
    /// This many every round.
    Fixed(usize),
}

/// Whose guesses, as far as their cost and their acceptance go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guesser {
    /// The text itself: its guesses are there already.
    Text,
    /// A draft model, or whoever else has to work for a guess.
    Model,
}

/// Why the planner chose what it chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// This length was asked for.
    Asked,
    /// It promises the most tokens a second.
    Pays,
    /// Its cost is not known, and it may be the best.
    Untried,
    /// It may pay: too little was seen of the draft to tell.
    Unsure,
    /// Nothing pays: a look at whether the draft has become any good.
    Looks,
    /// Nothing pays.
    Loses,
    /// Nobody has a guess, or there is no room for one.
    NothingToGuess,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 7] = [
        Reason::Asked,
        Reason::Pays,
        Reason::Untried,
        Reason::Unsure,
        Reason::Looks,
        Reason::Loses,
        Reason::NothingToGuess,
    ];

    /// Its name in statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Asked => "asked",
            Reason::Pays => "pays",
            Reason::Untried => "untried",
            Reason::Unsure => "unsure",
            Reason::Looks => "looks",
            Reason::Loses => "loses",
            Reason::NothingToGuess => "nothing_to_guess",
        }
    }
}

/// The planner's answer for one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Tokens to draft.
    pub num_draft_tokens: usize,
    /// Who is to guess them.
    pub guesser: Guesser,
    /// The tree that they make; `None` for a chain.
    pub tree: Option<Rc<TreeShape>>,
    /// Draft, but let the target pass be one row wide: only to see whether the drafter
    /// would have been right.
    pub look_only: bool,
    /// Tokens a second that this choice promises, over those of plain decoding.
    pub expected_speedup: f64,
    /// Why.
    pub reason: Reason,
}

impl Choice {
    /// To draft nothing.
    pub const NONE: Choice = Choice {
        num_draft_tokens: 0,
        guesser: Guesser::Model,
        tree: None,
        look_only: false,
        expected_speedup: 1.0,
        reason: Reason::NothingToGuess,
    };
}

/// Who has guesses for a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// So many tokens that the text itself suggests.
    pub looked_up: usize,
    /// A draft model, and how many tokens of text it has to read before it can guess.
    pub model: Option<usize>,
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
    /// Who proposed.
    pub guesser: Guesser,
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

/// Chooses a draft length, or a tree, every round.
#[derive(Debug, Clone)]
pub struct Planner {
    length: DraftLength,
    trees: bool,
    costs: Costs,
    /// Of the text's guesses, and of the model's.
    acceptance: [Acceptance; 2],
    current: [usize; 2],
    /// The tree that is best, as of lately; and for how many rounds it stays so.
    tree: Option<Rc<TreeShape>>,
    fresh_rounds: u32,
    in_tree: bool,
    rounds_off: u32,
    look_every: u32,
    /// Looks that are still to follow, and how many of those in this row saw the draft be
    /// right.
    looks_left: u32,
    look_hits: u32,
    /// The round at hand is there to learn from: what else it would have been, in tokens a
    /// second, and whether it looks.
    learning: Option<(f64, bool)>,
    /// Seconds of this reply, and of those what there would have been to save.
    spent_s: f64,
    learning_s: f64,
}

impl Planner {
    /// A planner that starts from `costs` (of the warm-up, or of the last reply).
    pub fn new(length: DraftLength, trees: bool, costs: Costs) -> Self {
        Self {
            length,
            trees,
            acceptance: costs.acceptance.clone().map(|of| of.of_another_text()),
            costs,
            current: [0; 2],
            tree: None,
            fresh_rounds: 0,
            in_tree: false,
            rounds_off: FIRST_LOOK_ROUNDS,
            look_every: FIRST_LOOK_ROUNDS,
            looks_left: 0,
            look_hits: 0,
            learning: None,
            spent_s: 0.0,
            learning_s: 0.0,
        }
    }

    /// What is known of costs and acceptance so far.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// How many of its choices a drafter is to tell of.
    pub fn n_choices(&self) -> usize {
        if self.trees { MAX_RANKS } else { 1 }
    }

    /// How often a guess is right.
    pub fn acceptance(&self, guesser: Guesser) -> &Acceptance {
        &self.acceptance[guesser as usize]
    }

    /// Tokens of rounds that draft `k`, and the seconds that drafting takes.
    fn chain(&self, guesser: Guesser, k: usize) -> (f64, f64) {
        let acceptance = self.acceptance(guesser);
        let (mut reached, mut tokens) = (1.0, 1.0);
        for position in 0..k {
            reached *= acceptance.at(position);
            tokens += reached;
        }
        let step_s = match guesser {
            Guesser::Text => 0.0,
            Guesser::Model => self.costs.draft_step_s(),
        };
        (tokens, k as f64 * step_s)
    }

    /// Tokens a second of rounds that draft `k`.
    fn tokens_per_s(&self, guesser: Guesser, k: usize) -> f64 {
        let (tokens, draft_s) = self.chain(guesser, k);
        tokens / (draft_s + self.costs.pass_s(k + 1))
    }

    /// Tokens a second of rounds that draft `k`, at best.
    fn possible_tokens_per_s(&self, guesser: Guesser, k: usize) -> f64 {
        let (tokens, draft_s) = self.chain(guesser, k);
        tokens / (draft_s + self.costs.least_pass_s(k + 1))
    }

    /// Tokens a second of rounds with a tree.
    fn tree_tokens_per_s(&self, tree: &TreeShape) -> f64 {
        let acceptance = self.acceptance(Guesser::Model);
        let tokens = tree.expected(&|level, rank| acceptance.chance(level, rank));
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
        let acceptance = self.acceptance(Guesser::Model);
        let chance = |level: usize, rank: usize| acceptance.chance(level, rank);
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

    /// What to do this round, with this room for guesses and these to choose from.
    pub fn choose(&mut self, room: Room, offer: Offer) -> Choice {
        let depth = room.depth.min(MAX_DRAFT_TOKENS);
        let max = [
            depth.min(offer.looked_up),
            if offer.model.is_some() { depth } else { 0 },
        ];
        if max == [0, 0] {
            return Choice::NONE;
        }
        let plain = self.tokens_per_s(Guesser::Model, 0);
        let chain = |guesser, k, rate: f64, reason| Choice {
            num_draft_tokens: k,
            guesser,
            tree: None,
            look_only: reason == Reason::Looks,
            expected_speedup: rate / plain,
            reason,
        };
        let grown = |tree: Rc<TreeShape>, rate: f64, reason| Choice {
            num_draft_tokens: tree.nodes.len(),
            guesser: Guesser::Model,
            tree: Some(tree),
            look_only: false,
            expected_speedup: rate / plain,
            reason,
        };
        let [of_text, of_model] = max;
        if let DraftLength::Fixed(k) = self.length {
            let guesser = match of_text {
                0 => Guesser::Model,
                _ => Guesser::Text,
            };
            if guesser == Guesser::Model
                && k > 0
                && let Some(tree) = self.current_tree(room, Some(k))
            {
                let rate = self.tree_tokens_per_s(&tree);
                return grown(tree, rate, Reason::Asked);
            }
            let k = k.min(max[guesser as usize]);
            return chain(guesser, k, self.tokens_per_s(guesser, k), Reason::Asked);
        }

        let mut best = chain(Guesser::Model, 0, plain, Reason::Loses);
        for guesser in [Guesser::Text, Guesser::Model] {
            let max = max[guesser as usize];
            let k = self.steady(guesser, max);
            let rate = self.tokens_per_s(guesser, k);
            if k > 0 && rate / plain > best.expected_speedup {
                best = chain(guesser, k, rate, Reason::Pays);
            }
        }
        if of_model > 0
            && let Some(tree) = self.current_tree(room, None)
        {
            let rate = self.tree_tokens_per_s(&tree);
            let than_chain = if self.in_tree { 1.0 } else { HYSTERESIS };
            self.in_tree = rate / plain > best.expected_speedup * than_chain;
            if self.in_tree {
                best = grown(tree, rate, Reason::Pays);
            }
        }
        let rate = best.expected_speedup * plain;
        if let Some((guesser, k)) = self.worth_trying(max, rate) {
            self.learning = Some((rate, false));
            best = chain(guesser, k, rate, Reason::Untried);
        }
        if best.num_draft_tokens > 0 {
            if best.guesser == Guesser::Model {
                (self.rounds_off, self.look_every) = (0, FIRST_LOOK_ROUNDS);
            }
            return best;
        }
        if let Some(k) = self.unsure_of(of_model, offer, plain) {
            self.learning = Some((plain, false));
            return chain(Guesser::Model, k, plain, Reason::Unsure);
        }
        if self.is_time_to_look(offer) {
            self.learning = Some((plain, true));
            return chain(Guesser::Model, 1, plain, Reason::Looks);
        }
        best
    }

    /// The first length whose cost is not known and could be so low that it would be better
    /// than `rate`. One that is wider costs no less, so it tells about the others.
    fn worth_trying(&self, max: [usize; 2], rate: f64) -> Option<(Guesser, usize)> {
        let both = [Guesser::Text, Guesser::Model];
        let lengths = (1..=MAX_DRAFT_TOKENS).flat_map(|k| both.map(|guesser| (guesser, k)));
        let mut unknown = lengths
            .filter(|&(guesser, k)| k <= max[guesser as usize] && !self.costs.knows_pass(k + 1));
        unknown.find(|&(guesser, k)| {
            let (tokens, draft_s) = self.chain(guesser, k);
            let loss_s = draft_s + self.costs.pass_s(k + 1) - tokens / rate;
            let could_pay = self.possible_tokens_per_s(guesser, k) > rate * WORTH_TRYING;
            could_pay && self.affords(TRIES_IN_STOCK * loss_s)
        })
    }

    /// The length that would pay most if the draft were better than it seems, as it may well
    /// be.
    fn unsure_of(&self, max: usize, offer: Offer, plain: f64) -> Option<usize> {
        let acceptance = self.acceptance(Guesser::Model);
        let (mut reached, mut tokens) = (1.0, 1.0);
        let mut best = (plain, None);
        for k in 1..=max {
            reached *= acceptance.at_best(k - 1);
            tokens += reached;
            let round_s = k as f64 * self.costs.draft_step_s() + self.costs.pass_s(k + 1);
            if tokens / round_s > best.0 {
                best = (tokens / round_s, Some((k, round_s)));
            }
        }
        let (k, round_s) = best.1?;
        let (tokens, _) = self.chain(Guesser::Model, k);
        let catch_up_s = self.costs.catch_up_s(offer.model?);
        self.affords(catch_up_s + round_s - tokens / plain)
            .then_some(k)
    }

    /// Whether there are so many seconds to learn from.
    fn affords(&self, seconds: f64) -> bool {
        let budget_s = LEARNING_SHARE * self.spent_s + LEARNING_ROUNDS * self.costs.pass_s(1);
        self.learning_s + seconds <= budget_s
    }

    /// Whether a draft model is to guess, as things stand.
    pub fn may_use_model(&self) -> bool {
        let plain = self.tokens_per_s(Guesser::Model, 0);
        match self.length {
            DraftLength::Fixed(k) => k > 0,
            DraftLength::Auto => (1..=MAX_DRAFT_TOKENS)
                .any(|k| self.possible_tokens_per_s(Guesser::Model, k) > plain),
        }
    }

    /// The best length, unless the last one is about as good.
    fn steady(&mut self, guesser: Guesser, max: usize) -> usize {
        let rates: Vec<f64> = (0..=max).map(|k| self.tokens_per_s(guesser, k)).collect();
        let best = (0..=max)
            .max_by(|&a, &b| rates[a].total_cmp(&rates[b]))
            .unwrap_or(0);
        let current = self.current[guesser as usize].min(max);
        let k = if rates[best] > rates[current] * HYSTERESIS {
            best
        } else {
            current
        };
        // Staying is not an excuse for losing; but to be switched off is to see no more.
        let k = if rates[k] * HYSTERESIS < rates[0] {
            0
        } else {
            k
        };
        self.current[guesser as usize] = k;
        k
    }

    /// Whether to see what the draft that is switched off would say, for what that costs.
    fn is_time_to_look(&mut self, offer: Offer) -> bool {
        let Some(lacks) = offer.model else {
            return false;
        };
        if self.looks_left > 0 {
            self.looks_left -= 1;
            return true;
        }
        self.rounds_off += 1;
        let looks = f64::from(LOOKS_IN_A_ROW);
        let look_s = self.costs.catch_up_s(lacks) + looks * self.costs.draft_step_s();
        if self.rounds_off < self.look_every || !self.affords(look_s) {
            return false;
        }
        self.acceptance[Guesser::Model as usize].grow_old(self.rounds_off);
        self.rounds_off = 0;
        (self.looks_left, self.look_hits) = (LOOKS_IN_A_ROW - 1, 0);
        true
    }

    /// The draft read what it lacked.
    pub fn observe_catch_up(&mut self, tokens: usize, seconds: f64) {
        self.costs.observe_catch_up(tokens, seconds);
        self.spend(seconds, 0.0);
    }

    /// Takes note of what a round cost and how far it was right.
    pub fn observe(&mut self, round: &Observed) {
        self.costs.observe_pass(round.rows, round.pass_s);
        if round.guesser == Guesser::Model {
            self.costs
                .observe_draft(round.num_draft_tokens, round.draft_s);
        }
        self.costs.forget_trees();
        let num_verified = round.num_accepted_tokens.min(round.rows - 1);
        self.spend(round.draft_s + round.pass_s, 1.0 + num_verified as f64);
        if let Some((_, true)) = self.learning.take() {
            self.look_hits += u32::from(round.num_accepted_tokens > 0);
            if self.looks_left == 0 {
                self.look_every = match self.look_hits {
                    0 => (self.look_every * 2).min(LAST_LOOK_ROUNDS),
                    _ => (self.look_every / 4).max(LEAST_LOOK_ROUNDS),
                };
            }
        }
        self.observe_guesses(
            round.guesser,
            round.num_draft_tokens,
            round.num_accepted_tokens,
        );
    }

    /// Seconds went by in which so many tokens were made.
    fn spend(&mut self, seconds: f64, num_tokens: f64) {
        self.spent_s += seconds;
        if let Some((rate, _)) = self.learning {
            self.learning_s += seconds - num_tokens / rate;
        }
    }

    /// Takes note of how far guesses were right, whether they were verified or not.
    pub fn observe_guesses(&mut self, guesser: Guesser, num_guesses: usize, num_right: usize) {
        self.acceptance[guesser as usize].observe(num_guesses, num_right);
        self.remember();
    }

    /// Takes note of a round with a tree.
    pub fn observe_tree(&mut self, tree: TreeSize, tried: &[Tried], seconds: f64) {
        self.costs.observe_tree(tree, seconds);
        self.spend(seconds, 0.0);
        self.acceptance[Guesser::Model as usize].observe_tree(tried);
        self.remember();
    }

    /// Takes note of which of the draft's choices after the first were right.
    pub fn observe_choices(&mut self, tried: &[Tried]) {
        self.acceptance[Guesser::Model as usize].observe_choices(tried);
        self.remember();
    }

    /// For the next reply.
    fn remember(&mut self) {
        self.costs.acceptance.clone_from(&self.acceptance);
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
