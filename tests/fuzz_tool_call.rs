//! A reply is taken apart the same however it arrives, whatever it is. See
//! `common/fuzz.rs` for how long this runs.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::fuzz::run;
use serde_json::json;
use tandem::chat::reasoning::{Piece, ReasoningParser, STYLES};
use tandem::chat::tool_call::{Event, FAMILIES, Reply, ToolCallParser};

const REPLIES: &[&str] = &[
    "Text <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"}\\\"\"}], \"c\": -1.5e3}}\n</tool_call> more",
    "<tool_call>{\"arguments\": \"{\\\"a\\\": 1}\", \"name\": \"f\"}</tool_call><tool_call>{\"name\": \"g\"}</tool_call>",
    "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
    "{\"name\": \"f\", \"parameters\": {\"a\": null}}; {\"name\": \"g\", \"parameters\": {}} done",
    "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}",
    "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {\"a\": true}}]",
    "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]x[ARGS]{}",
    "<|tool_call>call:f{a:<|\"|>x<|\"|>,b:{c:[1,2]}}<tool_call|>",
    "<|tool_call_start|>[f(a=\"x\", b=[1, True]), g()]<|tool_call_end|>",
    "<think>\nHm.\n</think>\n\nYes <think> no </think>",
    "[THINK]a[/THINK]<|channel>thought\nb<channel|>c",
];

/// Events with neighbouring fragments joined, so that the cut does not show.
fn normal(events: Vec<Event>) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    for event in events {
        match (all.last_mut(), &event) {
            (Some(Event::Text(last)), Event::Text(more)) => last.push_str(more),
            (
                Some(Event::CallArguments { fragment: last, .. }),
                Event::CallArguments { fragment, .. },
            ) => last.push_str(fragment),
            _ => all.push(event),
        }
    }
    all
}

#[test]
fn replies_parse_the_same_however_they_arrive() {
    let corpus: Vec<Vec<u8>> = REPLIES
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    let tools = [json!({"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}})];
    // Every input goes to one family and one style, in turn.
    let mut turn = 0;
    run("replies", &corpus, |input| {
        let text = String::from_utf8_lossy(input);
        let chars: Vec<char> = text.chars().collect();
        let size = 1 + input.len() % 5;
        turn += 1;
        {
            let family = &FAMILIES[turn % FAMILIES.len()];
            let mut whole = ToolCallParser::new(*family, &tools);
            let mut events = whole.push(&text);
            events.extend(whole.finish());
            let events = normal(events);
            let mut parser = ToolCallParser::new(*family, &tools);
            let mut streamed = Vec::new();
            for piece in chars.chunks(size) {
                streamed.extend(parser.push(&piece.iter().collect::<String>()));
            }
            streamed.extend(parser.finish());
            assert_eq!(normal(streamed), events, "{}", family.name());
            for call in Reply::from_events(&events).calls {
                let arguments = serde_json::from_str::<serde_json::Value>(&call.arguments);
                assert!(arguments.is_ok_and(|a| a.is_object()), "{}", call.arguments);
            }
        }
        {
            let style = &STYLES[turn % STYLES.len()];
            let whole = ReasoningParser::split(*style, "", &text);
            let mut parser = ReasoningParser::new(*style, "");
            let (mut reasoning, mut content) = (None::<String>, String::new());
            let mut take = |pieces: Vec<Piece>| {
                for piece in pieces {
                    match piece {
                        Piece::Reasoning(text) => {
                            reasoning.get_or_insert_default().push_str(&text);
                        }
                        Piece::Content(text) => content.push_str(&text),
                    }
                }
            };
            for piece in chars.chunks(size) {
                take(parser.push(&piece.iter().collect::<String>()));
            }
            take(parser.finish());
            assert_eq!((reasoning, content), whole, "{}", style.name);
        }
    });
}
