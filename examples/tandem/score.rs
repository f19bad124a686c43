//! `score`: how likely a text is under the model.

use clap::Args;
use pollster::block_on;
use serde_json::json;
use tandem::backend::{LogitRows, Rows};
use tandem::decode::sampling::logprobs;
use tandem::decode::sequence::PREFILL_CHUNK_TOKENS;
use tandem::tokenizer::EncodeOptions;
use tandem::{Code, Error, Result};

use super::load::{Devices, Role, load};
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
    let devices = Devices::open(args.running.device)?;
    let mut target = load(&args.model, Role::Target, &args.running, &devices)?;
    let options = EncodeOptions {
        add_special: true,
        parse_special: true,
    };
    let token_ids = target.tokenizer.encode(&args.text, options)?;
    if token_ids.len() < 2 {
        let detail = format!("{} tokens: there is nothing to score", token_ids.len());
        return Err(Error::new(Code::RequestInvalid, "text", detail));
    }
    let executor = target.executor.as_mut();
    let cache = executor.new_cache()?;
    let n_vocab = target.model.weights.n_vocab();
    let mut scores: Vec<f32> = Vec::with_capacity(token_ids.len() - 1);
    for chunk in token_ids[..token_ids.len() - 1].chunks(PREFILL_CHUNK_TOKENS) {
        let rows = Rows::chain(chunk);
        let logits = block_on(executor.forward(cache, &rows, LogitRows::All))?;
        for row in logits.chunks_exact(n_vocab) {
            let next = token_ids[scores.len() + 1];
            scores.push(logprobs(row, next, 0).0);
        }
    }
    let total: f64 = scores.iter().map(|&score| f64::from(score)).sum();
    let perplexity = (-total / scores.len() as f64).exp();
    if args.json {
        print_json(&json!({
            "token_ids": token_ids,
            "logprobs": scores,
            "perplexity": perplexity,
        }));
        return Ok(());
    }
    for (id, score) in token_ids[1..].iter().zip(&scores) {
        println!(
            "{score:9.4}  {id:6}  {:?}",
            target.tokenizer.decode(&[*id], false)
        );
    }
    println!("perplexity {perplexity:.4}");
    Ok(())
}
