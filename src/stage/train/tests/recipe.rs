//! The settings of a recipe: what is wrong with some, what is left out of the key, and that each does something.

use super::*;

fn fault_fields(more: &[(&str, Value)]) -> Vec<String> {
    let faults = tiny(more).check().into_iter();
    faults.map(|fault| fault.field).collect()
}

#[test]
fn what_belongs_to_another_method_is_a_fault_at_its_field() {
    for (optimizer, fields) in [
        (json!({}), [].as_slice()),
        (json!({ "momentum": 0.9 }), &["optimizer.momentum"]),
        (
            json!({ "name": "lamb", "nesterov": true }),
            &["optimizer.nesterov"],
        ),
        (
            json!({ "name": "sgd", "momentum": 0.9, "nesterov": true }),
            &[],
        ),
        (
            json!({ "name": "sgd", "nesterov": true }),
            &["optimizer.nesterov"],
        ),
        (
            json!({ "name": "sgd", "beta1": 0.8, "epsilon": 1e-6 }),
            &["optimizer.beta1", "optimizer.epsilon"],
        ),
        (
            json!({ "groups": [{ "match": ["*"], "weight_decay": 0.0 }, { "match": ["*"] }] }),
            &["optimizer.groups[1]"],
        ),
    ] {
        let found = fault_fields(&[("optimizer", optimizer.clone())]);
        assert_eq!(found, fields, "{optimizer}");
    }
}

#[test]
fn what_belongs_to_another_schedule_is_a_fault_at_its_field() {
    for (schedule, fields) in [
        (json!({ "name": "cosine", "warmup": 0.2 }), [].as_slice()),
        (json!({ "cycles": 3 }), &["schedule.cycles"]),
        (json!({ "name": "cosine_with_restarts", "cycles": 3 }), &[]),
        (
            json!({ "power": 2.0, "end_learning_rate": 1e-6 }),
            &["schedule.power", "schedule.end_learning_rate"],
        ),
        (
            json!({ "name": "polynomial", "power": 2.0, "end_learning_rate": 0.1 }),
            &["schedule.end_learning_rate"],
        ),
        (json!({ "name": "step" }), &["schedule"]),
        (json!({ "name": "step", "every": 5, "gamma": 0.5 }), &[]),
        (
            json!({ "name": "step", "every": 5, "at": [0.5] }),
            &["schedule.at"],
        ),
        (json!({ "every": 5 }), &["schedule.every"]),
        (
            json!({ "factor": 0.5, "patience": 1, "minimum": 1e-6 }),
            &["schedule.factor", "schedule.patience", "schedule.minimum"],
        ),
        (
            json!({ "warmup": 0.1, "warmup_steps": 5 }),
            &["schedule.warmup_steps"],
        ),
    ] {
        let found = fault_fields(&[("schedule", schedule.clone())]);
        assert_eq!(found, fields, "{schedule}");
    }
}

#[test]
fn what_belongs_to_another_loss_or_task_is_a_fault_at_its_field() {
    for (task, loss, fields) in [
        (
            "classification",
            json!({ "label_smoothing": 0.1, "class_weights": "balanced" }),
            [].as_slice(),
        ),
        (
            "classification",
            json!({ "class_weights": "balanced", "weights": { "good": 2.0 } }),
            &["loss.weights"],
        ),
        (
            "classification",
            json!({ "weights": { "good": 0.0 } }),
            &["loss.weights.good"],
        ),
        ("classification", json!({ "gamma": 1.0 }), &["loss.gamma"]),
        (
            "classification",
            json!({ "name": "focal", "gamma": 1.0, "weights": { "good": 2.0 } }),
            &[],
        ),
        (
            "classification",
            json!({ "name": "focal", "alpha": 0.25, "label_smoothing": 0.1 }),
            &["loss.label_smoothing", "loss.alpha"],
        ),
        (
            "token_classification",
            json!({ "name": "crf", "label_smoothing": 0.1, "class_weights": "balanced" }),
            &["loss.label_smoothing", "loss.class_weights"],
        ),
        (
            "token_classification",
            json!({ "weights": { "good": 2.0 } }),
            &[],
        ),
        (
            "multi_label",
            json!({ "name": "focal", "alpha": 0.25 }),
            &[],
        ),
        (
            "multi_label",
            json!({ "name": "focal", "positive_weights": "balanced" }),
            &["loss.positive_weights"],
        ),
        (
            "multi_label",
            json!({ "class_weights": "balanced", "label_smoothing": 0.1 }),
            &["loss.label_smoothing", "loss.class_weights"],
        ),
        (
            "question_answering",
            json!({ "label_smoothing": 0.1 }),
            &["loss.label_smoothing"],
        ),
        ("regression", json!({ "name": "focal" }), &["loss.name"]),
        (
            "regression",
            json!({ "weights": { "good": 2.0 } }),
            &["loss.weights"],
        ),
    ] {
        let found = fault_fields(&[("task", json!(task)), ("loss", loss.clone())]);
        assert_eq!(found, fields, "{task}: {loss}");
    }
}

