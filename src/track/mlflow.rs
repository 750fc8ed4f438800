//! MLflow's REST interface, version 2.0 (<https://mlflow.org/docs/latest/api_reference/rest-api.html>).
//!
//! A training is a run, found again by the tags `refit.run` and `refit.store`: one that did not finish is taken up where the server
//! has it, and what evaluates a model goes to the run of its training. Settings are its parameters; the spec is an artifact
//! where the server takes artifacts itself, else a tag.
//!
//! A number is sent with the moment when it was told, and the server keeps one of two equal ones, so that an attempt whose answer
//! was lost doubles nothing. What a server refuses for good takes nothing else with it: the rest and the end are told all the same.
//!
//! Deliberately absent: models, and any other artifact.

mod server;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Map, Value, json};

use self::server::{Refused, Server, shortened};
use super::{End, Entry, Sink, Told, Training, Trouble};
use crate::spec::track::MlflowSettings;

/// How long numbers are gathered for one request.
const PAUSE: Duration = Duration::from_millis(500);
/// The most of each in one request, as the server has it.
const METRICS: usize = 1000;
const PARAMETERS: usize = 100;
/// The most characters of a parameter and of a tag, as older servers have it.
const LONGEST_PARAMETER: usize = 500;
const LONGEST_TAG: usize = 5000;

/// The tags by which a training is found again: which it is, and in which store.
const RUN: &str = "refit.run";
const STORE: &str = "refit.store";
/// Which runs the numbers of a training go to; all others have come to their end.
const UNFINISHED: &str = " and attributes.status != 'FINISHED'";
const RUNNING: &str = "RUNNING";
const FINISHED: &str = "FINISHED";

pub(super) struct Mlflow {
    server: Server,
    experiment: String,
    /// Its id, once asked for.
    experiment_id: Option<String>,
    runs: BTreeMap<String, Run>,
}

/// A run on the server.
struct Run {
    id: String,
    artifacts: String,
    status: String,
    /// Whether its parameters and its spec are there.
    described: bool,
    /// The last step of each metric.
    latest: BTreeMap<String, u64>,
}

impl Mlflow {
    pub(super) fn new(settings: &MlflowSettings, pipeline: &str) -> Self {
        let token = settings.token.as_ref().map(|token| token.reveal());
        Mlflow {
            server: Server::new(&settings.url, token.unwrap_or_default()),
            experiment: match &settings.experiment {
                Some(experiment) => experiment.clone(),
                None => pipeline.to_owned(),
            },
            experiment_id: None,
            runs: BTreeMap::new(),
        }
    }

    fn experiment_id(&mut self) -> Result<String, Refused> {
        if let Some(id) = &self.experiment_id {
            return Ok(id.clone());
        }
        let id = match self.find_experiment() {
            Err(refused) if refused.code == "RESOURCE_DOES_NOT_EXIST" => {
                let body = json!({ "name": self.experiment });
                match self.server.post("experiments/create", &body) {
                    // Another program was quicker.
                    Err(refused) if refused.code == "RESOURCE_ALREADY_EXISTS" => {
                        self.find_experiment()?
                    }
                    answer => id(&answer?, "/experiment_id")?,
                }
            }
            found => found?,
        };
        self.experiment_id = Some(id.clone());
        Ok(id)
    }

    fn find_experiment(&mut self) -> Result<String, Refused> {
        let query = [("experiment_name", self.experiment.clone())];
        let path = "api/2.0/mlflow/experiments/get-by-name";
        let answer = self.server.call(Method::GET, path, &query, None)?;
        id(&answer, "/experiment/experiment_id")
    }

    /// The run of a training; made, where there is none that `wanted` fits.
    fn run(&mut self, training: &Training, wanted: &str) -> Result<&mut Run, Refused> {
        let name = training.name();
        if !self.runs.contains_key(&name) {
            let run = self.find_run(training, wanted)?;
            self.runs.insert(name.clone(), run);
        }
        Ok(self.runs.get_mut(&name).expect("it was put there"))
    }

    fn find_run(&mut self, training: &Training, wanted: &str) -> Result<Run, Refused> {
        let experiment = self.experiment_id()?;
        let (identity, store) = (identity(training), &training.store);
        let filter = format!("tags.`{RUN}` = '{identity}' and tags.`{STORE}` = '{store}'{wanted}");
        let body = json!({
            "experiment_ids": [experiment], "filter": filter, "max_results": 1,
            "order_by": ["attributes.start_time DESC"],
        });
        let found = self.server.post("runs/search", &body)?;
        if let Some(run) = found.pointer("/runs/0") {
            return Run::of(run);
        }
        let body = json!({
            "experiment_id": experiment, "run_name": training.name(), "start_time": now(), "tags": tags(training),
        });
        let answer = self.server.post("runs/create", &body)?;
        Run::of(&answer["run"])
    }

