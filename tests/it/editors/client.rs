//! A small client of language servers, over their standard input and output.
//!
//! It asks and waits, answers what the server asks, and keeps every publication of diagnostics. A server that does not answer
//! in time, or ends, fails the test with what it wrote to stderr; it is killed when the client is dropped. One that cannot be
//! greeted is no server: that alone is no failure here.
//!
//! Deliberately absent: anything about one server. What they are started with and when they are done, `editors` says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Far longer than any server needs on a busy machine: an answer that takes so long does not come.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    name: String,
    server: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    stderr: Arc<Mutex<Vec<u8>>>,
    requests: i64,
    /// What every question for settings is answered with, and whether there was one.
    settings: Value,
    has_settings: bool,
    /// File's address → the diagnostics of each publication, in their order.
    published: BTreeMap<String, Vec<Vec<Value>>>,
}

impl Client {
    /// Starts a server and greets it; or says why there is none: no such program, or one that ends when it is greeted.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        settings: Value,
    ) -> Result<Client, String> {
        let mut server = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let stdin = server.stdin.take().unwrap();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            while let Some(message) = read(&mut stdout) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (server.stderr.take().unwrap(), Arc::clone(&stderr));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let mut client = Client {
            name: name.to_owned(),
            server,
            stdin,
            messages,
            stderr,
            requests: 0,
            settings,
            has_settings: false,
            published: BTreeMap::new(),
        };
        let markup = json!(["markdown", "plaintext"]);
        client.answered(
            "initialize",
            json!({
                "processId": std::process::id(),
                "rootUri": null,
                "capabilities": {
                    "workspace": { "configuration": true },
                    "textDocument": {
                        "publishDiagnostics": {},
                        "hover": { "contentFormat": markup },
                        "completion": { "completionItem": { "documentationFormat": markup } },
                    },
                },
            }),
        )?;
        client.tell("initialized", json!({}));
        Ok(client)
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        let answer = self.answered(method, params);
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    fn answered(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let message = self.receive(until, method)?;
            if message.get("method").is_none() && message["id"] == id {
                return match message.get("error") {
                    None => Ok(message["result"].clone()),
                    Some(error) => Err(self.complaint(&format!("answers {method} with {error}"))),
                };
            }
            self.attend(&message)?;
        }
    }

    pub(crate) fn tell(&mut self, method: &str, params: Value) {
        let told = self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
        told.unwrap_or_else(|error| panic!("{error}"));
    }

    pub(crate) fn open(&mut self, address: &str, text: &str) {
        let document = json!({ "uri": address, "languageId": "toml", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// Waits until the server has asked for its settings. One that does so reads no file before it has them.
    pub(crate) fn give_settings(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.has_settings {
            let message = self.receive(until, "the greeting with a question for settings");
            let attended = message.and_then(|message| self.attend(&message));
            attended.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// The last publication for a file, once `complete` says of them that no more will come.
    pub(crate) fn diagnostics(
        &mut self,
        address: &str,
        complete: impl Fn(&[Vec<Value>]) -> bool,
    ) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let all = self.published.get(address).map_or(&[][..], Vec::as_slice);
            if let Some(last) = all.last().filter(|_| complete(all)) {
                return last.clone();
            }
            let message = self.receive(until, &format!("with diagnostics of {address}"));
            let attended = message.and_then(|message| self.attend(&message));
            attended.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Takes a message that answers nothing that was asked.
    fn attend(&mut self, message: &Value) -> Result<(), String> {
        let params = &message["params"];
        let method = message["method"].as_str().unwrap_or_default();
        if method == "textDocument/publishDiagnostics" {
            let address = params["uri"].as_str().unwrap_or_default().to_owned();
            let list = params["diagnostics"].as_array().cloned();
            let all = self.published.entry(address).or_default();
            all.push(list.unwrap_or_default());
        }
        if let (Some(id), false) = (message.get("id"), method.is_empty()) {
            let result = match (method, params["items"].as_array()) {
                ("workspace/configuration", Some(items)) => {
                    self.has_settings = true;
                    items.iter().map(|_| self.settings.clone()).collect()
                }
                _ => Value::Null,
            };
            self.send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))?;
        }
        Ok(())
    }

    fn receive(&mut self, until: Instant, what: &str) -> Result<Value, String> {
        let left = until.saturating_duration_since(Instant::now());
        self.messages
            .recv_timeout(left)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => {
                    let seconds = PATIENCE.as_secs();
                    self.complaint(&format!("does not answer {what} in {seconds} seconds"))
                }
                RecvTimeoutError::Disconnected => self.complaint(&format!("ended before {what}")),
            })
    }

    fn send(&mut self, message: &Value) -> Result<(), String> {
        let body = message.to_string();
        let framed = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let sent = self.stdin.write_all(framed.as_bytes());
        let sent = sent.and_then(|()| self.stdin.flush());
        sent.map_err(|error| self.complaint(&format!("does not listen: {error}")))
    }

    /// What the server does, with what it wrote to stderr.
    fn complaint(&self, what: &str) -> String {
        let bytes = self.stderr.lock().unwrap();
        let stderr = String::from_utf8_lossy(&bytes);
        format!("{} {what}; its stderr:\n{stderr}", self.name)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The next message, or nothing at the end.
fn read(from: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(':') {
            Some((field, value)) if field.eq_ignore_ascii_case("content-length") => {
                length = Some(value.trim().parse().ok()?);
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length?];
    from.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// A file's address, `file:///…`.
pub(crate) fn address(path: &Path) -> String {
    let path = path.to_str().expect("a path in UTF-8").replace('\\', "/");
    let mut address = "file://".to_owned();
    if !path.starts_with('/') {
        address.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                address.push(char::from(byte));
            }
            other => address.push_str(&format!("%{other:02X}")),
        }
    }
    address
}

/// Where the mark `‸` stands in a text, as a server counts (lines and UTF-16 units from 0), and the text without it.
pub(crate) fn marked(text: &str) -> (String, Value) {
    let (before, after) = text.split_once('‸').expect("a mark");
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let character = before[start..].encode_utf16().count();
    (
        format!("{before}{after}"),
        json!({ "line": line, "character": character }),
    )
}
