//! Data sets of the hub: which splits are fetched, and what of them the lock keeps.

use refit::hub::find;
use serde_json::json;

use super::server::Hub;
use super::{Machine, dataset, splits_of};

fn hub() -> Hub {
    let hub = Hub::start();
    hub.commit(
        "datasets/owner/reviews",
        &[
            ("data/train-00000-of-00001.parquet", b"train"),
            ("data/dev-00000-of-00001.parquet", b"dev"),
            ("data/test-00000-of-00001.parquet", b"test"),
            ("data/unsupervised-00000-of-00001.parquet", &[7; 50_000]),
        ],
    );
    hub
}

fn name(split: &str) -> String {
    format!("data/{split}-00000-of-00001.parquet")
}

#[test]
fn only_the_splits_that_play_a_role_are_fetched() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let remote = dataset("owner/reviews", None);
    let fetched = machine.try_fetch(&remote, false).unwrap();
    let local = fetched.get(&remote).unwrap();
    let files: Vec<&String> = local.files.keys().collect();
    assert_eq!(files, [&name("dev"), &name("test"), &name("train")]);
    // It is known all the same, for messages and for later.
    let told = local.dataset.as_ref().unwrap();
    assert_eq!(told.splits["unsupervised"], [name("unsupervised")]);
    assert_eq!(hub.asked(&name("unsupervised")), 0);
    assert!(hub.state().sent < 100);
}

#[test]
fn a_split_that_is_added_later_alone_is_fetched_and_of_the_same_commit() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let (remote, sent) = (dataset("owner/reviews", None), |hub: &Hub| hub.state().sent);
    machine.fetch(&splits_of(&remote, &["train"]));
    assert_eq!(sent(&hub), b"train".len());
    let (old, newer) = (name("test"), name("train"));
    hub.commit(
        "datasets/owner/reviews",
        &[(&old, b"other test"), (&newer, b"other train")],
    );
    let both = splits_of(&remote, &["train", "test"]);
    assert_eq!(machine.find(&both), None);
    let files = machine.fetch(&both);
    assert_eq!(std::fs::read(&files[&old]).unwrap(), b"test");
    assert_eq!(std::fs::read(&files[&newer]).unwrap(), b"train");
    assert_eq!(sent(&hub), b"traintest".len());
    // Both are at hand from now on, whichever is asked for.
    let requests = hub.state().requests.len();
    for splits in [&["train"][..], &["test"], &["test", "train"]] {
        let remote = splits_of(&remote, splits);
        assert_eq!(machine.fetch(&remote).len(), splits.len());
    }
    assert_eq!(hub.state().requests.len(), requests);
    assert_eq!(machine.lock().matches("[[dataset]]").count(), 1);
    // On another machine the lock says the commit, and only what is asked for is fetched.
    let other = machine.clone_of(&hub);
    let files = other.fetch(&splits_of(&remote, &["test"]));
    assert_eq!(std::fs::read(&files[&old]).unwrap(), b"test");
    assert_eq!(sent(&hub), b"traintesttest".len());
}

#[test]
fn a_split_of_the_hubs_own_parquet_can_be_added_later_too() {
    let hub = Hub::start();
    hub.commit("datasets/imdb", &[("imdb.py", b"import os")]);
    let files: [(&str, &[u8]); 2] = [
        ("plain_text/train/0000.parquet", b"train"),
        ("plain_text/unsupervised/0000.parquet", b"other"),
    ];
    hub.commit_on("datasets/imdb", "refs/convert/parquet", &files);
    let machine = Machine::of(&hub);
    let remote = dataset("imdb", None);
    assert_eq!(machine.fetch(&remote).len(), 1);
    let more = machine.fetch(&splits_of(&remote, &["train", "unsupervised"]));
    assert_eq!(std::fs::read(&more[files[1].0]).unwrap(), b"other");
}

#[test]
fn a_split_that_is_not_there_is_no_reason_to_ask_again() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let remote = splits_of(&dataset("owner/reviews", None), &["train", "nothing"]);
    assert_eq!(machine.fetch(&remote).len(), 1);
    let requests = hub.state().requests.len();
    machine.fetch(&remote);
    let remotes = [remote.clone()];
    let found = find(&machine.environment, &remotes, &machine.places).unwrap();
    let told = found.get(&remote).unwrap().dataset.clone().unwrap();
    assert!(told.splits.contains_key("unsupervised"));
    assert_eq!(hub.state().requests.len(), requests);
}

#[test]
fn a_card_that_cannot_be_followed_is_an_error_about_the_data_set() {
    let hub = hub();
    hub.card(
        "datasets/owner/reviews",
        json!({ "configs": [{ "data_files": "x" }] }),
    );
    let error = Machine::of(&hub)
        .refused(&dataset("owner/reviews", None))
        .to_string();
    assert!(
        error.contains("owner/reviews: its card is wrong"),
        "{error}"
    );
}

#[test]
fn files_by_pattern_are_those_of_the_listing_and_pinned() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let located = |text: &str| refit::hub::uri::locate(text).unwrap().unwrap();
    let remote = located("hf://datasets/owner/reviews/data/t*.parquet");
    let files = machine.fetch(&remote);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [&name("test"), &name("train")]
    );
    let new = "data/train-00001-of-00002.parquet";
    let old = name("train");
    hub.commit(
        "datasets/owner/reviews",
        &[(&old, b"train"), (new, b"more")],
    );
    let requests = hub.state().requests.len();
    assert_eq!(machine.fetch(&remote), files);
    assert_eq!(hub.state().requests.len(), requests);
    let other = machine.clone_of(&hub);
    assert_eq!(other.fetch(&remote).len(), 2);
    let updated = other.try_fetch(&remote, true).unwrap();
    let updated = &updated.get(&remote).unwrap().files;
    assert_eq!(updated.keys().collect::<Vec<_>>(), [old.as_str(), new]);
    let nothing = located("hf://datasets/owner/reviews/*.csv");
    let error = machine.refused(&nothing).to_string();
    assert!(error.contains("no file *.csv in owner/reviews"), "{error}");
}

#[test]
fn a_revision_of_the_hubs_own_parquet_has_several_spellings() {
    let hub = Hub::start();
    hub.commit("datasets/owner/set", &[("set.py", b"")]);
    let files: [(&str, &[u8]); 2] = [
        ("a/train/0000.parquet", b"one"),
        ("b/train/0000.parquet", b"two"),
    ];
    hub.commit_on("datasets/owner/set", "refs/convert/parquet", &files);
    let machine = Machine::of(&hub);
    for revision in [
        "refs/convert/parquet",
        "refs%2Fconvert%2Fparquet",
        "~parquet",
    ] {
        let text = format!("hf://datasets/owner/set@{revision}/a/train/*.parquet");
        let remote = refit::hub::uri::locate(&text).unwrap().unwrap();
        assert_eq!(machine.fetch(&remote).len(), 1, "{text}");
    }
    assert_eq!(machine.lock().matches("[[file]]").count(), 1);
    // As a data set, its folders are configurations.
    let remote = dataset("owner/set@~parquet", Some("b"));
    let files = machine.fetch(&remote);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["b/train/0000.parquet"]);
}
