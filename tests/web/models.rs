//! Models in the browser: the numbers are those that the native tests hold them to.

use std::rc::Rc;

use tandem::format::source::http::{HttpFolder, HttpSource};
use tandem::format::{Checkpoint, FileSet, MemorySource};
use wasm_bindgen_test::wasm_bindgen_test;

#[path = "../common/expected.rs"]
mod expected;
#[path = "../common/golden.rs"]
mod golden;
#[path = "../common/same_bits.rs"]
mod same_bits;
#[cfg(feature = "gpu")]
#[path = "../common/speculation.rs"]
mod speculation;

/// A file of a golden, as bytes that are part of the test.
macro_rules! golden_file {
    ($case:literal, $file:literal) => {
        include_bytes!(concat!("../goldens/architectures/", $case, "/", $file))
    };
}

/// A golden from its Hugging Face folder.
macro_rules! from_folder {
    ($($case:literal)*) => {$({
        let mut folder = FileSet::new($case);
        folder.add_bytes("config.json", golden_file!($case, "config.json").to_vec());
        folder.add_bytes("model.safetensors", golden_file!($case, "model.safetensors").to_vec());
        let checkpoint = Checkpoint::open_folder(&folder).await.unwrap();
        let runs = std::str::from_utf8(golden_file!($case, "runs.json")).unwrap();
        golden::assert_logits($case, &checkpoint, runs, golden_file!($case, "logits.f32")).await;
    })*};
}

/// A golden from its GGUF file.
macro_rules! from_gguf {
    ($($case:literal)*) => {$({
        let file = MemorySource::new($case, golden_file!($case, "model.gguf").to_vec());
        let checkpoint = Checkpoint::open_gguf(vec![Rc::new(file)]).await.unwrap();
        let runs = std::str::from_utf8(golden_file!($case, "runs.json")).unwrap();
        golden::assert_logits($case, &checkpoint, runs, golden_file!($case, "logits.f32")).await;
    })*};
}

#[wasm_bindgen_test]
async fn architectures_give_the_logits_of_transformers() {
    from_folder! { "llama-yarn" "qwen2-sliding" "gemma2" "phi3" "olmo2" }
    from_gguf! { "llama-llama3" "mistral" "qwen3" "gemma3" "phi3-longrope" "smollm3" "granite" }
}

#[cfg(feature = "gpu")]
#[wasm_bindgen_test]
async fn architectures_on_the_gpu_give_the_logits_of_transformers() {
    use tandem::backend::gpu::{CacheType, Gpu, GpuBackend};
    let gpu = match Gpu::open(&Default::default()).await {
        Ok(gpu) => gpu,
        Err(error) => return crate::skip("gpu", &error.to_string()),
    };
    let backend = GpuBackend::new(gpu, CacheType::F32);
    macro_rules! case {
        ($case:literal) => {
            let file = MemorySource::new($case, golden_file!($case, "model.gguf").to_vec());
            let checkpoint = Checkpoint::open_gguf(vec![Rc::new(file)]).await.unwrap();
            let runs = std::str::from_utf8(golden_file!($case, "runs.json")).unwrap();
            let logits = golden_file!($case, "logits.f32");
            golden::assert_logits_on(&backend, 4e-5, $case, &checkpoint, runs, logits).await;
        };
    }
    case!("gemma3");
    case!("qwen3");
}

/// A checkpoint that ships, as bytes that are part of the test.
#[cfg(feature = "gpu")]
macro_rules! shipped {
    ($file:literal) => {{
        let bytes = include_bytes!(concat!("../../models/", $file));
        let file = MemorySource::new($file, bytes.to_vec());
        Checkpoint::open_gguf(vec![Rc::new(file)]).await.unwrap()
    }};
}

#[wasm_bindgen_test]
async fn logits_have_the_bits_that_they_have_everywhere() {
    macro_rules! golden {
        ($case:literal) => {{
            let file = MemorySource::new($case, golden_file!($case, "model.gguf").to_vec());
            let checkpoint = Checkpoint::open_gguf(vec![Rc::new(file)]).await.unwrap();
            ($case, same_bits::digest(&checkpoint).await)
        }};
    }
    let found = [
        golden!("gemma2"),
        golden!("gemma3"),
        golden!("phi3-longrope"),
    ];
    assert_eq!(found, same_bits::DIGESTS);
}

#[cfg(feature = "gpu")]
#[wasm_bindgen_test]
async fn speculation_on_the_device_never_changes_the_text() {
    use tandem::backend::gpu::Gpu;
    let gpu = match Gpu::open(&Default::default()).await {
        Ok(gpu) => gpu,
        Err(error) => return crate::skip("gpu", &error.to_string()),
    };
    let comparison = speculation::Comparison {
        gpu,
        target: &shipped!("tandem-target-q8_0.gguf"),
        draft: &shipped!("tandem-draft-q8_0.gguf"),
        temperatures: &[0.7],
        lengths: &[3],
        max_tokens: 12,
    };
    let accepted = comparison.assert_same_words().await;
    assert!(accepted > 0, "no draft was accepted");
    let other = speculation::Comparison {
        max_tokens: 6,
        ..comparison
    };
    let [chains, trees] = other.assert_same_words_whatever_the_request().await;
    assert!(chains > 0 && trees > 0, "{chains} and {trees} accepted");
}

/// `TANDEM_SHARED_URL`, when this was compiled, says where the shared folder is served.
async fn check(copy: &str) {
    let Some(root) = option_env!("TANDEM_SHARED_URL") else {
        return crate::skip(
            "shared",
            "TANDEM_SHARED_URL was not set when this was built",
        );
    };
    let folder = format!("{root}/data/weights/{copy}");
    let checkpoint = Checkpoint::open_folder(&HttpFolder::new(&folder, Vec::new())).await;
    let checkpoint = checkpoint.unwrap();
    let expected = format!("{folder}/expected.json");
    let expected = HttpSource::open(&expected, &Vec::new()).await.unwrap();
    let expected = expected.expect("expected.json is served");
    let text = read(&expected).await;
    expected::assert_matches_expected(&checkpoint, &text).await;
}

async fn read(source: &impl tandem::format::ByteSource) -> String {
    let bytes = source.read(0..source.len_bytes()).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[wasm_bindgen_test]
async fn the_bf16_copy_says_what_transformers_says() {
    check("tinystories-656k-bf16").await;
}

#[wasm_bindgen_test]
async fn the_fp32_copy_says_what_transformers_says() {
    check("tinystories-656k-fp32").await;
}
