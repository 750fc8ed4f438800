//! `refit fill SPEC`: the spec with every default stated.
//!
//! Comments, order and spacing stay, and so does what every stage is known by: a filled spec reruns nothing. Of a spec that
//! extends another the defaults are those that neither file states otherwise.

use std::path::PathBuf;

use clap::Args;

use super::{Answer, Exit, Failure, print, tell, unusable};
use crate::spec::{Pipeline, fill, write_whole};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The pipeline, a TOML file.
    spec: PathBuf,
    /// Write it to the file itself, in place of printing it.
    #[arg(long)]
    write: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let (pipeline, problems) = Pipeline::read(&arguments.spec, &[]).map_err(Failure::unusable)?;
    if !problems.is_empty() {
        return Err(unusable(&pipeline, problems, false));
    }
    let text = fill::filled(&pipeline);
    if !arguments.write {
        print(&text);
        return Ok(Exit::Done);
    }
    let path = arguments.spec.display();
    if text == pipeline.sources.text(0) {
        tell(&format!("{path}: every default is stated already\n"));
        return Ok(Exit::Done);
    }
    write_whole(&arguments.spec, &text).map_err(Failure::failed)?;
    tell(&format!("{path}: wrote every default out\n"));
    Ok(Exit::Done)
}
