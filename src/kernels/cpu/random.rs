//! Which elements are dropped: a pure function of (seed, step, site, row, column).
//!
//! Counter-based (Salmon et al., 2011, <https://doi.org/10.1145/2063384.2063405>): nothing is remembered between calls,
//! so the backward pass computes the same mask again instead of keeping it, and any number of threads gives the same one.
//! Seed, step and site become a 64-bit key by blake3; key and row become two words; words and column go through the
//! finaliser of a 32-bit hash (multiply and xor-shift), which eight or sixteen columns do at once.
//!
//! Deliberately absent: any claim to cryptographic strength.

/// What a place drops in one forward pass: how likely, and the key that decides which elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropout {
    /// An element is dropped when its 32 random bits are below this.
    threshold: u32,
    key: [u32; 2],
    /// The number, in the whole batch, of the first row that is seen.
    first: u32,
}

impl Dropout {
    /// Nothing is dropped.
    pub const NONE: Dropout = Dropout {
        threshold: 0,
        key: [0; 2],
        first: 0,
    };

    /// Drops with `probability` (at least 0, below 1; to the nearest 2⁻³²). `site` numbers the place in the network.
    pub fn new(probability: f64, seed: u64, step: u64, site: u64) -> Dropout {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"refit dropout 2\0");
        for part in [seed, step, site] {
            hasher.update(&part.to_le_bytes());
        }
        let digest = hasher.finalize();
        let word =
            |at: usize| u32::from_le_bytes(std::array::from_fn(|i| digest.as_bytes()[at + i]));
        Dropout {
            threshold: (probability * 4_294_967_296.0).round() as u32,
            key: [word(0), word(4)],
            first: 0,
        }
    }

    /// The same for a part of a batch, before which come `first` rows of the whole: each row drops what it drops there.
    pub fn after(self, first: usize) -> Dropout {
        Dropout {
            first: first as u32,
            ..self
        }
    }

    /// The same where each row is cut into `pieces` rows.
    pub(crate) fn in_pieces(self, pieces: usize) -> Dropout {
        Dropout {
            first: self.first.wrapping_mul(pieces as u32),
            ..self
        }
    }

    /// Whether it drops nothing.
    pub fn is_none(&self) -> bool {
        self.threshold == 0
    }

    /// An element is dropped when its 32 random bits are below this.
    pub(crate) fn threshold(&self) -> u32 {
        self.threshold
    }

    /// By what kept elements are multiplied, so that the mean stays.
    #[inline(always)]
    pub(crate) fn scale(&self) -> f32 {
        (4_294_967_296.0 / (4_294_967_296.0 - f64::from(self.threshold))) as f32
    }

    /// The mask of one row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> RowMask {
        let row = (row as u32).wrapping_add(self.first);
        RowMask {
            words: [
                scramble(row.wrapping_mul(GOLDEN) ^ self.key[0]),
                scramble(row ^ self.key[1]),
            ],
            threshold: self.threshold,
            scale: self.scale(),
        }
    }
}

/// The odd integer next to 2³² over the golden ratio: multiples of it spread over all words.
pub(crate) const GOLDEN: u32 = 0x9e37_79b9;
pub(crate) const FIRST: u32 = 0x7feb_352d;
pub(crate) const SECOND: u32 = 0x846c_a68b;

/// The mask of one row: the factor of each column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowMask {
    pub(crate) words: [u32; 2],
    threshold: u32,
    scale: f32,
}

impl RowMask {
    /// 0, or the scale of what is kept.
    #[inline(always)]
    pub(crate) fn factor(&self, column: usize) -> f32 {
        let bits = hash(self.words, column as u32);
        if bits < self.threshold {
            0.0
        } else {
            self.scale
        }
    }
}

/// 32 random bits for a column.
#[inline(always)]
fn hash(words: [u32; 2], column: u32) -> u32 {
    let mut bits = column.wrapping_mul(GOLDEN) ^ words[0];
    bits = (bits ^ (bits >> 16)).wrapping_mul(FIRST);
    bits = (bits ^ (bits >> 15))
        .wrapping_add(words[1])
        .wrapping_mul(SECOND);
    bits ^ (bits >> 16)
}

