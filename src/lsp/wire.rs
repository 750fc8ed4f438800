//! The base protocol: messages as they go over a pipe, `Content-Length: N`, an empty line, N bytes of JSON.
//!
//! A message that is no JSON, or no message, is told apart from a pipe that cannot be understood any more: after the former one
//! goes on.
//!
//! Deliberately absent: what the messages mean.

use std::io::{self, BufRead, Write};

use lsp_server::{ErrorCode, Message};
use serde_json::{Value, json};

/// What came over the pipe.
#[derive(Debug)]
pub(super) enum Received {
    Message(Message),
    /// Whole, and no message; why, and the protocol's number for it.
    Malformed(ErrorCode, String),
    /// Nothing comes any more; why, unless the pipe was closed between messages.
    End(Option<String>),
}

/// A spec is kilobytes; what claims to be more than this is no message. Bytes.
const LONGEST: usize = 64 << 20;
/// More than any header. Bytes.
const LONGEST_LINE: u64 = 8 << 10;

/// Waits for the next message.
pub(super) fn receive(pipe: &mut impl BufRead) -> Received {
    let length = match length(pipe) {
        Ok(Some(length)) => length,
        Ok(None) => return Received::End(None),
        Err(why) => return Received::End(Some(why)),
    };
    let mut body = vec![0; length];
    if let Err(error) = pipe.read_exact(&mut body) {
        return Received::End(Some(format!("a message is cut off: {error}")));
    }
    let value: Value = match serde_json::from_slice(&body) {
        Ok(value) => value,
        Err(error) => {
            return Received::Malformed(ErrorCode::ParseError, format!("not JSON: {error}"));
        }
    };
    // Without this, a request with an id of no kind would pass for a notification.
    let id = value.get("id");
    if id.is_some_and(|id| !(id.is_string() || id.as_i64().is_some())) {
        let why = "an id is a whole number or a text".to_owned();
        return Received::Malformed(ErrorCode::InvalidRequest, why);
    }
    match serde_json::from_value(value) {
        Ok(message) => Received::Message(message),
        Err(_) => {
            let why = "neither a request nor a notification nor a response".to_owned();
            Received::Malformed(ErrorCode::InvalidRequest, why)
        }
    }
}

/// The headers of a message; nothing at the end of the pipe.
fn length(pipe: &mut impl BufRead) -> Result<Option<usize>, String> {
    let mut length = None;
    let mut first = true;
    loop {
        let mut line = Vec::new();
        let mut bounded = io::Read::take(&mut *pipe, LONGEST_LINE);
        bounded
            .read_until(b'\n', &mut line)
            .map_err(|error| error.to_string())?;
        if line.is_empty() && first {
            return Ok(None);
        }
        first = false;
        if line.last() != Some(&b'\n') {
            return Err("a header has no end".to_owned());
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(format!("{line:?} is no header"));
        };
        if name.trim().eq_ignore_ascii_case("content-length") {
            let number = value.trim().parse::<usize>();
            length = Some(number.map_err(|_| format!("{line:?} states no length"))?);
        }
    }
    match length {
        Some(length) if length <= LONGEST => Ok(Some(length)),
        Some(length) => Err(format!("a message of {length} bytes is no message")),
        None => Err("a message without `Content-Length`".to_owned()),
    }
}

/// Sends a message.
///
/// # Errors
/// Nobody reads.
pub(super) fn send(pipe: &mut dyn Write, message: &Message) -> io::Result<()> {
    message.write(&mut &mut *pipe)?;
    pipe.flush()
}

/// Answers something that was no message, and therefore has no number.
///
/// # Errors
/// Nobody reads.
pub(super) fn refuse(pipe: &mut dyn Write, code: ErrorCode, why: &str) -> io::Result<()> {
    let code = code as i32;
    let answer = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": why } });
    let body = answer.to_string();
    write!(pipe, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    pipe.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<String> {
        let mut pipe = bytes;
        let mut found = Vec::new();
        loop {
            let received = receive(&mut pipe);
            let end = matches!(received, Received::End(_));
            found.push(match received {
                Received::Message(Message::Request(one)) => one.method,
                Received::Message(Message::Notification(one)) => one.method,
                Received::Message(Message::Response(_)) => "response".to_owned(),
                Received::Malformed(_, why) => why,
                Received::End(why) => why.unwrap_or_else(|| "end".to_owned()),
            });
            if end {
                return found;
            }
        }
    }

    fn framed(body: &str) -> String {
        format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn after_a_malformed_message_the_next_is_read() {
        let bytes = ["{", "[]", r#"{"id":1.5,"method":"a"}"#, r#"{"method":"b"}"#].map(framed);
        let found = all(bytes.concat().as_bytes());
        assert!(found[0].starts_with("not JSON"), "{found:?}");
        assert!(found[1].starts_with("neither"), "{found:?}");
        assert!(found[2].starts_with("an id is"), "{found:?}");
        assert_eq!(found[3..], ["b", "end"]);
    }

    #[test]
    fn a_pipe_that_makes_no_sense_ends() {
        assert_eq!(all(b""), ["end"]);
        for bytes in [
            &b"hello\r\n\r\n"[..],
            b"Content-Length: x\r\n\r\n",
            b"Content-Length: 99999999999\r\n\r\n",
            b"Content-Type: x\r\n\r\n{}",
            b"Content-Length: 10\r\n\r\n{}",
            b"Content-Length: 10",
        ] {
            let found = all(bytes);
            assert!(found.len() == 1 && found[0] != "end", "{found:?}");
        }
        assert_eq!(all(&vec![b'x'; 1 << 20]), ["a header has no end"]);
    }
}
