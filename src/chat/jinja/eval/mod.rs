//! Runs a parsed template.

mod call;
mod expr;
mod lookup;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{Expr, For, MacroDef, Stmt, StmtKind, Symbol, Target};
use super::clock::LocalTime;
use super::meter::{Fault, Meter, invalid};
use super::repr::write_str;
use super::text::{Origin, Text, TextBuf};
use super::value::{Builtin, Loop, Macro, NamespaceRef, Scope, ScopeRef, Value, new_list};

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
}
