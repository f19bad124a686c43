//! A Hugging Face `config.json` -> [`Stated`].
//!
//! Reads both spellings of rope: `rope_theta` and `rope_scaling` at the top, as
//! published files have it, and `rope_parameters`, flat or by kind of layer, as
//! transformers 5 writes it.

use serde_json::{Map, Value};

use super::arch::{self, Architecture, WindowPattern};
use super::rope::{RopeScaling, RopeSpec, long_rope_magnitude, yarn_magnitude};
use super::spec::Stated;
use crate::backend::plan::{Activation, RopePairing};
use crate::error::{Code, Error, Result};

/// Reads a parsed `config.json`.
///
/// # Errors
/// `architecture_unknown`; `config_invalid`, naming the field.
pub(super) fn read(config: &Value) -> Result<Stated> {
    let outer = Fields(object("config.json", config)?);
    // A model that also sees images keeps its text model's numbers apart.
    let fields = match outer.0.get("text_config") {
        Some(text) => Fields(object("text_config", text)?),
        None => Fields(outer.0),
    };
    let model_type = match fields.text("model_type")?.or(outer.text("model_type")?) {
        Some(model_type) => model_type,
        None => return Err(invalid("model_type", "is missing")),
    };
    let arch = arch::by_model_type(model_type)?;
    let default_heads = arch.heads;
    let required = |name: &str| {
        fields
            .count(name)?
            .ok_or_else(|| invalid(name, "is missing"))
    };

    let n_layers = required("num_hidden_layers")?;
    if n_layers > super::spec::MAX_LAYERS {
        return Err(invalid("num_hidden_layers", &format!("is {n_layers}")));
    }
    let n_embd = required("hidden_size")?;
    let n_heads = match (fields.count("num_attention_heads")?, default_heads) {
        (Some(n), _) | (None, Some((n, _, _))) => n,
        (None, None) => return Err(invalid("num_attention_heads", "is missing")),
    };
    let n_kv_heads = match (fields.count("num_key_value_heads")?, default_heads) {
        (Some(n), _) | (None, Some((_, n, _))) => n,
        (None, None) => n_heads,
    };
    let head_dim = match (fields.count("head_dim")?, default_heads) {
        (Some(n), _) | (None, Some((_, _, n))) => n,
        (None, None) if n_heads > 0 && n_embd.is_multiple_of(n_heads) => n_embd / n_heads,
        (None, None) => {
            let detail = format!("{n_embd} does not divide into {n_heads} heads");
            return Err(invalid("hidden_size", &detail));
        }
    };
    let context_tokens = fields.count("max_position_embeddings")?.unwrap_or(2048);
    let window = if fields.flag("use_sliding_window")? == Some(false) {
        None
    } else {
        fields.count_or("sliding_window", arch.window)?
    };
    let slides = slides(&fields, arch, n_layers)?;
    let slides_from = match fields.flag("use_sliding_window")? {
        Some(true) => Some(fields.count("max_window_layers")?.unwrap_or(n_layers)),
        _ => None,
    };
    let rotates = match fields.0.get("no_rope_layers") {
        Some(Value::Array(list)) if list.len() >= n_layers => list
            .iter()
            .take(n_layers)
            .map(|flag| flag.as_u64() != Some(0) && flag.as_bool() != Some(false))
            .collect(),
        None | Some(Value::Null) => match fields.count("no_rope_layer_interval")? {
            Some(n) if n > 0 => (0..n_layers)
                .map(|index| !(index + 1).is_multiple_of(n))
                .collect(),
            _ => Vec::new(),
        },
        Some(_) => {
            return Err(invalid(
                "no_rope_layers",
                "is not a list with an entry a layer",
            ));
        }
    };
    // A model's 1 / sqrt of this, where it is not the head size (Gemma).
    let query_scalar = fields.number("query_pre_attn_scalar")?;
    let attention_scale = match (fields.number("attention_multiplier")?, query_scalar) {
        (Some(scale), _) => Some(scale as f32),
        (None, Some(scalar)) => Some(scalar.powf(-0.5) as f32),
        (None, None) => None,
    };
    let rope = Rope {
        fields: &fields,
        arch,
        head_dim,
        context_tokens,
    };
    Ok(Stated {
        arch,
        n_embd,
        n_layers,
        n_vocab: fields.count("vocab_size")?,
        context_tokens,
        n_heads: vec![n_heads; n_layers],
        n_kv_heads: vec![n_kv_heads; n_layers],
        head_dim,
        n_ff: vec![required("intermediate_size")?; n_layers],
        norm_eps: fields.number("rms_norm_eps")?.map(|eps| eps as f32),
        norms_less_one: arch.norms_less_one,
        activation: activation(&fields)?,
        embedding_scale: fields.number("embedding_multiplier")?.map(|x| x as f32),
        residual_scale: fields.number("residual_multiplier")?.map(|x| x as f32),
        logit_scale: fields.number("logits_scaling")?.map(|x| (1.0 / x) as f32),
        attention_scale,
        attention_softcap: fields.number_or("attn_logit_softcapping", arch.attention_softcap)?,
        logit_softcap: fields.number_or("final_logit_softcapping", arch.logit_softcap)?,
        window,
        slides,
        slides_from,
        rotates,
        rope: rope.of_full_layers()?,
        local_rope: rope.of_sliding_layers()?,
    })
}

