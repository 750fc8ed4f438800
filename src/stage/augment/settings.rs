//! The settings of `augment` as a user writes them, and what is wrong with them before any row is read.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::stage::Fault;

/// Changes the training rows: adds changed copies of them, mixes several inputs, balances classes. Other splits are never
/// touched. A copy goes through all operations that are stated, in the order of the fields below, and is dropped when its
/// words come out as they were.
///
/// Tags move with their words and entities stay whole; answers stay as they are, and their starts are counted anew; any other
/// label of a copy is that of its row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// The `load` or `augment` stage whose training split is changed. Either this or `inputs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Several such stages, each with how much of its training split is taken: `{ news = 1.0, blogs = 0.5 }` is all rows of
    /// `news` and a random half of those of `blogs`; at 2.0 each row comes twice. Other splits are those of all inputs, one
    /// after the other. The rows must be for one task; classes are matched by their names.
    #[serde(default, skip_serializing_if = "Weights::is_empty")]
    pub inputs: Weights,
    /// How many changed copies to make of each row. Has no effect on `oversample`.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub copies: u32,
    /// Whether copies are made only of rows whose class has fewer rows than the average class: for data in which some classes
    /// are rare.
    #[serde(default, skip_serializing_if = "is_false")]
    pub minority_only: bool,
    /// Other settings for single classes, by name: `{ spam = { copies = 4 }, ham = { copies = 0 } }`. A class that is named
    /// here is copied as this says, also with `minority_only`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, OfClass>,
    /// Words that stay as they are in every copy, whatever their case: names of products, say, or words that make the label.
    /// Sentences may still be rewritten as a whole by `back_translation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<String>,
    /// Takes away rows of the larger classes before copies are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undersample: Option<Undersample>,
    /// Lets a program or a service translate a copy into another language and back, which rewords it. Not for tagged words; of
    /// questions with a context the question alone is reworded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_translation: Option<BackTranslation>,
    /// Replaces words of a copy by synonyms (see `synonyms`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synonym_replacement: Option<SynonymReplacement>,
    /// Puts synonyms of a copy's words at random places of it (see `synonyms`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_insertion: Option<RandomInsertion>,
    /// Where `synonym_replacement` and `random_insertion` find synonyms. By default in WordNet, where its folder is: that of
    /// the variable `WNSEARCHDIR`, else `/usr/share/wordnet`, where Debian's package `wordnet-base` puts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synonyms: Option<Synonyms>,
    /// Leaves out words of a copy. At least one word stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_deletion: Option<RandomDeletion>,
    /// Lets words of a copy trade places, however far apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_swap: Option<RandomSwap>,
    /// Shuffles the words of a copy locally: the sense of a sentence mostly survives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_shuffle: Option<WordShuffle>,
    /// Mistypes letters of a copy: for texts that people type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub character_noise: Option<CharacterNoise>,
    /// Repeats rows of the smaller classes, for data in which some classes are rare. Counts the copies made above too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversample: Option<Oversample>,
    /// The seed of all random choices here. By default the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

fn one() -> u32 {
    1
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What is different for one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfClass {
    /// How many changed copies to make of each row of the class; 0 makes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub copies: Option<u32>,
    /// The rate of every operation that has one, for rows of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rate: Option<f64>,
}

/// Settings of `synonym_replacement`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SynonymReplacement {
    /// The probability with which each word is replaced, where it has synonyms.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rate: f64,
}

/// Settings of `random_insertion`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomInsertion {
    /// The probability with which each word gives a synonym to be inserted, where it has any.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rate: f64,
}

/// Where synonyms come from: one of `wordnet`, `file` and `model`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Synonyms {
    /// The folder of a WordNet 3 database (`index.noun`, `data.noun`, …, `noun.exc`, …), for English: synonyms have the part
    /// of speech that a word most likely has where it stands, and its inflection and capitals. Words without a meaning of
    /// their own ("the", "not", "would") are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wordnet: Option<String>,
    /// A file of your own, for any language: in each line a word and its synonyms, separated by tabs. A synonym takes the place
    /// of the word as it is written there, with the word's capitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// An encoder that was pretrained to predict masked words and still has the head for it: a folder, or a model of the hub
    /// such as `google-bert/bert-base-uncased`. Each word is masked where it stands, and the likeliest words that fit there take
    /// its place, for any language of the model. They suit the text, but may mean something else, even the opposite: name words
    /// on which the label hangs in `protected`. It sees the 128 tokens around the word; English words without a meaning of
    /// their own are left alone, and so are words of more than four pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// From how many of the likeliest words of `model` one is drawn. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub top: Option<u32>,
}

