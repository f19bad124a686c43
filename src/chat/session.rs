//! A pair of models, loaded and ready to reply.
//!
//! Everything a reply needs is here once, for the web module and the native harness: the
//! target and its draft, their caches (whatever a prompt shares with the one before is not
//! read again), the chat template, the grammar engine, and what passes cost on this device.

mod classify;
mod loaded;
mod request;

pub use classify::{Classified, ClassifyRequest};
pub use loaded::{DEFAULT_CONTEXT_TOKENS, LoadOptions, LoadedModel};
pub use request::ReplyRequest;

use serde_json::Value as Json;

use super::template::{RenderRequest, Span as Rendered, TemplateSource};
use crate::decode::constraint::{Constraint, ConstraintSpec};
use crate::decode::cost::{Costs, warm_up};
use crate::decode::pair::{self, PairReport};
use crate::decode::round::Clock;
use crate::decode::score::{self, Score};
use crate::decode::{Generation, Lane};
use crate::error::{Code, Error, Result};
use crate::tokenizer::{EncodeOptions, Span};
use request::Constraints;

/// A target, its draft if it has one, and what is remembered between replies.
pub struct Session {
    target: LoadedModel,
    draft: Option<LoadedModel>,
    pair: Option<PairReport>,
    costs: Costs,
    clock: Clock,
    constraints: Constraints,
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
            constraints: Constraints::default(),
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
        self.encode_rendered(&spans)
    }

    fn encode_rendered(&self, spans: &[Rendered]) -> Result<Vec<u32>> {
        let target = &self.target;
        let spans: Vec<Span<'_>> = spans
            .iter()
            .map(|span| Span {
                text: &span.text,
                parse_special: span.trusted,
            })
            .collect();
        // A checkpoint's template writes the first tokens itself, a stand-in does not.
        let add_special = target.template.source() != TemplateSource::Checkpoint;
        target.tokenizer.encode_spans(&spans, add_special)
    }

    /// What a reply must look like, at its beginning. The grammar engine is made for the
    /// target's vocabulary once, and knows the constraints of the latest replies.
    ///
    /// # Errors
    /// `constraint_invalid` where it is not understood, or asks for what cannot be
    /// enforced; `constraint_limit` where it takes too much.
    pub fn constraint(&mut self, spec: &ConstraintSpec) -> Result<Constraint> {
        self.constraints.get(&self.target.tokenizer, spec)
    }

    /// A reply to `prompt` that is about to begin, with the draft where there is one.
    ///
    /// # Errors
    /// As [`Generation::new`] and [`Session::constraint`].
    pub fn reply<'s>(
        &'s mut self,
        prompt: &'s [u32],
        request: impl Into<ReplyRequest>,
    ) -> Result<Generation<'s>> {
        let ReplyRequest {
            mut options,
            constraint,
        } = request.into();
        let constraint = constraint.map(|spec| self.constraint(&spec)).transpose()?;
        if constraint.is_some() {
            // A constrained reply ends when it is complete, also where no token is to end it.
            let end = request::end_token(&self.target.tokenizer)?;
            if !options.stop_ids.contains(&end) {
                options.stop_ids.push(end);
            }
        }
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
        let generation = Generation::new(
            lane,
            draft,
            tokenizer,
            prompt,
            options,
            costs.clone(),
            clock.clone(),
        )?;
        Ok(match constraint {
            Some(constraint) => generation.constrained(constraint),
            None => generation,
        })
    }

    /// The `index`-th of several replies to one prompt: as [`Session::reply`] with the
    /// request's seed and `index` more. One after the other they cost one reading of the
    /// prompt, by both models: caches are taken back to where the replies part, which costs
    /// nothing, and copies would take memory.
    ///
    /// # Errors
    /// As [`Session::reply`].
    pub fn nth_reply<'s>(
        &'s mut self,
        prompt: &'s [u32],
        request: &ReplyRequest,
        index: usize,
    ) -> Result<Generation<'s>> {
        let mut request = request.clone();
        let seed = &mut request.options.sampling.seed;
        *seed = seed.wrapping_add(index as u64);
        self.reply(prompt, request)
    }

    /// How likely each token of a text is under the target.
    ///
    /// # Errors
    /// `request_invalid` for a text of fewer than two tokens; `context_overflow`; what
    /// the executor reports.
    pub async fn score(&mut self, token_ids: &[u32]) -> Result<Score> {
        let Lane { executor, sequence } = self.target.lane();
        score::score(executor, sequence, token_ids).await
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
