//! Every family with every head, exported: what transformers' own classes would have saved, and the same model when read
//! back.
//!
//! `tests/fixtures/families/saved.json` has for each of the tiny models beside it which tensors, of which shapes,
//! `save_pretrained` of transformers 5.23 writes for the classes of our tasks, and for those of our modelling files; and
//! what all `config.json` of transformers' own classes say.

use burn::tensor::Device;

use super::*;
use crate::model::{Batch, Classifier, EncoderFiles, Mode, Spans, open, save};

/// What transformers saves of one model.
#[derive(Deserialize)]
struct Saved {
    /// Tensors that all classes have, with their shapes.
    encoder: BTreeMap<String, Vec<usize>>,
    /// Class → its further tensors.
    classes: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    config: Map<String, Value>,
}

fn all_saved() -> BTreeMap<String, Saved> {
    let text = include_str!("../../../../tests/fixtures/families/saved.json");
    serde_json::from_str(text).unwrap()
}

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/families")
        .join(name)
}

const POOLINGS: [Pooling; 4] = [Pooling::Pooler, Pooling::Cls, Pooling::Mean, Pooling::Max];

pub(super) fn info(task: Task, pooling: Option<Pooling>, crf: bool) -> ModelInfo {
    let labels: &[&str] = match task {
        Task::QuestionAnswering | Task::Regression => &[],
        Task::TokenClassification => &["O", "B-a", "I-a"],
        _ => &LABELS,
    };
    let mut fields = json!({
        "task": task, "head_dropout": 0.25, "label_names": labels, "max_length": 16, "tokenizer_digest": "0",
        "best_epoch": 1, "best_step": 1, "steps": 1, "crf": crf,
    });
    if let Some(pooling) = pooling {
        fields["pooling"] = json!(pooling);
    }
    match task {
        Task::Regression => fields["target_names"] = json!(LABELS),
        Task::TokenClassification => fields["scheme"] = json!("bio"),
        Task::QuestionAnswering => {
            fields["max_answer_length"] = json!(5);
            fields["n_best"] = json!(2);
        }
        _ => {}
    }
    serde_json::from_value(fields).unwrap()
}

/// One of each head.
fn heads() -> Vec<ModelInfo> {
    let texts = [Task::Classification, Task::MultiLabel, Task::Regression]
        .into_iter()
        .flat_map(|task| POOLINGS.map(|pooling| info(task, Some(pooling), false)));
    texts
        .chain([
            info(Task::TokenClassification, None, false),
            info(Task::TokenClassification, None, true),
            info(Task::QuestionAnswering, None, false),
        ])
        .collect()
}

