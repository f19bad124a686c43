//! What a template may spend, and how it stops.

use std::cell::Cell;

/// Units one evaluated node costs.
const STEP: u64 = 64;
/// Units a copied byte costs: every byte a template allocates is paid for here, so
/// the budget over this number bounds its memory.
const BYTE: u64 = 4;
/// Units a slot of a list costs (a value takes 32 bytes).
const SLOT: u64 = 32 * BYTE;

/// Why rendering stopped early.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// `raise_exception(message)`.
    Raised(String),
    /// A limit was reached.
    Limit(&'static str),
    /// An error jinja2 would report as well; the line is filled in on the way up.
    Invalid { message: String, line: u32 },
}

/// An error whose line is not known yet.
pub(crate) fn invalid(message: impl Into<String>) -> Fault {
    Fault::Invalid {
        message: message.into(),
        line: 0,
    }
}

impl Fault {
    /// Names the line, unless an inner statement has done so.
    pub(crate) fn at(self, at: u32) -> Fault {
        match self {
            Fault::Invalid { message, line: 0 } => Fault::Invalid { message, line: at },
            other => other,
        }
    }
}

/// The budget of one rendering: time and memory in one currency.
pub(crate) struct Meter {
    left: Cell<u64>,
}

impl Meter {
    pub(crate) fn new(units: u64) -> Self {
        Self {
            left: Cell::new(units),
        }
    }

    /// Pays, or fails for good: a spent meter stays spent.
    pub(crate) fn spend(&self, units: u64) -> Result<(), Fault> {
        match self.left.get().checked_sub(units) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(Fault::Limit("it does more work than is allowed"))
            }
        }
    }

    /// One evaluated node.
    pub(crate) fn step(&self) -> Result<(), Fault> {
        self.spend(STEP)
    }

    /// `n` bytes about to be allocated.
    pub(crate) fn bytes(&self, n: usize) -> Result<(), Fault> {
        self.spend(BYTE.saturating_mul(n as u64))
    }

    /// `n` bytes about to be looked at.
    pub(crate) fn scan(&self, n: usize) -> Result<(), Fault> {
        self.spend(n as u64)
    }

    /// `n` list slots about to be allocated.
    pub(crate) fn slots(&self, n: usize) -> Result<(), Fault> {
        self.spend(SLOT.saturating_mul(n as u64))
    }
}
