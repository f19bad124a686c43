use super::*;

fn sampler(params: SamplingParams) -> Sampler {
    Sampler::new(params).unwrap()
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    logits.iter().map(|&l| f64::from(l).exp() / total).collect()
}

/// Draws at `n` positions and returns the frequencies.
fn frequencies(sampler: &mut Sampler, logits: &[f32], n: usize) -> Vec<f64> {
    let mut counts = vec![0.0; logits.len()];
    let mut history = History::new(&[]);
    for _ in 0..n {
        counts[sampler.draw(logits, &history, None).unwrap() as usize] += 1.0 / n as f64;
        history.push(0);
    }
    counts
}

const LOGITS: [f32; 6] = [1.0, 2.5, -0.5, 2.0, 0.0, 1.5];

#[test]
fn greedy_takes_the_highest_and_ties_go_to_the_lowest_id() {
    let mut greedy = sampler(SamplingParams::default());
    let history = History::new(&[]);
    assert_eq!(greedy.draw(&LOGITS, &history, None).unwrap(), 1);
    assert_eq!(
        greedy.draw(&[0.0, 3.0, 3.0, 1.0], &history, None).unwrap(),
        1
    );
}

/// The best under the noise, then what would have been drawn were they not there.
#[test]
fn the_best_few_are_drawn_without_replacement() {
    for temperature in [0.0, 0.7, 1.5] {
        for top_k in [0, 3] {
            let mut sampler = sampler(SamplingParams {
                temperature,
                top_k,
                seed: 9,
                ..Default::default()
            });
            let mut history = History::new(&[]);
            for _ in 0..200 {
                let best = sampler.draw_top(&LOGITS, &history, None, 3).unwrap();
                assert_eq!(best.len(), 3);
                assert_eq!(best[0], sampler.draw(&LOGITS, &history, None).unwrap());
                let one = sampler.draw_top(&LOGITS, &history, None, 1).unwrap();
                assert_eq!(one, best[..1]);
                if top_k == 0 {
                    let mut mask = TokenMask::none(LOGITS.len());
                    let others = (0..LOGITS.len() as u32).filter(|&token| token != best[0]);
                    others.for_each(|token| mask.allow(token));
                    let second = sampler.draw(&LOGITS, &history, Some(&mask)).unwrap();
                    assert_eq!(best[1], second);
                }
                history.push(0);
            }
            let all = sampler.draw_top(&LOGITS, &history, None, 99).unwrap();
            let n_left = if temperature > 0.0 && top_k > 0 {
                top_k
            } else {
                LOGITS.len()
            };
            assert_eq!(all.len(), n_left);
        }
    }
    let none = TokenMask::none(LOGITS.len());
    let mut sampler = sampler(SamplingParams::default());
    assert!(
        sampler
            .draw_top(&LOGITS, &History::new(&[]), Some(&none), 2)
            .is_err()
    );
}

#[test]
fn draws_follow_the_softmax() {
    for temperature in [0.7, 1.0, 1.5] {
        let mut sampler = sampler(SamplingParams {
            temperature,
            seed: 3,
            ..Default::default()
        });
        let n = 40_000;
        let got = frequencies(&mut sampler, &LOGITS, n);
        let want = softmax(&LOGITS.map(|l| l / temperature));
        for (got, want) in got.iter().zip(&want) {
            let sigma = (want * (1.0 - want) / n as f64).sqrt();
            assert!(
                (got - want).abs() < 4.5 * sigma,
                "T = {temperature}: {got} is not {want}"
            );
        }
    }
}

#[test]
fn filters_keep_what_their_definitions_say() {
    let history = History::new(&[]);
    let kept = |params| {
        sampler(SamplingParams {
            temperature: 1.0,
            ..params
        })
        .filtered(&LOGITS, &history, None)
    };
    let base = SamplingParams::default;
    assert_eq!(kept(SamplingParams { top_k: 3, ..base() }), [1, 3, 5]);
    // Probabilities: 1: .405, 3: .245, 5: .149, 0: .090, 4: .033, 2: .020 (of .94...).
    let p = softmax(&LOGITS);
    assert_eq!(
        kept(SamplingParams {
            top_p: (p[1] + p[3]) as f32 - 1e-4,
            ..base()
        }),
        [1, 3]
    );
    assert_eq!(
        kept(SamplingParams {
            top_p: (p[1] + p[3]) as f32 + 1e-4,
            ..base()
        }),
        [1, 3, 5]
    );
    assert_eq!(
        kept(SamplingParams {
            top_p: 0.0,
            ..base()
        }),
        [1],
        "one token always stays"
    );
    assert_eq!(
        kept(SamplingParams {
            min_p: (p[5] / p[1]) as f32 - 1e-4,
            ..base()
        }),
        [1, 3, 5]
    );
    assert_eq!(
        kept(SamplingParams {
            min_p: (p[5] / p[1]) as f32 + 1e-4,
            ..base()
        }),
        [1, 3]
    );
    let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
    let mut typical: Vec<usize> = (0..6).collect();
    typical.sort_by(|&a, &b| {
        (-p[a].ln() - entropy)
            .abs()
            .total_cmp(&(-p[b].ln() - entropy).abs())
    });
    let first = typical[0] as u32;
    assert_eq!(
        kept(SamplingParams {
            typical_p: 0.01,
            ..base()
        }),
        [first]
    );
}

