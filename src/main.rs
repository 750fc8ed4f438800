//! The program: arguments in, logs to stderr, an exit code out.
//!
//! Deliberately absent: everything else; see `refit::cli`.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use refit::cli::{Arguments, LogFormat};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr(&arguments);
    refit::cli::answer(arguments).into()
}

fn log_to_stderr(arguments: &Arguments) {
    let verbosity = ["warn", "refit=info,warn", "refit=debug,info", "trace"][usize::from(arguments.verbose.min(3))];
    let filter = EnvFilter::try_from_env("REFIT_LOG").unwrap_or_else(|_| EnvFilter::new(verbosity));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
