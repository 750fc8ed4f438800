//! What a run needs of memory, as the system counts it.
#![cfg(target_os = "linux")]

use std::time::Duration;

use crate::project::Project;

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
