//! Asking a model: what its head answers for every row, without gradients.
//!
//! Rows are batched by length, longest first, so that little is padded and a lack of memory shows at once. A batch holds as
//! many rows as fit a number of tokens, so that short rows go many at once. The answers come back in the rows' own order.
//! On a CPU several batches are answered side by side, a thread for each: they never wait for each other, as the parts of a
//! single product do.
//!
//! Promise: no randomness. Another batch size changes nothing but the rounding of floats.
//!
//! Deliberately absent: scores (`metrics`) and label names.

use std::ops::{ControlFlow, Range};

use burn::tensor::Device;
use rayon::prelude::*;

use super::LearnError;
use super::batch::{self, Laid, Rows};
use super::gradients::read;
use crate::device;
use crate::model::{Classifier, Mode, Reads};
use crate::text::NONE;

/// What a model answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// For each row in the split's order, in one list:
    ///
    /// - of a head over texts, one number per label or target;
    /// - of a head over tokens, for each word that the row owns, in their order, one number per label: `[words, labels]`, what
    ///   [`Crf::decode`](crate::model::Crf::decode) takes;
    /// - of a head for answers, for each token that of a start and that of an end: `[tokens, 2]`;
    /// - of a head over masked places, for each place the cross entropy of the token that stood there, in nats, and 1 where it
    ///   is the likeliest, else 0: `[places, 2]`.
    pub logits: Vec<Vec<f32>>,
}

