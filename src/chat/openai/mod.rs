//! OpenAI's interface: a request's JSON -> a reply's, in one piece or many.
//!
//! ```text
//! JSON -> request (checked to the last field) -> prompt, options, grammar -> tokens
//!      -> pieces (text, thought, calls) -> a stream, or the whole they make
//! ```
//!
//! Everything that a field means is decided here, in one place for the page, for
//! `engine.fetch` and for tests; TypeScript only carries it.
//!
//! * [`request`]: fields, defaults, and the errors that name them; [`sampling`] those of
//!   how tokens are drawn.
//! * [`overflow`]: what is left out of a conversation that does not fit, where asked for.
//! * [`service`]: a session that answers requests.
//! * [`types`]: what replies are made of.
//! * [`errors`]: an [`Error`](crate::Error) as status and `error` object.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod about;
mod chat_writer;
pub mod errors;
mod fields;
pub mod format;
mod grammar;
mod logprobs;
pub mod messages;
pub mod overflow;
mod plan;
pub mod request;
pub mod sampling;
pub mod service;
pub mod speculation;
mod text_writer;
pub mod tools;
pub mod types;
pub mod words;

pub use about::{Capabilities, EngineStats, Stats};
pub use errors::ApiError;
pub use request::{ChatRequest, CompletionRequest};
pub use service::{Moment, OnPieces, Service};
