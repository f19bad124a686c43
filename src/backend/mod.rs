//! A plan -> numbers.
//!
//! [`plan`] is a forward pass as data. A [`Backend`] compiles it, with the
//! checkpoint's weights, into an [`Executor`], which runs it over caches of keys
//! and values. The CPU backend is the reference; the GPU backend must agree with it.
//! Neither knows the other.

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod plan;
mod round;

use std::any::Any;

pub use round::{
    Draw, Guesses, MAX_ROUND_ROWS, MAX_TOKEN_CHANGES, MAX_TOP_LOGPROBS, Penalties, Round,
    RoundResult, RowLogprobs, Terms, TokenChange,
};

use crate::error::{Code, Error, Result};
use crate::format::{LocalFuture, TensorTable};
use plan::Plan;

/// A device that can compile plans.
pub trait Backend {
    /// What it is called in reports: `cpu`, or the adapter's own name.
    fn name(&self) -> &str;

    /// Reads the plan's weights from `tensors` (each once) and makes the plan ready
    /// to run.
    ///
    /// # Errors
    /// What the tensors report; `out_of_memory` where weights, cache or scratch
    /// exceed the budget; `not_finite` where a weight is NaN or infinite.
    fn compile<'a>(
        &'a self,
        plan: &'a Plan,
        tensors: &'a TensorTable,
        options: &'a CompileOptions,
    ) -> LocalFuture<'a, Result<Box<dyn Executor>>>;
}

/// What a compiled plan is allowed to use.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// How many tokens one cache can hold.
    pub capacity_tokens: usize,
    /// Refuse to load when weights, caches and scratch together pass this.
    pub memory_budget_bytes: Option<u64>,
}

/// One of an executor's key/value caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheId(pub u32);

/// Rows a tree can have, in every executor.
pub const MAX_TREE_ROWS: usize = 64;

/// The tokens of one pass. Row `r` is written to cache slot `len + r`. It sees itself,
/// every slot before the tree that it is part of, and those nodes of the tree that its
/// `parents` chain names: a chain for prompts and plain speculation, a tree for tree
/// speculation.
///
/// A tree's nodes are numbered from 0 in the order in which they were run, a parent
/// before its children. It may be run in several passes, level by level: then
/// `parents` is that of all nodes so far, longer than `tokens`, and its first
/// [`Rows::n_before`] nodes are the last that the cache holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Token ids, one a row.
    pub tokens: Vec<u32>,
    /// For each node, the earlier node it continues; `None` for one that continues what
    /// stands before the tree. An empty vector means a chain.
    pub parents: Vec<Option<u32>>,
}

impl Rows {
    /// Rows that follow one another.
    pub fn chain(tokens: impl Into<Vec<u32>>) -> Self {
        Self {
            tokens: tokens.into(),
            parents: Vec::new(),
        }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// How many nodes of the tree the cache holds already.
    pub fn n_before(&self) -> usize {
        self.parents.len().saturating_sub(self.tokens.len())
    }

    /// The node that a node continues.
    pub fn parent(&self, node: usize) -> Option<usize> {
        match self.parents.get(node) {
            Some(parent) => parent.map(|parent| parent as usize),
            None => node.checked_sub(1), // a chain
        }
    }

    /// How many nodes lie between row `r` and what stands before the tree: its position
    /// is that of the tree and so much more.
    pub fn depth(&self, r: usize) -> usize {
        if self.parents.is_empty() {
            return r;
        }
        let mut depth = 0;
        let mut at = self.n_before() + r;
        while let Some(parent) = self.parent(at) {
            assert!(parent < at, "node {at} names a later parent {parent}");
            at = parent;
            depth += 1;
        }
        depth
    }

    /// Whether every parent comes before its children, and there are as many as there
    /// must be, given what the cache holds.
    ///
    /// # Errors
    /// `request_invalid`, naming the node.
    pub fn check_tree(&self, cache_len: usize) -> Result<()> {
        let invalid = |detail: String| Err(Error::new(Code::RequestInvalid, "rows", detail));
        if self.parents.is_empty() {
            return Ok(());
        }
        let (n_parents, n_rows) = (self.parents.len(), self.len());
        if n_parents < n_rows || self.n_before() > cache_len || n_parents > MAX_TREE_ROWS {
            return invalid(format!(
                "a tree of {n_parents} nodes, {n_rows} of them new, after {cache_len} tokens; \
                 {MAX_TREE_ROWS} nodes fit"
            ));
        }
        for (node, parent) in self.parents.iter().enumerate() {
            if parent.is_some_and(|parent| parent as usize >= node) {
                return invalid(format!("node {node} does not follow its parent"));
            }
        }
        Ok(())
    }
}

/// Which rows' logits come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitRows {
    /// None: a prompt chunk that is not the last.
    None,
    /// The last row only.
    Last,
    /// Every row.
    All,
}

