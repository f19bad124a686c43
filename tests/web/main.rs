//! What has to hold in a browser: run by `wasm-pack test --headless --chrome`, in a
//! dedicated worker, where the engine lives too.

#![cfg(target_arch = "wasm32")]

mod format;
#[cfg(feature = "gpu")]
mod gpu;
mod models;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Says that the calling test tests nothing, and why: `cargo xtask test` counts the
/// line.
#[allow(dead_code, reason = "not every feature set has something to skip")]
fn skip(what: &str, why: &str) {
    wasm_bindgen_test::console_log!("skipped: {what}: {why}");
}
