//! What is kept, and what of it is believed.

use super::super::kept::Key;
use super::*;

fn file_of(desk: &Desk) -> PathBuf {
    let folder = fs::read_dir(desk.folder.path().join("kept")).unwrap();
    let mut files = folder.map(|entry| entry.unwrap().path());
    files
        .find(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .unwrap()
}

fn append(desk: &Desk, text: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(file_of(desk))
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn line(text: &str, result: &str) -> String {
    let digest = blake3::hash(text.as_bytes()).to_hex();
    format!(
        "{}\n",
        serde_json::json!({ "text": digest.as_str(), "copy": 1, "result": result })
    )
}

#[test]
fn half_a_line_costs_no_other_result() {
    let desk = Desk::new(ECHO);
    desk.ask(desk.command(), &["a", "b"]).unwrap();
    let whole = fs::read_to_string(file_of(&desk)).unwrap();
    fs::write(file_of(&desk), &whole[..whole.len() - 5]).unwrap();
    assert_eq!(desk.kept().len(), 1);
    assert_eq!(desk.ask(desk.command(), &["a", "b"]).unwrap(), ["~a", "~b"]);
    assert_eq!(desk.asked(), ["a", "b", "b"]);
    assert_eq!(desk.kept().len(), 2, "what follows half a line is read");
}

#[test]
fn lines_that_are_no_results_are_passed_over() {
    let desk = Desk::new(ECHO);
    desk.ask(desk.command(), &["a"]).unwrap();
    append(
        &desk,
        "\n{}\nnull\n\u{1}\u{2}\n{\"text\":\"abc\",\"copy\":1,\"result\":\"x\"}\n",
    );
    append(&desk, &line("b", "kept \"b\"\n"));
    append(&desk, &line("c", "x").replace("\"copy\":1", "\"copy\":-1"));
    let answers = desk.ask(desk.command(), &["a", "b", "c"]).unwrap();
    assert_eq!(answers, ["~a", "kept \"b\"\n", "~c"]);
    assert_eq!(desk.asked(), ["a", "c"]);
}

#[test]
fn of_two_results_the_first_counts() {
    let desk = Desk::new(ECHO);
    desk.ask(desk.command(), &["a"]).unwrap();
    append(&desk, &line("a", "other"));
    assert_eq!(desk.ask(desk.command(), &["a"]).unwrap(), ["~a"]);
}

#[test]
fn what_another_process_wrote_is_known_at_once() {
    let desk = Desk::new(ECHO);
    let (ours, theirs) = (desk.kept(), desk.kept());
    let claim = theirs.claim(&mut || Ok(())).unwrap();
    claim
        .append([(&Key::of("a", 1), "theirs")].into_iter())
        .unwrap();
    drop(claim);
    let service = Service::Command(desk.command());
    let asked = first_copies(&["a", "b"]);
    let answers = rewrite(&service, &ours, &asked, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(answers, ["theirs", "~b"]);
    assert_eq!(desk.asked(), ["b"]);
}

#[test]
fn a_file_begun_anew_is_read_anew() {
    let desk = Desk::new(ECHO);
    desk.ask(desk.command(), &["a", "b"]).unwrap();
    let kept = desk.kept();
    fs::write(file_of(&desk), line("c", "new")).unwrap();
    kept.refresh().unwrap();
    assert_eq!(kept.get(&Key::of("c", 1)).as_deref(), Some("new"));
}

#[test]
fn another_identity_knows_nothing() {
    let desk = Desk::new(ECHO);
    desk.ask(desk.command(), &["a"]).unwrap();
    assert!(!desk.kept().is_empty());
    let folder = desk.folder.path().join("kept");
    assert!(Kept::open(&folder, "another").unwrap().is_empty());
}

#[test]
fn an_identity_is_what_answers_depend_on() {
    let desk = Desk::new(ECHO);
    let command = desk.command();
    let identity = Service::Command(command.clone()).identity("1");
    let moved = Command {
        folder: "elsewhere".into(),
        batch: 9,
        restarts: 9,
        timeout: Duration::ZERO,
        ..command.clone()
    };
    assert_eq!(Service::Command(moved).identity("1"), identity);
    let other = Command {
        program: vec!["sh program.sh".to_owned()],
        ..command.clone()
    };
    assert_ne!(Service::Command(other).identity("1"), identity);
    assert_ne!(Service::Command(command).identity("2"), identity);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let desk = Desk::new(ECHO);
    let file = desk.folder.path().join("program.sh");
    let error = Kept::open(&file.join("kept"), "a service").unwrap_err();
    assert!(told(&error).contains("program.sh"), "{error:?}");
}

#[test]
fn a_killed_process_loses_no_batch_and_leaves_no_program() {
    const FOLDER: &str = "REFIT_TEST_TRANSLATE_IN";
    const TEXTS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = PathBuf::from(folder);
        let kept = Kept::open(&folder.join("kept"), "a service").unwrap();
        let service = Service::Command(Command {
            folder,
            ..Desk::new("").command()
        });
        let _ = rewrite(&service, &kept, &first_copies(&TEXTS), &mut |_| {
            ControlFlow::Continue(())
        });
        return;
    }
    // It answers the ninth only after a tenth.
    let desk = Desk::new(
        r#"n=0; while take; do
            n=$((n+1)); [ $n = 9 ] && take
            give "$id" "$text"
        done"#,
    );
    let (_, module) = module_path!().split_once("::").unwrap();
    let name = format!("{module}::a_killed_process_loses_no_batch_and_leaves_no_program");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name])
        .env(FOLDER, desk.folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while desk.lines_of("asked").len() < 9 {
        assert!(Instant::now() < until, "it asks nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    desk.assert_nothing_runs();
    fs::remove_file(desk.folder.path().join("asked")).unwrap();
    desk.rewrite_program(ECHO);
    let answers = desk.ask(desk.command(), &TEXTS).unwrap();
    assert_eq!(answers, TEXTS.map(|text| format!("~{text}")));
    assert_eq!(desk.asked(), ["i"]);
}
