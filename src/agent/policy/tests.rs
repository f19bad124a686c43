//! A row per rule: each names the control it is about, as the research numbers them.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::*;
use crate::agent::address::{Address, Origin};
use crate::agent::tool::Manifest;
use crate::agent::trust::{Source, Taint};

fn encyclopedia() -> Manifest {
    serde_json::from_value(json!({
        "name": "encyclopedia", "description": "", "parameters": { "type": "object" },
        "origins": ["https://en.wikipedia.org"],
        "requests": [
            { "name": "summary", "url": "https://en.wikipedia.org/api/{title}", "slots": { "title": { "type": "text", "max_chars": 200 } } },
            { "name": "page", "url": "https://en.wikipedia.org/?curid={id}", "slots": { "id": { "type": "integer", "min": 1, "max": 99999999 } } },
            { "name": "edit", "method": "POST", "body": "json", "url": "https://en.wikipedia.org/edit" },
        ],
    }))
    .unwrap()
}

fn web_page() -> Manifest {
    serde_json::from_value(json!({
        "name": "web_page", "description": "", "parameters": { "type": "object" }, "origins": ["*"],
        "requests": [{ "name": "page", "url": "{url}", "slots": { "url": { "type": "url" } } }],
    }))
    .unwrap()
}

fn request(name: &str, slots: Json) -> ToolRequest {
    ToolRequest {
        request: name.to_string(),
        slots: slots.as_object().unwrap().clone(),
        ..ToolRequest::default()
    }
}

fn call(value: &str, source: Source) -> CallContext {
    CallContext {
        arguments: vec![Argument {
            name: "title".into(),
            value: json!(value),
            source,
        }],
        ..CallContext::default()
    }
}

fn foreign() -> Taint {
    Taint {
        foreign: ["tool:web_page".to_string()].into(),
        ..Taint::default()
    }
}

fn both() -> Taint {
    Taint {
        private: ["memory:names".to_string()].into(),
        ..foreign()
    }
}

/// `allow`, `ask` with its reasons, or the refusal's code.
fn word(decision: &Decision) -> String {
    match decision {
        Decision::Allow(_) => "allow".to_string(),
        Decision::Ask(card, _) => {
            let reasons: Vec<String> = card
                .reasons
                .iter()
                .map(|r| {
                    serde_json::to_value(r)
                        .unwrap()
                        .as_str()
                        .unwrap()
                        .to_string()
                })
                .collect();
            format!("ask {}", reasons.join(" "))
        }
        Decision::Deny(refusal, _) => refusal.as_str().to_string(),
    }
}

fn granted() -> Gate {
    let grant = |tool: &str| Grant {
        tool: tool.into(),
        origin: Origin::parse("https://en.wikipedia.org", &[]).unwrap(),
    };
    Gate::new(
        Limits::default(),
        [grant("encyclopedia"), grant("web_page")],
        Vec::new(),
    )
}

fn decide(gate: &Gate, tool: &Manifest, call: &CallContext, request: &ToolRequest) -> String {
    word(&gate.decide(0.0, tool, call, request))
}

#[test]
fn c3_c11_a_tool_reaches_only_what_it_declared() {
    let gate = granted();
    let clean = CallContext::default();
    let title = |title: &str| request("summary", json!({ "title": title }));
    assert_eq!(
        decide(&gate, &encyclopedia(), &clean, &title("Oslo")),
        "allow"
    );
    assert_eq!(
        decide(&gate, &encyclopedia(), &clean, &request("other", json!({}))),
        "request"
    );
    assert_eq!(
        decide(
            &gate,
            &encyclopedia(),
            &clean,
            &request("summary", json!({ "url": "https://evil.com" }))
        ),
        "slot"
    );
    assert_eq!(decide(&gate, &encyclopedia(), &clean, &title("..")), "slot");
    assert_eq!(
        decide(
            &gate,
            &encyclopedia(),
            &clean,
            &request("page", json!({ "id": "1&x=y" }))
        ),
        "slot"
    );
    // A manifest that was never checked is held to its origins all the same.
    let mut liar = encyclopedia();
    liar.requests[0].url = "https://evil.com/{title}".into();
    assert_eq!(decide(&gate, &liar, &clean, &title("Oslo")), "origin");
    // A listed name's beginning is not that name.
    liar.requests[0].url = "https://en.wikipedia.org.evil.com/{title}".into();
    assert_eq!(decide(&gate, &liar, &clean, &title("Oslo")), "origin");
    let Decision::Allow(fetch) = gate.decide(0.0, &encyclopedia(), &clean, &title("Oslo")) else {
        panic!()
    };
    assert!(
        fetch.csp.contains("connect-src https://en.wikipedia.org;"),
        "{}",
        fetch.csp
    );
}

