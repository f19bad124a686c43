//! A session that answers requests, one at a time.

use std::cell::Cell;

use serde_json::Value as Json;

use super::about::Stats;
use super::chat_writer::{ChatFold, ChatReading, ChatWriter};
use super::plan::{self, ChatPlan, check_model};
use super::request::{ChatRequest, CompletionPrompt, CompletionRequest};
use super::speculation::{self, Round, SpeculationStats};
use super::text_writer::{TextWriter, fold};
use super::types::{
    ChatCompletion, ChatCompletionChunk, ChunkChoice, Completion, CompletionChoice,
    CompletionTokensDetails, PromptTokensDetails, Timings, Usage,
};
use crate::chat::session::{ReplyRequest, Session};
use crate::chat::template::LocalTime;
use crate::decode::made::MadeToken;
use crate::decode::statistics::Speculation;
use crate::decode::{FinishReason, Step};
use crate::error::{Code, Error, Result};
use crate::format::LocalFuture;

/// What a request cannot say and a reply depends on.
#[derive(Debug, Clone)]
pub struct Moment {
    /// A number of chance: the seed where the request has none, and the reply's id.
    pub chance: u64,
    /// Seconds since 1970.
    pub created: u64,
    /// The reader's clock, for templates that write a date.
    pub now: LocalTime,
}

/// Hears of every step, with the pieces it made (often none); answers whether to go on.
pub type OnPieces<'a, P> = &'a dyn Fn(Vec<P>) -> LocalFuture<'a, Result<bool>>;

/// A session and what it has done so far.
pub struct Service {
    pub(super) session: Session,
    pub(super) stats: Stats,
}

/// What a request's choices took together.
#[derive(Default)]
struct Totals {
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
    speculation: Speculation,
    prefill_tokens_per_s: f64,
}

impl Service {
    /// A service of `session`.
    pub fn new(session: Session) -> Self {
        Self {
            session,
            stats: Stats::default(),
        }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What was done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// `chat.completions`: the pieces as they come go to `on` (whether or not the request
    /// is for a stream), and the whole comes back. After an error the next request begins
    /// as if this one had not been.
    ///
    /// # Errors
    /// `request_invalid` naming the field; `aborted` where `on` says to stop; what
    /// template, grammar, tokenizer and models report.
    pub async fn chat(
        &mut self,
        request: &Json,
        moment: &Moment,
        on: OnPieces<'_, ChatCompletionChunk>,
    ) -> Result<ChatCompletion> {
        let request = ChatRequest::read(request)?;
        check_model(&request.common, &self.session)?;
        let plan = plan::chat(&mut self.session, &request, moment.chance, moment.now)?;
        let id = format!("chatcmpl-{:016x}", moment.chance);
        let model = self.session.target().name.clone();
        let common = &request.common;
        let streamed_usage = common.include_usage.then_some(None);
        // Told once, in the first piece.
        let dropped = Cell::new(plan.dropped.clone());
        let chunk = |choices: Vec<ChunkChoice>| ChatCompletionChunk {
            id: id.clone(),
            object: "chat.completion.chunk",
            created: moment.created,
            model: model.clone(),
            choices,
            usage: streamed_usage.clone(),
            context_overflow: dropped.take(),
            speculation: None,
            timings: None,
            round: None,
        };
        let mut totals = Totals {
            prompt_tokens: plan.prompt.len(),
            ..Totals::default()
        };
        let mut choices = Vec::with_capacity(common.n);
        for index in 0..common.n {
            let mut writer = ChatWriter::new(index, reading(&plan, &request, moment, index));
            let mut whole = ChatFold::new(common.logprobs.is_some());
            let mut write = |event: Event<'_>| {
                let pieces = match event {
                    Event::Begin => vec![writer.begin()],
                    Event::Made(text, tokens, tokenizer) => writer.made(text, tokens, tokenizer),
                    Event::End(text, reason) => writer.finish(text, reason),
                };
                pieces.iter().for_each(|piece| whole.add(piece));
                let pieces = pieces.into_iter().map(|piece| chunk(vec![piece]));
                (pieces.collect::<Vec<_>>(), writer.done())
            };
            let last = index + 1 == common.n;
            let said = Said {
                prompt: &plan.prompt,
                request: &plan.request,
                index,
                rounds: common.speculating.rounds,
            };
            let mut held = run(&mut self.session, &said, &mut write, on, &mut totals).await?;
            if let (true, Some(chunk)) = (last, held.last_mut()) {
                chunk.speculation = Some(totals.speculation());
                chunk.timings = Some(totals.timings());
            }
            go_on(on(held).await?)?;
            choices.push(whole.finish(index));
        }
        let usage = totals.usage();
        self.stats.add(&usage, &totals.speculation);
        if common.include_usage {
            let mut last = chunk(Vec::new());
            last.usage = Some(Some(usage.clone()));
            on(vec![last]).await?;
        }
        Ok(ChatCompletion {
            id,
            object: "chat.completion",
            created: moment.created,
            model,
            choices,
            usage,
            context_overflow: plan.dropped,
            speculation: totals.speculation(),
            timings: totals.timings(),
        })
    }

