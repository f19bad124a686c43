//! One file of a folder -> a tokenizer.

use super::{Companions, Tokenizer, invalid};
use crate::error::{Code, Error, Result};
use crate::format::{ByteSource, Checkpoint, Config, Folder};

/// No tokenizer's file is longer; the largest `tokenizer.json` are some 30 MB.
const MAX_BYTES: u64 = 256 << 20;

/// See [`Tokenizer::open`].
pub(super) async fn open(folder: &dyn Folder, name: &str) -> Result<Tokenizer> {
    let source = folder.open(name).await?;
    let source = source.ok_or_else(|| missing(name, folder))?;
    let magic = source.read(0..source.len_bytes().min(4)).await?;
    if magic == *b"GGUF" {
        let checkpoint = Checkpoint::open_file(folder, name).await?;
        return match &checkpoint.config {
            Config::Gguf(metadata) => Tokenizer::from_gguf(metadata),
            Config::HuggingFace(_) => Tokenizer::from_checkpoint(&checkpoint),
        };
    }
    let main = text(source.as_ref()).await?;
    let beside = |name| read(folder, name);
    let tokenizer_config = beside("tokenizer_config.json").await?;
    let special_tokens_map = beside("special_tokens_map.json").await?;
    let added_tokens = beside("added_tokens.json").await?;
    let generation_config = beside("generation_config.json").await?;
    let config = beside("config.json").await?;
    let config: Option<serde_json::Value> = match config.as_deref().map(serde_json::from_str) {
        None => None,
        Some(parsed) => Some(parsed.map_err(|e| invalid("config.json", e.to_string()))?),
    };
    let companions = Companions {
        tokenizer_config: tokenizer_config.as_deref(),
        special_tokens_map: special_tokens_map.as_deref(),
        added_tokens: added_tokens.as_deref(),
        generation_config: generation_config.as_deref(),
        config: config.as_ref(),
        pre: None,
    };
    for merges in &merges_of(name) {
        if let Some(merges) = read(folder, merges).await? {
            return Tokenizer::from_vocab_merges(&main, &merges, &companions);
        }
    }
    if name.ends_with("vocab.json") {
        return Err(missing("merges.txt", folder));
    }
    Tokenizer::from_json(main.as_bytes(), &companions)
}

/// What the merges of a vocabulary may be called; none for a `tokenizer.json`, beside
/// which they may lie as well.
fn merges_of(vocab: &str) -> Vec<String> {
    let stem = vocab.strip_suffix(".vocab");
    match (vocab.strip_suffix("vocab.json"), stem) {
        (Some(start), _) => vec![format!("{start}merges.txt")],
        (_, Some(stem)) => vec![format!("{stem}.merges.txt"), "merges.txt".to_string()],
        _ if vocab == "encoder.json" => vec!["vocab.bpe".to_string()],
        _ => Vec::new(),
    }
}

fn missing(name: &str, folder: &dyn Folder) -> Error {
    let detail = format!("not in {}", folder.name());
    Error::new(Code::FileMissing, name, detail)
}

async fn read(folder: &dyn Folder, name: &str) -> Result<Option<String>> {
    match folder.open(name).await? {
        Some(source) => text(source.as_ref()).await.map(Some),
        None => Ok(None),
    }
}

async fn text(source: &dyn ByteSource) -> Result<String> {
    let n = source.len_bytes();
    if n > MAX_BYTES {
        let detail = format!("{n} bytes are too many for a tokenizer");
        return Err(invalid(source.name(), detail));
    }
    String::from_utf8(source.read(0..n).await?)
        .map_err(|_| invalid(source.name(), "is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FileSet;

    const VOCAB: &str = r#"{"a": 0, "b": 1, "ab": 2}"#;
    const JSON: &str = r#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
        "decoder": {"type": "ByteLevel"}}"#;

    fn open(files: &[(&str, &str)]) -> Result<Tokenizer> {
        let mut set = FileSet::new("folder");
        for (name, text) in files {
            set.add_bytes(name, text.as_bytes().to_vec());
        }
        pollster::block_on(Tokenizer::open(&set, files[0].0))
    }

    #[test]
    fn each_file_takes_its_route() {
        let merges = "#version: 0.2\na b\n";
        for (vocab, name) in [
            ("vocab.json", "merges.txt"),
            ("gpt2.vocab", "gpt2.merges.txt"),
            ("encoder.json", "vocab.bpe"),
        ] {
            let tokenizer = open(&[(vocab, VOCAB), (name, merges)]).unwrap();
            assert_eq!(tokenizer.encode("ab", Default::default()), Ok(vec![2]));
        }
        // Merges beside a tokenizer.json are its own, in another form.
        let eos = r#"{"eos_token": "b"}"#;
        let files = [
            ("tokenizer.json", JSON),
            ("merges.txt", merges),
            ("tokenizer_config.json", eos),
        ];
        let tokenizer = open(&files).unwrap();
        assert_eq!(tokenizer.encode("ab", Default::default()), Ok(vec![0, 1]));
        assert_eq!(tokenizer.eos_id(), Some(1));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |files: &[(&str, &str)]| {
            let error = open(files).unwrap_err();
            (error.code(), error.subject().to_string())
        };
        let alone = missing(&[("vocab.json", VOCAB)]);
        assert_eq!(alone, (Code::FileMissing, "merges.txt".to_string()));
        let set = FileSet::new("folder");
        let error = pollster::block_on(Tokenizer::open(&set, "tokenizer.json")).unwrap_err();
        assert_eq!(
            (error.code(), error.subject()),
            (Code::FileMissing, "tokenizer.json")
        );
        let broken = missing(&[("tokenizer.json", JSON), ("config.json", "{")]);
        assert_eq!(broken, (Code::TokenizerInvalid, "config.json".to_string()));
        let broken = missing(&[("tokenizer.json", "GGUF, but no more")]);
        assert_ne!(broken.0, Code::Internal);
    }
}
