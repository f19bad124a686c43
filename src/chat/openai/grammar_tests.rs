use serde_json::json;

use super::*;
use crate::chat::openai::service::tests::{end_token, tokenizer};
use crate::decode::constraint::ConstraintCompiler;
use crate::tokenizer::EncodeOptions;

const FORM: CallForm = CallForm {
    open: "<tool_call>",
    close: "</tool_call>",
};

fn tools() -> Vec<Tool> {
    let tool = |name: &str, parameters: Json| Tool {
        name: name.to_string(),
        parameters,
        strict: false,
        description: Json::Null,
    };
    let city = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"], "additionalProperties": false });
    vec![
        tool("weather", city),
        tool(
            "clock",
            json!({ "type": "object", "properties": {}, "additionalProperties": false }),
        ),
    ]
}

fn grammar<'a>(tools: &'a [Tool], choice: &'a ToolChoice) -> ReplyGrammar<'a> {
    ReplyGrammar {
        form: Some(FORM),
        tools,
        choice,
        parallel: true,
        answer: None,
        thought: Thought::None,
    }
}

/// Whether the whole text is a reply.
fn accepts(grammar: &ReplyGrammar<'_>, text: &str) -> bool {
    let tokenizer = tokenizer();
    let end = end_token();
    let compiler = ConstraintCompiler::new(tokenizer.clone(), end).unwrap();
    let spec = grammar.spec(|tool| tool.parameters.clone()).unwrap();
    let mut constraint = compiler
        .compile(&spec)
        .unwrap_or_else(|error| panic!("{error}\n{spec:?}"));
    let options = EncodeOptions {
        add_special: false,
        parse_special: false,
    };
    for id in tokenizer.encode(text, options).unwrap() {
        if !constraint.mask().unwrap().allows(id) {
            return false;
        }
        constraint.commit(id).unwrap();
    }
    constraint.mask().unwrap().allows(end)
}

fn call(name: &str, arguments: &str) -> String {
    format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {arguments}}}\n</tool_call>")
}

#[test]
fn a_required_call_is_a_call_with_arguments_by_the_schema() {
    let (tools, choice) = (tools(), ToolChoice::Required);
    let grammar = grammar(&tools, &choice);
    let good = call("weather", "{\"city\": \"Oslo\"}");
    assert!(accepts(&grammar, &good));
    assert!(accepts(
        &grammar,
        &good.replace('\n', "").replace(": ", ":")
    ));
    assert!(accepts(
        &grammar,
        &format!("{good}\n{}", call("clock", "{}"))
    ));
    assert!(!accepts(&grammar, "It rains."));
    assert!(!accepts(&grammar, ""));
    assert!(!accepts(&grammar, &call("weather", "{}")));
    assert!(!accepts(&grammar, &call("weather", "{\"city\": 3}")));
    assert!(!accepts(&grammar, &call("clock", "{\"city\": \"Oslo\"}")));
    assert!(!accepts(&grammar, &call("sun", "{}")));
    assert!(!accepts(&grammar, &format!("{good} done")));
}

#[test]
fn a_named_call_is_that_one_alone() {
    let (tools, choice) = (tools(), ToolChoice::Named("clock".to_string()));
    let grammar = grammar(&tools, &choice);
    let good = call("clock", "{}");
    assert!(accepts(&grammar, &good));
    assert!(!accepts(&grammar, &call("weather", "{\"city\": \"Oslo\"}")));
    assert!(!accepts(&grammar, &format!("{good}\n{good}")));
}

#[test]
fn text_is_free_until_a_call_begins() {
    let (tools, choice) = (tools(), ToolChoice::Auto);
    let mut grammar = grammar(&tools, &choice);
    let good = call("weather", "{\"city\": \"Oslo\"}");
    for text in [
        "",
        "It rains.\n\n{\"a\": <b>",
        "<tool_",
        "<think>x</think> y",
    ] {
        assert!(accepts(&grammar, text), "{text}");
    }
    assert!(accepts(&grammar, &good));
    assert!(accepts(&grammar, &format!("Let me see.\n{good}\n{good}")));
    assert!(!accepts(
        &grammar,
        &format!("Let me see. {}", call("weather", "{}"))
    ));
    assert!(!accepts(&grammar, "Say <tool_call> and no more"));
    grammar.parallel = false;
    assert!(accepts(&grammar, &format!("Let me see.\n{good}")));
    assert!(!accepts(&grammar, &format!("{good}\n{good}")));
}

#[test]
fn an_answer_may_have_a_form_too() {
    let (tools, choice) = (tools(), ToolChoice::Auto);
    let answer = ConstraintSpec::json(json!({ "type": "integer" }));
    let grammar = ReplyGrammar {
        answer: Some(&answer),
        thought: Thought::Optional {
            open: "<think>",
            close: "</think>",
        },
        ..grammar(&tools, &choice)
    };
    assert!(accepts(&grammar, "42"));
    assert!(accepts(&grammar, "<think>Hm, <b>.</think>\n\n42"));
    assert!(accepts(&grammar, &call("clock", "{}")));
    assert!(accepts(
        &grammar,
        &format!("<think>\n</think>\n{}", call("clock", "{}"))
    ));
    assert!(!accepts(&grammar, "forty-two"));
    let begun = ReplyGrammar {
        form: None,
        thought: Thought::Begun { close: "</think>" },
        ..grammar
    };
    assert!(accepts(&begun, "so.\n</think>\n\n42"));
    assert!(!accepts(&begun, "42"));
}

#[test]
fn answers_of_every_kind_stand_behind_thought() {
    let choice = ToolChoice::Auto;
    for (answer, good, bad) in [
        (
            ConstraintSpec::json(json!({ "type": "object" })),
            "{\"a\": [1]}",
            "[1]",
        ),
        (ConstraintSpec::Regex("a/b+".to_string()), "a/bb", "a/"),
        (
            ConstraintSpec::Choice(vec!["yes".to_string(), "\"no\"".to_string()]),
            "\"no\"",
            "maybe",
        ),
    ] {
        let grammar = ReplyGrammar {
            form: None,
            tools: &[],
            choice: &choice,
            parallel: true,
            answer: Some(&answer),
            thought: Thought::Optional {
                open: "<think>",
                close: "</think>",
            },
        };
        assert!(accepts(&grammar, good), "{good}");
        assert!(
            accepts(&grammar, &format!("<think>?</think>\n{good}")),
            "{good}"
        );
        assert!(!accepts(&grammar, bad), "{bad}");
    }
}

#[test]
fn nothing_wanted_is_no_constraint() {
    let choice = ToolChoice::Auto;
    let grammar = grammar(&[], &choice);
    assert_eq!(grammar.spec(|_| Json::Null), None);
}
