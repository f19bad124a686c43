//! How long things take.

use tandem::tokenizer::{Companions, Tokenizer};

use crate::common;
use crate::support::*;

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
