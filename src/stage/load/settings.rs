//! The settings of `load` as a user writes them, and what is wrong with them before any file is opened.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use miette::Diagnostic;

use super::columns::Columns;
use super::deduplicate::Deduplicate;
use super::sample::Sample;
use crate::stage::Fault;
use crate::table::condition::Condition;
use crate::table::read::{Column, Format};

/// Reads files into rows, in named splits: texts with labels or numbers, sentences of tagged words, questions with answers.
///
/// Use one `load` stage per data set. Paths are relative to the spec's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// A data set of the hub, `owner/name` or `owner/name@revision`, in place of `train` and the other files: its splits are
    /// found by the rules of the `datasets` library, as `load_dataset` finds them, and the names of its classes are taken
    /// where `label_names` gives none: integers are indices into these, and -1 is no label. A folder of that name beside the
    /// spec comes first, and is read by the same rules, its README's card included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub dataset: Option<String>,
    /// Which configuration (subset) of `dataset`, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub config: Option<String>,
    /// Which splits of `dataset` are read, and as what: `splits = { train = "train", test = "validation" }`. Other names than
    /// `train`, `validation` and `test` become further test sets, `more.NAME`. By default those of the three that it has, also
    /// as `training`, `valid`, `val`, `dev`, `testing`, `eval` or `evaluation`. Nothing of other splits is fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub splits: BTreeMap<String, String>,
    /// The files to train on: a path or a list of paths, with `*`, `?`, `[…]` and `**` as wildcards (their matches are
    /// taken in the order of their names). A path may also be an address, `https://…`, or files of the hub,
    /// `hf://datasets/owner/name/path` or `hf://datasets/owner/name@revision/path`, or objects of a store,
    /// `s3://bucket/key`, `gs://bucket/key` or `az://container/blob`, these with wildcards too; variables of the environment
    /// say how a store is reached and who asks (`AWS_…`, `GOOGLE_…`, `AZURE_…`). Files may be compressed: `train.csv.gz`,
    /// also `.zst`, `.bz2` and `.xz`. Either this or `dataset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Paths>,
    /// The files to choose the best weights by, after each epoch. Without them, `split.validation` can cut a share from
    /// `train`, or `fold` a fold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Paths>,
    /// The files to score the finished model on. Without them, `split.test` can cut a share from `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Paths>,
    /// Further test sets by name: `more = { mismatched = ["…"] }` is the split `more.mismatched`. A name is of letters,
    /// digits, `_` and `-`.
    #[serde(default)]
    pub more: BTreeMap<String, Paths>,
    /// What to cut from `train` for the splits that have no files of their own.
    #[serde(default)]
    pub split: Split,
    /// For cross-validation: the rows of `train` are cut into `of` folds, and the fold `index` is the validation split.
    /// With one seed the folds of all indices are parts of one partition, so `index` from 0 on, in a sweep say, validates on
    /// every row once. `split.test` is cut first. It takes the place of `validation` and of `split.validation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
    /// What must be true of a row that is loaded, as a SQL expression over the columns of its file, whether or not they are
    /// loaded: `"length > 10 AND source <> 'bot'"`. Other rows are left out of every split, and so are rows for which it is
    /// unknown. In csv and tsv a column is compared as numbers, or as true and false, where each of its values reads so (an
    /// empty one is null), else as text; without a header its name is `column_0`, `column_1`, …. Lines of text are the column
    /// `text`. Not for conll and squad, whose rows have no columns.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub condition: Option<String>,
    /// Labels (or tags) as they are written → what they are taken for: `map = { ham = "fine", "4" = "positive" }`. Several may
    /// become one. Others stay as they are, and `label_names` comes after.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, String>,
    /// Leaves out rows that occur more than once, before anything is cut from `train`. By default all rows stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplicate: Option<Deduplicate>,
    /// Takes a part of the rows of a split, by its name: `sample = { train = { limit = 500 }, test = { fraction = 0.1 } }`.
    /// It is drawn last, so the test rows are the same whatever is taken of `train`; and with one seed, a smaller sample is
    /// part of a larger one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sample: BTreeMap<String, Sample>,
    /// How the files are written. By default each file's ending says it, of a compressed file the one before `.gz`, `.zst`,
    /// `.bz2` or `.xz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Whether the first line names the columns (csv, tsv). Without a header, `columns` are numbers from 0.
    #[serde(default = "yes")]
    pub header: bool,
    /// The character that encloses fields holding separators or line breaks (csv, tsv); inside a field it is doubled.
    /// Set `""` for files that do not quote, as most TSV files do not.
    #[serde(default = "quote")]
    #[schemars(length(max = 1))]
    pub quote: String,
    /// Which columns hold what.
    #[serde(default)]
    pub columns: Columns,
    /// What stands between the labels of a row where `columns.labels` holds text. White space around a label is no part of it.
    #[serde(default = "comma")]
    #[schemars(length(min = 1))]
    pub label_separator: String,
    /// The labels (or tags) in their order. For integers: the name of each integer from 0 on, or of exactly those that occur,
    /// in ascending order. By default the classes that the data set names; else integers go by value and names by their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub label_names: Option<Vec<String>>,
    /// Whether to leave out rows that are broken in themselves, and to say how many: rows that lack a value, answers that do
    /// not stand at their start, sentences without tokens, with more tags than tokens or in an impossible order of tags. By
    /// default the first such row is an error. A file that is broken as a whole always is one.
    #[serde(default)]
    pub skip_invalid: bool,
    /// The seed that `split`, `fold` and `sample` draw rows with. By default the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

