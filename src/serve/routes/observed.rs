//! What every request goes through first and last: it is counted and logged, and its response gets the headers that all have.
//!
//! It is counted also where its client went away before it was answered.
//!
//! Deliberately absent: the text of a request, which no log has.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;

use super::{App, Purpose};
use crate::serve::metrics::Metrics;

/// A request that is being answered.
struct Underway<'a> {
    metrics: &'a Metrics,
    method: Method,
    route: &'static str,
    model: &'a str,
    began: Instant,
    status: Option<StatusCode>,
}

/// What nginx calls a request whose client went away.
const GONE: u16 = 499;

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let status = self.status.map_or(GONE, |status| status.as_u16());
        self.metrics.in_flight.dec();
        self.metrics
            .answered(self.route, self.model, status, seconds);
        let (method, route, model) = (&self.method, self.route, self.model);
        let ms = (seconds * 1e4).round() / 10.0;
        match status {
            500 => tracing::warn!(%method, route, model, status, ms, "request"),
            _ => tracing::info!(%method, route, model, status, ms, "request"),
        }
    }
}

/// Counts and logs a request, and adds what every response has.
pub(super) async fn observed(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let purpose = app.purpose(&request);
    app.shared.metrics.in_flight.inc();
    let mut underway = Underway {
        metrics: &app.shared.metrics,
        method: known_method(request.method()),
        route: purpose.map_or("other", Purpose::name),
        model: purpose
            .and_then(Purpose::model)
            .map_or("", |place| &app.models[place].name),
        began: Instant::now(),
        status: None,
    };
    let mut response = next.run(request).await;
    underway.status = Some(response.status());
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if app.shared.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A client may make up methods of any length, and a log is no place for them.
fn known_method(method: &Method) -> Method {
    match method.as_str().len() <= 16 {
        true => method.clone(),
        false => Method::OPTIONS,
    }
}
