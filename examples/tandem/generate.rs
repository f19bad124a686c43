//! `generate`: a prompt or a conversation in, text out.

use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use pollster::block_on;
use serde_json::{Value, json};
use tandem::backend::Executor;
use tandem::decode::cost::{Costs, DraftLength, warm_up};
use tandem::decode::draft::NgramDrafter;
use tandem::decode::pair;
use tandem::decode::round::{Clock, Speculation};
use tandem::decode::{
    GenerateOptions, Generation, Lane, SamplingParams, Sequence, Step, verify::Verification,
};
use tandem::tokenizer::EncodeOptions;
use tandem::{Code, Error, Result};

use super::load::{Devices, Loaded, Role, load};
use super::{Running, not_here, print_json};

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
    /// Guess several ways at once.
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
    if args.tree {
        return Err(not_here("--tree", "guessing in trees"));
    }
    if args.schema.is_some() {
        return Err(not_here("--schema", "constraining text to a schema"));
    }
    let devices = Devices::open(args.running.device)?;
    let mut target = load(&args.model, Role::Target, &args.running, &devices)?;
    let mut draft = match &args.draft {
        Some(draft) => Some(load(draft, Role::Draft, &args.running, &devices)?),
        None => None,
    };
    if let Some(draft) = &draft {
        for warning in pair::check(target.member(), draft.member())?.warnings {
            eprintln!("warning: {warning}");
        }
    }
    let prompt = prompt_ids(args, &target)?;
    let options = options(args, &target)?;
    let load_s = target.load_s + draft.as_ref().map_or(0.0, |draft| draft.load_s);

    let start = Instant::now();
    let clock: Clock = Rc::new(move || start.elapsed().as_secs_f64());
    // Without a drafter there is nothing to plan.
    let costs = match draft.is_some() || args.ngram {
        true => {
            let draft = match &mut draft {
                Some(draft) => Some(draft.executor.as_mut() as &mut dyn Executor),
                None => None,
            };
            block_on(warm_up(target.executor.as_mut(), draft, &clock))?
        }
        false => Costs::default(),
    };
    let mut target_sequence = Sequence::new(target.executor.as_mut())?;
    let mut draft_sequence = match &mut draft {
        Some(draft) => Some(Sequence::new(draft.executor.as_mut())?),
        None => None,
    };
    let lane = Lane {
        executor: target.executor.as_mut(),
        sequence: &mut target_sequence,
    };
    let draft_lane = match (&mut draft, &mut draft_sequence) {
        (Some(draft), Some(sequence)) => Some(Lane {
            executor: draft.executor.as_mut(),
            sequence,
        }),
        _ => None,
    };
    let mut generation = Generation::new(
        lane,
        draft_lane,
        &target.tokenizer,
        &prompt,
        options,
        costs,
        clock,
    )?;
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

fn prompt_ids(args: &Generate, target: &Loaded) -> Result<Vec<u32>> {
    let options = EncodeOptions {
        add_special: true,
        parse_special: true,
    };
    match (&args.prompt, &args.messages) {
        (None, Some(messages)) => {
            super::render::conversation(&target.checkpoint, &target.tokenizer, messages)
        }
        (prompt, _) => target
            .tokenizer
            .encode(prompt.as_deref().unwrap_or_default(), options),
    }
}

fn options(args: &Generate, target: &Loaded) -> Result<GenerateOptions> {
    let draft_length = match args.draft_length.as_str() {
        "auto" => DraftLength::Auto,
        number => DraftLength::Fixed(number.parse().map_err(|_| {
            let detail = format!("is {number:?}, not a number or auto");
            Error::new(Code::RequestInvalid, "draft-length", detail)
        })?),
    };
    Ok(GenerateOptions {
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
            false => target.tokenizer.stop_ids().to_vec(),
        },
        draft_length,
        verification: match args.verification {
            Rule::Exact => Verification::Exact,
            Rule::Rejection => Verification::Rejection,
        },
        ngram: args.ngram.then(NgramDrafter::default),
        ..GenerateOptions::default()
    })
}
