//! One cache for this program and for Python's `huggingface_hub`.
//!
//! `fixtures/huggingface_hub_cache` was written by huggingface_hub 2.4.0: `snapshot_download` from a server that speaks the
//! hub's routes, and then `publish_blob_to_shared_store`, which is what it does with a file that came through the hub's chunk
//! store. That Python in turn takes what this program fetched was tried by hand.

use std::path::Path;

use refit::hub::{HubError, Remote};

use super::server::Hub;
use super::{Machine, encoder, model};
use crate::project::repository;

const COMMIT: &str = "3f1d6b2a9c0e4d5f8a7b6c5d4e3f2a1b0c9d8e7f";

/// A copy of what Python left; links stay links.
fn lay_out(machine: &Machine) {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                copy(&from, &to);
            } else if kind.is_symlink() {
                std::os::unix::fs::symlink(std::fs::read_link(&from).unwrap(), to).unwrap();
            } else {
                std::fs::copy(from, to).unwrap();
            }
        }
    }
    let fixture = repository().join("tests/fixtures/huggingface_hub_cache");
    copy(&fixture, &machine.environment.cache);
}

#[test]
fn what_python_fetched_is_used_without_any_network() {
    let hub = Hub::start();
    let mut machine = Machine::of(&hub);
    lay_out(&machine);
    machine.environment.offline = true;
    let files = machine.fetch(&encoder("owner/tiny"));
    let weights = std::fs::read(&files["model.safetensors"]).unwrap();
    assert_eq!(weights, b"weights ".repeat(32));
    let tokenizer = machine.fetch(&Remote::Tokenizer(model("owner/tiny")));
    assert!(tokenizer.contains_key("vocab.txt"));
    let lock = machine.lock();
    // The hub's digest, not the chunk store's name for the same bytes.
    assert!(lock.contains(&super::server::sha256(&weights)), "{lock}");
    assert!(lock.contains(COMMIT) && !lock.contains("5b5b"), "{lock}");
    assert!(hub.state().requests.is_empty());
}

#[test]
fn what_python_fetched_is_not_fetched_again() {
    let hub = Hub::start();
    let weights = b"weights ".repeat(32);
    hub.commit(
        "models/owner/tiny",
        &[
            ("config.json", b"{\"model_type\": \"bert\"}\n"),
            ("model.safetensors", &weights),
        ],
    );
    let machine = Machine::of(&hub);
    lay_out(&machine);
    // Another commit with the same contents: only the names of the snapshot are new.
    let files = machine.fetch(&encoder("owner/tiny"));
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), weights);
    assert_eq!(hub.state().sent, 0);
}

#[test]
fn a_blob_that_leads_out_of_the_cache_is_refused_or_replaced() {
    let hub = Hub::start();
    let mut machine = Machine::of(&hub);
    lay_out(&machine);
    let secret = machine.folder.path().join("secret");
    let weights = b"weights ".repeat(32);
    std::fs::write(&secret, &weights).unwrap();
    let blobs = machine.environment.cache.join("models--owner--tiny/blobs");
    let blob = blobs.join(super::server::sha256(&weights));
    std::fs::remove_file(&blob).unwrap();
    std::os::unix::fs::symlink(&secret, &blob).unwrap();
    machine.environment.offline = true;
    let error = machine.refused(&encoder("owner/tiny"));
    assert!(
        matches!(
            error,
            HubError::LinkLeadsOut { .. } | HubError::Offline { .. }
        ),
        "{error}"
    );
    assert_eq!(machine.lock(), "");
}
