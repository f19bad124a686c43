//! jinja2's tests: what may follow `is`.

use super::ast::CompareOp;
use super::eval::Machine;
use super::meter::{Fault, invalid};
use super::methods::cased;
use super::ops::{binary, compare, equal};
use super::repr::to_text;
use super::value::Value;

const NAMES: &[&str] = &[
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// `value is name(args)`.
pub(crate) fn check(
    m: &mut Machine<'_>,
    name: &str,
    value: &Value,
    args: &[Value],
) -> Result<bool, Fault> {
    let first = || {
        args.first()
            .ok_or_else(|| invalid(format!("test '{name}' needs an argument")))
    };
    let remainder = |m: &Machine<'_>, by: &Value| {
        let rem = super::ast::BinaryOp::Rem;
        binary(rem, value, by, &m.meter).map(|rest| rest.as_float())
    };
    Ok(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_float().is_some(),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "iterable" => value.is_iterable(),
        "sequence" => matches!(
            value,
            Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Undefined(_)
        ),
        "callable" => matches!(
            value,
            Value::Macro(_)
                | Value::Builtin(_)
                | Value::Method(_)
                | Value::Joiner(_)
                | Value::Loop(_)
        ),
        "escaped" => false,
        "eq" | "equalto" | "==" => equal(value, first()?, &m.meter)?,
        "ne" | "!=" => !equal(value, first()?, &m.meter)?,
        "lt" | "lessthan" | "<" => compare(CompareOp::Lt, value, first()?, &m.meter)?,
        "le" | "<=" => compare(CompareOp::Le, value, first()?, &m.meter)?,
        "gt" | "greaterthan" | ">" => compare(CompareOp::Gt, value, first()?, &m.meter)?,
        "ge" | ">=" => compare(CompareOp::Ge, value, first()?, &m.meter)?,
        "in" => compare(CompareOp::In, value, first()?, &m.meter)?,
        "odd" => remainder(m, &Value::Int(2))? == Some(1.0),
        "even" => remainder(m, &Value::Int(2))? == Some(0.0),
        "divisibleby" => remainder(m, first()?)? == Some(0.0),
        "sameas" => match (value, first()?) {
            (Value::None, Value::None) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (a, b) => {
                std::mem::discriminant(a) == std::mem::discriminant(b) && equal(a, b, &m.meter)?
            }
        },
        "lower" | "upper" => {
            let text = to_text(value, &m.meter)?;
            m.meter.scan(text.len() * 2)?;
            match name {
                "lower" => cased(text.as_str(), char::is_lowercase, char::is_uppercase),
                _ => cased(text.as_str(), char::is_uppercase, char::is_lowercase),
            }
            .truthy()
        }
        "filter" => {
            let text = to_text(value, &m.meter)?;
            super::filters::exists(text.as_str())
        }
        "test" => {
            let text = to_text(value, &m.meter)?;
            NAMES.contains(&text.as_str())
        }
        _ => return Err(invalid(format!("No test named '{name}'."))),
    })
}
