//! What a run is given.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::agent::policy::{Grant, Limits};
use crate::agent::strategy::Style;
use crate::agent::tool::Manifest;
use crate::agent::trust::{Source, Taint};
use crate::error::{Code, Error, Result};

/// What a run is given. It hangs on nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// `tools`, `react` or `rewoo`.
    pub strategy: String,
    /// The conversation, as OpenAI's messages. A message may say who wrote it (`source`:
    /// `person`, `page`, `model`, `file:NAME`, `memory:NAME`, `web:ORIGIN`, `tool:NAME`);
    /// otherwise its role does.
    pub messages: Vec<Json>,
    /// What may be called.
    pub tools: Vec<Manifest>,
    /// Fields of every request to the model: temperature, seed and the like.
    #[serde(default)]
    pub request: Map<String, Json>,
    /// How the model is to be spoken to.
    #[serde(default)]
    pub style: Style,
    /// How long it may go on.
    #[serde(default)]
    pub budget: Budget,
    /// Bounds on the network and on results.
    #[serde(default)]
    pub limits: Limits,
    /// What the person allowed before.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// What was read before: `taint` of the outcome of the run before.
    #[serde(default)]
    pub taint: Taint,
    /// A number of chance: marks around foreign results and ids of calls come of it.
    #[serde(default)]
    pub chance: u64,
    /// The host of the page that tools' requests come from, where they come from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_host: Option<String>,
    /// Origins on this machine that count as public ones: for tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loopback: Vec<String>,
}

/// How long a run may go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Questions to the model.
    pub max_steps: usize,
    /// Tokens that it may write in all.
    pub max_tokens: u64,
    /// Time, in milliseconds.
    pub max_time_ms: f64,
    /// Calls of tools in all.
    pub max_calls: usize,
    /// Calls of one reply.
    pub max_parallel_calls: usize,
    /// Errors that the model may mend.
    pub max_mends: usize,
    /// How often the same call may be made with the same arguments.
    pub max_repeats: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max_steps: 10,
            max_tokens: 8192,
            max_time_ms: 300_000.0,
            max_calls: 24,
            max_parallel_calls: 8,
            max_mends: 4,
            max_repeats: 2,
        }
    }
}

/// A message as engines take it, and who wrote it.
pub(super) fn read_message(path: &str, message: &Json) -> Result<(Json, Source)> {
    let invalid = |field: &str, detail: &str| {
        Err(Error::new(
            Code::RequestInvalid,
            format!("{path}.{field}"),
            detail,
        ))
    };
    let mut message = message.clone();
    let Some(map) = message.as_object_mut() else {
        return Err(Error::new(Code::RequestInvalid, path, "must be an object"));
    };
    let said = map.shift_remove("source");
    // Parts of text become one text: everything after reads strings.
    if let Some(parts) = map.get("content").and_then(Json::as_array) {
        let mut text = String::new();
        for part in parts {
            match part["text"].as_str() {
                Some(more) => text.push_str(more),
                None => return invalid("content", "may hold text parts only"),
            }
        }
        map.insert("content".to_string(), text.into());
    }
    let by_role = match map.get("role").and_then(Json::as_str) {
        Some("user") => Source::Person,
        Some("system" | "developer") => Source::Page,
        Some("assistant") => Source::Model,
        Some("tool") => Source::Tool("earlier".to_string()),
        _ => return invalid("role", "must be system, developer, user, assistant or tool"),
    };
    let source = match said {
        None | Some(Json::Null) => by_role,
        Some(said) => match serde_json::from_value::<Source>(said) {
            Ok(source) => source,
            Err(_) => return invalid("source", "is no source"),
        },
    };
    Ok((message, source))
}
