//! The directory of a zip file, as `torch.save` writes it: members that are stored as they are, one after another.
//!
//! Strict where tools that unpack zip files are lenient: the file begins with its first member and ends with its directory,
//! no member is compressed or encrypted, none overlaps another, no name is there twice. So a member is a range of the file,
//! and reading all of them costs no more than the file's size. Written here because the zip crate allocates for as many
//! members as a directory claims to have before it has seen them.
//!
//! Reference: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16. Deliberately absent: checksums,
//! which `torch.save` can be told to leave wrong.

use std::collections::BTreeMap;
use std::fs::File;

use super::{Flaw, MOST_HEADER_BYTES, broken, bytes_at, shown};

/// Bytes of the file, by the name they have in the archive.
pub(super) type Members = BTreeMap<String, Member>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// Where its bytes begin in the file.
    pub start: u64,
    pub size: u64,
}

pub(super) const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";

const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const LOCATOR_64_BYTES: usize = 20;
/// The identifier of the extra field that has the sizes which do not fit 32 bits.
const EXTRA_64: u16 = 1;

/// The members of a file of `bytes` bytes.
pub(super) fn members(file: &mut File, bytes: u64) -> Result<Members, Flaw> {
    let (directory, start, count) = directory(file, bytes)?;
    let mut rest = Fields(&directory);
    let mut members = Members::new();
    let mut ranges = Vec::new();
    for _ in 0..count {
        let entry = entry(&mut rest)?;
        let named = shown(&entry.name);
        if entry.flags & 1 != 0 {
            return broken(format!("its member {named} is encrypted"));
        }
        if entry.method != 0 || entry.packed != entry.size {
            return broken(format!(
                "its member {named} is compressed, which torch.save never does"
            ));
        }
        let outside = || Flaw::Broken(format!("its member {named} lies outside of it"));
        let header_end = entry.header.checked_add(LOCAL_BYTES as u64);
        if header_end.is_none_or(|end| end > start) {
            return Err(outside());
        }
        let local = bytes_at(file, entry.header, LOCAL_BYTES)?;
        let mut fields = Fields(&local);
        if fields.take(4)? != LOCAL {
            return broken(format!("its member {named} has no header"));
        }
        fields.take(22)?;
        let names = u64::from(fields.u16()?) + u64::from(fields.u16()?);
        let begin = entry.header + LOCAL_BYTES as u64 + names;
        let end = begin.checked_add(entry.size).filter(|&end| end <= start);
        ranges.push((entry.header, end.ok_or_else(outside)?));
        let member = Member {
            start: begin,
            size: entry.size,
        };
        if members.insert(entry.name, member).is_some() {
            return broken(format!("it has two members {named}"));
        }
    }
    if !rest.0.is_empty() {
        return broken("its directory has more members than it says");
    }
    ranges.sort_unstable();
    let overlap = |pair: &[(u64, u64)]| matches!(pair, [(_, end), (next, _)] if end > next);
    match ranges.windows(2).any(overlap) {
        true => broken("its members overlap"),
        false => Ok(members),
    }
}

/// The directory's bytes, where they begin, and how many members it has.
fn directory(file: &mut File, bytes: u64) -> Result<(Vec<u8>, u64, u64), Flaw> {
    let tail = bytes.min((END_BYTES + LOCATOR_64_BYTES) as u64 + u64::from(u16::MAX));
    let before = bytes - tail;
    let tail = bytes_at(file, before, tail as usize)?;
    let is_end = |place: &usize| {
        let record = tail.get(*place..).unwrap_or_default();
        let comment = Fields(record.get(20..).unwrap_or_default()).u16();
        record.starts_with(END)
            && comment.is_ok_and(|length| END_BYTES + usize::from(length) == record.len())
    };
    let Some(end) = (0..tail.len()).rev().find(is_end) else {
        return broken("it is cut off: the zip file's directory is missing");
    };
    let mut fields = Fields(tail.get(end + 4..).unwrap_or_default());
    let (disk, first_disk) = (fields.u16()?, fields.u16()?);
    let (here, count) = (fields.u16()?, fields.u16()?);
    let (size, start) = (fields.u32()?, fields.u32()?);
    let mut found = (u64::from(count), u64::from(size), u64::from(start));
    let mut after = before + end as u64;
    let mut split = disk != first_disk || here != count;

    let locator = end
        .checked_sub(LOCATOR_64_BYTES)
        .and_then(|place| tail.get(place..end))
        .filter(|locator| locator.starts_with(LOCATOR_64));
    if let Some(locator) = locator {
        let mut fields = Fields(locator);
        fields.take(8)?;
        let place = fields.u64()?;
        let most = after - LOCATOR_64_BYTES as u64;
        if place
            .checked_add(END_64_BYTES as u64)
            .is_none_or(|end| end > most)
        {
            return broken("its zip64 directory lies outside of it");
        }
        let record = bytes_at(file, place, END_64_BYTES)?;
        let mut fields = Fields(&record);
        if fields.take(4)? != END_64 {
            return broken("its zip64 directory has no end");
        }
        fields.take(12)?;
        let (disk, first_disk) = (fields.u32()?, fields.u32()?);
        let (here, count) = (fields.u64()?, fields.u64()?);
        found = (count, fields.u64()?, fields.u64()?);
        after = place;
        split = disk != first_disk || here != count;
    }
    let (count, size, start) = found;
    if split {
        return broken("it is one part of a zip file in several");
    }
    if start.checked_add(size).is_none_or(|end| end > after) {
        return broken("its directory lies outside of it");
    }
    if size > MOST_HEADER_BYTES {
        return broken("its directory is too large");
    }
    Ok((bytes_at(file, start, size as usize)?, start, count))
}

/// What the directory says of a member.
struct Entry {
    name: String,
    flags: u16,
    method: u16,
    packed: u64,
    size: u64,
    /// Where the member's own header begins.
    header: u64,
}

fn entry(rest: &mut Fields) -> Result<Entry, Flaw> {
    let mut fields = Fields(rest.take(CENTRAL_BYTES)?);
    if fields.take(4)? != CENTRAL {
        return broken("its directory is garbled");
    }
    fields.take(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(8)?;
    let (packed, size) = (fields.u32()?, fields.u32()?);
    let lengths = [fields.u16()?, fields.u16()?, fields.u16()?];
    fields.take(8)?;
    let header = fields.u32()?;
    let [name, extra, comment] = lengths.map(usize::from);
    let name = std::str::from_utf8(rest.take(name)?);
    let mut extra = Fields(rest.take(extra)?);
    rest.take(comment)?;
    let Ok(name) = name else {
        return broken("its directory has a name that is not UTF-8");
    };
    let [mut size, mut packed, mut header] = [size, packed, header].map(u64::from);
    while !extra.0.is_empty() {
        let (id, length) = (extra.u16()?, extra.u16()?);
        let mut field = Fields(extra.take(usize::from(length))?);
        if id == EXTRA_64 {
            for value in [&mut size, &mut packed, &mut header] {
                if *value == u64::from(u32::MAX) {
                    *value = field.u64()?;
                }
            }
        }
    }
    Ok(Entry {
        name: name.to_owned(),
        flags,
        method,
        packed,
        size,
        header,
    })
}

/// Little-endian numbers, taken from the front of some bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        match self.0.split_at_checked(length) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => broken("its directory is cut off"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let taken = self.take(N)?;
        Ok(taken.first_chunk().copied().unwrap_or([0; N]))
    }

    fn u16(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Flaw> {
        self.array().map(u64::from_le_bytes)
    }
}
