//! The GPU backend, through WebGPU.
