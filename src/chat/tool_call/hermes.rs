//! `<tool_call>{"name": .., "arguments": {..}}</tool_call>`: Hermes, Qwen 2.5 and 3, and
//! the pair that ships with Tandem. Models trained on function tags put those between the
//! same tags, so they are read here too.

use serde_json::Value as Json;

use super::function_tags::FunctionReader;
use super::object::{CallObject, Taken};
use super::{CallForm, Calls, Family, Read, Syntax};

/// The family.
pub(super) struct Hermes;

pub(super) const OPEN: &str = "<tool_call>";
pub(super) const CLOSE: &str = "</tool_call>";

impl Family for Hermes {
    fn name(&self) -> &'static str {
        "hermes"
    }

    fn detect(&self, template: &str) -> bool {
        template.contains(OPEN)
    }

    fn openers(&self) -> &'static [&'static str] {
        &[OPEN]
    }

    fn syntax(&self, tools: &[Json]) -> Box<dyn Syntax> {
        Box::new(Tagged {
            state: State::Begin,
            functions: FunctionReader::new(tools),
        })
    }

    fn form(&self) -> Option<CallForm> {
        Some(CallForm {
            open: OPEN,
            close: CLOSE,
        })
    }
}

/// What stands between `<tool_call>` and `</tool_call>`.
pub(super) struct Tagged {
    pub(super) state: State,
    pub(super) functions: FunctionReader,
}

pub(super) enum State {
    Begin,
    Object(Box<CallObject>),
    Functions,
    /// The call is complete; its closing tag may follow.
    Ended,
    /// The call is malformed: the message, and its text so far.
    Broken(String, String),
}

impl Syntax for Tagged {
    fn read(&mut self, input: &str, last: bool, calls: &mut Calls) -> Read {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            match &mut self.state {
                State::Begin => {
                    let body = rest.trim_start();
                    at += rest.len() - body.len();
                    match body.chars().next() {
                        None if last => {
                            calls.broken("the call is empty", "");
                            return Read::Done(input.len());
                        }
                        None => return Read::More(at),
                        Some('<') if !body.starts_with(CLOSE) => {
                            if CLOSE.starts_with(body) && !last {
                                return Read::More(at);
                            }
                            self.state = State::Functions;
                        }
                        Some(_) => self.state = State::Object(Box::new(CallObject::new())),
                    }
                }
                State::Object(object) => {
                    let mut ended = None;
                    for c in rest.chars() {
                        at += c.len_utf8();
                        match object.push(c, calls) {
                            Taken::More => {}
                            Taken::Done => {
                                ended = Some(State::Ended);
                                break;
                            }
                            Taken::Broken(message) => {
                                // The character may begin the closing tag.
                                at -= c.len_utf8();
                                let mut raw = object.raw().to_string();
                                raw.pop();
                                ended = Some(State::Broken(message, raw));
                                break;
                            }
                        }
                    }
                    match ended {
                        Some(state) => self.state = state,
                        None if last => {
                            calls.broken("the call ends before its JSON does", object.raw());
                            return Read::Done(input.len());
                        }
                        None => return Read::More(at),
                    }
                }
                State::Functions => match self.functions.read(rest, last, calls) {
                    Ok((taken, true)) => {
                        at += taken;
                        self.state = State::Ended;
                    }
                    Ok((taken, false)) => return Read::More(at + taken),
                    Err((taken, message)) => {
                        at += taken;
                        let raw = self.functions.take_raw();
                        self.state = State::Broken(message, raw);
                    }
                },
                State::Ended => {
                    let tail = rest.trim_start();
                    if tail.starts_with(CLOSE) {
                        return Read::Done(input.len() - tail.len() + CLOSE.len());
                    }
                    if CLOSE.starts_with(tail) && !last {
                        return Read::More(at);
                    }
                    // Without its closing tag the call stands all the same.
                    return Read::Done(at);
                }
                State::Broken(message, raw) => {
                    // Everything up to the closing tag belongs to it.
                    if let Some(end) = rest.find(CLOSE) {
                        raw.push_str(rest.get(..end).unwrap_or_default());
                        calls.broken(message.as_str(), raw);
                        return Read::Done(at + end + CLOSE.len());
                    }
                    if last {
                        raw.push_str(rest);
                        calls.broken(message.as_str(), raw);
                        return Read::Done(input.len());
                    }
                    let held = super::partial_suffix(rest, &[CLOSE]);
                    let taken = rest.len() - held;
                    raw.push_str(rest.get(..taken).unwrap_or_default());
                    return Read::More(at + taken);
                }
            }
        }
    }
}
