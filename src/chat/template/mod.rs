//! Messages -> the prompt, by the checkpoint's own template.
//!
//! A [`ChatTemplate`] holds what a checkpoint says about its prompts: one or more named
//! Jinja templates, and its special tokens. [`ChatTemplate::render`] gives the text that
//! transformers' `apply_chat_template` gives, to the byte. [`ChatTemplate::render_spans`]
//! gives the same text cut into control tokens and everything else, where only what the
//! template itself wrote can be a control token: text from a message, a tool's result or
//! a tool's description never is, however it is spelled.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod convert;
mod load;
mod spans;
#[cfg(test)]
mod tests;

pub use super::jinja::LocalTime;
pub use load::{AddedToken, SpecialTokens};
pub use spans::Span;

use serde_json::{Map, Value as Json};

use super::jinja::{Fault, Meter, Program, Text, Value};
use crate::error::{Code, Error, Result};

/// No template is longer: real ones have up to some 30 KB.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Tokens of a template's source.
const MAX_SOURCE_TOKENS: usize = 100_000;
/// Work units every rendering may spend, see `jinja::meter`: four million evaluated
/// nodes, or 64 MB of text, or a mixture.
const BASE_UNITS: u64 = 256_000_000;
/// Work units for each byte of input on top: a kilobyte of text per byte.
const UNITS_PER_BYTE: u64 = 4096;
/// Some templates look back over all messages for each message.
const UNITS_PER_MESSAGE_PAIR: u64 = 2048;
/// What looking back may cost at most.
const MAX_PAIR_UNITS: u64 = 4_000_000_000;

/// The form that stands in for a template where a checkpoint has none but knows
/// ChatML's tokens.
const CHATML: &str = include_str!("fallback_chatml.jinja");
/// The form that stands in where nothing is known.
const PLAIN: &str = include_str!("fallback_plain.jinja");

/// Where a template comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateSource {
    /// The checkpoint brings it.
    Checkpoint,
    /// The checkpoint has none; its vocabulary holds `<|im_start|>`, so ChatML it is.
    ChatMl,
    /// The checkpoint has none: `role: content`, a line each.
    Plain,
}

/// One named template.
struct Variant {
    name: String,
    source: String,
    /// An error waits until the variant is used: others may be fine.
    program: Result<Program>,
}

/// A checkpoint's chat template.
pub struct ChatTemplate {
    variants: Vec<Variant>,
    source: TemplateSource,
    special: SpecialTokens,
    added: Vec<AddedToken>,
    work_limit: Option<u64>,
}

/// What to render.
#[derive(Debug, Clone)]
pub struct RenderRequest<'a> {
    /// The conversation: objects with `role`, `content` and what else templates read,
    /// as transformers takes them (tool calls' `arguments` are objects there; see
    /// [`openai_messages`] for OpenAI's strings).
    pub messages: &'a [Json],
    /// Tool descriptions, OpenAI's `{"type": "function", "function": {..}}`.
    pub tools: Option<&'a [Json]>,
    /// Documents for templates that know retrieval: objects with `title` and `text`.
    pub documents: Option<&'a [Json]>,
    /// Ends the prompt where the assistant is to speak.
    pub add_generation_prompt: bool,
    /// Leaves the last message open, so that the model goes on with it.
    pub continue_final_message: bool,
    /// More variables, such as `enable_thinking`; they win over special tokens.
    pub variables: Option<&'a Map<String, Json>>,
    /// The reader's clock, for templates that write a date.
    pub now: LocalTime,
}

impl<'a> RenderRequest<'a> {
    /// A request for `messages` alone, without a generation prompt.
    pub fn new(messages: &'a [Json], now: LocalTime) -> Self {
        Self {
            messages,
            tools: None,
            documents: None,
            add_generation_prompt: false,
            continue_final_message: false,
            variables: None,
            now,
        }
    }
}

impl ChatTemplate {
    /// A template from its source, with the special tokens it may name.
    ///
    /// # Errors
    /// `template_invalid` where it does not parse, `template_limit` where it is too long
    /// or nested too deep.
    pub fn parse(source: &str, special: SpecialTokens) -> Result<Self> {
        let variant = Variant::new("default", source);
        if let Err(error) = &variant.program {
            return Err(error.clone());
        }
        Ok(Self {
            variants: vec![variant],
            source: TemplateSource::Checkpoint,
            special,
            added: Vec::new(),
            work_limit: None,
        })
    }

