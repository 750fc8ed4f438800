//! Near-duplicate texts: which texts say almost the same, letter for letter.
//!
//! Two texts are compared by the sets of character 5-grams of their [`normalised`] forms, with a space at either end; their
//! similarity is the Jaccard index of the sets, shared ÷ all. A text of fewer than five characters is one gram, so short
//! texts are alike only when they are the same. Characters rather than words, because in a message of six words one changed
//! word would otherwise change half of the set.
//!
//! Pairs are found by MinHash (Broder 1997) with banding (Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, "Mining
//! of Massive Datasets", section 3.4), and every pair so found is compared exactly. Promise: a similarity that is reported
//! is exact (up to collisions of 64-bit hashes), and a pair whose similarity is at or above the threshold is missed with a
//! probability of at most [`MISSED`], far less when it is above; texts that are the same when normalised are never missed.
//! The hashes are seeded by constants: equal texts give equal answers, whatever the number of threads.
//!
//! Deliberately absent: meaning. A paraphrase is not a near duplicate.

use std::collections::HashMap;

use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization;

/// How probable it may be, at most, that a pair exactly at the threshold is missed.
pub const MISSED: f64 = 0.001;
/// The lowest threshold that is searched for; a lower one is taken as this. Unrelated English texts reach 0.05 to 0.1.
pub const LOWEST: f64 = 0.1;
/// Characters in a gram.
const GRAM: usize = 5;
/// About so many hash functions are worth their time: more make longer bands, and so fewer pairs to compare in vain.
const HASHES: usize = 160;

/// A text as it is compared: NFKC, lower case, without apostrophes and invisible characters, every other run of white space
/// and punctuation one space. Digits, letters with their accents, and symbols such as `€` or `😀` stay.
///
/// A text of nothing but punctuation, such as `:-)`, keeps it.
pub fn normalised(text: &str) -> String {
    let words = folded(text, is_punctuation);
    match words.is_empty() {
        true => folded(text, |_| false),
        false => words,
    }
}

fn folded(text: &str, gap: impl Fn(char) -> bool) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut space = false;
    let mut push = |c: char| {
        if c.is_whitespace() || gap(c) {
            space = true;
        } else {
            if space && !folded.is_empty() {
                folded.push(' ');
            }
            space = false;
            folded.push(c);
        }
    };
    if text.is_ascii() {
        let kept = text.chars().filter(|&c| !gap(c) || c != '\'');
        kept.filter(|c| !c.is_control() || c.is_whitespace())
            .for_each(|c| push(c.to_ascii_lowercase()));
    } else {
        // Twice, because lower case and what was invisible may leave characters that are not composed.
        let lower = text.nfkc().flat_map(char::to_lowercase);
        let kept = lower.filter(|&c| !is_invisible(c)).nfkc();
        let kept = kept.filter(|&c| !(is_invisible(c) || gap(c) && is_apostrophe(c)));
        kept.for_each(push);
    }
    folded
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{02BC}')
}

