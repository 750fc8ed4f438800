//! Uploads: what is sent, and how large files reach the hub's chunk store.

use std::path::Path;

use refit::hub::{HubError, push};

use super::server::{Hub, sha256};
use super::{Heard, Machine, WEIGHTS, encoder, model};

fn upload(machine: &Machine, folder: &Path, heard: &Heard) -> Result<Option<String>, HubError> {
    let repository = model("me/mine");
    push(
        &machine.environment,
        &repository,
        folder,
        "a model",
        true,
        heard,
    )
}

fn bundle(machine: &Machine) -> std::path::PathBuf {
    let bundle = machine.folder.path().join("bundle");
    std::fs::create_dir_all(bundle.join("onnx")).unwrap();
    std::fs::write(bundle.join("config.json"), "{}").unwrap();
    std::fs::write(bundle.join("model.safetensors"), WEIGHTS).unwrap();
    std::fs::write(bundle.join("onnx/note.txt"), "deep").unwrap();
    bundle
}

#[test]
fn weights_that_changed_and_kept_their_size_are_sent_and_nothing_else_is() {
    let hub = Hub::start();
    hub.state().token = Some("hf_write".to_owned());
    let mut machine = Machine::of(&hub);
    machine.environment.token = Some("hf_write".to_owned());
    let folder = bundle(&machine);
    upload(&machine, &folder, &Heard::default()).unwrap();
    let trained = vec![8; WEIGHTS.len()];
    std::fs::write(folder.join("model.safetensors"), &trained).unwrap();
    let commits = hub.asked("/commit/main");
    let commit = upload(&machine, &folder, &Heard::default()).unwrap();
    assert!(commit.is_some());
    assert_eq!(hub.asked("/commit/main"), commits + 1);
    assert_eq!(hub.asked("/repos/create"), 1);
    let files = machine.fetch(&encoder("me/mine"));
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), trained);
    assert_eq!(upload(&machine, &folder, &Heard::default()).unwrap(), None);
}

#[test]
fn large_files_go_to_the_chunk_store_and_their_bytes_are_told_of() {
    let hub = Hub::start();
    let mut machine = Machine::of(&hub);
    machine.environment.token = Some("hf_write".to_owned());
    let folder = bundle(&machine);
    let store = machine.folder.path().join("store");
    std::fs::create_dir(&store).unwrap();
    hub.state().store = Some(store.clone());
    hub.state().stored.insert(sha256(WEIGHTS), WEIGHTS.to_vec());
    let heard = Heard::default();
    let commit = upload(&machine, &folder, &heard).unwrap();
    assert!(commit.unwrap().contains("/commit/"));
    let pattern = store.join("**/*");
    let kept = glob::glob(pattern.to_str().unwrap()).unwrap();
    let bytes: u64 = kept
        .map(|path| path.unwrap().metadata().unwrap())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    assert!(bytes > 0, "nothing reached the store");
    let files = machine.fetch(&encoder("me/mine"));
    assert_eq!(std::fs::read(&files["model.safetensors"]).unwrap(), WEIGHTS);
    assert_eq!(upload(&machine, &folder, &Heard::default()).unwrap(), None);
}

#[test]
fn a_token_that_may_only_read_and_a_missing_one_are_told_apart() {
    use super::server::Fault;
    use miette::Diagnostic;
    let hub = Hub::start();
    let mut machine = Machine::of(&hub);
    let folder = bundle(&machine);
    let error = upload(&machine, &folder, &Heard::default()).unwrap_err();
    assert!(matches!(error, HubError::Unauthorised { .. }), "{error}");
    machine.environment.token = Some("hf_read".to_owned());
    let told = vec![("x-error-message", "You need the right to write")];
    hub.fail("/repos/create", [Fault::Status(403, told)]);
    let error = upload(&machine, &folder, &Heard::default()).unwrap_err();
    assert!(matches!(error, HubError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("right to write"), "{error}");
    let help = error.help().unwrap().to_string();
    assert!(help.contains("HF_TOKEN"), "{help}");
    machine.environment.offline = true;
    let error = upload(&machine, &folder, &Heard::default()).unwrap_err();
    assert!(matches!(error, HubError::OfflineUpload { .. }), "{error}");
}