/// What has been done on a device since it was opened: running totals of everything that
/// runs on it. Take them before and after, and [`Counters::since`] is what lay between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Kernels launched.
    pub dispatches: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Bytes copied back to the CPU.
    pub readback_bytes: u64,
    /// Buffers created.
    pub buffer_creations: u64,
    /// Bind groups created.
    pub bind_group_creations: u64,
    /// Pipelines created.
    pub pipeline_creations: u64,
    /// Bytes of weights and caches that kernels read or wrote, each counted once a
    /// kernel that touches it.
    pub bytes_moved: u64,
}

impl Counters {
    /// What was done since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            dispatches: self.dispatches - earlier.dispatches,
            submits: self.submits - earlier.submits,
            readback_bytes: self.readback_bytes - earlier.readback_bytes,
            buffer_creations: self.buffer_creations - earlier.buffer_creations,
            bind_group_creations: self.bind_group_creations - earlier.bind_group_creations,
            pipeline_creations: self.pipeline_creations - earlier.pipeline_creations,
            bytes_moved: self.bytes_moved - earlier.bytes_moved,
        }
    }
}

/// A plan with its weights, ready to run.
pub trait Executor {
    /// A new, empty cache.
    ///
    /// # Errors
    /// `out_of_memory`.
    fn new_cache(&mut self) -> Result<CacheId>;

    /// How many tokens a cache holds.
    fn cache_len(&self, cache: CacheId) -> usize;

    /// How many tokens a cache can hold.
    fn capacity_tokens(&self) -> usize;

    /// On how many of the processor's threads passes are computed; 1 where the processor
    /// only waits for them.
    fn n_threads(&self) -> usize {
        1
    }

    /// Forgets everything after the first `len` tokens. Costs nothing.
    fn truncate(&mut self, cache: CacheId, len: usize);

    /// Of the rows a tree pass appended at slots `base..`, keeps those at `base +
    /// path[i]`, moves each to slot `base + i`, and forgets the rest: afterwards the
    /// cache is as if the path had been run as a chain. `path` ascends.
    ///
    /// # Errors
    /// `request_invalid` where `path` does not ascend or names slots that are not
    /// there; `internal` from an executor that cannot move rows (then a path must be
    /// `0, 1, 2, ..`).
    fn keep(&mut self, cache: CacheId, base: usize, path: &[u32]) -> Result<()> {
        if path
            .iter()
            .enumerate()
            .any(|(i, &row)| i as u64 != u64::from(row))
        {
            let detail = "this executor cannot keep part of a tree";
            return Err(Error::new(Code::Internal, "cache", detail));
        }
        self.truncate(cache, base + path.len());
        Ok(())
    }

    /// A copy that goes its own way.
    ///
    /// # Errors
    /// `out_of_memory`.
    fn fork(&mut self, cache: CacheId) -> Result<CacheId>;

    /// Frees a cache.
    fn drop_cache(&mut self, cache: CacheId);

    /// Runs `rows` against `cache`, appends them to it, and returns the logits asked
    /// for, row-major `[rows, vocab]`.
    ///
    /// A row's result does not depend on how many rows run beside it, to the bit.
    ///
    /// # Errors
    /// `context_overflow` where the cache cannot take the rows; `not_finite` where a
    /// logit that comes back is NaN; `gpu_lost`, `gpu_failed`.
    fn forward<'a>(
        &'a mut self,
        cache: CacheId,
        rows: &'a Rows,
        logits: LogitRows,
    ) -> LocalFuture<'a, Result<Vec<f32>>>;

    /// One round of speculation where the logits are: runs `round.tokens` and the guesses
    /// behind them (drafting them first, where a model guesses), draws the token after
    /// the last of `tokens` and after every guess, and counts the guesses that were
    /// drawn. Both caches then hold every token that was run, also behind a wrong guess:
    /// the caller truncates. `None`, and nothing has run, where an executor cannot.
    ///
    /// # Errors
    /// As [`Executor::forward`].
    fn round<'a, 'g: 'a>(
        &'a mut self,
        cache: CacheId,
        round: Round<'g>,
    ) -> LocalFuture<'a, Result<Option<RoundResult>>> {
        let _ = (cache, round);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Waits until the device has done what it was given: a pass that returns no logits may
    /// still run when its future is done.
    ///
    /// # Errors
    /// `gpu_lost`, `gpu_failed`.
    fn settle(&mut self) -> LocalFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Makes an executor work again whose device was lost: weights are read again, and
    /// caches keep their ids but are empty. All that shared the device share the next
    /// one too. `false`, and nothing has changed, where the device is not lost.
    ///
    /// # Errors
    /// As [`Backend::compile`]; `gpu_unavailable` where no device can be opened.
    fn revive(&mut self) -> LocalFuture<'_, Result<bool>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// The executor as its own type, for another of that type to work with.
    fn as_any_mut(&mut self) -> Option<&mut dyn Any> {
        None
    }

    /// Running totals of the device it runs on, which others may share; `None` where
    /// nobody counts.
    fn counters(&self) -> Option<Counters> {
        None
    }
}