#[test]
fn parts_fit_into_their_batch_and_evaluations_have_one_interval() {
    let batch = |micro: Value| {
        let batch = json!({ "size": 8, "micro_size": micro });
        fault_fields(&[("batch", batch)])
    };
    assert!(batch(json!(8)).is_empty() && batch(json!("auto")).is_empty());
    assert_eq!(batch(json!(9)), ["batch.micro_size"]);
    let every = |every: Value| fault_fields(&[("evaluate_every", every)]);
    assert!(every(json!({ "steps": 5 })).is_empty());
    for wrong in [json!({}), json!({ "steps": 5, "epochs": 1 })] {
        assert_eq!(every(wrong), ["evaluate_every"]);
    }
}

#[test]
fn what_is_stated_as_it_is_anyway_leaves_the_settings_as_they_were() {
    let bare = tiny(&[]).settings();
    for (field, value) in [
        ("batch", json!({ "size": 8, "micro_size": 8 })),
        (
            "optimizer",
            json!({ "learning_rate": 5e-3, "weight_decay": 0.01, "layer_decay": 1.0, "groups": [] }),
        ),
        ("evaluate_every", json!({ "epochs": 1 })),
        ("keep", json!("best")),
        ("precision", json!("fp32")),
        ("loss", json!({ "label_smoothing": 0.0 })),
    ] {
        assert_eq!(tiny(&[(field, value)]).settings(), bare, "{field}");
    }
    let text = bare.to_string();
    for new in [
        "micro_size",
        "momentum",
        "nesterov",
        "layer_decay",
        "groups",
        "head_learning_rate",
        "cycles",
        "evaluate_every",
        "keep",
        "ema",
        "precision",
    ] {
        assert!(!text.contains(new), "{new} would change every key: {text}");
    }
}

/// Every setting, to another digest of what is learned.
#[test]
fn each_setting_of_a_recipe_changes_what_is_learned() {
    let tokens = tokens(&[("train", 40), ("validation", 12)], Some(&["good", "bad"]));
    let weights = |more: &[(&str, Value)]| {
        let (draft, _, result) = run(&tiny(more), tokens.path(), false);
        result.unwrap();
        fs::read(draft.path().join("model.safetensors")).unwrap()
    };
    let optimizer = |more: Value| {
        let mut optimizer = json!({ "learning_rate": 5e-3 });
        for (field, value) in more.as_object().unwrap() {
            optimizer[field] = value.clone();
        }
        ("optimizer", optimizer)
    };
    let plain = weights(&[]);
    for changed in [
        optimizer(json!({ "name": "adam" })),
        optimizer(json!({ "name": "sgd" })),
        optimizer(json!({ "name": "lamb" })),
        optimizer(json!({ "layer_decay": 0.5 })),
        optimizer(json!({ "head_learning_rate": 0.1 })),
        optimizer(json!({ "groups": [{ "match": ["*.layer.0.*"], "learning_rate": 0.0 }] })),
        ("schedule", json!({ "name": "cosine" })),
        ("schedule", json!({ "warmup_steps": 5 })),
        ("loss", json!({ "label_smoothing": 0.1 })),
        ("loss", json!({ "weights": { "good": 2.0 } })),
        ("loss", json!({ "name": "focal" })),
        ("ema", json!({ "decay": 0.5 })),
        ("precision", json!("bf16")),
        ("precision", json!("fp16")),
    ] {
        assert!(
            weights(std::slice::from_ref(&changed)) != plain,
            "{changed:?} changes nothing"
        );
    }
}

