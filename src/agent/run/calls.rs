//! Calls: from what a model wrote to what a tool is given, and back.

use serde_json::{Map, Value as Json};

use super::event::{evidence_source, key};
use super::{Action, Ending, Happened, Run, State};
use crate::agent::policy::{Argument, ArgumentShown, CallContext};
use crate::agent::strategy::{CallResult, WantedCall};
use crate::agent::tool::{Manifest, ResultKind};
use crate::agent::trust::{Source, Taint, clean, fence, html_to_text, shown};
use crate::error::{Code, Error, Result};

/// A call under way.
pub(super) struct OpenCall {
    pub(super) wanted: WantedCall,
    pub(super) tool: usize,
    pub(super) context: CallContext,
    pub(super) began_ms: f64,
    pub(super) is_running: bool,
    /// Whether an answer came from elsewhere: its own, and no earlier call's.
    pub(super) has_read_foreign: bool,
    /// Requests that left and have no answer yet, and what they were.
    pub(super) under_way: Vec<(u32, crate::agent::policy::Fetch)>,
}

impl Run {
    /// Begins the calls; their results at once where none of them can be made.
    pub(super) fn start_calls(
        &mut self,
        wanted: Vec<WantedCall>,
        out: &mut Vec<Action>,
    ) -> Option<Vec<CallResult>> {
        if wanted.iter().any(|call| call.step.is_some()) && !self.plan_stands() {
            self.finish(Ending::PlanChanged, String::new(), out);
            return None;
        }
        self.turn.clear();
        self.open.clear();
        let mut n_wrong = 0;
        for (i, mut call) in wanted.into_iter().enumerate() {
            let id = match call.id.take() {
                Some(id) => id,
                None => self.fresh_id(None),
            };
            call.id = Some(id.clone());
            match self.check_call(i, &call) {
                Ok((tool, arguments)) => {
                    self.n_calls += 1;
                    self.open_call(&id, call, tool, arguments, out);
                    self.turn.push((id, None));
                }
                Err(CallError::PlanChanged) => {
                    self.finish(Ending::PlanChanged, String::new(), out);
                    return None;
                }
                Err(CallError::Wrong(what)) => {
                    n_wrong += 1;
                    let said = what.clone();
                    let name = call.tool.clone();
                    self.step(
                        out,
                        |step| {
                            step.call = Some(id.clone());
                            step.tool = Some(name);
                            step.result = Some(said);
                            step.is_error = true;
                        },
                        "tool",
                    );
                    let outcome = Err(what);
                    let bare = String::new();
                    self.turn.push((
                        id,
                        Some(CallResult {
                            call,
                            outcome,
                            bare,
                        }),
                    ));
                }
            }
        }
        if n_wrong > 0 {
            self.n_mends += n_wrong;
            if self.n_mends > self.config.budget.max_mends {
                self.finish(Ending::TooManyErrors, String::new(), out);
                return None;
            }
        }
        self.state = State::Calling;
        match self.open.is_empty() {
            true => Some(self.turn.drain(..).filter_map(|(_, done)| done).collect()),
            false => None,
        }
    }

    /// Whether the strategy's plan is the one that was approved.
    fn plan_stands(&self) -> bool {
        match (&self.approved, self.strategy.plan()) {
            (Some((approved, _)), Some(plan)) => *approved == plan.digest(),
            _ => false,
        }
    }

