"""Tiny random checkpoints of every architecture, with logits from transformers.

For each case below: `architectures/<case>/config.json` as published files have it,
`config-v5.json` as transformers 5 saves it, `model.safetensors` (BF16),
`model.gguf` (F16, norms F32; see `to_gguf`), `runs.json` (token ids of each run) and
`logits.f32` (little-endian, the runs one after another, `[tokens, vocabulary]`).

Weights are multiples of 1/256 of at most eight bits, so BF16, F16 and F32 hold the
same numbers and the expected logits are those of `float32` throughout.

    pip install -r tests/goldens/requirements.txt
    python tests/goldens/architectures.py [CASE]...
"""

import json
import math
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

OUT = Path(__file__).parent / "architectures"
VOCAB = 96
IDS = [1, 17, 63, 5, 40, 88, 2, 31, 77, 9, 54, 23, 95, 12, 68, 36, 3, 81, 49, 20, 92, 7, 60, 28]

SMALL = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
    hidden_act="silu",
    tie_word_embeddings=False,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
LLAMA = dict(SMALL, model_type="llama", architectures=["LlamaForCausalLM"], rope_theta=10000.0)
FACTORS = dict(
    short_factor=[1.0, 1.05, 1.3],
    long_factor=[1.1, 1.7, 3.5],
)

