//! A tag for each word.
//!
//! A word is tagged by its first sub-token. Without a CRF each takes its likeliest tag; with one, the tags of a sentence are
//! decided together (Viterbi), and only along transitions that the tagging scheme allows. A sentence longer than the model
//! reads is seen in windows; the outputs for each of its words are those of the one window that owns it. What is decided
//! together is still the whole sentence: an entity may begin in one window and go on in the next.
//!
//! How sure an answer is: the softmax of the word's outputs, or with a CRF the word's marginal probability. An entity is as
//! sure as its least sure word.

use std::borrow::Cow;

use super::changes::Judged;
use super::predictions::Recalled;
use super::{Answers, Asked, Decisive, Outcome, Reply, Rule, Scored, TaskError, characters};
use crate::learn::{Predictions, Rows};
use crate::metrics::{self, Entity, Scheme};
use crate::model::{Classifier, Crf, Forbidden};
use crate::table::{Cells, NamedColumns, Span};
use crate::text::NONE;

/// The tag of a word that is in no chunk.
const OUTSIDE: &str = "O";

struct Tagged {
    names: Vec<String>,
    scheme: Option<Scheme>,
    /// `[examples][words]`.
    predicted: Vec<Vec<u32>>,
    /// Of the predicted tag. `[examples][words]`.
    sureness: Vec<Vec<f32>>,
}

pub(super) fn decide(
    rule: &Rule,
    model: &Classifier,
    outputs: &Predictions,
    asked: &Asked,
) -> Result<impl Answers + use<>, TaskError> {
    let sentences = sentences(outputs, asked.rows, rule.names.len())?;
    let decided = match model.head.crf() {
        Some(crf) => together(crf, &sentences, rule)?,
        None => sentences
            .iter()
            .map(|sentence| likeliest(sentence, rule.names.len()))
            .collect(),
    };
    let words = decided.into_iter().map(|words| words.into_iter().unzip());
    let (predicted, sureness) = words.unzip();
    Ok(Tagged {
        names: rule.names.clone(),
        scheme: rule.scheme,
        predicted,
        sureness,
    })
}

/// The outputs for the words of each example, `tags` of them for each word.
fn sentences(
    outputs: &Predictions,
    rows: &dyn Rows,
    tags: usize,
) -> Result<Vec<Vec<f32>>, TaskError> {
    let mut sentences = vec![Vec::new(); rows.examples()];
    for (row, outputs) in outputs.logits.iter().enumerate() {
        let words = rows
            .words(row)
            .ok_or_else(|| TaskError::misfit("no words"))?;
        let owned = words.iter().filter(|&&word| word != NONE).count();
        let sentence = sentences.get_mut(rows.example(row));
        // Windows follow each other, and so do the words that they own.
        match sentence.filter(|_| owned * tags == outputs.len()) {
            Some(sentence) => sentence.extend_from_slice(outputs),
            None => return Err(TaskError::misfit("another number of words")),
        }
    }
    Ok(sentences)
}

/// Tag and probability of each word, from `outputs`, `tags` of them for each word.
fn likeliest(outputs: &[f32], tags: usize) -> Vec<(u32, f32)> {
    let of_word = |word: &[f32]| {
        let largest = word.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let tag = word
            .iter()
            .position(|&output| output == largest)
            .unwrap_or(0);
        let sum: f64 = word
            .iter()
            .map(|&output| f64::from(output - largest).exp())
            .sum();
        (tag as u32, (1.0 / sum) as f32)
    };
    outputs.chunks(tags.max(1)).map(of_word).collect()
}

/// Tag and probability of each word, the tags of a sentence together.
fn together(
    crf: &Crf,
    emissions: &[Vec<f32>],
    rule: &Rule,
) -> Result<Vec<Vec<(u32, f32)>>, TaskError> {
    let forbidden = rule.forbidden();
    let tags = crf.decode(emissions, forbidden.as_ref())?;
    let values = crf.values()?;
    let of_sentence = |(emissions, tags): (&Vec<f32>, Vec<u32>)| {
        let marginals = values.marginals(emissions);
        let of_word = |(tag, of_word): (u32, &[f64])| {
            (
                tag,
                of_word.get(tag as usize).copied().unwrap_or_default() as f32,
            )
        };
        let marginals = marginals.chunks(rule.names.len().max(1));
        tags.into_iter().zip(marginals).map(of_word).collect()
    };
    Ok(emissions.iter().zip(tags).map(of_sentence).collect())
}

impl Rule {
    /// Which tags must not follow each other, begin or end a sentence; none where tags mark no chunks.
    pub fn forbidden(&self) -> Option<Forbidden> {
        let scheme = self.scheme?;
        let names = || self.names.iter().map(|name| Some(name.as_str()));
        let never = |from, to| !scheme.allows(from, to);
        Some(Forbidden {
            transitions: names()
                .flat_map(|from| names().map(move |to| never(from, to)))
                .collect(),
            starts: names().map(|to| never(None, to)).collect(),
            ends: names().map(|from| never(from, None)).collect(),
        })
    }
}

