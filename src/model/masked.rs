//! Masked language modelling: which pieces of the vocabulary are likely in a place of a text.
//!
//! The head is that of the family's `…ForMaskedLM` in transformers 5.23: a dense layer, an activation, LayerNorm, and the
//! product with the embeddings of the vocabulary (Devlin et al., arXiv:1810.04805, section 3.1), or with a matrix of its own
//! where the checkpoint stores one that is another. Families differ in names, and ALBERT and ELECTRA in the width between.
//!
//! Promises the reference's logits, and gradients of them, in float32 to rounding. Where the embeddings are the matrix, their
//! gradient is that of both uses.
//!
//! Deliberately absent: logits of places that nobody asked for, and losses.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Int, Tensor};

use super::bert::Batch;
use super::config::{Activation, EncoderConfig};
use super::dropout::Mode;
use super::family::Family;
use super::files::EncoderFiles;
use super::layers::{LayerNorm, Linear, apply, linear};
use super::weights::by_canonical_name;
use super::{Checkpoint, Classifier, HeadKind, LoadReport, ModelError, StoredTensor};
use super::{ScratchSettings, Vocabulary, initial, named_parameters, weights};
use crate::kernels;

/// What the family calls the head's parts in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaskedNames {
    dense: &'static str,
    norm: &'static str,
    /// The matrix over the vocabulary; none where it is always the embeddings.
    decoder: Option<&'static str>,
    /// The first of these that is there counts; none at all for a head without. The last is what it is written as.
    biases: &'static [&'static str],
}

impl MaskedNames {
    pub(super) fn of(config: &EncoderConfig) -> MaskedNames {
        Layout::of(config).names
    }

    /// The name of a field of the head, whose LayerNorm has a weight and a bias.
    pub(super) fn of_field(self, field: &str) -> String {
        match (field.split_once('.'), self.biases.last(), self.decoder) {
            (Some(("dense", rest)), ..) => format!("{}.{rest}", self.dense),
            (Some(("norm", rest)), ..) => format!("{}.{rest}", self.norm),
            (None, Some(bias), _) if field == "bias" => (*bias).to_owned(),
            (None, _, Some(decoder)) if field == "decoder" => decoder.to_owned(),
            _ => field.to_owned(),
        }
    }

    /// Whether a tensor of that name is the head's.
    pub(super) fn has(self, name: &str) -> bool {
        let within = |module: &str| {
            name.strip_prefix(module)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        within(self.dense)
            || within(self.norm)
            || self.decoder == Some(name)
            || self.biases.contains(&name)
    }

    /// Lets each part stand under the one name that the head has for it, and what a head without a matrix of its own does not
    /// read be gone.
    pub(super) fn settle<T>(self, found: &mut BTreeMap<String, T>, own_matrix: bool) {
        if let Some((&last, others)) = self.biases.split_last() {
            for &name in others.iter().rev() {
                if let Some(tensor) = found.remove(name) {
                    found.insert(last.to_owned(), tensor);
                }
            }
        }
        if let Some(decoder) = self.decoder.filter(|_| !own_matrix) {
            found.remove(decoder);
        }
    }

    /// Under which further name transformers reads the bias beside a matrix of its own: there the two are not the same.
    pub(super) fn second_bias(self) -> Option<(&'static str, &'static str)> {
        match self.biases {
            [other, .., last] => Some((last, other)),
            _ => None,
        }
    }
}

/// The names of a head's parts, and how wide they are.
struct Layout {
    names: MaskedNames,
    width: usize,
    activation: Activation,
    epsilon: f64,
    dense_bias: bool,
    norm_bias: bool,
}

impl Layout {
    fn of(config: &EncoderConfig) -> Layout {
        let said = |field: &str| {
            let said = config.read.get(field);
            said.and_then(serde_json::Value::as_bool).unwrap_or(true)
        };
        let bert = Layout {
            names: MaskedNames {
                dense: "cls.predictions.transform.dense",
                norm: "cls.predictions.transform.LayerNorm",
                decoder: Some("cls.predictions.decoder.weight"),
                biases: &["cls.predictions.decoder.bias", "cls.predictions.bias"],
            },
            width: config.hidden_size,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
            dense_bias: true,
            norm_bias: true,
        };
        match config.family {
            Family::Bert => bert,
            Family::Roberta | Family::XlmRoberta | Family::MpNet => Layout {
                names: MaskedNames {
                    dense: "lm_head.dense",
                    norm: "lm_head.layer_norm",
                    decoder: Some("lm_head.decoder.weight"),
                    biases: &["lm_head.decoder.bias", "lm_head.bias"],
                },
                activation: Activation::Gelu,
                ..bert
            },
            Family::Electra => Layout {
                names: MaskedNames {
                    dense: "generator_predictions.dense",
                    norm: "generator_predictions.LayerNorm",
                    decoder: Some("generator_lm_head.weight"),
                    biases: &["generator_lm_head.bias"],
                },
                width: config.embedding_size,
                activation: Activation::Gelu,
                ..bert
            },
            Family::DistilBert => Layout {
                names: MaskedNames {
                    dense: "vocab_transform",
                    norm: "vocab_layer_norm",
                    decoder: Some("vocab_projector.weight"),
                    biases: &["vocab_projector.bias"],
                },
                ..bert
            },
            Family::Albert => Layout {
                names: MaskedNames {
                    dense: "predictions.dense",
                    norm: "predictions.LayerNorm",
                    decoder: Some("predictions.decoder.weight"),
                    biases: &["predictions.decoder.bias", "predictions.bias"],
                },
                width: config.embedding_size,
                ..bert
            },
            Family::Deberta if said("legacy") => Layout {
                width: config.embedding_size,
                ..bert
            },
            Family::Deberta => Layout {
                names: MaskedNames {
                    dense: "lm_predictions.lm_head.dense",
                    norm: "lm_predictions.lm_head.LayerNorm",
                    decoder: None,
                    biases: &["lm_predictions.lm_head.bias"],
                },
                ..bert
            },
            Family::ModernBert => {
                let own = config.dense;
                let norm = own.and_then(|own| own.norm);
                Layout {
                    names: MaskedNames {
                        dense: "head.dense",
                        norm: "head.norm",
                        decoder: Some("decoder.weight"),
                        biases: match said("decoder_bias") {
                            true => &["decoder.bias"],
                            false => &[],
                        },
                    },
                    activation: own.map_or(config.hidden_act, |own| own.activation),
                    dense_bias: own.is_some_and(|own| own.bias),
                    norm_bias: norm.is_some_and(|norm| norm.shifts),
                    ..bert
                }
            }
        }
    }
}

/// What makes hidden states into one number for each piece of the vocabulary.
#[derive(Module, Debug)]
pub struct MaskedHead {
    dense: Linear,
    norm: LayerNorm,
    /// `[vocab, width]`; none where the encoder's embeddings are in its place.
    decoder: Option<Param<Tensor<2>>>,
    /// `[vocab]`
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    pieces: usize,
}

impl MaskedHead {
    /// A head over the vocabulary of `config` whose weights are not yet set.
    pub(super) fn unset(config: &EncoderConfig, own_matrix: bool, device: &Device) -> MaskedHead {
        let layout = Layout::of(config);
        let (width, pieces) = (layout.width, config.vocab_size);
        MaskedHead {
            dense: linear(config.hidden_size, width, layout.dense_bias, device),
            norm: LayerNorm::unset(width, layout.epsilon, layout.norm_bias, device),
            decoder: own_matrix.then(|| Initializer::Zeros.init([pieces, width], device)),
            bias: (!layout.names.biases.is_empty())
                .then(|| Initializer::Zeros.init([pieces], device)),
            activation: layout.activation,
            pieces,
        }
    }

