//! What a model is to learn: which of a row's marks its answers are compared with, and how.
//!
//! An objective checks rows before anything is computed, gives the loss of a batch for the gradients to follow, and the
//! loss of a whole split from what [`predict`](super::predict) brought to the host. The two are the same numbers: the
//! first in tensors on any device, for any layout of a batch and in any parts of it, the second in double precision.
//!
//! Deliberately absent: scores and decoding, which differ from task to task and are not followed by gradients.

use burn::tensor::{Int, Tensor, TensorData};

use super::batch::Rows;
use super::loss::{
    BinaryCrossEntropy, CrossEntropy, sum_of_crf_losses, sum_of_span_cross_entropies,
    sum_of_squared_errors,
};
use super::predict::log_sum_exp;
use super::{LearnError, Predictions};
use crate::kernels::Spans;
use crate::model::{Classifier, CrfValues, Head, Reads};
use crate::text::NONE;

/// What answers are compared with. The first, second and last are for a head over texts.
#[derive(Debug, Clone, PartialEq)]
pub enum Objective {
    /// The row's one label.
    Label(CrossEntropy),
    /// The row's set of labels, each yes or no.
    Labels(BinaryCrossEntropy),
    /// The tag of each word that the row owns, at the word's first token: the mean over the batch's words, or where the head
    /// has a CRF by [`crf_loss`](super::crf_loss), to which the cross entropy's settings mean nothing. A row's words are one
    /// sequence for it, also where the row is a window of a longer text; a row without words counts for nothing.
    Tags(CrossEntropy),
    /// The first and last token of the answer, by [`span_cross_entropy`](super::span_cross_entropy).
    Answer,
    /// The row's numbers, by [`squared_error`](super::squared_error).
    Targets,
    /// The tokens of the row in whose places something else stands, by [`cross_entropy`](super::cross_entropy): the mean over the batch's
    /// such tokens. Which they are changes from epoch to epoch ([`Rows::masked`]).
    Masked,
}

impl Objective {
    /// Whether every row of `rows` can be learned from, by a head with `outputs` numbers; `split` is for the message.
    ///
    /// # Errors
    /// The first row that lacks what is compared, or has a label, target or place that does not fit; a split without a
    /// single tag; weights that are not one for each label.
    pub fn check(&self, rows: &dyn Rows, split: &str, outputs: usize) -> Result<(), LearnError> {
        let weights = match self {
            Objective::Label(loss) | Objective::Tags(loss) => loss.class_weights.as_ref(),
            Objective::Labels(loss) => loss.positive_weights.as_ref(),
            Objective::Answer | Objective::Targets | Objective::Masked => None,
        };
        if let Some(weights) = weights
            && weights.len() != outputs
        {
            return Err(LearnError::LabelWeights {
                found: weights.len(),
                labels: outputs,
            });
        }
        let (mut tagged, mut masked) = (false, false);
        for row in 0..rows.rows() {
            match self {
                Objective::Label(_) => {
                    let label = rows.label(row).ok_or_else(|| LearnError::NoLabel {
                        split: split.to_owned(),
                        row: rows.id(row),
                    })?;
                    in_range(rows, row, split, &[label], outputs)?;
                }
                Objective::Labels(_) => {
                    let labels = required(rows.labels(row), rows, row, split, "labels", "labels")?;
                    in_range(rows, row, split, labels, outputs)?;
                }
                Objective::Tags(_) => {
                    let tags = required(rows.tags(row), rows, row, split, "tags", "tags")?;
                    for &tag in tags.iter().filter(|&&tag| tag != NONE) {
                        tagged = true;
                        in_range(rows, row, split, &[tag], outputs)?;
                    }
                }
                Objective::Answer => {
                    let (start, end) =
                        required(rows.answer(row), rows, row, split, "answer", "answers")?;
                    let tokens = rows.length(row).max(1);
                    if start > end || end as usize >= tokens {
                        return Err(LearnError::AnswerOutOfRange {
                            split: split.to_owned(),
                            row: rows.id(row),
                            start,
                            end,
                            tokens,
                        });
                    }
                }
                Objective::Masked => {
                    let own = rows.masked(row, 0).unwrap_or_default();
                    masked |= !own.wanted.is_empty();
                    in_range(rows, row, split, &own.wanted, outputs)?;
                }
                Objective::Targets => {
                    let targets =
                        required(rows.targets(row), rows, row, split, "target", "target")?;
                    if targets.len() != outputs {
                        return Err(LearnError::TargetCount {
                            split: split.to_owned(),
                            row: rows.id(row),
                            found: targets.len(),
                            wanted: outputs,
                        });
                    }
                    if let Some(&value) =
                        targets.iter().find(|&&target| !(target as f32).is_finite())
                    {
                        return Err(LearnError::TargetNotFinite {
                            split: split.to_owned(),
                            row: rows.id(row),
                            value,
                        });
                    }
                }
            }
        }
        if matches!(self, Objective::Masked) && rows.rows() > 0 && !masked {
            return Err(LearnError::NothingMasked {
                split: split.to_owned(),
            });
        }
        if matches!(self, Objective::Tags(_)) && rows.rows() > 0 && !tagged {
            return Err(LearnError::NoTags {
                split: split.to_owned(),
            });
        }
        Ok(())
    }

