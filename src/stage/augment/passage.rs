//! A text as the word operations see it: units that move, change and go as a whole, with what is known about their words.
//!
//! A unit is mostly one word. Words of one entity are one unit, and so is the stretch of a context that answers share: no
//! operation tears them apart. Whoever writes a passage down again gets the tags beside their words and the answers where
//! they now stand.
//!
//! Deliberately absent: the operations, and random numbers.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::metrics::{Entity, Scheme};
use crate::table::Answer;

/// A word, with its tag where it has one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word<'t> {
    pub(super) text: Cow<'t, str>,
    pub(super) tag: Option<u32>,
}

/// What moves as a whole.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit<'t> {
    /// At least one.
    pub(super) words: Vec<Word<'t>>,
    /// It is neither left out nor replaced.
    pub(super) stays: bool,
    /// Not a letter of it changes.
    pub(super) exact: bool,
    /// The answers in it: which of the row's, and where in it they start, in characters.
    answers: Vec<(usize, usize)>,
}

impl<'t> Unit<'t> {
    pub(super) fn word(text: Cow<'t, str>, tag: Option<u32>) -> Self {
        Unit {
            words: vec![Word { text, tag }],
            stays: false,
            exact: false,
            answers: Vec::new(),
        }
    }
}

/// What tags mean: nothing is known of answers and plain texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tagging<'a> {
    pub(super) names: &'a [String],
    /// None where each tag stands for itself.
    pub(super) scheme: Option<Scheme>,
}

impl<'a> Tagging<'a> {
    fn name(&self, tag: u32) -> &'a str {
        self.names.get(tag as usize).map_or("", String::as_str)
    }

    /// The type and the length of each entity, sorted.
    fn entities(&self, units: &[Unit]) -> Vec<(&'a str, usize)> {
        let words = units.iter().flat_map(|unit| &unit.words);
        let names = words.map(|word| word.tag.map_or("", |tag| self.name(tag)));
        let found = Entity::find(&names.collect::<Vec<_>>()).into_iter();
        let mut found: Vec<_> = found
            .map(|entity| (entity.kind, entity.end - entity.start))
            .collect();
        found.sort_unstable();
        found
    }
}

/// The units of a plain text: its words, as white space separates them.
pub(super) fn of_text<'t>(text: &'t str, protected: &HashSet<String>) -> Vec<Unit<'t>> {
    let unit = |word: &'t str| {
        let mut unit = Unit::word(Cow::Borrowed(word), None);
        protect(&mut unit, protected);
        unit
    };
    text.split_whitespace().map(unit).collect()
}

/// The units of tagged words: entities, and the words between them.
pub(super) fn of_words<'t>(
    words: &'t [String],
    tags: &[u32],
    tagging: Tagging,
    protected: &HashSet<String>,
) -> Vec<Unit<'t>> {
    let names: Vec<&str> = tags.iter().map(|&tag| tagging.name(tag)).collect();
    let entities = match tagging.scheme {
        Some(_) => Entity::find(&names),
        None => Vec::new(),
    };
    let mut units: Vec<Unit> = Vec::with_capacity(words.len());
    let mut entities = entities.into_iter().peekable();
    for (place, (word, tag)) in words.iter().zip(tags).enumerate() {
        while entities.next_if(|entity| entity.end <= place).is_some() {}
        let inside = entities.peek().filter(|entity| entity.start <= place);
        match (inside, units.last_mut()) {
            (Some(entity), Some(last)) if entity.start < place => last.words.push(Word {
                text: Cow::Borrowed(word),
                tag: Some(*tag),
            }),
            _ => {
                let mut unit = Unit::word(Cow::Borrowed(word), Some(*tag));
                unit.stays = inside.is_some();
                units.push(unit);
            }
        }
    }
    units.iter_mut().for_each(|unit| protect(unit, protected));
    units
}

