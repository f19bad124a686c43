//! `norm_linear`, `linear_add`, `norm_gate_up`, `head`, `embed`: everything that reads a
//! weight matrix, in every element type.
//!
//! Bound: 2e-5 of the largest element of the row, for f32 sums of a few hundred terms.

use tandem::backend::plan::{Activation, Norm, Op};
use tandem::backend::{LogitRows, Rows};
use tandem::format::DType;

use super::bench::{Case, Random, assert_close, gpu, product, rms_norm, widen};

const BOUND: f64 = 2e-5;
const EPS: f32 = 1e-5;

/// Row counts on both sides of every tile's edge.
const ROWS: &[usize] = &[1, 2, 3, 5, 8, 9, 16, 17, 25, 33];

#[test]
fn norm_linear_in_every_element_type() {
    let Some(gpu) = gpu() else { return };
    for &dtype in DType::ALL {
        let n_in = if dtype.is_float() {
            72
        } else {
            3 * dtype.block_len().max(32)
        };
        let n_out = 37;
        let mut random = Random::new(1);
        let mut case = Case::default();
        let (x, out) = (case.buffer(n_in), case.buffer(n_out));
        let weight = case.random(dtype, &[n_out, n_in], &mut random);
        let norm = Norm {
            weight: case.vector(n_in, &mut random),
            eps: EPS,
        };
        let parts = vec![case.linear(weight)];
        case.plan.ops.push(Op::NormLinear {
            x,
            norm: Some(norm),
            parts,
            out,
        });
        let mut bench = case.compile(&gpu, 64);
        for rows in [1, 3, 26] {
            let input = random.vector(rows * n_in);
            bench.set(x, &input);
            bench.run(rows);
            let want: Vec<f64> = (input.chunks(n_in))
                .flat_map(|x| product(&case.values[0], &rms_norm(x, &case.values[1], EPS)))
                .collect();
            assert_close(
                &format!("{dtype}, {rows} rows"),
                &bench.get(out, rows),
                &want,
                n_out,
                BOUND,
            );
        }
    }
}

#[test]
fn norm_linear_of_parts_with_biases_at_every_row_count() {
    let Some(gpu) = gpu() else { return };
    // Odd sizes, none a multiple of any tile; the last part has another type and so a
    // launch of its own; the second is some rows of a larger matrix, biased from the
    // middle of a vector.
    let n_in = 96;
    for normed in [true, false] {
        let mut random = Random::new(2);
        let mut case = Case::default();
        let (q, kv) = (33, 7);
        let (x, out) = (case.buffer(n_in), case.buffer(q + 2 * kv));
        let wq = case.random(DType::Q4_0, &[q, n_in], &mut random);
        let wk = case.random(DType::Q4_0, &[kv + 5, n_in], &mut random);
        let wv = case.random(DType::Q8_0, &[kv, n_in], &mut random);
        let norm = Norm {
            weight: case.vector(n_in, &mut random),
            eps: EPS,
        };
        let bias = case.vector(20, &mut random);
        let mut parts = vec![case.linear(wq), case.linear(wk), case.linear(wv)];
        parts[1].rows = 3..3 + kv;
        parts[1].bias = Some(bias);
        parts[1].bias_offset = 4;
        case.plan.ops.push(Op::NormLinear {
            x,
            norm: normed.then_some(norm),
            parts,
            out,
        });
        let mut bench = case.compile(&gpu, 64);
        for &rows in ROWS {
            let input = random.vector(rows * n_in);
            bench.set(x, &input);
            bench.run(rows);
            let want: Vec<f64> = (input.chunks(n_in))
                .flat_map(|x| {
                    let x = if normed {
                        rms_norm(x, &case.values[3], EPS)
                    } else {
                        widen(x)
                    };
                    let mut y = product(&case.values[0], &x);
                    let k = product(&case.values[1][3 * n_in..(3 + kv) * n_in], &x);
                    y.extend(
                        k.iter()
                            .zip(&case.values[4][4..])
                            .map(|(y, b)| y + f64::from(*b)),
                    );
                    y.extend(product(&case.values[2], &x));
                    y
                })
                .collect();
            let what = format!("normed {normed}, {rows} rows");
            assert_close(&what, &bench.get(out, rows), &want, q + 2 * kv, BOUND);
        }
    }
}

