//! From names to files: by the lock and the cache alone ([`find`]), or with the network's help ([`fetch`]).
//!
//! With an entry in the lock and its files in the cache, nothing is asked of the network. With an entry and no files, the
//! files of that very commit are fetched, and must be what the entry says. Without an entry the revision is resolved, and the
//! entry is written once everything is there. Under `HF_HUB_OFFLINE`, or where the hub cannot be reached, what a revision
//! of a model last meant in the cache is taken instead, and that is what the entry then says.
//!
//! Deliberately absent: a guess. What the lock does not name is not found without the network or `HF_HUB_OFFLINE`, because
//! a cache differs from one machine to the next and keys must not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::address::{self, as_name, file_name, without_query};
use super::cache::{Cached, hold};
use super::client::{Client, State};
use super::environment::Environment;
use super::lock::{Content, Entry, Lock, Pinned, PinnedObjects, PinnedUrl};
use super::objects::Bucket;
use super::pattern::has_wildcards;
use super::transfer::content_of;
use super::{
    Dataset, Fetched, HubError, Local, Objects, Places, Progress, Remote, Repository,
    RepositoryKind, choose, dataset,
};

/// The branch on which the hub keeps every data set as Parquet.
const PARQUET: &str = "refs/convert/parquet";

/// What lock and cache answer, without any network. What they do not answer is left out.
///
/// # Errors
/// A lock that cannot be read; a cache that leads elsewhere.
pub fn find(
    environment: &Environment,
    remotes: &[Remote],
    places: &Places,
) -> Result<Fetched, HubError> {
    let mut fetched = Fetched::default();
    if remotes.is_empty() {
        return Ok(fetched);
    }
    let lock = Lock::read(&places.lock)?;
    for remote in remotes {
        if let Some(local) = at_hand(environment, &lock, places, remote)? {
            fetched.insert(remote.clone(), local);
        }
    }
    Ok(fetched)
}

/// Everything, by network where lock and cache do not answer. With `update` revisions and addresses are resolved anew.
/// Nothing is written to the lock for a remote that failed.
///
/// # Errors
/// One for each remote that could not be had.
pub fn fetch(
    environment: &Environment,
    remotes: &[Remote],
    places: &Places,
    update: bool,
    progress: &dyn Progress,
) -> Result<Fetched, Vec<(Remote, HubError)>> {
    let (mut fetched, mut errors) = (Fetched::default(), Vec::new());
    let mut seeker = Seeker {
        environment,
        places,
        update,
        progress,
        client: None,
        buckets: BTreeMap::new(),
        states: BTreeMap::new(),
    };
    for remote in remotes {
        match seeker.seek(remote) {
            Ok(local) => fetched.insert(remote.clone(), local),
            Err(error) => {
                let stop = matches!(error, HubError::Interrupted);
                errors.push((remote.clone(), error));
                if stop {
                    break;
                }
            }
        }
    }
    match errors.is_empty() {
        true => Ok(fetched),
        false => Err(errors),
    }
}

/// What the lock names of a remote, where all of it lies here.
fn at_hand(
    environment: &Environment,
    lock: &Lock,
    places: &Places,
    remote: &Remote,
) -> Result<Option<Local>, HubError> {
    if let Remote::Url(address) = remote {
        let Some(pinned) = lock.url(address) else {
            return Ok(None);
        };
        let path = download_path(places, address, &pinned.content);
        let there = is_here(&path, pinned.content.size);
        return Ok(there.then(|| local_url(address, path)));
    }
    if let Remote::Objects(objects) = remote {
        let pinned = lock.objects(&objects.to_string());
        return Ok(pinned.and_then(|pinned| local_objects(places, objects, pinned)));
    }
    let (Some(repository), Some(entry)) = (repository_of(remote), Entry::of(remote)) else {
        return Ok(None);
    };
    let Some(pinned) = lock.get(&entry) else {
        return Ok(None);
    };
    let Some(names) = named(pinned, remote) else {
        return Ok(None);
    };
    let cached = Cached::of(&environment.cache, repository);
    let mut files = BTreeMap::new();
    for name in names {
        match cached.file(&pinned.commit, &name, pinned.files.get(&name))? {
            Some(path) => files.insert(name, path),
            None => return Ok(None),
        };
    }
    Ok(Some(local(pinned, remote, files)))
}

