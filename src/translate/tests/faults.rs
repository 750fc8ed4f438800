//! Programs that fail, each in its own way.

use super::*;

#[test]
fn a_program_that_dies_at_once_is_started_as_often_as_allowed() {
    let desk = Desk::new("echo the model is missing >&2; exit 3");
    let command = Command {
        restarts: 2,
        ..desk.command()
    };
    let error = desk.ask(command, &["first text", "b"]).unwrap_err();
    let TranslateError::Program {
        fault,
        attempts,
        done,
        total,
        text,
        stderr,
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    let Fault::Ended { status } = **fault else {
        panic!("{fault:?}");
    };
    assert_eq!(status.and_then(|status| status.code()), Some(3));
    assert_eq!((*attempts, *done, *total), (3, 0, 2));
    assert_eq!(
        (text.as_str(), stderr.as_slice()),
        ("first text", &["the model is missing".to_owned()][..])
    );
    assert_eq!(desk.starts(), 3);
    let told = told(&error);
    for part in [
        "sh program.sh",
        "exit status: 3",
        "3 attempts",
        "0 of 2",
        "the model is missing",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_program_that_is_killed_says_the_signal() {
    let desk = Desk::new("kill -9 $$");
    let error = desk.ask(desk.command(), &["a"]).unwrap_err().to_string();
    assert!(error.contains("signal: 9"), "{error}");
}

#[test]
fn one_that_dies_in_the_middle_is_asked_for_the_rest() {
    let desk = Desk::new(&format!(
        r#"if [ ! -e again ]; then
            touch again; take; take; take; give "$id" "$text"; exit 1
        fi
        mv asked asked_first
        {ECHO}"#
    ));
    let command = Command {
        restarts: 1,
        ..desk.command()
    };
    let answers = desk.ask(command, &["a", "b", "c", "d"]).unwrap();
    assert_eq!(answers, ["~a", "~b", "~c", "~d"]);
    assert_eq!(desk.starts(), 2);
    assert_eq!(desk.asked(), ["a", "b", "d"], "c was answered");
}

#[test]
fn progress_renews_the_patience() {
    let desk = Desk::new(r#"take; give "$id" "$text"; exit 1"#);
    let command = Command {
        restarts: 1,
        ..desk.command()
    };
    let answers = desk.ask(command, &["a", "b", "c", "d", "e"]).unwrap();
    assert_eq!(answers, ["~a", "~b", "~c", "~d", "~e"]);
    assert_eq!(desk.starts(), 5);
}

#[test]
fn one_that_always_dies_of_the_same_text_fails_with_the_rest_kept() {
    let desk = Desk::new(
        r#"while take; do
            if [ "$text" = '"bad"' ]; then echo cannot >&2; exit 1; fi
            give "$id" "$text"
        done"#,
    );
    let command = Command {
        restarts: 3,
        ..desk.command()
    };
    let error = desk.ask(command, &["a", "b", "bad", "c"]).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("2 of 4"), "{told}");
    assert!(told.contains("\"bad\""), "{told}");
    assert_eq!(
        desk.starts(),
        4,
        "the first one made progress, and three more start"
    );
    desk.rewrite_program(ECHO);
    fs::remove_file(desk.folder.path().join("asked")).unwrap();
    desk.ask(desk.command(), &["a", "b", "bad", "c"]).unwrap();
    assert_eq!(desk.asked(), ["bad", "c"]);
}

#[test]
fn one_that_hangs_is_killed_with_its_children() {
    let desk = Desk::new(r#"take; give "$id" "$text"; sleep 1000 & echo $! >> pids; wait"#);
    let command = Command {
        timeout: Duration::from_secs(1),
        ..desk.command()
    };
    let error = desk.ask(command, &["a", "b"]).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("wrote no answer for 1 s"), "{told}");
    assert!(told.contains("1 of 2"), "{told}");
    assert_eq!(desk.starts(), 2);
    desk.assert_nothing_runs();
    assert_eq!(desk.kept().len(), 1);
}

#[test]
fn slow_answers_are_waited_for_one_by_one() {
    let desk = Desk::new(r#"while take; do sleep 1; give "$id" "$text"; done"#);
    let command = Command {
        batch: 6,
        timeout: Duration::from_secs(4),
        ..desk.command()
    };
    let answers = desk.ask(command, &["a", "b", "c", "d", "e", "f"]);
    assert_eq!(answers.unwrap().len(), 6);
}

#[test]
fn one_that_does_not_read_is_no_trap() {
    let desk = Desk::new("sleep 1000 & echo $! >> pids; wait");
    let command = Command {
        timeout: Duration::from_millis(500),
        ..desk.command()
    };
    let long = "x".repeat(1_000_000);
    let error = desk.ask(command, &[&long, "b"]).unwrap_err();
    assert!(error.to_string().contains("wrote no answer for 0.5 s"));
    assert!(
        error.to_string().len() < 2000,
        "a long text is shown in part"
    );
    desk.assert_nothing_runs();
}

#[test]
fn a_closed_output_is_not_waited_for() {
    let desk =
        Desk::new(r#"take; give "$id" "$text"; exec >&-; sleep 1000 & echo $! >> pids; wait"#);
    let error = desk.ask(desk.command(), &["a", "b"]).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("closed its standard output"), "{told}");
    assert!(told.contains("1 of 2"), "{told}");
    desk.assert_nothing_runs();
}

#[test]
fn too_few_lines_are_an_early_end() {
    let desk = Desk::new(r#"take; give "$id" "$text"; take; printf '{"id":1,"te'"#);
    let error = desk
        .ask(desk.command(), &["a", "b"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("ended before"), "{error}");
    assert!(error.contains("exit status: 0"), "{error}");
}

#[test]
fn a_last_line_needs_no_end() {
    let desk = Desk::new(r#"take; printf '{"id":%s,"text":"x"}' "$id""#);
    assert_eq!(desk.ask(desk.command(), &["a"]).unwrap(), ["x"]);
}

#[test]
fn an_answer_that_is_none_is_shown_with_what_is_wrong() {
    let cases = [
        ("Loading model...", "it is not JSON"),
        ("", "it is not JSON"),
        ("\\377\\376", "it is not JSON"),
        ("[0, \"x\"]", "it is not a JSON object"),
        ("{\"text\": \"x\"}", "it has no id"),
        (
            "{\"id\": \"0\", \"text\": \"x\"}",
            "its id is not a whole number",
        ),
        (
            "{\"id\": -1, \"text\": \"x\"}",
            "its id is not a whole number",
        ),
        ("{\"id\": 7, \"text\": \"x\"}", "id 7 was not asked"),
        ("{\"id\": 4, \"text\": \"x\"}", "id 4 was not asked"),
        (
            "{\"id\": 18446744073709551615, \"text\": \"x\"}",
            "was not asked",
        ),
        ("{\"id\": 1}", "it has no text"),
        ("{\"id\": 1, \"text\": null}", "its text is not a string"),
        ("{\"id\": 1, \"text\": [\"x\"]}", "its text is not a string"),
        ("{\"id\": 0, \"text\": \"x\"}", "id 0 was answered before"),
    ];
    for (line, reason) in cases {
        let program = format!("take; give 0 \"$text\"; printf '{line}\\n'; sleep 1000");
        let desk = Desk::new(&program);
        // The fifth text is of the next batch.
        let error = desk
            .ask(desk.command(), &["a", "b", "c", "d", "e"])
            .unwrap_err();
        let TranslateError::Program { fault, done, .. } = &error else {
            panic!("{error:?}");
        };
        let Fault::Garbage {
            reason: found,
            line: shown,
        } = &**fault
        else {
            panic!("{line}: {fault}");
        };
        assert!(found.contains(reason), "{line}: {found}");
        if !line.starts_with('\\') {
            assert_eq!(shown, line);
        }
        assert_eq!(*done, 1);
        desk.assert_nothing_runs();
        assert_eq!(desk.kept().len(), 1);
    }
}

#[test]
fn a_line_without_end_is_given_up() {
    let desk = Desk::new("yes | tr -d '\\n'");
    let error = desk.ask(desk.command(), &["a"]).unwrap_err().to_string();
    assert!(error.contains("it is too long: \"yyyy"), "{error}");
    assert!(error.len() < 2000, "it is shown in part");
    desk.assert_nothing_runs();
}

#[test]
fn garbage_is_survived_by_starting_anew() {
    let desk = Desk::new(&format!(
        r#"[ -e again ] || {{ touch again; echo 'Warning: slow'; sleep 1000; }}
        {ECHO}"#
    ));
    let command = Command {
        restarts: 1,
        ..desk.command()
    };
    assert_eq!(desk.ask(command, &["a"]).unwrap(), ["~a"]);
    assert_eq!(desk.starts(), 2);
    desk.assert_nothing_runs();
}

#[test]
fn of_standard_error_the_last_lines_are_shown() {
    let desk = Desk::new(
        r#"n=0; while [ $n -lt 100 ]; do echo "line $n" >&2; n=$((n+1)); done
        printf '10%%\r50%%\r' >&2; head -c 10000 /dev/zero | tr '\0' z >&2; exit 1"#,
    );
    let error = desk.ask(desk.command(), &["a"]).unwrap_err();
    let TranslateError::Program { stderr, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(stderr.len(), 20);
    assert_eq!(stderr[0], "line 83");
    assert_eq!(stderr[17..19], ["10%", "50%"]);
    assert!(stderr[19].starts_with("zzz") && stderr[19].chars().count() < 500);
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let desk = Desk::new("");
    let named = |program: &str| Command {
        program: vec![program.to_owned()],
        ..desk.command()
    };
    for missing in ["no-such-program-here", "./missing", "/missing/program", ""] {
        let error = desk.ask(named(missing), &["a"]).unwrap_err();
        assert!(
            matches!(&error, TranslateError::NoProgram { program, .. } if program == missing),
            "{error:?}"
        );
    }
    let error = desk.ask(named("./program.sh"), &["a"]).unwrap_err();
    assert!(
        matches!(error, TranslateError::NotExecutable { .. }),
        "{error:?}"
    );
    let error = desk.ask(named("a\0b"), &["a"]).unwrap_err();
    assert!(
        matches!(error, TranslateError::CannotStart { .. }),
        "{error:?}"
    );
    let nothing = Command {
        program: Vec::new(),
        ..desk.command()
    };
    let error = desk.ask(nothing, &["a"]).unwrap_err();
    assert!(
        matches!(error, TranslateError::NoProgram { .. }),
        "{error:?}"
    );
    let nowhere = Command {
        folder: desk.folder.path().join("nowhere"),
        ..desk.command()
    };
    let error = desk.ask(nowhere, &["a"]).unwrap_err();
    assert!(told(&error).contains("nowhere"), "{error:?}");
    assert_eq!(desk.starts(), 0);
}

#[test]
fn an_interruption_is_heard_between_two_starts() {
    let desk = Desk::new("exit 1");
    let service = Service::Command(Command {
        restarts: u32::MAX,
        ..desk.command()
    });
    let asked = first_copies(&["a"]);
    let stopped = rewrite(
        &service,
        &desk.kept(),
        &asked,
        &mut |_| match desk.starts() {
            5.. => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        },
    );
    assert!(matches!(stopped, Err(TranslateError::Interrupted)));
    assert_eq!(desk.starts(), 5);
}
