//! Where a shared store lies: `s3://bucket/folder`, `gs://…`, `az://…`, `file:///folder`, or a folder's path.
//!
//! Deliberately absent: asking whether anything is there.

use std::fmt;
use std::path::{Path, PathBuf};

use super::RemoteError;
use crate::hub::{self, Objects};

/// Where a shared store lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Absolute.
    Folder(PathBuf),
    /// A bucket, and a folder in it, which may be none.
    Bucket(Objects),
}

impl Place {
    /// Reads an address; paths are relative to `folder`.
    ///
    /// # Errors
    /// Nothing can be kept there.
    pub fn parse(text: &str, folder: &Path) -> Result<Place, RemoteError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RemoteError::NoPlace);
        }
        let of_path = |path: &str| {
            let path = folder.join(path);
            std::path::absolute(&path).map_err(|source| RemoteError::Folder { path, source })
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return of_path(text).map(Place::Folder);
        };
        if scheme == "file" {
            return match rest.strip_prefix("localhost/").or(rest.strip_prefix('/')) {
                Some(path) => of_path(&format!("/{path}")).map(Place::Folder),
                None => Err(RemoteError::Address {
                    scheme: scheme.to_owned(),
                    reason: "its path is not absolute",
                }),
            };
        }
        match hub::locate_folder(scheme, rest) {
            Some(Ok(objects)) => Ok(Place::Bucket(objects)),
            Some(Err(reason)) => Err(RemoteError::Address {
                scheme: scheme.to_owned(),
                reason,
            }),
            None => Err(RemoteError::Scheme {
                scheme: scheme.chars().take(20).collect(),
            }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(path) => path.display().fmt(f),
            Place::Bucket(objects) => f.write_str(objects.to_string().trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, RemoteError> {
        Place::parse(text, Path::new("/home/me")).map(|place| place.to_string())
    }

    #[test]
    fn an_address_is_a_folder_or_a_bucket_with_or_without_a_folder() {
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("gs://bucket/team/refit/", "gs://bucket/team/refit"),
            ("az://container/a", "az://container/a"),
            ("file:///srv/refit", "/srv/refit"),
            ("file://localhost/srv/refit", "/srv/refit"),
            ("/srv/refit", "/srv/refit"),
            ("shared", "/home/me/shared"),
        ] {
            assert_eq!(parse(text).unwrap(), shown, "{text}");
        }
    }

    #[test]
    fn what_nothing_can_be_kept_in_is_refused_without_showing_a_password() {
        for text in [
            "",
            " ",
            "https://example.org/x",
            "hf://datasets/a/b",
            "s3://me:sesame@bucket/x",
            "s3://bucket/../x",
            "s3://bucket/a//b",
            "s3://bucket/x?token=sesame",
            "s3://",
            "file://sesame/x",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{text}: {error}");
        }
    }
}
