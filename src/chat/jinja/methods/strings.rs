//! The methods of `str`.

use super::CallArgs;
use crate::chat::jinja::lexer::is_space;
use crate::chat::jinja::meter::{Fault, Meter, invalid};
use crate::chat::jinja::ops::concat;
use crate::chat::jinja::repr::to_text;
use crate::chat::jinja::text::{Origin, Text, TextBuf};
use crate::chat::jinja::value::{Value, new_list_metered};

fn want_text<'v>(value: &'v Option<Value>, method: &str) -> Result<&'v Text, Fault> {
    match value {
        Some(Value::Str(text)) => Ok(text),
        Some(other) => Err(invalid(format!(
            "{method} arg must be str, not {}",
            other.type_name()
        ))),
        None => Err(invalid(format!("{method} is missing an argument"))),
    }
}

fn optional_text<'v>(value: &'v Option<Value>, method: &str) -> Result<Option<&'v Text>, Fault> {
    match value {
        None | Some(Value::None) => Ok(None),
        given => want_text(given, method).map(Some),
    }
}

fn optional_int(value: &Option<Value>, method: &str) -> Result<Option<i128>, Fault> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(other) => other.as_int().map(Some).ok_or_else(|| {
            invalid(format!(
                "{method}: '{}' object cannot be interpreted as an integer",
                other.type_name()
            ))
        }),
    }
}

/// `strip`, `lstrip`, `rstrip` and the `trim` filter.
pub(crate) fn strip(text: &Text, chars: Option<&Text>, left: bool, right: bool) -> Text {
    let drop = |c: char| match chars {
        None => is_space(c),
        Some(set) => set.as_str().contains(c),
    };
    let mut part = text.as_str();
    if left {
        part = part.trim_start_matches(drop);
    }
    if right {
        part = part.trim_end_matches(drop);
    }
    text.part(part)
}

/// `text.replace(old, new, count)`; a negative count replaces all.
pub(crate) fn replace(
    text: &Text,
    old: &Text,
    new: &Text,
    count: i128,
    meter: &Meter,
) -> Result<Text, Fault> {
    meter.scan(text.len())?;
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    let mut buf = TextBuf::default();
    let mut at = 0;
    for (found, hit) in text.as_str().match_indices(old.as_str()).take(limit) {
        meter.bytes(text.cost(found - at) + new.cost(new.len()) + 16)?;
        buf.push_part(text, at..found);
        buf.push_text(new);
        at = found + hit.len();
    }
    meter.bytes(text.cost(text.len() - at))?;
    buf.push_part(text, at..text.len());
    Ok(buf.finish())
}

/// `sep.join(parts)`.
pub(crate) fn join<'v>(
    separator: &Text,
    parts: impl Iterator<Item = &'v Text>,
    meter: &Meter,
) -> Result<Text, Fault> {
    let mut buf = TextBuf::default();
    for (i, part) in parts.enumerate() {
        meter.bytes(part.cost(part.len()) + separator.cost(separator.len()))?;
        if i > 0 {
            buf.push_text(separator);
        }
        buf.push_text(part);
    }
    Ok(buf.finish())
}

fn list_of<'t>(
    text: &Text,
    parts: impl Iterator<Item = &'t str>,
    meter: &Meter,
) -> Result<Value, Fault> {
    let parts = parts.map(|part| {
        meter.bytes(text.cost(part.len()) + 16)?;
        Ok(Value::Str(text.part(part)))
    });
    new_list_metered(parts, meter).map(Value::List)
}

/// `text.split(separator, max)`: white space where there is no separator.
fn split(
    text: &Text,
    separator: Option<&Text>,
    max: i128,
    from_right: bool,
    meter: &Meter,
) -> Result<Value, Fault> {
    let raw = text.as_str();
    let max = usize::try_from(max).unwrap_or(usize::MAX - 1);
    let Some(separator) = separator else {
        return split_spaces(text, max, from_right, meter);
    };
    let separator = separator.as_str();
    if separator.is_empty() {
        return Err(invalid("empty separator"));
    }
    if from_right {
        let mut parts: Vec<&str> = Vec::new();
        for part in raw.rsplitn(max.saturating_add(1), separator) {
            meter.slots(1)?;
            parts.push(part);
        }
        return list_of(text, parts.into_iter().rev(), meter);
    }
    list_of(text, raw.splitn(max.saturating_add(1), separator), meter)
}

