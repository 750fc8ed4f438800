//! `augment`: a table → the same table with more rows in its training split.
//!
//! The input's rows come first, unchanged and in their order; then every first copy in the order of the rows, every
//! second copy, and so on; then the rows that `oversample` repeats, in the order of the rows they repeat. A copy goes
//! through all operations that are stated, in the order of the fields below, and is dropped when its words come out as
//! they were. Each copy draws from a generator seeded by (seed, operation, text or pair, row id, copy), so adding a row
//! changes no other row; text and text pair change independently. All other splits pass through byte for byte.
//!
//! The operations follow EDA (Wei and Zou 2019, <https://aclanthology.org/D19-1670>) and the local shuffle of Lample et al.
//! (2018, <https://arxiv.org/abs/1711.00043>, section 2.3). Words are what white space separates; copies join them with one space.
//!
//! Deliberately absent: operations that need a dictionary, a model or a program, and changes of words that have tags or
//! of contexts that have answers: these would no longer stand where they did.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::Kind;
use crate::stage::{Context, Edge, Fault, Stage, StageError};
use crate::table::{self, Table, TableError, Texts};

/// Adds changed copies of the training rows, or repeats rows of rare classes. Other splits are never touched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// The `load` or `augment` stage whose training split grows.
    pub input: String,
    /// How many changed copies to make of each row. Has no effect on `oversample`.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub copies: u32,
    /// Leaves out words of a copy. At least one word stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_deletion: Option<RandomDeletion>,
    /// Lets words of a copy trade places, however far apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_swap: Option<RandomSwap>,
    /// Shuffles the words of a copy locally: the sense of a sentence mostly survives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_shuffle: Option<WordShuffle>,
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

/// Settings of `oversample`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oversample {
    /// Every class gets at least this share of the rows that the largest class has: 1 balances the classes.
    #[serde(default = "whole")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ratio: f64,
}

fn whole() -> f64 {
    1.0
}

impl Stage for Augment {
    fn kind(&self) -> &'static str {
        "augment"
    }

    fn version(&self) -> u32 {
        1
    }

    fn produces(&self) -> Kind {
        Kind::Table
    }

    fn edges(&self) -> Vec<Edge> {
        vec![Edge {
            field: "input",
            stage: self.input.clone(),
            accepts: Kind::Table,
        }]
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["input"]
    }

    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn draws_random_numbers(&self) -> bool {
        true
    }

    fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !self.changes_words() && self.oversample.is_none() {
            let help =
                "state at least one of random_deletion, random_swap, word_shuffle and oversample";
            faults.push(Fault::new("", "no operation is stated", help));
        }
        let shares = [
            (
                "random_deletion.rate",
                self.random_deletion.as_ref().map(|deletion| deletion.rate),
            ),
            (
                "random_swap.rate",
                self.random_swap.as_ref().map(|swap| swap.rate),
            ),
            (
                "oversample.ratio",
                self.oversample.as_ref().map(|oversample| oversample.ratio),
            ),
        ];
        for (field, share) in shares {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                faults.push(Fault::new(field, "not from 0 to 1", "0.1 is a tenth"));
            }
        }
        if self.copies == 0 {
            faults.push(Fault::new(
                "copies",
                "no copies",
                "make at least one, or remove the stage",
            ));
        }
        if self
            .word_shuffle
            .as_ref()
            .is_some_and(|shuffle| shuffle.window == 0)
        {
            faults.push(Fault::new(
                "word_shuffle.window",
                "no word could move",
                "let words move by 1 place at least",
            ));
        }
        faults
    }

    fn rows_of(artifact: &Path) -> Result<BTreeMap<String, usize>, StageError> {
        Ok(crate::table::rows_of(artifact)?)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let mut table = Table::open(context.input("input"))?;
        let train = match table.splits.get("train") {
            Some(frame) => table::texts(frame)?,
            None => Texts::default(),
        };
        self.fits(&train)?;
        let grown = self.grow(context, &train)?;
        let count = grown.len() - train.len();
        context.progress.say(&format!(
            "training rows: {} of the input and {count} copies",
            train.len()
        ));
        if table.splits.contains_key("train") {
            table.splits.insert("train".to_owned(), grown.to_frame()?);
        }
        table.save(context.draft)?;
        Ok(())
    }
}

impl Augment {
    fn changes_words(&self) -> bool {
        self.random_deletion.is_some() || self.random_swap.is_some() || self.word_shuffle.is_some()
    }

