//! Answers for people, on a terminal.
//!
//! Promise: a text is shown as text, whatever control characters it holds.
//!
//! Deliberately absent: colours that mean something by themselves; what they show is written too.

use std::io::IsTerminal;

use super::sink::likeliest;
use crate::bundle::{Entity, Reply, SpanAnswer};
use crate::model::ModelInfo;

/// How answers are shown.
pub(super) struct Shown {
    /// Whether a single text was asked, of which there is room for all that is known.
    pub(super) one: bool,
    pub(super) top_k: Option<usize>,
    pub(super) colours: bool,
}

/// How much of a text stands beside its answer. Characters.
const OF_A_TEXT: usize = 72;
/// Labels of a single text, unless more are asked for.
const LABELS: usize = 20;
/// Answers to a single question, unless more are asked for.
const ANSWERS: usize = 3;
const BAR: usize = 24;

pub(super) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

impl Shown {
    /// The lines of one answer.
    pub(super) fn text(
        &self,
        reply: &Reply,
        info: &ModelInfo,
        text: &str,
        pair: Option<&str>,
    ) -> String {
        match reply {
            Reply::Labels {
                probabilities,
                given,
            } if self.one => self.labels(probabilities, given, info.names()),
            Reply::Labels {
                probabilities,
                given,
            } => {
                let name = |label: &usize| {
                    let name = info.names().get(*label).map_or("", String::as_str);
                    let sure = probabilities.get(*label).copied().unwrap_or_default();
                    format!("{} {sure:.2}", plain(name))
                };
                let names: Vec<String> = given.iter().map(name).collect();
                let names = match names.is_empty() {
                    true => "none".to_owned(),
                    false => names.join(", "),
                };
                self.line(&names, text, pair)
            }
            Reply::Entities(entities) if info.scheme.is_none() => {
                let word = |word: &Entity| {
                    let tag = self.strong(&plain(&word.label));
                    format!("{}/{tag}", plain(&word.text))
                };
                let words: Vec<String> = entities.iter().map(word).collect();
                format!("{}\n", words.join(" "))
            }
            Reply::Entities(entities) => self.marked(text, entities),
            Reply::Answers(answers) => self.answers(answers, text),
            Reply::Numbers(numbers) => {
                let names = info.names().iter();
                let number =
                    |(name, number): (&String, &f32)| format!("{} {number:.4}", plain(name));
                let numbers: Vec<String> = names.zip(numbers).map(number).collect();
                match self.one {
                    true => format!("{}\n", numbers.join("\n")),
                    false => self.line(&numbers.join(", "), text, pair),
                }
            }
        }
    }

    /// The likeliest labels, a line each, those that are given marked.
    fn labels(&self, probabilities: &[f32], given: &[usize], names: &[String]) -> String {
        let shown = likeliest(probabilities, self.top_k.unwrap_or(LABELS));
        let name = |label: usize| names.get(label).map_or("", String::as_str);
        let width = shown.iter().map(|&(label, _)| name(label).chars().count());
        let width = width.max().unwrap_or_default();
        let mut text = String::new();
        for &(label, sure) in &shown {
            let is_given = given.contains(&label);
            let mark = if is_given { "*" } else { " " };
            let filled = (sure * BAR as f32).round() as usize;
            let padded = format!("{:width$}", plain(name(label)));
            let padded = if is_given {
                self.strong(&padded)
            } else {
                padded
            };
            let bar = "█".repeat(filled.min(BAR));
            text.push_str(format!("{mark} {padded}  {sure:.4}  {bar}").trim_end());
            text.push('\n');
        }
        match probabilities.len() - shown.len() {
            0 => {}
            rest => text.push_str(&format!("  and {rest} less likely\n")),
        }
        text
    }

    /// An answer and the text that it is of.
    fn line(&self, answer: &str, text: &str, pair: Option<&str>) -> String {
        let pair = pair.map_or(String::new(), |pair| format!("  |  {}", cut(pair)));
        format!("{}  {}{pair}\n", self.strong(answer), cut(text))
    }

    /// The text with its entities in brackets.
    fn marked(&self, text: &str, entities: &[Entity]) -> String {
        let characters: Vec<char> = text.chars().collect();
        let part = |from: usize, to: usize| {
            let part = characters.get(from..to.max(from)).unwrap_or_default();
            plain(&part.iter().collect::<String>())
        };
        let (mut line, mut at) = (String::new(), 0);
        for entity in entities {
            let (start, end) = (entity.start as usize, entity.end as usize);
            line.push_str(&part(at, start));
            let inside = format!(
                "{} {} {:.2}",
                part(start, end),
                plain(&entity.label),
                entity.score
            );
            line.push_str(&self.strong(&format!("[{inside}]")));
            at = end;
        }
        line.push_str(&part(at, characters.len()));
        line.push('\n');
        line
    }

