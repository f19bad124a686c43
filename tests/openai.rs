//! OpenAI's interface over the pair that ships: real words, real drafts.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use pollster::block_on;
use serde_json::{Value, json};
use tandem::backend::cpu::CpuBackend;
use tandem::chat::openai::service::no_pieces;
use tandem::chat::openai::{Moment, Service};
use tandem::chat::session::{LoadOptions, LoadedModel, Session};
use tandem::chat::template::LocalTime;
use tandem::format::Checkpoint;

fn service() -> Option<Service> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let [target, draft] =
        ["target", "draft"].map(|role| models.join(format!("tandem-{role}-q8_0.gguf")));
    if !target.exists() || !draft.exists() {
        common::skip("models", "the embedded pair is not here");
        return None;
    }
    let load = |path: &Path| {
        let checkpoint = block_on(Checkpoint::open_path(path)).unwrap();
        let options = LoadOptions {
            context_tokens: Some(1024),
            ..LoadOptions::default()
        };
        block_on(LoadedModel::load(
            &checkpoint,
            &CpuBackend::default(),
            &options,
        ))
        .unwrap()
    };
    let start = Instant::now();
    let clock = Rc::new(move || start.elapsed().as_secs_f64());
    let session = Session::new(load(&target), Some(load(&draft)), clock).unwrap();
    Some(Service::new(session))
}

fn moment() -> Moment {
    Moment {
        chance: 3,
        created: 0,
        now: LocalTime::from_unix(0),
    }
}

fn chat(service: &mut Service, request: &Value) -> Value {
    let whole = block_on(service.chat(request, &moment(), &no_pieces)).unwrap();
    serde_json::to_value(&whole).unwrap()
}

fn tools() -> Value {
    let tool = |name: &str, description: &str, properties: Value, required: Value| {
        json!({ "type": "function", "function": { "name": name, "description": description, "parameters": {
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        } } })
    };
    let unit = json!({ "type": "string", "enum": ["metre", "mile"] });
    json!([
        tool(
            "clock",
            "Current time",
            json!({ "timezone": { "type": "string", "maxLength": 30 } }),
            json!(["timezone"])
        ),
        tool(
            "convert",
            "Unit conversion",
            json!({ "value": { "type": "integer", "minimum": 0, "maximum": 9999 }, "from": unit, "to": unit }),
            json!(["value", "from", "to"])
        ),
    ])
}

fn check_arguments(function: &Value) {
    let arguments: Value = serde_json::from_str(function["arguments"].as_str().unwrap())
        .unwrap_or_else(|error| panic!("{error}: {function}"));
    match function["name"].as_str().unwrap() {
        "clock" => assert!(arguments["timezone"].is_string(), "{arguments}"),
        "convert" => {
            let value = arguments["value"].as_u64().unwrap();
            assert!(value <= 9999, "{arguments}");
            for field in ["from", "to"] {
                assert!(["metre", "mile"].contains(&arguments[field].as_str().unwrap()));
            }
        }
        other => panic!("there is no tool {other}"),
    }
}

#[test]
fn calls_that_are_required_always_parse_and_fit_their_schemas() {
    let Some(mut service) = service() else {
        return;
    };
    let mut n_calls = 0;
    for seed in 0..6 {
        let named = json!({ "type": "function", "function": { "name": "convert" } });
        for choice in [json!("required"), named] {
            let whole = chat(
                &mut service,
                &json!({
                    "messages": [{ "role": "user", "content": "What time is it in Paris?" }],
                    "tools": tools(),
                    "tool_choice": choice,
                    "parallel_tool_calls": false,
                    "temperature": 1.5,
                    "max_tokens": 400,
                    "seed": seed,
                }),
            );
            let choice = &whole["choices"][0];
            assert_eq!(
                choice["finish_reason"], "tool_calls",
                "seed {seed}: {choice}"
            );
            for call in choice["message"]["tool_calls"].as_array().unwrap() {
                check_arguments(&call["function"]);
                n_calls += 1;
            }
        }
    }
    assert_eq!(n_calls, 12);
}

