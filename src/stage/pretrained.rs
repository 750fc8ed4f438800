//! The files of a pretrained encoder and of its tokenizer, in a folder beside the spec or fetched: found, and named by what
//! they are called in their folder.
//!
//! Deliberately absent: what is in them, and the fetching.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::Fault;
use crate::hub::Local;
use crate::model::EncoderFiles;
use crate::text;

/// The encoder that `field` names.
pub(super) fn encoder(
    field: &str,
    named: &str,
    base: &Path,
    fetched: Option<&Local>,
) -> Result<EncoderFiles, Vec<Fault>> {
    let found = match fetched {
        Some(local) => EncoderFiles::among(&local.files),
        None => {
            let folder = base.join(named);
            if !folder.is_dir() {
                return Err(vec![Fault::new(
                    field,
                    format!(
                        "there is no folder `{}`, and `{named}` is no name on the hub either",
                        folder.display()
                    ),
                    "give the folder that holds config.json and the weights, relative to the spec, or a model of the hub: \"owner/name\"",
                )]);
            }
            EncoderFiles::find(&folder)
        }
    };
    found.map_err(|errors| errors.iter().map(|error| fault(field, error)).collect())
}

/// The tokenizer that `field` names.
pub(super) fn tokenizer(
    field: &str,
    named: &str,
    base: &Path,
    fetched: Option<&Local>,
) -> Result<BTreeMap<String, PathBuf>, Fault> {
    if let Some(local) = fetched {
        return Ok(local.files.clone());
    }
    let given = base.join(named);
    let folder = std::path::absolute(&given).unwrap_or(given);
    if folder.is_dir() {
        return text::tokenizer_files(&folder).map_err(|error| fault(field, &error));
    }
    let looked = folder.display();
    Err(if folder.exists() {
        Fault::new(
            field,
            format!("{looked} is a file"),
            "name the folder that holds the tokenizer's files",
        )
    } else {
        Fault::new(
            field,
            format!("there is no folder {looked}, and {named:?} is no name on the hub either"),
            "name a folder that holds tokenizer.json or vocab.txt, relative to the spec, or a model of the hub: \"owner/name\"",
        )
    })
}

/// What is wrong with the files that `field` names.
pub(super) fn fault(field: &str, error: &dyn Diagnostic) -> Fault {
    let help = error.help().map(|help| help.to_string());
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let message = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    Fault::new(field, message, help.unwrap_or_default())
}
