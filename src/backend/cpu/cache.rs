//! Keys and values of the tokens seen so far, `f32`.

use std::collections::BTreeMap;

use crate::backend::CacheId;
use crate::backend::plan::CacheLayer;
use crate::error::{Code, Error, Result};

/// Caches grow by at least this many tokens, so that decoding rarely allocates and
/// a short conversation does not pay for the longest one.
const GROWTH_TOKENS: usize = 256;

/// One sequence's keys and values.
pub struct Cache {
    /// Tokens in it; what lies beyond is forgotten.
    pub len: usize,
    /// Of each layer.
    pub layers: Vec<LayerCache>,
}

/// Slots whose keys lie together.
pub const SLOTS: usize = 8;

/// One layer's part.
pub struct LayerCache {
    /// Elements a token.
    width: usize,
    /// `[allocated tokens / SLOTS, width, SLOTS]`, rotated: a column of eight tokens is one
    /// vector, so that a query meets eight keys at once.
    keys: Vec<f32>,
    /// `[allocated tokens, width]`.
    values: Vec<f32>,
}

impl LayerCache {
    /// Nothing yet, of so many elements a token.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            keys: Vec::new(),
            values: Vec::new(),
        }
    }

    /// What the token in `slot` is found by and says; there is room for it.
    pub fn set(&mut self, slot: usize, key: &[f32], value: &[f32]) {
        let (group, lane) = (slot / SLOTS, slot % SLOTS);
        let keys = &mut self.keys[group * SLOTS * self.width..];
        for (eight, key) in keys.as_chunks_mut::<SLOTS>().0.iter_mut().zip(key) {
            eight[lane] = *key;
        }
        self.values[slot * self.width..][..self.width].copy_from_slice(value);
    }

    /// `n` columns from `column` on of the keys of the eight slots from `SLOTS * group` on.
    #[inline(always)]
    pub fn keys(&self, group: usize, column: usize, n: usize) -> &[[f32; SLOTS]] {
        let at = (group * self.width + column) * SLOTS;
        self.keys[at..at + n * SLOTS].as_chunks().0
    }

    /// `n` columns from `column` on of the value of the token in `slot`.
    #[inline(always)]
    pub fn value(&self, slot: usize, column: usize, n: usize) -> &[f32] {
        &self.values[slot * self.width + column..][..n]
    }

    /// The token in slot `from` takes slot `to` as well.
    fn copy(&mut self, from: usize, to: usize) {
        let width = self.width;
        let at = |slot: usize| slot / SLOTS * SLOTS * width + slot % SLOTS;
        for column in 0..width {
            self.keys[at(to) + column * SLOTS] = self.keys[at(from) + column * SLOTS];
        }
        let from = from * width;
        self.values.copy_within(from..from + width, to * width);
    }

    /// Makes room for `n_tokens`.
    pub fn grow(&mut self, n_tokens: usize, limit: usize) -> Result<()> {
        let held = self.keys.len() / self.width;
        if n_tokens <= held {
            return Ok(());
        }
        let target = n_tokens
            .max(held + (held / 2).max(GROWTH_TOKENS))
            .min(limit)
            .next_multiple_of(SLOTS);
        for part in [&mut self.keys, &mut self.values] {
            let n = target * self.width;
            part.try_reserve_exact(n - part.len()).map_err(|_| {
                let detail = format!("no memory for a cache of {target} tokens");
                Error::new(Code::OutOfMemory, "cache", detail)
            })?;
            part.resize(n, 0.0);
        }
        Ok(())
    }
}

/// The caches of an executor.
pub struct Caches {
    layers: Vec<CacheLayer>,
    capacity: usize,
    next: u32,
    live: BTreeMap<u32, Cache>,
}

impl Caches {
    /// None yet, each to hold up to `capacity` tokens.
    pub fn new(layers: &[CacheLayer], capacity: usize) -> Self {
        Self {
            layers: layers.to_vec(),
            capacity,
            next: 0,
            live: BTreeMap::new(),
        }
    }

    /// Tokens a cache can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes a full cache takes.
    pub fn full_bytes(&self) -> u64 {
        let widths: u64 = self.layers.iter().map(|layer| layer.width as u64).sum();
        widths * 2 * size_of::<f32>() as u64 * self.capacity as u64
    }

    /// An empty one.
    pub fn create(&mut self) -> CacheId {
        let layers = self.layers.iter();
        let layers = layers.map(|layer| LayerCache::new(layer.width));
        let cache = Cache {
            len: 0,
            layers: layers.collect(),
        };
        self.insert(cache)
    }

    fn insert(&mut self, cache: Cache) -> CacheId {
        let id = self.next;
        self.next += 1;
        self.live.insert(id, cache);
        CacheId(id)
    }

