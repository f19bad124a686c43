//! `tokenize`: text to ids and back.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tandem::Result;
use tandem::tokenizer::{Companions, EncodeOptions, Tokenizer};

use super::load::{Role, open};
use super::{print_json, read_file};

#[derive(Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["model", "tokenizer"])))]
#[command(group(clap::ArgGroup::new("input").required(true).args(["text", "file", "ids"])))]
pub struct Tokenize {
    /// The model whose tokenizer to use.
    #[arg(long)]
    model: Option<String>,
    /// A tokenizer.json by itself.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// The text.
    #[arg(long)]
    text: Option<String>,
    /// A file with the text.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Ids to turn into text.
    #[arg(long, value_name = "1,2,3", value_delimiter = ',')]
    ids: Option<Vec<u32>>,
    /// Put nothing around the text, such as `<s>` in front; with --ids, leave special
    /// tokens out of the text.
    #[arg(long)]
    no_special: bool,
    /// One JSON object: `ids`, and `text` with --ids.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Tokenize) -> Result<()> {
    let tokenizer = match (&args.model, &args.tokenizer) {
        (Some(model), _) => Tokenizer::from_checkpoint(&open(model, Role::Target)?)?,
        (None, Some(path)) => {
            Tokenizer::from_json(read_file(path)?.as_bytes(), &Companions::default())?
        }
        (None, None) => unreachable!("clap wants one of the two"),
    };
    for note in tokenizer.notes() {
        eprintln!("note: {note}");
    }
    if let Some(ids) = &args.ids {
        let text = tokenizer.decode(ids, args.no_special);
        match args.json {
            true => print_json(&json!({ "ids": ids, "text": text })),
            false => println!("{text}"),
        }
        return Ok(());
    }
    let text = match (&args.text, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => read_file(path)?,
        (None, None) => unreachable!("clap wants one of the three"),
    };
    let options = EncodeOptions {
        add_special: !args.no_special,
        parse_special: true,
    };
    let ids = tokenizer.encode(&text, options)?;
    if args.json {
        print_json(&json!({ "ids": ids }));
        return Ok(());
    }
    for id in ids {
        println!("{id:6}  {:?}", tokenizer.decode(&[id], false));
    }
    Ok(())
}
