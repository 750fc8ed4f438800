//! Steps and trials in other processes and in the jobs of a cluster give what they give here, whoever is killed meanwhile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::project::{Project, Said, digests, with_outcome};

const SPEC: &str = "pipeline.toml";

/// Four trainings on the same tokens, one of which fails, since they are longer than what its model reads; an evaluation of each.
const SWEEP: &str = r#"
[sweep]
goal = { maximize = "scores.f1_macro" }

[sweep.parameters]
"train.classifier.scratch.max_positions" = [24, 32, 8, 40]
"#;

/// The tiny pipeline with a training that takes so many epochs and is written down now and then.
fn project(epochs: usize) -> Project {
    let project = Project::tiny();
    project.replace(SPEC, "epochs = 2", &format!("epochs = {epochs}"));
    let run = "[run]\ncheckpoint = { every_steps = 5, keep = 2 }\n\n[run.slurm]\nlook_every = 1\ntime = \"10\"\n\
               train = { cpus = 1, memory = \"500M\" }\nmax_running = 2\n\n[load.data]";
    project.replace(SPEC, "[load.data]", run);
    project
}

fn with_sweep(epochs: usize) -> Project {
    let project = project(epochs);
    project.write(SPEC, &(project.read(SPEC) + SWEEP));
    project
}

fn on(cluster: &Cluster, project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.env("SLURM_CONF", cluster.configuration());
    command
}

