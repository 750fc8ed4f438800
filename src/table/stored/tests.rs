//! Claims about reading a table piece by piece.

use super::*;
use crate::table::{Table, Texts};

fn texts(rows: usize) -> Texts {
    Texts {
        id: (0..rows as u64).collect(),
        copy: vec![0; rows],
        text: (0..rows).map(|row| format!("text {row}")).collect(),
        ..Texts::default()
    }
}

fn saved(splits: &[(&str, usize)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let split = |&(name, rows): &(&str, usize)| (name.to_owned(), texts(rows).to_frame().unwrap());
    Table {
        splits: splits.iter().map(split).collect(),
        ..Table::default()
    }
    .save(folder.path())
    .unwrap();
    folder
}

fn ids(frame: &DataFrame) -> Vec<u64> {
    crate::table::texts(frame).unwrap().id
}

#[test]
fn pieces_are_the_rows_in_their_order_and_an_empty_split_has_one() {
    let rows = (1 << 18) + 5;
    let folder = saved(&[("test", 0), ("train", rows)]);
    let table = StoredTable::open(folder.path()).unwrap();
    assert_eq!(table.names().collect::<Vec<_>>(), ["test", "train"]);
    let train = table.split("train").unwrap();
    assert_eq!((train.rows(), train.has("text")), (rows, true));
    let pieces = train.pieces().map(|piece| ids(&piece.unwrap()));
    let pieces: Vec<_> = pieces.collect();
    assert!(pieces.len() > 1, "{}", pieces.len());
    assert_eq!(pieces.concat(), (0..rows as u64).collect::<Vec<_>>());
    let empty: Vec<_> = table.split("test").unwrap().pieces().collect();
    assert_eq!(empty.len(), 1);
    let empty = empty[0].as_ref().unwrap();
    assert!(empty.height() == 0 && empty.column("text").is_ok());

    let splits = ["test", "train"].map(|name| table.split(name).unwrap().clone());
    let ahead = ahead(splits.to_vec()).unwrap();
    let ahead: Vec<_> = ahead
        .map(|(split, piece)| (split, ids(&piece.unwrap())))
        .collect();
    let wanted = pieces.into_iter().map(|ids| (1, ids));
    let wanted = [(0, Vec::new())].into_iter().chain(wanted);
    assert_eq!(ahead, wanted.collect::<Vec<_>>());
}

#[test]
fn texts_are_found_by_id_in_any_piece() {
    let rows = (1 << 18) + 5;
    let folder = saved(&[("train", rows)]);
    let last = rows as u64 - 1;
    let wanted = BTreeSet::from([3, last, 1 << 50]);
    let found = texts_by_id(folder.path(), "train", &wanted).unwrap();
    let said = |text: String| RowText {
        text,
        text_pair: None,
    };
    let expected = [3, last].map(|id| (id, said(format!("text {id}"))));
    assert_eq!(found, Some(BTreeMap::from(expected)));
    let other = texts_by_id(folder.path(), "test", &wanted).unwrap();
    assert_eq!(other, None);
}

#[test]
fn text_pairs_are_found_with_their_texts() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = Texts {
        text_pair: Some((0..3).map(|row| format!("pair {row}")).collect()),
        ..texts(3)
    };
    Table {
        splits: [("test".to_owned(), pairs.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(folder.path())
    .unwrap();
    let found = texts_by_id(folder.path(), "test", &BTreeSet::from([2])).unwrap();
    let said = RowText {
        text: "text 2".to_owned(),
        text_pair: Some("pair 2".to_owned()),
    };
    assert_eq!(found, Some(BTreeMap::from([(2, said)])));
}

#[test]
fn pieces_that_end_early_are_an_error() {
    let folder = saved(&[("test", 0), ("train", 7)]);
    let table = StoredTable::open(folder.path()).unwrap();
    let splits = ["test", "train"].map(|name| table.split(name).unwrap().clone());
    let pieces = || ahead(splits.to_vec()).unwrap();
    let all = || vec![(1, splits[0].path.clone()), (1, splits[1].path.clone())];
    assert!(all_of(all(), pieces()).all(|(_, piece)| piece.is_ok()));
    for (there, short) in ["test", "train"].into_iter().enumerate() {
        let mut found = all_of(all(), pieces().take(there));
        assert!(found.by_ref().take(there).all(|(_, piece)| piece.is_ok()));
        let (number, piece) = found.next().unwrap();
        let error = piece.unwrap_err().to_string();
        assert!(number == there && error.contains(short), "{error}");
        assert!(found.next().is_none());
    }
}

#[test]
fn a_copied_table_is_the_table() {
    let (folder, to) = (saved(&[("train", 7)]), tempfile::tempdir().unwrap());
    let table = StoredTable::open(folder.path()).unwrap();
    table.copy_to(to.path()).unwrap();
    for name in ["table.json", "train.parquet"] {
        let read = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
        assert_eq!(read(folder.path()), read(to.path()), "{name}");
    }
}

#[test]
fn a_truncated_split_or_one_with_other_rows_is_an_error() {
    let folder = saved(&[("train", 7)]);
    let path = folder.path().join("train.parquet");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::copy(saved(&[("train", 6)]).path().join("train.parquet"), &path).unwrap();
    let error = StoredTable::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("6 rows instead of 7"), "{error}");
    for length in [0, 4, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let opened = StoredTable::open(folder.path());
        assert!(matches!(opened, Err(TableError::Damaged { .. })));
    }
    // The foot is whole, a page is not.
    let mut torn = bytes.clone();
    torn[20..bytes.len() / 3].fill(0xff);
    std::fs::write(&path, torn).unwrap();
    let table = StoredTable::open(folder.path()).unwrap();
    let pieces = table.split("train").unwrap().pieces();
    assert!(pieces.into_iter().any(|piece| piece.is_err()));
}
