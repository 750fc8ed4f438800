//! `[run.slurm]`: what a step asks of a Slurm cluster.
//!
//! Promise: nothing here can name a program. A spec may come from a stranger, so the further options of `sbatch` are those
//! that say where and when a job runs, and no others.
//!
//! Deliberately absent: lines to be run before a job (modules, environments), which are the environment that `refit run` is
//! started in; and the words of `sbatch`, which are `executor`'s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the steps of a run, or the trials of a sweep, do their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// In this process.
    #[default]
    Local,
    /// In a process of its own each, on this machine.
    Process,
    /// In jobs of a Slurm cluster that shares the store and the data with this machine.
    Slurm,
}

/// What a step asks of a Slurm cluster. What is left out is the cluster's own default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmSettings {
    /// The partition. Several with commas between: whichever is free first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_.,-]+$"))]
    pub partition: Option<String>,
    /// The account that pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_.,-]+$"))]
    pub account: Option<String>,
    /// The quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_.,-]+$"))]
    pub qos: Option<String>,
    /// How long a job may take: minutes (`90`), hours with minutes and seconds (`2:00:00`), or days with hours (`1-12`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = "^([0-9]+|[0-9]+:[0-9]{2}:[0-9]{2}|[0-9]+-[0-9]{1,2}(:[0-9]{2}){0,2})$"
    ))]
    pub time: Option<String>,
    /// Memory, with its unit: `"16G"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+[KMGT]$"))]
    pub memory: Option<String>,
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub cpus: Option<u32>,
    /// GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64))]
    pub gpus: Option<u32>,
    /// Further options of `sbatch`, such as `"--constraint=a100"`: those that say where and when a job runs.
    #[schemars(inner(regex(
        pattern = "^--(begin|cluster-constraint|comment|constraint|contiguous|core-spec|cpu-freq|deadline|distribution|exclude|exclusive|extra-node-info|gpu-bind|gpu-freq|gpus|gpus-per-node|gpus-per-task|gres|hint|licenses|mail-type|mem-bind|mem-per-cpu|mem-per-gpu|network|nice|nodelist|nodes|no-kill|ntasks|ntasks-per-node|overcommit|oversubscribe|power|prefer|priority|reservation|sockets-per-node|spread-job|switches|thread-spec|threads-per-core|time-min|tmp|use-min-nodes|wckey)(=[^\\x00-\\x1f]*)?$"
    )))]
    pub options: Vec<String>,
    /// How many trials of a sweep may run at once. Default: as many as the cluster has room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_running: Option<u32>,
    /// How many seconds before its time is up a job is told, so that a training writes down how far it is and goes on from
    /// there in a new job.
    #[schemars(range(min = 10, max = 3600))]
    pub notice: u32,
    /// How often the queue is looked at, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub look_every: u32,
    /// What `load` stages ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Resources>,
    /// What `augment` stages ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<Resources>,
    /// What `tokenize` stages ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenize: Option<Resources>,
    /// What `pretrain` stages ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrain: Option<Resources>,
    /// What `train` stages ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<Resources>,
    /// What `evaluate` stages ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<Resources>,
    /// What `predict` stages ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predict: Option<Resources>,
    /// What `export` stages ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Resources>,
}

impl Default for SlurmSettings {
    fn default() -> Self {
        SlurmSettings {
            partition: None,
            account: None,
            qos: None,
            time: None,
            memory: None,
            cpus: None,
            gpus: None,
            options: Vec::new(),
            max_running: None,
            notice: 120,
            look_every: 10,
            load: None,
            augment: None,
            tokenize: None,
            pretrain: None,
            train: None,
            evaluate: None,
            predict: None,
            export: None,
        }
    }
}

/// What the stages of one kind ask for, where that is not what all ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// The partition. Several with commas between: whichever is free first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_.,-]+$"))]
    pub partition: Option<String>,
    /// How long a job may take: minutes (`90`), hours with minutes and seconds (`2:00:00`), or days with hours (`1-12`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = "^([0-9]+|[0-9]+:[0-9]{2}:[0-9]{2}|[0-9]+-[0-9]{1,2}(:[0-9]{2}){0,2})$"
    ))]
    pub time: Option<String>,
    /// Memory, with its unit: `"16G"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+[KMGT]$"))]
    pub memory: Option<String>,
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub cpus: Option<u32>,
    /// GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64))]
    pub gpus: Option<u32>,
}

