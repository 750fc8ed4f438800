//! A small editor: starts `refit lsp`, speaks to it over its pipes, and waits for what it says.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::project::Project;

/// Long enough for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Client {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    next: i64,
    /// What came while something else was waited for.
    kept: Vec<Value>,
}

impl Client {
    pub(super) fn silent(project: &Project) -> Client {
        let mut child = project
            .command(&["lsp"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, from) = channel();
        std::thread::spawn(move || {
            while let Some(message) = receive(&mut out) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Client {
            to: child.stdin.take(),
            child,
            from,
            next: 0,
            kept: Vec::new(),
        }
    }

    /// After its greeting; with these encodings of columns on offer.
    pub(super) fn greeted(project: &Project, encodings: &[&str]) -> Client {
        let mut client = Client::silent(project);
        let capabilities = json!({ "general": { "positionEncodings": encodings } });
        let told = client.ask(
            "initialize",
            json!({ "processId": null, "rootUri": null, "capabilities": capabilities }),
        );
        let agreed = &told["result"]["capabilities"]["positionEncoding"];
        let utf8 = encodings.contains(&"utf-8");
        assert_eq!(agreed, if utf8 { "utf-8" } else { "utf-16" }, "{told}");
        client.tell("initialized", json!({}));
        client
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        let to = self.to.as_mut().expect("it is open");
        to.write_all(bytes)
            .and_then(|()| to.flush())
            .expect("the server listens");
    }

    pub(super) fn send(&mut self, message: &Value) {
        let body = message.to_string();
        self.write(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    pub(super) fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// The whole answer.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        self.wait(|message| message["id"] == id)
    }

    /// The result, where there must be one.
    pub(super) fn result(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The next message of this kind.
    pub(super) fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at);
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.from.recv_timeout(left).expect("the server answers");
            if wanted(&message) {
                return message;
            }
            self.kept.push(message);
        }
    }

    pub(super) fn open(&mut self, uri: &str, version: i64, text: &str) {
        self.tell(
            "textDocument/didOpen",
            json!({ "textDocument": { "uri": uri, "languageId": "toml", "version": version, "text": text } }),
        );
    }

    pub(super) fn change(&mut self, uri: &str, version: i64, text: &str) {
        self.tell(
            "textDocument/didChange",
            json!({
                "textDocument": { "uri": uri, "version": version },
                "contentChanges": [{ "text": text }],
            }),
        );
    }

    /// The problems that are told of this version.
    pub(super) fn problems(&mut self, uri: &str, version: i64) -> Vec<Value> {
        let told = self.wait(|message| {
            message["method"] == "textDocument/publishDiagnostics"
                && message["params"]["uri"] == uri
                && message["params"]["version"] == version
        });
        told["params"]["diagnostics"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// Says good-bye; the exit code.
    pub(super) fn leave(mut self) -> Option<i32> {
        self.result("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        self.code()
    }

    /// The exit code, once it has ended.
    pub(super) fn code(mut self) -> Option<i32> {
        let code = self.child.wait().expect("it ends").code();
        self.to = None;
        code
    }

    /// Closes the pipe; the exit code.
    pub(super) fn hang_up(mut self) -> Option<i32> {
        self.to = None;
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message; anything else on the pipe is a failure.
fn receive(pipe: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if pipe.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let stated = line.strip_prefix("Content-Length: ");
        let stated = stated.unwrap_or_else(|| panic!("stdout holds {line:?}"));
        length = stated.trim().parse().ok();
    }
    let mut body = vec![0; length?];
    pipe.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// The address of a file.
pub(super) fn address(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Where the mark `|` stands in a text, and the text without it.
pub(super) fn marked(text: &str) -> (String, Value) {
    let at = text.find('|').expect("a mark");
    let before = &text[..at];
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let character = before[start..].encode_utf16().count();
    (
        text.replacen('|', "", 1),
        json!({ "line": line, "character": character }),
    )
}