/// Settings of `random_deletion`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomDeletion {
    /// The probability with which each word is left out.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rate: f64,
}

/// Settings of `random_swap`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomSwap {
    /// The probability with which each word trades places with another one of its text.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rate: f64,
}

fn tenth() -> f64 {
    0.1
}

/// Settings of `word_shuffle`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WordShuffle {
    /// How many places a word may move at most.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1000))]
    pub window: u32,
}

fn three() -> u32 {
    3
}

/// Settings of `character_noise`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CharacterNoise {
    /// The probability with which each letter is mistyped, in one of the ways below.
    #[serde(default = "fiftieth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rate: f64,
    /// Whether a letter may become its neighbour on a QWERTY keyboard.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub neighbour: bool,
    /// Whether a letter may be missing.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub drop: bool,
    /// Whether a letter may come twice.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub double: bool,
}

fn fiftieth() -> f64 {
    0.02
}

fn yes() -> bool {
    true
}

/// Settings of `back_translation`: one of `command` and `url`.
///
/// What comes back is kept in the store, text by text, so that nothing is asked for twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackTranslation {
    /// A program and its arguments, run in the spec's folder. It reads lines like `{"id": 0, "text": "…", "copy": 1}` and
    /// answers each with a line like `{"id": 0, "text": "…"}`, in any order within a batch. It is started once, and again
    /// when it dies. Needs `--allow-commands`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// The address of a LibreTranslate service, such as `http://localhost:5000`. A key that it needs is taken from the
    /// variable `LIBRETRANSLATE_API_KEY`. One that is not on this machine needs `--allow-commands`, since it is sent the texts.
    #[serde(default, skip_serializing)]
    pub url: Option<String>,
    /// The language of the texts, as the service calls it. Only with `url`; default: "en".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The language in between. Only with `url`; default: "de".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pivot: Option<String>,
    /// What you call the present state of the program or service with its models. What it gives cannot be told from its name,
    /// so results are taken as known as long as this stays the same: change it when the model behind it changes.
    pub version: String,
    /// How many texts are asked for at a time.
    #[serde(default = "sixteen", skip_serializing)]
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: usize,
    /// How many seconds to wait for the next answer, before the program is started anew or the service is asked again.
    #[serde(default = "minute", skip_serializing)]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout: u64,
}

fn sixteen() -> usize {
    16
}

fn minute() -> u64 {
    60
}

/// Settings of `oversample`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oversample {
    /// Every class gets at least this share of the rows that the largest class has: 1 balances the classes.
    #[serde(default = "whole")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ratio: f64,
}

/// Settings of `undersample`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Undersample {
    /// The smallest class is at least this share of every other one: 1 leaves all classes as many rows as the smallest has,
    /// 0.5 twice as many at most.
    #[serde(default = "whole")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ratio: f64,
}

fn whole() -> f64 {
    1.0
}

/// Stage → how much of it, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights(pub Vec<(String, f64)>);

impl Weights {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Weights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (stage, weight) in &self.0 {
            map.serialize_entry(stage, weight)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Weights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of stages and weights like { news = 1.0, blogs = 0.5 }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Weights, A::Error> {
                let mut weights = Vec::<(String, f64)>::new();
                while let Some((stage, weight)) = map.next_entry::<String, f64>()? {
                    if weights.iter().any(|(other, _)| *other == stage) {
                        return Err(de::Error::custom(format!("`{stage}` is named twice")));
                    }
                    weights.push((stage, weight));
                }
                Ok(Weights(weights))
            }
        }
        deserializer.deserialize_map(Form)
    }
}

impl JsonSchema for Weights {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Weights".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Stages, each with how much of its training rows is taken.",
            "type": "object",
            "additionalProperties": { "type": "number", "exclusiveMinimum": 0, "maximum": 1000 },
        })
    }
}