    /// Refuses operations that would move words away from what is known about them.
    fn fits(&self, train: &Texts) -> Result<(), TableError> {
        let operations = [
            ("random_deletion", self.random_deletion.is_some()),
            ("random_swap", self.random_swap.is_some()),
            ("word_shuffle", self.word_shuffle.is_some()),
        ];
        let what = match (&train.words, &train.answers) {
            (Some(_), _) => "their tags",
            (None, Some(_)) => "the answers among them",
            (None, None) => return Ok(()),
        };
        match operations.into_iter().find(|(_, stated)| *stated) {
            Some((operation, _)) => Err(TableError::WordsWouldMove { operation, what }),
            None => Ok(()),
        }
    }

    /// The input's rows, their changed copies, and the repeated rows.
    fn grow(&self, context: &Context, input: &Texts) -> Result<Texts, StageError> {
        let mut made = Copies::after(input);
        let before = made.clone();
        let mut rows = input.clone();
        if self.changes_words() {
            context
                .progress
                .start("augmenting", u64::from(self.copies), "copies");
            let mut unchanged = 0;
            for copy in 1..=self.copies {
                context.checkpoint()?;
                for row in 0..input.len() {
                    match self.change(context.seed, input, row, before.of(input, row) + copy) {
                        Some((text, pair)) => made.push(&mut rows, row, text, pair),
                        None => unchanged += 1,
                    }
                }
                context.progress.advance(1);
            }
            if unchanged > 0 {
                context.progress.say(&format!(
                    "dropped copies that came out unchanged: {unchanged}"
                ));
            }
        }
        if let Some(oversample) = &self.oversample {
            context.checkpoint()?;
            for row in repeats(&rows, oversample.ratio, context.seed)? {
                if let Some((text, pair)) = rows
                    .row(row)
                    .map(|(text, pair)| (text.to_owned(), pair.map(str::to_owned)))
                {
                    made.push(&mut rows, row, text, pair);
                }
            }
        }
        Ok(rows)
    }

    /// The text and text pair of a row's copy; nothing when the words are as they were.
    fn change(
        &self,
        seed: u64,
        input: &Texts,
        row: usize,
        copy: u32,
    ) -> Option<(String, Option<String>)> {
        let id = *input.id.get(row)?;
        let (text, pair) = input.row(row)?;
        let changed = self.change_words(
            text,
            &Draw {
                seed,
                part: "text",
                id,
                copy,
            },
        );
        let changed_pair = pair.map(|pair| {
            self.change_words(
                pair,
                &Draw {
                    seed,
                    part: "text_pair",
                    id,
                    copy,
                },
            )
        });
        if changed.is_none() && changed_pair.as_ref().is_none_or(Option::is_none) {
            return None;
        }
        let pair = pair
            .zip(changed_pair)
            .map(|(pair, changed)| changed.unwrap_or_else(|| pair.to_owned()));
        Some((changed.unwrap_or_else(|| text.to_owned()), pair))
    }

    fn change_words(&self, text: &str, draw: &Draw) -> Option<String> {
        let before = text.split_whitespace().collect::<Vec<_>>();
        let mut words = before.clone();
        if let Some(deletion) = &self.random_deletion {
            delete(
                &mut words,
                deletion.rate,
                &mut draw.generator("random_deletion"),
            );
        }
        if let Some(swap) = &self.random_swap {
            swap_words(&mut words, swap.rate, &mut draw.generator("random_swap"));
        }
        if let Some(shuffle) = &self.word_shuffle {
            shuffle_words(
                &mut words,
                shuffle.window,
                &mut draw.generator("word_shuffle"),
            );
        }
        (words != before).then(|| words.join(" "))
    }
}

/// What an operation on one text of one copy draws from.
struct Draw {
    seed: u64,
    part: &'static str,
    id: u64,
    copy: u32,
}

