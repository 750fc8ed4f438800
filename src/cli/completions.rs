//! `refit completions SHELL`: a script for the shell.
//!
//! Deliberately absent: installing it, for which every shell has its own place.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Answer, Exit, print};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell that reads the script.
    shell: Shell,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    generate(arguments.shell, &mut command, "refit", &mut script);
    print(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
