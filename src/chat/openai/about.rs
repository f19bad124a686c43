//! What an engine can do, and what it has done.

use serde::Serialize;

use super::format;
use super::request::{MAX_CHOICES, MAX_TOP_LOGPROBS};
use super::speculation::{self, SpeculationStats};
use super::types::Usage;
use crate::chat::session::Session;
use crate::chat::template::TemplateSource;
use crate::chat::tool_call;
use crate::decode::statistics::Speculation;

/// What an engine can do with the models it has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capabilities {
    /// The name to ask for it by.
    pub model: String,
    /// Its architecture, such as `llama`.
    pub architecture: String,
    /// How many weights it has.
    pub n_parameters: u64,
    /// What computes: `cpu`, or the name of the GPU adapter.
    pub device: String,
    /// On how many of the processor's threads; 1 where the GPU computes.
    pub threads: usize,
    /// The context window in use.
    pub context_tokens: usize,
    /// The model that guesses ahead, where there is one.
    pub draft: Option<String>,
    /// Whether it was made to chat; without a template of its own a stand-in is used.
    pub has_chat_template: bool,
    /// The family whose calls it writes; `generic` where its template knows no tools and
    /// it is told of them in words.
    pub tool_calls: &'static str,
    /// Whether calls that it begins by itself are held to the tools' schemas. Those that
    /// a request requires always are.
    pub enforces_tool_calls: bool,
    /// The types of `response_format`.
    pub response_formats: Vec<&'static str>,
    /// The words of `speculation.mode` that it takes.
    pub speculation_modes: Vec<&'static str>,
    /// The most `top_logprobs`.
    pub max_top_logprobs: usize,
    /// The largest `n`.
    pub max_choices: usize,
}

impl Capabilities {
    /// What `session` can do.
    pub fn of(session: &Session) -> Self {
        let target = session.target();
        let source = target.template.jinja(true).unwrap_or_default();
        let family = tool_call::detect(source);
        let modes = speculation::MODES.iter().copied();
        Self {
            model: target.name.clone(),
            architecture: target.model.spec.architecture.to_string(),
            n_parameters: target.model.n_parameters(),
            device: target.device.clone(),
            threads: target.n_threads(),
            context_tokens: target.context_tokens(),
            draft: session.draft().map(|draft| draft.name.clone()),
            has_chat_template: target.template.source() == TemplateSource::Checkpoint,
            tool_calls: family.name(),
            enforces_tool_calls: family.form().is_some(),
            response_formats: format::names().collect(),
            speculation_modes: modes.filter(|mode| *mode != "tree").collect(),
            max_top_logprobs: MAX_TOP_LOGPROBS,
            max_choices: MAX_CHOICES,
        }
    }
}

/// What an engine has done since it was loaded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    requests: usize,
    usage: Usage,
    speculation: Speculation,
}

/// [`Stats`] as the page gets them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngineStats {
    /// Requests that were answered to their end.
    pub requests: usize,
    /// Tokens of all of them.
    pub usage: Usage,
    /// What speculation did in all of them.
    pub speculation: SpeculationStats,
    /// Tokens made a second, over all of them.
    pub decode_tokens_per_s: f64,
}

impl Stats {
    pub(super) fn add(&mut self, usage: &Usage, speculation: &Speculation) {
        self.requests += 1;
        let sum = &mut self.usage;
        sum.prompt_tokens += usage.prompt_tokens;
        sum.completion_tokens += usage.completion_tokens;
        sum.total_tokens += usage.total_tokens;
        sum.prompt_tokens_details.cached_tokens += usage.prompt_tokens_details.cached_tokens;
        let (details, more) = (
            &mut sum.completion_tokens_details,
            &usage.completion_tokens_details,
        );
        details.accepted_prediction_tokens += more.accepted_prediction_tokens;
        details.rejected_prediction_tokens += more.rejected_prediction_tokens;
        speculation::add(&mut self.speculation, speculation);
    }

    /// The same for the page.
    pub fn plain(&self) -> EngineStats {
        let Speculation {
            num_tokens,
            decode_s,
            ..
        } = self.speculation;
        EngineStats {
            requests: self.requests,
            usage: self.usage.clone(),
            speculation: SpeculationStats::of(&self.speculation),
            decode_tokens_per_s: match decode_s > 0.0 {
                true => num_tokens as f64 / decode_s,
                false => 0.0,
            },
        }
    }
}
