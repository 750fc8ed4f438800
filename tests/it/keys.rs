//! What is in a key and what is not: one test for each row of the table in the document of `fingerprint`.

use crate::project::{Project, built, digests, rows, with_outcome};

const SPEC: &str = "pipeline.toml";
const ALL: [&str; 6] = ["data", "more", "tokens", "classifier", "scores", "bundle"];

#[test]
fn a_second_run_does_nothing() {
    let project = Project::tiny();
    assert_eq!(project.built(&[SPEC]), ALL);
    assert_eq!(with_outcome(&project.run(&[SPEC]), "fresh"), ALL);
    project.refit(&["plan", SPEC]).success();
}

#[test]
fn a_changed_learning_rate_retrains_evaluates_and_exports_only() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(SPEC, "learning_rate = 1e-3", "learning_rate = 2e-3");
    assert_eq!(project.built(&[SPEC]), ["classifier", "scores", "bundle"]);
}

#[test]
fn a_changed_seed_retrains() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(SPEC, "seed = 5", "seed = 6");
    assert_eq!(project.built(&[SPEC]), ALL);
}

#[test]
fn the_seed_of_a_stage_of_its_own_is_not_the_pipelines() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(
        SPEC,
        "[train.classifier]\n",
        "[train.classifier]\nseed = 6\n",
    );
    assert_eq!(project.built(&[SPEC]), ["classifier", "scores", "bundle"]);
}

#[test]
fn a_comment_key_order_and_spelled_out_defaults_change_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(SPEC, "version = 1\n", "# a comment\nversion = 1\n");
    project.replace(SPEC, "input = \"more\"\n", "");
    project.replace(
        SPEC,
        "max_length = 24",
        "max_length = 24\ninput = 'more' # moved",
    );
    project.replace(
        SPEC,
        "epochs = 2\nbatch = { size = 8 }",
        "batch = { padding = \"longest\", size = 8, group_by_length = true }\nepochs = 2",
    );
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn another_name_of_the_pipeline_changes_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(SPEC, "name = \"tiny\"", "name = \"other\"");
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn a_renamed_folder_changes_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    std::fs::create_dir(project.path("moved")).unwrap();
    for name in [SPEC, "data", "dist"] {
        std::fs::rename(project.path(name), project.path("moved").join(name)).unwrap();
    }
    assert!(project.built(&["moved/pipeline.toml"]).is_empty());
}

#[test]
fn a_renamed_stage_changes_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let text = project
        .read(SPEC)
        .replace("classifier", "model_b")
        .replace("\"tokens\"", "\"pieces\"")
        .replace("tokenize.tokens", "tokenize.pieces");
    project.write(SPEC, &text);
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn a_moved_data_file_changes_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    std::fs::rename(project.path("data/train.csv"), project.path("rows.csv")).unwrap();
    project.replace(SPEC, "data/train.csv", "rows.csv");
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn a_touched_data_file_changes_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let text = project.read("data/train.csv");
    project.write("data/train.csv", &text);
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn another_place_of_the_export_only_places_it_there() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(SPEC, "to = \"dist\"", "to = \"elsewhere\"");
    assert!(project.built(&[SPEC]).is_empty());
    assert!(project.path("elsewhere/config.json").is_file());
}

#[test]
fn other_jobs_and_another_device_name_change_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    assert!(
        project
            .built(&[SPEC, "--jobs", "3", "--device", "flex"])
            .is_empty()
    );
    project.write(
        SPEC,
        &(project.read(SPEC) + "\n[run]\njobs = 2\ndevice = \"flex\"\n"),
    );
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn one_byte_in_the_data_reruns_its_consumers() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace("data/train.csv", "garden", "gardex");
    assert_eq!(project.built(&[SPEC]), ALL);
}

#[test]
fn one_byte_in_the_test_file_reruns_what_reads_the_tests() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace("data/test.csv", "garden", "gardex");
    let built = project.built(&[SPEC]);
    assert!(
        built.contains(&"data".to_owned()) && built.contains(&"scores".to_owned()),
        "{built:?}"
    );
}

#[test]
fn one_byte_in_a_tokenizer_file_reruns_exactly_its_consumers() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let tokens = project.refit(&["path", SPEC, "tokens"]).success().stdout;
    let from = std::path::Path::new(tokens.trim()).join("tokenizer");
    std::fs::create_dir(project.path("tokenizer")).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(
            entry.path(),
            project.path("tokenizer").join(entry.file_name()),
        )
        .unwrap();
    }
    project.replace(
        SPEC,
        "train_tokenizer = { model = \"wordpiece\", vocab_size = 150, min_frequency = 1 }",
        "tokenizer = \"tokenizer\"",
    );
    project.run(&[SPEC]);
    project.replace("tokenizer/tokenizer.json", "garden", "gardex");
    assert_eq!(
        project.built(&[SPEC]),
        ["tokens", "classifier", "scores", "bundle"]
    );
}

