//! Claims about rows that are handed back.

use super::*;
use crate::table::Span;

fn answers(rows: usize) -> Vec<(String, Cells)> {
    let span = Span {
        label: None,
        start: 3,
        end: 7,
        text: "Oslo".to_owned(),
        score: 0.5,
    };
    vec![
        (
            "predicted".to_owned(),
            Cells::Texts(vec![Some("a \"b\"".to_owned()); rows]),
        ),
        (
            "all".to_owned(),
            Cells::TextLists(vec![Some(vec!["x".to_owned()]); rows]),
        ),
        ("n_best".to_owned(), Cells::Spans(vec![vec![span]; rows])),
        ("p".to_owned(), Cells::Floats(vec![0.1; rows])),
        ("y".to_owned(), Cells::Numbers(vec![Some(1.5); rows])),
    ]
}

fn kept() -> Vec<(String, ValueKind)> {
    vec![("id".to_owned(), ValueKind::Integer)]
}

fn written(format: Format, pieces: &[usize]) -> String {
    let mut bytes = Vec::new();
    let mut writer = AnsweredWriter::to_stream(&mut bytes, Path::new("out"), format, kept());
    let mut next = 0_i64;
    for &rows in pieces {
        let ids = (next..next + rows as i64).map(Cell::Integer).collect();
        next += rows as i64;
        writer
            .add(vec![("id".to_owned(), ids)], answers(rows))
            .unwrap();
    }
    writer.finish().unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn each_format_says_the_same() {
    let object = |id: usize| {
        format!(
            "{{\"id\":{id},\"predicted\":\"a \\\"b\\\"\",\"all\":[\"x\"],\
             \"n_best\":[{{\"start\":3,\"end\":7,\"text\":\"Oslo\",\"score\":0.5}}],\"p\":0.1,\"y\":1.5}}"
        )
    };
    assert_eq!(
        written(Format::Jsonl, &[2]),
        format!("{}\n{}\n", object(0), object(1))
    );
    assert_eq!(
        written(Format::Json, &[1]),
        format!("[\n{}\n]\n", object(0))
    );
    let csv = written(Format::Csv, &[1]);
    assert_eq!(
        csv,
        "id,predicted,all,n_best,p,y\n0,\"a \"\"b\"\"\",\"[\"\"x\"\"]\",\
         \"[{\"\"start\"\":3,\"\"end\"\":7,\"\"text\"\":\"\"Oslo\"\",\"\"score\"\":0.5}]\",0.1,1.5\n"
    );
}

#[test]
fn pieces_do_not_show() {
    for format in [Format::Csv, Format::Tsv, Format::Json, Format::Jsonl] {
        let whole = written(format, &[6]);
        for pieces in [&[1, 2, 3][..], &[0, 6], &[5, 0, 1]] {
            assert_eq!(written(format, pieces), whole, "{format} {pieces:?}");
        }
    }
    let array: Vec<serde_json::Value> = serde_json::from_str(&written(Format::Json, &[])).unwrap();
    assert!(array.is_empty());
    assert!(written(Format::Csv, &[0]).starts_with("id,predicted"));
}

#[test]
fn a_file_is_there_whole_or_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Csv, Format::Parquet] {
        let path = folder.path().join(format!("a.{format}"));
        std::fs::write(&path, "old").unwrap();
        let mut writer = AnsweredWriter::to_file(&path, format, kept()).unwrap();
        let ids = || vec![("id".to_owned(), vec![Cell::Integer(0)])];
        writer.add(ids(), answers(1)).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        let mut writer = AnsweredWriter::to_file(&path, format, kept()).unwrap();
        writer.add(ids(), answers(1)).unwrap();
        writer.finish().unwrap();
        assert!(std::fs::read(&path).unwrap().len() > 20);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(AnsweredWriter::to_file(&folder.path().join("no/b.csv"), Format::Csv, kept()).is_err());
}

#[test]
fn times_are_written_as_people_write_them() {
    use crate::table::moment::Moment;
    let text = |moment: Moment| json_of(&Cell::Time(moment));
    assert_eq!(text(Moment::Date(19_844)), "\"2024-05-01\"");
    assert_eq!(
        text(Moment::DateTime(1_714_566_600_000_000_000)),
        "\"2024-05-01T12:30:00\""
    );
    assert_eq!(
        text(Moment::Instant(1_714_566_600_000_000_000)),
        "\"2024-05-01T12:30:00Z\""
    );
}
