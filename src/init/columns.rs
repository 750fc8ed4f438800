//! Which column is what, and so which task the data are for.
//!
//! A file that says it itself (CoNLL, SQuAD) is asked first; then questions with answers, sentences of tagged words, and texts
//! with whatever is to be learnt about them. In each the names of columns come first, then what is in them. Where two columns
//! could be the label and no name tells them apart, that is an error: a guess would be wrong half of the time.
//!
//! Deliberately absent: how sure a guess is.

use super::profile::{Looks, Profile, is_missing};
use super::{InitError, Known, names};
use crate::table::peek::{Peek, Peeked};
use crate::table::read::{Column, Format, Gold, Rows};
use crate::task::Task;

/// How much longer one of two texts may be, on average, for them to be a pair that no name tells of.
const PAIR: f64 = 8.0;
/// A text that no name tells of has so many words, on average.
const WORDS_OF_TEXT: f64 = 2.0;

/// What is learnt from `peek`, and from which columns.
pub(super) fn rows(peek: &Peek, known: &Known) -> Result<(Task, Rows), InitError> {
    let found = match peek.format {
        Format::Conll => sentences_of_lines(peek)?,
        Format::Squad => (
            Task::QuestionAnswering,
            questions(named("question"), named("context"), peek.column("answers")),
        ),
        _ => flat(peek, known)?,
    };
    let (task, _) = &found;
    match known.task {
        Some(asked) if asked != *task => Err(InitError::OtherTask {
            asked: asked.name(),
            found: task.name(),
            seen: seen(peek),
        }),
        _ => Ok(found),
    }
}

fn named(name: &str) -> Column {
    Column::Name(name.to_owned())
}

fn questions(question: Column, context: Column, answers: Option<&Peeked>) -> Rows {
    Rows::Questions {
        question,
        context,
        answers: answers.map(|peeked| peeked.column.clone()),
    }
}

fn sentences_of_lines(peek: &Peek) -> Result<(Task, Rows), InitError> {
    let Some(tags) = peek.column("tags") else {
        return Err(InitError::NoTags { seen: seen(peek) });
    };
    let rows = Rows::Words {
        tokens: named("tokens"),
        tags: Some(tags.column.clone()),
    };
    Ok((Task::TokenClassification, rows))
}

fn flat(peek: &Peek, known: &Known) -> Result<(Task, Rows), InitError> {
    let profiles: Vec<Profile> = peek.columns.iter().map(Profile::of).collect();
    let wants = |task| known.task.is_none_or(|asked| asked == task);
    let stated = known.text.is_some() || known.label.is_some();
    if wants(Task::QuestionAnswering) && !stated {
        match answered(&profiles) {
            Some(rows) => return Ok((Task::QuestionAnswering, rows)),
            None if known.task.is_some() => {
                return Err(InitError::NoQuestions { seen: seen(peek) });
            }
            None => {}
        }
    }
    if wants(Task::TokenClassification) {
        match tagged(&profiles, known) {
            Some(rows) => return Ok((Task::TokenClassification, rows)),
            None if known.task.is_some() => return Err(InitError::NoTags { seen: seen(peek) }),
            None => {}
        }
    }
    let mark = mark(peek, &profiles, known)?;
    let taken: Vec<&Column> = mark.columns();
    let (text, text_pair) = texts(peek, &profiles, known, &taken)?;
    let rows = Rows::Texts {
        text,
        text_pair,
        gold: Some(mark.gold),
    };
    Ok((mark.task, rows))
}

/// Columns of questions with contexts and answers.
fn answered(profiles: &[Profile]) -> Option<Rows> {
    let text = |name: &str| {
        let mut found = profiles
            .iter()
            .filter(|profile| profile.looks == Looks::Text);
        found.find(|profile| profile.is_called(name))
    };
    let answers = profiles
        .iter()
        .find(|profile| profile.looks == Looks::Answers)?;
    Some(questions(
        text("question")?.column(),
        text("context")?.column(),
        Some(answers.peeked),
    ))
}

