//! A small model that guesses what the large one will say.

use super::{Draft, Drafter, Drawing, Proposal, Source};
use crate::backend::{Executor, LogitRows};
use crate::decode::noise::draw_from;
use crate::decode::sequence::{PREFILL_CHUNK_TOKENS, Sequence};
use crate::error::Result;
use crate::format::LocalFuture;

/// Keeps a drafter's own noise apart from the target's.
const DRAFT_STREAM: u64 = 0x9e37_79b9_7f4a_7c15;

/// Draws proposals from a draft model with the target's parameters and noise.
pub struct ModelDrafter<'e> {
    pub(super) executor: &'e mut dyn Executor,
    pub(super) sequence: &'e mut Sequence,
    drawing: Drawing,
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
            let logits = self.catch_up(history.tokens()).await?;
            let mask = constraint
                .as_mut()
                .map(|constraint| constraint.mask())
                .transpose()?;
            let (token, from) = match self.drawing {
                Drawing::Shared => {
                    let choices = sampler.draw_top(&logits, history, mask.as_ref(), *n_choices)?;
                    let token = choices[0];
                    // Tokens that were forced had no choice before them.
                    proposal.choices.resize(proposal.tokens.len(), Vec::new());
                    proposal.choices.push(choices);
                    (token, None)
                }
                Drawing::Independent => {
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
