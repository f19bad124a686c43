//! `norm_add` and `rope_append`.

use tandem::backend::gpu::CacheType;
use tandem::backend::plan::{CacheLayer, Heads, Norm, Op, QkNorm, QkNormSpan, Rope, RopePairing};
use tandem::backend::{Executor, LogitRows, Rows};

use super::bench::{Case, Random, assert_close, gpu, rms_norm, widen};

const EPS: f32 = 1e-6;

#[test]
fn norm_add_adds_a_normed_row() {
    let Some(gpu) = gpu() else { return };
    for n in [1, 33, 200] {
        let mut random = Random::new(6);
        let mut case = Case::default();
        let (x, residual) = (case.buffer(n), case.buffer(n));
        let norm = Norm {
            weight: case.vector(n, &mut random),
            eps: EPS,
        };
        case.plan.ops.push(Op::NormAdd {
            x,
            norm,
            scale: 0.5,
            residual,
        });
        let mut bench = case.compile(&gpu, 64);
        for rows in [1, 17] {
            let (input, before) = (random.vector(rows * n), random.vector(rows * n));
            bench.set(x, &input);
            bench.set(residual, &before);
            bench.run(rows);
            let normed = input
                .chunks(n)
                .flat_map(|x| rms_norm(x, &case.values[0], EPS));
            let want: Vec<f64> = normed
                .zip(&before)
                .map(|(y, r)| f64::from(*r) + 0.5 * y)
                .collect();
            assert_close(
                &format!("{n} wide, {rows} rows"),
                &bench.get(residual, rows),
                &want,
                n,
                2e-6,
            );
        }
    }
}

/// Norms and rotates one head's elements at a position.
pub fn rotate(x: &mut [f64], rope: &Rope, position: usize) {
    let pairs = rope.n_rot / 2;
    for (i, freq) in rope.inv_freq.iter().enumerate() {
        let (a, b) = match rope.pairing {
            RopePairing::Halved => (i, i + pairs),
            RopePairing::Interleaved => (2 * i, 2 * i + 1),
        };
        let (sin, cos) = (position as f64 * f64::from(*freq)).sin_cos();
        let (sin, cos) = (
            sin * f64::from(rope.magnitude),
            cos * f64::from(rope.magnitude),
        );
        (x[a], x[b]) = (x[a] * cos - x[b] * sin, x[b] * cos + x[a] * sin);
    }
}

pub fn rope(n_rot: usize, pairing: RopePairing) -> Rope {
    let pairs = n_rot / 2;
    let inv_freq = (0..pairs)
        .map(|i| 10_000f32.powf(-(i as f32) / pairs as f32))
        .collect();
    Rope {
        n_rot,
        pairing,
        inv_freq,
        magnitude: 1.25,
    }
}

#[test]
fn rope_append_norms_and_rotates_queries_at_near_and_far_positions() {
    let Some(gpu) = gpu() else { return };
    let heads = Heads {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 20,
    };
    let width = (heads.n_heads + 2 * heads.n_kv_heads) * heads.head_dim;
    let n_q = heads.n_heads * heads.head_dim;
    for span in [None, Some(QkNormSpan::Head), Some(QkNormSpan::Projection)] {
        for rope in [
            None,
            Some(rope(20, RopePairing::Halved)),
            Some(rope(12, RopePairing::Interleaved)),
            Some(rope(8, RopePairing::Halved)),
        ] {
            let mut random = Random::new(7);
            let mut case = Case::default();
            let qkv = case.buffer(width);
            let qk_norm = span.map(|span| {
                let (q, k) = match span {
                    QkNormSpan::Head => (heads.head_dim, heads.head_dim),
                    QkNormSpan::Projection => (n_q, heads.n_kv_heads * heads.head_dim),
                };
                QkNorm {
                    q: Norm {
                        weight: case.vector(q, &mut random),
                        eps: EPS,
                    },
                    k: Norm {
                        weight: case.vector(k, &mut random),
                        eps: EPS,
                    },
                    span,
                }
            });
            case.plan.cache.push(CacheLayer {
                width: heads.n_kv_heads * heads.head_dim,
            });
            case.plan.ops.push(Op::RopeAppend {
                qkv,
                layer: 0,
                heads,
                qk_norm,
                rope: rope.clone(),
            });
            let mut bench = case.compile_as(&gpu, CacheType::F32, 1100);
            // Positions on both sides of the table's seam, and past two of them.
            for start in [0, 254, 1000] {
                let rows = 5;
                bench.executor.truncate(bench.cache, 0);
                for _ in 0..start / 250 {
                    bench.forward(&Rows::chain(vec![0; 250]), LogitRows::None);
                }
                bench.forward(&Rows::chain(vec![0; start % 250 + 1]), LogitRows::None);
                bench.executor.truncate(bench.cache, start);
                let input = random.vector(rows * width);
                bench.set(qkv, &input);
                bench.forward(&Rows::chain(vec![0; rows]), LogitRows::None);
                let got = bench.get(qkv, rows);
                for (r, row) in input.chunks(width).enumerate() {
                    let q = &row[..n_q];
                    let weight = || &case.values[qk_norm.unwrap().q.weight.0];
                    let mut want: Vec<f64> = match span {
                        None => widen(q),
                        Some(QkNormSpan::Head) => q
                            .chunks(heads.head_dim)
                            .flat_map(|h| rms_norm(h, weight(), EPS))
                            .collect(),
                        Some(QkNormSpan::Projection) => rms_norm(q, weight(), EPS),
                    };
                    if let Some(rope) = &rope {
                        for head in want.chunks_mut(heads.head_dim) {
                            rotate(head, rope, start + r);
                        }
                    }
                    let what = format!("{span:?}, {rope:?}, position {}", start + r);
                    assert_close(&what, &got[r * width..][..n_q], &want, n_q, 2e-6);
                    assert_eq!(
                        got[r * width + n_q..][..width - n_q],
                        row[n_q..],
                        "keys and values stay"
                    );
                }
            }
        }
    }
}
