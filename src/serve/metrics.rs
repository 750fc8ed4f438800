//! What a server counts, in the text format of Prometheus (OpenMetrics).
//!
//! Labels are names of routes and models, and statuses: nothing of a request makes a new one, so the memory of it is bounded.
//!
//! Deliberately absent: what processes are measured by anyway (memory, processor time), for which there are exporters.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The type by which the text says what it is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    route: &'static str,
    /// Empty for what is no model's.
    model: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: &'static str,
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counts of a server. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<Asked, Counter>,
    seconds: Histograms<OfRoute>,
    /// Requests whose answer is not there yet.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    texts: Family<OfModel, Counter>,
    tokens: Family<OfModel, Counter>,
    queue_texts: Family<OfModel, Gauge>,
    queue_tokens: Family<OfModel, Gauge>,
    batch_texts: Histograms<OfModel>,
    batch_tokens: Histograms<OfModel>,
    batch_seconds: Histograms<OfModel>,
}

/// From a millisecond to half a minute.
fn seconds() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

/// From 1 to 1,024.
fn few() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 11))
}

/// From 16 to 16,384.
fn many() -> Histogram {
    Histogram::new(exponential_buckets(16.0, 2.0, 11))
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Metrics {
            registry: Arc::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            texts: Family::default(),
            tokens: Family::default(),
            queue_texts: Family::default(),
            queue_tokens: Family::default(),
            batch_texts: Family::new_with_constructor(few),
            batch_tokens: Family::new_with_constructor(many),
            batch_seconds: Family::new_with_constructor(seconds),
        };
        let mut registry = Registry::with_prefix("refit");
        registry.register("requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "request",
            "From the head of a request to that of its response",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests without a response yet",
            metrics.in_flight.clone(),
        );
        registry.register(
            "connections",
            "Open connections",
            metrics.connections.clone(),
        );
        registry.register("texts", "Texts put into batches", metrics.texts.clone());
        registry.register("tokens", "Tokens put into batches", metrics.tokens.clone());
        registry.register(
            "queue_texts",
            "Texts that wait for a batch",
            metrics.queue_texts.clone(),
        );
        registry.register(
            "queue_tokens",
            "Tokens that wait for a batch",
            metrics.queue_tokens.clone(),
        );
        registry.register(
            "batch_texts",
            "Texts of a batch",
            metrics.batch_texts.clone(),
        );
        registry.register(
            "batch_tokens",
            "Tokens of a batch",
            metrics.batch_tokens.clone(),
        );
        registry.register_with_unit(
            "batch",
            "What a batch took the model",
            Unit::Seconds,
            metrics.batch_seconds.clone(),
        );
        *lock(&metrics.registry) = registry;
        metrics
    }
}

fn lock(registry: &Mutex<Registry>) -> std::sync::MutexGuard<'_, Registry> {
    registry
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Metrics {
    /// Counts a request that was answered.
    pub fn answered(&self, route: &'static str, model: &str, status: u16, seconds: f64) {
        let model = model.to_owned();
        let of = OfRoute {
            route,
            model: model.clone(),
        };
        self.seconds.get_or_create(&of).observe(seconds);
        let asked = Asked {
            route,
            model,
            status,
        };
        self.requests.get_or_create(&asked).inc();
    }

    /// The counts of one model.
    pub fn model(&self, name: &str) -> ModelMetrics {
        let of = OfModel {
            model: name.to_owned(),
        };
        ModelMetrics {
            texts: self.texts.get_or_create_owned(&of),
            tokens: self.tokens.get_or_create_owned(&of),
            queue_texts: self.queue_texts.get_or_create_owned(&of),
            queue_tokens: self.queue_tokens.get_or_create_owned(&of),
            batch_texts: self.batch_texts.get_or_create_owned(&of),
            batch_tokens: self.batch_tokens.get_or_create_owned(&of),
            batch_seconds: self.batch_seconds.get_or_create_owned(&of),
        }
    }

    /// All of them as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &lock(&self.registry));
        text
    }
}

/// The counts of one model.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    texts: Counter<u64, AtomicU64>,
    tokens: Counter<u64, AtomicU64>,
    queue_texts: Gauge,
    queue_tokens: Gauge,
    batch_texts: Histogram,
    batch_tokens: Histogram,
    batch_seconds: Histogram,
}

impl ModelMetrics {
    /// So much waits now.
    pub fn waiting(&self, texts: usize, tokens: usize) {
        self.queue_texts.set(texts as i64);
        self.queue_tokens.set(tokens as i64);
    }

    /// A batch begins.
    pub fn batch(&self, texts: usize, tokens: usize) {
        self.texts.inc_by(texts as u64);
        self.tokens.inc_by(tokens as u64);
        self.batch_texts.observe(texts as f64);
        self.batch_tokens.observe(tokens as f64);
    }

    /// A batch is done.
    pub fn computed(&self, seconds: f64) {
        self.batch_seconds.observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_a_type_and_a_help_for_each_and_an_end() {
        let metrics = Metrics::default();
        metrics.answered("predict", "news", 200, 0.02);
        metrics.answered("predict", "news", 200, 0.2);
        metrics.answered("other", "", 404, 0.0);
        metrics.in_flight.inc();
        let text = metrics.text();
        for line in [
            "# TYPE refit_requests counter",
            "refit_requests_total{route=\"predict\",model=\"news\",status=\"200\"} 2",
            "refit_requests_total{route=\"other\",model=\"\",status=\"404\"} 1",
            "# TYPE refit_request_seconds histogram",
            "refit_request_seconds_bucket{le=\"0.025\",route=\"predict\",model=\"news\"} 1",
            "refit_requests_in_flight 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
