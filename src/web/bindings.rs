//! What JavaScript sees: one class and two functions. Its methods are the calls of
//! `www/lib/protocol.ts`, by name (`tests/protocol.rs`).

use std::rc::Rc;

use js_sys::{Array, Function, Promise, Reflect};
use serde::Serialize;
use serde_json::Value as Json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::engine::{Options, Request, Threads, load, moment};
use super::source::{Listener, Place};
use super::value::{from_js, thrown, to_js};
use crate::chat::openai::{Capabilities, Service};
use crate::error::{Code, Error, Result};
use crate::format::LocalFuture;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
import type { ModelFiles } from "../storage/folder.ts";
import type { ReadProgress } from "../types.ts";
import type { Calls, LoadOptions } from "../protocol.ts";
"#;

/// A loaded model. Requests come as JSON text; what they may say is `chat::openai`'s to
/// know, not JavaScript's.
#[wasm_bindgen]
pub struct Engine {
    service: Service,
}

#[wasm_bindgen]
impl Engine {
    /// Loads a model, telling `on_progress` of every read. `start_threads` answers how many
    /// threads a model may use, should the processor compute.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`.
    pub async fn load(
        #[wasm_bindgen(unchecked_param_type = "ModelFiles")] target: JsValue,
        #[wasm_bindgen(unchecked_param_type = "ModelFiles | undefined")] draft: JsValue,
        #[wasm_bindgen(unchecked_param_type = "LoadOptions")] options: JsValue,
        #[wasm_bindgen(unchecked_param_type = "(progress: ReadProgress) => void")]
        on_progress: Function,
        #[wasm_bindgen(unchecked_param_type = "(() => Promise<number>) | undefined")]
        start_threads: Option<Function>,
    ) -> std::result::Result<Engine, JsValue> {
        let request = Request {
            target: place("target", &target)?,
            draft: match draft.is_undefined() {
                true => None,
                false => Some(place("draft", &draft)?),
            },
            options: from_js::<Options>("load", options).map_err(|error| thrown(&error))?,
        };
        let listener: Listener = Rc::new(move |progress| {
            // A listener that throws is no reason to stop a load.
            let _ = on_progress.call1(&JsValue::NULL, &to_js(progress));
        });
        let threads: Threads = Box::new(|| Box::pin(count(start_threads)));
        let service = load(request, threads, listener)
            .await
            .map_err(|error| thrown(&error))?;
        Ok(Engine { service })
    }

    /// What it can do.
    #[wasm_bindgen(unchecked_return_type = "Calls[\"load\"][\"reply\"]")]
    pub fn capabilities(&self) -> JsValue {
        to_js(&Capabilities::of(self.service.session()))
    }

    /// `chat.completions`. `on_pieces` gets the pieces of every step (often none) and says
    /// whether to go on; while the engine waits for its answer, the thread can do other
    /// things.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`; `aborted` after a no.
    #[wasm_bindgen(unchecked_return_type = "Calls[\"chat\"][\"reply\"]")]
    pub async fn chat(
        &mut self,
        request: String,
        #[wasm_bindgen(
            unchecked_param_type = "(pieces: Calls[\"chat\"][\"event\"][]) => Promise<boolean>"
        )]
        on_pieces: Function,
    ) -> std::result::Result<JsValue, JsValue> {
        let listen = |pieces: Vec<_>| ask(&on_pieces, to_js(&pieces));
        let reply = match read(&request) {
            Ok(request) => self.service.chat(&request, &moment(), &listen).await,
            Err(error) => Err(error),
        };
        answer(reply)
    }

    /// `completions`, as [`Engine::chat`].
    ///
    /// # Errors
    /// As [`Engine::chat`].
    #[wasm_bindgen(unchecked_return_type = "Calls[\"complete\"][\"reply\"]")]
    pub async fn complete(
        &mut self,
        request: String,
        #[wasm_bindgen(
            unchecked_param_type = "(pieces: Calls[\"complete\"][\"event\"][]) => Promise<boolean>"
        )]
        on_pieces: Function,
    ) -> std::result::Result<JsValue, JsValue> {
        let listen = |pieces: Vec<_>| ask(&on_pieces, to_js(&pieces));
        let reply = match read(&request) {
            Ok(request) => self.service.complete(&request, &moment(), &listen).await,
            Err(error) => Err(error),
        };
        answer(reply)
    }

    /// How likely each token of a text is.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`.
    #[wasm_bindgen(unchecked_return_type = "Calls[\"score\"][\"reply\"]")]
    pub async fn score(&mut self, request: String) -> std::result::Result<JsValue, JsValue> {
        answer(match read(&request) {
            Ok(request) => self.service.score(&request).await,
            Err(error) => Err(error),
        })
    }

    /// Which label fits a text.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`.
    #[wasm_bindgen(unchecked_return_type = "Calls[\"classify\"][\"reply\"]")]
    pub async fn classify(&mut self, request: String) -> std::result::Result<JsValue, JsValue> {
        answer(match read(&request) {
            Ok(request) => self.service.classify(&request, &moment()).await,
            Err(error) => Err(error),
        })
    }

    /// A text's ids.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`.
    #[wasm_bindgen(unchecked_return_type = "Calls[\"tokenize\"][\"reply\"]")]
    pub fn tokenize(&self, request: String) -> std::result::Result<JsValue, JsValue> {
        answer(read(&request).and_then(|request| self.service.tokenize(&request, &moment())))
    }

    /// Ids' text.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`.
    #[wasm_bindgen(unchecked_return_type = "Calls[\"detokenize\"][\"reply\"]")]
    pub fn detokenize(&self, request: String) -> std::result::Result<JsValue, JsValue> {
        answer(read(&request).and_then(|request| self.service.detokenize(&request)))
    }

    /// What it has done since it was loaded.
    #[wasm_bindgen(unchecked_return_type = "Calls[\"stats\"][\"reply\"]")]
    pub fn stats(&self) -> JsValue {
        to_js(&self.service.stats().plain())
    }
}