#[test]
fn the_log_has_the_evaluations_that_were_asked_for() {
    let tokens = tokens(&[("train", 40), ("validation", 12)], Some(&["good", "bad"]));
    let validations = |more: &[(&str, Value)]| -> Vec<u64> {
        let (draft, heard, result) = run(&tiny(more), tokens.path(), false);
        result.unwrap();
        let text = fs::read_to_string(draft.path().join("metrics.jsonl")).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let steps: Vec<u64> = lines
            .filter(|line| line.get("validation").is_some())
            .map(|line| line["step"].as_u64().unwrap())
            .collect();
        let said = heard.iter().filter(|line| line.contains("validation loss"));
        assert_eq!(said.count(), steps.len());
        steps
    };
    assert_eq!(validations(&[]), [5, 10]);
    let every = |every| [("evaluate_every", every)];
    assert_eq!(validations(&every(json!({ "steps": 3 }))), [3, 6, 9, 10]);
    assert_eq!(validations(&every(json!({ "epochs": 2 }))), [10]);
}

#[test]
fn the_log_of_fp16_has_the_loss_scale_of_each_step() {
    let tokens = tokens(&[("train", 40), ("validation", 12)], Some(&["good", "bad"]));
    let scales = |precision: &str| {
        let more = [("precision", json!(precision))];
        let (draft, _, result) = run(&tiny(&more), tokens.path(), false);
        result.unwrap();
        let text = fs::read_to_string(draft.path().join("metrics.jsonl")).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let scales: Vec<Option<f64>> = lines
            .filter(|line| line.get("loss").is_some())
            .map(|line| line.get("loss_scale").and_then(Value::as_f64))
            .collect();
        scales
    };
    assert_eq!(scales("fp16"), [Some(65_536.0); 10]);
    assert_eq!(scales("bf16"), [None; 10]);
}

#[test]
fn the_model_has_the_best_weights_or_the_last() {
    let tokens = tokens(&[("train", 40), ("validation", 12)], Some(&["good", "bad"]));
    let steps = |keep: &str| {
        let more = [("keep", json!(keep)), ("epochs", json!(8))];
        let (draft, _, result) = run(&tiny(&more), tokens.path(), false);
        result.unwrap();
        let info = model::ModelInfo::read(draft.path()).unwrap();
        (info.best_step, info.steps)
    };
    let (best, all) = steps("best");
    assert!(best < all, "the words are learned long before step {all}");
    assert_eq!(steps("last"), (all, all));
}

#[test]
fn balanced_classes_change_what_is_learned_where_classes_are_uneven() {
    let tokens = tokens(&[("train", 41)], Some(&["good", "bad"]));
    let weights = |more: &[(&str, Value)]| {
        let (draft, _, result) = run(&tiny(more), tokens.path(), false);
        result.unwrap();
        fs::read(draft.path().join("model.safetensors")).unwrap()
    };
    let balanced = ("loss", json!({ "class_weights": "balanced" }));
    assert!(weights(&[balanced]) != weights(&[]), "21 good and 20 bad");
}

#[test]
fn a_weight_for_a_label_that_there_is_not_names_it() {
    let tokens = tokens(&[("train", 16)], Some(&["good", "bad"]));
    let loss = ("loss", json!({ "weights": { "god": 2.0 } }));
    let (_, _, result) = run(&tiny(&[loss]), tokens.path(), false);
    let told = result.unwrap_err().to_string();
    assert!(
        told.contains("loss.weights") && told.contains("`god`"),
        "{told}"
    );
}

#[test]
fn what_follows_scores_needs_a_validation_split() {
    let tokens = tokens(&[("train", 16)], Some(&["good", "bad"]));
    for (field, value) in [
        ("evaluate_every", json!({ "steps": 3 })),
        ("schedule", json!({ "name": "reduce_on_plateau" })),
    ] {
        let (_, _, result) = run(&tiny(&[(field, value)]), tokens.path(), false);
        let told = result.unwrap_err().to_string();
        assert!(
            told.contains(field) && told.contains("validation split"),
            "{told}"
        );
    }
}
