//! What a server that is played is told, and what it is not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::track::sample::{begun, drawn, evaluated, finished, training};

#[test]
fn settings_become_parameters_by_their_paths() {
    let settings = json!({
        "epochs": 3, "loss": { "name": "focal", "gamma": 2.0 }, "freeze": {},
        "optimizer": { "groups": [{ "match": ["*.bias"] }] }, "long": "ä".repeat(600),
    });
    let mut parameters = Vec::new();
    flatten("", &settings, &mut parameters);
    let text = |parameter: &Value, name: &str| parameter[name].as_str().unwrap().to_owned();
    let mut told: Vec<(String, String)> = parameters
        .iter()
        .map(|parameter| (text(parameter, "key"), text(parameter, "value")))
        .collect();
    let (name, long) = told.pop().unwrap();
    assert_eq!(
        (name.as_str(), long.chars().count()),
        ("long", LONGEST_PARAMETER)
    );
    let wanted = [
        ("epochs", "3"),
        ("loss.name", "focal"),
        ("loss.gamma", "2.0"),
        ("optimizer.groups", "[{\"match\":[\"*.bias\"]}]"),
    ];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(told, wanted);
}

/// A server's runs: what was asked of it, and the requests that it does not answer as it should.
#[derive(Default)]
struct Played {
    asked: Vec<(String, Value)>,
    /// The runs: tags, parameters and status.
    runs: Vec<Value>,
    /// The end of a path → status, for so many requests to come.
    refuses: Vec<(&'static str, u16, usize)>,
}

impl Played {
    fn answer(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.asked.push((path.to_owned(), body.clone()));
        let refused = self
            .refuses
            .iter_mut()
            .find(|(end, _, left)| path.ends_with(end) && *left > 0);
        if let Some((_, status, left)) = refused {
            *left -= 1;
            return (*status, json!({ "error_code": "PLAYED", "message": "no" }));
        }
        let run = body["run_id"]
            .as_str()
            .and_then(|id| id.parse::<usize>().ok());
        let answer = match path.rsplit('/').next().unwrap_or_default() {
            "get-by-name" => json!({ "experiment": { "experiment_id": "1" } }),
            "search" => {
                let filter = body["filter"].as_str().unwrap();
                let fits = |run: &&Value| {
                    let all = run["data"]["tags"].as_array().unwrap();
                    let named = all
                        .iter()
                        .filter(|tag| [RUN, STORE].iter().any(|key| tag["key"] == *key));
                    let tagged = named.clone().all(|tag| {
                        let tag = format!(
                            "tags.`{}` = '{}'",
                            tag["key"].as_str().unwrap(),
                            tag["value"].as_str().unwrap()
                        );
                        filter.contains(&tag)
                    });
                    let over = run["info"]["status"] == FINISHED;
                    named.count() == 2 && tagged && !(over && filter.ends_with(UNFINISHED))
                };
                json!({ "runs": self.runs.iter().filter(fits).collect::<Vec<_>>() })
            }
            "create" => {
                let id = self.runs.len().to_string();
                let info = json!({ "run_id": id, "status": RUNNING, "artifact_uri": "mlflow-artifacts:/1" });
                let data = json!({ "tags": body["tags"], "params": [], "metrics": [] });
                self.runs.push(json!({ "info": info, "data": data }));
                json!({ "run": self.runs.last() })
            }
            "update" => {
                self.runs[run.unwrap()]["info"]["status"] = body["status"].clone();
                json!({})
            }
            "log-batch" => {
                for list in ["params", "metrics"] {
                    let told = body[list].as_array().cloned().unwrap_or_default();
                    let known = &mut self.runs[run.unwrap()]["data"][list];
                    known.as_array_mut().unwrap().extend(told);
                }
                json!({})
            }
            _ => json!({}),
        };
        (200, answer)
    }

    fn count(&self, run: usize, list: &str) -> usize {
        self.runs[run]["data"][list].as_array().unwrap().len()
    }

    fn status(&self, run: usize) -> &str {
        self.runs[run]["info"]["status"].as_str().unwrap()
    }
}

fn heard(stream: &TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split([' ', '?']).nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).unwrap_or_default()))
}

/// Answers in its own way, else as `Played` does.
fn serve(html: bool) -> (Mlflow, Arc<Mutex<Played>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let played: Arc<Mutex<Played>> = Arc::default();
    let shared = Arc::clone(&played);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Some((path, body)) = heard(&stream) else {
                continue;
            };
            let (status, answer) = shared.lock().unwrap().answer(&path, &body);
            let answer = match html {
                true => "<html>".to_owned(),
                false => answer.to_string(),
            };
            let length = answer.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
            );
        }
    });
    let settings = MlflowSettings {
        url,
        experiment: None,
        token: None,
    };
    (Mlflow::new(&settings, "p"), played)
}

fn take(mlflow: &mut Mlflow, entries: &[Entry]) -> Result<(), Trouble> {
    mlflow.take(&entries[0].training, entries, &|| true)
}

