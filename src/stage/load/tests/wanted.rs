//! Which rows are wanted: by a condition, once each, a sample of them; labels under other names; splits by group and time.

use proptest::prelude::*;

use super::*;

const LOG: &str = "who,when,length,text,label\n\
    ann,2024-03-01,5,one,a\n\
    bob,2024-01-01,,two,b\n\
    ann,2024-02-01,12,three,a\n\
    cy,2024-04-01,7,four,b\n\
    bob,2024-05-01,9,five,a\n\
    cy,2024-01-15,30,six,b\n";

fn refused(base: &Path, settings: Value) -> String {
    match load(base, settings) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("no error"),
    }
}

fn fields(settings: Value) -> Vec<String> {
    let faults = stage(settings).check().into_iter();
    faults.map(|fault| fault.field).collect()
}

#[test]
fn a_condition_leaves_rows_out_and_changes_no_id() {
    let folder = folder(&[("log.csv", LOG), ("more.csv", LOG)]);
    let loaded = load(
        folder.path(),
        json!({ "train": ["log.csv", "more.csv"], "test": "log.csv", "where": "length > 6 AND who <> 'cy'" }),
    )
    .unwrap();
    assert_eq!(loaded.texts("train").id, [2, 4, 8, 10]);
    assert_eq!(loaded.texts("test").text, ["three", "five"]);
    assert_eq!(loaded.said[0], "`where` is not true of 12 rows");
}

#[test]
fn a_condition_reads_every_format_with_columns() {
    let rows = [("one", 1, true), ("two", 2, false), ("three", 3, true)];
    let line = |(text, n, kept): &(&str, i32, bool)| {
        json!({ "text": text, "label": "x", "n": n, "kept": kept }).to_string()
    };
    let lines = rows.iter().map(line).collect::<Vec<_>>();
    let folder = folder(&[
        ("a.jsonl", &lines.join("\n")),
        ("a.json", &format!("[{}]", lines.join(","))),
        (
            "a.tsv",
            "one\tx\t1\ttrue\ntwo\tx\t2\tfalse\nthree\tx\t3\ttrue\n",
        ),
        ("a.txt", "one\ntwo\nthree\n"),
    ]);
    let texts = |settings| load(folder.path(), settings).unwrap().texts("train").text;
    for file in ["a.jsonl", "a.json"] {
        let settings = json!({ "train": file, "where": "kept AND n >= 2" });
        assert_eq!(texts(settings), ["three"], "{file}");
    }
    let settings = json!({
        "train": "a.tsv", "header": false, "columns": { "text": 0, "label": 1 }, "where": "column_3 AND column_2 >= 2",
    });
    assert_eq!(texts(settings), ["three"]);
    let settings = json!({ "train": "a.txt", "where": "text LIKE 't%'" });
    assert_eq!(texts(settings), ["two", "three"]);
    let labelled = json!({ "train": "a.jsonl", "where": "label = 'x' AND text <> 'two'" });
    assert_eq!(
        texts(labelled),
        ["one", "three"],
        "columns of the rows themselves"
    );
}

#[test]
fn a_condition_on_real_news_is_that_of_pandas() {
    let Some(data) = assets() else { return };
    let loaded = load(
        &data,
        json!({ "train": "ag_news/test.parquet", "where": "LENGTH(title) > 60" }),
    )
    .unwrap();
    assert_eq!(loaded.counts("train"), [139, 142, 109, 232]);
}

#[test]
fn a_wrong_condition_says_where_and_what() {
    let folder = folder(&[("log.csv", LOG), ("a.conll", "Ann\tB-PER\n")]);
    let of = |condition: &str| {
        refused(
            folder.path(),
            json!({ "train": "log.csv", "where": condition }),
        )
    };
    assert!(
        of("lenght > 3").contains("no column `lenght`"),
        "{}",
        of("lenght > 3")
    );
    assert!(
        of("who > 3").contains("`who > 3` cannot be answered for"),
        "{}",
        of("who > 3")
    );
    assert!(
        of("length > 99").contains("no row of train is left"),
        "{}",
        of("length > 99")
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "where": "a >" })),
        ["where"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "where": "1 = 1" })),
        ["where"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "format": "conll", "where": "a > 1" })),
        ["where"]
    );
    let none = refused(
        folder.path(),
        json!({ "train": "a.conll", "where": "a > 1" }),
    );
    assert!(
        none.starts_with("`where` names a column, and `conll` files have none"),
        "{none}"
    );
}