    /// Named templates, as a checkpoint may bring several. A source that does not parse
    /// is an error only once it is used.
    pub fn from_variants<N: Into<String>, S: AsRef<str>>(
        variants: impl IntoIterator<Item = (N, S)>,
        special: SpecialTokens,
    ) -> Self {
        let variants = variants.into_iter();
        Self {
            variants: variants
                .map(|(name, source)| Variant::new(name, source.as_ref()))
                .collect(),
            source: TemplateSource::Checkpoint,
            special,
            added: Vec::new(),
            work_limit: None,
        }
    }

    /// The form for a checkpoint without a template: ChatML where its vocabulary holds
    /// `<|im_start|>`, else `role: content`.
    pub fn fallback(special: SpecialTokens, added: Vec<AddedToken>) -> Self {
        let chatml = added.iter().any(|token| token.content == "<|im_start|>");
        let (source, text) = match chatml {
            true => (TemplateSource::ChatMl, CHATML),
            false => (TemplateSource::Plain, PLAIN),
        };
        Self {
            variants: vec![Variant::new("default", text)],
            source,
            special,
            added,
            work_limit: None,
        }
    }

    /// The same template knowing the vocabulary's added tokens, which
    /// [`render_spans`](Self::render_spans) looks for.
    pub fn with_added_tokens(mut self, added: Vec<AddedToken>) -> Self {
        self.added = added;
        self
    }

    /// The same template with another limit on one rendering's work, in units: 64 for an
    /// evaluated node, 4 for a byte of text. Without it the limit is 256 million, and more
    /// for long conversations.
    pub fn with_work_limit(mut self, units: u64) -> Self {
        self.work_limit = Some(units);
        self
    }

    /// Whether the checkpoint brought it, and if not, what stands in.
    pub fn source(&self) -> TemplateSource {
        self.source
    }

    /// The names of the variants, in the checkpoint's order.
    pub fn variants(&self) -> impl Iterator<Item = &str> {
        self.variants.iter().map(|variant| variant.name.as_str())
    }

    /// The checkpoint's named special tokens.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// The Jinja source that a request with or without tools would use.
    ///
    /// # Errors
    /// `template_invalid` where there are several and none is the default.
    pub fn jinja(&self, with_tools: bool) -> Result<&str> {
        self.variant(with_tools).map(|v| v.source.as_str())
    }

    /// The variant transformers would take: `tool_use` when tools are given and there is
    /// one, else `default`, or the only one there is.
    fn variant(&self, with_tools: bool) -> Result<&Variant> {
        let named = |name: &str| self.variants.iter().find(|v| v.name == name);
        let tool_use = if with_tools { named("tool_use") } else { None };
        let only = match self.variants.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        let found = tool_use.or_else(|| named("default")).or(only);
        found.ok_or_else(|| {
            let mut names: Vec<&str> = self.variants().collect();
            names.sort_unstable();
            let names = names.join(", ");
            invalid(format!("several templates and no default: {names}"))
        })
    }

    /// The prompt's text, equal to transformers' `apply_chat_template(tokenize=False)`.
    ///
    /// # Errors
    /// `request_invalid` for messages that are none, `template_raised` with the
    /// template's own message, `template_limit` where it does too much work,
    /// `template_invalid` for everything else that goes wrong in it.
    pub fn render(&self, request: &RenderRequest<'_>) -> Result<String> {
        let (text, _) = self.run(request)?;
        Ok(text.as_str().to_string())
    }

