//! Pretraining: from text without labels to an encoder, and what can be made of it.

use std::path::Path;

use serde_json::{Value, json};

use crate::project::{Project, built, digests, rows};

/// Sentences of a small language: what an animal does follows from what it is.
fn sentences(count: usize, offset: usize) -> String {
    let animals = [
        ("dog", "barks", "the garden"),
        ("cat", "sleeps", "the window"),
        ("bird", "sings", "a tree"),
        ("fish", "swims", "the water"),
    ];
    let mut text = String::new();
    for index in offset..offset + count {
        // In no order that could be learned.
        let digest = blake3::hash(&index.to_le_bytes());
        let [first, second, third, ..] = digest.as_bytes().map(usize::from);
        let (animal, does, place) = animals[first % 4];
        let size = ["small", "large", "old"][second % 3];
        let line = match third % 3 {
            0 => format!("the {size} {animal} {does} near {place} ."),
            1 => format!("near {place} the {animal} {does} ."),
            _ => format!("a {animal} is {size} , and it {does} near {place} ."),
        };
        text += &line;
        text.push('\n');
    }
    text
}

const SPEC: &str = r#"version = 1
name = "language"
seed = 5

[load.text]
train = "text.txt"
validation = "held-out.txt"

[tokenize.packed]
input = "text"
train_tokenizer = { vocab_size = 120, min_frequency = 1 }
max_length = 32
pack = true

[pretrain.encoder]
input = "packed"
scratch = { layers = 1, hidden = 32, heads = 2, max_positions = 32, dropout = 0.0 }
epochs = 12
batch = { size = 8 }
optimizer = { learning_rate = 5e-3 }
"#;

/// What goes on with the encoder.
const MORE: &str = r#"
[load.data]
train = "train.csv"
test = "test.csv"
split = { validation = 0.2, stratify = true }

[tokenize.tokens]
input = "data"
tokenizer_stage = "encoder"
max_length = 24

[train.classifier]
input = "tokens"
encoder_stage = "encoder"
epochs = 2
batch = { size = 8 }
head = { pooling = "mean" }

[export.bundle]
model = "encoder"
to = "dist"
"#;

pub(crate) fn project() -> Project {
    let project = Project::empty();
    project.write("text.txt", &sentences(480, 0));
    project.write("held-out.txt", &sentences(60, 1001));
    project.write("train.csv", &rows(40, 0));
    project.write("test.csv", &rows(12, 1000));
    project.write("spec.toml", SPEC);
    project
}

fn perplexities(project: &Project) -> Vec<f64> {
    let log = project.log("spec.toml", "encoder").into_iter();
    log.filter_map(|line| line["validation"]["perplexity"].as_f64())
        .collect()
}