impl Tagged {
    fn names_of<'a>(&'a self, tags: &[u32]) -> Vec<&'a str> {
        let name = |&tag: &u32| self.names.get(tag as usize).map_or("", String::as_str);
        tags.iter().map(name).collect()
    }

    /// The entities in an example.
    fn spans(&self, asked: &Asked, example: usize) -> Vec<Span> {
        let (text, places) = places_in(asked, example);
        let tags = self.names_of(&self.predicted[example]);
        spans(text, &places, &tags, &self.sureness[example])
    }

    /// Every word of an example with its tag.
    fn tagged(&self, asked: &Asked, example: usize) -> Vec<Span> {
        let (text, places) = places_in(asked, example);
        let tags = self.names_of(&self.predicted[example]);
        let words = places.iter().zip(tags).zip(&self.sureness[example]);
        let span = |((&(start, end), tag), &score): ((&(u32, u32), &str), &f32)| Span {
            label: Some(tag.to_owned()),
            start,
            end,
            text: characters(text, start, end).to_owned(),
            score,
        };
        words.map(span).collect()
    }
}

impl Answers for Tagged {
    fn scores(&self, asked: &Asked, loss: f64) -> Result<Scored, TaskError> {
        let right = right_tags(asked.rows)?;
        let right: Vec<Vec<&str>> = right.iter().map(|tags| self.names_of(tags)).collect();
        let predicted: Vec<Vec<&str>> = self
            .predicted
            .iter()
            .map(|tags| self.names_of(tags))
            .collect();
        let scored = metrics::entities(&right, &predicted, self.scheme);
        Ok(Scored {
            flat: scored.flat(loss),
            details: scored.details(),
        })
    }

    fn columns(&self, asked: &Asked) -> Vec<(String, Cells)> {
        let own = |tags: &Vec<u32>| {
            let names = self.names_of(tags).into_iter();
            Some(names.map(str::to_owned).collect::<Vec<String>>())
        };
        let own_all = |rows: &[Vec<u32>]| Cells::TextLists(rows.iter().map(own).collect());
        let mut columns = Vec::new();
        let words = asked.examples.and_then(|examples| examples.words.as_ref());
        if let Some(words) = words {
            let own = |words: &Vec<&str>| Some(words.iter().map(|&word| word.to_owned()).collect());
            let words = words.iter().map(own).collect();
            columns.push(("words".to_owned(), Cells::TextLists(words)));
        }
        if let Ok(right) = right_tags(asked.rows) {
            columns.push(("tags".to_owned(), own_all(&right)));
        }
        columns.push(("predicted".to_owned(), own_all(&self.predicted)));
        let sureness = Cells::FloatLists(self.sureness.clone());
        columns.push(("probability".to_owned(), sureness));
        if words.is_some() && self.scheme.is_some() {
            let entities = (0..self.predicted.len()).map(|example| self.spans(asked, example));
            columns.push(("entities".to_owned(), Cells::Spans(entities.collect())));
        }
        columns
    }

    fn replies(&self, asked: &Asked) -> Vec<Reply> {
        let own = |span: Span| super::Entity {
            label: span.label.unwrap_or_default(),
            start: span.start,
            end: span.end,
            text: span.text,
            score: span.score,
        };
        let reply = |example| {
            let spans = match self.scheme {
                Some(_) => self.spans(asked, example),
                None => self.tagged(asked, example),
            };
            Reply::Entities(spans.into_iter().map(own).collect())
        };
        (0..self.predicted.len()).map(reply).collect()
    }

    fn outcomes(&self, asked: &Asked) -> Result<Vec<Option<Outcome>>, TaskError> {
        let right = right_tags(asked.rows)?;
        let answers = self.predicted.iter().zip(&self.sureness);
        let outcome = |(right, (given, sure)): (&Vec<u32>, (&Vec<u32>, &Vec<f32>))| {
            let sure = sure.iter().copied().reduce(f32::min)?;
            Some(Outcome {
                right: right == given,
                sure,
            })
        };
        Ok(right.iter().zip(answers).map(outcome).collect())
    }

