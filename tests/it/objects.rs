//! Data in object stores: fetched from a cold cache, pinned, noticed when it changes, and every way to be refused.
//!
//! The S3 server is moto's (`moto_server` of the Python package `moto[server]`), behind a small relay that counts requests and
//! can cut an answer short. Google's and Azure's stores, and what moto never says, are played by a server of this test.

mod played;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::project::{Project, Said, built, digests, rows, skipped};

const SECRET: &str = "sesame-sesame-open-thyself";

/// A store of its own, which ends with it.
struct Store {
    child: Child,
    direct: String,
    /// The relay's address.
    endpoint: String,
    relay: Arc<Mutex<Relay>>,
}

#[derive(Default)]
struct Relay {
    /// The heads of the requests.
    asked: Vec<String>,
    /// The next answers to a request for an object end after so many bytes.
    cuts: VecDeque<usize>,
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Store {
    fn start() -> Option<Store> {
        let started = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            return skipped(
                "object stores need moto_server: `pip install 'moto[server]'`, and its folder on the path",
            );
        };
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let direct = loop {
            let line = lines.next().unwrap_or_else(|| panic!("{seen}")).unwrap();
            if let Some((_, address)) = line.split_once("Running on http://") {
                break address.trim().to_owned();
            }
            seen.push_str(&line);
        };
        std::thread::spawn(move || lines.for_each(drop));
        let relay = Arc::new(Mutex::new(Relay::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (to, state) = (direct.clone(), Arc::clone(&relay));
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let (to, state) = (to.clone(), Arc::clone(&state));
                std::thread::spawn(move || pass_on(from, &to, &state));
            }
        });
        let store = Store {
            child,
            direct,
            endpoint,
            relay,
        };
        store.put("bucket", "", &[]);
        Some(store)
    }

    /// Makes a bucket, or an object in one.
    #[track_caller]
    fn put(&self, path: &str, headers: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect(&self.direct).unwrap();
        let (length, path) = (bytes.len(), path.replace(' ', "%20"));
        let head = format!(
            "PUT /{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host, Signature=x\r\nContent-Type: application/octet-stream\r\n{headers}Content-Length: {length}\r\n\
             Connection: close\r\n\r\n",
            self.direct
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn rows(&self, key: &str, count: usize, offset: usize) {
        self.put(&format!("bucket/{key}"), "", rows(count, offset).as_bytes());
    }

    fn anonymous(&self, project: &Project, arguments: &[&str]) -> Command {
        let mut command = online(project, arguments);
        command.env("AWS_ENDPOINT_URL", &self.endpoint);
        command
    }

    fn command(&self, project: &Project, arguments: &[&str]) -> Command {
        let mut command = self.anonymous(project, arguments);
        command
            .env("AWS_ACCESS_KEY_ID", "testing-testing")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_DEFAULT_REGION", "us-east-1");
        command
    }

    fn refit(&self, project: &Project, arguments: &[&str]) -> Said {
        said(self.command(project, arguments))
    }

    /// How often something was asked for whose request holds all of this.
    fn asked(&self, parts: &[&str]) -> usize {
        let relay = self.relay.lock().unwrap();
        let of = |head: &&String| parts.iter().all(|part| head.contains(part));
        relay.asked.iter().filter(of).count()
    }

    fn forget(&self) {
        self.relay.lock().unwrap().asked.clear();
    }
}

/// One request and its answer; moto closes after each.
fn pass_on(mut from: TcpStream, to: &str, relay: &Mutex<Relay>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match from.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let cut = {
        let mut relay = relay.lock().unwrap();
        let is_object = text.contains(".csv HTTP/1.1");
        relay.asked.push(text);
        relay.cuts.pop_front().filter(|_| is_object)
    };
    let mut answer = Vec::new();
    let mut server = TcpStream::connect(to).unwrap();
    server.write_all(&head).unwrap();
    let _ = server.read_to_end(&mut answer);
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = cut.map_or(answer.len(), |cut| {
        (body.unwrap_or_default() + 4 + cut).min(answer.len())
    });
    let _ = from.write_all(&answer[..end]);
}

/// The command without anything of this machine's own access to stores.
fn online(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    let starts = ["AWS_", "GOOGLE_", "AZURE_"];
    for (name, _) in std::env::vars_os() {
        if starts
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            command.env_remove(name);
        }
    }
    command.env("HOME", project.path(".home"));
    command.env_remove("HF_HUB_OFFLINE");
    command
}

fn said(mut command: Command) -> Said {
    command.output().unwrap().into()
}

fn project(load: &str) -> Project {
    let project = Project::empty();
    let spec = format!("version = 1\nname = \"stored\"\nseed = 5\n\n[load.data]\n{load}\n");
    project.write("pipeline.toml", &spec);
    project
}

