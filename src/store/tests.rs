//! Claims about what a store keeps, hands out, and lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::layout::names_in;
use super::*;
use crate::fingerprint::FORMAT;
use crate::outcome::{Outcome, Reason};

mod beside;
mod together;
mod trouble;

fn open() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn fingerprint(number: u64) -> Fingerprint {
    Fingerprint {
        format: FORMAT,
        kind: "load".to_owned(),
        version: 1,
        settings: json!({"number": number, "rate": 2.3e-5}),
        files: BTreeMap::new(),
        inputs: BTreeMap::new(),
    }
}

fn never(_: Duration) -> ControlFlow<()> {
    panic!("nobody else holds the lock")
}

fn nobody(_: &str, _: Duration) -> ControlFlow<()> {
    panic!("no other machine builds")
}

fn begin<'s>(store: &'s Store, fingerprint: &Fingerprint, need: Need) -> Draft<'s> {
    match store
        .begin(fingerprint, need, &mut never, &mut nobody)
        .unwrap()
    {
        Begun::Won(draft) => draft,
        other => panic!("{other:?}"),
    }
}

fn build(store: &Store, number: u64, content: &str) -> Record {
    let draft = begin(store, &fingerprint(number), Need::Result);
    fs::create_dir(draft.path().join("inner")).unwrap();
    fs::write(draft.path().join("table.json"), content).unwrap();
    fs::write(draft.path().join("inner/train.txt"), content).unwrap();
    draft.commit(Kind::Table, 1.5).unwrap()
}

fn used<const N: usize>(objects: [Digest; N]) -> Option<Used> {
    Some(Used {
        objects: objects.into(),
        ..Used::default()
    })
}

fn is_present(store: &Store, record: &Record) -> bool {
    matches!(store.object(&record.digest), ObjectState::Present(_))
}

#[test]
fn a_file_is_written_whole_while_somebody_tidies() {
    let (_folder, store) = open();
    store.layout.prepare().unwrap();
    let path = store.root().join("file");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                store.layout.sweep_rubbish().unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        for round in 0..300_u32 {
            let content = round.to_string();
            layout::write_whole(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn what_was_committed_is_found_again() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    let later = Store::open(store.root()).unwrap();
    assert_eq!(later.record(&fingerprint(1).key()).unwrap(), record);
    assert_eq!(
        later.object(&record.digest),
        ObjectState::Present(store.object_path(&record.digest))
    );
    assert_eq!(
        fs::read_to_string(store.object_path(&record.digest).join("inner/train.txt")).unwrap(),
        "content"
    );
    assert_eq!(
        (record.bytes, record.kind.as_str(), record.seconds),
        (14, "load", 1.5)
    );
    assert_eq!(later.record(&fingerprint(2).key()), None);
    assert!(names_in(&store.layout.drafts()).unwrap().is_empty());
}

#[test]
fn reading_makes_no_store() {
    let (_folder, store) = open();
    assert_eq!(store.record(&fingerprint(1).key()), None);
    assert_eq!(store.object(&Digest::of(b"none")), ObjectState::Absent);
    assert_eq!(store.runs().count(), 0);
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(store.sweep_drafts().unwrap(), 0);
    assert_eq!(store.verify(&mut |_| ()).unwrap(), Verified::default());
    store.save_memo();
    assert!(!store.root().exists());
}

#[test]
fn a_store_hides_itself_from_git() {
    let (_folder, store) = open();
    build(&store, 1, "content");
    assert_eq!(
        fs::read_to_string(store.root().join(".gitignore")).unwrap(),
        "*\n"
    );
}

#[test]
fn a_folder_with_other_things_is_not_made_a_store() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "").unwrap();
    assert!(matches!(
        Store::open(folder.path()),
        Err(StoreError::NotAStore { .. })
    ));
    assert!(matches!(
        Store::open(&folder.path().join("thesis.tex")),
        Err(StoreError::NotAFolder { .. })
    ));
    assert!(Store::open(&folder.path().join("new")).is_ok());
}

#[test]
fn a_store_of_another_format_is_refused() {
    let (_folder, store) = open();
    build(&store, 1, "content");
    fs::write(store.root().join("format"), "2\n").unwrap();
    let error = Store::open(store.root()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Format { found, .. } if found == "2"),
        "{error}"
    );
}

