//! Replays a compiled plan: state in, launches into a compute pass.

use std::rc::Rc;

use super::super::{CacheId, Rows};
use super::GpuExecutor;
use super::launch::Over;
use super::pipeline::Kernel;
use super::state::{Pass, SLOT_WORDS};
use crate::error::{Code, Error, Result};

/// The kernels of a pass over so many rows, so many of whose logits are wanted.
pub type Program = Vec<(usize, Rc<Kernel>)>;

impl GpuExecutor {
    /// Writes the states of `passes`, each in its slot, from slot 0 on.
    pub(super) fn write_states(&mut self, passes: &[Pass<'_>]) {
        self.words.clear();
        for (slot, pass) in passes.iter().enumerate() {
            self.words.resize(slot * SLOT_WORDS, 0);
            pass.words(&mut self.words);
        }
        let words = bytemuck::cast_slice(&self.words);
        let state = &self.compiled.state;
        self.gpu.queue.write_buffer(state, 0, words);
        if let [pass] = passes
            && let Some((at, paths)) = pass.paths()
        {
            let paths = bytemuck::cast_slice(&paths);
            self.gpu.queue.write_buffer(state, at, paths);
        }
    }

    /// Launches a pass whose state is in `slot`; draws tokens from its logits if it says
    /// how.
    pub(super) fn replay(
        &self,
        compute: &mut wgpu::ComputePass<'_>,
        id: CacheId,
        slot: usize,
        pass: &Pass<'_>,
        program: &Program,
    ) {
        let state = [(slot * SLOT_WORDS * 4) as u32];
        let cache = self.cache(id);
        let tokens = pass.len + pass.first + pass.n;
        let mut bytes_moved = 0;
        for (i, kernel) in program {
            let step = &self.compiled.steps[*i];
            compute.set_pipeline(&kernel.pipeline);
            let offsets = if step.has_state { &state[..] } else { &[] };
            compute.set_bind_group(0, &step.group, offsets);
            if let Some((layer, writes)) = step.cache {
                let group = cache.groups[layer][usize::from(!writes)].as_ref();
                compute.set_bind_group(1, group, &[]);
            }
            let rows = match step.over {
                Over::Rows => pass.n,
                Over::Logits => pass.n_logits,
            };
            let [x, y, z] = step.workgroups(rows, tokens);
            compute.dispatch_workgroups(x, y, z);
            bytes_moved += step.bytes_moved(rows, tokens);
        }
        let mut dispatches = program.len() as u64;
        if let (Some(drawing), Some(sampler)) = (&pass.drawing, &self.compiled.sampler) {
            dispatches += sampler.launch(compute, &state, pass.n_logits, drawing);
        }
        self.gpu.count(|c| {
            c.dispatches += dispatches;
            c.bytes_moved += bytes_moved;
        });
    }
}

/// What the kernels rely on.
pub fn check_rows(rows: &Rows, len: usize, capacity_tokens: usize, n_vocab: usize) -> Result<()> {
    let invalid = |detail: String| Err(Error::new(Code::RequestInvalid, "rows", detail));
    if rows.is_empty() {
        return invalid("there are none".into());
    }
    if len + rows.len() > capacity_tokens {
        let detail = format!(
            "{len} tokens and {} more, but there is room for {capacity_tokens}",
            rows.len()
        );
        return Err(Error::new(Code::ContextOverflow, "cache", detail));
    }
    if let Some(token) = rows.tokens.iter().find(|t| **t as usize >= n_vocab) {
        let detail = format!("the vocabulary has {n_vocab} tokens");
        return Err(Error::new(
            Code::TokenUnknown,
            format!("token {token}"),
            detail,
        ));
    }
    rows.check_tree(len)
}
