//! Which path does what: the table of routes, who may ask, and what every request goes through.
//!
//! The table is made once, of the models that are served; the router and the OpenAPI document are both made of it, so no path
//! is in one alone. Every model has paths of its own. There is no pattern that takes a part of a path, and nothing that a
//! path names is ever looked for on disk.
//!
//! A request is counted, logged (method, route, status, milliseconds; never its text) and guarded: a panic becomes a 500, and
//! a token is asked for everywhere but at the page, which says nothing of the models, and where probes look.
//!
//! Deliberately absent: sockets (`connections`) and shapes (`shapes`, `inference`).

mod observed;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{MethodFilter, get, on};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::batching::{NoRoom, Queue, Unanswered};
use super::connections::Shared;
use super::metrics;
use super::model::{Model, ModelFault, Question, Reply};
use super::refusal::Refusal;
use super::{Limits, ServingError, Settings, inference, openapi, page, shapes};
use crate::task::Task;

use observed::observed;

/// What whoever asks must show. Only its hash is kept, and that never printed.
#[derive(Clone)]
pub struct Token(blake3::Hash);

impl Token {
    pub fn new(secret: &str) -> Token {
        Token(blake3::hash(secret.as_bytes()))
    }

    /// Whether these headers show it. How long it takes says nothing of the token: hashes are compared, in constant time.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION);
        let shown = shown.and_then(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        shown.is_some_and(|token| blake3::hash(token.trim_ascii()) == self.0)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Whether pages can come from there.
///
/// # Errors
/// The origin, where they cannot.
pub fn check_origin(origin: &str) -> Result<HeaderValue, ServingError> {
    let host = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    let fits = host.is_some_and(|host| !host.is_empty() && host.bytes().all(part));
    let value = HeaderValue::from_str(origin).ok().filter(|_| fits);
    value.ok_or_else(|| ServingError::BadOrigin {
        origin: origin.to_owned(),
    })
}

/// One model as it is served.
pub struct Served {
    name: String,
    model: Arc<dyn Model>,
    queue: Arc<Queue>,
    worker: JoinHandle<()>,
}

/// What every request needs.
pub struct App {
    models: Vec<Served>,
    routes: Vec<Route>,
    /// Method and path → place in `routes`.
    known: HashMap<(Method, String), usize>,
    limits: Limits,
    token: Option<Token>,
    origins: Vec<HeaderValue>,
    shared: Shared,
    openapi: Bytes,
}

/// What a model is: `GET /models`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ModelCard<'a> {
    pub name: &'a str,
    /// Whether it answers where a path names no model.
    pub default: bool,
    pub task: Task,
    /// Of labels, tags or targets, in the order of its numbers; none for questions.
    pub labels: &'a [String],
    /// The length in tokens to which texts are cut, or of the windows into which they are.
    pub max_length: usize,
}

/// How the server is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    pub status: &'static str,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Page,
    Health,
    Ready,
    Metrics,
    Document,
    Models,
    /// These are about a model, by its place.
    Model(usize),
    Predict(usize),
    Inference(usize),
}

impl Purpose {
    /// The route's name in counts and logs.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Page => "page",
            Purpose::Health => "health",
            Purpose::Ready => "ready",
            Purpose::Metrics => "metrics",
            Purpose::Document => "openapi",
            Purpose::Models => "models",
            Purpose::Model(_) => "model",
            Purpose::Predict(_) => "predict",
            Purpose::Inference(_) => "inference",
        }
    }

    /// Whether it is answered without a token.
    pub fn is_open(self) -> bool {
        matches!(self, Purpose::Page | Purpose::Health | Purpose::Ready)
    }

    /// Whether it is a question to a model.
    pub fn asks(self) -> bool {
        matches!(self, Purpose::Predict(_) | Purpose::Inference(_))
    }

    pub fn model(self) -> Option<usize> {
        match self {
            Purpose::Model(model) | Purpose::Predict(model) | Purpose::Inference(model) => {
                Some(model)
            }
            _ => None,
        }
    }
}

/// A method at a path, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub method: Method,
    pub path: String,
    pub purpose: Purpose,
}

/// The routes of a server of these models; the first is the default.
pub fn routes<'n>(models: impl IntoIterator<Item = &'n str>) -> Vec<Route> {
    let of = |method: Method, path: &str, purpose| Route {
        method,
        path: path.to_owned(),
        purpose,
    };
    let mut routes = vec![
        of(Method::GET, "/", Purpose::Page),
        of(Method::POST, "/", Purpose::Inference(0)),
        of(Method::POST, "/predict", Purpose::Predict(0)),
        of(Method::GET, "/models", Purpose::Models),
        of(Method::GET, "/health", Purpose::Health),
        of(Method::GET, "/ready", Purpose::Ready),
        of(Method::GET, "/metrics", Purpose::Metrics),
        of(Method::GET, "/openapi.json", Purpose::Document),
    ];
    for (place, name) in models.into_iter().enumerate() {
        let path = format!("/models/{name}");
        routes.push(of(Method::GET, &path, Purpose::Model(place)));
        routes.push(of(Method::POST, &path, Purpose::Inference(place)));
        let path = format!("{path}/predict");
        routes.push(of(Method::POST, &path, Purpose::Predict(place)));
    }
    routes
}

