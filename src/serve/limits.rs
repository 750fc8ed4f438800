//! What a server takes, and how long it waits: the bounds, and the reading of bodies within them.
//!
//! Promise: what a request can make this process keep is bounded before it is kept. A body is read up to its limit and what
//! is beyond is thrown away as it comes, so that a client that is still sending hears why it is refused.
//!
//! Deliberately absent: how much may wait for a model, which is the queue's to know (`batching`).

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;

use super::model::Question;
use super::refusal::Refusal;

/// The bounds of a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most bytes of a request's body.
    pub body_bytes: usize,
    /// The most texts (or pairs, or questions) of a request.
    pub texts: usize,
    /// The most Unicode characters of a text.
    pub characters: usize,
    /// The most texts that may wait for a model.
    pub queue_texts: usize,
    /// The most tokens that may wait for a model.
    pub queue_tokens: usize,
    /// The tokens of a batch. A text that alone has more is a batch of its own.
    pub batch_tokens: usize,
    /// The longest that a text waits for others to share a batch with, while the model has nothing to do.
    pub batch_delay: Duration,
    /// The most connections at once; more wait to be taken.
    pub connections: usize,
    /// The longest that a client may take to send a head, and again to send a body, and to read what it is sent.
    pub read_timeout: Duration,
    /// The longest from the end of a request's body to its answer.
    pub request_timeout: Duration,
    /// The longest that accepted requests may take once the server is asked to end.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 2 << 20,
            texts: 1024,
            characters: 100_000,
            queue_texts: 4096,
            queue_tokens: 1 << 18,
            batch_tokens: 4096,
            batch_delay: Duration::from_millis(5),
            connections: 1024,
            read_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// What is thrown away of a body that is refused, so that its client reads the answer instead of a broken connection.
const DISCARDED: usize = 64 << 20;

impl Limits {
    /// The whole body.
    ///
    /// # Errors
    /// 413 where it is larger than allowed, 408 where it does not come in time, 400 where it breaks off.
    pub async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
        let length = length_of(headers);
        if length.is_some_and(|length| length > self.body_bytes as u64) {
            self.forget(headers, body).await;
            return Err(Refusal::body_too_large(self.body_bytes));
        }
        match tokio::time::timeout(self.read_timeout, self.read_all(length, body)).await {
            Ok(read) => read,
            Err(_) => Err(Refusal::slow_body(self.read_timeout)),
        }
    }

    async fn read_all(&self, length: Option<u64>, body: Body) -> Result<Bytes, Refusal> {
        let mut pieces = body.into_data_stream();
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Refusal::broken_body())?;
            if whole.len() + piece.len() > self.body_bytes {
                discard(Body::from_stream(pieces), DISCARDED).await;
                return Err(Refusal::body_too_large(self.body_bytes));
            }
            // The usual body comes in one piece, and is not copied then.
            if whole.is_empty() && length == Some(piece.len() as u64) {
                return Ok(piece);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// Reads and forgets what a refused request still sends, for as long as a body may take.
    pub async fn forget(&self, headers: &HeaderMap, body: Body) {
        // Such a client sends nothing before it is told to.
        if headers.contains_key(header::EXPECT) {
            return;
        }
        let _ = tokio::time::timeout(self.read_timeout, discard(body, DISCARDED)).await;
    }

    /// Whether so many texts of this length may be asked for at once.
    ///
    /// # Errors
    /// 422 with what is too many or too long.
    pub fn check(&self, questions: &[Question]) -> Result<(), Refusal> {
        if questions.len() > self.texts {
            return Err(Refusal::too_many_texts(questions.len(), self.texts));
        }
        for (index, question) in questions.iter().enumerate() {
            let parts = std::iter::once(&question.text).chain(&question.pair);
            // No text has more characters than bytes.
            for part in parts.filter(|part| part.len() > self.characters) {
                let found = part.chars().count();
                if found > self.characters {
                    return Err(Refusal::text_too_long(index, found, self.characters));
                }
            }
        }
        Ok(())
    }
}

fn length_of(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

async fn discard(body: Body, most: usize) {
    let mut pieces = body.into_data_stream();
    let mut seen = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        seen += piece.len();
        if seen > most {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use futures_util::stream;

    fn limits() -> Limits {
        Limits {
            body_bytes: 10,
            texts: 2,
            characters: 3,
            read_timeout: Duration::from_millis(50),
            ..Limits::default()
        }
    }

    fn wait<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(future)
    }

    fn read(length: Option<u64>, body: Body) -> Result<Bytes, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        wait(limits().read(&headers, body))
    }

    fn pieces(pieces: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(pieces.iter().map(|piece| {
            Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))
        })))
    }

    #[test]
    fn a_body_is_read_up_to_its_limit_whatever_it_says_of_itself() {
        assert_eq!(
            read(Some(10), pieces(&["0123456789"])).unwrap(),
            "0123456789"
        );
        assert_eq!(
            read(None, pieces(&["01234", "56789"])).unwrap(),
            "0123456789"
        );
        for (length, body) in [
            (Some(11), pieces(&["0123456789", "0"])),
            (None, pieces(&["0123456789", "0"])),
            (Some(3), pieces(&["01234567890"])),
        ] {
            let refused = read(length, body).unwrap_err();
            assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        }
    }

    #[test]
    fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = read(None, never).unwrap_err();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[test]
    fn texts_are_counted_and_measured_in_characters() {
        let text = |text: &str| Question {
            text: text.to_owned(),
            pair: None,
        };
        assert!(limits().check(&[text("äöü"), text("")]).is_ok());
        let long = Question {
            text: String::new(),
            pair: Some("four".to_owned()),
        };
        for asked in [vec![text("a"), text("b"), text("c")], vec![text("a"), long]] {
            let refused = limits().check(&asked).unwrap_err();
            assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        }
    }
}
