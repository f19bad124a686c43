//! One round: draft -> verify -> accept.
//!
//! The target's pass runs over the last token and every proposed one. Its draw after
//! each row is the text's next token, whatever was proposed; a proposal only decides
//! whether the row after it was computed from the right prefix. So the tokens are
//! those of plain decoding, by construction: a proposal is accepted when the target
//! drew it, and the first that it did not draw ends the round. (Under
//! [`Verification::Rejection`] the rule is another; the machinery is the same.)

use std::rc::Rc;

use super::cost::{Choice, Costs, DraftLength, Observed, Planner};
use super::draft::{Drafter, Proposal, Source};
use super::sampling::{History, Sampler, logprobs};
use super::sequence::Sequence;
use super::verify::Verification;
use crate::backend::{Executor, LogitRows};
use crate::error::Result;

/// Seconds since some fixed moment. Injected, because the browser's clock is
/// JavaScript's.
pub type Clock = Rc<dyn Fn() -> f64>;

/// A token of the reply.
#[derive(Debug, Clone, PartialEq)]
pub struct MadeToken {
    /// Its id.
    pub id: u32,
    /// Who proposed it: the target itself, or a drafter that was right.
    pub source: Source,
    /// Its log-probability under the target, where asked for.
    pub logprob: Option<f32>,
    /// The likeliest tokens here and their log-probabilities, where asked for.
    pub top_logprobs: Vec<(u32, f32)>,
}

/// Which log-probabilities to report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogprobsWanted {
    /// Of the drawn token.
    pub drawn: bool,
    /// Of so many of the likeliest tokens.
    pub n_top: usize,
}

/// What speculation did, under the field's names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Speculation {
    /// Rounds in which something was drafted and verified.
    pub num_drafts: usize,
    /// Tokens proposed in them.
    pub num_draft_tokens: usize,
    /// Of those, how many became text.
    pub num_accepted_tokens: usize,
    /// The same by position in the proposal.
    pub accepted_per_position: Vec<usize>,
    /// Tokens made, in all rounds.
    pub num_tokens: usize,
    /// Seconds of all rounds.
    pub decode_s: f64,
    /// Seconds that one plain step costs here and now, as measured.
    pub plain_step_s: f64,
}

impl Speculation {
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

/// A reply in the making: its history, its sampler, whoever drafts, and the planner.
pub struct Decoder<'d> {
    /// Prompt and reply so far.
    pub history: History,
    /// Whoever drafts, if anyone.
    pub drafter: Option<Box<dyn Drafter + 'd>>,
    sampler: Sampler,
    verification: Verification,
    planner: Planner,
    stop_ids: Vec<u32>,
    wanted: LogprobsWanted,
    clock: Clock,
    stats: Speculation,
    last_choice: Option<Choice>,
}

/// What a [`Decoder`] is made of.
pub struct DecoderParts<'d> {
    /// The prompt.
    pub prompt: &'d [u32],
    /// Draws the tokens.
    pub sampler: Sampler,
    /// Whoever drafts, if anyone.
    pub drafter: Option<Box<dyn Drafter + 'd>>,
    /// The rule by which guesses stand.
    pub verification: Verification,
    /// How much to draft.
    pub length: DraftLength,
    /// What passes cost, as far as known.
    pub costs: Costs,
    /// Tokens that end the reply.
    pub stop_ids: Vec<u32>,
    /// Which log-probabilities to report.
    pub logprobs: LogprobsWanted,
    /// The time.
    pub clock: Clock,
}

impl<'d> Decoder<'d> {
    /// A reply that is about to begin.
    pub fn new(parts: DecoderParts<'d>) -> Self {
        Self {
            history: History::new(parts.prompt),
            drafter: parts.drafter,
            sampler: parts.sampler,
            verification: parts.verification,
            planner: Planner::new(parts.length, parts.costs),
            stop_ids: parts.stop_ids,
            wanted: parts.logprobs,
            clock: parts.clock,
            stats: Speculation::default(),
            last_choice: None,
        }
    }

    /// What speculation did so far.
    pub fn speculation(&self) -> Speculation {
        let plain_step_s = self.planner.costs().pass_s(1);
        let measured = self.stats.num_tokens > 0;
        Speculation {
            plain_step_s: if measured { plain_step_s } else { 0.0 },
            ..self.stats.clone()
        }
    }

    /// The planner's latest choice.
    pub fn last_choice(&self) -> Option<Choice> {
        self.last_choice
    }

