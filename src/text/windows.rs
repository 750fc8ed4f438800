//! Rows of which no token may be lost: lists of words, and questions with the context that is to answer them. What is
//! longer than a model reads is cut into windows.
//!
//! Ids, windows and places of characters are those of transformers, called as its own examples call it: for words with
//! `is_split_into_words=True`, for questions with `truncation="only_second"`, a `stride` and
//! `return_overflowing_tokens=True`. Two things are otherwise. A word that the tokenizer makes nothing of (a lone variation
//! selector, say) becomes the unknown token, so that it too gets a tag. And where transformers refuses a question that
//! leaves no more than `stride` tokens to its context, the question is cut ([`shares`]).
//!
//! A token may be in several windows. The one that shows most of what stands around it speaks for it, as in BERT's own
//! `run_squad.py`; for words that is settled here ([`owners`]), for answers by whoever reads them.
//!
//! Deliberately absent: windows of plain texts and pairs, which are cut to `max_length` instead; and tokenizers' own
//! overflow, which carries every window of a pair along with every other.

use std::ops::{ControlFlow, Range};

use tokenizers::PostProcessor;
use tokenizers::processors::PostProcessorWrapper;

use super::check::caught;
use super::words::{Frame, Memo};
use super::{Encoded, NONE, TextError, Tokenizer};

impl Tokenizer {
    /// Encodes lists of words. One with too many tokens becomes several rows of at most `max_length` tokens, of which
    /// neighbours share `stride` tokens of text; the cut may fall inside a word. Each word is owned by one row, see
    /// [`Encoded::words`]. After each piece of work `on_rows` is told how many lists were done, and may stop the rest.
    ///
    /// # Errors
    /// `max_length` leaves no room beside the special tokens, or not more than `stride`; a word that the tokenizer
    /// refuses; [`TextError::Interrupted`] when `on_rows` said so.
    pub fn encode_words<W: AsRef<str> + Sync>(
        &self,
        rows: &[Vec<W>],
        max_length: usize,
        stride: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded, TextError> {
        let (frame, room) = self.frame(false, max_length, stride)?;
        let unknown = self.unknown_id.unwrap_or(self.pad_id);
        let bytes = rows.iter().flatten().map(|word| word.as_ref().len()).sum();
        let empty = Encoded {
            example: Some(Vec::new()),
            words: Some(Vec::new()),
            ..Encoded::default()
        };
        self.in_pieces(
            rows.len(),
            bytes,
            &empty,
            on_rows,
            |numbers, memo, encoded| {
                for number in numbers {
                    let mut ids = Vec::new();
                    let mut firsts = Vec::with_capacity(rows[number].len());
                    for word in &rows[number] {
                        let first = ids.len();
                        firsts.push(first);
                        self.append_ids(word.as_ref(), memo, &mut ids)
                            .map_err(refused(number))?;
                        if ids.len() == first {
                            ids.push(unknown);
                        }
                    }
                    encoded.push_words(number, &frame, &ids, &firsts, room, stride);
                }
                Ok(())
            },
        )
    }

    /// Encodes questions, each with the context of the same number (none is taken for an empty one). A context with too
    /// many tokens becomes several rows of at most `max_length` tokens, each with the whole question, of which neighbours
    /// share `stride` tokens of the context. Where tokens stand in the context says [`Encoded::characters`]. After each
    /// piece of work `on_rows` is told how many questions were done, and may stop the rest.
    ///
    /// # Errors
    /// `max_length` leaves no room beside the special tokens, or not more than `stride`; a text that the tokenizer
    /// refuses; [`TextError::Interrupted`] when `on_rows` said so.
    pub fn encode_questions<T: AsRef<str> + Sync>(
        &self,
        questions: &[T],
        contexts: &[T],
        max_length: usize,
        stride: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded, TextError> {
        let (frame, room) = self.frame(true, max_length, stride)?;
        let alone = Frame::of(self.template.as_ref(), false).ok_or(TextError::NoWindows)?;
        let bytes = questions.iter().map(|text| text.as_ref().len()).sum();
        let empty = Encoded {
            example: Some(Vec::new()),
            characters: Some(Default::default()),
            ..Encoded::default()
        };
        self.in_pieces(
            questions.len(),
            bytes,
            &empty,
            on_rows,
            |numbers, memo, encoded| {
                let mut question = Vec::new();
                let mut context: Option<Context> = None;
                for number in numbers {
                    question.clear();
                    self.append_ids(questions[number].as_ref(), memo, &mut question)
                        .map_err(refused(number))?;
                    let text = contexts.get(number).map_or("", AsRef::as_ref);
                    // The questions about a context usually follow each other.
                    let context = match context.take().filter(|last| last.text == text) {
                        Some(last) => context.insert(last),
                        None => {
                            context.insert(self.context(text, &alone).map_err(refused(number))?)
                        }
                    };
                    let first = |token: usize| self.first_place(context, token);
                    let asked = (&question[..], &*context, &first as FirstPlace);
                    encoded.push_question(number, &frame, asked, room, stride);
                }
                Ok(())
            },
        )
    }

    /// What stands around texts, and how many tokens of text there is room for.
    fn frame(
        &self,
        pair: bool,
        max_length: usize,
        stride: usize,
    ) -> Result<(Frame, usize), TextError> {
        let frame = Frame::of(self.template.as_ref(), pair).ok_or(TextError::NoWindows)?;
        let added = frame.length();
        let room = max_length.saturating_sub(added);
        if room == 0 {
            return Err(TextError::NoRoom { max_length, added });
        }
        if stride >= room {
            return Err(TextError::StrideTooLong {
                stride,
                max_length,
                added,
            });
        }
        Ok((frame, room))
    }

    /// The ids of a text, without anything around it.
    fn append_ids(
        &self,
        text: &str,
        memo: &mut Memo,
        ids: &mut Vec<u32>,
    ) -> Result<(), tokenizers::Error> {
        match &self.by_words {
            Some(words) => words.append(&self.words, text, memo, ids),
            None => {
                ids.extend_from_slice(self.encode_alone(text)?.get_ids());
                Ok(())
            }
        }
    }

    /// `alone` is what stands around a single text.
    fn context<'t>(&self, text: &'t str, alone: &Frame) -> Result<Context<'t>, tokenizers::Error> {
        let mut encoding = caught(|| self.words.encode_char_offsets(text, false))?;
        let untrimmed = match self.template.as_ref().is_some_and(spares_the_first) {
            true => encoding.get_offsets().to_vec(),
            false => Vec::new(),
        };
        if let Some(template) = &self.template {
            // Some templates also trim white space off the places.
            encoding = template.process(encoding, None, true)?;
        }
        let tokens = alone.before.len()..encoding.len() - alone.after.len();
        let characters = text.chars().count();
        // tokenizers leaves a place at the very end of the text in bytes.
        let place = |place: usize| u32::try_from(place.min(characters)).unwrap_or(NONE - 1);
        let within = |(start, end): (usize, usize)| (start.min(characters), end.min(characters));
        let untrimmed = untrimmed.into_iter().map(within).collect();
        let places = &encoding.get_offsets()[tokens.clone()];
        Ok(Context {
            text,
            start: places.iter().map(|(start, _)| place(*start)).collect(),
            end: places.iter().map(|(_, end)| place(*end)).collect(),
            ids: encoding.get_ids()[tokens].to_vec(),
            untrimmed,
        })
    }