impl App {
    /// Starts a worker thread for each model.
    ///
    /// # Errors
    /// No thread can be had; an origin that is none.
    pub fn new(
        settings: &Settings,
        models: Vec<(String, Arc<dyn Model>)>,
        shared: Shared,
    ) -> Result<Arc<App>, ServingError> {
        let routes = routes(models.iter().map(|(name, _)| name.as_str()));
        let origins = settings.cors_origins.iter();
        let origins = origins.map(|origin| check_origin(origin)).collect();
        let served = models.into_iter().map(|(name, model)| {
            let queue = Queue::new(&settings.limits, shared.metrics.model(&name));
            let queue = Arc::new(queue);
            let (own, asked) = (queue.clone(), model.clone());
            let worker = std::thread::Builder::new()
                .name(format!("model {name}"))
                .spawn(move || own.work(&*asked))
                .map_err(|source| ServingError::NoThreads { source })?;
            Ok(Served {
                name,
                model,
                queue,
                worker,
            })
        });
        let models = served.collect::<Result<Vec<Served>, ServingError>>()?;
        let mut app = App {
            models,
            known: HashMap::new(),
            routes,
            limits: settings.limits.clone(),
            token: settings.token.clone(),
            origins: origins_of(origins)?,
            shared,
            openapi: Bytes::new(),
        };
        for (place, route) in app.routes.iter().enumerate() {
            let key = |method| (method, route.path.clone());
            app.known.insert(key(route.method.clone()), place);
            if route.method == Method::GET {
                app.known.insert(key(Method::HEAD), place);
            }
        }
        let document =
            openapi::document(&app.cards(), &app.routes, &app.limits, app.token.is_some());
        app.openapi = document.to_string().into();
        Ok(Arc::new(app))
    }

