//! `augment`: a table → the same table with other rows in its training split.
//!
//! The input's rows come first, unchanged and in their order (without those that `undersample` takes away); then every first
//! copy in the order of the rows, every second copy, and so on; then the rows that `oversample` repeats, in the order of the
//! rows they repeat. A copy goes through all operations that are stated, in the order of the settings, and is dropped when
//! its words come out as they were. Each copy draws from a generator seeded by (seed, operation, text or pair, row id, copy),
//! so adding a row changes no other row; text and text pair change independently. All other splits pass through byte for byte.
//!
//! The operations follow EDA (Wei and Zou 2019, <https://aclanthology.org/D19-1670>) and the local shuffle of Lample et al.
//! (2018, <https://arxiv.org/abs/1711.00043>, section 2.3). Words are what white space separates; copies join them with one
//! space. What is known about a row stays true: see [`passage`].
//!
//! One file each for the settings, for what words are part of ([`passage`]), for the operations ([`words`], [`noise`],
//! [`back_translation`]), and for what needs no copies ([`balance`], [`mix`]).
//!
//! Deliberately absent: operations on token ids or embeddings (mixup and its kin belong to training).

mod back_translation;
mod balance;
mod mix;
mod noise;
mod passage;
mod settings;
mod words;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::Value;

pub use settings::{
    Augment, BackTranslation, CharacterNoise, OfClass, Oversample, RandomDeletion, RandomInsertion,
    RandomSwap, SynonymReplacement, Synonyms, Undersample, Weights, WordShuffle,
};

use self::passage::{Tagging, Unit};
use crate::artifact::Kind;
use crate::hub::Fetched;
use crate::metrics::Scheme;
use crate::stage::{
    Context, Edge, Fault, Files, Preview, PreviewRow, Stage, StageError, Wanted, fields_of_row,
    preview_of_table,
};
use crate::table::{self, Answer, Table, Texts};
use crate::text::thesaurus::Thesaurus;

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
        let input = self
            .input
            .iter()
            .map(|stage| Edge::new("input", stage, Kind::Table));
        let inputs = self.inputs.0.iter().zip(mix::ROLES);
        let inputs = inputs.map(|((stage, _), role)| Edge {
            role,
            field: format!("inputs.{stage}").into(),
            stage: stage.clone(),
            accepts: Kind::Table,
        });
        input.chain(inputs).collect()
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["input", "inputs", "synonyms"]
    }

    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn draws_random_numbers(&self) -> bool {
        true
    }

    /// How much is taken of each input, whatever the inputs are called.
    fn implied(&self, _: &Files, _: &Fetched) -> BTreeMap<String, Value> {
        let weights = self.inputs.0.iter().map(|(_, weight)| *weight);
        let weights: Vec<f64> = weights.collect();
        match weights.is_empty() {
            true => BTreeMap::new(),
            false => [("weights of the inputs".to_owned(), weights.into())].into(),
        }
    }

    fn check(&self) -> Vec<Fault> {
        self.faults()
    }

    fn starts(&self) -> Option<String> {
        let command = self.back_translation.as_ref()?.command.as_ref()?;
        Some(command.join(" "))
    }

    fn files(&self, base: &Path, _: &Fetched) -> Result<Files, Vec<Fault>> {
        match self.needs_synonyms() {
            true => synonym_files(self.synonyms.as_ref(), base).map_err(|fault| vec![fault]),
            false => Ok(Files::new()),
        }
    }

    fn preview(&self, artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
        match wanted.split.as_str() {
            "train" => copies_beside_rows(artifact, wanted),
            _ => preview_of_table(artifact, wanted),
        }
    }

    fn rows_of(artifact: &Path) -> Result<BTreeMap<String, usize>, StageError> {
        Ok(crate::table::rows_of(artifact)?)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let mut table = self.read(context)?;
        let Some(train) = table.splits.get("train") else {
            return Ok(table.save(context.draft)?);
        };
        let mut rows = table::texts(train)?;
        let of_input = rows.len();
        if let Some(undersample) = &self.undersample {
            rows = rows.take(&balance::kept(&rows, undersample.ratio, context.seed)?);
        }
        let taken_away = of_input - rows.len();
        let names = table.label_names.clone().unwrap_or_default();
        let grown = self.grow(context, &rows, &names)?;
        let mut told = format!("training rows: {of_input} of the input");
        if taken_away > 0 {
            told.push_str(&format!(" without {taken_away} of larger classes"));
        }
        context
            .progress
            .say(&format!("{told} and {} copies", grown.len() - rows.len()));
        table.splits.insert("train".to_owned(), grown.to_frame()?);
        Ok(table.save(context.draft)?)
    }
}

