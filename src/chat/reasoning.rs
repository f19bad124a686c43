//! A model's text -> what it thought and what it says, while it is being written.
//!
//! Families mark thinking in their own ways; [`STYLES`] lists them, [`detect`] finds the
//! one a chat template writes. Like `tool_call`, a [`ReasoningParser`] gives the same for
//! a text however it is cut into pieces.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

/// How a family marks thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// What to call it.
    pub name: &'static str,
    /// Begins thinking.
    pub open: &'static str,
    /// Ends it.
    pub close: &'static str,
}

/// The styles, the more particular first.
pub const STYLES: &[Style] = &[
    Style {
        name: "gemma",
        open: "<|channel>thought\n",
        close: "<channel|>",
    },
    Style {
        name: "mistral",
        open: "[THINK]",
        close: "[/THINK]",
    },
    Style {
        name: "command",
        open: "<|START_THINKING|>",
        close: "<|END_THINKING|>",
    },
    Style {
        name: "think",
        open: "<think>",
        close: "</think>",
    },
];

/// The style a chat template's source writes or reads; the commonest where it shows none,
/// because models imitate it.
pub fn detect(template: &str) -> Style {
    // Templates spell newlines as escapes.
    let shown =
        |style: &&Style| template.contains(style.open.trim_end()) || template.contains(style.close);
    let found = STYLES.iter().find(shown).or(STYLES.last());
    found.copied().unwrap_or(Style {
        name: "think",
        open: "<think>",
        close: "</think>",
    })
}

/// A piece of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Thought.
    Reasoning(String),
    /// Said.
    Content(String),
}

/// Splits a reply into thought and content, piece by piece.
#[derive(Debug, Clone)]
pub struct ReasoningParser {
    style: Style,
    inside: bool,
    /// What has come and is not decided.
    pending: String,
    /// White space at the end of thought: part of it only if more follows.
    spaces: String,
    /// Whether leading white space is still to be dropped.
    fresh: bool,
    /// Whether content has been given.
    said: bool,
}

impl ReasoningParser {
    /// A parser for one reply. Some templates end the prompt inside thinking already, so
    /// the prompt's end decides where the reply begins.
    pub fn new(style: Style, prompt: &str) -> Self {
        let inside = match (
            prompt.rfind(style.open.trim_end()),
            prompt.rfind(style.close),
        ) {
            (Some(open), Some(close)) => open > close,
            (open, _) => open.is_some(),
        };
        // Only when it is the prompt's last words: a past message may think too.
        let tail = prompt.trim_end();
        let inside = inside && tail.ends_with(style.open.trim_end());
        Self {
            style,
            inside,
            pending: String::new(),
            spaces: String::new(),
            fresh: inside,
            said: false,
        }
    }

    /// The next piece of the reply. What is certain by now comes back.
    pub fn push(&mut self, piece: &str) -> Vec<Piece> {
        self.pending.push_str(piece);
        let mut out = Vec::new();
        self.advance(false, &mut out);
        out
    }

    /// The reply has ended: what was held back comes out.
    pub fn finish(mut self) -> Vec<Piece> {
        let mut out = Vec::new();
        self.advance(true, &mut out);
        out
    }

    /// A whole reply: what was thought, where anything was, and what is said.
    pub fn split(style: Style, prompt: &str, reply: &str) -> (Option<String>, String) {
        let mut parser = Self::new(style, prompt);
        let mut pieces = parser.push(reply);
        pieces.extend(parser.finish());
        let (mut reasoning, mut content) = (None::<String>, String::new());
        for piece in pieces {
            match piece {
                Piece::Reasoning(text) => reasoning.get_or_insert_default().push_str(&text),
                Piece::Content(text) => content.push_str(&text),
            }
        }
        (reasoning, content)
    }

    fn advance(&mut self, last: bool, out: &mut Vec<Piece>) {
        loop {
            let tag = if self.inside {
                self.style.close
            } else {
                self.style.open
            };
            if let Some(at) = self.pending.find(tag) {
                let before: String = self.pending.drain(..at + tag.len()).collect();
                self.give(before.get(..at).unwrap_or_default(), out);
                // White space around thought is its form, unless it follows content.
                let spaces = std::mem::take(&mut self.spaces);
                if self.said && !self.inside {
                    push(out, false, spaces);
                }
                self.inside = !self.inside;
                self.fresh = true;
                continue;
            }
            let held = if last {
                0
            } else {
                held_back(&self.pending, tag)
            };
            let decided = self.pending.len() - held;
            let text: String = self.pending.drain(..decided).collect();
            self.give(&text, out);
            if last && !self.inside && !self.spaces.is_empty() {
                let spaces = std::mem::take(&mut self.spaces);
                push(out, false, spaces);
            }
            return;
        }
    }

