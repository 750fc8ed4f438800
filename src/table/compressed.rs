//! Compressed files: which a name says they are, and their bytes unpacked in memory.
//!
//! `data.csv.gz` is a file in the format of `data.csv`. What the usual tools read is read: gzip (RFC 1952), Zstandard
//! (RFC 8878), bzip2 and xz, each with several members one after another. Checksums that a file holds are checked. A file
//! that unpacks to more than a gibibyte and more than 250 times its own size is refused before it fills the memory.
//!
//! Deliberately absent: archives (`.zip`, `.tar`), which hold several files, and a look at the content: the ending decides.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use liblzma::stream::{CONCATENATED, Stream};

use super::error::TableError;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstandard,
    Bzip2,
    Xz,
}

/// Any file may become so large. Bytes.
const ALWAYS_ALLOWED: u64 = 1 << 30;
/// And so many times as large as it is: text seldom shrinks to a twentieth.
const MOST_TIMES: u64 = 250;
/// What an xz file may ask for to unpack it: twenty times what `xz -9` needs. Bytes.
const XZ_MEMORY: u64 = 1 << 30;

impl Compression {
    /// What a file's last ending says.
    pub(super) fn of_ending(file: &Path) -> Option<Compression> {
        let ending = file.extension()?.to_str()?.to_ascii_lowercase();
        Some(match ending.as_str() {
            "gz" => Compression::Gzip,
            "zst" => Compression::Zstandard,
            "bz2" => Compression::Bzip2,
            "xz" => Compression::Xz,
            _ => return None,
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Zstandard => "zstd",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
        })
    }
}

/// The name without the ending of a compression.
pub(super) fn unpacked_name(file: &Path) -> &Path {
    let stem = || file.file_stem().map(Path::new);
    let packed = Compression::of_ending(file).and_then(|_| stem());
    packed.unwrap_or(file)
}

/// The content of a file whose bytes are these.
///
/// # Errors
/// The bytes are not what the file's ending says, are cut off or damaged, or are too many unpacked.
pub(super) fn unpacked(file: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, TableError> {
    match Compression::of_ending(file) {
        Some(compression) => unpack(file, compression, &bytes, limit(bytes.len() as u64)),
        None => Ok(bytes),
    }
}

/// At most `most` bytes of the content from its beginning, and whether that is all of it.
///
/// # Errors
/// The file cannot be opened or read; its beginning is not what its ending says.
pub(super) fn beginning(file: &Path, most: u64) -> Result<(Vec<u8>, bool), TableError> {
    let mut content = Vec::new();
    let read = reader(file)?
        .take(most.saturating_add(1))
        .read_to_end(&mut content);
    match read {
        Ok(_) => {
            let whole = content.len() as u64 <= most;
            content.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            Ok((content, whole))
        }
        Err(error) => Err(broken(file, error)),
    }
}

/// The content of a file from its beginning on, which is never in memory as a whole; what goes wrong on the way is for
/// [`broken`] to say.
///
/// # Errors
/// The file cannot be opened; its beginning is not what its ending says.
pub(super) fn reader(file: &Path) -> Result<Box<dyn Read + Send>, TableError> {
    let opened = File::open(file).map_err(|e| TableError::unreadable(file, e))?;
    let opened = BufReader::new(opened);
    let unpacked: io::Result<Box<dyn Read + Send>> = match Compression::of_ending(file) {
        None => Ok(Box::new(opened)),
        Some(Compression::Gzip) => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(opened))),
        Some(Compression::Zstandard) => zstd::Decoder::with_buffer(opened)
            .map(|decoder| Box::new(decoder) as Box<dyn Read + Send>),
        Some(Compression::Bzip2) => Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(opened))),
        Some(Compression::Xz) => Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)
            .map_err(io::Error::from)
            .map(|stream| {
                let decoder = liblzma::bufread::XzDecoder::new_stream(opened, stream);
                Box::new(decoder) as Box<dyn Read + Send>
            }),
    };
    unpacked.map_err(|error| broken(file, error))
}

/// What went wrong while the content of a file was read.
pub(super) fn broken(file: &Path, error: io::Error) -> TableError {
    match Compression::of_ending(file) {
        None => TableError::unreadable(file, error),
        Some(compression) => TableError::NotUnpacked {
            file: file.to_owned(),
            compression: compression.to_string(),
            message: match error.kind() {
                io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
                _ => error.to_string(),
            },
        },
    }
}

