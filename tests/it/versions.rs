//! Equal keys promise equal results, so a stage whose results change must raise its version.
//!
//! The results of a tiny run are pinned by kind and version: by digest where they are the same on every machine, by the
//! loss where they depend on the processor's instructions in the last digits. A new release of a library goes through the
//! same gate.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::project::{Project, digests};

const SPEC: &str = "pipeline.toml";

/// (kind, version, digest of the tiny run).
const DIGESTS: [(&str, u64, &str); 3] = [
    (
        "load",
        4,
        "d99f831f4c949457f87142b3d71acd7ab086913e2dd766be5a2e1c1fdbe82e22",
    ),
    (
        "augment",
        2,
        "6a327e05559890452a95733f322c8969c2b2c654ffd7fb5f2f3e19b013398a7c",
    ),
    (
        "tokenize",
        1,
        "1358a8b502edb4531c71f9b0b009632f0a4c0cb6eb2706f07b59ddc96b50ddd7",
    ),
];

/// (kind, version, stage, loss of the tiny run).
const LOSSES: [(&str, u64, &str, f64); 2] = [
    ("train", 3, "classifier", 0.693_168_91),
    ("evaluate", 3, "scores", 0.693_167_81),
];

/// Far above what another instruction set changes, far below what another computation does.
const SAME_LOSS: f64 = 2e-6;

const REMEDY: &str = "equal keys would now give other results. If that is meant, raise the number that `version` returns in \
    the kind's stage file and pin the new result here; if not, find what changed (a library's release?)";

#[test]
fn a_stage_whose_results_change_raises_its_version() {
    let project = Project::tiny();
    let run = project.run(&[SPEC]);
    let found = digests(&run);
    let versions = versions(&project);
    for (kind, version, digest) in DIGESTS {
        let (stage, now) = &versions[kind];
        assert_eq!(
            *now, version,
            "{kind}: pin the digest of version {now}: {}",
            found[stage]
        );
        assert_eq!(found[stage], digest, "{kind} version {version}: {REMEDY}");
    }
    for (kind, version, stage, loss) in LOSSES {
        let now = run["scores"][stage]["loss"].as_f64().unwrap();
        assert_eq!(
            versions[kind].1, version,
            "{kind}: pin the loss of version {}: {now}",
            versions[kind].1
        );
        assert!(
            (now - loss).abs() < SAME_LOSS,
            "{kind} version {version}: loss {now}, pinned {loss}: {REMEDY}"
        );
    }
}

/// As [`LOSSES`], of a tiny pretraining.
const PRETRAINING: (u64, f64) = (2, 4.142_813_82);

#[test]
fn a_pretraining_whose_result_changes_raises_its_version() {
    let project = crate::pretrain::project();
    project.replace("spec.toml", "epochs = 12", "max_steps = 6");
    let run = project.run(&["spec.toml"]);
    let now = run["scores"]["encoder"]["loss"].as_f64().unwrap();
    let (version, loss) = PRETRAINING;
    assert_eq!(
        versions(&project)["pretrain"].1,
        version,
        "pin the loss of the new version: {now}"
    );
    assert!(
        (now - loss).abs() < SAME_LOSS * 10.0,
        "pretrain version {version}: loss {now}, pinned {loss}: {REMEDY}"
    );
}

/// Kind → (stage, version), from the record of the run.
fn versions(project: &Project) -> BTreeMap<String, (String, u64)> {
    let runs = project
        .refit(&["log", "--json", "-n", "1"])
        .success()
        .json();
    let steps = runs[0]["steps"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of_step = |step: &Value| {
        let version = step["fingerprint"]["version"].as_u64().unwrap();
        (text(&step["kind"]), (text(&step["stage"]), version))
    };
    steps.iter().map(of_step).collect()
}
