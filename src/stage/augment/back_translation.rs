//! Copies that a program or a service worded anew, by way of another language (Sennrich et al. 2016,
//! <https://aclanthology.org/P16-1009>; as augmentation Xie et al. 2020, <https://arxiv.org/abs/1904.12848>).
//!
//! Everything is asked for before other operations change the copies, so that equal texts are asked for once.
//!
//! Deliberately absent: tagged words, whose words nobody could find again, and contexts, in which answers stand.

use std::ops::ControlFlow;
use std::time::Duration;

use super::settings::BackTranslation;
use crate::stage::{Context, StageError};
use crate::table::Texts;
use crate::translate::{Asked, Command, Http, Kept, Service, TranslateError, rewrite};

/// The variable with the key of a service.
const KEY: &str = "LIBRETRANSLATE_API_KEY";

/// How often in a row a program is started anew, or a request put again, without an answer.
const ATTEMPTS: u32 = 3;

/// The text, and where it is not a context the text pair, of each row in `due`, worded anew; `copy` numbers a row's copy.
///
/// # Errors
/// Tagged words, and whatever the program or the service does wrong.
pub(super) fn reworded(
    settings: &BackTranslation,
    context: &Context,
    rows: &Texts,
    due: &[usize],
    copy: &dyn Fn(usize) -> u32,
) -> Result<Vec<(String, Option<String>)>, StageError> {
    if rows.words.is_some() {
        return Err(StageError::Mismatch {
            message: "`back_translation` cannot say where the tags of a sentence belong".to_owned(),
            help: "remove it: words with tags are changed by the other operations".to_owned(),
        });
    }
    let service = service(settings, context);
    let identity = service.identity(&settings.version);
    let kept = Kept::open(&context.kept.join("translations"), &identity)?;
    let pairs = rows.text_pair.as_ref().filter(|_| rows.answers.is_none());
    let texts = due
        .iter()
        .filter_map(|&row| Some((row, rows.text.get(row)?)));
    let of_pairs = due.iter().filter_map(|&row| Some((row, pairs?.get(row)?)));
    let asked = texts.chain(of_pairs).map(|(row, text)| Asked {
        text,
        copy: copy(row),
    });
    let asked: Vec<Asked> = asked.collect();
    context
        .progress
        .start("translating there and back", asked.len() as u64, "texts");
    let mut before = 0;
    let mut seen = |done: usize| {
        context.progress.advance(done.saturating_sub(before) as u64);
        before = done;
        match context.checkpoint() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    let mut found = rewrite(&service, &kept, &asked, &mut seen)?;
    let of_pairs = found.split_off(due.len().min(found.len()));
    let mut of_pairs = of_pairs.into_iter();
    Ok(found
        .into_iter()
        .map(|text| (text, of_pairs.next()))
        .collect())
}

fn service(settings: &BackTranslation, context: &Context) -> Service {
    let timeout = Duration::from_secs(settings.timeout);
    match (&settings.command, &settings.url) {
        (Some(program), _) => Service::Command(Command {
            program: program.clone(),
            folder: context.folder.to_owned(),
            batch: settings.batch,
            timeout,
            restarts: ATTEMPTS,
        }),
        (None, url) => Service::Http(Http {
            url: url.clone().unwrap_or_default(),
            source: settings.source.clone().unwrap_or_else(|| "en".to_owned()),
            pivot: settings.pivot.clone().unwrap_or_else(|| "de".to_owned()),
            key: std::env::var(KEY).ok().filter(|key| !key.is_empty()),
            batch: settings.batch,
            timeout,
            retries: ATTEMPTS,
        }),
    }
}

impl From<TranslateError> for StageError {
    /// Work that was told to stop is no fault of the service.
    fn from(error: TranslateError) -> Self {
        match error {
            TranslateError::Interrupted => StageError::Interrupted,
            other => StageError::Translate(other),
        }
    }
}
