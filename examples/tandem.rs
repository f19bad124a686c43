//! The native harness: the engine without a browser.
//!
//! ```text
//! cargo run --release --example tandem -- inspect MODEL
//! cargo run --release --example tandem -- generate --model MODEL --prompt TEXT
//! ```

#[cfg(not(target_arch = "wasm32"))]
#[path = "tandem/cli.rs"]
mod cli;

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    cli::main()
}

/// In a browser there is a page instead.
#[cfg(target_arch = "wasm32")]
fn main() {}
