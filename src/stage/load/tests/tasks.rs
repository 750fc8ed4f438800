//! `load` on rows with several labels, with numbers, with tagged words and with answers.

use polars::prelude::{JsonFormat, JsonReader, ParquetWriter, SerReader};

use super::*;
use crate::table::Answer;

/// The rows of a JSON Lines text as a Parquet file.
fn parquet(json_lines: &str, path: &Path) {
    let mut frame = JsonReader::new(std::io::Cursor::new(json_lines.as_bytes().to_vec()))
        .with_json_format(JsonFormat::JsonLines)
        .infer_schema_len(None)
        .finish()
        .unwrap();
    let file = std::fs::File::create(path).unwrap();
    ParquetWriter::new(file).finish(&mut frame).unwrap();
}

/// The same table from JSON Lines, from JSON and from Parquet.
fn from_every_format(rows: &[Value], settings: &Value) -> Loaded {
    let lines = rows.iter().map(|row| format!("{row}\n"));
    let lines = lines.collect::<String>();
    let folder = folder(&[
        ("a.jsonl", &lines),
        ("a.json", &Value::from(rows.to_vec()).to_string()),
    ]);
    parquet(&lines, &folder.path().join("a.parquet"));
    let read = |file: &str| {
        let mut settings = settings.clone();
        settings["train"] = file.into();
        load(folder.path(), settings).unwrap()
    };
    let loaded = read("a.jsonl");
    for file in ["a.json", "a.parquet"] {
        assert_eq!(read(file).table, loaded.table, "{file}");
    }
    loaded
}

#[test]
fn several_labels_are_lists_or_separated_text() {
    let rows = [
        json!({ "text": "a", "labels": ["joy", "anger", "joy"] }),
        json!({ "text": "b", "labels": [] }),
        json!({ "text": "c", "labels": ["fear"] }),
    ];
    let settings = json!({ "columns": { "labels": "labels" } });
    let loaded = from_every_format(&rows, &settings);
    assert_eq!(loaded.names(), ["anger", "fear", "joy"]);
    let texts = loaded.texts("train");
    assert_eq!(texts.labels, Some(vec![vec![0, 2], vec![], vec![1]]));
    assert_eq!(texts.label, None);
    assert_eq!(
        loaded.said,
        ["rows: train 3; 3 labels, 1.00 a row of train"]
    );

    let folder = folder(&[
        ("a.csv", "text,labels\na,\"joy, anger ,joy\"\nb,\nc,fear\n"),
        ("a.tsv", "a\tjoy|anger\nb\t \nc\tfear\n"),
    ]);
    let csv = json!({ "train": "a.csv", "columns": { "labels": "labels" } });
    assert_eq!(load(folder.path(), csv).unwrap().table, loaded.table);
    let tsv = json!({
        "train": "a.tsv", "header": false, "label_separator": "|", "columns": { "text": 0, "labels": 1 },
    });
    assert_eq!(load(folder.path(), tsv).unwrap().table, loaded.table);
}

#[test]
fn further_columns_stay_beside_their_rows_as_they_are_written() {
    let rows = [
        json!({ "text": "a", "label": "x", "source": "web", "id": 7, "stars": 1.5, "new": true }),
        json!({ "text": "a", "label": "x", "source": "web", "id": 7, "stars": 1.5, "new": true }),
        json!({ "text": "b", "label": "y", "source": null, "id": 8, "stars": 20.0, "new": false }),
    ];
    let settings =
        json!({ "columns": { "keep": ["source", "id", "stars", "new"] }, "deduplicate": {} });
    let loaded = from_every_format(&rows, &settings);
    let column =
        |name: &str, values: [&str; 2]| (name.to_owned(), values.map(str::to_owned).to_vec());
    let wanted = [
        column("id", ["7", "8"]),
        column("new", ["true", "false"]),
        column("source", ["web", ""]),
        column("stars", ["1.5", "20"]),
    ];
    assert_eq!(loaded.texts("train").further, BTreeMap::from(wanted));

    let folder = folder(&[
        (
            "a.csv",
            "text,label,source\na,x,\"the \"\"web\"\"\"\nb,y,\n",
        ),
        ("a.tsv", "a\tx\tthe \"web\"\nb\ty\t\n"),
    ]);
    let csv = json!({ "train": "a.csv", "columns": { "keep": ["source"] } });
    let kept = load(folder.path(), csv).unwrap().texts("train").further;
    assert_eq!(
        kept,
        BTreeMap::from([column("source", ["the \"web\"", ""])])
    );
    let tsv = json!({
        "train": "a.tsv", "header": false, "quote": "", "columns": { "text": 0, "label": 1, "keep": [2] },
    });
    let kept = load(folder.path(), tsv).unwrap().texts("train").further;
    assert_eq!(kept, BTreeMap::from([column("2", ["the \"web\"", ""])]));
}

