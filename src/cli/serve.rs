//! `refit serve BUNDLE…`: answers over HTTP.
//!
//! Its address is the one line on stdout, printed once every model is read and has answered, so that a script can take it from
//! there. It ends with the signal that asks it to.
//!
//! Deliberately absent: a token on the command line, where every user of the machine can read it, and encryption.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use miette::Diagnostic;
use serde_json::json;

use super::{Answer, Exit, Failure, print, tell};
use crate::bundle::Bundle;
use crate::device;
use crate::serve::{Asked, Limits, Model, Server, ServingError, Settings, Token, check_names};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folders of exported models. Each is called after its folder, or as NAME=FOLDER says; the first also answers where a
    /// request names no model.
    #[arg(value_name = "[NAME=]BUNDLE", required = true)]
    bundles: Vec<String>,
    /// Where to listen: an address of this machine. By default only this machine itself can connect; 0.0.0.0 is every network
    /// that it is in.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to listen on; 0 is any that is free.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Where to compute: auto, flex, ndarray, cuda or cuda:N.
    #[arg(long, value_parser = super::run::device, default_value = "auto")]
    device: String,
    /// Answer only whoever shows the token in this environment variable (`Authorization: Bearer …`). /health, /ready and the
    /// page stay open.
    #[arg(long, value_name = "VARIABLE")]
    token_env: Option<String>,
    /// Let pages of this origin, such as https://example.org, read answers in a browser. May be given several times.
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    #[command(flatten)]
    batches: Batches,
    #[command(flatten)]
    bounds: Bounds,
    /// Print the address and the models as one JSON object on one line.
    #[arg(long)]
    json: bool,
}

/// How texts become batches.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batches")]
struct Batches {
    /// Tokens that are answered together, of all connections.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = positive)]
    batch_tokens: usize,
    /// The longest, in milliseconds, that a text waits for others while the model has nothing to do. 0 takes what is there.
    #[arg(long, value_name = "MS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=60_000))]
    batch_delay: u64,
}

/// What is refused, and how long the server waits.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct Bounds {
    /// Texts that may wait for a model; beyond, requests are refused with 429.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = positive)]
    queue_texts: usize,
    /// Tokens that may wait for a model; beyond, requests are refused with 429.
    #[arg(long, value_name = "N", default_value_t = 262_144, value_parser = positive)]
    queue_tokens: usize,
    /// The most bytes of a request (413).
    #[arg(long, value_name = "N", default_value_t = 2_097_152, value_parser = positive)]
    max_body_bytes: usize,
    /// The most texts of a request (422).
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = positive)]
    max_texts: usize,
    /// The most characters of a text (422).
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = positive)]
    max_characters: usize,
    /// The most connections at once; more wait to be taken.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = positive)]
    max_connections: usize,
    /// Seconds that a client may take to send a head, to send a body (408), and to take its answer. Idle connections are closed
    /// after as long.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    read_timeout: Duration,
    /// Seconds from a request's last byte to its answer (504).
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    request_timeout: Duration,
    /// Seconds that accepted requests may take once the server is asked to end (SIGTERM, Ctrl-C).
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    drain_timeout: Duration,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000_000) => Ok(number),
        _ => Err("wanted a whole number from 1 to 1000000000".to_owned()),
    }
}

/// Seconds, perhaps with a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    match seconds {
        Some(seconds) if (0.001..=86_400.0).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err("wanted seconds from 0.001 to 86400".to_owned()),
    }
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ServeUse {
    #[error("the environment variable {variable} holds no token")]
    #[diagnostic(help(
        "make one with `openssl rand -hex 32`, and set {variable} to it where the server is started; it may hold any visible ASCII characters, and no spaces"
    ))]
    NoToken { variable: String },
    #[error("`{given}` does not end with the name of a folder")]
    #[diagnostic(help("give the model a name with NAME=FOLDER"))]
    NoName { given: String },
}

/// The name and the folder of a model.
fn named(given: &str) -> Result<(String, PathBuf), ServeUse> {
    // What is before the sign may be a part of a path, too.
    if let Some((name, folder)) = given.split_once('=')
        && !name.contains(['/', '\\'])
    {
        return Ok((name.to_owned(), folder.into()));
    }
    let folder = PathBuf::from(given);
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
    let name = whole.file_name().and_then(|name| name.to_str());
    let name = name.map(str::to_owned).ok_or_else(|| ServeUse::NoName {
        given: given.to_owned(),
    })?;
    Ok((name, folder))
}

