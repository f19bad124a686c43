//! `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`:
//! Qwen3-Coder and Qwen 3.5.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::hermes::{State, Tagged};
use super::{Calls, Family, Syntax};

/// The family.
pub(super) struct FunctionTags;

impl Family for FunctionTags {
    fn name(&self) -> &'static str {
        "function_tags"
    }

    fn detect(&self, template: &str) -> bool {
        template.contains("<function=")
    }

    fn openers(&self) -> &'static [&'static str] {
        &[super::hermes::OPEN]
    }

    fn syntax(&self, tools: &[Json]) -> Box<dyn Syntax> {
        Box::new(Tagged {
            state: State::Begin,
            functions: FunctionReader::new(tools),
        })
    }
}

/// A parameter's declared type, by tool and name.
type Types = HashMap<(String, String), String>;

/// Reads `<function=..>` blocks.
pub(super) struct FunctionReader {
    types: Types,
    name: Option<String>,
    raw: String,
    first: bool,
}

/// Consumed bytes and whether the block is complete, or what is wrong after how many.
type Outcome = Result<(usize, bool), (usize, String)>;

const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";

impl FunctionReader {
    pub(super) fn new(tools: &[Json]) -> Self {
        let mut types = Types::new();
        for tool in tools {
            let tool = tool.get("function").unwrap_or(tool);
            let Some(name) = tool.get("name").and_then(Json::as_str) else {
                continue;
            };
            let properties = tool.pointer("/parameters/properties");
            for (key, schema) in properties.and_then(Json::as_object).into_iter().flatten() {
                if let Some(declared) = schema.get("type").and_then(Json::as_str) {
                    types.insert((name.to_string(), key.clone()), declared.to_string());
                }
            }
        }
        Self {
            types,
            name: None,
            raw: String::new(),
            first: true,
        }
    }

    /// What was read so far, for a report.
    pub(super) fn take_raw(&mut self) -> String {
        std::mem::take(&mut self.raw)
    }

    /// Reads as many whole tags as there are.
    pub(super) fn read(&mut self, input: &str, last: bool, calls: &mut Calls) -> Outcome {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let body = rest.trim_start();
            let spaces = rest.len() - body.len();
            let wait = |at: usize| match last {
                true => Err((at, "the call ends too early".to_string())),
                false => Ok((at, false)),
            };
            let begins = |tag: &str| tag.starts_with(body) && body.len() < tag.len();
            let taken = if self.name.is_none() {
                let Some(tail) = body.strip_prefix(FUNCTION) else {
                    if begins(FUNCTION) {
                        return wait(at);
                    }
                    return Err((at, format!("expected {FUNCTION}name>")));
                };
                let Some((name, _)) = tail.split_once('>') else {
                    return wait(at);
                };
                calls.start(name.trim());
                self.name = Some(name.trim().to_string());
                self.first = true;
                FUNCTION.len() + name.len() + 1
            } else if body.starts_with(FUNCTION_END) {
                calls.arguments(if self.first { "{}" } else { "}" });
                calls.end();
                self.name = None;
                return Ok((at + spaces + FUNCTION_END.len(), true));
            } else if let Some(tail) = body.strip_prefix(PARAMETER) {
                let whole = tail
                    .split_once('>')
                    .and_then(|(key, value)| Some((key, value.split_once(PARAMETER_END)?.0)));
                let Some((key, value)) = whole else {
                    return wait(at);
                };
                self.parameter(key.trim(), value, calls);
                PARAMETER.len() + key.len() + 1 + value.len() + PARAMETER_END.len()
            } else if begins(FUNCTION_END) || begins(PARAMETER) {
                return wait(at);
            } else {
                let message = format!("expected {PARAMETER}key> or {FUNCTION_END}");
                return Err((at, message));
            };
            let end = at + spaces + taken;
            self.raw.push_str(input.get(at..end).unwrap_or_default());
            at = end;
        }
    }

    fn parameter(&mut self, key: &str, value: &str, calls: &mut Calls) {
        // The form puts the value on lines of its own.
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let tool = self.name.clone().unwrap_or_default();
        let declared = self.types.get(&(tool, key.to_string()));
        let parsed = serde_json::from_str::<Json>(value).ok();
        let json = match (declared.map(String::as_str), parsed) {
            (Some("string"), _) | (_, None) => Json::String(value.to_string()),
            // Undeclared: what is written like a string is one.
            (None, Some(Json::String(_))) => Json::String(value.to_string()),
            (_, Some(parsed)) => parsed,
        };
        calls.arguments(if self.first { "{" } else { ", " });
        self.first = false;
        calls.arguments(&format!("{}: {json}", Json::String(key.to_string())));
    }
}
