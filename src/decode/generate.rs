//! The loop that callers use: a prompt in, pieces of text out.
//!
//! [`Generation::step`] does one thing at a time (a chunk of the prompt, or one round)
//! and returns, so that a browser can breathe, and abort, between steps.

use super::constraint::Constraint;
use super::cost::{Costs, DraftLength};
use super::draft::{Drafter, FirstOf, ModelDrafter, NgramDrafter};
use super::made::{LogprobsWanted, MadeToken};
use super::round::{Clock, Decoder, DecoderParts};
use super::sampling::{Sampler, SamplingParams};
use super::sequence::{PREFILL_CHUNK_TOKENS, Sequence};
use super::statistics::Speculation;
use super::stop::{StopStrings, Watched};
use super::verify::Verification;
use crate::backend::{Executor, LogitRows};
use crate::error::{Code, Error, Result};
use crate::tokenizer::{Detokenizer, Tokenizer};

/// A model and what its cache holds, for the length of a reply.
pub struct Lane<'m> {
    /// The model.
    pub executor: &'m mut dyn Executor,
    /// What its cache holds: whatever it shares with the prompt is not computed again.
    pub sequence: &'m mut Sequence,
}

/// How a reply is made.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// At most this many tokens; `None` for as many as the context takes.
    pub max_tokens: Option<usize>,
    /// How tokens are drawn.
    pub sampling: SamplingParams,
    /// Text that ends the reply and is not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the reply.
    pub stop_ids: Vec<u32>,
    /// How much to draft.
    pub draft_length: DraftLength,
    /// Whether to guess in several ways at once where that pays, or, with a fixed length,
    /// always. Needs a draft model and [`Verification::Exact`].
    pub tree: bool,
    /// The rule by which guesses stand.
    pub verification: Verification,
    /// Let the draft model guess, where there is one.
    pub draft_model: bool,
    /// Look guesses up in the text itself.
    pub ngram: Option<NgramDrafter>,
    /// Which log-probabilities to report.
    pub logprobs: LogprobsWanted,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: None,
            sampling: SamplingParams::default(),
            stop: Vec::new(),
            stop_ids: Vec::new(),
            draft_length: DraftLength::Auto,
            tree: false,
            verification: Verification::Exact,
            draft_model: true,
            ngram: None,
            logprobs: LogprobsWanted::default(),
        }
    }
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token or a stop string.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
}

impl FinishReason {
    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Part of the prompt was read.
    Prefilled {
        /// Tokens of the prompt that are in the cache now.
        done_tokens: usize,
        /// Tokens of the prompt.
        total_tokens: usize,
    },
    /// One round's tokens, and the text that is now safe to show.
    Made {
        /// May be empty: half a character, or what may become a stop string.
        text: String,
        /// The tokens; those after a stop string are not among them.
        tokens: Vec<MadeToken>,
    },
    /// The reply is complete.
    Finished {
        /// What was held back and turned out to be text.
        text: String,
        /// Why it ended.
        reason: FinishReason,
    },
}

/// How many tokens came from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, how many the cache already held.
    pub reused_tokens: usize,
    /// How many of them the draft model read before the first round: 0 where its cache
    /// held them, and where it is not to guess.
    pub draft_read_tokens: usize,
    /// Tokens made, the stop token included.
    pub completion_tokens: usize,
}

/// A reply in the making.
pub struct Generation<'m> {
    target: Lane<'m>,
    decoder: Decoder<'m>,
    detokenizer: Option<Detokenizer<'m>>,
    stop: StopStrings,
    stop_ids: Vec<u32>,
    max_tokens: usize,
    usage: Usage,
    /// Why the next step is the last.
    ending: Option<FinishReason>,
    stopped_by_text: bool,
    finished: Option<FinishReason>,
    clock: Clock,
    prefill_s: f64,
}

