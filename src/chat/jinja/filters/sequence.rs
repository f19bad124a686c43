//! Filters over a sequence as a whole.

use std::cmp::Ordering;

use super::{attributes, flag, whole};
use crate::chat::jinja::ast::BinaryOp;
use crate::chat::jinja::eval::Machine;
use crate::chat::jinja::meter::{Fault, Meter, invalid};
use crate::chat::jinja::methods::{CallArgs, lower};
use crate::chat::jinja::ops::{binary, equal, order};
use crate::chat::jinja::text::Text;
use crate::chat::jinja::value::{List, Value, new_list};

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
pub(super) fn sequence(
    m: &mut Machine<'_>,
    name: &str,
    value: Value,
    args: CallArgs,
) -> Result<Value, Fault> {
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
                let add = BinaryOp::Add;
                total = binary(add, &total, &item, &m.meter)?;
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
