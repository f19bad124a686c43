//! Errors as OpenAI's interface has them: a status and an `error` object.

use serde::Serialize;

use crate::error::{Code, Error};

/// The `error` of a response that is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// For people.
    pub message: String,
    /// `invalid_request_error`, `aborted` or `server_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field at fault, where one is.
    pub param: Option<String>,
    /// This crate's stable code.
    pub code: &'static str,
    /// The HTTP status that goes with it; not part of the object.
    #[serde(skip)]
    pub status: u16,
}

impl From<&Error> for ApiError {
    fn from(error: &Error) -> Self {
        let (status, kind) = match error.code() {
            // A model by another name than those here is not found, as OpenAI has it.
            Code::RequestInvalid if error.subject() == "model" => (404, INVALID),
            Code::RequestInvalid
            | Code::TemplateRaised
            | Code::TemplateLimit
            | Code::TokenUnknown
            | Code::ConstraintInvalid
            | Code::ConstraintLimit
            | Code::ContextOverflow => (400, INVALID),
            // What nginx says of a client that went away.
            Code::Aborted => (499, "aborted"),
            Code::OutOfMemory | Code::GpuLost | Code::GpuUnavailable => (503, SERVER),
            _ => (500, SERVER),
        };
        let is_field = kind == INVALID && !error.subject().is_empty();
        Self {
            message: error.to_string(),
            kind,
            param: is_field.then(|| error.subject().to_string()),
            code: error.code().as_str(),
            status,
        }
    }
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_field_and_has_a_status() {
        let error = Error::new(Code::RequestInvalid, "messages[2].role", "is missing");
        let api = ApiError::from(&error);
        assert_eq!(api.status, 400);
        assert_eq!(
            serde_json::to_value(&api).unwrap(),
            serde_json::json!({
                "message": "messages[2].role: is missing",
                "type": "invalid_request_error",
                "param": "messages[2].role",
                "code": "request_invalid",
            })
        );
        let status = |code, subject| ApiError::from(&Error::new(code, subject, "")).status;
        assert_eq!(status(Code::RequestInvalid, "model"), 404);
        assert_eq!(status(Code::Aborted, ""), 499);
        assert_eq!(status(Code::OutOfMemory, ""), 503);
        assert_eq!(status(Code::Internal, "x"), 500);
    }
}
