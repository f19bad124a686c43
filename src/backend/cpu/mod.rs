//! The CPU backend: the reference for every kernel, and the fallback.
