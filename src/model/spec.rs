//! A checkpoint's configuration -> every number a forward pass needs.
//!
//! In two steps: [`super::hugging_face`] and [`super::gguf`] read what the file says
//! into a [`Stated`], and nothing else; [`ModelSpec::resolve`] fills in what it
//! leaves out and checks that the whole makes sense. After that nobody asks which
//! architecture it is.

use super::arch::{Architecture, WindowPattern};
use super::rope::RopeSpec;
use crate::backend::plan::{Activation, Heads, Transform};
use crate::error::{Code, Error, Result};

/// Every number a forward pass needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// What to call it in reports.
    pub architecture: &'static str,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Rows of the embedding table, where the file says so.
    pub n_vocab: Option<usize>,
    /// How many tokens it was made for.
    pub context_tokens: usize,
    /// Added to the mean square in norms.
    pub norm_eps: f32,
    /// What to do to norm weights as they are read.
    pub norm_transform: Transform,
    /// On the gate of the feed-forward blocks.
    pub activation: Activation,
    /// Multiplies embeddings.
    pub embedding_scale: f32,
    /// Multiplies what each block adds to the residual stream.
    pub residual_scale: f32,
    /// Multiplies logits.
    pub logit_scale: f32,
    /// `cap * tanh(logit / cap)`.
    pub logit_softcap: Option<f32>,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
}

/// Every number of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// Head layout.
    pub heads: Heads,
    /// Width of the feed-forward block.
    pub n_ff: usize,
    /// Multiplies `q . k`.
    pub attention_scale: f32,
    /// `cap * tanh(score / cap)`.
    pub attention_softcap: Option<f32>,
    /// A token sees only the last `window` positions, itself included.
    pub window: Option<usize>,
    /// Absent in layers without positions.
    pub rope: Option<RopeSpec>,
}

/// What the file says, field by field, before defaults; `None` where it is silent.
#[derive(Debug, Clone)]
pub(super) struct Stated {
    pub arch: &'static Architecture,
    pub n_embd: usize,
    pub n_layers: usize,
    pub n_vocab: Option<usize>,
    pub context_tokens: usize,
    /// Query heads of each layer.
    pub n_heads: Vec<usize>,
    /// Key/value heads of each layer.
    pub n_kv_heads: Vec<usize>,
    pub head_dim: usize,
    /// Feed-forward width of each layer.
    pub n_ff: Vec<usize>,
    pub norm_eps: Option<f32>,
    pub norms_less_one: bool,
    pub activation: Option<Activation>,
    pub embedding_scale: Option<f32>,
    pub residual_scale: Option<f32>,
    /// Multiplies.
    pub logit_scale: Option<f32>,
    pub attention_scale: Option<f32>,
    pub attention_softcap: Option<f32>,
    pub logit_softcap: Option<f32>,
    pub window: Option<usize>,
    /// Which layers slide; empty where the file does not list them.
    pub slides: Vec<bool>,
    /// Layers from here on slide ([`WindowPattern::FromLayerIfEnabled`]).
    pub slides_from: Option<usize>,
    /// Which layers rotate; empty where the file does not list them.
    pub rotates: Vec<bool>,
    /// Rope of layers that see everything.
    pub rope: RopeSpec,
    /// Rope of sliding layers, where it is another.
    pub local_rope: Option<RopeSpec>,
}

/// Numbers past these are not a model's but a broken file's; they bound what is
/// allocated before any tensor has been seen.
pub(super) const MAX_LAYERS: usize = 4096;
const MAX_WIDTH: usize = 1 << 24;
const MAX_HEADS: usize = 1 << 16;

