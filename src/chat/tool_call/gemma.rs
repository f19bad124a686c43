//! `<|tool_call>call:name{key:<|"|>text<|"|>,n:1}<tool_call|>`: Gemma 4. The arguments are
//! JSON but for strings, which stand between `<|"|>`, and keys, which stand bare.

use serde_json::{Map, Value as Json};

use super::{Calls, Family, Read, Syntax};

/// The family.
pub(super) struct Gemma;

const OPEN: &str = "<|tool_call>";
const CLOSE: &str = "<tool_call|>";
const QUOTE: &str = "<|\"|>";
/// Values may be nested this deep.
const MAX_DEPTH: usize = 64;

impl Family for Gemma {
    fn name(&self) -> &'static str {
        "gemma"
    }

    fn detect(&self, template: &str) -> bool {
        template.contains(OPEN)
    }

    fn openers(&self) -> &'static [&'static str] {
        &[OPEN]
    }

    fn syntax(&self, _tools: &[Json]) -> Box<dyn Syntax> {
        Box::new(Reader)
    }
}

/// Waits for the whole call: its text is short, and no JSON before it is read.
struct Reader;

impl Syntax for Reader {
    fn read(&mut self, input: &str, last: bool, calls: &mut Calls) -> Read {
        let (body, end) = match input.split_once(CLOSE) {
            Some((body, _)) => (body, body.len() + CLOSE.len()),
            None if last => (input, input.len()),
            None => return Read::More(0),
        };
        match call(body) {
            Ok((name, arguments)) => calls.whole(name, &Json::Object(arguments).to_string()),
            Err(message) => calls.broken(message, body),
        }
        Read::Done(end)
    }
}

fn call(body: &str) -> Result<(&str, Map<String, Json>), String> {
    let body = body.trim();
    let body = body.strip_prefix("call:").unwrap_or(body);
    let brace = body.find('{').ok_or("expected call:name{..}")?;
    let (name, rest) = body.split_at(brace);
    if name.trim().is_empty() {
        return Err("the call has no name".to_string());
    }
    let mut reader = Values { rest };
    match reader.value(0)? {
        Json::Object(arguments) if reader.rest.trim().is_empty() => Ok((name.trim(), arguments)),
        _ => Err("there is more after the arguments".to_string()),
    }
}

struct Values<'a> {
    rest: &'a str,
}

impl<'a> Values<'a> {
    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn quoted(&mut self) -> Result<&'a str, String> {
        let (text, rest) = self
            .rest
            .split_once(QUOTE)
            .ok_or_else(|| format!("a string has no closing {QUOTE}"))?;
        self.rest = rest;
        Ok(text)
    }

    /// Characters up to one that ends a bare word.
    fn bare(&mut self) -> &'a str {
        let end = self.rest.find([',', ':', '{', '}', '[', ']']);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word.trim()
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err("it is nested too deep".to_string());
        }
        if self.take(QUOTE) {
            return self.quoted().map(Json::from);
        }
        if self.take("{") {
            let mut map = Map::new();
            while !self.take("}") {
                if !map.is_empty() && !self.take(",") {
                    return Err("expected ',' or '}'".to_string());
                }
                let key = match self.take(QUOTE) {
                    true => self.quoted()?,
                    false => self.bare(),
                };
                if key.is_empty() || !self.take(":") {
                    return Err("expected key:value".to_string());
                }
                let value = self.value(depth + 1)?;
                map.insert(key.to_string(), value);
            }
            return Ok(Json::Object(map));
        }
        if self.take("[") {
            let mut items = Vec::new();
            while !self.take("]") {
                if !items.is_empty() && !self.take(",") {
                    return Err("expected ',' or ']'".to_string());
                }
                items.push(self.value(depth + 1)?);
            }
            return Ok(Json::Array(items));
        }
        let word = self.bare();
        let json = match word {
            "None" => Some(Json::Null),
            "True" => Some(Json::Bool(true)),
            "False" => Some(Json::Bool(false)),
            word => serde_json::from_str(word).ok(),
        };
        json.ok_or_else(|| format!("{word:?} is no value: strings stand between {QUOTE}"))
    }
}
