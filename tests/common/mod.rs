//! What several tests share. Integration tests say `mod common;`, unit tests use
//! `crate::testing`, which is this same file, so nothing here may name the crate.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(missing_docs, reason = "tests are not a public interface")]

pub mod files;
pub mod fuzz;

use std::path::{Path, PathBuf};

/// The path of something in the data that is shared between projects and not kept
/// in this repository, or `None`, with a line that says so, where it is missing.
///
/// `TANDEM_SHARED` names the folder; without it, `shared` beside the repository is
/// tried, and one level further up (worktrees lie one level deeper). `path` is
/// relative to it, such as `data/tokenizers/llama-spm.gguf`.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = candidates()
        .into_iter()
        .map(|root| root.join(path))
        .find(|p| p.exists());
    if found.is_none() {
        let why =
            format!("shared/{path} is not here (set TANDEM_SHARED to the folder that has it)");
        skip("shared", &why);
    }
    found
}

fn candidates() -> Vec<PathBuf> {
    if let Some(root) = std::env::var_os("TANDEM_SHARED") {
        return vec![PathBuf::from(root)];
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    vec![root.join("../shared"), root.join("../../shared")]
}

/// Says that the calling test tests nothing, and why; the caller then returns.
///
/// `what` is what is missing, in one word: `gpu`, `browser`, `shared`. Where
/// `TANDEM_REQUIRE` (comma-separated) names it, this panics instead. `cargo xtask
/// test` counts the line printed here, so a skip is never a silent pass.
pub fn skip(what: &str, why: &str) {
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == what),
        "TANDEM_REQUIRE={required}, but: {why}"
    );
    eprintln!("skipped: {what}: {why}");
}
