//! `refit lsp`: the language server for editors, which start it themselves.
//!
//! Deliberately absent: sockets. Every editor speaks over pipes.

use clap::Args;

use super::{Answer, Exit};
use crate::lsp::{End, serve};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Speak over stdin and stdout, which it does anyway; some editors say so.
    #[arg(long)]
    stdio: bool,
}

pub(super) fn answer(_: &Arguments) -> Answer {
    let input = std::io::BufReader::new(std::io::stdin());
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    Ok(match serve(input, &mut output) {
        End::Orderly => Exit::Done,
        End::Sudden => Exit::Failed,
    })
}