fn yes() -> bool {
    true
}

fn quote() -> String {
    "\"".to_owned()
}

fn comma() -> String {
    ",".to_owned()
}

impl Load {
    /// Fields that exclude or need each other, and values that no schema can refuse.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.split_faults();
        faults.extend(self.source_faults());
        let mut fault =
            |field: &str, message: &str, help: &str| faults.push(Fault::new(field, message, help));
        if self.quote.len() > 1
            || !self.quote.is_ascii()
            || matches!(self.quote.as_str(), "\n" | "\r" | "\t" | ",")
        {
            fault(
                "quote",
                "a quote is one ASCII character",
                "use \"\\\"\", \"'\", or \"\" for files that do not quote",
            );
        }
        if self.label_separator.is_empty() {
            let help = "state what stands between two labels, like \",\" or \"|\"";
            fault("label_separator", "nothing cannot separate labels", help);
        } else if self.label_separator != comma() && self.columns.labels.is_none() {
            let help = "name the column of labels as `columns.labels`, or remove the field";
            let message = "without `columns.labels` no label is divided";
            fault("label_separator", message, help);
        }
        faults.extend(self.columns.faults(self.format));
        faults.extend(self.row_faults());
        let mut fault =
            |field: &str, message: &str, help: &str| faults.push(Fault::new(field, message, help));
        if let Some(names) = &self.label_names {
            if names.is_empty() {
                fault(
                    "label_names",
                    "`label_names` lists no names",
                    "list the labels, or remove the field",
                );
            }
            if names.iter().any(String::is_empty) {
                fault("label_names", "a label's name is empty", "name every label");
            }
            if let Some(name) = names
                .iter()
                .enumerate()
                .find_map(|(n, name)| names[..n].contains(name).then_some(name))
            {
                fault(
                    "label_names",
                    &format!("`{name}` is listed twice"),
                    "list each label once",
                );
            }
        }
        let named = |field: &'static str, name: &String| (format!("{field}.{name}"), name.clone());
        let more = self.more.keys().map(|name| named("more", name));
        for (field, name) in more.chain(self.splits.keys().map(|name| named("splits", name))) {
            if name.is_empty()
                || !name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            {
                fault(
                    &field,
                    &format!("`{name}` cannot be a split's name"),
                    "use letters, digits, `_` and `-`",
                );
            }
        }
        faults
    }

    /// What is wrong with which rows are wanted.
    fn row_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(text) = &self.condition {
            if let Err(error) = Condition::parse(text) {
                let help = error.help().map(|help| help.to_string());
                let help = help.unwrap_or_default();
                faults.push(Fault::new("where", error.to_string(), help));
            }
            if let Some(format) = self.format.filter(|format| !format.has_columns()) {
                let message = format!("files in the format {format} have no columns to compare");
                let help = "remove `where`, or write the data as JSON Lines";
                faults.push(Fault::new("where", message, help));
            }
        }
        for (written, taken) in &self.map {
            let field = format!("map.{written}");
            if taken.is_empty() {
                let help = "name the label to take; `where` leaves rows out";
                faults.push(Fault::new(field, "a label's name is empty", help));
            } else if taken == written {
                let help = "remove it: a label that is not named stays as it is";
                faults.push(Fault::new(field, "a label is mapped to itself", help));
            }
        }
        if let Some(deduplicate) = &self.deduplicate {
            faults.extend(deduplicate.faults());
        }
        for (split, sample) in &self.sample {
            faults.extend(sample.faults(split));
        }
        let cuts = self.split.validation > 0.0 || self.split.test > 0.0;
        for (field, stated) in [
            ("split.group", self.split.group.is_some()),
            ("split.time", self.split.time.is_some()),
        ] {
            if stated && !cuts && !(field == "split.group" && self.fold.is_some()) {
                let help = "set `split.test` or `split.validation`, or remove it";
                faults.push(Fault::new(
                    field,
                    format!("nothing is cut by `{field}`"),
                    help,
                ));
            }
        }
        if self.split.group.is_some() && self.split.time.is_some() {
            let message = "`group` and `time` exclude each other";
            let help = "keep one of them: by time, a group may stand on both sides";
            faults.push(Fault::new("split.time", message, help));
        }
        if self.split.time.is_some() && self.fold.is_some() {
            let message = "folds cannot be cut by time: each of them is scored once";
            let help = "remove `fold`, or `split.time`";
            faults.push(Fault::new("split.time", message, help));
        }
        faults
    }

    /// Either a data set or files.
    fn source_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault =
            |field: &str, message: &str, help: &str| faults.push(Fault::new(field, message, help));
        match (&self.dataset, &self.train) {
            (None, None) => fault(
                "",
                "there is nothing to load",
                "name files, `train = [\"data/train.csv\"]`, or a data set, `dataset = \"owner/name\"`",
            ),
            (Some(_), _) => {
                let files = [
                    ("train", self.train.is_some()),
                    ("validation", self.validation.is_some()),
                    ("test", self.test.is_some()),
                    ("more", !self.more.is_empty()),
                ];
                for (field, _) in files.into_iter().filter(|(_, given)| *given) {
                    fault(
                        field,
                        &format!("`dataset` and `{field}` exclude each other"),
                        "keep the files, or say with `splits` which of the data set's splits is what",
                    );
                }
                if !self.splits.is_empty() && !self.splits.contains_key("train") {
                    fault(
                        "splits",
                        "nothing is named to train on",
                        "add `train = \"train\"`, or what the data set calls it",
                    );
                }
            }
            (None, Some(_)) => {
                let fields = [
                    ("config", self.config.is_some()),
                    ("splits", !self.splits.is_empty()),
                ];
                for (field, _) in fields.into_iter().filter(|(_, given)| *given) {
                    fault(
                        field,
                        &format!("without `dataset`, `{field}` says nothing"),
                        "remove it, or name a `dataset`",
                    );
                }
            }
        }
        faults
    }

    fn split_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault =
            |field: &str, message: &str, help: &str| faults.push(Fault::new(field, message, help));
        let shares = [
            (
                "split.validation",
                self.split.validation,
                self.validation.is_some(),
                "validation",
            ),
            ("split.test", self.split.test, self.test.is_some(), "test"),
        ];
        for (field, share, given, split) in shares {
            if !(0.0..1.0).contains(&share) {
                fault(
                    field,
                    "a share is at least 0 and less than 1",
                    "write 0.1 to cut a tenth of the training rows",
                );
            } else if given && share > 0.0 {
                let help = format!("remove `{field}`, or the files under `{split}`");
                fault(
                    field,
                    &format!("`{split}` has files of its own, so nothing is cut for it"),
                    &help,
                );
            }
        }
        if self.split.validation + self.split.test >= 1.0 {
            fault(
                "split",
                "the shares leave nothing to train on",
                "let them sum to less than 1",
            );
        }
        if let Some(fold) = self.fold {
            if fold.index >= fold.of {
                fault(
                    "fold.index",
                    &format!("there is no fold {} of {}", fold.index, fold.of),
                    &format!("folds count from 0 to {}", fold.of.saturating_sub(1)),
                );
            }
            let others = [
                ("validation", self.validation.is_some()),
                ("split.validation", self.split.validation > 0.0),
            ];
            for (field, _) in others.into_iter().filter(|(_, given)| *given) {
                fault(
                    "fold",
                    &format!(
                        "`fold` and `{field}` exclude each other: both say what the validation split is"
                    ),
                    &format!("remove `{field}`, or `fold`"),
                );
            }
        }
        faults
    }
}

