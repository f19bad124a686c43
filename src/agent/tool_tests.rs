use super::*;

fn manifest(json: Json) -> Manifest {
    serde_json::from_value(json).unwrap()
}

fn template(json: Json) -> Template {
    serde_json::from_value(json).unwrap()
}

fn summary() -> Json {
    json!({
        "name": "encyclopedia",
        "description": "The first paragraph of an article",
        "parameters": { "type": "object", "properties": { "title": { "type": "string" } }, "required": ["title"] },
        "origins": ["https://en.wikipedia.org"],
        "requests": [{
            "name": "summary",
            "url": "https://en.wikipedia.org/api/rest_v1/page/summary/{title}",
            "slots": { "title": { "type": "text", "max_chars": 40 } },
        }],
    })
}

fn fill(template: &Template, values: Json) -> std::result::Result<String, &'static str> {
    let values = values.as_object().unwrap();
    let filled = template.fill(values, &[]);
    filled
        .map(|f| f.address.href().to_string())
        .map_err(|(refusal, _)| refusal.as_str())
}

#[test]
fn a_manifest_says_only_what_can_be_held() {
    let sound = manifest(summary());
    sound.check("tools[0]", &[]).unwrap();
    let broken: &[(&str, Json, &str)] = &[
        ("/name", json!("a b"), "tools[0].name"),
        (
            "/description",
            json!("Looks\u{200b}things up"),
            "tools[0].description",
        ),
        (
            "/parameters",
            json!({ "type": "object", "$ref": "https://x.example" }),
            "tools[0].parameters.$ref",
        ),
        (
            "/origins/0",
            json!("http://en.wikipedia.org"),
            "tools[0].origins[0]",
        ),
        (
            "/origins/0",
            json!("https://*.wikipedia.org"),
            "tools[0].origins[0]",
        ),
        (
            "/origins/0",
            json!("https://en.wikipedia.org/"),
            "tools[0].origins[0]",
        ),
        (
            "/origins/0",
            json!("https://127.0.0.1"),
            "tools[0].origins[0]",
        ),
        (
            "/origins/0",
            json!("https://wikipedia.org"),
            "tools[0].requests[0].url",
        ),
        ("/origins/0", json!("*"), "tools[0].requests[0].url"),
        (
            "/requests/0/url",
            json!("https://{title}.wikipedia.org/"),
            "tools[0].requests[0].url",
        ),
        (
            "/requests/0/url",
            json!("https://en.wikipedia.org:{title}/"),
            "tools[0].requests[0].url",
        ),
        (
            "/requests/0/url",
            json!("https://en.wikipedia.org.evil.com/{title}"),
            "tools[0].requests[0].url",
        ),
        (
            "/requests/0/url",
            json!("https://en.wikipedia.org/"),
            "tools[0].requests[0].slots.title",
        ),
        (
            "/requests/0/slots/title",
            json!({ "type": "url" }),
            "tools[0].requests[0].slots.title",
        ),
        (
            "/requests/0/slots/title",
            json!({ "type": "text", "max_chars": 0 }),
            "tools[0].requests[0].slots.title",
        ),
    ];
    for (at, value, place) in broken {
        let mut wrong = summary();
        *wrong.pointer_mut(at).unwrap() = value.clone();
        let error = manifest(wrong).check("tools[0]", &[]).unwrap_err();
        assert_eq!(error.subject(), *place, "{at} = {value}");
    }
    // What the manifest does not know is no manifest.
    let mut odd = summary();
    odd["credentials"] = json!("include");
    assert!(serde_json::from_value::<Manifest>(odd).is_err());
}

