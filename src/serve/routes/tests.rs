//! Requests to a router over played models, without sockets.

use std::ops::ControlFlow;
use std::time::Duration;

use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::*;

/// Says how many characters a text has, and does what some texts say.
struct Played(Task);

impl Model for Played {
    fn task(&self) -> Task {
        self.0
    }

    fn names(&self) -> &[String] {
        &[]
    }

    fn max_length(&self) -> usize {
        8
    }

    fn tokens(&self, questions: &[Question]) -> Result<Vec<usize>, ModelFault> {
        assert!(!questions.iter().any(|one| one.text == "panic"), "as asked");
        Ok(vec![1; questions.len()])
    }

    fn answer(
        &self,
        questions: &[Question],
        _batch_tokens: usize,
        _on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Reply>, ModelFault> {
        let reply = |one: &Question| match one.text.as_str() {
            "slow" => {
                std::thread::sleep(Duration::from_millis(200));
                Ok(Reply::Numbers(vec![0.0]))
            }
            "fail" => Err(ModelFault::Failed {
                message: "a secret of the machine".to_owned(),
            }),
            text => Ok(Reply::Numbers(vec![text.chars().count() as f32])),
        };
        questions.iter().map(reply).collect()
    }
}

struct Stand {
    app: Arc<App>,
    shared: Shared,
    runtime: tokio::runtime::Runtime,
}

fn stand(change: impl FnOnce(&mut Settings)) -> Stand {
    let mut settings = Settings {
        limits: Limits {
            body_bytes: 400,
            texts: 3,
            characters: 100,
            ..Limits::default()
        },
        token: None,
        cors_origins: Vec::new(),
    };
    change(&mut settings);
    let shared = Shared::default();
    let model = |name: &str| {
        let model: Arc<dyn Model> = Arc::new(Played(Task::Regression));
        (name.to_owned(), model)
    };
    let app = App::new(&settings, vec![model("a"), model("b")], shared.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    Stand {
        app,
        shared,
        runtime: runtime.unwrap(),
    }
}

struct Said {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    fn code(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().unwrap().to_owned();
        (self.status, code)
    }
}

type Headers<'a> = &'a [(&'a str, &'a str)];

const AS_JSON: Headers = &[("content-type", "application/json; charset=utf-8")];

fn request(method: &str, path: &str, headers: Headers, body: impl Into<Body>) -> Request {
    let mut request = axum::http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

impl Stand {
    fn send(&self, request: Request) -> Said {
        self.runtime.block_on(said(router(&self.app), request))
    }

    /// Until the model has begun so many texts.
    fn computes(&self, model: &str, texts: usize) {
        let begun = format!("refit_texts_total{{model=\"{model}\"}} {texts}\n");
        while !self.shared.metrics.text().contains(&begun) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn get(&self, path: &str) -> Said {
        self.send(request("GET", path, &[], ""))
    }

    fn post(&self, path: &str, body: Value) -> Said {
        self.send(request("POST", path, AS_JSON, body.to_string()))
    }
}

async fn said(router: Router, request: Request) -> Said {
    let response = TowerToHyperService::new(router).call(request).await;
    let (head, body) = response.unwrap().into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Said {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.to_vec(),
    }
}

#[test]
fn every_route_answers_and_nothing_else_does() {
    let stand = stand(|_| ());
    for route in &stand.app.routes {
        let said = match route.purpose {
            Purpose::Predict(_) => stand.post(&route.path, json!({ "text": "abc" })),
            Purpose::Inference(_) => stand.post(&route.path, json!({ "inputs": "abc" })),
            _ => stand.get(&route.path),
        };
        assert_eq!(said.status, 200, "{route:?}");
        assert_eq!(said.headers["x-content-type-options"], "nosniff");
        assert!(!said.headers.contains_key("access-control-allow-origin"));
    }
    for path in [
        "/x",
        "/models/c",
        "/models/a/",
        "/models/../a",
        "/models/%61",
        "//",
        "/predict/",
    ] {
        assert_eq!(
            stand.get(path).code(),
            (404, "not_found".to_owned()),
            "{path}"
        );
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let stand = stand(|_| ());
    for (method, path, right) in [
        ("GET", "/predict", "POST"),
        ("DELETE", "/health", "GET,HEAD"),
        ("OPTIONS", "/", "GET,HEAD,POST"),
        ("PUT", "/models/a", "GET,HEAD,POST"),
    ] {
        let said = stand.send(request(method, path, &[], ""));
        assert_eq!(said.code(), (405, "method_not_allowed".to_owned()));
        assert_eq!(said.headers["allow"], right, "{method} {path}");
    }
}

#[test]
fn a_bad_request_has_the_code_of_its_fault() {
    let stand = stand(|_| ());
    let of = |body: &[u8]| {
        stand
            .send(request("POST", "/predict", AS_JSON, body.to_vec()))
            .code()
    };
    let long = json!({ "text": "ä".repeat(101) }).to_string();
    let fits = json!({ "text": "ä".repeat(100) }).to_string();
    let huge = "x".repeat(401);
    for (body, status, code) in [
        (&b"{"[..], 400, "invalid_json"),
        (b"{\"text\": \"\xff\"}", 400, "invalid_utf8"),
        (b"{\"text\": 7}", 422, "invalid_request"),
        (
            b"{\"texts\": [\"a\",\"b\",\"c\",\"d\"]}",
            422,
            "too_many_texts",
        ),
        (long.as_bytes(), 422, "text_too_long"),
        (huge.as_bytes(), 413, "body_too_large"),
        (b"{\"text\": \"panic\"}", 500, "fault"),
    ] {
        assert_eq!(of(body), (status, code.to_owned()));
    }
    let plain = request("POST", "/predict", &[("content-type", "text/plain")], "{}");
    assert_eq!(stand.send(plain).code().0, 415);
    assert_eq!(
        stand.send(request("POST", "/predict", &[], "{}")).code().0,
        415
    );
    let said = stand.send(request("POST", "/predict", AS_JSON, fits));
    assert_eq!(said.json()["predictions"][0]["values"][0]["value"], 100.0);
}

#[test]
fn a_failing_model_is_a_fault_that_tells_nothing_of_the_machine() {
    let stand = stand(|_| ());
    let said = stand.post("/predict", json!({ "text": "fail" }));
    assert_eq!(said.code(), (500, "fault".to_owned()));
    assert!(!String::from_utf8_lossy(&said.body).contains("secret"));
    assert_eq!(stand.post("/predict", json!({ "text": "a" })).status, 200);
}

#[test]
fn no_texts_have_no_predictions() {
    let stand = stand(|_| ());
    let none = stand.post("/predict", json!({ "texts": [] }));
    assert_eq!(none.json()["predictions"], json!([]));
    assert_eq!(stand.post("/", json!({ "inputs": [] })).json(), json!([]));
}

#[test]
fn a_token_is_asked_for_everywhere_but_where_probes_and_readers_look() {
    let secret = "correct-horse";
    let stand = stand(|settings| settings.token = Some(Token::new(secret)));
    for route in &stand.app.routes {
        let ask = |shown: &str| {
            let headers = [
                ("content-type", "application/json"),
                ("authorization", shown),
            ];
            stand.send(request(route.method.as_str(), &route.path, &headers, "{}"))
        };
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer correct-hors",
            "Basic correct-horse",
            "correct-horse",
            "Bearer correct-horse x",
        ] {
            let said = ask(wrong);
            assert_eq!(
                said.status == 401,
                !route.purpose.is_open(),
                "{route:?} {wrong}"
            );
            if said.status == 401 {
                assert_eq!(said.headers["www-authenticate"], "Bearer realm=\"refit\"");
                assert_eq!(said.code().1, "unauthorized");
            }
        }
        for right in ["Bearer correct-horse", "bearer correct-horse"] {
            assert_ne!(ask(right).status, 401, "{route:?}");
        }
    }
    // Who may not ask does not learn which paths there are.
    assert_eq!(stand.get("/models/x").status, 401);
    assert_eq!(format!("{:?}", stand.app.token), "Some(Token(…))");
}

#[test]
fn what_takes_too_long_is_a_timeout_and_gives_up_its_place() {
    let stand = stand(|settings| settings.limits.request_timeout = Duration::from_millis(20));
    let said = stand.post("/predict", json!({ "texts": ["slow", "slow"] }));
    assert_eq!(said.code(), (504, "timeout".to_owned()));
    assert_eq!(stand.app.models[0].queue.texts(), 0);
}

#[test]
fn a_full_queue_says_when_to_ask_again() {
    let stand = stand(|settings| settings.limits.queue_texts = 2);
    let ask = |text: &str| {
        let body = json!({ "texts": [text, text] }).to_string();
        said(
            router(&stand.app),
            request("POST", "/predict", AS_JSON, body),
        )
    };
    let first = stand.runtime.spawn(ask("slow"));
    stand.computes("a", 2);
    let second = stand.runtime.spawn(ask("slow"));
    let waiting = || stand.app.models[0].queue.texts();
    while waiting() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let refused = stand.post("/predict", json!({ "text": "a" }));
    assert_eq!(refused.code(), (429, "queue_full".to_owned()));
    let seconds: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds));
    // The other model has a queue of its own.
    assert_eq!(
        stand
            .post("/models/b/predict", json!({ "text": "a" }))
            .status,
        200
    );
    for accepted in [first, second] {
        assert_eq!(stand.runtime.block_on(accepted).unwrap().status, 200);
    }
}

#[test]
fn whoever_goes_away_is_counted_and_frees_its_place() {
    let stand = stand(|_| ());
    let ask = |text: &str| {
        let body = json!({ "text": text }).to_string();
        said(
            router(&stand.app),
            request("POST", "/predict", AS_JSON, body),
        )
    };
    let computing = stand.runtime.spawn(ask("slow"));
    stand.computes("a", 1);
    let queue = &stand.app.models[0].queue;
    let gone = stand.runtime.spawn(ask("slow"));
    while queue.texts() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    gone.abort();
    assert!(stand.runtime.block_on(gone).is_err());
    assert_eq!(queue.texts(), 0);
    assert_eq!(stand.runtime.block_on(computing).unwrap().status, 200);
    let counted = String::from_utf8(stand.get("/metrics").body).unwrap();
    for line in [
        "refit_requests_total{route=\"predict\",model=\"a\",status=\"499\"} 1",
        "refit_requests_total{route=\"predict\",model=\"a\",status=\"200\"} 1",
        // That of the counts themselves.
        "refit_requests_in_flight 1",
    ] {
        assert!(counted.contains(line), "{line} in {counted}");
    }
}

#[test]
fn a_server_that_ends_is_not_ready_and_closes_connections_with_their_answers() {
    let stand = stand(|_| ());
    assert_eq!(stand.get("/ready").status, 200);
    stand.shared.drain();
    assert_eq!(stand.get("/ready").code(), (503, "draining".to_owned()));
    let said = stand.post("/predict", json!({ "text": "a" }));
    assert_eq!(
        (said.status, &said.headers["connection"]),
        (200, &HeaderValue::from_static("close"))
    );
    assert_eq!(stand.get("/health").status, 200);
    stand.app.end(true);
    assert_eq!(stand.post("/predict", json!({ "text": "a" })).code().0, 503);
}

#[test]
fn while_models_are_read_the_server_is_alive_and_not_ready() {
    let stand = stand(|_| ());
    let ask = |path: &str| {
        stand
            .runtime
            .block_on(said(loading_router(), request("GET", path, &[], "")))
    };
    assert_eq!(ask("/health").status, 200);
    for path in ["/ready", "/", "/models"] {
        let said = ask(path);
        assert_eq!(said.code(), (503, "loading".to_owned()));
        assert_eq!(said.headers["connection"], "close");
        assert_eq!(said.headers["retry-after"], "1");
    }
}

#[test]
fn pages_of_named_origins_may_read_answers_and_of_others_not() {
    let stand = stand(|settings| {
        settings.cors_origins = vec!["https://example.org".to_owned()];
        settings.token = Some(Token::new("t"));
    });
    let preflight = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type",
            ),
        ];
        stand.send(request("OPTIONS", "/predict", &headers, ""))
    };
    let allowed = preflight("https://example.org");
    assert_eq!(allowed.status, 200);
    assert_eq!(
        allowed.headers["access-control-allow-origin"],
        "https://example.org"
    );
    let other = preflight("https://example.com");
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    for origin in [
        "https://example.org",
        "http://localhost:3000",
        "http://[::1]:80",
    ] {
        assert!(check_origin(origin).is_ok(), "{origin}");
    }
    for origin in [
        "*",
        "null",
        "example.org",
        "https://",
        "https://a/b",
        "https://a\r\nb",
    ] {
        assert!(check_origin(origin).is_err(), "{origin}");
    }
}

#[test]
fn the_models_are_listed_with_what_they_are() {
    let stand = stand(|_| ());
    let listed = stand.get("/models").json();
    assert_eq!(listed["models"][1], stand.get("/models/b").json());
    assert_eq!(listed["models"][0]["default"], true);
    assert_eq!(listed["models"][1]["task"], "regression");
}
