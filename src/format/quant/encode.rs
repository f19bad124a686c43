//! Floats -> blocks: quantising a float checkpoint as it is loaded.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::{DType, check_finite};
use crate::error::{Code, Error, Result};
use crate::format::TensorInfo;

/// What to make of a float checkpoint's weights while they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum Quantize {
    Q8_0,
    Q4_0,
    Q4K,
}

impl Quantize {
    /// From the name given on a command line or in a request: `q8_0`, `q4_0`, `q4_k`.
    ///
    /// # Errors
    /// `request_invalid` for any other.
    pub fn from_name(name: &str) -> Result<Self> {
        match DType::from_name(name) {
            DType::Q8_0 => Ok(Quantize::Q8_0),
            DType::Q4_0 => Ok(Quantize::Q4_0),
            DType::Q4K => Ok(Quantize::Q4K),
            _ => {
                let detail = format!("{name} is not one of q8_0, q4_0, q4_k");
                Err(Error::new(Code::RequestInvalid, "quantize", detail))
            }
        }
    }

    /// The type a tensor gets, or `None` where it stays as it is. The rule:
    ///
    /// - Only plain floats with two dimensions, and no norms: vectors are small and
    ///   norms are sensitive, so they stay.
    /// - Embeddings and the output head get Q8_0 whatever was asked for: every token
    ///   passes through them and errors there are not averaged out.
    /// - Rows must be whole blocks. Where a row is no multiple of 256 but of 32,
    ///   Q8_0 takes the place of Q4_K; where it is neither, the tensor stays.
    pub fn dtype_for(self, info: &TensorInfo) -> Option<DType> {
        let &[_, n_cols] = info.shape.as_slice() else {
            return None;
        };
        if !info.dtype.is_float() || n_cols == 0 || info.name.contains("norm") {
            return None;
        }
        let at_the_edge = ["embd", "embed", "wte", "wpe", "lm_head"];
        let at_the_edge =
            at_the_edge.iter().any(|part| info.name.contains(part)) || info.name == "output.weight";
        let wanted = match self {
            _ if at_the_edge => DType::Q8_0,
            Quantize::Q8_0 => DType::Q8_0,
            Quantize::Q4_0 => DType::Q4_0,
            Quantize::Q4K => DType::Q4K,
        };
        let whole = |dtype: DType| n_cols % dtype.block_len() == 0;
        [wanted, DType::Q8_0].into_iter().find(|&d| whole(d))
    }
}