fn repository_of(remote: &Remote) -> Option<&Repository> {
    match remote {
        Remote::Encoder(repository)
        | Remote::Tokenizer(repository)
        | Remote::Dataset { repository, .. }
        | Remote::File { repository, .. }
        | Remote::Files { repository, .. } => Some(repository),
        Remote::Url(_) | Remote::Objects(_) => None,
    }
}

/// The files of a remote, where its entry names them.
fn named(pinned: &Pinned, remote: &Remote) -> Option<Vec<String>> {
    if let Remote::Dataset { splits, .. } = remote {
        let names = of_splits(splits, &pinned.splits);
        let known = names.iter().all(|name| pinned.files.contains_key(name));
        return (known && !pinned.splits.is_empty()).then_some(names);
    }
    let names = match remote {
        Remote::Encoder(_) => pinned.encoder.clone(),
        Remote::Tokenizer(_) => pinned.tokenizer.clone(),
        Remote::File { path, .. } => vec![path.clone()],
        Remote::Files { pattern, .. } => pinned.patterns.get(pattern).cloned().unwrap_or_default(),
        Remote::Dataset { .. } | Remote::Url(_) | Remote::Objects(_) => Vec::new(),
    };
    let known = names.iter().all(|name| pinned.files.contains_key(name));
    (known && !names.is_empty()).then_some(names)
}

/// The files of the splits asked for, of those that there are; by default of those that play a role.
fn of_splits(asked: &BTreeSet<String>, splits: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let roles = dataset::roles(splits);
    let is_asked = |split: &String| match asked.is_empty() {
        true => roles.iter().any(|(_, played_by)| played_by == split),
        false => asked.contains(split),
    };
    let files = splits.iter().filter(|(split, _)| is_asked(split));
    let files: BTreeSet<&String> = files.flat_map(|(_, files)| files).collect();
    files.into_iter().cloned().collect()
}

fn local(pinned: &Pinned, remote: &Remote, files: BTreeMap<String, PathBuf>) -> Local {
    let dataset = matches!(remote, Remote::Dataset { .. }).then(|| Dataset {
        splits: pinned.splits.clone(),
        class_names: pinned.class_names.clone(),
    });
    Local {
        commit: Some(pinned.commit.clone()),
        files,
        dataset,
    }
}

fn local_url(address: &str, path: PathBuf) -> Local {
    Local {
        commit: None,
        files: BTreeMap::from([(file_name(address), path)]),
        dataset: None,
    }
}

/// Where a file behind an address lies: by its content, under its own name, whose ending may say its format.
fn download_path(places: &Places, address: &str, content: &Content) -> PathBuf {
    let digest: String = content
        .etag()
        .unwrap_or_default()
        .chars()
        .take(16)
        .collect();
    places.downloads.join(digest).join(file_name(address))
}

/// Whether a file of so many bytes lies there.
fn is_here(path: &Path, size: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() == size)
}

/// The objects of an entry, where all of them lie here.
fn local_objects(places: &Places, objects: &Objects, pinned: &PinnedObjects) -> Option<Local> {
    let mut files = BTreeMap::new();
    for (key, object) in &pinned.files {
        let path = object_path(places, objects, key, &object.content());
        files.insert(key.clone(), is_here(&path, object.size).then_some(path)?);
    }
    Some(Local {
        commit: None,
        files,
        dataset: None,
    })
}

/// Where an object lies: by its content, then as in its bucket, so that messages name it.
fn object_path(places: &Places, objects: &Objects, key: &str, content: &Content) -> PathBuf {
    let digest = content.etag().unwrap_or_default().chars().take(16);
    let mut path = places.downloads.join(digest.collect::<String>());
    path.push(as_name(&objects.bucket));
    path.extend(key.split('/').map(as_name));
    path
}

/// One `fetch`: what was asked of the hub so far is not asked again.
struct Seeker<'a> {
    environment: &'a Environment,
    places: &'a Places,
    update: bool,
    progress: &'a dyn Progress,
    client: Option<Client>,
    buckets: BTreeMap<String, Bucket>,
    /// Repository and revision → what it holds.
    states: BTreeMap<(Repository, String), State>,
}

