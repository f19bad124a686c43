//! Broken tokenizers: whatever the bytes, a tokenizer is built and works, or an error
//! says what is wrong; nothing panics, and nothing allocates out of proportion.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::fuzz;
use serde_json::{Value as Json, json};
use tandem::Code;
use tandem::format::{Array, Metadata, Value};
use tandem::tokenizer::{Companions, EncodeOptions, Span, Tokenizer};

#[global_allocator]
static ALLOCATOR: fuzz::CountingAllocator = fuzz::CountingAllocator;

/// Uses everything that a broken table could break.
fn exercise(tokenizer: &Tokenizer) {
    const TEXT: &str = "a <mask> b\n\n\n<|im_end|>é語🦙 Yes  <s>12 ﬁ\u{ad}…\0";
    for (add_special, parse_special) in [(false, false), (true, true)] {
        let options = EncodeOptions {
            add_special,
            parse_special,
        };
        if let Ok(ids) = tokenizer.encode(TEXT, options) {
            let text = tokenizer.decode(&ids, parse_special);
            let mut stream = tokenizer.detokenizer(parse_special);
            let mut streamed: String = ids.iter().map(|id| stream.push(*id)).collect();
            streamed += &stream.finish();
            assert_eq!(text, streamed);
        }
    }
    let spans = [("<s>x<|im", true), ("_end|>", false)];
    let _ = tokenizer.encode_spans(
        &spans.map(|(text, parse_special)| Span {
            text,
            parse_special,
        }),
        true,
    );
    let odd = [0, 1, 7, u32::MAX, tokenizer.n_vocab() as u32];
    tokenizer.decode(&odd, false);
    for id in odd {
        let _ = (tokenizer.token_bytes(id), tokenizer.is_control(id));
    }
    assert_eq!(tokenizer.same_as(tokenizer), Ok(()));
    assert!(tokenizer.stop_ids().iter().all(|id| tokenizer.has(*id)));
}

/// The outcome of a route on one input: used if it was built, looked at if not.
fn outcome(built: tandem::Result<Tokenizer>, n_bytes: usize, peak_bytes: usize) {
    // Tables, maps and their growth; a hundred times the file is out of proportion.
    let limit = 100 * n_bytes + (8 << 20);
    assert!(peak_bytes < limit, "{peak_bytes} bytes for {n_bytes}");
    match built {
        Ok(tokenizer) => exercise(&tokenizer),
        Err(error) => {
            let codes = [
                Code::TokenizerInvalid,
                Code::TokenizerUnsupported,
                Code::ConfigInvalid,
            ];
            assert!(codes.contains(&error.code()), "{error}");
            assert!(!error.subject().is_empty() && !error.detail().is_empty());
        }
    }
}

/// Small tokenizers that have every part, as JSON.
fn corpus() -> Vec<Vec<u8>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/goldens/tokenizer/small.json");
    let small: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut corpus = Vec::new();
    for part in small.as_object().unwrap().values() {
        let mut file = part["tokenizer"].clone();
        shorten(&mut file);
        corpus.push(file.to_string().into_bytes());
    }
    corpus.extend(every_stage());
    corpus
}

