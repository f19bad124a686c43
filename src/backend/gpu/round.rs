//! A round of speculation in one submission: the draft's steps, the target's pass over
//! their guesses, the draws, and which guesses were right.
//!
//! Nothing comes back in between. A draft's draw stays on the device, where the next step
//! and the target's pass find it ([`super::state::DRAWN`]); the states of all passes are
//! written ahead. What comes back is the number of right guesses, the target's draws, and
//! the guesses themselves.

use std::rc::Rc;

use super::super::{
    CacheId, Guesses, MAX_TOKEN_CHANGES, MAX_TOP_LOGPROBS, Round, RoundResult, Rows, Terms,
};
use super::GpuExecutor;
use super::executor::word;
use super::launch::LOGITS_ROWS;
use super::pass::{Program, check_rows};
use super::sampler::Drawing;
use super::state::{DRAWN, DRAWN_GUESSES, DRAWN_OUTCOME, MAX_SLOTS, Pass};
use crate::error::{Code, Error, Result};

/// What stands for a token where none may be drawn; as in `sample.wgsl`.
const NONE_ALLOWED: u32 = u32::MAX - 1;

/// A draft that is to run beside the target.
struct DraftRun<'a> {
    executor: &'a mut GpuExecutor,
    cache: CacheId,
    /// Tokens in its cache.
    len: usize,
    /// What each step runs: what follows the cache, then a drawn token at a time.
    steps: Vec<Rows>,
    /// The kernels of the first step, and of any other.
    programs: [Rc<Program>; 2],
}

impl<'a> DraftRun<'a> {
    /// `None` where the model is not one of this device.
    async fn new(target: &GpuExecutor, guesses: Guesses<'a>) -> Result<Option<Self>> {
        let Guesses::Model {
            executor,
            cache,
            tokens,
            num_tokens,
        } = guesses
        else {
            return Ok(None);
        };
        let own = executor
            .as_any_mut()
            .and_then(|any| any.downcast_mut::<GpuExecutor>());
        let Some(executor) = own.filter(|own| Rc::ptr_eq(&own.gpu, &target.gpu)) else {
            return Ok(None);
        };
        if executor.compiled.sampler.is_none()
            || num_tokens == 0
            || num_tokens > MAX_SLOTS
            || tokens.len() > LOGITS_ROWS
        {
            return Ok(None);
        }
        let first = Rows::chain(tokens);
        let len = executor.cache(cache).len;
        let more = num_tokens - 1;
        let room = executor.capacity_tokens.saturating_sub(more);
        check_rows(&first, len, room, executor.n_vocab)?;
        let drawn = (0..more).map(|i| Rows::chain([DRAWN | (DRAWN_GUESSES + i) as u32]));
        let programs = [
            executor.program(tokens.len(), 1).await?,
            executor.program(1, 1).await?,
        ];
        Ok(Some(Self {
            cache,
            len,
            steps: std::iter::once(first).chain(drawn).collect(),
            programs,
            executor,
        }))
    }

    /// Tokens in its cache when all steps have run.
    fn len_after(&self) -> usize {
        self.len + self.steps.iter().map(Rows::len).sum::<usize>()
    }

    /// Launches every step.
    fn replay(&mut self, compute: &mut wgpu::ComputePass<'_>, drawing: &Drawing<'_>) {
        // Only the target's rows are told about.
        let terms = Terms {
            logprobs: None,
            ..drawing.terms
        };
        let mut len = self.len;
        let passes = self.steps.iter().enumerate().map(|(i, rows)| {
            let pass = Pass {
                rows,
                first: 0,
                n: rows.len(),
                len,
                first_logits: rows.len() - 1,
                n_logits: 1,
                drawing: Some(Drawing {
                    at: DRAWN_GUESSES + i,
                    n_guessed: i,
                    terms,
                    ..*drawing
                }),
            };
            len += rows.len();
            pass
        });
        let passes: Vec<Pass<'_>> = passes.collect();
        self.executor.write_states(&passes);
        for (slot, pass) in passes.iter().enumerate() {
            let program = &self.programs[slot.min(1)];
            self.executor
                .replay(compute, self.cache, slot, pass, program);
        }
    }
}

