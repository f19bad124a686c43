//! What happens, and what is to be done about it: the words of a transcript.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::agent::policy::{
    ArgumentShown, Fetch, Grant, Refusal, RequestCard, ToolRequest, digest,
};
use crate::agent::strategy::Plan;
use crate::agent::tool::{Manifest, Method};
use crate::agent::trust::{Source, Taint, shown};

/// Something happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The run begins.
    Begin,
    /// The model replied.
    Reply {
        /// A `chat.completion`.
        reply: Json,
    },
    /// It could not.
    ReplyFailed {
        /// The engine's code.
        code: String,
        /// Its words.
        message: String,
    },
    /// A tool asks for the network.
    Request {
        /// For which call.
        call: String,
        /// Which of the call's requests; the driver's count.
        request: u32,
        /// What it wants.
        wanted: ToolRequest,
    },
    /// A request that was allowed has an answer, or none.
    Response {
        /// For which call.
        call: String,
        /// Which of its requests.
        request: u32,
        /// What came.
        response: Response,
    },
    /// A tool is done.
    Result {
        /// Which call.
        call: String,
        /// Its result.
        value: Json,
    },
    /// A tool failed.
    ResultFailed {
        /// Which call.
        call: String,
        /// Its words.
        message: String,
    },
    /// The person answered.
    Answer {
        /// Which card.
        card: usize,
        /// The card's digest, as it was shown.
        digest: String,
        /// Whether they said yes.
        approve: bool,
        /// Whether they said always.
        #[serde(default)]
        always: bool,
    },
    /// The person, or the page, stops it.
    Abort,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Response {
    /// An answer; its text goes to the tool once the run says so.
    Answered {
        /// Where it came from in the end.
        url: String,
        /// HTTP's status.
        status: u16,
        /// What it says it is.
        content_type: String,
        /// Its size, as counted.
        n_bytes: u64,
    },
    /// None.
    Failed {
        /// Why.
        code: Refusal,
    },
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Ask the model.
    Ask {
        /// What for.
        purpose: String,
        /// A request for `chat.completions`.
        request: Json,
    },
    /// Call a tool.
    Call {
        /// The call's id.
        call: String,
        /// The tool.
        tool: String,
        /// Its arguments, which fit its schema.
        arguments: Json,
        /// After so long of its own time it has failed.
        timeout_ms: u64,
    },
    /// Stop a call.
    Cancel {
        /// Which.
        call: String,
    },
    /// Fetch exactly this.
    Fetch {
        /// For which call.
        call: String,
        /// Which of its requests.
        request: u32,
        /// What.
        fetch: Box<Fetch>,
    },
    /// Give the answer that came to the tool.
    Deliver {
        /// To which call.
        call: String,
        /// Which of its requests.
        request: u32,
    },
    /// Tell the tool that its request failed.
    Refuse {
        /// Which call.
        call: String,
        /// Which of its requests.
        request: u32,
        /// Why.
        code: Refusal,
        /// In words.
        why: String,
    },
    /// Ask the person.
    Consent {
        /// What to show.
        card: Card,
    },
    /// Tell whoever watches.
    Step {
        /// What was done.
        step: Box<Step>,
    },
    /// It is over.
    Finish {
        /// How.
        outcome: Outcome,
    },
}

impl Action {
    pub(super) fn refuse(call: &str, request: u32, code: Refusal, why: Option<String>) -> Self {
        Action::Refuse {
            call: call.to_string(),
            request,
            code,
            why: why.unwrap_or_else(|| code.why().to_string()),
        }
    }
}

/// A question to the person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Which; the answer names it.
    pub id: usize,
    /// What it is about.
    #[serde(flatten)]
    pub kind: CardKind,
}

/// What a card is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum CardKind {
    /// One request.
    Request(Box<RequestCard>),
    /// A plan, before anything of it is done.
    Plan(PlanCard),
}

/// A plan, as the person is to see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanCard {
    /// What would be called, in order. There are no branches.
    pub steps: Vec<PlannedStep>,
    /// Names exactly this plan; an answer has to repeat it.
    pub digest: String,
}

/// A step of a plan, as the person is to see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// From 1.
    pub number: usize,
    /// The tool.
    pub tool: String,
    /// Its arguments; the source of one that waits for evidence is the tool it comes from.
    pub arguments: Vec<ArgumentShown>,
    /// What it may fetch.
    pub requests: Vec<PlannedRequest>,
    /// What for, in the model's words.
    pub said: String,
}