    /// Spec and parameters. A server that does not want them gets the numbers all the same.
    fn describe(&mut self, training: &Training) -> Result<(), Refused> {
        let server = &mut self.server;
        let run = self.runs.get_mut(&training.name());
        let Some(run) = run.filter(|run| !run.described) else {
            return Ok(());
        };
        let spec = training.spec.text.as_str();
        let kept = match run.artifacts.strip_prefix("mlflow-artifacts:") {
            Some(path) => {
                // `mlflow-artifacts:/1/…` or `mlflow-artifacts://host/1/…`
                let path = path.strip_prefix("//").map_or(path, |rest| {
                    rest.split_once('/').map_or("", |(_host, path)| path)
                });
                let path = path.trim_matches('/');
                let path = format!("api/2.0/mlflow-artifacts/artifacts/{path}/spec.toml");
                let sent = server.call(Method::PUT, &path, &[], Some(spec.as_bytes().to_vec()));
                for_now(sent)?
            }
            None => false,
        };
        if !kept {
            let spec = shortened(spec, LONGEST_TAG);
            let body = json!({ "run_id": run.id, "key": "refit.spec", "value": spec });
            for_now(server.post("runs/set-tag", &body))?;
        }
        // Last, because they tell that it was done.
        let mut parameters = Vec::new();
        flatten("", &training.settings, &mut parameters);
        for some in parameters.chunks(PARAMETERS) {
            let body = json!({ "run_id": run.id, "params": some });
            for_now(server.post("runs/log-batch", &body))?;
        }
        run.described = true;
        Ok(())
    }

    fn update(&mut self, training: &Training, status: &str) -> Result<(), Refused> {
        let Some(run) = self.runs.get_mut(&training.name()) else {
            return Ok(());
        };
        let mut body = json!({ "run_id": run.id, "status": status });
        if status != RUNNING {
            body["end_time"] = now().into();
        }
        self.server.post("runs/update", &body)?;
        run.status = status.to_owned();
        Ok(())
    }

    /// What of it is to be sent, and which status then. A run is there afterwards, and goes on where it should.
    fn prepared(
        &mut self,
        training: &Training,
        entries: &[Entry],
    ) -> Result<(Vec<Metric>, Option<&'static str>), Refused> {
        let mut metrics = Vec::new();
        let mut status = None;
        for entry in entries {
            match &entry.told {
                Told::Begun { .. } => {
                    // One that did not finish is taken up.
                    if self.run(training, UNFINISHED)?.status != RUNNING {
                        for_now(self.update(training, RUNNING))?;
                    }
                }
                Told::Drawn { step, numbers } => {
                    let known = &self.run(training, UNFINISHED)?.latest;
                    let is_new =
                        |(name, _): &&(String, f64)| known.get(name).is_none_or(|last| step > last);
                    let new = numbers.iter().filter(is_new);
                    metrics.extend(new.map(|(name, value)| Metric {
                        name: name.clone(),
                        step: *step,
                        json: metric(name, *value, *step, entry.time),
                    }));
                }
                Told::Evaluated { stage, numbers } => {
                    let run = self.run(training, "")?;
                    // One that was made for the scores has no other end, even if the attempt that made it failed.
                    let trained = run.latest.keys().any(|name| name.starts_with("train/"));
                    if run.status == RUNNING && !trained {
                        status.get_or_insert(FINISHED);
                    }
                    metrics.extend(numbers.iter().map(|(name, value)| {
                        let name = format!("evaluate/{stage}/{name}");
                        let json = metric(&name, *value, 0, entry.time);
                        Metric {
                            name,
                            step: 0,
                            json,
                        }
                    }));
                }
                Told::Ended(end) => {
                    self.run(training, UNFINISHED)?;
                    status = Some(match end {
                        End::Finished => FINISHED,
                        End::Failed => "FAILED",
                        End::Stopped => "KILLED",
                    });
                }
            }
        }
        Ok((metrics, status))
    }
}

/// A number for the server.
struct Metric {
    name: String,
    step: u64,
    json: Value,
}