/// What no reader sees, and what does not part words.
fn is_invisible(c: char) -> bool {
    (c.is_control() && !c.is_whitespace())
        || matches!(c, '\u{00AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{202A}'..='\u{202E}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
}

fn is_punctuation(c: char) -> bool {
    let ascii = c.is_ascii_punctuation() && !matches!(c, '$' | '+' | '<' | '=' | '>' | '%');
    ascii
        || matches!(
            c,
            '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '´' | '¨' | '\u{02BC}'
        )
        || matches!(c, '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205E}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301F}' | '\u{30FB}')
        || matches!(
            c,
            '\u{055A}'
                ..='\u{055F}'
                    | '\u{0589}'
                    | '\u{05BE}'
                    | '\u{060C}'
                    | '\u{061B}'
                    | '\u{061F}'
                    | '\u{06D4}'
                    | '\u{0964}'
                    | '\u{0965}'
        )
}

/// How alike two texts are: 0 = no 5-gram shared, 1 = the same when normalised (or the same grams in another order). A text
/// of nothing is like no other.
pub fn similarity(a: &str, b: &str) -> f64 {
    jaccard(&grams(&normalised(a)), &grams(&normalised(b)))
}

/// For each text the earliest text before it whose [`similarity`] is at least `threshold`, if any: its place and the
/// similarity.
///
/// Up to 2^32 texts. Time grows with the length of the texts, and with the number of pairs that are alike or share much: of
/// texts from one template, alike by half, very many pairs are compared in vain below a threshold of about 0.9.
pub fn near_duplicates(texts: &[&str], threshold: f64) -> Vec<Option<(usize, f64)>> {
    let forms = Forms::of(texts);
    let found = earliest(&forms.text, threshold, |form| form);
    let first = |form: usize| forms.first.get(form).copied();
    let rows = forms.of_row.iter().enumerate().map(|(row, &form)| {
        let form = form?;
        match found.get(form).copied().flatten() {
            Some((earlier, alike)) => Some((first(earlier)?, alike)),
            None => first(form)
                .filter(|&first| first < row)
                .map(|first| (first, 1.0)),
        }
    });
    rows.collect()
}

/// For each text of `test` the earliest text of `train` whose [`similarity`] is at least `threshold`, if any.
pub fn between(train: &[&str], test: &[&str], threshold: f64) -> Vec<Option<(usize, f64)>> {
    let both: Vec<&str> = train.iter().chain(test).copied().collect();
    let forms = Forms::of(&both);
    let trained = forms.first.partition_point(|&row| row < train.len());
    let mut asked = vec![false; forms.text.len()];
    for form in forms.of_row.iter().skip(train.len()).flatten() {
        if let Some(asked) = asked.get_mut(*form) {
            *asked = true;
        }
    }
    let below = |form: usize| match asked.get(form) {
        Some(true) => form.min(trained),
        _ => 0,
    };
    let found = earliest(&forms.text, threshold, below);
    let rows = forms.of_row.iter().skip(train.len()).map(|&form| {
        let form = form?;
        let (form, alike) = match found.get(form).copied().flatten() {
            Some(found) => found,
            None => (form, 1.0),
        };
        let first = forms.first.get(form).copied();
        first
            .filter(|&row| row < train.len())
            .map(|row| (row, alike))
    });
    rows.collect()
}

/// For each text of `test` the most similar text of `train`, if their [`similarity`] is at least `threshold`; of equals the
/// earliest.
///
/// None is missed: a text that is so similar shares one at least of any |A| − ⌈threshold · |A|⌉ + 1 grams of the text A, so only
/// those need be looked up (prefix filtering; Chaudhuri, Ganti and Kaushik 2006), here the ones that are rarest among the texts
/// asked for. Time grows with the length of `train`, and with how many texts of `test` share a gram.
pub fn nearest(train: &[&str], test: &[&str], threshold: f64) -> Vec<Option<(usize, f64)>> {
    let threshold = threshold.clamp(LOWEST, 1.0);
    let asked: Vec<Vec<u64>> = test
        .par_iter()
        .map(|text| grams(&normalised(text)))
        .collect();
    let mut frequent: HashMap<u64, u32> = HashMap::new();
    for &gram in asked.iter().flatten() {
        *frequent.entry(gram).or_default() += 1;
    }
    let mut index: HashMap<u64, Vec<u32>> = HashMap::new();
    for (text, grams) in (0..).zip(&asked) {
        let mut rarest = grams.clone();
        rarest.sort_by_key(|gram| (frequent.get(gram).copied(), *gram));
        let least = (threshold * grams.len() as f64 - 1e-9).ceil() as usize;
        for gram in rarest
            .into_iter()
            .take((grams.len() + 1).saturating_sub(least))
        {
            index.entry(gram).or_default().push(text);
        }
    }
    let of_row = |(row, text): (usize, &&str)| -> Vec<(u32, f64, usize)> {
        let mine = grams(&normalised(text));
        let shared = mine.iter().filter_map(|gram| index.get(gram));
        let mut candidates: Vec<u32> = shared.flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        let alike = |text: u32| {
            let alike = jaccard(&mine, asked.get(text as usize)?);
            (alike >= threshold).then_some((text, alike, row))
        };
        candidates.into_iter().filter_map(alike).collect()
    };
    // Only the best are kept: of texts from one template, pairs are many.
    let better = |best: &mut Option<(usize, f64)>, (row, alike): (usize, f64)| {
        if best.is_none_or(|(at, most)| alike > most || (alike == most && row < at)) {
            *best = Some((row, alike));
        }
    };
    let none = || -> Vec<Option<(usize, f64)>> { vec![None; test.len()] };
    let rows = train.par_iter().enumerate();
    let parts = rows.fold(none, |mut best, one| {
        for (text, alike, row) in of_row(one) {
            if let Some(best) = best.get_mut(text as usize) {
                better(best, (row, alike));
            }
        }
        best
    });
    parts.reduce(none, |mut best, part| {
        for (best, found) in best.iter_mut().zip(part) {
            if let Some(found) = found {
                better(best, found);
            }
        }
        best
    })
}

/// Texts that differ when normalised, in the order in which they first come. Copies by the thousand are common, and this
/// way they cost nothing.
struct Forms {
    text: Vec<String>,
    first: Vec<usize>,
    /// Nothing for a text of nothing.
    of_row: Vec<Option<usize>>,
}

impl Forms {
    fn of(texts: &[&str]) -> Forms {
        let normalised: Vec<String> = texts.par_iter().map(|text| normalised(text)).collect();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let (mut first, mut of_row) = (Vec::new(), Vec::new());
        for (row, text) in normalised.iter().enumerate() {
            if text.is_empty() {
                of_row.push(None);
                continue;
            }
            let form = *known.entry(text).or_insert(first.len());
            if form == first.len() {
                first.push(row);
            }
            of_row.push(Some(form));
        }
        let mut kept = first.iter().copied().peekable();
        let rows = normalised.into_iter().enumerate();
        let text = rows.filter_map(|(row, text)| (kept.next_if_eq(&row).is_some()).then_some(text));
        Forms {
            text: text.collect(),
            first,
            of_row,
        }
    }
}

/// How many bands of how many hashes each.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Banding {
    bands: usize,
    hashes: usize,
}

