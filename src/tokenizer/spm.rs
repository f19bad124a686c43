//! Text -> ids by score, as SentencePiece's BPE does it.
//!
//! Start from single characters; as long as two neighbours form a piece, join the
//! pair whose piece scores highest (the leftmost of equals). What forms no piece in
//! the end is spelled in bytes. Kudo & Richardson, "SentencePiece" (arXiv
//! 1808.06226); the details (ties, unused pieces, what counts as a piece) are those
//! of github.com/google/sentencepiece, `bpe_model.cc`.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::invalid;
use crate::error::Result;

/// Pieces and their scores.
#[derive(Debug)]
pub(super) struct Spm {
    pieces: HashMap<Box<str>, u32>,
    /// Score by id; only pieces' are used.
    scores: Vec<f32>,
    /// Pieces that may be passed through, but are spelled by their parts.
    unused: Vec<bool>,
    /// The id of `<0x00>` and on.
    bytes: Vec<Option<u32>>,
    unk: Option<u32>,
    /// Bytes of the longest piece: no longer pair is looked up.
    longest: usize,
    /// Whether a space goes before text that starts or follows a special token.
    add_space_prefix: bool,
}

impl Spm {
    /// `scores` and `unused` are by id; `pieces` names the ids that text can be
    /// joined into (neither control tokens nor `<0x0A>`).
    pub fn new(
        pieces: HashMap<Box<str>, u32>,
        scores: Vec<f32>,
        unused: Vec<bool>,
        bytes: Vec<Option<u32>>,
        unk: Option<u32>,
        add_space_prefix: bool,
    ) -> Self {
        let longest = pieces.keys().map(|p| p.len()).max().unwrap_or(0);
        Self {
            pieces,
            scores,
            unused,
            bytes,
            unk,
            longest,
            add_space_prefix,
        }
    }

    /// The id of a piece.
    pub fn id_of(&self, piece: &str) -> Option<u32> {
        self.pieces.get(piece).copied()
    }

    /// Appends the ids of `text`, which holds no added tokens; `starts` if nothing or
    /// a special token is before it.
    pub fn encode(&self, text: &str, starts: bool, out: &mut Vec<u32>) -> Result<()> {
        let mut escaped = String::with_capacity(text.len() + text.len() / 4 + 3);
        if starts && self.add_space_prefix {
            escaped.push('▁');
        }
        for (i, part) in text.split(' ').enumerate() {
            if i > 0 {
                escaped.push('▁');
            }
            escaped.push_str(part);
        }
        if u32::try_from(escaped.len()).is_err() {
            return Err(invalid("text", "longer than 4 GiB"));
        }
        Merging::new(self, &escaped).run(out)
    }

