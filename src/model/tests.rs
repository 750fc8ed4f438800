//! What the model module promises as a whole, on tiny random weights.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;

const LABELS: usize = 3;

fn config() -> EncoderConfig {
    let settings = ScratchSettings {
        layers: 2,
        hidden: 8,
        heads: 2,
        intermediate: Some(12),
        dropout: 0.1,
        max_positions: 16,
    };
    settings
        .config(Vocabulary {
            size: 20,
            pad_id: 0,
        })
        .unwrap()
}

fn pooled_by(pooling: Pooling) -> HeadKind {
    HeadKind::Texts {
        outputs: LABELS,
        pooling,
        dropout: None,
        stack: Stack::default(),
    }
}

fn tiny(pooling: Pooling, seed: u64) -> Classifier {
    Classifier::initialised(&config(), &pooled_by(pooling), seed, &Device::flex()).unwrap()
}

/// Two texts, the second `padding` tokens shorter, one directly after the other.
fn batch(padding: usize, length: usize, device: &Device) -> Batch {
    laid_out(Spans::packed([length, length - padding]), device)
}

/// Two texts that lie as `spans` say.
fn laid_out(spans: Spans, device: &Device) -> Batch {
    let (mut ids, mut types) = (vec![0; spans.rows()], vec![0; spans.rows()]);
    for (text, rows) in spans.texts().iter().enumerate() {
        for (place, row) in rows.clone().enumerate() {
            ids[row] = (text * 7 + place * 3 + 1) as i32 % 20;
            types[row] = i32::from(place > 2);
        }
    }
    Batch::new(ids, types, spans, device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn close(one: &[f32], other: &[f32]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-5)
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// The classifier as a safetensors file.
fn written(classifier: &Classifier) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights::write(classifier, &path).unwrap();
    std::fs::read(path).unwrap()
}

/// The tensors of a classifier as its file has them.
fn tensors(classifier: &Classifier) -> Tensors {
    let bytes = written(classifier);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let owned = |view: TensorView| {
        (
            view.dtype(),
            view.shape().to_owned(),
            view.data().to_owned(),
        )
    };
    file.iter()
        .map(|(name, view)| (name.to_owned(), owned(view)))
        .collect()
}

fn write(folder: &Path, tensors: &Tensors) -> EncoderFiles {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (
            name.as_str(),
            TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
        )
    });
    std::fs::write(
        folder.join("model.safetensors"),
        safetensors::serialize(views, None).unwrap(),
    )
    .unwrap();
    let names = ["a", "b", "c"].map(str::to_owned);
    std::fs::write(
        folder.join("config.json"),
        config()
            .for_task(Task::Classification, &names, 0.1)
            .to_string(),
    )
    .unwrap();
    EncoderFiles::in_folder(folder)
}

/// Loads an encoder whose file has the tensors of `tiny`, changed by `change`.
fn changed(change: impl FnOnce(&mut Tensors)) -> Result<(Classifier, LoadReport), ModelError> {
    let mut tensors = tensors(&tiny(Pooling::Pooler, 1));
    change(&mut tensors);
    loaded(&tensors, Pooling::Pooler)
}

fn loaded(tensors: &Tensors, pooling: Pooling) -> Result<(Classifier, LoadReport), ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), tensors);
    let (classifier, _, report) =
        Classifier::pretrained(&files, &pooled_by(pooling), 9, &Device::flex())?;
    Ok((classifier, report))
}

fn renamed(tensors: &Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    tensors
        .iter()
        .map(|(name, tensor)| (rename(name), tensor.clone()))
        .collect()
}

fn hidden(classifier: &Classifier) -> Vec<f32> {
    numbers(classifier.hidden(&batch(2, 6, &Device::flex()), &Mode::EVALUATE))
}