/// Asks `model` (on `device`, without autodiff) about every row, in batches of at most `tokens` tokens with their padding
/// (on a CPU at most about a thousand, and anywhere at least one row). `on_rows` is told how many rows were just done, and may say stop.
///
/// # Errors
/// [`LearnError::Interrupted`] when told to stop, [`LearnError::Device`] when the device fails.
pub fn predict(
    model: &Classifier,
    rows: &dyn Rows,
    pad_id: u32,
    tokens: usize,
    device: &Device,
    on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Predictions, LearnError> {
    let mode = Mode::EVALUATE;
    predict_as(&mode, model, rows, pad_id, tokens, device, on_rows)
}

/// As [`predict`], in the precision of `mode`.
pub(super) fn predict_as(
    mode: &Mode,
    model: &Classifier,
    rows: &dyn Rows,
    pad_id: u32,
    tokens: usize,
    device: &Device,
    on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Predictions, LearnError> {
    let (batches, layout, longest) = batch::by_length(rows, tokens, device);
    let ask = |chosen: &[usize]| {
        let laid = Laid::out(rows, chosen, layout, pad_id, longest);
        answers(mode, model, rows, chosen, laid, device)
    };
    let mut logits = vec![Vec::new(); rows.rows()];
    let side_by_side = match device::is_cpu(device) {
        true => SIDE_BY_SIDE * rayon::current_num_threads(),
        false => 1,
    };
    for group in batches.chunks(side_by_side) {
        let answered: Vec<_> = match group {
            [only] => vec![ask(only)],
            several => several.par_iter().map(|chosen| ask(chosen)).collect(),
        };
        for (chosen, answered) in group.iter().zip(answered) {
            for (&row, answer) in chosen.iter().zip(answered?) {
                logits[row] = answer;
            }
            if on_rows(chosen.len()).is_break() {
                return Err(LearnError::Interrupted);
            }
        }
    }
    Ok(Predictions { logits })
}

/// Batches for each thread between two looks at whether to stop.
const SIDE_BY_SIDE: usize = 4;

/// What `model` answers for each of the rows `chosen`, which are `laid` out in this order.
fn answers(
    mode: &Mode,
    model: &Classifier,
    rows: &dyn Rows,
    chosen: &[usize],
    laid: Laid,
    device: &Device,
) -> Result<Vec<Vec<f32>>, LearnError> {
    if model.head.masked().is_some() {
        let masked: Vec<usize> = chosen.iter().map(|&row| masked_places(rows, row)).collect();
        let judged = judged(mode, model, laid, device)?;
        let mut judged = judged.as_slice();
        let of_row = |places: usize| {
            let (own, later) = judged.split_at((2 * places).min(judged.len()));
            judged = later;
            own.to_vec()
        };
        return Ok(masked.into_iter().map(of_row).collect());
    }
    let batch = laid.on(device);
    let answers = model.forward(&batch, mode); // [chosen, outputs] or [tokens, outputs]
    let [_, outputs] = answers.dims();
    let answers = read(answers, "predicting")?;
    let of = |rows: Range<usize>| &answers[rows.start * outputs..rows.end * outputs];
    let of_row = |(text, (&row, tokens)): (usize, (&usize, &Range<usize>))| match model.head.reads()
    {
        Reads::Texts(_) => of(text..text + 1).to_vec(),
        Reads::Tokens => rows
            .words(row)
            .unwrap_or_default()
            .iter()
            .zip(tokens.clone())
            .filter(|&(&word, _)| word != NONE)
            .flat_map(|(_, token)| of(token..token + 1))
            .copied()
            .collect(),
        Reads::Spans | Reads::Masked => of(tokens.start..tokens.start + rows.length(row)).to_vec(),
    };
    let texts = chosen.iter().zip(batch.spans.texts()).enumerate();
    Ok(texts.map(of_row).collect())
}

fn masked_places(rows: &dyn Rows, row: usize) -> usize {
    rows.masked(row, 0).map_or(0, |masked| masked.places.len())
}

/// Of each place that is asked for the cross entropy of what stood there, and whether that is the likeliest: `[asked, 2]`. The
/// pieces of the vocabulary are many, so places are taken some at a time.
fn judged(
    mode: &Mode,
    model: &Classifier,
    laid: Laid,
    device: &Device,
) -> Result<Vec<f32>, LearnError> {
    let wanted = laid.wanted.clone();
    let batch = laid.on(device);
    let mut judged = Vec::with_capacity(2 * wanted.len());
    if wanted.is_empty() {
        return Ok(judged);
    }
    let hidden = model.hidden(&batch, mode); // [tokens, hidden]
    let pieces = model.outputs().max(1);
    let some = (MOST_LOGITS / pieces).max(1);
    for (asked, wanted) in batch.asked().chunks(some).zip(wanted.chunks(some)) {
        let logits = model.logits_at(hidden.clone(), asked, mode); // [asked, pieces]
        let logits = read(logits, "predicting")?;
        for (logits, &wanted) in logits.chunks(pieces).zip(wanted) {
            let own = logits.get(wanted as usize).copied();
            let own = own.unwrap_or(f32::NEG_INFINITY);
            let likeliest = logits.iter().all(|&logit| logit <= own);
            let loss = log_sum_exp(logits) - f64::from(own);
            judged.extend([loss as f32, f32::from(u8::from(likeliest))]);
        }
    }
    Ok(judged)
}

/// The most logits of masked places that are there at once: 64 MiB.
pub(super) const MOST_LOGITS: usize = 1 << 24;

/// Of a model with one label for each text.
impl Predictions {
    /// The number of the likeliest label of each row; of equals, the first.
    pub fn labels(&self) -> Vec<u32> {
        let likeliest = |row: &Vec<f32>| {
            let best = row
                .iter()
                .enumerate()
                .rev()
                .max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(label, _)| label as u32)
        };
        self.logits.iter().map(likeliest).collect()
    }

    /// The softmax of each row's logits.
    pub fn probabilities(&self) -> Vec<Vec<f32>> {
        let softmax = |row: &Vec<f32>| {
            let all = log_sum_exp(row);
            row.iter()
                .map(|&logit| (f64::from(logit) - all).exp() as f32)
                .collect()
        };
        self.logits.iter().map(softmax).collect()
    }

    /// The mean cross entropy against `labels`, in nats, summed in double precision; 0 for no rows.
    pub fn loss(&self, labels: &[u32]) -> f64 {
        let of_row = |(row, &label): (&Vec<f32>, &u32)| {
            let right = row
                .get(label as usize)
                .map_or(f64::NEG_INFINITY, |&logit| f64::from(logit));
            log_sum_exp(row) - right
        };
        let sum: f64 = self.logits.iter().zip(labels).map(of_row).sum();
        if labels.is_empty() {
            0.0
        } else {
            sum / labels.len() as f64
        }
    }
}

pub(super) fn log_sum_exp(row: &[f32]) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest
        + row
            .iter()
            .map(|&logit| (f64::from(logit) - largest).exp())
            .sum::<f64>()
            .ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions() -> Predictions {
        Predictions {
            logits: vec![vec![2.0, -1.0, 0.5], vec![0.0, 0.0, 0.0]],
        }
    }

    #[test]
    fn the_loss_is_what_torch_computes() {
        assert!((predictions().loss(&[2, 1]) - 1.419_961_810_112).abs() < 1e-7);
    }

    #[test]
    fn the_likeliest_label_wins_and_of_equals_the_first() {
        assert_eq!(predictions().labels(), [0, 0]);
        assert_eq!(
            Predictions {
                logits: vec![vec![-1.0, 3.0]]
            }
            .labels(),
            [1]
        );
    }

    #[test]
    fn probabilities_sum_to_one_even_for_huge_logits() {
        for row in (Predictions {
            logits: vec![vec![1e4, -1e4, 9.9e3], vec![0.3, 0.2, 0.1]],
        })
        .probabilities()
        {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
}
