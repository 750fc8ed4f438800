//! `refit schema`: the JSON Schema of specs, printed or written beside them, and the reference that is made of it.
//!
//! Written, it is that of the installed version: an editor then checks a spec by the rules of the program that will run it,
//! without any network. A file that is there already is replaced as a whole or, when it is the same, not touched.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Answer, Exit, Failure, print, tell};
use crate::spec::{reference, replace, schema};

/// What the file is called.
pub(super) const NAME: &str = "pipeline.schema.json";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Write it to `pipeline.schema.json` in this folder in place of printing it. Default: the current folder.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = ".")]
    write: Option<PathBuf>,
    /// Print the reference of all settings instead, as Markdown.
    #[arg(long, conflicts_with = "write")]
    reference: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write {}", path.display())]
pub(super) struct NotWritten {
    pub(super) path: PathBuf,
    #[source]
    pub(super) error: std::io::Error,
    #[help]
    pub(super) help: &'static str,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    if arguments.reference {
        print(&reference::page());
        return Ok(Exit::Done);
    }
    let text = schema::text();
    let Some(folder) = &arguments.write else {
        print(&text);
        return Ok(Exit::Done);
    };
    let path = match folder.as_os_str().is_empty() {
        true => PathBuf::from(NAME),
        false => folder.join(NAME),
    };
    let outcome = write(&path, &text)?;
    let shown = path.strip_prefix(".").unwrap_or(&path).display();
    tell(&format!(
        "{shown}: {outcome}\nPut this line on top of the specs in this folder:\n\n    #:schema {}\n\n",
        from_here(&path)
    ));
    Ok(Exit::Done)
}

/// Replaces the file, unless it says the same already.
fn write(path: &Path, text: &str) -> Result<&'static str, Failure> {
    let before = std::fs::read(path);
    if before
        .as_ref()
        .is_ok_and(|before| before == text.as_bytes())
    {
        return Ok("up to date");
    }
    replace(path, text).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "make the folder first, or name another",
            _ => "name a folder that can be written to: `refit schema --write FOLDER`",
        };
        let path = path.to_owned();
        Failure::unusable(NotWritten { path, error, help })
    })?;
    Ok(if before.is_ok() { "renewed" } else { "written" })
}

/// Writes it to a folder that has none, and says so.
pub(super) fn write_beside(folder: &Path) -> Result<(), Failure> {
    let path = folder.join(NAME);
    let outcome = write(&path, &schema::text())?;
    let shown = path.strip_prefix(".").unwrap_or(&path).display();
    tell(&format!("{shown}: {outcome}, for editors\n"));
    Ok(())
}

/// The path as a spec in the current folder names it: with `/`, relative where it can be.
fn from_here(path: &Path) -> String {
    let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    relative(&absolute(path), &absolute(Path::new(".")))
}

fn relative(path: &Path, folder: &Path) -> String {
    let (to, from): (Vec<_>, Vec<_>) = (path.components().collect(), folder.components().collect());
    let shared = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return path.display().to_string();
    }
    let up = from[shared..].iter().map(|_| "..".to_owned());
    let down = to[shared..].iter();
    let down = down.map(|part| part.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_from_the_folder_that_one_is_in() {
        let named = |path: &str, folder: &str| relative(Path::new(path), Path::new(folder));
        assert_eq!(named("/a/b/s.json", "/a/b"), "s.json");
        assert_eq!(named("/a/b/c/s.json", "/a/b"), "c/s.json");
        assert_eq!(named("/a/s.json", "/a/b/c"), "../../s.json");
        assert_eq!(named("/a/d/s.json", "/a/b"), "../d/s.json");
    }
}
