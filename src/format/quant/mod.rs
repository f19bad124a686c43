//! Element types and their block layouts; scalar dequantisation, the ground truth
//! every kernel is tested against.
//!
//! A quantised row is a sequence of blocks, each of [`DType::block_len`] elements
//! in [`DType::block_bytes`] bytes; a row never shares a block with the next one.
//! Layouts are GGML's (<https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>),
//! values are gguf-py's to the bit (`tests/goldens/quants.py`).

mod blocks;
mod encode;
mod finite;
mod k_blocks;

pub use encode::{Quantize, quantize};
pub use finite::check_finite;

use std::fmt;

use crate::error::{Code, Error, Result};

/// A type this crate cannot read, as its file calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownDType {
    /// By GGML's number.
    Ggml(u32),
    /// By a name of at most 15 bytes, the rest zero; longer names are cut.
    Named([u8; 15]),
}

impl fmt::Display for UnknownDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnknownDType::Ggml(id) => match ggml_name(*id) {
                Some(name) => f.write_str(name),
                None => write!(f, "ggml type {id}"),
            },
            UnknownDType::Named(bytes) => {
                let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
                f.write_str(&String::from_utf8_lossy(&bytes[..end]))
            }
        }
    }
}

/// Names of GGML types that exist and are not read here, so that an error can say
/// what a person would call them.
fn ggml_name(id: u32) -> Option<&'static str> {
    Some(match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        40 => "NVFP4",
        41 => "Q1_0",
        _ => return None,
    })
}

/// Declares [`DType`] so that each type's facts stand once.
macro_rules! dtypes {
    ($($variant:ident $name:literal id $id:literal, $len:literal in $bytes:literal;)*) => {
        /// How a tensor's elements are stored. Layouts are GGML's
        /// (<https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the field's own")]
        pub enum DType {
            $($variant,)*
            /// A type this crate cannot read, by the number or name its file gives.
            Unknown(UnknownDType),
        }

        impl DType {
            /// Every type that can be read, in the order of GGML's numbers.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];

            /// The type GGML gives this number.
            pub fn from_ggml(id: u32) -> DType {
                match id { $($id => DType::$variant,)* _ => DType::Unknown(UnknownDType::Ggml(id)) }
            }

            /// GGML's number for it; `None` for an unknown type that its file names in words.
            pub fn ggml_id(self) -> Option<u32> {
                match self {
                    $(DType::$variant => Some($id),)*
                    DType::Unknown(UnknownDType::Ggml(id)) => Some(id),
                    DType::Unknown(UnknownDType::Named(_)) => None,
                }
            }

            /// Elements a block; 1 where elements stand alone, 0 where unknown.
            pub const fn block_len(self) -> usize {
                match self { $(DType::$variant => $len,)* DType::Unknown(_) => 0 }
            }

            /// Bytes a block; 0 where unknown.
            pub const fn block_bytes(self) -> usize {
                match self { $(DType::$variant => $bytes,)* DType::Unknown(_) => 0 }
            }

            /// GGML's name for it; `None` where unknown.
            fn name(self) -> Option<&'static str> {
                match self { $(DType::$variant => Some($name),)* DType::Unknown(_) => None }
            }
        }
    };
}

dtypes! {
    F32 "F32" id 0, 1 in 4;
    F16 "F16" id 1, 1 in 2;
    Q4_0 "Q4_0" id 2, 32 in 18;
    Q4_1 "Q4_1" id 3, 32 in 20;
    Q5_0 "Q5_0" id 6, 32 in 22;
    Q5_1 "Q5_1" id 7, 32 in 24;
    Q8_0 "Q8_0" id 8, 32 in 34;
    Q2K "Q2_K" id 10, 256 in 84;
    Q3K "Q3_K" id 11, 256 in 110;
    Q4K "Q4_K" id 12, 256 in 144;
    Q5K "Q5_K" id 13, 256 in 176;
    Q6K "Q6_K" id 14, 256 in 210;
    IQ4NL "IQ4_NL" id 20, 32 in 18;
    IQ4XS "IQ4_XS" id 23, 256 in 136;
    BF16 "BF16" id 30, 1 in 2;
    MXFP4 "MXFP4" id 39, 32 in 17;
}

impl DType {
    /// The type of this name, in any case: GGML's names, which for the floats are
    /// also safetensors'.
    pub fn from_name(name: &str) -> DType {
        let found = DType::ALL.iter().copied();
        let mut found = found.filter(|d| d.name().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        found.next().unwrap_or_else(|| {
            let mut bytes = [0; 15];
            let mut end = name.len().min(bytes.len());
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
            DType::Unknown(UnknownDType::Named(bytes))
        })
    }

    /// Whether its elements are plain floats.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::BF16)
    }

    /// Bytes of a row of `n` elements; `None` where the type is unknown, `n` is not a
    /// whole number of blocks, or the result overflows.
    pub fn row_bytes(self, n: usize) -> Option<usize> {
        let len = self.block_len();
        if len == 0 || !n.is_multiple_of(len) {
            return None;
        }
        (n / len).checked_mul(self.block_bytes())
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DType::Unknown(unknown) => unknown.fmt(f),
            known => f.write_str(known.name().unwrap_or("?")),
        }
    }
}