/// Matrices as wide as several tiles and groups of lanes: many rows go through `gemm`, one
/// through `matvec`, and a prompt may be cut up anywhere.
#[test]
fn norm_gate_up_and_linear_add_of_many_rows_have_the_bits_of_one() {
    let Some(gpu) = gpu() else { return };
    for (dtype, n_in, n_ff) in [
        (DType::Q4_0, 416, 70),
        (DType::Q6K, 1280, 33),
        (DType::F16, 40, 5),
    ] {
        let mut random = Random::new(25);
        let mut case = Case::default();
        let (x, hidden) = (case.buffer(n_in), case.buffer(n_ff));
        let [gate, up] = [(); 2].map(|()| case.random(dtype, &[n_ff, n_in], &mut random));
        let norm = Norm {
            weight: case.vector(n_in, &mut random),
            eps: EPS,
        };
        let down = case.random(DType::F16, &[n_in, n_ff], &mut random);
        case.plan.ops = vec![
            Op::NormGateUp {
                x,
                norm: Some(norm),
                gate: case.linear(gate),
                up: case.linear(up),
                activation: Activation::Silu,
                out: hidden,
            },
            Op::LinearAdd {
                x: hidden,
                linear: case.linear(down),
                scale: 0.5,
                residual: x,
            },
        ];
        let mut bench = case.compile(&gpu, 128);
        let rows = 75;
        let input = random.vector(rows * n_in);
        bench.set(x, &input);
        bench.run(rows);
        let together = bench.get(x, rows);
        for row in [0, 1, 31, 32, 40, 63, 74] {
            let own = row * n_in..(row + 1) * n_in;
            bench.set(x, &input[own.clone()]);
            bench.run(1);
            assert_eq!(bench.get(x, 1), together[own], "{dtype}, row {row}");
        }
    }
}

#[test]
fn linear_add_adds_to_what_is_there() {
    let Some(gpu) = gpu() else { return };
    for (n_in, n_out) in [(32, 1), (40, 65), (544, 19)] {
        let mut random = Random::new(3);
        let mut case = Case::default();
        let (x, residual) = (case.buffer(n_in), case.buffer(n_out));
        let weight = case.random(DType::F16, &[n_out, n_in], &mut random);
        let bias = case.vector(n_out, &mut random);
        let mut linear = case.linear(weight);
        linear.bias = Some(bias);
        case.plan.ops.push(Op::LinearAdd {
            x,
            linear,
            scale: 0.22,
            residual,
        });
        let mut bench = case.compile(&gpu, 64);
        for &rows in ROWS {
            let (input, before) = (random.vector(rows * n_in), random.vector(rows * n_out));
            bench.set(x, &input);
            bench.set(residual, &before);
            bench.run(rows);
            let sums = input
                .chunks(n_in)
                .flat_map(|x| product(&case.values[0], &widen(x)));
            let biases = case.values[1].iter().cycle();
            let want: Vec<f64> = (sums.zip(biases).zip(&before))
                .map(|((y, b), r)| f64::from(*r) + 0.22 * (y + f64::from(*b)))
                .collect();
            let what = format!("[{n_out}, {n_in}], {rows} rows");
            assert_close(&what, &bench.get(residual, rows), &want, n_out, BOUND);
        }
    }
}

