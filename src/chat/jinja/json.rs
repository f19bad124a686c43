//! `tojson` as Hugging Face defines it for chat templates: Python's `json.dumps` with
//! `ensure_ascii=False` and no HTML escapes.

use std::cmp::Ordering;

use super::meter::{Fault, Meter, invalid};
use super::repr::float;
use super::text::{Origin, Text, TextBuf};
use super::value::{MAX_VALUE_DEPTH, Value};

/// `json.dumps`' arguments, by the filter's names for them.
pub(crate) struct Style {
    pub(crate) ensure_ascii: bool,
    /// One level of indentation; `None` puts everything on one line.
    pub(crate) indent: Option<String>,
    pub(crate) item_separator: String,
    pub(crate) key_separator: String,
    pub(crate) sort_keys: bool,
}

/// `json.dumps(value)` in `style`.
pub(crate) fn dumps(value: &Value, style: &Style, meter: &Meter) -> Result<Text, Fault> {
    let mut buf = TextBuf::default();
    Writer {
        buf: &mut buf,
        style,
        meter,
    }
    .value(value, 0)?;
    Ok(buf.finish())
}

struct Writer<'a> {
    buf: &'a mut TextBuf,
    style: &'a Style,
    meter: &'a Meter,
}

impl Writer<'_> {
    /// Punctuation and numbers count as data: they describe it.
    fn plain(&mut self, text: &str) -> Result<(), Fault> {
        self.meter.bytes(text.len())?;
        self.buf.push(text, Origin::Data);
        Ok(())
    }

    fn new_line(&mut self, depth: u16) -> Result<(), Fault> {
        if let Some(indent) = &self.style.indent {
            self.plain("\n")?;
            self.meter
                .bytes(indent.len().saturating_mul(depth.into()))?;
            for _ in 0..depth {
                self.buf.push(indent, Origin::Data);
            }
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: u16) -> Result<(), Fault> {
        self.meter.step()?;
        if depth > MAX_VALUE_DEPTH {
            return Err(Fault::Limit("values nested too deep"));
        }
        match value {
            Value::None => self.plain("null"),
            Value::Bool(true) => self.plain("true"),
            Value::Bool(false) => self.plain("false"),
            Value::Int(value) => self.plain(&value.to_string()),
            Value::Float(value) => self.plain(&number(*value)),
            Value::Str(text) => self.string(text),
            Value::List(list) | Value::Tuple(list) => {
                if list.items.is_empty() {
                    return self.plain("[]");
                }
                self.plain("[")?;
                for (i, item) in list.items.iter().enumerate() {
                    if i > 0 {
                        self.plain(&self.style.item_separator)?;
                    }
                    self.new_line(depth + 1)?;
                    self.value(item, depth + 1)?;
                }
                self.new_line(depth)?;
                self.plain("]")
            }
            Value::Dict(dict) => {
                if dict.entries.is_empty() {
                    return self.plain("{}");
                }
                let mut entries: Vec<_> = dict.entries.iter().collect();
                if self.style.sort_keys {
                    self.meter.slots(entries.len() * 2)?;
                    entries.sort_by(|(a, _), (b, _)| match (a.as_text(), b.as_text()) {
                        (Some(a), Some(b)) => a.as_str().cmp(b.as_str()),
                        _ => Ordering::Equal,
                    });
                }
                self.plain("{")?;
                for (i, (key, value)) in entries.into_iter().enumerate() {
                    if i > 0 {
                        self.plain(&self.style.item_separator)?;
                    }
                    self.new_line(depth + 1)?;
                    self.key(key)?;
                    self.plain(&self.style.key_separator)?;
                    self.value(value, depth + 1)?;
                }
                self.new_line(depth)?;
                self.plain("}")
            }
            other => Err(invalid(format!(
                "Object of type {} is not JSON serializable",
                other.type_name()
            ))),
        }
    }

    fn key(&mut self, key: &Value) -> Result<(), Fault> {
        match key {
            Value::Str(text) => self.string(text),
            Value::None => self.plain("\"null\""),
            Value::Bool(value) => self.plain(if *value { "\"true\"" } else { "\"false\"" }),
            Value::Int(value) => self.plain(&format!("\"{value}\"")),
            Value::Float(value) => self.plain(&format!("\"{}\"", number(*value))),
            other => Err(invalid(format!(
                "keys must be str, int, float, bool or None, not {}",
                other.type_name()
            ))),
        }
    }

    fn string(&mut self, text: &Text) -> Result<(), Fault> {
        self.meter.bytes(text.cost(text.len() + 2))?;
        self.buf.push("\"", Origin::Data);
        let mut at = 0;
        for (bytes, origin) in text.origins(0..text.len()) {
            let part = text.as_str().get(at..at + bytes).unwrap_or_default();
            for c in part.chars() {
                self.character(c, origin)?;
            }
            at += bytes;
        }
        self.buf.push("\"", Origin::Data);
        Ok(())
    }

    fn character(&mut self, c: char, origin: Origin) -> Result<(), Fault> {
        let escaped = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            c if c < ' ' || (self.style.ensure_ascii && !c.is_ascii()) => {
                self.meter.bytes(12)?;
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    self.buf.push(&format!("\\u{unit:04x}"), origin);
                }
                return Ok(());
            }
            c => {
                self.buf.push_char(c, origin);
                return Ok(());
            }
        };
        self.meter.bytes(1)?;
        self.buf.push(escaped, origin);
        Ok(())
    }
}

/// A float as `json.dumps` writes it.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        float(value)
    }
}
