//! Fetching from a hub: every route, every way in which it can go wrong, and what is asked a second time.
//!
//! The hub is a server on this machine (`server`). Most tests ask the library, because an environment is a value there;
//! the last ones drive the binary.

mod faults;
mod interchange;
pub(crate) mod server;
mod sets;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use refit::hub::{
    Environment, Fetched, HubError, LOCK, Places, Progress, Remote, Repository, RepositoryKind,
    fetch, find, push,
};
use serde_json::json;
use tempfile::TempDir;

use self::server::{Fault, Hub, sha256};

/// A machine with a cache of its own, and a folder with a spec.
struct Machine {
    folder: TempDir,
    environment: Environment,
    places: Places,
}

impl Machine {
    fn of(hub: &Hub) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment {
            endpoint: hub.endpoint.clone(),
            cache: folder.path().join("cache"),
            token: None,
            offline: false,
            stores: BTreeMap::new(),
        };
        let places = Places {
            lock: folder.path().join(LOCK),
            downloads: folder.path().join("downloads"),
        };
        Machine {
            folder,
            environment,
            places,
        }
    }

    /// Another machine with the same spec and lock.
    fn clone_of(&self, hub: &Hub) -> Machine {
        let other = Machine::of(hub);
        std::fs::copy(&self.places.lock, &other.places.lock).unwrap();
        other
    }

    fn find(&self, remote: &Remote) -> Option<BTreeMap<String, PathBuf>> {
        let found = find(
            &self.environment,
            std::slice::from_ref(remote),
            &self.places,
        );
        found.unwrap().get(remote).map(|local| local.files.clone())
    }

    fn try_fetch(&self, remote: &Remote, update: bool) -> Result<Fetched, HubError> {
        let remotes = std::slice::from_ref(remote);
        let heard = Heard::default();
        fetch(&self.environment, remotes, &self.places, update, &heard)
            .map_err(|mut errors| errors.remove(0).1)
    }

    #[track_caller]
    fn fetch(&self, remote: &Remote) -> BTreeMap<String, PathBuf> {
        let fetched = self.try_fetch(remote, false).unwrap();
        fetched.get(remote).unwrap().files.clone()
    }

    #[track_caller]
    fn refused(&self, remote: &Remote) -> HubError {
        self.try_fetch(remote, false).unwrap_err()
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(&self.places.lock).unwrap_or_default()
    }

    fn incomplete(&self) -> Vec<PathBuf> {
        let pattern = self.folder.path().join("**/*.incomplete");
        glob::glob(pattern.to_str().unwrap())
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }
}

#[derive(Default)]
struct Heard {
    said: Mutex<Vec<String>>,
    bytes: AtomicU64,
    /// Stop after so many bytes; 0: never.
    stop_after: u64,
    stopped: AtomicBool,
}

impl Progress for Heard {
    fn start(&self, _: &str, _: u64) {}

