//! A request's JSON, read strictly: what nobody reads is an error, and every error
//! names the place it is about, as `messages[2].content[0].type`.

use serde_json::{Map, Value as Json};

use crate::error::{Code, Error, Result};

/// A request that is wrong at `path`.
pub(super) fn invalid(path: impl Into<String>, detail: impl Into<String>) -> Error {
    Error::new(Code::RequestInvalid, path, detail)
}

/// What a JSON value is, in words.
fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    pub(super) value: &'a Json,
}

impl<'a> Field<'a> {
    pub(super) fn new(path: impl Into<String>, value: &'a Json) -> Self {
        let path = path.into();
        Self { path, value }
    }

    /// An error about this value.
    pub(super) fn invalid(&self, detail: impl Into<String>) -> Error {
        invalid(self.path.as_str(), detail)
    }

    fn must_be(&self, what: &str) -> Error {
        self.invalid(format!("must be {what}, is {}", kind(self.value)))
    }

    pub(super) fn string(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.must_be("a string"))
    }

    pub(super) fn bool(&self) -> Result<bool> {
        self.value
            .as_bool()
            .ok_or_else(|| self.must_be("true or false"))
    }

    pub(super) fn number(&self) -> Result<f32> {
        // Beyond f32's range it becomes infinite, which every check of a range refuses.
        let number = self.value.as_f64().ok_or_else(|| self.must_be("a number"));
        number.map(|number| number as f32)
    }

    /// A whole number from `min` to `max`. JavaScript may write `3.0`.
    pub(super) fn integer(&self, min: i64, max: i64) -> Result<i64> {
        let number = match (self.value.as_i64(), self.value.as_f64()) {
            (Some(number), _) => number,
            (None, Some(number)) if number.fract() == 0.0 && number.abs() < 9e15 => number as i64,
            (None, Some(number)) => {
                return Err(self.invalid(format!("must be a whole number, is {number}")));
            }
            _ => return Err(self.must_be("a whole number")),
        };
        if number < min {
            return Err(self.invalid(format!("must be {min} or more, is {number}")));
        }
        if number > max {
            return Err(self.invalid(format!("must be {max} or less, is {number}")));
        }
        Ok(number)
    }

    pub(super) fn count(&self, min: usize, max: usize) -> Result<usize> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let min = i64::try_from(min).unwrap_or(0);
        self.integer(min, max).map(|number| number as usize)
    }

    pub(super) fn list(&self) -> Result<Vec<Field<'a>>> {
        let list = self.value.as_array().ok_or_else(|| self.must_be("a list"));
        let at = |(i, value)| Field::new(format!("{}[{i}]", self.path), value);
        list.map(|list| list.iter().enumerate().map(at).collect())
    }

    pub(super) fn map(&self) -> Result<&'a Map<String, Json>> {
        let map = self.value.as_object();
        map.ok_or_else(|| self.must_be("an object"))
    }

    /// An object that has no fields but these.
    pub(super) fn object(&self, known: &'static [&'static str]) -> Result<Fields<'a>> {
        let map = self.map()?;
        let fields = Fields {
            path: self.path.clone(),
            map,
            known,
        };
        match map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(invalid(fields.path_of(name), "is not a known field")),
            None => Ok(fields),
        }
    }

    /// One of several words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let found = self.string()?;
        let known = words.iter().find(|(word, _)| *word == found);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.invalid(format!("must be {}, is {found:?}", words.join(" or ")))
        })
    }
}

/// An object whose fields are all known.
pub(super) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Json>,
    known: &'static [&'static str],
}

impl<'a> Fields<'a> {
    pub(super) fn path_of(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_string(),
            path => format!("{path}.{name}"),
        }
    }

    /// A field; null counts as not given, as OpenAI has it.
    pub(super) fn get(&self, name: &str) -> Option<Field<'a>> {
        debug_assert!(self.known.contains(&name), "{name} is not in its table");
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some(Field::new(self.path_of(name), value))
    }

    /// A field that has to be there.
    pub(super) fn need(&self, name: &str) -> Result<Field<'a>> {
        self.get(name)
            .ok_or_else(|| invalid(self.path_of(name), "is missing"))
    }

    /// What `read` makes of a field, where it is given.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.get(name).map(|field| read(&field)).transpose()
    }

    /// Refuses fields that OpenAI knows and this engine does not do.
    pub(super) fn refuse(&self, names: &[&str]) -> Result<()> {
        match names.iter().find_map(|name| self.get(name)) {
            Some(field) => Err(field.invalid("is not supported by this engine")),
            None => Ok(()),
        }
    }
}
