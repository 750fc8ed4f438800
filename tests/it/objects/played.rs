//! A server that plays the stores of Google and Azure, and what a real one of Amazon's says and moto never does.
//!
//! It knows the two questions that are asked, a listing and an object, in the form that each service documents.

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri};

use super::{RUN, UPDATE, online, project, said};
use crate::project::{Project, Said, built, rows};

/// Status, headers and body of an answer.
type Fault = (u16, Vec<(&'static str, &'static str)>, &'static str);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// Headers of every object.
    headers: Vec<(&'static str, String)>,
    /// What is answered to the next requests in place of what they ask for.
    faults: VecDeque<Fault>,
    /// Path and query, and who asked.
    asked: Vec<(String, Option<String>)>,
}

struct Played {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

const WHEN: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

fn play() -> Played {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::new(Mutex::new(State::default()));
    let shared = Arc::clone(&state);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let handler = move |uri: Uri, headers: HeaderMap| {
                let state = Arc::clone(&shared);
                async move { answer(&mut state.lock().unwrap(), &uri, &headers) }
            };
            let router = axum::Router::new().fallback(axum::routing::any(handler));
            axum::serve(listener, router).await.unwrap();
        });
    });
    Played { endpoint, state }
}

fn etag(bytes: &[u8]) -> String {
    format!("0x{}", &blake3::hash(bytes).to_hex()[..16])
}

fn answer(state: &mut State, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    let asks = headers.get("authorization");
    let asks = asks.map(|value| value.to_str().unwrap().to_owned());
    state.asked.push((uri.to_string(), asks));
    if let Some((status, headers, body)) = state.faults.pop_front() {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(name, value);
        }
        return answer.body(Body::from(body)).unwrap();
    }
    let query = uri.query().unwrap_or_default();
    let prefix = query
        .split('&')
        .find_map(|part| part.strip_prefix("prefix="));
    let prefix = prefix.unwrap_or_default().replace("%2F", "/");
    let listed = state
        .objects
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix));
    if query.contains("comp=list") {
        let blobs = listed.map(|(key, bytes)| {
            let (size, etag) = (bytes.len(), etag(bytes));
            format!(
                "<Blob><Name>{key}</Name><Properties><Last-Modified>{WHEN}</Last-Modified><Etag>{etag}</Etag>\
                 <Content-Length>{size}</Content-Length><Content-Type>text/csv</Content-Type></Properties></Blob>"
            )
        });
        let blobs: String = blobs.collect();
        let text = format!(
            "<?xml version=\"1.0\"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>"
        );
        return Response::new(Body::from(text));
    }
    if query.contains("list-type=2") {
        let contents = listed.map(|(key, bytes)| {
            let (size, etag) = (bytes.len(), etag(bytes));
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"{etag}\"</ETag>\
                 <Size>{size}</Size></Contents>"
            )
        });
        let contents: String = contents.collect();
        let text =
            format!("<?xml version=\"1.0\"?><ListBucketResult>{contents}</ListBucketResult>");
        return Response::new(Body::from(text));
    }
    let path = uri.path().trim_start_matches('/');
    let key = decoded(path.split_once('/').map_or("", |(_, key)| key));
    let Some(bytes) = state.objects.get(&key) else {
        let text = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
        return Response::builder()
            .status(404)
            .body(Body::from(text))
            .unwrap();
    };
    let etag = format!("\"{}\"", etag(bytes));
    if headers
        .get("if-none-match")
        .is_some_and(|known| known == etag.as_str())
    {
        return Response::builder().status(304).body(Body::empty()).unwrap();
    }
    let mut answer = Response::builder()
        .header("etag", etag)
        .header("last-modified", WHEN)
        .header("content-length", bytes.len());
    for (name, value) in &state.headers {
        answer = answer.header(*name, value);
    }
    answer.body(Body::from(bytes.clone())).unwrap()
}

/// Google's are asked for with their slashes and points escaped.
fn decoded(key: &str) -> String {
    let mut parts = key.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let code = u8::from_str_radix(&part[..2], 16).unwrap();
        text + &char::from(code).to_string() + &part[2..]
    })
}

impl Played {
    fn put(&self, key: &str, text: &str) {
        let mut state = self.state.lock().unwrap();
        state
            .objects
            .insert(key.to_owned(), text.as_bytes().to_vec());
    }

