//! A guess as the text of a spec, with the reasons in its comments; and in a few lines for the terminal.
//!
//! Deliberately absent: any guess. What is written here was found in the data, or is a default.

use crate::init::Guess;
use crate::table::read::{Column, Format, Gold, Rows};
use crate::task::Task;

/// Where comments begin, where the line is not longer.
const COMMENTS: usize = 50;
/// How wide a list may be.
const WIDTH: usize = 110;
/// How many classes are counted in a comment.
const SHOWN: usize = 6;

/// A guess, and what it is called by whoever asked.
pub(super) struct Told<'g> {
    pub(super) guess: &'g Guess,
    /// As the user named the data.
    pub(super) data: String,
    pub(super) name: String,
    pub(super) encoder: &'g str,
    pub(super) schema: Option<String>,
    /// Relative to the spec.
    pub(super) train: Vec<String>,
    pub(super) validation: Vec<String>,
    pub(super) test: Vec<String>,
}

/// Lines of a spec.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// The head of every spec.
    pub(super) fn begin(schema: Option<&str>) -> Page {
        Page(match schema {
            Some(schema) => format!("#:schema {schema}\n\n"),
            None => "# For editors that complete and check: `refit schema --write`, and as the first line here\n\
                     # `#:schema pipeline.schema.json`.\n\n"
                .to_owned(),
        })
    }

    pub(super) fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// A line with a comment behind it, or above it where both do not fit.
    pub(super) fn with(&mut self, line: &str, comment: &str) {
        let width = line.chars().count();
        match (
            comment,
            width.max(COMMENTS) + comment.chars().count() > WIDTH + 20,
        ) {
            ("", _) => self.line(line),
            (_, true) => {
                self.line(&format!("# {comment}"));
                self.line(line);
            }
            (_, false) => {
                let space = " ".repeat(COMMENTS.saturating_sub(width).max(1));
                self.line(&format!("{line}{space}# {comment}"));
            }
        }
    }

    pub(super) fn end(self) -> String {
        self.0
    }
}

/// A text as TOML, of which nothing is a variable.
pub(super) fn quoted(text: &str) -> String {
    let mut all = String::from("\"");
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' => all.push_str("\\\""),
            '\\' => all.push_str("\\\\"),
            '\n' => all.push_str("\\n"),
            '\r' => all.push_str("\\r"),
            '\t' => all.push_str("\\t"),
            c if c.is_control() => all.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => all.push(c),
        }
    }
    all.push('"');
    all
}

/// A list on one line, or on several where it is long.
fn list(lead: &str, texts: &[String]) -> String {
    let items: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    let line = format!("{lead}[{}]", items.join(", "));
    if line.chars().count() <= WIDTH {
        return line;
    }
    let mut all = format!("{lead}[\n ");
    let mut width = 1;
    for item in items {
        let wide = item.chars().count() + 2;
        if width > 1 && width + wide > WIDTH {
            all.push_str("\n ");
            width = 1;
        }
        all.push_str(&format!(" {item},"));
        width += wide;
    }
    all.push_str("\n]");
    all
}

fn column(column: &Column) -> String {
    match column {
        Column::Name(name) => quoted(name),
        Column::Number(number) => number.to_string(),
    }
}

/// What the train stage of a task is called.
pub(super) fn model_of(task: Task) -> &'static str {
    match task {
        Task::Classification | Task::MultiLabel => "classifier",
        Task::TokenClassification => "tagger",
        Task::QuestionAnswering => "reader",
        Task::Regression => "regressor",
    }
}

fn counted(count: usize, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}

