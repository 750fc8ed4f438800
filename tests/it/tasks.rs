//! Each task from files to a bundle, through the binary, on data small enough to be learned in seconds.

use polars::prelude::{ParquetReader, SerReader};
use serde_json::{Value, json};

use refit::learn::{Predictions, Rows};
use refit::model::{Classifier, HeadKind, Task, Vocabulary};
use refit::table::{Cells, Texts};
use refit::task::{AnswerSettings, Asked, Rule};
use refit::text::Tokenizer;

use crate::project::{Project, assets};

/// A stage of each kind over `data/train` and `data/test`, with the encoder from random weights.
pub(crate) fn spec(load: &str, tokens: &str, train: &str) -> String {
    format!(
        "version = 1\nname = \"tasks\"\nseed = 3\n\n\
         [load.rows]\n{load}\n\n\
         [tokenize.tokens]\ninput = \"rows\"\ntrain_tokenizer = {{ vocab_size = 400, min_frequency = 1 }}\n{tokens}\n\n\
         [train.model]\ninput = \"tokens\"\nscratch = {{ layers = 2, hidden = 64, heads = 2, dropout = 0.0 }}\n\
         batch = {{ size = 16 }}\noptimizer = {{ learning_rate = 3e-3 }}\n{train}\n\n\
         [evaluate.scores]\nmodel = \"model\"\ninput = \"tokens\"\n\n\
         [export.bundle]\nmodel = \"model\"\nscores = \"scores\"\nto = \"dist\"\n"
    )
}

fn json_of(project: &Project, name: &str) -> Value {
    serde_json::from_str(&project.read(name)).unwrap()
}

/// Comments in which each of three words brings its label.
pub(crate) fn comments(rows: usize, from: usize) -> Vec<(String, Vec<&'static str>)> {
    let words = [("glad", "joy"), ("mad", "anger"), ("wow", "surprise")];
    (from..from + rows)
        .map(|row| {
            let said = words.iter().enumerate().filter(|(n, _)| row >> n & 1 == 1);
            let (said, labels): (Vec<&str>, Vec<&str>) = said.map(|(_, word)| *word).unzip();
            (format!("row {} {} there", row % 7, said.join(" ")), labels)
        })
        .collect()
}

pub(crate) fn delimited(rows: &[(String, Vec<&str>)]) -> String {
    let line = |(text, labels): &(String, Vec<&str>)| format!("{text},{}\n", labels.join("|"));
    "text,labels\n".to_owned() + &rows.iter().map(line).collect::<String>()
}

fn listed(rows: &[(String, Vec<&str>)]) -> String {
    let line = |(text, labels): &(String, Vec<&str>)| {
        format!("{}\n", json!({ "text": text, "labels": labels }))
    };
    rows.iter().map(line).collect()
}

pub(crate) const COMMENTS: &str = "train = \"data/train.csv\"\ntest = \"data/test.csv\"\nsplit = { validation = 0.2 }\n\
                        columns = { text = \"text\", labels = \"labels\" }\nlabel_separator = \"|\"";

fn emotions() -> Project {
    let project = Project::empty();
    project.write("data/train.csv", &delimited(&comments(240, 0)));
    project.write("data/test.csv", &delimited(&comments(40, 3)));
    project.write(
        "spec.toml",
        &spec(
            COMMENTS,
            "max_length = 16",
            "task = \"multi_label\"\nepochs = 16",
        ),
    );
    project
}

#[test]
fn several_labels_are_learned() {
    let project = emotions();
    let scores = project.run(&["spec.toml"])["scores"]["scores"].clone();
    assert!(scores["f1_micro"].as_f64().unwrap() > 0.95, "{scores}");
    assert_eq!(scores["per_label"][0]["threshold"], 0.5);
    let config = json_of(&project, "dist/config.json");
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(
        config["id2label"],
        json!({ "0": "anger", "1": "joy", "2": "surprise" })
    );
}