#[test]
fn further_columns_must_be_there_and_hold_single_values() {
    let folder = folder(&[
        ("a.csv", "text,label,source\na,x,web\nb,y,book\n"),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"label\": \"x\", \"source\": [1]}\n",
        ),
        ("a.txt", "a\nb\n"),
        ("a.conll", "EU B-ORG\nrejects O\n"),
    ]);
    let fails = |file: &str, columns: Value| {
        let settings = json!({ "train": file, "columns": columns });
        let error = load(folder.path(), settings).err().unwrap();
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
        format!("{error} / {}", help.unwrap_or_default())
    };
    let told = fails("a.csv", json!({ "keep": ["sauce"] }));
    assert!(
        told.contains("`sauce`") && told.contains("did you mean `source`"),
        "{told}"
    );
    let told = fails("a.jsonl", json!({ "keep": ["source"] }));
    assert!(
        told.contains("a list") && told.contains("single values"),
        "{told}"
    );
    let told = fails("a.txt", json!({ "label": "", "keep": ["source"] }));
    assert!(told.contains("`source`"), "{told}");
    let told = fails("a.conll", json!({ "keep": ["source"] }));
    assert!(told.contains("columns.keep"), "{told}");

    let faults = |settings: Value| {
        let faults = stage(settings).check().into_iter();
        faults.map(|fault| fault.message).collect::<Vec<_>>()
    };
    let twice = json!({ "train": "a.csv", "columns": { "keep": ["source", "source", ""] } });
    assert_eq!(
        faults(twice),
        [
            "column `source` is listed twice",
            "a column's name is empty"
        ]
    );
    let conll = json!({ "train": "a.conll", "format": "conll", "columns": { "keep": ["source"] } });
    assert_eq!(
        faults(conll),
        ["a `conll` file says itself where everything stands"]
    );
}

#[test]
fn label_ids_get_their_names() {
    let rows = [
        json!({ "text": "a", "labels": [2, 0] }),
        json!({ "text": "b", "labels": [2] }),
    ];
    let settings = json!({ "columns": { "labels": "labels" }, "label_names": ["x", "y", "z"] });
    let loaded = from_every_format(&rows, &settings);
    assert_eq!(loaded.names(), ["x", "y", "z"]);
    let labels = loaded.texts("train").labels;
    assert_eq!(labels, Some(vec![vec![0, 2], vec![2]]));
    assert_eq!(
        loaded.warned,
        ["no row of train has the label y, so it cannot be learned"]
    );
}

#[test]
fn targets_are_numbers_of_one_column_or_several() {
    let rows = [
        json!({ "text": "a", "valence": 1, "arousal": -0.5 }),
        json!({ "text": "b", "valence": 2, "arousal": 1e-3 }),
    ];
    let settings = json!({ "columns": { "target": ["arousal", "valence"] } });
    let loaded = from_every_format(&rows, &settings);
    let names = ["arousal", "valence"].map(str::to_owned).to_vec();
    assert_eq!(loaded.table.target_names, Some(names));
    assert_eq!(loaded.table.label_names, None);
    let target = loaded.texts("train").target;
    assert_eq!(target, Some(vec![vec![-0.5, 1.0], vec![1e-3, 2.0]]));
    assert_eq!(loaded.said, ["rows: train 2; to predict: arousal, valence"]);

    let folder = folder(&[("a.csv", "a,1.50\nb,15e-1\n")]);
    let settings =
        json!({ "train": "a.csv", "header": false, "columns": { "text": 0, "target": 1 } });
    let loaded = load(folder.path(), settings).unwrap();
    assert_eq!(loaded.table.target_names, Some(vec!["target".to_owned()]));
    let target = loaded.texts("train").target;
    assert_eq!(target, Some(vec![vec![1.5], vec![1.5]]));
    assert_eq!(
        loaded.warned,
        [
            "every row of train has the same number as `target`, so there is nothing to learn: check `columns.target`"
        ]
    );
}

