//! A JSON schema and a value -> what is wrong with the value, in words for a model.
//!
//! Tools declare their arguments in the part of JSON schema that models are good at:
//! types, required fields, ranges, lengths and lists of choices. A schema that says more
//! is refused when the tool is declared, rather than half enforced. Nothing is ever
//! fetched: there is no `$ref`.

use serde_json::{Map, Value as Json};

use crate::error::{Code, Error, Result};

/// How deep a schema may be nested.
const MAX_DEPTH: usize = 8;
/// How many schemas it may hold.
const MAX_SCHEMAS: usize = 200;

/// Keywords that are enforced, and annotations that change nothing.
const KNOWN: &[&str] = &[
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "title",
    "description",
    "default",
    "examples",
];

/// Checks that `schema` describes an object, in keywords that are enforced.
///
/// # Errors
/// `request_invalid` naming the place, as `{path}.properties.city.pattern`.
pub fn check_schema(path: &str, schema: &Json) -> Result<()> {
    if schema["type"] != "object" {
        return Err(invalid(format!("{path}.type"), "must be \"object\""));
    }
    let mut left = MAX_SCHEMAS;
    check_part(path, schema, 0, &mut left)
}

fn check_part(path: &str, schema: &Json, depth: usize, left: &mut usize) -> Result<()> {
    if depth > MAX_DEPTH || *left == 0 {
        return Err(invalid(
            path,
            "is nested too deeply, or holds too many schemas",
        ));
    }
    *left -= 1;
    let Some(map) = schema.as_object() else {
        return Err(invalid(path, "must be an object"));
    };
    if let Some(word) = map.keys().find(|word| !KNOWN.contains(&word.as_str())) {
        return Err(invalid(
            format!("{path}.{word}"),
            "is not supported in a tool's schema",
        ));
    }
    let types = [
        "object", "array", "string", "number", "integer", "boolean", "null",
    ];
    match map.get("type") {
        None => {}
        Some(Json::String(kind)) if types.contains(&kind.as_str()) => {}
        Some(_) => {
            return Err(invalid(
                format!("{path}.type"),
                "must be the name of a JSON type",
            ));
        }
    }
    for name in ["minimum", "maximum"] {
        if map.get(name).is_some_and(|v| !v.is_number()) {
            return Err(invalid(format!("{path}.{name}"), "must be a number"));
        }
    }
    for name in ["minLength", "maxLength", "minItems", "maxItems"] {
        if map.get(name).is_some_and(|v| v.as_u64().is_none()) {
            return Err(invalid(format!("{path}.{name}"), "must be a whole number"));
        }
    }
    if map
        .get("enum")
        .is_some_and(|v| v.as_array().is_none_or(Vec::is_empty))
    {
        return Err(invalid(format!("{path}.enum"), "must be a list of choices"));
    }
    if map.get("required").is_some_and(|v| {
        v.as_array()
            .is_none_or(|names| !names.iter().all(Json::is_string))
    }) {
        return Err(invalid(
            format!("{path}.required"),
            "must be a list of names",
        ));
    }
    if map
        .get("additionalProperties")
        .is_some_and(|v| !v.is_boolean())
    {
        return Err(invalid(
            format!("{path}.additionalProperties"),
            "must be true or false",
        ));
    }
    if let Some(properties) = map.get("properties") {
        let Some(properties) = properties.as_object() else {
            return Err(invalid(format!("{path}.properties"), "must be an object"));
        };
        for (name, part) in properties {
            check_part(&format!("{path}.properties.{name}"), part, depth + 1, left)?;
        }
    }
    match map.get("items") {
        Some(items) => check_part(&format!("{path}.items"), items, depth + 1, left),
        None => Ok(()),
    }
}

fn invalid(path: impl Into<String>, detail: &str) -> Error {
    Error::new(Code::RequestInvalid, path, detail)
}

/// What is wrong with `value` under a schema that [`check_schema`] accepted; `None` where
/// it fits. Arguments are closed: names that the schema does not know are wrong unless it
/// says `additionalProperties: true`.
pub fn misfit(schema: &Json, value: &Json) -> Option<String> {
    part_misfit("", schema, value, 0)
}

