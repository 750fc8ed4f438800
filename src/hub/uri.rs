//! Paths of a spec that lead elsewhere: `https://…`, objects of stores, and `hf://…` as huggingface_hub's file system and
//! `datasets` read it.
//!
//! ```text
//! hf://datasets/owner/name@revision/path     a data set's file; without `datasets/` a model's
//!                         @refs/convert/parquet, @refs/pr/3, @a%2Fbranch, @~parquet
//!                                  /data/*.parquet     every file that fits, by the rules of `datasets`
//! s3://bucket/key.csv, gs://…, az://container/data/*.csv     a key is written as it is, without escapes
//! ```
//!
//! Deliberately absent: asking whether anything is there.

use super::pattern::{Pattern, has_wildcards};
use super::{Remote, Repository, RepositoryKind, address, objects};

/// A path that leads nowhere from here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum UriError {
    #[error("nothing is fetched from {scheme}:// addresses")]
    #[diagnostic(help(
        "known are https://, hf://, s3://, gs:// and az://; copy files from elsewhere to this machine, and write a path without a scheme"
    ))]
    Scheme { scheme: String },
    #[error("{text} names no file of a repository: {reason}")]
    #[diagnostic(help(
        "write hf://datasets/OWNER/NAME/PATH, or hf://datasets/OWNER/NAME@REVISION/PATH; `*` in the path stands for several files"
    ))]
    Repository { text: String, reason: &'static str },
    #[error("{scheme}:// leads to no object of a store: {reason}")]
    #[diagnostic(help(
        "write {scheme}://BUCKET/KEY; `*` in the key stands for several files, and credentials come from variables of the \
         environment"
    ))]
    Object {
        scheme: String,
        reason: &'static str,
    },
    #[error("{message}")]
    #[diagnostic(help("write https://HOST/PATH"))]
    Address { message: String },
}

/// What a path means that leads elsewhere; none for one that leads to files of this machine.
///
/// # Errors
/// A scheme that is not known; an address or a repository that cannot be one.
pub fn locate(text: &str) -> Result<Option<Remote>, UriError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(None);
    };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if scheme.is_empty() || !scheme.chars().all(is_scheme) {
        return Ok(None);
    }
    match scheme {
        "https" | "http" => match address::check(text) {
            Ok(()) => Ok(Some(Remote::Url(text.to_owned()))),
            Err(error) => Err(UriError::Address {
                message: error.to_string(),
            }),
        },
        "hf" => of_hub(text, rest).map(Some),
        scheme if objects::is_scheme(scheme) => match objects::locate(scheme, rest) {
            Ok(objects) => Ok(Some(Remote::Objects(objects))),
            Err(reason) => Err(UriError::Object {
                scheme: scheme.to_owned(),
                reason,
            }),
        },
        other => Err(UriError::Scheme {
            scheme: other.to_owned(),
        }),
    }
}

fn of_hub(text: &str, rest: &str) -> Result<Remote, UriError> {
    let wrong = |reason| UriError::Repository {
        text: text.to_owned(),
        reason,
    };
    let (kind, rest) = match rest.split_once('/') {
        Some(("datasets", rest)) => (RepositoryKind::Dataset, rest),
        Some(("models", rest)) => (RepositoryKind::Model, rest),
        Some(("spaces" | "buckets", _)) => {
            return Err(wrong("only data sets and models are read"));
        }
        _ => (RepositoryKind::Model, rest),
    };
    // Where a revision follows, the name before it may be one without an owner.
    let slash = rest.find('/').unwrap_or(rest.len());
    let (id, revision, path) = match rest.split_once('@') {
        Some((id, after)) if id.matches('/').count() <= 1 => {
            let end = revision_end(after).ok_or_else(|| wrong("no path follows the revision"))?;
            (id, after.get(..end), after.get(end + 1..))
        }
        _ => {
            let path = rest.get(slash + 1..).and_then(|rest| rest.find('/'));
            let end = path.map(|path| slash + 1 + path);
            let end = end.ok_or_else(|| wrong("no path follows OWNER/NAME"))?;
            (rest.get(..end).unwrap_or(rest), None, rest.get(end + 1..))
        }
    };
    let whole = match revision {
        Some(revision) => format!("{id}@{revision}"),
        None => id.to_owned(),
    };
    let repository = Repository::parse(kind, &whole)
        .ok_or_else(|| wrong("its repository is no OWNER/NAME with a revision that can be one"))?;
    let path = path.unwrap_or_default();
    if path.is_empty() || path.ends_with('/') {
        return Err(wrong("it is a folder; `/*` behind it stands for its files"));
    }
    if !has_wildcards(path) {
        return Ok(Remote::File {
            repository,
            path: path.to_owned(),
        });
    }
    match Pattern::new(path) {
        Some(_) => Ok(Remote::Files {
            repository,
            pattern: path.to_owned(),
        }),
        None => Err(wrong("`**` stands for folders, and alone between slashes")),
    }
}

