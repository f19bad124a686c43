//! A forward pass as data: a list of fused ops over named buffers.
//!
//! A plan does not compute. It says, once per model, what one pass over `R` rows
//! does: which weights (by name, as the checkpoint has them), which activation
//! buffers (`f32`, `[R, width]`), and in what order. Token ids, positions and cache
//! lengths are not in it: ops read them from the pass's state, so nothing in a plan
//! changes from token to token.
//!
//! Each op has one name everywhere: the variant here, the WGSL file, the CPU
//! function, the kernel test.

/// An activation buffer of the plan, by index into [`Plan::buffers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferId(pub usize);

/// A weight of the plan, by index into [`Plan::weights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightId(pub usize);

/// An activation buffer: `f32`, `[rows, width]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferSpec {
    /// What it holds, for people.
    pub name: &'static str,
    /// Elements a row.
    pub width: usize,
}

/// What to do to a weight's values as they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// Nothing.
    None,
    /// Add one to every element: Gemma's norms in Hugging Face files (GGUF files have it baked in).
    AddOne,
}

/// A weight of the plan and where it is in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// The canonical (GGUF) name, for people and errors.
    pub name: String,
    /// The name in the file.
    pub source: String,
    /// `[n_out, n_in]` for matrices, `[n]` for vectors.
    pub shape: Vec<usize>,
    /// Applied once, at load.
    pub transform: Transform,
}

/// Some output rows of a weight matrix, with an optional bias: `y = W[rows] x + b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// The matrix, `[n_out, n_in]`.
    pub weight: WeightId,
    /// Which output rows of it (fused checkpoints keep several projections in one matrix).
    pub rows: std::ops::Range<usize>,
    /// `[rows.len()]`, taken from `bias_offset` of this vector.
    pub bias: Option<WeightId>,
    /// Where this projection's part of the bias vector begins.
    pub bias_offset: usize,
}

impl Linear {
    /// How many outputs it has.
    pub fn n_out(&self) -> usize {
        self.rows.len()
    }
}

/// RMS normalisation: `x / sqrt(mean(x^2) + eps) * weight`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// `[width]`.
    pub weight: WeightId,
    /// Added to the mean square.
    pub eps: f32,
}

/// The non-linearity of a gated feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU, tanh approximation.
    GeluTanh,
    /// GELU, exact (erf).
    Gelu,
}

/// Which pairs of a head's dimensions rotate together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairing {
    /// `(i, i + n_rot/2)`: Hugging Face layout, GGUF's "neox".
    Halved,
    /// `(2i, 2i + 1)`: GGUF's layout for the llama family.
    Interleaved,
}

/// Rotary position embedding of one layer, resolved to numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// How many leading dimensions of a head rotate.
    pub n_rot: usize,
    /// Which dimensions pair up.
    pub pairing: RopePairing,
    /// Angle per position of each pair, `[n_rot / 2]`, every scaling applied. Scalings
    /// that depend on the context's length (longrope, dynamic NTK) are resolved for
    /// the length the plan is written for: cached keys are already rotated, so
    /// frequencies that change as a sequence grows would make a row depend on how the
    /// rows before it were batched.
    pub inv_freq: Vec<f32>,
    /// Multiplies cosine and sine (yarn, longrope).
    pub magnitude: f32,
}

/// How the heads of one layer are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Elements a head.
    pub head_dim: usize,
}

/// Over what a query or key norm runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNormSpan {
    /// Each head by itself, weight `[head_dim]` (Qwen3, Gemma 3).
    Head,
    /// All heads at once, weight `[n_heads * head_dim]` (OLMo-2).
    Projection,
}

/// Norms of queries and keys before rotation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QkNorm {
    /// For queries.
    pub q: Norm,
    /// For keys.
    pub k: Norm,
    /// Over what they run.
    pub span: QkNormSpan,
}