impl<'m> Generation<'m> {
    /// A reply to `prompt` that is about to begin. `draft`, where given, must have the
    /// target's tokenizer.
    ///
    /// # Errors
    /// `request_invalid` for an empty prompt or a parameter out of range;
    /// `context_overflow` where the prompt alone does not fit.
    pub fn new(
        target: Lane<'m>,
        draft: Option<Lane<'m>>,
        tokenizer: &'m Tokenizer,
        prompt: &'m [u32],
        options: GenerateOptions,
        costs: Costs,
        clock: Clock,
    ) -> Result<Self> {
        let capacity = target.executor.capacity_tokens();
        if prompt.is_empty() {
            return Err(Error::new(Code::RequestInvalid, "prompt", "holds no token"));
        }
        if prompt.len() > capacity {
            let detail = format!(
                "{} tokens do not fit the context of {capacity}",
                prompt.len()
            );
            return Err(Error::new(Code::ContextOverflow, "prompt", detail));
        }
        if options.max_tokens == Some(0) {
            return Err(Error::new(
                Code::RequestInvalid,
                "max_tokens",
                "must be 1 or more",
            ));
        }
        let mut drafters: Vec<Box<dyn Drafter + 'm>> = Vec::new();
        if let Some(ngram) = options.ngram {
            drafters.push(Box::new(ngram));
        }
        if let Some(draft) = draft.filter(|_| options.draft_model) {
            drafters.push(Box::new(ModelDrafter::new(
                draft.executor,
                draft.sequence,
                options.verification.drawing(),
            )));
        }
        let drafter: Option<Box<dyn Drafter + 'm>> = match drafters.len() {
            0 => None,
            1 => drafters.pop(),
            _ => Some(Box::new(FirstOf(drafters))),
        };
        // The last token of the prompt begins the first round; it is fed again even
        // where the cache holds it.
        let kept = target
            .sequence
            .keep_common_prefix(target.executor, prompt)?;
        target.sequence.truncate(target.executor, prompt.len() - 1);
        let reused_tokens = kept.min(prompt.len() - 1);
        let decoder = Decoder::new(DecoderParts {
            prompt,
            sampler: Sampler::new(options.sampling)?,
            drafter,
            verification: options.verification,
            constraint: None,
            length: options.draft_length,
            trees: options.tree && options.verification == Verification::Exact,
            costs,
            stop_ids: options.stop_ids.clone(),
            logprobs: options.logprobs,
            clock: clock.clone(),
        });
        Ok(Self {
            target,
            decoder,
            detokenizer: Some(tokenizer.detokenizer(true)),
            stop: StopStrings::new(options.stop),
            stop_ids: options.stop_ids,
            max_tokens: options.max_tokens.unwrap_or(usize::MAX),
            usage: Usage {
                prompt_tokens: prompt.len(),
                reused_tokens,
                draft_read_tokens: 0,
                completion_tokens: 0,
            },
            ending: None,
            stopped_by_text: false,
            finished: None,
            clock,
            prefill_s: 0.0,
        })
    }

    /// The same reply, but it must look like `constraint`, which stands at its
    /// beginning. It ends when the constraint is complete, for which the stop tokens
    /// must hold the constraint's end token.
    pub fn constrained(mut self, constraint: Constraint) -> Self {
        self.decoder.constraint = Some(constraint);
        self
    }

    /// Does the next thing; `None` once the reply is complete.
    ///
    /// A device that was lost is replaced, and what its caches held is read again.
    ///
    /// # Errors
    /// What the models report. Nothing made so far is lost, and the step can be tried
    /// again.
    pub async fn step(&mut self) -> Result<Option<Step>> {
        match self.try_step().await {
            Err(error) if error.code() == Code::GpuLost => {
                if !self.revive().await? {
                    return Err(error);
                }
                self.try_step().await
            }
            done => done,
        }
    }

    async fn revive(&mut self) -> Result<bool> {
        let Lane { executor, sequence } = &mut self.target;
        let mut revived = sequence.revive(*executor).await?;
        if let Some(drafter) = &mut self.decoder.drafter
            && let Some((executor, sequence)) = drafter.model()
        {
            revived |= sequence.revive(executor).await?;
        }
        Ok(revived)
    }

    async fn try_step(&mut self) -> Result<Option<Step>> {
        if self.finished.is_some() {
            return Ok(None);
        }
        if let Some(reason) = self.ending {
            return Ok(Some(self.finish(reason)));
        }
        let held = self.target.sequence.tokens().len();
        // A round takes a few tokens that were forced; more are missing only where a
        // cache was lost, and then the reply is read again like a prompt.
        let text_tokens = self.decoder.history.len();
        if held + 1 < self.usage.prompt_tokens || held + PREFILL_CHUNK_TOKENS < text_tokens {
            return self.prefill(held).await.map(Some);
        }
        if self.usage.completion_tokens == 0 && self.prefill_draft().await? {
            return Ok(Some(Step::Prefilled {
                done_tokens: held,
                total_tokens: text_tokens,
            }));
        }
        let left = self.max_tokens.saturating_sub(self.usage.completion_tokens);
        if left == 0 || self.decoder.history.len() > self.target.executor.capacity_tokens() {
            return Ok(Some(self.finish(FinishReason::Length)));
        }
        let Lane { executor, sequence } = &mut self.target;
        let mut tokens = self.decoder.round(*executor, sequence, left).await?;
        let mut shown = String::new();
        for made in 0..tokens.len() {
            let id = tokens[made].id;
            if self.stop_ids.contains(&id) {
                self.ending = Some(FinishReason::Stop);
                break; // always the last of a round; it is not text
            }
            let piece = self
                .detokenizer
                .as_mut()
                .map(|stream| stream.push(id))
                .unwrap_or_default();
            match self.stop.push(&piece) {
                Watched::Text(text) => shown += &text,
                Watched::Stopped { text, .. } => {
                    shown += &text;
                    tokens.truncate(made + 1);
                    self.ending = Some(FinishReason::Stop);
                    self.stopped_by_text = true;
                    break;
                }
            }
        }
        self.usage.completion_tokens += tokens.len();
        Ok(Some(Step::Made {
            text: shown,
            tokens,
        }))
    }

    async fn prefill(&mut self, held: usize) -> Result<Step> {
        let start_s = (self.clock)();
        let total_tokens = self.decoder.history.len();
        let end = (held + PREFILL_CHUNK_TOKENS).min(total_tokens - 1);
        let chunk = &self.decoder.history.tokens()[held..end];
        let Lane { executor, sequence } = &mut self.target;
        sequence.feed(*executor, chunk, LogitRows::None).await?;
        if end + 1 == total_tokens {
            executor.settle().await?;
        }
        self.prefill_s += (self.clock)() - start_s;
        Ok(Step::Prefilled {
            done_tokens: end,
            total_tokens,
        })
    }

    /// Has the draft read the next part of the prompt; says whether it had to.
    async fn prefill_draft(&mut self) -> Result<bool> {
        let start_s = (self.clock)();
        let n_read = self.decoder.prepare_draft().await?;
        if n_read > 0 {
            self.usage.draft_read_tokens += n_read;
            self.prefill_s += (self.clock)() - start_s;
        }
        Ok(n_read > 0)
    }

    fn finish(&mut self, reason: FinishReason) -> Step {
        self.finished = Some(reason);
        if self.stopped_by_text {
            return Step::Finished {
                text: String::new(),
                reason,
            };
        }
        let rest = self
            .detokenizer
            .take()
            .map(Detokenizer::finish)
            .unwrap_or_default();
        let text = match self.stop.push(&rest) {
            Watched::Text(text) => text + &self.stop.finish(),
            Watched::Stopped { text, .. } => text,
        };
        Step::Finished { text, reason }
    }

    /// Why the reply ended, once it has.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finished
    }

    /// How many tokens came from where.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Tokens of the prompt read a second, by the draft too where it was to guess; 0 where
    /// none had to be.
    pub fn prefill_tokens_per_s(&self) -> f64 {
        let fresh = self.usage.prompt_tokens - 1 - self.usage.reused_tokens;
        if fresh == 0 || self.prefill_s == 0.0 {
            0.0
        } else {
            fresh as f64 / self.prefill_s
        }
    }

    /// What speculation did so far.
    pub fn speculation(&self) -> Speculation {
        self.decoder.speculation()
    }

    /// The planner's latest choice.
    pub fn last_choice(&self) -> Option<&super::planner::Choice> {
        self.decoder.last_choice()
    }

    /// What passes cost, for the next reply to start from.
    pub fn costs(&self) -> &Costs {
        self.decoder.costs()
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
