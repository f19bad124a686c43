use serde_json::json;

use super::*;
use crate::chat::openai::speculation::{DrafterChoice, Mode};
use crate::decode::verify::Verification;

fn user() -> Json {
    json!([{ "role": "user", "content": "hi" }])
}

/// A chat request with these fields and a message.
fn chat(fields: Json) -> Result<ChatRequest> {
    let mut request = json!({ "messages": user() });
    let object = request.as_object_mut().unwrap();
    object.extend(fields.as_object().unwrap().clone());
    ChatRequest::read(&request)
}

/// Where it is wrong.
fn fault(fields: Json) -> String {
    let error = chat(fields.clone()).expect_err(&fields.to_string());
    assert_eq!(error.code().as_str(), "request_invalid", "{fields}");
    error.subject().to_string()
}

fn message_fault(message: Json) -> String {
    fault(json!({ "messages": [{ "role": "user", "content": "a" }, message] }))
}

fn tool(name: &str) -> Json {
    json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } })
}

#[test]
fn defaults_are_openais() {
    let request = chat(json!({})).unwrap();
    let common = &request.common;
    let sampling = &common.sampling.params;
    assert_eq!((sampling.temperature, sampling.top_p), (1.0, 1.0));
    assert_eq!((common.n, common.stream, common.seed), (1, false, None));
    assert_eq!((common.max_tokens, common.logprobs), (None, None));
    assert_eq!(request.tool_choice, ToolChoice::Auto);
    assert!(request.parallel_tool_calls);
    assert_eq!(common.speculating, Speculating::default());
    let text = CompletionRequest::read(&json!({ "prompt": "a" })).unwrap();
    assert_eq!(text.common.max_tokens, Some(16));
}

#[test]
fn every_field_of_the_table_is_read() {
    // A value of a type that no field takes: each must be refused, by name.
    for name in CHAT_FIELDS {
        let mut request = json!({ "messages": user() });
        request[*name] = json!([[[]]]);
        let error = ChatRequest::read(&request).expect_err(name);
        let subject = error.subject();
        assert!(subject.starts_with(name), "{name}: {subject}");
    }
    for name in COMPLETION_FIELDS {
        let mut request = json!({ "prompt": "a" });
        request[*name] = json!([{}, [[]]]);
        let error = CompletionRequest::read(&request).expect_err(name);
        let subject = error.subject();
        assert!(subject.starts_with(name), "{name}: {subject}");
    }
}

#[test]
fn null_counts_as_not_given() {
    for name in CHAT_FIELDS.iter().filter(|name| **name != "messages") {
        let mut fields = json!({});
        fields[*name] = Json::Null;
        assert_eq!(chat(fields).unwrap(), chat(json!({})).unwrap(), "{name}");
    }
}

#[test]
fn what_is_unknown_or_of_another_type_is_named() {
    assert_eq!(fault(json!({ "temprature": 1 })), "temprature");
    assert_eq!(fault(json!({ "temperature": "hot" })), "temperature");
    assert_eq!(fault(json!({ "temperature": -1 })), "temperature");
    assert_eq!(fault(json!({ "top_p": 1.5 })), "top_p");
    assert_eq!(fault(json!({ "min_p": 2 })), "min_p");
    assert_eq!(fault(json!({ "top_k": 1.5 })), "top_k");
    assert_eq!(
        fault(json!({ "repetition_penalty": 0 })),
        "repetition_penalty"
    );
    assert_eq!(fault(json!({ "typical_p": 2 })), "typical_p");
    assert_eq!(fault(json!({ "dry": { "base": 0.5 } })), "dry.base");
    assert_eq!(fault(json!({ "dry": { "power": 2 } })), "dry.power");
    assert_eq!(
        fault(json!({ "dry": { "breakers": ["\n", ""] } })),
        "dry.breakers[1]"
    );
    assert_eq!(fault(json!({ "ignore_eos": 1 })), "ignore_eos");
    assert_eq!(fault(json!({ "seed": "x" })), "seed");
    assert_eq!(fault(json!({ "n": 0 })), "n");
    assert_eq!(fault(json!({ "max_tokens": 0 })), "max_tokens");
    assert_eq!(
        fault(json!({ "max_tokens": 1, "max_completion_tokens": 2 })),
        "max_completion_tokens"
    );
    assert_eq!(fault(json!({ "stop": ["a", 1] })), "stop[1]");
    assert_eq!(fault(json!({ "stop": "" })), "stop");
    assert_eq!(fault(json!({ "logprobs": 3 })), "logprobs");
    assert_eq!(fault(json!({ "top_logprobs": 3 })), "top_logprobs");
    assert_eq!(
        fault(json!({ "logprobs": true, "top_logprobs": 21 })),
        "top_logprobs"
    );
    assert_eq!(
        fault(json!({ "logit_bias": { "a": 1 } })),
        "logit_bias[\"a\"]"
    );
    assert_eq!(
        fault(json!({ "logit_bias": { "7": 101 } })),
        "logit_bias[\"7\"]"
    );
    assert_eq!(
        fault(json!({ "stream_options": { "include_usage": true } })),
        "stream_options"
    );
    assert_eq!(
        fault(json!({ "stream": true, "stream_options": { "usage": true } })),
        "stream_options.usage"
    );
    assert_eq!(
        fault(json!({ "modalities": ["text", "audio"] })),
        "modalities[1]"
    );
    assert_eq!(fault(json!({ "functions": [] })), "functions");
    assert_eq!(fault(json!({ "metadata": "x" })), "metadata");
    assert_eq!(
        fault(json!({ "chat_template_kwargs": 1 })),
        "chat_template_kwargs"
    );
    assert_eq!(
        ChatRequest::read(&json!([])).unwrap_err().subject(),
        "request"
    );
    assert_eq!(
        ChatRequest::read(&json!({})).unwrap_err().subject(),
        "messages"
    );
}

