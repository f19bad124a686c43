//! A request's JSON -> what is asked for, checked to the last field.
//!
//! Fields and defaults are OpenAI's (temperature and top_p 1, a seed of chance); those
//! that are Tandem's own are `top_k`, `min_p`, `typical_p`, `repetition_penalty`, `dry`,
//! `ignore_eos`, `reasoning_effort`'s effect on templates, `chat_template_kwargs`,
//! `speculation`, `context_overflow`, and `response_format`'s `regex`, `grammar` and `choice`. Fields without an effect here are accepted only where
//! that is harmless: [`IGNORED_FIELDS`].

use serde_json::{Map, Value as Json};

use super::fields::{Field, Fields, invalid};
use super::overflow::{self, Overflow};
use super::sampling::{self, Sampling};
use super::speculation::{self, Speculating};
use super::tools::{Tool, ToolChoice, read_choice, read_tools};
use super::{format, messages};
use crate::decode::constraint::ConstraintSpec;
use crate::error::Result;

/// Fields that are read, checked for their type, and change nothing: labels for whoever
/// stores or bills requests, which nobody does here.
pub const IGNORED_FIELDS: &[&str] = &[
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
];

/// Fields of OpenAI's that would change the reply and cannot be done here: an error.
pub const REFUSED_FIELDS: &[&str] = &[
    "audio",
    "function_call",
    "functions",
    "prediction",
    "verbosity",
    "web_search_options",
];

/// The fields of a chat completion's request.
pub const CHAT_FIELDS: &[&str] = &[
    "messages",
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "dry",
    "ignore_eos",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "chat_template_kwargs",
    "modalities",
    "context_overflow",
    "speculation",
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "audio",
    "function_call",
    "functions",
    "prediction",
    "verbosity",
    "web_search_options",
];

/// The fields of a text completion's request.
pub const COMPLETION_FIELDS: &[&str] = &[
    "prompt",
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "stop",
    "max_tokens",
    "n",
    "best_of",
    "echo",
    "suffix",
    "logprobs",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "dry",
    "ignore_eos",
    "response_format",
    "speculation",
    "user",
];

const STREAM_OPTIONS_FIELDS: &[&str] = &["include_usage", "include_obfuscation"];

/// The most likely tokens that can be reported at each position.
pub const MAX_TOP_LOGPROBS: usize = 20;
/// The most choices of one request.
pub const MAX_CHOICES: usize = 128;
/// What `completions` makes where nothing is said, as OpenAI has it.
const COMPLETION_MAX_TOKENS: usize = 16;

/// What both kinds of request share.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// The model asked for, by name.
    pub model: Option<String>,
    /// Whether the reply comes in pieces.
    pub stream: bool,
    /// Whether the last piece says what was used.
    pub include_usage: bool,
    /// At most this many tokens.
    pub max_tokens: Option<usize>,
    /// How tokens are drawn, but for the seed.
    pub sampling: Sampling,
    /// Whether the reply goes on where the model would end it.
    pub ignore_eos: bool,
    /// The seed; chance where there is none.
    pub seed: Option<u64>,
    /// Texts that end the reply.
    pub stop: Vec<String>,
    /// How many replies.
    pub n: usize,
    /// How many of the likeliest tokens to report at each position; `None` for no
    /// log-probabilities at all.
    pub logprobs: Option<usize>,
    /// What the reply must look like.
    pub format: Option<ConstraintSpec>,
    /// How to speculate.
    pub speculating: Speculating,
}

/// A request for `chat.completions`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// What is not about chat.
    pub common: Common,
    /// The conversation, as chat templates take it.
    pub messages: Vec<Json>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it calls.
    pub tool_choice: ToolChoice,
    /// Whether it may call more than once in a reply.
    pub parallel_tool_calls: bool,
    /// Variables for the chat template.
    pub variables: Map<String, Json>,
    /// What to do where the conversation does not fit the context.
    pub overflow: Overflow,
}

/// What a text completion goes on from.
#[derive(Debug, Clone, PartialEq)]
pub enum CompletionPrompt {
    /// Text.
    Text(String),
    /// Tokens.
    Ids(Vec<u32>),
}

/// A request for `completions`.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// What is not about text completion.
    pub common: Common,
    /// What to go on from; `n` replies to each.
    pub prompts: Vec<CompletionPrompt>,
    /// Whether the reply begins with the prompt's text.
    pub echo: bool,
}