/// Turns whole blocks into numbers: `bytes` holds exactly `out.len()` elements.
///
/// # Errors
/// `dtype_unsupported` where the type cannot be read; `tensor_shape` where the
/// lengths disagree or are not whole blocks. The subject is the type: the caller
/// knows the tensor.
pub fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    if let DType::Unknown(_) = dtype {
        let detail = "not an element type this crate reads";
        return Err(Error::new(
            Code::DtypeUnsupported,
            dtype.to_string(),
            detail,
        ));
    }
    if dtype.row_bytes(out.len()) != Some(bytes.len()) {
        let detail = format!(
            "{} bytes are not {} elements: a block is {} elements in {} bytes",
            bytes.len(),
            out.len(),
            dtype.block_len(),
            dtype.block_bytes()
        );
        return Err(Error::new(Code::TensorShape, dtype.to_string(), detail));
    }
    dequantize_row(dtype, bytes, out);
    Ok(())
}

/// [`dequantize`] for the hot path, where the lengths were checked at load: no
/// result to look at, and no allocation.
///
/// # Panics
/// Where the type is unknown or the lengths disagree: the caller's own slip.
pub fn dequantize_row(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(
        dtype.row_bytes(out.len()),
        Some(bytes.len()),
        "bytes of {} elements of {dtype}",
        out.len()
    );
    match dtype {
        DType::F32 => blocks::f32(bytes, out),
        DType::F16 => blocks::f16(bytes, out),
        DType::BF16 => blocks::bf16(bytes, out),
        DType::Q4_0 => blocks::q4_0(bytes, out),
        DType::Q4_1 => blocks::q4_1(bytes, out),
        DType::Q5_0 => blocks::q5_0(bytes, out),
        DType::Q5_1 => blocks::q5_1(bytes, out),
        DType::Q8_0 => blocks::q8_0(bytes, out),
        DType::IQ4NL => blocks::iq4_nl(bytes, out),
        DType::MXFP4 => blocks::mxfp4(bytes, out),
        DType::Q2K => k_blocks::q2_k(bytes, out),
        DType::Q3K => k_blocks::q3_k(bytes, out),
        DType::Q4K => k_blocks::q4_k(bytes, out),
        DType::Q5K => k_blocks::q5_k(bytes, out),
        DType::Q6K => k_blocks::q6_k(bytes, out),
        DType::IQ4XS => k_blocks::iq4_xs(bytes, out),
        // `row_bytes` is `None` for these, so the assertion above has already fired.
        DType::Unknown(_) => {}
    }
}

/// The value of an IEEE half-precision number, exact for every one of them.
///
/// The exponent is moved to its new bias; a subnormal is read as the fraction of a
/// number of the smallest exponent, less that number's one; infinities and NaNs get
/// the largest exponent. No branch and no table, so that rows of halves vectorise.
/// Nor subnormal arithmetic: multiplying by 2^112 is exact too, but its speed depends
/// on the values. On x86-64 it is up to twice as fast where none is subnormal, some
/// fifth faster where one in 400 is, and a sixth as fast where one in 16 is.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = (u32::from(bits) & 0x8000) << 16;
    let magnitude = (u32::from(bits) & 0x7fff) << 13;
    // 112 = 127 - 15: the difference of the two biases.
    let moved = magnitude + (112 << 23);
    let subnormal = f32::from_bits(moved + (1 << 23)) - f32::from_bits(113 << 23);
    let value = if magnitude < 1 << 23 {
        subnormal.to_bits()
    } else if magnitude >= 31 << 23 {
        moved + (112 << 23)
    } else {
        moved
    };
    f32::from_bits(value | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_its_value() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(bits), half::f16::from_bits(bits).to_f32());
            if theirs.is_nan() {
                assert!(ours.is_nan(), "{bits:#06x}");
            } else {
                assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:#06x}");
            }
        }
    }

    #[test]
    fn names_and_numbers_lead_back_to_the_type() {
        for &dtype in DType::ALL {
            assert_eq!(DType::from_name(&dtype.to_string()), dtype);
            assert_eq!(DType::from_name(&dtype.to_string().to_lowercase()), dtype);
            assert_eq!(dtype.ggml_id().map(DType::from_ggml), Some(dtype));
        }
        assert_eq!(DType::from_ggml(17).to_string(), "IQ2_XS");
        assert_eq!(DType::from_ggml(4000).to_string(), "ggml type 4000");
        assert_eq!(DType::from_name("F8_E4M3").to_string(), "F8_E4M3");
        assert_eq!(
            DType::from_name("fifteen bytes äöü").to_string(),
            "fifteen bytes "
        );
    }

    #[test]
    fn lengths_that_disagree_are_an_error_not_a_panic() {
        let mut out = [0.0; 32];
        for (dtype, n_bytes) in [(DType::Q4_0, 17), (DType::F32, 127), (DType::Q4K, 144)] {
            let error = dequantize(dtype, &vec![0; n_bytes], &mut out).unwrap_err();
            assert_eq!(error.code(), Code::TensorShape);
        }
        let error = dequantize(DType::from_ggml(17), &[0; 74], &mut out).unwrap_err();
        assert_eq!(
            (error.code(), error.subject()),
            (Code::DtypeUnsupported, "IQ2_XS")
        );
    }
}