impl SlurmSettings {
    /// What the stages of a kind ask for.
    pub fn of_kind(&self, kind: &str) -> Resources {
        let own = match kind {
            "load" => &self.load,
            "augment" => &self.augment,
            "tokenize" => &self.tokenize,
            "pretrain" => &self.pretrain,
            "train" => &self.train,
            "evaluate" => &self.evaluate,
            "predict" => &self.predict,
            "export" => &self.export,
            _ => &None,
        };
        let own = own.clone().unwrap_or_default();
        Resources {
            partition: own.partition.or_else(|| self.partition.clone()),
            time: own.time.or_else(|| self.time.clone()),
            memory: own.memory.or_else(|| self.memory.clone()),
            cpus: own.cpus.or(self.cpus),
            gpus: own.gpus.or(self.gpus),
        }
    }
}

/// What may stand in a field of `[run.slurm]` that has a pattern: its name for people, and examples.
pub(super) fn wanted(field: &str) -> Option<(&'static str, &'static str)> {
    let field = field.strip_prefix("run.slurm.")?;
    let name = field.rsplit('.').next().unwrap_or(field);
    match name.split('[').next().unwrap_or(name) {
        "time" => Some((
            "no time",
            "minutes (`\"90\"`), hours with minutes and seconds (`\"2:00:00\"`), or days with hours (`\"1-12\"`)",
        )),
        "memory" => Some(("no memory", "a number and K, M, G or T: `\"16G\"`")),
        "options" => Some((
            "no option that a spec may give",
            "of the options of `sbatch` those that say where and when a job runs, as one word each: `\"--constraint=a100\"`; what is in it and where its output goes is refit's",
        )),
        "partition" | "account" | "qos" => Some((
            "no name",
            "letters, digits, `_`, `-` and `.`, several with commas between",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::Pipeline;
    use crate::stage::KINDS;

    fn problems(slurm: &str) -> Vec<String> {
        let text = format!("version = 1\n[run.slurm]\n{slurm}\n[load.data]\ntrain = \"a.csv\"\n");
        let (_, problems) = Pipeline::parse(Path::new("a.toml"), &text, &[], &|_| None);
        problems.into_iter().map(|one| one.message).collect()
    }

    #[test]
    fn times_and_memory_are_those_that_slurm_reads_alike() {
        for sound in ["90", "2:00:00", "1-12", "1-12:30", "1-12:30:00"] {
            assert_eq!(problems(&format!("time = \"{sound}\"")), [""; 0], "{sound}");
        }
        // `2:00` is two minutes to Slurm, and two hours to whoever writes it.
        for wrong in ["2:00", "2h", "", "1:2:3", "-1"] {
            let found = problems(&format!("train = {{ time = \"{wrong}\" }}"));
            assert!(
                found.len() == 1 && found[0].contains("run.slurm.train.time"),
                "{wrong}: {found:?}"
            );
        }
        assert_eq!(problems("memory = \"16G\""), [""; 0]);
        for wrong in ["16", "16GB", "G"] {
            assert_eq!(
                problems(&format!("memory = \"{wrong}\"")).len(),
                1,
                "{wrong}"
            );
        }
    }

    #[test]
    fn no_option_names_a_program_or_a_file_to_be_written() {
        assert_eq!(
            problems(
                "options = [\"--constraint=a100&nvlink\", \"--exclusive\", \"--gres=gpu:a100:1\"]"
            ),
            [""; 0]
        );
        for wrong in [
            "--wrap=id",
            "-o /tmp/x",
            "--output=/tmp/x",
            "--get-user-env",
            "--export=ALL,LD_PRELOAD=/tmp/x",
            "--chdir=/",
            "--container=x",
            "--constraint=a\\n--wrap=id",
            "--bbf=x",
            "--uid=0",
            "x",
            "--array=0-9",
            "--prolog=x",
        ] {
            assert_eq!(
                problems(&format!("options = [\"{wrong}\"]")).len(),
                1,
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_kind_asks_for_what_is_its_own_and_else_for_what_all_ask_for() {
        let settings = SlurmSettings {
            memory: Some("4G".to_owned()),
            cpus: Some(2),
            train: Some(Resources {
                gpus: Some(1),
                memory: Some("16G".to_owned()),
                ..Resources::default()
            }),
            ..SlurmSettings::default()
        };
        let train = settings.of_kind("train");
        assert_eq!(
            (train.gpus, train.cpus, train.memory.as_deref()),
            (Some(1), Some(2), Some("16G"))
        );
        let other = settings.of_kind("evaluate");
        assert_eq!((other.gpus, other.memory.as_deref()), (None, Some("4G")));
    }

    #[test]
    fn every_kind_of_stage_has_a_table() {
        for kind in &KINDS {
            let text = format!("{} = {{ gpus = 3 }}", kind.name);
            assert_eq!(problems(&text), [""; 0], "{}", kind.name);
            let settings: SlurmSettings = toml::from_str(&text).unwrap();
            assert_eq!(settings.of_kind(kind.name).gpus, Some(3), "{}", kind.name);
        }
    }
}
