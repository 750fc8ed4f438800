//! MLflow's REST interface, version 2.0 (<https://mlflow.org/docs/latest/api_reference/rest-api.html>).
//!
//! A training is a run, found again by the tag `refit.run`: one that did not finish is taken up where the server has it, and
//! what evaluates a model goes to the run of its training. Settings are its parameters; the spec is an artifact where the
//! server takes artifacts itself, else a tag.
//!
//! A number is sent with the moment when it was told, and the server keeps one of two equal ones, so that an attempt whose answer
//! was lost doubles nothing.
//!
//! Promise: the token is in the requests and nowhere else; where a server repeats it, it is blotted out. No redirect is
//! followed, which would hand it to another address.
//!
//! Deliberately absent: models, and any other artifact.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{End, Entry, Sink, Told, Training, Trouble};
use crate::spec::track::MlflowSettings;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long numbers are gathered for one request.
const PAUSE: Duration = Duration::from_millis(500);
/// The most of each in one request, as the server has it.
const METRICS: usize = 1000;
const PARAMETERS: usize = 100;
/// The most characters of a parameter and of a tag, as older servers have it.
const LONGEST_PARAMETER: usize = 500;
const LONGEST_TAG: usize = 5000;
/// How much of an answer a message shows, in characters.
const SHOWN: usize = 200;

/// The tag by which a training is found again.
const RUN: &str = "refit.run";

pub(super) struct Mlflow {
    url: String,
    token: Option<String>,
    experiment: String,
    /// Its id, once asked for.
    experiment_id: Option<String>,
    /// None until the first request.
    line: Option<Line>,
    runs: BTreeMap<String, Run>,
}

struct Line {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// A run on the server.
struct Run {
    id: String,
    artifacts: String,
    /// Whether its parameters and its spec are there.
    described: bool,
    /// The last step of each metric.
    latest: BTreeMap<String, u64>,
}

/// An answer that was none.
struct Refused {
    /// The server's word for it, such as `RESOURCE_DOES_NOT_EXIST`.
    code: String,
    trouble: Trouble,
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Trouble {
        refused.trouble
    }
}

impl Mlflow {
    pub(super) fn new(settings: &MlflowSettings, pipeline: &str) -> Self {
        let token = settings.token.as_ref().map(|token| token.reveal());
        Mlflow {
            url: settings.url.trim_end_matches('/').to_owned(),
            token: token.filter(|token| !token.is_empty()).map(str::to_owned),
            experiment: match &settings.experiment {
                Some(experiment) => experiment.clone(),
                None => pipeline.to_owned(),
            },
            experiment_id: None,
            line: None,
            runs: BTreeMap::new(),
        }
    }

