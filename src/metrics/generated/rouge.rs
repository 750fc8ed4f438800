//! ROUGE: how much of the reference's words, pairs of words and order of words a text has.
//!
//! Lin, *ROUGE: A Package for Automatic Evaluation of Summaries* (2004), as Google's `rouge-score` computes it: words are
//! runs of `a` to `z` and digits, without capitals. ROUGE-Lsum takes lines for sentences. Fractions from 0 to 1; of many rows
//! the mean.
//!
//! Deliberately absent: several references, a split into sentences (write one a line), words of other scripts: by these rules
//! such texts have none, and score 0.

use std::collections::HashMap;

use super::porter::stem;

/// Precision, recall and F1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rouge {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

impl Rouge {
    fn of(hits: usize, predicted: usize, there: usize) -> Rouge {
        let share = |of: usize| hits as f64 / of.max(1) as f64;
        let (precision, recall) = (share(predicted), share(there));
        let f1 = match precision + recall > 0.0 {
            true => 2.0 * precision * recall / (precision + recall),
            false => 0.0,
        };
        Rouge {
            precision,
            recall,
            f1,
        }
    }
}

/// A row by the four kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rouges {
    /// Single words.
    pub one: Rouge,
    /// Pairs of neighbouring words.
    pub two: Rouge,
    /// The longest common subsequence.
    pub longest: Rouge,
    /// The same of each line of the reference with all lines of the text.
    pub summary: Rouge,
}

/// Scores a text against its reference. `stemmed` compares words of more than three letters by their stems.
pub(super) fn rouge(prediction: &str, reference: &str, stemmed: bool) -> Rouges {
    let (ours, theirs) = (words(prediction, stemmed), words(reference, stemmed));
    let lines = |text: &str| -> Vec<Vec<String>> {
        let lines = text.split('\n').filter(|line| !line.is_empty());
        lines.map(|line| words(line, stemmed)).collect()
    };
    Rouges {
        one: grams(&ours, &theirs, 1),
        two: grams(&ours, &theirs, 2),
        longest: Rouge::of(
            Common::of(&theirs, &ours).length(),
            ours.len(),
            theirs.len(),
        ),
        summary: summary(&lines(prediction), &lines(reference)),
    }
}

fn words(text: &str, stemmed: bool) -> Vec<String> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    words
        .filter(|word| !word.is_empty())
        .map(|word| match stemmed && word.len() > 3 {
            true => stem(word),
            false => word.to_owned(),
        })
        .collect()
}

fn grams(ours: &[String], theirs: &[String], order: usize) -> Rouge {
    let mut there = HashMap::<&[String], usize>::new();
    for gram in theirs.windows(order) {
        *there.entry(gram).or_default() += 1;
    }
    let mut hits = 0;
    for gram in ours.windows(order) {
        if let Some(left) = there.get_mut(gram).filter(|left| **left > 0) {
            *left -= 1;
            hits += 1;
        }
    }
    let count = |list: &[String]| (list.len() + 1).saturating_sub(order);
    Rouge::of(hits, count(ours), count(theirs))
}

/// The lengths of the longest common subsequences of all beginnings of two lists, of which the last is that of the whole.
struct Common<'a> {
    theirs: &'a [String],
    ours: &'a [String],
    /// `[theirs + 1, ours + 1]`, row by row.
    lengths: Vec<u32>,
}

impl<'a> Common<'a> {
    fn of(theirs: &'a [String], ours: &'a [String]) -> Common<'a> {
        let width = ours.len() + 1;
        let mut lengths = vec![0; width * (theirs.len() + 1)];
        for (i, word) in theirs.iter().enumerate() {
            for (j, other) in ours.iter().enumerate() {
                let (above, left) = (i * width + j + 1, (i + 1) * width + j);
                lengths[left + 1] = match word == other {
                    true => lengths[above - 1] + 1,
                    false => lengths[above].max(lengths[left]),
                };
            }
        }
        Common {
            theirs,
            ours,
            lengths,
        }
    }

    fn length(&self) -> usize {
        self.lengths.last().map_or(0, |&length| length as usize)
    }

    /// Marks the words of theirs that are in one of the longest. Of several it is the one that `rouge-score` takes, since the
    /// union with those of other lines depends on it.
    fn mark(&self, marked: &mut [bool]) {
        let width = self.ours.len() + 1;
        let (mut i, mut j) = (self.theirs.len(), self.ours.len());
        while i > 0 && j > 0 {
            if self.theirs[i - 1] == self.ours[j - 1] {
                (i, j) = (i - 1, j - 1);
                marked[i] = true;
            } else if self.lengths[i * width + j - 1] > self.lengths[(i - 1) * width + j] {
                j -= 1;
            } else {
                i -= 1;
            }
        }
    }
}

/// ROUGE-Lsum: section 3.2 of the paper, no word counted more often than each side has it.
fn summary(ours: &[Vec<String>], theirs: &[Vec<String>]) -> Rouge {
    fn counted(lines: &[Vec<String>]) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        for word in lines.iter().flatten() {
            *counts.entry(word.as_str()).or_default() += 1;
        }
        counts
    }
    let (mut of_ours, mut of_theirs) = (counted(ours), counted(theirs));
    let mut hits = 0;
    for line in theirs {
        let mut marked = vec![false; line.len()];
        for other in ours {
            Common::of(line, other).mark(&mut marked);
        }
        for (word, _) in line.iter().zip(&marked).filter(|(_, marked)| **marked) {
            let word = word.as_str();
            let left = (of_ours.get_mut(word), of_theirs.get_mut(word));
            if let (Some(ours @ 1..), Some(theirs @ 1..)) = left {
                (*ours, *theirs) = (*ours - 1, *theirs - 1);
                hits += 1;
            }
        }
    }
    let count = |lines: &[Vec<String>]| lines.iter().map(Vec::len).sum();
    Rouge::of(hits, count(ours), count(theirs))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{close, fixture};
    use super::*;

    #[test]
    fn every_number_is_rouge_scores() {
        let cases = fixture().cases;
        assert!(cases.len() >= 100);
        for case in &cases {
            for (stemmed, theirs) in [(false, &case.rouge), (true, &case.rouge_stemmed)] {
                let ours = rouge(&case.prediction, &case.reference, stemmed);
                let pairs = [
                    ("rouge1", ours.one),
                    ("rouge2", ours.two),
                    ("rougeL", ours.longest),
                    ("rougeLsum", ours.summary),
                ];
                assert_eq!(theirs.len(), pairs.len());
                for (name, ours) in pairs {
                    let about = format!("{name}, stemmed: {stemmed}, of {case:?}");
                    let numbers = [ours.precision, ours.recall, ours.f1];
                    for (ours, theirs) in numbers.into_iter().zip(theirs[name]) {
                        close(ours, theirs, 1e-9, &about);
                    }
                }
            }
        }
    }
}
