//! Rows that stay and rows that go: what is numbered, counted and found again.

use super::*;

fn sentence<'c>(words: &[&'c str], tags: &[&'c str]) -> Row<'c> {
    let own = |texts: &[&'c str]| texts.iter().map(|&text| Cow::Borrowed(text)).collect();
    Row {
        words: Some(own(words)),
        tags: Some(own(tags)),
        ..Row::default()
    }
}

fn null(line: usize) -> TableError {
    TableError::Null {
        place: Place::line(Path::new("data"), line),
        column: "a".to_owned(),
    }
}

fn raw() -> Raw {
    let places = Places::Listed(vec![1, 4, 6, 9]);
    let mut raw = Raw::empty(Path::new("data"), Kind::Words, places);
    let rows = [
        Ok(sentence(&["a", "", "ü"], &["x", "y", "x"])),
        Err(null(4)),
        Ok(sentence(&["b"], &["y"])),
        Ok(sentence(&["c", "d"], &["x", "x"])),
    ];
    for (number, row) in rows.into_iter().enumerate() {
        raw.add(number, row, true).unwrap();
    }
    raw
}

#[test]
fn words_are_parts_of_their_text() {
    let raw = raw();
    assert_eq!(raw.texts().collect::<Vec<_>>(), ["a  ü", "b", "c d"]);
    assert_eq!(raw.words().unwrap().next().unwrap(), ["a", "", "ü"]);
    assert_eq!(raw.tags().unwrap().last().unwrap(), ["x", "x"]);
}

#[test]
fn rows_left_out_are_counted_and_shift_no_number() {
    let mut raw = raw();
    assert_eq!(raw.numbers().collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(raw.place(1).to_string(), "data, line 6");
    raw.leave_out([(1, null(6))]).unwrap();
    assert_eq!(raw.numbers().collect::<Vec<_>>(), [0, 3]);
    assert_eq!(raw.texts().collect::<Vec<_>>(), ["a  ü", "c d"]);
    assert_eq!(raw.words().unwrap().last().unwrap(), ["c", "d"]);
    let skipped = raw.skipped.values().next().unwrap();
    assert_eq!((skipped.rows, raw.left_out()), (2, 2));
    assert_eq!(skipped.first.to_string(), "data, line 4");
}

#[test]
fn what_makes_a_file_doubtful_is_never_left_out() {
    let mut raw = raw();
    let damage = TableError::Empty {
        file: "data".into(),
    };
    assert!(raw.add(4, Err(damage), true).is_err());
    assert!(raw.add(4, Err(null(9)), false).is_err());
}
