//! Text -> added tokens and the text between them.
//!
//! Added tokens (`<|im_end|>`, `<tool_call>`, a run of newlines) are found in text
//! before anything else happens to it: leftmost first, longest first, as
//! `tokenizers` and `transformers` do. Those that steer a model, *control* tokens,
//! are found only where the text is trusted; anywhere else their text is ordinary.

use std::collections::HashMap;
use std::ops::Range;

use tokenizers::normalizer::Range as Slice;
use tokenizers::{NormalizedString, Token};

/// Which parts of a text may name control tokens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trust<'a> {
    /// All of it.
    All,
    /// None of it.
    Nothing,
    /// All but these byte ranges, which are in order and do not overlap.
    Except(&'a [Range<usize>]),
}

impl Trust<'_> {
    fn covers(self, range: Range<usize>) -> bool {
        match self {
            Trust::All => true,
            Trust::Nothing => false,
            Trust::Except(untrusted) => {
                let after = untrusted.partition_point(|u| u.end <= range.start);
                untrusted.get(after).is_none_or(|u| u.start >= range.end)
            }
        }
    }
}

/// One added token, with the flags that `tokenizers` gives it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AddedToken {
    pub id: u32,
    pub content: String,
    /// What to look for: `content`, or what the normaliser makes of it.
    pub pattern: String,
    /// Looked for in normalised text.
    pub normalized: bool,
    /// Not inside a word.
    pub single_word: bool,
    /// Swallows the white space before it.
    pub lstrip: bool,
    /// Swallows the white space after it.
    pub rstrip: bool,
    /// Only trusted text can name it.
    pub control: bool,
}

/// Whether a token that its file does not call special looks like markup that a chat
/// template is built of (`<tool_call>`, `<|fim_prefix|>`, `[INST]`): text that is
/// not trusted must not be able to write it either, or a tool's output could close
/// the frame it stands in.
///
/// HTML tags, which Gemma's vocabulary lists in full, frame no template and stay
/// whole.
pub(super) fn is_markup(content: &str) -> bool {
    let inner = |open, close| content.strip_prefix(open)?.strip_suffix(close);
    if content.contains("<|") || content.contains("|>") {
        return true;
    }
    if let Some(tag) = inner('<', '>').filter(|tag| !tag.is_empty()) {
        const HTML: &[&str] = &[
            "a",
            "b",
            "blockquote",
            "body",
            "br",
            "caption",
            "code",
            "div",
            "em",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "head",
            "hr",
            "html",
            "i",
            "img",
            "li",
            "ol",
            "p",
            "pre",
            "span",
            "strong",
            "sub",
            "sup",
            "table",
            "tbody",
            "td",
            "tfoot",
            "th",
            "thead",
            "tr",
            "u",
            "ul",
        ];
        let name = tag.strip_prefix('/').unwrap_or(tag);
        return !HTML.contains(&name);
    }
    inner('[', ']').is_some_and(|tag| tag.chars().any(char::is_alphabetic))
}

/// The added tokens of a vocabulary, ready to be looked for.
#[derive(Debug, Default)]
pub(super) struct AddedTokens {
    tokens: Vec<AddedToken>,
    raw: Trie,
    normalized: Trie,
    by_content: HashMap<String, u32>,
}

impl AddedTokens {
    /// Tokens without a pattern are known by name, but never found.
    pub fn new(tokens: Vec<AddedToken>) -> Self {
        let mut added = Self::default();
        for (index, token) in tokens.iter().enumerate() {
            let trie = if token.normalized {
                &mut added.normalized
            } else {
                &mut added.raw
            };
            trie.insert(&token.pattern, index as u32);
            added.by_content.insert(token.content.clone(), token.id);
        }
        added.tokens = tokens;
        added
    }

    /// The id of the added token spelled `content`.
    pub fn id_of(&self, content: &str) -> Option<u32> {
        self.by_content.get(content).copied()
    }

    /// Whether `id` is an added token.
    pub fn has(&self, id: u32) -> bool {
        self.tokens.iter().any(|token| token.id == id)
    }

    /// Lets only trusted text name `id` from now on.
    pub fn make_control(&mut self, id: u32) {
        for token in self.tokens.iter_mut().filter(|token| token.id == id) {
            token.control = true;
        }
    }

