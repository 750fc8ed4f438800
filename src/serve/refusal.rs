//! How a request is refused: a status, and JSON that says why and what to do.
//!
//! ```json
//! {"error": {"code": "queue_full", "message": "…", "help": "…"}}
//! ```
//!
//! Every refusal of this server is made here, so this file is the list of them. Deliberately absent: what a text says; a
//! message may name a field, a number or a place, never content.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

/// Why a request is not answered.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    fault: Fault,
    retry_after: Option<u64>,
}

/// The body of a refusal.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Failed {
    error: Fault,
}

/// What is wrong.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Fault {
    /// A word for programs.
    code: &'static str,
    /// A sentence for people.
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            fault: Fault {
                code,
                message: message.into(),
                help: None,
            },
            retry_after: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Refusal {
        self.fault.help = Some(help.into());
        self
    }

    fn retry_after(mut self, seconds: u64) -> Refusal {
        self.retry_after = Some(seconds.clamp(1, 60));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn code(&self) -> &'static str {
        self.fault.code
    }

    pub fn not_utf8(at: usize) -> Refusal {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid_utf8",
            format!("the body is not UTF-8: the byte at {at} begins no character"),
        )
        .help("send JSON in UTF-8")
    }

    pub fn not_json(reason: impl std::fmt::Display) -> Refusal {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid_json",
            format!("the body is no JSON: {reason}"),
        )
        .help("send one JSON object")
    }

    pub fn broken_body() -> Refusal {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "broken_body",
            "the body broke off or was not well framed",
        )
        .help("send as many bytes as `Content-Length` says, or well-formed chunks")
    }

    pub fn unauthorized() -> Refusal {
        Refusal::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this server answers whoever shows its token",
        )
        .help("send the header `Authorization: Bearer TOKEN`")
    }

    pub fn not_found() -> Refusal {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing at this path",
        )
        .help("`GET /openapi.json` describes every path, and `GET /models` names the models")
    }

    pub fn wrong_method() -> Refusal {
        Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path does not know this method",
        )
        .help("the header `Allow` names those that it knows")
    }

    pub fn slow_body(within: Duration) -> Refusal {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow_body",
            format!("the body did not arrive within {} s", within.as_secs_f64()),
        )
        .help("send it faster, or in several requests; the server's `--read-timeout` is the limit")
    }

    pub fn body_too_large(most: usize) -> Refusal {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body is larger than {most} bytes"),
        )
        .help("send fewer texts at once; the server's `--max-body-bytes` is the limit")
    }

    pub fn too_many_texts(found: usize, most: usize) -> Refusal {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "too_many_texts",
            format!("{found} texts in one request, and at most {most} are answered"),
        )
        .help("send them in several requests; the server's `--max-texts` is the limit")
    }

    pub fn text_too_long(index: usize, found: usize, most: usize) -> Refusal {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "text_too_long",
            format!("text {index} has {found} characters, and at most {most} are read"),
        )
        .help("cut it; the server's `--max-characters` is the limit")
    }

    pub fn not_json_type() -> Refusal {
        Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body is not said to be JSON",
        )
        .help("send the header `Content-Type: application/json`")
    }

    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", message)
            .help("`GET /openapi.json` describes what each model takes")
    }

    /// A text that the model cannot be asked.
    pub fn unanswerable(message: impl Into<String>, help: Option<String>) -> Refusal {
        let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "unanswerable", message);
        match help {
            Some(help) => refusal.help(help),
            None => refusal,
        }
    }

    pub fn queue_full(seconds: u64) -> Refusal {
        Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "queue_full",
            "as many texts as may are waiting for this model",
        )
        .help("ask again after the seconds in `Retry-After`")
        .retry_after(seconds)
    }

    /// The model failed, or the server did.
    pub fn fault(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", message)
            .help("the server's log says more with -vv; other requests are answered as before")
    }

    pub fn loading() -> Refusal {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "loading",
            "the models are still being read",
        )
        .help("ask again when `GET /ready` says 200")
        .retry_after(1)
    }

    pub fn draining() -> Refusal {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "the server is about to end and takes nothing new",
        )
        .help("ask another one")
        .retry_after(1)
    }

    pub fn timed_out(within: Duration) -> Refusal {
        Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            format!("the model had no answer within {} s", within.as_secs_f64()),
        )
        .help(
            "ask for fewer texts at once, or later; the server's `--request-timeout` is the limit",
        )
    }

    /// As HTTP.
    pub fn response(self) -> Response<Body> {
        let failed = Failed { error: self.fault };
        // Strings are JSON.
        let body = serde_json::to_vec(&failed).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"refit\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // What may still be on its way must not be taken for the next request.
        if self.status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
