//! The values a template works on: Python's, as far as templates can see them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{For, MacroDef, Symbol};
use super::meter::{Fault, Meter, invalid};
use super::text::{Origin, Text};

/// Containers may be nested this deep; printing, comparing and dropping them
/// recurses no further.
pub(crate) const MAX_VALUE_DEPTH: u16 = 96;

/// A Python value.
#[derive(Clone)]
pub(crate) enum Value {
    /// A name, attribute or item that is not there; the text says which, as jinja2 does.
    Undefined(Arc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Text),
    List(Rc<List>),
    Tuple(Rc<List>),
    Dict(Rc<Dict>),
    Namespace(NamespaceRef),
    Macro(Rc<Macro>),
    Builtin(Builtin),
    /// A method looked up but not called yet: receiver and name.
    Method(Rc<(Value, Arc<str>)>),
    Loop(Rc<Loop>),
    Cycler(Rc<(Rc<List>, Cell<usize>)>),
    Joiner(Rc<(Text, Cell<bool>)>),
}

/// Functions every template can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Range,
    Dict,
    Namespace,
    RaiseException,
    StrftimeNow,
    Cycler,
    Joiner,
}

impl Builtin {
    pub(crate) const ALL: [(&'static str, Builtin); 7] = [
        ("range", Builtin::Range),
        ("dict", Builtin::Dict),
        ("namespace", Builtin::Namespace),
        ("raise_exception", Builtin::RaiseException),
        ("strftime_now", Builtin::StrftimeNow),
        ("cycler", Builtin::Cycler),
        ("joiner", Builtin::Joiner),
    ];
}

/// A list or a tuple.
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    depth: u16,
}

/// A dictionary in insertion order. Lookups are linear and metered: templates'
/// dictionaries are small.
pub(crate) struct Dict {
    pub(crate) entries: Vec<(Value, Value)>,
    depth: u16,
}

/// A macro and the scope it was written in.
pub(crate) struct Macro {
    pub(crate) def: Arc<MacroDef>,
    pub(crate) scope: ScopeRef,
}

/// What `loop` is inside a `for`.
pub(crate) struct Loop {
    pub(crate) items: Rc<List>,
    pub(crate) index: Cell<usize>,
    pub(crate) depth: usize,
    pub(crate) changed: RefCell<Option<Vec<Value>>>,
    /// Set for `recursive` loops: the statement and the scope around it.
    pub(crate) recurse: Option<(Arc<For>, ScopeRef)>,
}

pub(crate) type ScopeRef = Rc<Scope>;

/// A namespace's attributes, shared by all who hold it.
pub(crate) type NamespaceRef = Rc<RefCell<Vec<(Text, Value)>>>;

/// Names visible in one block, and the block around it.
pub(crate) struct Scope {
    pub(crate) vars: RefCell<Vec<(Symbol, Value)>>,
    pub(crate) parent: Option<ScopeRef>,
}

impl Scope {
    pub(crate) fn new(parent: Option<ScopeRef>) -> ScopeRef {
        Rc::new(Self {
            vars: RefCell::new(Vec::new()),
            parent,
        })
    }

    pub(crate) fn set(&self, name: Symbol, value: Value) {
        let mut vars = self.vars.borrow_mut();
        match vars.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => *slot = value,
            None => vars.push((name, value)),
        }
    }

    pub(crate) fn get(&self, name: Symbol) -> Option<Value> {
        let mut scope = self;
        loop {
            let vars = scope.vars.borrow();
            if let Some((_, value)) = vars.iter().find(|(known, _)| *known == name) {
                return Some(value.clone());
            }
            drop(vars);
            scope = scope.parent.as_deref()?;
        }
    }
}

impl Value {
    pub(crate) fn template_str(text: &str) -> Value {
        Value::Str(Text::new(text, Origin::Template))
    }

    pub(crate) fn undefined_name(name: &str) -> Value {
        Value::Undefined(format!("'{name}' is undefined").into())
    }

    pub(crate) fn list(items: Vec<Value>, meter: &Meter) -> Result<Value, Fault> {
        Ok(Value::List(new_list(items, meter)?))
    }

    pub(crate) fn tuple(items: Vec<Value>, meter: &Meter) -> Result<Value, Fault> {
        Ok(Value::Tuple(new_list(items, meter)?))
    }

