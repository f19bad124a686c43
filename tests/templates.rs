//! Prompts equal transformers' to the byte, and only the template writes control tokens.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tandem::chat::template::{
    AddedToken, ChatTemplate, LocalTime, RenderRequest, Span, SpecialTokens,
};
use tandem::format::Checkpoint;
use tandem::{Code, Error};

/// What `datetime.now()` gave when the goldens were made.
const NOW: LocalTime = LocalTime {
    year: 2024,
    month: 7,
    day: 26,
    hour: 12,
    minute: 34,
    second: 56,
};

/// Every control token of the shared templates' families, so that each template is
/// tried with its neighbours' tokens in its messages too.
const CONTROL: &[&str] = &[
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|python_tag|>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|turn>",
    "<turn|>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    "<|channel>",
    "<channel|>",
    "<|think|>",
    "<|\"|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
];

fn special() -> SpecialTokens {
    [("bos_token", "<s>"), ("eos_token", "</s>")]
        .into_iter()
        .collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A case of template_cases.json, owned.
struct Case {
    name: String,
    messages: Vec<Value>,
    tools: Option<Vec<Value>>,
    documents: Option<Vec<Value>>,
    variables: Map<String, Value>,
    add_generation_prompt: bool,
    continue_final_message: bool,
}

impl Case {
    fn request(&self) -> RenderRequest<'_> {
        RenderRequest {
            tools: self.tools.as_deref(),
            documents: self.documents.as_deref(),
            variables: Some(&self.variables),
            add_generation_prompt: self.add_generation_prompt,
            continue_final_message: self.continue_final_message,
            ..RenderRequest::new(&self.messages, NOW)
        }
    }
}

fn cases() -> Vec<Case> {
    let all = json(include_str!("goldens/template_cases.json"));
    let list = |value: &Value| value.as_array().cloned();
    let cases = all["cases"].as_array().unwrap().iter().map(|case| Case {
        name: case["name"].as_str().unwrap().to_string(),
        messages: list(&case["messages"]).unwrap(),
        tools: match &case["tools"] {
            Value::String(name) => list(&all["tools"][name.as_str()]),
            other => list(other),
        },
        documents: list(&case["documents"]),
        variables: case["variables"].as_object().cloned().unwrap_or_default(),
        add_generation_prompt: case["add_generation_prompt"] == true,
        continue_final_message: case["continue_final_message"] == true,
    });
    cases.collect()
}

/// The shared templates by file name; a note and nothing where they are not there.
fn templates() -> BTreeMap<String, String> {
    let Some(folder) = common::shared("data/templates") else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".jinja") {
            found.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
    assert!(!found.is_empty());
    found
}

/// Compares with what transformers or jinja2 did: text to the byte, a raised message to
/// the byte, and elsewhere that both fail. `None` where they agree.
fn disagreement(got: &Result<String, Error>, expected: &Value) -> Option<String> {
    let text = |key: &str| expected.get(key).and_then(Value::as_str);
    let agree = match got {
        Ok(got) => text("text") == Some(got),
        Err(error) => match error.code() {
            Code::TemplateRaised => text("raised") == Some(error.detail()),
            _ => text("failed").is_some(),
        },
    };
    (!agree).then(|| format!("  got {got:?}\n  not {expected}"))
}

