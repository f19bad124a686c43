//! What the reply must look like: a JSON schema, a regular expression, a list of
//! choices or a grammar, as masks over the vocabulary.
//!
//! A grammar engine (llguidance) walks along with the reply and says, before every
//! draw, which tokens may follow. Where only one text may follow, its tokens are
//! *forced*: they become part of the reply without a model pass, with or without
//! speculation, so that the text does not depend on it. Drafters draw under the same
//! masks, and the walk is taken back afterwards.

mod json;
mod moments;

pub use json::{Spacing, check_schema, json_term};

use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value as Json;
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use super::sampling::TokenMask;
use crate::error::{Code, Error, Result};
use crate::tokenizer::{EncodeOptions, Tokenizer};

/// A schema, expression or grammar longer than this is refused before it is read.
pub const MAX_SOURCE_BYTES: usize = 256 * 1024;

/// What the reply must look like.
#[derive(Debug, Clone, PartialEq)]
pub enum ConstraintSpec {
    /// JSON that a schema accepts. Keywords that cannot be enforced are an error that
    /// names them; `$ref` is followed within the schema only.
    JsonSchema {
        /// The schema.
        schema: Json,
        /// Where white space may stand.
        spacing: Spacing,
    },
    /// Text that a regular expression matches as a whole.
    Regex(String),
    /// One of several texts.
    Choice(Vec<String>),
    /// A grammar in llguidance's dialect of Lark.
    Lark(String),
}

/// Compiles constraints for one vocabulary. Costs about a megabyte for a vocabulary of
/// 32,000, and is made once per model.
pub struct ConstraintCompiler {
    factory: ParserFactory,
}

impl ConstraintCompiler {
    /// A compiler for a tokenizer's vocabulary. A complete reply ends with
    /// `end_token`.
    ///
    /// # Errors
    /// `tokenizer_invalid` where the vocabulary cannot be walked.
    pub fn new(tokenizer: Arc<Tokenizer>, end_token: u32) -> Result<Self> {
        let words: Vec<Vec<u8>> = (0..tokenizer.n_vocab() as u32)
            .map(|id| trie_word(&tokenizer, id))
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end_token), &words);
        let env: TokEnv = Arc::new(Env { tokenizer, trie });
        // Forced tokens are asked for; the engine's own tokenisation of them is ours.
        let capabilities = InferenceCapabilities {
            ff_tokens: true,
            ..Default::default()
        };
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&env, capabilities, &slices)
            .map_err(|error| Error::new(Code::TokenizerInvalid, "vocabulary", error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Ok(Self { factory })
    }

    /// A constraint at its beginning.
    ///
    /// # Errors
    /// `constraint_invalid`, saying what is not understood or not supported;
    /// `constraint_limit` where it is too large or too deep to be worked with.
    pub fn compile(&self, spec: &ConstraintSpec) -> Result<Constraint> {
        let subject = spec.name();
        let grammar = spec.grammar()?;
        let parser = self
            .factory
            .create_parser(grammar)
            .map_err(|error| refused(subject, &error.to_string()))?;
        Ok(Constraint {
            matcher: Matcher::new(Ok(parser)),
            subject,
            position: 0,
        })
    }
}

impl ConstraintSpec {
    /// JSON that a schema accepts, written as Python's `json.dumps` does.
    pub fn json(schema: Json) -> Self {
        ConstraintSpec::JsonSchema {
            schema,
            spacing: Spacing::Dumped,
        }
    }

