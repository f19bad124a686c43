//! Text <-> ids against the reference implementations: llama.cpp's vectors, Hugging
//! Face `tokenizers` and `sentencepiece` (goldens by `tests/goldens/tokenizer.py`), by
//! every route that the data allows.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::path::Path;

use serde_json::{Value as Json, json};
use tandem::Code;
use tandem::format::{Array, Checkpoint, Config, Metadata, Value};
use tandem::tokenizer::{Companions, EncodeOptions, Span, Tokenizer};

const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};
const MARKED: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: true,
};
const PROMPT: EncodeOptions = EncodeOptions {
    add_special: true,
    parse_special: true,
};

fn golden(name: &str) -> Json {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/goldens/tokenizer").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(list: &Json) -> Vec<u32> {
    serde_json::from_value(list.clone()).unwrap()
}

/// A text file of the shared tokenizers, or a skip.
fn text(path: &str) -> Option<String> {
    let path = common::shared(&format!("data/tokenizers/{path}"))?;
    Some(std::fs::read_to_string(path).unwrap())
}

fn metadata(path: &str) -> Option<Metadata> {
    let path = common::shared(&format!("data/tokenizers/{path}"))?;
    let checkpoint = pollster::block_on(Checkpoint::open_path(&path)).unwrap();
    match checkpoint.config {
        Config::Gguf(metadata) => Some(metadata),
        Config::HuggingFace(_) => panic!("{path:?} is no GGUF file"),
    }
}

/// `metadata` with some keys replaced.
fn with(metadata: &Metadata, changes: Vec<(&str, Value)>) -> Metadata {
    let mut changed = Metadata::default();
    for (key, value) in changes {
        changed.insert(key, value);
    }
    for (key, value) in metadata.iter() {
        changed.insert(key, value.clone());
    }
    changed
}

/// llama.cpp's 47 texts, and the ids of one vocabulary.
fn vectors(path: &str) -> Option<Vec<(String, Vec<u32>)>> {
    let texts = text(&format!("{path}.inp"))?;
    let rows = text(&format!("{path}.out"))?;
    let texts = texts.split("\n__ggml_vocab_test__\n");
    let rows = rows.split('\n');
    let ids = |row: &str| {
        row.split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect()
    };
    let cases: Vec<_> = texts.map(String::from).zip(rows.map(ids)).collect();
    assert_eq!(cases.len(), 47);
    Some(cases)
}

/// Encodes every text to its ids, and decodes the ids to the text: at once and as a
/// stream.
fn check(name: &str, tokenizer: &Tokenizer, cases: &[(String, Vec<u32>)]) {
    for (i, (text, ids)) in cases.iter().enumerate() {
        for options in [PLAIN, MARKED] {
            let got = tokenizer.encode(text, options).unwrap();
            assert_eq!(got, *ids, "{name}, case {i}: {text:?}");
        }
        assert_eq!(tokenizer.decode(ids, false), *text, "{name}, case {i}");
        check_stream(name, tokenizer, ids);
    }
}

fn check_stream(name: &str, tokenizer: &Tokenizer, ids: &[u32]) {
    for skip_special in [false, true] {
        let mut stream = tokenizer.detokenizer(skip_special);
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text += &stream.finish();
        let whole = tokenizer.decode(ids, skip_special);
        assert_eq!(text, whole, "{name}: {ids:?}");
        // Neither may depend on the other's code: bytes, put together, made text.
        let kept = ids
            .iter()
            .filter(|id| !(skip_special && tokenizer.is_special(**id)));
        let bytes: Vec<u8> = kept
            .flat_map(|id| tokenizer.token_bytes(*id))
            .copied()
            .collect();
        let lossy = String::from_utf8_lossy(&bytes);
        let stripped = lossy.strip_prefix(' ').unwrap_or(&lossy);
        assert!(
            whole == lossy || whole == stripped,
            "{name}: {whole:?} of {lossy:?}"
        );
    }
}

/// The expressions of a family, from the golden of the table.
fn cuts(name: &str) -> Vec<String> {
    let golden = golden("cuts.json");
    let mut rows = golden["rows"].as_array().unwrap().iter();
    let has = |row: &&Json| row["names"].as_array().unwrap().contains(&json!(name));
    serde_json::from_value(rows.find(has).unwrap()["cuts"].clone()).unwrap()
}

/// The same vocabulary as a `tokenizer.json`.
fn as_json(vocab: &str, merges: &str, added: &[(u32, &str)], pre: &str, ignore: bool) -> Json {
    let merges: Vec<&str> = merges
        .lines()
        .filter(|l| !l.starts_with("#version"))
        .collect();
    let mut steps: Vec<Json> = cuts(pre)
        .iter()
        .map(|cut| json!({"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": false}))
        .collect();
    steps.push(json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}));
    let added: Vec<Json> = added
        .iter()
        .map(|(id, content)| json!({"id": id, "content": content, "special": true, "normalized": false}))
        .collect();
    json!({
        "version": "1.0", "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": serde_json::from_str::<Json>(vocab).unwrap(),
            "merges": merges, "ignore_merges": ignore},
    })
}

