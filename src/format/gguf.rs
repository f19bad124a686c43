//! The header of a GGUF file, versions 2 and 3, little-endian
//! (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! ```text
//! "GGUF"  version u32  n_tensors u64  n_kv u64
//! n_kv x      { key string, type u32, value }
//! n_tensors x { name string, n_dims u32, dims [u64], type u32, offset u64 }
//! padding to general.alignment, then the tensors' bytes
//! ```
//! A string is a u64 length and its bytes; an array is an element type, a u64 count
//! and its elements. Dimensions are listed fastest first.

use std::collections::HashSet;

use super::metadata::{Array, Metadata, StringList, Value};
use super::quant::DType;
use super::quoted;
use super::source::ByteSource;
use super::table::{TensorInfo, size_of};
use crate::error::{Code, Error, Result};

#[cfg(test)]
mod tests;

/// The first bytes of every GGUF file.
pub(super) const MAGIC: [u8; 4] = *b"GGUF";

/// How much is read at first: small models' headers whole.
const FIRST_READ_BYTES: u64 = 256 * 1024;

/// A header longer than this is not one: the largest vocabularies take some 20 MB.
const MAX_HEADER_BYTES: u64 = 256 * 1024 * 1024;

/// GGML's own limit.
const MAX_DIMS: u32 = 4;

/// Arrays in arrays in arrays; nobody writes even two.
const MAX_NESTING: u32 = 4;

/// Where tensors' bytes are aligned to unless `general.alignment` says otherwise.
const DEFAULT_ALIGNMENT: u64 = 32;

/// A GGUF file's header.
pub(super) struct Header {
    pub metadata: Metadata,
    /// In the file's order; `source` is zero.
    pub tensors: Vec<TensorInfo>,
}

/// Why parsing stopped.
enum Stop {
    /// The header goes on: at least this many bytes of the file are needed.
    More(u64),
    Bad(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Bad(error)
    }
}

type Parsed<T> = std::result::Result<T, Stop>;

/// Reads a file's header and nothing else of it.
pub(super) async fn read_header(source: &dyn ByteSource) -> Result<Header> {
    let len_bytes = source.len_bytes();
    let mut bytes = source.read(0..FIRST_READ_BYTES.min(len_bytes)).await?;
    loop {
        match parse(source.name(), &bytes, len_bytes) {
            Ok(header) => return Ok(header),
            Err(Stop::Bad(error)) => return Err(error),
            Err(Stop::More(needed)) => {
                // Doubling keeps the work of starting over below twice the header.
                let have = bytes.len() as u64;
                let want = needed.max(have.saturating_mul(2)).min(len_bytes);
                let more = source.read(have..want).await?;
                bytes.reserve_exact(more.len());
                bytes.extend_from_slice(&more);
            }
        }
    }
}

/// Parses a header from the first bytes of a file of `len_bytes` in all.
fn parse(file: &str, bytes: &[u8], len_bytes: u64) -> Parsed<Header> {
    let mut cursor = Cursor {
        file,
        bytes,
        at: 0,
        len_bytes,
    };
    if cursor.take(4, "magic")? != MAGIC {
        return Err(Error::new(Code::FormatUnknown, file, "not a GGUF file").into());
    }
    match cursor.u32("version")? {
        2 | 3 => {}
        version => {
            let detail = match version.swap_bytes() {
                1..=255 => "big-endian GGUF is not supported".to_string(),
                _ => format!("GGUF version {version} is not supported, only 2 and 3 are"),
            };
            return Err(Error::new(Code::FormatVersion, file, detail).into());
        }
    }
    let n_tensors = cursor.u64("number of tensors")?;
    let n_kv = cursor.u64("number of key-values")?;
    // The least that either can take: an empty key and a byte; an empty name, no
    // dimensions.
    cursor.room(n_kv, 13, "key-values")?;
    cursor.room(n_tensors, 24, "tensors")?;

    let mut metadata = Metadata::default();
    for _ in 0..n_kv {
        let key = cursor.name("a key")?;
        let type_id = cursor.u32(key)?;
        let value = value(&mut cursor, key, type_id)?;
        if !metadata.insert(key, value) {
            return Err(cursor.malformed(key, "this key stands twice").into());
        }
    }
    let alignment = match metadata.get::<u64>("general.alignment")? {
        None => DEFAULT_ALIGNMENT,
        Some(n) if n.is_power_of_two() => n,
        Some(n) => {
            let detail = format!("{n} is no power of two");
            return Err(cursor.malformed("general.alignment", detail).into());
        }
    };
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..n_tensors {
        let entry = tensor(&mut cursor)?;
        if !names.insert(entry.name) {
            return Err(cursor
                .malformed(entry.name, "this tensor stands twice")
                .into());
        }
        tensors.push(entry);
    }
    let data_start = (cursor.at as u64).next_multiple_of(alignment);
    Ok(Header {
        tensors: place(&cursor, tensors, data_start, alignment)?,
        metadata,
    })
}

