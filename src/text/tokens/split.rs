//! A split of the tokens artifact, mapped into memory and checked as a whole when it is opened.
//!
//! Deliberately absent: what could only be wrong together with the table, such as a word that no row owns at the end of
//! an example.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use bytemuck::Pod;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::{SplitCard, TokensCard};
use crate::text::answers::NO_ANSWER;
use crate::text::{NONE, TextError};

/// The rows of one split, mapped into memory.
#[derive(Debug)]
pub struct TokenSplit {
    map: Mmap,
    examples: usize,
    // Each column's place in the map.
    ids: Range<usize>,
    type_ids: Range<usize>,
    offsets: Range<usize>,
    row_ids: Range<usize>,
    label: Option<Range<usize>>,
    /// The labels of all rows, and where those of each begin.
    labels: Option<(Range<usize>, Range<usize>)>,
    /// The numbers of all rows, and how many each has.
    target: Option<(Range<usize>, usize)>,
    example: Option<Range<usize>>,
    words: Option<Range<usize>>,
    tags: Option<Range<usize>>,
    characters: Option<(Range<usize>, Range<usize>)>,
    answer: Option<Range<usize>>,
}

/// The columns of a mapped file.
struct Columns<'a> {
    map: &'a [u8],
    tensors: SafeTensors<'a>,
}