/// What to cut from `train`. Rows keep their order and their ids. Questions about one context all go to one split, so that
/// no context is on both sides: whole contexts are drawn, and the share is met as nearly as they allow. With `group` all that
/// shares a group or a context stays together, with `time` a context is as new as its newest question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The share of all training rows that becomes the validation split; 0 cuts none.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub validation: f64,
    /// The share of all training rows that becomes the test split; 0 cuts none.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub test: f64,
    /// Whether each class gives the same share, to folds too. Turn it off to draw rows regardless of their labels. It has no effect on rows
    /// that have not one label each: these are always drawn regardless.
    #[serde(default = "yes")]
    pub stratify: bool,
    /// A column that says what a row belongs to: a customer, a document, a conversation. All rows of a group go to one split
    /// (or fold), so that nothing is scored on whom it learnt from: whole groups are drawn, whatever the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Column>,
    /// A column that says when a row was made: the newest rows become the test split, those before them the validation split,
    /// so that a model is scored on what came after all that it learnt from. Nothing is drawn, and rows of one time stay
    /// together. Dates and times of Parquet or in ISO 8601, or numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Column>,
}

impl Default for Split {
    fn default() -> Self {
        Split {
            validation: 0.0,
            test: 0.0,
            stratify: true,
            group: None,
            time: None,
        }
    }
}

