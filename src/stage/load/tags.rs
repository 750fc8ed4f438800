//! Tags that cannot stand where they stand.
//!
//! A chunk of words is marked by prefixes, in one of the ways of [`Scheme`]. What the scheme of the training sentences does
//! not explain is an error, because a model would learn it and scores would count it.
//!
//! Deliberately absent: tags of another kind (parts of speech, say), which may follow each other as they like.

use std::collections::BTreeMap;

use crate::metrics::Scheme;
use crate::table::TableError;
use crate::table::labels::Labels;
use crate::table::read::Raw;

/// The number of the first tag of a sentence that cannot stand there, and what is wrong with it.
fn misplaced(scheme: Scheme, tags: &[&str]) -> Option<(usize, String)> {
    let mut before = None;
    for (number, &tag) in tags.iter().enumerate() {
        if !scheme.allows(before, Some(tag)) {
            let found = match before {
                Some(before) => format!("`{tag}` after `{before}`"),
                None => format!("`{tag}` at the beginning of a sentence"),
            };
            return Some((number, found));
        }
        before = Some(tag);
    }
    let last = before.filter(|_| !scheme.allows(before, None))?;
    Some((tags.len() - 1, format!("`{last}` at the end of a sentence")))
}

/// Sentences whose tags the scheme does not allow: an error for the first, or with `skip` they are left out.
///
/// # Errors
/// The first tag that cannot stand where it stands, those of train first. Says whether sentences were left out.
pub(super) fn check(
    splits: &mut BTreeMap<String, Vec<Raw>>,
    labels: Option<&Labels>,
    scheme: Scheme,
    skip: bool,
) -> Result<bool, TableError> {
    let mut left_out = false;
    let other = other_reading(splits.get("train"), labels, scheme);
    let mut splits = splits.iter_mut().collect::<Vec<_>>();
    splits.sort_by_key(|(split, _)| *split != "train");
    for raw in splits.into_iter().flat_map(|(_, raws)| raws) {
        let error = |(row, item, found): (usize, usize, String)| {
            let found = match raw.has_word_lines() {
                true => found,
                false => format!("{found} (tag {})", item + 1),
            };
            let error = TableError::ImpossibleTag {
                place: raw.place_of(row, item),
                found,
                scheme: scheme.to_string(),
                help: format!("{}{other}", meaning(scheme)),
            };
            (row, error)
        };
        let broken = all_misplaced(raw, labels, scheme).map(error);
        let broken = broken.collect::<Vec<_>>();
        if skip && !broken.is_empty() {
            left_out = true;
            raw.leave_out(broken)?;
        } else if let Some((_, error)) = broken.into_iter().next() {
            return Err(error);
        }
    }
    Ok(left_out)
}

/// Row and number of the first misplaced tag of each sentence that has one.
fn all_misplaced<'r>(
    raw: &'r Raw,
    labels: Option<&'r Labels>,
    scheme: Scheme,
) -> impl Iterator<Item = (usize, usize, String)> + use<'r> {
    let sentences = names(raw, labels).enumerate();
    sentences.filter_map(move |(row, tags)| {
        let (item, found) = misplaced(scheme, &tags)?;
        Some((row, item, found))
    })
}

/// The tags of each sentence by their names, which are numbers in some files.
pub(super) fn names<'r>(
    raw: &'r Raw,
    labels: Option<&'r Labels>,
) -> impl Iterator<Item = Vec<&'r str>> + use<'r> {
    let name = move |tag| labels.and_then(|labels| labels.name(tag)).unwrap_or(tag);
    let sentences = raw.tags().into_iter().flatten();
    sentences.map(move |tags| tags.into_iter().map(name).collect())
}

fn meaning(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Bio => {
            "in BIO a chunk begins with `B-`, and `I-` goes on with a chunk of its type: correct the tag, or leave such sentences out with `skip_invalid = true`"
        }
        Scheme::Iob1 => {
            "in IOB1 a chunk begins with `I-`, and with `B-` only right after a chunk of its type: correct the tag, or leave such sentences out with `skip_invalid = true`"
        }
        Scheme::Bioes => {
            "in BIOES a chunk is `S-`, or goes from `B-` by `I-` to `E-`: correct the tag, or leave such sentences out with `skip_invalid = true`"
        }
    }
}

/// What speaks against the scheme that is nearest after this one.
fn other_reading(train: Option<&Vec<Raw>>, labels: Option<&Labels>, scheme: Scheme) -> String {
    let other = match scheme {
        Scheme::Bio => Scheme::Iob1,
        Scheme::Iob1 => Scheme::Bio,
        Scheme::Bioes => return String::new(),
    };
    let first = train.into_iter().flatten().find_map(|raw| {
        let (row, item, found) = all_misplaced(raw, labels, other).next()?;
        Some((raw.place_of(row, item), found))
    });
    match first {
        Some((place, found)) => {
            format!("; nor is it {other}, in which {found} is impossible ({place})")
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(scheme: Scheme, tags: &str) -> Option<(usize, String)> {
        misplaced(scheme, &tags.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn an_impossible_tag_is_found() {
        let at = |number, found: &str| Some((number, found.to_owned()));
        assert_eq!(
            wrong(Scheme::Bio, "B-X I-X O I-X"),
            at(3, "`I-X` after `O`")
        );
        assert_eq!(wrong(Scheme::Bio, "B-X I-Y"), at(1, "`I-Y` after `B-X`"));
        assert_eq!(
            wrong(Scheme::Bio, "I-X"),
            at(0, "`I-X` at the beginning of a sentence")
        );
        assert_eq!(wrong(Scheme::Iob1, "I-X B-X I-X I-Y"), None);
        assert_eq!(wrong(Scheme::Iob1, "I-X B-Y"), at(1, "`B-Y` after `I-X`"));
        assert_eq!(wrong(Scheme::Bioes, "S-X B-X I-X E-X O"), None);
        assert_eq!(wrong(Scheme::Bioes, "B-X O"), at(1, "`O` after `B-X`"));
        assert_eq!(wrong(Scheme::Bioes, "S-X E-X"), at(1, "`E-X` after `S-X`"));
        assert_eq!(
            wrong(Scheme::Bioes, "O B-X"),
            at(1, "`B-X` at the end of a sentence")
        );
    }
}
