//! Word embeddings from which pieces of the vocabulary stand near which others: where an encoder that has read nothing yet may
//! begin in place of random numbers. What is counted over the whole text takes gradient descent many passes to find out, and on
//! little text most of them.
//!
//! Three steps. The neighbours of each piece are counted, the nearer the more, within a text. What says more than the two
//! frequencies do is kept: positive pointwise mutual information with the context's frequency to the power of 0.75 (Levy, Goldberg and
//! Dagan 2015, "Improving Distributional Similarity with Lessons Learned from Word Embeddings"). The matrix of it is cut to as many
//! dimensions as the encoder is wide, each weighed by the root of its singular value (the same, section 3.3), by subspace
//! iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4). Then a random rotation spreads what the first dimensions say over
//! all, since the heads of an encoder see a part of them each, and all embeddings get the same length.
//!
//! Promise: the result depends on the rows, their order and the seed alone, not on the number of threads. Memory grows with the
//! number of different pairs, 24 bytes each.
//!
//! Deliberately absent: embeddings of pieces that no text has (they stay as they were drawn), and any use of labels.

use std::f64::consts::TAU;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LearnError;
use super::batch::Rows;
use crate::text::Pieces;

/// What the exponent of a context's frequency is: rare contexts would say too much with 1.
const SMOOTHING: f64 = 0.75;
/// Dimensions beside those asked for, so that the last ones are found as well.
const BESIDE: usize = 10;
/// How often the matrix is applied to and fro.
const ITERATIONS: usize = 3;
/// The root mean square of an embedding's numbers: five times that of random ones, so that what a piece is outweighs where it
/// stands.
const DEVIATION: f64 = 0.1;
/// Singular values below this share of the first are noise of rounding.
const NOTHING: f64 = 1e-9;

/// How neighbours are counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CooccurrenceSettings {
    /// How many tokens before and after a token are its neighbours. A few tell what can stand in a word's place, more tell what
    /// a text is about.
    #[schemars(range(min = 1, max = 100))]
    pub window: usize,
}

impl Default for CooccurrenceSettings {
    fn default() -> Self {
        CooccurrenceSettings { window: 10 }
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
    let transposed = matrix.transposed(vocabulary);
    let mut generator = generator(seed);
    let mut factors = factors(&matrix, &transposed, width, &mut generator, &going)?;
    let rotation = orthonormal(normal(&mut generator, width * width), width);
    factors = product(&factors, &rotation, width);
    let length = DEVIATION * (width as f64).sqrt();
    let embedding = |(id, row): (usize, &[f64])| -> Option<(u32, Vec<f32>)> {
        let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        let scaled = row.iter().map(|value| (value * length / norm) as f32);
        (norm > 0.0).then(|| (id as u32, scaled.collect()))
    };
    let all = factors.chunks_exact(width).enumerate();
    Ok(all.filter_map(embedding).collect())
}

/// A matrix of which most is 0, row by row.
struct Sparse {
    /// Where in `entries` the rows end; each begins where the one before it ends.
    ends: Vec<usize>,
    /// Column and value, by column within a row.
    entries: Vec<(u32, f32)>,
}

impl Sparse {
    fn row(&self, row: usize) -> &[(u32, f32)] {
        let begin = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[begin..self.ends[row]]
    }

    fn transposed(&self, columns: usize) -> Sparse {
        let mut ends = vec![0_usize; columns];
        for &(column, _) in &self.entries {
            ends[column as usize] += 1;
        }
        let mut begins = Vec::with_capacity(columns);
        let mut all = 0;
        for end in &mut ends {
            begins.push(all);
            all += *end;
            *end = all;
        }
        let mut entries = vec![(0, 0.0); self.entries.len()];
        for row in 0..self.ends.len() {
            for &(column, value) in self.row(row) {
                let place = &mut begins[column as usize];
                entries[*place] = (row as u32, value);
                *place += 1;
            }
        }
        Sparse { ends, entries }
    }