/// Columns of words with a tag each.
fn tagged(profiles: &[Profile], known: &Known) -> Option<Rows> {
    let lists = |peeked: &Peeked| {
        let cells = peeked.cells.iter();
        let lengths = cells.map(|cell| match cell {
            crate::table::Cell::List(items) => Some(items.len()),
            _ => None,
        });
        lengths.collect::<Vec<_>>()
    };
    let words = profiles
        .iter()
        .filter(|profile| profile.looks == Looks::Words);
    let mut words: Vec<&Profile> = words.collect();
    let rank = |profile: &Profile, names: &[&str]| {
        let rank = names.iter().position(|name| profile.is_called(name));
        rank.unwrap_or(names.len())
    };
    words.sort_by_key(|profile| (rank(profile, names::TOKENS), usize::MAX - profile.distinct));
    let tokens = *words.iter().find(|profile| match known.text {
        Some(called) => is(profile, called),
        None => rank(profile, names::TOKENS) < names::TOKENS.len(),
    })?;
    let wanted = lists(tokens.peeked);
    let mut tags: Vec<&Profile> = profiles
        .iter()
        .filter(|profile| matches!(profile.looks, Looks::Words | Looks::Numbers))
        .filter(|profile| !std::ptr::eq(*profile, tokens) && lists(profile.peeked) == wanted)
        .filter(|profile| known.label.is_none_or(|called| is(profile, called)))
        .collect();
    tags.sort_by_key(|profile| rank(profile, names::TAGS));
    Some(Rows::Words {
        tokens: tokens.column(),
        tags: Some(tags.first()?.column()),
    })
}

/// Whether a column is called so on the command line: by its name, or its number.
fn is(profile: &Profile, called: &str) -> bool {
    match &profile.peeked.column {
        Column::Name(name) => name == called,
        Column::Number(number) => number.to_string() == called,
    }
}

fn find<'a, 'p>(
    peek: &Peek,
    profiles: &'a [Profile<'p>],
    called: &str,
    option: &'static str,
) -> Result<&'a Profile<'p>, InitError> {
    let found = profiles.iter().find(|profile| is(profile, called));
    found.ok_or_else(|| InitError::NoColumn {
        called: called.to_owned(),
        option,
        seen: seen(peek),
    })
}

/// What is to be learnt about a text.
struct Mark {
    task: Task,
    gold: Gold,
}

impl Mark {
    fn columns(&self) -> Vec<&Column> {
        match &self.gold {
            Gold::Label(column) | Gold::Labels { column, .. } => vec![column],
            Gold::Target(columns) => columns.iter().collect(),
        }
    }

    fn labels(profile: &Profile, separator: Option<&str>) -> Mark {
        Mark {
            task: Task::MultiLabel,
            gold: Gold::Labels {
                column: profile.column(),
                separator: separator.unwrap_or(",").to_owned(),
            },
        }
    }

    fn targets(profiles: &[&Profile]) -> Mark {
        Mark {
            task: Task::Regression,
            gold: Gold::Target(profiles.iter().map(|profile| profile.column()).collect()),
        }
    }
}