fn split_spaces(text: &Text, max: usize, from_right: bool, meter: &Meter) -> Result<Value, Fault> {
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    loop {
        rest = match from_right {
            true => rest.trim_end_matches(is_space),
            false => rest.trim_start_matches(is_space),
        };
        if rest.is_empty() {
            break;
        }
        meter.slots(1)?;
        if parts.len() >= max {
            // What is left keeps the white space on its far side.
            parts.push(rest);
            break;
        }
        let cut = match from_right {
            true => rest.rfind(is_space),
            false => rest.find(is_space),
        };
        match cut {
            None => {
                parts.push(rest);
                break;
            }
            Some(at) if from_right => {
                let width = rest.get(at..).and_then(|r| r.chars().next());
                let width = width.map_or(1, char::len_utf8);
                parts.push(rest.get(at + width..).unwrap_or_default());
                rest = rest.get(..at).unwrap_or_default();
            }
            Some(at) => {
                parts.push(rest.get(..at).unwrap_or_default());
                rest = rest.get(at..).unwrap_or_default();
            }
        }
    }
    if from_right {
        parts.reverse();
    }
    list_of(text, parts.into_iter(), meter)
}

/// Python's line ends, which are more than `\n`.
fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// `text.splitlines(keepends)`.
pub(crate) fn split_lines(text: &Text, keep: bool, meter: &Meter) -> Result<Value, Fault> {
    let mut lines = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        meter.slots(1)?;
        let Some(at) = rest.find(is_line_end) else {
            lines.push(rest);
            break;
        };
        let (line, tail) = rest.split_at(at);
        let end = match tail.starts_with("\r\n") {
            true => 2,
            false => tail.chars().next().map_or(1, char::len_utf8),
        };
        lines.push(match keep {
            true => rest.get(..at + end).unwrap_or_default(),
            false => line,
        });
        rest = tail.get(end..).unwrap_or_default();
    }
    list_of(text, lines.into_iter(), meter)
}

/// `str.title`: a letter after a non-letter is upper case, the others lower.
pub(crate) fn title(text: &Text) -> Text {
    let mut inside = false;
    text.map_chars(|_, c| {
        let mapped: Vec<char> = match inside {
            true => c.to_lowercase().collect(),
            false => c.to_uppercase().collect(),
        };
        inside = c.is_alphabetic();
        mapped.into_iter()
    })
}

pub(crate) fn capitalize(text: &Text) -> Text {
    text.map_chars(|at, c| {
        let mapped: Vec<char> = match at {
            0 => c.to_uppercase().collect(),
            _ => c.to_lowercase().collect(),
        };
        mapped.into_iter()
    })
}

pub(crate) fn upper(text: &Text) -> Text {
    text.map_chars(|_, c| c.to_uppercase())
}

pub(crate) fn lower(text: &Text) -> Text {
    text.map_chars(|_, c| c.to_lowercase())
}

