//! What several tests share. Integration tests say `mod common;`, unit tests use
//! `crate::testing`, which is this same file, so nothing here may name the crate.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(missing_docs, reason = "tests are not a public interface")]

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
        eprintln!(
            "skipped: shared/{path} is not here (set TANDEM_SHARED to the folder that has it)"
        );
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
