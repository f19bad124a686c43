"""Writes tokenizer/*.json: ids and pieces as the reference implementations give them.

`tokenizers` (the Python package, whose regular expressions are Oniguruma's, where the
crate on wasm has fancy-regex) and `sentencepiece` are the references. Run from anywhere:
`python tests/goldens/tokenizer.py [SHARED]`, SHARED being the folder of shared data
(default: `../shared` beside the repository); without it only the files that need none
are written. `cuts.json` holds the table of pre-tokenisers that
`cargo test write_cuts -- --ignored` puts there; this script adds the pieces.
"""

import json
import pathlib
import sys

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as spm_pb
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "tokenizer"

TEXTS = [
    "Hello, world! It's a test; we'LL see what they'D've done. DON'T.",
    "ÄÖÜ straße Ελληνικά РУССКИЙ ǅungla ʰello ªº Ⅷ ½ ² x² ①",
    "e\u0301cole A\u030Angstro\u0308m नमस्ते สวัสดี 안녕하세요 שָׁלוֹם مرحبا",
    "日本語のテキスト、カタカナ。漢字ひらがな混在 ㄅㄆ ｶﾅ！？",
    "1 12 123 1234 12345 123456 1,234,567.89 ٣٤٥ ൧൨൩ 0x1F",
    "  two   three    four\ttab\t\ttabs \t mixed  ",
    "line\nline\n\nline\r\nline\r\n\r\n\n  indented\n\n\n   \n end ",
    "\n", " ", "   ", "\t\n ", "\u00a0nbsp\u2003em\u2028ls\u0085nel\u3000wide ",
    "def f(x):\n    return x**2 + [1,2,3][0] # comment\n\n\nclass A: pass",
    "https://example.com/a?b=c&d=%20#e user@host.org C:\\path ~/file_name.txt --flag=1",
    "🦙🚀 👨‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️ ☺",
    "camelCaseWord UPPERCase snake_case XMLHttpRequest iOS12 a1b2c3",
    "'quoted' \"double\" `code` ''' \"\"\" ... …—–- !!!??? <tag/> {x: [y]} $5 €6 ^~|",
    "a'b 's 'S 'll'LL 're're 'x ''s ’s don’t",
    "Zalgo H̷e̴l̵l̶o", "\ufeffBOM \u200bzero\u200dwidth \u00adsoft",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐐷 𞤀 ﬁ Ⓐ ﷺ", "(1) (two) [a.b] a.b.c 3.14 v1.2.3-beta",
    "word" * 40, "x" * 9 + " " * 600 + "y", "? ¿Qué? ¡Ah! «a» „b“",
]  # fmt: skip


def write(name, value):
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    (OUT / name).write_text(text.replace('},{"', '},\n{"') + "\n")


def cuts():
    path = OUT / "cuts.json"
    rows = json.loads(path.read_text())["rows"]
    for row in rows:
        splits = [pre_tokenizers.Split(Regex(cut), "isolated") for cut in row["cuts"]]
        cutter = pre_tokenizers.Sequence(splits)
        row["lengths"] = [
            [len(piece) for piece, _ in cutter.pre_tokenize_str(text)] for text in TEXTS
        ]
    write("cuts.json", {"texts": TEXTS, "rows": rows})


# Small tokenizers, whole, with what they make of some texts.


def corpus():
    story = (
        "Once upon a time there was a little fox who lived in the wood. "
        "The fox said: \"I'm not afraid of the dark!\" 12 345 678. Größe, naïve, été. "
    )
    return [story, *TEXTS] * 3


def case(tokenizer, texts):
    rows = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        special = tokenizer.encode(text, add_special_tokens=True).ids
        assert len(special) >= len(ids)
        rows.append({"text": text, "ids": ids, "special": special, "decoded": tokenizer.decode(ids)})
    return {"tokenizer": json.loads(tokenizer.to_str()), "cases": rows}


FLAG_TEXTS = [
    "a <mask> b<mask>c  <mask>  d", "cat concat cat. (cat)_cat scat", "x\n\n\n\ny\n\nz\n",
    "<|a|><|a|b|> <|a|b", "Yes YES yes YeS", "<tool>{}</tool>", "ends <mask>", "<mask> starts",
    "\u00a0<mask>\u00a0", "<pad><s>hi</s>", "<S>HI</S>", "",
]  # fmt: skip


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, show_progress=False, special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_tokens([
        AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False, special=True),
        AddedToken("cat", single_word=True, normalized=False),
        AddedToken("\n\n", normalized=False), AddedToken("\n\n\n", normalized=False),
        AddedToken("<|a|>", normalized=False, special=True),
        AddedToken("<|a|b|>", normalized=False, special=True),
        AddedToken("<tool>", normalized=False), AddedToken("</tool>", normalized=True),
    ])  # fmt: skip
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        ),
    ])
    return case(tokenizer, FLAG_TEXTS + TEXTS)


