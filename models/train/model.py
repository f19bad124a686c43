"""The network: a plain Llama decoder (RMSNorm, RoPE, grouped-query attention, SwiGLU, tied embeddings).

ids [batch, length] -> logits [batch, length, vocabulary]

Written out here, in some hundred lines, because training a model this small is bound by the overhead around the
arithmetic; `export.py` writes the weights under the names that `transformers.LlamaForCausalLM` expects, and the
evaluation checks that both give the same logits.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    """The sizes of one Llama. Every row length is a multiple of 32, the block size of Q8_0."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_ffn: int
    vocab_size: int = 2048
    d_head: int = 32
    max_tokens: int = 2048
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def n_params(self) -> int:
        attention = self.d_model * self.d_head * (2 * self.n_heads + 2 * self.n_kv_heads)
        layer = attention + 3 * self.d_model * self.d_ffn + 2 * self.d_model
        return self.vocab_size * self.d_model + self.n_layers * layer + self.d_model


def rope_tables(shape: Shape, n_tokens: int, device=None) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin, each [n_tokens, d_head / 2] (RoFormer, arXiv 2104.09864)."""
    frequency = shape.rope_theta ** (-torch.arange(0, shape.d_head, 2, device=device).float() / shape.d_head)
    angle = torch.arange(n_tokens, device=device).float()[:, None] * frequency[None, :]
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates x [..., n_tokens, d_head], pairing element i with i + d_head / 2 as Hugging Face does."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Norm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Layer(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        d, q, kv = shape.d_model, shape.n_heads * shape.d_head, shape.n_kv_heads * shape.d_head
        self.input_layernorm = Norm(d, shape.norm_eps)
        self.q_proj = nn.Linear(d, q, bias=False)
        self.k_proj = nn.Linear(d, kv, bias=False)
        self.v_proj = nn.Linear(d, kv, bias=False)
        self.o_proj = nn.Linear(q, d, bias=False)
        self.post_attention_layernorm = Norm(d, shape.norm_eps)
        self.gate_proj = nn.Linear(d, shape.d_ffn, bias=False)
        self.up_proj = nn.Linear(d, shape.d_ffn, bias=False)
        self.down_proj = nn.Linear(shape.d_ffn, d, bias=False)

    def forward(self, x, cos, sin, mask=None, cache=None):
        """x [batch, n, d]; mask [batch, 1, n, keys] of booleans, or None for plain causal attention.

        `cache` is a dict that keeps k and v [batch, kv_heads, keys, d_head] between calls; it is used in sampling.
        """
        s = self.shape
        batch, n, _ = x.shape
        h = self.input_layernorm(x)
        q = self.q_proj(h).view(batch, n, s.n_heads, s.d_head).transpose(1, 2)
        k = self.k_proj(h).view(batch, n, s.n_kv_heads, s.d_head).transpose(1, 2)
        v = self.v_proj(h).view(batch, n, s.n_kv_heads, s.d_head).transpose(1, 2)
        # Under autocast the rotation is done in float32 and its result goes on in the type of v.
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        if cache is not None:
            if "k" in cache:
                k, v = torch.cat((cache["k"], k), dim=2), torch.cat((cache["v"], v), dim=2)
            cache["k"], cache["v"] = k, v
        group = s.n_heads // s.n_kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and n > 1)
        x = x + self.o_proj(h.transpose(1, 2).reshape(batch, n, -1))
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


class Llama(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.d_model)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.n_layers))
        self.norm = Norm(shape.d_model, shape.norm_eps)
        cos, sin = rope_tables(shape, shape.max_tokens)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.reset()

    def reset(self):
        """Normal(0, 0.02); what writes into the residual stream starts smaller, as in GPT-2, so that depth is harmless."""
        for name, p in self.named_parameters():
            if p.dim() == 2:
                into_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 / (2 * self.shape.n_layers) ** 0.5 if into_residual else 0.02)

    def hidden(self, ids, mask=None, positions=None, caches=None):
        """ids [batch, n] -> normed hidden state [batch, n, d]; `positions` [batch, n] where they are not 0..n."""
        if positions is None:
            start = caches[0]["k"].shape[2] if caches and "k" in caches[0] else 0
            cos, sin = self.cos[start : start + ids.shape[1]], self.sin[start : start + ids.shape[1]]
        else:
            cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        x = self.embed_tokens(ids)
        cos, sin = cos.to(x.dtype), sin.to(x.dtype)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, mask, caches[i] if caches else None)
        return self.norm(x)

    def head(self, hidden):
        return F.linear(hidden, self.embed_tokens.weight)

    def forward(self, ids, mask=None, positions=None, caches=None):
        return self.head(self.hidden(ids, mask, positions, caches))

    def n_params(self) -> int:
        return sum(p.numel() for p in self.parameters())
