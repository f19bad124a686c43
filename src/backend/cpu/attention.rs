//! `attention`: each query over the keys and values it may see.

use super::cache::{LayerCache, SLOTS};
use super::compute::Compute;
use super::dot::{highest, sum};
use super::kernels::{Lanes, Work};
use super::math::{exp, tanh};
use super::visible::{Slots, Visible};
use crate::backend::plan::Heads;

/// How one layer attends.
pub struct Scores {
    /// Multiplies `q . k`.
    pub scale: f32,
    /// `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// A row sees only the last `window` positions, itself included.
    pub window: Option<usize>,
}

/// What [`attention`] reads.
pub struct Input<'a> {
    /// `[R, width]`, of which the leading columns are queries.
    pub qkv: &'a [f32],
    pub width: usize,
    pub heads: Heads,
    pub how: &'a Scores,
    pub visible: &'a Visible,
    pub cache: &'a LayerCache,
}

/// `out = softmax(mask(cap(q k^T * scale))) v`; `out`: `[R, out_width]`.
pub fn attention(compute: &mut Compute, input: &Input<'_>, out: &mut [f32], out_width: usize) {
    let Heads {
        n_heads,
        n_kv_heads,
        head_dim,
    } = input.heads;
    // Heads that share keys and values are done together; where the buffer has other
    // columns too, so are those of a row.
    let group = n_heads / n_kv_heads * head_dim;
    let (unit, unit_kv_heads) = match out_width == n_heads * head_dim {
        true => (group, 1),
        false => (out_width, n_kv_heads),
    };
    let last = input.visible.positions.iter().max();
    let unit_products = 2 * unit * last.map_or(1, |last| last + 1);
    let (processor, pool) = (compute.processor, &mut compute.pool);
    let piece = pool.piece(out.len() / unit, unit_products);
    pool.chunks(out, piece * unit, |i, out| {
        processor.work(Units {
            input,
            first: i * piece,
            unit,
            unit_kv_heads,
            group,
            out,
        });
    });
}

/// Some of what [`attention`] writes.
struct Units<'a> {
    input: &'a Input<'a>,
    /// Of the units.
    first: usize,
    /// Columns of one.
    unit: usize,
    /// Heads of keys of one.
    unit_kv_heads: usize,
    /// Columns of the heads that share one of keys.
    group: usize,
    /// Whole units.
    out: &'a mut [f32],
}

impl Work for Units<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let n_kv_heads = self.input.heads.n_kv_heads;
        let mut scores = Vec::new();
        for (u, out) in self.out.chunks_exact_mut(self.unit).enumerate() {
            let first = (self.first + u) * self.unit_kv_heads;
            let row = first / n_kv_heads;
            for k in 0..self.unit_kv_heads {
                let out = &mut out[k * self.group..][..self.group];
                of_group(
                    lanes,
                    self.input,
                    row,
                    first % n_kv_heads + k,
                    &mut scores,
                    out,
                );
            }
        }
    }
}

/// The heads of one row that share a head of keys and values. `out`: their outputs, side
/// by side; `scores` is scratch.
#[inline(always)]
fn of_group<L: Lanes>(
    lanes: L,
    input: &Input<'_>,
    row: usize,
    kv_head: usize,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let head_dim = input.heads.head_dim;
    let seen = Seen {
        slots: input.visible.slots(row, input.how.window),
        cache: input.cache,
        column: kv_head * head_dim,
    };
    let queries = &input.qkv[row * input.width + kv_head * out.len()..][..out.len()];
    // Two at a time, for which each key and value is loaded once.
    let mut pairs = queries.chunks_exact(2 * head_dim);
    let mut outs = out.chunks_exact_mut(2 * head_dim);
    for (pair, out) in (&mut pairs).zip(&mut outs) {
        let (q0, q1) = pair.split_at(head_dim);
        let (out0, out1) = out.split_at_mut(head_dim);
        of_heads(lanes, &seen, input.how, [q0, q1], scores, [out0, out1]);
    }
    if !pairs.remainder().is_empty() {
        let out = outs.into_remainder();
        of_heads(lanes, &seen, input.how, [pairs.remainder()], scores, [out]);
    }
}

/// `out = softmax(cap(q k^T * scale)) v` of `H` heads.
#[inline(always)]
fn of_heads<L: Lanes, const H: usize>(
    lanes: L,
    seen: &Seen<'_>,
    how: &Scores,
    queries: [&[f32]; H],
    scores: &mut Vec<f32>,
    mut out: [&mut [f32]; H],
) {
    let n = seen.slots.len();
    let (skipped, stride) = seen.score(lanes, queries, how.scale, scores);
    let mut totals = [0.0; H];
    for (scores, total) in scores.chunks_exact_mut(stride).zip(&mut totals) {
        let scores = &mut scores[skipped..][..n];
        if let Some(cap) = how.softcap {
            scores
                .iter_mut()
                .for_each(|score| *score = cap * tanh(*score / cap));
        }
        let highest = highest(scores);
        scores
            .iter_mut()
            .for_each(|score| *score = exp(*score - highest));
        *total = sum(scores);
    }
    let scores: &[f32] = scores;
    let scores = std::array::from_fn(|h| &scores[h * stride + skipped..][..n]);
    seen.weigh(lanes, scores, &mut out);
    for (out, total) in out.into_iter().zip(totals) {
        out.iter_mut().for_each(|out| *out /= total);
    }
}

