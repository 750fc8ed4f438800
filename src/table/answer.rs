//! An answer stands where it says it does: starts count Unicode characters, and the text is there to compare.
//!
//! Data sets get this wrong in known ways (bytes or UTF-16 units counted instead, white space cleaned after the count), so
//! the error says what stands there instead, and where the answer is.
//!
//! Deliberately absent: mending. A start that is off by one may be off by one because the text is another.

use std::borrow::Cow;

use super::Answer;
use super::error::{Place, TableError};

/// A context, with the way from characters to bytes and back.
pub(super) struct Context<'c> {
    text: &'c str,
    /// The byte at which each character begins, and the end; none where every character is one byte.
    bytes: Option<Vec<usize>>,
}

impl<'c> Context<'c> {
    pub(super) fn of(text: &'c str) -> Self {
        let begins = || text.char_indices().map(|(byte, _)| byte);
        let bytes = (!text.is_ascii()).then(|| begins().chain([text.len()]).collect());
        Context { text, bytes }
    }

    /// In characters.
    fn len(&self) -> usize {
        let characters = self.bytes.as_ref().map(|bytes| bytes.len() - 1);
        characters.unwrap_or(self.text.len())
    }

    /// The text from this character on; nothing beyond the end.
    fn from(&self, character: usize) -> Option<&'c str> {
        match &self.bytes {
            Some(bytes) => self.text.get(*bytes.get(character)?..),
            None => self.text.get(character..),
        }
    }

    fn character(&self, byte: usize) -> usize {
        match &self.bytes {
            Some(bytes) => bytes.partition_point(|&begin| begin < byte),
            None => byte,
        }
    }

    /// The answer with this text at this character.
    ///
    /// # Errors
    /// Another text, or the end of the context, stands there; or the text is empty.
    pub(super) fn answer<'a>(
        &self,
        text: Cow<'a, str>,
        start: i64,
        place: &dyn Fn() -> Place,
    ) -> Result<Answer<Cow<'a, str>>, TableError> {
        if text.is_empty() {
            return Err(TableError::EmptyAnswer { place: place() });
        }
        let length = text.chars().count();
        let fits = |first: u32| (first as usize).saturating_add(length) <= self.len();
        let inside = u32::try_from(start).ok().filter(|&first| fits(first));
        let rest = inside.and_then(|first| Some((first, self.from(first as usize)?)));
        let Some((first, rest)) = rest else {
            return Err(TableError::AnswerOutside {
                place: place(),
                start,
                length: self.len(),
                help: self.help(&text, start),
                answer: shortened(&text),
            });
        };
        if !rest.starts_with(&*text) {
            return Err(TableError::AnswerNotThere {
                place: place(),
                start: first,
                found: shortened(&rest.chars().take(length).collect::<String>()),
                help: self.help(&text, start),
                answer: shortened(&text),
            });
        }
        Ok(Answer { start: first, text })
    }

    /// Where the text stands, and why it might have been thought to stand at `start`.
    fn help(&self, text: &str, start: i64) -> String {
        const SHOWN: usize = 3;
        let found = self.text.match_indices(text).map(|(byte, _)| byte);
        let found = found.take(SHOWN + 1).collect::<Vec<_>>();
        let units = |byte: usize| {
            let before = self.text.get(..byte).unwrap_or_default();
            before.encode_utf16().count()
        };
        let at = |place: usize| i64::try_from(place) == Ok(start);
        let counted = if found.iter().any(|&byte| at(byte)) {
            "bytes"
        } else if found.iter().any(|&byte| at(units(byte))) {
            "UTF-16 units"
        } else {
            ""
        };
        let places = found.iter().take(SHOWN);
        let places = places.map(|&byte| self.character(byte).to_string());
        let mut places = places.collect::<Vec<_>>().join(", ");
        if found.len() > SHOWN {
            places.push_str(", …");
        }
        match (found.is_empty(), counted) {
            (true, _) => "the context does not hold this text anywhere: correct the row, or leave such rows out with `skip_invalid = true`".to_owned(),
            (false, "") => format!("the text stands at character {places}, counted from 0: correct the start, or leave such rows out with `skip_invalid = true`"),
            (false, counted) => format!("the text stands at character {places}: starts count Unicode characters from 0, and this one counts {counted}"),
        }
    }
}

/// An answer may be a paragraph; the message need not be.
fn shortened(text: &str) -> Box<str> {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn answer(context: &str, text: &str, start: i64) -> Result<u32, TableError> {
        let place = || Place::line(Path::new("qa.jsonl"), 1);
        let answer = Context::of(context).answer(Cow::Borrowed(text), start, &place);
        answer.map(|answer| answer.start)
    }

    fn help(context: &str, text: &str, start: i64) -> String {
        match answer(context, text, start) {
            Err(
                TableError::AnswerNotThere { help, .. } | TableError::AnswerOutside { help, .. },
            ) => help,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_start_counts_characters() {
        assert_eq!(answer("Die Rhône fließt", "fließt", 10).unwrap(), 10);
        assert_eq!(answer("plain text", "text", 6).unwrap(), 6);
        let error = answer("Die Rhône fließt", "fließt", 9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "qa.jsonl, line 1: the answer \"fließt\" should start at character 9, where \" fließ\" stands"
        );
    }

    #[test]
    fn the_help_says_where_the_answer_is_and_what_was_counted() {
        let context = "🙂 été, then an été more";
        assert!(help(context, "then", 5).starts_with("the text stands at character 7, counted"));
        assert!(help(context, "then", 12).contains("character 7: starts count Unicode"));
        assert!(help(context, "then", 12).ends_with("counts bytes"));
        assert!(help(context, "été", 3).ends_with("counts UTF-16 units"));
        assert!(help(context, "été", 1).contains("at character 2, 15,"));
        assert!(help(context, "winter", 1).starts_with("the context does not hold"));
    }

    #[test]
    fn a_start_outside_the_context_is_an_error() {
        for start in [-1, 3, 100, i64::MIN, i64::MAX] {
            let error = answer("été", "é", start).unwrap_err();
            assert!(
                matches!(error, TableError::AnswerOutside { length: 3, .. }),
                "{start}"
            );
        }
        assert!(matches!(
            answer("été", "", 0),
            Err(TableError::EmptyAnswer { .. })
        ));
    }

    proptest! {
        #[test]
        fn every_part_of_a_context_is_an_answer_at_its_place(
            context in "[a-cé🙂 ]{1,20}",
            from in 0_usize..20,
            length in 1_usize..20,
            start in -2_i64..25,
        ) {
            let characters = context.chars().collect::<Vec<_>>();
            let from = from % characters.len();
            let part = characters[from..].iter().take(length).collect::<String>();
            prop_assert_eq!(answer(&context, &part, from as i64).unwrap(), from as u32);
            let there = usize::try_from(start).is_ok_and(|start| {
                start < characters.len() && characters[start..].iter().collect::<String>().starts_with(&part)
            });
            prop_assert_eq!(answer(&context, &part, start).is_ok(), there);
        }
    }
}