/// How large a file of `packed` bytes may become.
fn limit(packed: u64) -> u64 {
    packed.saturating_mul(MOST_TIMES).max(ALWAYS_ALLOWED)
}

fn unpack(
    file: &Path,
    compression: Compression,
    bytes: &[u8],
    limit: u64,
) -> Result<Vec<u8>, TableError> {
    let mut content = Vec::new();
    let done = match compression {
        Compression::Gzip => gzip(bytes, &mut content, limit),
        Compression::Zstandard => {
            zstd::Decoder::with_buffer(bytes).and_then(|decoder| take(decoder, &mut content, limit))
        }
        Compression::Bzip2 => take(
            bzip2::bufread::MultiBzDecoder::new(bytes),
            &mut content,
            limit,
        ),
        Compression::Xz => Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)
            .map_err(io::Error::from)
            .and_then(|stream| {
                let decoder = liblzma::bufread::XzDecoder::new_stream(bytes, stream);
                take(decoder, &mut content, limit)
            }),
    };
    match done {
        Ok(true) => Ok(content),
        Ok(false) => Err(TableError::TooLarge {
            file: file.to_owned(),
            packed: bytes.len() as u64,
            limit,
        }),
        Err(error) => Err(TableError::NotUnpacked {
            file: file.to_owned(),
            compression: compression.to_string(),
            message: match error.kind() {
                io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
                _ => error.to_string(),
            },
        }),
    }
}

/// Member by member: as with gzip itself, zeros may fill the file up after the last.
fn gzip(bytes: &[u8], content: &mut Vec<u8>, limit: u64) -> io::Result<bool> {
    let mut rest = bytes;
    loop {
        let mut member = flate2::bufread::GzDecoder::new(rest);
        if !take(&mut member, content, limit)? {
            return Ok(false);
        }
        rest = member.into_inner();
        let padding = rest.iter().take_while(|byte| **byte == 0).count();
        rest = rest.get(padding..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(true);
        }
    }
}

