//! Results shared between machines: what is known elsewhere is not computed, what is wrong there is found, and whatever
//! becomes of the shared store, the results are the same.
//!
//! Most of it goes through a folder; what only a real server does goes through moto's S3 server (`moto_server` of the Python
//! package `moto[server]`), behind a relay that counts requests, lets some of them fail, and holds others up.

mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use self::server::{Fault, Server};
use crate::project::{Project, Said, built, digests, with_outcome};

const RUN: [&str; 3] = ["run", "pipeline.toml", "--json"];

fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("shared").to_str().unwrap().to_owned();
    (folder, text)
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().chain(more).copied().collect()
}

fn reasons(run: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = run["steps"].as_array().unwrap().iter();
    steps
        .map(|step| (text(&step["stage"]), text(&step["reason"])))
        .collect()
}

/// The files of the shared store below a folder.
fn files(shared: &str, below: &str) -> Vec<PathBuf> {
    let pattern = format!("{shared}/{below}");
    glob::glob(&pattern).unwrap().flatten().collect()
}

#[test]
fn a_second_clone_computes_nothing_and_fetches_only_what_it_places() {
    let Some(server) = Server::start() else {
        return;
    };
    let remote = ["--remote", "s3://bucket/team"];
    let (first, second) = (Project::tiny(), Project::tiny());
    let run = server.refit(&first, &with(&RUN, &remote)).success();
    let there = run.json();
    assert_eq!(built(&there).len(), 6);
    let sent = server.asked(&["PUT /bucket/team/keys/"]);
    assert_eq!(sent, 6, "one record for each step");
    assert_eq!(server.asked(&["PUT /bucket/team/claims/"]), 6);
    assert_eq!(server.names("bucket", "team/claims/"), [""; 0]);

    server.forget();
    let plan = server
        .refit(&second, &with(&["plan", "pipeline.toml"], &remote))
        .exits(3);
    assert!(plan.stdout.contains("not placed"), "{}", plan.stdout);
    assert_eq!(
        server.asked(&["GET", "/objects/"]),
        0,
        "`plan` fetches no object"
    );
    // What was learned stays; a machine that only asks what would run leaves no more than that.
    server.forget();
    let run = server.refit(&second, &with(&RUN, &remote)).success();
    let here = run.json();
    assert_eq!(built(&here), [""; 0], "{}", run.stderr);
    assert_eq!(digests(&here), digests(&there));
    assert_eq!(here["scores"], there["scores"]);
    assert_eq!(
        second.read("dist/config.json"),
        first.read("dist/config.json")
    );
    let bundle = &digests(&there)["bundle"];
    for head in server.heads(&["GET", "/objects/"]) {
        let small = head.contains("manifest.json") || head.contains("scores.json");
        assert!(head.contains(bundle) || small, "not needed: {head}");
    }
    assert_eq!(
        server.asked(&["PUT"]),
        0,
        "nothing was made, and nothing sent"
    );

    server.forget();
    assert_eq!(
        built(&server.refit(&second, &with(&RUN, &remote)).success().json()),
        [""; 0]
    );
    assert_eq!(
        server.asked(&[]),
        0,
        "what is known here is asked of nobody"
    );
}

#[test]
fn only_what_a_step_that_runs_reads_is_fetched() {
    let (_folder, shared) = folder();
    let (first, second) = (Project::tiny(), Project::tiny());
    let remote = ["--remote", shared.as_str()];
    first.refit(&with(&RUN, &remote)).success();
    let more =
        "\n[evaluate.held]\nmodel = \"classifier\"\ninput = \"tokens\"\nsplit = \"validation\"\n";
    second.write("pipeline.toml", &(second.read("pipeline.toml") + more));
    let target = ["run", "pipeline.toml", "held", "--json"];
    let run = second.refit(&with(&target, &remote)).success();
    let run_json = run.json();
    assert_eq!(built(&run_json), ["held"], "{}", run.stderr);
    let reasons = reasons(&run_json);
    for stage in ["classifier", "tokens"] {
        assert!(reasons[stage].starts_with("fetched from"), "{reasons:?}");
    }
    for stage in ["data", "more", "held"] {
        assert!(!reasons[stage].contains("fetched"), "{reasons:?}");
    }
    let objects = files(second.path(".refit").to_str().unwrap(), "objects/*");
    assert_eq!(objects.len(), 3, "{objects:?}");
    // What was added is there for the first one.
    first.write("pipeline.toml", &second.read("pipeline.toml"));
    let run = first.refit(&with(&target, &remote)).success().json();
    assert_eq!(built(&run), [""; 0]);
}

