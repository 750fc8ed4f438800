//! Frozen encoders: what they give is computed once, shared by what differs in the head alone, and bounded in size.

use crate::project::{Project, Said, built, with_outcome};

const SPEC: &str = "pipeline.toml";

/// The tiny pipeline, whose model becomes the encoder of a second one.
fn pretrained() -> Project {
    let project = Project::tiny();
    project.replace(SPEC, "layers = 1,", "layers = 3,");
    project.run(&[SPEC]);
    let text = project
        .read(SPEC)
        .replace(
            "train_tokenizer = { model = \"wordpiece\", vocab_size = 150, min_frequency = 1 }",
            "tokenizer = \"encoder\"",
        )
        .replace(
            "scratch = { layers = 3, hidden = 16, heads = 2, max_positions = 24 }",
            "encoder = \"encoder\"\nfreeze = { encoder = true }",
        );
    std::fs::rename(project.path("dist"), project.path("encoder")).unwrap();
    project.write(SPEC, &text);
    project
}

const HIDDEN: &str = "classifier/activations";
const OF_SCORES: &str = "scores/activations";

#[test]
fn five_heads_on_a_frozen_encoder_run_it_once() {
    let project = pretrained();
    let first = built(&project.run(&[SPEC, "scores"]));
    for step in [HIDDEN, OF_SCORES, "classifier", "scores"] {
        assert!(first.iter().any(|name| name == step), "{first:?}");
    }
    let heads = [
        "head.pooling=mean",
        "head.pooling=max",
        "head.dropout=0.3",
        "optimizer.learning_rate=1e-2",
        "epochs=3",
    ];
    for head in heads {
        let set = format!("train.classifier.{head}");
        let run = project.run(&[SPEC, "scores", "--set", &set]);
        assert_eq!(built(&run), ["classifier", "scores"], "{head}");
        let fresh = with_outcome(&run, "fresh");
        assert!(fresh.iter().any(|name| name == HIDDEN), "{head}: {fresh:?}");
    }
    assert!(project.built(&[SPEC, "scores"]).is_empty());
}

#[test]
fn another_depth_encoder_or_text_runs_it_again() {
    let project = pretrained();
    project.run(&[SPEC, "scores"]);
    project.replace(SPEC, "encoder = true", "layers = 2");
    let again = project.built(&[SPEC, "scores"]);
    assert_eq!(again, [HIDDEN, "classifier", "scores"]);
    project.replace(SPEC, "max_length = 24", "max_length = 12");
    let again = project.built(&[SPEC, "scores"]);
    assert_eq!(again, ["tokens", HIDDEN, "classifier", "scores"]);
}

fn accuracy(project: &Project, arguments: &[&str]) -> f64 {
    let run = project.run(arguments);
    run["scores"]["scores"]["loss"].as_f64().unwrap()
}

#[test]
fn what_is_not_stored_is_computed_to_the_same_scores() {
    let project = pretrained();
    let stored = accuracy(&project, &[SPEC, "scores"]);
    project.replace(SPEC, "encoder = true", "encoder = true, store_limit = 1e-9");
    let plan = project.refit(&["plan", SPEC, "scores"]).exits(3);
    assert!(says(&plan, "is computed anew in every epoch"), "{plan:?}");
    let computed = accuracy(&project, &[SPEC, "scores"]);
    assert!((stored - computed).abs() < 1e-4, "{stored}, {computed}");
    project.replace(SPEC, "store_limit = 1e-9", "store_limit = 0");
    let none = project.run(&[SPEC, "scores"]);
    let steps = none["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["stage"] != HIDDEN));
}

fn says(said: &Said, text: &str) -> bool {
    said.stdout.contains(text)
}

#[test]
fn a_plan_says_what_will_be_stored_and_draws_the_learning_rate() {
    let project = pretrained();
    project.run(&[SPEC, "tokens"]);
    let plan = project.refit(&["plan", SPEC]).exits(3);
    assert!(
        says(
            &plan,
            "classifier/activations: what the encoder gives will be stored: "
        ),
        "{}",
        plan.stdout
    );
    assert!(!says(&plan, "learning rate"));
    let plan = project.refit(&["plan", SPEC, "-v"]).exits(3);
    assert!(
        says(
            &plan,
            "classifier: learning rate (linear): highest 1e-3 in step 3"
        ),
        "{}",
        plan.stdout
    );
    assert!(says(&plan, "█"), "{}", plan.stdout);
}

#[test]
fn gradual_unfreezing_and_scratch_have_no_hidden_step() {
    let project = pretrained();
    project.replace(SPEC, "encoder = true", "encoder = true, unfreeze_every = 1");
    let run = project.run(&[SPEC, "classifier"]);
    assert_eq!(built(&run), ["tokens", "classifier"]);
}

#[test]
fn the_weights_of_the_last_evaluations_lie_beside_the_model_and_can_be_gone_on_from() {
    let project = Project::tiny();
    project.replace(SPEC, "epochs = 2", "epochs = 3\nkeep_last = 2");
    project.run(&[SPEC, "classifier"]);
    let path = project.refit(&["path", SPEC, "classifier"]).success();
    let kept = std::path::Path::new(path.stdout.trim()).join("kept");
    let mut steps: Vec<String> = std::fs::read_dir(&kept)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    steps.sort();
    assert_eq!(steps, ["step-14", "step-21"]);
    let encoder = kept.join("step-14");
    project.replace(
        SPEC,
        "scratch = { layers = 1, hidden = 16, heads = 2, max_positions = 24 }",
        &format!("encoder = {:?}", encoder.to_str().unwrap()),
    );
    project.replace(SPEC, "keep_last = 2\n", "");
    assert_eq!(project.built(&[SPEC, "classifier"]), ["classifier"]);
}
