//! `refit watch`: whatever is saved, and however, it ends in the right state and leaves nothing behind.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::project::Project;

const SPEC: &str = "pipeline.toml";
/// Nobody waits so long unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// A watcher at work; it is ended with its owner.
struct Watching {
    child: Child,
    lines: Receiver<String>,
    heard: String,
}

impl Watching {
    fn start(project: &Project, arguments: &[&str]) -> Watching {
        let mut command = project.command(&["watch", SPEC]);
        command.args(arguments).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Watching {
            child,
            lines,
            heard: String::new(),
        }
    }

    /// Waits for a line with this in it.
    #[track_caller]
    fn hears(&mut self, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Ok(line) = self.lines.recv_timeout(left) else {
                break;
            };
            let _ = writeln!(self.heard, "{line}");
            if line.contains(wanted) {
                return;
            }
        }
        panic!("no line with {wanted:?} in\n{}", self.heard);
    }

    fn idle(&mut self) {
        self.hears("watching for changes");
    }

    /// Ends it as Ctrl-C does; all that it said.
    fn stop(mut self) -> String {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: it is a child of ours that nobody has waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.heard);
            std::thread::sleep(Duration::from_millis(20));
        };
        while let Ok(line) = self.lines.recv() {
            let _ = writeln!(self.heard, "{line}");
        }
        assert_eq!(status.code(), Some(130), "{}", self.heard);
        assert!(!self.heard.contains("panicked"), "{}", self.heard);
        std::mem::take(&mut self.heard)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As editors save: a new file takes the old one's name.
fn replace(project: &Project, name: &str, text: &str) {
    project.write("saved~", text);
    std::fs::rename(project.path("saved~"), project.path(name)).unwrap();
}

fn is_up_to_date(project: &Project) -> bool {
    project.refit(&["plan", SPEC]).code == Some(0)
}

fn drafts(project: &Project) -> usize {
    let drafts = std::fs::read_dir(project.path(".refit/drafts")).unwrap();
    let folders = drafts.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    folders.count()
}

#[test]
fn a_save_reruns_what_it_changes_after_the_plan_was_shown() {
    let project = Project::tiny();
    let mut watching = Watching::start(&project, &[]);
    watching.idle();
    assert!(is_up_to_date(&project));
    project.write(
        "data/test.csv",
        "text,label\nnew words,good\nother words,bad\n",
    );
    watching.hears("because");
    watching.idle();
    assert!(is_up_to_date(&project));
    let text = project.read(SPEC);
    replace(&project, SPEC, &format!("{text}\n# a remark\n"));
    watching.hears("up to date");
    watching.idle();
    replace(&project, SPEC, "version = 1\n[load.data]\ntrain = 3\n");
    watching.hears("1 problem");
    watching.idle();
    replace(&project, SPEC, &text);
    watching.hears("up to date");
    watching.idle();
    watching.stop();
    assert_eq!(drafts(&project), 0);
}

#[test]
fn a_stage_whose_key_went_stale_is_stopped_and_another_change_is_not_heeded() {
    let project = Project::tiny();
    let long = project.read(SPEC).replace("epochs = 2", "epochs = 20000");
    assert!(long.contains("20000"));
    project.write(SPEC, &long);
    let mut watching = Watching::start(&project, &[]);
    watching.hears("run  classifier");
    project.write("note.txt", "nothing that it reads");
    replace(&project, SPEC, &format!("{long}\n# a remark\n"));
    replace(&project, SPEC, "version = ");
    watching.hears("1 problem");
    replace(
        &project,
        SPEC,
        &long.replace("epochs = 20000", "epochs = 1"),
    );
    watching.hears("classifier is out of date: stopping it");
    watching.idle();
    let said = watching.stop();
    assert_eq!(said.matches("is out of date").count(), 1, "{said}");
    assert!(is_up_to_date(&project));
    assert_eq!(drafts(&project), 0);
}