    fn advance(&self, bytes: u64) {
        let all = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.stop_after > 0 && all >= self.stop_after {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    fn say(&self, line: &str) {
        self.said.lock().unwrap().push(line.to_owned());
    }

    fn interrupted(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

fn model(id: &str) -> Repository {
    Repository::parse(RepositoryKind::Model, id).unwrap()
}

fn encoder(id: &str) -> Remote {
    Remote::Encoder(model(id))
}

fn dataset(id: &str, config: Option<&str>) -> Remote {
    Remote::Dataset {
        repository: Repository::parse(RepositoryKind::Dataset, id).unwrap(),
        config: config.map(str::to_owned),
        splits: BTreeSet::new(),
    }
}

/// The same with splits by name.
fn splits_of(remote: &Remote, names: &[&str]) -> Remote {
    let mut remote = remote.clone();
    if let Remote::Dataset { splits, .. } = &mut remote {
        *splits = names.iter().map(|name| (*name).to_owned()).collect();
    }
    remote
}

const WEIGHTS: &[u8] = &[7; 100_000];

fn hub() -> Hub {
    let hub = Hub::start();
    hub.commit(
        "models/owner/tiny",
        &[
            ("README.md", b"about"),
            ("config.json", b"{}"),
            ("model.safetensors", WEIGHTS),
            ("pytorch_model.bin", b"never"),
            ("tokenizer.json", b"{\"a\": 1}"),
            ("tokenizer_config.json", b"{}"),
            ("vocab.txt", b"[PAD]"),
        ],
    );
    hub
}

#[test]
fn only_what_is_needed_is_fetched_and_what_is_pinned_is_not_asked_again() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let remote = encoder("owner/tiny");
    assert_eq!(machine.find(&remote), None);
    let files = machine.fetch(&remote);
    let names: Vec<&String> = files.keys().collect();
    assert_eq!(names, ["config.json", "model.safetensors"]);
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), WEIGHTS);
    assert_eq!(hub.asked("pytorch_model.bin") + hub.asked("vocab.txt"), 0);

    let tokenizer = Remote::Tokenizer(model("owner/tiny"));
    let names: Vec<String> = machine.fetch(&tokenizer).into_keys().collect();
    assert_eq!(names, ["tokenizer.json", "tokenizer_config.json"]);

    let requests = hub.state().requests.len();
    assert_eq!(machine.find(&remote), Some(files.clone()));
    assert_eq!(machine.fetch(&remote), files);
    assert_eq!(machine.fetch(&tokenizer).len(), 2);
    assert_eq!(
        hub.state().requests.len(),
        requests,
        "the network was asked again"
    );
}

#[test]
fn a_lock_keeps_the_commit_on_every_machine_until_an_update() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let remote = encoder("owner/tiny");
    machine.fetch(&remote);
    let first = machine.lock();
    assert!(first.contains(&sha256(WEIGHTS)), "{first}");

    hub.commit(
        "models/owner/tiny",
        &[("config.json", b"{ }"), ("model.safetensors", b"newer")],
    );
    let other = machine.clone_of(&hub);
    let files = other.fetch(&remote);
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), WEIGHTS);
    assert_eq!(other.lock(), first);

    let updated = other.try_fetch(&remote, true).unwrap();
    let files = &updated.get(&remote).unwrap().files;
    assert_eq!(
        std::fs::read(&files["model.safetensors"]).unwrap(),
        b"newer"
    );
    assert_ne!(other.lock(), first);
    assert_eq!(other.find(&remote).as_ref(), Some(files));
}

#[test]
fn a_revision_is_a_branch_or_a_commit_and_each_has_its_own_entry() {
    let hub = hub();
    let old = hub.commit_on(
        "models/owner/tiny",
        "v1",
        &[
            ("config.json", b"{}"),
            ("model.safetensors", b"version one"),
        ],
    );
    let machine = Machine::of(&hub);
    let weights = |name: &str| {
        let files = machine.fetch(&encoder(name));
        std::fs::read(&files["model.safetensors"]).unwrap()
    };
    assert_eq!(weights("owner/tiny@v1"), b"version one");
    assert_eq!(weights(&format!("owner/tiny@{old}")), b"version one");
    assert_eq!(weights("owner/tiny"), WEIGHTS);
    assert_eq!(machine.lock().matches("[[model]]").count(), 3);
    let error = machine.refused(&encoder("owner/tiny@v9")).to_string();
    assert!(error.contains("no revision \"v9\""), "{error}");
}

#[test]
fn a_broken_line_is_gone_on_with_and_no_byte_is_sent_twice() {
    let hub = hub();
    let machine = Machine::of(&hub);
    cut(&hub, &[30_000, 20_000]);
    let files = machine.fetch(&encoder("owner/tiny"));
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), WEIGHTS);
    assert_eq!(hub.state().sent, WEIGHTS.len() + b"{}".len());
    assert!(machine.incomplete().is_empty());
}

