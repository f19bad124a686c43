//! What to do next: a strategy is a state machine that is told what happened and says what
//! it wants. It touches nothing; [`super::run`] does what it says, within its bounds and
//! under the policy.
//!
//! A strategy is one file here that implements [`Strategy`], and one row of [`STRATEGIES`].

mod plan;
mod react;
mod rewoo;
mod tools_loop;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

pub use plan::{Plan, PlannedCall, references};

use super::tool::Manifest;

/// Makes a strategy that has not begun.
pub type MakeStrategy = fn() -> Box<dyn Strategy>;

/// The strategies, by name.
pub const STRATEGIES: &[(&str, MakeStrategy)] = &[
    ("tools", || Box::new(tools_loop::ToolsLoop::default())),
    ("react", || Box::new(react::React::default())),
    ("rewoo", || Box::new(rewoo::Rewoo::default())),
];

/// The strategy of this name.
pub fn find(name: &str) -> Option<Box<dyn Strategy>> {
    let found = STRATEGIES.iter().find(|(known, _)| *known == name);
    found.map(|(_, make)| make())
}

/// How a model is to be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Style {
    /// The role that brings an observation: `tool` for models trained so, which take a
    /// tool's result without a call's id; `user` for all others.
    pub observations: ObservationRole,
    /// Whether the engine holds replies to `response_format: grammar`.
    pub grammar: bool,
    /// Whether foreign results stand between marks. Models trained on bare results do
    /// better without.
    pub fences: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            observations: ObservationRole::User,
            grammar: false,
            fences: true,
        }
    }
}

/// See [`Style::observations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the roles' own names")]
pub enum ObservationRole {
    User,
    Tool,
}

/// What a strategy works on.
pub struct Goal<'a> {
    /// The conversation, as OpenAI's messages.
    pub messages: &'a [Json],
    /// What may be called.
    pub tools: &'a [Manifest],
    /// How the model is to be spoken to.
    pub style: &'a Style,
}

impl Goal<'_> {
    /// One line a tool.
    pub fn tool_lines(&self) -> String {
        let lines: Vec<String> = self.tools.iter().map(Manifest::signature).collect();
        lines.join("\n")
    }

    /// The conversation under a system message that ends with `instructions`.
    pub fn under(&self, instructions: &str) -> Vec<Json> {
        let system =
            |message: &&Json| message["role"] == "system" || message["role"] == "developer";
        let said = self
            .messages
            .iter()
            .filter(system)
            .filter_map(|m| m["content"].as_str());
        let mut parts: Vec<&str> = said.filter(|text| !text.is_empty()).collect();
        parts.push(instructions);
        let mut messages = vec![json!({ "role": "system", "content": parts.join("\n\n") })];
        messages.extend(self.messages.iter().filter(|m| !system(m)).cloned());
        messages
    }

    /// What the person asked last.
    pub fn question(&self) -> &str {
        let asked = self
            .messages
            .iter()
            .rev()
            .find(|message| message["role"] == "user");
        asked
            .and_then(|message| message["content"].as_str())
            .unwrap_or_default()
    }
}

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// The run begins.
    Begin,
    /// The model replied.
    Reply(Reply),
    /// The calls that were wanted are done, in their order.
    Results(Vec<CallResult>),
    /// The person confirmed the plan, or did not.
    Confirmed(bool),
}

/// What the model said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// Text.
    pub content: String,
    /// Calls in its family's own form.
    pub calls: Vec<WrittenCall>,
    /// What is wrong with calls that could not be read.
    pub broken: Vec<String>,
}

/// A call, as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenCall {
    /// Its id in the conversation.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments' text.
    pub arguments: String,
}

/// A call that a strategy wants made.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedCall {
    /// Its id; one is given where it has none.
    pub id: Option<String>,
    /// The tool's name, which may be wrong.
    pub tool: String,
    /// The arguments' text, which may be wrong.
    pub arguments: String,
    /// Which step of the approved plan it is.
    pub step: Option<usize>,
}

/// A call that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct CallResult {
    /// The call.
    pub call: WantedCall,
    /// The result as the model is to read it; or what went wrong, in words to mend it by.
    pub outcome: Result<String, String>,
    /// The result without the marks around it.
    pub bare: String,
}

impl CallResult {
    /// What the model reads.
    pub fn text(&self) -> String {
        match &self.outcome {
            Ok(text) => text.clone(),
            Err(what) => format!("Error: {what}"),
        }
    }
}

/// What a strategy wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The model's reply to this.
    Ask(Ask),
    /// The same, because the reply before was malformed: bounded in number.
    Mend {
        /// What was wrong.
        what: String,
        /// The question.
        ask: Ask,
    },
    /// These calls, side by side.
    Call(Vec<WantedCall>),
    /// The person's word on the plan ([`Strategy::plan`]).
    Confirm,
    /// This is the answer.
    Finish(String),
    /// There is none.
    Fail(&'static str),
}

/// A question to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// What for: `act`, `plan` or `solve`.
    pub purpose: &'static str,
    /// The conversation.
    pub messages: Vec<Json>,
    /// Other fields of the request.
    pub fields: Map<String, Json>,
}

/// A way of getting from a goal to an answer.
pub trait Strategy {
    /// Its name.
    fn name(&self) -> &'static str;

    /// What it wants after `happened`.
    fn advance(&mut self, goal: &Goal<'_>, happened: Happened) -> Next;

    /// The plan that it has made, where it makes one.
    fn plan(&self) -> Option<&Plan> {
        None
    }
}

/// The first JSON value of `text`, and how many bytes it takes; `None` where `text` does
/// not begin with one.
fn leading_json(text: &str) -> Option<(Json, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    match values.next() {
        Some(Ok(value)) => Some((value, values.byte_offset())),
        _ => None,
    }
}
