//! A browser without a window, driven by its DevTools protocol over a pipe: commands and events are JSON, each ended by a
//! zero byte.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::project::skipped;

/// The browser of this machine. Says so, loudly, when there is none.
fn program() -> Option<PathBuf> {
    if let Some(browser) = std::env::var_os("REFIT_TEST_BROWSER") {
        return Some(browser.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|program| program.is_file());
    if found.is_none() && std::env::var_os("REFIT_TEST_NO_BROWSER").is_some() {
        let _ = writeln!(
            std::io::stderr(),
            "\n*** SKIPPED: no browser can be had here (REFIT_TEST_NO_BROWSER) ***\n"
        );
        return None;
    }
    found.or_else(|| {
        skipped("the page needs a browser: install chromium, or set REFIT_TEST_BROWSER")
    })
}

/// The rules of axe-core (npm), by the file that `REFIT_TEST_AXE` names. Says so, loudly, when there is none.
fn axe() -> Option<String> {
    if let Some(file) = std::env::var_os("REFIT_TEST_AXE") {
        let read = std::fs::read_to_string(&file);
        return Some(read.unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
    if std::env::var_os("REFIT_TEST_NO_AXE").is_some() {
        let _ = writeln!(
            std::io::stderr(),
            "\n*** SKIPPED: axe-core cannot be had here (REFIT_TEST_NO_AXE) ***\n"
        );
        return None;
    }
    skipped(
        "access is checked by axe-core: `npm install axe-core`, and its axe.min.js as REFIT_TEST_AXE",
    )
}

/// One page in one browser, which ends with it.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    sent: u64,
    /// What the console said, exceptions included.
    pub(crate) console: Vec<Value>,
    /// The addresses that were asked for.
    pub(crate) asked: Vec<String>,
    loaded: bool,
    folder: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.send("Browser.close", json!({}));
        let _ = self.child.wait();
    }
}

impl Browser {
    /// Opens the page as a file, as a reader would, in light or dark. `None` where there is no browser.
    pub(crate) fn open(html: &str, scheme: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let page = folder.path().join("page.html");
        std::fs::write(&page, html).expect("a page");
        let address = format!("file://{}", page.display());
        Browser::start(folder, &address, scheme)
    }

    /// Opens what a server gives, in light or dark. `None` where there is no browser.
    pub(crate) fn at(address: &str, scheme: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Browser::start(folder, address, scheme)
    }

    fn start(folder: TempDir, address: &str, scheme: &str) -> Option<Self> {
        let program = program()?;
        // The pipe is read from descriptor 3 and written to 4.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
            ])
            .arg(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run"])
            .args(["--remote-debugging-pipe", "--window-size=1280,1600"])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("profile").display()
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts the browser");
        let mut browser = Browser {
            to: child.stdin.take().expect("a pipe"),
            from: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
            session: None,
            sent: 0,
            console: Vec::new(),
            asked: Vec::new(),
            loaded: false,
            folder,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let session = browser.call(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
        browser.call("Page.navigate", json!({ "url": address }));
        while !browser.loaded {
            browser.receive();
        }
        browser.evaluate("await frame()");
        Some(browser)
    }

    /// Runs the body of an asynchronous function, which knows `reader.js`; its result comes back.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, body: &str) -> Value {
        let reader = include_str!("reader.js");
        let expression = format!("(async () => {{ {reader}\n{body} }})()");
        let done = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true }),
        );
        assert_eq!(done["exceptionDetails"], Value::Null, "{body}");
        done["result"]["value"].clone()
    }

    /// What axe-core finds wrong with what is shown: rule, what it says, and the elements. `None` where it cannot be had.
    pub(super) fn barriers(&mut self) -> Option<Value> {
        let rules = axe()?;
        self.call("Runtime.evaluate", json!({ "expression": rules }));
        Some(self.evaluate(
            "const { violations } = await axe.run(document, { resultTypes: ['violations'] });
            return violations.map((one) => [one.id, one.help, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))]);",
        ))
    }

    /// Shows the page so wide and so high.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// Shows the page as on paper or on a screen again, in light or dark.
    pub(crate) fn show_as(&mut self, media: &str, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "media": media, "features": features }),
        );
    }

    /// The mouse moves along these points, pressed from the first to the last.
    pub(crate) fn drag(&mut self, points: &[(f64, f64)]) {
        let kinds = std::iter::once("mousePressed").chain(std::iter::repeat("mouseMoved"));
        for (kind, (x, y)) in kinds.zip(points) {
            self.mouse(kind, *x, *y, 1);
        }
        if let Some((x, y)) = points.last() {
            self.mouse("mouseReleased", *x, *y, 0);
        }
    }

    pub(crate) fn mouse(&mut self, kind: &str, x: f64, y: f64, buttons: u8) {
        let button = if kind == "mouseMoved" && buttons == 0 {
            "none"
        } else {
            "left"
        };
        self.call(
            "Input.dispatchMouseEvent",
            json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 }),
        );
    }

    /// A key goes down and up.
    pub(crate) fn press(&mut self, key: &str) {
        let text = if key == "Enter" { "\r" } else { "" };
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text }),
            );
        }
    }

    fn send(&mut self, method: &str, params: Value) -> std::io::Result<()> {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes)?;
        self.to.flush()
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(method, params).expect("the browser listens");
        loop {
            let message = self.receive();
            if message["id"] == self.sent {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
        }
    }

    /// The next message; events are noted.
    #[track_caller]
    fn receive(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).expect("a pipe");
        assert_eq!(bytes.pop(), Some(0), "the browser ended");
        let message: Value = serde_json::from_slice(&bytes).expect("JSON");
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded" => {
                self.console.push(params.clone());
            }
            "Network.requestWillBeSent" => {
                let address = params["request"]["url"].as_str().unwrap_or_default();
                self.asked.push(address.to_owned());
            }
            "Page.loadEventFired" => self.loaded = true,
            _ => {}
        }
        message
    }

    /// The address of the page itself.
    pub(crate) fn address(&self) -> String {
        format!("file://{}", self.folder.path().join("page.html").display())
    }

    /// Lets what is under way be said.
    pub(crate) fn settle(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.evaluate("await frame()");
    }
}
