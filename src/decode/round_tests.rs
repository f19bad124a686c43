use std::collections::HashMap;

use super::*;
use crate::decode::draft::{Drawing, FirstOf, ModelDrafter, NgramDrafter};
use crate::decode::sampling::SamplingParams;
use crate::decode::testing::{N_VOCAB, NoiseModel, ticking};
use crate::error::{Code, Error};
use crate::format::LocalFuture;

/// Proposes what a list says, right or wrong.
struct Scripted<F: FnMut(&[u32], usize) -> Vec<u32>>(F);

impl<F: FnMut(&[u32], usize) -> Vec<u32>> Drafter for Scripted<F> {
    fn propose<'a>(&'a mut self, draft: &'a mut Draft<'_>) -> LocalFuture<'a, Result<Proposal>> {
        let tokens = (self.0)(draft.history.tokens(), draft.max);
        Box::pin(std::future::ready(Ok(Proposal::certain(
            Source::Draft,
            tokens,
        ))))
    }
}

const PROMPT: [u32; 5] = [1, 2, 3, 1, 2];

struct Outcome {
    ids: Vec<u32>,
    stats: Speculation,
    passes: usize,
}

/// Makes `n` tokens with a drafter and a length.
fn reply<'d>(
    params: &SamplingParams,
    drafter: Option<Box<dyn Drafter + 'd>>,
    length: DraftLength,
    n: usize,
    stop_ids: &[u32],
) -> Outcome {
    let mut target = NoiseModel::new(1, 2, 1.0);
    let mut sequence = Sequence::new(&mut target).unwrap();
    let mut decoder = Decoder::new(DecoderParts {
        prompt: &PROMPT,
        sampler: Sampler::new(params.clone()).unwrap(),
        drafter,
        verification: Verification::Exact,
        constraint: None,
        length,
        costs: Costs::default(),
        stop_ids: stop_ids.to_vec(),
        logprobs: LogprobsWanted::default(),
        clock: ticking(),
    });
    pollster::block_on(async {
        sequence
            .feed(&mut target, &PROMPT[..4], LogitRows::None)
            .await
            .unwrap();
        let mut ids: Vec<u32> = Vec::new();
        while ids.len() < n {
            let left = n - ids.len();
            let made = decoder
                .round(&mut target, &mut sequence, left)
                .await
                .unwrap();
            assert!(
                !made.is_empty() && made.len() <= left,
                "{} of {left}",
                made.len()
            );
            ids.extend(made.iter().map(|token| token.id));
            assert_eq!(decoder.history.reply(), ids);
            assert_eq!(
                sequence.tokens(),
                &decoder.history.tokens()[..decoder.history.len() - 1]
            );
            assert_eq!(target.caches[&0], sequence.tokens());
            if ids.last().is_some_and(|id| stop_ids.contains(id)) {
                break;
            }
        }
        Outcome {
            ids,
            stats: decoder.speculation(),
            passes: target.passes.get() - 1,
        }
    })
}

fn all_params() -> Vec<SamplingParams> {
    let mut all = Vec::new();
    for temperature in [0.0, 0.7, 1.0, 1.5] {
        for seed in [0, 1, 0xdead_beef_0000_0001] {
            let base = || SamplingParams {
                temperature,
                seed,
                ..Default::default()
            };
            all.push(base());
            all.push(SamplingParams {
                top_p: 0.9,
                ..base()
            });
            all.push(SamplingParams { top_k: 5, ..base() });
            all.push(SamplingParams {
                min_p: 0.1,
                ..base()
            });
            all.push(SamplingParams {
                repetition_penalty: 1.3,
                frequency_penalty: 0.4,
                ..base()
            });
        }
    }
    all
}

#[test]
fn speculation_never_changes_the_text() {
    let n = 60;
    // Accepted tokens by drafter: none of these comparisons may pass by never accepting.
    let mut accepted: HashMap<&str, usize> = HashMap::new();
    for params in all_params() {
        let plain = reply(&params, None, DraftLength::Fixed(0), n, &[]).ids;
        for length in [1, 2, 4, 8, 16]
            .map(DraftLength::Fixed)
            .into_iter()
            .chain([DraftLength::Auto])
        {
            let mut draft = NoiseModel::new(1, 7, 0.8);
            let mut draft_sequence = Sequence::new(&mut draft).unwrap();
            let mut itself = NoiseModel::new(1, 2, 1.0);
            let mut own_sequence = Sequence::new(&mut itself).unwrap();
            let mut stranger = NoiseModel::new(9, 9, 1.0);
            let mut stranger_sequence = Sequence::new(&mut stranger).unwrap();
            let script = plain.clone();
            let at = |text: &[u32]| text.len() - PROMPT.len();
            let wrong = {
                let script = script.clone();
                move |text: &[u32], max: usize| {
                    (0..max)
                        .map(|i| {
                            script
                                .get(at(text) + i)
                                .map_or(0, |t| (t + 1) % N_VOCAB as u32)
                        })
                        .collect()
                }
            };
            let alternating = move |text: &[u32], max: usize| {
                let guess = |i: usize| {
                    script
                        .get(at(text) + i)
                        .map_or(0, |t| (t + i as u32 % 2) % N_VOCAB as u32)
                };
                (0..max).map(guess).collect()
            };
            let ngram = NgramDrafter {
                max_ngram: 4,
                min_ngram: 1,
            };
            let drafters: Vec<(&str, Box<dyn Drafter + '_>)> = vec![
                (
                    "draft",
                    Box::new(ModelDrafter::new(
                        &mut draft,
                        &mut draft_sequence,
                        Drawing::Shared,
                    )),
                ),
                (
                    "itself",
                    Box::new(ModelDrafter::new(
                        &mut itself,
                        &mut own_sequence,
                        Drawing::Shared,
                    )),
                ),
                (
                    "stranger",
                    Box::new(ModelDrafter::new(
                        &mut stranger,
                        &mut stranger_sequence,
                        Drawing::Shared,
                    )),
                ),
                ("wrong", Box::new(Scripted(wrong))),
                ("alternating", Box::new(Scripted(alternating))),
                ("ngram", Box::new(ngram)),
            ];
            for (name, drafter) in drafters {
                let got = reply(&params, Some(drafter), length, n, &[]);
                assert_eq!(got.ids, plain, "{name}, {length:?}, {params:?}");
                *accepted.entry(name).or_default() += got.stats.num_accepted_tokens;
                if name == "itself"
                    && let DraftLength::Fixed(k) = length
                {
                    assert_eq!(
                        got.passes,
                        n.div_ceil(k + 1),
                        "its own draft is always right"
                    );
                }
            }
        }
    }
    assert_eq!(accepted["wrong"], 0);
    for name in ["draft", "itself", "stranger", "alternating", "ngram"] {
        assert!(
            accepted[name] > 1_000,
            "{name}: {} accepted",
            accepted[name]
        );
    }
}

