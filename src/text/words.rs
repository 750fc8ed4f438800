//! The short way from text to ids for BERT's tokenizers: words are looked up, and the rare new one is tokenized.
//!
//! BERT's normalizer and pre-tokenizer never look across white space, and keep each punctuation mark by itself. So the ids
//! of a text are those of its words, one after the other, and what a word came to once it comes to again. A word of ASCII
//! letters and digits goes to the model directly; whatever else stands between two spaces (other scripts, control
//! characters, what might hold an added token) goes through the whole tokenizer, by itself. Ids and lengths are those of
//! [`Tokenizer::encoding`](super::Tokenizer), the test's oracle, at about a thirtieth of its time.
//!
//! Deliberately absent: tokenizers of other kinds, which take the long way; and memory that grows with the text, since a
//! [`Memo`] has a fixed number of places.

use std::ops::Range;

use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{Encoding, Model, PostProcessor, Token};

/// What a byte is to BERT's tokenizer. Flags, so that a stretch of text has the union of its bytes'.
const WORD: u8 = 1;
const PUNCTUATION: u8 = 2;
const OTHER: u8 = 4;
const SPACE: u8 = 8;

/// A tokenizer whose texts may be taken word by word.
#[derive(Debug, Clone)]
pub(super) struct Words {
    lowercase: bool,
    /// Longer ones are unknown, whatever they are.
    longest_word: usize,
    classes: [u8; 256],
    single: Frame,
    pair: Frame,
}

/// What a template puts around texts: ids with their types, and the types of the texts.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    pub(super) before: Vec<(u32, u8)>,
    pub(super) between: Vec<(u32, u8)>,
    pub(super) after: Vec<(u32, u8)>,
    pub(super) types: [u8; 2],
}

/// The ids of short words met before. A word's hash gives it a pair of places, of which the later comer takes the first.
pub(super) struct Memo {
    places: Vec<[Remembered; 2]>,
    shift: u32,
    /// Room for the ids of a pair's second text.
    second: Vec<u32>,
}

const MOST_PAIRS: usize = 1 << 14;
const MOST_BYTES: usize = 16;
const MOST_IDS: usize = 5;

/// A word's bytes stand here rather than where they came from, which would be one cache miss more for each word.
#[derive(Clone, Copy, Default)]
struct Remembered {
    word: [u64; MOST_BYTES / 8],
    /// 0 where nothing is remembered.
    length: u8,
    count: u8,
    ids: [u32; MOST_IDS],
}

impl Memo {
    /// Room for the words of so many bytes of text, or for the most frequent of them.
    pub(super) fn for_bytes(bytes: usize) -> Self {
        let pairs = (bytes / 16).clamp(2, MOST_PAIRS).next_power_of_two();
        Memo {
            places: vec![[Remembered::default(); 2]; pairs],
            shift: u64::BITS - pairs.trailing_zeros(),
            second: Vec::new(),
        }
    }

    /// Appends the ids of a word of `text`.
    fn look_up(
        &mut self,
        text: &str,
        place: Range<usize>,
        ids: &mut Vec<u32>,
        tokenize: impl FnOnce(&str, &mut Vec<u32>) -> Result<(), tokenizers::Error>,
    ) -> Result<(), tokenizers::Error> {
        let length = place.len();
        if length > MOST_BYTES {
            return tokenize(&text[place], ids);
        }
        let word = packed(text.as_bytes(), &place);
        let is_it = |known: &Remembered| known.word == word && usize::from(known.length) == length;
        let pair = &mut self.places[(hash(word) >> self.shift) as usize];
        if is_it(&pair[1]) {
            pair.swap(0, 1);
        }
        if is_it(&pair[0]) {
            ids.extend_from_slice(&pair[0].ids[..usize::from(pair[0].count)]);
            return Ok(());
        }
        let start = ids.len();
        tokenize(&text[place], ids)?;
        let found = &ids[start..];
        let mut new = Remembered {
            word,
            length: length as u8,
            count: found.len() as u8,
            ..Remembered::default()
        };
        if let Some(room) = new.ids.get_mut(..found.len()) {
            room.copy_from_slice(found);
            *pair = [new, pair[0]];
        }
        Ok(())
    }
}

