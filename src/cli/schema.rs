//! `refit schema`: the JSON Schema of specs.

use clap::Args;

use super::{Answer, Exit, print};
use crate::spec::schema;

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn answer(_: &Arguments) -> Answer {
    print(&schema::text());
    Ok(Exit::Done)
}