    /// Its name in a request.
    fn name(&self) -> &'static str {
        match self {
            ConstraintSpec::JsonSchema { .. } => "json_schema",
            ConstraintSpec::Regex(_) => "regex",
            ConstraintSpec::Choice(_) => "choice",
            ConstraintSpec::Lark(_) => "grammar",
        }
    }

    fn grammar(&self) -> Result<TopLevelGrammar> {
        let fits = |length: usize| {
            if length <= MAX_SOURCE_BYTES {
                return Ok(());
            }
            let detail = format!("{length} bytes are more than the {MAX_SOURCE_BYTES} allowed");
            Err(Error::new(Code::ConstraintLimit, self.name(), detail))
        };
        match self {
            ConstraintSpec::JsonSchema { schema, spacing } => {
                fits(schema.to_string().len())?;
                json::grammar(schema, *spacing)
            }
            ConstraintSpec::Regex(expression) => {
                fits(expression.len())?;
                Ok(TopLevelGrammar::from_regex(expression))
            }
            ConstraintSpec::Choice(choices) => {
                fits(choices.iter().map(String::len).sum())?;
                if choices.is_empty() {
                    return Err(Error::new(
                        Code::ConstraintInvalid,
                        self.name(),
                        "lists nothing to choose from",
                    ));
                }
                let quoted: Vec<String> = choices
                    .iter()
                    .map(|choice| serde_json::Value::from(choice.as_str()).to_string())
                    .collect();
                Ok(TopLevelGrammar::from_lark(format!(
                    "start: {}",
                    quoted.join(" | ")
                )))
            }
            ConstraintSpec::Lark(grammar) => {
                fits(grammar.len())?;
                Ok(TopLevelGrammar::from_lark(grammar.clone()))
            }
        }
    }
}

/// Where a reply stands in what it must look like. Copies go their own ways.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
    subject: &'static str,
    /// Tokens gone along with.
    position: usize,
}

impl Constraint {
    /// The tokens that may come next. When the text is complete, only the end.
    ///
    /// # Errors
    /// `constraint_limit` where working that out takes too much.
    pub fn mask(&mut self) -> Result<TokenMask> {
        let mask = self.matcher.compute_mask_or_eos();
        let mask = mask.map_err(|error| refused(self.subject, &error.to_string()))?;
        Ok(TokenMask::from_words(mask.as_slice().to_vec()))
    }

    /// Goes one token on.
    ///
    /// # Errors
    /// `constraint_invalid` for a token that the mask did not allow.
    pub fn commit(&mut self, token: u32) -> Result<()> {
        if self.matcher.is_stopped() {
            return Ok(()); // only the end follows, and it changes nothing
        }
        self.matcher
            .consume_token(token)
            .map_err(|error| refused(self.subject, &error.to_string()))?;
        self.position += 1;
        Ok(())
    }

    /// The tokens that must come next whatever is drawn, already gone along with.
    ///
    /// # Errors
    /// As [`Constraint::commit`].
    pub fn take_forced(&mut self) -> Result<Vec<u32>> {
        if self.matcher.is_stopped() {
            return Ok(Vec::new());
        }
        let forced = self.matcher.compute_ff_tokens();
        for &token in &forced {
            self.commit(token)?;
        }
        Ok(forced)
    }

    /// How many of `tokens`, from the first, could follow.
    pub fn count_allowed(&mut self, tokens: &[u32]) -> usize {
        self.matcher.validate_tokens(tokens).unwrap_or(0)
    }

    /// Where it stands, for [`Constraint::rollback_to`].
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes back to where it stood at `position`.
    ///
    /// # Errors
    /// `internal` where it never stood there.
    pub fn rollback_to(&mut self, position: usize) -> Result<()> {
        let back = self.position - position;
        if back > 0 {
            let done = self.matcher.rollback(back);
            done.map_err(|error| Error::new(Code::Internal, self.subject, error.to_string()))?;
        }
        self.position = position;
        Ok(())
    }

    /// Whether the text is complete and nothing more can follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }
}

/// An engine's complaint as one of ours: it ran into a limit, or it did not like what
/// it was given.
fn refused(subject: &str, complaint: &str) -> Error {
    let over = ["too many", "too large", "too big", "limit", "fuel", "stack"]
        .iter()
        .any(|word| complaint.contains(word));
    let code = if over {
        Code::ConstraintLimit
    } else {
        Code::ConstraintInvalid
    };
    Error::new(code, subject, complaint.to_string())
}

/// A token as the engine's trie has it: its bytes; control tokens behind a marker, so
/// that no text can spell them.
fn trie_word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let bytes = tokenizer.token_bytes(id);
    if !tokenizer.is_special(id) {
        return bytes.to_vec();
    }
    let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
    word.extend_from_slice(bytes);
    word
}

/// The vocabulary as the engine sees it.
struct Env {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        let plain = EncodeOptions {
            add_special: false,
            parse_special: false,
        };
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            self.tokenizer.encode(text, plain).unwrap_or_default()
        })
    }
}

#[cfg(test)]
#[path = "constraint_tests.rs"]
mod tests;
