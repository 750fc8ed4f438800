//! What a text looks like, and what stands in a column beside it, in slices.
//!
//! A word is what stands between white space, without punctuation at either end; it counts without case. Negations, question
//! words and what is a name are told as English tells them.
//!
//! Deliberately absent: meaning, grammar, and other languages than English where words matter.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Slice;

/// The words of a text, as they stand there.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split_whitespace();
    words
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
}

/// How many words a text has.
pub fn word_count(text: &str) -> u32 {
    u32::try_from(words(text).count()).unwrap_or(u32::MAX)
}

/// How often words were seen.
#[derive(Debug, Clone, Default)]
pub struct Rare(HashMap<String, u32>);

impl Rare {
    /// Takes up the words of a text.
    pub fn see(&mut self, text: &str) {
        for word in words(text) {
            let word = word.to_lowercase();
            let seen = self.0.entry(word).or_default();
            *seen = seen.saturating_add(1);
        }
    }

    /// How many words of the text were seen at most so often.
    fn among(&self, text: &str, most: u32) -> usize {
        let seen = |word: &str| {
            self.0
                .get(&word.to_lowercase())
                .copied()
                .unwrap_or_default()
        };
        words(text).filter(|word| seen(word) <= most).count()
    }
}

/// Words that turn a sentence around; besides, all that end in `n't`.
const NEGATIONS: [&str; 14] = [
    "no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "nowhere", "cannot",
    "without", "hardly", "barely", "scarcely",
];

fn is_negation(word: &str) -> bool {
    let word = word.to_lowercase().replace('’', "'");
    NEGATIONS.contains(&&*word) || word.ends_with("n't")
}

/// Two letters or more, all of them capitals.
fn is_shouted(word: &str) -> bool {
    let mut letters = word.chars().filter(|c| c.is_alphabetic());
    letters.clone().count() > 1 && letters.all(char::is_uppercase)
}

/// The slices of these texts by length, rare words, negation, numerals and capitals. `rare` holds the words of the training;
/// or, where `own`, those of these texts, among which a word that is there once is rare.
pub fn traits(texts: &[&str], rare: &Rare, own: bool) -> Vec<Slice> {
    let mut slices = lengths(texts);
    let most = if own { 1 } else { 0 };
    let seen = if own {
        "that occur nowhere else"
    } else {
        "that training never saw"
    };
    let rarity = |text: &str| match rare.among(text, most) {
        0 => format!("no words {seen}"),
        1 => format!("one word {}", seen.replace("occur", "occurs")),
        _ => format!("two or more words {seen}"),
    };
    let negated = |text: &str| match words(text).any(is_negation) {
        true => "has one".to_owned(),
        false => "has none".to_owned(),
    };
    let numbered = |text: &str| match text.chars().any(char::is_numeric) {
        true => "has a digit".to_owned(),
        false => "has none".to_owned(),
    };
    let capital = |text: &str| {
        let value = if words(text).any(is_shouted) {
            "a word in capitals"
        } else if text.chars().any(char::is_uppercase) {
            "some letters"
        } else {
            "none"
        };
        value.to_owned()
    };
    slices.extend(by("rare words", texts.iter().map(|text| rarity(text))));
    slices.extend(by("negation", texts.iter().map(|text| negated(text))));
    slices.extend(by("numerals", texts.iter().map(|text| numbered(text))));
    slices.extend(by("capitals", texts.iter().map(|text| capital(text))));
    slices
}

/// One slice for each value.
pub(super) fn by(name: &str, values: impl Iterator<Item = String>) -> Vec<Slice> {
    let mut slices: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (row, value) in (0..).zip(values) {
        slices.entry(value).or_default().push(row);
    }
    let slice = |(value, rows)| Slice {
        by: name.to_owned(),
        value,
        rows,
    };
    slices.into_iter().map(slice).collect()
}

/// Fifths of the rows by length; fewer where many are equally long.
fn lengths(texts: &[&str]) -> Vec<Slice> {
    let counts: Vec<f64> = texts.iter().map(|text| word_count(text).into()).collect();
    let slice = |(from, to, rows)| Slice {
        by: "length".to_owned(),
        value: match from == to {
            true if to == 1.0 => "1 word".to_owned(),
            true => format!("{to} words"),
            false => format!("{from} to {to} words"),
        },
        rows,
    };
    fifths(&counts).into_iter().map(slice).collect()
}

