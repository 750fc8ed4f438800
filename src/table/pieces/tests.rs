//! Claims about reading a user's file piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::table::columns::{Beside, Column, Gold};
use crate::table::read::read;

fn layout(header: bool, quote: bool, skip_invalid: bool) -> Layout {
    Layout {
        format: Format::Csv,
        header,
        quote: quote.then_some(b'"'),
        rows: Rows::Texts {
            text: Column::Number(0),
            text_pair: None,
            gold: Some(Gold::Label(Column::Number(1))),
        },
        id: None,
        skip_invalid,
        beside: Beside::default(),
    }
}

/// Number, place, text and label of each row.
type Told = (usize, String, String, String);

fn told(raw: &Raw, before: usize) -> Vec<Told> {
    let rows = raw.numbers().zip(raw.texts()).zip(raw.labels().unwrap());
    let row = |(row, ((number, text), label)): (usize, ((usize, &str), &str))| {
        let place = raw.place(row).to_string();
        (before + number, place, text.to_owned(), label.to_owned())
    };
    rows.enumerate().map(row).collect()
}

fn in_pieces(file: &Path, layout: &Layout, at_once: usize) -> Result<Vec<Raw>, TableError> {
    let mut pieces = Pieces::open(file, layout, at_once)?;
    let mut all = Vec::new();
    while let Some(piece) = pieces.next_piece()? {
        all.push(piece);
    }
    Ok(all)
}

fn rows_of(pieces: &[Raw]) -> Vec<Told> {
    let (mut all, mut before) = (Vec::new(), 0);
    for piece in pieces {
        // A piece without rows has no columns.
        if !piece.is_empty() {
            all.extend(told(piece, before));
        }
        before += piece.rows_of_file();
    }
    all
}

fn summary(pieces: Vec<Raw>) -> Raw {
    let mut summary = Summary::default();
    for piece in pieces {
        summary.add(piece);
    }
    summary.into_raw().unwrap()
}

#[test]
fn a_row_longer_than_a_piece_is_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    let long = "line\n".repeat(100);
    std::fs::write(
        &file,
        format!("\u{feff}text,label\n\"{long}\",a\nb,c\n\n\n"),
    )
    .unwrap();
    let layout = layout(true, true, false);
    let pieces = in_pieces(&file, &layout, 8).unwrap();
    let rows = rows_of(&pieces);
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].2.as_str(), rows[1].3.as_str()), (&*long, "c"));
    assert!(rows[1].1.ends_with("line 103"), "{}", rows[1].1);
}

#[test]
fn a_quote_that_is_never_closed_does_not_take_the_rest_of_the_file_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    let rows = "some text,a\n".repeat(2_000);
    let layout = layout(true, true, false);
    for before in ["", "text,label\n", "text,label\nsome text,a\n"] {
        std::fs::write(&file, format!("{before}\"open,a\n{rows}{rows}")).unwrap();
        let mut pieces = Pieces::open(&file, &layout, 100).unwrap();
        pieces.chunks.records.longest = 1_000;
        let taken = Arc::new(AtomicUsize::new(0));
        pieces.chunks.source =
            Box::new(Counted(std::fs::File::open(&file).unwrap(), taken.clone()));
        let error = loop {
            match pieces.next_piece() {
                Ok(piece) => assert!(piece.is_some()),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(error, read(&file, &layout).unwrap_err().to_string());
        let taken = taken.load(Ordering::Relaxed);
        assert!((1_000..=1_300).contains(&taken), "{taken} bytes");
    }
}

/// Says how much was read of it.
struct Counted(std::fs::File, Arc<AtomicUsize>);

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(into)?;
        self.1.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

#[test]
fn pieces_are_small_again_after_a_long_row() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    let long = "line\n".repeat(5_000);
    let rows = "some text,a\n".repeat(5_000);
    std::fs::write(&file, format!("text,label\n\"{long}\",a\n{rows}")).unwrap();
    let layout = layout(true, true, false);
    let mut sizes: Vec<usize> = in_pieces(&file, &layout, 120)
        .unwrap()
        .iter()
        .map(Raw::len)
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 5_001);
    // The piece that the long row begins may have what was read with it.
    sizes.remove(0);
    assert!(sizes.iter().all(|&rows| rows <= 10), "{sizes:?}");
}