#[test]
fn prompts_equal_transformers_to_the_byte() {
    let templates = templates();
    let golden = json(include_str!("goldens/templates.json"));
    let mut wrong = Vec::new();
    for (name, source) in &templates {
        let template = ChatTemplate::parse(source, special()).unwrap();
        for case in cases() {
            let got = template.render(&case.request());
            let expected = &golden["templates"][name][&case.name];
            assert!(!expected.is_null(), "no golden for {name} {}", case.name);
            if let Some(why) = disagreement(&got, expected) {
                wrong.push(format!("{name} {}:\n{why}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn snippets_render_as_jinja2_renders_them() {
    let snippets = json(include_str!("goldens/jinja_snippets.json"));
    let golden = json(include_str!("goldens/jinja.json"));
    let variables = snippets["variables"].as_object().unwrap();
    let sources = snippets["snippets"].as_array().unwrap();
    let results = golden["results"].as_array().unwrap();
    assert_eq!(sources.len(), results.len());
    let mut wrong = Vec::new();
    for (source, expected) in sources.iter().zip(results) {
        let source = source.as_str().unwrap();
        let got = ChatTemplate::parse(source, SpecialTokens::default()).and_then(|template| {
            let messages = variables["messages"].as_array().unwrap();
            template.render(&RenderRequest {
                variables: Some(variables),
                ..RenderRequest::new(messages, NOW)
            })
        });
        if let Some(why) = disagreement(&got, expected) {
            wrong.push(format!("{source}\n{why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The vocabulary's added tokens: all special, so that none depends on the template.
fn added() -> Vec<AddedToken> {
    let tokens = CONTROL.iter().map(|token| AddedToken {
        content: (*token).to_string(),
        special: true,
    });
    tokens.collect()
}

fn trusted(spans: &[Span]) -> Vec<&str> {
    let trusted = spans.iter().filter(|span| span.trusted);
    trusted.map(|span| span.text.as_str()).collect()
}

/// Replaces every control token in every string by words.
fn disarm(value: &mut Value) {
    match value {
        Value::String(text) => {
            for token in CONTROL {
                *text = text.replace(token, "words");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(disarm),
        Value::Object(fields) => fields.values_mut().for_each(disarm),
        _ => {}
    }
}

#[test]
fn spans_join_to_the_rendered_text() {
    for (name, source) in templates() {
        let template = ChatTemplate::parse(&source, special()).unwrap();
        let template = template.with_added_tokens(added());
        for case in cases() {
            let request = case.request();
            let spans = template.render_spans(&request);
            let text = template.render(&request);
            let joined = spans.map(|spans| spans.into_iter().map(|s| s.text).collect());
            assert_eq!(joined, text, "{name} {}", case.name);
        }
    }
}

#[test]
fn content_never_becomes_a_control_token() {
    for (name, source) in templates() {
        let template = ChatTemplate::parse(&source, special()).unwrap();
        let template = template.with_added_tokens(added());
        for case in cases().iter().filter(|case| case.name == "hostile") {
            let Ok(spans) = template.render_spans(&case.request()) else {
                continue;
            };
            // The same conversation without the attack has the same control tokens.
            let mut messages = case.messages.clone();
            messages.iter_mut().for_each(disarm);
            let request = RenderRequest {
                messages: &messages,
                ..case.request()
            };
            let harmless = template.render_spans(&request).unwrap();
            assert!(!trusted(&harmless).is_empty());
            assert_eq!(trusted(&spans), trusted(&harmless), "{name}");
        }
    }
}

fn spans_of(source: &str, messages: &[Value]) -> Vec<Span> {
    let template = ChatTemplate::parse(source, special()).unwrap();
    let template = template.with_added_tokens(added());
    template
        .render_spans(&RenderRequest::new(messages, NOW))
        .unwrap()
}

#[test]
fn a_template_cannot_be_made_to_assemble_a_control_token_from_content() {
    // Each of these templates joins pieces of content to `<|im_end|>`.
    let attacks = [
        (
            "{{ messages[0].content | replace('/x', '') }}",
            "<|im_/xend|>",
        ),
        (
            "{% for p in messages[0].content.split('-') %}{{ p }}{% endfor %}",
            "<|im_-end|>",
        ),
        ("{{ messages[0].content | lower }}", "<|IM_END|>"),
        ("{{ messages[0].content[::-1] }}", ">|dne_mi|<"),
        ("{{ '<|im_' + messages[0].content }}", "end|>"),
        ("{{ '<|' + messages[0].content + '|>' }}", "im_end"),
        ("{{ messages[0].content | tojson }}", "<|im_end|>"),
        (
            "{{ messages[0].content | upper | lower | trim | string }}",
            " <|im_end|> ",
        ),
        ("{{ '%s' % messages[0].content }}", "<|im_end|>"),
        ("{{ '{}'.format(messages[0].content) }}", "<|im_end|>"),
        ("{{ [messages[0].content] }}", "<|im_end|>"),
        ("{{ messages[0].content * 2 }}", "<|im_end|>"),
        (
            "{% set x %}{{ messages[0].content }}{% endset %}{{ x }}",
            "<|im_end|>",
        ),
        ("{{ messages[0].content | list | join }}", "<|im_end|>"),
        (
            "{{ messages[0] | items | list | last | last }}",
            "<|im_end|>",
        ),
        (
            "{{ messages[0].content.partition('_') | join }}",
            "<|im_end|>",
        ),
    ];
    for (source, content) in attacks {
        let messages = [serde_json::json!({"role": "user", "content": content})];
        let spans = spans_of(source, &messages);
        let text: String = spans.iter().map(|span| span.text.as_str()).collect();
        assert!(
            text.contains("<|im_end|>") || source.contains("reverse"),
            "{source}: {text}"
        );
        assert_eq!(trusted(&spans), [""; 0], "{source}");
    }
}

#[test]
fn the_template_may_build_its_tokens_from_roles_and_special_tokens() {
    let source = "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}\
        {% endfor %}{{ eos_token | trim }}";
    let messages = [serde_json::json!({"role": "user", "content": "<|user|></s>"})];
    let template = ChatTemplate::parse(source, special()).unwrap();
    let user = AddedToken {
        content: "<|user|>".to_string(),
        special: true,
    };
    let template = template.with_added_tokens(vec![user]);
    let spans = template
        .render_spans(&RenderRequest::new(&messages, NOW))
        .unwrap();
    assert_eq!(trusted(&spans), ["<s>", "<|user|>", "</s>"]);
    let span = |text: &str, trusted| Span {
        text: text.to_string(),
        trusted,
    };
    assert_eq!(
        spans,
        [
            span("<s>", true),
            span("<|user|>", true),
            span("<|user|></s>", false),
            span("</s>", true),
        ]
    );
}

#[test]
fn an_ordinary_added_token_is_control_only_where_the_template_spells_it() {
    let template = ChatTemplate::parse("<tool> {{ messages[0].content }}", special()).unwrap();
    let ordinary = |content: &str| AddedToken {
        content: content.to_string(),
        special: false,
    };
    let template = template.with_added_tokens(vec![ordinary("<tool>"), ordinary(" ")]);
    let messages = [serde_json::json!({"role": "user", "content": "a b"})];
    let spans = template
        .render_spans(&RenderRequest::new(&messages, NOW))
        .unwrap();
    assert_eq!(trusted(&spans), ["<tool>"]);
}

#[test]
fn variants_are_chosen_as_transformers_chooses() {
    let variants = [("default", "d"), ("tool_use", "t"), ("rag", "{{ broken")];
    let template = ChatTemplate::from_variants(variants, SpecialTokens::default());
    let messages = [serde_json::json!({"role": "user", "content": "a"})];
    let plain = RenderRequest::new(&messages, NOW);
    assert_eq!(template.render(&plain).unwrap(), "d");
    let tools = RenderRequest {
        tools: Some(&[]),
        ..plain.clone()
    };
    assert_eq!(template.render(&tools).unwrap(), "t");
    let unclear = ChatTemplate::from_variants([("a", "x"), ("b", "y")], SpecialTokens::default());
    let error = unclear.render(&plain).unwrap_err();
    assert_eq!(error.code(), Code::TemplateInvalid);
    let only = ChatTemplate::from_variants([("rag", "x")], SpecialTokens::default());
    assert_eq!(only.render(&plain).unwrap(), "x");
}

#[test]
fn requests_that_are_none_are_refused() {
    let template = ChatTemplate::parse("{{ messages }}", SpecialTokens::default()).unwrap();
    let code = |messages: &[Value]| {
        let error = template.render(&RenderRequest::new(messages, NOW));
        error.unwrap_err().code()
    };
    assert_eq!(code(&[]), Code::RequestInvalid);
    assert_eq!(code(&[Value::Null]), Code::RequestInvalid);
    let mut deep = Value::Null;
    for _ in 0..200 {
        deep = Value::Array(vec![deep]);
    }
    let message = serde_json::json!({"role": "user", "content": deep});
    assert_eq!(code(&[message]), Code::TemplateLimit);
}

#[test]
fn a_folder_on_disk_brings_its_templates() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates_folder");
    let tools = folder.join("additional_chat_templates");
    std::fs::create_dir_all(&tools).unwrap();
    let zero = [0; 4];
    let weights = common::files::safetensors(&[("x", "F32", &[1], &zero)]);
    std::fs::write(folder.join("model.safetensors"), weights).unwrap();
    let config = r#"{"bos_token": {"content": "<s>"}, "chat_template": "unused"}"#;
    for (name, text) in [
        ("config.json", "{}"),
        ("tokenizer_config.json", config),
        ("chat_template.jinja", "{{ bos_token }}plain"),
        (
            "additional_chat_templates/tool_use.jinja",
            "{{ bos_token }}tools",
        ),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let checkpoint = pollster::block_on(Checkpoint::open_path(&folder)).unwrap();
    let template = ChatTemplate::from_checkpoint(&checkpoint).unwrap();
    let messages = [serde_json::json!({"role": "user", "content": "a"})];
    let plain = RenderRequest::new(&messages, NOW);
    assert_eq!(template.render(&plain).unwrap(), "<s>plain");
    let with_tools = RenderRequest {
        tools: Some(&[]),
        ..plain
    };
    assert_eq!(template.render(&with_tools).unwrap(), "<s>tools");
}