#[test]
fn perplexity_falls_on_held_out_text_and_more_is_right_than_by_chance() {
    let project = project();
    // A sentence a row: how far words are from each other takes longer to learn than there is time.
    project.replace("spec.toml", "pack = true\n", "");
    project.replace("spec.toml", "max_length = 32", "max_length = 20");
    project.replace("spec.toml", "epochs = 12", "epochs = 6");
    project.replace("spec.toml", "learning_rate = 5e-3", "learning_rate = 3e-3");
    let run = project.run(&["spec.toml"]);
    let scores = &run["scores"]["encoder"];
    let score = |name: &str| {
        scores[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {scores}"))
    };
    let all = perplexities(&project);
    assert_eq!(all.len(), 6);
    assert!(score("perplexity") < all[0] / 2.0, "{all:?}");
    assert!((score("loss").exp() - score("perplexity")).abs() < 1e-9);
    assert!(score("accuracy_by_chance") < 0.02 && score("accuracy_by_frequency") < 0.3);
    assert!(
        score("accuracy") > score("accuracy_by_frequency") + 0.2,
        "{scores}"
    );
}

#[test]
fn an_encoder_from_nothing_may_begin_with_embeddings_that_were_counted() {
    let project = project();
    project.replace("spec.toml", "epochs = 12", "max_steps = 4");
    let drawn = project.run(&["spec.toml"]);
    let begin = |cooccurrence: &str| {
        let set = format!("pretrain.encoder.cooccurrence={cooccurrence}");
        project.run(&["spec.toml", "--set", &set])
    };
    let counted = begin("{}");
    assert_eq!(built(&counted), ["encoder"]);
    assert!(built(&begin("{window=40}")).is_empty());
    assert_eq!(built(&begin("{window=2}")), ["encoder"]);
    let loss = |run: &Value| run["scores"]["encoder"]["loss"].as_f64().unwrap();
    assert!(
        loss(&counted) < loss(&drawn),
        "{} and {}",
        loss(&counted),
        loss(&drawn)
    );
}

#[test]
fn what_is_pretrained_is_fine_tuned_with_its_tokenizer_and_exported_with_its_head() {
    let project = project();
    let spec = SPEC.replace("epochs = 12", "max_steps = 20");
    project.write("spec.toml", &format!("{spec}{MORE}"));
    let said = project.refit(&["run", "spec.toml", "--json"]).success();
    let run = said.json();
    assert!(!said.stderr.contains("may mean nothing"), "{}", said.stderr);
    assert_eq!(
        built(&run),
        [
            "text",
            "packed",
            "encoder",
            "data",
            "tokens",
            "classifier",
            "bundle"
        ]
    );
    let config: Value = serde_json::from_str(&project.read("dist/config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["BertForMaskedLM"]));
    let card = project.read("dist/README.md");
    assert!(card.contains("pipeline_tag: fill-mask") && card.contains("[pretrain.encoder]"));
    let folder = |stage: &str| {
        let said = project.refit(&["path", "spec.toml", stage]).success();
        std::path::PathBuf::from(said.stdout.trim())
    };
    let tokenizer =
        |stage: &str| std::fs::read(folder(stage).join("tokenizer/tokenizer.json")).unwrap();
    assert_eq!(tokenizer("packed"), tokenizer("tokens"));
    assert_eq!(tokenizer("encoder"), tokenizer("classifier"));
    assert!(tensors(&folder("encoder")).contains(&"cls.predictions.bias".to_owned()));
    // An exported encoder is one like any other.
    std::fs::rename(project.path("dist"), project.path("placed")).unwrap();
    project.replace(
        "spec.toml",
        "encoder_stage = \"encoder\"",
        "encoder = \"placed\"",
    );
    let other = project.run(&["spec.toml", "classifier"]);
    assert_eq!(built(&other), ["classifier"]);
    assert_eq!(digests(&run)["classifier"], digests(&other)["classifier"]);
    // It was pretrained without dropout, so none is what it has by itself.
    let dropping = |share: &str| {
        let set = format!("train.classifier.dropout={share}");
        let run = project.run(&["spec.toml", "classifier", "--set", &set]);
        assert_eq!(built(&run), ["classifier"]);
        digests(&run)["classifier"].clone()
    };
    assert_eq!(dropping("0.0"), digests(&run)["classifier"]);
    assert_ne!(dropping("0.4"), digests(&run)["classifier"]);
}

/// The names of the tensors of a model.
fn tensors(folder: &Path) -> Vec<String> {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.names().into_iter().map(str::to_owned).collect()
}

#[test]
fn half_the_space_is_taken_by_an_export_in_16_bits_and_it_can_be_gone_on_with() {
    let project = project();
    project.replace("spec.toml", "epochs = 12", "max_steps = 5");
    project.write(
        "spec.toml",
        &format!(
            "{}\n[export.whole]\nmodel = \"encoder\"\nto = \"whole\"\n\n[export.half]\nmodel = \"encoder\"\nformats = [\"safetensors_fp16\"]\nto = \"half\"\n",
            project.read("spec.toml")
        ),
    );
    project.run(&["spec.toml"]);
    let size = |folder: &str| {
        let file = project.path(folder).join("model.safetensors");
        std::fs::metadata(file).unwrap().len() as f64
    };
    assert!((size("half") / size("whole") - 0.5).abs() < 0.1);
    let config: Value = serde_json::from_str(&project.read("half/config.json")).unwrap();
    assert_eq!(config["dtype"], "float16");
    let again = SPEC
        .replace(
            "scratch = { layers = 1, hidden = 32, heads = 2, max_positions = 32, dropout = 0.0 }",
            "encoder = \"half\"",
        )
        .replace(
            "train_tokenizer = { vocab_size = 120, min_frequency = 1 }",
            "tokenizer = \"half\"",
        )
        .replace("epochs = 12", "max_steps = 2");
    assert!(again.contains("encoder = \"half\"") && again.contains("tokenizer = \"half\""));
    project.write("spec.toml", &again);
    let said = project
        .refit(&["run", "spec.toml", "encoder", "--json"])
        .success();
    assert!(!said.stderr.contains("without a head"), "{}", said.stderr);
}

#[test]
fn a_pretraining_that_is_taken_up_again_ends_in_the_digest_of_one_that_never_stopped() {
    let project = project();
    project.replace("spec.toml", "epochs = 12", "max_steps = 30");
    let whole = digests(&project.run(&["spec.toml"]));
    let stopped = self::project();
    stopped.write(
        "spec.toml",
        &project.read("spec.toml").replace(
            "seed = 5\n",
            "seed = 5\n\n[run]\ncheckpoint = { every_steps = 4 }\n",
        ),
    );
    // The test of the engine kills at any moment; here a full disk would do, so a step that cannot be is enough.
    let checkpoints = || {
        let folders = std::fs::read_dir(stopped.path(".refit/checkpoints"));
        let folders = folders.into_iter().flatten().flatten();
        folders
            .flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten())
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
            .count()
    };
    let mut child = stopped
        .command(&["run", "spec.toml", "--json"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() && checkpoints() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let _ = child.kill();
    child.wait().unwrap();
    let run = stopped.run(&["spec.toml"]);
    assert_eq!(digests(&run), whole);
}

#[test]
fn other_formats_and_uses_of_a_pretrained_encoder_are_refused_with_what_to_do() {
    let project = project();
    project.replace("spec.toml", "epochs = 12", "max_steps = 2");
    let spec = project.read("spec.toml");
    project.write(
        "spec.toml",
        &format!(
            "{spec}\n[export.bundle]\nmodel = \"encoder\"\nformats = [\"onnx\"]\nto = \"dist\"\n"
        ),
    );
    let said = project.refit(&["run", "spec.toml"]).exits(1);
    assert!(said.stderr.contains("[\"safetensors\"]"), "{}", said.stderr);
    project.write(
        "spec.toml",
        &format!("{spec}\n[evaluate.scores]\nmodel = \"encoder\"\ninput = \"packed\"\n"),
    );
    let said = project.refit(&["check", "spec.toml"]).exits(2);
    assert!(said.stderr.contains("gives an encoder"), "{}", said.stderr);
    project.write(
        "spec.toml",
        &spec.replace("pack = true", "pack = true\ntokenizer_stage = \"text\""),
    );
    let said = project.refit(&["check", "spec.toml"]).exits(2);
    assert!(
        said.stderr.contains("exclude each other"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_sweep_aims_at_perplexity() {
    let project = project();
    project.replace("spec.toml", "epochs = 12", "max_steps = 10");
    let spec = project.read("spec.toml");
    project.write(
        "spec.toml",
        &format!(
            "{spec}\n[sweep]\ngoal = {{ minimize = \"encoder.perplexity\" }}\n[sweep.parameters]\n\"pretrain.encoder.optimizer.learning_rate\" = [1e-5, 5e-3]\n"
        ),
    );
    let said = project.refit(&["sweep", "spec.toml", "--json"]).success();
    let said = said.json();
    let mut trials = said["trials"].as_array().unwrap().iter();
    let best = trials.find(|trial| trial["trial"] == said["best"]).unwrap();
    let rate = &best["parameters"]["pretrain.encoder.optimizer.learning_rate"];
    assert_eq!(*rate, json!(0.005), "{said}");
}

#[test]
fn byte_level_bpe_and_unigram_are_learned_alike_by_any_number_of_threads() {
    for model in ["bpe", "unigram"] {
        let vocabulary = format!("model = \"{model}\", vocab_size = 330");
        let of = |threads: &str| {
            let project = project();
            project.replace("spec.toml", "vocab_size = 120", &vocabulary);
            project.replace(
                "spec.toml",
                "epochs = 12",
                "max_steps = 3\nmasking = { whole_words = true }",
            );
            let said = project
                .command(&["run", "spec.toml", "--json"])
                .env("RAYON_NUM_THREADS", threads)
                .output()
                .unwrap();
            let said = crate::project::Said::from(said).success();
            digests(&said.json())
        };
        assert_eq!(of("1"), of("3"), "{model}");
    }
}

#[test]
fn wordnet_and_the_contexts_of_squad_are_text_to_learn_from() {
    let project = project();
    let synset = |offset: usize| {
        format!(
            "{offset:08} 03 n 02 dog 0 domestic_dog 0 000 | a member of the genus Canis; \"the dog barked all night\"  \n"
        )
    };
    project.write(
        "data.noun",
        &format!("  1 licence\n{}", (0..40).map(synset).collect::<String>()),
    );
    project.write(
        "data.adj",
        "  1 licence\n\
         00000010 00 a 02 bad 0 ill 0 001 & 00000020 a 0000 | not good\n\
         00000020 00 s 01 dreadful(p) 0 001 & 00000010 a 0000 | very bad\n",
    );
    let questions = |number: usize| {
        json!({ "context": format!("The river number {number} flows to the sea."), "qas": [
            { "id": format!("{number}a"), "question": "Where?", "answers": [] },
            { "id": format!("{number}b"), "question": "What?", "answers": [] },
        ] })
    };
    let paragraphs: Vec<Value> = (0..40).map(questions).collect();
    let squad = json!({ "data": [{ "title": "Rivers", "paragraphs": paragraphs }] });
    project.write("squad.json", &squad.to_string());
    let spec = project.read("spec.toml").replace(
        "[load.text]\ntrain = \"text.txt\"\nvalidation = \"held-out.txt\"\n",
        "[load.words]\ntrain = \"data.noun\"\nformat = \"wordnet\"\nsplit = { validation = 0.1 }\n\n\
         [load.alike]\ntrain = \"data.adj\"\nformat = \"wordnet_related\"\n\n\
         [load.paragraphs]\ntrain = \"squad.json\"\nformat = \"squad_contexts\"\nsplit = { validation = 0.1 }\n\n\
         [augment.text]\ninputs = { words = 1.0, paragraphs = 1.0, alike = 1.0 }\n",
    );
    project.write("spec.toml", &spec.replace("epochs = 12", "max_steps = 2"));
    project.run(&["spec.toml"]);
    let rows = |stage: &str| {
        let said = project
            .refit(&["preview", "spec.toml", stage, "--json"])
            .success();
        said.json().to_string()
    };
    let words = rows("words");
    assert!(
        words.contains("dog, domestic dog: a member of the genus Canis")
            && words.contains("the dog barked all night"),
        "{words}"
    );
    let alike = rows("alike");
    assert!(
        alike.contains("bad, ill: dreadful") && alike.contains("dreadful: bad, ill"),
        "{alike}"
    );
    let paragraphs = rows("paragraphs");
    assert!(
        paragraphs.contains("flows to the sea") && !paragraphs.contains("Where?"),
        "{paragraphs}"
    );
}
