//! Shares of what is drawn, with bounds of five standard deviations; and what is never drawn.

use super::*;
use crate::text::Tokenizer;

struct Texts(Vec<Vec<u32>>);

impl Rows for Texts {
    fn rows(&self) -> usize {
        self.0.len()
    }
    fn ids(&self, row: usize) -> &[u32] {
        &self.0[row]
    }
    fn type_ids(&self, _row: usize) -> &[u8] {
        &[]
    }
    fn label(&self, _row: usize) -> Option<u32> {
        None
    }
    fn id(&self, row: usize) -> u64 {
        row as u64
    }
}

const SPECIAL: [u32; 5] = [0, 1, 2, 3, 4];
const PIECES: u32 = 60;

/// Pieces from 5 on are `w5`, those from 30 on go on with a word.
fn pieces() -> Pieces {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let special = special.into_iter().map(str::to_owned);
    let words = (5..30).map(|id| format!("w{id}"));
    let within = (30..PIECES).map(|id| format!("##w{id}"));
    let all: Vec<String> = special.chain(words).chain(within).collect();
    Tokenizer::from_vocabulary(&all, true)
        .unwrap()
        .pieces()
        .unwrap()
}

/// Each row begins with `[CLS]`, ends with `[SEP]` and padding, and has an `[UNK]` in its middle. Every other piece begins a
/// word of two or three.
fn texts(rows: usize) -> Texts {
    let row = |row: usize| {
        let mut ids = vec![2];
        for place in 0..60_u32 {
            let word = 5 + (row as u32 * 7 + place * 11) % 25;
            ids.extend([word, 30 + (row as u32 + place) % 30]);
            if place % 2 == 0 {
                ids.push(30 + place % 30);
            }
            if place == 30 {
                ids.push(1);
            }
        }
        ids.extend([3, 0, 0]);
        ids
    };
    Texts((0..rows).map(row).collect())
}

/// Whether a share of `of` is what chance gives, to five standard deviations.
#[track_caller]
fn assert_share(found: usize, of: usize, wanted: f64) {
    let deviation = (wanted * (1.0 - wanted) / of as f64).sqrt();
    let share = found as f64 / of as f64;
    assert!(
        (share - wanted).abs() < 5.0 * deviation,
        "{share} of {of}, wanted {wanted}"
    );
}

fn drawn(settings: MaskingSettings, rows: usize, seed: u64, epoch: u64) -> Vec<MaskedTokens> {
    let (texts, pieces) = (texts(rows), pieces());
    let masked = MaskedRows::new(&texts, &pieces, settings, seed);
    (0..rows)
        .map(|row| masked.masked(row, epoch).unwrap())
        .collect()
}

#[test]
fn fifteen_of_a_hundred_are_chosen_and_of_these_eighty_are_masked_ten_replaced_and_ten_kept() {
    let rows = 2000;
    let (texts, found) = (texts(rows), drawn(MaskingSettings::default(), rows, 3, 1));
    let text = texts.0.iter().flatten();
    let all = text.filter(|id| !SPECIAL.contains(id)).count();
    let chosen: usize = found.iter().map(|masked| masked.places.len()).sum();
    assert_share(chosen, all, 0.15);
    let (mut masks, mut kept, mut others) = (0, 0, [0; PIECES as usize]);
    for masked in &found {
        for (&place, &wanted) in masked.places.iter().zip(&masked.wanted) {
            match masked.ids[place] {
                4 => masks += 1,
                id if id == wanted => kept += 1,
                id => others[id as usize] += 1,
            }
        }
    }
    let replaced: usize = others.iter().sum();
    // A random piece is by chance the one that stood there.
    let same = 1.0 / 55.0;
    assert_share(masks, chosen, 0.8);
    assert_share(replaced, chosen, 0.1 * (1.0 - same));
    assert_share(kept, chosen, 0.1 + 0.1 * same);
    assert!(
        SPECIAL.iter().all(|&id| others[id as usize] == 0),
        "{others:?}"
    );
    assert!(others[5..].iter().all(|&count| count > 0), "{others:?}");
}

#[test]
fn nothing_but_what_is_to_be_predicted_changes_and_no_special_token_is() {
    let settings = MaskingSettings {
        rate: 0.5,
        ..MaskingSettings::default()
    };
    let texts = texts(200);
    for (masked, own) in drawn(settings, 200, 1, 1).iter().zip(&texts.0) {
        assert_eq!(masked.ids.len(), own.len());
        assert!(masked.places.is_sorted() && masked.places.len() == masked.wanted.len());
        for (place, (&now, &before)) in masked.ids.iter().zip(own).enumerate() {
            match masked.places.binary_search(&place) {
                Ok(number) => {
                    assert_eq!(masked.wanted[number], before);
                    assert!(!SPECIAL.contains(&before));
                }
                Err(_) => assert_eq!(now, before),
            }
        }
    }
}

#[test]
fn whole_words_are_chosen_whole_and_as_often() {
    let settings = MaskingSettings {
        whole_words: true,
        ..MaskingSettings::default()
    };
    let rows = 2000;
    let (texts, pieces) = (texts(rows), pieces());
    let (mut words, mut chosen) = (0, 0);
    for (masked, own) in drawn(settings, rows, 3, 1).iter().zip(&texts.0) {
        let is_chosen = |place: usize| masked.places.binary_search(&place).is_ok();
        for (place, &id) in own
            .iter()
            .enumerate()
            .filter(|(_, id)| !SPECIAL.contains(id))
        {
            let goes_on = pieces.is_within(id) && !SPECIAL.contains(&own[place - 1]);
            match goes_on {
                true => assert_eq!(is_chosen(place), is_chosen(place - 1)),
                false => {
                    words += 1;
                    chosen += usize::from(is_chosen(place));
                }
            }
        }
    }
    assert_share(chosen, words, 0.15);
}

#[test]
fn another_epoch_row_or_seed_draws_other_masks_and_the_same_draws_the_same() {
    let of = |seed, epoch| drawn(MaskingSettings::default(), 20, seed, epoch);
    let one = of(1, 1);
    assert_eq!(one, of(1, 1));
    for other in [of(1, 2), of(2, 1), of(1, 0)] {
        let places = |all: &[MaskedTokens]| -> Vec<Vec<usize>> {
            all.iter().map(|masked| masked.places.clone()).collect()
        };
        assert_ne!(places(&one), places(&other));
    }
    assert_ne!(one[0].places, one[1].places);
}

#[test]
fn all_can_be_masked_and_none_replaced() {
    let settings = MaskingSettings {
        mask: 1.0,
        random: 0.0,
        ..MaskingSettings::default()
    };
    for masked in drawn(settings, 50, 1, 1) {
        assert!(masked.places.iter().all(|&place| masked.ids[place] == 4));
    }
}
