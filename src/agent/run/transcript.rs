//! What happened, written down: a run is a function of it.

use serde::{Deserialize, Serialize};

use super::{Action, Event, RunConfig};

/// The version that is written and read.
pub const VERSION: u32 = 1;

/// A run, from its beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// [`VERSION`].
    pub version: u32,
    /// What the run was given.
    pub config: RunConfig,
    /// What happened, in order.
    pub entries: Vec<Entry>,
}

/// One event, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, by the driver's clock.
    pub at_ms: f64,
    /// What happened.
    pub event: Event,
    /// What was to be done.
    pub actions: Vec<Action>,
}
