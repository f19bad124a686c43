use serde_json::json;

use super::*;

fn named(name: &str) -> &'static dyn Family {
    let found = FAMILIES.iter().find(|family| family.name() == name);
    found.copied().unwrap_or(&generic::Generic)
}

fn tools() -> Vec<Json> {
    vec![
        json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object",
        "properties": {"zip": {"type": "string", "description": "d"}, "n": {"type": "integer", "description": "d"}, "list": {"type": "array", "description": "d"}}}}}),
    ]
}

/// Joins neighbouring fragments, which depend on how the text was cut.
fn merged(events: Vec<Event>) -> Vec<Event> {
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

fn events(family: &'static dyn Family, pieces: impl Iterator<Item = String>) -> Vec<Event> {
    let mut parser = ToolCallParser::new(family, &tools());
    let mut all = Vec::new();
    for piece in pieces {
        all.extend(parser.push(&piece));
    }
    all.extend(parser.finish());
    merged(all)
}

/// Parses whole, and checks that pieces of every small size give the same.
fn parse(family: &str, text: &str) -> Reply {
    let family = named(family);
    let whole = events(family, std::iter::once(text.to_string()));
    let chars: Vec<char> = text.chars().collect();
    for size in [1, 2, 3, 5, 7, 11, 16] {
        let pieces = chars.chunks(size).map(|piece| piece.iter().collect());
        assert_eq!(events(family, pieces), whole, "pieces of {size}: {text}");
    }
    for event in &whole {
        if let Event::CallEnd { index } = event {
            let starts = |e: &&Event| matches!(e, Event::CallStart { index: i, .. } if i == index);
            assert_eq!(whole.iter().filter(starts).count(), 1);
        }
    }
    let reply = Reply::from_events(&whole);
    for call in &reply.calls {
        let arguments: Json = serde_json::from_str(&call.arguments).expect(&call.arguments);
        assert!(arguments.is_object(), "{arguments}");
    }
    reply
}

/// What a well-formed reply comes to: content, then (name, arguments) of each call.
#[track_caller]
fn expect(family: &str, text: &str, content: &str, calls: &[(&str, Json)]) {
    let reply = parse(family, text);
    assert_eq!(reply.content, content, "{text}");
    let found: Vec<(&str, Json)> = reply
        .calls
        .iter()
        .map(|call| (&*call.name, serde_json::from_str(&call.arguments).unwrap()))
        .collect();
    assert_eq!(found, calls, "{text}");
    assert_eq!(reply.broken, [""; 0], "{text}");
}

#[track_caller]
fn expect_broken(family: &str, text: &str, says: &str) {
    let reply = parse(family, text);
    assert_eq!(reply.broken.len(), 1, "{text}: {reply:?}");
    assert!(reply.broken[0].contains(says), "{:?}", reply.broken);
}

#[test]
fn hermes_calls() {
    let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"}\\\"</x>\"}]}}\n</tool_call>";
    let arguments = json!({"a": [1, {"b": "}\"</x>"}]});
    let f = ("f", arguments);
    expect("hermes", call, "", std::slice::from_ref(&f));
    expect("generic", call, "", std::slice::from_ref(&f));
    let two = format!("Let me see.\n\n{call}\n{call}\n");
    expect("hermes", &two, "Let me see.", &[f.clone(), f.clone()]);
    let around = format!("Before {call} after <b> ");
    expect("hermes", &around, "Before after <b> ", &[f]);
    expect(
        "hermes",
        "No call, 1 < 2 <tool",
        "No call, 1 < 2 <tool",
        &[],
    );
    let none = ("f", json!({}));
    expect(
        "hermes",
        "<tool_call>{\"name\": \"f\"}</tool_call>",
        "",
        std::slice::from_ref(&none),
    );
    let null = "<tool_call>{\"arguments\": null, \"name\": \"f\"}</tool_call>";
    expect("hermes", null, "", std::slice::from_ref(&none));
    let unclosed = "<tool_call>{\"name\": \"f\", \"arguments\": {}}";
    expect("hermes", unclosed, "", std::slice::from_ref(&none));
    let quoted = "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>";
    expect("hermes", quoted, "", &[("f", json!({"a": 1}))]);
    let first =
        "<tool_call>{\"arguments\": {\"a\": 1}, \"id\": 5, \"name\": \"g\\u0041\"}</tool_call>";
    expect("hermes", first, "", &[("gA", json!({"a": 1}))]);
}

#[test]
fn hermes_calls_that_are_broken() {
    let broken = |body: &str, says: &str| {
        expect_broken("hermes", &format!("<tool_call>{body}</tool_call>"), says);
        let reply = parse(
            "hermes",
            &format!("a<tool_call>{body}</tool_call><tool_call>{{\"name\": \"g\"}}</tool_call> b"),
        );
        assert_eq!(reply.calls.len(), 1, "the next call stands: {reply:?}");
        assert_eq!(reply.content, "a b");
    };
    broken(
        "{\"name\": \"f\", \"arguments\": {\"a\": 1}",
        "expected ',' or '}', found '<'",
    );
    broken(
        "{\"name\": \"f\", \"arguments\": {'a': 1}}",
        "double quotes",
    );
    broken("{\"name\": \"f\", \"arguments\": {\"a\": 01}}", "no number");
    broken(
        "{\"name\": \"f\", \"arguments\": {\"a\": tru}}",
        "expected true",
    );
    broken(
        "{\"name\": \"f\", \"arguments\": [1]}",
        "has to be an object",
    );
    broken("{\"name\": 5}", "has to be a string");
    broken("{\"arguments\": {}}", "no \"name\"");
    broken("[1]", "expected an object");
    broken("", "expected an object");
    broken(
        "{\"name\": \"f\", \"arguments\": {\"a\": \"line\nbreak\"}}",
        "control character",
    );
    expect_broken(
        "hermes",
        "<tool_call>{\"name\": \"f\", \"argu",
        "ends before",
    );
    expect_broken("hermes", "<tool_call>", "empty");
}

#[test]
fn function_tag_calls() {
    let call = "<tool_call>\n<function=f>\n<parameter=zip>\n0123\n</parameter>\n<parameter=n>\n5\n</parameter>\n\
        <parameter=list>\n[1, \"a\"]\n</parameter>\n<parameter=more>\nline 1\nline <2>\n</parameter>\n</function>\n</tool_call>";
    let arguments = json!({"zip": "0123", "n": 5, "list": [1, "a"], "more": "line 1\nline <2>"});
    expect("function_tags", call, "", &[("f", arguments.clone())]);
    expect("hermes", call, "", &[("f", arguments)]);
    let none = "Now.\n\n<tool_call>\n<function=now>\n</function>\n</tool_call>";
    expect("function_tags", none, "Now.", &[("now", json!({}))]);
    let json = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
    expect("function_tags", json, "", &[("f", json!({}))]);
    expect_broken(
        "function_tags",
        "<tool_call><function=f>\nx</function></tool_call>",
        "expected <parameter=",
    );
    expect_broken(
        "function_tags",
        "<tool_call><f></tool_call>",
        "expected <function=",
    );
    expect_broken(
        "function_tags",
        "<tool_call><function=f><parameter=a>1",
        "too early",
    );
}

#[test]
fn llama_calls() {
    let call = "{\"name\": \"f\", \"parameters\": {\"a\": \"{b}\"}}";
    let f = ("f", json!({"a": "{b}"}));
    expect("llama", call, "", std::slice::from_ref(&f));
    expect(
        "llama",
        &format!("<|python_tag|>{call}"),
        "",
        std::slice::from_ref(&f),
    );
    expect(
        "llama",
        &format!("\n {call}; {call}\n"),
        "",
        &[f.clone(), f.clone()],
    );
    let other = "{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}";
    expect("llama", other, "", &[("f", json!({}))]);
    // An answer in JSON is an answer.
    for answer in [
        "{\"name\": \"Bob\", \"age\": 3}",
        "{\"a\": [1, 2]}",
        "{not json}",
        "{",
        "Hi {\"name\": 1}",
    ] {
        expect("llama", answer, answer, &[]);
    }
    expect("llama", &format!("{call} Done."), "Done.", &[f]);
    expect_broken(
        "llama",
        "{\"name\": \"f\", \"parameters\": {\"a\": }} x",
        "expected a value",
    );
    expect_broken(
        "llama",
        "{\"name\": \"f\", \"parameters\": {\"a\": 1",
        "ends before",
    );
}

#[test]
fn mistral_calls() {
    let f = ("f", json!({"a": [1, "]"]}));
    let list = "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": [1, \"]\"]}, \"id\": \"abcdef123\"}, {\"name\": \"f\", \"arguments\": {\"a\": [1, \"]\"]}}]";
    expect("mistral", list, "", &[f.clone(), f.clone()]);
    let named = "Well.[TOOL_CALLS]f[ARGS]{\"a\": [1, \"]\"]}[TOOL_CALLS]f[CALL_ID]x12345678[ARGS]{\"a\": [1, \"]\"]}";
    expect("mistral", named, "Well.", &[f.clone(), f.clone()]);
    expect("mistral", "[TOOL_CALLS]f{\"a\": [1, \"]\"]}", "", &[f]);
    expect("mistral", "an [array]", "an [array]", &[]);
    expect_broken(
        "mistral",
        "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {a}}]",
        "double quotes",
    );
    expect_broken("mistral", "[TOOL_CALLS]f[ARGS]{\"a\": ", "ends before");
    expect_broken("mistral", "[TOOL_CALLS]what is {\"a\": 1}", "tool's name");
    expect_broken("mistral", "[TOOL_CALLS][5]", "expected a call's object");
    expect_broken("mistral", "[TOOL_CALLS]", "empty");
}

#[test]
fn gemma_calls() {
    let call = "<|tool_call>call:f{a:<|\"|>x, {y}: \"z\"<|\"|>,b:{c:[1,2.5,true],<|\"|>d e<|\"|>:None}}<tool_call|>";
    let arguments = json!({"a": "x, {y}: \"z\"", "b": {"c": [1, 2.5, true], "d e": null}});
    let f = ("f", arguments);
    expect("gemma", call, "", std::slice::from_ref(&f));
    expect("gemma", &format!("Hm.{call}{call}"), "Hm.", &[f.clone(), f]);
    expect(
        "gemma",
        "<|tool_call>call:f{}<tool_call|>",
        "",
        &[("f", json!({}))],
    );
    expect_broken("gemma", "<|tool_call>call:f{a:x}<tool_call|>", "no value");
    expect_broken("gemma", "<|tool_call>call:f{a:1", "expected ',' or '}'");
    expect_broken("gemma", "<|tool_call>f<tool_call|>", "call:name");
}

#[test]
fn pythonic_calls() {
    let call = "<|tool_call_start|>[f(a=\"x, (y)\", b=[1, 2.5, True], c={'d': None}), g()]<|tool_call_end|>Wait.";
    let f = (
        "f",
        json!({"a": "x, (y)", "b": [1, 2.5, true], "c": {"d": null}}),
    );
    expect("pythonic", call, "Wait.", &[f, ("g", json!({}))]);
    let one = "<|tool_call_start|>f(a='it\\'s\\n')<|tool_call_end|>";
    expect("pythonic", one, "", &[("f", json!({"a": "it's\n"}))]);
    expect_broken(
        "pythonic",
        "<|tool_call_start|>[f(1)]<|tool_call_end|>",
        "expected '='",
    );
    expect_broken(
        "pythonic",
        "<|tool_call_start|>[f(a=x)]<|tool_call_end|>",
        "no value",
    );
    expect_broken("pythonic", "<|tool_call_start|>[f(a='x", "no end");
}

#[test]
fn shared_templates_tell_their_family() {
    let Some(folder) = crate::testing::shared("data/templates") else {
        return;
    };
    let families = [
        ("HuggingFaceTB-SmolLM3-3B.jinja", "generic"),
        ("LFM2.5-Instruct.jinja", "pythonic"),
        (
            "NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja",
            "hermes",
        ),
        ("Qwen-Qwen2.5-7B-Instruct.jinja", "hermes"),
        ("Qwen-Qwen3-0.6B.jinja", "hermes"),
        ("Qwen3.5-4B.jinja", "function_tags"),
        ("google-gemma-2-2b-it.jinja", "generic"),
        ("google-gemma-4-31B-it.jinja", "gemma"),
        ("meta-llama-Llama-3.1-8B-Instruct.jinja", "llama"),
        ("meta-llama-Llama-3.2-3B-Instruct.jinja", "llama"),
        ("mistralai-Mistral-Nemo-Instruct-2407.jinja", "mistral"),
    ];
    for (file, family) in families {
        let source = std::fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(detect(&source).name(), family, "{file}");
    }
}

#[test]
fn what_a_template_writes_is_what_its_family_reads() {
    use crate::chat::template::{ChatTemplate, LocalTime, RenderRequest, SpecialTokens};
    let Some(folder) = crate::testing::shared("data/templates") else {
        return;
    };
    let arguments = json!({"city": "Oslo \"N\"", "days": 3});
    let call = json!({"id": "abcdef123", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let messages = [
        json!({"role": "user", "content": "Weather?"}),
        json!({"role": "assistant", "content": "", "tool_calls": [call]}),
    ];
    let mut n = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let source = std::fs::read_to_string(entry.path()).unwrap();
        let family = detect(&source);
        if ["generic", "pythonic"].contains(&family.name()) {
            continue;
        }
        let special = SpecialTokens::from_iter([("eos_token", "</s>")]);
        let template = ChatTemplate::parse(&source, special).unwrap();
        let tools = tools();
        let request = |messages| RenderRequest {
            tools: Some(&tools),
            ..RenderRequest::new(messages, LocalTime::from_unix(0))
        };
        let before = template
            .render(&RenderRequest {
                add_generation_prompt: !source.contains("[INST]"),
                ..request(&messages[..1])
            })
            .unwrap();
        let after = template.render(&request(&messages)).unwrap();
        // What stands after the generation prompt is what the model would have written.
        let common = before
            .bytes()
            .zip(after.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        // The two prompts may share the beginning of the opener.
        let line = after[..common]
            .rfind(['\n', '>', ']'])
            .map_or(0, |at| at + 1);
        let written = after.get(line..).unwrap();
        let end = ["<|im_end|>", "<|eot_id|>", "</s>", "<|tool_response>"];
        let end = end.iter().filter_map(|end| written.find(end)).min();
        let written = &written[..end.unwrap_or(written.len())];
        let reply = Reply::parse(family, &tools, written);
        assert_eq!(reply.calls.len(), 1, "{:?}: {written}", entry.file_name());
        assert_eq!(reply.calls[0].name, "f");
        let parsed: Json = serde_json::from_str(&reply.calls[0].arguments).unwrap();
        assert_eq!(parsed, arguments, "{:?}", entry.file_name());
        n += 1;
    }
    assert_eq!(n, 8);
}

#[test]
fn call_ids_differ_and_suit_every_template() {
    let mut seen = std::collections::HashSet::new();
    for n in 0..10_000 {
        let id = call_id(n);
        assert!(
            id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric()),
            "{id}"
        );
        assert!(seen.insert(id));
    }
}

#[test]
fn instructions_name_the_form() {
    let text = instructions(&tools());
    assert!(text.contains("<tool_call>") && text.contains("\"zip\""));
}