#[test]
fn a_slot_cannot_leave_its_place() {
    let summary = &manifest(summary()).requests[0];
    let base = "https://en.wikipedia.org/api/rest_v1/page/summary/";
    for (title, path) in [
        ("Oslo", "Oslo"),
        ("Zürich", "Z%C3%BCrich"),
        ("a/b", "a%2Fb"),
        ("../../evil", "..%2F..%2Fevil"),
        ("x?y=z&w#v", "x%3Fy%3Dz%26w%23v"),
        ("{title}", "%7Btitle%7D"),
        ("%2e%2e", "%252e%252e"),
        ("a b", "a%20b"),
    ] {
        assert_eq!(
            fill(summary, json!({ "title": title })),
            Ok(format!("{base}{path}"))
        );
    }
    for title in [
        "..",
        ".",
        "",
        "a\u{200b}",
        "a\u{e0041}",
        "a\nb",
        &"x".repeat(41),
    ] {
        assert_eq!(
            fill(summary, json!({ "title": title })),
            Err("slot"),
            "{title:?}"
        );
    }
    assert_eq!(fill(summary, json!({})), Err("slot"));
    assert_eq!(
        fill(summary, json!({ "title": "a", "other": "b" })),
        Err("slot")
    );
    assert_eq!(fill(summary, json!({ "title": ["a"] })), Err("slot"));
}

#[test]
fn closed_slots_hold_little() {
    let forecast = template(json!({
        "name": "forecast",
        "url": "https://api.open-meteo.com/v1/forecast?latitude={lat}&days={days}&unit={unit}",
        "slots": {
            "lat": { "type": "number", "min": -90, "max": 90, "decimals": 2 },
            "days": { "type": "integer", "min": 1, "max": 7 },
            "unit": { "type": "choice", "of": ["celsius", "fahrenheit"] },
        },
    }));
    let url = |lat: &str| {
        Ok(format!(
            "https://api.open-meteo.com/v1/forecast?latitude={lat}&days=3&unit=celsius"
        ))
    };
    let with = |lat: Json| json!({ "lat": lat, "days": 3, "unit": "celsius" });
    assert_eq!(fill(&forecast, with(json!(59.914_273_828))), url("59.91"));
    assert_eq!(fill(&forecast, with(json!("59.9"))), url("59.9"));
    assert_eq!(fill(&forecast, with(json!(-0.0001))), url("0"));
    for lat in [
        json!(91),
        json!("1e400"),
        json!("NaN"),
        json!("59;x"),
        json!(null),
    ] {
        assert_eq!(fill(&forecast, with(lat)), Err("slot"));
    }
    assert_eq!(
        fill(
            &forecast,
            json!({ "lat": 1, "days": 1.5, "unit": "celsius" })
        ),
        Err("slot")
    );
    assert_eq!(
        fill(&forecast, json!({ "lat": 1, "days": 1, "unit": "kelvin" })),
        Err("slot")
    );
}

#[test]
fn any_address_is_a_slot_of_its_own() {
    let page = manifest(json!({
        "name": "web_page", "description": "", "parameters": { "type": "object" }, "origins": ["*"],
        "requests": [{ "name": "page", "url": "{url}", "slots": { "url": { "type": "url" } } }],
        "result": "html",
    }));
    page.check("t", &[]).unwrap();
    let page = &page.requests[0];
    assert_eq!(
        fill(page, json!({ "url": "https://example.com/a?b#c" })),
        Ok("https://example.com/a?b".to_string())
    );
    assert_eq!(
        fill(page, json!({ "url": "http://example.com/" })),
        Err("scheme")
    );
    assert_eq!(
        fill(page, json!({ "url": "https://127.1/" })),
        Err("address_literal")
    );
}

#[test]
fn signatures_are_those_that_the_chat_template_writes() {
    use crate::chat::template::{ChatTemplate, LocalTime, RenderRequest};
    let source = include_str!("../../models/train/chat_template.jinja");
    let template = ChatTemplate::parse(source, Default::default()).unwrap();
    let tool = manifest(json!({
        "name": "order", "description": "Orders things",
        "parameters": {
            "type": "object",
            "properties": {
                "what": { "type": "string" },
                "size": { "enum": ["s", "m"] },
                "n": { "type": "integer" },
                "notes": { "type": "array", "items": { "type": "string" } },
                "to": { "type": "object", "properties": { "city": { "type": "string" }, "zip": {} }, "required": ["city"] },
                "free": { "type": "object" },
            },
            "required": ["what", "n"],
        },
    }));
    let tools = [tool.describe()];
    let messages = [json!({ "role": "user", "content": "x" })];
    let request = RenderRequest {
        tools: Some(&tools),
        ..RenderRequest::new(&messages, LocalTime::from_unix(0))
    };
    let prompt = template.render(&request).unwrap();
    let signature = tool.signature();
    assert!(prompt.contains(&signature), "{signature}\n{prompt}");
}
