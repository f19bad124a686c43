//! The decision, and what it remembers: how often, and what the person allowed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::card::{self, ArgumentShown, QueryShown, Reason, RequestCard, digest};
use super::{Limits, Refusal};
use crate::agent::address::{Origin, is_local_host};
use crate::agent::tool::{BodyKind, Filled, Manifest, Method, Template};
use crate::agent::trust::{Source, Taint, shown};

/// Headers that a tool may set, beside the one that says what its body is.
const HEADERS: &[&str] = &["accept", "accept-language"];
const MAX_HEADER_CHARS: usize = 200;
const MINUTE_MS: f64 = 60_000.0;

/// What a tool asks of the network: one of its templates, and what stands in the slots.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRequest {
    /// The template's name.
    pub request: String,
    /// What stands in its slots.
    #[serde(default)]
    pub slots: Map<String, Json>,
    /// Headers, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, where the template has one.
    #[serde(default)]
    pub body: Option<String>,
}

/// An argument of a call, and who wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Json,
    /// Who wrote it.
    pub source: Source,
}

/// The call that a request is made for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallContext {
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// What the model had read when it wrote the call, and the tool since.
    pub taint: Taint,
    /// Whether it is a step of a plan that the person approved. Arguments whose source is
    /// [`Source::Plan`] stand in it word for word.
    pub is_planned: bool,
    /// Whether foreign and private text was read before that plan was made.
    pub plan_was_clean: bool,
    /// The addresses that the person wrote, canonical.
    pub person_addresses: BTreeSet<String>,
    /// Requests it has made.
    pub n_requests: usize,
}

/// What the person allowed for a run: this tool, at this origin, by its templates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The tool.
    pub tool: String,
    /// The origin.
    pub origin: Origin,
}

/// Exactly what the page is to fetch. It adds nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fetch {
    /// The canonical address; the page checks that its own parser leaves it as it is.
    pub url: String,
    /// Where it goes, and where the answer must come from.
    pub origin: Origin,
    /// How.
    pub method: Method,
    /// All headers that are set.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Option<String>,
    /// Bounds on the answer.
    pub max_response_bytes: u64,
    /// For the whole answer.
    pub timeout_ms: u64,
    /// For its first byte.
    pub first_byte_ms: u64,
    /// The frame's content security policy.
    pub csp: String,
    /// `fetch`'s other options, always these.
    pub init: FetchInit,
}

/// Options of `fetch` that nobody chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchInit {
    pub redirect: Fixed<0>,
    pub credentials: Fixed<1>,
    pub mode: Fixed<2>,
    #[serde(rename = "referrerPolicy")]
    pub referrer_policy: Fixed<3>,
    pub cache: Fixed<4>,
    pub keepalive: bool,
}

/// One of [`FIXED`]'s words, which nothing can change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fixed<const WORD: usize>;

const FIXED: [&str; 5] = ["error", "omit", "cors", "no-referrer", "no-store"];

impl<const WORD: usize> Serialize for Fixed<WORD> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(FIXED[WORD])
    }
}

impl<'de, const WORD: usize> Deserialize<'de> for Fixed<WORD> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word == FIXED[WORD] {
            true => Ok(Self),
            false => Err(serde::de::Error::custom("is not the fixed option")),
        }
    }
}

const INIT: FetchInit = FetchInit {
    redirect: Fixed,
    credentials: Fixed,
    mode: Fixed,
    referrer_policy: Fixed,
    cache: Fixed,
    keepalive: false,
};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It leaves, as this.
    Allow(Box<Fetch>),
    /// The person is asked; with a yes it leaves as this.
    Ask(Box<RequestCard>, Box<Fetch>),
    /// It does not, and the tool is told why.
    Deny(Refusal, String),
}

/// Decides, and counts.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    limits: Limits,
    loopback: Vec<Origin>,
    page_is_local: bool,
    grants: BTreeSet<Grant>,
    n_requests: usize,
    n_under_way: usize,
    /// When requests to each origin left, within the last minute.
    recent_ms: BTreeMap<Origin, Vec<f64>>,
}

