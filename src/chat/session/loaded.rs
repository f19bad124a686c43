//! A checkpoint, read and ready to run.

use std::sync::Arc;

use crate::backend::{Backend, CompileOptions, Executor};
use crate::chat::template::ChatTemplate;
use crate::decode::pair::Member;
use crate::decode::{Lane, Sequence};
use crate::error::{Code, Error, Result};
use crate::format::Checkpoint;
use crate::model::Model;
use crate::tokenizer::Tokenizer;

/// The longest context that is made where none was asked for: caches are allocated
/// for all of it.
pub const DEFAULT_CONTEXT_TOKENS: usize = 4096;

/// What a model may use.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Tokens of context; the model's own, up to [`DEFAULT_CONTEXT_TOKENS`], where not
    /// given.
    pub context_tokens: Option<usize>,
    /// Refuse to load what needs more.
    pub memory_budget_bytes: Option<u64>,
}

/// A model with its weights, tokenizer, template and cache.
pub struct LoadedModel {
    /// What to call it.
    pub name: String,
    /// What it is.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Its chat template, or the one that stands in.
    pub template: ChatTemplate,
    /// What computes it.
    pub device: String,
    pub(super) executor: Box<dyn Executor>,
    pub(super) sequence: Sequence,
}

impl LoadedModel {
    /// Reads a checkpoint's weights, each once, for `backend`.
    ///
    /// # Errors
    /// What each layer reports; `request_invalid` for a context of no tokens.
    pub async fn load(
        checkpoint: &Checkpoint,
        backend: &dyn Backend,
        options: &LoadOptions,
    ) -> Result<Self> {
        let tokenizer = Arc::new(Tokenizer::from_checkpoint(checkpoint)?);
        let template = ChatTemplate::from_checkpoint(checkpoint)?;
        let model = Model::open(checkpoint).await?;
        let default = model.spec.context_tokens.min(DEFAULT_CONTEXT_TOKENS);
        let capacity_tokens = options.context_tokens.unwrap_or(default);
        if capacity_tokens == 0 {
            return Err(Error::new(
                Code::RequestInvalid,
                "context_tokens",
                "must be 1 or more",
            ));
        }
        let plan = model.plan(capacity_tokens)?;
        let memory_budget_bytes = options.memory_budget_bytes;
        let compile = CompileOptions {
            capacity_tokens,
            memory_budget_bytes,
        };
        let mut executor = backend
            .compile(&plan, &checkpoint.tensors, &compile)
            .await?;
        let sequence = Sequence::new(executor.as_mut())?;
        let name = checkpoint.name().to_string();
        Ok(Self {
            name,
            model,
            tokenizer,
            template,
            device: backend.name().to_string(),
            executor,
            sequence,
        })
    }

    /// Tokens of context in use.
    pub fn context_tokens(&self) -> usize {
        self.executor.capacity_tokens()
    }

    /// On how many of the processor's threads; 1 where something else computes.
    pub fn n_threads(&self) -> usize {
        self.executor.n_threads()
    }

    /// What computes it.
    pub fn executor(&mut self) -> &mut dyn Executor {
        self.executor.as_mut()
    }

    /// Lets something else compute, for tests.
    #[cfg(test)]
    pub(crate) fn replace_executor(&mut self, mut executor: Box<dyn Executor>) -> Result<()> {
        self.sequence = Sequence::new(executor.as_mut())?;
        self.executor = executor;
        Ok(())
    }

    pub(super) fn lane(&mut self) -> Lane<'_> {
        Lane {
            executor: self.executor.as_mut(),
            sequence: &mut self.sequence,
        }
    }

    pub(super) fn member(&self) -> Member<'_> {
        Member {
            name: &self.name,
            tokenizer: &self.tokenizer,
            n_parameters: self.model.n_parameters(),
            capacity_tokens: self.context_tokens(),
        }
    }
}
