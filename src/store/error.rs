//! What can go wrong with a store, where, and what to do.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::artifact::Unreadable;

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
        #[help]
        help: String,
    },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
        #[help]
        help: String,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("{} is a store of format {found:?}, and this program reads format {expected:?}", path.display())]
    #[diagnostic(help(
        "use the release of refit that made it, or name another store with --store or REFIT_STORE"
    ))]
    Format {
        path: PathBuf,
        found: String,
        expected: &'static str,
    },
    #[error("{} holds other things and is not a store", path.display())]
    #[diagnostic(help(
        "name a new or empty folder with --store or REFIT_STORE: a store hides its folder from git"
    ))]
    NotAStore { path: PathBuf },
    #[error("{} is not a folder, so it cannot be a store", path.display())]
    #[diagnostic(help("name a folder with --store or REFIT_STORE"))]
    NotAFolder { path: PathBuf },
    #[error("cannot lock {}", path.display())]
    #[diagnostic(help(
        "the store needs a file system with file locks, so that two runs do not build the same thing; \
         name a store on a local disk with --store or REFIT_STORE"
    ))]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the store {} is in use", path.display())]
    #[diagnostic(help("try again when no other `refit` command works with this store"))]
    Busy { path: PathBuf },
    #[error("no run in {} has the address `@{address}`", store.display())]
    #[diagnostic(help(
        "`refit log` lists the runs with their addresses; @1 is the newest. For the runs of another store name it with --store"
    ))]
    NoRun { address: String, store: PathBuf },
    #[error("several runs in {} have an address that begins with `@{address}`", store.display())]
    #[diagnostic(help("write more digits of it, as `refit log` shows them"))]
    SeveralRuns { address: String, store: PathBuf },
    #[error("`refit cache gc` was not told what to keep")]
    #[diagnostic(help("give `--unused-by SPEC…`, `--older-than 7d`, or both"))]
    NoScope,
    #[error("{} was taken away while the stage wrote into it", path.display())]
    #[diagnostic(help(
        "another refit took its process for dead, so the locks of this file system do not reach from one machine to the \
         other; nothing was stored. Let one machine at a time work with the store, or name another one with --store or REFIT_STORE"
    ))]
    Taken { path: PathBuf },
    #[error("a stage wrote {}, which is the store's own file", path.display())]
    #[diagnostic(help(
        "this is a fault of refit itself: nothing was stored; please report it with the spec"
    ))]
    Reserved { path: PathBuf },
}

impl StoreError {
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        StoreError::Write {
            path: path.to_owned(),
            help: remedy(&source).to_owned(),
            source,
        }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        StoreError::Read {
            path: path.to_owned(),
            help: remedy(&source).to_owned(),
            source,
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space (`refit cache gc --older-than 30d` removes what can be built again), \
             or name a store on another disk with --store or REFIT_STORE"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "this file system is read-only, so only what is in the store already can be used: \
             name a store elsewhere with --store or REFIT_STORE"
        }
        ErrorKind::PermissionDenied => {
            "check the owner and the permissions of the store's folder, \
             or name a store elsewhere with --store or REFIT_STORE"
        }
        _ => {
            "check the disk and the store's folder, or name a store elsewhere with --store or REFIT_STORE"
        }
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic;

    use super::*;

    #[test]
    fn each_kind_of_failed_write_has_its_own_remedy() {
        let help = |kind: ErrorKind| {
            StoreError::write(Path::new("/store"), kind.into())
                .help()
                .unwrap()
                .to_string()
        };
        assert!(help(ErrorKind::StorageFull).contains("cache gc"));
        assert!(help(ErrorKind::ReadOnlyFilesystem).contains("read-only"));
        assert!(help(ErrorKind::PermissionDenied).contains("permissions"));
    }
}
