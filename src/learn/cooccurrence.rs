//! Word embeddings from which pieces of the vocabulary stand near which others: where an encoder that has read nothing yet may
//! begin in place of random numbers. What is counted over the whole text takes gradient descent many passes to find out, and on
//! little text most of them.
//!
//! Three steps. The neighbours of each piece are counted, the nearer the more, within a text. What says more than the two
//! frequencies do is kept: positive pointwise mutual information with the context's frequency to the power of 0.75 (Levy, Goldberg and
//! Dagan 2015, "Improving Distributional Similarity with Lessons Learned from Word Embeddings"). The matrix of it is cut to as many
//! dimensions as the encoder is wide, each weighed by the root of its singular value (the same, section 3.3; [`low_rank`]).
//! Then a random rotation spreads what the first dimensions say over all, since the heads of an encoder see a part of them each,
//! and all embeddings get the same length.
//!
//! Promise: the result depends on the rows, their order and the seed alone, not on the number of threads. Memory grows with the
//! number of different pairs, 24 bytes each.
//!
//! Deliberately absent: embeddings of pieces that no text has (they stay as they were drawn), and any use of labels.

mod low_rank;

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::low_rank::Sparse;
use super::LearnError;
use super::batch::Rows;
use crate::text::Pieces;

/// What the exponent of a context's frequency is: rare contexts would say too much with 1.
const SMOOTHING: f64 = 0.75;
/// The root mean square of an embedding's numbers: five times that of random ones, so that what a piece is outweighs where it
/// stands.
const DEVIATION: f64 = 0.1;

/// How neighbours are counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CooccurrenceSettings {
    /// How many tokens before and after a token are its neighbours, within a text and a row. A few tell what can stand in a
    /// word's place, many tell what a text is about, and whether it likes it: for classification 40 were better than 10.
    #[schemars(range(min = 1, max = 100))]
    pub window: usize,
}

impl Default for CooccurrenceSettings {
    fn default() -> Self {
        CooccurrenceSettings { window: 40 }
    }
}

