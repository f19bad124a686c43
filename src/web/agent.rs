//! Agents for JavaScript: one class whose texts are JSON, the words of
//! [`crate::agent::run`]. It needs no model: `www/lib/agent.ts` drives it over any engine.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

use super::value::thrown;
use crate::agent::run::{Event, Run, RunConfig, Transcript};
use crate::error::{Code, Error, Result};

/// A run of an agent.
#[wasm_bindgen]
pub struct AgentRun {
    run: Run,
}

#[wasm_bindgen]
impl AgentRun {
    /// A run of what `config` says (`RunConfig`).
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`.
    #[wasm_bindgen(constructor)]
    pub fn new(config: &str) -> std::result::Result<AgentRun, JsValue> {
        let run = read::<RunConfig>("config", config).and_then(Run::new);
        run.map(|run| AgentRun { run })
            .map_err(|error| thrown(&error))
    }

    /// The run that a transcript tells of, as far as it goes.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`, also where the transcript does not fit
    /// itself.
    pub fn replay(transcript: &str) -> std::result::Result<AgentRun, JsValue> {
        let run = read::<Transcript>("transcript", transcript).and_then(|t| Run::replay(&t));
        run.map(|run| AgentRun { run })
            .map_err(|error| thrown(&error))
    }

    /// What to do about an event that happened at `at_ms`: a list of actions.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code` where nothing asked for the event.
    pub fn handle(&mut self, at_ms: f64, event: &str) -> std::result::Result<String, JsValue> {
        let actions = read::<Event>("event", event).and_then(|event| self.run.handle(at_ms, event));
        actions
            .and_then(|actions| write(&actions))
            .map_err(|error| thrown(&error))
    }

    /// What was asked for and not answered: a list of actions.
    ///
    /// # Errors
    /// None in practice.
    pub fn pending(&self) -> std::result::Result<String, JsValue> {
        write(&self.run.pending()).map_err(|error| thrown(&error))
    }

    /// Everything that happened and was done about it.
    ///
    /// # Errors
    /// None in practice.
    pub fn transcript(&self) -> std::result::Result<String, JsValue> {
        write(&self.run.transcript()).map_err(|error| thrown(&error))
    }
}

fn read<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::new(Code::RequestInvalid, name, error.to_string()))
}

fn write(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(Code::Internal, "agent", error.to_string()))
}
