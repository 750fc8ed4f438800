//! What is guessed of files that are written here, and that no file makes the guessing fall over.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn guessed(files: &[(&str, &str)], known: &Known) -> Result<Guess, InitError> {
    let folder = folder(files);
    guess(&files::of_folder(folder.path())?, known)
}

fn of(name: &str, content: &str) -> Result<Guess, InitError> {
    guessed(&[(name, content)], &Known::default())
}

/// Field = column, in order.
fn columns(guess: &Guess) -> String {
    let columns = guess.rows.columns().into_iter();
    let columns = columns.map(|(field, column)| format!("{field} {column}"));
    columns.collect::<Vec<_>>().join(", ")
}

fn message(guess: Result<Guess, InitError>) -> String {
    guess.unwrap_err().to_string()
}

fn csv(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let rows = (0..rows).map(row).collect::<Vec<_>>();
    format!("{header}\n{}\n", rows.join("\n"))
}

#[test]
fn a_column_of_few_repeated_values_is_the_label_whatever_it_is_called() {
    let row = |n: usize| format!("{n},the room number {n} was fine,{}", ["x", "y"][n % 2]);
    let guess = of("a.csv", &csv("nr,remark,verdict", 40, row)).unwrap();
    assert_eq!(guess.task, Task::Classification);
    assert_eq!(columns(&guess), "text `remark`, label `verdict`");
    assert_eq!(
        guess.labels,
        [("x".to_owned(), 20), ("y".to_owned(), 20)].into()
    );
    assert_eq!(guess.cut, [SHARE_OF_FEW; 2]);
}

#[test]
fn two_columns_that_could_be_the_label_are_an_error_that_says_what_was_seen() {
    let row = |n: usize| {
        format!(
            "the room number {n} was fine,{},{}",
            n % 2,
            ["en", "de"][n % 2]
        )
    };
    let text = csv("remark,mood,language", 40, row);
    let said = message(of("a.csv", &text));
    assert!(said.contains("`mood`, `language` could all be"), "{said}");
    assert!(
        said.contains("`remark` (\"the room number 0 was fine\")"),
        "{said}"
    );
    let known = Known {
        label: Some("mood"),
        ..Known::default()
    };
    let guess = guessed(&[("a.csv", &text)], &known).unwrap();
    assert_eq!(columns(&guess), "text `remark`, label `mood`");
    let known = Known {
        label: Some("moods"),
        ..Known::default()
    };
    let said = message(guessed(&[("a.csv", &text)], &known));
    assert!(
        said.contains("`--label` names the column `moods`"),
        "{said}"
    );
}

#[test]
fn names_tell_pairs_texts_and_labels() {
    let row = |n: usize| format!("{n},a man walks in park {n},a man is outside {n},{}", n % 3);
    let guess = of(
        "a.csv",
        &csv("pairID,premise,hypothesis,gold_label", 30, row),
    )
    .unwrap();
    assert_eq!(
        columns(&guess),
        "text `premise`, text_pair `hypothesis`, label `gold_label`"
    );
    // A text that has a name of its own is none of a pair, however long another is.
    let row = |n: usize| {
        format!(
            "title of {n},this is what the long text number {n} says,{}",
            n % 3
        )
    };
    let guess = of("a.csv", &csv("title,text,label", 30, row)).unwrap();
    assert_eq!(columns(&guess), "text `text`, label `label`");
}

#[test]
fn two_texts_without_names_are_read_in_their_order() {
    let row = |n: usize| {
        format!(
            "\"{}\",\"fears for number {n}\",\"the unions say that number {n} is at risk today\"",
            n % 4 + 1
        )
    };
    let rows = (0..40).map(row).collect::<Vec<_>>().join("\n");
    let guess = of("a.csv", &rows).unwrap();
    assert!(!guess.header);
    assert_eq!(columns(&guess), "text 1, text_pair 2, label 0");
}

#[test]
fn several_labels_a_row_are_lists_or_separated() {
    let row = |n: usize| {
        let labels = [&["1"][..], &["2"], &["1", "3"], &["3", "2", "1"]][n % 4].join("|");
        format!("a comment number {n},{labels}")
    };
    let guess = of("a.csv", &csv("comment,marks", 40, row)).unwrap();
    assert_eq!(guess.task, Task::MultiLabel);
    assert!(matches!(
        &guess.rows,
        Rows::Texts { gold: Some(Gold::Labels { separator, .. }), .. } if separator == "|"
    ));
    assert_eq!(guess.labels["1"], 30);
    let lists: String = (0..20)
        .map(|n| {
            format!(
                "{{\"text\": \"a comment number {n}\", \"emotions\": [{}]}}\n",
                n % 3
            )
        })
        .collect();
    let guess = of("a.jsonl", &lists).unwrap();
    assert_eq!((guess.task, guess.labels.len()), (Task::MultiLabel, 3));
    assert_eq!(columns(&guess), "text `text`, labels `emotions`");
}

