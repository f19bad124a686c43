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

/// Tokens that begin and end anywhere in letters, letters of several bytes, and bytes that
/// make one only together: `é` is C3 A9, `日` E6 97 A5.
fn bytes_and_letters() -> Tokenizer {
    let words = [
        "é", "日", "本", "日本", "é日", "a", "b", "ab", "ba", "aa", "a日", "日a", "<0xC3>",
        "<0xA9>", "<0xE6>", "<0x97>", "<0xA5>", "🦊", "bé", "abé", "本a", "éé", "日日", "aab",
    ];
    assert_eq!(words.len(), N_VOCAB);
    let ids = words.iter().zip(0_u32..);
    let vocab: serde_json::Map<String, serde_json::Value> = ids
        .map(|(word, id)| ((*word).to_string(), id.into()))
        .collect();
    let json = serde_json::json!({
        "version": "1.0",
        "model": { "type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": true },
        "decoder": { "type": "Sequence", "decoders": [{ "type": "ByteFallback" }, { "type": "Fuse" }] },
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

/// The least of a reply's tokens in whose text one of `stops` stands, and the text before
/// the first of them: the rule, without streams.
fn cut<'t>(tokenizer: &Tokenizer, ids: &'t [u32], stops: &[String]) -> (&'t [u32], String) {
    for n in 1..=ids.len() {
        let text = tokenizer.decode(&ids[..n], true);
        let at = stops.iter().filter_map(|stop| text.find(stop.as_str()));
        if let Some(at) = at.min() {
            return (&ids[..n], text[..at].to_string());
        }
    }
    (ids, tokenizer.decode(ids, true))
}

#[test]
fn stop_strings_in_letters_of_several_bytes_end_the_reply_wherever_tokens_begin() {
    let world = || World {
        tokenizer: bytes_and_letters(),
        ..World::new()
    };
    let tokenizer = bytes_and_letters();
    // The two halves of a letter, often enough to meet.
    let options = |max_tokens| {
        let mut options = options(max_tokens);
        options.sampling.logit_bias = vec![(12, 2.0), (13, 2.0)];
        options
    };
    let plain = world().reply(&PROMPT, false, options(160));
    assert_eq!(plain.text, tokenizer.decode(&plain.ids, true));
    let letters: Vec<char> = plain.text.chars().collect();
    let (mut accepted, mut across, mut split, mut n_stops) = (0, 0, 0, 0);
    for at in (3..letters.len() - 8).step_by(3) {
        let part = |from: usize, length: usize| letters[from..from + length].iter().collect();
        // One, and several that overlap, or lie one within the other, or begin alike.
        let choices: [Vec<String>; 4] = [
            vec![part(at, 3)],
            vec![part(at, 5), part(at + 1, 2), "~".into()],
            vec![part(at, 2), part(at, 4)],
            vec![part(at + 2, 4), part(at, 4)],
        ];
        for stop in choices {
            if stop
                .iter()
                .any(|stop| stop.contains(char::REPLACEMENT_CHARACTER))
            {
                continue; // it may yet become a letter
            }
            n_stops += 1;
            let (ids, text) = cut(&tokenizer, &plain.ids, &stop);
            for (speculate, tree) in [(false, false), (true, false), (true, true)] {
                let reply = world().reply(
                    &PROMPT,
                    speculate,
                    GenerateOptions {
                        stop: stop.clone(),
                        tree,
                        ..options(160)
                    },
                );
                assert_eq!(reply.text, text, "stop at {stop:?}");
                assert_eq!(reply.ids, ids, "stop at {stop:?}");
                assert_eq!(reply.reason, FinishReason::Stop);
                accepted += reply.accepted;
            }
            let last = tokenizer.decode(&ids[ids.len() - 1..], true);
            across += usize::from(!stop.iter().any(|stop| last.contains(stop.as_str())));
            split += usize::from(last.contains(char::REPLACEMENT_CHARACTER));
        }
    }
    assert!(n_stops > 40, "{n_stops} lists of stops");
    assert!(across > 20, "{across} stops across tokens");
    assert!(split > 0, "no stop ends in part of a letter");
    assert!(accepted > 500, "{accepted} drafts accepted");
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
fn the_second_turn_of_a_long_chat_is_read_by_neither_model_again() {
    let long: Vec<u32> = (0..300).map(|i| i * i % N_VOCAB as u32).collect();
    let mut world = World::new();
    let first = world.reply(&long, true, options(40));
    assert_eq!(first.usage.draft_read_tokens, long.len() - 1);
    let second: Vec<u32> = long
        .iter()
        .chain(&first.ids)
        .copied()
        .chain([2, 7, 1])
        .collect();
    let (by_target, by_draft) = (world.target.read.clone(), world.draft.read.clone());
    let before = (by_target.get(), by_draft.get());
    let mut generation = world.start(&second, true, options(40)).unwrap();
    let read = loop {
        let read = (by_target.get() - before.0, by_draft.get() - before.1);
        match pollster::block_on(generation.step()).unwrap().unwrap() {
            Step::Prefilled { .. } => {}
            _ => break read,
        }
    };
    // Three tokens are new, the first reply's last was never fed, and the last of all
    // begins the first round. The draft has not read the last of its own guesses either.
    let usage = generation.usage();
    assert_eq!((read.0, usage.reused_tokens), (3, second.len() - 4));
    assert_eq!(read.1, usage.draft_read_tokens);
    assert!(
        (3..=4).contains(&read.1),
        "the draft read {} tokens",
        read.1
    );
    drop(generation);
    let again = world.reply(&second, true, options(40));
    let fresh = World::new().reply(&second, true, options(40));
    assert_eq!(fresh.usage.reused_tokens, 0);
    assert_eq!(fresh.usage.draft_read_tokens, second.len() - 1);
    assert_eq!(again.ids, fresh.ids);
    assert!(again.accepted > 0);
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
