//! The ops of a plan that mix channels: embed, norms and projections.
//!
//! Every function handles its rows one by one with the reductions of [`super::dot`],
//! so none depends on how many there are. Activations are `[R, width]`, row-major.

use super::compute::Compute;
use super::dot::dot;
use super::kernels::GROUP;
use super::math::{erf, exp, tanh};
use super::weights::{Matrix, Weight};
use crate::backend::plan::{Activation, Linear, Norm, WeightId};

/// What the ops share: the weights, and scratch that is allocated once.
pub struct Workspace {
    /// Of the plan, by [`WeightId`].
    pub weights: Vec<Weight>,
    /// Normed activations: `[R, n_in]`.
    normed: Vec<f32>,
    /// What multiplies.
    pub compute: Compute,
    /// Gate activations: `[R, n_ff]`.
    gate: Vec<f32>,
}

impl Workspace {
    /// Around the plan's weights.
    pub fn new(weights: Vec<Weight>, compute: Compute) -> Self {
        Self {
            weights,
            normed: Vec::new(),
            compute,
            gate: Vec::new(),
        }
    }

    /// # Panics
    /// Where the weight is a vector: a slip in the plan.
    pub fn matrix(&self, id: WeightId) -> &Matrix {
        matrix(&self.weights, id)
    }

    /// # Panics
    /// Where the weight is a matrix: a slip in the plan.
    pub fn vector(&self, id: WeightId) -> &[f32] {
        vector(&self.weights, id)
    }
}

fn matrix(weights: &[Weight], id: WeightId) -> &Matrix {
    match &weights[id.0] {
        Weight::Matrix(matrix) => matrix,
        Weight::Vector(values) => panic!("weight {} is a vector of {}", id.0, values.len()),
    }
}

fn vector(weights: &[Weight], id: WeightId) -> &[f32] {
    match &weights[id.0] {
        Weight::Vector(values) => values,
        Weight::Matrix(matrix) => {
            panic!("weight {} is a matrix of rows of {}", id.0, matrix.n_in())
        }
    }
}

/// `out[r] = table[token[r]] * scale`. `out`: `[R, n_embd]`.
pub fn embed(table: &Matrix, scale: f32, tokens: &[u32], out: &mut [f32]) {
    for (row, &token) in out.chunks_exact_mut(table.n_in()).zip(tokens) {
        table.row(token as usize, row);
        if scale != 1.0 {
            row.iter_mut().for_each(|x| *x *= scale);
        }
    }
}

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
pub fn norm_scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

/// `x / sqrt(mean(x^2) + eps) * weight`, one row into another.
#[inline(always)]
fn norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = norm_scale(x, eps);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// The rows of `x`, normed into `scratch` where there is a norm.
fn normed<'a>(
    weights: &[Weight],
    norm: Option<Norm>,
    x: &'a [f32],
    n_in: usize,
    scratch: &'a mut Vec<f32>,
) -> &'a [f32] {
    let Some(norm) = norm else { return x };
    let weight = vector(weights, norm.weight);
    scratch.resize(x.len(), 0.0);
    for (x, out) in x.chunks_exact(n_in).zip(scratch.chunks_exact_mut(n_in)) {
        norm_row(x, weight, norm.eps, out);
    }
    scratch
}

/// The part of a bias vector that belongs to a projection; empty without one.
fn bias<'a>(weights: &'a [Weight], linear: &Linear) -> &'a [f32] {
    match linear.bias {
        Some(id) => &vector(weights, id)[linear.bias_offset..][..linear.n_out()],
        None => &[],
    }
}

/// `out[i] += bias[j + i]`, where there is a bias.
#[inline(always)]
fn add_bias(out: &mut [f32], bias: &[f32], j: usize) {
    if !bias.is_empty() {
        for (out, bias) in out.iter_mut().zip(&bias[j..]) {
            *out += bias;
        }
    }
}

/// `y[i] + bias[j + i]`, of at most a group's outputs.
#[inline(always)]
fn biased(y: &[f32], bias: &[f32], j: usize) -> [f32; GROUP] {
    let mut out = [0.0; GROUP];
    out[..y.len()].copy_from_slice(y);
    add_bias(&mut out[..y.len()], bias, j);
    out
}

/// `out = concat(parts . norm(x))`. `x`: `[R, n_in]`; `out`: `[R, width]`, of which
/// the leading columns are written.
pub fn norm_linear(
    ws: &mut Workspace,
    x: &[f32],
    norm: Option<Norm>,
    parts: &[Linear],
    out: &mut [f32],
    width: usize,
) {
    let weights = &ws.weights;
    let Some(first) = parts.first() else { return };
    let n_in = matrix(weights, first.weight).n_in();
    let x = normed(weights, norm, x, n_in, &mut ws.normed);
    let mut x = ws.compute.inputs(x, n_in);
    let mut at = 0;
    for part in parts {
        let matrix = matrix(weights, part.weight);
        let bias = bias(weights, part);
        matrix.project(&mut x, part.rows.clone(), &mut ws.compute, |r, j, y| {
            let out = &mut out[r * width + at + j..][..y.len()];
            out.copy_from_slice(y);
            add_bias(out, bias, j);
        });
        at += part.n_out();
    }
    ws.compute.recycle(x);
}

