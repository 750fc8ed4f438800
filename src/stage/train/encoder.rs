//! Where a training begins: a pretrained encoder's files, or random weights.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::Train;
use crate::hub::{Fetched, Remote};
use crate::learn::Frozen;
use crate::model::{
    self, Classifier, EncoderConfig, EncoderFiles, HeadKind, LoadReport, Vocabulary,
};
use crate::stage::{Context, Fault, Files, StageError, model_elsewhere, pretrained};
use crate::text::Tokens;

/// What the role of an encoder's file begins with; then comes its name in its folder.
const ROLE: &str = "encoder/";

/// What must be fetched of the `encoder` that is named.
pub(super) fn remotes(encoder: Option<&String>, base: &Path) -> Vec<(String, Remote)> {
    let repository = model_elsewhere(encoder, base);
    let remote = |repository| ("encoder".to_owned(), Remote::Encoder(repository));
    repository.map(remote).into_iter().collect()
}

/// Its files, by role; none where none is named.
pub(super) fn files(
    encoder: Option<&String>,
    base: &Path,
    fetched: &Fetched,
) -> Result<Files, Vec<Fault>> {
    let Some(encoder) = encoder else {
        return Ok(Files::new());
    };
    let elsewhere = fetched.remotes().find_map(|remote| fetched.get(remote));
    let files = pretrained::encoder("encoder", encoder, base, elsewhere)?;
    let role = |(name, path)| (format!("{ROLE}{name}"), path);
    Ok(files.named().into_iter().map(role).collect())
}

/// Its `config.json`.
pub(super) fn config_of(files: &Files) -> Option<&PathBuf> {
    files.get(&format!("{ROLE}config.json"))
}

/// The encoder of these files, with a new head, and the names of what the checkpoint lacked.
pub(super) fn with_head(
    context: &Context,
    head: &HeadKind,
    device: &Device,
) -> Result<(Classifier, EncoderConfig, LoadReport), StageError> {
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
    Ok(Classifier::pretrained(&files, head, context.seed, device)?)
}

impl Train {
    /// The encoder with a new head, and what of it does not learn.
    pub(super) fn classifier(
        &self,
        context: &Context,
        tokens: &Tokens,
        head: &HeadKind,
        device: &Device,
    ) -> Result<(Classifier, EncoderConfig, Option<Frozen>), StageError> {
        if let Some(scratch) = &self.scratch {
            let vocabulary = Vocabulary {
                size: tokens.vocab_size(),
                pad_id: tokens.pad_id(),
            };
            let (classifier, config) =
                Classifier::scratch(scratch, vocabulary, head, context.seed, device)?;
            return Ok((classifier, config, None));
        }
        let (classifier, config, report) = with_head(context, head, device)?;
        for warning in report.warnings() {
            context.progress.warn(&warning);
        }
        let classifier = match &self.lora {
            Some(lora) => {
                let fresh = &report.initialised;
                let classifier = model::adapt(classifier, &config, lora, fresh, context.seed)?;
                context.progress.say(&adapted(&classifier));
                classifier
            }
            None => classifier,
        };
        let frozen = self.freeze.as_ref();
        let frozen = frozen.map(|freeze| Frozen::of(freeze, &classifier, &report.initialised));
        Ok((classifier, config, frozen.transpose()?))
    }
}

fn adapted(classifier: &Classifier) -> String {
    let modules = model::adapted_modules(classifier).len();
    let (learn, all) = model::learning(classifier);
    format!(
        "LoRA on {modules} linear layers: {:.2} % of the parameters learn",
        100.0 * learn as f64 / all as f64
    )
}