/// The tiny model `name` with a new head, saved as the train stage saves it, and its export.
pub(super) fn exported(name: &str, info: &ModelInfo) -> (tempfile::TempDir, tempfile::TempDir) {
    let (from, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = EncoderFiles::in_folder(&folder(name));
    let (classifier, config, _) =
        Classifier::pretrained(&files, &info.head(), 7, &Device::flex()).unwrap();
    save(from.path(), &classifier, &config, info).unwrap();
    std::fs::create_dir(from.path().join("tokenizer")).unwrap();
    std::fs::write(from.path().join("tokenizer/tokenizer_config.json"), "{}").unwrap();
    run(from.path(), draft.path());
    (from, draft)
}

fn everywhere(mut each: impl FnMut(&str, &Saved, &ModelInfo)) {
    let mut families = Vec::new();
    for (name, saved) in all_saved() {
        for info in heads() {
            each(&name, &saved, &info);
        }
        families.push(family_of(&saved.config).unwrap());
    }
    assert!(Family::ALL.iter().all(|family| families.contains(family)));
}

/// Whether the head is one that transformers' own class of the task has.
fn theirs(info: &ModelInfo) -> bool {
    !info.crf
        && info
            .pooling
            .is_none_or(|pooling| pooling == Pooling::Pooler)
}

#[test]
fn tensors_are_those_that_transformers_saves_of_the_class_that_the_config_names() {
    everywhere(|name, saved, info| {
        let (_, bundle) = exported(name, info);
        let config = json_of(&bundle, "config.json");
        let class = config["architectures"][0].as_str().unwrap();
        let what = format!("{name}, {class}, {:?}", info.pooling);
        assert_eq!(class.starts_with("Refit"), !theirs(info), "{what}");
        assert!(
            class.ends_with(&format!("For{}", info.task.class())),
            "{what}"
        );
        let head = saved.classes.get(class).unwrap_or_else(|| panic!("{what}"));
        let wanted: BTreeMap<_, _> = saved.encoder.iter().chain(head).collect();
        let bytes = std::fs::read(bundle.path().join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let shapes = file
            .iter()
            .map(|(name, view)| (name.to_owned(), view.shape().to_owned()));
        let found: BTreeMap<String, Vec<usize>> = shapes.collect();
        let found: BTreeMap<_, _> = found.iter().collect();
        assert_eq!(found, wanted, "{what}");
        assert!(
            file.iter().all(|(_, view)| view.dtype() == Dtype::F32),
            "{what}"
        );
    });
}

/// The fields of a `config.json` that say which head there is and what it was trained with.
const OF_THE_HEAD: [&str; 5] = [
    "classifier_dropout",
    "classifier_dropout_prob",
    "model_type",
    "problem_type",
    "seq_classif_dropout",
];

#[test]
fn the_config_says_of_the_encoder_what_transformers_says() {
    everywhere(|name, saved, info| {
        let (_, bundle) = exported(name, info);
        let config = json_of(&bundle, "config.json");
        let what = format!("{name}, {}, {:?}", info.task, info.pooling);
        let mut compared = 0;
        for (field, wanted) in &saved.config {
            let Some(found) = config.get(field) else {
                continue;
            };
            if !OF_THE_HEAD.contains(&field.as_str()) {
                assert_eq!(found, wanted, "{what}: {field}");
                compared += 1;
            }
        }
        assert!(compared >= 10, "{what}: {compared}");
        let said = [saved.config.get("model_type"), config.get("refit_family")];
        let family = match (theirs(info), name) {
            (true, _) => config.get("model_type"),
            (false, "bert") => {
                assert_eq!(config["model_type"], "refit_bert");
                said[0]
            }
            (false, _) => {
                assert_eq!(config["model_type"], "refit_encoder");
                said[1]
            }
        };
        assert_eq!(family, said[0], "{what}");
        assert_eq!(config.get("auto_map").is_none(), theirs(info), "{what}");
        assert_eq!(
            bundle.path().join(modelling::FILE).exists(),
            !theirs(info),
            "{what}"
        );
        // transformers' default of two labels is what `DistilBertForQuestionAnswering` insists on.
        assert_eq!(
            config
                .get("id2label")
                .map(|names| names.as_object().unwrap().len()),
            (info.task != Task::QuestionAnswering).then_some(LABELS.len()),
            "{what}"
        );
    });
}

#[test]
fn a_class_of_ours_is_in_its_file_with_the_auto_class_of_the_task() {
    everywhere(|name, _, info| {
        if theirs(info) {
            return;
        }
        let (_, bundle) = exported(name, info);
        let config = json_of(&bundle, "config.json");
        let text = std::fs::read_to_string(bundle.path().join(modelling::FILE)).unwrap();
        let class = config["architectures"][0].as_str().unwrap();
        let auto = format!("AutoModelFor{}", info.task.class());
        assert_eq!(config["auto_map"][auto], format!("modeling_refit.{class}"));
        let settings = config["auto_map"]["AutoConfig"].as_str().unwrap();
        let settings = settings.strip_prefix("modeling_refit.").unwrap();
        for class in [class, settings] {
            assert!(
                text.contains(&format!("\nclass {class}(")),
                "{name}: {class}"
            );
        }
        let own: Vec<&String> = config.as_object().unwrap().keys().collect();
        let own = own.into_iter().filter(|field| field.starts_with("refit_"));
        for field in own {
            assert!(text.contains(&format!("{field}=")), "{name}: {field}");
        }
        if let Some(pooling) = info.pooling {
            assert_eq!(config["refit_pooling"], json!(pooling));
        }
    });
}

/// Three texts of unequal length, one after the other or padded.
fn batch(config: &EncoderConfig, padded: bool) -> Batch {
    let lengths = [7, 2, 11];
    let spans = match padded {
        true => Spans::padded(lengths, 13),
        false => Spans::packed(lengths),
    };
    let vocabulary = config.vocab_size as i32;
    let ids = (0..spans.rows()).map(|row| (row as i32 * 7 + 5) % vocabulary);
    let types = vec![0; spans.rows()];
    Batch::new(ids.collect(), types, spans, &Device::flex())
}

#[test]
fn an_export_answers_as_the_model_does_that_it_was_made_from() {
    everywhere(|name, _, info| {
        let (from, bundle) = exported(name, info);
        // What an export has no need of, and reading a model has.
        std::fs::copy(
            from.path().join("model.json"),
            bundle.path().join("model.json"),
        )
        .unwrap();
        let logits = |folder: &Path, padded| -> Vec<f32> {
            let (model, config, _) = open(folder, &Device::flex()).unwrap();
            let answers = model.forward(&batch(&config, padded), &Mode::EVALUATE);
            answers.into_data().try_to_vec().unwrap()
        };
        for padded in [false, true] {
            let what = format!(
                "{name}, {}, {:?}, padded: {padded}",
                info.task, info.pooling
            );
            let found = logits(bundle.path(), padded);
            assert_eq!(found, logits(from.path(), padded), "{what}");
            assert!(found.iter().any(|logit| *logit != found[0]), "{what}");
        }
    });
}

#[test]
fn an_export_is_an_encoder_to_train_further() {
    let head = info(Task::MultiLabel, Some(Pooling::Mean), false).head();
    everywhere(|name, saved, info| {
        let (_, bundle) = exported(name, info);
        let config = json_of(&bundle, "config.json");
        let files = EncoderFiles::find(bundle.path()).unwrap();
        let (_, read, report) = Classifier::pretrained(&files, &head, 1, &Device::flex()).unwrap();
        assert_eq!(read.family, family_of(&saved.config).unwrap());
        assert_eq!(report.loaded, saved.encoder.len(), "{name}");
        let class = config["architectures"][0].as_str().unwrap();
        let ignored: Vec<&String> = report.ignored.iter().collect();
        assert!(
            ignored.into_iter().eq(saved.classes[class].keys()),
            "{name}, {class}"
        );
    });
}
