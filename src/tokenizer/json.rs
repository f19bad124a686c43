//! A `tokenizer.json` -> a tokenizer.
//!
//! The file is read into our own types first and only then handed, part by part, to
//! the `tokenizers` crate: what would make that crate panic, loop or allocate without
//! bound is refused here, with the name of the field.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tokenizers::models::bpe::{BPE, Vocab as BpeVocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::{NormalizedString, Normalizer as _, NormalizerWrapper};

use super::added::{AddedToken, AddedTokens, is_markup};
use super::pieces::Spelling;
use super::pipeline::{Model, Pipeline, Stages};
use super::vocab::{Kind, Vocab};
use super::{Tokenizer, invalid, stages, unsupported};
use crate::error::Result;

/// The subject of errors about the file as a whole.
const FILE: &str = "tokenizer.json";

#[derive(Deserialize)]
#[serde(expecting = "a tokenizer")]
struct File {
    #[serde(default)]
    added_tokens: Option<Vec<Added>>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: ModelPart,
}

/// One entry of `added_tokens`.
#[derive(Deserialize)]
#[serde(expecting = "an added token")]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default = "yes")]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(expecting = "a model")]
struct ModelPart {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    vocab: VocabPart,
    #[serde(default)]
    merges: Option<Vec<Merge>>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    unk_id: Option<usize>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: Option<bool>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
}

/// `{"the": 5}`, or `[["the", -3.5]]` where ids are positions.
pub(super) enum VocabPart {
    Ids(Vec<(String, u32)>),
    Scores(Vec<(String, f64)>),
}

impl<'de> Deserialize<'de> for VocabPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = VocabPart;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tokens to ids, or a list of tokens with scores")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<VocabPart, A::Error> {
                let mut ids = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    ids.push(entry);
                }
                Ok(VocabPart::Ids(ids))
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<VocabPart, A::Error> {
                let mut scores = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    scores.push(entry);
                }
                Ok(VocabPart::Scores(scores))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// `"t h"`, or `["t", "h"]`, which can also merge tokens that hold a space.
