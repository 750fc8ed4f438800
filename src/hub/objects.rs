//! Object stores: `s3://bucket/key` (Amazon's and what speaks as it does), `gs://bucket/key`, `az://container/blob`.
//!
//! How a store is reached and who asks is told by the variables that each service's own tools read, and by nothing in a spec;
//! where they hold no credentials, nothing is signed, which is enough for what is public. What a server says is heard on
//! the way ([`Ear`]), because an error says no more than that there is one. Nothing of the variables is in any message.
//!
//! Deliberately absent: profiles and configuration files of Amazon's tools, and what is written to a bucket ([`open_bucket`]
//! hands one to `remote`, which does).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use md5::{Digest, Md5};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use object_store::{ClientOptions, GetOptions, GetRange, ObjectStore, RetryConfig};

use super::client::{SILENCE, Stopped, for_now, persist, unless_stopped};
use super::environment::Environment;
use super::lock::{Content, PinnedObject};
use super::pattern::{Pattern, has_wildcards};
use super::transfer::{self, Draft, Source};
use super::{HubError, Objects, Progress, dataset};

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Amazon,
    Google,
    Azure,
}

impl Service {
    fn of(scheme: &str) -> Option<Service> {
        Some(match scheme {
            "s3" | "s3a" => Service::Amazon,
            "gs" | "gcs" => Service::Google,
            "az" | "azure" | "abfs" | "abfss" => Service::Azure,
            _ => return None,
        })
    }

    /// The variables that give credentials, for messages.
    fn credentials(self) -> &'static str {
        match self {
            Service::Amazon => {
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN; `aws configure export-credentials` prints \
                 those of a profile)"
            }
            Service::Google => {
                "GOOGLE_APPLICATION_CREDENTIALS to the file of an account that may read it"
            }
            Service::Azure => {
                "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN"
            }
        }
    }
}

/// Whether paths of this scheme lead to objects.
pub(super) fn is_scheme(scheme: &str) -> bool {
    Service::of(scheme).is_some()
}

/// What `SCHEME://REST` names.
///
/// # Errors
/// Why it names nothing, as a phrase.
pub(super) fn locate(scheme: &str, rest: &str) -> Result<Objects, &'static str> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    check_bucket(scheme, bucket)?;
    if key.is_empty() || key.ends_with('/') {
        return Err("it is a folder; `/*` behind it stands for its files");
    }
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("a part of its key is empty or leads elsewhere");
    }
    if has_wildcards(key) && Pattern::new(key).is_none() {
        return Err("`**` stands for folders, and alone between slashes");
    }
    Ok(Objects {
        scheme: scheme.to_owned(),
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    })
}

/// What `SCHEME://BUCKET/FOLDER` names, with or without a folder; none for a scheme that leads to no objects.
///
/// # Errors
/// Why it names nothing, as a phrase.
pub fn locate_folder(scheme: &str, rest: &str) -> Option<Result<Objects, &'static str>> {
    is_scheme(scheme).then(|| {
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        check_bucket(scheme, bucket)?;
        let folder = folder.trim_end_matches('/');
        let is_sound = |part: &str| {
            !matches!(part, "" | "." | "..") && !part.contains(['?', '#', '*', '[', '\\'])
        };
        if !folder.is_empty() && !folder.split('/').all(is_sound) {
            return Err("a part of its folder is empty, leads elsewhere, or has a `?`, `#`, `*`, `[` or `\\`");
        }
        Ok(Objects {
            scheme: scheme.to_owned(),
            bucket: bucket.to_owned(),
            key: folder.to_owned(),
        })
    })
}

fn check_bucket(scheme: &str, bucket: &str) -> Result<(), &'static str> {
    let azure = Service::of(scheme) == Some(Service::Azure);
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let sound = match bucket.split_once('@') {
        None => is_name(bucket.strip_prefix('$').filter(|_| azure).unwrap_or(bucket)),
        Some((container, host)) if azure && !container.contains(':') => {
            is_name(container) && is_name(host)
        }
        Some(_) => return Err("credentials come from the environment, not from the spec"),
    };
    match sound {
        true => Ok(()),
        false => Err("its bucket has no name that a bucket can have"),
    }
}

/// A service's client: whole objects, and large ones in parts.
trait Both: ObjectStore + MultipartStore {}
impl<S: ObjectStore + MultipartStore> Both for S {}