/// Where a revision ends: at a slash, or at the one behind `refs/convert/NAME` or `refs/pr/NUMBER`.
fn revision_end(after: &str) -> Option<usize> {
    let mut slashes = after.match_indices('/').map(|(at, _)| at);
    let parts = match ["refs/convert/", "refs/pr/"]
        .iter()
        .any(|start| after.starts_with(start))
    {
        true => 3,
        false => 1,
    };
    slashes.nth(parts - 1)
}

/// A revision as it is meant: `%2F` is a slash, and `~parquet` the branch of what the hub converted.
pub(super) fn revision(text: &str) -> String {
    let text = text.replace("%2F", "/").replace("%2f", "/");
    match text.strip_prefix('~') {
        Some(converted) => format!("refs/convert/{converted}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (String, Option<String>, String) {
        match locate(text).unwrap().unwrap() {
            Remote::File { repository, path }
            | Remote::Files {
                repository,
                pattern: path,
            } => (repository.id, repository.revision, path),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn repository_revision_and_path_are_told_apart() {
        for (text, id, revision, path) in [
            ("hf://datasets/o/n/a.csv", "o/n", None, "a.csv"),
            ("hf://o/n/sub/a.csv", "o/n", None, "sub/a.csv"),
            ("hf://models/o/n@v1.0/a.csv", "o/n", Some("v1.0"), "a.csv"),
            (
                "hf://datasets/o/n@refs/convert/parquet/c/train/0.parquet",
                "o/n",
                Some("refs/convert/parquet"),
                "c/train/0.parquet",
            ),
            (
                "hf://datasets/o/n@refs%2Fconvert%2Fparquet/c/0.parquet",
                "o/n",
                Some("refs/convert/parquet"),
                "c/0.parquet",
            ),
            (
                "hf://datasets/o/n@~parquet/c/0.parquet",
                "o/n",
                Some("refs/convert/parquet"),
                "c/0.parquet",
            ),
            (
                "hf://datasets/o/n@refs/pr/12/a.csv",
                "o/n",
                Some("refs/pr/12"),
                "a.csv",
            ),
            ("hf://datasets/o/n@a%2fb/c.csv", "o/n", Some("a/b"), "c.csv"),
            (
                "hf://datasets/imdb@~parquet/plain_text/train/*.parquet",
                "imdb",
                Some("refs/convert/parquet"),
                "plain_text/train/*.parquet",
            ),
            ("hf://datasets/o/n/me@home.csv", "o/n", None, "me@home.csv"),
        ] {
            let wanted = (id.to_owned(), revision.map(str::to_owned), path.to_owned());
            assert_eq!(file(text), wanted, "{text}");
        }
    }

    #[test]
    fn wildcards_mean_several_files() {
        assert!(matches!(
            locate("hf://datasets/o/n/*.csv"),
            Ok(Some(Remote::Files { .. }))
        ));
        assert!(matches!(
            locate("hf://datasets/o/n/x.csv"),
            Ok(Some(Remote::File { .. }))
        ));
    }

    #[test]
    fn what_is_no_address_is_a_path_and_an_unknown_scheme_is_said_to_be_one() {
        for path in ["data/a.csv", "C:\\a.csv", "a b://c", "://x", ""] {
            assert_eq!(locate(path), Ok(None), "{path}");
        }
        for scheme in ["ftp", "file", "hdfs", "S3", "adl"] {
            let error = locate(&format!("{scheme}://bucket/a.csv")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("nothing is fetched from {scheme}:// addresses")
            );
            let help = miette::Diagnostic::help(&error).unwrap().to_string();
            assert!(
                help.contains("https://") && help.contains("hf://"),
                "{help}"
            );
        }
        for wrong in [
            "hf://",
            "hf://datasets/o",
            "hf://datasets/o/n",
            "hf://datasets/o/n/",
            "hf://datasets/o/n@v1",
            "hf://datasets/o/n@/a.csv",
            "hf://datasets/../n/a.csv",
            "hf://spaces/o/n/a.csv",
            "hf://datasets/o/n/a**b.csv",
            "hf://datasets/o/n@~parquet",
        ] {
            assert!(
                matches!(locate(wrong), Err(UriError::Repository { .. })),
                "{wrong}: {:?}",
                locate(wrong)
            );
        }
        let error = locate("https://me:sesame@host/x.csv")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("sesame"), "{error}");
    }
}
