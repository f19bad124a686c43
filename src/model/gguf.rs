//! A GGUF file's metadata -> [`Stated`].
//!
//! Keys are those of <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md> and
//! llama.cpp's converter. Two tensors are configuration as well: `rope_freqs.weight`
//! (Llama 3's scaling) and `rope_factors_{short,long}.weight` (LongRoPE).

use super::arch;
use super::rope::{RopeScaling, RopeSpec, yarn_magnitude};
use super::spec::{MAX_LAYERS, Stated};
use crate::error::{Code, Error, Result};
use crate::format::{FromValue, Metadata, TensorTable, Value};

/// Keys of one architecture: `{arch}.context_length` and its like.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn get<T: FromValue<'a>>(&self, name: &str) -> Result<Option<T>> {
        self.metadata.get(&self.key(name))
    }

    fn require<T: FromValue<'a>>(&self, name: &str) -> Result<T> {
        self.metadata.require(&self.key(name))
    }

    /// One number for all layers, or one a layer.
    fn per_layer(&self, name: &str, n_layers: usize) -> Result<Option<Vec<usize>>> {
        match self.get::<Vec<usize>>(name)? {
            None => Ok(None),
            Some(list) if matches!(self.metadata.value(&self.key(name)), Some(Value::Array(_))) => {
                Ok(Some(list))
            }
            Some(single) => Ok(single.first().map(|&n| vec![n; n_layers])),
        }
    }
}

/// Reads a GGUF file's metadata, and the tensors that are configuration.
///
/// # Errors
/// `architecture_unknown`; `config_invalid`, naming the key; what reading reports.
pub(super) async fn read(metadata: &Metadata, tensors: &TensorTable) -> Result<Stated> {
    let architecture: &str = metadata.require("general.architecture")?;
    let arch = arch::by_gguf_name(architecture)?;
    let keys = Keys {
        metadata,
        architecture,
    };
    if keys.get::<u64>("expert_count")?.is_some_and(|n| n > 0) {
        let detail = "mixtures of experts are not supported";
        return Err(Error::new(
            Code::ConfigInvalid,
            keys.key("expert_count"),
            detail,
        ));
    }
    let n_layers: usize = keys.require("block_count")?;
    if n_layers > MAX_LAYERS {
        let detail = format!("is {n_layers}, more than {MAX_LAYERS}");
        return Err(Error::new(
            Code::ConfigInvalid,
            keys.key("block_count"),
            detail,
        ));
    }
    let n_embd: usize = keys.require("embedding_length")?;
    let missing = |name: &str| {
        Error::new(
            Code::ConfigInvalid,
            keys.key(name),
            "is not in the file's metadata",
        )
    };
    let n_heads = keys
        .per_layer("attention.head_count", n_layers)?
        .ok_or_else(|| missing("attention.head_count"))?;
    let n_kv_heads = match keys.per_layer("attention.head_count_kv", n_layers)? {
        Some(n_kv_heads) => n_kv_heads,
        None => n_heads.clone(),
    };
    let n_ff = keys
        .per_layer("feed_forward_length", n_layers)?
        .ok_or_else(|| missing("feed_forward_length"))?;
    let first_heads = n_heads.first().copied().unwrap_or(0);
    let head_dim = match keys.get("attention.key_length")? {
        Some(head_dim) => head_dim,
        None if first_heads > 0 && n_embd.is_multiple_of(first_heads) => n_embd / first_heads,
        None => {
            let detail = format!("{n_embd} does not divide into {first_heads} heads");
            return Err(Error::new(
                Code::ConfigInvalid,
                keys.key("embedding_length"),
                detail,
            ));
        }
    };
    let value_dim: usize = keys.get("attention.value_length")?.unwrap_or(head_dim);
    if value_dim != head_dim {
        let detail =
            format!("values of {value_dim} elements with keys of {head_dim} are not supported");
        return Err(Error::new(
            Code::ConfigInvalid,
            keys.key("attention.value_length"),
            detail,
        ));
    }
    let context_tokens: usize = keys.get("context_length")?.unwrap_or(2048);
    let rope = RopeSpec {
        n_rot: keys.get("rope.dimension_count")?.unwrap_or(head_dim),
        pairing: arch.gguf_pairing,
        theta: keys.get("rope.freq_base")?.unwrap_or(arch.rope_theta),
        scaling: scaling(&keys, context_tokens, tensors).await?,
    };
    let local_theta: Option<f64> = keys.get("rope.freq_base_swa")?;
    let local_rope = local_theta.or(arch.local_rope_theta).map(|theta| RopeSpec {
        theta,
        scaling: RopeScaling::None,
        ..rope
    });
    let attention_scale = match keys.get::<f32>("attention.scale")? {
        Some(scale) => Some(scale),
        None if arch.scale_by_width_at_layers == Some(n_layers) && first_heads > 0 => {
            Some((n_embd as f64 / first_heads as f64).powf(-0.5) as f32)
        }
        None => None,
    };
    let window: Option<usize> = match keys.get("attention.sliding_window")? {
        Some(0) => None,
        Some(window) => Some(window),
        None => arch.window,
    };
    Ok(Stated {
        arch,
        n_embd,
        n_layers,
        n_vocab: None,
        context_tokens,
        n_heads,
        n_kv_heads,
        head_dim,
        n_ff,
        norm_eps: keys.get("attention.layer_norm_rms_epsilon")?,
        // Converters have added the one.
        norms_less_one: false,
        activation: None,
        embedding_scale: keys.get("embedding_scale")?,
        residual_scale: keys.get("residual_scale")?,
        logit_scale: keys.get::<f32>("logit_scale")?.map(|divisor| 1.0 / divisor),
        attention_scale,
        attention_softcap: keys
            .get("attn_logit_softcapping")?
            .or(arch.attention_softcap),
        logit_softcap: keys.get("final_logit_softcapping")?.or(arch.logit_softcap),
        window,
        slides: slides(&keys, n_layers)?,
        // A file that has a window and says nothing else of it means every layer.
        slides_from: Some(0),
        rotates: Vec::new(),
        rope,
        local_rope,
    })
}

