//! Text <-> ids against the reference implementations: llama.cpp's vectors, Hugging
//! Face `tokenizers` and `sentencepiece` (goldens by `tests/goldens/tokenizer.py`), by
//! every route that the data allows.

#![cfg(not(target_arch = "wasm32"))]

#[path = "../common/mod.rs"]
mod common;

mod faults;
mod promises;
mod routes;
mod speed;
mod support;
