//! What the executor promises beside numbers: what a token costs, what is refused and with
//! which code, and that a device that is no better than WebGPU's defaults is enough.

use tandem::Code;
use tandem::backend::gpu::{CacheType, GpuOptions};
use tandem::backend::plan::{Norm, Op};
use tandem::backend::{CompileOptions, Executor, LogitRows, Rows};
use tandem::format::DType;

use super::bench::{Case, Random, gpu, gpu_with};
use super::row_independence::one_layer;

#[test]
fn a_token_is_one_submit_and_creates_nothing() {
    let Some(gpu) = gpu() else { return };
    let case = one_layer(DType::Q4_0, &mut Random::new(13));
    let mut bench = case.compile(&gpu, 256);
    pollster::block_on(bench.executor.warm_up(&[1, 4])).unwrap();
    let before = bench.executor.counters().unwrap();
    bench.forward(&Rows::chain([1]), LogitRows::Last);
    let one = bench.executor.counters().unwrap().since(&before);
    assert_eq!((one.submits, one.readback_bytes), (1, 53 * 4));
    // Nine ops; attention takes two launches.
    assert_eq!(one.dispatches, 11);
    assert!(one.bytes_moved > 0);
    let before = gpu.counters();
    for n in [1, 4, 1, 4] {
        bench.forward(&Rows::chain(vec![2; n]), LogitRows::All);
    }
    let many = gpu.counters().since(&before);
    let created = (
        many.buffer_creations,
        many.bind_group_creations,
        many.pipeline_creations,
    );
    assert_eq!(created, (0, 0, 0));
    assert_eq!(many.submits, 4);
}

#[test]
fn a_matrix_beyond_the_binding_limit_is_split_and_gives_the_same_bits() {
    // 128 KiB a binding: the head takes three, gate and up two.
    let small = GpuOptions {
        max_binding_bytes: Some(128 << 10),
        ..Default::default()
    };
    let (Some(gpu), Some(small)) = (gpu(), gpu_with(small)) else {
        return;
    };
    let mut random = Random::new(14);
    let (n_vocab, width) = (2200, 128);
    let mut case = Case::default();
    let (x, gated, out) = (case.buffer(width), case.buffer(96), case.buffer(n_vocab));
    let table = case.random(DType::Q8_0, &[n_vocab, width], &mut random);
    let [gate, up] = [(); 2].map(|()| case.random(DType::F32, &[160, width], &mut random));
    let down = case.random(DType::F32, &[width, 160], &mut random);
    case.plan.buffers[gated.0].width = 160;
    let norm = Norm {
        weight: case.vector(width, &mut random),
        eps: 1e-5,
    };
    case.plan.n_vocab = n_vocab;
    case.plan.ops = vec![
        Op::Embed {
            table,
            scale: 1.0,
            out: x,
        },
        Op::NormGateUp {
            x,
            norm: Some(norm),
            gate: case.linear(gate),
            up: case.linear(up),
            activation: tandem::backend::plan::Activation::Silu,
            out: gated,
        },
        Op::LinearAdd {
            x: gated,
            linear: case.linear(down),
            scale: 1.0,
            residual: x,
        },
        Op::Head {
            x,
            norm,
            weight: case.linear(table),
            scale: 1.0,
            softcap: None,
            out,
        },
    ];
    let rows = Rows::chain([0, 999, 2199, 1000]);
    // Scratch for 256 rows of 160 is 160 KiB: as much as the limit must leave for it.
    let error = case.compile_with(&small, CacheType::F16, &CompileOptions::default());
    assert_eq!(error.err().map(|e| e.code()), Some(Code::OutOfMemory));
    let small = GpuOptions {
        max_binding_bytes: Some(176 << 10),
        ..Default::default()
    };
    let Some(small) = gpu_with(small) else { return };
    let whole = case.compile(&gpu, 16).forward(&rows, LogitRows::All);
    let before = small.counters();
    let mut bench = case.compile(&small, 16);
    let split = bench.forward(&rows, LogitRows::All);
    assert!(
        small.counters().since(&before).dispatches >= 6,
        "nothing was split"
    );
    assert_eq!(split, whole);
}

#[test]
fn default_limits_without_subgroups_are_enough_and_give_the_same_bits() {
    let plain = GpuOptions {
        default_limits: true,
        no_subgroups: true,
        ..Default::default()
    };
    let (Some(gpu), Some(plain)) = (gpu(), gpu_with(plain)) else {
        return;
    };
    for dtype in [DType::Q4_0, DType::Q6K] {
        let case = one_layer(dtype, &mut Random::new(15));
        let rows = Rows::chain([3, 1, 4, 1, 5]);
        let best = case.compile(&gpu, 64).forward(&rows, LogitRows::All);
        assert_eq!(
            case.compile(&plain, 64).forward(&rows, LogitRows::All),
            best,
            "{dtype}"
        );
    }
}

