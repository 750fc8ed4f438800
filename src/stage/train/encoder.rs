//! Where a training begins: a pretrained encoder's files, or random weights.

use std::path::Path;

use burn::tensor::Device;
use miette::Diagnostic;

use super::Train;
use crate::hub::Fetched;
use crate::model::{Classifier, EncoderConfig, EncoderFiles, HeadKind, ModelError, Vocabulary};
use crate::stage::{Context, Fault, Files, StageError};
use crate::text::Tokens;

/// What the role of an encoder's file begins with; then comes its name in its folder.
const ROLE: &str = "encoder/";

impl Train {
    /// The encoder's files, by role; none for one from scratch.
    pub(super) fn encoder_files(
        &self,
        base: &Path,
        fetched: &Fetched,
    ) -> Result<Files, Vec<Fault>> {
        let elsewhere = fetched.remotes().find_map(|remote| fetched.get(remote));
        let found = match (elsewhere, &self.encoder) {
            (Some(local), _) => EncoderFiles::among(&local.files),
            (None, None) => return Ok(Files::new()),
            (None, Some(encoder)) => {
                let folder = base.join(encoder);
                if !folder.is_dir() {
                    return Err(vec![no_folder(encoder, &folder)]);
                }
                EncoderFiles::find(&folder)
            }
        };
        let files = found.map_err(|errors| errors.iter().map(fault).collect::<Vec<_>>())?;
        let role = |(name, path)| (format!("{ROLE}{name}"), path);
        Ok(files.named().into_iter().map(role).collect())
    }

    /// The encoder, with a new head.
    pub(super) fn classifier(
        &self,
        context: &Context,
        tokens: &Tokens,
        head: &HeadKind,
        device: &Device,
    ) -> Result<(Classifier, EncoderConfig), StageError> {
        if let Some(scratch) = &self.scratch {
            let vocabulary = Vocabulary {
                size: tokens.vocab_size(),
                pad_id: tokens.pad_id(),
            };
            return Ok(Classifier::scratch(
                scratch,
                vocabulary,
                head,
                context.seed,
                device,
            )?);
        }
        let named = context.files.iter().filter_map(|(role, path)| {
            let name = role.strip_prefix(ROLE)?;
            Some((name.to_owned(), path.clone()))
        });
        let Ok(files) = EncoderFiles::among(&named.collect()) else {
            return Err(StageError::Mismatch {
                message: "the encoder's files are not among those that the plan found".to_owned(),
                help: "give `encoder` or `scratch`".to_owned(),
            });
        };
        let (classifier, config, report) =
            Classifier::pretrained(&files, head, context.seed, device)?;
        for warning in report.warnings() {
            context.progress.warn(&warning);
        }
        Ok((classifier, config))
    }
}

fn no_folder(encoder: &str, folder: &Path) -> Fault {
    Fault::new(
        "encoder",
        format!(
            "there is no folder `{}`, and `{encoder}` is no name on the hub either",
            folder.display()
        ),
        "give the folder that holds config.json and the weights, relative to the spec, or a model of the hub: \"owner/name\"",
    )
}

fn fault(error: &ModelError) -> Fault {
    let help = error.help().map(|help| help.to_string());
    Fault::new("encoder", error.to_string(), help.unwrap_or_default())
}