#[test]
fn sentences_are_the_same_from_lists_and_from_conll() {
    let rows = [
        json!({ "tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"] }),
        json!({ "tokens": ["Peter", "Blackburn"], "tags": ["B-PER", "I-PER"] }),
    ];
    let settings = json!({ "columns": { "tokens": "tokens", "tags": "tags" } });
    let loaded = from_every_format(&rows, &settings);
    assert_eq!(loaded.names(), ["B-ORG", "B-PER", "I-ORG", "I-PER", "O"]);
    let texts = loaded.texts("train");
    assert_eq!(texts.text, ["EU rejects", "Peter Blackburn"]);
    assert_eq!(
        texts.words.unwrap()[1],
        ["Peter", "Blackburn"].map(str::to_owned)
    );
    assert_eq!(texts.tags, Some(vec![vec![0, 4], vec![1, 3]]));
    assert_eq!(
        loaded.said,
        ["rows: train 2; 4 tokens to train on, 5 tags in the scheme BIO"]
    );

    let four = "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP B-PER\nBlackburn NNP I-NP I-PER\n";
    let folder = folder(&[
        ("a.iob2", four),
        (
            "a.data",
            "EU\tB-ORG\nrejects\tO\n\t\nPeter\tB-PER\nBlackburn\tI-PER",
        ),
    ]);
    for settings in [
        json!({ "train": "a.iob2" }),
        json!({ "train": "a.data", "format": "conll" }),
    ] {
        assert_eq!(load(folder.path(), settings).unwrap().table, loaded.table);
    }
}

#[test]
fn tag_ids_get_their_names_before_their_order_is_judged() {
    let rows = [json!({ "tokens": ["a", "b", "c"], "tags": [0, 3, 4] })];
    let settings = json!({
        "columns": { "tokens": "tokens", "tags": "tags" }, "label_names": ["O", "B-X", "I-X", "B-Y", "I-Y"],
    });
    let loaded = from_every_format(&rows, &settings);
    assert_eq!(loaded.texts("train").tags, Some(vec![vec![0, 3, 4]]));

    let folder = folder(&[(
        "a.jsonl",
        "{\"tokens\": [\"a\", \"b\"], \"tags\": [3, 2]}\n",
    )]);
    let mut settings = settings;
    settings["train"] = "a.jsonl".into();
    let error = load(folder.path(), settings).err().unwrap().to_string();
    assert!(
        error.ends_with("a.jsonl, line 1: `I-X` after `B-Y` (tag 2) is impossible in BIO"),
        "{error}"
    );
}

#[test]
fn tokens_without_tags_and_tags_of_another_kind_are_read() {
    let folder = folder(&[
        ("bare.conll", "a\nb\n\nc\n"),
        ("pos.conll", "a DET\nb NOUN\n\nc VERB\n"),
    ]);
    let bare = load(folder.path(), json!({ "train": "bare.conll" })).unwrap();
    assert_eq!(bare.table.label_names, None);
    assert_eq!(bare.texts("train").tags, None);
    assert_eq!(bare.said, ["rows: train 2; 3 tokens to train on, no tags"]);
    let settings = json!({ "train": "pos.conll", "more": { "bare": "bare.conll" } });
    let pos = load(folder.path(), settings).unwrap();
    assert_eq!(pos.texts("train").tags, Some(vec![vec![0, 1], vec![2]]));
    assert_eq!(pos.texts("more.bare").tags, None);
    assert_eq!(
        pos.said[0],
        "rows: more.bare 2, train 2; 3 tokens to train on, 3 tags"
    );
}

