//! What the files hold: weights under their names, the same bytes each time, a second file where one would be too large. What
//! they compute is held to onnxruntime in `compared`.

mod compared;

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use prost::Message;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::graph::Int;
use super::*;
use crate::model::{
    Classifier, Combine, EncoderFiles, Family, Pooling, REFERENCE_MODELS, Stack, Task,
    named_parameters, save, set_tensors,
};

const LABELS: [&str; 3] = ["O", "B-a", "I-a"];

fn info(task: Task, pooling: Option<Pooling>) -> ModelInfo {
    let mut fields = json!({
        "task": task, "head_dropout": 0.25, "label_names": [], "max_length": 16, "tokenizer_digest": "0", "best_epoch": 1,
        "best_step": 1, "steps": 1, "pooling": pooling,
    });
    match task {
        Task::Regression => fields["target_names"] = json!(["one", "other"]),
        Task::QuestionAnswering => {}
        _ => fields["label_names"] = json!(LABELS),
    }
    serde_json::from_value(fields).unwrap()
}

fn stacked(info: ModelInfo, stack: Json) -> ModelInfo {
    ModelInfo {
        stack: serde_json::from_value(stack).unwrap(),
        ..info
    }
}

fn with_crf() -> ModelInfo {
    ModelInfo {
        crf: true,
        ..info(Task::TokenClassification, None)
    }
}

/// Every task with each head that it may have, and some stacks.
fn heads() -> Vec<(&'static str, ModelInfo)> {
    let texts = |task| move |pooling| info(task, Some(pooling));
    let classes = texts(Task::Classification);
    vec![
        ("classification, pooler", classes(Pooling::Pooler)),
        ("classification, cls", classes(Pooling::Cls)),
        ("classification, mean", classes(Pooling::Mean)),
        ("classification, max", classes(Pooling::Max)),
        (
            "multi_label, pooler",
            texts(Task::MultiLabel)(Pooling::Pooler),
        ),
        ("regression, mean", texts(Task::Regression)(Pooling::Mean)),
        (
            "token_classification",
            info(Task::TokenClassification, None),
        ),
        ("token_classification, crf", with_crf()),
        ("question_answering", info(Task::QuestionAnswering, None)),
        (
            "classification, max, two layers beside each other, two of its own",
            stacked(
                classes(Pooling::Max),
                json!({ "layers": 2, "combine": "concat", "hidden_layers": [5, 4], "activation": "tanh" }),
            ),
        ),
        (
            "regression, pooler, one of its own",
            stacked(
                texts(Task::Regression)(Pooling::Pooler),
                json!({ "hidden_layers": [6], "activation": "relu" }),
            ),
        ),
        (
            "token_classification, mean of two layers, one of its own",
            stacked(
                info(Task::TokenClassification, None),
                json!({ "layers": 2, "hidden_layers": [4], "activation": "gelu_new" }),
            ),
        ),
    ]
}

/// The tiny model of transformers with a head whose numbers are large enough to tell texts apart.
fn model(name: &str, info: &ModelInfo) -> (Classifier, EncoderConfig) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/families")
        .join(name);
    let files = EncoderFiles::in_folder(&folder);
    let (classifier, config, report) =
        Classifier::pretrained(&files, &info.head(), 1, &Device::flex()).unwrap();
    let parameters = named_parameters(&classifier).into_iter();
    let fresh = parameters.filter(|parameter| report.initialised.contains(&parameter.name));
    let values = fresh.map(|parameter| {
        let shift = parameter.name.len() as f64;
        let value = |i: usize| ((0.9 * i as f64 + shift).sin() * 0.3) as f32;
        let length = parameter.shape.iter().product();
        (parameter.name, (0..length).map(value).collect())
    });
    let values = values.collect();
    (set_tensors(classifier, values).unwrap(), config)
}

fn saved(name: &str, info: &ModelInfo) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (classifier, config) = model(name, info);
    save(folder.path(), &classifier, &config, info).unwrap();
    folder
}

/// A whole file, read back.
#[derive(Clone, PartialEq, Message)]
struct Read {
    #[prost(message, optional, tag = "7")]
    graph: Option<proto::Graph>,
    #[prost(message, repeated, tag = "14")]
    metadata: Vec<Entry>,
}

