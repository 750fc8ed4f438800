//! Every task, head and family beside onnxruntime: fifty texts of mixed lengths, alone and padded in batches.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::model::{Batch, Mode, Spans};

const COUNT: usize = 50;

struct Text {
    ids: Vec<i32>,
    types: Vec<i32>,
}

/// Numbers that look drawn, the same each time.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

/// Texts of one token, of the most that the encoder reads, and of any number between, with any tokens in them: also the one
/// that stands for padding.
fn texts(config: &EncoderConfig) -> Vec<Text> {
    let mut drawn = Drawn(7);
    let lengths = (0..COUNT).map(|text| match text {
        0 | 5 | 6 => 1,
        1 | 30 => config.longest(),
        _ => 1 + Drawn(text as u64).below(config.longest()),
    });
    let text = |length: usize| {
        let ids = (0..length)
            .map(|_| drawn.below(config.vocab_size) as i32)
            .collect();
        let second = drawn.below(length + 1);
        let segments = config.type_vocab_size > 1;
        let types = (0..length).map(|place| i32::from(segments && place >= second));
        Text {
            ids,
            types: types.collect(),
        }
    };
    lengths.map(text).collect()
}

/// What refit answers to each text: its own numbers, over texts that lie one after the other without padding.
fn answers(classifier: &Classifier, texts: &[Text]) -> Vec<Vec<f32>> {
    let spans = Spans::packed(texts.iter().map(|text| text.ids.len()));
    let all = |of: fn(&Text) -> &Vec<i32>| texts.iter().flat_map(of).copied().collect();
    let batch = Batch::new(
        all(|text| &text.ids),
        all(|text| &text.types),
        spans,
        &Device::flex(),
    );
    let outputs = classifier.outputs();
    let over_tokens = classifier.head.pooling().is_none();
    let answers = classifier.forward(&batch, &Mode::EVALUATE);
    let mut numbers = answers.try_into_vec_as::<f32>().unwrap().into_iter();
    let of_each = texts.iter().map(|text| match over_tokens {
        true => text.ids.len() * outputs,
        false => outputs,
    });
    of_each
        .map(|count| numbers.by_ref().take(count).collect())
        .collect()
}

/// The models of one family as files in `folder`, and their cases.
fn cases(name: &str, folder: &Path) -> Vec<Json> {
    let each = heads().into_iter().enumerate().map(|(number, (head, info))| {
        let (classifier, config) = model(name, &info);
        let from = tempfile::tempdir().unwrap();
        save(from.path(), &classifier, &config, &info).unwrap();
        let files = [("fp32", OnnxPrecision::Fp32), ("fp16", OnnxPrecision::Fp16)];
        let files = files.map(|(called, precision)| {
            let file = format!("{name}-{number}-{called}.onnx");
            // One of each family lies in two files.
            let most_inline = if number == 0 { 0 } else { file::MOST_INLINE };
            write(from.path(), &folder.join(&file), precision, most_inline);
            (called, file)
        });
        let texts = texts(&config);
        let answers = answers(&classifier, &texts);
        let texts = texts.iter().zip(answers);
        let texts = texts.map(|(text, answer)| json!({ "ids": text.ids, "types": text.types, "answer": answer }));
        let mut inputs = vec!["input_ids", "attention_mask"];
        inputs.extend((config.type_vocab_size > 1).then_some("token_type_ids"));
        let outputs = match info.task {
            Task::QuestionAnswering => vec!["start_logits", "end_logits"],
            _ => vec!["logits"],
        };
        json!({
            "name": format!("{name}, {head}"), "files": BTreeMap::from(files), "inputs": inputs, "outputs": outputs,
            "over_tokens": info.pooling.is_none(), "longest": config.longest(), "vocabulary": config.vocab_size,
            "padding": config.pad_token_id.unwrap_or(0), "texts": texts.collect::<Vec<_>>(),
        })
    });
    each.collect()
}

/// A Python that has onnxruntime: the one beside a program of that package on the path.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .find(|folder| folder.join("onnxruntime_test").is_file())
        .map(|folder| folder.join("python"));
    if found.is_none() {
        let why = "ONNX files are held to onnxruntime: `pip install onnx onnxruntime`, and the folder of its programs on the path";
        assert!(std::env::var_os("REFIT_TEST_ALL").is_none(), "{why}");
        // The test harness captures `eprintln!` of tests that pass; this gets through.
        let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n");
    }
    found
}

#[test]
fn onnxruntime_computes_what_refit_does_for_every_task_head_and_family() {
    let Some(python) = python() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let cases: Vec<Json> = REFERENCE_MODELS
        .iter()
        .flat_map(|name| cases(name, folder.path()))
        .collect();
    assert_eq!(cases.len(), REFERENCE_MODELS.len() * heads().len());
    std::fs::write(folder.path().join("cases.json"), json!(cases).to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx/compare.py");
    let said = Command::new(python)
        .arg(script)
        .arg(folder.path())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    println!("{out}");
    assert!(said.status.success(), "{out}\n{err}");
    assert!(
        out.contains(&format!("{} models, 0 files", cases.len())),
        "{out}"
    );
}