#[test]
fn labels_in_lists_and_in_one_cell_are_the_same_table() {
    let project = emotions();
    let first = project.run(&["spec.toml"]);
    project.write("data/train.jsonl", &listed(&comments(240, 0)));
    project.write("data/test.jsonl", &listed(&comments(40, 3)));
    let text = project.read("spec.toml").replace(".csv", ".jsonl");
    project.write("spec.toml", &text);
    let second = project.run(&["spec.toml"]);
    let digest = |run: &Value| run["steps"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(digest(&first), digest(&second));
    assert_eq!(crate::project::built(&second), ["rows"]);
}

#[test]
fn thresholds_are_tuned_kept_and_used() {
    let project = emotions();
    project.replace(
        "spec.toml",
        "epochs = 16",
        "epochs = 1\nthreshold = \"tuned\"",
    );
    let tuned = project.run(&["spec.toml"])["scores"]["scores"].clone();
    let kept = json_of(&project, "dist/model.json")["thresholds"].clone();
    assert_eq!(kept.as_array().unwrap().len(), 3);
    for (label, threshold) in tuned["per_label"]
        .as_array()
        .unwrap()
        .iter()
        .zip(kept.as_array().unwrap())
    {
        assert_eq!(&label["threshold"], threshold);
    }
    project.replace("spec.toml", "threshold = \"tuned\"", "threshold = 1.0");
    let never = project.run(&["spec.toml"])["scores"]["scores"].clone();
    assert_eq!(never["recall_micro"], 0.0);
    assert!(tuned["recall_micro"].as_f64().unwrap() > 0.5, "{tuned}");
}

#[test]
fn positive_weights_raise_recall() {
    let project = emotions();
    project.replace("spec.toml", "epochs = 16", "max_steps = 6");
    let recall = |project: &Project| {
        let run = project.run(&["spec.toml"]);
        run["scores"]["scores"]["recall_micro"].as_f64().unwrap()
    };
    let plain = recall(&project);
    project.replace(
        "spec.toml",
        "max_steps = 6",
        "max_steps = 6\nloss = { positive_weights = { joy = 50.0, anger = 50.0, surprise = 50.0 } }",
    );
    assert!(recall(&project) > plain, "{plain}");
    project.replace("spec.toml", "joy = 50.0", "jou = 50.0");
    let said = project.refit(&["run", "spec.toml"]).exits(1);
    assert!(
        said.stderr.contains("jou") && said.stderr.contains("joy"),
        "{}",
        said.stderr
    );
}

#[test]
fn numbers_are_learned_each_target_by_itself() {
    let project = Project::empty();
    let rows = |rows: usize, from: usize| {
        let line = |row: usize| {
            let (good, long) = (row % 3, row / 3 % 2);
            let text = ["bad", "fair", "good"][good];
            let more = ["", " very long indeed"][long];
            format!(
                "{text}{more} number {},{},{}\n",
                row % 5,
                good as f64 / 2.0,
                -(long as f64)
            )
        };
        "text,quality,length\n".to_owned() + &(from..from + rows).map(line).collect::<String>()
    };
    project.write("data/train.csv", &rows(240, 0));
    project.write("data/test.csv", &rows(40, 1));
    project.write(
        "spec.toml",
        &spec(
            "train = \"data/train.csv\"\ntest = \"data/test.csv\"\n\
             columns = { text = \"text\", target = [\"quality\", \"length\"] }",
            "max_length = 16",
            "task = \"regression\"\nepochs = 12",
        ),
    );
    let scores = project.run(&["spec.toml"])["scores"]["scores"].clone();
    assert!(scores["pearson"].as_f64().unwrap() > 0.95, "{scores}");
    assert_eq!(scores["targets"][1]["target"], "length");
    let config = json_of(&project, "dist/config.json");
    assert_eq!(config["problem_type"], "regression");
    assert_eq!(config["id2label"], json!({ "0": "quality", "1": "length" }));
}

/// Sentences in which names of people come in pairs, as first and last name, and places alone.
pub(crate) fn sentences(rows: usize, from: usize, padding: usize) -> String {
    let mut text = String::new();
    for row in from..from + rows {
        let first = ["Ann", "Bob", "Eve"][row % 3];
        let last = ["Lee", "Kim"][row / 3 % 2];
        let place = ["Rome", "Oslo", "Bonn"][row / 2 % 3];
        for _ in 0..padding {
            text += "so O\n";
        }
        text += &format!("{first} B-PER\n{last} I-PER\nsaw O\n{place} B-LOC\n. O\n\n");
    }
    text
}

fn names(train: &str, padding: usize) -> Project {
    let project = Project::empty();
    project.write("data/train.conll", &sentences(120, 0, padding));
    project.write("data/test.conll", &sentences(30, 2, padding));
    project.write(
        "spec.toml",
        &spec(
            "train = \"data/train.conll\"\ntest = \"data/test.conll\"",
            "max_length = 16",
            &format!("task = \"token_classification\"\nepochs = 6\n{train}"),
        ),
    );
    project
}

#[test]
fn tags_are_learned_word_by_word() {
    let project = names("", 0);
    let scores = project.run(&["spec.toml"])["scores"]["scores"].clone();
    assert_eq!(scores["f1"], 1.0, "{scores}");
    assert_eq!(scores["types"]["PER"]["support"], 30);
    let config = json_of(&project, "dist/config.json");
    assert_eq!(
        config["architectures"],
        json!(["BertForTokenClassification"])
    );
}

#[test]
fn tags_are_learned_by_a_crf_which_the_bundle_brings_along() {
    let project = names("loss = { name = \"crf\" }", 0);
    let scores = project.run(&["spec.toml"])["scores"]["scores"].clone();
    assert_eq!(scores["f1"], 1.0, "{scores}");
    let config = json_of(&project, "dist/config.json");
    assert_eq!(
        config["auto_map"]["AutoModelForTokenClassification"],
        "modeling_refit.RefitBertForTokenClassification"
    );
    // Tags in the order of their names, then the start or the end: B-LOC, B-PER, I-LOC, I-PER, O.
    assert_eq!(config["refit_allowed"][5], json!([1, 1, 0, 0, 1, 1]));
    assert_eq!(config["refit_allowed"][0], json!([1, 1, 1, 0, 1, 1]));
    assert_eq!(config["refit_allowed"][1], json!([1, 1, 0, 1, 1, 1]));
}

#[test]
fn sentences_longer_than_the_model_reads_lose_no_word() {
    let project = names("", 40);
    let run = project.run(&["spec.toml"]);
    let scores = &run["scores"]["scores"];
    assert_eq!(scores["rows"], 30, "sentences, not windows");
    assert_eq!(scores["types"]["LOC"]["support"], 30);
    assert_eq!(scores["f1"], 1.0, "{scores}");
}

#[test]
fn a_model_of_tags_finds_entities_in_plain_text() {
    let project = names("", 0);
    project.write("data/notes.csv", "text\nEve  Kim saw  Oslo.\nso\n");
    let text = project.read("spec.toml")
        + "\n[load.notes]\ntrain = \"data/notes.csv\"\ncolumns = { text = \"text\", label = \"\" }\n\n\
           [predict.found]\nmodel = \"model\"\ninput = \"notes\"\n";
    project.write("spec.toml", &text);
    project.run(&["spec.toml"]);
    let folder = project.refit(&["path", "spec.toml", "found"]).success();
    let file = std::path::Path::new(folder.stdout.trim()).join("predictions.parquet");
    let frame = ParquetReader::new(std::fs::File::open(file).unwrap())
        .finish()
        .unwrap();
    let names: Vec<&str> = frame
        .get_column_names()
        .iter()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "id",
            "text",
            "words",
            "predicted",
            "probability",
            "entities"
        ]
    );
    let entities = frame
        .column("entities")
        .unwrap()
        .get(0)
        .unwrap()
        .to_string();
    for part in ["\"PER\",0,8,\"Eve  Kim\"", "\"LOC\",14,18,\"Oslo\""] {
        assert!(entities.contains(part), "{part} in {entities}");
    }
}

