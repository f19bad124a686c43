//! May this request leave? One place decides, and no text that a model reads or writes
//! changes how.
//!
//! [`Gate::decide`] answers a tool's request with one of three: yes, with exactly what is
//! to be fetched ([`Fetch`]); ask the person, with what they are to be shown
//! ([`RequestCard`]); no, with a [`Refusal`]. The page fetches nothing else, and does so in
//! a frame whose content security policy ([`csp`]) is made from the same list.
//!
//! The rules, in the order they are tried:
//! 1. The tool declared this request, its slots fit, and the address is a public one
//!    ([`super::address`], [`super::tool`]).
//! 2. Where the page itself is on a private address, only origins that a tool declared are
//!    reached: a browser would let any other name lead into the network around the page.
//!    Sizes, rates and headers are within [`Limits`].
//! 3. Private text, foreign text and a way out do not meet: refused, unless the call stands
//!    word for word in a plan approved before either was read.
//! 4. What changes something at the other end is asked for, each time.
//! 5. A step of an approved plan goes through where its open slots are the plan's own
//!    words.
//! 6. After foreign text was read, what the model composed or chose is asked for, each
//!    time, whatever was allowed before.
//! 7. An address that the person wrote goes through. Anything else the person allows:
//!    once, or this tool at this origin for the run.

mod card;
pub mod csp;
mod gate;
mod limits;
#[cfg(test)]
mod tests;

pub use card::{ArgumentShown, QueryShown, Reason, RequestCard, Warning, digest};
pub use gate::{Argument, CallContext, Decision, Fetch, Gate, Grant, ToolRequest};
pub use limits::Limits;

use serde::{Deserialize, Serialize};

/// Declares [`Refusal`] so that a code and its meaning stand once.
macro_rules! refusals {
    ($($name:ident = $code:literal, $why:literal;)*) => {
        /// Why a request may not leave.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Refusal { $(#[doc = $why] $name,)* }

        impl Refusal {
            /// All of them.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];

            /// The stable code.
            pub fn as_str(self) -> &'static str {
                match self { $(Refusal::$name => $code,)* }
            }

            /// What it means.
            pub fn why(self) -> &'static str {
                match self { $(Refusal::$name => $why,)* }
            }
        }
    };
}

refusals! {
    TooLong = "too_long", "the address is too long";
    Characters = "characters", "the address holds characters that are not seen or that browsers change";
    Unreadable = "unreadable", "the address is not written in full, in its canonical form";
    Scheme = "scheme", "only https leaves this page";
    Credentials = "credentials", "an address may not hold a name or password";
    AddressLiteral = "address_literal", "a host must be a name, not a number";
    HostName = "host_name", "the host's name is not a public one";
    HostLocal = "host_local", "the host is on this machine or network";
    Port = "port", "the port is not the scheme's own";
    Origin = "origin", "the tool did not declare this origin";
    LocalPage = "local_page", "this page is on a private address: from there a name could lead into the network around it";
    Request = "request", "the tool did not declare this request";
    Slot = "slot", "a slot's value does not fit";
    Query = "query", "the query is too long";
    Header = "header", "this header may not be set";
    Body = "body", "the body is not of the declared type and size";
    CallLimit = "call_limit", "the call has made all its requests";
    RunLimit = "run_limit", "the run has made all its requests";
    RateLimit = "rate_limit", "too many requests to this origin in a minute";
    Concurrency = "concurrency", "too many requests at once";
    Trifecta = "trifecta", "private text, foreign text and a way out may not meet";
    Declined = "declined", "the person said no";
    Redirected = "redirected", "the answer came from another origin";
    ContentType = "content_type", "the answer is neither text nor JSON";
    TooLarge = "too_large", "the answer is too large";
    Timeout = "timeout", "the answer took too long";
    Unreachable = "unreachable", "the server could not be reached, or does not let pages read it";
    Ended = "ended", "the call or run is over";
}