fn read(path: &Path) -> Read {
    Read::decode(&*std::fs::read(path).unwrap()).unwrap()
}

/// Name → shape and bytes of all weights, wherever the file has them.
fn weights_of(path: &Path) -> BTreeMap<String, (Vec<i64>, Vec<u8>)> {
    let initializers = read(path).graph.unwrap().initializer.into_iter();
    let weights = initializers.filter(|tensor| !tensor.name.starts_with("constant."));
    let found = weights.map(|tensor| {
        let entry = |key: &str| {
            let entry = tensor.external_data.iter().find(|entry| entry.key == key);
            entry.unwrap().value.clone()
        };
        let bytes = match (&tensor.raw_data, tensor.data_location) {
            (Some(bytes), None) => bytes.clone(),
            (None, Some(1)) => {
                let all = std::fs::read(path.with_file_name(entry("location"))).unwrap();
                let start: usize = entry("offset").parse().unwrap();
                assert!(start.is_multiple_of(4096));
                all[start..][..entry("length").parse().unwrap()].to_vec()
            }
            other => panic!("{other:?}"),
        };
        (tensor.name, (tensor.dims, bytes))
    });
    found.collect()
}

/// Writes the model in `folder` with at most so many bytes of weights in the first file.
fn write(folder: &Path, to: &Path, precision: OnnxPrecision, most_inline: u64) {
    let info = ModelInfo::read(folder).unwrap();
    let config = EncoderConfig::read(&folder.join("config.json")).unwrap();
    let checkpoint = Checkpoint::safetensors(&folder.join("model.safetensors")).unwrap();
    let built = built(&config, &info.head(), precision).unwrap();
    let weights = (&checkpoint, config.family);
    file::write(&built, Vec::new(), weights, to, most_inline).unwrap();
}

#[test]
fn a_graph_has_every_parameter_of_its_model_and_no_other() {
    for name in REFERENCE_MODELS {
        for (head, info) in heads() {
            let (classifier, config) = model(name, &info);
            let parameters = named_parameters(&classifier).into_iter();
            let wanted: BTreeSet<_> = parameters
                .filter(|parameter| !parameter.name.starts_with("crf."))
                .map(|parameter| (parameter.name, parameter.shape))
                .collect();
            let built = built(&config, &info.head(), OnnxPrecision::Fp32).unwrap();
            let count = built.weights.len();
            let weights = built.weights.into_iter();
            let found: BTreeSet<_> = weights.map(|weight| (weight.name, weight.shape)).collect();
            assert_eq!(found, wanted, "{name}, {head}");
            assert_eq!(count, found.len(), "{name}, {head}: one lies both ways");
        }
    }
}

#[test]
fn two_files_of_one_model_have_the_same_bytes() {
    let to = tempfile::tempdir().unwrap();
    for name in ["deberta-v2-conv", "modernbert"] {
        let folder = saved(name, &info(Task::Classification, Some(Pooling::Mean)));
        let files = ["one", "other"].map(|file| {
            let path = to.path().join(file);
            write_onnx(folder.path(), &path, OnnxPrecision::Fp16).unwrap();
            std::fs::read(path).unwrap()
        });
        assert!(files[0] == files[1], "{name}");
    }
}

#[test]
fn values_are_those_of_the_checkpoint_with_linear_layers_the_other_way_round() {
    let folder = saved("bert", &info(Task::Classification, Some(Pooling::Pooler)));
    let path = folder.path().join("model.onnx");
    write_onnx(folder.path(), &path, OnnxPrecision::Fp32).unwrap();
    let weights = weights_of(&path);
    let floats = |bytes: &[u8]| -> Vec<f32> {
        let values = bytes.as_chunks::<4>().0.iter();
        values.map(|&value| f32::from_le_bytes(value)).collect()
    };
    let checkpoint = Checkpoint::safetensors(&folder.path().join("model.safetensors")).unwrap();
    assert_eq!(weights.len(), checkpoint.tensors().len());
    let mut turned = 0;
    for tensor in checkpoint.tensors() {
        let (dims, bytes) = &weights[&tensor.name];
        let (found, wanted) = (floats(bytes), checkpoint.read(tensor).unwrap());
        let shape: Vec<i64> = tensor.shape.iter().map(|&size| size as i64).collect();
        if !tensor.name.ends_with("weight") || tensor.name.contains("mbeddings") || shape.len() < 2
        {
            assert_eq!((dims, &found), (&shape, &wanted), "{}", tensor.name);
            continue;
        }
        let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
        assert_eq!(*dims, [columns as i64, rows as i64], "{}", tensor.name);
        for (at, value) in wanted.iter().enumerate() {
            assert_eq!(
                found[at % columns * rows + at / columns],
                *value,
                "{}",
                tensor.name
            );
        }
        turned += 1;
    }
    assert_eq!(turned, 2 * 6 + 2);
}