#[inline(always)]
fn scramble(word: u32) -> u32 {
    let mut word = word;
    word = (word ^ (word >> 16)).wrapping_mul(FIRST);
    word = (word ^ (word >> 15)).wrapping_mul(SECOND);
    word ^ (word >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 2_000;
    const COLUMNS: usize = 384;

    fn dropped(dropout: Dropout) -> Vec<bool> {
        (0..ROWS)
            .flat_map(|row| (0..COLUMNS).map(move |column| dropout.row(row).factor(column) == 0.0))
            .collect()
    }

    fn share(of: impl Iterator<Item = bool>, among: usize) -> f64 {
        of.filter(|&yes| yes).count() as f64 / among as f64
    }

    #[test]
    fn the_share_that_is_dropped_is_the_probability_everywhere() {
        for probability in [0.01, 0.1, 0.5, 0.9] {
            let mask = dropped(Dropout::new(probability, 1, 2, 3));
            let spread = |n: usize| (probability * (1.0 - probability) / n as f64).sqrt();
            let all = share(mask.iter().copied(), mask.len());
            assert!(
                (all - probability).abs() < 4.0 * spread(mask.len()),
                "{all}"
            );
            for column in 0..COLUMNS {
                let of = mask.iter().skip(column).step_by(COLUMNS).copied();
                let found = share(of, ROWS);
                assert!(
                    (found - probability).abs() < 5.0 * spread(ROWS),
                    "column {column}: {found}"
                );
            }
            for (row, of) in mask.chunks(COLUMNS).enumerate() {
                let found = share(of.iter().copied(), COLUMNS);
                assert!(
                    (found - probability).abs() < 5.5 * spread(COLUMNS),
                    "row {row}: {found}"
                );
            }
        }
    }

    /// Pairs of elements, near and far, are both dropped as often as independent ones.
    #[test]
    fn neighbours_are_independent() {
        let p = 0.1;
        let mask = dropped(Dropout::new(p, 5, 6, 7));
        for lag in [
            1,
            2,
            3,
            4,
            8,
            16,
            32,
            64,
            128,
            COLUMNS - 1,
            COLUMNS,
            COLUMNS + 1,
            2 * COLUMNS,
            16 * COLUMNS,
            64 * COLUMNS,
        ] {
            let n = mask.len() - lag;
            let both = share((0..n).map(|i| mask[i] && mask[i + lag]), n);
            let spread = (p * p * (1.0 - p * p) / n as f64).sqrt();
            assert!((both - p * p).abs() < 5.0 * spread, "lag {lag}: {both}");
        }
    }

    #[test]
    fn seed_step_and_site_each_change_the_mask_and_nothing_else_does() {
        let of = |seed, step, site| dropped(Dropout::new(0.1, seed, step, site));
        let mask = of(1, 2, 3);
        assert_eq!(mask, of(1, 2, 3));
        for other in [of(2, 2, 3), of(1, 3, 3), of(1, 2, 4)] {
            let both = share(mask.iter().zip(&other).map(|(a, b)| *a && *b), mask.len());
            assert!((both - 0.01).abs() < 0.001, "{both}");
        }
    }

    #[test]
    fn a_row_of_a_part_drops_what_it_drops_in_the_whole() {
        let whole = Dropout::new(0.3, 1, 2, 3);
        let factors =
            |dropout: Dropout, row| (0..9).map(move |column| dropout.row(row).factor(column));
        for row in 0..5 {
            assert!(factors(whole.after(7), row).eq(factors(whole, 7 + row)));
            let pieces = whole.after(7).in_pieces(4);
            assert!(factors(pieces, row).eq(factors(whole, 28 + row)));
        }
    }

    #[test]
    fn kept_elements_keep_the_mean() {
        let dropout = Dropout::new(0.25, 1, 2, 3);
        let sum: f64 = (0..ROWS)
            .flat_map(|row| {
                (0..COLUMNS).map(move |column| f64::from(dropout.row(row).factor(column)))
            })
            .sum();
        assert!((sum / (ROWS * COLUMNS) as f64 - 1.0).abs() < 0.003);
    }

    #[test]
    fn a_probability_of_zero_drops_nothing() {
        assert!(Dropout::new(0.0, 1, 2, 3).is_none());
        assert_eq!(Dropout::NONE.row(3).factor(4), 1.0);
    }
}