impl Gate {
    /// A gate. `grants` are what the person allowed before; `loopback` origins on this
    /// machine, which only tests have.
    pub fn new(
        limits: Limits,
        grants: impl IntoIterator<Item = Grant>,
        loopback: Vec<Origin>,
    ) -> Self {
        Self {
            limits,
            loopback,
            grants: grants.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same for a page on `host`: on a private one no address is reached but declared
    /// origins.
    #[must_use]
    pub fn on_page(self, host: &str) -> Self {
        Self {
            page_is_local: is_local_host(host),
            ..self
        }
    }

    /// Its bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Origins on this machine that count as public.
    pub fn loopback(&self) -> &[Origin] {
        &self.loopback
    }

    /// What the person allowed.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter()
    }

    /// Decides about `request` of `tool`, at `now_ms` of any clock that does not run back.
    pub fn decide(
        &self,
        now_ms: f64,
        tool: &Manifest,
        call: &CallContext,
        request: &ToolRequest,
    ) -> Decision {
        let (template, fetch, filled) = match self.prepare(tool, request) {
            Ok(prepared) => prepared,
            Err((refusal, what)) => return Decision::Deny(refusal, what),
        };
        if let Err(refusal) = self.within(now_ms, call, &fetch.origin) {
            return Decision::Deny(refusal, refusal.why().to_string());
        }
        let any = template.whole_url_slot().is_some();
        let fixed_by_plan =
            call.is_planned && call.arguments.iter().all(|a| a.source == Source::Plan);
        if call.taint.is_foreign()
            && call.taint.is_private()
            && !(fixed_by_plan && call.plan_was_clean)
        {
            return Decision::Deny(Refusal::Trifecta, Refusal::Trifecta.why().to_string());
        }
        let reasons = self.reasons(tool, call, template, &fetch, &filled);
        if reasons.is_empty() {
            return Decision::Allow(Box::new(fetch));
        }
        let may_always = !any && template.method.only_reads();
        let card = draw(tool, call, &fetch, &filled, reasons, may_always);
        Decision::Ask(Box::new(card), Box::new(fetch))
    }

    /// Why the person has to be asked; nothing where they need not.
    fn reasons(
        &self,
        tool: &Manifest,
        call: &CallContext,
        template: &Template,
        fetch: &Fetch,
        filled: &Filled,
    ) -> Vec<Reason> {
        let any = template.whole_url_slot().is_some();
        if !template.method.only_reads() {
            return vec![Reason::Changes];
        }
        let source = |text: &str| {
            let same = |argument: &&Argument| plain(&argument.value) == text;
            // What the tool's code made of its arguments, or of an answer, is nobody's word.
            let found = call.arguments.iter().find(same);
            found.map_or(Source::Tool(tool.name.clone()), |argument| {
                argument.source.clone()
            })
        };
        let open = || filled.slots.iter().filter(|slot| !slot.is_closed);
        if call.is_planned {
            let planned = open().all(|slot| source(&slot.text) == Source::Plan);
            return if planned {
                Vec::new()
            } else {
                vec![Reason::FromEvidence]
            };
        }
        let written = call.person_addresses.contains(&fetch.url);
        if any {
            return match (written, call.taint.is_foreign()) {
                (true, _) => Vec::new(),
                (false, false) => vec![Reason::AnyAddress],
                (false, true) => vec![Reason::AnyAddress, Reason::AfterForeignText],
            };
        }
        let grant = Grant {
            tool: tool.name.clone(),
            origin: fetch.origin.clone(),
        };
        let mut reasons = Vec::new();
        if !self.grants.contains(&grant) && !written {
            reasons.push(Reason::NotYetAllowed);
        }
        let composed = open().any(|slot| source(&slot.text) != Source::Person);
        if call.taint.is_foreign() && composed && !written {
            reasons.push(Reason::AfterForeignText);
        }
        reasons
    }

    /// Makes of `request` what would be fetched.
    fn prepare<'a>(
        &self,
        tool: &'a Manifest,
        request: &ToolRequest,
    ) -> Result<(&'a Template, Fetch, Filled), (Refusal, String)> {
        let refuse = |refusal: Refusal, what: String| Err((refusal, what));
        let template = tool
            .requests
            .iter()
            .find(|template| template.name == request.request);
        let Some(template) = template else {
            return refuse(
                Refusal::Request,
                format!("{:?} declares no request {:?}", tool.name, request.request),
            );
        };
        let filled = template.fill(&request.slots, &self.loopback)?;
        let address = &filled.address;
        let origin = address.origin().clone();
        if template.whole_url_slot().is_some() {
            let is_loopback = self.loopback.contains(&origin);
            if address.port().is_some() && !is_loopback {
                return refuse(Refusal::Port, Refusal::Port.why().to_string());
            }
            if self.page_is_local && !is_loopback {
                return refuse(Refusal::LocalPage, Refusal::LocalPage.why().to_string());
            }
        } else if !tool.origins.iter().any(|listed| listed == origin.as_str()) {
            return refuse(
                Refusal::Origin,
                format!("{origin} is not declared by {:?}", tool.name),
            );
        }
        if address.href().len() > self.limits.max_url_bytes {
            return refuse(Refusal::TooLong, Refusal::TooLong.why().to_string());
        }
        if address
            .query()
            .is_some_and(|query| query.len() > self.limits.max_query_bytes)
        {
            return refuse(Refusal::Query, Refusal::Query.why().to_string());
        }
        let mut headers = BTreeMap::new();
        for (name, value) in &request.headers {
            let name = name.to_ascii_lowercase();
            let plain = value.chars().all(|c| (' '..='~').contains(&c));
            if !HEADERS.contains(&name.as_str()) || !plain || value.len() > MAX_HEADER_CHARS {
                return refuse(
                    Refusal::Header,
                    format!("{name:?} may not be set to {value:?}"),
                );
            }
            headers.insert(name, value.clone());
        }
        let body = match (&request.body, template.body) {
            (None, None) => None,
            (Some(body), Some(kind)) if body.len() <= self.limits.max_body_bytes => {
                let sound = kind == BodyKind::Text || serde_json::from_str::<Json>(body).is_ok();
                if !sound {
                    return refuse(Refusal::Body, "the body is not JSON".to_string());
                }
                let kind = match kind {
                    BodyKind::Json => "application/json",
                    BodyKind::Text => "text/plain;charset=utf-8",
                };
                headers.insert("content-type".to_string(), kind.to_string());
                Some(body.clone())
            }
            _ => return refuse(Refusal::Body, Refusal::Body.why().to_string()),
        };
        let fetch = Fetch {
            url: address.href().to_string(),
            csp: super::csp::broker([&origin]),
            origin,
            method: template.method,
            headers,
            body,
            max_response_bytes: self.limits.max_response_bytes,
            timeout_ms: self.limits.timeout_ms,
            first_byte_ms: self.limits.first_byte_ms,
            init: INIT,
        };
        Ok((template, fetch, filled))
    }