    /// Whether any token is looked for in normalised text.
    pub fn any_normalized(&self) -> bool {
        !self.normalized.is_empty()
    }

    /// Cuts `text`, which no normaliser has seen, at its added tokens: the pieces in
    /// order, each with its id if it is one.
    pub fn split_raw(&self, text: &str, trust: Trust) -> Vec<(Option<u32>, Range<usize>)> {
        self.split(&self.raw, text, |range| trust.covers(range))
    }

    /// [`AddedTokens::split_raw`] for the pieces of `tokenizers`.
    pub fn split_raw_pieces(&self, text: &NormalizedString, trust: Trust) -> Option<Pieces> {
        slices(text, self.split_raw(text.get(), trust))
    }

    /// As [`AddedTokens::split_raw_pieces`], after normalising. Trust is about the
    /// original text that a match came from.
    pub fn split_normalized_pieces(&self, text: &NormalizedString, trust: Trust) -> Option<Pieces> {
        let covers = |range: Range<usize>| match trust {
            Trust::All => true,
            trust => text
                .slice(Slice::Normalized(range))
                .is_some_and(|s| trust.covers(s.offsets_original().0..s.offsets_original().1)),
        };
        slices(text, self.split(&self.normalized, text.get(), covers))
    }

    fn split(
        &self,
        trie: &Trie,
        text: &str,
        trusted: impl Fn(Range<usize>) -> bool,
    ) -> Vec<(Option<u32>, Range<usize>)> {
        let mut pieces = Vec::new();
        let mut done = 0;
        let mut at = 0;
        while let Some(start) = trie.next_start(text, at) {
            let found = trie.longest(text, start, |index, end| {
                let token = &self.tokens[index as usize];
                (!token.control || trusted(start..end))
                    && (!token.single_word || stands_alone(text, start..end))
            });
            let Some((index, end)) = found else {
                at = start + 1;
                continue;
            };
            let token = &self.tokens[index as usize];
            let (mut from, mut to) = (start, end);
            if token.lstrip {
                from = text[..start].trim_end().len().max(done);
            }
            if token.rstrip {
                to = text.len() - text[end..].trim_start().len();
            }
            if done < from {
                pieces.push((None, done..from));
            }
            pieces.push((Some(token.id), from..to));
            (done, at) = (to, to);
        }
        if done < text.len() {
            pieces.push((None, done..text.len()));
        }
        pieces
    }
}

type Pieces = Vec<(NormalizedString, Option<Vec<Token>>)>;

fn slices(text: &NormalizedString, pieces: Vec<(Option<u32>, Range<usize>)>) -> Option<Pieces> {
    let mut out = Vec::with_capacity(pieces.len());
    for (id, range) in pieces {
        let slice = text.slice(Slice::Normalized(range))?;
        out.push((
            slice,
            id.map(|id| vec![Token::new(id, String::new(), (0, 0))]),
        ));
    }
    Some(out)
}

fn stands_alone(text: &str, range: Range<usize>) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..range.start].ends_with(word) && !text[range.end..].starts_with(word)
}

/// Patterns by their bytes.
#[derive(Debug, Default)]
struct Trie {
    /// Which bytes a pattern can start with: most positions of a text stop here.
    starts: Vec<u8>,
    /// (node, byte) -> node; the root is 0.
    next: HashMap<(u32, u8), u32>,
    /// The pattern that ends at a node.
    ends: Vec<Option<u32>>,
}

impl Trie {
    fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn insert(&mut self, pattern: &str, value: u32) {
        let Some(&first) = pattern.as_bytes().first() else {
            return;
        };
        if !self.starts.contains(&first) {
            self.starts.push(first);
        }
        if self.ends.is_empty() {
            self.ends.push(None);
        }
        let mut node = 0;
        for &byte in pattern.as_bytes() {
            let fresh = self.ends.len() as u32;
            node = *self.next.entry((node, byte)).or_insert(fresh);
            if node == fresh {
                self.ends.push(None);
            }
        }
        self.ends[node as usize] = Some(value);
    }

