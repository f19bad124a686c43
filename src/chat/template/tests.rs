use serde_json::json;

use super::*;
use crate::format::{Array, Metadata, Value as Gguf};

const NOW: LocalTime = LocalTime {
    year: 2024,
    month: 7,
    day: 26,
    hour: 0,
    minute: 0,
    second: 0,
};

fn files(entries: &[(&'static str, &'static str)]) -> Result<ChatTemplate> {
    let get = |name: &str| {
        let found = entries.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| *text)
    };
    ChatTemplate::from_files(&mut { get }, entries.to_vec())
}

fn hello(template: &ChatTemplate) -> String {
    let messages = [json!({"role": "user", "content": "hi"})];
    let request = RenderRequest {
        add_generation_prompt: true,
        ..RenderRequest::new(&messages, NOW)
    };
    template.render(&request).unwrap()
}

#[test]
fn a_folder_gives_its_template_and_its_tokens() {
    let template = files(&[
        (
            "tokenizer_config.json",
            r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": null,
                "chat_template": [{"name": "default", "template": "{{ bos_token }}d{{ eos_token }}"},
                                  {"name": "tool_use", "template": "t"}],
                "added_tokens_decoder": {"1": {"content": "<s>", "special": true}}}"#,
        ),
        (
            "special_tokens_map.json",
            r#"{"bos_token": "<no>", "eos_token": "</s>"}"#,
        ),
    ]);
    let template = template.unwrap();
    assert_eq!(template.source(), TemplateSource::Checkpoint);
    assert_eq!(
        template.variants().collect::<Vec<_>>(),
        ["default", "tool_use"]
    );
    assert_eq!(hello(&template), "<s>d</s>");
    let special = true;
    let content = "<s>".to_string();
    assert_eq!(template.added, [AddedToken { content, special }]);
}