    fn experiment_id(&mut self) -> Result<String, Trouble> {
        if let Some(id) = &self.experiment_id {
            return Ok(id.clone());
        }
        let id = match self.find_experiment() {
            Err(refused) if refused.code == "RESOURCE_DOES_NOT_EXIST" => {
                let body = json!({ "name": self.experiment });
                match self.post("experiments/create", &body) {
                    // Another program was quicker.
                    Err(refused) if refused.code == "RESOURCE_ALREADY_EXISTS" => {
                        self.find_experiment()?
                    }
                    answer => text(&answer?, "/experiment_id"),
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
        let answer = self.call(Method::GET, path, &query, None)?;
        Ok(text(&answer, "/experiment/experiment_id"))
    }

    /// The run of a training; made, or found where there is one that `wanted` fits. Whether it was made.
    fn run(&mut self, training: &Training, wanted: &str) -> Result<bool, Trouble> {
        let name = training.name();
        if self.runs.contains_key(&name) {
            return Ok(false);
        }
        let experiment = self.experiment_id()?;
        let identity = identity(training);
        let filter = format!("tags.`{RUN}` = '{identity}'{wanted}");
        let body = json!({
            "experiment_ids": [experiment], "filter": filter, "max_results": 1,
            "order_by": ["attributes.start_time DESC"],
        });
        let found = self.post("runs/search", &body)?;
        let (run, made) = match found.pointer("/runs/0") {
            Some(run) => (Run::of(run, true), false),
            None => {
                let body = json!({
                    "experiment_id": experiment, "run_name": name, "start_time": now(), "tags": tags(training),
                });
                let answer = self.post("runs/create", &body)?;
                (Run::of(&answer["run"], false), true)
            }
        };
        self.runs.insert(name, run);
        Ok(made)
    }

    /// Parameters and spec. A server that does not want them gets the numbers all the same.
    fn describe(&mut self, training: &Training) -> Result<(), Trouble> {
        let Some(run) = self.runs.get(&training.name()).filter(|run| !run.described) else {
            return Ok(());
        };
        let (id, artifacts) = (run.id.clone(), run.artifacts.clone());
        let mut parameters = Vec::new();
        flatten("", &training.settings, &mut parameters);
        for some in parameters.chunks(PARAMETERS) {
            let body = json!({ "run_id": id, "params": some });
            for_now(self.post("runs/log-batch", &body))?;
        }
        let spec = training.spec.text.as_str();
        let kept = match artifacts.strip_prefix("mlflow-artifacts:") {
            Some(path) => {
                // `mlflow-artifacts:/1/…` or `mlflow-artifacts://host/1/…`
                let path = path.strip_prefix("//").map_or(path, |rest| {
                    rest.split_once('/').map_or("", |(_host, path)| path)
                });
                let path = path.trim_matches('/');
                let path = format!("api/2.0/mlflow-artifacts/artifacts/{path}/spec.toml");
                let sent = self.call(Method::PUT, &path, &[], Some(spec.as_bytes().to_vec()));
                for_now(sent)?
            }
            None => false,
        };
        if !kept {
            let spec = shortened(spec, LONGEST_TAG);
            let body = json!({ "run_id": id, "key": "refit.spec", "value": spec });
            for_now(self.post("runs/set-tag", &body))?;
        }
        if let Some(run) = self.runs.get_mut(&training.name()) {
            run.described = true;
        }
        Ok(())
    }

    fn update(&mut self, training: &Training, status: &str) -> Result<(), Trouble> {
        let Some(run) = self.runs.get(&training.name()) else {
            return Ok(());
        };
        let mut body = json!({ "run_id": run.id, "status": status });
        if status != "RUNNING" {
            body["end_time"] = now().into();
        }
        self.post("runs/update", &body)?;
        Ok(())
    }

    fn send(&mut self, training: &Training, metrics: &[Value]) -> Result<(), Trouble> {
        let Some(run) = self.runs.get(&training.name()) else {
            return Ok(());
        };
        let id = run.id.clone();
        for some in metrics.chunks(METRICS) {
            let body = json!({ "run_id": id, "metrics": some });
            self.post("runs/log-batch", &body)?;
        }
        Ok(())
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<Value, Refused> {
        let path = format!("api/2.0/mlflow/{path}");
        self.call(
            Method::POST,
            &path,
            &[],
            Some(body.to_string().into_bytes()),
        )
    }

    fn call(
        &mut self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
    ) -> Result<Value, Refused> {
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(Line::new().map_err(|reason| Refused {
                code: String::new(),
                trouble: Trouble::ForGood(reason),
            })?),
        };
        let address = format!("{}/{path}", self.url);
        let mut address = reqwest::Url::parse(&address).map_err(|error| Refused {
            code: String::new(),
            trouble: Trouble::ForGood(error.to_string()),
        })?;
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        let mut request = line.client.request(method, address);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answered = line.runtime.block_on(async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        });
        let (status, body) = answered.map_err(|error| Refused {
            code: String::new(),
            trouble: Trouble::ForNow(self.cause(error)),
        })?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let told = answer["message"].as_str().unwrap_or_default();
        let reason = match self.shown(told) {
            told if told.is_empty() => format!("it answers {status}"),
            told => format!("it answers {status}: {told}"),
        };
        let again = status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
        Err(Refused {
            code: answer["error_code"].as_str().unwrap_or_default().to_owned(),
            trouble: match again {
                true => Trouble::ForNow(reason),
                false => Trouble::ForGood(reason),
            },
        })
    }

    /// What caused an error, in one line: reqwest's own text leaves out why.
    fn cause(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("it does not answer within {} s", TIMEOUT.as_secs());
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            text = source.to_string();
            cause = source.source();
        }
        self.shown(&text)
    }

    /// Words of others, as they may be shown.
    fn shown(&self, text: &str) -> String {
        let line = text.lines().next().unwrap_or_default();
        let line = match &self.token {
            Some(token) => line.replace(token.as_str(), "[token]"),
            None => line.to_owned(),
        };
        shortened(&line, SHOWN)
    }
}

impl Sink for Mlflow {
    fn take(&mut self, training: &Training, entries: &[Entry]) -> Result<(), Trouble> {
        let name = training.name();
        let mut metrics = Vec::new();
        let mut latest = Vec::new();
        let mut end = None;
        for entry in entries {
            match &entry.told {
                Told::Begun { .. } => {
                    // One that did not finish is taken up.
                    let made = self.run(training, " and attributes.status != 'FINISHED'")?;
                    if !made {
                        self.update(training, "RUNNING")?;
                    }
                }
                Told::Drawn { step, numbers } => {
                    let known = self.runs.get(&name).map(|run| &run.latest);
                    let is_new = |(metric, _): &&(String, f64)| {
                        let last = known.and_then(|known| known.get(metric));
                        last.is_none_or(|last| step > last)
                    };
                    for (metric, number) in numbers.iter().filter(is_new) {
                        metrics.push(metric_of(metric, *number, *step, entry.time));
                        latest.push((metric.clone(), *step));
                    }
                }
                Told::Evaluated { stage, numbers } => {
                    if self.run(training, "")? {
                        end = Some(End::Finished);
                    }
                    metrics.extend(numbers.iter().map(|(metric, number)| {
                        let metric = format!("evaluate/{stage}/{metric}");
                        metric_of(&metric, *number, 0, entry.time)
                    }));
                }
                Told::Ended(how) => end = Some(*how),
            }
        }
        self.describe(training)?;
        self.send(training, &metrics)?;
        if let Some(run) = self.runs.get_mut(&name) {
            run.latest.extend(latest);
        }
        if let Some(end) = end {
            let status = match end {
                End::Finished => "FINISHED",
                End::Failed => "FAILED",
                End::Stopped => "KILLED",
            };
            self.update(training, status)?;
        }
        Ok(())
    }