/// The other host breaks off after so many bytes, once for each.
fn cut(hub: &Hub, after: &[usize]) {
    hub.fail_cdn(
        "model.safetensors",
        after.iter().map(|&n| Fault::CutAfter(n)),
    );
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let hub = hub();
    let machine = Machine::of(&hub);
    cut(&hub, &[40_000]);
    let heard = Heard {
        stop_after: 30_000,
        ..Heard::default()
    };
    let remote = encoder("owner/tiny");
    let remotes = [remote.clone()];
    let errors = fetch(
        &machine.environment,
        &remotes,
        &machine.places,
        false,
        &heard,
    )
    .unwrap_err();
    assert!(
        matches!(errors[0].1, HubError::Interrupted),
        "{:?}",
        errors[0].1
    );
    assert_eq!(machine.incomplete().len(), 1);
    assert_eq!(machine.lock(), "");
    machine.fetch(&remote);
    assert_eq!(hub.state().sent, WEIGHTS.len() + b"{}".len());
}

#[test]
fn a_server_that_knows_no_parts_sends_the_whole_again() {
    let hub = hub();
    let machine = Machine::of(&hub);
    hub.fail_cdn(
        "model.safetensors",
        [Fault::CutAfter(30_000), Fault::NoRanges],
    );
    let files = machine.fetch(&encoder("owner/tiny"));
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), WEIGHTS);
}

#[test]
fn other_bytes_than_promised_are_refused_and_not_kept() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let remote = encoder("owner/tiny");
    hub.fail_cdn("model.safetensors", [Fault::Garbled]);
    let error = machine.refused(&remote);
    assert!(matches!(error, HubError::OtherContent { .. }), "{error}");
    assert!(error.to_string().contains("SHA-256"), "{error}");
    assert!(machine.incomplete().is_empty());
    assert_eq!(machine.lock(), "");
    // The small file was sound and is kept; the large one is fetched anew.
    machine.fetch(&remote);
    hub.fail("/config.json", [Fault::Garbled]);
    let other = Machine::of(&hub);
    let error = other.refused(&remote).to_string();
    assert!(error.contains("git's SHA-1"), "{error}");
}

#[test]
fn half_of_something_else_is_thrown_away_once() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let blobs = machine.environment.cache.join("models--owner--tiny/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let incomplete = blobs.join(format!("{}.incomplete", sha256(WEIGHTS)));
    std::fs::write(&incomplete, vec![1; 50_000]).unwrap();
    let files = machine.fetch(&encoder("owner/tiny"));
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), WEIGHTS);
    std::fs::remove_dir_all(&machine.environment.cache).unwrap();
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(&incomplete, vec![1; 200_000]).unwrap();
    machine.fetch(&encoder("owner/tiny"));
}

#[test]
fn a_busy_server_is_asked_again_and_a_dead_one_given_up() {
    let hub = hub();
    let machine = Machine::of(&hub);
    hub.fail(
        "/config.json",
        [
            Fault::Status(429, vec![("retry-after", "1")]),
            Fault::Status(503, vec![]),
            Fault::Status(500, vec![]),
        ],
    );
    hub.fail("/revision/main", [Fault::Status(502, vec![])]);
    let began = std::time::Instant::now();
    machine.fetch(&encoder("owner/tiny"));
    assert!(
        began.elapsed().as_secs_f64() >= 1.0,
        "Retry-After was not heeded"
    );
    assert_eq!(hub.asked("/config.json"), 4);

    let other = Machine::of(&hub);
    hub.fail("/config.json", vec![Fault::Status(500, vec![]); 20]);
    let error = other.refused(&encoder("owner/tiny"));
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(hub.asked("/config.json") < 4 + 20);
}

