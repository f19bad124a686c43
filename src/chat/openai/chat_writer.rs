//! A reply's text and tokens -> pieces of a chat completion: one state machine for
//! streams and for whole replies, which are their pieces put together.

use serde_json::Value as Json;

use super::logprobs::token_logprob;
use super::types::{
    Choice, ChunkChoice, Delta, Function, FunctionDelta, Logprobs, Message, ToolCall,
    ToolCallDelta, ToolCallError,
};
use crate::chat::reasoning::{Piece, ReasoningParser};
use crate::chat::tool_call::{Event, Family, ToolCallParser, call_id};
use crate::decode::FinishReason;
use crate::decode::made::MadeToken;
use crate::tokenizer::Tokenizer;

/// How a reply is to be read.
pub(super) struct ChatReading {
    /// Sets thought apart; `None` where the reply cannot hold any.
    pub(super) reasoning: Option<ReasoningParser>,
    /// How calls look, and what may be called; `None` where nothing may.
    pub(super) tools: Option<(&'static dyn Family, Vec<Json>)>,
    /// Whether the reply goes on after a call.
    pub(super) parallel: bool,
    /// Whether log-probabilities are wanted.
    pub(super) logprobs: bool,
    /// Where the ids of calls begin.
    pub(super) first_call_id: u64,
}

/// One choice in the making.
pub(super) struct ChatWriter {
    index: usize,
    reasoning: Option<ReasoningParser>,
    tools: Option<ToolCallParser>,
    parallel: bool,
    /// Log-probabilities that no piece has taken along yet.
    logprobs: Option<Logprobs>,
    next_call_id: u64,
    n_calls: usize,
    /// Whether a call has begun and not ended.
    open: bool,
    done: bool,
}

impl ChatWriter {
    pub(super) fn new(index: usize, reading: ChatReading) -> Self {
        let ChatReading {
            reasoning,
            tools,
            parallel,
            logprobs,
            first_call_id,
        } = reading;
        Self {
            index,
            reasoning,
            tools: tools.map(|(family, tools)| ToolCallParser::new(family, &tools)),
            parallel,
            logprobs: logprobs.then(Logprobs::default),
            next_call_id: first_call_id,
            n_calls: 0,
            open: false,
            done: false,
        }
    }

    /// The first piece: who speaks.
    pub(super) fn begin(&self) -> ChunkChoice {
        let delta = Delta {
            role: Some("assistant"),
            content: Some(String::new()),
            ..Delta::default()
        };
        self.piece(delta)
    }

    /// Whether nothing more is wanted of the model: it made its one call.
    pub(super) fn done(&self) -> bool {
        self.done
    }

    /// More text, and the tokens it is made of.
    pub(super) fn made(
        &mut self,
        text: &str,
        tokens: &[MadeToken],
        tokenizer: &Tokenizer,
    ) -> Vec<ChunkChoice> {
        if let Some(logprobs) = &mut self.logprobs {
            let tokens = tokens.iter().map(|token| token_logprob(token, tokenizer));
            logprobs.content.extend(tokens);
        }
        let mut deltas = Vec::new();
        match &mut self.reasoning {
            Some(parser) => {
                for piece in parser.push(text) {
                    self.said(piece, &mut deltas);
                }
            }
            None => self.said(Piece::Content(text.to_string()), &mut deltas),
        }
        self.pieces(deltas)
    }

    /// The end: what was held back, and why it ended.
    pub(super) fn finish(&mut self, text: &str, reason: FinishReason) -> Vec<ChunkChoice> {
        let mut deltas = Vec::new();
        match self.reasoning.take() {
            Some(mut parser) => {
                let mut pieces = parser.push(text);
                pieces.extend(parser.finish());
                for piece in pieces {
                    self.said(piece, &mut deltas);
                }
            }
            None => self.said(Piece::Content(text.to_string()), &mut deltas),
        }
        if let Some(parser) = self.tools.take() {
            for event in parser.finish() {
                self.happened(event, &mut deltas);
            }
        }
        let mut pieces = self.pieces(deltas);
        let mut last = self.piece(Delta::default());
        last.logprobs = self.take_logprobs();
        last.finish_reason = Some(match reason {
            FinishReason::Stop if self.n_calls > 0 => "tool_calls",
            reason => reason.as_str(),
        });
        pieces.push(last);
        pieces
    }

    fn said(&mut self, piece: Piece, deltas: &mut Vec<Delta>) {
        match (piece, &mut self.tools) {
            (Piece::Reasoning(text), _) => push_text(deltas, true, text),
            (Piece::Content(text), None) => push_text(deltas, false, text),
            (Piece::Content(text), Some(parser)) => {
                for event in parser.push(&text) {
                    self.happened(event, deltas);
                }
            }
        }
    }

