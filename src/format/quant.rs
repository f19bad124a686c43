//! Element types and their block layouts; scalar dequantisation, the ground truth
//! every kernel is tested against.

/// How a tensor's elements are stored. Layouts are GGML's
/// (<https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum DType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    IQ4NL,
    IQ4XS,
    MXFP4,
    /// A type this crate cannot read, by the number or name its file gives.
    Unknown(u32),
}
