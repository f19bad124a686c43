//! Where bytes come from: memory, a file, a browser `Blob`, HTTP ranges.
//!
//! A [`ByteSource`] is one file; a [`Folder`] is where a checkpoint's files are
//! found by name.

#[cfg(target_arch = "wasm32")]
pub mod blob;
pub mod file;
#[cfg(target_arch = "wasm32")]
pub mod http;

#[cfg(target_arch = "wasm32")]
pub use blob::BlobSource;
#[cfg(not(target_arch = "wasm32"))]
pub use file::{DirFolder, FileSource};
#[cfg(target_arch = "wasm32")]
pub use http::{HttpFolder, HttpSource};

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;

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
        Box::pin(ready(result))
    }
}

/// Where the files of a checkpoint are found by name.
pub trait Folder {
    /// What to call it in an error.
    fn name(&self) -> &str;

    /// The file of this name, or `None` where there is none. Names are relative,
    /// `/` between parts.
    ///
    /// # Errors
    /// `source_unreadable` where that cannot be told.
    fn open<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn ByteSource>>>>;

    /// The names of its files, sorted; empty where it cannot be listed (HTTP).
    fn list(&self) -> Vec<String>;
}

/// Files that are at hand already: in memory, or dropped onto the page.
///
/// Names may be paths. The folder that holds all of them is the root: a dropped folder's
/// `Qwen3/config.json` is found as `config.json`, and what lies deeper as `deeper/name`.
#[derive(Default)]
pub struct FileSet {
    name: String,
    /// By path, `/` between parts.
    files: BTreeMap<String, Rc<dyn ByteSource>>,
}

impl FileSet {
    /// An empty folder, called `name` in errors.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            files: BTreeMap::new(),
        }
    }

    /// Adds a file under its own name.
    pub fn add(&mut self, source: Rc<dyn ByteSource>) {
        let parts = source.name().split(['/', '\\']);
        let path: Vec<&str> = parts.filter(|part| !matches!(*part, "" | ".")).collect();
        self.files.insert(path.join("/"), source);
    }

    /// Adds a file that is in memory.
    pub fn add_bytes(&mut self, name: &str, bytes: Vec<u8>) {
        self.add(Rc::new(MemorySource::new(name, bytes)));
    }

    /// The folder that holds every file, empty or with `/` at its end. Paths are sorted, so
    /// what the first and the last share, all share.
    fn root(&self) -> &str {
        let first = self.files.keys().next().map_or("", String::as_str);
        let last = self.files.keys().next_back().map_or("", String::as_str);
        let ends = first.match_indices('/').map(|(at, _)| at + 1);
        let mut shared = ends.filter(|&end| last.starts_with(&first[..end]));
        &first[..shared.next_back().unwrap_or(0)]
    }
}

impl Folder for FileSet {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn ByteSource>>>> {
        let path = format!("{}{name}", self.root());
        Box::pin(ready(Ok(self.files.get(&path).cloned())))
    }

    fn list(&self) -> Vec<String> {
        let root = self.root().len();
        self.files.keys().map(|path| path[root..].into()).collect()
    }
}

/// The error for a medium that failed.
pub(crate) fn unreadable(name: &str, detail: impl std::fmt::Display) -> Error {
    Error::new(Code::SourceUnreadable, name, detail.to_string())
}

/// The error for a range that ends past its source.
pub(crate) fn truncated(name: &str, range: &Range<u64>, len_bytes: u64) -> Error {
    let detail = format!(
        "bytes {}..{} asked for, but it is {len_bytes} bytes long",
        range.start, range.end
    );
    Error::new(Code::SourceTruncated, name, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_past_the_end_is_truncated_and_named() {
        let source = MemorySource::new("m", vec![1, 2, 3]);
        let read = |range| pollster::block_on(source.read(range));
        assert_eq!(read(1..3), Ok(vec![2, 3]));
        assert_eq!(read(3..3), Ok(vec![]));
        #[allow(clippy::reversed_empty_ranges)]
        for range in [2..4, 0..u64::MAX, u64::MAX..u64::MAX, 2..1] {
            let error = read(range).unwrap_err();
            assert_eq!(
                (error.code(), error.subject()),
                (Code::SourceTruncated, "m")
            );
        }
    }

    #[test]
    fn a_set_of_files_is_a_folder() {
        let mut set = FileSet::new("dropped");
        set.add_bytes("model/b.json", vec![1]);
        set.add_bytes("./model/a.json", vec![]);
        set.add_bytes("model\\more\\c.json", vec![]);
        assert_eq!(set.list(), ["a.json", "b.json", "more/c.json"]);
        let found = pollster::block_on(set.open("b.json")).unwrap();
        assert_eq!(found.map(|s| s.len_bytes()), Some(1));
        assert!(pollster::block_on(set.open("c.json")).unwrap().is_none());
    }

    #[test]
    fn files_without_a_folder_in_common_keep_their_paths() {
        let mut set = FileSet::new("dropped");
        assert!(set.list().is_empty());
        set.add_bytes("more/c.json", vec![]);
        assert_eq!(set.list(), ["c.json"]);
        set.add_bytes("a.json", vec![]);
        assert_eq!(set.list(), ["a.json", "more/c.json"]);
    }
}
