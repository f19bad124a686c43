//! A small model that guesses what the large one will say.

use super::{Draft, Drafter, Drawing, Proposal, Source};
use crate::backend::{Executor, Guesses, LogitRows, MAX_ROUND_ROWS, Round, Terms};
use crate::decode::history::History;
use crate::decode::noise::draw_from;
use crate::decode::sampling::{Sampler, TokenMask};
use crate::decode::sequence::{PREFILL_CHUNK_TOKENS, Sequence};
use crate::decode::terms;
use crate::error::Result;
use crate::format::LocalFuture;

/// Keeps a drafter's own noise apart from the target's.
const DRAFT_STREAM: u64 = 0x9e37_79b9_7f4a_7c15;

/// Draws proposals from a draft model with the target's parameters and noise.
pub struct ModelDrafter<'e> {
    pub(super) executor: &'e mut dyn Executor,
    pub(super) sequence: &'e mut Sequence,
    drawing: Drawing,
    /// Whether the device may draw; not asked again once it said that it cannot.
    rounds: bool,
}

impl<'e> ModelDrafter<'e> {
    /// A drafter over a draft model and its sequence, which may hold any tokens.
    pub fn new(
        executor: &'e mut dyn Executor,
        sequence: &'e mut Sequence,
        drawing: Drawing,
    ) -> Self {
        Self {
            executor,
            sequence,
            drawing,
            rounds: true,
        }
    }

    /// Draws a chain of up to `draft.max`; leaves history and constraint that far on.
    pub(super) async fn draw(&mut self, draft: &mut Draft<'_>) -> Result<Proposal> {
        let Draft {
            history,
            sampler,
            constraint,
            max,
            n_choices,
            ..
        } = draft;
        let room = (self.executor.capacity_tokens() + 1).saturating_sub(history.len());
        let max = room.min(*max);
        let mut proposal = Proposal::certain(Source::Draft, Vec::new());
        while proposal.tokens.len() < max {
            let mask = constraint
                .as_mut()
                .map(|constraint| constraint.mask())
                .transpose()?;
            let on_device = match (self.drawing, *n_choices) {
                (Drawing::Shared, 1) if self.rounds => {
                    self.draw_on_device(sampler, history, &mask).await?
                }
                _ => None,
            };
            let logits = match on_device {
                Some(_) => Vec::new(),
                None => self.catch_up(history.tokens()).await?,
            };
            let (token, from) = match (self.drawing, on_device) {
                (Drawing::Shared, Some(token)) => (token, None),
                (Drawing::Shared, None) => {
                    let choices = sampler.draw_top(&logits, history, mask.as_ref(), *n_choices)?;
                    let token = choices[0];
                    // Tokens that were forced had no choice before them.
                    proposal.choices.resize(proposal.tokens.len(), Vec::new());
                    proposal.choices.push(choices);
                    (token, None)
                }
                (Drawing::Independent, _) => {
                    let from = sampler.distribution(&logits, history, mask.as_ref());
                    let stream = sampler.params().seed ^ DRAFT_STREAM;
                    let Some(token) = draw_from(stream, history.len() as u32, &from) else {
                        break;
                    };
                    (token, Some(from))
                }
            };
            let mut tokens = vec![token];
            if let Some(constraint) = constraint {
                constraint.commit(token)?;
                tokens.extend(constraint.take_forced()?);
            }
            tokens.truncate(max - proposal.tokens.len());
            for (i, &token) in tokens.iter().enumerate() {
                history.push(token);
                proposal.tokens.push(token);
                if let Some(from) = &from {
                    // Whatever follows a draw by force was certain.
                    let from = if i == 0 {
                        from.clone()
                    } else {
                        vec![(token, 1.0)]
                    };
                    proposal.distributions.push(from);
                }
            }
        }
        Ok(proposal)
    }

    /// The next token, drawn where the logits are; `None` where that cannot be. A guess
    /// whose successors depend on it on this side, as under a constraint, is drawn so.
    async fn draw_on_device(
        &mut self,
        sampler: &Sampler,
        history: &History,
        mask: &Option<TokenMask>,
    ) -> Result<Option<u32>> {
        let params = sampler.params();
        let (Some(draw), Some(changes)) = (params.on_device(), terms::changes(params, history))
        else {
            return Ok(None);
        };
        let tokens = history.tokens();
        let kept = self
            .sequence
            .approach(self.executor, tokens, MAX_ROUND_ROWS - 1)
            .await?;
        let masks: Vec<_> = mask.iter().map(|mask| mask.clone().into_words()).collect();
        let round = Round {
            tokens: &tokens[kept..],
            guesses: Guesses::Tokens(&[]),
            draw: &draw,
            terms: Terms {
                changes: &changes,
                penalties: terms::penalties(params),
                masks: &masks,
                logprobs: None,
            },
        };
        let cache = self.sequence.cache();
        let Some(result) = self.executor.round(cache, round).await? else {
            self.rounds = false;
            return Ok(None);
        };
        self.sequence.hold(self.executor, tokens);
        Ok(result.drawn.first().copied())
    }

    /// Feeds whatever the cache lacks of `tokens`; the logits after the last.
    pub(super) async fn catch_up(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let missing = PREFILL_CHUNK_TOKENS;
        let kept = self
            .sequence
            .approach(self.executor, tokens, missing)
            .await?;
        self.sequence
            .feed(self.executor, &tokens[kept..], LogitRows::Last)
            .await
    }
}

impl Drafter for ModelDrafter<'_> {
    fn propose<'a>(&'a mut self, draft: &'a mut Draft<'_>) -> LocalFuture<'a, Result<Proposal>> {
        Box::pin(async move {
            let len = draft.history.len();
            let position = draft
                .constraint
                .as_ref()
                .map(|constraint| constraint.position());
            let drawn = match (draft.shape, self.drawing) {
                (Some(shape), Drawing::Shared) => self.grow(draft, shape).await,
                _ => self.draw(draft).await,
            };
            draft.history.truncate(len);
            if let (Some(constraint), Some(position)) = (&mut draft.constraint, position) {
                constraint.rollback_to(position)?;
            }
            drawn
        })
    }

    fn model(&mut self) -> Option<(&mut dyn Executor, &mut Sequence)> {
        Some((&mut *self.executor, &mut *self.sequence))
    }
}
