//! Where a training begins: a pretrained encoder's files, or random weights.

use burn::tensor::Device;

use super::Train;
use crate::learn::Frozen;
use crate::model::{self, Classifier, EncoderConfig, HeadKind, LoadReport, Vocabulary};
use crate::stage::{Context, StageError, training};
use crate::text::Tokens;

/// The encoder of these files, with a new head, and the names of what the checkpoint lacked.
pub(super) fn with_head(
    context: &Context,
    head: &HeadKind,
    dropout: Option<f64>,
    device: &Device,
) -> Result<(Classifier, EncoderConfig, LoadReport), StageError> {
    let files = training::named(context)?;
    let seed = context.seed;
    Ok(Classifier::pretrained_dropping(
        &files, head, dropout, seed, device,
    )?)
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
        let (classifier, config, report) = with_head(context, head, self.dropout, device)?;
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
