//! A disk that fails at any write, a store that cannot be written or locked, and a clock that jumps: an error that says where
//! and why, or the right result; never half of one taken for the whole.
//!
//! A shim (`faults/shim.c`, whose head says what it can do) stands between the program and the C library. It needs Linux and a C
//! compiler, which building refit needs too. `REFIT_FAULTS` says at how many of the writes of a small pipeline the disk fails
//! (`all`: at each), `REFIT_SEED` which are drawn. Threads write in no fixed order, so a number is not always the same write.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::project::{Project, Said, digests, skipped};
use crate::storm::{placed, strays};

const SPEC: &str = "pipeline.toml";
/// Writes that fail where no number is asked for.
const FEW: usize = 24;
/// Runs at once.
const TOGETHER: usize = 2;

/// The compiled shim.
fn shim() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !cfg!(target_os = "linux") {
            return skipped("failing disks need Linux");
        }
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faults/shim.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let draft = folder.join(format!("shim-{}.so", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o"])
            .arg(&draft)
            .args([source, "-ldl"])
            .output();
        match compiled {
            Err(error) => skipped(&format!("failing disks need a C compiler: {error}")),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success() && said.is_empty(), "{said}");
                let shim = folder.join("shim.so");
                std::fs::rename(draft, &shim).unwrap();
                Some(shim)
            }
        }
    });
    built.as_deref()
}

/// What the shim did.
#[derive(Debug)]
struct Report {
    /// Calls that could have failed.
    total: usize,
    /// The call and the path of each that did.
    failed: Vec<(String, PathBuf)>,
}

/// Runs the program behind the shim, which fails below `under`.
fn run(
    project: &Project,
    shim: &Path,
    arguments: &[&str],
    under: &str,
    settings: &[(&str, String)],
) -> (Said, Report) {
    let at = project.path("report");
    let _ = std::fs::remove_file(&at);
    let mut command = project.command(arguments);
    command
        .env("LD_PRELOAD", shim)
        .env("FAULT_UNDER", project.path(under).canonicalize().unwrap())
        .env("FAULT_REPORT", &at);
    for (name, value) in settings {
        command.env(name, value);
    }
    let said = Said::from(command.output().unwrap());
    let told = std::fs::read_to_string(&at).unwrap_or_default();
    // The programs that it starts are behind the shim as well.
    let totals = told
        .lines()
        .filter_map(|line| line.strip_prefix("total ")?.parse().ok());
    let total: usize = totals
        .max()
        .unwrap_or_else(|| panic!("the shim was not heard: {said:?}"));
    let failed = told.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ' ');
        parts.next()?.parse::<usize>().ok()?;
        Some((parts.next()?.to_owned(), parts.next()?.into()))
    });
    let report = Report {
        total,
        failed: failed.collect(),
    };
    (said, report)
}

/// Every kind of stage, and checkpoints. One row in a message's line: what is written is small, so that the writes are few.
fn project() -> Project {
    let project = Project::tiny();
    project.replace(
        SPEC,
        "[load.data]",
        "[run]\ncheckpoint = { every_steps = 6 }\n\n[load.data]",
    );
    project
}

/// How a disk fails.
#[derive(Debug, Clone, Copy)]
struct Fault {
    at: usize,
    stays: bool,
    code: i32,
}

impl Fault {
    fn settings(self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("FAULT_AT", self.at.to_string()),
            ("FAULT_CODE", self.code.to_string()),
        ];
        if self.stays {
            settings.push(("FAULT_ON", "1".to_owned()));
        }
        settings
    }
}

/// A text without what a terminal's frame puts between its letters.
fn bare(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_whitespace() && !"│╰╭─▶×".contains(*letter))
        .collect()
}

/// Whether what was said names the place of a failed call, or a folder that it is in, and the cause.
fn is_clear(said: &str, project: &Project, failed: &[(String, PathBuf)], cause: &str) -> bool {
    let said = bare(said);
    let root = project.path(".").canonicalize().unwrap();
    let named = failed.iter().any(|(_, path)| {
        // What is placed is put together in a folder beside its place, and the folder of both brought onto the disk: the
        // place is what a user knows.
        let beside = |name: &OsStr| name.to_string_lossy().starts_with(".refit-placing-");
        let place = bare(&root.join("dist").display().to_string());
        if (*path == root || path.iter().any(beside)) && said.contains(&place) {
            return true;
        }
        let inside = path.ancestors().take_while(|above| **above != *root);
        inside
            .filter_map(|above| above.strip_prefix(&root).ok())
            .any(|above| said.contains(&bare(&above.display().to_string())))
    });
    named && said.contains(&bare(cause))
}