/// Contexts that name the colour of one thing; every third question is about a thing that is not there.
pub(crate) fn questions(rows: usize, from: usize) -> String {
    let line = |row: usize| {
        let things = ["ball", "door", "hat", "car"];
        let colours = ["red", "blue", "grün", "white", "black"];
        let (thing, colour) = (things[row % 4], colours[row / 4 % 5]);
        let asked = if row.is_multiple_of(3) {
            things[(row + 1) % 4]
        } else {
            thing
        };
        let before = "é ".repeat(row % 4);
        let context = format!("{before}the {thing} is {colour} .");
        let start = context.chars().count() - 2 - colour.chars().count();
        let answers = match row % 3 {
            0 => json!({ "text": [], "answer_start": [] }),
            _ => json!({ "text": [colour], "answer_start": [start] }),
        };
        let question = format!("which colour is the {asked} ?");
        let row = json!({ "id": row.to_string(), "question": question, "context": context, "answers": answers });
        format!("{row}\n")
    };
    (from..from + rows).map(line).collect()
}

#[test]
fn questions_are_answered_from_their_context_or_not_at_all() {
    let project = Project::empty();
    project.write("data/train.jsonl", &questions(480, 0));
    project.write("data/test.jsonl", &questions(60, 7));
    project.write(
        "spec.toml",
        &spec(
            "train = \"data/train.jsonl\"\ntest = \"data/test.jsonl\"\n\
             columns = { question = \"question\", context = \"context\", answers = \"answers\", id = \"id\" }",
            "max_length = 32",
            "task = \"question_answering\"\nepochs = 12",
        ),
    );
    let run = project.run(&["spec.toml"]);
    let scores = &run["scores"]["scores"];
    assert!(
        scores["has_answer_exact_match"].as_f64().unwrap() > 0.8,
        "{scores}"
    );
    assert_eq!(
        (&scores["has_answer"], &scores["no_answer"]),
        (&json!(40), &json!(20))
    );
    let config = json_of(&project, "dist/config.json");
    assert_eq!(config["architectures"], json!(["BertForQuestionAnswering"]));
    assert_eq!(
        json_of(&project, "dist/model.json")["thresholds"],
        json!([0.0])
    );

    project.replace("spec.toml", "epochs = 12", "epochs = 12\nthreshold = 1e6");
    let always = project.run(&["spec.toml"])["scores"]["scores"].clone();
    assert_eq!(
        always["no_answer_exact_match"], 0.0,
        "an answer is always given"
    );
}

