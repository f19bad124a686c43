//! Files from the page, or a folder that the worker fetches -> an open checkpoint, with
//! progress by bytes.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use js_sys::Uint8Array;
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::error::{Code, Error, Result};
use crate::format::source::blob::BlobSource;
use crate::format::source::{FileSet, Folder};
use crate::format::{ByteSource, Checkpoint, LocalFuture};

/// Where a model is.
pub enum Place {
    /// Files that the person chose, by name, under a name for them all.
    Files(String, Vec<(String, web_sys::Blob)>),
    /// Files that the worker fetches and keeps.
    Folder(JsFolder),
}

#[wasm_bindgen]
extern "C" {
    /// `ReadableFolder` of `www/lib/storage/folder.ts`.
    pub type JsFolder;

    /// What to call it in an error.
    #[wasm_bindgen(method, getter)]
    fn name(this: &JsFolder) -> String;

    /// The weights to open, where they are one file and not the whole folder.
    #[wasm_bindgen(method, getter)]
    fn file(this: &JsFolder) -> Option<String>;

    #[wasm_bindgen(method)]
    fn list(this: &JsFolder) -> Vec<String>;

    /// A `ReadableFile`, or undefined.
    #[wasm_bindgen(method, catch)]
    async fn open(this: &JsFolder, name: &str) -> std::result::Result<JsValue, JsValue>;

    /// `ReadableFile` of `www/lib/storage/files.ts`.
    type JsFile;

    #[wasm_bindgen(method, getter)]
    fn size_bytes(this: &JsFile) -> f64;

    /// Exactly these bytes, as a `Uint8Array`.
    #[wasm_bindgen(method, catch)]
    async fn read(this: &JsFile, begin: f64, end: f64) -> std::result::Result<JsValue, JsValue>;
}

/// How far a load has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Bytes read so far.
    pub loaded_bytes: u64,
    /// Bytes of the files opened so far.
    pub total_bytes: u64,
    /// The file being read.
    pub file: String,
}

/// Hears of every read.
pub type Listener = Rc<dyn Fn(&Progress)>;

/// Opens the checkpoint at `place`.
///
/// # Errors
/// What the format and the worker report.
pub async fn open(place: Place, listener: Listener) -> Result<Checkpoint> {
    let told = Rc::new(Told {
        progress: RefCell::default(),
        listener,
    });
    match place {
        Place::Files(name, files) => {
            let mut set = FileSet::new(name);
            for (name, blob) in files {
                set.add(Rc::new(BlobSource::new(name, blob)));
            }
            let folder = Watched { inner: set, told };
            // Files that were chosen one by one count as a folder of their own.
            Checkpoint::open_folder(&folder).await
        }
        Place::Folder(inner) => {
            let file = inner.file();
            let folder = Watched {
                inner: FetchedFolder::new(inner),
                told,
            };
            match file {
                Some(file) => Checkpoint::open_file(&folder, &file).await,
                None => Checkpoint::open_folder(&folder).await,
            }
        }
    }
}

/// A folder whose files the worker fetches.
struct FetchedFolder {
    name: String,
    folder: JsFolder,
}

impl FetchedFolder {
    fn new(folder: JsFolder) -> Self {
        let name = folder.name();
        Self { name, folder }
    }
}

impl Folder for FetchedFolder {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn ByteSource>>>> {
        Box::pin(async move {
            let file = self.folder.open(name).await;
            let file = file.map_err(|thrown| caught(name, &thrown))?;
            if file.is_undefined() {
                return Ok(None);
            }
            let file: JsFile = file.unchecked_into();
            let len_bytes = file.size_bytes() as u64;
            let name = name.to_string();
            let source = FetchedFile {
                name,
                len_bytes,
                file,
            };
            Ok(Some(Rc::new(source) as Rc<dyn ByteSource>))
        })
    }

    fn list(&self) -> Vec<String> {
        let mut names = self.folder.list();
        names.sort();
        names
    }
}

/// A file that the worker fetches.
struct FetchedFile {
    name: String,
    len_bytes: u64,
    file: JsFile,
}

impl ByteSource for FetchedFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            let short = |detail| Error::new(Code::SourceTruncated, &self.name, detail);
            if range.start > range.end || range.end > self.len_bytes {
                let Range { start, end } = range;
                let len = self.len_bytes;
                return Err(short(format!(
                    "bytes {start}..{end} asked for, but it is {len} bytes long"
                )));
            }
            // Lengths of files are JavaScript numbers: exact up to 2^53.
            let bytes = self.file.read(range.start as f64, range.end as f64).await;
            let bytes = bytes.map_err(|thrown| caught(&self.name, &thrown))?;
            let bytes = Uint8Array::new(&bytes).to_vec();
            if bytes.len() as u64 != range.end - range.start {
                return Err(short(format!("{} bytes came", bytes.len())));
            }
            Ok(bytes)
        })
    }
}

/// What the worker threw while it fetched `name`.
fn caught(name: &str, thrown: &JsValue) -> Error {
    let get = |key: &str| js_sys::Reflect::get(thrown, &key.into()).ok();
    let text = |key: &str| get(key).and_then(|value| value.as_string());
    let code = text("code").and_then(|code| Code::parse(&code));
    let detail = text("message").unwrap_or_else(|| format!("{thrown:?}"));
    Error::new(code.unwrap_or(Code::SourceUnreadable), name, detail)
}

/// What was read so far, and who hears of it.
struct Told {
    progress: RefCell<Progress>,
    listener: Listener,
}

impl Told {
    fn opened(&self, bytes: u64) {
        self.progress.borrow_mut().total_bytes += bytes;
    }

    fn read(&self, file: &str, bytes: u64) {
        let mut progress = self.progress.borrow_mut();
        // Headers are read twice.
        progress.loaded_bytes = (progress.loaded_bytes + bytes).min(progress.total_bytes);
        progress.file = file.to_string();
        (self.listener)(&progress);
    }
}

/// A folder whose files tell of their reads.
struct Watched<F> {
    inner: F,
    told: Rc<Told>,
}

impl<F: Folder> Folder for Watched<F> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn open<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn ByteSource>>>> {
        Box::pin(async move {
            let source = self.inner.open(name).await?;
            Ok(source.map(|inner| {
                self.told.opened(inner.len_bytes());
                let told = Rc::clone(&self.told);
                Rc::new(WatchedSource { inner, told }) as Rc<dyn ByteSource>
            }))
        })
    }

    fn list(&self) -> Vec<String> {
        self.inner.list()
    }
}

struct WatchedSource {
    inner: Rc<dyn ByteSource>,
    told: Rc<Told>,
}

impl ByteSource for WatchedSource {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn len_bytes(&self) -> u64 {
        self.inner.len_bytes()
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            let bytes = self.inner.read(range).await?;
            let file = self.name().rsplit('/').next().unwrap_or_default();
            self.told.read(file, bytes.len() as u64);
            Ok(bytes)
        })
    }
}