    fn answers(&self, answers: &[SpanAnswer], question: &str) -> String {
        let shown = |answer: &SpanAnswer| {
            if answer.text.is_empty() {
                return format!("(no answer)  {:.4}", answer.score);
            }
            let (start, end) = (answer.start, answer.end);
            format!(
                "{}  {:.4}  (characters {start} to {end})",
                plain(&answer.text),
                answer.score
            )
        };
        let first = answers
            .first()
            .map_or_else(|| "(no answer)".to_owned(), shown);
        if !self.one {
            return self.line(&first, question, None);
        }
        let mut text = format!("{}\n", self.strong(&first));
        let most = self.top_k.unwrap_or(ANSWERS);
        for answer in answers.iter().take(most).skip(1) {
            text.push_str(&format!("{}\n", shown(answer)));
        }
        text
    }

    fn strong(&self, text: &str) -> String {
        match self.colours {
            true => format!("\u{1b}[1;36m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// In one line, and nothing that a terminal obeys.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

/// The beginning of a long text.
fn cut(text: &str) -> String {
    let text = plain(text);
    match text.char_indices().nth(OF_A_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(task: &str, names: &[&str]) -> ModelInfo {
        serde_json::from_value(serde_json::json!({
            "task": task, "head_dropout": 0.1, "label_names": names, "target_names": names, "max_length": 8,
            "scheme": "bio", "tokenizer_digest": "", "best_epoch": 0, "best_step": 0, "steps": 0,
        }))
        .unwrap()
    }

    fn shown(one: bool) -> Shown {
        Shown {
            one,
            top_k: None,
            colours: false,
        }
    }

    #[test]
    fn a_single_text_shows_every_label_and_several_the_one_that_is_given() {
        let reply = Reply::Labels {
            probabilities: vec![0.25, 0.75],
            given: vec![1],
        };
        let info = info("classification", &["bad", "good"]);
        assert_eq!(
            shown(true).text(&reply, &info, "x", None),
            "* good  0.7500  ██████████████████\n  bad   0.2500  ██████\n"
        );
        assert_eq!(
            shown(false).text(&reply, &info, "x\ny", Some("z")),
            "good 0.75  x y  |  z\n"
        );
        let none = Reply::Labels {
            probabilities: vec![0.25, 0.25],
            given: Vec::new(),
        };
        assert_eq!(shown(false).text(&none, &info, "x", None), "none  x\n");
    }

    #[test]
    fn entities_stand_in_their_text() {
        let entity = |label: &str, start, end, text: &str| Entity {
            label: label.to_owned(),
            start,
            end,
            text: text.to_owned(),
            score: 0.5,
        };
        let reply = Reply::Entities(vec![
            entity("PER", 0, 3, "Adé"),
            entity("LOC", 7, 11, "Oslo"),
        ]);
        let text = shown(false).text(
            &reply,
            &info("token_classification", &["O"]),
            "Adé in\u{1b}Oslo.",
            None,
        );
        assert_eq!(text, "[Adé PER 0.50] in [Oslo LOC 0.50].\n");
    }

    #[test]
    fn answers_say_where_they_stand_or_that_there_are_none() {
        let answer = |text: &str, start, end| SpanAnswer {
            text: text.to_owned(),
            start,
            end,
            score: 0.5,
        };
        let info = info("question_answering", &[]);
        let reply = Reply::Answers(vec![answer("Oslo", 3, 7), answer("", 0, 0)]);
        assert_eq!(
            shown(true).text(&reply, &info, "Where?", None),
            "Oslo  0.5000  (characters 3 to 7)\n(no answer)  0.5000\n"
        );
        assert_eq!(
            shown(false).text(&Reply::Answers(Vec::new()), &info, "Where?", None),
            "(no answer)  Where?\n"
        );
    }

    #[test]
    fn numbers_have_their_names() {
        let info = info("regression", &["x", "y"]);
        let reply = Reply::Numbers(vec![1.0, -0.5]);
        assert_eq!(
            shown(true).text(&reply, &info, "t", None),
            "x 1.0000\ny -0.5000\n"
        );
        assert_eq!(
            shown(false).text(&reply, &info, "t", None),
            "x 1.0000, y -0.5000  t\n"
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = "ü".repeat(100);
        assert_eq!(cut(&text).chars().count(), OF_A_TEXT + 1);
    }
}
