//! `[sweep]`: which fields vary over which values, by what search, towards which score.
//!
//! A parameter is a field's plain path (`train.classifier.optimizer.learning_rate`, `vars.encoder`) with the values that it
//! may take: a list, or a range in a table. What a trial is and when it runs is the business of `crate::sweep`; the fields
//! themselves are checked by laying every value over the file, so that a fault in one is shown where it stands.
//!
//! Deliberately absent: anything that a result depends on. A trial's results have the keys of the spec that it stands for.

mod check;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

use self::check::At;
use super::document::{Node, Step};
use super::problem::{Place, Problem};
use super::{Declared, Written, fault_at};
use crate::stage::Fault;

/// A sweep: the same pipeline with other values in some of its fields, and the best of them kept.
///
/// `refit sweep SPEC` runs it. Every stage that two trials have in common runs once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepSettings {
    /// How trials are chosen. A grid suits a few values each; with more than about four parameters, or with ranges, a random
    /// search finds as good a result with fewer trials; `tpe` learns from the trials that are done.
    #[serde(default)]
    pub search: Search,
    /// What the best trial is best at.
    pub goal: Goal,
    /// How many trials `random` and `tpe` make. A grid has as many as its values have combinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub trials: Option<u64>,
    /// How often each trial is run, with other seeds of its training: its score is their mean, with their standard
    /// deviation. The first run has the seed of the spec. The data stay as they are; to vary their split as well, let
    /// `load.NAME.seed` be a parameter.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub repeat: u32,
    /// Cross-validation: each trial is run on that many folds of the training rows, and its score is their mean. Sets `fold`
    /// of the load stage, of which the pipeline then has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 100))]
    pub fold: Option<u32>,
    /// Whether trainings that fall behind are stopped. By default every trial runs to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneSettings>,
    /// The seed of `random` and `tpe`. By default the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Where the best trial's spec is written, relative to this file's folder. By default the name of this file with
    /// `.best.toml` at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub best: Option<String>,
    /// What varies: a field's path and the values it takes.
    pub parameters: Parameters,
}

fn one() -> u32 {
    1
}

/// How trials are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Search {
    /// Every combination of the values, in the order of the file; the last parameter varies fastest.
    #[default]
    Grid,
    /// Independent draws (Bergstra and Bengio, 2012).
    Random,
    /// Tree-structured Parzen estimator (Bergstra and others, 2011): draws where the better trials lie denser than the others.
    Tpe,
}

impl Search {
    /// As it is written in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Search::Grid => "grid",
            Search::Random => "random",
            Search::Tpe => "tpe",
        }
    }
}

/// Which score, and whether more of it is better: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("maxProperties" = 1))]
pub struct Goal {
    /// `STAGE.METRIC` of which the largest is best: a train stage's score on the validation split, of the weights that it
    /// kept (`classifier.f1_macro`), or a score of an evaluate stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3))]
    pub maximize: Option<String>,
    /// `STAGE.METRIC` of which the smallest is best, such as `classifier.loss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3))]
    pub minimize: Option<String>,
}

/// Whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Maximize,
    Minimize,
}

impl Direction {
    /// Whether `candidate` is better than `best`. NaN is never better, and nothing is better than it.
    pub fn improves(self, candidate: f64, best: f64) -> bool {
        match self {
            Direction::Maximize => candidate > best,
            Direction::Minimize => candidate < best,
        }
    }

    /// As it is written in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Maximize => "maximize",
            Direction::Minimize => "minimize",
        }
    }
}

impl Goal {
    /// Stage, metric and direction; none unless the goal is well-formed.
    pub fn parts(&self) -> Option<(&str, &str, Direction)> {
        let (text, direction) = match (&self.maximize, &self.minimize) {
            (Some(text), None) => (text, Direction::Maximize),
            (None, Some(text)) => (text, Direction::Minimize),
            _ => return None,
        };
        let (stage, metric) = text.split_once('.')?;
        (!stage.is_empty() && !metric.is_empty()).then_some((stage, metric, direction))
    }
}

/// Which trainings are stopped before their end, by their scores on the validation split so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneSettings {
    pub name: Prune,
    /// `asha`: of the trials that have come as far, one in so many goes on at each rung; the rungs lie at
    /// `first · reduction^k` validations.
    #[serde(default = "four")]
    #[schemars(range(min = 2, max = 100))]
    pub reduction: u32,
    /// No training is stopped before so many validations. `evaluate_every` of the train stage says how often it validates.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub first: u32,
    /// `median`: nothing is stopped until so many trials have come as far.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 10_000))]
    pub min_trials: u32,
}

