//! The bytes of files.
//!
//! A file is fetched into a draft that a later attempt goes on with, in this process or the next; it is checked against size
//! and digest before anybody may use it. A redirect to another host does not carry the token along (reqwest's rule).
//!
//! What is known of a file decides how one goes on with half of it. Of a file of the hub, and of one that the lock names, the
//! digest is known: the second half is asked for, and the whole must be right. Of any other address only its ETag is known:
//! the second half is asked for on the condition that the ETag is still the same, and a server that says none sends the whole
//! again.
//!
//! Deliberately absent: the hub's own chunk protocol (xet): the hub serves every file as plain bytes too, and half a file
//! needs no protocol of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use futures_util::{Stream, StreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::address::{file_name, without_query};
use super::client::{Client, Stopped, for_now, header, of_request, pause, unless_stopped};
use super::lock::Content;
use super::{HubError, Progress};

/// Where the bytes of a file come from.
pub(super) trait Source {
    /// Its address, as it may be shown.
    fn name(&self) -> String;

    /// Brings what `draft` lacks beyond the `have` bytes that are there, or a part of that.
    async fn attempt(
        &self,
        draft: &mut Draft,
        have: u64,
        progress: &dyn Progress,
    ) -> Result<(), Stopped>;
}

/// Fetches a file to `path`, which then holds all of it and what was asked for. What an earlier attempt left at `path` is
/// gone on with.
///
/// # Errors
/// The server, the line or the disk failed for good; other content than expected; the user asked to stop.
pub(super) async fn whole(
    source: &impl Source,
    path: &Path,
    wanted: &Content,
    progress: &dyn Progress,
) -> Result<(), HubError> {
    let mut began_with = std::fs::metadata(path).map_or(0, |file| file.len());
    loop {
        let mut draft = Draft::open(path, Some(wanted.size))?;
        let done = complete(source, &mut draft, progress).await;
        done.inspect_err(|_| draft.give_up())?;
        let Some((found, wanted)) = differs(&content_of(path)?, wanted) else {
            return Ok(());
        };
        std::fs::remove_file(path).map_err(|source| HubError::write(path, source))?;
        // What an earlier attempt left may have been the wrong half.
        if std::mem::take(&mut began_with) == 0 {
            return Err(HubError::OtherContent {
                what: source.name(),
                found,
                wanted,
            });
        }
    }
}

/// Fetches whatever is there to `path`, and says what it is and under which ETag it was sent.
///
/// # Errors
/// As for [`whole`].
pub(super) async fn any(
    source: &impl Source,
    path: &Path,
    progress: &dyn Progress,
) -> Result<(Content, Option<String>), HubError> {
    let mut draft = Draft::open(path, None)?;
    let done = complete(source, &mut draft, progress).await;
    done.inspect_err(|_| draft.give_up())?;
    draft.forget_tag();
    let found = content_of(path)?;
    let [sha256, _] = found.digests;
    let content = Content {
        size: found.size,
        sha256: Some(sha256),
        git: None,
    };
    Ok((content, draft.tag))
}

async fn complete(
    source: &impl Source,
    draft: &mut Draft,
    progress: &dyn Progress,
) -> Result<(), HubError> {
    let mut fruitless = 0;
    loop {
        let begun = draft.have()?;
        if draft.size == Some(begun) {
            return draft.settle();
        }
        match source.attempt(draft, begun, progress).await {
            Ok(()) => return draft.settle(),
            Err(Stopped::ForGood(error)) => return Err(error),
            Err(Stopped::ForNow { reason, wait }) => {
                let brought = draft.have()? > begun && draft.can_be_gone_on_with();
                fruitless = if brought { 1 } else { fruitless + 1 };
                pause(fruitless, &source.name(), reason, wait, progress).await?;
            }
        }
    }
}

/// What an answer says before its bytes come.
pub(super) struct Begun {
    /// What is fetched, as it may be shown.
    pub(super) what: String,
    /// Bytes that are there already, and that these go on from.
    pub(super) have: u64,
    /// How large the whole is.
    pub(super) total: Option<u64>,
    pub(super) tag: Option<String>,
}

