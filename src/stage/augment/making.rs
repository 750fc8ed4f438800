//! One row → its copies, through all operations that are stated.
//!
//! Deliberately absent: which rows have copies for the sake of balance, and what is repeated as it is ([`balance`](super::balance)).

use std::collections::{HashMap, HashSet};

use super::passage::{self, Tagging, Unit};
use super::settings::Augment;
use super::synonyms::Source;
use super::{Draw, balance, noise, words};
use crate::metrics::Scheme;
use crate::stage::{Context, StageError};
use crate::table::{self, Answer, Texts};

/// What is known of all rows when copies are made.
pub(super) struct Making<'a> {
    settings: &'a Augment,
    seed: u64,
    /// Of tagged words.
    tagging: Option<Tagging<'a>>,
    /// In small letters.
    protected: HashSet<String>,
    synonyms: Source,
    /// Label → copies and rate, where these are not the usual ones.
    of_class: HashMap<u32, (u32, Option<f64>)>,
}

impl<'a> Making<'a> {
    pub(super) fn new(
        settings: &'a Augment,
        context: &Context,
        input: &Texts,
        names: &'a [String],
    ) -> Result<Self, StageError> {
        let tagging = input.words.as_ref().map(|_| {
            let name = |tag: &u32| names.get(*tag as usize).map_or("", String::as_str);
            let tags = input.tags.iter().flatten();
            let tags = tags.map(|tags| tags.iter().map(name));
            Tagging {
                names,
                scheme: Scheme::recognise(tags),
            }
        });
        if input.words.is_some() && input.tags.is_none() {
            return Err(StageError::Mismatch {
                message: "the words of train have no tags".to_owned(),
                help: "load training data with `columns.tags`".to_owned(),
            });
        }
        Ok(Making {
            settings,
            seed: context.seed,
            tagging,
            protected: settings
                .protected
                .iter()
                .map(|word| word.to_lowercase())
                .collect(),
            synonyms: Source::open(settings, context)?,
            of_class: settings.of_classes(input, names)?,
        })
    }

    fn of_class(&self, rows: &Texts, row: usize) -> (u32, Option<f64>) {
        let label = rows.label.as_ref().and_then(|labels| labels.get(row));
        let of_class = label.and_then(|label| self.of_class.get(label));
        of_class.copied().unwrap_or((self.settings.copies, None))
    }

    pub(super) fn copies(&self, rows: &Texts, row: usize) -> u32 {
        self.of_class(rows, row).0
    }

    /// How many rows are changed between two looks at whether to go on.
    pub(super) fn rows_at_once(&self) -> usize {
        match self.synonyms {
            Source::Predicted(_) => 256,
            Source::Nothing | Source::Thesaurus(_) => 4096,
        }
    }

    /// What `make` gives once everything is known that it asks for: it may be called several times.
    pub(super) fn settled<T>(
        &self,
        context: &Context,
        make: impl Fn() -> T,
    ) -> Result<T, StageError> {
        let Source::Predicted(predicted) = &self.synonyms else {
            return Ok(make());
        };
        predicted.forget();
        loop {
            let made = make();
            if !predicted.answer(context)? {
                return Ok(made);
            }
        }
    }

    /// A row's copy; nothing when the words are as they were, or would no longer be what the tags say. `reworded` is what
    /// came back for its text and pair.
    pub(super) fn change(
        &self,
        input: &Texts,
        row: usize,
        copy: u32,
        reworded: Option<&(String, Option<String>)>,
    ) -> Option<Changed> {
        let id = *input.id.get(row)?;
        let (text, pair) = input.row(row)?;
        let rate = self.of_class(input, row).1;
        let draw = |part| Draw {
            seed: self.seed,
            part,
            id,
            copy,
        };
        if let Some(tagging) = self.tagging {
            let words = input.words.as_ref()?.get(row)?;
            let tags = input.tags.as_ref()?.get(row)?;
            let before = passage::of_words(words, tags, tagging, &self.protected);
            let units = self.changed(before.clone(), &draw("text"), rate);
            let (new, tags) = passage::words(&units, &before, tagging)?;
            return (new != *words).then(|| Changed {
                text: new.join(" "),
                text_pair: None,
                words: Some((new, tags)),
                answers: None,
            });
        }
        let plain = |text: &str, reworded: Option<&str>, part| {
            let units = passage::of_text(reworded.unwrap_or(text), &self.protected);
            let new = passage::text(&self.changed(units, &draw(part), rate));
            let same = new.split_whitespace().eq(text.split_whitespace());
            (!same && !new.is_empty()).then_some(new)
        };
        let new_text = plain(text, reworded.map(|(text, _)| text.as_str()), "text");
        let answers = input.answers.as_ref().and_then(|all| all.get(row));
        let (new_pair, answers) = match (pair, answers) {
            (None, _) => (None, None),
            (Some(context), Some(answers)) => {
                let before = passage::of_context(context, answers, &self.protected);
                let units = self.changed(before.clone(), &draw("text_pair"), rate);
                match passage::text(&units) == passage::text(&before) {
                    true => (None, Some(answers.clone())),
                    false => {
                        let (new, moved) = passage::context(&units, answers);
                        (Some(new), Some(moved))
                    }
                }
            }
            (Some(pair), None) => {
                let reworded = reworded.and_then(|(_, pair)| pair.as_deref());
                (plain(pair, reworded, "text_pair"), None)
            }
        };
        if new_text.is_none() && new_pair.is_none() {
            return None;
        }
        Some(Changed {
            text: new_text.unwrap_or_else(|| text.to_owned()),
            text_pair: new_pair.or_else(|| pair.map(str::to_owned)),
            words: None,
            answers,
        })
    }

