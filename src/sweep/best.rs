//! The best trial: written down as a plain spec, and brought up to date with all its stages.
//!
//! The file is the sweep's own with other values and without the sweep, comments and all. It stands beside the sweep's file,
//! so that its paths lead where they led.
//!
//! Deliberately absent: which trial is best.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::trial::Assignment;
use super::{Sweep, SweepError};
use crate::artifact::Unreadable;
use crate::spec::{rewrite, write_whole};

/// The line by which refit knows a file that it wrote.
const MARK: &str = "# The best trial of";

/// Where the spec of the best trial belongs.
pub fn place(sweep: &Sweep<'_>) -> PathBuf {
    let path = &sweep.pipeline.path;
    match &sweep.settings.best {
        Some(best) => sweep.pipeline.folder().join(best),
        None => {
            let stem = path.file_stem().unwrap_or(path.as_os_str());
            path.with_file_name(format!("{}.best.toml", stem.to_string_lossy()))
        }
    }
}

/// Writes the spec of the best trial, unless it stands there already, and returns where.
///
/// # Errors
/// Something stands there that a sweep did not write, or nothing can be written.
pub fn write(sweep: &Sweep<'_>, assignment: &Assignment) -> Result<PathBuf, SweepError> {
    let path = place(sweep);
    let text = text(sweep, assignment);
    match std::fs::read_to_string(&path) {
        Ok(found) if found == text => return Ok(path),
        Ok(found) if !found.lines().any(|line| line.starts_with(MARK)) => {
            return Err(SweepError::Foreign { path });
        }
        Err(e) if e.kind() == ErrorKind::InvalidData => return Err(SweepError::Foreign { path }),
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(Unreadable::new(&path, e).into());
        }
        _ => {}
    }
    write_whole(&path, &text)?;
    Ok(path)
}

fn text(sweep: &Sweep<'_>, assignment: &Assignment) -> String {
    let file = sweep.pipeline.path.file_name().unwrap_or_default();
    let goal = &sweep.goal;
    let mark = format!(
        "{MARK} the sweep in {} by {}.{}, written by `refit sweep`.",
        file.to_string_lossy(),
        goal.stage,
        goal.metric
    );
    let written = sweep.pipeline.sources.text(0);
    let laid = sweep.pipeline.overrides();
    // The file's name is the pipeline's where it states none, and this file has another.
    let name = ("name".to_owned(), sweep.pipeline.name.clone().into());
    let unnamed = sweep.pipeline.base().get("name").is_none();
    let name = unnamed.then_some((&name.0, &name.1));
    rewrite::plain(written, &mark, laid.iter().chain(assignment).chain(name))
}
