//! Where every text came from, and what is done to a result before a model reads it.
//!
//! A [`Ledger`] holds what the model has read, by [`Source`]. Text that is not the
//! person's, the page's or the model's own is *foreign*: from then on every choice the
//! model makes may be somebody else's. Cleaning ([`clean`]) takes out what a person would
//! not see and what models or strategies read as structure. It is hygiene: the boundary is
//! the policy.

mod clean;
mod html;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use clean::{Cleaned, clean, fence, is_hidden, shown};
pub use html::html_to_text;

use super::address::{Address, Origin};

/// Who wrote something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Source {
    /// The person, in this conversation.
    Person,
    /// The page: its system prompt.
    Page,
    /// The model.
    Model,
    /// A plan that the person has approved.
    Plan,
    /// The result of a tool.
    Tool(String),
    /// A file that the person attached.
    File(String),
    /// Another chat, or what is remembered from one.
    Memory(String),
    /// Text from the web that the page put in.
    Web(String),
}

impl Source {
    /// Whether somebody else may have written it.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Source::Tool(_) | Source::File(_) | Source::Web(_))
    }

    /// Whether it holds what is the person's own and not in the question.
    pub fn is_private(&self) -> bool {
        matches!(self, Source::File(_) | Source::Memory(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Person => f.write_str("person"),
            Source::Page => f.write_str("page"),
            Source::Model => f.write_str("model"),
            Source::Plan => f.write_str("plan"),
            Source::Tool(name) => write!(f, "tool:{name}"),
            Source::File(name) => write!(f, "file:{name}"),
            Source::Memory(name) => write!(f, "memory:{name}"),
            Source::Web(name) => write!(f, "web:{name}"),
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let named = |name: &str| name.to_string();
        Ok(match text.split_once(':') {
            None => match text.as_str() {
                "person" => Source::Person,
                "page" => Source::Page,
                "model" => Source::Model,
                "plan" => Source::Plan,
                _ => return Err(format!("{text:?} is no source")),
            },
            Some(("tool", name)) => Source::Tool(named(name)),
            Some(("file", name)) => Source::File(named(name)),
            Some(("memory", name)) => Source::Memory(named(name)),
            Some(("web", name)) => Source::Web(named(name)),
            Some(_) => return Err(format!("{text:?} is no source")),
        })
    }
}

/// What hangs on what has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    /// What foreign text there was: origins, and names of files and tools.
    #[serde(default)]
    pub foreign: BTreeSet<String>,
    /// What private text there was.
    #[serde(default)]
    pub private: BTreeSet<String>,
}

impl Taint {
    /// Whether foreign text was read.
    pub fn is_foreign(&self) -> bool {
        !self.foreign.is_empty()
    }

    /// Whether private text was read.
    pub fn is_private(&self) -> bool {
        !self.private.is_empty()
    }

    /// What either of two has read.
    pub fn with(&self, more: &Taint) -> Taint {
        Taint {
            foreign: self.foreign.union(&more.foreign).cloned().collect(),
            private: self.private.union(&more.private).cloned().collect(),
        }
    }
}

/// What the model has read, and who wrote it.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    spans: Vec<(Source, String)>,
    taint: Taint,
}

impl Ledger {
    /// A ledger that begins with what an earlier run left.
    pub fn new(taint: Taint) -> Self {
        Self {
            spans: Vec::new(),
            taint,
        }
    }

    /// The model reads `text`.
    pub fn read(&mut self, source: Source, text: &str) {
        if source.is_foreign() {
            self.taint.foreign.insert(source.to_string());
        }
        if source.is_private() {
            self.taint.private.insert(source.to_string());
        }
        self.spans.push((source, text.to_string()));
    }

    /// The model reads a tool's result, which carries what the tool has read.
    pub fn read_result(&mut self, tool: &str, text: &str, taint: &Taint) {
        self.taint = self.taint.with(taint);
        self.spans
            .push((Source::Tool(tool.to_string()), text.to_string()));
    }

    /// What has been read so far.
    pub fn taint(&self) -> &Taint {
        &self.taint
    }