#[test]
fn a_type_of_training_is_known_with_every_prefix_of_the_scheme() {
    for (train, test, names, tags) in [
        (
            "a B-X\nb O\n",
            "a B-X\nb I-X\n",
            vec!["B-X", "I-X", "O"],
            vec![0, 1],
        ),
        (
            "a I-X\n\nb I-Y\n",
            "a I-Y\nb B-Y\n",
            vec!["B-X", "B-Y", "I-X", "I-Y", "O"],
            vec![3, 1],
        ),
        (
            "a S-X\nb O\n",
            "a B-X\nb I-X\nc E-X\n",
            vec!["B-X", "E-X", "I-X", "O", "S-X"],
            vec![0, 2, 1],
        ),
    ] {
        let folder = folder(&[("train.conll", train), ("test.conll", test)]);
        let settings = json!({ "train": "train.conll", "test": "test.conll" });
        let loaded = load(folder.path(), settings.clone()).unwrap();
        assert_eq!(loaded.names(), names);
        assert_eq!(loaded.texts("test").tags, Some(vec![tags]));
        assert!(
            !loaded.warned.iter().any(|line| line.contains("the label")),
            "{:?}",
            loaded.warned
        );

        std::fs::write(folder.path().join("test.conll"), "a O\nb B-Z\n").unwrap();
        let error = load(folder.path(), settings).err().unwrap().to_string();
        let found = if train.starts_with("a I-") {
            "test.conll, line 2: `B-Z` after `O` is impossible in IOB1"
        } else if train.starts_with("a S-") {
            "test.conll, line 2: `B-Z` at the end of a sentence is impossible in BIOES"
        } else {
            "test.conll, line 2: the label `B-Z` is in test but never in train"
        };
        assert!(error.ends_with(found), "{error}");
    }
}

#[test]
fn tags_that_label_names_lists_are_all_there_are() {
    let folder = folder(&[
        ("train.conll", "a B-X\nb O\n"),
        ("test.conll", "a B-X\nb I-X\n"),
    ]);
    let mut settings = json!({ "train": "train.conll", "label_names": ["O", "B-X"] });
    let loaded = load(folder.path(), settings.clone()).unwrap();
    assert_eq!(loaded.names(), ["O", "B-X"]);
    settings["test"] = "test.conll".into();
    let error = load(folder.path(), settings).err().unwrap().to_string();
    assert!(
        error.ends_with("test.conll, line 2: the label `I-X` is in test but never in train"),
        "{error}"
    );
}

#[test]
fn a_tag_that_a_cut_takes_from_training_is_warned_of() {
    let rows = (0..10).map(|row| format!("a B-X\nb B-K{row}\n\n"));
    let folder = folder(&[("train.conll", &rows.collect::<String>())]);
    let settings = json!({ "train": "train.conll", "split": { "test": 0.1 } });
    let loaded = load(folder.path(), settings).unwrap();
    let warned = loaded
        .warned
        .iter()
        .filter(|line| line.contains("the label"));
    let warned = warned.collect::<Vec<_>>();
    assert_eq!(warned.len(), 1);
    let named = warned[0].strip_prefix("no row of train has the label B-K");
    let named = named.and_then(|rest| rest.strip_suffix(", so it cannot be learned"));
    assert!(named.is_some_and(|one| !one.contains(',')), "{warned:?}");
}

#[test]
fn an_impossible_tag_of_another_split_is_judged_by_the_training_scheme() {
    let folder = folder(&[
        ("train.conll", "a I-X\nb B-X\n\nc I-X\n"),
        ("test.conll", "a I-X\nb O\nc B-X\n"),
    ]);
    let settings = json!({ "train": "train.conll", "test": "test.conll" });
    let error = load(folder.path(), settings).err().unwrap().to_string();
    assert!(
        error.ends_with("test.conll, line 3: `B-X` after `O` is impossible in IOB1"),
        "{error}"
    );
}

fn question(question: &str, context: &str, answers: &[(&str, usize)]) -> Value {
    let texts = answers.iter().map(|(text, _)| *text).collect::<Vec<_>>();
    let starts = answers.iter().map(|(_, start)| *start).collect::<Vec<_>>();
    json!({ "question": question, "context": context, "answers": { "text": texts, "answer_start": starts } })
}

