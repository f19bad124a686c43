//! A token as a file spells it -> the bytes it stands for.
//!
//! Vocabularies are text, but tokens are bytes. Three spellings are in use: GPT-2's
//! byte alphabet (one printable character per byte), SentencePiece's `▁` for a space
//! with `<0xE2>` for a byte that no piece covers, and plain text. A `tokenizer.json`
//! says which as a chain of decoders; [`Spelling`] is that chain, reduced to what
//! can be done to one token at a time, so that text can be streamed.

use std::sync::LazyLock;

use serde_json::Value;

use super::{invalid, unsupported};
use crate::error::Result;

/// GPT-2's byte alphabet, backwards: `byte + 1` by character, 0 for no such
/// character (github.com/openai/gpt-2, `bytes_to_unicode`). Printable Latin-1
/// characters stand for themselves, the other 68 bytes for U+0100 and on, in order.
static BYTE_OF_CHAR: LazyLock<[u16; 324]> = LazyLock::new(|| {
    let mut table = [0; 324];
    let mut next = 256;
    for byte in 0..256usize {
        let itself = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let index = if itself { byte } else { next };
        next += usize::from(!itself);
        table[index] = byte as u16 + 1;
    }
    table
});

/// Appends the bytes that `text` spells in GPT-2's alphabet, or `text` itself where
/// a character is not of that alphabet (as the decoder of `tokenizers` does).
fn push_byte_level(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for c in text.chars() {
        match BYTE_OF_CHAR.get(c as usize) {
            Some(&plus_one) if plus_one > 0 => out.push((plus_one - 1) as u8),
            _ => {
                out.truncate(start);
                out.extend_from_slice(text.as_bytes());
                return;
            }
        }
    }
}

/// The byte that `<0xE2>` stands for.
pub(super) fn byte_fallback(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let hex = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u8::from_str_radix(digits, 16).ok())?
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Replace(String, String),
    ByteFallback,
    ByteLevel,
}

/// How a vocabulary spells its tokens, and what happens between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Spelling {
    steps: Vec<Step>,
    /// A character that the start of a text loses, at most so many times.
    pub strip: Option<(char, usize)>,
    /// What stands between two tokens.
    pub separator: &'static str,
}

impl Spelling {
    /// GPT-2's byte alphabet.
    pub fn byte_level() -> Self {
        Self {
            steps: vec![Step::ByteLevel],
            ..Self::default()
        }
    }

    /// SentencePiece: `▁` is a space, and a text loses the space that encoding put
    /// in front of it (`strip`).
    pub fn sentencepiece(strip: bool) -> Self {
        Self {
            steps: vec![
                Step::Replace("▁".to_string(), " ".to_string()),
                Step::ByteFallback,
            ],
            strip: strip.then_some((' ', 1)),
            separator: "",
        }
    }

    /// Reads the `decoder` of a `tokenizer.json`.
    ///
    /// # Errors
    /// `tokenizer_unsupported` for a decoder that needs more than one token at a
    /// time (`WordPiece`, `CTC`, ..): text could not be streamed.
    pub fn from_decoder(decoder: &Value) -> Result<Self> {
        let mut spelling = Self::default();
        if decoder.is_null() {
            // Without a decoder `tokenizers` joins with spaces.
            spelling.separator = " ";
            return Ok(spelling);
        }
        let mut fused = false;
        spelling.read(decoder, &mut fused, 0)?;
        Ok(spelling)
    }