    fn changed<'t>(
        &self,
        mut units: Vec<Unit<'t>>,
        draw: &Draw,
        rate: Option<f64>,
    ) -> Vec<Unit<'t>> {
        let settings = self.settings;
        let of_words = |words: &[&str], place: usize| self.synonyms.of(words, place);
        let rate = |own: f64| rate.unwrap_or(own);
        if let Some(replacement) = &settings.synonym_replacement {
            let generator = &mut draw.generator("synonym_replacement");
            words::replace(&mut units, rate(replacement.rate), &of_words, generator);
        }
        if let Some(insertion) = &settings.random_insertion {
            let generator = &mut draw.generator("random_insertion");
            words::insert(&mut units, rate(insertion.rate), &of_words, generator);
        }
        if let Some(deletion) = &settings.random_deletion {
            let generator = &mut draw.generator("random_deletion");
            words::delete(&mut units, rate(deletion.rate), generator);
        }
        if let Some(swap) = &settings.random_swap {
            let generator = &mut draw.generator("random_swap");
            words::swap(&mut units, rate(swap.rate), generator);
        }
        if let Some(shuffle) = &settings.word_shuffle {
            let generator = &mut draw.generator("word_shuffle");
            words::shuffle(&mut units, shuffle.window, generator);
        }
        if let Some(noise) = &settings.character_noise {
            let generator = &mut draw.generator("character_noise");
            noise::mistype(&mut units, rate(noise.rate), noise, generator);
        }
        units
    }
}

impl Augment {
    /// Label → copies and rate, for the labels that do not have the usual ones.
    fn of_classes(
        &self,
        rows: &Texts,
        names: &[String],
    ) -> Result<HashMap<u32, (u32, Option<f64>)>, StageError> {
        let mut of_class = HashMap::new();
        if self.minority_only {
            let rare = balance::minorities(rows)?;
            let labels = (0_u32..).zip(names).map(|(label, _)| label);
            of_class.extend(labels.map(|label| {
                let copies = match rare.contains(&label) {
                    true => self.copies,
                    false => 0,
                };
                (label, (copies, None))
            }));
        }
        if !self.classes.is_empty() {
            balance::classes(rows, "classes")?;
        }
        for (class, settings) in &self.classes {
            let Some(label) = names.iter().position(|name| name == class) else {
                let known = names.iter().take(20).map(String::as_str);
                return Err(StageError::Mismatch {
                    message: format!("`classes` names `{class}`, which is no class of the data"),
                    help: format!("it has {}", known.collect::<Vec<_>>().join(", ")),
                });
            };
            let own = (settings.copies.unwrap_or(self.copies), settings.rate);
            of_class.insert(u32::try_from(label).unwrap_or(u32::MAX), own);
        }
        Ok(of_class)
    }
}

/// A row's copy: what may differ from the row.
pub(super) struct Changed {
    pub(super) text: String,
    pub(super) text_pair: Option<String>,
    words: Option<(Vec<String>, Vec<u32>)>,
    answers: Option<Vec<Answer>>,
}

impl Changed {
    /// A row just as it is.
    pub(super) fn nothing(rows: &Texts, row: usize) -> Option<Changed> {
        let (text, pair) = rows.row(row)?;
        let words = rows.words.as_ref().and_then(|words| words.get(row));
        let tags = rows.tags.as_ref().and_then(|tags| tags.get(row));
        Some(Changed {
            text: text.to_owned(),
            text_pair: pair.map(str::to_owned),
            words: words.map(|words| (words.clone(), tags.cloned().unwrap_or_default())),
            answers: (rows.answers.as_ref()).and_then(|answers| answers.get(row).cloned()),
        })
    }
}

/// Counts the copies of each row, so that every copy gets a number and an id of its own.
#[derive(Clone)]
pub(super) struct Copies {
    last: HashMap<u64, u32>,
}

impl Copies {
    pub(super) fn after(input: &Texts) -> Self {
        let mut last = HashMap::new();
        for (&id, &copy) in input.id.iter().zip(&input.copy) {
            let most = last.entry(table::origin(id)).or_insert(copy);
            *most = copy.max(*most);
        }
        Copies { last }
    }

    /// The number of the last copy of the row's origin.
    pub(super) fn of(&self, rows: &Texts, row: usize) -> u32 {
        let last = rows
            .id
            .get(row)
            .and_then(|&id| self.last.get(&table::origin(id)));
        last.copied().unwrap_or_default()
    }

    /// The id and the number of one more copy of a row.
    pub(super) fn next(&mut self, id: u64) -> (u64, u32) {
        let copy = self.last.entry(table::origin(id)).or_default();
        *copy += 1;
        (table::copy_id(id, *copy), *copy)
    }

    /// Appends a copy of `row`, with all else as it is.
    pub(super) fn push(&mut self, rows: &mut Texts, row: usize, changed: Changed) {
        let Some(id) = rows.id.get(row).copied() else {
            return;
        };
        let (id, copy) = self.next(id);
        rows.id.push(id);
        rows.copy.push(copy);
        rows.text.push(changed.text);
        fn add<T>(column: &mut Option<Vec<T>>, value: Option<T>) {
            if let (Some(column), Some(value)) = (column, value) {
                column.push(value);
            }
        }
        let (words, tags) = changed.words.unzip();
        add(&mut rows.text_pair, changed.text_pair);
        add(&mut rows.words, words);
        add(&mut rows.tags, tags);
        add(&mut rows.answers, changed.answers);
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
        repeat(&mut rows.name, row);
        for column in rows.further.values_mut() {
            column.extend(column.get(row).cloned());
        }
    }
}
