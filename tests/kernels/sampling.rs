//! `sample` against the CPU's sampler, which is the definition.

use tandem::backend::{Draw, Executor, Guesses, LogitRows, Round, Rows};
use tandem::decode::sampling::{History, Sampler, SamplingParams};
use tandem::format::DType;

use super::bench::{Random, gpu};
use super::row_independence::one_layer;

#[test]
fn sample_draws_what_the_cpu_draws() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random::new(19);
    let case = one_layer(DType::Q8_0, &mut random);
    let mut bench = case.compile(&gpu, 256);
    let prompt: Vec<u32> = (0..5).map(|_| random.bits() as u32 % 53).collect();
    let rows = Rows::chain(
        (0..12)
            .map(|_| random.bits() as u32 % 53)
            .collect::<Vec<_>>(),
    );
    bench.forward(&Rows::chain(prompt.clone()), LogitRows::None);
    let logits = bench.forward(&rows, LogitRows::All);
    let greedy = Draw {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 0,
    };
    let warm = Draw {
        temperature: 1.3,
        seed: 0x1234_5678_9abc_def0,
        ..greedy
    };
    for draw in [
        greedy,
        warm,
        Draw { top_k: 7, ..warm },
        Draw { top_p: 0.8, ..warm },
        Draw { min_p: 0.2, ..warm },
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
            ..warm
        },
        Draw { top_p: 0.0, ..warm },
    ] {
        bench.executor.truncate(bench.cache, prompt.len());
        let before = gpu.counters();
        let round = bench.executor.round(
            bench.cache,
            Round {
                tokens: &rows.tokens[..1],
                guesses: Guesses::Tokens(&rows.tokens[1..]),
                draw: &draw,
            },
        );
        let drawn = pollster::block_on(round).unwrap().unwrap().drawn;
        assert_eq!(gpu.counters().since(&before).readback_bytes, 13 * 4);
        let mut sampler = Sampler::new(SamplingParams {
            temperature: draw.temperature,
            top_k: draw.top_k,
            top_p: draw.top_p,
            min_p: draw.min_p,
            seed: draw.seed,
            ..SamplingParams::default()
        })
        .unwrap();
        let mut history = History::new(&prompt);
        for (r, logits) in logits.chunks(53).enumerate() {
            history.push(rows.tokens[r]);
            let want = sampler.draw(logits, &history, None).unwrap();
            assert_eq!(drawn[r], want, "{draw:?}, row {r}");
        }
    }
}
