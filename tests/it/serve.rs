//! `refit serve`: tiny models of every task behind the real program, asked over real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::predict::{TASKS, lines, of};
use crate::project::Project;

mod page;

/// A project with an exported model of this task, made once.
fn project(task: &str) -> &'static Project {
    static MADE: [OnceLock<Project>; 5] = [const { OnceLock::new() }; 5];
    let place = TASKS.iter().position(|other| *other == task).unwrap();
    MADE[place].get_or_init(|| of(task).0)
}

/// `NAME=FOLDER` of the models of these tasks, each called after its task.
fn bundles(tasks: &[&str]) -> Vec<String> {
    let bundle = |task: &&str| format!("{task}={}", project(task).path("dist").display());
    tasks.iter().map(bundle).collect()
}

/// A server, gone when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it says on stderr, read while it runs.
    stderr: Option<JoinHandle<String>>,
}

const SECRET: &str = "a-token-of-this-test";

impl Server {
    pub(crate) fn start(tasks: &[&str], arguments: &[&str]) -> Server {
        let bundles = bundles(tasks);
        let mut all = vec!["serve", "--port", "0", "--device", "flex"];
        all.extend(bundles.iter().map(String::as_str));
        all.extend(arguments);
        let mut command = project(tasks[0]).command(&all);
        Server::of(command.env("TEST_TOKEN", SECRET))
    }

