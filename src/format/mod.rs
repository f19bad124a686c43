//! Bytes -> named tensors and metadata.
//!
//! A [`ByteSource`] is read by range, header first and then each tensor once, so
//! that a checkpoint never has to be in memory as a whole. [`Checkpoint`] opens a GGUF
//! file (whole or split) or a Hugging Face folder as it is; both become the same
//! [`TensorTable`]. [`quant`] knows every element type and is the ground truth for
//! turning it into `f32`.
//!
//! Nothing here trusts a length: each is held against the size of its file before
//! anything is allocated for it.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod checkpoint;
mod gguf;
mod metadata;
pub mod quant;
mod safetensors;
pub mod source;
pub mod synthetic;
mod table;

pub use checkpoint::{Checkpoint, Config};
pub use metadata::{Array, FromValue, Metadata, StringList, Value};
pub use quant::{DType, Quantize};
pub use source::{ByteSource, FileSet, Folder, LocalFuture, MemorySource};
pub use table::{RawTensor, TensorInfo, TensorTable};

/// A name from the file as an error shows it, no more than a line of it; `instead`
/// where it is empty.
fn quoted(name: &str, instead: &str) -> String {
    let name = if name.is_empty() { instead } else { name };
    name.chars().take(200).collect()
}
