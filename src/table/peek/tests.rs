//! Files as they are written elsewhere, and what is seen of them from their beginnings.

use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn look(name: &str, content: impl AsRef<[u8]>) -> Result<Peek, TableError> {
    let (_folder, path) = file(name, content);
    peek(&path, &Ask::default())
}

fn names(peek: &Peek) -> Vec<String> {
    let columns = peek.columns.iter();
    columns.map(|peeked| peeked.column.to_string()).collect()
}

#[test]
fn a_header_does_not_look_like_the_rows() {
    let rows = "good,a bright room\nbad,a dull room\ngood,a warm day\nbad,a cold day\n".repeat(2);
    let bare = look("a.csv", &rows).unwrap();
    assert!(!bare.header);
    assert_eq!((names(&bare), bare.rows), (vec!["0".into(), "1".into()], 8));
    let named = look("a.csv", format!("verdict,remark\n{rows}")).unwrap();
    assert!(named.header);
    assert_eq!(names(&named), ["`verdict`", "`remark`"]);
    assert_eq!(named.rows, 8);
    // A number, an empty field, a field twice, a long text name nothing.
    for first in [
        "3,a text",
        ",",
        "a,a",
        "good,this is a sentence of more than a few words",
    ] {
        let peek = look("a.csv", format!("{first}\n{rows}")).unwrap();
        assert!(!peek.header, "{first}");
    }
    let indexed = look("a.csv", "\"\",text,label\n0,a b,x\n1,c d,y\n").unwrap();
    assert!(indexed.header);
}

#[test]
fn quotes_that_do_not_pair_up_are_characters() {
    let peek = look("a.tsv", "text\tlabel\n\"so he said\t1\n5\" nails\t0\n").unwrap();
    assert_eq!((peek.quote, peek.rows), (None, 2));
    let quoted = look("a.tsv", "text\tlabel\n\"a\tb\"\t1\nc\t0\n").unwrap();
    assert_eq!((quoted.quote, quoted.rows), (Some(b'"'), 2));
    let several = look("a.csv", "text,label\n\"a,\nb\",1\nc,0\n").unwrap();
    assert_eq!(several.rows, 2);
    assert_eq!(several.columns[0].cells[0], text("a,\nb"));
    let said = look("a.csv", "a,b\n1,2\n1,2,3\n").unwrap_err().to_string();
    assert!(said.contains("line 3: 3 fields"), "{said}");
}

#[test]
fn of_a_long_file_the_beginning_is_read() {
    let line = |number: usize| format!("a text, number {number}\t{}\n", number % 3);
    let content: String = (0..300_000).map(line).collect();
    let tsv = look("a.tsv", &content).unwrap();
    assert!(!tsv.whole && tsv.rows == LINES);
    assert_eq!(tsv.quote, None);
    // Its first numbers are shorter.
    assert!(tsv.about.abs_diff(300_000) < 15_000, "{}", tsv.about);

    let row = |number: usize| format!("\"one\n{number}\",{}\n", "y".repeat(500));
    let content: String = (0..10_000).map(row).collect();
    let csv = look("a.csv", &content).unwrap();
    assert!(!csv.whole && csv.quote == Some(b'"'));
    assert!(csv.about.abs_diff(10_000) < 200, "{}", csv.about);

    let row = |number: usize| format!("{{\"text\": \"{}\", \"n\": {number}}}", "é]{".repeat(300));
    let all: Vec<String> = (0..6_000).map(row).collect();
    let json = look("a.json", format!("[{}]", all.join(","))).unwrap();
    assert!(!json.whole && json.rows > 1000);
    assert!(json.about.abs_diff(6_000) < 200, "{}", json.about);
    assert_eq!(look("a.jsonl", all.join("\n")).unwrap().rows, json.rows);
    let sentences = "EU\tB-ORG\nrejects\tO\n\n".repeat(300_000);
    let conll = look("a.tsv", sentences).unwrap();
    assert_eq!((conll.format, conll.whole), (Format::Conll, false));
    assert!(conll.about.abs_diff(300_000) < 100, "{}", conll.about);
}

