//! Expressions, by jinja2's precedences.

use super::{Parsed, Parser};
use crate::chat::jinja::ast::{Args, BinaryOp, CompareOp, Expr, Post};
use crate::chat::jinja::lexer::{Tok, Token};

impl Parser {
    /// An expression, or a tuple where commas follow.
    pub(super) fn tuple_or_expr(&mut self) -> Parsed<Expr> {
        self.tuple_of(Self::expr)
    }

    pub(super) fn tuple_of(&mut self, item: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        let first = item(self)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_op(",") {
            let done = match self.peek() {
                Tok::BlockEnd | Tok::OutputEnd => true,
                Tok::Op(op) => matches!(*op, ")" | "]" | "="),
                Tok::Name(name) => name == "recursive",
                _ => false,
            };
            if done {
                break;
            }
            items.push(item(self)?);
        }
        Ok(Expr::Tuple(items))
    }

    /// A conditional expression, the widest there is.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.nested(|parser| {
            let value = parser.or()?;
            parser.conditional(value)
        })
    }

    /// `value if condition else otherwise`, as often as it follows.
    pub(super) fn conditional(&mut self, value: Expr) -> Parsed<Expr> {
        if !self.take_name("if") {
            return Ok(value);
        }
        let condition = self.or()?;
        let otherwise = match self.take_name("else") {
            true => self.expr()?,
            false => Expr::Undefined,
        };
        let value = Expr::If(Box::new((value, condition, otherwise)));
        self.nested(|parser| parser.conditional(value))
    }

    pub(super) fn expr_without_if(&mut self) -> Parsed<Expr> {
        self.nested(Self::or)
    }

    pub(super) fn or(&mut self) -> Parsed<Expr> {
        let first = self.and()?;
        if !self.is_name("or") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.take_name("or") {
            all.push(self.and()?);
        }
        Ok(Expr::Or(all))
    }

    pub(super) fn and(&mut self) -> Parsed<Expr> {
        let first = self.not()?;
        if !self.is_name("and") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.take_name("and") {
            all.push(self.not()?);
        }
        Ok(Expr::And(all))
    }

    pub(super) fn not(&mut self) -> Parsed<Expr> {
        if self.take_name("not") {
            let inner = self.nested(Self::not)?;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.compare()
    }

    pub(super) fn compare(&mut self) -> Parsed<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let op = match self.peek() {
                Tok::Op("==") => CompareOp::Eq,
                Tok::Op("!=") => CompareOp::Ne,
                Tok::Op("<") => CompareOp::Lt,
                Tok::Op("<=") => CompareOp::Le,
                Tok::Op(">") => CompareOp::Gt,
                Tok::Op(">=") => CompareOp::Ge,
                Tok::Name(name) if name == "in" => CompareOp::In,
                Tok::Name(name) if name == "not" && self.name_after("in") => {
                    self.at += 1;
                    CompareOp::NotIn
                }
                _ => break,
            };
            self.at += 1;
            rest.push((op, self.sum()?));
        }
        Ok(match rest.is_empty() {
            true => first,
            false => Expr::Compare(Box::new(first), rest),
        })
    }

    pub(super) fn name_after(&self, wanted: &str) -> bool {
        let next = self.tokens.get(self.at + 1).map(|token| &token.tok);
        matches!(next, Some(Tok::Name(name)) if name == wanted)
    }

    /// Operators of one precedence, left to right.
    pub(super) fn chain(
        &mut self,
        operand: fn(&mut Self) -> Parsed<Expr>,
        operators: &[(&str, BinaryOp)],
    ) -> Parsed<Expr> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        'operators: loop {
            for (op, binary) in operators {
                if self.take_op(op) {
                    rest.push((*binary, operand(self)?));
                    continue 'operators;
                }
            }
            break;
        }
        Ok(match rest.is_empty() {
            true => first,
            false => Expr::Chain(Box::new(first), rest),
        })
    }

    pub(super) fn sum(&mut self) -> Parsed<Expr> {
        self.chain(Self::concat, &[("+", BinaryOp::Add), ("-", BinaryOp::Sub)])
    }

    pub(super) fn concat(&mut self) -> Parsed<Expr> {
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_op("~") {
            parts.push(self.product()?);
        }
        Ok(Expr::Concat(parts))
    }

    pub(super) fn product(&mut self) -> Parsed<Expr> {
        let operators = [
            ("*", BinaryOp::Mul),
            ("/", BinaryOp::Div),
            ("//", BinaryOp::FloorDiv),
            ("%", BinaryOp::Rem),
        ];
        self.chain(Self::power, &operators)
    }

    pub(super) fn power(&mut self) -> Parsed<Expr> {
        self.chain(|parser| parser.unary(true), &[("**", BinaryOp::Pow)])
    }

    pub(super) fn unary(&mut self, filters: bool) -> Parsed<Expr> {
        let inner = if self.take_op("-") {
            Expr::Negative(Box::new(self.nested(|parser| parser.unary(false))?))
        } else if self.take_op("+") {
            Expr::Positive(Box::new(self.nested(|parser| parser.unary(false))?))
        } else {
            self.primary()?
        };
        self.postfix(inner, filters)
    }

    pub(super) fn primary(&mut self) -> Parsed<Expr> {
        match self.next() {
            Tok::Name(name) => Ok(match name.as_str() {
                "true" | "True" => Expr::Bool(true),
                "false" | "False" => Expr::Bool(false),
                "none" | "None" => Expr::None,
                "in" | "if" | "else" | "elif" | "and" | "or" | "is" => {
                    self.at -= 1;
                    return self.fail(format!("unexpected '{name}'"));
                }
                _ => {
                    let symbol = self.symbol(&name);
                    self.mentioned.push(symbol);
                    Expr::Name(symbol)
                }
            }),
            Tok::Str(mut text) => {
                while matches!(self.peek(), Tok::Str(_)) {
                    if let Tok::Str(more) = self.next() {
                        text.push_str(&more);
                    }
                }
                Ok(Expr::Str(text.into()))
            }
            Tok::Int(value) => Ok(Expr::Int(value)),
            Tok::Float(value) => Ok(Expr::Float(value)),
            Tok::Op("(") => {
                if self.take_op(")") {
                    return Ok(Expr::Tuple(Vec::new()));
                }
                let inner = self.tuple_or_expr()?;
                self.want_op(")")?;
                Ok(inner)
            }
            Tok::Op("[") => {
                let mut items = Vec::new();
                while !self.take_op("]") {
                    if !items.is_empty() {
                        self.want_op(",")?;
                        if self.take_op("]") {
                            break;
                        }
                    }
                    items.push(self.expr()?);
                }
                Ok(Expr::List(items))
            }
            Tok::Op("{") => {
                let mut entries = Vec::new();
                while !self.take_op("}") {
                    if !entries.is_empty() {
                        self.want_op(",")?;
                        if self.take_op("}") {
                            break;
                        }
                    }
                    let key = self.expr()?;
                    self.want_op(":")?;
                    entries.push((key, self.expr()?));
                }
                Ok(Expr::Dict(entries))
            }
            other => {
                self.at -= 1;
                if let Some(token) = self.tokens.get_mut(self.at) {
                    token.tok = other;
                }
                self.unexpected("an expression")
            }
        }
    }

    /// Attributes, items, calls, and with `filters` also filters and tests.
    pub(super) fn postfix(&mut self, value: Expr, filters: bool) -> Parsed<Expr> {
        let mut posts = Vec::new();
        loop {
            if self.take_op(".") {
                match self.next() {
                    Tok::Name(name) => posts.push(Post::Attr(name.into())),
                    Tok::Int(index) => posts.push(Post::Item(Expr::Int(index))),
                    _ => {
                        self.at -= 1;
                        return self.fail("expected name or number after '.'");
                    }
                }
            } else if self.take_op("[") {
                posts.push(self.subscript()?);
            } else if self.is_op("(") {
                posts.push(Post::Call(self.args()?));
            } else if filters && self.take_op("|") {
                self.filter_into(&mut posts)?;
            } else if filters && self.take_name("is") {
                self.test_into(&mut posts)?;
            } else {
                break;
            }
        }
        Ok(match posts.is_empty() {
            true => value,
            false => Expr::Postfix(Box::new(value), posts),
        })
    }

    pub(super) fn subscript(&mut self) -> Parsed<Post> {
        let mut parts = [None, None, None];
        let mut colons = 0;
        loop {
            if self.take_op(":") {
                colons += 1;
                if colons > 2 {
                    return self.unexpected("']'");
                }
            } else if self.take_op("]") {
                break;
            } else if let Some(None) = parts.get(colons) {
                let part = self.tuple_or_expr()?;
                if let Some(slot) = parts.get_mut(colons) {
                    *slot = Some(part);
                }
            } else {
                return self.unexpected("']'");
            }
        }
        if colons > 0 {
            return Ok(Post::Slice(Box::new(parts)));
        }
        match parts {
            [Some(index), _, _] => Ok(Post::Item(index)),
            _ => self.fail("expected subscript expression"),
        }
    }

    pub(super) fn args(&mut self) -> Parsed<Args> {
        self.want_op("(")?;
        let mut args = Args::default();
        let mut first = true;
        while !self.take_op(")") {
            if !first {
                self.want_op(",")?;
                if self.take_op(")") {
                    break;
                }
            }
            first = false;
            let named = matches!(self.peek(), Tok::Name(_))
                && matches!(
                    self.tokens.get(self.at + 1),
                    Some(Token {
                        tok: Tok::Op("="),
                        ..
                    })
                );
            if self.take_op("**") {
                args.named_from.push(self.expr()?);
            } else if self.take_op("*") {
                args.positional.push((self.expr()?, true));
            } else if named {
                let name = self.want_name()?;
                self.at += 1;
                args.named.push((name.into(), self.expr()?));
            } else if !args.named.is_empty() || !args.named_from.is_empty() {
                return self.fail("invalid syntax for function call expression");
            } else {
                args.positional.push((self.expr()?, false));
            }
        }
        Ok(args)
    }

    pub(super) fn dotted_name(&mut self) -> Parsed<String> {
        let mut name = self.want_name()?;
        while self.take_op(".") {
            name.push('.');
            name.push_str(&self.want_name()?);
        }
        Ok(name)
    }

    pub(super) fn filter_into(&mut self, posts: &mut Vec<Post>) -> Parsed<()> {
        let name = self.dotted_name()?;
        let args = match self.is_op("(") {
            true => self.args()?,
            false => Args::default(),
        };
        posts.push(Post::Filter(name.into(), args));
        Ok(())
    }

    /// After `is`: a test with parenthesised, one bare or no argument.
    pub(super) fn test_into(&mut self, posts: &mut Vec<Post>) -> Parsed<()> {
        let negated = self.take_name("not");
        let name = self.dotted_name()?;
        let bare = match self.peek() {
            Tok::Name(name) => !matches!(
                name.as_str(),
                "else" | "or" | "and" | "is" | "if" | "in" | "not" | "recursive"
            ),
            Tok::Str(_) | Tok::Int(_) | Tok::Float(_) => true,
            Tok::Op(op) => matches!(*op, "[" | "{"),
            _ => false,
        };
        let mut args = Args::default();
        if self.is_op("(") {
            args = self.args()?;
        } else if bare {
            let arg = self.primary()?;
            let arg = self.nested(|parser| parser.postfix(arg, false))?;
            args.positional.push((arg, false));
        }
        posts.push(Post::Test(name.into(), args, negated));
        Ok(())
    }
}
