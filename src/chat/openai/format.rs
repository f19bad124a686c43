//! What a request says about the form of the reply.

use serde_json::{Value as Json, json};

use super::fields::Field;
use crate::decode::constraint::{ConstraintSpec, Spacing, check_schema};
use crate::error::Result;

/// The fields of `response_format`, for each of its types.
const FORMATS: &[(&str, &[&str])] = &[
    ("text", &["type"]),
    ("json_object", &["type"]),
    ("json_schema", &["type", "json_schema"]),
    ("regex", &["type", "regex"]),
    ("grammar", &["type", "grammar"]),
    ("choice", &["type", "choice"]),
];
const JSON_SCHEMA_FIELDS: &[&str] = &["name", "description", "schema", "strict"];

/// The types of `response_format`.
pub fn names() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|(name, _)| *name)
}

fn json_schema(schema: Json) -> Option<ConstraintSpec> {
    let spacing = Spacing::LaidOut;
    Some(ConstraintSpec::JsonSchema { schema, spacing })
}

/// `None` for text.
pub(super) fn read(field: &Field<'_>) -> Result<Option<ConstraintSpec>> {
    let kind = field.map()?.get("type").unwrap_or(&Json::Null);
    let kind = Field::new(format!("{}.type", field.path), kind);
    let known = kind.one_of(FORMATS)?;
    let fields = field.object(known)?;
    Ok(match kind.string()? {
        "json_object" => json_schema(json!({ "type": "object" })),
        "json_schema" => {
            let fields = fields.need("json_schema")?.object(JSON_SCHEMA_FIELDS)?;
            fields.read("name", Field::string)?;
            fields.read("description", Field::string)?;
            // Strict or not, what cannot be enforced is refused.
            fields.read("strict", Field::bool)?;
            let schema = fields.need("schema")?;
            check_schema(schema.value).map_err(|error| schema.invalid(error.detail()))?;
            json_schema(schema.value.clone())
        }
        "regex" => Some(ConstraintSpec::Regex(
            fields.need("regex")?.string()?.to_string(),
        )),
        "grammar" => Some(ConstraintSpec::Lark(
            fields.need("grammar")?.string()?.to_string(),
        )),
        "choice" => {
            let choice = fields.need("choice")?;
            let list = choice.list()?;
            if list.is_empty() {
                return Err(choice.invalid("lists nothing to choose from"));
            }
            let list = list.iter().map(|text| text.string().map(str::to_string));
            Some(ConstraintSpec::Choice(list.collect::<Result<_>>()?))
        }
        _ => None,
    })
}