    /// Whether the head answers what is compared.
    ///
    /// # Errors
    /// [`LearnError::OtherHead`] when it does not.
    pub(super) fn check_head(&self, head: &Head) -> Result<(), LearnError> {
        let wanted = match self {
            Objective::Label(_) | Objective::Labels(_) | Objective::Targets => "whole texts",
            Objective::Tags(_) => "tokens",
            Objective::Answer => "start and end of an answer",
            Objective::Masked => "masked words",
        };
        let found = match head.reads() {
            Reads::Texts(_) => "whole texts",
            Reads::Tokens => "tokens",
            Reads::Spans => "start and end of an answer",
            Reads::Masked => "masked words",
        };
        if found == wanted {
            Ok(())
        } else {
            Err(LearnError::OtherHead { found, wanted })
        }
    }

    /// The loss of a batch, `[1]`: of what `model` answers, `[texts, outputs]` or `[tokens, outputs]`, on the rows `chosen`,
    /// which lie as `spans` say. The rows must have passed [`check`](Self::check).
    pub fn loss(
        &self,
        model: &Classifier,
        answers: Tensor<2>,
        rows: &dyn Rows,
        chosen: &[usize],
        spans: &Spans,
    ) -> Tensor<1> {
        let weight = self.weight(rows, chosen, model.outputs());
        self.share(model, answers, rows, chosen, spans, weight)
    }

    /// What the rows `chosen` weigh together in a mean, for a head with `outputs` numbers: the number of words or of answers,
    /// or the sum of their labels' weights. 0 where there is nothing to compare.
    pub fn weight(&self, rows: &dyn Rows, chosen: &[usize], outputs: usize) -> f64 {
        let of_tags = |loss: &CrossEntropy, row: usize| -> f64 {
            let tags = rows.tags(row).unwrap_or_default();
            let tagged = tags.iter().filter(|&&tag| tag != NONE);
            tagged.map(|&tag| loss.weight(tag)).sum()
        };
        match self {
            Objective::Label(loss) => chosen
                .iter()
                .map(|&row| loss.weight(rows.label(row).unwrap_or_default()))
                .sum(),
            Objective::Labels(_) | Objective::Targets => (chosen.len() * outputs) as f64,
            Objective::Tags(loss) => chosen.iter().map(|&row| of_tags(loss, row)).sum(),
            Objective::Answer => 2.0 * chosen.len() as f64,
            Objective::Masked => wanted_of(rows, chosen).len() as f64,
        }
    }

