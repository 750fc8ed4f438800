//! TensorBoard's event files: records as TFRecord frames them, of events as protocol buffers.
//!
//! Sources: TensorFlow's `record_writer.cc` (length, masked CRC-32C of it, data, masked CRC-32C of that, all little-endian) and
//! `crc32c.h`; `event.proto`, `summary.proto` and `tensor.proto`, of which only the fields that are written stand here.
//!
//! Promise: what could not be written whole is taken back, so that a file never holds half a record that others follow.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

/// What every file's name has in it, which is how TensorBoard knows one.
const EVENTS: &str = "events.out.tfevents.";

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    /// Optional, because a zero must be written too.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `DataType.DT_STRING`.
const STRING: i32 = 7;
/// `SessionLog.START`.
const START: i32 = 1;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct EventFile {
    file: File,
    /// Its length up to the last whole record.
    sound: u64,
    /// Whether something may lie behind that.
    torn: bool,
}

impl EventFile {
    /// A new file in a folder, which TensorBoard reads after those that lie there, whatever the clock says. `ending` is the end
    /// of its name, `beginning` its first records.
    ///
    /// # Errors
    /// The folder cannot be written, or the disk is full; there is no file then.
    pub(super) fn create(folder: &Path, ending: &str, beginning: &[u8]) -> io::Result<EventFile> {
        fs::create_dir_all(folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let newest = written(folder).filter_map(|path| seconds_in(&path)).max();
        let seconds = newest.map_or(now, |newest| now.max(newest.saturating_add(1)));
        let name = format!("{EVENTS}{seconds:010}.{}.{ending}", std::process::id());
        let path = folder.join(name);
        let options = &mut File::options();
        let file = options.append(true).create_new(true).open(&path)?;
        let mut created = EventFile {
            file,
            sound: 0,
            torn: false,
        };
        let begun = created.write(&[&version(SystemTime::now()), beginning].concat());
        begun.inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(created)
    }

    /// Adds records.
    ///
    /// # Errors
    /// The disk is full, or the file is gone; none of them is in the file then.
    pub(super) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        if self.torn {
            self.take_back()?;
        }
        self.torn = true;
        if let Err(error) = self.file.write_all(records) {
            // Else before the next attempt.
            let _ = self.take_back();
            return Err(error);
        }
        self.torn = false;
        self.sound += records.len() as u64;
        Ok(())
    }

    fn take_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.sound)?;
        self.torn = false;
        Ok(())
    }
}

/// The event files in a folder.
pub(super) fn written(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(EVENTS))
    })
}

fn seconds_in(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_prefix(EVENTS)?;
    name.split('.').next()?.parse().ok()
}

/// The record that every file begins with.
fn version(time: SystemTime) -> Vec<u8> {
    record(&Event {
        wall_time: wall_time(time),
        file_version: Some("brain.Event:2".to_owned()),
        ..Event::default()
    })
}

/// The record of numbers at a step.
pub(super) fn scalars(time: SystemTime, step: u64, numbers: &[(String, f64)]) -> Vec<u8> {
    let value = |(tag, number): &(String, f64)| SummaryValue {
        tag: tag.clone(),
        #[expect(clippy::cast_possible_truncation, reason = "the format has floats")]
        simple_value: Some(*number as f32),
        ..SummaryValue::default()
    };
    summary(time, step, numbers.iter().map(value).collect())
}

/// The record of a text, which is shown as Markdown.
pub(super) fn text(time: SystemTime, tag: &str, text: &str) -> Vec<u8> {
    let value = SummaryValue {
        tag: tag.to_owned(),
        tensor: Some(Tensor {
            dtype: STRING,
            shape: Some(Shape {
                dim: vec![Dimension { size: 1 }],
            }),
            string_val: vec![text.as_bytes().to_vec()],
        }),
        metadata: Some(Metadata {
            plugin_data: Some(PluginData {
                plugin_name: "text".to_owned(),
            }),
        }),
        ..SummaryValue::default()
    };
    summary(time, 0, vec![value])
}

