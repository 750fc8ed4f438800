//! A commented spec for a task, in which files and columns are to be replaced.
//!
//! Deliberately absent: data. With some, [`guessed`](super::guessed) writes all this as it is.

use super::write::{Page, model_of, quoted, tail};
use crate::task::Task;

/// The lines of a load stage that differ between tasks.
fn load(task: Task) -> (&'static str, &'static [(&'static str, &'static str)]) {
    match task {
        Task::Classification => (
            "csv",
            &[
                (
                    "columns = { text = \"text\", label = \"label\" }",
                    "your columns; and text_pair = \"…\" for pairs of texts",
                ),
                (
                    "# label_names = [\"negative\", \"positive\"]",
                    "for labels that are numbers: their names from 0 on",
                ),
                (
                    "# deduplicate = { by = \"exact\" }",
                    "leaves repeated rows out, and those of train that test has too",
                ),
            ],
        ),
        Task::MultiLabel => (
            "jsonl",
            &[
                (
                    "columns = { text = \"text\", labels = \"labels\" }",
                    "labels are lists, or text with a separator between them",
                ),
                ("# label_separator = \",\"", "where they are text"),
                (
                    "# label_names = [\"joy\", \"anger\"]",
                    "for labels that are numbers: their names from 0 on",
                ),
            ],
        ),
        Task::TokenClassification => (
            "conll",
            &[
                (
                    "format = \"conll\"",
                    "a word and its tag on each line, blank lines between sentences",
                ),
                (
                    "# columns = { tokens = \"tokens\", tags = \"ner_tags\" }",
                    "or lists, in jsonl and parquet; then without `format`",
                ),
            ],
        ),
        Task::QuestionAnswering => (
            "json",
            &[
                ("format = \"squad\"", "SQuAD's JSON, 1.1 or 2.0"),
                (
                    "# columns = { question = \"question\", context = \"context\", answers = \"answers\" }",
                    "or rows, in jsonl and parquet; then without `format`",
                ),
            ],
        ),
        Task::Regression => (
            "csv",
            &[(
                "columns = { text = \"text\", target = \"score\" }",
                "or several: target = [\"valence\", \"arousal\"]",
            )],
        ),
    }
}

/// The lines of a train stage that only some tasks have.
fn train(task: Task) -> &'static [(&'static str, &'static str)] {
    match task {
        Task::Classification => &[(
            "# loss = { class_weights = \"balanced\" }",
            "where some classes are rare",
        )],
        Task::MultiLabel => &[(
            "# threshold = \"tuned\"",
            "one for each label, by the validation rows, in place of 0.5",
        )],
        Task::TokenClassification => &[(
            "# loss = { name = \"crf\" }",
            "decides the tags of a sentence together",
        )],
        Task::QuestionAnswering => &[(
            "# threshold = \"tuned\"",
            "when \"no answer\" is the answer, by the validation rows",
        )],
        Task::Regression => &[],
    }
}

pub(super) fn text(task: Task, encoder: &str, schema: Option<&str>) -> String {
    let mut page = Page::begin(schema);
    page.line(&format!(
        "# A template for {}: replace the files and the columns, and take out what you do not need.",
        task.name()
    ));
    page.line("version = 1");
    page.with(
        "seed = 13",
        "for whatever is drawn: splits, weights, the order of rows",
    );
    page.line("");
    page.line("[vars]");
    page.with(
        &format!("encoder = {}", quoted(encoder)),
        "a folder, or a model of the Hugging Face hub",
    );
    page.line("");
    let (ending, lines) = load(task);
    page.line("[load.data]");
    page.with(
        &format!("train = [\"data/train.{ending}\"]"),
        "your files; or dataset = \"owner/name\" of the hub",
    );
    page.with(
        &format!("# test = [\"data/test.{ending}\"]"),
        "files of their own, in place of the shares below;",
    );
    page.with(
        &format!("# validation = [\"data/validation.{ending}\"]"),
        "likewise",
    );
    page.with("split = { validation = 0.1, test = 0.1 }", "cut from train");
    for (line, comment) in lines {
        page.with(line, comment);
    }
    page.line("");
    page.line("[tokenize.tokens]");
    page.line("input = \"data\"");
    page.line("tokenizer = \"${encoder}\"");
    let (length, comment) = match task {
        Task::QuestionAnswering => (384, "in tokens; longer contexts are read in windows"),
        Task::TokenClassification => (128, "in tokens; longer sentences are read in windows"),
        _ => (
            128,
            "in tokens; longer rows are cut: `refit inspect` shows how many",
        ),
    };
    page.with(&format!("max_length = {length}"), comment);
    page.line("");
    page.line(&format!("[train.{}]", model_of(task)));
    page.line("input = \"tokens\"");
    page.line("encoder = \"${encoder}\"");
    page.line(&format!("task = \"{}\"", task.name()));
    page.with(
        "epochs = 3",
        "passes over the training rows: more of them the fewer rows there are",
    );
    page.line("batch = { size = 16 }");
    page.with(
        "optimizer = { learning_rate = 5e-5 }",
        "worth a sweep: 2e-5 to 2e-4",
    );
    page.with(
        "# early_stopping = { patience = 2 }",
        "stops when the validation score no longer improves",
    );
    for (line, comment) in train(task) {
        page.with(line, comment);
    }
    page.line("");
    tail(&mut page, task, "model");
    page.end()
}
