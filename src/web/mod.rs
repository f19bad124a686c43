//! The crate as a WebAssembly module: the only place that knows JavaScript.
