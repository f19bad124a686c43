use super::*;
use crate::format::{MemorySource, StringList};
use crate::testing::files::{GgufWriter, array_head};

fn read(bytes: Vec<u8>) -> Result<Header> {
    pollster::block_on(read_header(&MemorySource::new("m.gguf", bytes)))
}

fn refused(bytes: Vec<u8>) -> (Code, String) {
    match read(bytes) {
        Ok(_) => panic!("was read"),
        Err(error) => (error.code(), error.subject().to_string()),
    }
}

#[track_caller]
fn assert_refused(file: GgufWriter, code: Code, subject: &str) {
    assert_eq!(refused(file.build()), (code, subject.to_string()));
}

fn small() -> GgufWriter {
    GgufWriter::default()
        .kv("general.architecture", "llama")
        .kv("llama.block_count", 2u32)
        .kv("tokenizer.ggml.tokens", ["<s>", "", "ä"].as_slice())
        .kv("tokenizer.ggml.scores", [0.0f32, -1.5, 2.0].as_slice())
        .kv("tokenizer.ggml.token_type", [3i32, 1, 1].as_slice())
        .f32_tensor("a", &[2, 3], &[1.0; 6])
        .tensor("b", 8, &[64], &[7; 68])
}

#[test]
fn both_versions_are_read() {
    for version in [2, 3] {
        let header = read(small().version(version).build()).unwrap();
        let m = &header.metadata;
        assert_eq!(m.require("general.architecture"), Ok("llama"));
        assert_eq!(m.require("llama.block_count"), Ok(2usize));
        let tokens: &StringList = m.require("tokenizer.ggml.tokens").unwrap();
        assert_eq!(tokens.iter().collect::<Vec<_>>(), ["<s>", "", "ä"]);
        assert_eq!(
            m.require("tokenizer.ggml.scores"),
            Ok(vec![0.0f32, -1.5, 2.0])
        );
        assert_eq!(m.require("tokenizer.ggml.token_type"), Ok(vec![3i32, 1, 1]));
        let [a, b] = header.tensors.as_slice() else {
            panic!("two tensors")
        };
        assert_eq!(
            (a.name.as_str(), a.dtype, a.shape.as_slice()),
            ("a", DType::F32, [2, 3].as_slice())
        );
        assert_eq!(
            (b.dtype, b.shape.as_slice()),
            (DType::Q8_0, [64].as_slice())
        );
        assert_eq!(a.range.start % 32, 0);
        assert_eq!(
            (a.range.end - a.range.start, b.range.end - b.range.start),
            (24, 68)
        );
        assert_eq!(b.range.start, a.range.start + 32);
    }
}

#[test]
fn every_value_type_is_read() {
    let mut nested = array_head(9, 2);
    for n in [1u64, 2] {
        nested.extend(array_head(0, n));
        nested.extend(vec![9; n as usize]);
    }
    let file = GgufWriter::default()
        .kv("u8", 200u8)
        .kv("i8", -3i8)
        .kv("u16", 40_000u16)
        .kv("i16", -300i16)
        .kv("i32", -70_000i32)
        .kv("u64", u64::MAX)
        .kv("i64", i64::MIN)
        .kv("f32", 0.5f32)
        .kv("f64", 0.1f64)
        .kv("bool", true)
        .kv("i64s", [1i64, -1].as_slice())
        .raw_kv(b"bools", 9, &[array_head(7, 3), vec![0, 1, 7]].concat())
        .raw_kv(
            b"latin-1",
            8,
            &[3u64.to_le_bytes().to_vec(), b"caf\xe9"[1..].to_vec()].concat(),
        )
        .raw_kv(b"nested", 9, &nested);
    let m = read(file.build()).unwrap().metadata;
    assert_eq!(m.require("u8"), Ok(200u8));
    assert_eq!(m.require("i8"), Ok(-3i32));
    assert_eq!(m.require("u16"), Ok(40_000u32));
    assert_eq!(m.require("i16"), Ok(-300i64));
    assert_eq!(m.require("i32"), Ok(-70_000i32));
    assert_eq!(m.require("u64"), Ok(u64::MAX));
    assert_eq!(m.require("i64"), Ok(i64::MIN));
    assert_eq!(m.require("f32"), Ok(0.5f32));
    assert_eq!(m.require("f64"), Ok(0.1f64));
    assert_eq!(m.require("bool"), Ok(true));
    assert_eq!(m.require("i64s"), Ok(vec![1i32, -1]));
    assert_eq!(m.require("bools"), Ok(vec![false, true, true]));
    assert_eq!(m.require("latin-1"), Ok("af\u{fffd}"));
    let Ok(Array::Nested(arrays)) = m.require::<&Array>("nested") else {
        panic!("nested")
    };
    assert_eq!(arrays, &[Array::U8(vec![9]), Array::U8(vec![9, 9])]);
}

