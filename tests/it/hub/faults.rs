//! What goes wrong between here and the hub, one by one: whether it is tried again, what is said, and what is kept.

use std::time::Instant;

use miette::Diagnostic;
use refit::hub::{Environment, HubError, Remote, fetch};

use super::server::{Fault, Hub};
use super::{Heard, Machine, WEIGHTS, cut, dataset, encoder, hub};

fn help(error: &HubError) -> String {
    error
        .help()
        .map(|help| help.to_string())
        .unwrap_or_default()
}

#[test]
fn every_question_waits_as_long_as_the_hub_asks_for() {
    let hub = hub();
    let busy = || Fault::Status(429, vec![("retry-after", "2")]);
    // The info of a revision, and the digest of a large file: the two that are asked apart from the bytes.
    hub.fail("/revision/main", [busy()]);
    hub.fail("/model.safetensors", [busy()]);
    let machine = Machine::of(&hub);
    let heard = Heard::default();
    let began = Instant::now();
    let remotes = [encoder("owner/tiny")];
    fetch(
        &machine.environment,
        &remotes,
        &machine.places,
        false,
        &heard,
    )
    .unwrap();
    assert!(began.elapsed().as_secs_f64() >= 4.0);
    let said = heard.said.lock().unwrap().join("\n");
    assert_eq!(said.matches("trying again in 2 s").count(), 2, "{said}");
}

#[test]
fn a_server_that_fails_twice_is_asked_a_third_time_wherever_it_fails() {
    for place in ["/revision/main", "/tree/", "/model.safetensors"] {
        let hub = hub();
        let place = match place {
            "/tree/" => format!("/tree/{}", hub.commit("models/owner/tiny", &tiny())),
            other => other.to_owned(),
        };
        hub.fail(
            &place,
            [503, 500].map(|status| Fault::Status(status, vec![])),
        );
        let machine = Machine::of(&hub);
        assert_eq!(machine.fetch(&encoder("owner/tiny")).len(), 2, "{place}");
        assert!(hub.asked(&place) >= 3, "{place}");
    }
}

fn tiny() -> [(&'static str, &'static [u8]); 2] {
    [("config.json", b"{}"), ("model.safetensors", WEIGHTS)]
}

#[test]
fn a_refusal_is_final_and_says_what_the_hub_says() {
    let message = "Access to model owner/tiny is restricted. You must have access to it and be authenticated.";
    for (place, status, code) in [
        ("/revision/main", 401, "GatedRepo"),
        ("/revision/main", 403, "GatedRepo"),
        ("/model.safetensors", 401, "GatedRepo"),
        ("/model.safetensors", 403, "GatedRepo"),
        ("/config.json", 401, "GatedRepo"),
    ] {
        let hub = hub();
        let told = vec![("x-error-code", code), ("x-error-message", message)];
        hub.fail(place, [Fault::Status(status, told)]);
        let error = Machine::of(&hub).refused(&encoder("owner/tiny"));
        let context = format!("{place} {status}: {error}");
        assert!(matches!(error, HubError::Forbidden { .. }), "{context}");
        assert!(error.to_string().contains(message), "{context}");
        assert!(help(&error).contains("conditions"), "{context}");
        assert_eq!(hub.asked(place), 1, "{context}");
    }
}

#[test]
fn a_token_that_is_not_taken_is_named_as_the_cause() {
    let hub = hub();
    let mut machine = Machine::of(&hub);
    hub.fail("/revision/main", vec![Fault::Status(401, vec![]); 2]);
    let error = machine.refused(&encoder("owner/tiny"));
    assert!(error.to_string().contains("without a token"), "{error}");
    assert!(help(&error).contains("HF_TOKEN"), "{}", help(&error));
    machine.environment.token = Some("hf_old".to_owned());
    let error = machine.refused(&encoder("owner/tiny"));
    assert!(error.to_string().contains("with this token"), "{error}");
    assert!(!error.to_string().contains("hf_old"), "{error}");
}

#[test]
fn a_page_in_the_place_of_a_file_is_told_by_its_size_and_spoils_nothing() {
    let hub = hub();
    let machine = Machine::of(&hub);
    cut(&hub, &[30_000]);
    hub.fail_cdn("model.safetensors", [Fault::Page]);
    let error = machine.refused(&encoder("owner/tiny"));
    assert!(matches!(error, HubError::OtherContent { .. }), "{error}");
    assert!(error.to_string().contains("20 bytes"), "{error}");
    assert_eq!(machine.incomplete().len(), 1);
    machine.fetch(&encoder("owner/tiny"));
    assert_eq!(hub.state().sent, WEIGHTS.len() + b"{}".len());
}

#[test]
fn a_server_that_is_no_hub_is_said_to_be_none() {
    let hub = hub();
    hub.fail("/revision/main", [Fault::Page]);
    let error = Machine::of(&hub).refused(&encoder("owner/tiny"));
    assert!(matches!(error, HubError::Refused { .. }), "{error}");
    assert!(help(&error).contains("HF_ENDPOINT"), "{}", help(&error));
}