    /// `[rows, columns]` and `[columns, width]` → `[rows, width]`.
    fn times(&self, dense: &[f64], width: usize) -> Vec<f64> {
        let mut result = vec![0.0; self.ends.len() * width];
        let rows = result.par_chunks_mut(width).enumerate();
        rows.for_each(|(row, sums)| {
            for &(column, value) in self.row(row) {
                let other = &dense[column as usize * width..][..width];
                for (sum, other) in sums.iter_mut().zip(other) {
                    *sum += f64::from(value) * other;
                }
            }
        });
        result
    }
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
    let counted = |piece: usize, counts: &mut [f64], met: &mut Vec<u32>| {
        for &place in text.places(piece) {
            text.neighbours(place, &weight, &mut |neighbour, weight| {
                let count = &mut counts[neighbour as usize];
                if *count == 0.0 {
                    met.push(neighbour);
                }
                *count += weight;
            });
        }
    };
    let sum = |piece: usize| -> f64 {
        let mut sum = 0.0;
        for &place in text.places(piece) {
            text.neighbours(place, &weight, &mut |_, weight| sum += weight);
        }
        sum
    };
    // Neighbours are neighbours of each other: what a piece has as one and as the other is the same.
    let sums: Vec<f64> = (0..vocabulary).into_par_iter().map(sum).collect();
    let smooth: Vec<f64> = sums.iter().map(|sum| sum.powf(SMOOTHING)).collect();
    let all: f64 = smooth.iter().sum();
    let scratch = || (vec![0.0; vocabulary], Vec::new());
    let row = |(counts, met): &mut (Vec<f64>, Vec<u32>), piece: usize| -> Vec<(u32, f32)> {
        counted(piece, counts, met);
        met.sort_unstable();
        let entries = met.drain(..).filter_map(|neighbour| {
            let column = neighbour as usize;
            let count = std::mem::take(&mut counts[column]);
            let told = (count * all / (sums[piece] * smooth[column])).ln();
            (told > 0.0).then_some((neighbour, told as f32))
        });
        entries.collect()
    };
    let found: Vec<Vec<(u32, f32)>> = (0..vocabulary)
        .into_par_iter()
        .map_init(scratch, row)
        .collect();
    let mut matrix = Sparse {
        ends: Vec::with_capacity(vocabulary),
        entries: Vec::with_capacity(found.iter().map(Vec::len).sum()),
    };
    for row in found {
        matrix.entries.extend(row);
        matrix.ends.push(matrix.entries.len());
    }
    matrix
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

/// The left singular vectors of the greatest singular values, each times the root of its value: `[rows, width]`. Columns
/// that the matrix has no more of are 0.
fn factors(
    matrix: &Sparse,
    transposed: &Sparse,
    width: usize,
    generator: &mut ChaCha8Rng,
    going: &dyn Fn() -> Result<(), LearnError>,
) -> Result<Vec<f64>, LearnError> {
    let rows = matrix.ends.len();
    let tried = (width + BESIDE).min(rows);
    let start = normal(generator, transposed.ends.len() * tried);
    let mut basis = orthonormal(matrix.times(&start, tried), tried); // [rows, tried]
    for _ in 0..ITERATIONS {
        going()?;
        let other = orthonormal(transposed.times(&basis, tried), tried); // [columns, tried]
        basis = orthonormal(matrix.times(&other, tried), tried);
    }
    going()?;
    let other = transposed.times(&basis, tried); // [columns, tried]
    let (values, vectors) = eigen(gram(&other, tried), tried);
    let mut order: Vec<usize> = (0..tried).collect();
    order.sort_by(|&one, &other| values[other].total_cmp(&values[one]));
    let greatest = order.first().map_or(0.0, |&first| values[first].max(0.0));
    // The values are the squares of the singular ones.
    let mut turn = vec![0.0; tried * width]; // [tried, width]
    for (column, &from) in order.iter().take(width).enumerate() {
        if values[from] <= greatest * NOTHING * NOTHING {
            continue;
        }
        let root = values[from].powf(0.25);
        for row in 0..tried {
            turn[row * width + column] = vectors[row * tried + from] * root;
        }
    }
    Ok(product(&basis, &turn, width))
}

/// `[rows, inner]` and `[inner, width]` → `[rows, width]`.
fn product(one: &[f64], other: &[f64], width: usize) -> Vec<f64> {
    let inner = other.len() / width;
    let mut result = vec![0.0; one.len() / inner * width];
    let rows = result.par_chunks_mut(width).zip(one.par_chunks(inner));
    rows.for_each(|(sums, row)| {
        for (&value, other) in row.iter().zip(other.chunks_exact(width)) {
            for (sum, other) in sums.iter_mut().zip(other) {
                *sum += value * other;
            }
        }
    });
    result
}

/// The products of the columns with each other: `[rows, width]` → `[width, width]`.
fn gram(dense: &[f64], width: usize) -> Vec<f64> {
    let columns = columns(dense, width);
    let mut result = vec![0.0; width * width];
    let rows = result.par_chunks_mut(width).zip(&columns);
    rows.for_each(|(sums, one)| {
        for (sum, other) in sums.iter_mut().zip(&columns) {
            *sum = dot(one, other);
        }
    });
    result
}

fn columns(dense: &[f64], width: usize) -> Vec<Vec<f64>> {
    let column = |column: usize| dense.iter().skip(column).step_by(width).copied().collect();
    (0..width).into_par_iter().map(column).collect()
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// An orthonormal basis of the columns, by Gram and Schmidt's method, twice for the sake of rounding. A column that the ones before it
/// can make becomes 0. `[rows, width]` → `[rows, width]`
fn orthonormal(dense: Vec<f64>, width: usize) -> Vec<f64> {
    let mut columns = columns(&dense, width);
    for place in 0..width {
        let (done, rest) = columns.split_at_mut(place);
        let own = &mut rest[0];
        let before = dot(own, own).sqrt();
        for _ in 0..2 {
            let shares: Vec<f64> = done.par_iter().map(|other| dot(own, other)).collect();
            own.par_chunks_mut(PART)
                .enumerate()
                .for_each(|(part, own)| {
                    for (other, share) in done.iter().zip(&shares) {
                        let other = &other[part * PART..];
                        for (value, other) in own.iter_mut().zip(other) {
                            *value -= share * other;
                        }
                    }
                });
        }
        let norm = dot(own, own).sqrt();
        let scale = if norm > before * 1e-10 {
            norm.recip()
        } else {
            0.0
        };
        own.iter_mut().for_each(|value| *value *= scale);
    }
    let mut result = vec![0.0; dense.len()];
    for (place, column) in columns.iter().enumerate() {
        let places = result.iter_mut().skip(place).step_by(width);
        places
            .zip(column)
            .for_each(|(result, value)| *result = *value);
    }
    result
}

/// How much of a column a thread does at once.
const PART: usize = 4096;

/// Eigenvalues of a symmetric matrix, and its eigenvectors in columns, by Jacobi's rotations (Golub and Van Loan, "Matrix
/// Computations", section 8.5).
fn eigen(mut matrix: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>) {
    const SWEEPS: usize = 60;
    let mut vectors = vec![0.0; size * size];
    vectors
        .iter_mut()
        .step_by(size + 1)
        .for_each(|value| *value = 1.0);
    for _ in 0..SWEEPS {
        let whole: f64 = dot(&matrix, &matrix);
        let diagonal: f64 = matrix
            .iter()
            .step_by(size + 1)
            .map(|value| value * value)
            .sum();
        if whole - diagonal <= 1e-26 * whole {
            break;
        }
        for one in 0..size {
            for other in one + 1..size {
                let off = matrix[one * size + other];
                if off == 0.0 {
                    continue;
                }
                let (first, second) = (matrix[one * size + one], matrix[other * size + other]);
                let ratio = (second - first) / (2.0 * off);
                let tangent = ratio.signum() / (ratio.abs() + (ratio * ratio + 1.0).sqrt());
                let cosine = (tangent * tangent + 1.0).sqrt().recip();
                let sine = tangent * cosine;
                let turn = |values: &mut [f64], first: usize, second: usize| {
                    let (a, b) = (values[first], values[second]);
                    values[first] = cosine * a - sine * b;
                    values[second] = sine * a + cosine * b;
                };
                for at in 0..size {
                    turn(&mut matrix, at * size + one, at * size + other);
                    turn(&mut vectors, at * size + one, at * size + other);
                }
                for at in 0..size {
                    turn(&mut matrix, one * size + at, other * size + at);
                }
            }
        }
    }
    (matrix.iter().step_by(size + 1).copied().collect(), vectors)
}

fn generator(seed: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"refit neighbours 1");
    hasher.update(&seed.to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Numbers of mean 0 and deviation 1 (Box and Muller, 1958).
fn normal(generator: &mut ChaCha8Rng, length: usize) -> Vec<f64> {
    let mut uniform = || ((generator.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let one = |_| (-2.0 * uniform().ln()).sqrt() * (TAU * uniform()).cos();
    (0..length).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Encoded, Tokenizer};

    /// A matrix with every number written.
    fn sparse(rows: &[&[f64]]) -> Sparse {
        let mut matrix = Sparse {
            ends: Vec::new(),
            entries: Vec::new(),
        };
        for row in rows {
            let entries = row.iter().zip(0..).filter(|(value, _)| **value != 0.0);
            matrix
                .entries
                .extend(entries.map(|(&value, column)| (column, value as f32)));
            matrix.ends.push(matrix.entries.len());
        }
        matrix
    }

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-6, "{found} for {wanted}");
    }

    #[test]
    fn factors_are_the_singular_vectors_times_the_roots_of_their_values() {
        // 4 · u₁v₁ᵀ + 1 · u₂v₂ᵀ with u₁ = (0.6, 0.8, 0), u₂ = (0, 0, 1), v₁ = (1, 0), v₂ = (0, 1).
        let matrix = sparse(&[&[2.4, 0.0], &[3.2, 0.0], &[0.0, 1.0]]);
        let transposed = matrix.transposed(2);
        let going = || Ok(());
        let found = factors(&matrix, &transposed, 3, &mut generator(1), &going).unwrap();
        let found = columns(&found, 3);
        let sign = found[0][0].signum();
        for (found, wanted) in found[0].iter().zip([1.2, 1.6, 0.0]) {
            close(found * sign, wanted);
        }
        close(found[1][2].abs(), 1.0);
        // There is no third.
        assert!(found[2].iter().all(|value| value.abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn eigenvectors_make_the_matrix_again() {
        const SIZE: usize = 7;
        let random = normal(&mut generator(3), SIZE * SIZE);
        let matrix = gram(&random, SIZE);
        let (values, vectors) = eigen(matrix.clone(), SIZE);
        for row in 0..SIZE {
            for column in 0..SIZE {
                let again: f64 = (0..SIZE)
                    .map(|at| vectors[row * SIZE + at] * values[at] * vectors[column * SIZE + at])
                    .sum();
                close(again, matrix[row * SIZE + column]);
            }
        }
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