    /// A copy of the part that is in use.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn fork(&mut self, id: CacheId) -> Result<CacheId> {
        let from = self.get(id);
        let len = from.len;
        let mut layers = Vec::with_capacity(from.layers.len());
        for layer in &from.layers {
            let mut copy = LayerCache::new(layer.width);
            copy.grow(len, self.capacity)?;
            let n = len.next_multiple_of(SLOTS) * layer.width;
            copy.keys[..n].copy_from_slice(&layer.keys[..n]);
            copy.values[..n].copy_from_slice(&layer.values[..n]);
            layers.push(copy);
        }
        Ok(self.insert(Cache { len, layers }))
    }

    /// Frees one; freeing it twice is no matter.
    pub fn remove(&mut self, id: CacheId) {
        self.live.remove(&id.0);
    }

    /// # Panics
    /// Where it was freed or belongs to another executor: the caller's own slip.
    pub fn get(&self, id: CacheId) -> &Cache {
        match self.live.get(&id.0) {
            Some(cache) => cache,
            None => panic!("cache {} is not one of this executor's", id.0),
        }
    }

    /// # Panics
    /// As [`Caches::get`].
    pub fn get_mut(&mut self, id: CacheId) -> &mut Cache {
        match self.live.get_mut(&id.0) {
            Some(cache) => cache,
            None => panic!("cache {} is not one of this executor's", id.0),
        }
    }

    /// Makes room for `n_rows` more tokens.
    ///
    /// # Errors
    /// `context_overflow` past the capacity; `out_of_memory`.
    pub fn reserve(&mut self, id: CacheId, n_rows: usize) -> Result<()> {
        let capacity = self.capacity;
        let cache = self.get_mut(id);
        let wanted = cache.len + n_rows;
        if wanted > capacity {
            let detail = format!(
                "{wanted} tokens do not fit a context of {capacity} ({} are there, {n_rows} come)",
                cache.len
            );
            return Err(Error::new(Code::ContextOverflow, "context", detail));
        }
        cache
            .layers
            .iter_mut()
            .try_for_each(|layer| layer.grow(wanted, capacity))
    }

    /// Forgets everything after the first `len` tokens.
    pub fn truncate(&mut self, id: CacheId, len: usize) {
        let cache = self.get_mut(id);
        assert!(len <= cache.len, "truncating {} tokens to {len}", cache.len);
        cache.len = len;
    }

    /// Keeps the slots `base + path[i]` of those from `base` on, moved together.
    ///
    /// # Errors
    /// `request_invalid` where `path` does not ascend or leaves the cache.
    pub fn keep(&mut self, id: CacheId, base: usize, path: &[u32]) -> Result<()> {
        let cache = self.get_mut(id);
        let ascends = path.windows(2).all(|pair| pair[0] < pair[1]);
        let end = path.last().map_or(base, |&last| base + last as usize + 1);
        if !ascends || end > cache.len {
            let detail = format!(
                "cannot keep rows {path:?} from slot {base} of {} tokens",
                cache.len
            );
            return Err(Error::new(Code::RequestInvalid, "path", detail));
        }
        for layer in &mut cache.layers {
            for (to, &from) in path.iter().enumerate() {
                layer.copy(base + from as usize, base + to);
            }
        }
        cache.len = base + path.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache whose token in slot `s` has key `[s]` and value `[-s]`.
    fn filled(len: usize) -> (Caches, CacheId) {
        let mut caches = Caches::new(&[CacheLayer { width: 1 }], 16);
        let id = caches.create();
        caches.reserve(id, len).unwrap();
        let cache = caches.get_mut(id);
        cache.len = len;
        for slot in 0..len {
            cache.layers[0].set(slot, &[slot as f32], &[-(slot as f32)]);
        }
        (caches, id)
    }

    fn keys(caches: &Caches, id: CacheId) -> Vec<f32> {
        let cache = caches.get(id);
        let key = |slot: usize| cache.layers[0].keys(slot / SLOTS, 0, 1)[0][slot % SLOTS];
        (0..cache.len).map(key).collect()
    }

    #[test]
    fn a_path_is_kept_and_the_rest_forgotten() {
        let (mut caches, id) = filled(8);
        caches.keep(id, 3, &[0, 2, 4]).unwrap();
        assert_eq!(keys(&caches, id), [0.0, 1.0, 2.0, 3.0, 5.0, 7.0]);
        assert_eq!(caches.get(id).layers[0].value(4, 0, 1), [-5.0]);
        caches.keep(id, 6, &[]).unwrap();
        assert_eq!(caches.get(id).len, 6);
    }

    #[test]
    fn a_path_that_does_not_ascend_or_leaves_the_cache_is_refused() {
        let (mut caches, id) = filled(8);
        for path in [&[1, 1][..], &[2, 1], &[5]] {
            let error = caches.keep(id, 3, path).unwrap_err();
            assert_eq!(error.code(), Code::RequestInvalid, "{path:?}");
        }
        assert_eq!(keys(&caches, id).len(), 8);
    }

    #[test]
    fn a_fork_goes_its_own_way() {
        let (mut caches, id) = filled(4);
        let fork = caches.fork(id).unwrap();
        caches.get_mut(fork).layers[0].set(0, &[9.0], &[9.0]);
        caches.truncate(fork, 1);
        assert_eq!(keys(&caches, fork), [9.0]);
        assert_eq!(keys(&caches, id), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn tokens_past_the_capacity_are_refused() {
        let (mut caches, id) = filled(8);
        caches.reserve(id, 8).unwrap();
        let error = caches.reserve(id, 9).unwrap_err();
        assert_eq!(error.code(), Code::ContextOverflow);
    }
}
