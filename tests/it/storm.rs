//! A whole pipeline, killed again and again at random moments: the run that is left alone in the end is right, and nothing
//! half-written lies about.
//!
//! `REFIT_KILLS` says how often it is killed, `REFIT_SEED` which moments are drawn. Half of them are drawn from the time that a
//! run takes, half are the moments right after something was made or written in the store or beside the export.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::project::{Project, assets, digests, skipped};

const SPEC: &str = "pipeline.toml";
/// Kills where none are asked for.
const FEW: usize = 15;

/// Every kind of stage, over the messages of the SMS Spam Collection (or the toy rows where that is not at hand).
fn project() -> Project {
    let project = Project::tiny();
    project.replace(SPEC, "epochs = 2", "max_steps = 60");
    project.replace(
        SPEC,
        "[load.data]",
        "[run]\ncheckpoint = { every_steps = 3, keep = 2 }\n\n[load.data]",
    );
    if let Some(assets) = assets("the storm over real messages") {
        let messages = std::fs::read(assets.join("data/sms_spam/SMSSpamCollection.tsv")).unwrap();
        let messages = String::from_utf8(messages).unwrap();
        let some: Vec<&str> = messages.lines().take(600).collect();
        project.write("data/messages.tsv", &some.join("\n"));
        project.replace(
            SPEC,
            "train = \"data/train.csv\"\ntest = \"data/test.csv\"\nsplit = { validation = 0.2, stratify = true }",
            "train = \"data/messages.tsv\"\nquote = \"\"\nheader = false\ncolumns = { label = 0, text = 1 }\n\
             split = { validation = 0.2, test = 0.2, stratify = true }",
        );
    }
    project
}

/// Every file below a folder that has a name such as only unfinished or unowned things have, and every lock but the store's.
pub(crate) fn strays(project: &Project) -> Vec<PathBuf> {
    let unfinished = |name: &str| {
        [".writing-", "writing-", ".refit-", "discarded-", ".tmp"]
            .iter()
            .any(|beginning| name.starts_with(beginning) && name != ".refit.json")
            || name.ends_with(".lock")
    };
    let mut found: Vec<PathBuf> = names(&project.path(".refit/drafts"));
    found.extend(names(&project.path(".refit/checkpoints")));
    let mut pending = vec![project.path(".")];
    while let Some(folder) = pending.pop() {
        for path in names(&folder) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                pending.push(path.clone());
            }
            if unfinished(&name) {
                found.push(path);
            }
        }
    }
    found
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Name → content of every file that was placed.
pub(crate) fn placed(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let files = names(&project.path("dist"));
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// What a killed run had begun, by what it left.
fn unfinished(project: &Project) -> Vec<&'static str> {
    let begins = |folder: &str, with: &str| {
        let names = names(&project.path(folder)).into_iter();
        names
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .any(|name| name.starts_with(with) && !name.ends_with(".lock"))
    };
    let inside = |folder: &str, with: &str| {
        let folders = names(&project.path(folder)).into_iter();
        folders.flat_map(|folder| names(&folder)).any(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(with)
        })
    };
    [
        ("an artifact", begins(".refit/drafts", "")),
        ("a record", begins(".refit/keys", ".writing-")),
        ("a run's record", begins(".refit/runs", ".writing-")),
        ("a checkpoint", inside(".refit/checkpoints", "writing-")),
        ("a placement", begins(".", ".refit-placing-")),
        ("the training", inside(".refit/checkpoints", "step-")),
    ]
    .into_iter()
    .filter_map(|(what, is)| is.then_some(what))
    .collect()
}

/// When a run is killed.
enum Moment {
    After(Duration),
    /// After so many changes in the store.
    Change(usize),
}