#[test]
fn every_parameter_has_its_name_in_transformers_and_its_shape() {
    let parameters = named_parameters(&tiny(Pooling::Pooler, 1));
    let shape = |name: &str| {
        parameters
            .iter()
            .find(|parameter| parameter.name == name)
            .map(|p| p.shape.clone())
    };
    assert_eq!(parameters.len(), 5 + 2 * 16 + 2 + 2);
    assert_eq!(parameters[0].name, "bert.embeddings.word_embeddings.weight");
    assert_eq!(parameters.last().unwrap().name, "classifier.bias");
    assert_eq!(
        shape("bert.embeddings.word_embeddings.weight"),
        Some(vec![20, 8])
    );
    assert_eq!(
        shape("bert.encoder.layer.1.intermediate.dense.weight"),
        Some(vec![12, 8])
    );
    assert_eq!(
        shape("bert.encoder.layer.1.attention.output.LayerNorm.bias"),
        Some(vec![8])
    );
    assert_eq!(shape("bert.pooler.dense.weight"), Some(vec![8, 8]));
    assert_eq!(shape("classifier.weight"), Some(vec![LABELS, 8]));
}

#[test]
fn names_without_prefix_and_with_gamma_and_beta_give_the_same_encoder() {
    let original = tiny(Pooling::Pooler, 1);
    let old = renamed(&tensors(&original), |name| {
        let name = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
        name.trim_start_matches("bert.").to_owned()
    });
    let (classifier, report) = loaded(&old, Pooling::Pooler).unwrap();
    assert_eq!(hidden(&classifier), hidden(&original));
    assert_eq!(report.loaded, 39);
    assert_eq!(report.initialised, ["classifier.weight", "classifier.bias"]);
    assert_eq!(report.ignored, ["classifier.bias", "classifier.weight"]);
}

#[test]
fn half_precision_weights_give_nearly_the_same_encoder() {
    let original = tiny(Pooling::Pooler, 1);
    for (dtype, tolerance) in [(Dtype::F16, 1e-2), (Dtype::BF16, 6e-2)] {
        let (classifier, _) = changed(|tensors| {
            for (found, _, bytes) in tensors.values_mut() {
                let narrow = |value: f32| match dtype {
                    Dtype::F16 => half::f16::from_f32(value).to_le_bytes(),
                    _ => half::bf16::from_f32(value).to_le_bytes(),
                };
                let values: Vec<f32> = bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&v| f32::from_le_bytes(v))
                    .collect();
                (*found, *bytes) = (dtype, values.into_iter().flat_map(narrow).collect());
            }
        })
        .unwrap();
        let worst = hidden(&classifier)
            .iter()
            .zip(hidden(&original))
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst > 0.0 && worst < tolerance, "{dtype:?}: {worst}");
    }
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let error = changed(|tensors| {
        tensors.remove("bert.encoder.layer.0.output.dense.bias");
        let extra = tensors["bert.pooler.dense.bias"].clone();
        tensors.insert(
            "bert.encoder.layer.2.output.dense.bias".to_owned(),
            extra.clone(),
        );
        tensors.insert(
            "bert.embeddings.LayerNorm.bias".to_owned(),
            (Dtype::F32, vec![4], vec![0; 16]),
        );
        tensors.insert(
            "bert.pooler.dense.bias".to_owned(),
            (Dtype::I64, vec![8], vec![0; 64]),
        );
        tensors.insert("embeddings.LayerNorm.weight".to_owned(), extra.clone());
        let infinite = f32::INFINITY.to_le_bytes().repeat(8);
        tensors.insert(
            "bert.encoder.layer.1.output.dense.bias".to_owned(),
            (Dtype::F32, vec![8], infinite),
        );
    })
    .unwrap_err();
    let text = error.to_string();
    for line in [
        "bert.encoder.layer.0.output.dense.bias is missing, wanted with shape [8]",
        "bert.encoder.layer.2.output.dense.bias of shape [8] has no place",
        "bert.embeddings.LayerNorm.bias has shape [4], wanted [8]",
        "bert.pooler.dense.bias holds I64",
        "embeddings.LayerNorm.weight and bert.embeddings.LayerNorm.weight are the same tensor",
        "bert.encoder.layer.1.output.dense.bias holds values that are no finite numbers",
        "model.safetensors",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn other_heads_and_buffers_are_ignored_and_reported() {
    let (_, report) = changed(|tensors| {
        let any = tensors["bert.pooler.dense.bias"].clone();
        for name in [
            "cls.predictions.bias",
            "cls.seq_relationship.bias",
            "qa_outputs.bias",
        ] {
            tensors.insert(name.to_owned(), any.clone());
        }
        tensors.insert(
            "bert.embeddings.position_ids".to_owned(),
            (Dtype::I64, vec![1, 16], vec![0; 128]),
        );
    })
    .unwrap();
    assert_eq!(report.ignored.len(), 6, "{:?}", report.ignored);
    let warnings = report.warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("and 2 more"), "{warnings:?}");
}

