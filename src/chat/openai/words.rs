//! Beside OpenAI's: texts to ids and back, how likely a text is, which label fits.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::fields::{Field, invalid};
use super::messages;
use super::service::{Moment, Service};
use crate::chat::session::ClassifyRequest;
use crate::chat::template::RenderRequest;
use crate::error::Result;
use crate::tokenizer::EncodeOptions;

/// The fields of a request to `tokenize`.
pub const TOKENIZE_FIELDS: &[&str] = &["text", "messages", "add_special", "parse_special"];
/// The fields of a request to `detokenize`.
pub const DETOKENIZE_FIELDS: &[&str] = &["token_ids", "skip_special"];
/// The fields of a request to `score`.
pub const SCORE_FIELDS: &[&str] = &["text"];
/// The fields of a request to `classify`.
pub const CLASSIFY_FIELDS: &[&str] = &["text", "labels", "prompt", "messages", "calibrate"];

/// What stands for the text in a prompt to classify by.
const PLACE: &str = "{text}";
/// The prompt where none is given.
const DEFAULT_PROMPT: &str = "{text}\n";

/// A text's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tokenized {
    /// Their ids.
    pub token_ids: Vec<u32>,
}

/// Tokens' text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detokenized {
    /// The text.
    pub text: String,
}

/// How likely a text is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scored {
    /// Its tokens.
    pub token_ids: Vec<u32>,
    /// `ln p` of every token but the first, given all before it.
    pub logprobs: Vec<f32>,
    /// Their sum.
    pub total_logprob: f64,
    /// `exp` of the mean surprise of a token.
    pub perplexity: f64,
}

/// How well a label fits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label.
    pub label: String,
    /// Of all labels, after calibration; they add up to 1.
    pub probability: f64,
    /// `ln p` of the label after the prompt.
    pub logprob: f64,
    /// The same after an empty text; 0 without calibration.
    pub empty_logprob: f64,
}

impl Service {
    /// The ids of a `text`, or of `messages` as the model would read them.
    ///
    /// # Errors
    /// `request_invalid` naming the field; what template and tokenizer report.
    pub fn tokenize(&self, request: &Json, moment: &Moment) -> Result<Tokenized> {
        let fields = Field::new("", request).object(TOKENIZE_FIELDS)?;
        let option = |name, default| {
            let given = fields.read(name, Field::bool);
            given.map(|given| given.unwrap_or(default))
        };
        let options = EncodeOptions {
            add_special: option("add_special", true)?,
            parse_special: option("parse_special", false)?,
        };
        let token_ids = match (fields.get("text"), fields.get("messages")) {
            (Some(text), None) => {
                let tokenizer = &self.session.target().tokenizer;
                tokenizer.encode(text.string()?, options)?
            }
            (None, Some(list)) => {
                let messages = messages::read(&list)?;
                self.session.encode_messages(&RenderRequest {
                    add_generation_prompt: true,
                    ..RenderRequest::new(&messages, moment.now)
                })?
            }
            _ => return Err(invalid("text", "either it or messages must be given")),
        };
        Ok(Tokenized { token_ids })
    }

    /// The text of ids.
    ///
    /// # Errors
    /// `request_invalid` naming the field.
    pub fn detokenize(&self, request: &Json) -> Result<Detokenized> {
        let fields = Field::new("", request).object(DETOKENIZE_FIELDS)?;
        let skip = fields.read("skip_special", Field::bool)?.unwrap_or(false);
        let tokenizer = &self.session.target().tokenizer;
        let max = tokenizer.n_vocab().saturating_sub(1);
        let ids = fields.need("token_ids")?.list()?;
        let ids = ids.iter().map(|id| id.count(0, max).map(|id| id as u32));
        let ids: Vec<u32> = ids.collect::<Result<_>>()?;
        Ok(Detokenized {
            text: tokenizer.decode(&ids, skip),
        })
    }

    /// How likely each token of a text is.
    ///
    /// # Errors
    /// `request_invalid` naming the field; what the model reports.
    pub async fn score(&mut self, request: &Json) -> Result<Scored> {
        let fields = Field::new("", request).object(SCORE_FIELDS)?;
        let ids = self
            .session
            .encode_text(fields.need("text")?.string()?, false)?;
        let score = self.session.score(&ids).await?;
        Ok(Scored {
            total_logprob: score.total(),
            perplexity: score.perplexity(),
            token_ids: score.token_ids,
            logprobs: score.logprobs,
        })
    }

    /// Which of several labels fits a text, the best first.
    ///
    /// # Errors
    /// `request_invalid` naming the field; what template and model report.
    pub async fn classify(&mut self, request: &Json, moment: &Moment) -> Result<Vec<LabelScore>> {
        let fields = Field::new("", request).object(CLASSIFY_FIELDS)?;
        let text = fields.need("text")?.string()?;
        let labels = fields.need("labels")?.list()?;
        let labels = labels
            .iter()
            .map(|label| label.string().map(str::to_string));
        let labels: Vec<String> = labels.collect::<Result<_>>()?;
        let calibrate = fields.read("calibrate", Field::bool)?.unwrap_or(true);
        let ranked = match (fields.get("prompt"), fields.get("messages")) {
            (Some(_), Some(messages)) => {
                return Err(messages.invalid("excludes prompt"));
            }
            (None, Some(list)) => {
                let asked = messages::read(&list)?;
                if !asked.iter().any(holds_place) {
                    return Err(list.invalid(format!("must say where the text goes: {PLACE}")));
                }
                let with = |text: &str| -> Vec<Json> {
                    let filled = asked.iter().map(|message| fill(message, text));
                    filled.collect()
                };
                let (full, empty) = (with(text), with(""));
                let render = |messages| RenderRequest {
                    add_generation_prompt: true,
                    ..RenderRequest::new(messages, moment.now)
                };
                let (full, empty) = (render(&full), render(&empty));
                let request = ClassifyRequest::Messages {
                    request: &full,
                    empty: calibrate.then_some(&empty),
                };
                self.session.classify(request, &labels).await?
            }
            (prompt, None) => {
                let template = match &prompt {
                    Some(prompt) => prompt.string()?,
                    None => DEFAULT_PROMPT,
                };
                if let (Some(prompt), false) = (&prompt, template.contains(PLACE)) {
                    return Err(prompt.invalid(format!("must say where the text goes: {PLACE}")));
                }
                let (full, empty) = (template.replace(PLACE, text), template.replace(PLACE, ""));
                let request = ClassifyRequest::Text {
                    prompt: &full,
                    empty: calibrate.then_some(empty.as_str()),
                };
                self.session.classify(request, &labels).await?
            }
        };
        let named = ranked.into_iter().map(|label| LabelScore {
            label: labels.get(label.index).cloned().unwrap_or_default(),
            probability: label.probability,
            logprob: label.logprob,
            empty_logprob: label.empty_logprob,
        });
        Ok(named.collect())
    }
}

fn holds_place(message: &Json) -> bool {
    message["content"]
        .as_str()
        .is_some_and(|content| content.contains(PLACE))
}

fn fill(message: &Json, text: &str) -> Json {
    let mut message = message.clone();
    if let Some(content) = message["content"].as_str() {
        message["content"] = json!(content.replace(PLACE, text));
    }
    message
}
