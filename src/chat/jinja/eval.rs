//! Runs a parsed template.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{Args, Expr, For, MacroDef, Post, Stmt, StmtKind, Symbol, Target};
use super::clock::LocalTime;
use super::meter::{Fault, Meter, invalid};
use super::methods::{self, CallArgs};
use super::ops;
use super::repr::{to_text, write_str};
use super::text::{Origin, Text, TextBuf};
use super::value::{
    Builtin, Loop, MAX_VALUE_DEPTH, Macro, NamespaceRef, Scope, ScopeRef, Value, new_list,
};
use super::{checks, filters};

/// Blocks, expressions and macro calls may be active inside one another this deep.
const MAX_DEPTH: usize = 320;
/// jinja2's sandbox refuses longer ranges.
const MAX_RANGE: i128 = 100_000;

/// How a block ended.
#[derive(PartialEq)]
enum Flow {
    Done,
    Break,
    Continue,
}

/// One rendering in progress.
pub(crate) struct Machine<'t> {
    pub(crate) meter: Meter,
    names: &'t [String],
    now: LocalTime,
    out: TextBuf,
    depth: usize,
    /// Every namespace made, to be emptied at the end: they may hold one another in a
    /// circle or in a chain too long to drop by recursion.
    namespaces: Vec<NamespaceRef>,
    /// Scopes that macros hold on to, which may likewise be circular.
    captured: Vec<ScopeRef>,
}

/// Renders `body` with `globals` visible.
pub(crate) fn run(
    body: &[Stmt],
    names: &[String],
    globals: &[(Symbol, Value)],
    now: LocalTime,
    meter: Meter,
) -> Result<Text, Fault> {
    let mut machine = Machine {
        meter,
        names,
        now,
        out: TextBuf::default(),
        depth: 0,
        namespaces: Vec::new(),
        captured: Vec::new(),
    };
    let root = Scope::new(None);
    for (i, name) in names.iter().enumerate() {
        let builtin = Builtin::ALL.iter().find(|(known, _)| known == name);
        if let Some((_, builtin)) = builtin {
            root.set(i as Symbol, Value::Builtin(*builtin));
        }
    }
    for (symbol, value) in globals {
        root.set(*symbol, value.clone());
    }
    let scope = Scope::new(Some(root));
    let result = machine.block(body, &scope);
    for namespace in &machine.namespaces {
        let emptied = namespace.take();
        drop(emptied);
    }
    for scope in &machine.captured {
        let emptied = scope.vars.take();
        drop(emptied);
    }
    result.map(|_| std::mem::take(&mut machine.out).finish())
}