fn begun(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

fn ended(child: Child) -> Said {
    child.wait_with_output().expect("it ends").into()
}

/// The files of this name in the folders of a stage's jobs.
fn of_jobs(project: &Project, stage: &str, name: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(project.path(".refit/jobs"))
        .into_iter()
        .flatten()
        .flatten();
    let folders = folders.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(&format!("refit-{stage}-"))
    });
    let files = folders
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let last = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < last, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn checkpoint(project: &Project) -> Option<()> {
    let folders = std::fs::read_dir(project.path(".refit/checkpoints"))
        .ok()?
        .flatten();
    let mut inside = folders.flat_map(|folder| {
        std::fs::read_dir(folder.path())
            .into_iter()
            .flatten()
            .flatten()
    });
    inside
        .any(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
        .then_some(())
}

/// What a table says, whoever ran it and whenever: parameters → state, score, and the digests of what was made.
fn essence(swept: &Value) -> BTreeMap<String, (String, String, BTreeMap<String, String>)> {
    let rows = swept["trials"]
        .as_array()
        .expect("trials")
        .iter()
        .map(|trial| {
            let state = trial["state"].to_string();
            let steps = trial["steps"].as_array().unwrap().iter();
            // Of a failed trial only what failed need be the same.
            let steps = steps.filter(|_| trial["state"] == "done");
            let steps = steps.map(|step| (step["stage"].to_string(), step["digest"].to_string()));
            let told = format!("{} {}", trial["score"], trial["message"]);
            (
                trial["parameters"].to_string(),
                (state, told, steps.collect()),
            )
        });
    rows.collect()
}

fn swept_here(epochs: usize) -> Value {
    let local = with_sweep(epochs);
    local.refit(&["sweep", SPEC, "--json"]).exits(1).json()
}

#[test]
fn steps_in_processes_of_their_own_give_what_they_give_here() {
    let here = project(2).run(&[SPEC]);
    let project = project(2);
    let run = project.run(&[SPEC, "--executor", "process", "--jobs", "2"]);
    assert_eq!(digests(&run), digests(&here));
    assert_eq!(with_outcome(&run, "built"), with_outcome(&here, "built"));
    assert_eq!(run["scores"], here["scores"]);
    assert!(project.path("dist/model.safetensors").is_file());
    let again = project.run(&[SPEC, "--executor", "process"]);
    assert!(with_outcome(&again, "built").is_empty(), "{again}");
    let left = std::fs::read_dir(project.path(".refit/jobs"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "what is done leaves its folder");
}

#[test]
fn what_fails_in_a_process_of_its_own_is_told_as_if_it_had_failed_here() {
    let broken = || {
        let project = project(2);
        project.replace(SPEC, "max_positions = 24", "max_positions = 8");
        project
    };
    let here = broken().refit(&["run", SPEC]).exits(1);
    let there = broken()
        .refit(&["run", SPEC, "--executor", "process"])
        .exits(1);
    let told = |said: &Said| {
        let lines = said
            .stderr
            .lines()
            .skip_while(|line| !line.contains("`classifier` failed:"));
        lines.take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(&there), told(&here), "{}", there.stderr);
    assert!(
        told(&here).len() == 3 && there.stderr.contains("classifier failed upstream"),
        "{}",
        there.stderr
    );
}

#[test]
fn a_sweep_in_processes_of_its_own_has_the_table_of_one_that_runs_here() {
    let project = with_sweep(2);
    let there = project
        .refit(&[
            "sweep",
            SPEC,
            "--json",
            "--executor",
            "process",
            "--jobs",
            "2",
        ])
        .exits(1)
        .json();
    assert_eq!(essence(&there), essence(&swept_here(2)));
    let text = project.read("pipeline.best.toml");
    assert!(!text.contains("[sweep"), "{text}");
}

#[test]
fn a_process_that_is_killed_is_started_again_and_goes_on() {
    let wanted = digests(&project(40).run(&[SPEC]));
    let project = project(40);
    let child = begun(project.command(&["run", SPEC, "--json", "--executor", "process"]));
    until("a checkpoint", || checkpoint(&project));
    let started = of_jobs(&project, "classifier", "0.started");
    let line: Value = serde_json::from_str(
        std::fs::read_to_string(&started[0])
            .unwrap()
            .lines()
            .next()
            .unwrap(),
    )
    .unwrap();
    kill(line["process"].as_i64().unwrap());
    let said = ended(child).success();
    assert!(said.stderr.contains("again  classifier"), "{}", said.stderr);
    assert_eq!(digests(&said.json()), wanted);
}

fn kill(process: i64) {
    let process = i32::try_from(process).unwrap();
    // SAFETY: it is a process that a test started.
    unsafe { libc::kill(process, libc::SIGKILL) };
}

#[test]
fn a_search_that_learns_runs_its_trials_in_processes() {
    let learning = || {
        let project = project(6);
        let sweep = "\n[sweep]\nsearch = \"tpe\"\ntrials = 4\ngoal = { maximize = \"classifier.f1_macro\" }\n\
                     [sweep.parameters]\n\"train.classifier.optimizer.learning_rate\" = { log_uniform = [1e-4, 1e-1] }\n";
        project.write(SPEC, &(project.read(SPEC) + sweep));
        project
    };
    let here = learning()
        .refit(&["sweep", SPEC, "--json"])
        .success()
        .json();
    let there = learning()
        .refit(&["sweep", SPEC, "--json", "--executor", "process"])
        .success()
        .json();
    assert_eq!(essence(&there), essence(&here));
}

#[test]
fn a_sweep_on_a_cluster_has_the_table_of_one_that_runs_here_whoever_is_killed() {
    let Some(cluster) = Cluster::start("the sweep on a cluster") else {
        return;
    };
    let project = with_sweep(30);
    let arguments = ["sweep", SPEC, "--json", "--executor", "slurm"];
    let mut first = begun(on(&cluster, &project, &arguments));
    // All is handed over at once, the summary last; then the controller is killed.
    until("the summary's submission", || {
        of_jobs(&project, "summary", "submitted").pop()
    });
    first.kill().unwrap();
    first.wait().unwrap();
    let script = std::fs::read_to_string(&of_jobs(&project, "classifier", "job.sh")[0]).unwrap();
    assert!(
        !script.contains(SPEC) && !script.contains("classifier"),
        "{script}"
    );
    // One of the trainings is killed while nobody looks.
    let started = until("a training", || {
        of_jobs(&project, "classifier", "1.started").pop()
    });
    let line: Value = serde_json::from_str(
        std::fs::read_to_string(&started)
            .unwrap()
            .lines()
            .next()
            .unwrap(),
    )
    .unwrap();
    kill(line["process"].as_i64().unwrap());
    let second = begun(on(&cluster, &project, &arguments));
    let said = ended(second).exits(1);
    assert!(
        said.stderr.contains("submitted before"),
        "{}\n{}",
        said.stderr,
        cluster.queue()
    );
    assert_eq!(
        essence(&said.json()),
        essence(&swept_here(30)),
        "{}",
        said.stderr
    );
    assert!(
        project.path("dist/model.safetensors").is_file(),
        "{}",
        said.stderr
    );
    // Nothing is under way any more, and what is known is not done again.
    let third = Said::from(
        on(&cluster, &project, &["sweep", SPEC, "--status", "--json"])
            .output()
            .unwrap(),
    )
    .success();
    assert_eq!(essence(&third.json()).len(), 4);
}

#[test]
fn a_job_that_is_told_of_its_end_goes_on_in_a_new_one() {
    let Some(cluster) = Cluster::start("the signal before the time is up") else {
        return;
    };
    let wanted = digests(&project(60).run(&[SPEC]));
    let project = project(60);
    let child = begun(on(
        &cluster,
        &project,
        &["run", SPEC, "--json", "--executor", "slurm"],
    ));
    until("a checkpoint", || checkpoint(&project));
    let job = std::fs::read_to_string(&of_jobs(&project, "classifier", "submitted")[0]).unwrap();
    cluster.ask("scancel", &["--batch", "--signal=USR1", job.trim()]);
    let said = ended(child).success();
    let run = said.json();
    assert_eq!(digests(&run), wanted);
    let steps = run["steps"].as_array().unwrap();
    let training = steps
        .iter()
        .find(|step| step["stage"] == "classifier")
        .unwrap();
    assert!(
        training["resumed_from_step"].as_u64().is_some(),
        "{run}\n{}",
        said.stderr
    );
}

#[test]
fn a_job_whose_spec_changed_while_it_waited_is_refused() {
    let Some(cluster) = Cluster::start("the spec that changed") else {
        return;
    };
    let project = project(2);
    let child = begun(on(
        &cluster,
        &project,
        &[
            "run",
            SPEC,
            "--executor",
            "slurm",
            "--set",
            "run.slurm.options=[\"--begin=now+4\"]",
        ],
    ));
    until("the last submission", || {
        of_jobs(&project, "bundle", "submitted").pop()
    });
    project.replace(SPEC, "epochs = 2", "epochs = 3");
    let said = ended(child).exits(1);
    assert!(
        said.stderr
            .contains("changed since the job was submitted: `classifier`"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("built  tokens"),
        "what did not change ran: {}",
        said.stderr
    );
    let run = Said::from(
        on(
            &cluster,
            &project,
            &["run", SPEC, "--json", "--executor", "slurm"],
        )
        .output()
        .unwrap(),
    )
    .success()
    .json();
    assert_eq!(
        with_outcome(&run, "built"),
        ["classifier", "scores", "bundle"]
    );
}

#[test]
fn a_cluster_that_does_not_answer_is_waited_for_and_ctrl_c_leaves_its_jobs_alone() {
    let Some(mut cluster) = Cluster::start("the controller that is gone") else {
        return;
    };
    let project = project(40);
    let child = begun(on(
        &cluster,
        &project,
        &["run", SPEC, "--json", "--executor", "slurm"],
    ));
    until("a checkpoint", || checkpoint(&project));
    // SAFETY: it is a child of ours that nobody has waited for.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) };
    let said = ended(child).exits(130);
    assert!(said.stderr.contains("`scancel "), "{}", said.stderr);
    cluster.stop_controller();
    let child = begun(on(
        &cluster,
        &project,
        &["run", SPEC, "--json", "--executor", "slurm"],
    ));
    std::thread::sleep(Duration::from_secs(4));
    cluster.start_controller();
    let said = ended(child).success();
    assert_eq!(
        digests(&said.json()),
        digests(&self::project(40).run(&[SPEC]))
    );
}
