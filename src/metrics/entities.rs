//! Scores of tagged words: of the entities that chunk tags tell of, or, where tags are no chunk tags (parts of speech), of
//! the tags themselves.
//!
//! Promise: the numbers of seqeval 1.2.2 with `zero_division=0`, to rounding, in its default mode and, with the prefix
//! `strict_`, in its mode `strict`; where seqeval has no mean to give because there is no entity at all, 0. An entity is
//! right if its first word, last word and type are.
//!
//! Besides, [`EntityErrors`] says what became of the others; its definition is our own, and stands there.
//!
//! Deliberately absent: characters. Entities lie in words here; whoever has the text can say where the words stand in it.

mod pairing;
mod scheme;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::bootstrap::{Sample, without_loss};
use super::counts::{Counts, macro_mean, quotient, total, weighted_mean};
use super::{Classification, Metric, classification};

pub use pairing::{Fate, Pairing, pairings};
pub use scheme::{Entity, Scheme};

/// Scores of one split.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityScores {
    /// None where the tags are no chunk tags.
    pub scheme: Option<Scheme>,
    /// Share of words with the right tag.
    pub accuracy: f64,
    /// Over the types; without a scheme, over the tags, each word being an entity of its own.
    pub means: EntityMeans,
    /// The same over entities that are tagged exactly as the scheme asks; none without a scheme.
    pub strict: Option<EntityMeans>,
    /// Every type (without a scheme: tag) that was true or predicted, by name.
    pub types: BTreeMap<String, TypeScores>,
    /// None without a scheme.
    pub errors: Option<EntityErrors>,
    /// Which tag was taken for which: the names, and `[true tag][predicted tag]` in words; none with a scheme.
    pub confusion: Option<(Vec<String>, Vec<Vec<u64>>)>,
}

/// Precision, recall and F1 over all entities and as means over the types.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntityMeans {
    pub f1: f64,
    pub precision: f64,
    pub recall: f64,
    pub f1_macro: f64,
    pub precision_macro: f64,
    pub recall_macro: f64,
    pub f1_weighted: f64,
    pub precision_weighted: f64,
    pub recall_weighted: f64,
}

/// Scores of one type. Fields are written in this order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TypeScores {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// True entities of this type.
    pub support: u64,
}

/// What became of true and predicted entities (of the default mode). Every true entity counts once, as anything but
/// spurious, and every predicted one once, as anything but missed.
///
/// They are paired text by text, each with at most one, in this order: those with the same bounds and type; those with the
/// same bounds; those of the same type that share a word; those that share a word. In each turn the true entities choose in
/// the order in which they stand, and each takes the first predicted one that is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EntityErrors {
    /// Same bounds and same type.
    pub correct: u64,
    /// Same bounds, other type.
    pub wrong_type: u64,
    /// Other bounds that overlap, same type.
    pub wrong_bounds: u64,
    /// Other bounds that overlap, other type.
    pub wrong_type_and_bounds: u64,
    /// True, and paired with none.
    pub missed: u64,
    /// Predicted, and paired with none.
    pub spurious: u64,
}

/// Scores the tags in `predicted` against those in `truth`, text by text and word by word. `scheme` is how the tags mark
/// entities, as [`Scheme::recognise`] finds it; with none, each word counts as an entity of its own whose type is its tag.
///
/// A mean over nothing, and any quotient with nothing below the line, is 0. Texts and words that only one side has are not
/// looked at.
pub fn entities(
    truth: &[Vec<&str>],
    predicted: &[Vec<&str>],
    scheme: Option<Scheme>,
) -> EntityScores {
    let pairs: Vec<(&[&str], &[&str])> = truth
        .iter()
        .zip(predicted)
        .map(|(truth, predicted)| {
            let words = truth.len().min(predicted.len());
            (&truth[..words], &predicted[..words])
        })
        .collect();
    let Some(scheme) = scheme else {
        return tags(&pairs);
    };
    let words: usize = pairs.iter().map(|(truth, _)| truth.len()).sum();
    let right = pairs
        .iter()
        .flat_map(|(truth, predicted)| truth.iter().zip(*predicted))
        .filter(|(truth, predicted)| truth == predicted)
        .count();
    let (types, means) = score(&pairs, Entity::find);
    let (_, strict) = score(&pairs, |tags| Entity::find_strictly(tags, scheme));
    let mut errors = EntityErrors::default();
    for (truth, predicted) in &pairs {
        errors.add(&Entity::find(truth), &Entity::find(predicted));
    }
    EntityScores {
        scheme: Some(scheme),
        accuracy: quotient(right as f64, words as f64),
        means,
        strict: Some(strict),
        types,
        errors: Some(errors),
        confusion: None,
    }
}