#[test]
fn a_store_that_was_being_made_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    fs::write(folder.path().join(".writing-abc"), "").unwrap();
    build(&Store::open(folder.path()).unwrap(), 1, "content");
    assert!(Store::open(folder.path()).is_ok());
}

#[test]
fn the_store_is_where_one_would_look_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("project/pipelines");
    fs::create_dir_all(&spec).unwrap();
    let locate = |explicit: Option<&str>, environment: Option<&str>| {
        Store::locate(explicit.map(Path::new), environment.map(OsStr::new), &spec)
    };
    assert_eq!(locate(Some("a"), Some("b")), Path::new("a"));
    assert_eq!(locate(None, Some("b")), Path::new("b"));
    assert_eq!(locate(None, Some("")), spec.join(".refit"));
    fs::write(folder.path().join("project/.git"), "gitdir: elsewhere").unwrap();
    assert_eq!(locate(None, None), folder.path().join("project/.refit"));
    fs::create_dir(spec.join(".refit")).unwrap();
    assert_eq!(locate(None, None), spec.join(".refit"));
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    let (_folder, store) = open();
    let draft = begin(&store, &fingerprint(1), Need::Result);
    let path = draft.path().to_owned();
    fs::write(path.join("half"), "half").unwrap();
    drop(draft);
    assert!(!path.exists());
    assert_eq!(store.record(&fingerprint(1).key()), None);
}

#[test]
fn a_finished_key_is_not_built_again_unless_forced() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    let again = store
        .begin(&fingerprint(1), Need::Result, &mut never, &mut nobody)
        .unwrap();
    assert!(matches!(again, Begun::Already(found) if found == record));
    let draft = begin(&store, &fingerprint(1), Need::Rebuild);
    fs::write(draft.path().join("table.json"), "other").unwrap();
    let rebuilt = draft.commit(Kind::Table, 0.1).unwrap();
    assert_ne!(rebuilt.digest, record.digest);
    assert_eq!(store.record(&fingerprint(1).key()), Some(rebuilt));
}

#[test]
fn equal_content_of_two_keys_is_kept_once() {
    let (_folder, store) = open();
    let (one, two) = (build(&store, 1, "content"), build(&store, 2, "content"));
    assert_eq!(one.digest, two.digest);
    assert_eq!(names_in(&store.layout.objects()).unwrap().len(), 1);
}

#[test]
fn a_stage_may_not_write_the_manifest() {
    let (_folder, store) = open();
    let draft = begin(&store, &fingerprint(1), Need::Result);
    fs::write(draft.path().join(MANIFEST), "{}").unwrap();
    assert!(matches!(
        draft.commit(Kind::Table, 0.0),
        Err(StoreError::Reserved { .. })
    ));
}

#[test]
fn a_record_cut_anywhere_counts_as_absent() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    let path = store.layout.record(&record.key);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(store.record(&record.key), None, "cut at {cut}");
    }
    fs::write(store.layout.record(&fingerprint(2).key()), &whole).unwrap();
    assert_eq!(
        store.record(&fingerprint(2).key()),
        None,
        "a record under another key's name"
    );
    assert_eq!(build(&store, 1, "content").digest, record.digest);
}

#[test]
fn a_manifest_cut_anywhere_is_damage_and_is_replaced() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    let path = store.object_path(&record.digest).join(MANIFEST);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(
            store.object(&record.digest),
            ObjectState::Corrupted {
                file: MANIFEST.to_owned()
            },
            "cut at {cut}"
        );
    }
    build(&store, 1, "content");
    assert!(is_present(&store, &record));
}

#[test]
fn a_manifest_cannot_lead_out_of_its_folder() {
    for name in ["../secret", "/etc/passwd", "a/../../b", "", "."] {
        assert!(!stays_inside(name), "{name}");
    }
    assert!(stays_inside("tokenizer/vocab.txt"));
}

