//! Rows that say the same, found without keeping what they say.
//!
//! Of each row a hash of 128 bits of its text and pair is kept, with its place; equal ones meet when all are sorted. What is
//! sorted is written to a file without a name before it becomes large (an external merge sort), so memory does not grow with
//! the number of rows. Two different texts pass for the same once in 2^64 tables of four thousand million rows.
//!
//! Deliberately absent: texts that are nearly the same ([`near`](super::near)).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Error, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rayon::prelude::*;

use super::{TableError, Texts};

/// Rows whose hashes are in memory at once: 1.5 MiB of them.
const AT_ONCE: usize = 1 << 16;

/// A row's split is above so many bits of its place, its number below: room for 2^24 splits of 2^40 rows.
const NUMBER_BITS: u32 = 40;

/// How many of the rows that `train` has too are named.
const NAMED: usize = 3;

/// Two words of hash, then the place: ordered by hash, of one hash by split, of one split by number.
type Hashed = [u64; 3];

/// The rows of several splits on their way to be compared. Split 0 is `train`.
#[derive(Debug)]
pub struct Twins {
    folder: PathBuf,
    pending: Vec<Hashed>,
    sorted: Option<File>,
    /// Which of what was written is sorted, as numbers of rows.
    runs: Vec<Range<usize>>,
    /// The rows of each split so far.
    rows: Vec<u64>,
}

/// What was found out about a split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    /// Rows that say what an earlier one says.
    pub repeated: usize,
    /// Rows that say what a row of `train` says. 0 for `train` itself.
    pub in_train: usize,
    /// The numbers of the first three of these.
    pub first: Vec<usize>,
}

impl Twins {
    /// What does not stay in memory goes to files without names in `folder`.
    pub fn new(folder: &Path) -> Self {
        Twins {
            folder: folder.to_owned(),
            pending: Vec::new(),
            sorted: None,
            runs: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds the next rows of a split.
    ///
    /// # Errors
    /// What is sorted cannot be written.
    pub fn add<T: AsRef<str> + Clone + Sync>(
        &mut self,
        split: usize,
        texts: &Texts<T>,
    ) -> Result<(), TableError> {
        if self.rows.len() <= split {
            self.rows.resize(split + 1, 0);
        }
        let mut next = ((split as u64) << NUMBER_BITS) | self.rows[split];
        self.rows[split] += texts.len() as u64;
        let numbers: Vec<usize> = (0..texts.len()).collect();
        for numbers in numbers.chunks(AT_ONCE) {
            let hashes = numbers.par_iter().map(|&row| hash(texts.row(row)));
            for [high, low] in hashes.collect::<Vec<_>>() {
                self.pending.push([high, low, next]);
                next += 1;
            }
            if self.pending.len() >= AT_ONCE {
                self.put_away()?;
            }
        }
        Ok(())
    }

    fn put_away(&mut self) -> Result<(), TableError> {
        let unwritable = |e: Error| TableError::unwritable(&self.folder, e);
        self.pending.sort_unstable();
        let mut file = match self.sorted.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder).map_err(unwritable)?,
        };
        let written = file.write_all(bytemuck::cast_slice(&self.pending));
        written.map_err(unwritable)?;
        self.sorted = Some(file);
        let start = self.runs.last().map_or(0, |run| run.end);
        self.runs.push(start..start + self.pending.len());
        self.pending.clear();
        Ok(())
    }

    /// What is to be said about each split.
    ///
    /// # Errors
    /// What was sorted cannot be read.
    pub fn met(mut self) -> Result<Vec<Met>, TableError> {
        self.pending.sort_unstable();
        let mut met = vec![Met::default(); self.rows.len()];
        let map = match &self.sorted {
            Some(file) => {
                // SAFETY: the file has no name, so that no other process can change it, and is written no more.
                let map = unsafe { Mmap::map(file) };
                Some(map.map_err(|e| TableError::unreadable(&self.folder, e))?)
            }
            None => None,
        };
        let written: &[Hashed] = match &map {
            Some(map) => {
                bytemuck::try_cast_slice(map).map_err(|e| TableError::damaged(&self.folder, e))?
            }
            None => &[],
        };
        let runs = self.runs.iter().filter_map(|run| written.get(run.clone()));
        let mut counting = Counting::default();
        for row in merged(runs.chain([self.pending.as_slice()]).collect()) {
            counting.next(row, &mut met);
        }
        Ok(met)
    }
}

/// The rows of several sorted runs in the order of all.
fn merged(runs: Vec<&[Hashed]>) -> impl Iterator<Item = Hashed> {
    let first = |(run, rows): (usize, &&[Hashed])| Some(Reverse((*rows.first()?, run, 0)));
    let mut heads: BinaryHeap<Reverse<(Hashed, usize, usize)>> =
        runs.iter().enumerate().filter_map(first).collect();
    std::iter::from_fn(move || {
        let Reverse((row, run, number)) = heads.pop()?;
        let next = runs.get(run).and_then(|rows| rows.get(number + 1));
        if let Some(next) = next {
            heads.push(Reverse((*next, run, number + 1)));
        }
        Some(row)
    })
}

