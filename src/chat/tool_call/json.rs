//! JSON, checked character by character.

/// Containers may be nested this deep.
const MAX_DEPTH: usize = 64;

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value or the end of the array.
    FirstItem,
    /// A key or the end of the object.
    FirstKey,
    Key,
    Colon,
    /// A comma or the end of the container.
    Comma,
    String {
        key: bool,
    },
    Escape {
        key: bool,
    },
    Hex {
        key: bool,
        left: u8,
    },
    Number,
    Word {
        word: &'static str,
        at: usize,
    },
    Done,
}

/// Reads one JSON value.
#[derive(Debug, Clone)]
pub(super) struct JsonScanner {
    /// Open containers: `true` for an object.
    open: Vec<bool>,
    next: Next,
    number: String,
    /// The code unit being read, and whether it has to complete a surrogate pair.
    unit: u32,
    needs_low: bool,
}

impl JsonScanner {
    pub(super) fn new() -> Self {
        Self {
            open: Vec::new(),
            next: Next::Value,
            number: String::new(),
            unit: 0,
            needs_low: false,
        }
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether the next character that is not white space begins a value.
    pub(super) fn at_value(&self) -> bool {
        matches!(self.next, Next::Value | Next::FirstItem)
    }

    /// Whether a key or a value has just ended, or none has begun.
    pub(super) fn between(&self) -> bool {
        !matches!(
            self.next,
            Next::String { .. }
                | Next::Escape { .. }
                | Next::Hex { .. }
                | Next::Number
                | Next::Word { .. }
        )
    }

    /// Whether it is inside the string of a key.
    pub(super) fn in_key(&self) -> bool {
        matches!(
            self.next,
            Next::String { key: true } | Next::Escape { key: true } | Next::Hex { key: true, .. }
        )
    }

    pub(super) fn done(&self) -> bool {
        self.next == Next::Done
    }

    fn ended(&self) -> Next {
        match self.open.is_empty() {
            true => Next::Done,
            false => Next::Comma,
        }
    }

    /// The next character; an error in words where it does not fit.
    pub(super) fn push(&mut self, c: char) -> Result<(), String> {
        if self.next == Next::Number {
            if c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-') {
                self.number.push(c);
                return match self.number.len() <= 400 {
                    true => Ok(()),
                    false => Err("a number is too long".to_string()),
                };
            }
            self.end_number()?;
        }
        let inside = matches!(self.next, Next::String { .. } | Next::Escape { .. });
        if inside && self.needs_low {
            let escape = matches!(self.next, Next::Escape { .. });
            if c != if escape { 'u' } else { '\\' } {
                return Err("half of a surrogate pair stands alone".to_string());
            }
        }
        let wrong = |wanted: &str| Err(format!("expected {wanted}, found {c:?}"));
        self.next = match self.next {
            Next::String { key } => match c {
                '"' if key => Next::Colon,
                '"' => self.ended(),
                '\\' => Next::Escape { key },
                c if c < ' ' => return Err("a string holds an unescaped control character".into()),
                _ => return Ok(()),
            },
            Next::Escape { key } => match c {
                'u' => {
                    self.unit = 0;
                    Next::Hex { key, left: 4 }
                }
                '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => Next::String { key },
                _ => return Err(format!("\\{c} is no escape of JSON")),
            },
            Next::Hex { key, left } if c.is_ascii_hexdigit() => {
                self.unit = self.unit * 16 + c.to_digit(16).unwrap_or(0);
                match left {
                    1 => self.end_unit(key)?,
                    _ => Next::Hex {
                        key,
                        left: left - 1,
                    },
                }
            }
            Next::Hex { .. } => return wrong("a hexadecimal digit"),
            Next::Word { word, at } if word[at..].starts_with(c) => match at + 1 == word.len() {
                true => self.ended(),
                false => Next::Word { word, at: at + 1 },
            },
            Next::Word { word, .. } => return Err(format!("expected {word}")),
            _ if matches!(c, ' ' | '\n' | '\r' | '\t') => return Ok(()),
            Next::FirstItem if c == ']' => self.close(),
            Next::Value | Next::FirstItem => return self.begin(c),
            Next::FirstKey if c == '}' => self.close(),
            Next::FirstKey | Next::Key if c == '"' => Next::String { key: true },
            Next::FirstKey | Next::Key => return wrong("a key in double quotes"),
            Next::Colon if c == ':' => Next::Value,
            Next::Colon => return wrong("':'"),
            Next::Comma => match (c, self.open.last()) {
                (',', Some(true)) => Next::Key,
                (',', _) => Next::Value,
                ('}', Some(true)) | (']', Some(false)) => self.close(),
                (_, Some(true)) => return wrong("',' or '}'"),
                _ => return wrong("',' or ']'"),
            },
            Next::Number | Next::Done => return wrong("nothing more"),
        };
        Ok(())
    }

    /// A code unit is complete: a high surrogate needs a low one after it.
    fn end_unit(&mut self, key: bool) -> Result<Next, String> {
        let low = (0xdc00..0xe000).contains(&self.unit);
        if low != self.needs_low {
            return Err("half of a surrogate pair stands alone".to_string());
        }
        self.needs_low = (0xd800..0xdc00).contains(&self.unit);
        Ok(Next::String { key })
    }

    fn close(&mut self) -> Next {
        self.open.pop();
        self.ended()
    }

    fn begin(&mut self, c: char) -> Result<(), String> {
        self.next = match c {
            '{' | '[' => {
                if self.open.len() >= MAX_DEPTH {
                    return Err("it is nested too deep".to_string());
                }
                self.open.push(c == '{');
                if c == '{' {
                    Next::FirstKey
                } else {
                    Next::FirstItem
                }
            }
            '"' => Next::String { key: false },
            't' => Next::Word {
                word: "true",
                at: 1,
            },
            'f' => Next::Word {
                word: "false",
                at: 1,
            },
            'n' => Next::Word {
                word: "null",
                at: 1,
            },
            c if c == '-' || c.is_ascii_digit() => {
                self.number = c.to_string();
                Next::Number
            }
            c => return Err(format!("expected a value, found {c:?}")),
        };
        Ok(())
    }

    fn end_number(&mut self) -> Result<(), String> {
        self.next = self.ended();
        let number = std::mem::take(&mut self.number);
        match serde_json::from_str::<serde_json::Number>(&number) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{number} is no number of JSON")),
        }
    }
}
