//! Caches of keys and values: buffers a layer, and what is done to them outside a pass.

use super::super::CacheId;
use super::GpuExecutor;
use super::state::MAX_TREE_ROWS;
use crate::error::{Code, Error, Result};

/// Keys and values of one sequence.
pub struct Cache {
    /// Tokens in it.
    pub len: usize,
    /// Keys and values of each layer.
    pub layers: Vec<[wgpu::Buffer; 2]>,
    /// Each layer's bind group for writing and for reading.
    pub groups: Vec<[Option<wgpu::BindGroup>; 2]>,
}

impl GpuExecutor {
    pub(super) fn cache(&self, id: CacheId) -> &Cache {
        let found = self.caches.get(id.0 as usize).and_then(Option::as_ref);
        found.unwrap_or_else(|| panic!("{id:?} was dropped, or belongs to another executor"))
    }

    pub(super) fn cache_mut(&mut self, id: CacheId) -> &mut Cache {
        let found = self.caches.get_mut(id.0 as usize).and_then(Option::as_mut);
        found.unwrap_or_else(|| panic!("{id:?} was dropped, or belongs to another executor"))
    }

    /// Bytes of one layer's keys, and again of its values.
    fn layer_bytes(&self, layer: usize) -> u64 {
        (self.compiled.cache_widths[layer] * 16 * self.capacity_tokens) as u64
    }

    pub(super) fn cache_bytes(&self) -> u64 {
        (0..self.compiled.cache_widths.len())
            .map(|layer| 2 * self.layer_bytes(layer))
            .sum()
    }

    /// A new, empty cache.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub(super) fn make_cache(&mut self) -> Result<CacheId> {
        self.gpu.check()?;
        let bytes = self.cache_bytes();
        let limit = self.gpu.capabilities().max_binding_bytes;
        let n_layers = self.compiled.cache_widths.len();
        let largest = (0..n_layers)
            .map(|layer| self.layer_bytes(layer))
            .max()
            .unwrap_or(0);
        if self.used_bytes + bytes > self.budget_bytes || largest > limit {
            let detail = format!(
                "another {bytes} bytes, {largest} of them in one binding, do not fit: {} of {} \
                 bytes are in use and a binding holds {limit}",
                self.used_bytes, self.budget_bytes
            );
            return Err(Error::new(Code::OutOfMemory, "cache", detail));
        }
        let mut cache = Cache {
            len: 0,
            layers: Vec::new(),
            groups: Vec::new(),
        };
        for layer in 0..n_layers {
            let buffers = ["keys", "values"].map(|l| self.gpu.storage(l, self.layer_bytes(layer)));
            let mut groups = [None, None];
            for (group, layout) in groups.iter_mut().zip(&self.compiled.cache_layouts[layer]) {
                if let Some(layout) = layout {
                    let bound = [
                        ("k_cache", buffers[0].as_entire_buffer_binding()),
                        ("v_cache", buffers[1].as_entire_buffer_binding()),
                    ];
                    *group = Some(self.gpu.bind(layout, 1, &bound)?);
                }
            }
            cache.layers.push(buffers);
            cache.groups.push(groups);
        }
        self.gpu.check()?;
        self.used_bytes += bytes;
        let free = self.caches.iter().position(Option::is_none);
        let at = free.unwrap_or(self.caches.len());
        match free {
            Some(at) => self.caches[at] = Some(cache),
            None => self.caches.push(Some(cache)),
        }
        Ok(CacheId(u32::try_from(at).unwrap_or(u32::MAX)))
    }

    /// See [`super::super::Executor::keep`].
    ///
    /// # Errors
    /// `request_invalid` for what is no path.
    pub(super) fn keep_path(&mut self, cache: CacheId, base: usize, path: &[u32]) -> Result<()> {
        let len = self.cache(cache).len;
        let ascends = path.windows(2).all(|pair| pair[0] < pair[1]);
        let there = path.last().is_none_or(|last| base + (*last as usize) < len);
        if !ascends || !there || base > len || path.len() > MAX_TREE_ROWS {
            let detail = format!("{path:?} after {base} of {len} tokens is not a path");
            return Err(Error::new(Code::RequestInvalid, "path", detail));
        }
        if path.iter().enumerate().any(|(i, row)| i != *row as usize) {
            let mut words = vec![base as u32, path.len() as u32];
            words.extend_from_slice(path);
            self.gpu
                .queue
                .write_buffer(&self.compiled.path, 0, bytemuck::cast_slice(&words));
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&self.kv_move.pipeline);
                let groups = &self.cache(cache).groups;
                for (layer, width) in self.compiled.cache_widths.iter().enumerate() {
                    if let Some(group) = &groups[layer][0] {
                        pass.set_bind_group(0, &self.compiled.move_groups[layer], &[]);
                        pass.set_bind_group(1, group, &[]);
                        pass.dispatch_workgroups(width.div_ceil(64) as u32, 1, 1);
                        self.gpu.count(|c| c.dispatches += 1);
                    }
                }
            }
            self.gpu.submit(encoder);
        }
        self.cut_cache(cache, base + path.len());
        self.gpu.check()
    }

    /// A copy that goes its own way.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub(super) fn copy_cache(&mut self, cache: CacheId) -> Result<CacheId> {
        let copy = self.make_cache()?;
        let (from, to) = (self.cache(cache), self.cache(copy));
        let len = from.len;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for (layer, width) in self.compiled.cache_widths.iter().enumerate() {
            let bytes = (width * 16 * len) as u64;
            for (from, to) in from.layers[layer].iter().zip(&to.layers[layer]) {
                if bytes > 0 {
                    encoder.copy_buffer_to_buffer(from, 0, to, 0, bytes);
                }
            }
        }
        self.gpu.submit(encoder);
        self.cache_mut(copy).len = len;
        self.gpu.check()?;
        Ok(copy)
    }

    /// Forgets everything after the first `len` tokens.
    pub(super) fn cut_cache(&mut self, cache: CacheId, len: usize) {
        let cache = self.cache_mut(cache);
        cache.len = cache.len.min(len);
    }

    /// Gives a cache's memory back.
    pub(super) fn free_cache(&mut self, cache: CacheId) {
        let bytes = self.cache_bytes();
        if let Some(slot) = self.caches.get_mut(cache.0 as usize)
            && slot.take().is_some()
        {
            self.used_bytes -= bytes;
        }
    }
}
