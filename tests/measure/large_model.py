"""A Llama of about 153 million random weights (305 MB, BF16; more with a vocabulary
past 32,000) in a folder, for measuring what loading and schemas cost; nothing of it
is committed.

    python tests/measure/large_model.py FOLDER TOKENIZER.json
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

out, tokenizer = Path(sys.argv[1]), sys.argv[2]
out.mkdir(parents=True, exist_ok=True)
described = json.loads(Path(tokenizer).read_text())
n_vocab = max(32000, *described["model"]["vocab"].values(), *(token["id"] for token in described["added_tokens"]))
n_vocab += -n_vocab % 64
config = dict(
    model_type="llama",
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=8,
    num_attention_heads=16,
    num_key_value_heads=4,
    vocab_size=n_vocab,
    max_position_embeddings=2048,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    tie_word_embeddings=True,
)
h, ff, kv = 1024, 4096, 256
torch.manual_seed(1)
rand = lambda *shape: (torch.randn(shape) * 0.03).to(torch.bfloat16)
tensors = {"model.embed_tokens.weight": rand(n_vocab, h), "model.norm.weight": torch.ones(h)}
for i in range(config["num_hidden_layers"]):
    layer = {
        "input_layernorm": torch.ones(h),
        "self_attn.q_proj": rand(h, h),
        "self_attn.k_proj": rand(kv, h),
        "self_attn.v_proj": rand(kv, h),
        "self_attn.o_proj": rand(h, h),
        "post_attention_layernorm": torch.ones(h),
        "mlp.gate_proj": rand(ff, h),
        "mlp.up_proj": rand(ff, h),
        "mlp.down_proj": rand(h, ff),
    }
    tensors |= {f"model.layers.{i}.{name}.weight": t for name, t in layer.items()}
save_file(tensors, out / "model.safetensors")
(out / "config.json").write_text(json.dumps(config))
shutil.copy(tokenizer, out / "tokenizer.json")