#[test]
fn c1_c2_any_address_is_still_a_public_one() {
    let gate = granted();
    for (url, code) in [
        ("http://example.com/", "scheme"),
        ("https://user@example.com/", "credentials"),
        ("https://169.254.169.254/", "address_literal"),
        ("https://[::1]/", "address_literal"),
        ("https://router.local/", "host_local"),
        ("https://example.com:8443/", "port"),
        ("https://example.com/", "ask any_address"),
        // Neither a prefix nor a suffix of a listed name is that name.
        ("https://en.wikipedia.org.evil.com/", "ask any_address"),
        ("https://evil-en.wikipedia.org/", "ask any_address"),
        (
            "https://evil.com/https://en.wikipedia.org",
            "ask any_address",
        ),
    ] {
        let call = CallContext::default();
        assert_eq!(
            decide(
                &gate,
                &web_page(),
                &call,
                &request("page", json!({ "url": url }))
            ),
            code,
            "{url}"
        );
    }
}

#[test]
fn c4_c5_nothing_about_the_fetch_can_be_chosen() {
    let gate = granted();
    let request = request("summary", json!({ "title": "Oslo" }));
    let Decision::Allow(fetch) =
        gate.decide(0.0, &encyclopedia(), &CallContext::default(), &request)
    else {
        panic!()
    };
    assert_eq!(
        serde_json::to_value(fetch.init).unwrap(),
        json!({ "redirect": "error", "credentials": "omit", "mode": "cors", "referrerPolicy": "no-referrer", "cache": "no-store", "keepalive": false })
    );
    let odd = json!({ "request": "summary", "slots": {}, "credentials": "include" });
    assert!(serde_json::from_value::<ToolRequest>(odd).is_err());
    // An answer from elsewhere is none.
    let accept =
        |url: &str, kind: &str, n| gate.accept(&fetch, url, kind, n).map_err(Refusal::as_str);
    assert_eq!(
        accept(
            "https://en.wikipedia.org/other",
            "application/json; charset=utf-8",
            10
        ),
        Ok(())
    );
    for url in [
        "https://evil.com/",
        "https://en.wikipedia.org.evil.com/",
        "http://en.wikipedia.org/",
        "https://en.wikipedia.org:8443/",
        "",
        "about:blank",
    ] {
        assert_eq!(accept(url, "text/plain", 10), Err("redirected"), "{url}");
    }
    for kind in [
        "image/png",
        "application/octet-stream",
        "application/wasm",
        "",
        "application/javascript",
    ] {
        assert_eq!(
            accept("https://en.wikipedia.org/", kind, 10),
            Err("content_type"),
            "{kind}"
        );
    }
    assert_eq!(
        accept("https://en.wikipedia.org/", "text/html", 3 << 20),
        Err("too_large")
    );
}

#[test]
fn c6_what_changes_something_is_asked_for_each_time() {
    let gate = granted();
    let edit = |body: Option<&str>| ToolRequest {
        body: body.map(str::to_string),
        ..request("edit", json!({}))
    };
    let clean = CallContext::default();
    let planned = CallContext {
        is_planned: true,
        plan_was_clean: true,
        ..CallContext::default()
    };
    for call in [&clean, &planned] {
        let Decision::Ask(card, _) = gate.decide(
            0.0,
            &encyclopedia(),
            call,
            &edit(Some("{\"a\": \"\u{200b}b\"}")),
        ) else {
            panic!()
        };
        assert_eq!(card.reasons, [Reason::Changes]);
        assert_eq!(card.body.as_deref(), Some("{\"a\": \"⟨U+200B⟩b\"}"));
        assert!(!card.may_always);
    }
    assert_eq!(decide(&gate, &encyclopedia(), &clean, &edit(None)), "body");
    assert_eq!(
        decide(&gate, &encyclopedia(), &clean, &edit(Some("not json"))),
        "body"
    );
    assert_eq!(
        decide(
            &gate,
            &encyclopedia(),
            &clean,
            &edit(Some(&format!("\"{}\"", "x".repeat(20_000))))
        ),
        "body"
    );
    let get = ToolRequest {
        body: Some("{}".into()),
        ..request("summary", json!({ "title": "Oslo" }))
    };
    assert_eq!(decide(&gate, &encyclopedia(), &clean, &get), "body");
}

