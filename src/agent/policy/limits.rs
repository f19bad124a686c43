//! How much, how fast, how often.

use serde::{Deserialize, Serialize};

/// Bounds on what leaves and what comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Longest address.
    pub max_url_bytes: usize,
    /// Longest query.
    pub max_query_bytes: usize,
    /// Largest body that is sent.
    pub max_body_bytes: usize,
    /// Largest answer, counted as it arrives and after decompression.
    pub max_response_bytes: u64,
    /// For the whole answer.
    pub timeout_ms: u64,
    /// For its first byte.
    pub first_byte_ms: u64,
    /// Requests of one call.
    pub max_requests_per_call: usize,
    /// Requests of a run.
    pub max_requests_per_run: usize,
    /// Requests to one origin within a minute.
    pub max_requests_per_minute: usize,
    /// Requests under way at once.
    pub max_concurrent_requests: usize,
    /// For a tool's code, waiting for the person not counted.
    pub call_timeout_ms: u64,
    /// Longest result that a model reads.
    pub max_result_chars: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_url_bytes: 2048,
            max_query_bytes: 1024,
            max_body_bytes: 16 << 10,
            max_response_bytes: 2 << 20,
            timeout_ms: 30_000,
            first_byte_ms: 10_000,
            max_requests_per_call: 4,
            max_requests_per_run: 40,
            max_requests_per_minute: 20,
            max_concurrent_requests: 4,
            call_timeout_ms: 45_000,
            max_result_chars: 4000,
        }
    }
}