impl Augment {
    /// Fields that exclude or need each other, and values that no schema can refuse.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.input_faults();
        let mut fault = |field: &str, message: &str, help: &str| {
            faults.push(Fault::new(field, message, help));
        };
        let does_something =
            self.makes_copies() || self.oversample.is_some() || self.undersample.is_some();
        if !does_something && self.inputs.is_empty() {
            let help = "state at least one of synonym_replacement, random_insertion, random_deletion, random_swap, word_shuffle, \
                        character_noise, back_translation, oversample and undersample";
            fault("", "no operation is stated", help);
        }
        let rates = self.rates().into_iter();
        let ratios = [
            ("oversample", self.oversample.as_ref().map(|of| of.ratio)),
            ("undersample", self.undersample.as_ref().map(|of| of.ratio)),
        ];
        let shares = rates.map(|(name, rate)| (format!("{name}.rate"), rate));
        let ratios = ratios.map(|(name, ratio)| (format!("{name}.ratio"), ratio));
        let of_classes = self.classes.iter();
        let of_classes =
            of_classes.map(|(class, settings)| (format!("classes.{class}.rate"), settings.rate));
        for (field, share) in shares.chain(ratios).chain(of_classes) {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                let message = format!("`{field}` is not from 0 to 1");
                fault(&field, &message, "write a share: 0.1 is a tenth");
            }
        }
        if self.copies == 0 {
            let help = "make at least one, or remove the stage";
            fault("copies", "no copies are made", help);
        }
        if (self.word_shuffle.as_ref()).is_some_and(|shuffle| shuffle.window == 0) {
            let help = "let words move by 1 place at least";
            fault("word_shuffle.window", "no word could move", help);
        }
        if (self.undersample.as_ref()).is_some_and(|undersample| undersample.ratio == 0.0) {
            let help = "set a share like 0.5, or remove `undersample`";
            fault("undersample.ratio", "at 0 no row is taken away", help);
        }
        if let Some(noise) = &self.character_noise
            && !(noise.neighbour || noise.drop || noise.double)
        {
            let help = "allow one of `neighbour`, `drop` and `double`";
            fault(
                "character_noise",
                "no way to mistype a letter is left",
                help,
            );
        }
        if !self.makes_copies() {
            let idle = [
                ("minority_only", self.minority_only),
                ("classes", !self.classes.is_empty()),
                ("protected", !self.protected.is_empty()),
            ];
            for (field, _) in idle.into_iter().filter(|(_, stated)| *stated) {
                let message = format!("`{field}` has no effect: no operation makes copies");
                fault(
                    field,
                    &message,
                    "state an operation such as random_deletion, or remove it",
                );
            }
        }
        for (class, settings) in &self.classes {
            if settings.copies.is_none() && settings.rate.is_none() {
                let field = format!("classes.{class}");
                fault(
                    &field,
                    "nothing is different for this class",
                    "state `copies` or `rate`",
                );
            }
        }
        let no_rates = self.rates().iter().all(|(_, rate)| rate.is_none());
        for (class, _) in (self.classes.iter()).filter(|(_, of)| of.rate.is_some() && no_rates) {
            fault(
                &format!("classes.{class}.rate"),
                "no operation that is stated has a rate",
                "remove it, or state an operation such as random_deletion",
            );
        }
        if (self.oversample.as_ref()).is_some_and(|oversample| oversample.ratio == 0.0) {
            let help = "set a share like 0.5, or remove `oversample`";
            fault("oversample.ratio", "at 0 no row is repeated", help);
        }
        for word in &self.protected {
            if word.split_whitespace().count() != 1 {
                let message = format!("{word:?} is not one word");
                fault(
                    "protected",
                    &message,
                    "list single words, without white space",
                );
            }
        }
        self.source_faults(&mut faults);
        faults
    }

    fn input_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: &str, help: &str| {
            faults.push(Fault::new(field, message, help));
        };
        match (&self.input, self.inputs.0.as_slice()) {
            (None, []) => fault(
                "",
                "there is nothing to augment",
                "name a stage, `input = \"news\"`, or several, `inputs = { news = 1.0, blogs = 0.5 }`",
            ),
            (Some(_), [_, ..]) => fault(
                "inputs",
                "`input` and `inputs` exclude each other",
                "keep one of them",
            ),
            _ => {}
        }
        for (stage, weight) in &self.inputs.0 {
            if !(*weight > 0.0 && *weight <= 1000.0) {
                let help =
                    "1.0 takes every row once, 0.5 half of them; leave the stage out to take none";
                fault(
                    &format!("inputs.{stage}"),
                    &format!("{weight} is not above 0 and up to 1000"),
                    help,
                );
            }
        }
        if self.inputs.0.len() > super::mix::MOST {
            let message = format!("there are more than {} inputs", super::mix::MOST);
            fault(
                "inputs",
                &message,
                "mix some of them in an `augment` stage of their own",
            );
        }
        faults
    }

    /// What is wrong with where words come from.
    fn source_faults(&self, faults: &mut Vec<Fault>) {
        let mut fault = |field: &str, message: &str, help: &str| {
            faults.push(Fault::new(field, message, help));
        };
        if let Some(synonyms) = &self.synonyms {
            if !self.needs_synonyms() {
                let help = "state `synonym_replacement` or `random_insertion`, or remove it";
                fault("synonyms", "no operation uses synonyms", help);
            }
            let sources = [&synonyms.wordnet, &synonyms.file, &synonyms.model];
            match sources.into_iter().flatten().count() {
                0 => fault(
                    "synonyms",
                    "no source is named",
                    "set `wordnet` to the folder of a WordNet database, `file` to a table of synonyms, or `model` to an encoder that predicts masked words",
                ),
                1 => {}
                _ => fault(
                    "synonyms",
                    "`wordnet`, `file` and `model` exclude each other",
                    "keep one of them",
                ),
            }
            match synonyms.top {
                Some(_) if synonyms.model.is_none() => fault(
                    "synonyms.top",
                    "only a `model` has likeliest words",
                    "remove it, or name a `model`",
                ),
                Some(0) => fault("synonyms.top", "no word is left", "draw from one at least"),
                _ => {}
            }
        }
        if let Some(settings) = &self.back_translation {
            match (&settings.command, &settings.url) {
                (Some(_), Some(_)) => fault(
                    "back_translation",
                    "`command` and `url` exclude each other",
                    "keep one of them",
                ),
                (None, None) => fault(
                    "back_translation",
                    "nobody is named who translates",
                    "set `command = [\"python3\", \"translate.py\"]`, or `url` to a LibreTranslate service",
                ),
                (Some(command), None) if command.first().is_none_or(String::is_empty) => fault(
                    "back_translation.command",
                    "no program is named",
                    "list the program and its arguments: [\"python3\", \"translate.py\"]",
                ),
                (None, Some(url)) => {
                    if let Some((message, help)) = wrong_address(url) {
                        fault("back_translation.url", message, help);
                    }
                }
                _ => {}
            }
            let languages = [("source", &settings.source), ("pivot", &settings.pivot)];
            for (field, _) in languages.into_iter().filter(|(_, stated)| stated.is_some()) {
                if settings.command.is_some() {
                    let field = format!("back_translation.{field}");
                    let help =
                        "remove it: a program knows its languages, or takes them as arguments";
                    fault(&field, "a command is not told of languages", help);
                }
            }
            if settings.version.trim().is_empty() {
                fault(
                    "back_translation.version",
                    "the version is empty",
                    "give the state of the program and its models a name, such as \"opus-mt 2024-03\"",
                );
            }
            if settings.batch == 0 {
                fault(
                    "back_translation.batch",
                    "no text is asked for",
                    "at least 1",
                );
            }
            if settings.timeout == 0 {
                let help = "give it a second at least";
                fault("back_translation.timeout", "no time to answer", help);
            }
        }
    }

    /// The operations that have a rate, each with its own where it is stated.
    pub(super) fn rates(&self) -> [(&'static str, Option<f64>); 5] {
        [
            (
                "synonym_replacement",
                self.synonym_replacement.as_ref().map(|of| of.rate),
            ),
            (
                "random_insertion",
                self.random_insertion.as_ref().map(|of| of.rate),
            ),
            (
                "random_deletion",
                self.random_deletion.as_ref().map(|of| of.rate),
            ),
            ("random_swap", self.random_swap.as_ref().map(|of| of.rate)),
            (
                "character_noise",
                self.character_noise.as_ref().map(|of| of.rate),
            ),
        ]
    }

    pub(super) fn needs_synonyms(&self) -> bool {
        self.synonym_replacement.is_some() || self.random_insertion.is_some()
    }

    /// From how many words of a model one is drawn, where a model is asked.
    pub(super) fn top(&self) -> Option<u32> {
        let synonyms = self.synonyms.as_ref()?;
        synonyms.model.as_ref()?;
        Some(synonyms.top.unwrap_or(super::predicted::TOP))
    }

    pub(super) fn makes_copies(&self) -> bool {
        self.back_translation.is_some()
            || self.word_shuffle.is_some()
            || self.rates().iter().any(|(_, rate)| rate.is_some())
    }
}

/// What is wrong with the address of a service, and what to do. Credentials in it are refused wherever they stand in a spec.
fn wrong_address(url: &str) -> Option<(&'static str, &'static str)> {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let Some(host) = rest.map(|rest| rest.split('/').next().unwrap_or_default()) else {
        return Some((
            "not an address",
            "write it as http://localhost:5000 or https://translate.example.org",
        ));
    };
    host.is_empty()
        .then_some(("the address has no host", "write http://localhost:5000"))
}