/// A bucket for whoever keeps things in it. Attempts are counted by who asks.
pub struct OpenBucket {
    pub whole: Arc<dyn ObjectStore>,
    pub parts: Arc<dyn MultipartStore>,
    /// The variables that give credentials, for messages.
    pub credentials: &'static str,
    secrets: Vec<String>,
}

impl OpenBucket {
    /// A text without anything that is nobody's business.
    pub fn without_secrets(&self, text: String) -> String {
        without(&self.secrets, text)
    }
}

/// The bucket of these objects; nothing is asked of it yet.
///
/// # Errors
/// The environment does not say how to reach it, or says what cannot be.
pub fn open_bucket(environment: &Environment, objects: &Objects) -> Result<OpenBucket, HubError> {
    let opened = Bucket::open(environment, objects)?;
    Ok(OpenBucket {
        whole: Arc::clone(&opened.store) as Arc<dyn ObjectStore>,
        parts: opened.store as Arc<dyn MultipartStore>,
        credentials: opened.service.credentials(),
        secrets: opened.secrets,
    })
}

/// Objects of one bucket. A listing of more is one of the wrong folder.
const MOST_OBJECTS: usize = 1_000_000;
/// So many names are looked through for one that is like a missing one.
const LOOKED_THROUGH: usize = 1000;

/// A bucket that can be asked.
pub(super) struct Bucket {
    service: Service,
    /// `s3://bucket`
    name: String,
    store: Arc<dyn Both>,
    /// Whether requests are signed.
    signed: bool,
    ear: Ear,
    /// What must stand in no message.
    secrets: Vec<String>,
    runtime: tokio::runtime::Runtime,
}

/// What a listing says of an object.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) size: u64,
    pub(super) etag: Option<String>,
}