fn squad(rows: &[Value]) -> String {
    let paragraph = |(number, row): (usize, &Value)| {
        let answers = [&row["answers"]["text"], &row["answers"]["answer_start"]];
        let [texts, starts] = answers.map(|list| list.as_array().unwrap());
        let answers = texts.iter().zip(starts);
        let answers = answers.map(|(text, start)| json!({ "text": text, "answer_start": start }));
        let qas = json!([{
            "question": row["question"], "id": format!("q{number}"), "answers": answers.collect::<Vec<_>>(),
        }]);
        json!({ "context": row["context"], "qas": qas })
    };
    let paragraphs = rows.iter().enumerate().map(paragraph).collect::<Vec<_>>();
    json!({ "version": "1.1", "data": [{ "title": "T", "paragraphs": paragraphs }] }).to_string()
}

#[test]
fn questions_are_the_same_from_flat_rows_and_from_squad() {
    let mut rows = [
        question("Where?", "im Café Süd", &[("Café", 3), ("Café Süd", 3)]),
        question("Why?", "im Café Süd", &[]),
        question("Who?", "Ada", &[("Ada", 0)]),
    ];
    let squad = squad(&rows);
    for (number, row) in rows.iter_mut().enumerate() {
        row["id"] = format!("q{number}").into();
    }
    let columns =
        json!({ "question": "question", "context": "context", "answers": "answers", "id": "id" });
    let loaded = from_every_format(&rows, &json!({ "columns": columns }));
    let texts = loaded.texts("train");
    assert_eq!(texts.text, ["Where?", "Why?", "Who?"]);
    assert_eq!(texts.text_pair.unwrap()[2], "Ada");
    assert_eq!(texts.name.unwrap(), ["q0", "q1", "q2"]);
    let answers = texts.answers.unwrap();
    let answer = |start, text: &str| Answer {
        start,
        text: text.to_owned(),
    };
    assert_eq!(answers[0], [answer(3, "Café"), answer(3, "Café Süd")]);
    assert_eq!(answers[1], []);
    assert_eq!(
        loaded.said,
        ["rows: train 3; train asks about 2 contexts, 1 of its questions without an answer"]
    );

    let folder = folder(&[("squad.json", &squad)]);
    for settings in [
        json!({ "train": "squad.json", "format": "squad" }),
        json!({ "train": "squad.json", "columns": columns }),
    ] {
        assert_eq!(load(folder.path(), settings).unwrap().table, loaded.table);
    }
}

#[test]
fn questions_without_answers_are_rows_to_predict() {
    let folder = folder(&[
        ("a.csv", "question,context\nWho?,Ada\n"),
        (
            "b.jsonl",
            "{\"question\": \"Who?\", \"context\": \"Bo\", \"answers\": {\"text\": [\"Bo\"], \"answer_start\": [0]}}\n",
        ),
    ]);
    let columns = json!({ "question": "question", "context": "context" });
    let settings = json!({ "train": "b.jsonl", "test": "a.csv", "columns": columns });
    let loaded = load(folder.path(), settings).unwrap();
    assert_eq!(loaded.texts("train").answers, None);
    assert_eq!(loaded.texts("test").text_pair.unwrap(), ["Ada"]);
}

#[test]
fn no_context_is_on_both_sides_of_a_cut() {
    let context = |number: usize| format!("context {}", number % 40);
    let rows = (0..200)
        .map(|number| question(&format!("question {number}"), &context(number), &[]))
        .map(|row| format!("{row}\n"))
        .collect::<String>();
    let folder = folder(&[("a.jsonl", &rows)]);
    let settings = json!({
        "train": "a.jsonl", "split": { "validation": 0.1, "test": 0.2 },
        "columns": { "question": "question", "context": "context", "answers": "answers" },
    });
    let loaded = load(folder.path(), settings.clone()).unwrap();
    let contexts = |split: &str| {
        let pairs = loaded.texts(split).text_pair.unwrap().into_iter();
        pairs.collect::<std::collections::BTreeSet<_>>()
    };
    let sizes = ["train", "validation", "test"].map(|split| loaded.texts(split).len());
    assert_eq!(sizes, [140, 20, 40]);
    assert!(contexts("train").is_disjoint(&contexts("test")));
    assert!(contexts("train").is_disjoint(&contexts("validation")));
    assert!(contexts("test").is_disjoint(&contexts("validation")));
    assert!(loaded.texts("train").id.is_sorted());
    let other = load_with(folder.path(), settings, 14).unwrap();
    assert_ne!(other.table, loaded.table);
}

