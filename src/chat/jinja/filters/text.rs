//! Filters on a text or a number.

use super::{flag, whole};
use crate::chat::jinja::eval::Machine;
use crate::chat::jinja::lexer::is_space;
use crate::chat::jinja::meter::{Fault, Meter, invalid};
use crate::chat::jinja::methods::{
    CallArgs, capitalize, justify, lower, replace, strip, title, upper,
};
use crate::chat::jinja::ops;
use crate::chat::jinja::repr::to_text;
use crate::chat::jinja::text::{Origin, Text, TextBuf};
use crate::chat::jinja::value::Value;

/// Filters that take a value's text.
pub(super) fn text_filter(
    m: &mut Machine<'_>,
    name: &str,
    value: Value,
    args: CallArgs,
) -> Result<Value, Fault> {
    let text = to_text(&value, &m.meter)?;
    m.meter.bytes(text.cost(text.len()) * 3)?;
    let raw = text.as_str();
    Ok(Value::Str(match name {
        "trim" => {
            let [chars] = args.bind(name, ["chars"])?;
            let chars = match &chars {
                Some(Value::Str(chars)) => Some(chars),
                _ => None,
            };
            let cost = chars.map_or(0, Text::len) as u64;
            m.meter.spend((raw.len() as u64).saturating_mul(cost))?;
            strip(&text, chars, true, true)
        }
        "upper" => upper(&text),
        "lower" => lower(&text),
        "capitalize" => capitalize(&text),
        "title" => title(&text),
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let (Some(old), Some(new)) = (old, new) else {
                return Err(invalid("replace needs what to replace and with what"));
            };
            let count = match count {
                None | Some(Value::None) => -1,
                Some(count) => whole(&Some(count), -1, name)?,
            };
            let (old, new) = (to_text(&old, &m.meter)?, to_text(&new, &m.meter)?);
            replace(&text, &old, &new, count, &m.meter)?
        }
        "indent" => {
            let [width, first, blank] = args.bind(name, ["width", "first", "blank"])?;
            let width = match width {
                Some(Value::Str(text)) => text,
                width => {
                    let space = Text::new(" ", Origin::Template);
                    ops::repeat_text(&space, whole(&width, 4, name)?, &m.meter)?
                }
            };
            indent(
                &text,
                &width,
                flag(&first, false),
                flag(&blank, false),
                &m.meter,
            )?
        }
        "center" => {
            let [width] = args.bind(name, ["width"])?;
            justify(&text, whole(&width, 80, name)?, ' ', 'c', &m.meter)?
        }
        "e" | "escape" | "forceescape" => {
            m.meter.bytes(text.cost(raw.len()) * 5)?;
            text.map_chars(|_, c| {
                let escaped = match c {
                    '&' => "&amp;",
                    '<' => "&lt;",
                    '>' => "&gt;",
                    '\'' => "&#39;",
                    '"' => "&#34;",
                    _ => "",
                };
                let kept = escaped.is_empty().then_some(c);
                escaped.chars().chain(kept)
            })
        }
        "wordcount" => {
            let words = raw
                .split(|c: char| c != '_' && !c.is_alphanumeric())
                .filter(|word| !word.is_empty());
            return Ok(Value::Int(words.count() as i128));
        }
        "truncate" => {
            let [length, kill, end, leeway] =
                args.bind(name, ["length", "killwords", "end", "leeway"])?;
            let length = usize::try_from(whole(&length, 255, name)?).unwrap_or(0);
            let leeway = usize::try_from(whole(&leeway, 5, name)?).unwrap_or(0);
            let end = match end {
                Some(end) => to_text(&end, &m.meter)?,
                None => Text::new("...", Origin::Template),
            };
            let chars = raw.chars().count();
            if chars <= length.saturating_add(leeway) {
                return Ok(Value::Str(text.clone()));
            }
            let keep = length.saturating_sub(end.as_str().chars().count());
            let at = raw.char_indices().nth(keep).map_or(raw.len(), |(at, _)| at);
            let mut kept = text.slice(0..at);
            if !flag(&kill, false)
                && let Some(space) = kept.as_str().rfind(' ')
            {
                kept = kept.slice(0..space);
            }
            ops::concat(&kept, &end, &m.meter)?
        }
        "urlencode" => {
            let mut buf = TextBuf::default();
            for byte in raw.bytes() {
                let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
                match plain {
                    true => buf.push_char(byte as char, Origin::Data),
                    false => buf.push(&format!("%{byte:02X}"), Origin::Data),
                }
            }
            buf.finish()
        }
        _ => return Err(invalid(format!("No filter named '{name}'."))),
    }))
}