    /// Where the first token of a window stands, where that depends on its being the first.
    fn first_place(&self, context: &Context, token: usize) -> Option<(u32, u32)> {
        let template = self.template.as_ref()?;
        let place = *context.untrimmed.get(token)?;
        let id = *context.ids.get(token)?;
        let token = tokenizers::Token::new(id, self.words.id_to_token(id)?, place);
        let alone = tokenizers::Encoding::from_tokens(vec![token], 0);
        let alone = template.process(alone, None, false).ok()?;
        let (start, end) = *alone.get_offsets().first()?;
        Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?))
    }
}

fn refused(row: usize) -> impl Fn(tokenizers::Error) -> TextError {
    move |error| TextError::Row {
        row,
        message: error.to_string(),
    }
}

/// The tokens of a context and where they stand in it, in Unicode characters.
struct Context<'t> {
    text: &'t str,
    ids: Vec<u32>,
    start: Vec<u32>,
    end: Vec<u32>,
    /// Places with the space before a word, where [`spares_the_first`].
    untrimmed: Vec<(usize, usize)>,
}

/// Whether a template trims white space off the places of all tokens but the first, which it takes to be its own. Of a
/// window that begins within the context it takes the same.
fn spares_the_first(template: &PostProcessorWrapper) -> bool {
    match template {
        PostProcessorWrapper::Roberta(roberta) => roberta.trim_offsets && roberta.add_prefix_space,
        PostProcessorWrapper::ByteLevel(bytes) => bytes.trim_offsets && bytes.add_prefix_space,
        PostProcessorWrapper::Sequence(parts) => parts.as_ref().iter().any(spares_the_first),
        _ => false,
    }
}

/// Where the text of a window that begins at this token really begins, if that differs from the token's own place.
type FirstPlace<'a> = &'a dyn Fn(usize) -> Option<(u32, u32)>;