#[test]
fn weights_that_are_too_many_for_one_file_lie_in_a_second_one() {
    let info = info(Task::TokenClassification, None);
    for precision in [OnnxPrecision::Fp32, OnnxPrecision::Fp16] {
        let folder = saved("mpnet", &info);
        let path = |name: &str| folder.path().join(name);
        let (whole, split) = (path("whole.onnx"), path("split.onnx"));
        let (_, config) = model("mpnet", &info);
        let weights = built(&config, &info.head(), precision).unwrap().weights;
        let all = weights.iter().map(graph::Weight::bytes).sum();
        write(folder.path(), &whole, precision, all);
        assert!(!path("whole.onnx_data").exists());
        write(folder.path(), &split, precision, all - 1);
        assert!(path("split.onnx_data").exists());
        assert!(weights_of(&whole) == weights_of(&split), "{precision:?}");
        let outside = read(&split).graph.unwrap().initializer;
        let outside: Vec<_> = outside
            .iter()
            .filter(|tensor| tensor.data_location == Some(1))
            .collect();
        assert!(outside.iter().all(|tensor| tensor.raw_data.is_none()));
        assert!(outside.len() > 5 && outside.len() < weights.len());
    }
}

#[test]
fn a_number_beyond_sixteen_bits_becomes_the_largest_there() {
    let folder = saved("bert", &info(Task::Classification, Some(Pooling::Cls)));
    let (classifier, config) = model("bert", &info(Task::Classification, Some(Pooling::Cls)));
    let bias = "bert.encoder.layer.0.output.dense.bias";
    let mut values = vec![0.1; 16];
    values[..2].copy_from_slice(&[1e6, -1e6]);
    let large = BTreeMap::from([(bias.to_owned(), values)]);
    let classifier = set_tensors(classifier, large).unwrap();
    let info = ModelInfo::read(folder.path()).unwrap();
    save(folder.path(), &classifier, &config, &info).unwrap();
    let path = folder.path().join("model_fp16.onnx");
    write_onnx(folder.path(), &path, OnnxPrecision::Fp16).unwrap();
    let weights = weights_of(&path);
    let values = weights[bias].1.as_chunks::<2>().0.iter();
    let values: Vec<f32> = values
        .map(|&value| half::f16::from_le_bytes(value).to_f32())
        .collect();
    let tenth = half::f16::from_f32(0.1).to_f32();
    assert_eq!(values[..3], [65504.0, -65504.0, tenth]);
    // The head keeps its 32 bits.
    assert_eq!(weights["classifier.bias"].1.len(), 3 * 4);
}

#[test]
fn a_crf_is_in_the_metadata_and_not_in_the_graph() {
    let folder = saved("distilbert", &with_crf());
    let path = folder.path().join("model.onnx");
    write_onnx(folder.path(), &path, OnnxPrecision::Fp32).unwrap();
    assert!(
        weights_of(&path)
            .keys()
            .all(|name| !name.starts_with("crf."))
    );
    let metadata = read(&path).metadata;
    assert_eq!(metadata[0].key, "crf");
    let crf: BTreeMap<String, Json> = serde_json::from_str(&metadata[0].value).unwrap();
    let (classifier, _) = model("distilbert", &with_crf());
    let values = classifier.head.crf().unwrap().values().unwrap();
    let row: Vec<f32> = serde_json::from_value(crf["transitions"][1].clone()).unwrap();
    assert_eq!(row, values.transitions[3..6]);
    for (name, wanted) in [
        ("start_transitions", values.starts),
        ("end_transitions", values.ends),
    ] {
        let found: Vec<f32> = serde_json::from_value(crf[name].clone()).unwrap();
        assert_eq!(found, wanted, "{name}");
    }
    let output = &read(&path).graph.unwrap().output[0];
    assert!(output.doc_string.contains("CRF"));
}

