//! Ids -> the bytes they stand for.

use super::invalid;
use crate::error::Result;

/// What is known of an id beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    /// A piece of text like any other.
    pub const TEXT: Kind = Kind(1);
    /// Left out of decoded text (`<|im_end|>`, `<unk>`), and never read from text
    /// that is not trusted.
    pub const SPECIAL: Kind = Kind(1 | 2 | 4);
    /// Shown in decoded text, but never read from text that is not trusted
    /// (`<tool_call>`): see [`super::added::is_markup`].
    pub const MARKUP: Kind = Kind(1 | 4);

    fn is_special(self) -> bool {
        self.0 & 2 != 0
    }

    fn is_control(self) -> bool {
        self.0 & 4 != 0
    }
}

/// The bytes and the kind of every id, in one allocation. An id may be a hole: a
/// row of the embedding that no text stands for.
#[derive(Debug, Default)]
pub(super) struct Vocab {
    arena: Vec<u8>,
    /// Start and end in `arena`, by id.
    spans: Vec<(u32, u32)>,
    /// 0 is a hole.
    kinds: Vec<u8>,
    /// No id from a file may reach this: what is allocated is bounded by it.
    limit: usize,
}

impl Vocab {
    /// Room for `n_entries` tokens. Ids may have holes, but not so many that a
    /// small file makes a large table.
    pub fn for_entries(n_entries: usize) -> Self {
        Self {
            arena: Vec::with_capacity(n_entries.saturating_mul(8)),
            spans: Vec::with_capacity(n_entries),
            kinds: Vec::with_capacity(n_entries),
            limit: n_entries.saturating_mul(2).saturating_add(1 << 16),
        }
    }

    /// Sets what `id` stands for; the last word wins. `write` appends the bytes.
    ///
    /// # Errors
    /// `tokenizer_invalid` about `subject` when the id is out of all proportion to
    /// the number of tokens.
    pub fn set(
        &mut self,
        id: u32,
        kind: Kind,
        subject: &str,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let index = id as usize;
        if index >= self.limit {
            let detail = format!("id {id} is far beyond the number of tokens");
            return Err(invalid(subject, detail));
        }
        if index >= self.spans.len() {
            self.spans.resize(index + 1, (0, 0));
            self.kinds.resize(index + 1, 0);
        }
        let start = self.arena.len();
        write(&mut self.arena);
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(self.arena.len())) else {
            return Err(invalid(subject, "the vocabulary is larger than 4 GiB"));
        };
        self.spans[index] = (start, end);
        self.kinds[index] = kind.0;
        Ok(())
    }

    /// One more than the highest id.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The bytes of `id`; none for a hole and for an id outside the vocabulary.
    pub fn bytes(&self, id: u32) -> &[u8] {
        match self.spans.get(id as usize) {
            Some(&(start, end)) => &self.arena[start as usize..end as usize],
            None => &[],
        }
    }

    fn kind(&self, id: u32) -> Kind {
        Kind(self.kinds.get(id as usize).copied().unwrap_or(0))
    }

    /// Whether some token has this id.
    pub fn has(&self, id: u32) -> bool {
        self.kind(id).0 != 0
    }

    /// Whether decoding leaves `id` out on request.
    pub fn is_special(&self, id: u32) -> bool {
        self.kind(id).is_special()
    }

    /// Whether `id` may come from trusted text only.
    pub fn is_control(&self, id: u32) -> bool {
        self.kind(id).is_control()
    }

    /// Makes an existing token special: a file may call it the end of text and yet
    /// list it as ordinary.
    pub fn make_special(&mut self, id: u32) {
        if let Some(kind) = self.kinds.get_mut(id as usize).filter(|k| **k != 0) {
            *kind |= Kind::SPECIAL.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn holes_have_no_bytes_and_the_last_word_wins() {
        let mut vocab = Vocab::for_entries(3);
        vocab
            .set(4, Kind::TEXT, "t", |b| b.extend(b"four"))
            .unwrap();
        vocab.set(0, Kind::TEXT, "t", |b| b.extend(b"a")).unwrap();
        vocab
            .set(4, Kind::SPECIAL, "t", |b| b.extend(b"<4>"))
            .unwrap();
        assert_eq!(vocab.len(), 5);
        assert_eq!(vocab.bytes(4), b"<4>");
        assert_eq!(vocab.bytes(3), b"");
        assert!(vocab.has(0) && !vocab.has(3) && !vocab.has(5));
        assert!(vocab.is_special(4) && vocab.is_control(4) && !vocab.is_special(0));
        vocab.make_special(3);
        assert!(!vocab.has(3), "a hole stays a hole");
    }

    #[test]
    fn an_id_out_of_all_proportion_is_refused_before_anything_is_allocated() {
        let mut vocab = Vocab::for_entries(2);
        let error = vocab
            .set(u32::MAX, Kind::TEXT, "added_tokens", |_| ())
            .unwrap_err();
        assert_eq!(error.code(), Code::TokenizerInvalid);
        assert_eq!(error.subject(), "added_tokens");
        assert_eq!(vocab.len(), 0);
    }
}