/// The longest bands that miss a pair at the threshold with a probability of at most [`MISSED`], within [`HASHES`].
fn banding(threshold: f64) -> Banding {
    let bands = |hashes: i32| {
        let shared = threshold.powi(hashes).clamp(f64::MIN_POSITIVE, 1.0 - 1e-12);
        (MISSED.ln() / (-shared).ln_1p()).ceil()
    };
    let fits = |&hashes: &i32| bands(hashes) * f64::from(hashes) <= HASHES as f64;
    let hashes = (1..=16).rev().find(fits).unwrap_or(1);
    Banding {
        bands: bands(hashes) as usize,
        hashes: hashes.unsigned_abs() as usize,
    }
}

/// For each text the earliest of those numbered below `below(text)` that is alike.
fn earliest(
    texts: &[String],
    threshold: f64,
    below: impl Fn(usize) -> usize + Sync,
) -> Vec<Option<(usize, f64)>> {
    let threshold = threshold.clamp(LOWEST, 1.0);
    let banding = banding(threshold);
    let seeds = seeds(banding.bands * banding.hashes);
    // Kept, at eight bytes a character: texts from one template are compared with many others.
    let signed: Vec<(Vec<u64>, Vec<u64>)> = texts
        .par_iter()
        .map(|text| {
            let grams = grams(text);
            (band_keys(&grams, &seeds, banding.hashes), grams)
        })
        .collect();
    let buckets: Vec<Buckets> = (0..banding.bands)
        .into_par_iter()
        .map(|band| Buckets::of(signed.iter().map(|(keys, _)| keys.get(band).copied())))
        .collect();
    let grams_of = |text: usize| signed.get(text).map_or(&[][..], |(_, grams)| grams);
    let search = |text: usize| {
        let below = below(text);
        // A bucket ascends as far as `text` itself, which stands in it; what is behind its end is never reached.
        let mut cursors: Vec<&[u32]> = buckets.iter().map(|band| band.from(text)).collect();
        let mine = grams_of(text);
        loop {
            cursors.retain(|left| left.first().is_some_and(|&next| (next as usize) < below));
            let firsts = cursors.iter().filter_map(|left| left.first());
            let next = firsts.min().copied()?;
            for left in &mut cursors {
                if let Some((_, rest)) = left.split_first().filter(|(first, _)| **first == next) {
                    *left = rest;
                }
            }
            let other = next as usize;
            let theirs = grams_of(other);
            let (small, large) = (mine.len().min(theirs.len()), mine.len().max(theirs.len()));
            // The smaller set cannot share more than all of itself.
            if (small as f64) < threshold * large as f64 {
                continue;
            }
            let alike = jaccard(mine, theirs);
            if alike >= threshold {
                return Some((other, alike));
            }
        }
    };
    (0..texts.len()).into_par_iter().map(search).collect()
}

