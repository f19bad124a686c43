use super::*;
use crate::decode::draft::Source;
use crate::decode::sampling::SamplingParams;

const N_VOCAB: usize = 8;

/// Target and draft logits of a small vocabulary that disagree a good deal.
fn logits(salt: u64) -> Vec<f32> {
    (0..N_VOCAB as u32)
        .map(|t| 0.6 * crate::decode::noise::gumbel(salt, 0, t))
        .collect()
}

struct Trial {
    /// Frequencies of the token made at the guess's position.
    made: Vec<f64>,
    accepted: f64,
}

/// `n` verifications of one guess drawn from `q`, by a rule made of `accept`.
fn trials(n: u32, params: &SamplingParams, biased: bool) -> (Trial, Distribution, Distribution) {
    let (target, draft) = (logits(1), logits(2));
    let (mut made, mut accepted) = (vec![0.0; N_VOCAB], 0.0);
    let mut sampler = Sampler::new(params.clone()).unwrap();
    let history = History::new(&[]);
    let p = sampler.distribution(&target, &history, None);
    let q = sampler.distribution(&draft, &history, None);
    for trial in 0..n {
        let params = SamplingParams {
            seed: u64::from(trial),
            ..params.clone()
        };
        let mut sampler = Sampler::new(params).unwrap();
        let guess = draw_from(u64::from(trial) ^ 0x9e37_79b9_7f4a_7c15, 0, &q).unwrap();
        let proposal = Proposal {
            distributions: vec![q.clone()],
            ..Proposal::certain(Source::Draft, vec![guess])
        };
        let rule = Verification::Rejection;
        let (token, stood) = rule
            .next(&mut sampler, &target, &history, None, Some((&proposal, 0)))
            .unwrap();
        // The biased verifier corrects from p where it should correct from the residual.
        let token = if biased && !stood {
            draw_from(u64::from(trial) ^ 77, 0, &p).unwrap()
        } else {
            token
        };
        made[token as usize] += 1.0 / f64::from(n);
        accepted += f64::from(u8::from(stood)) / f64::from(n);
    }
    (Trial { made, accepted }, p, q)
}

fn total_variation(frequencies: &[f64], p: &[(u32, f64)]) -> f64 {
    let of = |token: usize| probability(p, token as u32);
    frequencies
        .iter()
        .enumerate()
        .map(|(t, f)| (f - of(t)).abs())
        .sum::<f64>()
        / 2.0
}

/// The distance that `n` honest draws from `p` leave, about: sum of sqrt(p(1-p)/n) * 0.4.
fn honest_distance(p: &[(u32, f64)], n: u32) -> f64 {
    p.iter()
        .map(|(_, p)| (p * (1.0 - p) / f64::from(n)).sqrt())
        .sum::<f64>()
        * 0.4
}

#[test]
fn rejection_keeps_the_targets_distribution() {
    for params in [
        SamplingParams {
            temperature: 1.0,
            ..Default::default()
        },
        SamplingParams {
            temperature: 0.7,
            top_p: 0.9,
            ..Default::default()
        },
        SamplingParams {
            temperature: 1.5,
            top_k: 5,
            ..Default::default()
        },
    ] {
        for n in [2_000, 32_000] {
            let (trial, p, _) = trials(n, &params, false);
            assert!(p.len() > 2, "the test needs a choice: {p:?}");
            let distance = total_variation(&trial.made, &p);
            assert!(
                distance < 2.5 * honest_distance(&p, n),
                "{params:?}, {n} draws: {distance}"
            );
        }
    }
}

#[test]
fn a_biased_verifier_fails_the_same_test() {
    let params = SamplingParams {
        temperature: 1.0,
        ..Default::default()
    };
    let (trial, p, _) = trials(32_000, &params, true);
    assert!(total_variation(&trial.made, &p) > 5.0 * honest_distance(&p, 32_000));
}

#[test]
fn acceptance_is_the_overlap_of_the_distributions() {
    let n = 32_000;
    let (trial, p, q) = trials(
        n,
        &SamplingParams {
            temperature: 1.0,
            ..Default::default()
        },
        false,
    );
    let overlap: f64 = p
        .iter()
        .map(|&(token, p)| p.min(probability(&q, token)))
        .sum();
    let sigma = (overlap * (1.0 - overlap) / f64::from(n)).sqrt();
    assert!(
        (trial.accepted - overlap).abs() < 4.0 * sigma,
        "{} is not {overlap}",
        trial.accepted
    );
    assert!(
        (0.1..0.9).contains(&overlap),
        "the test must have both outcomes"
    );
}

#[test]
fn a_certain_guess_stands_with_the_targets_probability() {
    let target = logits(1);
    let history = History::new(&[]);
    let base = SamplingParams {
        temperature: 1.0,
        ..Default::default()
    };
    let p = Sampler::new(base.clone())
        .unwrap()
        .distribution(&target, &history, None);
    let (mut made, n) = (vec![0.0; N_VOCAB], 32_000);
    for seed in 0..n {
        let mut sampler = Sampler::new(SamplingParams {
            seed,
            ..base.clone()
        })
        .unwrap();
        let proposal = Proposal::certain(Source::Ngram, vec![3]);
        let rule = Verification::Rejection;
        let (token, _) = rule
            .next(&mut sampler, &target, &history, None, Some((&proposal, 0)))
            .unwrap();
        made[token as usize] += 1.0 / n as f64;
    }
    assert!(total_variation(&made, &p) < 2.5 * honest_distance(&p, n as u32));
}

#[test]
fn at_temperature_zero_rejection_is_greedy() {
    let target = logits(1);
    let history = History::new(&[]);
    let mut sampler = Sampler::new(SamplingParams::default()).unwrap();
    let best = sampler.draw(&target, &history, None).unwrap();
    for guess in 0..N_VOCAB as u32 {
        let proposal = Proposal::certain(Source::Draft, vec![guess]);
        let next = Verification::Rejection.next(
            &mut sampler,
            &target,
            &history,
            None,
            Some((&proposal, 0)),
        );
        assert_eq!(next.unwrap(), (best, guess == best));
    }
}
