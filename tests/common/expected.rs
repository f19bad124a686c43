//! A checkpoint held against an `expected.json` made with transformers, natively and
//! in the browser alike: nothing here knows where the bytes came from.

#![allow(dead_code, reason = "no test uses all of it")]

use serde_json::Value;
use tandem::backend::cpu::CpuBackend;
use tandem::backend::{Backend, CompileOptions, Executor, LogitRows, Rows};
use tandem::format::Checkpoint;
use tandem::model::Model;
use tandem::tokenizer::{EncodeOptions, Tokenizer};

/// Logits and log-probabilities may be off by this.
const TOLERANCE: f64 = 1e-4;

/// On the CPU: prompt ids, the last row's five highest logits, the prompt's log-probabilities and
/// the greedy continuation of every case in `expected`.
pub async fn assert_matches_expected(checkpoint: &Checkpoint, expected: &str) {
    assert_matches_expected_on(&CpuBackend::default(), checkpoint, expected).await;
}

/// On any backend.
pub async fn assert_matches_expected_on(
    backend: &dyn Backend,
    checkpoint: &Checkpoint,
    expected: &str,
) {
    let expected: Value = serde_json::from_str(expected).unwrap();
    let model = Model::open(checkpoint).await.unwrap();
    let capacity_tokens = 256;
    let plan = model.plan(capacity_tokens).unwrap();
    let options = CompileOptions {
        capacity_tokens,
        ..CompileOptions::default()
    };
    let compiled = backend.compile(&plan, &checkpoint.tensors, &options);
    let mut executor = compiled.await.unwrap();
    let tokenizer = Tokenizer::from_checkpoint(checkpoint).unwrap();
    let with_special = EncodeOptions {
        add_special: true,
        ..EncodeOptions::default()
    };
    let cases = expected["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let prompt = case["prompt"].as_str().unwrap();
        let found = tokenizer.encode(prompt, with_special).unwrap();
        assert_eq!(found, ids(&case["prompt_ids"]), "{prompt:?}");
        assert_case(executor.as_mut(), plan.n_vocab, case).await;
    }
}

async fn assert_case(executor: &mut dyn Executor, n_vocab: usize, case: &Value) {
    let prompt = case["prompt"].as_str().unwrap();
    let ids = ids(&case["prompt_ids"]);
    let cache = executor.new_cache().unwrap();
    let rows = Rows::chain(ids.clone());
    let logits = executor
        .forward(cache, &rows, LogitRows::All)
        .await
        .unwrap();

    let logprobs = case["prompt_logprobs"].as_array().unwrap();
    assert_eq!(logprobs.len(), ids.len() - 1);
    for (row, expected) in logprobs.iter().enumerate() {
        let found = logprob(&logits[row * n_vocab..][..n_vocab], ids[row + 1]);
        let expected = expected.as_f64().unwrap();
        assert!(
            (found - expected).abs() <= TOLERANCE,
            "{prompt:?}, log-probability of token {}: {found}, not {expected}",
            row + 1
        );
    }

    let mut last = logits[logits.len() - n_vocab..].to_vec();
    for (rank, pair) in case["last_logits_top5"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let (id, expected) = (
            pair[0].as_u64().unwrap() as usize,
            pair[1].as_f64().unwrap(),
        );
        let found = f64::from(last[id]);
        assert!(
            (found - expected).abs() <= TOLERANCE,
            "{prompt:?}, logit of {id}: {found}, not {expected}"
        );
        let higher = last.iter().filter(|&&logit| logit > last[id]).count();
        assert_eq!(higher, rank, "{prompt:?}, rank of {id}");
    }

    let expected = self::ids(&case["greedy_ids"]);
    let mut found = Vec::new();
    while found.len() < expected.len() {
        let highest = (0..n_vocab).max_by(|&a, &b| last[a].total_cmp(&last[b]).then(b.cmp(&a)));
        let id = highest.unwrap() as u32;
        found.push(id);
        let rows = Rows::chain([id]);
        last = executor
            .forward(cache, &rows, LogitRows::Last)
            .await
            .unwrap();
    }
    assert_eq!(found, expected, "{prompt:?}, greedy ids");
    executor.drop_cache(cache);
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn logprob(logits: &[f32], id: u32) -> f64 {
    let highest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let shifted = |logit: f32| f64::from(logit) - f64::from(highest);
    let total: f64 = logits.iter().map(|&logit| shifted(logit).exp()).sum();
    shifted(logits[id as usize]) - total.ln()
}
