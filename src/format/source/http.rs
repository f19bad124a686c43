//! HTTP ranges through the browser's `fetch`.

use std::ops::Range;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, Request, RequestInit, Response};

use super::blob::{BlobSource, bytes_of, describe};
use super::{ByteSource, Folder, LocalFuture, truncated, unreadable};
use crate::error::{Code, Error, Result};
use crate::format::Checkpoint;

#[wasm_bindgen]
extern "C" {
    /// The global `fetch`, which windows and workers both have.
    #[wasm_bindgen(js_name = fetch)]
    fn fetch(request: &Request) -> Promise;

    #[wasm_bindgen(js_name = encodeURIComponent)]
    fn encode_uri_component(part: &str) -> String;

    #[wasm_bindgen(catch, js_name = decodeURIComponent)]
    fn decode_uri_component(part: &str) -> std::result::Result<String, JsValue>;
}

/// How much the first request asks for: enough for a small file or most headers,
/// so that those cost one round trip.
const HEAD_BYTES: u64 = 512 * 1024;

/// Request headers, such as an authorisation for a gated repository.
pub type Headers = Vec<(String, String)>;

/// A file behind a URL, read by range.
pub struct HttpSource {
    name: String,
    body: Body,
}

enum Body {
    /// The server serves ranges.
    Ranges {
        url: String,
        headers: Headers,
        len_bytes: u64,
        /// The first bytes, which the first request brought along.
        head: Vec<u8>,
    },
    /// The server does not: the browser holds the whole file, on disk where it is large.
    Whole(BlobSource),
}

impl HttpSource {
    /// Asks for the beginning of `url`, and so for its length. `None` where the
    /// server says that there is no such file.
    ///
    /// # Errors
    /// `source_unreadable` where the request fails or another status comes back.
    pub async fn open(url: &str, headers: &Headers) -> Result<Option<Self>> {
        let name = without_query(url);
        let response = request(&name, url, headers, &(0..HEAD_BYTES)).await?;
        let body = match response.status() {
            404 | 410 => return Ok(None),
            206 => {
                let head = body_bytes(&name, &response).await?;
                let total = header(&response, "content-range").and_then(|r| total_of(&r));
                let len_bytes = match total {
                    Some(total) => total,
                    // The server hides the header from other origins (CORS). A short
                    // answer is the whole file; else the length has to be asked for.
                    None if (head.len() as u64) < HEAD_BYTES => head.len() as u64,
                    None => length_of(&name, url, headers).await?,
                };
                Body::Ranges {
                    url: url.to_string(),
                    headers: headers.clone(),
                    len_bytes,
                    head,
                }
            }
            // An empty file has no range to serve.
            416 => Body::Ranges {
                url: url.to_string(),
                headers: Vec::new(),
                len_bytes: 0,
                head: Vec::new(),
            },
            200 => {
                let failed = |error: JsValue| unreadable(&name, describe(&error));
                let blob = JsFuture::from(response.blob().map_err(failed)?).await;
                let blob: Blob = blob.map_err(failed)?.dyn_into().map_err(failed)?;
                Body::Whole(BlobSource::new(&name, blob))
            }
            status => return Err(unreadable(&name, format!("HTTP status {status}"))),
        };
        Ok(Some(Self { name, body }))
    }
}

impl ByteSource for HttpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        match &self.body {
            Body::Ranges { len_bytes, .. } => *len_bytes,
            Body::Whole(blob) => blob.len_bytes(),
        }
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            let (url, headers, len_bytes, head) = match &self.body {
                Body::Whole(blob) => return blob.read(range).await,
                Body::Ranges {
                    url,
                    headers,
                    len_bytes,
                    head,
                } => (url, headers, *len_bytes, head),
            };
            if range.start > range.end || range.end > len_bytes {
                return Err(truncated(&self.name, &range, len_bytes));
            }
            if range.is_empty() {
                return Ok(Vec::new());
            }
            if range.end <= head.len() as u64 {
                // Both fit `usize`: they are within `head`.
                return Ok(head[range.start as usize..range.end as usize].to_vec());
            }
            let response = request(&self.name, url, headers, &range).await?;
            // 200 would be the whole file from its start: the server changed its mind.
            if response.status() != 206 {
                let detail = format!("HTTP status {} to a range", response.status());
                return Err(unreadable(&self.name, detail));
            }
            let total = header(&response, "content-range").and_then(|r| total_of(&r));
            if total.is_some_and(|total| total != len_bytes) {
                return Err(unreadable(&self.name, "the file changed while it was read"));
            }
            let bytes = body_bytes(&self.name, &response).await?;
            if bytes.len() as u64 != range.end - range.start {
                return Err(truncated(&self.name, &range, len_bytes));
            }
            Ok(bytes)
        })
    }
}

