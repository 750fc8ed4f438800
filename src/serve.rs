//! The server: exported models behind HTTP, several by name in one process.
//!
//! ```text
//!  connections ── routes ── shapes, inference ── batching ── model
//!  (time-outs)   (limits, token, codes)          (queue, one worker thread for each model)
//! ```
//!
//! [`connections`] takes sockets and bounds how long each may take over anything; [`routes`] says which path does what, who
//! may, and counts it; [`shapes`] (refit's own) and [`inference`] (Hugging Face's) are what requests and responses look
//! like, and [`openapi`] describes them from the very types; [`batching`] collects the texts of all connections into batches
//! and bounds what may wait; [`page`] lets a reader try a model.
//!
//! Promises: a request that was accepted is answered, also while the server is being asked to end, unless it takes longer
//! than it may; what cannot be accepted is refused with a status that says why, as JSON. Memory is bounded by the limits in
//! [`Limits`]. No text is ever logged, and no path of a request ever names a file.
//!
//! Deliberately absent: encryption and users (that is for a proxy in front), models loaded or changed while it runs, and any
//! decision about answers, which are the bundle's.

pub mod batching;
pub mod connections;
pub mod inference;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod openapi;
pub mod page;
pub mod refusal;
pub mod routes;
pub mod shapes;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

pub use limits::Limits;
pub use model::{Entity, Model, ModelFault, Question, Reply, SpanAnswer};
pub use routes::Token;

use connections::{Doors, End};
use routes::App;

/// How a server behaves, beside its limits.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    /// What whoever asks must show; without one everybody may ask.
    pub token: Option<Token>,
    /// The origins whose pages may read responses.
    pub cors_origins: Vec<String>,
}

/// Why there is no server, or how it ended badly.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ServingError {
    #[error("cannot listen on {address}")]
    #[diagnostic(help(
        "choose another port with `--port`, or `--port 0` for one that is free; the host must be an address of this machine"
    ))]
    Taken {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("`{name}` cannot be the name of a model")]
    #[diagnostic(help(
        "names are parts of addresses: at most 64 letters, digits, dots, hyphens and underscores of ASCII, and a letter, a digit or an underscore first; give another with NAME=FOLDER"
    ))]
    BadName { name: String },
    #[error("two models are called `{name}`")]
    #[diagnostic(help("give one of them another name with NAME=FOLDER"))]
    NamedTwice { name: String },
    #[error("`{origin}` is no origin of pages")]
    #[diagnostic(help("an origin is a scheme, a host and perhaps a port: https://example.org"))]
    BadOrigin { origin: String },
    #[error("the server cannot start its threads")]
    #[diagnostic(help("check how many threads and open files this user may have (`ulimit -a`)"))]
    NoThreads {
        #[source]
        source: std::io::Error,
    },
    #[error("the model `{name}` was read, and does not answer: {reason}")]
    #[diagnostic(help(
        "`refit bundle inspect` shows what is in its folder; export it again if that is damaged"
    ))]
    Mute { name: String, reason: String },
    #[error("{open} connections were still open {seconds} s after the server was asked to end")]
    #[diagnostic(help(
        "their requests are lost; give them longer with `--drain-timeout`, or let fewer wait with `--queue-texts` and `--queue-tokens`"
    ))]
    Undrained { open: usize, seconds: u64 },
}

/// How a server was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM.
    Terminate,
    /// Ctrl-C.
    Interrupt,
}

/// Whether a model can have this name: it is a part of addresses, and of metrics.
///
/// # Errors
/// The name, where it cannot.
pub fn check_name(name: &str) -> Result<(), ServingError> {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let first = name.bytes().next().unwrap_or(b'.');
    let fits = name.len() <= 64
        && name.bytes().all(part)
        && (first.is_ascii_alphanumeric() || first == b'_');
    match fits {
        true => Ok(()),
        false => Err(ServingError::BadName {
            name: name.to_owned(),
        }),
    }
}

/// Whether these models can be served side by side.
///
/// # Errors
/// A name that cannot be one, or that two of them have.
pub fn check_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<(), ServingError> {
    let mut seen = BTreeSet::new();
    for name in names {
        check_name(name)?;
        if !seen.insert(name) {
            return Err(ServingError::NamedTwice {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// A server that listens, and whose models are still to come.
///
/// Whoever connects meanwhile hears that it is alive and not ready.
pub struct Server {
    settings: Settings,
    listener: TcpListener,
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    /// Takes the address; port 0 is any that is free.
    ///
    /// # Errors
    /// The address is taken or not of this machine; an origin that is none; no threads can be had.
    pub fn bind(address: SocketAddr, settings: Settings) -> Result<Server, ServingError> {
        for origin in &settings.cors_origins {
            routes::check_origin(origin)?;
        }
        let taken = |source| ServingError::Taken { address, source };
        let listener = TcpListener::bind(address).map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        let bound = listener.local_addr().map_err(taken)?;
        // What computes has its own threads.
        let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("refit-serve")
            .enable_all()
            .build()
            .map_err(|source| ServingError::NoThreads { source })?;
        Ok(Server {
            settings,
            listener,
            address: bound,
            runtime,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is asked to end (SIGTERM, Ctrl-C), and then until everything accepted is answered. `load` gives the
    /// models, the first of which is the default, each under its name; then `ready` is told. A second signal ends the process
    /// at once.
    ///
    /// # Errors
    /// What `load` meets; names that cannot be served; connections that did not end in time.
    pub fn run<E: From<ServingError> + Send + 'static>(
        self,
        load: impl FnOnce() -> Result<Vec<(String, Arc<dyn Model>)>, E> + Send + 'static,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<Asked, E> {
        let Server {
            settings,
            listener,
            address,
            runtime,
        } = self;
        let ended = runtime.block_on(async move {
            let settings = Arc::new(settings);
            let doors = Doors::open(listener, settings.clone())?;
            let loaded = tokio::task::spawn_blocking(|| {
                let models = load()?;
                for (name, model) in &models {
                    let answered = model::warm_up(&**model);
                    answered.map_err(|fault| ServingError::Mute {
                        name: name.clone(),
                        reason: fault.to_string(),
                    })?;
                }
                Ok::<_, E>(models)
            });
            let models = tokio::select! {
                loaded = loaded => match loaded {
                    Ok(models) => models?,
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                // Nothing was accepted yet.
                asked = doors.asked() => return Ok(asked),
            };
            check_names(models.iter().map(|(name, _)| name.as_str()))?;
            let app = App::new(&settings, models, doors.state())?;
            doors.serve(routes::router(&app));
            ready(address);
            let asked = doors.asked().await;
            let limit = settings.limits.drain_timeout;
            let ended = doors.close(asked, limit).await;
            app.end(ended == End::Drained);
            match ended {
                End::Drained => Ok(asked),
                End::Open(open) => Err(ServingError::Undrained {
                    open,
                    seconds: limit.as_secs(),
                }
                .into()),
            }
        });
        // A model that still computes, or is still being read, is not waited for.
        runtime.shutdown_timeout(Duration::from_millis(100));
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_part_of_an_address_and_no_way_out_of_it() {
        for name in ["news", "ag_news-2.1", "_x", "7"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "x".repeat(65);
        for name in [
            "",
            ".",
            "..",
            "-x",
            "a/b",
            "a b",
            "ä",
            "a?b",
            "a%62",
            long.as_str(),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn two_models_have_two_names() {
        assert!(check_names(["a", "b"]).is_ok());
        let twice = check_names(["a", "b", "a"]).unwrap_err();
        assert!(matches!(twice, ServingError::NamedTwice { name } if name == "a"));
    }
}
