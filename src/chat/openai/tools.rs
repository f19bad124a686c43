//! What a request says about tools.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use super::fields::Field;
use crate::error::Result;

const TOOL_FIELDS: &[&str] = &["type", "function"];
const FUNCTION_FIELDS: &[&str] = &["name", "description", "parameters", "strict"];
const CHOICE_FIELDS: &[&str] = &["type", "function"];
const CHOICE_FUNCTION_FIELDS: &[&str] = &["name"];

/// OpenAI's limit on a tool's name.
const MAX_NAME_CHARS: usize = 64;

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Letters, digits, `_` and `-`.
    pub name: String,
    /// The JSON schema of its arguments.
    pub parameters: Json,
    /// Whether a schema that cannot be enforced is an error; otherwise such arguments
    /// are a JSON object, whatever is in it.
    pub strict: bool,
    /// As the chat template gets it.
    pub description: Json,
}

/// Whether the model calls tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// It is not told of any.
    None,
    /// As it likes.
    #[default]
    Auto,
    /// One or more.
    Required,
    /// This one.
    Named(String),
}

impl ToolChoice {
    /// Whether the reply has to be a call.
    pub fn is_forced(&self) -> bool {
        matches!(self, ToolChoice::Required | ToolChoice::Named(_))
    }
}

pub(super) fn read_tools(field: &Field<'_>) -> Result<Vec<Tool>> {
    let mut tools: Vec<Tool> = Vec::new();
    let mut names = HashSet::new();
    for tool in field.list()? {
        let fields = tool.object(TOOL_FIELDS)?;
        fields.need("type")?.one_of(&[("function", ())])?;
        let function = fields.need("function")?;
        let fields = function.object(FUNCTION_FIELDS)?;
        let name = fields.need("name")?;
        let text = name.string()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.is_empty() || text.len() > MAX_NAME_CHARS || !text.chars().all(fits) {
            let detail = "must be 1 to 64 letters, digits, underscores and dashes";
            return Err(name.invalid(detail));
        }
        if !names.insert(text.to_string()) {
            return Err(name.invalid("stands twice"));
        }
        fields.read("description", Field::string)?;
        let parameters = fields.read("parameters", |schema| {
            schema.map().map(|schema| Json::Object(schema.clone()))
        })?;
        let parameters =
            parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
        let mut description = tool.value.clone();
        description["function"]["parameters"] = parameters.clone();
        tools.push(Tool {
            name: text.to_string(),
            parameters,
            strict: fields.read("strict", Field::bool)?.unwrap_or(false),
            description,
        });
    }
    Ok(tools)
}

pub(super) fn read_choice(field: &Field<'_>, tools: &[Tool]) -> Result<ToolChoice> {
    let choice = if field.value.is_object() {
        let fields = field.object(CHOICE_FIELDS)?;
        fields.need("type")?.one_of(&[("function", ())])?;
        let function = fields.need("function")?.object(CHOICE_FUNCTION_FIELDS)?;
        let name = function.need("name")?;
        let found = name.string()?;
        if !tools.iter().any(|tool| tool.name == found) {
            return Err(name.invalid(format!("{found:?} is not among the tools")));
        }
        return Ok(ToolChoice::Named(found.to_string()));
    } else {
        field.one_of(&[("none", 0), ("auto", 1), ("required", 2)])?
    };
    Ok(match choice {
        0 => ToolChoice::None,
        1 => ToolChoice::Auto,
        _ if tools.is_empty() => {
            return Err(field.invalid("asks for a call, but there are no tools"));
        }
        _ => ToolChoice::Required,
    })
}