/// Adds what comes; whether all of it stays within `limit`.
fn take(decoder: impl Read, content: &mut Vec<u8>, limit: u64) -> io::Result<bool> {
    let left = limit.saturating_sub(content.len() as u64);
    decoder.take(left.saturating_add(1)).read_to_end(content)?;
    Ok(content.len() as u64 <= limit)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 4] = [
        Compression::Gzip,
        Compression::Zstandard,
        Compression::Bzip2,
        Compression::Xz,
    ];

    pub(super) fn packed(compression: Compression, content: &[u8]) -> Vec<u8> {
        let mut to = Vec::new();
        match compression {
            Compression::Gzip => {
                let mut to = flate2::write::GzEncoder::new(&mut to, flate2::Compression::best());
                to.write_all(content).unwrap();
                to.finish().unwrap();
            }
            Compression::Zstandard => to = zstd::encode_all(content, 3).unwrap(),
            Compression::Bzip2 => {
                let mut to = bzip2::write::BzEncoder::new(&mut to, bzip2::Compression::best());
                to.write_all(content).unwrap();
                to.finish().unwrap();
            }
            Compression::Xz => {
                let mut to = liblzma::write::XzEncoder::new(&mut to, 6);
                to.write_all(content).unwrap();
                to.finish().unwrap();
            }
        }
        to
    }

    fn content() -> Vec<u8> {
        let lines = (0..2000).map(|n| format!("{n},a text of {}\n", n * n % 997));
        lines.collect::<String>().into_bytes()
    }

    fn read(compression: Compression, bytes: &[u8], limit: u64) -> Result<Vec<u8>, TableError> {
        unpack(Path::new("data.csv.packed"), compression, bytes, limit)
    }

    #[test]
    fn members_one_after_another_are_one_file_as_the_tools_read_them() {
        let content = content();
        let (head, tail) = content.split_at(10_000);
        for compression in ALL {
            let whole = packed(compression, &content);
            assert!(whole.len() < content.len() / 2, "{compression}");
            assert_eq!(read(compression, &whole, limit(1)).unwrap(), content);
            let mut members = packed(compression, head);
            members.extend(packed(compression, b""));
            members.extend(packed(compression, tail));
            assert_eq!(
                read(compression, &members, limit(1)).unwrap(),
                content,
                "{compression}"
            );
        }
        let mut filled = packed(Compression::Gzip, &content);
        filled.extend([0; 512]);
        assert_eq!(read(Compression::Gzip, &filled, limit(1)).unwrap(), content);
    }

    #[test]
    fn the_beginning_is_had_without_the_rest() {
        let content = content();
        let folder = tempfile::tempdir().unwrap();
        for (compression, ending) in ALL.into_iter().zip(["gz", "zst", "bz2", "xz"]) {
            let file = folder.path().join("data.csv").with_extension(ending);
            let mut members = packed(compression, &content[..5000]);
            members.extend(packed(compression, &content[5000..]));
            std::fs::write(&file, members).unwrap();
            for (most, whole) in [(7000, false), (content.len() as u64, true)] {
                let wanted = content[..most as usize].to_vec();
                assert_eq!(
                    beginning(&file, most).unwrap(),
                    (wanted, whole),
                    "{compression}"
                );
            }
            std::fs::write(&file, b"nothing of the kind").unwrap();
            assert!(beginning(&file, 7000).is_err(), "{compression}");
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_or_damaged_is_an_error_with_the_files_name() {
        let content = content();
        for compression in ALL {
            let whole = packed(compression, &content);
            for end in (0..whole.len()).step_by(whole.len() / 97) {
                let error = read(compression, &whole[..end], limit(1)).unwrap_err();
                let said = error.to_string();
                assert!(
                    said.starts_with(&format!(
                        "data.csv.packed cannot be unpacked as {compression}: "
                    )),
                    "{said}"
                );
            }
            let mut damaged = whole.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x55;
            assert!(
                read(compression, &damaged, limit(1))
                    .is_err_and(|error| matches!(error, TableError::NotUnpacked { .. }))
                    || compression == Compression::Zstandard,
                "{compression}"
            );
            let mut trailed = whole;
            trailed.extend(b"not a member");
            assert!(read(compression, &trailed, limit(1)).is_err());
            assert!(read(compression, &content, limit(1)).is_err());
        }
        // zstd's own tool writes a checksum; its library does so when told.
        let mut with_checksum = zstd::Encoder::new(Vec::new(), 3).unwrap();
        with_checksum.include_checksum(true).unwrap();
        with_checksum.write_all(&content).unwrap();
        let mut damaged = with_checksum.finish().unwrap();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        assert!(read(Compression::Zstandard, &damaged, limit(1)).is_err());
    }

    #[test]
    fn a_small_file_that_unpacks_without_end_is_refused_at_its_limit() {
        let zeros = vec![0; 4 << 20];
        for compression in ALL {
            let bomb = packed(compression, &zeros);
            assert_eq!(
                read(compression, &bomb, zeros.len() as u64).unwrap().len(),
                zeros.len()
            );
            let error = read(compression, &bomb, zeros.len() as u64 - 1).unwrap_err();
            assert!(matches!(error, TableError::TooLarge { .. }), "{error}");
            // Many small members are as many bytes as one large.
            let members = bomb.repeat(8);
            let error = read(compression, &members, 6 * zeros.len() as u64).unwrap_err();
            assert!(matches!(error, TableError::TooLarge { .. }), "{error}");
        }
        assert_eq!(limit(0), 1 << 30);
        assert_eq!(limit(1 << 30), 250 << 30);
        assert_eq!(limit(u64::MAX), u64::MAX);
    }

    #[test]
    fn an_ending_is_read_without_its_case_and_the_format_stands_before_it() {
        for (name, unpacked) in [
            ("a/train.csv.gz", "train.csv"),
            ("train.JSONL.ZST", "train.JSONL"),
            ("x.parquet.bz2", "x.parquet"),
            ("x.xz", "x"),
            (".gz", ".gz"),
            ("a.csv", "a.csv"),
            ("a.csv.lz4", "a.csv.lz4"),
        ] {
            assert_eq!(
                unpacked_name(Path::new(name)),
                Path::new(unpacked),
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            seed in any::<[u8; 32]>(),
            kind in 0..4_usize,
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let compression = ALL[kind];
            let mut bytes = packed(compression, &seed.repeat(40));
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let end = cut.index(bytes.len()) + 1;
            let _ = read(compression, &bytes[..end], 1 << 16);
            let _ = read(compression, &seed, 1 << 16);
        }
    }
}