impl GpuExecutor {
    pub(super) async fn run_round(
        &mut self,
        id: CacheId,
        round: Round<'_>,
    ) -> Result<Option<RoundResult>> {
        self.gpu.check()?;
        let Round {
            tokens,
            guesses,
            draw,
            terms,
        } = round;
        let n = tokens.len() + guesses.len();
        // A model's guesses are not known here, and so not what may follow them.
        let masked = !terms.masks.is_empty();
        let n_masks = match guesses {
            Guesses::Tokens(_) => guesses.len() + 1,
            Guesses::Model { .. } => 0,
        };
        if self.compiled.sampler.is_none()
            || tokens.is_empty()
            || n > LOGITS_ROWS
            || (masked && terms.masks.len() != n_masks)
            || terms.changes.len() > MAX_TOKEN_CHANGES
            || terms.logprobs.is_some_and(|n_top| n_top > MAX_TOP_LOGPROBS)
        {
            return Ok(None);
        }
        let drawing = Drawing {
            draw,
            at: 0,
            n_guessed: 0,
            terms,
        };
        let len = self.cache(id).len;
        let mut rows = Rows::chain(tokens);
        let n_guesses = guesses.len();
        let mut draft = match guesses {
            Guesses::Tokens(tokens) => {
                rows.tokens.extend_from_slice(tokens);
                check_rows(&rows, len, self.capacity_tokens, self.n_vocab)?;
                None
            }
            Guesses::Model { .. } => {
                let room = self.capacity_tokens.saturating_sub(n_guesses);
                check_rows(&rows, len, room, self.n_vocab)?;
                let drawn = (0..n_guesses).map(|i| DRAWN | (DRAWN_GUESSES + i) as u32);
                rows.tokens.extend(drawn);
                match DraftRun::new(self, guesses).await? {
                    Some(draft) => Some(draft),
                    None => return Ok(None),
                }
            }
        };

        let pass = Pass {
            rows: &rows,
            first: 0,
            n,
            len,
            first_logits: tokens.len() - 1,
            n_logits: n_guesses + 1,
            drawing: Some(drawing),
        };
        if let Some(draft) = &mut draft {
            draft.executor.prepare_draw(&drawing).await?;
        }
        self.prepare_draw(&drawing).await?;
        let program = self.program(n, n_guesses + 1).await?;
        let [outcome, told] = self.submit_round(id, &pass, &program, draft.as_mut(), &drawing);
        let read = self.gpu.read(&self.staging, outcome + told).await?;
        let (read, told) = read.split_at(outcome as usize);
        let mut words = read.chunks_exact(4).map(word);
        let num_accepted_tokens = words.next().map_or(0, |n| n as usize);
        let drawn: Vec<u32> = words.by_ref().take(n_guesses + 1).collect();
        let guesses = words.collect();
        let follow = drawn.iter().take(num_accepted_tokens + 1);
        if let Some(token) = follow
            .clone()
            .find(|token| **token as usize >= self.n_vocab)
        {
            return Err(match *token {
                NONE_ALLOWED => {
                    let detail = "no token is allowed at this point";
                    Error::new(Code::RequestInvalid, "constraint", detail)
                }
                _ => {
                    let detail = "no token could be drawn: a logit is not a number";
                    Error::new(Code::NotFinite, "logits", detail)
                }
            });
        }
        let logprobs = match (terms.logprobs, &self.compiled.sampler) {
            (Some(n_top), Some(sampler)) => sampler.told(told, n_top),
            _ => Vec::new(),
        };
        self.cache_mut(id).len = len + n;
        if let Some(draft) = draft {
            draft.executor.cache_mut(draft.cache).len = draft.len_after();
        }
        Ok(Some(RoundResult {
            num_accepted_tokens,
            drawn,
            guesses,
            logprobs,
        }))
    }

    async fn prepare_draw(&mut self, drawing: &Drawing<'_>) -> Result<()> {
        match &mut self.compiled.sampler {
            Some(sampler) => sampler.prepare(&self.gpu, drawing).await,
            None => Ok(()),
        }
    }

    /// Submits the draft's passes and the target's; gives how many bytes of the staging
    /// buffer are the outcome, and how many behind them tell of log-probabilities.
    fn submit_round(
        &mut self,
        id: CacheId,
        pass: &Pass<'_>,
        program: &Program,
        draft: Option<&mut DraftRun<'_>>,
        drawing: &Drawing<'_>,
    ) -> [u64; 2] {
        if let Some(sampler) = &self.compiled.sampler {
            sampler.write_terms(&self.gpu, &drawing.terms);
        }
        self.write_states(std::slice::from_ref(pass));
        let drafts = draft.is_some();
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut compute = encoder.begin_compute_pass(&Default::default());
            if let Some(draft) = draft {
                draft.replay(&mut compute, drawing);
            }
            self.replay(&mut compute, id, 0, pass, program);
            if let Some(sampler) = &self.compiled.sampler {
                sampler.launch_accept(&mut compute);
            }
        }
        let mut bytes = (1 + pass.n_logits) as u64 * 4;
        let from = (DRAWN_OUTCOME * 4) as u64;
        encoder.copy_buffer_to_buffer(&self.gpu.drawn, from, &self.staging, 0, bytes);
        if drafts {
            let guesses = (pass.n_logits - 1) as u64 * 4;
            let from = (DRAWN_GUESSES * 4) as u64;
            encoder.copy_buffer_to_buffer(&self.gpu.drawn, from, &self.staging, bytes, guesses);
            bytes += guesses;
        }
        let mut told = 0;
        if let Some(n_top) = drawing.terms.logprobs {
            told = (pass.n_logits * (1 + 2 * n_top) * 4) as u64;
            let from = &self.gpu.shared.told;
            encoder.copy_buffer_to_buffer(from, 0, &self.staging, bytes, told);
        }
        self.gpu.count(|c| c.dispatches += 1);
        self.gpu.submit(encoder);
        [bytes, told]
    }
}
