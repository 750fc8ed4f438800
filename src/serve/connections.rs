//! Connections: how sockets are taken, how long a client may take over anything, and how all of it ends.
//!
//! A client may take `read_timeout` to send a head (408 where it began one; a connection that is merely idle for so long is
//! closed without a word), and as long to take up what it is sent. What is no HTTP is answered by hyper, with a status and
//! no body. A client that closes its sending side is taken to have gone away, for by nothing else is that told: what it
//! asked for is not computed. So a slow or half-closed connection holds a place among the connections for a bounded time,
//! and a worker never.
//!
//! The end: asked to (SIGTERM, Ctrl-C), the server takes no further connections but those that the system took for it
//! already, `/ready` says 503, and every response from then on ends its connection; so a client that keeps asking on one
//! connection hears of it in an answer, not in a reset. After a second, idle connections are closed, and the others as soon
//! as they are answered. What is not done by `drain_timeout` is lost. A second signal ends the process at once.
//!
//! Deliberately absent: TLS, HTTP/2, and an order among clients.

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::metrics::Metrics;
use super::{Asked, ServingError, Settings, routes};

/// What connections and routes know together.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    pub metrics: Metrics,
    draining: Arc<AtomicBool>,
}

impl Shared {
    /// Whether the server has been asked to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// It is asked to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// No connection is taken any more.
    Closing,
    /// Idle connections are closed.
    Ending,
}

/// How the connections ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Drained,
    /// So many were still open.
    Open(usize),
}

/// Where connections come in.
pub struct Doors {
    shared: Shared,
    router: Arc<OnceLock<Router>>,
    stage: watch::Sender<Stage>,
    accepting: JoinHandle<()>,
    asked: tokio::sync::Mutex<Signals>,
}

/// For how long those who keep asking are told that the server ends.
const GRACE: Duration = Duration::from_secs(1);
/// How long to wait for a file descriptor where none can be had.
const PAUSE: Duration = Duration::from_millis(50);
/// The most bytes of a head.
const HEAD: usize = 32 << 10;

impl Doors {
    /// Begins to take connections. Inside a runtime.
    ///
    /// # Errors
    /// The listener or the signals cannot be waited for.
    pub fn open(listener: TcpListener, settings: Arc<Settings>) -> Result<Doors, ServingError> {
        let no_threads = |source| ServingError::NoThreads { source };
        let listener = tokio::net::TcpListener::from_std(listener).map_err(no_threads)?;
        let asked = Signals::listen().map_err(no_threads)?;
        let shared = Shared::default();
        let router = Arc::new(OnceLock::new());
        let (stage, seen) = watch::channel(Stage::Open);
        let accept = Accept {
            listener,
            patience: settings.limits.read_timeout,
            places: Arc::new(Semaphore::new(settings.limits.connections)),
            shared: shared.clone(),
            router: router.clone(),
            loading: routes::loading_router(),
        };
        Ok(Doors {
            shared,
            router,
            stage,
            accepting: tokio::spawn(accept.run(seen)),
            asked: tokio::sync::Mutex::new(asked),
        })
    }

    pub fn state(&self) -> Shared {
        self.shared.clone()
    }

    /// What answers from now on.
    pub fn serve(&self, router: Router) {
        let _ = self.router.set(router);
    }

    /// Until somebody asks the server to end.
    pub async fn asked(&self) -> Asked {
        self.asked.lock().await.next().await
    }

    /// Ends: everything accepted is answered within `limit`.
    pub async fn close(self, asked: Asked, limit: Duration) -> End {
        let deadline = Instant::now() + limit;
        tracing::info!("asked to end ({asked:?}); answering what was accepted");
        self.shared.drain();
        let Doors {
            stage,
            accepting,
            asked,
            ..
        } = self;
        tokio::spawn(async move {
            asked.lock().await.next().await;
            std::process::exit(130);
        });
        stage.send_replace(Stage::Closing);
        let _ = timeout(limit, accepting).await;
        let _ = timeout(GRACE.min(limit / 2), stage.closed()).await;
        stage.send_replace(Stage::Ending);
        match tokio::time::timeout_at(deadline, stage.closed()).await {
            Ok(()) => End::Drained,
            Err(_) => End::Open(stage.receiver_count()),
        }
    }
}

