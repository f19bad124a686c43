//! A small model that guesses what the large one will say.

use super::{Drafter, Drawing, Proposal, Source};
use crate::backend::{Executor, LogitRows};
use crate::decode::noise::draw_from;
use crate::decode::sampling::{History, Sampler};
use crate::decode::sequence::{PREFILL_CHUNK_TOKENS, Sequence};
use crate::error::Result;
use crate::format::LocalFuture;

/// Keeps a drafter's own noise apart from the target's.
const DRAFT_STREAM: u64 = 0x9e37_79b9_7f4a_7c15;

/// Draws proposals from a draft model with the target's parameters and noise.
pub struct ModelDrafter<'e> {
    executor: &'e mut dyn Executor,
    sequence: &'e mut Sequence,
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

    async fn draw(
        &mut self,
        history: &mut History,
        sampler: &mut Sampler,
        max: usize,
    ) -> Result<Proposal> {
        let room = self
            .executor
            .capacity_tokens()
            .saturating_sub(history.len());
        let mut proposal = Proposal::certain(Source::Draft, Vec::new());
        for _ in 0..max.min(room + 1) {
            let logits = self.catch_up(history.tokens()).await?;
            let token = match self.drawing {
                Drawing::Shared => sampler.draw(&logits, history, None)?,
                Drawing::Independent => {
                    let from = sampler.distribution(&logits, history, None);
                    let stream = sampler.params().seed ^ DRAFT_STREAM;
                    let Some(token) = draw_from(stream, history.len() as u32, &from) else {
                        break;
                    };
                    proposal.distributions.push(from);
                    token
                }
            };
            history.push(token);
            proposal.tokens.push(token);
        }
        Ok(proposal)
    }

    /// Feeds whatever the cache lacks of `tokens`; the logits after the last.
    async fn catch_up(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let kept = self.sequence.keep_common_prefix(self.executor, tokens);
        let kept = kept.min(tokens.len() - 1); // the last one is fed again for its logits
        self.sequence.truncate(self.executor, kept);
        let mut logits = Vec::new();
        let mut chunks = tokens[kept..].chunks(PREFILL_CHUNK_TOKENS).peekable();
        while let Some(chunk) = chunks.next() {
            let wanted = if chunks.peek().is_some() {
                LogitRows::None
            } else {
                LogitRows::Last
            };
            logits = self.sequence.feed(self.executor, chunk, wanted).await?;
        }
        Ok(logits)
    }
}

impl Drafter for ModelDrafter<'_> {
    fn propose<'a>(
        &'a mut self,
        history: &'a mut History,
        sampler: &'a mut Sampler,
        max: usize,
    ) -> LocalFuture<'a, Result<Proposal>> {
        Box::pin(async move {
            let len = history.len();
            let drawn = self.draw(history, sampler, max).await;
            history.truncate(len);
            drawn
        })
    }
}