impl Bucket {
    /// The bucket of these objects; nothing is asked of it yet.
    ///
    /// # Errors
    /// The environment does not say how to reach it, or says what cannot be.
    pub(super) fn open(environment: &Environment, objects: &Objects) -> Result<Bucket, HubError> {
        let name = objects.bucket_name();
        let secrets = secrets(environment);
        let wrong = |error: &dyn fmt::Display| HubError::StoreSettings {
            bucket: name.clone(),
            reason: without(&secrets, error.to_string()),
        };
        let service = Service::of(&objects.scheme).unwrap_or(Service::Amazon);
        let ear = Ear::default();
        let (store, signed) = match service {
            Service::Amazon => amazon(environment, objects, &ear),
            Service::Google => google(environment, objects, &ear),
            Service::Azure => azure(environment, objects, &ear),
        }
        .map_err(|error| wrong(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| wrong(&error))?;
        Ok(Bucket {
            service,
            name,
            store,
            signed,
            ear,
            secrets,
            runtime,
        })
    }

    /// The objects that fit a pattern, in the order of their keys.
    ///
    /// # Errors
    /// None does; the bucket is not there, may not be listed or cannot be reached.
    pub(super) fn list(
        &self,
        pattern: &str,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Listed>, HubError> {
        let before = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
        let folder = pattern.get(..before).and_then(|text| text.rfind('/'));
        let folder = pattern.get(..folder.unwrap_or(0)).unwrap_or_default();
        let address = format!("{}/{pattern}", self.name);
        let listed = || self.names(folder, MOST_OBJECTS, &address, progress);
        let listed = self
            .runtime
            .block_on(persist(&self.name, progress, listed))?;
        let names: BTreeSet<&str> = listed.keys().map(String::as_str).collect();
        let is_folder = |name: &str| {
            let below = format!("{name}/");
            let next = listed.range(below.clone()..).next();
            next.is_some_and(|(next, _)| next.starts_with(&below))
        };
        let found = dataset::matching(&names, pattern).into_iter();
        let found = found.filter_map(|name| {
            let listed = listed.get(&name)?;
            // Consoles mark folders with an object of no bytes.
            (listed.size > 0 || !is_folder(&name)).then(|| (name, listed.clone()))
        });
        let found: BTreeMap<String, Listed> = found.collect();
        if found.is_empty() {
            return Err(HubError::NoObject {
                near: self.near(pattern, folder, progress),
                address,
            });
        }
        Ok(found)
    }

    async fn names(
        &self,
        folder: &str,
        most: usize,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, Listed>, Stopped> {
        let prefix = key(folder, what)?;
        self.ear.forget();
        let mut stream = self.store.list((!folder.is_empty()).then_some(&prefix));
        let mut names = BTreeMap::new();
        while let Some(object) = unless_stopped(stream.next(), progress).await? {
            let object = object.map_err(|error| self.refusal(&error, what, true))?;
            let listed = Listed {
                size: object.size,
                etag: object.e_tag,
            };
            names.insert(object.location.to_string(), listed);
            if names.len() >= most {
                break;
            }
        }
        Ok(names)
    }

    /// The names most like one that is not there.
    fn near(&self, wanted: &str, folder: &str, progress: &dyn Progress) -> String {
        const SHOWN: usize = 3;
        let ask = |folder: &str| {
            let names = self.names(folder, LOOKED_THROUGH, &self.name, progress);
            self.runtime.block_on(names).unwrap_or_default()
        };
        let mut names = ask(folder);
        if names.is_empty() && !folder.is_empty() {
            names = ask("");
        }
        let mut names: Vec<_> = names
            .into_keys()
            .map(|name| (strsim::damerau_levenshtein(&name, wanted), name))
            .collect();
        names.sort();
        let names: Vec<String> = names
            .into_iter()
            .take(SHOWN)
            .map(|(_, name)| format!("`{name}`"))
            .collect();
        match names.is_empty() {
            true => String::new(),
            false => format!("; there is {}", names.join(", ")),
        }
    }

    /// Fetches an object to `path`, and says what it is; none where it is still the one of this ETag.
    ///
    /// # Errors
    /// It is not there, may not be read, or the store, the line or the disk failed for good.
    pub(super) fn download_any(
        &self,
        name: &str,
        known: Option<&str>,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<Option<PinnedObject>, HubError> {
        let object = self.object(name, known)?;
        let found = self
            .runtime
            .block_on(transfer::any(&object, path, progress));
        if known.is_some() && object.heard().unchanged {
            let _ = std::fs::remove_file(path);
            return Ok(None);
        }
        let (content, etag) = found.map_err(|error| self.with_near(error, name, progress))?;
        if let Some(wanted) = object.heard().md5.clone() {
            let found = md5_of(path)?;
            if found != wanted {
                std::fs::remove_file(path).map_err(|source| HubError::write(path, source))?;
                return Err(HubError::OtherContent {
                    what: object.name(),
                    found: format!("MD5 {found}"),
                    wanted: format!("MD5 {wanted}"),
                });
            }
        }
        Ok(Some(PinnedObject {
            size: content.size,
            sha256: content.sha256.unwrap_or_default(),
            etag,
        }))
    }

    /// Fetches an object to `path`, which must then be what is wanted.
    ///
    /// # Errors
    /// As for [`download_any`](Self::download_any); it is something else.
    pub(super) fn download(
        &self,
        name: &str,
        wanted: &Content,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<(), HubError> {
        let object = self.object(name, None)?;
        let done = self
            .runtime
            .block_on(transfer::whole(&object, path, wanted, progress));
        done.map_err(|error| self.with_near(error, name, progress))
    }

    fn object<'b>(&'b self, name: &str, known: Option<&str>) -> Result<Object<'b>, HubError> {
        let address = format!("{}/{name}", self.name);
        Ok(Object {
            bucket: self,
            key: key(name, &address)?,
            address,
            known: known.map(str::to_owned),
            heard: Mutex::default(),
        })
    }

    fn with_near(&self, error: HubError, name: &str, progress: &dyn Progress) -> HubError {
        match error {
            HubError::NoObject { address, .. } => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                HubError::NoObject {
                    near: self.near(name, folder, progress),
                    address,
                }
            }
            other => other,
        }
    }

    /// What it means that a question was not answered.
    fn refusal(&self, error: &object_store::Error, what: &str, is_listing: bool) -> Stopped {
        let Some(answer) = self.ear.last() else {
            let http = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>());
            let deepest = causes(error).last();
            let reason = deepest.map_or_else(|| error.to_string(), ToString::to_string);
            let reason = without(&self.secrets, reason);
            return match http {
                Some(_) => for_now(reason),
                None => Stopped::ForGood(HubError::StoreRefused {
                    what: what.to_owned(),
                    reason,
                }),
            };
        };
        let said = without(&self.secrets, answer.to_string());
        let code = answer.code.as_str();
        let what = what.to_owned();
        let error = match answer.status {
            500.. | 429 | 408 => {
                return Stopped::ForNow {
                    reason: said,
                    wait: answer.wait,
                };
            }
            301 | 307 | 308 | 400 if answer.region.is_some() || answer.status < 400 => {
                HubError::OtherRegion {
                    bucket: self.name.clone(),
                    region: answer.region.unwrap_or_else(|| "another".to_owned()),
                }
            }
            404 if is_listing || matches!(code, "NoSuchBucket" | "ContainerNotFound") => {
                HubError::NoBucket {
                    bucket: self.name.clone(),
                }
            }
            404 => HubError::NoObject {
                address: what,
                near: String::new(),
            },
            401 | 403 => self.denied(what, said),
            _ if matches!(
                code,
                "ExpiredToken" | "InvalidToken" | "PublicAccessNotPermitted"
            ) =>
            {
                self.denied(what, said)
            }
            _ => HubError::StoreRefused { what, reason: said },
        };
        Stopped::ForGood(error)
    }

    fn denied(&self, what: String, said: String) -> HubError {
        HubError::ObjectDenied {
            what,
            said,
            signed: self.signed,
            credentials: self.service.credentials(),
        }
    }
}

/// A key as the store's own library takes it.
fn key(name: &str, address: &str) -> Result<Key, HubError> {
    Key::parse(name).map_err(|error| HubError::StoreRefused {
        what: address.to_owned(),
        reason: error.to_string(),
    })
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// One object, while it is fetched.
struct Object<'b> {
    bucket: &'b Bucket,
    key: Key,
    address: String,
    /// Under this ETag it need not be sent.
    known: Option<String>,
    heard: Mutex<HeardOfObject>,
}

#[derive(Debug, Clone, Default)]
struct HeardOfObject {
    /// The MD5 of the whole, where the store says one.
    md5: Option<String>,
    unchanged: bool,
}

impl Object<'_> {
    fn heard(&self) -> std::sync::MutexGuard<'_, HeardOfObject> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Object<'_> {
    fn name(&self) -> String {
        self.address.clone()
    }

    async fn attempt(
        &self,
        draft: &mut Draft,
        have: u64,
        progress: &dyn Progress,
    ) -> Result<(), Stopped> {
        let mut options = GetOptions::default();
        if have > 0 {
            options.range = Some(GetRange::Offset(have));
            options.if_match = draft.tag().map(str::to_owned);
        } else {
            options.if_none_match.clone_from(&self.known);
        }
        self.bucket.ear.forget();
        let asked = self.bucket.store.get_opts(&self.key, options);
        let answer = match unless_stopped(asked, progress).await? {
            Ok(answer) => answer,
            Err(error) => {
                let status = self.bucket.ear.last().map(|answer| answer.status);
                if status == Some(304) {
                    self.heard().unchanged = true;
                    return draft.begin(None).map_err(Stopped::from);
                }
                // Another object than the one that half is here of; or a server that knows no parts, and says so by the whole.
                let answered = status.is_none() && !is_of_http(&error);
                if have > 0 && (matches!(status, Some(412 | 416)) || answered) {
                    draft.begin(None)?;
                    return Err(for_now("it has changed meanwhile".to_owned()));
                }
                return Err(self.bucket.refusal(&error, &self.address, false));
            }
        };
        let tag = answer.meta.e_tag.clone();
        let md5 = answer.extensions.get::<Md5Said>();
        self.heard().md5 = md5.map(|Md5Said(md5)| md5.clone());
        let (total, stream) = (answer.meta.size, answer.into_stream());
        let stream = stream.map(|part| {
            part.map_err(|error| {
                let deepest = causes(&error).last().map(ToString::to_string);
                without(
                    &self.bucket.secrets,
                    deepest.unwrap_or_else(|| error.to_string()),
                )
            })
        });
        // A weak tag stands for no bytes.
        let tag = tag.filter(|tag| !tag.starts_with("W/"));
        let begun = transfer::Begun {
            what: self.address.clone(),
            have,
            total: Some(total),
            tag,
        };
        transfer::receive(draft, begun, stream, progress).await
    }
}

fn is_of_http(error: &object_store::Error) -> bool {
    causes(error).any(|cause| cause.is::<HttpError>())
}

fn md5_of(path: &Path) -> Result<String, HubError> {
    let read = || -> std::io::Result<String> {
        let (mut file, mut digest) = (std::fs::File::open(path)?, Md5::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok(transfer::hex(&digest.finalize())),
                read => digest.update(buffer.get(..read).unwrap_or_default()),
            }
        }
    };
    read().map_err(|source| HubError::read(path, source))
}