    /// What passes cost, for the next reply to start from.
    pub fn costs(&self) -> &Costs {
        self.planner.costs()
    }

    /// Makes one to `max_tokens` tokens; ends early at a stop token, which is the
    /// last one returned. `sequence` must hold all of the history but its last token;
    /// it does again afterwards.
    ///
    /// # Errors
    /// `context_overflow`, or what executors and sampler report. The history is then
    /// as it was.
    pub async fn round(
        &mut self,
        executor: &mut dyn Executor,
        sequence: &mut Sequence,
        max_tokens: usize,
    ) -> Result<Vec<MadeToken>> {
        let len = self.history.len();
        assert_eq!(
            sequence.tokens().len() + 1,
            len,
            "a round begins one token behind its history"
        );
        let room = executor
            .capacity_tokens()
            .saturating_sub(len)
            .min(max_tokens - 1);
        let choice = match &self.drafter {
            Some(_) => self.planner.choose(room),
            None => Choice {
                num_draft_tokens: 0,
                look_only: false,
                expected_speedup: 1.0,
            },
        };
        self.last_choice = Some(choice);

        let start_s = (self.clock)();
        let proposal = self.propose(choice.num_draft_tokens).await?;
        let drafted = &proposal.tokens;
        let drafted_s = (self.clock)();

        let mut rows = vec![self.history.tokens()[len - 1]];
        if !choice.look_only {
            rows.extend_from_slice(drafted);
        }
        let result = self.verify(executor, sequence, &rows, &proposal).await;
        let made = match result {
            Ok(made) => made,
            Err(error) => {
                self.history.truncate(len);
                sequence.truncate(executor, len - 1);
                return Err(error);
            }
        };
        sequence.truncate(executor, self.history.len() - 1);
        let end_s = (self.clock)();

        let num_accepted = drafted
            .iter()
            .zip(&made)
            .take_while(|(drafted, made)| **drafted == made.id)
            .count();
        self.planner.observe(&Observed {
            num_draft_tokens: drafted.len(),
            num_accepted_tokens: num_accepted,
            draft_s: drafted_s - start_s,
            rows: rows.len(),
            pass_s: end_s - drafted_s,
        });
        let stats = &mut self.stats;
        stats.num_tokens += made.len();
        stats.decode_s += end_s - start_s;
        if rows.len() > 1 {
            stats.num_drafts += 1;
            stats.num_draft_tokens += drafted.len();
            stats.num_accepted_tokens += num_accepted;
            let positions = stats.accepted_per_position.len().max(drafted.len());
            stats.accepted_per_position.resize(positions, 0);
            for count in &mut stats.accepted_per_position[..num_accepted] {
                *count += 1;
            }
        }
        Ok(made)
    }

    async fn propose(&mut self, max: usize) -> Result<Proposal> {
        match &mut self.drafter {
            Some(drafter) if max > 0 => {
                let mut proposal = drafter
                    .propose(&mut self.history, &mut self.sampler, max)
                    .await?;
                proposal.tokens.truncate(max);
                Ok(proposal)
            }
            _ => Ok(Proposal::certain(Source::Target, Vec::new())),
        }
    }

    /// One target pass over `rows`; draws for as long as the draws are the rows'.
    async fn verify(
        &mut self,
        executor: &mut dyn Executor,
        sequence: &mut Sequence,
        rows: &[u32],
        proposal: &Proposal,
    ) -> Result<Vec<MadeToken>> {
        let logits = sequence.feed(executor, rows, LogitRows::All).await?;
        let n_vocab = logits.len() / rows.len();
        let mut made = Vec::with_capacity(rows.len());
        for (row, logits) in logits.chunks_exact(n_vocab).enumerate() {
            let guess = (row + 1 < rows.len()).then_some((proposal, row));
            let (id, right) =
                self.verification
                    .next(&mut self.sampler, logits, &self.history, None, guess)?;
            self.history.push(id);
            let (logprob, top_logprobs) = match self.wanted {
                LogprobsWanted { drawn: false, .. } => (None, Vec::new()),
                LogprobsWanted { n_top, .. } => {
                    let (logprob, top) = logprobs(logits, id, n_top);
                    (Some(logprob), top)
                }
            };
            let source = if right {
                proposal.source
            } else {
                Source::Target
            };
            made.push(MadeToken {
                id,
                source,
                logprob,
                top_logprobs,
            });
            if !right || self.stop_ids.contains(&id) {
                break;
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
