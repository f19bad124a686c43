//! Files at fault are named, and odd ones are read as their reference reads them.

use serde_json::{Value as Json, json};
use tandem::Code;
use tandem::format::{Array, Metadata, Value};
use tandem::tokenizer::{Companions, Tokenizer};

use crate::support::*;

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
