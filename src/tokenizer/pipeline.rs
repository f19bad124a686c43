//! Text -> ids, once the tokenizer is built.
//!
//! Normalising, cutting and merging are the `tokenizers` crate's; finding added
//! tokens is ours ([`super::added`]), because only then does a file's id stand, may
//! ids have holes, and can one part of a text be trusted and another not.

use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::{
    Model as _, Normalizer as _, NormalizerWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer as _, PreTokenizerWrapper, Token,
};

use super::added::{AddedTokens, Trust};
use super::invalid;
use super::spm::Spm;
use super::vocab::Vocab;
use crate::error::{Code, Error, Result};

/// What turns a piece of text into ids.
#[derive(Debug)]
pub(super) enum Model {
    Bpe(Box<BPE>),
    Unigram(Box<Unigram>),
    WordLevel(Box<WordLevel>),
}

impl Model {
    fn tokenize(&self, piece: &str) -> tokenizers::Result<Vec<Token>> {
        match self {
            Model::Bpe(model) => model.tokenize(piece),
            Model::Unigram(model) => model.tokenize(piece),
            Model::WordLevel(model) => model.tokenize(piece),
        }
    }

    fn id_of(&self, token: &str) -> Option<u32> {
        match self {
            Model::Bpe(model) => model.token_to_id(token),
            Model::Unigram(model) => model.token_to_id(token),
            Model::WordLevel(model) => model.token_to_id(token),
        }
    }
}

/// The stages of the `tokenizers` crate.
#[derive(Debug)]
pub(super) struct Stages {
    pub normalizer: Option<NormalizerWrapper>,
    pub pre_tokenizer: Option<PreTokenizerWrapper>,
    pub model: Model,
    /// A run of newlines that is a token is taken whole: Gemma 4's vocabulary has
    /// such tokens, but no merges that lead to them.
    pub whole_newlines: bool,
    /// What unknown text becomes: the one control token that text may yield.
    pub unk: Option<u32>,
}

/// The way from text to ids.
#[derive(Debug)]
pub(super) enum Pipeline {
    Stages(Box<Stages>),
    Spm(Spm),
}

impl Pipeline {
    /// The id of a token as the vocabulary spells it.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        match self {
            Pipeline::Stages(stages) => stages.model.id_of(token),
            Pipeline::Spm(spm) => spm.id_of(token),
        }
    }

    /// Appends the ids of `text`.
    pub fn encode(
        &self,
        text: &str,
        added: &AddedTokens,
        trust: Trust,
        vocab: &Vocab,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        match self {
            Pipeline::Spm(spm) => {
                let mut starts = true;
                for (id, range) in added.split_raw(text, trust) {
                    match id {
                        Some(id) => out.push(id),
                        None => spm.encode(&text[range], starts, out)?,
                    }
                    starts = id.is_some();
                }
                Ok(())
            }
            Pipeline::Stages(stages) => stages.encode(text, added, trust, vocab, out),
        }
    }
}

impl Stages {
    fn encode(
        &self,
        text: &str,
        added: &AddedTokens,
        trust: Trust,
        vocab: &Vocab,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let mut pieces = self
            .cut(text, added, trust)
            .map_err(|e| failed("text", &*e))?;
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer
                .pre_tokenize(&mut pieces)
                .map_err(|e| failed("pre_tokenizer", &*e))?;
        }
        for (piece, _, tokens) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::None)
        {
            match tokens {
                Some(tokens) => out.extend(tokens.iter().map(|t| t.id)),
                None => self.encode_piece(piece, vocab, out)?,
            }
        }
        Ok(())
    }

    /// Cuts `text` at its added tokens and normalises the rest.
    fn cut(
        &self,
        text: &str,
        added: &AddedTokens,
        trust: Trust,
    ) -> tokenizers::Result<PreTokenizedString> {
        const SLICE: &str = "an added token does not end at a character";
        let mut pieces = PreTokenizedString::from(text);
        pieces.split(|_, raw| {
            added
                .split_raw_pieces(&raw, trust)
                .ok_or_else(|| SLICE.into())
        })?;
        if let Some(normalizer) = &self.normalizer {
            // `split`, not `normalize`: pieces that become empty must go.
            pieces.split(|_, mut piece| {
                normalizer.normalize(&mut piece)?;
                Ok([piece])
            })?;
        }
        if added.any_normalized() {
            pieces.split(|_, piece| {
                added
                    .split_normalized_pieces(&piece, trust)
                    .ok_or_else(|| SLICE.into())
            })?;
        }
        Ok(pieces)
    }

    fn encode_piece(&self, piece: &str, vocab: &Vocab, out: &mut Vec<u32>) -> Result<()> {
        if self.whole_newlines
            && piece.bytes().all(|b| b == b'\n')
            && let Some(id) = self.model.id_of(piece)
        {
            out.push(id);
            return Ok(());
        }
        let tokens = self
            .model
            .tokenize(piece)
            .map_err(|e| failed("model", &*e))?;
        for token in tokens {
            if vocab.is_control(token.id) && Some(token.id) != self.unk {
                self.spell_out(&token.value, out)?;
            } else {
                out.push(token.id);
            }
        }
        Ok(())
    }

    /// Encodes text that merged into a control token character by character: a
    /// vocabulary may hold `<s>` and the merges that lead to it, but ordinary text
    /// must stay ordinary. (A control token of one character stays, or its text could
    /// not be written at all.)
    fn spell_out(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let mut buffer = [0; 4];
        for c in text.chars() {
            let tokens = self.model.tokenize(c.encode_utf8(&mut buffer));
            let tokens = tokens.map_err(|e| failed("model", &*e))?;
            out.extend(tokens.iter().map(|t| t.id));
        }
        Ok(())
    }
}

/// What `tokenizers` could not do with a text.
fn failed(stage: &str, error: &(dyn std::error::Error + Send + Sync)) -> Error {
    if error.to_string().contains("unk_id") {
        return invalid("model", "the text holds a character that no token covers");
    }
    Error::new(Code::TokenizerInvalid, stage, error.to_string())
}
