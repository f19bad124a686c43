//! What speculation did.

use super::planner::Reason;

/// What speculation did, under the field's names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Speculation {
    /// Rounds in which something was drafted and verified.
    pub num_drafts: usize,
    /// Tokens proposed in them.
    pub num_draft_tokens: usize,
    /// Of those, how many became text.
    pub num_accepted_tokens: usize,
    /// The same by position in the proposal; in a tree, by level.
    pub accepted_per_position: Vec<usize>,
    /// Rounds, by why the planner had so much drafted in them: in the order of
    /// [`Reason::ALL`].
    pub num_rounds: [usize; Reason::ALL.len()],
    /// Tokens made, in all rounds.
    pub num_tokens: usize,
    /// Seconds of all rounds.
    pub decode_s: f64,
    /// Seconds that plain decoding would have taken for the same tokens: rounds without a guess
    /// took them, others would have had a plain step, as it was measured when they ran, for
    /// each token that was drawn.
    pub plain_s: f64,
    /// Rounds with guesses before a plain step was measured.
    pub num_unmeasured: usize,
}

/// One round, as the statistics see it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted {
    /// Tokens it made.
    pub num_tokens: usize,
    /// Of those, how many were not forced by a constraint: plain decoding has a step for each.
    pub num_drawn: usize,
    /// Guesses that were verified.
    pub num_verified: usize,
    /// The longest line of them.
    pub depth: usize,
    /// How many became text.
    pub num_accepted: usize,
    /// Whether anything was drafted, verified or not.
    pub has_drafted: bool,
    /// How long it took.
    pub seconds: f64,
    /// A plain step, as measured by now; 0 where it was not.
    pub plain_step_s: f64,
}

impl Speculation {
    /// Takes note of a round.
    pub(super) fn note(&mut self, round: Noted) {
        self.num_tokens += round.num_tokens;
        self.decode_s += round.seconds;
        self.plain_s += match round.has_drafted {
            true => round.num_drawn as f64 * round.plain_step_s,
            false => round.seconds,
        };
        self.num_unmeasured += usize::from(round.has_drafted && round.plain_step_s <= 0.0);
        if round.num_verified == 0 {
            return;
        }
        self.num_drafts += 1;
        self.num_draft_tokens += round.num_verified;
        self.num_accepted_tokens += round.num_accepted;
        let positions = self.accepted_per_position.len().max(round.depth);
        self.accepted_per_position.resize(positions, 0);
        for count in &mut self.accepted_per_position[..round.num_accepted] {
            *count += 1;
        }
    }

    /// Tokens a verified round made, on average; 1 where none was.
    pub fn mean_acceptance_length(&self) -> f64 {
        1.0 + self.num_accepted_tokens as f64 / self.num_drafts.max(1) as f64
    }

    /// How many times as fast the reply came as plain decoding would have made it: 1 where
    /// nothing was drafted, `None` where a plain step was not measured in time.
    pub fn speedup(&self) -> Option<f64> {
        let measured = self.num_unmeasured == 0 && self.decode_s > 0.0;
        measured.then(|| self.plain_s / self.decode_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(num_drawn: usize, has_drafted: bool, seconds: f64, plain_step_s: f64) -> Noted {
        Noted {
            num_tokens: num_drawn + 1,
            num_drawn,
            has_drafted,
            seconds,
            plain_step_s,
            ..Noted::default()
        }
    }

    #[test]
    fn nothing_is_gained_where_nothing_was_drafted() {
        let mut stats = Speculation::default();
        assert_eq!(stats.speedup(), None);
        // Whatever a plain step was thought to cost.
        for plain_step_s in [0.0, 0.5, 3.0] {
            stats.note(round(1, false, 1.0, plain_step_s));
        }
        assert_eq!(stats.speedup(), Some(1.0));
    }

    #[test]
    fn a_round_is_held_against_the_plain_steps_of_its_time() {
        let mut stats = Speculation::default();
        // Steps grow longer with the text; forced tokens are free in any case.
        stats.note(round(3, true, 2.0, 1.0));
        stats.note(round(3, true, 4.0, 2.0));
        stats.note(round(1, false, 2.0, 2.0));
        assert_eq!(stats.speedup(), Some(11.0 / 8.0));
    }

    #[test]
    fn a_guess_before_any_plain_step_leaves_the_gain_unknown() {
        let mut stats = Speculation::default();
        stats.note(round(2, true, 1.0, 0.0));
        stats.note(round(1, false, 1.0, 1.0));
        assert_eq!(stats.speedup(), None);
    }
}
