//! A goal, a strategy and a policy -> a run: what happens goes in, what is to be done
//! comes out, and all of it is written down.
//!
//! [`Run::handle`] takes one [`Event`] and gives [`Action`]s: ask the model, call a tool,
//! fetch exactly this, ask the person, be done. Whoever drives it (the page, a test) has an
//! engine, a network and a person; the run has none, and so can be driven over any of
//! them, replayed from its [`Transcript`] and resumed.

mod calls;
mod config;
mod event;
mod network;
#[cfg(test)]
mod tests;
mod transcript;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

pub use config::{Budget, RunConfig};
pub use event::{
    Action, Card, CardKind, Ending, Event, Outcome, PlanCard, PlannedRequest, PlannedStep,
    Response, Step,
};
pub use transcript::{Entry, Transcript};

use self::calls::OpenCall;
use super::address::Origin;
use super::policy::{Fetch, Gate, RequestCard};
use super::strategy::{self, Ask, CallResult, Goal, Happened, Next, Reply, Strategy, WrittenCall};
use super::trust::{Ledger, Source, Taint};
use crate::chat::tool_call::call_id;
use crate::error::{Code, Error, Result};

/// A run under way, or over.
pub struct Run {
    config: RunConfig,
    /// The conversation without what only the run reads.
    messages: Vec<Json>,
    strategy: Box<dyn Strategy>,
    gate: Gate,
    ledger: Ledger,
    state: State,
    entries: Vec<Entry>,
    /// The calls of this turn, by id.
    open: BTreeMap<String, OpenCall>,
    /// The same, in the order they were wanted, with what is done.
    turn: Vec<(String, Option<CallResult>)>,
    cards: BTreeMap<usize, OpenCard>,
    /// The plan that was approved, by its digest, and whether it was made clean.
    approved: Option<(String, bool)>,
    seen_calls: BTreeMap<String, usize>,
    n_cards: usize,
    n_ids: u64,
    n_steps: usize,
    n_calls: usize,
    n_mends: usize,
    n_tokens: u64,
    began_ms: f64,
    asked_ms: f64,
    now_ms: f64,
    next_step: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing happened yet.
    New,
    /// The model is asked, for this.
    Asked(&'static str),
    /// Tools are called.
    Calling,
    /// The person looks at the plan.
    Confirming,
    /// It is over.
    Done,
}

/// A question that the person has not answered.
enum OpenCard {
    Plan {
        digest: String,
    },
    Request {
        call: String,
        request: u32,
        card: Box<RequestCard>,
        fetch: Box<Fetch>,
    },
}

impl Run {
    /// A run of what `config` says; nothing happens before [`Event::Begin`].
    ///
    /// # Errors
    /// `request_invalid` naming what is wrong: an unknown strategy, a tool that says what
    /// cannot be held, a message without a role.
    pub fn new(config: RunConfig) -> Result<Self> {
        let invalid = |path: String, detail: String| Error::new(Code::RequestInvalid, path, detail);
        let Some(strategy) = strategy::find(&config.strategy) else {
            let names: Vec<&str> = strategy::STRATEGIES.iter().map(|(name, _)| *name).collect();
            return Err(invalid(
                "strategy".into(),
                format!("must be one of {}", names.join(", ")),
            ));
        };
        Self::with_strategy(config, strategy)
    }

    /// The same with a strategy of one's own.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub fn with_strategy(config: RunConfig, strategy: Box<dyn Strategy>) -> Result<Self> {
        let invalid = |path: String, detail: &str| Error::new(Code::RequestInvalid, path, detail);
        let mut loopback = Vec::new();
        for (i, text) in config.loopback.iter().enumerate() {
            let origin = Origin::loopback(text)
                .map_err(|refusal| invalid(format!("loopback[{i}]"), refusal.why()))?;
            loopback.push(origin);
        }
        for (i, tool) in config.tools.iter().enumerate() {
            tool.check(&format!("tools[{i}]"), &loopback)?;
            if config
                .tools
                .iter()
                .take(i)
                .any(|other| other.name == tool.name)
            {
                return Err(invalid(format!("tools[{i}].name"), "stands twice"));
            }
        }
        let mut ledger = Ledger::new(config.taint.clone());
        let mut messages = Vec::with_capacity(config.messages.len());
        for (i, message) in config.messages.iter().enumerate() {
            let (message, source) = config::read_message(&format!("messages[{i}]"), message)?;
            ledger.read(source, message["content"].as_str().unwrap_or_default());
            messages.push(message);
        }
        let gate = Gate::new(
            config.limits.clone(),
            config.grants.iter().cloned(),
            loopback,
        );
        let gate = match &config.page_host {
            Some(host) => gate.on_page(host),
            None => gate,
        };
        Ok(Self {
            config,
            messages,
            strategy,
            gate,
            ledger,
            state: State::New,
            entries: Vec::new(),
            open: BTreeMap::new(),
            turn: Vec::new(),
            cards: BTreeMap::new(),
            approved: None,
            seen_calls: BTreeMap::new(),
            n_cards: 0,
            n_ids: 0,
            n_steps: 0,
            n_calls: 0,
            n_mends: 0,
            n_tokens: 0,
            began_ms: 0.0,
            asked_ms: 0.0,
            now_ms: 0.0,
            next_step: 0,
        })
    }