#[test]
fn a_piece_of_short_rows_ends_after_so_many_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    let rows = MOST_ROWS * 2 + 5;
    std::fs::write(&file, "x,a\n".repeat(rows) + "\n\n").unwrap();
    let layout = layout(false, true, false);
    let pieces = in_pieces(&file, &layout, 1 << 30).unwrap();
    let sizes: Vec<usize> = pieces.iter().map(Raw::len).collect();
    assert_eq!(sizes, [MOST_ROWS, MOST_ROWS, 5]);
    assert_eq!(rows_of(&pieces), told(&read(&file, &layout).unwrap(), 0));
}

#[test]
fn what_is_broken_far_into_the_file_is_named_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    let rows = "some text,a\n".repeat(200);
    let message = |text: &[u8]| {
        std::fs::write(&file, text).unwrap();
        let layout = layout(true, true, false);
        let error = in_pieces(&file, &layout, 50).unwrap_err().to_string();
        assert_eq!(error, read(&file, &layout).unwrap_err().to_string());
        error
    };
    let broken = |end: &str| format!("text,label\n{rows}{end}").into_bytes();
    assert!(message(&broken("x,y,z\n")).contains("line 202"));
    assert!(message(&broken("\nx,y\n")).contains("line 202: blank line"));
    assert!(message(&broken("x,\n")).contains("line 202"));
    assert!(message(&broken(&format!("x,\"y\n{rows}"))).contains("line 202"));
    let mut bytes = broken("x,y");
    bytes.push(0xe9);
    assert!(message(&bytes).contains("line 202: not UTF-8"));
    assert!(message(b"").contains("is empty"));
    assert!(message(b"\n\n").contains("is empty"));
    assert!(message(b"text,label\n\n").contains("no rows"));
    assert!(message(b"text\nx\n").contains("1"));
}

#[test]
fn a_summary_has_a_row_for_each_label_and_the_counts_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    let row = |row: usize| match row % 10 {
        9 => format!("text {row},\n"),
        _ => format!("text {row},label {}\n", row / 40),
    };
    let rows: String = (0..200).map(row).collect();
    std::fs::write(&file, format!("text,label\n{rows}")).unwrap();
    let layout = layout(true, true, true);
    let whole = read(&file, &layout).unwrap();
    let pieces = in_pieces(&file, &layout, 64).unwrap();
    assert!(pieces.len() > 20);
    let summary = summary(pieces);
    assert_eq!(summary.rows_of_file(), whole.rows_of_file());
    assert_eq!(summary.skipped, whole.skipped);
    assert_eq!((summary.len(), summary.has()), (5, whole.has()));
    let places = (0..5).map(|row| summary.place(row).to_string());
    let wanted = (0..5).map(|label| whole.place(label * 36).to_string());
    assert!(places.eq(wanted));
    let labels: Vec<&str> = summary.labels().unwrap().collect();
    assert_eq!(
        labels,
        ["label 0", "label 1", "label 2", "label 3", "label 4"]
    );
}

proptest! {
    #[test]
    fn the_pieces_of_a_file_are_the_whole(
        text in "([ab\u{e9}]{0,4}|\"[a,\n\r\"]{0,5}\"|[a,\"\n\r]{1,4}|[ab]{1,2},[ab]\r?\n){0,12}",
        header in any::<bool>(),
        quote in any::<bool>(),
        skip in any::<bool>(),
        at_once in 1_usize..40,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.csv");
        std::fs::write(&file, text).unwrap();
        let layout = layout(header, quote, skip);
        match (read(&file, &layout), in_pieces(&file, &layout, at_once)) {
            (Ok(whole), Ok(pieces)) => {
                let wanted = if whole.is_empty() { Vec::new() } else { told(&whole, 0) };
                prop_assert_eq!(rows_of(&pieces), wanted);
                let summary = summary(pieces);
                prop_assert_eq!(summary.rows_of_file(), whole.rows_of_file());
                prop_assert_eq!(&summary.skipped, &whole.skipped);
                prop_assert_eq!(summary.is_empty(), whole.is_empty());
            }
            (Err(_), Err(_)) => {}
            (whole, pieces) => prop_assert!(false, "{:?}\n{:?}", whole, pieces),
        }
    }
}