/// Which layers slide, where the file says: a list, or a period whose last layer
/// sees everything.
fn slides(keys: &Keys<'_>, n_layers: usize) -> Result<Vec<bool>> {
    const KEY: &str = "attention.sliding_window_pattern";
    match keys.metadata.value(&keys.key(KEY)) {
        None => Ok(Vec::new()),
        Some(Value::Array(_)) => match keys.get::<Vec<bool>>(KEY)? {
            Some(list) if list.len() >= n_layers => Ok(list),
            _ => {
                let detail = format!("has no entry for each of {n_layers} layers");
                Err(Error::new(Code::ConfigInvalid, keys.key(KEY), detail))
            }
        },
        Some(_) => match keys.require::<usize>(KEY)? {
            0 => Ok(vec![false; n_layers]),
            n => Ok((0..n_layers)
                .map(|index| !(index + 1).is_multiple_of(n))
                .collect()),
        },
    }
}

async fn scaling(keys: &Keys<'_>, context: usize, tensors: &TensorTable) -> Result<RopeScaling> {
    let context = context as f64;
    let original: Option<f64> = keys.get("rope.scaling.original_context_length")?;
    let original_tokens = original.unwrap_or(context);
    let short = factors("rope_factors_short.weight", tensors).await?;
    let long = factors("rope_factors_long.weight", tensors).await?;
    let attention_factor: Option<f64> = keys.get("rope.scaling.attn_factor")?;
    if let (Some(short), Some(long)) = (short, long) {
        return Ok(RopeScaling::LongRope {
            short,
            long,
            original_tokens,
            magnitude: attention_factor.unwrap_or(1.0),
        });
    }
    if let Some(divisors) = factors("rope_freqs.weight", tensors).await? {
        return Ok(RopeScaling::Divisors(divisors));
    }
    // `rope.scale_linear` is what early files call it.
    let factor: Option<f64> = match keys.get("rope.scaling.factor")? {
        Some(factor) => Some(factor),
        None => keys.get("rope.scale_linear")?,
    };
    let kind: Option<&str> = keys.get("rope.scaling.type")?;
    match (kind, factor) {
        (_, None | Some(0.0)) | (Some("none"), _) => Ok(RopeScaling::None),
        (None | Some("linear"), Some(factor)) => Ok(RopeScaling::Linear { factor }),
        (Some("yarn"), Some(factor)) => Ok(RopeScaling::Yarn {
            factor,
            original_tokens,
            beta_fast: keys.get("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
            beta_slow: keys.get("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
            truncate: true,
            // The file's factor comes on top of YaRN's own.
            magnitude: attention_factor.unwrap_or(1.0) * yarn_magnitude(factor, 1.0),
        }),
        (Some(other), Some(_)) => {
            let detail = format!("{other:?} is not a scaling this crate knows");
            Err(Error::new(
                Code::ConfigInvalid,
                keys.key("rope.scaling.type"),
                detail,
            ))
        }
    }
}

/// A small tensor that holds a number a rotating pair.
async fn factors(name: &str, tensors: &TensorTable) -> Result<Option<Vec<f64>>> {
    /// No head is wider.
    const MAX_PAIRS: usize = 1 << 16;
    let Some(info) = tensors.get(name) else {
        return Ok(None);
    };
    if info.n_elements().is_none_or(|n| n > MAX_PAIRS) {
        let detail = format!("{:?} is not a number a rotating pair", info.shape);
        return Err(Error::new(Code::TensorShape, name, detail));
    }
    let values = tensors.read(name).await?.to_f32()?;
    Ok(Some(values.into_iter().map(f64::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelSpec;

    /// What a converter writes of a small Gemma 3.
    fn metadata(architecture: &str) -> Metadata {
        let mut metadata = Metadata::default();
        metadata.insert("general.architecture", Value::String(architecture.into()));
        for (key, value) in [
            ("block_count", 7),
            ("embedding_length", 64),
            ("feed_forward_length", 48),
            ("context_length", 256),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("attention.sliding_window", 16),
        ] {
            metadata.insert(format!("{architecture}.{key}"), Value::Unsigned(value));
        }
        metadata
    }

    fn spec(metadata: &Metadata) -> Result<ModelSpec> {
        let stated = pollster::block_on(read(metadata, &TensorTable::default()))?;
        ModelSpec::resolve(stated)
    }

    fn with(architecture: &str, key: &str, value: Value) -> Result<ModelSpec> {
        let mut metadata = metadata(architecture);
        metadata.insert(key, value);
        spec(&metadata)
    }

    fn windows(spec: &ModelSpec) -> Vec<bool> {
        spec.layers
            .iter()
            .map(|layer| layer.window.is_some())
            .collect()
    }

    #[test]
    fn what_only_a_name_tells_comes_from_the_table() {
        let gemma = spec(&metadata("gemma3")).unwrap();
        assert_eq!(windows(&gemma), [true, true, true, true, true, false, true]);
        assert_eq!(gemma.embedding_scale, 8.0);
        let thetas = gemma
            .layers
            .iter()
            .map(|layer| layer.rope.as_ref().unwrap().theta);
        let expected = [1e4, 1e4, 1e4, 1e4, 1e4, 1e6, 1e4];
        assert_eq!(thetas.collect::<Vec<_>>(), expected);
        assert_eq!(spec(&metadata("smollm3")).unwrap().layers[3].rope, None);
    }

    #[test]
    fn a_key_beats_the_table() {
        let pattern = |value| with("gemma3", "gemma3.attention.sliding_window_pattern", value);
        let list = [true, false, true, false, true, false, true];
        let listed = pattern(Value::Array(crate::format::Array::Bool(list.to_vec()))).unwrap();
        assert_eq!(windows(&listed), list);
        let period = pattern(Value::Unsigned(2)).unwrap();
        assert_eq!(windows(&period), list);
        let local = with("gemma3", "gemma3.rope.freq_base_swa", Value::F32(5000.0)).unwrap();
        assert_eq!(local.layers[0].rope.as_ref().unwrap().theta, 5000.0);
    }

    #[test]
    fn the_largest_gemmas_scale_attention_by_width() {
        let mut metadata = metadata("gemma3");
        assert_eq!(spec(&metadata).unwrap().layers[0].attention_scale, 0.25);
        metadata.insert("gemma3.attention.key_length", Value::Unsigned(64));
        assert_eq!(spec(&metadata).unwrap().layers[0].attention_scale, 0.125);
        let mut largest = Metadata::default();
        for (key, value) in metadata.iter() {
            let value = match key {
                "gemma3.block_count" => Value::Unsigned(62),
                _ => value.clone(),
            };
            largest.insert(key, value);
        }
        assert_eq!(spec(&largest).unwrap().layers[0].attention_scale, 0.25);
    }

    #[test]
    fn what_a_file_gets_wrong_is_named() {
        let text = |text: &str| Value::String(text.into());
        for (key, value, subject) in [
            (
                "llama.expert_count",
                Value::Unsigned(8),
                "llama.expert_count",
            ),
            (
                "llama.attention.value_length",
                Value::Unsigned(8),
                "llama.attention.value_length",
            ),
            ("llama.rope.freq_base", text("high"), "llama.rope.freq_base"),
            (
                "llama.rope.dimension_count",
                Value::Unsigned(17),
                "rotating dimensions",
            ),
            (
                "llama.rope.dimension_count",
                Value::Unsigned(1 << 40),
                "rotating dimensions",
            ),
            (
                "llama.attention.key_length",
                Value::Unsigned(0),
                "head size",
            ),
        ] {
            let error = with("llama", key, value).unwrap_err();
            assert_eq!(
                (error.code(), error.subject()),
                (Code::ConfigInvalid, subject),
                "{key}"
            );
        }
        let mut metadata = metadata("llama");
        metadata.insert("llama.rope.scaling.factor", Value::F32(2.0));
        metadata.insert("llama.rope.scaling.type", text("magic"));
        assert_eq!(
            spec(&metadata).unwrap_err().subject(),
            "llama.rope.scaling.type"
        );
        let unknown = spec(&self::metadata("rwkv7")).unwrap_err();
        assert_eq!(
            (unknown.code(), unknown.subject()),
            (Code::ArchitectureUnknown, "rwkv7")
        );
        let missing = spec(&Metadata::default()).unwrap_err();
        assert_eq!(missing.subject(), "general.architecture");
    }
}
