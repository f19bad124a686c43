//! The house rules that a compiler does not check: who may import whom, who may know
//! that there is a browser, and that an op has one name everywhere.
//!
//! `scan` reads Rust text into paths; the rules are here.

#![cfg(not(target_arch = "wasm32"))]

mod names;
mod scan;

use std::fs;
use std::path::{Path, PathBuf};

use scan::Source;

/// Each layer, and the layers it may import. `error` is everyone's.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("format", &[]),
    ("tokenizer", &["format"]),
    ("backend", &["format"]),
    ("model", &["backend", "format"]),
    ("decode", &["model", "backend", "format", "tokenizer"]),
    (
        "chat",
        &["decode", "model", "backend", "format", "tokenizer"],
    ),
    (
        "agent",
        &["chat", "decode", "model", "backend", "format", "tokenizer"],
    ),
    (
        "web",
        &[
            "agent",
            "chat",
            "decode",
            "model",
            "backend",
            "format",
            "tokenizer",
        ],
    ),
];

/// Names at the crate's root that belong to a layer, or to none.
const ROOT_NAMES: &[(&str, Option<&str>)] = &[
    ("Error", Some("error")),
    ("Code", Some("error")),
    ("Result", Some("error")),
    ("testing", None),
];

/// The only places that may ask whether this is a browser.
const KNOW_WASM: &[&str] = &["web", "format/source", "backend/gpu/device"];

/// Crates that are JavaScript's.
const JAVASCRIPT: &[&str] = &["js_sys", "web_sys", "wasm_bindgen", "wasm_bindgen_futures"];