/// The units of a context: stretches with answers, to the ends of the words that they touch, and the words between them.
pub(super) fn of_context<'t>(
    context: &'t str,
    answers: &[Answer],
    protected: &HashSet<String>,
) -> Vec<Unit<'t>> {
    // Starts are in characters, places in bytes.
    let places: Vec<usize> = context.char_indices().map(|(place, _)| place).collect();
    let byte = |character: usize| places.get(character).copied().unwrap_or(context.len());
    let mut spans: Vec<(usize, usize, usize)> = answers
        .iter()
        .enumerate()
        .map(|(number, answer)| {
            let start = byte(answer.start as usize);
            (start, start + answer.text.len(), number)
        })
        .collect();
    spans.sort_unstable();
    let mut units = Vec::<Unit>::new();
    let mut spans = spans.into_iter().peekable();
    let mut rest = 0;
    while let Some((start, word)) = next_word(context, rest) {
        let mut end = start + word.len();
        let mut inside = Vec::new();
        // An answer that begins in white space before the word belongs to it too.
        while let Some((from, to, number)) = spans.next_if(|(from, _, _)| *from < end) {
            inside.push((from, number));
            if to > end {
                end = word_end(context, to);
            }
        }
        let start = inside.iter().map(|(from, _)| *from).fold(start, usize::min);
        let text = context.get(start..end).unwrap_or(word);
        let mut unit = Unit::word(Cow::Borrowed(text), None);
        protect(&mut unit, protected);
        if !inside.is_empty() {
            (unit.stays, unit.exact) = (true, true);
            let offset = |from: usize| {
                let before = context.get(start..from).unwrap_or_default();
                before.chars().count()
            };
            unit.answers = inside
                .into_iter()
                .map(|(from, number)| (number, offset(from)))
                .collect();
        }
        units.push(unit);
        rest = end;
    }
    units
}

/// The word at or after a place, and where it begins.
fn next_word(text: &str, from: usize) -> Option<(usize, &str)> {
    let rest = text.get(from..)?;
    let start = rest.find(|c: char| !c.is_whitespace())?;
    let word = rest.get(start..)?;
    let end = word.find(char::is_whitespace).unwrap_or(word.len());
    Some((from + start, word.get(..end)?))
}

/// The end of the word that a place is in; the place itself where it is between words.
fn word_end(text: &str, place: usize) -> usize {
    let rest = text.get(place..).unwrap_or_default();
    // An answer that ends with its word, or with white space, reaches no further.
    let in_word = text
        .get(..place)
        .and_then(|before| before.chars().next_back())
        .is_some_and(|last| !last.is_whitespace());
    match in_word {
        true => place + rest.find(char::is_whitespace).unwrap_or(rest.len()),
        false => place,
    }
}

fn protect(unit: &mut Unit, protected: &HashSet<String>) {
    let bare = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        word.to_lowercase()
    };
    if !protected.is_empty()
        && unit.words.iter().any(|word| {
            protected.contains(&word.text.to_lowercase()) || protected.contains(&bare(&word.text))
        })
    {
        (unit.stays, unit.exact) = (true, true);
    }
}

/// The words with a space between.
pub(super) fn text(units: &[Unit]) -> String {
    let words = units.iter().flat_map(|unit| &unit.words);
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word.text);
    }
    text
}

/// The words and their tags; none where a moved or inserted word would have made other entities of them.
pub(super) fn words(
    units: &[Unit],
    before: &[Unit],
    tagging: Tagging,
) -> Option<(Vec<String>, Vec<u32>)> {
    // Letters of an entity may have been mistyped: its type and its length must be as before.
    if tagging.scheme.is_some() && tagging.entities(units) != tagging.entities(before) {
        return None;
    }
    let all = || units.iter().flat_map(|unit| &unit.words);
    let tags = all().map(|word| word.tag).collect::<Option<_>>()?;
    let words = all().map(|word| word.text.clone().into_owned());
    Some((words.collect(), tags))
}

/// The text and its answers, at their new places and in their old order.
pub(super) fn context(units: &[Unit], answers: &[Answer]) -> (String, Vec<Answer>) {
    let mut moved = answers.to_vec();
    let (mut text, mut characters) = (String::new(), 0);
    for unit in units {
        for (place, word) in unit.words.iter().enumerate() {
            if !text.is_empty() {
                text.push(' ');
                characters += 1;
            }
            for &(number, offset) in unit.answers.iter().filter(|_| place == 0) {
                if let (Some(answer), Ok(start)) =
                    (moved.get_mut(number), u32::try_from(characters + offset))
                {
                    answer.start = start;
                }
            }
            text.push_str(&word.text);
            characters += word.text.chars().count();
        }
    }
    (text, moved)
}
