//! A round where the logits are.
//!
//! A device that runs rounds by itself ([`crate::backend::Executor::round`]) needs no
//! logits to come back: it drafts, verifies, draws and accepts, and tells the outcome. The
//! tokens are those of [`super::round`], because the draws are.

use super::draft::{Draft, Proposal, Source};
use super::planner::{Choice, Guesser, Observed};
use super::round::{Decoder, MadeToken, Replaced};
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

    /// One round of a chain, on the device; `None`, and nothing has changed, where it cannot.
    pub(super) async fn device_round(
        &mut self,
        executor: &mut dyn Executor,
        sequence: &mut Sequence,
        choice: &Choice,
        looked_up: &Proposal,
        max_tokens: usize,
    ) -> Result<Option<Vec<MadeToken>>> {
        let (len, held) = (self.history.len(), sequence.tokens().len());
        let Some(draw) = self.draw_on_device().filter(|_| held + 1 == len) else {
            return Ok(None);
        };
        let start_s = (self.clock)();
        let num_draft_tokens = choice.num_draft_tokens;
        let works = choice.guesser == Guesser::Model && num_draft_tokens > 0;
        if works {
            self.catch_up(MAX_PENDING_TOKENS).await?;
        }
        let begin_s = (self.clock)();
        let has_model = self.drafter.as_mut().is_some_and(|d| d.model().is_some());
        let on_device = works && has_model && self.device.drafts;
        // Its guesses are draws with the target's noise: verification is exact here.
        let mut proposal = match &mut self.drafter {
            Some(drafter) if works && !on_device => {
                drafter
                    .propose(&mut Draft {
                        history: &mut self.history,
                        sampler: &mut self.sampler,
                        constraint: None,
                        max: num_draft_tokens,
                        n_choices: 1,
                        shape: None,
                    })
                    .await?
            }
            Some(_) if choice.guesser == Guesser::Text => looked_up.clone(),
            _ => Proposal::certain(Source::Draft, Vec::new()),
        };
        proposal.truncate(num_draft_tokens);
        let proposed_s = (self.clock)();

        let mut model = match &mut self.drafter {
            Some(drafter) if on_device => drafter.model(),
            _ => None,
        };
        let (mut kept, mut num_guesses) = (0, proposal.tokens.len());
        if let Some((executor, sequence)) = &mut model {
            let room = (executor.capacity_tokens() + 1).saturating_sub(len);
            num_guesses = num_draft_tokens.min(room);
            kept = sequence.tokens().len();
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

        let source = proposal.source;
        let guesses = match drafts {
            true => &result.guesses,
            false => &proposal.tokens,
        };
        let mut made = Vec::new();
        let drawn = result.drawn.iter().take(result.num_accepted_tokens + 1);
        for (i, &id) in drawn.take(max_tokens).enumerate() {
            self.history.push(id);
            let right = i < result.num_accepted_tokens;
            made.push(MadeToken {
                id,
                source: if right { source } else { Source::Target },
                replaced: guesses
                    .get(i)
                    .filter(|_| !right)
                    .map(|&id| Replaced { id, source }),
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
            true => (self.planner.costs()).shares(num_guesses, num_guesses + 1, end_s - begin_s),
            false => (proposed_s - begin_s, end_s - proposed_s),
        };
        self.planner.observe(&Observed {
            guesser: choice.guesser,
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