/// An embedding of `width` numbers for each piece of a vocabulary of `vocabulary` that stands near another in `rows`, in order of ids. Between the
/// parts of the work `go_on` is asked whether to.
///
/// # Errors
/// [`LearnError::Interrupted`] when `go_on` said no.
pub fn embeddings(
    rows: &dyn Rows,
    pieces: &Pieces,
    vocabulary: usize,
    width: usize,
    settings: CooccurrenceSettings,
    seed: u64,
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<(u32, Vec<f32>)>, LearnError> {
    let going = || go_on().then_some(()).ok_or(LearnError::Interrupted);
    going()?;
    let matrix = information(rows, pieces, vocabulary, settings);
    let mut generator = generator(seed);
    let factors = low_rank::factors(&matrix, vocabulary, width, &mut generator, &going)?;
    let factors = low_rank::rotated(&factors, width, &mut generator);
    let length = DEVIATION * (width as f64).sqrt();
    let embedding = |(id, row): (usize, &[f64])| -> Option<(u32, Vec<f32>)> {
        let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        let scaled = row.iter().map(|value| (value * length / norm) as f32);
        (norm > 0.0).then(|| (id as u32, scaled.collect()))
    };
    let all = factors.chunks_exact(width).enumerate();
    Ok(all.filter_map(embedding).collect())
}

/// The positive pointwise mutual information of pieces and their neighbours: `[vocabulary, vocabulary]`.
fn information(
    rows: &dyn Rows,
    pieces: &Pieces,
    vocabulary: usize,
    settings: CooccurrenceSettings,
) -> Sparse {
    let text = Text::of(rows, pieces, vocabulary);
    let weight: Vec<f64> = (1..=settings.window)
        .map(|distance| (distance as f64).powf(-0.5))
        .collect();
    let scratch = || (vec![0.0; vocabulary], Vec::new());
    let count = |(counts, met): &mut (Vec<f64>, Vec<u32>), piece: usize| -> Counted {
        for &place in text.places(piece) {
            text.neighbours(place, &weight, &mut |neighbour, weight| {
                let count = &mut counts[neighbour as usize];
                if *count == 0.0 {
                    met.push(neighbour);
                }
                *count += weight;
            });
        }
        met.sort_unstable();
        let mut counted = Counted {
            neighbours: Vec::with_capacity(met.len()),
            sum: 0.0,
        };
        for neighbour in met.drain(..) {
            let count = std::mem::take(&mut counts[neighbour as usize]);
            counted.sum += count;
            counted.neighbours.push((neighbour, count as f32));
        }
        counted
    };
    let mut rows: Vec<Counted> = (0..vocabulary)
        .into_par_iter()
        .map_init(scratch, count)
        .collect();
    // Neighbours are neighbours of each other: what a piece has as one and as the other is the same.
    let smooth: Vec<f64> = rows.iter().map(|row| row.sum.powf(SMOOTHING)).collect();
    let all: f64 = smooth.iter().sum();
    rows.par_iter_mut().for_each(|row| {
        let sum = row.sum;
        row.neighbours.retain_mut(|(neighbour, value)| {
            *value = (f64::from(*value) * all / (sum * smooth[*neighbour as usize])).ln() as f32;
            *value > 0.0
        });
        row.neighbours.shrink_to_fit();
    });
    Sparse::of(rows.into_iter().map(|row| row.neighbours))
}

/// What stands near a piece.
struct Counted {
    /// Pieces and how often, in order of ids.
    neighbours: Vec<(u32, f32)>,
    sum: f64,
}

/// All text of the rows, one after the other, and where which piece stands.
struct Text {
    /// Pieces, and [`END`] where a text or a row ends.
    ids: Vec<u32>,
    /// Places in `ids`, by piece.
    places: Vec<usize>,
    /// Where in `places` those of a piece are.
    of_piece: Vec<Range<usize>>,
}

/// No piece: what stands before it is no neighbour of what stands behind it.
const END: u32 = u32::MAX;

impl Text {
    fn of(rows: &dyn Rows, pieces: &Pieces, vocabulary: usize) -> Text {
        let mut ids = Vec::new();
        for row in 0..rows.rows() {
            let known = |id: u32| pieces.is_text(id) && (id as usize) < vocabulary;
            let row = rows.ids(row).iter();
            ids.extend(row.map(|&id| if known(id) { id } else { END }));
            ids.push(END);
        }
        let mut counts = vec![0_usize; vocabulary];
        for &id in ids.iter().filter(|&&id| id != END) {
            counts[id as usize] += 1;
        }
        let mut all = 0;
        let mut of_piece = Vec::with_capacity(vocabulary);
        for count in counts {
            of_piece.push(all..all);
            all += count;
        }
        let mut places = vec![0; all];
        for (place, &id) in ids.iter().enumerate().filter(|&(_, &id)| id != END) {
            let own = &mut of_piece[id as usize];
            places[own.end] = place;
            own.end += 1;
        }
        Text {
            ids,
            places,
            of_piece,
        }
    }

    fn places(&self, piece: usize) -> &[usize] {
        &self.places[self.of_piece[piece].clone()]
    }

    /// Tells `each` what stands around a place, and what it weighs there.
    fn neighbours(&self, place: usize, weight: &[f64], each: &mut dyn FnMut(u32, f64)) {
        let before = self.ids[..place].iter().rev();
        for (&id, &weight) in before.take_while(|&&id| id != END).zip(weight) {
            each(id, weight);
        }
        let behind = self.ids[place + 1..].iter();
        for (&id, &weight) in behind.take_while(|&&id| id != END).zip(weight) {
            each(id, weight);
        }
    }
}

fn generator(seed: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"refit neighbours 1");
    hasher.update(&seed.to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Encoded, Tokenizer};

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-6, "{found} for {wanted}");
    }

    const WORDS: [&str; 15] = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "red", "blue", "barks", "runs",
        "eats", "paint", "sky", "never",
    ];

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_vocabulary(&WORDS.map(str::to_owned), true).unwrap()
    }

    /// Of texts in which "cat" and "dog" have the same neighbours, as have "red" and "blue".
    fn found(seed: u64) -> Vec<(u32, Vec<f32>)> {
        let texts = [
            "cat barks runs",
            "dog runs barks",
            "cat runs eats",
            "dog barks eats",
            "red paint sky",
            "blue sky paint",
            "red sky paint",
            "blue paint sky",
        ];
        let texts = texts.map(|text| (text.to_owned(), None));
        let rows = tokenizer().encode(&texts, 16).unwrap();
        of(&rows, seed, &|| true).unwrap()
    }

    fn of(
        rows: &Encoded,
        seed: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<(u32, Vec<f32>)>, LearnError> {
        let pieces = tokenizer().pieces().unwrap();
        let settings = CooccurrenceSettings::default();
        embeddings(rows, &pieces, WORDS.len(), 4, settings, seed, go_on)
    }

    fn likeness(found: &[(u32, Vec<f32>)], one: u32, other: u32) -> f64 {
        let of = |wanted: u32| -> Vec<f64> {
            let (_, values) = found.iter().find(|(id, _)| *id == wanted).unwrap();
            values.iter().map(|&value| f64::from(value)).collect()
        };
        let (one, other) = (of(one), of(other));
        let dot = |one: &[f64], other: &[f64]| -> f64 {
            one.iter().zip(other).map(|(one, other)| one * other).sum()
        };
        dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt()
    }

    #[test]
    fn pieces_with_the_same_neighbours_are_alike_and_others_are_not() {
        let found = found(1);
        assert!(likeness(&found, 5, 6) > 0.9, "{found:?}");
        assert!(likeness(&found, 7, 8) > 0.9, "{found:?}");
        assert!(likeness(&found, 5, 7).abs() < 0.1, "{found:?}");
        let (_, cat) = &found[0];
        let square: f32 = cat.iter().map(|value| value * value).sum();
        close(f64::from(square), DEVIATION * DEVIATION * 4.0);
    }

    #[test]
    fn pieces_that_no_text_has_and_special_ones_get_nothing() {
        let ids: Vec<u32> = found(1).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, (5..14).collect::<Vec<u32>>());
    }

    #[test]
    fn one_thread_finds_what_many_do_and_another_seed_turns_it() {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| found(1))
        };
        assert_eq!(with(1), with(3));
        assert_ne!(found(1), found(2));
        close(likeness(&found(1), 5, 9), likeness(&found(2), 5, 9));
    }

    #[test]
    fn who_says_stop_is_heard() {
        let rows = tokenizer().encode(&[], 16).unwrap();
        let stopped = of(&rows, 1, &|| false);
        assert!(matches!(stopped, Err(LearnError::Interrupted)));
        assert_eq!(of(&rows, 1, &|| true).unwrap(), []);
    }
}
