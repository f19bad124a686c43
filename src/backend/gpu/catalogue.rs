//! Every kernel in every form its text can take, so that a test can hand them all to a
//! browser: naga accepts WGSL that browsers refuse.

use super::CacheType;
use super::compile::{cached, kv_move};
use super::device::Gpu;
use super::launch::{Grid, specialised};
use super::params;
use super::sampler::{accept, adjust, logprobs, sample, sample_scan};
use super::shader::Variant;
use super::weights::Format;
use crate::error::Result;

/// Compiles all of them and says how many there were.
///
/// # Errors
/// `gpu_failed`, naming the first that the device refuses.
pub async fn compile_all(gpu: &Gpu) -> Result<usize> {
    let variants = catalogue();
    for variant in &variants {
        gpu.kernel(variant).await?;
    }
    Ok(variants.len())
}

/// Has the device's compiler read every shader that [`compile_all`] compiles, without
/// making pipelines of them.
///
/// # Errors
/// `gpu_failed` naming the first that is refused.
pub async fn check_all(gpu: &Gpu) -> Result<usize> {
    let variants = catalogue();
    for variant in &variants {
        gpu.read_shader(variant).await?;
    }
    Ok(variants.len())
}

fn catalogue() -> Vec<Variant> {
    let mut all = vec![
        accept(),
        kv_move(),
        adjust(false),
        adjust(true),
        sample(false),
        sample(true),
        sample_scan(),
        logprobs(),
        Variant::new("norm_add", params::NormAdd::WGSL),
    ];
    let matvec = |kernel, format, rows| {
        let variant = Variant::new(kernel, params::Matvec::WGSL).formatted(format);
        let grid = Grid::Matvec {
            n_out: 64,
            n_blocks: 8,
        };
        specialised(&variant, grid, rows)
    };
    for &format in Format::ALL {
        all.push(Variant::new("embed", params::Embed::WGSL).formatted(format));
        for rows in [1, 4, 256] {
            all.push(matvec("norm_linear", format, rows).flag("NORM", true));
        }
    }
    for rows in [1, 2, 4, 8, 16, 256] {
        for kernel in ["norm_linear", "linear_add", "head"] {
            let variant = matvec(kernel, Format::Q4_0, rows);
            all.push(variant.clone());
            all.push(variant.flag("NORM", true).flag("BIAS", true));
        }
        for activation in ["SILU", "GELU_TANH", "GELU_ERF"] {
            let variant = matvec("norm_gate_up", Format::Q4_0, rows).flag(activation, true);
            all.push(variant.clone());
            all.push(variant.flag("NORM", true).flag("BIAS", true));
        }
    }
    for cache_type in [CacheType::F16, CacheType::F32] {
        for head_dim in [64, 80, 256] {
            let rope = Variant::new("rope_append", params::RopeAppend::WGSL);
            let rope = cached(rope, cache_type, head_dim);
            all.push(rope.clone());
            all.push(rope.clone().flag("QK_NORM", true));
            all.push(rope.clone().flag("ROPE", true).flag("INTERLEAVED", true));
            all.push(rope.flag("ROPE", true).flag("QK_NORM", true));
            let attention = |kernel| {
                let variant = Variant::new(kernel, params::Attention::WGSL).with("CHUNKS", 2);
                cached(variant, cache_type, head_dim)
            };
            all.push(attention("attention_merge"));
            for heads in 1..=4 {
                let variant = attention("attention").with("HEADS", heads);
                all.push(variant.clone());
                all.push(variant.flag("SPLIT", true));
            }
        }
    }
    all
}
