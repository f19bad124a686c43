use super::*;
use crate::format::MemorySource;
use crate::testing::files::{f32_bytes, safetensors, safetensors_raw};

fn read(bytes: Vec<u8>) -> Result<Vec<TensorInfo>> {
    pollster::block_on(read_header(&MemorySource::new("m.safetensors", bytes)))
}

#[track_caller]
fn assert_refused(bytes: Vec<u8>, code: Code, subject: &str) {
    match read(bytes) {
        Ok(_) => panic!("was read"),
        Err(error) => assert_eq!((error.code(), error.subject()), (code, subject), "{error}"),
    }
}

/// A file with one tensor `a` whose entry is this.
fn one(entry: &str, n_bytes: usize) -> Vec<u8> {
    safetensors_raw(&format!(r#"{{"a":{entry}}}"#), &vec![0; n_bytes])
}

#[test]
fn tensors_are_listed_with_their_place() {
    let file = safetensors(&[
        ("a", "F32", &[2, 3], &[0; 24]),
        ("b", "BF16", &[4], &[1; 8]),
        ("scalar", "F16", &[], &[2; 2]),
        ("ids", "I64", &[2], &[3; 16]),
    ]);
    let tensors = read(file.clone()).unwrap();
    let [a, b, scalar, ids] = tensors.as_slice() else {
        panic!("four tensors")
    };
    assert_eq!(
        (a.dtype, a.shape.as_slice()),
        (DType::F32, [2, 3].as_slice())
    );
    assert_eq!(file[b.range.start as usize..b.range.end as usize], [1; 8]);
    assert_eq!(scalar.range.end - scalar.range.start, 2);
    assert_eq!(ids.dtype.to_string(), "I64");
    let header = r#"{"__metadata__":{"format":"pt","x":[1]},"a":{"shape":[1],"extra":{},"dtype":"F32","data_offsets":[0,4]}}   "#;
    assert_eq!(
        read(safetensors_raw(header, &f32_bytes(&[1.0])))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_file_cut_anywhere_is_truncated_not_a_panic() {
    let whole = safetensors(&[
        ("a", "F32", &[2, 3], &[0; 24]),
        ("b", "BF16", &[4], &[1; 8]),
    ]);
    for end in 0..whole.len() {
        let error = read(whole[..end].to_vec()).unwrap_err();
        assert_eq!(error.code(), Code::SourceTruncated, "cut at {end}: {error}");
    }
}

#[test]
fn headers_that_are_no_header_are_refused() {
    let file = "m.safetensors";
    for header in ["", " {}", "[]", "GGUF"] {
        assert_refused(safetensors_raw(header, &[]), Code::FormatUnknown, file);
    }
    let deep = format!("{{\"__metadata__\":{}", "[".repeat(100_000));
    for header in [
        "{",
        "{}{}",
        "{]",
        "{\"a\":1}",
        "{\"a\":{}}",
        "{\"\\ud800\":1}",
        &deep,
    ] {
        assert_refused(safetensors_raw(header, &[]), Code::FormatMalformed, file);
    }
    let mut bytes = safetensors(&[]);
    for n in [u64::MAX, u64::MAX - 7, 3] {
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        assert_refused(bytes.clone(), Code::SourceTruncated, file);
    }
    let mut not_text = safetensors_raw("{\"aa\":{}}", &[]);
    not_text[10] = 0xff;
    assert_refused(not_text, Code::FormatMalformed, file);
}

#[test]
fn tensors_that_contradict_the_file_are_refused_by_name() {
    use Code::FormatMalformed as Malformed;
    let entry = |shape: &str, offsets: &str| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    assert!(read(one(&entry("[1]", "[0,4]"), 4)).is_ok());
    assert_refused(one(&entry("[1]", "[0,8]"), 8), Malformed, "a");
    assert_refused(one(&entry("[1]", "[4,0]"), 8), Malformed, "a");
    assert_refused(one(&entry("[2]", "[0,8]"), 4), Code::SourceTruncated, "a");
    let huge = format!("[0,{}]", u64::MAX);
    assert_refused(one(&entry("[2]", &huge), 4), Code::SourceTruncated, "a");
    let shape = format!("[{},{}]", u64::MAX, u64::MAX);
    assert_refused(one(&entry(&shape, "[0,4]"), 4), Malformed, "a");
    let shape = format!("[{}]", 1u64 << 62);
    assert_refused(one(&entry(&shape, "[0,4]"), 4), Malformed, "a");
    assert_refused(
        one(&entry("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4),
        Malformed,
        "a",
    );
    assert_refused(one(&entry("[-1]", "[0,4]"), 4), Malformed, "m.safetensors");
    let quantised = r#"{"dtype":"Q8_0","shape":[32],"data_offsets":[0,34]}"#;
    assert_refused(one(quantised, 34), Malformed, "a");
    let e = entry("[1]", "[0,4]");
    let twice = safetensors_raw(&format!(r#"{{"a":{e},"a":{e}}}"#), &[0; 4]);
    assert_refused(twice, Malformed, "a");
    let over = entry("[2]", "[0,8]");
    let overlap = safetensors_raw(
        &format!(r#"{{"a":{over},"b":{}}}"#, entry("[1]", "[4,8]")),
        &[0; 8],
    );
    assert_refused(overlap, Malformed, "a");
}

#[test]
fn an_index_names_files_beside_it_only() {
    let index = |file: &str| {
        Index::parse(
            "i.json",
            &format!(r#"{{"weight_map":{{"a":{file:?},"b":"x"}}}}"#),
        )
    };
    assert_eq!(
        index("y.safetensors").unwrap().files(),
        ["x", "y.safetensors"]
    );
    for file in [
        "",
        "../x",
        "/etc/x",
        "a/b",
        "..",
        "C:x",
        "a\\b",
        "https://x",
    ] {
        let error = index(file).err().expect(file);
        assert_eq!(
            (error.code(), error.subject()),
            (Code::FormatMalformed, "i.json")
        );
    }
    assert_eq!(
        Index::parse("i.json", "{}").err().unwrap().code(),
        Code::FormatMalformed
    );
}
