//! Devices that `refit worker` lends, on this or another machine.
//!
//! They are burn's remote devices over WebSocket: operations go there, and only numbers that are asked for come back. Whoever
//! connects shows a token, here and there the environment variable [`TOKEN`], so that it stands on no command line. It is
//! compared in constant time, and nothing is encrypted: across a network that others can read it goes through a tunnel.
//!
//! A connection lasts as long as the process. One that broke is not made anew, because burn keeps one session for each device.
//!
//! Deliberately absent: a worker without a token. Even the loopback interface is open to other users of the machine, and to pages
//! in a browser.

use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;

use super::DeviceError;

/// The environment variable with the token.
pub const TOKEN: &str = "REFIT_WORKER_TOKEN";

/// Why devices cannot be lent.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ServeError {
    #[error("a worker serves whoever knows its token, and {TOKEN} is not set")]
    #[diagnostic(help(
        "make one with `openssl rand -hex 32`, and set {TOKEN} to it both here and where `refit run` is to use this worker"
    ))]
    NoToken,
    #[error("this program was built without workers")]
    #[diagnostic(help("build it with `cargo build --release --features remote`"))]
    NotBuiltIn,
    #[error("the worker cannot serve: {reason}")]
    #[diagnostic(help(
        "start it again; what it serves is lost, and trainings go on from their last checkpoints"
    ))]
    Failed { reason: String },
}

/// The workers of this process: a device of each, and where it is.
static CONNECTED: Mutex<Vec<(Device, String)>> = Mutex::new(Vec::new());

/// Where the worker is that `device` belongs to, with or without autodiff; `None` for a device of this machine.
pub fn worker(device: &Device) -> Option<String> {
    let connected = CONNECTED.lock().unwrap_or_else(PoisonError::into_inner);
    if connected.is_empty() {
        return None;
    }
    let plain = device.clone().without_autodiff();
    let found = connected.iter().find(|(device, _)| *device == plain);
    found.map(|(_, address)| address.clone())
}

/// What a worker's device told on failing; in plain words where it could not tell anything.
pub fn in_words(told: String) -> String {
    // burn says no more of a connection that is gone.
    let gone = ["RecvError", "channel closed", "Service call failed"];
    match gone.iter().any(|words| told.contains(words)) {
        true => "it ended, or the connection to it broke".to_owned(),
        false => told,
    }
}

/// The host and the port in `ws://HOST:PORT`, by the same rule as the pattern of the schema. What else an address can hold, such as
/// a path or a password, has no place in it.
pub(super) fn place(name: &str) -> Option<(&str, u32)> {
    let (host, port) = name.strip_prefix("ws://")?.rsplit_once(':')?;
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let named = match inside {
        Some(address) => {
            let is_part = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
            !address.is_empty() && address.bytes().all(is_part)
        }
        None => {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !host.is_empty() && host.bytes().all(is_part)
        }
    };
    // `parse` would take a sign.
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    (named && digits).then_some((host, port.parse().ok()?))
}

fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

/// All devices of the worker at `address`, at least one.
///
/// # Errors
/// No token, a wrong one, no worker, or one of another version.
#[cfg(feature = "remote")]
pub(super) fn connect(address: &str) -> Result<Vec<Device>, DeviceError> {
    use burn::remote::RemoteHost;

    let token = token().ok_or_else(|| DeviceError::NoToken {
        worker: address.to_owned(),
    })?;
    let host = RemoteHost::websocket(address).with_credential(token);
    let listed = host.devices().map_err(|error| failed(address, error))?;
    let listed = listed.into_vec().len();
    if listed == 0 {
        return Err(DeviceError::Unreachable {
            worker: address.to_owned(),
            reason: "it lends no device".to_owned(),
        });
    }
    let mut devices = Vec::with_capacity(listed);
    for number in 0..listed {
        let options = Device::remote_options(&host).device_index(number);
        devices.push(options.init().map_err(|error| failed(address, error))?);
    }
    let mut connected = CONNECTED.lock().unwrap_or_else(PoisonError::into_inner);
    for device in &devices {
        if !connected.iter().any(|(known, _)| known == device) {
            connected.push((device.clone(), address.to_owned()));
        }
    }
    Ok(devices)
}

