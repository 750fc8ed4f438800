//! Claims about rows with all their columns.

use proptest::prelude::*;

use super::*;
use crate::table::Cells;
use crate::table::answered::AnsweredWriter;

fn texts() -> Wanting {
    Wanting::Texts {
        text: None,
        pair: None,
    }
}

fn source(file: &Path, format: Format) -> Source<'_> {
    Source {
        file,
        format,
        header: true,
    }
}

fn survey_of(file: &Path, format: Format, wanting: &Wanting) -> Result<Survey, TableError> {
    let found = survey(&source(file, format), wanting, &mut || true);
    found.map(|found| found.unwrap())
}

/// The texts of a file, and the JSON of what is kept of each row.
fn read(
    file: &Path,
    format: Format,
    wanting: &Wanting,
    most: usize,
) -> Result<Vec<(String, Vec<String>)>, TableError> {
    let found = survey_of(file, format, wanting)?;
    let names: Vec<String> = found.columns.iter().map(|(name, _)| name.clone()).collect();
    let rows = wanting.among(file, &names)?;
    let mut reader = RecordReader::open(&source(file, format), rows, names)?;
    let mut all = Vec::new();
    while let Some(records) = reader.next_records(most)? {
        assert!((1..=most).contains(&records.raw.len()));
        for (row, text) in records.raw.texts().enumerate() {
            let kept = records.kept.iter().map(|(_, cells)| &cells[row]);
            let kept = kept.map(|cell| serde_json::to_string(cell).unwrap());
            all.push((text.to_owned(), kept.collect()));
        }
    }
    assert_eq!(all.len(), found.rows);
    Ok(all)
}

fn file(folder: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn every_format_gives_the_same_rows_whatever_the_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let csv: String = (0..100)
        .map(|n| format!("{n},\"a, \"\"{n}\"\"\nb\"\n"))
        .collect();
    let object = |n: usize| format!("{{\"n\": \"{n}\", \"text\": \"a, \\\"{n}\\\"\\nb\"}}");
    let objects: Vec<String> = (0..100).map(object).collect();
    let csv = file(&folder, "a.csv", format!("n,text\n{csv}"));
    let lines = file(&folder, "a.jsonl", objects.join("\n\n"));
    let array = file(
        &folder,
        "a.json",
        format!(" [ {} ]\n", objects.join(" ,\n")),
    );
    let wanted = read(&csv, Format::Csv, &texts(), 1000).unwrap();
    assert_eq!(wanted[7].0, "a, \"7\"\nb");
    assert_eq!(wanted[7].1[0], "\"7\"");
    for most in [1, 7, 99, 100, 101] {
        assert_eq!(read(&csv, Format::Csv, &texts(), most).unwrap(), wanted);
        assert_eq!(read(&lines, Format::Jsonl, &texts(), most).unwrap(), wanted);
        assert_eq!(read(&array, Format::Json, &texts(), most).unwrap(), wanted);
    }
}

#[test]
fn what_is_written_is_read_again_with_its_types() {
    let folder = tempfile::tempdir().unwrap();
    let from = file(
        &folder,
        "a.jsonl",
        "{\"text\": \"x\", \"n\": 7, \"f\": 0.5, \"b\": true, \"l\": [1, \"a\"], \"none\": null}\n\
         {\"f\": 2, \"text\": \"y, \\\"z\\\"\", \"late\": \"é\"}\n",
    );
    let found = survey_of(&from, Format::Jsonl, &texts()).unwrap();
    use ValueKind::*;
    let kinds: Vec<ValueKind> = found.columns.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, [Text, Integer, Float, Boolean, Mixed, Nothing, Text]);
    for format in [
        Format::Csv,
        Format::Tsv,
        Format::Json,
        Format::Jsonl,
        Format::Parquet,
    ] {
        for most in [1, 10] {
            let to = folder.path().join(format!("b.{format}"));
            let names: Vec<String> = found.columns.iter().map(|(name, _)| name.clone()).collect();
            let rows = texts().among(&from, &names).unwrap();
            let mut reader =
                RecordReader::open(&source(&from, Format::Jsonl), rows, names).unwrap();
            let mut writer = AnsweredWriter::to_file(&to, format, found.columns.clone()).unwrap();
            while let Some(records) = reader.next_records(most).unwrap() {
                let rows = records.raw.len();
                assert!(!to.exists());
                let sure = ("sure".to_owned(), Cells::Floats(vec![0.25; rows]));
                writer.add(records.kept, vec![sure]).unwrap();
            }
            writer.finish().unwrap();
            let again = read(&to, format, &texts(), 10).unwrap();
            std::fs::remove_file(&to).unwrap();
            assert_eq!(again[1].0, "y, \"z\"");
            let n = &again[0].1[1];
            match format {
                Format::Csv | Format::Tsv => assert_eq!(n, "\"7\""),
                _ => assert_eq!(n, "7"),
            }
            let list = &again[0].1[4];
            match format {
                Format::Json | Format::Jsonl => assert_eq!(list, "[1,\"a\"]"),
                _ => assert_eq!(list, "\"[1,\\\"a\\\"]\""),
            }
            assert_eq!(again[1].1[6], "\"é\"", "{format}");
            assert_eq!(again[0].1.len(), 8, "{format}");
        }
    }
}