    /// Who wrote a value that the model has written now: the person where it stands, as a
    /// word of its own, in what the person said; else a tool where it stands in a result;
    /// else the model.
    pub fn source_of(&self, value: &Json) -> Source {
        let text = match value {
            Json::String(text) => text.clone(),
            value => value.to_string(),
        };
        if text.trim().is_empty() {
            return Source::Model;
        }
        let said = |person: bool| {
            self.spans
                .iter()
                .filter(move |(source, _)| (*source == Source::Person) == person)
        };
        let found = said(true).find(|(_, span)| stands_in(span, &text));
        let found = found.or_else(|| {
            said(false).find(|(source, span)| source.is_foreign() && stands_in(span, &text))
        });
        found.map_or(Source::Model, |(source, _)| source.clone())
    }

    /// The addresses that the person wrote, in their canonical form.
    pub fn addresses_of_person(&self, loopback: &[Origin]) -> BTreeSet<String> {
        let said = self
            .spans
            .iter()
            .filter(|(source, _)| *source == Source::Person);
        let ends = |c: char| c.is_whitespace() || "<>\"'()[]{}|`".contains(c);
        let words = said.flat_map(|(_, text)| text.split(ends));
        let addresses = words
            .filter(|word| word.starts_with("http"))
            .flat_map(|word| {
                // A sentence's point is not the address's, but may be.
                let bare = word.trim_end_matches(['.', ',', ';', ':', '!', '?']);
                [word, bare].map(|word| Address::parse(word, loopback).ok())
            });
        addresses.flatten().map(|a| a.href().to_string()).collect()
    }
}

/// Whether `part` stands in `text` with no letter or digit against its ends.
fn stands_in(text: &str, part: &str) -> bool {
    text.match_indices(part).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + part.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sources_are_spelled_and_read_back() {
        for text in [
            "person",
            "page",
            "model",
            "plan",
            "tool:weather",
            "file:a:b.txt",
            "memory:2",
            "web:https://x.example",
        ] {
            let source = Source::try_from(text.to_string()).unwrap();
            assert_eq!(source.to_string(), text);
        }
        assert!(Source::try_from("people".to_string()).is_err());
        assert!(Source::try_from("people:x".to_string()).is_err());
    }

    #[test]
    fn what_is_read_taints_for_good() {
        let mut ledger = Ledger::default();
        ledger.read(Source::Person, "hello");
        ledger.read(Source::Page, "be kind");
        assert_eq!(*ledger.taint(), Taint::default());
        ledger.read(Source::Memory("names".into()), "Ann");
        assert!(ledger.taint().is_private() && !ledger.taint().is_foreign());
        ledger.read(Source::File("a.txt".into()), "text");
        assert!(ledger.taint().is_foreign());
        ledger.read(Source::Person, "forget all that");
        assert!(ledger.taint().is_foreign() && ledger.taint().is_private());
        // It outlives the run.
        let next = Ledger::new(ledger.taint().clone());
        assert!(next.taint().is_foreign());
    }

    #[test]
    fn a_value_belongs_to_whoever_wrote_it() {
        let mut ledger = Ledger::default();
        ledger.read(Source::Person, "What is the weather in Oslo for 12 days?");
        let taint = Taint::default();
        ledger.read_result(
            "encyclopedia",
            "Bergen lies in Oslo's west. Code: 777.",
            &taint,
        );
        assert_eq!(ledger.source_of(&json!("Oslo")), Source::Person);
        assert_eq!(ledger.source_of(&json!(12)), Source::Person);
        assert_eq!(
            ledger.source_of(&json!("Bergen")),
            Source::Tool("encyclopedia".into())
        );
        assert_eq!(
            ledger.source_of(&json!(777)),
            Source::Tool("encyclopedia".into())
        );
        assert_eq!(
            ledger.source_of(&json!("Osl")),
            Source::Model,
            "a part of a word is not the word"
        );
        assert_eq!(ledger.source_of(&json!(1)), Source::Model);
        assert_eq!(ledger.source_of(&json!("")), Source::Model);
        assert_eq!(ledger.source_of(&json!("Paris")), Source::Model);
    }

    #[test]
    fn addresses_that_the_person_wrote_are_known_byte_for_byte() {
        let mut ledger = Ledger::default();
        ledger.read(
            Source::Person,
            "Read https://example.com/a?b=c, and (https://Example.org). Not http://x.com",
        );
        ledger.read(Source::Web("w".into()), "https://evil.com/");
        let found = ledger.addresses_of_person(&[]);
        assert!(found.contains("https://example.com/a?b=c"));
        assert!(found.contains("https://example.org/"));
        assert!(!found.contains("https://evil.com/"));
        assert!(!found.iter().any(|url| url.contains("x.com")));
    }
}
