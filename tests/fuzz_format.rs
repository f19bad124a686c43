//! Headers from outside never panic and never take more memory than the file could
//! justify. See `common/fuzz.rs` for how long this runs.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::rc::Rc;

use common::files::{GgufWriter, array_head, f32_bytes, safetensors, safetensors_raw};
use common::fuzz::{CountingAllocator, peak_bytes, run};
use tandem::format::{ByteSource, Checkpoint, FileSet, MemorySource};
use tandem::{Code, Error};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What parsing a file of `len` bytes may have in use at once. A header is held once or
/// twice while it grows, and what it says (names, values, shapes) takes several times
/// its text in the worst case, such as thousands of keys of two letters. What matters
/// is that the bound is the file's size and not what the file claims.
fn bound_bytes(len: usize) -> usize {
    64 * 1024 + 24 * len
}

/// Opens, reads whatever tensors are listed, and holds the result against what is
/// promised of it.
fn check(input: &[u8], open: impl FnOnce() -> Result<Checkpoint, Error>) {
    let (opened, peak) = peak_bytes(open);
    assert!(
        peak <= bound_bytes(input.len()),
        "{peak} bytes for a file of {}",
        input.len()
    );
    let checkpoint = match opened {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            assert_ne!(error.code(), Code::Internal, "{error}");
            assert!(!error.subject().is_empty(), "{error} has no subject");
            assert!(
                error.to_string().len() < 2000,
                "an error is for people: {error}"
            );
            return;
        }
    };
    for info in checkpoint.tensors.iter() {
        assert!(info.range.start <= info.range.end && info.range.end <= input.len() as u64);
        let (read, peak) = peak_bytes(|| pollster::block_on(checkpoint.tensors.read(&info.name)));
        assert!(
            peak <= bound_bytes(input.len()),
            "{peak} bytes to read {}",
            info.name
        );
        match read {
            Ok(raw) => assert!(raw.to_f32().is_ok(), "{}", info.name),
            Err(error) => assert_eq!(error.code(), Code::DtypeUnsupported, "{error}"),
        }
    }
}

#[test]
fn gguf_headers_never_panic_and_never_outgrow_their_file() {
    let mut nested = array_head(9, 2);
    nested.extend(
        [
            array_head(0, 2),
            vec![1, 2],
            array_head(9, 1),
            array_head(4, 0),
        ]
        .concat(),
    );
    let rich = GgufWriter::default()
        .kv("general.architecture", "llama")
        .kv("llama.block_count", 2u32)
        .kv(
            "tokenizer.ggml.tokens",
            ["<s>", "", "ä", "hello"].as_slice(),
        )
        .kv("tokenizer.ggml.scores", [0.0f32, -1.5, 2.0, 0.5].as_slice())
        .kv("f64", 0.5f64)
        .kv("bool", true)
        .raw_kv(b"nested", 9, &nested)
        .f32_tensor("a", &[2, 3], &[1.0; 6])
        .tensor("b", 8, &[64], &[7; 68])
        .tensor("odd", 16, &[256], &[1; 66])
        .alignment(64);
    let split = GgufWriter::default()
        .kv("split.no", 0u16)
        .kv("split.count", 1u16)
        .kv("split.tensors.count", 1i32)
        .f32_tensor("a", &[1], &[0.0]);
    let corpus = [
        rich.build(),
        rich.clone().version(2).build(),
        split.build(),
        GgufWriter::default().build(),
        GgufWriter::default().f32_tensor("a", &[1], &[0.0]).build(),
    ];
    let mut n_opened = 0u64;
    let n = run("gguf headers", &corpus, |input| {
        let source: Rc<dyn ByteSource> = Rc::new(MemorySource::new("m.gguf", input.to_vec()));
        check(input, || {
            let opened = pollster::block_on(Checkpoint::open_gguf(vec![source]));
            n_opened += u64::from(opened.is_ok());
            opened
        });
    });
    // Both ways are gone often, or the mutations are too wild or too tame.
    assert!(
        n_opened > n / 100 && n_opened < n * 9 / 10,
        "{n_opened} of {n} opened"
    );
}

#[test]
fn safetensors_headers_never_panic_and_never_outgrow_their_file() {
    let rich = safetensors(&[
        ("a", "F32", &[2, 3], &f32_bytes(&[1.0; 6])),
        ("model.layers.0.norm", "BF16", &[4], &[1; 8]),
        ("s", "F16", &[], &[0; 2]),
        ("ids", "I64", &[2], &[3; 16]),
    ]);
    let header = r#"{"__metadata__":{"format":"pt"},"ä\u00e9":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
    let corpus = [rich, safetensors_raw(header, &[0; 4]), safetensors(&[])];
    let config = br#"{"model_type":"llama"}"#;
    let mut n_opened = 0u64;
    let n = run("safetensors headers", &corpus, |input| {
        let mut files = FileSet::new("folder");
        files.add_bytes("model.safetensors", input.to_vec());
        files.add_bytes("config.json", config.to_vec());
        check(input, || {
            let opened = pollster::block_on(Checkpoint::open_folder(&files));
            n_opened += u64::from(opened.is_ok());
            opened
        });
    });
    assert!(
        n_opened > n / 100 && n_opened < n * 9 / 10,
        "{n_opened} of {n} opened"
    );
}

#[test]
fn safetensors_indexes_and_configs_never_panic() {
    let index = br#"{"metadata":{"total_size":4},"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors"}}"#;
    let corpus = [index.to_vec(), br#"{"weight_map":{}}"#.to_vec()];
    let shard = safetensors(&[("a", "F32", &[1], &f32_bytes(&[1.0]))]);
    run("safetensors indexes", &corpus, |input| {
        let mut files = FileSet::new("folder");
        files.add_bytes("model.safetensors.index.json", input.to_vec());
        files.add_bytes("config.json", input.to_vec());
        for name in ["x-1.safetensors", "x-2.safetensors"] {
            files.add_bytes(name, shard.clone());
        }
        check(&[input, &shard].concat(), || {
            pollster::block_on(Checkpoint::open_folder(&files))
        });
    });
}

#[test]
fn the_bound_on_memory_can_be_broken() {
    let ((), peak) = peak_bytes(|| drop(std::hint::black_box(vec![0u8; 1 << 20])));
    assert!(
        peak >= 1 << 20,
        "the counting allocator counts nothing: {peak}"
    );
}