impl Sink for Mlflow {
    fn take(
        &mut self,
        training: &Training,
        entries: &[Entry],
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), Trouble> {
        let all = entries.iter().map(Entry::weight).sum();
        let refused = |refused: Refused| refused.trouble(all);
        let (metrics, status) = self.prepared(training, entries).map_err(refused)?;
        self.describe(training).map_err(refused)?;
        let Some(run) = self.runs.get_mut(&training.name()) else {
            return Ok(());
        };
        let mut first = None;
        let mut lost = 0;
        for some in metrics.chunks(METRICS) {
            if !goes_on() {
                return Err(Trouble::ForNow("it is too slow".to_owned()));
            }
            let points: Vec<&Value> = some.iter().map(|metric| &metric.json).collect();
            let body = json!({ "run_id": run.id, "metrics": points });
            match self.server.post("runs/log-batch", &body) {
                Ok(_) => {
                    let told = some.iter().map(|metric| (metric.name.clone(), metric.step));
                    run.latest.extend(told);
                }
                Err(refused) if refused.again => return Err(refused.trouble(all)),
                Err(refused) => {
                    lost += some.len();
                    first.get_or_insert(refused);
                }
            }
        }
        if let Some(status) = status {
            match self.update(training, status) {
                Err(refused) if refused.again => return Err(refused.trouble(all)),
                Err(refused) => drop(first.get_or_insert(refused)),
                Ok(()) => {}
            }
        }
        first.map_or(Ok(()), |refused| Err(refused.trouble(lost)))
    }

    fn is_well(&mut self) -> bool {
        // It takes what it was in trouble with later on, as it says.
        if self.server.busy {
            return false;
        }
        match self.find_experiment() {
            Ok(_) => true,
            Err(refused) => refused.code == "RESOURCE_DOES_NOT_EXIST",
        }
    }

    fn pause(&self) -> Duration {
        PAUSE
    }
}

impl Run {
    /// As the server tells of it.
    fn of(answer: &Value) -> Result<Run, Refused> {
        let metrics = answer.pointer("/data/metrics").and_then(Value::as_array);
        let latest = metrics.into_iter().flatten().filter_map(|metric| {
            let step = &metric["step"];
            // 64-bit integers are strings in some servers' JSON.
            let step = step
                .as_u64()
                .or_else(|| step.as_str().and_then(|step| step.parse().ok()));
            Some((metric["key"].as_str()?.to_owned(), step?))
        });
        let parameters = answer.pointer("/data/params").and_then(Value::as_array);
        Ok(Run {
            id: id(answer, "/info/run_id")?,
            artifacts: text(answer, "/info/artifact_uri"),
            status: text(answer, "/info/status"),
            described: parameters.is_some_and(|parameters| !parameters.is_empty()),
            latest: latest.collect(),
        })
    }
}

/// Whether it was taken; one that is refused for good is done without.
fn for_now<T>(answer: Result<T, Refused>) -> Result<bool, Refused> {
    match answer {
        Err(refused) if refused.again => Err(refused),
        answer => Ok(answer.is_ok()),
    }
}

/// An id in an answer. Whatever answers without is something else.
fn id(answer: &Value, pointer: &str) -> Result<String, Refused> {
    match text(answer, pointer) {
        id if id.is_empty() => Err(Refused::stranger()),
        id => Ok(id),
    }
}

fn text(answer: &Value, pointer: &str) -> String {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// What no other training of the store has.
fn identity(training: &Training) -> String {
    match &training.trial {
        Some(trial) => format!("{}/{trial}-{}", training.stage, training.key),
        None => format!("{}/{}", training.stage, training.key),
    }
}

fn tags(training: &Training) -> Vec<Value> {
    let spec = &training.spec;
    let all = [
        (RUN, Some(identity(training))),
        (STORE, Some(training.store.clone())),
        ("refit.pipeline", Some(spec.pipeline.clone())),
        ("refit.stage", Some(training.stage.clone())),
        ("refit.key", Some(training.key.to_string())),
        ("refit.trial", training.trial.clone()),
        ("mlflow.source.git.commit", spec.commit.clone()),
    ];
    let tag = |(key, value): (&str, Option<String>)| Some(json!({ "key": key, "value": value? }));
    all.into_iter().filter_map(tag).collect()
}

/// `{"optimizer": {"learning_rate": 1e-3}}` → `optimizer.learning_rate`.
fn flatten(path: &str, settings: &Value, parameters: &mut Vec<Value>) {
    let whole = Map::new();
    let (fields, value) = match settings {
        Value::Object(fields) => (fields, None),
        Value::String(text) => (&whole, Some(text.clone())),
        other => (&whole, Some(other.to_string())),
    };
    for (name, field) in fields {
        let path = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        flatten(&path, field, parameters);
    }
    if let Some(value) = value.filter(|_| !path.is_empty()) {
        let value = shortened(&value, LONGEST_PARAMETER);
        parameters.push(json!({ "key": path, "value": value }));
    }
}

fn metric(name: &str, value: f64, step: u64, time: SystemTime) -> Value {
    json!({ "key": name, "value": value, "step": step, "timestamp": milliseconds(time) })
}

fn now() -> u64 {
    milliseconds(SystemTime::now())
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
