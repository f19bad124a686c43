//! `rope_append` and `attention` together, over caches: groups of heads, windows,
//! soft-caps, trees, few rows (split) and many.
//!
//! Bounds, of the largest element of a row: 2e-5 with caches in f32, 2e-3 in f16 (half a
//! unit in the last place of a half is 2^-11, and keys and values each lose one).

use tandem::backend::gpu::CacheType;
use tandem::backend::plan::{CacheLayer, Heads, Op, RopePairing};
use tandem::backend::{Executor, LogitRows, Rows};

use super::bench::{Bench, Case, Random, assert_close, gpu, widen};
use super::elementwise::{rope, rotate};

/// One attention layer and everything it has been fed.
struct Layer {
    bench: Bench,
    qkv: tandem::backend::plan::BufferId,
    out: tandem::backend::plan::BufferId,
    heads: Heads,
    window: Option<usize>,
    softcap: Option<f32>,
    /// Rotated keys and values by position.
    keys: Vec<Vec<f64>>,
    values: Vec<Vec<f64>>,
    random: Random,
}

const SCALE: f32 = 0.4;

impl Layer {
    fn new(
        heads: Heads,
        window: Option<usize>,
        softcap: Option<f32>,
        cache_type: CacheType,
    ) -> Option<Self> {
        let gpu = gpu()?;
        let mut case = Case::default();
        let width = (heads.n_heads + 2 * heads.n_kv_heads) * heads.head_dim;
        let (qkv, out) = (
            case.buffer(width),
            case.buffer(heads.n_heads * heads.head_dim),
        );
        case.plan.cache.push(CacheLayer {
            width: heads.n_kv_heads * heads.head_dim,
        });
        let rope = Some(rope(heads.head_dim, RopePairing::Halved));
        case.plan.ops = vec![
            Op::RopeAppend {
                qkv,
                layer: 0,
                heads,
                qk_norm: None,
                rope,
            },
            Op::Attention {
                qkv,
                layer: 0,
                heads,
                scale: SCALE,
                softcap,
                window,
                out,
            },
        ];
        let bench = case.compile_as(&gpu, cache_type, 400);
        let (keys, values) = (Vec::new(), Vec::new());
        Some(Self {
            bench,
            qkv,
            out,
            heads,
            window,
            softcap,
            keys,
            values,
            random: Random::new(8),
        })
    }

    fn width(&self) -> usize {
        (self.heads.n_heads + 2 * self.heads.n_kv_heads) * self.heads.head_dim
    }

    /// Runs rows and gives what the GPU says and what it should say. The path each row
    /// is on joins the reference's cache only if the rows are a chain.
    fn pass(&mut self, rows: &Rows) -> (Vec<f32>, Vec<f64>) {
        let width = self.width();
        let input = self.random.vector(rows.len() * width);
        self.bench.set(self.qkv, &input);
        self.bench.forward(rows, LogitRows::None);
        let got = self.bench.get(self.out, rows.len());

        let Heads {
            n_heads,
            n_kv_heads,
            head_dim,
        } = self.heads;
        let rope = rope(head_dim, RopePairing::Halved);
        let len = self.keys.len();
        let mut want = Vec::new();
        let split = |r: usize| {
            let position = len + rows.depth(r);
            let mut row = widen(&input[r * width..][..width]);
            for head in row[..(n_heads + n_kv_heads) * head_dim].chunks_mut(head_dim) {
                rotate(head, &rope, position);
            }
            let values = row.split_off((n_heads + n_kv_heads) * head_dim);
            let keys = row.split_off(n_heads * head_dim);
            (row, keys, values)
        };
        for r in 0..rows.len() {
            let mut path = vec![r];
            while let Some(parent) = parent_of(rows, path[path.len() - 1]) {
                path.push(parent);
            }
            path.reverse();
            let own: Vec<_> = path.iter().map(|r| split(*r)).collect();
            let keys: Vec<_> = self
                .keys
                .iter()
                .chain(own.iter().map(|(_, k, _)| k))
                .collect();
            let values: Vec<_> = self
                .values
                .iter()
                .chain(own.iter().map(|(_, _, v)| v))
                .collect();
            let first = self.window.map_or(0, |w| keys.len().saturating_sub(w));
            let queries = split(r).0;
            for (h, q) in queries.chunks(head_dim).enumerate() {
                let part = h / (n_heads / n_kv_heads) * head_dim;
                let scores: Vec<f64> = (keys[first..].iter())
                    .map(|k| {
                        let s: f64 = q.iter().zip(&k[part..]).map(|(a, b)| a * b).sum();
                        let s = s * f64::from(SCALE);
                        self.softcap
                            .map(f64::from)
                            .map_or(s, |cap| cap * (s / cap).tanh())
                    })
                    .collect();
                let highest = scores.iter().fold(f64::MIN, |m, s| m.max(*s));
                let weights: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                want.extend((0..head_dim).map(|d| {
                    let terms = weights.iter().zip(&values[first..]);
                    terms.map(|(w, v)| w / sum * v[part + d]).sum::<f64>()
                }));
            }
        }
        if rows.parents.is_empty() {
            for r in 0..rows.len() {
                let (_, k, v) = split(r);
                self.keys.push(k);
                self.values.push(v);
            }
        }
        (got, want)
    }
}

