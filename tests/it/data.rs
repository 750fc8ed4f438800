//! Data worth training on: augmentation, a look at rows, and findings, as a user meets them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::project::{Project, assets};

/// Twelve rows and a program that translates by turning words around; it writes down all that it is asked.
fn translated() -> Project {
    let project = Project::empty();
    let mut rows = "text,label\n".to_owned();
    for n in 0..12 {
        let label = if n % 3 == 0 { "rare" } else { "common" };
        rows.push_str(&format!("row {n} of these,{label}\n"));
    }
    project.write("data/train.csv", &rows);
    project.write(
        "turn.sh",
        r#"while read -r line; do
    echo "$line" >> asked
    [ -e broken ] && { echo "no model" >&2; exit 3; }
    id=${line#*\"id\":}; id=${id%%,*}
    text=${line#*\"text\":\"}; text=${text%%\"*}
    [ -z "${text##*\"*}" ] && text=$line
    first=${text%% *}; rest=${text#* }
    echo "{\"id\":$id,\"text\":\"$rest $first\"}"
done
"#,
    );
    project.write(
        "pipeline.toml",
        r#"
version = 1
name = "translated"
seed = 3

[load.rows]
train = ["data/train.csv"]

[augment.richer]
input = "rows"
back_translation = { command = ["sh", "turn.sh"], version = "1", batch = 5, timeout = 20 }
"#,
    );
    project
}

fn asked(project: &Project) -> usize {
    let asked = std::fs::read_to_string(project.path("asked")).unwrap_or_default();
    asked.lines().count()
}

#[test]
fn a_command_is_started_only_with_leave_and_asked_for_nothing_twice() {
    let project = translated();
    let refused = project.refit(&["run", "pipeline.toml"]).exits(1);
    assert!(
        refused
            .stderr
            .contains("this stage would start a program: \"sh\" \"turn.sh\"")
            && refused.stderr.contains("--allow-commands"),
        "{}",
        refused.stderr
    );
    assert_eq!(asked(&project), 0, "the program was started");

    project.run(&["pipeline.toml", "--allow-commands"]);
    assert_eq!(asked(&project), 12);
    let shown = project.refit(&["preview", "pipeline.toml", "richer", "-n", "1"]);
    let shown = shown.success().stdout;
    assert!(
        shown.contains("  text     row 0 of these\n")
            && shown.contains("  → text   0 of these row\n"),
        "{shown}"
    );

    // Whatever asks for the rows needs the same leave, and so does sending them away.
    let away = "back_translation = { url = \"http://translate.example.org\", version = \"1\" }";
    let here = r#"back_translation = { command = ["sh", "turn.sh"], version = "1", batch = 5, timeout = 20 }"#;
    project.replace("pipeline.toml", here, away);
    for command in ["run", "preview", "inspect"] {
        let mut arguments = vec![command, "pipeline.toml", "richer"];
        arguments.extend((command == "run").then_some("--json"));
        let refused = project.refit(&arguments).exits(1).stderr;
        assert!(
            refused.contains("send its texts to \"http://translate.example.org\""),
            "{refused}"
        );
    }
    project.replace("pipeline.toml", away, here);

    // A fresh result needs no leave, and two rows more are two texts more.
    project.run(&["pipeline.toml"]);
    let rows = project.read("data/train.csv") + "another row,rare\nand one,rare\n";
    project.write("data/train.csv", &rows);
    project.run(&["pipeline.toml", "--allow-commands"]);
    assert_eq!(asked(&project), 14);
    project.replace("pipeline.toml", "version = \"1\"", "version = \"2\"");
    project.run(&["pipeline.toml", "--allow-commands"]);
    assert_eq!(
        asked(&project),
        28,
        "another version is another translation"
    );
}

#[test]
fn a_command_that_dies_costs_nothing_that_came_back() {
    let project = translated();
    project.run(&["pipeline.toml", "--allow-commands"]);
    let rows = project.read("data/train.csv") + "another row,rare\n";
    project.write("data/train.csv", &rows);
    project.write("broken", "");
    let failed = project.refit(&["run", "pipeline.toml", "--allow-commands"]);
    let failed = failed.exits(1).stderr;
    assert!(
        failed.contains("no model") && failed.contains("12"),
        "{failed}"
    );
    std::fs::remove_file(project.path("broken")).unwrap();
    std::fs::remove_file(project.path("asked")).unwrap();
    project.run(&["pipeline.toml", "--allow-commands"]);
    assert_eq!(asked(&project), 1);
}

const MIXED: &str = r#"
version = 1
name = "mixed"
seed = 3

[load.a]
train = ["data/train.csv"]
test = ["data/test.csv"]

[load.b]
train = ["data/test.csv"]

[augment.both]
inputs = { a = 1.0, b = 0.5 }
"#;

#[test]
fn tables_are_mixed_by_weight_whatever_they_are_called() {
    let project = Project::tiny();
    project.write("mixed.toml", MIXED);
    project.run(&["mixed.toml"]);
    let shown = project.refit(&["preview", "mixed.toml", "both", "--json"]);
    assert_eq!(shown.success().json()["of"], 40 + 6);
    project.write(
        "mixed.toml",
        &MIXED
            .replace("a =", "first =")
            .replace("load.a", "load.first"),
    );
    assert!(
        project.built(&["mixed.toml"]).is_empty(),
        "a name is in no key"
    );
    project.replace("mixed.toml", "b = 0.5", "b = 1.0");
    assert_eq!(project.built(&["mixed.toml"]), ["both"]);
    project.replace("mixed.toml", "b = 1.0", "c = 1.0");
    let wrong = project.refit(&["check", "mixed.toml"]).exits(2).stderr;
    assert!(wrong.contains("there is no stage `c`"), "{wrong}");
}

#[test]
fn a_preview_shows_rows_copies_and_tokens() {
    let project = Project::tiny();
    let preview = |stage: &str, more: &[&str]| {
        let arguments: Vec<&str> = ["preview", "pipeline.toml", stage]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        project.refit(&arguments)
    };
    let rows = preview("data", &["--split", "test", "-n", "2"]).success();
    assert!(
        rows.stdout.starts_with("test: 2 of 12 rows\n"),
        "{}",
        rows.stdout
    );
    assert_eq!(rows.stdout.matches("\n  label  ").count(), 2);
    let tokens = preview("tokens", &["-n", "1", "--json"]).success().json();
    let row = &tokens["rows"][0];
    let pieces: Vec<&str> = row["tokens"].as_str().unwrap().split(' ').collect();
    let ids = row["ids"].as_str().unwrap().split(' ').count();
    assert_eq!((pieces[0], pieces[pieces.len() - 1]), ("[CLS]", "[SEP]"));
    assert_eq!(ids, pieces.len());

    let none = preview("classifier", &[]).exits(2).stderr;
    assert!(
        none.contains("is a train stage, which has no rows to show"),
        "{none}"
    );
    let wrong = preview("data", &["--split", "tset"]).exits(2).stderr;
    assert!(
        wrong.contains("has no split `tset`; there is test, train"),
        "{wrong}"
    );
}

#[test]
fn synonyms_are_those_of_wordnet() {
    let Some(assets) = assets("synonyms_are_those_of_wordnet") else {
        return;
    };
    let project = Project::empty();
    project.write(
        "data.csv",
        "text,label\nThe children were happy about the new cars,a\nThe dogs quickly ran home,b\n",
    );
    let spec = |synonyms: &str| {
        format!(
            "version = 1\n[load.data]\ntrain = [\"data.csv\"]\n[augment.more]\ninput = \"data\"\ncopies = 3\n\
             synonym_replacement = {{ rate = 1.0 }}\n{synonyms}"
        )
    };
    let wordnet = assets.join("data/wordnet-3.0");
    let named = format!(
        "synonyms = {{ wordnet = {:?} }}\n",
        wordnet.display().to_string()
    );
    project.write("named.toml", &spec(&named));
    let run = project.run(&["named.toml"]);
    let shown = project
        .refit(&["preview", "named.toml", "more"])
        .success()
        .stdout;
    assert!(shown.contains("→ text   The "), "{shown}");
    assert!(
        !shown.contains("→ text   The children were happy"),
        "{shown}"
    );

    // The usual place gives the same.
    project.write("usual.toml", &spec(""));
    let usual = |folder: &std::path::Path| {
        let mut command = project.command(&["run", "usual.toml", "--json"]);
        command.env("WNSEARCHDIR", folder);
        crate::project::Said::from(command.output().unwrap())
    };
    let same = usual(&wordnet).success();
    assert_eq!(same.json()["steps"][1]["digest"], run["steps"][1]["digest"]);
    let nowhere = usual(&project.path("nowhere")).exits(2).stderr;
    assert!(
        nowhere.contains("no synonyms are named, and there is no WordNet in")
            && nowhere.contains("wordnet-base"),
        "{nowhere}"
    );
}

/// A spec over these rows for training and test.
fn looked_at(train: &str, test: &str) -> Project {
    let project = Project::empty();
    project.write("train.csv", train);
    project.write("test.csv", test);
    project.write(
        "spec.toml",
        "version = 1\n[load.data]\ntrain = [\"train.csv\"]\ntest = [\"test.csv\"]\n\
         [tokenize.tokens]\ninput = \"data\"\ntrain_tokenizer = { vocab_size = 200 }\n",
    );
    project
}

fn numbered(from: usize, to: usize, more: &str) -> String {
    let mut text = "text,label\n".to_owned();
    let subjects = [
        "my dog",
        "the tall tree",
        "a red boat",
        "her uncle",
        "this old town",
    ];
    let deeds = [
        "likes",
        "sees",
        "forgot",
        "will find",
        "never wanted",
        "painted",
        "lost",
    ];
    for n in from..to {
        let (subject, deed) = (subjects[n % 5], deeds[n % 7]);
        text.push_str(&format!(
            "{subject} {deed} item {} of {}x,{}\n",
            n * 37 % 101,
            n * n,
            ["up", "down"][n % 2]
        ));
    }
    text + more
}

fn codes(found: &Value) -> BTreeMap<String, u64> {
    let findings = found["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| {
            let code = finding["code"].as_str().unwrap().to_owned();
            (code, finding["count"].as_u64().unwrap())
        })
        .collect()
}

#[test]
fn inspect_finds_what_was_planted_and_nothing_in_the_clean_twin() {
    let clean = looked_at(&numbered(0, 80, ""), &numbered(100, 130, ""));
    let found = clean
        .refit(&["inspect", "spec.toml", "--json", "--strict"])
        .success()
        .json();
    assert_eq!(found["findings"], serde_json::json!([]));
    assert_eq!(found["splits"]["train"]["rows"], 80);
    assert_eq!(found["splits"]["train"]["classes"]["up"], 40);

    let flawed = "   ,up\nmy dog likes item 0 of 0x,up\nmy dog likes item 0 of 0x,down\n<b>bold</b> &amp; more words here,up\ncafÃ© au lait for two people,down\n";
    let project = looked_at(
        &numbered(0, 80, flawed),
        &numbered(100, 130, "the tall tree sees item 37 of 1x,down\n"),
    );
    let said = project
        .refit(&["inspect", "spec.toml", "--json", "--strict"])
        .exits(1);
    let found = codes(&said.json());
    for code in [
        "empty_text",
        "duplicate_row",
        "conflicting_label",
        "split_overlap",
        "markup",
        "suspicious_encoding",
    ] {
        assert!(found.contains_key(code), "{code} is not in {found:?}");
    }
    let shown = project.refit(&["inspect", "spec.toml"]).success().stdout;
    assert!(
        shown.contains("markup") && shown.contains("load.data"),
        "{shown}"
    );
    let wrong = project
        .refit(&["inspect", "spec.toml", "tokens"])
        .exits(2)
        .stderr;
    assert!(wrong.contains("`tokens` is a tokenize stage"), "{wrong}");
}

#[test]
fn inspect_counts_rows_that_loading_would_refuse() {
    let project = Project::empty();
    let rows = [
        r#"{"question": "who?", "context": "Ann left early", "answers": {"text": ["Ann"], "answer_start": [0]}}"#,
        r#"{"question": "when?", "context": "Bob came late", "answers": {"text": ["late"], "answer_start": [2]}}"#,
    ];
    project.write("qa.jsonl", &rows.join("\n"));
    let tagged = [
        r#"{"tokens": ["Ann", "left"], "tags": ["B-PER", "O"]}"#,
        r#"{"tokens": ["Bob", "came", "late"], "tags": ["B-PER", "O"]}"#,
    ];
    project.write("ner.jsonl", &tagged.join("\n"));
    project.write(
        "spec.toml",
        "version = 1\n[load.qa]\ntrain = [\"qa.jsonl\"]\ncolumns = { question = \"question\", context = \"context\", answers = \"answers\" }\n\
         [load.ner]\ntrain = [\"ner.jsonl\"]\ncolumns = { tokens = \"tokens\", tags = \"tags\" }\n",
    );
    let found = project
        .refit(&["inspect", "spec.toml", "--json"])
        .success()
        .json();
    for (stage, code) in [("qa", "answer_mismatch"), ("ner", "tag_misalignment")] {
        let findings = found[stage]["findings"].as_array().unwrap();
        let planted = findings.iter().find(|finding| finding["code"] == code);
        let planted = planted.unwrap_or_else(|| panic!("{code}: {findings:?}"));
        assert_eq!(
            (&planted["count"], &planted["rows"]),
            (&1.into(), &serde_json::json!([1]))
        );
    }
}

#[test]
fn the_comparisons_of_augmentation_prepare_their_rows() {
    let Some(assets) = assets("the_comparisons_of_augmentation_prepare_their_rows") else {
        return;
    };
    let project = Project::empty();
    let store = project.path(".refit").display().to_string();
    for (name, load, stages) in [
        (
            "sms-spam",
            "messages",
            ["more_spam", "undersampled", "typing"],
        ),
        ("sst2", "phrases", ["all", "insertion", "swap"]),
    ] {
        let spec = crate::project::repository().join(format!("examples/augmentation/{name}.toml"));
        let spec = spec.display().to_string();
        let few = format!("load.{load}.sample.train.limit=40");
        let mut arguments = vec!["run", &spec, "--store", &store, "--set", &few, "--json"];
        arguments.extend(stages);
        let mut command = project.command(&arguments);
        command.env("REFIT_TEST_ASSETS", &assets);
        let run = crate::project::Said::from(command.output().unwrap())
            .success()
            .json();
        let built = run["steps"].as_array().unwrap().iter();
        assert_eq!(
            built.filter(|step| step["outcome"] == "built").count(),
            4,
            "{run}"
        );
    }
}
