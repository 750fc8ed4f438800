//! What pipelines came to, in `refit.lock`: digests of the data that stages read and of the artifacts that they made.
//!
//! Nothing is decided by it. It lets a reader of the file, and of its changes, see that two machines came to the same; where
//! they did not, that is said and is no error, since another kind of device rounds otherwise. Therefore artifacts that a device
//! computes have a digest for each kind of device.
//!
//! Once it was asked for, it is kept up to date: a stage with another key has a new entry. Under the same key the first digest
//! stays until an update.
//!
//! Deliberately absent: what a digest is of.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::HubError;
use super::lock::Lock;

/// What a stage of a pipeline came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageResult {
    pub pipeline: String,
    pub stage: String,
    pub key: String,
    /// What the files that it reads are for → the digest of their content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Kind of device, or `any` → the artifact's digest.
    pub digests: BTreeMap<String, String>,
}

/// A result that is not what the lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherResult {
    pub stage: String,
    pub device: String,
    pub locked: String,
    pub found: String,
}

/// Writes down what stages came to, each with one digest, where that was asked for now or before. With `whole` these are all
/// stages of the pipeline, and others of its name go.
///
/// # Errors
/// The lock cannot be read or written.
pub fn write_results(
    lock: &Path,
    asked: bool,
    update: bool,
    whole: bool,
    results: &[StageResult],
) -> Result<Vec<OtherResult>, HubError> {
    let mut written = Lock::read(lock)?;
    if !asked && written.result.is_empty() {
        return Ok(Vec::new());
    }
    let mut others = Vec::new();
    for result in results {
        others.extend(merge(&mut written.result, result, update));
    }
    if whole {
        let is_there = |one: &StageResult| results.iter().any(|other| other.stage == one.stage);
        let ours: Vec<&str> = results.iter().map(|one| one.pipeline.as_str()).collect();
        written
            .result
            .retain(|one| !ours.contains(&one.pipeline.as_str()) || is_there(one));
    }
    written.write(lock)?;
    Ok(others)
}

fn merge(entries: &mut Vec<StageResult>, new: &StageResult, update: bool) -> Vec<OtherResult> {
    let same = |one: &StageResult| one.pipeline == new.pipeline && one.stage == new.stage;
    let before = entries.iter_mut().find(|one| same(one));
    let Some(before) = before.filter(|one| one.key == new.key) else {
        entries.retain(|one| !same(one));
        entries.push(new.clone());
        return Vec::new();
    };
    let mut others = Vec::new();
    for (device, found) in &new.digests {
        // What another kind of device came to may have been fetched.
        if before.digests.values().any(|known| known == found) {
            continue;
        }
        match before.digests.get(device) {
            Some(locked) if !update => others.push(OtherResult {
                stage: new.stage.clone(),
                device: device.clone(),
                locked: locked.clone(),
                found: found.clone(),
            }),
            _ => {
                before.digests.insert(device.clone(), found.clone());
            }
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(stage: &str, key: &str, device: &str, digest: &str) -> StageResult {
        StageResult {
            pipeline: "news".to_owned(),
            stage: stage.to_owned(),
            key: key.to_owned(),
            files: BTreeMap::from([("train".to_owned(), "f".repeat(64))]),
            digests: BTreeMap::from([(device.to_owned(), digest.to_owned())]),
        }
    }

    #[test]
    fn results_are_written_once_asked_for_and_a_difference_is_told_and_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("refit.lock");
        let write = |asked, update, results: &[StageResult]| {
            write_results(&lock, asked, update, true, results).unwrap()
        };
        write(false, false, &[result("a", "k1", "flex", "1")]);
        assert!(!lock.exists(), "nobody asked for it");
        write(
            true,
            false,
            &[
                result("a", "k1", "flex", "1"),
                result("b", "k2", "any", "2"),
            ],
        );
        let first = std::fs::read_to_string(&lock).unwrap();
        let same = write(
            false,
            false,
            &[
                result("a", "k1", "cuda", "1"),
                result("b", "k2", "any", "2"),
            ],
        );
        assert_eq!(same, []);
        assert_eq!(std::fs::read_to_string(&lock).unwrap(), first);

        let other = [
            result("a", "k1", "flex", "3"),
            result("b", "k2", "any", "2"),
        ];
        let told = write(false, false, &other);
        assert_eq!(
            (told[0].locked.as_str(), told[0].found.as_str()),
            ("1", "3")
        );
        assert_eq!(std::fs::read_to_string(&lock).unwrap(), first);
        assert_eq!(write(false, true, &other), []);
        assert_eq!(write(false, false, &other), []);
        // Another kind of device may come to something else.
        write(
            false,
            false,
            &[
                result("a", "k1", "cuda", "4"),
                result("b", "k2", "any", "2"),
            ],
        );
        let text = std::fs::read_to_string(&lock).unwrap();
        assert!(
            text.contains("cuda = \"4\"") && text.contains("flex = \"3\""),
            "{text}"
        );
        // Another key is another result; a stage that is gone has none.
        write(false, false, &[result("a", "k9", "flex", "5")]);
        let text = std::fs::read_to_string(&lock).unwrap();
        assert!(
            text.contains("k9") && !text.contains("k1") && !text.contains("k2"),
            "{text}"
        );
    }
}