/// The paragraphs of a SQuAD file that are not ASCII, each with its questions.
fn not_ascii(file: &std::path::Path) -> Vec<(String, String)> {
    let whole: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let articles = whole["data"].as_array().unwrap().iter();
    let paragraphs = articles.flat_map(|article| article["paragraphs"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    paragraphs
        .filter(|paragraph| !paragraph["context"].as_str().unwrap().is_ascii())
        .flat_map(|paragraph| {
            let questions = paragraph["qas"].as_array().unwrap().iter();
            questions.map(|question| (text(&question["question"]), text(&paragraph["context"])))
        })
        .collect()
}

#[test]
fn every_answer_is_a_part_of_its_context_whatever_the_model_says() {
    let Some(assets) = assets("every_answer_is_a_part_of_its_context_whatever_the_model_says")
    else {
        return;
    };
    let tokenizer = Tokenizer::open(&assets.join("models/all-MiniLM-L6-v2")).unwrap();
    let asked: Vec<(String, String)> = ["train.json", "dev.json"]
        .iter()
        .flat_map(|file| not_ascii(&assets.join("data/squad_v2").join(file)))
        .collect();
    assert!(asked.len() > 1000, "{}", asked.len());
    let (questions, contexts): (Vec<&str>, Vec<&str>) = asked
        .iter()
        .map(|(question, context)| (question.as_str(), context.as_str()))
        .unzip();
    let on_rows = &mut |_| std::ops::ControlFlow::Continue(());
    let rows = tokenizer.encode_questions(&questions, &contexts, 128, 40, on_rows);
    let rows = rows.unwrap();
    assert!(rows.rows() > asked.len(), "some contexts are windowed");
    let mut state = 1_u64;
    let mut number = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 22) as f32
    };
    let logits = (0..rows.rows())
        .map(|row| {
            (0..2 * Rows::length(&rows, row))
                .map(|_| number())
                .collect()
        })
        .collect();
    let sizes = serde_json::from_value(json!({ "layers": 1, "hidden": 4, "heads": 1 })).unwrap();
    let vocabulary = Vocabulary { size: 8, pad_id: 0 };
    let device = burn::tensor::Device::flex();
    let (model, _) = Classifier::scratch(&sizes, vocabulary, &HeadKind::Spans, 0, &device).unwrap();
    let rule = Rule {
        task: Task::QuestionAnswering,
        names: Vec::new(),
        thresholds: None,
        scheme: None,
        answers: AnswerSettings::default(),
    };
    let texts = Texts {
        id: (0..asked.len() as u64).collect(),
        copy: vec![0; asked.len()],
        text: questions,
        text_pair: Some(contexts.clone()),
        ..Texts::default()
    };
    let asked = Asked {
        rows: &rows,
        examples: Some(&texts),
        places: None,
    };
    let answers = rule
        .decide(&model, &Predictions { logits }, &asked)
        .unwrap();
    let columns: std::collections::BTreeMap<String, Cells> =
        answers.columns(&asked).into_iter().collect();
    let (Cells::Texts(predicted), Cells::Places(starts), Cells::Places(ends)) =
        (&columns["predicted"], &columns["start"], &columns["end"])
    else {
        panic!("{:?}", columns.keys());
    };
    for (row, context) in contexts.iter().enumerate() {
        let answer = predicted[row].as_deref().unwrap();
        let (start, end) = (starts[row].unwrap() as usize, ends[row].unwrap() as usize);
        let there: String = context.chars().skip(start).take(end - start).collect();
        assert!(
            !answer.is_empty() && answer == there,
            "{answer:?}, {there:?}"
        );
    }
}
