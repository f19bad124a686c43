//! `[TOOL_CALLS][{"name": .., "arguments": {..}}, ..]`, and the newer
//! `[TOOL_CALLS]name[ARGS]{..}`: Mistral.

use serde_json::Value as Json;

use super::json::JsonScanner;
use super::object::{CallObject, Taken};
use super::{Calls, Family, Read, Syntax};

/// The family.
pub(super) struct Mistral;

const OPEN: &str = "[TOOL_CALLS]";
const ARGS: &str = "[ARGS]";
const CALL_ID: &str = "[CALL_ID]";

impl Family for Mistral {
    fn name(&self) -> &'static str {
        "mistral"
    }

    fn detect(&self, template: &str) -> bool {
        template.contains(OPEN)
    }

    fn openers(&self) -> &'static [&'static str] {
        &[OPEN]
    }

    fn syntax(&self, _tools: &[Json]) -> Box<dyn Syntax> {
        Box::new(Reader {
            state: State::Begin,
        })
    }
}

struct Reader {
    state: State,
}

enum State {
    Begin,
    /// In the list, before an object or its end; whether one has been read.
    List(bool),
    Object(Box<CallObject>),
    /// The name before `[ARGS]` or the arguments themselves.
    Name,
    Arguments(JsonScanner, String),
    /// What went wrong and the text so far; the rest of the reply belongs to it.
    Broken(String, String),
}

impl Syntax for Reader {
    fn read(&mut self, input: &str, last: bool, calls: &mut Calls) -> Read {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let body = rest.trim_start();
            let spaces = rest.len() - body.len();
            let first = body.chars().next();
            match &mut self.state {
                State::Begin => match first {
                    None if last => {
                        calls.broken("the call is empty", "");
                        return Read::Done(input.len());
                    }
                    None => return Read::More(at),
                    Some('[') => {
                        at += spaces + 1;
                        self.state = State::List(false);
                    }
                    Some('{') => {
                        at += spaces;
                        self.state = State::Object(Box::new(CallObject::new()));
                    }
                    Some(_) => self.state = State::Name,
                },
                State::List(any) => match first {
                    None if last => {
                        if !*any {
                            calls.broken("the list of calls has no end", "[");
                        }
                        return Read::Done(input.len());
                    }
                    None => return Read::More(at),
                    Some(']') => return Read::Done(at + spaces + 1),
                    Some(',') if *any => at += spaces + 1,
                    Some('{') => {
                        at += spaces;
                        self.state = State::Object(Box::new(CallObject::new()));
                    }
                    Some(c) => {
                        let message = format!("expected a call's object, found {c:?}");
                        self.state = State::Broken(message, String::new());
                    }
                },
                State::Object(object) => {
                    let mut next = None;
                    for c in rest.chars() {
                        at += c.len_utf8();
                        match object.push(c, calls) {
                            Taken::More => continue,
                            Taken::Done => next = Some(State::List(true)),
                            Taken::Broken(message) => {
                                next = Some(State::Broken(message, object.raw().to_string()));
                            }
                        }
                        break;
                    }
                    match next {
                        Some(state) => self.state = state,
                        None if last => {
                            calls.broken("the call ends before its JSON does", object.raw());
                            return Read::Done(input.len());
                        }
                        None => return Read::More(at),
                    }
                }
                State::Name => {
                    let Some(brace) = rest.find('{') else {
                        if last {
                            calls.broken("the call has no arguments", rest);
                            return Read::Done(input.len());
                        }
                        return Read::More(at);
                    };
                    let head = rest.get(..brace).unwrap_or_default();
                    let name = head.split(ARGS).next().unwrap_or_default();
                    let name = name.split(CALL_ID).next().unwrap_or_default().trim();
                    let plain = |c: char| c.is_alphanumeric() || "_-.:/".contains(c);
                    if name.is_empty() || !name.chars().all(plain) {
                        let message = "expected a tool's name before the arguments";
                        self.state = State::Broken(message.to_string(), String::new());
                        continue;
                    }
                    calls.start(name);
                    at += brace;
                    self.state = State::Arguments(JsonScanner::new(), name.to_string());
                }
                State::Arguments(scanner, raw) => {
                    let mut next = None;
                    let begin = at;
                    let mut good = at;
                    for c in rest.chars() {
                        at += c.len_utf8();
                        raw.push(c);
                        if let Err(message) = scanner.push(c) {
                            next = Some(Err(message));
                            break;
                        }
                        good = at;
                        if scanner.done() {
                            next = Some(Ok(()));
                            break;
                        }
                    }
                    calls.arguments(input.get(begin..good).unwrap_or_default());
                    match next {
                        Some(Ok(())) => {
                            calls.end();
                            return Read::Done(at);
                        }
                        Some(Err(message)) => {
                            let raw = std::mem::take(raw);
                            self.state = State::Broken(message, raw);
                        }
                        None if last => {
                            calls.broken("the call ends before its JSON does", raw);
                            return Read::Done(input.len());
                        }
                        None => return Read::More(at),
                    }
                }
                State::Broken(message, raw) => {
                    raw.push_str(rest);
                    if last {
                        calls.broken(message.as_str(), raw);
                    }
                    return Read::More(input.len());
                }
            }
        }
    }
}