/// What one head of keys and values holds of the tokens that a row sees.
struct Seen<'a> {
    slots: Slots<'a>,
    cache: &'a LayerCache,
    /// The head's first.
    column: usize,
}

impl Seen<'_> {
    /// `q . k * scale` of every slot, in order of position: how many scores of each head to
    /// leave out before them, and how far it is from one head's to the next's.
    #[inline(always)]
    fn score<L: Lanes, const H: usize>(
        &self,
        lanes: L,
        queries: [&[f32]; H],
        scale: f32,
        scores: &mut Vec<f32>,
    ) -> (usize, usize) {
        let Slots { first, n_chain, .. } = self.slots;
        let head_dim = queries[0].len();
        // Whole groups of slots, of which the last may hold some that the row does not see:
        // those are overwritten or left out.
        let skipped = first % SLOTS;
        let groups = first / SLOTS..(first + n_chain).div_ceil(SLOTS);
        let stride = (groups.len() * SLOTS).max(skipped + self.slots.len());
        scores.resize(H * stride, 0.0);
        for (i, group) in groups.enumerate() {
            let keys = self.cache.keys(group, self.column, head_dim);
            let products = multiply(lanes, queries, keys, scale);
            for (h, products) in products.iter().enumerate() {
                scores[h * stride + i * SLOTS..][..SLOTS].copy_from_slice(products);
            }
        }
        for (i, &node) in self.slots.lineage.iter().enumerate() {
            let slot = self.slots.base + node;
            let keys = self.cache.keys(slot / SLOTS, self.column, head_dim);
            let products = multiply(lanes, queries, keys, scale);
            for (h, products) in products.iter().enumerate() {
                scores[h * stride + skipped + n_chain + i] = products[slot % SLOTS];
            }
        }
        (skipped, stride)
    }

    /// `out = sum(scores[i] * v[i])`, one after another in order of position.
    #[inline(always)]
    fn weigh<L: Lanes, const H: usize>(
        &self,
        lanes: L,
        scores: [&[f32]; H],
        out: &mut [&mut [f32]; H],
    ) {
        let head_dim = out[0].len();
        let mut column = 0;
        while column + 32 <= head_dim {
            self.weigh_eights::<L, H, 4>(lanes, scores, column, out);
            column += 32;
        }
        while column + 8 <= head_dim {
            self.weigh_eights::<L, H, 1>(lanes, scores, column, out);
            column += 8;
        }
        for column in column..head_dim {
            for (scores, out) in scores.iter().zip(out.iter_mut()) {
                let mut sum = 0.0;
                for (i, score) in scores.iter().enumerate() {
                    sum += score * self.cache.value(self.slots.get(i), self.column + column, 1)[0];
                }
                out[column] = sum;
            }
        }
    }

    /// The same of eight times `N` columns, whose sums stay in registers.
    #[inline(always)]
    fn weigh_eights<L: Lanes, const H: usize, const N: usize>(
        &self,
        lanes: L,
        scores: [&[f32]; H],
        column: usize,
        out: &mut [&mut [f32]; H],
    ) {
        let mut sums = [[lanes.float(0.0); N]; H];
        let n_chain = self.slots.n_chain;
        for i in 0..n_chain {
            let value = self
                .cache
                .value(self.slots.first + i, self.column + column, 8 * N);
            add_value(lanes, &mut sums, scores.map(|scores| scores[i]), value);
        }
        for (i, &node) in self.slots.lineage.iter().enumerate() {
            let value = self
                .cache
                .value(self.slots.base + node, self.column + column, 8 * N);
            add_value(
                lanes,
                &mut sums,
                scores.map(|scores| scores[n_chain + i]),
                value,
            );
        }
        for (sums, out) in sums.into_iter().zip(out) {
            let out = out[column..][..8 * N].as_chunks_mut().0;
            for (sum, out) in sums.into_iter().zip(out) {
                lanes.store(sum, out);
            }
        }
    }
}

/// `scale * (query . key)` of `H` queries and eight keys. Even columns and odd ones have a
/// running sum each, for as many additions to be under way at once.
#[inline(always)]
fn multiply<L: Lanes, const H: usize>(
    lanes: L,
    queries: [&[f32]; H],
    keys: &[[f32; SLOTS]],
    scale: f32,
) -> [[f32; SLOTS]; H] {
    let n = keys.len();
    let queries = queries.map(|query| &query[..n]);
    let mut sums = [[lanes.float(0.0); 2]; H];
    let (pairs, last) = keys.as_chunks::<2>();
    for (i, pair) in pairs.iter().enumerate() {
        for odd in 0..2 {
            let key = lanes.read(&pair[odd]);
            for h in 0..H {
                let query = lanes.float(queries[h][2 * i + odd]);
                sums[h][odd] = lanes.add(sums[h][odd], lanes.mul(query, key));
            }
        }
    }
    if let [key] = last {
        let key = lanes.read(key);
        for h in 0..H {
            let query = lanes.float(queries[h][n - 1]);
            sums[h][0] = lanes.add(sums[h][0], lanes.mul(query, key));
        }
    }
    let mut out = [[0.0; SLOTS]; H];
    for ([even, odd], out) in sums.into_iter().zip(&mut out) {
        lanes.store(lanes.mul(lanes.add(even, odd), lanes.float(scale)), out);
    }
    out
}

