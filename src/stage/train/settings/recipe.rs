//! What is wrong with the settings of a recipe: those of another method, and those that exclude or need each other.

use super::Train;
use crate::learn::{BalanceMethod, MicroSize, OptimizerName, OptimizerSettings, ScheduleName};
use crate::stage::Fault;
use crate::task::Task;

impl Train {
    pub(super) fn faults_of_the_recipe(&self) -> Vec<Fault> {
        let mut faults = self.faults_of_the_optimizer();
        faults.extend(self.faults_of_the_schedule());
        faults.extend(self.faults_of_the_freezing());
        faults.extend(self.faults_of_the_balance());
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

    fn faults_of_the_balance(&self) -> Vec<Fault> {
        let Some(balance) = &self.balance else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        if self.task != Task::Classification {
            faults.push(Fault::new(
                "balance",
                format!("rows for {} have no one class each", self.task),
                "remove it; rare labels can be given weights: `loss.class_weights` or `loss.weights`",
            ));
        }
        let runs_once = self.activations().is_some_and(|step| step.gives_vectors());
        if balance.method == BalanceMethod::Smote && !runs_once {
            faults.push(Fault::new(
                "balance.method",
                "SMOTE makes rows of what a frozen encoder gives",
                "set `freeze = { encoder = true }`, or `method = \"oversample\"`",
            ));
        }
        if balance.method == BalanceMethod::Oversample && balance.neighbors != 5 {
            faults.push(Fault::new(
                "balance.neighbors",
                "oversample has no `neighbors`",
                "remove it, or set `method = \"smote\"`",
            ));
        }
        if self
            .loss
            .as_ref()
            .is_some_and(|loss| loss.class_weights.is_some())
        {
            faults.push(Fault::new(
                "balance",
                "rare classes would count twice: by more rows, and by their weights",
                "keep `balance` or `loss.class_weights`",
            ));
        }
        faults
    }

    fn faults_of_the_freezing(&self) -> Vec<Fault> {
        let Some(freeze) = &self.freeze else {
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
        let optimizer = &self.optimizer;
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
        let schedule = &self.schedule;
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
