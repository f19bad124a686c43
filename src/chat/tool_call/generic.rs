//! The form for models whose template knows no tools: Hermes', because it was the most
//! imitated, asked for in words.

use serde_json::Value as Json;

use super::hermes::{CLOSE, Hermes, OPEN};
use super::{CallForm, Family, Syntax};

/// The family.
pub(super) struct Generic;

/// The form that any model can be held to.
pub const GENERIC: &dyn Family = &Generic;

impl Family for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn detect(&self, _template: &str) -> bool {
        true
    }

    fn openers(&self) -> &'static [&'static str] {
        Hermes.openers()
    }

    fn syntax(&self, tools: &[Json]) -> Box<dyn Syntax> {
        Hermes.syntax(tools)
    }

    fn form(&self) -> Option<CallForm> {
        Hermes.form()
    }
}

/// What to tell a model whose template does not tell it about `tools`: goes into the
/// system message, or before the first message where there can be none.
pub fn instructions(tools: &[Json]) -> String {
    let mut text = String::from("You may call functions to help with the request.\n<tools>\n");
    for tool in tools {
        text.push_str(&tool.to_string());
        text.push('\n');
    }
    text.push_str("</tools>\nTo call one, write nothing but a JSON object between tags:\n");
    text.push_str(OPEN);
    text.push_str("\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n");
    text.push_str(CLOSE);
    text
}
