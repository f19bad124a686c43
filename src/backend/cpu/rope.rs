//! `rope_append`: queries and keys are normed and rotated, keys and values cached.

use super::cache::LayerCache;
use super::math::cos_sin;
use super::ops::norm_scale;
use crate::backend::plan::{Heads, QkNormSpan, Rope, RopePairing};

/// Cosines and sines of one rope for the rows of a pass.
pub struct Turns {
    n_pairs: usize,
    /// `[R, n_pairs]` of (cosine, sine), times the rope's magnitude.
    turns: Vec<(f32, f32)>,
}

impl Turns {
    /// For no rows yet.
    pub fn new(rope: &Rope) -> Self {
        Self {
            n_pairs: rope.inv_freq.len(),
            turns: Vec::new(),
        }
    }

    /// Works them out for rows at `positions`: the angle is a product of `f32`, as
    /// the models were trained with.
    pub fn fill(&mut self, rope: &Rope, positions: &[usize]) {
        self.turns.clear();
        for &position in positions {
            self.turns.extend(rope.inv_freq.iter().map(|inv_freq| {
                let angle = position as f32 * inv_freq;
                let (cos, sin) = cos_sin(angle);
                (cos * rope.magnitude, sin * rope.magnitude)
            }));
        }
    }

    /// Of row `r`: `[n_pairs]`.
    fn of(&self, r: usize) -> &[(f32, f32)] {
        &self.turns[r * self.n_pairs..][..self.n_pairs]
    }
}

/// Norms before rotation: weights and epsilon of queries and of keys.
pub struct QkNorms<'a> {
    pub q: (&'a [f32], f32),
    pub k: (&'a [f32], f32),
    pub span: QkNormSpan,
}

/// Norms and rotates queries (in place) and keys, and appends keys and values to the
/// cache from slot `at` on. `qkv`: `[R, width]`, of which the leading
/// `(n_heads + 2 n_kv_heads) * head_dim` columns are queries, keys and values.
pub fn rope_append(
    qkv: &mut [f32],
    width: usize,
    heads: Heads,
    norms: Option<&QkNorms<'_>>,
    rope: Option<(&Rope, &Turns)>,
    cache: &mut LayerCache,
    at: usize,
) {
    let head_dim = heads.head_dim;
    let n_kv = heads.n_kv_heads * head_dim;
    for (r, row) in qkv.chunks_exact_mut(width).enumerate() {
        let (queries, rest) = row.split_at_mut(heads.n_heads * head_dim);
        let (keys, rest) = rest.split_at_mut(n_kv);
        if let Some(norms) = norms {
            norm_in_place(queries, norms.q, norms.span, head_dim);
            norm_in_place(keys, norms.k, norms.span, head_dim);
        }
        if let Some((rope, turns)) = rope {
            for head in queries
                .chunks_exact_mut(head_dim)
                .chain(keys.chunks_exact_mut(head_dim))
            {
                rotate(&mut head[..rope.n_rot], rope.pairing, turns.of(r));
            }
        }
        cache.set(at + r, keys, &rest[..n_kv]);
    }
}

fn norm_in_place(x: &mut [f32], (weight, eps): (&[f32], f32), span: QkNormSpan, head_dim: usize) {
    let n = match span {
        QkNormSpan::Head => head_dim,
        QkNormSpan::Projection => x.len(),
    };
    for part in x.chunks_exact_mut(n) {
        let scale = norm_scale(part, eps);
        for (x, weight) in part.iter_mut().zip(weight) {
            *x = *x * scale * weight;
        }
    }
}

/// Turns each pair of `x` (`[n_rot]`) by its angle.
fn rotate(x: &mut [f32], pairing: RopePairing, turns: &[(f32, f32)]) {
    let half = x.len() / 2;
    for (i, (cos, sin)) in turns.iter().enumerate() {
        let (a, b) = match pairing {
            RopePairing::Halved => (i, i + half),
            RopePairing::Interleaved => (2 * i, 2 * i + 1),
        };
        let (x0, x1) = (x[a], x[b]);
        x[a] = x0 * cos - x1 * sin;
        x[b] = x1 * cos + x0 * sin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_pairings_are_one_rotation_of_permuted_rows() {
        let turns = [(0.6, 0.8), (0.8, -0.6)];
        let mut halved = [1.0, 2.0, 3.0, 4.0];
        rotate(&mut halved, RopePairing::Halved, &turns);
        let mut interleaved = [1.0, 3.0, 2.0, 4.0];
        rotate(&mut interleaved, RopePairing::Interleaved, &turns);
        let [a, c, b, d] = interleaved;
        assert_eq!(halved, [a, b, c, d]);
        assert_eq!(halved[0], 1.0 * 0.6 - 3.0 * 0.8);
        assert_eq!(halved[2], 3.0 * 0.6 + 1.0 * 0.8);
    }
}
