//! Dequantisation, bit for bit what gguf-py computes, over a file that gguf-py wrote.

#![cfg(not(target_arch = "wasm32"))]

use std::path::Path;

use tandem::format::quant::{check_finite, dequantize_row};
use tandem::format::{Checkpoint, Config, DType, StringList};

fn goldens() -> Checkpoint {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/quants.gguf");
    pollster::block_on(Checkpoint::open_path(&path)).expect("quants.gguf")
}

#[test]
fn every_type_dequantises_to_the_bits_gguf_py_computes() {
    let goldens = goldens();
    let read = |name: &str| pollster::block_on(goldens.tensors.read(name)).expect(name);
    for &dtype in DType::ALL {
        let blocks = read(&dtype.to_string());
        assert_eq!(blocks.dtype, dtype);
        let expected = read(&format!("{dtype}.values")).to_f32().expect("floats");
        let found = blocks.to_f32().expect("whole blocks");
        assert_eq!(found.len(), expected.len(), "{dtype}");
        let (mut n_special, mut n_ordinary) = (0, 0);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // A NaN's sign and payload are the processor's own.
            let same =
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{dtype}, element {i}: {found:?}, not {expected:?}");
            if expected.is_finite() {
                n_ordinary += 1
            } else {
                n_special += 1
            }
        }
        assert!(
            n_special > 0 && n_ordinary > 200,
            "{dtype}: {n_special}, {n_ordinary}"
        );
        let finite = check_finite("w", dtype, &blocks.bytes);
        assert!(finite.is_err(), "{dtype} has infinities");
        // One row at a time, and block by block, it is the same.
        let mut row = vec![0.0; dtype.block_len()];
        for (i, block) in blocks.bytes.chunks_exact(dtype.block_bytes()).enumerate() {
            dequantize_row(dtype, block, &mut row);
            let whole = &found[i * row.len()..][..row.len()];
            assert!(
                row.iter()
                    .zip(whole)
                    .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan())
            );
            assert_eq!(
                check_finite("w", dtype, block).is_ok(),
                row.iter().all(|x| x.is_finite()),
                "{dtype}, block {i}"
            );
        }
    }
}

#[test]
fn what_the_reference_writer_wrote_is_read() {
    let goldens = goldens();
    let Config::Gguf(metadata) = &goldens.config else {
        panic!("a GGUF file has metadata");
    };
    let words: &StringList = metadata.require("golden.words").expect("words");
    assert_eq!(words.iter().collect::<Vec<_>>(), ["one", "", "drei ä"]);
    assert_eq!(metadata.require("golden.numbers"), Ok(vec![1i32, -2, 3]));
    assert_eq!(metadata.require("general.architecture"), Ok("none"));
    assert_eq!(goldens.tensors.len(), 2 * DType::ALL.len());
}