#[test]
fn what_is_not_there_or_not_allowed_is_said_as_such_and_not_tried_again() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let error = machine.refused(&encoder("owner/unknown")).to_string();
    assert!(
        error.contains("no model \"owner/unknown\"") && error.contains(&hub.endpoint),
        "{error}"
    );
    assert!(error.contains("folder"), "{error}");

    hub.fail("/revision/main", [Fault::Status(401, vec![])]);
    let error = machine.refused(&encoder("owner/tiny"));
    assert!(matches!(error, HubError::Unauthorised { .. }), "{error}");

    let gated = [(
        "x-error-message",
        "Access to model owner/tiny is restricted",
    )];
    hub.fail("/config.json", [Fault::Status(403, gated.to_vec())]);
    let error = machine.refused(&encoder("owner/tiny"));
    assert!(matches!(error, HubError::Forbidden { .. }), "{error}");
    assert!(error.to_string().contains("restricted"), "{error}");
    assert_eq!(hub.asked("/config.json"), 1);

    hub.commit(
        "models/owner/tf",
        &[("config.json", b"{}"), ("tf_model.h5", b"")],
    );
    let error = machine.refused(&encoder("owner/tf")).to_string();
    assert!(
        error.contains("no weights") && error.contains("tf_model.h5"),
        "{error}"
    );

    let nowhere = Machine {
        environment: Environment {
            endpoint: "http://127.0.0.1:9".to_owned(),
            ..Machine::of(&hub).environment
        },
        ..Machine::of(&hub)
    };
    let error = nowhere.refused(&encoder("owner/tiny"));
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let hub = hub();
    let mut machine = Machine::of(&hub);
    machine.environment.token = Some("hf_secret".to_owned());
    machine.fetch(&encoder("owner/tiny"));
    let state = hub.state();
    let at_cdn = |path: &str| path.starts_with("cdn");
    assert!(state.requests.iter().any(|(_, path, _)| at_cdn(path)));
    for (method, path, token) in &state.requests {
        assert_eq!(*token, !at_cdn(path), "{method} {path}");
    }
    let lock = machine.lock();
    assert!(!lock.contains("secret"), "{lock}");
}

#[test]
fn offline_takes_what_is_cached_and_says_what_is_not() {
    let hub = hub();
    let mut machine = Machine::of(&hub);
    let remote = encoder("owner/tiny");
    machine.environment.offline = true;
    let error = machine.refused(&remote);
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    let (said, cache) = (
        error.to_string(),
        machine.environment.cache.display().to_string(),
    );
    assert!(
        said.contains("model owner/tiny") && said.contains(&cache),
        "{said}"
    );

    machine.environment.offline = false;
    let files = machine.fetch(&remote);
    let lock = machine.lock();
    let requests = hub.state().requests.len();
    machine.environment.offline = true;
    assert_eq!(machine.fetch(&remote), files);
    // Without the lock, too: the cache knows what `main` meant.
    std::fs::remove_file(&machine.places.lock).unwrap();
    assert_eq!(machine.find(&remote), None);
    assert_eq!(machine.fetch(&remote), files);
    assert_eq!(machine.lock(), lock);
    assert_eq!(hub.state().requests.len(), requests);
}

#[test]
fn an_unreachable_hub_is_done_without_where_the_cache_knows() {
    let hub = hub();
    let mut machine = Machine::of(&hub);
    let remote = encoder("owner/tiny");
    let files = machine.fetch(&remote);
    std::fs::remove_file(&machine.places.lock).unwrap();
    machine.environment.endpoint = "http://127.0.0.1:9".to_owned();
    let heard = Heard::default();
    let remotes = [remote.clone()];
    let fetched = fetch(
        &machine.environment,
        &remotes,
        &machine.places,
        false,
        &heard,
    )
    .unwrap();
    assert_eq!(fetched.get(&remote).unwrap().files, files);
    let said = heard.said.lock().unwrap().join("\n");
    assert!(
        said.contains("cannot be reached") && said.contains("in the cache"),
        "{said}"
    );
}

#[test]
fn two_at_once_fetch_every_byte_once() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let places = [1, 2].map(|n| Places {
        lock: machine.folder.path().join(format!("{n}.lock")),
        downloads: machine.folder.path().join(format!("downloads{n}")),
    });
    std::thread::scope(|scope| {
        for places in &places {
            let environment = &machine.environment;
            scope.spawn(move || {
                let remotes = [encoder("owner/tiny")];
                fetch(environment, &remotes, places, false, &Heard::default()).unwrap();
            });
        }
    });
    assert_eq!(hub.state().sent, WEIGHTS.len() + b"{}".len());
    let locks = places.map(|places| std::fs::read_to_string(places.lock).unwrap());
    assert_eq!(locks[0], locks[1]);
}

