//! Uploading a folder to the hub in one commit.
//!
//! Only what differs is sent: small files are compared by git's digest, large ones by the SHA-256 that the hub names them by.
//! Large files go through the hub's chunk store, which keeps what many files have in common once (hf-hub's part).
//!
//! Deliberately absent: removing what the folder does not have. A repository may hold what its owner put there by hand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hf_hub::progress::{ProgressEvent, ProgressHandler, UploadEvent};
use hf_hub::repository::CommitOperation;
use hf_hub::split_id;

use super::client::{Client, State};
use super::environment::Environment;
use super::transfer::{content_of, differs};
use super::{HubError, Progress, Repository};

/// Uploads all files of `folder` to a model repository in one commit; a repository that is not there is made. The commit's
/// address; none when everything was there already.
///
/// # Errors
/// There is no token, the hub cannot be reached or does not take it, or the folder holds something other than files.
pub fn push(
    environment: &Environment,
    repository: &Repository,
    folder: &Path,
    message: &str,
    private: bool,
    progress: &dyn Progress,
) -> Result<Option<String>, HubError> {
    let what = format!("the model {repository}");
    if environment.offline {
        return Err(HubError::OfflineUpload { what });
    }
    if environment.token.is_none() {
        return Err(HubError::Unauthorised {
            what,
            with_token: false,
        });
    }
    let names = files_under(folder)?;
    let client = Client::new(environment)?;
    let uploaded = upload(
        &client,
        repository,
        (folder, &names),
        message,
        private,
        progress,
    );
    uploaded.map_err(|error| match error {
        HubError::Forbidden { message, .. } => HubError::ReadOnly { what, message },
        other => other,
    })
}

fn upload(
    client: &Client,
    repository: &Repository,
    (folder, names): (&Path, &[String]),
    message: &str,
    private: bool,
    progress: &dyn Progress,
) -> Result<Option<String>, HubError> {
    let revision = repository.revision.as_deref().unwrap_or("main");
    let there = match client.state(repository, revision, progress) {
        Ok(state) => state,
        Err(HubError::NoRepository { .. }) => {
            make(client, repository, private, progress)?;
            State::default()
        }
        // A repository in which nothing was ever put has no branch yet.
        Err(HubError::NoRevision { .. }) if repository.revision.is_none() => State::default(),
        Err(error) => return Err(error),
    };
    let mut changed = Vec::new();
    let mut bytes = 0;
    for name in names {
        if progress.interrupted() {
            return Err(HubError::Interrupted);
        }
        let path = folder.join(name);
        let found = content_of(&path)?;
        let is_new = match there.files.get(name) {
            None => true,
            Some(known) if known.size != found.size => true,
            Some(known) if known.etag().is_some() => differs(&found, known).is_some(),
            Some(_) => {
                let etag = client.etag(repository, &there.commit, name, progress)?;
                !found.digests.contains(&etag)
            }
        };
        if is_new {
            bytes += found.size;
            changed.push(CommitOperation::add_file(name.clone(), path));
        }
    }
    if changed.is_empty() {
        return Ok(None);
    }
    progress.start(&repository.to_string(), bytes);
    let (owner, name) = split_id(&repository.id);
    let handle = client.hub.model(owner, name);
    let meter = Arc::new(Meter::default());
    let metered = Metered {
        progress,
        meter: Arc::clone(&meter),
    };
    let commit = client.ask(repository, revision, &metered, || {
        handle
            .create_commit()
            .operations(changed.clone())
            .commit_message(message)
            .revision(revision)
            .progress(Arc::clone(&meter))
            .send()
    })?;
    Ok(Some(
        commit.commit_url.unwrap_or_else(|| client.page(repository)),
    ))
}

fn make(
    client: &Client,
    repository: &Repository,
    private: bool,
    progress: &dyn Progress,
) -> Result<(), HubError> {
    client.ask(repository, "main", progress, || async {
        let made = client.hub.create_repository().repo_id(&repository.id);
        let made = made.repo_type(hf_hub::RepoTypeModel).private(private);
        made.exist_ok(true).send().await
    })?;
    Ok(())
}

/// Bytes that went out, and how many of them were told of.
#[derive(Default)]
struct Meter {
    sent: AtomicU64,
    told: AtomicU64,
}

impl ProgressHandler for Meter {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Upload(UploadEvent::Progress {
            bytes_completed, ..
        }) = event
        {
            self.sent.fetch_max(*bytes_completed, Ordering::Relaxed);
        }
    }
}

/// Tells of the bytes that went out whenever it is asked whether to stop: the upload runs on threads that the caller's
/// progress does not know.
struct Metered<'a> {
    progress: &'a dyn Progress,
    meter: Arc<Meter>,
}

impl Progress for Metered<'_> {
    fn start(&self, what: &str, bytes: u64) {
        self.progress.start(what, bytes);
    }

    fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
    }

    fn say(&self, line: &str) {
        self.progress.say(line);
    }

    fn interrupted(&self) -> bool {
        let sent = self.meter.sent.load(Ordering::Relaxed);
        let told = self.meter.told.fetch_max(sent, Ordering::Relaxed);
        if sent > told {
            self.progress.advance(sent - told);
        }
        self.progress.interrupted()
    }
}

/// The files of a folder, by their paths within it.
///
/// # Errors
/// A folder cannot be read; a link or something else that is no file.
fn files_under(folder: &Path) -> Result<Vec<String>, HubError> {
    let (mut names, mut pending) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = pending.pop() {
        let entries = std::fs::read_dir(&next).map_err(|source| HubError::read(&next, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| HubError::read(&next, source))?;
            let (path, kind) = (entry.path(), entry.file_type());
            let kind = kind.map_err(|source| HubError::read(&path, source))?;
            // What is hidden are marks of programs, such as the one that says who placed the folder.
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            match path.strip_prefix(folder) {
                _ if is_hidden => {}
                _ if kind.is_dir() => pending.push(path),
                Ok(name) if kind.is_file() => {
                    let parts = name.iter().map(|part| part.to_string_lossy());
                    names.push(parts.collect::<Vec<_>>().join("/"));
                }
                _ => return Err(HubError::NoPlainFile { path }),
            }
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_link_is_not_uploaded() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("onnx")).unwrap();
        std::fs::write(folder.path().join("onnx/model.onnx"), "x").unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert_eq!(
            files_under(folder.path()).unwrap(),
            ["config.json", "onnx/model.onnx"]
        );
        std::os::unix::fs::symlink("/etc", folder.path().join("evil")).unwrap();
        let error = files_under(folder.path()).unwrap_err();
        assert!(matches!(error, HubError::NoPlainFile { .. }), "{error}");
    }
}
