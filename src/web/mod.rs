//! The crate as a WebAssembly module: the only place that knows JavaScript.
//!
//! [`agent`] is the class that runs agents; [`bindings`] is what `www/lib/worker.ts` calls; [`engine`] loads a session and gives
//! it clocks and chance; [`source`] finds a checkpoint among the files or behind the address that the
//! page was given. Requests cross as JSON text, values as plain objects whose types stand in
//! `www/lib/openai.ts` and `types.ts` ([`value`]); [`threads`] are handed over by the page; errors cross as `Error` with a `code`; a [`panic`]
//! is told before the trap.

#![deny(clippy::unwrap_used, clippy::expect_used)]

pub mod agent;
pub mod bindings;
pub mod engine;
pub mod panic;
pub mod source;
pub mod threads;
pub mod value;
