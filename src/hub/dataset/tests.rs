//! Cards and listings as they stand on the hub.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What this program answers where the library fails, and why.
const LENIENT: [&str; 2] = [
    // The library's facts have the name, and its only configuration is called `default`.
    "a card with facts alone, asked by its name",
    // Of the first configuration, the library looks for the files outside of its folder.
    "a card with a folder and patterns",
];

#[test]
fn splits_are_those_that_the_library_finds() {
    let fixture = include_str!("../../../tests/fixtures/dataset_splits.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    assert_eq!(fixture["datasets"], "5.2.0");
    let layouts = fixture["layouts"].as_array().unwrap();
    for layout in layouts {
        let what = layout["what"].as_str().unwrap();
        let files = layout["files"].as_array().unwrap();
        let files: BTreeSet<&str> = files.iter().map(|name| name.as_str().unwrap()).collect();
        let card = layout.get("card").unwrap_or(&Value::Null);
        let config = layout.get("config").and_then(Value::as_str);
        let chosen = choose(&files, card, config, false);
        let Some(wanted) = layout.get("splits") else {
            let lenient = LENIENT.contains(&what);
            assert_eq!(chosen.is_ok(), lenient, "{what}: {chosen:?}");
            continue;
        };
        let mut wanted: BTreeMap<String, Vec<String>> =
            serde_json::from_value(wanted.clone()).unwrap();
        for files in wanted.values_mut() {
            // The library reads a file twice that two patterns mean.
            let mut seen = BTreeSet::new();
            files.retain(|file| seen.insert(file.clone()));
        }
        let read = [
            "csv", "tsv", "json", "jsonl", "ndjson", "parquet", "txt", "conll",
        ];
        let is_read = |file: &String| file.split('.').skip(1).any(|ending| read.contains(&ending));
        if wanted.values().flatten().all(is_read) {
            assert_eq!(chosen.map(|chosen| chosen.splits), Ok(wanted), "{what}");
        } else {
            assert_eq!(chosen, Err(DatasetError::NoFiles), "{what}");
        }
    }
    assert!(layouts.len() > 70);
}

#[test]
fn synonyms_play_a_role_where_nothing_is_called_so() {
    let has = |names: &[&str]| {
        let splits = names.iter().map(|name| ((*name).to_owned(), Vec::new()));
        roles(&splits.collect())
    };
    assert_eq!(
        has(&["training", "dev", "eval", "unsupervised"]),
        [
            ("train", "training"),
            ("validation", "dev"),
            ("test", "eval")
        ]
    );
    assert_eq!(
        has(&[
            "train",
            "training",
            "validation",
            "valid",
            "evaluation",
            "testing"
        ]),
        [
            ("train", "train"),
            ("validation", "validation"),
            ("test", "testing")
        ]
    );
    assert_eq!(has(&["val"]), [("validation", "val")]);
    assert_eq!(has(&["unsupervised"]), []);
}

#[test]
fn class_names_are_those_of_the_configuration() {
    let info = |name: &str, class: &str| json!({ "config_name": name, "features": [{ "name": "label", "dtype": { "class_label": { "names": [class] } } }] });
    let configs = json!([{ "config_name": "a", "data_files": "a.csv" }, { "config_name": "b", "data_files": "b.csv" }]);
    let names_of = |card: &Value, config| {
        let chosen = choose(&names(&["a.csv", "b.csv"]), card, config, false).unwrap();
        chosen.class_names.get("label").cloned()
    };
    let one = json!({ "configs": configs, "dataset_info": [info("a", "x")] });
    assert_eq!(names_of(&one, Some("a")), Some(vec!["x".to_owned()]));
    assert_eq!(names_of(&one, Some("b")), None);
    let without_configs = json!({ "dataset_info": info("plain_text", "x") });
    assert_eq!(names_of(&without_configs, None), Some(vec!["x".to_owned()]));
}

fn names<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

fn splits(files: &[&str], card: &Value, config: Option<&str>) -> Vec<(String, Vec<String>)> {
    let chosen = choose(&names(files), card, config, false).unwrap();
    chosen.splits.into_iter().collect()
}

fn expected(splits: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |(split, files): &(&str, &[&str])| {
        let files = files.iter().map(|file| (*file).to_owned());
        ((*split).to_owned(), files.collect())
    };
    splits.iter().map(owned).collect()
}

#[test]
fn a_card_with_one_configuration_says_splits_and_class_names() {
    let card = json!({
        "configs": [{ "config_name": "default", "data_files": [
            { "split": "train", "path": "data/train-*" },
            { "split": "test", "path": "data/test-*" },
        ]}],
        "dataset_info": {
            "features": [
                { "name": "text", "dtype": "string" },
                { "name": "label", "dtype": { "class_label": { "names": {
                    "0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech",
                }}}},
            ],
            "splits": [{ "name": "train" }, { "name": "test" }],
        },
    });
    let files = [
        "README.md",
        "data/train-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    ];
    let chosen = choose(&names(&files), &card, None, false).unwrap();
    assert_eq!(
        chosen.splits["train"],
        ["data/train-00000-of-00001.parquet"]
    );
    assert_eq!(chosen.splits["test"], ["data/test-00000-of-00001.parquet"]);
    assert_eq!(
        chosen.class_names["label"],
        ["World", "Sports", "Business", "Sci/Tech"]
    );
    assert!(!chosen.class_names.contains_key("text"));
}

#[test]
fn of_several_configurations_one_must_be_chosen() {
    let config = |name: &str| {
        json!({ "config_name": name, "data_files": [
            { "split": "train", "path": format!("{name}/train-*") },
            { "split": "validation", "path": format!("{name}/validation-*") },
        ]})
    };
    let info = |name: &str, names: &[&str]| {
        json!({ "config_name": name, "features": [
            { "name": "label", "dtype": { "class_label": { "names": names } } },
        ]})
    };
    let mut card = json!({
        "configs": [config("cola"), config("sst2")],
        "dataset_info": [info("cola", &["unacceptable", "acceptable"]), info("sst2", &["negative", "positive"])],
    });
    let files = names(&[
        "cola/train-00000-of-00001.parquet",
        "cola/validation-00000-of-00001.parquet",
        "sst2/train-00000-of-00001.parquet",
        "sst2/validation-00000-of-00001.parquet",
    ]);
    let known = vec!["cola".to_owned(), "sst2".to_owned()];
    assert_eq!(
        choose(&files, &card, None, false),
        Err(DatasetError::SeveralConfigs {
            known: known.clone()
        })
    );
    let asked = "sst-2".to_owned();
    assert_eq!(
        choose(&files, &card, Some("sst-2"), false),
        Err(DatasetError::NoConfig { asked, known })
    );
    let chosen = choose(&files, &card, Some("sst2"), false).unwrap();
    assert_eq!(
        chosen.splits["validation"],
        ["sst2/validation-00000-of-00001.parquet"]
    );
    assert_eq!(chosen.class_names["label"], ["negative", "positive"]);
    card["configs"][0]["default"] = json!(true);
    let chosen = choose(&files, &card, None, false).unwrap();
    assert_eq!(chosen.class_names["label"], ["unacceptable", "acceptable"]);
}

#[test]
fn without_a_card_the_names_of_files_and_folders_say_the_split() {
    let none = Value::Null;
    assert_eq!(
        splits(
            &["train.csv", "dev.csv", "test.csv", "README.md", "notes.csv"],
            &none,
            None
        ),
        expected(&[
            ("test", &["test.csv"]),
            ("train", &["train.csv"]),
            ("validation", &["dev.csv"])
        ])
    );
    assert_eq!(
        splits(
            &[
                "my_train_part1.jsonl",
                "my_train_part2.jsonl",
                "my-eval.jsonl"
            ],
            &none,
            None
        ),
        expected(&[
            ("test", &["my-eval.jsonl"]),
            ("train", &["my_train_part1.jsonl", "my_train_part2.jsonl"])
        ])
    );
    assert_eq!(
        splits(
            &["training/a.parquet", "training/b.parquet", "val/a.parquet"],
            &none,
            None
        ),
        expected(&[
            ("train", &["training/a.parquet", "training/b.parquet"]),
            ("validation", &["val/a.parquet"])
        ])
    );
    assert_eq!(
        splits(
            &[
                "data/unsupervised-00000-of-00001.parquet",
                "data/train-00000-of-00002.parquet",
                "data/train-00001-of-00002.parquet"
            ],
            &none,
            None
        ),
        expected(&[
            (
                "train",
                &[
                    "data/train-00000-of-00002.parquet",
                    "data/train-00001-of-00002.parquet"
                ]
            ),
            (
                "unsupervised",
                &["data/unsupervised-00000-of-00001.parquet"]
            )
        ])
    );
    assert_eq!(
        splits(&["reviews.csv"], &none, None),
        expected(&[("train", &["reviews.csv"])])
    );
    // "constraint" has `train` in it, and no such word.
    assert_eq!(
        splits(&["constraints.csv"], &none, None),
        expected(&[("train", &["constraints.csv"])])
    );
}

#[test]
fn what_describes_a_data_set_is_none_of_its_data() {
    let files = [
        "dataset_infos.json",
        ".gitattributes",
        "LICENSE.md",
        "CONTRIBUTING.md",
        "CITATION.md",
        "a.csv",
        "b.csv",
        "extra.json",
        "__pycache__/x.csv",
    ];
    assert_eq!(
        splits(&files, &Value::Null, None),
        expected(&[("train", &["a.csv", "b.csv"])])
    );
    let script = names(&["imdb.py", "README.md", "dataset_infos.json"]);
    assert_eq!(
        choose(&script, &Value::Null, None, false),
        Err(DatasetError::NoFiles)
    );
}

#[test]
fn a_folder_of_the_card_and_all_its_forms_of_naming_files_are_followed() {
    let files = ["en/train.csv", "en/test.csv", "de/train.csv", "de/test.csv"];
    let card = json!({ "configs": [
        { "config_name": "en", "data_dir": "en" },
        { "config_name": "de", "data_files": [
            { "split": "train", "path": "de/train.csv" }, { "split": "test", "path": ["de/test.csv"] },
        ]},
        { "config_name": "all", "data_files": "*/*.csv" },
        { "config_name": "lost", "data_files": "fr/*.csv" },
    ]});
    assert_eq!(
        splits(&files, &card, Some("en")),
        expected(&[("test", &["en/test.csv"]), ("train", &["en/train.csv"])])
    );
    assert_eq!(
        splits(&files, &card, Some("de")),
        expected(&[("test", &["de/test.csv"]), ("train", &["de/train.csv"])])
    );
    let all = splits(&files, &card, Some("all"));
    assert_eq!((all.len(), all[0].1.len()), (1, 4));
    let lost = choose(&names(&files), &card, Some("lost"), false);
    assert!(
        matches!(lost, Err(DatasetError::NoMatch { .. })),
        "{lost:?}"
    );
}

#[test]
fn the_hubs_own_parquet_files_say_configuration_and_split_by_their_folders() {
    let files = names(&[
        "plain_text/train/0000.parquet",
        "plain_text/train/0001.parquet",
        "plain_text/partial-test/0000.parquet",
    ]);
    let chosen = choose(&files, &Value::Null, None, true).unwrap();
    assert_eq!(chosen.splits["train"].len(), 2);
    assert_eq!(
        chosen.splits["test"],
        ["plain_text/partial-test/0000.parquet"]
    );
}

#[test]
fn class_names_are_found_inside_lists() {
    let card = json!({ "dataset_info": { "features": [
        { "name": "tokens", "sequence": "string" },
        { "name": "ner_tags", "sequence": { "class_label": { "names": { "0": "O", "1": "B-PER" } } } },
        { "name": "new_tags", "list": { "class_label": { "names": ["O", "B-LOC"] } } },
        { "name": "holes", "dtype": { "class_label": { "names": { "0": "a", "2": "c" } } } },
    ]}});
    let chosen = choose(&names(&["train.parquet"]), &card, None, false).unwrap();
    assert_eq!(chosen.class_names["ner_tags"], ["O", "B-PER"]);
    assert_eq!(chosen.class_names["new_tags"], ["O", "B-LOC"]);
    assert_eq!(chosen.class_names.len(), 2);
}

fn json_values() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("configs"),
        Just("config_name"),
        Just("data_files"),
        Just("split"),
        Just("path"),
        Just("data_dir"),
        Just("dataset_info"),
        Just("features"),
        Just("name"),
        Just("dtype"),
        Just("class_label"),
        Just("names"),
        Just("0"),
        Just("1"),
        Just("default"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z*/.\\[-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|pairs| {
                Value::Object(
                    pairs
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_card_and_no_listing_is_too_odd(
        card in json_values(),
        files in prop::collection::btree_set("[a-z0-9/_.-]{0,24}", 0..8),
        config in prop::option::of("[a-z]{0,4}"),
        converted in any::<bool>(),
    ) {
        let names: BTreeSet<&str> = files.iter().map(String::as_str).collect();
        if let Ok(chosen) = choose(&names, &card, config.as_deref(), converted) {
            prop_assert!(chosen.splits.values().flatten().all(|name| names.contains(name.as_str())));
        }
    }
}