/// Which layers slide, where the file lists them.
fn slides(fields: &Fields<'_>, arch: &Architecture, n_layers: usize) -> Result<Vec<bool>> {
    match fields.0.get("layer_types") {
        None | Some(Value::Null) => {}
        Some(Value::Array(kinds)) if kinds.len() >= n_layers => {
            return kinds
                .iter()
                .take(n_layers)
                .map(|kind| match kind.as_str() {
                    Some("sliding_attention") => Ok(true),
                    Some("full_attention") => Ok(false),
                    _ => Err(invalid(
                        "layer_types",
                        &format!("has a layer of kind {kind}"),
                    )),
                })
                .collect();
        }
        Some(_) => {
            return Err(invalid(
                "layer_types",
                "is not a list with an entry a layer",
            ));
        }
    }
    match (arch.window_pattern, fields.count("sliding_window_pattern")?) {
        (WindowPattern::AllButEvery(_), Some(n)) if n > 0 => Ok((0..n_layers)
            .map(|index| !(index + 1).is_multiple_of(n))
            .collect()),
        _ => Ok(Vec::new()),
    }
}

/// The feed-forward block's non-linearity, as transformers' `ACT2FN` names them.
fn activation(fields: &Fields<'_>) -> Result<Option<Activation>> {
    let name = match fields.text("hidden_activation")? {
        Some(name) => Some(name),
        None => fields.text("hidden_act")?,
    };
    match name {
        None => Ok(None),
        Some("silu" | "swish") => Ok(Some(Activation::Silu)),
        Some("gelu_pytorch_tanh" | "gelu_new" | "gelu_fast") => Ok(Some(Activation::GeluTanh)),
        Some("gelu") => Ok(Some(Activation::Gelu)),
        Some(other) => Err(invalid(
            "hidden_act",
            &format!("{other:?} is not supported"),
        )),
    }
}

/// What the rope fields are read against.
struct Rope<'a> {
    fields: &'a Fields<'a>,
    arch: &'a Architecture,
    head_dim: usize,
    context_tokens: usize,
}

