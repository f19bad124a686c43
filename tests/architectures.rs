//! Every architecture, from both containers, against logits from transformers
//! (`tests/goldens/architectures.py`).

#![cfg(not(target_arch = "wasm32"))]

#[path = "common/model.rs"]
mod model;

use std::path::{Path, PathBuf};

use model::{checkpoint, executor, forward};
use tandem::backend::Rows;
use tandem::format::{Checkpoint, Config};
use tandem::model::Model;

/// Of the largest logit of the row.
const TOLERANCE: f32 = 1e-5;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/architectures");
    let entries = std::fs::read_dir(root).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// A case's prompts, and the logits of each: `[tokens, vocabulary]`.
fn expected(folder: &Path) -> Vec<(Vec<u32>, Vec<f32>)> {
    let runs = std::fs::read_to_string(folder.join("runs.json")).unwrap();
    let runs: Vec<Vec<u32>> = serde_json::from_str(&runs).unwrap();
    let bytes = std::fs::read(folder.join("logits.f32")).unwrap();
    let mut logits = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let n_tokens: usize = runs.iter().map(Vec::len).sum();
    let n_vocab = bytes.len() / 4 / n_tokens;
    runs.into_iter()
        .map(|ids| {
            let n = ids.len() * n_vocab;
            (ids, logits.by_ref().take(n).collect())
        })
        .collect()
}

/// The largest difference of a run, as a part of its row's largest logit.
fn worst(found: &[f32], expected: &[f32], n_rows: usize) -> f32 {
    assert_eq!(found.len(), expected.len());
    let n_vocab = expected.len() / n_rows;
    let rows = found.chunks(n_vocab).zip(expected.chunks(n_vocab));
    rows.map(|(found, expected)| {
        let largest = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
        let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        differences.fold(0f32, f32::max) / largest
    })
    .fold(0f32, f32::max)
}

fn assert_logits(case: &str, folder: &Path, checkpoint: &Checkpoint) {
    for (ids, expected) in expected(folder) {
        // Scalings that depend on the context's length: transformers takes the prompt's.
        let mut executor = executor(checkpoint, ids.len()).unwrap();
        let cache = executor.new_cache().unwrap();
        let rows = Rows::chain(ids);
        let found = forward(executor.as_mut(), cache, &rows).unwrap();
        let worst = worst(&found, &expected, rows.len());
        println!("{case}, {} tokens: {worst:.1e}", rows.len());
        assert!(
            worst <= TOLERANCE,
            "{case}, {} tokens: off by {worst:.1e}",
            rows.len()
        );
    }
}

#[test]
fn every_architecture_gives_the_logits_of_transformers() {
    let cases = cases();
    assert!(cases.len() >= 18, "only {} cases", cases.len());
    for folder in cases {
        let case = name(&folder);
        let safetensors = checkpoint(&folder.join("model.safetensors")).unwrap();
        assert_logits(&format!("{case}, safetensors"), &folder, &safetensors);
        if folder.join("model.gguf").exists() {
            let gguf = checkpoint(&folder.join("model.gguf")).unwrap();
            assert_logits(&format!("{case}, gguf"), &folder, &gguf);
        }
    }
}

#[test]
fn both_spellings_of_a_configuration_mean_the_same_model() {
    for folder in cases() {
        let mut checkpoint = checkpoint(&folder.join("model.safetensors")).unwrap();
        let published = pollster::block_on(Model::open(&checkpoint)).unwrap();
        let saved = std::fs::read_to_string(folder.join("config-v5.json")).unwrap();
        checkpoint.config = Config::HuggingFace(serde_json::from_str(&saved).unwrap());
        let saved = pollster::block_on(Model::open(&checkpoint)).unwrap();
        assert_eq!(published, saved, "{}", name(&folder));
    }
}
