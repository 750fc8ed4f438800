//! `[run.track]`: who follows the numbers of a run.
//!
//! Promise: a token stands in no spec. It comes from the environment, and is shown nowhere.
//!
//! Deliberately absent: what is told, and how, which is `track`'s.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::document::{Node, Value};
use super::problem::Problem;

/// Who follows the numbers of a run: losses, learning rates, gradient norms, scores, throughput and memory. Whatever becomes of
/// them, no training fails or waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrackSettings {
    /// A folder for TensorBoard's event files, relative to this file. Each training writes to `STAGE/KEY` in it (in a sweep
    /// `STAGE/trial-N-KEY`), so that what was changed lies beside what was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub tensorboard: Option<String>,
    /// An MLflow server that is told of each training as a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowSettings>,
}

/// An MLflow server, and where in it runs are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MlflowSettings {
    /// The server's address, such as `http://127.0.0.1:5000`.
    #[schemars(regex(pattern = "^https?://[^/?#]+[^?#]*$"))]
    pub url: String,
    /// The experiment that runs belong to; it is made where there is none. Default: the pipeline's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub experiment: Option<String>,
    /// What the server wants to see as a bearer token: `"${env:NAME}"`, or `"${env:NAME:-}"` where there may be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub token: Option<Secret>,
}

/// What nobody is shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// To be sent, and to be shown nowhere.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }
}

/// A token that is written out, in a document whose variables are not put in yet.
pub(super) fn written_out(document: &Node) -> Option<Problem> {
    let path = ["run", "track", "mlflow", "token"];
    let mut at = document;
    for key in path {
        at = &at.get(key)?.node;
    }
    let Value::String(text) = &at.value else {
        return None;
    };
    let name = text.strip_prefix("${env:").and_then(|text| {
        let text = text.strip_suffix('}')?;
        Some(text.strip_suffix(":-").unwrap_or(text))
    });
    let plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if name.is_some_and(plain) {
        return None;
    }
    Some(
        Problem::new(
            &at.place,
            "a token must not stand in a spec",
            "expected a name of the environment",
        )
        .help("write `token = \"${env:MLFLOW_TRACKING_TOKEN}\"`, and set that variable"),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::spec::Pipeline;

    const TOKEN: &str = "sesame-open-thyself";

    fn read(token: &str) -> (Pipeline, Vec<String>) {
        let text = format!(
            "version = 1\n[vars]\nt = \"${{env:TOKEN}}\"\n[run.track]\ntensorboard = \"runs\"\n\
             mlflow = {{ url = \"http://127.0.0.1:5000\", token = \"{token}\" }}\n[load.data]\ntrain = \"a.csv\"\n"
        );
        let environment = |name: &str| (name == "TOKEN").then(|| TOKEN.to_owned());
        let (pipeline, problems) = Pipeline::parse(Path::new("a.toml"), &text, &[], &environment);
        let told = problems.iter();
        (pipeline, told.map(|one| one.message.clone()).collect())
    }

    #[test]
    fn a_token_comes_from_the_environment_and_is_shown_nowhere() {
        let (pipeline, problems) = read("${env:TOKEN}");
        assert_eq!(problems, [""; 0]);
        let mlflow = pipeline.run.track.mlflow.as_ref().unwrap();
        assert_eq!(mlflow.token.as_ref().unwrap().reveal(), TOKEN);
        assert!(!format!("{:?}", pipeline.run).contains(TOKEN));
        let json = serde_json::to_string(&pipeline.run).unwrap();
        assert!(!json.contains(TOKEN), "{json}");
        assert!(!pipeline.text().contains(TOKEN));
        let (pipeline, problems) = read("${env:NONE:-}");
        assert_eq!(problems, [""; 0]);
        let mlflow = pipeline.run.track.mlflow.as_ref().unwrap();
        assert_eq!(mlflow.token.as_ref().unwrap().reveal(), "");
    }

    #[test]
    fn a_token_that_is_written_out_is_a_problem() {
        for token in ["abc", "${t}", "${env:NONE:-abc}", "x${env:TOKEN}", ""] {
            let (_, problems) = read(token);
            assert_eq!(problems, ["a token must not stand in a spec"], "{token}");
        }
        let (_, problems) = read("${env:OTHER}");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn a_server_without_an_address_is_a_problem() {
        let problems = |url: &str| {
            let text = format!(
                "version = 1\n[run.track]\nmlflow = {{ url = \"{url}\" }}\n[load.data]\ntrain = \"a.csv\"\n"
            );
            Pipeline::parse(Path::new("a.toml"), &text, &[], &|_| None).1
        };
        // What follows the server's address in a browser belongs to its pages.
        for url in [
            "127.0.0.1:5000",
            "http://host:5000/#/experiments/1",
            "http://host:5000?a=b",
            "http:///mlflow",
        ] {
            let problems = problems(url);
            let [problem] = &problems[..] else {
                panic!("{url}: {problems:?}")
            };
            assert!(problem.message.contains(url), "{problem:?}");
            assert!(problem.help.as_ref().unwrap().contains("http://"));
        }
        for url in [
            "http://host:5000",
            "https://host/mlflow/",
            "http://[::1]:5000",
        ] {
            assert_eq!(problems(url).len(), 0, "{url}");
        }
    }
}