/// The texts as [`entities`] takes them, to be scored in any selection. What became of single entities is not counted.
pub fn sample_of_tags(
    truth: &[Vec<&str>],
    predicted: &[Vec<&str>],
    scheme: Option<Scheme>,
) -> Sample {
    let mut numbers = BTreeMap::new();
    let pairs = truth.iter().zip(predicted);
    let parts: Vec<Part> = pairs
        .map(|(truth, predicted)| {
            let words = truth.len().min(predicted.len());
            Part::of(&truth[..words], &predicted[..words], scheme, &mut numbers)
        })
        .collect();
    let types = numbers.len();
    Sample::new(parts.len(), move |rows| {
        let drawn = || rows.iter().map(|&row| &parts[row]);
        let means = |of: fn(&Part) -> &[(usize, Counts)]| {
            let mut counts = vec![Counts::default(); types];
            for &(kind, one) in drawn().flat_map(of) {
                counts[kind] = total(&[counts[kind], one]);
            }
            counts.retain(|one| one.support + one.predicted > 0.0);
            EntityMeans::of(&counts)
        };
        let sum = |of: fn(&Part) -> usize| drawn().map(of).sum::<usize>() as f64;
        let scores = EntityScores {
            scheme,
            accuracy: quotient(sum(|part| part.right), sum(|part| part.words)),
            means: means(|part| &part.entities),
            strict: scheme.map(|_| means(|part| &part.strict)),
            types: BTreeMap::new(),
            errors: None,
            confusion: None,
        };
        without_loss(scores.flat(0.0))
    })
}

/// What of a text its scores are made of.
struct Part {
    words: usize,
    right: usize,
    /// By the number of their type.
    entities: Vec<(usize, Counts)>,
    strict: Vec<(usize, Counts)>,
}

impl Part {
    fn of(
        truth: &[&str],
        predicted: &[&str],
        scheme: Option<Scheme>,
        numbers: &mut BTreeMap<String, usize>,
    ) -> Part {
        let right = truth.iter().zip(predicted).filter(|(a, b)| a == b);
        let mut numbered = |types: BTreeMap<&str, Counts>| {
            let number = |(kind, counts): (&str, Counts)| {
                let next = numbers.len();
                (*numbers.entry(kind.to_owned()).or_insert(next), counts)
            };
            types.into_iter().map(number).collect()
        };
        let pair = [(truth, predicted)];
        let (entities, strict) = match scheme {
            Some(scheme) => (
                counted(&pair, Entity::find),
                counted(&pair, |tags| Entity::find_strictly(tags, scheme)),
            ),
            None => (counted(&pair, every_word), BTreeMap::new()),
        };
        Part {
            words: truth.len(),
            right: right.count(),
            entities: numbered(entities),
            strict: numbered(strict),
        }
    }
}

/// Each word as an entity of its own whose type is its tag.
fn every_word<'a>(tags: &[&'a str]) -> Vec<Entity<'a>> {
    let entity = |(start, &kind): (usize, &&'a str)| Entity {
        start,
        end: start + 1,
        kind,
    };
    tags.iter().enumerate().map(entity).collect()
}

/// Scores in which every word stands alone.
fn tags(pairs: &[(&[&str], &[&str])]) -> EntityScores {
    let all = || {
        pairs
            .iter()
            .flat_map(|(truth, predicted)| truth.iter().copied().zip(predicted.iter().copied()))
    };
    let names: BTreeSet<&str> = all().flat_map(|(truth, said)| [truth, said]).collect();
    let numbers: BTreeMap<&str, u32> = names.iter().copied().zip(0..).collect();
    let (truth, predicted): (Vec<u32>, Vec<u32>) = all()
        .filter_map(|(truth, said)| Some((numbers.get(truth)?, numbers.get(said)?)))
        .unzip();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let scored = classification(&truth, &predicted, &names);
    let means = EntityMeans {
        f1: scored.f1_micro,
        precision: scored.precision_micro,
        recall: scored.recall_micro,
        f1_macro: scored.f1_macro,
        precision_macro: scored.precision_macro,
        recall_macro: scored.recall_macro,
        f1_weighted: scored.f1_weighted,
        precision_weighted: scored.precision_weighted,
        recall_weighted: scored.recall_weighted,
    };
    let Classification {
        accuracy,
        per_class,
        confusion_matrix,
        labels,
        ..
    } = scored;
    let types = per_class.into_iter().map(|tag| {
        let scores = TypeScores {
            precision: tag.precision,
            recall: tag.recall,
            f1: tag.f1,
            support: tag.support,
        };
        (tag.label, scores)
    });
    EntityScores {
        scheme: None,
        accuracy,
        means,
        strict: None,
        types: types.collect(),
        errors: None,
        confusion: Some((labels, confusion_matrix)),
    }
}