#[test]
fn questions_are_read_from_a_file_that_is_cut_off() {
    let paragraph = |number: usize| {
        let context = format!("{} {number}", "word ".repeat(200));
        format!(
            r#"{{"context": "{context}", "qas": [{{"id": "{number}", "question": "q?", "answers": [{{"text": "word", "answer_start": 0}}]}}]}}"#
        )
    };
    let all: Vec<String> = (0..6_000).map(paragraph).collect();
    let text = format!(
        r#"{{"version": "v", "data": [{{"title": "t", "paragraphs": [{}]}}]}}"#,
        all.join(", ")
    );
    let peek = look("a.json", text).unwrap();
    assert_eq!(peek.format, Format::Squad);
    assert_eq!(names(&peek), ["`question`", "`context`", "`answers`"]);
    assert!(!peek.whole && peek.rows > 1000 && peek.about.abs_diff(6_000) < 200);
}

#[test]
fn rows_that_are_broken_in_themselves_are_counted() {
    let one = r#"{"context": "ab", "qas": [{"question": "q", "answers": [{"text": "b", "answer_start": 0}]}, {"question": "q", "answers": [{"text": "b", "answer_start": 1}]}]}"#;
    let text = format!(r#"{{"data": [{{"paragraphs": [{one}]}}]}}"#);
    let peek = look("a.json", text).unwrap();
    assert_eq!((peek.rows, peek.broken), (1, 1));
}

#[test]
fn parquet_is_seen_from_all_over() {
    use polars::prelude::*;
    let rows = 40_000_i64;
    let labels: Vec<i64> = (0..rows).map(|row| row / (rows / 2)).collect();
    let texts: Vec<String> = (0..rows).map(|row| format!("text {row}")).collect();
    let mut frame = DataFrame::new(
        rows as usize,
        vec![
            Series::new("text".into(), texts).into_column(),
            Series::new("label".into(), labels).into_column(),
        ],
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.parquet");
    let written = File::create(&path).unwrap();
    ParquetWriter::new(written).finish(&mut frame).unwrap();
    let peek = peek(&path, &Ask::default()).unwrap();
    assert_eq!((peek.about, peek.rows, peek.whole), (40_000, 4000, false));
    let labels = &peek.column("label").unwrap().cells;
    assert_eq!(labels.first(), Some(&Cell::Integer(0)));
    assert_eq!(labels.last(), Some(&Cell::Integer(1)));
    let texts = &peek.column("text").unwrap().cells;
    assert_eq!(texts.last(), Some(&text("text 39999")));
}

#[test]
fn objects_with_other_keys_fill_up() {
    let peek = look("a.json", "{\"a\": 1}\n{\"b\": [1, null]}\n").unwrap();
    assert_eq!(peek.format, Format::Jsonl);
    assert_eq!(peek.columns[0].cells, [Cell::Integer(1), Cell::Null]);
    assert_eq!(
        peek.columns[1].cells,
        [Cell::Null, Cell::List(vec![Cell::Integer(1), Cell::Null])]
    );
    let said = look("a.jsonl", "{\"a\": 1}\n{\"b\"\n").unwrap_err();
    assert!(said.to_string().contains("line 2"), "{said}");
    let said = look("a.json", "[{\"a\": 1},\n{\"b\": 2},\n 3]").unwrap();
    assert_eq!(said.rows, 2);
}

proptest! {
    #[test]
    fn no_content_makes_it_panic(
        content in prop::collection::vec(any::<u8>(), 0..200),
        text in "[\\[\\]{}\",:\t\n\r aOB0-9é-]{0,120}",
        name in prop::sample::select(vec![
            "a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt", "a.conll", "a.parquet", "a", "a.csv.gz", "a.tsv.zst",
        ]),
    ) {
        let _ = look(name, &content);
        let _ = look(name, text);
    }

    #[test]
    fn cut_text_never_makes_it_panic(
        text in "[\\[\\]{}\",:\t\n aOB0-9é-]{0,120}",
        separator in prop::sample::select(vec![b',', b'\t']),
    ) {
        let path = Path::new("data");
        let _ = delimited::peek(path, &text, separator, false, &Ask::default());
        let _ = array(path, &text, false);
        let _ = questions(path, &text, false);
        let _ = sentences(path, &text, false);
        let _ = lines_of_json(path, &text);
    }
}