#[test]
fn a_messages_fault_is_named_by_its_place() {
    assert_eq!(fault(json!({ "messages": [] })), "messages");
    assert_eq!(fault(json!({ "messages": "hi" })), "messages");
    assert_eq!(message_fault(json!("hi")), "messages[1]");
    assert_eq!(message_fault(json!({ "content": "a" })), "messages[1].role");
    assert_eq!(
        message_fault(json!({ "role": "wizard", "content": "a" })),
        "messages[1].role"
    );
    assert_eq!(
        message_fault(json!({ "role": "user" })),
        "messages[1].content"
    );
    assert_eq!(
        message_fault(json!({ "role": "user", "content": 3 })),
        "messages[1].content"
    );
    assert_eq!(
        message_fault(json!({ "role": "user", "content": "a", "tool_calls": [] })),
        "messages[1].tool_calls"
    );
    let part = json!({ "type": "image_url", "image_url": { "url": "x" } });
    assert_eq!(
        message_fault(json!({ "role": "user", "content": [part] })),
        "messages[1].content[0].type"
    );
    assert_eq!(
        message_fault(json!({ "role": "user", "content": [{ "type": "text", "text": 1 }] })),
        "messages[1].content[0].text"
    );
    assert_eq!(
        message_fault(json!({ "role": "assistant" })),
        "messages[1].content"
    );
    let call =
        json!({ "id": "a", "type": "function", "function": { "name": "f", "arguments": {} } });
    assert_eq!(
        message_fault(json!({ "role": "assistant", "tool_calls": [call] })),
        "messages[1].tool_calls[0].function.arguments"
    );
    assert_eq!(
        message_fault(json!({ "role": "tool", "content": "1", "tool_call_id": "nobody" })),
        "messages[1].tool_call_id"
    );
}

#[test]
fn messages_reach_the_template_in_its_form() {
    let request = chat(json!({ "messages": [
        { "role": "developer", "content": [{ "type": "text", "text": "Be" }, { "type": "text", "text": " brief." }] },
        { "role": "user", "content": "2+2?", "name": "Ann" },
        { "role": "assistant", "content": null, "refusal": null, "reasoning_content": "Easy.", "tool_calls": [
            { "id": "c1", "index": 0, "type": "function", "function": { "name": "sum", "arguments": "{\"a\": 2}" } },
        ] },
        { "role": "tool", "tool_call_id": "c1", "content": "4" },
    ] }));
    assert_eq!(
        Json::from(request.unwrap().messages),
        json!([
            { "role": "developer", "content": "Be brief." },
            { "role": "user", "content": "2+2?", "name": "Ann" },
            { "role": "assistant", "reasoning_content": "Easy.", "content": "", "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "sum", "arguments": { "a": 2 } } },
            ] },
            { "role": "tool", "content": "4", "tool_call_id": "c1", "name": "sum" },
        ])
    );
}

#[test]
fn tools_and_choices_are_checked() {
    let with =
        |choice: Json| chat(json!({ "tools": [tool("a"), tool("b")], "tool_choice": choice }));
    assert_eq!(
        with(json!("required")).unwrap().tool_choice,
        ToolChoice::Required
    );
    let named = json!({ "type": "function", "function": { "name": "b" } });
    assert_eq!(
        with(named).unwrap().tool_choice,
        ToolChoice::Named("b".to_string())
    );
    assert!(with(json!("none")).unwrap().offered_tools().is_empty());
    let missing = json!({ "type": "function", "function": { "name": "c" } });
    assert_eq!(
        with(missing).unwrap_err().subject(),
        "tool_choice.function.name"
    );
    assert_eq!(with(json!("always")).unwrap_err().subject(), "tool_choice");
    assert_eq!(fault(json!({ "tool_choice": "required" })), "tool_choice");
    assert_eq!(
        fault(json!({ "tools": [tool("a"), tool("a")] })),
        "tools[1].function.name"
    );
    assert_eq!(
        fault(json!({ "tools": [tool("a b")] })),
        "tools[0].function.name"
    );
    assert_eq!(
        fault(json!({ "tools": [{ "type": "web_search" }] })),
        "tools[0].type"
    );
    let odd = json!({ "type": "function", "function": { "name": "a", "parameters": [] } });
    assert_eq!(
        fault(json!({ "tools": [odd] })),
        "tools[0].function.parameters"
    );
}

