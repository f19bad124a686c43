//! Python's operators on [`Value`]s.

use std::cmp::Ordering;
use std::rc::Rc;

use super::ast::{BinaryOp, CompareOp};
use super::format::percent;
use super::meter::{Fault, Meter, invalid};
use super::text::{Text, TextBuf};
use super::value::{Dict, Value};

/// `a == b`.
pub(crate) fn equal(a: &Value, b: &Value, meter: &Meter) -> Result<bool, Fault> {
    meter.spend(8)?;
    Ok(match (a, b) {
        (Value::Str(a), Value::Str(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            meter.scan(a.len())?;
            a.as_str() == b.as_str()
        }
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            if Rc::ptr_eq(a, b) {
                return Ok(true);
            }
            if a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, meter)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if Rc::ptr_eq(a, b) {
                return Ok(true);
            }
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, value) in &a.entries {
                match lookup(b, key, meter)? {
                    Some(other) if equal(value, &other, meter)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
        (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
        (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
        (Value::Builtin(a), Value::Builtin(b)) => a == b,
        _ => numbers(a, b) == Some(Ordering::Equal),
    })
}

/// Orders two numbers exactly; nothing where either is none, or NaN.
fn numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a.as_int(), b.as_int()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_float()?.partial_cmp(&b.as_float()?),
    }
}

/// The value under `key`, found as Python finds it.
pub(crate) fn lookup(dict: &Dict, key: &Value, meter: &Meter) -> Result<Option<Value>, Fault> {
    for (known, value) in &dict.entries {
        if equal(known, key, meter)? {
            return Ok(Some(value.clone()));
        }
    }
    Ok(None)
}

/// Orders two values as Python does, or says that it cannot.
pub(crate) fn order(
    a: &Value,
    b: &Value,
    symbol: &str,
    meter: &Meter,
) -> Result<Option<Ordering>, Fault> {
    meter.spend(8)?;
    match (a, b) {
        (Value::Undefined(why), _) | (_, Value::Undefined(why)) => Err(invalid(&**why)),
        (Value::Str(a), Value::Str(b)) => {
            meter.scan(a.len().min(b.len()))?;
            Ok(Some(a.as_str().cmp(b.as_str())))
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            for (x, y) in a.items.iter().zip(&b.items) {
                if !equal(x, y, meter)? {
                    return order(x, y, symbol, meter);
                }
            }
            Ok(Some(a.items.len().cmp(&b.items.len())))
        }
        _ if a.as_float().is_some() && b.as_float().is_some() => Ok(numbers(a, b)),
        _ => Err(invalid(format!(
            "'{symbol}' not supported between instances of '{}' and '{}'",
            a.type_name(),
            b.type_name()
        ))),
    }
}

/// `needle in container`.
pub(crate) fn contains(needle: &Value, container: &Value, meter: &Meter) -> Result<bool, Fault> {
    match container {
        Value::Str(text) => {
            meter.scan(text.len())?;
            match needle {
                Value::Str(needle) => Ok(text.as_str().contains(needle.as_str())),
                other => Err(invalid(format!(
                    "'in <string>' requires string as left operand, not {}",
                    other.type_name()
                ))),
            }
        }
        Value::Dict(dict) => Ok(lookup(dict, needle, meter)?.is_some()),
        Value::List(_) | Value::Tuple(_) | Value::Undefined(_) | Value::Loop(_) => {
            for item in &container.items(meter)?.items {
                if equal(item, needle, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        other => Err(invalid(format!(
            "argument of type '{}' is not iterable",
            other.type_name()
        ))),
    }
}

pub(crate) fn compare(op: CompareOp, a: &Value, b: &Value, meter: &Meter) -> Result<bool, Fault> {
    Ok(match op {
        CompareOp::Eq => equal(a, b, meter)?,
        CompareOp::Ne => !equal(a, b, meter)?,
        CompareOp::In => contains(a, b, meter)?,
        CompareOp::NotIn => !contains(a, b, meter)?,
        CompareOp::Lt => order(a, b, "<", meter)?.is_some_and(Ordering::is_lt),
        CompareOp::Le => order(a, b, "<=", meter)?.is_some_and(Ordering::is_le),
        CompareOp::Gt => order(a, b, ">", meter)?.is_some_and(Ordering::is_gt),
        CompareOp::Ge => order(a, b, ">=", meter)?.is_some_and(Ordering::is_ge),
    })
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::FloorDiv => "//",
        BinaryOp::Rem => "%",
        BinaryOp::Pow => "** or pow()",
    }
}

/// `a op b`.
pub(crate) fn binary(op: BinaryOp, a: &Value, b: &Value, meter: &Meter) -> Result<Value, Fault> {
    if let (BinaryOp::Rem, Value::Str(format)) = (op, a) {
        return percent(format, b, meter).map(Value::Str);
    }
    match (a, b) {
        (Value::Undefined(why), _) | (_, Value::Undefined(why)) => return Err(invalid(&**why)),
        _ => {}
    }
    match (op, a, b) {
        (BinaryOp::Add, Value::Str(a), Value::Str(b)) => {
            return concat(a, b, meter).map(Value::Str);
        }
        (BinaryOp::Add, Value::List(x), Value::List(y)) => {
            meter.slots(x.items.len() + y.items.len())?;
            return Value::list([&*x.items, &*y.items].concat(), meter);
        }
        (BinaryOp::Add, Value::Tuple(x), Value::Tuple(y)) => {
            meter.slots(x.items.len() + y.items.len())?;
            return Value::tuple([&*x.items, &*y.items].concat(), meter);
        }
        (BinaryOp::Add, Value::Str(_), other) => {
            return Err(invalid(format!(
                "can only concatenate str (not \"{}\") to str",
                other.type_name()
            )));
        }
        (BinaryOp::Add, Value::List(_), other) => {
            return Err(invalid(format!(
                "can only concatenate list (not \"{}\") to list",
                other.type_name()
            )));
        }
        (BinaryOp::Mul, x, y) => {
            if let Some(repeated) = repeat(x, y, meter)? {
                return Ok(repeated);
            }
        }
        _ => {}
    }
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return integers(op, x, y);
    }
    if let (Some(x), Some(y)) = (a.as_float(), b.as_float()) {
        return floats(op, x, y);
    }
    Err(invalid(format!(
        "unsupported operand type(s) for {}: '{}' and '{}'",
        symbol(op),
        a.type_name(),
        b.type_name()
    )))
}

pub(crate) fn concat(a: &Text, b: &Text, meter: &Meter) -> Result<Text, Fault> {
    meter.bytes(a.cost(a.len()) + b.cost(b.len()))?;
    let mut buf = TextBuf::default();
    buf.push_text(a);
    buf.push_text(b);
    Ok(buf.finish())
}

/// `text * n`.
pub(crate) fn repeat_text(text: &Text, count: i128, meter: &Meter) -> Result<Text, Fault> {
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    meter.bytes(text.cost(text.len()).saturating_mul(count))?;
    Ok(text.repeat(if text.is_empty() { 0 } else { count }))
}

fn repeat(a: &Value, b: &Value, meter: &Meter) -> Result<Option<Value>, Fault> {
    let (sequence, count) = match (a.as_int(), b.as_int()) {
        (None, Some(count)) => (a, count),
        (Some(count), None) => (b, count),
        _ => return Ok(None),
    };
    match sequence {
        Value::Str(text) => repeat_text(text, count, meter).map(|text| Some(Value::Str(text))),
        Value::List(list) | Value::Tuple(list) => {
            let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
            meter.slots(list.items.len().saturating_mul(count))?;
            let total = list.items.len().saturating_mul(count);
            let items = list.items.iter().cycle().take(total).cloned().collect();
            match sequence {
                Value::List(_) => Value::list(items, meter).map(Some),
                _ => Value::tuple(items, meter).map(Some),
            }
        }
        _ => Ok(None),
    }
}

fn integers(op: BinaryOp, a: i128, b: i128) -> Result<Value, Fault> {
    let zero = || invalid("division by zero");
    let value = match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::Mul => a.checked_mul(b),
        BinaryOp::Div => {
            return match b {
                0 => Err(zero()),
                _ => Ok(Value::Float(a as f64 / b as f64)),
            };
        }
        BinaryOp::FloorDiv | BinaryOp::Rem if b == 0 => return Err(zero()),
        // Python rounds towards minus infinity; the remainder takes the divisor's sign.
        BinaryOp::FloorDiv => a
            .checked_div(b)
            .map(|q| q - i128::from(a % b != 0 && (a < 0) != (b < 0))),
        BinaryOp::Rem => a
            .checked_rem(b)
            .map(|r| r + if r != 0 && (r < 0) != (b < 0) { b } else { 0 }),
        BinaryOp::Pow if b < 0 => {
            return match a {
                0 => Err(zero()),
                _ => Ok(Value::Float((a as f64).powf(b as f64))),
            };
        }
        BinaryOp::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
    };
    value
        .map(Value::Int)
        .ok_or_else(|| invalid("integer out of range"))
}

fn floats(op: BinaryOp, a: f64, b: f64) -> Result<Value, Fault> {
    let divides = matches!(op, BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Rem);
    if divides && b == 0.0 {
        return Err(invalid("float division by zero"));
    }
    Ok(Value::Float(match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::FloorDiv => (a / b).floor(),
        BinaryOp::Rem => {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) {
                r + b
            } else {
                r
            }
        }
        BinaryOp::Pow => a.powf(b),
    }))
}

