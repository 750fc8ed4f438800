//! The servers that the tests of following a run ask: TensorBoard's and MLflow's own, and some that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::project::skipped;

/// Nobody waits so long unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(600);

/// A program with all that it starts; they end with it.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Option<Program> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        command.process_group(0).spawn().ok().map(Program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).unwrap();
        // SAFETY: the group is that of a child of ours that nobody has waited for.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.0.wait();
    }
}

/// Status and body of an answer.
fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// As a part of an address.
fn escaped(text: &str) -> String {
    text.replace('/', "%2F")
}

pub(super) struct TensorBoard {
    _program: Program,
    address: String,
}

impl TensorBoard {
    /// On a folder, with the reader in Rust (`fast`) or the one in Python.
    pub(super) fn start(folder: &Path, fast: bool) -> Option<TensorBoard> {
        let fast = format!("--load_fast={fast}");
        let mut command = Command::new("tensorboard");
        command.arg("--logdir").arg(folder);
        command.args([
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            &fast,
            "--reload_interval",
            "1",
        ]);
        // All points, and not a sample of them: none at all is what 0 gives.
        command.args(["--samples_per_plugin", "scalars=1000000"]);
        let Some(mut program) = Program::start(command.stderr(Stdio::piped())) else {
            return skipped(
                "event files are read back by tensorboard: `pip install tensorboard`, and its folder on the path",
            );
        };
        let mut lines = BufReader::new(program.0.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("{seen}")).unwrap();
            if let Some((_, rest)) = line.split_once(" at http://") {
                break rest.split('/').next().unwrap().to_owned();
            }
            seen.push_str(&line);
            seen.push('\n');
        };
        std::thread::spawn(move || lines.for_each(drop));
        Some(TensorBoard {
            _program: program,
            address,
        })
    }

    /// The points of a curve, each a time, a step and a value, once so many of them are read.
    pub(super) fn scalars(&self, run: &str, tag: &str, count: usize) -> Vec<Value> {
        let path = format!(
            "/data/plugin/scalars/scalars?run={}&tag={}",
            escaped(run),
            escaped(tag)
        );
        self.until(&path, &|answer| {
            let points = answer.as_array()?;
            (points.len() >= count).then(|| points.clone())
        })
    }

    pub(super) fn text(&self, run: &str, tag: &str) -> String {
        let path = format!(
            "/data/plugin/text/text?run={}&tag={}",
            escaped(run),
            escaped(tag)
        );
        self.until(&path, &|answer| {
            let text = answer.pointer("/0/text")?.as_str()?;
            Some(text.to_owned())
        })
    }

    fn until<T>(&self, path: &str, wanted: &dyn Fn(&Value) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = ask(&self.address, "GET", path, "");
            let value = answer.as_ref().filter(|(status, _)| *status == 200);
            let value = value.and_then(|(_, body)| serde_json::from_str(body).ok());
            if let Some(found) = value.as_ref().and_then(wanted) {
                return found;
            }
            assert!(Instant::now() < until, "{path}: {answer:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A server of its own, with an empty data base.
pub(super) struct Mlflow {
    _program: Program,
    _folder: tempfile::TempDir,
    address: String,
    pub(super) url: String,
}

impl Mlflow {
    pub(super) fn start() -> Option<Mlflow> {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = Command::new("mlflow");
        command.args(["server", "--host", "127.0.0.1", "--workers", "1"]);
        command.args(["--port", &address.port().to_string()]);
        command.args(["--backend-store-uri", "sqlite:///runs.db"]);
        command.args(["--artifacts-destination", "artifacts"]);
        command.current_dir(folder.path()).stderr(Stdio::null());
        let Some(mut program) = Program::start(&mut command) else {
            return skipped(
                "runs are told to an MLflow server: `pip install mlflow`, and its folder on the path",
            );
        };
        let address = address.to_string();
        let until = Instant::now() + PATIENCE;
        while ask(&address, "GET", "/health", "").is_none_or(|(status, _)| status != 200) {
            assert_eq!(program.0.try_wait().unwrap(), None, "mlflow server ends");
            assert!(Instant::now() < until, "mlflow server does not begin");
            std::thread::sleep(Duration::from_millis(200));
        }
        Some(Mlflow {
            _program: program,
            _folder: folder,
            url: format!("http://{address}"),
            address,
        })
    }

    fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = match method {
            "GET" => String::new(),
            _ => body.to_string(),
        };
        let path = format!("/api/2.0/mlflow/{path}");
        let (status, answer) = ask(&self.address, method, &path, &body).unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// The runs of an experiment.
    pub(super) fn runs(&self, experiment: &str) -> Vec<Value> {
        let path = format!("experiments/get-by-name?experiment_name={experiment}");
        let found = self.api("GET", &path, &Value::Null);
        let id = &found["experiment"]["experiment_id"];
        let body = json!({ "experiment_ids": [id], "max_results": 100 });
        let runs = self.api("POST", "runs/search", &body);
        runs["runs"].as_array().cloned().unwrap_or_default()
    }

    /// All points of a curve.
    pub(super) fn history(&self, run: &str, metric: &str) -> Vec<(i64, f32)> {
        let path = format!(
            "metrics/get-history?run_id={run}&metric_key={}&max_results=20000",
            escaped(metric)
        );
        let answer = self.api("GET", &path, &Value::Null);
        let points = answer["metrics"].as_array().cloned().unwrap_or_default();
        let point = |point: &Value| {
            let step = &point["step"];
            let text = step.as_str().and_then(|step| step.parse().ok());
            #[expect(
                clippy::cast_possible_truncation,
                reason = "logs are compared as floats"
            )]
            let value = point["value"].as_f64().unwrap() as f32;
            (step.as_i64().or(text).unwrap(), value)
        };
        points.iter().map(point).collect()
    }

    pub(super) fn artifact(&self, run: &Value, name: &str) -> String {
        let place = run["info"]["artifact_uri"].as_str().unwrap();
        let place = place.strip_prefix("mlflow-artifacts:/").unwrap();
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/{place}/{name}");
        let (status, answer) = ask(&self.address, "GET", &path, "").unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

/// A server that misbehaves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Played {
    /// There is none at its address.
    Gone,
    /// It answers 500.
    Fails,
    /// It takes a request and never answers.
    Stalls,
    /// It answers 403, and repeats the token.
    Refuses,
}

pub(super) struct Server {
    pub(super) url: String,
    asked: Arc<Mutex<String>>,
}

impl Played {
    pub(super) fn start(self, token: &str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<String>> = Arc::default();
        if matches!(self, Played::Gone) {
            return Server { url, asked };
        }
        let (heard, token) = (Arc::clone(&asked), token.to_owned());
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let mut some = [0; 4096];
                let count = stream.read(&mut some).unwrap_or(0);
                let head = String::from_utf8_lossy(&some[..count]).to_lowercase();
                heard.lock().unwrap().push_str(&head);
                let (status, body) = match self {
                    Played::Stalls | Played::Gone => {
                        kept.push(stream);
                        continue;
                    }
                    Played::Fails => ("500 Internal Server Error", String::new()),
                    Played::Refuses => {
                        let message = format!("no entry for {token}");
                        let body = json!({ "error_code": "PERMISSION_DENIED", "message": message });
                        ("403 Forbidden", body.to_string())
                    }
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Server { url, asked }
    }
}

impl Server {
    /// All that it was asked, in small letters.
    pub(super) fn asked(&self) -> String {
        self.asked.lock().unwrap().clone()
    }
}