#[test]
fn an_absent_pooler_is_drawn_with_a_warning_or_not_built() {
    let mut without = tensors(&tiny(Pooling::Pooler, 1));
    without.retain(|name, _| name.starts_with("bert.") && !name.contains("pooler"));
    let (_, report) = loaded(&without, Pooling::Pooler).unwrap();
    assert!(
        report
            .initialised
            .contains(&"bert.pooler.dense.weight".to_owned())
    );
    assert!(report.warnings()[0].contains("no pooler"));
    let (classifier, report) = loaded(&without, Pooling::Mean).unwrap();
    assert!(
        named_parameters(&classifier)
            .iter()
            .all(|parameter| !parameter.name.contains("pooler"))
    );
    assert!(report.warnings().is_empty());
}

#[test]
fn half_a_pooler_is_an_error() {
    let error = changed(|tensors| _ = tensors.remove("bert.pooler.dense.bias")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("bert.pooler.dense.bias is missing"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), &tensors(&tiny(Pooling::Pooler, 1)));
    let whole = std::fs::read(&files.weights).unwrap();
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut garbled = whole.clone();
    garbled[12] = 0xff;
    let cases: [&[u8]; 7] = [
        b"",
        b"abc",
        b"version https://git-lfs.github.com/spec/v1\n",
        &whole[..200],
        &whole[..whole.len() - 1],
        &huge,
        &garbled,
    ];
    for bytes in cases {
        std::fs::write(&files.weights, bytes).unwrap();
        let error = Classifier::pretrained(&files, &pooled_by(Pooling::Cls), 1, &Device::flex())
            .unwrap_err();
        assert!(
            matches!(
                error,
                ModelError::Checkpoint(CheckpointError::NotSafetensors { .. })
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
    std::fs::remove_file(&files.weights).unwrap();
    let error =
        Classifier::pretrained(&files, &pooled_by(Pooling::Cls), 1, &Device::flex()).unwrap_err();
    assert!(matches!(
        error,
        ModelError::Checkpoint(CheckpointError::Unreadable { .. })
    ));
}

#[test]
fn a_written_file_has_the_bytes_that_the_safetensors_crate_writes() {
    let bytes = written(&tiny(Pooling::Pooler, 1));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mark = [("format".to_owned(), "pt".to_owned())];
    let crates = safetensors::serialize(file.tensors(), Some(mark.into_iter().collect())).unwrap();
    assert!(bytes == crates);
}

/// What `BertForPreTraining` of transformers saves, whole, in shards and as PyTorch did, gives one encoder: its heads for words and
/// sentences are of no use here, and the decoder shares the memory of the word embeddings.
#[test]
fn every_form_of_a_folder_gives_the_same_encoder() {
    let load = |form: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints");
        let files = EncoderFiles::find(&folder.join(form)).unwrap();
        let head = pooled_by(Pooling::Pooler);
        let (classifier, _, report) =
            Classifier::pretrained(&files, &head, 9, &Device::flex()).unwrap();
        (tensors(&classifier), report)
    };
    let (whole, report) = load("whole");
    assert_eq!(report.loaded, 23);
    assert_eq!(report.initialised, ["classifier.weight", "classifier.bias"]);
    assert_eq!(report.ignored.len(), 7);
    let (sharded, of_shards) = load("sharded");
    assert!(whole == sharded && report == of_shards);
    let (pytorch, of_pytorch) = load("pytorch");
    assert!(whole == pytorch);
    assert_eq!(of_pytorch.loaded, report.loaded);
    let (sharded, of_shards) = load("pytorch_sharded");
    assert!(whole == sharded && of_pytorch == of_shards);
    let tied = "cls.predictions.decoder.weight".to_owned();
    assert!(of_pytorch.ignored.contains(&tied));
    assert_eq!(of_pytorch.warnings(), [""; 0]);
}

#[test]
fn a_config_as_deep_as_a_stack_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(
        &path,
        format!("{{\"model_type\": {}", "[".repeat(1_000_000)),
    )
    .unwrap();
    let error = EncoderConfig::read(&path).unwrap_err().to_string();
    assert!(error.contains("recursion limit"), "{error}");
}

#[test]
fn padding_changes_no_text() {
    let device = Device::flex();
    for pooling in [Pooling::Pooler, Pooling::Cls, Pooling::Mean, Pooling::Max] {
        let classifier = tiny(pooling, 1);
        let logits = |spans| {
            let batch = laid_out(spans, &device);
            numbers(classifier.forward(&batch, &Mode::EVALUATE))
        };
        let packed = logits(Spans::packed([6, 4]));
        for to in [6, 9] {
            assert!(
                close(&packed, &logits(Spans::padded([6, 4], to))),
                "{pooling:?}, {to}"
            );
        }
    }
}

/// With its composition, a device without fused operations gives what the CPU's gives, gradients included.
#[test]
fn packed_and_padded_batches_learn_the_same_on_every_device() {
    let gradients = |device: Device, spans: Spans| {
        let classifier = Classifier::initialised(&config(), &pooled_by(Pooling::Mean), 1, &device)
            .unwrap()
            .train();
        let batch = laid_out(spans, &device);
        let loss = classifier.forward(&batch, &Mode::EVALUATE).square().sum();
        struct All(burn::tensor::Gradients, Vec<f32>);
        impl VisitParameters for All {
            fn visit<const D: usize>(
                &mut self,
                name: &str,
                parameter: &burn::module::Param<Tensor<D>>,
            ) {
                let gradient = parameter.val().grad(&self.0);
                self.1.extend(numbers(
                    gradient.unwrap_or_else(|| panic!("{name} has no gradient")),
                ));
            }
        }
        let mut all = All(loss.backward(), Vec::new());
        visit_parameters(&classifier, &mut all);
        all.1
    };
    let packed = gradients(Device::flex(), Spans::packed([6, 4]));
    for name in ["flex", "ndarray"] {
        let Ok(crate::device::Chosen { device, .. }) = crate::device::choose(name) else {
            eprintln!("this build has no {name}: skipped");
            continue;
        };
        for spans in [Spans::packed([6, 4]), Spans::padded([6, 4], 9)] {
            assert!(
                close(&packed, &gradients(device.clone(), spans.clone())),
                "{device:?}, {spans:?}"
            );
        }
    }
}

#[test]
fn a_first_token_comes_out_the_same_where_only_it_is_computed() {
    let batch = batch(3, 7, &Device::flex());
    for pooling in [Pooling::Pooler, Pooling::Cls] {
        let classifier = tiny(pooling, 3);
        let all = classifier.hidden(&batch, &Mode::EVALUATE);
        let all = numbers(classifier.pooled(all, &batch.spans));
        let first = numbers(classifier.head.read(
            &classifier.encoder,
            &batch,
            None,
            &Mode::EVALUATE,
        ));
        assert_eq!(all.len(), first.len());
        for (all, first) in all.iter().zip(first) {
            assert!((all - first).abs() < 1e-6, "{pooling:?}: {all} and {first}");
        }
    }
}

#[test]
fn poolings_are_what_their_names_say() {
    let device = Device::flex();
    for (pooling, wanted) in [
        (Pooling::Cls, [1.0, -4.0, 5.0, 6.0]),
        (Pooling::Mean, [2.0, -3.0, 5.0, 6.0]),
        (Pooling::Max, [3.0, -2.0, 5.0, 6.0]),
    ] {
        let packed = Tensor::<2>::from_data([[1.0, -4.0], [3.0, -2.0], [5.0, 6.0]], &device);
        let pooled = tiny(pooling, 1).pooled(packed, &Spans::packed([2, 1]));
        assert_eq!(numbers(pooled), wanted, "{pooling:?}");
        let padded = [
            [1.0, -4.0],
            [3.0, -2.0],
            [70.0, 80.0],
            [5.0, 6.0],
            [90.0, -90.0],
            [0.0, 99.0],
        ];
        let padded = Tensor::<2>::from_data(padded, &device);
        let pooled = tiny(pooling, 1).pooled(padded, &Spans::padded([2, 1], 3));
        assert_eq!(numbers(pooled), wanted, "{pooling:?}, padded");
    }
}

#[test]
fn a_saved_model_opens_to_equal_logits_and_saves_to_equal_bytes() {
    let device = Device::flex();
    for pooling in [Pooling::Pooler, Pooling::Mean] {
        let classifier = tiny(pooling, 4);
        let info = ModelInfo {
            pooling: Some(pooling),
            ..info(Task::Classification)
        };
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        save(one.path(), &classifier, &config(), &info).unwrap();
        let (opened, found_config, found_info) = open(one.path(), &device).unwrap();
        assert_eq!(found_info, info);
        assert_eq!(
            found_config,
            EncoderConfig {
                classifier_dropout: Some(0.25),
                ..config()
            }
        );
        assert_eq!(opened.outputs(), LABELS);
        assert_eq!(opened.head.dropout(), 0.25);
        let logits = |classifier: &Classifier| {
            numbers(classifier.forward(&batch(2, 6, &device), &Mode::EVALUATE))
        };
        assert_eq!(logits(&opened), logits(&classifier));
        save(two.path(), &opened, &found_config, &found_info).unwrap();
        for name in ["model.safetensors", "config.json", "model.json"] {
            assert_eq!(
                std::fs::read(one.path().join(name)).unwrap(),
                std::fs::read(two.path().join(name)).unwrap()
            );
        }
    }
}

#[test]
fn equal_seeds_give_equal_weights_and_others_do_not() {
    assert_eq!(
        tensors(&tiny(Pooling::Pooler, 5)),
        tensors(&tiny(Pooling::Pooler, 5))
    );
    assert_ne!(
        tensors(&tiny(Pooling::Pooler, 5)),
        tensors(&tiny(Pooling::Pooler, 6))
    );
}

#[test]
fn only_training_drops_out_and_equal_steps_drop_the_same() {
    let device = Device::flex();
    let classifier = tiny(Pooling::Pooler, 1);
    let logits = |mode: Mode| numbers(classifier.forward(&batch(0, 6, &device), &mode));
    let train = |seed, step| logits(Mode::train(seed, step));
    assert_eq!(logits(Mode::EVALUATE), logits(Mode::EVALUATE));
    assert_ne!(logits(Mode::EVALUATE), train(1, 1));
    assert_eq!(train(1, 1), train(1, 1));
    assert_ne!(train(1, 1), train(1, 2));
    assert_ne!(train(1, 1), train(2, 1));
}

#[test]
fn every_parameter_gets_a_gradient() {
    struct Without<'a>(&'a burn::tensor::Gradients, Vec<String>);
    impl VisitParameters for Without<'_> {
        fn visit<const D: usize>(
            &mut self,
            name: &str,
            parameter: &burn::module::Param<Tensor<D>>,
        ) {
            if parameter.val().grad(self.0).is_none() {
                self.1.push(name.to_owned());
            }
        }
    }
    let classifier = tiny(Pooling::Pooler, 1).train();
    let batch = batch(2, 6, &device_of(&classifier));
    let gradients = classifier
        .forward(&batch, &Mode::train(1, 1))
        .sum()
        .backward();
    let mut without = Without(&gradients, Vec::new());
    visit_parameters(&classifier, &mut without);
    assert!(without.1.is_empty(), "{:?}", without.1);
}

