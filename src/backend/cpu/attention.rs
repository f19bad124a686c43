//! `attention`: each query over the keys and values it may see.

use super::cache::LayerCache;
use super::compute::Compute;
use super::dot::{add_scaled, dot, dot2, highest, sum};
use super::kernels::Work;
use super::math::{exp, tanh};
use crate::backend::Rows;
use crate::backend::plan::Heads;

/// Which slots each row of a pass sees, and where it stands.
///
/// A row sees the tokens that were in the cache, then those earlier rows it descends
/// from, then itself: always in order of position, whether the rows are a chain or a
/// tree, so that the sums below run in one order for one history.
pub struct Visible {
    /// Tokens in the cache before the tree or chain: slot and position of each are one.
    base: usize,
    /// Of each row.
    pub positions: Vec<usize>,
    /// Of each row, where its ancestors end in `ancestors`.
    ends: Vec<usize>,
    /// Nodes in order of position, each row's own last.
    ancestors: Vec<usize>,
}

impl Visible {
    /// For no rows yet.
    pub fn new() -> Self {
        Self {
            base: 0,
            positions: Vec::new(),
            ends: Vec::new(),
            ancestors: Vec::new(),
        }
    }

    /// Works it out for `rows` after `len` cached tokens.
    pub fn fill(&mut self, rows: &Rows, len: usize) {
        let n_before = rows.n_before();
        self.base = len - n_before;
        self.positions.clear();
        self.ends.clear();
        self.ancestors.clear();
        let is_chain = rows.parents.is_empty();
        for r in 0..rows.len() {
            let depth = rows.depth(r);
            self.positions.push(self.base + depth);
            if is_chain {
                continue;
            }
            let (start, node) = (self.ancestors.len(), n_before + r);
            self.ancestors.resize(start + depth + 1, node);
            let mut at = node;
            for slot in self.ancestors[start..].iter_mut().rev() {
                *slot = at;
                at = rows.parent(at).unwrap_or(at);
            }
            self.ends.push(self.ancestors.len());
        }
    }

    /// The slots row `r` sees through `window`, in order of position.
    #[inline(always)]
    fn slots(&self, r: usize, window: Option<usize>) -> Slots<'_> {
        let position = self.positions[r];
        let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
        let depth = position - self.base;
        let hidden_rows = first.saturating_sub(self.base);
        let lineage = match self.ends.get(r) {
            Some(&end) => &self.ancestors[end - depth - 1 + hidden_rows..end],
            None => &[],
        };
        let chain_end = if self.ends.is_empty() {
            position + 1
        } else {
            self.base
        };
        let first = first.min(chain_end);
        Slots {
            first,
            n_chain: chain_end - first,
            base: self.base,
            lineage,
        }
    }
}

/// Slots in order of position: some in a row, then some of a tree.
struct Slots<'a> {
    first: usize,
    n_chain: usize,
    base: usize,
    lineage: &'a [usize],
}

impl Slots<'_> {
    fn len(&self) -> usize {
        self.n_chain + self.lineage.len()
    }

    #[inline(always)]
    fn get(&self, i: usize) -> usize {
        match i.checked_sub(self.n_chain) {
            None => self.first + i,
            Some(i) => self.base + self.lineage[i],
        }
    }
}

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
    fn run(self) {
        let n_kv_heads = self.input.heads.n_kv_heads;
        let mut scores = Vec::new();
        for (u, out) in self.out.chunks_exact_mut(self.unit).enumerate() {
            let first = (self.first + u) * self.unit_kv_heads;
            let row = first / n_kv_heads;
            for k in 0..self.unit_kv_heads {
                let out = &mut out[k * self.group..][..self.group];
                of_group(self.input, row, first % n_kv_heads + k, &mut scores, out);
            }
        }
    }
}

