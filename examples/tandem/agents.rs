//! `agents`: questions that take a tool, by every strategy; how many calls and answers are
//! right, and what speculation did.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use pollster::block_on;
use serde::Deserialize;
use serde_json::{Value, json};
use tandem::agent::run::{Action, CardKind, Ending, Event, Outcome, Run};
use tandem::chat::openai::service::no_pieces;
use tandem::chat::openai::{Moment, Service};
use tandem::{Code, Error, Result};

use super::load::session;
use super::render::now;
use super::{Running, print_json, read_file};

#[derive(Args)]
pub struct Agents {
    /// The model.
    #[arg(long)]
    model: String,
    /// A small model with the same tokenizer that guesses ahead.
    #[arg(long, value_name = "MODEL")]
    draft: Option<String>,
    /// Questions, each with its call, the tool's result and the answer: a JSON list.
    #[arg(
        long,
        value_name = "FILE.json",
        default_value = "tests/measure/agent_prompts.json"
    )]
    prompts: PathBuf,
    /// Which strategies.
    #[arg(long, value_delimiter = ',', default_value = "tools,react,rewoo")]
    strategies: Vec<String>,
    /// At most so many questions.
    #[arg(long)]
    limit: Option<usize>,
    #[command(flatten)]
    running: Running,
}

#[derive(Deserialize)]
struct Prompt {
    ask: String,
    tool: String,
    arguments: Value,
    result: String,
    answer: String,
}

/// What came of a strategy's questions.
#[derive(Default)]
struct Score {
    right_call: usize,
    answered: usize,
    right_answer: usize,
    n_steps: usize,
    n_tokens: u64,
    num_draft_tokens: u64,
    num_accepted_tokens: u64,
}

pub fn run(args: &Agents) -> Result<()> {
    let text = read_file(&args.prompts)?;
    let prompts: Vec<Prompt> = serde_json::from_str(&text)
        .map_err(|error| Error::new(Code::FormatMalformed, "prompts", error.to_string()))?;
    let n = args.limit.unwrap_or(prompts.len()).min(prompts.len());
    let (mut session, _) = session(&args.model, args.draft.as_deref(), &args.running)?;
    if session.draft().is_some() {
        block_on(session.warm_up())?;
    }
    let mut service = Service::new(session);
    let mut all = serde_json::Map::new();
    for strategy in &args.strategies {
        let start = Instant::now();
        let mut score = Score::default();
        for prompt in &prompts[..n] {
            ask(&mut service, strategy, prompt, &mut score)?;
        }
        let took_s = start.elapsed().as_secs_f64();
        eprintln!(
            "{strategy}: {}/{n} right calls, {}/{n} answered, {}/{n} right answers, {took_s:.0} s",
            score.right_call, score.answered, score.right_answer
        );
        let acceptance = score.num_accepted_tokens as f64 / score.num_draft_tokens.max(1) as f64;
        all.insert(
            strategy.clone(),
            json!({
                "questions": n,
                "right_call": score.right_call,
                "answered": score.answered,
                "right_answer": score.right_answer,
                "steps": score.n_steps,
                "tokens": score.n_tokens,
                "num_draft_tokens": score.num_draft_tokens,
                "acceptance_rate": acceptance,
                "took_s": took_s,
            }),
        );
    }
    print_json(&Value::Object(all));
    Ok(())
}

/// The page's tools, as the pair was trained on them; here the questions know the results.
fn tools() -> Value {
    let tool = |name: &str, description: &str, properties: Value| {
        let required: Vec<&String> = properties
            .as_object()
            .into_iter()
            .flat_map(|p| p.keys())
            .collect();
        let parameters =
            json!({ "type": "object", "properties": properties, "required": required });
        json!({ "name": name, "description": description, "parameters": parameters })
    };
    let string = json!({ "type": "string" });
    json!([
        tool(
            "calculator",
            "Work out an arithmetic expression",
            json!({ "expression": string })
        ),
        tool(
            "clock",
            "Current date and time in an IANA time zone",
            json!({ "timezone": string })
        ),
        tool(
            "convert",
            "Convert a value from one unit to another",
            json!({ "value": { "type": "number" }, "from": string, "to": string })
        ),
        tool(
            "weather",
            "Current weather in a city",
            json!({ "city": string })
        ),
        tool(
            "encyclopedia",
            "The first paragraph of an encyclopedia article",
            json!({ "title": string })
        ),
    ])
}