impl ModelSpec {
    /// Fills in what the file leaves out and checks the whole.
    ///
    /// # Errors
    /// `config_invalid`, naming the field.
    pub(super) fn resolve(stated: Stated) -> Result<Self> {
        let arch = stated.arch;
        let n_layers = stated.n_layers;
        within("number of layers", n_layers, 1..=MAX_LAYERS)?;
        within("width", stated.n_embd, 1..=MAX_WIDTH)?;
        within("head size", stated.head_dim, 1..=MAX_WIDTH)?;
        within(
            "context length",
            stated.context_tokens,
            1..=u32::MAX as usize,
        )?;
        for (field, list) in [
            ("query heads", &stated.n_heads),
            ("key and value heads", &stated.n_kv_heads),
            ("feed-forward width", &stated.n_ff),
        ] {
            if list.len() != n_layers {
                let detail = format!("{} entries for {n_layers} layers", list.len());
                return Err(invalid(field, detail));
            }
        }
        let differs = |list: &[usize]| list.iter().any(|n| Some(n) != list.first());
        if differs(&stated.n_heads) || differs(&stated.n_kv_heads) || differs(&stated.n_ff) {
            let detail = "layers of different widths are not supported";
            return Err(invalid("layers", detail.into()));
        }
        let norm_eps = stated.norm_eps.unwrap_or(arch.norm_eps);
        if !(norm_eps.is_finite() && norm_eps >= 0.0) {
            return Err(invalid("norm epsilon", format!("is {norm_eps}")));
        }
        let embedding_scale = if arch.scale_embedding_by_width {
            (stated.n_embd as f32).sqrt()
        } else {
            stated.embedding_scale.unwrap_or(1.0)
        };
        let layers = (0..n_layers)
            .map(|index| layer(&stated, index))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            architecture: arch.name,
            n_embd: stated.n_embd,
            n_vocab: stated.n_vocab,
            context_tokens: stated.context_tokens,
            norm_eps,
            norm_transform: if stated.norms_less_one {
                Transform::AddOne
            } else {
                Transform::None
            },
            activation: stated.activation.unwrap_or(arch.activation),
            embedding_scale: finite("embedding scale", embedding_scale)?,
            residual_scale: finite("residual scale", stated.residual_scale.unwrap_or(1.0))?,
            logit_scale: finite("logit scale", stated.logit_scale.unwrap_or(1.0))?,
            logit_softcap: cap("logit soft-cap", stated.logit_softcap)?,
            layers,
        })
    }
}

/// One layer's numbers.
fn layer(stated: &Stated, index: usize) -> Result<LayerSpec> {
    let arch = stated.arch;
    let heads = Heads {
        n_heads: stated.n_heads[index],
        n_kv_heads: stated.n_kv_heads[index],
        head_dim: stated.head_dim,
    };
    within("query heads", heads.n_heads, 1..=MAX_HEADS)?;
    within("key and value heads", heads.n_kv_heads, 1..=heads.n_heads)?;
    if !heads.n_heads.is_multiple_of(heads.n_kv_heads) {
        let detail = format!(
            "{} query heads do not share {} key and value heads evenly",
            heads.n_heads, heads.n_kv_heads
        );
        return Err(invalid("key and value heads", detail));
    }
    within(
        "query width",
        heads.n_heads.saturating_mul(heads.head_dim),
        1..=MAX_WIDTH,
    )?;
    within("feed-forward width", stated.n_ff[index], 1..=MAX_WIDTH)?;
    let slides = stated.window.is_some()
        && match stated.slides.get(index) {
            Some(&slides) => slides,
            None => match arch.window_pattern {
                WindowPattern::All => true,
                WindowPattern::AllButEvery(n) => !(index + 1).is_multiple_of(n),
                WindowPattern::FromLayerIfEnabled => {
                    stated.slides_from.is_some_and(|from| index >= from)
                }
            },
        };
    let window = stated.window.filter(|_| slides);
    if window == Some(0) {
        return Err(invalid("sliding window", "is 0".into()));
    }
    let rotates = match stated.rotates.get(index) {
        Some(&rotates) => rotates,
        None => arch
            .no_rope_every
            .is_none_or(|n| !(index + 1).is_multiple_of(n)),
    };
    let rope = match &stated.local_rope {
        Some(local) if slides => local,
        _ => &stated.rope,
    };
    if rotates && (rope.n_rot < 2 || !rope.n_rot.is_multiple_of(2) || rope.n_rot > heads.head_dim) {
        let detail = format!(
            "{} dimensions of a head of {} cannot rotate in pairs",
            rope.n_rot, heads.head_dim
        );
        return Err(invalid("rotating dimensions", detail));
    }
    if rotates && !(rope.theta.is_finite() && rope.theta > 0.0) {
        return Err(invalid("rope_theta", format!("is {}", rope.theta)));
    }
    let attention_scale = stated
        .attention_scale
        .unwrap_or_else(|| (heads.head_dim as f64).powf(-0.5) as f32);
    Ok(LayerSpec {
        heads,
        n_ff: stated.n_ff[index],
        attention_scale: finite("attention scale", attention_scale)?,
        attention_softcap: cap("attention soft-cap", stated.attention_softcap)?,
        window,
        rope: rotates.then(|| rope.clone()),
    })
}

fn invalid(field: &str, detail: String) -> Error {
    Error::new(Code::ConfigInvalid, field, detail)
}

fn within(field: &str, value: usize, range: std::ops::RangeInclusive<usize>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let detail = format!("is {value}, not in {}..={}", range.start(), range.end());
    Err(invalid(field, detail))
}

fn finite(field: &str, value: f32) -> Result<f32> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(invalid(field, format!("is {value}")))
    }
}

fn cap(field: &str, value: Option<f32>) -> Result<Option<f32>> {
    match value {
        Some(cap) if !(cap.is_finite() && cap > 0.0) => Err(invalid(field, format!("is {cap}"))),
        other => Ok(other),
    }
}
