//! Claims about a shared store in a folder: what comes, what is refused and put right, and who builds.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::artifact::Kind;
use crate::fingerprint::Fingerprint;
use crate::store::{Begun, Brought, Draft, Need, ObjectState};

/// A folder that machines share.
struct Bench {
    folder: TempDir,
}

/// A machine of its own.
struct Machine {
    store: Store,
    remote: Arc<Remote>,
}

const QUICK: claims::Pace = claims::Pace {
    renew: Duration::from_millis(20),
    look: Duration::from_millis(10),
    stale: Duration::from_millis(400),
};

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        Bench { folder }
    }

    fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    fn machine_with(&self, name: &str, may_write: bool) -> Machine {
        let store = Store::open(&self.folder.path().join(name)).unwrap();
        let place = Place::Folder(self.shared());
        let environment = Environment::of(&|_| None);
        let remote = Remote::with_pace(&place, may_write, &store, &environment, QUICK).unwrap();
        let remote = Arc::new(remote);
        let store = store.with_upstream(Arc::clone(&remote) as Arc<dyn Upstream>);
        Machine { store, remote }
    }

    fn machine(&self, name: &str) -> Machine {
        self.machine_with(name, true)
    }

    fn object(&self, record: &Record) -> PathBuf {
        self.shared()
            .join("objects")
            .join(record.digest.to_string())
    }

    fn record(&self, record: &Record) -> PathBuf {
        self.shared()
            .join("keys")
            .join(format!("{}.json", record.key))
    }

    fn claims(&self) -> usize {
        fs::read_dir(self.shared().join("claims")).map_or(0, Iterator::count)
    }
}

fn fingerprint(number: u64) -> Fingerprint {
    Fingerprint {
        format: crate::fingerprint::FORMAT,
        kind: "load".to_owned(),
        version: 1,
        settings: json!({ "number": number }),
        files: BTreeMap::new(),
        inputs: BTreeMap::new(),
    }
}

impl Machine {
    fn begin(&self, number: u64) -> Begun<'_> {
        let mut go_on = |_| ControlFlow::Continue(());
        let mut nobody = |who: &str, _| panic!("{who} builds");
        self.store
            .begin(&fingerprint(number), Need::Result, &mut go_on, &mut nobody)
            .unwrap()
    }

    fn wins(&self, number: u64) -> Draft<'_> {
        match self.begin(number) {
            Begun::Won(draft) => draft,
            other => panic!("{other:?}"),
        }
    }

    fn build(&self, number: u64, content: &str) -> Record {
        let record = fill(self.wins(number), content);
        self.settle();
        record
    }

    /// Waits until all is sent.
    #[track_caller]
    fn settle(&self) -> Vec<Sent> {
        let began = Instant::now();
        while self.remote.sending().0 > 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "it is not sent");
            std::thread::sleep(Duration::from_millis(2));
        }
        self.remote.ended()
    }

    fn bring(&self, record: &Record) -> Brought {
        let go_on = |_| ControlFlow::Continue(());
        self.store
            .bring(record, &go_on, &mut |_| ControlFlow::Continue(()))
            .unwrap()
    }

    fn is_here(&self, record: &Record) -> bool {
        matches!(self.store.object(&record.digest), ObjectState::Present(_))
    }
}

fn fill(draft: Draft<'_>, content: &str) -> Record {
    fs::create_dir(draft.path().join("inner")).unwrap();
    fs::write(draft.path().join("table.json"), content).unwrap();
    fs::write(draft.path().join("inner/rows.txt"), content).unwrap();
    draft.commit(Kind::Table, 1.5).unwrap()
}

#[test]
fn what_one_machine_builds_another_knows_and_brings_when_it_must() {
    let bench = Bench::new();
    let built = bench.machine("a").build(1, "content");
    assert_eq!(bench.claims(), 0, "a claim ends with the record");
    let other = bench.machine("b");
    let known = other.store.record(&built.key).unwrap();
    assert_eq!(known.digest, built.digest);
    assert_eq!(known.from.as_deref(), Some(other.remote.name()));
    assert!(!other.is_here(&known), "a record alone brings nothing");
    assert_eq!(
        other.store.peek(&built.digest, "table.json").unwrap(),
        b"content"
    );
    assert!(other.store.can_bring(&built.digest));
    assert_eq!(other.bring(&known), Brought::Here);
    assert!(other.is_here(&known));
    // It is known here from now on, without anybody else.
    let alone = Store::open(other.store.root()).unwrap();
    assert_eq!(alone.record(&built.key).unwrap().digest, built.digest);
    assert_eq!(other.store.news(), [""; 0]);
}

#[test]
fn what_nobody_built_is_nowhere_and_a_place_that_is_not_there_is_empty() {
    let bench = Bench::new();
    let machine = bench.machine_with("a", false);
    let key = fingerprint(1).key();
    assert_eq!(machine.store.record(&key), None);
    assert!(!machine.store.can_bring(&Digest::of(b"x")));
    machine.build(1, "content");
    assert!(!bench.shared().exists(), "who only reads writes nothing");
    assert_eq!(machine.store.news(), [""; 0]);
}

