//! A reader of event files, by the formats' definitions alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Tag → (step, value).
pub(super) type Curves = BTreeMap<String, Vec<(i64, f32)>>;

/// The files of a folder, in the order of their names, which is TensorBoard's.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    assert!(
        found
            .iter()
            .all(|path| path.to_string_lossy().contains("tfevents"))
    );
    found.sort();
    found
}

pub(super) fn all_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |path: PathBuf| match path.is_dir() {
        true => all_files(&path),
        false => vec![path],
    };
    entries.flat_map(|entry| of(entry.path())).collect()
}

/// What a folder's files say, where a start voids what is there for its step and later ones.
pub(super) fn curves(folder: &Path) -> Curves {
    let mut curves = Curves::new();
    for event in events(folder) {
        let step = number(&event, 2).unwrap_or(0);
        if let Some(Field::Bytes(session)) = field(&event, 7) {
            assert_eq!(number(&fields(session), 1), Some(1), "a start");
            for points in curves.values_mut() {
                points.retain(|(at, _)| *at < step);
            }
        }
        for value in values(&event) {
            if let Some(Field::Bits32(bits)) = field(&value, 2) {
                let point = (step, f32::from_bits(*bits));
                curves.entry(tag(&value)).or_default().push(point);
            }
        }
    }
    curves.retain(|_, points| !points.is_empty());
    for (tag, points) in &curves {
        let order = points.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(order, "{tag} goes back, or has a step twice: {points:?}");
    }
    curves
}

/// Tag → text, each once.
pub(super) fn texts(folder: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for value in events(folder).iter().flat_map(|event| values(event)) {
        let Some(Field::Bytes(tensor)) = field(&value, 8) else {
            continue;
        };
        let Some(Field::Bytes(text)) = field(&fields(tensor), 8).cloned() else {
            panic!("a tensor that is no text")
        };
        let before = texts.insert(tag(&value), String::from_utf8(text.to_vec()).unwrap());
        assert_eq!(before, None, "it is there twice");
    }
    texts
}

type Message<'a> = Vec<(u64, Field<'a>)>;

#[derive(Debug, Clone, PartialEq)]
enum Field<'a> {
    Number(u64),
    Bits64(u64),
    Bytes(&'a [u8]),
    Bits32(u32),
}

fn field<'m, 'a>(message: &'m Message<'a>, wanted: u64) -> Option<&'m Field<'a>> {
    let found = message.iter().find(|(number, _)| *number == wanted);
    found.map(|(_, field)| field)
}

fn number(message: &Message, wanted: u64) -> Option<i64> {
    match field(message, wanted) {
        Some(Field::Number(number)) => Some(i64::try_from(*number).unwrap()),
        _ => None,
    }
}

/// The values of an event's summary.
fn values<'a>(event: &Message<'a>) -> Vec<Message<'a>> {
    let Some(Field::Bytes(summary)) = field(event, 5) else {
        return Vec::new();
    };
    let values = fields(summary).into_iter();
    let value = |(number, field)| match (number, field) {
        (1, Field::Bytes(value)) => fields(value),
        other => panic!("{other:?}"),
    };
    values.map(value).collect()
}

fn tag(value: &Message) -> String {
    match field(value, 1) {
        Some(Field::Bytes(tag)) => String::from_utf8(tag.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

/// A protocol buffer, field by field.
fn fields(mut bytes: &[u8]) -> Message<'_> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Bits64(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                Field::Bytes(take(&mut bytes, length))
            }
            5 => Field::Bits32(u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap())),
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, field));
    }
    found
}

fn events(folder: &Path) -> Vec<Message<'static>> {
    let mut found = Vec::new();
    for path in files(folder) {
        // They are tests of a moment.
        let bytes: &'static [u8] = std::fs::read(&path).unwrap().leak();
        let records = records(bytes);
        assert_eq!(
            field(&records[0], 3),
            Some(&Field::Bytes(b"brain.Event:2")),
            "{}",
            path.display()
        );
        for event in &records {
            let Some(Field::Bits64(seconds)) = field(event, 1) else {
                panic!("an event without a time")
            };
            assert!(f64::from_bits(*seconds) > 1.6e9);
        }
        found.extend(records);
    }
    found
}

/// The events of a file; what a killed process left of one at its end is none.
fn records(mut bytes: &'static [u8]) -> Vec<Message<'static>> {
    let mut found = Vec::new();
    while bytes.len() >= 12 {
        let head = take(&mut bytes, 8);
        let length = usize::try_from(u64::from_le_bytes(head.try_into().unwrap())).unwrap();
        assert_eq!(take(&mut bytes, 4), checksum(head));
        if bytes.len() < length + 4 {
            break;
        }
        let data = take(&mut bytes, length);
        assert_eq!(take(&mut bytes, 4), checksum(data));
        found.push(fields(data));
    }
    found
}

/// CRC-32C bit by bit, masked.
fn checksum(data: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = match crc & 1 {
                1 => (crc >> 1) ^ 0x82f6_3b78,
                _ => crc >> 1,
            };
        }
    }
    let crc = !crc;
    let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
    masked.to_le_bytes()
}
