use std::collections::HashMap;

use super::*;
use crate::decode::draft::{Drawing, FirstOf, ModelDrafter, NgramDrafter};
use crate::decode::noise::uniform;
use crate::decode::planner::{MAX_RANKS, Reason};
use crate::decode::sampling::SamplingParams;
use crate::decode::testing::{N_VOCAB, NoiseModel, ticking};
use crate::decode::tree::TreeShape;
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
    made: Vec<MadeToken>,
    stats: Speculation,
    passes: usize,
}

/// How much is drafted.
#[derive(Debug, Clone)]
enum How {
    Chain(DraftLength),
    Tree(DraftLength),
    Shape(TreeShape),
}

impl From<DraftLength> for How {
    fn from(length: DraftLength) -> Self {
        How::Chain(length)
    }
}

/// Makes `n` tokens with a drafter and a length.
fn reply<'d>(
    params: &SamplingParams,
    drafter: Option<Box<dyn Drafter + 'd>>,
    how: impl Into<How>,
    n: usize,
    stop_ids: &[u32],
) -> Outcome {
    let (length, trees, shape) = match how.into() {
        How::Chain(length) => (length, false, None),
        How::Tree(length) => (length, true, None),
        How::Shape(shape) => (DraftLength::Auto, true, Some(shape)),
    };
    let mut target = NoiseModel::new(1, 2, 1.0);
    target.capacity = PROMPT.len() + n + 40;
    let mut sequence = Sequence::new(&mut target).unwrap();
    let mut decoder = Decoder::new(DecoderParts {
        prompt: &PROMPT,
        sampler: Sampler::new(params.clone()).unwrap(),
        drafter,
        verification: Verification::Exact,
        constraint: None,
        length,
        trees,
        costs: Costs::default(),
        stop_ids: stop_ids.to_vec(),
        logprobs: LogprobsWanted::default(),
        clock: ticking(),
    });
    if let Some(shape) = shape {
        decoder.planner.always(shape);
    }
    pollster::block_on(async {
        sequence
            .feed(&mut target, &PROMPT[..4], LogitRows::None)
            .await
            .unwrap();
        let (mut ids, mut all): (Vec<u32>, Vec<MadeToken>) = Default::default();
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
            all.extend(made);
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
            made: all,
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
    let num_rounds: usize = stats.num_rounds.iter().sum();
    assert_eq!(stats.num_rounds[Reason::Asked as usize], num_rounds);
}

/// Every token says whose it is, and what it stands in for.
#[test]
fn a_token_says_who_proposed_it_and_what_it_replaced() {
    let params = SamplingParams::default();
    for trees in [false, true] {
        let mut draft = NoiseModel::new(1, 7, 0.8);
        let mut draft_sequence = Sequence::new(&mut draft).unwrap();
        let drafter = ModelDrafter::new(&mut draft, &mut draft_sequence, Drawing::Shared);
        let length = DraftLength::Fixed(4);
        let how = if trees {
            How::Tree(length)
        } else {
            How::Chain(length)
        };
        let got = reply(&params, Some(Box::new(drafter)), how, 100, &[]);
        let drafted = |made: &&MadeToken| made.source == Source::Draft;
        let num_accepted = got.made.iter().filter(drafted).count();
        assert_eq!(num_accepted, got.stats.num_accepted_tokens);
        let replaced = got
            .made
            .iter()
            .filter_map(|made| Some((made, made.replaced?)));
        let mut num_replaced = 0;
        for (made, replaced) in replaced {
            assert_eq!(
                (made.source, replaced.source),
                (Source::Target, Source::Draft)
            );
            assert_ne!(made.id, replaced.id);
            num_replaced += 1;
        }
        assert!(num_replaced > 10, "{num_replaced}");
        assert!(num_replaced <= got.stats.num_drafts);
    }
}

/// What a draft has to read before it can guess is no part of what its guesses cost.
#[test]
fn reading_the_prompt_is_not_charged_to_the_drafts_steps() {
    let mut target = NoiseModel::new(1, 2, 1.0);
    let mut sequence = Sequence::new(&mut target).unwrap();
    let mut draft = NoiseModel::new(1, 7, 0.8);
    let mut draft_sequence = Sequence::new(&mut draft).unwrap();
    // A clock that goes on a second for every token that the draft reads.
    let read = draft.read.clone();
    let clock: Clock = Rc::new(move || read.get() as f64);
    let prompt: Vec<u32> = (0..200).map(|i| i % N_VOCAB as u32).collect();
    let mut decoder = Decoder::new(DecoderParts {
        prompt: &prompt,
        sampler: Sampler::new(SamplingParams::default()).unwrap(),
        drafter: Some(Box::new(ModelDrafter::new(
            &mut draft,
            &mut draft_sequence,
            Drawing::Shared,
        ))),
        verification: Verification::Exact,
        constraint: None,
        length: DraftLength::Fixed(4),
        trees: false,
        costs: Costs::default(),
        stop_ids: vec![],
        logprobs: LogprobsWanted::default(),
        clock,
    });
    pollster::block_on(async {
        let text = &prompt[..199];
        let fed = sequence.feed(&mut target, text, LogitRows::None);
        fed.await.unwrap();
        decoder
            .round(&mut target, &mut sequence, 100)
            .await
            .unwrap();
    });
    let step_s = decoder.costs().draft_step_s();
    assert!((0.9..1.6).contains(&step_s), "{step_s} s a step");
    let a_prompt_s = decoder.costs().catch_up_s(200);
    assert!((190.0..210.0).contains(&a_prompt_s), "{a_prompt_s} s");
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
        trees: false,
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

#[test]
fn guessing_in_several_ways_never_changes_the_text() {
    let n = 60;
    let mut accepted: HashMap<&str, usize> = HashMap::new();
    let mut branched = 0;
    for params in all_params() {
        let plain = reply(&params, None, DraftLength::Fixed(0), n, &[]).ids;
        for how in [
            How::Tree(DraftLength::Fixed(2)),
            How::Tree(DraftLength::Fixed(7)),
            How::Tree(DraftLength::Fixed(24)),
            How::Tree(DraftLength::Auto),
            How::Shape(TreeShape::best(&[0.4, 0.3, 0.2, 0.05], 13, 3)),
        ] {
            let mut draft = NoiseModel::new(1, 7, 0.8);
            let mut draft_sequence = Sequence::new(&mut draft).unwrap();
            let mut itself = NoiseModel::new(1, 2, 1.0);
            let mut own_sequence = Sequence::new(&mut itself).unwrap();
            let mut stranger = NoiseModel::new(9, 9, 1.0);
            let mut stranger_sequence = Sequence::new(&mut stranger).unwrap();
            let mut third = NoiseModel::new(1, 7, 0.8);
            let mut third_sequence = Sequence::new(&mut third).unwrap();
            fn model<'d>(
                executor: &'d mut NoiseModel,
                sequence: &'d mut Sequence,
            ) -> Box<dyn Drafter + 'd> {
                Box::new(ModelDrafter::new(executor, sequence, Drawing::Shared))
            }
            let ngram = NgramDrafter {
                max_ngram: 4,
                min_ngram: 2,
            };
            let both = FirstOf(vec![
                Box::new(ngram),
                model(&mut third, &mut third_sequence),
            ]);
            let drafters: Vec<(&str, Box<dyn Drafter + '_>)> = vec![
                ("draft", model(&mut draft, &mut draft_sequence)),
                ("itself", model(&mut itself, &mut own_sequence)),
                ("stranger", model(&mut stranger, &mut stranger_sequence)),
                ("both", Box::new(both)),
            ];
            for (name, drafter) in drafters {
                let got = reply(&params, Some(drafter), how.clone(), n, &[]);
                assert_eq!(got.ids, plain, "{name}, {how:?}, {params:?}");
                let stats = got.stats;
                *accepted.entry(name).or_default() += stats.num_accepted_tokens;
                let by_level = stats.accepted_per_position.iter().sum::<usize>();
                assert_eq!(by_level, stats.num_accepted_tokens);
                let deepest = stats.accepted_per_position.len();
                branched += usize::from(stats.num_draft_tokens > deepest * stats.num_drafts);
            }
        }
    }
    for name in ["draft", "itself", "stranger", "both"] {
        assert!(
            accepted[name] > 1_000,
            "{name}: {} accepted",
            accepted[name]
        );
    }
    assert!(
        branched > 100,
        "{branched} replies had more guesses than levels"
    );
}

/// What a tree is for: where the first choice is wrong, the second may be right.
#[test]
fn a_tree_of_the_same_draft_makes_more_of_a_pass_than_its_chain() {
    let params = SamplingParams {
        temperature: 1.0,
        seed: 3,
        ..Default::default()
    };
    let passes = |how: How| {
        let mut draft = NoiseModel::new(1, 7, 0.7);
        let mut sequence = Sequence::new(&mut draft).unwrap();
        let drafter = ModelDrafter::new(&mut draft, &mut sequence, Drawing::Shared);
        reply(&params, Some(Box::new(drafter)), how, 400, &[]).passes
    };
    let chain = passes(How::Chain(DraftLength::Fixed(3)));
    let tree = passes(How::Shape(TreeShape::best(&[0.5, 0.2, 0.1, 0.05], 16, 3)));
    assert!(
        tree * 20 < chain * 19,
        "{tree} passes with trees, {chain} without"
    );
}

/// Guesses trees of which, at every node that is on the text's line, the choice of a
/// random rank is right.
struct RightNowAndThen {
    script: Vec<u32>,
    by_rank: [f64; MAX_RANKS],
}

impl Drafter for RightNowAndThen {
    fn propose<'a>(&'a mut self, draft: &'a mut Draft<'_>) -> LocalFuture<'a, Result<Proposal>> {
        let shape = draft.shape.expect("always a tree");
        let made = draft.history.len() - PROMPT.len();
        let mut proposal = Proposal::certain(Source::Draft, Vec::new());
        // Of the root and every node: whether it is on the text's line, and its level.
        let mut at = vec![(true, 0)];
        for node in &shape.nodes {
            let (right, level) = at[node.parent];
            let truth = self.script.get(made + level).copied().unwrap_or(0);
            let draw = uniform(77, (made + level) as u32, 0);
            let mut reached = 0.0;
            let right_rank = self.by_rank.iter().position(|p| {
                reached += p;
                draw < reached
            });
            let right = right && right_rank == Some(node.rank);
            let other = (truth + 1 + node.rank as u32) % N_VOCAB as u32;
            proposal.tokens.push(if right { truth } else { other });
            proposal
                .parents
                .push(node.parent.checked_sub(1).map(|p| p as u32));
            at.push((right, level + 1));
        }
        Box::pin(std::future::ready(Ok(proposal)))
    }
}

#[test]
fn trees_gain_what_the_programme_predicts() {
    let params = SamplingParams {
        temperature: 1.0,
        seed: 8,
        ..Default::default()
    };
    let n = 8_000;
    let script = reply(&params, None, DraftLength::Fixed(0), n, &[]).ids;
    let by_rank = [0.55, 0.2, 0.1, 0.05];
    for (size, depth) in [(1, 1), (6, 3), (16, 4)] {
        let shape = TreeShape::best(&by_rank, size, depth);
        let expected = shape.expected_tokens;
        let drafter = RightNowAndThen {
            script: script.clone(),
            by_rank,
        };
        let got = reply(&params, Some(Box::new(drafter)), How::Shape(shape), n, &[]);
        assert!(got.ids == script, "the text changed");
        let a_round = n as f64 / got.passes as f64;
        assert!(
            (a_round - expected).abs() < 0.03 * expected,
            "{size} nodes: {a_round} tokens a round, not {expected}"
        );
    }
}
