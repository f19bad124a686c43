//! `'%s' % value`, `'{}'.format(value)` and the number formats they share.

use super::meter::{Fault, Meter, invalid};
use super::repr::{float, to_text, write_repr};
use super::text::{Origin, Text, TextBuf};
use super::value::Value;

/// What stands between the marker and the conversion letter.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    plus: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Widths and precisions beyond this are refused.
const MAX_WIDTH: usize = 1 << 20;
/// Digits after the point that are worth asking for.
const MAX_PRECISION: usize = 1024;

/// `format % args`.
pub(crate) fn percent(format: &Text, args: &Value, meter: &Meter) -> Result<Text, Fault> {
    meter.bytes(format.cost(format.len()))?;
    let mut buf = TextBuf::default();
    let raw = format.as_str();
    let mut next = 0;
    let mut at = 0;
    while let Some(found) = raw.get(at..).and_then(|rest| rest.find('%')) {
        buf.push_part(format, at..at + found);
        at += found + 1;
        let rest = raw.get(at..).unwrap_or_default();
        let mut chars = rest.char_indices().peekable();
        let mut spec = Spec::default();
        let mut value = None;
        if rest.starts_with('(') {
            let end = rest
                .find(')')
                .ok_or_else(|| invalid("incomplete format key"))?;
            let key = rest.get(1..end).unwrap_or_default();
            let Value::Dict(dict) = args else {
                return Err(invalid("format requires a mapping"));
            };
            let key_value = Value::template_str(key);
            let found = super::ops::lookup(dict, &key_value, meter)?;
            value = Some(found.ok_or_else(|| invalid(format!("'{key}'")))?);
            while chars.peek().is_some_and(|(i, _)| *i <= end) {
                chars.next();
            }
        }
        while let Some((_, c)) = chars.next_if(|(_, c)| "-+ #0".contains(*c)) {
            match c {
                '-' => spec.align = Some('<'),
                '+' => spec.plus = Some('+'),
                ' ' => spec.plus = spec.plus.or(Some(' ')),
                '#' => spec.alternate = true,
                _ => spec.zero = true,
            }
        }
        let number = |chars: &mut std::iter::Peekable<std::str::CharIndices>| {
            let mut digits = None;
            while let Some((_, c)) = chars.next_if(|(_, c)| c.is_ascii_digit()) {
                let digit = c as usize - '0' as usize;
                digits = Some((digits.unwrap_or(0usize) * 10 + digit).min(MAX_WIDTH + 1));
            }
            digits
        };
        spec.width = number(&mut chars).unwrap_or(0);
        if chars.next_if(|(_, c)| *c == '.').is_some() {
            spec.precision = Some(number(&mut chars).unwrap_or(0));
        }
        let Some((offset, kind)) = chars.next() else {
            return Err(invalid("incomplete format"));
        };
        at += offset + kind.len_utf8();
        if kind == '%' {
            buf.push("%", Origin::Template);
            continue;
        }
        let value = match value {
            Some(value) => value,
            None => {
                let value = match args {
                    Value::Tuple(list) => list.items.get(next).cloned(),
                    single if next == 0 => Some(single.clone()),
                    _ => None,
                };
                next += 1;
                value.ok_or_else(|| invalid("not enough arguments for format string"))?
            }
        };
        let text = match kind {
            's' => to_text(&value, meter)?,
            'r' | 'a' => {
                let mut repr = TextBuf::default();
                write_repr(&mut repr, &value, meter, 0)?;
                repr.finish()
            }
            'd' | 'i' | 'u' => {
                spec.kind = Some('d');
                let whole = match value {
                    Value::Float(value) => Value::Int(value.trunc() as i128),
                    other => other,
                };
                number_text(&whole, &spec)?
            }
            'x' | 'X' | 'o' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'c' => {
                spec.kind = Some(kind);
                let floating = matches!(kind, 'e' | 'E' | 'f' | 'F' | 'g' | 'G');
                let value = match (&value, value.as_float()) {
                    (Value::Int(_) | Value::Bool(_), Some(value)) if floating => {
                        Value::Float(value)
                    }
                    _ => value,
                };
                number_text(&value, &spec)?
            }
            other => {
                return Err(invalid(format!("unsupported format character '{other}'")));
            }
        };
        let text = match spec.precision {
            Some(max) if matches!(kind, 's' | 'r' | 'a') => cut(&text, max),
            _ => text,
        };
        pad(&mut buf, &text, &spec, '>', meter)?;
    }
    buf.push_part(format, at..raw.len());
    if let Value::Tuple(list) = args {
        if next < list.items.len() {
            return Err(invalid(
                "not all arguments converted during string formatting",
            ));
        }
    } else if next == 0 && !matches!(args, Value::Dict(_) | Value::List(_)) {
        return Err(invalid(
            "not all arguments converted during string formatting",
        ));
    }
    Ok(buf.finish())
}