#[test]
fn an_object_changed_behind_its_back_is_noticed_and_rebuilt() {
    type Harm = fn(&Path);
    let harms: [Harm; 4] = [
        |path| fs::write(path, "cOntent").unwrap(),
        |path| fs::write(path, "content and more").unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for harm in harms {
        let (_folder, store) = open();
        let record = build(&store, 1, "content");
        harm(&store.object_path(&record.digest).join("inner/train.txt"));
        assert_eq!(
            store.object(&record.digest),
            ObjectState::Corrupted {
                file: "inner/train.txt".to_owned()
            }
        );
        assert_eq!(build(&store, 1, "content").digest, record.digest);
        assert!(is_present(&store, &record));
    }
}

#[test]
fn an_edit_within_one_tick_of_the_commit_is_noticed() {
    let (_folder, store) = open();
    for number in 0..200 {
        let record = build(&store, number, &format!("content {number:04}"));
        fs::write(
            store.object_path(&record.digest).join("table.json"),
            format!("c0ntent {number:04}"),
        )
        .unwrap();
        assert_eq!(
            store.object(&record.digest),
            ObjectState::Corrupted {
                file: "table.json".to_owned()
            },
            "{number}"
        );
    }
}

#[test]
fn an_edit_within_one_tick_of_hashing_is_noticed() {
    let (folder, store) = open();
    let path = folder.path().join("data.csv");
    for number in 0..2000 {
        let content = format!("row {number:06}");
        fs::write(&path, &content).unwrap();
        assert_eq!(
            store.digest_file(&path).unwrap(),
            Digest::of(content.as_bytes())
        );
    }
}

#[test]
fn a_settled_file_is_remembered_across_commands() {
    let (folder, store) = open();
    build(&store, 1, "content");
    let path = folder.path().join("data.csv");
    fs::write(&path, "rows").unwrap();
    std::thread::sleep(Duration::from_millis(3100));
    assert_eq!(store.digest_file(&path).unwrap(), Digest::of(b"rows"));
    store.save_memo();
    let later = Store::open(store.root()).unwrap();
    let stamp = Stamp::of(&fs::metadata(&path).unwrap()).unwrap();
    assert_eq!(
        later.memo.recall(path.to_str().unwrap(), &stamp),
        Some(Digest::of(b"rows"))
    );
    fs::write(&path, "ROWS").unwrap();
    assert_eq!(later.digest_file(&path).unwrap(), Digest::of(b"ROWS"));
}

#[test]
fn an_object_just_built_needs_no_hashing_next_time() {
    let (_folder, store) = open();
    let draft = begin(&store, &fingerprint(1), Need::Result);
    fs::write(draft.path().join("table.json"), "content").unwrap();
    std::thread::sleep(Duration::from_millis(30));
    let record = draft.commit(Kind::Table, 0.0).unwrap();
    let stamp =
        Stamp::of(&fs::metadata(store.object_path(&record.digest).join("table.json")).unwrap())
            .unwrap();
    let name = object_name(&record.digest, "table.json");
    assert_eq!(
        store.memo.recall(&name, &stamp),
        Some(Digest::of(b"content"))
    );
}

#[test]
fn a_users_file_that_is_none_is_an_error_with_its_path() {
    let (folder, store) = open();
    assert_eq!(
        store
            .digest_file(&folder.path().join("none"))
            .unwrap_err()
            .path,
        folder.path().join("none")
    );
    assert!(store.digest_file(folder.path()).is_err());
}

#[test]
fn verify_reads_what_the_memo_would_believe() {
    let (_folder, store) = open();
    let (good, bad) = (build(&store, 1, "good"), build(&store, 2, "content"));
    let file = store.object_path(&bad.digest).join("table.json");
    fs::write(&file, "cOntent").unwrap();
    let stamp = Stamp::of(&fs::metadata(&file).unwrap()).unwrap();
    store.memo.learn(
        &object_name(&bad.digest, "table.json"),
        stamp,
        Digest::of(b"content"),
        i64::MAX,
    );
    assert!(is_present(&store, &bad), "the memo is deceived");

    let mut seen = Vec::new();
    let verified = store.verify(&mut |digest| seen.push(*digest)).unwrap();
    assert_eq!(
        (verified.checked, seen.len(), verified.bad.len()),
        (2, 2, 1)
    );
    let damage = &verified.bad[0];
    assert_eq!(
        damage.problems,
        ["table.json has other content than was recorded"]
    );
    assert!(is_present(&store, &good) && !is_present(&store, &bad));
    assert_eq!(build(&store, 2, "content").digest, bad.digest);
    assert!(store.verify(&mut |_| ()).unwrap().bad.is_empty());
}

#[test]
fn verify_names_every_kind_of_damage() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    let path = store.object_path(&record.digest);
    fs::write(path.join("table.json"), "longer than content").unwrap();
    fs::remove_file(path.join("inner/train.txt")).unwrap();
    fs::write(path.join("inner/.DS_Store"), "").unwrap();
    fs::create_dir(store.object_path(&Digest::of(b"no manifest"))).unwrap();
    let verified = store.verify(&mut |_| ()).unwrap();
    let problems: BTreeSet<String> = verified
        .bad
        .into_iter()
        .flat_map(|damage| damage.problems)
        .collect();
    let expected = [
        "inner/.DS_Store does not belong to this object",
        "inner/train.txt cannot be read: No such file or directory (os error 2)",
        "manifest.json is missing or is not the one of this object",
        "table.json has 19 bytes instead of 7",
    ];
    assert_eq!(Vec::from_iter(problems), expected);
}

