//! Masked language modelling: which pieces of the vocabulary are likely in a place of a text.
//!
//! The head is that of the family's `…ForMaskedLM` in transformers 5.23: a dense layer, an activation, LayerNorm, and the
//! product with the embeddings of the vocabulary (Devlin et al., arXiv:1810.04805, section 3.1), or with a matrix of its own
//! where the checkpoint stores one. Families differ in names, and ALBERT and ELECTRA in the width between.
//!
//! Promises the reference's logits in float32 to rounding. Deliberately absent: logits of places that nobody asked for,
//! losses, writing, reduced precision, and heads drawn anew.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Int, Tensor};

use super::bert::Batch;
use super::config::{Activation, EncoderConfig};
use super::dropout::Mode;
use super::encoder::Encoder;
use super::family::Family;
use super::files::EncoderFiles;
use super::layers::{LayerNorm, Linear, apply, linear};
use super::weights::{Misfits, by_canonical_name, misfit, read};
use super::{Checkpoint, Classifier, HeadKind, ModelError, Stack, StoredTensor, parameters};

/// What the family calls the head's parts in a checkpoint, and how wide they are.
struct Layout {
    dense: &'static str,
    norm: &'static str,
    /// The matrix over the vocabulary; none where it is always the embeddings.
    decoder: Option<&'static str>,
    /// The first of these that is there counts; none at all for a head without.
    biases: &'static [&'static str],
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
            dense: "cls.predictions.transform.dense",
            norm: "cls.predictions.transform.LayerNorm",
            decoder: Some("cls.predictions.decoder.weight"),
            biases: &["cls.predictions.decoder.bias", "cls.predictions.bias"],
            width: config.hidden_size,
            activation: config.hidden_act,
            epsilon: config.layer_norm_eps,
            dense_bias: true,
            norm_bias: true,
        };
        match config.family {
            Family::Bert => bert,
            Family::Roberta | Family::XlmRoberta | Family::MpNet => Layout {
                dense: "lm_head.dense",
                norm: "lm_head.layer_norm",
                decoder: Some("lm_head.decoder.weight"),
                biases: &["lm_head.decoder.bias", "lm_head.bias"],
                activation: Activation::Gelu,
                ..bert
            },
            Family::Electra => Layout {
                dense: "generator_predictions.dense",
                norm: "generator_predictions.LayerNorm",
                decoder: Some("generator_lm_head.weight"),
                biases: &["generator_lm_head.bias"],
                width: config.embedding_size,
                activation: Activation::Gelu,
                ..bert
            },
            Family::DistilBert => Layout {
                dense: "vocab_transform",
                norm: "vocab_layer_norm",
                decoder: Some("vocab_projector.weight"),
                biases: &["vocab_projector.bias"],
                ..bert
            },
            Family::Albert => Layout {
                dense: "predictions.dense",
                norm: "predictions.LayerNorm",
                decoder: Some("predictions.decoder.weight"),
                biases: &["predictions.decoder.bias", "predictions.bias"],
                width: config.embedding_size,
                ..bert
            },
            Family::Deberta if said("legacy") => Layout {
                width: config.embedding_size,
                ..bert
            },
            Family::Deberta => Layout {
                dense: "lm_predictions.lm_head.dense",
                norm: "lm_predictions.lm_head.LayerNorm",
                decoder: None,
                biases: &["lm_predictions.lm_head.bias"],
                ..bert
            },
            Family::ModernBert => {
                let own = config.dense;
                let norm = own.and_then(|own| own.norm);
                Layout {
                    dense: "head.dense",
                    norm: "head.norm",
                    decoder: Some("decoder.weight"),
                    biases: match said("decoder_bias") {
                        true => &["decoder.bias"],
                        false => &[],
                    },
                    activation: own.map_or(config.hidden_act, |own| own.activation),
                    dense_bias: own.is_some_and(|own| own.bias),
                    norm_bias: norm.is_some_and(|norm| norm.shifts),
                    ..bert
                }
            }
        }
    }

    /// The tensors that must be there: the path of the field, the names of which one is enough, and the shape.
    fn wanted(&self, config: &EncoderConfig) -> Vec<(&'static str, Vec<String>, Vec<usize>)> {
        let named = |module: &str, part: &str| vec![format!("{module}.{part}")];
        let biases: Vec<String> = self.biases.iter().map(|&name| name.to_owned()).collect();
        let (width, vocab) = (self.width, config.vocab_size);
        let all = [
            (
                "dense.weight",
                named(self.dense, "weight"),
                vec![width, config.hidden_size],
            ),
            ("norm.gamma", named(self.norm, "weight"), vec![width]),
            ("bias", biases, vec![vocab]),
            ("dense.bias", named(self.dense, "bias"), vec![width]),
            ("norm.beta", named(self.norm, "bias"), vec![width]),
        ];
        let there = |path: &str| match path {
            "bias" => !self.biases.is_empty(),
            "dense.bias" => self.dense_bias,
            "norm.beta" => self.norm_bias,
            _ => true,
        };
        all.into_iter().filter(|(path, ..)| there(path)).collect()
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
}

impl MaskedHead {
    /// Looks whether the checkpoint of `files` has the head, without reading a weight.
    ///
    /// # Errors
    /// [`ModelError::NoMaskedHead`] where it has not, and files that cannot be read.
    pub fn check(files: &EncoderFiles) -> Result<(), ModelError> {
        let config = EncoderConfig::read(&files.config)?;
        MaskedHead::there(&Checkpoint::open(files)?, &config)
    }

