//! Tokenizers by every route, the texts to try them on, and what is asked of each.

use std::path::Path;

use serde_json::{Value as Json, json};
use tandem::format::{Array, Checkpoint, Config, Metadata, Value};
use tandem::tokenizer::{Companions, EncodeOptions, Tokenizer};

use crate::common;

pub const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};
pub const MARKED: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: true,
};
pub const PROMPT: EncodeOptions = EncodeOptions {
    add_special: true,
    parse_special: true,
};

pub fn golden(name: &str) -> Json {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/goldens/tokenizer").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn ids(list: &Json) -> Vec<u32> {
    serde_json::from_value(list.clone()).unwrap()
}

/// A text file of the shared tokenizers, or a skip.
pub fn text(path: &str) -> Option<String> {
    let path = common::shared(&format!("data/tokenizers/{path}"))?;
    Some(std::fs::read_to_string(path).unwrap())
}

pub fn metadata(path: &str) -> Option<Metadata> {
    let path = common::shared(&format!("data/tokenizers/{path}"))?;
    let checkpoint = pollster::block_on(Checkpoint::open_path(&path)).unwrap();
    match checkpoint.config {
        Config::Gguf(metadata) => Some(metadata),
        Config::HuggingFace(_) => panic!("{path:?} is no GGUF file"),
    }
}

/// `metadata` with some keys replaced.
pub fn with(metadata: &Metadata, changes: Vec<(&str, Value)>) -> Metadata {
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
pub fn vectors(path: &str) -> Option<Vec<(String, Vec<u32>)>> {
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
pub fn check(name: &str, tokenizer: &Tokenizer, cases: &[(String, Vec<u32>)]) {
    for (i, (text, ids)) in cases.iter().enumerate() {
        for options in [PLAIN, MARKED] {
            let got = tokenizer.encode(text, options).unwrap();
            assert_eq!(got, *ids, "{name}, case {i}: {text:?}");
        }
        assert_eq!(tokenizer.decode(ids, false), *text, "{name}, case {i}");
        check_stream(name, tokenizer, ids);
    }
}

pub fn check_stream(name: &str, tokenizer: &Tokenizer, ids: &[u32]) {
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
pub fn cuts(name: &str) -> Vec<String> {
    let golden = golden("cuts.json");
    let mut rows = golden["rows"].as_array().unwrap().iter();
    let has = |row: &&Json| row["names"].as_array().unwrap().contains(&json!(name));
    serde_json::from_value(rows.find(has).unwrap()["cuts"].clone()).unwrap()
}

/// The same vocabulary as a `tokenizer.json`.
pub fn as_json(vocab: &str, merges: &str, added: &[(u32, &str)], pre: &str, ignore: bool) -> Json {
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
pub fn as_gguf(vocab: &str, merges: &str, added: &[(u32, &str)], pre: &str) -> Metadata {
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

pub fn from_json(json: &Json) -> Tokenizer {
    Tokenizer::from_json(json.to_string().as_bytes(), &Companions::default()).unwrap()
}

/// A generator of numbers that is the same everywhere (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize) % n
    }
}

/// Every tokenizer that the shared data and the goldens give, by name.
pub fn all() -> Vec<(String, Tokenizer)> {
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

pub fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
