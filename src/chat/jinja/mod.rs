//! The template language of checkpoints: jinja2 as Hugging Face runs it, metered.
//!
//! Source becomes tokens ([`lexer`]), statements ([`parser`], [`ast`]) and, run by
//! [`eval`] on Python's values ([`value`], [`ops`], [`methods`], [`filters`],
//! [`checks`]), a [`text::Text`].
//!
//! Why not minijinja: a checkpoint's template comes from anywhere, so it must neither
//! hang nor exhaust memory, and minijinja 3.1 with `fuel` does both on short templates.
//! Doubling a list (`x + x`) forty times, comparing or printing a nested list that
//! shares its parts, comparing two long strings in a loop, printing a namespace that
//! holds itself, and pycompat's `replace` and `join` all ran past 20 s, 3 GB or the
//! stack with two million units of fuel; none can be intercepted from outside. Here
//! every step and every byte is paid for before it is spent. The second reason is
//! [`text`]: strings know which of their characters the template's author wrote, which
//! is what keeps a tool's result from forging a control token.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod ast;
mod checks;
mod clock;
mod escape;
mod eval;
mod filters;
mod format;
mod json;
mod lexer;
mod meter;
mod methods;
mod ops;
mod parser;
mod repr;
mod text;
mod value;

pub use clock::LocalTime;
pub(crate) use meter::{Fault, Meter};
pub(crate) use text::{Origin, Text};
pub(crate) use value::{Value, new_list};

use ast::Stmt;

/// Gives the value of a variable that a template mentions.
pub(crate) type Variables<'a> = dyn FnMut(&str, &Meter) -> Result<Option<Value>, Fault> + 'a;

/// A compiled template.
pub(crate) struct Program {
    body: Vec<Stmt>,
    names: Vec<String>,
    literals: String,
}

impl Program {
    /// Compiles `source`, which may be of any size and shape: `max_tokens` bounds the
    /// work and the memory.
    pub(crate) fn compile(source: &str, max_tokens: usize) -> Result<Self, Fault> {
        let tokens = lexer::lex(source, max_tokens)?;
        let mut literals = String::new();
        for token in &tokens {
            if let lexer::Tok::Data(text) | lexer::Tok::Str(text) = &token.tok {
                literals.push_str(text);
                literals.push('\0');
            }
        }
        let (body, symbols) = parser::parse(tokens)?;
        let mut names = vec![String::new(); symbols.len()];
        for (name, symbol) in symbols {
            if let Some(slot) = names.get_mut(symbol as usize) {
                *slot = name;
            }
        }
        Ok(Self {
            body,
            names,
            literals,
        })
    }

    /// Every text the template itself can write: what stands between tags, and string
    /// constants, each ended by a NUL.
    pub(crate) fn literals(&self) -> &str {
        &self.literals
    }

    /// Renders with `variables` visible. Only those the template mentions are asked for.
    pub(crate) fn render(
        &self,
        variables: &mut Variables<'_>,
        now: LocalTime,
        meter: Meter,
    ) -> Result<Text, Fault> {
        let mut globals = Vec::new();
        for (symbol, name) in self.names.iter().enumerate() {
            if let Some(value) = variables(name, &meter)? {
                globals.push((symbol as ast::Symbol, value));
            }
        }
        eval::run(&self.body, &self.names, &globals, now, meter)
    }
}
