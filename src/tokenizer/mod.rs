//! Text <-> ids.
//!
//! A [`Tokenizer`] comes from whatever a checkpoint has: a `tokenizer.json`, a
//! `vocab.json` with its `merges.txt`, or the metadata of a GGUF file. Each route
//! ends in the same parts: a table of ids and their bytes (`vocab`), the added
//! tokens that are found in text first (`added`), and the stages that turn the rest
//! into ids (`pipeline`: those of the `tokenizers` crate, or SentencePiece's merging
//! by score in `spm`).
//!
//! Two promises are kept here for everyone above:
//!
//! - Text that is not trusted never becomes a control token. Where
//!   [`EncodeOptions::parse_special`] or [`Span::parse_special`] is off, `<|im_end|>`
//!   is ten characters like any others.
//! - Text can be streamed: what a [`Detokenizer`] gives out piece by piece is, put
//!   together, what [`Tokenizer::decode`] gives for the whole.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod added;
mod charsmap;
mod gguf;
mod hf;
mod json;
mod open;
mod pieces;
mod pipeline;
mod pre;
mod spm;
mod stages;
mod stop;
mod stream;
mod vocab;

use std::fmt;
use std::ops::Range;

pub use hf::Companions;
pub use stream::Detokenizer;

use added::{AddedTokens, Trust};
use pieces::Spelling;
use pipeline::Pipeline;
use vocab::Vocab;

use crate::error::{Code, Error, Result};
use crate::format::{Checkpoint, Config, Folder, Metadata};

/// How to encode one text. The default is for text from anywhere: nothing is put
/// around it, and none of it is a control token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncodeOptions {
    /// Put around the text what the model expects there, such as `<s>` in front.
    pub add_special: bool,
    /// Read control tokens (`<|im_start|>`, `<tool_call>`, ..) in the text as such.
    /// Only for text that the caller wrote or a chat template made.
    pub parse_special: bool,
}

/// A part of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// Its text.
    pub text: &'a str,
    /// Whether control tokens in it are meant: see [`EncodeOptions::parse_special`].
    pub parse_special: bool,
}

/// Text to ids and back, for one model.
pub struct Tokenizer {
    vocab: Vocab,
    added: AddedTokens,
    pipeline: Pipeline,
    spelling: Spelling,
    affixes: Affixes,
    specials: Specials,
    notes: Vec<String>,
}

/// The ids put before and after a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Affixes {
    prefix: Vec<u32>,
    suffix: Vec<u32>,
}

/// Tokens by their role.
#[derive(Debug, Clone, Default)]
struct Specials {
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    /// Ids that the checkpoint says end a reply.
    ends: Vec<u32>,
}

