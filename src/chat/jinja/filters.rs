//! jinja2's filters, and `tojson` as Hugging Face overrides it.

use std::cmp::Ordering;

use super::eval::Machine;
use super::json::{Style, dumps};
use super::lexer::is_space;
use super::meter::{Fault, Meter, invalid};
use super::methods::{
    CallArgs, capitalize, has_method, join, justify, lower, replace, strip, texts, title, upper,
};
use super::ops::{equal, order};
use super::repr::{to_text, write_repr};
use super::text::{Origin, Text, TextBuf};
use super::value::{List, Value, new_list};

/// The filters there are, for `is filter`.
const NAMES: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
];

pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

fn flag(value: &Option<Value>, default: bool) -> bool {
    value.as_ref().map_or(default, Value::truthy)
}

fn whole(value: &Option<Value>, default: i128, filter: &str) -> Result<i128, Fault> {
    match value {
        None => Ok(default),
        Some(value) => value
            .as_int()
            .ok_or_else(|| invalid(format!("{filter}: an integer is required"))),
    }
}

/// Applies the filter `name`.
pub(crate) fn apply(
    m: &mut Machine<'_>,
    name: &str,
    value: Value,
    args: CallArgs,
) -> Result<Value, Fault> {
    if let Value::Str(text) = &value {
        m.meter.scan(text.len())?;
    }
    match name {
        "safe" | "string" => to_text(&value, &m.meter).map(Value::Str),
        "length" | "count" => value.length(&m.meter).map(|n| Value::Int(n as i128)),
        "list" => {
            let items = value.items(&m.meter)?;
            Value::list(items.items.clone(), &m.meter)
        }
        "default" | "d" => {
            let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
            let missing =
                matches!(value, Value::Undefined(_)) || (flag(&boolean, false) && !value.truthy());
            Ok(match missing {
                true => default.unwrap_or_else(|| Value::template_str("")),
                false => value,
            })
        }
        "tojson" => tojson(&value, args, &m.meter),
        "items" => match value {
            Value::Undefined(_) => Value::list(Vec::new(), &m.meter),
            Value::Dict(_) => m.call_method(&value, "items", CallArgs::default()),
            _ => Err(invalid("Can only get item pairs from a mapping.")),
        },
        "map" | "select" | "reject" | "selectattr" | "rejectattr" => choose(m, name, &value, args),
        "join" => {
            let [separator, attribute] = args.bind(name, ["d", "attribute"])?;
            let items = value.items(&m.meter)?;
            let items = attributes(m, &items, &attribute)?;
            let separator = match separator {
                Some(separator) => to_text(&separator, &m.meter)?,
                None => Text::new("", Origin::Template),
            };
            let parts = texts(&items, &m.meter)?;
            join(&separator, parts.iter(), &m.meter).map(Value::Str)
        }
        "first" | "last" => {
            let items = value.items(&m.meter)?;
            let found = match name {
                "first" => items.items.first(),
                _ => items.items.last(),
            };
            let missing =
                || Value::Undefined(format!("No {name} item, sequence was empty.").into());
            Ok(found.cloned().unwrap_or_else(missing))
        }
        "reverse" => match &value {
            Value::Str(text) => {
                m.meter.bytes(text.cost(text.len()))?;
                let mut buf = TextBuf::default();
                for (at, c) in text.as_str().char_indices().rev() {
                    buf.push_part(text, at..at + c.len_utf8());
                }
                Ok(Value::Str(buf.finish()))
            }
            _ => {
                let items = value.items(&m.meter)?;
                Value::list(items.items.iter().rev().cloned().collect(), &m.meter)
            }
        },
        "sort" | "dictsort" | "unique" | "min" | "max" | "sum" | "groupby" | "batch" | "slice" => {
            sequence(m, name, value, args)
        }
        "attr" => {
            let [attribute] = args.bind(name, ["name"])?;
            let attribute = attribute.unwrap_or(Value::None);
            let attribute = to_text(&attribute, &m.meter)?;
            match &value {
                // An attribute and nothing else: entries are items.
                Value::Dict(_) if !has_method(&value, attribute.as_str()) => {
                    Ok(Value::Undefined("no such attribute".into()))
                }
                _ => m.attribute(&value, attribute.as_str()),
            }
        }
        "abs" | "int" | "float" | "round" => number(name, value, args),
        "format" => {
            let format = to_text(&value, &m.meter)?;
            let args = match args.named.is_empty() {
                true => Value::tuple(args.positional, &m.meter)?,
                false => {
                    let entries = args.named.into_iter();
                    let entries = entries.map(|(key, value)| (Value::template_str(&key), value));
                    Value::dict(entries.collect(), &m.meter)?
                }
            };
            super::format::percent(&format, &args, &m.meter).map(Value::Str)
        }
        "pprint" => {
            let mut buf = TextBuf::default();
            write_repr(&mut buf, &value, &m.meter, 0)?;
            Ok(Value::Str(buf.finish()))
        }
        _ => text_filter(m, name, value, args),
    }
}

