//! The page of a sweep: what was tried, what came of it, and what it cost.
//!
//! It shows the best trial; all trials as lines over parallel axes, which filter the rest of the page; the score against
//! each parameter; the importance of parameters; learning curves; cost; chosen trials side by side; and a table, which is
//! also the text of every chart. The promise: it says nothing that is not in [`SweepPage`], takes any text for text, and
//! stays quick at a thousand trials.
//!
//! Deliberately absent: importance, ranks or pruning of its own (the sweep computes those), and a server that pushes news.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Parts, document};

const BODY: &str = include_str!("sweep/page.html");
const STYLE: &str = include_str!("sweep/style.css");
pub(super) const SCRIPTS: [&str; 3] = [
    include_str!("sweep/parallel.js"),
    include_str!("sweep/table.js"),
    include_str!("sweep/page.js"),
];

/// What the page of a sweep shows.
#[derive(Debug, Clone, Serialize)]
pub struct SweepPage {
    pub pipeline: String,
    /// `classifier.f1_macro`
    pub goal: String,
    /// `maximize` or `minimize`
    pub direction: String,
    /// `grid`, `random` or `tpe`
    pub search: String,
    /// In the order of the axes. A path that trials set and that is not here gets an axis as a choice; one that no trial
    /// sets gets none.
    pub parameters: Vec<PageParameter>,
    pub trials: Vec<PageTrial>,
    /// The number of the best trial.
    pub best: Option<usize>,
    pub executions: Executions,
    /// Parameter → share of the variance of scores that it explains alone, from 0 to 1, largest first.
    pub importance: Vec<(String, f64)>,
    /// The command that runs this sweep, without the program's folder: `refit sweep SPEC`, and flags that `refit run`
    /// knows too. The command for one trial is `refit run` with the same, and a `--set` for each of its parameters.
    pub command: String,
}

/// Steps of all runs of all trials.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Executions {
    /// That the trials asked for.
    pub needed: u64,
    /// That ran.
    pub ran: u64,
    /// That another trial or an earlier run had done.
    pub saved: u64,
}

/// What a sweep varies.
#[derive(Debug, Clone, Serialize)]
pub struct PageParameter {
    /// Its path in the spec: `train.classifier.optimizer.learning_rate`.
    pub name: String,
    pub scale: Scale,
}

/// How values of a parameter lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    Choice,
    Linear,
    Log,
    Integer,
}

/// One trial.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageTrial {
    pub number: usize,
    /// `done`, `pruned`, `failed`, `running` or `pending`
    pub state: String,
    /// Path → value, of any type; a parameter that does not apply is absent.
    pub parameters: Map<String, Value>,
    /// The score of the goal; for a pruned trial, the last one known.
    pub score: Option<f64>,
    /// Standard deviation over repeats or folds.
    pub spread: Option<f64>,
    pub seconds: f64,
    /// One curve for each run of the trial: (step, score).
    pub curves: Vec<Vec<(u64, f64)>>,
    /// Steps that ran.
    pub built: u64,
    /// Steps whose result was known.
    pub fresh: u64,
    /// Why it failed or was pruned.
    pub message: Option<String>,
}

/// The page, whole: write it to a file that ends in `.html`.
pub fn sweep_page(page: &SweepPage) -> String {
    let parts = Parts {
        title: &format!("Sweep of {}", page.pipeline),
        body: BODY,
        style: STYLE,
        scripts: &SCRIPTS,
        asks: false,
    };
    document(&parts, page).html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(message: &str) -> SweepPage {
        let number = serde_json::Number::from(u64::MAX);
        SweepPage {
            pipeline: "a & b".to_owned(),
            goal: "classifier.loss".to_owned(),
            direction: "minimize".to_owned(),
            search: "random".to_owned(),
            parameters: vec![PageParameter {
                name: "seed".to_owned(),
                scale: Scale::Integer,
            }],
            trials: vec![PageTrial {
                state: "failed".to_owned(),
                parameters: [("seed".to_owned(), Value::Number(number))]
                    .into_iter()
                    .collect(),
                score: Some(f64::NAN),
                message: Some(message.to_owned()),
                ..PageTrial::default()
            }],
            best: None,
            executions: Executions::default(),
            importance: vec![("seed".to_owned(), f64::NAN)],
            command: "refit sweep a.toml".to_owned(),
        }
    }

    #[test]
    fn the_data_of_a_page_reads_back_and_ends_no_script() {
        let message = "</script><script>alert(1)</script><!-- \u{2028} 'quoted' \"too\"";
        let html = sweep_page(&page(message));
        let (_, rest) = html.split_once("id=\"data\">").unwrap();
        let (data, _) = rest.split_once("</script>").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["trials"][0]["message"], message);
        assert_eq!(data["trials"][0]["parameters"]["seed"], u64::MAX);
        assert_eq!(data["trials"][0]["score"], Value::Null);
        assert_eq!(data["importance"][0][1], Value::Null);
        assert_eq!(data["parameters"][0]["scale"], "integer");
        assert_eq!(html.matches("<script").count(), 2);
    }

    #[test]
    fn equal_data_gives_an_equal_page() {
        assert_eq!(sweep_page(&page("x")), sweep_page(&page("x")));
    }
}
