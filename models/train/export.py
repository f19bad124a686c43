"""Weights -> a Hugging Face folder (float32) and a GGUF (Q8_0), both with the tokenizer and the chat template inside.

    python models/train/export.py --setting cpu          # exports the newest checkpoints once more
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

import template
import tokenizer as T
from model import Llama, Shape

# Our name of a layer's matrix -> Hugging Face's -> GGUF's.
LAYER_NAMES = {
    "input_layernorm": ("input_layernorm", "attn_norm"),
    "q_proj": ("self_attn.q_proj", "attn_q"),
    "k_proj": ("self_attn.k_proj", "attn_k"),
    "v_proj": ("self_attn.v_proj", "attn_v"),
    "o_proj": ("self_attn.o_proj", "attn_output"),
    "post_attention_layernorm": ("post_attention_layernorm", "ffn_norm"),
    "gate_proj": ("mlp.gate_proj", "ffn_gate"),
    "up_proj": ("mlp.up_proj", "ffn_up"),
    "down_proj": ("mlp.down_proj", "ffn_down"),
}
TOP_NAMES = {"embed_tokens.weight": ("model.embed_tokens.weight", "token_embd.weight"), "norm.weight": ("model.norm.weight", "output_norm.weight")}


def names(ours: str) -> tuple[str, str]:
    """layers.3.q_proj.weight -> (model.layers.3.self_attn.q_proj.weight, blk.3.attn_q.weight)"""
    if ours in TOP_NAMES:
        return TOP_NAMES[ours]
    _, n, kind, weight = ours.split(".")
    hugging_face, in_gguf = LAYER_NAMES[kind]
    return f"model.layers.{n}.{hugging_face}.{weight}", f"blk.{n}.{in_gguf}.{weight}"


def permute(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """Reorders rows [heads * d_head, columns] from Hugging Face's rotary pairs (i, i + d/2) to llama.cpp's (2i, 2i + 1),
    as llama.cpp's convert_hf_to_gguf.py does for the llama architecture."""
    return weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def unpermute(weight: np.ndarray, n_heads: int) -> np.ndarray:
    return weight.reshape(n_heads, weight.shape[0] // n_heads // 2, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def hugging_face_config(s: Shape) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": s.d_model, "intermediate_size": s.d_ffn, "num_hidden_layers": s.n_layers,
        "num_attention_heads": s.n_heads, "num_key_value_heads": s.n_kv_heads, "head_dim": s.d_head, "hidden_act": "silu", "max_position_embeddings": s.max_tokens,
        "rms_norm_eps": s.norm_eps, "rope_theta": s.rope_theta, "rope_scaling": None, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
        "vocab_size": s.vocab_size, "bos_token_id": None, "eos_token_id": T.IM_END, "pad_token_id": T.END_OF_TEXT, "torch_dtype": "float32", "initializer_range": 0.02,
    }


def write_hugging_face(folder: Path, weights: dict, shape: Shape):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({names(k)[0]: v.contiguous() for k, v in weights.items()}, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(hugging_face_config(shape), indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [T.IM_END, T.END_OF_TEXT], "pad_token_id": T.END_OF_TEXT}, indent=2) + "\n")
    (folder / "tokenizer.json").write_text((T.FOLDER / "tokenizer.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(T.config(), indent=2) + "\n")


def write_gguf(path: Path, weights: dict, shape: Shape, name: str, kind=gguf.GGMLQuantizationType.Q8_0):
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_name(name)
    w.add_description("Trained for Tandem, on TinyStories and on generated conversations")
    w.add_license("cdla-sharing-1.0")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_vocab_size(shape.vocab_size)
    w.add_context_length(shape.max_tokens)
    w.add_embedding_length(shape.d_model)
    w.add_block_count(shape.n_layers)
    w.add_feed_forward_length(shape.d_ffn)
    w.add_head_count(shape.n_heads)
    w.add_head_count_kv(shape.n_kv_heads)
    w.add_key_length(shape.d_head)
    w.add_value_length(shape.d_head)
    w.add_rope_dimension_count(shape.d_head)
    w.add_rope_freq_base(shape.rope_theta)
    w.add_layer_norm_rms_eps(shape.norm_eps)

    file = json.loads((T.FOLDER / "tokenizer.json").read_text())
    by_id = {i: t for t, i in file["model"]["vocab"].items()}
    kinds = [gguf.TokenType.NORMAL] * len(by_id)
    for added in file["added_tokens"]:
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list([by_id[i] for i in range(len(by_id))])
    w.add_token_types(kinds)
    w.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in file["model"]["merges"]])
    w.add_eos_token_id(T.IM_END)
    w.add_pad_token_id(T.END_OF_TEXT)
    w.add_add_bos_token(False)
    w.add_chat_template(template.SOURCE)

    for ours, tensor in weights.items():
        array = tensor.float().numpy()
        if ".q_proj." in ours:
            array = permute(array, shape.n_heads)
        if ".k_proj." in ours:
            array = permute(array, shape.n_kv_heads)
        if array.ndim == 2:
            w.add_tensor(names(ours)[1], gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            w.add_tensor(names(ours)[1], array)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_gguf(path: Path) -> tuple[Shape, dict]:
    """A GGUF of this recipe -> its shape and its dequantised weights under our names."""
    reader = gguf.GGUFReader(str(path))
    number = lambda key: reader.fields[f"llama.{key}"].contents()
    shape = Shape(
        n_layers=number("block_count"), d_model=number("embedding_length"), n_heads=number("attention.head_count"), n_kv_heads=number("attention.head_count_kv"),
        d_ffn=number("feed_forward_length"), vocab_size=number("vocab_size"), d_head=number("attention.key_length"), max_tokens=number("context_length"),
        rope_theta=number("rope.freq_base"), norm_eps=number("attention.layer_norm_rms_epsilon"),
    )
    tensors = {t.name: t for t in reader.tensors}
    weights = {}
    for ours in Llama(shape).state_dict():
        tensor = tensors[names(ours)[1]]
        array = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if ".q_proj." in ours:
            array = unpermute(array, shape.n_heads)
        if ".k_proj." in ours:
            array = unpermute(array, shape.n_kv_heads)
        weights[ours] = torch.from_numpy(array.copy())
    return shape, weights


def export(kind: str, model: Llama, out: Path):
    """kind is "target" or "draft"; writes OUT/tandem-KIND/ and OUT/tandem-KIND-q8_0.gguf."""
    weights = {k: v.detach().float().cpu() for k, v in model.state_dict().items()}
    write_hugging_face(out / f"tandem-{kind}", weights, model.shape)
    write_gguf(out / f"tandem-{kind}-q8_0.gguf", weights, model.shape, f"Tandem {kind}")
    print(f"{kind}: exported to {out}", flush=True)


def main():
    from settings import SETTINGS
    parser = argparse.ArgumentParser()
    parser.add_argument("--setting", choices=SETTINGS, required=True)
    parser.add_argument("--out", type=Path, default=Path.home() / ".cache/tandem-train")
    args = parser.parse_args()
    for kind in ("target", "draft"):
        path = args.out / args.setting / f"{kind}.pt"
        if path.exists():
            model = Llama(getattr(SETTINGS[args.setting], kind))
            model.load_state_dict(torch.load(path, map_location="cpu", weights_only=False)["model"])
            export(kind, model, args.out / args.setting)


if __name__ == "__main__":
    main()