#[test]
fn segments_are_asked_for_where_the_encoder_tells_them_apart() {
    for name in REFERENCE_MODELS {
        let info = info(Task::QuestionAnswering, None);
        let (_, config) = model(name, &info);
        let built = built(&config, &info.head(), OnnxPrecision::Fp32).unwrap();
        let inputs = built.graph.input.iter();
        let inputs: Vec<&str> = inputs.map(|input| input.name.as_str()).collect();
        let tells = [
            "bert",
            "electra",
            "albert",
            "albert-groups",
            "deberta-v2",
            "deberta-v2-conv",
        ];
        let wanted = ["input_ids", "attention_mask", "token_type_ids"];
        assert_eq!(
            inputs,
            wanted[..2 + usize::from(tells.contains(&name))],
            "{name}"
        );
        let outputs = built.graph.output.iter();
        let outputs: Vec<&str> = outputs.map(|output| output.name.as_str()).collect();
        assert_eq!(outputs, ["start_logits", "end_logits"]);
    }
}

#[test]
fn every_tensor_that_does_not_fit_is_named() {
    let folder = saved("bert", &info(Task::Classification, Some(Pooling::Pooler)));
    let other = saved("roberta", &info(Task::MultiLabel, Some(Pooling::Mean)));
    let weights = "model.safetensors";
    std::fs::copy(other.path().join(weights), folder.path().join(weights)).unwrap();
    let path = folder.path().join("model.onnx");
    let error = write_onnx(folder.path(), &path, OnnxPrecision::Fp32).unwrap_err();
    let ModelError::WeightsDoNotFit { misfits, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(misfits.0.len() > 20, "{error}");
    let missing = |misfit: &weights::Misfit| matches!(misfit, weights::Misfit::Missing { name, .. } if name == "bert.pooler.dense.weight");
    assert!(misfits.0.iter().any(missing), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_head_that_no_model_has_is_refused() {
    let (_, config) = model("bert", &info(Task::QuestionAnswering, None));
    let head = HeadKind::Texts {
        outputs: 2,
        pooling: Pooling::Mean,
        dropout: None,
        stack: Stack {
            layers: 9,
            combine: Combine::Mean,
            ..Stack::default()
        },
    };
    let error = built(&config, &head, OnnxPrecision::Fp32).unwrap_err();
    assert!(error.to_string().contains("from 1 to 2"), "{error}");
}

#[test]
fn equal_constants_are_kept_once_and_an_output_has_its_name_everywhere() {
    let mut graph = Graph::new(OnnxPrecision::Fp32);
    graph.enter("part");
    let ids: Value<Int, 2> = graph.input("ids", [TEXTS, LENGTH], "");
    let more = graph.add_int(&ids, 3);
    let twice = graph.mul_int(&more, 3);
    let difference = graph.sub(&twice, &more);
    graph.output("difference", difference, [TEXTS, LENGTH], "");
    graph.output("more", more, [TEXTS, LENGTH], "");
    let built = graph.finish("test");
    assert_eq!(built.graph.initializer.len(), 1);
    let nodes = built.graph.node.iter();
    let nodes: Vec<_> = nodes
        .map(|node| {
            (
                node.name.as_str(),
                node.input.join(" "),
                node.output.join(" "),
            )
        })
        .collect();
    let wanted = [
        ("part/Add_0", "ids constant.0", "more"),
        ("part/Mul_1", "more constant.0", "part/Mul_1"),
        ("part/Sub_2", "part/Mul_1 more", "difference"),
    ];
    let wanted = wanted.map(|(name, inputs, output)| (name, inputs.to_owned(), output.to_owned()));
    assert_eq!(nodes, wanted);
}

#[test]
fn every_family_has_a_graph() {
    let families: Vec<Family> = REFERENCE_MODELS
        .iter()
        .map(|name| model(name, &info(Task::QuestionAnswering, None)).1.family)
        .collect();
    assert!(Family::ALL.iter().all(|family| families.contains(family)));
}
