//! Where a training begins: the files of a pretrained encoder, those of another stage's, or neither.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::artifact::Kind;
use crate::hub::{Fetched, Remote};
use crate::model::EncoderFiles;
use crate::stage::{Context, Edge, Fault, Files, StageError, model_elsewhere, pretrained};
use crate::text::Tokens;

/// What the role of an encoder's file begins with; then comes its name in its folder.
const ROLE: &str = "encoder/";

/// The field that names a stage, and what it takes.
const STAGE: &str = "encoder_stage";
const KINDS: &[Kind] = &[Kind::Encoder, Kind::Model];

/// The edge of a stage whose encoder is begun with.
pub(in crate::stage) fn encoder_edge(stage: Option<&String>) -> Option<Edge> {
    Some(Edge::any(STAGE, stage?.clone(), KINDS))
}

/// The same for editors.
pub(in crate::stage) const fn encoder_edge_fields() -> [(&'static str, Kind); 2] {
    [(STAGE, Kind::Encoder), (STAGE, Kind::Model)]
}

/// What must be fetched of the `encoder` that is named.
pub(in crate::stage) fn remotes(encoder: Option<&String>, base: &Path) -> Vec<(String, Remote)> {
    let repository = model_elsewhere(encoder, base);
    let remote = |repository| ("encoder".to_owned(), Remote::Encoder(repository));
    repository.map(remote).into_iter().collect()
}

/// Its files, by role; none where none is named.
pub(in crate::stage) fn files(
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

/// The `config.json` of the encoder that a training will begin with, where it is at hand.
pub(in crate::stage) fn config_of(
    files: &Files,
    inputs: &BTreeMap<&'static str, PathBuf>,
) -> Option<PathBuf> {
    let named = files.get(&format!("{ROLE}config.json")).cloned();
    named.or_else(|| Some(inputs.get(STAGE)?.join("config.json")))
}

/// The files of the encoder that a training begins with: another stage's, or those that were named.
///
/// # Errors
/// They are not among those that the plan found.
pub(in crate::stage) fn named(context: &Context) -> Result<EncoderFiles, StageError> {
    if let Some(input) = context.inputs.get(STAGE) {
        return Ok(EncoderFiles::in_folder(&input.path));
    }
    let named = context.files.iter().filter_map(|(role, path)| {
        let name = role.strip_prefix(ROLE)?;
        Some((name.to_owned(), path.clone()))
    });
    EncoderFiles::among(&named.collect()).map_err(|_| StageError::Mismatch {
        message: "the encoder's files are not among those that the plan found".to_owned(),
        help: "give `encoder`, `encoder_stage` or `scratch`".to_owned(),
    })
}

/// Warns where another stage's encoder learned from other tokens than these.
pub(in crate::stage) fn check_tokenizer(context: &Context, tokens: &Tokens) {
    let Some(input) = context.inputs.get(STAGE) else {
        return;
    };
    let digest = ["pretraining.json", "model.json"].iter().find_map(|name| {
        let bytes = std::fs::read(input.path.join(name)).ok()?;
        let info: Value = serde_json::from_slice(&bytes).ok()?;
        Some(info["tokenizer_digest"].as_str()?.to_owned())
    });
    if digest.is_some_and(|digest| digest != tokens.tokenizer_digest()) {
        context.progress.warn(
            "the tokens are not of the tokenizer that the encoder of `encoder_stage` learned with, so their ids may mean nothing to it: \
             name its stage as `tokenizer_stage` in the tokenize stage",
        );
    }
}
