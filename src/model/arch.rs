//! The one table that names architectures.
//!
//! A row says what an architecture's name stands for beyond what its files spell
//! out: defaults of fields that published configurations omit, and conventions no
//! field records (which dimensions rotate together in GGUF files, which layers
//! slide). Everything else comes from the checkpoint. A Llama-like model is a row
//! here and a golden in `tests/goldens`.
//!
//! Sources: the configuration classes of transformers
//! (<https://github.com/huggingface/transformers>) and, for GGUF, the per-architecture
//! parameters of llama.cpp (<https://github.com/ggml-org/llama.cpp>).

use crate::backend::plan::{Activation, RopePairing};
use crate::error::{Code, Error, Result};

/// Which layers attend through a sliding window where the file does not list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowPattern {
    /// Every layer, if there is a window at all.
    All,
    /// Every layer but each `n`-th, which sees everything.
    AllButEvery(usize),
    /// Those from `max_window_layers` on, and only if `use_sliding_window` is set.
    FromLayerIfEnabled,
}

/// What an architecture's name stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// `general.architecture` in GGUF, and what reports call it.
    pub name: &'static str,
    /// Every `model_type` in config.json that means it.
    pub model_types: &'static [&'static str],
    /// How a GGUF file's query and key rows pair up. Converters permute those of the
    /// llama family so that neighbours rotate together; Hugging Face files never are.
    pub gguf_pairing: RopePairing,
    /// Hugging Face files store norm weights less one (Gemma).
    pub norms_less_one: bool,
    /// Embeddings are multiplied by the square root of their width (Gemma).
    pub scale_embedding_by_width: bool,
    /// Non-linearity where the file names none.
    pub activation: Activation,
    /// Added to the mean square in norms where the file does not say.
    pub norm_eps: f32,
    /// Rope base where the file does not say.
    pub rope_theta: f64,
    /// Rope base of sliding layers, where they have one of their own.
    pub local_rope_theta: Option<f64>,
    /// Each `n`-th layer has no positions, where the file does not list them (SmolLM3).
    pub no_rope_every: Option<usize>,
    /// Which layers slide, where the file does not list them.
    pub window_pattern: WindowPattern,
    /// Sliding window where the file does not say.
    pub window: Option<usize>,
    /// Soft-cap of attention scores where the file does not say.
    pub attention_softcap: Option<f32>,
    /// Soft-cap of logits where the file does not say.
    pub logit_softcap: Option<f32>,
    /// Query heads, key/value heads and head size where config.json omits them.
    pub heads: Option<(usize, usize, usize)>,
    /// GGUF files with this many layers scale attention by `width / n_heads` instead
    /// of the head size: the 27B Gemmas, whose `query_pre_attn_scalar` GGUF drops.
    pub scale_by_width_at_layers: Option<usize>,
}

pub(super) const LLAMA: Architecture = Architecture {
    name: "llama",
    model_types: &["llama", "mistral"],
    gguf_pairing: RopePairing::Interleaved,
    norms_less_one: false,
    scale_embedding_by_width: false,
    activation: Activation::Silu,
    norm_eps: 1e-6,
    rope_theta: 10_000.0,
    local_rope_theta: None,
    no_rope_every: None,
    window_pattern: WindowPattern::All,
    window: None,
    attention_softcap: None,
    logit_softcap: None,
    heads: None,
    scale_by_width_at_layers: None,
};

pub(super) const QWEN2: Architecture = Architecture {
    name: "qwen2",
    model_types: &["qwen2"],
    gguf_pairing: RopePairing::Halved,
    window_pattern: WindowPattern::FromLayerIfEnabled,
    ..LLAMA
};

const GEMMA2: Architecture = Architecture {
    name: "gemma2",
    model_types: &["gemma2"],
    gguf_pairing: RopePairing::Halved,
    norms_less_one: true,
    scale_embedding_by_width: true,
    activation: Activation::GeluTanh,
    window_pattern: WindowPattern::AllButEvery(2),
    window: Some(4096),
    attention_softcap: Some(50.0),
    logit_softcap: Some(30.0),
    heads: Some((8, 4, 256)),
    scale_by_width_at_layers: Some(46),
    ..LLAMA
};

/// Every architecture there is.
pub const TABLE: &[Architecture] = &[
    LLAMA,
    QWEN2,
    Architecture {
        name: "qwen3",
        model_types: &["qwen3"],
        ..QWEN2
    },
    GEMMA2,
    Architecture {
        name: "gemma3",
        model_types: &["gemma3_text", "gemma3"],
        rope_theta: 1_000_000.0,
        local_rope_theta: Some(10_000.0),
        window_pattern: WindowPattern::AllButEvery(6),
        attention_softcap: None,
        logit_softcap: None,
        scale_by_width_at_layers: Some(62),
        ..GEMMA2
    },
    Architecture {
        name: "phi3",
        model_types: &["phi3"],
        gguf_pairing: RopePairing::Halved,
        norm_eps: 1e-5,
        ..LLAMA
    },
    Architecture {
        name: "smollm3",
        model_types: &["smollm3"],
        rope_theta: 2_000_000.0,
        no_rope_every: Some(4),
        window_pattern: WindowPattern::FromLayerIfEnabled,
        ..LLAMA
    },
    Architecture {
        name: "olmo2",
        model_types: &["olmo2"],
        gguf_pairing: RopePairing::Halved,
        norm_eps: 1e-5,
        ..LLAMA
    },
    Architecture {
        name: "granite",
        model_types: &["granite"],
        ..LLAMA
    },
];

/// The row of a GGUF file's `general.architecture`.
///
/// # Errors
/// `architecture_unknown`, naming it and listing what is known.
pub fn by_gguf_name(name: &str) -> Result<&'static Architecture> {
    TABLE
        .iter()
        .find(|row| row.name == name)
        .ok_or_else(|| unknown(name))
}

/// The row of a config.json's `model_type`.
///
/// # Errors
/// `architecture_unknown`, naming it and listing what is known.
pub fn by_model_type(model_type: &str) -> Result<&'static Architecture> {
    TABLE
        .iter()
        .find(|row| row.model_types.contains(&model_type))
        .ok_or_else(|| unknown(model_type))
}

fn unknown(name: &str) -> Error {
    let mut known: Vec<&str> = TABLE
        .iter()
        .flat_map(|row| row.model_types.iter().copied().chain([row.name]))
        .collect();
    known.sort_unstable();
    known.dedup();
    let detail = format!(
        "not an architecture this crate knows; it knows {}",
        known.join(", ")
    );
    Error::new(Code::ArchitectureUnknown, name, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_architecture_is_named_and_the_known_ones_are_listed() {
        let error = by_model_type("mamba").unwrap_err();
        assert_eq!(error.code(), Code::ArchitectureUnknown);
        assert_eq!(error.subject(), "mamba");
        for row in TABLE {
            assert!(error.detail().contains(row.name), "{}", row.name);
        }
        assert_eq!(by_gguf_name("t5").unwrap_err().subject(), "t5");
    }

    #[test]
    fn no_name_stands_twice() {
        let mut seen = std::collections::HashSet::new();
        for row in TABLE {
            assert!(seen.insert(row.name), "{}", row.name);
        }
        let mut seen = std::collections::HashSet::new();
        for name in TABLE.iter().flat_map(|row| row.model_types) {
            assert!(seen.insert(*name), "{name}");
        }
    }
}
