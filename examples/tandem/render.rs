//! `render`: a conversation to the prompt text.

use std::path::{Path, PathBuf};

use clap::Args;
use tandem::Result;
use tandem::format::Checkpoint;
use tandem::tokenizer::Tokenizer;

use super::not_here;

#[derive(Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["model", "template"])))]
pub struct Render {
    /// The model whose template to use.
    #[arg(long)]
    model: Option<String>,
    /// A template by itself.
    #[arg(long, value_name = "FILE.jinja")]
    template: Option<PathBuf>,
    /// A JSON list of messages.
    #[arg(long, value_name = "FILE.json")]
    messages: PathBuf,
    /// A JSON list of tools.
    #[arg(long, value_name = "FILE.json")]
    tools: Option<PathBuf>,
    /// End where the reply begins.
    #[arg(long)]
    add_generation_prompt: bool,
}

pub fn run(args: &Render) -> Result<()> {
    let _ = (&args.model, &args.template, &args.messages, &args.tools);
    let _ = args.add_generation_prompt;
    Err(not_here("render", "rendering chat templates"))
}

/// The prompt text of a conversation under a checkpoint's own template.
pub fn conversation(
    _checkpoint: &Checkpoint,
    _tokenizer: &Tokenizer,
    _messages: &Path,
    _tools: Option<&Path>,
    _add_generation_prompt: bool,
) -> Result<String> {
    Err(not_here("--messages", "rendering chat templates"))
}