#[test]
fn a_call_that_begins_by_itself_fits_its_schema() {
    let Some(mut service) = service() else {
        return;
    };
    let mut n_calls = 0;
    for content in ["What is the time in Paris?", "Convert 12 metre to mile."] {
        let request = json!({
            "messages": [{ "role": "user", "content": content }],
            "tools": tools(), "temperature": 0, "max_tokens": 200,
        });
        let whole = chat(&mut service, &request);
        let message = &whole["choices"][0]["message"];
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            check_arguments(&call["function"]);
            n_calls += 1;
        }
    }
    assert!(
        n_calls > 0,
        "the shipped model calls tools when asked such things"
    );
}

#[test]
fn speculation_changes_no_reply_with_tools_or_schemas() {
    let Some(mut service) = service() else {
        return;
    };
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string", "maxLength": 20 }, "age": { "type": "integer" } }, "required": ["name", "age"], "additionalProperties": false });
    let mut accepted = 0;
    for extra in [
        json!({ "tools": tools() }),
        json!({ "tools": tools(), "tool_choice": "required", "parallel_tool_calls": false }),
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema } } }),
        json!({ "response_format": { "type": "regex", "regex": "(ha )+" } }),
        json!({ "logit_bias": { "100": -5 }, "frequency_penalty": 0.5, "stop": ["dog"] }),
    ] {
        let mut replies = Vec::new();
        for speculation in [
            json!({ "mode": "off" }),
            json!({ "mode": "auto" }),
            json!({ "mode": "fixed", "draft_length": 5 }),
            json!({ "mode": "fixed", "draft_length": 3, "drafter": "both" }),
        ] {
            let mut request = json!({
                "messages": [{ "role": "user", "content": "Tell me of Ann, who is 12." }],
                "max_tokens": 60, "seed": 5, "temperature": 0.8, "speculation": speculation,
            });
            let object = request.as_object_mut().unwrap();
            object.extend(extra.as_object().unwrap().clone());
            let whole = chat(&mut service, &request);
            accepted += whole["speculation"]["num_accepted_tokens"]
                .as_u64()
                .unwrap();
            let mut choices = whole["choices"].clone();
            for call in choices[0]["message"]["tool_calls"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                call["id"] = Value::Null;
            }
            replies.push(choices);
        }
        assert!(
            replies.iter().all(|reply| *reply == replies[0]),
            "{extra}: {replies:#?}"
        );
    }
    assert!(accepted > 0);
}

#[test]
fn texts_are_scored_and_labels_ranked() {
    let Some(mut service) = service() else {
        return;
    };
    let score = |service: &mut Service, text: &str| {
        block_on(service.score(&json!({ "text": text }))).unwrap()
    };
    let likely = score(&mut service, "Once upon a time, there was a little girl.");
    let unlikely = score(&mut service, "Girl upon. a was little time there a once,");
    assert_eq!(likely.logprobs.len() + 1, likely.token_ids.len());
    assert!(likely.perplexity < unlikely.perplexity);
    let request = json!({ "text": "a big red ball", "prompt": "She saw {text}. The", "labels": [" ball", " dog"] });
    let ranked = block_on(service.classify(&request, &moment())).unwrap();
    assert_eq!(ranked[0].label, " ball");
    let total: f64 = ranked.iter().map(|label| label.probability).sum();
    assert!((total - 1.0).abs() < 1e-9);
    let chat = json!({ "text": "hi", "messages": [{ "role": "user", "content": "Is {text} kind?" }], "labels": ["Yes", "No"] });
    assert_eq!(
        block_on(service.classify(&chat, &moment())).unwrap().len(),
        2
    );
    let lost = json!({ "text": "hi", "prompt": "no place", "labels": ["a"] });
    let error = block_on(service.classify(&lost, &moment())).unwrap_err();
    assert_eq!(error.subject(), "prompt");
}
