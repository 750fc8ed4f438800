//! Typing mistakes: a neighbouring key, a missing letter, a doubled one.
//!
//! Only letters and digits are mistyped; a word keeps at least one character. Letters that a QWERTY keyboard lacks have no
//! neighbours there, so that they are only dropped or doubled.
//!
//! Deliberately absent: other keyboards, and misspellings by sound.

use std::borrow::Cow;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::passage::Unit;
use super::settings::CharacterNoise;

/// The rows of the keyboard, and by how many keys each is set in from the first, in halves.
const ROWS: [(&str, i32); 4] = [
    ("1234567890", 0),
    ("qwertyuiop", 1),
    ("asdfghjkl", 2),
    ("zxcvbnm", 3),
];

/// Mistypes each letter with probability `rate`.
pub(super) fn mistype(
    units: &mut [Unit],
    rate: f64,
    ways: &CharacterNoise,
    generator: &mut ChaCha8Rng,
) {
    for unit in units {
        for word in &mut unit.words {
            let mut noisy = String::with_capacity(word.text.len());
            let letters = word.text.chars().count();
            let mut dropped = 0;
            for letter in word.text.chars() {
                let (chance, way) = (generator.random::<f64>(), generator.random::<f64>());
                let may_drop = ways.drop && dropped + 1 < letters;
                let typed = match chance < rate && !unit.exact && letter.is_alphanumeric() {
                    true => mistake(letter, way, ways, may_drop),
                    false => None,
                };
                match typed {
                    Some(typed) => noisy.extend(typed),
                    None => noisy.push(letter),
                }
                if noisy.is_empty() {
                    dropped += 1;
                }
            }
            if noisy != word.text {
                word.text = Cow::Owned(noisy);
            }
        }
    }
}

/// What is typed in place of a letter; none where no way is open to it. `way` is from 0 up to 1.
fn mistake(letter: char, way: f64, ways: &CharacterNoise, may_drop: bool) -> Option<Vec<char>> {
    let near = match ways.neighbour {
        true => neighbours(letter),
        false => Vec::new(),
    };
    let open: Vec<u8> = [
        (!near.is_empty()).then_some(0),
        may_drop.then_some(1),
        ways.double.then_some(2),
    ]
    .into_iter()
    .flatten()
    .collect();
    let place = way * open.len() as f64;
    let within = place.fract();
    Some(match open.get(place as usize)? {
        0 => vec![*near.get((within * near.len() as f64) as usize)?],
        1 => Vec::new(),
        _ => vec![letter, letter],
    })
}

/// The keys around a letter or digit, with its capital.
fn neighbours(letter: char) -> Vec<char> {
    let lower = letter.to_ascii_lowercase();
    let place_of = |wanted: char| {
        ROWS.iter().zip(0_i32..).find_map(|((keys, inset), row)| {
            let column = keys.chars().position(|key| key == wanted)?;
            Some((row, 2 * i32::try_from(column).ok()? + inset))
        })
    };
    let Some((row, x)) = place_of(lower) else {
        return Vec::new();
    };
    let near = |key: &char| {
        // A letter is not mistaken for a digit, nor a digit for a letter.
        *key != lower
            && key.is_ascii_digit() == lower.is_ascii_digit()
            && place_of(*key).is_some_and(|(other, other_x)| {
                (other - row).abs() <= 1 && (other_x - x).abs() <= 2
            })
    };
    let keys = ROWS.iter().flat_map(|(keys, _)| keys.chars());
    let found = keys.filter(near);
    match letter.is_ascii_uppercase() {
        true => found.map(|key| key.to_ascii_uppercase()).collect(),
        false => found.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(letter: char) -> String {
        let mut near = neighbours(letter);
        near.sort_unstable();
        near.into_iter().collect()
    }

    #[test]
    fn neighbours_are_the_keys_around() {
        assert_eq!(sorted('g'), "bfhtvy");
        assert_eq!(sorted('Q'), "AW");
        assert_eq!(sorted('m'), "jkn");
        assert_eq!(sorted('5'), "46");
        assert_eq!(sorted('é'), "");
    }

    #[test]
    fn each_way_can_be_closed() {
        let only = |neighbour, drop, double| CharacterNoise {
            rate: 1.0,
            neighbour,
            drop,
            double,
        };
        assert_eq!(
            mistake('a', 0.9, &only(false, true, false), true),
            Some(vec![])
        );
        assert_eq!(mistake('a', 0.9, &only(false, true, false), false), None);
        assert_eq!(
            mistake('a', 0.1, &only(false, false, true), false),
            Some(vec!['a', 'a'])
        );
        let near = mistake('a', 0.1, &only(true, false, false), false).unwrap();
        assert!(sorted('a').contains(near[0]) && near.len() == 1);
    }
}
