//! Each op's launches.

use super::super::super::plan::{
    Activation, BufferId, Heads, Linear, Norm, Op, QkNormSpan, Rope, RopePairing,
};
use super::super::launch::{Grid, LOGITS_ROWS, Over, Step, THREADS, specialised};
use super::super::params;
use super::super::pipeline::Bound;
use super::super::shader::Variant;
use super::super::state::MAX_ROWS;
use super::data::whole;
use super::{Builder, Common, cached, head_vectors};
use crate::error::{Code, Error, Result};

/// Query heads one attention workgroup takes.
const MAX_ATTENTION_HEADS: usize = 4;

impl Builder<'_> {
    pub async fn op(&mut self, op: &Op, common: &Common) -> Result<()> {
        let buffer = |id: &BufferId| whole(&common.buffers[id.0]);
        let stride = |id: &BufferId| common.strides[id.0];
        match op {
            Op::Embed { scale, out, .. } => {
                for matrix in self.packed(op)? {
                    let segments = self.matrix(&matrix).await?;
                    for segment in segments.iter() {
                        let params = self.uniform(params::Embed {
                            n_blocks: matrix.n_blocks() as u32,
                            n_out: segment.rows.len() as u32,
                            first_out: segment.rows.start as u32,
                            plane_1: segment.planes[0],
                            plane_2: segment.planes[1],
                            plane_3: segment.planes[2],
                            scale: *scale,
                        });
                        let variant =
                            Variant::new("embed", params::Embed::WGSL).formatted(matrix.format);
                        let bound = [
                            ("params", params.binding()),
                            ("state", common.state()),
                            ("w4", whole(&segment.buffer)),
                            ("w1", whole(&segment.buffer)),
                            ("out", buffer(out)),
                            ("drawn", whole(&self.gpu.drawn)),
                        ];
                        let grid = Grid::Each(matrix.n_blocks().div_ceil(THREADS) as u32);
                        self.step(variant, grid, &bound, None)?;
                    }
                }
                Ok(())
            }
            Op::NormLinear {
                x,
                norm,
                parts,
                out,
            } => {
                let base = params::Matvec {
                    scale: 1.0,
                    out_stride: stride(out) as u32,
                    ..Default::default()
                };
                let bound = [("x", buffer(x)), ("out", buffer(out))];
                self.matvec(
                    op,
                    base,
                    *norm,
                    &parts.iter().collect::<Vec<_>>(),
                    &bound,
                    common,
                )
                .await
            }
            Op::LinearAdd {
                x,
                linear,
                scale,
                residual,
            } => {
                let base = params::Matvec {
                    scale: *scale,
                    out_stride: stride(residual) as u32,
                    ..Default::default()
                };
                let bound = [("x", buffer(x)), ("out", buffer(residual))];
                self.matvec(op, base, None, &[linear], &bound, common).await
            }
            Op::NormGateUp {
                x,
                norm,
                gate,
                up,
                out,
                ..
            } => {
                let base = params::Matvec {
                    scale: 1.0,
                    out_stride: stride(out) as u32,
                    ..Default::default()
                };
                let bound = [("x", buffer(x)), ("out", buffer(out))];
                self.matvec(op, base, *norm, &[gate, up], &bound, common)
                    .await
            }
            Op::Head {
                x,
                norm,
                weight,
                scale,
                softcap,
                out,
            } => {
                let base = params::Matvec {
                    scale: *scale,
                    softcap: softcap.unwrap_or(0.0),
                    out_stride: stride(out) as u32,
                    ..Default::default()
                };
                let bound = [("x", buffer(x)), ("out", buffer(out))];
                self.matvec(op, base, Some(*norm), &[weight], &bound, common)
                    .await
            }
            Op::NormAdd {
                x,
                norm,
                scale,
                residual,
            } => {
                let n = self.plan.buffers[x.0].width;
                let params = self.uniform(params::NormAdd {
                    n: n as u32,
                    stride: stride(x) as u32,
                    eps: norm.eps,
                    scale: *scale,
                });
                let weight = self.vector(norm.weight, n).await?;
                let variant = Variant::new("norm_add", params::NormAdd::WGSL);
                let bound = [
                    ("params", params.binding()),
                    ("x", buffer(x)),
                    ("norm", weight.binding()),
                    ("residual", buffer(residual)),
                ];
                self.step(variant, Grid::Each(1), &bound, None)?;
                Ok(())
            }
            Op::RopeAppend {
                qkv,
                layer,
                heads,
                qk_norm,
                rope,
            } => {
                check_heads(heads)?;
                let spans = qk_norm.is_some_and(|n| n.span == QkNormSpan::Projection);
                let (q_group, kv_group) = if spans {
                    (heads.n_heads, heads.n_kv_heads)
                } else {
                    (1, 1)
                };
                let params = self.uniform(params::RopeAppend {
                    qkv_stride: stride(qkv) as u32,
                    n_heads: heads.n_heads as u32,
                    n_kv_heads: heads.n_kv_heads as u32,
                    q_group: q_group as u32,
                    kv_group: kv_group as u32,
                    n_rot: rope.as_ref().map_or(0, |r| r.n_rot) as u32,
                    q_eps: qk_norm.map_or(0.0, |n| n.q.eps),
                    k_eps: qk_norm.map_or(0.0, |n| n.k.eps),
                    magnitude: rope.as_ref().map_or(1.0, |r| r.magnitude),
                });
                let interleaved = |r: &Rope| r.pairing == RopePairing::Interleaved;
                let variant = cached(
                    Variant::new("rope_append", params::RopeAppend::WGSL),
                    self.cache_type,
                    heads.head_dim,
                )
                .flag("ROPE", rope.is_some())
                .flag("INTERLEAVED", rope.as_ref().is_some_and(interleaved))
                .flag("QK_NORM", qk_norm.is_some());
                let mut places = Vec::new();
                if let Some(rope) = rope {
                    places.push(("angles", self.angles(rope).await?));
                }
                if let Some(norm) = qk_norm {
                    let n = |heads_in: usize| heads.head_dim * if spans { heads_in } else { 1 };
                    places.push((
                        "q_norm",
                        self.vector(norm.q.weight, n(heads.n_heads)).await?,
                    ));
                    places.push((
                        "k_norm",
                        self.vector(norm.k.weight, n(heads.n_kv_heads)).await?,
                    ));
                }
                let mut bound = vec![
                    ("params", params.binding()),
                    ("state", common.state()),
                    ("qkv", buffer(qkv)),
                ];
                bound.extend(places.iter().map(|(name, place)| (*name, place.binding())));
                let groups = heads.n_heads / q_group + 2 * heads.n_kv_heads / kv_group;
                self.step(
                    variant,
                    Grid::Each(groups as u32),
                    &bound,
                    Some((*layer, true)),
                )?;
                Ok(())
            }
            Op::Attention {
                qkv,
                layer,
                heads,
                scale,
                softcap,
                window,
                out,
            } => {
                check_heads(heads)?;
                let params = self.uniform(params::Attention {
                    qkv_stride: stride(qkv) as u32,
                    out_stride: stride(out) as u32,
                    n_heads: heads.n_heads as u32,
                    n_kv_heads: heads.n_kv_heads as u32,
                    n_splits: self.n_splits() as u32,
                    window: window.map_or(u32::MAX, |w| u32::try_from(w).unwrap_or(u32::MAX)),
                    scale: *scale,
                    softcap: softcap.unwrap_or(0.0),
                });
                let chunks = self.chunks_per_split();
                let shared_by = heads.n_heads / heads.n_kv_heads;
                let tile = shared_by.min(MAX_ATTENTION_HEADS);
                let x = (heads.n_kv_heads * shared_by.div_ceil(tile)) as u32;
                let bound = [
                    ("params", params.binding()),
                    ("state", common.state()),
                    ("qkv", buffer(qkv)),
                    ("splits", whole(&common.partial)),
                    ("out", buffer(out)),
                ];
                let attention = cached(
                    Variant::new("attention", params::Attention::WGSL),
                    self.cache_type,
                    heads.head_dim,
                )
                .with("HEADS", tile);
                let cache = Some((*layer, false));
                let width = heads.n_kv_heads * head_vectors(self.cache_type, heads.head_dim);

                // Few rows: the cache is cut up, so that there is work for every core.
                let split = attention.clone().flag("SPLIT", true).with("CHUNKS", chunks);
                let grid = Grid::Splits {
                    x,
                    tokens: 64 * chunks,
                };
                let step = self.step(split, grid, &bound, cache)?;
                step.rows = 1..=LOGITS_ROWS;
                step.cache_bytes = 2 * 16 * width as u64;
                let merge = cached(
                    Variant::new("attention_merge", params::Attention::WGSL),
                    self.cache_type,
                    heads.head_dim,
                )
                .with("CHUNKS", chunks);
                let grid = Grid::Each(heads.n_heads as u32);
                self.step(merge, grid, &bound, None)?.rows = 1..=LOGITS_ROWS;

                // Many: the rows are enough.
                let step = self.step(attention, Grid::Each(x), &bound, cache)?;
                step.rows = LOGITS_ROWS + 1..=MAX_ROWS;
                step.cache_bytes = 2 * 16 * width as u64;
                Ok(())
            }
        }
    }

    /// The launches of a projection: one for each segment of each matrix it is packed as.
    async fn matvec(
        &mut self,
        op: &Op,
        base: params::Matvec,
        norm: Option<Norm>,
        parts: &[&Linear],
        bound: &[Bound<'_>],
        common: &Common,
    ) -> Result<()> {
        let matrices = self.packed(op)?;
        let bias = self.bias(op, parts).await?;
        for matrix in matrices {
            let segments = self.matrix(&matrix).await?;
            let weight = match norm {
                Some(norm) => Some(self.vector(norm.weight, matrix.n_in).await?),
                None => None,
            };
            for segment in segments.iter() {
                let params = self.uniform(params::Matvec {
                    n_blocks: matrix.n_blocks() as u32,
                    n_out: segment.rows.len() as u32,
                    first_out: (matrix.first_out + segment.rows.start) as u32,
                    plane_1: segment.planes[0],
                    plane_2: segment.planes[1],
                    plane_3: segment.planes[2],
                    n_in: matrix.n_in as u32,
                    eps: norm.map_or(0.0, |n| n.eps),
                    ..base
                });
                let activation = match op {
                    Op::NormGateUp { activation, .. } => Some(*activation),
                    _ => None,
                };
                let variant = Variant::new(op.name(), params::Matvec::WGSL)
                    .formatted(matrix.format)
                    .flag("NORM", norm.is_some())
                    .flag("BIAS", bias.is_some())
                    .flag("GELU_TANH", activation == Some(Activation::GeluTanh))
                    .flag("GELU_ERF", activation == Some(Activation::Gelu));
                let mut bound = bound.to_vec();
                bound.extend([
                    ("params", params.binding()),
                    ("state", common.state()),
                    ("w4", whole(&segment.buffer)),
                    ("w1", whole(&segment.buffer)),
                ]);
                bound.extend(weight.iter().map(|place| ("norm", place.binding())));
                bound.extend(bias.iter().map(|place| ("bias", place.binding())));
                let grid = Grid::Matvec {
                    n_out: segment.rows.len(),
                    n_blocks: matrix.n_blocks(),
                };
                let step = self.step(variant, grid, &bound, None)?;
                step.weight_bytes = segment.bytes;
                if let Op::Head { .. } = op {
                    step.over = Over::Logits;
                    step.rows = 1..=LOGITS_ROWS;
                }
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        variant: Variant,
        grid: Grid,
        bound: &[Bound<'_>],
        cache: Option<(usize, bool)>,
    ) -> Result<&mut Step> {
        // Every row count's variant binds the same.
        let layout = self.gpu.layout(&specialised(&variant, grid, 1))?;
        self.steps.push(Step {
            variant,
            grid,
            group: self.gpu.bind(&layout, 0, bound)?,
            has_state: layout.has_state(),
            cache,
            over: Over::Rows,
            rows: 1..=MAX_ROWS,
            weight_bytes: 0,
            cache_bytes: 0,
        });
        let last = self.steps.len() - 1;
        Ok(&mut self.steps[last])
    }
}

/// What the attention kernels have room for.
fn check_heads(heads: &Heads) -> Result<()> {
    let Heads {
        n_heads,
        n_kv_heads,
        head_dim,
    } = *heads;
    if n_kv_heads == 0 || n_heads == 0 || !n_heads.is_multiple_of(n_kv_heads) {
        let detail = format!("{n_heads} query heads cannot share {n_kv_heads} key heads");
        return Err(Error::new(Code::ConfigInvalid, "heads", detail));
    }
    if head_dim == 0 || head_dim > 256 || !head_dim.is_multiple_of(2) {
        let detail = format!("heads of {head_dim} elements: the GPU takes even sizes up to 256");
        return Err(Error::new(Code::ConfigInvalid, "head_dim", detail));
    }
    Ok(())
}
