//! Reading checkpoints where a browser keeps them: blobs and URLs.

use std::rc::Rc;

use js_sys::{Array, Function, Reflect, Uint8Array};
use tandem::Code;
use tandem::format::source::blob::BlobSource;
use tandem::format::source::http::{HttpFolder, HttpSource};
use tandem::format::{ByteSource, Checkpoint, DType, Folder};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;
use web_sys::Blob;

/// Blocks of every element type beside their values, by gguf-py.
const GOLDENS: &[u8] = include_bytes!("../goldens/quants.gguf");

fn blob(bytes: &[u8]) -> Blob {
    let parts = Array::of1(&Uint8Array::from(bytes));
    Blob::new_with_u8_array_sequence(&parts).expect("a blob")
}

fn counted(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

/// A server of `server.files` in place of the network. It serves ranges unless
/// `server.ranges` is false, and says so unless `server.hidden`; `server.log` has what
/// it was asked.
fn server() -> JsValue {
    let make = Function::new_no_args(
        r#"
        const server = { files: {}, ranges: true, hidden: false, log: [] };
        // One worker runs all tests: object URLs are the browser's all the same.
        const browser = (globalThis.browserFetch ??= globalThis.fetch);
        globalThis.fetch = async (request) => {
            if (request.url.startsWith("blob:")) return browser(request);
            const url = new URL(request.url);
            const range = request.headers.get("range");
            const key = request.headers.get("authorization") ?? "";
            server.log.push(`${request.method} ${url.pathname}${url.search} ${range} ${key}`.trim());
            if (url.pathname === "/broken") return new Response("", { status: 500 });
            if (url.pathname === "/unreachable") throw new TypeError("no network");
            const bytes = server.files[decodeURIComponent(url.pathname)];
            if (!bytes) return new Response("", { status: 404 });
            const length = { "content-length": `${bytes.length}` };
            if (request.method === "HEAD") return new Response(null, { headers: length });
            if (!range || !server.ranges) return new Response(bytes, { headers: length });
            const [start, last] = range.slice("bytes=".length).split("-").map(Number);
            if (start >= bytes.length) return new Response("", { status: 416 });
            const part = bytes.slice(start, Math.min(last + 1, bytes.length));
            const headers = { "content-range": `bytes ${start}-${start + part.length - 1}/${bytes.length}` };
            return new Response(part, { status: 206, headers: server.hidden ? {} : headers });
        };
        return server;
        "#,
    );
    make.call0(&JsValue::NULL).expect("a server")
}

fn put(server: &JsValue, path: &str, bytes: &[u8]) {
    let files = Reflect::get(server, &"files".into()).expect("files");
    Reflect::set(&files, &path.into(), &Uint8Array::from(bytes)).expect("set");
}

fn set(server: &JsValue, key: &str, value: bool) {
    Reflect::set(server, &key.into(), &value.into()).expect("set");
}

fn log(server: &JsValue) -> Vec<String> {
    let log: Array = Reflect::get(server, &"log".into())
        .expect("log")
        .unchecked_into();
    let lines = log.iter().filter_map(|line| line.as_string()).collect();
    log.set_length(0);
    lines
}

async fn open(url: &str) -> HttpSource {
    let opened = HttpSource::open(url, &Vec::new()).await;
    opened.expect("opened").expect("found")
}

#[wasm_bindgen_test]
async fn a_blob_is_read_by_range() {
    let source = BlobSource::new("dropped.gguf", blob(&counted(1000)));
    assert_eq!(source.len_bytes(), 1000);
    assert_eq!(
        source.read(10..700).await.expect("read"),
        counted(1000)[10..700]
    );
    assert_eq!(source.read(1000..1000).await, Ok(Vec::new()));
    let error = source.read(10..1001).await.expect_err("past the end");
    assert_eq!(
        (error.code(), error.subject()),
        (Code::SourceTruncated, "dropped.gguf")
    );
}

/// The browser's own `fetch`, which serves ranges of object URLs.
#[wasm_bindgen_test]
async fn an_object_url_is_read_through_fetch() {
    let bytes = counted(700_000);
    let url: Function = js_sys::eval("(b) => URL.createObjectURL(b)")
        .expect("eval")
        .unchecked_into();
    let url = url
        .call1(&JsValue::NULL, &blob(&bytes))
        .expect("an object URL");
    let source = open(&url.as_string().expect("text")).await;
    assert_eq!(source.len_bytes(), 700_000);
    assert_eq!(source.read(0..100).await.expect("read"), bytes[..100]);
    assert_eq!(
        source.read(600_000..700_000).await.expect("read"),
        bytes[600_000..]
    );
}

#[wasm_bindgen_test]
async fn every_type_dequantises_to_the_same_bits_in_a_browser() {
    let source: Rc<dyn ByteSource> = Rc::new(BlobSource::new("quants.gguf", blob(GOLDENS)));
    let goldens = Checkpoint::open_gguf(vec![source])
        .await
        .expect("quants.gguf");
    for &dtype in DType::ALL {
        let found = goldens
            .tensors
            .read(&dtype.to_string())
            .await
            .expect("blocks");
        let expected = goldens
            .tensors
            .read(&format!("{dtype}.values"))
            .await
            .expect("values");
        let (found, expected) = (
            found.to_f32().expect("whole"),
            expected.to_f32().expect("whole"),
        );
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert!(found.iter().zip(&expected).all(same), "{dtype}");
    }
}

#[wasm_bindgen_test]
async fn a_url_is_read_by_range() {
    let bytes = counted(2_000_000);
    let server = server();
    put(&server, "/m.gguf", &bytes);
    let source = open("https://host/m.gguf?key=secret").await;
    assert_eq!(
        (source.name(), source.len_bytes()),
        ("https://host/m.gguf", 2_000_000)
    );
    // The beginning came with the first request.
    assert_eq!(source.read(5..10).await.expect("read"), bytes[5..10]);
    assert_eq!(source.read(0..0).await, Ok(Vec::new()));
    assert_eq!(
        source.read(1_000_000..2_000_000).await.expect("read"),
        bytes[1_000_000..]
    );
    let asked = [
        "GET /m.gguf?key=secret bytes=0-524287",
        "GET /m.gguf?key=secret bytes=1000000-1999999",
    ];
    assert_eq!(log(&server), asked);
    let error = source.read(0..2_000_001).await.expect_err("past the end");
    assert_eq!(error.code(), Code::SourceTruncated);
    assert!(!error.to_string().contains("secret"), "{error}");
    // Replaced while it is read: half of either is no model.
    put(&server, "/m.gguf", &counted(1_999_999));
    let error = source
        .read(600_000..600_001)
        .await
        .expect_err("another file");
    assert_eq!(error.code(), Code::SourceUnreadable);
}

#[wasm_bindgen_test]
async fn servers_that_hide_or_lack_ranges_are_read_all_the_same() {
    let server = server();
    let long = counted(600_000);
    put(&server, "/long", &long);
    put(&server, "/short", &counted(10));
    put(&server, "/empty", &[]);
    for (ranges, hidden) in [(true, true), (false, false)] {
        set(&server, "ranges", ranges);
        set(&server, "hidden", hidden);
        let source = open("https://host/long").await;
        assert_eq!(source.len_bytes(), 600_000);
        assert_eq!(source.read(0..600_000).await.expect("read"), long);
        assert_eq!(open("https://host/short").await.len_bytes(), 10);
        assert_eq!(open("https://host/empty").await.len_bytes(), 0);
    }
}

#[wasm_bindgen_test]
async fn a_request_that_fails_says_so_and_404_is_not_a_failure() {
    let server = server();
    for path in ["broken", "unreachable"] {
        let url = format!("https://host/{path}?key=secret");
        let error = HttpSource::open(&url, &Vec::new()).await.err().expect(path);
        assert_eq!(error.code(), Code::SourceUnreadable);
        assert_eq!(error.subject(), format!("https://host/{path}"));
    }
    let found = HttpSource::open("https://host/nothing", &Vec::new()).await;
    assert!(found.expect("an answer").is_none());
    drop(server);
}

#[wasm_bindgen_test]
async fn a_checkpoint_opens_from_a_base_url() {
    let server = server();
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header);
    weights.extend(2.5f32.to_le_bytes());
    let index = br#"{"weight_map":{"w":"w 1.safetensors"}}"#;
    put(
        &server,
        "/o/m/resolve/main/model.safetensors.index.json",
        index,
    );
    put(&server, "/o/m/resolve/main/w 1.safetensors", &weights);
    put(
        &server,
        "/o/m/resolve/main/config.json",
        br#"{"model_type":"llama"}"#,
    );
    put(&server, "/o/m/resolve/main/tokenizer.json", b"{}");
    let key = ("authorization".to_string(), "Bearer k".to_string());
    let folder = HttpFolder::new("https://host/o/m/resolve/main/?download=true", vec![key]);
    let checkpoint = Checkpoint::open_folder(&folder).await.expect("opened");
    let raw = checkpoint.tensors.read("w").await.expect("read");
    assert_eq!(raw.to_f32(), Ok(vec![2.5]));
    assert_eq!(checkpoint.text_file("tokenizer.json"), Some("{}"));
    assert_eq!(checkpoint.text_file("tokenizer_config.json"), None);
    for line in log(&server) {
        assert!(
            line.contains("?download=true") && line.ends_with("Bearer k"),
            "{line}"
        );
    }
    let named = "https://host/o/m/resolve/main/w%201.safetensors?download=true";
    let checkpoint = Checkpoint::open_url(named, Vec::new())
        .await
        .expect("opened");
    assert_eq!(checkpoint.tensors.len(), 1);
    let error = folder.open("../../other").await.err().expect("refused");
    assert_eq!(error.subject(), "../../other");
}