    fn read(&mut self, decoder: &Value, fused: &mut bool, depth: usize) -> Result<()> {
        const SUBJECT: &str = "tokenizer.json: decoder";
        let kind = decoder["type"].as_str().unwrap_or("without a type");
        match kind {
            "Sequence" => {
                let decoders = decoder["decoders"].as_array();
                let decoders = decoders.ok_or_else(|| invalid(SUBJECT, "has no `decoders`"))?;
                if depth > 8 || decoders.len() > 32 {
                    return Err(invalid(SUBJECT, "is nested too deep or too long"));
                }
                for inner in decoders {
                    self.read(inner, fused, depth + 1)?;
                }
            }
            "ByteLevel" => self.steps.push(Step::ByteLevel),
            "ByteFallback" => self.steps.push(Step::ByteFallback),
            "Fuse" => *fused = true,
            "Replace" => {
                let pattern = decoder["pattern"]["String"].as_str();
                let content = decoder["content"].as_str();
                let (Some(pattern), Some(content)) = (pattern, content) else {
                    let detail = "only Replace of a string is supported";
                    return Err(unsupported(SUBJECT, detail));
                };
                // After Fuse a longer pattern could span two tokens.
                if pattern.is_empty() || content.len() > 64 || *fused && pattern.chars().count() > 1
                {
                    let detail = format!("cannot replace {pattern:?} one token at a time");
                    return Err(unsupported(SUBJECT, detail));
                }
                self.steps
                    .push(Step::Replace(pattern.to_string(), content.to_string()));
            }
            "Metaspace" => {
                let from = decoder["replacement"].as_str().unwrap_or("▁");
                let scheme = decoder["prepend_scheme"].as_str().unwrap_or("always");
                let prefix = decoder["add_prefix_space"].as_bool().unwrap_or(true);
                if from.chars().count() != 1 {
                    return Err(invalid(SUBJECT, "`replacement` is not one character"));
                }
                self.steps
                    .push(Step::Replace(from.to_string(), " ".to_string()));
                if prefix && scheme != "never" {
                    self.strip = Some((' ', 1));
                }
            }
            "Strip" => {
                let mut content = decoder["content"].as_str().unwrap_or_default().chars();
                let start = decoder["start"].as_u64().unwrap_or(0);
                let stop = decoder["stop"].as_u64().unwrap_or(0);
                let (Some(content), None) = (content.next(), content.next()) else {
                    return Err(invalid(SUBJECT, "`content` is not one character"));
                };
                if stop > 0 || start > 0 && !*fused {
                    let detail = "Strip is supported at the start of a fused text only";
                    return Err(unsupported(SUBJECT, detail));
                }
                if start > 0 {
                    self.strip = Some((content, start as usize));
                }
            }
            other => {
                let detail = format!("decoder {other} cannot be streamed");
                return Err(unsupported(SUBJECT, detail));
            }
        }
        Ok(())
    }

    /// Appends the bytes that the token spelled `text` stands for.
    pub fn push_bytes(&self, text: &str, out: &mut Vec<u8>) {
        let mut owned;
        let mut text = text;
        for step in &self.steps {
            match step {
                Step::Replace(from, to) => {
                    if text.contains(from.as_str()) {
                        owned = text.replace(from.as_str(), to);
                        text = &owned;
                    }
                }
                Step::ByteFallback => {
                    if let Some(byte) = byte_fallback(text) {
                        out.push(byte);
                        return;
                    }
                }
                Step::ByteLevel => {
                    push_byte_level(text, out);
                    return;
                }
            }
        }
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use serde_json::json;

    fn bytes(spelling: &Spelling, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        spelling.push_bytes(text, &mut out);
        out
    }

    #[test]
    fn the_byte_alphabet_is_gpt2s() {
        // Every byte once, printable ones as themselves.
        let mut seen = [false; 256];
        for plus_one in BYTE_OF_CHAR.iter().filter(|b| **b > 0) {
            assert!(!std::mem::replace(&mut seen[*plus_one as usize - 1], true));
        }
        assert!(seen.iter().all(|s| *s));
        let byte_level = Spelling::byte_level();
        assert_eq!(bytes(&byte_level, "Ġhello"), b" hello");
        assert_eq!(bytes(&byte_level, "Ċ"), b"\n");
        assert_eq!(bytes(&byte_level, "ðŁĺ"), [0xF0, 0x9F, 0x98]);
        // Not of the alphabet: as it stands.
        assert_eq!(bytes(&byte_level, "<｜end▁"), "<｜end▁".as_bytes());
        assert_eq!(bytes(&byte_level, "a b"), b"a b");
    }

    #[test]
    fn sentencepiece_spells_spaces_and_bytes() {
        let spelling = Spelling::sentencepiece(true);
        assert_eq!(bytes(&spelling, "▁the▁"), b" the ");
        assert_eq!(bytes(&spelling, "<0xE2>"), [0xE2]);
        assert_eq!(bytes(&spelling, "<0xZZ>"), b"<0xZZ>");
        assert_eq!(bytes(&spelling, "<0x+1>"), b"<0x+1>");
    }

    #[test]
    fn a_decoder_chain_is_reduced_or_refused() {
        let llama = json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
        assert_eq!(
            Spelling::from_decoder(&llama).unwrap(),
            Spelling::sentencepiece(true)
        );
        for (decoder, code) in [
            (json!({"type": "WordPiece"}), Code::TokenizerUnsupported),
            (json!({"type": "Sequence"}), Code::TokenizerInvalid),
            (
                json!({"type": "Metaspace", "replacement": "ab"}),
                Code::TokenizerInvalid,
            ),
            (
                json!({"type": "Strip", "content": " ", "start": 0, "stop": 1}),
                Code::TokenizerUnsupported,
            ),
            (
                json!({"type": "Replace", "pattern": {"Regex": "a"}, "content": "b"}),
                Code::TokenizerUnsupported,
            ),
            (json!(7), Code::TokenizerUnsupported),
        ] {
            let error = Spelling::from_decoder(&decoder).unwrap_err();
            assert_eq!(error.code(), code, "{decoder}");
            assert!(error.subject().contains("decoder"));
        }
    }
}
