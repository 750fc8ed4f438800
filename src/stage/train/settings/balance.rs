//! What is wrong with the settings that give rare classes more rows.

use super::Train;
use crate::learn::BalanceMethod;
use crate::stage::Fault;
use crate::task::Task;

impl Train {
    pub(super) fn faults_of_the_balance(&self) -> Vec<Fault> {
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
}