#[test]
fn a_header_longer_than_the_first_read_is_read_on() {
    let tokens: Vec<String> = (0..150_000).map(|i| format!("token {i}")).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let file = GgufWriter::default()
        .kv("tokens", tokens.as_slice())
        .f32_tensor("a", &[1], &[3.0]);
    let header = read(file.build()).unwrap();
    let list: &StringList = header.metadata.require("tokens").unwrap();
    assert_eq!(
        (list.len(), list.get(149_999)),
        (150_000, Some("token 149999"))
    );
    assert_eq!(header.tensors.len(), 1);
}

#[test]
fn only_gguf_of_a_known_version_is_read() {
    let mut other = small().build();
    other[0] = b'g';
    assert_eq!(refused(other).0, Code::FormatUnknown);
    for version in [0, 1, 4, 3u32.swap_bytes()] {
        assert_eq!(
            refused(small().version(version).build()).0,
            Code::FormatVersion
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_truncated_not_a_panic() {
    let whole = small().build();
    for end in 0..whole.len() {
        let (code, _) = refused(whole[..end].to_vec());
        assert_eq!(code, Code::SourceTruncated, "cut at {end}");
    }
}

#[test]
fn counts_and_lengths_beyond_the_file_are_refused_before_they_are_believed() {
    for at in [8, 16] {
        let mut file = small().build();
        file[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(refused(file).0, Code::SourceTruncated);
    }
    for n in [u64::MAX, u64::MAX / 8, 1 << 40, 1000] {
        for element_type in [0, 4, 8, 9, 12] {
            let value = array_head(element_type, n);
            let file = GgufWriter::default().raw_kv(b"k", 9, &value);
            assert_refused(file, Code::SourceTruncated, "m.gguf");
        }
        let file = GgufWriter::default().raw_kv(b"k", 8, &n.to_le_bytes());
        assert_refused(file, Code::SourceTruncated, "m.gguf");
    }
    let deep: Vec<u8> = (0..1000).flat_map(|_| array_head(9, 1)).collect();
    let file = GgufWriter::default().raw_kv(b"deep", 9, &deep);
    assert_refused(file, Code::FormatMalformed, "deep");
}

#[test]
fn names_and_types_the_format_does_not_allow_are_refused() {
    use Code::FormatMalformed as Malformed;
    let twice = small().kv("llama.block_count", 3u32);
    assert_refused(twice, Malformed, "llama.block_count");
    let twice = small().f32_tensor("a", &[1], &[0.0]);
    assert_refused(twice, Malformed, "a");
    let name = small().f32_tensor("c", &[1], &[0.0]).named(b"\xff\xfe");
    assert_refused(name, Malformed, "\u{fffd}\u{fffd}");
    let key = small().raw_kv(b"k\xff", 0, &[0]);
    assert_refused(key, Malformed, "k\u{fffd}");
    assert_refused(small().raw_kv(b"odd", 13, &[0; 8]), Malformed, "odd");
    assert_refused(
        small().raw_kv(b"odd", 9, &array_head(77, 0)),
        Malformed,
        "odd",
    );
    for alignment in [0u32, 3, 48] {
        let file = small().kv("general.alignment", alignment);
        assert_refused(file, Malformed, "general.alignment");
    }
    assert_refused(
        small().kv("general.alignment", "x"),
        Code::ConfigInvalid,
        "general.alignment",
    );
}

#[test]
fn tensors_that_contradict_the_file_are_refused_by_name() {
    use Code::{FormatMalformed as Malformed, SourceTruncated as Truncated};
    let f32s = |shape: &[u64], n: usize| small().f32_tensor("c", shape, &vec![0.0; n]);
    assert_refused(f32s(&[1], 1).at_offset(36), Malformed, "c");
    assert_refused(f32s(&[1], 1).at_offset(0), Malformed, "a");
    assert_refused(f32s(&[1], 1).at_offset(64), Malformed, "b");
    assert_refused(f32s(&[1], 1).at_offset(1 << 40), Truncated, "c");
    assert_refused(f32s(&[1], 1).at_offset(u64::MAX - 31), Malformed, "c");
    assert_refused(f32s(&[1000], 1), Truncated, "c");
    assert_refused(f32s(&[u64::MAX, u64::MAX], 1), Malformed, "c");
    assert_refused(f32s(&[1 << 62, 1], 1), Malformed, "c");
    assert_refused(f32s(&[1, 1, 1, 1, 1], 1), Malformed, "c");
    assert_refused(small().tensor("c", 8, &[2, 16], &[0; 34]), Malformed, "c");
}

/// The product is zero, yet whoever multiplies only the rows or only the columns
/// overflows.
#[test]
fn an_empty_tensor_whose_other_dimensions_overflow_is_refused() {
    for shape in [
        [1 << 40, 1 << 40, 0],
        [0, 1 << 40, 1 << 40],
        [1, 0, 1 << 63],
    ] {
        let file = small().f32_tensor("c", &shape, &[]);
        assert_refused(file, Code::FormatMalformed, "c");
    }
}

#[test]
fn a_tensor_of_unknown_type_is_listed_and_reaches_to_the_next() {
    let file = GgufWriter::default()
        .tensor("odd", 16, &[256], &[1; 66])
        .tensor("none", 999, &[7], &[1; 3])
        .f32_tensor("a", &[1], &[3.0]);
    let header = read(file.build()).unwrap();
    assert_eq!(header.tensors[0].dtype.to_string(), "IQ2_XXS");
    assert_eq!(header.tensors[0].range.end, header.tensors[1].range.start);
    assert_eq!(header.tensors[1].range.end, header.tensors[2].range.start);
}

#[test]
fn alignment_is_the_files_own() {
    let file = GgufWriter::default()
        .alignment(256)
        .f32_tensor("a", &[1], &[3.0])
        .f32_tensor("b", &[0], &[])
        .f32_tensor("c", &[1], &[3.0]);
    let starts: Vec<u64> = read(file.build())
        .unwrap()
        .tensors
        .iter()
        .map(|t| t.range.start % 256)
        .collect();
    assert_eq!(starts, [0, 0, 0]);
}

#[test]
fn real_vocabularies_are_read() {
    for name in [
        "llama-spm.gguf",
        "gpt-2/ggml-vocab-gpt-2.gguf",
        "falcon/ggml-vocab-falcon.gguf",
    ] {
        let Some(path) = crate::testing::shared(&format!("data/tokenizers/{name}")) else {
            return;
        };
        let header = read(std::fs::read(path).unwrap()).unwrap();
        assert!(header.tensors.is_empty(), "{name}");
        let m = &header.metadata;
        let tokens: &StringList = m.require("tokenizer.ggml.tokens").unwrap();
        assert!(tokens.len() >= 32_000, "{name}: {}", tokens.len());
        let types: Vec<i32> = m.require("tokenizer.ggml.token_type").unwrap();
        assert_eq!(types.len(), tokens.len(), "{name}");
    }
}