#[test]
fn norm_gate_up_with_every_activation() {
    let Some(gpu) = gpu() else { return };
    let (n_in, n_ff) = (64, 45);
    for activation in [Activation::Silu, Activation::GeluTanh, Activation::Gelu] {
        // Gate and up of one type, then of two, which become halves on the device.
        for (dtype, bound) in [(DType::Q4_1, BOUND), (DType::Q5_1, 2e-3)] {
            let mut random = Random::new(4);
            let mut case = Case::default();
            let (x, out) = (case.buffer(n_in), case.buffer(n_ff));
            let gate = case.random(DType::Q4_1, &[n_ff, n_in], &mut random);
            let up = case.random(dtype, &[n_ff, n_in], &mut random);
            let norm = Norm {
                weight: case.vector(n_in, &mut random),
                eps: EPS,
            };
            case.plan.ops.push(Op::NormGateUp {
                x,
                norm: Some(norm),
                gate: case.linear(gate),
                up: case.linear(up),
                activation,
                out,
            });
            let mut bench = case.compile(&gpu, 64);
            for rows in [1, 2, 6, 17, 64] {
                let input = random.vector(rows * n_in);
                bench.set(x, &input);
                bench.run(rows);
                let want: Vec<f64> = (input.chunks(n_in))
                    .flat_map(|x| {
                        let x = rms_norm(x, &case.values[2], EPS);
                        let (gate, up) =
                            (product(&case.values[0], &x), product(&case.values[1], &x));
                        gate.into_iter()
                            .zip(up)
                            .map(|(g, u)| activate(activation, g) * u)
                            .collect::<Vec<_>>()
                    })
                    .collect();
                let what = format!("{activation:?}, {dtype}, {rows} rows");
                assert_close(&what, &bench.get(out, rows), &want, n_ff, bound);
            }
        }
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
    }
}

/// By its Taylor series; beyond 4 it is a sign to eight digits.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn embed_then_head_share_a_table_and_give_the_rows_asked_for() {
    let Some(gpu) = gpu() else { return };
    let (n_vocab, width) = (301, 64);
    for softcap in [None, Some(3.0f32)] {
        let mut random = Random::new(5);
        let mut case = Case::default();
        let (x, out) = (case.buffer(width), case.buffer(n_vocab));
        let table = case.random(DType::Q8_0, &[n_vocab, width], &mut random);
        let norm = Norm {
            weight: case.vector(width, &mut random),
            eps: EPS,
        };
        case.plan.ops.push(Op::Embed {
            table,
            scale: 1.5,
            out: x,
        });
        let weight = case.linear(table);
        case.plan.ops.push(Op::Head {
            x,
            norm,
            weight,
            scale: 0.7,
            softcap,
            out,
        });
        case.plan.n_vocab = n_vocab;
        let mut bench = case.compile(&gpu, 512);
        for rows in [1, 5, 16, 17, 300] {
            let tokens: Vec<u32> = (0..rows)
                .map(|_| random.bits() as u32 % n_vocab as u32)
                .collect();
            let logits = |token: u32| {
                let row = &case.values[0][token as usize * width..][..width];
                let row: Vec<f32> = row.iter().map(|v| v * 1.5).collect();
                let y = product(&case.values[0], &rms_norm(&row, &case.values[1], EPS));
                y.into_iter().map(|y| match softcap.map(f64::from) {
                    Some(cap) => cap * (0.7 * y / cap).tanh(),
                    None => 0.7 * y,
                })
            };
            let all: Vec<f64> = tokens.iter().flat_map(|t| logits(*t)).collect();
            let last = &all[(rows - 1) * n_vocab..];
            for (wanted, want) in [
                (LogitRows::None, &all[..0]),
                (LogitRows::Last, last),
                (LogitRows::All, &all),
            ] {
                if rows == 300 && wanted == LogitRows::All {
                    continue;
                }
                bench.executor_reset();
                let got = bench.forward(&Rows::chain(tokens.clone()), wanted);
                let what = format!("{rows} rows, {wanted:?}, cap {softcap:?}");
                assert_close(&what, &got, want, n_vocab, BOUND);
            }
        }
    }
}
