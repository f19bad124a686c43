//! Which tensors a spec needs, and where the checkpoint keeps them.
//!
//! What is present decides: a bias, a query norm or a norm after a block is used
//! because it is there. What must be there and is not is `tensor_missing`; what has
//! another shape than the spec implies is `tensor_shape`. Nothing is read here.

use std::collections::BTreeMap;

use super::names;
use super::spec::{LayerSpec, ModelSpec};
use crate::backend::plan::{Linear, Norm, QkNorm, QkNormSpan, Transform, WeightId, WeightSpec};
use crate::error::{Code, Error, Result};
use crate::format::TensorTable;

/// The weights of a model by role.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelWeights {
    /// All of them, as a plan lists them.
    pub specs: Vec<WeightSpec>,
    /// `[n_vocab, n_embd]`.
    pub embedding: WeightId,
    /// The layers, first to last.
    pub layers: Vec<LayerWeights>,
    /// Before the head.
    pub output_norm: Norm,
    /// `[n_vocab, n_embd]`; the embedding table where the file has one of the two.
    pub output: Linear,
}

/// The weights of one layer by role.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerWeights {
    /// Before attention; absent only where its output is normed instead.
    pub attn_norm: Option<Norm>,
    /// Query, key and value; or one fused matrix.
    pub qkv: Vec<Linear>,
    /// Before rotation.
    pub qk_norm: Option<QkNorm>,
    /// `[n_embd, n_heads * head_dim]`.
    pub attn_output: Linear,
    /// Of attention's output.
    pub post_attention_norm: Option<Norm>,
    /// Before the feed-forward block; absent only where its output is normed instead.
    pub ffn_norm: Option<Norm>,
    /// `[n_ff, n_embd]`.
    pub gate: Linear,
    /// `[n_ff, n_embd]`.
    pub up: Linear,
    /// `[n_embd, n_ff]`.
    pub down: Linear,
    /// Of the feed-forward block's output.
    pub post_ffw_norm: Option<Norm>,
}

impl ModelWeights {
    /// Finds a spec's tensors in a checkpoint.
    ///
    /// # Errors
    /// `tensor_missing`, `tensor_shape`, naming the tensor.
    pub fn bind(spec: &ModelSpec, tensors: &TensorTable) -> Result<Self> {
        let mut binder = Binder {
            tensors,
            names: names::canonical(tensors),
            spec,
            specs: Vec::new(),
        };
        let b = &mut binder;
        // Either table may be the one stored: some files keep only the head.
        let (embedding, output) = match (b.has("token_embd.weight"), b.has("output.weight")) {
            (true, true) => ("token_embd.weight", "output.weight"),
            (false, true) => ("output.weight", "output.weight"),
            _ => ("token_embd.weight", "token_embd.weight"),
        };
        let n_vocab = match spec.n_vocab {
            Some(n_vocab) => n_vocab,
            None => b.shape(embedding)?.first().copied().unwrap_or(0),
        };
        let embedding_id = b.matrix(embedding, n_vocab, spec.n_embd)?;
        let output_id = match output == embedding {
            true => embedding_id,
            false => b.matrix(output, n_vocab, spec.n_embd)?,
        };
        let output = Linear {
            weight: output_id,
            rows: 0..n_vocab,
            bias: b.optional_vector("output.bias", n_vocab)?,
            bias_offset: 0,
        };
        let output_norm = b.norm("output_norm.weight", spec.n_embd)?;
        let layers = spec
            .layers
            .iter()
            .enumerate()
            .map(|(index, layer)| b.layer(index, layer))
            .collect::<Result<_>>()?;
        Ok(Self {
            specs: binder.specs,
            embedding: embedding_id,
            layers,
            output_norm,
            output,
        })
    }

    /// Length of a row of logits.
    pub fn n_vocab(&self) -> usize {
        self.output.n_out()
    }
}

/// Looks tensors up and lists them.
struct Binder<'a> {
    tensors: &'a TensorTable,
    /// Canonical name -> the file's.
    names: BTreeMap<String, String>,
    spec: &'a ModelSpec,
    specs: Vec<WeightSpec>,
}

