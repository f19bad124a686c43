//! Whatever a checkpoint comes as -> tensors, configuration and companion files.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::gguf::{self, MAGIC};
use super::metadata::Metadata;
use super::quoted;
use super::safetensors::{self, Index};
use super::source::{ByteSource, Folder};
use super::table::{TensorInfo, TensorTable};
use crate::error::{Code, Error, Result};

#[cfg(test)]
mod tests;

/// The text files of a Hugging Face folder that other modules want. Vocabulary and
/// merges are read only where there is no tokenizer.json, which holds them too.
const TEXT_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
];
/// The template for requests with tools, where the one for all others is a file as well.
const TOOL_TEMPLATE_FILE: &str = "additional_chat_templates/tool_use.jinja";
const SLOW_TOKENIZER_FILES: [&str; 2] = ["vocab.json", "merges.txt"];

/// No text file of a checkpoint is longer; the largest tokenizer.json are some 30 MB.
const MAX_TEXT_BYTES: u64 = 256 * 1024 * 1024;

/// A file is split into at most this many: GGUF numbers them with 16 bits.
const MAX_PARTS: u64 = u16::MAX as u64;

/// What a checkpoint says about its model.
#[derive(Debug, Clone)]
pub enum Config {
    /// A GGUF file's key-values (of a split file, the first part's).
    Gguf(Metadata),
    /// A Hugging Face folder's config.json.
    HuggingFace(serde_json::Value),
}

/// A checkpoint that is open: headers are read, tensors are not.
pub struct Checkpoint {
    /// Its tensors; none in a vocabulary-only GGUF file.
    pub tensors: TensorTable,
    /// What it says about its model.
    pub config: Config,
    name: String,
    files: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a GGUF file, or all parts of a split one in order.
    ///
    /// # Errors
    /// `format_unknown`, `format_version`, `format_malformed`, `source_truncated`, each
    /// naming the file, key or tensor at fault; `file_missing` where parts are lacking;
    /// what the sources report.
    pub async fn open_gguf(sources: Vec<Rc<dyn ByteSource>>) -> Result<Self> {
        let mut headers = Vec::new();
        for source in &sources {
            headers.push(gguf::read_header(source.as_ref()).await?);
        }
        Self::from_gguf(sources, headers)
    }

    /// Opens a Hugging Face folder (config.json, and model.safetensors whole or by its
    /// index), or a folder that holds one GGUF file, whole or split.
    ///
    /// # Errors
    /// `file_missing` naming config.json, the weights or the shard that is not there;
    /// `format_malformed`, `source_truncated` as for the containers; `format_unknown`
    /// where only weights of another format are there; what the folder reports.
    pub async fn open_folder(folder: &dyn Folder) -> Result<Self> {
        const WHOLE: &str = "model.safetensors";
        const INDEX: &str = "model.safetensors.index.json";
        if let Some(source) = folder.open(WHOLE).await? {
            return Self::from_safetensors(folder, vec![source], None).await;
        }
        if let Some(index) = folder.open(INDEX).await? {
            let index = Index::parse(INDEX, &text(index.as_ref()).await?)?;
            let mut shards = Vec::new();
            for file in index.files() {
                let shard = folder.open(file).await?;
                shards.push(shard.ok_or_else(|| missing(file, "the index names it"))?);
            }
            return Self::from_safetensors(folder, shards, Some(index)).await;
        }
        // Neither under its usual name: what else is there?
        let files = folder.list();
        let with = |ending: &str| -> Vec<&String> {
            let found = files
                .iter()
                .filter(|f| f.to_ascii_lowercase().ends_with(ending));
            found.collect()
        };
        // Vision projectors lie beside the model they belong to; of a split file the
        // first part stands for all.
        let mut ggufs = with(".gguf");
        ggufs.retain(|f| !f.contains("mmproj") && part_of(f).is_none_or(|part| part.number == 1));
        let candidates = if ggufs.is_empty() {
            with(".safetensors")
        } else {
            ggufs
        };
        match candidates.as_slice() {
            [file] => Self::open_file(folder, file).await,
            [] => match with(".bin").first().or(with(".pth").first()) {
                Some(other) => {
                    let detail = "pickled weights can run code and are not read; \
                        the same model as safetensors or GGUF is";
                    Err(Error::new(Code::FormatUnknown, other.as_str(), detail))
                }
                None => Err(missing(
                    WHOLE,
                    &format!("nor {INDEX}, in {}", folder.name()),
                )),
            },
            several => {
                let names: Vec<&str> = several.iter().map(|f| f.as_str()).collect();
                let detail = format!("several models are here, name one: {}", names.join(", "));
                Err(Error::new(Code::RequestInvalid, folder.name(), detail))
            }
        }
    }