impl ChatRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// `request_invalid`, naming the place.
    pub fn read(request: &Json) -> Result<Self> {
        let fields = Field::new("", request);
        let fields = root(&fields, CHAT_FIELDS)?;
        fields.refuse(REFUSED_FIELDS)?;
        read_ignored(&fields)?;
        fields.read("modalities", |modalities| {
            for modality in modalities.list()? {
                modality.one_of(&[("text", ())])?;
            }
            Ok(())
        })?;
        let messages = messages::read(&fields.need("messages")?)?;
        let tools = fields.read("tools", read_tools)?.unwrap_or_default();
        let tool_choice = fields.read("tool_choice", |choice| read_choice(choice, &tools))?;
        let parallel = fields.read("parallel_tool_calls", Field::bool)?;
        let overflow = fields.read("context_overflow", |policy| {
            overflow::read(policy, messages.len())
        })?;
        Ok(Self {
            common: Common {
                max_tokens: max_tokens(&fields)?,
                logprobs: chat_logprobs(&fields)?,
                ..common(&fields)?
            },
            messages,
            tool_choice: tool_choice.unwrap_or_default(),
            tools,
            parallel_tool_calls: parallel.unwrap_or(true),
            variables: variables(&fields)?,
            overflow: overflow.unwrap_or_default(),
        })
    }

    /// Whether thinking is switched off, by `reasoning_effort` or in the template's own
    /// words.
    pub fn forbids_thought(&self) -> bool {
        let is_off = |name| self.variables.get(name) == Some(&Json::Bool(false));
        is_off("enable_thinking") || is_off("thinking")
    }

    /// The tools that the model is told of.
    pub fn offered_tools(&self) -> &[Tool] {
        match self.tool_choice {
            ToolChoice::None => &[],
            _ => &self.tools,
        }
    }
}

impl CompletionRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// `request_invalid`, naming the place.
    pub fn read(request: &Json) -> Result<Self> {
        let fields = Field::new("", request);
        let fields = root(&fields, COMPLETION_FIELDS)?;
        fields.refuse(&["suffix"])?;
        fields.read("user", Field::string)?;
        let prompts = read_prompts(&fields.need("prompt")?)?;
        let max_tokens = fields.read("max_tokens", |max| max.count(1, usize::MAX))?;
        let logprobs = fields.read("logprobs", |top| top.count(0, MAX_TOP_LOGPROBS))?;
        let common = Common {
            max_tokens: Some(max_tokens.unwrap_or(COMPLETION_MAX_TOKENS)),
            logprobs,
            ..common(&fields)?
        };
        if let Some(best_of) = fields.get("best_of")
            && best_of.count(1, MAX_CHOICES)? != common.n
        {
            return Err(best_of.invalid("must be as n is: this engine ranks no replies"));
        }
        let echo = fields.read("echo", Field::bool)?.unwrap_or(false);
        if let (true, Some(logprobs)) = (echo, fields.get("logprobs")) {
            let detail = "cannot be had with echo: `score` gives a text's log-probabilities";
            return Err(logprobs.invalid(detail));
        }
        Ok(Self {
            common,
            prompts,
            echo,
        })
    }
}

/// Why unknown fields are an error, once, where they are most likely.
fn root<'a>(request: &Field<'a>, known: &'static [&'static str]) -> Result<Fields<'a>> {
    if !request.value.is_object() {
        return Err(invalid("request", "must be a JSON object"));
    }
    request.object(known)
}

fn read_ignored(fields: &Fields<'_>) -> Result<()> {
    for name in IGNORED_FIELDS {
        match *name {
            "metadata" => fields.read(name, |map| map.map().map(|_| ()))?,
            "store" => fields.read(name, |store| store.bool().map(|_| ()))?,
            _ => fields.read(name, |text| text.string().map(|_| ()))?,
        };
    }
    Ok(())
}