impl Seeker<'_> {
    fn seek(&mut self, remote: &Remote) -> Result<Local, HubError> {
        let lock = Lock::read(&self.places.lock)?;
        if let Remote::Url(address) = remote {
            return self.seek_url(&lock, remote, address);
        }
        if let Remote::Objects(objects) = remote {
            return self.seek_objects(&lock, objects);
        }
        if !self.update
            && let Some(local) = at_hand(self.environment, &lock, self.places, remote)?
        {
            return Ok(local);
        }
        let (Some(repository), Some(entry)) = (repository_of(remote), Entry::of(remote)) else {
            return Ok(Local::default());
        };
        let pinned = lock.get(&entry).filter(|_| !self.update);
        let whole = pinned.filter(|pinned| named(pinned, remote).is_some());
        let pinned = match whole {
            Some(pinned) => pinned.clone(),
            None => self.resolve(remote, repository, &entry, pinned)?,
        };
        let names = named(&pinned, remote).unwrap_or_default();
        let mut files = BTreeMap::new();
        for name in names {
            let path = self.file(
                repository,
                &pinned.commit,
                &name,
                &pinned.files[&name],
                whole.is_some(),
            )?;
            files.insert(name, path);
        }
        let found = local(&pinned, remote, files);
        if whole.is_none() {
            self.remember(|lock| {
                let merged = merge(lock.get(&entry), pinned, remote);
                lock.put(&entry, merged);
            })?;
        }
        Ok(found)
    }

    /// What a remote means now: its commit, or that of the entry which other files have already, and the files it needs.
    fn resolve(
        &mut self,
        remote: &Remote,
        repository: &Repository,
        entry: &Entry,
        pinned: Option<&Pinned>,
    ) -> Result<Pinned, HubError> {
        let revision = repository
            .revision
            .clone()
            .unwrap_or_else(|| "main".to_owned());
        let asked = pinned.map_or(revision.clone(), |pinned| pinned.commit.clone());
        let mut state = self.state(repository, &asked, remote)?;
        let mut entry = entry.pinned(&state.commit);
        let lacks = |what: &str, state: &State| HubError::Lacks {
            repository: repository.to_string(),
            lacks: what.to_owned(),
            there: listing(state),
        };
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let names: BTreeSet<&str> = state.files.keys().map(String::as_str).collect();
        match remote {
            Remote::Encoder(_) => {
                let chosen = choose::encoder(&names).map_err(|what| lacks(what, &state))?;
                entry.encoder = owned(chosen);
                if let Some(index) = entry
                    .encoder
                    .clone()
                    .iter()
                    .find(|name| choose::is_index(name))
                {
                    let named = self.contents(repository, &state, std::slice::from_ref(index))?;
                    let path = self.file(repository, &state.commit, index, &named[index], false)?;
                    for shard in choose::shards(&path)? {
                        if !state.files.contains_key(&shard) {
                            return Err(lacks(&format!("no {shard}, which {index} names"), &state));
                        }
                        entry.encoder.push(shard);
                    }
                }
                entry.files = self.contents(repository, &state, &entry.encoder)?;
            }
            Remote::Tokenizer(_) => {
                let chosen = choose::tokenizer(&names).map_err(|what| lacks(what, &state))?;
                entry.tokenizer = owned(chosen);
                entry.files = self.contents(repository, &state, &entry.tokenizer)?;
            }
            Remote::File { path, .. } => {
                if !state.files.contains_key(path) {
                    return Err(HubError::NoFile {
                        what: format!("{path} in {repository}"),
                    });
                }
                entry.files = self.contents(repository, &state, std::slice::from_ref(path))?;
            }
            Remote::Files { pattern, .. } => {
                let found = dataset::matching(&names, pattern);
                if found.is_empty() {
                    return Err(HubError::NoFile {
                        what: format!("{pattern} in {repository}"),
                    });
                }
                entry.files = self.contents(repository, &state, &found)?;
                entry.patterns.insert(pattern.clone(), found);
            }
            // Its splits are known, and files of another of them are wanted.
            Remote::Dataset { splits, .. }
                if pinned.is_some_and(|pinned| !pinned.splits.is_empty()) =>
            {
                let known = pinned.map(|pinned| (&pinned.splits, &pinned.class_names));
                if let Some((known, class_names)) = known {
                    (entry.splits, entry.class_names) = (known.clone(), class_names.clone());
                }
                let names = of_splits(splits, &entry.splits);
                if let Some(name) = names.iter().find(|name| !state.files.contains_key(*name)) {
                    return Err(HubError::NoFile {
                        what: format!("{name} in {repository}"),
                    });
                }
                entry.files = self.contents(repository, &state, &names)?;
            }
            Remote::Dataset { config, splits, .. } => {
                let wrong = |fault| HubError::Dataset {
                    repository: repository.to_string(),
                    fault,
                };
                let converted = repository.revision.as_deref() == Some(PARQUET);
                let mut chosen = dataset::choose(&names, &state.card, config.as_deref(), converted);
                if let (Err(dataset::DatasetError::NoFiles), None) = (&chosen, &repository.revision)
                {
                    let card = std::mem::take(&mut state.card);
                    match self.state(repository, PARQUET, remote) {
                        Ok(converted) => {
                            let names = converted.files.keys().map(String::as_str).collect();
                            chosen = dataset::choose(&names, &card, config.as_deref(), true);
                            state = converted;
                        }
                        // Then what the main branch lacks is what there is to say.
                        Err(HubError::NoRevision { .. } | HubError::NoRepository { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                let chosen = chosen.map_err(wrong)?;
                entry.commit.clone_from(&state.commit);
                let names = of_splits(splits, &chosen.splits);
                entry.files = self.contents(repository, &state, &names)?;
                entry.splits = chosen.splits;
                entry.class_names = chosen.class_names;
            }
            Remote::Url(_) | Remote::Objects(_) => {}
        }
        Ok(entry)
    }

    /// What a repository holds: as the hub says; where it may not be asked or does not answer, as the cache has it.
    fn state(
        &mut self,
        repository: &Repository,
        revision: &str,
        remote: &Remote,
    ) -> Result<State, HubError> {
        let key = (repository.clone(), revision.to_owned());
        if let Some(state) = self.states.get(&key) {
            return Ok(state.clone());
        }
        let state = match self.environment.offline {
            true => self
                .cached_state(repository, revision)
                .ok_or_else(|| HubError::Offline {
                    what: remote.to_string(),
                    looked: self.environment.cache.clone(),
                })?,
            false => match self.ask(repository, revision) {
                Ok(state) => {
                    Cached::of(&self.environment.cache, repository)
                        .set_commit(revision, &state.commit)?;
                    state
                }
                // Who asks for what is new now is not served with what is old.
                Err(error @ HubError::Unreachable { .. }) if !self.update => {
                    let Some(state) = self.cached_state(repository, revision) else {
                        return Err(error);
                    };
                    let commit = &state.commit[..12];
                    self.progress.say(&format!(
                        "{error}; {repository} is taken as it is in the cache ({commit})"
                    ));
                    state
                }
                Err(error) => return Err(error),
            },
        };
        self.states.insert(key, state.clone());
        Ok(state)
    }

    /// What the named files hold, by size and digest.
    fn contents(
        &mut self,
        repository: &Repository,
        state: &State,
        names: &[String],
    ) -> Result<BTreeMap<String, Content>, HubError> {
        let mut contents = BTreeMap::new();
        for name in names {
            let Some(content) = state.files.get(name) else {
                continue;
            };
            let content = match content.etag() {
                Some(_) => content.clone(),
                None => {
                    let progress = self.progress;
                    let etag = self
                        .client()?
                        .etag(repository, &state.commit, name, progress)?;
                    Content::with_etag(content.size, &etag)
                }
            };
            contents.insert(name.clone(), content);
        }
        Ok(contents)
    }

    fn ask(&mut self, repository: &Repository, revision: &str) -> Result<State, HubError> {
        let progress = self.progress;
        self.client()?.state(repository, revision, progress)
    }

    /// A snapshot as it lies in the cache. None of a data set: nothing tells whether all of its files are there, and half
    /// of them would be learned from without a word.
    fn cached_state(&self, repository: &Repository, revision: &str) -> Option<State> {
        if repository.kind == RepositoryKind::Dataset {
            return None;
        }
        let cached = Cached::of(&self.environment.cache, repository);
        let commit = cached.commit(revision)?;
        let mut files = BTreeMap::new();
        for name in cached.names(&commit) {
            let path = cached.file(&commit, &name, None).ok().flatten()?;
            let size = std::fs::metadata(&path).ok()?.len();
            // Where links cannot be made, the file itself lies here.
            let etag = match cached.etag(&commit, &name) {
                Some(etag) => etag,
                None => content_of(&path).ok()?.digests.into_iter().next()?,
            };
            let content = Content::with_etag(size, &etag);
            files.insert(name, content);
        }
        (!files.is_empty()).then_some(State {
            commit,
            files,
            card: serde_json::Value::Null,
        })
    }

    fn client(&mut self) -> Result<&Client, HubError> {
        if self.client.is_none() {
            self.client = Some(Client::new(self.environment)?);
        }
        match &self.client {
            Some(client) => Ok(client),
            None => Err(HubError::Interrupted),
        }
    }

    /// A file of a snapshot, fetched where it is not in the cache. With `pinned` the lock says what it must be.
    fn file(
        &mut self,
        repository: &Repository,
        commit: &str,
        name: &str,
        content: &Content,
        pinned: bool,
    ) -> Result<PathBuf, HubError> {
        let cached = Cached::of(&self.environment.cache, repository);
        if let Some(path) = cached.file(commit, name, Some(content))? {
            return Ok(path);
        }
        let etag = content.etag().unwrap_or("unknown");
        if !cached.has(etag, content.size) {
            if self.environment.offline {
                return Err(HubError::Offline {
                    what: format!("{name} of {repository}"),
                    looked: cached.snapshot(commit),
                });
            }
            let progress = self.progress;
            let client = self.client()?;
            let _held = cached.hold(etag, name, progress)?;
            // Whoever held it before may have fetched it.
            if !cached.has(etag, content.size) {
                let blob = cached.blob(etag);
                let address = client.address(repository, commit, name);
                let incomplete = blob.with_file_name(format!("{etag}.incomplete"));
                let done = client.download(&address, &incomplete, content, progress);
                done.map_err(|error| changed_since(error, pinned, &self.places.lock))?;
                std::fs::rename(&incomplete, &blob)
                    .map_err(|source| HubError::write(&blob, source))?;
            }
        }
        cached.link(commit, name, etag)
    }

    fn seek_url(&mut self, lock: &Lock, remote: &Remote, address: &str) -> Result<Local, HubError> {
        address::check(address)?;
        if !self.update
            && let Some(local) = at_hand(self.environment, lock, self.places, remote)?
        {
            return Ok(local);
        }
        if self.environment.offline {
            return Err(HubError::Offline {
                what: without_query(address),
                looked: self.places.downloads.clone(),
            });
        }
        let (places, progress) = (self.places, self.progress);
        let of_address = blake3::hash(address.as_bytes()).to_hex();
        let held = places.downloads.join(format!("{of_address}.lock"));
        let _held = hold(&held, &file_name(address), progress)?;
        let pinned = lock.url(address).filter(|_| !self.update);
        let pinned = pinned.map(|pinned| pinned.content.clone());
        // Whoever held it before may have fetched it.
        if let Some(content) = &pinned
            && let path = download_path(places, address, content)
            && is_here(&path, content.size)
        {
            return Ok(local_url(address, path));
        }
        let (draft, found) = match pinned {
            Some(content) => {
                let digest = content.etag().unwrap_or_default();
                let draft = places.downloads.join(format!("{digest}.incomplete"));
                let done = self.client()?.download(address, &draft, &content, progress);
                done.map_err(|error| changed_since(error, true, &places.lock))?;
                (draft, content)
            }
            None => {
                let draft = places.downloads.join(format!("{of_address}.incomplete"));
                let found = self.client()?.download_any(address, &draft, progress)?;
                (draft, found)
            }
        };
        let path = download_path(places, address, &found);
        std::fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| std::fs::rename(&draft, &path))
            .map_err(|source| HubError::write(&path, source))?;
        self.remember(|lock| {
            lock.put_url(PinnedUrl {
                address: address.to_owned(),
                content: found,
            });
        })?;
        Ok(local_url(address, path))
    }

    /// The objects that a path names: those that the lock says, or those that there are now. What still has the ETag under
    /// which it is here is not fetched again.
    fn seek_objects(&mut self, lock: &Lock, objects: &Objects) -> Result<Local, HubError> {
        let (places, progress, update) = (self.places, self.progress, self.update);
        let address = objects.to_string();
        let before = lock.objects(&address);
        let here = before.and_then(|before| local_objects(places, objects, before));
        if let Some(local) = here.filter(|_| !update) {
            return Ok(local);
        }
        if self.environment.offline {
            return Err(HubError::Offline {
                what: address,
                looked: places.downloads.clone(),
            });
        }
        let of_address = blake3::hash(address.as_bytes()).to_hex();
        let held = places.downloads.join(format!("{of_address}.lock"));
        let _held = hold(&held, &address, progress)?;
        let bucket = self.bucket(objects)?;
        let place = |key: &str, content: &Content| object_path(places, objects, key, content);
        let settle = |draft: &Path, path: &Path| {
            std::fs::create_dir_all(path.parent().unwrap_or(path))
                .and_then(|()| std::fs::rename(draft, path))
                .map_err(|source| HubError::write(path, source))
        };
        let mut found = PinnedObjects {
            address: address.clone(),
            files: BTreeMap::new(),
        };
        if let Some(before) = before.filter(|_| !update) {
            for (key, object) in &before.files {
                let content = object.content();
                let path = place(key, &content);
                if !is_here(&path, object.size) {
                    let draft = places
                        .downloads
                        .join(format!("{}.incomplete", object.sha256));
                    let done = bucket.download(key, &content, &draft, progress);
                    done.map_err(|error| changed_since(error, true, &places.lock))?;
                    settle(&draft, &path)?;
                }
            }
            found.files.clone_from(&before.files);
        } else {
            let listed = match has_wildcards(&objects.key) {
                true => bucket.list(&objects.key, progress)?,
                false => BTreeMap::new(),
            };
            let keys: Vec<&String> = match listed.is_empty() {
                true => vec![&objects.key],
                false => listed.keys().collect(),
            };
            for key in keys {
                let known = before.and_then(|before| before.files.get(key));
                let known = known.filter(|object| {
                    is_here(&place(key, &object.content()), object.size) && object.etag.is_some()
                });
                // Azure's listings have them without quotes.
                let bare = |etag: &Option<String>| etag.as_ref().map(|tag| tag.replace('"', ""));
                if let (Some(object), Some(now)) = (known, listed.get(key))
                    && bare(&object.etag) == bare(&now.etag)
                    && object.size == now.size
                {
                    found.files.insert(key.clone(), object.clone());
                    continue;
                }
                let of_key = format!("{}/{key}", objects.bucket);
                let of_key = blake3::hash(of_key.as_bytes()).to_hex();
                let draft = places.downloads.join(format!("{of_key}.incomplete"));
                let etag = known.and_then(|object| object.etag.as_deref());
                let object = match (bucket.download_any(key, etag, &draft, progress)?, known) {
                    (Some(object), _) => {
                        settle(&draft, &place(key, &object.content()))?;
                        object
                    }
                    (None, known) => known.cloned().ok_or(HubError::Interrupted)?,
                };
                found.files.insert(key.clone(), object);
            }
            let new = found.clone();
            self.remember(|lock| lock.put_objects(new))?;
        }
        local_objects(places, objects, &found).ok_or(HubError::Offline {
            what: address,
            looked: places.downloads.clone(),
        })
    }

    fn bucket(&mut self, objects: &Objects) -> Result<&Bucket, HubError> {
        Ok(match self.buckets.entry(objects.bucket_name()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(Bucket::open(self.environment, objects)?)
            }
        })
    }

    /// Changes the lock as it is now: another process may have written to it.
    fn remember(&self, change: impl FnOnce(&mut Lock)) -> Result<(), HubError> {
        let beside = self.places.downloads.join("refit.lock.held");
        let _held = hold(&beside, "what this pipeline names", self.progress)?;
        let mut lock = Lock::read(&self.places.lock)?;
        change(&mut lock);
        lock.write(&self.places.lock)
    }
}

/// An entry with what it said before of other uses of the same commit.
fn merge(before: Option<&Pinned>, new: Pinned, remote: &Remote) -> Pinned {
    let Some(before) = before.filter(|before| before.commit == new.commit) else {
        return new;
    };
    let mut merged = before.clone();
    match remote {
        Remote::Encoder(_) => merged.encoder = new.encoder,
        Remote::Tokenizer(_) => merged.tokenizer = new.tokenizer,
        Remote::Dataset { .. } => {
            merged.splits = new.splits;
            merged.class_names = new.class_names;
        }
        Remote::Files { .. } => merged.patterns.extend(new.patterns),
        Remote::File { .. } | Remote::Url(_) | Remote::Objects(_) => {}
    }
    merged.files.extend(new.files);
    merged
}

fn changed_since(error: HubError, pinned: bool, lock: &Path) -> HubError {
    match error {
        HubError::OtherContent {
            what,
            found,
            wanted,
        } if pinned => HubError::ChangedSince {
            what,
            lock: lock.to_owned(),
            found,
            wanted,
        },
        other => other,
    }
}

/// A few of the files of a repository, for a message.
fn listing(state: &State) -> String {
    const SHOWN: usize = 12;
    let names: Vec<&str> = state.files.keys().map(String::as_str).take(SHOWN).collect();
    match (names.is_empty(), state.files.len().saturating_sub(SHOWN)) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}
