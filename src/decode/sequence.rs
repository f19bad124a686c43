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
    /// The nodes of a tree that lie behind `tokens`: several ways in which the text may
    /// go on. One of them becomes text, or none, and the others are forgotten.
    tree: Rows,
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
            tree: Rows::default(),
        })
    }

    /// The text that the cache holds, without the tree behind it.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets what is not a prefix of `tokens`; returns how many stay. Of a tree, the
    /// line that `tokens` goes along becomes text.
    ///
    /// # Errors
    /// What the executor reports.
    pub fn keep_common_prefix(
        &mut self,
        executor: &mut dyn Executor,
        tokens: &[u32],
    ) -> Result<usize> {
        let common = self
            .tokens
            .iter()
            .zip(tokens)
            .take_while(|(a, b)| a == b)
            .count();
        if common < self.tokens.len() {
            self.truncate(executor, common);
        } else if !self.tree.is_empty() {
            let tree = std::mem::take(&mut self.tree);
            let path = line(&tree, &tokens[common..]);
            if let Err(error) = executor.keep(self.cache, common, &path) {
                executor.truncate(self.cache, common);
                return Err(error);
            }
            self.tokens
                .extend(path.iter().map(|&node| tree.tokens[node as usize]));
        }
        Ok(self.tokens.len())
    }

    /// Forgets everything after the first `len` tokens of the text.
    pub fn truncate(&mut self, executor: &mut dyn Executor, len: usize) {
        if len < self.tokens.len() || !self.tree.is_empty() {
            self.tree = Rows::default();
            self.tokens.truncate(len);
            executor.truncate(self.cache, self.tokens.len());
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
            self.tree = Rows::default();
        }
        Ok(revived)
    }

    /// Takes note that the cache begins with `tokens`, some of which it was given
    /// elsewhere, and forgets what is behind them.
    pub(super) fn hold(&mut self, executor: &mut dyn Executor, tokens: &[u32]) {
        self.tree = Rows::default();
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
        let kept = self.keep_common_prefix(executor, tokens)?;
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

    /// A copy of the text that goes its own way.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn fork(&self, executor: &mut dyn Executor) -> Result<Self> {
        let cache = executor.fork(self.cache)?;
        executor.truncate(cache, self.tokens.len());
        Ok(Self {
            cache,
            tokens: self.tokens.clone(),
            tree: Rows::default(),
        })
    }

    /// Frees the cache.
    pub fn release(self, executor: &mut dyn Executor) {
        executor.drop_cache(self.cache);
    }

    /// Appends `tokens` in one pass and returns the logits asked for,
    /// `[rows, vocab]`. A tree that lay there is forgotten.
    ///
    /// # Errors
    /// `context_overflow` where they do not fit; what the executor reports.
    pub async fn feed(
        &mut self,
        executor: &mut dyn Executor,
        tokens: &[u32],
        logits: LogitRows,
    ) -> Result<Vec<f32>> {
        self.truncate(executor, self.tokens.len());
        let rows = Rows::chain(tokens);
        self.fits(executor, rows.len())?;
        let out = executor.forward(self.cache, &rows, logits).await?;
        self.tokens.extend_from_slice(tokens);
        Ok(out)
    }

    /// Appends nodes to the tree behind the text, each with the node that it continues
    /// (`None` for the text itself): all of them in one pass, or a level at a time.
    ///
    /// # Errors
    /// As [`Sequence::feed`].
    pub async fn grow(
        &mut self,
        executor: &mut dyn Executor,
        nodes: &[(u32, Option<u32>)],
        logits: LogitRows,
    ) -> Result<Vec<f32>> {
        self.fits(executor, self.tree.len() + nodes.len())?;
        let mut rows = Rows {
            tokens: nodes.iter().map(|(token, _)| *token).collect(),
            parents: self.tree.parents.clone(),
        };
        rows.parents.extend(nodes.iter().map(|(_, parent)| *parent));
        let out = executor.forward(self.cache, &rows, logits).await?;
        self.tree.tokens.extend_from_slice(&rows.tokens);
        self.tree.parents = rows.parents;
        Ok(out)
    }

    /// Whether so many rows have room behind the text.
    fn fits(&self, executor: &dyn Executor, rows: usize) -> Result<()> {
        let (need, capacity) = (self.tokens.len() + rows, executor.capacity_tokens());
        if need > capacity {
            let detail = format!("{need} tokens do not fit the context of {capacity}");
            return Err(Error::new(Code::ContextOverflow, "messages", detail));
        }
        Ok(())
    }
}

/// The nodes of `tree` that `tokens` goes along, from the first. Children of one node
/// have different tokens.
pub(super) fn line(tree: &Rows, tokens: &[u32]) -> Vec<u32> {
    let mut path: Vec<u32> = Vec::new();
    for &token in tokens {
        match child(tree, path.last().copied(), token) {
            Some(node) => path.push(node),
            None => break,
        }
    }
    path
}

/// The node of `tree` with this token that continues `parent`.
pub(super) fn child(tree: &Rows, parent: Option<u32>, token: u32) -> Option<u32> {
    let first = parent.map_or(0, |parent| parent as usize + 1);
    let nodes = first..tree.len();
    let found = nodes.into_iter().find(|&node| {
        tree.tokens[node] == token && tree.parent(node) == parent.map(|parent| parent as usize)
    });
    found.map(|node| node as u32)
}