/// One failing disk: the run says clearly what happened or is right, and the next run on a sound disk is right.
fn endure(shim: &Path, fault: Fault, wanted: &Wanted) {
    let project = project();
    let (said, report) = run(
        &project,
        shim,
        &["run", SPEC, "--json"],
        ".",
        &fault.settings(),
    );
    let context = || format!("{fault:?}, {:?}:\n{}", report.failed, said.stderr);
    let cause = std::io::Error::from_raw_os_error(fault.code).to_string();
    let cause = cause.split(" (os error").next().unwrap();
    for never in ["panicked", "fault of refit itself", "backtrace"] {
        assert!(!said.stderr.contains(never), "{}", context());
    }
    match said.code {
        Some(0) => {
            let run = said.json();
            assert_eq!(digests(&run), wanted.digests, "{}", context());
            assert!(placed(&project) == wanted.files, "{}", context());
        }
        Some(1) => assert!(
            !report.failed.is_empty() && is_clear(&said.stderr, &project, &report.failed, cause),
            "{}",
            context()
        ),
        _ => panic!("{:?}, {}", said.code, context()),
    }
    let after = project.refit(&["run", SPEC, "--json"]);
    assert_eq!(after.code, Some(0), "{}then:\n{}", context(), after.stderr);
    assert_eq!(digests(&after.json()), wanted.digests, "{}", context());
    assert!(placed(&project) == wanted.files, "{}", context());
    let verified = project.refit(&["cache", "verify"]);
    assert_eq!(verified.code, Some(0), "{}{verified:?}", context());
    assert_eq!(strays(&project), Vec::<PathBuf>::new(), "{}", context());
}

/// What an undisturbed run makes.
struct Wanted {
    digests: std::collections::BTreeMap<String, String>,
    files: std::collections::BTreeMap<String, Vec<u8>>,
}

#[test]
fn a_disk_that_fails_at_any_write_gives_a_clear_error_or_the_right_result() {
    let Some(shim) = shim() else { return };
    let whole = project();
    let (said, report) = run(&whole, shim, &["run", SPEC, "--json"], ".", &[]);
    let wanted = Wanted {
        digests: digests(&said.success().json()),
        files: placed(&whole),
    };
    assert!(report.total > 100, "{report:?}");
    let number = |name| std::env::var(name).ok();
    let seed = number("REFIT_SEED").and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let all = 1..=report.total;
    let chosen: Vec<usize> = match number("REFIT_FAULTS").as_deref() {
        Some("all") => all.collect(),
        asked => {
            let many = asked.map_or(FEW, |text| text.parse().unwrap());
            // One of each stretch, so that no part of the pipeline is left out.
            let share = report.total as f64 / many as f64;
            let place = |index: usize| (index as f64 + random.random_range(0.0..1.0)) * share;
            (0..many).map(place).map(|at| at as usize + 1).collect()
        }
    };
    let faults = chosen.iter().map(|&at| Fault {
        at,
        stays: random.random_bool(0.5),
        code: *[libc::ENOSPC, libc::EIO]
            .get(random.random_range(0..2))
            .unwrap(),
    });
    let faults: Vec<Fault> = faults.collect();
    println!(
        "REFIT_SEED={seed}: {} of {} writes fail",
        faults.len(),
        report.total
    );
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    endure(shim, *fault, &wanted);
                }
            });
        }
    });
}

#[test]
fn an_export_that_can_neither_be_replaced_nor_put_back_is_kept() {
    let Some(shim) = shim() else { return };
    let project = project();
    project.run(&[SPEC]);
    let before = placed(&project);
    project.replace(SPEC, "max_length = 24", "max_length = 20");
    // What is renamed to this place, first the new one and then the old one.
    let fault = Fault {
        at: 1,
        stays: true,
        code: libc::EIO,
    };
    let (said, report) = run(&project, shim, &["run", SPEC], "dist", &fault.settings());
    let said = said.exits(1);
    assert_eq!(report.failed.len(), 2, "{report:?}");
    let mut kept = std::fs::read_dir(project.path(".")).unwrap().flatten();
    let kept = kept
        .find(|entry| {
            entry
                .file_name()
                .to_str()
                .unwrap()
                .starts_with(".refit-kept-")
        })
        .unwrap_or_else(|| panic!("it is gone: {said:?}"));
    let name = format!("{}/old/dist", kept.file_name().to_str().unwrap());
    assert!(bare(&said.stderr).contains(&bare(&name)), "{}", said.stderr);
    let kept = kept.path().join("old/dist");

    project.run(&[SPEC]);
    assert!(placed(&project) != before);
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    std::fs::rename(kept, project.path("dist")).unwrap();
    assert!(placed(&project) == before);
}