const RUN: [&str; 3] = ["run", "pipeline.toml", "--json"];
const UPDATE: [&str; 4] = ["run", "pipeline.toml", "--update", "--json"];

#[test]
fn objects_are_fetched_once_pinned_and_worth_the_same_as_files_on_disk() {
    let Some(store) = Store::start() else { return };
    store.rows("data/train-1.csv", 40, 0);
    store.rows("data/deep/train-2.csv", 30, 100);
    store.rows("data/other.csv", 10, 200);
    store.rows("held out/test=1.csv", 12, 1000);
    let load =
        "train = [\"s3://bucket/data/**/train-?.csv\"]\ntest = \"s3://bucket/held out/test=1.csv\"";
    let stored = project(load);
    let check = store.refit(&stored, &["check", "pipeline.toml"]).success();
    for path in [
        "s3://bucket/data/**/train-?.csv",
        "s3://bucket/held out/test=1.csv",
    ] {
        assert!(check.stderr.contains(path), "{}", check.stderr);
    }
    assert!(check.stderr.contains("to be fetched"), "{}", check.stderr);
    store.refit(&stored, &["plan", "pipeline.toml"]).exits(3);
    assert_eq!(store.asked(&[]), 0, "`check` and `plan` use no network");

    let run = store.refit(&stored, &RUN).success();
    assert!(run.stderr.contains("train-1.csv"), "{}", run.stderr);
    let lock = stored.read("refit.lock");
    for part in [
        "data/deep/train-2.csv",
        "sha256",
        "etag",
        "s3://bucket/held out/test=1.csv",
    ] {
        assert!(lock.contains(part), "no {part} in {lock}");
    }
    assert!(!lock.contains("other.csv"), "{lock}");
    let local = project("train = [\"a.csv\", \"b.csv\"]\ntest = \"c.csv\"");
    local.write("a.csv", &rows(30, 100));
    local.write("b.csv", &rows(40, 0));
    local.write("c.csv", &rows(12, 1000));
    let (here, there) = (local.run(&["pipeline.toml"]), run.json());
    assert_eq!(digests(&here), digests(&there));
    assert_eq!(here["steps"][0]["key"], there["steps"][0]["key"]);

    store.forget();
    assert_eq!(built(&store.refit(&stored, &RUN).success().json()), [""; 0]);
    store.refit(&stored, &["plan", "pipeline.toml"]).success();
    assert_eq!(
        store.asked(&[]),
        0,
        "what is pinned and at hand is not asked again"
    );
    let offline = said({
        let mut command = store.command(&stored, &RUN);
        command.env("HF_HUB_OFFLINE", "1");
        command
    });
    assert_eq!(built(&offline.success().json()), [""; 0]);
}

#[test]
fn an_update_notices_what_changed_and_fetches_nothing_else() {
    let Some(store) = Store::start() else { return };
    store.rows("train-1.csv", 40, 0);
    store.rows("train-2.csv", 40, 100);
    store.rows("test.csv", 12, 1000);
    let load = "train = \"s3://bucket/train-*.csv\"\ntest = \"s3://bucket/test.csv\"";
    let stored = project(load);
    store.refit(&stored, &RUN).success();
    let pinned = stored.read("refit.lock");

    store.rows("train-2.csv", 44, 100);
    let same = store.refit(&stored, &RUN).success().json();
    assert_eq!(built(&same), [""; 0], "the lock says what is meant");
    // Another machine, with the lock and nothing else.
    let other = project(load);
    other.write("refit.lock", &pinned);
    let changed = store.refit(&other, &RUN).exits(1);
    for part in ["s3://bucket/train-2.csv", "is not what", "--update"] {
        let text = changed.stdout.clone() + &changed.stderr;
        assert!(text.contains(part), "no {part} in {text}");
    }

    store.forget();
    let updated = store.refit(&stored, &UPDATE).success().json();
    assert_eq!(built(&updated), ["data"]);
    assert_ne!(stored.read("refit.lock"), pinned);
    assert_eq!(store.asked(&["GET /bucket/train-1.csv"]), 0);
    assert_eq!(store.asked(&["GET /bucket/train-2.csv"]), 1);
    assert_eq!(
        store.asked(&["GET /bucket/test.csv", "if-none-match"]),
        1,
        "an object alone is asked for on the condition that it changed"
    );
    let lock = stored.read("refit.lock");
    assert_eq!(
        built(&store.refit(&stored, &UPDATE).success().json()),
        [""; 0]
    );
    assert_eq!(stored.read("refit.lock"), lock);
    // A lock's object that is not here any more is fetched as it was pinned.
    let third = project(load);
    third.write("refit.lock", &lock);
    store.refit(&third, &RUN).success();
    assert_eq!(third.read("refit.lock"), lock);
    store.rows("train-3.csv", 10, 500);
    let more = store.refit(&stored, &UPDATE).success().json();
    assert_eq!(built(&more), ["data"], "a pattern is matched anew");
}