#[test]
fn c7_headers_are_few() {
    let gate = granted();
    let with = |name: &str, value: &str| ToolRequest {
        headers: BTreeMap::from([(name.to_string(), value.to_string())]),
        ..request("summary", json!({ "title": "Oslo" }))
    };
    let clean = CallContext::default();
    assert_eq!(
        decide(
            &gate,
            &encyclopedia(),
            &clean,
            &with("Accept", "application/json")
        ),
        "allow"
    );
    for name in [
        "Authorization",
        "Cookie",
        "Proxy-Authorization",
        "Sec-Fetch-Site",
        "X-HTTP-Method-Override",
        "Origin",
        "Referer",
        "Content-Type",
        "X-Secret",
        "Host",
        "",
    ] {
        assert_eq!(
            decide(&gate, &encyclopedia(), &clean, &with(name, "x")),
            "header",
            "{name}"
        );
    }
    assert_eq!(
        decide(
            &gate,
            &encyclopedia(),
            &clean,
            &with("accept", "a\r\nCookie: b")
        ),
        "header"
    );
    assert_eq!(
        decide(
            &gate,
            &encyclopedia(),
            &clean,
            &with("accept-language", &"x".repeat(300))
        ),
        "header"
    );
}

#[test]
fn c8_loopback_is_a_test_s_alone() {
    let fixture = Origin::loopback("http://127.0.0.1:4000").unwrap();
    let there = request("page", json!({ "url": "http://127.0.0.1:4000/x" }));
    assert_eq!(
        decide(&granted(), &web_page(), &CallContext::default(), &there),
        "scheme"
    );
    let gate = Gate::new(Limits::default(), [], vec![fixture]);
    assert_eq!(
        decide(&gate, &web_page(), &CallContext::default(), &there),
        "ask any_address"
    );
    let beside = request("page", json!({ "url": "http://127.0.0.1:4001/x" }));
    assert_eq!(
        decide(&gate, &web_page(), &CallContext::default(), &beside),
        "scheme"
    );
}

#[test]
fn c8_a_page_on_a_private_address_reaches_declared_origins_alone() {
    let any = request("page", json!({ "url": "https://example.com/" }));
    let written = CallContext {
        person_addresses: ["https://example.com/".to_string()].into(),
        ..CallContext::default()
    };
    let declared = request("summary", json!({ "title": "Oslo" }));
    for host in ["127.0.0.1", "localhost", "192.168.1.7", "nas.local", ""] {
        let gate = granted().on_page(host);
        assert_eq!(
            decide(&gate, &web_page(), &CallContext::default(), &any),
            "local_page",
            "{host}"
        );
        assert_eq!(decide(&gate, &web_page(), &written, &any), "local_page");
        assert_eq!(
            decide(
                &gate,
                &encyclopedia(),
                &call("Oslo", Source::Person),
                &declared
            ),
            "allow"
        );
    }
    let gate = granted().on_page("tandem.example");
    assert_eq!(
        decide(&gate, &web_page(), &CallContext::default(), &any),
        "ask any_address"
    );
    // A server of a test's own is where it was said to be.
    let fixture = Origin::loopback("http://127.0.0.1:4000").unwrap();
    let gate = Gate::new(Limits::default(), [], vec![fixture]).on_page("127.0.0.1");
    let there = request("page", json!({ "url": "http://127.0.0.1:4000/x" }));
    assert_eq!(
        decide(&gate, &web_page(), &CallContext::default(), &there),
        "ask any_address"
    );
    assert_eq!(
        decide(&gate, &web_page(), &CallContext::default(), &any),
        "local_page"
    );
}

