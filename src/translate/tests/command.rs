//! Programs that do their work.

use proptest::prelude::*;

use super::*;

#[test]
fn a_program_answers_every_text_in_the_order_asked() {
    let desk = Desk::new(ECHO);
    let texts = ["one", "two", "three", "four", "five", "say \"six\"\\\n"];
    let answers = desk.ask(desk.command(), &texts).unwrap();
    assert_eq!(answers, texts.map(|text| format!("~{text}")));
    assert_eq!(desk.starts(), 1, "one program for all batches");
    desk.assert_nothing_runs();
}

#[test]
fn answers_may_come_in_any_order_within_a_batch() {
    let desk = Desk::new(
        r#"while take; do
            a=$id; ta=$text; take; b=$id; tb=$text; take
            give "$id" "$text"; give "$a" "$ta"; give "$b" "$tb"
        done"#,
    );
    let command = Command {
        batch: 3,
        ..desk.command()
    };
    let answers = desk.ask(command, &["1", "2", "3", "4", "5", "6"]).unwrap();
    assert_eq!(answers, ["~1", "~2", "~3", "~4", "~5", "~6"]);
}

#[test]
fn a_batch_is_written_whole_and_no_further() {
    // It answers nothing before it has three lines, and then sees whether there are more.
    let desk = Desk::new(
        r#"while take; do
            a=$id; take; b=$id; take; c=$id
            give "$a" '"x"'; give "$b" '"x"'
            wc -l < asked >> seen
            give "$c" '"x"'
        done"#,
    );
    let command = Command {
        batch: 3,
        ..desk.command()
    };
    desk.ask(command, &["1", "2", "3", "4", "5", "6"]).unwrap();
    let seen: Vec<_> = desk.lines_of("seen");
    let seen: Vec<_> = seen.iter().map(|line| line.trim()).collect();
    assert_eq!(seen, ["3", "6"]);
}

#[test]
fn a_batch_of_nothing_counts_as_one() {
    let desk = Desk::new(ECHO);
    let command = Command {
        batch: 0,
        ..desk.command()
    };
    assert_eq!(desk.ask(command, &["1", "2"]).unwrap(), ["~1", "~2"]);
}

#[test]
fn nothing_is_started_for_blank_texts() {
    let desk = Desk::new(ECHO);
    let blank = ["", "  ", "\n\t", "\u{3000}"];
    assert_eq!(desk.ask(desk.command(), &blank).unwrap(), blank);
    assert_eq!(desk.starts(), 0);
}

