//! Where a training begins: a pretrained encoder's files, or random weights.

use std::path::Path;

use burn::tensor::Device;

use super::Train;
use crate::model::{Classifier, EncoderConfig, EncoderFiles, HeadKind, Vocabulary};
use crate::stage::{Context, Fault, Files, StageError, is_hub_id};
use crate::text::Tokens;

const CONFIG: &str = "encoder/config.json";
const WEIGHTS: &str = "encoder/model.safetensors";

impl Train {
    /// The encoder's files, by role; none for one from scratch.
    pub(super) fn encoder_files(&self, base: &Path) -> Result<Files, Vec<Fault>> {
        let Some(encoder) = &self.encoder else {
            return Ok(Files::new());
        };
        let folder = base.join(encoder);
        if !folder.is_dir() {
            return Err(vec![no_folder(encoder, &folder)]);
        }
        let roles = [(CONFIG, "config.json"), (WEIGHTS, "model.safetensors")];
        let (found, missing): (Vec<_>, Vec<_>) = roles
            .map(|(role, name)| (role, folder.join(name)))
            .into_iter()
            .partition(|(_, path)| path.is_file());
        if missing.is_empty() {
            return Ok(found
                .into_iter()
                .map(|(role, path)| (role.to_owned(), path))
                .collect());
        }
        Err(missing.iter().map(|(_, path)| no_file(path)).collect())
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
        let (Some(config), Some(weights)) = (context.files.get(CONFIG), context.files.get(WEIGHTS))
        else {
            return Err(StageError::Mismatch {
                message: "the encoder's files are not among those that the plan found".to_owned(),
                help: "give `encoder` or `scratch`".to_owned(),
            });
        };
        let files = EncoderFiles {
            config: config.clone(),
            weights: weights.clone(),
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
    let looked = format!("there is no folder `{}`", folder.display());
    if is_hub_id(encoder) {
        Fault::new(
            "encoder",
            format!("{looked}, and this version of refit reads encoders from folders only"),
            format!(
                "if `{encoder}` is meant as a hub id, fetch it first (`hf download {encoder} --local-dir FOLDER`) and give `encoder = \"FOLDER\"`, relative to the spec"
            ),
        )
    } else {
        Fault::new(
            "encoder",
            looked,
            "give the folder that holds config.json and model.safetensors, relative to the spec",
        )
    }
}

fn no_file(path: &Path) -> Fault {
    let folder = path.parent().unwrap_or(path);
    let has_old_weights = folder.join("pytorch_model.bin").is_file();
    let help = if path.ends_with("model.safetensors") && has_old_weights {
        "it has pytorch_model.bin, which refit does not read: load it in transformers and `save_pretrained` it, which writes model.safetensors"
    } else {
        "an encoder's folder holds config.json and model.safetensors, as `save_pretrained` of transformers writes them"
    };
    Fault::new(
        "encoder",
        format!("there is no file `{}`", path.display()),
        help,
    )
}
