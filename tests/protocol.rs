//! What TypeScript says of requests, replies and calls, held to what Rust does: the names
//! stand twice, so a test compares them.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;
use tandem::Code;
use tandem::chat::openai::about::{Capabilities, EngineStats};
use tandem::chat::openai::overflow::{self, Dropped};
use tandem::chat::openai::request::{CHAT_FIELDS, COMPLETION_FIELDS, REFUSED_FIELDS};
use tandem::chat::openai::sampling::DRY_FIELDS;
use tandem::chat::openai::speculation::{self, SpeculationStats};
use tandem::chat::openai::types::{
    ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, Completion, CompletionChoice,
    CompletionLogprobs, CompletionTokensDetails, Delta, Function, FunctionDelta, Logprobs, Message,
    PromptTokensDetails, Timings, TokenLogprob, ToolCall, ToolCallDelta, ToolCallError, TopLogprob,
    Usage,
};
use tandem::chat::openai::words::{
    CLASSIFY_FIELDS, DETOKENIZE_FIELDS, Detokenized, LabelScore, SCORE_FIELDS, Scored,
    TOKENIZE_FIELDS, Tokenized,
};
use tandem::chat::openai::{format, messages};

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

type Names = BTreeSet<String>;

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
    names.into_iter().map(str::to_string).collect()
}

/// The fields of `export interface NAME` in a TypeScript file, those it inherits too.
fn interface(file: &str, name: &str) -> Names {
    let text = source(file);
    let head = format!("export interface {name} ");
    let at = text
        .find(&head)
        .unwrap_or_else(|| panic!("{file} has no {name}"));
    let body = &text[at + head.len()..];
    let open = body.find('{').unwrap();
    let mut fields = match body[..open].trim().strip_prefix("extends ") {
        Some(parent) => interface(file, parent.trim()),
        None => Names::new(),
    };
    let mut depth = 0;
    for line in body[open..].lines() {
        let code = line.trim();
        let comment = code.starts_with('*') || code.starts_with('/');
        if depth == 1 && !comment {
            let name: String = code
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let rest = &code[name.len()..];
            if !name.is_empty() && (rest.starts_with(':') || rest.starts_with("?:")) {
                fields.insert(name);
            }
        }
        if !comment {
            let count = |c| code.matches(c).count();
            depth = depth + count('{') - count('}');
        }
        if depth == 0 {
            break;
        }
    }
    assert!(!fields.is_empty(), "{file}: {name} has no field");
    fields
}

/// The fields of a value in JSON.
fn fields(value: &impl Serialize) -> Names {
    let json = serde_json::to_value(value).unwrap();
    json.as_object().unwrap().keys().cloned().collect()
}

const OPENAI: &str = "www/lib/openai.ts";
const TYPES: &str = "www/lib/types.ts";