#[test]
fn labels_are_taken_for_others() {
    let folder = folder(&[
        ("a.csv", "text,label\none,ham\ntwo,spam\nthree,4\n"),
        ("b.conll", "Ann\tB-PERSON\nleft\tO\n"),
    ]);
    let mapped = load(
        folder.path(),
        json!({ "train": "a.csv", "map": { "ham": "fine", "4": "fine" } }),
    )
    .unwrap();
    assert_eq!(mapped.names(), ["fine", "spam"]);
    assert_eq!(mapped.texts("train").label.unwrap(), [0, 1, 0]);
    let tags = load(
        folder.path(),
        json!({ "train": "b.conll", "map": { "B-PERSON": "B-PER" } }),
    )
    .unwrap();
    assert!(tags.names().contains(&"B-PER") && !tags.names().contains(&"B-PERSON"));
    let message = refused(
        folder.path(),
        json!({ "train": "a.csv", "map": { "spma": "x" } }),
    );
    assert_eq!(message, "`map` names the label `spma`, which no row has");
    assert_eq!(
        fields(json!({ "train": "a.csv", "map": { "a": "", "b": "b" } })),
        ["map.a", "map.b"]
    );
}

#[test]
fn repeated_messages_are_those_that_pandas_drops() {
    let Some(data) = assets() else { return };
    let settings = |more: Value| {
        let mut settings = json!({
            "train": "sms_spam/SMSSpamCollection.tsv", "header": false, "quote": "", "columns": { "text": 1, "label": 0 },
        });
        settings["deduplicate"] = more;
        settings
    };
    let of = |more| load(&data, settings(more)).unwrap();
    let exact = of(json!({}));
    assert_eq!(exact.counts("train"), [4518, 653]);
    let ids = exact.texts("train").id;
    assert!(ids.is_sorted() && ids.iter().any(|&id| id > 5500));
    assert!(
        exact.said[0].starts_with("train: left out "),
        "{:?}",
        exact.said
    );
    let (normalised, near) = (
        of(json!({ "by": "normalised" })),
        of(json!({ "by": "near", "threshold": 0.7 })),
    );
    let rows = |loaded: &Loaded| loaded.texts("train").len();
    assert!(rows(&near) < rows(&normalised) && rows(&normalised) < rows(&exact));
}

#[test]
fn rows_of_train_that_another_split_has_leave_it() {
    let folder = folder(&[
        ("train.csv", "text,label\nOne!,a\ntwo,b\ntwo,a\nthree,a\n"),
        ("test.csv", "text,label\none,a\n"),
    ]);
    let of = |deduplicate: Value| {
        let loaded = load(
            folder.path(),
            json!({ "train": "train.csv", "test": "test.csv", "deduplicate": deduplicate }),
        )
        .unwrap();
        (loaded.texts("train").text, loaded.said)
    };
    let (exact, said) = of(json!({}));
    assert_eq!(exact, ["One!", "two", "three"]);
    assert_eq!(
        said[0],
        "train: left out 1 repeated rows, 1 of them with another label"
    );
    assert_eq!(of(json!({ "by": "normalised" })).0, ["two", "three"]);
    assert_eq!(
        of(json!({ "by": "normalised", "across": false })).0,
        ["One!", "two", "three"]
    );
    let faults = |more: Value| fields(json!({ "train": "a.csv", "deduplicate": more }));
    assert_eq!(
        faults(json!({ "threshold": 0.8 })),
        ["deduplicate.threshold"]
    );
    assert_eq!(
        faults(json!({ "by": "near", "threshold": 0.0 })),
        ["deduplicate.threshold"]
    );
}

#[test]
fn a_pair_is_another_when_its_texts_are_cut_elsewhere() {
    let rows = [
        r#"{"a": "one\ntwo", "b": "three", "l": "x"}"#,
        r#"{"a": "one", "b": "two\nthree", "l": "x"}"#,
        r#"{"a": "One", "b": "two three", "l": "y"}"#,
        r#"{"a": "one", "b": "two\nthree", "l": "y"}"#,
    ];
    let folder = folder(&[("a.jsonl", &rows.join("\n"))]);
    let left = |by: &str| {
        let settings = json!({
            "train": "a.jsonl", "columns": { "text": "a", "text_pair": "b", "label": "l" }, "deduplicate": { "by": by },
        });
        let loaded = load(folder.path(), settings).unwrap();
        (loaded.texts("train").id, loaded.said[0].clone())
    };
    let repeated = |rows: usize, other: usize| {
        format!("train: left out {rows} repeated rows, {other} of them with another label")
    };
    assert_eq!(left("exact"), (vec![0, 1, 2], repeated(1, 1)));
    assert_eq!(left("normalised"), (vec![0, 1], repeated(2, 2)));
}