    /// The tool and the arguments of a call that can be made.
    fn check_call(
        &mut self,
        i: usize,
        call: &WantedCall,
    ) -> std::result::Result<(usize, Map<String, Json>), CallError> {
        let wrong = |what: String| Err(CallError::Wrong(what));
        let budget = &self.config.budget;
        if i >= budget.max_parallel_calls {
            return wrong(format!(
                "at most {} calls at once",
                budget.max_parallel_calls
            ));
        }
        if self.n_calls >= budget.max_calls {
            return wrong("no calls are left: answer with what is known".to_string());
        }
        let Some(tool) = self
            .config
            .tools
            .iter()
            .position(|tool| tool.name == call.tool)
        else {
            let names: Vec<&str> = self
                .config
                .tools
                .iter()
                .map(|tool| tool.name.as_str())
                .collect();
            return wrong(match names.is_empty() {
                true => "there are no tools: answer without".to_string(),
                false => format!(
                    "there is no tool {:?}; there is {}",
                    shown(&call.tool),
                    names.join(", ")
                ),
            });
        };
        let manifest = &self.config.tools[tool];
        let arguments = match read_arguments(manifest, &call.arguments) {
            Ok(arguments) => arguments,
            Err(what) => return wrong(what),
        };
        if let Some(i) = call.step {
            let planned = self.strategy.plan().and_then(|plan| plan.steps.get(i));
            let same = planned.is_some_and(|planned| {
                let fixed = planned.arguments.as_object().into_iter().flatten();
                let mut fixed =
                    fixed.filter(|(_, value)| crate::agent::strategy::references(value).is_empty());
                planned.tool == call.tool
                    && fixed.all(|(name, value)| arguments.get(name) == Some(value))
            });
            if !same {
                return Err(CallError::PlanChanged);
            }
        }
        if let Some(what) = manifest.misfit(&Json::Object(arguments.clone())) {
            return wrong(what);
        }
        let key = format!("{} {}", call.tool, Json::Object(arguments.clone()));
        let n_seen = self.seen_calls.entry(key).or_default();
        *n_seen += 1;
        if *n_seen > budget.max_repeats {
            return wrong(
                "this was called before with the same arguments: use its result".to_string(),
            );
        }
        Ok((tool, arguments))
    }

    fn open_call(
        &mut self,
        id: &str,
        wanted: WantedCall,
        tool: usize,
        arguments: Map<String, Json>,
        out: &mut Vec<Action>,
    ) {
        let plan = self.strategy.plan().filter(|_| wanted.step.is_some());
        let planned = wanted.step.and_then(|i| plan?.steps.get(i));
        let source = |name: &str, value: &Json| match (plan, planned) {
            (Some(plan), Some(step)) => {
                let said = &step.arguments[name];
                evidence_source(plan, said).unwrap_or(Source::Plan)
            }
            _ => self.ledger.source_of(value),
        };
        let context = CallContext {
            arguments: arguments
                .iter()
                .map(|(name, value)| Argument {
                    name: name.clone(),
                    value: value.clone(),
                    source: source(name, value),
                })
                .collect(),
            taint: self.ledger.taint().clone(),
            is_planned: planned.is_some(),
            plan_was_clean: self.approved.as_ref().is_some_and(|(_, clean)| *clean),
            person_addresses: self.ledger.addresses_of_person(self.gate.loopback()),
            n_requests: 0,
        };
        out.push(Action::Call {
            call: id.to_string(),
            tool: self.config.tools[tool].name.clone(),
            arguments: Json::Object(arguments),
            timeout_ms: self.config.limits.call_timeout_ms,
        });
        let open = OpenCall {
            wanted,
            tool,
            context,
            began_ms: self.now_ms,
            is_running: true,
            has_read_foreign: false,
            under_way: Vec::new(),
        };
        self.open.insert(id.to_string(), open);
    }

