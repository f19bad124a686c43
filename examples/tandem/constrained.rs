//! `bench --schema`: what it costs to hold a reply to a schema.
//!
//! Replies to one prompt with the schema and without it take turns, each as long as the
//! schema's, with speculation on and off; medians of the time of a token are compared. The
//! texts differ, and so does how well a draft guesses them: both are part of the answer,
//! and both are printed.

use std::path::Path;

use pollster::block_on;
use serde_json::{Value, json};
use tandem::chat::session::{ReplyRequest, Session};
use tandem::chat::template::RenderRequest;
use tandem::decode::constraint::ConstraintSpec;
use tandem::decode::cost::DraftLength;
use tandem::decode::statistics::Speculation;
use tandem::decode::{GenerateOptions, Step};
use tandem::{Code, Error, Result};

use super::bench::median;
use super::generate::schema;
use super::load::session;
use super::render::now;
use super::{Running, print_json};

/// What to measure.
pub struct Constrained<'a> {
    pub model: &'a str,
    pub draft: Option<&'a str>,
    pub schema: &'a Path,
    /// What the user says.
    pub prompt: &'a str,
    pub max_tokens: usize,
    pub repeat: usize,
    pub json: bool,
    pub running: &'a Running,
}

/// A way to reply.
#[derive(Clone, Copy, PartialEq)]
struct Way {
    constrained: bool,
    speculates: bool,
}

/// What one reply took.
struct Run {
    n_tokens: usize,
    n_forced: usize,
    speculation: Speculation,
    text: String,
}

impl Run {
    fn token_s(&self) -> f64 {
        self.speculation.decode_s / self.n_tokens as f64
    }
}

pub fn run(args: &Constrained<'_>) -> Result<()> {
    let (mut session, _) = session(args.model, args.draft, args.running)?;
    let message = json!({ "role": "user", "content": args.prompt });
    let prompt = session.encode_messages(&RenderRequest {
        add_generation_prompt: true,
        ..RenderRequest::new(&[message], now())
    })?;
    let spec = schema(args.schema)?;
    block_on(session.warm_up())?;
    let mut ways = vec![false];
    ways.extend(session.draft().is_some().then_some(true));
    let mut runs: Vec<(Way, Vec<Run>)> = Vec::new();
    for speculates in ways {
        for constrained in [true, false] {
            let way = Way {
                constrained,
                speculates,
            };
            runs.push((way, Vec::new()));
        }
    }
    let mut length = args.max_tokens;
    // The first turn warms up, and says how long the schema's reply is.
    for turn in 0..=args.repeat {
        for (way, runs) in &mut runs {
            let run = reply(&mut session, &prompt, *way, &spec, length)?;
            if turn == 0 && way.constrained {
                length = run.n_tokens;
            }
            if turn > 0 {
                runs.push(run);
            }
        }
    }
    let constrained = |(way, _): &&(Way, Vec<Run>)| way.constrained;
    let texts = runs.iter().filter(constrained).flat_map(|(_, runs)| runs);
    let mut texts = texts.map(|run| run.text.as_str());
    let first = texts.next().unwrap_or_default().to_string();
    if texts.any(|text| text != first) {
        let detail = "speculation changed a constrained text";
        return Err(Error::new(Code::Internal, "bench", detail));
    }
    let report = report(&session, &runs, &first);
    match args.json {
        true => print_json(&report),
        false => print_text(&report),
    }
    Ok(())
}

fn reply(
    session: &mut Session,
    prompt: &[u32],
    way: Way,
    spec: &ConstraintSpec,
    max_tokens: usize,
) -> Result<Run> {
    let request = ReplyRequest {
        options: GenerateOptions {
            max_tokens: Some(max_tokens),
            draft_length: match way.speculates {
                true => DraftLength::Auto,
                false => DraftLength::Fixed(0),
            },
            ..GenerateOptions::default()
        },
        constraint: way.constrained.then(|| spec.clone()),
    };
    let mut generation = session.reply(prompt, request)?;
    let (mut text, mut n_tokens, mut n_forced) = (String::new(), 0, 0);
    while let Some(step) = block_on(generation.step())? {
        match step {
            Step::Prefilled { .. } => {}
            Step::Made { text: more, tokens } => {
                text += &more;
                n_tokens += tokens.len();
                n_forced += tokens
                    .iter()
                    .filter(|token| token.source.as_str() == "forced")
                    .count();
            }
            Step::Finished { text: more, .. } => text += &more,
        }
    }
    let speculation = generation.speculation();
    let costs = generation.costs().clone();
    drop(generation);
    session.learn(costs);
    Ok(Run {
        n_tokens,
        n_forced,
        speculation,
        text,
    })
}

fn report(session: &Session, runs: &[(Way, Vec<Run>)], text: &str) -> Value {
    let token_s = |way: Way| {
        let runs = runs.iter().find(|(other, _)| *other == way);
        runs.map(|(_, runs)| median(runs.iter().map(Run::token_s)))
    };
    let ways = runs.iter().filter_map(|(way, runs)| {
        let last = runs.last()?;
        let other = Way {
            constrained: false,
            ..*way
        };
        Some(json!({
            "schema": way.constrained,
            "speculation": way.speculates,
            "tokens": last.n_tokens,
            "forced_tokens": last.n_forced,
            "token_s": token_s(*way),
            "of_unconstrained": token_s(*way).zip(token_s(other)).map(|(a, b)| a / b),
            "num_drafts": last.speculation.num_drafts,
            "num_draft_tokens": last.speculation.num_draft_tokens,
            "num_accepted_tokens": last.speculation.num_accepted_tokens,
        }))
    });
    json!({
        "model": session.target().name,
        "draft": session.draft().map(|draft| &draft.name),
        "device": session.target().device,
        "text": text,
        "ways": ways.collect::<Vec<_>>(),
    })
}

fn print_text(report: &Value) {
    let text = |name: &str| report[name].as_str().unwrap_or_default().to_string();
    println!("{} on {}: {}", text("model"), text("device"), text("text"));
    println!("\nspeculation  schema  tokens  forced  ms a token  of none  drafted  right");
    for way in report["ways"].as_array().into_iter().flatten() {
        let on = |name: &str| match way[name] == true {
            true => "on",
            false => "off",
        };
        let number = |name: &str| way[name].as_f64().unwrap_or(0.0);
        println!(
            "{:>11}  {:>6}  {:6}  {:6}  {:10.3}  {:7.2}  {:7}  {:5}",
            on("speculation"),
            on("schema"),
            number("tokens"),
            number("forced_tokens"),
            1e3 * number("token_s"),
            number("of_unconstrained"),
            number("num_draft_tokens"),
            number("num_accepted_tokens"),
        );
    }
}
