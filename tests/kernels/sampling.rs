//! `sample`, `sample_scan`, `adjust` and `logprobs` against the CPU's sampler, which is the
//! definition, and against distributions in closed form.

use std::rc::Rc;

use tandem::Code;
use tandem::backend::gpu::Gpu;
use tandem::backend::plan::{Norm, Op};
use tandem::backend::{
    Draw, Executor, Guesses, LogitRows, Penalties, Round, RoundResult, Rows, Terms, TokenChange,
};
use tandem::decode::sampling::{History, Sampler, SamplingParams, TokenMask, logprobs};
use tandem::format::DType;

use super::bench::{Bench, Case, Random, gpu};
use super::row_independence::one_layer;

const GREEDY: Draw = Draw {
    temperature: 0.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    seed: 0,
};

const WARM: Draw = Draw {
    temperature: 1.3,
    seed: 0x1234_5678_9abc_def0,
    ..GREEDY
};

const DRAWS: [Draw; 8] = [
    GREEDY,
    WARM,
    Draw { top_k: 7, ..WARM },
    Draw { top_p: 0.8, ..WARM },
    Draw { min_p: 0.2, ..WARM },
    Draw {
        temperature: 0.7,
        top_k: 20,
        top_p: 0.9,
        min_p: 0.01,
        seed: 3,
    },
    Draw {
        temperature: 4.0,
        top_k: 1,
        ..WARM
    },
    Draw { top_p: 0.0, ..WARM },
];

fn params(draw: &Draw) -> SamplingParams {
    SamplingParams {
        temperature: draw.temperature,
        top_k: draw.top_k,
        top_p: draw.top_p,
        min_p: draw.min_p,
        seed: draw.seed,
        ..SamplingParams::default()
    }
}

/// A table of tokens and a head: a row's logits depend on its token alone. `spread` is how
/// far apart they lie.
fn table_and_head(gpu: &Rc<Gpu>, n_vocab: usize, spread: f32) -> Bench {
    let (width, mut random) = (32, Random::new(31));
    let mut case = Case::default();
    let (x, out) = (case.buffer(width), case.buffer(n_vocab));
    let table = case.random(DType::Q8_0, &[n_vocab, width], &mut random);
    let norm = Norm {
        weight: case.vector(width, &mut random),
        eps: 1e-5,
    };
    let weight = case.linear(table);
    case.plan.ops = vec![
        Op::Embed {
            table,
            scale: 1.0,
            out: x,
        },
        Op::Head {
            x,
            norm,
            weight,
            scale: spread,
            softcap: None,
            out,
        },
    ];
    case.plan.n_vocab = n_vocab;
    case.compile(gpu, 64)
}

fn round(bench: &mut Bench, tokens: &[u32], draw: &Draw, terms: Terms<'_>) -> RoundResult {
    try_round(bench, tokens, draw, terms).unwrap()
}

fn try_round(
    bench: &mut Bench,
    tokens: &[u32],
    draw: &Draw,
    terms: Terms<'_>,
) -> Result<RoundResult, Code> {
    let done = bench.executor.round(
        bench.cache,
        Round {
            tokens: &tokens[..1],
            guesses: Guesses::Tokens(&tokens[1..]),
            draw,
            terms,
        },
    );
    let done = pollster::block_on(done).map_err(|error| error.code())?;
    Ok(done.unwrap())
}