#[cfg(not(feature = "remote"))]
pub(super) fn connect(address: &str) -> Result<Vec<Device>, DeviceError> {
    Err(super::not_built_in(address, "remote"))
}

#[cfg(feature = "remote")]
fn failed(address: &str, error: burn::remote::ConnectError) -> DeviceError {
    use burn::remote::ConnectError;

    let worker = address.to_owned();
    match error {
        ConnectError::Unauthorized => DeviceError::Refused { worker },
        ConnectError::IncompatibleProtocol {
            client_version,
            server_version,
        } => DeviceError::OtherVersion {
            worker,
            reason: format!("version {server_version} there, version {client_version} here"),
        },
        ConnectError::Handshake { reason } => DeviceError::OtherVersion { worker, reason },
        ConnectError::Unreachable { reason } => DeviceError::Unreachable { worker, reason },
        other => DeviceError::Unreachable {
            worker,
            reason: other.to_string(),
        },
    }
}

/// Whether this program can lend devices, and has a token to do so.
///
/// # Errors
/// What is missing.
pub fn can_serve() -> Result<(), ServeError> {
    if !cfg!(feature = "remote") {
        return Err(ServeError::NotBuiltIn);
    }
    token().map(|_| ()).ok_or(ServeError::NoToken)
}

/// Lends `devices`, all of one backend, to whoever shows the token, until the process is asked to stop (SIGTERM or Ctrl-C).
///
/// # Errors
/// Those of [`can_serve`]; whatever the server meets.
#[cfg(feature = "remote")]
pub fn serve(devices: Vec<Device>, listener: TcpListener) -> Result<(), ServeError> {
    use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};

    let authorizer = TokenAuthorizer::new(token().ok_or(ServeError::NoToken)?);
    let authorizer = authorizer.map_err(|_| ServeError::NoToken)?;
    RemoteServer::new(devices)
        .with_authorizer(authorizer)
        .serve(WebSocketTransport::from_listener(listener))
        .map_err(|error| ServeError::Failed {
            reason: error.to_string(),
        })
}

/// Lends nothing: this program was built without.
///
/// # Errors
/// Always [`ServeError::NotBuiltIn`].
#[cfg(not(feature = "remote"))]
pub fn serve(_devices: Vec<Device>, _listener: TcpListener) -> Result<(), ServeError> {
    Err(ServeError::NotBuiltIn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        assert_eq!(place("ws://gpu-1.lan:4000"), Some(("gpu-1.lan", 4000)));
        assert_eq!(place("ws://[::1]:80"), Some(("[::1]", 80)));
        assert_eq!(place("ws://[gpu]:80"), None);
        assert_eq!(place("ws://gpu:+80"), None);
    }

    #[test]
    fn a_broken_connection_is_told_in_words() {
        let told = "An error happened during execution\nCaused by:\n  Failed to read tensor: RecvError(())";
        assert_eq!(
            in_words(told.to_owned()),
            "it ended, or the connection to it broke"
        );
        assert_eq!(in_words("kernel 7 failed".to_owned()), "kernel 7 failed");
    }

    #[test]
    fn a_device_of_this_machine_is_no_workers() {
        assert_eq!(worker(&Device::flex()), None);
    }

    #[cfg(feature = "remote")]
    #[test]
    fn what_hinders_a_connection_is_told_apart() {
        use burn::remote::ConnectError;

        let of = |error| failed("ws://host:1", error);
        assert!(matches!(
            of(ConnectError::Unauthorized),
            DeviceError::Refused { .. }
        ));
        let other = of(ConnectError::IncompatibleProtocol {
            client_version: 3,
            server_version: 4,
        });
        assert!(matches!(other, DeviceError::OtherVersion { .. }), "{other}");
        let reason = "nobody answers".to_owned();
        let other = of(ConnectError::Unreachable { reason });
        assert!(matches!(other, DeviceError::Unreachable { .. }), "{other}");
    }
}