#[test]
fn c9_sizes_and_rates_are_bounded() {
    let limits = Limits {
        max_requests_per_call: 2,
        max_requests_per_run: 5,
        max_requests_per_minute: 3,
        max_concurrent_requests: 2,
        max_url_bytes: 100,
        max_query_bytes: 20,
        ..Limits::default()
    };
    let grants: Vec<Grant> = granted().grants().cloned().collect();
    let mut gate = Gate::new(limits, grants, Vec::new());
    let tool = encyclopedia();
    let title = |n: usize| request("summary", json!({ "title": "x".repeat(n) }));
    let at = |gate: &Gate, now_ms: f64, n_requests: usize| {
        let call = CallContext {
            n_requests,
            ..CallContext::default()
        };
        word(&gate.decide(now_ms, &tool, &call, &title(1)))
    };
    assert_eq!(
        decide(&gate, &tool, &CallContext::default(), &title(90)),
        "too_long"
    );
    let long = request(
        "page",
        json!({ "url": format!("https://a.example/?{}", "q".repeat(21)) }),
    );
    assert_eq!(
        decide(&gate, &web_page(), &CallContext::default(), &long),
        "query"
    );
    assert_eq!(at(&gate, 0.0, 2), "call_limit");
    let origin = Origin::parse("https://en.wikipedia.org", &[]).unwrap();
    gate.left(0.0, &origin);
    gate.left(1.0, &origin);
    assert_eq!(at(&gate, 2.0, 0), "concurrency");
    gate.came_back();
    gate.came_back();
    gate.left(3.0, &origin);
    gate.came_back();
    assert_eq!(at(&gate, 4.0, 0), "rate_limit");
    assert_eq!(at(&gate, 60_004.0, 0), "allow");
    gate.left(60_005.0, &origin);
    gate.came_back();
    gate.left(60_006.0, &origin);
    gate.came_back();
    assert_eq!(at(&gate, 999_999.0, 0), "run_limit");
}

#[test]
fn c10_after_foreign_text_what_the_model_composed_is_asked_for() {
    let gate = granted();
    let tool = encyclopedia();
    let summary = request("summary", json!({ "title": "Oslo" }));
    let tainted = |source: Source| CallContext {
        taint: foreign(),
        ..call("Oslo", source)
    };
    // Before: what was granted goes through. After: only the person's own words and
    // closed slots do.
    assert_eq!(
        decide(&gate, &tool, &call("Oslo", Source::Model), &summary),
        "allow"
    );
    assert_eq!(
        decide(&gate, &tool, &tainted(Source::Model), &summary),
        "ask after_foreign_text"
    );
    assert_eq!(
        decide(
            &gate,
            &tool,
            &tainted(Source::Tool("web_page".into())),
            &summary
        ),
        "ask after_foreign_text"
    );
    assert_eq!(
        decide(&gate, &tool, &tainted(Source::Person), &summary),
        "allow"
    );
    assert_eq!(
        decide(
            &gate,
            &tool,
            &tainted(Source::Model),
            &request("page", json!({ "id": 7 }))
        ),
        "allow"
    );
    // Text that is no argument was made by the tool's code: whose words it holds is unknown.
    let other = request("summary", json!({ "title": "Bergen" }));
    assert_eq!(
        decide(&gate, &tool, &tainted(Source::Person), &other),
        "ask after_foreign_text"
    );
    // Nothing granted: both reasons are given.
    let fresh = Gate::new(Limits::default(), [], Vec::new());
    assert_eq!(
        decide(&fresh, &tool, &tainted(Source::Model), &summary),
        "ask not_yet_allowed after_foreign_text"
    );
    assert_eq!(
        decide(&fresh, &tool, &call("Oslo", Source::Person), &summary),
        "ask not_yet_allowed"
    );
}

#[test]
fn c10_only_addresses_that_the_person_wrote_go_unasked() {
    let gate = Gate::new(Limits::default(), [], Vec::new());
    let written = |taint: Taint| CallContext {
        taint,
        person_addresses: ["https://example.com/a?b=c".to_string()].into(),
        ..CallContext::default()
    };
    let page = |url: &str| request("page", json!({ "url": url }));
    for taint in [Taint::default(), foreign()] {
        assert_eq!(
            decide(
                &gate,
                &web_page(),
                &written(taint.clone()),
                &page("https://example.com/a?b=c")
            ),
            "allow"
        );
    }
    // Any spelling of a secret is another address.
    for url in [
        "https://example.com/a?b=cs3cret",
        "https://example.com/a?b=c&x=s3cret",
        "https://example.com/a/?b=c",
        "https://example.com/A?b=c",
        "https://example.com/%61?b=c",
        "https://s3cret.example.com/a?b=c",
    ] {
        assert_eq!(
            decide(&gate, &web_page(), &written(foreign()), &page(url)),
            "ask any_address after_foreign_text",
            "{url}"
        );
    }
    // A fragment is not sent, and so is no other address.
    assert_eq!(
        decide(
            &gate,
            &web_page(),
            &written(foreign()),
            &page("https://example.com/a?b=c#s3cret")
        ),
        "allow"
    );
}

