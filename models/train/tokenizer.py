"""The tokenizer: byte-level BPE of 2,048 entries, the same id for id in target and draft.

The pre-tokenizer is SmolLM's (every digit alone, then GPT-2's expression), so llama.cpp reads the GGUFs with
`tokenizer.ggml.pre = smollm`. Digits alone make numbers copyable: a number never hides in a rare token.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import template

VOCAB_SIZE = 2048
# These stay in decoded text, since what reads a reply looks for them; the other special tokens are left out of it.
SPANS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + SPANS + [f"<|reserved_{i}|>" for i in range(7)]
END_OF_TEXT, IM_START, IM_END = 0, 1, 2
# The files in the repository. Training reads them; only `--new-tokenizer` makes others, and then old checkpoints are void.
FOLDER = Path(__file__).parent.parent / "tokenizer"


def train(texts, folder: Path = FOLDER) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=SPECIALS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    file = json.loads(tokenizer.to_str())
    for added in file["added_tokens"]:
        added["special"] = added["content"] not in SPANS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False, indent=1) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config(), indent=2) + "\n")
    return load(folder)


def config() -> dict:
    """tokenizer_config.json, with the chat template inside."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "additional_special_tokens": [s for s in SPECIALS if s not in SPANS],
        "chat_template": template.SOURCE,
    }


def load(folder: Path = FOLDER) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))
