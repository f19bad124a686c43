//! How each element type lies on the GPU.
//!
//! GGML's blocks are 18, 34, 210 bytes long: a GPU would read them with two loads and a
//! shift. Here a matrix is up to four planes, each aligned: wide ones of quants, narrow
//! ones of scales. The shaders `shared/format_*.wgsl` are the other half of this table.

use crate::error::{Code, Error, Result};
use crate::format::DType;

/// A layout on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the element types'")]
pub enum Format {
    F32,
    F16,
    BF16,
    /// Signed bytes, half scales: Q8_0, and IQ4_NL with its levels written out.
    I8,
    /// Signed bytes, float scales: IQ4_XS and MXFP4 with their levels written out, because
    /// their scales do not fit a half. Nothing is lost, at twice the memory.
    I8Wide,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// Elements a block, in every format; rows are padded to whole blocks.
pub const BLOCK: usize = 32;
/// Elements a superblock.
pub const SUPERBLOCK: usize = 256;
/// Planes a format can have.
pub const PLANES: usize = 4;

/// Bytes of one plane for every so many elements.
#[derive(Debug, Clone, Copy)]
pub struct Plane {
    bytes: usize,
    per: usize,
}

impl Format {
    /// All of them.
    pub const ALL: &'static [Format] = &[
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::I8,
        Format::I8Wide,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q2K,
        Format::Q3K,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
    ];

    /// The layout of an element type.
    ///
    /// # Errors
    /// `dtype_unsupported`, about `name`.
    pub fn of(dtype: DType, name: &str) -> Result<Format> {
        Ok(match dtype {
            DType::F32 => Format::F32,
            DType::F16 => Format::F16,
            DType::BF16 => Format::BF16,
            DType::Q8_0 | DType::IQ4NL => Format::I8,
            DType::IQ4XS | DType::MXFP4 => Format::I8Wide,
            DType::Q4_0 => Format::Q4_0,
            DType::Q4_1 => Format::Q4_1,
            DType::Q5_0 => Format::Q5_0,
            DType::Q5_1 => Format::Q5_1,
            DType::Q2K => Format::Q2K,
            DType::Q3K => Format::Q3K,
            DType::Q4K => Format::Q4K,
            DType::Q5K => Format::Q5K,
            DType::Q6K => Format::Q6K,
            DType::Unknown(_) => {
                let detail = format!("element type {dtype} is not one this crate reads");
                return Err(Error::new(Code::DtypeUnsupported, name, detail));
            }
        })
    }

    /// The shader file with its `load_block` and `block_weights_*`.
    pub fn shader(self) -> &'static str {
        match self {
            Format::F32 => "format_f32",
            Format::F16 => "format_f16",
            Format::BF16 => "format_bf16",
            Format::I8 | Format::I8Wide => "format_i8",
            Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q5_1 => "format_q4",
            Format::Q2K => "format_q2_k",
            Format::Q3K => "format_q3_k",
            Format::Q4K | Format::Q5K => "format_q4_k",
            Format::Q6K => "format_q6_k",
        }
    }

    /// What that file is specialised with.
    pub fn defines(self) -> &'static [(&'static str, usize)] {
        match self {
            Format::I8Wide => &[("FORMAT_WIDE_SCALE", 1)],
            Format::Q4_0 => &[("FORMAT_ZERO", 8)],
            Format::Q4_1 => &[("FORMAT_MIN", 1)],
            Format::Q5_0 => &[("FORMAT_ZERO", 16), ("FORMAT_HIGH", 1)],
            Format::Q5_1 => &[("FORMAT_MIN", 1), ("FORMAT_HIGH", 1)],
            Format::Q5K => &[("FORMAT_HIGH", 1)],
            _ => &[],
        }
    }

    /// The planes; those of no bytes are absent.
    fn planes(self) -> [Plane; PLANES] {
        let block = |bytes| Plane { bytes, per: BLOCK };
        let superblock = |bytes| Plane {
            bytes,
            per: SUPERBLOCK,
        };
        let none = block(0);
        match self {
            Format::F32 => [block(128), none, none, none],
            Format::F16 | Format::BF16 => [block(64), none, none, none],
            Format::I8 => [block(32), block(2), none, none],
            Format::I8Wide => [block(32), block(4), none, none],
            Format::Q4_0 => [block(16), block(2), none, none],
            Format::Q4_1 => [block(16), block(4), none, none],
            Format::Q5_0 => [block(16), block(2), block(4), none],
            Format::Q5_1 => [block(16), block(4), block(4), none],
            Format::Q2K => [block(8), superblock(16), none, superblock(4)],
            Format::Q3K => [block(8), superblock(16), block(4), superblock(2)],
            Format::Q4K => [block(16), superblock(16), none, none],
            Format::Q5K => [block(16), superblock(16), block(4), none],
            Format::Q6K => [block(16), superblock(16), block(8), superblock(2)],
        }
    }

    /// Bytes a matrix row takes in each plane.
    pub fn row_bytes(self, n_blocks: usize) -> [usize; PLANES] {
        self.planes()
            .map(|plane| n_blocks * BLOCK / plane.per * plane.bytes)
    }

    /// Where each plane of `n_rows` rows begins, and where the last ends, in bytes.
    pub fn plane_offsets(self, n_blocks: usize, n_rows: usize) -> [u64; PLANES + 1] {
        let mut offsets = [0; PLANES + 1];
        for (i, row_bytes) in self.row_bytes(n_blocks).into_iter().enumerate() {
            // Aligned for loads of four words.
            let bytes = (row_bytes as u64 * n_rows as u64).next_multiple_of(16);
            offsets[i + 1] = offsets[i] + bytes;
        }
        offsets
    }
}