/// At most 16 bytes, filled up with zeros.
fn packed(text: &[u8], place: &Range<usize>) -> [u64; 2] {
    let beyond = 8 * (MOST_BYTES - place.len()) as u32;
    let word = match text[place.start..].first_chunk() {
        Some(bytes) => u128::from_le_bytes(*bytes) & u128::MAX.unbounded_shr(beyond),
        None => {
            let mut bytes = [0; MOST_BYTES];
            bytes[..place.len()].copy_from_slice(&text[place.clone()]);
            u128::from_le_bytes(bytes)
        }
    };
    [word as u64, (word >> 64) as u64]
}

fn hash(word: [u64; 2]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(word[0] ^ MIX) * u128::from(word[1] ^ MIX.rotate_left(32));
    (word[0].wrapping_mul(MIX) ^ product as u64 ^ (product >> 64) as u64).wrapping_mul(MIX)
}

impl Words {
    /// The short way for `tokenizer`, where there is one.
    pub(super) fn of(
        tokenizer: &tokenizers::Tokenizer,
        template: Option<&PostProcessorWrapper>,
    ) -> Option<Self> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
            return None;
        };
        if !matches!(
            template,
            None | Some(
                PostProcessorWrapper::Template(_)
                    | PostProcessorWrapper::Bert(_)
                    | PostProcessorWrapper::Roberta(_)
            )
        ) {
            return None;
        }
        let mut classes = [OTHER; 256];
        for byte in 0..=u8::MAX {
            classes[usize::from(byte)] = match byte {
                b' ' | b'\t' | b'\n' | b'\r' => SPACE,
                byte if byte.is_ascii_alphanumeric() => WORD,
                byte if byte.is_ascii_punctuation() => PUNCTUATION,
                _ => OTHER,
            };
        }
        // No normalization makes or removes an ASCII punctuation mark within ASCII: a stretch without the mark is
        // without the token.
        for token in tokenizer.get_added_tokens_decoder().values() {
            let content = token.content.as_bytes();
            let mark = content.iter().find(|byte| byte.is_ascii_punctuation())?;
            if !content.iter().all(u8::is_ascii_graphic) {
                return None;
            }
            classes[usize::from(*mark)] = OTHER;
        }
        Some(Words {
            lowercase: normalizer.lowercase,
            longest_word: model.max_input_chars_per_word,
            classes,
            single: Frame::of(template, false)?,
            pair: Frame::of(template, true)?,
        })
    }

    /// Appends the ids of a row and their types, cut to `max_length`, and returns the row's length before that.
    ///
    /// # Errors
    /// The tokenizer refuses a word; what was appended until then stays.
    pub(super) fn encode(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        (text, pair): (&str, Option<&str>),
        max_length: usize,
        memo: &mut Memo,
        ids: &mut Vec<u32>,
        type_ids: &mut Vec<u8>,
    ) -> Result<usize, tokenizers::Error> {
        let frame = match pair {
            Some(_) => &self.pair,
            None => &self.single,
        };
        let special = frame.length();
        let room = max_length.saturating_sub(special);
        let add = |around: &[(u32, u8)], ids: &mut Vec<u32>, type_ids: &mut Vec<u8>| {
            ids.extend(around.iter().map(|(id, _)| id));
            type_ids.extend(around.iter().map(|(_, type_id)| type_id));
        };
        add(&frame.before, ids, type_ids);
        let start = ids.len();
        self.append(tokenizer, text, memo, ids)?;
        let first = ids.len() - start;
        let mut second = 0;
        let mut kept = (first.min(room), 0);
        if let Some(pair) = pair {
            let mut other = std::mem::take(&mut memo.second);
            other.clear();
            let appended = self.append(tokenizer, pair, memo, &mut other);
            second = other.len();
            kept = longest_first(first, second, room);
            ids.truncate(start + kept.0);
            type_ids.resize(type_ids.len() + kept.0, frame.types[0]);
            add(&frame.between, ids, type_ids);
            ids.extend_from_slice(&other[..kept.1]);
            type_ids.resize(type_ids.len() + kept.1, frame.types[1]);
            memo.second = other;
            appended?;
        } else {
            ids.truncate(start + kept.0);
            type_ids.resize(type_ids.len() + kept.0, frame.types[0]);
        }
        add(&frame.after, ids, type_ids);
        Ok(special + first + second)
    }

    /// Appends the ids of a text, with nothing around them.
    ///
    /// # Errors
    /// As [`Words::encode`].
    pub(super) fn append(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        text: &str,
        memo: &mut Memo,
        ids: &mut Vec<u32>,
    ) -> Result<(), tokenizers::Error> {
        let bytes = text.as_bytes();
        let class = |at: usize| match bytes.get(at) {
            Some(byte) => self.classes[usize::from(*byte)],
            None => SPACE,
        };
        let mut at = 0;
        while at < bytes.len() {
            if class(at) == SPACE {
                at += 1;
                continue;
            }
            let (start, mut seen) = (at, 0);
            while class(at) != SPACE {
                seen |= class(at);
                at += 1;
            }
            // White space and punctuation are ASCII, so every cut is between characters.
            if seen & OTHER != 0 {
                memo.look_up(text, start..at, ids, |word, ids| {
                    ids.extend_from_slice(tokenizer.encode_fast(word, false)?.get_ids());
                    Ok(())
                })?;
                continue;
            }
            let mut from = start;
            while from < at {
                let mut to = from + 1;
                if class(from) == WORD {
                    while to < at && class(to) == WORD {
                        to += 1;
                    }
                }
                memo.look_up(text, from..to, ids, |word, ids| {
                    self.append_word(tokenizer.get_model(), word, ids)
                })?;
                from = to;
            }
        }
        Ok(())
    }

    /// ASCII letters and digits, or one mark.
    fn append_word(
        &self,
        model: &ModelWrapper,
        word: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), tokenizers::Error> {
        let lower;
        let word = if self.lowercase && word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = word.to_ascii_lowercase();
            &lower
        } else {
            word
        };
        // The longest piece of a word is the word.
        if word.len() <= self.longest_word
            && let Some(id) = model.token_to_id(word)
        {
            ids.push(id);
            return Ok(());
        }
        ids.extend(model.tokenize(word)?.iter().map(|token| token.id));
        Ok(())
    }
}