/// Tiny tokenizers that between them have every kind of stage that is supported.
fn every_stage() -> Vec<Vec<u8>> {
    let split = |behavior: &str, invert: bool| json!({"type": "Split", "pattern": {"Regex": "\\s+|[a-c]"}, "behavior": behavior, "invert": invert});
    let byte_level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": regex});
    let pre_tokenizers = [
        split("Removed", false),
        split("Isolated", true),
        split("MergedWithPrevious", false),
        split("MergedWithNext", false),
        split("Contiguous", true),
        json!({"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated", "invert": false}),
        json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": false}, byte_level(true)]}),
        byte_level(false),
        json!({"type": "Punctuation", "behavior": "Contiguous"}),
        json!({"type": "UnicodeScripts"}),
        json!({"type": "BertPreTokenizer"}),
        json!({"type": "Whitespace"}),
        json!({"type": "WhitespaceSplit"}),
        json!({"type": "CharDelimiterSplit", "delimiter": "a"}),
        json!({"type": "FixedLength", "length": 2}),
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}),
    ];
    let normalizers = [
        json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}),
        json!({"type": "Strip", "strip_left": true, "strip_right": true}),
        json!({"type": "StripAccents"}),
        json!({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Nmt"}]}),
        json!({"type": "NFKD"}),
        json!({"type": "NFKC"}),
        json!({"type": "Lowercase"}),
        json!({"type": "ByteLevel"}),
        json!({"type": "Prepend", "prepend": "▁"}),
        json!({"type": "Replace", "pattern": {"Regex": "\\s{2,}|$"}, "content": "é"}),
    ];
    let decoders = [
        json!(null),
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
        json!({"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "a"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 2, "stop": 0}]}),
    ];
    let post_processors = [
        json!({"type": "RobertaProcessing", "sep": ["b", 1], "cls": ["a", 0], "trim_offsets": true, "add_prefix_space": true}),
        json!(null),
    ];
    let models = [
        json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<unk>": 3}, "merges": ["a b"], "unk_token": "<unk>", "fuse_unk": true}),
        json!({"type": "BPE", "vocab": {"a": 0, "##b": 1, "ab": 2, "b</w>": 3, "##b</w>": 4}, "merges": [["a", "##b"]],
            "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>", "ignore_merges": true}),
        json!({"type": "WordLevel", "vocab": {"a": 0, "b": 1, "[UNK]": 2}, "unk_token": "[UNK]"}),
        json!({"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5], ["<0xC3>", -9.0]], "unk_id": 0, "byte_fallback": true}),
    ];
    let n = pre_tokenizers.len();
    let file = |i: usize| {
        json!({
            "added_tokens": [{"id": 1, "content": "b", "special": true, "normalized": i.is_multiple_of(2), "lstrip": true, "single_word": true},
                {"id": 9, "content": "<s>", "special": true, "normalized": i.is_multiple_of(3), "rstrip": true}],
            "normalizer": normalizers[i % normalizers.len()], "pre_tokenizer": pre_tokenizers[i % n],
            "decoder": decoders[i % decoders.len()], "post_processor": post_processors[i % post_processors.len()],
            "model": models[i % 7 % models.len()],
        })
    };
    (0..3 * n)
        .map(|i| file(i).to_string().into_bytes())
        .collect()
}

/// Keeps a vocabulary that still fits together, so that mutations hit other parts too.
fn shorten(file: &mut Json) {
    let model = &mut file["model"];
    if let Some(list) = model["vocab"].as_array_mut() {
        list.truncate(60);
        return;
    }
    let ids = model["vocab"].as_object_mut().unwrap();
    ids.retain(|token, id| id.as_u64().unwrap() < 270 || token.chars().count() == 1);
    let kept = ids.clone();
    let merges = model["merges"].as_array_mut().unwrap();
    let text = |m: &Json, i: usize| m[i].as_str().unwrap_or_default().to_string();
    merges.retain(|m| {
        let (a, b) = (text(m, 0), text(m, 1));
        [&a, &b, &format!("{a}{b}")]
            .iter()
            .all(|t| kept.contains_key(*t))
    });
    merges.truncate(8);
}

#[test]
fn a_broken_tokenizer_json_is_an_error_or_works() {
    let corpus = corpus();
    for bytes in &corpus {
        let built = Tokenizer::from_json(bytes, &Companions::default());
        exercise(&built.expect("the corpus itself must work"));
    }
    fuzz::run("tokenizer.json", &corpus, |bytes| {
        let (built, peak) =
            fuzz::peak_bytes(|| Tokenizer::from_json(bytes, &Companions::default()));
        outcome(built, bytes.len(), peak);
    });
}

#[test]
fn broken_files_beside_a_vocabulary_are_errors_or_work() {
    // Four texts, separated by a byte that none of them has.
    let corpus = [
        "{\"a\":0,\"b\":1,\"ab\":2,\"Ġ\":3,\"Ċ\":4}\u{1}#version: 0.2\na b\n\u{1}\
         {\"tokenizer_class\":\"Qwen2Tokenizer\",\"eos_token\":\"<|im_end|>\",\"add_eos_token\":true,\
         \"added_tokens_decoder\":{\"5\":{\"content\":\"<|im_end|>\",\"special\":true,\"lstrip\":true}}}\u{1}\
         {\"<s>\":6,\"ab\":2}\u{1}{\"eos_token_id\":[5,6],\"bos_token_id\":6}",
    ]
    .map(|text| text.as_bytes().to_vec());
    fuzz::run("vocab.json", &corpus, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let parts: Vec<&str> = text.splitn(5, '\u{1}').collect();
        let companions = Companions {
            tokenizer_config: parts.get(2).copied(),
            added_tokens: parts.get(3).copied(),
            generation_config: parts.get(4).copied(),
            ..Companions::default()
        };
        let merges = parts.get(1).copied().unwrap_or_default();
        let (built, peak) =
            fuzz::peak_bytes(|| Tokenizer::from_vocab_merges(parts[0], merges, &companions));
        outcome(built, bytes.len(), peak);
    });
}

/// A GGUF file's key-values, from JSON: mutating JSON breaks them in more telling ways
/// than mutating the container, which has its own fuzzing.
fn metadata(entries: &Json) -> Metadata {
    let mut metadata = Metadata::default();
    for (key, value) in entries.as_object().into_iter().flatten() {
        let value = match value {
            Json::String(text) => Value::String(text.clone()),
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(n) => match (n.as_u64(), n.as_i64()) {
                (Some(n), _) => Value::Unsigned(n),
                (_, Some(n)) => Value::Signed(n),
                _ => Value::F64(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::Array(list) if list.iter().all(Json::is_string) => {
                let texts = list.iter().filter_map(Json::as_str);
                Value::Array(Array::Strings(texts.collect()))
            }
            Json::Array(list) if list.iter().all(Json::is_i64) => {
                let numbers = list.iter().filter_map(Json::as_i64);
                Value::Array(Array::I32(numbers.map(|n| n as i32).collect()))
            }
            Json::Array(list) => {
                let number = |n: &Json| n.as_f64().map_or(f32::NAN, |n| n as f32);
                Value::Array(Array::F32(list.iter().map(number).collect()))
            }
            _ => continue,
        };
        metadata.insert(format!("tokenizer.ggml.{key}"), value);
    }
    metadata
}

#[test]
fn a_broken_gguf_vocabulary_is_an_error_or_works() {
    let spm = json!({
        "model": "llama",
        "tokens": ["<unk>", "<s>", "</s>", "<0x0A>", "<0xE2>", "▁", "a", "▁a", "ab", "b", "<tool_call>", "  ", ""],
        "scores": [0.0, 0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.5, -5.0, 0.0, 0.0, -9.0],
        "token_type": [2, 3, 3, 6, 6, 1, 1, 1, 5, 1, 4, 4, 5],
        "bos_token_id": 1, "eos_token_id": 2, "add_space_prefix": true, "add_eos_token": true,
    });
    let bpe = json!({
        "model": "gpt2", "pre": "llama-bpe",
        "tokens": ["a", "b", "Ġ", "Ċ", "ab", "Ġab", "<|im_end|>", "[PAD7]", "  "],
        "token_type": [1, 1, 1, 1, 1, 1, 3, 5, 4],
        "merges": ["a b", "Ġ ab"], "bos_token_id": 6, "eos_token_id": -1,
    });
    let gemma4 = json!({
        "model": "gemma4", "tokens": ["a", "▁", "▁a", "\n\n", "<0xC3>", "<turn|>"],
        "token_type": [1, 1, 1, 1, 6, 3], "merges": ["▁ a"],
    });
    let corpus: Vec<Vec<u8>> = [spm, bpe, gemma4]
        .iter()
        .map(|entries| entries.to_string().into_bytes())
        .collect();
    for bytes in &corpus {
        let entries: Json = serde_json::from_slice(bytes).unwrap();
        let tokenizer = Tokenizer::from_gguf(&metadata(&entries)).unwrap();
        exercise(&tokenizer);
    }
    fuzz::run("GGUF vocabulary", &corpus, |bytes| {
        let Ok(entries) = serde_json::from_slice::<Json>(bytes) else {
            return;
        };
        let metadata = metadata(&entries);
        let (built, peak) = fuzz::peak_bytes(|| Tokenizer::from_gguf(&metadata));
        outcome(built, bytes.len(), peak);
    });
}