/// What a server said last that was no success.
#[derive(Debug, Clone, Default)]
struct Ear(Arc<Mutex<Option<Answer>>>);

#[derive(Debug, Clone, Default)]
struct Answer {
    status: u16,
    /// What the service calls it, `NoSuchKey`; empty where it says nothing.
    code: String,
    message: String,
    /// Where the bucket is.
    region: Option<String>,
    wait: Option<Duration>,
}

/// The MD5 of a whole object, in hexadecimal digits.
#[derive(Debug, Clone)]
struct Md5Said(String);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for text in [&self.code, &self.message] {
            if !text.is_empty() {
                write!(f, ", {text}")?;
            }
        }
        Ok(())
    }
}

impl Ear {
    fn last(&self) -> Option<Answer> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn hear(&self, answer: Option<Answer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    fn forget(&self) {
        self.hear(None);
    }
}

impl HttpConnector for Ear {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Listening {
            inner: ReqwestConnector::default().connect(options)?,
            ear: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct Listening {
    inner: HttpClient,
    ear: Ear,
}

impl HttpService for Listening {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            // Of this request: an earlier one may have fetched a token.
            self.ear.forget();
            let (mut parts, body) = self.inner.execute(request).await?.into_parts();
            let header = |name: &str| {
                let value = parts.headers.get(name)?.to_str().ok()?;
                Some(value.to_owned())
            };
            if parts.status.is_success() {
                if let Some(md5) = md5_said(parts.status.as_u16() == 206, &header) {
                    parts.extensions.insert(Md5Said(md5));
                }
                return Ok(HttpResponse::from_parts(parts, body));
            }
            let wait = header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
            let region = header("x-amz-bucket-region");
            let code = header("x-ms-error-code");
            let bytes = body.bytes().await?;
            let text = String::from_utf8_lossy(&bytes);
            self.ear.hear(Some(Answer {
                status: parts.status.as_u16(),
                code: element(&text, "Code").or(code).unwrap_or_default(),
                message: element(&text, "Message").unwrap_or_default(),
                region: region.or_else(|| element(&text, "Region")),
                wait: wait.map(Duration::from_secs),
            }));
            Ok(HttpResponse::from_parts(parts, bytes.into()))
        })
    }
}

