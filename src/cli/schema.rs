//! `refit schema`: the JSON Schema of specs, and the reference that is made of it.

use clap::Args;

use super::{Answer, Exit, print};
use crate::spec::{reference, schema};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print the reference of all settings instead, as Markdown.
    #[arg(long)]
    reference: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    print(&match arguments.reference {
        true => reference::page(),
        false => schema::text(),
    });
    Ok(Exit::Done)
}
