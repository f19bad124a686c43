//! How often guesses turn out right, as of lately.

use super::draft::MAX_DRAFT_TOKENS;

/// How fast acceptance forgets: a guess `n` guesses ago counts `0.97^n`.
const ACCEPTANCE_DECAY: f64 = 0.97;
/// How often a guess is assumed to be right before anything is known, and how many guesses
/// that is worth.
const PRIOR_ACCEPTANCE: f64 = 0.6;
const PRIOR_GUESSES: f64 = 3.0;
/// How often a second choice is assumed to be right where the first is wrong, and a third
/// where both are.
const PRIOR_NEXT_CHOICE: f64 = 0.3;
/// What was seen loses weight while nothing is guessed, and from one reply to the next, but
/// not so much that a single guess says more than all before.
const OLDEST_TRIES: f64 = 6.0;

/// The draft's choices that a tree can hold at every node.
pub const MAX_RANKS: usize = 4;

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

    /// Takes weight from what was seen: that of a time, of `decay`, but not all.
    fn fade(&mut self, decay: f64) {
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

/// A draw of the target's, and which of the draft's choices there it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Which, from 0; `None` for none of them.
    pub rank: Option<usize>,
    /// How many of its choices are known.
    pub n_choices: usize,
}

/// How often somebody's guesses are right.
#[derive(Debug, Clone)]
pub struct Acceptance {
    overall: Ratio,
    by_position: [Ratio; MAX_DRAFT_TOKENS],
    /// Of the choices after the first: right where those before were not.
    by_rank: [Ratio; MAX_RANKS],
}

impl Default for Acceptance {
    fn default() -> Self {
        Self {
            overall: Ratio::assumed(PRIOR_ACCEPTANCE),
            by_position: [Ratio::default(); MAX_DRAFT_TOKENS],
            by_rank: [Ratio::assumed(PRIOR_NEXT_CHOICE); MAX_RANKS],
        }
    }
}

impl Acceptance {
    /// The chance that the guess at `position` (from 0) is right once those before it were.
    pub fn at(&self, position: usize) -> f64 {
        self.by_position[position].leaning_to(self.overall.value())
    }

    /// The same, as high as it may well be for as little as was seen.
    pub fn at_best(&self, position: usize) -> f64 {
        let chance = self.at(position);
        let tries = self.by_position[position].tries + PRIOR_GUESSES;
        (chance + (chance * (1.0 - chance) / tries).sqrt()).min(1.0)
    }

    /// The chance that at `position`, once all before was guessed, the choice of this rank
    /// is right.
    pub fn chance(&self, position: usize, rank: usize) -> f64 {
        let first = self.at(position);
        if rank == 0 {
            return first;
        }
        let next = |rank: usize| self.by_rank[rank].value();
        let others_wrong: f64 = (1..rank).map(|rank| 1.0 - next(rank)).product();
        (1.0 - first) * others_wrong * next(rank)
    }

    /// Of so many guesses in a line so many were right, before the first wrong one.
    pub fn observe(&mut self, num_guesses: usize, num_right: usize) {
        for position in 0..num_guesses.min(num_right + 1).min(MAX_DRAFT_TOKENS) {
            self.observe_first(position, position < num_right);
        }
    }

    /// The target drew these, one after the other, along the guesses of a tree.
    pub fn observe_tree(&mut self, tried: &[Tried]) {
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

    /// `rounds` went by in which nothing was guessed.
    pub fn grow_old(&mut self, rounds: u32) {
        let decay = ACCEPTANCE_DECAY.powi(rounds as i32);
        let seen = [&mut self.overall, &mut self.by_position[0]];
        for ratio in seen.into_iter().chain(&mut self.by_rank) {
            ratio.fade(decay);
        }
    }

    /// The same for another text to begin with: another text is another matter.
    pub fn of_another_text(&self) -> Self {
        let mut next = Self {
            overall: self.overall,
            by_position: [Ratio::default(); MAX_DRAFT_TOKENS],
            by_rank: self.by_rank,
        };
        for ratio in std::iter::once(&mut next.overall).chain(&mut next.by_rank) {
            ratio.fade(0.0);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_and_is_forgotten() {
        let mut acceptance = Acceptance::default();
        assert!((acceptance.at(0) - PRIOR_ACCEPTANCE).abs() < 1e-9);
        for _ in 0..100 {
            acceptance.observe(4, 4);
        }
        assert!(acceptance.at(0) > 0.95 && acceptance.at(9) > 0.95);
        for _ in 0..100 {
            acceptance.observe(4, 0);
        }
        assert!(acceptance.at(0) < 0.1);
        assert!(acceptance.at(3) > acceptance.at(0), "not tried since");
    }

    #[test]
    fn another_text_begins_with_what_the_last_one_showed_but_believes_it_less() {
        let mut useless = Acceptance::default();
        for _ in 0..100 {
            useless.observe(1, 0);
        }
        let mut next = useless.of_another_text();
        assert!(next.at(0) < 0.1);
        for _ in 0..8 {
            next.observe(1, 1);
            useless.observe(1, 1);
        }
        assert!(next.at(0) > 0.5 && useless.at(0) < 0.5);
    }

    #[test]
    fn chances_of_ranks_are_of_what_those_before_left() {
        let mut acceptance = Acceptance::default();
        let tried = |rank| Tried { rank, n_choices: 3 };
        for _ in 0..200 {
            acceptance.observe_tree(&[tried(Some(1))]);
            acceptance.observe_tree(&[tried(None)]);
        }
        assert!(acceptance.chance(0, 0) < 0.05);
        assert!((acceptance.chance(0, 1) - 0.5).abs() < 0.1);
        assert!(acceptance.chance(0, 2) < 0.1, "never right");
    }
}