    /// Opens one file of a folder: a GGUF file, with the other parts where it is split,
    /// or a safetensors file, with the folder's config.json and companions.
    ///
    /// # Errors
    /// As [`Checkpoint::open_folder`].
    pub async fn open_file(folder: &dyn Folder, name: &str) -> Result<Self> {
        let source = folder.open(name).await?;
        let source = source.ok_or_else(|| missing(name, &format!("not in {}", folder.name())))?;
        let magic = source.read(0..source.len_bytes().min(4)).await?;
        if magic != MAGIC {
            return Self::from_safetensors(folder, vec![source], None).await;
        }
        let header = gguf::read_header(source.as_ref()).await?;
        let n_parts = n_parts(&header)?;
        if n_parts <= 1 {
            return Self::from_gguf(vec![source], vec![header]);
        }
        let part = part_of(name).filter(|part| u64::from(part.count) == n_parts);
        let part = part.ok_or_else(|| {
            let detail =
                format!("one of {n_parts} parts, but not named like name-00001-of-00002.gguf");
            Error::new(Code::FileMissing, name, detail)
        })?;
        let (mut sources, mut headers) = (Vec::new(), Vec::new());
        for number in 1..=part.count {
            let name = part.sibling(number);
            let source = folder.open(&name).await?;
            let source = source.ok_or_else(|| missing(&name, "a part of the split file"))?;
            headers.push(gguf::read_header(source.as_ref()).await?);
            sources.push(source);
        }
        Self::from_gguf(sources, headers)
    }

    /// What to call it: the (first) file or the folder it was opened from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A companion file's text, such as `tokenizer.json`, where the folder had it.
    pub fn text_file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// The companion files that are there, by name.
    pub fn text_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }

    fn from_gguf(sources: Vec<Rc<dyn ByteSource>>, headers: Vec<gguf::Header>) -> Result<Self> {
        let mut tensors: Vec<TensorInfo> = Vec::new();
        let mut first = None;
        let mut n_tensors = None;
        for (at, (header, source)) in headers.into_iter().zip(&sources).enumerate() {
            let wrong = |code, detail: String| Error::new(code, source.name(), detail);
            let n_parts = n_parts(&header)?.max(1);
            if n_parts != sources.len() as u64 {
                let detail = format!("one of {n_parts} parts, but {} were given", sources.len());
                return Err(wrong(Code::FileMissing, detail));
            }
            let number = header.metadata.get::<u64>("split.no")?.unwrap_or(0);
            if number != at as u64 {
                let detail = format!("it is part {}, not part {}", number + 1, at + 1);
                return Err(wrong(Code::FormatMalformed, detail));
            }
            n_tensors = n_tensors.or(header.metadata.get::<u64>("split.tensors.count")?);
            tensors.extend(
                header
                    .tensors
                    .into_iter()
                    .map(|info| TensorInfo { source: at, ..info }),
            );
            first.get_or_insert(header.metadata);
        }
        let (Some(metadata), Some(source)) = (first, sources.first()) else {
            return Err(missing("", "no file was given"));
        };
        let name = source.name().to_string();
        refuse_duplicates(&tensors)?;
        if let Some(expected) = n_tensors.filter(|&n| n != tensors.len() as u64) {
            let detail = format!("{expected} tensors promised, {} found", tensors.len());
            return Err(Error::new(Code::FormatMalformed, name, detail));
        }
        Ok(Self {
            tensors: TensorTable::new(sources, tensors),
            config: Config::Gguf(metadata),
            name,
            files: BTreeMap::new(),
        })
    }

    /// `sources` are in the order of the index's files, where there is one.
    async fn from_safetensors(
        folder: &dyn Folder,
        sources: Vec<Rc<dyn ByteSource>>,
        index: Option<Index>,
    ) -> Result<Self> {
        let mut tensors = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            let header = safetensors::read_header(source.as_ref()).await?;
            // Where the index names another file for a tensor, that one counts.
            let file = index.as_ref().and_then(|i| i.files().get(at).copied());
            let mapped = |name: &str| index.as_ref().and_then(|i| i.weight_map.get(name));
            let here = header
                .into_iter()
                .filter(|info| mapped(&info.name).is_none_or(|f| Some(f.as_str()) == file));
            tensors.extend(here.map(|info| TensorInfo { source: at, ..info }));
        }
        refuse_duplicates(&tensors)?;
        let config = folder.open("config.json").await?;
        let config =
            config.ok_or_else(|| missing("config.json", "it says what the weights are"))?;
        let config = text(config.as_ref()).await?;
        let config = serde_json::from_str(&config).map_err(|error| {
            let detail = quoted(&error.to_string(), "");
            Error::new(Code::ConfigInvalid, "config.json", detail)
        })?;
        let mut files = BTreeMap::new();
        for name in TEXT_FILES {
            read_text(folder, name, &mut files).await?;
        }
        if files.contains_key("chat_template.jinja") {
            read_text(folder, TOOL_TEMPLATE_FILE, &mut files).await?;
        }
        if !files.contains_key("tokenizer.json") {
            for name in SLOW_TOKENIZER_FILES {
                read_text(folder, name, &mut files).await?;
            }
        }
        Ok(Self {
            tensors: TensorTable::new(sources, tensors),
            config: Config::HuggingFace(config),
            name: folder.name().to_string(),
            files,
        })
    }
}