#[test]
fn numbers_with_many_values_are_targets() {
    let row = |n: usize| {
        format!(
            "a plane takes off {n},a plane is leaving {n},{}.{}",
            n % 5,
            n % 10
        )
    };
    let guess = of("a.csv", &csv("sentence1,sentence2,score", 60, row)).unwrap();
    assert_eq!(guess.task, Task::Regression);
    assert_eq!(
        columns(&guess),
        "text `sentence1`, text_pair `sentence2`, target `score`"
    );
    let row = |n: usize| {
        format!(
            "a day like number {n},{},{}",
            n as f64 / 7.0,
            n as f64 / 3.0
        )
    };
    let guess = of("a.csv", &csv("entry,valence,arousal", 60, row)).unwrap();
    assert_eq!(
        columns(&guess),
        "text `entry`, target `valence`, target `arousal`"
    );
    // Stars from 1 to 5 are classes, until someone says otherwise.
    let text = csv("review,stars", 60, |n| {
        format!("a place like number {n},{}", n % 5 + 1)
    });
    assert_eq!(of("a.csv", &text).unwrap().task, Task::Classification);
    let known = Known {
        task: Some(Task::Regression),
        ..Known::default()
    };
    let guess = guessed(&[("a.csv", &text)], &known).unwrap();
    assert_eq!(columns(&guess), "text `review`, target `stars`");
}

#[test]
fn lists_of_words_with_lists_as_long_are_tags() {
    let row = |n: usize| {
        format!(
            "{{\"id\": \"{n}\", \"tokens\": [\"New\", \"York\", \"{n}\"], \"pos_tags\": [1, 1, 2], \"ner_tags\": [3, 4, 0]}}\n"
        )
    };
    let rows: String = (0..12).map(row).collect();
    let guess = of("a.jsonl", &rows).unwrap();
    assert_eq!(guess.task, Task::TokenClassification);
    assert_eq!(columns(&guess), "tokens `tokens`, tags `ner_tags`");
    assert_eq!(guess.labels["4"], 12);
    let known = Known {
        label: Some("pos_tags"),
        ..Known::default()
    };
    let guess = guessed(&[("a.jsonl", &rows)], &known).unwrap();
    assert_eq!(columns(&guess), "tokens `tokens`, tags `pos_tags`");
}

#[test]
fn questions_with_answers_are_told_by_their_columns() {
    let row = |n: usize| {
        format!(
            "{{\"question\": \"who {n}?\", \"context\": \"it was Ada {n}\", \"answers\": {{\"text\": [\"Ada\"], \"answer_start\": [7]}}}}\n"
        )
    };
    let rows: String = (0..12).map(row).collect();
    let guess = of("a.jsonl", &rows).unwrap();
    assert_eq!(guess.task, Task::QuestionAnswering);
    assert_eq!(
        columns(&guess),
        "question `question`, context `context`, answers `answers`"
    );
}

#[test]
fn a_rare_class_is_given_weight_and_repeated_rows_are_counted() {
    let row = |n: usize| {
        let text = if n < 3 { 7 } else { n };
        format!(
            "a message of number {text},{}",
            if n.is_multiple_of(20) { "spam" } else { "ham" }
        )
    };
    let guess = of("a.csv", &csv("text,label", 200, row)).unwrap();
    assert!(guess.imbalanced && guess.recipe.by_f1);
    assert_eq!(guess.repeated, 3);
    let even = of(
        "a.csv",
        &csv("text,label", 200, |n| format!("a message of {n},{}", n % 2)),
    );
    assert!(!even.unwrap().imbalanced);
}

#[test]
fn rows_without_a_label_are_counted_as_broken() {
    let row = |n: usize| {
        format!(
            "a message of number {n},{}",
            if n == 5 { "" } else { ["a", "b"][n % 2] }
        )
    };
    let broken = csv("text,label", 40, row);
    assert_eq!(of("a.csv", &broken).unwrap().broken, 1);
    let sound = |n: usize| format!("a message of number {n},{}", ["a", "b"][n % 2]);
    let sound = csv("text,label", 40, sound);
    // Of the other splits too, since they are read by the same settings.
    let files = [("train.csv", sound.as_str()), ("test.csv", broken.as_str())];
    let guess = guessed(&files, &Known::default()).unwrap();
    assert_eq!((guess.broken, guess.judged, guess.looked_at), (1, 80, 40));
}