impl Told<'_> {
    pub(super) fn spec(&self) -> String {
        let guess = self.guess;
        let mut page = Page::begin(self.schema.as_deref());
        let task = guess.task.name();
        page.line(&format!(
            "# {task}, as `refit init` guessed it from the beginning of the files. Every line is yours to change;",
        ));
        page.line("# `refit inspect` shows rows, classes and lengths before anything is trained.");
        page.line("version = 1");
        page.line(&format!("name = {}", quoted(&self.name)));
        page.with(
            "seed = 13",
            "for whatever is drawn: splits, weights, the order of rows",
        );
        page.line("");
        page.line("[vars]");
        page.with(
            &format!("encoder = {}", quoted(self.encoder)),
            "a folder, or a model of the Hugging Face hub",
        );
        page.line("");
        self.load(&mut page);
        self.tokenize(&mut page);
        self.train(&mut page);
        tail(&mut page, guess.task, &self.name);
        page.end()
    }

    fn load(&self, page: &mut Page) {
        let guess = self.guess;
        page.line("[load.data]");
        page.with(&list("train = ", &self.train), &self.size());
        for (split, paths) in [("validation", &self.validation), ("test", &self.test)] {
            if !paths.is_empty() {
                page.line(&list(&format!("{split} = "), paths));
            }
        }
        for (file, why) in &guess.unused {
            page.line(&format!(
                "# {} is not read: {}",
                one_line(&file.display().to_string()),
                one_line(why)
            ));
        }
        self.split(page);
        if guess.states_format {
            let why = match guess.format {
                Format::Conll => "a word and its tag on each line, blank lines between sentences",
                Format::Squad => "SQuAD's JSON",
                _ => "by its content, whatever the ending says",
            };
            page.with(&format!("format = \"{}\"", guess.format), why);
        }
        if matches!(guess.format, Format::Csv | Format::Tsv) {
            if !guess.header {
                page.with(
                    "header = false",
                    "the first line is a row: columns are numbers from 0",
                );
            }
            if guess.quote.is_none() {
                page.with(
                    "quote = \"\"",
                    "a quotation mark is a character like others",
                );
            }
        }
        self.columns(page);
        if let Some((names, from)) = &guess.label_names {
            page.line(&format!("# From {}.", one_line(from)));
            page.line(&list("label_names = ", names));
        }
        if guess.repeated > 0 {
            let repeated = counted(guess.repeated, "row repeats", "rows repeat");
            page.with(
                "deduplicate = { by = \"exact\" }",
                &format!("{repeated} another one, of {} looked at", guess.looked_at),
            );
        }
        if guess.broken > 0 {
            let broken = counted(guess.broken, "row lacks", "rows lack");
            page.with(
                "skip_invalid = true",
                &format!(
                    "{broken} a value or are broken, of {} looked at in all splits",
                    guess.judged
                ),
            );
        }
        page.line("");
    }

    /// How many rows there are.
    fn size(&self) -> String {
        let about = if self.guess.whole { "" } else { "about " };
        format!("{about}{}", counted(self.guess.about, "row", "rows"))
    }

    fn split(&self, page: &mut Page) {
        let guess = self.guess;
        let [validation, test] = guess.cut;
        let mut shares = Vec::new();
        for (split, share) in [("validation", validation), ("test", test)] {
            if share > 0.0 {
                shares.push(format!("{split} = {share}"));
            }
        }
        if shares.is_empty() {
            return;
        }
        let why = match guess.task {
            Task::Classification => {
                shares.push("stratify = true".to_owned());
                "cut from train; each class gives its share"
            }
            Task::QuestionAnswering => "cut from train; questions about one context stay together",
            _ => "cut from train",
        };
        page.with(&format!("split = {{ {} }}", shares.join(", ")), why);
    }

    fn columns(&self, page: &mut Page) {
        let guess = self.guess;
        if matches!(guess.format, Format::Conll | Format::Squad) {
            let what = self.what();
            if !what.is_empty() {
                page.line(&format!("# {what}"));
            }
            return;
        }
        let mut fields = Vec::<String>::new();
        let mut targets = Vec::new();
        for (field, named) in guess.rows.columns() {
            match field {
                "target" => targets.push(column(named)),
                field => fields.push(format!("{field} = {}", column(named))),
            }
        }
        match targets.as_slice() {
            [] => {}
            [one] => fields.push(format!("target = {one}")),
            several => fields.push(format!("target = [{}]", several.join(", "))),
        }
        page.with(
            &format!("columns = {{ {} }}", fields.join(", ")),
            &self.what(),
        );
        if let Rows::Texts {
            gold: Some(Gold::Labels { separator, .. }),
            ..
        } = &guess.rows
            && separator != ","
        {
            page.line(&format!("label_separator = {}", quoted(separator)));
        }
    }

    /// What is to be learnt, in words.
    fn what(&self) -> String {
        let guess = self.guess;
        let mut classes: Vec<(&String, &usize)> = guess.labels.iter().collect();
        classes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let more = classes.len().saturating_sub(SHOWN);
        let shown = classes.iter().take(SHOWN);
        let shown = shown.map(|(label, count)| format!("{} ({count})", short(label)));
        let mut shown = shown.collect::<Vec<_>>().join(", ");
        if more > 0 {
            shown.push_str(", …");
        }
        let all = classes.len();
        match guess.task {
            Task::Classification => format!("{}: {shown}", counted(all, "class", "classes")),
            Task::MultiLabel => format!(
                "{}, several of which a row may have: {shown}",
                counted(all, "label", "labels")
            ),
            Task::TokenClassification => format!("{}: {shown}", counted(all, "tag", "tags")),
            Task::QuestionAnswering => String::new(),
            Task::Regression => "numbers to predict".to_owned(),
        }
    }

    fn tokenize(&self, page: &mut Page) {
        let lengths = &self.guess.lengths;
        page.line("[tokenize.tokens]");
        page.line("input = \"data\"");
        page.line("tokenizer = \"${encoder}\"");
        let by = match lengths.counted {
            true => "counted by the encoder's tokenizer",
            false => "estimated by words",
        };
        let then = match self.guess.task {
            Task::TokenClassification | Task::QuestionAnswering => "read in windows",
            _ => "cut",
        };
        page.with(
            &format!("max_length = {}", lengths.max_length),
            &format!(
                "99 of 100 rows have at most {} tokens ({by}); longer ones are {then}",
                lengths.most
            ),
        );
        page.line("");
    }

    fn train(&self, page: &mut Page) {
        let guess = self.guess;
        page.line(&format!("[train.{}]", model_of(guess.task)));
        page.line("input = \"tokens\"");
        page.line("encoder = \"${encoder}\"");
        page.line(&format!("task = \"{}\"", guess.task.name()));
        let recipe = &guess.recipe;
        page.with(
            &format!("epochs = {}", recipe.epochs),
            "passes over the training rows: more of them the fewer rows there are",
        );
        page.line(&format!("batch = {{ size = {} }}", recipe.batch));
        page.with(
            "optimizer = { learning_rate = 5e-5 }",
            "worth a sweep: 2e-5 to 2e-4",
        );
        if guess.imbalanced {
            page.with(
                "loss = { class_weights = \"balanced\" }",
                "the rarest class has less than a tenth of the rows of the largest",
            );
        }
        if let Some(patience) = recipe.patience {
            let metric = if recipe.by_f1 {
                "metric = \"f1_macro\", "
            } else {
                ""
            };
            let why = match recipe.by_f1 {
                true => "macro F1 counts rare classes like others",
                false => "stops when the validation score no longer improves",
            };
            page.with(
                &format!("early_stopping = {{ {metric}patience = {patience} }}"),
                why,
            );
        }
        if guess.task == Task::MultiLabel {
            page.with(
                "# threshold = \"tuned\"",
                "for rare labels: one for each label, by the validation rows, in place of 0.5",
            );
        }
        if guess.task == Task::TokenClassification {
            page.with(
                "# loss = { name = \"crf\" }",
                "decides the tags of a sentence together",
            );
        }
        page.line("");
    }

    /// What was guessed, in a few lines.
    pub(super) fn summary(&self) -> Vec<String> {
        let guess = self.guess;
        let mut lines = vec![format!("task      {} of {}", guess.task.name(), self.data)];
        let files = |paths: &[String], share: f64| match (paths, share) {
            ([], share) => format!("{} % of train", (share * 100.0).round()),
            ([one], _) => one.clone(),
            (several, _) => format!(
                "{} and {} more",
                several.first().map_or("", String::as_str),
                several.len() - 1
            ),
        };
        let [validation, test] = guess.cut;
        lines.push(format!(
            "files     train {} ({}), validation {}, test {}",
            files(&self.train, 0.0),
            self.size(),
            files(&self.validation, validation),
            files(&self.test, test),
        ));
        for (file, why) in &guess.unused {
            lines.push(format!("not read  {}: {why}", file.display()));
        }
        let mut read = vec![guess.format.to_string()];
        if matches!(guess.format, Format::Csv | Format::Tsv) {
            read.push(
                if guess.header {
                    "a header"
                } else {
                    "no header"
                }
                .to_owned(),
            );
            if guess.quote.is_none() {
                read.push("no quotes".to_owned());
            }
        }
        if !matches!(guess.format, Format::Conll | Format::Squad) {
            let columns = guess.rows.columns().into_iter();
            let columns = columns.map(|(field, column)| format!("{field} {column}"));
            read.push(columns.collect::<Vec<_>>().join(", "));
        }
        lines.push(format!("read as   {}", read.join("; ")));
        let what = self.what();
        if !what.is_empty() {
            lines.push(format!("to learn  {what}"));
        }
        let by = match guess.lengths.counted {
            true => "",
            false => ", estimated by words: the tokenizer is not on this machine yet",
        };
        lines.push(format!(
            "lengths   max_length = {} (99 of 100 rows have at most {} tokens{by})",
            guess.lengths.max_length, guess.lengths.most
        ));
        lines
    }
}