impl Binder<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn shape(&self, name: &str) -> Result<&[usize]> {
        self.names
            .get(name)
            .and_then(|source| self.tensors.get(source))
            .map(|info| info.shape.as_slice())
            .ok_or_else(|| Error::new(Code::TensorMissing, name, "not in the checkpoint"))
    }

    /// Lists a tensor whose shape must be `shape`.
    fn add(&mut self, name: &str, shape: &[usize], transform: Transform) -> Result<WeightId> {
        let found = self.shape(name)?;
        if found != shape {
            let detail = format!("is {found:?}, and the configuration implies {shape:?}");
            return Err(Error::new(Code::TensorShape, name, detail));
        }
        let source = self.names.get(name).cloned().unwrap_or_default();
        self.specs.push(WeightSpec {
            name: name.to_string(),
            source,
            shape: shape.to_vec(),
            transform,
        });
        Ok(WeightId(self.specs.len() - 1))
    }

    fn matrix(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<WeightId> {
        self.add(name, &[n_out, n_in], Transform::None)
    }

    fn optional_vector(&mut self, name: &str, n: usize) -> Result<Option<WeightId>> {
        match self.has(name) {
            true => self.add(name, &[n], Transform::None).map(Some),
            false => Ok(None),
        }
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Norm> {
        Ok(Norm {
            weight: self.add(name, &[width], self.spec.norm_transform)?,
            eps: self.spec.norm_eps,
        })
    }

    fn optional_norm(&mut self, name: &str, width: usize) -> Result<Option<Norm>> {
        match self.has(name) {
            true => self.norm(name, width).map(Some),
            false => Ok(None),
        }
    }

    /// A whole matrix as a projection, with its bias where there is one.
    fn linear(&mut self, stem: &str, n_out: usize, n_in: usize) -> Result<Linear> {
        Ok(Linear {
            weight: self.matrix(&format!("{stem}.weight"), n_out, n_in)?,
            rows: 0..n_out,
            bias: self.optional_vector(&format!("{stem}.bias"), n_out)?,
            bias_offset: 0,
        })
    }

    fn layer(&mut self, index: usize, layer: &LayerSpec) -> Result<LayerWeights> {
        let n_embd = self.spec.n_embd;
        let at = |name: &str| format!("blk.{index}.{name}");
        let heads = layer.heads;
        let n_q = heads.n_heads * heads.head_dim;
        let n_kv = heads.n_kv_heads * heads.head_dim;
        let post_attention_norm = self.optional_norm(&at("post_attention_norm.weight"), n_embd)?;
        let post_ffw_norm = self.optional_norm(&at("post_ffw_norm.weight"), n_embd)?;
        let attn_norm = self.block_norm(&at("attn_norm.weight"), post_attention_norm)?;
        let ffn_norm = self.block_norm(&at("ffn_norm.weight"), post_ffw_norm)?;
        let qkv = if self.has(&at("attn_qkv.weight")) {
            vec![self.linear(&at("attn_qkv"), n_q + 2 * n_kv, n_embd)?]
        } else {
            vec![
                self.linear(&at("attn_q"), n_q, n_embd)?,
                self.linear(&at("attn_k"), n_kv, n_embd)?,
                self.linear(&at("attn_v"), n_kv, n_embd)?,
            ]
        };
        let (gate, up) = self.gate_up(&at("ffn_gate"), &at("ffn_up"), layer.n_ff)?;
        Ok(LayerWeights {
            attn_norm,
            qkv,
            qk_norm: self.qk_norm(&at("attn_q_norm.weight"), &at("attn_k_norm.weight"), layer)?,
            attn_output: self.linear(&at("attn_output"), n_embd, n_q)?,
            post_attention_norm,
            ffn_norm,
            gate,
            up,
            down: self.linear(&at("ffn_down"), n_embd, layer.n_ff)?,
            post_ffw_norm,
        })
    }

    /// The norm before a block, which may be absent only if the one after is there.
    fn block_norm(&mut self, name: &str, after: Option<Norm>) -> Result<Option<Norm>> {
        match after {
            Some(_) => self.optional_norm(name, self.spec.n_embd),
            None => self.norm(name, self.spec.n_embd).map(Some),
        }
    }

    /// Two matrices, or one with the gate's rows first.
    fn gate_up(&mut self, gate: &str, up: &str, n_ff: usize) -> Result<(Linear, Linear)> {
        let n_embd = self.spec.n_embd;
        let up_weight = format!("{up}.weight");
        let is_fused = !self.has(&format!("{gate}.weight"))
            && self.has(&up_weight)
            && self.shape(&up_weight)?.first() != Some(&n_ff);
        if !is_fused {
            return Ok((
                self.linear(gate, n_ff, n_embd)?,
                self.linear(up, n_ff, n_embd)?,
            ));
        }
        let both = self.linear(up, 2 * n_ff, n_embd)?;
        let part = |rows: std::ops::Range<usize>| Linear {
            bias_offset: rows.start,
            rows,
            ..both.clone()
        };
        Ok((part(0..n_ff), part(n_ff..2 * n_ff)))
    }

    /// Query and key norms; their length says over what they run.
    fn qk_norm(&mut self, q: &str, k: &str, layer: &LayerSpec) -> Result<Option<QkNorm>> {
        if !self.has(q) && !self.has(k) {
            return Ok(None);
        }
        let heads = layer.heads;
        let per_head = self.shape(q)? == [heads.head_dim];
        let (n_q, n_k, span) = match per_head {
            true => (heads.head_dim, heads.head_dim, QkNormSpan::Head),
            false => (
                heads.n_heads * heads.head_dim,
                heads.n_kv_heads * heads.head_dim,
                QkNormSpan::Projection,
            ),
        };
        Ok(Some(QkNorm {
            q: self.norm(q, n_q)?,
            k: self.norm(k, n_k)?,
            span,
        }))
    }
}
