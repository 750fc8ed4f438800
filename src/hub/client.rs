//! Talking to the hub: what a repository holds, and what its files are.
//!
//! Questions go through the hf-hub crate, except for the one that it cannot ask: by which digest the hub names a file that
//! lies on another host. A busy server and a broken line are met with patience here, the same for every question: a few
//! attempts, further and further apart, or when the server says. A refusal is final.
//!
//! Deliberately absent: the bytes of files ([`transfer`](super::transfer)), where files go, and any memory of what was asked
//! before.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFClient, HFError, split_id};
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::address::{may_follow, without_query};
use super::environment::Environment;
use super::lock::{Content, is_commit, is_inside};
use super::{HubError, Progress, Repository, RepositoryKind};

/// What a repository holds at a commit.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) commit: String,
    pub(super) files: BTreeMap<String, Content>,
    /// What the card says of itself to programs.
    pub(super) card: Value,
}

pub(super) struct Client {
    pub(super) hub: HFClient,
    pub(super) http: reqwest::Client,
    /// Follows no redirect: of a file that lies elsewhere, the redirect says what it is.
    still: reqwest::Client,
    pub(super) environment: Environment,
    pub(super) runtime: tokio::runtime::Runtime,
}

/// Attempts in a row that brought nothing before one is given up.
const ATTEMPTS: u32 = 5;
/// How long to wait after the first failed attempt; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// A server may ask for more patience than that, but not for any: the hub counts requests in windows of five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A wait that is worth a word.
const NOTABLE_WAIT: Duration = Duration::from_secs(2);
/// How often it is asked whether to stop.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// A server that says nothing for so long is not heard any more.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// Names that a file may have had before its present one.
const MOST_REDIRECTS: usize = 10;
/// Files of one repository. The hub itself advises against a tenth of that.
const MOST_FILES: usize = 1_000_000;

impl Client {
    pub(super) fn new(environment: &Environment) -> Result<Client, HubError> {
        let agent = concat!("refit/", env!("CARGO_PKG_VERSION"));
        let failed = |reason: String| HubError::Refused {
            address: without_query(&environment.endpoint),
            reason,
        };
        let http = |policy| {
            let builder = reqwest::Client::builder()
                .user_agent(agent)
                .connect_timeout(Duration::from_secs(10))
                .read_timeout(SILENCE)
                .redirect(policy);
            builder.build().map_err(|error| failed(cause(&error)))
        };
        let followed = http(Policy::custom(|redirect| {
            let from = redirect.previous().last();
            if redirect.previous().len() > MOST_REDIRECTS {
                redirect.error("it redirects too often")
            } else if from.is_some_and(|from| !may_follow(from, redirect.url())) {
                redirect.error("it redirects to an address that anybody on the way could read")
            } else {
                redirect.follow()
            }
        }))?;
        let hub = HFClient::builder()
            .endpoint(&environment.endpoint)
            .client(followed.clone())
            .user_agent(agent)
            .cache_enabled(false)
            // It would not wait as long as a server asks to.
            .retry_max_attempts(0)
            // Without a token it would look for one itself; no header can hold this one, so none is sent.
            .token(environment.token.as_deref().unwrap_or("\n"));
        Ok(Client {
            hub: hub.build().map_err(|error| failed(error.to_string()))?,
            http: followed,
            still: http(Policy::none())?,
            environment: environment.clone(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| failed(error.to_string()))?,
        })
    }