/// Adds what comes to the draft.
///
/// # Errors
/// It is not what was expected; it breaks off; the user asked to stop.
pub(super) async fn receive<B: AsRef<[u8]>>(
    draft: &mut Draft,
    begun: Begun,
    stream: impl Stream<Item = Result<B, String>>,
    progress: &dyn Progress,
) -> Result<(), Stopped> {
    let Begun {
        what,
        mut have,
        total: announced,
        tag,
    } = begun;
    if let (Some(size), Some(announced)) = (draft.size, announced)
        && size != announced
    {
        // Whatever this is, an error page for example, the draft is none the worse for it.
        return Err(HubError::OtherContent {
            what,
            found: format!("{announced} bytes"),
            wanted: format!("{size} bytes"),
        }
        .into());
    }
    if have == 0 {
        draft.begin(tag)?;
    }
    let total = draft.size.or(announced);
    progress.start(&file_name(&what), total.unwrap_or(0));
    progress.advance(have);
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = unless_stopped(stream.next(), progress).await? {
        let chunk = chunk.map_err(for_now)?;
        let chunk = chunk.as_ref();
        have += chunk.len() as u64;
        if let Some(size) = draft.size.filter(|size| have > *size) {
            draft.begin(None)?;
            return Err(HubError::OtherContent {
                what,
                found: format!("more than {size} bytes"),
                wanted: format!("{size} bytes"),
            }
            .into());
        }
        draft.add(chunk)?;
        progress.advance(chunk.len() as u64);
        // A fast line never lets the wait for the next part run long enough to ask.
        if progress.interrupted() {
            return Err(HubError::Interrupted.into());
        }
    }
    match total {
        Some(total) if have < total => {
            Err(for_now(format!("the server sent {have} of {total} bytes")))
        }
        _ => Ok(()),
    }
}

impl Client {
    /// Fetches the file at `address`; see [`whole`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn download(
        &self,
        address: &str,
        path: &Path,
        wanted: &Content,
        progress: &dyn Progress,
    ) -> Result<(), HubError> {
        let source = Web {
            client: self,
            address,
        };
        self.runtime
            .block_on(whole(&source, path, wanted, progress))
    }

    /// Fetches whatever is at `address` to `path`, and says what it is.
    ///
    /// # Errors
    /// As for [`download`](Self::download).
    pub(super) fn download_any(
        &self,
        address: &str,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<Content, HubError> {
        let source = Web {
            client: self,
            address,
        };
        let found = self.runtime.block_on(any(&source, path, progress))?;
        Ok(found.0)
    }
}

/// A file behind an address.
struct Web<'a> {
    client: &'a Client,
    address: &'a str,
}

impl Source for Web<'_> {
    fn name(&self) -> String {
        without_query(self.address)
    }

    async fn attempt(
        &self,
        draft: &mut Draft,
        have: u64,
        progress: &dyn Progress,
    ) -> Result<(), Stopped> {
        let Web { client, address } = *self;
        let what = self.name();
        let mut request = client.with_token(client.http.get(address), address);
        // Sizes and digests are those of the file, not of a packed form of it.
        request = request.header(ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
            if let (None, Some(tag)) = (draft.size, &draft.tag) {
                request = request.header(IF_RANGE, tag);
            }
        }
        let sent = unless_stopped(request.send(), progress).await?;
        let response = sent.map_err(|error| of_request(&error, address))?;
        let have = match response.status() {
            StatusCode::PARTIAL_CONTENT if continues(response.headers(), have) => have,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                draft.begin(None)?;
                return Err(for_now("the server answered with another part".to_owned()));
            }
            status if status.is_success() => 0,
            _ => return Err(client.answer(&response, &what)),
        };
        let begun = Begun {
            what,
            have,
            total: announced(&response, have),
            tag: strong_tag(response.headers()),
        };
        let stream = response.bytes_stream();
        let stream = stream.map(|chunk| chunk.map_err(|error| error_text(&error)));
        receive(draft, begun, stream, progress).await
    }
}

/// A file that is being fetched.
pub(super) struct Draft {
    path: PathBuf,
    file: File,
    /// How large it must become, where its digest is known too.
    size: Option<u64>,
    /// The ETag under which what is there was sent, where no digest is known.
    tag: Option<String>,
}

impl Draft {
    /// What an earlier attempt left, where it can be gone on with; an empty one otherwise.
    fn open(path: &Path, size: Option<u64>) -> Result<Draft, HubError> {
        let failed = |source| HubError::write(path, source);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let mut draft = Draft {
            path: path.to_owned(),
            file,
            size,
            tag: None,
        };
        if size.is_none() {
            draft.tag = std::fs::read_to_string(draft.tag_path()).ok();
        }
        let too_long = size.is_some_and(|size| draft.have().is_ok_and(|have| have > size));
        if too_long || !draft.can_be_gone_on_with() {
            draft.begin(None)?;
        }
        Ok(draft)
    }

    fn can_be_gone_on_with(&self) -> bool {
        self.size.is_some() || self.tag.is_some()
    }

