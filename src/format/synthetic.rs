//! A GGUF file that nobody wrote: a header, and random weights made as they are read.
//!
//! Speed depends on a model's shape and element types, not on what its weights say. So
//! that any shape can be measured with no file and no download, a [`SyntheticGguf`] is
//! a [`ByteSource`] whose header is real and whose tensors repeat one tile of random
//! blocks: an 8B model takes a few megabytes until somebody loads it.

use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Range;
use std::rc::Rc;

use super::LocalFuture;
use super::gguf::MAGIC;
use super::quant::{DType, quantize};
use super::source::{ByteSource, truncated};
use crate::error::{Code, Error, Result};

/// Where tensors begin: GGUF's default.
const ALIGNMENT: u64 = 32;
/// Elements of a tile. No common row length divides it, so that neighbouring rows
/// differ; a multiple of every block length.
const TILE_ELEMENTS: usize = 1021 * 256;
/// How far random weights spread: as in a freshly initialised transformer.
const SPREAD: f32 = 0.02;

/// GGUF's numbers for the types of metadata values.
const TYPE_U32: u32 = 4;
const TYPE_I32: u32 = 5;
const TYPE_F32: u32 = 6;
const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;

/// Collects metadata and tensors; [`SyntheticGguf::finish`] makes the source.
#[derive(Debug, Default)]
pub struct SyntheticGguf {
    n_kv: u64,
    kv: Vec<u8>,
    tensors: Vec<Tensor>,
}

#[derive(Debug)]
struct Tensor {
    name: String,
    /// Slowest first.
    shape: Vec<usize>,
    content: Content,
}

/// What a tensor's bytes repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    /// `f32` ones: a norm that does nothing.
    Ones,
    /// Random weights of a type, by its number in GGUF.
    Random(u32),
}

impl SyntheticGguf {
    fn key(mut self, key: &str, type_id: u32) -> Self {
        self.n_kv += 1;
        put_string(&mut self.kv, key);
        self.kv.extend(type_id.to_le_bytes());
        self
    }

    /// A number.
    pub fn number(self, key: &str, value: u32) -> Self {
        let mut this = self.key(key, TYPE_U32);
        this.kv.extend(value.to_le_bytes());
        this
    }

    /// A number with a fraction.
    pub fn float(self, key: &str, value: f32) -> Self {
        let mut this = self.key(key, TYPE_F32);
        this.kv.extend(value.to_le_bytes());
        this
    }

    /// A text.
    pub fn text(self, key: &str, value: &str) -> Self {
        let mut this = self.key(key, TYPE_STRING);
        put_string(&mut this.kv, value);
        this
    }

    /// A list of texts.
    pub fn texts(self, key: &str, values: &[String]) -> Self {
        let mut this = self.key(key, TYPE_ARRAY);
        this.kv.extend(TYPE_STRING.to_le_bytes());
        this.kv.extend((values.len() as u64).to_le_bytes());
        for value in values {
            put_string(&mut this.kv, value);
        }
        this
    }

    /// A list of numbers.
    pub fn numbers(self, key: &str, values: &[i32]) -> Self {
        let mut this = self.key(key, TYPE_ARRAY);
        this.kv.extend(TYPE_I32.to_le_bytes());
        this.kv.extend((values.len() as u64).to_le_bytes());
        for value in values {
            this.kv.extend(value.to_le_bytes());
        }
        this
    }

    /// A vector of ones: `[n]`, `f32`.
    pub fn ones(mut self, name: impl Into<String>, n: usize) -> Self {
        self.tensors.push(Tensor {
            name: name.into(),
            shape: vec![n],
            content: Content::Ones,
        });
        self
    }

    /// Random weights, slowest dimension first; `dtype` must be one that can be
    /// written, which [`SyntheticGguf::finish`] checks.
    pub fn random(
        mut self,
        name: impl Into<String>,
        dtype: DType,
        shape: impl Into<Vec<usize>>,
    ) -> Self {
        self.tensors.push(Tensor {
            name: name.into(),
            shape: shape.into(),
            content: Content::Random(dtype.ggml_id().unwrap_or(u32::MAX)),
        });
        self
    }