/// All but `max_tokens` and `logprobs`, which differ.
fn common(fields: &Fields<'_>) -> Result<Common> {
    let stream = fields.read("stream", Field::bool)?.unwrap_or(false);
    let include_usage = fields.read("stream_options", |options| {
        if !stream {
            return Err(options.invalid("is for streams: `stream` is not true"));
        }
        let fields = options.object(STREAM_OPTIONS_FIELDS)?;
        fields.read("include_obfuscation", Field::bool)?;
        fields.read("include_usage", Field::bool)
    })?;
    let seed = fields.read("seed", |seed| seed.integer(i64::MIN, i64::MAX))?;
    let n = fields.read("n", |n| n.count(1, MAX_CHOICES))?;
    Ok(Common {
        model: fields.read("model", Field::string)?.map(str::to_string),
        stream,
        include_usage: include_usage.flatten().unwrap_or(false),
        max_tokens: None,
        sampling: sampling::read(fields)?,
        ignore_eos: fields.read("ignore_eos", Field::bool)?.unwrap_or(false),
        seed: seed.map(|seed| seed as u64),
        stop: fields.read("stop", read_stop)?.unwrap_or_default(),
        n: n.unwrap_or(1),
        logprobs: None,
        format: fields.read("response_format", format::read)?.flatten(),
        speculating: fields
            .read("speculation", speculation::read)?
            .unwrap_or_default(),
    })
}

fn max_tokens(fields: &Fields<'_>) -> Result<Option<usize>> {
    let read = |name| fields.read(name, |max: &Field<'_>| max.count(1, usize::MAX));
    let (old, new) = (read("max_tokens")?, read("max_completion_tokens")?);
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(invalid(
            "max_completion_tokens",
            format!("is {new}, but max_tokens is {old}: they are the same"),
        )),
        (old, new) => Ok(new.or(old)),
    }
}

fn chat_logprobs(fields: &Fields<'_>) -> Result<Option<usize>> {
    let wanted = fields.read("logprobs", Field::bool)?.unwrap_or(false);
    let top = fields.get("top_logprobs");
    match (wanted, top) {
        (false, Some(top)) if top.count(0, MAX_TOP_LOGPROBS)? > 0 => {
            Err(top.invalid("needs `logprobs` to be true"))
        }
        (false, _) => Ok(None),
        (true, None) => Ok(Some(0)),
        (true, Some(top)) => top.count(0, MAX_TOP_LOGPROBS).map(Some),
    }
}

fn read_stop(stop: &Field<'_>) -> Result<Vec<String>> {
    let list = match stop.value.is_array() {
        true => stop.list()?,
        false => vec![stop.clone()],
    };
    let one = |stop: Field<'_>| match stop.string()? {
        "" => Err(stop.invalid("is empty, and would stop every reply at once")),
        text => Ok(text.to_string()),
    };
    list.into_iter().map(one).collect()
}

/// What the template sees beside messages and tools.
fn variables(fields: &Fields<'_>) -> Result<Map<String, Json>> {
    let given = fields.read("chat_template_kwargs", Field::map)?;
    let mut variables = given.cloned().unwrap_or_default();
    // Not OpenAI's words alone: templates have their own.
    if let Some(effort) = fields.read("reasoning_effort", Field::string)? {
        let think = effort != "none";
        for (name, value) in [
            ("reasoning_effort", Json::from(effort)),
            ("enable_thinking", Json::from(think)),
        ] {
            variables.entry(name).or_insert(value);
        }
    }
    Ok(variables)
}

fn read_prompts(prompt: &Field<'_>) -> Result<Vec<CompletionPrompt>> {
    let ids = |field: &Field<'_>| -> Result<CompletionPrompt> {
        let ids = field.list()?;
        let ids = ids.iter().map(|id| id.count(0, u32::MAX as usize));
        let ids = ids.map(|id| id.map(|id| id as u32));
        Ok(CompletionPrompt::Ids(ids.collect::<Result<_>>()?))
    };
    if let Some(text) = prompt.value.as_str() {
        return Ok(vec![CompletionPrompt::Text(text.to_string())]);
    }
    if !prompt.value.is_array() {
        return Err(prompt.invalid("must be a string, a list of token ids, or a list of those"));
    }
    let list = prompt.list()?;
    match list.first() {
        None => Err(prompt.invalid("holds no prompt")),
        Some(first) if first.value.is_number() => Ok(vec![ids(prompt)?]),
        Some(_) if list.len() > MAX_CHOICES => {
            Err(prompt.invalid(format!("holds more than {MAX_CHOICES} prompts")))
        }
        Some(_) => list
            .iter()
            .map(|prompt| match prompt.value.is_array() {
                true => ids(prompt),
                false => Ok(CompletionPrompt::Text(prompt.string()?.to_string())),
            })
            .collect(),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