    /// Looks whether the checkpoint of `files` has the head, without reading a weight.
    ///
    /// # Errors
    /// [`ModelError::NoMaskedHead`] where it has not, and files that cannot be read.
    pub fn check(files: &EncoderFiles) -> Result<(), ModelError> {
        let config = EncoderConfig::read(&files.config)?;
        let unset = Classifier::unset(
            &config,
            &HeadKind::Masked { own_matrix: false },
            &Device::flex(),
        )?;
        let checkpoint = Checkpoint::open(files)?;
        let mut there = by_canonical_name(config.family, &checkpoint, &mut Vec::new());
        let names = MaskedNames::of(&config);
        names.settle(&mut there, false);
        let missing: Vec<String> = named_parameters(&unset)
            .into_iter()
            .map(|parameter| parameter.name)
            .filter(|name| names.has(name) && !there.contains_key(name))
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(ModelError::NoMaskedHead {
                path: checkpoint.path().to_owned(),
                missing,
            }),
        }
    }

    /// The pieces of the vocabulary.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// Whether its matrix is its own, and not the embeddings.
    pub fn has_own_matrix(&self) -> bool {
        self.decoder.is_some()
    }

    /// `[masked, hidden]` and the embeddings of the vocabulary, `[vocab, width]` → `[masked, vocab]`.
    pub(super) fn forward(&self, hidden: Tensor<2>, words: Tensor<2>, mode: &Mode) -> Tensor<2> {
        let dense = self.activation.of(apply(&self.dense, hidden, mode)); // [masked, width]
        let words = match &self.decoder {
            Some(decoder) => decoder.val(),
            None => words,
        };
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([self.pieces], &words.device().without_autodiff()),
        };
        let normed = self.norm.forward(dense); // [masked, width]
        kernels::linear(normed, words.transpose(), bias, mode.precision()) // [masked, vocab]
    }
}

