//! A checked request and a session -> a prompt, options and a grammar.

use serde_json::{Value as Json, json};

use super::fields::invalid;
use super::grammar::{ReplyGrammar, Thought};
use super::overflow::{self, Dropped};
use super::request::{ChatRequest, Common};
use super::tools::Tool;
use crate::chat::reasoning::{self, ReasoningParser};
use crate::chat::session::{ReplyRequest, Session};
use crate::chat::template::{LocalTime, RenderRequest};
use crate::chat::tool_call::{self, Family, GENERIC, instructions};
use crate::decode::GenerateOptions;
use crate::decode::constraint::ConstraintSpec;
use crate::decode::made::LogprobsWanted;
use crate::error::{Code, Result};

/// How many of a prompt's last tokens can hold what begins a thought.
const PROMPT_END_TOKENS: usize = 24;

/// A chat request, ready to be replied to.
pub(super) struct ChatPlan {
    pub(super) prompt: Vec<u32>,
    /// What was left out of the conversation.
    pub(super) dropped: Option<Dropped>,
    pub(super) request: ReplyRequest,
    /// Sets thought apart; `None` where the reply cannot hold any.
    pub(super) reasoning: Option<ReasoningParser>,
    /// How calls look; `None` where there is nothing to call.
    pub(super) family: Option<&'static dyn Family>,
    /// What may be called, as the parser wants it.
    pub(super) tools: Vec<Json>,
}

/// The options of a reply, but for the seed of chance.
pub(super) fn options(common: &Common, chance: u64, session: &Session) -> Result<GenerateOptions> {
    let tokenizer = &session.target().tokenizer;
    let mut options = GenerateOptions {
        max_tokens: common.max_tokens,
        sampling: common.sampling.resolve(tokenizer)?,
        stop: common.stop.clone(),
        stop_ids: match common.ignore_eos {
            true => Vec::new(),
            false => tokenizer.stop_ids().to_vec(),
        },
        logprobs: LogprobsWanted {
            drawn: common.logprobs.is_some(),
            n_top: common.logprobs.unwrap_or(0),
        },
        ..GenerateOptions::default()
    };
    options.sampling.seed = common.seed.unwrap_or(chance);
    common
        .speculating
        .apply(session.draft().is_some(), &mut options)?;
    Ok(options)
}

/// Plans the reply to a conversation.
///
/// # Errors
/// What template, tokenizer and grammar report.
pub(super) fn chat(
    session: &mut Session,
    request: &ChatRequest,
    chance: u64,
    now: LocalTime,
) -> Result<ChatPlan> {
    let tools: Vec<Json> = request
        .offered_tools()
        .iter()
        .map(|tool| tool.description.clone())
        .collect();
    let source = session.target().template.jinja(!tools.is_empty())?;
    let native = tool_call::detect(source);
    // A template that knows no tools is told of them in words.
    let by_words = !tools.is_empty() && native.name() == GENERIC.name();
    let style = reasoning::detect(source);
    let thinks = source.contains(style.open.trim_end()) || source.contains(style.close);
    let mut messages = request.messages.clone();
    if !source.contains("developer") {
        for message in &mut messages {
            if message["role"] == "developer" {
                message["role"] = "system".into();
            }
        }
    }
    let encode = |messages: &[Json]| {
        let mut messages = messages.to_vec();
        if by_words {
            instruct(&mut messages, &tools);
        }
        session.encode_messages(&RenderRequest {
            add_generation_prompt: true,
            tools: (!tools.is_empty() && !by_words).then_some(&tools[..]),
            variables: Some(&request.variables),
            ..RenderRequest::new(&messages, now)
        })
    };
    let capacity = session.target().context_tokens();
    let max_tokens = request.common.max_tokens;
    let (prompt, dropped) =
        overflow::fit(&messages, &request.overflow, capacity, max_tokens, &encode)?;
    let tokenizer = &session.target().tokenizer;
    let end = prompt.len().saturating_sub(PROMPT_END_TOKENS);
    let end = tokenizer.decode(prompt.get(end..).unwrap_or_default(), false);
    let spelled = |tag: &str| {
        !tokenizer
            .id_of(tag)
            .is_some_and(|id| tokenizer.is_special(id))
    };
    let thought = match () {
        // A grammar's text cannot hold control tokens.
        () if !thinks || !spelled(style.open.trim_end()) || !spelled(style.close) => Thought::None,
        () if end.trim_end().ends_with(style.open.trim_end()) => {
            Thought::Begun { close: style.close }
        }
        () if end.trim_end().ends_with(style.close) || request.forbids_thought() => Thought::None,
        () => Thought::Optional {
            open: style.open,
            close: style.close,
        },
    };
    let choice = &request.tool_choice;
    let mut family = native;
    if choice.is_forced() && family.form().is_none() {
        // Calls that must be, in the form that any model can be held to.
        family = GENERIC;
    }
    let grammar = ReplyGrammar {
        form: family.form(),
        tools: request.offered_tools(),
        choice,
        parallel: request.parallel_tool_calls,
        answer: request.common.format.as_ref(),
        thought,
    };
    let constraint = constraint(session, &grammar, request)?;
    let only_answer = matches!(constraint, Some(ref spec) if Some(spec) == grammar.answer);
    Ok(ChatPlan {
        request: ReplyRequest {
            options: options(&request.common, chance, session)?,
            constraint,
        },
        prompt,
        dropped,
        reasoning: (!only_answer).then(|| ReasoningParser::new(style, &end)),
        family: (!tools.is_empty()).then_some(family),
        tools,
    })
}

