use super::*;
use crate::decode::testing::{N_VOCAB, NoiseModel, ticking};
use crate::tokenizer::Companions;

/// One letter a token, so that texts are easy to read: `a` is 0.
fn letters() -> Tokenizer {
    let vocab: serde_json::Map<String, serde_json::Value> = (0..N_VOCAB as u8)
        .map(|id| (char::from(b'a' + id).to_string(), id.into()))
        .collect();
    let json = serde_json::json!({
        "version": "1.0",
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
        "decoder": { "type": "Fuse" },
    });
    Tokenizer::from_json(json.to_string().as_bytes(), &Companions::default()).unwrap()
}

struct Reply {
    text: String,
    ids: Vec<u32>,
    reason: FinishReason,
    usage: Usage,
    accepted: usize,
}

/// A target, its draft and what their caches hold, across replies.
struct World {
    target: NoiseModel,
    target_sequence: Sequence,
    draft: NoiseModel,
    draft_sequence: Sequence,
    tokenizer: Tokenizer,
}

impl World {
    fn new() -> Self {
        let mut target = NoiseModel::new(1, 2, 1.0);
        let mut draft = NoiseModel::new(1, 7, 0.8);
        let target_sequence = Sequence::new(&mut target).unwrap();
        let draft_sequence = Sequence::new(&mut draft).unwrap();
        Self {
            target,
            target_sequence,
            draft,
            draft_sequence,
            tokenizer: letters(),
        }
    }

    fn start<'w>(
        &'w mut self,
        prompt: &'w [u32],
        speculate: bool,
        options: GenerateOptions,
    ) -> Result<Generation<'w>> {
        let target = Lane {
            executor: &mut self.target,
            sequence: &mut self.target_sequence,
        };
        let draft = Lane {
            executor: &mut self.draft,
            sequence: &mut self.draft_sequence,
        };
        let draft = speculate.then_some(draft);
        Generation::new(
            target,
            draft,
            &self.tokenizer,
            prompt,
            options,
            Costs::default(),
            ticking(),
        )
    }

    fn reply(&mut self, prompt: &[u32], speculate: bool, options: GenerateOptions) -> Reply {
        let mut generation = self.start(prompt, speculate, options).unwrap();
        let (mut text, mut ids) = (String::new(), Vec::new());
        let reason = loop {
            match pollster::block_on(generation.step()).unwrap().unwrap() {
                Step::Prefilled {
                    done_tokens,
                    total_tokens,
                } => assert!(done_tokens < total_tokens),
                Step::Made { text: more, tokens } => {
                    text += &more;
                    ids.extend(tokens.iter().map(|token| token.id));
                }
                Step::Finished { text: more, reason } => {
                    text += &more;
                    break reason;
                }
            }
        };
        assert_eq!(pollster::block_on(generation.step()).unwrap(), None);
        let (usage, accepted) = (
            generation.usage(),
            generation.speculation().num_accepted_tokens,
        );
        assert_eq!(usage.completion_tokens, ids.len());
        Reply {
            text,
            ids,
            reason,
            usage,
            accepted,
        }
    }
}

const PROMPT: [u32; 4] = [3, 1, 4, 1];

fn options(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens: Some(max_tokens),
        sampling: SamplingParams {
            temperature: 0.8,
            seed: 11,
            ..Default::default()
        },
        draft_length: DraftLength::Fixed(5),
        ..Default::default()
    }
}

#[test]
fn stop_strings_end_the_same_reply_with_and_without_speculation() {
    let whole = World::new().reply(&PROMPT, false, options(120)).text;
    assert_eq!(whole.len(), 120);
    let mut accepted = 0;
    for (at, length) in [(10, 1), (23, 2), (40, 3), (77, 4), (100, 8)] {
        let stop = whole[at..at + length].to_string();
        let expected = &whole[..whole.find(&stop).unwrap()];
        for speculate in [false, true] {
            let options = GenerateOptions {
                stop: vec![stop.clone(), "~".into()],
                ..options(120)
            };
            let reply = World::new().reply(&PROMPT, speculate, options);
            assert_eq!(reply.text, expected, "stop at {stop:?}");
            assert_eq!(reply.reason, FinishReason::Stop);
            // The tokens reach to the end of the stop string and no further.
            assert_eq!(reply.ids.len(), expected.len() + length);
            accepted += reply.accepted;
        }
    }
    assert!(accepted > 30, "{accepted} drafts accepted");
}