#[test]
fn whatever_is_wrong_there_is_refused_named_built_again_and_put_right() {
    type Deed = fn(&Bench, &Record, &Record);
    let deeds: [(&str, &str, Deed); 8] = [
        ("cut", "bytes instead of", |bench, record, _| {
            fs::write(bench.object(record).join("table.json"), "cont").unwrap();
        }),
        (
            "swapped",
            "table.json has other content",
            |bench, record, _| {
                fs::write(bench.object(record).join("table.json"), "CONTENT").unwrap();
            },
        ),
        (
            "missing",
            "inner/rows.txt is missing",
            |bench, record, _| {
                fs::remove_file(bench.object(record).join("inner/rows.txt")).unwrap();
            },
        ),
        (
            "no manifest",
            "manifest.json is missing",
            |bench, record, _| {
                fs::remove_file(bench.object(record).join(MANIFEST)).unwrap();
            },
        ),
        (
            "another's manifest",
            "belongs to another object",
            |bench, record, other| {
                let theirs = bench.object(other).join(MANIFEST);
                fs::copy(theirs, bench.object(record).join(MANIFEST)).unwrap();
            },
        ),
        (
            "no object",
            "manifest.json is missing",
            |bench, record, _| {
                fs::remove_dir_all(bench.object(record)).unwrap();
            },
        ),
        ("half a record", "the record", |bench, record, _| {
            let text = fs::read(bench.record(record)).unwrap();
            fs::write(bench.record(record), &text[..text.len() / 2]).unwrap();
        }),
        (
            "another's record",
            "belongs to another key",
            |bench, record, other| {
                fs::copy(bench.record(other), bench.record(record)).unwrap();
            },
        ),
    ];
    for (name, said, deed) in deeds {
        let bench = Bench::new();
        let first = bench.machine("a");
        let (built, other) = (first.build(1, "content"), first.build(2, "other"));
        deed(&bench, &built, &other);
        let second = bench.machine("b");
        if let Some(known) = second.store.record(&built.key) {
            assert_eq!(second.bring(&known), Brought::Absent, "{name}");
            assert!(!second.is_here(&known), "{name}");
        }
        let news = second.store.news().join("\n");
        assert!(news.contains(said), "{name}: {news}");
        let again = second.build(1, "content");
        assert_eq!(again.digest, built.digest);
        let third = bench.machine("c");
        let known = third.store.record(&built.key).unwrap();
        assert_eq!(third.bring(&known), Brought::Here, "{name}");
        assert_eq!(third.store.news(), [""; 0], "{name}");
        let files = fs::read_dir(bench.folder.path().join("b/drafts")).unwrap();
        assert_eq!(
            files.count(),
            0,
            "{name}: nothing is left of what was refused"
        );
    }
}

#[test]
fn of_two_results_with_one_key_the_first_stays_and_that_is_said() {
    let bench = Bench::new();
    let (first, second) = (bench.machine("a"), bench.machine("b"));
    let built = first.build(1, "from one device");
    let mut go_on = |_| ControlFlow::Continue(());
    let mut nobody = |who: &str, _| panic!("{who} builds");
    let forced = second
        .store
        .begin(&fingerprint(1), Need::Rebuild, &mut go_on, &mut nobody);
    let Begun::Won(draft) = forced.unwrap() else {
        panic!("a forced build waits for nobody");
    };
    let own = fill(draft, "from another");
    let ended = second.settle();
    assert_eq!(ended[0].outcome, Outcome::Other);
    let news = second.store.news().join("\n");
    assert!(
        news.contains(&built.digest.short()) && news.contains(&own.digest.short()),
        "{news}"
    );
    let third = bench.machine("c");
    assert_eq!(third.store.record(&built.key).unwrap().digest, built.digest);
    assert_eq!(second.store.record(&built.key).unwrap().digest, own.digest);
}

#[test]
fn who_comes_second_waits_for_who_builds_and_takes_that() {
    let bench = Bench::new();
    let (first, second) = (bench.machine("a"), bench.machine("b"));
    let draft = first.wins(1);
    assert_eq!(bench.claims(), 1);
    std::thread::scope(|scope| {
        let (sender, waits) = std::sync::mpsc::channel();
        let waiter = scope.spawn(move || {
            let mut go_on = |_| ControlFlow::Continue(());
            let mut on_other = |who: &str, _| {
                let _ = sender.send(who.to_owned());
                ControlFlow::Continue(())
            };
            let begun =
                second
                    .store
                    .begin(&fingerprint(1), Need::Result, &mut go_on, &mut on_other);
            match begun.unwrap() {
                Begun::Elsewhere(record) => (record.digest, second.bring(&record)),
                other => panic!("{other:?}"),
            }
        });
        let who = waits.recv().unwrap();
        assert!(
            who.contains(&format!("process {}", std::process::id())),
            "{who}"
        );
        // Longer than a claim may stay as it is: it is renewed meanwhile.
        std::thread::sleep(QUICK.stale * 3);
        assert!(!waiter.is_finished());
        let built = fill(draft, "content");
        assert_eq!(waiter.join().unwrap(), (built.digest, Brought::Here));
    });
    first.settle();
    assert_eq!(bench.claims(), 0);
}

