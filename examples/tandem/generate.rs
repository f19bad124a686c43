//! `generate`: a prompt or a conversation in, text out.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use pollster::block_on;
use serde_json::{Value, json};
use tandem::chat::session::{ReplyRequest, Session};
use tandem::chat::template::RenderRequest;
use tandem::decode::constraint::ConstraintSpec;
use tandem::decode::cost::DraftLength;
use tandem::decode::draft::NgramDrafter;
use tandem::decode::statistics::Speculation;
use tandem::decode::{GenerateOptions, SamplingParams, Step, verify::Verification};
use tandem::{Code, Error, Result};

use super::load::session;
use super::render::{conversation, note_stand_in, now};
use super::{Running, print_json, read_file};

#[derive(Args)]
pub struct Generate {
    /// The model.
    #[arg(long)]
    model: String,
    /// A small model with the same tokenizer that guesses ahead.
    #[arg(long, value_name = "MODEL", conflicts_with = "ngram")]
    draft: Option<String>,
    /// Guess from what the text already said.
    #[arg(long)]
    ngram: bool,
    /// Text to go on from.
    #[arg(
        long,
        required_unless_present = "messages",
        conflicts_with = "messages"
    )]
    prompt: Option<String>,
    /// A conversation to answer: a JSON list of messages.
    #[arg(long, value_name = "FILE.json")]
    messages: Option<PathBuf>,
    /// At most this many tokens [default: as many as the context takes].
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Divides the logits; 0 takes the likeliest token.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Keep the fewest likeliest tokens whose probabilities reach this.
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Keep tokens at least this many times as likely as the likeliest.
    #[arg(long, default_value_t = 0.0)]
    min_p: f32,
    /// The same seed gives the same text.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Text that ends the reply and is not part of it.
    #[arg(long, value_name = "STR")]
    stop: Vec<String>,
    /// Go on past the tokens that end a reply.
    #[arg(long)]
    ignore_eos: bool,
    /// Tokens to guess each round: a number, or `auto` for as many as pay here.
    #[arg(long, value_name = "N|auto", default_value = "auto")]
    draft_length: String,
    /// Guess several ways at once: where it pays, or with --draft-length N always, N
    /// guesses in all.
    #[arg(long)]
    tree: bool,
    /// The rule by which guesses stand.
    #[arg(long, value_enum, default_value_t = Rule::Exact)]
    verification: Rule,
    /// Only text that this JSON schema allows.
    #[arg(long, value_name = "FILE.json")]
    schema: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    /// The text is the one without drafting, token for token.
    Exact,
    /// The distribution is the one without drafting.
    Rejection,
}

pub fn run(args: &Generate) -> Result<()> {
    if args.tree && args.draft.is_none() {
        let detail = "needs a draft model to guess in several ways: --draft MODEL";
        return Err(Error::new(Code::RequestInvalid, "tree", detail));
    }
    if args.tree && matches!(args.verification, Rule::Rejection) {
        let detail = "goes with --verification exact only";
        return Err(Error::new(Code::RequestInvalid, "tree", detail));
    }
    let (mut session, load_s) = session(&args.model, args.draft.as_deref(), &args.running)?;
    let prompt = prompt_ids(args, &session)?;
    let request = request(args, &session)?;
    // Without a drafter there is nothing to plan.
    if session.draft().is_some() || args.ngram {
        block_on(session.warm_up())?;
    }
    let mut generation = session.reply(&prompt, request)?;
    let (mut text, mut token_ids) = (String::new(), Vec::new());
    while let Some(step) = block_on(generation.step())? {
        let piece = match step {
            Step::Prefilled {
                done_tokens,
                total_tokens,
            } => {
                eprintln!("prompt: {done_tokens} of {total_tokens} tokens");
                continue;
            }
            Step::Made { text, tokens } => {
                token_ids.extend(tokens.iter().map(|token| token.id));
                text
            }
            Step::Finished { text, .. } => text,
        };
        if !args.json {
            print!("{piece}");
            // A closed pipe ends the text, not the program's sense of what it did.
            let _ = std::io::stdout().flush();
        }
        text += &piece;
    }
    let usage = generation.usage();
    let speculation = generation.speculation();
    let decode_tokens_per_s = match speculation.decode_s > 0.0 {
        true => speculation.num_tokens as f64 / speculation.decode_s,
        false => 0.0,
    };
    if !args.json {
        println!();
        eprintln!(
            "{} tokens, {decode_tokens_per_s:.1} a second, {:.2} a round",
            usage.completion_tokens,
            speculation.mean_acceptance_length(),
        );
        return Ok(());
    }
    print_json(&json!({
        "text": text,
        "token_ids": token_ids,
        "finish_reason": generation.finish_reason().map(|reason| reason.as_str()),
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
        },
        "timings": {
            "load_s": load_s,
            "prefill_tokens_per_s": generation.prefill_tokens_per_s(),
            "decode_tokens_per_s": decode_tokens_per_s,
        },
        "speculation": speculation_json(&speculation),
    }));
    Ok(())
}

fn speculation_json(speculation: &Speculation) -> Value {
    json!({
        "num_drafts": speculation.num_drafts,
        "num_draft_tokens": speculation.num_draft_tokens,
        "num_accepted_tokens": speculation.num_accepted_tokens,
        "accepted_per_position": speculation.accepted_per_position,
        "mean_acceptance_length": speculation.mean_acceptance_length(),
        "speedup": speculation.speedup(),
    })
}

fn prompt_ids(args: &Generate, session: &Session) -> Result<Vec<u32>> {
    let Some(messages) = &args.messages else {
        return session.encode_text(args.prompt.as_deref().unwrap_or_default(), true);
    };
    note_stand_in(&session.target().template);
    let messages = conversation(messages)?;
    session.encode_messages(&RenderRequest {
        add_generation_prompt: true,
        ..RenderRequest::new(&messages, now())
    })
}

fn request(args: &Generate, session: &Session) -> Result<ReplyRequest> {
    let draft_length = match args.draft_length.as_str() {
        "auto" => DraftLength::Auto,
        number => DraftLength::Fixed(number.parse().map_err(|_| {
            let detail = format!("is {number:?}, not a number or auto");
            Error::new(Code::RequestInvalid, "draft-length", detail)
        })?),
    };
    let options = GenerateOptions {
        max_tokens: args.max_tokens,
        sampling: SamplingParams {
            temperature: args.temperature,
            top_p: args.top_p,
            top_k: args.top_k,
            min_p: args.min_p,
            seed: args.seed,
            ..SamplingParams::default()
        },
        stop: args.stop.clone(),
        stop_ids: match args.ignore_eos {
            true => Vec::new(),
            false => session.target().tokenizer.stop_ids().to_vec(),
        },
        draft_length,
        tree: args.tree,
        verification: match args.verification {
            Rule::Exact => Verification::Exact,
            Rule::Rejection => Verification::Rejection,
        },
        ngram: args.ngram.then(NgramDrafter::default),
        ..GenerateOptions::default()
    };
    let constraint = args.schema.as_deref().map(schema).transpose()?;
    Ok(ReplyRequest {
        options,
        constraint,
    })
}

pub fn schema(path: &Path) -> Result<ConstraintSpec> {
    let schema = serde_json::from_str(&read_file(path)?).map_err(|error| {
        let detail = format!("is not JSON: {error}");
        Error::new(Code::ConstraintInvalid, path.display().to_string(), detail)
    })?;
    Ok(ConstraintSpec::json(schema))
}
