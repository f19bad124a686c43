//! A model's text -> tool calls, while it is being written.
//!
//! Families of models write calls in forms of their own. Each form is one file here
//! that implements [`Family`], and one row of [`FAMILIES`]; [`detect`] finds the row by
//! what the checkpoint's chat template says. A [`ToolCallParser`] takes the text in
//! pieces of any size and gives [`Event`]s in the order of OpenAI's stream: text, a
//! call's name, its arguments bit by bit, its end. What comes out does not depend on how
//! the text was cut into pieces, except for where one fragment ends and the next begins.
//!
//! A call that is malformed is reported, with words the model can mend it by
//! ([`Event::Broken`]); it is never a panic and never ends the reply.

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod function_tags;
mod gemma;
mod generic;
mod hermes;
mod json;
mod llama;
mod mistral;
mod object;
mod pythonic;
mod reply;
#[cfg(test)]
mod tests;

pub use generic::{GENERIC, instructions};
pub use reply::{Reply, ToolCall, call_id};

use serde_json::Value as Json;

/// A way of writing tool calls.
pub trait Family: Sync {
    /// What to call it.
    fn name(&self) -> &'static str;

    /// Whether a chat template's source shows that its model writes this form.
    fn detect(&self, template: &str) -> bool;

    /// Texts that begin a call wherever they stand in a reply.
    fn openers(&self) -> &'static [&'static str];

    /// Texts that begin one only where the reply does; they are left for the
    /// [`Syntax`] to read.
    fn first_openers(&self) -> &'static [&'static str] {
        &[]
    }

    /// A reader for the calls after an opener. `tools` are the descriptions the model was
    /// given, for forms that do not say of what type a value is.
    fn syntax(&self, tools: &[Json]) -> Box<dyn Syntax>;

    /// The form as a grammar can enforce it; `None` where it is not JSON between
    /// brackets that text can spell.
    fn form(&self) -> Option<CallForm> {
        None
    }
}

/// A call's form: `open {"name": "..", "arguments": {..}} close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallForm {
    /// Begins a call, and nothing else does.
    pub open: &'static str,
    /// Ends it.
    pub close: &'static str,
}

/// Reads what follows an opener.
pub trait Syntax {
    /// Reads from the start of `input`, which is all that has come since the opener and
    /// was not consumed before; with `last`, nothing more will come.
    fn read(&mut self, input: &str, last: bool, calls: &mut Calls) -> Read;
}

/// What a [`Syntax`] did with its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// It took so many bytes and waits for more.
    More(usize),
    /// It took so many bytes, and the call or calls are complete.
    Done(usize),
    /// It was no call: the opener and everything after it is text. Only before any
    /// event was given.
    Text,
}

/// All families, in the order they are tried: the more particular first.
pub const FAMILIES: &[&dyn Family] = &[
    &gemma::Gemma,
    &mistral::Mistral,
    &function_tags::FunctionTags,
    &hermes::Hermes,
    &pythonic::Pythonic,
    &llama::Llama,
];

/// The family whose calls a model with this chat template writes; the generic form,
/// which [`instructions`] asks for, where the template knows none.
pub fn detect(template: &str) -> &'static dyn Family {
    let found = FAMILIES.iter().find(|family| family.detect(template));
    found.copied().unwrap_or(GENERIC)
}

/// Something the model said, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Text for the reader.
    Text(String),
    /// A call begins; calls are numbered from zero.
    CallStart {
        /// Which call.
        index: usize,
        /// The tool's name.
        name: String,
    },
    /// More of a call's arguments: together they are a JSON object's text.
    CallArguments {
        /// Which call.
        index: usize,
        /// The next characters.
        fragment: String,
    },
    /// A call is complete.
    CallEnd {
        /// Which call.
        index: usize,
    },
    /// A call is malformed. It may have begun: then it is to be discarded.
    Broken {
        /// Which call.
        index: usize,
        /// What is wrong, for the model to mend.
        message: String,
        /// The call as far as it was written; a long one is cut.
        raw: String,
    },
}

/// Longest excerpt of a broken call, in characters.
const MAX_RAW_CHARS: usize = 2000;

/// Where a [`Syntax`] puts what it reads.
#[derive(Debug, Default)]
pub struct Calls {
    events: Vec<Event>,
    next: usize,
    open: bool,
}

impl Calls {
    /// A call of the tool `name` begins.
    pub fn start(&mut self, name: impl Into<String>) {
        self.events.push(Event::CallStart {
            index: self.next,
            name: name.into(),
        });
        self.open = true;
    }

    /// More of the open call's arguments.
    pub fn arguments(&mut self, fragment: &str) {
        if fragment.is_empty() {
            return;
        }
        if let Some(Event::CallArguments { fragment: last, .. }) = self.events.last_mut() {
            last.push_str(fragment);
            return;
        }
        self.events.push(Event::CallArguments {
            index: self.next,
            fragment: fragment.to_string(),
        });
    }

    /// The open call is complete.
    pub fn end(&mut self) {
        self.events.push(Event::CallEnd { index: self.next });
        self.next += 1;
        self.open = false;
    }

    /// A whole call.
    pub fn whole(&mut self, name: &str, arguments: &str) {
        self.start(name);
        self.arguments(arguments);
        self.end();
    }

    /// The call at hand is malformed.
    pub fn broken(&mut self, message: impl Into<String>, raw: &str) {
        self.events.push(Event::Broken {
            index: self.next,
            message: message.into(),
            raw: raw.trim().chars().take(MAX_RAW_CHARS).collect(),
        });
        self.next += 1;
        self.open = false;
    }
}

