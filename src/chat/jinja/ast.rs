//! A parsed template.

use std::sync::Arc;

/// A name, interned: an index into the template's table.
pub(crate) type Symbol = u32;

/// A statement and the line it starts on.
pub(crate) struct Stmt {
    pub(crate) line: u32,
    pub(crate) kind: StmtKind,
}

pub(crate) enum StmtKind {
    /// Text between tags.
    Data(Arc<str>),
    /// `{{ expr }}`
    Output(Expr),
    For(Arc<For>),
    /// Conditions with their bodies, then the `else` body.
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    Set(Target, Expr),
    /// `{% set x %}..{% endset %}`, with filters to apply.
    SetBlock(Target, Vec<Post>, Vec<Stmt>),
    Macro(Arc<MacroDef>),
    /// `{% call(args) f(..) %}..{% endcall %}`: the call and the block as a macro.
    CallBlock(Expr, Arc<MacroDef>),
    /// `{% filter f %}..{% endfilter %}`
    FilterBlock(Vec<Post>, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    /// A body in a scope of its own: `block`, `generation`, `autoescape`.
    Scoped(Vec<Stmt>),
    Break,
    Continue,
}

pub(crate) struct For {
    pub(crate) line: u32,
    pub(crate) target: Target,
    pub(crate) iter: Expr,
    pub(crate) filter: Option<Expr>,
    pub(crate) recursive: bool,
    pub(crate) body: Vec<Stmt>,
    pub(crate) otherwise: Vec<Stmt>,
}

/// A parameter: name, symbol, default.
pub(crate) type Param = (Arc<str>, Symbol, Option<Expr>);

pub(crate) struct MacroDef {
    pub(crate) name: Arc<str>,
    pub(crate) symbol: Symbol,
    pub(crate) params: Vec<Param>,
    pub(crate) body: Vec<Stmt>,
    /// Symbols of `varargs`, `kwargs`, `caller`.
    pub(crate) implicit: [Symbol; 3],
    /// Which of those the body mentions: extra arguments are an error otherwise.
    pub(crate) takes: [bool; 3],
}

/// Where an assignment goes.
pub(crate) enum Target {
    Name(Symbol),
    /// `ns.attribute`
    Attr(Symbol, Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

pub(crate) enum Expr {
    Undefined,
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
    Name(Symbol),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// A value and what is applied to it, left to right. Flat, so that a long chain
    /// does not nest.
    Postfix(Box<Expr>, Vec<Post>),
    /// Operators of one precedence, left to right. Flat for the same reason.
    Chain(Box<Expr>, Vec<(BinaryOp, Expr)>),
    Compare(Box<Expr>, Vec<(CompareOp, Expr)>),
    Concat(Vec<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    /// `then if condition else otherwise`
    If(Box<(Expr, Expr, Expr)>),
}

pub(crate) enum Post {
    Attr(Arc<str>),
    Item(Expr),
    Slice(Box<[Option<Expr>; 3]>),
    Call(Args),
    Filter(Arc<str>, Args),
    /// Name, arguments, negated.
    Test(Arc<str>, Args, bool),
}

#[derive(Default)]
pub(crate) struct Args {
    /// Positional arguments; `true` marks `*expr`.
    pub(crate) positional: Vec<(Expr, bool)>,
    pub(crate) named: Vec<(Arc<str>, Expr)>,
    /// `**expr`
    pub(crate) named_from: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}
