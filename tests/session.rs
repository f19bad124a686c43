//! A real model through the whole house: bytes to words, alone and with a draft.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::rc::Rc;
use std::time::Instant;

use pollster::block_on;
use tandem::backend::cpu::CpuBackend;
use tandem::chat::session::{LoadOptions, LoadedModel, Session};
use tandem::decode::cost::DraftLength;
use tandem::decode::draft::NgramDrafter;
use tandem::decode::{GenerateOptions, SamplingParams, Step};
use tandem::format::Checkpoint;

const STORY: &str = "Once upon a time, there was a little girl named Lily.";

fn load(path: &std::path::Path) -> LoadedModel {
    let checkpoint = block_on(Checkpoint::open_path(path)).unwrap();
    block_on(LoadedModel::load(
        &checkpoint,
        &CpuBackend,
        &LoadOptions::default(),
    ))
    .unwrap()
}

fn session(draft: bool) -> Option<Session> {
    let path = common::shared("data/weights/tinystories-656k-bf16")?;
    let start = Instant::now();
    let clock = Rc::new(move || start.elapsed().as_secs_f64());
    let mut session = Session::new(load(&path), draft.then(|| load(&path)), clock).unwrap();
    block_on(session.warm_up()).unwrap();
    Some(session)
}

struct Reply {
    text: String,
    ids: Vec<u32>,
    reused: usize,
    accepted: usize,
}

fn reply(session: &mut Session, prompt: &[u32], options: GenerateOptions) -> Reply {
    let mut generation = session.reply(prompt, options).unwrap();
    let (mut text, mut ids) = (String::new(), Vec::new());
    while let Some(step) = block_on(generation.step()).unwrap() {
        match step {
            Step::Prefilled { .. } => {}
            Step::Made { text: more, tokens } => {
                text += &more;
                ids.extend(tokens.iter().map(|token| token.id));
            }
            Step::Finished { text: more, .. } => text += &more,
        }
    }
    let (reused, accepted) = (
        generation.usage().reused_tokens,
        generation.speculation().num_accepted_tokens,
    );
    let costs = generation.costs().clone();
    drop(generation);
    session.learn(costs);
    Reply {
        text,
        ids,
        reused,
        accepted,
    }
}

fn options(temperature: f32, draft_length: DraftLength) -> GenerateOptions {
    GenerateOptions {
        max_tokens: Some(64),
        sampling: SamplingParams {
            temperature,
            seed: 5,
            ..Default::default()
        },
        draft_length,
        ..Default::default()
    }
}

#[test]
fn a_draft_changes_nothing_about_a_real_models_words() {
    let (Some(mut alone), Some(mut pair)) = (session(false), session(true)) else {
        return;
    };
    let prompt = alone.encode_text(STORY, false).unwrap();
    let mut accepted = 0;
    for temperature in [0.0, 0.8, 1.3] {
        let plain = reply(
            &mut alone,
            &prompt,
            options(temperature, DraftLength::Fixed(0)),
        );
        assert_eq!(plain.ids.len(), 64);
        for length in [
            DraftLength::Fixed(1),
            DraftLength::Fixed(4),
            DraftLength::Fixed(16),
            DraftLength::Auto,
        ] {
            let drafted = reply(&mut pair, &prompt, options(temperature, length));
            assert_eq!(
                (&drafted.ids, &drafted.text),
                (&plain.ids, &plain.text),
                "T = {temperature}, {length:?}"
            );
            accepted += drafted.accepted;
            let ngram = GenerateOptions {
                ngram: Some(NgramDrafter::default()),
                ..options(temperature, length)
            };
            assert_eq!(
                reply(&mut alone, &prompt, ngram).ids,
                plain.ids,
                "n-grams, T = {temperature}, {length:?}"
            );
        }
    }
    assert!(accepted > 200, "{accepted} drafts accepted");
}

#[test]
fn a_longer_conversation_reads_only_what_is_new() {
    let (Some(mut warm), Some(mut fresh)) = (session(true), session(false)) else {
        return;
    };
    let prompt = warm.encode_text(STORY, false).unwrap();
    let first = reply(&mut warm, &prompt, options(0.8, DraftLength::Auto));
    let longer: Vec<u32> = prompt
        .iter()
        .chain(&first.ids)
        .copied()
        .chain(prompt[1..].iter().copied())
        .collect();
    let second = reply(&mut warm, &longer, options(0.8, DraftLength::Auto));
    assert_eq!(second.reused, prompt.len() + first.ids.len() - 1);
    let again = reply(&mut fresh, &longer, options(0.8, DraftLength::Fixed(0)));
    assert_eq!((again.reused, again.ids), (0, second.ids));
}

#[test]
fn a_draft_with_another_tokenizer_is_refused() {
    let (Some(story), Some(golden)) = (
        common::shared("data/weights/tinystories-656k-bf16"),
        other_tokenizer(),
    ) else {
        return;
    };
    let error = Session::new(load(&story), Some(load(&golden)), Rc::new(|| 0.0))
        .err()
        .unwrap();
    assert_eq!(error.code().as_str(), "pair_mismatch");
}

/// A model that ships and has another vocabulary, once it does.
fn other_tokenizer() -> Option<std::path::PathBuf> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tandem-draft-q8_0.gguf");
    if !path.exists() {
        common::skip("models", "the embedded pair is not here");
        return None;
    }
    Some(path)
}