#[test]
fn sample_draws_what_the_cpu_draws() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random::new(19);
    let case = one_layer(DType::Q8_0, &mut random);
    let mut bench = case.compile(&gpu, 256);
    let prompt: Vec<u32> = (0..5).map(|_| random.bits() as u32 % 53).collect();
    let tokens: Vec<u32> = (0..12).map(|_| random.bits() as u32 % 53).collect();
    bench.forward(&Rows::chain(prompt.clone()), LogitRows::None);
    let logits = bench.forward(&Rows::chain(tokens.clone()), LogitRows::All);
    for draw in DRAWS {
        bench.executor.truncate(bench.cache, prompt.len());
        let before = gpu.counters();
        let drawn = round(&mut bench, &tokens, &draw, Terms::default()).drawn;
        assert_eq!(gpu.counters().since(&before).readback_bytes, 13 * 4);
        let mut sampler = Sampler::new(params(&draw)).unwrap();
        let mut history = History::new(&prompt);
        for (r, logits) in logits.chunks(53).enumerate() {
            history.push(tokens[r]);
            let want = sampler.draw(logits, &history, None).unwrap();
            assert_eq!(drawn[r], want, "{draw:?}, row {r}");
        }
    }
}

#[test]
fn sample_of_long_vocabularies_draws_what_the_cpu_draws() {
    let Some(gpu) = gpu() else { return };
    // On both sides of where a scan goes first; a flat distribution has more tokens that
    // matter than the list takes.
    for (n_vocab, spread) in [(8192, 1.0), (8193, 1.0), (20_011, 3.0), (20_011, 0.02)] {
        let mut bench = table_and_head(&gpu, n_vocab, spread);
        let tokens: Vec<u32> = (0..7).map(|i| (i * 2711) % n_vocab as u32).collect();
        let logits = bench.forward(&Rows::chain(tokens.clone()), LogitRows::All);
        let mut odd = TokenMask::none(n_vocab);
        (1..n_vocab as u32).step_by(2).for_each(|id| odd.allow(id));
        let words = vec![0xaaaa_aaaa_u32; n_vocab.div_ceil(32)];
        let masks = vec![words; tokens.len()];
        let more = [
            Draw { top_k: 300, ..WARM },
            Draw { top_p: 0.5, ..WARM },
            Draw {
                top_k: 40,
                top_p: 0.95,
                temperature: 0.3,
                ..WARM
            },
        ];
        for draw in DRAWS.into_iter().chain(more) {
            for mask in [None, Some(&odd)] {
                bench.executor_reset();
                let terms = Terms {
                    masks: mask.map_or(&[], |_| &masks[..]),
                    ..Default::default()
                };
                let drawn = round(&mut bench, &tokens, &draw, terms).drawn;
                let mut sampler = Sampler::new(params(&draw)).unwrap();
                let mut history = History::new(&[]);
                for (r, logits) in logits.chunks(n_vocab).enumerate() {
                    history.push(tokens[r]);
                    let want = sampler.draw(logits, &history, mask).unwrap();
                    let what = format!("{n_vocab}, spread {spread}, {draw:?}, row {r}");
                    assert_eq!(drawn[r], want, "{what}, masked {}", mask.is_some());
                }
            }
        }
    }
}

#[test]
fn sample_where_nothing_is_allowed_is_an_error() {
    let Some(gpu) = gpu() else { return };
    for n_vocab in [53, 9000] {
        let mut bench = table_and_head(&gpu, n_vocab, 1.0);
        for draw in DRAWS {
            bench.executor_reset();
            let masks = [vec![0, 1 << 19], vec![0]];
            let terms = |masks| Terms {
                masks,
                ..Default::default()
            };
            let made = round(&mut bench, &[3], &draw, terms(&masks[..1]));
            assert_eq!(made.drawn, [51], "{draw:?}");
            let failed = try_round(&mut bench, &[3], &draw, terms(&masks[1..]));
            assert_eq!(failed.err(), Some(Code::RequestInvalid), "{draw:?}");
        }
    }
}