#[test]
fn attention_weights_of_each_layer_sum_to_one_and_a_layer_too_many_has_none() {
    let classifier = tiny(Pooling::Cls, 1);
    let batch = batch(2, 6, &Device::flex());
    for layer in 0..2 {
        let weights = classifier.attention(&batch, layer).unwrap();
        assert_eq!(weights.dims(), [2, 2, 6, 6]);
        assert!(
            close(&numbers(weights.sum_dim(3)), &[1.0; 24]),
            "layer {layer}"
        );
    }
    assert!(classifier.attention(&batch, 2).is_none());
}

#[test]
fn tensors_can_be_set_by_name_and_only_whole() {
    let set = |name: &str, length: usize| {
        set_tensors(
            tiny(Pooling::Cls, 1),
            BTreeMap::from([(name.to_owned(), vec![0.5; length])]),
        )
    };
    let after = tensors(&set("classifier.bias", LABELS).unwrap());
    assert_eq!(
        after["classifier.bias"].2,
        0.5f32.to_le_bytes().repeat(LABELS)
    );
    assert!(matches!(
        set("classifier.bias", 4),
        Err(ModelError::WrongLength { .. })
    ));
    assert!(matches!(
        set("pooler.bias", 4),
        Err(ModelError::NoSuchTensor { .. })
    ));
}

