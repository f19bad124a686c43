//! A model's cache and the tokens that are in it.

use crate::backend::{CacheId, Executor, LogitRows, Rows};
use crate::error::{Code, Error, Result};

/// Rows of one prefill pass: enough to reuse each weight well, few enough that a
/// browser's other work is not kept waiting.
pub const PREFILL_CHUNK_TOKENS: usize = 64;

/// The tokens a cache holds, so that whatever they share with the next prompt need
/// not be computed again.
#[derive(Debug)]
pub struct Sequence {
    cache: CacheId,
    tokens: Vec<u32>,
}

impl Sequence {
    /// An empty sequence.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn new(executor: &mut dyn Executor) -> Result<Self> {
        Ok(Self {
            cache: executor.new_cache()?,
            tokens: Vec::new(),
        })
    }

    /// What the cache holds.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets what is not a prefix of `tokens`; returns how many stay.
    pub fn keep_common_prefix(&mut self, executor: &mut dyn Executor, tokens: &[u32]) -> usize {
        let common = self
            .tokens
            .iter()
            .zip(tokens)
            .take_while(|(a, b)| a == b)
            .count();
        self.truncate(executor, common);
        common
    }

    /// Forgets everything after the first `len` tokens.
    pub fn truncate(&mut self, executor: &mut dyn Executor, len: usize) {
        if len < self.tokens.len() {
            self.tokens.truncate(len);
            executor.truncate(self.cache, len);
        }
    }

    /// The executor's name for the cache.
    pub(super) fn cache(&self) -> CacheId {
        self.cache
    }

    /// Makes the executor work again if its device was lost, and knows that the cache is
    /// then empty. Says whether that was so.
    ///
    /// # Errors
    /// As [`Executor::revive`].
    pub async fn revive(&mut self, executor: &mut dyn Executor) -> Result<bool> {
        let revived = executor.revive().await?;
        if revived {
            self.tokens.clear();
        }
        Ok(revived)
    }

    /// Takes note that the cache begins with `tokens`, some of which it was given
    /// elsewhere, and forgets what is behind them.
    pub(super) fn hold(&mut self, executor: &mut dyn Executor, tokens: &[u32]) {
        self.tokens.truncate(tokens.len());
        self.tokens.extend_from_slice(&tokens[self.tokens.len()..]);
        executor.truncate(self.cache, tokens.len());
    }

    /// Makes the cache a proper prefix of `tokens` that lacks at most `max_missing`, and
    /// returns its length.
    ///
    /// # Errors
    /// As [`Sequence::feed`].
    pub(super) async fn approach(
        &mut self,
        executor: &mut dyn Executor,
        tokens: &[u32],
        max_missing: usize,
    ) -> Result<usize> {
        let kept = self.keep_common_prefix(executor, tokens);
        let mut kept = kept.min(tokens.len() - 1);
        self.truncate(executor, kept);
        while tokens.len() - kept > max_missing {
            let end = (kept + PREFILL_CHUNK_TOKENS).min(tokens.len() - 1);
            self.feed(executor, &tokens[kept..end], LogitRows::None)
                .await?;
            kept = end;
        }
        Ok(kept)
    }

    /// A copy that goes its own way.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn fork(&self, executor: &mut dyn Executor) -> Result<Self> {
        Ok(Self {
            cache: executor.fork(self.cache)?,
            tokens: self.tokens.clone(),
        })
    }

    /// Frees the cache.
    pub fn release(self, executor: &mut dyn Executor) {
        executor.drop_cache(self.cache);
    }

    /// Appends `tokens` in one pass and returns the logits asked for,
    /// `[rows, vocab]`.
    ///
    /// # Errors
    /// `context_overflow` where they do not fit; what the executor reports.
    pub async fn feed(
        &mut self,
        executor: &mut dyn Executor,
        tokens: &[u32],
        logits: LogitRows,
    ) -> Result<Vec<f32>> {
        self.feed_rows(executor, &Rows::chain(tokens), logits).await
    }

    /// As [`Sequence::feed`], for rows that may be a tree. What the sequence holds then is
    /// no text until it is truncated to one.
    ///
    /// # Errors
    /// As [`Sequence::feed`].
    pub async fn feed_rows(
        &mut self,
        executor: &mut dyn Executor,
        rows: &Rows,
        logits: LogitRows,
    ) -> Result<Vec<f32>> {
        let (need, capacity) = (self.tokens.len() + rows.len(), executor.capacity_tokens());
        if need > capacity {
            let detail = format!("{need} tokens do not fit the context of {capacity}");
            return Err(Error::new(Code::ContextOverflow, "messages", detail));
        }
        let out = executor.forward(self.cache, rows, logits).await?;
        self.tokens.extend_from_slice(&rows.tokens);
        Ok(out)
    }
}