    /// What the rows `chosen` add to the loss of a batch that they are part of and that has this [`weight`](Self::weight),
    /// `[1]`: the losses of its parts are summands, and so are their gradients. The rest is as for [`loss`](Self::loss).
    pub fn share(
        &self,
        model: &Classifier,
        answers: Tensor<2>,
        rows: &dyn Rows,
        chosen: &[usize],
        spans: &Spans,
        weight: f64,
    ) -> Tensor<1> {
        let device = answers.device().without_autodiff();
        let [_, outputs] = answers.dims();
        let sum = match self {
            Objective::Label(loss) => {
                let labels = chosen
                    .iter()
                    .map(|&row| rows.label(row).unwrap_or_default());
                let labels: Vec<i32> = labels.map(|label| label as i32).collect();
                loss.sum(answers, Tensor::from_data(labels.as_slice(), &device))
            }
            Objective::Labels(loss) => {
                let mut wanted = vec![0.0_f32; chosen.len() * outputs];
                for (&row, wanted) in chosen.iter().zip(wanted.chunks_mut(outputs)) {
                    for &label in rows.labels(row).unwrap_or_default() {
                        wanted[label as usize] = 1.0;
                    }
                }
                let wanted = TensorData::new(wanted, [chosen.len(), outputs]);
                loss.sum(answers, Tensor::from_data(wanted, &device))
            }
            Objective::Tags(loss) => {
                let (places, tags): (Vec<Vec<i32>>, Vec<Vec<u32>>) = chosen
                    .iter()
                    .zip(spans.texts())
                    .map(|(&row, text)| tagged(rows, row, text.start))
                    .filter(|(places, _)| !places.is_empty())
                    .unzip();
                if tags.is_empty() {
                    // Of no word, and so without a direction; yet a loss that gradients can be asked of.
                    return answers.sum().mul_scalar(0.0);
                }
                match model.head.crf() {
                    None => {
                        let labels: Vec<i32> =
                            tags.concat().into_iter().map(|tag| tag as i32).collect();
                        let places =
                            Tensor::<1, Int>::from_data(places.concat().as_slice(), &device);
                        let of_words = answers.select(0, places); // [words, labels]
                        loss.sum(of_words, Tensor::from_data(labels.as_slice(), &device))
                    }
                    Some(crf) => {
                        let longest = places.iter().map(Vec::len).max().unwrap_or_default();
                        let padded: Vec<i32> = places
                            .iter()
                            .flat_map(|places| {
                                // Whatever stands at padding counts for nothing; its first word is at least finite.
                                let padding =
                                    std::iter::repeat_n(places[0], longest - places.len());
                                places.iter().copied().chain(padding)
                            })
                            .collect();
                        let padded = Tensor::<1, Int>::from_data(padded.as_slice(), &device);
                        let emissions = answers
                            .select(0, padded) // [texts * words, labels]
                            .reshape([places.len(), longest, outputs]); // [texts, words, labels]
                        sum_of_crf_losses(crf, emissions, &tags)
                    }
                }
            }
            Objective::Answer => {
                let answer = |&row: &usize| rows.answer(row).unwrap_or_default();
                let wanted: Vec<(u32, u32)> = chosen.iter().map(answer).collect();
                sum_of_span_cross_entropies(answers, spans, &wanted)
            }
            Objective::Masked => {
                return masked_share(answers, &wanted_of(rows, chosen), weight);
            }
            Objective::Targets => {
                let wanted: Vec<f32> = chosen
                    .iter()
                    .flat_map(|&row| rows.targets(row).unwrap_or_default())
                    .map(|&target| target as f32)
                    .collect();
                let wanted = TensorData::new(wanted, [chosen.len(), outputs]);
                sum_of_squared_errors(answers, Tensor::from_data(wanted, &device))
            }
        };
        sum.div_scalar(weight)
    }

    /// The loss of all `rows`, in double precision, from what was `predicted` for them: what [`loss`](Self::loss) is for a
    /// single batch of them. `crf` holds the head's parameters where it has a CRF. 0 where there is nothing to compare.
    pub fn loss_of(
        &self,
        predicted: &Predictions,
        rows: &dyn Rows,
        crf: Option<&CrfValues>,
    ) -> f64 {
        let mut mean = Mean::default();
        self.add_losses(&mut mean, predicted, rows, crf);
        mean.value()
    }

    /// Adds the losses of all `rows` to those of the rows before, as [`loss_of`](Self::loss_of) does.
    pub fn add_losses(
        &self,
        mean: &mut Mean,
        predicted: &Predictions,
        rows: &dyn Rows,
        crf: Option<&CrfValues>,
    ) {
        let answers = || predicted.logits.iter().enumerate();
        let parts: Vec<Part> = match self {
            Objective::Label(loss) => answers()
                .map(|(row, logits)| {
                    let label = rows.label(row).unwrap_or(NONE);
                    Part {
                        sum: loss.of_row(logits, label),
                        weight: loss.weight(label),
                    }
                })
                .collect(),
            Objective::Labels(loss) => answers()
                .map(|(row, logits)| {
                    let labels = rows.labels(row).unwrap_or_default();
                    let of_label = |(label, &logit): (usize, &f32)| {
                        loss.of_answer(label, logit, labels.contains(&(label as u32)))
                    };
                    Part {
                        sum: logits.iter().enumerate().map(of_label).sum(),
                        weight: logits.len() as f64,
                    }
                })
                .collect(),
            Objective::Tags(loss) => answers()
                .map(|(row, logits)| of_words(loss, rows, row, logits, crf))
                .collect(),
            Objective::Answer => answers()
                .map(|(row, logits)| {
                    let (start, end) = rows.answer(row).unwrap_or_default();
                    let of_place = |first: usize, place: u32| {
                        let all: Vec<f32> = logits.iter().skip(first).step_by(2).copied().collect();
                        all.get(place as usize)
                            .map_or(0.0, |&own| log_sum_exp(&all) - f64::from(own))
                    };
                    Part {
                        sum: (of_place(0, start) + of_place(1, end)) / 2.0,
                        weight: 1.0,
                    }
                })
                .collect(),
            Objective::Masked => answers()
                .map(|(_, logits)| Part {
                    sum: logits.iter().step_by(2).map(|&loss| f64::from(loss)).sum(),
                    weight: (logits.len() / 2) as f64,
                })
                .collect(),
            Objective::Targets => answers()
                .map(|(row, logits)| {
                    let targets = rows.targets(row).unwrap_or_default();
                    let squares = logits
                        .iter()
                        .zip(targets)
                        .map(|(&answer, target)| (f64::from(answer) - target).powi(2));
                    Part {
                        sum: squares.sum(),
                        weight: logits.len() as f64,
                    }
                })
                .collect(),
        };
        for part in parts {
            mean.sum += part.sum;
            mean.weight += part.weight;
        }
    }
}

