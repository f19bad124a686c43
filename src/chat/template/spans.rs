//! Rendered text -> control tokens and the text between them.

use std::collections::HashMap;

use crate::chat::jinja::{Origin, Text};

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its characters.
    pub text: String,
    /// Whether it is a control token the template wrote: to be encoded as that token.
    /// Other spans are plain text, whatever they spell.
    pub trusted: bool,
}

/// Cuts `text` at the control tokens among `control` that the template wrote. Where
/// several fit, the longest does.
pub(super) fn split<'c>(text: &Text, control: impl Iterator<Item = &'c str>) -> Vec<Span> {
    let mut by_first: HashMap<u8, Vec<&str>> = HashMap::new();
    for token in control {
        if let Some(first) = token.bytes().next() {
            let tokens = by_first.entry(first).or_default();
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
    }
    for tokens in by_first.values_mut() {
        tokens.sort_by_key(|token| std::cmp::Reverse(token.len()));
    }
    let raw = text.as_str();
    let mut spans = Vec::new();
    let mut plain_from = 0;
    let mut at = 0;
    let mut push = |from: usize, to: usize, trusted: bool| {
        if let Some(piece) = raw.get(from..to).filter(|piece| !piece.is_empty()) {
            spans.push(Span {
                text: piece.to_string(),
                trusted,
            });
        }
    };
    while let Some(first) = raw.as_bytes().get(at) {
        let found = by_first.get(first).and_then(|tokens| {
            let rest = raw.as_bytes().get(at..)?;
            tokens.iter().find(|token| {
                rest.starts_with(token.as_bytes()) && written_by_template(text, at, token.len())
            })
        });
        match found {
            Some(token) => {
                push(plain_from, at, false);
                push(at, at + token.len(), true);
                at += token.len();
                plain_from = at;
            }
            None => at += 1,
        }
    }
    push(plain_from, raw.len(), false);
    spans
}

/// All characters are the template's, or a role between characters of the template.
fn written_by_template(text: &Text, at: usize, len: usize) -> bool {
    let origins: Vec<Origin> = text
        .origins(at..at + len)
        .map(|(_, origin)| origin)
        .collect();
    origins.first() == Some(&Origin::Template)
        && origins.last() == Some(&Origin::Template)
        && !origins.contains(&Origin::Data)
}