/// Frequencies of draws against the filtered softmax: each within five standard deviations.
#[test]
fn sample_has_the_distribution_in_closed_form() {
    let Some(gpu) = gpu() else { return };
    let n_vocab = 41;
    let mut bench = table_and_head(&gpu, n_vocab, 1.0);
    let logits = bench.forward(&Rows::chain([5]), LogitRows::All);
    let tokens = [5; 17];
    for draw in [
        Draw {
            temperature: 0.8,
            ..GREEDY
        },
        Draw {
            temperature: 1.5,
            top_k: 6,
            ..GREEDY
        },
        Draw {
            temperature: 1.0,
            top_p: 0.7,
            ..GREEDY
        },
    ] {
        let n_rounds = 240;
        let mut counts = vec![0.0; n_vocab];
        for seed in 0..n_rounds {
            bench.executor_reset();
            let draw = Draw { seed, ..draw };
            for id in round(&mut bench, &tokens, &draw, Terms::default()).drawn {
                counts[id as usize] += 1.0;
            }
        }
        let n = (n_rounds * 17) as f64;
        let exact = |id: usize| (f64::from(logits[id]) / f64::from(draw.temperature)).exp();
        let mut ids: Vec<usize> = (0..n_vocab).collect();
        ids.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        if draw.top_k > 0 {
            ids.truncate(draw.top_k);
        }
        let whole: f64 = ids.iter().map(|id| exact(*id)).sum();
        let mut sum = 0.0;
        ids.retain(|id| {
            let kept = sum < f64::from(draw.top_p) * whole;
            sum += exact(*id);
            kept
        });
        let whole: f64 = ids.iter().map(|id| exact(*id)).sum();
        for (id, count) in counts.iter().enumerate() {
            let p = if ids.contains(&id) {
                exact(id) / whole
            } else {
                0.0
            };
            let spread = (p * (1.0 - p) / n).sqrt();
            let off = (count / n - p).abs();
            assert!(off <= 5.0 * spread, "{draw:?}: token {id}: {off} off {p}");
        }
    }
}

/// What the CPU's sampler is told in other words.
fn changed(params: &SamplingParams, prompt: &[u32], reply: &[u32]) -> Vec<TokenChange> {
    let bias = |id: u32| {
        let own = params.logit_bias.iter().filter(|(token, _)| *token == id);
        own.map(|(_, bias)| bias).sum::<f32>()
    };
    let all = (0..53).map(|token| TokenChange {
        token,
        bias: bias(token),
        is_said: prompt.contains(&token) || reply.contains(&token),
        n_in_reply: reply.iter().filter(|id| **id == token).count() as u32,
    });
    all.filter(|change| change.is_said || change.bias != 0.0)
        .collect()
}