#[test]
fn formats_are_constraints() {
    let format = |format: Json| chat(json!({ "response_format": format }));
    let spec = |json: Json| format(json).unwrap().common.format;
    assert_eq!(spec(json!({ "type": "text" })), None);
    // Of the schema itself, white space aside.
    let schema_of = |json| match spec(json) {
        Some(ConstraintSpec::JsonSchema { schema, .. }) => schema,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        schema_of(json!({ "type": "json_object" })),
        json!({ "type": "object" })
    );
    let schema = json!({ "type": "integer" });
    assert_eq!(
        schema_of(
            json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema, "strict": true } })
        ),
        schema
    );
    assert_eq!(
        spec(json!({ "type": "regex", "regex": "a+" })),
        Some(ConstraintSpec::Regex("a+".to_string()))
    );
    assert_eq!(
        spec(json!({ "type": "grammar", "grammar": "start: \"a\"" })),
        Some(ConstraintSpec::Lark("start: \"a\"".to_string()))
    );
    assert_eq!(
        spec(json!({ "type": "choice", "choice": ["a", "b"] })),
        Some(ConstraintSpec::Choice(vec![
            "a".to_string(),
            "b".to_string()
        ]))
    );
    let subject = |json| format(json).unwrap_err().subject().to_string();
    assert_eq!(subject(json!({ "type": "xml" })), "response_format.type");
    assert_eq!(subject(json!({})), "response_format.type");
    assert_eq!(
        subject(json!({ "type": "json_object", "schema": {} })),
        "response_format.schema"
    );
    assert_eq!(
        subject(json!({ "type": "json_schema", "json_schema": { "name": "n" } })),
        "response_format.json_schema.schema"
    );
}

#[test]
fn speculation_says_how() {
    let read = |speculation: Json| chat(json!({ "speculation": speculation }));
    let found = read(
        json!({ "mode": "fixed", "draft_length": 4, "drafter": "both", "verification": "rejection", "rounds": true }),
    );
    assert_eq!(
        found.unwrap().common.speculating,
        Speculating {
            mode: Mode::Fixed(4),
            drafter: Some(DrafterChoice::Both),
            verification: Verification::Rejection,
            rounds: true,
        }
    );
    let off = read(json!({ "mode": "off" })).unwrap();
    assert_eq!(off.common.speculating.mode, Mode::Off);
    let subject = |json| read(json).unwrap_err().subject().to_string();
    assert_eq!(subject(json!({ "mode": "fast" })), "speculation.mode");
    assert_eq!(
        subject(json!({ "mode": "fixed" })),
        "speculation.draft_length"
    );
    assert_eq!(
        subject(json!({ "draft_length": 3 })),
        "speculation.draft_length"
    );
    assert_eq!(
        subject(json!({ "mode": "fixed", "draft_length": 17 })),
        "speculation.draft_length"
    );
    assert_eq!(subject(json!({ "tree": true })), "speculation.tree");
    assert_eq!(subject(json!({ "drafter": "me" })), "speculation.drafter");
}

#[test]
fn effort_is_a_variable_that_the_caller_may_overrule() {
    let variables = |fields| Json::Object(chat(fields).unwrap().variables);
    assert_eq!(
        variables(json!({ "reasoning_effort": "none" })),
        json!({ "reasoning_effort": "none", "enable_thinking": false })
    );
    assert_eq!(
        variables(json!({
            "reasoning_effort": "high",
            "chat_template_kwargs": { "enable_thinking": false },
        })),
        json!({ "enable_thinking": false, "reasoning_effort": "high" })
    );
}

#[test]
fn prompts_are_texts_or_ids() {
    let read = |prompt: Json| CompletionRequest::read(&json!({ "prompt": prompt }));
    let text = |text: &str| CompletionPrompt::Text(text.to_string());
    assert_eq!(read(json!("a")).unwrap().prompts, [text("a")]);
    assert_eq!(
        read(json!(["a", "b"])).unwrap().prompts,
        [text("a"), text("b")]
    );
    assert_eq!(
        read(json!([1, 2])).unwrap().prompts,
        [CompletionPrompt::Ids(vec![1, 2])]
    );
    assert_eq!(
        read(json!([[1], [2]])).unwrap().prompts,
        [
            CompletionPrompt::Ids(vec![1]),
            CompletionPrompt::Ids(vec![2])
        ]
    );
    let subject = |prompt| read(prompt).unwrap_err().subject().to_string();
    assert_eq!(subject(json!([])), "prompt");
    assert_eq!(subject(json!(["a", 1])), "prompt[1]");
    assert_eq!(subject(json!([1, -1])), "prompt[1]");
    let both = CompletionRequest::read(&json!({ "prompt": "a", "n": 2, "best_of": 3 }));
    assert_eq!(both.unwrap_err().subject(), "best_of");
}