#[test]
fn shards_are_fetched_as_their_index_names_them() {
    let hub = Hub::start();
    let index = json!({ "weight_map": { "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors" } });
    let index = index.to_string();
    let whole: [(&str, &[u8]); 4] = [
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index.as_bytes()),
        ("model-00001-of-00002.safetensors", b"one"),
        ("model-00002-of-00002.safetensors", b"two"),
    ];
    hub.commit("models/owner/large", &whole);
    let machine = Machine::of(&hub);
    assert_eq!(machine.fetch(&encoder("owner/large")).len(), 4);
    hub.commit("models/owner/half", &whole[..3]);
    let error = machine.refused(&encoder("owner/half")).to_string();
    assert!(
        error.contains("no model-00002-of-00002.safetensors"),
        "{error}"
    );
    let evil = json!({ "weight_map": { "a": "../../../../etc/passwd" } }).to_string();
    hub.commit(
        "models/owner/evil",
        &[whole[0], ("model.safetensors.index.json", evil.as_bytes())],
    );
    let error = machine.refused(&encoder("owner/evil")).to_string();
    assert!(error.contains("passwd"), "{error}");
}

#[test]
fn a_listing_that_leads_outside_is_refused() {
    let hub = Hub::start();
    hub.commit(
        "datasets/owner/evil",
        &[("../../../escaped/train.csv", b"text,label\n")],
    );
    let machine = Machine::of(&hub);
    let fetched = machine.try_fetch(&dataset("owner/evil", None), false);
    assert!(fetched.is_err(), "{fetched:?}");
    assert!(!machine.folder.path().join("escaped").exists());
    assert!(
        !machine
            .folder
            .path()
            .parent()
            .unwrap()
            .join("escaped")
            .exists()
    );
}

#[test]
fn a_renamed_repository_is_found_under_its_old_name() {
    let hub = hub();
    hub.rename("models/tiny", "models/owner/tiny");
    let machine = Machine::of(&hub);
    let files = machine.fetch(&encoder("tiny"));
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), WEIGHTS);
}

#[test]
fn a_data_set_says_its_splits_and_classes_and_keeps_them_in_the_lock() {
    let hub = Hub::start();
    hub.commit(
        "datasets/owner/news",
        &[
            ("README.md", b"---"),
            ("data/train-00000-of-00001.parquet", b"rows"),
            ("data/test-00000-of-00001.parquet", b"more rows"),
        ],
    );
    hub.card(
        "datasets/owner/news",
        json!({ "dataset_info": { "features": [
            { "name": "label", "dtype": { "class_label": { "names": { "0": "World", "1": "Sports" } } } },
        ]}}),
    );
    let machine = Machine::of(&hub);
    let remote = dataset("owner/news", None);
    let fetched = machine.try_fetch(&remote, false).unwrap();
    let local = fetched.get(&remote).unwrap().clone();
    let told = local.dataset.clone().unwrap();
    assert_eq!(told.splits["test"], ["data/test-00000-of-00001.parquet"]);
    assert_eq!(told.class_names["label"], ["World", "Sports"]);
    assert_eq!(local.files.len(), 2);
    let requests = hub.state().requests.len();
    let remotes = [remote.clone()];
    let found = find(&machine.environment, &remotes, &machine.places).unwrap();
    assert_eq!(found.get(&remote), Some(&local));
    assert_eq!(hub.state().requests.len(), requests);
}

#[test]
fn a_data_set_that_only_a_script_can_read_comes_from_the_hubs_own_parquet() {
    let hub = Hub::start();
    hub.commit(
        "datasets/imdb",
        &[("imdb.py", b"import os"), ("README.md", b"")],
    );
    hub.commit_on(
        "datasets/imdb",
        "refs/convert/parquet",
        &[
            ("plain_text/train/0000.parquet", b"train"),
            ("plain_text/unsupervised/0000.parquet", b"other"),
        ],
    );
    let machine = Machine::of(&hub);
    let remote = dataset("imdb", None);
    let fetched = machine.try_fetch(&remote, false).unwrap();
    let told = fetched.get(&remote).unwrap().dataset.clone().unwrap();
    let splits: Vec<&String> = told.splits.keys().collect();
    assert_eq!(splits, ["train", "unsupervised"]);
    assert_eq!(hub.asked("imdb.py"), 0);
    assert!(machine.find(&remote).is_some());
    let error = machine.refused(&dataset("imdb", Some("other"))).to_string();
    assert!(error.contains("plain_text"), "{error}");
}

