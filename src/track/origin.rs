//! What only one store is called, so that on a shared server nobody takes up the run of another whose spec is the same.
//!
//! It is drawn once and kept in the store, and so outlives the machine: a training that goes on elsewhere goes on in its run.
//!
//! Deliberately absent: a name that says anything about the store or its machine.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::artifact::Digest;
use crate::store::Store;

const LENGTH: usize = 16;

/// The name of a store: that in it, else a new one that is kept in it. Where none can be kept, it is that of its place.
pub(super) fn of(store: &Store) -> String {
    let path = store.kept().join("track").join("origin");
    if let Some(name) = read(&path) {
        return name;
    }
    let place = format!("{} {}", host(), store.root().display());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    let new = name(&format!("{place} {} {now}", std::process::id()));
    // Whoever was quicker has named it.
    match write(&path, &new) {
        Ok(()) => new,
        Err(_) => read(&path).unwrap_or_else(|| name(&place)),
    }
}

fn name(of: &str) -> String {
    let digest = Digest::of(of.as_bytes()).to_string();
    digest.chars().take(LENGTH).collect()
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let name = text.trim();
    let is_one = name.len() == LENGTH && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| name.to_owned())
}

fn write(path: &Path, name: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // A plain `NamedTempFile` would be readable by its owner alone, and a store may be shared.
    let open = |path: &Path| File::options().write(true).create_new(true).open(path);
    let mut file = tempfile::Builder::new().make_in(folder, open)?;
    writeln!(file, "{name}")?;
    // One that holds no name is in nobody's way.
    let kept = match path.exists() {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    };
    kept.map_err(|error| error.error)?;
    Ok(())
}

/// What this machine is called.
fn host() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: it writes at most so many bytes there.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    match failed {
        0 => String::from_utf8_lossy(&name[..end]).into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_keeps_its_name_wherever_it_goes_and_no_two_share_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| of(&Store::open(&folder.path().join(name)).unwrap());
        let first = at("a");
        assert_eq!(at("a"), first);
        assert_ne!(at("b"), first);
        fs::rename(folder.path().join("a"), folder.path().join("c")).unwrap();
        assert_eq!(at("c"), first);
        // A garbled one is named anew, and keeps that.
        fs::write(folder.path().join("c/kept/track/origin"), "half").unwrap();
        let again = at("c");
        assert_ne!(again, first);
        assert_eq!(at("c"), again);
        // One that cannot be written has the name of its place.
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/kept"), "no folder").unwrap();
        assert_eq!(at("d"), at("d"));
        assert_eq!(at("d").len(), LENGTH);
    }
}
