//! One label for each text.
//!
//! The likeliest label is given; of equals, the first.

use super::changes::Judged;
use super::predictions::{Recalled, numbering};
use super::{Answers, Asked, Decisive, Outcome, Reply, Rule, Scored, TaskError, of_every_row};
use crate::learn::Predictions;
use crate::metrics;
use crate::table::{Cells, NamedColumns};

struct Labelled {
    names: Vec<String>,
    predicted: Vec<u32>,
    /// `[rows][labels]`.
    probabilities: Vec<Vec<f32>>,
}

pub(super) fn decide(rule: &Rule, outputs: &Predictions) -> impl Answers + use<> {
    Labelled {
        names: rule.names.clone(),
        predicted: outputs.labels(),
        probabilities: outputs.probabilities(),
    }
}

impl Answers for Labelled {
    fn scores(&self, asked: &Asked, loss: f64) -> Result<Scored, TaskError> {
        let labels = of_every_row(asked, "label", |row| asked.rows.label(row))?;
        let scored = metrics::classification(&labels, &self.predicted, &self.names);
        Ok(Scored {
            flat: scored.flat(loss),
            details: scored.details(),
        })
    }

    fn columns(&self, asked: &Asked) -> Vec<(String, Cells)> {
        let name = |label: u32| self.names.get(label as usize).cloned();
        let mut columns = Vec::new();
        if let Ok(labels) = of_every_row(asked, "label", |row| asked.rows.label(row)) {
            let labels = labels.into_iter().map(name).collect();
            columns.push(("label".to_owned(), Cells::Texts(labels)));
        }
        let predicted = self.predicted.iter().map(|&label| name(label)).collect();
        columns.push(("predicted".to_owned(), Cells::Texts(predicted)));
        columns.extend(probabilities(&self.names, &self.probabilities));
        columns
    }

    fn replies(&self, _: &Asked) -> Vec<Reply> {
        let answers = self.predicted.iter().zip(&self.probabilities);
        let reply = |(&given, probabilities): (&u32, &Vec<f32>)| Reply::Labels {
            probabilities: probabilities.clone(),
            given: vec![given as usize],
        };
        answers.map(reply).collect()
    }

    fn outcomes(&self, asked: &Asked) -> Result<Vec<Option<Outcome>>, TaskError> {
        let labels = of_every_row(asked, "label", |row| asked.rows.label(row))?;
        let answers = self.predicted.iter().zip(&self.probabilities);
        let outcome = |(label, (&given, probabilities)): (u32, (&u32, &Vec<f32>))| Outcome {
            right: label == given,
            sure: probabilities
                .get(given as usize)
                .copied()
                .unwrap_or_default(),
        };
        let outcomes = labels.into_iter().zip(answers).map(outcome);
        Ok(outcomes.map(Some).collect())
    }

    fn decisive(&self, _: &Asked, _: &Predictions, example: usize) -> Option<Decisive> {
        let label = *self.predicted.get(example)? as usize;
        Some(Decisive {
            row: example,
            output: vec![(0, label)],
            name: self.names.get(label)?.clone(),
        })
    }
}

/// The labels that were given to the rows so far: what scores need, four bytes for each.
pub(super) struct Given {
    names: Vec<String>,
    predicted: Vec<u32>,
}

