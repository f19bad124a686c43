//! The shapes of published models, to measure without having them.
//!
//! A [`Shape`] becomes a checkpoint of random weights that loads like any other file
//! ([`crate::format::synthetic`]). Numbers are those of the models' own config.json.

use std::rc::Rc;

use super::arch::{self, Architecture};
use crate::error::{Code, Error, Result};
use crate::format::synthetic::SyntheticGguf;
use crate::format::{ByteSource, DType, Quantize, TensorInfo};

/// What decides how fast a model is, but for its element type.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub struct Shape {
    pub name: &'static str,
    pub architecture: &'static Architecture,
    pub n_layers: usize,
    pub n_embd: usize,
    pub n_ff: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub n_vocab: usize,
    pub context_tokens: usize,
    pub rope_theta: f32,
    /// The head is the embedding table.
    pub is_tied: bool,
    /// Queries, keys and values have biases.
    pub has_qkv_bias: bool,
}

const SMOLLM2_135M: Shape = Shape {
    name: "smollm2-135m",
    architecture: &arch::LLAMA,
    n_layers: 30,
    n_embd: 576,
    n_ff: 1536,
    n_heads: 9,
    n_kv_heads: 3,
    head_dim: 64,
    n_vocab: 49_152,
    context_tokens: 8192,
    rope_theta: 100_000.0,
    is_tied: true,
    has_qkv_bias: false,
};

const LLAMA_3_2_1B: Shape = Shape {
    name: "llama-3.2-1b",
    architecture: &arch::LLAMA,
    n_layers: 16,
    n_embd: 2048,
    n_ff: 8192,
    n_heads: 32,
    n_kv_heads: 8,
    head_dim: 64,
    n_vocab: 128_256,
    context_tokens: 131_072,
    rope_theta: 500_000.0,
    is_tied: true,
    has_qkv_bias: false,
};

const QWEN2_5_0_5B: Shape = Shape {
    name: "qwen2.5-0.5b",
    architecture: &arch::QWEN2,
    n_layers: 24,
    n_embd: 896,
    n_ff: 4864,
    n_heads: 14,
    n_kv_heads: 2,
    head_dim: 64,
    n_vocab: 151_936,
    context_tokens: 32_768,
    rope_theta: 1_000_000.0,
    is_tied: true,
    has_qkv_bias: true,
};

/// Every shape there is, smallest first.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "8m",
        n_layers: 12,
        n_embd: 256,
        n_ff: 512,
        n_heads: 4,
        n_kv_heads: 2,
        n_vocab: 2048,
        context_tokens: 2048,
        rope_theta: 10_000.0,
        ..SMOLLM2_135M
    },
    SMOLLM2_135M,
    Shape {
        name: "smollm2-360m",
        n_layers: 32,
        n_embd: 960,
        n_ff: 2560,
        n_heads: 15,
        n_kv_heads: 5,
        ..SMOLLM2_135M
    },
    QWEN2_5_0_5B,
    LLAMA_3_2_1B,
    Shape {
        name: "smollm2-1.7b",
        n_layers: 24,
        n_embd: 2048,
        n_ff: 8192,
        n_heads: 32,
        n_kv_heads: 32,
        rope_theta: 130_000.0,
        ..SMOLLM2_135M
    },
    Shape {
        name: "llama-3.2-3b",
        n_layers: 28,
        n_embd: 3072,
        n_heads: 24,
        head_dim: 128,
        ..LLAMA_3_2_1B
    },
    Shape {
        name: "qwen2.5-7b",
        n_layers: 28,
        n_embd: 3584,
        n_ff: 18_944,
        n_heads: 28,
        n_kv_heads: 4,
        head_dim: 128,
        n_vocab: 152_064,
        is_tied: false,
        ..QWEN2_5_0_5B
    },
    Shape {
        name: "llama-3.1-8b",
        n_layers: 32,
        n_embd: 4096,
        n_ff: 14_336,
        head_dim: 128,
        is_tied: false,
        ..LLAMA_3_2_1B
    },
];