/// A tensor as the header lists it; `offset` counts from the start of the data.
struct Entry<'a> {
    name: &'a str,
    shape: Vec<usize>,
    dtype: DType,
    offset: u64,
}

fn tensor<'a>(cursor: &mut Cursor<'a>) -> Parsed<Entry<'a>> {
    let name = cursor.name("a tensor's name")?;
    let n_dims = cursor.u32(name)?;
    if n_dims > MAX_DIMS {
        let detail = format!("{n_dims} dimensions; GGUF allows {MAX_DIMS}");
        return Err(cursor.malformed(name, detail).into());
    }
    let mut shape = Vec::with_capacity(n_dims as usize);
    for _ in 0..n_dims {
        let dim = usize::try_from(cursor.u64(name)?).ok();
        shape.push(dim.ok_or_else(|| overflow(cursor, name))?);
    }
    // GGUF lists the fastest dimension first.
    shape.reverse();
    Ok(Entry {
        name,
        shape,
        dtype: DType::from_ggml(cursor.u32(name)?),
        offset: cursor.u64(name)?,
    })
}

fn overflow(cursor: &Cursor<'_>, name: &str) -> Error {
    cursor.malformed(name, "its dimensions overflow")
}

/// Turns offsets into ranges of the file and holds them against each other and the
/// file's length.
fn place(
    cursor: &Cursor<'_>,
    entries: Vec<Entry<'_>>,
    data_start: u64,
    alignment: u64,
) -> Result<Vec<TensorInfo>> {
    let mut by_offset: Vec<usize> = (0..entries.len()).collect();
    // Empty tensors lie before what else begins at their offset.
    by_offset.sort_by_key(|&i| (entries[i].offset, !entries[i].shape.contains(&0)));
    let mut ranges = vec![0..0; entries.len()];
    // From the last to the first, so that a tensor of unknown type, whose length
    // cannot be told, reaches to the next one.
    let mut next_start = cursor.len_bytes;
    let mut next_name = None;
    for &i in by_offset.iter().rev() {
        let entry = &entries[i];
        if !entry.offset.is_multiple_of(alignment) {
            let detail = format!("offset {} is not aligned to {alignment}", entry.offset);
            return Err(cursor.malformed(entry.name, detail));
        }
        let start = data_start.checked_add(entry.offset);
        let size = size_of(entry.dtype, &entry.shape);
        let (Some(start), Some((_, n_bytes))) = (start, size) else {
            return Err(overflow(cursor, entry.name));
        };
        let end = if let DType::Unknown(_) = entry.dtype {
            next_start.max(start)
        } else {
            let n_cols = entry.shape.last().copied().unwrap_or(1);
            if n_cols % entry.dtype.block_len() != 0 {
                let detail = format!(
                    "a row of {n_cols} is no whole number of {} blocks of {}",
                    entry.dtype,
                    entry.dtype.block_len()
                );
                return Err(cursor.malformed(entry.name, detail));
            }
            let end = start.checked_add(n_bytes as u64);
            end.ok_or_else(|| overflow(cursor, entry.name))?
        };
        if end > cursor.len_bytes {
            let detail = format!(
                "its bytes {start}..{end} end past the file's {}",
                cursor.len_bytes
            );
            let subject = quoted(entry.name, cursor.file);
            return Err(Error::new(Code::SourceTruncated, subject, detail));
        }
        if let (Some(next), true) = (next_name, end > next_start) {
            let detail = format!("overlaps {}", quoted(next, "a tensor without a name"));
            return Err(cursor.malformed(entry.name, detail));
        }
        next_start = start;
        next_name = Some(entry.name);
        ranges[i] = start..end;
    }
    let placed = entries
        .into_iter()
        .zip(ranges)
        .map(|(entry, range)| TensorInfo {
            name: entry.name.to_string(),
            dtype: entry.dtype,
            shape: entry.shape,
            source: 0,
            range,
        });
    Ok(placed.collect())
}