#[test]
fn c10_private_and_foreign_text_and_a_way_out_do_not_meet() {
    let gate = granted();
    let tool = encyclopedia();
    let summary = request("summary", json!({ "title": "Oslo" }));
    for source in [
        Source::Model,
        Source::Person,
        Source::Tool("web_page".into()),
    ] {
        let call = CallContext {
            taint: both(),
            ..call("Oslo", source)
        };
        assert_eq!(decide(&gate, &tool, &call, &summary), "trifecta");
        assert_eq!(
            decide(&gate, &tool, &call, &request("page", json!({ "id": 7 }))),
            "trifecta"
        );
    }
    let written = CallContext {
        taint: both(),
        person_addresses: ["https://example.com/".to_string()].into(),
        ..CallContext::default()
    };
    assert_eq!(
        decide(
            &gate,
            &web_page(),
            &written,
            &request("page", json!({ "url": "https://example.com/" }))
        ),
        "trifecta"
    );
    // A plan made before either was read leaves nothing to choose.
    let planned = |plan_was_clean, source| CallContext {
        taint: both(),
        is_planned: true,
        plan_was_clean,
        ..call("Oslo", source)
    };
    assert_eq!(
        decide(&gate, &tool, &planned(true, Source::Plan), &summary),
        "allow"
    );
    assert_eq!(
        decide(&gate, &tool, &planned(false, Source::Plan), &summary),
        "trifecta"
    );
    assert_eq!(
        decide(
            &gate,
            &tool,
            &planned(true, Source::Tool("x".into())),
            &summary
        ),
        "trifecta"
    );
    // Private alone, or foreign alone, is not that.
    let private = CallContext {
        taint: Taint {
            private: both().private,
            ..Taint::default()
        },
        ..call("Oslo", Source::Model)
    };
    assert_eq!(decide(&gate, &tool, &private, &summary), "allow");
}

#[test]
fn c12_a_plan_s_own_words_go_through_and_evidence_is_shown() {
    let gate = Gate::new(Limits::default(), [], Vec::new());
    let tool = encyclopedia();
    let planned = |source: Source| CallContext {
        is_planned: true,
        plan_was_clean: true,
        taint: foreign(),
        ..call("Oslo", source)
    };
    let summary = request("summary", json!({ "title": "Oslo" }));
    assert_eq!(
        decide(&gate, &tool, &planned(Source::Plan), &summary),
        "allow"
    );
    assert_eq!(
        decide(
            &gate,
            &tool,
            &planned(Source::Tool("weather".into())),
            &summary
        ),
        "ask from_evidence"
    );
    assert_eq!(
        decide(
            &gate,
            &tool,
            &planned(Source::Tool("weather".into())),
            &request("page", json!({ "id": 3 }))
        ),
        "allow"
    );
    let other = request("summary", json!({ "title": "Bergen" }));
    assert_eq!(
        decide(&gate, &tool, &planned(Source::Plan), &other),
        "ask from_evidence"
    );
    let page = |url: &str| request("page", json!({ "url": url }));
    let fixed = |url: &str| CallContext {
        is_planned: true,
        ..call(url, Source::Plan)
    };
    assert_eq!(
        decide(
            &gate,
            &web_page(),
            &fixed("https://example.com/"),
            &page("https://example.com/")
        ),
        "allow"
    );
    assert_eq!(
        decide(
            &gate,
            &web_page(),
            &fixed("https://example.com/"),
            &page("https://example.com/?x")
        ),
        "ask from_evidence"
    );
}