fn missing(file: &str, detail: &str) -> Error {
    Error::new(Code::FileMissing, file, format!("not there: {detail}"))
}

fn refuse_duplicates(tensors: &[TensorInfo]) -> Result<()> {
    let mut names = std::collections::HashSet::new();
    match tensors.iter().find(|info| !names.insert(&info.name)) {
        None => Ok(()),
        Some(info) => {
            let detail = "this tensor stands in two files";
            Err(Error::new(
                Code::FormatMalformed,
                quoted(&info.name, "a tensor"),
                detail,
            ))
        }
    }
}

async fn read_text(
    folder: &dyn Folder,
    name: &str,
    files: &mut BTreeMap<String, String>,
) -> Result<()> {
    if let Some(source) = folder.open(name).await? {
        files.insert(name.to_string(), text(source.as_ref()).await?);
    }
    Ok(())
}

/// A whole file as text.
async fn text(source: &dyn ByteSource) -> Result<String> {
    let name = source.name();
    if source.len_bytes() > MAX_TEXT_BYTES {
        let detail = format!("longer than {MAX_TEXT_BYTES} bytes");
        return Err(Error::new(Code::FormatMalformed, name, detail));
    }
    let bytes = source.read(0..source.len_bytes()).await?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::new(Code::FormatMalformed, name, "is not UTF-8"))?;
    // Some editors on Windows begin a file with a byte order mark.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    })
}

/// How many parts the file says it was split into; 0 or 1 where it was not.
fn n_parts(header: &gguf::Header) -> Result<u64> {
    let n = header.metadata.get::<u64>("split.count")?.unwrap_or(0);
    if n > MAX_PARTS {
        let detail = format!("{n} is more than {MAX_PARTS}");
        return Err(Error::new(Code::FormatMalformed, "split.count", detail));
    }
    Ok(n)
}

/// A part of a split file, by its name: `stem-00001-of-00003.gguf`.
struct Part<'a> {
    stem: &'a str,
    number: u32,
    count: u32,
}

impl Part<'_> {
    fn sibling(&self, number: u32) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.stem, self.count)
    }
}

fn part_of(name: &str) -> Option<Part<'_>> {
    let digits = |text: &str| -> Option<u32> {
        let five = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        if five { text.parse().ok() } else { None }
    };
    let name = name.strip_suffix(".gguf")?;
    let (rest, count) = name.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    Some(Part {
        stem,
        number: digits(number)?,
        count: digits(count)?,
    })
}