    /// The first position from `at` on where a pattern may start.
    fn next_start(&self, text: &str, at: usize) -> Option<usize> {
        let rest = text.as_bytes().get(at..)?;
        if let [only] = self.starts[..] {
            return rest.iter().position(|b| *b == only).map(|i| at + i);
        }
        rest.iter()
            .position(|b| self.starts.contains(b))
            .map(|i| at + i)
    }

    /// The longest pattern at `start` that `accept` takes: its value and its end.
    fn longest(
        &self,
        text: &str,
        start: usize,
        accept: impl Fn(u32, usize) -> bool,
    ) -> Option<(u32, usize)> {
        let mut found = None;
        let mut node = 0;
        for (i, &byte) in text.as_bytes()[start..].iter().enumerate() {
            let Some(&next) = self.next.get(&(node, byte)) else {
                break;
            };
            node = next;
            if let Some(value) = self.ends[node as usize]
                && accept(value, start + i + 1)
            {
                found = Some((value, start + i + 1));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str) -> AddedToken {
        AddedToken {
            id,
            content: content.to_string(),
            pattern: content.to_string(),
            control: is_markup(content),
            ..AddedToken::default()
        }
    }

    fn ids(added: &AddedTokens, text: &str, trust: Trust) -> Vec<(Option<u32>, String)> {
        let pieces = added.split_raw(text, trust).into_iter();
        pieces
            .map(|(id, range)| (id, text[range].to_string()))
            .collect()
    }

    #[test]
    fn markup_is_what_templates_are_built_of() {
        for yes in [
            "<tool_call>",
            "</tool_response>",
            "<|fim_prefix|>",
            "[INST]",
            "[/AVAILABLE_TOOLS]",
            "<｜tool▁sep｜>",
            "<think>",
            "<|tool>",
            "<unused7>",
        ] {
            assert!(is_markup(yes), "{yes}");
        }
        for no in [
            "\n\n", "   ", "<h1>", "</table>", "[]", "[1]", "<>", "a<b>", "word",
        ] {
            assert!(!is_markup(no), "{no}");
        }
    }

    #[test]
    fn the_longest_of_the_leftmost_is_found() {
        let added = AddedTokens::new(vec![token(1, "\n"), token(2, "\n\n\n"), token(3, "é\n")]);
        let found = ids(&added, "aé\n\n\n\n\nb", Trust::Nothing);
        let text = |s: &str| (None, s.to_string());
        let hit = |id, s: &str| (Some(id), s.to_string());
        assert_eq!(
            found,
            [
                text("a"),
                hit(3, "é\n"),
                hit(2, "\n\n\n"),
                hit(1, "\n"),
                text("b")
            ]
        );
    }

    #[test]
    fn a_control_token_needs_every_byte_of_it_to_be_trusted() {
        let added = AddedTokens::new(vec![token(7, "<|im_end|>"), token(8, "  ")]);
        let text = "a<|im_end|>  <|im_end|>";
        let found = |trust| -> Vec<u32> {
            let pieces = added.split_raw(text, trust);
            pieces.into_iter().filter_map(|(id, _)| id).collect()
        };
        assert_eq!(found(Trust::All), [7, 8, 7]);
        assert_eq!(found(Trust::Nothing), [8]);
        let one_byte = std::slice::from_ref(&(5..6));
        assert_eq!(found(Trust::Except(one_byte)), [8, 7]);
        let around = [0..1, 11..13];
        assert_eq!(found(Trust::Except(&around)), [7, 8, 7]);
        let last = [0..1, 22..23];
        assert_eq!(found(Trust::Except(&last)), [7, 8]);
    }

    #[test]
    fn flags_strip_and_guard_words() {
        let mut mask = token(1, "<mask>");
        (mask.lstrip, mask.rstrip) = (true, true);
        let mut word = token(2, "cat");
        word.single_word = true;
        let added = AddedTokens::new(vec![mask, word]);
        let found = ids(&added, "concat cat \u{a0}<mask> \n<mask>x", Trust::All);
        let got: Vec<_> = found.iter().map(|(id, s)| (*id, s.as_str())).collect();
        assert_eq!(
            got,
            [
                (None, "concat "),
                (Some(2), "cat"),
                (Some(1), " \u{a0}<mask> \n"),
                (Some(1), "<mask>"),
                (None, "x")
            ]
        );
    }
}