# case -> config.json; `_runs` lists prompt lengths, `_gguf` False keeps it to
# safetensors (what the GGUF files of the architecture cannot express).
CASES = {
    "llama": dict(LLAMA),
    "llama-tied": dict(LLAMA, tie_word_embeddings=True, head_dim=16, num_key_value_heads=1),
    "llama-linear": dict(
        LLAMA,
        attention_bias=True,
        mlp_bias=True,
        rope_scaling={"type": "linear", "factor": 4.0},
    ),
    "llama-dynamic": dict(
        LLAMA,
        max_position_embeddings=16,
        rope_scaling={"rope_type": "dynamic", "factor": 2.0},
        _runs=[12, 24],
        _gguf=False,
    ),
    "llama-llama3": dict(
        LLAMA,
        head_dim=16,
        rope_theta=500000.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "llama-yarn": dict(
        LLAMA,
        head_dim=16,
        rope_scaling={
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "mistral": dict(
        LLAMA, model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=6
    ),
    "qwen2": dict(
        LLAMA,
        model_type="qwen2",
        architectures=["Qwen2ForCausalLM"],
        rope_theta=1000000.0,
        tie_word_embeddings=True,
        use_sliding_window=False,
        sliding_window=8,
        max_window_layers=1,
    ),
    "qwen2-sliding": dict(
        LLAMA,
        model_type="qwen2",
        architectures=["Qwen2ForCausalLM"],
        use_sliding_window=True,
        sliding_window=5,
        max_window_layers=1,
        _gguf=False,
    ),
    "qwen3": dict(
        LLAMA,
        model_type="qwen3",
        architectures=["Qwen3ForCausalLM"],
        head_dim=16,
        rope_theta=1000000.0,
        attention_bias=False,
    ),
    "gemma2": dict(
        SMALL,
        model_type="gemma2",
        architectures=["Gemma2ForCausalLM"],
        hidden_act="gelu_pytorch_tanh",
        hidden_activation="gelu_pytorch_tanh",
        tie_word_embeddings=True,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=6,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=6.0,
        rope_theta=10000.0,
    ),
    "gemma2-scalar": dict(
        SMALL,
        model_type="gemma2",
        architectures=["Gemma2ForCausalLM"],
        hidden_activation="gelu_pytorch_tanh",
        tie_word_embeddings=True,
        head_dim=16,
        query_pre_attn_scalar=8,
        sliding_window=4,
        attn_logit_softcapping=None,
        final_logit_softcapping=30.0,
        _gguf=False,
    ),
    "gemma3": dict(
        SMALL,
        model_type="gemma3_text",
        architectures=["Gemma3ForCausalLM"],
        num_hidden_layers=7,
        hidden_activation="gelu_pytorch_tanh",
        tie_word_embeddings=True,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=6,
        sliding_window_pattern=6,
        rope_theta=1000000.0,
        rope_local_base_freq=10000.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
    ),
    "phi3": dict(
        SMALL,
        model_type="phi3",
        architectures=["Phi3ForCausalLM"],
        num_key_value_heads=4,
        original_max_position_embeddings=64,
        rope_theta=10000.0,
        rope_scaling=None,
        sliding_window=7,
    ),
    "phi3-longrope": dict(
        SMALL,
        model_type="phi3",
        architectures=["Phi3ForCausalLM"],
        original_max_position_embeddings=16,
        partial_rotary_factor=0.75,
        rope_theta=10000.0,
        rope_scaling=dict(type="longrope", **FACTORS),
        sliding_window=None,
        tie_word_embeddings=True,
        _runs=[12, 24],
    ),
    "smollm3": dict(
        SMALL,
        model_type="smollm3",
        architectures=["SmolLM3ForCausalLM"],
        num_hidden_layers=4,
        rope_theta=5000000.0,
        tie_word_embeddings=True,
        no_rope_layer_interval=4,
        no_rope_layers=[1, 1, 1, 0],
        use_sliding_window=False,
        sliding_window=None,
        layer_types=["full_attention"] * 4,
    ),
    "olmo2": dict(
        SMALL, model_type="olmo2", architectures=["Olmo2ForCausalLM"], rope_theta=500000.0
    ),
    "granite": dict(
        SMALL,
        model_type="granite",
        architectures=["GraniteForCausalLM"],
        rope_theta=10000.0,
        embedding_multiplier=3.0,
        residual_multiplier=0.22,
        attention_multiplier=0.2,
        logits_scaling=4.0,
        tie_word_embeddings=True,
    ),
}


def draw(name, shape, generator):
    """Multiples of 1/256 that fit eight bits."""
    x = torch.randn(shape, generator=generator)
    if len(shape) == 2:
        n_in = shape[1]
        x = x * (0.5 if "embed" in name else 1.3 / math.sqrt(n_in))
    else:
        x = x * 0.2
        if name.endswith("norm.weight") and not draw.less_one:
            x = x + 0.6
    return (x * 256).round().clamp(-255, 255) / 256


def build(case, config):
    folder = OUT / case
    folder.mkdir(parents=True)
    runs = config.pop("_runs", [len(IDS)])
    with_gguf = config.pop("_gguf", True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    resolved = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(
        resolved, attn_implementation="eager", dtype=torch.float32
    ).eval()
    draw.less_one = config["model_type"].startswith("gemma")
    generator = torch.Generator().manual_seed(1000 + sorted(CASES).index(case))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(draw(name, parameter.shape, generator))
    resolved.to_json_file(folder / "config-v5.json")

    tensors = dict(model.named_parameters())
    stored = {name: t.detach().to(torch.bfloat16).contiguous() for name, t in tensors.items()}
    for name, tensor in stored.items():
        assert torch.equal(tensor.float(), tensors[name]), name
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    if with_gguf:
        to_gguf(folder / "model.gguf", config, {n: t.detach().numpy() for n, t in tensors.items()})

    logits = b""
    for n in runs:
        with torch.no_grad():
            row = model(torch.tensor([IDS[:n]])).logits[0].float().numpy()
        assert row.shape == (n, VOCAB) and np.isfinite(row).all()
        logits += row.astype("<f4").tobytes()
    (folder / "logits.f32").write_bytes(logits)
    (folder / "runs.json").write_text(json.dumps([IDS[:n] for n in runs]) + "\n")
    print(case, sum(f.stat().st_size for f in folder.iterdir()), "bytes")


# Names as gguf-py's tensor_mapping.py has them.
GLOBAL = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
}
# Those whose GGUF files pair neighbouring dimensions.
INTERLEAVED = {"llama", "mistral", "smollm3", "granite"}
POST_NORMS = {"gemma2", "gemma3_text", "olmo2"}


def permute(x, n_heads):
    """Rows of each head from (half, pair) order to (pair, half)."""
    return x.reshape(n_heads, 2, x.shape[0] // n_heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def to_gguf(path, config, tensors):
    """A GGUF file as llama.cpp's converter would write it: what it changes of the
    weights, and the keys it sets."""
    kind = config["model_type"]
    arch = {"mistral": "llama", "gemma3_text": "gemma3"}.get(kind, kind)
    n_heads, n_kv = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // n_heads
    w = gguf.GGUFWriter(path, arch)
    u32 = lambda key, value: w.add_uint32(f"{arch}.{key}", value)
    f32 = lambda key, value: w.add_float32(f"{arch}.{key}", value)
    u32("context_length", config["max_position_embeddings"])
    u32("embedding_length", config["hidden_size"])
    u32("block_count", config["num_hidden_layers"])
    u32("feed_forward_length", config["intermediate_size"])
    u32("attention.head_count", n_heads)
    u32("attention.head_count_kv", n_kv)
    f32("attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
    if "head_dim" in config:
        u32("attention.key_length", head_dim)
        u32("attention.value_length", head_dim)
    u32("rope.dimension_count", int(head_dim * config.get("partial_rotary_factor", 1.0)))
    if "rope_theta" in config:
        f32("rope.freq_base", config["rope_theta"])
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        u32("attention.sliding_window", config["sliding_window"])
    for ours, theirs in [
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
        ("embedding_scale", "embedding_multiplier"),
        ("residual_scale", "residual_multiplier"),
        ("attention.scale", "attention_multiplier"),
        ("logit_scale", "logits_scaling"),
    ]:
        if config.get(theirs) is not None:
            f32(ours, config[theirs])

    scaling = config.get("rope_scaling") or {}
    rope_type = scaling.get("rope_type", scaling.get("type"))
    if rope_type in ("linear", "yarn"):
        w.add_string(f"{arch}.rope.scaling.type", rope_type)
        f32("rope.scaling.factor", scaling["factor"])
    if rope_type == "yarn":
        u32("rope.scaling.original_context_length", scaling["original_max_position_embeddings"])
    if rope_type == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(config, head_dim))
    if rope_type == "longrope":
        original = config["original_max_position_embeddings"]
        stretch = config["max_position_embeddings"] / original
        u32("rope.scaling.original_context_length", original)
        f32("rope.scaling.attn_factor", math.sqrt(1 + math.log(stretch) / math.log(original)))
        for length in ("long", "short"):
            factors = np.array(scaling[f"{length}_factor"], dtype=np.float32)
            w.add_tensor(f"rope_factors_{length}.weight", factors)

    for name, x in tensors.items():
        stem, _, suffix = name.rpartition(".")
        if kind in INTERLEAVED and stem.endswith("q_proj"):
            x = permute(x, n_heads)
        if kind in INTERLEAVED and stem.endswith("k_proj"):
            x = permute(x, n_kv)
        if kind.startswith("gemma") and stem.endswith("norm"):
            x = x + 1
        if stem in GLOBAL:
            name = f"{GLOBAL[stem]}.{suffix}"
        else:
            _, _, layer, rest = stem.split(".", 3)
            mapped = LAYER[rest]
            if rest == "post_attention_layernorm" and kind in POST_NORMS:
                mapped = "post_attention_norm"
            name = f"blk.{layer}.{mapped}.{suffix}"
        w.add_tensor(name, np.ascontiguousarray(x, dtype=np.float32 if x.ndim == 1 else np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama3_divisors(config, head_dim):
    s = config["rope_scaling"]
    original = s["original_max_position_embeddings"]
    divisors = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (i / head_dim)
        if wavelength < original / s["high_freq_factor"]:
            divisors.append(1.0)
        elif wavelength > original / s["low_freq_factor"]:
            divisors.append(s["factor"])
        else:
            smooth = (original / wavelength - s["low_freq_factor"]) / (
                s["high_freq_factor"] - s["low_freq_factor"]
            )
            divisors.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(divisors, dtype=np.float32)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in sys.argv[1:] or CASES:
        shutil.rmtree(OUT / case, ignore_errors=True)
        build(case, dict(CASES[case]))