#[test]
fn a_deleted_folder_is_waited_for() {
    let project = Project::tiny();
    let mut watching = Watching::start(&project, &[]);
    watching.idle();
    std::fs::rename(project.path("data"), project.path("gone")).unwrap();
    watching.hears("problem");
    watching.idle();
    std::fs::rename(project.path("gone"), project.path("data")).unwrap();
    watching.hears("up to date");
    watching.idle();
    std::fs::remove_file(project.path(SPEC)).unwrap();
    watching.hears("cannot read the spec");
    watching.stop();
}

#[test]
fn a_spec_that_is_not_there_is_an_error_and_ctrl_c_stops_a_run() {
    let project = Project::tiny();
    let said = project.refit(&["watch", "no.toml"]).exits(2);
    assert!(
        said.stderr.contains("cannot read the spec no.toml"),
        "{}",
        said.stderr
    );
    project.replace(SPEC, "epochs = 2", "epochs = 20000");
    let mut watching = Watching::start(&project, &[]);
    watching.hears("run  classifier");
    watching.stop();
    assert_eq!(drafts(&project), 0);
}

#[test]
fn the_base_of_a_spec_is_watched_too() {
    let project = Project::tiny();
    let base = project.read(SPEC);
    project.write("base/base.toml", &base);
    project.write(SPEC, "version = 1\nextends = \"base/base.toml\"\n");
    let mut watching = Watching::start(&project, &["data"]);
    watching.idle();
    let text = base.replace("[load.data]", "[load.data]\nseed = 99");
    replace(&project, "base/base.toml", &text);
    watching.hears("because");
    watching.idle();
    watching.stop();
    let explained = project.refit(&["plan", SPEC, "data"]).success();
    assert!(explained.stdout.contains("fresh"), "{}", explained.stdout);
}

#[test]
fn two_hundred_saves_at_any_moment_end_in_the_right_state() {
    let project = Project::tiny();
    let text = project.read(SPEC);
    let mut watching = Watching::start(&project, &[]);
    // The same on every machine, the moments are not.
    let mut state = 88172645463325252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut seed = 100;
    for _ in 0..200 {
        match random() % 8 {
            0 => project.write(SPEC, "version = 1\n[train.classifier]\nepochs = \"many\"\n"),
            1 => replace(&project, SPEC, "[[["),
            2 => std::fs::remove_file(project.path(SPEC)).unwrap_or_default(),
            3 => replace(
                &project,
                "data/test.csv",
                &format!("text,label\nrow {seed},good\nother,bad\n"),
            ),
            _ => {
                seed += 1;
                let text = text.replacen("seed = 5", &format!("seed = {seed}"), 1);
                match random() % 2 {
                    0 => project.write(SPEC, &text),
                    _ => replace(&project, SPEC, &text),
                }
            }
        }
        std::thread::sleep(Duration::from_millis(random() % 60));
    }
    replace(&project, SPEC, &text);
    let until = Instant::now() + PATIENCE;
    while !is_up_to_date(&project) {
        assert!(Instant::now() < until, "{}", watching.stop());
        std::thread::sleep(Duration::from_millis(200));
    }
    let pid = watching.child.id();
    let wanted = {
        let other = Project::tiny();
        other.write("data/test.csv", &project.read("data/test.csv"));
        crate::project::digests(&other.run(&[SPEC]))
    };
    watching.idle();
    watching.stop();
    assert_eq!(crate::project::digests(&project.run(&[SPEC])), wanted);
    assert_eq!(drafts(&project), 0);
    project.refit(&["cache", "verify"]).success();
    assert!(children_of(pid).is_empty());
}

/// Processes that were begun by this one and are still there.
fn children_of(pid: u32) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parent = format!("PPid:\t{pid}\n");
    let status = processes.flatten().filter_map(|process| {
        let status = std::fs::read_to_string(process.path().join("status")).ok()?;
        status.contains(&parent).then_some(status)
    });
    status.collect()
}