    /// What to do about `event`, which happened at `at_ms` of the driver's clock.
    ///
    /// # Errors
    /// `request_invalid` for an event that nothing asked for; the run stands as before.
    pub fn handle(&mut self, at_ms: f64, event: Event) -> Result<Vec<Action>> {
        // A clock that runs back would give time away.
        self.now_ms = at_ms.max(self.now_ms);
        let mut out = Vec::new();
        self.take(&event, &mut out)?;
        self.entries.push(Entry {
            at_ms,
            event,
            actions: out.clone(),
        });
        Ok(out)
    }

    fn take(&mut self, event: &Event, out: &mut Vec<Action>) -> Result<()> {
        let unexpected = |what: &str| Err(Error::new(Code::RequestInvalid, "event", what));
        match event {
            Event::Begin if self.state == State::New => {
                self.began_ms = self.now_ms;
                self.drive(Happened::Begin, out);
            }
            Event::Begin => return unexpected("the run has begun already"),
            // Whoever comes late is told so, and changes nothing.
            Event::Request { call, request, .. } if self.state == State::Done => {
                out.push(Action::refuse(
                    call,
                    *request,
                    super::policy::Refusal::Ended,
                    None,
                ));
            }
            _ if self.state == State::Done => {}
            Event::Abort => self.finish(Ending::Aborted, String::new(), out),
            Event::Reply { reply } => {
                let State::Asked(purpose) = self.state else {
                    return unexpected("the model was not asked");
                };
                self.replied(purpose, reply, out)?;
            }
            Event::ReplyFailed { code, message } => {
                if !matches!(self.state, State::Asked(_)) {
                    return unexpected("the model was not asked");
                }
                self.finish(Ending::EngineFailed, format!("{code}: {message}"), out);
            }
            Event::Request {
                call,
                request,
                wanted,
            } => self.requested(call, *request, wanted, out)?,
            Event::Response {
                call,
                request,
                response,
            } => self.responded(call, *request, response, out)?,
            Event::Result { call, value } => self.result(call, Ok(value), out)?,
            Event::ResultFailed { call, message } => self.result(call, Err(message), out)?,
            Event::Answer {
                card,
                digest,
                approve,
                always,
            } => {
                self.answered(*card, digest, *approve, *always, out)?;
            }
        }
        Ok(())
    }

    /// Lets the strategy go on until it waits for something.
    fn drive(&mut self, happened: Happened, out: &mut Vec<Action>) {
        let mut happened = happened;
        loop {
            let goal = Goal {
                messages: &self.messages,
                tools: &self.config.tools,
                style: &self.config.style,
            };
            match self.strategy.advance(&goal, happened) {
                Next::Ask(ask) => return self.ask(ask, out),
                Next::Mend { what, ask } => {
                    self.step(out, |step| step.note = Some(what), "mend");
                    self.n_mends += 1;
                    if self.n_mends > self.config.budget.max_mends {
                        return self.finish(Ending::TooManyErrors, String::new(), out);
                    }
                    return self.ask(ask, out);
                }
                Next::Call(wanted) => match self.start_calls(wanted, out) {
                    Some(results) => happened = Happened::Results(results),
                    None => return,
                },
                Next::Confirm => return self.confirm(out),
                Next::Finish(answer) => return self.finish(Ending::Answered, answer, out),
                Next::Fail("declined") => return self.finish(Ending::Declined, String::new(), out),
                Next::Fail(_) => return self.finish(Ending::Internal, String::new(), out),
            }
        }
    }

    fn ask(&mut self, ask: Ask, out: &mut Vec<Action>) {
        let budget = &self.config.budget;
        let spent = match () {
            () if self.n_steps >= budget.max_steps => Some(Ending::Steps),
            () if self.n_tokens >= budget.max_tokens => Some(Ending::Tokens),
            () if self.now_ms - self.began_ms >= budget.max_time_ms => Some(Ending::Time),
            () => None,
        };
        if let Some(ending) = spent {
            return self.finish(ending, String::new(), out);
        }
        self.n_steps += 1;
        let mut request = self.config.request.clone();
        request.insert("messages".to_string(), ask.messages.into());
        for (name, value) in ask.fields {
            request.insert(name, value);
        }
        self.state = State::Asked(ask.purpose);
        self.asked_ms = self.now_ms;
        out.push(Action::Ask {
            purpose: ask.purpose.to_string(),
            request: Json::Object(request),
        });
    }