impl Shape {
    /// The shape of this name.
    ///
    /// # Errors
    /// `request_invalid`, listing those there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        SHAPES
            .iter()
            .find(|shape| shape.name == name)
            .ok_or_else(|| {
                let known: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
                let detail = format!("{name} is not one of {}", known.join(", "));
                Error::new(Code::RequestInvalid, "shape", detail)
            })
    }

    /// A GGUF file of this shape: random weights of type `quant`, by the rule of
    /// quantising at load ([`Quantize::dtype_for`]) or, for `f32`, `f16` and `bf16`,
    /// throughout; norms are ones. It holds a byte-level vocabulary of the right size,
    /// whose entries beyond the 256 bytes are never used.
    ///
    /// # Errors
    /// `request_invalid` for another `quant`.
    pub fn gguf(&self, quant: &str) -> Result<Rc<dyn ByteSource>> {
        let dtype = DType::from_name(quant);
        let quantize = match dtype {
            DType::F32 | DType::F16 | DType::BF16 => None,
            _ => Some(Quantize::from_name(quant)?),
        };
        let dtype_of = |name: &str, shape: [usize; 2]| match quantize {
            None => dtype,
            Some(quantize) => {
                let info = TensorInfo {
                    name: name.into(),
                    dtype: DType::F32,
                    shape: shape.to_vec(),
                    source: 0,
                    range: 0..0,
                };
                quantize.dtype_for(&info).unwrap_or(DType::F16)
            }
        };
        let matrix = |gguf: SyntheticGguf, name: String, n_out: usize, n_in: usize| {
            let dtype = dtype_of(&name, [n_out, n_in]);
            gguf.random(name, dtype, [n_out, n_in])
        };
        let (n_q, n_kv) = (
            self.n_heads * self.head_dim,
            self.n_kv_heads * self.head_dim,
        );
        let mut gguf = matrix(
            self.metadata(),
            "token_embd.weight".into(),
            self.n_vocab,
            self.n_embd,
        );
        for layer in 0..self.n_layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            gguf = gguf.ones(name("attn_norm.weight"), self.n_embd);
            for (part, n_out) in [("attn_q", n_q), ("attn_k", n_kv), ("attn_v", n_kv)] {
                gguf = matrix(gguf, name(&format!("{part}.weight")), n_out, self.n_embd);
                if self.has_qkv_bias {
                    gguf = gguf.random(name(&format!("{part}.bias")), DType::F32, [n_out]);
                }
            }
            gguf = matrix(gguf, name("attn_output.weight"), self.n_embd, n_q);
            gguf = gguf.ones(name("ffn_norm.weight"), self.n_embd);
            for part in ["ffn_gate.weight", "ffn_up.weight"] {
                gguf = matrix(gguf, name(part), self.n_ff, self.n_embd);
            }
            gguf = matrix(gguf, name("ffn_down.weight"), self.n_embd, self.n_ff);
        }
        gguf = gguf.ones("output_norm.weight", self.n_embd);
        if !self.is_tied {
            gguf = matrix(gguf, "output.weight".into(), self.n_vocab, self.n_embd);
        }
        gguf.finish(format!("{} {quant}", self.name))
    }

    fn metadata(&self) -> SyntheticGguf {
        let architecture = self.architecture.name;
        let key = |name: &str| format!("{architecture}.{name}");
        let numbers = [
            ("context_length", self.context_tokens),
            ("embedding_length", self.n_embd),
            ("block_count", self.n_layers),
            ("feed_forward_length", self.n_ff),
            ("attention.head_count", self.n_heads),
            ("attention.head_count_kv", self.n_kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("rope.dimension_count", self.head_dim),
            ("vocab_size", self.n_vocab),
        ];
        let gguf = SyntheticGguf::default()
            .text("general.architecture", architecture)
            .text("general.name", self.name);
        let gguf = numbers
            .iter()
            .fold(gguf, |gguf, (name, n)| gguf.number(&key(name), *n as u32));
        let (tokens, types) = vocabulary(self.n_vocab);
        let end = self.n_vocab as u32 - 1;
        gguf.float(&key("attention.layer_norm_rms_epsilon"), 1e-5)
            .float(&key("rope.freq_base"), self.rope_theta)
            .text("tokenizer.ggml.model", "gpt2")
            .text("tokenizer.ggml.pre", "default")
            .texts("tokenizer.ggml.tokens", &tokens)
            .numbers("tokenizer.ggml.token_type", &types)
            .texts("tokenizer.ggml.merges", &["t h".into()])
            .number("tokenizer.ggml.eos_token_id", end)
    }
}

/// The 256 bytes as GPT-2 spells them, one merge, fillers, and an end token; with
/// llama.cpp's token types (1 normal, 3 control).
fn vocabulary(n_vocab: usize) -> (Vec<String>, Vec<i32>) {
    let is_printed = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut unprinted = 0;
    let mut tokens: Vec<String> = (0..256)
        .map(|byte| {
            // Bytes without a glyph of their own are moved past 255, in order.
            let point = if is_printed(byte) {
                byte
            } else {
                unprinted += 1;
                255 + unprinted
            };
            char::from_u32(point).map(String::from).unwrap_or_default()
        })
        .collect();
    tokens.push("th".into());
    while tokens.len() + 1 < n_vocab {
        tokens.push(format!("[unused {}]", tokens.len()));
    }
    tokens.push("<|end|>".into());
    let mut types = vec![1; tokens.len()];
    if let Some(last) = types.last_mut() {
        *last = 3;
    }
    (tokens, types)
}

#[cfg(test)]
mod tests {
    use super::super::Model;
    use super::*;
    use crate::format::Checkpoint;

    #[test]
    fn every_shape_is_a_model_of_its_size() {
        // Millions of parameters, from the models' cards.
        let sizes = [
            7.609, 134.5, 361.8, 494.0, 1235.8, 1711.4, 3212.7, 7615.6, 8030.3,
        ];
        for (shape, size) in SHAPES.iter().zip(sizes) {
            let file = shape.gguf("q4_0").unwrap();
            let checkpoint = pollster::block_on(Checkpoint::open_gguf(vec![file])).unwrap();
            let model = pollster::block_on(Model::open(&checkpoint)).unwrap();
            let found = model.n_parameters() as f64 / 1e6;
            assert!((found / size - 1.0).abs() < 1e-3, "{}: {found}", shape.name);
        }
    }

    #[test]
    fn what_there_is_none_of_is_named() {
        let error = Shape::named("gpt-9").unwrap_err();
        assert_eq!(error.code(), Code::RequestInvalid);
        assert!(error.detail().contains("llama-3.1-8b"));
        assert_eq!(
            SHAPES[0].gguf("q9").err().map(|e| e.code()),
            Some(Code::RequestInvalid)
        );
    }
}
