//! What the person is shown before a request leaves: drawn from the request itself, and
//! never from what a model says about it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::address::Address;
use super::super::tool::Method;
use super::super::trust::{Source, is_hidden, shown};

/// Why the person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing allowed it yet.
    NotYetAllowed,
    /// The address is not from a list, and the person did not write it.
    AnyAddress,
    /// Foreign text was read before the model composed this.
    AfterForeignText,
    /// Part of it comes from what a tool found, after the plan was approved.
    FromEvidence,
    /// It changes something at the other end.
    Changes,
}

/// What the person should look at twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The host's name is not ASCII: it may look like another.
    Punycode,
    /// The host's name is unusually long.
    LongHost,
    /// There are characters that are not seen.
    HiddenCharacters,
    /// There is a long run of letters and digits, as encoded text has.
    LooksEncoded,
}

/// A name and a value of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryShown {
    /// Decoded, what is hidden spelled out.
    pub name: String,
    /// The same.
    pub value: String,
}

/// An argument of the call, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgumentShown {
    /// Its name.
    pub name: String,
    /// Its value, what is hidden spelled out.
    pub value: String,
    /// Who wrote it.
    pub source: Source,
}

/// One request, as the person is to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCard {
    /// Which tool asks.
    pub tool: String,
    /// How.
    pub method: Method,
    /// The whole address, as it will be sent.
    pub url: String,
    /// Its host, to be set off from the rest; in punycode where it is not ASCII.
    pub host: String,
    /// Scheme, host and port.
    pub origin: String,
    /// The path, decoded, what is hidden spelled out.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<QueryShown>,
    /// The body, what is hidden spelled out.
    pub body: Option<String>,
    /// The arguments of the call that led here.
    pub arguments: Vec<ArgumentShown>,
    /// Why the person is asked.
    pub reasons: Vec<Reason>,
    /// What to look at twice.
    pub warnings: Vec<Warning>,
    /// What foreign text was read before.
    pub foreign: Vec<String>,
    /// Whether the answer may be "always, in this run": for templates at a listed origin
    /// that only read.
    pub may_always: bool,
    /// Names exactly this request; an answer has to repeat it.
    pub digest: String,
}

/// What `warnings` a request deserves.
pub(super) fn warnings(address: &Address, body: Option<&str>) -> Vec<Warning> {
    let mut found = Vec::new();
    let host = address.host();
    if host.split('.').any(|label| label.starts_with("xn--")) {
        found.push(Warning::Punycode);
    }
    if host.len() > 60
        || host.split('.').any(|label| label.len() > 30)
        || host.split('.').count() > 6
    {
        found.push(Warning::LongHost);
    }
    let pairs = address.query_pairs();
    let texts: Vec<String> = pairs
        .into_iter()
        .flat_map(|(name, value)| [name, value])
        .chain([
            decoded(address.path()),
            body.unwrap_or_default().to_string(),
        ])
        .collect();
    let hidden = |c: char| is_hidden(c) || (c.is_control() && c != '\n');
    if texts.iter().any(|text| text.chars().any(hidden)) {
        found.push(Warning::HiddenCharacters);
    }
    if texts
        .iter()
        .chain([&host.to_string()])
        .any(|text| looks_encoded(text))
    {
        found.push(Warning::LooksEncoded);
    }
    found
}

/// Whether there is a run of 24 letters and digits that no word would have.
fn looks_encoded(text: &str) -> bool {
    let runs = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=_-".contains(c)));
    let mut long = runs.filter(|run| run.len() >= 24);
    long.any(|run| {
        let digits = run.chars().filter(char::is_ascii_digit).count();
        let upper = run.chars().filter(char::is_ascii_uppercase).count();
        digits >= 3 || upper >= 4
    })
}

/// Percent signs undone where they make UTF-8.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let ahead = rest.clone();
        let hex = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
        match (hex(rest.next()), hex(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => {
                bytes.push(byte);
                rest = ahead;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The path as a person reads it.
pub(super) fn path_shown(address: &Address) -> String {
    shown(&decoded(address.path()))
}

/// 16 hexadecimal digits that name `parts`, in this order.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let bytes = hash.finalize();
    bytes
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