#[test]
fn names_of_labels_are_taken_where_they_fit() {
    let row = |n: usize| format!("a message of number {n},{}", n % 3);
    let text = csv("text,label", 30, row);
    let with = |names: &str| {
        let files = [("train.csv", text.as_str()), ("labels.txt", names)];
        guessed(&files, &Known::default()).unwrap().label_names
    };
    let (names, from) = with("red\ngreen\nblue\n").unwrap();
    assert_eq!((names.len(), from.as_str()), (3, "labels.txt"));
    assert_eq!(with("red\ngreen\n"), None);
    let card = Known {
        class_names: [("label".to_owned(), vec!["r".into(), "g".into(), "b".into()])].into(),
        ..Known::default()
    };
    let (names, from) = guessed(&[("train.csv", &text)], &card)
        .unwrap()
        .label_names
        .unwrap();
    assert_eq!(names, ["r", "g", "b"]);
    assert!(from.contains("card"));
}

#[test]
fn a_test_file_without_labels_is_not_used() {
    let train = csv("text,label", 30, |n| format!("a message of {n},{}", n % 3));
    let bare = csv("text,id", 30, |n| format!("another message of {n},{n}"));
    let withheld = csv("text,label", 30, |n| format!("another message of {n},-1"));
    for (test, why) in [(bare, "no column `label`"), (withheld, "withheld")] {
        let files = [("train.csv", train.as_str()), ("test.csv", test.as_str())];
        let guess = guessed(&files, &Known::default()).unwrap();
        assert!(guess.files.test.is_empty() && guess.cut[1] > 0.0);
        assert!(guess.unused[0].1.contains(why), "{:?}", guess.unused);
    }
}

#[test]
fn a_quote_that_is_none_in_one_file_is_none_in_any() {
    let train = csv("text\tlabel", 30, |n| {
        format!("a message of {n}\t{}", n % 3)
    });
    let test = csv("text\tlabel", 30, |n| {
        format!("a 5\" message of {n}\t{}", n % 3)
    });
    let files = [("train.tsv", train.as_str()), ("test.tsv", test.as_str())];
    assert_eq!(guessed(&files, &Known::default()).unwrap().quote, None);
    assert_eq!(of("train.tsv", &train).unwrap().quote, Some(b'"'));
}

#[test]
fn what_cannot_be_learnt_from_is_said_with_its_columns() {
    let said = message(of("a.csv", &csv("a;b", 5, |n| format!("{n};text"))));
    assert!(
        said.contains("`a;b`") && said.contains("write commas or tabs"),
        "{said}"
    );
    let said = message(of("a.txt", "one line of text\nanother line of text\n"));
    assert!(said.contains("`text` (\"one line of text\")"), "{said}");
    let known = Known {
        task: Some(Task::TokenClassification),
        ..Known::default()
    };
    let said = message(guessed(&[("a.csv", "text,label\na b,1\nc d,2\n")], &known));
    assert!(said.contains("lists of words"), "{said}");
    let known = Known {
        task: Some(Task::Classification),
        ..Known::default()
    };
    let said = message(guessed(
        &[("a.conll", "EU B-ORG\nsays O\n\nso O\n")],
        &known,
    ));
    assert!(said.contains("data for token_classification"), "{said}");
}

proptest! {
    #[test]
    fn no_content_makes_it_panic(
        text in "[\\[\\]{}\",:\t\n aOB0-9é.|-]{0,160}",
        rows in prop::collection::vec(prop::collection::vec("[a-c1-3 |,.]{0,8}", 1..4), 0..12),
        name in prop::sample::select(vec!["a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt", "a.conll"]),
        task in prop::sample::select(vec![
            None, Some(Task::Classification), Some(Task::MultiLabel), Some(Task::TokenClassification),
            Some(Task::QuestionAnswering), Some(Task::Regression),
        ]),
    ) {
        let known = Known { task, ..Known::default() };
        let _ = guessed(&[(name, &text)], &known);
        let lines = rows.iter().map(|row| row.join("\t")).collect::<Vec<_>>().join("\n");
        let _ = guessed(&[("a.tsv", &lines)], &known);
        let objects = rows.iter().map(|row| {
            let fields = row.iter().enumerate().map(|(n, text)| format!("\"{n}\": \"{}\"", text.replace('"', "")));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        });
        let _ = guessed(&[("a.jsonl", &objects.collect::<Vec<_>>().join("\n"))], &known);
    }
}