#[test]
fn a_long_vocabulary_gives_the_same_nucleus_as_a_full_sort() {
    let logits: Vec<f32> = (0..5_000).map(|i| 3.0 * gumbel(11, 0, i)).collect();
    let history = History::new(&[]);
    for top_p in [0.1, 0.5, 0.9, 0.99, 0.9999] {
        let mut sampler = sampler(SamplingParams {
            temperature: 2.0,
            top_p,
            ..Default::default()
        });
        let got = sampler.filtered(&logits, &history, None);
        let p = softmax(&logits.iter().map(|l| l / 2.0).collect::<Vec<_>>());
        let mut order: Vec<u32> = (0..5_000).collect();
        order.sort_by(|&a, &b| {
            logits[b as usize]
                .total_cmp(&logits[a as usize])
                .then(a.cmp(&b))
        });
        let mut reached = 0.0;
        let n = 1 + order
            .iter()
            .take_while(|&&t| {
                reached += p[t as usize];
                reached < f64::from(top_p)
            })
            .count();
        assert!(
            got.len().abs_diff(n) <= 1,
            "top_p {top_p}: {} tokens, not {n}",
            got.len()
        );
        assert_eq!(got[..], order[..got.len()]);
    }
}

#[test]
fn penalties_are_openais_and_transformers() {
    let mut history = History::new(&[1, 1]);
    history.push(3);
    history.push(3);
    let params = SamplingParams {
        repetition_penalty: 2.0,
        frequency_penalty: 0.25,
        presence_penalty: 0.5,
        logit_bias: vec![(4, 5.0)],
        ..Default::default()
    };
    let mut sampler = sampler(params);
    sampler.score(&[0.0, 2.0, -1.0, 4.0, 0.0], &history, None);
    assert_eq!(sampler.scores, [0.0, 1.0, -1.0, 2.0 - 0.5 - 0.5, 5.0]);
    history.truncate(3);
    sampler.score(&[0.0, 2.0, -1.0, 4.0, 0.0], &history, None);
    assert_eq!(sampler.scores, [0.0, 1.0, -1.0, 2.0 - 0.25 - 0.5, 5.0]);
}

#[test]
fn dry_penalises_the_token_that_would_go_on_repeating() {
    let dry = Dry {
        multiplier: 1.0,
        base: 2.0,
        allowed_length: 2,
        last_n_tokens: 0,
        breakers: vec![9],
    };
    // "5 6 7 8 ... 5 6 7": 8 would extend a repetition of three.
    assert_eq!(
        repetitions(&[5, 6, 7, 8, 1, 5, 6, 7], &dry),
        HashMap::from([(8, 3)])
    );
    // A breaker between hides what is before it.
    assert_eq!(repetitions(&[5, 9, 7, 8, 1, 5, 9, 7], &dry), HashMap::new());
}

#[test]
fn a_mask_leaves_only_what_it_allows() {
    let mut mask = TokenMask::none(6);
    mask.allow(2);
    mask.allow(4);
    let history = History::new(&[]);
    let mut greedy = sampler(SamplingParams::default());
    assert_eq!(greedy.draw(&LOGITS, &history, Some(&mask)).unwrap(), 4);
    let nothing = TokenMask::none(6);
    let error = greedy.draw(&LOGITS, &history, Some(&nothing)).unwrap_err();
    assert_eq!(error.code(), Code::RequestInvalid);
}

#[test]
fn the_same_seed_and_position_draw_the_same_token() {
    let params = SamplingParams {
        temperature: 1.5,
        seed: 5,
        ..Default::default()
    };
    let history = History::new(&[1, 2, 3]);
    let (mut a, mut b) = (sampler(params.clone()), sampler(params));
    for _ in 0..20 {
        assert_eq!(
            a.draw(&LOGITS, &history, None).unwrap(),
            b.draw(&LOGITS, &history, None).unwrap()
        );
    }
}

#[test]
fn parameters_out_of_range_are_named() {
    let named = |params| Sampler::new(params).unwrap_err().subject().to_string();
    assert_eq!(
        named(SamplingParams {
            temperature: -1.0,
            ..Default::default()
        }),
        "temperature"
    );
    assert_eq!(
        named(SamplingParams {
            top_p: 1.5,
            ..Default::default()
        }),
        "top_p"
    );
    assert_eq!(
        named(SamplingParams {
            min_p: f32::NAN,
            ..Default::default()
        }),
        "min_p"
    );
    assert_eq!(
        named(SamplingParams {
            repetition_penalty: 0.0,
            ..Default::default()
        }),
        "repetition_penalty"
    );
}

#[test]
fn logprobs_are_the_models_own() {
    let (logprob, top) = logprobs(&LOGITS, 3, 2);
    let p = softmax(&LOGITS);
    assert!((f64::from(logprob) - p[3].ln()).abs() < 1e-6);
    assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 3]);
    assert!((f64::from(top[0].1) - p[1].ln()).abs() < 1e-6);
}