impl Columns<'_> {
    fn has(&self, name: &str) -> bool {
        self.tensors.names().contains(&name)
    }

    /// The size of a column's last dimension.
    fn size(&self, name: &str) -> Result<usize, String> {
        let view = self.tensors.tensor(name).map_err(|e| e.to_string())?;
        Ok(view.shape().last().copied().unwrap_or_default())
    }

    fn place(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Range<usize>, String> {
        let view = self.tensors.tensor(name).map_err(|e| e.to_string())?;
        if view.dtype() != dtype || view.shape() != shape {
            return Err(format!(
                "{name} is {:?} {:?}, expected {dtype:?} {shape:?}",
                view.dtype(),
                view.shape()
            ));
        }
        let data = view.data();
        if !data.as_ptr().addr().is_multiple_of(dtype.bitsize() / 8) {
            return Err(format!("{name} is not aligned"));
        }
        let start = data.as_ptr().addr() - self.map.as_ptr().addr();
        Ok(start..start + data.len())
    }

    fn place_if(
        &self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<Option<Range<usize>>, String> {
        let place = || self.place(name, dtype, shape);
        self.has(name).then(place).transpose()
    }
}

impl TokenSplit {
    pub(super) fn open(
        path: &Path,
        split: &SplitCard,
        card: &TokensCard,
    ) -> Result<Self, TextError> {
        let unreadable = |source| TextError::Read {
            path: path.to_owned(),
            source,
        };
        let damaged = |problem: String| TextError::Damaged {
            path: path.to_owned(),
            problem,
        };
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.len() == 0 {
            return Err(damaged("it is empty".to_owned()));
        }
        // SAFETY: artifacts are never written again once they are in the store.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let split = TokenSplit::of(map, split).map_err(damaged)?;
        split.check(card).map_err(damaged)?;
        Ok(split)
    }

    fn of(map: Mmap, split: &SplitCard) -> Result<Self, String> {
        let tensors = SafeTensors::deserialize(&map).map_err(|e| e.to_string())?;
        let columns = Columns { map: &map, tensors };
        let (rows, tokens) = (split.rows, split.tokens);
        let bounds = rows.saturating_add(1);
        let labels = || {
            let all = [columns.size("labels")?];
            Ok::<_, String>((
                columns.place("labels", Dtype::U32, &all)?,
                columns.place("label_offsets", Dtype::U64, &[bounds])?,
            ))
        };
        let target = || {
            let width = columns.size("target")?;
            let place = columns.place("target", Dtype::F64, &[rows, width])?;
            Ok::<_, String>((place, width))
        };
        let characters = || {
            Ok::<_, String>((
                columns.place("start", Dtype::U32, &[tokens])?,
                columns.place("end", Dtype::U32, &[tokens])?,
            ))
        };
        let of_tokens = |name| columns.place_if(name, Dtype::U32, &[tokens]);
        let (ids, type_ids) = (
            columns.place("input_ids", Dtype::U32, &[tokens])?,
            columns.place("type_ids", Dtype::U8, &[tokens])?,
        );
        let (offsets, row_ids) = (
            columns.place("offsets", Dtype::U64, &[bounds])?,
            columns.place("id", Dtype::U64, &[rows])?,
        );
        let label = columns.place_if("label", Dtype::U32, &[rows])?;
        let labels = columns.has("labels").then(labels).transpose()?;
        let target = columns.has("target").then(target).transpose()?;
        let example = columns.place_if("example", Dtype::U32, &[rows])?;
        let (words, tags) = (of_tokens("word")?, of_tokens("tag")?);
        let characters = columns.has("start").then(characters).transpose()?;
        let answer = columns.place_if("answer", Dtype::U32, &[rows, 2])?;
        if example.is_some() != split.examples.is_some() {
            return Err("rows are windows in tokens.json or in this file, not in both".to_owned());
        }
        Ok(TokenSplit {
            examples: split.examples.unwrap_or(rows),
            ids,
            type_ids,
            offsets,
            row_ids,
            label,
            labels,
            target,
            example,
            words,
            tags,
            characters,
            answer,
            map,
        })
    }

    fn check(&self, card: &TokensCard) -> Result<(), String> {
        self.check_rows(card)?;
        self.check_labels(card)?;
        self.check_examples()?;
        self.check_words(card)?;
        self.check_characters()
    }

    fn check_rows(&self, card: &TokensCard) -> Result<(), String> {
        let ids: &[u32] = self.column(&self.ids);
        let offsets: &[u64] = self.column(&self.offsets);
        check_offsets("offsets", "tokens", offsets, ids.len())?;
        for (row, bounds) in offsets.windows(2).enumerate() {
            let length = bounds[1] - bounds[0];
            if length > card.max_length as u64 {
                return Err(format!(
                    "row {row} has {length} tokens, more than max_length = {}",
                    card.max_length
                ));
            }
        }
        let largest = ids.iter().max();
        match largest.filter(|id| **id as usize >= card.vocab_size) {
            Some(id) => Err(format!(
                "the id {id} is outside the vocabulary of {}",
                card.vocab_size
            )),
            None => Ok(()),
        }
    }

    fn check_labels(&self, card: &TokensCard) -> Result<(), String> {
        if let Some(label) = &self.label {
            check_named("label", self.column(label).iter(), card)?;
        }
        if let Some((labels, offsets)) = &self.labels {
            let labels: &[u32] = self.column(labels);
            check_offsets(
                "label_offsets",
                "labels",
                self.column(offsets),
                labels.len(),
            )?;
            check_named("label", labels.iter(), card)?;
            let rises = |row: usize| {
                self.labels(row)
                    .is_some_and(|labels| labels.is_sorted_by(|a, b| a < b))
            };
            if let Some(row) = (0..self.rows()).find(|row| !rises(*row)) {
                return Err(format!("the labels of row {row} do not ascend"));
            }
        }
        if let Some((target, width)) = &self.target {
            let named = card.target_names.as_ref().map_or(*width, Vec::len);
            if *width != named {
                return Err(format!(
                    "rows have {width} targets, but {named} have a name"
                ));
            }
            let target: &[f64] = self.column(target);
            if let Some(place) = target.iter().position(|number| !number.is_finite()) {
                let row = place / width;
                return Err(format!("a target of row {row} is {}", target[place]));
            }
        }
        Ok(())
    }

    /// Each example has rows, one after the other.
    fn check_examples(&self) -> Result<(), String> {
        let Some(examples) = &self.example else {
            return Ok(());
        };
        let examples: &[u32] = self.column(examples);
        let mut next = 0;
        for (row, &example) in examples.iter().enumerate() {
            let example = u64::from(example);
            if example == next {
                next += 1;
            } else if example + 1 != next {
                return Err(format!("row {row} is of example {example}, out of order"));
            }
        }
        if next != self.examples as u64 {
            return Err(format!(
                "the rows are of {next} examples, not of {}",
                self.examples
            ));
        }
        Ok(())
    }

    /// The words of an example are owned from the first on, each once, in their order; and those alone have tags.
    fn check_words(&self, card: &TokensCard) -> Result<(), String> {
        let mut next = (0, 0);
        for row in 0..self.rows() {
            let example = self.example(row);
            if next.0 != example {
                next = (example, 0);
            }
            for &word in self.words(row).unwrap_or_default() {
                if word == next.1 && word != NONE {
                    next.1 += 1;
                } else if word != NONE {
                    return Err(format!("row {row} has word {word}, out of order"));
                }
            }
        }
        let Some(tags) = &self.tags else {
            return Ok(());
        };
        let tags: &[u32] = self.column(tags);
        let words: &[u32] = match &self.words {
            Some(words) => self.column(words),
            None => return Err("it has tags but no words".to_owned()),
        };
        let mut both = words.iter().zip(tags);
        if both.any(|(word, tag)| (*word == NONE) != (*tag == NONE)) {
            return Err("it has a word without a tag, or a tag without a word".to_owned());
        }
        check_named("tag", tags.iter().filter(|tag| **tag != NONE), card)
    }

    fn check_characters(&self) -> Result<(), String> {
        for row in 0..self.rows() {
            let Some((start, end)) = self.characters(row) else {
                break;
            };
            let fits =
                |(start, end): (&u32, &u32)| (*start == NONE) == (*end == NONE) && start <= end;
            if !start.iter().zip(end).all(fits) {
                return Err(format!("a token of row {row} ends before it begins"));
            }
        }
        for row in 0..self.rows() {
            let Some((first, last)) = self.answer(row) else {
                break;
            };
            let start = self.characters(row).map_or(&[][..], |(start, _)| start);
            let in_context = |token: u32| {
                let start = start.get(token as usize);
                start.is_some_and(|start| *start != NONE)
            };
            let whole = first <= last && in_context(first) && in_context(last);
            if (first, last) != NO_ANSWER && !whole {
                return Err(format!(
                    "the answer of row {row}, tokens {first} to {last}, is not in its context"
                ));
            }
        }
        Ok(())
    }

    fn column<T: Pod>(&self, place: &Range<usize>) -> &[T] {
        // `open` has checked place, type and alignment of every column.
        bytemuck::cast_slice(&self.map[place.clone()])
    }

    fn bounds(&self, row: usize) -> Range<usize> {
        let offsets: &[u64] = self.column(&self.offsets);
        offsets[row] as usize..offsets[row + 1] as usize
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.row_ids.len() / size_of::<u64>()
    }

    /// The number of examples that the rows came from: rows of the table's split.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// The number of tokens in all rows.
    pub fn tokens(&self) -> usize {
        self.type_ids.len()
    }

    /// The number of the example that the row is a window of: ascending, from 0. Its own number where rows are not windows.
    ///
    /// # Panics
    /// `row` is not below [`TokenSplit::rows`]; so do the other accessors.
    pub fn example(&self, row: usize) -> usize {
        match &self.example {
            Some(examples) => self.column::<u32>(examples)[row] as usize,
            None => row,
        }
    }

    /// The token ids of a row, special tokens included.
    pub fn ids(&self, row: usize) -> &[u32] {
        &self.column(&self.ids)[self.bounds(row)]
    }

    /// The segment of each token: 0 for the text, 1 for its pair.
    pub fn type_ids(&self, row: usize) -> &[u8] {
        &self.column(&self.type_ids)[self.bounds(row)]
    }

    /// The number of the row's label, where the split has one label a row.
    pub fn label(&self, row: usize) -> Option<u32> {
        let labels: &[u32] = self.column(self.label.as_ref()?);
        Some(labels[row])
    }

    /// The numbers of the row's labels, ascending, where the split has any number of labels a row.
    pub fn labels(&self, row: usize) -> Option<&[u32]> {
        let (labels, offsets) = self.labels.as_ref()?;
        let offsets: &[u64] = self.column(offsets);
        let labels: &[u32] = self.column(labels);
        Some(&labels[offsets[row] as usize..offsets[row + 1] as usize])
    }

    /// The row's numbers to predict, finite, one for each of the target names.
    pub fn targets(&self, row: usize) -> Option<&[f64]> {
        let (target, width) = self.target.as_ref()?;
        let target: &[f64] = self.column(target);
        Some(&target[row * width..(row + 1) * width])
    }

    /// For each token of a row of words: the number (in its example) of the word whose first token it is, where this row
    /// owns that word; elsewhere [`NONE`]. The words that a row owns are consecutive, and each word of an example is owned
    /// by one of its rows.
    pub fn words(&self, row: usize) -> Option<&[u32]> {
        Some(&self.column(self.words.as_ref()?)[self.bounds(row)])
    }

    /// For each token the tag of the word in [`TokenSplit::words`], or [`NONE`].
    pub fn tags(&self, row: usize) -> Option<&[u32]> {
        Some(&self.column(self.tags.as_ref()?)[self.bounds(row)])
    }

    /// For each token of a row with a context: where it begins and ends there, in Unicode characters, the end exclusive;
    /// [`NONE`] for tokens of the question and special ones.
    pub fn characters(&self, row: usize) -> Option<(&[u32], &[u32])> {
        let (start, end) = self.characters.as_ref()?;
        let bounds = self.bounds(row);
        Some((
            &self.column(start)[bounds.clone()],
            &self.column(end)[bounds],
        ))
    }

    /// First and last token, both inclusive, of the (first) answer; (0, 0) where this row does not hold it whole, or there
    /// is none.
    pub fn answer(&self, row: usize) -> Option<(u32, u32)> {
        let answers: &[[u32; 2]] = self.column(self.answer.as_ref()?);
        Some(answers[row].into())
    }

    /// The id of the row's example in the table that it comes from.
    pub fn id(&self, row: usize) -> u64 {
        let ids: &[u64] = self.column(&self.row_ids);
        ids[row]
    }

    /// How many segments the rows have: 1 without pairs, 2 with; never 0.
    pub fn token_types(&self) -> usize {
        let types: &[u8] = self.column(&self.type_ids);
        let highest = types.iter().max();
        highest.map_or(1, |&highest| usize::from(highest) + 1)
    }

    /// The number of tokens of the longest row.
    pub fn longest(&self) -> usize {
        (0..self.rows())
            .map(|row| self.length(row))
            .max()
            .unwrap_or(0)
    }

    /// The row's length in tokens.
    pub fn length(&self, row: usize) -> usize {
        self.bounds(row).len()
    }
}

/// Offsets run from 0 to the number of what they divide, and never backwards.
fn check_offsets(name: &str, what: &str, offsets: &[u64], all: usize) -> Result<(), String> {
    if offsets.first() != Some(&0) || offsets.last() != Some(&(all as u64)) {
        return Err(format!("{name} do not run from 0 to the number of {what}"));
    }
    match offsets.windows(2).position(|bounds| bounds[1] < bounds[0]) {
        Some(row) => Err(format!("{name} run backwards at row {row}")),
        None => Ok(()),
    }
}

/// Every number has a name, where there are names.
fn check_named<'a>(
    what: &str,
    numbers: impl Iterator<Item = &'a u32>,
    card: &TokensCard,
) -> Result<(), String> {
    let Some(names) = &card.label_names else {
        return Ok(());
    };
    let largest = numbers.max();
    match largest.filter(|number| **number as usize >= names.len()) {
        Some(number) => Err(format!(
            "the {what} {number} has no name among {}",
            names.len()
        )),
        None => Ok(()),
    }
}