/// The heads of one row that share a head of keys and values. `out`: their outputs, side
/// by side; `scores` is scratch.
#[inline(always)]
fn of_group(input: &Input<'_>, row: usize, kv_head: usize, scores: &mut Vec<f32>, out: &mut [f32]) {
    /// Values that are added before an output is stored.
    const AT_ONCE: usize = 4;
    let head_dim = input.heads.head_dim;
    let n_kv = input.heads.n_kv_heads * head_dim;
    let slots = input.visible.slots(row, input.how.window);
    let n = slots.len();
    let at = |i: usize| slots.get(i) * n_kv + kv_head * head_dim;
    let queries = &input.qkv[row * input.width + kv_head * out.len()..][..out.len()];
    scores.clear();
    scores.resize(out.len() / head_dim * n, 0.0);
    let scale = input.how.scale;
    for i in 0..n {
        let key = &input.cache.keys[at(i)..][..head_dim];
        let mut pairs = queries.chunks_exact(2 * head_dim);
        let mut q = i;
        for pair in &mut pairs {
            let (query0, query1) = pair.split_at(head_dim);
            let products = dot2(query0, query1, key);
            scores[q] = products[0] * scale;
            scores[q + n] = products[1] * scale;
            q += 2 * n;
        }
        if !pairs.remainder().is_empty() {
            scores[q] = dot(pairs.remainder(), key) * scale;
        }
    }
    if let Some(cap) = input.how.softcap {
        scores
            .iter_mut()
            .for_each(|score| *score = cap * tanh(*score / cap));
    }
    for scores in scores.chunks_exact_mut(n) {
        let highest = highest(scores);
        scores
            .iter_mut()
            .for_each(|score| *score = exp(*score - highest));
        let total = sum(scores);
        scores.iter_mut().for_each(|score| *score /= total);
    }
    out.fill(0.0);
    let mut i = 0;
    while n - i >= AT_ONCE {
        let values: [&[f32]; AT_ONCE] =
            std::array::from_fn(|v| &input.cache.values[at(i + v)..][..head_dim]);
        for (out, scores) in out.chunks_exact_mut(head_dim).zip(scores.chunks_exact(n)) {
            let scores: [f32; AT_ONCE] = std::array::from_fn(|v| scores[i + v]);
            let values = (values[0].iter().zip(values[1])).zip(values[2].iter().zip(values[3]));
            for (out, ((v0, v1), (v2, v3))) in out.iter_mut().zip(values) {
                // One after another: the order is that of the slots, however many at once.
                let mut sum = *out;
                sum += scores[0] * v0;
                sum += scores[1] * v1;
                sum += scores[2] * v2;
                sum += scores[3] * v3;
                *out = sum;
            }
        }
        i += AT_ONCE;
    }
    for i in i..n {
        let value = &input.cache.values[at(i)..][..head_dim];
        for (out, scores) in out.chunks_exact_mut(head_dim).zip(scores.chunks_exact(n)) {
            add_scaled(out, scores[i], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::noise;
    use super::*;

    fn slots(rows: &Rows, base: usize, window: Option<usize>) -> Vec<Vec<usize>> {
        let mut visible = Visible::new();
        visible.fill(rows, base);
        let each = |r| {
            let slots = visible.slots(r, window);
            (0..slots.len()).map(|i| slots.get(i)).collect()
        };
        (0..rows.len()).map(each).collect()
    }

    #[test]
    fn a_chain_sees_what_came_before() {
        let rows = Rows::chain([7, 7, 7]);
        assert_eq!(
            slots(&rows, 2, None),
            [vec![0, 1, 2], vec![0, 1, 2, 3], vec![0, 1, 2, 3, 4]]
        );
        assert_eq!(
            slots(&rows, 2, Some(2)),
            [vec![1, 2], vec![2, 3], vec![3, 4]]
        );
    }

    #[test]
    fn a_branch_sees_its_own_line_only() {
        // 0 - 1 - 3
        //   \ 2     4 starts over
        let rows = Rows {
            tokens: vec![7; 5],
            parents: vec![None, Some(0), Some(0), Some(1), None],
        };
        assert_eq!(
            slots(&rows, 2, None),
            [
                vec![0, 1, 2],
                vec![0, 1, 2, 3],
                vec![0, 1, 2, 4],
                vec![0, 1, 2, 3, 5],
                vec![0, 1, 6],
            ]
        );
        assert_eq!(
            slots(&rows, 2, Some(2)),
            [vec![1, 2], vec![2, 3], vec![2, 4], vec![3, 5], vec![1, 6]]
        );
        assert_eq!(slots(&rows, 2, Some(1))[3], [5]);
    }

    #[test]
    fn a_tree_goes_on_where_the_cache_ends() {
        // The last three nodes of the tree above, once the first two are in the cache.
        let rows = Rows {
            tokens: vec![7; 3],
            parents: vec![None, Some(0), Some(0), Some(1), None],
        };
        assert_eq!(
            slots(&rows, 4, None),
            [vec![0, 1, 2, 4], vec![0, 1, 2, 3, 5], vec![0, 1, 6]]
        );
        assert_eq!(
            slots(&rows, 4, Some(2)),
            [vec![2, 4], vec![3, 5], vec![1, 6]]
        );
    }

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
        let cache = LayerCache {
            width: 40,
            keys: floats(N_SLOTS * 40),
            values: floats(N_SLOTS * 40),
        };
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
        attention(&mut Compute::new(n_threads), &input, &mut out, out_width);
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