impl Tokenizer {
    /// The tokenizer that a checkpoint carries.
    ///
    /// # Errors
    /// `file_missing` when it carries none, else as for the route it takes:
    /// [`Tokenizer::from_gguf`], [`Tokenizer::from_json`] or
    /// [`Tokenizer::from_vocab_merges`].
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let config = match &checkpoint.config {
            Config::Gguf(metadata) => return Self::from_gguf(metadata),
            Config::HuggingFace(config) => config,
        };
        let companions = Companions {
            tokenizer_config: checkpoint.text_file("tokenizer_config.json"),
            special_tokens_map: checkpoint.text_file("special_tokens_map.json"),
            added_tokens: checkpoint.text_file("added_tokens.json"),
            generation_config: checkpoint.text_file("generation_config.json"),
            config: Some(config),
            pre: None,
        };
        if let Some(json) = checkpoint.text_file("tokenizer.json") {
            return Self::from_json(json.as_bytes(), &companions);
        }
        let vocab = checkpoint.text_file("vocab.json");
        let merges = checkpoint.text_file("merges.txt");
        match (vocab, merges) {
            (Some(vocab), Some(merges)) => Self::from_vocab_merges(vocab, merges, &companions),
            _ => Err(Error::new(
                Code::FileMissing,
                "tokenizer.json",
                format!(
                    "neither it nor vocab.json with merges.txt is in {}",
                    checkpoint.name()
                ),
            )),
        }
    }

    /// From one file of a folder: a `tokenizer.json`, a GGUF file, or a vocabulary with
    /// its merges beside it (`vocab.json` with `merges.txt`, `x.vocab` with
    /// `x.merges.txt`); what the folder's other files say of it is read too.
    ///
    /// # Errors
    /// `file_missing` naming the file or the merges that are not there, what the folder
    /// reports, and as for the route that the file takes.
    pub async fn open(folder: &dyn Folder, name: &str) -> Result<Self> {
        open::open(folder, name).await
    }

    /// From a `tokenizer.json`, and what the files beside it add.
    ///
    /// # Errors
    /// `tokenizer_invalid` naming the field at fault, `tokenizer_unsupported` for a
    /// model or a stage that this crate cannot run.
    pub fn from_json(bytes: &[u8], companions: &Companions) -> Result<Self> {
        let mut tokenizer = json::build(bytes)?;
        hf::complete(&mut tokenizer, companions)?;
        Ok(tokenizer)
    }

    /// From the texts of a `vocab.json` (tokens in GPT-2's byte alphabet, with their
    /// ids) and a `merges.txt` (one pair a line, the first merged first).
    ///
    /// # Errors
    /// `tokenizer_invalid` naming the file and the line or token at fault.
    pub fn from_vocab_merges(vocab: &str, merges: &str, companions: &Companions) -> Result<Self> {
        hf::from_vocab_merges(vocab, merges, companions)
    }

    /// From a GGUF file's metadata: byte-level BPE (`gpt2`) with the cut that
    /// `tokenizer.ggml.pre` names, or SentencePiece by scores (`llama`).
    ///
    /// # Errors
    /// `tokenizer_unsupported` for another `tokenizer.ggml.model`, or for a `pre` that
    /// is not known (the error lists those that are); `tokenizer_invalid` or
    /// `config_invalid` naming the key at fault.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        gguf::build(metadata)
    }

    fn new(
        vocab: Vocab,
        added: AddedTokens,
        pipeline: Pipeline,
        spelling: Spelling,
        affixes: Affixes,
    ) -> Self {
        let mut tokenizer = Self {
            vocab,
            added,
            pipeline,
            spelling,
            affixes,
            specials: Specials::default(),
            notes: Vec::new(),
        };
        tokenizer.set_specials(Specials::default());
        tokenizer
    }

    /// Sets the roles, completes them by the usual spellings, and makes the tokens
    /// that have one special.
    fn set_specials(&mut self, mut specials: Specials) {
        let by_spelling = stop::by_spelling(|text| self.added.id_of(text));
        specials.eot = specials.eot.or(by_spelling.first().copied());
        specials.ends.extend(by_spelling);
        specials.ends.retain(|id| self.vocab.has(*id));
        specials.ends.sort_unstable();
        specials.ends.dedup();
        for id in specials.ends.iter().chain(&specials.bos) {
            if self.added.has(*id) {
                self.vocab.make_special(*id);
                self.added.make_control(*id);
            }
        }
        self.specials = specials;
    }

    /// The ids of `text`.
    ///
    /// # Errors
    /// `tokenizer_invalid` for a character that the vocabulary can neither hold nor
    /// spell in bytes, and has no token for the unknown.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>> {
        let trust = if options.parse_special {
            Trust::All
        } else {
            Trust::Nothing
        };
        self.encode_trusting(text, trust, options.add_special)
    }

    /// The ids of a text made of parts, some of which may name control tokens and
    /// some not. The parts are read as one text, so their borders leave no trace in
    /// the ids; a control token is read only where all of it is in parts that may
    /// name it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_spans(&self, spans: &[Span], add_special: bool) -> Result<Vec<u32>> {
        let mut text = String::with_capacity(spans.iter().map(|s| s.text.len()).sum());
        let mut untrusted: Vec<Range<usize>> = Vec::new();
        for span in spans.iter().filter(|span| !span.text.is_empty()) {
            let start = text.len();
            text.push_str(span.text);
            if !span.parse_special {
                match untrusted.last_mut().filter(|last| last.end == start) {
                    Some(last) => last.end = text.len(),
                    None => untrusted.push(start..text.len()),
                }
            }
        }
        self.encode_trusting(&text, Trust::Except(&untrusted), add_special)
    }

    fn encode_trusting(&self, text: &str, trust: Trust, add_special: bool) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        if add_special {
            ids.extend_from_slice(&self.affixes.prefix);
        }
        self.pipeline
            .encode(text, &self.added, trust, &self.vocab, &mut ids)?;
        if add_special {
            ids.extend_from_slice(&self.affixes.suffix);
        }
        Ok(ids)
    }

    /// The text of `ids`; special tokens are left out where `skip_special`. Bytes that
    /// are not UTF-8 become U+FFFD, and ids without a token become nothing.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut stream = self.detokenizer(skip_special);
        let mut text = String::with_capacity(ids.len() * 4);
        for &id in ids {
            stream.push_into(id, &mut text);
        }
        text.push_str(&stream.finish());
        text
    }

    /// Decodes ids one at a time, from the start of a text.
    pub fn detokenizer(&self, skip_special: bool) -> Detokenizer<'_> {
        Detokenizer::new(self, skip_special, false)
    }

    /// Decodes ids one at a time, where text is before them already: a leading space
    /// is then part of the text. For a completion; a chat reply starts a text.
    pub fn detokenizer_continuing(&self, skip_special: bool) -> Detokenizer<'_> {
        Detokenizer::new(self, skip_special, true)
    }

    /// The bytes that `id` stands for: not always whole characters. None for an id
    /// without a token. A special token's are its name.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.vocab.bytes(id)
    }

    /// The id of a token as the vocabulary spells it: `<|im_end|>`, `Ġthe`, `▁the`.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        let id = self.added.id_of(token);
        id.or_else(|| self.pipeline.id_of(token).filter(|id| self.has(*id)))
    }

    /// One more than the highest id. A model's logits may be wider: the rest is
    /// padding.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }

    /// Whether `id` stands for anything.
    pub fn has(&self, id: u32) -> bool {
        self.vocab.has(id)
    }

    /// Whether `id` is left out of text where special tokens are skipped.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocab.is_special(id)
    }

    /// Whether `id` steers the model, so that only trusted text can name it: special
    /// tokens, and markup such as `<tool_call>`.
    pub fn is_control(&self, id: u32) -> bool {
        self.vocab.is_control(id)
    }

    /// The token that begins a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.specials.bos
    }

    /// The token that ends a text.
    pub fn eos_id(&self) -> Option<u32> {
        self.specials.eos
    }

    /// The token that ends a turn in a chat.
    pub fn eot_id(&self) -> Option<u32> {
        self.specials.eot
    }

    /// The ids that end a reply, in ascending order: those that the checkpoint names,
    /// and known ends of turns (`<|im_end|>`, `<|eot_id|>`, ..) that it has as tokens.
    pub fn stop_ids(&self) -> &[u32] {
        &self.specials.ends
    }

    /// The ids that `add_special` puts in front of a text.
    pub fn prefix_ids(&self) -> &[u32] {
        &self.affixes.prefix
    }

    /// What a person should know about how this tokenizer was built.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Compares id for id: whether `other` means the same by every id. Ids that stand
    /// for nothing, such as padding, do not count.
    ///
    /// # Errors
    /// The lowest id at which the two differ.
    pub fn same_as(&self, other: &Tokenizer) -> std::result::Result<(), Difference> {
        let token = |tokenizer: &Tokenizer, id| {
            let bytes = tokenizer.token_bytes(id);
            tokenizer.has(id).then(|| bytes.to_vec())
        };
        let n = self.n_vocab().max(other.n_vocab()) as u32;
        for id in 0..n {
            if self.has(id) != other.has(id) || self.token_bytes(id) != other.token_bytes(id) {
                return Err(Difference {
                    id,
                    this: token(self, id),
                    other: token(other, id),
                });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("n_vocab", &self.n_vocab())
            .field("specials", &self.specials)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// Where two tokenizers differ first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The lowest id that they mean different things by.
    pub id: u32,
    /// The bytes of the one, if the id stands for anything there.
    pub this: Option<Vec<u8>>,
    /// The bytes of the other.
    pub other: Option<Vec<u8>>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => format!("\"{}\"", bytes.escape_ascii()),
            None => "nothing".to_string(),
        };
        let Self { id, this, other } = self;
        write!(
            f,
            "id {id} is {} here and {} there",
            show(this),
            show(other)
        )
    }
}

/// An error about a file, a field or a key that is not as it must be.
fn invalid(subject: impl Into<String>, detail: impl Into<String>) -> Error {
    Error::new(Code::TokenizerInvalid, subject, detail)
}

/// An error about something that is well-formed, but not supported.
fn unsupported(subject: impl Into<String>, detail: impl Into<String>) -> Error {
    Error::new(Code::TokenizerUnsupported, subject, detail)
}
