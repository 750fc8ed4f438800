//! Claims about which checkpoints stay.

use super::*;

/// What is left of these after the checkpoint of a step was written.
fn left(steps: &[u64], step: u64, keep: usize) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for step in steps {
        fs::create_dir(folder.path().join(name_of(*step))).unwrap();
    }
    fs::create_dir(folder.path().join("writing-step-000000000007")).unwrap();
    prune(folder.path(), step, keep).unwrap();
    assert!(beginning(folder.path(), WRITING).is_empty());
    let left = written(folder.path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    left.iter().map(name).collect()
}

#[test]
fn the_newest_stay() {
    assert_eq!(
        left(&[500, 1000, 1500], 1500, 2),
        [name_of(1000), name_of(1500)]
    );
    assert_eq!(left(&[500], 500, 2), [name_of(500)]);
}

#[test]
fn those_that_were_passed_over_do_not_crowd_out_the_new() {
    assert_eq!(left(&[500, 9000, 9500], 500, 1), [name_of(500)]);
    assert_eq!(
        left(&[300, 500, 9000], 500, 2),
        [name_of(300), name_of(500)]
    );
}