    /// `completions`, as [`Service::chat`].
    ///
    /// # Errors
    /// As [`Service::chat`].
    pub async fn complete(
        &mut self,
        request: &Json,
        moment: &Moment,
        on: OnPieces<'_, Completion>,
    ) -> Result<Completion> {
        let CompletionRequest {
            common,
            prompts,
            echo,
        } = CompletionRequest::read(request)?;
        check_model(&common, &self.session)?;
        let reply = ReplyRequest {
            options: plan::options(&common, moment.chance, &self.session)?,
            constraint: common.format.clone(),
        };
        let id = format!("cmpl-{:016x}", moment.chance);
        let model = self.session.target().name.clone();
        let piece = |choices: Vec<CompletionChoice>| Completion {
            id: id.clone(),
            object: "text_completion",
            created: moment.created,
            model: model.clone(),
            choices,
            usage: None,
            speculation: None,
            timings: None,
            round: None,
        };
        let chunk = |choice| Completion {
            usage: common.include_usage.then_some(None),
            ..piece(vec![choice])
        };
        let mut totals = Totals::default();
        let mut choices: Vec<CompletionChoice> = Vec::new();
        let n_choices = prompts.len() * common.n;
        for prompt in &prompts {
            let ids = self.prompt_ids(prompt)?;
            totals.prompt_tokens += ids.len();
            let echoed = match (echo, prompt) {
                (false, _) => String::new(),
                (true, CompletionPrompt::Text(text)) => text.clone(),
                (true, CompletionPrompt::Ids(ids)) => {
                    self.session.target().tokenizer.decode(ids, true)
                }
            };
            for nth in 0..common.n {
                let index = choices.len();
                let mut writer = TextWriter::new(index, common.logprobs.is_some());
                let mut whole = writer.text(String::new());
                whole.logprobs = common.logprobs.map(|_| Default::default());
                let mut write = |event: Event<'_>| {
                    let pieces = match event {
                        Event::Begin if echoed.is_empty() => Vec::new(),
                        Event::Begin => vec![writer.text(echoed.clone())],
                        Event::Made(text, tokens, tokenizer) => {
                            writer.made(text, tokens, tokenizer)
                        }
                        Event::End(text, reason) => writer.finish(text, reason),
                    };
                    pieces.iter().for_each(|piece| fold(&mut whole, piece));
                    (pieces.into_iter().map(chunk).collect::<Vec<_>>(), false)
                };
                let said = Said {
                    prompt: &ids,
                    request: &reply,
                    index: nth,
                    rounds: common.speculating.rounds,
                };
                let mut held = run(&mut self.session, &said, &mut write, on, &mut totals).await?;
                if let (true, Some(chunk)) = (index + 1 == n_choices, held.last_mut()) {
                    chunk.speculation = Some(totals.speculation());
                    chunk.timings = Some(totals.timings());
                }
                go_on(on(held).await?)?;
                choices.push(whole);
            }
        }
        let usage = totals.usage();
        self.stats.add(&usage, &totals.speculation);
        if common.include_usage {
            let mut last = piece(Vec::new());
            last.usage = Some(Some(usage.clone()));
            on(vec![last]).await?;
        }
        Ok(Completion {
            usage: Some(Some(usage)),
            speculation: Some(totals.speculation()),
            timings: Some(totals.timings()),
            ..piece(choices)
        })
    }

    fn prompt_ids(&self, prompt: &CompletionPrompt) -> Result<Vec<u32>> {
        let tokenizer = &self.session.target().tokenizer;
        match prompt {
            CompletionPrompt::Text(text) => self.session.encode_text(text, false),
            CompletionPrompt::Ids(ids) => {
                let unknown = ids.iter().find(|id| **id as usize >= tokenizer.n_vocab());
                match unknown {
                    Some(id) => Err(Error::new(
                        Code::TokenUnknown,
                        "prompt",
                        format!("there is no token {id}"),
                    )),
                    None => Ok(ids.clone()),
                }
            }
        }
    }
}

/// What happens to a reply.
enum Event<'a> {
    Begin,
    Made(&'a str, &'a [MadeToken], &'a crate::tokenizer::Tokenizer),
    End(&'a str, FinishReason),
}

/// What is to be said: the `index`-th reply to `prompt`.
struct Said<'a> {
    prompt: &'a [u32],
    request: &'a ReplyRequest,
    index: usize,
    /// Whether pieces say what the rounds behind them did.
    rounds: bool,
}