    /// Of the least sure word of an entity; where there is none, of the least sure word.
    fn decisive(&self, asked: &Asked, _: &Predictions, example: usize) -> Option<Decisive> {
        let tags = self.names_of(self.predicted.get(example)?);
        let sure = self.sureness.get(example)?;
        let in_entity = |&word: &usize| self.scheme.is_some() && tags.get(word) != Some(&OUTSIDE);
        let least = |words: &mut dyn Iterator<Item = usize>| {
            words.min_by(|&a, &b| sure[a].total_cmp(&sure[b]))
        };
        let of_entities = least(&mut (0..sure.len()).filter(in_entity));
        let word = of_entities.or_else(|| least(&mut (0..sure.len())))?;
        let tag = *self.predicted.get(example)?.get(word)? as usize;
        let windows = (0..asked.rows.rows()).filter(|&row| asked.rows.example(row) == example);
        let mut owners = windows.filter_map(|row| {
            let words = asked.rows.words(row)?;
            Some((row, words.iter().position(|&own| own as usize == word)?))
        });
        let (row, token) = owners.next()?;
        Some(Decisive {
            row,
            output: vec![(token, tag)],
            name: self.names.get(tag)?.clone(),
        })
    }
}

/// Sentences of predictions, to be scored again. A sentence is right if all its tags are, and as sure as its least sure word.
pub(super) fn recall(columns: &NamedColumns, scheme: Option<Scheme>) -> Option<Recalled> {
    let (tags, predicted) = (columns.lists("tags")?, columns.lists("predicted")?);
    let sure = columns.float_lists("probability");
    let judge = |(row, (tags, predicted)): (usize, (&Vec<&str>, &Vec<&str>))| Judged {
        right: tags == predicted,
        confidence: sure.and_then(|sure| sure.get(row)?.iter().copied().reduce(f32::min)),
    };
    let judged = tags.iter().zip(&predicted).enumerate().map(judge);
    Some(Recalled {
        gold: vec!["tags".to_owned()],
        judged: Some(judged.collect()),
        sample: metrics::sample_of_tags(&tags, &predicted, scheme),
    })
}

/// The text of an example, and where its words stand in it.
fn places_in<'a>(asked: &Asked<'a>, example: usize) -> (&'a str, Cow<'a, [(u32, u32)]>) {
    let text = asked
        .examples
        .and_then(|examples| examples.text.get(example));
    let words = asked
        .examples
        .and_then(|examples| examples.words.as_ref()?.get(example));
    let places = match (asked.places, words) {
        (Some(places), _) => places.get(example).map(|places| Cow::Borrowed(&places[..])),
        (None, words) => words.map(|words| Cow::Owned(places_of(words))),
    };
    (
        text.copied().unwrap_or_default(),
        places.unwrap_or_default(),
    )
}

/// Where words stand in the text that has one space between them.
fn places_of(words: &[&str]) -> Vec<(u32, u32)> {
    let mut next = 0;
    let place = |word: &&str| {
        let start = next;
        let end = start + word.chars().count() as u32;
        next = end + 1;
        (start, end)
    };
    words.iter().map(place).collect()
}

/// The entities that `tags` mark in `text`, whose words stand at `places`.
fn spans(text: &str, places: &[(u32, u32)], tags: &[&str], sureness: &[f32]) -> Vec<Span> {
    let span = |entity: Entity<'_>| {
        let (start, _) = *places.get(entity.start)?;
        let (_, end) = *places.get(entity.end.checked_sub(1)?)?;
        let sure = sureness.get(entity.start..entity.end)?.iter().copied();
        Some(Span {
            label: Some(entity.kind.to_owned()),
            start,
            end,
            text: characters(text, start, end).to_owned(),
            score: sure.fold(1.0, f32::min),
        })
    };
    Entity::find(tags).into_iter().filter_map(span).collect()
}

/// The words of a text, each with where it begins and ends, in Unicode characters: letters and digits that stand together
/// are a word, and so is every other character that is not white space.
pub fn words_in(text: &str) -> Vec<(&str, (u32, u32))> {
    let mut words = Vec::new();
    let mut open: Option<(usize, u32)> = None;
    let mut place = 0;
    for (byte, c) in text.char_indices() {
        let joins = c.is_alphanumeric() || is_mark(c);
        if !joins && let Some((from, start)) = open.take() {
            words.push((&text[from..byte], (start, place)));
        }
        if joins {
            open.get_or_insert((byte, place));
        } else if !c.is_whitespace() {
            words.push((&text[byte..byte + c.len_utf8()], (place, place + 1)));
        }
        place += 1;
    }
    if let Some((from, start)) = open {
        words.push((&text[from..], (start, place)));
    }
    words
}

/// Marks that belong to the letter before them.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// How the tags of these rows mark chunks; none where they mark none.
///
/// # Errors
/// A row without tags.
pub fn scheme_of(rows: &dyn Rows, names: &[String]) -> Result<Option<Scheme>, TaskError> {
    let tags = right_tags(rows)?;
    let name = |&tag: &u32| names.get(tag as usize).map_or("", String::as_str);
    let tags: Vec<Vec<&str>> = tags
        .iter()
        .map(|tags| tags.iter().map(name).collect())
        .collect();
    Ok(Scheme::recognise(&tags))
}