#[test]
fn an_upstream_that_reruns_to_the_same_content_stops_the_rerun_there() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    // The quotes change the file's bytes and no cell.
    project.replace("data/train.csv", "text,label\n", "\"text\",\"label\"\n");
    assert_eq!(project.built(&[SPEC]), ["data"]);
}

#[test]
fn forcing_a_stage_runs_it_and_stops_where_the_content_is_the_same() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    assert_eq!(project.built(&[SPEC, "--force", "tokens"]), ["tokens"]);
}

#[test]
fn a_target_runs_with_what_it_needs_and_nothing_else() {
    let project = Project::tiny();
    assert_eq!(project.built(&[SPEC, "tokens"]), ["data", "more", "tokens"]);
}

#[test]
fn a_corrupted_artifact_is_found_by_verify_and_rebuilt_by_run() {
    let project = Project::tiny();
    let before = project.run(&[SPEC]);
    let tokens = project.refit(&["path", SPEC, "tokens"]).success().stdout;
    let file = std::path::Path::new(tokens.trim()).join("train.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let verified = project.refit(&["cache", "verify"]).exits(1);
    assert!(
        verified.stdout.contains("train.safetensors"),
        "{}",
        verified.stdout
    );
    let after = project.run(&[SPEC]);
    project.refit(&["cache", "verify"]).success();
    assert_eq!(digests(&before), digests(&after));
    project.refit(&["path", SPEC, "tokens"]).success();
}

#[test]
fn a_corrupted_artifact_is_noticed_by_run_itself() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let tokens = project.refit(&["path", SPEC, "tokens"]).success().stdout;
    std::fs::write(
        std::path::Path::new(tokens.trim()).join("train.safetensors"),
        "garbage",
    )
    .unwrap();
    assert_eq!(project.built(&[SPEC]), ["tokens"]);
    project.refit(&["cache", "verify"]).success();
}

#[test]
fn a_collected_object_leaves_its_step_fresh_until_a_consumer_runs() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let collected = project
        .refit(&["cache", "gc", "--older-than", "0s"])
        .success();
    assert!(collected.stdout.contains("removed"));
    assert!(project.built(&[SPEC]).is_empty());
    project.replace(SPEC, "learning_rate = 1e-3", "learning_rate = 2e-3");
    assert_eq!(project.built(&[SPEC]), ALL);
}

#[test]
fn gc_keeps_what_a_spec_uses() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.run(&[SPEC, "--set", "train.classifier.epochs=1"]);
    project.run(&[SPEC]);
    let dry = project
        .refit(&["cache", "gc", "--unused-by", SPEC, "--dry-run"])
        .success();
    assert_eq!(dry.stdout.lines().count(), 3, "{}", dry.stdout);
    project
        .refit(&["cache", "gc", "--unused-by", SPEC])
        .success();
    for stage in ALL {
        project.refit(&["path", SPEC, stage]).success();
    }
    project.refit(&["cache", "gc"]).exits(2);
}

#[test]
fn two_runs_from_empty_stores_give_the_same_digests() {
    let (first, second) = (Project::tiny(), Project::tiny());
    assert_eq!(
        digests(&first.run(&[SPEC])),
        digests(&second.run(&[SPEC, "--jobs", "2"]))
    );
}

#[test]
fn one_and_two_threads_give_the_same_digests() {
    let with_threads = |count: &str| {
        let project = Project::tiny();
        let mut command = project.command(&["run", SPEC, "--json"]);
        command
            .env("RAYON_NUM_THREADS", count)
            .env("POLARS_MAX_THREADS", count);
        digests(
            &crate::project::Said::from(command.output().unwrap())
                .success()
                .json(),
        )
    };
    assert_eq!(with_threads("1"), with_threads("2"));
}

#[test]
fn a_deleted_export_is_placed_again() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    let plan = project.refit(&["plan", SPEC]).exits(3);
    assert!(plan.stdout.contains("dist"), "{}", plan.stdout);
    assert!(project.built(&[SPEC]).is_empty());
    assert!(project.path("dist/model.safetensors").is_file());
}

#[test]
fn a_deleted_export_is_placed_again_from_a_collected_object() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project
        .refit(&["cache", "gc", "--older-than", "0s"])
        .success();
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    assert_eq!(
        project.built(&[SPEC]).last().map(String::as_str),
        Some("bundle")
    );
    assert!(project.path("dist/model.safetensors").is_file());
}

