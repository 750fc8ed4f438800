//! Rows as people look at them: what each column holds, in words.
//!
//! Deliberately absent: the choice of rows.

use super::Texts;

/// A row's fields in the order of its columns, labels by their names.
pub fn fields(
    rows: &Texts<&str>,
    row: usize,
    label_names: Option<&[String]>,
    target_names: Option<&[String]>,
) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let name = |number: &u32| {
        let name = label_names.and_then(|names| names.get(*number as usize));
        name.cloned().unwrap_or_else(|| number.to_string())
    };
    match (at(&rows.words, row), at(&rows.tags, row)) {
        (Some(words), Some(tags)) => {
            let tagged = words.iter().zip(tags);
            let tagged = tagged.map(|(word, tag)| format!("{word}/{}", name(tag)));
            fields.push(("words", tagged.collect::<Vec<_>>().join(" ")));
        }
        (Some(words), None) => fields.push(("words", words.join(" "))),
        (None, _) => {
            let text = rows.text.get(row).copied().unwrap_or_default();
            fields.push(("text", text.to_owned()));
        }
    }
    if let Some(pair) = at(&rows.text_pair, row) {
        fields.push(("text_pair", (*pair).to_owned()));
    }
    if let Some(label) = at(&rows.label, row) {
        fields.push(("label", name(label)));
    }
    if let Some(labels) = at(&rows.labels, row) {
        let labels: Vec<_> = labels.iter().map(name).collect();
        fields.push(("labels", labels.join(", ")));
    }
    if let Some(target) = at(&rows.target, row) {
        let names = target_names.unwrap_or_default();
        let named = target
            .iter()
            .enumerate()
            .map(|(n, value)| match names.get(n) {
                Some(name) if target.len() > 1 => format!("{name} {value}"),
                _ => value.to_string(),
            });
        fields.push(("target", named.collect::<Vec<_>>().join(", ")));
    }
    if let Some(answers) = at(&rows.answers, row) {
        let answers = answers
            .iter()
            .map(|answer| format!("{:?} from character {}", answer.text, answer.start));
        let shown = answers.collect::<Vec<_>>().join(", ");
        let none = || "none in the context".to_owned();
        fields.push((
            "answers",
            Some(shown)
                .filter(|text| !text.is_empty())
                .unwrap_or_else(none),
        ));
    }
    if let Some(name) = at(&rows.name, row) {
        fields.push(("name", (*name).to_owned()));
    }
    fields
}

fn at<T>(column: &Option<Vec<T>>, row: usize) -> Option<&T> {
    column.as_ref()?.get(row)
}

#[cfg(test)]
mod tests {
    use super::super::Answer;
    use super::*;

    #[test]
    fn every_column_is_shown_by_its_names() {
        let names = ["O", "B-PER"].map(str::to_owned);
        let tagged = Texts {
            text: vec!["Ann left"],
            words: Some(vec![vec!["Ann", "left"]]),
            tags: Some(vec![vec![1, 0]]),
            ..Texts::default()
        };
        assert_eq!(
            fields(&tagged, 0, Some(&names), None),
            [("words", "Ann/B-PER left/O".to_owned())]
        );
        let question = Texts {
            text: vec!["who?"],
            text_pair: Some(vec!["Ann left"]),
            answers: Some(vec![vec![Answer {
                start: 0,
                text: "Ann",
            }]]),
            name: Some(vec!["q1"]),
            ..Texts::default()
        };
        let shown = fields(&question, 0, None, None);
        assert_eq!(shown[2], ("answers", "\"Ann\" from character 0".to_owned()));
        assert_eq!(shown[3], ("name", "q1".to_owned()));
        let numbers = Texts {
            text: vec!["x"],
            labels: Some(vec![vec![0, 1]]),
            target: Some(vec![vec![0.5, 2.0]]),
            ..Texts::default()
        };
        let targets = ["a", "b"].map(str::to_owned);
        let shown = fields(&numbers, 0, Some(&names), Some(&targets));
        assert_eq!(shown[1], ("labels", "O, B-PER".to_owned()));
        assert_eq!(shown[2], ("target", "a 0.5, b 2".to_owned()));
    }
}