/// `format.format(*args, **named)`; `get` looks up an attribute or item by name.
pub(crate) fn braces(
    format: &Text,
    args: &[Value],
    named: &[(std::sync::Arc<str>, Value)],
    get: &mut dyn FnMut(&Value, &str, bool) -> Result<Value, Fault>,
    meter: &Meter,
) -> Result<Text, Fault> {
    meter.bytes(format.cost(format.len()))?;
    let mut buf = TextBuf::default();
    let raw = format.as_str();
    let mut auto = 0;
    let mut at = 0;
    while let Some(found) = raw.get(at..).and_then(|rest| rest.find(['{', '}'])) {
        buf.push_part(format, at..at + found);
        at += found;
        let rest = raw.get(at..).unwrap_or_default();
        if rest.starts_with("{{") || rest.starts_with("}}") {
            buf.push_part(format, at..at + 1);
            at += 2;
            continue;
        }
        if rest.starts_with('}') {
            return Err(invalid("Single '}' encountered in format string"));
        }
        let end = rest
            .find('}')
            .ok_or_else(|| invalid("expected '}' before end of string"))?;
        let field = rest.get(1..end).unwrap_or_default();
        at += end + 1;
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = match name.split_once('!') {
            Some((name, conversion)) => (name, Some(conversion)),
            None => (name, None),
        };
        let value = resolve(name, args, named, &mut auto, get)?;
        let spec = parse_spec(spec)?;
        let text = match conversion {
            Some("r") => {
                let mut repr = TextBuf::default();
                write_repr(&mut repr, &value, meter, 0)?;
                Some(repr.finish())
            }
            Some("s") => Some(to_text(&value, meter)?),
            Some(_) => return Err(invalid("Unknown conversion specifier")),
            None if value.as_float().is_some() && !matches!(value, Value::Bool(_)) => None,
            None => Some(to_text(&value, meter)?),
        };
        match text {
            Some(text) => {
                let text = match spec.precision {
                    Some(max) => cut(&text, max),
                    None => text,
                };
                pad(&mut buf, &text, &spec, '<', meter)?;
            }
            None => pad(&mut buf, &number_text(&value, &spec)?, &spec, '>', meter)?,
        }
    }
    buf.push_part(format, at..raw.len());
    Ok(buf.finish())
}

fn resolve(
    name: &str,
    args: &[Value],
    named: &[(std::sync::Arc<str>, Value)],
    auto: &mut usize,
    get: &mut dyn FnMut(&Value, &str, bool) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    let head_len = name.find(['.', '[']).unwrap_or(name.len());
    let (head, mut rest) = name.split_at(head_len);
    let missing = || invalid("Replacement index out of range for positional args tuple");
    let mut value = if head.is_empty() {
        *auto += 1;
        args.get(*auto - 1).cloned().ok_or_else(missing)?
    } else if let Ok(index) = head.parse::<usize>() {
        args.get(index).cloned().ok_or_else(missing)?
    } else {
        let found = named.iter().find(|(key, _)| **key == *head);
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| invalid(format!("'{head}'")))?
    };
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            let len = tail.find(['.', '[']).unwrap_or(tail.len());
            let (attribute, after) = tail.split_at(len);
            value = get(&value, attribute, true)?;
            rest = after;
        } else if let Some((item, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            value = get(&value, item, false)?;
            rest = after;
        } else {
            return Err(invalid("malformed replacement field"));
        }
    }
    Ok(value)
}

/// `[[fill]align][sign][#][0][width][,][.precision][type]`
fn parse_spec(spec: &str) -> Result<Spec, Fault> {
    let mut parsed = Spec::default();
    let mut chars: Vec<char> = spec.chars().rev().collect();
    let second = chars
        .len()
        .checked_sub(2)
        .and_then(|i| chars.get(i))
        .copied();
    if second.is_some_and(|c| "<>=^".contains(c)) {
        parsed.fill = chars.pop();
        parsed.align = chars.pop();
    } else if chars.last().is_some_and(|c| "<>=^".contains(*c)) {
        parsed.align = chars.pop();
    }
    if chars.last().is_some_and(|c| "+- ".contains(*c)) {
        parsed.plus = chars.pop().filter(|c| *c != '-');
    }
    if chars.last() == Some(&'#') {
        chars.pop();
        parsed.alternate = true;
    }
    if chars.last() == Some(&'0') {
        chars.pop();
        parsed.zero = true;
    }
    let digits = |chars: &mut Vec<char>| {
        let mut value = None;
        while let Some(digit) = chars.last().and_then(|c| c.to_digit(10)) {
            chars.pop();
            value = Some((value.unwrap_or(0usize) * 10 + digit as usize).min(MAX_WIDTH + 1));
        }
        value
    };
    parsed.width = digits(&mut chars).unwrap_or(0);
    if chars.last().is_some_and(|c| ",_".contains(*c)) {
        parsed.group = chars.pop();
    }
    if chars.last() == Some(&'.') {
        chars.pop();
        parsed.precision = digits(&mut chars);
    }
    parsed.kind = chars.pop();
    match chars.is_empty() {
        true => Ok(parsed),
        false => Err(invalid("Invalid format specifier")),
    }
}