/// Parts of about a fifth of the rows each, by numbers that are finite: the least and the greatest number of each, and its
/// rows. Equal numbers are in one part, so there may be fewer.
fn fifths(numbers: &[f64]) -> Vec<(f64, f64, Vec<u32>)> {
    let mut order: Vec<u32> = (0..).take(numbers.len()).collect();
    let number = |row: &u32| numbers.get(*row as usize).copied().unwrap_or_default();
    order.sort_by(|a, b| number(a).total_cmp(&number(b)));
    let mut parts = Vec::new();
    let mut begin = 0;
    for fifth in 1..=5 {
        let Some(last) = (order.len() * fifth / 5).checked_sub(1) else {
            continue;
        };
        let to = number(&order[last]);
        let end = begin + order[begin..].partition_point(|row| number(row) <= to);
        if end > begin {
            let mut rows = order[begin..end].to_vec();
            let from = number(&rows[0]);
            rows.sort_unstable();
            parts.push((from, to, rows));
        }
        begin = end;
    }
    parts
}

/// A column of more different numbers is divided into ranges.
const FEW_NUMBERS: usize = 10;

/// The slices of rows by what stands in a column: one for each value; of many different numbers one for about a fifth of the
/// rows each.
pub fn of_column(name: &str, values: &[&str]) -> Vec<Slice> {
    let by_name = format!("column {name}");
    let there = |value: &&str| !value.trim().is_empty();
    let parsed = |value: &&str| value.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    let written = values.iter().filter(|value| there(value));
    let distinct: BTreeSet<&str> = written.copied().collect();
    if distinct.len() <= FEW_NUMBERS || !distinct.iter().all(|value| parsed(value).is_some()) {
        let value = |value: &&str| match there(value) {
            true => (*value).to_owned(),
            false => "nothing".to_owned(),
        };
        return by(&by_name, values.iter().map(value));
    }
    let (mut rows, mut numbers, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for (row, value) in (0..).zip(values) {
        match parsed(value) {
            Some(number) => {
                rows.push(row);
                numbers.push(number);
            }
            None => empty.push(row),
        }
    }
    let slice = |value: String, rows| Slice {
        by: by_name.clone(),
        value,
        rows,
    };
    let ranges = fifths(&numbers).into_iter().map(|(from, to, places)| {
        let places = places.iter().filter_map(|&place| rows.get(place as usize));
        let range = match from == to {
            true => to.to_string(),
            false => format!("{from} to {to}"),
        };
        slice(range, places.copied().collect())
    });
    let ranges: Vec<Slice> = ranges.collect();
    let nothing = (!empty.is_empty()).then(|| slice("nothing".to_owned(), empty));
    ranges.into_iter().chain(nothing).collect()
}

/// What a question asks for: its first question word.
pub fn question_word(question: &str) -> &'static str {
    const KNOWN: [(&str, &[&str]); 8] = [
        ("who", &["who", "whom", "whose", "who's"]),
        ("what", &["what", "what's"]),
        ("when", &["when"]),
        ("where", &["where", "where's"]),
        ("which", &["which"]),
        ("why", &["why"]),
        ("how many or how much", &[]),
        ("how", &["how"]),
    ];
    let asked: Vec<String> = words(question).map(str::to_lowercase).collect();
    for (place, word) in asked.iter().enumerate() {
        let next = asked.get(place + 1).map(String::as_str);
        if word == "how" && matches!(next, Some("many" | "much")) {
            return "how many or how much";
        }
        let known = KNOWN.iter().find(|(_, forms)| forms.contains(&&**word));
        if let Some((name, _)) = known {
            return name;
        }
    }
    "another word"
}