    fn pause(&self) -> Duration {
        PAUSE
    }
}

impl Line {
    fn new() -> Result<Line, String> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("refit/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Line { client, runtime })
    }
}

impl Run {
    /// As the server tells of it.
    fn of(answer: &Value, described: bool) -> Run {
        let metrics = answer.pointer("/data/metrics").and_then(Value::as_array);
        let latest = metrics.into_iter().flatten().filter_map(|metric| {
            let step = &metric["step"];
            // 64-bit integers are strings in some servers' JSON.
            let step = step
                .as_u64()
                .or_else(|| step.as_str().and_then(|step| step.parse().ok()));
            Some((metric["key"].as_str()?.to_owned(), step?))
        });
        Run {
            id: text(answer, "/info/run_id"),
            artifacts: text(answer, "/info/artifact_uri"),
            described,
            latest: latest.collect(),
        }
    }
}

/// Whether it was taken; one that is refused for good is done without.
fn for_now(answer: Result<Value, Refused>) -> Result<bool, Trouble> {
    match answer.map_err(Trouble::from) {
        Ok(_) => Ok(true),
        Err(Trouble::ForGood(_)) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

fn text(answer: &Value, pointer: &str) -> String {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// What no other training has.
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

fn metric_of(name: &str, value: f64, step: u64, time: SystemTime) -> Value {
    json!({ "key": name, "value": value, "step": step, "timestamp": milliseconds(time) })
}

fn now() -> u64 {
    milliseconds(SystemTime::now())
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_parameters_by_their_paths() {
        let settings = json!({
            "epochs": 3, "loss": { "name": "focal", "gamma": 2.0 }, "freeze": {},
            "optimizer": { "groups": [{ "match": ["*.bias"] }] }, "long": "ä".repeat(600),
        });
        let mut parameters = Vec::new();
        flatten("", &settings, &mut parameters);
        let text = |parameter: &Value, name: &str| parameter[name].as_str().unwrap().to_owned();
        let mut told: Vec<(String, String)> = parameters
            .iter()
            .map(|parameter| (text(parameter, "key"), text(parameter, "value")))
            .collect();
        let (name, long) = told.pop().unwrap();
        assert_eq!(
            (name.as_str(), long.chars().count()),
            ("long", LONGEST_PARAMETER)
        );
        let wanted = [
            ("epochs", "3"),
            ("loss.name", "focal"),
            ("loss.gamma", "2.0"),
            ("optimizer.groups", "[{\"match\":[\"*.bias\"]}]"),
        ];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(told, wanted);
    }
}