fn score<'a>(
    pairs: &[(&[&'a str], &[&'a str])],
    find: impl Fn(&[&'a str]) -> Vec<Entity<'a>>,
) -> (BTreeMap<String, TypeScores>, EntityMeans) {
    let types = counted(pairs, find);
    let counts: Vec<Counts> = types.values().copied().collect();
    let types = types.into_iter().map(|(kind, counts)| {
        let scores = TypeScores {
            precision: counts.precision(),
            recall: counts.recall(),
            f1: counts.f1(),
            support: counts.support as u64,
        };
        (kind.to_owned(), scores)
    });
    (types.collect(), EntityMeans::of(&counts))
}

/// Every type that is true or predicted, with its entities.
fn counted<'a>(
    pairs: &[(&[&'a str], &[&'a str])],
    find: impl Fn(&[&'a str]) -> Vec<Entity<'a>>,
) -> BTreeMap<&'a str, Counts> {
    let mut types: BTreeMap<&str, Counts> = BTreeMap::new();
    for (truth, predicted) in pairs {
        let truth: BTreeSet<Entity> = find(truth).into_iter().collect();
        let predicted: BTreeSet<Entity> = find(predicted).into_iter().collect();
        for entity in truth.union(&predicted) {
            types
                .entry(entity.kind)
                .or_default()
                .add(truth.contains(entity), predicted.contains(entity));
        }
    }
    types
}

impl EntityMeans {
    fn of(types: &[Counts]) -> EntityMeans {
        let total = total(types);
        EntityMeans {
            f1: total.f1(),
            precision: total.precision(),
            recall: total.recall(),
            f1_macro: macro_mean(types, Counts::f1),
            precision_macro: macro_mean(types, Counts::precision),
            recall_macro: macro_mean(types, Counts::recall),
            f1_weighted: weighted_mean(types, Counts::f1),
            precision_weighted: weighted_mean(types, Counts::precision),
            recall_weighted: weighted_mean(types, Counts::recall),
        }
    }

    fn named(&self, prefix: &str) -> impl Iterator<Item = (String, Value)> {
        [
            ("f1", self.f1),
            ("precision", self.precision),
            ("recall", self.recall),
            ("f1_macro", self.f1_macro),
            ("precision_macro", self.precision_macro),
            ("recall_macro", self.recall_macro),
            ("f1_weighted", self.f1_weighted),
            ("precision_weighted", self.precision_weighted),
            ("recall_weighted", self.recall_weighted),
        ]
        .map(|(name, value)| (format!("{prefix}{name}"), value.into()))
        .into_iter()
    }
}

impl EntityErrors {
    fn add(&mut self, truth: &[Entity], predicted: &[Entity]) {
        for pairing in pairings(truth, predicted) {
            *match pairing.fate {
                Fate::Correct => &mut self.correct,
                Fate::Type => &mut self.wrong_type,
                Fate::Boundary => &mut self.wrong_bounds,
                Fate::Both => &mut self.wrong_type_and_bounds,
                Fate::Missed => &mut self.missed,
                Fate::Spurious => &mut self.spurious,
            } += 1;
        }
    }
}

impl EntityScores {
    /// The value of `metric`; none for the loss, for strict scores without a scheme, and for what tags are not scored by.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let means = &self.means;
        Some(match metric {
            Metric::F1 => means.f1,
            Metric::Precision => means.precision,
            Metric::Recall => means.recall,
            Metric::F1Macro => means.f1_macro,
            Metric::PrecisionMacro => means.precision_macro,
            Metric::RecallMacro => means.recall_macro,
            Metric::F1Weighted => means.f1_weighted,
            Metric::PrecisionWeighted => means.precision_weighted,
            Metric::RecallWeighted => means.recall_weighted,
            Metric::StrictF1 => self.strict.as_ref()?.f1,
            Metric::Accuracy => self.accuracy,
            _ => return None,
        })
    }

    /// Every number by its name: the means, with a scheme the strict means under names that begin with `strict_`,
    /// `accuracy`, and `loss` last.
    pub fn flat(&self, loss: f64) -> Map<String, Value> {
        let mut flat: Map<String, Value> = self.means.named("").collect();
        if let Some(strict) = &self.strict {
            flat.extend(strict.named("strict_"));
        }
        flat.insert("accuracy".to_owned(), self.accuracy.into());
        flat.insert("loss".to_owned(), loss.into());
        flat
    }

    /// What stands behind the flat metrics: with a scheme `scheme`, `types` and `errors`; without one `types` (here, tags),
    /// `labels` and `confusion_matrix`.
    pub fn details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        let mut insert = |name: &str, value: serde_json::Result<Value>| {
            let value = value.expect("strings and numbers are JSON");
            details.insert(name.to_owned(), value);
        };
        if let Some(scheme) = self.scheme {
            insert("scheme", serde_json::to_value(scheme));
        }
        insert("types", serde_json::to_value(&self.types));
        if let Some(errors) = &self.errors {
            insert("errors", serde_json::to_value(errors));
        }
        if let Some((labels, matrix)) = &self.confusion {
            insert("labels", serde_json::to_value(labels));
            insert("confusion_matrix", serde_json::to_value(matrix));
        }
        details
    }
}

#[cfg(test)]
mod tests;
