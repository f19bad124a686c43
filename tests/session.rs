//! A real model through the whole house: bytes to words, alone and with a draft.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::rc::Rc;
use std::time::Instant;

use pollster::block_on;
use tandem::backend::cpu::CpuBackend;
use tandem::chat::session::{ClassifyRequest, LoadOptions, LoadedModel, ReplyRequest, Session};
use tandem::chat::template::{LocalTime, RenderRequest};
use tandem::decode::constraint::ConstraintSpec;
use tandem::decode::cost::DraftLength;
use tandem::decode::draft::NgramDrafter;
use tandem::decode::score::common_prefix;
use tandem::decode::{GenerateOptions, Generation, SamplingParams, Step};
use tandem::format::Checkpoint;

const STORY: &str = "Once upon a time, there was a little girl named Lily.";

fn load(path: &std::path::Path) -> LoadedModel {
    let checkpoint = block_on(Checkpoint::open_path(path)).unwrap();
    block_on(LoadedModel::load(
        &checkpoint,
        &CpuBackend::default(),
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

/// The pair that ships, or its target alone: its vocabulary can spell JSON.
fn shipped(draft: bool) -> Option<Session> {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let [target, small] =
        ["target", "draft"].map(|role| models.join(format!("tandem-{role}-q8_0.gguf")));
    if !target.exists() {
        common::skip("models", "the embedded pair is not here");
        return None;
    }
    let clock = Rc::new(|| 0.0);
    let draft = draft.then(|| load(&small));
    Some(Session::new(load(&target), draft, clock).unwrap())
}

struct Reply {
    text: String,
    ids: Vec<u32>,
    reused: usize,
    draft_read: usize,
    accepted: usize,
}

fn reply(session: &mut Session, prompt: &[u32], options: GenerateOptions) -> Reply {
    let mut generation = session.reply(prompt, options).unwrap();
    let reply = read(&mut generation);
    let costs = generation.costs().clone();
    drop(generation);
    session.learn(costs);
    reply
}

fn finish(mut generation: Generation<'_>) -> Reply {
    read(&mut generation)
}

fn read(generation: &mut Generation<'_>) -> Reply {
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
    let usage = generation.usage();
    let accepted = generation.speculation().num_accepted_tokens;
    Reply {
        text,
        ids,
        reused: usage.reused_tokens,
        draft_read: usage.draft_read_tokens,
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

/// The pair that ships, and a model that drafts for itself: guessing in several ways
/// changes no word either.
#[test]
fn trees_change_nothing_about_a_real_models_words() {
    let mut worlds = Vec::new();
    worlds.extend(session(false).zip(session(true)));
    worlds.extend(shipped(false).zip(shipped(true)));
    for (mut alone, mut pair) in worlds {
        let prompt = alone.encode_text(STORY, false).unwrap();
        let mut accepted = 0;
        for temperature in [0.0, 0.7, 1.0, 1.5] {
            for penalty in [1.0, 1.2] {
                let with = |length, tree| {
                    let mut options = options(temperature, length);
                    options.max_tokens = Some(40);
                    options.tree = tree;
                    options.sampling.top_p = 0.95;
                    options.sampling.repetition_penalty = penalty;
                    options
                };
                let plain = reply(&mut alone, &prompt, with(DraftLength::Fixed(0), false));
                for length in [
                    DraftLength::Fixed(3),
                    DraftLength::Fixed(12),
                    DraftLength::Auto,
                ] {
                    let tree = reply(&mut pair, &prompt, with(length, true));
                    assert_eq!(
                        (&tree.ids, &tree.text),
                        (&plain.ids, &plain.text),
                        "T = {temperature}, {length:?}"
                    );
                    accepted += tree.accepted;
                }
            }
        }
        assert!(accepted > 100, "{accepted} drafts accepted");
    }
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
fn the_second_turn_of_a_long_chat_reads_only_its_new_tokens_into_both_models() {
    let (Some(mut warm), Some(mut fresh)) = (shipped(true), shipped(true)) else {
        return;
    };
    let message = |role: &str, text: &str| serde_json::json!({ "role": role, "content": text });
    let mut messages = vec![message("system", "Be brief.")];
    for n in 0..12 {
        messages.push(message(
            "user",
            &format!("{STORY} What did she see on day {n}?"),
        ));
        messages.push(message(
            "assistant",
            &format!("On day {n} she saw {n} birds in a tree."),
        ));
    }
    messages.push(message("user", "And what did she do then?"));
    let encode = |session: &Session, messages: &[serde_json::Value]| {
        let request = RenderRequest {
            add_generation_prompt: true,
            ..RenderRequest::new(messages, LocalTime::from_unix(0))
        };
        session.encode_messages(&request).unwrap()
    };
    for temperature in [0.0, 0.8] {
        let options = || options(temperature, DraftLength::Fixed(4));
        let prompt = encode(&warm, &messages);
        assert!(prompt.len() > 400, "{} tokens", prompt.len());
        let first = reply(&mut warm, &prompt, options());
        messages.push(message("assistant", first.text.trim()));
        messages.push(message("user", "Tell me more about it."));
        let longer = encode(&warm, &messages);
        let shared = prompt.iter().chain(&first.ids).zip(&longer);
        let shared = shared.take_while(|(a, b)| a == b).count();
        assert!(shared >= prompt.len(), "{shared} tokens");
        let second = reply(&mut warm, &longer, options());
        let n_new = longer.len() - 1 - second.reused;
        // The cache lacks the last token of the reply, and the draft's a few more.
        assert!(second.reused + 1 >= shared, "{} of {shared}", second.reused);
        assert!(second.draft_read >= n_new && second.draft_read <= n_new + 4);
        let again = reply(&mut fresh, &longer, options());
        assert_eq!((again.reused, again.draft_read), (0, longer.len() - 1));
        assert_eq!((again.ids, again.text), (second.ids, second.text));
        assert!(second.accepted > 0);
        fresh = shipped(true).expect("it was there");
    }
}

#[test]
fn several_replies_read_their_prompt_once() {
    let (Some(mut alone), Some(mut pair)) = (session(false), session(true)) else {
        return;
    };
    let prompt = alone.encode_text(STORY, false).unwrap();
    let request = ReplyRequest::from(options(1.0, DraftLength::Fixed(3)));
    let mut texts = std::collections::HashSet::new();
    for index in 0..4 {
        let got = finish(pair.nth_reply(&prompt, &request, index).unwrap());
        let reused = if index == 0 { 0 } else { prompt.len() - 1 };
        assert_eq!(got.reused, reused, "reply {index}");
        let mut by_itself = options(1.0, DraftLength::Fixed(0));
        by_itself.sampling.seed += index as u64;
        assert_eq!(got.ids, reply(&mut alone, &prompt, by_itself).ids);
        assert!(got.accepted > 0);
        texts.insert(got.text);
    }
    assert_eq!(texts.len(), 4, "each has its own seed");
}

#[test]
fn a_schema_holds_a_real_model_to_it() {
    let (Some(mut alone), Some(mut pair)) = (shipped(false), shipped(true)) else {
        return;
    };
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "name": { "enum": ["Lily", "Tom"] },
            "age": { "type": "integer", "minimum": 1, "maximum": 9 },
        },
        "required": ["name", "age"],
        "additionalProperties": false,
    });
    let prompt = alone.encode_text(STORY, false).unwrap();
    let mut accepted = 0;
    for seed in 0..6 {
        let request = |length| {
            let mut options = options(1.0, length);
            options.sampling.seed = seed;
            ReplyRequest {
                options,
                constraint: Some(ConstraintSpec::json(schema.clone())),
            }
        };
        let plain = finish(
            alone
                .reply(&prompt, request(DraftLength::Fixed(0)))
                .unwrap(),
        );
        let value: serde_json::Value = serde_json::from_str(&plain.text).unwrap();
        assert!(["Lily", "Tom"].contains(&value["name"].as_str().unwrap()));
        assert!((1..=9).contains(&value["age"].as_i64().unwrap()));
        let drafted = finish(pair.reply(&prompt, request(DraftLength::Fixed(4))).unwrap());
        assert_eq!((drafted.ids, drafted.text), (plain.ids, plain.text));
        accepted += drafted.accepted;
    }
    assert!(accepted > 0);
    let unsupported = ReplyRequest {
        constraint: Some(ConstraintSpec::json(serde_json::json!({ "not": {} }))),
        ..ReplyRequest::default()
    };
    let error = pair.reply(&prompt, unsupported).err().unwrap();
    assert_eq!(error.code().as_str(), "constraint_invalid");
    assert!(error.to_string().contains("not"), "{error}");
}

#[test]
fn a_texts_score_is_what_its_tokens_were_drawn_with() {
    let Some(mut alone) = session(false) else {
        return;
    };
    let prompt = alone.encode_text(STORY, false).unwrap();
    let mut options = options(0.0, DraftLength::Fixed(0));
    options.logprobs.drawn = true;
    let mut generation = alone.reply(&prompt, options).unwrap();
    let (mut text, mut logprobs) = (prompt.clone(), Vec::new());
    while let Some(step) = block_on(generation.step()).unwrap() {
        if let Step::Made { tokens, .. } = step {
            text.extend(tokens.iter().map(|token| token.id));
            logprobs.extend(tokens.iter().map(|token| token.logprob.unwrap()));
        }
    }
    drop(generation);
    let score = block_on(alone.score(&text)).unwrap();
    assert_eq!(score.logprobs[prompt.len() - 1..], logprobs);
}

#[test]
fn labels_are_ranked_by_how_well_they_fit() {
    let Some(mut alone) = session(false) else {
        return;
    };
    let labels = [" car", " dog", " bed"].map(String::from);
    let classify = |session: &mut Session, prompt, empty| {
        let request = ClassifyRequest::Text { prompt, empty };
        block_on(session.classify(request, &labels)).unwrap()
    };
    let prompt = "The boy was tired. He went to sleep in his";
    let ranked = classify(&mut alone, prompt, Some("He saw a"));
    assert_eq!(ranked[0].index, 2, "{ranked:?}");
    for label in &ranked {
        let score = |session: &mut Session, prompt: &str| {
            // Tokens reach across where prompt and label meet.
            let ids = |text: &str| session.encode_text(text, false).unwrap();
            let mut texts = vec![ids(prompt)];
            texts.extend(labels.iter().map(|label| ids(&format!("{prompt}{label}"))));
            let n_shared = common_prefix(&texts);
            let score = block_on(session.score(&texts[label.index + 1])).unwrap();
            let of_label = &score.logprobs[n_shared - 1..];
            of_label.iter().map(|&p| f64::from(p)).sum::<f64>()
        };
        assert!((score(&mut alone, prompt) - label.logprob).abs() < 1e-6);
        assert!((score(&mut alone, "He saw a") - label.empty_logprob).abs() < 1e-6);
    }
    let plain = classify(&mut alone, prompt, None);
    assert!(plain.iter().all(|label| label.empty_logprob == 0.0));
    let none = ClassifyRequest::Text {
        prompt,
        empty: None,
    };
    assert!(block_on(alone.classify(none, &[])).is_err());
    assert!(block_on(alone.classify(none, &[String::new()])).is_err());
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

/// A model that ships and has another vocabulary.
fn other_tokenizer() -> Option<std::path::PathBuf> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tandem-draft-q8_0.gguf");
    if !path.exists() {
        common::skip("models", "the embedded pair is not here");
        return None;
    }
    Some(path)
}