/// How many numbers are lost for good.
fn lost(answer: Result<(), Trouble>) -> usize {
    match answer {
        Err(Trouble::ForGood { lost, .. }) => lost,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_beginning_that_was_refused_is_tried_again_with_what_follows() {
    let (mut mlflow, played) = serve(false);
    let one = training("one");
    played.lock().unwrap().refuses = vec![("runs/create", 403, 2)];
    assert_eq!(lost(take(&mut mlflow, &[begun(&one), drawn(&one, 1)])), 2);
    assert_eq!(
        lost(take(&mut mlflow, &[drawn(&one, 2), drawn(&one, 3)])),
        4
    );
    take(&mut mlflow, &[drawn(&one, 4)]).unwrap();
    take(&mut mlflow, &[finished(&one)]).unwrap();
    let played = played.lock().unwrap();
    assert_eq!(played.runs.len(), 1);
    assert_eq!(played.count(0, "metrics"), 2);
    assert_eq!(played.status(0), FINISHED);
    // And where only the end finds a server, it is told of that.
    let (mut mlflow, refusing) = serve(false);
    refusing.lock().unwrap().refuses = vec![("runs/create", 403, 1)];
    assert_eq!(lost(take(&mut mlflow, &[begun(&one)])), 0);
    take(&mut mlflow, &[finished(&one)]).unwrap();
    assert_eq!(refusing.lock().unwrap().status(0), FINISHED);
}

#[test]
fn a_batch_that_is_refused_takes_neither_the_others_nor_the_end_with_it() {
    let (mut mlflow, played) = serve(false);
    let one = training("one");
    take(&mut mlflow, &[begun(&one)]).unwrap();
    let mut entries: Vec<Entry> = (1..=800).map(|step| drawn(&one, step)).collect();
    entries.push(finished(&one));
    played.lock().unwrap().refuses = vec![("runs/log-batch", 400, 1)];
    assert_eq!(lost(take(&mut mlflow, &entries)), METRICS);
    let played = played.lock().unwrap();
    assert_eq!(played.count(0, "metrics"), 1600 - METRICS);
    assert_eq!(played.status(0), FINISHED);
}

#[test]
fn what_did_not_arrive_for_now_arrives_once_with_the_next_attempt() {
    let (mut mlflow, played) = serve(false);
    let one = training("one");
    take(&mut mlflow, &[begun(&one)]).unwrap();
    let entries: Vec<Entry> = (1..=800).map(|step| drawn(&one, step)).collect();
    let all = entries.iter().map(Entry::weight).sum::<usize>();
    // The first part arrives, the second does not.
    let mut asked = 0;
    let goes_on = std::cell::Cell::new(0);
    let answer = mlflow.take(&one, &entries, &|| {
        goes_on.set(goes_on.get() + 1);
        goes_on.get() < 2
    });
    assert!(matches!(answer, Err(Trouble::ForNow(_))), "{answer:?}");
    asked += played.lock().unwrap().count(0, "metrics");
    assert_eq!(asked, METRICS, "nothing is sent once nobody waits for it");
    take(&mut mlflow, &entries).unwrap();
    assert_eq!(played.lock().unwrap().count(0, "metrics"), all);
}

#[test]
fn a_run_that_was_made_for_scores_is_finished_whichever_attempt_succeeds() {
    for refuses in ["runs/log-batch", "runs/update", "spec.toml"] {
        let (mut mlflow, played) = serve(false);
        let one = training("one");
        played.lock().unwrap().refuses = vec![(refuses, 503, 1)];
        let answer = take(&mut mlflow, &[evaluated(&one)]);
        assert!(matches!(answer, Err(Trouble::ForNow(_))), "{answer:?}");
        take(&mut mlflow, &[evaluated(&one)]).unwrap();
        let played = played.lock().unwrap();
        assert_eq!(played.runs.len(), 1);
        assert_eq!(played.status(0), FINISHED, "{refuses}");
        assert_eq!(played.count(0, "params"), 1, "{refuses}");
    }
    // Nor does the run of an attempt in another process stay as it was.
    let (mut mlflow, played) = serve(false);
    let one = training("one");
    played.lock().unwrap().refuses = vec![("spec.toml", 503, 1)];
    take(&mut mlflow, &[evaluated(&one)]).unwrap_err();
    mlflow.runs.clear();
    take(&mut mlflow, &[evaluated(&one)]).unwrap();
    let played = played.lock().unwrap();
    assert_eq!((played.runs.len(), played.status(0)), (1, FINISHED));
    assert_eq!(played.count(0, "params"), 1, "it is described all the same");
}

#[test]
fn two_stores_share_no_run() {
    let (mut mlflow, played) = serve(false);
    let one = training("one");
    let mut other = Arc::into_inner(training("one")).unwrap();
    other.store = "there".to_owned();
    let other = Arc::new(other);
    take(&mut mlflow, &[begun(&one)]).unwrap();
    mlflow.runs.clear();
    take(&mut mlflow, &[begun(&other)]).unwrap();
    assert_eq!(played.lock().unwrap().runs.len(), 2);
    mlflow.runs.clear();
    take(&mut mlflow, &[begun(&one)]).unwrap();
    assert_eq!(played.lock().unwrap().runs.len(), 2, "its own is found");
}

#[test]
fn whatever_answers_without_an_id_is_no_mlflow_server() {
    let (mut mlflow, _played) = serve(true);
    let one = training("one");
    let answer = take(&mut mlflow, &[begun(&one), drawn(&one, 1)]);
    let Err(Trouble::ForGood { reason, lost }) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((reason.as_str(), lost), ("this is no MLflow server", 2));
}

#[test]
fn a_server_is_well_where_it_answers_another_question() {
    let (mut mlflow, played) = serve(false);
    let one = training("one");
    take(&mut mlflow, &[begun(&one)]).unwrap();
    played.lock().unwrap().refuses = vec![("runs/log-batch", 500, 1)];
    take(&mut mlflow, &[drawn(&one, 1)]).unwrap_err();
    assert!(mlflow.is_well());
    // It asked for patience.
    played.lock().unwrap().refuses = vec![("runs/log-batch", 429, 1)];
    take(&mut mlflow, &[drawn(&one, 1)]).unwrap_err();
    assert!(!mlflow.is_well());
    // It answers nothing.
    played.lock().unwrap().refuses = vec![("", 500, 9)];
    take(&mut mlflow, &[drawn(&one, 1)]).unwrap_err();
    assert!(!mlflow.is_well());
}