#[test]
fn a_head_without_outputs_is_refused() {
    let settings = HeadSettings::default();
    for head in [settings.over_texts(0), settings.over_tokens(0, true)] {
        let none = Classifier::initialised(&config(), &head, 1, &Device::flex());
        assert!(matches!(none, Err(ModelError::NoOutputs)));
    }
}

/// The heads that answer for every token.
fn over_tokens() -> [HeadKind; 3] {
    let settings = HeadSettings::default();
    [
        settings.over_tokens(LABELS, false),
        settings.over_tokens(LABELS, true),
        HeadKind::Spans,
    ]
}

#[test]
fn a_head_over_tokens_answers_for_each_of_them_and_the_encoder_has_no_pooler() {
    let device = Device::flex();
    for head in over_tokens() {
        let model = Classifier::initialised(&config(), &head, 1, &device).unwrap();
        assert_eq!(Some(model.outputs()), head.outputs());
        assert_eq!(model.head.pooling(), None);
        assert_eq!(model.head.crf().is_some(), head == over_tokens()[1]);
        let packed = laid_out(Spans::packed([6, 4]), &device);
        let answers = model.forward(&packed, &Mode::EVALUATE);
        assert_eq!(answers.dims(), [10, model.outputs()]);
        let padded = laid_out(Spans::padded([6, 4], 9), &device);
        let real = Tensor::from_data([0, 1, 2, 3, 4, 5, 9, 10, 11, 12], &device);
        let others = model.forward(&padded, &Mode::EVALUATE).select(0, real);
        assert!(close(&numbers(answers), &numbers(others)), "{head:?}");
        assert!(tensors(&model).keys().all(|name| !name.contains("pooler")));
    }
}