/// The first training rows of which there are copies, with what differs in these below it; without copies, the first rows.
fn copies_beside_rows(artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
    let table = Table::open(artifact)?;
    let Some(frame) = table.splits.get("train") else {
        return Ok(None);
    };
    let rows = table::borrowed(frame)?;
    let mut copies = BTreeMap::<u64, Vec<usize>>::new();
    for (row, (&id, &copy)) in rows.id.iter().zip(&rows.copy).enumerate() {
        if copy > 0 {
            copies.entry(table::origin(id)).or_default().push(row);
        }
    }
    if copies.is_empty() {
        return preview_of_table(artifact, wanted);
    }
    let originals = (0..rows.len()).filter(|&row| {
        rows.copy.get(row) == Some(&0) && rows.id.get(row).is_some_and(|id| copies.contains_key(id))
    });
    let shown = originals.take(wanted.rows).map(|row| {
        let id = rows.id.get(row).copied().unwrap_or_default();
        let mut fields = fields_of_row(&table, &rows, row);
        let before = fields.clone();
        for &copy in copies.get(&id).into_iter().flatten() {
            let changed = fields_of_row(&table, &rows, copy).into_iter();
            let mut changed: Vec<_> = changed.filter(|field| !before.contains(field)).collect();
            if changed.is_empty() {
                changed.push(("copy".to_owned(), "as it is".to_owned()));
            }
            let arrow = |(name, value)| (format!("→ {name}"), value);
            fields.extend(changed.into_iter().map(arrow));
        }
        PreviewRow { id, fields }
    });
    Ok(Some(Preview {
        split: "train".to_owned(),
        of: rows.len(),
        rows: shown.collect(),
    }))
}

const WORDNET: &str = "wordnet/";
const SYNONYMS: &str = "synonyms";

/// The files that synonyms are found in.
fn synonym_files(stated: Option<&Synonyms>, base: &Path) -> Result<Files, Fault> {
    if let Some(file) = stated.and_then(|synonyms| synonyms.file.as_ref()) {
        let path = base.join(file);
        return match path.is_file() {
            true => Ok([(SYNONYMS.to_owned(), path)].into()),
            false => Err(Fault::new(
                "synonyms.file",
                format!("there is no file {file}"),
                "name a file with a word and its synonyms in each line, separated by tabs",
            )),
        };
    }
    let (folder, field) = match stated.and_then(|synonyms| synonyms.wordnet.as_ref()) {
        Some(folder) => (base.join(folder), "synonyms.wordnet"),
        None => (usual_wordnet(), "synonyms"),
    };
    let files = Thesaurus::WORDNET_FILES.map(|name| (name, folder.join(name)));
    match files.iter().find(|(_, path)| !path.is_file()) {
        None => Ok(files
            .into_iter()
            .map(|(name, path)| (format!("{WORDNET}{name}"), path))
            .collect()),
        Some((name, _)) if stated.is_some() => Err(Fault::new(
            field,
            format!(
                "{} is no WordNet database: {name} is missing",
                folder.display()
            ),
            "name the folder that holds index.noun, data.noun and their like, such as Debian's /usr/share/wordnet",
        )),
        Some(_) => Err(Fault::new(
            field,
            format!(
                "no synonyms are named, and there is no WordNet in {}",
                folder.display()
            ),
            "install WordNet 3 (Debian: `apt install wordnet-base`), or name its folder, `synonyms = { wordnet = \"…\" }`, or a \
             table of your own, `synonyms = { file = \"synonyms.tsv\" }`",
        )),
    }
}

/// Where WordNet's own programs look, else where Debian puts it.
fn usual_wordnet() -> PathBuf {
    let stated = std::env::var_os("WNSEARCHDIR").filter(|folder| !folder.is_empty());
    stated.map_or_else(|| PathBuf::from("/usr/share/wordnet"), PathBuf::from)
}

/// What is known of all rows when copies are made.
struct Making<'a> {
    settings: &'a Augment,
    seed: u64,
    /// Of tagged words.
    tagging: Option<Tagging<'a>>,
    /// In small letters.
    protected: HashSet<String>,
    thesaurus: Option<Thesaurus>,
    /// Whether synonyms are asked for more than once a word is a matter of the thesaurus.
    of_class: HashMap<u32, (u32, Option<f64>)>,
}

/// A row's copy: what may differ from the row.
struct Changed {
    text: String,
    text_pair: Option<String>,
    words: Option<(Vec<String>, Vec<u32>)>,
    answers: Option<Vec<Answer>>,
}

impl Augment {
    /// The table that flows in, or those that do as one.
    fn read(&self, context: &Context) -> Result<Table, StageError> {
        if self.inputs.is_empty() {
            return Ok(Table::open(context.input("input"))?);
        }
        let parts = self.inputs.0.iter().zip(mix::ROLES);
        let part = |((stage, weight), role): (&(String, f64), &'static str)| {
            Ok(mix::Part {
                name: stage.clone(),
                weight: *weight,
                table: Table::open(context.input(role))?,
            })
        };
        let parts = parts.map(part).collect::<Result<_, StageError>>()?;
        mix::mix(parts, context.seed)
    }

