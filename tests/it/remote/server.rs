//! moto's S3 server behind a relay that counts, fails and holds up. One request is answered at a time, as one that keeps its
//! word about conditions would answer them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::project::{Project, Said, skipped};

pub(super) const SECRET: &str = "sesame-sesame-open-thyself";

/// How a request fails.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// The server has trouble.
    Error,
    /// The line is cut before an answer.
    Reset,
    /// The answer ends in the middle.
    Cut,
    /// No upload has this name: as S3 says it, for which moto says that it is at fault itself.
    NoUpload,
}

#[derive(Default)]
struct State {
    /// The heads of the requests.
    asked: Vec<String>,
    failed: usize,
    every: Option<(usize, Vec<Fault>)>,
    after: Option<usize>,
    seen: usize,
    /// So many parts are taken, the next ones wait.
    parts: Option<usize>,
    held: bool,
    /// The upload that nothing is known of.
    forgotten: Option<String>,
}

struct Relay {
    state: Mutex<State>,
    changed: Condvar,
    to: String,
    one_by_one: Mutex<()>,
}

/// A server of its own, which ends with it.
pub(super) struct Server {
    child: Child,
    endpoint: String,
    relay: Arc<Relay>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(super) fn start() -> Option<Server> {
        let started = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            return skipped(
                "shared stores need moto_server: `pip install 'moto[server]'`, and its folder on the path",
            );
        };
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let to = loop {
            let line = lines.next().unwrap_or_else(|| panic!("{seen}")).unwrap();
            if let Some((_, address)) = line.split_once("Running on http://") {
                break address.trim().to_owned();
            }
            seen.push_str(&line);
        };
        std::thread::spawn(move || lines.for_each(drop));
        let relay = Arc::new(Relay {
            state: Mutex::default(),
            changed: Condvar::new(),
            to,
            one_by_one: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let passes = Arc::clone(&relay);
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let relay = Arc::clone(&passes);
                std::thread::spawn(move || relay.pass_on(from));
            }
        });
        let server = Server {
            child,
            endpoint,
            relay,
        };
        let made = server.direct("PUT", "/bucket");
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        Some(server)
    }

    /// A request to the server itself.
    fn direct(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.relay.to).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host, Signature=x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.relay.to
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// What lies below a folder of a bucket.
    pub(super) fn names(&self, bucket: &str, below: &str) -> Vec<String> {
        let answer = self.direct("GET", &format!("/{bucket}?list-type=2&prefix={below}"));
        let keys = answer.split("<Key>").skip(1);
        keys.filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()))
            .collect()
    }

    pub(super) fn command(&self, project: &Project, arguments: &[&str]) -> Command {
        let mut command = online(project, arguments);
        credentials(&mut command).env("AWS_ENDPOINT_URL", &self.endpoint);
        command
    }

    pub(super) fn refit(&self, project: &Project, arguments: &[&str]) -> Said {
        self.command(project, arguments).output().unwrap().into()
    }

    /// The first lines of the requests that hold all of this.
    pub(super) fn heads(&self, parts: &[&str]) -> Vec<String> {
        let state = self.relay.state.lock().unwrap();
        let of = |head: &&String| parts.iter().all(|part| head.contains(part));
        state.asked.iter().filter(of).cloned().collect()
    }

    pub(super) fn asked(&self, parts: &[&str]) -> usize {
        self.heads(parts).len()
    }

    pub(super) fn forget(&self) {
        self.relay.state.lock().unwrap().asked.clear();
    }

    pub(super) fn failed(&self) -> usize {
        self.relay.state.lock().unwrap().failed
    }

    /// Of so many requests one fails, in each of these ways in turn.
    pub(super) fn fail_every(&self, count: usize, faults: &[Fault]) {
        self.relay.state.lock().unwrap().every = Some((count, faults.to_vec()));
    }

    /// All requests fail after so many.
    pub(super) fn fail_after(&self, count: usize) {
        self.relay.state.lock().unwrap().after = Some(count);
    }

    /// So many parts of large files are taken; the next ones have no answer.
    pub(super) fn hold_parts_after(&self, count: usize) {
        self.relay.state.lock().unwrap().parts = Some(count);
    }

    /// Nothing is known of an upload any more.
    pub(super) fn forget_upload(&self, at: &str, id: &str) {
        self.direct("DELETE", &format!("/bucket/{at}?uploadId={id}"));
        self.relay.state.lock().unwrap().forgotten = Some(id.to_owned());
    }

    /// Waits until a part has no answer.
    pub(super) fn until_held(&self) {
        let state = self.relay.state.lock().unwrap();
        let limit = Duration::from_secs(120);
        let held = self
            .relay
            .changed
            .wait_timeout_while(state, limit, |state| !state.held);
        assert!(held.unwrap().0.held, "no part was held");
    }

    /// It works as it should again.
    pub(super) fn recover(&self) {
        let mut state = self.relay.state.lock().unwrap();
        *state = State {
            asked: std::mem::take(&mut state.asked),
            ..State::default()
        };
        self.relay.changed.notify_all();
    }
}

