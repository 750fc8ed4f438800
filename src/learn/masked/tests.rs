//! Against transformers 5.23, `AutoModelForMaskedLM`: `tests/fixtures/families/masked.json`. The encoders are those of the
//! folders beside it; every tensor of a head has the values `sin(0.9 i + length of its name) / 2`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{SafeTensors, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value};

use burn::module::Module;

use super::*;
use crate::learn::{Gradients, MaskedTokens, Objective, predict};
use crate::model::{self, Classifier, EncoderFiles, MaskedHead, ModelError, PretrainingInfo};

#[derive(Deserialize)]
struct Case {
    model: String,
    config: Map<String, Value>,
    tensors: BTreeMap<String, Vec<usize>>,
    positions: Vec<Vec<usize>>,
    /// Of every position, in order.
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    top: Vec<u32>,
    probabilities: Vec<f32>,
    /// Of every ninth piece.
    logits: Vec<f32>,
}

#[derive(Deserialize)]
struct Texts {
    ids: Vec<Vec<u32>>,
    type_ids: Vec<Vec<u8>>,
}

impl Rows for Texts {
    fn rows(&self) -> usize {
        self.ids.len()
    }
    fn ids(&self, row: usize) -> &[u32] {
        &self.ids[row]
    }
    fn type_ids(&self, row: usize) -> &[u8] {
        &self.type_ids[row]
    }
    fn label(&self, _row: usize) -> Option<u32> {
        None
    }
    fn id(&self, row: usize) -> u64 {
        row as u64
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families")
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&std::fs::read(fixtures().join("masked.json")).unwrap()).unwrap()
}