/// The grammar, with every tool's schema that can be enforced; the others' arguments are
/// any JSON object, unless the tool is strict.
fn constraint(
    session: &mut Session,
    grammar: &ReplyGrammar<'_>,
    request: &ChatRequest,
) -> Result<Option<ConstraintSpec>> {
    if grammar
        .answer
        .is_some_and(|a| matches!(a, ConstraintSpec::Lark(_)))
        && !grammar.tools.is_empty()
    {
        let detail = "a grammar cannot be had together with tools";
        return Err(invalid("response_format.type", detail));
    }
    let Some(spec) = grammar.spec(|tool| tool.parameters.clone()) else {
        return Ok(None);
    };
    let Err(error) = session.constraint(&spec) else {
        return Ok(Some(spec));
    };
    // Whose fault is it? The answer's error is the caller's to read.
    if let Some(answer) = grammar.answer {
        session.constraint(answer)?;
    }
    let mut refused = Vec::new();
    for (i, tool) in request.tools.iter().enumerate() {
        let schema = ConstraintSpec::json(tool.parameters.clone());
        let Err(error) = session.constraint(&schema) else {
            continue;
        };
        if tool.strict {
            let path = format!("tools[{i}].function.parameters");
            return Err(crate::Error::new(error.code(), path, error.detail()));
        }
        refused.push(tool.name.as_str());
    }
    if refused.is_empty() {
        return Err(error);
    }
    let schema_of = |tool: &Tool| match refused.contains(&tool.name.as_str()) {
        true => json!({ "type": "object" }),
        false => tool.parameters.clone(),
    };
    let spec = grammar.spec(schema_of);
    if let Some(spec) = &spec {
        session.constraint(spec)?;
    }
    Ok(spec)
}

/// Tells of the tools in the system message, or in one of its own.
fn instruct(messages: &mut Vec<Json>, tools: &[Json]) {
    let text = instructions(tools);
    match messages.first_mut() {
        Some(first) if first["role"] == "system" => {
            let before = first["content"].as_str().unwrap_or_default();
            first["content"] = format!("{before}\n\n{text}").into();
        }
        _ => messages.insert(0, json!({ "role": "system", "content": text })),
    }
}

/// Refuses a model by another name than the one that is here.
///
/// # Errors
/// `request_invalid` about `model`.
pub(super) fn check_model(common: &Common, session: &Session) -> Result<()> {
    let here = session.target().name.as_str();
    match common.model.as_deref() {
        None | Some("tandem") => Ok(()),
        Some(model) if model == here => Ok(()),
        Some(model) => Err(crate::Error::new(
            Code::RequestInvalid,
            "model",
            format!("{model:?} is not here; {here:?} is"),
        )),
    }
}