/// What a planned call may fetch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedRequest {
    /// How.
    pub method: Method,
    /// The address, with the plan's own words in its slots, and names in braces where they
    /// are still open.
    pub url: String,
}

impl PlanCard {
    /// The card for `plan`.
    pub fn draw(plan: &Plan, tools: &[Manifest]) -> Self {
        let steps = plan.steps.iter().enumerate().map(|(i, step)| {
            let tool = tools.iter().find(|tool| tool.name == step.tool);
            let arguments = step.arguments.as_object().into_iter().flatten();
            PlannedStep {
                number: i + 1,
                tool: step.tool.clone(),
                arguments: arguments
                    .map(|(name, value)| ArgumentShown {
                        name: shown(name),
                        value: match value {
                            Json::String(text) => shown(text),
                            value => shown(&value.to_string()),
                        },
                        source: evidence_source(plan, value).unwrap_or(Source::Plan),
                    })
                    .collect(),
                requests: tool
                    .into_iter()
                    .flat_map(|tool| &tool.requests)
                    .map(|t| preview(t, &step.arguments))
                    .collect(),
                said: shown(&step.what),
            }
        });
        let steps: Vec<PlannedStep> = steps.collect();
        Self {
            digest: plan.digest(),
            steps,
        }
    }
}

/// The tools whose evidence stands in `value`.
pub(super) fn evidence_source(plan: &Plan, value: &Json) -> Option<Source> {
    let needs = crate::agent::strategy::references(value);
    let names: Vec<&str> = needs
        .iter()
        .filter_map(|need| Some(plan.steps.get(need.checked_sub(1)?)?.tool.as_str()))
        .collect();
    (!needs.is_empty()).then(|| Source::Tool(names.join("+")))
}

/// A template with the plan's own words in those slots that are called as its arguments.
fn preview(template: &crate::agent::tool::Template, arguments: &Json) -> PlannedRequest {
    let mut url = template.url.clone();
    for (name, slot) in &template.slots {
        let value = &arguments[name.as_str()];
        if value.is_null() || !crate::agent::strategy::references(value).is_empty() {
            continue;
        }
        if let Some(text) = slot.write(value) {
            let text = match template.whole_url_slot() {
                Some(_) => text,
                None => crate::agent::address::encode_component(&text),
            };
            url = url.replace(&format!("{{{name}}}"), &text);
        }
    }
    PlannedRequest {
        method: template.method,
        url: shown(&url),
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With an answer.
    Answered,
    /// The person declined the plan.
    Declined,
    /// It was stopped.
    Aborted,
    /// The model was asked as often as it may be.
    Steps,
    /// It has written as much as it may.
    Tokens,
    /// The time was up.
    Time,
    /// The model made more errors than it may mend.
    TooManyErrors,
    /// What was to be carried out was not the plan that was approved.
    PlanChanged,
    /// The engine failed.
    EngineFailed,
    /// A defect in this crate.
    Internal,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The answer, where there is one.
    pub answer: Option<String>,
    /// More about an ending without an answer.
    pub detail: Option<String>,
    /// Questions to the model.
    pub n_steps: usize,
    /// Calls of tools.
    pub n_calls: usize,
    /// Tokens that the model wrote.
    pub n_tokens: u64,
    /// Milliseconds it took.
    pub took_ms: f64,
    /// What was read: give it to the next run of the conversation.
    pub taint: Taint,
    /// What the person has allowed so far.
    pub grants: Vec<Grant>,
}

/// Something that was done, for whoever watches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Which.
    pub index: usize,
    /// `model`, `tool`, `request`, `consent` or `mend`.
    pub kind: String,
    /// Milliseconds since the run began.
    pub at_ms: f64,
    /// Milliseconds it took.
    pub took_ms: f64,
    /// What the model was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The messages that it was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Json>,
    /// What it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Json>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Json>,
    /// What speculation did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculation: Option<Json>,
    /// How fast it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Json>,
    /// The call it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The call's arguments, and who wrote them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<ArgumentShown>,
    /// What the model reads of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Whether that is an error.
    pub is_error: bool,
    /// Hidden characters that were taken out of it.
    pub n_hidden: usize,
    /// Characters that were cut off it.
    pub n_cut: usize,
    /// The address of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What became of it: `allowed`, `asked`, or a refusal's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The card that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<usize>,
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<bool>,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What had been read by then.
    pub taint: Taint,
}

/// A short name of `parts` that nobody can have known before: from the run's chance.
pub(super) fn key(chance: u64, call: &str) -> String {
    digest(&["fence", &chance.to_string(), call])
}