/// Resolves a Python slice over `len` items: the indices it takes, in order.
pub(crate) fn slice_indices(
    len: usize,
    start: Option<i128>,
    stop: Option<i128>,
    step: Option<i128>,
) -> Result<Vec<usize>, Fault> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(invalid("slice step cannot be zero"));
    }
    let len = len as i128;
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |bound: Option<i128>, missing: i128| match bound {
        None => missing,
        Some(bound) if bound < 0 => bound.saturating_add(len).max(low),
        Some(bound) => bound.min(high),
    };
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let mut at = clamp(start, first);
    let stop = clamp(stop, last);
    let mut indices = Vec::new();
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        indices.push(at as usize);
        at = at.saturating_add(step);
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_take_what_python_takes() {
        type Case = (usize, [Option<i128>; 3], &'static [usize]);
        let cases: [Case; 9] = [
            (4, [None, None, None], &[0, 1, 2, 3]),
            (4, [Some(1), None, None], &[1, 2, 3]),
            (4, [None, Some(-1), None], &[0, 1, 2]),
            (4, [None, None, Some(-1)], &[3, 2, 1, 0]),
            (4, [Some(-2), Some(9), None], &[2, 3]),
            (4, [Some(3), Some(0), Some(-2)], &[3, 1]),
            (4, [Some(9), None, None], &[]),
            (0, [None, None, Some(-1)], &[]),
            (3, [Some(-9), None, Some(i128::MAX)], &[0]),
        ];
        for (len, [start, stop, step], expected) in cases {
            assert_eq!(slice_indices(len, start, stop, step).unwrap(), expected);
        }
        assert!(slice_indices(3, None, None, Some(0)).is_err());
    }

    #[test]
    fn integer_division_rounds_as_python_does() {
        let int = |op, a, b| match integers(op, a, b) {
            Ok(Value::Int(value)) => value,
            _ => panic!("not an integer"),
        };
        assert_eq!(int(BinaryOp::FloorDiv, -7, 2), -4);
        assert_eq!(int(BinaryOp::Rem, -7, 2), 1);
        assert_eq!(int(BinaryOp::Rem, 7, -2), -1);
        assert_eq!(int(BinaryOp::FloorDiv, 6, -3), -2);
        assert!(integers(BinaryOp::FloorDiv, i128::MIN, -1).is_err());
        assert!(integers(BinaryOp::Pow, 10, 1000).is_err());
    }
}
