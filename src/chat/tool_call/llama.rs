//! `{"name": .., "parameters": {..}}` as the whole reply, after `<|python_tag|>` or bare:
//! Llama 3.1 and later. Several calls stand one after another, with `;` or white space
//! between them.

use serde_json::Value as Json;

use super::object::{CallObject, Taken};
use super::{Calls, Family, Read, Syntax};

/// The family.
pub(super) struct Llama;

const TAG: &str = "<|python_tag|>";

impl Family for Llama {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn detect(&self, template: &str) -> bool {
        let header = template.contains("<|start_header_id|>");
        template.contains(TAG) || (header && template.contains("\"parameters\""))
    }

    fn openers(&self) -> &'static [&'static str] {
        &[TAG]
    }

    fn first_openers(&self) -> &'static [&'static str] {
        &["{"]
    }

    fn syntax(&self, _tools: &[Json]) -> Box<dyn Syntax> {
        Box::new(Objects::default())
    }
}

/// Objects that may be calls. One is a call when it has a name and parameters; until then
/// it may as well be an answer in JSON, so it is not consumed and nothing is given out.
#[derive(Default)]
struct Objects {
    object: Option<CallObject>,
    /// Bytes of the input that an undecided object has seen.
    seen: usize,
    /// Whether there was a call before.
    any: bool,
    /// A call that went wrong takes the rest of the reply with it.
    broken: Option<(String, String)>,
}

impl Syntax for Objects {
    fn read(&mut self, input: &str, last: bool, calls: &mut Calls) -> Read {
        // Where the object at hand begins, if it does in this input.
        let mut from = 0;
        let mut at = std::mem::take(&mut self.seen);
        while self.broken.is_none() {
            let Some(c) = input.get(at..).and_then(|rest| rest.chars().next()) else {
                break;
            };
            let object = match &mut self.object {
                Some(object) => object,
                None if c.is_whitespace() || (self.any && c == ';') => {
                    at += c.len_utf8();
                    continue;
                }
                None if c == '{' => {
                    from = at;
                    self.object.insert(CallObject::with_arguments())
                }
                None => return self.no_call(at),
            };
            at += c.len_utf8();
            match object.push(c, calls) {
                Taken::More => {}
                Taken::Done => {
                    self.object = None;
                    self.any = true;
                    from = at;
                }
                Taken::Broken(message) if object.started() => {
                    self.broken = Some((message, object.raw().to_string()));
                }
                Taken::Broken(_) => return self.no_call(from),
            }
        }
        if let Some((message, raw)) = &mut self.broken {
            raw.push_str(input.get(at..).unwrap_or_default());
            if last {
                calls.broken(message.as_str(), raw);
            }
            return Read::More(input.len());
        }
        match &self.object {
            Some(object) if object.started() && last => {
                calls.broken("the call ends before its JSON does", object.raw());
                Read::Done(input.len())
            }
            Some(object) if object.started() => Read::More(at),
            Some(_) if last => self.no_call(from),
            Some(_) => {
                self.seen = at - from;
                Read::More(from)
            }
            // White space may yet turn out to be text.
            None if last => Read::Done(from),
            None => {
                self.seen = at - from;
                Read::More(from)
            }
        }
    }
}

impl Objects {
    /// What begins at `from` is text.
    fn no_call(&mut self, from: usize) -> Read {
        self.object = None;
        match self.any {
            true => Read::Done(from),
            false => Read::Text,
        }
    }
}
