//! What a tool says of itself: a manifest.
//!
//! ```json
//! { "name": "encyclopedia", "description": "The first paragraph of an article",
//!   "parameters": { "type": "object", "properties": { "title": { "type": "string" } }, "required": ["title"] },
//!   "origins": ["https://en.wikipedia.org"],
//!   "requests": [{ "name": "summary", "url": "https://en.wikipedia.org/api/rest_v1/page/summary/{title}",
//!                  "slots": { "title": { "type": "text", "max_chars": 120 } } }],
//!   "code": "..." }
//! ```
//!
//! A tool that needs the network lists its requests as templates with typed slots: its
//! code names one and fills the slots, and never writes an address itself. A tool that
//! lists none reaches nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::address::{Address, Origin, encode_component};
use super::policy::Refusal;
use super::schema::{check_schema, misfit};
use crate::error::{Code, Error, Result};

/// Stands in `origins` for "any": the person is asked for every single address, or wrote
/// it.
pub const ANY_ORIGIN: &str = "*";

/// Most bytes of a tool's code.
const MAX_CODE_BYTES: usize = 2 << 20;
const MAX_NAME_CHARS: usize = 64;
const MAX_DESCRIPTION_CHARS: usize = 1024;
const MAX_ORIGINS: usize = 16;
const MAX_REQUESTS: usize = 16;
const MAX_SLOTS: usize = 12;
/// Most characters of a text slot, whatever the manifest says.
const MAX_SLOT_CHARS: usize = 512;

/// A tool's declaration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Letters, digits, `_` and `-`.
    pub name: String,
    /// For the model.
    pub description: String,
    /// The JSON schema of the arguments, in the part that [`super::schema`] enforces.
    pub parameters: Json,
    /// Exactly those origins that the tool's requests go to, or [`ANY_ORIGIN`] alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// What the tool may ask of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Template>,
    /// Whether its results hold what is the person's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_private: bool,
    /// Whether its results hold what somebody else may have written, though it reached no
    /// network under this policy: a tool that the page itself runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_foreign: bool,
    /// What its results are.
    #[serde(default)]
    pub result: ResultKind,
    /// JavaScript that runs in the sandbox; absent for a tool that the page itself runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What a tool's results are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultKind {
    /// Text or JSON.
    #[default]
    Text,
    /// A web page, of which a model reads the text.
    Html,
}

/// How a request is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "HTTP's own names")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Whether it only reads.
    pub fn only_reads(self) -> bool {
        matches!(self, Method::Get | Method::Head)
    }
}

/// A request with slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// What the tool's code calls it by.
    pub name: String,
    /// How it is made.
    #[serde(default)]
    pub method: Method,
    /// The address; `{slot}` may stand in its path and query. `{slot}` alone, of type
    /// `url`, is any address.
    pub url: String,
    /// What may stand in the slots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<String, Slot>,
    /// The body's type, where there is one; only methods that change something have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyKind>,
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyKind {
    /// `application/json`.
    Json,
    /// `text/plain`.
    Text,
}

/// What may stand in a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Slot {
    /// A number, rounded to `decimals`.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// Digits behind the point; 4.
        #[serde(default = "four")]
        decimals: u8,
    },
    /// A whole number.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// One of a list.
    Choice {
        /// The list.
        of: Vec<String>,
    },
    /// Any text.
    Text {
        /// Most characters.
        max_chars: usize,
    },
    /// A whole address.
    Url,
}

fn four() -> u8 {
    4
}

impl Slot {
    /// Whether its values are few enough that nothing can be smuggled out in them.
    pub fn is_closed(&self) -> bool {
        matches!(
            self,
            Slot::Number { .. } | Slot::Integer { .. } | Slot::Choice { .. }
        )
    }

    /// A value as it stands in an address, before encoding; `None` where it does not fit.
    pub fn write(&self, value: &Json) -> Option<String> {
        let number = || match value {
            Json::String(text) => text.trim().parse::<f64>().ok(),
            value => value.as_f64(),
        };
        match self {
            Slot::Number { min, max, decimals } => {
                let number = number().filter(|x| (*min..=*max).contains(x))?;
                let text = format!("{number:.*}", usize::from(*decimals));
                let short = match text.contains('.') {
                    true => text.trim_end_matches('0').trim_end_matches('.'),
                    false => &text,
                };
                Some(if short == "-0" { "0" } else { short }.to_string())
            }
            Slot::Integer { min, max } => {
                let number = number().filter(|x| x.fract() == 0.0 && x.abs() < 9e15)? as i64;
                (*min..=*max).contains(&number).then(|| number.to_string())
            }
            Slot::Choice { of } => {
                let text = value.as_str()?;
                of.iter()
                    .any(|choice| choice == text)
                    .then(|| text.to_string())
            }
            Slot::Text { max_chars } => {
                let text = match value {
                    Json::String(text) => text.clone(),
                    Json::Number(number) => number.to_string(),
                    _ => return None,
                };
                let fits = (1..=*max_chars.min(&MAX_SLOT_CHARS)).contains(&text.chars().count());
                let hidden = |c: char| super::trust::is_hidden(c) || c.is_control();
                (fits && !text.chars().any(hidden)).then_some(text)
            }
            Slot::Url => value.as_str().map(str::to_string),
        }
    }
}