#[test]
fn a_template_file_goes_before_the_configuration() {
    let config = ("tokenizer_config.json", r#"{"chat_template": "config"}"#);
    let processor = ("chat_template.json", r#"{"chat_template": "processor"}"#);
    let jinja = ("chat_template.jinja", "file");
    let other = ("additional_chat_templates/tool_use.jinja", "tools");
    assert_eq!(hello(&files(&[config]).unwrap()), "config");
    assert_eq!(hello(&files(&[config, processor]).unwrap()), "processor");
    let all = files(&[config, processor, jinja, other]).unwrap();
    assert_eq!(hello(&all), "file");
    assert_eq!(all.jinja(true).unwrap(), "tools");
}

#[test]
fn malformed_companion_files_name_themselves() {
    let error = |files: Result<ChatTemplate>| files.err().unwrap();
    let broken = error(files(&[("tokenizer_config.json", "{")]));
    assert_eq!(
        (broken.code(), broken.subject()),
        (Code::ConfigInvalid, "tokenizer_config.json")
    );
    let number = error(files(&[(
        "tokenizer_config.json",
        r#"{"chat_template": 5}"#,
    )]));
    assert_eq!(number.code(), Code::TemplateInvalid);
    let nameless = r#"{"chat_template": [{"template": "x"}]}"#;
    let nameless = error(files(&[("tokenizer_config.json", nameless)]));
    assert_eq!(nameless.code(), Code::TemplateInvalid);
}

#[test]
fn gguf_gives_its_template_and_its_tokens() {
    let mut metadata = Metadata::default();
    let mut add = |key: &str, value: Gguf| assert!(metadata.insert(key, value));
    let text = |text: &str| Gguf::String(text.to_string());
    let tokens = ["a", "<s>", "</s>", "<tool>"].into_iter().collect();
    add("tokenizer.ggml.tokens", Gguf::Array(Array::Strings(tokens)));
    add(
        "tokenizer.ggml.token_type",
        Gguf::Array(Array::I32(vec![1, 3, 3, 4])),
    );
    add("tokenizer.ggml.bos_token_id", Gguf::Unsigned(1));
    add("tokenizer.ggml.eos_token_id", Gguf::Unsigned(99));
    add(
        "tokenizer.chat_template",
        text("{{ bos_token }}{{ messages[0].content }}"),
    );
    add("tokenizer.chat_template.tool_use", text("tools"));
    let template = ChatTemplate::from_gguf(&metadata).unwrap();
    assert_eq!(hello(&template), "<s>hi");
    assert_eq!(template.jinja(true).unwrap(), "tools");
    assert_eq!(template.special_tokens().get("eos_token"), None);
    let added: Vec<_> = template
        .added
        .iter()
        .map(|t| (&*t.content, t.special))
        .collect();
    assert_eq!(added, [("<s>", true), ("</s>", true), ("<tool>", false)]);
}

#[test]
fn a_checkpoint_without_a_template_gets_a_stated_form() {
    let plain = files(&[("tokenizer_config.json", r#"{"bos_token": "<s>"}"#)]).unwrap();
    assert_eq!(plain.source(), TemplateSource::Plain);
    assert_eq!(hello(&plain), "<s>user: hi\nassistant:");
    let tokens = r#"{"added_tokens": [{"content": "<|im_start|>", "special": true}]}"#;
    let chatml = files(&[("tokenizer.json", tokens)]).unwrap();
    assert_eq!(chatml.source(), TemplateSource::ChatMl);
    let prompt = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(hello(&chatml), prompt);
}

#[test]
fn the_fallbacks_write_tools_and_calls() {
    let messages = [
        json!({"role": "system", "content": "S"}),
        json!({"role": "user", "content": [{"type": "text", "text": "U"}]}),
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"function": {"name": "f", "arguments": {"a": 1}}}, {"function": {"name": "g", "arguments": "{}"}}]}),
        json!({"role": "tool", "content": "R"}),
    ];
    let tools = [json!({"type": "function", "function": {"name": "f"}})];
    let request = RenderRequest {
        tools: Some(&tools),
        ..RenderRequest::new(&messages, NOW)
    };
    let start = AddedToken {
        content: "<|im_start|>".to_string(),
        special: true,
    };
    let chatml = ChatTemplate::fallback(SpecialTokens::default(), vec![start]);
    let text = chatml.render(&request).unwrap();
    assert!(
        text.starts_with("<|im_start|>system\nS\n\nYou may call"),
        "{text}"
    );
    let rest = "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n\
        <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n\
        <tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call><|im_end|>\n\
        <|im_start|>tool\n<tool_response>\nR\n</tool_response><|im_end|>\n";
    assert!(text.ends_with(rest), "{text}");
    let plain = ChatTemplate::fallback(SpecialTokens::default(), Vec::new());
    let text = plain.render(&request).unwrap();
    let rest = "assistant: <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>\
        <tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>\ntool: R\n";
    assert!(text.ends_with(rest), "{text}");
}

#[test]
fn a_template_raises_with_its_own_words() {
    let template = ChatTemplate::parse("\n{{ raise_exception('No.') }}", SpecialTokens::default());
    let messages = [json!({"role": "user", "content": "hi"})];
    let error = template
        .unwrap()
        .render(&RenderRequest::new(&messages, NOW));
    let error = error.unwrap_err();
    assert_eq!(
        (error.code(), error.detail()),
        (Code::TemplateRaised, "No.")
    );
    let template = ChatTemplate::parse("\n{{ 1 + nope }}", SpecialTokens::default());
    let error = template
        .unwrap()
        .render(&RenderRequest::new(&messages, NOW));
    let error = error.unwrap_err();
    let detail = "line 2: 'nope' is undefined";
    assert_eq!(
        (error.code(), error.detail()),
        (Code::TemplateInvalid, detail)
    );
    let error = ChatTemplate::parse("{% if %}", SpecialTokens::default())
        .err()
        .unwrap();
    assert_eq!(error.code(), Code::TemplateInvalid);
    let long = " ".repeat(MAX_SOURCE_BYTES + 1);
    let error = ChatTemplate::parse(&long, SpecialTokens::default())
        .err()
        .unwrap();
    assert_eq!(error.code(), Code::TemplateLimit);
}

#[test]
fn openais_argument_strings_become_objects() {
    let call = |arguments| json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]});
    let given = [
        call(json!("{\"a\": 1}")),
        call(json!("not json")),
        call(json!({"b": 2})),
    ];
    let expected = [
        call(json!({"a": 1})),
        call(json!("not json")),
        call(json!({"b": 2})),
    ];
    assert_eq!(openai_messages(&given), expected);
}