#[test]
fn no_context_is_in_two_folds() {
    let rows = (0..120)
        .map(|number| (number, format!("context {}", number % 7)))
        .map(|(number, context)| {
            format!(
                "{}\n",
                question(&format!("question {number}"), &context, &[])
            )
        })
        .collect::<String>();
    let folder = folder(&[("a.jsonl", &rows)]);
    let with = |of: u32, index: u32| {
        let settings = json!({
            "train": "a.jsonl", "fold": { "of": of, "index": index },
            "columns": { "question": "question", "context": "context", "answers": "answers" },
        });
        load(folder.path(), settings)
    };
    let mut validated = Vec::new();
    for index in 0..3 {
        let loaded = with(3, index).unwrap();
        let contexts = |split: &str| {
            let pairs = loaded.texts(split).text_pair.unwrap().into_iter();
            pairs.collect::<std::collections::BTreeSet<_>>()
        };
        assert!(contexts("train").is_disjoint(&contexts("validation")));
        validated.extend(loaded.texts("validation").id);
    }
    validated.sort_unstable();
    assert_eq!(validated, (0..120).collect::<Vec<u64>>());
    let told = with(8, 0).map(|_| ()).unwrap_err().to_string();
    assert!(
        told.contains("8 folds cannot be cut of 7 contexts"),
        "{told}"
    );
}

#[test]
fn rows_of_several_labels_are_cut_regardless_of_them() {
    let rows = (0..100)
        .map(|number| format!("row {number},\"a,{}\"\n", ["b", "c"][number % 2]))
        .collect::<String>();
    let folder = folder(&[("a.csv", &format!("text,labels\n{rows}"))]);
    let settings =
        json!({ "train": "a.csv", "columns": { "labels": "labels" }, "split": { "test": 0.2 } });
    let loaded = load(folder.path(), settings).unwrap();
    let test = loaded.texts("test");
    assert_eq!((test.len(), loaded.texts("train").len()), (20, 80));
    for (id, labels) in test.id.iter().zip(test.labels.unwrap()) {
        assert_eq!(labels, [0, 1 + (id % 2) as u32]);
    }
}

#[test]
fn invalid_rows_are_left_out_and_counted_when_the_spec_says_so() {
    let rows = "{\"tokens\": [\"a\", \"b\"], \"tags\": [\"B-X\", \"I-X\"]}\n\
        {\"tokens\": [\"a\"], \"tags\": [\"O\", \"O\"]}\n\
        {\"tokens\": [], \"tags\": []}\n\
        \n\
        {\"tokens\": [\"a\", null], \"tags\": [\"O\", \"O\"]}\n\
        {\"tokens\": [\"c\", \"d\"], \"tags\": [\"O\", \"I-Z\"]}\n\
        {\"tokens\": [\"a\"], \"tags\": [\"O\", \"O\"]}\n\
        {\"tokens\": [\"e\"], \"tags\": [\"O\"]}\n";
    let folder = folder(&[("a.jsonl", rows)]);
    let settings = json!({
        "train": "a.jsonl", "columns": { "tokens": "tokens", "tags": "tags" }, "skip_invalid": true,
    });
    let loaded = load(folder.path(), settings).unwrap();
    let texts = loaded.texts("train");
    assert_eq!(texts.text, ["a b", "e"]);
    // A row that is mended later changes no other row's id.
    assert_eq!(texts.id, [0, 6]);
    // The tag of a sentence that was left out is no label.
    assert_eq!(loaded.names(), ["B-X", "I-X", "O"]);
    let said = loaded.said.iter().map(|line| {
        let (said, file) = line.split_once("; the first: ").unwrap_or((line, ""));
        (said, file.rsplit('/').next().unwrap())
    });
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            (
                "left out 1 row of train with an impossible order of tags",
                "a.jsonl, line 6"
            ),
            (
                "left out 2 rows of train with more tokens than tags or fewer",
                "a.jsonl, line 2"
            ),
            ("left out 1 row of train without a value", "a.jsonl, line 5"),
            ("left out 1 row of train without tokens", "a.jsonl, line 3"),
            (
                "rows: train 2; 3 tokens to train on, 3 tags in the scheme BIO",
                ""
            ),
        ]
    );
}

