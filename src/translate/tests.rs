//! What the tests share: a desk with a program of a few lines of shell on it, which notes what it was asked.

mod command;
mod faults;
mod http;
mod kept;

use std::fs;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::*;

/// `take` reads a question into `$id` and `$text` (quoted), and notes it in the file `asked`; `give` answers it with a tilde
/// before the text.
const PRELUDE: &str = r#"
echo $$ >> pids
take() {
    IFS= read -r line || return 1
    printf '%s\n' "$line" >> asked
    id=${line#*:}; id=${id%%,*}
    text=${line#*\"text\":}; text=${text%,\"copy\":*}
}
give() { printf '{"id":%s,"text":"~%s}\n' "$1" "${2#\"}"; }
"#;

/// Answers whatever it is asked.
const ECHO: &str = r#"while take; do give "$id" "$text"; done"#;

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new(program: &str) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk { folder };
        desk.rewrite_program(program);
        desk
    }

    fn rewrite_program(&self, program: &str) {
        let text = format!("{PRELUDE}\n{program}\n");
        fs::write(self.folder.path().join("program.sh"), text).unwrap();
    }

    fn command(&self) -> Command {
        Command {
            program: ["sh", "program.sh"].map(str::to_owned).to_vec(),
            folder: self.folder.path().to_owned(),
            batch: 4,
            timeout: Duration::from_secs(60),
            restarts: 0,
        }
    }

    fn kept(&self) -> Kept {
        Kept::open(&self.folder.path().join("kept"), "a service").unwrap()
    }

    /// Asks with a fresh look at what is kept, as a new process would.
    fn ask(&self, command: Command, texts: &[&str]) -> Result<Vec<String>, TranslateError> {
        let mut go_on = |_| ControlFlow::Continue(());
        let service = Service::Command(command);
        rewrite(&service, &self.kept(), &first_copies(texts), &mut go_on)
    }

    fn lines_of(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The texts that the program was asked for, sorted.
    fn asked(&self) -> Vec<String> {
        let text = |line: String| {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            value["text"].as_str().unwrap().to_owned()
        };
        let mut texts: Vec<_> = self.lines_of("asked").into_iter().map(text).collect();
        texts.sort();
        texts
    }

    fn starts(&self) -> usize {
        self.lines_of("pids").len()
    }

    /// Every process that noted its number is gone.
    fn assert_nothing_runs(&self) {
        let pids = self.lines_of("pids");
        assert!(!pids.is_empty());
        let until = Instant::now() + Duration::from_secs(30);
        for pid in pids {
            while is_running(&pid) {
                assert!(Instant::now() < until, "process {pid} still runs");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Of a process that was killed and whose parent is gone too, an entry may be left.
fn is_running(pid: &str) -> bool {
    let id: libc::pid_t = pid.parse().unwrap();
    // SAFETY: a plain system call, which sends nothing.
    let exists = unsafe { libc::kill(id, 0) } == 0;
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = state.rsplit(')').next().unwrap_or_default().trim_start();
    exists && !state.starts_with(['Z', 'X'])
}

fn first_copies<'a>(texts: &[&'a str]) -> Vec<Asked<'a>> {
    texts.iter().map(|text| Asked { text, copy: 1 }).collect()
}

/// A message with its causes and its help, as a user reads it.
fn told(error: &TranslateError) -> String {
    use miette::Diagnostic;
    let mut text = error.to_string();
    if let Some(help) = error.help() {
        text.push_str(&format!("\nhelp: {help}"));
    }
    text
}
