//! Files or an address from the page -> an open checkpoint, with progress by bytes.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use serde::Serialize;

use crate::error::{Code, Error, Result};
use crate::format::source::blob::BlobSource;
use crate::format::source::http::HttpFolder;
use crate::format::source::{FileSet, Folder};
use crate::format::{ByteSource, Checkpoint, LocalFuture};

/// Where a model is.
pub enum Place {
    /// Files that the person chose, by name, under a name for them all.
    Files(String, Vec<(String, web_sys::Blob)>),
    /// The address of a file, or of a folder.
    Url(String),
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
/// What the format reports; `request_invalid` for an address that is none.
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
        Place::Url(url) => {
            let (base, file) = split(&url)?;
            let folder = Watched {
                inner: HttpFolder::new(&base, Vec::new()),
                told,
            };
            match file {
                Some(file) => Checkpoint::open_file(&folder, &file).await,
                None => Checkpoint::open_folder(&folder).await,
            }
        }
    }
}

/// An address as a folder's and, where it names a weights file, that file's name. A
/// query goes with the folder, which hands it to every request.
fn split(url: &str) -> Result<(String, Option<String>)> {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (path, query) = url.split_at(end);
    let is_http = path.starts_with("https://") || path.starts_with("http://");
    let Some((base, file)) = path.rsplit_once('/').filter(|_| is_http) else {
        return Err(Error::new(
            Code::RequestInvalid,
            path,
            "is not a web address",
        ));
    };
    let lower = file.to_ascii_lowercase();
    Ok(
        if lower.ends_with(".gguf") || lower.ends_with(".safetensors") {
            (format!("{base}{query}"), Some(file.to_string()))
        } else {
            (url.to_string(), None)
        },
    )
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