#[test]
fn what_is_not_there_is_said_with_what_there_is() {
    let Some(store) = Store::start() else { return };
    store.rows("data/train.csv", 40, 0);
    store.rows("data/notes.csv", 40, 0);
    for (path, parts) in [
        (
            "s3://bucket/data/trian.csv",
            &["there is no s3://bucket/data/trian.csv", "`data/train.csv`"][..],
        ),
        (
            "s3://bucket/dato/train-*.csv",
            &[
                "there is no s3://bucket/dato/train-*.csv",
                "`data/train.csv`",
            ][..],
        ),
        (
            "s3://bucketeer/data/train.csv",
            &["there is no s3://bucketeer", "AWS_ENDPOINT_URL"][..],
        ),
        (
            "s3://bucketeer/data/*.csv",
            &["there is no s3://bucketeer", "AWS_REGION"][..],
        ),
    ] {
        let stored = project(&format!("train = \"{path}\""));
        let refused = store.refit(&stored, &["run", "pipeline.toml"]).exits(1);
        let text = refused
            .stderr
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        for part in parts {
            assert!(text.contains(part), "no {part} in {}", refused.stderr);
        }
        assert!(
            refused.stderr.contains("pipeline.toml:6"),
            "{}",
            refused.stderr
        );
        assert!(!stored.path("refit.lock").exists());
    }
    let stored = project("train = \"s3://bucket/data/train.csv\"");
    let mut command = store.command(&stored, &["run", "pipeline.toml"]);
    command.env("HF_HUB_OFFLINE", "1");
    let offline = said(command).exits(1);
    assert!(
        offline.stderr.contains("HF_HUB_OFFLINE"),
        "{}",
        offline.stderr
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut command = store.command(&stored, &["run", "pipeline.toml"]);
    command.env("AWS_ENDPOINT_URL", format!("http://{nobody}"));
    let unreachable = said(command).exits(1);
    assert!(
        unreachable.stderr.contains("cannot be reached"),
        "{}",
        unreachable.stderr
    );
}

#[test]
fn without_credentials_only_what_is_public_is_read_and_no_secret_is_ever_shown() {
    let Some(store) = Store::start() else { return };
    let text = rows(40, 0);
    store.put(
        "bucket/open.csv",
        "x-amz-acl: public-read\r\n",
        text.as_bytes(),
    );
    store.rows("closed.csv", 40, 0);
    let open = project("train = \"s3://bucket/open.csv\"");
    said(store.anonymous(&open, &RUN)).success();
    assert_eq!(store.asked(&["authorization:"]), 0);
    let closed = project("train = \"s3://bucket/closed.csv\"");
    let refused = said(store.anonymous(&closed, &["run", "pipeline.toml"])).exits(1);
    for part in ["may not be read without credentials", "AWS_ACCESS_KEY_ID"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let signed = store
        .refit(&closed, &["run", "pipeline.toml", "-vvv"])
        .success();
    assert!(store.asked(&["authorization:"]) > 0);
    let lock = closed.read("refit.lock");
    for text in [signed.stderr, signed.stdout, lock] {
        assert!(
            !text.contains(SECRET) && !text.contains("testing-testing"),
            "{text}"
        );
    }
    let half = said({
        let mut command = store.anonymous(&closed, &["run", "pipeline.toml", "--update"]);
        command.env("AWS_SECRET_ACCESS_KEY", SECRET);
        command
    });
    let half = half.exits(1);
    assert!(
        half.stderr.contains("nothing can be asked of s3://bucket"),
        "{}",
        half.stderr
    );
    assert!(!half.stderr.contains(SECRET), "{}", half.stderr);
}

#[test]
fn a_cut_connection_is_gone_on_with_where_it_broke_off() {
    let Some(store) = Store::start() else { return };
    store.rows("train.csv", 4000, 0);
    let whole = rows(4000, 0).len();
    store
        .relay
        .lock()
        .unwrap()
        .cuts
        .extend([100_000, 50_000, 0]);
    let stored = project("train = \"s3://bucket/train.csv\"");
    store.refit(&stored, &RUN).success();
    assert!(whole > 150_000, "{whole}");
    assert_eq!(store.asked(&["GET /bucket/train.csv"]), 4);
    assert_eq!(store.asked(&["range: bytes=100000-", "if-match"]), 1);
    assert_eq!(store.asked(&["range: bytes=150000-", "if-match"]), 2);
    let left = glob::glob(stored.path(".refit/**/*.incomplete").to_str().unwrap()).unwrap();
    assert_eq!(left.count(), 0);
}
