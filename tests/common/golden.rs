//! A tiny checkpoint of `tests/goldens/architectures` held against the logits that
//! transformers gives for it, natively and in the browser alike.

#![allow(dead_code, reason = "no test uses all of it")]

use tandem::backend::cpu::CpuBackend;
use tandem::backend::{Backend, CompileOptions, LogitRows, Rows};
use tandem::format::Checkpoint;
use tandem::model::Model;

/// The largest difference allowed, as a part of the row's largest logit.
const TOLERANCE: f32 = 1e-5;

/// On the CPU. `runs`: the case's `runs.json`; `logits`: its `logits.f32`.
pub async fn assert_logits(case: &str, checkpoint: &Checkpoint, runs: &str, logits: &[u8]) {
    assert_logits_on(
        &CpuBackend::default(),
        TOLERANCE,
        case,
        checkpoint,
        runs,
        logits,
    )
    .await;
}

/// On any backend, which may be off by `tolerance` of a row's largest logit.
pub async fn assert_logits_on(
    backend: &dyn Backend,
    tolerance: f32,
    case: &str,
    checkpoint: &Checkpoint,
    runs: &str,
    logits: &[u8],
) {
    let runs: Vec<Vec<u32>> = serde_json::from_str(runs).unwrap();
    let n_tokens: usize = runs.iter().map(Vec::len).sum();
    let n_vocab = logits.len() / 4 / n_tokens;
    let mut expected = logits
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    for ids in runs {
        let n_rows = ids.len();
        let expected: Vec<f32> = expected.by_ref().take(n_rows * n_vocab).collect();
        let found = forward(backend, checkpoint, ids).await;
        assert_eq!(found.len(), expected.len(), "{case}");
        let worst = worst(&found, &expected, n_vocab);
        assert!(
            worst <= tolerance,
            "{case}, {n_rows} tokens: off by {worst:.1e}"
        );
    }
}

/// The logits of every token of a sequence that fills its context: scalings that
/// depend on the context's length take the prompt's in transformers.
async fn forward(backend: &dyn Backend, checkpoint: &Checkpoint, ids: Vec<u32>) -> Vec<f32> {
    let model = Model::open(checkpoint).await.unwrap();
    let plan = model.plan(ids.len()).unwrap();
    let options = CompileOptions {
        capacity_tokens: ids.len(),
        ..CompileOptions::default()
    };
    let compiled = backend.compile(&plan, &checkpoint.tensors, &options);
    let mut executor = compiled.await.unwrap();
    let cache = executor.new_cache().unwrap();
    let rows = Rows::chain(ids);
    executor
        .forward(cache, &rows, LogitRows::All)
        .await
        .unwrap()
}

/// The largest difference, as a part of its row's largest logit.
fn worst(found: &[f32], expected: &[f32], n_vocab: usize) -> f32 {
    let rows = found.chunks(n_vocab).zip(expected.chunks(n_vocab));
    rows.map(|(found, expected)| {
        let largest = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
        let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        differences.fold(0f32, f32::max) / largest
    })
    .fold(0f32, f32::max)
}