/// The value of `key`, whose type is `type_id` (`gguf_type` in gguf.h).
fn value(cursor: &mut Cursor<'_>, key: &str, type_id: u32) -> Parsed<Value> {
    Ok(match type_id {
        0 => Value::Unsigned(cursor.fixed::<1>(key)?[0].into()),
        1 => Value::Signed(i8::from_le_bytes(cursor.fixed(key)?).into()),
        2 => Value::Unsigned(u16::from_le_bytes(cursor.fixed(key)?).into()),
        3 => Value::Signed(i16::from_le_bytes(cursor.fixed(key)?).into()),
        4 => Value::Unsigned(cursor.u32(key)?.into()),
        5 => Value::Signed(i32::from_le_bytes(cursor.fixed(key)?).into()),
        6 => Value::F32(f32::from_le_bytes(cursor.fixed(key)?)),
        7 => Value::Bool(cursor.fixed::<1>(key)?[0] != 0),
        8 => Value::String(String::from_utf8_lossy(cursor.string(key)?).into_owned()),
        9 => Value::Array(array(cursor, key, 0)?),
        10 => Value::Unsigned(cursor.u64(key)?),
        11 => Value::Signed(i64::from_le_bytes(cursor.fixed(key)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.fixed(key)?)),
        _ => return Err(unknown_type(cursor, key, type_id).into()),
    })
}

fn unknown_type(cursor: &Cursor<'_>, key: &str, type_id: u32) -> Error {
    cursor.malformed(key, format!("value type {type_id} is not GGUF's"))
}

fn array(cursor: &mut Cursor<'_>, key: &str, depth: u32) -> Parsed<Array> {
    let type_id = cursor.u32(key)?;
    let n = cursor.u64(key)?;
    Ok(match type_id {
        0 => Array::U8(numbers(cursor, key, n, u8::from_le_bytes)?),
        1 => Array::I8(numbers(cursor, key, n, i8::from_le_bytes)?),
        2 => Array::U16(numbers(cursor, key, n, u16::from_le_bytes)?),
        3 => Array::I16(numbers(cursor, key, n, i16::from_le_bytes)?),
        4 => Array::U32(numbers(cursor, key, n, u32::from_le_bytes)?),
        5 => Array::I32(numbers(cursor, key, n, i32::from_le_bytes)?),
        6 => Array::F32(numbers(cursor, key, n, f32::from_le_bytes)?),
        7 => Array::Bool(numbers(cursor, key, n, |[b]: [u8; 1]| b != 0)?),
        8 => Array::Strings(strings(cursor, key, n)?),
        9 if depth + 1 >= MAX_NESTING => {
            return Err(cursor.malformed(key, "arrays nest too deeply").into());
        }
        9 => {
            cursor.room(n, 12, key)?;
            let mut nested = Vec::new();
            for _ in 0..n {
                nested.push(array(cursor, key, depth + 1)?);
            }
            Array::Nested(nested)
        }
        10 => Array::U64(numbers(cursor, key, n, u64::from_le_bytes)?),
        11 => Array::I64(numbers(cursor, key, n, i64::from_le_bytes)?),
        12 => Array::F64(numbers(cursor, key, n, f64::from_le_bytes)?),
        _ => return Err(unknown_type(cursor, key, type_id).into()),
    })
}

