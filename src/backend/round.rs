//! A round of speculation as a device is asked for it: what follows, how tokens are drawn,
//! under which terms, and what came of it.

use super::{CacheId, Executor};

/// Tokens whose logits a request can change on a device: a bias, or a penalty for what was
/// said. Requests that change more take their logits back.
pub const MAX_TOKEN_CHANGES: usize = 4096;

/// Rows a round can have: the tokens it begins with, and all guesses.
pub const MAX_ROUND_ROWS: usize = 17;

/// Of how many of the likeliest tokens a device can tell the log-probabilities.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// How a device draws a token: the part of a request's sampling that needs nothing
/// but the logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Divides the logits; 0 takes the highest.
    pub temperature: f32,
    /// Keep the `k` most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest most likely tokens whose probabilities reach `p`; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least `p` times as likely as the likeliest; 0 keeps all.
    pub min_p: f32,
    /// The noise is a function of this, the position and the token.
    pub seed: u64,
}

/// Guesses at what follows, in a [`Round`].
pub enum Guesses<'a> {
    /// Known; empty for a round of plain decoding.
    Tokens(&'a [u32]),
    /// To be drawn by a model that runs on the same device, with the round's noise.
    Model {
        /// The model.
        executor: &'a mut dyn Executor,
        /// Its cache.
        cache: CacheId,
        /// Tokens that follow its cache, at least one; the guesses follow the last.
        tokens: &'a [u32],
        /// How many to draw, at least one.
        num_tokens: usize,
    },
}

impl Guesses<'_> {
    /// How many there are, or will be.
    pub fn len(&self) -> usize {
        match self {
            Guesses::Tokens(tokens) => tokens.len(),
            Guesses::Model { num_tokens, .. } => *num_tokens,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an executor needs to know to draft, verify and accept by itself.
pub struct Round<'a> {
    /// Tokens that follow the cache, at least one.
    pub tokens: &'a [u32],
    /// What may follow the last of them.
    pub guesses: Guesses<'a>,
    /// How to draw; the same for whoever guesses.
    pub draw: &'a Draw,
    /// What else draws depend on; the default is nothing.
    pub terms: Terms<'a>,
}

/// What a draw depends on beside logits and noise, and what is to be told about it. The
/// order is that of `decode::sampling`: bias, penalties, mask, and then the draw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// Tokens with a bias or a past, each once, ascending. Guesses before a row count as
    /// said: whoever draws adds them.
    pub changes: &'a [TokenChange],
    /// What having been said costs; `None` where it costs nothing.
    pub penalties: Option<Penalties>,
    /// For every row that is drawn from, the tokens that may be: 32 a word, the lowest id
    /// in the lowest bit; those past its end may not. Empty where all may. Only where the
    /// guesses are known.
    pub masks: &'a [Vec<u32>],
    /// Whether to tell the drawn token's log-probability, and of how many of the likeliest
    /// tokens theirs, at most [`MAX_TOP_LOGPROBS`]: the model's own, before any term.
    pub logprobs: Option<usize>,
}

impl Terms<'_> {
    /// Whether a logit may be another than the model's.
    pub fn change_logits(&self) -> bool {
        !self.changes.is_empty() || self.penalties.is_some()
    }
}

/// A token whose logit is changed before it is drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenChange {
    /// Which.
    pub token: u32,
    /// Added first. Negative infinity forbids it.
    pub bias: f32,
    /// Whether prompt or reply hold it.
    pub is_said: bool,
    /// How often the reply holds it.
    pub n_in_reply: u32,
}

/// What it costs a token to have been said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalties {
    /// Divides positive and multiplies negative logits of whatever was said; 1 does nothing.
    pub repetition: f32,
    /// Subtracted once for every time the reply holds it.
    pub frequency: f32,
    /// Subtracted if the reply holds it.
    pub presence: f32,
}

/// Log-probabilities of one row, in nats.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowLogprobs {
    /// Of the drawn token.
    pub drawn: f32,
    /// The likeliest tokens, likelier first, ties to the lowest id.
    pub top: Vec<(u32, f32)>,
}

/// What came of a [`Round`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoundResult {
    /// So many guesses, from the first, are what was drawn.
    pub num_accepted_tokens: usize,
    /// The tokens drawn: after the last of the round's tokens, then after every guess. Of
    /// these the first `num_accepted_tokens + 1` follow from the text.
    pub drawn: Vec<u32>,
    /// What a model guessed; empty where the guesses were known.
    pub guesses: Vec<u32>,
    /// Of every row in `drawn`, where asked for.
    pub logprobs: Vec<RowLogprobs>,
}