#[test]
fn verify_works_while_runs_hold_the_store() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    let file = store.object_path(&record.digest).join("table.json");
    fs::write(file, "cOntent").unwrap();
    let _hold = store.hold(&mut never).unwrap().unwrap();
    assert_eq!(store.verify(&mut |_| ()).unwrap().bad.len(), 1);
    assert!(!is_present(&store, &record));
}

#[test]
fn a_file_that_does_not_belong_to_an_object_is_damage() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    fs::write(store.object_path(&record.digest).join("notes.txt"), "").unwrap();
    let file = "notes.txt".to_owned();
    assert_eq!(
        store.object(&record.digest),
        ObjectState::Corrupted { file }
    );
    assert_eq!(build(&store, 1, "content").digest, record.digest);
    assert!(is_present(&store, &record));
}

#[test]
fn collecting_needs_a_scope() {
    let (_folder, store) = open();
    build(&store, 1, "content");
    assert!(matches!(
        store.gc(&Scope::default(), false),
        Err(StoreError::NoScope)
    ));
}

#[test]
fn collecting_removes_objects_and_no_records() {
    let (_folder, store) = open();
    let (kept, gone) = (build(&store, 1, "kept"), build(&store, 2, "gone"));
    let scope = Scope {
        keep: used([kept.digest]),
        older_than: None,
    };
    let told = store.gc(&scope, true).unwrap();
    assert!(is_present(&store, &gone), "a dry run removes nothing");
    let done = store.gc(&scope, false).unwrap();
    assert_eq!((told.kept, &told.objects), (done.kept, &done.objects));
    assert_eq!(
        done.objects
            .iter()
            .map(|removed| removed.digest)
            .collect::<Vec<_>>(),
        [gone.digest]
    );
    assert!(is_present(&store, &kept));
    assert_eq!(store.object(&gone.digest), ObjectState::Absent);
    assert_eq!(store.record(&gone.key), Some(gone.clone()));
    let collected: BTreeMap<Key, bool> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|line| (line.key, line.collected))
        .collect();
    assert_eq!(
        collected,
        BTreeMap::from([(kept.key, false), (gone.key, true)])
    );
    assert_eq!(build(&store, 2, "gone").digest, gone.digest);
}

#[test]
fn collecting_by_age_asks_when_an_object_was_last_used() {
    let (_folder, store) = open();
    let (used, idle) = (build(&store, 1, "used"), build(&store, 2, "idle"));
    let later = Timestamp::now() + Duration::from_secs(60);
    store
        .save_run(&run("news", later, Some(used.digest)))
        .unwrap();
    let limit = Timestamp::now() + Duration::from_secs(30);
    let scope = Scope {
        keep: None,
        older_than: Some(limit),
    };
    let done = store.gc(&scope, false).unwrap();
    assert_eq!(
        done.objects
            .iter()
            .map(|removed| removed.digest)
            .collect::<Vec<_>>(),
        [idle.digest]
    );
    let recent = Scope {
        keep: None,
        older_than: Some(Timestamp::UNIX_EPOCH),
    };
    assert!(store.gc(&recent, false).unwrap().objects.is_empty());
}

#[test]
fn both_scopes_together_must_agree() {
    let (_folder, store) = open();
    let record = build(&store, 1, "content");
    let ahead = Timestamp::now() + Duration::from_secs(60);
    let keep = Scope {
        keep: used([record.digest]),
        older_than: Some(ahead),
    };
    assert!(store.gc(&keep, false).unwrap().objects.is_empty());
    let both = Scope {
        keep: used([]),
        older_than: Some(ahead),
    };
    assert_eq!(store.gc(&both, false).unwrap().objects.len(), 1);
}

