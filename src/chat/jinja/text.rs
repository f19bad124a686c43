//! Text that remembers where each character came from.
//!
//! A prompt mixes characters the template's author wrote with characters from
//! messages, tool results and tool descriptions. Only the former may become
//! control tokens, so every string value carries the origin of its characters
//! through slicing, trimming, splitting, replacing and joining.

use std::ops::Range;
use std::sync::Arc;

/// Who wrote a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The template's own text, or a special token the checkpoint names.
    Template,
    /// A message's role, when it is one of the known ones. Templates build control
    /// tokens from it (`'<|' + message.role + '|>'`), so it may sit inside a control
    /// token but never be one.
    Role,
    /// Everything else that was passed in.
    Data,
}

/// Runs of one origin: (end byte, origin), ends ascending, the last at the
/// string's length.
#[derive(Debug, Clone)]
enum Runs {
    One(Origin),
    Many(Arc<[(u32, Origin)]>),
}

/// An immutable string with the origin of its characters. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    text: Arc<str>,
    runs: Runs,
}

impl Text {
    pub(crate) fn new(text: impl Into<Arc<str>>, origin: Origin) -> Self {
        Self {
            text: text.into(),
            runs: Runs::One(origin),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// What a copy of `bytes` of it takes: runs cost eight bytes each.
    pub(crate) fn cost(&self, bytes: usize) -> usize {
        let runs = match &self.runs {
            Runs::One(_) => 0,
            Runs::Many(runs) => runs.len().min(bytes),
        };
        bytes.saturating_add(runs.saturating_mul(8))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The origins of `range` (byte offsets), as (bytes, origin) pairs in order.
    pub(crate) fn origins(&self, range: Range<usize>) -> impl Iterator<Item = (usize, Origin)> {
        let one;
        let runs: &[(u32, Origin)] = match &self.runs {
            Runs::One(origin) => {
                one = [(self.text.len() as u32, *origin)];
                &one
            }
            Runs::Many(runs) => runs,
        };
        let first = runs.partition_point(|(end, _)| *end as usize <= range.start);
        let mut at = range.start;
        let mut found = Vec::new();
        for &(end, origin) in runs.get(first..).unwrap_or_default() {
            if at >= range.end {
                break;
            }
            let stop = (end as usize).min(range.end);
            found.push((stop - at, origin));
            at = stop;
        }
        found.into_iter()
    }

    /// The part between two byte offsets, which must be character boundaries.
    pub(crate) fn slice(&self, range: Range<usize>) -> Text {
        if range == (0..self.text.len()) {
            return self.clone();
        }
        match &self.runs {
            Runs::One(origin) => Text::new(&self.text[range], *origin),
            Runs::Many(_) => {
                let mut buf = TextBuf::default();
                buf.push_part(self, range);
                buf.finish()
            }
        }
    }

    /// A part given as a slice of `as_str()`.
    pub(crate) fn part(&self, part: &str) -> Text {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        self.slice(start..start + part.len())
    }

    /// The text `count` times over.
    pub(crate) fn repeat(&self, count: usize) -> Text {
        match &self.runs {
            Runs::One(origin) => Text::new(self.text.repeat(count), *origin),
            Runs::Many(_) => {
                let mut buf = TextBuf::default();
                for _ in 0..count {
                    buf.push_text(self);
                }
                buf.finish()
            }
        }
    }

    /// Maps characters, each result keeping its source's origin.
    pub(crate) fn map_chars<I: Iterator<Item = char>>(
        &self,
        mut map: impl FnMut(usize, char) -> I,
    ) -> Text {
        let mut buf = TextBuf::default();
        let mut at = 0;
        for (bytes, origin) in self.origins(0..self.len()) {
            for (offset, c) in self.text[at..at + bytes].char_indices() {
                for mapped in map(at + offset, c) {
                    buf.push_char(mapped, origin);
                }
            }
            at += bytes;
        }
        buf.finish()
    }
}

/// A [`Text`] being written.
#[derive(Debug, Default)]
pub(crate) struct TextBuf {
    text: String,
    runs: Vec<(u32, Origin)>,
}

impl TextBuf {
    /// What its text takes.
    pub(crate) fn cost(&self) -> usize {
        self.text.len() + 8 * self.runs.len()
    }

    fn mark(&mut self, origin: Origin) {
        let end = self.text.len() as u32;
        match self.runs.last_mut() {
            Some((last, same)) if *same == origin => *last = end,
            _ => self.runs.push((end, origin)),
        }
    }

    pub(crate) fn push(&mut self, text: &str, origin: Origin) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.mark(origin);
        }
    }

    pub(crate) fn push_char(&mut self, c: char, origin: Origin) {
        self.text.push(c);
        self.mark(origin);
    }

    pub(crate) fn push_text(&mut self, text: &Text) {
        self.push_part(text, 0..text.len());
    }

    pub(crate) fn push_part(&mut self, text: &Text, range: Range<usize>) {
        let mut at = range.start;
        for (bytes, origin) in text.origins(range) {
            self.push(&text.text[at..at + bytes], origin);
            at += bytes;
        }
    }

    pub(crate) fn finish(self) -> Text {
        let runs = match self.runs.as_slice() {
            [] => Runs::One(Origin::Template),
            [(_, origin)] => Runs::One(*origin),
            many => Runs::Many(many.into()),
        };
        Text {
            text: self.text.into(),
            runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Text {
        let mut buf = TextBuf::default();
        buf.push("<|", Origin::Template);
        buf.push("user", Origin::Role);
        buf.push("|>", Origin::Template);
        buf.push("héllo ", Origin::Data);
        buf.finish()
    }

    #[test]
    fn a_slice_keeps_the_origin_of_every_byte() {
        let text = sample();
        let part = text.slice(1..9);
        assert_eq!(part.as_str(), "|user|>h");
        let origins: Vec<_> = part.origins(0..8).collect();
        let expected = [
            (1, Origin::Template),
            (4, Origin::Role),
            (2, Origin::Template),
            (1, Origin::Data),
        ];
        assert_eq!(origins, expected);
        assert_eq!(text.slice(8..15).as_str(), "héllo ");
    }

    #[test]
    fn neighbours_of_one_origin_are_one_run() {
        let mut buf = TextBuf::default();
        buf.push("a", Origin::Data);
        buf.push("b", Origin::Data);
        let text = buf.finish();
        assert_eq!(text.origins(0..2).collect::<Vec<_>>(), [(2, Origin::Data)]);
        assert_eq!(text.origins(1..1).count(), 0);
    }
}
