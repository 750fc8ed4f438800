//! `refit worker`: lends this machine's devices to `refit run` elsewhere.
//!
//! Its address is the one line on stdout, so that a script can take it from there. It ends with the signal that asks it to.
//!
//! Deliberately absent: encryption, and a token on the command line, where every user of the machine can read it.

use std::net::{SocketAddr, TcpListener};

use clap::Args;
use miette::Diagnostic;

use super::{Answer, Exit, Failure, print, tell};
use crate::device;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to listen: an address of this machine and a port, or port 0 for any that is free. By default only this machine
    /// itself can connect; `0.0.0.0:4000` is every network that it is in.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4000")]
    bind: SocketAddr,
    /// What to lend: auto, flex, ndarray, cuda, cuda:N, cuda:N,M or cuda:all.
    #[arg(long, value_parser = own, default_value = "auto")]
    device: String,
}

/// Devices of this machine, of one kind.
fn own(text: &str) -> Result<String, String> {
    let text = super::run::device(text)?;
    let names = device::names(&text).unwrap_or_default();
    let kind = |name: &str| name.split(':').next().map(str::to_owned);
    let one = names.iter().all(|name| kind(name) == kind(&names[0]));
    match one && !text.starts_with("ws:") {
        true => Ok(text),
        false => Err("a worker lends devices of its own machine, all of one kind".to_owned()),
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot listen on {address}")]
#[diagnostic(help(
    "choose another port with `--bind`, or port 0 for one that is free; the address must be one of this machine"
))]
pub(super) struct Taken {
    pub(super) address: SocketAddr,
    #[source]
    pub(super) source: std::io::Error,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    device::can_serve().map_err(Failure::unusable)?;
    let chosen = device::choose(&arguments.device).map_err(Failure::unusable)?;
    let address = arguments.bind;
    let taken = |source| Failure::failed(Taken { address, source });
    let listener = TcpListener::bind(address).map_err(taken)?;
    let bound = listener.local_addr().map_err(taken)?;
    tell(&format!("lending {}\n", chosen.name));
    if !bound.ip().is_loopback() {
        tell(
            "warning: what goes over the network is not encrypted: use a network that nobody else reads, or a tunnel\n",
        );
    }
    if bound.ip().is_unspecified() {
        let port = bound.port();
        tell(&format!(
            "listening on every network: others name it by an address of this machine, as in ws://HOST:{port}\n"
        ));
    }
    print(&format!("ws://{bound}\n"));
    let lent = std::iter::once(chosen.device).chain(chosen.beside);
    device::serve(lent.collect(), listener).map_err(Failure::failed)?;
    Ok(Exit::Done)
}
