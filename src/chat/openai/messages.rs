//! OpenAI's messages -> the messages chat templates read.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::fields::{Field, Fields};
use crate::chat::template::openai_messages;
use crate::error::Result;

/// Fields of a message from whoever asks.
pub const ASKING_FIELDS: &[&str] = &["role", "content", "name"];
/// Fields of the model's own messages. `index` is what streams number calls by,
/// `annotations` and `audio` what OpenAI's replies carry; they are taken back unread.
pub const ASSISTANT_FIELDS: &[&str] = &[
    "role",
    "content",
    "name",
    "refusal",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "function_call",
    "annotations",
    "audio",
];
/// Fields of a tool's result.
pub const TOOL_FIELDS: &[&str] = &["role", "content", "tool_call_id", "name"];
const TEXT_PART_FIELDS: &[&str] = &["type", "text"];
const CALL_FIELDS: &[&str] = &["id", "type", "function", "index"];
const CALL_FUNCTION_FIELDS: &[&str] = &["name", "arguments"];

#[derive(Clone, Copy, PartialEq)]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

const ROLES: &[(&str, Role)] = &[
    ("system", Role::System),
    ("developer", Role::Developer),
    ("user", Role::User),
    ("assistant", Role::Assistant),
    ("tool", Role::Tool),
];

/// Reads the conversation: parts of text become one text, calls' arguments the objects
/// they spell, and a tool's result learns the name of the tool it is from.
pub(super) fn read(field: &Field<'_>) -> Result<Vec<Json>> {
    let list = field.list()?;
    if list.is_empty() {
        return Err(field.invalid("holds no message"));
    }
    // Calls so far: which tool an id stands for.
    let mut calls: HashMap<String, String> = HashMap::new();
    let mut messages = Vec::with_capacity(list.len());
    for message in &list {
        messages.push(Json::Object(read_message(message, &mut calls)?));
    }
    Ok(openai_messages(&messages))
}

fn read_message(
    message: &Field<'_>,
    calls: &mut HashMap<String, String>,
) -> Result<Map<String, Json>> {
    // The role decides which fields there are, so it is read before them.
    let role = match message.map()?.get("role") {
        Some(role) => Field::new(format!("{}.role", message.path), role),
        None => {
            let path = format!("{}.role", message.path);
            return Err(super::fields::invalid(path, "is missing"));
        }
    };
    let mut out = Map::new();
    out.insert("role".into(), role.value.clone());
    match role.one_of(ROLES)? {
        Role::System | Role::Developer | Role::User => {
            let fields = message.object(ASKING_FIELDS)?;
            out.insert("content".into(), text(&fields.need("content")?)?.into());
            copy_name(&fields, &mut out)?;
        }
        Role::Assistant => read_assistant(message, calls, &mut out)?,
        Role::Tool => {
            let fields = message.object(TOOL_FIELDS)?;
            out.insert("content".into(), text(&fields.need("content")?)?.into());
            // An observation that answers no call in the model's own form (ReAct's) says
            // which tool it is of instead.
            if fields.get("tool_call_id").is_some() || fields.get("name").is_none() {
                let id = fields.need("tool_call_id")?;
                let Some(name) = calls.get(id.string()?) else {
                    return Err(id.invalid("is no id of an earlier call"));
                };
                out.insert("tool_call_id".into(), id.value.clone());
                out.insert("name".into(), name.as_str().into());
            }
            copy_name(&fields, &mut out)?;
        }
    }
    Ok(out)
}

fn read_assistant(
    message: &Field<'_>,
    calls: &mut HashMap<String, String>,
    out: &mut Map<String, Json>,
) -> Result<()> {
    let fields = message.object(ASSISTANT_FIELDS)?;
    fields.refuse(&["function_call"])?;
    let refusal = fields.read("refusal", |refusal| refusal.string().map(str::to_string))?;
    let content = fields.read("content", text)?.or(refusal);
    let tool_calls = fields.read("tool_calls", |list| read_calls(list, calls))?;
    let tool_calls = tool_calls.filter(|calls| !calls.is_empty());
    for name in ["reasoning_content", "reasoning"] {
        if let Some(reasoning) = fields.read(name, Field::string)? {
            out.insert("reasoning_content".into(), reasoning.into());
            break;
        }
    }
    if content.is_none() && tool_calls.is_none() && !out.contains_key("reasoning_content") {
        return Err(fields
            .need("content")
            .err()
            .unwrap_or_else(|| message.invalid("has neither content nor tool calls")));
    }
    // Templates test `message.content`; an absent one fails in some of them.
    out.insert("content".into(), content.unwrap_or_default().into());
    copy_name(&fields, out)?;
    if let Some(calls) = tool_calls {
        out.insert("tool_calls".into(), calls.into());
    }
    Ok(())
}

fn read_calls(list: &Field<'_>, calls: &mut HashMap<String, String>) -> Result<Vec<Json>> {
    let mut out = Vec::new();
    for call in list.list()? {
        let fields = call.object(CALL_FIELDS)?;
        fields.read("index", |index| index.count(0, usize::MAX))?;
        fields.read("type", |kind| kind.one_of(&[("function", ())]))?;
        let id = fields.need("id")?.string()?;
        let function = fields.need("function")?.object(CALL_FUNCTION_FIELDS)?;
        let name = function.need("name")?.string()?;
        let arguments = function.need("arguments")?.string()?;
        calls.insert(id.to_string(), name.to_string());
        out.push(json!({
            "id": id,
            "type": "function",
            "function": { "name": name, "arguments": arguments },
        }));
    }
    Ok(out)
}

fn copy_name(fields: &Fields<'_>, out: &mut Map<String, Json>) -> Result<()> {
    if let Some(name) = fields.read("name", Field::string)? {
        out.insert("name".into(), name.into());
    }
    Ok(())
}

/// A message's text: a string, or parts that are all text.
fn text(content: &Field<'_>) -> Result<String> {
    if let Some(text) = content.value.as_str() {
        return Ok(text.to_string());
    }
    if !content.value.is_array() {
        return Err(content.invalid("must be a string or a list of text parts"));
    }
    let mut text = String::new();
    for part in content.list()? {
        let kind = part.map()?.get("type").unwrap_or(&Json::Null);
        Field::new(format!("{}.type", part.path), kind).one_of(&[("text", ())])?;
        let fields = part.object(TEXT_PART_FIELDS)?;
        text.push_str(fields.need("text")?.string()?);
    }
    Ok(text)
}
