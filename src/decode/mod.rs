//! Logits -> tokens.
//!
//! One *round* makes one to `k + 1` tokens: a [`draft::Drafter`] proposes `k`
//! tokens, the target scores all of them in one pass, and the target's own draw at
//! each position is kept for as long as it equals the proposal ([`round`]). Noise is
//! shared and keyed by position ([`noise`]), so the text is a function of the seed and
//! the target alone: drafts decide how fast it appears, never what it says.
//!
//! * [`sampling`]: a row of logits and what was said so far -> one token.
//! * [`draft`]: who guesses: a small model, or n-grams of the text itself.
//! * [`tree`]: the shape of a token tree.
//! * [`cost`]: what passes cost on this device.
//! * [`acceptance`]: how often guesses are right.
//! * [`planner`]: how far to guess, and in how many ways.
//! * [`constraint`]: what the reply must look like, as masks.
//! * [`verify`]: whether a guess stands: the same draw, or rejection sampling.
//! * [`stop`]: stop strings that never leak half a match.
//! * [`pair`]: is this draft fit for this target?
//! * [`score`]: how likely a text is.
//! * [`made`]: a token of the reply, and where it comes from.
//! * [`statistics`]: what speculation did.
//! * [`generate`]: the loop that callers use.

pub mod acceptance;
pub mod constraint;
pub mod cost;
mod device;
pub mod draft;
pub mod generate;
pub mod history;
pub mod made;
pub mod noise;
pub mod pair;
pub mod params;
pub mod planner;
pub mod round;
pub mod sampling;
pub mod score;
pub mod sequence;
pub mod statistics;
pub mod stop;
mod terms;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod verify;

pub use generate::{FinishReason, GenerateOptions, Generation, Lane, Step, Usage};
pub use sampling::{Sampler, SamplingParams};
pub use sequence::Sequence;
