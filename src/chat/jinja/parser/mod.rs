//! Tokens -> statements and expressions, by jinja2's grammar and precedences.

mod expr;

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{For, MacroDef, Param, Stmt, StmtKind, Symbol, Target};
use super::lexer::{Tok, Token};
use super::meter::{Fault, invalid};

/// Expressions and blocks may be nested this deep in the source.
const MAX_NESTING: usize = 48;

pub(crate) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    names: HashMap<String, Symbol>,
    /// Every name read so far, in order: tells whether a macro uses `caller`.
    mentioned: Vec<Symbol>,
    nesting: usize,
}

type Parsed<T> = Result<T, Fault>;

/// The body of a template and the names it mentions.
pub(crate) fn parse(tokens: Vec<Token>) -> Parsed<(Vec<Stmt>, HashMap<String, Symbol>)> {
    let mut parser = Parser {
        tokens,
        at: 0,
        names: HashMap::new(),
        mentioned: Vec::new(),
        nesting: 0,
    };
    let (body, _) = parser.body(&[])?;
    Ok((body, parser.names))
}

impl Parser {
    fn peek(&self) -> &Tok {
        self.tokens
            .get(self.at)
            .map_or(&Tok::Eof, |token| &token.tok)
    }

    fn line(&self) -> u32 {
        let last = self.tokens.last();
        self.tokens.get(self.at).or(last).map_or(0, |t| t.line)
    }

    fn next(&mut self) -> Tok {
        let tok = self.tokens.get_mut(self.at).map_or(Tok::Eof, |token| {
            std::mem::replace(&mut token.tok, Tok::Eof)
        });
        self.at += 1;
        tok
    }