    /// The file, called `name` in errors.
    ///
    /// # Errors
    /// `dtype_unsupported` for a type that cannot be written; `tensor_shape`, naming the
    /// tensor, where its rows are not whole blocks.
    pub fn finish(self, name: impl Into<String>) -> Result<Rc<dyn ByteSource>> {
        let mut header = MAGIC.to_vec();
        header.extend(3_u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend(self.n_kv.to_le_bytes());
        header.extend(&self.kv);
        let mut tiles = BTreeMap::new();
        let mut parts = Vec::new();
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            let dtype = match tensor.content {
                Content::Ones => DType::F32,
                Content::Random(id) => DType::from_ggml(id),
            };
            put_string(&mut header, &tensor.name);
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            for &extent in tensor.shape.iter().rev() {
                header.extend((extent as u64).to_le_bytes());
            }
            header.extend(dtype.ggml_id().unwrap_or(u32::MAX).to_le_bytes());
            header.extend(offset.to_le_bytes());
            if let std::collections::btree_map::Entry::Vacant(slot) = tiles.entry(tensor.content) {
                slot.insert(tile(tensor.content, dtype)?);
            }
            let n_bytes = n_bytes(tensor, dtype)?;
            parts.push((offset..offset + n_bytes, tensor.content));
            offset = (offset + n_bytes).next_multiple_of(ALIGNMENT);
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
        Ok(Rc::new(Source {
            name: name.into(),
            len_bytes: header.len() as u64 + offset,
            header,
            parts,
            tiles,
        }))
    }
}

fn n_bytes(tensor: &Tensor, dtype: DType) -> Result<u64> {
    let wrong = |detail: &str| Error::new(Code::TensorShape, tensor.name.as_str(), detail);
    let (&n_cols, rest) = tensor
        .shape
        .split_last()
        .ok_or_else(|| wrong("has no dimension"))?;
    let row_bytes = dtype.row_bytes(n_cols).ok_or_else(|| {
        wrong(&format!(
            "rows of {n_cols} are not whole blocks of {}",
            dtype.block_len()
        ))
    })?;
    Ok(rest
        .iter()
        .fold(row_bytes as u64, |bytes, &extent| bytes * extent as u64))
}

fn tile(content: Content, dtype: DType) -> Result<Vec<u8>> {
    if content == Content::Ones {
        return Ok(1.0_f32.to_le_bytes().repeat(1024));
    }
    // A 64-bit linear congruential generator (Knuth's MMIX constants); its high bits.
    let mut state = 0x7461_6e64_656d_u64;
    let values: Vec<f32> = (0..TILE_ELEMENTS)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 40) as f32 / (1_u64 << 24) as f32;
            (2.0 * unit - 1.0) * SPREAD * 3.0_f32.sqrt() // uniform, of deviation SPREAD
        })
        .collect();
    quantize(dtype, &values)
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The file itself.
struct Source {
    name: String,
    len_bytes: u64,
    header: Vec<u8>,
    /// Each tensor's bytes, behind the header, in order.
    parts: Vec<(Range<u64>, Content)>,
    tiles: BTreeMap<Content, Vec<u8>>,
}

impl Source {
    /// The bytes of `range`, which lies in the file.
    fn bytes(&self, range: &Range<u64>) -> Vec<u8> {
        let header_len = self.header.len() as u64;
        let mut out = vec![0; (range.end - range.start) as usize];
        if range.start < header_len {
            let end = range.end.min(header_len);
            let from = &self.header[range.start as usize..end as usize];
            out[..from.len()].copy_from_slice(from);
        }
        let wanted = range.start.saturating_sub(header_len)..range.end.saturating_sub(header_len);
        let first = self.parts.partition_point(|(at, _)| at.end <= wanted.start);
        for (at, content) in &self.parts[first..] {
            if at.start >= wanted.end {
                break;
            }
            let Some(tile) = self.tiles.get(content) else {
                continue;
            };
            let mut position = wanted.start.max(at.start);
            let end = wanted.end.min(at.end);
            while position < end {
                let in_tile = ((position - at.start) % tile.len() as u64) as usize;
                let n = (tile.len() - in_tile).min((end - position) as usize);
                let to = (position + header_len - range.start) as usize;
                out[to..to + n].copy_from_slice(&tile[in_tile..in_tile + n]);
                position += n as u64;
            }
        }
        out
    }
}

impl ByteSource for Source {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>>> {
        let result = if range.start <= range.end && range.end <= self.len_bytes {
            Ok(self.bytes(&range))
        } else {
            Err(truncated(&self.name, &range, self.len_bytes))
        };
        Box::pin(ready(result))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, Config};
    use super::*;

    fn file() -> Rc<dyn ByteSource> {
        SyntheticGguf::default()
            .text("general.architecture", "none")
            .number("none.width", 96)
            .ones("norm", 96)
            .random("w", DType::Q8_0, [40_000, 96])
            .random("v", DType::Q4_0, [2, 64])
            .finish("synthetic")
            .unwrap()
    }

    #[test]
    fn it_reads_as_the_file_it_says_it_is() {
        let checkpoint = pollster::block_on(Checkpoint::open_gguf(vec![file()])).unwrap();
        let Config::Gguf(metadata) = &checkpoint.config else {
            panic!("not a GGUF file");
        };
        assert_eq!(metadata.get::<usize>("none.width"), Ok(Some(96)));
        let read = |name| {
            let raw = pollster::block_on(checkpoint.tensors.read(name)).unwrap();
            raw.to_f32().unwrap()
        };
        assert_eq!(read("norm"), [1.0; 96]);
        let weights = read("w");
        assert_eq!(weights.len(), 40_000 * 96);
        let square: f32 = weights.iter().map(|x| x * x).sum();
        let deviation = (square / weights.len() as f32).sqrt();
        assert!((0.9..1.1).contains(&(deviation / SPREAD)), "{deviation}");
        assert_ne!(weights[..96], weights[96..192]);
        assert_eq!(read("v").len(), 128);
    }

    #[test]
    fn a_read_in_parts_is_the_read_of_the_whole() {
        let file = file();
        let read = |range| pollster::block_on(file.read(range)).unwrap();
        let whole = read(0..file.len_bytes());
        let parts: Vec<u8> = (0..file.len_bytes())
            .step_by(77_777)
            .flat_map(|start| read(start..(start + 77_777).min(file.len_bytes())))
            .collect();
        assert!(whole == parts);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let rows = SyntheticGguf::default().random("w", DType::Q4K, [4, 96]);
        let error = rows.finish("synthetic").err().unwrap();
        assert_eq!((error.code(), error.subject()), (Code::TensorShape, "w"));
        let dtype = SyntheticGguf::default().random("w", DType::MXFP4, [4, 32]);
        let error = dtype.finish("synthetic").err().unwrap();
        assert_eq!(error.code(), Code::DtypeUnsupported);
    }
}
