//! The program: arguments in, logs to stderr, an exit code out.
//!
//! Deliberately absent: everything else; see `refit::cli`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use refit::cli::{Arguments, LogFormat};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr(&arguments);
    // What panics inside a stage becomes that step's error, and says itself what happened.
    std::panic::set_hook(Box::new(|panic| tracing::debug!("{panic}")));
    match std::panic::catch_unwind(|| refit::cli::answer(arguments)) {
        Ok(exit) => exit.into(),
        Err(_) => {
            let _ = writeln!(
                std::io::stderr(),
                "a fault of refit itself; nothing was stored. Please report it with the output of the same command with -vv"
            );
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(arguments: &Arguments) {
    // Where a worker is lost, burn's client says so for every message to it, and refit once.
    let verbosity = [
        "warn,burn_remote::client=error",
        "refit=info,warn,burn_remote::client=error",
        "refit=debug,info",
        "trace",
    ][usize::from(arguments.verbose.min(3))];
    let filter = EnvFilter::try_from_env("REFIT_LOG").unwrap_or_else(|_| EnvFilter::new(verbosity));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