fn mark(peek: &Peek, profiles: &[Profile], known: &Known) -> Result<Mark, InitError> {
    if let Some(called) = known.label {
        let profile = find(peek, profiles, called, "--label")?;
        return as_asked(peek, profile, known.task);
    }
    let is_text = |profile: &Profile| known.text.is_some_and(|called| is(profile, called));
    let others: Vec<&Profile> = profiles
        .iter()
        .filter(|profile| !profile.is_id() && !is_text(profile))
        .collect();
    let fits = |profile: &&Profile| match profile.looks {
        Looks::Words | Looks::Numbers => known.task.is_none_or(|task| task == Task::MultiLabel),
        Looks::Fractions => known.task.is_none_or(|task| task == Task::Regression),
        Looks::Integers if known.task == Some(Task::Regression) => true,
        Looks::Integers | Looks::Booleans | Looks::Text => {
            known.task != Some(Task::Regression)
                && (profile.is_short() || profile.separator().is_some())
        }
        Looks::Nothing | Looks::Answers | Looks::Other => false,
    };
    let mut by_name = names::LABELS.iter().filter_map(|name| {
        let mut fitting = others.iter().filter(|profile| fits(profile));
        fitting.find(|profile| profile.is_called(name)).copied()
    });
    if let Some(profile) = by_name.next() {
        return as_asked(peek, profile, known.task);
    }
    let all_that = |is: &dyn Fn(&Profile) -> bool| -> Vec<&Profile> {
        let those = others.iter().copied().filter(|profile| fits(profile));
        those.filter(|profile| is(profile)).collect()
    };
    let several = all_that(&|profile| {
        matches!(profile.looks, Looks::Words | Looks::Numbers) || profile.separator().is_some()
    });
    let classes = all_that(&|profile| profile.is_repeated() && !profile.is_scale());
    let scales = all_that(&|profile| profile.is_scale());
    match (several.as_slice(), classes.as_slice(), scales.as_slice()) {
        ([one], ..) if known.task != Some(Task::Classification) => as_asked(peek, one, known.task),
        (_, [one], _) if known.task != Some(Task::Regression) => as_asked(peek, one, known.task),
        ([], [], [_, ..]) => Ok(Mark::targets(&scales)),
        ([], [], []) => Err(InitError::NoLabel { seen: seen(peek) }),
        _ => {
            let those = several.iter().chain(&classes).chain(&scales);
            let mut candidates: Vec<String> = Vec::new();
            for column in those.map(|profile| profile.column().to_string()) {
                if !candidates.contains(&column) {
                    candidates.push(column);
                }
            }
            Err(InitError::SeveralLabels {
                candidates: candidates.join(", "),
                seen: seen(peek),
            })
        }
    }
}

/// What a column is for that is known to be learnt.
fn as_asked(peek: &Peek, profile: &Profile, task: Option<Task>) -> Result<Mark, InitError> {
    let separator = profile.separator();
    let list = matches!(profile.looks, Looks::Words | Looks::Numbers);
    let task = task.unwrap_or(match () {
        () if list || separator.is_some() => Task::MultiLabel,
        () if profile.is_scale() => Task::Regression,
        () => Task::Classification,
    });
    let unfit = |wanted: &'static str| InitError::UnfitLabel {
        column: profile.column().to_string(),
        example: profile.example().unwrap_or_default(),
        wanted,
        seen: seen(peek),
    };
    match (task, profile.looks) {
        (_, Looks::Nothing | Looks::Answers | Looks::Other) => Err(unfit("labels or numbers")),
        (Task::MultiLabel, Looks::Fractions | Looks::Booleans) => Err(unfit("several labels")),
        (Task::MultiLabel, _) => Ok(Mark::labels(profile, separator)),
        (Task::Regression, Looks::Integers | Looks::Fractions) => Ok(Mark::targets(&[profile])),
        (Task::Regression, _) => Err(unfit("numbers")),
        (_, Looks::Fractions | Looks::Words | Looks::Numbers) => Err(unfit("one class a row")),
        _ => Ok(Mark {
            task: Task::Classification,
            gold: Gold::Label(profile.column()),
        }),
    }
}