#[test]
fn heads_have_the_names_and_shapes_of_their_checkpoints() {
    let after_the_encoder = |head: &HeadKind| -> Vec<(String, Vec<usize>)> {
        let model = Classifier::initialised(&config(), head, 1, &Device::flex()).unwrap();
        named_parameters(&model)
            .into_iter()
            .filter(|parameter| !parameter.name.starts_with("bert."))
            .map(|parameter| (parameter.name, parameter.shape))
            .collect()
    };
    let named = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_owned());
    let [plain, with_crf, spans] = over_tokens();
    let layer = [
        named("classifier.weight", &[LABELS, 8]),
        named("classifier.bias", &[LABELS]),
    ];
    assert_eq!(after_the_encoder(&plain), layer);
    let crf = [
        named("crf.transitions", &[LABELS, LABELS]),
        named("crf.start_transitions", &[LABELS]),
        named("crf.end_transitions", &[LABELS]),
    ];
    assert_eq!(
        after_the_encoder(&with_crf),
        [layer.as_slice(), crf.as_slice()].concat()
    );
    let layer = [
        named("qa_outputs.weight", &[2, 8]),
        named("qa_outputs.bias", &[2]),
    ];
    assert_eq!(after_the_encoder(&spans), layer);
}

#[test]
fn only_an_answers_head_drops_nothing() {
    let device = Device::flex();
    for head in over_tokens() {
        let model = Classifier::initialised(&config(), &head, 1, &device).unwrap();
        let wanted = if head == HeadKind::Spans { 0.0 } else { 0.1 };
        assert_eq!(model.head.dropout(), wanted);
    }
}