#[test]
fn requests_have_the_same_fields() {
    let supported = |fields: &[&'static str]| {
        let refused = REFUSED_FIELDS.iter().chain(&["suffix"]);
        let refused: Vec<&str> = refused.copied().collect();
        names(
            fields
                .iter()
                .copied()
                .filter(|name| !refused.contains(name)),
        )
    };
    assert_eq!(
        interface(OPENAI, "ChatCompletionParams"),
        supported(CHAT_FIELDS)
    );
    assert_eq!(
        interface(OPENAI, "CompletionParams"),
        supported(COMPLETION_FIELDS)
    );
    assert_eq!(
        interface(OPENAI, "SpeculationParams"),
        names(speculation::FIELDS.iter().copied())
    );
    let list = |fields: &[&'static str]| names(fields.iter().copied());
    assert_eq!(
        interface(OPENAI, "ContextOverflowParams"),
        list(overflow::FIELDS)
    );
    assert_eq!(interface(OPENAI, "DryParams"), list(DRY_FIELDS));
    assert_eq!(
        interface(OPENAI, "ChatAskingMessage"),
        list(messages::ASKING_FIELDS)
    );
    assert_eq!(
        interface(OPENAI, "ChatToolMessage"),
        list(messages::TOOL_FIELDS)
    );
    let assistant = list(messages::ASSISTANT_FIELDS);
    let declared = interface(OPENAI, "ChatAssistantMessage");
    assert!(declared.is_subset(&assistant), "{declared:?}");
    assert_eq!(interface(TYPES, "TokenizeParams"), list(TOKENIZE_FIELDS));
    assert_eq!(
        interface(TYPES, "DetokenizeParams"),
        list(DETOKENIZE_FIELDS)
    );
    assert_eq!(interface(TYPES, "ScoreParams"), list(SCORE_FIELDS));
    assert_eq!(interface(TYPES, "ClassifyParams"), list(CLASSIFY_FIELDS));
    let text = source(OPENAI);
    let words = [speculation::MODES, overflow::POLICIES].concat();
    for word in format::names().chain(words) {
        assert!(text.contains(&format!("\"{word}\"")), "{word}");
    }
}

#[test]
fn replies_have_the_same_fields() {
    let delta = Delta {
        role: Some("assistant"),
        content: Some(String::new()),
        reasoning_content: Some(String::new()),
        tool_calls: Some(vec![]),
        tool_call_errors: Some(vec![]),
    };
    let call = ToolCall {
        id: String::new(),
        kind: "function",
        function: Function {
            name: String::new(),
            arguments: String::new(),
        },
    };
    let call_delta = ToolCallDelta {
        index: 0,
        id: Some(String::new()),
        kind: Some("function"),
        function: FunctionDelta {
            name: Some(String::new()),
            arguments: String::new(),
        },
    };
    let call_error = ToolCallError {
        index: None,
        message: String::new(),
    };
    let message = Message {
        role: "assistant",
        content: None,
        refusal: None,
        reasoning_content: Some(String::new()),
        tool_calls: vec![call.clone()],
        tool_call_errors: vec![call_error.clone()],
    };
    let token = TokenLogprob {
        token: String::new(),
        logprob: 0.0,
        bytes: vec![],
        top_logprobs: vec![],
        source: "",
    };
    let top = TopLogprob {
        token: String::new(),
        logprob: 0.0,
        bytes: vec![],
    };
    let (stats, timings) = (SpeculationStats::default(), Timings::default());
    let piece = ChunkChoice {
        index: 0,
        delta: delta.clone(),
        logprobs: None,
        finish_reason: None,
    };
    let chunk = ChatCompletionChunk {
        id: String::new(),
        object: "",
        created: 0,
        model: String::new(),
        choices: vec![],
        usage: Some(None),
        context_overflow: Some(Dropped::default()),
        speculation: Some(stats.clone()),
        timings: Some(timings),
        round: Some(speculation::Round::default()),
    };
    let choice = Choice {
        index: 0,
        message: message.clone(),
        logprobs: None,
        finish_reason: "stop",
    };
    let whole = ChatCompletion {
        id: String::new(),
        object: "",
        created: 0,
        model: String::new(),
        choices: vec![],
        usage: Usage::default(),
        context_overflow: Some(Dropped::default()),
        speculation: stats.clone(),
        timings,
    };
    let text = Completion {
        id: String::new(),
        object: "",
        created: 0,
        model: String::new(),
        choices: vec![],
        usage: Some(None),
        speculation: Some(stats.clone()),
        timings: Some(timings),
        round: Some(speculation::Round::default()),
    };
    for (name, found) in [
        ("ChatCompletionChunk", fields(&chunk)),
        ("ChunkChoice", fields(&piece)),
        ("Delta", fields(&delta)),
        ("ToolCallDelta", fields(&call_delta)),
        ("FunctionDelta", fields(&call_delta.function)),
        ("ToolCallError", fields(&call_error)),
        ("ChatCompletion", fields(&whole)),
        ("Choice", fields(&choice)),
        ("Message", fields(&message)),
        ("ToolCall", fields(&call)),
        ("Logprobs", fields(&Logprobs::default())),
        ("TokenLogprob", fields(&token)),
        ("TopLogprob", fields(&top)),
        ("Usage", fields(&Usage::default())),
        (
            "PromptTokensDetails",
            fields(&PromptTokensDetails::default()),
        ),
        (
            "CompletionTokensDetails",
            fields(&CompletionTokensDetails::default()),
        ),
        ("ContextOverflow", fields(&Dropped::default())),
        ("Timings", fields(&timings)),
        ("Round", fields(&speculation::Round::default())),
        ("SpeculationStats", fields(&stats)),
        ("Completion", fields(&text)),
        ("CompletionChoice", fields(&CompletionChoice::default())),
        ("CompletionLogprobs", fields(&CompletionLogprobs::default())),
        (
            "EngineStats",
            fields(&EngineStats {
                requests: 0,
                usage: Usage::default(),
                speculation: stats.clone(),
                decode_tokens_per_s: 0.0,
            }),
        ),
    ] {
        assert_eq!(interface(OPENAI, name), found, "{name}");
    }
}

#[test]
fn answers_of_our_own_have_the_same_fields() {
    let capabilities = Capabilities {
        model: String::new(),
        architecture: String::new(),
        n_parameters: 0,
        device: String::new(),
        threads: 0,
        context_tokens: 0,
        draft: None,
        has_chat_template: false,
        tool_calls: "",
        enforces_tool_calls: false,
        response_formats: vec![],
        speculation_modes: vec![],
        max_top_logprobs: 0,
        max_choices: 0,
    };
    let scored = Scored {
        token_ids: vec![],
        logprobs: vec![],
        total_logprob: 0.0,
        perplexity: 0.0,
    };
    let label = LabelScore {
        label: String::new(),
        probability: 0.0,
        logprob: 0.0,
        empty_logprob: 0.0,
    };
    let text = Detokenized {
        text: String::new(),
    };
    for (name, found) in [
        ("Capabilities", fields(&capabilities)),
        ("Scored", fields(&scored)),
        ("LabelScore", fields(&label)),
        ("Tokenized", fields(&Tokenized { token_ids: vec![] })),
        ("Detokenized", fields(&text)),
    ] {
        assert_eq!(interface(TYPES, name), found, "{name}");
    }
}

#[test]
fn every_call_is_a_method_of_the_engine() {
    let bindings = source("src/web/bindings.rs");
    let mut methods: Names = bindings
        .lines()
        .filter_map(|line| {
            let line = line.trim().strip_prefix("pub ")?;
            let name = line
                .strip_prefix("async ")
                .unwrap_or(line)
                .strip_prefix("fn ")?;
            Some(name.split('(').next()?.to_string())
        })
        .collect();
    // What `load` answers with; and what is no method of the engine: runs of agents, and a
    // panic on request.
    assert!(methods.remove("capabilities"));
    assert!(methods.insert("crash".to_string()));
    assert!(methods.insert("agent".to_string()));
    assert_eq!(interface("www/lib/protocol.ts", "Calls"), methods);
}

#[test]
fn tabs_share_an_engine_by_the_package_s_version() {
    let package = source("www/lib/package.json");
    let package: serde_json::Value = serde_json::from_str(&package).unwrap();
    let version = package["version"].as_str().unwrap();
    let stated = format!("const VERSION = \"{version}\";");
    assert!(source("www/lib/shared.ts").contains(&stated), "{stated}");
}

#[test]
fn codes_that_typescript_names_are_codes() {
    let known = names(Code::ALL.iter().map(|code| code.as_str()));
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/lib");
    let mut n_named = 0;
    for folder in [lib.clone(), lib.join("remote"), lib.join("storage")] {
        for file in fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "ts") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for made in ["new TandemError(", "new FinalError(", "super("] {
                for (at, _) in text.match_indices(made) {
                    let first = text[at + made.len()..].trim_start();
                    let Some(code) = first.strip_prefix('"').and_then(|s| s.split('"').next())
                    else {
                        continue;
                    };
                    n_named += 1;
                    assert!(known.contains(code), "{}: {code}", path.display());
                }
            }
        }
    }
    assert!(n_named > 20, "{n_named}");
}