    /// How many bytes are there.
    fn have(&self) -> Result<u64, HubError> {
        let metadata = self.file.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|source| HubError::write(&self.path, source))
    }

    /// The ETag on whose condition the rest is asked for.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// What nothing came of is not worth a file.
    fn give_up(&self) {
        if self.have().is_ok_and(|have| have == 0) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Begins anew, with what was sent under this ETag.
    pub(super) fn begin(&mut self, tag: Option<String>) -> Result<(), HubError> {
        let emptied = self.file.set_len(0);
        emptied.map_err(|source| HubError::write(&self.path, source))?;
        if self.size.is_some() {
            return Ok(());
        }
        self.tag = tag;
        match &self.tag {
            Some(tag) => std::fs::write(self.tag_path(), tag)
                .map_err(|source| HubError::write(&self.tag_path(), source)),
            None => {
                self.forget_tag();
                Ok(())
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let added = self.file.seek(SeekFrom::End(0));
        added
            .and_then(|_| self.file.write_all(bytes))
            .map_err(|source| HubError::write(&self.path, source))
    }

    /// Brings it onto the disk: a name that says a digest must not survive a crash that its bytes do not.
    fn settle(&self) -> Result<(), HubError> {
        let synced = self.file.sync_all();
        synced.map_err(|source| HubError::write(&self.path, source))
    }

    fn tag_path(&self) -> PathBuf {
        self.path.with_extension("etag")
    }

    fn forget_tag(&self) {
        // One that stays is of no file and is written over.
        let _ = std::fs::remove_file(self.tag_path());
    }
}

/// Whether a part of a file goes on where we stopped.
fn continues(headers: &HeaderMap, have: u64) -> bool {
    let range = header(headers, CONTENT_RANGE.as_str());
    let start = range
        .as_deref()
        .and_then(|range| range.strip_prefix("bytes "))
        .and_then(|range| range.split('-').next());
    start.and_then(|start| start.parse().ok()) == Some(have)
}

/// How large the whole file is, as the answer has it.
fn announced(response: &Response, have: u64) -> Option<u64> {
    let length = response.content_length()?;
    have.checked_add(length)
}

/// An ETag that stands for these very bytes: a weak one does not.
fn strong_tag(headers: &HeaderMap) -> Option<String> {
    header(headers, ETAG.as_str()).filter(|tag| tag.starts_with('"'))
}

fn error_text(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

pub(super) struct Found {
    pub(super) size: u64,
    /// SHA-256, and SHA-1 as git computes it.
    pub(super) digests: [String; 2],
}

/// What a file is.
///
/// # Errors
/// It cannot be read.
pub(super) fn content_of(path: &Path) -> Result<Found, HubError> {
    let read = || -> io::Result<Found> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let (mut sha256, mut git) = (Sha256::new(), Sha1::new());
        git.update(format!("blob {size}\0"));
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => {
                    let part = buffer.get(..read).unwrap_or_default();
                    sha256.update(part);
                    git.update(part);
                }
            }
        }
        let digests = [hex(&sha256.finalize()), hex(&git.finalize())];
        Ok(Found { size, digests })
    };
    read().map_err(|source| HubError::read(path, source))
}

/// What a file is and what it should be, where that is not the same.
pub(super) fn differs(found: &Found, wanted: &Content) -> Option<(String, String)> {
    if found.size != wanted.size {
        return Some((
            format!("{} bytes", found.size),
            format!("{} bytes", wanted.size),
        ));
    }
    let pairs = found.digests.iter().zip([&wanted.sha256, &wanted.git]);
    for ((found, wanted), name) in pairs.zip(["SHA-256", "git's SHA-1"]) {
        if let Some(wanted) = wanted
            .as_ref()
            .filter(|wanted| !wanted.eq_ignore_ascii_case(found))
        {
            return Some((format!("{name} {found}"), format!("{name} {wanted}")));
        }
    }
    None
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_git_and_sha256sum() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello\n").unwrap();
        let found = content_of(file.path()).unwrap();
        assert_eq!(found.size, 6);
        assert_eq!(
            found.digests,
            [
                "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                "ce013625030ba8dba906f756967f9e9ca394464a",
            ]
        );
    }

    #[test]
    fn half_a_file_is_gone_on_with_only_where_something_tells_what_it_is_half_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.incomplete");
        let left = |size: Option<u64>| {
            std::fs::write(&path, "half").unwrap();
            Draft::open(&path, size).unwrap().have().unwrap()
        };
        assert_eq!(left(Some(8)), 4);
        assert_eq!(left(Some(3)), 0, "longer than the file");
        assert_eq!(left(None), 0, "of an unknown file");
        std::fs::write(path.with_extension("etag"), "\"a\"").unwrap();
        assert_eq!(left(None), 4);
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, "W/\"a\"".parse().unwrap());
        assert_eq!(strong_tag(&headers), None);
    }
}
