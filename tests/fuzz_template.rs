//! A template from anywhere never panics, never hangs and never takes more memory than
//! its work limit stands for. See `common/fuzz.rs` for how long this runs.

#![cfg(not(target_arch = "wasm32"))]

mod common;

use std::time::{Duration, Instant};

use common::fuzz::{CountingAllocator, peak_bytes, run};
use serde_json::{Value, json};
use tandem::Code;
use tandem::chat::template::{
    AddedToken, ChatTemplate, LocalTime, RenderRequest, Span, SpecialTokens,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Templates that try to run for ever, to take all memory or the whole stack.
const HOSTILE: &[&str] = &[
    "{{ 'a' * 10**9 }}",
    "{{ [1] * 10**9 }}",
    "{{ range(10**9) | list | length }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}",
    "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s=[1]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s=[1]) %}{% for i in range(80) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s={'a': 1}) %}{% for i in range(80) %}{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}{{ ns.s | tojson }}",
    "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(80) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}{{ ns.s < ns.t }}",
    "{% set ns = namespace(s=[1, 2]) %}{% for i in range(80) %}{% set ns.s = ns.s | map('list') | list if false else ns.s | batch(1) | list %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}{{ ns.x.x.x }}",
    "{% set ns = namespace(s=1) %}{% for i in range(99999) %}{% set ns.s = namespace(x=ns.s) %}{% endfor %}ok",
    "{% set ns = namespace(s=1) %}{% for i in range(99999) %}{% set ns.s = cycler(ns.s) %}{% endfor %}ok",
    "{% set ns = namespace(s='a') %}{% for i in range(99999) %}{% set ns.s = joiner(ns.s) %}{% endfor %}ok",
    "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}x{% endmacro %}{{ f(40) }}",
    "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
    "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ '%1000000000d' % 1 }}{{ '%.1000000000f' | format(1) }}",
    "{% set a = 'a' * 1000000 %}{{ a.replace('a', a) }}",
    "{% set a = 'a' * 1000000 %}{{ a.join(a) }}{{ a | join(a) }}",
    "{{ ('\\n' * 100000) | indent(100000) }}{{ 'a' | center(10**9) }}{{ 'a'.ljust(10**9) }}",
    "{{ 10 ** 1000 }}{{ 10.0 ** 1000 }}{{ 2 ** 10**9 }}",
    "{% set a = 'a' * 9000000 %}{% set b = 'a' * 9000000 %}{% for i in range(99999) %}{{ a == b }}{% endfor %}",
    "{% set a = 'é' * 9000000 %}{% for i in range(99999) %}{{ a[8999999] }}{{ a | length }}{% endfor %}",
    "{% set a = 'a' * 9000000 %}{% for i in range(99999) %}{{ 'b' in a }}{{ a.find('b') }}{{ 'x'.split(a) }}{% endfor %}",
    "{% set a = 'a' * 9000000 %}{% for i in range(99999) %}{{ a.strip(a) }}{{ a | trim(a) }}{{ a.upper() }}{% endfor %}",
    "{% for i in range(99999) %}{{ range(99999) | list | sort | unique | list }}{% endfor %}",
    "{% for i in range(99999) %}{{ messages | tojson(indent=100000) }}{% endfor %}",
    "{{ [1] | slice(10**9) | list }}{{ [1] | batch(10**9, 'x') | list }}",
    "{{ strftime_now('%c' * 10000000) }}",
    "{% set ns = namespace(d={}) %}{% for i in range(99999) %}{% set ns.d = dict(ns.d, **{'k' ~ i: i}) %}{% endfor %}",
    "{% set x %}{% for i in range(99999) %}{{ messages }}{% endfor %}{% endset %}{{ x * 100000 }}",
    "{% filter upper %}{% for i in range(99999) %}{{ messages }}{% endfor %}{% endfilter %}",
    "{% if true %}{% if true %}{{ ((((((((((1)))))))))) }}{{ not not not not 1 }}{{ ----1 }}{% endif %}{% endif %}",
];

/// Two turns with everything templates look at.
fn messages() -> Vec<Value> {
    vec![
        json!({"role": "system", "content": "Be brief. /no_think"}),
        json!({"role": "user", "content": "<|im_start|> héllo [INST] "}),
        json!({"role": "assistant", "content": "<think>a</think>b", "reasoning_content": "r",
            "tool_calls": [{"id": "abcdef123", "type": "function",
                "function": {"name": "f", "arguments": {"x": 1.5, "y": [null, "z"]}}}]}),
        json!({"role": "tool", "tool_call_id": "abcdef123", "content": "<|im_end|>4"}),
        json!({"role": "user", "content": [{"type": "text", "text": "t"}]}),
    ]
}

fn tools() -> Vec<Value> {
    vec![
        json!({"type": "function", "function": {"name": "f", "description": "d",
        "parameters": {"type": "object", "properties": {"x": {"type": "number", "description": "e"}}}}}),
    ]
}

const NOW: LocalTime = LocalTime {
    year: 2024,
    month: 7,
    day: 26,
    hour: 12,
    minute: 34,
    second: 56,
};

/// Renders `source` with `units` of work and holds the outcome against what is promised.
fn check(source: &str, units: u64, messages: &[Value], tools: &[Value]) -> Option<Code> {
    let special = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let special: SpecialTokens = special.into_iter().collect();
    let request = RenderRequest {
        tools: Some(tools),
        add_generation_prompt: true,
        ..RenderRequest::new(messages, NOW)
    };
    let start = Instant::now();
    let (outcome, peak) = peak_bytes(|| {
        let template = ChatTemplate::parse(source, special)?.with_work_limit(units);
        let control = ["<|im_start|>", "<|im_end|>", "[INST]"].map(|token| AddedToken {
            content: token.to_string(),
            special: true,
        });
        template
            .with_added_tokens(control.to_vec())
            .render_spans(&request)
    });
    let elapsed = start.elapsed();
    // Memory is paid for at four units a byte; a buffer is held three times over while it
    // grows and once more while it is handed on, and the source takes its share.
    let bound = (units as usize / 4) * 5 + 400 * source.len() + (1 << 20);
    assert!(peak <= bound, "{peak} bytes, {} of source", source.len());
    // Unoptimised on a busy machine: what matters is that it ends.
    let seconds = 2 + units / 4_000_000;
    assert!(elapsed < Duration::from_secs(seconds), "{elapsed:?}");
    match outcome {
        Ok(spans) => {
            // The conversation spells control tokens: they stay text.
            let is_control = |span: &Span| span.trusted && !source.contains(&span.text);
            let forged = spans.iter().find(|span| is_control(span));
            assert!(
                forged.is_none_or(
                    |span| ["<s>", "</s>"].contains(&&*span.text) || source.contains('\\')
                ),
                "{forged:?}"
            );
            None
        }
        Err(error) => {
            assert_ne!(error.code(), Code::Internal, "{error}");
            assert!(!error.subject().is_empty());
            Some(error.code())
        }
    }
}

#[test]
fn hostile_templates_end_within_the_default_limit() {
    let (messages, tools) = (messages(), tools());
    for source in HOSTILE {
        check(source, 256_000_000, &messages, &tools);
    }
    let deep = [
        "{{ ".to_string() + &"(".repeat(90_000) + " }}",
        "{{ ".to_string() + &"not ".repeat(90_000) + "1 }}",
        "{{ ".to_string() + &"-".repeat(90_000) + "1 }}",
        "{{ ".to_string() + &"[".repeat(90_000) + " }}",
        "{{ 1 ".to_string() + &"if 1 else 2 ".repeat(20_000) + "}}",
        "{{ 1".to_string() + &" + 1".repeat(40_000) + "}}",
        "{{ x".to_string() + &" | string".repeat(40_000) + "}}",
        "{{ x".to_string() + &" is string".repeat(40_000) + "}}",
        "{{ x".to_string() + &".y".repeat(40_000) + "}}",
        "{% if 1 %}".repeat(20_000),
        "{% for a in b %}".repeat(20_000),
        "{% set ".to_string() + &"(".repeat(90_000) + "a = 1 %}",
        "{# ".repeat(90_000),
        "{% raw %}".repeat(20_000),
        "{%".repeat(90_000),
    ];
    for source in &deep {
        check(source, 256_000_000, &messages, &tools);
    }
}

#[test]
fn templates_never_panic_hang_or_exhaust_memory() {
    let mut corpus: Vec<Vec<u8>> = HOSTILE
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    let snippets: Value =
        serde_json::from_str(include_str!("goldens/jinja_snippets.json")).unwrap();
    let snippets = snippets["snippets"].as_array().unwrap().iter();
    corpus.extend(snippets.filter_map(|text| Some(text.as_str()?.as_bytes().to_vec())));
    if let Some(folder) = common::shared("data/templates") {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            corpus.push(std::fs::read(entry.path()).unwrap());
        }
    }
    let (messages, tools) = (messages(), tools());
    run("templates", &corpus, |input| {
        check(
            &String::from_utf8_lossy(input),
            2_000_000,
            &messages,
            &tools,
        );
    });
}