fn texts(model: &str) -> Texts {
    let path = fixtures().join(model).join("numbers.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The files of a case in a folder of their own, without the tensors for which `left_out` holds.
fn written(case: &Case, left_out: impl Fn(&str) -> bool) -> (tempfile::TempDir, EncoderFiles) {
    let (from, folder) = (fixtures().join(&case.model), tempfile::tempdir().unwrap());
    let config = std::fs::read(from.join("config.json")).unwrap();
    let mut config: Map<String, Value> = serde_json::from_slice(&config).unwrap();
    config.extend(case.config.clone());
    let config = serde_json::to_vec(&config).unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let encoder = SafeTensors::deserialize(&bytes).unwrap();
    let heads = case.tensors.iter().filter(|(name, _)| !left_out(name));
    let heads: Vec<(&String, &Vec<usize>, Vec<u8>)> = heads
        .map(|(name, shape)| {
            let value = |i: usize| ((0.9 * i as f64 + name.len() as f64).sin() * 0.5) as f32;
            let values = (0..shape.iter().product()).flat_map(|i| value(i).to_le_bytes());
            (name, shape, values.collect())
        })
        .collect();
    let mut tensors: BTreeMap<String, TensorView> = BTreeMap::new();
    for (name, view) in encoder.iter() {
        tensors.insert(name.to_owned(), view);
    }
    for (name, shape, values) in &heads {
        let view = TensorView::new(safetensors::Dtype::F32, (*shape).clone(), values).unwrap();
        tensors.insert((*name).clone(), view);
    }
    let path = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(&tensors, None, &path).unwrap();
    let files = EncoderFiles::in_folder(folder.path());
    (folder, files)
}

fn ask(case: &Case, tokens: usize) -> Vec<Vec<Vec<Likely>>> {
    let (_folder, files) = written(case, |_| false);
    let device = Device::flex();
    let (model, _) = Masked::pretrained(&files, &device).unwrap();
    let rows = texts(&case.model);
    predict_masked(
        &model,
        &rows,
        &case.positions,
        5,
        0,
        tokens,
        &device,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap()
}

#[test]
fn masked_logits_are_those_of_transformers() {
    let device = Device::flex();
    for case in cases() {
        let (_folder, files) = written(&case, |_| false);
        let (model, _) = Masked::pretrained(&files, &device).unwrap();
        let rows = texts(&case.model);
        let mut answers = case.answers.iter();
        for (row, positions) in case.positions.iter().enumerate() {
            let layout = batch::Layout::Padded { to: None };
            let laid = Laid::out(&rows, &[row], layout, 0, rows.length(row) + 2);
            let hidden = model.hidden(&laid.on(&device), &Mode::EVALUATE);
            for &position in positions {
                let logits = model.logits(hidden.clone(), &[position as i32], &Mode::EVALUATE);
                let found = read(logits, "testing").unwrap();
                for (found, wanted) in found.iter().step_by(9).zip(&answers.next().unwrap().logits)
                {
                    let what = (&case.model, &case.config, row, position);
                    assert!((found - wanted).abs() < 1e-4, "{what:?}: {found}, {wanted}");
                }
            }
        }
        assert!(answers.next().is_none());
    }
}

#[test]
fn the_likeliest_masked_pieces_are_those_of_transformers_however_rows_are_batched() {
    for case in cases() {
        for tokens in [1, 1024] {
            let likely = ask(&case, tokens);
            let lengths: Vec<usize> = likely.iter().map(Vec::len).collect();
            let wanted: Vec<usize> = case.positions.iter().map(Vec::len).collect();
            assert_eq!(lengths, wanted);
            for (found, wanted) in likely.iter().flatten().zip(&case.answers) {
                let ids: Vec<u32> = found.iter().map(|likely| likely.id).collect();
                assert_eq!(ids, wanted.top, "{} {:?}", case.model, case.config);
                for (found, wanted) in found.iter().zip(&wanted.probabilities) {
                    assert!((found.probability - wanted).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn a_checkpoint_without_the_masked_head_is_refused_by_the_names_that_it_lacks() {
    for case in cases() {
        let there = |files: &EncoderFiles| MaskedHead::check(files).is_ok();
        let (_folder, files) = written(&case, |_| false);
        assert!(there(&files), "{}", case.model);
        let (_folder, files) = written(&case, |name| name.ends_with("bias"));
        if case.model.starts_with("modernbert") {
            continue;
        }
        assert!(!there(&files), "{}", case.model);
        match Masked::pretrained(&files, &Device::flex()) {
            Err(ModelError::NoMaskedHead { missing, .. }) => {
                assert!(missing.iter().all(|name| name.ends_with("bias")));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_masked_position_beyond_its_row_is_refused() {
    let case = &cases()[0];
    let (_folder, files) = written(case, |_| false);
    let device = Device::flex();
    let (model, _) = Masked::pretrained(&files, &device).unwrap();
    let rows = texts(&case.model);
    let beyond = [vec![rows.length(0)]];
    let go_on = &mut |_| ControlFlow::Continue(());
    let found = predict_masked(&model, &rows, &beyond, 5, 0, 64, &device, go_on);
    assert!(matches!(
        found,
        Err(LearnError::NoSuchPosition { row: 0, .. })
    ));
}

#[test]
fn equally_likely_masked_pieces_come_by_their_ids() {
    let ids: Vec<u32> = likeliest(&[0.0, 1.0, 1.0, 1.0], 2)
        .iter()
        .map(|likely| likely.id)
        .collect();
    assert_eq!(ids, [1, 2]);
    assert!(likeliest(&[0.0], 0).is_empty());
    assert_eq!(likeliest(&[0.0], 9).len(), 1);
}

/// What transformers' classes say of a loss and its gradients: `masked_gradients.json`. Computed in double precision.
#[derive(Deserialize)]
struct Learned {
    model: String,
    config: Map<String, Value>,
    /// With what stands in the places of what is to be predicted.
    ids: Vec<Vec<u32>>,
    places: Vec<Vec<usize>>,
    wanted: Vec<Vec<u32>>,
    loss: f64,
    /// The norm of each parameter's gradient.
    gradients: BTreeMap<String, f64>,
}

/// Rows with the masks of a case.
struct Asked<'a> {
    texts: Texts,
    case: &'a Learned,
}

impl Rows for Asked<'_> {
    fn rows(&self) -> usize {
        self.texts.rows()
    }
    fn ids(&self, row: usize) -> &[u32] {
        self.texts.ids(row)
    }
    fn type_ids(&self, row: usize) -> &[u8] {
        self.texts.type_ids(row)
    }
    fn label(&self, _row: usize) -> Option<u32> {
        None
    }
    fn id(&self, row: usize) -> u64 {
        row as u64
    }
    fn masked(&self, row: usize, _epoch: u64) -> Option<MaskedTokens> {
        Some(MaskedTokens {
            ids: self.case.ids[row].clone(),
            places: self.case.places[row].clone(),
            wanted: self.case.wanted[row].clone(),
        })
    }
}

/// Of a gradient's norm, and of the largest one where there is none but rounding (a key's bias).
const GRADIENT: f64 = 1e-5;

#[test]
fn the_loss_of_masked_words_and_its_gradients_are_those_of_transformers() {
    let learned: Vec<Learned> =
        serde_json::from_slice(&std::fs::read(fixtures().join("masked_gradients.json")).unwrap())
            .unwrap();
    let cases = cases();
    assert_eq!(learned.len(), cases.len());
    for (case, learned) in cases.iter().zip(&learned) {
        assert_eq!(
            (&case.model, &case.config),
            (&learned.model, &learned.config)
        );
        let (_folder, files) = written(case, |_| false);
        let device = Device::flex();
        let (model, config, report) = Classifier::masked(&files, 1, &device).unwrap();
        assert_eq!(report.initialised, [""; 0], "{}", case.model);
        let model = model.train();
        let rows = Asked {
            texts: texts(&case.model),
            case: learned,
        };
        let chosen: Vec<usize> = (0..rows.rows()).collect();
        Objective::Masked
            .check(&rows, "train", config.vocab_size)
            .unwrap();
        for layout in [batch::Layout::Packed, batch::Layout::Padded { to: None }] {
            let what = format!("{} {:?} {layout:?}", case.model, case.config);
            let batch = Laid::out(&rows, &chosen, layout, 0, 1 << 10).on(&device);
            let answers = model.forward(&batch, &Mode::EVALUATE); // [asked, pieces]
            let loss = Objective::Masked.loss(&model, answers, &rows, &chosen, &batch.spans);
            let found = Gradients::of(&loss, &model).norms().unwrap();
            let loss = f64::from(loss.into_scalar::<f32>());
            assert!(
                (loss - learned.loss).abs() < 1e-5 * learned.loss,
                "{what}: {loss}"
            );
            let (ours, theirs) = (found.keys(), learned.gradients.keys());
            let settled = |name: &String| settled(name, &case.tensors);
            let theirs: BTreeMap<String, f64> = theirs
                .map(settled)
                .zip(learned.gradients.values().copied())
                .collect();
            assert!(ours.eq(theirs.keys()), "{what}: {:?}", found.keys());
            let largest = theirs.values().fold(0.0, |m: f64, norm| m.max(*norm));
            for (name, &found) in &found {
                let (found, wanted) = (f64::from(found), theirs[name]);
                let bound = GRADIENT * (wanted + 0.1 * largest);
                assert!(
                    (found - wanted).abs() < bound,
                    "{what}: {name} has norm {found}, wanted {wanted}"
                );
            }
        }
    }
}

/// Beside a matrix of its own a head has a bias of its own, which here has the name of the other one.
fn settled(name: &str, tensors: &BTreeMap<String, Vec<usize>>) -> String {
    let other = name.replace("decoder.bias", "bias");
    match other != name && tensors.contains_key(&other) {
        true => other,
        false => name.to_owned(),
    }
}

#[test]
fn a_whole_split_has_the_loss_of_one_batch_and_says_what_is_right() {
    let cases = cases();
    let text = std::fs::read(fixtures().join("masked_gradients.json")).unwrap();
    let learned: Vec<Learned> = serde_json::from_slice(&text).unwrap();
    for (case, learned) in cases.iter().zip(&learned) {
        let (_folder, files) = written(case, |_| false);
        let device = Device::flex();
        let (model, ..) = Classifier::masked(&files, 1, &device).unwrap();
        let rows = Asked {
            texts: texts(&case.model),
            case: learned,
        };
        let go_on = &mut |_| ControlFlow::Continue(());
        let predicted = predict(&model, &rows, 0, 1, &device, go_on).unwrap();
        let places: Vec<usize> = predicted.logits.iter().map(|row| row.len() / 2).collect();
        let wanted: Vec<usize> = learned.places.iter().map(Vec::len).collect();
        assert_eq!(places, wanted, "{}", case.model);
        let loss = Objective::Masked.loss_of(&predicted, &rows, None);
        assert!(
            (loss - learned.loss).abs() < 1e-5 * learned.loss,
            "{}: {loss}",
            case.model
        );
        let rights = predicted
            .logits
            .iter()
            .flat_map(|row| row.iter().skip(1).step_by(2));
        assert!(
            rights
                .into_iter()
                .all(|&right| right == 0.0 || right == 1.0)
        );
    }
}

#[test]
fn an_encoder_without_the_head_gets_a_new_one_and_half_a_head_is_none() {
    let case = &cases()[0];
    for left_out in ["cls.", "cls.predictions.transform.dense.weight"] {
        let (_folder, files) = written(case, |name| name.starts_with(left_out));
        let (model, config, report) = Classifier::masked(&files, 1, &Device::flex()).unwrap();
        assert_eq!(report.initialised.len(), 5, "{:?}", report.initialised);
        assert!(
            report
                .initialised
                .iter()
                .all(|name| name.starts_with("cls.predictions."))
        );
        let masked = model.head.masked().unwrap();
        assert_eq!(masked.pieces(), config.vocab_size);
    }
}

#[test]
fn a_saved_model_has_every_tensor_that_it_was_read_from_and_reads_again() {
    for case in cases() {
        let (folder, files) = written(&case, |_| false);
        let device = Device::flex();
        let (model, config, _) = Classifier::masked(&files, 1, &device).unwrap();
        let info = PretrainingInfo {
            max_length: 8,
            tokenizer_digest: String::new(),
            best_epoch: 1,
            best_step: 1,
            steps: 1,
        };
        let to = tempfile::tempdir().unwrap();
        model::save_masked(to.path(), &model, &config, &info).unwrap();
        assert_eq!(PretrainingInfo::read(to.path()).unwrap(), info);
        let bytes = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
        let (before, after) = (bytes(folder.path()), bytes(to.path()));
        let before = SafeTensors::deserialize(&before).unwrap();
        let after = SafeTensors::deserialize(&after).unwrap();
        for name in case.tensors.keys() {
            // Where two are there, the one is written twice.
            if name.ends_with("predictions.bias") || name == "lm_head.bias" {
                assert!(after.tensor(name).is_ok(), "{}: {name}", case.model);
                continue;
            }
            let (before, after) = (before.tensor(name).unwrap(), after.tensor(name).unwrap());
            assert_eq!(
                (before.shape(), before.data()),
                (after.shape(), after.data()),
                "{name}"
            );
        }
        let config: Value =
            serde_json::from_slice(&std::fs::read(to.path().join("config.json")).unwrap()).unwrap();
        let class = config["architectures"][0].as_str().unwrap();
        assert!(class.ends_with("ForMaskedLM"), "{class}");
        let tied = case.config.get("tie_word_embeddings").is_none();
        assert_eq!(
            config.get("tie_word_embeddings").is_none(),
            tied,
            "{}",
            case.model
        );
        let again = Classifier::masked(&EncoderFiles::in_folder(to.path()), 2, &device).unwrap();
        assert_eq!(again.2.initialised, [""; 0], "{}", case.model);
    }
}