/// Filters that take a value's text.
fn text_filter(
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
                    super::ops::repeat_text(&space, whole(&width, 4, name)?, &m.meter)?
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
            super::ops::concat(&kept, &end, &m.meter)?
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

fn tojson(value: &Value, args: CallArgs, meter: &Meter) -> Result<Value, Fault> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = args.bind("tojson", names)?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) => Some(text.as_str().to_string()),
        Some(width) => {
            let width = width
                .as_int()
                .ok_or_else(|| invalid("tojson: indent must be an integer or a string"))?;
            let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
            meter.bytes(width)?;
            Some(" ".repeat(width))
        }
    };
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => {
            let item = if indent.is_some() { "," } else { ", " };
            (item.to_string(), ": ".to_string())
        }
        Some(given) => {
            let pair = given.items(meter)?;
            match pair.items.as_slice() {
                [Value::Str(item), Value::Str(key)] => {
                    (item.as_str().to_string(), key.as_str().to_string())
                }
                _ => return Err(invalid("tojson: separators must be two strings")),
            }
        }
    };
    let style = Style {
        ensure_ascii: flag(&ensure_ascii, false),
        indent,
        item_separator,
        key_separator,
        sort_keys: flag(&sort_keys, false),
    };
    dumps(value, &style, meter).map(Value::Str)
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

fn number(name: &str, value: Value, args: CallArgs) -> Result<Value, Fault> {
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

/// `items`, or the attribute each of them has.
fn attributes(
    m: &mut Machine<'_>,
    items: &List,
    attribute: &Option<Value>,
) -> Result<Vec<Value>, Fault> {
    m.meter.slots(items.items.len())?;
    match attribute {
        None | Some(Value::None) => Ok(items.items.clone()),
        Some(path) => items.items.iter().map(|item| m.path(item, path)).collect(),
    }
}

/// `map`, `select`, `reject`, `selectattr`, `rejectattr`.
fn choose(
    m: &mut Machine<'_>,
    name: &str,
    value: &Value,
    mut args: CallArgs,
) -> Result<Value, Fault> {
    let items = value.items(&m.meter)?;
    let mut take_first = || match args.positional.is_empty() {
        true => None,
        false => Some(args.positional.remove(0)),
    };
    let mut kept = Vec::new();
    if name == "map" {
        let function = take_first();
        if function.is_none() {
            let [attribute, default] = args.bind(name, ["attribute", "default"])?;
            let attribute = attribute.ok_or_else(|| invalid("map requires a filter argument"))?;
            for item in &items.items {
                m.meter.slots(1)?;
                kept.push(match (m.path(item, &attribute)?, &default) {
                    (Value::Undefined(_), Some(default)) => default.clone(),
                    (found, _) => found,
                });
            }
            return Value::list(kept, &m.meter);
        }
        let filter = to_text(&function.unwrap_or(Value::None), &m.meter)?;
        for item in &items.items {
            m.meter.slots(1 + args.positional.len())?;
            let args = CallArgs {
                positional: args.positional.clone(),
                named: args.named.clone(),
            };
            kept.push(apply(m, filter.as_str(), item.clone(), args)?);
        }
        return Value::list(kept, &m.meter);
    }
    let attribute = match name.ends_with("attr") {
        true => Some(take_first().ok_or_else(|| invalid("Missing parameter for attribute name"))?),
        false => None,
    };
    let test = take_first();
    let wanted = name.starts_with("select");
    for item in &items.items {
        m.meter.slots(1 + args.positional.len())?;
        let subject = match &attribute {
            Some(path) => m.path(item, path)?,
            None => item.clone(),
        };
        let passes = match &test {
            None => subject.truthy(),
            Some(test) => {
                let test = to_text(test, &m.meter)?;
                super::checks::check(m, test.as_str(), &subject, &args.positional)?
            }
        };
        if passes == wanted {
            kept.push(item.clone());
        }
    }
    Value::list(kept, &m.meter)
}

/// A sort key: strings without their case unless asked otherwise.
fn key_of(value: Value, case_sensitive: bool, meter: &Meter) -> Result<Value, Fault> {
    match value {
        Value::Str(text) if !case_sensitive => {
            meter.bytes(text.cost(text.len()) * 3)?;
            Ok(Value::Str(lower(&text)))
        }
        other => Ok(other),
    }
}

/// Sorts by keys, stably. Keys that Python cannot order are an error, found before
/// sorting: a comparison that changes its mind would be a panic.
fn sort_by_key(
    mut keyed: Vec<(Value, Value)>,
    reverse: bool,
    meter: &Meter,
) -> Result<Vec<Value>, Fault> {
    let n = keyed.len();
    meter.slots(n * 2)?;
    meter.spend((n as u64).saturating_mul(64 * u64::from(usize::BITS - n.leading_zeros())))?;
    let longest = keyed.iter().filter_map(|(key, _)| key.as_text());
    let longest = longest.map(Text::len).max().unwrap_or(0);
    meter.spend((n as u64).saturating_mul(longest.min(64) as u64))?;
    let numbers = keyed.iter().all(|(key, _)| key.as_float().is_some());
    let strings = keyed.iter().all(|(key, _)| key.as_text().is_some());
    if numbers {
        keyed.sort_by(|(a, _), (b, _)| match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => {
                let float = |value: &Value| value.as_float().unwrap_or(f64::NAN);
                float(a).total_cmp(&float(b))
            }
        });
    } else if strings {
        let text = |value: &Value| value.as_text().cloned();
        keyed.sort_by(|(a, _), (b, _)| match (text(a), text(b)) {
            (Some(a), Some(b)) => a.as_str().cmp(b.as_str()),
            _ => Ordering::Equal,
        });
    } else {
        // Tuples and mixtures are rare: an insertion sort can stop at an error.
        let mut sorted: Vec<(Value, Value)> = Vec::with_capacity(n);
        for entry in keyed {
            let mut at = sorted.len();
            while let Some(before) = at.checked_sub(1).and_then(|i| sorted.get(i)) {
                if order(&entry.0, &before.0, "<", meter)? != Some(Ordering::Less) {
                    break;
                }
                at -= 1;
            }
            sorted.insert(at, entry);
        }
        keyed = sorted;
    }
    if reverse {
        // Python's reverse sort keeps equal items in their first order.
        keyed.reverse();
        let mut stable: Vec<(Value, Value)> = Vec::with_capacity(n);
        let mut run_start = 0;
        for entry in keyed {
            let same = match stable.last() {
                Some((key, _)) => equal(key, &entry.0, meter)?,
                None => false,
            };
            if !same {
                if let Some(run) = stable.get_mut(run_start..) {
                    run.reverse();
                }
                run_start = stable.len();
            }
            stable.push(entry);
        }
        if let Some(run) = stable.get_mut(run_start..) {
            run.reverse();
        }
        keyed = stable;
    }
    Ok(keyed.into_iter().map(|(_, value)| value).collect())
}

