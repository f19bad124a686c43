//! What launches read: matrices, vectors, tables and uniforms, each on the device once.

use std::rc::Rc;

use super::super::super::plan::{Linear, Op, Rope, WeightId};
use super::super::device::Gpu;
use super::super::weights::{Packed, Segment, read_vector};
use super::{Builder, stride};
use crate::error::{Code, Error, Result};

/// A buffer that several small things share.
pub struct Arena {
    buffer: wgpu::Buffer,
    used: u64,
    size: u64,
}
/// Part of an arena.
#[derive(Clone)]
pub struct Place {
    buffer: wgpu::Buffer,
    offset: u64,
    bytes: u64,
}

impl Place {
    pub fn binding(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: wgpu::BufferSize::new(self.bytes),
        }
    }
}

pub fn whole(buffer: &wgpu::Buffer) -> wgpu::BufferBinding<'_> {
    buffer.as_entire_buffer_binding()
}
impl Builder<'_> {
    /// The matrix on the device; uploaded if it is not yet there.
    pub async fn matrix(&mut self, matrix: &Packed) -> Result<Rc<Vec<Segment>>> {
        let key = Packed {
            first_out: 0,
            ..matrix.clone()
        };
        if let Some((_, segments)) = self.matrices.iter().find(|(known, _)| *known == key) {
            return Ok(segments.clone());
        }
        let segments = matrix.upload(self.gpu, self.plan, self.tensors).await?;
        self.bytes += segments.iter().map(|s| s.bytes).sum::<u64>();
        let segments = Rc::new(segments);
        self.matrices.push((key, segments.clone()));
        Ok(segments)
    }

    /// A vector on the device, padded with zeros to whole blocks.
    pub async fn vector(&mut self, id: WeightId, n: usize) -> Result<Place> {
        if let Some(place) = self.known_vectors.get(&id) {
            return Ok(place.clone());
        }
        let mut values = read_vector(self.plan, self.tensors, id).await?;
        if values.len() != n {
            let name = &self.plan.weights[id.0].name;
            let detail = format!("{} elements, but {n} are normed", values.len());
            return Err(Error::new(Code::TensorShape, name, detail));
        }
        values.resize(stride(n), 0.0);
        let place = self.numbers(bytemuck::cast_slice(&values));
        self.known_vectors.insert(id, place.clone());
        Ok(place)
    }

    /// The biases of an op's parts as one vector in the order of its outputs, zero where a
    /// part has none; nothing where none has.
    pub async fn bias(&mut self, op: &Op, parts: &[&Linear]) -> Result<Option<Place>> {
        if parts.iter().all(|part| part.bias.is_none()) {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for part in parts {
            let mut values = vec![0.0; part.n_out()];
            if let Some(id) = part.bias {
                let all = read_vector(self.plan, self.tensors, id).await?;
                let end = part.bias_offset + values.len();
                let own = all.get(part.bias_offset..end).ok_or_else(|| {
                    let detail = format!("elements {}..{end} of {}", part.bias_offset, all.len());
                    Error::new(Code::TensorShape, &self.plan.weights[id.0].name, detail)
                })?;
                values.copy_from_slice(own);
            }
            columns.push(values);
        }
        let values: Vec<f32> = match op {
            Op::NormGateUp { .. } => (0..columns[0].len())
                .flat_map(|i| columns.iter().map(move |c| c[i]))
                .collect(),
            _ => columns.concat(),
        };
        Ok(Some(self.numbers(bytemuck::cast_slice(&values))))
    }

    /// Cosines and sines: of positions below 256, then of every multiple of 256 that the
    /// cache can hold. A kernel adds the two angles, which keeps full precision at any
    /// position; computed in f64.
    pub async fn angles(&mut self, rope: &Rope) -> Result<Place> {
        if let Some((_, place)) = self.known_angles.iter().find(|(known, _)| known == rope) {
            return Ok(place.clone());
        }
        if rope.inv_freq.len() * 2 != rope.n_rot {
            let detail = format!(
                "{} frequencies for {} dimensions",
                rope.inv_freq.len(),
                rope.n_rot
            );
            return Err(Error::new(Code::ConfigInvalid, "rope", detail));
        }
        let far = self.capacity_tokens.div_ceil(256);
        let positions = (0..256).chain((0..far).map(|i| i * 256));
        let angles: Vec<[f32; 2]> = positions
            .flat_map(|position| {
                rope.inv_freq.iter().map(move |freq| {
                    let (sin, cos) = (position as f64 * f64::from(*freq)).sin_cos();
                    [cos as f32, sin as f32]
                })
            })
            .collect();
        let place = self.numbers(bytemuck::cast_slice(&angles));
        self.known_angles.push((rope.clone(), place.clone()));
        Ok(place)
    }

    pub fn uniform<T: bytemuck::Pod>(&mut self, value: T) -> Place {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        place(
            self.gpu,
            &mut self.uniforms,
            &mut self.bytes,
            usage,
            bytemuck::bytes_of(&value),
        )
    }

    pub fn numbers(&mut self, bytes: &[u8]) -> Place {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        place(self.gpu, &mut self.vectors, &mut self.bytes, usage, bytes)
    }
}

/// Puts `bytes` into an arena: few buffers, because a pass with many is slower.
fn place(
    gpu: &Gpu,
    arenas: &mut Vec<Arena>,
    total: &mut u64,
    usage: wgpu::BufferUsages,
    bytes: &[u8],
) -> Place {
    /// WebGPU's alignment of bindings' offsets.
    const ALIGN: u64 = 256;
    const ARENA_BYTES: u64 = 64 << 10;
    let len = (bytes.len() as u64).next_multiple_of(16);
    if arenas
        .last()
        .is_none_or(|arena| arena.used + len > arena.size)
    {
        let size = ARENA_BYTES.max(len);
        arenas.push(Arena {
            buffer: gpu.buffer("arena", size, usage),
            used: 0,
            size,
        });
        *total += size;
    }
    let last = arenas.len() - 1;
    let arena = &mut arenas[last];
    let offset = arena.used;
    gpu.queue.write_buffer(&arena.buffer, offset, bytes);
    arena.used = (offset + len).next_multiple_of(ALIGN);
    Place {
        buffer: arena.buffer.clone(),
        offset,
        bytes: len,
    }
}
