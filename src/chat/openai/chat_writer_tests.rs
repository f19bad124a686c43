use serde_json::json;

use super::*;
use crate::chat::reasoning::detect;
use crate::chat::tool_call;

fn family() -> &'static dyn Family {
    tool_call::detect("<tool_call>")
}

fn writer(parallel: bool) -> ChatWriter {
    ChatWriter::new(
        0,
        ChatReading {
            reasoning: Some(ReasoningParser::new(detect(""), "")),
            tools: Some((family(), Vec::new())),
            parallel,
            logprobs: false,
            first_call_id: 7,
        },
    )
}

/// A reply in pieces of `size` characters, put together again.
fn reply(text: &str, size: usize, parallel: bool, reason: FinishReason) -> Choice {
    let tokenizer = crate::chat::openai::service::tests::tokenizer();
    let mut writer = writer(parallel);
    let mut fold = ChatFold::new(false);
    fold.add(&writer.begin());
    let chars: Vec<char> = text.chars().collect();
    for piece in chars.chunks(size) {
        let piece: String = piece.iter().collect();
        for piece in writer.made(&piece, &[], &tokenizer) {
            let kinds = [
                piece.delta.content.is_some(),
                piece.delta.reasoning_content.is_some(),
                piece.delta.tool_calls.is_some(),
                piece.delta.tool_call_errors.is_some(),
            ];
            assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1, "{piece:?}");
            fold.add(&piece);
        }
        if writer.done() {
            break;
        }
    }
    for piece in writer.finish("", reason) {
        fold.add(&piece);
    }
    fold.finish(0)
}

/// The same however it comes.
fn message(text: &str) -> Json {
    let whole = reply(text, usize::MAX, true, FinishReason::Stop);
    for size in [1, 2, 3, 7] {
        assert_eq!(reply(text, size, true, FinishReason::Stop), whole, "{size}");
    }
    serde_json::to_value(&whole).unwrap()
}

#[test]
fn thought_and_text_are_set_apart() {
    let choice = message("<think>\nHm.\n</think>\n\nYes. ");
    assert_eq!(
        choice,
        json!({
            "index": 0,
            "message": { "role": "assistant", "content": "Yes. ", "refusal": null, "reasoning_content": "Hm." },
            "logprobs": null,
            "finish_reason": "stop",
        })
    );
}

#[test]
fn calls_have_ids_and_arguments_as_they_were_written() {
    let call = |name: &str| {
        format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {{\"a\":  1}}}}\n</tool_call>")
    };
    let choice = message(&format!("{}\n{}", call("f"), call("g")));
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Json::Null);
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0]["id"], call_id(7));
    assert_eq!(calls[1]["id"], call_id(8));
    assert_eq!(
        calls[1]["function"],
        json!({ "name": "g", "arguments": "{\"a\":  1}" })
    );
    let said = message(&format!("Let me see. {}", call("f")));
    assert_eq!(said["message"]["content"], "Let me see.");
}

#[test]
fn one_call_is_enough_where_no_more_are_wanted() {
    let text = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call><tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>";
    for size in [1, 5, usize::MAX] {
        let choice = reply(text, size, false, FinishReason::Stop);
        assert_eq!(choice.message.tool_calls.len(), 1);
        assert_eq!(choice.finish_reason, "tool_calls");
    }
}

#[test]
fn what_is_wrong_with_a_call_is_said() {
    let choice = message("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": nope}}</tool_call>");
    let call = &choice["message"]["tool_calls"][0];
    // As far as it could have been JSON.
    assert_eq!(call["function"]["arguments"], "{\"a\": n");
    assert_eq!(choice["message"]["tool_call_errors"][0]["index"], 0);
    let choice = message("<tool_call>I would rather not</tool_call>");
    assert_eq!(choice["message"]["content"], "I would rather not");
    assert_eq!(
        choice["message"]["tool_call_errors"][0]["index"],
        Json::Null
    );
    assert_eq!(choice["finish_reason"], "stop");
}

#[test]
fn a_reply_that_is_cut_short_says_so() {
    let text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [1";
    let choice = reply(text, 3, true, FinishReason::Length);
    assert_eq!(choice.finish_reason, "length");
    assert_eq!(
        choice.message.tool_calls[0].function.arguments,
        "{\"a\": [1"
    );
}
