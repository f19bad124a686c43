//! JSON that a schema accepts, as a grammar.

use llguidance::api::TopLevelGrammar;
use serde_json::{Value as Json, json};

use super::moments;
use crate::error::{Code, Error, Result};

/// The key under which the engine reads its own options in a schema.
const ENGINE_OPTIONS: &str = "x-guidance";

/// White space between the parts of JSON. Free to, small models write it until they are cut
/// off, and little of their text is forced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spacing {
    /// As Python's `json.dumps` has it: one space after `,` and `:`, none elsewhere.
    #[default]
    Dumped,
    /// That space or none, as models write calls.
    Compact,
    /// A space, or a new line and an indent, or none, anywhere.
    LaidOut,
}

impl Spacing {
    /// The engine's options.
    fn options(self) -> Json {
        let separated = |items: &str, keys: &str| {
            json!({
                "whitespace_flexible": false,
                "item_separator": items,
                "key_separator": keys,
            })
        };
        match self {
            Spacing::Dumped => separated(", ", ": "),
            Spacing::Compact => separated(", ?", ": ?"),
            Spacing::LaidOut => json!({ "whitespace_pattern": "( |\n[ \t]{0,24})" }),
        }
    }
}

/// Whether this can be a schema, before what it says is looked at.
///
/// # Errors
/// `constraint_invalid` where nothing is valid under it, where it is no schema, and where it
/// brings options of the engine's, among which there is one to ignore what it cannot enforce.
pub fn check_schema(schema: &Json) -> Result<()> {
    let invalid = |detail| Err(Error::new(Code::ConstraintInvalid, "json_schema", detail));
    match schema {
        Json::Object(schema) if schema.contains_key(ENGINE_OPTIONS) => {
            invalid("unsupported keyword \"x-guidance\"")
        }
        Json::Object(_) | Json::Bool(true) => Ok(()),
        Json::Bool(false) => invalid("false: nothing is valid under it"),
        _ => invalid("is neither an object nor true or false"),
    }
}

/// The grammar of a schema's instances.
///
/// # Errors
/// As [`check_schema`].
pub(super) fn grammar(schema: &Json, spacing: Spacing) -> Result<TopLevelGrammar> {
    check_schema(schema)?;
    Ok(TopLevelGrammar::from_json_schema(enforced(schema, spacing)))
}

/// The instances of a schema that was checked, as a term of a grammar in Lark.
pub fn json_term(schema: &Json, spacing: Spacing) -> String {
    format!("%json {}", enforced(schema, spacing))
}

/// The schema as the engine is to have it.
fn enforced(schema: &Json, spacing: Spacing) -> Json {
    let mut schema = match schema {
        Json::Bool(true) => json!({}),
        schema => schema.clone(),
    };
    moments::forbid_impossible(&mut schema);
    if let Json::Object(schema) = &mut schema {
        schema.insert(ENGINE_OPTIONS.into(), spacing.options());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forbidden_alone_is_forbidden_in_a_larger_grammar() {
        let schema = json!({ "type": "string", "format": "date" });
        let term = json_term(&schema, Spacing::Compact);
        assert!(term.contains("pattern"), "{term}");
        assert!(json_term(&json!(true), Spacing::Dumped).contains("{"));
        assert_eq!(json_term(&json!(false), Spacing::Dumped), "%json false");
    }
}
