//! What can go wrong, and the one place that turns it into an HTTP status.

use crate::Reply;
use crate::bindings::trine::rag::types::Error;

/// A request that gets no answer.
#[derive(Debug)]
pub enum Problem {
    /// The request is wrong.
    Invalid(String),
    /// The body is not JSON in UTF-8.
    UnsupportedMedia(String),
    /// No such path.
    NotFound(String),
    /// The path wants another method.
    Method {
        /// The method it wants.
        allow: &'static str,
    },
    /// The application is set up wrongly.
    Configuration(String),
    /// A stage did not answer.
    Stage {
        /// `retriever`, `reranker` or `generator`.
        stage: &'static str,
        /// Its error.
        error: Error,
    },
}

impl Problem {
    /// `{"error": {"code", "message"}}` under the status that fits.
    pub fn reply(self) -> Reply {
        let (status, headers, error) = self.parts();
        Reply::json(status, headers, error.to_string())
    }

    /// The same for a body that has begun.
    pub fn error(self) -> serde_json::Value {
        self.parts().2
    }

    fn parts(self) -> (u16, Vec<(&'static str, String)>, serde_json::Value) {
        let mut headers = Vec::new();
        let (status, code, message) = match self {
            Problem::Invalid(text) => (400, "invalid_request", text),
            Problem::UnsupportedMedia(text) => (415, "unsupported_media_type", text),
            Problem::NotFound(text) => (404, "not_found", text),
            Problem::Method { allow } => {
                headers.push(("allow", allow.to_owned()));
                (405, "method_not_allowed", format!("this path takes {allow}"))
            }
            Problem::Configuration(text) => (500, "misconfigured", text),
            Problem::Stage { stage, error } => match error {
                Error::InvalidInput(text) => (400, "invalid_request", text),
                Error::Busy(text) => {
                    headers.push(("retry-after", "1".to_owned()));
                    (503, "busy", text)
                }
                Error::OverBudget(text) => (422, "over_budget", text),
                Error::Inference(text) => (500, "inference_failed", format!("{stage}: {text}")),
                Error::NotInitialized(text) => {
                    (500, "not_initialized", format!("{stage}: {text}; build the bundle again"))
                }
            },
        };
        let error = serde_json::json!({ "error": { "code": code, "message": message } });
        (status, headers, error)
    }
}
