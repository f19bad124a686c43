//! `score`: how likely a text is under the model.

use clap::Args;
use pollster::block_on;
use serde_json::json;
use tandem::Result;

use super::load::session;
use super::{Running, print_json};

#[derive(Args)]
pub struct Score {
    /// The model.
    #[arg(long)]
    model: String,
    /// The text.
    #[arg(long)]
    text: String,
    /// One JSON object: `token_ids`, `logprobs` (of every token but the first, given
    /// all before it) and `perplexity`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

pub fn run(args: &Score) -> Result<()> {
    let (mut session, _) = session(&args.model, None, &args.running)?;
    let token_ids = session.encode_text(&args.text, true)?;
    let score = block_on(session.score(&token_ids))?;
    let perplexity = score.perplexity();
    if args.json {
        print_json(&json!({
            "token_ids": score.token_ids,
            "logprobs": score.logprobs,
            "perplexity": perplexity,
        }));
        return Ok(());
    }
    let tokenizer = &session.target().tokenizer;
    for (id, logprob) in score.token_ids[1..].iter().zip(&score.logprobs) {
        println!(
            "{logprob:9.4}  {id:6}  {:?}",
            tokenizer.decode(&[*id], false)
        );
    }
    println!("perplexity {perplexity:.4}");
    Ok(())
}
