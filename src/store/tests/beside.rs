//! Claims about checkpoints and answers: which are told of, and which `gc` takes.

use super::*;

/// What the work on this number's key wrote down.
fn checkpoint(store: &Store, number: u64) -> Key {
    let key = fingerprint(number).key();
    let folder = store.checkpoints(&key).join("step-000000000005");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("state.json"), "state").unwrap();
    key
}

fn keys(checkpoints: &[Unfinished]) -> Vec<Key> {
    let mut keys: Vec<Key> = checkpoints.iter().map(|one| one.key).collect();
    keys.sort();
    keys
}

fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort();
    keys
}

#[test]
fn checkpoints_are_told_of_with_their_sizes() {
    let (_folder, store) = open();
    assert_eq!(store.unfinished().unwrap(), []);
    let (done, going) = (checkpoint(&store, 1), checkpoint(&store, 2));
    build(&store, 1, "content");
    let told = store.unfinished().unwrap();
    assert_eq!(keys(&told), sorted(vec![done, going]));
    for one in &told {
        assert_eq!((one.bytes, one.done), (5, one.key == done));
        let age = Timestamp::now().duration_since(one.written);
        assert!(age.abs() < jiff::SignedDuration::from_hours(1));
    }
}

#[test]
fn checkpoints_that_no_spec_goes_on_from_are_collected() {
    let (_folder, store) = open();
    let (done, used, unused) = (
        checkpoint(&store, 1),
        checkpoint(&store, 2),
        checkpoint(&store, 3),
    );
    build(&store, 1, "content");
    let scope = Scope {
        keep: Some(Used {
            keys: [done, used].into(),
            ..Used::default()
        }),
        older_than: None,
    };
    let foreseen = store.gc(&scope, true).unwrap();
    assert_eq!(keys(&foreseen.checkpoints), sorted(vec![done, unused]));
    assert_eq!(
        store.unfinished().unwrap().len(),
        3,
        "a dry run takes nothing"
    );
    let collected = store.gc(&scope, false).unwrap();
    assert_eq!(collected.checkpoints, foreseen.checkpoints);
    assert_eq!(keys(&collected.kept_checkpoints), [used]);
    let objects: u64 = collected.objects.iter().map(|object| object.bytes).sum();
    assert_eq!(collected.bytes, objects + 10);
    assert_eq!(keys(&store.unfinished().unwrap()), [used]);
}

#[test]
fn checkpoints_are_collected_by_their_age() {
    let (_folder, store) = open();
    let key = checkpoint(&store, 1);
    let than = |limit| Scope {
        keep: None,
        older_than: Some(limit),
    };
    let before = Timestamp::now() - Duration::from_secs(3600);
    let collected = store.gc(&than(before), false).unwrap();
    assert_eq!(keys(&collected.kept_checkpoints), [key]);
    let after = Timestamp::now() + Duration::from_secs(3600);
    let both = Scope {
        keep: Some(Used {
            keys: [key].into(),
            ..Used::default()
        }),
        older_than: Some(after),
    };
    assert!(store.gc(&both, false).unwrap().checkpoints.is_empty());
    let collected = store.gc(&than(after), false).unwrap();
    assert_eq!(keys(&collected.checkpoints), [key]);
    assert!(!store.checkpoints(&key).exists());
}

#[test]
fn answers_are_told_of_and_stay() {
    let (_folder, store) = open();
    assert_eq!(store.answers(), None);
    let folder = store.kept().join("translations");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.jsonl"), "answers").unwrap();
    fs::write(folder.join("a.lock"), "").unwrap();
    let told = store.answers().unwrap();
    assert_eq!((told.files, told.bytes), (1, 7));
    let all = Scope {
        keep: None,
        older_than: Some(Timestamp::now() + Duration::from_secs(3600)),
    };
    store.gc(&all, false).unwrap();
    assert_eq!(store.answers(), Some(told));
}

#[test]
fn a_run_takes_the_checkpoints_of_what_is_done_and_leaves_those_of_what_is_built_anew() {
    let (_folder, store) = open();
    let (done, going) = (checkpoint(&store, 1), checkpoint(&store, 2));
    build(&store, 1, "content");
    store.tidy();
    assert_eq!(keys(&store.unfinished().unwrap()), [going]);
    // The clock of a file system may lag a little.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(checkpoint(&store, 1), done);
    store.tidy();
    assert_eq!(
        keys(&store.unfinished().unwrap()),
        sorted(vec![done, going])
    );
}

#[test]
fn checkpoints_of_what_was_collected_stay_for_whoever_builds_it_anew() {
    let (_folder, store) = open();
    let key = checkpoint(&store, 1);
    let record = build(&store, 1, "content");
    assert!(store.unfinished().unwrap()[0].done);
    store
        .layout
        .discard(&store.layout.object(&record.digest))
        .unwrap();
    assert!(!store.unfinished().unwrap()[0].done);
    store.tidy();
    let scope = Scope {
        keep: Some(Used {
            keys: [key].into(),
            ..Used::default()
        }),
        older_than: None,
    };
    assert!(store.gc(&scope, false).unwrap().checkpoints.is_empty());
    assert_eq!(keys(&store.unfinished().unwrap()), [key]);
}

#[test]
fn checkpoints_stay_while_it_is_not_known_who_goes_on_from_them() {
    let (_folder, store) = open();
    let (done, going) = (checkpoint(&store, 1), checkpoint(&store, 2));
    build(&store, 1, "content");
    let mut keep = Used::default();
    keep.extend(Used {
        unknown: true,
        ..Used::default()
    });
    let scope = Scope {
        keep: Some(keep),
        older_than: None,
    };
    let collected = store.gc(&scope, false).unwrap();
    assert_eq!(keys(&collected.checkpoints), [done]);
    assert_eq!(keys(&collected.kept_checkpoints), [going]);
}