/// `residual += scale * (w x + b)`. `x`: `[R, n_in]`; `residual`: `[R, n_out]`.
pub fn linear_add(
    ws: &mut Workspace,
    x: &[f32],
    linear: &Linear,
    scale: f32,
    residual: &mut [f32],
) {
    let width = linear.n_out();
    let bias = bias(&ws.weights, linear);
    let matrix = matrix(&ws.weights, linear.weight);
    let mut x = ws.compute.inputs(x, matrix.n_in());
    matrix.project(&mut x, linear.rows.clone(), &mut ws.compute, |r, j, y| {
        let y = &mut biased(y, bias, j)[..y.len()];
        for (residual, y) in residual[r * width + j..].iter_mut().zip(y) {
            *residual += scale * *y;
        }
    });
    ws.compute.recycle(x);
}

/// `residual += scale * norm(x)`. Both `[R, width]`.
pub fn norm_add(ws: &mut Workspace, x: &[f32], norm: Norm, scale: f32, residual: &mut [f32]) {
    let weight = vector(&ws.weights, norm.weight);
    let width = weight.len();
    ws.normed.resize(width, 0.0);
    for (x, residual) in x.chunks_exact(width).zip(residual.chunks_exact_mut(width)) {
        norm_row(x, weight, norm.eps, &mut ws.normed);
        for (residual, x) in residual.iter_mut().zip(&ws.normed) {
            *residual += scale * x;
        }
    }
}

/// `out = act(gate . norm(x)) * (up . norm(x))`. `x`: `[R, n_in]`; `out`: `[R, n_ff]`.
pub fn norm_gate_up(
    ws: &mut Workspace,
    x: &[f32],
    norm: Option<Norm>,
    gate: &Linear,
    up: &Linear,
    activation: Activation,
    out: &mut [f32],
) {
    let weights = &ws.weights;
    let n_ff = gate.n_out();
    let gate_matrix = matrix(weights, gate.weight);
    let n_in = gate_matrix.n_in();
    let x = normed(weights, norm, x, n_in, &mut ws.normed);
    let mut x = ws.compute.inputs(x, n_in);
    ws.gate.resize(out.len(), 0.0);
    let (gate_bias, up_bias) = (bias(weights, gate), bias(weights, up));
    let gated = &mut ws.gate;
    gate_matrix.project(&mut x, gate.rows.clone(), &mut ws.compute, |r, j, y| {
        let gated = &mut gated[r * n_ff + j..][..y.len()];
        gated.copy_from_slice(y);
        add_bias(gated, gate_bias, j);
        gated.iter_mut().for_each(|x| *x = activate(activation, *x));
    });
    let up_matrix = matrix(weights, up.weight);
    up_matrix.project(&mut x, up.rows.clone(), &mut ws.compute, |r, j, y| {
        let n = y.len();
        let y = biased(y, up_bias, j);
        let at = r * n_ff + j;
        let parts = out[at..][..n].iter_mut().zip(&gated[at..]).zip(y);
        for ((out, gated), y) in parts {
            *out = gated * y;
        }
    });
    ws.compute.recycle(x);
}

/// `logits = cap(scale * (w . norm(x)))`. `x`: `[R, n_embd]`; the result is `[R, n_vocab]`.
pub fn head(
    ws: &mut Workspace,
    x: &[f32],
    norm: Norm,
    linear: &Linear,
    scale: f32,
    softcap: Option<f32>,
) -> Vec<f32> {
    let weights = &ws.weights;
    let matrix = matrix(weights, linear.weight);
    let n_vocab = linear.n_out();
    let mut logits = vec![0.0; x.len() / matrix.n_in() * n_vocab];
    let n_in = matrix.n_in();
    let x = normed(weights, Some(norm), x, n_in, &mut ws.normed);
    let mut x = ws.compute.inputs(x, n_in);
    let bias = bias(weights, linear);
    matrix.project(&mut x, linear.rows.clone(), &mut ws.compute, |r, j, y| {
        let logits = &mut logits[r * n_vocab + j..][..y.len()];
        logits.copy_from_slice(y);
        add_bias(logits, bias, j);
        for logit in logits {
            *logit *= scale;
            if let Some(cap) = softcap {
                *logit = cap * tanh(*logit / cap);
            }
        }
    });
    ws.compute.recycle(x);
    logits
}

/// The non-linearity of a gated feed-forward block.
#[inline(always)]
fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Silu => x / (1.0 + exp(-x)),
        Activation::GeluTanh => {
            // sqrt(2 / pi)
            let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + tanh(inner))
        }
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_have_their_published_values() {
        // torch.nn.functional at float64, rounded.
        for (activation, x, y) in [
            (Activation::Silu, 1.0, 0.731_058_6),
            (Activation::Silu, -2.0, -0.238_405_8),
            (Activation::GeluTanh, 1.0, 0.841_192),
            (Activation::GeluTanh, -0.5, -0.154_286),
            (Activation::Gelu, 1.0, 0.841_344_7),
            (Activation::Gelu, -0.5, -0.154_268_8),
            (Activation::Gelu, -4.0, -0.000_126_685),
        ] {
            let found = activate(activation, x);
            assert!(
                (found - y).abs() < 2e-7,
                "{activation:?}({x}) = {found}, not {y}"
            );
        }
        assert_eq!(activate(Activation::Gelu, -30.0), 0.0);
    }
}
