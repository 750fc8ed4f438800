//! Claims about keys, defaults and differences.

use proptest::prelude::*;
use schemars::JsonSchema;
use serde_json::json;

use super::*;

fn fingerprint(settings: Value) -> Fingerprint {
    Fingerprint {
        format: FORMAT,
        kind: "train".to_owned(),
        version: 1,
        settings,
        files: BTreeMap::from([("encoder/config.json".to_owned(), Digest::of(b"config"))]),
        inputs: BTreeMap::from([("input".to_owned(), Digest::of(b"tokens"))]),
    }
}

fn said(old: &Fingerprint, new: &Fingerprint) -> Vec<String> {
    differences(old, new)
        .iter()
        .map(Change::to_string)
        .collect()
}

#[test]
fn the_key_of_a_known_fingerprint_stays_what_it_is() {
    let known = fingerprint(json!({"epochs": 3, "optimizer": {"learning_rate": 5e-5}}));
    // Taken with another implementation of blake3, from the text in `canonical`'s form.
    assert_eq!(
        known.key().to_string(),
        "0df22acf6b1beda92c50e34dac4bfba6ef63291d1ad946f6cf3fdb6c191e3875"
    );
}

#[test]
fn a_number_has_one_form() {
    for (left, right) in [
        ("1", "1.0"),
        ("0", "-0.0"),
        ("1e3", "1000"),
        ("5e-5", "0.00005"),
        ("1e16", "10000000000000000"),
        ("-2", "-2.0"),
    ] {
        let read = |text: &str| canonical(&serde_json::from_str(text).unwrap());
        assert_eq!(read(left), read(right));
    }
    assert_ne!(canonical(&json!(u64::MAX)), canonical(&json!(u64::MAX - 1)));
    assert_eq!(
        canonical(&json!({"b": [1.5, null], "a": "ü\n\""})),
        r#"{"a":"ü\n\"","b":[1.5e0,null]}"#
    );
}

#[test]
fn every_part_of_a_fingerprint_is_in_its_key() {
    let base = fingerprint(json!({"epochs": 3}));
    let others = [
        Fingerprint {
            format: FORMAT + 1,
            ..base.clone()
        },
        Fingerprint {
            kind: "tokenize".to_owned(),
            ..base.clone()
        },
        Fingerprint {
            version: 2,
            ..base.clone()
        },
        Fingerprint {
            settings: json!({"epochs": 4}),
            ..base.clone()
        },
        Fingerprint {
            files: BTreeMap::from([("encoder/config.json".to_owned(), Digest::of(b"other"))]),
            ..base.clone()
        },
        Fingerprint {
            files: BTreeMap::from([("encoder/other.json".to_owned(), Digest::of(b"config"))]),
            ..base.clone()
        },
        Fingerprint {
            inputs: BTreeMap::new(),
            ..base.clone()
        },
    ];
    for other in others {
        assert_ne!(base.key(), other.key(), "{other:?}");
        assert!(!differences(&base, &other).is_empty(), "{other:?}");
    }
}

/// Settings as a stage states them: optional parts, nested tables, alternatives with a tag, lists of tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    input: String,
    #[serde(default = "three")]
    epochs: u32,
    #[serde(default)]
    max_steps: Option<u64>,
    #[serde(default)]
    optimizer: Optimizer,
    early_stopping: Option<Stopping>,
    #[serde(default)]
    search: Search,
    #[serde(default)]
    heads: Vec<Stopping>,
    #[serde(default)]
    weights: BTreeMap<String, f64>,
}

