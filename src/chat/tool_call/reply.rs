//! A reply put together again.

use serde_json::Value as Json;

use super::{Event, Family, ToolCallParser};

/// A tool call as OpenAI's interface has it, without its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments: a JSON object's text.
    pub arguments: String,
}

/// A reply taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Text for the reader.
    pub content: String,
    /// Complete calls, in order.
    pub calls: Vec<ToolCall>,
    /// For each malformed call, what is wrong with it.
    pub broken: Vec<String>,
}

impl Reply {
    /// Takes a whole reply apart.
    pub fn parse(family: &'static dyn Family, tools: &[Json], text: &str) -> Self {
        let mut parser = ToolCallParser::new(family, tools);
        let mut events = parser.push(text);
        events.extend(parser.finish());
        Self::from_events(&events)
    }

    /// Puts a reply together from its events.
    pub fn from_events(events: &[Event]) -> Self {
        let mut reply = Self::default();
        let mut open: Option<ToolCall> = None;
        for event in events {
            match event {
                Event::Text(text) => reply.content.push_str(text),
                Event::CallStart { name, .. } => {
                    open = Some(ToolCall {
                        name: name.clone(),
                        arguments: String::new(),
                    });
                }
                Event::CallArguments { fragment, .. } => {
                    if let Some(call) = &mut open {
                        call.arguments.push_str(fragment);
                    }
                }
                Event::CallEnd { .. } => reply.calls.extend(open.take()),
                Event::Broken { message, .. } => {
                    open = None;
                    reply.broken.push(message.clone());
                }
            }
        }
        reply
    }
}

/// An id for call number `n` of a conversation: nine letters and digits, which every
/// template accepts (Mistral's insist on nine).
pub fn call_id(n: u64) -> String {
    // A bijection scatters neighbours over the 36^9 ids, so that they look apart.
    const SPACE: u64 = 36u64.pow(9);
    let scattered = (n % SPACE) as u128 * 48_271_001_235_877 + 7_654_321_987;
    let mut rest = (scattered % u128::from(SPACE)) as u64;
    let mut id = String::new();
    for _ in 0..9 {
        let digit = (rest % 36) as u32;
        id.push(char::from_digit(digit, 36).unwrap_or('0'));
        rest /= 36;
    }
    id
}
