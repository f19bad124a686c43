//! jinja2's filters, and `tojson` as Hugging Face overrides it.

mod sequence;
mod text;

use self::sequence::sequence;
use self::text::{number, text_filter};
use super::eval::Machine;
use super::json::{Style, dumps};
use super::meter::{Fault, Meter, invalid};
use super::methods::{CallArgs, has_method, join, texts};
use super::repr::{to_text, write_repr};
use super::text::{Origin, Text, TextBuf};
use super::value::{List, Value};

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