impl Rope<'_> {
    fn of_full_layers(&self) -> Result<RopeSpec> {
        let empty = Map::new();
        let parameters = match self.parameters("full_attention")? {
            Some(parameters) => parameters,
            None => match self.fields.0.get("rope_scaling") {
                None | Some(Value::Null) => &empty,
                Some(scaling) => object("rope_scaling", scaling)?,
            },
        };
        let theta = self.fields.number("rope_theta")?;
        self.spec(&Fields(parameters), theta.unwrap_or(self.arch.rope_theta))
    }

    /// Absent where sliding layers rotate as all others do.
    fn of_sliding_layers(&self) -> Result<Option<RopeSpec>> {
        let empty = Map::new();
        let Some(default_theta) = self.arch.local_rope_theta else {
            return Ok(None);
        };
        let nested = match self.fields.0.get("rope_parameters") {
            Some(Value::Object(parameters)) if parameters.contains_key("sliding_attention") => {
                self.parameters("sliding_attention")?
            }
            _ => None,
        };
        let theta = self.fields.number("rope_local_base_freq")?;
        let spec = self.spec(
            &Fields(nested.unwrap_or(&empty)),
            theta.unwrap_or(default_theta),
        )?;
        Ok(Some(spec))
    }

    /// transformers 5: `rope_parameters`, flat or one object a kind of layer.
    fn parameters(&self, kind: &str) -> Result<Option<&Map<String, Value>>> {
        let parameters = match self.fields.0.get("rope_parameters") {
            None | Some(Value::Null) => return Ok(None),
            Some(parameters) => object("rope_parameters", parameters)?,
        };
        match parameters.get(kind) {
            None => Ok(Some(parameters)),
            Some(nested) => Ok(Some(object("rope_parameters", nested)?)),
        }
    }

    /// A rope from its own fields, and a base for where they name none.
    fn spec(&self, rope: &Fields<'_>, theta: f64) -> Result<RopeSpec> {
        let partial = match rope.number("partial_rotary_factor")? {
            Some(partial) => partial,
            None => self.fields.number("partial_rotary_factor")?.unwrap_or(1.0),
        };
        if !(0.0..=1.0).contains(&partial) {
            return Err(invalid("partial_rotary_factor", &format!("is {partial}")));
        }
        Ok(RopeSpec {
            n_rot: (self.head_dim as f64 * partial) as usize,
            pairing: RopePairing::Halved,
            theta: rope.number("rope_theta")?.unwrap_or(theta),
            scaling: self.scaling(rope)?,
        })
    }

    fn scaling(&self, rope: &Fields<'_>) -> Result<RopeScaling> {
        let kind = match rope.text("rope_type")? {
            Some(kind) => kind,
            None => rope.text("type")?.unwrap_or("default"),
        };
        let context = self.context_tokens as f64;
        // Phi-3 keeps it at the top of the file; that one goes first.
        let original = match self.fields.number("original_max_position_embeddings")? {
            Some(tokens) => Some(tokens),
            None => rope.number("original_max_position_embeddings")?,
        };
        let original_tokens = original.unwrap_or(context);
        let factor = |field: &str| {
            let value = rope.number(field)?;
            value.ok_or_else(|| invalid(&format!("rope_scaling.{field}"), "is missing"))
        };
        Ok(match kind {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear {
                factor: factor("factor")?,
            },
            "dynamic" => RopeScaling::Dynamic {
                factor: factor("factor")?,
                original_tokens: context,
            },
            "llama3" => RopeScaling::Llama3 {
                factor: factor("factor")?,
                low_freq_factor: factor("low_freq_factor")?,
                high_freq_factor: factor("high_freq_factor")?,
                original_tokens,
            },
            // Early Phi-3 files call it "su" or "yarn".
            "longrope" | "su" | "yarn" if rope.0.contains_key("long_factor") => {
                let magnitude = match rope.number("attention_factor")? {
                    Some(magnitude) => magnitude,
                    None => {
                        let stretch = rope.number("factor")?;
                        let stretch = stretch.unwrap_or(context / original_tokens);
                        long_rope_magnitude(stretch, original_tokens)
                    }
                };
                RopeScaling::LongRope {
                    short: rope.numbers("short_factor")?,
                    long: rope.numbers("long_factor")?,
                    original_tokens,
                    magnitude,
                }
            }
            "yarn" => {
                let stretch = rope.number("factor")?.unwrap_or(context / original_tokens);
                let scales = (rope.number("mscale")?, rope.number("mscale_all_dim")?);
                let magnitude = match (rope.number("attention_factor")?, scales) {
                    (Some(magnitude), _) => magnitude,
                    (None, (Some(m), Some(all))) if m != 0.0 && all != 0.0 => {
                        yarn_magnitude(stretch, m) / yarn_magnitude(stretch, all)
                    }
                    (None, _) => yarn_magnitude(stretch, 1.0),
                };
                RopeScaling::Yarn {
                    factor: stretch,
                    original_tokens,
                    beta_fast: rope.number("beta_fast")?.unwrap_or(32.0),
                    beta_slow: rope.number("beta_slow")?.unwrap_or(1.0),
                    truncate: rope.flag("truncate")?.unwrap_or(true),
                    magnitude,
                }
            }
            other => {
                let detail = format!("{other:?} is not a scaling this crate knows");
                return Err(invalid("rope_scaling", &detail));
            }
        })
    }
}

/// A JSON object read field by field; `null` counts as absent.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn present(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn count(&self, name: &str) -> Result<Option<usize>> {
        self.present(name)
            .map(|value| {
                let count = value.as_u64().and_then(|n| usize::try_from(n).ok());
                count.ok_or_else(|| invalid(name, &format!("is {value}, not a whole number")))
            })
            .transpose()
    }

    /// `default` where the field is absent, nothing where it is `null`.
    fn count_or(&self, name: &str, default: Option<usize>) -> Result<Option<usize>> {
        match self.0.contains_key(name) {
            true => self.count(name),
            false => Ok(default),
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        self.present(name)
            .map(|value| {
                let number = value.as_f64().filter(|number| number.is_finite());
                number.ok_or_else(|| invalid(name, &format!("is {value}, not a number")))
            })
            .transpose()
    }

    /// `default` where the field is absent, nothing where it is `null`.
    fn number_or(&self, name: &str, default: Option<f32>) -> Result<Option<f32>> {
        match self.0.contains_key(name) {
            true => Ok(self.number(name)?.map(|number| number as f32)),
            false => Ok(default),
        }
    }

    fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let list = self.present(name).and_then(Value::as_array);
        let numbers = list.and_then(|list| list.iter().map(Value::as_f64).collect());
        numbers.ok_or_else(|| invalid(name, "is not a list of numbers"))
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.present(name)
            .map(|value| {
                let flag = value.as_bool();
                flag.ok_or_else(|| invalid(name, &format!("is {value}, not true or false")))
            })
            .transpose()
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>> {
        self.present(name)
            .map(|value| {
                let text = value.as_str();
                text.ok_or_else(|| invalid(name, &format!("is {value}, not a string")))
            })
            .transpose()
    }
}

fn object<'a>(name: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value
        .as_object()
        .ok_or_else(|| invalid(name, "is not an object"))
}

fn invalid(name: &str, detail: &str) -> Error {
    Error::new(Code::ConfigInvalid, name, detail)
}