/// The same vocabulary as a converter would write it to GGUF.
fn as_gguf(vocab: &str, merges: &str, added: &[(u32, &str)], pre: &str) -> Metadata {
    let vocab: Json = serde_json::from_str(vocab).unwrap();
    let vocab = vocab.as_object().unwrap();
    let n = vocab
        .len()
        .max(added.iter().map(|a| a.0 as usize + 1).max().unwrap_or(0));
    let mut tokens: Vec<String> = (0..n).map(|i| format!("[PAD{i}]")).collect();
    let mut types = vec![5; n];
    for (token, id) in vocab {
        let id = id.as_u64().unwrap() as usize;
        tokens[id] = token.clone();
        types[id] = 1;
    }
    for (id, content) in added {
        tokens[*id as usize] = content.to_string();
        types[*id as usize] = 3;
    }
    let merges = merges
        .lines()
        .filter(|l| !l.starts_with("#version") && !l.is_empty());
    let mut metadata = Metadata::default();
    let strings = |list: Vec<&str>| Value::Array(Array::Strings(list.into_iter().collect()));
    metadata.insert("tokenizer.ggml.model", Value::String("gpt2".into()));
    metadata.insert("tokenizer.ggml.pre", Value::String(pre.into()));
    metadata.insert(
        "tokenizer.ggml.tokens",
        strings(tokens.iter().map(|t| t.as_str()).collect()),
    );
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(types)));
    metadata.insert("tokenizer.ggml.merges", strings(merges.collect()));
    metadata
}

fn from_json(json: &Json) -> Tokenizer {
    Tokenizer::from_json(json.to_string().as_bytes(), &Companions::default()).unwrap()
}

#[test]
fn gpt2_by_every_route() {
    let (Some(cases), Some(vocab), Some(merges), Some(metadata)) = (
        vectors("gpt-2/ggml-vocab-gpt-2.gguf"),
        text("gpt-2/gpt2.vocab"),
        text("gpt-2/gpt2.merges.txt"),
        metadata("gpt-2/ggml-vocab-gpt-2.gguf"),
    ) else {
        return;
    };
    let gguf = Tokenizer::from_gguf(&metadata).unwrap();
    check("gpt-2 GGUF", &gguf, &cases);
    let files = Tokenizer::from_vocab_merges(&vocab, &merges, &Companions::default()).unwrap();
    check("gpt-2 vocab.json", &files, &cases);
    let end = [(50256, "<|endoftext|>")];
    let json = from_json(&as_json(&vocab, &merges, &end, "gpt-2", false));
    check("gpt-2 tokenizer.json", &json, &cases);
    for other in [&files, &json] {
        assert_eq!(gguf.same_as(other), Ok(()));
        assert_eq!(other.same_as(&gguf), Ok(()));
    }
    assert_eq!(gguf.n_vocab(), 50257);
    assert_eq!(gguf.eos_id(), Some(50256));
    assert_eq!(gguf.stop_ids(), [50256]);
    assert!(gguf.is_special(50256) && json.is_special(50256));
    // A route that knows no added token leaves the text ordinary either way.
    let ordinary = files.encode("<|endoftext|>", MARKED).unwrap();
    assert_eq!(gguf.encode("<|endoftext|>", PLAIN).unwrap(), ordinary);
    assert_eq!(gguf.encode("<|endoftext|>", MARKED).unwrap(), [50256]);
}

