//! A reply's text and tokens -> pieces of a text completion.

use super::logprobs::push_legacy;
use super::types::{CompletionChoice, CompletionLogprobs};
use crate::decode::FinishReason;
use crate::decode::made::MadeToken;
use crate::tokenizer::Tokenizer;

/// One choice in the making.
pub(super) struct TextWriter {
    index: usize,
    logprobs: Option<CompletionLogprobs>,
    offset: usize,
}

impl TextWriter {
    pub(super) fn new(index: usize, logprobs: bool) -> Self {
        Self {
            index,
            logprobs: logprobs.then(CompletionLogprobs::default),
            offset: 0,
        }
    }

    pub(super) fn text(&self, text: String) -> CompletionChoice {
        CompletionChoice {
            text,
            index: self.index,
            ..CompletionChoice::default()
        }
    }

    pub(super) fn made(
        &mut self,
        text: &str,
        tokens: &[MadeToken],
        tokenizer: &Tokenizer,
    ) -> Vec<CompletionChoice> {
        if let Some(lists) = &mut self.logprobs {
            for token in tokens {
                push_legacy(lists, token, tokenizer, &mut self.offset);
            }
        }
        if text.is_empty() {
            return Vec::new();
        }
        let mut piece = self.text(text.to_string());
        piece.logprobs = self.take_logprobs();
        vec![piece]
    }

    pub(super) fn finish(&mut self, text: &str, reason: FinishReason) -> Vec<CompletionChoice> {
        let mut piece = self.text(text.to_string());
        piece.logprobs = self.take_logprobs();
        piece.finish_reason = Some(reason.as_str());
        vec![piece]
    }

    fn take_logprobs(&mut self) -> Option<CompletionLogprobs> {
        let held = self.logprobs.as_mut()?;
        match held.tokens.is_empty() {
            true => None,
            false => Some(std::mem::take(held)),
        }
    }
}

/// Adds a piece to the choice it belongs to.
pub(super) fn fold(whole: &mut CompletionChoice, piece: &CompletionChoice) {
    whole.text += &piece.text;
    whole.finish_reason = whole.finish_reason.or(piece.finish_reason);
    if let (Some(all), Some(more)) = (&mut whole.logprobs, &piece.logprobs) {
        all.tokens.extend(more.tokens.iter().cloned());
        all.token_logprobs.extend(&more.token_logprobs);
        all.top_logprobs.extend(more.top_logprobs.iter().cloned());
        all.text_offset.extend(&more.text_offset);
    }
}