    fn give(&mut self, text: &str, out: &mut Vec<Piece>) {
        let text = match self.fresh {
            true => text.trim_start(),
            false => text,
        };
        if text.is_empty() {
            return;
        }
        self.fresh = false;
        let kept = text.trim_end();
        let (kept, spaces) = text.split_at(kept.len());
        if !kept.is_empty() {
            let mut all = std::mem::take(&mut self.spaces);
            all.push_str(kept);
            push(out, self.inside, all);
            self.said |= !self.inside;
        }
        self.spaces.push_str(spaces);
    }
}

fn push(out: &mut Vec<Piece>, reasoning: bool, text: String) {
    if text.is_empty() {
        return;
    }
    match (out.last_mut(), reasoning) {
        (Some(Piece::Reasoning(last)), true) | (Some(Piece::Content(last)), false) => {
            last.push_str(&text);
        }
        (_, true) => out.push(Piece::Reasoning(text)),
        (_, false) => out.push(Piece::Content(text)),
    }
}

/// How many bytes at the end of `text` begin `tag` without completing it.
fn held_back(text: &str, tag: &str) -> usize {
    let from = text.len().saturating_sub(tag.len());
    let mut starts = text
        .char_indices()
        .map(|(at, _)| at)
        .filter(|at| *at >= from);
    let found = starts.find(|at| tag.starts_with(text.get(*at..).unwrap_or_default()));
    found.map_or(0, |at| text.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn think() -> Style {
        detect("{{ '<think>' }}")
    }

    fn split(prompt: &str, reply: &str) -> (Option<String>, String) {
        let whole = ReasoningParser::split(think(), prompt, reply);
        // Character by character gives the same.
        let mut parser = ReasoningParser::new(think(), prompt);
        let mut pieces = Vec::new();
        for c in reply.chars() {
            pieces.extend(parser.push(&c.to_string()));
        }
        pieces.extend(parser.finish());
        let (mut reasoning, mut content) = (None::<String>, String::new());
        for piece in pieces {
            match piece {
                Piece::Reasoning(text) => reasoning.get_or_insert_default().push_str(&text),
                Piece::Content(text) => content.push_str(&text),
            }
        }
        assert_eq!((reasoning, content), whole);
        whole
    }

    fn both(reasoning: &str, content: &str) -> (Option<String>, String) {
        (Some(reasoning.to_string()), content.to_string())
    }

    #[test]
    fn thought_is_set_apart() {
        let said = split("", "<think>\nHm, <b>.\n</think>\n\nYes. \n");
        assert_eq!(said, both("Hm, <b>.", "Yes. \n"));
        assert_eq!(
            split("", "No thought. "),
            (None, "No thought. ".to_string())
        );
        assert_eq!(
            split("", "<think>\n\n</think>\n\nYes"),
            (None, "Yes".to_string())
        );
        assert_eq!(
            split("", "<think>unfinished </thin"),
            both("unfinished </thin", "")
        );
        assert_eq!(split("", "a <think>b</think> c"), both("b", "a c"));
    }

    #[test]
    fn a_prompt_may_end_inside_thinking() {
        let prompt = "<|im_start|>assistant\n<think>\n";
        assert_eq!(split(prompt, "Hm.\n</think>\n\nYes"), both("Hm.", "Yes"));
        let closed = "<|im_start|>assistant\n<think>\n\n</think>\n\n";
        assert_eq!(split(closed, "Yes"), (None, "Yes".to_string()));
        let past = "<think>x</think> y<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(split(past, "Yes"), (None, "Yes".to_string()));
    }

    #[test]
    fn styles_are_told_by_the_template() {
        assert_eq!(detect("{{- '<|channel>thought\\n' }}").name, "gemma");
        assert_eq!(detect("[THINK]").name, "mistral");
        assert_eq!(detect("x.split('</think>')").name, "think");
        assert_eq!(detect("").name, "think");
    }
}
