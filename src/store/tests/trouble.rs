//! Claims about a clock that jumps, locks that do not reach another machine, and what the killed leave.

use super::*;

#[test]
fn the_newest_run_stays_the_newest_when_the_clock_goes_back() {
    let (_folder, store) = open();
    let now = Timestamp::now();
    let ahead = now + Duration::from_secs(3600);
    for (pipeline, started) in [
        ("first", now),
        ("ahead", ahead),
        ("back", now),
        ("last", now),
    ] {
        store.save_run(&run(pipeline, started, None)).unwrap();
    }
    let runs: Vec<RunRecord> = store.runs().collect();
    let names: Vec<&str> = runs.iter().map(|run| run.pipeline.as_str()).collect();
    assert_eq!(names, ["last", "back", "ahead", "first"]);
    assert_eq!(runs[0].started, now, "the record says what the clock said");
}

#[test]
fn a_run_that_began_earlier_and_ended_later_is_named_by_its_beginning() {
    let (_folder, store) = open();
    let ago = |seconds| Timestamp::now() - Duration::from_secs(seconds);
    store.save_run(&run("short", ago(10), None)).unwrap();
    store.save_run(&run("long", ago(100), None)).unwrap();
    let runs: Vec<RunRecord> = store.runs().collect();
    assert_eq!(runs[0].pipeline, "short");
}

/// What a second machine does to a draft whose lock it cannot see.
fn take_away(store: &Store, draft: &Draft) {
    store.layout.discard(draft.path()).unwrap();
}

#[test]
fn a_draft_that_was_taken_away_is_never_committed() {
    for comes_back in [false, true] {
        let (_folder, store) = open();
        let draft = begin(&store, &fingerprint(1), Need::Result);
        fs::write(draft.path().join("first.txt"), "first").unwrap();
        take_away(&store, &draft);
        if comes_back {
            // As a stage does that makes its folders where they are missing.
            fs::create_dir_all(draft.path()).unwrap();
            fs::write(draft.path().join("second.txt"), "second").unwrap();
        }
        let error = draft.commit(Kind::Table, 0.0).unwrap_err();
        if comes_back && cfg!(unix) {
            assert!(matches!(error, StoreError::Taken { .. }), "{error}");
        }
        assert_eq!(store.record(&fingerprint(1).key()), None);
        assert!(store.layout.digests().unwrap().is_empty());
    }
}

#[test]
fn builders_that_cannot_see_each_others_locks_do_not_write_into_one_folder() {
    let (_folder, store) = open();
    let first = begin(&store, &fingerprint(1), Need::Result);
    fs::write(first.path().join("table.json"), "half").unwrap();
    // Gone, as for a machine to which the lock does not reach.
    fs::remove_file(store.layout.draft_lock(&fingerprint(1).key())).unwrap();
    let second = begin(&store, &fingerprint(1), Need::Result);
    assert_ne!(first.path(), second.path());
    assert_eq!(names_in(second.path()).unwrap(), [""; 0]);
    fs::write(second.path().join("table.json"), "whole").unwrap();
    let record = second.commit(Kind::Table, 0.0).unwrap();
    first.commit(Kind::Table, 0.0).unwrap_err();
    assert_eq!(store.record(&record.key), Some(record.clone()));
    assert!(is_present(&store, &record));
    assert!(store.verify(&mut |_| ()).unwrap().bad.is_empty());
}

#[test]
fn tidying_deletes_what_the_killed_left_and_nothing_else() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    let rubbish = [
        format!("drafts/{}", record.key),
        format!("drafts/{}-09c1", record.key),
        "drafts/discarded-0".to_owned(),
        "drafts/.writing-a".to_owned(),
        "runs/.writing-b".to_owned(),
        ".writing-c".to_owned(),
    ];
    let leave = || {
        for name in &rubbish {
            fs::create_dir_all(store.root().join(name)).unwrap();
        }
    };
    leave();
    let draft = begin(&store, &fingerprint(2), Need::Result);
    store.tidy();
    assert!(draft.path().exists(), "somebody is at work on it");
    assert!(
        store.root().join("drafts/.writing-a").exists(),
        "somebody may be writing it"
    );
    drop(draft);
    leave();
    store.tidy();
    let left: Vec<&String> = rubbish
        .iter()
        .filter(|name| store.root().join(name).exists())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(names_in(&store.layout.drafts()).unwrap().is_empty());
    assert!(is_present(&store, &record));
}