/// The MD5 of the whole object, where an answer says it: an ETag of Amazon's is one unless the object came in parts or is
/// encrypted with a key of its own ("Object", API reference of S3); Google and Azure say it apart.
fn md5_said(is_part: bool, header: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let of_base64 = |text: &str| {
        let bytes = BASE64_STANDARD.decode(text.trim()).ok()?;
        (bytes.len() == 16).then(|| transfer::hex(&bytes))
    };
    if let Some(hashes) = header("x-goog-hash") {
        let plain =
            header("x-goog-stored-content-encoding").is_none_or(|encoding| encoding == "identity");
        let md5 = hashes
            .split(',')
            .find_map(|hash| hash.trim().strip_prefix("md5="));
        return md5.filter(|_| plain).and_then(of_base64);
    }
    if header("x-ms-version").is_some() || header("x-ms-blob-type").is_some() {
        let of_part = || header("content-md5").filter(|_| !is_part);
        let said = header("x-ms-blob-content-md5").or_else(of_part);
        return said.and_then(|text| of_base64(&text));
    }
    let encrypted = header("x-amz-server-side-encryption")
        .is_some_and(|how| how.starts_with("aws:"))
        || header("x-amz-server-side-encryption-customer-algorithm").is_some();
    let amazon = header("x-amz-request-id").is_some() || header("x-amzn-requestid").is_some();
    let etag = header("etag").filter(|_| amazon && !encrypted)?;
    let etag = etag.strip_prefix('"')?.strip_suffix('"')?.to_lowercase();
    let is_md5 = etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_md5.then_some(etag)
}

/// The text of the first element of that name, on one line.
fn element(xml: &str, name: &str) -> Option<String> {
    const LONGEST: usize = 300;
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(text.chars().take(LONGEST).collect())
}

/// Values of variables that are nobody's business.
fn secrets(environment: &Environment) -> Vec<String> {
    const OPEN: [&str; 7] = [
        "REGION",
        "ENDPOINT",
        "_URL",
        "ACCOUNT_NAME",
        "SKIP_",
        "USE_",
        "ALLOW_",
    ];
    let named = environment.stores.iter();
    let secret = named
        .filter(|(name, value)| value.len() >= 4 && !OPEN.iter().any(|open| name.contains(open)));
    secret.map(|(_, value)| value.clone()).collect()
}

fn without(secrets: &[String], text: String) -> String {
    secrets
        .iter()
        .fold(text, |text, secret| text.replace(secret.as_str(), "…"))
}

