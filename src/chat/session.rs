//! A pair of models, loaded and ready to reply.
//!
//! Everything a reply needs is here once (the web module uses it; the native harness still
//! holds the same parts by hand): the target and its draft, their caches (whatever a prompt shares with the one
//! before is not read again), the chat template, and what passes cost on this device.

use serde_json::Value as Json;

use super::template::{ChatTemplate, RenderRequest};
use crate::backend::{Backend, CompileOptions, Executor};
use crate::decode::cost::{Costs, warm_up};
use crate::decode::pair::{self, Member, PairReport};
use crate::decode::round::Clock;
use crate::decode::{GenerateOptions, Generation, Lane, Sequence};
use crate::error::{Code, Error, Result};
use crate::format::Checkpoint;
use crate::model::Model;
use crate::tokenizer::{EncodeOptions, Span, Tokenizer};

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
    pub tokenizer: Tokenizer,
    /// Its chat template, or the one that stands in.
    pub template: ChatTemplate,
    /// What computes it.
    pub device: String,
    executor: Box<dyn Executor>,
    sequence: Sequence,
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
        let tokenizer = Tokenizer::from_checkpoint(checkpoint)?;
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

    /// What computes it.
    pub fn executor(&mut self) -> &mut dyn Executor {
        self.executor.as_mut()
    }

    fn lane(&mut self) -> Lane<'_> {
        Lane {
            executor: self.executor.as_mut(),
            sequence: &mut self.sequence,
        }
    }

    fn member(&self) -> Member<'_> {
        Member {
            name: &self.name,
            tokenizer: &self.tokenizer,
            n_parameters: self.model.n_parameters(),
            capacity_tokens: self.context_tokens(),
        }
    }
}

/// A target, its draft if it has one, and what is remembered between replies.
pub struct Session {
    target: LoadedModel,
    draft: Option<LoadedModel>,
    pair: Option<PairReport>,
    costs: Costs,
    clock: Clock,
}

impl Session {
    /// A target that speaks alone, or with a draft that fits it.
    ///
    /// # Errors
    /// `pair_mismatch` for a draft with another tokenizer.
    pub fn new(target: LoadedModel, draft: Option<LoadedModel>, clock: Clock) -> Result<Self> {
        let pair = draft
            .as_ref()
            .map(|draft| pair::check(target.member(), draft.member()))
            .transpose()?;
        Ok(Self {
            target,
            draft,
            pair,
            costs: Costs::default(),
            clock,
        })
    }

    /// Times both models, so that the first reply is already planned from measurements.
    ///
    /// # Errors
    /// What the executors report.
    pub async fn warm_up(&mut self) -> Result<()> {
        let draft = self.draft.as_mut().map(LoadedModel::executor);
        self.costs = warm_up(self.target.executor.as_mut(), draft, &self.clock).await?;
        Ok(())
    }

    /// The model that speaks.
    pub fn target(&self) -> &LoadedModel {
        &self.target
    }

    /// The model that guesses.
    pub fn draft(&self) -> Option<&LoadedModel> {
        self.draft.as_ref()
    }

    /// What the pair check found.
    pub fn pair(&self) -> Option<&PairReport> {
        self.pair.as_ref()
    }

    /// The ids of a text to go on from. Control tokens in it are read as such only where
    /// `parse_special` says that the text is the caller's own.
    ///
    /// # Errors
    /// What the tokenizer reports.
    pub fn encode_text(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        self.target.tokenizer.encode(
            text,
            EncodeOptions {
                add_special: true,
                parse_special,
            },
        )
    }

    /// The ids of a conversation. Only what the template itself writes can be a control
    /// token, however a message spells it.
    ///
    /// # Errors
    /// What template and tokenizer report.
    pub fn encode_messages(&self, request: &RenderRequest<'_>) -> Result<Vec<u32>> {
        let spans = self.target.template.render_spans(request)?;
        let spans: Vec<Span<'_>> = spans
            .iter()
            .map(|span| Span {
                text: &span.text,
                parse_special: span.trusted,
            })
            .collect();
        self.target.tokenizer.encode_spans(&spans, false)
    }

    /// A reply to `prompt` that is about to begin, with the draft where there is one.
    ///
    /// # Errors
    /// As [`Generation::new`].
    pub fn reply<'s>(
        &'s mut self,
        prompt: &'s [u32],
        options: GenerateOptions,
    ) -> Result<Generation<'s>> {
        let Self {
            target,
            draft,
            costs,
            clock,
            ..
        } = self;
        let LoadedModel {
            executor,
            sequence,
            tokenizer,
            ..
        } = target;
        let lane = Lane {
            executor: executor.as_mut(),
            sequence,
        };
        let draft = draft.as_mut().map(LoadedModel::lane);
        Generation::new(
            lane,
            draft,
            tokenizer,
            prompt,
            options,
            costs.clone(),
            clock.clone(),
        )
    }

    /// Remembers what a reply learned about costs, for the next to start from.
    pub fn learn(&mut self, costs: Costs) {
        self.costs = costs;
    }
}

/// A conversation's messages from outside: a list of objects that each have a `role`.
///
/// # Errors
/// `request_invalid`, naming the message.
pub fn check_messages(messages: &Json) -> Result<&[Json]> {
    let invalid =
        |subject: String, detail: &str| Err(Error::new(Code::RequestInvalid, subject, detail));
    let Some(list) = messages.as_array() else {
        return invalid("messages".into(), "must be a list");
    };
    if list.is_empty() {
        return invalid("messages".into(), "holds no message");
    }
    for (i, message) in list.iter().enumerate() {
        if !message["role"].is_string() {
            return invalid(format!("messages[{i}].role"), "must be a string");
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_that_are_none_are_named() {
        let subject = |messages: Json| check_messages(&messages).unwrap_err().subject().to_string();
        assert_eq!(subject(json!("hello")), "messages");
        assert_eq!(subject(json!([])), "messages");
        assert_eq!(
            subject(json!([{ "role": "user", "content": "a" }, { "content": "b" }])),
            "messages[1].role"
        );
        assert_eq!(
            check_messages(&json!([{ "role": "user", "content": "a" }]))
                .unwrap()
                .len(),
            1
        );
    }
}
