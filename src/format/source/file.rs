//! Files and folders of the operating system.

use std::cell::RefCell;
use std::fs::File;
use std::future::ready;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{ByteSource, Folder, LocalFuture, truncated, unreadable};
use crate::error::{Code, Error, Result};
use crate::format::Checkpoint;

/// A file on disk. Reads block the thread they run on.
pub struct FileSource {
    name: String,
    len_bytes: u64,
    file: RefCell<File>,
}

impl FileSource {
    /// Opens a file; errors call it by the last part of its path.
    ///
    /// # Errors
    /// `file_missing`, `source_unreadable`.
    pub fn open(path: &Path) -> Result<Self> {
        let name = name_of(path);
        let open = || -> std::io::Result<(File, u64)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(std::io::Error::other("is a folder"));
            }
            Ok((file, metadata.len()))
        };
        let (file, len_bytes) = open().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(Code::FileMissing, &name, "no such file"),
            _ => unreadable(&name, error),
        })?;
        Ok(Self {
            name,
            len_bytes,
            file: RefCell::new(file),
        })
    }
}

/// The last part of a path; the whole path where it has none.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

impl ByteSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, Result<Vec<u8>>> {
        let read = || {
            // Checked against the length before anything is allocated.
            let past = range.start > range.end || range.end > self.len_bytes;
            let len = usize::try_from(range.end.wrapping_sub(range.start));
            let (false, Ok(len)) = (past, len) else {
                return Err(truncated(&self.name, &range, self.len_bytes));
            };
            let mut bytes = vec![0; len];
            let mut file = self.file.borrow_mut();
            file.seek(SeekFrom::Start(range.start))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|error| match error.kind() {
                    // It shrank since it was opened.
                    std::io::ErrorKind::UnexpectedEof => {
                        Error::new(Code::SourceTruncated, &self.name, "it became shorter")
                    }
                    _ => unreadable(&self.name, error),
                })?;
            Ok(bytes)
        };
        Box::pin(ready(read()))
    }
}

/// A folder on disk.
pub struct DirFolder {
    name: String,
    path: PathBuf,
    files: Vec<String>,
}

impl DirFolder {
    /// Opens a folder and lists its files (not those of folders inside).
    ///
    /// # Errors
    /// `file_missing`, `source_unreadable`.
    pub fn open(path: &Path) -> Result<Self> {
        let name = name_of(path);
        let entries = std::fs::read_dir(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(Code::FileMissing, &name, "no such folder"),
            _ => unreadable(&name, error),
        })?;
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&name, error))?;
            // Names that are not text cannot be asked for, so they are not listed;
            // links (as Hugging Face's cache has them) count as what they point at.
            if let (Ok(name), true) = (entry.file_name().into_string(), entry.path().is_file()) {
                files.push(name);
            }
        }
        files.sort();
        Ok(Self {
            name,
            path: path.to_path_buf(),
            files,
        })
    }
}

impl Folder for DirFolder {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn ByteSource>>>> {
        let open = || match FileSource::open(&self.path.join(name)) {
            Ok(source) => Ok(Some(Rc::new(source) as Rc<dyn ByteSource>)),
            Err(error) if error.code() == Code::FileMissing => Ok(None),
            Err(error) => Err(error),
        };
        Box::pin(ready(open()))
    }

    fn list(&self) -> Vec<String> {
        self.files.clone()
    }
}

impl Checkpoint {
    /// Opens what a path names: a folder as [`Checkpoint::open_folder`] does, a file
    /// as [`Checkpoint::open_file`] does in the folder it lies in.
    ///
    /// # Errors
    /// `file_missing`, `source_unreadable`, and what those two report.
    pub async fn open_path(path: &Path) -> Result<Checkpoint> {
        if path.is_dir() {
            return Checkpoint::open_folder(&DirFolder::open(path)?).await;
        }
        // `FileSource` tells better than a folder's listing why it cannot be opened.
        let name = FileSource::open(path)?.name;
        let folder = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("."),
        };
        Checkpoint::open_file(&DirFolder::open(folder)?, &name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_by_range() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let source = FileSource::open(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(source.name(), "Cargo.toml");
        assert_eq!(source.len_bytes(), whole.len() as u64);
        let read = |range| pollster::block_on(source.read(range));
        assert_eq!(read(5..20).unwrap(), whole[5..20]);
        assert_eq!(read(0..source.len_bytes()).unwrap(), whole);
        for range in [0..source.len_bytes() + 1, 5..u64::MAX] {
            assert_eq!(read(range).unwrap_err().code(), Code::SourceTruncated);
        }
    }

    #[test]
    fn what_is_not_there_is_missing_and_a_folder_is_no_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let code = |path: &Path| FileSource::open(path).err().map(|error| error.code());
        assert_eq!(code(&root.join("nothing.gguf")), Some(Code::FileMissing));
        assert_eq!(code(root), Some(Code::SourceUnreadable));
        let folder = DirFolder::open(root).unwrap();
        assert!(folder.list().contains(&"Cargo.toml".to_string()));
        assert!(!folder.list().contains(&"src".to_string()));
        assert!(
            pollster::block_on(folder.open("nothing.gguf"))
                .unwrap()
                .is_none()
        );
        let error = DirFolder::open(&root.join("nothing")).err();
        assert_eq!(error.map(|e| e.code()), Some(Code::FileMissing));
    }
}
