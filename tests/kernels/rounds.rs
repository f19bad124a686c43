//! A round of speculation in one submission: what it makes is what plain rounds make, and
//! what it costs is one submit and a few words.

use std::rc::Rc;

use tandem::Code;
use tandem::backend::gpu::Gpu;
use tandem::backend::{Draw, Executor, Guesses, LogitRows, Round, RoundResult, Rows};
use tandem::format::DType;

use super::bench::{Bench, Random, gpu};
use super::row_independence::one_layer;

const PROMPT: [u32; 5] = [3, 1, 4, 1, 5];
const N: usize = 40;

const DRAWS: [Draw; 3] = [
    Draw {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 0,
    },
    Draw {
        temperature: 0.7,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 7,
    },
    Draw {
        temperature: 1.0,
        top_k: 30,
        top_p: 0.9,
        min_p: 0.01,
        seed: 0x1234_5678_9abc_def0,
    },
];

/// A model of its own weights, with the prompt but its last token in the cache.
fn model(gpu: &Rc<Gpu>, seed: u64) -> Bench {
    let mut bench = one_layer(DType::Q8_0, &mut Random::new(seed)).compile(gpu, 256);
    bench.forward(&Rows::chain(&PROMPT[..4]), LogitRows::None);
    bench
}

fn attempt<'a>(
    target: &mut Bench,
    tokens: &'a [u32],
    guesses: Guesses<'a>,
    draw: &'a Draw,
) -> Result<Option<RoundResult>, Code> {
    let round = Round {
        tokens,
        guesses,
        draw,
        terms: Default::default(),
    };
    let done = target.executor.round(target.cache, round);
    pollster::block_on(done).map_err(|error| error.code())
}

fn round<'a>(
    target: &mut Bench,
    tokens: &'a [u32],
    guesses: Guesses<'a>,
    draw: &'a Draw,
) -> RoundResult {
    attempt(target, tokens, guesses, draw).unwrap().unwrap()
}

/// Plain decoding.
fn plain(gpu: &Rc<Gpu>, draw: &Draw) -> Vec<u32> {
    let mut target = model(gpu, 21);
    let mut last = PROMPT[4];
    let tokens = (0..N).map(|_| {
        last = round(&mut target, &[last], Guesses::Tokens(&[]), draw).drawn[0];
        last
    });
    tokens.collect()
}

/// Decoding with `k` tokens of a draft a round; says how many guesses were right.
fn drafted(gpu: &Rc<Gpu>, draft_seed: u64, k: usize, draw: &Draw) -> (Vec<u32>, usize) {
    let (mut target, mut draft) = (model(gpu, 21), model(gpu, draft_seed));
    let mut text = PROMPT.to_vec();
    let mut right = 0;
    while text.len() < PROMPT.len() + N {
        let held = draft.executor.cache_len(draft.cache);
        let guesses = Guesses::Model {
            executor: &mut draft.executor,
            cache: draft.cache,
            tokens: &text[held..],
            num_tokens: k,
        };
        let last = [text[text.len() - 1]];
        let made = round(&mut target, &last, guesses, draw);
        assert_eq!(made.drawn.len(), k + 1);
        assert_eq!(target.executor.cache_len(target.cache), text.len() + k);
        assert_eq!(draft.executor.cache_len(draft.cache), text.len() + k - 1);
        let n = made.num_accepted_tokens;
        text.extend(&made.drawn[..n + 1]);
        target.executor.truncate(target.cache, text.len() - 1);
        draft.executor.truncate(draft.cache, text.len() - 1);
        right += n;
    }
    (text[PROMPT.len()..][..N].to_vec(), right)
}

#[test]
fn a_round_on_the_device_makes_the_tokens_of_plain_decoding() {
    let Some(gpu) = gpu() else { return };
    for draw in DRAWS {
        let want = plain(&gpu, &draw);
        for k in [1, 2, 4, 8, 16] {
            let (itself, right) = drafted(&gpu, 21, k, &draw);
            assert_eq!(itself, want, "its own draft, {k} a round, {draw:?}");
            // As its own draft it is always right; the last round may be cut.
            assert!(right + k >= N - N / k, "{right} of {N}, {k} a round");
            let (stranger, wrong) = drafted(&gpu, 22, k, &draw);
            assert_eq!(stranger, want, "a stranger's draft, {k} a round, {draw:?}");
            assert!(wrong < N / 2, "a stranger was right {wrong} times");
        }
    }
}