/// `n` numbers of `B` bytes each.
fn numbers<const B: usize, T>(
    cursor: &mut Cursor<'_>,
    key: &str,
    n: u64,
    from: impl Fn([u8; B]) -> T,
) -> Parsed<Vec<T>> {
    cursor.room(n, B as u64, key)?;
    // `room` has bounded the product by the file's length.
    let bytes = cursor.take(n * B as u64, key)?;
    let chunks = bytes.chunks_exact(B).filter_map(|b| b.try_into().ok());
    Ok(chunks.map(from).collect())
}

fn strings(cursor: &mut Cursor<'_>, key: &str, n: u64) -> Parsed<StringList> {
    cursor.room(n, 8, key)?;
    let mut list = StringList::default();
    for _ in 0..n {
        let bytes = cursor.string(key)?;
        if !list.push(&String::from_utf8_lossy(bytes)) {
            return Err(cursor.malformed(key, "more than 4 GiB of strings").into());
        }
    }
    list.shrink();
    Ok(list)
}

/// Reads on through the part of the header that is here, and tells the end of that
/// part ([`Stop::More`]) from the end of the file (an error).
struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
    len_bytes: u64,
}

impl<'a> Cursor<'a> {
    /// The next `n` bytes, of `what`.
    fn take(&mut self, n: u64, what: &str) -> Parsed<&'a [u8]> {
        let end = (self.at as u64).saturating_add(n);
        if end > self.len_bytes {
            return Err(self.truncated(what).into());
        }
        if end > MAX_HEADER_BYTES {
            let detail = format!("a header of more than {MAX_HEADER_BYTES} bytes");
            return Err(self.malformed(what, detail).into());
        }
        let found = usize::try_from(end)
            .ok()
            .and_then(|end| self.bytes.get(self.at..end));
        let Some(bytes) = found else {
            return Err(Stop::More(end));
        };
        self.at += bytes.len();
        Ok(bytes)
    }

    /// Fails where `n` things of at least `least_bytes` each cannot be in what is left
    /// of the file.
    fn room(&self, n: u64, least_bytes: u64, what: &str) -> Result<()> {
        match n.checked_mul(least_bytes) {
            Some(bytes) if bytes <= self.len_bytes.saturating_sub(self.at as u64) => Ok(()),
            _ => {
                let what = quoted(what, "values");
                let detail = format!("{what}: {n} of them do not fit the file");
                Err(Error::new(Code::SourceTruncated, self.file, detail))
            }
        }
    }

    fn fixed<const B: usize>(&mut self, what: &str) -> Parsed<[u8; B]> {
        let bytes = self.take(B as u64, what)?;
        bytes
            .try_into()
            .map_err(|_| Stop::Bad(self.truncated(what)))
    }

    fn u32(&mut self, what: &str) -> Parsed<u32> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    fn u64(&mut self, what: &str) -> Parsed<u64> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    /// A string's bytes, which need not be text.
    fn string(&mut self, what: &str) -> Parsed<&'a [u8]> {
        let n = self.u64(what)?;
        self.take(n, what)
    }

    /// A key or a tensor's name, which has to be text.
    fn name(&mut self, what: &str) -> Parsed<&'a str> {
        let bytes = self.string(what)?;
        std::str::from_utf8(bytes).map_err(|_| {
            let shown = String::from_utf8_lossy(bytes);
            Stop::Bad(self.malformed(&shown, format!("{what} is not UTF-8")))
        })
    }

    /// `subject` is what the file calls the thing at fault.
    fn malformed(&self, subject: &str, detail: impl Into<String>) -> Error {
        Error::new(Code::FormatMalformed, quoted(subject, self.file), detail)
    }

    fn truncated(&self, what: &str) -> Error {
        let what = quoted(what, "an empty name");
        let detail = format!("the file ends within its header ({what})");
        Error::new(Code::SourceTruncated, self.file, detail)
    }
}
