//! The same ids by every route that leads to a tokenizer.

use serde_json::Value as Json;
use tandem::Code;
use tandem::format::{Checkpoint, Value};
use tandem::tokenizer::{Companions, Tokenizer};

use crate::common;
use crate::support::*;

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