#[test]
fn qwen2_by_every_route() {
    let (Some(cases), Some(vocab), Some(merges), Some(config), Some(added), Some(map)) = (
        vectors("qwen2.5/ggml-vocab-qwen2.gguf"),
        text("qwen2.5/vocab.json"),
        text("qwen2.5/merges.txt"),
        text("qwen2.5/tokenizer_config.json"),
        text("qwen2.5/added_tokens.json"),
        text("qwen2.5/special_tokens_map.json"),
    ) else {
        return;
    };
    let companions = Companions {
        tokenizer_config: Some(&config),
        added_tokens: Some(&added),
        special_tokens_map: Some(&map),
        ..Companions::default()
    };
    let files = Tokenizer::from_vocab_merges(&vocab, &merges, &companions).unwrap();
    check("qwen2.5 vocab.json", &files, &cases);
    let added: Json = serde_json::from_str(&added).unwrap();
    let added: Vec<(u32, &str)> = added
        .as_object()
        .unwrap()
        .iter()
        .map(|(content, id)| (id.as_u64().unwrap() as u32, content.as_str()))
        .collect();
    let gguf = as_gguf(&vocab, &merges, &added, "qwen2");
    let gguf = Tokenizer::from_gguf(&gguf).unwrap();
    check("qwen2.5 GGUF", &gguf, &cases);
    let json = from_json(&as_json(&vocab, &merges, &added, "qwen2", false));
    check("qwen2.5 tokenizer.json", &json, &cases);
    for other in [&gguf, &json] {
        assert_eq!(files.same_as(other), Ok(()));
    }
    assert_eq!(files.eos_id(), Some(151_643));
    assert_eq!(files.eot_id(), Some(151_645));
    assert_eq!(files.stop_ids(), [151_643, 151_645]);
    // Marked special or not, what a template is built of is not read from plain text.
    assert!(!files.is_special(151_657) && files.is_control(151_657));
    let turn = "<|im_start|>user\n<tool_call>hi<|im_end|>";
    let marked = files.encode(turn, MARKED).unwrap();
    assert_eq!(marked, [151_644, 872, 198, 151_657, 6023, 151_645]);
    let plain = files.encode(turn, PLAIN).unwrap();
    assert!(plain.iter().all(|id| *id < 151_643), "{plain:?}");
    assert_eq!(files.decode(&plain, true), turn);
    assert_eq!(files.decode(&marked, true), "user\n<tool_call>hi");
}

#[test]
fn llama3_by_every_route() {
    let (Some(cases), Some(vocab), Some(merges)) = (
        vectors("llama-3/ggml-vocab-llama-bpe.gguf"),
        text("llama-3/encoder.json"),
        text("llama-3/vocab.bpe"),
    ) else {
        return;
    };
    let companions = Companions {
        pre: Some("llama-bpe"),
        ..Companions::default()
    };
    let files = Tokenizer::from_vocab_merges(&vocab, &merges, &companions).unwrap();
    check("llama-3 vocab.json", &files, &cases);
    let added = [(128_000, "<|begin_of_text|>"), (128_009, "<|eot_id|>")];
    let bos = vec![("tokenizer.ggml.bos_token_id", Value::Unsigned(128_000))];
    let gguf = with(&as_gguf(&vocab, &merges, &added, "llama-bpe"), bos);
    let gguf = Tokenizer::from_gguf(&gguf).unwrap();
    check("llama-3 GGUF", &gguf, &cases);
    assert_eq!(gguf.encode("Hello", PROMPT).unwrap(), [128_000, 9906]);
    assert_eq!(gguf.stop_ids(), [128_009]);
    let json = from_json(&as_json(&vocab, &merges, &added, "llama-bpe", true));
    check("llama-3 tokenizer.json", &json, &cases);
    assert_eq!(gguf.same_as(&json), Ok(()));
    let difference = files.same_as(&gguf).unwrap_err();
    assert_eq!(difference.id, 128_000);
    assert_eq!(
        difference.to_string(),
        "id 128000 is nothing here and \"<|begin_of_text|>\" there"
    );
}

#[test]
fn falcon_from_gguf() {
    let (Some(cases), Some(metadata)) = (
        vectors("falcon/ggml-vocab-falcon.gguf"),
        metadata("falcon/ggml-vocab-falcon.gguf"),
    ) else {
        return;
    };
    check(
        "falcon GGUF",
        &Tokenizer::from_gguf(&metadata).unwrap(),
        &cases,
    );
}

/// Texts and ids of a golden: llama.cpp's 47 texts (which stay with the shared data),
/// then the golden's own.
fn golden_cases(golden: &Json) -> Option<Vec<(String, Vec<u32>)>> {
    let vectors = vectors("gpt-2/ggml-vocab-gpt-2.gguf")?;
    let own: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
    let texts = vectors.into_iter().map(|v| v.0).chain(own);
    let rows: Vec<Vec<u32>> = serde_json::from_value(golden["ids"].clone()).unwrap();
    assert_eq!(rows.len(), 47 + golden["texts"].as_array().unwrap().len());
    Some(texts.zip(rows).collect())
}

#[test]
fn llama_from_gguf_is_sentencepiece_with_and_without_a_prefix() {
    let Some(metadata) = metadata("llama-spm.gguf") else {
        return;
    };
    for (name, prefix) in [
        ("llama-spm.json", true),
        ("llama-spm-no-prefix.json", false),
    ] {
        let golden = golden(name);
        let Some(cases) = golden_cases(&golden) else {
            return;
        };
        let key = "tokenizer.ggml.add_space_prefix";
        let metadata = with(&metadata, vec![(key, Value::Bool(prefix))]);
        let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
        check(name, &tokenizer, &cases);
        for ((_, ids), decoded) in cases.iter().zip(golden["decoded"].as_array().unwrap()) {
            assert_eq!(tokenizer.decode(ids, false), decoded.as_str().unwrap());
        }
        assert_eq!(tokenizer.bos_id(), Some(1));
        assert_eq!(tokenizer.stop_ids(), [2]);
        let hello = if prefix { 15043 } else { 10994 };
        assert_eq!(tokenizer.encode("Hello", PROMPT).unwrap(), [1, hello]);
        // The vocabulary holds `<s>`, and SentencePiece never joins text into it.
        for text in ["<s>", "</s>", "<unk>", "<0x0A>", "a<s>b</s>"] {
            let ids = tokenizer.encode(text, PLAIN).unwrap();
            assert!(ids.iter().all(|id| *id > 2), "{text}: {ids:?}");
            assert_eq!(tokenizer.decode(&ids, true), text);
        }
        assert_eq!(tokenizer.encode("a</s>", MARKED).unwrap().last(), Some(&2));
    }
}