impl Given {
    pub(super) fn new(rule: &Rule) -> Self {
        Given {
            names: rule.names.clone(),
            predicted: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, outputs: &Predictions) {
        self.predicted.extend(outputs.labels());
    }

    /// The answers to all these rows, without probabilities.
    pub(super) fn all(self) -> impl Answers + use<> {
        Labelled {
            names: self.names,
            predicted: self.predicted,
            probabilities: Vec::new(),
        }
    }
}

/// Rows of predictions, to be scored again.
pub(super) fn recall(columns: &NamedColumns) -> Option<Recalled> {
    let names = columns.after("probability_");
    let number = numbering(&names);
    let of = |column: &str| -> Option<Vec<u32>> {
        Some(columns.texts(column)?.into_iter().map(&number).collect())
    };
    let (labels, predicted) = (of("label")?, of("predicted")?);
    let probabilities: Vec<_> = names
        .iter()
        .map(|name| columns.floats(&format!("probability_{name}")))
        .collect();
    let judge = |(row, (&label, &predicted)): (usize, (&u32, &u32))| {
        let given = probabilities.get(predicted as usize);
        Judged {
            right: label == predicted && given.is_some(),
            confidence: given.and_then(|column| column.as_ref()?.get(row).copied()),
        }
    };
    let judged = labels.iter().zip(&predicted).enumerate().map(judge);
    Some(Recalled {
        gold: vec!["label".to_owned()],
        judged: Some(judged.collect()),
        sample: metrics::sample_of_classes(labels, predicted, names.clone()),
    })
}

/// A column `probability_NAME` for each name.
pub(super) fn probabilities(
    names: &[String],
    rows: &[Vec<f32>],
) -> impl Iterator<Item = (String, Cells)> {
    names.iter().enumerate().map(|(number, name)| {
        let column = rows.iter().map(|row| row.get(number).copied());
        let column = column.map(Option::unwrap_or_default).collect();
        (format!("probability_{name}"), Cells::Floats(column))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{Mean, Objective, Rows, Window};
    use crate::task::{AnswerSettings, Task};

    struct Labels(Vec<u32>);

    impl Rows for Labels {
        fn rows(&self) -> usize {
            self.0.len()
        }

        fn ids(&self, _: usize) -> &[u32] {
            &[]
        }

        fn type_ids(&self, _: usize) -> &[u8] {
            &[]
        }

        fn label(&self, row: usize) -> Option<u32> {
            self.0.get(row).copied()
        }

        fn id(&self, row: usize) -> u64 {
            100 + row as u64
        }
    }

    fn asked(rows: &dyn Rows) -> Asked<'_> {
        Asked {
            rows,
            examples: None,
            places: None,
        }
    }

    #[test]
    fn rows_that_are_answered_piece_by_piece_have_the_scores_and_the_loss_of_the_whole() {
        let rows = Labels((0..101).map(|row| row * row % 3).collect());
        let logit = |row: usize, label: usize| ((row * 7 + label * 5) % 11) as f32 * 0.37 - 1.0;
        let of_row = |row| (0..3).map(|label| logit(row, label)).collect();
        let logits: Vec<Vec<f32>> = (0..101).map(of_row).collect();
        let rule = Rule {
            task: Task::Classification,
            names: ["a", "b", "c"].map(str::to_owned).to_vec(),
            thresholds: None,
            scheme: None,
            answers: AnswerSettings::default(),
        };
        let whole = Predictions {
            logits: logits.clone(),
        };
        let task = Task::Classification;
        let objective = task.objective(&Default::default(), &rows, &rule.names);
        let objective: Objective = objective.unwrap();
        let loss = objective.loss_of(&whole, &rows, None);
        let answers = decide(&rule, &whole);
        let wanted = answers.scores(&asked(&rows), loss).unwrap();
        let mut columns = Vec::new();
        let (mut tally, mut mean) = (rule.tally().unwrap(), Mean::default());
        for start in (0..101).step_by(10) {
            let window = Window::new(&rows, start..start + 10);
            let logits = logits[start..start + window.rows()].to_vec();
            let outputs = Predictions { logits };
            let ids = Cells::Ids(asked(&window).ids());
            columns.push((ids, decide(&rule, &outputs).columns(&asked(&window))));
            objective.add_losses(&mut mean, &outputs, &window, None);
            tally.add(&outputs).unwrap();
        }
        assert_eq!(mean.value().to_bits(), loss.to_bits());
        assert_eq!(
            tally.answers().scores(&asked(&rows), mean.value()).unwrap(),
            wanted
        );
        assert_eq!(columns.len(), 11);
        assert_eq!(columns[10].0, Cells::Ids(vec![200]));
        let all = answers.columns(&asked(&rows));
        for (number, (name, cells)) in all.into_iter().enumerate() {
            let (of_piece, piece) = &columns[10].1[number];
            assert_eq!(of_piece, &name);
            match (cells, piece) {
                (Cells::Texts(all), Cells::Texts(piece)) => assert_eq!(all[100..], *piece),
                (Cells::Floats(all), Cells::Floats(piece)) => assert_eq!(all[100..], *piece),
                other => panic!("{other:?}"),
            }
        }
    }
}