#[test]
fn repeated_rows_that_teach_something_else_are_counted_whatever_they_teach() {
    let of = |first: &str, second: &str, columns: Value| {
        let folder = folder(&[("a.jsonl", &[first, second, second].join("\n"))]);
        let settings = json!({ "train": "a.jsonl", "columns": columns, "deduplicate": {} });
        load(folder.path(), settings).unwrap().said[0].clone()
    };
    for (field, columns, teach) in [
        (
            "l",
            json!({ "text": "text", "labels": "l" }),
            [r#"["x", "y"]"#, r#"["y"]"#],
        ),
        ("t", json!({ "text": "text", "target": "t" }), ["1.5", "2"]),
        (
            "answers",
            json!({ "question": "text", "context": "context", "answers": "answers" }),
            [
                r#"{"text": ["Ada"], "answer_start": [0]}"#,
                r#"{"text": [], "answer_start": []}"#,
            ],
        ),
    ] {
        let row = |teach: &str| format!(r#"{{"text": "a", "context": "Ada", "{field}": {teach}}}"#);
        let said = of(&row(teach[0]), &row(teach[1]), columns);
        let wanted = "train: left out 2 repeated rows, 2 of them with another label";
        assert_eq!(said, wanted, "{field}");
    }
}

#[test]
fn questions_about_one_context_stay_together_under_groups_and_times_too() {
    // Customers 0, 1 and 2, 3 and so on ask about one context each.
    let row = |n: usize| {
        let context = (n / 2) % 10;
        json!({ "question": format!("q{n}"), "context": format!("context {context}"), "who": n % 20, "when": n })
    };
    let rows: Vec<String> = (0..60).map(|n| row(n).to_string()).collect();
    let folder = folder(&[("a.jsonl", &rows.join("\n"))]);
    let of = |split: Value| {
        let settings = json!({
            "train": "a.jsonl", "columns": { "question": "question", "context": "context" }, "split": split,
        });
        load(folder.path(), settings).unwrap()
    };
    let by_group = of(json!({ "test": 0.3, "group": "who" }));
    let by_time = of(json!({ "test": 0.3, "time": "when" }));
    for loaded in [&by_group, &by_time] {
        let contexts = |split: &str| -> std::collections::BTreeSet<String> {
            let contexts = loaded.texts(split).text_pair.unwrap();
            contexts.into_iter().collect()
        };
        let (train, test) = (contexts("train"), contexts("test"));
        assert!(train.is_disjoint(&test), "{train:?}, {test:?}");
        assert_eq!((train.len(), test.len()), (7, 3));
    }
    // The newest rows are about these.
    let newest = by_time.texts("test").text_pair.unwrap();
    assert!(newest.contains(&"context 9".to_owned()), "{newest:?}");
}

#[test]
fn a_sample_is_drawn_last_and_leaves_the_test_rows_alone() {
    let mut rows = "text,label\n".to_owned();
    for n in 0..100 {
        rows.push_str(&format!(
            "row {n},{}\n",
            if n % 5 == 0 { "rare" } else { "common" }
        ));
    }
    let folder = folder(&[("a.csv", &rows)]);
    let of = |sample: Value| {
        load(
            folder.path(),
            json!({ "train": "a.csv", "split": { "test": 0.2 }, "sample": sample }),
        )
    };
    let whole = of(json!({})).unwrap();
    let few = of(json!({ "train": { "limit": 20 } })).unwrap();
    assert_eq!(few.counts("train"), [16, 4]);
    assert_eq!(few.texts("test"), whole.texts("test"));
    let more = of(json!({ "train": { "fraction": 0.5 }, "test": { "per_class": 2 } })).unwrap();
    assert_eq!(
        (more.counts("train"), more.counts("test")),
        (vec![32, 8], vec![2, 2])
    );
    let ids = more.texts("train").id;
    assert!(few.texts("train").id.iter().all(|id| ids.contains(id)));
    let wrong = match of(json!({ "tset": { "limit": 1 } })) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("no error"),
    };
    assert_eq!(
        wrong,
        "`sample` names the split \"tset\"; there is test, train"
    );
    let faults = |sample: Value| fields(json!({ "train": "a.csv", "sample": { "train": sample } }));
    for wrong in [
        json!({}),
        json!({ "limit": 0 }),
        json!({ "fraction": 1.5 }),
        json!({ "limit": 1, "per_class": 1 }),
    ] {
        assert_eq!(faults(wrong), ["sample.train"]);
    }
}

#[test]
fn the_newest_rows_are_the_test_rows() {
    let folder = folder(&[("log.csv", LOG)]);
    let loaded = load(
        folder.path(),
        json!({ "train": "log.csv", "split": { "test": 0.34, "validation": 0.17, "time": "when" } }),
    )
    .unwrap();
    assert_eq!(loaded.texts("test").text, ["four", "five"]);
    assert_eq!(loaded.texts("validation").text, ["one"]);
    assert_eq!(loaded.texts("train").text, ["two", "three", "six"]);
    let settings = stage(json!({ "train": "log.csv", "split": { "test": 0.3, "time": "when" } }));
    assert!(!settings.draws_random_numbers());
    let mixed = "when,text,label\n2024-01-01,a,x\n2024-01-02T10:00,b,x\nlater,c,x\n";
    let other = super::folder(&[("log.csv", mixed), ("two.csv", &mixed[..mixed.len() - 10])]);
    let of = |file: &str| {
        let split = json!({ "test": 0.5, "time": "when" });
        refused(other.path(), json!({ "train": file, "split": split }))
    };
    assert!(of("log.csv").contains("line 4"), "{}", of("log.csv"));
    assert!(
        of("two.csv").contains("a date and time, but"),
        "{}",
        of("two.csv")
    );
    for (settings, field) in [
        (json!({ "time": "when" }), "split.time"),
        (json!({ "group": "who" }), "split.group"),
        (
            json!({ "test": 0.2, "time": "when", "group": "who" }),
            "split.time",
        ),
    ] {
        assert_eq!(
            fields(json!({ "train": "a.csv", "split": settings })),
            [field]
        );
    }
    let folds = json!({ "train": "a.csv", "fold": { "of": 2, "index": 0 }, "split": { "test": 0.2, "time": "when" } });
    assert_eq!(fields(folds), ["split.time"]);
}

#[test]
fn a_group_that_both_sides_have_is_told() {
    let folder = folder(&[
        ("train.csv", LOG),
        ("test.csv", "who,text,label\nann,seven,a\ndan,eight,b\n"),
        ("bare.csv", "text,label\nnine,a\n"),
    ]);
    let split = json!({ "validation": 0.4, "group": "who" });
    let loaded = load(
        folder.path(),
        json!({ "train": "train.csv", "test": "test.csv", "more": { "bare": "bare.csv" }, "split": split }),
    )
    .unwrap();
    let told = "1 rows of test belong to groups that train has too: scores on them are too good";
    assert!(
        loaded.warned.iter().any(|line| line == told),
        "{:?}",
        loaded.warned
    );
    let missing = refused(
        folder.path(),
        json!({ "train": "train.csv", "split": { "test": 0.4, "group": "whom" } }),
    );
    assert!(missing.contains("no column `whom`"), "{missing}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_group_is_on_both_sides(groups in prop::collection::vec(0_u32..12, 8..60), seed in any::<u64>(), fold in any::<bool>()) {
        let mut rows = "who,text,label\n".to_owned();
        for (n, group) in groups.iter().enumerate() {
            rows.push_str(&format!("g{group},row {n},x\n"));
        }
        let folder = folder(&[("a.csv", &rows)]);
        prop_assume!(groups.iter().collect::<std::collections::BTreeSet<_>>().len() >= 3);
        let settings = match fold {
            true => json!({ "train": "a.csv", "split": { "group": "who" }, "fold": { "of": 3, "index": 1 } }),
            false => json!({ "train": "a.csv", "split": { "group": "who", "validation": 0.5 } }),
        };
        let loaded = load_with(folder.path(), settings, seed).unwrap();
        let of = |split: &str| -> std::collections::BTreeSet<u32> {
            let ids = loaded.texts(split).id.into_iter();
            ids.map(|id| groups[id as usize]).collect()
        };
        prop_assert!(of("train").is_disjoint(&of("validation")));
    }
}
