//! GGUF's key-values, typed.

use std::collections::BTreeMap;

use crate::error::{Code, Error, Result};

/// One value of a GGUF file's metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// A 32-bit float.
    F32(f32),
    /// A 64-bit float.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// Text; bytes that are not UTF-8 were replaced by U+FFFD.
    String(String),
    /// Values of one type.
    Array(Array),
}

/// An array, as compact as its file has it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are the element types'")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Strings(StringList),
    /// Arrays in an array.
    Nested(Vec<Array>),
}

impl Array {
    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(v) => v.len(),
            Array::I8(v) => v.len(),
            Array::U16(v) => v.len(),
            Array::I16(v) => v.len(),
            Array::U32(v) => v.len(),
            Array::I32(v) => v.len(),
            Array::U64(v) => v.len(),
            Array::I64(v) => v.len(),
            Array::F32(v) => v.len(),
            Array::F64(v) => v.len(),
            Array::Bool(v) => v.len(),
            Array::Strings(v) => v.len(),
            Array::Nested(v) => v.len(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `i` by itself, a number, truth value or string; `None` past the end and
    /// for nested arrays.
    pub fn get(&self, i: usize) -> Option<Value> {
        Some(match self {
            Array::U8(v) => Value::Unsigned((*v.get(i)?).into()),
            Array::U16(v) => Value::Unsigned((*v.get(i)?).into()),
            Array::U32(v) => Value::Unsigned((*v.get(i)?).into()),
            Array::U64(v) => Value::Unsigned(*v.get(i)?),
            Array::I8(v) => Value::Signed((*v.get(i)?).into()),
            Array::I16(v) => Value::Signed((*v.get(i)?).into()),
            Array::I32(v) => Value::Signed((*v.get(i)?).into()),
            Array::I64(v) => Value::Signed(*v.get(i)?),
            Array::F32(v) => Value::F32(*v.get(i)?),
            Array::F64(v) => Value::F64(*v.get(i)?),
            Array::Bool(v) => Value::Bool(*v.get(i)?),
            Array::Strings(v) => Value::String(v.get(i)?.to_string()),
            Array::Nested(_) => return None,
        })
    }
}

/// Many strings in one allocation: vocabularies have 150,000 and more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringList {
    text: String,
    /// Where each string ends in `text`.
    ends: Vec<u32>,
}

impl StringList {
    /// How many strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// String `i`.
    pub fn get(&self, i: usize) -> Option<&str> {
        let end = *self.ends.get(i)? as usize;
        let start = match i {
            0 => 0,
            i => *self.ends.get(i - 1)? as usize,
        };
        self.text.get(start..end)
    }

    /// All strings, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i).unwrap_or_default())
    }

    /// Appends a string; `false`, and nothing changed, where all of them together
    /// would pass 4 GiB.
    pub(super) fn push(&mut self, text: &str) -> bool {
        match u32::try_from(self.text.len() + text.len()) {
            Ok(end) => {
                self.text.push_str(text);
                self.ends.push(end);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives back what growing took too much.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringList {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut list = StringList::default();
        for string in strings {
            list.push(string.as_ref());
        }
        list
    }
}

/// A GGUF file's key-values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    entries: BTreeMap<String, Value>,
}

impl Metadata {
    /// The value of `key`, whatever its type.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// The value of `key` as a `T`; `None` where there is no such key. Integers of any
    /// width serve where they fit, a number serves as an array of one.
    ///
    /// # Errors
    /// `config_invalid` naming the key, where the value is of another type or out of
    /// range.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match T::from_value(value) {
            Some(value) => Ok(Some(value)),
            None => {
                let detail = format!("is {}, not {}", describe(value), T::WHAT);
                Err(Error::new(Code::ConfigInvalid, key, detail))
            }
        }
    }

    /// The value of `key` as a `T`, which has to be there.
    ///
    /// # Errors
    /// `config_invalid` naming the key, where it is absent or as for [`Metadata::get`].
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        let absent = || Error::new(Code::ConfigInvalid, key, "is not in the file's metadata");
        self.get(key)?.ok_or_else(absent)
    }

    /// All keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// Adds a key; `false`, and nothing changed, where it is there already.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> bool {
        match self.entries.entry(key.into()) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(value);
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }
}

/// A value as an error shows it.
fn describe(value: &Value) -> String {
    match value {
        Value::Unsigned(v) => v.to_string(),
        Value::Signed(v) => v.to_string(),
        Value::F32(v) => format!("{v:?}"),
        Value::F64(v) => format!("{v:?}"),
        Value::Bool(v) => v.to_string(),
        Value::String(v) => format!("{:?}", v.chars().take(40).collect::<String>()),
        Value::Array(v) => format!("an array of {}", v.len()),
    }
}

/// What [`Metadata::get`] can make of a value.
pub trait FromValue<'a>: Sized {
    /// What it wants, for errors.
    const WHAT: &'static str;

    /// The value as this type, if it is one.
    fn from_value(value: &'a Value) -> Option<Self>;
}

