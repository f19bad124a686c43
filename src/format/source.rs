//! Where bytes come from: memory, a file, a browser `Blob`, HTTP ranges.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use crate::error::{Code, Error, Result};

/// A boxed future that stays on its thread (the browser's are not `Send`).
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Something that can be read by byte range.
pub trait ByteSource {
    /// What to call it in an error: a file name or a URL without its query.
    fn name(&self) -> &str;

    /// Its length in bytes.
    fn len_bytes(&self) -> u64;

    /// Exactly the bytes of `range`.
    ///
    /// # Errors
    /// `source_truncated` where `range` ends past the end; `source_unreadable`
    /// where the medium fails.
    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>>>;
}

/// Bytes that are already in memory.
pub struct MemorySource {
    name: String,
    bytes: Vec<u8>,
}

impl MemorySource {
    /// A source over `bytes`, called `name` in errors.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            bytes,
        }
    }
}

impl ByteSource for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>>> {
        let found = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .and_then(|(start, end)| self.bytes.get(start..end));
        let result = match found {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(truncated(&self.name, &range, self.len_bytes())),
        };
        Box::pin(std::future::ready(result))
    }
}

/// The error for a range that ends past its source.
pub(crate) fn truncated(name: &str, range: &Range<u64>, len_bytes: u64) -> Error {
    let detail = format!(
        "bytes {}..{} asked for, but it is {len_bytes} bytes long",
        range.start, range.end
    );
    Error::new(Code::SourceTruncated, name, detail)
}
