//! Asking a server that speaks LibreTranslate's protocol (<https://docs.libretranslate.com>), there and back.
//!
//! A busy server (429, 5xx) and a broken line are met with patience: a few attempts, further and further apart, or when the
//! server says. A refusal is final, and so is an answer that is none. No redirect is followed: it would hand texts and key to
//! another address than the user wrote.
//!
//! Promise: the key is in the requests and nowhere else; where a server repeats it, it is blotted out.
//!
//! Deliberately absent: several requests at once, and languages found out by the server.

use std::future::Future;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use serde::Serialize;
use serde_json::Value;

use super::{HEARTBEAT, Http, TranslateError, Work, is_blank, short};

/// How long to wait after the first failed attempt; each further one waits twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A server may ask for more patience than that, but not for any.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(300);
/// The most bytes of an answer.
const LONGEST_ANSWER: usize = 256 << 20;
/// How much of an answer a message shows, in characters.
const SHOWN: usize = 300;

pub(super) struct Server<'a> {
    settings: &'a Http,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    address: Url,
    /// The address as it may be shown.
    shown: String,
}

/// Why an attempt brought nothing.
enum Stopped {
    ForNow {
        reason: String,
        /// How long the server wants to be left alone, where it says so in seconds.
        wait: Option<Duration>,
    },
    Refused(String),
    /// The answer is none.
    Wrong(String),
}

#[derive(Serialize)]
struct Request<'a> {
    q: &'a [&'a str],
    source: &'a str,
    target: &'a str,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}

