//! Outcomes and reasons: what happened to a step, and why, as data.
//!
//! [`Outcome`] is what a run did with a step; [`Reason`] is why it did so, or why `plan` expects it to. Both are stored in
//! the record of a run and printed by `--json` as they are; their `Display` is the one wording for people.
//!
//! Deliberately absent: the decision itself, which is the plan's, and any colour or layout.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fingerprint::Change;

/// What a run did with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its result was already known.
    Fresh,
    /// It ran to its end.
    Built,
    /// It ran, and could not finish.
    Failed,
    /// It was not tried.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Outcome::Fresh => "fresh",
            Outcome::Built => "built",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        })
    }
}

/// Why a step is, or would be, fresh, built, failed or skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// Fresh: recorded under its key, with its artifact in the store.
    UpToDate,
    /// Fresh: recorded under its key; the artifact was collected, and nothing that runs needs it.
    Collected,
    /// Fresh: recorded in another place; the artifact is there, and nothing that runs here needs it.
    KnownElsewhere { place: String },
    /// Fresh: recorded in another place, and the artifact was fetched from there.
    Fetched { place: String },
    /// Fresh: another process, or another step with the same key, built it meanwhile.
    BuiltElsewhere,
    /// What it reads must be fetched first; its key is known after that.
    NotFetched { what: Vec<String> },
    /// No record under its key, and no earlier run to compare with.
    NeverBuilt,
    /// No record under its key; since its last run these things changed.
    Changed { changes: Vec<Change> },
    /// Asked for with `--force`.
    Forced,
    /// Recorded, but the artifact was collected, and these steps must read it.
    ObjectMissing { needed_by: Vec<String> },
    /// Recorded, but a file of the artifact is not what it was.
    Corrupted { file: String },
    /// The artifact is there, but not placed where the spec wants it.
    PlacementMissing { to: String },
    /// What is placed there is an earlier result.
    PlacementStale { to: String },
    /// What is placed was not uploaded there yet.
    NotPublished { to: String },
    /// What stands there is not refit's to replace without `--force`.
    PlacementRefused { to: String },
    /// An upstream step must run first; whether this one must is known after that.
    Behind { stage: String },
    /// Skipped: an upstream step failed.
    UpstreamFailed { stage: String },
    /// Skipped: another step failed, and `--keep-going` was not given.
    Stopped { stage: String },
    /// The user asked to stop.
    Interrupted,
    /// Failed with this message.
    Error { message: String },
}

/// Changes told in one line; the rest is for `explain`.
const MOST_CHANGES: usize = 3;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::UpToDate => f.write_str("up to date"),
            Reason::Collected => f.write_str("up to date (artifact collected, not needed)"),
            Reason::KnownElsewhere { place } => {
                write!(f, "up to date by {place} (artifact not needed here)")
            }
            Reason::Fetched { place } => write!(f, "fetched from {place}"),
            Reason::BuiltElsewhere => f.write_str("built meanwhile under the same key"),
            Reason::NotFetched { what } => write!(f, "not fetched yet: {}", what.join(", ")),
            Reason::NeverBuilt => f.write_str("never built"),
            Reason::Changed { changes } if changes.is_empty() => f.write_str("changed"),
            Reason::Changed { changes } => {
                let told: Vec<String> = changes
                    .iter()
                    .take(MOST_CHANGES)
                    .map(Change::to_string)
                    .collect();
                f.write_str(&told.join("; "))?;
                match changes.len().saturating_sub(MOST_CHANGES) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
            Reason::Forced => f.write_str("forced"),
            Reason::ObjectMissing { needed_by } if needed_by.is_empty() => {
                f.write_str("artifact collected")
            }
            Reason::ObjectMissing { needed_by } => {
                write!(
                    f,
                    "artifact collected, and needed by {}",
                    needed_by.join(", ")
                )
            }
            Reason::Corrupted { file } => write!(f, "artifact damaged: {file}"),
            Reason::PlacementMissing { to } => write!(f, "not placed at {to}"),
            Reason::PlacementStale { to } => write!(f, "an earlier result is placed at {to}"),
            Reason::NotPublished { to } => write!(f, "not uploaded to {to}"),
            Reason::PlacementRefused { to } => {
                write!(
                    f,
                    "{to} was edited or is not refit's; `--force` replaces it"
                )
            }
            Reason::Behind { stage } => write!(f, "behind {stage}"),
            Reason::UpstreamFailed { stage } => write!(f, "{stage} failed upstream"),
            Reason::Stopped { stage } => write!(f, "not started, because {stage} failed"),
            Reason::Interrupted => f.write_str("interrupted"),
            Reason::Error { message } => f.write_str(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(path: &str) -> Change {
        Change::Setting {
            path: path.to_owned(),
            old: Some(1.into()),
            new: None,
        }
    }

    #[test]
    fn a_reason_with_many_changes_stays_one_line() {
        let few = Reason::Changed {
            changes: ["a", "b"].map(setting).to_vec(),
        };
        assert_eq!(few.to_string(), "a: 1 → default; b: 1 → default");
        let many = Reason::Changed {
            changes: ["a", "b", "c", "d", "e"].map(setting).to_vec(),
        };
        assert_eq!(
            many.to_string(),
            "a: 1 → default; b: 1 → default; c: 1 → default; and 2 more"
        );
    }

    #[test]
    fn a_reason_is_told_to_programs_by_a_tag() {
        let json = serde_json::to_string(&Reason::Behind {
            stage: "tokens".to_owned(),
        })
        .unwrap();
        assert_eq!(json, r#"{"why":"behind","stage":"tokens"}"#);
        assert_eq!(
            serde_json::to_string(&Outcome::Fresh).unwrap(),
            r#""fresh""#
        );
        let reason = Reason::Changed {
            changes: vec![setting("epochs")],
        };
        assert_eq!(
            serde_json::from_str::<Reason>(&serde_json::to_string(&reason).unwrap()).unwrap(),
            reason
        );
    }
}