#[test]
fn one_file_of_a_repository_and_one_behind_an_address_are_pinned() {
    let hub = hub();
    hub.commit(
        "datasets/owner/news",
        &[("extra/dev.csv", b"text\nhello\n")],
    );
    let machine = Machine::of(&hub);
    let remote = Remote::File {
        repository: Repository::parse(RepositoryKind::Dataset, "owner/news").unwrap(),
        path: "extra/dev.csv".to_owned(),
    };
    let files = machine.fetch(&remote);
    assert_eq!(
        std::fs::read(&files["extra/dev.csv"]).unwrap(),
        b"text\nhello\n"
    );

    let address = format!(
        "{}/datasets/owner/news/resolve/main/extra/dev.csv?x=secret",
        hub.endpoint
    );
    let url = Remote::Url(address);
    let files = machine.fetch(&url);
    assert!(files["dev.csv"].ends_with("dev.csv"));
    let requests = hub.state().requests.len();
    assert_eq!(machine.fetch(&url), files);
    assert_eq!(hub.state().requests.len(), requests);

    hub.commit(
        "datasets/owner/news",
        &[("extra/dev.csv", b"text\nchanged\n")],
    );
    let other = machine.clone_of(&hub);
    let error = other.refused(&url);
    assert!(matches!(error, HubError::ChangedSince { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    let updated = other.try_fetch(&url, true).unwrap();
    let path = &updated.get(&url).unwrap().files["dev.csv"];
    assert_eq!(std::fs::read(path).unwrap(), b"text\nchanged\n");

    for address in [
        "http://example.org/x.csv",
        "ftp://example.org/x.csv",
        "https://user:pass@example.org/x.csv",
    ] {
        let error = machine.refused(&Remote::Url(address.to_owned()));
        assert!(matches!(error, HubError::Address { .. }), "{error}");
        assert!(!error.to_string().contains("pass@"), "{error}");
    }
}

#[test]
fn a_cache_that_leads_outside_is_refused() {
    let hub = hub();
    let machine = Machine::of(&hub);
    let remote = encoder("owner/tiny");
    let files = machine.fetch(&remote);
    let secret = machine.folder.path().join("secret");
    std::fs::write(&secret, WEIGHTS).unwrap();
    std::fs::remove_file(&files["model.safetensors"]).unwrap();
    std::os::unix::fs::symlink(&secret, &files["model.safetensors"]).unwrap();
    let remotes = [remote.clone()];
    let error = find(&machine.environment, &remotes, &machine.places).unwrap_err();
    assert!(matches!(error, HubError::LinkLeadsOut { .. }), "{error}");
}

#[test]
fn an_upload_makes_the_repository_and_sends_nothing_twice() {
    let hub = Hub::start();
    hub.state().token = Some("hf_write".to_owned());
    let mut machine = Machine::of(&hub);
    let bundle = machine.folder.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    std::fs::write(bundle.join("config.json"), "{}").unwrap();
    std::fs::write(bundle.join("model.safetensors"), WEIGHTS).unwrap();
    let upload = |machine: &Machine| {
        let heard = Heard::default();
        push(
            &machine.environment,
            &model("me/mine"),
            &bundle,
            "a model",
            true,
            &heard,
        )
    };
    let error = upload(&machine).unwrap_err();
    assert!(matches!(error, HubError::Unauthorised { .. }), "{error}");
    machine.environment.token = Some("hf_write".to_owned());
    let commit = upload(&machine).unwrap();
    assert!(commit.unwrap().contains("/commit/"));
    let again = upload(&machine).unwrap();
    assert_eq!(again, None);
    std::fs::write(bundle.join("config.json"), "{ }").unwrap();
    assert!(upload(&machine).unwrap().is_some());
    let files = machine.fetch(&encoder("me/mine"));
    assert_eq!(std::fs::read(&files["config.json"]).unwrap(), b"{ }");
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), WEIGHTS);
}
