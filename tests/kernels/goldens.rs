//! Whole models on the GPU: every golden, with caches in f32, against transformers.

use std::path::Path;

use tandem::backend::gpu::{CacheType, GpuBackend};
use tandem::format::Checkpoint;

use super::bench::gpu;
use super::common::shared;
use super::expected::assert_matches_expected_on;
use super::golden::assert_logits_on;

/// Of a row's largest logit. The CPU is held to 1e-5; the GPU may contract and reorder.
const TOLERANCE: f32 = 4e-5;

#[test]
fn every_architecture_gives_the_logits_of_transformers() {
    let Some(gpu) = gpu() else { return };
    let backend = GpuBackend::new(gpu, CacheType::F32);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/architectures");
    let entries = std::fs::read_dir(root).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 18, "only {} cases", folders.len());
    for folder in folders {
        let runs = std::fs::read_to_string(folder.join("runs.json")).unwrap();
        let logits = std::fs::read(folder.join("logits.f32")).unwrap();
        let name = folder.file_name().unwrap().to_string_lossy();
        // One container is enough here: the CPU's test holds both to be the same model.
        let gguf = folder.join("model.gguf");
        let path = if gguf.exists() {
            gguf
        } else {
            folder.join("model.safetensors")
        };
        let checkpoint = pollster::block_on(Checkpoint::open_path(&path)).unwrap();
        let done = assert_logits_on(&backend, TOLERANCE, &name, &checkpoint, &runs, &logits);
        pollster::block_on(done);
    }
}

#[test]
fn a_real_model_says_what_transformers_says() {
    let Some(folder) = shared("data/weights/tinystories-656k-bf16") else {
        return;
    };
    let Some(gpu) = gpu() else { return };
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let checkpoint = pollster::block_on(Checkpoint::open_path(&folder)).unwrap();
    let backend = GpuBackend::new(gpu, CacheType::F32);
    pollster::block_on(assert_matches_expected_on(&backend, &checkpoint, &expected));
}

#[test]
fn every_shader_compiles() {
    let Some(gpu) = gpu() else { return };
    let n = pollster::block_on(tandem::backend::gpu::compile_all(&gpu)).unwrap();
    assert!(n > 100, "only {n}");
}