/// `center`, `ljust`, `rjust`: pads to `width` characters.
pub(crate) fn justify(
    text: &Text,
    width: i128,
    fill: char,
    side: char,
    meter: &Meter,
) -> Result<Text, Fault> {
    let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
    let length = text.as_str().chars().count();
    let missing = width.saturating_sub(length);
    meter.bytes(
        missing
            .saturating_mul(4)
            .saturating_add(text.cost(text.len())),
    )?;
    let before = match side {
        'l' => 0,
        'r' => missing,
        // As CPython centres: the odd one goes left when the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let mut buf = TextBuf::default();
    for _ in 0..before {
        buf.push_char(fill, Origin::Template);
    }
    buf.push_text(text);
    for _ in before..missing {
        buf.push_char(fill, Origin::Template);
    }
    Ok(buf.finish())
}

/// `startswith` and `endswith`, with one affix or a tuple of them.
fn affix(
    raw: &str,
    args: CallArgs,
    method: &str,
    test: fn(&str, &str) -> bool,
    meter: &Meter,
) -> Result<Value, Fault> {
    let [given, start, end] = args.bind(method, ["prefix", "start", "end"])?;
    let raw = char_range(raw, &start, &end, method)?;
    match &given {
        Some(Value::Tuple(list)) => {
            for item in &list.items {
                meter.step()?;
                let item = Some(item.clone());
                if test(raw, want_text(&item, method)?.as_str()) {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        given => Ok(Value::Bool(test(raw, want_text(given, method)?.as_str()))),
    }
}

/// The part of `raw` between two character positions as Python slices it.
fn char_range<'t>(
    raw: &'t str,
    start: &Option<Value>,
    end: &Option<Value>,
    method: &str,
) -> Result<&'t str, Fault> {
    let (start, end) = (optional_int(start, method)?, optional_int(end, method)?);
    if start.is_none() && end.is_none() {
        return Ok(raw);
    }
    let length = raw.chars().count() as i128;
    let resolve = |bound: Option<i128>, missing: i128| {
        let bound = bound.unwrap_or(missing);
        let bound = if bound < 0 {
            bound.saturating_add(length)
        } else {
            bound
        };
        bound.clamp(0, length) as usize
    };
    let (from, to) = (resolve(start, 0), resolve(end, length));
    let byte = |at: usize| raw.char_indices().nth(at).map_or(raw.len(), |(at, _)| at);
    Ok(raw.get(byte(from)..byte(to)).unwrap_or_default())
}

pub(super) fn str_method(
    text: &Text,
    name: &str,
    args: CallArgs,
    meter: &Meter,
) -> Result<Value, Fault> {
    meter.scan(text.len())?;
    for value in &args.positional {
        if let Value::Str(text) = value {
            meter.scan(text.len())?;
        }
    }
    let raw = text.as_str();
    let all = |test: fn(char) -> bool| Value::Bool(!raw.is_empty() && raw.chars().all(test));
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            let chars = optional_text(&chars, name)?;
            // Every character is looked up in the set.
            meter.spend((raw.len() as u64).saturating_mul(chars.map_or(0, Text::len) as u64))?;
            meter.bytes(text.cost(raw.len()))?;
            Ok(Value::Str(strip(
                text,
                chars,
                name != "rstrip",
                name != "lstrip",
            )))
        }
        "startswith" => affix(raw, args, name, |raw, affix| raw.starts_with(affix), meter),
        "endswith" => affix(raw, args, name, |raw, affix| raw.ends_with(affix), meter),
        "split" | "rsplit" => {
            let [separator, max] = args.bind(name, ["sep", "maxsplit"])?;
            let max = optional_int(&max, name)?.unwrap_or(-1);
            split(
                text,
                optional_text(&separator, name)?,
                max,
                name == "rsplit",
                meter,
            )
        }
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            split_lines(text, keep.is_some_and(|keep| keep.truthy()), meter)
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let count = optional_int(&count, name)?.unwrap_or(-1);
            let (old, new) = (want_text(&old, name)?, want_text(&new, name)?);
            replace(text, old, new, count, meter).map(Value::Str)
        }
        "join" => {
            let [parts] = args.bind(name, ["iterable"])?;
            let parts = parts.ok_or_else(|| invalid("join() takes exactly one argument"))?;
            let parts = parts.items(meter)?;
            for (i, part) in parts.items.iter().enumerate() {
                if part.as_text().is_none() {
                    return Err(invalid(format!(
                        "sequence item {i}: expected str instance, {} found",
                        part.type_name()
                    )));
                }
            }
            join(text, parts.items.iter().filter_map(Value::as_text), meter).map(Value::Str)
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [needle, start, end] = args.bind(name, ["sub", "start", "end"])?;
            let needle = want_text(&needle, name)?.as_str();
            let part = char_range(raw, &start, &end, name)?;
            if name == "count" {
                return Ok(Value::Int(part.matches(needle).count() as i128));
            }
            let found = match name.starts_with('r') {
                true => part.rfind(needle),
                false => part.find(needle),
            };
            let offset = part.as_ptr() as usize - raw.as_ptr() as usize;
            match found {
                Some(at) => {
                    let before = raw.get(..offset + at).unwrap_or_default();
                    Ok(Value::Int(before.chars().count() as i128))
                }
                None if name.ends_with("index") => Err(invalid("substring not found")),
                None => Ok(Value::Int(-1)),
            }
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = args.bind(name, ["affix"])?;
            let affix = want_text(&affix, name)?.as_str();
            let part = match name {
                "removeprefix" => raw.strip_prefix(affix),
                _ => raw.strip_suffix(affix),
            };
            meter.bytes(text.cost(raw.len()))?;
            Ok(Value::Str(
                part.map_or_else(|| text.clone(), |part| text.part(part)),
            ))
        }
        "partition" | "rpartition" => {
            let [separator] = args.bind(name, ["sep"])?;
            let separator = want_text(&separator, name)?;
            if separator.is_empty() {
                return Err(invalid("empty separator"));
            }
            meter.bytes(text.cost(raw.len()) * 2)?;
            let right = name == "rpartition";
            let found = match right {
                true => raw.rfind(separator.as_str()),
                false => raw.find(separator.as_str()),
            };
            let empty = || Text::new("", Origin::Template);
            let parts = match found {
                Some(at) => [
                    text.slice(0..at),
                    separator.clone(),
                    text.slice(at + separator.len()..raw.len()),
                ],
                None if right => [empty(), empty(), text.clone()],
                None => [text.clone(), empty(), empty()],
            };
            Value::tuple(parts.map(Value::Str).to_vec(), meter)
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = args.bind(name, ["width", "fillchar"])?;
            let width = optional_int(&width, name)?.unwrap_or(0);
            let fill = optional_text(&fill, name)?.map_or(" ", Text::as_str);
            let fill = fill.chars().next().unwrap_or(' ');
            let side = name.chars().next().unwrap_or('c');
            // `ljust` pads on the right.
            justify(text, width, fill, side, meter).map(Value::Str)
        }
        "zfill" => {
            let [width] = args.bind(name, ["width"])?;
            let width = optional_int(&width, name)?.unwrap_or(0);
            let signed = raw.starts_with(['+', '-']);
            let digits = text.slice(usize::from(signed)..raw.len());
            let padded = justify(&digits, width - i128::from(signed), '0', 'r', meter)?;
            concat(&text.slice(0..usize::from(signed)), &padded, meter).map(Value::Str)
        }
        _ => {
            let [] = args.bind(name, [])?;
            meter.bytes(text.cost(raw.len()) * 3)?;
            Ok(match name {
                "upper" => Value::Str(upper(text)),
                "lower" | "casefold" => Value::Str(lower(text)),
                "capitalize" => Value::Str(capitalize(text)),
                "title" => Value::Str(title(text)),
                "swapcase" => Value::Str(text.map_chars(|_, c| {
                    let mapped: Vec<char> = match c.is_uppercase() {
                        true => c.to_lowercase().collect(),
                        false => c.to_uppercase().collect(),
                    };
                    mapped.into_iter()
                })),
                "isalnum" => all(char::is_alphanumeric),
                "isalpha" => all(char::is_alphabetic),
                "isascii" => Value::Bool(raw.is_ascii()),
                "isdecimal" | "isdigit" | "isnumeric" => all(char::is_numeric),
                "isspace" => all(is_space),
                "isprintable" => Value::Bool(!raw.chars().any(char::is_control)),
                "isidentifier" => Value::Bool(
                    raw.starts_with(|c: char| c == '_' || c.is_alphabetic())
                        && raw.chars().all(|c| c == '_' || c.is_alphanumeric()),
                ),
                "islower" => cased(raw, char::is_lowercase, char::is_uppercase),
                "isupper" => cased(raw, char::is_uppercase, char::is_lowercase),
                "istitle" => {
                    Value::Bool(raw.chars().any(char::is_alphabetic) && title(text).as_str() == raw)
                }
                _ => {
                    return Err(invalid(format!("'str object' has no attribute '{name}'")));
                }
            })
        }
    }
}

/// At least one character of one case and none of the other.
pub(crate) fn cased(raw: &str, is: fn(char) -> bool, isnt: fn(char) -> bool) -> Value {
    Value::Bool(raw.chars().any(is) && !raw.chars().any(isnt))
}

/// The texts of `items`, each as `str()` gives it.
pub(crate) fn texts(items: &[Value], meter: &Meter) -> Result<Vec<Text>, Fault> {
    items.iter().map(|item| to_text(item, meter)).collect()
}
