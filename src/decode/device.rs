//! A round where the logits are.
//!
//! A device that runs rounds by itself ([`crate::backend::Executor::round`]) needs no
//! logits to come back: it drafts, verifies, draws and accepts, and tells the outcome. The
//! tokens are those of [`super::round`], because the draws are.

use super::draft::{Draft, Proposal, Source};
use super::planner::Observed;
use super::round::{Decoder, MadeToken};
use super::sequence::Sequence;
use super::verify::Verification;
use crate::backend::{Draw, Executor, Guesses, Round};
use crate::error::Result;

/// Tokens that a draft may have to read before its first guess of a round.
const MAX_PENDING_TOKENS: usize = 16;

/// What the device turned out to be able to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceUse {
    /// Run rounds.
    rounds: bool,
    /// Run the draft's steps in them.
    drafts: bool,
}

impl Default for DeviceUse {
    fn default() -> Self {
        Self {
            rounds: true,
            drafts: true,
        }
    }
}

impl Decoder<'_> {
    /// How a device is to draw; `None` where the reply needs what a device does not have.
    fn draw_on_device(&self) -> Option<Draw> {
        let able = self.device.rounds
            && self.verification == Verification::Exact
            && self.constraint.is_none()
            && !self.wanted.drawn;
        able.then(|| self.sampler.params().on_device()).flatten()
    }

    /// One round with up to `num_draft_tokens` guesses, on the device; `None`, and nothing
    /// has changed, where it cannot.
    pub(super) async fn device_round(
        &mut self,
        executor: &mut dyn Executor,
        sequence: &mut Sequence,
        num_draft_tokens: usize,
        max_tokens: usize,
    ) -> Result<Option<Vec<MadeToken>>> {
        let (len, held) = (self.history.len(), sequence.tokens().len());
        let Some(draw) = self.draw_on_device().filter(|_| held + 1 == len) else {
            return Ok(None);
        };
        let start_s = (self.clock)();
        let mut proposal = Proposal::certain(Source::Target, Vec::new());
        if let Some(drafter) = self.drafter.as_mut().filter(|_| num_draft_tokens > 0) {
            let mut draft = Draft {
                history: &mut self.history,
                sampler: &mut self.sampler,
                constraint: None,
                max: num_draft_tokens,
                n_choices: 1,
                shape: None,
            };
            proposal = match self.device.drafts {
                true => drafter.propose_without_model(&mut draft).await?,
                false => drafter.propose(&mut draft).await?,
            };
            proposal.truncate(num_draft_tokens);
        }
        let proposed_s = (self.clock)();

        // Its guesses are draws with the target's noise: verification is exact here.
        // The draft catches up before the round, and its clock starts after that.
        let mut model = None;
        if proposal.tokens.is_empty() && num_draft_tokens > 0 && self.device.drafts {
            model = self.drafter.as_mut().and_then(|drafter| drafter.model());
        }
        let (mut guessed_s, mut kept, mut num_guesses) = (proposed_s, 0, proposal.tokens.len());
        if let Some((executor, sequence)) = &mut model {
            let room = (executor.capacity_tokens() + 1).saturating_sub(len);
            num_guesses = num_draft_tokens.min(room);
            if num_guesses > 0 {
                let tokens = self.history.tokens();
                let missing = MAX_PENDING_TOKENS;
                kept = sequence.approach(*executor, tokens, missing).await?;
                guessed_s = (self.clock)();
            }
        }
        let guesses = match &mut model {
            Some((executor, sequence)) if num_guesses > 0 => Guesses::Model {
                executor: *executor,
                cache: sequence.cache(),
                tokens: &self.history.tokens()[kept..],
                num_tokens: num_guesses,
            },
            _ => Guesses::Tokens(&proposal.tokens),
        };
        let drafts = matches!(guesses, Guesses::Model { .. });
        let round = Round {
            tokens: &self.history.tokens()[held..],
            guesses,
            draw: &draw,
        };
        let Some(result) = executor.round(sequence.cache(), round).await? else {
            match drafts {
                true => self.device.drafts = false,
                false => self.device.rounds = false,
            }
            return Ok(None);
        };

        let source = if drafts {
            Source::Draft
        } else {
            proposal.source
        };
        let mut made = Vec::new();
        let drawn = result.drawn.iter().take(result.num_accepted_tokens + 1);
        for (i, &id) in drawn.take(max_tokens).enumerate() {
            self.history.push(id);
            let right = i < result.num_accepted_tokens;
            made.push(MadeToken {
                id,
                source: if right { source } else { Source::Target },
                logprob: None,
                top_logprobs: Vec::new(),
            });
            if self.stop_ids.contains(&id) {
                break;
            }
        }
        let num_accepted = result.num_accepted_tokens.min(made.len());
        // The last token made stays ahead of the target's cache. The draft has not read
        // the last of its own guesses either.
        let text = self.history.tokens();
        sequence.hold(executor, &text[..text.len() - 1]);
        if let Some((executor, sequence)) = model.filter(|_| drafts) {
            sequence.hold(executor, &text[..len + num_accepted.min(num_guesses - 1)]);
        }

        let end_s = (self.clock)();
        let (draft_s, pass_s) = match drafts {
            true => (self.planner.costs()).shares(num_guesses, num_guesses + 1, end_s - guessed_s),
            false => (proposed_s - start_s, end_s - proposed_s),
        };
        self.planner.observe(&Observed {
            num_draft_tokens: num_guesses,
            num_accepted_tokens: num_accepted,
            draft_s,
            rows: num_guesses + 1,
            pass_s,
        });
        self.stats
            .note(made.len(), num_guesses, num_accepted, end_s - start_s);
        Ok(Some(made))
    }
}
