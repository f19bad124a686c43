//! Attributes, items and slices: what filters use as well.

use std::rc::Rc;

use super::Machine;
use crate::chat::jinja::meter::{Fault, invalid};
use crate::chat::jinja::methods;
use crate::chat::jinja::ops;
use crate::chat::jinja::repr::to_text;
use crate::chat::jinja::text::{Text, TextBuf};
use crate::chat::jinja::value::{Loop, MAX_VALUE_DEPTH, Value};

impl Machine<'_> {
    pub(super) fn slice_bound(&self, value: &Value) -> Result<Option<i128>, Fault> {
        match value {
            Value::None => Ok(None),
            Value::Undefined(why) => Err(invalid(&**why)),
            value => value.as_int().map(Some).ok_or_else(|| {
                invalid("slice indices must be integers or None or have an __index__ method")
            }),
        }
    }

    pub(super) fn slice(
        &mut self,
        value: &Value,
        bounds: [Option<i128>; 3],
    ) -> Result<Value, Fault> {
        let [start, stop, step] = bounds;
        match value {
            Value::List(list) | Value::Tuple(list) => {
                self.meter.slots(list.items.len())?;
                let indices = ops::slice_indices(list.items.len(), start, stop, step)?;
                let items = indices.iter().filter_map(|i| list.items.get(*i).cloned());
                let items = items.collect();
                match value {
                    Value::List(_) => Value::list(items, &self.meter),
                    _ => Value::tuple(items, &self.meter),
                }
            }
            Value::Str(text) => self.slice_text(text, start, stop, step).map(Value::Str),
            Value::Undefined(why) => Err(invalid(&**why)),
            other => Err(invalid(format!(
                "'{}' object is not subscriptable",
                other.type_name()
            ))),
        }
    }

    pub(super) fn slice_text(
        &self,
        text: &Text,
        start: Option<i128>,
        stop: Option<i128>,
        step: Option<i128>,
    ) -> Result<Text, Fault> {
        let raw = text.as_str();
        if step.is_none_or(|step| step == 1) {
            self.meter.scan(raw.len() * 2)?;
            let length = raw.chars().count() as i128;
            let resolve = |bound: i128| {
                let bound = if bound < 0 {
                    bound.saturating_add(length)
                } else {
                    bound
                };
                bound.clamp(0, length) as usize
            };
            let (from, to) = (resolve(start.unwrap_or(0)), resolve(stop.unwrap_or(length)));
            let byte = |at: usize| raw.char_indices().nth(at).map_or(raw.len(), |(at, _)| at);
            let (from, to) = (byte(from), byte(to.max(from)));
            self.meter.bytes(text.cost(to - from))?;
            return Ok(text.slice(from..to));
        }
        self.meter.bytes(text.cost(raw.len()).saturating_mul(24))?;
        let chars: Vec<(usize, char)> = raw.char_indices().collect();
        let mut buf = TextBuf::default();
        for index in ops::slice_indices(chars.len(), start, stop, step)? {
            if let Some((at, c)) = chars.get(index) {
                buf.push_part(text, *at..*at + c.len_utf8());
            }
        }
        Ok(buf.finish())
    }

    /// `value.name`: a method before an entry of that name, as Python finds it.
    pub(crate) fn attribute(&mut self, value: &Value, name: &str) -> Result<Value, Fault> {
        if methods::has_method(value, name) {
            self.meter.slots(4)?;
            if value.depth() >= MAX_VALUE_DEPTH {
                return Err(Fault::Limit("values nested too deep"));
            }
            return Ok(Value::Method(Rc::new((value.clone(), name.into()))));
        }
        match value {
            Value::Undefined(why) => Err(invalid(&**why)),
            Value::Dict(dict) => {
                for (key, found) in &dict.entries {
                    self.meter.spend(8)?;
                    if key.as_text().is_some_and(|key| key.as_str() == name) {
                        return Ok(found.clone());
                    }
                }
                Ok(missing_attribute(value, name))
            }
            Value::Namespace(namespace) => {
                let entries = namespace.borrow();
                self.meter.spend(8 * entries.len() as u64)?;
                let found = entries.iter().find(|(key, _)| key.as_str() == name);
                Ok(match found {
                    Some((_, found)) => found.clone(),
                    None => missing_attribute(value, name),
                })
            }
            Value::Loop(this) => self.loop_attribute(this, name),
            Value::Macro(found) if name == "name" => Ok(Value::template_str(&found.def.name)),
            Value::Cycler(cycler) if name == "current" => {
                let items = &cycler.0.items;
                Ok(items.get(cycler.1.get()).cloned().unwrap_or(Value::None))
            }
            _ => Ok(missing_attribute(value, name)),
        }
    }

    pub(super) fn loop_attribute(&mut self, this: &Rc<Loop>, name: &str) -> Result<Value, Fault> {
        let (index, length) = (this.index.get(), this.items.items.len());
        let int = |value: usize| Value::Int(value as i128);
        let neighbour =
            |at: Option<usize>, which: &str| match at.and_then(|i| this.items.items.get(i)) {
                Some(item) => item.clone(),
                None => Value::Undefined(format!("there is no {which} item").into()),
            };
        Ok(match name {
            "index" => int(index + 1),
            "index0" => int(index),
            "revindex" => int(length - index),
            "revindex0" => int(length - index - 1),
            "first" => Value::Bool(index == 0),
            "last" => Value::Bool(index + 1 == length),
            "length" => int(length),
            "depth" => int(this.depth + 1),
            "depth0" => int(this.depth),
            "previtem" => neighbour(index.checked_sub(1), "previous"),
            "nextitem" => neighbour(Some(index + 1), "next"),
            "cycle" | "changed" => {
                self.meter.slots(4)?;
                Value::Method(Rc::new((Value::Loop(this.clone()), name.into())))
            }
            _ => missing_attribute(&Value::Loop(this.clone()), name),
        })
    }

    /// `value[index]`.
    pub(crate) fn item(&mut self, value: &Value, index: &Value) -> Result<Value, Fault> {
        match (value, index) {
            (Value::Undefined(why), _) => return Err(invalid(&**why)),
            (Value::Dict(dict), _) => {
                if let Some(found) = ops::lookup(dict, index, &self.meter)? {
                    return Ok(found);
                }
            }
            (Value::List(list) | Value::Tuple(list), _) => {
                if let Some(at) = index.as_int() {
                    let length = list.items.len() as i128;
                    let at = if at < 0 {
                        at.saturating_add(length)
                    } else {
                        at
                    };
                    let found = usize::try_from(at).ok().and_then(|at| list.items.get(at));
                    if let Some(found) = found {
                        return Ok(found.clone());
                    }
                }
            }
            (Value::Str(text), _) => {
                if let Some(at) = index.as_int() {
                    self.meter.scan(text.len())?;
                    let raw = text.as_str();
                    let back = at < 0;
                    let steps = if back { -(at.saturating_add(1)) } else { at };
                    let steps = usize::try_from(steps).unwrap_or(usize::MAX);
                    let found = match back {
                        true => raw.char_indices().rev().nth(steps),
                        false => raw.char_indices().nth(steps),
                    };
                    if let Some((at, c)) = found {
                        return Ok(Value::Str(text.slice(at..at + c.len_utf8())));
                    }
                }
            }
            _ => {}
        }
        match index {
            Value::Str(name) => {
                self.meter.scan(name.len())?;
                self.attribute(value, name.as_str())
            }
            _ => {
                let shown = to_text(index, &self.meter)?;
                Ok(Value::Undefined(
                    format!("{} has no element {}", describe(value), shown.as_str()).into(),
                ))
            }
        }
    }

    /// An attribute path as filters take it: `a.b.0`, or an index.
    pub(crate) fn path(&mut self, value: &Value, path: &Value) -> Result<Value, Fault> {
        let Value::Str(path) = path else {
            return self.item(value, path);
        };
        let mut value = value.clone();
        for part in path.as_str().split('.') {
            let index = match part.parse() {
                Ok(index) => Value::Int(index),
                Err(_) => Value::template_str(part),
            };
            value = self.item(&value, &index)?;
        }
        Ok(value)
    }
}

fn missing_attribute(value: &Value, name: &str) -> Value {
    let name: String = name.chars().take(64).collect();
    let owner = match value {
        Value::None => "None".to_string(),
        Value::Namespace(_) => "jinja2.utils.Namespace object".to_string(),
        other => format!("{} object", other.type_name()),
    };
    Value::Undefined(format!("'{owner}' has no attribute '{name}'").into())
}

fn describe(value: &Value) -> String {
    match value {
        Value::None => "None".to_string(),
        other => format!("{} object", other.type_name()),
    }
}