fn parent_of(rows: &Rows, r: usize) -> Option<usize> {
    match rows.parents.get(r) {
        Some(parent) => parent.map(|p| p as usize),
        None => r.checked_sub(1),
    }
}

fn chain(n: usize) -> Rows {
    Rows::chain(vec![0; n])
}

#[test]
fn attention_over_growing_caches() {
    let shapes = [
        (
            Heads {
                n_heads: 6,
                n_kv_heads: 2,
                head_dim: 10,
            },
            None,
            None,
            CacheType::F32,
            2e-5,
        ),
        (
            Heads {
                n_heads: 7,
                n_kv_heads: 1,
                head_dim: 16,
            },
            None,
            Some(2.0),
            CacheType::F32,
            2e-5,
        ),
        (
            Heads {
                n_heads: 2,
                n_kv_heads: 2,
                head_dim: 64,
            },
            Some(37),
            None,
            CacheType::F32,
            2e-5,
        ),
        (
            Heads {
                n_heads: 6,
                n_kv_heads: 2,
                head_dim: 10,
            },
            None,
            None,
            CacheType::F16,
            2e-3,
        ),
        (
            Heads {
                n_heads: 4,
                n_kv_heads: 2,
                head_dim: 80,
            },
            Some(70),
            Some(5.0),
            CacheType::F16,
            2e-3,
        ),
        (
            Heads {
                n_heads: 2,
                n_kv_heads: 1,
                head_dim: 256,
            },
            None,
            None,
            CacheType::F16,
            2e-3,
        ),
    ];
    for (heads, window, softcap, cache_type, bound) in shapes {
        let Some(mut layer) = Layer::new(heads, window, softcap, cache_type) else {
            return;
        };
        let width = heads.n_heads * heads.head_dim;
        // From nothing, over the edges of chunks of 64, few rows and many.
        for rows in [1, 2, 17, 43, 1, 16, 5, 64, 1] {
            let at = layer.keys.len();
            let (got, want) = layer.pass(&chain(rows));
            let what = format!("{heads:?}, window {window:?}, {rows} rows at {at}");
            assert_close(&what, &got, &want, width, bound);
        }
    }
}

/// Five rows: 0 -> 1 -> 3, 0 -> 2 -> 4.
fn tree() -> Rows {
    Rows {
        tokens: vec![0; 5],
        parents: vec![None, Some(0), Some(0), Some(1), Some(2)],
    }
}

