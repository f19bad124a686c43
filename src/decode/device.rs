//! A round where the logits are.
//!
//! A device that runs rounds by itself ([`crate::backend::Executor::round`]) needs no
//! logits to come back: it drafts, verifies, draws and accepts, and tells the outcome. The
//! tokens are those of [`super::round`], because the draws are.

use super::draft::{Draft, Proposal, Source};
use super::made::{MadeToken, Replaced};
use super::planner::{Choice, Guesser, Observed};
use super::round::Decoder;
use super::sequence::Sequence;
use super::statistics::Noted;
use super::terms;
use super::verify::Verification;
use crate::backend::{
    Draw, Executor, Guesses, LogitRows, MAX_ROUND_ROWS, MAX_TOP_LOGPROBS, Round, Terms,
};
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
            && self.wanted.n_top <= MAX_TOP_LOGPROBS;
        able.then(|| self.sampler.params().on_device()).flatten()
    }

    /// One round of a chain, on the device, behind what was `made` already; `false`, and no
    /// token was made, where it cannot.
    pub(super) async fn device_round(
        &mut self,
        executor: &mut dyn Executor,
        sequence: &mut Sequence,
        choice: &Choice,
        looked_up: &Proposal,
        made: &mut Vec<MadeToken>,
        max_tokens: usize,
    ) -> Result<bool> {
        let len = self.history.len();
        let Some(draw) = self.draw_on_device() else {
            return Ok(false);
        };
        let Some(changes) = terms::changes(self.sampler.params(), &self.history) else {
            return Ok(false);
        };
        let start_s = (self.clock)();
        let num_forced = made.len();
        let num_draft_tokens = choice.num_draft_tokens.min(MAX_ROUND_ROWS - 1);
        let works = choice.guesser == Guesser::Model && num_draft_tokens > 0;
        if works {
            self.catch_up(MAX_PENDING_TOKENS).await?;
        }
        let begin_s = (self.clock)();
        let has_model = self.drafter.as_mut().is_some_and(|d| d.model().is_some());
        // What may follow a guess is not known before the guess is.
        let free = self.constraint.is_none();
        let on_device = works && has_model && self.device.drafts && free;
        // Its guesses are draws with the target's noise: verification is exact here.
        let mut proposal = match &mut self.drafter {
            Some(drafter) if works && !on_device => {
                drafter
                    .propose(&mut Draft {
                        history: &mut self.history,
                        sampler: &mut self.sampler,
                        constraint: self.constraint.as_mut(),
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
        let masks = match &mut self.constraint {
            Some(constraint) => {
                terms::masks_along(constraint, &mut proposal.tokens, &self.stop_ids)?
            }
            None => Vec::new(),
        };
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
        let mut held = sequence.tokens().len();
        if len - held + num_guesses > MAX_ROUND_ROWS {
            let text = &self.history.tokens()[held..len - 1];
            sequence.feed(executor, text, LogitRows::None).await?;
            held = len - 1;
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
            terms: Terms {
                changes: &changes,
                penalties: terms::penalties(self.sampler.params()),
                masks: &masks,
                logprobs: self.wanted.drawn.then_some(self.wanted.n_top),
            },
        };
        let Some(result) = executor.round(sequence.cache(), round).await? else {
            match drafts {
                true => self.device.drafts = false,
                false => self.device.rounds = false,
            }
            return Ok(false);
        };

        let source = proposal.source;
        let guesses = match drafts {
            true => &result.guesses,
            false => &proposal.tokens,
        };
        let num_right = result.num_accepted_tokens;
        let mut row = 0;
        while row <= num_right && made.len() < max_tokens {
            let (id, right) = (result.drawn[row], row < num_right);
            let told = result.logprobs.get(row);
            self.history.push(id);
            made.push(MadeToken {
                id,
                source: if right { source } else { Source::Target },
                replaced: guesses
                    .get(row)
                    .filter(|_| !right)
                    .map(|&id| Replaced { id, source }),
                logprob: told.map(|told| told.drawn),
                top_logprobs: told.map(|told| told.top.clone()).unwrap_or_default(),
            });
            row += 1;
            if self.stop_ids.contains(&id) {
                break;
            }
            if let Some(constraint) = &mut self.constraint {
                constraint.commit(id)?;
                let drawn = made.len();
                self.take_forced(made, max_tokens)?;
                // Rows behind guesses that were forced drew them, having no choice.
                row += made.len() - drawn;
            }
        }
        let num_made = made.len() - num_forced;
        let num_accepted = num_right.min(num_made);
        // The last token made stays ahead of the target's cache. The draft has not read
        // the last of its own guesses either.
        let text = self.history.tokens();
        sequence.hold(executor, &text[..(len + num_right).min(text.len() - 1)]);
        let model = self.drafter.as_mut().and_then(|drafter| drafter.model());
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
        self.stats.note(Noted {
            num_tokens: made.len(),
            num_drawn: num_made,
            num_verified: num_guesses,
            depth: num_guesses,
            num_accepted,
            has_drafted: num_guesses > 0,
            seconds: end_s - start_s,
            plain_step_s: self.planner.costs().pass_s(1),
        });
        Ok(true)
    }
}
