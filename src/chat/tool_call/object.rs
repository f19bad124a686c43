//! `{"name": .., "arguments": {..}}`, read while it is written.

use super::Calls;
use super::json::JsonScanner;

/// Keys under which a call's arguments stand.
const ARGUMENTS: [&str; 2] = ["arguments", "parameters"];

/// A call's object, so far.
pub(super) struct CallObject {
    scanner: JsonScanner,
    /// The characters so far, for reports.
    raw: String,
    /// The key being read or the one whose value is, at the outermost level.
    key: String,
    value: Value,
    /// The text of the value at hand, where it is wanted.
    text: String,
    name: Option<String>,
    /// Arguments not given out yet.
    arguments: String,
    has_arguments: bool,
    started: bool,
    needs_arguments: bool,
}

/// What the value at hand is to the call.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    Other,
    Name,
    /// An object: goes out as it comes.
    Arguments,
    /// A string that spells the object.
    Quoted,
}

/// What became of a character.
pub(super) enum Taken {
    More,
    /// The object is complete and the call given out.
    Done,
    /// It cannot be a call.
    Broken(String),
}

impl CallObject {
    pub(super) fn new() -> Self {
        Self {
            scanner: JsonScanner::new(),
            raw: String::new(),
            key: String::new(),
            value: Value::Other,
            text: String::new(),
            name: None,
            arguments: String::new(),
            has_arguments: false,
            started: false,
            needs_arguments: false,
        }
    }

    /// One that is no call unless it names arguments.
    pub(super) fn with_arguments() -> Self {
        Self {
            needs_arguments: true,
            ..Self::new()
        }
    }

    /// The object's text so far.
    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    /// Whether the call was begun in the output.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    pub(super) fn push(&mut self, c: char, calls: &mut Calls) -> Taken {
        self.raw.push(c);
        let space = matches!(c, ' ' | '\n' | '\r' | '\t');
        let top = self.scanner.depth() == 1;
        let begins = self.scanner.at_value() && !space;
        if self.scanner.depth() == 0 && begins && c != '{' {
            return Taken::Broken(format!("expected an object, found {c:?}"));
        }
        if top
            && begins
            && let Err(message) = self.begin_value(c)
        {
            return Taken::Broken(message);
        }
        let was_key = self.scanner.in_key();
        if let Err(message) = self.scanner.push(c) {
            return Taken::Broken(message);
        }
        let is_key = self.scanner.in_key();
        match (was_key, is_key) {
            (false, true) if top => self.key.clear(),
            (true, true) if top => self.key.push(c),
            _ => {}
        }
        match self.value {
            Value::Other => {}
            Value::Arguments => self.arguments.push(c),
            Value::Name | Value::Quoted => self.text.push(c),
        }
        let ended = self.scanner.depth() <= 1 && self.scanner.between() && !is_key;
        if self.value != Value::Other
            && ended
            && let Err(message) = self.end_value()
        {
            return Taken::Broken(message);
        }
        if let (Some(name), true, false) = (&self.name, self.has_arguments, self.started) {
            calls.start(name.clone());
            self.started = true;
        }
        if self.scanner.done() {
            return self.complete(calls);
        }
        if self.started {
            calls.arguments(&std::mem::take(&mut self.arguments));
        }
        Taken::More
    }

    fn begin_value(&mut self, c: char) -> Result<(), String> {
        let arguments = ARGUMENTS.contains(&self.key.as_str());
        self.value = match (self.key.as_str(), c) {
            ("name", '"') => Value::Name,
            ("name", _) => return Err("\"name\" has to be a string".to_string()),
            _ if arguments && c == '{' => Value::Arguments,
            _ if arguments && c == '"' => Value::Quoted,
            // `null` stands for no arguments.
            _ if arguments && c != 'n' => {
                return Err(format!("\"{}\" has to be an object", self.key));
            }
            _ => Value::Other,
        };
        if arguments {
            if self.has_arguments {
                return Err("the arguments stand twice".to_string());
            }
            self.has_arguments = true;
        }
        self.text.clear();
        Ok(())
    }

    fn end_value(&mut self) -> Result<(), String> {
        let decoded = || {
            serde_json::from_str::<String>(&self.text)
                .map_err(|error| format!("a string is malformed: {error}"))
        };
        match self.value {
            Value::Name => self.name = Some(decoded()?),
            Value::Quoted => {
                let text = decoded()?;
                match serde_json::from_str::<serde_json::Value>(&text) {
                    Ok(serde_json::Value::Object(_)) => self.arguments = text,
                    _ => return Err("the arguments' string spells no object".to_string()),
                }
            }
            _ => {}
        }
        self.value = Value::Other;
        Ok(())
    }

    fn complete(&mut self, calls: &mut Calls) -> Taken {
        let Some(name) = &self.name else {
            return Taken::Broken("the call has no \"name\"".to_string());
        };
        if self.needs_arguments && !self.has_arguments {
            return Taken::Broken("the call has no arguments".to_string());
        }
        if !self.started {
            if !self.has_arguments {
                // A call without arguments may leave them out.
                self.arguments = "{}".to_string();
            }
            calls.start(name.clone());
            self.started = true;
        }
        if self.arguments.is_empty() && self.raw_has_no_arguments() {
            self.arguments = "{}".to_string();
        }
        calls.arguments(&std::mem::take(&mut self.arguments));
        calls.end();
        Taken::Done
    }

    /// Whether the arguments were `null`.
    fn raw_has_no_arguments(&self) -> bool {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&self.raw);
        parsed.is_ok_and(|call| {
            ARGUMENTS
                .iter()
                .all(|key| call.get(key).is_none_or(serde_json::Value::is_null))
        })
    }
}