fn ask(service: &mut Service, strategy: &str, prompt: &Prompt, score: &mut Score) -> Result<()> {
    let config = json!({
        "strategy": strategy,
        "messages": [{ "role": "user", "content": prompt.ask }],
        "tools": tools(),
        "request": { "temperature": 0, "max_tokens": 200 },
        "style": { "observations": "tool", "grammar": true, "fences": false },
        "budget": { "max_steps": 5 },
    });
    let config = serde_json::from_value(config)
        .map_err(|error| Error::new(Code::Internal, "config", error.to_string()))?;
    let mut run = Run::new(config)?;
    let mut waiting = vec![Event::Begin];
    let mut called_right = false;
    let mut outcome: Option<Outcome> = None;
    let start = Instant::now();
    while let Some(event) = waiting.pop() {
        for action in run.handle(start.elapsed().as_secs_f64() * 1000.0, event)? {
            match action {
                Action::Ask { request, .. } => {
                    let moment = Moment {
                        chance: 0,
                        created: 0,
                        now: now(),
                    };
                    let reply = block_on(service.chat(&request, &moment, &no_pieces));
                    waiting.push(match reply {
                        Ok(reply) => {
                            score.num_draft_tokens += reply.speculation.num_draft_tokens as u64;
                            score.num_accepted_tokens +=
                                reply.speculation.num_accepted_tokens as u64;
                            Event::Reply {
                                reply: json!(reply),
                            }
                        }
                        Err(error) => Event::ReplyFailed {
                            code: error.code().to_string(),
                            message: error.to_string(),
                        },
                    });
                }
                Action::Call {
                    call,
                    tool,
                    arguments,
                    ..
                } => {
                    let right = tool == prompt.tool && same(&arguments, &prompt.arguments);
                    called_right |= right;
                    waiting.push(match right {
                        true => Event::Result {
                            call,
                            value: json!(prompt.result),
                        },
                        false => Event::ResultFailed {
                            call,
                            message: "nothing was found".to_string(),
                        },
                    });
                }
                Action::Consent { card } => {
                    if let CardKind::Plan(plan) = card.kind {
                        waiting.push(Event::Answer {
                            card: card.id,
                            digest: plan.digest,
                            approve: true,
                            always: false,
                        });
                    }
                }
                Action::Finish { outcome: done } => outcome = Some(done),
                _ => {}
            }
        }
    }
    score.right_call += usize::from(called_right);
    if let Some(outcome) = outcome {
        score.answered += usize::from(outcome.ending == Ending::Answered);
        score.n_steps += outcome.n_steps;
        score.n_tokens += outcome.n_tokens;
        let answer = outcome.answer.unwrap_or_default();
        // The words that carry the answer: numbers, and words of five letters and more.
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == ':' || c == '-'))
                .map(|word| word.trim_matches(['.', ':', '-']).to_lowercase())
                .filter(|w| w.chars().count() >= 5 || w.contains(|c: char| c.is_ascii_digit()))
                .collect()
        };
        let said = words(&answer);
        let right = words(&prompt.answer).iter().all(|word| said.contains(word));
        score.right_answer += usize::from(right && called_right);
    }
    Ok(())
}

/// Whether two calls ask for the same: white space and letters' case do not tell.
fn same(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| {
        let text = value.to_string().to_lowercase();
        text.split_whitespace().collect::<String>()
    };
    plain(one) == plain(other)
}