/// The texts with the same key in one band, side by side and in ascending order.
struct Buckets {
    texts: Vec<u32>,
    /// Where in `texts` the bucket of a text begins.
    begins: Vec<u32>,
}

impl Buckets {
    fn of(keys: impl Iterator<Item = Option<u64>>) -> Buckets {
        let mut keyed: Vec<(u64, u32)> = (0..)
            .zip(keys)
            .filter_map(|(text, key)| Some((key?, text)))
            .collect();
        keyed.sort_unstable();
        let mut begins = vec![0; keyed.len()];
        let mut place: u32 = 0;
        for bucket in keyed.chunk_by(|a, b| a.0 == b.0) {
            for (_, text) in bucket {
                if let Some(begin) = begins.get_mut(*text as usize) {
                    *begin = place;
                }
            }
            place = place.saturating_add(u32::try_from(bucket.len()).unwrap_or(u32::MAX));
        }
        Buckets {
            texts: keyed.into_iter().map(|(_, text)| text).collect(),
            begins,
        }
    }

    /// The bucket of `text`, and what lies behind it.
    fn from(&self, text: usize) -> &[u32] {
        let begin = self
            .begins
            .get(text)
            .map_or(usize::MAX, |&begin| begin as usize);
        self.texts.get(begin..).unwrap_or_default()
    }
}

/// One key a band: equal when the smallest hashes of all functions of the band are.
fn band_keys(grams: &[u64], seeds: &[(u32, u32)], hashes: usize) -> Vec<u64> {
    let mut smallest = vec![u32::MAX; seeds.len()];
    for &gram in grams {
        let gram = (gram >> 32) as u32;
        for (smallest, (flip, factor)) in smallest.iter_mut().zip(seeds) {
            *smallest = (*smallest).min((gram ^ flip).wrapping_mul(*factor));
        }
    }
    let key = |band: &[u32]| {
        band.iter().fold(0, |key: u64, &hash| {
            mixed(key.rotate_left(5) ^ u64::from(hash))
        })
    };
    smallest.chunks(hashes).map(key).collect()
}

/// A flip of bits and an odd factor for each hash function: together a permutation of the 32-bit numbers.
fn seeds(number: usize) -> Vec<(u32, u32)> {
    let seed = |n: u64| mixed(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (1..)
        .take(number)
        .map(|n| ((seed(n) >> 32) as u32, seed(n) as u32 | 1))
        .collect()
}

/// The last steps of SplitMix64 (Steele, Lea and Flood 2014).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// The hashes of the 5-grams of a normalised text, ascending, each once.
fn grams(normalised: &str) -> Vec<u64> {
    if normalised.is_empty() {
        return Vec::new();
    }
    let padded = std::iter::once(' ').chain(normalised.chars()).chain([' ']);
    let characters: Vec<u64> = padded.map(|c| u64::from(u32::from(c))).collect();
    let hash = |gram: &[u64]| {
        gram.iter()
            .fold(0, |hash: u64, c| mixed(hash.rotate_left(21) ^ c))
    };
    let mut grams: Vec<u64> = match characters.len() < GRAM {
        true => vec![hash(&characters)],
        false => characters.windows(GRAM).map(hash).collect(),
    };
    grams.sort_unstable();
    grams.dedup();
    grams
}

/// Shared ÷ all, of two ascending sets.
fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut left, mut right) = (a, b);
    let mut shared = 0;
    while let (Some((x, after_x)), Some((y, after_y))) = (left.split_first(), right.split_first()) {
        shared += usize::from(x == y);
        left = if x <= y { after_x } else { left };
        right = if y <= x { after_y } else { right };
    }
    match a.len() + b.len() - shared {
        0 => 0.0,
        all => shared as f64 / all as f64,
    }
}

#[cfg(test)]
mod tests;