fn indent(
    text: &Text,
    width: &Text,
    first: bool,
    blank: bool,
    meter: &Meter,
) -> Result<Text, Fault> {
    let mut buf = TextBuf::default();
    // jinja2 appends a newline and drops the last line `splitlines` makes of it.
    let mut at = 0;
    for (i, line) in text.as_str().split('\n').enumerate() {
        meter.bytes(text.cost(line.len()) + width.cost(width.len()) + 1)?;
        if i > 0 {
            buf.push_part(text, at - 1..at);
        }
        let indented = if i == 0 {
            first
        } else {
            blank || !line.is_empty()
        };
        if indented {
            buf.push_text(width);
        }
        buf.push_part(text, at..at + line.len());
        at += line.len() + 1;
    }
    Ok(buf.finish())
}

pub(super) fn number(name: &str, value: Value, args: CallArgs) -> Result<Value, Fault> {
    match name {
        "abs" => match &value {
            Value::Float(value) => Ok(Value::Float(value.abs())),
            other => match other.as_int().and_then(i128::checked_abs) {
                Some(value) => Ok(Value::Int(value)),
                None => Err(invalid(format!(
                    "bad operand type for abs(): '{}'",
                    value.type_name()
                ))),
            },
        },
        "int" => {
            let [default, base] = args.bind(name, ["default", "base"])?;
            let base = u32::try_from(whole(&base, 10, name)?).unwrap_or(10);
            let parsed = match &value {
                Value::Float(value) => value.is_finite().then_some(value.trunc() as i128),
                Value::Str(text) => {
                    let digits = text.as_str().trim_matches(is_space).replace('_', "");
                    let float = || digits.parse::<f64>().ok().filter(|v| v.is_finite());
                    i128::from_str_radix(&digits, base.clamp(2, 36))
                        .ok()
                        .or_else(|| float().map(|v| v.trunc() as i128))
                }
                other => other.as_int(),
            };
            Ok(match parsed {
                Some(value) => Value::Int(value),
                None => default.unwrap_or(Value::Int(0)),
            })
        }
        "float" => {
            let [default] = args.bind(name, ["default"])?;
            let parsed = match &value {
                Value::Str(text) => text.as_str().trim_matches(is_space).parse().ok(),
                other => other.as_float(),
            };
            Ok(match parsed {
                Some(value) => Value::Float(value),
                None => default.unwrap_or(Value::Float(0.0)),
            })
        }
        _ => {
            let [precision, method] = args.bind(name, ["precision", "method"])?;
            let precision = whole(&precision, 0, name)?.clamp(-300, 300) as i32;
            let number = value
                .as_float()
                .ok_or_else(|| invalid("round: a number is required"))?;
            let method = method.as_ref().and_then(Value::as_text);
            let scale = 10f64.powi(precision);
            let rounded = match method.map_or("common", Text::as_str) {
                "ceil" => (number * scale).ceil() / scale,
                "floor" => (number * scale).floor() / scale,
                // Exact decimal rounding, ties to even, as CPython rounds.
                _ if precision >= 0 => {
                    let digits = precision as usize;
                    format!("{number:.digits$}").parse().unwrap_or(number)
                }
                _ => (number * scale).round_ties_even() / scale,
            };
            match (&value, precision) {
                (Value::Int(_), 0) if method.is_none() => Ok(value),
                _ => Ok(Value::Float(rounded)),
            }
        }
    }
}