#[test]
fn an_empty_or_unchanged_answer_is_taken_as_it_is() {
    let desk = Desk::new(r#"take; printf '{"id":%s,"text":""}\n' "$id"; cat"#);
    let answers = desk.ask(desk.command(), &["gone", "same"]).unwrap();
    assert_eq!(answers, ["", "same"]);
}

#[test]
fn equal_questions_are_asked_once_and_copies_apart() {
    let desk =
        Desk::new(r#"while take; do copy=${line##*:}; give "$id" "\"copy ${copy%\}}\""; done"#);
    let asked = [("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 1)];
    let asked = asked.map(|(text, copy)| Asked { text, copy });
    let mut numbers = Vec::new();
    let answers = rewrite(
        &Service::Command(desk.command()),
        &desk.kept(),
        &asked,
        &mut |n| {
            numbers.push(n);
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    let expected = [1, 1, 2, 1, 1].map(|copy| format!("~copy {copy}"));
    assert_eq!(answers, expected);
    assert_eq!(desk.asked(), ["a", "a", "b"]);
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!((numbers.first(), numbers.last()), (Some(&0), Some(&5)));
}

#[test]
fn a_rerun_asks_for_nothing_twice() {
    let desk = Desk::new(ECHO);
    desk.ask(desk.command(), &["a", "b", "c", "d", "e"])
        .unwrap();
    let again = desk.ask(desk.command(), &["e", "a"]).unwrap();
    assert_eq!(again, ["~e", "~a"]);
    assert_eq!(desk.starts(), 1, "nothing was missing, so nothing starts");
    let more = desk.ask(desk.command(), &["e", "f"]).unwrap();
    assert_eq!(more, ["~e", "~f"]);
    assert_eq!(desk.asked(), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn two_at_once_ask_for_nothing_twice() {
    let desk = Desk::new(ECHO);
    let texts: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let asked: Vec<&str> = texts.iter().map(String::as_str).collect();
    let shared = desk.kept();
    let service = Service::Command(desk.command());
    // Two share what is kept, as threads do; the third opens it for itself, as another process would.
    let answers = std::thread::scope(|scope| {
        let on = |kept| {
            let (service, asked) = (&service, first_copies(&asked));
            move || rewrite(service, kept, &asked, &mut |_| ControlFlow::Continue(()))
        };
        let other = || desk.ask(desk.command(), &asked);
        let threads = [
            scope.spawn(on(&shared)),
            scope.spawn(on(&shared)),
            scope.spawn(other),
        ];
        threads.map(|thread| thread.join().unwrap().unwrap())
    });
    let expected: Vec<_> = texts.iter().map(|text| format!("~{text}")).collect();
    assert!(answers.iter().all(|answer| *answer == expected));
    assert_eq!(desk.asked(), texts);
    desk.assert_nothing_runs();
}

#[test]
fn an_interruption_keeps_what_was_answered() {
    let desk = Desk::new(ECHO);
    let texts = ["a", "b", "c", "d", "e", "f", "g"];
    let mut stop_at_six = |n| match n {
        6 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let stopped = rewrite(
        &Service::Command(desk.command()),
        &desk.kept(),
        &first_copies(&texts),
        &mut stop_at_six,
    );
    assert!(matches!(stopped, Err(TranslateError::Interrupted)));
    desk.assert_nothing_runs();
    assert_eq!(
        desk.kept().len(),
        6,
        "also those of a batch that is not whole"
    );
    fs::remove_file(desk.folder.path().join("asked")).unwrap();
    let answers = desk.ask(desk.command(), &texts).unwrap();
    assert_eq!(answers, texts.map(|text| format!("~{text}")));
    assert_eq!(desk.asked(), ["g"]);
}

#[test]
fn an_interruption_is_heard_while_a_program_says_nothing() {
    let desk = Desk::new("sleep 1000 & echo $! >> pids; wait");
    let mut calls = 0;
    let stopped = rewrite(
        &Service::Command(desk.command()),
        &desk.kept(),
        &first_copies(&["a"]),
        &mut |_| {
            calls += 1;
            match desk.starts() {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        },
    );
    assert!(matches!(stopped, Err(TranslateError::Interrupted)));
    assert!(calls > 1);
    desk.assert_nothing_runs();
}

#[test]
fn an_interruption_is_heard_while_another_asks() {
    let desk = Desk::new(ECHO);
    let kept = desk.kept();
    let _claim = kept.claim(&mut || Ok(())).unwrap();
    let mut calls = 0;
    let stopped = rewrite(
        &Service::Command(desk.command()),
        &desk.kept(),
        &first_copies(&["a"]),
        &mut |_| {
            calls += 1;
            match calls {
                4 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        },
    );
    assert!(matches!(stopped, Err(TranslateError::Interrupted)));
    assert_eq!(desk.starts(), 0);
}

#[test]
fn megabytes_there_and_back_block_nobody() {
    let texts: Vec<String> = (0..64)
        .map(|n| format!("{n} {}", "ä".repeat(20_000)))
        .collect();
    let asked: Vec<&str> = texts.iter().map(String::as_str).collect();
    let desk = Desk::new("cat");
    let command = Command {
        batch: 64,
        ..desk.command()
    };
    assert_eq!(desk.ask(command, &asked).unwrap(), texts);
}

#[test]
fn a_program_may_answer_megabytes_before_it_reads() {
    let desk = Desk::new(
        r#"long=$(head -c 100000 /dev/zero | tr '\0' x)
        n=0; while [ $n -lt 40 ]; do give $n "\"$long\""; n=$((n+1)); done
        cat > /dev/null"#,
    );
    let texts: Vec<String> = (0..40)
        .map(|n| format!("{n} {}", "y".repeat(50_000)))
        .collect();
    let asked: Vec<&str> = texts.iter().map(String::as_str).collect();
    let command = Command {
        batch: 40,
        ..desk.command()
    };
    let answers = desk.ask(command, &asked).unwrap();
    let long = format!("~{}", "x".repeat(100_000));
    assert!(answers.iter().all(|answer| *answer == long));
}

#[test]
fn a_flood_on_standard_error_blocks_nobody() {
    let desk = Desk::new(&format!(
        "head -c 5000000 /dev/zero | tr '\\0' e >&2\nyes oh | head -n 500000 >&2\n{ECHO}"
    ));
    assert_eq!(desk.ask(desk.command(), &["a"]).unwrap(), ["~a"]);
}

#[test]
fn a_program_that_ignores_the_end_of_its_input_is_killed() {
    let desk = Desk::new(&format!(
        "trap '' TERM INT HUP PIPE\n{ECHO}\nsleep 1000 & echo $! >> pids; wait"
    ));
    assert_eq!(desk.ask(desk.command(), &["a"]).unwrap(), ["~a"]);
    desk.assert_nothing_runs();
}

#[test]
fn what_a_program_leaves_running_ends_with_it() {
    let desk = Desk::new(&format!(
        "sleep 1000 > /dev/null 2>&1 & echo $! >> pids\n{ECHO}"
    ));
    assert_eq!(desk.ask(desk.command(), &["a"]).unwrap(), ["~a"]);
    desk.assert_nothing_runs();
}

#[test]
fn a_program_may_write_to_the_last() {
    let desk = Desk::new(&format!(
        "{ECHO}\nyes 'not an answer' | head -n 300000; echo done > last"
    ));
    assert_eq!(desk.ask(desk.command(), &["a"]).unwrap(), ["~a"]);
    assert_eq!(desk.lines_of("last"), ["done"]);
}

#[cfg(unix)]
#[test]
fn a_relative_program_starts_at_its_folder() {
    let desk = Desk::new(ECHO);
    std::os::unix::fs::symlink("/bin/sh", desk.folder.path().join("shell")).unwrap();
    let command = Command {
        program: ["./shell", "program.sh"].map(str::to_owned).to_vec(),
        ..desk.command()
    };
    assert_eq!(desk.ask(command, &["a"]).unwrap(), ["~a"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_text_survives_the_way_there_and_back(
        texts in prop::collection::vec(any::<String>(), 0..20),
        batch in 1_usize..8,
    ) {
        let desk = Desk::new("tee -a asked");
        let asked: Vec<&str> = texts.iter().map(String::as_str).collect();
        let command = Command { batch, ..desk.command() };
        prop_assert_eq!(&desk.ask(command.clone(), &asked).unwrap(), &texts);
        // Read from what is kept.
        prop_assert_eq!(&desk.ask(command, &asked).unwrap(), &texts);
        let lines = fs::read(desk.folder.path().join("asked")).unwrap_or_default();
        prop_assert!(lines.iter().all(|byte| *byte == b'\n' || (b' '..=b'~').contains(byte) || *byte == 127));
    }
}