#[test]
fn one_who_waits_may_stop_and_a_build_that_fails_lets_the_next_one_build() {
    let bench = Bench::new();
    let (first, second) = (bench.machine("a"), bench.machine("b"));
    let draft = first.wins(1);
    let mut go_on = |_| ControlFlow::Continue(());
    let begun = second
        .store
        .begin(&fingerprint(1), Need::Result, &mut go_on, &mut |_, _| {
            ControlFlow::Break(())
        });
    assert!(matches!(begun.unwrap(), Begun::GaveUp));
    drop(draft);
    assert_eq!(bench.claims(), 0);
    second.build(1, "content");
}

#[test]
fn a_dead_builders_claim_is_taken_over() {
    let bench = Bench::new();
    let machine = bench.machine("a");
    fs::create_dir_all(bench.shared().join("claims")).unwrap();
    let at = bench
        .shared()
        .join("claims")
        .join(fingerprint(1).key().to_string());
    for text in [
        r#"{"token":"x","host":"far-away","pid":7,"beat":3}"#,
        "garbled",
        "",
    ] {
        fs::write(&at, text).unwrap();
        let mut go_on = |_| ControlFlow::Continue(());
        let mut waited = false;
        let mut on_other = |_: &str, _| {
            waited = true;
            ControlFlow::Continue(())
        };
        let begun = machine
            .store
            .begin(&fingerprint(1), Need::Result, &mut go_on, &mut on_other);
        assert!(matches!(begun.unwrap(), Begun::Won(_)), "{text}");
        assert!(waited, "{text}");
        assert!(!at.exists(), "what came to nothing is claimed by nobody");
    }
}

#[test]
fn a_file_of_a_half_sent_object_is_not_sent_again() {
    let bench = Bench::new();
    let machine = bench.machine("a");
    let built = machine.build(1, "content");
    // As a process leaves it that is killed before the manifest.
    fs::remove_file(bench.record(&built)).unwrap();
    fs::remove_file(bench.object(&built).join(MANIFEST)).unwrap();
    fs::remove_file(bench.object(&built).join("table.json")).unwrap();
    let stays = bench.object(&built).join("inner/rows.txt");
    let before = fs::metadata(&stays).unwrap().modified().unwrap();
    let again = bench.machine("a");
    again.store.offer(&built);
    assert_eq!(again.settle()[0].outcome, Outcome::Sent);
    assert_eq!(fs::metadata(&stays).unwrap().modified().unwrap(), before);
    assert_eq!(again.remote.sending().1, built.bytes);
    again.store.offer(&built);
    assert_eq!(again.settle()[0].outcome, Outcome::Already);
    let other = bench.machine("b");
    let known = other.store.record(&built.key).unwrap();
    assert_eq!(other.bring(&known), Brought::Here);
}

#[test]
fn a_place_of_another_format_is_left_alone() {
    let bench = Bench::new();
    fs::create_dir_all(bench.shared()).unwrap();
    fs::write(bench.shared().join("format"), "2\n").unwrap();
    let machine = bench.machine("a");
    machine.build(1, "content");
    let news = machine.store.news();
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(news[0].contains("format \"2\""), "{news:?}");
    assert_eq!(fs::read_dir(bench.shared()).unwrap().count(), 1);
}

#[test]
fn a_place_that_cannot_be_used_costs_one_warning_and_nothing_else() {
    let bench = Bench::new();
    fs::write(bench.shared(), "a file").unwrap();
    let machine = bench.machine("a");
    for number in 0..20 {
        assert_eq!(machine.store.record(&fingerprint(number).key()), None);
        machine.build(number, "content");
    }
    let news = machine.store.news();
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(machine.remote.lost().is_some());
}

#[test]
fn two_stores_behind_one_folder_may_be_one_anothers() {
    // A local store has the same layout, and can be read as it lies.
    let bench = Bench::new();
    let alone = Store::open(&bench.shared()).unwrap();
    let mut go_on = |_| ControlFlow::Continue(());
    let begun = alone.begin(&fingerprint(1), Need::Result, &mut go_on, &mut |_, _| {
        ControlFlow::Break(())
    });
    let Begun::Won(draft) = begun.unwrap() else {
        panic!("nobody else builds");
    };
    let built = fill(draft, "content");
    let machine = bench.machine("a");
    let known = machine.store.record(&built.key).unwrap();
    assert_eq!(machine.bring(&known), Brought::Here);
    machine.build(2, "more");
    let again = Store::open(&bench.shared()).unwrap();
    assert_eq!(again.list().unwrap().len(), 2);
}