    fn within(&self, now_ms: f64, call: &CallContext, origin: &Origin) -> Result<(), Refusal> {
        if call.n_requests >= self.limits.max_requests_per_call {
            return Err(Refusal::CallLimit);
        }
        if self.n_requests >= self.limits.max_requests_per_run {
            return Err(Refusal::RunLimit);
        }
        if self.n_under_way >= self.limits.max_concurrent_requests {
            return Err(Refusal::Concurrency);
        }
        let recent = self.recent_ms.get(origin).into_iter().flatten();
        let n_recent = recent.filter(|at| now_ms - **at < MINUTE_MS).count();
        if n_recent >= self.limits.max_requests_per_minute {
            return Err(Refusal::RateLimit);
        }
        Ok(())
    }

    /// A request leaves.
    pub fn left(&mut self, now_ms: f64, origin: &Origin) {
        self.n_requests += 1;
        self.n_under_way += 1;
        let recent = self.recent_ms.entry(origin.clone()).or_default();
        recent.retain(|at| now_ms - *at < MINUTE_MS);
        recent.push(now_ms);
    }

    /// A request that left is over, however it ended.
    pub fn came_back(&mut self) {
        self.n_under_way = self.n_under_way.saturating_sub(1);
    }

    /// The person said "always" to a card: where it may be.
    pub fn grant(&mut self, card: &RequestCard, origin: &Origin) {
        if card.may_always {
            self.grants.insert(Grant {
                tool: card.tool.clone(),
                origin: origin.clone(),
            });
        }
    }

    /// Whether the answer to `fetch` is what was asked for: `url` is where it came from in
    /// the end, as the browser says.
    ///
    /// # Errors
    /// `redirected`, `content_type` or `too_large`.
    pub fn accept(
        &self,
        fetch: &Fetch,
        url: &str,
        content_type: &str,
        n_bytes: u64,
    ) -> Result<(), Refusal> {
        let same = super::super::address::Address::parse(url, &self.loopback)
            .is_ok_and(|a| *a.origin() == fetch.origin);
        if !same {
            return Err(Refusal::Redirected);
        }
        let kind = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let text = kind.starts_with("text/")
            || kind == "application/json"
            || kind.ends_with("+json")
            || kind == "application/xml"
            || kind.ends_with("+xml");
        if !text {
            return Err(Refusal::ContentType);
        }
        if n_bytes > fetch.max_response_bytes {
            return Err(Refusal::TooLarge);
        }
        Ok(())
    }
}

/// A value as text: strings without their quotes.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn draw(
    tool: &Manifest,
    call: &CallContext,
    fetch: &Fetch,
    filled: &Filled,
    reasons: Vec<Reason>,
    may_always: bool,
) -> RequestCard {
    let address = &filled.address;
    let method = serde_json::to_string(&fetch.method).unwrap_or_default();
    let headers = serde_json::to_string(&fetch.headers).unwrap_or_default();
    RequestCard {
        tool: tool.name.clone(),
        method: fetch.method,
        url: fetch.url.clone(),
        host: address.host().to_string(),
        origin: fetch.origin.to_string(),
        path: card::path_shown(address),
        query: address
            .query_pairs()
            .into_iter()
            .map(|(name, value)| QueryShown {
                name: shown(&name),
                value: shown(&value),
            })
            .collect(),
        body: fetch.body.as_deref().map(shown),
        arguments: call
            .arguments
            .iter()
            .map(|argument| ArgumentShown {
                name: argument.name.clone(),
                value: shown(&plain(&argument.value)),
                source: argument.source.clone(),
            })
            .collect(),
        reasons,
        warnings: card::warnings(address, fetch.body.as_deref()),
        foreign: call.taint.foreign.iter().cloned().collect(),
        may_always,
        digest: digest(&[
            &method,
            &fetch.url,
            &headers,
            fetch.body.as_deref().unwrap_or_default(),
        ]),
    }
}