#[test]
fn a_name_that_no_server_has_and_a_closed_port_are_told_apart() {
    let hub = hub();
    let refused = |endpoint: &str| {
        let machine = Machine::of(&hub);
        let environment = Environment {
            endpoint: endpoint.to_owned(),
            ..machine.environment.clone()
        };
        let machine = Machine {
            environment,
            ..machine
        };
        machine.refused(&encoder("owner/tiny")).to_string()
    };
    let closed = refused("http://127.0.0.1:9");
    assert!(closed.contains("refused"), "{closed}");
    let unknown = refused("http://hub.invalid");
    assert!(
        unknown.contains("hub.invalid") && !unknown.contains("refused"),
        "{unknown}"
    );
    let nonsense = refused("not an address");
    assert!(nonsense.contains("not an address"), "{nonsense}");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let hub = hub();
    hub.commit("models/owner/empty", &[("README.md", b"")]);
    let machine = Machine::of(&hub);
    let remotes = [
        encoder("owner/unknown"),
        encoder("owner/tiny"),
        encoder("owner/empty"),
    ];
    let heard = Heard::default();
    let errors = fetch(
        &machine.environment,
        &remotes,
        &machine.places,
        false,
        &heard,
    )
    .unwrap_err();
    let about: Vec<&Remote> = errors.iter().map(|(remote, _)| remote).collect();
    assert_eq!(about, [&remotes[0], &remotes[2]]);
    // What could be had is not asked for again.
    assert!(machine.find(&remotes[1]).is_some());
}

#[test]
fn a_listing_that_leads_outside_is_refused_by_name() {
    for path in [
        "../../../escaped/train.csv",
        "/escaped/train.csv",
        "a/../../train.csv",
    ] {
        let hub = Hub::start();
        hub.commit("datasets/owner/evil", &[(path, b"text,label\n")]);
        let error = Machine::of(&hub).refused(&dataset("owner/evil", None));
        assert!(error.to_string().contains("leads out"), "{error}");
    }
    // A name that only some systems can hold is no attack, and no file of a model.
    let hub = Hub::start();
    let mut files = tiny().to_vec();
    files.push(("notes\\2:1.txt", b"x"));
    hub.commit("models/owner/odd", &files);
    assert_eq!(Machine::of(&hub).fetch(&encoder("owner/odd")).len(), 2);
}

#[test]
fn half_of_a_file_behind_an_address_is_gone_on_with_while_it_is_the_same_file() {
    let long = vec![b'x'; 90_000];
    let hub = Hub::start();
    hub.commit("datasets/owner/news", &[("dev.csv", &long)]);
    let url = Remote::Url(format!(
        "{}/datasets/owner/news/resolve/main/dev.csv",
        hub.endpoint
    ));
    let stopped = |machine: &Machine| {
        hub.fail("/dev.csv", [Fault::CutAfter(40_000)]);
        let heard = Heard {
            stop_after: 40_000,
            ..Heard::default()
        };
        let remotes = [url.clone()];
        let stopped = fetch(
            &machine.environment,
            &remotes,
            &machine.places,
            false,
            &heard,
        );
        assert!(matches!(stopped.unwrap_err()[0].1, HubError::Interrupted));
    };
    let machine = Machine::of(&hub);
    stopped(&machine);
    let files = machine.fetch(&url);
    assert_eq!(std::fs::read(&files["dev.csv"]).unwrap(), long);
    assert_eq!(hub.state().sent, long.len(), "a byte was sent twice");

    let other = Machine::of(&hub);
    stopped(&other);
    let changed = vec![b'y'; 80_000];
    hub.commit("datasets/owner/news", &[("dev.csv", &changed)]);
    let files = other.fetch(&url);
    assert_eq!(std::fs::read(&files["dev.csv"]).unwrap(), changed);
    assert!(other.incomplete().is_empty());
}

#[test]
fn half_of_a_data_set_in_the_cache_is_no_data_set() {
    let hub = Hub::start();
    let files: [(&str, &[u8]); 2] = [
        ("data/train-00000-of-00002.parquet", b"one"),
        ("data/train-00001-of-00002.parquet", b"two"),
    ];
    hub.commit("datasets/owner/news", &files);
    let mut machine = Machine::of(&hub);
    // One of its files, as another program may leave it.
    machine.fetch(&Remote::File {
        repository: refit::hub::Repository::parse(
            refit::hub::RepositoryKind::Dataset,
            "owner/news",
        )
        .unwrap(),
        path: files[0].0.to_owned(),
    });
    machine.environment.offline = true;
    let error = machine.refused(&dataset("owner/news", None));
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
}

#[test]
fn an_update_is_not_answered_with_what_is_old() {
    let hub = hub();
    let mut machine = Machine::of(&hub);
    let remote = encoder("owner/tiny");
    machine.fetch(&remote);
    machine.environment.endpoint = "http://127.0.0.1:9".to_owned();
    assert!(machine.try_fetch(&remote, false).is_ok());
    let error = machine.try_fetch(&remote, true).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
}