/// `sums += score * value` of every head.
#[inline(always)]
fn add_value<L: Lanes, const H: usize, const N: usize>(
    lanes: L,
    sums: &mut [[L::Floats; N]; H],
    scores: [f32; H],
    value: &[f32],
) {
    let scores = scores.map(|score| lanes.float(score));
    for (n, value) in value.as_chunks().0.iter().enumerate().take(N) {
        let value = lanes.read(value);
        for h in 0..H {
            sums[h][n] = lanes.add(sums[h][n], lanes.mul(scores[h], value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::noise;
    use super::*;
    use crate::backend::Rows;
    use crate::backend::cpu::pool::Spawn;

    const HEADS: Heads = Heads {
        n_heads: 6,
        n_kv_heads: 2,
        head_dim: 20,
    };
    const WIDTH: usize = 6 * 20;
    /// Tokens in the cache, those of the rows included.
    const N_SLOTS: usize = 300;

    /// The last `n_rows` of a chain of [`N_SLOTS`] tokens.
    fn attend(n_rows: usize, how: &Scores, n_threads: usize, out_width: usize) -> Vec<f32> {
        let floats = |n: usize| -> Vec<f32> {
            let bytes = noise(n + 7);
            bytes[7..]
                .iter()
                .map(|&b| f32::from(b) / 50.0 - 2.0)
                .collect()
        };
        let mut cache = LayerCache::new(40);
        cache.grow(N_SLOTS, N_SLOTS).unwrap();
        let of_slots = floats(N_SLOTS * 40);
        for (slot, both) in of_slots.chunks(40).enumerate() {
            cache.set(slot, both, both);
        }
        let qkv = floats(N_SLOTS * WIDTH);
        let mut visible = Visible::new();
        visible.fill(&Rows::chain(vec![7; n_rows]), N_SLOTS - n_rows);
        let input = Input {
            qkv: &qkv[(N_SLOTS - n_rows) * WIDTH..],
            width: WIDTH,
            heads: HEADS,
            how,
            visible: &visible,
            cache: &cache,
        };
        let mut out = vec![f32::NAN; n_rows * out_width];
        attention(
            &mut Compute::new(n_threads, Spawn::SYSTEM),
            &input,
            &mut out,
            out_width,
        );
        let rows = out.chunks(out_width).map(|row| &row[..WIDTH]);
        rows.collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_row_depends_on_neither_the_rows_beside_it_nor_threads() {
        for (window, softcap) in [(None, None), (Some(33), None), (None, Some(3.0))] {
            let how = Scores {
                scale: 0.3,
                softcap,
                window,
            };
            let all = attend(40, &how, 1, WIDTH);
            assert!(all.iter().all(|x| x.is_finite()));
            for n_rows in (1..=17).chain([40]) {
                for (n_threads, out_width) in [(1, WIDTH), (2, WIDTH), (5, WIDTH), (3, WIDTH + 3)] {
                    let found = attend(n_rows, &how, n_threads, out_width);
                    let want = &all[(40 - n_rows) * WIDTH..];
                    let same = found
                        .iter()
                        .zip(want)
                        .all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{n_rows} rows, {n_threads} threads, {window:?}");
                }
            }
        }
    }

    #[test]
    fn outputs_are_the_values_by_their_softmax() {
        let how = Scores {
            scale: 0.3,
            softcap: Some(5.0),
            window: None,
        };
        let found = attend(1, &how, 1, WIDTH);
        let of = |n: usize| -> Vec<f64> {
            let bytes = noise(n + 7);
            bytes[7..]
                .iter()
                .map(|&b| f64::from(b) / 50.0 - 2.0)
                .collect()
        };
        let (kv, qkv) = (of(N_SLOTS * 40), of(N_SLOTS * WIDTH));
        for (at, found) in found.iter().enumerate() {
            let (head, column) = (at / 20, at / 60 * 20);
            let query = &qkv[(N_SLOTS - 1) * WIDTH + head * 20..][..20];
            let (mut total, mut sum) = (0.0, 0.0);
            for slot in 0..N_SLOTS {
                let key = &kv[slot * 40 + column..][..20];
                let score: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                let weight = (5.0 * (score * 0.3 / 5.0).tanh()).exp();
                total += weight;
                sum += weight * kv[slot * 40 + column + at % 20];
            }
            assert!((f64::from(*found) - sum / total).abs() < 1e-5, "{at}");
        }
    }
}
