//! NaN and infinity in weights, found without dequantising where that is possible.

use super::{DType, dequantize_row};
use crate::error::{Code, Error, Result};

/// Fails where whole blocks of a tensor hold a NaN or an infinity; backends call it
/// on what they read at load.
///
/// A block of a scaled type is finite exactly when its half-precision scales are:
/// every element is a product with them, and a finite half times the largest integer
/// factor stays far below `f32::MAX`. So only the scales are looked at.
///
/// # Errors
/// `not_finite` naming the tensor; `dtype_unsupported` where the type is unknown.
pub fn check_finite(name: &str, dtype: DType, bytes: &[u8]) -> Result<()> {
    let bad_block = match dtype {
        DType::F32 => first_not::<4>(bytes, |b| f32::from_le_bytes(*b).is_finite()),
        DType::F16 => first_not::<2>(bytes, |b| half_is_finite(b, 0)),
        DType::BF16 => first_not::<2>(bytes, |b| u16::from_le_bytes(*b) & 0x7f80 != 0x7f80),
        DType::Q4_0 => first_not::<18>(bytes, |b| half_is_finite(b, 0)),
        DType::IQ4NL => first_not::<18>(bytes, |b| half_is_finite(b, 0)),
        DType::Q5_0 => first_not::<22>(bytes, |b| half_is_finite(b, 0)),
        DType::Q8_0 => first_not::<34>(bytes, |b| half_is_finite(b, 0)),
        DType::Q4_1 => first_not::<20>(bytes, |b| half_is_finite(b, 0) && half_is_finite(b, 2)),
        DType::Q5_1 => first_not::<24>(bytes, |b| half_is_finite(b, 0) && half_is_finite(b, 2)),
        DType::Q2K => first_not::<84>(bytes, |b| half_is_finite(b, 80) && half_is_finite(b, 82)),
        DType::Q3K => first_not::<110>(bytes, |b| half_is_finite(b, 108)),
        DType::Q4K => first_not::<144>(bytes, |b| half_is_finite(b, 0) && half_is_finite(b, 2)),
        DType::Q5K => first_not::<176>(bytes, |b| half_is_finite(b, 0) && half_is_finite(b, 2)),
        DType::Q6K => first_not::<210>(bytes, |b| half_is_finite(b, 208)),
        DType::IQ4XS => first_not::<136>(bytes, |b| half_is_finite(b, 0)),
        // Twelve times the largest scale overflows, so the elements decide.
        DType::MXFP4 => first_not::<17>(bytes, |b| {
            let mut out = [0.0; 32];
            dequantize_row(DType::MXFP4, b, &mut out);
            out.iter().all(|x| x.is_finite())
        }),
        DType::Unknown(_) => {
            let detail = format!("element type {dtype} is not one this crate reads");
            return Err(Error::new(Code::DtypeUnsupported, name, detail));
        }
    };
    let Some(block) = bad_block else {
        return Ok(());
    };
    let first = block * dtype.block_len();
    let detail = match dtype.block_len() {
        1 => format!("element {first} of the part read is NaN or infinite"),
        n => format!(
            "a value among elements {first}..{} of the part read is NaN or infinite",
            first + n
        ),
    };
    Err(Error::new(Code::NotFinite, name, detail))
}

fn half_is_finite(block: &[u8], at: usize) -> bool {
    block[at + 1] & 0x7c != 0x7c
}

/// The index of the first block that is not as `f` wants it.
fn first_not<const B: usize>(bytes: &[u8], f: impl Fn(&[u8; B]) -> bool) -> Option<usize> {
    bytes
        .chunks_exact(B)
        .position(|b| b.try_into().is_ok_and(|b| !f(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte of a block is tried with every value that could make a scale
    /// special; the scales alone must tell what the elements tell.
    #[test]
    fn scales_alone_tell_whether_a_block_is_finite() {
        let mut refused = 0;
        for &dtype in DType::ALL {
            let (n, len) = (dtype.block_bytes(), dtype.block_len());
            for at in 0..n {
                for value in [0x00, 0x7b, 0x7c, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xff] {
                    let mut bytes = vec![0x11; 2 * n];
                    bytes[n + at] = value;
                    if at > 0 {
                        bytes[n + at - 1] = 0x80;
                    }
                    let mut out = vec![0.0; 2 * len];
                    dequantize_row(dtype, &bytes, &mut out);
                    let expected = out.iter().all(|x| x.is_finite());
                    let found = check_finite("w", dtype, &bytes);
                    assert_eq!(found.is_ok(), expected, "{dtype} byte {at} = {value:#x}");
                    if let Err(error) = found {
                        refused += 1;
                        assert_eq!((error.code(), error.subject()), (Code::NotFinite, "w"));
                        assert!(error.detail().contains(&len.to_string()), "{error}");
                    }
                }
            }
        }
        assert!(refused > 50, "{refused}");
    }
}
