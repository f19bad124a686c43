//! `<|tool_call_start|>[name(key="text", n=1), ..]<|tool_call_end|>`: LFM2 and others that
//! write calls as Python does.

use serde_json::{Map, Value as Json};

use super::{Calls, Family, Read, Syntax};

/// The family.
pub(super) struct Pythonic;

const OPEN: &str = "<|tool_call_start|>";
const CLOSE: &str = "<|tool_call_end|>";
/// Values may be nested this deep.
const MAX_DEPTH: usize = 64;

impl Family for Pythonic {
    fn name(&self) -> &'static str {
        "pythonic"
    }

    fn detect(&self, template: &str) -> bool {
        // LFM2's template lists tools in these words and leaves calls to the content.
        template.contains(OPEN) || template.contains("List of tools: [")
    }

    fn openers(&self) -> &'static [&'static str] {
        &[OPEN]
    }

    fn syntax(&self, _tools: &[Json]) -> Box<dyn Syntax> {
        Box::new(Reader)
    }
}

/// Waits for the whole list: whether it is well formed shows only at its end.
struct Reader;

impl Syntax for Reader {
    fn read(&mut self, input: &str, last: bool, calls: &mut Calls) -> Read {
        let (body, end) = match input.split_once(CLOSE) {
            Some((body, _)) => (body, body.len() + CLOSE.len()),
            None if last => (input, input.len()),
            None => return Read::More(0),
        };
        let mut reader = Values { rest: body };
        match reader.calls() {
            Ok(found) => {
                for (name, arguments) in found {
                    calls.whole(&name, &Json::Object(arguments).to_string());
                }
            }
            Err(message) => calls.broken(message, body),
        }
        Read::Done(end)
    }
}

/// A tool's name and its arguments.
type Named = (String, Map<String, Json>);

struct Values<'a> {
    rest: &'a str,
}

impl<'a> Values<'a> {
    fn take(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, token: char) -> Result<(), String> {
        if self.take(token) {
            return Ok(());
        }
        let found = self.rest.chars().next();
        Err(match found {
            Some(c) => format!("expected {token:?}, found {c:?}"),
            None => format!("expected {token:?}, and the call ends"),
        })
    }

    fn name(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let plain = |c: char| c == '_' || c == '.' || c == '-' || c.is_alphanumeric();
        let end = self.rest.find(|c| !plain(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    fn calls(&mut self) -> Result<Vec<Named>, String> {
        let list = self.take('[');
        let mut found = Vec::new();
        loop {
            if list && self.take(']') {
                break;
            }
            let name = self.name();
            if name.is_empty() {
                return Err("expected name(key=value, ..)".to_string());
            }
            self.want('(')?;
            let mut arguments = Map::new();
            while !self.take(')') {
                if !arguments.is_empty() {
                    self.want(',')?;
                    if self.take(')') {
                        break;
                    }
                }
                let key = self.name();
                if key.is_empty() {
                    return Err("arguments are given as key=value".to_string());
                }
                self.want('=')?;
                let value = self.value(0)?;
                arguments.insert(key.to_string(), value);
            }
            found.push((name.to_string(), arguments));
            if !self.take(',') {
                if list {
                    self.want(']')?;
                }
                break;
            }
        }
        match self.rest.trim().is_empty() && !found.is_empty() {
            true => Ok(found),
            false => Err("expected a list of calls and nothing more".to_string()),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err("it is nested too deep".to_string());
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.string(quote).map(Json::String),
            Some('[' | '(') => {
                let close = if self.take('[') { ']' } else { ')' };
                if close == ')' {
                    self.want('(')?;
                }
                let mut items = Vec::new();
                while !self.take(close) {
                    if !items.is_empty() {
                        self.want(',')?;
                        if self.take(close) {
                            break;
                        }
                    }
                    items.push(self.value(depth + 1)?);
                }
                Ok(Json::Array(items))
            }
            Some('{') => {
                self.want('{')?;
                let mut map = Map::new();
                while !self.take('}') {
                    if !map.is_empty() {
                        self.want(',')?;
                        if self.take('}') {
                            break;
                        }
                    }
                    let Json::String(key) = self.value(depth + 1)? else {
                        return Err("a dictionary's key has to be a string".to_string());
                    };
                    self.want(':')?;
                    let value = self.value(depth + 1)?;
                    map.insert(key, value);
                }
                Ok(Json::Object(map))
            }
            _ => {
                let end = self.rest.find([',', ')', ']', '}', ':', ' ', '\n']);
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                let json = match word {
                    "None" | "null" => Some(Json::Null),
                    "True" | "true" => Some(Json::Bool(true)),
                    "False" | "false" => Some(Json::Bool(false)),
                    word => serde_json::from_str(word).ok(),
                };
                json.ok_or_else(|| format!("{word:?} is no value"))
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = self.rest.get(at + 1..).unwrap_or_default();
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(c @ ('\\' | '\'' | '"')) => text.push(c),
                Some(c) => {
                    text.push('\\');
                    text.push(c);
                }
                None => break,
            }
        }
        Err("a string has no end".to_string())
    }
}
