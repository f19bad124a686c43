//! Values as Python writes them: `str()`, `repr()` and numbers.

use super::meter::{Fault, Meter};
use super::text::{Origin, Text, TextBuf};
use super::value::{MAX_VALUE_DEPTH, Value};

/// Python's `str(value)`; an undefined value is empty, as jinja2 prints it.
pub(crate) fn to_text(value: &Value, meter: &Meter) -> Result<Text, Fault> {
    if let Value::Str(text) = value {
        return Ok(text.clone());
    }
    let mut buf = TextBuf::default();
    write_str(&mut buf, value, meter)?;
    Ok(buf.finish())
}

/// Appends `str(value)`.
pub(crate) fn write_str(buf: &mut TextBuf, value: &Value, meter: &Meter) -> Result<(), Fault> {
    match value {
        Value::Str(text) => {
            meter.bytes(text.cost(text.len()))?;
            buf.push_text(text);
            Ok(())
        }
        Value::Undefined(_) => Ok(()),
        other => write_repr(buf, other, meter, 0),
    }
}

/// Appends `repr(value)`.
pub(crate) fn write_repr(
    buf: &mut TextBuf,
    value: &Value,
    meter: &Meter,
    depth: u16,
) -> Result<(), Fault> {
    meter.step()?;
    if depth > MAX_VALUE_DEPTH {
        return Err(Fault::Limit("values nested too deep"));
    }
    let mut plain = |text: &str| {
        meter.bytes(text.len())?;
        buf.push(text, Origin::Template);
        Ok(())
    };
    match value {
        Value::Undefined(_) => plain("Undefined"),
        Value::None => plain("None"),
        Value::Bool(true) => plain("True"),
        Value::Bool(false) => plain("False"),
        Value::Int(value) => plain(&value.to_string()),
        Value::Float(value) => plain(&float(*value)),
        Value::Str(text) => write_quoted(buf, text, meter),
        Value::List(list) => write_items(buf, "[", &list.items, "]", meter, depth),
        Value::Tuple(list) => {
            let close = if list.items.len() == 1 { ",)" } else { ")" };
            write_items(buf, "(", &list.items, close, meter, depth)
        }
        Value::Dict(dict) => {
            buf.push("{", Origin::Data);
            for (i, (key, value)) in dict.entries.iter().enumerate() {
                if i > 0 {
                    buf.push(", ", Origin::Data);
                }
                write_repr(buf, key, meter, depth + 1)?;
                buf.push(": ", Origin::Data);
                write_repr(buf, value, meter, depth + 1)?;
            }
            buf.push("}", Origin::Data);
            Ok(())
        }
        Value::Namespace(_) => plain("<Namespace>"),
        Value::Macro(found) => plain(&format!("<Macro '{}'>", found.def.name)),
        Value::Builtin(_) => plain("<function>"),
        Value::Method(method) => plain(&format!(
            "<built-in method {} of {} object>",
            method.1,
            method.0.type_name()
        )),
        Value::Loop(list) => plain(&format!(
            "<LoopContext {}/{}>",
            list.index.get() + 1,
            list.items.items.len()
        )),
        Value::Cycler(_) => plain("<Cycler>"),
        Value::Joiner(_) => plain("<Joiner>"),
    }
}

fn write_items(
    buf: &mut TextBuf,
    open: &str,
    items: &[Value],
    close: &str,
    meter: &Meter,
    depth: u16,
) -> Result<(), Fault> {
    buf.push(open, Origin::Data);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            buf.push(", ", Origin::Data);
        }
        write_repr(buf, item, meter, depth + 1)?;
    }
    buf.push(close, Origin::Data);
    Ok(())
}

/// Python's `repr` of a string: single quotes unless only they occur inside.
fn write_quoted(buf: &mut TextBuf, text: &Text, meter: &Meter) -> Result<(), Fault> {
    meter.bytes(text.cost(text.len() + 2))?;
    let raw = text.as_str();
    let quote = if raw.contains('\'') && !raw.contains('"') {
        '"'
    } else {
        '\''
    };
    buf.push_char(quote, Origin::Data);
    let mut at = 0;
    for (bytes, origin) in text.origins(0..raw.len()) {
        for c in raw.get(at..at + bytes).unwrap_or_default().chars() {
            match c {
                '\n' => buf.push("\\n", origin),
                '\r' => buf.push("\\r", origin),
                '\t' => buf.push("\\t", origin),
                '\\' => buf.push("\\\\", origin),
                c if c == quote => {
                    buf.push_char('\\', origin);
                    buf.push_char(c, origin);
                }
                c if is_printable(c) => buf.push_char(c, origin),
                c => {
                    meter.bytes(10)?;
                    let code = c as u32;
                    let escaped = match code {
                        0..=0xff => format!("\\x{code:02x}"),
                        0x100..=0xffff => format!("\\u{code:04x}"),
                        _ => format!("\\U{code:08x}"),
                    };
                    buf.push(&escaped, origin);
                }
            }
        }
        at += bytes;
    }
    buf.push_char(quote, Origin::Data);
    Ok(())
}

/// Python's `str.isprintable` for one character. Rust's debug escapes follow the same
/// Unicode categories, except for combining marks at a string's start, hence the `a`.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    let text: String = ['a', c].iter().collect();
    let debug = text.escape_debug().nth(1);
    debug == Some(c)
}

/// Python's `repr(float)`: the shortest digits that read back, with an exponent below
/// 1e-4 and from 1e16 on.
pub(crate) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let mut plain = format!("{value}");
        if !plain.contains('.') {
            plain.push_str(".0");
        }
        return plain;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_in_python() {
        let cases = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e300, "1.5e+300"),
            (-0.0, "-0.0"),
            (123456.789, "123456.789"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn strings_quote_as_in_python() {
        let cases = [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("it's \"x\"", "'it\\'s \"x\"'"),
            ("é\u{301}\n\u{200b}\u{1}", "'é\u{301}\\n\\u200b\\x01'"),
            ("\u{a0}\u{1f600}", "'\\xa0\u{1f600}'"),
        ];
        for (text, expected) in cases {
            let mut buf = TextBuf::default();
            let text = Text::new(text, Origin::Data);
            write_quoted(&mut buf, &text, &Meter::new(10_000)).unwrap();
            assert_eq!(buf.finish().as_str(), expected);
        }
    }
}