impl Machine<'_> {
    fn name(&self, symbol: Symbol) -> &str {
        self.names.get(symbol as usize).map_or("?", String::as_str)
    }

    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(Fault::Limit("it recurses too deep"));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    /// Runs `run` with an output of its own and returns what it wrote.
    fn captured<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<Text, Fault> {
        let outer = std::mem::take(&mut self.out);
        let result = run(self);
        let inner = std::mem::replace(&mut self.out, outer);
        result?;
        self.meter.bytes(inner.cost())?;
        Ok(inner.finish())
    }

    // Statements.

    fn block(&mut self, body: &[Stmt], scope: &ScopeRef) -> Result<Flow, Fault> {
        self.deeper(|m| {
            for stmt in body {
                m.meter.step()?;
                let flow = m
                    .statement(stmt, scope)
                    .map_err(|fault| fault.at(stmt.line))?;
                if flow != Flow::Done {
                    return Ok(flow);
                }
            }
            Ok(Flow::Done)
        })
    }

    fn statement(&mut self, stmt: &Stmt, scope: &ScopeRef) -> Result<Flow, Fault> {
        match &stmt.kind {
            StmtKind::Data(text) => {
                self.meter.bytes(text.len() + 8)?;
                self.out.push(text, Origin::Template);
            }
            StmtKind::Output(expr) => {
                let value = self.eval(expr, scope)?;
                write_str(&mut self.out, &value, &self.meter)?;
            }
            StmtKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.eval(condition, scope)?.truthy() {
                        return self.block(body, scope);
                    }
                }
                return self.block(otherwise, scope);
            }
            StmtKind::For(statement) => {
                let items = self.eval(&statement.iter, scope)?;
                self.for_loop(statement, items, scope, 0)?;
            }
            StmtKind::Set(target, value) => {
                let value = self.eval(value, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::Macro(def) => self.define(def, scope),
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            other => return self.scoped_statement(other, scope),
        }
        Ok(Flow::Done)
    }

    /// Statements whose body has a scope of its own.
    fn scoped_statement(&mut self, kind: &StmtKind, scope: &ScopeRef) -> Result<Flow, Fault> {
        let inner = Scope::new(Some(scope.clone()));
        match kind {
            StmtKind::SetBlock(target, posts, body) => {
                let text = self.captured(|m| m.block(body, &inner))?;
                let mut value = Value::Str(text);
                for post in posts {
                    value = self.filter(value, post, scope)?;
                }
                self.assign(target, value, scope)?;
                Ok(Flow::Done)
            }
            StmtKind::FilterBlock(posts, body) => {
                let text = self.captured(|m| m.block(body, &inner))?;
                let mut value = Value::Str(text);
                for post in posts {
                    value = self.filter(value, post, scope)?;
                }
                write_str(&mut self.out, &value, &self.meter)?;
                Ok(Flow::Done)
            }
            StmtKind::With(bindings, body) => {
                for (target, value) in bindings {
                    let value = self.eval(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                self.block(body, &inner)
            }
            StmtKind::Scoped(body) => self.block(body, &inner),
            StmtKind::CallBlock(call, def) => {
                let caller = self.make_macro(def, scope);
                let Expr::Postfix(callee, posts) = call else {
                    return Err(invalid("expected a call after 'call'"));
                };
                let value = self.deeper(|m| m.postfix(callee, posts, scope, Some(caller)))?;
                write_str(&mut self.out, &value, &self.meter)?;
                Ok(Flow::Done)
            }
            _ => Ok(Flow::Done),
        }
    }

    fn make_macro(&mut self, def: &Arc<MacroDef>, scope: &ScopeRef) -> Value {
        let captured = self.captured.last();
        if captured.is_none_or(|last| !Rc::ptr_eq(last, scope)) {
            self.captured.push(scope.clone());
        }
        Value::Macro(Rc::new(Macro {
            def: def.clone(),
            scope: scope.clone(),
        }))
    }

    fn define(&mut self, def: &Arc<MacroDef>, scope: &ScopeRef) {
        let value = self.make_macro(def, scope);
        scope.set(def.symbol, value);
    }

    fn assign(&mut self, target: &Target, value: Value, scope: &ScopeRef) -> Result<(), Fault> {
        match target {
            Target::Name(symbol) => {
                self.meter.slots(1)?;
                scope.set(*symbol, value);
                Ok(())
            }
            Target::Attr(symbol, name, attribute) => match scope.get(*symbol) {
                Some(Value::Namespace(namespace)) => {
                    self.meter.slots(2)?;
                    let mut entries = namespace.borrow_mut();
                    self.meter.spend(8 * entries.len() as u64)?;
                    let known = entries
                        .iter_mut()
                        .find(|(key, _)| key.as_str() == &**attribute);
                    match known {
                        Some((_, slot)) => *slot = value,
                        None => {
                            let key = Text::new(attribute.clone(), Origin::Template);
                            entries.push((key, value));
                        }
                    }
                    Ok(())
                }
                Some(_) => Err(invalid("cannot assign attribute on non-namespace object")),
                None => Err(invalid(format!("'{name}' is undefined"))),
            },
            Target::Tuple(targets) => {
                let items = value.items(&self.meter)?;
                if items.items.len() != targets.len() {
                    return Err(invalid(format!(
                        "expected {} values to unpack, got {}",
                        targets.len(),
                        items.items.len()
                    )));
                }
                for (target, item) in targets.iter().zip(&items.items) {
                    self.assign(target, item.clone(), scope)?;
                }
                Ok(())
            }
        }
    }

    fn for_loop(
        &mut self,
        statement: &Arc<For>,
        iterable: Value,
        scope: &ScopeRef,
        depth: usize,
    ) -> Result<(), Fault> {
        let mut items = iterable.items(&self.meter)?;
        if let Some(filter) = &statement.filter {
            let mut kept = Vec::new();
            for item in &items.items {
                self.meter.step()?;
                let inner = Scope::new(Some(scope.clone()));
                self.assign(&statement.target, item.clone(), &inner)?;
                if self.eval(filter, &inner)?.truthy() {
                    kept.push(item.clone());
                }
            }
            items = new_list(kept, &self.meter)?;
        }
        if items.items.is_empty() {
            let inner = Scope::new(Some(scope.clone()));
            self.block(&statement.otherwise, &inner)?;
            return Ok(());
        }
        let this = Rc::new(Loop {
            items: items.clone(),
            index: Cell::new(0),
            depth,
            changed: RefCell::new(None),
            recurse: statement
                .recursive
                .then(|| (statement.clone(), scope.clone())),
        });
        let loop_name = self.names.iter().position(|name| name == "loop");
        for (i, item) in items.items.iter().enumerate() {
            self.meter.slots(4)?;
            this.index.set(i);
            let inner = Scope::new(Some(scope.clone()));
            if let Some(symbol) = loop_name {
                inner.set(symbol as Symbol, Value::Loop(this.clone()));
            }
            self.assign(&statement.target, item.clone(), &inner)
                .map_err(|fault| fault.at(statement.line))?;
            if self.block(&statement.body, &inner)? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    // Expressions.

    fn eval(&mut self, expr: &Expr, scope: &ScopeRef) -> Result<Value, Fault> {
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

    fn load(&self, symbol: Symbol, scope: &ScopeRef) -> Value {
        match scope.get(symbol) {
            Some(value) => value,
            None => Value::undefined_name(self.name(symbol)),
        }
    }

    fn eval_all(&mut self, exprs: &[Expr], scope: &ScopeRef) -> Result<Vec<Value>, Fault> {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            values.push(self.eval(expr, scope)?);
        }
        Ok(values)
    }

    fn compound(&mut self, expr: &Expr, scope: &ScopeRef) -> Result<Value, Fault> {
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

    fn insert(
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
    fn postfix(
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

    fn filter(&mut self, value: Value, post: &Post, scope: &ScopeRef) -> Result<Value, Fault> {
        match post {
            Post::Filter(name, args) => {
                let args = self.args(args, scope)?;
                filters::apply(self, name, value, args)
            }
            _ => Ok(value),
        }
    }

    fn args(&mut self, args: &Args, scope: &ScopeRef) -> Result<CallArgs, Fault> {
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

    fn slice_bound(&self, value: &Value) -> Result<Option<i128>, Fault> {
        match value {
            Value::None => Ok(None),
            Value::Undefined(why) => Err(invalid(&**why)),
            value => value.as_int().map(Some).ok_or_else(|| {
                invalid("slice indices must be integers or None or have an __index__ method")
            }),
        }
    }

    fn slice(&mut self, value: &Value, bounds: [Option<i128>; 3]) -> Result<Value, Fault> {
        let [start, stop, step] = bounds;
        match value {
            Value::List(list) | Value::Tuple(list) => {
                self.meter.slots(list.items.len())?;
                let indices = ops::slice_indices(list.items.len(), start, stop, step)?;
                let items = indices.iter().filter_map(|i| list.items.get(*i).cloned());
                let items = items.collect();
                match value {
                    Value::List(_) => Value::list(items, &self.meter),
                    _ => Value::tuple(items, &self.meter),
                }
            }
            Value::Str(text) => self.slice_text(text, start, stop, step).map(Value::Str),
            Value::Undefined(why) => Err(invalid(&**why)),
            other => Err(invalid(format!(
                "'{}' object is not subscriptable",
                other.type_name()
            ))),
        }
    }

    fn slice_text(
        &self,
        text: &Text,
        start: Option<i128>,
        stop: Option<i128>,
        step: Option<i128>,
    ) -> Result<Text, Fault> {
        let raw = text.as_str();
        if step.is_none_or(|step| step == 1) {
            self.meter.scan(raw.len() * 2)?;
            let length = raw.chars().count() as i128;
            let resolve = |bound: i128| {
                let bound = if bound < 0 {
                    bound.saturating_add(length)
                } else {
                    bound
                };
                bound.clamp(0, length) as usize
            };
            let (from, to) = (resolve(start.unwrap_or(0)), resolve(stop.unwrap_or(length)));
            let byte = |at: usize| raw.char_indices().nth(at).map_or(raw.len(), |(at, _)| at);
            let (from, to) = (byte(from), byte(to.max(from)));
            self.meter.bytes(text.cost(to - from))?;
            return Ok(text.slice(from..to));
        }
        self.meter.bytes(text.cost(raw.len()).saturating_mul(24))?;
        let chars: Vec<(usize, char)> = raw.char_indices().collect();
        let mut buf = TextBuf::default();
        for index in ops::slice_indices(chars.len(), start, stop, step)? {
            if let Some((at, c)) = chars.get(index) {
                buf.push_part(text, *at..*at + c.len_utf8());
            }
        }
        Ok(buf.finish())
    }

    // Attributes, items and calls: what filters use as well.

    /// `value.name`: a method before an entry of that name, as Python finds it.
    pub(crate) fn attribute(&mut self, value: &Value, name: &str) -> Result<Value, Fault> {
        if methods::has_method(value, name) {
            self.meter.slots(4)?;
            if value.depth() >= MAX_VALUE_DEPTH {
                return Err(Fault::Limit("values nested too deep"));
            }
            return Ok(Value::Method(Rc::new((value.clone(), name.into()))));
        }
        match value {
            Value::Undefined(why) => Err(invalid(&**why)),
            Value::Dict(dict) => {
                for (key, found) in &dict.entries {
                    self.meter.spend(8)?;
                    if key.as_text().is_some_and(|key| key.as_str() == name) {
                        return Ok(found.clone());
                    }
                }
                Ok(missing_attribute(value, name))
            }
            Value::Namespace(namespace) => {
                let entries = namespace.borrow();
                self.meter.spend(8 * entries.len() as u64)?;
                let found = entries.iter().find(|(key, _)| key.as_str() == name);
                Ok(match found {
                    Some((_, found)) => found.clone(),
                    None => missing_attribute(value, name),
                })
            }
            Value::Loop(this) => self.loop_attribute(this, name),
            Value::Macro(found) if name == "name" => Ok(Value::template_str(&found.def.name)),
            Value::Cycler(cycler) if name == "current" => {
                let items = &cycler.0.items;
                Ok(items.get(cycler.1.get()).cloned().unwrap_or(Value::None))
            }
            _ => Ok(missing_attribute(value, name)),
        }
    }

    fn loop_attribute(&mut self, this: &Rc<Loop>, name: &str) -> Result<Value, Fault> {
        let (index, length) = (this.index.get(), this.items.items.len());
        let int = |value: usize| Value::Int(value as i128);
        let neighbour =
            |at: Option<usize>, which: &str| match at.and_then(|i| this.items.items.get(i)) {
                Some(item) => item.clone(),
                None => Value::Undefined(format!("there is no {which} item").into()),
            };
        Ok(match name {
            "index" => int(index + 1),
            "index0" => int(index),
            "revindex" => int(length - index),
            "revindex0" => int(length - index - 1),
            "first" => Value::Bool(index == 0),
            "last" => Value::Bool(index + 1 == length),
            "length" => int(length),
            "depth" => int(this.depth + 1),
            "depth0" => int(this.depth),
            "previtem" => neighbour(index.checked_sub(1), "previous"),
            "nextitem" => neighbour(Some(index + 1), "next"),
            "cycle" | "changed" => {
                self.meter.slots(4)?;
                Value::Method(Rc::new((Value::Loop(this.clone()), name.into())))
            }
            _ => missing_attribute(&Value::Loop(this.clone()), name),
        })
    }

    /// `value[index]`.
    pub(crate) fn item(&mut self, value: &Value, index: &Value) -> Result<Value, Fault> {
        match (value, index) {
            (Value::Undefined(why), _) => return Err(invalid(&**why)),
            (Value::Dict(dict), _) => {
                if let Some(found) = ops::lookup(dict, index, &self.meter)? {
                    return Ok(found);
                }
            }
            (Value::List(list) | Value::Tuple(list), _) => {
                if let Some(at) = index.as_int() {
                    let length = list.items.len() as i128;
                    let at = if at < 0 {
                        at.saturating_add(length)
                    } else {
                        at
                    };
                    let found = usize::try_from(at).ok().and_then(|at| list.items.get(at));
                    if let Some(found) = found {
                        return Ok(found.clone());
                    }
                }
            }
            (Value::Str(text), _) => {
                if let Some(at) = index.as_int() {
                    self.meter.scan(text.len())?;
                    let raw = text.as_str();
                    let back = at < 0;
                    let steps = if back { -(at.saturating_add(1)) } else { at };
                    let steps = usize::try_from(steps).unwrap_or(usize::MAX);
                    let found = match back {
                        true => raw.char_indices().rev().nth(steps),
                        false => raw.char_indices().nth(steps),
                    };
                    if let Some((at, c)) = found {
                        return Ok(Value::Str(text.slice(at..at + c.len_utf8())));
                    }
                }
            }
            _ => {}
        }
        match index {
            Value::Str(name) => {
                self.meter.scan(name.len())?;
                self.attribute(value, name.as_str())
            }
            _ => {
                let shown = to_text(index, &self.meter)?;
                Ok(Value::Undefined(
                    format!("{} has no element {}", describe(value), shown.as_str()).into(),
                ))
            }
        }
    }

    /// An attribute path as filters take it: `a.b.0`, or an index.
    pub(crate) fn path(&mut self, value: &Value, path: &Value) -> Result<Value, Fault> {
        let Value::Str(path) = path else {
            return self.item(value, path);
        };
        let mut value = value.clone();
        for part in path.as_str().split('.') {
            let index = match part.parse() {
                Ok(index) => Value::Int(index),
                Err(_) => Value::template_str(part),
            };
            value = self.item(&value, &index)?;
        }
        Ok(value)
    }

    pub(crate) fn call_method(
        &mut self,
        value: &Value,
        name: &str,
        args: CallArgs,
    ) -> Result<Value, Fault> {
        // `str.format` reads attributes while it holds the meter: plain data only.
        let meter = &self.meter;
        let mut get = |value: &Value, name: &str, _: bool| match value {
            Value::Dict(dict) => {
                let found = ops::lookup(dict, &Value::template_str(name), meter)?;
                found.ok_or_else(|| invalid(format!("'{name}'")))
            }
            Value::List(list) | Value::Tuple(list) => {
                let found = name.parse().ok().and_then(|at: usize| list.items.get(at));
                found
                    .cloned()
                    .ok_or_else(|| invalid("list index out of range"))
            }
            other => Err(invalid(format!(
                "'{}' object has no attribute '{name}'",
                other.type_name()
            ))),
        };
        methods::call_method(value, name, args, &mut get, meter)
    }

    fn call(&mut self, callee: &Value, args: CallArgs) -> Result<Value, Fault> {
        match callee {
            Value::Macro(found) => {
                let found = found.clone();
                self.deeper(|m| m.call_macro(&found, args))
            }
            Value::Builtin(builtin) => self.call_builtin(*builtin, args),
            Value::Method(method) => {
                let (receiver, name) = &**method;
                match receiver {
                    Value::Loop(this) => self.loop_method(this, name, args),
                    _ => self.call_method(receiver, name, args),
                }
            }
            Value::Loop(this) => {
                let Some((statement, scope)) = &this.recurse else {
                    return Err(invalid(
                        "The loop must have the 'recursive' marker to be called recursively.",
                    ));
                };
                let [items] = args.bind("loop", ["iterable"])?;
                let items = items.ok_or_else(|| invalid("loop() needs what to iterate"))?;
                let depth = this.depth + 1;
                let text = self.captured(|m| m.for_loop(statement, items, scope, depth))?;
                Ok(Value::Str(text))
            }
            Value::Joiner(joiner) => {
                let (separator, used) = &**joiner;
                Ok(match used.replace(true) {
                    true => Value::Str(separator.clone()),
                    false => Value::template_str(""),
                })
            }
            Value::Undefined(why) => Err(invalid(&**why)),
            other => Err(invalid(format!(
                "'{}' object is not callable",
                other.type_name()
            ))),
        }
    }

    fn loop_method(&mut self, this: &Rc<Loop>, name: &str, args: CallArgs) -> Result<Value, Fault> {
        if name == "cycle" {
            let count = args.positional.len();
            let at = this.index.get().checked_rem(count);
            return match at.and_then(|at| args.positional.get(at)) {
                Some(value) => Ok(value.clone()),
                None => Err(invalid("no items for cycling given")),
            };
        }
        let mut last = this.changed.borrow_mut();
        let mut same = last
            .as_ref()
            .is_some_and(|last| last.len() == args.positional.len());
        for (a, b) in last.iter().flatten().zip(&args.positional) {
            same = same && ops::equal(a, b, &self.meter)?;
        }
        if !same {
            *last = Some(args.positional);
        }
        Ok(Value::Bool(!same))
    }

    fn call_macro(&mut self, found: &Macro, args: CallArgs) -> Result<Value, Fault> {
        let def = &*found.def;
        let scope = Scope::new(Some(found.scope.clone()));
        let given = args.positional.len();
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        let mut missing = Vec::new();
        for (name, symbol, default) in &def.params {
            let at = named.iter().position(|(key, _)| key == name);
            let value = match (positional.next(), at) {
                (Some(_), Some(_)) => {
                    return Err(invalid(format!(
                        "macro '{}' got multiple values for argument '{name}'",
                        def.name
                    )));
                }
                (Some(value), None) => Some(value),
                (None, Some(at)) => Some(named.remove(at).1),
                (None, None) => None,
            };
            match value {
                Some(value) => scope.set(*symbol, value),
                None => missing.push((name, *symbol, default)),
            }
        }
        // Defaults see the arguments that were given.
        for (name, symbol, default) in missing {
            let value = match default {
                Some(default) => self.eval(default, &scope)?,
                None => Value::Undefined(format!("parameter '{name}' was not provided").into()),
            };
            scope.set(symbol, value);
        }
        let [takes_varargs, takes_kwargs, takes_caller] = def.takes;
        let [varargs, kwargs, caller] = def.implicit;
        let caller_at = named.iter().position(|(key, _)| &**key == "caller");
        match caller_at {
            Some(at) if takes_caller => scope.set(caller, named.remove(at).1),
            _ if takes_caller => {
                let value = Value::Undefined("No caller defined".into());
                scope.set(caller, value);
            }
            _ => {}
        }
        if takes_varargs {
            let rest = Value::tuple(positional.collect(), &self.meter)?;
            scope.set(varargs, rest);
        } else if positional.next().is_some() {
            return Err(invalid(format!(
                "macro '{}' takes not more than {} argument(s), got {given}",
                def.name,
                def.params.len()
            )));
        }
        if takes_kwargs {
            let entries = named.into_iter();
            let entries = entries.map(|(key, value)| {
                let key = Value::Str(Text::new(key, Origin::Data));
                (key, value)
            });
            let rest = Value::dict(entries.collect(), &self.meter)?;
            scope.set(kwargs, rest);
        } else if let Some((name, _)) = named.first() {
            return Err(invalid(format!(
                "macro '{}' takes no keyword argument '{name}'",
                def.name
            )));
        }
        let text = self.captured(|m| m.block(&def.body, &scope))?;
        Ok(Value::Str(text))
    }

    fn call_builtin(&mut self, builtin: Builtin, args: CallArgs) -> Result<Value, Fault> {
        match builtin {
            Builtin::RaiseException => {
                let [message] = args.bind("raise_exception", ["message"])?;
                let message = to_text(&message.unwrap_or(Value::None), &self.meter)?;
                Err(Fault::Raised(message.as_str().to_string()))
            }
            Builtin::StrftimeNow => {
                let [format] = args.bind("strftime_now", ["format"])?;
                let Some(Value::Str(format)) = format else {
                    return Err(invalid("strftime_now() needs a format"));
                };
                self.meter.bytes(format.len().saturating_mul(32))?;
                let text = self.now.strftime(format.as_str());
                Ok(Value::Str(Text::new(text, Origin::Template)))
            }
            Builtin::Range => self.range(args),
            Builtin::Dict | Builtin::Namespace => {
                let mut entries: Vec<(Value, Value)> = Vec::new();
                for value in args.positional {
                    match value {
                        Value::Dict(dict) => {
                            self.meter.slots(dict.entries.len() * 2)?;
                            for (key, value) in &dict.entries {
                                self.insert(&mut entries, key.clone(), value.clone())?;
                            }
                        }
                        other => {
                            for pair in &other.items(&self.meter)?.items {
                                let pair = pair.items(&self.meter)?;
                                let [key, value] = pair.items.as_slice() else {
                                    return Err(invalid("dictionary update sequence needs pairs"));
                                };
                                self.insert(&mut entries, key.clone(), value.clone())?;
                            }
                        }
                    }
                }
                for (key, value) in args.named {
                    let key = Value::Str(Text::new(key, Origin::Template));
                    self.insert(&mut entries, key, value)?;
                }
                if builtin == Builtin::Dict {
                    return Value::dict(entries, &self.meter);
                }
                self.meter.slots(entries.len() * 2 + 4)?;
                let mut attributes = Vec::new();
                for (key, value) in entries {
                    attributes.push((to_text(&key, &self.meter)?, value));
                }
                let namespace = Rc::new(RefCell::new(attributes));
                self.namespaces.push(namespace.clone());
                Ok(Value::Namespace(namespace))
            }
            Builtin::Cycler => {
                if args.positional.is_empty() {
                    return Err(invalid("no items for cycling given"));
                }
                let items = new_list(args.positional, &self.meter)?;
                Ok(Value::Cycler(Rc::new((items, Cell::new(0)))))
            }
            Builtin::Joiner => {
                let [separator] = args.bind("joiner", ["sep"])?;
                let separator = match separator {
                    Some(separator) => to_text(&separator, &self.meter)?,
                    None => Text::new(", ", Origin::Template),
                };
                Ok(Value::Joiner(Rc::new((separator, Cell::new(false)))))
            }
        }
    }

    fn range(&mut self, args: CallArgs) -> Result<Value, Fault> {
        let mut bounds = Vec::new();
        for value in &args.positional {
            let int = value.as_int().ok_or_else(|| {
                invalid(format!(
                    "'{}' object cannot be interpreted as an integer",
                    value.type_name()
                ))
            })?;
            bounds.push(int);
        }
        let (start, stop, step) = match bounds.as_slice() {
            [stop] => (0, *stop, 1),
            [start, stop] => (*start, *stop, 1),
            [_, _, 0] => return Err(invalid("range() arg 3 must not be zero")),
            [start, stop, step] => (*start, *stop, *step),
            _ => return Err(invalid("range expected 1 to 3 arguments")),
        };
        let distance = match step > 0 {
            true => stop.saturating_sub(start),
            false => start.saturating_sub(stop),
        };
        let step_size = step.unsigned_abs().min(i128::MAX as u128) as i128;
        let count = match distance > 0 {
            true => (distance - 1) / step_size + 1,
            false => 0,
        };
        if count > MAX_RANGE {
            return Err(Fault::Limit(
                "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).",
            ));
        }
        self.meter.slots(count as usize)?;
        let items = (0..count).map(|i| Value::Int(start.saturating_add(i.saturating_mul(step))));
        Value::list(items.collect(), &self.meter)
    }
}

fn missing_attribute(value: &Value, name: &str) -> Value {
    let name: String = name.chars().take(64).collect();
    let owner = match value {
        Value::None => "None".to_string(),
        Value::Namespace(_) => "jinja2.utils.Namespace object".to_string(),
        other => format!("{} object", other.type_name()),
    };
    Value::Undefined(format!("'{owner}' has no attribute '{name}'").into())
}

fn describe(value: &Value) -> String {
    match value {
        Value::None => "None".to_string(),
        other => format!("{} object", other.type_name()),
    }
}
