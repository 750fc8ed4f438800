//! Operations on the words of a text.
//!
//! Each draws for each unit in turn, whatever became of those before, so that equal generators and equal texts give equal
//! copies. The rates are those of EDA (Wei and Zou 2019, <https://aclanthology.org/D19-1670>) taken for each word by itself;
//! the shuffle is the local one of Lample et al. (2018, <https://arxiv.org/abs/1711.00043>, section 2.3).
//!
//! Deliberately absent: where synonyms come from.

use std::borrow::Cow;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::passage::{Unit, Word};

/// Leaves out each unit with probability `rate`; of a text that would be empty one stays.
pub(super) fn delete(units: &mut Vec<Unit>, rate: f64, generator: &mut ChaCha8Rng) {
    let Some(spare) = (!units.is_empty()).then(|| generator.random_range(0..units.len())) else {
        return;
    };
    let kept: Vec<bool> = units
        .iter()
        .map(|unit| generator.random::<f64>() >= rate || unit.stays)
        .collect();
    let none = !kept.contains(&true);
    let mut place = 0;
    units.retain(|_| {
        let stays = kept.get(place).copied().unwrap_or(true) || (none && place == spare);
        place += 1;
        stays
    });
}

/// Lets each unit trade places with another one with probability `rate`.
pub(super) fn swap(units: &mut [Unit], rate: f64, generator: &mut ChaCha8Rng) {
    for place in 0..units.len() {
        if units.len() > 1 && generator.random::<f64>() < rate {
            let other = generator.random_range(0..units.len() - 1);
            units.swap(place, if other < place { other } else { other + 1 });
        }
    }
}

/// Sorts by place + noise from 0 to window + 1: of two units more than `window` apart the earlier one stays the earlier.
pub(super) fn shuffle(units: &mut Vec<Unit>, window: u32, generator: &mut ChaCha8Rng) {
    let reach = f64::from(window) + 1.0;
    let mut placed: Vec<(f64, Unit)> = std::mem::take(units)
        .into_iter()
        .enumerate()
        .map(|(n, unit)| (n as f64 + generator.random::<f64>() * reach, unit))
        .collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    units.extend(placed.into_iter().map(|(_, unit)| unit));
}

/// What may stand for the word at a place of a text.
pub(super) type Find<'f> = &'f dyn Fn(&[&str], usize) -> Vec<String>;

/// Replaces each word with probability `rate` by one of its synonyms. Those are found in the text as it was before.
pub(super) fn replace(units: &mut [Unit], rate: f64, find: Find, generator: &mut ChaCha8Rng) {
    for Drawn {
        place,
        tag,
        synonym,
    } in draw_synonyms(units, rate, find, generator)
    {
        if let Some(unit) = units.get_mut(place) {
            unit.words = spelt(&synonym, tag);
        }
    }
}

/// Inserts, with probability `rate` for each word, one of its synonyms at a random place.
pub(super) fn insert(units: &mut Vec<Unit>, rate: f64, find: Find, generator: &mut ChaCha8Rng) {
    for Drawn { tag, synonym, .. } in draw_synonyms(units, rate, find, generator) {
        let at = generator.random_range(0..=units.len());
        let mut unit = Unit::word(Cow::Borrowed(""), tag);
        unit.words = spelt(&synonym, tag);
        units.insert(at, unit);
    }
}

/// A unit that was drawn, its tag, and one of its synonyms.
struct Drawn {
    place: usize,
    tag: Option<u32>,
    synonym: String,
}

fn draw_synonyms(units: &[Unit], rate: f64, find: Find, generator: &mut ChaCha8Rng) -> Vec<Drawn> {
    let words: Vec<&str> = units
        .iter()
        .flat_map(|unit| &unit.words)
        .map(|word| word.text.as_ref())
        .collect();
    let (mut drawn, mut at) = (Vec::new(), 0);
    for (place, unit) in units.iter().enumerate() {
        let (chance, choice) = (generator.random::<f64>(), generator.random::<f64>());
        if chance < rate && !unit.stays {
            let mut synonyms = find(&words, at);
            if !synonyms.is_empty() {
                let chosen = (choice * synonyms.len() as f64) as usize;
                drawn.push(Drawn {
                    place,
                    tag: unit.words.first().and_then(|word| word.tag),
                    synonym: synonyms.swap_remove(chosen.min(synonyms.len() - 1)),
                });
            }
        }
        at += unit.words.len();
    }
    drawn
}

/// A synonym may be several words; all have the tag of the one that they stand for.
fn spelt(synonym: &str, tag: Option<u32>) -> Vec<Word<'static>> {
    let word = |text: &str| Word {
        text: Cow::Owned(text.to_owned()),
        tag,
    };
    match tag {
        Some(_) => synonym.split_whitespace().map(word).collect(),
        None => vec![word(synonym)],
    }
}