/// One of several parts of the training rows, for cross-validation. As with `split`, each class gives its share to every fold
/// unless `split.stratify` is off, and questions about one context all go to one fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// How many folds there are. 5 and 10 are usual; more of them train on more rows, and take longer.
    #[schemars(range(min = 2, max = 100))]
    pub of: u32,
    /// Which of them is the validation split, counted from 0.
    #[schemars(range(min = 0, max = 99))]
    pub index: u32,
}

/// A path or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paths {
    One(String),
    Several(Vec<String>),
}

impl Paths {
    /// Each path with its field's path within the stage: `train`, or `train[0]`, `train[1]`, ….
    pub fn with_fields<'a>(&'a self, field: &'a str) -> impl Iterator<Item = (String, &'a str)> {
        let (one, several) = match self {
            Paths::One(path) => (Some((field.to_owned(), path.as_str())), [].as_slice()),
            Paths::Several(paths) => (None, paths.as_slice()),
        };
        let several = several
            .iter()
            .enumerate()
            .map(move |(n, path)| (format!("{field}[{n}]"), path.as_str()));
        one.into_iter().chain(several)
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Paths::Several(paths) if paths.is_empty())
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Paths::One(path) => serializer.serialize_str(path),
            Paths::Several(paths) => paths.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a path like \"data/train.csv\" or a list of paths like [\"a.csv\", \"b.csv\"]",
                )
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Paths, E> {
                Ok(Paths::One(path.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = list.next_element()? {
                    paths.push(path);
                }
                Ok(Paths::Several(paths))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Paths {
    fn schema_name() -> Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A path, or a list of paths; `*`, `?`, `[…]` and `**` are wildcards.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::read::Column;

    fn read(value: serde_json::Value) -> Result<Load, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn a_path_may_stand_for_a_list_of_one() {
        let load =
            read(json!({ "train": "a.csv", "test": ["b.csv", "c.csv"], "columns": { "text": 1, "label": "y" } }))
                .unwrap();
        assert_eq!(load.train, Some(Paths::One("a.csv".into())));
        assert_eq!(
            load.test.as_ref().unwrap().with_fields("test").last(),
            Some(("test[1]".into(), "c.csv"))
        );
        assert_eq!(load.columns.text, Some(Column::Number(1)));
        assert_eq!(serde_json::to_value(&load).unwrap()["train"], "a.csv");
    }

    #[test]
    fn a_wrong_form_shows_both_right_ones() {
        let message = read(json!({ "train": 3 })).unwrap_err().to_string();
        assert!(
            message.contains("a path like") && message.contains("a list of paths"),
            "{message}"
        );
        let message = read(json!({ "train": "a", "columns": { "text": -1 } }))
            .unwrap_err()
            .to_string();
        assert!(message.contains("from 0"), "{message}");
        assert!(read(json!({ "train": "a", "colums": {} })).is_err());
    }

    #[test]
    fn settings_survive_json() {
        let load = read(
            json!({
                "train": ["a"], "split": { "test": 0.2 }, "format": "jsonl", "quote": "", "label_separator": "|",
                "columns": { "labels": 3, "text": "t", "id": "i" }, "skip_invalid": true,
            }),
        )
        .unwrap();
        assert_eq!(read(serde_json::to_value(&load).unwrap()).unwrap(), load);
    }
}
