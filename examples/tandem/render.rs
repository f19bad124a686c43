//! `render`: a conversation to the prompt text.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use serde_json::Value;
use tandem::chat::template::{
    ChatTemplate, LocalTime, RenderRequest, SpecialTokens, TemplateSource, openai_messages,
};
use tandem::format::Checkpoint;
use tandem::{Code, Error, Result};

use super::load::{Role, open};
use super::read_file;

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
    let template = match (&args.model, &args.template) {
        (Some(model), _) => of_checkpoint(&open(model, Role::Target)?)?,
        (None, Some(path)) => ChatTemplate::parse(&read_file(path)?, SpecialTokens::default())?,
        (None, None) => unreachable!("clap wants one of the two"),
    };
    let messages = conversation(&args.messages)?;
    let tools = args.tools.as_deref().map(list).transpose()?;
    let request = RenderRequest {
        tools: tools.as_deref(),
        add_generation_prompt: args.add_generation_prompt,
        ..RenderRequest::new(&messages, now())
    };
    let text = template.render(&request)?;
    // To the byte: no line end is added.
    print!("{text}");
    std::io::stdout()
        .flush()
        .map_err(|error| Error::new(Code::SourceUnreadable, "stdout", error.to_string()))
}

/// A conversation from a file, as templates take it.
pub fn conversation(messages: &Path) -> Result<Vec<Value>> {
    Ok(openai_messages(&list(messages)?))
}

/// Says what stands in where a checkpoint has no template.
pub fn note_stand_in(template: &ChatTemplate) {
    match template.source() {
        TemplateSource::Checkpoint => {}
        TemplateSource::ChatMl => eprintln!("note: no chat template; ChatML stands in"),
        _ => eprintln!("note: no chat template; plain `role: content` stands in"),
    }
}

fn of_checkpoint(checkpoint: &Checkpoint) -> Result<ChatTemplate> {
    let template = ChatTemplate::from_checkpoint(checkpoint)?;
    note_stand_in(&template);
    Ok(template)
}

/// A JSON list from a file.
fn list(path: &Path) -> Result<Vec<Value>> {
    let named =
        |detail: String| Error::new(Code::RequestInvalid, path.display().to_string(), detail);
    match serde_json::from_str(&read_file(path)?) {
        Ok(Value::Array(list)) => Ok(list),
        Ok(_) => Err(named("is not a JSON list".to_string())),
        Err(error) => Err(named(format!("is not JSON: {error}"))),
    }
}

/// The clock on the wall, in UTC.
pub fn now() -> LocalTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    LocalTime::from_unix(since.map_or(0, |since| since.as_secs() as i64))
}
