//! Claims about threads and processes that share a store.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Tells a copy of this test program what to play, and in which store.
const PART: &str = "REFIT_STORE_TEST_PART";

/// Builds one key as a run would, and says what came of it.
fn play_builder(store: &Store, pause: Duration) -> &'static str {
    let _hold = store.hold(&mut |_| ControlFlow::Continue(())).unwrap();
    match store
        .begin(
            &fingerprint(1),
            Need::Result,
            &mut |_| ControlFlow::Continue(()),
            &mut nobody,
        )
        .unwrap()
    {
        Begun::Won(draft) => {
            assert!(names_in(draft.path()).unwrap().is_empty());
            fs::write(draft.path().join("table.json"), "content").unwrap();
            std::thread::sleep(pause);
            draft.commit(Kind::Table, 0.0).unwrap();
            "built"
        }
        Begun::Already(record) => {
            assert!(is_present(store, &record));
            "found"
        }
        Begun::Elsewhere(_) => panic!("no other machine builds"),
        Begun::GaveUp => panic!("it never gives up"),
    }
}

#[test]
fn play_a_part_for_another_test() {
    let Some(part) = std::env::var_os(PART) else {
        return;
    };
    let part = part.into_string().unwrap();
    let (part, root) = part.split_once(' ').unwrap();
    let store = Store::open(Path::new(root)).unwrap();
    match part {
        "build" => println!(
            "\npart: {}",
            play_builder(&store, Duration::from_millis(20))
        ),
        "die" => {
            let draft = begin(&store, &fingerprint(1), Need::Result);
            fs::write(draft.path().join("table.json"), "half of the").unwrap();
            println!("\npart: ready");
            std::thread::sleep(Duration::from_secs(60));
        }
        "commit" => {
            println!("\npart: ready");
            for number in store.list().unwrap().len() as u64.. {
                build(&store, number, &format!("content {number}"));
            }
        }
        _ => panic!("unknown part {part}"),
    }
}

fn start(part: &str, store: &Store) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::together::play_a_part_for_another_test",
            "--nocapture",
        ])
        .env(PART, format!("{part} {}", store.root().display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn said(child: &mut Child) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let mut parts = lines.filter_map(|line| Some(line.unwrap().strip_prefix("part: ")?.to_owned()));
    parts.next().expect("the part was played")
}

#[test]
fn of_many_threads_one_builds_and_the_others_find() {
    for _ in 0..20 {
        let (_folder, store) = open();
        let (built, barrier) = (AtomicUsize::new(0), Barrier::new(6));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    barrier.wait();
                    if play_builder(&store, Duration::from_millis(3)) == "built" {
                        built.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(built.into_inner(), 1);
        assert!(names_in(&store.layout.drafts()).unwrap().is_empty());
    }
}

#[test]
fn threads_that_build_the_same_content_under_other_keys_do_not_disturb_each_other() {
    let (_folder, store) = open();
    let records: Vec<Record> = std::thread::scope(|scope| {
        let store = &store;
        let threads: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || build(store, number, "content")))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        records
            .iter()
            .all(|record| record.digest == records[0].digest
                && store.record(&record.key).as_ref() == Some(record))
    );
    assert!(is_present(&store, &records[0]));
}

#[test]
fn of_many_processes_one_builds_and_the_others_find() {
    let (_folder, store) = open();
    let mut children: Vec<Child> = (0..4).map(|_| start("build", &store)).collect();
    let mut said: Vec<String> = children.iter_mut().map(said).collect();
    assert!(
        children
            .iter_mut()
            .all(|child| child.wait().unwrap().success())
    );
    said.sort();
    assert_eq!(said, ["built", "found", "found", "found"]);
}

#[test]
fn whoever_waits_is_told_at_once_and_may_give_up() {
    let (_folder, store) = open();
    let draft = begin(&store, &fingerprint(1), Need::Result);
    let mut waits = Vec::new();
    let begun = store.begin(
        &fingerprint(1),
        Need::Result,
        &mut |waited| {
            waits.push(waited);
            if waits.len() < 4 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
        &mut nobody,
    );
    assert!(matches!(begun.unwrap(), Begun::GaveUp));
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits.is_sorted() && waits[3] > Duration::ZERO);
    drop(draft);
    drop(begin(&store, &fingerprint(1), Need::Result));
}

#[cfg(unix)]
#[test]
fn the_draft_of_a_killed_process_is_not_trusted() {
    for sweep in [false, true] {
        let (_folder, store) = open();
        let mut child = start("die", &store);
        assert_eq!(said(&mut child), "ready");
        assert_eq!(store.sweep_drafts().unwrap(), 0, "its process lives");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(store.record(&fingerprint(1).key()), None);
        if sweep {
            assert_eq!(store.sweep_drafts().unwrap(), 1);
            assert!(names_in(&store.layout.drafts()).unwrap().is_empty());
        }
        assert_eq!(play_builder(&store, Duration::ZERO), "built");
    }
}

#[cfg(unix)]
#[test]
fn a_process_killed_at_any_moment_leaves_only_whole_results() {
    let (_folder, store) = open();
    for round in 0..12 {
        let mut child = start("commit", &store);
        assert_eq!(said(&mut child), "ready");
        std::thread::sleep(Duration::from_millis(5 + 7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for listed in store.list().unwrap() {
            assert!(
                !listed.collected
                    && matches!(store.object(&listed.digest), ObjectState::Present(_))
            );
        }
        assert!(store.verify(&mut |_| ()).unwrap().bad.is_empty());
    }
    let records = store.list().unwrap().len() as u64;
    assert!(records > 0);
    for number in 0..records + 2 {
        match store
            .begin(&fingerprint(number), Need::Result, &mut never, &mut nobody)
            .unwrap()
        {
            Begun::Won(draft) => {
                fs::write(draft.path().join("table.json"), "content").unwrap();
                draft.commit(Kind::Table, 0.0).unwrap();
            }
            Begun::Already(record) => assert!(is_present(&store, &record)),
            Begun::Elsewhere(_) => panic!("no other machine builds"),
            Begun::GaveUp => panic!("it never gives up"),
        }
    }
}
