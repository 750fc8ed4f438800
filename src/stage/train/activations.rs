//! The hidden step before a training on a frozen encoder: what its frozen layers give for every row.
//!
//! Its key holds the encoder's files, the tokens and the number of layers, and nothing of the head or the recipe, so that
//! trainings that differ in these share one result. More than `freeze.store_limit` is not stored; the artifact then says
//! so, and the training computes what it needs.
//!
//! Deliberately absent: a table of its own in the spec. The plan puts the step there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::Train;
use super::encoder;
use crate::artifact::Kind;
use crate::device;
use crate::hub::{Fetched, Remote};
use crate::learn::activations::{self, Form, Wanted};
use crate::learn::{Beginning, LearnError, Precision, Rows};
use crate::model::{self, EncoderConfig, HeadKind, Pooling};
use crate::stage::{Context, Edge, Fault, Files, Stage, StageError, advance, training};
use crate::text::{TokenSplit, Tokens, TokensCard};

/// The splits that a training reads.
const OF_TRAINING: [&str; 2] = ["train", "validation"];

/// Bytes in a GiB.
const GIB: f64 = (1u64 << 30) as f64;

/// What is computed; built from the settings of a training.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Activations {
    input: String,
    encoder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoder_stage: Option<String>,
    /// How many layers; left out for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<u32>,
    /// Whether a hidden state is kept for each token.
    tokens: bool,
    /// Which split, where it is another than those of a training.
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
    /// In which numbers matrices are multiplied.
    #[serde(skip_serializing_if = "super::settings::is_fp32")]
    precision: Precision,
    /// In GiB.
    #[serde(skip_serializing_if = "is_usual")]
    store_limit: f64,
    /// It changes speed alone.
    #[serde(skip)]
    batch: usize,
}

fn is_usual(limit: &f64) -> bool {
    *limit == crate::learn::FreezeSettings::default().store_limit
}

impl Train {
    /// The step whose result this training begins with, where its encoder begins frozen and stays so.
    pub(super) fn activations(&self) -> Option<Activations> {
        let freeze = self.freeze.as_ref()?;
        if freeze.unfreeze_every.is_some() || freeze.store_limit <= 0.0 || self.scratch.is_some() {
            return None;
        }
        // One hidden state is stored, and several are read.
        if self.head.layers > 1 {
            return None;
        }
        let layers = match freeze.beginning()? {
            Beginning::Encoder => None,
            // Embeddings are looked up as fast as they would be read.
            Beginning::Layers(0) => return None,
            Beginning::Layers(layers) => Some(layers),
        };
        Some(Activations {
            input: self.input.clone(),
            encoder: self.encoder.clone(),
            encoder_stage: self.encoder_stage.clone(),
            layers,
            tokens: layers.is_some() || !self.task.pools(),
            split: None,
            precision: self.precision,
            store_limit: freeze.store_limit,
            batch: self.batch.evaluation_size as usize,
        })
    }
}

impl Activations {
    /// The same for a split of other tokens, where a vector per text is all that is kept.
    pub(super) fn of_split(&self, input: &str, split: &str) -> Option<Activations> {
        let trained_on = input == self.input && OF_TRAINING.contains(&split);
        self.gives_vectors().then(|| Activations {
            input: input.to_owned(),
            split: (!trained_on).then(|| split.to_owned()),
            // Scores are those of single precision, whatever the training was in.
            precision: Precision::Fp32,
            ..self.clone()
        })
    }

    /// Whether it gives one vector for each text.
    pub(super) fn gives_vectors(&self) -> bool {
        !self.tokens
    }

    fn names(&self) -> Vec<&str> {
        match &self.split {
            Some(split) => vec![split.as_str()],
            None => OF_TRAINING.to_vec(),
        }
    }