    pub(crate) fn dict(entries: Vec<(Value, Value)>, meter: &Meter) -> Result<Value, Fault> {
        meter.slots(entries.len() * 2)?;
        let mut inner = 0;
        for (key, value) in &entries {
            inner = inner.max(key.depth()).max(value.depth());
        }
        let depth = one_deeper(inner)?;
        Ok(Value::Dict(Rc::new(Dict { entries, depth })))
    }

    /// How deep containers are nested in it.
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Value::List(list) | Value::Tuple(list) => list.depth,
            Value::Dict(dict) => dict.depth,
            Value::Method(method) => method.0.depth().saturating_add(1),
            Value::Cycler(cycler) => cycler.0.depth,
            Value::Loop(list) => list.items.depth,
            _ => 0,
        }
    }

    /// The name of its type, as Python's messages give it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Namespace(_) => "Namespace",
            Value::Macro(_) => "Macro",
            Value::Builtin(_) => "function",
            Value::Method(_) => "builtin_function_or_method",
            Value::Loop(_) => "LoopContext",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
        }
    }

    pub(crate) fn truthy(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(list) | Value::Tuple(list) => !list.items.is_empty(),
            Value::Dict(dict) => !dict.entries.is_empty(),
            _ => true,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&Text> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Its value as an integer, where Python would take one for an index or a count.
    pub(crate) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    pub(crate) fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            _ => self.as_int().map(|value| value as f64),
        }
    }

    /// Its items in order, as a `for` loop would see them.
    pub(crate) fn items(&self, meter: &Meter) -> Result<Rc<List>, Fault> {
        match self {
            Value::List(list) | Value::Tuple(list) => {
                meter.spend(8 * list.items.len() as u64)?;
                Ok(list.clone())
            }
            Value::Dict(dict) => {
                new_list_metered(dict.entries.iter().map(|(key, _)| Ok(key.clone())), meter)
            }
            Value::Str(text) => {
                let chars = text.as_str().char_indices();
                let chars = chars.map(|(at, c)| Ok(Value::Str(text.slice(at..at + c.len_utf8()))));
                new_list_metered(chars, meter)
            }
            Value::Undefined(_) => new_list(Vec::new(), meter),
            Value::Loop(items) => Ok(items.items.clone()),
            other => Err(invalid(format!(
                "'{}' object is not iterable",
                other.type_name()
            ))),
        }
    }

    pub(crate) fn is_iterable(&self) -> bool {
        matches!(
            self,
            Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Str(_)
                | Value::Undefined(_)
                | Value::Loop(_)
        )
    }

    /// What Python's `len` gives, in characters for a string.
    pub(crate) fn length(&self, meter: &Meter) -> Result<usize, Fault> {
        match self {
            Value::List(list) | Value::Tuple(list) => Ok(list.items.len()),
            Value::Dict(dict) => Ok(dict.entries.len()),
            Value::Str(text) => {
                meter.scan(text.len())?;
                Ok(text.as_str().chars().count())
            }
            Value::Undefined(_) => Ok(0),
            other => Err(invalid(format!(
                "object of type '{}' has no len()",
                other.type_name()
            ))),
        }
    }
}

fn one_deeper(inner: u16) -> Result<u16, Fault> {
    if inner >= MAX_VALUE_DEPTH {
        return Err(Fault::Limit("values nested too deep"));
    }
    Ok(inner + 1)
}

pub(crate) fn new_list(items: Vec<Value>, meter: &Meter) -> Result<Rc<List>, Fault> {
    meter.slots(items.len())?;
    let inner = items.iter().map(Value::depth).max().unwrap_or(0);
    let depth = one_deeper(inner)?;
    Ok(Rc::new(List { items, depth }))
}

/// Collects while paying for every item, so that a long source stops early.
pub(crate) fn new_list_metered(
    source: impl Iterator<Item = Result<Value, Fault>>,
    meter: &Meter,
) -> Result<Rc<List>, Fault> {
    let mut items = Vec::new();
    for item in source {
        meter.slots(1)?;
        items.push(item?);
    }
    let inner = items.iter().map(Value::depth).max().unwrap_or(0);
    let depth = one_deeper(inner)?;
    Ok(Rc::new(List { items, depth }))
}
