//! What is wrong with the settings of a loss: those of another loss or task, and weights that are none.

use std::collections::BTreeMap;

use super::Train;
use crate::stage::Fault;
use crate::task::{LossName, LossSettings, PositiveWeights, Task};

impl Train {
    pub(super) fn faults_of_the_loss(&self) -> Vec<Fault> {
        let Some(loss) = &self.loss else {
            return Vec::new();
        };
        let task = self.task;
        let mut faults = Vec::new();
        if let Some(name) = loss.name
            && !task.losses().contains(&name)
        {
            let known: Vec<String> = task.losses().iter().map(LossName::to_string).collect();
            faults.push(Fault::new(
                "loss.name",
                format!("{name} is no loss for {task}"),
                format!("use {}, or set another `task`", known.join(" or ")),
            ));
            return faults;
        }
        let Some(name) = loss.name.or(task.losses().first().copied()) else {
            return faults;
        };
        faults.extend(strangers(loss, name, task));
        if loss.class_weights.is_some() && loss.weights.is_some() {
            faults.push(Fault::new(
                "loss.weights",
                "`class_weights` and `weights` exclude each other",
                "keep `class_weights` to let all labels count alike, or `weights` to say how much each does",
            ));
        }
        if let Some(PositiveWeights::ByLabel(weights)) = &loss.positive_weights {
            faults.extend(not_weights("loss.positive_weights", weights));
        }
        if let Some(weights) = &loss.weights {
            faults.extend(not_weights("loss.weights", weights));
        }
        faults
    }
}

/// Settings that mean nothing to this loss of this task.
fn strangers(loss: &LossSettings, name: LossName, task: Task) -> Vec<Fault> {
    let mut faults = Vec::new();
    let one_of_many = matches!(task, Task::Classification | Task::TokenClassification);
    let focal = name == LossName::Focal;
    if loss.positive_weights.is_some() && task != Task::MultiLabel {
        faults.push(Fault::new(
            "loss.positive_weights",
            format!("{task} has no labels that are given each by itself"),
            "remove it, or set `task = \"multi_label\"`",
        ));
    } else if loss.positive_weights.is_some() && focal {
        faults.push(Fault::new(
            "loss.positive_weights",
            "a focal loss has no weights for missed labels",
            "use `alpha`, or `name = \"binary_cross_entropy\"`",
        ));
    }
    if loss.label_smoothing != 0.0 && !(one_of_many && name == LossName::CrossEntropy) {
        faults.push(Fault::new(
            "loss.label_smoothing",
            format!("{name} of {task} does not smooth labels"),
            "remove it; it belongs to `cross_entropy` of `classification` and `token_classification`",
        ));
    }
    let weighted = [
        ("loss.class_weights", loss.class_weights.is_some()),
        ("loss.weights", loss.weights.is_some()),
    ];
    for (field, given) in weighted {
        if given && !(one_of_many && (focal || name == LossName::CrossEntropy)) {
            faults.push(Fault::new(
                field,
                format!("{name} of {task} does not weigh labels"),
                match task {
                    Task::MultiLabel => "use `positive_weights`",
                    Task::TokenClassification => "remove it, or use `name = \"cross_entropy\"`",
                    _ => "remove it",
                },
            ));
        }
    }
    if loss.gamma.is_some() && !focal {
        faults.push(Fault::new(
            "loss.gamma",
            format!("{name} has no `gamma`"),
            "remove it, or set `name = \"focal\"`",
        ));
    }
    if loss.alpha.is_some() && !(focal && task == Task::MultiLabel) {
        faults.push(Fault::new(
            "loss.alpha",
            format!("{name} of {task} has no `alpha`"),
            match focal {
                true => "use `weights` or `class_weights`: they say how much each label counts",
                false => "remove it, or set `name = \"focal\"`",
            },
        ));
    }
    faults
}

/// The first that is no weight in single precision.
fn not_weights(field: &str, weights: &BTreeMap<String, f64>) -> Option<Fault> {
    let (label, weight) = weights
        .iter()
        .find(|&(_, &weight)| !(weight as f32 > 0.0 && (weight as f32).is_finite()))?;
    Some(Fault::new(
        format!("{field}.{label}"),
        format!("{weight:?} is no weight"),
        "give a positive number; 1 counts rows with the label as those without it",
    ))
}
