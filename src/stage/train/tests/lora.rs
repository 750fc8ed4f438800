//! LoRA as a setting of the stage: what is wrong with some, that each does something, and what is left in the artifact.

use miette::Diagnostic;

use super::*;

const ENCODER: &str = "tests/fixtures/families/bert";

fn adapting(lora: Value) -> Train {
    train(json!({
        "input": "tokens", "encoder": ENCODER, "epochs": 2, "seed": 5, "batch": { "size": 8 },
        "optimizer": { "learning_rate": 5e-3 }, "lora": lora,
    }))
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = file.iter().map(|(name, view)| {
        let values = view.data().as_chunks::<4>().0;
        let values = values.iter().map(|&value| f32::from_le_bytes(value));
        (name.to_owned(), (view.shape().to_vec(), values.collect()))
    });
    values.collect()
}

#[test]
fn what_lora_cannot_stand_with_is_a_fault() {
    let fields = |stage: Train| -> Vec<String> {
        let faults = stage.check().into_iter();
        faults.map(|fault| fault.field).collect()
    };
    assert!(fields(adapting(json!({}))).is_empty());
    assert_eq!(fields(tiny(&[("lora", json!({}))])), ["lora"]);
    let mut both = adapting(json!({}));
    both.freeze = serde_json::from_value(json!({ "embeddings": true })).unwrap();
    assert_eq!(fields(both), ["freeze"]);
}

#[test]
fn a_broken_pattern_is_explained_with_the_names_there_are() {
    let tokens = tokens(&[("train", 16)], Some(&["good", "bad"]));
    let (_, _, result) = run(
        &adapting(json!({ "target": ["querry"] })),
        tokens.path(),
        false,
    );
    let error = result.unwrap_err();
    assert!(error.to_string().contains("querry"), "{error}");
    let help = error.help().unwrap().to_string();
    let name = "bert.encoder.layer.*.attention.self.query";
    assert!(help.contains(name), "{help}");
}

#[test]
fn each_setting_of_lora_changes_the_model_that_is_learned() {
    let tokens = tokens(&[("train", 24)], Some(&["good", "bad"]));
    let digest = |lora: Value| {
        let (draft, _, result) = run(&adapting(lora), tokens.path(), false);
        result.unwrap();
        let manifest = Manifest::of_folder(Kind::Model, draft.path(), &[]);
        manifest.unwrap().digest().to_string()
    };
    let usual = digest(json!({}));
    let stated = json!({ "rank": 8, "alpha": 16, "dropout": 0, "target": ["query", "value"] });
    assert_eq!(digest(stated), usual);
    let others = [
        json!({ "rank": 4 }),
        json!({ "alpha": 8 }),
        json!({ "dropout": 0.3 }),
        json!({ "target": ["key"] }),
    ];
    let digests: std::collections::BTreeSet<String> =
        others.into_iter().map(digest).chain([usual]).collect();
    assert_eq!(digests.len(), 5);
}

#[test]
fn the_artifact_holds_the_whole_model_and_beside_it_what_was_learned() {
    let tokens = tokens(&[("train", 24)], Some(&["good", "bad"]));
    let stage = adapting(json!({ "rank": 2, "alpha": 6, "target": ["query"] }));
    let (draft, heard, result) = run(&stage, tokens.path(), false);
    result.unwrap();
    assert!(
        heard
            .iter()
            .any(|line| line.starts_with("LoRA on 2 linear layers: ")),
        "{heard:?}"
    );
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join(ENCODER);
    let base = tensors(&base.join("model.safetensors"));
    let whole = tensors(&draft.path().join("model.safetensors"));
    let adapter = tensors(&draft.path().join("adapter/adapter_model.safetensors"));
    for (name, (shape, values)) in &whole {
        let peft = |ending: &str| {
            format!(
                "base_model.model.{}{ending}",
                name.trim_end_matches(".weight")
            )
        };
        if name.starts_with("classifier") {
            assert_eq!(&adapter[&format!("base_model.model.{name}")].1, values);
        } else if name.ends_with("query.weight") {
            let (a, b) = (
                &adapter[&peft(".lora_A.weight")],
                &adapter[&peft(".lora_B.weight")],
            );
            let [outputs, inputs] = shape[..] else {
                panic!("{name} is no matrix");
            };
            for output in 0..outputs {
                for input in 0..inputs {
                    let added: f32 = (0..2)
                        .map(|rank| b.1[output * 2 + rank] * a.1[rank * inputs + input])
                        .sum();
                    let at = output * inputs + input;
                    let wanted = base[name].1[at] + 3.0 * added;
                    assert!((values[at] - wanted).abs() < 1e-5, "{name}");
                }
            }
            assert_ne!(values, &base[name].1, "{name}");
        } else {
            assert_eq!(values, &base[name].1, "{name}");
        }
    }
    assert_eq!(adapter.len(), 2 * 2 + 2);
    let device = device::choose("flex").unwrap().device;
    model::open(draft.path(), &device).unwrap();
}