fn part_misfit(path: &str, schema: &Json, value: &Json, depth: usize) -> Option<String> {
    let name = if path.is_empty() {
        "the arguments"
    } else {
        path
    };
    if depth > MAX_DEPTH + 1 {
        return Some(format!("{name} are nested too deeply"));
    }
    let says = |what: String| Some(format!("{name} {what}"));
    if let Some(kind) = schema["type"].as_str() {
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.as_f64().is_some_and(|x| x.fract() == 0.0),
            "boolean" => value.is_boolean(),
            _ => value.is_null(),
        };
        if !fits {
            let article = if matches!(kind, "object" | "array" | "integer") {
                "an"
            } else {
                "a"
            };
            return says(format!("must be {article} {kind}"));
        }
    }
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        let list: Vec<String> = choices.iter().map(Json::to_string).collect();
        return says(format!("must be one of {}", list.join(", ")));
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        return says(format!("must be {only}"));
    }
    if let Some(number) = value.as_f64() {
        if let Some(min) = schema["minimum"].as_f64().filter(|min| number < *min) {
            return says(format!("must be {min} or more"));
        }
        if let Some(max) = schema["maximum"].as_f64().filter(|max| number > *max) {
            return says(format!("must be {max} or less"));
        }
    }
    if let Some(text) = value.as_str() {
        let n_chars = text.chars().count() as u64;
        if let Some(min) = schema["minLength"].as_u64().filter(|min| n_chars < *min) {
            return says(format!("must have {min} characters or more"));
        }
        if let Some(max) = schema["maxLength"].as_u64().filter(|max| n_chars > *max) {
            return says(format!("must have {max} characters or less"));
        }
    }
    if let Some(list) = value.as_array() {
        let n_items = list.len() as u64;
        if let Some(min) = schema["minItems"].as_u64().filter(|min| n_items < *min) {
            return says(format!("must have {min} items or more"));
        }
        if let Some(max) = schema["maxItems"].as_u64().filter(|max| n_items > *max) {
            return says(format!("must have {max} items or less"));
        }
        if let Some(items) = schema.get("items") {
            let parts = list.iter().enumerate();
            let mut wrong = parts.filter_map(|(i, item)| {
                part_misfit(&format!("{path}[{i}]"), items, item, depth + 1)
            });
            return wrong.next();
        }
    }
    value
        .as_object()
        .and_then(|map| object_misfit(path, schema, map, depth))
}

fn object_misfit(
    path: &str,
    schema: &Json,
    map: &Map<String, Json>,
    depth: usize,
) -> Option<String> {
    let inner = |name: &str| match path {
        "" => format!("\"{name}\""),
        path => format!("{path}.{name}"),
    };
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Json::as_str) {
        if !map.contains_key(name) {
            return Some(format!("{} is missing", inner(name)));
        }
    }
    let open = schema["additionalProperties"] == true;
    for (name, value) in map {
        match schema["properties"].get(name) {
            Some(part) => {
                if let Some(wrong) = part_misfit(&inner(name), part, value, depth + 1) {
                    return Some(wrong);
                }
            }
            None if open => {}
            None => return Some(format!("{} is not an argument of this tool", inner(name))),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_held_to_every_keyword() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": { "type": "string", "minLength": 1, "maxLength": 5 },
                "days": { "type": "integer", "minimum": 1, "maximum": 9 },
                "unit": { "enum": ["c", "f"] },
                "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 2 },
                "inner": { "type": "object", "properties": { "x": { "type": "number" } } },
            },
            "required": ["city"],
        });
        check_schema("parameters", &schema).unwrap();
        let fits = json!({ "city": "Oslo", "days": 3.0, "unit": "c", "tags": ["a"], "inner": { "x": 1.5 } });
        assert_eq!(misfit(&schema, &fits), None);
        for (value, wrong) in [
            (json!([]), "the arguments must be an object"),
            (json!({}), "\"city\" is missing"),
            (json!({ "city": 1 }), "\"city\" must be a string"),
            (
                json!({ "city": "" }),
                "\"city\" must have 1 characters or more",
            ),
            (
                json!({ "city": "Zürich" }),
                "\"city\" must have 5 characters or less",
            ),
            (
                json!({ "city": "a", "days": 0 }),
                "\"days\" must be 1 or more",
            ),
            (
                json!({ "city": "a", "days": 10 }),
                "\"days\" must be 9 or less",
            ),
            (
                json!({ "city": "a", "days": 1.5 }),
                "\"days\" must be an integer",
            ),
            (
                json!({ "city": "a", "unit": "k" }),
                "\"unit\" must be one of \"c\", \"f\"",
            ),
            (
                json!({ "city": "a", "tags": [1] }),
                "\"tags\"[0] must be a string",
            ),
            (
                json!({ "city": "a", "tags": ["", "", ""] }),
                "\"tags\" must have 2 items or less",
            ),
            (
                json!({ "city": "a", "inner": { "y": 1 } }),
                "\"inner\".y is not an argument of this tool",
            ),
            (
                json!({ "city": "a", "note": 1 }),
                "\"note\" is not an argument of this tool",
            ),
        ] {
            assert_eq!(misfit(&schema, &value).as_deref(), Some(wrong));
        }
    }

    #[test]
    fn a_schema_that_cannot_be_enforced_is_refused() {
        let deep = (0..20).fold(
            json!({ "type": "string" }),
            |inner, _| json!({ "type": "object", "properties": { "x": inner } }),
        );
        for (schema, place) in [
            (json!({ "type": "string" }), "p.type"),
            (
                json!({ "type": "object", "$ref": "https://evil.example/s.json" }),
                "p.$ref",
            ),
            (
                json!({ "type": "object", "properties": { "a": { "pattern": "x" } } }),
                "p.properties.a.pattern",
            ),
            (
                json!({ "type": "object", "properties": { "a": { "type": ["string"] } } }),
                "p.properties.a.type",
            ),
            (json!({ "type": "object", "required": [1] }), "p.required"),
            (
                json!({ "type": "object", "properties": { "a": { "enum": [] } } }),
                "p.properties.a.enum",
            ),
        ] {
            let error = check_schema("p", &schema).unwrap_err();
            assert_eq!(error.subject(), place);
        }
        assert!(check_schema("p", &deep).is_err());
    }
}
