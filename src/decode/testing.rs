//! What the tests of this module share: a language without a model.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::noise::gumbel;
use super::round::Clock;
use crate::backend::{CacheId, Executor, LogitRows, Rows};
use crate::error::Result;
use crate::format::LocalFuture;

/// Tokens of the language.
pub const N_VOCAB: usize = 24;

/// A language made of noise: the logits after a text depend on its last two tokens and
/// a salt. `agreement` mixes in another salt's logits, so that a draft made of the
/// same language is right some of the time.
pub struct NoiseModel {
    pub salt: u64,
    pub other: u64,
    pub agreement: f32,
    pub caches: HashMap<u32, Vec<u32>>,
    pub passes: Cell<usize>,
    /// Rows of all passes.
    pub read: Rc<Cell<usize>>,
    pub capacity: usize,
    pub n_vocab: usize,
}

impl NoiseModel {
    pub fn new(salt: u64, other: u64, agreement: f32) -> Self {
        Self {
            salt,
            other,
            agreement,
            caches: HashMap::new(),
            passes: Cell::new(0),
            read: Rc::default(),
            capacity: 512,
            n_vocab: N_VOCAB,
        }
    }

    fn logits(&self, text: &[u32]) -> Vec<f32> {
        let last = text
            .iter()
            .rev()
            .take(2)
            .fold(0, |key, &token| key * 640 + token + 1);
        let of = |salt, token| 2.0 * gumbel(salt, last, token);
        let mix = |token| {
            self.agreement * of(self.salt, token) + (1.0 - self.agreement) * of(self.other, token)
        };
        (0..self.n_vocab as u32).map(mix).collect()
    }
}

impl Executor for NoiseModel {
    fn new_cache(&mut self) -> Result<CacheId> {
        let id = self.caches.len() as u32;
        self.caches.insert(id, Vec::new());
        Ok(CacheId(id))
    }
    fn cache_len(&self, cache: CacheId) -> usize {
        self.caches[&cache.0].len()
    }
    fn capacity_tokens(&self) -> usize {
        self.capacity
    }
    fn truncate(&mut self, cache: CacheId, len: usize) {
        self.caches.get_mut(&cache.0).unwrap().truncate(len);
    }
    fn keep(&mut self, cache: CacheId, base: usize, path: &[u32]) -> Result<()> {
        let cached = self.caches.get_mut(&cache.0).unwrap();
        let kept: Vec<u32> = path
            .iter()
            .map(|&row| cached[base + row as usize])
            .collect();
        cached.truncate(base);
        cached.extend(kept);
        Ok(())
    }
    fn fork(&mut self, cache: CacheId) -> Result<CacheId> {
        let id = self.caches.len() as u32;
        self.caches.insert(id, self.caches[&cache.0].clone());
        Ok(CacheId(id))
    }
    fn drop_cache(&mut self, cache: CacheId) {
        self.caches.remove(&cache.0);
    }
    fn forward<'a>(
        &'a mut self,
        cache: CacheId,
        rows: &'a Rows,
        logits: LogitRows,
    ) -> LocalFuture<'a, Result<Vec<f32>>> {
        self.passes.set(self.passes.get() + 1);
        self.read.set(self.read.get() + rows.len());
        let cached = self.caches.get_mut(&cache.0).unwrap();
        // The rows of a tree that the cache holds already lie at its end.
        let before = rows.n_before();
        let base = cached.len() - before;
        cached.extend_from_slice(&rows.tokens);
        let cached = &self.caches[&cache.0];
        let mut out = Vec::new();
        for row in before..before + rows.len() {
            let mut path = vec![row];
            while let Some(parent) = rows.parent(path[path.len() - 1]) {
                path.push(parent);
            }
            let line = path.iter().rev().map(|row| cached[base + row]);
            // Only the last two tokens matter.
            let before = cached[base.saturating_sub(2)..base].iter().copied();
            let text: Vec<u32> = before.chain(line).collect();
            if logits == LogitRows::Last {
                out.clear();
            }
            if logits != LogitRows::None {
                out.extend(self.logits(&text));
            }
        }
        Box::pin(std::future::ready(Ok(out)))
    }
}

/// A clock that goes on one second whenever it is looked at.
pub fn ticking() -> Clock {
    let now = Cell::new(0.0);
    Rc::new(move || {
        now.set(now.get() + 1.0);
        now.get()
    })
}