/// Splits a reply into text and tool calls, piece by piece.
pub struct ToolCallParser {
    family: &'static dyn Family,
    tools: Vec<Json>,
    /// What has come and is not decided.
    pending: String,
    /// White space that is text only if more text follows.
    spaces: String,
    inside: Option<(Box<dyn Syntax>, &'static str)>,
    /// Whether anything but white space has come.
    begun: bool,
    /// Whether a call has ended and no text has come since.
    after_call: bool,
    calls: Calls,
}

impl ToolCallParser {
    /// A parser for one reply in the form of `family`; `tools` are what the model was
    /// offered.
    pub fn new(family: &'static dyn Family, tools: &[Json]) -> Self {
        Self {
            family,
            tools: tools.to_vec(),
            pending: String::new(),
            spaces: String::new(),
            inside: None,
            begun: false,
            after_call: false,
            calls: Calls::default(),
        }
    }

    /// The next piece of the reply. What is certain by now comes back.
    pub fn push(&mut self, piece: &str) -> Vec<Event> {
        self.pending.push_str(piece);
        while self.advance(false) {}
        std::mem::take(&mut self.calls.events)
    }

    /// The reply has ended: what was held back comes out.
    pub fn finish(mut self) -> Vec<Event> {
        while self.advance(true) {}
        let rest = std::mem::take(&mut self.pending);
        self.text(&rest);
        // White space after a call belongs to the call's form.
        if !self.after_call {
            let spaces = std::mem::take(&mut self.spaces);
            self.emit_text(spaces);
        }
        self.calls.events
    }

    /// Decides a bit more; `false` where it has to wait.
    fn advance(&mut self, last: bool) -> bool {
        match self.inside.take() {
            Some((syntax, opener)) => self.read_call(syntax, opener, last),
            None => self.read_text(last),
        }
    }

    fn read_call(&mut self, mut syntax: Box<dyn Syntax>, opener: &'static str, last: bool) -> bool {
        match syntax.read(&self.pending, last, &mut self.calls) {
            Read::More(taken) => {
                self.pending.drain(..taken);
                if last {
                    // It promised to be done with `last`: drop the rest rather than loop.
                    self.pending.clear();
                    self.after_call = true;
                } else {
                    self.inside = Some((syntax, opener));
                }
                false
            }
            Read::Done(taken) => {
                self.pending.drain(..taken);
                self.after_call = true;
                self.spaces.clear();
                !self.pending.is_empty()
            }
            Read::Text => {
                self.begun = true;
                let mut text = std::mem::take(&mut self.pending);
                text.insert_str(0, opener);
                // The opener itself is decided; what follows may hold another.
                let first = text.chars().next().map_or(0, char::len_utf8);
                let decided = opener.len().max(first);
                let rest = text.split_off(decided);
                self.text(&text);
                self.pending = rest;
                !self.pending.is_empty()
            }
        }
    }

    fn read_text(&mut self, last: bool) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        if !self.begun {
            let start = self.pending.trim_start();
            if start.is_empty() {
                return false;
            }
            let openers = self.family.first_openers();
            if openers.iter().any(|opener| start.starts_with(opener)) {
                let spaces = self.pending.len() - start.len();
                self.spaces.push_str(&self.pending[..spaces]);
                self.pending.drain(..spaces);
                self.begun = true;
                self.inside = Some((self.family.syntax(&self.tools), ""));
                return true;
            }
            if !last && openers.iter().any(|opener| opener.starts_with(start)) {
                return false;
            }
        }
        let openers = self.family.openers();
        let found = openers
            .iter()
            .filter_map(|opener| Some((self.pending.find(opener)?, *opener)))
            .min();
        if let Some((at, opener)) = found {
            let before: String = self.pending.drain(..at + opener.len()).collect();
            self.text(before.get(..at).unwrap_or_default());
            self.begun = true;
            self.inside = Some((self.family.syntax(&self.tools), opener));
            return true;
        }
        // The end may be the beginning of an opener.
        let held = match last {
            true => 0,
            false => partial_suffix(&self.pending, openers),
        };
        let decided = self.pending.len() - held;
        let text: String = self.pending.drain(..decided).collect();
        self.text(&text);
        false
    }

    /// Passes text on, holding back white space at its end.
    fn text(&mut self, text: &str) {
        let kept = text.trim_end();
        let (kept, spaces) = text.split_at(kept.len());
        if !kept.is_empty() {
            self.begun = true;
            let mut all = std::mem::take(&mut self.spaces);
            all.push_str(kept);
            self.emit_text(all);
            self.after_call = false;
        }
        self.spaces.push_str(spaces);
    }

    fn emit_text(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        if let Some(Event::Text(last)) = self.calls.events.last_mut() {
            last.push_str(&text);
        } else {
            self.calls.events.push(Event::Text(text));
        }
    }
}

/// How many bytes at the end of `text` begin one of `openers` without completing it.
fn partial_suffix(text: &str, openers: &[&str]) -> usize {
    let longest = openers.iter().map(|opener| opener.len()).max().unwrap_or(0);
    let from = text.len().saturating_sub(longest);
    let mut starts = text
        .char_indices()
        .map(|(at, _)| at)
        .filter(|at| *at >= from);
    let found = starts.find(|at| {
        let suffix = text.get(*at..).unwrap_or_default();
        openers.iter().any(|opener| opener.starts_with(suffix))
    });
    found.map_or(0, |at| text.len() - at)
}
