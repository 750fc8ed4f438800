//! What every training states alike: where it begins, how long it is, its recipe; and what is wrong with that: settings of another
//! method, and those that exclude or need each other.
//!
//! Deliberately absent: what only one kind of training has.

use crate::learn::{
    BatchSettings, EvaluateEvery, FreezeSettings, Length, MicroSize, OptimizerName,
    OptimizerSettings, ScheduleName, ScheduleSettings,
};
use crate::model::ScratchSettings;
use crate::stage::Fault;

/// The settings that a stage states.
pub(in crate::stage) struct Stated<'a> {
    /// The kind of the stage, for messages.
    pub(in crate::stage) kind: &'static str,
    pub(in crate::stage) encoder: Option<&'a String>,
    pub(in crate::stage) encoder_stage: Option<&'a String>,
    pub(in crate::stage) scratch: Option<&'a ScratchSettings>,
    pub(in crate::stage) epochs: Option<u32>,
    /// The epochs where neither these nor steps are stated.
    pub(in crate::stage) usual_epochs: u32,
    pub(in crate::stage) max_steps: Option<u32>,
    pub(in crate::stage) batch: &'a BatchSettings,
    pub(in crate::stage) optimizer: &'a OptimizerSettings,
    pub(in crate::stage) schedule: &'a ScheduleSettings,
    pub(in crate::stage) evaluate_every: Option<EvaluateEvery>,
    pub(in crate::stage) freeze: Option<&'a FreezeSettings>,
}

