//! A server on this machine that translates by brackets, with faults on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};

use super::*;

const KEY: &str = "secret \"key\"";

/// What goes wrong with a request.
#[derive(Clone)]
enum Fault {
    Status(u16, Vec<(&'static str, String)>, String),
    /// Answers with this instead.
    Says(String),
    /// Sends a part of the answer and breaks off.
    Cut,
    /// Never answers.
    Silence,
}

struct Server {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// One for each request, first come first served; none: it is answered.
    faults: VecDeque<Option<Fault>>,
    requests: Vec<Value>,
}

impl Server {
    fn start(faults: impl IntoIterator<Item = Option<Fault>>) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            faults: faults.into_iter().collect(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                    let state = Arc::clone(&shared);
                    async move {
                        assert_eq!((method, uri.path()), (Method::POST, "/translate"));
                        assert_eq!(headers["content-type"], "application/json");
                        answer(&state, &body).await
                    }
                };
                let routes = axum::Router::new().fallback(answer);
                axum::serve(listener, routes).await.unwrap();
            });
        });
        Server { url, state }
    }

    fn settings(&self) -> Http {
        Http {
            url: format!("{}/", self.url),
            source: "en".to_owned(),
            pivot: "de".to_owned(),
            key: Some(KEY.to_owned()),
            batch: 2,
            timeout: Duration::from_secs(60),
            retries: 0,
        }
    }

    fn requests(&self) -> Vec<Value> {
        self.state.lock().unwrap().requests.clone()
    }
}

async fn answer(state: &Mutex<State>, body: &[u8]) -> Response<Body> {
    let request: Value = serde_json::from_slice(body).unwrap();
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        state.faults.pop_front().flatten()
    };
    let target = request["target"].as_str().unwrap();
    let texts = request["q"].as_array().unwrap().iter();
    let texts: Vec<_> = texts
        .map(|text| format!("{target}({})", text.as_str().unwrap()))
        .collect();
    let translated = json!({ "translatedText": texts }).to_string();
    match fault {
        None => Response::new(Body::from(translated)),
        Some(Fault::Says(text)) => Response::new(Body::from(text)),
        Some(Fault::Status(status, headers, text)) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(text)).unwrap()
        }
        Some(Fault::Cut) => {
            let part = Bytes::copy_from_slice(&translated.as_bytes()[..translated.len() / 2]);
            let parts = [Ok(part), Err(std::io::Error::other("cut"))];
            Response::new(Body::from_stream(futures_util::stream::iter(parts)))
        }
        Some(Fault::Silence) => std::future::pending().await,
    }
}

fn status(status: u16, text: &str) -> Option<Fault> {
    Some(Fault::Status(status, Vec::new(), text.to_owned()))
}

fn ask(desk: &Desk, settings: Http, texts: &[&str]) -> Result<Vec<String>, TranslateError> {
    let service = Service::Http(settings);
    let mut go_on = |_| ControlFlow::Continue(());
    let answers = rewrite(&service, &desk.kept(), &first_copies(texts), &mut go_on);
    if let Err(error) = &answers {
        let shown = format!("{error:?} {}", told(error));
        assert!(!shown.contains("secret"), "{shown}");
    }
    answers
}

#[test]
fn texts_go_there_and_back() {
    let (desk, server) = (Desk::new(""), Server::start([]));
    let texts = ["one", " ", "zwei\n\"ä\"", "three"];
    let answers = ask(&desk, server.settings(), &texts).unwrap();
    assert_eq!(
        answers,
        ["en(de(one))", " ", "en(de(zwei\n\"ä\"))", "en(de(three))"]
    );
    let expected = json!([
        { "q": ["one", "zwei\n\"ä\""], "source": "en", "target": "de", "format": "text", "api_key": KEY },
        { "q": ["de(one)", "de(zwei\n\"ä\")"], "source": "de", "target": "en", "format": "text", "api_key": KEY },
        { "q": ["three"], "source": "en", "target": "de", "format": "text", "api_key": KEY },
        { "q": ["de(three)"], "source": "de", "target": "en", "format": "text", "api_key": KEY },
    ]);
    assert_eq!(Value::Array(server.requests()), expected);
    ask(&desk, server.settings(), &texts).unwrap();
    assert_eq!(server.requests().len(), 4, "a rerun asks for nothing");
}