/// How much of two texts is kept where `room` tokens fit: the shorter whole while the longer gives way, then half each.
///
/// Source: tokenizers 0.23, `utils/truncation.rs`, `LongestFirst`.
fn longest_first(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first + second <= room {
        return (first, second);
    }
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) = if short + short.max(room.saturating_sub(short)) > room {
        (room / 2, room / 2 + room % 2)
    } else {
        (short, long.min(room - short))
    };
    if first > second {
        (long, short)
    } else {
        (short, long)
    }
}

impl Frame {
    /// How many tokens stand around the texts.
    pub(super) fn length(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// Asked of the template's behaviour; none where it does more than put tokens around the texts in their order.
    pub(super) fn of(template: Option<&PostProcessorWrapper>, pair: bool) -> Option<Self> {
        const MARKS: [u32; 2] = [u32::MAX - 1, u32::MAX];
        let text = |mark: u32| {
            let token = Token::new(mark, String::new(), (0, 0));
            Encoding::from_tokens(vec![token], 0)
        };
        let Some(template) = template else {
            return Some(Frame {
                types: [0, 1],
                ..Frame::default()
            });
        };
        let framed = template
            .process(text(MARKS[0]), pair.then(|| text(MARKS[1])), true)
            .ok()?;
        let mut parts = vec![Vec::new()];
        let mut types = Vec::new();
        for (&id, &type_id) in framed.get_ids().iter().zip(framed.get_type_ids()) {
            let type_id = u8::try_from(type_id).ok()?;
            if MARKS.get(types.len()) == Some(&id) {
                types.push(type_id);
                parts.push(Vec::new());
            } else {
                parts.last_mut()?.push((id, type_id));
            }
        }
        let after = parts.pop()?;
        let mut parts = parts.into_iter();
        let frame = Frame {
            before: parts.next()?,
            between: parts.next().unwrap_or_default(),
            after,
            types: [*types.first()?, types.get(1).copied().unwrap_or_default()],
        };
        (types.len() == 1 + usize::from(pair)).then_some(frame)
    }
}