    fn splits<'a>(&'a self, tokens: &'a Tokens) -> impl Iterator<Item = (&'a str, &'a TokenSplit)> {
        let names = self.names().into_iter();
        names.filter_map(|name| Some((name, tokens.split(name)?)))
    }

    fn form(&self) -> Form {
        match self.tokens {
            true => Form::Hidden,
            false => Form::Pooled,
        }
    }

    fn keeps(&self, bytes: u64) -> bool {
        bytes as f64 <= self.store_limit * GIB
    }

    /// What is run, in words.
    fn part(&self) -> String {
        match self.layers {
            Some(1) => "the first layer".to_owned(),
            Some(layers) => format!("the stack of the first {layers} layers"),
            None => "the encoder".to_owned(),
        }
    }

    fn too_large(&self, bytes: u64) -> String {
        format!(
            "what {} gives would take {}, more than `freeze.store_limit` ({} GiB): it is computed anew in every epoch",
            self.part(),
            size(bytes),
            self.store_limit
        )
    }

    fn wanted<'a>(
        &'a self,
        tokens: &'a Tokens,
        config: &EncoderConfig,
        depth: usize,
    ) -> Wanted<'a> {
        let splits = self.splits(tokens);
        let splits = splits.map(|(name, split)| (name.to_owned(), split as &dyn Rows));
        Wanted {
            layers: self.layers.map_or(depth, |layers| layers as usize),
            form: self.form(),
            hidden: config.hidden_size,
            pad_id: tokens.pad_id(),
            precision: self.precision,
            tokens: self.batch.saturating_mul(tokens.max_length()),
            splits: splits.collect::<BTreeMap<_, _>>(),
        }
    }
}

impl Stage for Activations {
    fn kind(&self) -> &'static str {
        "activations"
    }

    fn version(&self) -> u32 {
        1
    }

    fn produces(&self) -> Kind {
        Kind::Activations
    }

    fn edges(&self) -> Vec<Edge> {
        let input = Edge::new("input", self.input.clone(), Kind::Tokens);
        let encoder = training::encoder_edge(self.encoder_stage.as_ref());
        std::iter::once(input).chain(encoder).collect()
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["input", "encoder", "encoder_stage"]
    }

    fn remotes(&self, base: &Path) -> Vec<(String, Remote)> {
        training::remotes(self.encoder.as_ref(), base)
    }

    fn files(&self, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        training::files(self.encoder.as_ref(), base, fetched)
    }

    /// Whether it will be stored, and how large that is.
    fn outlook(
        &self,
        inputs: &BTreeMap<&'static str, PathBuf>,
        files: &Files,
        _verbose: bool,
    ) -> Vec<String> {
        let config =
            training::config_of(files, inputs).and_then(|path| EncoderConfig::read(&path).ok());
        let card = inputs
            .get("input")
            .and_then(|folder| TokensCard::read(folder).ok());
        let (Some(config), Some(card)) = (config, card) else {
            return Vec::new();
        };
        let names = self.names();
        let splits = names.iter().filter_map(|name| card.splits.get(*name));
        let bytes = splits.map(|split| {
            activations::bytes(self.form(), config.hidden_size, split.rows, split.tokens)
        });
        let bytes = bytes.sum();
        vec![match self.keeps(bytes) {
            true => format!("what {} gives will be stored: {}", self.part(), size(bytes)),
            false => self.too_large(bytes),
        }]
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let tokens = Tokens::open(context.input("input"))?;
        let chosen = device::choose(context.device)?;
        // No weight of the head is looked at.
        let head = HeadKind::Texts {
            outputs: 1,
            pooling: Pooling::Mean,
            dropout: None,
            stack: model::Stack::default(),
        };
        let (model, config, _) = encoder::with_head(context, &head, None, &chosen.device)?;
        let types = self.splits(&tokens).map(|(_, split)| split.token_types());
        model::check_fits(
            &config,
            tokens.vocab_size(),
            tokens.max_length(),
            types.max().unwrap_or(1),
        )?;
        let depth = model.encoder.depth();
        let wanted = self.wanted(&tokens, &config, depth);
        if wanted.layers > depth {
            return Err(LearnError::FewerLayers {
                wanted: wanted.layers,
                there: depth,
            }
            .into());
        }
        let bytes = wanted.bytes();
        let kept = self.keeps(bytes);
        if kept {
            let rows: usize = wanted.splits.values().map(|rows| rows.rows()).sum();
            context.progress.say(&format!(
                "running {} once on {}; {} to store",
                self.part(),
                device::name(&chosen.device),
                size(bytes)
            ));
            context.progress.start("running", rows as u64, "rows");
        } else {
            context.progress.say(&self.too_large(bytes));
        }
        let mut on_rows = advance(context);
        match wanted.write(context.draft, kept, &model, &chosen.device, &mut on_rows) {
            Err(LearnError::Interrupted) => Err(StageError::Interrupted),
            other => Ok(other?),
        }
    }
}

/// In the unit that leaves the fewest digits.
fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    let (kib, mib) = (f64::from(1 << 10), f64::from(1 << 20));
    match bytes {
        b if b < mib => format!("{:.1} KiB", b / kib),
        b if b < GIB => format!("{:.1} MiB", b / mib),
        b => format!("{:.1} GiB", b / GIB),
    }
}