    /// A tool is done, or failed.
    pub(super) fn result(
        &mut self,
        id: &str,
        value: std::result::Result<&Json, &String>,
        out: &mut Vec<Action>,
    ) -> Result<()> {
        let Some(call) = self.open.get_mut(id).filter(|call| call.is_running) else {
            return Err(Error::new(
                Code::RequestInvalid,
                "call",
                format!("{id:?} is not running"),
            ));
        };
        call.is_running = false;
        for _ in call.under_way.drain(..) {
            self.gate.came_back();
        }
        self.cards
            .retain(|_, card| !matches!(card, super::OpenCard::Request { call, .. } if call == id));
        let Some(call) = self.open.get(id) else {
            return Ok(());
        };
        let manifest = &self.config.tools[call.tool];
        let mut taint = call.context.taint.clone();
        mark(manifest, &mut taint);
        let is_error = value.is_err();
        let text = match value {
            Ok(Json::String(text)) if manifest.result == ResultKind::Html => html_to_text(text),
            Ok(Json::String(text)) => text.clone(),
            Ok(value) => crate::agent::python_json(value),
            Err(message) => message.clone(),
        };
        let cleaned = clean(&text, self.config.limits.max_result_chars);
        // What the model had read before says nothing of this result.
        let is_foreign = call.has_read_foreign || manifest.reads_foreign;
        let mut text = cleaned.text.clone();
        if self.config.style.fences && is_foreign && !is_error {
            text = fence(&text, &manifest.name, &key(self.config.chance, id));
        }
        let result = CallResult {
            call: call.wanted.clone(),
            outcome: match is_error {
                true => Err(text.clone()),
                false => Ok(text.clone()),
            },
            bare: cleaned.text,
        };
        let arguments = call.context.arguments.iter().map(|argument| ArgumentShown {
            name: argument.name.clone(),
            value: shown(&argument.value.to_string()),
            source: argument.source.clone(),
        });
        let arguments: Vec<ArgumentShown> = arguments.collect();
        let (name, took_ms) = (manifest.name.clone(), self.now_ms - call.began_ms);
        if let Some(call) = self.open.get_mut(id) {
            call.context.taint = taint.clone();
        }
        self.step(
            out,
            |step| {
                step.call = Some(id.to_string());
                step.tool = Some(name);
                step.arguments = arguments;
                step.result = Some(text);
                step.is_error = is_error;
                step.n_hidden = cleaned.n_hidden;
                step.n_cut = cleaned.n_cut;
                step.took_ms = took_ms;
                step.taint = taint;
            },
            "tool",
        );
        if let Some((_, done)) = self.turn.iter_mut().find(|(other, _)| other == id) {
            *done = Some(result);
        }
        if self.turn.iter().any(|(_, done)| done.is_none()) {
            return Ok(());
        }
        // The model reads them together: what one says cannot change what another was
        // allowed meanwhile.
        let results: Vec<CallResult> = self.turn.drain(..).filter_map(|(_, done)| done).collect();
        for result in &results {
            let id = result.call.id.as_deref().unwrap_or_default();
            let taint = self.open.get(id).map(|call| call.context.taint.clone());
            self.ledger.read_result(
                &result.call.tool,
                &result.text(),
                &taint.unwrap_or_default(),
            );
        }
        self.open.clear();
        self.drive(Happened::Results(results), out);
        Ok(())
    }
}

/// Why a call is not made.
enum CallError {
    /// The model can mend it.
    Wrong(String),
    /// It is not what was approved.
    PlanChanged,
}

/// What a tool's results carry because of what it says of itself.
fn mark(manifest: &Manifest, taint: &mut Taint) {
    let source = Source::Tool(manifest.name.clone()).to_string();
    if manifest.reads_private {
        taint.private.insert(source.clone());
    }
    if manifest.reads_foreign {
        taint.foreign.insert(source);
    }
}

/// The arguments' object, of what a model wrote. Where a tool takes one argument, plain
/// text is that.
fn read_arguments(
    manifest: &Manifest,
    text: &str,
) -> std::result::Result<Map<String, Json>, String> {
    let text = text.trim();
    match serde_json::from_str::<Json>(text) {
        Ok(Json::Object(map)) => return Ok(map),
        Ok(Json::Null) => return Ok(Map::new()),
        Ok(value) => {
            if let Some(name) = manifest.only_argument() {
                return Ok(Map::from_iter([(name.to_string(), value)]));
            }
        }
        Err(_) if text.is_empty() => return Ok(Map::new()),
        Err(_) => {
            let looks = text.starts_with(['{', '[']);
            if let Some(name) = manifest.only_argument().filter(|_| !looks) {
                return Ok(Map::from_iter([(name.to_string(), Json::from(text))]));
            }
        }
    }
    Err(format!(
        "the arguments must be a JSON object, as {}",
        example(manifest)
    ))
}

fn example(manifest: &Manifest) -> String {
    let names = manifest.parameters["properties"]
        .as_object()
        .into_iter()
        .flatten();
    let fields: Vec<String> = names.map(|(name, _)| format!("\"{name}\": ...")).collect();
    format!("{{{}}}", fields.join(", "))
}