    /// What `repository` holds at `revision`.
    ///
    /// # Errors
    /// There is no such thing, it may not be seen, or the hub cannot be reached.
    pub(super) fn state(
        &self,
        repository: &Repository,
        revision: &str,
        progress: &dyn Progress,
    ) -> Result<State, HubError> {
        let (owner, name) = split_id(&repository.id);
        let revision = revision.to_owned();
        let wanted = || Some(["sha", "cardData"].map(str::to_owned).to_vec());
        let asked = || async {
            match repository.kind {
                RepositoryKind::Model => {
                    let handle = self.hub.model(owner, name);
                    let info = handle.info().revision(revision.clone());
                    let info = info.maybe_expand(wanted()).send().await?;
                    Ok((info.sha, Value::Null))
                }
                RepositoryKind::Dataset => {
                    let handle = self.hub.dataset(owner, name);
                    let info = handle.info().revision(revision.clone());
                    let info = info.maybe_expand(wanted()).send().await?;
                    Ok((info.sha, info.card_data.unwrap_or_default()))
                }
            }
        };
        let (commit, card) = self.ask(repository, &revision, progress, asked)?;
        let Some(commit) = commit.filter(|commit| is_commit(commit)) else {
            return Err(HubError::Refused {
                address: self.environment.endpoint.clone(),
                reason: format!("it names no commit of {repository}"),
            });
        };
        let listed = || async {
            match repository.kind {
                RepositoryKind::Model => {
                    let handle = self.hub.model(owner, name);
                    let tree = handle.list_tree().revision(commit.clone());
                    collect(tree.recursive(true).limit(MOST_FILES).send()?).await
                }
                RepositoryKind::Dataset => {
                    let handle = self.hub.dataset(owner, name);
                    let tree = handle.list_tree().revision(commit.clone());
                    collect(tree.recursive(true).limit(MOST_FILES).send()?).await
                }
            }
        };
        let mut files = BTreeMap::new();
        for entry in self.ask(repository, &commit, progress, listed)? {
            let RepoTreeEntry::File {
                oid,
                size,
                path,
                lfs,
                ..
            } = entry
            else {
                continue;
            };
            if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Err(HubError::Refused {
                    address: self.environment.endpoint.clone(),
                    reason: format!("it lists {path:?} in {repository}, which leads out of it"),
                });
            }
            // Names that not every system can hold are of no file that anything here needs.
            if !is_inside(&path) {
                tracing::debug!(%repository, %path, "left out of the listing");
                continue;
            }
            // The listing's own id of a large file is that of its pointer.
            let git = lfs.is_none().then_some(oid);
            let sha256 = lfs.and_then(|lfs| lfs.sha256);
            files.insert(path, Content { size, sha256, git });
        }
        Ok(State {
            commit,
            files,
            card,
        })
    }

    /// Puts a question about a repository to the hub until it is answered or refused.
    ///
    /// # Errors
    /// The refusal, in this program's words.
    pub(super) fn ask<T, F: Future<Output = Result<T, HFError>>>(
        &self,
        repository: &Repository,
        revision: &str,
        progress: &dyn Progress,
        question: impl Fn() -> F,
    ) -> Result<T, HubError> {
        let address = self.page(repository);
        let asked = persist(&address, progress, || async {
            let answer = unless_stopped(question(), progress).await?;
            answer.map_err(|error| self.stopped(error, repository, revision))
        });
        self.runtime.block_on(asked)
    }

    /// The digest by which the hub names a file.
    ///
    /// # Errors
    /// As for [`state`](Self::state).
    pub(super) fn etag(
        &self,
        repository: &Repository,
        commit: &str,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<String, HubError> {
        let first = self.address(repository, commit, name);
        let asked = persist(&first, progress, || async {
            let mut address = first.clone();
            for _ in 0..MOST_REDIRECTS {
                let request = self.with_token(self.still.head(&address), &address);
                let sent = unless_stopped(request.send(), progress).await?;
                let response = sent.map_err(|error| of_request(&error, &address))?;
                let status = response.status();
                if !status.is_success() && !status.is_redirection() {
                    return Err(self.answer(&response, &without_query(&address)));
                }
                if let Some(etag) = digest_in(response.headers()) {
                    return Ok(etag);
                }
                // A renamed repository answers with its new name; where the content lies is of no interest here.
                let next = header(response.headers(), LOCATION.as_str());
                let next = next.and_then(|to| response.url().join(&to).ok());
                match next.filter(|next| may_follow(response.url(), next)) {
                    Some(next) if status.is_redirection() => address = next.into(),
                    _ => break,
                }
            }
            Err(Stopped::ForGood(HubError::Refused {
                address: without_query(&address),
                reason: "it says no digest of the file".to_owned(),
            }))
        });
        self.runtime.block_on(asked)
    }

    /// The page of a repository.
    pub(super) fn page(&self, repository: &Repository) -> String {
        let kind = match repository.kind {
            RepositoryKind::Model => "",
            RepositoryKind::Dataset => "datasets/",
        };
        format!("{}/{kind}{}", self.environment.endpoint, repository.id)
    }

    /// Where the hub serves a file.
    pub(super) fn address(&self, repository: &Repository, commit: &str, name: &str) -> String {
        let page = self.page(repository);
        let mut address = reqwest::Url::parse(&page).ok();
        if let Some(Ok(mut parts)) = address.as_mut().map(reqwest::Url::path_segments_mut) {
            parts.extend(["resolve", commit]).extend(name.split('/'));
        }
        address.map_or_else(|| format!("{page}/resolve/{commit}/{name}"), String::from)
    }

    /// The token is the hub's; no other server is told.
    pub(super) fn with_token(
        &self,
        request: reqwest::RequestBuilder,
        address: &str,
    ) -> reqwest::RequestBuilder {
        let origin = |text: &str| reqwest::Url::parse(text).ok().map(|url| url.origin());
        let to = origin(address);
        match &self.environment.token {
            Some(token) if to.is_some() && to == origin(&self.environment.endpoint) => {
                request.header(AUTHORIZATION, format!("Bearer {token}"))
            }
            _ => request,
        }
    }

    /// What an answer other than the file means.
    pub(super) fn answer(&self, response: &Response, what: &str) -> Stopped {
        let told = |name: &str| header(response.headers(), name);
        let wait = told(RETRY_AFTER.as_str()).and_then(|seconds| seconds.trim().parse().ok());
        self.refusal(
            response.status(),
            told("x-error-code").as_deref(),
            told("x-error-message"),
            wait.map(Duration::from_secs),
            what,
        )
    }

    fn refusal(
        &self,
        status: StatusCode,
        code: Option<&str>,
        message: Option<String>,
        wait: Option<Duration>,
        what: &str,
    ) -> Stopped {
        let reason = match &message {
            Some(message) => format!("{status}: {message}"),
            None => status.to_string(),
        };
        let what = what.to_owned();
        let again = status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
        let error = match status {
            _ if again => return Stopped::ForNow { reason, wait },
            // Who has no token is told 401 of what others are told 403 of.
            StatusCode::UNAUTHORIZED if code != Some("GatedRepo") => HubError::Unauthorised {
                what,
                with_token: self.environment.token.is_some(),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => HubError::Forbidden {
                what,
                message: message.unwrap_or_else(|| status.to_string()),
            },
            StatusCode::NOT_FOUND => HubError::NoFile { what },
            _ => HubError::Refused {
                address: what,
                reason,
            },
        };
        Stopped::ForGood(error)
    }

    fn stopped(&self, error: HFError, repository: &Repository, revision: &str) -> Stopped {
        let no_repository = || HubError::NoRepository {
            kind: repository.kind,
            id: repository.id.clone(),
            endpoint: self.environment.endpoint.clone(),
        };
        let endpoint = &self.environment.endpoint;
        let (context, wait) = match error {
            HFError::RepoNotFound { .. } | HFError::EntryNotFound { .. } => {
                return Stopped::ForGood(no_repository());
            }
            // Asked for a revision, it finds neither when there is no repository.
            HFError::RevisionNotFound { context, .. } => {
                let code = context.and_then(|context| context.error_code);
                return Stopped::ForGood(match code.as_deref() {
                    Some("RepoNotFound") => no_repository(),
                    _ => HubError::NoRevision {
                        id: repository.id.clone(),
                        revision: revision.to_owned(),
                    },
                });
            }
            HFError::Request { source, .. } => return of_request(&source, endpoint),
            HFError::RateLimited {
                context,
                retry_after,
            } => (context, retry_after),
            HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::Http { context } => (context, None),
            other => {
                return Stopped::ForGood(HubError::Refused {
                    address: endpoint.clone(),
                    reason: other.to_string(),
                });
            }
        };
        match context.error_code.as_deref() {
            // The hub answers so, with 401, whoever has no token.
            Some("RepoNotFound") if self.environment.token.is_some() => {
                Stopped::ForGood(no_repository())
            }
            code => self.refusal(
                context.status,
                code,
                context.server_message.clone(),
                wait,
                &repository.to_string(),
            ),
        }
    }
}

/// Why an attempt brought nothing.
pub(super) enum Stopped {
    ForNow {
        reason: String,
        /// How long the server wants to be left alone.
        wait: Option<Duration>,
    },
    ForGood(HubError),
}

impl From<HubError> for Stopped {
    fn from(error: HubError) -> Self {
        Stopped::ForGood(error)
    }
}

pub(super) fn for_now(reason: String) -> Stopped {
    Stopped::ForNow { reason, wait: None }
}

/// Whether a request that was not answered may be put again.
pub(super) fn of_request(error: &reqwest::Error, address: &str) -> Stopped {
    if error.is_builder() || error.is_redirect() || error.is_decode() {
        return Stopped::ForGood(HubError::Refused {
            address: without_query(address),
            reason: cause(error),
        });
    }
    for_now(cause(error))
}

/// Attempts until one brings something or is refused, or too many brought nothing.
pub(super) async fn persist<T, F: Future<Output = Result<T, Stopped>>>(
    what: &str,
    progress: &dyn Progress,
    attempt: impl Fn() -> F,
) -> Result<T, HubError> {
    let mut fruitless = 0;
    loop {
        match attempt().await {
            Ok(brought) => return Ok(brought),
            Err(Stopped::ForGood(error)) => return Err(error),
            Err(Stopped::ForNow { reason, wait }) => {
                fruitless += 1;
                pause(fruitless, what, reason, wait, progress).await?;
            }
        }
    }
}

/// Waits after so many attempts that brought nothing.
///
/// # Errors
/// They are too many; the user asked to stop.
pub(super) async fn pause(
    fruitless: u32,
    what: &str,
    reason: String,
    wait: Option<Duration>,
    progress: &dyn Progress,
) -> Result<(), HubError> {
    if fruitless >= ATTEMPTS {
        return Err(HubError::Unreachable {
            address: without_query(what),
            reason,
        });
    }
    let own = FIRST_WAIT * 2u32.pow(fruitless.saturating_sub(1));
    let wait = wait.unwrap_or(own).min(LONGEST_WAIT);
    tracing::debug!(what = %without_query(what), %reason, ?wait, "trying again");
    if wait >= NOTABLE_WAIT {
        progress.say(&format!("{reason}; trying again in {} s", wait.as_secs()));
    }
    unless_stopped(tokio::time::sleep(wait), progress).await
}

/// Waits for a future, and gives up once the user asked to stop.
pub(super) async fn unless_stopped<F: Future>(
    future: F,
    progress: &dyn Progress,
) -> Result<F::Output, HubError> {
    let mut future = std::pin::pin!(future);
    loop {
        match tokio::time::timeout(HEARTBEAT, &mut future).await {
            Ok(output) => return Ok(output),
            Err(_) if progress.interrupted() => return Err(HubError::Interrupted),
            Err(_) => {}
        }
    }
}

async fn collect(
    entries: impl Stream<Item = Result<RepoTreeEntry, HFError>>,
) -> Result<Vec<RepoTreeEntry>, HFError> {
    let entries: Vec<_> = entries.collect().await;
    entries.into_iter().collect()
}

pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The digest in an answer's ETag: git's SHA-1, or the SHA-256 of a large file.
fn digest_in(headers: &HeaderMap) -> Option<String> {
    let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"))?;
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
    let is_hex = etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && [40, 64].contains(&etag.len())).then_some(etag)
}

/// What caused an error, in one line: reqwest's own text leaves out why.
fn cause(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = source.to_string();
        cause = source.source();
    }
    text
}