fn keyed(
    m: &mut Machine<'_>,
    items: &List,
    attribute: &Option<Value>,
    case_sensitive: bool,
) -> Result<Vec<(Value, Value)>, Fault> {
    let keys = attributes(m, items, attribute)?;
    let pairs = keys.into_iter().zip(items.items.iter().cloned());
    pairs
        .map(|(key, item)| Ok((key_of(key, case_sensitive, &m.meter)?, item)))
        .collect()
}

/// Filters over the items of a sequence as a whole.
fn sequence(m: &mut Machine<'_>, name: &str, value: Value, args: CallArgs) -> Result<Value, Fault> {
    let list = match (name, &value) {
        ("dictsort", Value::Dict(dict)) => {
            let [case, by, reverse] = args.bind(name, ["case_sensitive", "by", "reverse"])?;
            let by_value = match by.as_ref().and_then(Value::as_text) {
                Some(by) => by.as_str() == "value",
                None => false,
            };
            let mut keyed = Vec::new();
            for (key, value) in &dict.entries {
                m.meter.slots(2)?;
                let sort_by = if by_value { value } else { key };
                let sort_by = key_of(sort_by.clone(), flag(&case, false), &m.meter)?;
                let pair = Value::tuple(vec![key.clone(), value.clone()], &m.meter)?;
                keyed.push((sort_by, pair));
            }
            let sorted = sort_by_key(keyed, flag(&reverse, false), &m.meter)?;
            return Value::list(sorted, &m.meter);
        }
        ("dictsort", Value::Undefined(why)) => return Err(invalid(&**why)),
        ("dictsort", other) => {
            return Err(invalid(format!(
                "'{} object' has no attribute 'items'",
                other.type_name()
            )));
        }
        _ => value.items(&m.meter)?,
    };
    match name {
        "sort" => {
            let names = ["reverse", "case_sensitive", "attribute"];
            let [reverse, case, attribute] = args.bind(name, names)?;
            let keyed = keyed(m, &list, &attribute, flag(&case, false))?;
            let sorted = sort_by_key(keyed, flag(&reverse, false), &m.meter)?;
            Value::list(sorted, &m.meter)
        }
        "min" | "max" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let mut best: Option<(Value, Value)> = None;
            for entry in keyed(m, &list, &attribute, flag(&case, false))? {
                let better = match &best {
                    None => true,
                    Some((key, _)) => {
                        let found = order(&entry.0, key, "<", &m.meter)?;
                        found
                            == Some(match name {
                                "min" => Ordering::Less,
                                _ => Ordering::Greater,
                            })
                    }
                };
                if better {
                    best = Some(entry);
                }
            }
            let empty = || Value::Undefined("No aggregated item, sequence was empty.".into());
            Ok(best.map_or_else(empty, |(_, item)| item))
        }
        "unique" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let mut seen: Vec<Value> = Vec::new();
            let mut kept = Vec::new();
            'items: for (key, item) in keyed(m, &list, &attribute, flag(&case, false))? {
                for known in &seen {
                    if equal(known, &key, &m.meter)? {
                        continue 'items;
                    }
                }
                seen.push(key);
                kept.push(item);
            }
            Value::list(kept, &m.meter)
        }
        "sum" => {
            let [attribute, start] = args.bind(name, ["attribute", "start"])?;
            let mut total = start.unwrap_or(Value::Int(0));
            for item in attributes(m, &list, &attribute)? {
                let add = super::ast::BinaryOp::Add;
                total = super::ops::binary(add, &total, &item, &m.meter)?;
            }
            Ok(total)
        }
        "groupby" => {
            let names = ["attribute", "default", "case_sensitive"];
            let [attribute, default, case] = args.bind(name, names)?;
            let keys = attributes(m, &list, &attribute)?;
            let mut entries = Vec::new();
            for (key, item) in keys.into_iter().zip(&list.items) {
                let key = match (key, &default) {
                    (Value::Undefined(_), Some(default)) => default.clone(),
                    (key, _) => key,
                };
                let folded = key_of(key.clone(), flag(&case, false), &m.meter)?;
                let pair = Value::tuple(vec![key, item.clone()], &m.meter)?;
                entries.push((folded, pair));
            }
            let sorted = sort_by_key(entries, false, &m.meter)?;
            let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
            for pair in sorted {
                let Value::Tuple(pair) = &pair else { continue };
                let [key, item] = pair.items.as_slice() else {
                    continue;
                };
                let folded = key_of(key.clone(), flag(&case, false), &m.meter)?;
                match groups.last_mut() {
                    Some((last, items))
                        if equal(
                            &key_of(last.clone(), flag(&case, false), &m.meter)?,
                            &folded,
                            &m.meter,
                        )? =>
                    {
                        items.push(item.clone());
                    }
                    _ => groups.push((key.clone(), vec![item.clone()])),
                }
            }
            let mut grouped = Vec::new();
            for (key, items) in groups {
                let items = Value::list(items, &m.meter)?;
                grouped.push(Value::tuple(vec![key, items], &m.meter)?);
            }
            Value::list(grouped, &m.meter)
        }
        // `batch` and `slice`: lists of a length, or so many lists.
        _ => {
            let [count, fill] = args.bind(name, ["count", "fill_with"])?;
            let count = usize::try_from(whole(&count, 0, name)?)
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| invalid(format!("{name} needs a positive count")))?;
            let fill = fill.filter(|fill| !matches!(fill, Value::None));
            let mut rows = Vec::new();
            let n = list.items.len();
            if name == "batch" {
                for chunk in list.items.chunks(count) {
                    let mut row = chunk.to_vec();
                    if let Some(fill) = &fill {
                        m.meter.slots(count - row.len())?;
                        row.resize(count, fill.clone());
                    }
                    rows.push(Value::List(new_list(row, &m.meter)?));
                }
            } else {
                m.meter.slots(count)?;
                let mut at = 0;
                for i in 0..count {
                    let longer = i < n % count;
                    let take = n / count + usize::from(longer);
                    let row = list.items.get(at..at + take).unwrap_or_default();
                    let mut row = row.to_vec();
                    at += take;
                    if let (Some(fill), false) = (&fill, longer || n % count == 0) {
                        row.push(fill.clone());
                    }
                    rows.push(Value::List(new_list(row, &m.meter)?));
                }
            }
            Value::list(rows, &m.meter)
        }
    }
}