def lowercased():
    """Added tokens that are looked for in normalised text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(),
    ])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, special_tokens=["<unk>"])
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_tokens([
        AddedToken("Yes", normalized=True), AddedToken("YES!", normalized=False),
        AddedToken("</S>", normalized=True, special=True),
        AddedToken("<mask>", lstrip=True, normalized=True, special=True),
    ])  # fmt: skip
    return case(tokenizer, FLAG_TEXTS + TEXTS[:6])


def unigram():
    """What XLM-R and T5 have: a character map, Metaspace, Viterbi over scores."""
    spec = OUT / "charsmap.tsv"
    # A small character map: full-width letters, a ligature, and a mark that goes.
    rules = {"\uff21": "A", "\uff22": "B", "\ufb01": "fi", "\u00ad": "", "e\u0301": "é", "\u2026": "..."}
    spec.write_text("".join(
        " ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n"
        for source, target in rules.items()
    ))
    model = OUT / "charsmap"
    sentences = OUT / "charsmap.txt"
    sentences.write_text("\n".join(text.replace("\n", " ") for text in corpus()))
    sentencepiece.SentencePieceTrainer.train(
        input=str(sentences), model_prefix=str(model), vocab_size=700, model_type="unigram",
        normalization_rule_tsv=str(spec), byte_fallback=True, hard_vocab_limit=False,
        character_coverage=0.98, minloglevel=2,
    )  # fmt: skip
    proto = spm_pb.ModelProto()
    proto.ParseFromString(model.with_suffix(".model").read_bytes())
    for path in (spec, sentences, model.with_suffix(".model"), model.with_suffix(".vocab")):
        path.unlink()
    vocab = [(piece.piece, piece.score) for piece in proto.pieces]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
        normalizers.Replace(Regex(" {2,}"), " "),
    ])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence([
        decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always"),
    ])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    return case(tokenizer, FLAG_TEXTS + TEXTS + ["\uff21\uff22 \ufb01n soft\u00adened caf\u0065\u0301 a\u2026"])


def from_shared(shared):
    data = shared / "data"
    folder = data / "tokenizers"
    inputs = (folder / "gpt-2" / "ggml-vocab-gpt-2.gguf.inp").read_bytes().decode()
    inputs = inputs.split("\n__ggml_vocab_test__\n")

    for name, path in [
        ("smollm2", folder / "smollm2"),
        ("tinystories", data / "weights" / "tinystories-656k-bf16"),
    ]:
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        special = sorted(token.content for token in tokenizer.get_added_tokens_decoder().values())[:4]
        texts = [*inputs, *TEXTS, "".join(special), f"a {special[0]} b{special[1]}c"]
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        tokenizer.encode_special_tokens = True
        plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts[-2:]]
        write(f"{name}.json", {
            "texts": texts[len(inputs):], "ids": ids, "plain": plain,
            "prefix": Tokenizer.from_file(str(path / "tokenizer.json")).encode("").ids,
            "decoded": [tokenizer.decode(row) for row in ids],
        })

    # SentencePiece itself, from the vocabulary that llama.cpp keeps as GGUF.
    reader = gguf.GGUFReader(folder / "llama-spm.gguf")
    field = {name: value.contents() for name, value in reader.fields.items()}
    proto = spm_pb.ModelProto()
    proto.trainer_spec.model_type = spm_pb.TrainerSpec.BPE
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.unk_id, proto.trainer_spec.bos_id, proto.trainer_spec.eos_id = 0, 1, 2
    proto.trainer_spec.pad_id = -1
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.normalizer_spec.escape_whitespaces = True
    rows = zip(
        field["tokenizer.ggml.tokens"], field["tokenizer.ggml.scores"],
        field["tokenizer.ggml.token_type"], strict=True,
    )  # fmt: skip
    for piece, score, kind in rows:
        proto.pieces.add(piece=piece, score=score, type=kind)
    texts = [*inputs, *TEXTS]
    for prefix in (True, False):
        proto.normalizer_spec.add_dummy_prefix = prefix
        model = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
        ids = [model.encode(text) for text in texts]
        name = "llama-spm.json" if prefix else "llama-spm-no-prefix.json"
        write(name, {"texts": TEXTS, "ids": ids, "decoded": [model.decode(row) for row in ids]})


def main():
    OUT.mkdir(exist_ok=True)
    if (OUT / "cuts.json").exists():
        cuts()
    write("small.json", {"byte_level": byte_level(), "lowercased": lowercased(), "unigram": unigram()})
    default = HERE.parents[2] / "shared"
    shared = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if (shared / "data").is_dir():
        from_shared(shared)
    else:
        print(f"{shared} is not there: only what needs no shared data was written", file=sys.stderr)


if __name__ == "__main__":
    main()