/// A template whose slots are filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// Where it goes.
    pub address: Address,
    /// The slots, as they were written.
    pub slots: Vec<FilledSlot>,
}

/// A slot that is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledSlot {
    /// Its name.
    pub name: String,
    /// What stands in it, before encoding.
    pub text: String,
    /// Whether its values are few.
    pub is_closed: bool,
}

impl Template {
    /// Fills the slots.
    ///
    /// # Errors
    /// `slot` and which one: missing, unknown, or out of its type; or what is wrong with the
    /// address that comes of it.
    pub fn fill(
        &self,
        values: &Map<String, Json>,
        loopback: &[Origin],
    ) -> std::result::Result<Filled, (Refusal, String)> {
        let refuse = |what: String| (Refusal::Slot, what);
        if let Some(name) = values.keys().find(|name| !self.slots.contains_key(*name)) {
            return Err(refuse(format!("{name:?} is no slot of {:?}", self.name)));
        }
        let mut slots = Vec::with_capacity(self.slots.len());
        for (name, slot) in &self.slots {
            let value = values.get(name);
            let value = value.ok_or_else(|| refuse(format!("{name:?} is missing")))?;
            let text = slot
                .write(value)
                .ok_or_else(|| refuse(format!("{name:?} cannot be {value}")))?;
            slots.push(FilledSlot {
                name: name.clone(),
                text,
                is_closed: slot.is_closed(),
            });
        }
        let whole = self.whole_url_slot().is_some();
        let mut url = self.url.clone();
        for slot in &slots {
            let text = match whole {
                true => slot.text.clone(),
                false => encode_component(&slot.text),
            };
            // An encoded value holds no brace, so that no value names another slot.
            url = url.replace(&format!("{{{}}}", slot.name), &text);
        }
        let address = Address::parse(&url, loopback)
            .map_err(|refusal| (refusal, format!("{} of {:?}", refusal.why(), self.name)))?;
        // What a parser would change (`..` in a path) is not what the template says.
        if !whole && address.href() != url {
            return Err(refuse(format!(
                "a slot of {:?} would change the address's path",
                self.name
            )));
        }
        Ok(Filled { address, slots })
    }

    /// The slot that is the whole address, where one is.
    pub fn whole_url_slot(&self) -> Option<&str> {
        let name = self.url.strip_prefix('{')?.strip_suffix('}')?;
        matches!(self.slots.get(name), Some(Slot::Url)).then_some(name)
    }

