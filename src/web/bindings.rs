//! What JavaScript sees: one class and two functions.

use std::rc::Rc;

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::engine::{LoadedSession, Request};
use super::source::{Listener, Place};
use super::value::{from_js, thrown, to_js};
use crate::error::{Code, Error};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
import type { GenerateRequest } from "../protocol.ts";
import type { Device, LoadProgress, ModelInfo, ModelSource, ReplyEnd, SamplingOptions } from "../types.ts";
"#;

/// A loaded model.
#[wasm_bindgen]
pub struct Engine {
    session: LoadedSession,
}

#[wasm_bindgen]
impl Engine {
    /// Loads a model, telling `on_progress` of every read.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`.
    pub async fn load(
        #[wasm_bindgen(unchecked_param_type = "ModelSource")] target: JsValue,
        #[wasm_bindgen(unchecked_param_type = "ModelSource | undefined")] draft: JsValue,
        #[wasm_bindgen(unchecked_param_type = "Device")] device: JsValue,
        #[wasm_bindgen(unchecked_param_type = "(progress: LoadProgress) => void")]
        on_progress: Function,
    ) -> Result<Engine, JsValue> {
        let request = Request {
            target: place("target", &target)?,
            draft: match draft.is_undefined() {
                true => None,
                false => Some(place("draft", &draft)?),
            },
            device: from_js("device", device).map_err(|error| thrown(&error))?,
        };
        let listener: Listener = Rc::new(move |progress| {
            // A listener that throws is no reason to stop a load.
            let _ = on_progress.call1(&JsValue::NULL, &to_js(progress));
        });
        let session = LoadedSession::load(request, listener)
            .await
            .map_err(|error| thrown(&error))?;
        Ok(Engine { session })
    }

    /// What was loaded.
    #[wasm_bindgen(unchecked_return_type = "ModelInfo")]
    pub fn info(&self) -> JsValue {
        to_js(self.session.info())
    }

    /// Makes a reply. `on_text` gets every piece, and says whether to go on; while the
    /// engine waits for its answer, the thread can do other things.
    ///
    /// # Errors
    /// Throws an `Error` with the engine's `code`; `aborted` after a no.
    #[wasm_bindgen(unchecked_return_type = "ReplyEnd")]
    pub async fn generate(
        &mut self,
        #[wasm_bindgen(unchecked_param_type = "GenerateRequest[\"prompt\"]")] prompt: JsValue,
        #[wasm_bindgen(unchecked_param_type = "SamplingOptions")] sampling: JsValue,
        #[wasm_bindgen(unchecked_param_type = "(text: string) => Promise<boolean>")]
        on_text: Function,
    ) -> Result<JsValue, JsValue> {
        let prompt = from_js("prompt", prompt).map_err(|error| thrown(&error))?;
        let sampling = from_js("sampling", sampling).map_err(|error| thrown(&error))?;
        let go_on = |text: String| -> crate::format::LocalFuture<'_, crate::Result<bool>> {
            Box::pin(async {
                let text = JsValue::from(text);
                let answer = on_text.call1(&JsValue::NULL, &text);
                let answer = match answer {
                    Ok(answer) => JsFuture::from(Promise::resolve(&answer)).await,
                    Err(error) => Err(error),
                };
                let failed = |error| {
                    let detail = format!("the listener failed: {error:?}");
                    Error::new(Code::RequestInvalid, "on_text", detail)
                };
                answer.map(|answer| answer.is_truthy()).map_err(failed)
            })
        };
        let end = self.session.generate(prompt, sampling, &go_on).await;
        end.map(|end| to_js(&end)).map_err(|error| thrown(&error))
    }
}

/// Reads a `ModelSource`. Blobs are JavaScript's own objects, which serde would copy.
fn place(name: &str, target: &JsValue) -> Result<Place, JsValue> {
    let invalid = |detail| thrown(&Error::new(Code::RequestInvalid, name, detail));
    let get = |object: &JsValue, key: &str| Reflect::get(object, &key.into());
    if let Some(url) = get(target, "url")?.as_string() {
        return Ok(Place::Url(url));
    }
    let files = get(target, "files")?;
    if !Array::is_array(&files) {
        return Err(invalid("must have `files` or `url`"));
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