/// Who takes connections.
struct Accept {
    listener: tokio::net::TcpListener,
    patience: Duration,
    places: Arc<Semaphore>,
    shared: Shared,
    router: Arc<OnceLock<Router>>,
    loading: Router,
}

impl Accept {
    async fn run(self, mut stage: watch::Receiver<Stage>) {
        while *stage.borrow_and_update() == Stage::Open {
            // More clients than places wait where the system keeps them.
            let accepted = async {
                let place = self.places.clone().acquire_owned().await.ok();
                (self.listener.accept().await, place)
            };
            tokio::select! {
                (accepted, place) = accepted => match accepted {
                    Ok((stream, _)) => self.take(stream, place, &stage),
                    Err(error) => {
                        tracing::warn!("a connection could not be taken: {error}");
                        sleep(PAUSE).await;
                    }
                },
                _ = stage.changed() => {}
            }
        }
        // To their clients these are as good as taken.
        while let Some(Ok((stream, _))) = at_once(self.listener.accept()).await {
            self.take(stream, None, &stage);
        }
    }

    fn take(
        &self,
        stream: TcpStream,
        place: Option<OwnedSemaphorePermit>,
        stage: &watch::Receiver<Stage>,
    ) {
        let router = self.router.get().unwrap_or(&self.loading).clone();
        let (shared, stage, patience) = (self.shared.clone(), stage.clone(), self.patience);
        tokio::spawn(async move {
            shared.metrics.connections.inc();
            if let Err(error) = connection(stream, router, stage, patience).await {
                tracing::debug!("a connection ended: {error}");
            }
            shared.metrics.connections.dec();
            drop(place);
        });
    }
}

/// What a future gives without waiting.
async fn at_once<F: Future>(future: F) -> Option<F::Output> {
    timeout(Duration::ZERO, future).await.ok()
}

/// Serves one connection to its end.
async fn connection(
    stream: TcpStream,
    router: Router,
    mut stage: watch::Receiver<Stage>,
    patience: Duration,
) -> Result<(), hyper::Error> {
    // Responses are written whole, so that there is nothing to collect.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Patient::new(stream, patience));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HEAD)
        .serve_connection(io, TowerToHyperService::new(router));
    let ended = loop {
        tokio::select! {
            ended = Pin::new(&mut connection) => break ended,
            changed = stage.changed() => {
                if changed.is_err() || *stage.borrow() == Stage::Ending {
                    Pin::new(&mut connection).graceful_shutdown();
                    break Pin::new(&mut connection).await;
                }
            }
        }
    };
    if ended.as_ref().is_err_and(hyper::Error::is_timeout) {
        let parts = connection.into_parts();
        if !parts.read_buf.is_empty() {
            // So little fits into what the system keeps for a client that was sent nothing yet.
            let _ = parts
                .io
                .into_inner()
                .stream
                .try_write(slow_head().as_bytes());
        }
    }
    ended
}

/// What a client hears that does not finish its head, to which hyper says nothing.
fn slow_head() -> String {
    let body = r#"{"error":{"code":"slow_head","message":"the head of the request did not arrive whole in time"}}"#;
    let length = body.len();
    format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// A stream that gives up on a client which does not take what it is sent.
struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Since a write had to wait.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Patient {
            stream,
            patience,
            waiting: None,
        }
    }

    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let patience = self.patience;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(std::io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watched(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(context, polled)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(context, polled)
    }
}

/// Who may ask the server to end.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }
}

/// Who may ask the server to end.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Asked {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Asked::Interrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream whose other side reads nothing.
    struct Full;

    impl AsyncWrite for Full {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let written = runtime.unwrap().block_on(async {
            let mut patient = Patient::new(Full, Duration::from_millis(10));
            std::future::poll_fn(|context| Pin::new(&mut patient).poll_write(context, b"x")).await
        });
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }
}