impl<'a> Server<'a> {
    pub(super) fn new(settings: &'a Http) -> Result<Server<'a>, TranslateError> {
        let (address, shown) = address(&settings.url)?;
        let failed = |reason: String| TranslateError::Address {
            url: shown.clone(),
            reason,
        };
        let client = reqwest::Client::builder()
            .user_agent(concat!("refit/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout)
            .redirect(Policy::none())
            .build()
            .map_err(|error| failed(cause(error, settings)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Server {
            settings,
            client,
            runtime,
            address,
            shown,
        })
    }

    /// Asks the questions of these numbers.
    pub(super) fn ask(&self, batch: &[usize], work: &mut Work) -> Result<(), TranslateError> {
        let Http { source, pivot, .. } = self.settings;
        let questions = batch.iter().filter_map(|n| work.questions.get(*n));
        let texts: Vec<&str> = questions.map(|question| question.text).collect();
        let there = self.translate(&texts, source, pivot, work)?;
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        let back = self.translate(&there, pivot, source, work)?;
        for (number, text) in batch.iter().zip(back) {
            work.answer(*number, text);
        }
        Ok(())
    }

    /// One way.
    fn translate(
        &self,
        texts: &[&str],
        source: &str,
        target: &str,
        work: &mut Work,
    ) -> Result<Vec<String>, TranslateError> {
        // What the way there has emptied stays so.
        let asked = texts.iter().copied().filter(|text| !is_blank(text));
        let asked: Vec<&str> = asked.collect();
        if asked.is_empty() {
            return Ok(texts.iter().map(|text| (*text).to_owned()).collect());
        }
        let request = Request {
            q: &asked,
            source,
            target,
            format: "text",
            api_key: self.settings.key.as_deref(),
        };
        // Nothing can fail that writes strings to memory.
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let mut answers = self.persist(&body, asked.len(), work)?.into_iter();
        let result = texts.iter().map(|text| {
            let answer = if is_blank(text) { None } else { answers.next() };
            answer.unwrap_or_else(|| (*text).to_owned())
        });
        Ok(result.collect())
    }

    /// Attempts until one brings something or is refused, or too many brought nothing.
    fn persist(
        &self,
        body: &[u8],
        count: usize,
        work: &mut Work,
    ) -> Result<Vec<String>, TranslateError> {
        let url = self.shown.clone();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (done, total) = (work.done, work.total);
            let attempt = unless_stopped(self.post(body, count), work);
            match self.runtime.block_on(attempt)? {
                Ok(texts) => return Ok(texts),
                Err(Stopped::Refused(reason)) => {
                    return Err(TranslateError::Refused {
                        url,
                        reason,
                        done,
                        total,
                    });
                }
                Err(Stopped::Wrong(reason)) => {
                    return Err(TranslateError::Answer {
                        url,
                        reason,
                        done,
                        total,
                    });
                }
                Err(Stopped::ForNow { reason, .. }) if attempts > self.settings.retries => {
                    return Err(TranslateError::Unreachable {
                        url,
                        reason,
                        attempts,
                        done,
                        total,
                    });
                }
                Err(Stopped::ForNow { reason, wait }) => {
                    let doubled = 2_u32.saturating_pow(attempts - 1);
                    let own = FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT);
                    let wait = wait.map_or(own, |wait| wait.min(LONGEST_ASKED_WAIT));
                    tracing::warn!("{url}: {reason}; trying again in {} s", wait.as_secs_f64());
                    let pause = async { tokio::time::sleep(wait).await };
                    self.runtime.block_on(unless_stopped(pause, work))?;
                }
            }
        }
    }

    async fn post(&self, body: &[u8], count: usize) -> Result<Vec<String>, Stopped> {
        let request = self.client.post(self.address.clone());
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_vec());
        let sent = request.send().await;
        let mut response = sent.map_err(|error| self.broken(error))?;
        let status = response.status();
        let whole = self.read(&mut response).await;
        if status.is_success() {
            let body = whole?;
            return texts(&body, count).map_err(|reason| {
                let shown = String::from_utf8_lossy(&body);
                Stopped::Wrong(format!("{reason}: {:?}", shown_of(&shown, self.settings)))
            });
        }
        // What a refusal says is of use, but not needed.
        let reason = match message(&whole.unwrap_or_default(), self.settings) {
            text if text.is_empty() => status.to_string(),
            text => format!("{status}: {text}"),
        };
        let told = |name| response.headers().get(name)?.to_str().ok();
        let again = status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
        if again {
            let wait = told(RETRY_AFTER).and_then(|seconds| seconds.trim().parse().ok());
            let wait = wait.map(Duration::from_secs);
            return Err(Stopped::ForNow { reason, wait });
        }
        if let Some(to) = told(LOCATION).filter(|_| status.is_redirection()) {
            let to = shown_of(to, self.settings);
            return Err(Stopped::Refused(format!("{status}: it redirects to {to}")));
        }
        Err(Stopped::Refused(reason))
    }

    async fn read(&self, response: &mut Response) -> Result<Vec<u8>, Stopped> {
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.broken(error))? {
            if body.len() + part.len() > LONGEST_ANSWER {
                let most = LONGEST_ANSWER >> 20;
                return Err(Stopped::Wrong(format!("it holds more than {most} MiB")));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn broken(&self, error: reqwest::Error) -> Stopped {
        let reason = if error.is_timeout() {
            let seconds = self.settings.timeout.as_secs_f64();
            format!("it did not answer within {seconds} s")
        } else {
            cause(error, self.settings)
        };
        Stopped::ForNow { reason, wait: None }
    }
}

/// Where to ask, and how that is shown: without a name, a password or a query.
fn address(url: &str) -> Result<(Url, String), TranslateError> {
    let failed = |reason: &str| TranslateError::Address {
        // What cannot be taken apart may hold a password.
        url: short(url.rsplit('@').next().unwrap_or_default(), SHOWN),
        reason: reason.to_owned(),
    };
    let mut address = Url::parse(url).map_err(|error| failed(&error.to_string()))?;
    if !["http", "https"].contains(&address.scheme()) {
        return Err(failed("it begins with neither http:// nor https://"));
    }
    if let Ok(mut parts) = address.path_segments_mut() {
        parts.pop_if_empty().push("translate");
    }
    let host = address.host_str().unwrap_or_default();
    let port = address.port().map(|port| format!(":{port}"));
    let shown = format!(
        "{}://{host}{}{}",
        address.scheme(),
        port.unwrap_or_default(),
        address.path()
    );
    Ok((address, shown))
}

/// The texts of an answer to so many; else what is wrong with it.
fn texts(body: &[u8], count: usize) -> Result<Vec<String>, String> {
    let value: Value = serde_json::from_slice(body).map_err(|_| "it is not JSON".to_owned())?;
    let Value::Object(mut fields) = value else {
        return Err("it is not a JSON object".to_owned());
    };
    let texts = match fields.remove("translatedText") {
        Some(Value::Array(texts)) => texts,
        Some(_) => return Err("translatedText is not a list, although a list was asked".to_owned()),
        None => return Err("it has no translatedText".to_owned()),
    };
    if texts.len() != count {
        return Err(format!("it has {} texts for {count}", texts.len()));
    }
    let text = |value| match value {
        Value::String(text) => Ok(text),
        _ => Err("a text in it is not a string".to_owned()),
    };
    texts.into_iter().map(text).collect()
}

/// What a server says of its refusal.
fn message(body: &[u8], settings: &Http) -> String {
    let told = serde_json::from_slice(body).ok();
    let told = told
        .as_ref()
        .and_then(|value: &Value| value.get("error")?.as_str());
    match told {
        Some(text) => shown_of(text, settings),
        None => shown_of(String::from_utf8_lossy(body).trim(), settings),
    }
}

/// Words of a server, as they may be shown.
fn shown_of(text: &str, settings: &Http) -> String {
    let Some(key) = settings.key.as_deref().filter(|key| !key.is_empty()) else {
        return short(text, SHOWN);
    };
    let mut text = text.replace(key, "[key]");
    // As it was sent.
    let quoted = serde_json::to_string(key).unwrap_or_default();
    let within = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
    if let Some(within) = within.filter(|within| !within.is_empty()) {
        text = text.replace(within, "[key]");
    }
    short(&text, SHOWN)
}

/// What caused an error, in one line: reqwest's own text leaves out why.
fn cause(error: reqwest::Error, settings: &Http) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        text = source.to_string();
        cause = source.source();
    }
    shown_of(&text, settings)
}

/// Waits for a future, and gives up once the user asked to stop.
async fn unless_stopped<F: Future>(
    future: F,
    work: &mut Work<'_>,
) -> Result<F::Output, TranslateError> {
    let mut future = std::pin::pin!(future);
    loop {
        match tokio::time::timeout(HEARTBEAT, &mut future).await {
            Ok(output) => return Ok(output),
            Err(_) => work.heard()?,
        }
    }
}