    fn piece(&self, text: &str) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        self.id_of(text)
    }

    fn push_bytes(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let start = out.len();
        for byte in text.bytes() {
            match self.bytes.get(usize::from(byte)).copied().flatten() {
                Some(id) => out.push(id),
                None => {
                    // Without all of its bytes a character is unknown as a whole.
                    let unk = self.unk.ok_or_else(|| {
                        let detail = format!("neither a byte token <0x{byte:02X}> nor <unk>");
                        invalid("vocabulary", detail)
                    })?;
                    out.truncate(start);
                    out.push(unk);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A stretch of the text that is one symbol so far; empty once joined to its left.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    end: u32,
    prev: u32,
    next: u32,
}

/// No neighbour.
const NONE: u32 = u32::MAX;

/// Two neighbours that form a piece.
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    /// Bytes of both: a pair is stale once one of them has changed.
    len: u32,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

struct Merging<'a> {
    spm: &'a Spm,
    text: &'a str,
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Pair>,
    /// Where an unused piece was joined: its two parts' border, by the piece's text.
    borders: HashMap<&'a str, usize>,
}

impl<'a> Merging<'a> {
    fn new(spm: &'a Spm, text: &'a str) -> Self {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
        for (i, (start, c)) in text.char_indices().enumerate() {
            let i = i as u32;
            let end = start + c.len_utf8();
            symbols.push(Symbol {
                start: start as u32,
                end: end as u32,
                prev: i.checked_sub(1).unwrap_or(NONE),
                next: if end == text.len() { NONE } else { i + 1 },
            });
        }
        Self {
            spm,
            text,
            symbols,
            queue: BinaryHeap::new(),
            borders: HashMap::new(),
        }
    }

    fn run(mut self, out: &mut Vec<u32>) -> Result<()> {
        for right in 1..self.symbols.len() as u32 {
            self.consider(right - 1, right);
        }
        while let Some(pair) = self.queue.pop() {
            let left = self.symbols[pair.left as usize];
            let right = self.symbols[pair.right as usize];
            let stale = left.start == left.end
                || right.start == right.end
                || right.end - left.start != pair.len
                || left.next != pair.right;
            if stale {
                continue;
            }
            self.symbols[pair.left as usize] = Symbol {
                end: right.end,
                next: right.next,
                ..left
            };
            self.symbols[pair.right as usize].end = right.start;
            if let Some(after) = self.symbols.get_mut(right.next as usize) {
                after.prev = pair.left;
            }
            self.consider(left.prev, pair.left);
            self.consider(pair.left, right.next);
        }
        let mut at = if self.symbols.is_empty() { NONE } else { 0 };
        while let Some(symbol) = self.symbols.get(at as usize) {
            self.spell(&self.text[symbol.start as usize..symbol.end as usize], out)?;
            at = symbol.next;
        }
        Ok(())
    }

    fn consider(&mut self, left: u32, right: u32) {
        let (Some(l), Some(r)) = (
            self.symbols.get(left as usize),
            self.symbols.get(right as usize),
        ) else {
            return;
        };
        let text = &self.text[l.start as usize..r.end as usize];
        let Some(id) = self.spm.piece(text) else {
            return;
        };
        self.queue.push(Pair {
            score: self.spm.scores.get(id as usize).copied().unwrap_or(0.0),
            left,
            right,
            len: r.end - l.start,
        });
        if self.is_unused(id) {
            self.borders.insert(text, (l.end - l.start) as usize);
        }
    }

    fn is_unused(&self, id: u32) -> bool {
        self.spm.unused.get(id as usize).copied().unwrap_or(false)
    }

    /// Appends what a finished symbol is called: its piece, the parts of an unused
    /// piece, or its bytes.
    fn spell(&self, symbol: &'a str, out: &mut Vec<u32>) -> Result<()> {
        let mut todo = vec![symbol];
        while let Some(text) = todo.pop() {
            match (self.spm.piece(text), self.borders.get(text)) {
                (Some(id), None) => out.push(id),
                (Some(id), _) if !self.is_unused(id) => out.push(id),
                (_, Some(&border)) if border > 0 && border < text.len() => {
                    todo.push(&text[border..]);
                    todo.push(&text[..border]);
                }
                _ => self.spm.push_bytes(text, out)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    /// Pieces with scores; those that start with `-` are unused.
    fn spm(pieces: &[(&str, f32)], byte_tokens: bool, unk: Option<u32>) -> Spm {
        let mut map = HashMap::new();
        let mut unused = Vec::new();
        for (id, (piece, _)) in pieces.iter().enumerate() {
            let name = piece.strip_prefix('-').unwrap_or(piece);
            unused.push(name.len() < piece.len());
            map.insert(name.into(), id as u32);
        }
        let scores = pieces.iter().map(|p| p.1).collect();
        let bytes = (0..256).map(|b| byte_tokens.then_some(1000 + b)).collect();
        Spm::new(map, scores, unused, bytes, unk, true)
    }

    fn encode(spm: &Spm, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        spm.encode(text, false, &mut out).unwrap();
        out
    }

    #[test]
    fn the_best_score_joins_first_and_the_leftmost_of_equals() {
        let best = spm(
            &[("a", 0.), ("b", 0.), ("ab", -1.), ("ba", -2.)],
            true,
            None,
        );
        assert_eq!(encode(&best, "bab"), [1, 2]);
        let equals = spm(&[("a", 0.), ("aa", -1.)], true, None);
        assert_eq!(encode(&equals, "aaa"), [1, 0]);
        assert_eq!(encode(&equals, "aaaa"), [1, 1]);
    }

    #[test]
    fn spaces_are_escaped_and_put_in_front_once() {
        let spm = spm(&[("▁", 0.), ("a", 0.), ("▁a", -1.)], true, None);
        let mut out = Vec::new();
        spm.encode("a  a ", true, &mut out).unwrap();
        assert_eq!(out, [2, 0, 2, 0]);
        out.clear();
        spm.encode("", true, &mut out).unwrap();
        assert_eq!(out, [0], "a space before nothing, as SentencePiece has it");
    }

    #[test]
    fn what_forms_no_piece_is_spelled_in_bytes_or_unknown() {
        let pieces = [("a", 0.)];
        assert_eq!(encode(&spm(&pieces, true, None), "aé"), [0, 1195, 1169]);
        assert_eq!(encode(&spm(&pieces, false, Some(7)), "aé"), [0, 7]);
        let none = spm(&pieces, false, None);
        let error = none.encode("é", false, &mut Vec::new()).unwrap_err();
        assert_eq!(error.code(), Code::TokenizerInvalid);
    }

    #[test]
    fn an_unused_piece_is_passed_through_but_spelled_by_its_parts() {
        let pieces = [("a", 0.), ("b", 0.), ("-ab", -1.), ("abb", -2.)];
        let spm = spm(&pieces, true, None);
        assert_eq!(encode(&spm, "ab"), [0, 1]);
        assert_eq!(encode(&spm, "abb"), [3]);
        assert_eq!(encode(&spm, "abab"), [0, 1, 0, 1]);
    }

    #[test]
    fn long_runs_take_no_quadratic_time() {
        let spm = spm(&[("a", 0.), ("aa", -1.), ("aaaa", -2.)], true, None);
        let n = 1 << 17;
        assert_eq!(encode(&spm, &"a".repeat(n)).len(), n / 4);
    }
}