fn cut(text: &Text, chars: usize) -> Text {
    let end = text.as_str().char_indices().nth(chars);
    text.slice(0..end.map_or(text.len(), |(at, _)| at))
}

fn pad(
    buf: &mut TextBuf,
    text: &Text,
    spec: &Spec,
    default_align: char,
    meter: &Meter,
) -> Result<(), Fault> {
    if spec.width > MAX_WIDTH {
        return Err(Fault::Limit("a format asks for too wide a field"));
    }
    meter.scan(text.len())?;
    let missing = spec.width.saturating_sub(text.as_str().chars().count());
    meter.bytes(text.cost(text.len()) + missing * 4)?;
    let fill = spec.fill.unwrap_or(' ');
    let (before, after) = match spec.align.unwrap_or(default_align) {
        '<' => (0, missing),
        '^' => (missing / 2, missing - missing / 2),
        _ => (missing, 0),
    };
    for _ in 0..before {
        buf.push_char(fill, Origin::Template);
    }
    buf.push_text(text);
    for _ in 0..after {
        buf.push_char(fill, Origin::Template);
    }
    Ok(())
}

/// A number in the format asked for, with its sign and zero padding.
fn number_text(value: &Value, spec: &Spec) -> Result<Text, Fault> {
    let precision = spec.precision.unwrap_or(6);
    if precision > MAX_PRECISION || spec.width > MAX_WIDTH {
        return Err(Fault::Limit("a format asks for too many digits"));
    }
    let bad = |kind: char| {
        invalid(format!(
            "Unknown format code '{kind}' for object of type '{}'",
            value.type_name()
        ))
    };
    let negative;
    let mut digits;
    if let (Some(int), false) = (
        value.as_int(),
        matches!(spec.kind, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')),
    ) {
        negative = int < 0;
        let int = int.unsigned_abs();
        digits = match spec.kind {
            None | Some('d') => int.to_string(),
            Some('x') => format!("{}{int:x}", if spec.alternate { "0x" } else { "" }),
            Some('X') => format!("{}{int:X}", if spec.alternate { "0X" } else { "" }),
            Some('o') => format!("{}{int:o}", if spec.alternate { "0o" } else { "" }),
            Some('b') => format!("{}{int:b}", if spec.alternate { "0b" } else { "" }),
            Some('c') => u32::try_from(int)
                .ok()
                .and_then(char::from_u32)
                .ok_or_else(|| invalid("%c arg not in range"))?
                .to_string(),
            Some(kind) => return Err(bad(kind)),
        };
    } else if let Some(number) = value.as_float() {
        negative = number.is_sign_negative() && !number.is_nan();
        let number = number.abs();
        digits = match spec.kind {
            _ if !number.is_finite() => float(number),
            None if spec.precision.is_none() => float(number),
            Some('f' | 'F') => format!("{number:.precision$}"),
            Some('%') => format!("{:.precision$}%", number * 100.0),
            Some('e') => exponent(number, precision),
            Some('E') => exponent(number, precision).to_uppercase(),
            None | Some('g') => general(number, precision),
            Some('G') => general(number, precision).to_uppercase(),
            Some(kind) => return Err(bad(kind)),
        };
    } else {
        return Err(invalid(format!(
            "%d format: a real number is required, not {}",
            value.type_name()
        )));
    }
    if let Some(separator) = spec.group {
        let whole = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        let (int, fraction) = digits.split_at(whole);
        let mut grouped = String::new();
        for (i, c) in int.chars().enumerate() {
            if i > 0 && (int.len() - i) % 3 == 0 {
                grouped.push(separator);
            }
            grouped.push(c);
        }
        digits = grouped + fraction;
    }
    let sign = match (negative, spec.plus) {
        (true, _) => "-".to_string(),
        (false, Some(plus)) => plus.to_string(),
        (false, None) => String::new(),
    };
    let zeros = match spec.zero && spec.align.is_none() {
        true => spec.width.saturating_sub(sign.len() + digits.len()),
        false => 0,
    };
    let text = format!("{sign}{}{digits}", "0".repeat(zeros));
    Ok(Text::new(text, Origin::Template))
}

/// C's `%e`: two digits of exponent at least.
fn exponent(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

/// C's `%g`: the shorter of the two notations, trailing zeros dropped.
fn general(number: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let scientific = exponent(number, precision - 1);
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if power < -4 || power >= precision as i32 {
        let (_, tail) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
        return format!("{}e{tail}", trim(digits));
    }
    let decimals = (precision as i32 - 1 - power).max(0) as usize;
    trim(&format!("{number:.decimals$}"))
}