#[test]
fn trees_end_where_their_reply_does() {
    let plain = World::new().reply(&PROMPT, false, options(120));
    let tree = |max_tokens| GenerateOptions {
        tree: true,
        draft_length: DraftLength::Fixed(9),
        ..options(max_tokens)
    };
    let mut accepted = 0;
    for (at, length) in [(10, 1), (23, 2), (40, 3), (77, 4)] {
        let stop = plain.text[at..at + length].to_string();
        let expected = &plain.text[..plain.text.find(&stop).unwrap()];
        let reply = World::new().reply(
            &PROMPT,
            true,
            GenerateOptions {
                stop: vec![stop],
                ..tree(120)
            },
        );
        assert_eq!(
            (reply.text.as_str(), reply.reason),
            (expected, FinishReason::Stop)
        );
        accepted += reply.accepted;
        let stop = plain.ids[at];
        let until = plain.ids.iter().position(|&id| id == stop).unwrap();
        let reply = World::new().reply(
            &PROMPT,
            true,
            GenerateOptions {
                stop_ids: vec![stop],
                ..tree(120)
            },
        );
        assert_eq!(reply.ids, plain.ids[..=until]);
    }
    for n in 1..20 {
        let reply = World::new().reply(&PROMPT, true, tree(n));
        assert_eq!(reply.ids, plain.ids[..n]);
        assert_eq!(reply.reason, FinishReason::Length);
    }
    assert!(accepted > 30, "{accepted} drafts accepted");
    // What trees leave in the caches is a text like any other.
    let mut world = World::new();
    let first = world.reply(&PROMPT, true, tree(40));
    let second: Vec<u32> = PROMPT
        .iter()
        .chain(&first.ids)
        .copied()
        .chain([2, 7, 1])
        .collect();
    let reply = world.reply(&second, true, tree(40));
    assert_eq!(reply.usage.reused_tokens, second.len() - 4);
    assert_eq!(
        reply.ids,
        World::new().reply(&second, false, options(40)).ids
    );
    // The end of the context.
    let mut world = World::new();
    world.target.capacity = 20;
    world.draft.capacity = 17;
    let reply = world.reply(&PROMPT, true, tree(120));
    assert_eq!(
        (reply.ids.as_slice(), reply.reason),
        (&plain.ids[..17], FinishReason::Length)
    );
}

#[test]
fn max_tokens_is_exact() {
    for n in 1..20 {
        let reply = World::new().reply(&PROMPT, true, options(n));
        assert_eq!((reply.ids.len(), reply.reason), (n, FinishReason::Length));
        assert_eq!(reply.text.len(), n);
    }
}

#[test]
fn a_stop_token_ends_the_reply_and_is_not_text() {
    let plain = World::new().reply(&PROMPT, false, options(60));
    let stop = plain.ids[30];
    let until = plain.ids.iter().position(|&id| id == stop).unwrap();
    let reply = World::new().reply(
        &PROMPT,
        true,
        GenerateOptions {
            stop_ids: vec![stop],
            ..options(60)
        },
    );
    assert_eq!(reply.ids, plain.ids[..=until]);
    assert_eq!(reply.text, plain.text[..until]);
    assert_eq!(reply.reason, FinishReason::Stop);
}

#[test]
fn a_second_turn_reads_only_what_is_new() {
    let mut world = World::new();
    let first = world.reply(&PROMPT, true, options(40));
    let second: Vec<u32> = PROMPT
        .iter()
        .chain(&first.ids)
        .copied()
        .chain([2, 7, 1])
        .collect();
    let reply = world.reply(&second, true, options(40));
    // The last token of the first reply was drawn, but never fed.
    assert_eq!(reply.usage.reused_tokens, second.len() - 4);
    let fresh = World::new().reply(&second, false, options(40));
    assert_eq!(fresh.usage.reused_tokens, 0);
    assert_eq!(reply.ids, fresh.ids);
}

#[test]
fn the_same_prompt_again_gives_the_same_reply() {
    let mut world = World::new();
    let first = world.reply(&PROMPT, true, options(40));
    let second = world.reply(&PROMPT, true, options(40));
    assert_eq!(second.ids, first.ids);
    assert_eq!(second.usage.reused_tokens, PROMPT.len() - 1);
}

#[test]
fn an_abandoned_reply_leaves_a_sequence_that_can_be_used() {
    let long: Vec<u32> = (0..300).map(|i| i * 7 % 24).collect();
    let fresh = World::new().reply(&long, false, options(20)).ids;
    for steps in [1, 3, 5, 7] {
        let mut world = World::new();
        let mut generation = world.start(&long, true, options(20)).unwrap();
        for _ in 0..steps {
            pollster::block_on(generation.step()).unwrap();
        }
        drop(generation);
        assert_eq!(
            world.reply(&long, true, options(20)).ids,
            fresh,
            "after {steps} steps"
        );
    }
}

#[test]
fn the_end_of_the_context_ends_the_reply() {
    let mut world = World::new();
    world.target.capacity = 20;
    world.draft.capacity = 20;
    let reply = world.reply(
        &PROMPT,
        true,
        GenerateOptions {
            max_tokens: None,
            ..options(1)
        },
    );
    assert_eq!(reply.reason, FinishReason::Length);
    assert_eq!(
        reply.ids.len(),
        17,
        "every slot of the cache, and the token drawn from the last"
    );
    assert_eq!(
        reply.ids,
        World::new().reply(&PROMPT, false, options(17)).ids
    );
}

#[test]
fn requests_that_cannot_be_met_are_refused_by_name() {
    let mut world = World::new();
    world.target.capacity = 3;
    let subject =
        |result: Result<Generation<'_>>| result.err().map(|e| (e.code(), e.subject().to_string()));
    assert_eq!(
        subject(world.start(&PROMPT, false, options(5))),
        Some((Code::ContextOverflow, "prompt".into()))
    );
    assert_eq!(
        subject(world.start(&[], false, options(5))),
        Some((Code::RequestInvalid, "prompt".into()))
    );
    assert_eq!(
        subject(world.start(&[1], false, options(0))),
        Some((Code::RequestInvalid, "max_tokens".into()))
    );
}