/// Scores and the exported folder.
pub(super) fn tail(page: &mut Page, task: Task, name: &str) {
    let model = model_of(task);
    page.line("[evaluate.scores]");
    page.line(&format!("model = \"{model}\""));
    page.line("input = \"tokens\"");
    page.line("split = \"test\"");
    page.line("");
    page.line("[export.bundle]");
    page.line(&format!("model = \"{model}\""));
    page.with("scores = \"scores\"", "for the model card");
    page.with(
        &format!("to = {}", quoted(&format!("dist/{name}"))),
        "what transformers loads",
    );
}

/// A label in a comment.
fn short(label: &str) -> String {
    const LONGEST: usize = 30;
    let label = one_line(label);
    match label.chars().count() > LONGEST {
        true => label.chars().take(LONGEST).chain(['…']).collect(),
        false => label,
    }
}

/// A comment ends with its line, and TOML allows no other control characters in it.
fn one_line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_written_as_toml_that_means_it() {
        for text in ["a", "a\"b\\", "é\u{1}\u{7f}\t\n\r", "${home}", ""] {
            let written = quoted(text);
            assert!(!written.contains('\n'), "{written:?}");
            // What a string of JSON means, one of TOML does too, but for the variable.
            let read: String = serde_json::from_str(&written).unwrap();
            assert_eq!(read, text.replace("${", "$${"));
        }
    }

    #[test]
    fn long_lists_take_several_lines() {
        assert_eq!(
            list("a = ", &["b".into(), "c".into()]),
            "a = [\"b\", \"c\"]"
        );
        let many: Vec<String> = (0..100).map(|n| format!("label {n}")).collect();
        let written = list("a = ", &many);
        assert!(written.lines().count() > 5);
        assert!(written.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn a_comment_stays_on_its_line() {
        assert_eq!(short("a\nversion = 2"), "a version = 2");
        let mut page = Page::default();
        page.with("a = 1", &"word ".repeat(30));
        page.with("b = 2", "why");
        let text = page.end();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# word") && lines[1] == "a = 1");
        assert!(lines[2].starts_with("b = 2 ") && lines[2].ends_with("# why"));
    }
}
