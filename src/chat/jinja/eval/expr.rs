//! Expressions.

use super::Machine;
use crate::chat::jinja::ast::{Args, Expr, Post, Symbol};
use crate::chat::jinja::meter::{Fault, invalid};
use crate::chat::jinja::methods::{self, CallArgs};
use crate::chat::jinja::repr::write_str;
use crate::chat::jinja::text::{Origin, Text, TextBuf};
use crate::chat::jinja::value::{ScopeRef, Value};
use crate::chat::jinja::{checks, filters, ops};

impl Machine<'_> {
    pub(super) fn eval(&mut self, expr: &Expr, scope: &ScopeRef) -> Result<Value, Fault> {
        self.meter.step()?;
        match expr {
            Expr::Undefined => Ok(Value::Undefined(
                "the inline if-expression evaluated to false and no else section was defined."
                    .into(),
            )),
            Expr::None => Ok(Value::None),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Int(value) => Ok(Value::Int(*value)),
            Expr::Float(value) => Ok(Value::Float(*value)),
            Expr::Str(text) => Ok(Value::Str(Text::new(text.clone(), Origin::Template))),
            Expr::Name(symbol) => Ok(self.load(*symbol, scope)),
            Expr::Postfix(value, posts) => self.deeper(|m| m.postfix(value, posts, scope, None)),
            compound => self.deeper(|m| m.compound(compound, scope)),
        }
    }

    pub(super) fn load(&self, symbol: Symbol, scope: &ScopeRef) -> Value {
        match scope.get(symbol) {
            Some(value) => value,
            None => Value::undefined_name(self.name(symbol)),
        }
    }

    pub(super) fn eval_all(
        &mut self,
        exprs: &[Expr],
        scope: &ScopeRef,
    ) -> Result<Vec<Value>, Fault> {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            values.push(self.eval(expr, scope)?);
        }
        Ok(values)
    }

    pub(super) fn compound(&mut self, expr: &Expr, scope: &ScopeRef) -> Result<Value, Fault> {
        match expr {
            Expr::List(items) => {
                let items = self.eval_all(items, scope)?;
                Value::list(items, &self.meter)
            }
            Expr::Tuple(items) => {
                let items = self.eval_all(items, scope)?;
                Value::tuple(items, &self.meter)
            }
            Expr::Dict(pairs) => {
                let mut entries: Vec<(Value, Value)> = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let key = self.eval(key, scope)?;
                    let value = self.eval(value, scope)?;
                    self.insert(&mut entries, key, value)?;
                }
                Value::dict(entries, &self.meter)
            }
            Expr::Chain(first, rest) => {
                let mut value = self.eval(first, scope)?;
                for (op, operand) in rest {
                    let operand = self.eval(operand, scope)?;
                    value = ops::binary(*op, &value, &operand, &self.meter)?;
                }
                Ok(value)
            }
            Expr::Compare(first, rest) => {
                let mut left = self.eval(first, scope)?;
                for (op, operand) in rest {
                    let right = self.eval(operand, scope)?;
                    if !ops::compare(*op, &left, &right, &self.meter)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::Concat(parts) => {
                let mut buf = TextBuf::default();
                for part in parts {
                    let value = self.eval(part, scope)?;
                    write_str(&mut buf, &value, &self.meter)?;
                }
                Ok(Value::Str(buf.finish()))
            }
            Expr::And(all) | Expr::Or(all) => {
                let stop = matches!(expr, Expr::Or(_));
                let mut value = Value::None;
                for operand in all {
                    value = self.eval(operand, scope)?;
                    if value.truthy() == stop {
                        break;
                    }
                }
                Ok(value)
            }
            Expr::Not(inner) => Ok(Value::Bool(!self.eval(inner, scope)?.truthy())),
            Expr::Negative(inner) | Expr::Positive(inner) => {
                let value = self.eval(inner, scope)?;
                let negate = matches!(expr, Expr::Negative(_));
                match (&value, value.as_int()) {
                    (Value::Undefined(why), _) => Err(invalid(&**why)),
                    (Value::Float(value), _) => {
                        Ok(Value::Float(if negate { -value } else { *value }))
                    }
                    (_, Some(int)) if negate => Ok(Value::Int(int.saturating_neg())),
                    (_, Some(int)) => Ok(Value::Int(int)),
                    _ => Err(invalid(format!(
                        "bad operand type for unary -: '{}'",
                        value.type_name()
                    ))),
                }
            }
            Expr::If(parts) => {
                let (then, condition, otherwise) = &**parts;
                match self.eval(condition, scope)?.truthy() {
                    true => self.eval(then, scope),
                    false => self.eval(otherwise, scope),
                }
            }
            _ => Ok(Value::None),
        }
    }

    pub(super) fn insert(
        &self,
        entries: &mut Vec<(Value, Value)>,
        key: Value,
        value: Value,
    ) -> Result<(), Fault> {
        if matches!(key, Value::List(_) | Value::Dict(_)) {
            return Err(invalid(format!("unhashable type: '{}'", key.type_name())));
        }
        for (known, slot) in entries.iter_mut() {
            if ops::equal(known, &key, &self.meter)? {
                *slot = value;
                return Ok(());
            }
        }
        entries.push((key, value));
        Ok(())
    }

    /// A value and what is applied to it. `caller` is handed to the last call.
    pub(super) fn postfix(
        &mut self,
        value: &Expr,
        posts: &[Post],
        scope: &ScopeRef,
        mut caller: Option<Value>,
    ) -> Result<Value, Fault> {
        let mut value = self.eval(value, scope)?;
        let mut at = 0;
        while let Some(post) = posts.get(at) {
            self.meter.step()?;
            at += 1;
            value = match post {
                Post::Attr(name) => match posts.get(at) {
                    Some(Post::Call(args)) if methods::has_method(&value, name) => {
                        at += 1;
                        let args = self.args(args, scope)?;
                        self.call_method(&value, name, args)?
                    }
                    _ => self.attribute(&value, name)?,
                },
                Post::Item(index) => {
                    let index = self.eval(index, scope)?;
                    self.item(&value, &index)?
                }
                Post::Slice(parts) => {
                    let mut bounds = [None, None, None];
                    for (bound, part) in bounds.iter_mut().zip(parts.iter()) {
                        if let Some(part) = part {
                            let part = self.eval(part, scope)?;
                            *bound = self.slice_bound(&part)?;
                        }
                    }
                    self.slice(&value, bounds)?
                }
                Post::Call(args) => {
                    let mut args = self.args(args, scope)?;
                    if at == posts.len()
                        && let Some(caller) = caller.take()
                    {
                        args.named.push(("caller".into(), caller));
                    }
                    self.call(&value, args)?
                }
                Post::Filter(..) => self.filter(value, post, scope)?,
                Post::Test(name, args, negated) => {
                    let args = self.args(args, scope)?;
                    let passed = checks::check(self, name, &value, &args.positional)?;
                    Value::Bool(passed != *negated)
                }
            };
        }
        Ok(value)
    }

    pub(super) fn filter(
        &mut self,
        value: Value,
        post: &Post,
        scope: &ScopeRef,
    ) -> Result<Value, Fault> {
        match post {
            Post::Filter(name, args) => {
                let args = self.args(args, scope)?;
                filters::apply(self, name, value, args)
            }
            _ => Ok(value),
        }
    }

    pub(super) fn args(&mut self, args: &Args, scope: &ScopeRef) -> Result<CallArgs, Fault> {
        let mut call = CallArgs::default();
        for (arg, splat) in &args.positional {
            let value = self.eval(arg, scope)?;
            match splat {
                false => call.positional.push(value),
                true => {
                    let items = value.items(&self.meter)?;
                    self.meter.slots(items.items.len())?;
                    call.positional.extend(items.items.iter().cloned());
                }
            }
        }
        for (name, arg) in &args.named {
            let value = self.eval(arg, scope)?;
            call.named.push((name.clone(), value));
        }
        for arg in &args.named_from {
            let Value::Dict(dict) = self.eval(arg, scope)? else {
                return Err(invalid("argument after ** must be a mapping"));
            };
            self.meter.slots(dict.entries.len() * 2)?;
            for (key, value) in &dict.entries {
                let key = key
                    .as_text()
                    .ok_or_else(|| invalid("keywords must be strings"))?;
                self.meter.bytes(key.len())?;
                call.named.push((key.as_str().into(), value.clone()));
            }
        }
        Ok(call)
    }
}
