//! Against transformers 5.23, `AutoModelForMaskedLM`: `tests/fixtures/families/masked.json`. The encoders are those of the
//! folders beside it; every tensor of a head has the values `sin(0.9 i + length of its name) / 2`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{SafeTensors, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::*;
use crate::model::{EncoderFiles, MaskedHead, ModelError};

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
