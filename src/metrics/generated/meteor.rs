//! METEOR: words matched one by one, by themselves, by their stems and by their synonyms, and how scattered the matches are.
//!
//! Lavie and Agarwal, *METEOR: An Automatic Metric for MT Evaluation with High Levels of Correlation with Human Judgments*
//! (WMT 2007), as NLTK's `meteor_score` computes it with its defaults: recall counts nine times as much as precision, and
//! the penalty is half the cube of the chunks' share. From 0 to 1; of many rows the mean.
//!
//! NLTK is given words; which ones is for its user to say. Here they are those of `13a`, in small letters.
//!
//! Deliberately absent: paraphrases and function words, which METEOR 1.5 has and NLTK has not; several references.

use std::collections::HashMap;

use super::porter::stem;
use super::segment::Segmentation;

const ALPHA: f64 = 0.9;
const BETA: i32 = 3;
const GAMMA: f64 = 0.5;

/// The words that mean the same as one in small letters, in one of its senses.
pub type Synonyms<'a> = dyn Fn(&str) -> Vec<String> + Sync + 'a;

/// A word at its place.
type Placed = (usize, String);

/// Scores a text against its reference.
pub(super) fn meteor(prediction: &str, reference: &str, synonyms: &Synonyms) -> f64 {
    let words = |text: &str| -> Vec<Placed> {
        let words = Segmentation::V13a.words(text).into_iter();
        words.map(|word| word.to_lowercase()).enumerate().collect()
    };
    let (mut ours, mut theirs) = (words(prediction), words(reference));
    let (predicted, there) = (ours.len() as f64, theirs.len() as f64);
    let mut matches = matched(&mut ours, &mut theirs, |word| vec![word.to_owned()]);
    // What is left over goes on as stems, to the synonyms too: NLTK does so.
    for (_, word) in ours.iter_mut().chain(&mut theirs) {
        *word = stem(word);
    }
    matches.extend(matched(&mut ours, &mut theirs, |word| {
        vec![word.to_owned()]
    }));
    matches.extend(matched(&mut ours, &mut theirs, |word| {
        let mut all = synonyms(word);
        all.push(word.to_owned());
        all
    }));
    if matches.is_empty() {
        return 0.0;
    }
    matches.sort_unstable();
    let apart = matches.windows(2).filter(|pair| {
        let [(a, b), (c, d)] = [pair[0], pair[1]];
        (c, d) != (a + 1, b + 1)
    });
    let (chunks, count) = ((apart.count() + 1) as f64, matches.len() as f64);
    let (precision, recall) = (count / predicted, count / there);
    let mean = precision * recall / (ALPHA * precision + (1.0 - ALPHA) * recall);
    (1.0 - GAMMA * (chunks / count).powi(BETA)) * mean
}

/// Takes from both sides the words that fit each other, from the last on: each of ours with the last of theirs that is one
/// of `readings` of it. Their places, ours first.
fn matched(
    ours: &mut Vec<Placed>,
    theirs: &mut Vec<Placed>,
    readings: impl Fn(&str) -> Vec<String>,
) -> Vec<(usize, usize)> {
    let mut at = HashMap::<String, Vec<usize>>::new();
    for (number, (_, word)) in theirs.iter().enumerate() {
        at.entry(word.clone()).or_default().push(number);
    }
    let mut pairs = Vec::new();
    for (number, (_, word)) in ours.iter().enumerate().rev() {
        let readings = readings(word).into_iter();
        let last = readings.filter_map(|word| Some((*at.get(&word)?.last()?, word)));
        if let Some((taken, word)) = last.max()
            && let Some(left) = at.get_mut(&word)
        {
            left.pop();
            pairs.push((number, taken));
        }
    }
    let places = pairs
        .iter()
        .map(|&(a, b)| (ours[a].0, theirs[b].0))
        .collect();
    for (list, of) in [(&mut *ours, 0), (theirs, 1)] {
        let mut gone = vec![false; list.len()];
        for pair in &pairs {
            gone[if of == 0 { pair.0 } else { pair.1 }] = true;
        }
        let mut gone = gone.into_iter();
        list.retain(|_| !gone.next().unwrap_or(false));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::tests::{close, fixture};
    use super::*;

    #[test]
    fn every_number_is_nltks() {
        let cases = fixture().cases;
        assert!(cases.len() >= 100);
        for case in &cases {
            let ours = meteor(&case.prediction, &case.reference, &|_| Vec::new());
            let theirs = case.meteor_without_synonyms;
            close(ours, theirs, 1e-9, &format!("{case:?}"));
        }
    }

    #[test]
    fn a_synonym_is_matched_where_no_stem_is() {
        let synonyms = |word: &str| match word {
            "car" => vec!["automobil".to_owned()],
            _ => Vec::new(),
        };
        let with = meteor("a big car", "a big automobile", &synonyms);
        let without = meteor("a big car", "a big automobile", &|_| Vec::new());
        close(with, 1.0 - 0.5 / 27.0, 1e-12, "with");
        assert!(without < 0.7, "{without}");
    }
}