impl Encoded {
    fn push_words(
        &mut self,
        example: usize,
        frame: &Frame,
        ids: &[u32],
        firsts: &[usize],
        room: usize,
        stride: usize,
    ) {
        let windows: Vec<Range<usize>> = windows(ids.len(), room, stride).collect();
        let owners = owners(firsts, &windows);
        let mut word = 0;
        for (number, window) in windows.iter().enumerate() {
            let text = self.ids.len() + frame.before.len();
            self.push_window(example, frame, &ids[window.clone()], None);
            let words = self.words.get_or_insert_default();
            words.resize(self.ids.len(), NONE);
            while owners.get(word) == Some(&number) {
                words[text + firsts[word] - window.start] = word as u32;
                word += 1;
            }
        }
        self.push_length(frame.length() + ids.len());
    }

    fn push_question(
        &mut self,
        example: usize,
        frame: &Frame,
        (question, context, first): (&[u32], &Context, FirstPlace),
        room: usize,
        stride: usize,
    ) {
        let (kept, room, stride) = shares(question.len(), context.ids.len(), room, stride);
        for window in windows(context.ids.len(), room, stride) {
            let text = self.ids.len() + frame.before.len() + kept + frame.between.len();
            let ids = &context.ids[window.clone()];
            self.push_window(example, frame, &question[..kept], Some(ids));
            let (start, end) = self.characters.get_or_insert_default();
            for (to, from) in [(&mut *start, &context.start), (&mut *end, &context.end)] {
                to.resize(text, NONE);
                to.extend_from_slice(&from[window.clone()]);
                to.resize(self.ids.len(), NONE);
            }
            if !window.is_empty()
                && let Some(place) = first(window.start)
            {
                (start[text], end[text]) = place;
            }
        }
        self.truncated += usize::from(kept < question.len());
        self.push_length(frame.length() + question.len() + context.ids.len());
    }

    /// A row: the text and its pair, with what stands around them.
    fn push_window(&mut self, example: usize, frame: &Frame, text: &[u32], pair: Option<&[u32]>) {
        let mut add = |ids: &mut dyn Iterator<Item = (u32, u8)>| {
            for (id, type_id) in ids {
                self.ids.push(id);
                self.type_ids.push(type_id);
            }
        };
        let of_type = |type_id: u8| move |id: &u32| (*id, type_id);
        add(&mut frame.before.iter().copied());
        add(&mut text.iter().map(of_type(frame.types[0])));
        add(&mut frame.between.iter().copied());
        add(&mut pair.unwrap_or_default().iter().map(of_type(frame.types[1])));
        add(&mut frame.after.iter().copied());
        self.offsets.push(self.ids.len() as u64);
        self.example.get_or_insert_default().push(example as u32);
    }

    fn push_length(&mut self, full_length: usize) {
        self.full_lengths
            .push(u32::try_from(full_length).unwrap_or(u32::MAX));
    }
}

/// Windows over `length` tokens, at least one: each but the last has `room` tokens, and shares `stride` of them (fewer
/// than `room`) with the next.
///
/// Source: tokenizers 0.23, `Encoding::truncate`.
fn windows(length: usize, room: usize, stride: usize) -> impl Iterator<Item = Range<usize>> {
    let step = room.saturating_sub(stride).max(1);
    let more = length.saturating_sub(room).div_ceil(step);
    (0..=more).map(move |number| number * step..length.min(number * step + room))
}

/// For each of `firsts` (ascending places within the windows together) the window that shows most of its poorer side: of
/// what stands before and what stands behind it the shorter. Of two equal ones it is the earlier.
///
/// From place to place the best window never moves back, and on the way to it every next one is better, so one walk
/// finds them all.
///
/// Source: `_check_is_max_context` in `run_squad.py` of BERT (Devlin et al. 2018).
fn owners(firsts: &[usize], windows: &[Range<usize>]) -> Vec<usize> {
    let context = |window: &Range<usize>, place: usize| {
        let (start, end, place) = (window.start as i64, window.end as i64, place as i64);
        (place - start).min(end - 1 - place)
    };
    let mut owner = 0;
    let owner_of = |place: &usize| {
        while let [this, next, ..] = &windows[owner..]
            && context(next, *place) > context(this, *place)
        {
            owner += 1;
        }
        owner
    };
    firsts.iter().map(owner_of).collect()
}

/// How many tokens of a question are kept, how many of the context there is then room for, and how many of these
/// neighbouring windows share.
///
/// A question that leaves no more than `stride` tokens to a context that does not fit is cut to half of the room, or to
/// what a shorter context leaves; `stride` then is at most half of what the context has.
fn shares(question: usize, context: usize, room: usize, stride: usize) -> (usize, usize, usize) {
    let fits = question + context <= room || question + stride < room;
    let most = match fits {
        true => room,
        false => (room / 2).max(room.saturating_sub(context)),
    };
    let kept = question.min(most);
    let left = room - kept;
    (kept, left, if stride < left { stride } else { left / 2 })
}

#[cfg(test)]
mod tests;