#[test]
fn tokenizer_json_is_what_tokenizers_makes_of_it() {
    for (name, path) in [
        ("smollm2.json", "data/tokenizers/smollm2/tokenizer.json"),
        (
            "tinystories.json",
            "data/weights/tinystories-656k-bf16/tokenizer.json",
        ),
    ] {
        let golden = golden(name);
        let (Some(path), Some(cases)) = (common::shared(path), golden_cases(&golden)) else {
            return;
        };
        let bytes = std::fs::read(path).unwrap();
        let tokenizer = Tokenizer::from_json(&bytes, &Companions::default()).unwrap();
        assert_eq!(tokenizer.prefix_ids(), ids(&golden["prefix"]));
        let decoded = golden["decoded"].as_array().unwrap();
        for (i, (text, ids)) in cases.iter().enumerate() {
            let got = tokenizer.encode(text, MARKED).unwrap();
            assert_eq!(got, *ids, "{name}, case {i}: {text:?}");
            // `tokenizers` fails to skip special tokens that are normalised.
            if !ids.iter().any(|id| tokenizer.is_special(*id)) {
                assert_eq!(tokenizer.decode(ids, true), decoded[i].as_str().unwrap());
            }
            check_stream(name, &tokenizer, ids);
        }
        let marked = cases.iter().rev().take(2).rev();
        for ((text, _), plain) in marked.zip(golden["plain"].as_array().unwrap()) {
            assert_eq!(tokenizer.encode(text, PLAIN).unwrap(), ids(plain), "{text}");
        }
    }
}

#[test]
fn smollm2_from_gguf_is_its_tokenizer_json() {
    let Some(json) = text("smollm2/tokenizer.json") else {
        return;
    };
    let file: Json = serde_json::from_str(&json).unwrap();
    let vocab = file["model"]["vocab"].to_string();
    let merges: Vec<&str> = file["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap())
        .collect();
    let added: Vec<(u32, &str)> = file["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| {
            (
                t["id"].as_u64().unwrap() as u32,
                t["content"].as_str().unwrap(),
            )
        })
        .collect();
    let gguf = as_gguf(&vocab, &merges.join("\n"), &added, "smollm");
    let gguf = Tokenizer::from_gguf(&gguf).unwrap();
    let json = Tokenizer::from_json(json.as_bytes(), &Companions::default()).unwrap();
    assert_eq!(gguf.same_as(&json), Ok(()));
    let Some(cases) = golden_cases(&golden("smollm2.json")) else {
        return;
    };
    for (text, ids) in &cases {
        assert_eq!(gguf.encode(text, MARKED).unwrap(), *ids, "{text:?}");
    }
}