impl Draw {
    fn generator(&self, operation: &str) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("refit augment 1\0{operation}\0{}\0", self.part).as_bytes());
        hasher
            .update(&self.seed.to_le_bytes())
            .update(&self.id.to_le_bytes())
            .update(&self.copy.to_le_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

fn delete(words: &mut Vec<&str>, rate: f64, generator: &mut ChaCha8Rng) {
    let Some(spare) = (!words.is_empty()).then(|| generator.random_range(0..words.len())) else {
        return;
    };
    let kept = words
        .iter()
        .copied()
        .filter(|_| generator.random::<f64>() >= rate)
        .collect::<Vec<_>>();
    *words = if kept.is_empty() {
        words.drain(spare..=spare).collect()
    } else {
        kept
    };
}

fn swap_words(words: &mut [&str], rate: f64, generator: &mut ChaCha8Rng) {
    for place in 0..words.len() {
        if words.len() > 1 && generator.random::<f64>() < rate {
            let other = generator.random_range(0..words.len() - 1);
            words.swap(place, if other < place { other } else { other + 1 });
        }
    }
}

/// Sorts by place + noise from 0 to window + 1: of two words more than `window` apart the earlier one stays the earlier.
fn shuffle_words(words: &mut [&str], window: u32, generator: &mut ChaCha8Rng) {
    let reach = f64::from(window) + 1.0;
    let mut placed = words
        .iter()
        .enumerate()
        .map(|(n, word)| (n as f64 + generator.random::<f64>() * reach, *word))
        .collect::<Vec<_>>();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (word, (_, placed)) in words.iter_mut().zip(placed) {
        *word = placed;
    }
}

/// The rows to repeat so that each class reaches `ratio` of the largest one, ascending. Whole rounds first; what is left
/// over goes to rows in an order drawn from each row's id, so that more rows of one class move few choices of another.
fn repeats(rows: &Texts, ratio: f64, seed: u64) -> Result<Vec<usize>, TableError> {
    let labels = rows.label.as_ref();
    let labels = labels.ok_or(TableError::NothingToBalance {
        found: match (&rows.labels, &rows.target, &rows.words, &rows.answers) {
            (Some(_), ..) => "any number of them",
            (_, Some(_), ..) => "numbers instead",
            (_, _, Some(_), _) => "tags instead",
            (.., Some(_)) => "answers instead",
            _ => "none",
        },
    })?;
    let mut classes = BTreeMap::<u32, Vec<usize>>::new();
    for (row, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(row);
    }
    let largest = classes.values().map(Vec::len).max().unwrap_or(0);
    let wanted = (largest as f64 * ratio).round() as usize;
    let mut repeats = Vec::new();
    for members in classes.values() {
        let missing = wanted.saturating_sub(members.len());
        for _ in 0..missing / members.len() {
            repeats.extend(members);
        }
        let mut drawn = members.clone();
        drawn.sort_by_key(|&row| {
            let id = rows.id.get(row).copied().unwrap_or_default();
            Draw {
                seed,
                part: "row",
                id,
                copy: 0,
            }
            .generator("oversample")
            .random::<u64>()
        });
        repeats.extend(drawn.iter().take(missing % members.len()));
    }
    repeats.sort_unstable();
    Ok(repeats)
}

/// Counts the copies of each row, so that every copy gets a number and an id of its own.
#[derive(Clone)]
struct Copies {
    last: HashMap<u64, u32>,
}

impl Copies {
    fn after(input: &Texts) -> Self {
        let mut last = HashMap::new();
        for (&id, &copy) in input.id.iter().zip(&input.copy) {
            let most = last.entry(table::origin(id)).or_insert(copy);
            *most = copy.max(*most);
        }
        Copies { last }
    }

    /// The number of the last copy of the row's origin.
    fn of(&self, rows: &Texts, row: usize) -> u32 {
        let last = rows
            .id
            .get(row)
            .and_then(|&id| self.last.get(&table::origin(id)));
        last.copied().unwrap_or_default()
    }

    /// Appends a copy of `row` with another text, and with all else as it is.
    fn push(&mut self, rows: &mut Texts, row: usize, text: String, pair: Option<String>) {
        let Some(id) = rows.id.get(row).copied() else {
            return;
        };
        let copy = self.last.entry(table::origin(id)).or_default();
        *copy += 1;
        rows.id.push(table::copy_id(id, *copy));
        rows.copy.push(*copy);
        rows.text.push(text);
        if let (Some(pairs), Some(pair)) = (&mut rows.text_pair, pair) {
            pairs.push(pair);
        }
        fn repeat<T: Clone>(column: &mut Option<Vec<T>>, row: usize) {
            if let Some(column) = column
                && let Some(value) = column.get(row).cloned()
            {
                column.push(value);
            }
        }
        repeat(&mut rows.label, row);
        repeat(&mut rows.labels, row);
        repeat(&mut rows.target, row);
        repeat(&mut rows.words, row);
        repeat(&mut rows.tags, row);
        repeat(&mut rows.answers, row);
        repeat(&mut rows.name, row);
    }
}

#[cfg(test)]
mod tests;