#[test]
fn imports_run_one_way() {
    let wrong: Vec<String> = sources().iter().flat_map(broken_edges).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_edges_of_the_crate_know_the_browser() {
    let wrong: Vec<String> = sources().iter().flat_map(browser_knowledge).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_integration_test_says_where_it_runs() {
    // `wasm-pack test` compiles every test file: one that does not say is linked
    // and loaded in a browser for nothing.
    for entry in fs::read_dir(root().join("tests")).unwrap().flatten() {
        let path = entry.path();
        let file = if path.is_dir() {
            path.join("main.rs")
        } else {
            path
        };
        if file.extension().is_some_and(|ext| ext == "rs") && file.is_file() {
            let text = fs::read_to_string(&file).unwrap();
            let native = text.contains("#![cfg(not(target_arch = \"wasm32\"))]");
            let wasm = text.contains("#![cfg(target_arch = \"wasm32\")]");
            let name = file.strip_prefix(root()).unwrap().display();
            assert!(native || wasm, "{name} names neither machine");
        }
    }
}

/// Imports of `source` that the layers do not allow, one sentence each.
fn broken_edges(source: &Source) -> Vec<String> {
    let Some(from) = source.module.first().map(String::as_str) else {
        return Vec::new(); // lib.rs names everyone
    };
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == from) else {
        return vec![format!("{}: `{from}` is not a layer", source.name)];
    };
    let mut wrong = Vec::new();
    for path in source.paths() {
        let Some(first) = path.first() else { continue };
        let root_name = ROOT_NAMES.iter().find(|(name, _)| name == first);
        let to = match root_name {
            Some((_, None)) => continue,
            Some((_, Some(layer))) => layer,
            None => first.as_str(),
        };
        let written = format!("{}: crate::{}", source.name, path.join("::"));
        if !LAYERS.iter().any(|(layer, _)| *layer == to) {
            wrong.push(format!("{written}: `{to}` is not a layer"));
        } else if to != from && to != "error" && !allowed.contains(&to) {
            wrong.push(format!("{written}: `{from}` may not know `{to}`"));
        }
        if from == "backend" && to == "backend" {
            let side = |module: &[String]| {
                let name = module.get(1).map(String::as_str);
                name.filter(|name| matches!(*name, "cpu" | "gpu"))
                    .map(str::to_string)
            };
            if let (Some(one), Some(other)) = (side(&source.module), side(&path))
                && one != other
            {
                wrong.push(format!(
                    "{written}: `backend::{one}` may not know `backend::{other}`"
                ));
            }
        }
    }
    wrong
}

/// Where `source` asks for the browser without being allowed to.
fn browser_knowledge(source: &Source) -> Vec<String> {
    let place = source.module.join("/");
    if KNOW_WASM
        .iter()
        .any(|allowed| place == *allowed || place.starts_with(&format!("{allowed}/")))
    {
        return Vec::new();
    }
    let asks = source.count_wasm_questions();
    // lib.rs leaves `web` out elsewhere than in a browser: once.
    let may_ask = usize::from(source.module.is_empty());
    let mut wrong = Vec::new();
    if asks > may_ask {
        wrong.push(format!(
            "{}: only {KNOW_WASM:?} may ask whether this is a browser",
            source.name
        ));
    }
    if source.count_idents(JAVASCRIPT) > 0 {
        wrong.push(format!(
            "{}: only {KNOW_WASM:?} may know JavaScript",
            source.name
        ));
    }
    wrong
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the crate.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    assert!(files.len() > 5, "src/ is not where it was");
    files
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root().join("src")).unwrap();
            Source::new(name.to_str().unwrap(), &fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(name: &str, text: &str) -> Vec<String> {
        broken_edges(&Source::new(name, text))
    }

    #[test]
    fn an_edge_that_is_broken_on_purpose_is_seen() {
        for (name, text) in [
            ("format/gguf.rs", "use crate::model::spec::ModelSpec;"),
            ("backend/cpu/mod.rs", "fn f() { crate::decode::go() }"),
            ("backend/cpu/mod.rs", "use super::gpu::Device;"),
            (
                "backend/gpu/mod.rs",
                "use crate::backend::{cpu::dot, plan};",
            ),
            ("backend/gpu/op.rs", "use super::super::{plan, cpu};"),
            (
                "model/mod.rs",
                "use crate::{backend, tokenizer::Tokenizer};",
            ),
            (
                "tokenizer/mod.rs",
                "mod a { mod b { use super::super::super::chat; } }",
            ),
            ("decode/mod.rs", "use crate::nowhere;"),
            ("chat/mod.rs", "use crate::{error::*, web as w};"),
            ("error.rs", "use crate :: /* why? */ format :: quant;"),
        ] {
            assert_eq!(edges(name, text).len(), 1, "{name}: {text}");
        }
    }

    #[test]
    fn what_is_allowed_is_not_reported() {
        for (name, text) in [
            ("lib.rs", "pub mod web; pub use crate::web::Engine;"),
            (
                "web/mod.rs",
                "use crate::{agent, format, backend::gpu, Error};",
            ),
            (
                "decode/round.rs",
                "use crate::tokenizer::Tokenizer; use super::draft;",
            ),
            (
                "backend/cpu/mod.rs",
                "use super::plan::Op; use crate::backend::cpu::dot;",
            ),
            (
                "format/mod.rs",
                "// use crate::model;\n/* /* crate::web */ crate::chat */",
            ),
            (
                "format/mod.rs",
                r###"const S: &str = r#"crate::model "x" "#; const C: char = '"';"###,
            ),
            (
                "format/mod.rs",
                "fn f<'a>(x: &'a str) -> &'a str { x } use crate::Result;",
            ),
            ("model/mod.rs", "use crate::{Code, Error, Result, testing};"),
            ("format/mod.rs", "fn f() { let x = \"\\\" crate::web\"; }"),
        ] {
            assert_eq!(edges(name, text), Vec::<String>::new(), "{name}: {text}");
        }
    }

    #[test]
    fn asking_for_the_browser_in_the_wrong_place_is_seen() {
        let ask = "#[cfg(target_arch = \"wasm32\")] fn f() {}";
        let seen = |name: &str, text: &str| browser_knowledge(&Source::new(name, text)).len();
        assert_eq!(seen("model/mod.rs", ask), 1);
        assert_eq!(seen("backend/gpu/pass.rs", ask), 1);
        assert_eq!(seen("format/source_list.rs", ask), 1);
        assert_eq!(seen("decode/mod.rs", "use js_sys::Promise;"), 1);
        assert_eq!(seen("lib.rs", &ask.repeat(2)), 1);
        assert_eq!(
            seen("model/mod.rs", "if cfg!(target_family=\"wasm\") {}"),
            1
        );
        assert_eq!(
            seen("backend/cpu/dot.rs", &ask.replace("wasm32", "x86_64")),
            0
        );
        assert_eq!(seen("lib.rs", ask), 0);
        assert_eq!(seen("format/source/blob.rs", ask), 0);
        assert_eq!(seen("backend/gpu/device.rs", ask), 0);
        assert_eq!(seen("web/mod.rs", "use js_sys::Promise;"), 0);
    }
}
