//! Files in a browser: what a person dropped or chose, and what OPFS hands out.

use std::ops::Range;

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use super::{ByteSource, LocalFuture, truncated, unreadable};
use crate::error::Result;

/// A `Blob` or `File`. The browser keeps the bytes; a read copies a slice of them.
pub struct BlobSource {
    name: String,
    len_bytes: u64,
    blob: Blob,
}

impl BlobSource {
    /// A source over `blob`, called `name` in errors.
    pub fn new(name: impl Into<String>, blob: Blob) -> Self {
        Self {
            name: name.into(),
            len_bytes: blob.size() as u64,
            blob,
        }
    }
}

impl ByteSource for BlobSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            if range.start > range.end || range.end > self.len_bytes {
                return Err(truncated(&self.name, &range, self.len_bytes));
            }
            let failed = |error: JsValue| unreadable(&self.name, describe(&error));
            // Blob lengths are JavaScript numbers: exact up to 2^53.
            let slice = self
                .blob
                .slice_with_f64_and_f64(range.start as f64, range.end as f64)
                .map_err(failed)?;
            let buffer = JsFuture::from(slice.array_buffer()).await.map_err(failed)?;
            let bytes = bytes_of(&buffer).ok_or_else(|| unreadable(&self.name, "no bytes"))?;
            if bytes.len() as u64 != range.end - range.start {
                return Err(truncated(&self.name, &range, self.len_bytes));
            }
            Ok(bytes)
        })
    }
}

/// A copy of an `ArrayBuffer`'s bytes.
pub(super) fn bytes_of(buffer: &JsValue) -> Option<Vec<u8>> {
    let buffer = buffer.dyn_ref::<ArrayBuffer>()?;
    Some(Uint8Array::new(buffer).to_vec())
}

/// What a thrown JavaScript value says.
pub(super) fn describe(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{error:?}"),
    }
}
