//! Operations that bring other words: synonyms, typing mistakes, translations there and back.

use super::*;

fn with_list(settings: Value, lines: &str, train: &Texts) -> Texts {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.tsv");
    std::fs::write(&list, lines).unwrap();
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Table {
        splits: [("train".to_owned(), train.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    let files = [(synonyms::TABLE.to_owned(), list)].into();
    run_with(settings, &[("input", input.path())], files, draft.path()).unwrap();
    table::texts(&Table::open(draft.path()).unwrap().splits["train"]).unwrap()
}

#[test]
fn synonyms_take_the_place_of_words() {
    let train = texts(&[("A good film, GOOD actors", 0)]);
    let settings = json!({ "synonym_replacement": { "rate": 1.0 }, "synonyms": { "file": "x" } });
    let grown = with_list(settings, "good\tfine\nfilm\tmotion picture\n", &train);
    assert_eq!(grown.text[1], "A fine motion picture, FINE actors");
}

#[test]
fn protected_words_stay_whatever_their_case() {
    let train = texts(&[("Good, very good film", 0)]);
    let settings = json!({
        "synonym_replacement": { "rate": 1.0 }, "random_deletion": { "rate": 1.0 }, "character_noise": { "rate": 1.0 },
        "synonyms": { "file": "x" }, "protected": ["GOOD"],
    });
    let grown = with_list(settings, "good\tfine\nfilm\tmovie\n", &train);
    assert_eq!(grown.text[1], "Good, good");
}

#[test]
fn insertion_adds_synonyms_and_keeps_the_rest() {
    let train = texts(&[("one good film of two", 0)]);
    let settings = json!({ "random_insertion": { "rate": 1.0 }, "synonyms": { "file": "x" } });
    let grown = with_list(settings, "good\tfine\nfilm\tmovie\n", &train);
    assert_eq!(
        words(&grown.text[1]),
        words("one good film of two fine movie")
    );
    let mut rest: Vec<&str> = grown.text[1].split(' ').collect();
    rest.retain(|word| !["fine", "movie"].contains(word));
    assert_eq!(rest.join(" "), "one good film of two");
}

#[test]
fn typing_mistakes_change_letters_and_leave_a_word() {
    let train = texts(&[("wonderful, 100 times!", 0), ("a", 0)]);
    let grown = grow(json!({ "character_noise": { "rate": 0.3 } }), &train);
    assert_ne!(grown.text[2], train.text[0]);
    assert_eq!(grown.text[2].split(' ').count(), 3);
    let dropped = grow(
        json!({ "character_noise": { "rate": 1.0, "neighbour": false, "double": false } }),
        &train,
    );
    assert_eq!(dropped.text[2], ", 0 !");
}

#[test]
fn a_translation_is_another_text_and_an_unchanged_one_no_copy() {
    let train = texts(&[("one two", 0), ("three", 1), ("four", 1)]);
    let program = r#"while read -r line; do
        id=$(printf '%s' "$line" | sed 's/.*"id": *\([0-9]*\).*/\1/')
        case "$line" in
            *three*) text=three ;;
            *four*) text='' ;;
            *) text='eins zwei' ;;
        esac
        printf '{"id": %s, "text": "%s"}\n' "$id" "$text"
    done"#;
    let settings = json!({
        "copies": 2,
        "back_translation": { "command": ["sh", "-c", program], "version": "1", "timeout": 20 },
    });
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Table {
        splits: [("train".to_owned(), train.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    let kept = tempfile::tempdir().unwrap();
    let interrupted = AtomicBool::new(false);
    let context = Context {
        stage: "richer",
        seed: 13,
        inputs: [(
            "input",
            Input {
                path: input.path().to_owned(),
                digest: Digest::of(b""),
            },
        )]
        .into(),
        files: Files::new(),
        fetched: &Fetched::default(),
        folder: Path::new("."),
        draft: draft.path(),
        kept: kept.path().to_owned(),
        checkpoints: &Checkpoints::default(),
        device: "flex",
        progress: &Quiet,
        interrupted: &interrupted,
    };
    stage(settings).run(&context).unwrap();
    let grown = table::texts(&Table::open(draft.path()).unwrap().splits["train"]).unwrap();
    // The second copy is worded as the first.
    assert_eq!(grown.text[3..], ["eins zwei"]);
    assert_eq!(grown.label.unwrap()[3..], [0]);
}

#[test]
fn what_cannot_be_is_a_fault() {
    let fields = |settings| {
        let faults = stage(settings).check().into_iter();
        faults.map(|fault| fault.field).collect::<Vec<_>>()
    };
    let swap = json!({});
    for (settings, field) in [
        (
            json!({ "random_swap": swap, "synonyms": { "file": "x" } }),
            "synonyms",
        ),
        (
            json!({ "synonym_replacement": {}, "synonyms": {} }),
            "synonyms",
        ),
        (
            json!({ "synonym_replacement": {}, "synonyms": { "file": "x", "wordnet": "y" } }),
            "synonyms",
        ),
        (
            json!({ "character_noise": { "neighbour": false, "drop": false, "double": false } }),
            "character_noise",
        ),
        (
            json!({ "oversample": {}, "minority_only": true }),
            "minority_only",
        ),
        (json!({ "oversample": {}, "protected": ["a"] }), "protected"),
        (
            json!({ "random_swap": swap, "protected": ["a b"] }),
            "protected",
        ),
        (
            json!({ "random_swap": swap, "classes": { "a": {} } }),
            "classes.a",
        ),
        (
            json!({ "undersample": { "ratio": 0.0 } }),
            "undersample.ratio",
        ),
        (
            json!({ "oversample": { "ratio": 0.0 } }),
            "oversample.ratio",
        ),
        (
            json!({ "word_shuffle": {}, "classes": { "a": { "rate": 0.5 } } }),
            "classes.a.rate",
        ),
        (
            json!({ "back_translation": { "version": "1", "command": ["x"], "pivot": "fr" } }),
            "back_translation.pivot",
        ),
        (
            json!({ "back_translation": { "version": "1" } }),
            "back_translation",
        ),
        (
            json!({ "back_translation": { "version": "1", "url": "x", "command": ["x"] } }),
            "back_translation",
        ),
        (
            json!({ "back_translation": { "version": " ", "command": ["x"] } }),
            "back_translation.version",
        ),
        (
            json!({ "back_translation": { "version": "1", "command": [""] } }),
            "back_translation.command",
        ),
        (
            json!({ "back_translation": { "version": "1", "url": "localhost" } }),
            "back_translation.url",
        ),
        (
            json!({ "back_translation": { "version": "1", "url": "http://" } }),
            "back_translation.url",
        ),
        (
            json!({ "random_swap": swap, "inputs": { "a": 1.0 } }),
            "inputs",
        ),
    ] {
        assert_eq!(fields(settings.clone()), [field], "{settings}");
    }
    let mixed = |weight: f64| {
        let stage: Augment = serde_json::from_value(json!({ "inputs": { "a": weight } })).unwrap();
        stage
            .check()
            .into_iter()
            .map(|fault| fault.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(mixed(0.0), ["inputs.a"]);
    assert!(mixed(0.5).is_empty());
}

#[test]
fn rows_are_sent_to_another_machine_only_with_leave() {
    let leave = |url: &str| {
        let settings = json!({ "back_translation": { "version": "1", "url": url } });
        stage(settings).needs_leave()
    };
    for here in [
        "http://localhost:5000",
        "http://127.0.0.1/x",
        "http://[::1]:80",
        "https://localhost",
    ] {
        assert_eq!(leave(here), None, "{here}");
    }
    for away in [
        "http://example.org",
        "http://localhost.example.org",
        "http://localhost@example.org",
        "http://10.0.0.1:5000",
    ] {
        assert_eq!(leave(away), Some(format!("send its texts to {away:?}")));
    }
}

#[test]
fn what_says_nothing_of_the_result_is_in_no_key() {
    let of = |settings| stage(settings).settings();
    let plain = of(json!({ "back_translation": { "version": "1", "url": "http://a" } }));
    let other = of(json!({
        "back_translation": { "version": "1", "url": "http://b", "batch": 3, "timeout": 5 },
    }));
    assert_eq!(plain, other);
    let newer = of(json!({ "back_translation": { "version": "2", "url": "http://a" } }));
    assert_ne!(plain, newer);
}
