//! What another store says, read as a stranger's word: sizes are bounded, names stay in their folder, and what does not lead
//! back to what was asked for is refused with a reason.
//!
//! Deliberately absent: asking, and the content of files, which is hashed once it is here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::artifact::{Digest, Manifest};
use crate::fingerprint::Key;
use crate::store::{MANIFEST, Record, stays_inside};

/// A record is some kilobytes.
pub(super) const LARGEST_RECORD: u64 = 16 << 20;
/// A manifest has a line for each file.
pub(super) const LARGEST_MANIFEST: u64 = 64 << 20;
/// A claim is one line.
pub(super) const LARGEST_CLAIM: u64 = 64 << 10;

/// Bytes of a file's name, and of a part of it: what every file system takes.
const LONGEST_NAME: usize = 1024;
const LONGEST_PART: usize = 200;

/// The record of this key.
///
/// # Errors
/// Why it is none, as a phrase.
pub(super) fn record(bytes: &[u8], key: &Key) -> Result<Record, String> {
    let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if record.key != *key || record.fingerprint.key() != *key {
        return Err("it belongs to another key".to_owned());
    }
    if record.kind != record.fingerprint.kind {
        return Err("it is of another kind of stage than its fingerprint".to_owned());
    }
    if !record.seconds.is_finite() || record.seconds < 0.0 {
        return Err("its time is none".to_owned());
    }
    Ok(Record {
        from: None,
        ..record
    })
}

/// The manifest of this object.
///
/// # Errors
/// Why it is none, as a phrase.
pub(super) fn manifest(bytes: &[u8], digest: &Digest) -> Result<Manifest, String> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut folders = BTreeSet::new();
    for name in manifest.files.keys() {
        // A name of one system must not lead out of the folder on another.
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= LONGEST_PART;
        let sound =
            stays_inside(name) && name.len() <= LONGEST_NAME && name.split('/').all(is_part);
        if !sound || name.contains(['\\', ':', '\0']) || name == MANIFEST {
            return Err(format!(
                "it names {name:?}, which has no place in an object"
            ));
        }
        let parts: Vec<&str> = name.split('/').collect();
        for end in 1..parts.len() {
            folders.insert(parts[..end].join("/"));
        }
    }
    if let Some(both) = manifest.files.keys().find(|name| folders.contains(*name)) {
        return Err(format!("it names {both:?} as a file and as a folder"));
    }
    if manifest.digest() != *digest {
        return Err("it belongs to another object".to_owned());
    }
    let mut sizes = manifest.files.values().map(|file| file.bytes);
    if sizes.try_fold(0_u64, u64::checked_add).is_none() {
        return Err("its sizes are none".to_owned());
    }
    Ok(manifest)
}

/// Who builds what has a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// By which its holder knows it again.
    pub(super) token: String,
    pub(super) host: String,
    pub(super) pid: u32,
    /// Goes up as long as its holder lives.
    pub(super) beat: u64,
}

impl Claim {
    pub(super) fn read(bytes: &[u8]) -> Option<Claim> {
        serde_json::from_slice(bytes).ok()
    }