    fn there(checkpoint: &Checkpoint, config: &EncoderConfig) -> Result<(), ModelError> {
        let missing = MaskedHead::missing(checkpoint, config);
        if missing.is_empty() {
            return Ok(());
        }
        let path = checkpoint.path().to_owned();
        Err(ModelError::NoMaskedHead { path, missing })
    }

    /// The tensors of the head that the family of `config` has in transformers and `checkpoint` has not, by their names.
    fn missing(checkpoint: &Checkpoint, config: &EncoderConfig) -> Vec<String> {
        let there = by_canonical_name(config.family, checkpoint, &mut Vec::new());
        let wanted = Layout::of(config).wanted(config);
        let missing = wanted
            .into_iter()
            .filter(|(_, names, _)| !names.iter().any(|name| there.contains_key(name)))
            .filter_map(|(_, names, _)| names.into_iter().last());
        missing.collect()
    }

    fn load(
        checkpoint: &Checkpoint,
        config: &EncoderConfig,
        device: &Device,
    ) -> Result<MaskedHead, ModelError> {
        let layout = Layout::of(config);
        MaskedHead::there(checkpoint, config)?;
        let mut misfits = Vec::new();
        let there = by_canonical_name(config.family, checkpoint, &mut misfits);
        let shape = vec![config.vocab_size, layout.width];
        let decoder = layout.decoder.filter(|&name| there.contains_key(name));
        let mut wanted = layout.wanted(config);
        wanted.extend(decoder.map(|name| ("decoder", vec![name.to_owned()], shape)));
        let mut found: BTreeMap<&str, &StoredTensor> = BTreeMap::new();
        for (path, names, shape) in wanted {
            if let Some(&tensor) = names.iter().find_map(|name| there.get(name)) {
                misfits.extend(misfit(tensor, &shape));
                found.insert(path, tensor);
            }
        }
        let mut values = BTreeMap::new();
        if misfits.is_empty() {
            for (path, tensor) in found {
                values.insert(path, read(checkpoint, tensor, &mut misfits)?);
            }
        }
        if !misfits.is_empty() {
            return Err(ModelError::WeightsDoNotFit {
                path: checkpoint.path().to_owned(),
                misfits: Misfits(misfits),
            });
        }
        let (width, vocab) = (layout.width, config.vocab_size);
        let head = MaskedHead {
            dense: linear(config.hidden_size, width, layout.dense_bias, device),
            norm: LayerNorm::unset(width, layout.epsilon, layout.norm_bias, device),
            decoder: decoder.map(|_| Initializer::Zeros.init([vocab, width], device)),
            bias: (!layout.biases.is_empty()).then(|| Initializer::Zeros.init([vocab], device)),
            activation: layout.activation,
        };
        let path = Vec::new();
        Ok(head.map(&mut Set { path, values }))
    }

    /// `[masked, hidden]` and the embeddings of the vocabulary, `[vocab, width]` → `[masked, vocab]`.
    fn forward(&self, hidden: Tensor<2>, words: Tensor<2>, mode: &Mode) -> Tensor<2> {
        let dense = self.activation.of(apply(&self.dense, hidden, mode)); // [masked, width]
        let words = match &self.decoder {
            Some(decoder) => decoder.val(),
            None => words,
        };
        let logits = self.norm.forward(dense).matmul(words.transpose()); // [masked, vocab]
        match &self.bias {
            Some(bias) => logits + bias.val().unsqueeze(), // [1, vocab]
            None => logits,
        }
    }
}

/// Sets the head's parameters by the paths of their fields.
struct Set<'a> {
    path: Vec<String>,
    values: BTreeMap<&'a str, Vec<f32>>,
}

impl ModuleMapper for Set<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        match self.values.remove(path.as_str()) {
            Some(values) => parameters::set(&path, param, values),
            None => param,
        }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

/// An encoder and its head for masked language modelling: the family's `…ForMaskedLM` in the reference.
#[derive(Module, Debug)]
pub struct Masked {
    pub encoder: Encoder,
    pub head: MaskedHead,
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
        let config = EncoderConfig::read(&files.config)?;
        let head = MaskedHead::load(&Checkpoint::open(files)?, &config, device)?;
        // Only its encoder is kept.
        let tokens = HeadKind::Tokens {
            outputs: 1,
            crf: false,
            dropout: None,
            stack: Stack::default(),
        };
        let (classifier, config, _) = Classifier::pretrained(files, &tokens, 0, device)?;
        let encoder = classifier.encoder;
        Ok((Masked { encoder, head }, config))
    }

    /// How many pieces the vocabulary has.
    pub fn vocabulary(&self) -> usize {
        let [pieces, _] = self.encoder.words().dims();
        pieces
    }

    /// The encoder's last hidden states, `[tokens, hidden]`.
    pub fn hidden(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        self.encoder.forward(batch, None, mode)
    }

    /// How likely each piece of the vocabulary is in these rows of the hidden states `[tokens, hidden]`, as logits:
    /// `[masked, vocab]`. There must be at least one row, and each below `tokens`.
    pub fn logits(&self, hidden: Tensor<2>, rows: &[i32], mode: &Mode) -> Tensor<2> {
        let rows = Tensor::<1, Int>::from_data(rows, &hidden.device().without_autodiff());
        let chosen = hidden.select(0, rows); // [masked, hidden]
        self.head.forward(chosen, self.encoder.words(), mode)
    }
}