#[test]
fn the_heads_of_a_checkpoint_are_drawn_anew_and_a_pooler_it_has_is_left_out_unsaid() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), &tensors(&tiny(Pooling::Pooler, 1)));
    for head in over_tokens() {
        let (_, _, report) = Classifier::pretrained(&files, &head, 9, &Device::flex()).unwrap();
        let layers = if head == over_tokens()[1] { 5 } else { 2 };
        assert_eq!(report.initialised.len(), layers, "{report:?}");
        assert_eq!(report.ignored.len(), 4, "{report:?}");
        assert_eq!(report.warnings().len(), 1, "{:?}", report.warnings());
    }
}

fn info(task: Task) -> ModelInfo {
    let named = ["a", "b", "c"].map(str::to_owned).to_vec();
    let (label_names, target_names) = match task {
        Task::Regression => (Vec::new(), Some(named)),
        Task::QuestionAnswering => (Vec::new(), None),
        _ => (named, None),
    };
    let over_texts = matches!(
        task,
        Task::Classification | Task::MultiLabel | Task::Regression
    );
    ModelInfo {
        task,
        pooling: over_texts.then_some(Pooling::Mean),
        head_dropout: if task == Task::QuestionAnswering {
            0.0
        } else {
            0.25
        },
        stack: Stack::default(),
        label_names,
        target_names,
        crf: task == Task::TokenClassification,
        scheme: (task == Task::TokenClassification).then(|| "bio".to_owned()),
        thresholds: (task == Task::MultiLabel).then(|| vec![0.5, 0.25, 0.125]),
        max_answer_length: (task == Task::QuestionAnswering).then_some(20),
        n_best: (task == Task::QuestionAnswering).then_some(5),
        max_length: 16,
        stride: (task == Task::QuestionAnswering).then_some(4),
        tokenizer_digest: "0".repeat(64),
        best_epoch: 1,
        best_step: 2,
        steps: 3,
    }
}

#[test]
fn a_saved_model_of_any_task_opens_to_equal_answers_and_saves_to_equal_bytes() {
    let device = Device::flex();
    for task in Task::ALL {
        let info = info(task);
        let model = Classifier::initialised(&config(), &info.head(), 4, &device).unwrap();
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        save(one.path(), &model, &config(), &info).unwrap();
        let (opened, found_config, found_info) = open(one.path(), &device).unwrap();
        assert_eq!(found_info, info);
        assert_eq!(
            (opened.head.reads(), opened.head.dropout()),
            (model.head.reads(), info.head_dropout)
        );
        assert_eq!(tensors(&opened), tensors(&model));
        let answers =
            |model: &Classifier| numbers(model.forward(&batch(2, 6, &device), &Mode::EVALUATE));
        assert_eq!(answers(&opened), answers(&model));
        save(two.path(), &opened, &found_config, &found_info).unwrap();
        for name in ["model.safetensors", "config.json", "model.json"] {
            assert_eq!(
                std::fs::read(one.path().join(name)).unwrap(),
                std::fs::read(two.path().join(name)).unwrap()
            );
        }
    }
}

#[test]
fn a_config_names_the_tasks_class_its_problem_and_what_its_numbers_are() {
    let of = |task: Task| config().for_task(task, info(task).names(), info(task).head_dropout);
    let wanted = [
        (
            "BertForSequenceClassification",
            Some("single_label_classification"),
        ),
        (
            "BertForSequenceClassification",
            Some("multi_label_classification"),
        ),
        ("BertForSequenceClassification", Some("regression")),
        ("BertForTokenClassification", None),
        ("BertForQuestionAnswering", None),
    ];
    for (task, (class, problem)) in Task::ALL.into_iter().zip(wanted) {
        let config = of(task);
        assert_eq!(config["architectures"], serde_json::json!([class]));
        assert_eq!(
            config
                .get("problem_type")
                .and_then(|problem| problem.as_str()),
            problem
        );
        let first = config.pointer("/id2label/0").and_then(|name| name.as_str());
        let named = task != Task::QuestionAnswering;
        assert_eq!(first, named.then_some("a"), "{task}");
        assert_eq!(config.get("label2id").is_some(), named, "{task}");
        let dropout = config["classifier_dropout"].as_f64();
        assert_eq!(dropout, named.then_some(0.25), "{task}");
    }
}