/// Attempts are counted by who asks.
fn once() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

fn options(endpoint: Option<&str>) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(10))
        .with_read_timeout(SILENCE)
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
}

/// The variables that a builder knows, as it calls them.
fn known<K: FromStr>(environment: &Environment, starts: &[&str]) -> Vec<(K, String)> {
    let stores = environment.stores.iter();
    let ours = stores.filter(|(name, _)| starts.iter().any(|start| name.starts_with(start)));
    ours.filter_map(|(name, value)| Some((name.to_lowercase().parse().ok()?, value.clone())))
        .collect()
}

fn variable<'e>(environment: &'e Environment, names: &[&str]) -> Option<&'e str> {
    let mut values = names
        .iter()
        .filter_map(|name| environment.stores.get(*name));
    values.next().map(String::as_str)
}

type Opened = object_store::Result<(Arc<dyn Both>, bool)>;

fn amazon(environment: &Environment, objects: &Objects, ear: &Ear) -> Opened {
    let endpoint = variable(
        environment,
        &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
    );
    let mut builder = AmazonS3Builder::new().with_client_options(options(endpoint));
    for (key, value) in known::<AmazonS3ConfigKey>(environment, &["AWS_"]) {
        builder = builder.with_config(key, value);
    }
    let has = |name: &str| environment.stores.contains_key(name);
    let mut signed = has("AWS_ACCESS_KEY_ID")
        || has("AWS_SECRET_ACCESS_KEY")
        || has("AWS_WEB_IDENTITY_TOKEN_FILE")
        || has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        || has("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    match variable(environment, &["AWS_SKIP_SIGNATURE"]) {
        Some(skip) => signed = !is_true(skip),
        None => builder = builder.with_skip_signature(!signed),
    }
    let store = builder
        .with_bucket_name(&objects.bucket)
        .with_retry(once())
        .with_http_connector(ear.clone())
        .build()?;
    Ok((Arc::new(store), signed))
}

fn google(environment: &Environment, objects: &Objects, ear: &Ear) -> Opened {
    let endpoint = variable(environment, &["GOOGLE_BASE_URL"]);
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(options(endpoint));
    let keys = known::<GoogleConfigKey>(environment, &["GOOGLE_", "SERVICE_ACCOUNT"]);
    let mut signed = keys.iter().any(|(key, _)| {
        matches!(
            key,
            GoogleConfigKey::ServiceAccount
                | GoogleConfigKey::ServiceAccountKey
                | GoogleConfigKey::ApplicationCredentials
                | GoogleConfigKey::BearerToken
        )
    });
    for (key, value) in keys {
        builder = builder.with_config(key, value);
    }
    match variable(environment, &["GOOGLE_SKIP_SIGNATURE"]) {
        Some(skip) => signed = !is_true(skip),
        None => builder = builder.with_skip_signature(!signed),
    }
    let store = builder
        .with_bucket_name(&objects.bucket)
        .with_retry(once())
        .with_http_connector(ear.clone())
        .build()?;
    Ok((Arc::new(store), signed))
}

fn azure(environment: &Environment, objects: &Objects, ear: &Ear) -> Opened {
    let endpoint = variable(environment, &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"]);
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(options(endpoint));
    let keys = known::<AzureConfigKey>(environment, &["AZURE_", "IDENTITY_ENDPOINT"]);
    let mut signed = keys.iter().any(|(key, _)| {
        matches!(
            key,
            AzureConfigKey::AccessKey
                | AzureConfigKey::SasKey
                | AzureConfigKey::Token
                | AzureConfigKey::ClientId
                | AzureConfigKey::MsiEndpoint
                | AzureConfigKey::FederatedTokenFile
                | AzureConfigKey::UseAzureCli
                | AzureConfigKey::UseEmulator
        )
    });
    for (key, value) in keys {
        builder = builder.with_config(key, value);
    }
    match variable(environment, &["AZURE_SKIP_SIGNATURE"]) {
        Some(skip) => signed = !is_true(skip),
        None => builder = builder.with_skip_signature(!signed),
    }
    let scheme = match objects.scheme.as_str() {
        "azure" => "az",
        other => other,
    };
    let store = builder
        .with_url(format!("{scheme}://{}/", objects.bucket))
        .with_retry(once())
        .with_http_connector(ear.clone())
        .build()?;
    Ok((Arc::new(store), signed))
}

fn is_true(text: &str) -> bool {
    ["1", "true", "on", "yes", "y"].contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests;