impl Stated<'_> {
    pub(in crate::stage) fn length(&self) -> Length {
        match self.max_steps {
            Some(steps) => Length::Steps(u64::from(steps)),
            None => Length::Epochs(u64::from(self.epochs.unwrap_or(self.usual_epochs))),
        }
    }

    /// What a schema cannot say.
    pub(in crate::stage) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.faults_of_the_beginning();
        faults.extend(self.faults_of_the_optimizer());
        faults.extend(self.faults_of_the_schedule());
        faults.extend(self.faults_of_the_freezing());
        if self.epochs.is_some() && self.max_steps.is_some() {
            faults.push(Fault::new(
                "max_steps",
                "`epochs` and `max_steps` exclude each other",
                "keep the one that should decide how long to train",
            ));
        }
        if let Some(MicroSize::Rows(rows)) = self.batch.micro_size
            && rows > self.batch.size
        {
            faults.push(Fault::new(
                "batch.micro_size",
                format!(
                    "a part of {rows} rows is larger than the batch of {}",
                    self.batch.size
                ),
                "make it smaller than `size`, or remove it",
            ));
        }
        if let Some(every) = self.evaluate_every {
            match (every.steps, every.epochs) {
                (Some(_), Some(_)) => faults.push(Fault::new(
                    "evaluate_every",
                    "`steps` and `epochs` exclude each other",
                    "keep one of the two",
                )),
                (None, None) => faults.push(Fault::new(
                    "evaluate_every",
                    "`evaluate_every` does not say how often",
                    "give `{ steps = 200 }` or `{ epochs = 1 }`",
                )),
                _ => {}
            }
        }
        faults
    }

    fn faults_of_the_beginning(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let given = [
            ("encoder", self.encoder.is_some()),
            ("encoder_stage", self.encoder_stage.is_some()),
            ("scratch", self.scratch.is_some()),
        ];
        let mut given = given.into_iter().filter(|&(_, given)| given);
        match (given.next(), given.next()) {
            (None, _) => faults.push(Fault::new(
                "",
                format!("a {} stage needs an encoder", self.kind),
                "give `encoder = \"FOLDER\"` (config.json and model.safetensors), `encoder_stage = \"STAGE\"`, or `scratch = { layers = 2, hidden = 128, heads = 2 }`",
            )),
            (Some((first, _)), Some((second, _))) => faults.push(Fault::new(
                second,
                format!("`{first}` and `{second}` exclude each other"),
                "keep the one that training should begin with; `scratch` begins with random weights",
            )),
            _ => {}
        }
        if let Some(scratch) = self.scratch
            && scratch.heads > 0
            && scratch.hidden % scratch.heads != 0
        {
            faults.push(Fault::new(
                "scratch.heads",
                format!(
                    "a hidden size of {} does not divide into {} heads",
                    scratch.hidden, scratch.heads
                ),
                "make `hidden` a multiple of `heads`",
            ));
        }
        faults
    }

    fn faults_of_the_freezing(&self) -> Vec<Fault> {
        let Some(freeze) = self.freeze else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        let beginning = freeze.beginning();
        if self.scratch.is_some() && beginning.is_some() {
            faults.push(Fault::new(
                "freeze",
                "an encoder from scratch has learned nothing that is worth keeping",
                "remove `freeze`, or fine-tune a pretrained `encoder`",
            ));
        }
        if freeze.encoder && freeze.layers.is_some() {
            faults.push(Fault::new(
                "freeze.layers",
                "`encoder` and `layers` exclude each other",
                "keep `encoder` to freeze all layers, or `layers` to freeze the first of them",
            ));
        }
        if beginning.is_none() && freeze.patterns.is_empty() {
            faults.push(Fault::new(
                "freeze",
                "nothing is frozen",
                "give `encoder = true`, `layers = 6`, `embeddings = true` or `match = [\"…\"]`, or remove it",
            ));
        }
        if beginning.is_none() && freeze.unfreeze_every.is_some() {
            faults.push(Fault::new(
                "freeze.unfreeze_every",
                "no layer is frozen that could begin to learn",
                "give `encoder = true` or `layers`, or remove it",
            ));
        }
        faults
    }

    fn faults_of_the_optimizer(&self) -> Vec<Fault> {
        let optimizer = self.optimizer;
        let usual = OptimizerSettings::default();
        let mut faults = Vec::new();
        let name = optimizer.name;
        let is_sgd = name == OptimizerName::Sgd;
        let of_others = [
            ("beta1", is_sgd && optimizer.beta1 != usual.beta1),
            ("beta2", is_sgd && optimizer.beta2 != usual.beta2),
            ("epsilon", is_sgd && optimizer.epsilon != usual.epsilon),
            ("momentum", !is_sgd && optimizer.momentum.is_some()),
            ("nesterov", !is_sgd && optimizer.nesterov),
        ];
        for (field, _) in of_others.into_iter().filter(|&(_, stated)| stated) {
            let owner = match is_sgd {
                true => "of `adamw`, `adam` and `lamb`",
                false => "of `sgd`",
            };
            faults.push(Fault::new(
                format!("optimizer.{field}"),
                format!("{name} has no `{field}`"),
                format!("remove it, or choose another method: it is a setting {owner}"),
            ));
        }
        if is_sgd && optimizer.nesterov && optimizer.momentum.unwrap_or(0.0) == 0.0 {
            faults.push(Fault::new(
                "optimizer.nesterov",
                "there is no momentum to look ahead by",
                "give `momentum = 0.9`, or remove `nesterov`",
            ));
        }
        for (number, group) in optimizer.groups.iter().enumerate() {
            if group.learning_rate.is_none() && group.weight_decay.is_none() {
                faults.push(Fault::new(
                    format!("optimizer.groups[{number}]"),
                    "the group changes nothing",
                    "give it a `learning_rate` or a `weight_decay`, or remove it",
                ));
            }
        }
        faults
    }

    fn faults_of_the_schedule(&self) -> Vec<Fault> {
        let schedule = self.schedule;
        let name = schedule.name;
        let mut faults = Vec::new();
        let fields = [
            (
                "cycles",
                ScheduleName::CosineWithRestarts,
                schedule.cycles.is_some(),
            ),
            ("power", ScheduleName::Polynomial, schedule.power.is_some()),
            (
                "end_learning_rate",
                ScheduleName::Polynomial,
                schedule.end_learning_rate.is_some(),
            ),
            ("every", ScheduleName::Step, schedule.every.is_some()),
            ("at", ScheduleName::Step, schedule.at.is_some()),
            ("gamma", ScheduleName::Step, schedule.gamma.is_some()),
            (
                "factor",
                ScheduleName::ReduceOnPlateau,
                schedule.factor.is_some(),
            ),
            (
                "patience",
                ScheduleName::ReduceOnPlateau,
                schedule.patience.is_some(),
            ),
            (
                "minimum",
                ScheduleName::ReduceOnPlateau,
                schedule.minimum.is_some(),
            ),
        ];
        for (field, owner, stated) in fields {
            if stated && owner != name {
                faults.push(Fault::new(
                    format!("schedule.{field}"),
                    format!("{name} has no `{field}`"),
                    format!("remove it, or set `name = \"{owner}\"`"),
                ));
            }
        }
        if schedule.warmup.is_some() && schedule.warmup_steps.is_some() {
            faults.push(Fault::new(
                "schedule.warmup_steps",
                "`warmup` and `warmup_steps` exclude each other",
                "keep `warmup` for a share of all steps, or `warmup_steps` for a number of them",
            ));
        }
        if name == ScheduleName::Step {
            match (schedule.every, &schedule.at) {
                (Some(_), Some(_)) => faults.push(Fault::new(
                    "schedule.at",
                    "`every` and `at` exclude each other",
                    "keep one of the two",
                )),
                (None, None) => faults.push(Fault::new(
                    "schedule",
                    "a schedule of steps does not say when the rate falls",
                    "give `every = 1000` (steps) or `at = [0.5, 0.75]` (shares of all steps)",
                )),
                _ => {}
            }
        }
        let lowest = [
            ("end_learning_rate", schedule.end_learning_rate),
            ("minimum", schedule.minimum),
        ];
        for (field, rate) in lowest {
            if let Some(rate) = rate
                && rate >= self.optimizer.learning_rate
            {
                faults.push(Fault::new(
                    format!("schedule.{field}"),
                    format!(
                        "{rate:e} is not below the highest rate, {:e}",
                        self.optimizer.learning_rate
                    ),
                    "make it smaller than `optimizer.learning_rate`",
                ));
            }
        }
        faults
    }
}