/// By which rule trainings are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prune {
    /// Asynchronous successive halving (Li and others, 2020).
    Asha,
    /// Worse, at its best, than the median of the others' means at the same validation (Golovin and others, 2017).
    Median,
}

fn four() -> u32 {
    4
}

fn five() -> u32 {
    5
}

/// What varies, in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parameters(pub Vec<Parameter>);

/// One thing that varies.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The path of the field that it sets (`train.classifier.epochs`, `vars.encoder`); for [`Domain::Together`], a name of
    /// its own.
    pub name: String,
    pub domain: Domain,
    /// Only where each of these other parameters' paths has one of the listed values.
    pub when: Vec<(String, Vec<Value>)>,
}

/// The values that a parameter may take.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    Choice(Vec<Value>),
    /// Fields that are set together: path → value.
    Together(Vec<Map<String, Value>>),
    Uniform {
        low: f64,
        high: f64,
    },
    /// Uniform in the logarithm.
    LogUniform {
        low: f64,
        high: f64,
    },
    /// Both ends included.
    Int {
        low: i64,
        high: i64,
    },
}

impl Parameter {
    /// The paths that it sets.
    pub fn paths(&self) -> Vec<&str> {
        match &self.domain {
            Domain::Together(sets) => {
                let mut paths: Vec<&str> = Vec::new();
                for path in sets.iter().flat_map(Map::keys) {
                    if !paths.contains(&path.as_str()) {
                        paths.push(path);
                    }
                }
                paths
            }
            _ => vec![&self.name],
        }
    }
}

/// The form of a parameter as a table.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    choice: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    together: Option<Vec<Map<String, Value>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uniform: Option<(f64, f64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_uniform: Option<(f64, f64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    int: Option<(i64, i64)>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    when: Map<String, Value>,
}

/// What a parameter that is no list must say, once.
const FORMS: &str = "`choice`, `together`, `uniform`, `log_uniform` or `int`";

impl Table {
    fn into_parameter(self, name: String) -> Result<Parameter, String> {
        let domains = [
            self.choice.map(Domain::Choice),
            self.together.map(Domain::Together),
            self.uniform
                .map(|(low, high)| Domain::Uniform { low, high }),
            self.log_uniform
                .map(|(low, high)| Domain::LogUniform { low, high }),
            self.int.map(|(low, high)| Domain::Int { low, high }),
        ];
        let mut given = domains.into_iter().flatten();
        let (Some(domain), None) = (given.next(), given.next()) else {
            return Err(format!("`{name}` needs one of {FORMS}"));
        };
        let when = self.when.into_iter().map(|(path, values)| {
            let values = match values {
                Value::Array(values) => values,
                value => vec![value],
            };
            (path, values)
        });
        Ok(Parameter {
            name,
            domain,
            when: when.collect(),
        })
    }

    fn of(parameter: &Parameter) -> Table {
        let mut table = Table {
            when: parameter
                .when
                .iter()
                .map(|(path, values)| (path.clone(), Value::Array(values.clone())))
                .collect(),
            ..Table::default()
        };
        match parameter.domain.clone() {
            Domain::Choice(values) => table.choice = Some(values),
            Domain::Together(sets) => table.together = Some(sets),
            Domain::Uniform { low, high } => table.uniform = Some((low, high)),
            Domain::LogUniform { low, high } => table.log_uniform = Some((low, high)),
            Domain::Int { low, high } => table.int = Some((low, high)),
        }
        table
    }
}

/// A list of values, or a table.
enum Form {
    List(Vec<Value>),
    Table(Table),
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Form;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a list of values like [2e-5, 5e-5] or a table like { log_uniform = [1e-5, 1e-4] }",
                )
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Form, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Form::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Form, A::Error> {
                Table::deserialize(de::value::MapAccessDeserializer::new(map)).map(Form::Table)
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of paths and their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut parameters = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    parameters.push(match map.next_value::<Form>()? {
                        Form::List(values) => Parameter {
                            name,
                            domain: Domain::Choice(values),
                            when: Vec::new(),
                        },
                        Form::Table(table) => {
                            table.into_parameter(name).map_err(de::Error::custom)?
                        }
                    });
                }
                Ok(Parameters(parameters))
            }
        }
        deserializer.deserialize_map(Named)
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|parameter| (&parameter.name, Table::of(parameter))),
        )
    }
}

