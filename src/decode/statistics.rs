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
    /// Seconds that one plain step costs here and now, as measured.
    pub plain_step_s: f64,
}

impl Speculation {
    /// Takes note of a round that made so many tokens.
    pub(super) fn note(
        &mut self,
        num_tokens: usize,
        num_verified: usize,
        num_accepted: usize,
        seconds: f64,
    ) {
        self.note_tree(
            num_tokens,
            num_verified,
            num_verified,
            num_accepted,
            seconds,
        );
    }

    /// The same where the longest line of guesses was `depth` long.
    pub(super) fn note_tree(
        &mut self,
        num_tokens: usize,
        num_verified: usize,
        depth: usize,
        num_accepted: usize,
        seconds: f64,
    ) {
        self.num_tokens += num_tokens;
        self.decode_s += seconds;
        if num_verified == 0 {
            return;
        }
        self.num_drafts += 1;
        self.num_draft_tokens += num_verified;
        self.num_accepted_tokens += num_accepted;
        let positions = self.accepted_per_position.len().max(depth);
        self.accepted_per_position.resize(positions, 0);
        for count in &mut self.accepted_per_position[..num_accepted] {
            *count += 1;
        }
    }

    /// Tokens a verified round made, on average; 1 where none was.
    pub fn mean_acceptance_length(&self) -> f64 {
        1.0 + self.num_accepted_tokens as f64 / self.num_drafts.max(1) as f64
    }

    /// Measured tokens a second over those of plain decoding on this device; `None`
    /// before a plain step was measured.
    pub fn speedup(&self) -> Option<f64> {
        let measured = self.plain_step_s > 0.0 && self.decode_s > 0.0;
        measured.then(|| self.num_tokens as f64 * self.plain_step_s / self.decode_s)
    }
}
