//! Tokens and how likely they were, in OpenAI's two forms.

use serde_json::{Map, Value as Json};

use super::types::{CompletionLogprobs, TokenLogprob, TopLogprob};
use crate::decode::made::MadeToken;
use crate::tokenizer::Tokenizer;

/// What JSON can hold: a token that cannot be drawn has `-inf`.
const LOWEST: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    logprob.max(LOWEST)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn token_logprob(token: &MadeToken, tokenizer: &Tokenizer) -> TokenLogprob {
    let bytes = tokenizer.token_bytes(token.id).to_vec();
    let top = |&(id, logprob): &(u32, f32)| {
        let bytes = tokenizer.token_bytes(id).to_vec();
        TopLogprob {
            token: text_of(&bytes),
            logprob: finite(logprob),
            bytes,
        }
    };
    TokenLogprob {
        token: text_of(&bytes),
        // A forced token had no other to be weighed against.
        logprob: finite(token.logprob.unwrap_or(0.0)),
        bytes,
        top_logprobs: token.top_logprobs.iter().map(top).collect(),
        source: token.source.as_str(),
    }
}

/// Adds a token to the older form; `offset` counts characters of the text so far.
pub(super) fn push_legacy(
    lists: &mut CompletionLogprobs,
    token: &MadeToken,
    tokenizer: &Tokenizer,
    offset: &mut usize,
) {
    let token = token_logprob(token, tokenizer);
    lists.text_offset.push(*offset);
    *offset += token.token.chars().count();
    lists.token_logprobs.push(token.logprob);
    lists.tokens.push(token.token);
    let mut top = Map::new();
    for TopLogprob { token, logprob, .. } in token.top_logprobs {
        // The likeliest come first.
        top.entry(token).or_insert(Json::from(logprob));
    }
    lists.top_logprobs.push(top);
}