/// Integers, alone and in arrays.
macro_rules! integers {
    ($($type:ty)*) => {$(
        impl FromValue<'_> for $type {
            const WHAT: &'static str = concat!("an integer that fits ", stringify!($type));

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Unsigned(v) => (*v).try_into().ok(),
                    Value::Signed(v) => (*v).try_into().ok(),
                    _ => None,
                }
            }
        }

        impl FromValue<'_> for Vec<$type> {
            const WHAT: &'static str = concat!("integers that fit ", stringify!($type));

            fn from_value(value: &Value) -> Option<Self> {
                numbers(value)
            }
        }
    )*};
}

integers! { u8 i8 u16 i16 u32 i32 u64 i64 usize }

/// An array of numbers, or a single one, each converted by itself.
fn numbers<T: for<'v> FromValue<'v>>(value: &Value) -> Option<Vec<T>> {
    match value {
        Value::Array(array) => (0..array.len())
            .map(|i| T::from_value(&array.get(i)?))
            .collect(),
        alone => Some(vec![T::from_value(alone)?]),
    }
}

impl FromValue<'_> for f32 {
    const WHAT: &'static str = "a number";

    fn from_value(value: &Value) -> Option<Self> {
        f64::from_value(value).map(|v| v as f32)
    }
}

impl FromValue<'_> for f64 {
    const WHAT: &'static str = "a number";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::F32(v) => Some(f64::from(*v)),
            Value::F64(v) => Some(*v),
            Value::Unsigned(v) => Some(*v as f64),
            Value::Signed(v) => Some(*v as f64),
            _ => None,
        }
    }
}

impl FromValue<'_> for Vec<f32> {
    const WHAT: &'static str = "numbers";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Array(Array::F32(v)) => Some(v.clone()),
            other => numbers(other),
        }
    }
}

impl FromValue<'_> for bool {
    const WHAT: &'static str = "true or false";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(v) => Some(*v),
            _ => None,
        }
    }
}

impl FromValue<'_> for Vec<bool> {
    const WHAT: &'static str = "truth values";

    fn from_value(value: &Value) -> Option<Self> {
        numbers(value)
    }
}

impl<'a> FromValue<'a> for &'a str {
    const WHAT: &'static str = "text";

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::String(v) => Some(v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a StringList {
    const WHAT: &'static str = "an array of text";

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(Array::Strings(v)) => Some(v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a Array {
    const WHAT: &'static str = "an array";

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(v) => Some(v),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Metadata {
        let mut metadata = Metadata::default();
        for (key, value) in entries {
            assert!(metadata.insert(key, value), "{key} stands twice");
        }
        metadata
    }

    #[test]
    fn a_value_serves_as_every_type_it_fits() {
        let m = metadata([
            ("n", Value::Unsigned(300)),
            ("s", Value::Signed(-1)),
            ("f", Value::F32(0.5)),
            ("t", Value::String("llama".to_string())),
            ("kv", Value::Array(Array::I32(vec![8, 4]))),
            ("neg", Value::Array(Array::I8(vec![3, -1]))),
            (
                "words",
                Value::Array(Array::Strings(["a", "", "ä"].into_iter().collect())),
            ),
        ]);
        assert_eq!(m.get::<u32>("n"), Ok(Some(300)));
        assert_eq!(m.get::<usize>("n"), Ok(Some(300)));
        assert_eq!(m.get::<f32>("n"), Ok(Some(300.0)));
        assert_eq!(m.get::<Vec<usize>>("n"), Ok(Some(vec![300])));
        assert_eq!(m.get::<Vec<usize>>("kv"), Ok(Some(vec![8, 4])));
        assert_eq!(m.get::<i32>("s"), Ok(Some(-1)));
        assert_eq!(m.get::<f32>("f"), Ok(Some(0.5)));
        assert_eq!(m.get::<&str>("t"), Ok(Some("llama")));
        assert_eq!(m.get::<&str>("absent"), Ok(None));
        let words = m.require::<&StringList>("words").unwrap();
        assert_eq!(words.iter().collect::<Vec<_>>(), ["a", "", "ä"]);
        assert_eq!((words.get(2), words.get(3)), (Some("ä"), None));
    }

    #[test]
    fn a_value_of_another_type_names_its_key() {
        let m = metadata([
            ("n", Value::Unsigned(300)),
            ("s", Value::Signed(-1)),
            ("t", Value::String("x".repeat(100))),
            ("neg", Value::Array(Array::I8(vec![3, -1]))),
        ]);
        let refused = [
            m.get::<u8>("n").err(),
            m.get::<u32>("s").err(),
            m.get::<bool>("n").err(),
            m.get::<f32>("t").err(),
            m.get::<Vec<u32>>("neg").err(),
            m.get::<&StringList>("neg").err(),
            m.require::<u32>("absent").err(),
        ];
        let subjects = ["n", "s", "n", "t", "neg", "neg", "absent"];
        for (error, subject) in refused.into_iter().zip(subjects) {
            let error = error.unwrap();
            assert_eq!(
                (error.code(), error.subject()),
                (Code::ConfigInvalid, subject)
            );
            assert!(error.detail().len() < 120, "{error}");
        }
    }

    #[test]
    fn a_key_that_is_there_is_kept() {
        let mut m = metadata([("a", Value::Bool(true))]);
        assert!(!m.insert("a", Value::Bool(false)));
        assert_eq!(m.get::<bool>("a"), Ok(Some(true)));
    }
}
