//! A row's result does not depend on what runs beside it, to the bit: without this,
//! speculation would change texts at near-ties.

use tandem::backend::gpu::CacheType;
use tandem::backend::plan::{Activation, CacheLayer, Heads, Norm, Op, RopePairing};
use tandem::backend::{Executor, LogitRows, Rows};
use tandem::format::DType;

use super::bench::{Case, Random, gpu};
use super::elementwise::rope;

/// A model of one layer with every op.
pub fn one_layer(dtype: DType, random: &mut Random) -> Case {
    let heads = Heads {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 16,
    };
    let width = heads.n_heads * heads.head_dim;
    let n_vocab = 53;
    let n_qkv = width + 2 * heads.n_kv_heads * heads.head_dim;
    let (n_in, n_ff) = if dtype.block_len() == 256 {
        (256, 256)
    } else {
        (96, 160)
    };
    let mut case = Case::default();
    case.plan.n_vocab = n_vocab;
    case.plan.cache.push(CacheLayer {
        width: heads.n_kv_heads * heads.head_dim,
    });
    let [x, y, qkv, attended, gated, logits] =
        [n_in, n_in, n_qkv, width, n_ff, n_vocab].map(|width| case.buffer(width));
    let square = case.random(DType::BF16, &[n_in, n_in], random);
    let table = case.random(dtype, &[n_vocab, n_in], random);
    let w_qkv = case.random(dtype, &[n_qkv, n_in], random);
    let w_o = case.random(DType::F16, &[n_in, width], random);
    let [gate, up] = [(); 2].map(|()| case.random(dtype, &[n_ff, n_in], random));
    let down = case.random(dtype, &[n_in, n_ff], random);
    let [norm_1, norm_2, norm_3, norm_4] = [(); 4].map(|()| Norm {
        weight: case.vector(n_in, random),
        eps: 1e-5,
    });
    let linear = |id| case.linear(id);
    case.plan.ops = vec![
        Op::Embed {
            table,
            scale: 1.0,
            out: x,
        },
        Op::NormLinear {
            x,
            norm: Some(norm_1),
            parts: vec![linear(w_qkv)],
            out: qkv,
        },
        Op::RopeAppend {
            qkv,
            layer: 0,
            heads,
            qk_norm: None,
            rope: Some(rope(16, RopePairing::Halved)),
        },
        Op::Attention {
            qkv,
            layer: 0,
            heads,
            scale: 0.25,
            softcap: None,
            window: None,
            out: attended,
        },
        Op::LinearAdd {
            x: attended,
            linear: linear(w_o),
            scale: 1.0,
            residual: x,
        },
        Op::NormGateUp {
            x,
            norm: Some(norm_2),
            gate: linear(gate),
            up: linear(up),
            activation: Activation::Silu,
            out: gated,
        },
        Op::LinearAdd {
            x: gated,
            linear: linear(down),
            scale: 1.0,
            residual: x,
        },
        Op::NormLinear {
            x,
            norm: None,
            parts: vec![linear(square)],
            out: y,
        },
        Op::NormAdd {
            x: y,
            norm: norm_3,
            scale: 0.5,
            residual: x,
        },
        Op::Head {
            x,
            norm: norm_4,
            weight: linear(table),
            scale: 1.0,
            softcap: None,
            out: logits,
        },
    ];
    case
}

#[test]
fn a_row_is_the_same_to_the_bit_whatever_runs_beside_it() {
    let Some(gpu) = gpu() else { return };
    for (dtype, cache_type) in [
        (DType::Q4_0, CacheType::F16),
        (DType::Q8_0, CacheType::F32),
        (DType::Q4K, CacheType::F16),
    ] {
        let mut random = Random::new(11);
        let case = one_layer(dtype, &mut random);
        let mut bench = case.compile_as(&gpu, cache_type, 256);
        let tokens: Vec<u32> = (0..77).map(|_| random.bits() as u32 % 53).collect();
        // Rows 60..77 cross the edge of a chunk of the cache.
        let (prompt, rest) = tokens.split_at(60);
        bench.forward(&Rows::chain(prompt), LogitRows::None);
        let one_by_one: Vec<Vec<f32>> = rest
            .iter()
            .map(|t| bench.forward(&Rows::chain([*t]), LogitRows::All))
            .collect();
        for n in 2..=17 {
            bench.executor.truncate(bench.cache, prompt.len());
            for (i, rows) in rest.chunks(n).enumerate() {
                let logits = bench.forward(&Rows::chain(rows), LogitRows::All);
                for (r, row) in logits.chunks(53).enumerate() {
                    assert_eq!(row, one_by_one[i * n + r], "{dtype}, row {r} of {n}");
                }
            }
        }
        // And as the only row asked for.
        bench.executor.truncate(bench.cache, prompt.len());
        let last = bench.forward(&Rows::chain(rest), LogitRows::Last);
        assert_eq!(last, one_by_one[16], "{dtype}, the last of 17");
    }
}

#[test]
fn a_trees_row_has_the_bits_of_its_chain() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random::new(12);
    let case = one_layer(DType::Q4_0, &mut random);
    let mut bench = case.compile(&gpu, 256);
    // 0 -> {1 -> 3, 2 -> {4, 5 -> 6}}
    let tree = Rows {
        tokens: vec![5, 6, 7, 8, 9, 10, 11],
        parents: vec![None, Some(0), Some(0), Some(1), Some(2), Some(2), Some(5)],
    };
    bench.forward(&Rows::chain(vec![1; 62]), LogitRows::None);
    let all = bench.forward(&tree, LogitRows::All);
    bench.executor.keep(bench.cache, 62, &[0, 2, 5, 6]).unwrap();
    assert_eq!(bench.executor.cache_len(bench.cache), 66);
    let after_tree = bench.forward(&Rows::chain([12]), LogitRows::Last);
    bench.executor.truncate(bench.cache, 62);
    for r in [0usize, 2, 5, 6] {
        let token = tree.tokens[r];
        let logits = bench.forward(&Rows::chain([token]), LogitRows::Last);
        assert_eq!(logits, all[r * 53..][..53], "row {r}");
    }
    assert_eq!(
        bench.forward(&Rows::chain([12]), LogitRows::Last),
        after_tree
    );
}