/// Quantises whole blocks; `values` holds rows whose length is a multiple of the
/// block's.
///
/// # Errors
/// `dtype_unsupported` where values cannot be turned into `dtype`, `tensor_shape`
/// where they are not whole blocks, `not_finite` where one is NaN or infinite or too
/// large for the type. The subject is the type: the caller knows the tensor.
pub fn quantize(dtype: DType, values: &[f32]) -> Result<Vec<u8>> {
    let error = |code, detail: &str| Error::new(code, dtype.to_string(), detail);
    let Some(n_bytes) = dtype.row_bytes(values.len()) else {
        return Err(match dtype {
            DType::Unknown(_) => error(Code::DtypeUnsupported, "cannot be written"),
            _ => error(Code::TensorShape, "values are not whole blocks"),
        });
    };
    if !values.iter().all(|x| x.is_finite()) {
        return Err(error(Code::NotFinite, "a value is NaN or infinite"));
    }
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let ggml = match dtype {
        DType::F32 => GgmlDType::F32,
        DType::F16 => GgmlDType::F16,
        DType::BF16 => GgmlDType::BF16,
        DType::Q4_0 => GgmlDType::Q4_0,
        DType::Q4_1 => GgmlDType::Q4_1,
        DType::Q5_0 => GgmlDType::Q5_0,
        DType::Q5_1 => GgmlDType::Q5_1,
        DType::Q8_0 => GgmlDType::Q8_0,
        DType::Q2K => GgmlDType::Q2K,
        DType::Q3K => GgmlDType::Q3K,
        DType::Q4K => GgmlDType::Q4K,
        DType::Q5K => GgmlDType::Q5K,
        DType::Q6K => GgmlDType::Q6K,
        DType::IQ4NL | DType::IQ4XS | DType::MXFP4 | DType::Unknown(_) => {
            return Err(error(Code::DtypeUnsupported, "can be read but not written"));
        }
    };
    let blocks = || -> candle_core::Result<Vec<u8>> {
        let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
        Ok(QTensor::quantize(&tensor, ggml)?.data()?.into_owned())
    };
    let bytes = blocks().map_err(|e| error(Code::Internal, &e.to_string()))?;
    assert_eq!(
        bytes.len(),
        n_bytes,
        "bytes of {} elements of {dtype}",
        values.len()
    );
    // A value beyond the scale's range became an infinite scale.
    check_finite(&dtype.to_string(), dtype, &bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::dequantize;
    use super::*;

    fn wave(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * 0.1)
            .collect()
    }

    #[test]
    fn quantised_values_come_back_within_half_a_step() {
        let values = wave(1024);
        // Largest magnitude 0.1; the step is that over the number of positive levels.
        for (dtype, bound) in [
            (DType::F32, 0.0),
            (DType::F16, 0.1 / 2048.0),
            (DType::BF16, 0.1 / 256.0),
            (DType::Q8_0, 0.1 / 127.0),
            (DType::Q4_0, 0.1 / 8.0),
            (DType::Q4K, 0.2 / 15.0),
            (DType::Q6K, 0.1 / 31.0),
        ] {
            let bytes = quantize(dtype, &values).unwrap();
            let mut back = vec![0.0; values.len()];
            dequantize(dtype, &bytes, &mut back).unwrap();
            let worst = values.iter().zip(&back).map(|(a, b)| (a - b).abs());
            let worst = worst.fold(0.0, f32::max);
            assert!(worst <= bound, "{dtype}: {worst} > {bound}");
        }
    }

    #[test]
    fn what_cannot_be_quantised_is_named() {
        let code = |dtype, values: &[f32]| quantize(dtype, values).unwrap_err().code();
        assert_eq!(code(DType::Q8_0, &wave(33)), Code::TensorShape);
        assert_eq!(code(DType::IQ4XS, &wave(256)), Code::DtypeUnsupported);
        let mut values = wave(32);
        values[5] = f32::NAN;
        assert_eq!(code(DType::Q8_0, &values), Code::NotFinite);
        values[5] = 1e30;
        assert_eq!(code(DType::Q8_0, &values), Code::NotFinite);
        assert_eq!(quantize(DType::Q8_0, &[]).unwrap(), Vec::<u8>::new());
    }

    #[test]
    fn the_rule_says_which_tensors_are_quantised() {
        let info = |name: &str, dtype, shape: &[usize]| TensorInfo {
            name: name.to_string(),
            dtype,
            shape: shape.to_vec(),
            source: 0,
            range: 0..0,
        };
        let rule = |q: Quantize, name, dtype, shape| q.dtype_for(&info(name, dtype, shape));
        let q = "model.layers.0.self_attn.q_proj.weight";
        type Case<'a> = (Quantize, &'a str, DType, &'a [usize], Option<DType>);
        let cases: [Case<'_>; 9] = [
            (Quantize::Q4K, q, DType::BF16, &[64, 512], Some(DType::Q4K)),
            (Quantize::Q4K, q, DType::F32, &[64, 96], Some(DType::Q8_0)),
            (Quantize::Q4_0, q, DType::F16, &[64, 96], Some(DType::Q4_0)),
            (Quantize::Q4_0, q, DType::F16, &[64, 33], None),
            (Quantize::Q4_0, q, DType::Q6K, &[64, 256], None),
            (
                Quantize::Q4_0,
                "token_embd.weight",
                DType::F16,
                &[9, 64],
                Some(DType::Q8_0),
            ),
            (
                Quantize::Q4_0,
                "output.weight",
                DType::F16,
                &[9, 64],
                Some(DType::Q8_0),
            ),
            (
                Quantize::Q8_0,
                "blk.0.attn_norm.weight",
                DType::F32,
                &[1, 64],
                None,
            ),
            (Quantize::Q8_0, "blk.0.attn_q.bias", DType::F32, &[64], None),
        ];
        for (to, name, dtype, shape, expected) in cases {
            assert_eq!(
                rule(to, name, dtype, shape),
                expected,
                "{to:?} {name} {shape:?}"
            );
        }
        assert_eq!(Quantize::from_name("Q4_K"), Ok(Quantize::Q4K));
        assert_eq!(
            Quantize::from_name("q5_0").unwrap_err().code(),
            Code::RequestInvalid
        );
    }
}