    fn replied(
        &mut self,
        purpose: &'static str,
        reply: &Json,
        out: &mut Vec<Action>,
    ) -> Result<()> {
        let message = &reply["choices"][0]["message"];
        if !message.is_object() {
            let detail = "holds no chat completion";
            return Err(Error::new(Code::RequestInvalid, "reply", detail));
        }
        let content = message["content"].as_str().unwrap_or_default().to_string();
        let mut calls = Vec::new();
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let said = call["id"]
                .as_str()
                .filter(|id| !id.is_empty())
                .map(str::to_string);
            let id = self.fresh_id(said);
            calls.push(WrittenCall {
                id,
                name: call["function"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_string(),
                arguments: call["function"]["arguments"]
                    .as_str()
                    .unwrap_or_default()
                    .to_string(),
            });
        }
        let broken = message["tool_call_errors"].as_array().into_iter().flatten();
        let broken: Vec<String> = broken
            .filter_map(|error| Some(error["message"].as_str()?.to_string()))
            .collect();
        self.n_tokens += reply["usage"]["completion_tokens"].as_u64().unwrap_or(0);
        let took_ms = self.now_ms - self.asked_ms;
        let asked = self.last_request();
        let taint = self.ledger.taint().clone();
        self.step(
            out,
            |step| {
                step.purpose = Some(purpose.to_string());
                step.prompt = asked;
                step.text = Some(content.clone());
                step.calls = message
                    .get("tool_calls")
                    .filter(|calls| !calls.is_null())
                    .cloned();
                step.took_ms = took_ms;
                step.usage = reply.get("usage").cloned();
                step.speculation = reply.get("speculation").cloned();
                step.timings = reply.get("timings").cloned();
                step.taint = taint;
            },
            "model",
        );
        self.ledger.read(Source::Model, &content);
        let over = self.now_ms - self.began_ms >= self.config.budget.max_time_ms;
        if over {
            self.finish(Ending::Time, String::new(), out);
            return Ok(());
        }
        let reply = Reply {
            content,
            calls,
            broken,
        };
        self.drive(Happened::Reply(reply), out);
        Ok(())
    }

    /// The messages that the model was last asked about.
    fn last_request(&self) -> Option<Json> {
        let actions = self
            .entries
            .iter()
            .rev()
            .flat_map(|entry| entry.actions.iter().rev());
        let mut asked = actions.filter_map(|action| match action {
            Action::Ask { request, .. } => request.get("messages").cloned(),
            _ => None,
        });
        asked.next()
    }

    /// An id that no call of the run has.
    fn fresh_id(&mut self, said: Option<String>) -> String {
        let taken = |run: &Self, id: &str| {
            run.turn.iter().any(|(other, _)| other == id)
                || run.messages.iter().any(|m| {
                    m["tool_calls"]
                        .as_array()
                        .is_some_and(|calls| calls.iter().any(|c| c["id"] == id))
                })
        };
        if let Some(id) = said.filter(|id| !taken(self, id) && id.len() <= 64) {
            return id;
        }
        loop {
            let id = call_id(self.config.chance.wrapping_add(self.n_ids));
            self.n_ids += 1;
            if !taken(self, &id) {
                return id;
            }
        }
    }

    /// Shows the plan to the person.
    fn confirm(&mut self, out: &mut Vec<Action>) {
        let Some(plan) = self.strategy.plan() else {
            return self.finish(Ending::Internal, String::new(), out);
        };
        let card = PlanCard::draw(plan, &self.config.tools);
        let digest = card.digest.clone();
        self.n_cards += 1;
        let id = self.n_cards;
        self.cards.insert(id, OpenCard::Plan { digest });
        self.state = State::Confirming;
        out.push(Action::Consent {
            card: Card {
                id,
                kind: CardKind::Plan(card),
            },
        });
    }