/// A piece of a stream, of either kind.
trait Piece {
    /// What the rounds behind it did.
    fn round(&mut self) -> &mut Option<Round>;
}

impl Piece for ChatCompletionChunk {
    fn round(&mut self) -> &mut Option<Round> {
        &mut self.round
    }
}

impl Piece for Completion {
    fn round(&mut self) -> &mut Option<Round> {
        &mut self.round
    }
}

/// Makes one choice. Its last pieces come back instead of going to `on`, so that they
/// can take along what is known only then.
async fn run<P: Piece>(
    session: &mut Session,
    said: &Said<'_>,
    write: &mut dyn FnMut(Event<'_>) -> (Vec<P>, bool),
    on: OnPieces<'_, P>,
    totals: &mut Totals,
) -> Result<Vec<P>> {
    let tokenizer = session.target().tokenizer.clone();
    let mut stop_ids = said.request.options.stop_ids.clone();
    stop_ids.extend(tokenizer.stop_ids());
    let mut generation = session.nth_reply(said.prompt, said.request, said.index)?;
    go_on(on(write(Event::Begin).0).await?)?;
    let mut last = Vec::new();
    let mut told = Speculation::default();
    while let Some(step) = generation.step().await? {
        let (pieces, done) = match step {
            Step::Prefilled { .. } => (Vec::new(), false),
            Step::Made { text, mut tokens } => {
                // The token that ends a reply is not part of it.
                tokens.retain(|token| !stop_ids.contains(&token.id));
                let (mut pieces, done) = write(Event::Made(&text, &tokens, &tokenizer));
                if let (true, Some(piece)) = (said.rounds, pieces.last_mut()) {
                    let now = generation.speculation();
                    *piece.round() = Some(Round::between(&told, &now, generation.last_choice()));
                    told = now;
                }
                (pieces, done)
            }
            Step::Finished { text, reason } => {
                last = write(Event::End(&text, reason)).0;
                continue;
            }
        };
        go_on(on(pieces).await?)?;
        if done {
            last = write(Event::End("", FinishReason::Stop)).0;
            break;
        }
    }
    let usage = generation.usage();
    totals.cached_tokens += match said.index {
        0 => usage.reused_tokens,
        _ => 0,
    };
    totals.completion_tokens += usage.completion_tokens;
    if totals.prefill_tokens_per_s == 0.0 {
        totals.prefill_tokens_per_s = generation.prefill_tokens_per_s();
    }
    speculation::add(&mut totals.speculation, &generation.speculation());
    let costs = generation.costs().clone();
    drop(generation);
    session.learn(costs);
    Ok(last)
}

fn go_on(answer: bool) -> Result<()> {
    match answer {
        true => Ok(()),
        false => Err(Error::new(Code::Aborted, "", "stopped")),
    }
}

fn reading(plan: &ChatPlan, request: &ChatRequest, moment: &Moment, index: usize) -> ChatReading {
    ChatReading {
        reasoning: plan.reasoning.clone(),
        tools: plan.family.map(|family| (family, plan.tools.clone())),
        parallel: request.parallel_tool_calls,
        logprobs: request.common.logprobs.is_some(),
        // Replies of one conversation must not share ids.
        first_call_id: moment.chance.wrapping_add((index as u64) << 16),
    }
}

impl Totals {
    fn usage(&self) -> Usage {
        let Speculation {
            num_draft_tokens,
            num_accepted_tokens,
            ..
        } = self.speculation;
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.prompt_tokens + self.completion_tokens,
            prompt_tokens_details: PromptTokensDetails {
                cached_tokens: self.cached_tokens,
            },
            completion_tokens_details: CompletionTokensDetails {
                accepted_prediction_tokens: num_accepted_tokens,
                rejected_prediction_tokens: num_draft_tokens.saturating_sub(num_accepted_tokens),
            },
        }
    }

    fn speculation(&self) -> SpeculationStats {
        SpeculationStats::of(&self.speculation)
    }

    fn timings(&self) -> Timings {
        let Speculation {
            num_tokens,
            decode_s,
            ..
        } = self.speculation;
        Timings {
            prefill_tokens_per_s: self.prefill_tokens_per_s,
            decode_tokens_per_s: match decode_s > 0.0 {
                true => num_tokens as f64 / decode_s,
                false => 0.0,
            },
        }
    }
}

/// For callers that want no pieces and never stop.
pub fn no_pieces<P>(_: Vec<P>) -> LocalFuture<'static, Result<bool>> {
    Box::pin(std::future::ready(Ok(true)))
}

#[cfg(test)]
#[path = "service_tests.rs"]
pub(super) mod tests;