#[test]
fn a_parquet_file_of_many_slices_is_whole_and_says_which_row_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let texts_of = |n: usize| {
        (0..n)
            .map(|n| (n != 40).then(|| format!("text {n}")))
            .collect()
    };
    crate::table::write_columns(&path, vec![("text".to_owned(), Cells::Texts(texts_of(40)))])
        .unwrap();
    let rows = read(&path, Format::Parquet, &texts(), 7).unwrap();
    assert_eq!(rows.len(), 40);
    assert_eq!(rows[39].0, "text 39");
    crate::table::write_columns(&path, vec![("text".to_owned(), Cells::Texts(texts_of(60)))])
        .unwrap();
    let error = read(&path, Format::Parquet, &texts(), 7)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("a.parquet, row 41, column `text`: no value"),
        "{error}"
    );
}

#[test]
fn a_compressed_file_is_read_piece_by_piece_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let csv: String = (0..30_000)
        .map(|n| format!("{n},some text {n}\n"))
        .collect();
    std::io::Write::write_all(&mut packed, format!("n,text\n{csv}").as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let path = file(&folder, "a.csv.gz", &packed);
    let rows = read(&path, Format::Csv, &texts(), 1000).unwrap();
    assert_eq!(rows[29_999].0, "some text 29999");
    let cut = file(&folder, "cut.csv.gz", &packed[..packed.len() / 2]);
    let error = read(&cut, Format::Csv, &texts(), 1000)
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot be unpacked as gzip"), "{error}");
}

#[test]
fn what_is_broken_is_named_by_file_row_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, Format, &[u8], &str); 15] = [
        (
            "a.csv",
            Format::Csv,
            b"text,n\nx,1\ny\n",
            "line 3: 1 field instead of 2",
        ),
        (
            "b.csv",
            Format::Csv,
            b"text\n\xff\n",
            "line 2: not UTF-8 (byte 0xff)",
        ),
        ("c.csv", Format::Csv, b"body,n\nx,1\n", "no column `text`"),
        (
            "d.csv",
            Format::Csv,
            b"text,n,n\nx,1,2\n",
            "two columns are named `n`",
        ),
        (
            "e.csv",
            Format::Csv,
            b"text,n\n",
            "has a header and no rows",
        ),
        ("f.csv", Format::Csv, b"", "is empty"),
        (
            "a.jsonl",
            Format::Jsonl,
            b"{\"text\": \"x\"}\n\n{\"text\":\n",
            "line 3: not JSON",
        ),
        (
            "b.jsonl",
            Format::Jsonl,
            b"{\"text\": \"x\"}\n[1]\n",
            "line 2: not an object",
        ),
        (
            "c.jsonl",
            Format::Jsonl,
            b"{\"text\": \"x\"}\n{\"n\": 1}\n",
            "line 2, column `text`: no value",
        ),
        (
            "d.jsonl",
            Format::Jsonl,
            b"{\"text\": \"x\"}\n{\"text\": 1}\n",
            "line 2, column `text`: the integer 1 instead of text",
        ),
        ("e.jsonl", Format::Jsonl, b"\n\n", "is empty"),
        (
            "a.json",
            Format::Json,
            b"[{\"text\": \"x\"}, {\"text\": null}]",
            "row 2, column `text`: no value",
        ),
        (
            "b.json",
            Format::Json,
            b"[{\"text\": \"x\"}, 7]",
            "row 2: not an object",
        ),
        (
            "c.json",
            Format::Json,
            b"[{\"text\": \"x\"}\n",
            "line 2: not JSON: the array is never closed",
        ),
        (
            "a.parquet",
            Format::Parquet,
            b"PAR1 and more",
            "it does not end with PAR1",
        ),
    ];
    for (name, format, content, told) in cases {
        let path = file(&folder, name, content);
        let error = survey_of(&path, format, &texts()).unwrap_err().to_string();
        assert!(
            error.contains(told) && error.contains(name),
            "{name}: {error}"
        );
    }
}