#[test]
fn adjust_biases_and_penalises_as_the_cpu_does_whoever_guessed() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random::new(20);
    let case = one_layer(DType::Q8_0, &mut random);
    let (mut bench, mut draft) = (case.compile(&gpu, 64), case.compile(&gpu, 64));
    let (prompt, reply) = ([1, 2, 3, 3], [7, 7, 1, 9]);
    let text: Vec<u32> = prompt.iter().chain(&reply).copied().collect();
    for draw in [GREEDY, WARM, DRAWS[5]] {
        let sampling = SamplingParams {
            logit_bias: vec![(7, 1.5), (11, -2.0), (30, f32::NEG_INFINITY), (52, 0.5)],
            repetition_penalty: 1.3,
            frequency_penalty: 0.4,
            presence_penalty: -0.2,
            ..params(&draw)
        };
        let changes = changed(&sampling, &prompt, &reply);
        let terms = Terms {
            changes: &changes,
            penalties: Some(Penalties {
                repetition: 1.3,
                frequency: 0.4,
                presence: -0.2,
            }),
            logprobs: Some(3),
            ..Default::default()
        };
        // Guesses that repeat one another, and what is listed.
        let guesses = [9, 40, 40, 9, 2];
        let rows: Vec<u32> = [text[7]].into_iter().chain(guesses).collect();
        let reset = |bench: &mut Bench| {
            bench.executor_reset();
            bench.forward(&Rows::chain(&text[..7]), LogitRows::None);
        };
        reset(&mut bench);
        let logits = bench.forward(&Rows::chain(&rows[..]), LogitRows::All);
        reset(&mut bench);
        let made = round(&mut bench, &rows, &draw, terms);
        let mut sampler = Sampler::new(sampling).unwrap();
        let mut history = History::new(&prompt);
        reply.iter().for_each(|id| history.push(*id));
        for (r, logits) in logits.chunks(53).enumerate() {
            let want = sampler.draw(logits, &history, None).unwrap();
            assert_eq!(made.drawn[r], want, "{draw:?}, row {r}");
            // Of the logits as they were.
            let (drawn, top) = logprobs(logits, want, 3);
            assert!((made.logprobs[r].drawn - drawn).abs() < 1e-5);
            let ids = |top: &[(u32, f32)]| top.iter().map(|(id, _)| *id).collect::<Vec<_>>();
            assert_eq!(ids(&made.logprobs[r].top), ids(&top));
            history.push(*guesses.get(r).unwrap_or(&0));
        }

        // A draft that is the target itself guesses what is then drawn: its guesses count
        // as said in its own next step and in the target's rows.
        let plain: Vec<u32> = {
            let (mut said, mut drawn) = (text.clone(), Vec::new());
            for _ in 0..6 {
                let changes = changed(sampler.params(), &prompt, &said[4..]);
                let terms = Terms {
                    changes: &changes,
                    ..terms
                };
                bench.executor_reset();
                bench.forward(&Rows::chain(&said[..said.len() - 1]), LogitRows::None);
                let last = [said[said.len() - 1]];
                drawn.extend(round(&mut bench, &last, &draw, terms).drawn);
                said.push(drawn[drawn.len() - 1]);
            }
            drawn
        };
        reset(&mut bench);
        reset(&mut draft);
        let done = bench.executor.round(
            bench.cache,
            Round {
                tokens: &text[7..],
                guesses: Guesses::Model {
                    executor: &mut draft.executor,
                    cache: draft.cache,
                    tokens: &text[7..],
                    num_tokens: 5,
                },
                draw: &draw,
                terms,
            },
        );
        let done = pollster::block_on(done).unwrap().unwrap();
        assert_eq!(
            (done.num_accepted_tokens, &done.drawn),
            (5, &plain),
            "{draw:?}"
        );
    }
}

/// Bound: 2e-5 nats. `exp` and `log` of WGSL are a few units in the last place each.
#[test]
fn logprobs_are_the_models_own() {
    let Some(gpu) = gpu() else { return };
    for (n_vocab, spread) in [(53, 1.0), (9001, 3.0), (15, 1.0)] {
        let mut bench = table_and_head(&gpu, n_vocab, spread);
        let tokens = [3, 7, 11];
        let logits = bench.forward(&Rows::chain(tokens), LogitRows::All);
        for (draw, n_top) in [(GREEDY, 0), (WARM, 1), (DRAWS[5], 20)] {
            bench.executor_reset();
            let terms = Terms {
                logprobs: Some(n_top),
                ..Default::default()
            };
            let before = gpu.counters();
            let made = round(&mut bench, &tokens, &draw, terms);
            let read = gpu.counters().since(&before).readback_bytes;
            assert_eq!(read, 4 * 4 + 3 * 4 * (1 + 2 * n_top as u64));
            for (r, logits) in logits.chunks(n_vocab).enumerate() {
                let (drawn, top) = logprobs(logits, made.drawn[r], n_top);
                let told = &made.logprobs[r];
                assert!((told.drawn - drawn).abs() < 2e-5, "{} {drawn}", told.drawn);
                assert_eq!(told.top.len(), top.len());
                for (got, want) in told.top.iter().zip(&top) {
                    assert_eq!(got.0, want.0, "row {r} of {n_vocab}");
                    assert!((got.1 - want.1).abs() < 2e-5);
                }
            }
        }
    }
}
