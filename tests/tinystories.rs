//! A real model, from both of its public copies, against what transformers says of
//! it: `expected.json` beside the weights.

#![cfg(not(target_arch = "wasm32"))]

mod common;
#[path = "common/expected.rs"]
mod expected;

use expected::assert_matches_expected;
use tandem::format::Checkpoint;

fn check(copy: &str) {
    let Some(folder) = common::shared(&format!("data/weights/{copy}")) else {
        return;
    };
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    pollster::block_on(async {
        let checkpoint = Checkpoint::open_path(&folder).await.unwrap();
        assert_matches_expected(&checkpoint, &expected).await;
    });
}

#[test]
fn the_bf16_copy_says_what_transformers_says() {
    check("tinystories-656k-bf16");
}

/// It stores the head alone, and the embedding table is tied to it.
#[test]
fn the_fp32_copy_says_what_transformers_says() {
    check("tinystories-656k-fp32");
}