    /// As it is shown: what comes from elsewhere may hold anything.
    pub(super) fn holder(&self) -> String {
        let host: String = self
            .host
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            .take(64)
            .collect();
        let host = if host.is_empty() {
            "another machine"
        } else {
            &host
        };
        format!("process {} on {host}", self.pid)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::artifact::{FileEntry, Kind};
    use crate::fingerprint::{FORMAT, Fingerprint};

    fn sound() -> Record {
        let fingerprint = Fingerprint {
            format: FORMAT,
            kind: "load".to_owned(),
            version: 1,
            settings: serde_json::json!({"rate": 0.1}),
            files: BTreeMap::new(),
            inputs: BTreeMap::new(),
        };
        Record {
            key: fingerprint.key(),
            kind: "load".to_owned(),
            artifact: Kind::Table,
            digest: Digest::of(b"x"),
            bytes: 3,
            created: jiff::Timestamp::UNIX_EPOCH,
            seconds: 0.5,
            fingerprint,
            from: Some("elsewhere".to_owned()),
        }
    }

    fn files(names: &[&str]) -> Manifest {
        let entry = FileEntry {
            bytes: 1,
            digest: Digest::of(b"1"),
        };
        Manifest {
            kind: Kind::Table,
            files: names
                .iter()
                .map(|name| ((*name).to_owned(), entry.clone()))
                .collect(),
        }
    }

    #[test]
    fn a_record_leads_back_to_its_key_or_is_refused() {
        let record_of = |record: &Record| serde_json::to_vec(record).unwrap();
        let good = sound();
        assert_eq!(record(&record_of(&good), &good.key).unwrap().from, None);
        let other = Digest::of(b"other").to_string().parse().unwrap();
        assert!(record(&record_of(&good), &other).is_err());
        let mut lying = sound();
        lying.fingerprint.version = 2;
        assert!(record(&record_of(&lying), &lying.key).is_err());
        let mut lying = sound();
        lying.kind = "train".to_owned();
        assert!(record(&record_of(&lying), &lying.key).is_err());
    }

    #[test]
    fn a_manifest_names_nothing_outside_its_object() {
        for names in [
            &["../x"][..],
            &["/etc/passwd"],
            &["a/../../x"],
            &["."],
            &[""],
            &["a\\..\\x"],
            &["C:x"],
            &["manifest.json"],
            &["a", "a/b"],
            &["a/"],
            &["a//b"],
            &["a/./b"],
            &[&"x".repeat(300)],
        ] {
            let manifest_there = files(names);
            let bytes = serde_json::to_vec(&manifest_there).unwrap();
            assert!(
                manifest(&bytes, &manifest_there.digest()).is_err(),
                "{names:?}"
            );
        }
        let good = files(&["a", "b/c.json", "b/d/e"]);
        let bytes = serde_json::to_vec(&good).unwrap();
        assert_eq!(manifest(&bytes, &good.digest()).unwrap(), good);
        assert!(manifest(&bytes, &Digest::of(b"other")).is_err());
        let mut huge = files(&["a", "b"]);
        for entry in huge.files.values_mut() {
            entry.bytes = u64::MAX;
        }
        let bytes = serde_json::to_vec(&huge).unwrap();
        assert!(manifest(&bytes, &huge.digest()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let good = sound();
            prop_assert!(record(&bytes, &good.key).is_err());
            prop_assert!(manifest(&bytes, &good.digest).is_err());
            let _ = Claim::read(&bytes);
        }

        #[test]
        fn a_record_with_some_bytes_changed_never_passes_for_another(
            at in 0_usize..2000, byte in any::<u8>(), cut in 0_usize..2000,
        ) {
            let good = sound();
            let mut bytes = serde_json::to_vec(&good).unwrap();
            bytes.truncate(cut.max(1).min(bytes.len()));
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
            if let Ok(read) = record(&bytes, &good.key) {
                prop_assert_eq!(read.key, good.key);
                prop_assert_eq!(read.fingerprint.key(), good.key);
            }
        }

        #[test]
        fn no_name_of_a_sound_manifest_leads_out_of_its_folder(names in prop::collection::btree_set("[a./\\\\:]{0,6}", 1..5)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let there = files(&names);
            let bytes = serde_json::to_vec(&there).unwrap();
            if let Ok(read) = manifest(&bytes, &there.digest()) {
                for name in read.files.keys() {
                    let path = std::path::Path::new("/object").join(name);
                    let inside = path.starts_with("/object")
                        && !path.components().any(|part| part == std::path::Component::ParentDir);
                    prop_assert!(inside && path != std::path::Path::new("/object"), "{}", name);
                }
            }
        }

        #[test]
        fn a_holder_is_shown_on_one_plain_line(host in ".*", pid in any::<u32>()) {
            let claim = Claim { token: String::new(), host, pid, beat: 0 };
            let shown = claim.holder();
            prop_assert!(shown.len() < 120 && shown.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{}", shown);
        }
    }
}