impl JsonSchema for Parameters {
    fn schema_name() -> Cow<'static, str> {
        "Parameters".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let range = |of: &str, description: &str| {
            json!({
                "description": description,
                "type": "array", "items": { "type": of }, "minItems": 2, "maxItems": 2,
            })
        };
        let table = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "choice": {
                    "description": "One of these values; the same as the list alone, for a parameter with `when`.",
                    "type": "array", "minItems": 1,
                },
                "together": {
                    "description": "Fields that vary together: `together = [{ \"train.a.epochs\" = 1, \"train.a.batch.size\" = 8 }, …]`. The parameter's name is then a name and no path.",
                    "type": "array", "minItems": 1, "items": { "type": "object", "minProperties": 1 },
                },
                "uniform": range("number", "A number between these two."),
                "log_uniform": range("number", "A number between these two, uniform in its logarithm; for learning rates and the like."),
                "int": range("integer", "An integer from the first to the second, both included."),
                "when": {
                    "description": "Only where another parameter has this value, or one of these: `when = { \"vars.encoder\" = [\"a\", \"b\"] }`.",
                    "type": "object", "minProperties": 1,
                },
            },
        });
        json_schema!({
            "description": "Path → values: a list such as `[2e-5, 5e-5]`, or a table such as `{ log_uniform = [1e-5, 1e-4] }`.",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "anyOf": [{ "type": "array", "minItems": 1 }, table],
            },
        })
    }
}

/// The file's sweep, with what is wrong with it; none where there is none or its form is wrong.
pub(super) fn read(
    document: &Node,
    stages: &[Written],
    declared: &[Declared],
    problems: &mut Vec<Problem>,
) -> Option<SweepSettings> {
    let entry = document.get("sweep")?;
    let root = [Step::Key("sweep".to_owned())];
    let settings = serde_path_to_error::deserialize::<_, SweepSettings>(entry.node.to_json());
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => {
            let field = error.path().to_string();
            let place = document.locate(&[&root[..], &super::document::steps(&field)].concat());
            // The schema was there first, unless it cannot say this.
            if !problems
                .iter()
                .any(|problem| super::contains(&entry.node, &problem.place))
            {
                problems.push(
                    Problem::new(&place, error.inner().to_string(), "not a sweep")
                        .help("`refit schema` prints what `[sweep]` may hold"),
                );
            }
            return None;
        }
    };
    for (at, fault) in check::faults(&settings, stages, declared) {
        problems.push(match at {
            At::Field(field) => {
                let fault = Fault {
                    field: field.to_owned(),
                    ..fault
                };
                fault_at(document, &root, &fault)
            }
            At::Parameter(name) => {
                let place = parameter(document, &name)
                    .map_or(entry.key_place.clone(), |entry| entry.key_place.clone());
                Problem::new(&place, fault.message, "this parameter")
                    .help(fault.help)
                    .meant(fault.meant)
            }
        });
    }
    Some(settings)
}

fn parameter<'a>(document: &'a Node, name: &str) -> Option<&'a super::document::Entry> {
    let sweep = &document.get("sweep")?.node;
    sweep.get("parameters")?.node.get(name)
}

/// Where a sweep lists the path, and where the value; the sweep itself where it does not.
pub(super) fn places(document: &Node, path: &str, value: &Value) -> (Place, Place) {
    let Some(sweep) = document.get("sweep") else {
        return (document.place.clone(), document.place.clone());
    };
    let mut places = (sweep.key_place.clone(), sweep.key_place.clone());
    let parameters = sweep.node.get("parameters").map(|entry| &entry.node);
    for entry in parameters.map(Node::entries).unwrap_or_default() {
        let own = entry.key == path;
        find(&entry.node, path, value, own, &entry.key_place, &mut places);
    }
    places
}

fn find(
    node: &Node,
    path: &str,
    value: &Value,
    own: bool,
    key: &Place,
    places: &mut (Place, Place),
) {
    if own {
        places.0.clone_from(key);
        places.1.clone_from(&node.place);
    }
    match &node.value {
        super::document::Value::Array(items) => {
            for item in items {
                match own {
                    true if item.to_json() == *value => places.1.clone_from(&item.place),
                    true => {}
                    false => find(item, path, value, false, key, places),
                }
            }
        }
        super::document::Value::Table(entries) => {
            for entry in entries.iter().filter(|entry| entry.key != "when") {
                let here = entry.key == path && entry.node.to_json() == *value;
                let inside = own && entry.key == "choice";
                if here {
                    places.0.clone_from(&entry.key_place);
                    places.1.clone_from(&entry.node.place);
                } else {
                    find(&entry.node, path, value, inside, &entry.key_place, places);
                }
            }
        }
        _ => {}
    }
}

