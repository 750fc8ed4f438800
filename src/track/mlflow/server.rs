//! Requests to an MLflow server, and what an answer that was none means.
//!
//! Promise: the token is in the requests and nowhere else; where a server repeats it, it is blotted out. No redirect is
//! followed, which would hand it to another address.
//!
//! Deliberately absent: which requests there are, and when one is repeated.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::track::Trouble;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer a message shows, in characters.
const SHOWN: usize = 200;

pub(super) struct Server {
    url: String,
    token: Option<String>,
    /// None until the first request.
    line: Option<Line>,
    /// Whether the last answer was that it is asked too often.
    pub(super) busy: bool,
}

struct Line {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// An answer that was none.
#[derive(Debug)]
pub(super) struct Refused {
    /// The server's word for it, such as `RESOURCE_DOES_NOT_EXIST`.
    pub(super) code: String,
    pub(super) reason: String,
    /// Whether it is worth another attempt.
    pub(super) again: bool,
}

impl Refused {
    fn for_good(reason: String) -> Refused {
        Refused {
            code: String::new(),
            reason,
            again: false,
        }
    }

    /// It says yes, and not what an MLflow server says then.
    pub(super) fn stranger() -> Refused {
        Refused::for_good("this is no MLflow server".to_owned())
    }

    /// If so many numbers were not taken because of it.
    pub(super) fn trouble(self, lost: usize) -> Trouble {
        let reason = self.reason;
        match self.again {
            true => Trouble::ForNow(reason),
            false => Trouble::ForGood { reason, lost },
        }
    }
}

impl Server {
    /// No token where it is empty.
    pub(super) fn new(url: &str, token: &str) -> Server {
        Server {
            url: url.trim_end_matches('/').to_owned(),
            token: (!token.is_empty()).then(|| token.to_owned()),
            line: None,
            busy: false,
        }
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) -> Result<Value, Refused> {
        let path = format!("api/2.0/mlflow/{path}");
        let body = body.to_string().into_bytes();
        self.call(Method::POST, &path, &[], Some(body))
    }

    pub(super) fn call(
        &mut self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
    ) -> Result<Value, Refused> {
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(Line::new().map_err(Refused::for_good)?),
        };
        let address = Url::parse(&format!("{}/{path}", self.url));
        let mut address = address.map_err(|error| Refused::for_good(error.to_string()))?;
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        let mut request = line.client.request(method, address);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answered = line.runtime.block_on(async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        });
        let (status, body) = answered.map_err(|error| Refused {
            code: String::new(),
            reason: self.cause(error),
            again: true,
        })?;
        self.busy = status == StatusCode::TOO_MANY_REQUESTS;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let told = answer["message"].as_str().unwrap_or_default();
        Err(Refused {
            code: answer["error_code"].as_str().unwrap_or_default().to_owned(),
            reason: match self.shown(told) {
                told if told.is_empty() => format!("it answers {status}"),
                told => format!("it answers {status}: {told}"),
            },
            again: status.is_server_error()
                || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status),
        })
    }

    /// What caused an error, in one line: reqwest's own text leaves out why.
    fn cause(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("it does not answer within {} s", TIMEOUT.as_secs());
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            text = source.to_string();
            cause = source.source();
        }
        self.shown(&text)
    }

    /// Words of others, as they may be shown.
    fn shown(&self, text: &str) -> String {
        let line = text.lines().next().unwrap_or_default();
        let line = match &self.token {
            Some(token) => line.replace(token.as_str(), "[token]"),
            None => line.to_owned(),
        };
        shortened(&line, SHOWN)
    }
}

impl Line {
    fn new() -> Result<Line, String> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("refit/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Line { client, runtime })
    }
}

pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}
