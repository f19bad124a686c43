//! What passes and rounds of a few fixed plans cost, in counts that are the same on every
//! adapter: launches, submissions, bytes. They stand in `tests/counters.json`; whoever
//! changes one changes it there too (`cargo xtask bless`), where a reader of the change
//! sees it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value, json};
use tandem::backend::gpu::{CacheType, Gpu, GpuBackend};
use tandem::backend::{
    Counters, Draw, Executor, Guesses, LogitRows, Penalties, Round, Rows, Terms,
};
use tandem::chat::session::{LoadOptions, LoadedModel};
use tandem::format::{Checkpoint, DType};

use super::bench::{Random, gpu};
use super::row_independence::one_layer;

const DRAW: Draw = Draw {
    temperature: 0.8,
    top_k: 40,
    top_p: 0.95,
    min_p: 0.0,
    seed: 1,
};

/// Runs `f` twice, so that whatever is made once is there, and gives what the second cost.
fn cost(gpu: &Gpu, mut f: impl FnMut()) -> Value {
    f();
    let before = gpu.counters();
    f();
    let Counters {
        dispatches,
        submits,
        readback_bytes,
        buffer_creations,
        bind_group_creations,
        pipeline_creations,
        bytes_moved,
    } = gpu.counters().since(&before);
    json!({
        "dispatches": dispatches,
        "submits": submits,
        "readback_bytes": readback_bytes,
        "creations": buffer_creations + bind_group_creations + pipeline_creations,
        "bytes_moved": bytes_moved,
    })
}

fn load(gpu: &Rc<Gpu>, file: &str) -> LoadedModel {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(file);
    let options = LoadOptions {
        context_tokens: Some(512),
        ..Default::default()
    };
    let backend = GpuBackend::new(gpu.clone(), CacheType::F16);
    pollster::block_on(async {
        let checkpoint = Checkpoint::open_path(&path).await.unwrap();
        LoadedModel::load(&checkpoint, &backend, &options)
            .await
            .unwrap()
    })
}

fn measure(gpu: &Rc<Gpu>) -> Map<String, Value> {
    let mut found = Map::new();
    let mut bench = one_layer(DType::Q4_0, &mut Random::new(13)).compile(gpu, 256);
    for rows in [1, 4, 16, 64] {
        let tokens = Rows::chain(vec![2; rows]);
        let cost = cost(gpu, || {
            bench.executor_reset();
            bench.forward(&tokens, LogitRows::Last);
        });
        found.insert(
            format!("one layer, a pass of {rows}, the last logits"),
            cost,
        );
    }

    let mut target = load(gpu, "tandem-target-q8_0.gguf");
    let mut draft = load(gpu, "tandem-draft-q8_0.gguf");
    let (target, draft) = (target.executor(), draft.executor());
    let caches = [target.new_cache().unwrap(), draft.new_cache().unwrap()];
    let prompt = vec![7; 100];
    let read = |executor: &mut dyn Executor, cache| {
        executor.truncate(cache, 0);
        let rows = Rows::chain(&prompt[..99]);
        pollster::block_on(executor.forward(cache, &rows, LogitRows::None)).unwrap();
    };
    let reading = cost(gpu, || read(target, caches[0]));
    found.insert("the target reads a prompt of 99".into(), reading);
    read(draft, caches[1]);
    let penalised = Terms {
        penalties: Some(Penalties {
            repetition: 1.1,
            frequency: 0.0,
            presence: 0.0,
        }),
        logprobs: Some(5),
        ..Default::default()
    };
    for (k, terms, name) in [
        (0, Terms::default(), "plain decoding"),
        (1, Terms::default(), "a round of 1 guess"),
        (4, Terms::default(), "a round of 4 guesses"),
        (8, Terms::default(), "a round of 8 guesses"),
        (
            4,
            penalised,
            "a round of 4 guesses with penalties and logprobs",
        ),
    ] {
        let cost = cost(gpu, || {
            target.truncate(caches[0], 99);
            draft.truncate(caches[1], 99);
            let guesses = match k {
                0 => Guesses::Tokens(&[]),
                _ => Guesses::Model {
                    executor: &mut *draft,
                    cache: caches[1],
                    tokens: &prompt[99..],
                    num_tokens: k,
                },
            };
            let round = Round {
                tokens: &prompt[99..],
                guesses,
                draw: &DRAW,
                terms,
            };
            let done = pollster::block_on(target.round(caches[0], round)).unwrap();
            assert!(done.is_some());
        });
        found.insert(format!("the pair, {name}"), cost);
    }
    found
}

#[test]
fn what_passes_and_rounds_cost_is_what_is_written_down() {
    let Some(gpu) = gpu() else { return };
    let found = Value::Object(measure(&gpu));
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/counters.json");
    if std::env::var_os("TANDEM_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&found).unwrap();
        std::fs::write(&file, text + "\n").unwrap();
        return;
    }
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let cases = found.as_object().unwrap();
    assert_eq!(
        cases.keys().collect::<Vec<_>>(),
        written.as_object().unwrap().keys().collect::<Vec<_>>(),
    );
    for (case, cost) in cases {
        assert_eq!(
            cost, &written[case],
            "{case}: if that is meant, run `cargo xtask bless`"
        );
    }
}