/// The tags of each example's words.
fn right_tags(rows: &dyn Rows) -> Result<Vec<Vec<u32>>, TaskError> {
    let mut tags = vec![Vec::new(); rows.examples()];
    for row in 0..rows.rows() {
        let of_row = rows.tags(row).ok_or_else(|| TaskError::NothingToCompare {
            row: rows.id(row),
            column: "tags",
        })?;
        if let Some(tags) = tags.get_mut(rows.example(row)) {
            tags.extend(of_row.iter().filter(|&&tag| tag != NONE));
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{HeadKind, ScratchSettings, Task, Vocabulary};
    use crate::task::AnswerSettings;
    use crate::text::Tokenizer;

    #[test]
    fn text_is_cut_into_words_and_marks() {
        let words: Vec<&str> = words_in("Dr. O'Neil (Zürich) 3.5 %")
            .into_iter()
            .map(|(word, _)| word)
            .collect();
        assert_eq!(
            words,
            [
                "Dr", ".", "O", "'", "Neil", "(", "Zürich", ")", "3", ".", "5", "%"
            ]
        );
        assert_eq!(
            words_in("e\u{301}te\u{301}"),
            [("e\u{301}te\u{301}", (0, 5))]
        );
    }

    proptest! {
        #[test]
        fn every_character_but_white_space_is_in_one_word(text in "\\PC{0,60}") {
            let words = words_in(&text);
            let joined: String = words.iter().map(|(word, _)| *word).collect();
            let wanted: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            prop_assert_eq!(joined, wanted);
            for (word, (start, end)) in words {
                prop_assert_eq!(characters(&text, start, end), word);
            }
        }
    }

    #[test]
    fn entities_are_placed_in_the_text_and_as_sure_as_their_least_sure_word() {
        let text = "Zoë went to  New York.";
        let (words, places): (Vec<&str>, Vec<_>) = words_in(text).into_iter().unzip();
        assert_eq!(words, ["Zoë", "went", "to", "New", "York", "."]);
        let tags = ["B-PER", "O", "O", "B-LOC", "I-LOC", "O"];
        let sureness = [0.9, 1.0, 1.0, 0.8, 0.7, 1.0];
        let found = spans(text, &places, &tags, &sureness);
        let shown: Vec<_> = found
            .iter()
            .map(|span| {
                (
                    span.label.as_deref(),
                    span.start,
                    span.end,
                    span.text.as_str(),
                    span.score,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (Some("PER"), 0, 3, "Zoë", 0.9),
                (Some("LOC"), 13, 21, "New York", 0.7)
            ]
        );
    }

    #[test]
    fn an_entity_may_go_on_in_the_next_window() {
        let vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "new", "york"];
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary.map(str::to_owned), true).unwrap();
        let sentence = [vec!["york", "york", "new", "york", "york", "york"]];
        let rows = tokenizer
            .encode_words(&sentence, 5, 0, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        assert_eq!((rows.rows(), rows.examples()), (2, 1));
        let names = ["B-LOC", "I-LOC", "O"].map(str::to_owned).to_vec();
        let sizes = ScratchSettings {
            layers: 1,
            hidden: 8,
            heads: 1,
            intermediate: None,
            max_positions: 8,
            dropout: 0.0,
        };
        let vocabulary = Vocabulary {
            size: tokenizer.vocab_size(),
            pad_id: tokenizer.pad_id(),
        };
        let head = HeadKind::Tokens {
            outputs: names.len(),
            crf: true,
            dropout: None,
            stack: crate::model::Stack::default(),
        };
        let device = Device::flex();
        let (model, _) = Classifier::scratch(&sizes, vocabulary, &head, 7, &device).unwrap();
        let rule = Rule {
            task: Task::TokenClassification,
            names,
            thresholds: None,
            scheme: Some(Scheme::Bio),
            answers: AnswerSettings::default(),
        };
        let (begins, inside, outside) = ([9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]);
        let outputs = Predictions {
            logits: vec![
                [outside, outside, begins].concat(),
                [inside, outside, outside].concat(),
            ],
        };
        let asked = Asked {
            rows: &rows,
            examples: None,
            places: None,
        };
        let decided = decide(&rule, &model, &outputs, &asked).unwrap();
        let predicted = (
            "predicted".to_owned(),
            Cells::TextLists(vec![Some(
                ["O", "O", "B-LOC", "I-LOC", "O", "O"]
                    .map(str::to_owned)
                    .to_vec(),
            )]),
        );
        assert!(decided.columns(&asked).contains(&predicted));
    }

    #[test]
    fn the_likeliest_tag_comes_with_its_probability() {
        let found = likeliest(&[0.0, 0.0, 2.0, 0.0], 2);
        assert_eq!(found[0], (0, 0.5));
        assert!(found[1].0 == 0 && (found[1].1 - 0.880_797).abs() < 1e-6);
    }
}
