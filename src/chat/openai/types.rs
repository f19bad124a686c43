//! What a reply is made of, under OpenAI's names. `www/lib/openai.ts` has the same.

use serde::Serialize;

use super::overflow::Dropped;
use super::speculation::{Round, SpeculationStats};

/// A piece of a streamed chat completion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChatCompletionChunk {
    /// The reply's id, the same in all its pieces.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// Who speaks.
    pub model: String,
    /// One choice's news; none in the piece that says what was used.
    pub choices: Vec<ChunkChoice>,
    /// What was used, in the last piece where it was asked for; null in the others then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
    /// What was left out of the conversation, in the first piece, where anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_overflow: Option<Dropped>,
    /// What speculation did, with the last choice's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculation: Option<SpeculationStats>,
    /// How fast it went, with the last choice's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// What the rounds behind it did, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<Round>,
}

/// One choice's news.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChunkChoice {
    /// Which choice.
    pub index: usize,
    /// What is new.
    pub delta: Delta,
    /// Of the tokens since the last piece.
    pub logprobs: Option<Logprobs>,
    /// Why it ended, in its last piece.
    pub finish_reason: Option<&'static str>,
}

/// What is new: one kind of thing at a time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Delta {
    /// `assistant`, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// Text for the reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Calls that begin, or more of their arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCallDelta>>,
    /// Calls that are malformed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_errors: Option<Vec<ToolCallError>>,
}

/// A call that begins, or more of its arguments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCallDelta {
    /// Which call of the reply.
    pub index: usize,
    /// Its id, where it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`, where it begins.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Name and arguments.
    pub function: FunctionDelta,
}

/// A call's name, where it begins, and more of its arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FunctionDelta {
    /// The tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The next characters of a JSON object's text.
    pub arguments: String,
}

/// A call that the model got wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCallError {
    /// The call among `tool_calls` that it is about; null where none had begun, and its
    /// text stands in `content`.
    pub index: Option<usize>,
    /// What is wrong, in words that the model can mend it by.
    pub message: String,
}

/// A chat completion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChatCompletion {
    /// The reply's id.
    pub id: String,
    /// `chat.completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// Who speaks.
    pub model: String,
    /// The replies.
    pub choices: Vec<Choice>,
    /// What was used.
    pub usage: Usage,
    /// What was left out of the conversation, where anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_overflow: Option<Dropped>,
    /// What speculation did, over all choices.
    pub speculation: SpeculationStats,
    /// How fast it went, over all choices.
    pub timings: Timings,
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// Which of several.
    pub index: usize,
    /// What is said.
    pub message: Message,
    /// Of its tokens, where asked for.
    pub logprobs: Option<Logprobs>,
    /// `stop`, `length` or `tool_calls`.
    pub finish_reason: &'static str,
}

/// What the model says.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Message {
    /// `assistant`.
    pub role: &'static str,
    /// Text for the reader; null where there are calls alone.
    pub content: Option<String>,
    /// Always null: nothing here refuses but the model's own words.
    pub refusal: Option<()>,
    /// Thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Calls that are malformed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_call_errors: Vec<ToolCallError>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// Its id, for the result to name.
    pub id: String,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Name and arguments.
    pub function: Function,
}

/// A call's name and arguments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Function {
    /// The tool.
    pub name: String,
    /// A JSON object's text, as the model wrote it.
    pub arguments: String,
}

/// Log-probabilities of a reply's tokens, those of thought and calls among them; the
/// token that ends it is not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Logprobs {
    /// A token each.
    pub content: Vec<TokenLogprob>,
    /// Always null.
    pub refusal: Option<()>,
}

/// A token and how likely it was, before temperature, penalties and constraints. A token
/// that a constraint left no choice about was not drawn: it has 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// Its text; U+FFFD stands for bytes that are no character by themselves.
    pub token: String,
    /// `ln p`.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The likeliest tokens here.
    pub top_logprobs: Vec<TopLogprob>,
    /// Who proposed it: `draft` or `ngram` where a guess was right, `target` where there
    /// was none, `forced` where a constraint left no choice.
    pub source: &'static str,
}

/// One of the likeliest tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// `ln p`.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How many tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt (of all prompts).
    pub prompt_tokens: usize,
    /// Tokens made, in all choices.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
    /// About the prompt.
    pub prompt_tokens_details: PromptTokensDetails,
    /// About what was made.
    pub completion_tokens_details: CompletionTokensDetails,
}

/// About the prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PromptTokensDetails {
    /// Tokens that the cache held: they were not read again.
    pub cached_tokens: usize,
}

/// About what was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CompletionTokensDetails {
    /// Drafted tokens that became text.
    pub accepted_prediction_tokens: usize,
    /// Drafted tokens that did not.
    pub rejected_prediction_tokens: usize,
}

/// How fast it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Tokens of the prompt read a second; 0 where none had to be.
    pub prefill_tokens_per_s: f64,
    /// Tokens made a second, once the prompt was read.
    pub decode_tokens_per_s: f64,
}

/// A text completion, or a piece of one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Completion {
    /// The reply's id, the same in all its pieces.
    pub id: String,
    /// `text_completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// Who speaks.
    pub model: String,
    /// The replies, or one reply's news.
    pub choices: Vec<CompletionChoice>,
    /// What was used; in pieces as in [`ChatCompletionChunk`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
    /// What speculation did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculation: Option<SpeculationStats>,
    /// How fast it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// What the rounds behind a piece did, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<Round>,
}

/// One reply, or its news.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CompletionChoice {
    /// The text.
    pub text: String,
    /// Which of several: prompt by prompt, `n` of each.
    pub index: usize,
    /// Of its tokens, where asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`.
    pub finish_reason: Option<&'static str>,
}

/// Log-probabilities in the older form: lists side by side.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CompletionLogprobs {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// `ln p` of each.
    pub token_logprobs: Vec<f32>,
    /// The likeliest tokens at each and their `ln p`; those that spell the same text
    /// count as the likeliest of them.
    pub top_logprobs: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Where each begins in the tokens' text, in characters.
    pub text_offset: Vec<usize>,
}
