//! A trained model as an ONNX file, which onnxruntime and what stands on it compute: optimum, transformers.js, services.
//!
//! Read `graph` for how a graph is built, `layers` for what several encoders have in common, `bert`, `mpnet`, `deberta` and
//! `modern_bert` beside the model files of these names, `head`, and `file` for how it is written.
//!
//! Inputs are those that optimum and transformers' tokenizers name: `input_ids`, `attention_mask` and, where the encoder tells
//! segments apart, `token_type_ids`; 64-bit whole numbers, `[batch_size, sequence_length]` of any size. Padding follows a text's
//! tokens, and changes no answer. The output is `logits`, for answers to questions `start_logits` and `end_logits`, in 32 bits.
//!
//! Promises the model's own numbers: to 1e-4 in 32 bits, to 1e-2 in 16, in which the encoder is then kept and
//! computed, but for its LayerNorms and the head. Equal models give equal bytes. Deliberately absent: a CRF's decoding (the logits are its emissions, its
//! parameters are in the file's metadata), quantization, and reading.

use std::path::Path;

use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::config::{EncoderConfig, Own};
use super::head::HeadKind;
use super::names::Names;
use super::{ModelError, ModelInfo, weights};

use graph::{Built, Graph, Single, Size, Value};
use head::Answers;
use layers::{Builder, Inputs};
use proto::Entry;

mod bert;
mod deberta;
mod file;
mod graph;
mod head;
mod layers;
mod modern_bert;
mod mpnet;
mod proto;
#[cfg(test)]
mod tests;

/// In how many bits a graph keeps the encoder and computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnnxPrecision {
    Fp32,
    Fp16,
}

/// Writes the model artifact in `folder` as an ONNX file to `path`, and what is too large for one file beside it.
///
/// # Errors
/// Files that cannot be read or written, and weights that are not those of the model.
pub fn write_onnx(folder: &Path, path: &Path, precision: OnnxPrecision) -> Result<(), ModelError> {
    let info = ModelInfo::read(folder)?;
    let config = EncoderConfig::read(&folder.join("config.json"))?;
    let checkpoint = Checkpoint::safetensors(&folder.join("model.safetensors"))?;
    let head = info.head();
    let metadata = match info.crf {
        true => vec![Entry {
            key: "crf".to_owned(),
            value: transitions(&checkpoint, info.names().len())?,
        }],
        false => Vec::new(),
    };
    file::write(
        &built(&config, &head, precision)?,
        metadata,
        (&checkpoint, config.family),
        path,
        file::MOST_INLINE,
    )
}

/// The graph of a model with that encoder and head.
///
/// # Errors
/// A head that no model has.
fn built(
    config: &EncoderConfig,
    head: &HeadKind,
    precision: OnnxPrecision,
) -> Result<Built, ModelError> {
    head.check(config)?;
    let mut builder = Builder {
        graph: Graph::new(precision),
        names: Names::of(config),
    };
    let sizes = [TEXTS, LENGTH];
    let graph = &mut builder.graph;
    let ids = graph.input("input_ids", sizes, "the ids of tokens");
    let mask = graph.input("attention_mask", sizes, "1 at tokens, 0 at padding");
    let types = (config.type_vocab_size > 1)
        .then(|| graph.input("token_type_ids", sizes, "the segment of each token"));
    let length = graph.size(&ids, 1);
    let inputs = Inputs {
        ids,
        mask,
        types,
        length,
    };
    let of = (head, config);
    let answers = match &config.own {
        Own::Bert => {
            let states = bert::states(&mut builder, config, &inputs);
            head::answers(&mut builder, of, &states, &inputs)
        }
        Own::MpNet(own) => {
            let states = mpnet::states(&mut builder, own, &inputs);
            head::answers(&mut builder, of, &states, &inputs)
        }
        Own::Deberta(own) => {
            let states = deberta::states(&mut builder, own, &inputs);
            head::answers(&mut builder, of, &states, &inputs)
        }
        Own::ModernBert(own) => {
            let states = modern_bert::states(&mut builder, own, &inputs);
            head::answers(&mut builder, of, &states, &inputs)
        }
    };
    let mut graph = builder.graph;
    answer(&mut graph, head, answers);
    Ok(graph.finish(config.family.model_type()))
}

const TEXTS: Size = Size::Named("batch_size");
const LENGTH: Size = Size::Named("sequence_length");

/// Makes outputs of what the head answers.
fn answer(graph: &mut Graph, head: &HeadKind, answers: Answers) {
    let outputs = Size::Fixed(head.outputs().unwrap_or_default());
    match answers {
        Answers::Texts(logits) => {
            let text = "one number for each label or target";
            graph.output("logits", logits, [TEXTS, outputs], text);
        }
        Answers::Tokens(logits) if *head == HeadKind::Spans => {
            for (number, name) in ["start_logits", "end_logits"].into_iter().enumerate() {
                let one = graph.part(&logits, 2, number..number + 1); // [texts, length, 1]
                let one: Value<Single, 2> = graph.squeeze(&one, 2); // [texts, length]
                let text = "how well an answer starts or ends at each token";
                graph.output(name, one, [TEXTS, LENGTH], text);
            }
        }
        Answers::Tokens(logits) => {
            let text = match head {
                HeadKind::Tokens { crf: true, .. } => {
                    "one number for each tag, the emissions of a CRF: its parameters are in the metadata under `crf`"
                }
                _ => "one number for each tag",
            };
            graph.output("logits", logits, [TEXTS, LENGTH, outputs], text);
        }
    }
}

/// The parameters of a CRF, under the names that they have in a checkpoint.
#[derive(Serialize)]
struct Transitions {
    /// `[from][to]`.
    transitions: Vec<Vec<f32>>,
    start_transitions: Vec<f32>,
    end_transitions: Vec<f32>,
}

/// The parameters of the CRF over so many labels, as JSON.
fn transitions(checkpoint: &Checkpoint, labels: usize) -> Result<String, ModelError> {
    let read = |name: &str, wanted: Vec<usize>| {
        let mut misfits = Vec::new();
        let name = format!("crf.{name}");
        let found = checkpoint
            .tensors()
            .iter()
            .find(|tensor| tensor.name == name);
        let values = match found.map(|found| (found, weights::misfit(found, &wanted))) {
            Some((found, None)) => weights::read(checkpoint, found, &mut misfits)?,
            Some((_, Some(misfit))) => {
                misfits.push(misfit);
                Vec::new()
            }
            None => {
                misfits.push(weights::Misfit::Missing { name, wanted });
                Vec::new()
            }
        };
        file::fitting(checkpoint, misfits).map(|()| values)
    };
    let between = read("transitions", vec![labels, labels])?;
    let crf = Transitions {
        transitions: between.chunks(labels.max(1)).map(<[f32]>::to_vec).collect(),
        start_transitions: read("start_transitions", vec![labels])?,
        end_transitions: read("end_transitions", vec![labels])?,
    };
    Ok(serde_json::to_string(&crf).expect("lists of numbers are JSON"))
}