#[test]
fn what_does_not_fit_the_budget_is_refused_before_it_is_loaded() {
    let Some(gpu) = gpu() else { return };
    let case = one_layer(DType::Q8_0, &mut Random::new(16));
    let options = |memory_budget_bytes| CompileOptions {
        capacity_tokens: 64,
        memory_budget_bytes,
    };
    let before = gpu.counters();
    let error = case
        .compile_with(&gpu, CacheType::F16, &options(Some(100_000)))
        .err()
        .unwrap();
    assert_eq!(
        (error.code(), error.subject()),
        (Code::OutOfMemory, "memory_budget_bytes")
    );
    assert_eq!(gpu.counters(), before, "something was loaded");

    let mut executor = case
        .compile_with(&gpu, CacheType::F16, &options(None))
        .unwrap();
    let weights = executor.used_bytes();
    executor.new_cache().unwrap();
    let cache = executor.used_bytes() - weights;
    // Room for two caches and not for three.
    let limit = weights + 2 * cache + cache / 2;
    let mut executor = case
        .compile_with(&gpu, CacheType::F16, &options(Some(limit)))
        .unwrap();
    let first = executor.new_cache().unwrap();
    executor.new_cache().unwrap();
    assert_eq!(executor.new_cache().unwrap_err().code(), Code::OutOfMemory);
    executor.drop_cache(first);
    executor.new_cache().unwrap();
}

#[test]
fn bad_rows_and_bad_weights_are_errors_with_codes() {
    let Some(gpu) = gpu() else { return };
    let case = one_layer(DType::Q4_0, &mut Random::new(17));
    let mut bench = case.compile(&gpu, 16);
    let mut code = |rows: Rows| {
        let result =
            pollster::block_on(bench.executor.forward(bench.cache, &rows, LogitRows::Last));
        result.err().map(|e| e.code())
    };
    let tree = |parents: &[Option<u32>]| Rows {
        tokens: vec![0; 2],
        parents: parents.to_vec(),
    };
    assert_eq!(code(Rows::chain([])), Some(Code::RequestInvalid));
    assert_eq!(code(Rows::chain([53])), Some(Code::TokenUnknown));
    assert_eq!(code(Rows::chain([0; 17])), Some(Code::ContextOverflow));
    assert_eq!(code(tree(&[None])), Some(Code::RequestInvalid));
    assert_eq!(code(tree(&[Some(1), None])), Some(Code::RequestInvalid));
    assert_eq!(code(tree(&[None, None])), None);
    let path = bench.executor.keep(bench.cache, 0, &[1, 0]).unwrap_err();
    assert_eq!(path.code(), Code::RequestInvalid);

    let compile = |case: &Case| {
        let options = CompileOptions {
            capacity_tokens: 8,
            ..Default::default()
        };
        let error = case
            .compile_with(&gpu, CacheType::F16, &options)
            .err()
            .unwrap();
        (error.code(), error.subject().to_string())
    };
    let linear_add = |blocks: Vec<f32>, shape: [usize; 2]| {
        let mut case = Case::default();
        let (x, residual) = (case.buffer(4), case.buffer(2));
        let bytes = blocks.iter().flat_map(|v| v.to_le_bytes()).collect();
        let weight = case.weight(DType::F32, &[2, 4], bytes);
        case.plan.weights[0].shape = shape.to_vec();
        let linear = case.linear(weight);
        case.plan.ops.push(Op::LinearAdd {
            x,
            linear,
            scale: 1.0,
            residual,
        });
        case
    };
    let mut values = vec![0.5; 8];
    assert_eq!(
        compile(&linear_add(values.clone(), [4, 2])),
        (Code::TensorShape, "weight.0".into())
    );
    values[5] = f32::NAN;
    let mut case = linear_add(values, [2, 4]);
    assert_eq!(compile(&case), (Code::NotFinite, "weight.0".into()));
    case.plan.weights[0].source = "elsewhere".into();
    assert_eq!(compile(&case), (Code::TensorMissing, "weight.0".into()));
}

#[test]
fn a_lost_device_is_an_error_not_a_hang() {
    let Some(gpu) = gpu() else { return };
    let case = one_layer(DType::Q4_0, &mut Random::new(18));
    let mut bench = case.compile(&gpu, 16);
    bench.forward(&Rows::chain([1]), LogitRows::Last);
    gpu.destroy();
    let rows = Rows::chain([1]);
    let result = pollster::block_on(bench.executor.forward(bench.cache, &rows, LogitRows::Last));
    assert_eq!(result.unwrap_err().code(), Code::GpuLost);
    assert_eq!(
        bench.executor.new_cache().unwrap_err().code(),
        Code::GpuLost
    );
    let again = gpu_with(GpuOptions::default()).unwrap();
    case.compile(&again, 16).forward(&rows, LogitRows::Last);
}
