//! `cargo xtask <verb>`: builds, serves and tests the project.
fn main() {}