pub(super) struct Merge(pub String, pub String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two tokens to merge")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Merge, E> {
                match text.split_once(' ') {
                    Some((a, b)) if !b.contains(' ') => Ok(Merge(a.to_string(), b.to_string())),
                    _ => Err(E::custom(format!("{text:?} is not two tokens to merge"))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<Merge, A::Error> {
                let short = || serde::de::Error::custom("a merge of fewer than two tokens");
                let first = seq.next_element()?.ok_or_else(short)?;
                let second = seq.next_element()?.ok_or_else(short)?;
                match seq.next_element::<Value>()? {
                    None => Ok(Merge(first, second)),
                    Some(_) => Err(serde::de::Error::custom("a merge of more than two tokens")),
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// Builds a tokenizer from the bytes of a `tokenizer.json`.
pub(super) fn build(bytes: &[u8]) -> Result<Tokenizer> {
    let file: File = serde_json::from_slice(bytes).map_err(|e| invalid(FILE, e.to_string()))?;
    let spelling = Spelling::from_decoder(&file.decoder)?;
    let affixes = stages::affixes(&file.post_processor)?;
    let normalizer = stages::normalizer(file.normalizer)?;
    let pre_tokenizer = stages::pre_tokenizer(file.pre_tokenizer)?;

    let added = file.added_tokens.unwrap_or_default();
    let (entries, model, unk) = build_model(file.model)?;
    let mut vocab = Vocab::for_entries(entries.len() + added.len());
    for (token, id) in &entries {
        let subject = "tokenizer.json: model.vocab";
        if vocab.has(*id) {
            return Err(invalid(subject, format!("id {id} stands for two tokens")));
        }
        vocab.set(*id, Kind::TEXT, subject, |out| {
            spelling.push_bytes(token, out);
        })?;
    }
    let added = add_tokens(added, normalizer.as_ref(), &spelling, &mut vocab)?;
    for id in affixes.prefix.iter().chain(&affixes.suffix) {
        if !vocab.has(*id) {
            let detail = format!("adds id {id}, which is not in the vocabulary");
            return Err(invalid("tokenizer.json: post_processor", detail));
        }
    }
    Ok(Tokenizer::new(
        vocab,
        added,
        Pipeline::Stages(Box::new(Stages {
            normalizer,
            pre_tokenizer,
            model,
            whole_newlines: false,
            unk,
        })),
        spelling,
        affixes,
    ))
}

/// Enters the added tokens into the vocabulary, and makes them ready to be found.
fn add_tokens(
    tokens: Vec<Added>,
    normalizer: Option<&NormalizerWrapper>,
    spelling: &Spelling,
    vocab: &mut Vocab,
) -> Result<AddedTokens> {
    let subject = "tokenizer.json: added_tokens";
    let mut by_content: HashMap<String, u32> = HashMap::new();
    let mut added = Vec::with_capacity(tokens.len());
    for token in tokens {
        if token.content.is_empty() {
            return Err(invalid(subject, format!("id {} has no content", token.id)));
        }
        let earlier = by_content.insert(token.content.clone(), token.id);
        if let Some(earlier) = earlier.filter(|e| *e != token.id) {
            let detail = format!("{:?} has the ids {earlier} and {}", token.content, token.id);
            return Err(invalid(subject, detail));
        }
        let markup = is_markup(&token.content);
        let kind = match (token.special, markup) {
            (true, _) => Kind::SPECIAL,
            (false, true) => Kind::MARKUP,
            (false, false) => Kind::TEXT,
        };
        vocab.set(token.id, kind, subject, |out| {
            // Under GPT-2's alphabet an added token is spelled plainly.
            if *spelling == Spelling::byte_level() {
                out.extend_from_slice(token.content.as_bytes());
            } else {
                spelling.push_bytes(&token.content, out);
            }
        })?;
        let mut pattern = token.content.clone();
        if let (true, Some(normalizer)) = (token.normalized, normalizer) {
            let mut text = NormalizedString::from(token.content.as_str());
            let done = normalizer.normalize(&mut text);
            done.map_err(|e| invalid(subject, format!("{:?}: {e}", token.content)))?;
            pattern = text.get().to_string();
        }
        added.push(AddedToken {
            id: token.id,
            content: token.content,
            pattern,
            normalized: token.normalized,
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            control: token.special || markup,
        });
    }
    Ok(AddedTokens::new(added))
}

type Entries = Vec<(String, u32)>;

/// The tokens with their ids, the model, and the id of what it does not know.
fn build_model(part: ModelPart) -> Result<(Entries, Model, Option<u32>)> {
    let kind = part
        .kind
        .as_deref()
        .unwrap_or(match (&part.vocab, &part.merges) {
            (VocabPart::Scores(_), _) => "Unigram",
            (_, Some(_)) => "BPE",
            _ => "WordLevel",
        });
    match (kind, part.vocab) {
        ("BPE", VocabPart::Ids(entries)) => {
            let unk = part.unk_token.filter(|unk| !unk.is_empty());
            let bpe = Bpe {
                subject: "tokenizer.json: model",
                vocab_subject: "tokenizer.json: model.vocab",
                merges_subject: "tokenizer.json: model.merges",
                merges: part.merges.unwrap_or_default(),
                unk_token: unk,
                continuing_subword_prefix: part.continuing_subword_prefix,
                end_of_word_suffix: part.end_of_word_suffix,
                fuse_unk: part.fuse_unk.unwrap_or(false),
                byte_fallback: part.byte_fallback.unwrap_or(false),
                ignore_merges: part.ignore_merges.unwrap_or(false),
            };
            let (model, unk) = bpe.build(&entries)?;
            Ok((entries, model, unk))
        }
        ("WordLevel", VocabPart::Ids(entries)) => {
            let map = unique(&entries, "tokenizer.json: model.vocab")?;
            let unk = part.unk_token.unwrap_or_else(|| "<unk>".to_string());
            let unk_id = map.get(&unk).copied();
            let model = WordLevel::builder().vocab(map).unk_token(unk).build();
            let model = model.map_err(|e| invalid("tokenizer.json: model", e.to_string()))?;
            Ok((entries, Model::WordLevel(Box::new(model)), unk_id))
        }
        ("Unigram", VocabPart::Scores(scores)) => {
            let subject = "tokenizer.json: model.vocab";
            if let Some((token, _)) = scores.iter().find(|(_, score)| !score.is_finite()) {
                return Err(invalid(subject, format!("{token:?} has no finite score")));
            }
            let entries: Entries = (0..)
                .zip(&scores)
                .map(|(id, (t, _))| (t.clone(), id))
                .collect();
            unique(&entries, subject)?;
            let byte_fallback = part.byte_fallback.unwrap_or(false);
            let model = Unigram::from(scores, part.unk_id, byte_fallback);
            let model = model.map_err(|e| invalid("tokenizer.json: model", e.to_string()))?;
            let unk = part.unk_id.map(|id| id as u32);
            Ok((entries, Model::Unigram(Box::new(model)), unk))
        }
        ("BPE" | "WordLevel" | "Unigram", _) => {
            let detail = format!("not the kind of vocabulary that {kind} needs");
            Err(invalid("tokenizer.json: model.vocab", detail))
        }
        (other, _) => {
            let detail = format!("model {other:?}; BPE, Unigram and WordLevel are supported");
            Err(unsupported("tokenizer.json: model.type", detail))
        }
    }
}

/// Tokens -> ids, where no token stands twice.
fn unique(entries: &[(String, u32)], subject: &str) -> Result<BpeVocab> {
    let mut map = BpeVocab::with_capacity(entries.len());
    for (token, id) in entries {
        if let Some(other) = map.insert(token.clone(), *id) {
            let detail = format!("{token:?} has the ids {other} and {id}");
            return Err(invalid(subject, detail));
        }
    }
    Ok(map)
}

/// What a BPE model is built from, beside its vocabulary; every route ends here.
pub(super) struct Bpe<'a> {
    /// Whom errors name: about the model, its vocabulary, its merges.
    pub subject: &'a str,
    pub vocab_subject: &'a str,
    pub merges_subject: &'a str,
    pub merges: Vec<Merge>,
    pub unk_token: Option<String>,
    pub continuing_subword_prefix: Option<String>,
    pub end_of_word_suffix: Option<String>,
    pub fuse_unk: bool,
    pub byte_fallback: bool,
    pub ignore_merges: bool,
}

impl Bpe<'_> {
    /// Checks that vocabulary and merges fit together, then builds the model.
    pub fn build(self, entries: &[(String, u32)]) -> Result<(Model, Option<u32>)> {
        let subject = self.subject;
        let vocab = unique(entries, self.vocab_subject)?;
        let prefix = self.continuing_subword_prefix.unwrap_or_default();
        let mut joined = String::new();
        for (i, Merge(a, b)) in self.merges.iter().enumerate() {
            let refuse = |what: String| invalid(format!("{}[{i}]", self.merges_subject), what);
            for part in [a, b] {
                if !vocab.contains_key(part) {
                    return Err(refuse(format!("{part:?} is not in the vocabulary")));
                }
            }
            let Some(tail) = b.strip_prefix(&prefix) else {
                return Err(refuse(format!("{b:?} does not start with {prefix:?}")));
            };
            joined.clear();
            joined.push_str(a);
            joined.push_str(tail);
            if !vocab.contains_key(&joined) {
                return Err(refuse(format!("{joined:?} is not in the vocabulary")));
            }
        }
        let mut unk_id = None;
        if let Some(unk) = &self.unk_token {
            let id = vocab.get(unk).copied().ok_or_else(|| {
                let detail = format!("{unk:?} is not in the vocabulary");
                invalid(format!("{subject}.unk_token"), detail)
            })?;
            unk_id = Some(id);
        }
        let merges = self.merges.into_iter().map(|Merge(a, b)| (a, b)).collect();
        let mut builder = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .fuse_unk(self.fuse_unk)
            .byte_fallback(self.byte_fallback)
            .ignore_merges(self.ignore_merges);
        if let Some(unk) = self.unk_token {
            builder = builder.unk_token(unk);
        }
        if !prefix.is_empty() {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.end_of_word_suffix.filter(|s| !s.is_empty()) {
            builder = builder.end_of_word_suffix(suffix);
        }
        let model = builder
            .build()
            .map_err(|e| invalid(subject, e.to_string()))?;
        Ok((Model::Bpe(Box::new(model)), unk_id))
    }
}
