//! What Slurm's programs print, and what they are given. The texts were recorded from Slurm 22.05.

use std::path::Path;

use super::*;
use crate::executor::After;
use crate::spec::slurm::Resources;

/// A training array of four with two at once, one of which failed; its evaluations; the summary; a job of somebody else.
const QUEUE: &str = "\
3_2|CANCELLED|DependencyNeverSatisfied|refit-scores-0a1b2c3d
2_3|COMPLETED|None|refit-classifier-99aa88bb
3_3|RUNNING|None|refit-scores-0a1b2c3d
2_2|FAILED|NonZeroExitCode|refit-classifier-99aa88bb
2_1|RUNNING|JobArrayTaskLimit|refit-classifier-99aa88bb
2_5|PENDING|JobArrayTaskLimit|refit-classifier-99aa88bb
4|PENDING|Dependency|refit-summary-77777777
5|PENDING|BeginTime|refit-classifier-12121212
6|OUT_OF_MEMORY|OutOfMemory|refit-classifier-13131313
7|RUNNING|None|their | job
8|PENDING|DependencyNeverSatisfied|refit-scores-14141414
";

#[test]
fn a_queue_is_read_job_by_job() {
    let queue = read_queue(QUEUE);
    let seen = |id: &str| queue.jobs.get(id).cloned();
    let over = |how: &str| Some(Seen::Over(how.to_owned()));
    assert_eq!(seen("3_2"), over("CANCELLED, DependencyNeverSatisfied"));
    assert_eq!(seen("2_3"), over("it ended without a word"));
    assert_eq!(seen("2_2"), over("FAILED, NonZeroExitCode"));
    assert_eq!(seen("2_1"), Some(Seen::Running));
    assert_eq!(
        seen("2_5"),
        Some(Seen::Waiting("JobArrayTaskLimit".to_owned()))
    );
    assert_eq!(seen("5"), Some(Seen::Waiting("BeginTime".to_owned())));
    assert_eq!(seen("6"), over("OUT_OF_MEMORY, OutOfMemory"));
    assert_eq!(seen("7"), None, "it is not ours");
    assert_eq!(seen("8"), over("DependencyNeverSatisfied"));
    assert_eq!(seen("2_9"), None);
    assert_eq!(queue.names["refit-scores-0a1b2c3d"], "3");
    assert_eq!(queue.names["refit-summary-77777777"], "4");
}

#[test]
fn half_a_line_of_a_queue_is_no_job() {
    assert!(
        read_queue("2_3|COMPL\n\nslurm_load_jobs error\n")
            .jobs
            .is_empty()
    );
}

#[test]
fn an_id_is_what_sbatch_prints_last() {
    assert_eq!(identity("123\n").as_deref(), Some("123"));
    assert_eq!(identity("123;cluster\n").as_deref(), Some("123"));
    assert_eq!(
        identity("a message of the site\n123\n").as_deref(),
        Some("123")
    );
    assert_eq!(identity(""), None);
    assert_eq!(identity("no id\n"), None);
}

#[test]
fn what_slurm_complains_of_is_told_without_its_names() {
    let partition = "sbatch: error: invalid partition specified: nosuch\nsbatch: error: Batch job submission failed: Invalid partition name specified\n";
    assert_eq!(last_word(partition), "Invalid partition name specified");
    assert!(!passes(&last_word(partition)));
    let gone = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n";
    assert!(passes(&last_word(gone)));
    assert_eq!(last_word(""), "no word");
    let after = After::default();
    let submission = Submission {
        folder: Path::new("/"),
        name: "refit-my-tokens-0a1b2c3d",
        kind: "tokenize",
        indexes: &[0],
        after: &after,
    };
    assert_eq!(submission.stage(), "my-tokens");
}

#[test]
fn the_largest_array_is_the_clusters() {
    assert_eq!(
        largest_array("JobRequeue              = 1\nMaxArraySize            = 1001\n"),
        Some(1001)
    );
    assert_eq!(largest_array("MaxArraySize            = 0\n"), Some(1));
    assert_eq!(largest_array("nothing\n"), None);
}

fn given(settings: &SlurmSettings, kind: &str, indexes: &[usize], after: &After) -> Vec<String> {
    let submission = Submission {
        folder: Path::new("/store 100%/jobs/refit-classifier-1"),
        name: "refit-classifier-1",
        kind,
        indexes,
        after,
    };
    let options = options(settings, Path::new("/work; rm -rf x"), &submission);
    options
        .into_iter()
        .map(|one| one.into_string().unwrap())
        .collect()
}

#[test]
fn an_array_is_throttled_and_waits_index_by_index() {
    let settings = SlurmSettings {
        partition: Some("gpu".to_owned()),
        max_running: Some(2),
        memory: Some("4G".to_owned()),
        train: Some(Resources {
            gpus: Some(1),
            time: Some("2:00:00".to_owned()),
            ..Resources::default()
        }),
        options: vec!["--constraint=a100".to_owned()],
        ..SlurmSettings::default()
    };
    let after = After {
        all: vec!["7".to_owned(), "8_1".to_owned()],
        same_index: Some("9".to_owned()),
        ended: Vec::new(),
    };
    let options = given(&settings, "train", &[0, 1, 2, 5], &after);
    for wanted in [
        "--array=0-2,5%2",
        "--dependency=afterok:7:8_1,aftercorr:9",
        "--kill-on-invalid-dep=yes",
        "--output=/store 100%%/jobs/refit-classifier-1/%a.log",
        "--chdir=/work; rm -rf x",
        "--signal=B:USR1@120",
        "--gres=gpu:1",
        "--time=2:00:00",
        "--mem=4G",
        "--partition=gpu",
        "--constraint=a100",
    ] {
        assert!(
            options.iter().any(|one| one == wanted),
            "{wanted} is not in {options:#?}"
        );
    }
    let other = given(&settings, "evaluate", &[3], &After::default());
    assert!(
        other
            .iter()
            .any(|one| one == "--output=/store 100%%/jobs/refit-classifier-1/3.log")
    );
    for absent in ["--array", "--dependency", "--gres", "--time"] {
        assert!(
            !other.iter().any(|one| one.starts_with(absent)),
            "{absent} is in {other:#?}"
        );
    }
}

#[test]
fn the_summary_waits_for_ends() {
    let after = After {
        ended: vec!["12".to_owned(), "13".to_owned()],
        ..After::default()
    };
    let options = given(&SlurmSettings::default(), "summary", &[0], &after);
    assert!(
        options
            .iter()
            .any(|one| one == "--dependency=afterany:12:13")
    );
}

#[test]
fn the_script_holds_nothing_of_a_spec() {
    assert!(SCRIPT.contains("exec \"$1\" step \"$2\""));
    assert_eq!(SCRIPT.lines().count(), 3);
}
