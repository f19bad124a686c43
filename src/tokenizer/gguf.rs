//! GGUF metadata -> a tokenizer.
//!
//! Keys and types: github.com/ggml-org/ggml, `docs/gguf.md`; what they default to:
//! llama.cpp, `src/llama-vocab.cpp`.

use std::collections::HashMap;

use tokenizers::normalizers::{NFC, Replace};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::added::{AddedToken, AddedTokens, is_markup};
use super::json::{Bpe, Merge};
use super::pieces::{Spelling, byte_fallback};
use super::pipeline::{Pipeline, Stages};
use super::pre::{self, Pre};
use super::spm::Spm;
use super::vocab::{Kind, Vocab};
use super::{Affixes, Specials, Tokenizer, invalid, stop, unsupported};
use crate::error::Result;
use crate::format::{Metadata, StringList};

/// `tokenizer.ggml.token_type`.
mod token_type {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

/// A vocabulary as GGUF has it.
#[derive(Debug, Default)]
struct GgufVocab<'a> {
    model: &'a str,
    pre: Option<&'a str>,
    tokens: Vec<&'a str>,
    types: Vec<i32>,
    scores: Option<Vec<f32>>,
    merges: Option<&'a StringList>,
    add_space_prefix: Option<bool>,
    add_bos: Option<bool>,
    add_eos: Option<bool>,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    eom: Option<u32>,
    unk: Option<u32>,
    notes: Vec<String>,
}

/// Builds a tokenizer from a file's key-values.
pub(super) fn build(metadata: &Metadata) -> Result<Tokenizer> {
    let vocab = read(metadata)?;
    match vocab.model {
        "llama" => build_spm(vocab),
        "gpt2" => {
            let pre = vocab.pre.unwrap_or(pre::DEFAULT);
            build_bpe(vocab, pre::find(pre)?)
        }
        "gemma4" => build_bpe(vocab, pre::find("gemma4")?),
        other => Err(unsupported(
            "tokenizer.ggml.model",
            format!(
                "{other:?}; llama (SentencePiece), gpt2 (byte-level BPE) and gemma4 are supported"
            ),
        )),
    }
}

fn read(metadata: &Metadata) -> Result<GgufVocab<'_>> {
    const TOKENS: &str = "tokenizer.ggml.tokens";
    let tokens: &StringList = metadata.require(TOKENS)?;
    let n = tokens.len();
    if n == 0 {
        return Err(invalid(TOKENS, "is empty"));
    }
    let types: Option<Vec<i32>> = metadata.get("tokenizer.ggml.token_type")?;
    let types = types.unwrap_or_else(|| vec![token_type::NORMAL; n]);
    let scores: Option<Vec<f32>> = metadata.get("tokenizer.ggml.scores")?;
    let counts = [
        ("tokenizer.ggml.token_type", Some(types.len())),
        ("tokenizer.ggml.scores", scores.as_ref().map(Vec::len)),
    ];
    for (key, count) in counts {
        if let Some(count) = count.filter(|count| *count < n) {
            return Err(invalid(key, format!("{count} values for {n} tokens")));
        }
    }
    let mut notes = Vec::new();
    let mut id = |name: &str| -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        // Some writers say "none" as -1 or as 2^32 - 1.
        let id: Option<i64> = metadata.get(&key)?;
        let known = id.and_then(|id| u32::try_from(id).ok());
        let known = known.filter(|id| (*id as usize) < n);
        if let (Some(id), None) = (id, known) {
            notes.push(format!("{key} is {id}, which is no token: ignored"));
        }
        Ok(known)
    };
    let (bos, eos, unk) = (id("bos")?, id("eos")?, id("unknown")?);
    let (eot, eom) = (id("eot")?, id("eom")?);
    Ok(GgufVocab {
        model: metadata.require("tokenizer.ggml.model")?,
        pre: metadata.get("tokenizer.ggml.pre")?,
        tokens: tokens.iter().collect(),
        types,
        scores,
        merges: metadata.get("tokenizer.ggml.merges")?,
        add_space_prefix: metadata.get("tokenizer.ggml.add_space_prefix")?,
        add_bos: metadata.get("tokenizer.ggml.add_bos_token")?,
        add_eos: metadata.get("tokenizer.ggml.add_eos_token")?,
        bos,
        eos,
        eot,
        eom,
        unk,
        notes,
    })
}

