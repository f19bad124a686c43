//! The methods of Python's `str`, `list`, `tuple` and `dict` that templates call.

mod strings;

pub(crate) use strings::{
    capitalize, cased, join, justify, lower, replace, strip, texts, title, upper,
};

use std::sync::Arc;

use self::strings::str_method;
use super::format::braces;
use super::meter::{Fault, Meter, invalid};
use super::ops::{equal, lookup};
use super::value::{Value, new_list_metered};

/// Arguments of a call, evaluated.
#[derive(Default)]
pub(crate) struct CallArgs {
    pub(crate) positional: Vec<Value>,
    pub(crate) named: Vec<(Arc<str>, Value)>,
}

impl CallArgs {
    /// Puts the arguments in the order of `names`; what is not given is `None`.
    pub(crate) fn bind<const N: usize>(
        self,
        callee: &str,
        names: [&str; N],
    ) -> Result<[Option<Value>; N], Fault> {
        let mut bound = [const { None }; N];
        let given = self.positional.len();
        if given > N {
            return Err(invalid(format!(
                "{callee}() takes at most {N} arguments ({given} given)"
            )));
        }
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let at = names.iter().position(|known| **known == *name);
            match at.and_then(|at| bound.get_mut(at)) {
                Some(slot @ None) => *slot = Some(value),
                Some(Some(_)) => {
                    return Err(invalid(format!(
                        "{callee}() got multiple values for argument '{name}'"
                    )));
                }
                None => {
                    return Err(invalid(format!(
                        "{callee}() got an unexpected keyword argument '{name}'"
                    )));
                }
            }
        }
        Ok(bound)
    }
}

const STR: [&str; 41] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
];
const DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];
const LIST: [&str; 3] = ["copy", "count", "index"];
const TUPLE: [&str; 2] = ["count", "index"];

/// Whether values of this type have the method: Python finds it before an entry of
/// the same name when an attribute is asked for.
pub(crate) fn has_method(value: &Value, name: &str) -> bool {
    match value {
        Value::Str(_) => STR.contains(&name) || name == "zfill",
        Value::Dict(_) => DICT.contains(&name),
        Value::List(_) => LIST.contains(&name),
        Value::Tuple(_) => TUPLE.contains(&name),
        Value::Cycler(_) => name == "next" || name == "reset",
        _ => false,
    }
}

/// Calls a method. `get` looks up an attribute (`true`) or item, for `str.format`.
pub(crate) fn call_method(
    value: &Value,
    name: &str,
    args: CallArgs,
    get: &mut dyn FnMut(&Value, &str, bool) -> Result<Value, Fault>,
    meter: &Meter,
) -> Result<Value, Fault> {
    match value {
        Value::Str(text) if name == "format" => {
            braces(text, &args.positional, &args.named, get, meter).map(Value::Str)
        }
        Value::Str(text) => str_method(text, name, args, meter),
        Value::Dict(dict) => match name {
            "get" => {
                let [key, default] = args.bind("get", ["key", "default"])?;
                let key = key.ok_or_else(|| invalid("get expected at least 1 argument, got 0"))?;
                let found = lookup(dict, &key, meter)?;
                Ok(found.or(default).unwrap_or(Value::None))
            }
            "items" => {
                let pairs = dict
                    .entries
                    .iter()
                    .map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()], meter));
                new_list_metered(pairs, meter).map(Value::List)
            }
            "keys" => value.items(meter).map(Value::List),
            "values" => {
                let values = dict.entries.iter().map(|(_, value)| Ok(value.clone()));
                new_list_metered(values, meter).map(Value::List)
            }
            _ => Ok(value.clone()),
        },
        Value::List(list) | Value::Tuple(list) => {
            if name == "copy" {
                return Ok(value.clone());
            }
            let [wanted] = args.bind(name, ["value"])?;
            let wanted = wanted.ok_or_else(|| invalid(format!("{name} expected 1 argument")))?;
            let mut count = 0;
            for (i, item) in list.items.iter().enumerate() {
                if equal(item, &wanted, meter)? {
                    if name == "index" {
                        return Ok(Value::Int(i as i128));
                    }
                    count += 1;
                }
            }
            match name {
                "index" => Err(invalid("value is not in list")),
                _ => Ok(Value::Int(count)),
            }
        }
        Value::Cycler(cycler) => {
            let (items, at) = &**cycler;
            if name == "reset" {
                at.set(0);
                return Ok(Value::None);
            }
            let now = at.get();
            at.set((now + 1) % items.items.len().max(1));
            Ok(items.items.get(now).cloned().unwrap_or(Value::None))
        }
        other => Err(invalid(format!(
            "'{} object' has no attribute '{name}'",
            other.type_name()
        ))),
    }
}