#[test]
fn columns_are_found_by_their_usual_names_or_by_those_given() {
    let there = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let among = |wanting: &Wanting, names: &[&str]| {
        let found = wanting.among(Path::new("f"), &there(names));
        found.map(|rows| {
            rows.columns()
                .into_iter()
                .map(|(_, name)| name.clone())
                .collect::<Vec<_>>()
        })
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(among(&texts(), &["id", "text"]).unwrap(), ["text"]);
    assert_eq!(
        among(&texts(), &["text_pair", "text"]).unwrap(),
        ["text", "text_pair"]
    );
    assert_eq!(among(&texts(), &["only"]).unwrap(), ["only"]);
    assert!(among(&texts(), &["a", "b"]).is_err());
    let named = Wanting::Texts {
        text: some("b"),
        pair: some("a"),
    };
    assert_eq!(among(&named, &["a", "b", "text"]).unwrap(), ["b", "a"]);
    assert!(among(&named, &["b"]).is_err());
    let words = |text, words| Wanting::Words { text, words };
    assert_eq!(among(&words(None, None), &["tokens"]).unwrap(), ["tokens"]);
    assert_eq!(
        among(&words(None, None), &["tokens", "text"]).unwrap(),
        ["text"]
    );
    assert_eq!(
        among(&words(None, some("tokens")), &["tokens", "text"]).unwrap(),
        ["tokens"]
    );
    let asked = Wanting::Questions {
        question: None,
        context: some("c"),
    };
    assert_eq!(
        among(&asked, &["question", "c"]).unwrap(),
        ["question", "c"]
    );
    let error = among(&asked, &["question", "text_pair"]).unwrap_err();
    assert!(error.to_string().contains("no column `c`"));
}

#[test]
fn a_list_of_words_is_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        &folder,
        "a.jsonl",
        "{\"tokens\": [\"Ada\", \"Oslo\"]}\n{\"tokens\": [\"x\"]}\n",
    );
    let wanting = Wanting::Words {
        text: None,
        words: None,
    };
    let rows = wanting.among(&path, &["tokens".to_owned()]).unwrap();
    let mut reader = RecordReader::open(&source(&path, Format::Jsonl), rows, Vec::new()).unwrap();
    let records = reader.next_records(10).unwrap().unwrap();
    let words: Vec<Vec<&str>> = records.raw.words().unwrap().collect();
    assert_eq!(words, [vec!["Ada", "Oslo"], vec!["x"]]);
    assert_eq!(records.raw.texts().next(), Some("Ada Oslo"));
}

proptest! {
    #[test]
    fn an_array_is_cut_where_serde_would_cut_it(
        texts in proptest::collection::vec("[\\[\\]{}\",\\\\ a\n]{0,12}", 1..8),
        most in 1_usize..4,
    ) {
        let objects: Vec<serde_json::Value> =
            texts.iter().map(|text| serde_json::json!({"text": text, "in": [{"d": text}]})).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, "a.json", serde_json::to_string_pretty(&objects).unwrap());
        let rows = read(&path, Format::Json, &self::texts(), most).unwrap();
        let read: Vec<&String> = rows.iter().map(|(text, _)| text).collect();
        prop_assert_eq!(read, texts.iter().collect::<Vec<_>>());
    }
}