#[test]
fn attention_over_trees_sees_ancestors_only_and_keep_makes_a_path_a_chain() {
    let heads = Heads {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 16,
    };
    for len in [0, 3, 62] {
        for window in [None, Some(4)] {
            let Some(mut layer) = Layer::new(heads, window, None, CacheType::F32) else {
                return;
            };
            if len > 0 {
                layer.pass(&chain(len));
            }
            let (got, want) = layer.pass(&tree());
            let width = heads.n_heads * heads.head_dim;
            assert_close(&format!("tree after {len}"), &got, &want, width, 2e-5);

            // The same rows as a chain: the path 0, 2, 4 of the same inputs.
            let full = layer.width();
            layer.random = Random::new(9);
            layer.bench.executor.truncate(layer.bench.cache, len);
            let (tree_out, _) = layer.pass(&tree());
            layer
                .bench
                .executor
                .keep(layer.bench.cache, len, &[0, 2, 4])
                .unwrap();
            let probe = Random::new(10).vector(full);
            layer.bench.set(layer.qkv, &probe);
            layer.bench.forward(&chain(1), LogitRows::None);
            let after_tree = layer.bench.get(layer.out, 1);

            let input = Random::new(9).vector(5 * full);
            let path: Vec<f32> = [0, 2, 4]
                .iter()
                .flat_map(|r| &input[r * full..][..full])
                .copied()
                .collect();
            layer.bench.executor.truncate(layer.bench.cache, len);
            layer.bench.set(layer.qkv, &path);
            layer.bench.forward(&chain(3), LogitRows::None);
            let chain_out = layer.bench.get(layer.out, 3);
            for (i, r) in [0, 2, 4].into_iter().enumerate() {
                assert_eq!(
                    chain_out[i * width..][..width],
                    tree_out[r * width..][..width],
                    "row {r} after {len}"
                );
            }
            layer.bench.set(layer.qkv, &probe);
            layer.bench.forward(&chain(1), LogitRows::None);
            assert_eq!(
                layer.bench.get(layer.out, 1),
                after_tree,
                "after keeping, at {len}"
            );
        }
    }
}

#[test]
fn a_tree_grown_level_by_level_is_the_tree_in_one_pass() {
    let heads = Heads {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 16,
    };
    for len in [0, 3, 62] {
        let Some(mut layer) = Layer::new(heads, Some(40), None, CacheType::F16) else {
            return;
        };
        if len > 0 {
            layer.pass(&chain(len));
        }
        let (full, width) = (layer.width(), heads.n_heads * heads.head_dim);
        let input = Random::new(9).vector(5 * full);
        layer.bench.set(layer.qkv, &input);
        layer.bench.forward(&tree(), LogitRows::None);
        let at_once = layer.bench.get(layer.out, 5);
        layer.bench.executor.truncate(layer.bench.cache, len);
        let mut grown = Vec::new();
        for (from, to) in [(0, 1), (1, 3), (3, 5)] {
            let level = Rows {
                tokens: vec![0; to - from],
                parents: tree().parents[..to].to_vec(),
            };
            layer.bench.set(layer.qkv, &input[from * full..to * full]);
            layer.bench.forward(&level, LogitRows::None);
            grown.extend(layer.bench.get(layer.out, to - from));
        }
        assert_eq!(grown.len(), 5 * width);
        assert_eq!(grown, at_once, "after {len}");
        assert_eq!(layer.bench.executor.cache_len(layer.bench.cache), len + 5);
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    let heads = Heads {
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 16,
    };
    let Some(mut layer) = Layer::new(heads, None, None, CacheType::F16) else {
        return;
    };
    layer.pass(&chain(9));
    let original = layer.bench.cache;
    let copy = layer.bench.executor.fork(original).unwrap();
    assert_eq!(layer.bench.executor.cache_len(copy), 9);
    let probe = layer.random.vector(layer.width());
    let ask = |cache, layer: &mut Layer| {
        layer.bench.cache = cache;
        layer.bench.set(layer.qkv, &probe);
        layer.bench.forward(&chain(1), LogitRows::None);
        layer.bench.get(layer.out, 1)
    };
    let first = ask(original, &mut layer);
    assert_eq!(ask(copy, &mut layer), first);
    // What one appends the other does not see.
    layer.bench.cache = original;
    layer.pass(&chain(4));
    layer.bench.executor.truncate(copy, 9);
    assert_eq!(ask(copy, &mut layer), first);
    let free = layer.bench.executor.used_bytes();
    layer.bench.executor.drop_cache(copy);
    assert!(layer.bench.executor.used_bytes() < free);
}