/// The record after which all that stands in earlier files for `step` and later steps is void.
pub(super) fn restart(time: SystemTime, step: u64) -> Vec<u8> {
    record(&Event {
        wall_time: wall_time(time),
        step: signed(step),
        session_log: Some(SessionLog { status: START }),
        ..Event::default()
    })
}

fn summary(time: SystemTime, step: u64, value: Vec<SummaryValue>) -> Vec<u8> {
    record(&Event {
        wall_time: wall_time(time),
        step: signed(step),
        summary: Some(Summary { value }),
        ..Event::default()
    })
}

fn signed(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

fn wall_time(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn record(event: &Event) -> Vec<u8> {
    framed(&event.encode_to_vec())
}

/// Data as TFRecord frames it.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(data);
    record.extend(masked(crc32c(data)).to_le_bytes());
    record
}

/// A checksum of data that holds checksums had better be another.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli, RFC 3720), with its polynomial reflected.
fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut checksum = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                let carry = checksum & 1;
                checksum = (checksum >> 1) ^ (0x82f6_3b78 * carry);
                bit += 1;
            }
            table[byte] = checksum;
            byte += 1;
        }
        table
    };
    let step = |checksum: u32, byte: &u8| {
        let [low, ..] = checksum.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ (checksum >> 8)
    };
    !data.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What the package `tensorboard` writes for the same events.
    #[derive(serde::Deserialize)]
    struct Written {
        version: Vec<u8>,
        restart: Vec<u8>,
        scalars: Vec<u8>,
        text: Vec<u8>,
        checksums: Vec<(Vec<u8>, u32)>,
    }

    fn fixture() -> Written {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = folder.join("tests/fixtures/tensorboard_events.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn records_are_those_of_the_tensorboard_package() {
        let written = fixture();
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        assert_eq!(version(time), written.version);
        assert_eq!(restart(time, 301), written.restart);
        let numbers = [
            ("train/loss".to_owned(), 0.75),
            ("train/learning_rate".to_owned(), 3e-5),
            ("validation/accuracy".to_owned(), 0.0),
        ];
        assert_eq!(scalars(time, 300, &numbers), written.scalars);
        assert_eq!(
            text(time, "spec", "# Größe\n\n    seed = 1\n"),
            written.text
        );
    }

    #[test]
    fn checksums_are_those_of_the_tensorboard_package() {
        for (data, wanted) in fixture().checksums {
            assert_eq!(masked(crc32c(&data)), wanted, "{} bytes", data.len());
        }
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_new_file_is_read_after_those_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let ahead = format!("{EVENTS}9000000000.1.refit");
        fs::write(folder.path().join(&ahead), "").unwrap();
        for _ in 0..3 {
            EventFile::create(folder.path(), "refit", &[]).unwrap();
        }
        let mut names: Vec<_> = written(folder.path()).collect();
        names.sort();
        assert_eq!(names.len(), 4);
        assert_eq!(names[0], folder.path().join(ahead));
    }

    #[test]
    fn a_record_that_did_not_fit_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), "refit", &[]).unwrap();
        let path = written(folder.path()).next().unwrap();
        let sound = fs::read(&path).unwrap();
        // As a full disk leaves it: a part is there, and the rest is refused.
        fs::write(&path, [&sound[..], b"half a rec"].concat()).unwrap();
        let whole = std::mem::replace(&mut file.file, File::open(&path).unwrap());
        assert!(file.write(b"more").is_err(), "it is open for reading only");
        file.file = whole;
        file.write(&restart(UNIX_EPOCH, 1)).unwrap();
        let wanted = [&sound[..], &restart(UNIX_EPOCH, 1)].concat();
        assert_eq!(fs::read(&path).unwrap(), wanted);
    }
}