#[test]
fn leaving_out_invalid_rows_changes_no_valid_one() {
    let folder = folder(&[
        ("good.csv", "text,label\n\"a, \"\"b\"\"\",x\nc,1\n,true\n"),
        (
            "good.jsonl",
            "{\"text\": \"a, \\\"b\\\"\", \"label\": \"x\"}\n{\"text\": \"c\", \"label\": \"1\"}\n{\"text\": \"\", \"label\": \"true\"}\n",
        ),
        (
            "ids.jsonl",
            "{\"text\": \"a\", \"label\": 10}\n{\"text\": \"b\", \"label\": 9}\n",
        ),
        ("bad.csv", "text,label\na,x\nb,\nc,y\n"),
    ]);
    for file in ["good.csv", "good.jsonl", "ids.jsonl"] {
        let strict = load(folder.path(), json!({ "train": file })).unwrap();
        let lenient = json!({ "train": file, "skip_invalid": true });
        assert_eq!(load(folder.path(), lenient).unwrap().table, strict.table);
    }
    let lenient = json!({ "train": "bad.csv", "skip_invalid": true });
    let loaded = load(folder.path(), lenient).unwrap();
    assert_eq!(loaded.texts("train").text, ["a", "c"]);
}

#[test]
fn a_file_of_another_task_is_a_fault_at_its_field() {
    let folder = folder(&[("a.conll", "a O\n"), ("a.csv", "t,label\nx,y\n")]);
    let faults = |settings: Value| {
        let faults = stage(settings)
            .files(folder.path(), &Fetched::default())
            .err();
        let faults = faults.into_iter().flatten().map(|fault| fault.field);
        faults.collect::<Vec<_>>()
    };
    assert_eq!(
        faults(json!({ "train": "a.csv", "test": ["a.conll"], "columns": { "text": "t" } })),
        ["test[0]"]
    );
    assert_eq!(
        faults(json!({ "train": "a.conll", "columns": { "tokens": "t", "tags": "u" } })),
        [""; 0]
    );
    assert_eq!(faults(json!({ "train": "a.conll" })), [""; 0]);
}

#[test]
fn go_emotions_is_read_with_its_label_ids() {
    let Some(data) = assets() else { return };
    let names = std::fs::read_to_string(data.join("go_emotions/labels.txt")).unwrap();
    let names = names.lines().collect::<Vec<_>>();
    let settings = json!({
        "train": "go_emotions/train.tsv", "validation": "go_emotions/dev.tsv", "test": "go_emotions/test.tsv",
        "header": false, "columns": { "text": 0, "labels": 1, "id": 2 }, "label_names": names,
    });
    let loaded = load(&data, settings).unwrap();
    assert_eq!(loaded.names(), names);
    let train = loaded.texts("train");
    let labels = train.labels.unwrap();
    assert_eq!(labels.len(), 43_410);
    assert_eq!(labels[0], [27]);
    let several = labels.iter().filter(|labels| labels.len() > 1);
    assert_eq!(several.count(), 7_102);
    let grief = labels.iter().filter(|labels| labels.contains(&16));
    assert_eq!((loaded.names()[16], grief.count()), ("grief", 77));
    assert_eq!(train.name.unwrap()[0], "eebbqej");
    assert_eq!(loaded.texts("validation").len(), 5_426);
    assert_eq!(loaded.texts("test").len(), 5_427);
}