#[test]
fn small_tokenizers_with_every_flag_are_as_tokenizers_has_them() {
    for (name, part) in golden("small.json").as_object().unwrap() {
        let tokenizer = from_json(&part["tokenizer"]);
        for case in part["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let got = tokenizer.encode(text, MARKED).unwrap();
            assert_eq!(got, ids(&case["ids"]), "{name}: {text:?}");
            let special = tokenizer.encode(text, PROMPT).unwrap();
            assert_eq!(special, ids(&case["special"]), "{name}: {text:?}");
            check_stream(name, &tokenizer, &got);
            // `tokenizers` puts U+FFFD for each byte, drops every leading space, and shows
            // an added token as its normaliser leaves it.
            let decoded = case["decoded"].as_str().unwrap();
            let ours = tokenizer.decode(&got, true);
            if !decoded.contains('\u{fffd}') && !text.starts_with(' ') && name != "lowercased" {
                assert_eq!(ours, decoded, "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn a_folder_knows_what_ends_a_reply() {
    let Some(path) = common::shared("data/weights/tinystories-656k-bf16") else {
        return;
    };
    let checkpoint = pollster::block_on(Checkpoint::open_path(&path)).unwrap();
    let tokenizer = Tokenizer::from_checkpoint(&checkpoint).unwrap();
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(1), Some(2)));
    assert_eq!(tokenizer.stop_ids(), [2]);
    let expected = std::fs::read_to_string(path.join("expected.json")).unwrap();
    let expected: Json = serde_json::from_str(&expected).unwrap();
    for case in expected["cases"].as_array().unwrap() {
        let text = case["prompt"].as_str().unwrap();
        let expected = ids(&case["prompt_ids"]);
        assert_eq!(tokenizer.encode(text, PROMPT).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_folder_without_a_tokenizer_says_which_file_is_missing() {
    let mut files = tandem::format::FileSet::new("folder");
    files.add_bytes("config.json", b"{}".to_vec());
    let mut weights = 2u64.to_le_bytes().to_vec();
    weights.extend(b"{}");
    files.add_bytes("model.safetensors", weights);
    let checkpoint = pollster::block_on(Checkpoint::open_folder(&files)).unwrap();
    let error = Tokenizer::from_checkpoint(&checkpoint).unwrap_err();
    assert_eq!(error.code(), Code::FileMissing);
    assert_eq!(error.subject(), "tokenizer.json");
}

/// A generator of numbers that is the same everywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize) % n
    }
}

/// Every tokenizer that the shared data and the goldens give, by name.
fn all() -> Vec<(String, Tokenizer)> {
    let mut all = Vec::new();
    for (name, part) in golden("small.json").as_object().unwrap() {
        all.push((name.clone(), from_json(&part["tokenizer"])));
    }
    for path in [
        "llama-spm.gguf",
        "gpt-2/ggml-vocab-gpt-2.gguf",
        "falcon/ggml-vocab-falcon.gguf",
    ] {
        if let Some(metadata) = metadata(path) {
            all.push((path.to_string(), Tokenizer::from_gguf(&metadata).unwrap()));
        }
    }
    for path in [
        "data/tokenizers/smollm2",
        "data/weights/tinystories-656k-bf16",
    ] {
        if let Some(path) = common::shared(path) {
            let bytes = std::fs::read(path.join("tokenizer.json")).unwrap();
            let tokenizer = Tokenizer::from_json(&bytes, &Companions::default()).unwrap();
            all.push((path.display().to_string(), tokenizer));
        }
    }
    if let (Some(vocab), Some(merges), Some(config)) = (
        text("qwen2.5/vocab.json"),
        text("qwen2.5/merges.txt"),
        text("qwen2.5/tokenizer_config.json"),
    ) {
        let companions = Companions {
            tokenizer_config: Some(&config),
            ..Companions::default()
        };
        let tokenizer = Tokenizer::from_vocab_merges(&vocab, &merges, &companions).unwrap();
        all.push(("qwen2.5".to_string(), tokenizer));
    }
    all
}

/// The promise: text that is not trusted never becomes a control token, however it is
/// cut and whatever stands around it.
#[test]
fn text_that_is_not_trusted_never_names_a_control_token() {
    for (name, tokenizer) in all() {
        let n = tokenizer.n_vocab() as u32;
        let control: Vec<u32> = (0..n).filter(|id| tokenizer.is_control(*id)).collect();
        let unk = tokenizer.id_of("<unk>");
        let names: Vec<String> = control
            .iter()
            .map(|id| String::from_utf8_lossy(tokenizer.token_bytes(*id)).into_owned())
            .collect();
        assert!(!names.is_empty(), "{name} has no control tokens");
        let mut random = Random(7);
        for _ in 0..400 {
            let mut texts: Vec<String> = Vec::new();
            for _ in 0..1 + random.below(5) {
                let mut text = String::new();
                for _ in 0..random.below(5) {
                    let token = &names[random.below(names.len())];
                    match random.below(6) {
                        0 | 1 => text += token,
                        2 => text += &token[..floor(token, random.below(token.len() + 1))],
                        3 => text += &token[floor(token, random.below(token.len() + 1))..],
                        4 => text += [" ", "\n", "<", "|>", "▁", "Ġ", "\0", "  "][random.below(8)],
                        _ => text += ["word", "é", "<s", "12", "語", "</", ">"][random.below(7)],
                    }
                }
                texts.push(text);
            }
            let allowed = |ids: &[u32], context: &dyn std::fmt::Debug| {
                for id in ids {
                    let bad = tokenizer.is_control(*id) && Some(*id) != unk;
                    assert!(!bad, "{name}: id {id} from {context:?}");
                }
            };
            let whole = texts.concat();
            allowed(&tokenizer.encode(&whole, PLAIN).unwrap(), &whole);
            let plain: Vec<Span> = texts
                .iter()
                .map(|text| Span {
                    text,
                    parse_special: false,
                })
                .collect();
            let joined = tokenizer.encode_spans(&plain, false).unwrap();
            assert_eq!(joined, tokenizer.encode(&whole, PLAIN).unwrap());
            // Trusted parts between them: they alone can name control tokens, so no
            // more of these come out than they hold by themselves.
            let trusted: Vec<Span> = texts
                .iter()
                .enumerate()
                .map(|(i, text)| Span {
                    text,
                    parse_special: i % 2 == 1,
                })
                .collect();
            let mixed = tokenizer.encode_spans(&trusted, false).unwrap();
            let count = |ids: &[u32]| {
                let controls = ids.iter().filter(|id| tokenizer.is_control(**id));
                controls.filter(|id| Some(**id) != unk).count()
            };
            let held: usize = trusted
                .iter()
                .filter(|span| span.parse_special)
                .map(|span| span.text.matches(['<', '[', '▁', '>']).count())
                .sum();
            assert!(count(&mixed) <= held, "{name}: {trusted:?}: {mixed:?}");
        }
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[test]
fn spans_leave_no_trace_where_nothing_is_at_stake() {
    for (name, tokenizer) in all() {
        for text in [
            "Once upon a time, there was a fox.\n\n  It's 12345.",
            " a  b ",
            "héllo 語",
        ] {
            let whole = tokenizer.encode(text, MARKED).unwrap();
            for at in text.char_indices().map(|(at, _)| at) {
                let spans = [(&text[..at], true), (&text[at..], false)];
                let spans = spans.map(|(text, parse_special)| Span {
                    text,
                    parse_special,
                });
                let ids = tokenizer.encode_spans(&spans, false).unwrap();
                assert_eq!(ids, whole, "{name}: {spans:?}");
            }
        }
    }
}

#[test]
fn a_stream_of_any_ids_is_the_whole() {
    for (name, tokenizer) in all() {
        let mut random = Random(3);
        for _ in 0..300 {
            let n = random.below(24);
            // Past the end too: logits are padded.
            let ids: Vec<u32> = (0..n)
                .map(|_| random.below(tokenizer.n_vocab() + 8) as u32)
                .collect();
            check_stream(&name, &tokenizer, &ids);
        }
        // Bytes of many characters, in the order that splits them most.
        let bytes: Vec<u32> = "語🦙é"
            .bytes()
            .filter_map(|b| {
                let ids = 0..tokenizer.n_vocab() as u32;
                ids.into_iter().find(|id| tokenizer.token_bytes(*id) == [b])
            })
            .collect();
        check_stream(&name, &tokenizer, &bytes);
        if bytes.len() == 9 {
            assert_eq!(tokenizer.decode(&bytes, false), "語🦙é", "{name}");
        }
    }
}

#[test]
fn a_continuation_keeps_its_leading_space() {
    let Some(metadata) = metadata("llama-spm.gguf") else {
        return;
    };
    let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
    let ids = tokenizer.encode("time", PLAIN).unwrap();
    assert_eq!(tokenizer.decode(&ids, false), "time");
    let mut stream = tokenizer.detokenizer_continuing(false);
    let text: String = ids.iter().map(|id| stream.push(*id)).collect();
    assert_eq!(text, " time");
}

/// A `tokenizer.json` of a few tokens, changed by `change`.
fn tiny(change: impl Fn(&mut Json)) -> tandem::Result<Tokenizer> {
    let mut file = json!({
        "added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false}],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": ["a b"]},
    });
    change(&mut file);
    Tokenizer::from_json(file.to_string().as_bytes(), &Companions::default())
}

#[test]
fn an_error_names_the_field_at_fault() {
    assert_eq!(
        tiny(|_| ()).unwrap().encode("ab a", PLAIN).unwrap(),
        [2, 3, 0]
    );
    type Change = fn(&mut Json);
    let cases: [(&str, &str, Change); 12] = [
        ("merges[1]", "\"x\"", |f| {
            f["model"]["merges"] = json!(["a b", "a x"])
        }),
        ("merges[0]", "\"ba\"", |f| {
            f["model"]["merges"] = json!(["b a"])
        }),
        ("model.vocab", "id 1", |f| {
            f["model"]["vocab"]["z"] = json!(1)
        }),
        ("model.vocab", "far beyond", |f| {
            f["model"]["vocab"]["z"] = json!(u32::MAX)
        }),
        ("tokenizer.json", "merge", |f| {
            f["model"]["merges"] = json!(["a b c"])
        }),
        ("tokenizer.json", "model", |f| f["model"] = json!(null)),
        ("model.unk_token", "<unk>", |f| {
            f["model"]["unk_token"] = json!("<unk>")
        }),
        ("added_tokens", "no content", |f| {
            f["added_tokens"][0]["content"] = json!("")
        }),
        ("added_tokens", "far beyond", |f| {
            f["added_tokens"][0]["id"] = json!(9_000_000)
        }),
        ("post_processor", "id 77", |f| {
            f["post_processor"] =
                json!({"type": "BertProcessing", "cls": ["x", 77], "sep": ["y", 1]});
        }),
        ("pre_tokenizer", "FixedLength", |f| {
            f["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0});
        }),
        ("added_tokens", "ids", |f| {
            f["added_tokens"] = json!([{"id": 4, "content": "x"}, {"id": 5, "content": "x"}]);
        }),
    ];
    for (subject, detail, change) in cases {
        let error = tiny(change).unwrap_err();
        assert_eq!(error.code(), Code::TokenizerInvalid, "{error}");
        assert!(error.subject().contains(subject), "{subject}: {error}");
        assert!(error.detail().contains(detail), "{detail}: {error}");
    }
    let error = tiny(|f| f["model"]["type"] = json!("WordPiece")).unwrap_err();
    assert_eq!(error.code(), Code::TokenizerUnsupported);
    let error = Tokenizer::from_json(b"{", &Companions::default()).unwrap_err();
    assert_eq!(error.subject(), "tokenizer.json");
}

#[test]
fn ids_may_have_holes_and_an_added_token_has_the_id_its_file_gives_it() {
    let tokenizer = tiny(|f| {
        f["added_tokens"] =
            json!([{"id": 40, "content": "<s>", "special": true, "normalized": false}]);
    });
    let tokenizer = tokenizer.unwrap();
    assert_eq!(tokenizer.n_vocab(), 41);
    assert_eq!(tokenizer.encode("a<s>", MARKED).unwrap(), [0, 40]);
    assert_eq!(tokenizer.id_of("<s>"), Some(40));
    assert!(!tokenizer.has(39));
    assert_eq!(tokenizer.decode(&[0, 39, 40, 2], false), "a<s>ab");
    assert_eq!(tokenizer.decode(&[0, 39, 40, 2], true), "aab");
}

#[test]
fn text_that_merges_into_a_control_token_is_spelled_out() {
    // The vocabulary reaches `ab` by a merge, and the file calls it special.
    let tokenizer = tiny(|f| {
        f["added_tokens"] =
            json!([{"id": 2, "content": "ab", "special": true, "normalized": false}]);
    });
    let tokenizer = tokenizer.unwrap();
    assert_eq!(tokenizer.encode("ab", PLAIN).unwrap(), [0, 1]);
    assert_eq!(tokenizer.encode("ab", MARKED).unwrap(), [2]);
}

fn gguf(entries: Vec<(&str, Value)>) -> tandem::Result<Tokenizer> {
    let mut metadata = Metadata::default();
    for (key, value) in entries {
        metadata.insert(format!("tokenizer.ggml.{key}"), value);
    }
    Tokenizer::from_gguf(&metadata)
}

#[test]
fn a_gguf_key_at_fault_is_named() {
    let strings = |list: &[&str]| Value::Array(Array::Strings(list.iter().collect()));
    let name = |name: &str| Value::String(name.to_string());
    let bpe = |tokens: &[&str], merges: &[&str], pre: &str| {
        gguf(vec![
            ("model", name("gpt2")),
            ("pre", name(pre)),
            ("tokens", strings(tokens)),
            ("merges", strings(merges)),
        ])
    };
    assert!(bpe(&["a", "b", "ab"], &["a b"], "smollm").is_ok());
    let spm = |scores: Vec<f32>| {
        gguf(vec![
            ("model", name("llama")),
            ("tokens", strings(&["a", "b"])),
            ("scores", Value::Array(Array::F32(scores))),
        ])
    };
    let cases = [
        (
            bpe(&["a", "b", "a"], &[], "gpt-2"),
            "tokens",
            "the ids 0 and 2",
        ),
        (bpe(&["a", "b"], &["a c"], "gpt-2"), "merges[0]", "\"c\""),
        (
            bpe(&["a", "b"], &["ab"], "gpt-2"),
            "merges[0]",
            "not two tokens",
        ),
        (bpe(&[], &[], "gpt-2"), "tokens", "empty"),
        (bpe(&["a"], &[], "nonesuch"), "pre", "llama-bpe"),
        (spm(vec![0.0]), "scores", "1 values for 2 tokens"),
        (spm(vec![0.0, f32::NAN]), "scores[1]", "not a number"),
        (
            gguf(vec![("model", name("rwkv")), ("tokens", strings(&["a"]))]),
            "model",
            "rwkv",
        ),
        (gguf(vec![("tokens", strings(&["a"]))]), "model", "not in"),
        (gguf(vec![("model", name("llama"))]), "tokens", "not in"),
    ];
    for (built, subject, detail) in cases {
        let error = built.unwrap_err();
        assert!(error.subject().contains(subject), "{subject}: {error}");
        assert!(error.detail().contains(detail), "{detail}: {error}");
    }
}

#[test]
fn a_bad_special_id_and_a_missing_pre_are_noted() {
    let tokenizer = gguf(vec![
        ("model", Value::String("gpt2".into())),
        (
            "tokens",
            Value::Array(Array::Strings(["a", "b"].iter().collect())),
        ),
        (
            "merges",
            Value::Array(Array::Strings([""; 0].iter().collect())),
        ),
        ("eos_token_id", Value::Unsigned(u64::from(u32::MAX))),
    ]);
    let tokenizer = tokenizer.unwrap();
    assert_eq!(tokenizer.eos_id(), None);
    let notes = tokenizer.notes().join("\n");
    assert!(notes.contains("tokenizer.ggml.eos_token_id"), "{notes}");
    assert!(notes.contains("tokenizer.ggml.pre"), "{notes}");
}

#[test]
fn gemma4_is_bpe_over_sentencepieces_spelling() {
    let tokens = ["a", "▁", "▁a", "\n\n", "<0xC3>", "<0xA9>", "<turn|>", "\n"];
    let tokenizer = gguf(vec![
        ("model", Value::String("gemma4".into())),
        (
            "tokens",
            Value::Array(Array::Strings(tokens.iter().collect())),
        ),
        (
            "token_type",
            Value::Array(Array::I32(vec![1, 1, 1, 1, 6, 6, 3, 1])),
        ),
        (
            "merges",
            Value::Array(Array::Strings(["▁ a"].iter().collect())),
        ),
    ]);
    let tokenizer = tokenizer.unwrap();
    let ids = tokenizer.encode("a a\n\né\n\n\n", PLAIN).unwrap();
    assert_eq!(ids, [0, 2, 3, 4, 5, 7, 7, 7]);
    assert_eq!(tokenizer.decode(&ids, false), "a a\n\né\n\n\n");
    assert_eq!(tokenizer.stop_ids(), [6]);
}

/// Prints how long things take: `cargo test --release --test tokenizer -- --ignored
/// --nocapture speed`.
#[test]
#[ignore = "measures"]
fn speed() {
    use std::time::Instant;
    let Some(story) = common::shared("data/corpora/tinystories.txt") else {
        return;
    };
    let story = std::fs::read_to_string(story).unwrap();
    let story = &story[..floor(&story, 100_000)];
    let vectors = vectors("gpt-2/ggml-vocab-gpt-2.gguf").unwrap();
    let mixed: String = vectors.iter().map(|v| v.0.as_str()).collect();
    let mixed = mixed.repeat(100_000 / mixed.len() + 1);
    let spaces = " ".repeat(100_000);
    let lines = " \n".repeat(50_000);
    let letters = "a".repeat(100_000);

    let mut tokenizers = Vec::new();
    let mut timed = |name: &str, build: &dyn Fn() -> Option<Tokenizer>| {
        let start = Instant::now();
        if let Some(tokenizer) = build() {
            let ms = start.elapsed().as_secs_f64() * 1e3;
            eprintln!("build {name}: {} ids in {ms:.0} ms", tokenizer.n_vocab());
            tokenizers.push((name.to_string(), tokenizer));
        }
    };
    let (vocab, merges) = (
        text("qwen2.5/vocab.json").unwrap(),
        text("qwen2.5/merges.txt").unwrap(),
    );
    let gguf = as_gguf(&vocab, &merges, &[(151_645, "<|im_end|>")], "qwen2");
    let json = as_json(&vocab, &merges, &[(151_645, "<|im_end|>")], "qwen2", false).to_string();
    let smollm = text("smollm2/tokenizer.json").unwrap();
    let spm = metadata("llama-spm.gguf").unwrap();
    timed("qwen2.5 GGUF", &|| Tokenizer::from_gguf(&gguf).ok());
    timed("qwen2.5 tokenizer.json", &|| {
        Tokenizer::from_json(json.as_bytes(), &Companions::default()).ok()
    });
    timed("smollm2 tokenizer.json", &|| {
        Tokenizer::from_json(smollm.as_bytes(), &Companions::default()).ok()
    });
    timed("llama SPM GGUF", &|| Tokenizer::from_gguf(&spm).ok());
    for (name, tokenizer) in &tokenizers {
        for (what, text) in [
            ("stories", story),
            ("mixed scripts", mixed.as_str()),
            ("spaces", &spaces),
            ("blank lines", &lines),
            ("one word", &letters),
        ] {
            let start = Instant::now();
            let ids = tokenizer.encode(text, PLAIN).unwrap();
            let ms = start.elapsed().as_secs_f64() * 1e3;
            let start = Instant::now();
            let back = tokenizer.decode(&ids, false);
            let decode_ms = start.elapsed().as_secs_f64() * 1e3;
            eprintln!(
                "{name}, {what}: {} bytes, {} ids, encode {ms:.1} ms, decode {decode_ms:.1} ms",
                text.len(),
                ids.len()
            );
            assert!(back == text, "{name}, {what}");
        }
    }
}