#[test]
fn c13_always_is_per_tool_and_origin_and_for_templates() {
    let mut gate = Gate::new(Limits::default(), [], Vec::new());
    let (tool, clean) = (encyclopedia(), CallContext::default());
    let summary = request("summary", json!({ "title": "Oslo" }));
    let Decision::Ask(card, fetch) = gate.decide(0.0, &tool, &clean, &summary) else {
        panic!()
    };
    assert!(card.may_always);
    gate.grant(&card, &fetch.origin);
    assert_eq!(decide(&gate, &tool, &clean, &summary), "allow");
    let mut other = encyclopedia();
    other.name = "other".into();
    assert_eq!(
        decide(&gate, &other, &clean, &summary),
        "ask not_yet_allowed"
    );
    // An answer that says "always" where the card did not offer it says "once".
    let page = request("page", json!({ "url": "https://example.com/" }));
    let Decision::Ask(card, fetch) = gate.decide(0.0, &web_page(), &clean, &page) else {
        panic!()
    };
    assert!(!card.may_always);
    gate.grant(&card, &fetch.origin);
    assert_eq!(decide(&gate, &web_page(), &clean, &page), "ask any_address");
    assert!(gate.grants().all(|grant| grant.tool == "encyclopedia"));
}

#[test]
fn c14_the_card_shows_the_request_itself() {
    let gate = Gate::new(Limits::default(), [], Vec::new());
    let url =
        "https://xn--80ak6aa92e.com/a%20b?q=c%26d&%E2%80%AEx=aGVsbG8gd29ybGQgdGhpcyBpcyAxMjM0";
    let call = CallContext {
        taint: foreign(),
        ..call("look\u{202e}here", Source::Tool("web_page".into()))
    };
    let Decision::Ask(card, _) = gate.decide(
        0.0,
        &web_page(),
        &call,
        &request("page", json!({ "url": url })),
    ) else {
        panic!()
    };
    assert_eq!(card.url, url);
    assert_eq!(card.host, "xn--80ak6aa92e.com");
    assert_eq!(card.path, "/a b");
    let query: Vec<(&str, &str)> = card
        .query
        .iter()
        .map(|q| (q.name.as_str(), q.value.as_str()))
        .collect();
    assert_eq!(
        query,
        [
            ("q", "c&d"),
            ("⟨U+202E⟩x", "aGVsbG8gd29ybGQgdGhpcyBpcyAxMjM0")
        ]
    );
    assert_eq!(card.arguments[0].value, "look⟨U+202E⟩here");
    assert_eq!(card.arguments[0].source.to_string(), "tool:web_page");
    assert_eq!(
        card.warnings,
        [
            Warning::Punycode,
            Warning::HiddenCharacters,
            Warning::LooksEncoded
        ]
    );
    assert_eq!(card.foreign, ["tool:web_page"]);
    // Another request, another digest.
    let again = |url: &str| match gate.decide(
        0.0,
        &web_page(),
        &call,
        &request("page", json!({ "url": url })),
    ) {
        Decision::Ask(card, _) => card.digest,
        other => panic!("{other:?}"),
    };
    assert_eq!(again(url), card.digest);
    assert_ne!(again("https://xn--80ak6aa92e.com/"), card.digest);
}

#[test]
fn hosts_that_spell_a_secret_are_pointed_out() {
    let gate = Gate::new(Limits::default(), [], Vec::new());
    let warned = |url: &str| match gate.decide(
        0.0,
        &web_page(),
        &CallContext::default(),
        &request("page", json!({ "url": url })),
    ) {
        Decision::Ask(card, _) => card.warnings,
        other => panic!("{other:?}"),
    };
    assert_eq!(warned("https://a.b.c.d.e.f.evil.com/"), [Warning::LongHost]);
    assert_eq!(
        warned("https://mfrggzdfmztwq2lknnwg23tpobyxe43u.evil.com/"),
        [Warning::LongHost, Warning::LooksEncoded]
    );
    assert_eq!(
        warned("https://www.example.com/an-ordinary-page-with-a-long-title-of-words"),
        []
    );
}

#[test]
fn refusals_have_codes_and_reasons() {
    let mut seen = std::collections::BTreeSet::new();
    for refusal in Refusal::ALL {
        assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.as_str());
        assert!(!refusal.why().is_empty() && seen.insert(refusal.as_str()));
    }
    assert!(Address::parse("https://example.com", &[]).is_ok());
}