    /// The input's rows, their changed copies, and the repeated rows.
    fn grow(
        &self,
        context: &Context,
        input: &Texts,
        names: &[String],
    ) -> Result<Texts, StageError> {
        let mut made = Copies::after(input);
        let before = made.clone();
        let mut rows = input.clone();
        if self.makes_copies() {
            let making = Making::new(self, context, input, names)?;
            let most = making.copies_of(input).into_iter().max().unwrap_or(0);
            let mut unchanged = 0;
            for copy in 1..=most {
                let due: Vec<usize> = (0..input.len())
                    .filter(|&row| making.copies(input, row) >= copy)
                    .collect();
                let reworded = match &self.back_translation {
                    Some(settings) => Some(back_translation::reworded(
                        settings, context, input, &due, copy,
                    )?),
                    None => None,
                };
                let what = format!("augmenting, copy {copy} of {most}");
                context.progress.start(&what, due.len() as u64, "rows");
                for (chunk, due) in due.chunks(CHUNK).enumerate() {
                    context.checkpoint()?;
                    let changed: Vec<Option<Changed>> = due
                        .par_iter()
                        .enumerate()
                        .map(|(n, &row)| {
                            let number = before.of(input, row) + copy;
                            let texts = reworded.as_ref().and_then(|of| of.get(chunk * CHUNK + n));
                            making.change(input, row, number, texts)
                        })
                        .collect();
                    for (&row, changed) in due.iter().zip(changed) {
                        match changed {
                            Some(changed) => made.push(&mut rows, row, changed),
                            None => unchanged += 1,
                        }
                    }
                    context.progress.advance(due.len() as u64);
                }
            }
            if unchanged > 0 {
                context.progress.say(&format!(
                    "dropped copies that came out unchanged: {unchanged}"
                ));
            }
        }
        if let Some(oversample) = &self.oversample {
            context.checkpoint()?;
            for row in balance::repeats(&rows, oversample.ratio, context.seed)? {
                if let Some(same) = Changed::nothing(&rows, row) {
                    made.push(&mut rows, row, same);
                }
            }
        }
        Ok(rows)
    }
}

/// How many rows are changed between two looks at whether to go on.
const CHUNK: usize = 4096;

impl<'a> Making<'a> {
    fn new(
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
            thesaurus: thesaurus(settings, context)?,
            of_class: settings.of_classes(input, names)?,
        })
    }

    fn of_class(&self, rows: &Texts, row: usize) -> (u32, Option<f64>) {
        let label = rows.label.as_ref().and_then(|labels| labels.get(row));
        let of_class = label.and_then(|label| self.of_class.get(label));
        of_class.copied().unwrap_or((self.settings.copies, None))
    }

    fn copies(&self, rows: &Texts, row: usize) -> u32 {
        self.of_class(rows, row).0
    }

    fn copies_of(&self, rows: &Texts) -> Vec<u32> {
        (0..rows.len()).map(|row| self.copies(rows, row)).collect()
    }

    /// A row's copy; nothing when the words are as they were, or would no longer be what the tags say. `reworded` is what
    /// came back for its text and pair.
    fn change(
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
        let of_row = |column: &'_ Option<Vec<Vec<u32>>>| Some(column.as_ref()?.get(row)?.clone());
        if let Some(tagging) = self.tagging {
            let words = input.words.as_ref()?.get(row)?;
            let before = passage::of_words(words, &of_row(&input.tags)?, tagging, &self.protected);
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
        let of_words = |words: &[&str], place: usize| match &self.thesaurus {
            Some(thesaurus) => thesaurus.synonyms(words, place),
            None => Vec::new(),
        };
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

/// What synonyms are found in, where an operation needs them.
fn thesaurus(settings: &Augment, context: &Context) -> Result<Option<Thesaurus>, StageError> {
    if !settings.needs_synonyms() {
        return Ok(None);
    }
    if let Some(table) = context.files.get(SYNONYMS) {
        return Ok(Some(Thesaurus::tsv(table)?));
    }
    let folder = context
        .files
        .iter()
        .find_map(|(role, path)| role.starts_with(WORDNET).then(|| path.parent()).flatten());
    let folder = folder.map_or_else(usual_wordnet, Path::to_owned);
    context.progress.say(&format!(
        "synonyms are those of WordNet in {}",
        folder.display()
    ));
    Ok(Some(Thesaurus::wordnet(&folder)?))
}

impl Changed {
    /// A row just as it is.
    fn nothing(rows: &Texts, row: usize) -> Option<Changed> {
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

/// What an operation on one text of one copy draws from.
struct Draw {
    seed: u64,
    part: &'static str,
    id: u64,
    copy: u32,
}

impl Draw {
    /// For what is drawn for a row as a whole.
    fn of_row(seed: u64, id: u64) -> Draw {
        Draw {
            seed,
            part: "row",
            id,
            copy: 0,
        }
    }

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

    /// Appends a copy of `row`, with all else as it is.
    fn push(&mut self, rows: &mut Texts, row: usize, changed: Changed) {
        let Some(id) = rows.id.get(row).copied() else {
            return;
        };
        let copy = self.last.entry(table::origin(id)).or_default();
        *copy += 1;
        rows.id.push(table::copy_id(id, *copy));
        rows.copy.push(*copy);
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
    }
}

#[cfg(test)]
mod tests;
