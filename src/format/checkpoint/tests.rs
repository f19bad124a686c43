use super::*;
use crate::format::FileSet;
use crate::testing::files::{GgufWriter, f32_bytes, safetensors};

fn block<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

fn folder(files: &[(&str, Vec<u8>)]) -> FileSet {
    let mut set = FileSet::new("folder");
    for (name, bytes) in files {
        set.add_bytes(name, bytes.clone());
    }
    set
}

#[track_caller]
fn assert_refused(opened: Result<Checkpoint>, code: Code, subject: &str) {
    match opened {
        Ok(_) => panic!("was opened"),
        Err(error) => assert_eq!((error.code(), error.subject()), (code, subject), "{error}"),
    }
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    block(checkpoint.tensors.read(name))
        .unwrap()
        .to_f32()
        .unwrap()
}

fn weights(name: &str, value: f32) -> Vec<u8> {
    safetensors(&[(name, "F32", &[1], &f32_bytes(&[value]))])
}

fn config() -> (&'static str, Vec<u8>) {
    ("config.json", br#"{"model_type":"llama"}"#.to_vec())
}

#[test]
fn a_hugging_face_folder_opens_as_it_is() {
    let set = folder(&[
        config(),
        ("model.safetensors", weights("w", 2.0)),
        ("tokenizer.json", b"\xef\xbb\xbf{}".to_vec()),
        ("vocab.json", b"not read".to_vec()),
        ("chat_template.jinja", b"{{ x }}".to_vec()),
    ]);
    let checkpoint = block(Checkpoint::open_folder(&set)).unwrap();
    assert_eq!(values(&checkpoint, "w"), [2.0]);
    assert_eq!(checkpoint.text_file("tokenizer.json"), Some("{}"));
    assert_eq!(checkpoint.text_file("chat_template.jinja"), Some("{{ x }}"));
    assert_eq!(checkpoint.text_file("vocab.json"), None);
    let Config::HuggingFace(config) = &checkpoint.config else {
        panic!("config.json")
    };
    assert_eq!(config["model_type"], "llama");
}

#[test]
fn without_tokenizer_json_vocabulary_and_merges_are_read() {
    let set = folder(&[
        config(),
        ("model.safetensors", weights("w", 2.0)),
        ("vocab.json", b"{}".to_vec()),
        ("merges.txt", b"a b".to_vec()),
    ]);
    let checkpoint = block(Checkpoint::open_folder(&set)).unwrap();
    assert_eq!(checkpoint.text_file("merges.txt"), Some("a b"));
    assert_eq!(checkpoint.text_files().count(), 2);
}

#[test]
fn a_sharded_folder_is_one_table_and_the_index_decides() {
    let index = br#"{"metadata":{},"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors"}}"#;
    let second = safetensors(&[
        ("a", "F32", &[1], &f32_bytes(&[9.0])),
        ("b", "F32", &[1], &f32_bytes(&[2.0])),
        ("extra", "F32", &[1], &f32_bytes(&[3.0])),
    ]);
    let mut files = vec![
        config(),
        ("model.safetensors.index.json", index.to_vec()),
        ("x-1.safetensors", weights("a", 1.0)),
        ("x-2.safetensors", second),
    ];
    let checkpoint = block(Checkpoint::open_folder(&folder(&files))).unwrap();
    let found: Vec<_> = ["a", "b", "extra"]
        .map(|n| values(&checkpoint, n)[0])
        .into();
    assert_eq!(found, [1.0, 2.0, 3.0]);
    files.remove(2);
    assert_refused(
        block(Checkpoint::open_folder(&folder(&files))),
        Code::FileMissing,
        "x-1.safetensors",
    );
}

#[test]
fn what_a_folder_lacks_is_named() {
    let open = |files: &[(&str, Vec<u8>)]| block(Checkpoint::open_folder(&folder(files)));
    assert_refused(open(&[]), Code::FileMissing, "model.safetensors");
    let alone = [("model.safetensors", weights("w", 2.0))];
    assert_refused(open(&alone), Code::FileMissing, "config.json");
    let pickled = [config(), ("pytorch_model.bin", vec![0])];
    assert_refused(open(&pickled), Code::FormatUnknown, "pytorch_model.bin");
    let two = [("a.gguf", vec![]), ("b.gguf", vec![])];
    assert_refused(open(&two), Code::RequestInvalid, "folder");
    let broken = [
        ("config.json", b"{".to_vec()),
        ("model.safetensors", weights("w", 2.0)),
    ];
    assert_refused(open(&broken), Code::ConfigInvalid, "config.json");
    let binary = [
        ("config.json", vec![0xff]),
        ("model.safetensors", weights("w", 2.0)),
    ];
    assert_refused(open(&binary), Code::FormatMalformed, "config.json");
}

fn part(no: u16, count: u16, total: i32, name: &str, value: f32) -> Vec<u8> {
    let file = GgufWriter::default()
        .kv("general.name", format!("part {no}").as_str())
        .kv("split.no", no)
        .kv("split.count", count)
        .kv("split.tensors.count", total);
    file.f32_tensor(name, &[1], &[value]).build()
}

#[test]
fn a_split_gguf_is_one_checkpoint_whichever_part_is_named() {
    let files = [
        ("m-00001-of-00002.gguf", part(0, 2, 2, "a", 1.0)),
        ("m-00002-of-00002.gguf", part(1, 2, 2, "b", 2.0)),
        ("mmproj-m.gguf", vec![]),
    ];
    let set = folder(&files);
    let opened = [
        block(Checkpoint::open_folder(&set)).unwrap(),
        block(Checkpoint::open_file(&set, "m-00001-of-00002.gguf")).unwrap(),
        block(Checkpoint::open_file(&set, "m-00002-of-00002.gguf")).unwrap(),
    ];
    for checkpoint in &opened {
        assert_eq!(
            (values(checkpoint, "a"), values(checkpoint, "b")),
            (vec![1.0], vec![2.0])
        );
        let Config::Gguf(metadata) = &checkpoint.config else {
            panic!("metadata")
        };
        assert_eq!(metadata.require("general.name"), Ok("part 0"));
        assert_eq!(checkpoint.name(), "m-00001-of-00002.gguf");
    }
}

#[test]
fn a_split_gguf_with_a_part_missing_or_wrong_is_refused_by_name() {
    let first = ("m-00001-of-00002.gguf", part(0, 2, 2, "a", 1.0));
    let open = |files: &[(&str, Vec<u8>)], name| block(Checkpoint::open_file(&folder(files), name));
    let (a, b) = (first.0, "m-00002-of-00002.gguf");
    assert_refused(open(std::slice::from_ref(&first), a), Code::FileMissing, b);
    let renamed = [("m.gguf", first.1.clone())];
    assert_refused(open(&renamed, "m.gguf"), Code::FileMissing, "m.gguf");
    let swapped = [first.clone(), (b, part(0, 2, 2, "b", 2.0))];
    assert_refused(open(&swapped, a), Code::FormatMalformed, b);
    let twice = [first.clone(), (b, part(1, 2, 2, "a", 2.0))];
    assert_refused(open(&twice, a), Code::FormatMalformed, "a");
    let short = [first.clone(), (b, part(1, 2, 3, "b", 2.0))];
    let short = [(a, part(0, 2, 3, "a", 1.0)), short[1].clone()];
    assert_refused(open(&short, a), Code::FormatMalformed, a);
    let alone = vec![folder(&[first]).open_now(a)];
    assert_refused(block(Checkpoint::open_gguf(alone)), Code::FileMissing, a);
    assert_refused(block(Checkpoint::open_gguf(vec![])), Code::FileMissing, "");
}

impl FileSet {
    fn open_now(&self, name: &str) -> Rc<dyn ByteSource> {
        block(self.open(name)).unwrap().unwrap()
    }
}

#[test]
fn a_vocabulary_alone_opens() {
    let file = GgufWriter::default()
        .kv("tokenizer.ggml.model", "gpt2")
        .build();
    let set = folder(&[("vocab.gguf", file)]);
    let checkpoint = block(Checkpoint::open_folder(&set)).unwrap();
    assert!(checkpoint.tensors.is_empty());
    let error = block(checkpoint.tensors.read("w")).unwrap_err();
    assert_eq!((error.code(), error.subject()), (Code::TensorMissing, "w"));
}

#[test]
fn real_folders_open_by_path_and_hold_the_same_weights() {
    let path = |dtype| crate::testing::shared(&format!("data/weights/tinystories-656k-{dtype}"));
    let (Some(bf16), Some(fp32)) = (path("bf16"), path("fp32")) else {
        return;
    };
    let bf16 = block(Checkpoint::open_path(&bf16)).unwrap();
    let fp32 = block(Checkpoint::open_path(&fp32.join("model.safetensors"))).unwrap();
    assert!(bf16.text_file("tokenizer.json").is_some());
    assert!(fp32.text_file("tokenizer_config.json").is_some());
    let mut compared = 0;
    for info in fp32.tensors.iter() {
        // The two copies keep the tied embedding under different names.
        if bf16.tensors.get(&info.name).is_some() {
            let (a, b) = (values(&bf16, &info.name), values(&fp32, &info.name));
            let close = a
                .iter()
                .zip(&b)
                .all(|(a, b)| (a - b).abs() <= b.abs() / 128.0);
            assert!(close, "{}", info.name);
            compared += 1;
        }
    }
    assert!(compared >= 18, "{compared}");
}