#[test]
fn wnut17_btc_and_ncbi_disease_are_read_as_conll() {
    let Some(data) = assets() else { return };
    let read = |settings: Value, sizes: [usize; 3], names: usize, tokens: usize| {
        let loaded = load(&data, settings).unwrap();
        let found = ["train", "validation", "test"].map(|split| loaded.texts(split).len());
        assert_eq!(found, sizes);
        assert_eq!(loaded.names().len(), names);
        let words = loaded.texts("train").words.unwrap();
        assert_eq!(words.iter().map(Vec::len).sum::<usize>(), tokens);
        let said = format!("{tokens} tokens to train on, {names} tags in the scheme BIO");
        assert!(loaded.said[0].ends_with(&said), "{:?}", loaded.said);
    };
    let files = |set: &str| {
        json!({
            "train": format!("{set}/train.conll"), "validation": format!("{set}/dev.conll"),
            "test": format!("{set}/test.conll"),
        })
    };
    read(files("wnut17"), [3_394, 1_009, 1_287], 13, 62_730);
    // Four of its sentences have tags without tokens.
    let error = load(&data, files("btc")).err().unwrap().to_string();
    assert!(error.ends_with(": the tag `O` has no token"), "{error}");
    let mut btc = files("btc");
    btc["skip_invalid"] = true.into();
    let loaded = load(&data, btc).unwrap();
    let found = ["train", "validation", "test"].map(|split| loaded.texts(split).len());
    assert_eq!(found, [5_338, 1_998, 1_999]);
    assert_eq!(loaded.names().len(), 7);
    let left_out = loaded
        .said
        .iter()
        .filter(|line| line.starts_with("left out"));
    assert_eq!(left_out.count(), 2);
    let words = loaded.texts("train").words.unwrap();
    assert_eq!(words.iter().map(Vec::len).sum::<usize>(), 85_480);
    assert!(words.iter().flatten().any(|word| word == "MH17 "));
    let ncbi = json!({
        "train": "ncbi_disease/train.tsv", "validation": "ncbi_disease/devel.tsv",
        "test": "ncbi_disease/test.tsv", "format": "conll",
    });
    read(ncbi, [5_432, 923, 940], 3, 136_086);
}

#[test]
fn squad_is_read_with_every_answer_at_its_start() {
    let Some(data) = assets() else { return };
    let settings =
        json!({ "train": "squad_v2/train.json", "test": "squad_v2/dev.json", "format": "squad" });
    let loaded = load(&data, settings).unwrap();
    for (split, rows, without) in [("train", 4_562, 2_276), ("test", 1_516, 892)] {
        let texts = loaded.texts(split);
        let answers = texts.answers.as_ref().unwrap();
        let empty = answers.iter().filter(|answers| answers.is_empty());
        assert_eq!((texts.len(), empty.count()), (rows, without));
        for (context, answers) in texts.text_pair.as_ref().unwrap().iter().zip(answers) {
            for answer in answers {
                let from = context.chars().skip(answer.start as usize);
                let length = answer.text.chars().count();
                assert_eq!(from.take(length).collect::<String>(), answer.text);
            }
        }
    }
    assert_eq!(
        loaded.texts("train").name.unwrap()[0],
        "68cf05f67fd29c6f129fe2fb9"
    );
    let shifts = json!({
        "train": "squadshifts_new_wiki/new_wiki_v1.0.json",
        "columns": { "question": "question", "context": "context", "answers": "answers" },
    });
    let shifts = load(&data, shifts).unwrap().texts("train");
    assert_eq!(shifts.len(), 7_938);
    assert!(
        shifts
            .answers
            .unwrap()
            .iter()
            .all(|answers| !answers.is_empty())
    );
}

#[test]
fn nested_parquet_with_a_changed_byte_never_takes_the_process_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let rows = (0..20).map(|number| {
        let mut row = question("Who?", "Ada", &[("Ada", 0), ("d", 1)][..number % 3]);
        row["tokens"] = json!(["a", "b"][..1 + number % 2]);
        row["tags"] = json!([0, 1][..1 + number % 2]);
        format!("{row}\n")
    });
    parquet(&rows.collect::<String>(), &path);
    let whole = std::fs::read(&path).unwrap();
    let columns = [
        json!({ "question": "question", "context": "context", "answers": "answers" }),
        json!({ "tokens": "tokens", "tags": "tags" }),
    ];
    for place in (4..whole.len() - 4).step_by(3) {
        let mut changed = whole.clone();
        changed[place] ^= 0xff;
        std::fs::write(&path, changed).unwrap();
        for columns in &columns {
            let _ = load(
                folder.path(),
                json!({ "train": "a.parquet", "columns": columns }),
            );
        }
    }
}