#[test]
fn the_place_may_stand_in_the_spec_or_the_environment_and_changes_no_key() {
    let (_folder, shared) = folder();
    let project = Project::tiny();
    let keys = |run: &Value| run["steps"].to_string();
    let alone = project
        .refit(&["plan", "pipeline.toml", "--json"])
        .exits(3)
        .json();
    let spec = project.read("pipeline.toml");
    project.write(
        "pipeline.toml",
        &format!("{spec}\n[run]\nremote = \"{shared}\"\n"),
    );
    let with_place = project
        .refit(&["plan", "pipeline.toml", "--json"])
        .exits(3)
        .json();
    assert_eq!(keys(&alone), keys(&with_place));
    project.refit(&with(&RUN, &["--no-remote"])).success();
    assert!(!Path::new(&shared).exists());

    // Only read: nothing is sent.
    let reads = format!("{spec}\n[run]\nremote = {{ url = \"{shared}\", write = false }}\n");
    project.write("pipeline.toml", &reads);
    project.refit(&with(&RUN, &["--force", "data"])).success();
    assert!(!Path::new(&shared).exists());
    let refused = project.refit(&["cache", "push", "pipeline.toml"]).exits(2);
    assert!(
        refused.stderr.contains("write = false"),
        "{}",
        refused.stderr
    );

    let mut command = project.command(&["cache", "push"]);
    let pushed = Said::from(command.env("REFIT_REMOTE", &shared).output().unwrap()).success();
    assert!(pushed.stdout.contains("sent train"), "{}", pushed.stdout);
    let other = Project::tiny();
    other.write("pipeline.toml", &reads);
    assert_eq!(built(&other.refit(&RUN).success().json()), [""; 0]);

    for url in [
        "https://example.org/x",
        "s3://me:sesame@bucket/x",
        "s3://bucket/../x",
    ] {
        let refused = other
            .refit(&["run", "pipeline.toml", "--remote", url])
            .exits(2);
        assert!(!refused.stderr.contains("sesame"), "{}", refused.stderr);
    }
    let nowhere = Project::tiny().refit(&["cache", "push"]).exits(2);
    assert!(
        nowhere.stderr.contains("REFIT_REMOTE"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn push_and_pull_move_what_is_lacking_and_say_what_that_is() {
    let (_folder, shared) = folder();
    let remote = ["--remote", shared.as_str(), "--json"];
    let (first, second) = (Project::tiny(), Project::tiny());
    first.run(&["pipeline.toml"]);
    let push = |more: &[&str]| {
        let arguments = with(&with(&["cache", "push"], more), &remote);
        first.refit(&arguments).success().json()
    };
    let would = push(&["pipeline.toml", "tokens", "--dry-run"]);
    assert_eq!(would["sent"].as_array().unwrap().len(), 3);
    assert!(!Path::new(&shared).exists(), "a dry run sends nothing");
    assert_eq!(
        push(&["pipeline.toml", "tokens"])["sent"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let rest = push(&[]);
    assert_eq!(
        (rest["sent"].as_array().unwrap().len(), &rest["already"]),
        (3, &3.into())
    );
    assert_eq!(push(&[])["sent"].as_array().unwrap().len(), 0);

    let pull = |more: &[&str]| {
        let arguments = with(&with(&["cache", "pull", "pipeline.toml"], more), &remote);
        let said = second.refit(&arguments).success().json();
        let kinds = said["fetched"].as_array().unwrap().iter();
        let mut kinds: Vec<String> = kinds
            .map(|one| one["kind"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        kinds
    };
    assert_eq!(
        pull(&["--dry-run"]),
        ["export"],
        "only what is to be placed"
    );
    assert_eq!(pull(&["classifier"]), ["train"]);
    assert_eq!(pull(&["classifier"]), [""; 0]);
    let path = second
        .refit(&["path", "pipeline.toml", "classifier"])
        .success();
    assert!(
        Path::new(path.stdout.trim())
            .join("model.safetensors")
            .exists()
    );
    assert_eq!(pull(&["--all"]).len(), 5);
    let run = second.run(&["pipeline.toml"]);
    assert_eq!(
        built(&run),
        [""; 0],
        "it is all here, and no shared store is needed"
    );
}

#[test]
fn whatever_is_wrong_there_is_found_built_again_and_put_right() {
    let (_folder, shared) = folder();
    let remote = ["--remote", shared.as_str()];
    let first = Project::tiny();
    let there = first.refit(&with(&RUN, &remote)).success().json();
    let all = digests(&there);
    let object = |stage: &str| format!("{shared}/objects/{}", all[stage]);
    let model = format!("{}/model.safetensors", object("classifier"));
    let whole = std::fs::read(&model).unwrap();
    let cut = || std::fs::write(&model, &whole[..whole.len() - 1]).unwrap();
    let swapped = || {
        let mut other = whole.clone();
        *other.last_mut().unwrap() ^= 1;
        std::fs::write(&model, other).unwrap();
    };
    let missing = || std::fs::remove_file(&model).unwrap();
    let gone = || std::fs::remove_dir_all(object("classifier")).unwrap();
    let key = there["steps"].as_array().unwrap().iter();
    let key = key
        .into_iter()
        .find(|step| step["stage"] == "classifier")
        .unwrap()["key"]
        .as_str()
        .unwrap();
    let record = format!("{shared}/keys/{key}.json");
    let garbled = || std::fs::write(&record, "{").unwrap();
    let deeds: [(&str, &dyn Fn()); 5] = [
        ("bytes instead of", &cut),
        ("other content", &swapped),
        ("is missing", &missing),
        ("is missing", &gone),
        ("the record", &garbled),
    ];
    for (said, deed) in deeds {
        deed();
        let second = Project::tiny();
        let force = ["--force", "scores"];
        let run = second.refit(&with(&with(&RUN, &remote), &force)).success();
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
        let here = run.json();
        assert!(
            built(&here).contains(&"classifier".to_owned()),
            "{said}: {}",
            run.stderr
        );
        assert_eq!(digests(&here), all, "{said}");
        assert_eq!(std::fs::read(&model).unwrap().len(), whole.len(), "{said}");
        let third = Project::tiny();
        let run = third.refit(&with(&with(&RUN, &remote), &force)).success();
        assert_eq!(built(&run.json()), ["scores"], "{said}: {}", run.stderr);
        assert!(!run.stderr.contains("refused"), "{said}: {}", run.stderr);
    }
}

#[test]
fn a_server_that_fails_every_third_request_delays_and_changes_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let alone = Project::tiny().run(&["pipeline.toml"]);
    let remote = ["--remote", "s3://bucket/x"];
    server.fail_every(3, &[Fault::Error, Fault::Reset, Fault::Cut]);
    let (first, second) = (Project::tiny(), Project::tiny());
    let run = server.refit(&first, &with(&RUN, &remote)).success();
    assert_eq!(digests(&run.json()), digests(&alone), "{}", run.stderr);
    for word in ["cannot be used", "refused", "not sent"] {
        assert!(!run.stderr.contains(word), "{}", run.stderr);
    }
    let run = server.refit(&second, &with(&RUN, &remote)).success();
    assert_eq!(built(&run.json()), [""; 0], "{}", run.stderr);
    assert_eq!(digests(&run.json()), digests(&alone));
    let pulled = server.refit(
        &second,
        &with(&["cache", "pull", "pipeline.toml", "--all"], &remote),
    );
    pulled.success();
    assert!(server.failed() > 10, "{}", server.failed());
    let verified = second.refit(&["cache", "verify"]).success();
    assert!(
        verified.stderr.contains(" 0 damaged"),
        "{}",
        verified.stderr
    );
}

#[test]
fn a_server_that_is_gone_costs_one_warning() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let alone = Project::tiny().run(&["pipeline.toml"]);
    let project = Project::tiny();
    let mut command = server::online(&project, &with(&RUN, &["--remote", "s3://bucket/x"]));
    server::credentials(&mut command).env("AWS_ENDPOINT_URL", &address);
    let run = Said::from(command.output().unwrap()).success();
    assert_eq!(digests(&run.json()), digests(&alone));
    let warnings = run.stderr.matches("cannot be used").count();
    assert_eq!(warnings, 1, "{}", run.stderr);
    let unsent = "6 results were not sent";
    assert!(run.stderr.contains(unsent), "{}", run.stderr);
    assert!(!run.stderr.contains(server::SECRET), "{}", run.stderr);
    let mut command = server::online(&project, &["cache", "push", "--remote", "s3://bucket/x"]);
    server::credentials(&mut command).env("AWS_ENDPOINT_URL", &address);
    let pushed = Said::from(command.output().unwrap()).exits(1);
    assert!(
        pushed.stderr.contains("s3://bucket/x cannot be used"),
        "{}",
        pushed.stderr
    );
}

#[test]
fn a_server_that_goes_away_in_the_middle_leaves_the_rest_to_a_later_push() {
    let Some(server) = Server::start() else {
        return;
    };
    let remote = ["--remote", "s3://bucket/x"];
    let project = Project::tiny();
    server.fail_after(25);
    let run = server.refit(&project, &with(&RUN, &remote)).success();
    assert_eq!(built(&run.json()).len(), 6);
    assert_eq!(
        run.stderr.matches("cannot be used").count(),
        1,
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("not sent"), "{}", run.stderr);
    server.recover();
    server
        .refit(&project, &with(&["cache", "push"], &remote))
        .success();
    let other = Project::tiny();
    let run = server.refit(&other, &with(&RUN, &remote)).success();
    assert_eq!(built(&run.json()), [""; 0], "{}", run.stderr);
}

#[test]
fn a_bucket_that_is_not_there_or_not_for_everybody_is_said_once_and_nothing_secret_is() {
    let Some(server) = Server::start() else {
        return;
    };
    let project = Project::tiny();
    let arguments = with(&RUN, &["-vvv", "--remote", "s3://no-such-bucket/x"]);
    let run = server.refit(&project, &arguments).success();
    assert!(
        run.stderr.contains("there is no such bucket"),
        "{}",
        run.stderr
    );
    let arguments = with(
        &RUN,
        &["-vvv", "--force", "data", "--remote", "s3://bucket/x"],
    );
    let run = server.refit(&project, &arguments).success();
    for text in [&run.stderr, &run.stdout] {
        assert!(
            !text.contains(server::SECRET) && !text.contains("testing-testing"),
            "{text}"
        );
    }
    for file in files(project.path(".refit").to_str().unwrap(), "**/*.json") {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains(server::SECRET), "{text}");
    }
}

/// Starts the same run in every project at once, and waits for all.
fn together(commands: Vec<Command>) -> Vec<Said> {
    let start = |mut command: Command| {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    };
    let children: Vec<_> = commands.into_iter().map(start).collect();
    let ended = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap());
    ended.map(|output| Said::from(output).success()).collect()
}

#[test]
fn eight_processes_on_one_store_build_each_key_once() {
    let (_folder, shared) = folder();
    let project = Project::tiny();
    let arguments = with(&RUN, &["--remote", &shared]);
    let said = together((0..8).map(|_| project.command(&arguments)).collect());
    let runs: Vec<Value> = said.iter().map(Said::json).collect();
    once_and_equal(&runs);
}

#[test]
fn four_machines_on_one_bucket_build_each_key_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let projects: Vec<Project> = (0..4).map(|_| Project::tiny()).collect();
    let arguments = with(&RUN, &["--remote", "s3://bucket/x"]);
    let commands = projects
        .iter()
        .map(|project| server.command(project, &arguments));
    let said = together(commands.collect());
    let runs: Vec<Value> = said.iter().map(Said::json).collect();
    once_and_equal(&runs);
    let waited = said
        .iter()
        .filter(|one| one.stderr.contains("is building the same key"));
    assert!(waited.count() > 0, "{}", said[0].stderr);
    assert_eq!(server.names("bucket", "x/claims/"), [""; 0]);
    assert_eq!(server.names("bucket", "x/keys/").len(), 6);
}

#[test]
fn four_machines_on_one_folder_build_each_key_once() {
    let (_folder, shared) = folder();
    let projects: Vec<Project> = (0..4).map(|_| Project::tiny()).collect();
    let arguments = with(&RUN, &["--remote", &shared]);
    let commands = projects.iter().map(|project| project.command(&arguments));
    let said = together(commands.collect());
    let runs: Vec<Value> = said.iter().map(Said::json).collect();
    once_and_equal(&runs);
    assert_eq!(files(&shared, "claims/*"), [] as [PathBuf; 0]);
}

/// Each key was built by one of these runs, and all came to the same.
#[track_caller]
fn once_and_equal(runs: &[Value]) {
    let mut builders = BTreeMap::<String, usize>::new();
    for run in runs {
        assert_eq!(digests(run), digests(&runs[0]));
        assert_eq!(with_outcome(run, "failed"), [""; 0]);
        for stage in built(run) {
            *builders.entry(stage).or_default() += 1;
        }
    }
    let stages = ["bundle", "classifier", "data", "more", "scores", "tokens"];
    let once: BTreeMap<String, usize> = stages
        .iter()
        .map(|stage| ((*stage).to_owned(), 1))
        .collect();
    assert_eq!(builders, once);
}

const PUSH: [&str; 5] = ["cache", "push", "--remote", "s3://bucket/x", "--json"];

/// A push of a large file that was killed after two of its parts: the project, what was written down of the upload, and how
/// many parts the file has.
fn killed_after_two_parts(server: &Server) -> (Project, Value, usize) {
    let project = Project::empty();
    // Digits that nothing makes smaller: some tens of megabytes in the store.
    let mut state = 7_u64;
    let mut text = "text,label\n".to_owned();
    for row in 0..60_000 {
        for _ in 0..64 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(&format!("{state:016x}"));
        }
        text.push_str(if row % 2 == 0 { ",good\n" } else { ",bad\n" });
    }
    project.write("rows.csv", &text);
    project.write(
        "pipeline.toml",
        "version = 1\n[load.data]\ntrain = \"rows.csv\"\n",
    );
    project.run(&["pipeline.toml"]);
    server.hold_parts_after(2);
    let mut child = server
        .command(&project, &PUSH)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    server.until_held();
    let begun = std::time::Instant::now();
    // What was taken is written down a moment later.
    let state = loop {
        let state = files(project.path(".refit").to_str().unwrap(), "uploads/*.json");
        let text = state.first().and_then(|path| std::fs::read(path).ok());
        let state: Value = serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default();
        if state["sent"]
            .as_object()
            .is_some_and(|sent| sent.len() == 2)
        {
            break state;
        }
        assert!(begun.elapsed().as_secs() < 60, "{state}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(server.asked(&["POST", "?uploads"]), 1);
    let (bytes, part) = (
        state["bytes"].as_u64().unwrap(),
        state["part"].as_u64().unwrap(),
    );
    let all = usize::try_from(bytes.div_ceil(part)).unwrap();
    assert!(all > 2, "{all} parts");
    server.recover();
    server.forget();
    (project, state, all)
}

/// Whether what was pushed is whole, and nothing is left of its upload.
fn arrived(server: &Server, project: &Project) {
    let left = files(project.path(".refit").to_str().unwrap(), "uploads/*");
    assert_eq!(left, [] as [PathBuf; 0]);
    let other = Project::empty();
    for name in ["rows.csv", "pipeline.toml"] {
        other.write(name, &project.read(name));
    }
    let pull = [
        "cache",
        "pull",
        "pipeline.toml",
        "--all",
        "--remote",
        "s3://bucket/x",
    ];
    server.refit(&other, &pull).success();
    other.refit(&["cache", "verify"]).success();
}

#[test]
fn an_upload_that_was_killed_goes_on_where_it_was() {
    let Some(server) = Server::start() else {
        return;
    };
    let (project, _, all) = killed_after_two_parts(&server);
    server.refit(&project, &PUSH).success();
    assert_eq!(server.asked(&["PUT", "partNumber="]), all - 2, "of {all}");
    assert_eq!(server.asked(&["POST", "?uploads"]), 0, "the same upload");
    arrived(&server, &project);
}

#[test]
fn an_upload_that_the_server_forgot_goes_out_from_the_start() {
    let Some(server) = Server::start() else {
        return;
    };
    let (project, state, all) = killed_after_two_parts(&server);
    server.forget_upload(state["at"].as_str().unwrap(), state["id"].as_str().unwrap());
    server.refit(&project, &PUSH).success();
    assert_eq!(server.asked(&["POST", "?uploads"]), 1, "a new upload");
    assert!(server.asked(&["PUT", "partNumber="]) >= all, "all {all}");
    arrived(&server, &project);
}

#[test]
fn what_other_processes_build_is_shared_too() {
    let (_folder, shared) = folder();
    let (first, second) = (Project::tiny(), Project::tiny());
    let remote = ["--remote", shared.as_str()];
    let elsewhere = with(&remote, &["--executor", "process"]);
    let there = first.refit(&with(&RUN, &elsewhere)).success().json();
    assert_eq!(built(&there).len(), 6);
    let here = second.refit(&with(&RUN, &elsewhere)).success().json();
    assert_eq!(built(&here), [""; 0]);
    assert_eq!(digests(&here), digests(&there));
}

#[test]
fn what_nobody_goes_on_with_is_cleared_away() {
    let Some(server) = Server::start() else {
        return;
    };
    let project = Project::tiny();
    project.run(&["pipeline.toml", "data"]);
    // Small files need no parts: what is left of an upload that nobody knows is cleared away.
    project.write(
        ".refit/uploads/left.json",
        r#"{"place":"s3://bucket/x","at":"x/objects/none/rows","id":"forgotten","bytes":9000000,"modified":1,"part":8388608,"sent":{"0":"x"}}"#,
    );
    let collected = project
        .refit(&["cache", "gc", "--older-than", "1d"])
        .success();
    assert!(
        collected.stderr.contains("cache push"),
        "{}",
        collected.stderr
    );
    server
        .refit(&project, &["cache", "push", "--remote", "s3://bucket/x"])
        .success();
    assert!(!project.path(".refit/uploads/left.json").exists());
}

#[test]
fn a_sweep_on_a_second_machine_computes_nothing() {
    let (_folder, shared) = folder();
    let arguments = ["sweep", "pipeline.toml", "--remote", &shared, "--json"];
    let sweep = "\n[sweep]\ngoal = { maximize = \"classifier.accuracy\" }\n[sweep.parameters]\n\
                 \"train.classifier.epochs\" = [1, 2]\n";
    let project = || {
        let project = Project::tiny();
        project.write("pipeline.toml", &(project.read("pipeline.toml") + sweep));
        project
    };
    let (first, second) = (project(), project());
    let there = first.refit(&arguments).success().json();
    let said = second.refit(&arguments).success();
    let here = said.json();
    let trials = |sweep: &Value| {
        let trials = sweep["trials"].as_array().unwrap().iter();
        trials.map(digests).collect::<Vec<_>>()
    };
    assert_eq!(trials(&here), trials(&there));
    for trial in here["trials"].as_array().unwrap() {
        assert_eq!(built(trial), [""; 0], "{}", said.stderr);
    }
}

#[test]
fn the_lock_says_what_data_and_results_came_to_once_that_is_asked_for() {
    let project = Project::tiny();
    project.run(&["pipeline.toml"]);
    assert!(!project.path("refit.lock").exists(), "nobody asked for it");
    let run = project.run(&["pipeline.toml", "--lock"]);
    let lock = project.read("refit.lock");
    for (stage, digest) in digests(&run) {
        assert!(lock.contains(&format!("stage = \"{stage}\"")), "{lock}");
        assert!(lock.contains(&digest), "{lock}");
    }
    assert!(
        lock.contains("flex = ") && lock.contains("any = "),
        "{lock}"
    );
    // On another machine it is the same, and kept so without being asked for.
    let other = Project::tiny();
    other.write("refit.lock", &lock);
    other.run(&["pipeline.toml"]);
    assert_eq!(other.read("refit.lock"), lock);
    let known = &digests(&run)["classifier"];
    let lying = lock.replace(known, &"0".repeat(64));
    other.write("refit.lock", &lying);
    let said = other.refit(&RUN).success();
    assert!(
        said.stderr.contains("other  classifier came to"),
        "{}",
        said.stderr
    );
    assert_eq!(
        other.read("refit.lock"),
        lying,
        "a difference is information"
    );
    other.refit(&with(&RUN, &["--update"])).success();
    assert_eq!(other.read("refit.lock"), lock);
    other.replace("pipeline.toml", "epochs = 2", "epochs = 1");
    other.run(&["pipeline.toml"]);
    assert_ne!(
        other.read("refit.lock"),
        lock,
        "another key is another result"
    );
}