#[test]
fn nothing_is_collected_while_a_run_holds_the_store_or_builds() {
    let (_folder, store) = open();
    build(&store, 1, "content");
    let scope = Scope {
        keep: used([]),
        older_than: None,
    };
    let hold = store.hold(&mut never).unwrap().unwrap();
    assert!(matches!(
        store.gc(&scope, false),
        Err(StoreError::Busy { .. })
    ));
    assert_eq!(
        store.gc(&scope, true).unwrap().objects.len(),
        1,
        "a dry run may look"
    );
    drop(hold);
    let draft = begin(&store, &fingerprint(2), Need::Result);
    assert!(matches!(
        store.gc(&scope, false),
        Err(StoreError::Busy { .. })
    ));
    drop(draft);
    assert_eq!(store.gc(&scope, false).unwrap().objects.len(), 1);
}

#[test]
fn collecting_clears_what_killed_commands_left() {
    let (_folder, store) = open();
    build(&store, 1, "content");
    let left = ["drafts/discarded-0", "keys/.writing-a"].map(|name| store.root().join(name));
    left.iter()
        .for_each(|path| fs::create_dir_all(path).unwrap());
    store
        .gc(
            &Scope {
                keep: None,
                older_than: Some(Timestamp::UNIX_EPOCH),
            },
            false,
        )
        .unwrap();
    assert!(left.iter().all(|path| !path.exists()));
}

fn run(pipeline: &str, started: Timestamp, digest: Option<Digest>) -> RunRecord {
    RunRecord {
        pipeline: pipeline.to_owned(),
        spec: "pipelines/news.toml".to_owned(),
        started,
        seconds: 2.5,
        commit: Some("abc".to_owned()),
        arguments: vec!["run".to_owned()],
        settings: json!({"device": "auto"}),
        text: "version = 1".to_owned(),
        steps: vec![StepRecord {
            resumed_from_step: None,
            stage: "news".to_owned(),
            kind: "load".to_owned(),
            outcome: Outcome::Built,
            reason: Reason::NeverBuilt,
            key: Some(fingerprint(1).key()),
            digest,
            seconds: 1.5,
            fingerprint: Some(fingerprint(1)),
        }],
        scores: json!({"scores": {"accuracy": 0.9}})
            .as_object()
            .unwrap()
            .clone(),
    }
}

#[test]
fn the_newest_run_of_a_pipeline_comes_first() {
    let (_folder, store) = open();
    let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
    for (pipeline, seconds) in [("news", 20), ("sentiment", 30), ("news", 10)] {
        store.save_run(&run(pipeline, at(seconds), None)).unwrap();
    }
    assert_eq!(store.last_run_of("news"), Some(run("news", at(20), None)));
    assert_eq!(store.last_run_of("none"), None);
    let order: Vec<Timestamp> = store.runs().map(|run| run.started).collect();
    assert_eq!(order, [at(30), at(20), at(10)]);
    assert_eq!(store.runs_of("news").count(), 2);
}

#[test]
fn a_garbled_run_is_left_out() {
    let (_folder, store) = open();
    let path = store
        .save_run(&run("news", Timestamp::now(), None))
        .unwrap();
    let whole = fs::read(&path).unwrap();
    store
        .save_run(&run("news", Timestamp::UNIX_EPOCH, None))
        .unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(
        store.last_run_of("news").map(|run| run.started),
        Some(Timestamp::UNIX_EPOCH)
    );
}

#[test]
#[ignore = "a measurement"]
fn a_thousand_objects_are_found_fast() {
    let (_folder, store) = open();
    let records: Vec<Record> = (0..1000)
        .map(|number| build(&store, number, &format!("{number}")))
        .collect();
    store.save_memo();
    for _ in 0..3 {
        let later = Store::open(store.root()).unwrap();
        let began = Instant::now();
        assert!(records.iter().all(|record| {
            later
                .record(&record.key)
                .is_some_and(|found| is_present(&later, &found))
        }));
        eprintln!("1,000 records with their objects: {:?}", began.elapsed());
        later.save_memo();
    }
}
