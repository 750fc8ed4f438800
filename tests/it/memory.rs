//! What a run needs of memory, as the system counts it.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::project::{Project, Said};

const SPEC: &str = "pipeline.toml";

/// The most memory in KiB that a command had at once. What `wait4` says would count that of this process too, from which the
/// command was forked.
fn peak(project: &Project, arguments: &[&str]) -> u64 {
    let mut child = project
        .command(arguments)
        .spawn()
        .expect("the binary starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        peak = number.unwrap_or(0).max(peak);
        if let Some(ended) = child.try_wait().expect("the child is ours") {
            assert!(ended.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn gradient_checkpointing_needs_less_memory_and_changes_no_result() {
    let project = Project::tiny();
    let words: String = (0..40).map(|word| format!("word{} ", word % 9)).collect();
    let row = |row: usize| format!("{words}{},{}\n", ["a", "b"][row % 2], row % 2);
    let rows: String = (0..32).map(row).collect();
    let rows = format!("text,label\n{rows}");
    project.write("data/train.csv", &rows);
    project.write("data/test.csv", &rows);
    project.replace(SPEC, "split = { validation = 0.2, stratify = true }\n", "");
    project.replace(SPEC, "max_length = 24", "max_length = 256");
    project.replace(
        SPEC,
        "layers = 1, hidden = 16, heads = 2, max_positions = 24",
        "layers = 16, hidden = 64, heads = 2, max_positions = 256",
    );
    project.replace(
        SPEC,
        "epochs = 2\nbatch = { size = 8 }",
        "max_steps = 1\nbatch = { size = 64 }",
    );
    project.run(&[SPEC, "tokens"]);
    let plain = peak(&project, &["run", SPEC, "classifier", "--store", "plain"]);
    let digest = |store: &str| {
        let run = project.run(&[SPEC, "classifier", "--store", store]);
        crate::project::digests(&run)["classifier"].clone()
    };
    let wanted = digest("plain");
    project.replace(
        SPEC,
        "max_steps = 1",
        "max_steps = 1\ngradient_checkpointing = true",
    );
    assert!(
        project
            .built(&[SPEC, "classifier", "--store", "plain"])
            .is_empty()
    );
    let checkpointed = peak(&project, &["run", SPEC, "classifier", "--store", "less"]);
    assert_eq!(digest("less"), wanted);
    assert!(
        checkpointed * 3 < plain * 2,
        "{checkpointed} KiB with checkpointing, {plain} KiB without"
    );
}

/// Bytes that a process may have for itself: anonymous memory and stacks, not pages of mapped files.
const LIMIT: u64 = 128 << 20;

/// A command that is allowed no more than [`LIMIT`].
fn limited(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command
        .env("RAYON_NUM_THREADS", "2")
        .env("POLARS_MAX_THREADS", "2");
    let limit = libc::rlimit {
        rlim_cur: LIMIT,
        rlim_max: LIMIT,
    };
    let set = move || match unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: between fork and exec nothing but one system call is made.
    unsafe { command.pre_exec(set) };
    command
}

#[test]
fn a_file_of_four_times_the_allowed_memory_becomes_tokens() {
    let project = Project::empty();
    let vocabulary: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .into_iter()
        .map(str::to_owned)
        .chain((0..200).map(|word| format!("word{word}")))
        .collect();
    project.write("tokenizer/vocab.txt", &vocabulary.join("\n"));
    project.write("tokenizer/config.json", r#"{"model_type": "bert"}"#);
    let words = |row: usize| {
        let words = (0..60).map(|word| format!("word{} ", (row * 7 + word * word) % 200));
        words.collect::<String>()
    };
    let notes = "notes that nobody asked for ".repeat(60);
    let block: String = (0..500)
        .map(|row| format!("{}x,{},{notes}\n", words(row), ["a", "b", "c"][row % 3]))
        .collect();
    let path = project.path("train.csv");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    file.write_all(b"text,label,notes\n").expect("a header");
    for _ in 0..=(4 * LIMIT / block.len() as u64) {
        file.write_all(block.as_bytes()).expect("rows");
    }
    drop(file);
    assert!(path.metadata().expect("a file").len() >= 4 * LIMIT);
    let spec = |more: &str| {
        format!(
            "version = 1\nname = \"large\"\nseed = 1\n[load.rows]\ntrain = [\"train.csv\"]\n{more}\
             [tokenize.tokens]\ninput = \"rows\"\ntokenizer = \"tokenizer\"\nmax_length = 64\n"
        )
    };
    // What compares rows with each other needs them all: the limit is one.
    project.write(SPEC, &spec("where = \"label <> 'd'\"\n"));
    let whole = limited(&project, &["run", SPEC, "rows"])
        .output()
        .expect("the binary starts");
    assert!(!whole.status.success());
    // Nothing but the limit is in its way.
    assert_ne!(whole.status.code(), Some(2), "{whole:?}");
    project.run(&[SPEC, "rows", "--store", "unlimited"]);

    project.write(SPEC, &spec(""));
    let said: Said = limited(&project, &["run", SPEC])
        .output()
        .expect("the binary starts")
        .into();
    let told = said.success().stderr;
    assert!(told.contains("3 labels"), "{told}");
    assert!(told.contains("tokens"), "{told}");
}
