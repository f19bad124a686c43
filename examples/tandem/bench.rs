//! `bench`: what passes cost.

use clap::Args;
use tandem::Result;

use super::not_here;

#[derive(Args)]
pub struct Bench {
    /// The model.
    #[arg(long)]
    model: Option<String>,
}

pub fn run(args: &Bench) -> Result<()> {
    let _ = &args.model;
    Err(not_here("bench", "measuring passes"))
}