    fn check(&self, path: &str, origins: &[String], loopback: &[Origin]) -> Result<()> {
        let invalid = |field: &str, detail: &str| {
            Err(Error::new(
                Code::RequestInvalid,
                format!("{path}.{field}"),
                detail,
            ))
        };
        if self.name.is_empty() || !self.name.chars().all(is_name_char) {
            return invalid("name", "must be letters, digits, underscores and dashes");
        }
        if self.slots.len() > MAX_SLOTS {
            return invalid("slots", "are too many");
        }
        if self.body.is_some() && self.method.only_reads() {
            return invalid("body", "cannot be sent with this method");
        }
        for (name, slot) in &self.slots {
            let sound = match slot {
                Slot::Number { min, max, decimals } => min <= max && *decimals <= 6,
                Slot::Integer { min, max } => min <= max,
                Slot::Choice { of } => !of.is_empty(),
                Slot::Text { max_chars } => *max_chars > 0,
                Slot::Url => self.whole_url_slot() == Some(name),
            };
            if !sound || !name.chars().all(is_name_char) {
                return invalid(&format!("slots.{name}"), "is not a slot that can be filled");
            }
            if !self.url.contains(&format!("{{{name}}}")) {
                return invalid(&format!("slots.{name}"), "does not stand in the address");
            }
        }
        if self.whole_url_slot().is_some() {
            return match origins {
                [any] if any == ANY_ORIGIN => Ok(()),
                _ => invalid("url", "is any address, so `origins` must be [\"*\"]"),
            };
        }
        // With something harmless in every slot it has to be an address already.
        let mut example = self.url.clone();
        for name in self.slots.keys() {
            example = example.replace(&format!("{{{name}}}"), "x");
        }
        let address = match Address::parse(&example, loopback) {
            Ok(address) if address.href() == example => address,
            Ok(address) => {
                return invalid("url", &format!("must be written as {}", address.href()));
            }
            Err(refusal) => return invalid("url", refusal.why()),
        };
        let host_end =
            example.len() - address.path().len() - address.query().map_or(0, |q| q.len() + 1);
        if self.url.find('{').is_some_and(|at| at < host_end) {
            return invalid("url", "may have slots in path and query only");
        }
        if !origins
            .iter()
            .any(|origin| origin == address.origin().as_str())
        {
            return invalid("url", "goes to an origin that `origins` does not list");
        }
        Ok(())
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

impl Manifest {
    /// Checks the whole declaration; `path` is what errors call it, `loopback` origins on
    /// this machine that a test allows.
    ///
    /// # Errors
    /// `request_invalid` naming the field.
    pub fn check(&self, path: &str, loopback: &[Origin]) -> Result<()> {
        let invalid = |field: &str, detail: &str| {
            Err(Error::new(
                Code::RequestInvalid,
                format!("{path}.{field}"),
                detail,
            ))
        };
        if self.name.is_empty()
            || self.name.len() > MAX_NAME_CHARS
            || !self.name.chars().all(is_name_char)
        {
            return invalid(
                "name",
                "must be 1 to 64 letters, digits, underscores and dashes",
            );
        }
        if self.description.chars().count() > MAX_DESCRIPTION_CHARS {
            return invalid("description", "is too long");
        }
        if self
            .description
            .chars()
            .any(|c| super::trust::is_hidden(c) || (c.is_control() && c != '\n'))
        {
            return invalid("description", "holds characters that cannot be seen");
        }
        check_schema(&format!("{path}.parameters"), &self.parameters)?;
        if self
            .code
            .as_ref()
            .is_some_and(|code| code.len() > MAX_CODE_BYTES)
        {
            return invalid("code", "is too long");
        }
        if self.origins.len() > MAX_ORIGINS || self.requests.len() > MAX_REQUESTS {
            return invalid("requests", "are too many");
        }
        let any = self.origins.iter().any(|origin| origin == ANY_ORIGIN);
        if any && self.origins.len() > 1 {
            return invalid("origins", "cannot be \"*\" and others");
        }
        for (i, origin) in self.origins.iter().enumerate().filter(|_| !any) {
            if let Err(refusal) = Origin::parse(origin, loopback) {
                return invalid(&format!("origins[{i}]"), refusal.why());
            }
        }
        for (i, template) in self.requests.iter().enumerate() {
            template.check(&format!("{path}.requests[{i}]"), &self.origins, loopback)?;
            if self
                .requests
                .iter()
                .take(i)
                .any(|other| other.name == template.name)
            {
                return invalid(&format!("requests[{i}].name"), "stands twice");
            }
        }
        Ok(())
    }

    /// The tool in OpenAI's form.
    pub fn describe(&self) -> Json {
        json!({
            "type": "function",
            "function": { "name": self.name, "description": self.description, "parameters": self.parameters },
        })
    }

    /// What is wrong with a call's arguments, in words for the model.
    pub fn misfit(&self, arguments: &Json) -> Option<String> {
        misfit(&self.parameters, arguments)
    }

    /// The name of the only argument, where there is one: models that write plain text
    /// mean it.
    pub fn only_argument(&self) -> Option<&str> {
        let properties = self.parameters["properties"].as_object()?;
        match properties.len() {
            1 => properties.keys().next().map(String::as_str),
            _ => None,
        }
    }

    /// One line, as small models are told of tools: `weather(city: string) - Current
    /// weather in a city`. `models/train/chat_template.jinja` writes the same.
    pub fn signature(&self) -> String {
        format!(
            "{}({}) - {}",
            self.name,
            fields(&self.parameters),
            self.description
        )
    }
}

fn fields(schema: &Json) -> String {
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
    let properties = schema["properties"].as_object().into_iter().flatten();
    let fields = properties.map(|(name, part)| {
        let mark = if is_required(name) { "" } else { "?" };
        format!("{name}{mark}: {}", type_name(part))
    });
    fields.collect::<Vec<_>>().join(", ")
}

fn type_name(schema: &Json) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<String> = choices.iter().map(Json::to_string).collect();
        return choices.join("|");
    }
    if let Some(only) = schema.get("const") {
        return only.to_string();
    }
    match schema["type"].as_str() {
        Some("array") => format!("{}[]", type_name(&schema["items"])),
        Some("object") if schema["properties"].is_object() => format!("{{{}}}", fields(schema)),
        Some(kind) => kind.to_string(),
        None => "any".to_string(),
    }
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