    fn fail<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(invalid(message).at(self.line()))
    }

    fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let got = match self.peek() {
            Tok::Eof => "end of template".to_string(),
            Tok::BlockEnd => "end of statement block".to_string(),
            Tok::OutputEnd => "end of print statement".to_string(),
            Tok::Name(name) => format!("'{name}'"),
            Tok::Op(op) => format!("'{op}'"),
            other => format!("{other:?}"),
        };
        self.fail(format!("expected {wanted}, got {got}"))
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(found) if *found == op)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Tok::Name(found) if found == name)
    }

    fn take_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    fn want_op(&mut self, op: &str) -> Parsed<()> {
        if self.take_op(op) {
            return Ok(());
        }
        self.unexpected(&format!("'{op}'"))
    }

    fn want_name(&mut self) -> Parsed<String> {
        match self.peek() {
            Tok::Name(_) => match self.next() {
                Tok::Name(name) => Ok(name),
                _ => self.unexpected("a name"),
            },
            _ => self.unexpected("a name"),
        }
    }

    fn block_end(&mut self) -> Parsed<()> {
        if matches!(self.peek(), Tok::BlockEnd) {
            self.at += 1;
            return Ok(());
        }
        self.unexpected("end of statement block")
    }

    fn symbol(&mut self, name: &str) -> Symbol {
        let next = self.names.len() as Symbol;
        match self.names.get(name) {
            Some(symbol) => *symbol,
            None => {
                self.names.insert(name.to_string(), next);
                next
            }
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return Err(Fault::Limit("the template is nested too deep"));
        }
        self.nesting += 1;
        let result = parse(self);
        self.nesting -= 1;
        result
    }

    // Statements.

    /// Statements up to one of the `ends` tags; which one is returned, its name read
    /// and its block still open.
    fn body(&mut self, ends: &[&'static str]) -> Parsed<(Vec<Stmt>, &'static str)> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            match self.next() {
                Tok::Data(text) => body.push(Stmt {
                    line,
                    kind: StmtKind::Data(text.into()),
                }),
                Tok::OutputBegin => {
                    let expr = self.tuple_or_expr()?;
                    if !matches!(self.peek(), Tok::OutputEnd) {
                        return self.unexpected("end of print statement");
                    }
                    self.at += 1;
                    body.push(Stmt {
                        line,
                        kind: StmtKind::Output(expr),
                    });
                }
                Tok::BlockBegin => {
                    if let Some(end) = ends.iter().find(|end| self.is_name(end)) {
                        self.at += 1;
                        return Ok((body, end));
                    }
                    let kind = self.nested(Self::statement)?;
                    body.push(Stmt { line, kind });
                }
                Tok::Eof if ends.is_empty() => return Ok((body, "")),
                Tok::Eof => {
                    let wanted = ends.join("' or '");
                    return self.fail(format!("unexpected end of template, expected '{wanted}'"));
                }
                _ => {
                    self.at -= 1;
                    return self.unexpected("text or a tag");
                }
            }
        }
    }

    /// A body that ends in `end`, and its closing tag.
    fn body_until(&mut self, end: &'static str) -> Parsed<Vec<Stmt>> {
        let (body, _) = self.body(&[end])?;
        self.block_end()?;
        Ok(body)
    }

    fn statement(&mut self) -> Parsed<StmtKind> {
        let line = self.line();
        let name = self.want_name()?;
        match name.as_str() {
            "for" => self.for_loop(line),
            "if" => self.if_block(),
            "set" => self.set(),
            "macro" => {
                let name = self.want_name()?;
                let params = self.params()?;
                self.block_end()?;
                let def = self.macro_def(&name, params, "endmacro")?;
                Ok(StmtKind::Macro(Arc::new(def)))
            }
            "call" => {
                let params = match self.is_op("(") {
                    true => self.params()?,
                    false => Vec::new(),
                };
                let call = self.expr()?;
                self.block_end()?;
                let def = self.macro_def("caller", params, "endcall")?;
                Ok(StmtKind::CallBlock(call, Arc::new(def)))
            }
            "filter" => {
                let mut filters = Vec::new();
                self.filter_into(&mut filters)?;
                while self.take_op("|") {
                    self.filter_into(&mut filters)?;
                }
                self.block_end()?;
                Ok(StmtKind::FilterBlock(
                    filters,
                    self.body_until("endfilter")?,
                ))
            }
            "with" => self.with(),
            "generation" => {
                self.block_end()?;
                Ok(StmtKind::Scoped(self.body_until("endgeneration")?))
            }
            "autoescape" => {
                // Chat templates are not HTML: nothing is ever escaped.
                self.expr()?;
                self.block_end()?;
                Ok(StmtKind::Scoped(self.body_until("endautoescape")?))
            }
            "block" => {
                self.want_name()?;
                while self.take_name("scoped") || self.take_name("required") {}
                self.block_end()?;
                let (body, _) = self.body(&["endblock"])?;
                if matches!(self.peek(), Tok::Name(_)) {
                    self.at += 1;
                }
                self.block_end()?;
                Ok(StmtKind::Scoped(body))
            }
            "break" => self.block_end().map(|()| StmtKind::Break),
            "continue" => self.block_end().map(|()| StmtKind::Continue),
            "include" | "import" | "from" | "extends" => self.fail(format!(
                "'{name}' needs other templates, and a chat template has none"
            )),
            _ => self.fail(format!("Encountered unknown tag '{name}'.")),
        }
    }

    fn for_loop(&mut self, line: u32) -> Parsed<StmtKind> {
        let target = self.target(false)?;
        if !self.take_name("in") {
            return self.unexpected("'in'");
        }
        let iter = self.tuple_of(Self::expr_without_if)?;
        let filter = match self.take_name("if") {
            true => Some(self.expr()?),
            false => None,
        };
        let recursive = self.take_name("recursive");
        self.block_end()?;
        let (body, end) = self.body(&["endfor", "else"])?;
        self.block_end()?;
        let otherwise = match end {
            "else" => self.body_until("endfor")?,
            _ => Vec::new(),
        };
        Ok(StmtKind::For(Arc::new(For {
            line,
            target,
            iter,
            filter,
            recursive,
            body,
            otherwise,
        })))
    }

    fn if_block(&mut self) -> Parsed<StmtKind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple_or_expr()?;
            self.block_end()?;
            let (body, end) = self.body(&["elif", "else", "endif"])?;
            branches.push((condition, body));
            if end == "elif" {
                continue;
            }
            self.block_end()?;
            let otherwise = match end {
                "else" => self.body_until("endif")?,
                _ => Vec::new(),
            };
            return Ok(StmtKind::If(branches, otherwise));
        }
    }

    fn set(&mut self) -> Parsed<StmtKind> {
        let target = self.target(true)?;
        if self.take_op("=") {
            let value = self.tuple_or_expr()?;
            self.block_end()?;
            return Ok(StmtKind::Set(target, value));
        }
        let mut filters = Vec::new();
        while self.take_op("|") {
            self.filter_into(&mut filters)?;
        }
        self.block_end()?;
        let body = self.body_until("endset")?;
        Ok(StmtKind::SetBlock(target, filters, body))
    }

    fn with(&mut self) -> Parsed<StmtKind> {
        let mut bindings = Vec::new();
        while !matches!(self.peek(), Tok::BlockEnd) {
            if !bindings.is_empty() {
                self.want_op(",")?;
            }
            let target = self.one_target(false)?;
            self.want_op("=")?;
            bindings.push((target, self.expr()?));
        }
        self.block_end()?;
        Ok(StmtKind::With(bindings, self.body_until("endwith")?))
    }

    fn params(&mut self) -> Parsed<Vec<Param>> {
        let mut params: Vec<Param> = Vec::new();
        self.want_op("(")?;
        while !self.take_op(")") {
            if !params.is_empty() {
                self.want_op(",")?;
            }
            let name = self.want_name()?;
            let symbol = self.symbol(&name);
            let default = match self.take_op("=") {
                true => Some(self.expr()?),
                false if params.iter().any(|(_, _, default)| default.is_some()) => {
                    return self.fail("non-default argument follows default argument");
                }
                false => None,
            };
            params.push((name.into(), symbol, default));
        }
        Ok(params)
    }

    fn macro_def(&mut self, name: &str, params: Vec<Param>, end: &'static str) -> Parsed<MacroDef> {
        let mark = self.mentioned.len();
        let symbol = self.symbol(name);
        let implicit = ["varargs", "kwargs", "caller"].map(|name| self.symbol(name));
        let body = self.body_until(end)?;
        let mentioned = self.mentioned.get(mark..).unwrap_or_default();
        let takes = implicit.map(|symbol| mentioned.contains(&symbol));
        Ok(MacroDef {
            name: name.into(),
            symbol,
            params,
            body,
            implicit,
            takes,
        })
    }

    // Assignment targets.

    /// `a`, `a, b`, `(a, b)`; with `attributes` also `ns.a`.
    fn target(&mut self, attributes: bool) -> Parsed<Target> {
        let first = self.one_target(attributes)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.take_op(",") {
            if !matches!(self.peek(), Tok::Name(_)) && !self.is_op("(") || self.is_name("in") {
                break;
            }
            targets.push(self.one_target(attributes)?);
        }
        Ok(Target::Tuple(targets))
    }

    fn one_target(&mut self, attributes: bool) -> Parsed<Target> {
        if self.take_op("(") {
            let target = self.nested(|parser| parser.target(attributes))?;
            self.want_op(")")?;
            return Ok(target);
        }
        let name = self.want_name()?;
        if matches!(
            name.as_str(),
            "true" | "false" | "none" | "True" | "False" | "None"
        ) {
            return self.fail(format!("can't assign to '{name}'"));
        }
        let symbol = self.symbol(&name);
        if attributes && self.take_op(".") {
            let attribute = self.want_name()?;
            self.mentioned.push(symbol);
            return Ok(Target::Attr(symbol, name.into(), attribute.into()));
        }
        Ok(Target::Name(symbol))
    }
}
