//! # Tandem
//!
//! Language models inside a web page, on the reader's own GPU, made fast by
//! speculative decoding: a small *draft* model guesses, the *target* model
//! checks every guess in one pass, and the text never changes.
//!
//! The whole machine, from bytes to words:
//!
//! 1. [`format`] turns bytes (a GGUF file, a Hugging Face folder, an HTTP
//!    range) into named tensors and metadata, without holding the file.
//! 2. [`tokenizer`] turns text into ids and ids back into text.
//! 3. [`model`] resolves a checkpoint into a `ModelSpec` and writes its forward
//!    pass once, as a [`backend::plan::Plan`]: a list of fused ops over named
//!    buffers. Nothing is computed yet.
//! 4. [`backend`] turns a plan into numbers: on the CPU, or on the GPU through
//!    WebGPU.
//! 5. [`decode`] turns logits into tokens: sampling, drafting, verifying.
//! 6. [`chat`] turns messages into a prompt and tokens into a reply.
//! 7. [`agent`] turns a goal into steps that use tools.
//! 8. `web` is the crate as a WebAssembly module; the only place that knows
//!    JavaScript.
//!
//! Imports run one way, `web -> agent -> chat -> decode -> model -> backend ->
//! format`; `tokenizer` uses `format` and may be used by `decode` and above.
//! `tests/layers.rs` enforces it.

pub mod agent;
pub mod backend;
pub mod chat;
pub mod decode;
pub mod error;
pub mod format;
pub mod model;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
pub(crate) mod testing;
pub mod tokenizer;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Code, Error, Result};