/// One fused step. Shapes: `R` rows; widths are the buffers'.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `out[r] = table[token[r]] * scale`.
    Embed {
        /// `[vocab, width]`.
        table: WeightId,
        /// Gemma multiplies by `sqrt(width)`, Granite by a constant.
        scale: f32,
        /// `[R, width]`.
        out: BufferId,
    },
    /// `out = concat(parts . norm(x))`: a norm (where present) and one or more
    /// projections of it, side by side.
    NormLinear {
        /// `[R, n_in]`.
        x: BufferId,
        /// Absent where the block norms its output instead (OLMo-2).
        norm: Option<Norm>,
        /// Query, key, value; or one fused matrix.
        parts: Vec<Linear>,
        /// `[R, sum of n_out]`.
        out: BufferId,
    },
    /// Norms and rotates queries (in place) and keys of `qkv`, and appends keys and
    /// values to the layer's cache at the rows' slots.
    RopeAppend {
        /// `[R, (n_heads + 2 n_kv_heads) * head_dim]`: queries, keys, values.
        qkv: BufferId,
        /// Which layer's cache.
        layer: usize,
        /// Head layout.
        heads: Heads,
        /// Absent where the checkpoint has no such tensors.
        qk_norm: Option<QkNorm>,
        /// Absent in layers without positions (SmolLM3).
        rope: Option<Rope>,
    },
    /// `out = softmax(mask(cap(q k^T * scale))) v` over the layer's cache.
    Attention {
        /// As [`Op::RopeAppend`] left it; only the queries are read.
        qkv: BufferId,
        /// Which layer's cache.
        layer: usize,
        /// Head layout.
        heads: Heads,
        /// Usually `1 / sqrt(head_dim)`.
        scale: f32,
        /// `cap * tanh(s / cap)` on the scores (Gemma 2).
        softcap: Option<f32>,
        /// A row sees only the last `window` positions, itself included.
        window: Option<usize>,
        /// `[R, n_heads * head_dim]`.
        out: BufferId,
    },
    /// `y = scale * (w x + b)`, added to `residual` in place.
    LinearAdd {
        /// `[R, n_in]`.
        x: BufferId,
        /// The projection.
        linear: Linear,
        /// Granite's residual multiplier; 1 elsewhere.
        scale: f32,
        /// `[R, n_out]`, updated.
        residual: BufferId,
    },
    /// `residual += scale * norm(x)`: for blocks that norm their output (Gemma, OLMo-2).
    NormAdd {
        /// `[R, width]`.
        x: BufferId,
        /// The norm.
        norm: Norm,
        /// 1 in every known model.
        scale: f32,
        /// `[R, width]`, updated.
        residual: BufferId,
    },
    /// `out = act(gate . norm(x)) * (up . norm(x))`.
    NormGateUp {
        /// `[R, n_in]`.
        x: BufferId,
        /// Absent where the block norms its output instead.
        norm: Option<Norm>,
        /// `[n_ff, n_in]`.
        gate: Linear,
        /// `[n_ff, n_in]`.
        up: Linear,
        /// On the gate.
        activation: Activation,
        /// `[R, n_ff]`.
        out: BufferId,
    },
    /// `logits = cap(scale * (w . norm(x)))` for the rows whose logits are wanted.
    Head {
        /// `[R, width]`.
        x: BufferId,
        /// The final norm.
        norm: Norm,
        /// `[vocab, width]`; the embedding table where they are tied.
        weight: Linear,
        /// Granite divides by `logits_scaling`; 1 elsewhere.
        scale: f32,
        /// Gemma 2's final soft-cap.
        softcap: Option<f32>,
        /// `[R, vocab]`.
        out: BufferId,
    },
}

impl Op {
    /// The op's one name: variant, WGSL file, CPU function, kernel test.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Embed { .. } => "embed",
            Op::NormLinear { .. } => "norm_linear",
            Op::RopeAppend { .. } => "rope_append",
            Op::Attention { .. } => "attention",
            Op::LinearAdd { .. } => "linear_add",
            Op::NormAdd { .. } => "norm_add",
            Op::NormGateUp { .. } => "norm_gate_up",
            Op::Head { .. } => "head",
        }
    }
}

/// What a layer keeps of every token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLayer {
    /// Elements of keys, and again of values, a token: `n_kv_heads * head_dim`.
    pub width: usize,
}

/// A forward pass over `R` rows, for any `R`.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Activation buffers.
    pub buffers: Vec<BufferSpec>,
    /// Weights.
    pub weights: Vec<WeightSpec>,
    /// The layers' caches.
    pub cache: Vec<CacheLayer>,
    /// What to do, in order.
    pub ops: Vec<Op>,
    /// Length of a row of logits.
    pub n_vocab: usize,
}