    fn happened(&mut self, event: Event, deltas: &mut Vec<Delta>) {
        if self.done {
            return; // what follows a single call
        }
        match event {
            Event::Text(text) => push_text(deltas, false, text),
            Event::CallStart { name, .. } => {
                let call = ToolCallDelta {
                    index: self.n_calls,
                    id: Some(call_id(self.next_call_id)),
                    kind: Some("function"),
                    function: FunctionDelta {
                        name: Some(name),
                        arguments: String::new(),
                    },
                };
                self.next_call_id = self.next_call_id.wrapping_add(1);
                self.n_calls += 1;
                self.open = true;
                push_call(deltas, call);
            }
            Event::CallArguments { fragment, .. } => push_call(
                deltas,
                ToolCallDelta {
                    index: self.n_calls.saturating_sub(1),
                    id: None,
                    kind: None,
                    function: FunctionDelta {
                        name: None,
                        arguments: fragment,
                    },
                },
            ),
            Event::CallEnd { .. } => {
                self.open = false;
                self.done = !self.parallel;
            }
            Event::Broken { message, raw, .. } => {
                let begun = std::mem::take(&mut self.open);
                let index = begun.then(|| self.n_calls.saturating_sub(1));
                if !begun {
                    push_text(deltas, false, raw);
                }
                deltas.push(Delta {
                    tool_call_errors: Some(vec![ToolCallError { index, message }]),
                    ..Delta::default()
                });
            }
        }
    }

    fn pieces(&mut self, deltas: Vec<Delta>) -> Vec<ChunkChoice> {
        let mut pieces: Vec<ChunkChoice> =
            deltas.into_iter().map(|delta| self.piece(delta)).collect();
        if let Some(first) = pieces.first_mut() {
            first.logprobs = self.take_logprobs();
        }
        pieces
    }

    fn take_logprobs(&mut self) -> Option<Logprobs> {
        let held = self.logprobs.as_mut()?;
        match held.content.is_empty() {
            true => None,
            false => Some(std::mem::take(held)),
        }
    }

    fn piece(&self, delta: Delta) -> ChunkChoice {
        ChunkChoice {
            index: self.index,
            delta,
            logprobs: None,
            finish_reason: None,
        }
    }
}

fn push_text(deltas: &mut Vec<Delta>, thought: bool, text: String) {
    if text.is_empty() {
        return;
    }
    let part = |delta: &mut Delta| match thought {
        true => delta.reasoning_content.take(),
        false => delta.content.take(),
    };
    let last = deltas.last_mut().and_then(part);
    if last.is_some() {
        deltas.pop();
    }
    let text = Some(last.unwrap_or_default() + &text);
    deltas.push(match thought {
        true => Delta {
            reasoning_content: text,
            ..Delta::default()
        },
        false => Delta {
            content: text,
            ..Delta::default()
        },
    });
}

fn push_call(deltas: &mut Vec<Delta>, call: ToolCallDelta) {
    deltas.push(Delta {
        tool_calls: Some(vec![call]),
        ..Delta::default()
    });
}

/// A choice put together from its pieces.
#[derive(Debug, Default)]
pub(super) struct ChatFold {
    message: Message,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

impl ChatFold {
    pub(super) fn new(logprobs: bool) -> Self {
        Self {
            message: Message {
                role: "assistant",
                ..Message::default()
            },
            logprobs: logprobs.then(Logprobs::default),
            finish_reason: None,
        }
    }

    pub(super) fn add(&mut self, piece: &ChunkChoice) {
        let message = &mut self.message;
        let delta = &piece.delta;
        if let Some(text) = &delta.content {
            message.content.get_or_insert_default().push_str(text);
        }
        if let Some(text) = &delta.reasoning_content {
            let reasoning = message.reasoning_content.get_or_insert_default();
            reasoning.push_str(text);
        }
        for call in delta.tool_calls.iter().flatten() {
            if let Some(name) = &call.function.name {
                message.tool_calls.push(ToolCall {
                    id: call.id.clone().unwrap_or_default(),
                    kind: "function",
                    function: Function {
                        name: name.clone(),
                        arguments: String::new(),
                    },
                });
            }
            if let Some(known) = message.tool_calls.get_mut(call.index) {
                known.function.arguments += &call.function.arguments;
            }
        }
        let errors = delta.tool_call_errors.iter().flatten();
        message.tool_call_errors.extend(errors.cloned());
        if let (Some(all), Some(more)) = (&mut self.logprobs, &piece.logprobs) {
            all.content.extend(more.content.iter().cloned());
        }
        self.finish_reason = self.finish_reason.or(piece.finish_reason);
    }

    pub(super) fn finish(mut self, index: usize) -> Choice {
        let is_empty = self.message.content.as_deref().is_none_or(str::is_empty);
        if is_empty && !self.message.tool_calls.is_empty() {
            self.message.content = None;
        }
        Choice {
            index,
            message: self.message,
            logprobs: self.logprobs,
            finish_reason: self.finish_reason.unwrap_or("stop"),
        }
    }
}

#[cfg(test)]
#[path = "chat_writer_tests.rs"]
mod tests;
