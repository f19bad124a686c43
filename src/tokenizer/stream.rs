//! Ids, one at a time -> text that never ends inside a character.

use super::Tokenizer;

/// Turns ids into text as they come. What [`Detokenizer::push`] and
/// [`Detokenizer::finish`] return, put together, is what [`Tokenizer::decode`] makes
/// of the same ids.
///
/// A token may end inside a character: its last bytes wait for the next token.
/// Bytes that cannot become UTF-8 any more are replaced by U+FFFD, one for each
/// maximal invalid sequence, as [`String::from_utf8_lossy`] does.
#[derive(Debug, Clone)]
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// Bytes that are not yet a whole character: at most three.
    pending: Vec<u8>,
    /// How often the start of the text may still lose its leading character.
    strip: usize,
    first: bool,
}

impl<'a> Detokenizer<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, skip_special: bool, continuing: bool) -> Self {
        let strip = tokenizer.spelling.strip.map_or(0, |(_, n)| n);
        Self {
            tokenizer,
            skip_special,
            pending: Vec::new(),
            strip: if continuing { 0 } else { strip },
            first: !continuing,
        }
    }

    /// The text that `id` completes: empty for a token that is left out (special,
    /// where they are skipped), that ends inside a character, or that has no text (an
    /// id outside the vocabulary, as padded logits can name).
    pub fn push(&mut self, id: u32) -> String {
        let mut out = String::new();
        self.push_into(id, &mut out);
        out
    }

    /// As [`Detokenizer::push`], appending to `out`.
    pub fn push_into(&mut self, id: u32, out: &mut String) {
        let vocab = &self.tokenizer.vocab;
        if !vocab.has(id) || self.skip_special && vocab.is_special(id) {
            return;
        }
        if !std::mem::replace(&mut self.first, false) {
            let separator = self.tokenizer.spelling.separator;
            self.pending.extend_from_slice(separator.as_bytes());
        }
        self.pending.extend_from_slice(vocab.bytes(id));
        let start = out.len();
        let kept = push_whole_characters(&self.pending, out);
        self.pending.drain(..self.pending.len() - kept);
        self.strip_start(out, start);
    }

    /// What is left at the end: U+FFFD where the last character is incomplete.
    pub fn finish(self) -> String {
        if self.pending.is_empty() {
            String::new()
        } else {
            char::REPLACEMENT_CHARACTER.to_string()
        }
    }

    fn strip_start(&mut self, out: &mut String, start: usize) {
        let Some((leading, _)) = self.tokenizer.spelling.strip else {
            return;
        };
        while self.strip > 0 && out.len() > start {
            if out[start..].starts_with(leading) {
                out.replace_range(start..start + leading.len_utf8(), "");
                self.strip -= 1;
            } else {
                self.strip = 0;
            }
        }
    }
}

/// Appends the characters of `bytes` to `out`, U+FFFD for what is invalid, and
/// returns how many bytes at the end are a character that is not complete.
fn push_whole_characters(bytes: &[u8], out: &mut String) -> usize {
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                out.push_str(text);
                return 0;
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                out.push_str(std::str::from_utf8(valid).unwrap_or_default());
                let Some(invalid) = error.error_len() else {
                    return after.len();
                };
                out.push(char::REPLACEMENT_CHARACTER);
                rest = &after[invalid..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_any_portions_become_what_lossy_makes_of_them_whole() {
        let samples: [&[u8]; 6] = [
            "plain, é, 語, 🦙".as_bytes(),
            b"\xF0\x9F\xA6",
            b"\xF0\x9F\xA6x\xF0\x9F\xA6\x99",
            b"\xFF\xFEa\xC3",
            b"\xE2\x82\xE2\x82\xAC\x80\x80",
            b"\xED\xA0\x80\xF4\x90\x80\x80",
        ];
        for sample in samples {
            for portion in 1..=4 {
                let (mut text, mut pending) = (String::new(), Vec::new());
                for bytes in sample.chunks(portion) {
                    pending.extend_from_slice(bytes);
                    let kept = push_whole_characters(&pending, &mut text);
                    pending.drain(..pending.len() - kept);
                    assert!(pending.len() < 4);
                }
                if !pending.is_empty() {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
                assert_eq!(text, String::from_utf8_lossy(sample), "{sample:x?}");
            }
        }
    }
}
