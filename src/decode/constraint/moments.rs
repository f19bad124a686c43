//! No moments that never were: the 29th of February in a common year, and leap seconds.
//!
//! The grammar engine's formats know how many days a month has, but not which years are
//! leap years, and let any minute end with a second of `60`; only some at midnight UTC
//! ever did. Validators know both (RFC 3339, section 5.7). So every schema with one of
//! these formats gets a pattern beside it.

use serde_json::{Value as Json, json};

/// A day of any year, or the 29th of February of a leap year.
const DAY: &str = "(?:[0-9]{4}-(?:02-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-[0-3][0-9])\
    |(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)";

/// Seconds below 60, behind the second colon.
const SECONDS: &str = "[^:]*:[^:]*:[0-5]";

/// What texts of a format begin with; `None` for formats that are no moments.
fn pattern(format: &str) -> Option<String> {
    match format {
        "date" => Some(format!("^{DAY}")),
        "time" => Some(format!("^{SECONDS}")),
        "date-time" => Some(format!("^{DAY}{SECONDS}")),
        _ => None,
    }
}

/// Keywords whose value is a schema, or a list of them.
const SCHEMAS: &[&str] = &[
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "items",
    "oneOf",
    "prefixItems",
];

/// Keywords whose value holds schemas by name.
const NAMED_SCHEMAS: &[&str] = &["$defs", "definitions", "patternProperties", "properties"];

/// Forbids them in `schema` and in all that it holds. What is data (`const`, `enum`,
/// `default`) stays as it is. Recursion is bounded: JSON that was parsed is not deep.
pub(super) fn forbid_impossible(schema: &mut Json) {
    let Json::Object(members) = schema else {
        return;
    };
    for (keyword, value) in members.iter_mut() {
        match value {
            Json::Array(list) if SCHEMAS.contains(&keyword.as_str()) => {
                list.iter_mut().for_each(forbid_impossible);
            }
            Json::Object(map) if NAMED_SCHEMAS.contains(&keyword.as_str()) => {
                map.values_mut().for_each(forbid_impossible);
            }
            value if SCHEMAS.contains(&keyword.as_str()) => forbid_impossible(value),
            _ => {}
        }
    }
    let format = members.get("format").and_then(Json::as_str);
    let Some(pattern) = format.and_then(pattern) else {
        return;
    };
    if !members.contains_key("pattern") {
        members.insert("pattern".into(), pattern.into());
    } else if let Json::Array(all) = members.entry("allOf").or_insert_with(|| json!([])) {
        all.push(json!({ "pattern": pattern }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_get_a_pattern_and_data_does_not() {
        let mut schema = json!({
            "properties": {
                "at": { "type": "string", "format": "date-time" },
                "format": { "const": { "format": "time" } },
            },
            "items": [{ "format": "time", "pattern": "Z$" }],
            "additionalProperties": { "format": "email" },
        });
        forbid_impossible(&mut schema);
        assert_eq!(
            schema,
            json!({
                "properties": {
                    "at": { "type": "string", "format": "date-time", "pattern": pattern("date-time") },
                    "format": { "const": { "format": "time" } },
                },
                "items": [{ "format": "time", "pattern": "Z$", "allOf": [{ "pattern": pattern("time") }] }],
                "additionalProperties": { "format": "email" },
            })
        );
    }
}