impl SweepSettings {
    /// Assignments in which every value that the sweep lists, and both ends of every range, stand at least once.
    pub fn samples(&self) -> Vec<Map<String, Value>> {
        let mut samples = Vec::new();
        for parameter in &self.parameters.0 {
            let one = |value: Value| Map::from_iter([(parameter.name.clone(), value)]);
            let values = match &parameter.domain {
                Domain::Choice(values) => values.iter().cloned().map(one).collect(),
                Domain::Together(sets) => sets.clone(),
                Domain::Uniform { low, high } | Domain::LogUniform { low, high } => {
                    vec![one((*low).into()), one((*high).into())]
                }
                Domain::Int { low, high } => vec![one((*low).into()), one((*high).into())],
            };
            let conditions = self.conditions(parameter, 0);
            samples.extend(values.into_iter().map(|mut sample| {
                sample.extend(conditions.clone());
                sample
            }));
        }
        samples
    }

    /// What must be set for a parameter to apply.
    fn conditions(&self, parameter: &Parameter, depth: usize) -> Map<String, Value> {
        let mut conditions = Map::new();
        for (path, values) in &parameter.when {
            let sets = |other: &&Parameter| other.paths().contains(&path.as_str());
            let Some((value, other)) = values.first().zip(self.parameters.0.iter().find(sets))
            else {
                continue;
            };
            match &other.domain {
                Domain::Together(all) => {
                    let whole = all.iter().find(|set| set.get(path) == Some(value));
                    conditions.extend(whole.cloned().unwrap_or_default());
                }
                _ => {
                    conditions.insert(path.clone(), value.clone());
                }
            }
            // Conditions in a circle are reported elsewhere.
            if depth < self.parameters.0.len() {
                conditions.extend(self.conditions(other, depth + 1));
            }
        }
        conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: Value) -> Result<SweepSettings, serde_json::Error> {
        serde_json::from_value(
            json!({ "goal": { "maximize": "a.f1_macro" }, "parameters": parameters }),
        )
    }

    #[test]
    fn a_parameter_is_a_list_or_a_table_in_the_order_of_the_file() {
        let settings = read(json!({
            "train.b.epochs": [1, 2],
            "train.a.optimizer.learning_rate": { "log_uniform": [1e-5, 1e-4] },
            "train.a.freeze.layers": { "int": [1, 4], "when": { "train.b.epochs": 2 } },
            "size": { "together": [{ "train.a.epochs": 1, "train.a.batch.size": 8 }] },
        }))
        .unwrap();
        let parameters = &settings.parameters.0;
        assert_eq!(parameters[0].name, "train.b.epochs");
        assert_eq!(
            parameters[0].domain,
            Domain::Choice(vec![1.into(), 2.into()])
        );
        assert_eq!(
            parameters[1].domain,
            Domain::LogUniform {
                low: 1e-5,
                high: 1e-4
            }
        );
        assert_eq!(
            parameters[2].when,
            [("train.b.epochs".to_owned(), vec![Value::from(2)])]
        );
        assert_eq!(
            parameters[3].paths(),
            ["train.a.epochs", "train.a.batch.size"]
        );
        let again = serde_json::from_value(serde_json::to_value(&settings).unwrap()).unwrap();
        assert_eq!(settings, again);
    }

    #[test]
    fn a_wrong_form_shows_the_right_ones() {
        let message = read(json!({ "a": 3 })).unwrap_err().to_string();
        assert!(
            message.contains("a list of values") && message.contains("a table like"),
            "{message}"
        );
        let two = json!({ "a": { "choice": [1], "int": [1, 2] } });
        assert!(read(two).unwrap_err().to_string().contains(FORMS));
        assert!(read(json!({ "a": {} })).is_err());
        assert!(read(json!({ "a": { "log": [1, 2] } })).is_err());
    }

    #[test]
    fn a_goal_is_a_stage_and_a_metric() {
        let goal = |maximize: Option<&str>, minimize: Option<&str>| Goal {
            maximize: maximize.map(str::to_owned),
            minimize: minimize.map(str::to_owned),
        };
        assert_eq!(
            goal(Some("a.f1_macro"), None).parts(),
            Some(("a", "f1_macro", Direction::Maximize))
        );
        assert_eq!(
            goal(None, Some("a.loss")).parts(),
            Some(("a", "loss", Direction::Minimize))
        );
        for wrong in [
            goal(None, None),
            goal(Some("a.b"), Some("a.c")),
            goal(Some("a"), None),
            goal(Some(".a"), None),
        ] {
            assert_eq!(wrong.parts(), None);
        }
    }
}
