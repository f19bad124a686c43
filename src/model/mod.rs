//! A checkpoint -> a plan.
//!
//! [`hugging_face`] and [`gguf`] read what the file states; [`spec`] makes every number
//! of it definite, with [`arch`] for what only a name tells; [`weights`] finds the
//! tensors, whatever they are called ([`names`]); [`transformer`] writes the forward
//! pass. After `arch` nobody asks which architecture it is: a tensor that is present
//! beats a flag, a flag beats a name.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod arch;
mod gguf;
mod hugging_face;
pub mod names;
pub mod rope;
pub mod shape;
pub mod spec;
pub mod transformer;
pub mod weights;

pub use spec::{LayerSpec, ModelSpec};
pub use weights::{LayerWeights, ModelWeights};

use crate::backend::plan::Plan;
use crate::error::Result;
use crate::format::{Checkpoint, Config};

/// A checkpoint understood: its numbers and where its weights are. No weight has
/// been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Every number a forward pass needs.
    pub spec: ModelSpec,
    /// The weights by role.
    pub weights: ModelWeights,
}

impl Model {
    /// Understands a checkpoint.
    ///
    /// # Errors
    /// `architecture_unknown`; `config_invalid` naming the field; `tensor_missing` and
    /// `tensor_shape` naming the tensor.
    pub async fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let stated = match &checkpoint.config {
            Config::Gguf(metadata) => gguf::read(metadata, &checkpoint.tensors).await?,
            Config::HuggingFace(config) => hugging_face::read(config)?,
        };
        let spec = ModelSpec::resolve(stated)?;
        let weights = ModelWeights::bind(&spec, &checkpoint.tensors)?;
        Ok(Self { spec, weights })
    }

    /// The forward pass for sequences of at most `context_tokens`: what the caches'
    /// capacity will be.
    ///
    /// # Errors
    /// `config_invalid` where a rope's parameters make no sense.
    pub fn plan(&self, context_tokens: usize) -> Result<Plan> {
        transformer::plan(&self.spec, &self.weights, context_tokens)
    }

    /// How many weights it has, counted once where two roles share a tensor.
    pub fn n_parameters(&self) -> u64 {
        let sizes = self.weights.specs.iter();
        sizes
            .map(|spec| spec.shape.iter().map(|&n| n as u64).product::<u64>())
            .sum()
    }
}