#[test]
fn accept_counts_the_guesses_up_to_the_first_wrong_one() {
    let Some(gpu) = gpu() else { return };
    let draw = DRAWS[1];
    let want = plain(&gpu, &draw);
    let mut target = model(&gpu, 21);
    for (wrong, k) in [(0, 1), (1, 1), (0, 4), (2, 4), (4, 4), (15, 16), (16, 16)] {
        target.executor.truncate(target.cache, 4);
        let mut guesses = want[..k].to_vec();
        if let Some(guess) = guesses.get_mut(wrong) {
            *guess = (*guess + 1) % 53;
        }
        let made = round(&mut target, &PROMPT[4..], Guesses::Tokens(&guesses), &draw);
        assert_eq!(made.num_accepted_tokens, wrong, "{wrong} of {k}");
        assert_eq!(made.drawn[..wrong + 1], want[..wrong + 1]);
    }
    // Several tokens before the guesses, as after an interruption.
    target.executor.truncate(target.cache, 2);
    let made = round(
        &mut target,
        &PROMPT[2..],
        Guesses::Tokens(&want[..3]),
        &draw,
    );
    assert_eq!(
        (made.num_accepted_tokens, made.drawn),
        (3, want[..4].to_vec())
    );
}

#[test]
fn a_round_is_one_submit_one_readback_and_creates_nothing() {
    let Some(gpu) = gpu() else { return };
    for draw in DRAWS {
        let (mut target, mut draft) = (model(&gpu, 21), model(&gpu, 22));
        let mut run = |k: usize, pending: usize| {
            target.executor.truncate(target.cache, 4);
            draft.executor.truncate(draft.cache, 5 - pending);
            let guesses = match k {
                0 => Guesses::Tokens(&[]),
                _ => Guesses::Model {
                    executor: &mut draft.executor,
                    cache: draft.cache,
                    tokens: &PROMPT[5 - pending..],
                    num_tokens: k,
                },
            };
            let before = gpu.counters();
            round(&mut target, &PROMPT[4..], guesses, &draw);
            gpu.counters().since(&before)
        };
        for k in 0..=8 {
            run(k, 1);
            run(k, 2);
        }
        for k in 0..=8 {
            for pending in [1, 2] {
                let cost = run(k, pending);
                assert_eq!(cost.submits, 1);
                assert_eq!(cost.readback_bytes, 4 * (2 * k as u64 + 2));
                assert!(cost.readback_bytes < 128);
                // Eleven launches a pass and a draw; then accept.
                assert_eq!(cost.dispatches, 12 * (k as u64 + 1) + 1);
                let created =
                    cost.buffer_creations + cost.bind_group_creations + cost.pipeline_creations;
                assert_eq!(created, 0, "{k} drafted");
            }
        }
    }
}

#[test]
fn what_a_round_cannot_do_it_leaves_undone() {
    let (Some(gpu), Some(other)) = (gpu(), gpu()) else {
        return;
    };
    let mut target = model(&gpu, 21);
    let before = gpu.counters();
    let draw = &DRAWS[1];
    // Too long, nothing to begin with, a draft on another device.
    assert_eq!(
        attempt(&mut target, &[1], Guesses::Tokens(&[1; 17]), draw),
        Ok(None)
    );
    assert_eq!(
        attempt(&mut target, &[], Guesses::Tokens(&[1]), draw),
        Ok(None)
    );
    let mut stranger = model(&other, 22);
    let guesses = Guesses::Model {
        executor: &mut stranger.executor,
        cache: stranger.cache,
        tokens: &PROMPT[4..],
        num_tokens: 2,
    };
    assert_eq!(attempt(&mut target, &[1], guesses, draw), Ok(None));
    // No room, and no such token.
    let mut draft = one_layer(DType::Q8_0, &mut Random::new(22)).compile(&gpu, 8);
    draft.forward(&Rows::chain(&PROMPT[..4]), LogitRows::None);
    for (num_tokens, token, code) in [
        (5, 5, Some(Code::ContextOverflow)),
        (4, 53, Some(Code::TokenUnknown)),
    ] {
        let tokens = [token];
        let guesses = Guesses::Model {
            executor: &mut draft.executor,
            cache: draft.cache,
            tokens: &tokens,
            num_tokens,
        };
        assert_eq!(attempt(&mut target, &[1], guesses, draw).err(), code);
    }
    assert_eq!(
        attempt(&mut target, &[53], Guesses::Tokens(&[]), draw),
        Err(Code::TokenUnknown)
    );
    // Only the draft's prompt was run.
    assert_eq!(gpu.counters().since(&before).submits, 1);
    assert_eq!(target.executor.cache_len(target.cache), 4);
}

#[test]
fn logits_that_are_not_numbers_are_an_error_not_a_token() {
    let Some(gpu) = gpu() else { return };
    let mut case = one_layer(DType::Q8_0, &mut Random::new(23));
    // Overflows the sum of squares, and the norm's factor is then 0 times infinity.
    for op in &mut case.plan.ops {
        if let tandem::backend::plan::Op::Embed { scale, .. } = op {
            *scale = 1e38;
        }
    }
    let mut bench = case.compile(&gpu, 16);
    for draw in &DRAWS[..2] {
        let done = attempt(&mut bench, &[1], Guesses::Tokens(&[]), draw);
        assert_eq!(done, Err(Code::NotFinite));
    }
}
