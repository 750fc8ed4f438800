//! Runs: the record of each `refit run`, kept for `log`, for `explain`, and to say what changed since last time.
//!
//! A record's file is named after its start and its pipeline, so that the newest records of one pipeline are found among
//! thousands by listing one folder. Here, and in no artifact, are clock times, paths, and the git commit.
//!
//! A run is addressed by how long ago it was, `1` for the newest, or by the beginning of the hash of its record's name, which
//! stays the same as runs are added.
//!
//! Should the clock have gone back since the newest run, a run's file is named as if it had begun right after that one, so that
//! the newest stays the newest; the record says what the clock said.
//!
//! Deliberately absent: anything that a decision about freshness would need. All records may be deleted.

use std::fs;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::artifact::Digest;
use crate::fingerprint::{Fingerprint, Key};
use crate::outcome::{Outcome, Reason};

use super::layout::{names_in, unique, write_whole};
use super::{Store, StoreError};

/// What one `refit run` was asked for, and did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The pipeline's name.
    pub pipeline: String,
    /// The spec's path, as given.
    pub spec: String,
    pub started: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// The git commit of the spec's folder, where there is one.
    pub commit: Option<String>,
    /// The command line, without the program.
    pub arguments: Vec<String>,
    /// `[run]` as it was in force: what is in no key.
    #[serde(default)]
    pub settings: Value,
    /// The spec's text, with its comments; `${env:…}` unresolved.
    #[serde(default)]
    pub text: String,
    /// In the order of the plan.
    pub steps: Vec<StepRecord>,
    /// Stage → metric → value.
    #[serde(default)]
    pub scores: Map<String, Value>,
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The stage's name.
    pub stage: String,
    /// The stage's kind.
    pub kind: String,
    pub outcome: Outcome,
    pub reason: Reason,
    /// None when an upstream step failed before the key was known.
    pub key: Option<Key>,
    /// None when there is no result.
    pub digest: Option<Digest>,
    /// How long it took; zero when fresh.
    pub seconds: f64,
    /// The step from which a training went on that had been stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from_step: Option<u64>,
    pub fingerprint: Option<Fingerprint>,
}

impl Store {
    /// Keeps the record of a run, and returns where.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn save_run(&self, run: &RunRecord) -> Result<PathBuf, StoreError> {
        self.layout.prepare()?;
        let time = self.in_order(run.started, Timestamp::now())?.strftime(TIME);
        let name = format!("{time}-{}-{}.json", tag(&run.pipeline), unique());
        let path = self.layout.runs().join(name);
        let text = serde_json::to_vec(run).map_err(|e| StoreError::write(&path, e.into()))?;
        write_whole(&path, &text)?;
        Ok(path)
    }

    /// The time to name a run by that began at `started` and is saved `now`.
    fn in_order(&self, started: Timestamp, now: Timestamp) -> Result<Timestamp, StoreError> {
        let names = names_in(&self.layout.runs())?;
        let times = names.iter().filter_map(|name| {
            let time = name.split('-').next()?.strip_suffix('Z')?;
            let time = civil::DateTime::strptime(TIME.trim_end_matches('Z'), time).ok()?;
            time.to_zoned(TimeZone::UTC)
                .ok()
                .map(|time| time.timestamp())
        });
        // One that began later may be saved earlier; that it began in the future only the clock can be blamed for.
        let newest = times.max().filter(|newest| *newest > now);
        let next = newest.and_then(|newest| newest.checked_add(SignedDuration::from_nanos(1)).ok());
        Ok(next.unwrap_or(started))
    }

    /// All runs, newest first, each read when it is asked for. Records that cannot be read are left out with a warning.
    pub fn runs(&self) -> impl Iterator<Item = RunRecord> {
        self.runs_named(|_| true).map(|(_, run)| run)
    }

    /// All runs, newest first, each with its address.
    pub fn runs_with_addresses(&self) -> impl Iterator<Item = (String, RunRecord)> {
        let short = |name: &str| address(name).chars().take(ADDRESS).collect();
        let all = self.runs_named(|_| true);
        all.map(move |(name, run)| (short(&name), run))
    }

    /// The run of an address: a number of at most three digits counts from the newest, 1, and anything else is the beginning
    /// of a hash, of four digits or more.
    ///
    /// # Errors
    /// No run, or several, have it.
    pub fn run_at(&self, wanted: &str) -> Result<(String, RunRecord), StoreError> {
        let nothing = || StoreError::NoRun {
            address: wanted.to_owned(),
            store: self.layout.root.clone(),
        };
        if wanted.len() < SHORTEST {
            let place: usize = wanted.parse().map_err(|_| nothing())?;
            let nth = place.checked_sub(1).ok_or_else(nothing)?;
            return self.runs_with_addresses().nth(nth).ok_or_else(nothing);
        }
        let wanted_too = wanted.to_lowercase();
        let mut found = self.runs_named(move |name| address(name).starts_with(&wanted_too));
        match (found.next(), found.next()) {
            (None, _) => Err(nothing()),
            (Some((name, run)), None) => Ok((address(&name).chars().take(ADDRESS).collect(), run)),
            (Some(_), Some(_)) => Err(StoreError::SeveralRuns {
                address: wanted.to_owned(),
                store: self.layout.root.clone(),
            }),
        }
    }

    /// The runs of one pipeline, newest first.
    pub fn runs_of(&self, pipeline: &str) -> impl Iterator<Item = RunRecord> {
        let tag = tag(pipeline);
        self.runs_named(move |name| name.split('-').nth(1) == Some(&tag))
            .map(|(_, run)| run)
            .filter(move |run| run.pipeline == pipeline)
    }

    /// The newest run of a pipeline.
    pub fn last_run_of(&self, pipeline: &str) -> Option<RunRecord> {
        self.runs_of(pipeline).next()
    }

    fn runs_named<F: Fn(&str) -> bool>(
        &self,
        wanted: F,
    ) -> impl Iterator<Item = (String, RunRecord)> + use<F> {
        let folder = self.layout.runs();
        let mut names = names_in(&folder).unwrap_or_else(|error| {
            tracing::warn!("past runs are unknown: {error}");
            Vec::new()
        });
        names.retain(|name| name.ends_with(".json") && !name.starts_with('.') && wanted(name));
        names.sort_unstable_by(|a, b| b.cmp(a));
        names.into_iter().filter_map(move |name| {
            let path = folder.join(&name);
            let read = fs::read(&path).map_err(|e| e.to_string());
            match read.and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string())) {
                Ok(run) => Some((name, run)),
                Err(error) => {
                    tracing::warn!("the record {} is left out: {error}", path.display());
                    None
                }
            }
        })
    }
}

/// How a record's name begins.
const TIME: &str = "%Y%m%dT%H%M%S%.9fZ";

/// Digits of a short address, and the fewest that are taken for one.
const ADDRESS: usize = 7;
const SHORTEST: usize = 4;

fn address(name: &str) -> String {
    Digest::of(name.as_bytes()).to_string()
}

fn tag(pipeline: &str) -> String {
    Digest::of(pipeline.as_bytes())
        .to_string()
        .chars()
        .take(8)
        .collect()
}
