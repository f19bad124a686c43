//! The crate as a WebAssembly module: the only place that knows JavaScript.
//!
//! [`bindings`] is what `www/lib/worker.ts` calls; [`engine`] is a loaded model behind
//! it; [`source`] finds a checkpoint among the files or behind the address that the
//! page was given. Values cross as plain objects whose types stand in
//! `www/lib/types.ts` ([`value`]); errors cross as `Error` with a `code`; a [`panic`]
//! is told before the trap.

#![deny(clippy::unwrap_used, clippy::expect_used)]

pub mod bindings;
pub mod engine;
pub mod panic;
pub mod source;
pub mod value;