/// Whether a checkpoint has a matrix over the vocabulary that is not its embeddings.
fn has_own_matrix(checkpoint: &Checkpoint, config: &EncoderConfig) -> Result<bool, ModelError> {
    let there = by_canonical_name(config.family, checkpoint, &mut Vec::new());
    let Some(matrix) = MaskedNames::of(config)
        .decoder
        .and_then(|name| there.get(name))
    else {
        return Ok(false);
    };
    let is_table = |name: &str| {
        ["word_embeddings.weight", "tok_embeddings.weight"]
            .iter()
            .any(|table| name.ends_with(table))
    };
    let table = there.iter().find(|(name, _)| is_table(name));
    let same = |table: &StoredTensor| -> Result<bool, ModelError> {
        Ok(table.shape == matrix.shape && checkpoint.read(table)? == checkpoint.read(matrix)?)
    };
    Ok(match table {
        Some((_, table)) => !same(table)?,
        None => true,
    })
}

impl Classifier {
    /// The encoder in `files` with its head for masked language modelling, or with a new one, drawn from `seed`, where the
    /// checkpoint lacks a part of it; [`LoadReport::initialised`] then names what is new.
    ///
    /// # Errors
    /// As [`Classifier::pretrained`].
    pub fn masked(
        files: &EncoderFiles,
        seed: u64,
        device: &Device,
    ) -> Result<(Classifier, EncoderConfig, LoadReport), ModelError> {
        let config = EncoderConfig::read(&files.config)?;
        let checkpoint = Checkpoint::open(files)?;
        let own_matrix = has_own_matrix(&checkpoint, &config)?;
        let unset = Classifier::unset(&config, &HeadKind::Masked { own_matrix }, device)?;
        let draw = |name: &str, shape: &[usize]| initial::draw(name, shape, &config, seed);
        let (classifier, report) = weights::load(unset, &checkpoint, weights::Rest::Drawn(&draw))?;
        Ok((classifier, config, report))
    }

    /// An encoder of the given sizes over `vocabulary` with a head for masked language modelling, every weight drawn from `seed`, but
    /// for the embeddings of the pieces in `words`: id and `hidden` numbers. One of another length or of no piece of the vocabulary
    /// is passed over.
    ///
    /// # Errors
    /// As [`Classifier::scratch`].
    pub fn masked_scratch(
        settings: &ScratchSettings,
        vocabulary: Vocabulary,
        words: &[(u32, Vec<f32>)],
        seed: u64,
        device: &Device,
    ) -> Result<(Classifier, EncoderConfig), ModelError> {
        let config = settings.config(vocabulary)?;
        let unset = Classifier::unset(&config, &HeadKind::Masked { own_matrix: false }, device)?;
        let classifier = weights::set_each(unset, |name, shape| {
            let mut values = initial::draw(name, shape, &config, seed);
            if name.ends_with("word_embeddings.weight") {
                let rows = values.chunks_exact_mut(config.embedding_size);
                let mut rows: Vec<&mut [f32]> = rows.collect();
                for (id, word) in words {
                    if let Some(row) = rows
                        .get_mut(*id as usize)
                        .filter(|row| row.len() == word.len())
                    {
                        row.copy_from_slice(word);
                    }
                }
            }
            Ok(Some(values))
        })?;
        Ok((classifier, config))
    }
}

/// A model that is asked which pieces are likely: an encoder and its own head for masked language modelling.
#[derive(Debug)]
pub struct Masked {
    model: Classifier,
    pieces: usize,
}

impl Masked {
    /// The encoder and the head in `files`.
    ///
    /// # Errors
    /// [`ModelError::NoMaskedHead`] for a checkpoint without the head; otherwise as [`Classifier::pretrained`].
    pub fn pretrained(
        files: &EncoderFiles,
        device: &Device,
    ) -> Result<(Masked, EncoderConfig), ModelError> {
        MaskedHead::check(files)?;
        let (model, config, _) = Classifier::masked(files, 0, device)?;
        let pieces = config.vocab_size;
        Ok((Masked { model, pieces }, config))
    }

    /// How many pieces the vocabulary has.
    pub fn vocabulary(&self) -> usize {
        self.pieces
    }

    /// The encoder's last hidden states, `[tokens, hidden]`.
    pub fn hidden(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        self.model.hidden(batch, mode)
    }

    /// How likely each piece of the vocabulary is in these rows of the hidden states `[tokens, hidden]`, as logits:
    /// `[masked, vocab]`. There must be at least one row, and each below `tokens`.
    pub fn logits(&self, hidden: Tensor<2>, rows: &[i32], mode: &Mode) -> Tensor<2> {
        self.model.logits_at(hidden, rows, mode)
    }
}

impl Classifier {
    /// What its head over masked places makes of these rows of the last hidden states `[tokens, hidden]`: `[rows, vocab]`. Of no
    /// rows, of the first one.
    ///
    /// # Panics
    /// Its head is another.
    pub fn logits_at(&self, hidden: Tensor<2>, rows: &[i32], mode: &Mode) -> Tensor<2> {
        let head = self
            .head
            .masked()
            .expect("only a model with this head is asked so");
        let rows: &[i32] = if rows.is_empty() { &[0] } else { rows };
        let rows = Tensor::<1, Int>::from_data(rows, &hidden.device().without_autodiff());
        let chosen = hidden.select(0, rows); // [rows, hidden]
        head.forward(chosen, self.encoder.words(), mode)
    }
}