/// The text, and the second text of a pair.
fn texts(
    peek: &Peek,
    profiles: &[Profile],
    known: &Known,
    taken: &[&Column],
) -> Result<(Column, Option<Column>), InitError> {
    let free = |profile: &&Profile| {
        profile.looks == Looks::Text && !taken.contains(&&profile.peeked.column)
    };
    if let Some(called) = known.text {
        let profile = find(peek, profiles, called, "--text")?;
        return match free(&profile) {
            true => Ok((profile.column(), partner(profile, profiles, &free))),
            false => Err(InitError::NoText { seen: seen(peek) }),
        };
    }
    let called = |name: &str| profiles.iter().filter(free).find(|p| p.is_called(name));
    for (first, second) in names::PAIRS {
        if let (Some(first), Some(second)) = (called(first), called(second)) {
            return Ok((first.column(), Some(second.column())));
        }
    }
    let candidates = profiles
        .iter()
        .filter(free)
        .filter(|profile| !profile.is_id());
    let mut longest: Vec<&Profile> = candidates.collect();
    longest.sort_by(|a, b| b.length.total_cmp(&a.length));
    let Some(first) = longest.first() else {
        return Err(InitError::NoText { seen: seen(peek) });
    };
    // A name counts where the column is no mere heading beside a much longer text.
    let by_name = names::TEXTS.iter().filter_map(|name| called(name));
    let mut by_name = by_name.filter(|profile| profile.length * PAIR >= first.length);
    if let Some(profile) = by_name.next() {
        return Ok((profile.column(), None));
    }
    let wordy = longest
        .iter()
        .filter(|profile| profile.words >= WORDS_OF_TEXT);
    match wordy.copied().collect::<Vec<_>>().as_slice() {
        // Without names, two texts are read in the order of the file.
        [long, short] if long.length <= short.length * PAIR && !is_named(long) => {
            let swapped = position(profiles, short) < position(profiles, long);
            let (one, other) = if swapped {
                (short, long)
            } else {
                (long, short)
            };
            Ok((one.column(), Some(other.column())))
        }
        [] => Err(InitError::NoText { seen: seen(peek) }),
        _ => Ok((first.column(), None)),
    }
}

fn is_named(profile: &Profile) -> bool {
    profile.is_named()
}

fn position(profiles: &[Profile], wanted: &Profile) -> Option<usize> {
    let mut places = profiles.iter();
    places.position(|profile| std::ptr::eq(profile, wanted))
}

/// The second text that goes with a first by the names of both.
fn partner(
    first: &Profile,
    profiles: &[Profile],
    free: &dyn Fn(&&Profile) -> bool,
) -> Option<Column> {
    let mut pairs = names::PAIRS.iter();
    let (_, second) = pairs.find(|(one, _)| first.is_called(one))?;
    let mut free = profiles.iter().filter(free);
    let second = free.find(|profile| profile.is_called(second))?;
    Some(second.column())
}

/// How many rows lack a value that they need.
pub(super) fn incomplete(peek: &Peek, rows: &Rows) -> usize {
    let columns = rows.columns();
    let needed = columns.iter().filter_map(|(field, column)| {
        let peeked = peek
            .columns
            .iter()
            .find(|peeked| peeked.column == **column)?;
        Some((*field, peeked))
    });
    let needed: Vec<(&str, &Peeked)> = needed.collect();
    let lacks = |row: usize| {
        needed.iter().any(|(field, peeked)| {
            let cell = peeked.cells.get(row);
            cell.is_none_or(|cell| match (*field, cell) {
                (_, crate::table::Cell::Null) => true,
                ("label" | "target", cell) => is_missing(cell),
                _ => false,
            })
        })
    };
    (0..peek.rows).filter(|row| lacks(*row)).count()
}

/// The columns with an example each, for messages.
pub(super) fn seen(peek: &Peek) -> String {
    let shown = peek.columns.iter().take(20).map(|peeked| {
        let example = Profile::of(peeked).example();
        let example = example.map_or_else(|| "empty".to_owned(), |example| format!("{example:?}"));
        format!("{} ({example})", peeked.column)
    });
    let mut all = shown.collect::<Vec<_>>().join(", ");
    if let Some(more) = peek.columns.len().checked_sub(20).filter(|more| *more > 0) {
        all.push_str(&format!(", and {more} more"));
    }
    // One column whose fields another separator divides.
    if let [only] = peek.columns.as_slice()
        && only.column.to_string().contains(';')
    {
        all.push_str("; fields divided by `;` are not read: write commas or tabs");
    }
    all
}