/// What kind of thing an answer is, by its looks.
pub fn answer_kind(answer: Option<&str>) -> &'static str {
    let Some(answer) = answer else {
        return "has no answer";
    };
    let all: Vec<&str> = words(answer).collect();
    let named = |word: &&&str| word.chars().next().is_some_and(char::is_uppercase);
    let names = all.iter().filter(named).count();
    if answer.chars().any(|c| c.is_ascii_digit()) {
        "a number or a date"
    } else if names > 0 && names * 2 >= all.len() {
        "a name"
    } else if all.len() > 5 {
        "more than five words"
    } else {
        "a few words"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of<'s>(slices: &'s [Slice], by: &str) -> Vec<(&'s str, &'s [u32])> {
        let named = slices.iter().filter(|slice| slice.by == by);
        named.map(|slice| (&*slice.value, &*slice.rows)).collect()
    }

    #[test]
    fn texts_are_told_apart_by_what_they_look_like() {
        let texts = [
            "It's a good film.",
            "I don't like it",
            "NEVER again, 2 hours",
            "all of it was fine and good and long and rather long",
            "i can’t say",
        ];
        let mut rare = Rare::default();
        rare.see("It's a good film. I don't like it all of was fine and long rather again hours i say 2 never");
        let slices = traits(&texts, &rare, false);
        let negation: &[(&str, &[u32])] = &[("has none", &[0, 3]), ("has one", &[1, 2, 4])];
        assert_eq!(of(&slices, "negation"), negation);
        let numerals: &[(&str, &[u32])] = &[("has a digit", &[2]), ("has none", &[0, 1, 3, 4])];
        assert_eq!(of(&slices, "numerals"), numerals);
        let capitals: &[(&str, &[u32])] = &[
            ("a word in capitals", &[2]),
            ("none", &[3, 4]),
            ("some letters", &[0, 1]),
        ];
        assert_eq!(of(&slices, "capitals"), capitals);
        let rare_words: &[(&str, &[u32])] = &[
            ("no words that training never saw", &[0, 1, 2, 3]),
            ("one word that training never saw", &[4]),
        ];
        assert_eq!(of(&slices, "rare words"), rare_words);
    }

    #[test]
    fn without_the_training_a_word_that_stands_once_is_rare() {
        let texts = ["the same", "the same other", "the"];
        let mut rare = Rare::default();
        texts.iter().for_each(|text| rare.see(text));
        let found = traits(&texts, &rare, true);
        let wanted: &[(&str, &[u32])] = &[
            ("no words that occur nowhere else", &[0, 2]),
            ("one word that occurs nowhere else", &[1]),
        ];
        assert_eq!(of(&found, "rare words"), wanted);
    }

    #[test]
    fn questions_and_answers_have_kinds() {
        let asked = [
            ("In which year did it end?", "which"),
            ("How many are there?", "how many or how much"),
            ("How did it end?", "how"),
            ("Whose book is it?", "who"),
            ("Name a colour.", "another word"),
        ];
        for (question, word) in asked {
            assert_eq!(question_word(question), word);
        }
        let answered = [
            (Some("in 1999"), "a number or a date"),
            (Some("Ada Lovelace of London"), "a name"),
            (Some("red"), "a few words"),
            (Some("because it was far too cold"), "more than five words"),
            (None, "has no answer"),
        ];
        for (answer, kind) in answered {
            assert_eq!(answer_kind(answer), kind);
        }
    }

    #[test]
    fn a_column_of_values_has_a_slice_for_each_and_one_of_many_numbers_five() {
        let found = of_column("source", &["web", "book", "", "web"]);
        let wanted: &[(&str, &[u32])] = &[("book", &[1]), ("nothing", &[2]), ("web", &[0, 3])];
        assert_eq!(of(&found, "column source"), wanted);
        let years: Vec<String> = (0..20).map(|n| (1990 + n % 15).to_string()).collect();
        let mut years: Vec<&str> = years.iter().map(String::as_str).collect();
        years.push(" ");
        let found = of_column("year", &years);
        let wanted: &[(&str, &[u32])] = &[
            ("1990 to 1991", &[0, 1, 15, 16]),
            ("1992 to 1993", &[2, 3, 17, 18]),
            ("1994 to 1996", &[4, 5, 6, 19]),
            ("1997 to 2000", &[7, 8, 9, 10]),
            ("2001 to 2004", &[11, 12, 13, 14]),
            ("nothing", &[20]),
        ];
        assert_eq!(of(&found, "column year"), wanted);
        years.push("long ago");
        assert_eq!(of(&of_column("year", &years), "column year").len(), 17);
    }

    proptest! {
        #[test]
        fn every_row_of_a_column_is_in_one_slice(values in prop::collection::vec("[0-9a. ]{0,3}", 0..80)) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let slices = of_column("x", &values);
            let mut rows: Vec<u32> = slices.iter().flat_map(|slice| slice.rows.clone()).collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..values.len() as u32).collect::<Vec<_>>());
        }

        #[test]
        fn every_row_has_one_length(texts in prop::collection::vec("[a ]{0,12}", 0..60)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let slices = lengths(&texts);
            let mut rows: Vec<u32> = slices.iter().flat_map(|slice| slice.rows.clone()).collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..texts.len() as u32).collect::<Vec<_>>());
            prop_assert!(slices.len() <= 5 && slices.iter().all(|slice| !slice.rows.is_empty()));
        }
    }
}