fn start(project: &Project) -> Child {
    project
        .command(&["run", SPEC, "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// A process of a group that has not ended. One that has ended and that nobody asks after is none.
#[cfg(target_os = "linux")]
fn living(group: i32) -> Option<String> {
    names(Path::new("/proc")).into_iter().find_map(|folder| {
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        // The name, in parentheses, may hold anything: what follows it begins after the last one.
        let (process, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let (state, its) = (fields.next()?, fields.nth(1)?);
        let lives = !matches!(state, "Z" | "X") && its == group.to_string();
        lives.then(|| format!("{process})"))
    })
}

#[cfg(not(target_os = "linux"))]
fn living(group: i32) -> Option<String> {
    // SAFETY: signal 0 only asks whether there is anybody.
    let lives = unsafe { libc::kill(-group, 0) } == 0;
    lives.then(|| format!("one of the group {group}"))
}

/// Whether the run was killed before it ended.
fn killed(project: &Project, moment: &Moment, changes: &Receiver<()>) -> bool {
    while changes.try_recv().is_ok() {}
    let mut child = start(project);
    let group = i32::try_from(child.id()).unwrap();
    let began = Instant::now();
    let mut seen = 0;
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(120), "it never ends");
        let ripe = match moment {
            Moment::After(time) => {
                std::thread::sleep(
                    time.saturating_sub(began.elapsed())
                        .min(Duration::from_millis(20)),
                );
                began.elapsed() >= *time
            }
            Moment::Change(number) => {
                seen += usize::from(changes.recv_timeout(Duration::from_millis(20)).is_ok());
                seen >= *number
            }
        };
        if ripe {
            child.kill().unwrap();
            break;
        }
    }
    let status = child.wait().unwrap();
    // `git`, which a run asks for its commit, may be at it for a moment longer.
    let waited = Instant::now();
    while let Some(left) = living(group) {
        assert!(
            waited.elapsed() < Duration::from_secs(20),
            "a process of the killed run lives on: {left}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(
        status.code().is_none_or(|code| code == 0),
        "a run that was not killed failed: {status}"
    );
    status.code().is_none()
}

/// Tells of every change below the project. The system may have no more watches to give.
fn watch(project: &Project) -> notify::Result<(notify::RecommendedWatcher, Receiver<()>)> {
    let (sender, changes) = channel();
    let tell = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = sender.send(());
        }
    };
    let mut watcher = notify::recommended_watcher(tell)?;
    watcher.watch(&project.path("."), RecursiveMode::Recursive)?;
    Ok((watcher, changes))
}

#[test]
fn a_pipeline_killed_again_and_again_ends_as_one_that_was_not() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills = number("REFIT_KILLS").map_or(FEW, |kills: u64| kills.try_into().unwrap());
    let seed = number("REFIT_SEED").unwrap_or_else(|| {
        let time = std::time::UNIX_EPOCH.elapsed().unwrap();
        time.as_secs()
    });
    println!("REFIT_SEED={seed} REFIT_KILLS={kills}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);

    let whole = project();
    let began = Instant::now();
    let wanted = digests(&whole.run(&[SPEC]));
    let length = began.elapsed();
    let wanted_files = placed(&whole);
    assert!(!wanted_files.is_empty());

    let mut done = 0;
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rounds = 0;
    while done < kills {
        // A store that is finished cannot be disturbed any more: the next kills have a new one.
        let project = project();
        rounds += 1;
        let (_watcher, changes) = match watch(&project) {
            Ok(watched) => watched,
            Err(error) => {
                skipped::<()>(&format!("a storm needs a watch over a folder: {error}"));
                return;
            }
        };
        while done < kills {
            let moment = match random.random_bool(0.5) {
                true => Moment::After(length.mul_f64(random.random_range(0.0..0.7))),
                false => Moment::Change(random.random_range(1..200)),
            };
            if !killed(&project, &moment, &changes) {
                break;
            }
            done += 1;
            for what in unfinished(&project) {
                *left.entry(what).or_default() += 1;
            }
        }
        let run = project.run(&[SPEC]);
        assert_eq!(digests(&run), wanted, "seed {seed}");
        assert!(placed(&project) == wanted_files, "seed {seed}: other files");
        assert_eq!(strays(&project), Vec::<PathBuf>::new(), "seed {seed}");
        project.refit(&["cache", "verify"]).success();
        // What is right is also known to be.
        assert!(project.built(&[SPEC]).is_empty(), "seed {seed}");
    }
    println!("{done} kills in {rounds} stores; what was unfinished then: {left:?}");
    assert!(left.contains_key("an artifact"), "seed {seed}: {left:?}");
}

#[test]
fn what_a_killed_placing_left_is_deleted_and_nothing_of_a_living_one() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.write(".refit-placing-dead/old/dist/model.safetensors", "old");
    project.write(".refit-placing-live/new/model.safetensors", "new");
    let live = std::fs::File::open(project.path(".refit-placing-live")).unwrap();
    live.try_lock().unwrap();
    project.run(&[SPEC]);
    assert!(!project.path(".refit-placing-dead").exists());
    assert!(
        project
            .path(".refit-placing-live/new/model.safetensors")
            .exists()
    );
    drop(live);
    project.run(&[SPEC]);
    assert_eq!(strays(&project), Vec::<PathBuf>::new());
}

#[test]
fn what_a_killed_placing_took_away_is_put_back() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let before = placed(&project);
    std::fs::create_dir_all(project.path(".refit-placing-dead/old")).unwrap();
    std::fs::rename(
        project.path("dist"),
        project.path(".refit-placing-dead/old/dist"),
    )
    .unwrap();
    // A run that places nothing.
    project.run(&[SPEC, "data"]);
    assert!(!project.path(".refit-placing-dead").exists());
    assert!(placed(&project) == before);
    // It may be replaced as if nothing had happened.
    project.replace(SPEC, "epochs = 2", "epochs = 3");
    project.run(&[SPEC]);
    assert!(placed(&project) != before);
    assert_eq!(strays(&project), Vec::<PathBuf>::new());
}
