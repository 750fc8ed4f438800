//! A hub on this machine: the routes that fetching and uploading use, with the redirects, digests and headers of the real
//! one, and faults on demand.
//!
//! Large files (safetensors, bin, parquet, model) are kept as the real hub keeps them: the listing knows the SHA-256 and
//! the id of a pointer, and the bytes come from another host, which must not be told the token.

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::routing::any;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A running hub; it ends with the test's process.
#[derive(Clone)]
pub(crate) struct Hub {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// `models/owner/name` → commits, the newest last.
    repositories: BTreeMap<String, Vec<Commit>>,
    cards: BTreeMap<String, Value>,
    /// Old name → new name.
    renamed: BTreeMap<String, String>,
    /// What goes wrong with the next requests for a path that ends so, first come first served.
    faults: BTreeMap<String, VecDeque<Fault>>,
    /// Every request: method, path, whether it brought a token.
    pub(crate) requests: Vec<(String, String, bool)>,
    /// Bytes of files that were sent.
    pub(crate) sent: usize,
    /// What uploads must bring.
    pub(crate) token: Option<String>,
    /// The folder of a store for large files that are uploaded; without one they are taken like small ones.
    pub(crate) store: Option<PathBuf>,
    /// SHA-256 → what a commit that names it means: the bytes themselves go to the store.
    pub(crate) stored: BTreeMap<String, Vec<u8>>,
    cdn: String,
}

#[derive(Debug, Clone)]
struct Commit {
    id: String,
    branch: String,
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Answers with this status, and these headers.
    Status(u16, Vec<(&'static str, &'static str)>),
    /// Sends so many bytes and breaks off.
    CutAfter(usize),
    /// Sends other bytes.
    Garbled,
    /// Sends the whole file, whatever part was asked for.
    NoRanges,
    /// Sends a page that says something else, as a hotel's network does.
    Page,
    /// Never answers.
    Silence,
}

