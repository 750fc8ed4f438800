//! What every kind of training does alike: where it begins, what it states, how it is run, logged and taken up again.
//!
//! A stage brings the model, the rows and what its answers are compared with; [`fit`] lets `learn` do the rest, with bars,
//! checkpoints and a log. [`Stated`] are the settings that each has.
//!
//! Deliberately absent: downloads (an encoder is a folder here), and what a model is for.

mod begin;
mod curves;
mod log;
mod outlook;
mod resume;
mod stated;

pub(super) use begin::{
    check_tokenizer, config_of, encoder_edge, encoder_edge_fields, files, named, remotes,
};
pub(super) use log::validations;
pub(super) use stated::Stated;

use self::log::Log;
use self::resume::{Resumed, Writer};
use super::{Context, StageError};
use crate::device::Chosen;
use crate::learn::{
    self, Course, EarlyStopping, Fitted, LearnError, Material, Recipe, ScheduleName,
};
use crate::metrics::Metric;
use crate::model::Classifier;

/// What happened at each step and validation, in an artifact.
pub(super) const METRICS: &str = "metrics.jsonl";

/// Says where a training computes, and what it does not on a CPU that nobody chose.
pub(super) fn say_device(context: &Context, chosen: &Chosen) {
    context
        .progress
        .say(&format!("training on {}", chosen.name));
    if chosen.automatic && chosen.cpu {
        context.progress.warn(
            "no GPU was found, so training runs on the CPU; `--device cuda` needs a build with the feature `cuda`",
        );
    }
}

/// Trains `model` as `recipe` says, from the newest checkpoint where there is one. With what came out the lines of its log.
///
/// # Errors
/// Those of [`learn::fit`]; [`StageError::Interrupted`] where it was told to stop.
pub(super) fn fit(
    context: &Context,
    chosen: &Chosen,
    model: Classifier,
    material: &Material,
    recipe: &Recipe,
) -> Result<(Fitted, Vec<u8>), StageError> {
    let watched = recipe.early_stopping.as_ref();
    let metric = watched.and_then(|stopping: &EarlyStopping| stopping.metric);
    let metric = metric.unwrap_or(material.metric);
    let kind = chosen.kind.as_str();
    let checkpoints = context.checkpoints;
    let resumed = checkpoints
        .every
        .and_then(|_| resume::newest(context, kind));
    let writer = checkpoints.every;
    let writer = writer.map(|_| Writer::start(checkpoints, kind, chosen.cpu));
    let mut log = Log::new(
        context,
        recipe
            .length
            .steps(material.train.rows(), recipe.batch.size),
        metric,
        recipe.evaluate_every,
        &chosen.device,
        writer,
    );
    let from = match resumed {
        Some(Resumed { state, log: before }) => {
            log.take_up(state.numbers.step, before)?;
            Some(state)
        }
        None => None,
    };
    context.checkpoint()?;
    log.meter
        .begin(from.as_ref().map_or(0, |state| state.numbers.step));
    let course = Course {
        from,
        every: checkpoints.every,
        beside: chosen.beside.clone(),
    };
    let device = &chosen.device;
    let fitted = learn::fit(model, material, recipe, device, course, &mut |event| {
        log.hear(event)
    });
    log.finish();
    if let Some(error) = log.failed {
        return Err(error.into());
    }
    let fitted = match fitted {
        Err(LearnError::Interrupted) => return Err(StageError::Interrupted),
        other => other?,
    };
    if fitted.skipped > 0 {
        context.progress.say(&format!(
            "{} of {} steps were skipped, since their gradients overflowed in {}",
            fitted.skipped, fitted.steps, recipe.precision
        ));
    }
    if fitted.stopped_early
        && let Some(stopping) = watched
    {
        context.progress.say(&format!(
            "stopped after {} steps: no better {metric} for {} evaluations",
            fitted.steps, stopping.patience
        ));
    }
    Ok((fitted, log.lines))
}

/// Refuses settings that watch validation rows which are not there; of other trainings without such rows it warns. `further`
/// are settings of the stage's own, each with whether it is stated.
///
/// # Errors
/// The first such setting.
pub(super) fn check_validation(
    context: &Context,
    recipe: &Recipe,
    evaluates: bool,
    further: &[(&str, bool)],
) -> Result<(), StageError> {
    let watching = [
        ("early_stopping", recipe.early_stopping.is_some()),
        ("evaluate_every", evaluates),
        (
            "schedule.name = \"reduce_on_plateau\"",
            recipe.schedule.name == ScheduleName::ReduceOnPlateau,
        ),
    ];
    let mut all = further.iter().chain(&watching);
    if let Some((needs, _)) = all.find(|(_, stated)| *stated) {
        return Err(StageError::Mismatch {
            message: format!("`{needs}` watches the validation split, and the input has none"),
            help: format!(
                "give `validation = [\"FILE\"]` or `split = {{ validation = 0.1 }}` in the load stage, or drop `{needs}`"
            ),
        });
    }
    context
        .progress
        .warn("there is no validation split: the weights of the last step are kept, unscored");
    Ok(())
}

/// The metric that a stage watches, for messages and logs.
pub(super) fn watched(early_stopping: Option<&EarlyStopping>, usual: Metric) -> Metric {
    early_stopping
        .and_then(|stopping| stopping.metric)
        .unwrap_or(usual)
}