#[test]
fn a_drafter_with_nothing_to_say_gives_way_to_the_next() {
    let params = SamplingParams {
        temperature: 0.7,
        seed: 4,
        ..Default::default()
    };
    let plain = reply(&params, None, DraftLength::Fixed(0), 80, &[]).ids;
    let mut draft = NoiseModel::new(1, 7, 0.8);
    let mut draft_sequence = Sequence::new(&mut draft).unwrap();
    let both = FirstOf(vec![
        Box::new(NgramDrafter {
            max_ngram: 4,
            min_ngram: 2,
        }),
        Box::new(ModelDrafter::new(
            &mut draft,
            &mut draft_sequence,
            Drawing::Shared,
        )),
    ]);
    let got = reply(
        &params,
        Some(Box::new(both)),
        DraftLength::Fixed(4),
        80,
        &[],
    );
    assert_eq!(got.ids, plain);
    assert!(got.stats.num_accepted_tokens > 10);
}

#[test]
fn a_stop_token_inside_an_accepted_run_ends_it_there() {
    let params = SamplingParams {
        temperature: 1.0,
        seed: 1,
        ..Default::default()
    };
    let plain = reply(&params, None, DraftLength::Fixed(0), 60, &[]).ids;
    let stop = plain[17];
    let until = plain.iter().position(|&id| id == stop).unwrap();
    let mut itself = NoiseModel::new(1, 2, 1.0);
    let mut own_sequence = Sequence::new(&mut itself).unwrap();
    let drafter = ModelDrafter::new(&mut itself, &mut own_sequence, Drawing::Shared);
    let got = reply(
        &params,
        Some(Box::new(drafter)),
        DraftLength::Fixed(8),
        60,
        &[stop],
    );
    assert_eq!(got.ids, plain[..=until]);
}

#[test]
fn statistics_add_up() {
    let params = SamplingParams::default();
    let mut draft = NoiseModel::new(1, 7, 0.8);
    let mut draft_sequence = Sequence::new(&mut draft).unwrap();
    let drafter = ModelDrafter::new(&mut draft, &mut draft_sequence, Drawing::Shared);
    let got = reply(
        &params,
        Some(Box::new(drafter)),
        DraftLength::Fixed(4),
        100,
        &[],
    );
    let stats = got.stats;
    assert_eq!(stats.num_tokens, 100);
    assert_eq!(
        stats.accepted_per_position.iter().sum::<usize>(),
        stats.num_accepted_tokens
    );
    assert!(stats.accepted_per_position.is_sorted_by(|a, b| a >= b));
    // Every round makes its accepted tokens and one of the target's own, but for the
    // last, which may be cut at the token limit.
    assert!((stats.num_drafts + stats.num_accepted_tokens).abs_diff(100) <= 1);
}

#[test]
fn the_end_of_the_context_is_reached_exactly() {
    let mut target = NoiseModel::new(1, 2, 1.0);
    target.capacity = 12;
    let mut sequence = Sequence::new(&mut target).unwrap();
    let mut itself = NoiseModel::new(1, 2, 1.0);
    itself.capacity = 12;
    let mut own_sequence = Sequence::new(&mut itself).unwrap();
    let mut decoder = Decoder::new(DecoderParts {
        prompt: &PROMPT,
        sampler: Sampler::new(SamplingParams::default()).unwrap(),
        drafter: Some(Box::new(ModelDrafter::new(
            &mut itself,
            &mut own_sequence,
            Drawing::Shared,
        ))),
        verification: Verification::Exact,
        constraint: None,
        length: DraftLength::Fixed(5),
        costs: Costs::default(),
        stop_ids: vec![],
        logprobs: LogprobsWanted::default(),
        clock: ticking(),
    });
    let error: Error = pollster::block_on(async {
        sequence
            .feed(&mut target, &PROMPT[..4], LogitRows::None)
            .await
            .unwrap();
        loop {
            if let Err(error) = decoder.round(&mut target, &mut sequence, 100).await {
                break error;
            }
        }
    });
    assert_eq!(error.code(), Code::ContextOverflow);
    assert_eq!(
        decoder.history.len(),
        13,
        "twelve in the cache and one drawn from them"
    );
}
