//! Writing specs: bases, defaults spelled out, problems where others show them, completions.

use crate::project::{Project, repository};

const SPEC: &str = "pipeline.toml";

#[test]
fn a_spec_says_only_what_is_different_from_its_base() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.write(
        "seeded.toml",
        "version = 1\nextends = \"pipeline.toml\"\nwithout = [\"export\"]\n[train.classifier]\nepochs = 1\n",
    );
    let run = project.run(&["seeded.toml"]);
    assert_eq!(run["pipeline"], "seeded");
    assert_eq!(crate::project::built(&run), ["classifier", "scores"]);
    project
        .refit(&["check", "seeded.toml", "--set", "seed=7"])
        .success();
    // What a base says is shown in the base.
    project.replace(SPEC, "batch = { size = 8 }", "batch = { size = 0 }");
    let said = project.refit(&["check", "seeded.toml"]).exits(2);
    assert!(said.stderr.contains("pipeline.toml:24:"), "{}", said.stderr);
}

#[test]
fn the_best_trial_of_a_sweep_over_a_base_is_a_spec() {
    let project = Project::tiny();
    project.write(
        "sweep.toml",
        "version = 1\nextends = \"pipeline.toml\"\nwithout = [\"export\"]\n[sweep]\n\
        goal = { maximize = \"classifier.accuracy\" }\n[sweep.parameters]\n\"train.classifier.epochs\" = [1, 2]\n",
    );
    project.refit(&["sweep", "sweep.toml"]).success();
    assert!(crate::project::built(&project.run(&["sweep.best.toml"])).is_empty());
}

#[test]
fn a_column_that_a_header_lacks_is_found_before_anything_runs() {
    let project = Project::tiny();
    let said = project.refit(&["check", SPEC, "--set", "load.data.columns.label=lable"]);
    let said = said.exits(2).stderr;
    for part in [
        "no column `lable`",
        "it has `text`, `label`",
        "did you mean `label`?",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    project.replace(
        SPEC,
        "test = \"data/test.csv\"\n",
        "test = \"data/test.csv\"\nwhere = \"stars > 3\"\ncolumns = { text = \"txt\" }\n",
    );
    let problems = project.refit(&["check", SPEC, "--json"]).exits(2).json();
    let places: Vec<_> = problems["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            (
                problem["line"].as_u64().unwrap(),
                problem["message"].as_str().unwrap(),
            )
        })
        .collect();
    let [(8, condition), (9, text)] = places[..] else {
        panic!("{places:?}")
    };
    assert!(condition.ends_with("no column `stars`"), "{condition}");
    assert!(text.ends_with("no column `txt`"), "{text}");
    project.refit(&["run", SPEC]).exits(2);
}

#[test]
fn a_filled_spec_reruns_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let before = project.read(SPEC);
    let printed = project.refit(&["fill", SPEC]).success().stdout;
    assert_eq!(project.read(SPEC), before);
    project.refit(&["fill", SPEC, "--write"]).success();
    assert_eq!(project.read(SPEC), printed);
    assert!(printed.contains("max_grad_norm = 1.0"), "{printed}");
    assert!(project.built(&[SPEC]).is_empty());
    let again = project.refit(&["fill", SPEC, "--write"]).success();
    assert!(again.stderr.contains("stated already"), "{}", again.stderr);
}

#[test]
fn problems_annotate_a_change_on_github() {
    let project = Project::tiny();
    project.replace(SPEC, "epochs = 2", "epoch = 2");
    let said = project
        .refit(&["check", SPEC, "--format", "github"])
        .exits(2);
    assert_eq!(
        said.stdout,
        "::error file=pipeline.toml,line=23,col=1,title=refit::`train.classifier` has no setting `epoch`%0Ahelp: did you mean `epochs`?\n"
    );
    assert!(said.stderr.contains("1 problem"), "{}", said.stderr);
    let json = project.refit(&["check", SPEC, "--format", "json"]).exits(2);
    assert_eq!(
        json.json(),
        project.refit(&["check", SPEC, "--json"]).exits(2).json()
    );
}

#[test]
fn every_shell_gets_a_script() {
    let project = Project::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.refit(&["completions", shell]).success().stdout;
        for word in ["watch", "allow-commands", "inspect"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let bash = project.refit(&["completions", "bash"]).success().stdout;
    project.write("refit.bash", &bash);
    let mut command = std::process::Command::new("bash");
    command.args([
        "-c",
        "source refit.bash; COMP_WORDS=(refit ins); COMP_CWORD=1; _refit refit ins refit; echo \"${COMPREPLY[@]}\"",
    ]);
    let said = command.current_dir(project.path("")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "inspect");
}

#[test]
fn the_reference_is_that_of_this_program() {
    let project = Project::empty();
    let printed = project.refit(&["schema", "--reference"]).success().stdout;
    let kept = std::fs::read_to_string(repository().join("schemas/reference.md")).unwrap();
    assert!(
        printed == kept,
        "schemas/reference.md is stale: refit schema --reference > schemas/reference.md"
    );
}