impl Hub {
    pub(crate) fn start() -> Hub {
        let state = Arc::new(Mutex::new(State::default()));
        let main = listen(&state, false);
        let cdn = listen(&state, true);
        state.lock().unwrap().cdn = cdn;
        Hub {
            endpoint: main,
            state,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A new commit of `models/owner/name` or `datasets/owner/name` on `main`; its id.
    pub(crate) fn commit(&self, repository: &str, files: &[(&str, &[u8])]) -> String {
        self.commit_on(repository, "main", files)
    }

    pub(crate) fn commit_on(
        &self,
        repository: &str,
        branch: &str,
        files: &[(&str, &[u8])],
    ) -> String {
        let files = files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
            .collect();
        self.state().commit(repository, branch, files)
    }

    pub(crate) fn card(&self, repository: &str, card: Value) {
        self.state().cards.insert(repository.to_owned(), card);
    }

    pub(crate) fn rename(&self, old: &str, new: &str) {
        self.state().renamed.insert(old.to_owned(), new.to_owned());
    }

    /// The next requests for a path that ends so go wrong.
    pub(crate) fn fail(&self, ending: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.state();
        state
            .faults
            .entry(ending.to_owned())
            .or_default()
            .extend(faults);
    }

    /// The same for the host that has the bytes of large files.
    pub(crate) fn fail_cdn(&self, ending: &str, faults: impl IntoIterator<Item = Fault>) {
        self.fail(&format!("cdn{ending}"), faults);
    }

    /// How many requests for a path that ends so there were.
    pub(crate) fn asked(&self, ending: &str) -> usize {
        let state = self.state();
        let requests = state.requests.iter();
        requests
            .filter(|(_, path, _)| path.ends_with(ending))
            .count()
    }
}

impl State {
    fn commit(
        &mut self,
        repository: &str,
        branch: &str,
        files: BTreeMap<String, Vec<u8>>,
    ) -> String {
        let mut hash = Sha1::new();
        hash.update(repository);
        hash.update(branch);
        for (name, bytes) in &files {
            hash.update(name);
            hash.update(bytes);
        }
        let id = hex(&hash.finalize());
        let commits = self.repositories.entry(repository.to_owned()).or_default();
        commits.push(Commit {
            id: id.clone(),
            branch: branch.to_owned(),
            files,
        });
        id
    }

    fn find(&self, repository: &str, revision: &str) -> Option<&Commit> {
        let commits = self.repositories.get(repository)?;
        let is = |commit: &&Commit| commit.id == revision || commit.branch == revision;
        commits.iter().rev().find(is)
    }

    fn fault(&mut self, is_cdn: bool, path: &str) -> Option<Fault> {
        let hit = |ending: &str| match ending.strip_prefix("cdn") {
            Some(ending) => is_cdn && path.ends_with(ending),
            None => !is_cdn && path.ends_with(ending),
        };
        let mut queues = self.faults.iter_mut();
        let queue = queues.find(|(ending, queue)| hit(ending) && !queue.is_empty());
        queue.and_then(|(_, queue)| queue.pop_front())
    }
}

fn listen(state: &Arc<Mutex<State>>, is_cdn: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let state = Arc::clone(&state);
                async move {
                    let answer = {
                        let mut state = state.lock().unwrap();
                        answer(&mut state, is_cdn, &method, &uri, &headers, &body)
                    };
                    match answer {
                        Some(answer) => answer,
                        None => std::future::pending().await,
                    }
                }
            };
            let router = axum::Router::new().fallback(any(handler));
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

type Answer = Response<Body>;

fn answer(
    state: &mut State,
    is_cdn: bool,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Option<Answer> {
    let path = decoded(uri.path());
    let with_token = headers.contains_key("authorization");
    let place = if is_cdn { "cdn" } else { "" };
    state
        .requests
        .push((method.to_string(), format!("{place}{path}"), with_token));
    let fault = state.fault(is_cdn, &path);
    Some(match fault {
        Some(Fault::Silence) => return None,
        Some(Fault::Status(status, headers)) => plain(status, &headers, ""),
        Some(Fault::Page) => {
            let html = [("content-type", "text/html")];
            plain(200, &html, "<html>Welcome</html>")
        }
        fault if is_cdn => file(state, &path, method, headers, fault),
        _ if path.ends_with(".git/info/lfs/objects/batch") => {
            let answer = json!({ "transfer": "xet", "objects": [] });
            plain(200, &[], &answer.to_string())
        }
        fault => match path.strip_prefix("/api/") {
            Some(rest) => api(state, method, rest, headers, body),
            None => resolve(state, method, &path, headers, fault),
        },
    })
}

fn api(
    state: &mut State,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    if (method, path) == (&Method::POST, "repos/create") {
        if !may_write(state, headers) {
            return plain(401, &[], "{}");
        }
        let wanted: Value = serde_json::from_slice(body).unwrap();
        let owner = wanted["organization"].as_str().unwrap_or("me");
        let id = format!("{owner}/{}", wanted["name"].as_str().unwrap());
        let known = state.repositories.contains_key(&format!("models/{id}"));
        state
            .repositories
            .entry(format!("models/{id}"))
            .or_default();
        let status = if known { 409 } else { 200 };
        return plain(status, &[], &json!({ "url": id }).to_string());
    }
    let (repository, action, revision) = parse(path);
    if let Some(new) = state.renamed.get(&repository) {
        let to = format!("/api/{}", path.replacen(&repository, new, 1));
        return plain(307, &[("location", &to)], "");
    }
    if !state.repositories.contains_key(&repository) {
        return plain(404, &[("x-error-code", "RepoNotFound")], "{}");
    }
    let revision = revision.unwrap_or_else(|| "main".to_owned());
    if method == Method::POST {
        if !may_write(state, headers) {
            return plain(401, &[], "{}");
        }
        return upload(state, &repository, &action, &revision, body);
    }
    if action == "xet-write-token" {
        let store = state.store.as_ref().unwrap().display().to_string();
        let token = json!({ "casUrl": format!("local://{store}"), "accessToken": "t", "exp": 4_000_000_000_u64 });
        return plain(200, &[], &token.to_string());
    }
    let Some(commit) = state.find(&repository, &revision) else {
        return plain(404, &[("x-error-code", "RevisionNotFound")], "{}");
    };
    let id = repository.split_once('/').unwrap().1;
    if action == "tree" {
        let entries: Vec<Value> = commit
            .files
            .iter()
            .map(|(name, bytes)| {
                let mut entry = json!({
                    "type": "file", "path": name, "size": bytes.len(), "oid": git(bytes),
                });
                if is_large(name) {
                    entry["oid"] = git(b"a pointer").into();
                    entry["lfs"] =
                        json!({ "oid": sha256(bytes), "size": bytes.len(), "pointerSize": 130 });
                }
                entry
            })
            .collect();
        return plain(200, &[], &Value::from(entries).to_string());
    }
    let card = state.cards.get(&repository).cloned().unwrap_or_default();
    let info = json!({
        "_id": "1", "id": id, "sha": commit.id, "private": false, "cardData": card,
        "siblings": commit.files.keys().map(|name| json!({ "rfilename": name })).collect::<Vec<_>>(),
    });
    plain(200, &[], &info.to_string())
}

fn upload(
    state: &mut State,
    repository: &str,
    action: &str,
    revision: &str,
    body: &Bytes,
) -> Answer {
    if action == "preupload" {
        let wanted: Value = serde_json::from_slice(body).unwrap();
        let files: Vec<Value> = wanted["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| {
                let is_stored = state.store.is_some() && is_large(file["path"].as_str().unwrap());
                let mode = if is_stored { "lfs" } else { "regular" };
                json!({ "path": file["path"], "uploadMode": mode })
            })
            .collect();
        return plain(200, &[], &json!({ "files": files }).to_string());
    }
    let mut files = state
        .find(repository, revision)
        .map(|commit| commit.files.clone())
        .unwrap_or_default();
    for line in body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line: Value = serde_json::from_slice(line).unwrap();
        if line["key"] == "file" {
            use base64::Engine;
            let text = line["value"]["content"].as_str().unwrap();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap();
            files.insert(line["value"]["path"].as_str().unwrap().to_owned(), bytes);
        } else if line["key"] == "lfsFile" {
            let bytes = &state.stored[line["value"]["oid"].as_str().unwrap()];
            let path = line["value"]["path"].as_str().unwrap();
            files.insert(path.to_owned(), bytes.clone());
        }
    }
    let id = state.commit(repository, revision, files);
    let answer = json!({ "commitUrl": format!("http://hub/commit/{id}"), "commitOid": id });
    plain(200, &[], &answer.to_string())
}

fn may_write(state: &State, headers: &HeaderMap) -> bool {
    let wanted = state.token.as_ref().map(|token| format!("Bearer {token}"));
    let given = headers
        .get("authorization")
        .and_then(|given| given.to_str().ok());
    wanted.is_none() || wanted.as_deref() == given
}

/// `models/owner/name/tree/main` → the repository, `tree`, `main`.
fn parse(path: &str) -> (String, String, Option<String>) {
    let parts: Vec<&str> = path.split('/').collect();
    let actions = ["revision", "tree", "preupload", "commit", "xet-write-token"];
    match parts.iter().position(|part| actions.contains(part)) {
        Some(at) => (
            parts[..at].join("/"),
            parts[at].to_owned(),
            Some(parts[at + 1..].join("/")),
        ),
        None => (parts.join("/"), String::new(), None),
    }
}

fn resolve(
    state: &mut State,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    fault: Option<Fault>,
) -> Answer {
    let (id, rest) = path.split_once("/resolve/").unwrap_or((path, ""));
    let id = id.trim_start_matches('/');
    let repository = match id.starts_with("datasets/") {
        true => id.to_owned(),
        false => format!("models/{id}"),
    };
    if let Some(new) = state.renamed.get(&repository) {
        let new = new.strip_prefix("models/").unwrap_or(new);
        let to = format!("/{new}/resolve/{rest}");
        return plain(307, &[("location", &to)], "");
    }
    let (revision, name) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(commit) = state.find(&repository, revision) else {
        return plain(404, &[("x-error-code", "RepoNotFound")], "");
    };
    let Some(bytes) = commit.files.get(name).cloned() else {
        return plain(404, &[("x-error-code", "EntryNotFound")], "");
    };
    let commit = commit.id.clone();
    if is_large(name) {
        let to = format!(
            "{}/{repository}/{commit}/{name}?signature=secret",
            state.cdn
        );
        let etag = format!("\"{}\"", sha256(&bytes));
        let size = bytes.len().to_string();
        let headers = [
            ("location", to.as_str()),
            ("x-repo-commit", &commit),
            ("x-linked-etag", &etag),
            ("x-linked-size", &size),
        ];
        return plain(302, &headers, "");
    }
    let etag = format!("\"{}\"", git(&bytes));
    let more = [("etag", etag.as_str()), ("x-repo-commit", &commit)];
    body_of(state, &bytes, method, headers, fault, &more)
}

/// `/models/owner/name/COMMIT/path` of the other host.
fn file(
    state: &mut State,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
    fault: Option<Fault>,
) -> Answer {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let at = parts.iter().position(|part| part.len() == 40).unwrap();
    let (repository, name) = (parts[..at].join("/"), parts[at + 1..].join("/"));
    let found = state.find(&repository, parts[at]);
    let Some(bytes) = found.and_then(|commit| commit.files.get(&name)).cloned() else {
        return plain(404, &[], "");
    };
    body_of(state, &bytes, method, headers, fault, &[])
}

fn body_of(
    state: &mut State,
    bytes: &[u8],
    method: &Method,
    headers: &HeaderMap,
    fault: Option<Fault>,
    more: &[(&str, &str)],
) -> Answer {
    let range = headers.get("range").and_then(|range| range.to_str().ok());
    let start = range
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .filter(|_| !matches!(fault, Some(Fault::NoRanges)))
        .filter(|_| match headers.get("if-range") {
            Some(tag) => more.contains(&("etag", tag.to_str().unwrap())),
            None => true,
        });
    let start: usize = start.unwrap_or(0);
    let mut part = bytes[start.min(bytes.len())..].to_vec();
    let whole = part.len();
    match fault {
        Some(Fault::CutAfter(cut)) => part.truncate(cut),
        Some(Fault::Garbled) => part.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let mut response = Response::builder().status(if start > 0 { 206 } else { 200 });
    if start > 0 {
        let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
        response = response.header("content-range", range);
    }
    for (name, value) in more {
        response = response.header(*name, *value);
    }
    response = response.header("content-length", whole);
    if method == Method::HEAD {
        return response.body(Body::empty()).unwrap();
    }
    state.sent += part.len();
    // A body shorter than announced ends the connection in the middle: a little later, so that what was sent arrives.
    let is_cut = part.len() < whole;
    let part = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(part))]);
    let end = futures_util::stream::once(async move {
        tokio::time::sleep(std::time::Duration::from_millis(if is_cut {
            200
        } else {
            0
        }))
        .await;
        Ok(Bytes::new())
    });
    let body = futures_util::StreamExt::chain(part, end);
    response.body(Body::from_stream(body)).unwrap()
}

fn plain(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_owned())).unwrap()
}

fn is_large(name: &str) -> bool {
    [".safetensors", ".bin", ".parquet", ".model"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn decoded(path: &str) -> String {
    path.replace("%2F", "/").replace("%20", " ")
}

pub(crate) fn git(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