#[test]
fn a_store_that_cannot_be_written_serves_what_it_has() {
    let Some(shim) = shim() else { return };
    let project = project();
    let wanted = digests(&project.run(&[SPEC]));
    let read_only = [
        ("FAULT_AT", "1".to_owned()),
        ("FAULT_ON", "1".to_owned()),
        ("FAULT_CODE", libc::EROFS.to_string()),
    ];
    let asked = |arguments: &[&str]| run(&project, shim, arguments, ".refit", &read_only).0;

    let fresh = asked(&["run", SPEC, "--json"]).success();
    assert_eq!(digests(&fresh.json()), wanted);
    assert!(
        fresh.stderr.contains("not in `refit log`") && fresh.stderr.contains("Read-only"),
        "{}",
        fresh.stderr
    );
    for command in [
        ["plan", SPEC].as_slice(),
        &["path", SPEC, "classifier"],
        &["cache", "list"],
        &["cache", "verify"],
        &["log"],
    ] {
        asked(command).success();
    }
    let said = asked(&["run", SPEC, "--set", "seed=6"]).exits(1);
    let told = bare(&said.stderr);
    for part in [".refit/drafts", "Read-only file system", "--store"] {
        assert!(told.contains(&bare(part)), "{part}: {}", said.stderr);
    }
    let said = asked(&["cache", "gc", "--older-than", "0s"]).exits(1);
    assert!(said.stderr.contains("Read-only"), "{}", said.stderr);
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn a_file_system_without_locks_is_a_clear_error() {
    let Some(shim) = shim() else { return };
    let project = project();
    let fails = |code: i32| {
        [
            ("FAULT_LOCKS", "fails".to_owned()),
            ("FAULT_LOCK_CODE", code.to_string()),
        ]
    };
    let gives = [("FAULT_LOCKS", "gives".to_owned())];
    let ways = [
        fails(libc::ENOLCK).to_vec(),
        fails(libc::ENOTSUP).to_vec(),
        gives.to_vec(),
    ];
    for way in &ways {
        let (said, _) = run(&project, shim, &["run", SPEC], ".refit", way);
        let said = said.exits(1);
        for part in ["cannot lock", ".refit/lock", "local disk", "--store"] {
            assert!(bare(&said.stderr).contains(&bare(part)), "{}", said.stderr);
        }
        // Nothing that only reads needs a lock.
        run(&project, shim, &["check", SPEC], ".refit", way)
            .0
            .success();
        run(&project, shim, &["plan", SPEC], ".refit", way)
            .0
            .exits(3);
        run(&project, shim, &["cache", "list"], ".refit", way)
            .0
            .success();
    }
    project.run(&[SPEC]);
}

#[test]
fn machines_whose_locks_do_not_reach_each_other_store_nothing_wrong() {
    let Some(shim) = shim() else { return };
    let wanted = digests(&project().run(&[SPEC]));
    for _ in 0..3 {
        let project = project();
        let start = || {
            project
                .command(&["run", SPEC, "--json"])
                .env("LD_PRELOAD", shim)
                .env(
                    "FAULT_UNDER",
                    project.path(".refit").canonicalize().unwrap(),
                )
                .env("FAULT_LOCKS", "apart")
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        };
        for child in [start(), start()] {
            let said = Said::from(child.wait_with_output().unwrap());
            match said.code {
                Some(0) => assert_eq!(digests(&said.json()), wanted),
                Some(1) => assert!(
                    !said.stderr.contains("panicked") && bare(&said.stderr).contains(".refit"),
                    "{}",
                    said.stderr
                ),
                _ => panic!("{said:?}"),
            }
        }
        let run = project.run(&[SPEC]);
        assert_eq!(digests(&run), wanted);
        project.refit(&["cache", "verify"]).success();
    }
}

#[test]
fn a_clock_that_jumps_changes_no_result_and_no_order_of_runs() {
    let Some(shim) = shim() else { return };
    let project = project();
    let at = |hours: i64, arguments: &[&str]| {
        let shift = [("FAULT_CLOCK", (hours * 3600).to_string())];
        run(&project, shim, arguments, ".refit", &shift).0
    };
    let year = 24 * 365;
    let wanted = digests(&at(year, &["run", SPEC, "--json"]).success().json());
    let again = at(0, &["run", SPEC, "--json"]).success().json();
    assert_eq!(digests(&again), wanted);
    assert!(crate::project::built(&again).is_empty());

    project.replace(SPEC, "copies = 1", "copies = 2");
    at(-year, &["run", SPEC, "more", "--json"]).success();
    let runs = at(0, &["log", "--json"]).success().json();
    let built: Vec<usize> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| crate::project::built(run).len())
        .collect();
    assert_eq!(built, [1, 0, 6], "the newest first: {runs}");
    // The change is looked for in the run that was last, whatever its clock said.
    project.replace(SPEC, "copies = 2", "copies = 3");
    let why = at(0, &["explain", SPEC, "more"]);
    assert!(
        why.stdout.contains('2') && why.stdout.contains('3'),
        "{why:?}"
    );

    // What was made in the future is not old, and what a clock that lags made is not new.
    let removed = |hours: i64| {
        let gc = ["cache", "gc", "--older-than", "1d", "--dry-run", "--json"];
        let told = at(hours, &gc).success().json();
        told["removed"].as_array().unwrap().len()
    };
    let all = removed(3 * year);
    assert!(all > 0);
    assert!(removed(0) < all);
    at(-year, &["cache", "verify"]).success();
}