#[test]
fn without_a_key_none_is_sent() {
    let (desk, server) = (Desk::new(""), Server::start([]));
    let settings = Http {
        key: None,
        ..server.settings()
    };
    ask(&desk, settings, &["one"]).unwrap();
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.get("api_key").is_none())
    );
}

#[test]
fn all_copies_of_a_text_are_one_question_to_a_server() {
    let (desk, server) = (Desk::new(""), Server::start([]));
    let asked = [1, 2, 3].map(|copy| Asked { text: "one", copy });
    let service = Service::Http(server.settings());
    let answers = rewrite(&service, &desk.kept(), &asked, &mut |_| {
        ControlFlow::Continue(())
    });
    assert_eq!(answers.unwrap(), ["en(de(one))"; 3]);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn what_the_way_there_empties_is_not_sent_back() {
    let there = json!({ "translatedText": ["", "zwei"] }).to_string();
    let (desk, server) = (Desk::new(""), Server::start([Some(Fault::Says(there))]));
    let answers = ask(&desk, server.settings(), &["one", "two"]).unwrap();
    assert_eq!(answers, ["", "en(zwei)"]);
    let there = json!({ "translatedText": [" "] }).to_string();
    let server = Server::start([Some(Fault::Says(there))]);
    assert_eq!(ask(&desk, server.settings(), &["three"]).unwrap(), [" "]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_busy_server_and_a_broken_line_are_met_with_patience() {
    let at_once = vec![("retry-after", "0".to_owned())];
    let faults = [
        Some(Fault::Status(429, at_once.clone(), "slow down".to_owned())),
        Some(Fault::Cut),
        None,
        Some(Fault::Status(503, at_once, String::new())),
        status(500, "oh"),
    ];
    let (desk, server) = (Desk::new(""), Server::start(faults));
    let settings = Http {
        retries: 2,
        ..server.settings()
    };
    assert_eq!(ask(&desk, settings, &["one"]).unwrap(), ["en(de(one))"]);
    let requests = server.requests();
    let ways: Vec<_> = requests
        .iter()
        .map(|request| request["target"].as_str().unwrap())
        .collect();
    assert_eq!(ways, ["de", "de", "de", "en", "en", "en"]);
}

#[test]
fn patience_ends_with_what_the_server_said() {
    let faults = [
        None,
        None,
        status(503, "{\"error\":\"loading\"}"),
        status(502, "bad gateway"),
    ];
    let (desk, server) = (Desk::new(""), Server::start(faults));
    let settings = Http {
        retries: 1,
        ..server.settings()
    };
    let error = ask(&desk, settings, &["one", "two", "three"]).unwrap_err();
    assert!(
        matches!(
            error,
            TranslateError::Unreachable {
                attempts: 2,
                done: 2,
                total: 3,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("502 Bad Gateway: bad gateway"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 4);
    ask(&desk, server.settings(), &["one", "two", "three"]).unwrap();
    assert_eq!(
        server.requests()[4]["q"],
        json!(["three"]),
        "the others are kept"
    );
}

#[test]
fn a_refusal_is_final_and_in_the_servers_words() {
    let said = json!({ "error": format!("no such key: {KEY}") }).to_string();
    let (desk, server) = (Desk::new(""), Server::start([status(403, &said)]));
    let settings = Http {
        retries: 5,
        ..server.settings()
    };
    let error = ask(&desk, settings, &["one"]).unwrap_err().to_string();
    assert!(
        error.contains("403 Forbidden: no such key: [key]"),
        "{error}"
    );
    assert!(
        error.contains(&format!("{}/translate", server.url)),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_refusal_that_is_no_json_is_shown_in_part() {
    // The key as it was sent, with its quotes escaped.
    let said = format!("<html>{} {}", json!(KEY), "x".repeat(5000));
    let (desk, server) = (Desk::new(""), Server::start([status(400, &said)]));
    let error = ask(&desk, server.settings(), &["one"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("400 Bad Request: <html>\"[key]\" xxx"),
        "{error}"
    );
    assert!(error.len() < 1000, "{error}");
}

#[test]
fn an_answer_of_something_else_is_final() {
    let cases = [
        ("<html>Welcome</html>", "it is not JSON"),
        ("", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ("{\"text\":[]}", "it has no translatedText"),
        (
            "{\"translatedText\":\"eins\"}",
            "translatedText is not a list",
        ),
        ("{\"translatedText\":[\"eins\"]}", "it has 1 texts for 2"),
        (
            "{\"translatedText\":[\"a\",\"b\",\"c\"]}",
            "it has 3 texts for 2",
        ),
        (
            "{\"translatedText\":[\"a\",null]}",
            "a text in it is not a string",
        ),
        ("secret \"key\"", "it is not JSON: \"[key]\""),
    ];
    for (body, reason) in cases {
        let (desk, server) = (
            Desk::new(""),
            Server::start([Some(Fault::Says(body.to_owned()))]),
        );
        let settings = Http {
            retries: 3,
            ..server.settings()
        };
        let error = ask(&desk, settings, &["one", "two"]).unwrap_err();
        assert!(
            matches!(
                error,
                TranslateError::Answer {
                    done: 0,
                    total: 2,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(server.requests().len(), 1);
        assert!(desk.kept().is_empty());
    }
}

#[test]
fn no_redirect_is_followed() {
    let other = Server::start([]);
    let to = vec![("location", format!("{}/translate", other.url))];
    let (desk, server) = (
        Desk::new(""),
        Server::start([Some(Fault::Status(307, to, String::new()))]),
    );
    let error = ask(&desk, server.settings(), &["one"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("it redirects to {}", other.url)),
        "{error}"
    );
    assert!(other.requests().is_empty());
}

#[test]
fn silence_is_not_waited_out() {
    let (desk, server) = (
        Desk::new(""),
        Server::start([Some(Fault::Silence), Some(Fault::Silence)]),
    );
    let settings = Http {
        timeout: Duration::from_millis(300),
        retries: 1,
        ..server.settings()
    };
    let error = ask(&desk, settings, &["one"]).unwrap_err().to_string();
    assert!(
        error.contains("it did not answer within 0.3 s (2 attempts"),
        "{error}"
    );
}

#[test]
fn an_interruption_is_heard_while_a_server_is_silent_or_waited_for() {
    let later = vec![("retry-after", "250".to_owned())];
    for fault in [Fault::Silence, Fault::Status(429, later, String::new())] {
        let (desk, server) = (Desk::new(""), Server::start([None, None, Some(fault)]));
        let service = Service::Http(Http {
            retries: 1,
            ..server.settings()
        });
        let asked = first_copies(&["one", "two", "three"]);
        let stopped = rewrite(
            &service,
            &desk.kept(),
            &asked,
            &mut |_| match server.requests().len() {
                3 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            },
        );
        assert!(matches!(stopped, Err(TranslateError::Interrupted)));
        assert_eq!(desk.kept().len(), 2);
    }
}

#[test]
fn nobody_at_home_is_said() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let desk = Desk::new("");
    let settings = Http {
        url,
        ..Server::start([]).settings()
    };
    let error = ask(&desk, settings, &["one"]).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn an_address_that_cannot_be_asked_is_said() {
    for url in [
        "",
        "localhost:5000",
        "ftp://host",
        "mailto:x",
        "http://user:secret@:99999/",
    ] {
        let desk = Desk::new("");
        let settings = Http {
            url: url.to_owned(),
            ..Server::start([]).settings()
        };
        let error = ask(&desk, settings, &["one"]).unwrap_err();
        assert!(matches!(error, TranslateError::Address { .. }), "{error:?}");
    }
}

#[test]
fn an_address_is_shown_without_what_may_be_secret() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let desk = Desk::new("");
    let settings = Http {
        url: format!("http://user:secret@{place}/api?token=secret"),
        ..Server::start([]).settings()
    };
    let error = ask(&desk, settings.clone(), &["one"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("http://{place}/api/translate cannot")),
        "{error}"
    );
    assert!(!format!("{:?}", Server::start([]).settings()).contains("secret"));
}

#[test]
fn two_at_once_ask_a_server_for_nothing_twice() {
    let (desk, server) = (Desk::new(""), Server::start([]));
    let texts: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    let asked: Vec<&str> = texts.iter().map(String::as_str).collect();
    std::thread::scope(|scope| {
        let on = || ask(&desk, server.settings(), &asked).unwrap();
        let threads = [scope.spawn(on), scope.spawn(on)];
        let answers = threads.map(|thread| thread.join().unwrap());
        assert_eq!(answers[0], answers[1]);
    });
    let there = server
        .requests()
        .into_iter()
        .filter(|request| request["target"] == "de");
    let mut there: Vec<_> = there
        .flat_map(|request| request["q"].as_array().unwrap().clone())
        .collect();
    there.sort_by_key(Value::to_string);
    assert_eq!(there, texts);
}
