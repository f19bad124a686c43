//! The forward pass, written once, as a [`Plan`].
//!
//! A layer is six ops, or eight where blocks norm their output:
//!
//! ```text
//! x  --norm_linear--> qkv --rope_append--> qkv, cache --attention--> attn
//! attn --linear_add--> x                  (or norm_linear, norm_add)
//! x  --norm_gate_up--> ff --linear_add--> x        (or norm_linear, norm_add)
//! ```

use super::spec::ModelSpec;
use super::weights::{LayerWeights, ModelWeights};
use crate::backend::plan::{BufferId, BufferSpec, CacheLayer, Linear, Norm, Op, Plan};
use crate::error::Result;

/// Writes the pass of a model whose sequences hold at most `context_tokens`.
///
/// # Errors
/// `config_invalid` where a rope's parameters make no sense.
pub fn plan(spec: &ModelSpec, weights: &ModelWeights, context_tokens: usize) -> Result<Plan> {
    let qkv_width = |layer: &super::spec::LayerSpec| {
        (layer.heads.n_heads + 2 * layer.heads.n_kv_heads) * layer.heads.head_dim
    };
    let widest = |width: &dyn Fn(&super::spec::LayerSpec) -> usize| {
        spec.layers.iter().map(width).max().unwrap_or(0)
    };
    let mut plan = Plan {
        buffers: Vec::new(),
        weights: weights.specs.clone(),
        cache: spec
            .layers
            .iter()
            .map(|layer| CacheLayer {
                width: layer.heads.n_kv_heads * layer.heads.head_dim,
            })
            .collect(),
        ops: Vec::new(),
        n_vocab: weights.n_vocab(),
    };
    let mut buffer = |name, width| {
        plan.buffers.push(BufferSpec { name, width });
        BufferId(plan.buffers.len() - 1)
    };
    let x = buffer("residual", spec.n_embd);
    let qkv = buffer("qkv", widest(&qkv_width));
    let attn = buffer("attention", widest(&|l| l.heads.n_heads * l.heads.head_dim));
    let ff = buffer("feed-forward", widest(&|layer| layer.n_ff));
    let normed = weights
        .layers
        .iter()
        .any(|layer| layer.post_attention_norm.is_some() || layer.post_ffw_norm.is_some());
    let block_out = normed.then(|| buffer("block output", spec.n_embd));
    let logits = buffer("logits", weights.n_vocab());

    plan.ops.push(Op::Embed {
        table: weights.embedding,
        scale: spec.embedding_scale,
        out: x,
    });
    for (index, (layer, w)) in spec.layers.iter().zip(&weights.layers).enumerate() {
        let LayerWeights { qk_norm, .. } = *w;
        let rope = match &layer.rope {
            Some(rope) => Some(rope.resolve(context_tokens)?),
            None => None,
        };
        plan.ops.push(Op::NormLinear {
            x,
            norm: w.attn_norm,
            parts: w.qkv.clone(),
            out: qkv,
        });
        plan.ops.push(Op::RopeAppend {
            qkv,
            layer: index,
            heads: layer.heads,
            qk_norm,
            rope,
        });
        plan.ops.push(Op::Attention {
            qkv,
            layer: index,
            heads: layer.heads,
            scale: layer.attention_scale,
            softcap: layer.attention_softcap,
            window: layer.window,
            out: attn,
        });
        let out = BlockOut {
            residual: x,
            scratch: block_out,
            scale: spec.residual_scale,
        };
        out.write(&mut plan.ops, attn, &w.attn_output, w.post_attention_norm);
        plan.ops.push(Op::NormGateUp {
            x,
            norm: w.ffn_norm,
            gate: w.gate.clone(),
            up: w.up.clone(),
            activation: spec.activation,
            out: ff,
        });
        out.write(&mut plan.ops, ff, &w.down, w.post_ffw_norm);
    }
    plan.ops.push(Op::Head {
        x,
        norm: weights.output_norm,
        weight: weights.output.clone(),
        scale: spec.logit_scale,
        softcap: spec.logit_softcap,
        out: logits,
    });
    Ok(plan)
}

/// How a block's output reaches the residual stream.
struct BlockOut {
    residual: BufferId,
    /// Where an output waits to be normed.
    scratch: Option<BufferId>,
    scale: f32,
}

impl BlockOut {
    fn write(&self, ops: &mut Vec<Op>, x: BufferId, linear: &Linear, norm: Option<Norm>) {
        let (Some(norm), Some(scratch)) = (norm, self.scratch) else {
            ops.push(Op::LinearAdd {
                x,
                linear: linear.clone(),
                scale: self.scale,
                residual: self.residual,
            });
            return;
        };
        ops.push(Op::NormLinear {
            x,
            norm: None,
            parts: vec![linear.clone()],
            out: scratch,
        });
        ops.push(Op::NormAdd {
            x: scratch,
            norm,
            scale: self.scale,
            residual: self.residual,
        });
    }
}