/// The tokens that are to be predicted outside of a training.
fn wanted_of(rows: &dyn Rows, chosen: &[usize]) -> Vec<i32> {
    let masked = chosen.iter().filter_map(|&row| rows.masked(row, 0));
    let wanted = masked.flat_map(|masked| masked.wanted);
    wanted.map(|id| id as i32).collect()
}

/// What some places add to the loss of a batch with so many of them: `answers [asked, pieces]`, `wanted [asked]` → `[1]`.
pub(super) fn masked_share(answers: Tensor<2>, wanted: &[i32], weight: f64) -> Tensor<1> {
    if wanted.is_empty() {
        // Of no place, and so without a direction; yet a loss that gradients can be asked of.
        return answers.sum().mul_scalar(0.0);
    }
    let device = answers.device().without_autodiff();
    let wanted = Tensor::<1, Int>::from_data(wanted, &device);
    CrossEntropy::default()
        .sum(answers, wanted)
        .div_scalar(weight)
}

/// A mean on its way: the loss of rows that come one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    /// 0 where nothing was added.
    pub fn value(self) -> f64 {
        if self.weight == 0.0 {
            return 0.0;
        }
        self.sum / self.weight
    }
}

/// What one row adds to a mean.
struct Part {
    sum: f64,
    weight: f64,
}

fn required<T>(
    found: Option<T>,
    rows: &dyn Rows,
    row: usize,
    split: &str,
    what: &'static str,
    column: &'static str,
) -> Result<T, LearnError> {
    found.ok_or_else(|| LearnError::Unmarked {
        split: split.to_owned(),
        row: rows.id(row),
        what,
        column,
    })
}

fn in_range(
    rows: &dyn Rows,
    row: usize,
    split: &str,
    found: &[u32],
    labels: usize,
) -> Result<(), LearnError> {
    match found.iter().find(|&&label| label as usize >= labels) {
        None => Ok(()),
        Some(&label) => Err(LearnError::LabelOutOfRange {
            split: split.to_owned(),
            row: rows.id(row),
            label,
            labels,
        }),
    }
}

/// The tagged tokens of a row, counted from `start`, and their tags.
fn tagged(rows: &dyn Rows, row: usize, start: usize) -> (Vec<i32>, Vec<u32>) {
    let tags = rows.tags(row).unwrap_or_default();
    let tagged = tags.iter().enumerate().filter(|&(_, &tag)| tag != NONE);
    tagged
        .map(|(token, &tag)| ((start + token) as i32, tag))
        .unzip()
}

/// The loss of a row's words, whose numbers stand in `logits` one word after the other.
fn of_words(
    loss: &CrossEntropy,
    rows: &dyn Rows,
    row: usize,
    logits: &[f32],
    crf: Option<&CrfValues>,
) -> Part {
    let words = rows.words(row).unwrap_or_default();
    let tags = rows.tags(row).unwrap_or_default();
    let owned = words.iter().filter(|&&word| word != NONE).count();
    let labels = logits.len().checked_div(owned).unwrap_or_default();
    // A word without a tag has numbers all the same.
    let (of_tagged, tags): (Vec<&[f32]>, Vec<u32>) = words
        .iter()
        .zip(tags)
        .filter(|&(&word, _)| word != NONE)
        .zip(logits.chunks(labels.max(1)))
        .filter(|&((_, &tag), _)| tag != NONE)
        .map(|((_, &tag), logits)| (logits, tag))
        .unzip();
    match crf {
        Some(crf) => Part {
            sum: -crf.log_likelihood(&of_tagged.concat(), &tags),
            weight: tags.len() as f64,
        },
        None => Part {
            sum: of_tagged
                .iter()
                .zip(&tags)
                .map(|(logits, &tag)| loss.of_row(logits, tag))
                .sum(),
            weight: tags.iter().map(|&tag| loss.weight(tag)).sum(),
        },
    }
}

#[cfg(test)]
pub(super) mod tests;