    fn cards(&self) -> Vec<ModelCard<'_>> {
        (0..self.models.len())
            .map(|place| self.card(place))
            .collect()
    }

    fn card(&self, place: usize) -> ModelCard<'_> {
        let Served { name, model, .. } = &self.models[place];
        ModelCard {
            name,
            default: place == 0,
            task: model.task(),
            labels: model.names(),
            max_length: model.max_length(),
        }
    }

    fn purpose(&self, request: &Request) -> Option<Purpose> {
        let key = (request.method().clone(), request.uri().path().to_owned());
        Some(self.routes[*self.known.get(&key)?].purpose)
    }

    /// Lets the workers end. With `wait`, waits until they have, for there is nothing left to do.
    pub fn end(&self, wait: bool) {
        for served in &self.models {
            served.queue.close();
        }
        while wait
            && self
                .models
                .iter()
                .any(|served| !served.worker.is_finished())
        {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    async fn answer(&self, purpose: Purpose, request: Request) -> Result<Response<Body>, Refusal> {
        Ok(match purpose {
            Purpose::Page => page::response(),
            Purpose::Health => as_json(&Status { status: "alive" }),
            Purpose::Ready if self.shared.is_draining() => return Err(Refusal::draining()),
            Purpose::Ready => as_json(&Status { status: "ready" }),
            Purpose::Metrics => typed(metrics::CONTENT_TYPE, self.shared.metrics.text()),
            Purpose::Document => typed(JSON, self.openapi.clone()),
            Purpose::Models => as_json(&json!({ "models": self.cards() })),
            Purpose::Model(place) => as_json(&self.card(place)),
            Purpose::Predict(place) => {
                let (served, body) = self.asked(place, request).await?;
                let task = served.model.task();
                let wanted = shapes::read(task, &body)?;
                drop(body);
                let replies = self.replies(served, wanted.questions).await?;
                let names = served.model.names();
                let written = shapes::written(&served.name, task, names, &replies, wanted.shown);
                typed(JSON, written)
            }
            Purpose::Inference(place) => {
                let (served, body) = self.asked(place, request).await?;
                let wanted = inference::read(served.model.task(), &body)?;
                drop(body);
                let replies = self.replies(served, wanted.questions).await?;
                typed(
                    JSON,
                    inference::written(served.model.names(), &replies, &wanted.shown),
                )
            }
        })
    }

    /// The model and the body of a question to it.
    async fn asked(&self, place: usize, request: Request) -> Result<(&Served, Bytes), Refusal> {
        let (head, body) = request.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(JSON) {
            self.limits.forget(&head.headers, body).await;
            return Err(Refusal::not_json_type());
        }
        let body = self.limits.read(&head.headers, body).await?;
        Ok((&self.models[place], body))
    }

    async fn replies(
        &self,
        served: &Served,
        questions: Vec<Question>,
    ) -> Result<Vec<Reply>, Refusal> {
        self.limits.check(&questions)?;
        let full = |no_room| match no_room {
            NoRoom::Full { seconds } => Refusal::queue_full(seconds),
            NoRoom::Closed => Refusal::draining(),
        };
        served.queue.check_room(questions.len()).map_err(full)?;
        let (questions, tokens) = counted(&served.model, questions).await?;
        let answer = served.queue.submit(questions, &tokens).map_err(full)?;
        match tokio::time::timeout(self.limits.request_timeout, answer).await {
            Ok(Ok(replies)) => Ok(replies),
            Ok(Err(Unanswered::Fault(fault))) => Err(refused(fault)),
            Ok(Err(Unanswered::Closed)) => Err(Refusal::draining()),
            Err(_) => Err(Refusal::timed_out(self.limits.request_timeout)),
        }
    }
}

fn origins_of(
    origins: Vec<Result<HeaderValue, ServingError>>,
) -> Result<Vec<HeaderValue>, ServingError> {
    origins.into_iter().collect()
}

/// What is worth a thread of its own to count: some milliseconds.
const MANY_BYTES: usize = 16 << 10;

/// The questions with the number of tokens of each.
async fn counted(
    model: &Arc<dyn Model>,
    questions: Vec<Question>,
) -> Result<(Vec<Question>, Vec<usize>), Refusal> {
    let bytes = |one: &Question| one.text.len() + one.pair.as_ref().map_or(0, String::len);
    let tokens = if questions.iter().map(bytes).sum::<usize>() < MANY_BYTES {
        (model.tokens(&questions), questions)
    } else {
        let model = model.clone();
        let counting = tokio::task::spawn_blocking(move || (model.tokens(&questions), questions));
        counting
            .await
            .map_err(|_| Refusal::fault("the texts could not be cut into tokens"))?
    };
    match tokens {
        (Ok(tokens), questions) => Ok((questions, tokens)),
        (Err(fault), _) => Err(refused(fault)),
    }
}

fn refused(fault: ModelFault) -> Refusal {
    match fault {
        ModelFault::Unanswerable { message, help } => Refusal::unanswerable(message, help),
        ModelFault::Failed { message } => {
            tracing::error!("a model failed: {message}");
            Refusal::fault("the model failed")
        }
    }
}

const JSON: &str = "application/json";

fn as_json(value: &impl Serialize) -> Response<Body> {
    // No value here has keys that are no text.
    typed(JSON, serde_json::to_vec(value).unwrap_or_default())
}

fn typed(kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The router of all routes.
pub fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for route in &app.routes {
        let (own, purpose) = (app.clone(), route.purpose);
        let handler = move |request: Request| {
            let app = own.clone();
            async move {
                let answered = app.answer(purpose, request).await;
                answered.unwrap_or_else(Refusal::response)
            }
        };
        let method = match route.method {
            Method::POST => MethodFilter::POST,
            _ => MethodFilter::GET,
        };
        router = router.route(&route.path, on(method, handler));
    }
    let router = router
        .fallback(|State(app): State<Arc<App>>, request: Request| async move {
            app.forgotten(request, Refusal::not_found()).await
        })
        .method_not_allowed_fallback(|State(app): State<Arc<App>>, request: Request| async move {
            app.forgotten(request, Refusal::wrong_method()).await
        })
        .layer(from_fn_with_state(app.clone(), guarded))
        .layer(CatchPanicLayer::custom(panicked));
    let router = match app.origins.is_empty() {
        true => router,
        false => router.layer(
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(app.origins.clone()))
                .allow_methods([Method::GET, Method::POST])
                .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
                .expose_headers([header::RETRY_AFTER]),
        ),
    };
    router
        .layer(from_fn_with_state(app.clone(), observed))
        .with_state(app.clone())
}

/// The router while models are being read.
pub fn loading_router() -> Router {
    let closing = |mut response: Response<Body>| {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        Ok::<_, Infallible>(response)
    };
    let alive = move || async move { closing(as_json(&Status { status: "alive" })) };
    let loading = move || async move { closing(Refusal::loading().response()) };
    Router::new().route("/health", get(alive)).fallback(loading)
}

impl App {
    async fn forgotten(&self, request: Request, refusal: Refusal) -> Response<Body> {
        let (head, body) = request.into_parts();
        self.limits.forget(&head.headers, body).await;
        refusal.response()
    }
}

/// Asks for the token.
async fn guarded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response<Body> {
    let open = app.purpose(&request).is_some_and(Purpose::is_open);
    match &app.token {
        Some(token) if !open && !token.is_shown(request.headers()) => {
            app.forgotten(request, Refusal::unauthorized()).await
        }
        _ => next.run(request).await,
    }
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    // The program's hook has said where.
    tracing::error!("a fault of refit itself");
    Refusal::fault("a fault of the server itself").response()
}
