//! Explanations of every task's answers, through the binary.

use refit::task::explanations::{Chosen, Explanation, Explanations};

use crate::project::Project;
use crate::tasks::{COMMENTS, comments, delimited, questions, sentences, spec};

/// Runs a spec whose evaluation explains four of its answers and these rows.
fn explained(project: &Project, load: &str, max_length: usize, train: &str) -> Explanations {
    let tokens = format!("max_length = {max_length}");
    let text = spec(load, &tokens, train).replace(
        "[evaluate.scores]\n",
        "[evaluate.scores]\nexplain = { examples = 4, steps = 200 }\n",
    );
    let text = text.split("[export.bundle]").next().unwrap();
    project.write("spec.toml", text);
    project.run(&["spec.toml"]);
    let folder = project.refit(&["path", "spec.toml", "scores"]).success();
    let found = Explanations::read(std::path::Path::new(folder.stdout.trim()));
    let found = found.unwrap().unwrap();
    assert_eq!(found.examples.len(), 4);
    for one in &found.examples {
        assert_eq!((one.layers, one.heads), (2, 2), "{one:?}");
        let whole = (one.value - one.baseline).abs();
        assert!(one.delta < 0.02 + 0.05 * whole, "{one:?}");
        assert_ne!(one.chosen, Chosen::Named);
        assert!(one.attention().unwrap().iter().any(|&share| share > 0));
    }
    found
}

/// What stands in `text` at the place of a token.
fn at(text: &str, explanation: &Explanation, token: usize) -> String {
    let [start, end] = explanation.places[token].unwrap();
    let (start, end) = (start as usize, end as usize);
    text.chars().skip(start).take(end - start).collect()
}

#[test]
fn the_likeliest_of_several_labels_is_explained() {
    let project = Project::empty();
    project.write("data/train.csv", &delimited(&comments(120, 0)));
    project.write("data/test.csv", &delimited(&comments(24, 3)));
    let train = "task = \"multi_label\"\nepochs = 3";
    let found = explained(&project, COMMENTS, 16, train);
    for one in &found.examples {
        assert!(["joy", "anger", "surprise"].contains(&one.output.as_str()));
        assert!(one.about.is_empty() && one.places.iter().all(Option::is_none));
    }
}

#[test]
fn the_first_number_is_explained() {
    let project = Project::empty();
    let table = |rows: usize| {
        let line = |row: usize| {
            format!(
                "{} film {},{}\n",
                ["bad", "good"][row % 2],
                row % 5,
                row % 2
            )
        };
        "text,quality\n".to_owned() + &(0..rows).map(line).collect::<String>()
    };
    project.write("data/train.csv", &table(120));
    project.write("data/test.csv", &table(20));
    let load = "train = \"data/train.csv\"\ntest = \"data/test.csv\"\n\
                columns = { text = \"text\", target = \"quality\" }";
    let found = explained(&project, load, 16, "task = \"regression\"\nepochs = 3");
    assert!(found.examples.iter().all(|one| one.output == "quality"));
    let wrong = found
        .examples
        .iter()
        .filter(|one| one.chosen == Chosen::Wrong);
    assert_eq!(wrong.count(), 2);
}

#[test]
fn the_tag_of_the_least_sure_word_of_an_entity_is_explained_in_the_window_that_owns_it() {
    for (padding, loss) in [(0, ""), (20, ""), (0, "\nloss = { name = \"crf\" }")] {
        let project = Project::empty();
        project.write("data/train.conll", &sentences(60, 0, padding));
        project.write("data/test.conll", &sentences(12, 2, padding));
        let load = "train = \"data/train.conll\"\ntest = \"data/test.conll\"";
        let train = format!("task = \"token_classification\"\nepochs = 4{loss}");
        let found = explained(&project, load, 16, &train);
        let words: Vec<Vec<String>> = sentences(12, 2, padding)
            .split("\n\n")
            .map(|sentence| {
                let words = sentence.lines().filter_map(|line| line.split(' ').next());
                words.map(str::to_owned).collect()
            })
            .collect();
        for one in &found.examples {
            let text = words[one.row].join(" ");
            let [token] = one.about[..] else {
                panic!("{one:?}");
            };
            assert_ne!(one.output, "");
            assert!(one.places[token].is_some(), "{one:?}");
            for (place, token) in one.tokens.iter().enumerate() {
                if ["[CLS]", "[SEP]"].contains(&token.as_str()) {
                    assert_eq!(one.places[place], None);
                } else {
                    let there = at(&text, one, place).to_lowercase();
                    assert_eq!(there, token.trim_start_matches("##"), "{one:?}");
                }
            }
        }
    }
}

#[test]
fn the_best_stretch_is_explained_by_both_its_ends() {
    let project = Project::empty();
    project.write("data/train.jsonl", &questions(200, 0));
    project.write("data/test.jsonl", &questions(24, 7));
    let load = "train = \"data/train.jsonl\"\ntest = \"data/test.jsonl\"\n\
        columns = { question = \"question\", context = \"context\", answers = \"answers\", id = \"id\" }";
    let train = "task = \"question_answering\"\nepochs = 4";
    let found = explained(&project, load, 32, train);
    let asked: Vec<serde_json::Value> = questions(24, 7)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for one in &found.examples {
        let row = &asked[one.row];
        let texts = ["question", "context"].map(|field| row[field].as_str().unwrap());
        let [start, end] = one.about[..] else {
            panic!("{one:?}");
        };
        let context: Vec<char> = texts[1].chars().collect();
        let (from, to) = (one.places[start].unwrap()[0], one.places[end].unwrap()[1]);
        let answer: String = context[from as usize..to as usize].iter().collect();
        assert_eq!(one.output, answer);
        for (place, token) in one.tokens.iter().enumerate() {
            let text = texts[usize::from(one.segment[place])];
            if !["[CLS]", "[SEP]"].contains(&token.as_str()) {
                // Accents are no part of the vocabulary.
                let there = at(text, one, place).replace('ü', "u").replace('é', "e");
                assert_eq!(there, token.trim_start_matches("##"), "{one:?}");
            }
        }
    }
}

#[test]
fn an_evaluation_that_is_asked_to_explain_runs_again_and_one_that_is_not_has_its_old_key() {
    let project = Project::tiny();
    const SPEC: &str = "pipeline.toml";
    project.run(&[SPEC]);
    project.replace(
        SPEC,
        "[evaluate.scores]\n",
        "[evaluate.scores]\nexplain = {}\n",
    );
    let built = project.built(&[SPEC]);
    assert!(built.contains(&"scores".to_owned()), "{built:?}");
    project.replace(
        SPEC,
        "explain = {}",
        "explain = { examples = 8, ids = [], steps = 64 }",
    );
    assert!(project.built(&[SPEC]).is_empty());
    project.replace(SPEC, "steps = 64", "steps = 8");
    assert!(project.built(&[SPEC]).contains(&"scores".to_owned()));
    project.replace(
        SPEC,
        "explain = { examples = 8, ids = [], steps = 8 }\n",
        "",
    );
    assert!(
        project.built(&[SPEC]).is_empty(),
        "the result without it is known"
    );
}
