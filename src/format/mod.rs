//! Bytes -> named tensors and metadata.
//!
//! A [`ByteSource`] is read by range, header first and then each tensor once, so
//! that a checkpoint never has to be in memory as a whole. [`quant`] knows every
//! element type and is the ground truth for turning it into `f32`.

#![deny(clippy::unwrap_used, clippy::expect_used)]

pub mod quant;
pub mod source;

pub use quant::DType;
pub use source::{ByteSource, LocalFuture};

use std::ops::Range;
use std::rc::Rc;

use crate::error::{Code, Error, Result};

/// Where one tensor lies and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name the file gives it.
    pub name: String,
    /// Its element type; [`DType::Unknown`] is an error only once it is read.
    pub dtype: DType,
    /// Row-major shape, slowest dimension first (as in PyTorch; GGUF's order reversed).
    pub shape: Vec<usize>,
    /// Which of the checkpoint's sources holds it.
    pub source: usize,
    /// Its bytes in that source.
    pub range: Range<u64>,
}

/// One tensor's bytes as the file has them.
#[derive(Debug, Clone)]
pub struct RawTensor {
    /// The name the file gives it.
    pub name: String,
    /// Element type of `bytes`.
    pub dtype: DType,
    /// Row-major shape, slowest dimension first.
    pub shape: Vec<usize>,
    /// The bytes, little-endian, `dtype`'s block layout.
    pub bytes: Vec<u8>,
}

/// The tensors of a checkpoint, whatever its container: a directory of names over
/// sources that are read by range.
pub struct TensorTable {
    sources: Vec<Rc<dyn ByteSource>>,
    tensors: std::collections::BTreeMap<String, TensorInfo>,
}

impl TensorTable {
    /// A table over `sources`; every `TensorInfo::source` indexes it.
    pub fn new(
        sources: Vec<Rc<dyn ByteSource>>,
        tensors: impl IntoIterator<Item = TensorInfo>,
    ) -> Self {
        let tensors = tensors
            .into_iter()
            .map(|info| (info.name.clone(), info))
            .collect();
        Self { sources, tensors }
    }

    /// What is known of a tensor, if it is there.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values()
    }

    /// Reads one tensor whole.
    ///
    /// # Errors
    /// `tensor_missing`, `dtype_unsupported`, or what the source reports.
    pub async fn read(&self, name: &str) -> Result<RawTensor> {
        let info = self
            .get(name)
            .ok_or_else(|| Error::new(Code::TensorMissing, name, "not in the checkpoint"))?;
        if let DType::Unknown(id) = info.dtype {
            let detail = format!("element type {id} is not one this crate reads");
            return Err(Error::new(Code::DtypeUnsupported, name, detail));
        }
        let source = self.sources.get(info.source).ok_or_else(|| {
            Error::new(
                Code::FileMissing,
                name,
                "its file is not part of the checkpoint",
            )
        })?;
        let bytes = source.read(info.range.clone()).await?;
        Ok(RawTensor {
            name: name.to_string(),
            dtype: info.dtype,
            shape: info.shape.clone(),
            bytes,
        })
    }
}