    fn answered(
        &mut self,
        id: usize,
        digest: &str,
        approve: bool,
        always: bool,
        out: &mut Vec<Action>,
    ) -> Result<()> {
        let Some(card) = self.cards.remove(&id) else {
            return Err(Error::new(
                Code::RequestInvalid,
                "card",
                format!("{id} is not waiting"),
            ));
        };
        match card {
            OpenCard::Plan { digest: shown } => {
                // A yes to something else is a no.
                let approved = approve && digest == shown;
                self.step(
                    out,
                    |step| {
                        step.card = Some(id);
                        step.approved = Some(approved);
                    },
                    "consent",
                );
                if approved {
                    let clean =
                        !self.ledger.taint().is_foreign() && !self.ledger.taint().is_private();
                    self.approved = Some((shown, clean));
                }
                self.drive(Happened::Confirmed(approved), out);
                Ok(())
            }
            OpenCard::Request {
                call,
                request,
                card,
                fetch,
            } => {
                let approved = approve && digest == card.digest;
                self.step(
                    out,
                    |step| {
                        step.card = Some(id);
                        step.approved = Some(approved);
                        step.call = Some(call.clone());
                        step.url = Some(card.url.clone());
                    },
                    "consent",
                );
                self.consented(&call, request, &card, *fetch, approved, always, out);
                Ok(())
            }
        }
    }

    fn finish(&mut self, ending: Ending, text: String, out: &mut Vec<Action>) {
        for (call, open) in &self.open {
            if open.is_running {
                out.push(Action::Cancel { call: call.clone() });
            }
        }
        self.open.clear();
        self.cards.clear();
        self.state = State::Done;
        let outcome = Outcome {
            ending,
            answer: (ending == Ending::Answered).then(|| text.clone()),
            detail: (ending != Ending::Answered && !text.is_empty()).then_some(text),
            n_steps: self.n_steps,
            n_calls: self.n_calls,
            n_tokens: self.n_tokens,
            took_ms: self.now_ms - self.began_ms,
            taint: self.ledger.taint().clone(),
            grants: self.gate.grants().cloned().collect(),
        };
        out.push(Action::Finish { outcome });
    }

    fn step(&mut self, out: &mut Vec<Action>, fill: impl FnOnce(&mut Step), kind: &str) {
        let mut step = Step {
            index: self.next_step,
            kind: kind.to_string(),
            at_ms: self.now_ms - self.began_ms,
            ..Step::default()
        };
        self.next_step += 1;
        fill(&mut step);
        out.push(Action::Step {
            step: Box::new(step),
        });
    }

    /// Whether it is over.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What the model has read.
    pub fn taint(&self) -> &Taint {
        self.ledger.taint()
    }

    /// Everything that happened and was done about it.
    pub fn transcript(&self) -> Transcript {
        Transcript {
            version: transcript::VERSION,
            config: self.config.clone(),
            entries: self.entries.clone(),
        }
    }

    /// Does again what a transcript says happened, and checks that the same comes of it.
    /// What the run then waits for is [`Run::pending`].
    ///
    /// # Errors
    /// `request_invalid` where the transcript is of another version, does not fit itself, or
    /// something else comes of it.
    pub fn replay(transcript: &Transcript) -> Result<Self> {
        let differs = |at: usize, what: &str| {
            Error::new(Code::RequestInvalid, format!("entries[{at}]"), what)
        };
        if transcript.version != transcript::VERSION {
            return Err(Error::new(
                Code::RequestInvalid,
                "version",
                "is not one that this engine reads",
            ));
        }
        let mut run = Self::new(transcript.config.clone())?;
        for (i, entry) in transcript.entries.iter().enumerate() {
            let actions = run.handle(entry.at_ms, entry.event.clone())?;
            if json!(actions) != json!(entry.actions) {
                return Err(differs(
                    i,
                    "another action comes of it than was written down",
                ));
            }
        }
        Ok(run)
    }

    /// What was asked for and has not been answered: what to do to go on with a run that
    /// was interrupted. Requests of tools that were running are gone with them; their calls
    /// are made again.
    pub fn pending(&self) -> Vec<Action> {
        let mut pending = Vec::new();
        let asks = matches!(self.state, State::Asked(_));
        for action in self.entries.iter().flat_map(|entry| &entry.actions) {
            match action {
                Action::Ask { .. } if asks => {
                    pending.retain(|action| !matches!(action, Action::Ask { .. }));
                    pending.push(action.clone());
                }
                Action::Call { call, .. }
                    if self.open.get(call).is_some_and(|open| open.is_running) =>
                {
                    pending.push(action.clone());
                }
                Action::Consent { card }
                    if matches!(self.cards.get(&card.id), Some(OpenCard::Plan { .. })) =>
                {
                    pending.push(action.clone());
                }
                _ => {}
            }
        }
        pending
    }

    /// What a provider of tools is told of them.
    pub fn tools(&self) -> &[super::tool::Manifest] {
        &self.config.tools
    }

    /// Fields of every request to the model.
    pub fn request_fields(&self) -> &Map<String, Json> {
        &self.config.request
    }
}