    /// Until it says where it is.
    fn of(command: &mut Command) -> Server {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut said = Vec::new();
            stderr.read_to_end(&mut said).unwrap();
            String::from_utf8_lossy(&said).into_owned()
        });
        let address = line.trim().strip_prefix("http://");
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            panic!("{line:?} {}", stderr.join().unwrap());
        };
        Server {
            child,
            address,
            stderr: Some(stderr),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    /// What comes back for these bytes, until the server closes.
    fn raw(&self, bytes: &[u8]) -> Response {
        let mut stream = self.connect();
        // It may answer before it has read all.
        let _ = stream.write_all(bytes);
        response(&mut BufReader::new(stream)).unwrap()
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Response {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.raw(&request)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask("GET", path, "", b"")
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        self.ask("POST", path, AS_JSON, body.to_string().as_bytes())
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: it is a child of ours that nobody has waited for.
        unsafe { libc::kill(pid, signal) };
    }

    /// How it ended, and what it said on stderr.
    fn ended(&mut self) -> (Option<i32>, String) {
        let said = self.stderr.take().unwrap().join().unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    /// The value of a count.
    fn count(&self, name: &str) -> u64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn until(&self, name: &str, wanted: u64) {
        while self.count(name) != wanted {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const AS_JSON: &str = "content-type: application/json\r\n";

#[derive(Debug)]
pub(crate) struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    #[track_caller]
    fn code(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().unwrap().to_owned();
        (self.status, code)
    }
}

/// The next response on a connection; none where it was closed.
fn response(from: &mut impl BufRead) -> Option<Response> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head.len() - before <= 2 {
            break;
        }
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(Response { status, head, body })
}

fn request(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{AS_JSON}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Rows of a file as a model of the task is asked, and what `refit predict` answers to each.
fn predicted(task: &str) -> (Vec<Value>, Vec<Value>) {
    let project = project(task);
    let said = |arguments: &[&str]| lines(&project.refit(arguments).success());
    if task == "question_answering" {
        let file = "data/test.jsonl";
        let asked = project.read(file);
        let asked = asked
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|row| json!({ "question": row["question"], "context": row["context"] }));
        return (asked.collect(), said(&["predict", "dist", "--input", file]));
    }
    let texts = match task {
        "token_classification" => vec![
            "Eve  Kim saw  Oslo.",
            "so",
            "Bob Lee saw Bonn, Rome",
            "ä Ann",
        ],
        _ => vec![
            "row 1 glad there",
            "so mad",
            "wow",
            "glad mad wow and so on and on and on and on",
        ],
    };
    project.write("data/asked.txt", &(texts.join("\n") + "\n"));
    let answers = said(&[
        "predict",
        "dist",
        "--input",
        "data/asked.txt",
        "--format",
        "text",
    ]);
    (texts.into_iter().map(|text| json!(text)).collect(), answers)
}

fn near(a: &Value, b: &Value) -> bool {
    (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5
}

#[test]
fn every_task_is_answered_as_predict_answers_it() {
    let server = Server::start(&TASKS, &[]);
    for task in TASKS {
        let (asked, wanted) = predicted(task);
        assert_eq!(asked.len(), wanted.len());
        let response = server.post(
            &format!("/models/{task}/predict"),
            &json!({ "texts": asked }),
        );
        let response = response.good();
        assert_eq!(response["task"], task);
        let found = response["predictions"].as_array().unwrap();
        for (found, wanted) in found.iter().zip(&wanted) {
            let context = format!("{task}: {found} {wanted}");
            match task {
                "classification" => {
                    assert_eq!(found["label"], wanted["predicted"], "{context}");
                    for one in found["probabilities"].as_array().unwrap() {
                        let column = format!("probability_{}", one["label"].as_str().unwrap());
                        assert!(near(&one["probability"], &wanted[column]), "{context}");
                    }
                }
                "multi_label" => {
                    assert_eq!(found["labels"], wanted["predicted"], "{context}");
                    assert_eq!(found["probabilities"].as_array().unwrap().len(), 3);
                }
                "regression" => {
                    for one in found["values"].as_array().unwrap() {
                        let column = format!("predicted_{}", one["target"].as_str().unwrap());
                        assert!(near(&one["value"], &wanted[column]), "{context}");
                    }
                }
                "token_classification" => {
                    let theirs = match &wanted["entities"] {
                        Value::String(text) => serde_json::from_str(text).unwrap(),
                        other => other.clone(),
                    };
                    let place = |entity: &Value| [entity["start"].clone(), entity["end"].clone()];
                    let places = |entities: &Value| -> Vec<_> {
                        entities.as_array().unwrap().iter().map(place).collect()
                    };
                    assert_eq!(places(&found["entities"]), places(&theirs), "{context}");
                }
                _ => {
                    let text = found["answer"].as_str().unwrap_or_default();
                    assert_eq!(
                        text,
                        wanted["predicted"].as_str().unwrap_or_default(),
                        "{context}"
                    );
                }
            }
        }
    }
}

#[test]
fn each_task_has_the_shape_of_the_inference_api() {
    let server = Server::start(&TASKS, &[]);
    let ask = |path: &str, body: Value| server.post(path, &body).good();
    // The first model is the default.
    let labels = ask(
        "/",
        json!({ "inputs": "so mad", "parameters": { "top_k": 1 } }),
    );
    assert_eq!(labels[0].as_array().unwrap().len(), 1);
    assert!(labels[0][0]["score"].as_f64().unwrap() >= 0.5, "{labels}");
    let several = ask("/models/multi_label", json!({ "inputs": ["glad", "mad"] }));
    assert_eq!(several[1].as_array().unwrap().len(), 3);
    let numbers = ask("/models/regression", json!({ "inputs": "glad" }));
    assert_eq!(
        [&numbers[0][0]["label"], &numbers[0][1]["label"]],
        ["quality", "length"]
    );
    let text = "ä Ann Lee saw Rome .";
    let entities = ask("/models/token_classification", json!({ "inputs": text }));
    let entities = entities.as_array().unwrap();
    assert!(!entities.is_empty());
    for entity in entities {
        let place = |name: &str| entity[name].as_u64().unwrap() as usize;
        let word: String = text
            .chars()
            .skip(place("start"))
            .take(place("end") - place("start"))
            .collect();
        assert_eq!(entity["word"], word);
        assert!(entity["entity_group"].is_string() && entity["score"].is_number());
    }
    let inputs = json!({ "question": "where is it ?", "context": "it is in the box there" });
    let answer = ask("/models/question_answering", json!({ "inputs": inputs }));
    assert!(
        answer["answer"].is_string() && answer["score"].is_number(),
        "{answer}"
    );
    let two = ask(
        "/models/question_answering",
        json!({ "inputs": inputs, "parameters": { "top_k": 2 } }),
    );
    assert_eq!(two.as_array().unwrap().len(), 2);
}

#[test]
fn every_bad_request_has_its_code_and_the_server_goes_on() {
    let server = Server::start(
        &["classification"],
        &["--read-timeout", "0.5", "--max-body-bytes", "100000"],
    );
    let post = |body: &[u8]| server.ask("POST", "/predict", AS_JSON, body).code();
    let texts = json!({ "texts": vec!["a"; 10_000] }).to_string();
    let huge = vec![b' '; 10 << 20];
    for (body, status, code) in [
        (&b"{\"text\": "[..], 400, "invalid_json"),
        (b"{\"text\": \"\xc3\x28\"}", 400, "invalid_utf8"),
        (b"{\"text\": 1}", 422, "invalid_request"),
        (texts.as_bytes(), 422, "too_many_texts"),
        (&huge, 413, "body_too_large"),
    ] {
        assert_eq!(post(body), (status, code.to_owned()));
    }
    let plain = server.ask("POST", "/predict", "content-type: text/plain\r\n", b"{}");
    assert_eq!(plain.code().0, 415);
    assert_eq!(server.get("/etc/passwd").code().0, 404);
    assert_eq!(server.get("/models/..%2f..%2fetc/predict").code().0, 404);
    let method = server.ask("DELETE", "/predict", "", b"");
    assert_eq!(method.code().0, 405);
    assert!(
        method.head.to_lowercase().contains("allow: post"),
        "{}",
        method.head
    );
    // Chunks of which there are more than it says anywhere.
    let mut chunked = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..30 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b' '; 0x1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(server.raw(&chunked).code().0, 413);
    // A head that does not end, and a body that does not come.
    assert_eq!(
        server.raw(b"POST /predict HTTP/1.1\r\nhost:").code(),
        (408, "slow_head".to_owned())
    );
    let short = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    assert_eq!(server.raw(short).code(), (408, "slow_body".to_owned()));
    // What is no HTTP is answered, too.
    assert_eq!(server.raw(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").status, 400);
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(server.raw(head.as_bytes()).status, 431);
    server.post("/predict", &json!({ "text": "so mad" })).good();
}

#[test]
fn a_client_that_goes_away_holds_nothing() {
    let server = Server::start(&["classification"], &[]);
    let body = json!({ "texts": vec!["so mad"; 500] });
    for end in [Shutdown::Both, Shutdown::Write] {
        let mut stream = server.connect();
        stream.write_all(&request("/predict", &body)).unwrap();
        stream.shutdown(end).unwrap();
    }
    server.until("refit_requests_in_flight", 1);
    server.until("refit_queue_texts{model=\"classification\"}", 0);
    server.post("/predict", &json!({ "text": "so mad" })).good();
}

#[test]
fn requests_of_one_connection_are_answered_in_order() {
    let server = Server::start(&["classification"], &[]);
    let mut stream = server.connect();
    let mut all = Vec::new();
    for count in 1..=20 {
        all.extend(request(
            "/predict",
            &json!({ "texts": vec!["so mad"; count] }),
        ));
    }
    stream.write_all(&all).unwrap();
    let mut from = BufReader::new(stream);
    for count in 1..=20 {
        let answered = response(&mut from).unwrap().good();
        assert_eq!(answered["predictions"].as_array().unwrap().len(), count);
    }
}

#[test]
fn texts_of_many_connections_share_batches_and_are_counted() {
    let server = Server::start(&["classification", "regression"], &[]);
    let server = &server;
    let alone = server.post("/predict", &json!({ "text": "so mad" })).good();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let alone = alone.clone();
            scope.spawn(move || {
                let mut stream = server.connect();
                let mut from = BufReader::new(stream.try_clone().unwrap());
                for _ in 0..20 {
                    let texts = vec!["so mad"; number % 3 + 1];
                    stream
                        .write_all(&request("/predict", &json!({ "texts": texts })))
                        .unwrap();
                    let found = response(&mut from).unwrap().good();
                    for prediction in found["predictions"].as_array().unwrap() {
                        assert_eq!(prediction["label"], alone["predictions"][0]["label"]);
                        let probability = &alone["predictions"][0]["probability"];
                        assert!(near(&prediction["probability"], probability));
                    }
                }
            });
        }
    });
    let ok = "refit_requests_total{route=\"predict\",model=\"classification\",status=\"200\"}";
    assert_eq!(server.count(ok), 321);
    let texts = server.count("refit_texts_total{model=\"classification\"}");
    // A third of 16 connections each: 6 ask for one text, 5 for two, 5 for three.
    assert_eq!(texts, 20 * (6 + 10 + 15) + 1);
    let batches = server.count("refit_batch_texts_count{model=\"classification\"}");
    assert!(batches < 321, "{batches} batches");
    let metrics = server.get("/metrics");
    assert!(metrics.head.contains("application/openmetrics-text"));
    assert!(metrics.text().ends_with("# EOF\n"));
    for line in metrics.text().lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(
            name.starts_with("refit_") && value.parse::<f64>().is_ok(),
            "{line}"
        );
    }
}

#[test]
fn a_token_is_read_from_the_environment_and_written_nowhere() {
    let mut server = Server::start(&["classification"], &["--token-env", "TEST_TOKEN", "-vvv"]);
    for open in ["/health", "/ready", "/"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
    for closed in [
        "/models",
        "/metrics",
        "/openapi.json",
        "/models/classification",
        "/x",
    ] {
        let refused = server.get(closed);
        assert_eq!(refused.code().0, 401, "{closed}");
        assert!(
            refused
                .head
                .to_lowercase()
                .contains("www-authenticate: bearer")
        );
    }
    let with = |token: &str| {
        let headers = format!("{AS_JSON}authorization: Bearer {token}\r\n");
        server.ask(
            "POST",
            "/predict",
            &headers,
            b"{\"text\": \"a private text\"}",
        )
    };
    assert_eq!(with("wrong").code().0, 401);
    with(SECRET).good();
    server.signal(libc::SIGTERM);
    let (code, said) = server.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("predict") && said.contains("ms="), "{said}");
    assert!(
        !said.contains(SECRET) && !said.contains("private"),
        "{said}"
    );
}

#[test]
fn a_server_without_what_it_needs_says_so() {
    let project = project("classification");
    let dist = project.path("dist").display().to_string();
    for (arguments, code, part) in [
        (vec![dist.as_str(), "--token-env", "NO_SUCH"], 2, "NO_SUCH"),
        (vec!["nowhere"], 2, "does not exist"),
        (vec!["a/b=x"], 2, "cannot be the name"),
        (vec!["a b=x"], 2, "cannot be the name"),
        (vec!["m=x", "m=y"], 2, "two models"),
        (vec!["m=data"], 2, "no model"),
        (vec![dist.as_str(), "--cors-origin", "*"], 2, "no origin"),
        (vec![], 2, "BUNDLE"),
        (vec![dist.as_str(), "--port", "70000"], 2, "70000"),
        (
            vec![dist.as_str(), "--batch-tokens", "0"],
            2,
            "whole number",
        ),
        (vec![dist.as_str(), "--device", "abacus"], 2, "abacus"),
    ] {
        let port = match arguments.contains(&"--port") {
            true => vec!["serve"],
            false => vec!["serve", "--port", "0"],
        };
        let all = [port, arguments].concat();
        let said = project.refit(&all).exits(code);
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
        assert_eq!(said.stdout, "");
    }
    let server = Server::start(&["classification"], &[]);
    let port = server.address.port().to_string();
    let said = project.refit(&["serve", &dist, "--port", &port]).exits(1);
    assert!(said.stderr.contains("--port"), "{}", said.stderr);
}

#[test]
fn json_says_where_it_is_and_what_it_serves_in_one_line() {
    let bundles = bundles(&["classification", "regression"]);
    let mut all = vec!["serve", "--port", "0", "--json", "--host", "0.0.0.0"];
    all.extend(bundles.iter().map(String::as_str));
    let mut child = project("classification")
        .command(&all)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert!(
        told["address"]
            .as_str()
            .unwrap()
            .starts_with("http://0.0.0.0:"),
        "{told}"
    );
    assert_eq!(told["models"], json!(["classification", "regression"]));
    child.kill().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    child.wait().unwrap();
    assert!(said.contains("--token-env"), "{said}");
}

#[test]
fn sigterm_under_load_loses_no_request() {
    let mut server = Server::start(&["classification"], &[]);
    let address = server.address;
    let ask = move || {
        let mut answered = 0;
        // From connection to connection, until there is none to be had.
        while let Ok(mut stream) = TcpStream::connect(address) {
            let mut from = BufReader::new(stream.try_clone().unwrap());
            loop {
                let texts = vec!["so mad and glad"; 1 + answered % 5];
                let asked = request("/predict", &json!({ "texts": texts }));
                stream.write_all(&asked).unwrap();
                let answer = response(&mut from).expect("an answer to what was sent");
                let found = answer.good()["predictions"].as_array().unwrap().len();
                assert_eq!(found, texts.len());
                answered += 1;
                if answer.head.contains("connection: close") {
                    break;
                }
            }
        }
        answered
    };
    let clients: Vec<_> = (0..16).map(|_| std::thread::spawn(ask)).collect();
    let served = "refit_requests_total{route=\"predict\",model=\"classification\",status=\"200\"}";
    while server
        .get("/metrics")
        .text()
        .lines()
        .all(|line| !line.starts_with(served))
        || server.count(served) < 200
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal(libc::SIGTERM);
    for client in clients {
        assert!(client.join().expect("no request was lost") > 0);
    }
    let (code, said) = server.ended();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn ctrl_c_ends_it_with_the_code_of_an_interruption() {
    let mut server = Server::start(&["classification"], &[]);
    server.signal(libc::SIGINT);
    assert_eq!(server.ended().0, Some(130));
}

#[test]
fn a_request_that_takes_longer_than_the_drain_may_is_told_to_whoever_started_it() {
    let mut server = Server::start(
        &["classification"],
        &["--drain-timeout", "0.2", "--read-timeout", "60"],
    );
    let mut stream = server.connect();
    // Its body never comes.
    let half = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    stream.write_all(half).unwrap();
    server.until("refit_requests_in_flight", 2);
    server.signal(libc::SIGTERM);
    let (code, said) = server.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--drain-timeout"), "{said}");
}

#[test]
fn the_document_is_openapi_and_allows_what_is_answered() {
    let server = Server::start(&TASKS, &[]);
    let document = server.get("/openapi.json").good();
    assert_eq!(document["openapi"], "3.1.0");
    let mut paths = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            paths.push(format!("{method} {path}"));
        }
    }
    assert_eq!(paths.len(), 8 + 3 * TASKS.len(), "{paths:?}");
    for task in TASKS {
        for (path, body) in [
            (
                format!("/models/{task}/predict"),
                json!({ "texts": [predicted(task).0[0]] }),
            ),
            (
                format!("/models/{task}"),
                json!({ "inputs": predicted(task).0[0] }),
            ),
        ] {
            let operation = &document["paths"][&path]["post"];
            let allows = |schema: &Value, value: &Value| {
                let mut schema = schema.clone();
                schema["components"] = document["components"].clone();
                let checked = jsonschema::validate(&schema, value);
                assert!(checked.is_ok(), "{path}: {value} {checked:?}");
            };
            allows(
                &operation["requestBody"]["content"]["application/json"]["schema"],
                &body,
            );
            let answered = server.post(&path, &body).good();
            allows(
                &operation["responses"]["200"]["content"]["application/json"]["schema"],
                &answered,
            );
        }
    }
    let error = server.post("/predict", &json!({})).json();
    let failed = &document["paths"]["/predict"]["post"]["responses"]["422"]["content"]["application/json"]
        ["schema"];
    let mut schema = failed.clone();
    schema["components"] = document["components"].clone();
    assert!(jsonschema::is_valid(&schema, &error), "{error}");
}
