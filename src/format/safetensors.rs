//! The header of a safetensors file, and the index of a sharded checkpoint
//! (<https://github.com/huggingface/safetensors#format>).
//!
//! A file is a u64 length, a JSON object of that length, and the tensors' bytes. The
//! object maps each name to `{dtype, shape, data_offsets}`, offsets from the start of
//! the bytes; `__metadata__` is not a tensor.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::quant::DType;
use super::quoted;
use super::source::ByteSource;
use super::table::{TensorInfo, size_of};
use crate::error::{Code, Error, Result};

#[cfg(test)]
mod tests;

/// The reference implementation's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// No tensor library has more.
const MAX_DIMS: usize = 8;

/// A tensor as the header lists it.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Reads a file's header and nothing else of it; `source` is zero in the result.
pub(super) async fn read_header(source: &dyn ByteSource) -> Result<Vec<TensorInfo>> {
    let (file, len_bytes) = (source.name(), source.len_bytes());
    let malformed = |detail: String| Error::new(Code::FormatMalformed, file, detail);
    let truncated = |detail: String| Error::new(Code::SourceTruncated, file, detail);
    if len_bytes < 8 {
        return Err(truncated("too short for a safetensors file".to_string()));
    }
    let mut header_len = [0; 8];
    for (to, from) in header_len.iter_mut().zip(source.read(0..8).await?) {
        *to = from;
    }
    let header_len = u64::from_le_bytes(header_len);
    if header_len > len_bytes - 8 {
        let detail = format!("a header of {header_len} bytes in a file of {len_bytes}");
        return Err(truncated(detail));
    }
    if header_len > MAX_HEADER_BYTES {
        let detail = format!("a header of {header_len} bytes, more than {MAX_HEADER_BYTES}");
        return Err(malformed(detail));
    }
    let data_start = 8 + header_len;
    let header = source.read(8..data_start).await?;
    if header.first() != Some(&b'{') {
        return Err(Error::new(
            Code::FormatUnknown,
            file,
            "not a safetensors file",
        ));
    }
    let mut json = serde_json::Deserializer::from_slice(&header);
    let entries = Entries.deserialize(&mut json).and_then(|entries| {
        json.end()?;
        Ok(entries)
    });
    let entries = entries.map_err(|error| malformed(quoted(&format!("header: {error}"), "")))?;
    drop(header);
    place(file, entries, data_start, len_bytes)
}

/// Turns offsets into ranges of the file and holds them against shape, type, each
/// other and the file's length.
fn place(
    file: &str,
    entries: Vec<(String, Entry)>,
    data_start: u64,
    len_bytes: u64,
) -> Result<Vec<TensorInfo>> {
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for (name, entry) in &entries {
        let malformed =
            |detail: String| Error::new(Code::FormatMalformed, quoted(name, file), detail);
        if !names.insert(name) {
            return Err(malformed("this tensor stands twice".to_string()));
        }
        if entry.shape.len() > MAX_DIMS {
            return Err(malformed(format!("{} dimensions", entry.shape.len())));
        }
        let overflow = || malformed("its dimensions overflow".to_string());
        let shape = entry.shape.iter().map(|&d| usize::try_from(d).ok());
        let shape: Vec<usize> = shape.collect::<Option<_>>().ok_or_else(overflow)?;
        let (start, end) = entry.data_offsets;
        if start > end {
            return Err(malformed(format!("offsets {start}..{end} run backwards")));
        }
        if end > len_bytes - data_start {
            let detail = format!(
                "its bytes {start}..{end} end past the file's {}",
                len_bytes - data_start
            );
            return Err(Error::new(
                Code::SourceTruncated,
                quoted(name, file),
                detail,
            ));
        }
        // Safetensors knows of no blocks: quantised GGML names are not its own.
        let dtype = match DType::from_name(&entry.dtype) {
            dtype if dtype.is_float() || matches!(dtype, DType::Unknown(_)) => dtype,
            dtype => return Err(malformed(format!("{dtype} is not a safetensors type"))),
        };
        let (n_elements, n_bytes) = size_of(dtype, &shape).ok_or_else(overflow)?;
        if !matches!(dtype, DType::Unknown(_)) {
            let n_bytes = n_bytes as u64;
            if n_bytes != end - start {
                let detail = format!(
                    "{n_elements} elements of {dtype} are {n_bytes} bytes, not {}",
                    end - start
                );
                return Err(malformed(detail));
            }
        }
        tensors.push(TensorInfo {
            name: name.clone(),
            dtype,
            shape,
            source: 0,
            range: data_start + start..data_start + end,
        });
    }
    let mut by_start: Vec<&TensorInfo> = tensors.iter().collect();
    by_start.sort_by_key(|info| (info.range.start, info.range.end));
    for pair in by_start.windows(2) {
        if pair[0].range.end > pair[1].range.start {
            let detail = format!(
                "overlaps {}",
                quoted(&pair[1].name, "a tensor without a name")
            );
            return Err(Error::new(
                Code::FormatMalformed,
                quoted(&pair[0].name, file),
                detail,
            ));
        }
    }
    Ok(tensors)
}

/// Reads the header's object in order; a plain map would hide a name that stands
/// twice.
struct Entries;

impl<'de> DeserializeSeed<'de> for Entries {
    type Value = Vec<(String, Entry)>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        json: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Entry)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<M: MapAccess<'de>>(
        self,
        mut map: M,
    ) -> std::result::Result<Self::Value, M::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
            } else {
                entries.push((name, map.next_value()?));
            }
        }
        Ok(entries)
    }
}

/// Which file holds which tensor: `model.safetensors.index.json`.
pub(super) struct Index {
    /// Tensor name to file name.
    pub weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Parses the index, called `file` in errors.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Json {
            weight_map: BTreeMap<String, String>,
        }
        let json: Json = serde_json::from_str(text).map_err(|error| {
            Error::new(Code::FormatMalformed, file, quoted(&error.to_string(), ""))
        })?;
        let index = Self {
            weight_map: json.weight_map,
        };
        for name in index.weight_map.values() {
            // A file of the same folder, and nothing else.
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', ':']) {
                let detail = format!("{:?} is not a file beside it", quoted(name, ""));
                return Err(Error::new(Code::FormatMalformed, file, detail));
            }
        }
        Ok(index)
    }

    /// The files, each once, sorted.
    pub(super) fn files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = self.weight_map.values().map(String::as_str).collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}