/// The answer of `start_threads`; without any there is this one.
async fn count(start_threads: Option<Function>) -> usize {
    let Some(started) = start_threads.map(|start| start.call0(&JsValue::NULL)) else {
        return 1;
    };
    let n = match started {
        Ok(promise) => JsFuture::from(Promise::resolve(&promise)).await,
        Err(error) => Err(error),
    };
    // Without threads it is slower, and nothing else.
    n.ok().and_then(|n| n.as_f64()).map_or(1, |n| n as usize)
}

fn read(request: &str) -> Result<Json> {
    serde_json::from_str(request)
        .map_err(|error| Error::new(Code::RequestInvalid, "request", format!("no JSON: {error}")))
}

fn answer<T: Serialize>(reply: Result<T>) -> std::result::Result<JsValue, JsValue> {
    match reply {
        Ok(reply) => Ok(to_js(&reply)),
        Err(error) => Err(thrown(&error)),
    }
}

/// Tells the listener, and waits for its answer.
fn ask(listener: &Function, pieces: JsValue) -> LocalFuture<'_, Result<bool>> {
    Box::pin(async move {
        let answer = listener.call1(&JsValue::NULL, &pieces);
        let answer = match answer {
            Ok(answer) => JsFuture::from(Promise::resolve(&answer)).await,
            Err(error) => Err(error),
        };
        let failed = |error| {
            let detail = format!("the listener failed: {error:?}");
            Error::new(Code::Internal, "on_pieces", detail)
        };
        answer.map(|answer| answer.is_truthy()).map_err(failed)
    })
}

/// Reads a `ModelFiles`. Blobs and folders are JavaScript's own objects, which serde would copy.
fn place(name: &str, target: &JsValue) -> std::result::Result<Place, JsValue> {
    let invalid = |detail| thrown(&Error::new(Code::RequestInvalid, name, detail));
    let get = |object: &JsValue, key: &str| Reflect::get(object, &key.into());
    if get(target, "open")?.is_function() {
        return Ok(Place::Folder(target.clone().unchecked_into()));
    }
    let files = get(target, "files")?;
    if !Array::is_array(&files) {
        return Err(invalid("must be files, or a folder that opens them"));
    }
    let mut found = Vec::new();
    for file in Array::from(&files).iter() {
        let name = get(&file, "name")?.as_string().unwrap_or_default();
        let blob = file.dyn_into::<web_sys::Blob>();
        let blob = blob.map_err(|_| invalid("its `files` must be files"))?;
        found.push((name, blob));
    }
    let name = get(target, "name")?.as_string();
    // Files that were chosen one by one are called after the weights among them.
    let weights = |(name, _): &&(String, _)| {
        let name = name.to_ascii_lowercase();
        name.ends_with(".gguf") || name.ends_with(".safetensors")
    };
    let named_after = found.iter().find(weights).or(found.first());
    let name = name.or_else(|| named_after.map(|(name, _)| name.clone()));
    Ok(Place::Files(name.unwrap_or_default(), found))
}