fn three() -> u32 {
    3
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Optimizer {
    #[serde(default = "rate")]
    learning_rate: f64,
    #[serde(default)]
    weight_decay: f64,
}

fn rate() -> f64 {
    5e-5
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer {
            learning_rate: rate(),
            weight_decay: 0.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stopping {
    metric: String,
    #[serde(default = "three")]
    patience: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, tag = "name", rename_all = "snake_case")]
enum Search {
    Grid {
        #[serde(default)]
        shuffle: bool,
    },
    Random {
        trials: u32,
        #[serde(default = "three")]
        patience: u32,
    },
}

impl Default for Search {
    fn default() -> Self {
        Search::Grid { shuffle: false }
    }
}

fn schemas() -> [Value; 3] {
    let mut generator = schemars::generate::SchemaSettings::draft07().into_generator();
    let referring = generator.subschema_for::<Settings>();
    let mut referring = referring.to_value();
    referring["definitions"] = Value::Object(generator.take_definitions(true));
    let draft07 = schemars::generate::SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<Settings>();
    [
        referring,
        draft07.to_value(),
        schemars::schema_for!(Settings).to_value(),
    ]
}

fn stripped(settings: &str) -> Value {
    let settings: Settings = serde_json::from_str(settings).unwrap();
    let [first, others @ ..] = schemas()
        .map(|schema| without_defaults(&serde_json::to_value(&settings).unwrap(), &schema));
    for other in others {
        assert_eq!(first, other, "the draft of the schema makes no difference");
    }
    first
}

#[test]
fn settings_at_their_default_are_left_out() {
    assert_eq!(
        stripped(r#"{"input": "tokens"}"#),
        json!({"input": "tokens"})
    );
    let written_out = r#"{"input": "tokens", "epochs": 3, "max_steps": null, "optimizer": {"learning_rate": 5e-5, "weight_decay": 0},
        "early_stopping": null, "search": {"name": "grid", "shuffle": false}, "heads": [], "weights": {}}"#;
    assert_eq!(stripped(written_out), json!({"input": "tokens"}));
}

#[test]
fn settings_off_their_default_stay() {
    assert_eq!(
        stripped(
            r#"{"input": "tokens", "epochs": 4, "max_steps": 0, "optimizer": {"learning_rate": 2e-5}}"#
        ),
        json!({"input": "tokens", "epochs": 4, "max_steps": 0, "optimizer": {"learning_rate": 2e-5}})
    );
}

#[test]
fn an_optional_table_that_is_present_is_not_taken_for_absent() {
    assert_eq!(
        stripped(r#"{"input": "t", "early_stopping": {"metric": "loss", "patience": 3}}"#),
        json!({"input": "t", "early_stopping": {"metric": "loss"}})
    );
}

#[test]
fn of_alternatives_the_one_that_fits_gives_the_defaults() {
    assert_eq!(
        stripped(r#"{"input": "t", "search": {"name": "random", "trials": 3, "patience": 3}}"#),
        json!({"input": "t", "search": {"name": "random", "trials": 3}})
    );
}

#[test]
fn lists_and_maps_keep_their_members() {
    assert_eq!(
        stripped(
            r#"{"input": "t", "heads": [{"metric": "f1", "patience": 3}, {"metric": "f1", "patience": 4}], "weights": {"a": 0}}"#
        ),
        json!({"input": "t", "heads": [{"metric": "f1"}, {"metric": "f1", "patience": 4}], "weights": {"a": 0.0}})
    );
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema = json!({"$ref": "#/definitions/a", "definitions": {"a": {"$ref": "#/definitions/a", "anyOf": [{"$ref": "#/definitions/a"}]}}});
    assert_eq!(without_defaults(&json!({"a": 1}), &schema), json!({"a": 1}));
}

#[test]
fn a_change_names_the_setting_with_old_and_new() {
    let old = fingerprint(
        json!({"optimizer": {"learning_rate": 5e-5}, "schedule": "linear", "label_names": ["a"]}),
    );
    let mut new = fingerprint(
        json!({"optimizer": {"learning_rate": 2e-5, "weight decay": 0.1}, "epochs": 4, "label_names": ["a", "b"]}),
    );
    new.files.insert("train/0".to_owned(), Digest::of(b"new"));
    new.inputs
        .insert("input".to_owned(), Digest::of(b"other tokens"));
    let tokens = [b"tokens".as_slice(), b"other tokens"].map(|content| Digest::of(content).short());
    let expected = [
        "epochs: default → 4",
        r#"label_names: ["a"] → ["a", "b"]"#,
        "optimizer.learning_rate: 5e-5 → 2e-5",
        r#"optimizer."weight decay": default → 0.1"#,
        r#"schedule: "linear" → default"#,
        "file train/0: added",
        &format!("input input: {} → {}", tokens[0], tokens[1]),
    ];
    assert_eq!(said(&old, &new), expected);
}

#[test]
fn a_table_that_comes_or_goes_is_told_by_its_fields() {
    let without = fingerprint(json!({}));
    let with = fingerprint(json!({"early_stopping": {"metric": "loss"}, "freeze": {}}));
    assert_eq!(
        said(&without, &with),
        [
            r#"early_stopping.metric: default → "loss""#,
            "freeze: default → {}"
        ]
    );
    assert_eq!(
        said(&with, &without),
        [
            r#"early_stopping.metric: "loss" → default"#,
            "freeze: {} → default"
        ]
    );
}

#[test]
fn changes_survive_json() {
    let old = fingerprint(json!({"epochs": 3}));
    let new = Fingerprint {
        version: 2,
        inputs: BTreeMap::new(),
        ..fingerprint(json!({"epochs": null}))
    };
    let changes = differences(&old, &new);
    let text = serde_json::to_string(&changes).unwrap();
    let read: Vec<Change> = serde_json::from_str(&text).unwrap();
    assert_eq!(
        read.iter().map(Change::to_string).collect::<Vec<_>>(),
        said(&old, &new)
    );
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z_.]{1,6}", inner, 0..5)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// The same value with every object written the other way round.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .rev()
                .map(|(name, value)| (name.clone(), reversed(value)))
                .collect(),
        ),
        Value::Array(values) => values.iter().map(reversed).collect(),
        _ => value.clone(),
    }
}

/// Every value that differs from `value` in one leaf, one member or one name.
fn changed(value: &Value) -> Vec<Value> {
    let mut others = vec![json!(["another"])];
    match value {
        Value::Object(fields) => {
            for name in fields.keys() {
                let mut without = fields.clone();
                let taken = without.shift_remove(name).unwrap();
                others.push(Value::Object(without.clone()));
                without.insert(format!("{name}!"), taken);
                others.push(Value::Object(without));
                for inner in changed(&fields[name]) {
                    let mut with = fields.clone();
                    with.insert(name.clone(), inner);
                    others.push(Value::Object(with));
                }
            }
        }
        Value::Array(values) => {
            for place in 0..values.len() {
                let mut without = values.clone();
                without.remove(place);
                others.push(Value::Array(without));
                for inner in changed(&values[place]) {
                    let mut with = values.clone();
                    with[place] = inner;
                    others.push(Value::Array(with));
                }
            }
        }
        Value::String(text) => others.push(Value::from(format!("{text} "))),
        Value::Bool(yes) => others.push(Value::from(!yes)),
        _ => {}
    }
    others
}

proptest! {
    #[test]
    fn order_and_white_space_change_no_key(settings in values()) {
        let spread = serde_json::to_string_pretty(&reversed(&settings)).unwrap();
        let read: Value = serde_json::from_str(&spread).unwrap();
        prop_assert_eq!(fingerprint(settings.clone()).key(), fingerprint(read.clone()).key());
        prop_assert!(differences(&fingerprint(settings), &fingerprint(read)).is_empty());
    }

    #[test]
    fn any_changed_value_changes_the_key(settings in values()) {
        let base = fingerprint(settings.clone());
        for other in changed(&settings) {
            if canonical(&other) != canonical(&settings) {
                prop_assert_ne!(base.key(), fingerprint(other.clone()).key());
                prop_assert!(!differences(&base, &fingerprint(other)).is_empty());
            }
        }
    }

    #[test]
    fn two_numbers_have_one_form_only_if_they_are_equal(left in any::<f64>(), right in any::<f64>()) {
        prop_assert_eq!(canonical(&json!(left)) == canonical(&json!(right)), left == right);
        let read: Value = serde_json::from_str(&canonical(&json!(left))).unwrap();
        prop_assert_eq!(read.as_f64(), Some(left));
    }

    #[test]
    fn a_fingerprint_survives_json(settings in values()) {
        let written = fingerprint(settings);
        let read: Fingerprint = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
        prop_assert_eq!(read.key(), written.key());
    }

    #[test]
    fn defaults_written_out_change_nothing(
        epochs in prop::option::of(0u32..6), rate in prop::option::of(prop::sample::select(vec![5e-5, 2e-5])), steps in prop::option::of(0u64..3),
    ) {
        let mut settings = json!({"input": "tokens"});
        if let Some(epochs) = epochs { settings["epochs"] = json!(epochs); }
        if let Some(rate) = rate { settings["optimizer"] = json!({"learning_rate": rate}); }
        if let Some(steps) = steps { settings["max_steps"] = json!(steps); }
        let once = stripped(&settings.to_string());
        prop_assert_eq!(&once, &stripped(&once.to_string()));
        prop_assert_eq!(once.get("epochs").is_some(), epochs.is_some_and(|epochs| epochs != 3));
        prop_assert_eq!(once.get("optimizer").is_some(), rate == Some(2e-5));
    }
}