    /// The prompt cut for tokenising: concatenated, the spans are
    /// [`render`](Self::render)'s text. A `trusted` span is one control token that the
    /// template wrote. All other text is to be encoded with control tokens switched off,
    /// each span by itself: a control token separates words anyhow, so for messages that
    /// spell none the ids are those of the text as a whole.
    ///
    /// Every character carries its origin through the template's string operations, so
    /// this does not depend on how the template moves, trims, splits or joins content.
    /// A token counts as the template's when all its characters are, except that a known
    /// role name (`user`, `assistant`, ..) may stand inside one: templates write
    /// `'<|' + message.role + '|>'`. Control tokens are the vocabulary's special tokens,
    /// and its other added tokens that the template spells out.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_spans(&self, request: &RenderRequest<'_>) -> Result<Vec<Span>> {
        let (text, program) = self.run(request)?;
        let literals = program.literals();
        let named = self.special.iter().map(|(_, token)| token);
        let added = self.added.iter().filter(|token| {
            token.special
                || (literals.contains(&token.content)
                    && !token.content.chars().all(char::is_whitespace))
        });
        let control = named.chain(added.map(|token| token.content.as_str()));
        Ok(spans::split(&text, control))
    }

    fn run(&self, request: &RenderRequest<'_>) -> Result<(Text, &Program)> {
        let variant = self.variant(request.tools.is_some())?;
        let program = variant.program.as_ref().map_err(Clone::clone)?;
        let mut prepared = convert::prepare(request, &variant.source)?;
        let meter = Meter::new(self.work_limit.unwrap_or_else(|| budget(request)));
        let text = program.render(
            &mut |name, meter| self.variable(name, request, &prepared.messages, meter),
            request.now,
            meter,
        );
        let text = text.map_err(fault)?;
        let text = match prepared.continued.take() {
            Some(continued) => convert::cut_continued(&text, &continued)?,
            None => text,
        };
        Ok((text, program))
    }

    /// The value of a variable the template mentions.
    fn variable(
        &self,
        name: &str,
        request: &RenderRequest<'_>,
        messages: &[Json],
        meter: &Meter,
    ) -> std::result::Result<Option<Value>, Fault> {
        let given = |list: Option<&[Json]>| match list {
            Some(items) => convert::list(items, meter).map(Some),
            None => Ok(Some(Value::None)),
        };
        match name {
            "messages" => convert::messages(messages, meter).map(Some),
            "tools" => given(request.tools),
            "documents" => given(request.documents),
            "add_generation_prompt" => Ok(Some(Value::Bool(request.add_generation_prompt))),
            _ => {
                if let Some(value) = request.variables.and_then(|given| given.get(name)) {
                    return convert::value(value, meter).map(Some);
                }
                Ok(self.special.get(name).map(Value::template_str))
            }
        }
    }
}

impl Variant {
    fn new(name: impl Into<String>, source: &str) -> Self {
        let program = if source.len() > MAX_SOURCE_BYTES {
            let detail = format!("longer than {MAX_SOURCE_BYTES} bytes");
            Err(Error::new(Code::TemplateLimit, SUBJECT, detail))
        } else {
            Program::compile(source, MAX_SOURCE_TOKENS).map_err(fault)
        };
        Self {
            name: name.into(),
            source: source.to_string(),
            program,
        }
    }
}

/// What errors are about.
const SUBJECT: &str = "chat_template";

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(Code::TemplateInvalid, SUBJECT, detail)
}

fn fault(fault: Fault) -> Error {
    match fault {
        Fault::Raised(message) => Error::new(Code::TemplateRaised, SUBJECT, message),
        Fault::Limit(what) => Error::new(Code::TemplateLimit, SUBJECT, what),
        Fault::Invalid { message, line: 0 } => invalid(message),
        Fault::Invalid { message, line } => invalid(format!("line {line}: {message}")),
    }
}

/// What a rendering may spend: more for more input, but never without bound.
fn budget(request: &RenderRequest<'_>) -> u64 {
    let lists = [Some(request.messages), request.tools, request.documents];
    let input: u64 = lists.into_iter().flatten().map(convert::size_bytes).sum();
    let variables = request.variables.into_iter().flat_map(Map::values);
    let input = input + variables.map(convert::value_bytes).sum::<u64>();
    let pairs = (request.messages.len() as u64).saturating_pow(2);
    BASE_UNITS
        .saturating_add(input.saturating_mul(UNITS_PER_BYTE))
        .saturating_add(
            pairs
                .saturating_mul(UNITS_PER_MESSAGE_PAIR)
                .min(MAX_PAIR_UNITS),
        )
}

/// OpenAI's messages in the form templates expect: a tool call's `arguments`, which
/// OpenAI's interface writes as a string of JSON, become the object it spells. Strings
/// that spell no object stay.
pub fn openai_messages(messages: &[Json]) -> Vec<Json> {
    let mut messages = messages.to_vec();
    for message in &mut messages {
        let calls = message.get_mut("tool_calls").and_then(Json::as_array_mut);
        for call in calls.into_iter().flatten() {
            let Some(arguments) = call.pointer_mut("/function/arguments") else {
                continue;
            };
            let parsed = arguments.as_str().map(serde_json::from_str::<Json>);
            if let Some(Ok(object @ Json::Object(_))) = parsed {
                *arguments = object;
            }
        }
    }
    messages
}
