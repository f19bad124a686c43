//! Every architecture, from both containers, against logits from transformers
//! (`tests/goldens/architectures.py`).

#![cfg(not(target_arch = "wasm32"))]

#[path = "common/golden.rs"]
mod golden;

use std::path::{Path, PathBuf};

use tandem::format::{Checkpoint, Config};
use tandem::model::Model;

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

fn checkpoint(path: &Path) -> Checkpoint {
    pollster::block_on(Checkpoint::open_path(path)).unwrap()
}

fn assert_container(folder: &Path, file: &str) {
    let runs = std::fs::read_to_string(folder.join("runs.json")).unwrap();
    let logits = std::fs::read(folder.join("logits.f32")).unwrap();
    let case = format!("{}, {file}", name(folder));
    let checkpoint = checkpoint(&folder.join(file));
    pollster::block_on(golden::assert_logits(&case, &checkpoint, &runs, &logits));
}

#[test]
fn every_architecture_gives_the_logits_of_transformers() {
    let cases = cases();
    assert!(cases.len() >= 18, "only {} cases", cases.len());
    let mut n_gguf = 0;
    for folder in cases {
        assert_container(&folder, "model.safetensors");
        if folder.join("model.gguf").exists() {
            assert_container(&folder, "model.gguf");
            n_gguf += 1;
        }
    }
    assert!(n_gguf >= 15, "only {n_gguf} GGUF files");
}

#[test]
fn both_spellings_of_a_configuration_mean_the_same_model() {
    for folder in cases() {
        let mut checkpoint = checkpoint(&folder.join("model.safetensors"));
        let published = pollster::block_on(Model::open(&checkpoint)).unwrap();
        let saved = std::fs::read_to_string(folder.join("config-v5.json")).unwrap();
        checkpoint.config = Config::HuggingFace(serde_json::from_str(&saved).unwrap());
        let saved = pollster::block_on(Model::open(&checkpoint)).unwrap();
        assert_eq!(published, saved, "{}", name(&folder));
    }
}
