//! The tokens of a reply, and where each comes from.

use super::draft::Source;
use super::sampling::logprobs;

/// A token of the reply.
#[derive(Debug, Clone, PartialEq)]
pub struct MadeToken {
    /// Its id.
    pub id: u32,
    /// Who proposed it: the target itself, or a drafter that was right.
    pub source: Source,
    /// What was guessed in its place, where that was wrong.
    pub replaced: Option<Replaced>,
    /// Its log-probability under the target, where asked for.
    pub logprob: Option<f32>,
    /// The likeliest tokens here and their log-probabilities, where asked for.
    pub top_logprobs: Vec<(u32, f32)>,
}

/// A guess that was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// The token that was guessed; of a tree, the first choice.
    pub id: u32,
    /// Whose guess.
    pub source: Source,
}

/// Which log-probabilities to report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogprobsWanted {
    /// Of the drawn token.
    pub drawn: bool,
    /// Of so many of the likeliest tokens.
    pub n_top: usize,
}

impl LogprobsWanted {
    /// What is wanted of a row of logits from which `id` was drawn.
    pub(super) fn of(self, logits: &[f32], id: u32) -> (Option<f32>, Vec<(u32, f32)>) {
        if !self.drawn {
            return (None, Vec::new());
        }
        let (logprob, top) = logprobs(logits, id, self.n_top);
        (Some(logprob), top)
    }
}
