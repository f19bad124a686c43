//! Every GPU kernel against scalar arithmetic, op by op: odd sizes, every element
//! type, 1 to 17 rows, chains and trees. Where there is no adapter each test prints a skip.
//!
//! A test compiles a plan of one or two ops, sets their input buffers, runs them as a
//! pass and reads what they left. The reference is f64, written here and nowhere else.

#![cfg(not(target_arch = "wasm32"))]
#![cfg(feature = "gpu")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/expected.rs"]
mod expected;
#[path = "../common/golden.rs"]
mod golden;
#[path = "../common/speculation.rs"]
mod speculation_cases;

mod attention;
mod bench;
mod counters;
mod elementwise;
mod goldens;
mod limits;
mod projections;
mod rounds;
mod row_independence;
mod sampling;
mod speculation;