/// Sends a request for `range` and waits for the response's head.
async fn request(name: &str, url: &str, headers: &Headers, range: &Range<u64>) -> Result<Response> {
    let range = format!("bytes={}-{}", range.start, range.end - 1);
    send(name, "GET", url, headers, Some(&range)).await
}

async fn send(
    name: &str,
    method: &str,
    url: &str,
    headers: &Headers,
    range: Option<&str>,
) -> Result<Response> {
    let failed = |error: JsValue| unreadable(name, describe(&error));
    let init = RequestInit::new();
    init.set_method(method);
    let request = Request::new_with_str_and_init(url, &init).map_err(failed)?;
    for (key, value) in headers {
        request.headers().set(key, value).map_err(failed)?;
    }
    if let Some(range) = range {
        request.headers().set("range", range).map_err(failed)?;
    }
    let response = JsFuture::from(fetch(&request)).await.map_err(failed)?;
    response.dyn_into().map_err(failed)
}

/// The length a HEAD request reports.
async fn length_of(name: &str, url: &str, headers: &Headers) -> Result<u64> {
    let response = send(name, "HEAD", url, headers, None).await?;
    let length = header(&response, "content-length").and_then(|l| l.parse().ok());
    length.ok_or_else(|| unreadable(name, "the server does not say how long it is"))
}

async fn body_bytes(name: &str, response: &Response) -> Result<Vec<u8>> {
    let failed = |error: JsValue| unreadable(name, describe(&error));
    let buffer = JsFuture::from(response.array_buffer().map_err(failed)?).await;
    bytes_of(&buffer.map_err(failed)?).ok_or_else(|| unreadable(name, "no bytes"))
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).ok().flatten()
}

/// The total of a `Content-Range: bytes 0-99/1234`.
fn total_of(content_range: &str) -> Option<u64> {
    content_range.rsplit_once('/')?.1.trim().parse().ok()
}

/// A URL as errors may show it: queries can hold keys.
fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or(url).to_string()
}

/// A base URL under which a checkpoint's files lie. A query of the base is kept on
/// every request.
pub struct HttpFolder {
    name: String,
    query: String,
    headers: Headers,
    files: Vec<String>,
}

impl HttpFolder {
    /// The folder at `base`, with or without a slash at its end.
    pub fn new(base: &str, headers: Headers) -> Self {
        let name = without_query(base);
        let query = base[name.len()..].split('#').next().unwrap_or("");
        Self {
            query: query.to_string(),
            name: name.trim_end_matches('/').to_string(),
            headers,
            files: Vec::new(),
        }
    }

    /// The same folder with a list of its files, which HTTP does not give and a
    /// repository's own interface may.
    pub fn with_files(mut self, mut files: Vec<String>) -> Self {
        files.sort();
        self.files = files;
        self
    }
}

impl Folder for HttpFolder {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn ByteSource>>>> {
        Box::pin(async move {
            let parts: Vec<String> = name.split('/').map(encode_uri_component).collect();
            if parts.iter().any(|part| part == "..") {
                let detail = "leads out of the checkpoint's folder";
                return Err(Error::new(Code::FormatMalformed, name, detail));
            }
            let url = format!("{}/{}{}", self.name, parts.join("/"), self.query);
            let source = HttpSource::open(&url, &self.headers).await?;
            Ok(source.map(|source| Rc::new(source) as Rc<dyn ByteSource>))
        })
    }

    fn list(&self) -> Vec<String> {
        self.files.clone()
    }
}

impl Checkpoint {
    /// Opens what a URL names: a `.gguf` or `.safetensors` file as
    /// [`Checkpoint::open_file`] does in the folder it lies in, anything else as a
    /// folder ([`Checkpoint::open_folder`]).
    ///
    /// # Errors
    /// `file_missing`, `source_unreadable`, and what those two report.
    pub async fn open_url(url: &str, headers: Headers) -> Result<Checkpoint> {
        let name = without_query(url);
        let lower = name.to_ascii_lowercase();
        let file = [".gguf", ".safetensors"].iter().any(|e| lower.ends_with(e));
        match name.rsplit_once('/') {
            Some((base, file_name)) if file => {
                let base = format!("{base}{}", &url[name.len()..]);
                // Joining encodes the name again.
                let decoded = decode_uri_component(file_name).ok();
                let file_name = decoded.as_deref().unwrap_or(file_name);
                Checkpoint::open_file(&HttpFolder::new(&base, headers), file_name).await
            }
            _ => Checkpoint::open_folder(&HttpFolder::new(url, headers)).await,
        }
    }
}