/// What is known of the rows of one hash.
#[derive(Default)]
struct Counting {
    hash: Option<[u64; 2]>,
    in_train: bool,
    /// The split of the last row.
    split: usize,
}

impl Counting {
    fn next(&mut self, [high, low, place]: Hashed, met: &mut [Met]) {
        let hash = [high, low];
        let split = (place >> NUMBER_BITS) as usize;
        let number = (place & ((1 << NUMBER_BITS) - 1)) as usize;
        let Some(met) = met.get_mut(split) else {
            return;
        };
        if self.hash != Some(hash) {
            self.hash = Some(hash);
            self.in_train = split == 0;
        } else if self.split == split {
            met.repeated += 1;
        }
        self.split = split;
        if self.in_train && split > 0 {
            met.in_train += 1;
            let place = met.first.partition_point(|&other| other < number);
            met.first.insert(place, number);
            met.first.truncate(NAMED);
        }
    }
}

/// 128 bits that say which text and pair a row has.
pub fn hash(row: Option<(&str, Option<&str>)>) -> [u64; 2] {
    let (text, pair) = row.unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    // The length says where the pair begins.
    hasher
        .update(&(text.len() as u64).to_le_bytes())
        .update(text.as_bytes());
    if let Some(pair) = pair {
        hasher.update(b"\x01").update(pair.as_bytes());
    }
    let mut bytes = hasher.finalize_xof();
    let mut hash = [0_u64; 2];
    bytes.fill(bytemuck::cast_slice_mut(&mut hash));
    hash
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn texts(rows: &[(String, Option<String>)]) -> Texts {
        let pairs = rows.iter().map(|(_, pair)| pair.clone());
        Texts {
            id: (0..rows.len() as u64).collect(),
            copy: vec![0; rows.len()],
            text: rows.iter().map(|(text, _)| text.clone()).collect(),
            text_pair: pairs.collect(),
            ..Texts::default()
        }
    }

    /// By comparing everything with everything.
    fn wanted(splits: &[Texts]) -> Vec<Met> {
        let all = |texts: &Texts| -> Vec<(String, Option<String>)> {
            let rows = (0..texts.len()).filter_map(|row| texts.row(row));
            rows.map(|(text, pair)| (text.to_owned(), pair.map(str::to_owned)))
                .collect()
        };
        let train: HashSet<_> = all(&splits[0]).into_iter().collect();
        let of = |(number, texts): (usize, &Texts)| {
            let rows = all(texts);
            let mut times = HashMap::new();
            rows.iter()
                .for_each(|row| *times.entry(row).or_insert(0) += 1);
            let twins = rows.iter().enumerate();
            let twins = twins.filter(|(_, row)| number > 0 && train.contains(*row));
            let twins: Vec<usize> = twins.map(|(row, _)| row).collect();
            Met {
                repeated: rows.len() - times.len(),
                in_train: twins.len(),
                first: twins.into_iter().take(NAMED).collect(),
            }
        };
        splits.iter().enumerate().map(of).collect()
    }

    fn found(splits: &[Texts], by: usize) -> Vec<Met> {
        let folder = tempfile::tempdir().unwrap();
        let mut twins = Twins::new(folder.path());
        for (split, texts) in splits.iter().enumerate() {
            let rows: Vec<usize> = (0..texts.len()).collect();
            twins.add(split, &texts.take(&[])).unwrap();
            for rows in rows.chunks(by) {
                twins.add(split, &texts.take(rows)).unwrap();
            }
        }
        twins.met().unwrap()
    }

    #[test]
    fn a_pair_is_not_a_longer_text() {
        let row = |text: &str, pair: Option<&str>| (text.to_owned(), pair.map(str::to_owned));
        let splits = [
            texts(&[row("ab", None)]),
            texts(&[row("ab", None), row("ab", None)]),
        ];
        assert_eq!(found(&splits, 5), wanted(&splits));
        let splits = [
            texts(&[row("ab", Some("c"))]),
            texts(&[row("a", Some("bc")), row("ab", Some("c"))]),
        ];
        let met = found(&splits, 5);
        assert_eq!((met[1].in_train, &met[1].first), (1, &vec![1]));
    }

    #[test]
    fn what_does_not_stay_in_memory_is_found_too() {
        let many = |rows: usize, of: usize| {
            let row = |row: usize| (format!("text {}", row * 7 % of), None);
            texts(&(0..rows).map(row).collect::<Vec<_>>())
        };
        let splits = [many(150_000, 100_003), many(70_000, 69_001)];
        assert_eq!(found(&splits, 40_000), wanted(&splits));
    }

    proptest! {
        #[test]
        fn equal_rows_meet_in_any_pieces(
            splits in prop::collection::vec(prop::collection::vec("[ab]{0,2}", 0..30), 1..4),
            by in 1_usize..9,
        ) {
            let splits: Vec<Texts> = splits
                .iter()
                .map(|rows| texts(&rows.iter().map(|text| (text.clone(), None)).collect::<Vec<_>>()))
                .collect();
            prop_assert_eq!(found(&splits, by), wanted(&splits));
        }
    }
}
