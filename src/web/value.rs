//! Values and errors across the border.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;

use crate::chat::openai::ApiError;
use crate::error::{Code, Error, Result};

/// The JavaScript `Error` for one of ours: its message, and beside it `code`, and what
/// OpenAI's interface says of it: `status`, `type` and `param`.
pub fn thrown(error: &Error) -> JsValue {
    let thrown = js_sys::Error::new(&error.to_string());
    let api = ApiError::from(error);
    let param = api.param.map_or(JsValue::NULL, JsValue::from);
    for (name, value) in [
        ("code", JsValue::from(api.code)),
        ("status", JsValue::from(api.status)),
        ("type", JsValue::from(api.kind)),
        ("param", param),
    ] {
        // Setting a property of a fresh object cannot fail.
        let _ = js_sys::Reflect::set(&thrown, &name.into(), &value);
    }
    thrown.into()
}

/// A plain object of what serde sees.
pub fn to_js(value: &impl Serialize) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    // Our own structs of numbers and strings always have a plain form.
    value.serialize(&serializer).unwrap_or(JsValue::UNDEFINED)
}

/// What a caller passed for `name`.
///
/// # Errors
/// `request_invalid` where it is of another shape.
pub fn from_js<T: DeserializeOwned>(name: &str, value: JsValue) -> Result<T> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|error| Error::new(Code::RequestInvalid, name, error.to_string()))
}