#[test]
fn what_a_classifier_does_not_have_is_not_written() {
    let written = serde_json::to_string(&ModelInfo {
        pooling: Some(Pooling::Pooler),
        ..info(Task::Classification)
    })
    .unwrap();
    let digest = "0".repeat(64);
    assert_eq!(
        written,
        format!(
            r#"{{"task":"classification","pooling":"pooler","head_dropout":0.25,"label_names":["a","b","c"],"max_length":16,"tokenizer_digest":"{digest}","best_epoch":1,"best_step":2,"steps":3}}"#
        )
    );
}

fn stacked(stack: Stack) -> HeadKind {
    HeadKind::Texts {
        outputs: LABELS,
        pooling: Pooling::Mean,
        dropout: Some(0.5),
        stack,
    }
}

#[test]
fn values_are_dropped_before_each_dense_layer_of_a_head() {
    let stack = Stack {
        hidden_layers: vec![LABELS],
        activation: Activation::Relu,
        ..Stack::default()
    };
    let config = EncoderConfig {
        hidden_dropout_prob: 0.0,
        output_dropout: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..config()
    };
    let device = Device::flex();
    let model = Classifier::initialised(&config, &stacked(stack), 1, &device).unwrap();
    // The layer that answers shows what the dense one gives, and what is dropped after it is 0.
    let identity = (0..LABELS * LABELS).map(|at| f32::from(at % (LABELS + 1) == 0));
    let weights = BTreeMap::from([
        ("classifier.weight".to_owned(), identity.collect()),
        ("mlp.0.bias".to_owned(), vec![10.0; LABELS]),
        ("mlp.0.weight".to_owned(), vec![0.5; LABELS * 8]),
    ]);
    let model = set_tensors(model, weights).unwrap();
    let of = |mode: Mode| numbers(model.forward(&batch(2, 6, &device), &mode));
    let whole = of(Mode::EVALUATE);
    let dropped = of(Mode::train(1, 1));
    let kept = || {
        dropped
            .iter()
            .zip(&whole)
            .filter(|(found, _)| **found != 0.0)
    };
    assert!(kept().count() > 0);
    assert!(kept().any(|(found, whole)| (found - 2.0 * whole).abs() > 1e-3));
}

#[test]
fn a_head_on_a_stack_opens_to_equal_logits() {
    let device = Device::flex();
    let stack = Stack {
        layers: 2,
        combine: Combine::Concat,
        hidden_layers: vec![5, 4],
        activation: Activation::Tanh,
    };
    let model = Classifier::initialised(&config(), &stacked(stack.clone()), 4, &device).unwrap();
    let info = ModelInfo {
        pooling: model.head.pooling(),
        head_dropout: model.head.dropout(),
        stack,
        ..info(Task::Classification)
    };
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &model, &config(), &info).unwrap();
    let (opened, _, found) = open(folder.path(), &device).unwrap();
    assert_eq!(found, info);
    let logits =
        |model: &Classifier| numbers(model.forward(&batch(2, 6, &device), &Mode::EVALUATE));
    assert_eq!(logits(&opened), logits(&model));
}

#[test]
fn more_layers_than_the_encoder_has_are_refused() {
    for layers in [0, 3] {
        let stack = Stack {
            layers,
            ..Stack::default()
        };
        let refused = Classifier::initialised(&config(), &stacked(stack), 1, &Device::flex());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("from 1 to 2"), "{refused}");
    }
}

#[test]
fn frozen_layers_drop_nothing_for_a_head_that_reads_them_either() {
    let device = Device::flex();
    let stack = Stack {
        layers: 2,
        ..Stack::default()
    };
    let head = HeadKind::Tokens {
        outputs: LABELS,
        crf: false,
        dropout: Some(0.0),
        stack,
    };
    let model = Classifier::initialised(&config(), &head, 1, &device).unwrap();
    let of = |frozen, mode| {
        let model = model.clone().with_frozen(frozen);
        numbers(model.forward(&batch(2, 6, &device), &mode))
    };
    let train = Mode::train(1, 1);
    let whole = of(None, Mode::EVALUATE);
    assert_eq!(of(Some(2), train), whole);
    assert_ne!(of(Some(1), train), whole);
}
