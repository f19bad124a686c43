//! The checkpoint's tensor names -> canonical ones.
//!
//! Canonical names are GGUF's (`blk.N.attn_q.weight`): every architecture spells them
//! alike there. A GGUF file's names pass through; a Hugging Face file's are mapped.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::TensorTable;

/// What may stand before a text model's own names: plain, and inside a model that
/// also sees images (either order, as transformers changed it).
const PREFIXES: &[&str] = &[
    "model.language_model.",
    "language_model.model.",
    "language_model.",
    "model.",
    "",
];

/// Outside the layers.
const GLOBAL: &[(&str, &str)] = &[
    ("embed_tokens", "token_embd"),
    ("norm", "output_norm"),
    ("lm_head", "output"),
];

/// Inside a layer.
const LAYER: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", POST_ATTENTION),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    // Gate first, then up, in one matrix; GGUF calls the pair `ffn_up`.
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// Hugging Face calls two different norms `post_attention_layernorm`: the one before
/// the feed-forward block (Llama), and, in layers that also norm that block's output,
/// one of attention's output (Gemma, OLMo-2). [`canonical`] tells them apart.
const POST_ATTENTION: &str = "post_attention_norm";

/// Canonical name -> the file's own, for every tensor that has one. Tensors of other
/// parts (a vision tower, training state) are left out.
pub fn canonical(table: &TensorTable) -> BTreeMap<String, String> {
    let is_gguf = table.iter().any(|info| info.name.starts_with("blk."));
    let mut names = BTreeMap::new();
    for info in table.iter() {
        let name = if is_gguf {
            Some(info.name.clone())
        } else {
            from_hugging_face(&info.name)
        };
        if let Some(name) = name {
            names.insert(name, info.name.clone());
        }
    }
    if !is_gguf {
        name_pre_norms(&mut names);
    }
    names
}

/// In layers that do not norm the feed-forward block's output, what was read as a
/// norm of attention's output is the norm before that block.
fn name_pre_norms(names: &mut BTreeMap<String, String>) {
    let candidates: BTreeSet<String> = names
        .keys()
        .filter_map(|name| name.strip_suffix(".post_attention_norm.weight"))
        .filter(|layer| !names.contains_key(&format!("{layer}.post_ffw_norm.weight")))
        .map(str::to_string)
        .collect();
    for layer in candidates {
        if let Some(source) = names.remove(&format!("{layer}.{POST_ATTENTION}.weight")) {
            names
                .entry(format!("{layer}.ffn_norm.weight"))
                .or_insert(source);
        }
    }
}

/// The canonical name of a Hugging Face tensor, layer by layer.
fn from_hugging_face(name: &str) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    if kind != "weight" && kind != "bias" {
        return None;
    }
    PREFIXES.iter().find_map(|prefix| {
        let stem = stem.strip_prefix(prefix)?;
        if let Some((_, canonical)) = GLOBAL.iter().find(|(hf, _)| *hf == stem) {
            return Some(format!("{canonical}.{kind}"));
        }
        let (layer, rest) = stem.strip_prefix("layers.")?.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        let (_, canonical) = LAYER.iter().find(|(hf, _)| *hf == rest)?;
        Some(format!("blk.{layer}.{canonical}.{kind}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{DType, TensorInfo};

    fn table(names: &[&str]) -> TensorTable {
        let tensors = names.iter().map(|name| TensorInfo {
            name: (*name).to_string(),
            dtype: DType::F32,
            shape: vec![1],
            source: 0,
            range: 0..4,
        });
        TensorTable::new(Vec::new(), tensors)
    }

    fn mapped(names: &[&str]) -> Vec<String> {
        canonical(&table(names)).into_keys().collect()
    }

    #[test]
    fn hugging_face_names_become_gguf_names() {
        assert_eq!(
            mapped(&[
                "model.embed_tokens.weight",
                "model.layers.11.self_attn.q_proj.bias",
                "model.norm.weight",
                "lm_head.weight",
            ]),
            [
                "blk.11.attn_q.bias",
                "output.weight",
                "output_norm.weight",
                "token_embd.weight",
            ]
        );
    }

    #[test]
    fn a_text_model_inside_another_is_found_and_the_rest_left_out() {
        assert_eq!(
            mapped(&[
                "language_model.model.layers.0.mlp.down_proj.weight",
                "model.language_model.embed_tokens.weight",
                "language_model.lm_head.weight",
                "vision_tower.layers.0.mlp.fc1.weight",
                "model.layers.0.self_attn.rotary_emb.inv_freq",
            ]),
            [
                "blk.0.ffn_down.weight",
                "output.weight",
                "token_embd.weight"
            ]
        );
    }

    #[test]
    fn the_norm_after_attention_is_told_by_its_neighbours() {
        let llama = "model.layers.0.post_attention_layernorm.weight";
        assert_eq!(mapped(&[llama]), ["blk.0.ffn_norm.weight"]);
        assert_eq!(
            mapped(&[
                llama,
                "model.layers.0.pre_feedforward_layernorm.weight",
                "model.layers.0.post_feedforward_layernorm.weight",
            ]),
            [
                "blk.0.ffn_norm.weight",
                "blk.0.post_attention_norm.weight",
                "blk.0.post_ffw_norm.weight",
            ]
        );
    }

    #[test]
    fn gguf_names_pass_through() {
        let names = [
            "blk.0.attn_qkv.weight",
            "rope_freqs.weight",
            "token_embd.weight",
        ];
        assert_eq!(mapped(&names), names);
    }
}
