//! The processor computes the same bits here as in a browser (`tests/web/models.rs`).

#![cfg(not(target_arch = "wasm32"))]

#[path = "common/same_bits.rs"]
mod same_bits;

use std::path::Path;

use same_bits::{DIGESTS, digest};
use tandem::format::Checkpoint;

#[test]
fn logits_have_the_bits_that_they_have_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = DIGESTS.map(|(name, _)| {
        let folder = root.join("tests/goldens/architectures").join(name);
        let path = folder.join("model.gguf");
        let checkpoint = pollster::block_on(Checkpoint::open_path(&path)).unwrap();
        (name, pollster::block_on(digest(&checkpoint)))
    });
    assert_eq!(found, DIGESTS, "{found:#018x?}");
}