impl GgufVocab<'_> {
    /// Rows of the embedding that converters fill up with: `[PAD151646]`.
    fn is_padding(&self, id: usize) -> bool {
        let number = self.tokens[id].strip_prefix("[PAD");
        let number = number.and_then(|rest| rest.strip_suffix(']'));
        self.types[id] == token_type::UNUSED
            && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    }

    fn kind(&self, id: usize) -> Kind {
        let text = self.tokens[id];
        match self.types[id] {
            token_type::CONTROL | token_type::UNKNOWN => Kind::SPECIAL,
            token_type::USER_DEFINED if is_markup(text) => Kind::MARKUP,
            // Some conversions list the end of a turn as ordinary text.
            token_type::NORMAL if stop::is_end(text) => Kind::SPECIAL,
            _ => Kind::TEXT,
        }
    }

    /// Whether a token is looked for in text before anything is merged.
    fn is_added(&self, id: usize) -> bool {
        self.types[id] == token_type::USER_DEFINED || self.kind(id) != Kind::TEXT
    }

    /// Ids -> bytes, and the added tokens.
    fn tables(&self, spelling: &Spelling) -> Result<(Vocab, AddedTokens)> {
        const SUBJECT: &str = "tokenizer.ggml.tokens";
        let mut vocab = Vocab::for_entries(self.tokens.len());
        let mut added = Vec::new();
        for (id, text) in self.tokens.iter().enumerate() {
            if self.is_padding(id) {
                continue;
            }
            let is_added = self.is_added(id);
            let kind = self.kind(id);
            vocab.set(id as u32, kind, SUBJECT, |out| {
                if is_added {
                    out.extend_from_slice(text.as_bytes());
                } else {
                    spelling.push_bytes(text, out);
                }
            })?;
            if is_added {
                added.push(AddedToken {
                    id: id as u32,
                    content: text.to_string(),
                    pattern: text.to_string(),
                    control: kind != Kind::TEXT,
                    ..AddedToken::default()
                });
            }
        }
        Ok((vocab, AddedTokens::new(added)))
    }

    /// Each token's text with its id. An empty text gets a name of its own, as
    /// llama.cpp does; any other that stands twice is an error.
    fn entries(&self) -> Vec<(String, u32)> {
        let name = |(id, text): (usize, &&str)| {
            let text = if text.is_empty() {
                format!("[EMPTY_{id}]")
            } else {
                text.to_string()
            };
            (text, id as u32)
        };
        self.tokens.iter().enumerate().map(name).collect()
    }

    fn affixes(&self, add_bos: bool) -> Affixes {
        let ends = |add: bool, id: Option<u32>| id.filter(|_| add).into_iter().collect();
        Affixes {
            prefix: ends(self.add_bos.unwrap_or(add_bos), self.bos),
            suffix: ends(self.add_eos.unwrap_or(false), self.eos),
        }
    }

    fn finish(self, mut tokenizer: Tokenizer) -> Tokenizer {
        tokenizer.set_specials(Specials {
            bos: self.bos,
            eos: self.eos,
            eot: self.eot,
            ends: [self.eos, self.eot, self.eom]
                .into_iter()
                .flatten()
                .collect(),
        });
        tokenizer.notes = self.notes;
        tokenizer
    }
}

/// Byte-level BPE, and BPE over SentencePiece's spelling.
fn build_bpe(mut vocab: GgufVocab, pre: &Pre) -> Result<Tokenizer> {
    const MERGES: &str = "tokenizer.ggml.merges";
    if vocab.pre.is_none() && vocab.model == "gpt2" {
        let note = "tokenizer.ggml.pre is missing: text is cut by a general rule, \
            which may not be the one that the model was trained with";
        vocab.notes.push(note.to_string());
    }
    let merges = vocab
        .merges
        .ok_or_else(|| invalid(MERGES, "is missing"))?
        .iter()
        .enumerate()
        .map(|(i, merge)| {
            // The first token may itself start with a space.
            let at = merge.char_indices().skip(1).find(|(_, c)| *c == ' ');
            let at = at.map(|(at, _)| at);
            let at = at.ok_or_else(|| {
                let detail = format!("{merge:?} is not two tokens to merge");
                invalid(format!("{MERGES}[{i}]"), detail)
            })?;
            Ok(Merge(merge[..at].to_string(), merge[at + 1..].to_string()))
        })
        .collect::<Result<Vec<Merge>>>()?;
    let bpe = Bpe {
        subject: "tokenizer.ggml.model",
        vocab_subject: "tokenizer.ggml.tokens",
        merges_subject: MERGES,
        merges,
        unk_token: None,
        continuing_subword_prefix: None,
        end_of_word_suffix: None,
        fuse_unk: false,
        byte_fallback: !pre.byte_level,
        ignore_merges: pre.ignore_merges,
    };
    let (model, _) = bpe.build(&vocab.entries())?;
    let spelling = if pre.byte_level {
        Spelling::byte_level()
    } else {
        Spelling::sentencepiece(false)
    };
    let (table, added) = vocab.tables(&spelling)?;
    let pipeline = Pipeline::Stages(Box::new(Stages {
        normalizer: normalizer(pre)?,
        pre_tokenizer: Some(pre_tokenizer(pre)?),
        model,
        whole_newlines: !pre.byte_level,
        unk: vocab.unk,
    }));
    let affixes = vocab.affixes(pre.add_bos);
    let tokenizer = Tokenizer::new(table, added, pipeline, spelling, affixes);
    Ok(vocab.finish(tokenizer))
}