#[test]
fn an_edited_export_is_refused_without_force() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.write("dist/README.md", "mine now");
    project.replace(SPEC, "learning_rate = 1e-3", "learning_rate = 2e-3");
    let refused = project.refit(&["run", SPEC]).exits(1);
    assert!(
        refused.stderr.contains("README.md") && refused.stderr.contains("--force bundle"),
        "{}",
        refused.stderr
    );
    assert_eq!(project.read("dist/README.md"), "mine now");
    project.refit(&["run", SPEC, "--force", "bundle"]).success();
    assert_ne!(project.read("dist/README.md"), "mine now");
}

#[test]
fn a_foreign_folder_is_refused_without_force() {
    let project = Project::tiny();
    project.write("dist/thesis.txt", "years of work");
    let refused = project.refit(&["run", SPEC]).exits(1);
    assert!(
        refused.stderr.contains("did not place"),
        "{}",
        refused.stderr
    );
    assert_eq!(project.read("dist/thesis.txt"), "years of work");
}

#[test]
fn an_option_at_its_default_is_not_in_the_key() {
    let project = Project::tiny();
    let before = project.run(&[SPEC, "tokens"]);
    project.replace(
        SPEC,
        "vocab_size = 150, min_frequency = 1",
        "vocab_size = 150, min_frequency = 1, lowercase = true",
    );
    let after = project.run(&[SPEC, "tokens"]);
    assert_eq!(before["steps"][2]["key"], after["steps"][2]["key"]);
}

#[test]
fn rows_added_to_the_training_file_rerun_everything() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.write("data/train.csv", &rows(44, 0));
    assert_eq!(built(&project.run(&[SPEC])), ALL);
}

#[test]
fn no_force_places_over_the_spec_its_data_or_the_store() {
    let project = Project::tiny();
    for to in [".", "..", "data"] {
        project.write(
            "bad.toml",
            &project
                .read(SPEC)
                .replace("to = \"dist\"", &format!("to = \"{to}\"")),
        );
        project
            .refit(&["run", "bad.toml", "--force", "bundle"])
            .exits(2);
    }
    project.write(
        "bad.toml",
        &project.read(SPEC).replace("\"dist\"", "\".refit\""),
    );
    let said = project
        .refit(&["run", "bad.toml", "--force", "bundle"])
        .exits(1);
    assert!(said.stderr.contains("store"), "{}", said.stderr);
    assert!(project.path("data/train.csv").is_file() && project.path(".refit/keys").is_dir());
}

#[test]
fn a_damaged_object_does_not_let_gc_take_what_lies_behind_it() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let data = project.refit(&["path", SPEC, "data"]).success().stdout;
    std::fs::write(
        std::path::Path::new(data.trim()).join("train.parquet"),
        "garbage",
    )
    .unwrap();
    let dry = project
        .refit(&["cache", "gc", "--unused-by", SPEC, "--dry-run"])
        .success();
    assert!(dry.stdout.is_empty(), "{}", dry.stdout);
}

#[test]
fn a_card_keeps_its_metrics_when_the_scores_were_collected() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project
        .refit(&["cache", "gc", "--older-than", "0s"])
        .success();
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    project.run(&[SPEC]);
    assert!(project.read("dist/README.md").contains("accuracy"));
}

#[test]
fn an_edited_export_is_refused_before_anything_is_rebuilt() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project
        .refit(&["cache", "gc", "--older-than", "0s"])
        .success();
    project.write("dist/README.md", "mine now");
    let plan = project.refit(&["plan", SPEC]).exits(3);
    assert!(plan.stdout.contains("--force"), "{}", plan.stdout);
    let run = project.refit(&["run", SPEC, "--json"]).exits(1).json();
    assert!(built(&run).is_empty(), "{run}");
    assert_eq!(with_outcome(&run, "failed"), ["bundle"]);
}

#[test]
fn columns_spelled_out_at_their_defaults_keep_the_key() {
    let project = Project::tiny();
    let before = project.run(&[SPEC, "data"]);
    // The key of version 4 of `load`, whatever settings it gains.
    assert_eq!(
        before["steps"][0]["key"],
        "7f8d05f81316f87b9eb181b8310753c2e5e15340204a7e30cff7575246daa07a"
    );
    for columns in [
        "columns = { text = \"text\", label = \"label\" }",
        "columns = { label = \"label\" }\nlabel_separator = \",\"\nskip_invalid = false",
        "columns = {}\nquote = '\"'\nheader = true",
    ] {
        let text = project.read(SPEC).replace(
            "test = \"data/test.csv\"\n",
            &format!("test = \"data/test.csv\"\n{columns}\n"),
        );
        project.write("spelled.toml", &text);
        let after = project.run(&["spelled.toml", "data"]);
        assert_eq!(before["steps"][0]["key"], after["steps"][0]["key"]);
    }
}