fn token(variable: &str) -> Result<Token, ServeUse> {
    let secret = std::env::var(variable).ok();
    let secret = secret
        .filter(|secret| !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()));
    let secret = secret.ok_or_else(|| ServeUse::NoToken {
        variable: variable.to_owned(),
    })?;
    Ok(Token::new(&secret))
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let bundles = arguments.bundles.iter().map(|given| named(given));
    let bundles = bundles.collect::<Result<Vec<_>, _>>();
    let bundles = bundles.map_err(Failure::unusable)?;
    check_names(bundles.iter().map(|(name, _)| name.as_str())).map_err(Failure::unusable)?;
    let token = arguments.token_env.as_deref().map(token).transpose();
    let token = token.map_err(Failure::unusable)?;
    let device = device::choose(&arguments.device).map_err(Failure::unusable)?;
    let Bounds {
        queue_texts,
        queue_tokens,
        max_body_bytes,
        max_texts,
        max_characters,
        max_connections,
        read_timeout,
        request_timeout,
        drain_timeout,
    } = arguments.bounds;
    let settings = Settings {
        limits: Limits {
            body_bytes: max_body_bytes,
            texts: max_texts,
            characters: max_characters,
            queue_texts,
            queue_tokens,
            batch_tokens: arguments.batches.batch_tokens,
            batch_delay: Duration::from_millis(arguments.batches.batch_delay),
            connections: max_connections,
            read_timeout,
            request_timeout,
            drain_timeout,
        },
        token,
        cors_origins: arguments.cors_origin.clone(),
    };
    let open = settings.token.is_none();
    let address = SocketAddr::new(arguments.host, arguments.port);
    let server = Server::bind(address, settings).map_err(unserved)?;
    let bound = server.address();
    tell(&format!("computing on {}\n", device.name));
    if !bound.ip().is_loopback() {
        tell(match open {
            true => {
                "warning: whoever reaches this address may ask the models, since there is no token: give one with `--token-env`; and nothing is encrypted\n"
            }
            false => {
                "warning: what goes over the network is not encrypted, the token included: use a network that nobody else reads, or a proxy with TLS in front\n"
            }
        });
    }
    let names: Vec<String> = bundles.iter().map(|(name, _)| name.clone()).collect();
    let load = move || {
        let opened = bundles.into_iter().map(|(name, folder)| {
            let bundle = Bundle::open(&folder, &device).map_err(Failure::unusable)?;
            for note in bundle.notes() {
                tell(&format!("warning: {name}: {note}\n"));
            }
            Ok((name, Arc::new(bundle) as Arc<dyn Model>))
        });
        opened.collect::<Result<Vec<_>, Failure>>()
    };
    let ready = |bound: SocketAddr| {
        let address = format!("http://{bound}");
        print(&match arguments.json {
            true => format!("{}\n", json!({ "address": address, "models": names })),
            false => format!("{address}\n"),
        });
    };
    match server.run(load, ready)? {
        Asked::Terminate => Ok(Exit::Done),
        Asked::Interrupt => Ok(Exit::Interrupted),
    }
}

fn unserved(error: ServingError) -> Failure {
    match error {
        ServingError::BadOrigin { .. }
        | ServingError::BadName { .. }
        | ServingError::NamedTwice { .. } => Failure::unusable(error),
        other => Failure::failed(other),
    }
}

impl From<ServingError> for Failure {
    fn from(error: ServingError) -> Self {
        unserved(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_as_said_or_after_its_folder() {
        let of = |given: &str| named(given).unwrap();
        assert_eq!(of("news=dist/x"), ("news".to_owned(), "dist/x".into()));
        assert_eq!(of("dist/news"), ("news".to_owned(), "dist/news".into()));
        assert_eq!(of("dist/news/").0, "news");
        assert_eq!(of("./a=b"), ("a=b".to_owned(), "./a=b".into()));
        let here = std::env::current_dir().unwrap();
        assert_eq!(of(".").0, here.file_name().unwrap().to_str().unwrap());
        assert!(named("/").is_err());
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "inf", "NaN", "1e9", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
