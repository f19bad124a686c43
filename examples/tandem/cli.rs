//! What the harness can do, and how it says so.
//!
//! Results go to stdout, as text or, with `--json`, as one JSON object; prose and
//! progress go to stderr. A failure is one line with its code, and a non-zero exit.
//!
//! MODEL is a .gguf file, a Hugging Face folder, or `embedded`: the pair that ships.

#[path = "agents.rs"]
mod agents;
#[path = "bench.rs"]
mod bench;
#[path = "constrained.rs"]
mod constrained;
#[path = "generate.rs"]
mod generate;
#[path = "inspect.rs"]
mod inspect;
#[path = "load.rs"]
mod load;
#[path = "render.rs"]
mod render;
#[path = "score.rs"]
mod score;
#[path = "tokenize.rs"]
mod tokenize;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tandem::{Code, Error, Result};

/// Language models made fast by speculative decoding that never changes the text.
#[derive(Parser)]
#[command(name = "tandem", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says what a checkpoint is; reads no weights.
    Inspect(inspect::Inspect),
    /// Continues a prompt, or answers a conversation.
    Generate(generate::Generate),
    /// Says how likely a text is, token by token.
    Score(score::Score),
    /// Turns text into ids, or ids into text.
    Tokenize(tokenize::Tokenize),
    /// Turns a conversation into the prompt text the model expects.
    Render(render::Render),
    /// Measures what passes cost.
    Bench(bench::Bench),
    /// Answers questions with tools, by every strategy, and counts what was right.
    Agents(agents::Agents),
}

/// Where and how a model runs.
#[derive(Args)]
struct Running {
    /// What computes.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    device: Device,
    /// Threads to compute on [default: as many as the processor runs at once].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Quantise float weights while they are read: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "TYPE")]
    quantize: Option<String>,
    /// Tokens a sequence can hold [default: the model's own, at most 4096].
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Refuse to load where weights, cache and scratch pass this.
    #[arg(long, value_name = "BYTES")]
    memory_budget: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    /// The processor.
    Cpu,
    /// The graphics adapter.
    Gpu,
    /// Whichever is the better of the two here.
    Auto,
}

pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Tokenize(args) => tokenize::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Agents(args) => agents::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code());
            ExitCode::FAILURE
        }
    }
}

/// One JSON object on stdout.
fn print_json(value: &serde_json::Value) {
    println!("{value}");
}

/// A file named on the command line.
fn read_file(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::FileMissing,
            _ => Code::SourceUnreadable,
        };
        Error::new(code, path.display().to_string(), error.to_string())
    })
}
