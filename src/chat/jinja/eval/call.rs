//! Calls: macros, methods and the functions every template has.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{MAX_RANGE, Machine};
use crate::chat::jinja::meter::{Fault, invalid};
use crate::chat::jinja::methods::{self, CallArgs};
use crate::chat::jinja::ops;
use crate::chat::jinja::repr::to_text;
use crate::chat::jinja::text::{Origin, Text};
use crate::chat::jinja::value::{Builtin, Loop, Macro, Scope, Value, new_list};

impl Machine<'_> {
    pub(crate) fn call_method(
        &mut self,
        value: &Value,
        name: &str,
        args: CallArgs,
    ) -> Result<Value, Fault> {
        // `str.format` reads attributes while it holds the meter: plain data only.
        let meter = &self.meter;
        let mut get = |value: &Value, name: &str, _: bool| match value {
            Value::Dict(dict) => {
                let found = ops::lookup(dict, &Value::template_str(name), meter)?;
                found.ok_or_else(|| invalid(format!("'{name}'")))
            }
            Value::List(list) | Value::Tuple(list) => {
                let found = name.parse().ok().and_then(|at: usize| list.items.get(at));
                found
                    .cloned()
                    .ok_or_else(|| invalid("list index out of range"))
            }
            other => Err(invalid(format!(
                "'{}' object has no attribute '{name}'",
                other.type_name()
            ))),
        };
        methods::call_method(value, name, args, &mut get, meter)
    }

    pub(super) fn call(&mut self, callee: &Value, args: CallArgs) -> Result<Value, Fault> {
        match callee {
            Value::Macro(found) => {
                let found = found.clone();
                self.deeper(|m| m.call_macro(&found, args))
            }
            Value::Builtin(builtin) => self.call_builtin(*builtin, args),
            Value::Method(method) => {
                let (receiver, name) = &**method;
                match receiver {
                    Value::Loop(this) => self.loop_method(this, name, args),
                    _ => self.call_method(receiver, name, args),
                }
            }
            Value::Loop(this) => {
                let Some((statement, scope)) = &this.recurse else {
                    return Err(invalid(
                        "The loop must have the 'recursive' marker to be called recursively.",
                    ));
                };
                let [items] = args.bind("loop", ["iterable"])?;
                let items = items.ok_or_else(|| invalid("loop() needs what to iterate"))?;
                let depth = this.depth + 1;
                let text = self.captured(|m| m.for_loop(statement, items, scope, depth))?;
                Ok(Value::Str(text))
            }
            Value::Joiner(joiner) => {
                let (separator, used) = &**joiner;
                Ok(match used.replace(true) {
                    true => Value::Str(separator.clone()),
                    false => Value::template_str(""),
                })
            }
            Value::Undefined(why) => Err(invalid(&**why)),
            other => Err(invalid(format!(
                "'{}' object is not callable",
                other.type_name()
            ))),
        }
    }

    pub(super) fn loop_method(
        &mut self,
        this: &Rc<Loop>,
        name: &str,
        args: CallArgs,
    ) -> Result<Value, Fault> {
        if name == "cycle" {
            let count = args.positional.len();
            let at = this.index.get().checked_rem(count);
            return match at.and_then(|at| args.positional.get(at)) {
                Some(value) => Ok(value.clone()),
                None => Err(invalid("no items for cycling given")),
            };
        }
        let mut last = this.changed.borrow_mut();
        let mut same = last
            .as_ref()
            .is_some_and(|last| last.len() == args.positional.len());
        for (a, b) in last.iter().flatten().zip(&args.positional) {
            same = same && ops::equal(a, b, &self.meter)?;
        }
        if !same {
            *last = Some(args.positional);
        }
        Ok(Value::Bool(!same))
    }

    pub(super) fn call_macro(&mut self, found: &Macro, args: CallArgs) -> Result<Value, Fault> {
        let def = &*found.def;
        let scope = Scope::new(Some(found.scope.clone()));
        let given = args.positional.len();
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        let mut missing = Vec::new();
        for (name, symbol, default) in &def.params {
            let at = named.iter().position(|(key, _)| key == name);
            let value = match (positional.next(), at) {
                (Some(_), Some(_)) => {
                    return Err(invalid(format!(
                        "macro '{}' got multiple values for argument '{name}'",
                        def.name
                    )));
                }
                (Some(value), None) => Some(value),
                (None, Some(at)) => Some(named.remove(at).1),
                (None, None) => None,
            };
            match value {
                Some(value) => scope.set(*symbol, value),
                None => missing.push((name, *symbol, default)),
            }
        }
        // Defaults see the arguments that were given.
        for (name, symbol, default) in missing {
            let value = match default {
                Some(default) => self.eval(default, &scope)?,
                None => Value::Undefined(format!("parameter '{name}' was not provided").into()),
            };
            scope.set(symbol, value);
        }
        let [takes_varargs, takes_kwargs, takes_caller] = def.takes;
        let [varargs, kwargs, caller] = def.implicit;
        let caller_at = named.iter().position(|(key, _)| &**key == "caller");
        match caller_at {
            Some(at) if takes_caller => scope.set(caller, named.remove(at).1),
            _ if takes_caller => {
                let value = Value::Undefined("No caller defined".into());
                scope.set(caller, value);
            }
            _ => {}
        }
        if takes_varargs {
            let rest = Value::tuple(positional.collect(), &self.meter)?;
            scope.set(varargs, rest);
        } else if positional.next().is_some() {
            return Err(invalid(format!(
                "macro '{}' takes not more than {} argument(s), got {given}",
                def.name,
                def.params.len()
            )));
        }
        if takes_kwargs {
            let entries = named.into_iter();
            let entries = entries.map(|(key, value)| {
                let key = Value::Str(Text::new(key, Origin::Data));
                (key, value)
            });
            let rest = Value::dict(entries.collect(), &self.meter)?;
            scope.set(kwargs, rest);
        } else if let Some((name, _)) = named.first() {
            return Err(invalid(format!(
                "macro '{}' takes no keyword argument '{name}'",
                def.name
            )));
        }
        let text = self.captured(|m| m.block(&def.body, &scope))?;
        Ok(Value::Str(text))
    }

    pub(super) fn call_builtin(
        &mut self,
        builtin: Builtin,
        args: CallArgs,
    ) -> Result<Value, Fault> {
        match builtin {
            Builtin::RaiseException => {
                let [message] = args.bind("raise_exception", ["message"])?;
                let message = to_text(&message.unwrap_or(Value::None), &self.meter)?;
                Err(Fault::Raised(message.as_str().to_string()))
            }
            Builtin::StrftimeNow => {
                let [format] = args.bind("strftime_now", ["format"])?;
                let Some(Value::Str(format)) = format else {
                    return Err(invalid("strftime_now() needs a format"));
                };
                self.meter.bytes(format.len().saturating_mul(32))?;
                let text = self.now.strftime(format.as_str());
                Ok(Value::Str(Text::new(text, Origin::Template)))
            }
            Builtin::Range => self.range(args),
            Builtin::Dict | Builtin::Namespace => {
                let mut entries: Vec<(Value, Value)> = Vec::new();
                for value in args.positional {
                    match value {
                        Value::Dict(dict) => {
                            self.meter.slots(dict.entries.len() * 2)?;
                            for (key, value) in &dict.entries {
                                self.insert(&mut entries, key.clone(), value.clone())?;
                            }
                        }
                        other => {
                            for pair in &other.items(&self.meter)?.items {
                                let pair = pair.items(&self.meter)?;
                                let [key, value] = pair.items.as_slice() else {
                                    return Err(invalid("dictionary update sequence needs pairs"));
                                };
                                self.insert(&mut entries, key.clone(), value.clone())?;
                            }
                        }
                    }
                }
                for (key, value) in args.named {
                    let key = Value::Str(Text::new(key, Origin::Template));
                    self.insert(&mut entries, key, value)?;
                }
                if builtin == Builtin::Dict {
                    return Value::dict(entries, &self.meter);
                }
                self.meter.slots(entries.len() * 2 + 4)?;
                let mut attributes = Vec::new();
                for (key, value) in entries {
                    attributes.push((to_text(&key, &self.meter)?, value));
                }
                let namespace = Rc::new(RefCell::new(attributes));
                self.namespaces.push(namespace.clone());
                Ok(Value::Namespace(namespace))
            }
            Builtin::Cycler => {
                if args.positional.is_empty() {
                    return Err(invalid("no items for cycling given"));
                }
                let items = new_list(args.positional, &self.meter)?;
                Ok(Value::Cycler(Rc::new((items, Cell::new(0)))))
            }
            Builtin::Joiner => {
                let [separator] = args.bind("joiner", ["sep"])?;
                let separator = match separator {
                    Some(separator) => to_text(&separator, &self.meter)?,
                    None => Text::new(", ", Origin::Template),
                };
                Ok(Value::Joiner(Rc::new((separator, Cell::new(false)))))
            }
        }
    }

    pub(super) fn range(&mut self, args: CallArgs) -> Result<Value, Fault> {
        let mut bounds = Vec::new();
        for value in &args.positional {
            let int = value.as_int().ok_or_else(|| {
                invalid(format!(
                    "'{}' object cannot be interpreted as an integer",
                    value.type_name()
                ))
            })?;
            bounds.push(int);
        }
        let (start, stop, step) = match bounds.as_slice() {
            [stop] => (0, *stop, 1),
            [start, stop] => (*start, *stop, 1),
            [_, _, 0] => return Err(invalid("range() arg 3 must not be zero")),
            [start, stop, step] => (*start, *stop, *step),
            _ => return Err(invalid("range expected 1 to 3 arguments")),
        };
        let distance = match step > 0 {
            true => stop.saturating_sub(start),
            false => start.saturating_sub(stop),
        };
        let step_size = step.unsigned_abs().min(i128::MAX as u128) as i128;
        let count = match distance > 0 {
            true => (distance - 1) / step_size + 1,
            false => 0,
        };
        if count > MAX_RANGE {
            return Err(Fault::Limit(
                "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).",
            ));
        }
        self.meter.slots(count as usize)?;
        let items = (0..count).map(|i| Value::Int(start.saturating_add(i.saturating_mul(step))));
        Value::list(items.collect(), &self.meter)
    }
}