impl Relay {
    /// One request and its answer; moto closes after each.
    fn pass_on(&self, mut from: TcpStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match from.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        if from.read_exact(&mut body).is_err() {
            return;
        }
        let Some(fault) = self.fault(text) else {
            return;
        };
        if let Some(Fault::Error) = fault {
            let _ = from.write_all(
                b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
            return;
        }
        if let Some(Fault::Reset) = fault {
            return;
        }
        if let Some(Fault::NoUpload) = fault {
            let text = "<Error><Code>NoSuchUpload</Code><Message>The specified upload does not exist.</Message></Error>";
            let length = text.len();
            let answer = format!(
                "HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            );
            let _ = from.write_all(answer.as_bytes());
            return;
        }
        let mut answer = Vec::new();
        {
            let _turn = self.one_by_one.lock();
            let Ok(mut server) = TcpStream::connect(&self.to) else {
                return;
            };
            if server
                .write_all(&head)
                .and_then(|()| server.write_all(&body))
                .is_err()
            {
                return;
            }
            let _ = server.read_to_end(&mut answer);
        }
        let begins = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let begins = begins.map_or(answer.len(), |at| at + 4);
        let end = match fault {
            Some(Fault::Cut) => begins + (answer.len() - begins) / 2,
            _ => answer.len(),
        };
        let _ = from.write_all(&answer[..end]);
    }

    /// What becomes of a request: none when it has no answer at all.
    fn fault(&self, head: String) -> Option<Option<Fault>> {
        let mut state = self.state.lock().unwrap();
        let first = head.lines().next().unwrap_or_default().to_owned();
        let is_part = first.starts_with("PUT") && first.contains("partNumber=");
        let of_forgotten = |id: &String| first.contains(&format!("uploadId={id}"));
        let is_forgotten = state.forgotten.as_ref().is_some_and(of_forgotten);
        state.asked.push(first);
        state.seen += 1;
        if is_forgotten {
            return Some(Some(Fault::NoUpload));
        }
        if is_part && let Some(left) = state.parts {
            match left.checked_sub(1) {
                Some(left) => state.parts = Some(left),
                None => {
                    state.held = true;
                    self.changed.notify_all();
                    let held = self.changed.wait_while(state, |state| state.held);
                    drop(held);
                    return None;
                }
            }
            return Some(None);
        }
        let mut fault = None;
        if let Some((every, faults)) = &state.every
            && state.seen.is_multiple_of(*every)
        {
            fault = Some(faults[(state.seen / every) % faults.len()]);
        }
        if state.after.is_some_and(|after| state.seen > after) {
            fault = Some(Fault::Error);
        }
        state.failed += usize::from(fault.is_some());
        Some(fault)
    }
}

/// The command without anything of this machine's own access to stores.
pub(super) fn online(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let of_stores = ["AWS_", "GOOGLE_", "AZURE_"];
        if of_stores.iter().any(|start| name_text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command.env("HOME", project.path(".home"));
    command
}

pub(super) fn credentials(command: &mut Command) -> &mut Command {
    command
        .env("AWS_ACCESS_KEY_ID", "testing-testing")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_DEFAULT_REGION", "us-east-1")
}
