//! A request's JSON -> the values a template sees.

use serde_json::Value as Json;

use super::{RenderRequest, SUBJECT};
use crate::chat::jinja::{Fault, Meter, Origin, Text, Value, new_list};
use crate::error::{Code, Error, Result};

/// Roles that may stand inside a control token, see
/// [`render_spans`](super::ChatTemplate::render_spans).
const ROLES: [&str; 17] = [
    "assistant",
    "bot",
    "context",
    "critic",
    "developer",
    "environment",
    "function",
    "gpt",
    "human",
    "ipython",
    "model",
    "observation",
    "system",
    "tool",
    "tool_response",
    "tool_results",
    "user",
];

/// The names a message's reasoning goes by; templates read the first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Marks the end of a message that is to be continued, as transformers marks it.
const CONTINUE_TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// JSON nested deeper than this is refused before it can nest the stack.
const MAX_JSON_DEPTH: usize = 90;

/// A request's messages as the template gets them.
pub(super) struct Prepared {
    pub(super) messages: Vec<Json>,
    /// The text to be continued, where one is.
    pub(super) continued: Option<String>,
}

fn refused(detail: impl Into<String>) -> Error {
    Error::new(Code::RequestInvalid, "messages", detail)
}

/// Checks the messages and brings them into the form transformers hands to a template:
/// entries that are null are left out, reasoning goes by every name it is known by.
pub(super) fn prepare(request: &RenderRequest<'_>, source: &str) -> Result<Prepared> {
    if request.messages.is_empty() {
        return Err(refused("there has to be one message at least"));
    }
    for (name, list) in [("tools", request.tools), ("documents", request.documents)] {
        if let Some(at) = list.and_then(|list| list.iter().position(|item| !item.is_object())) {
            let detail = format!("item {at} is not an object");
            return Err(Error::new(Code::RequestInvalid, name, detail));
        }
    }
    let mut messages = Vec::with_capacity(request.messages.len());
    for (at, message) in request.messages.iter().enumerate() {
        let Json::Object(fields) = message else {
            return Err(refused(format!("message {at} is not an object")));
        };
        let mut fields = fields.clone();
        fields.retain(|_, value| !value.is_null());
        let reasoning = REASONING.iter().find_map(|name| fields.get(*name)).cloned();
        if let Some(reasoning) = reasoning {
            let mut aliased = serde_json::Map::new();
            aliased.insert("thinking".into(), reasoning.clone());
            aliased.extend(fields);
            aliased.insert("reasoning_content".into(), reasoning);
            fields = aliased;
        }
        messages.push(Json::Object(fields));
    }
    let mut continued = None;
    if request.continue_final_message {
        if request.add_generation_prompt {
            let detail = "excludes add_generation_prompt";
            let subject = "continue_final_message";
            return Err(Error::new(Code::RequestInvalid, subject, detail));
        }
        if !source.contains("content") {
            return Err(refused("the chat template does not read \"content\""));
        }
        continued = messages.last_mut().map(tag_final).transpose()?;
    }
    Ok(Prepared {
        messages,
        continued,
    })
}

/// Appends the tag to the text of the last message and returns the text without it.
fn tag_final(message: &mut Json) -> Result<String> {
    let nothing = || refused("the final message has no text to continue");
    let text = match message.get_mut("content") {
        Some(Json::Array(parts)) => parts
            .iter_mut()
            .rev()
            .find_map(|part| part.get_mut("text"))
            .ok_or_else(nothing)?,
        Some(content) => content,
        None => return Err(nothing()),
    };
    let Json::String(text) = text else {
        return Err(nothing());
    };
    let original = text.clone();
    text.push_str(CONTINUE_TAG);
    Ok(original)
}

/// Cuts the rendered text where the message to be continued ends.
pub(super) fn cut_continued(text: &Text, message: &str) -> Result<Text> {
    let raw = text.as_str();
    let at = raw.rfind(CONTINUE_TAG.trim_end());
    let Some(at) = at.filter(|_| raw.contains(message.trim())) else {
        let detail = "the final message is not in the prompt as it was given: \
            this template cannot continue it";
        return Err(Error::new(Code::RequestInvalid, SUBJECT, detail));
    };
    let kept = text.slice(0..at);
    if raw
        .get(at..)
        .is_some_and(|rest| rest.starts_with(CONTINUE_TAG))
    {
        return Ok(kept);
    }
    // The template trimmed the tag's space, and so the message's own.
    Ok(kept.part(kept.as_str().trim_end()))
}

/// The messages, with the origin of roles set apart.
pub(super) fn messages(messages: &[Json], meter: &Meter) -> std::result::Result<Value, Fault> {
    let mut items = Vec::with_capacity(messages.len());
    for message in messages {
        let Json::Object(fields) = message else {
            continue;
        };
        let mut entries = Vec::with_capacity(fields.len());
        for (key, field) in fields {
            let known = field.as_str().filter(|role| ROLES.contains(role));
            let converted = match (key.as_str(), known) {
                ("role", Some(role)) => Value::Str(Text::new(role, Origin::Role)),
                _ => convert(field, meter, 2)?,
            };
            entries.push((data(key, meter)?, converted));
        }
        items.push(Value::dict(entries, meter)?);
    }
    new_list(items, meter).map(Value::List)
}

pub(super) fn list(items: &[Json], meter: &Meter) -> std::result::Result<Value, Fault> {
    let items = items.iter().map(|item| convert(item, meter, 1));
    let items = items.collect::<std::result::Result<Vec<_>, _>>()?;
    new_list(items, meter).map(Value::List)
}

pub(super) fn value(json: &Json, meter: &Meter) -> std::result::Result<Value, Fault> {
    convert(json, meter, 0)
}

fn data(text: &str, meter: &Meter) -> std::result::Result<Value, Fault> {
    meter.bytes(text.len())?;
    Ok(Value::Str(Text::new(text, Origin::Data)))
}

fn convert(json: &Json, meter: &Meter, depth: usize) -> std::result::Result<Value, Fault> {
    if depth > MAX_JSON_DEPTH {
        return Err(Fault::Limit("the request's JSON is nested too deep"));
    }
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value.into()),
            (_, Some(value)) => Value::Int(value.into()),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => data(text, meter)?,
        Json::Array(items) => {
            let mut converted = Vec::with_capacity(items.len());
            for item in items {
                converted.push(convert(item, meter, depth + 1)?);
            }
            new_list(converted, meter).map(Value::List)?
        }
        Json::Object(fields) => {
            let mut entries = Vec::with_capacity(fields.len());
            for (key, field) in fields {
                entries.push((data(key, meter)?, convert(field, meter, depth + 1)?));
            }
            Value::dict(entries, meter)?
        }
    })
}

/// About how many bytes the JSON has.
pub(super) fn size_bytes(items: &[Json]) -> u64 {
    items.iter().map(value_bytes).sum()
}

/// About how many bytes a value has. Walks a list of its own instead of recursing:
/// this runs before the depth is checked.
pub(super) fn value_bytes(json: &Json) -> u64 {
    let mut total = 0u64;
    let mut pending = vec![json];
    while let Some(json) = pending.pop() {
        total += 8;
        match json {
            Json::String(text) => total += text.len() as u64,
            Json::Array(items) => pending.extend(items),
            Json::Object(fields) => {
                for (key, field) in fields {
                    total += key.len() as u64;
                    pending.push(field);
                }
            }
            _ => {}
        }
    }
    total
}