    fn asked(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    fn refit(&self, project: &Project, variables: &[(&str, &str)], arguments: &[&str]) -> Said {
        let mut command = online(project, arguments);
        let variables = variables.iter().copied();
        command.envs(variables.map(|(name, value)| (name, value.replace("HERE", &self.endpoint))));
        said(command)
    }
}

const GOOGLE: [(&str, &str); 2] = [
    ("GOOGLE_BASE_URL", "HERE"),
    ("GOOGLE_BEARER_TOKEN", "sesame"),
];
const AZURE: [(&str, &str); 3] = [
    ("AZURE_STORAGE_ENDPOINT", "HERE"),
    ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
    ("AZURE_STORAGE_ACCOUNT_KEY", "c2VzYW1l"),
];

#[test]
fn stores_of_google_and_azure_are_listed_read_and_asked_for_what_is_new() {
    for (scheme, variables) in [("gs", &GOOGLE[..]), ("az", &AZURE[..])] {
        let played = play();
        played.put("data/train-1.csv", &rows(40, 0));
        played.put("data/train-2.csv", &rows(30, 100));
        played.put("test.csv", &rows(12, 1000));
        let stored = project(&format!(
            "train = \"{scheme}://box/data/*.csv\"\ntest = \"{scheme}://box/test.csv\""
        ));
        let run = played.refit(&stored, variables, &RUN).success();
        assert_eq!(built(&run.json()), ["data"]);
        let asked = played.asked();
        assert!(
            asked.len() == 4 && asked.iter().all(|(_, who)| who.is_some()),
            "{asked:?}"
        );
        let lock = stored.read("refit.lock");
        assert!(lock.contains("data/train-2.csv"), "{lock}");
        assert!(
            !lock.contains("sesame") && !lock.contains("c2VzYW1l"),
            "{lock}"
        );

        played.put("data/train-2.csv", &rows(32, 100));
        let updated = played.refit(&stored, variables, &UPDATE).success();
        assert_eq!(built(&updated.json()), ["data"]);
        let asked = played.asked();
        assert_eq!(asked.len(), 3, "{asked:?}");
        let missing = project(&format!("train = \"{scheme}://box/data/train-9.csv\""));
        let refused = played
            .refit(&missing, variables, &["run", "pipeline.toml"])
            .exits(1);
        let text = refused
            .stderr
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(text.contains("`data/train-1.csv`"), "{}", refused.stderr);
    }
}

#[test]
fn who_has_no_credentials_signs_nothing_and_an_account_must_be_known() {
    let played = play();
    played.put("train.csv", &rows(40, 0));
    for (scheme, variables) in [("gs", &GOOGLE[..1]), ("az", &AZURE[..2])] {
        let stored = project(&format!("train = \"{scheme}://box/train.csv\""));
        played.refit(&stored, variables, &RUN).success();
        let asked = played.asked();
        assert!(asked.iter().all(|(_, who)| who.is_none()), "{asked:?}");
    }
    let stored = project("train = \"az://box/train.csv\"");
    let refused = played
        .refit(&stored, &[], &["run", "pipeline.toml"])
        .exits(1);
    assert!(
        refused.stderr.contains("AZURE_STORAGE_ACCOUNT_NAME"),
        "{}",
        refused.stderr
    );
}

const AMAZON: [(&str, &str); 1] = [("AWS_ENDPOINT_URL", "HERE")];

#[test]
fn a_busy_store_is_asked_again_and_another_region_is_named() {
    let played = play();
    played.put("train.csv", &rows(40, 0));
    let slow = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
    let faults = [
        (503, vec![], slow),
        (500, vec![], ""),
        (503, vec![("retry-after", "0")], ""),
    ];
    played.state.lock().unwrap().faults.extend(faults);
    let stored = project("train = \"s3://box/train.csv\"");
    played.refit(&stored, &AMAZON, &RUN).success();
    assert_eq!(played.asked().len(), 4);

    let moved = "<Error><Code>PermanentRedirect</Code><Message>Use its endpoint.</Message></Error>";
    let fault = (301, vec![("x-amz-bucket-region", "eu-west-1")], moved);
    played.state.lock().unwrap().faults.push_back(fault);
    let refused = played.refit(&stored, &AMAZON, &UPDATE).exits(1);
    let text = refused.stdout + &refused.stderr;
    assert!(
        text.contains("eu-west-1") && text.contains("AWS_REGION"),
        "{text}"
    );
}

#[test]
fn bytes_that_are_not_those_of_the_stated_md5_are_refused_and_not_kept() {
    let played = play();
    played.put("train.csv", "hello world");
    let stored = project("train = \"gs://box/train.csv\"\nformat = \"text\"");
    let says = |md5: &str| {
        played.state.lock().unwrap().headers = vec![("x-goog-hash", format!("md5={md5}"))];
    };
    says("AAAAAAAAAAAAAAAAAAAAAA==");
    let refused = played
        .refit(&stored, &GOOGLE, &["run", "pipeline.toml"])
        .exits(1);
    assert!(refused.stderr.contains("MD5"), "{}", refused.stderr);
    assert!(!stored.path("refit.lock").exists());
    says("XrY7u+Ae7tCTyyK7j1rNww==");
    played.refit(&stored, &GOOGLE, &["run", "pipeline.toml"]);
    assert!(stored.path("refit.lock").exists());
}