/// What a row of [`pre::TABLE`] does before it cuts.
pub(super) fn normalizer(pre: &Pre) -> Result<Option<NormalizerWrapper>> {
    Ok(match pre {
        Pre { nfc: true, .. } => Some(NormalizerWrapper::NFC(NFC)),
        Pre {
            byte_level: false, ..
        } => {
            let replace = Replace::new(" ", "▁");
            let replace = replace.map_err(|e| invalid("tokenizer.ggml.pre", e.to_string()))?;
            Some(NormalizerWrapper::Replace(replace))
        }
        _ => None,
    })
}

/// The cuts of a row of [`pre::TABLE`].
pub(super) fn pre_tokenizer(pre: &Pre) -> Result<PreTokenizerWrapper> {
    let mut steps = Vec::with_capacity(pre.cuts.len() + 1);
    for cut in pre.cuts {
        let pattern = SplitPattern::Regex(cut.to_string());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
        let split = split.map_err(|e| invalid("tokenizer.ggml.pre", e.to_string()))?;
        steps.push(PreTokenizerWrapper::Split(split));
    }
    if pre.byte_level {
        let byte_level = ByteLevel::new(false, true, false);
        steps.push(PreTokenizerWrapper::ByteLevel(byte_level));
    }
    Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
}

/// SentencePiece's BPE, by scores.
fn build_spm(mut vocab: GgufVocab) -> Result<Tokenizer> {
    const SCORES: &str = "tokenizer.ggml.scores";
    let n = vocab.tokens.len();
    let scores = vocab.scores.take();
    let scores = scores.ok_or_else(|| invalid(SCORES, "is missing"))?;
    if let Some(id) = scores.iter().take(n).position(|s| s.is_nan()) {
        return Err(invalid(format!("{SCORES}[{id}]"), "is not a number"));
    }
    // SentencePiece's own ids, where the file does not say and they fit.
    let default = |id: Option<u32>, usual: u32, kind: i32| {
        id.or_else(|| Some(usual).filter(|id| vocab.types.get(*id as usize) == Some(&kind)))
    };
    vocab.unk = default(vocab.unk, 0, token_type::UNKNOWN);
    vocab.bos = default(vocab.bos, 1, token_type::CONTROL);
    vocab.eos = default(vocab.eos, 2, token_type::CONTROL);

    let mut pieces = HashMap::with_capacity(n);
    let mut bytes = vec![None; 256];
    let mut unused = vec![false; n];
    for (text, id) in vocab.entries() {
        let at = id as usize;
        match vocab.types[at] {
            token_type::BYTE => {
                let byte = byte_fallback(&text).ok_or_else(|| {
                    let detail = format!("{text:?} is not the name of a byte");
                    invalid(format!("tokenizer.ggml.tokens[{id}]"), detail)
                })?;
                bytes[usize::from(byte)] = Some(id);
            }
            token_type::CONTROL | token_type::UNKNOWN => {}
            _ if vocab.kind(at) != Kind::TEXT || vocab.is_padding(at) => {}
            kind => {
                unused[at] = kind == token_type::UNUSED;
                if let Some(other) = pieces.insert(text.clone().into_boxed_str(), id) {
                    let detail = format!("{text:?} has the ids {other} and {id}");
                    return Err(invalid("tokenizer.ggml.tokens", detail));
                }
            }
        }
    }
    let add_space_prefix = vocab.add_space_prefix.unwrap_or(true);
    let spm = Spm::new(pieces, scores, unused, bytes, vocab.unk, add_space_prefix);
    let spelling = Spelling::sentencepiece(add_space_prefix);
    let (table, added) = vocab.tables(&spelling)?;
    let affixes = vocab.affixes(true);
    let tokenizer = Tokenizer::new(table, added, Pipeline::Spm(spm), spelling, affixes);
    Ok(vocab.finish(tokenizer))
}
