//! Asking an encoder which pieces of its vocabulary are likely in some places of texts, without gradients.
//!
//! Rows are batched as `predict` does it. What the head gives is as wide as the vocabulary, so places are taken some at a
//! time, and never more than [`MOST_LOGITS`] numbers are there at once.
//!
//! Promise: no randomness; another batch size changes nothing but the rounding of floats, and of equally likely pieces the
//! one with the lower id comes first. Deliberately absent: which words to mask, and what to make of the answers.

use std::ops::ControlFlow;

use burn::tensor::Device;

use super::LearnError;
use super::batch::{self, Laid, Rows};
use super::gradients::read;
use super::predict::{MOST_LOGITS, log_sum_exp};
use crate::model::{Masked, Mode};

/// A piece of the vocabulary and its probability, of all that there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likely {
    pub id: u32,
    pub probability: f32,
}

/// The `top` likeliest pieces, the likeliest first, at each of a row's `positions` (tokens counted from 0), for each row:
/// `[rows][positions][top]`. `model` is on `device`, without autodiff; it reads batches of at most `tokens` tokens with their
/// padding (see [`predict`](super::predict)). A row without a position is not read, nor is one beyond `positions`. `on_rows` is
/// told how many rows were just done, and may say stop.
///
/// # Errors
/// [`LearnError::NoSuchPosition`] for a position beyond its row, [`LearnError::Interrupted`] when told to stop,
/// [`LearnError::Device`] when the device fails.
#[expect(
    clippy::too_many_arguments,
    reason = "those of `predict`, the places and how many"
)]
pub fn predict_masked(
    model: &Masked,
    rows: &dyn Rows,
    positions: &[Vec<usize>],
    top: usize,
    pad_id: u32,
    tokens: usize,
    device: &Device,
    on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<Vec<Vec<Likely>>>, LearnError> {
    let of = |row: usize| positions.get(row).map_or(&[][..], Vec::as_slice);
    for row in 0..rows.rows() {
        let tokens = rows.length(row);
        if let Some(&position) = of(row).iter().find(|&&position| position >= tokens) {
            return Err(LearnError::NoSuchPosition {
                row,
                position,
                tokens,
            });
        }
    }
    let mut likely = vec![Vec::new(); rows.rows()];
    let (batches, layout, longest) = batch::by_length(rows, tokens, device);
    for chosen in batches {
        let done = chosen.len();
        let asked = chosen.into_iter().filter(|&row| !of(row).is_empty());
        let asked: Vec<usize> = asked.collect();
        if !asked.is_empty() {
            let batch = Laid::out(rows, &asked, layout, pad_id, longest).on(device);
            let hidden = model.hidden(&batch, &Mode::EVALUATE); // [tokens, hidden]
            let texts = asked.iter().zip(batch.spans.texts());
            let places = texts.flat_map(|(&row, text)| {
                let place = move |&position: &usize| (row, (text.start + position) as i32);
                of(row).iter().map(place)
            });
            let places: Vec<(usize, i32)> = places.collect();
            for some in places.chunks((MOST_LOGITS / model.vocabulary().max(1)).max(1)) {
                let at: Vec<i32> = some.iter().map(|&(_, at)| at).collect();
                let logits = model.logits(hidden.clone(), &at, &Mode::EVALUATE); // [places, vocab]
                let [_, vocabulary] = logits.dims();
                let logits = read(logits, "predicting")?;
                for (&(row, _), logits) in some.iter().zip(logits.chunks(vocabulary.max(1))) {
                    likely[row].push(likeliest(logits, top));
                }
            }
        }
        if on_rows(done).is_break() {
            return Err(LearnError::Interrupted);
        }
    }
    Ok(likely)
}

fn likeliest(logits: &[f32], top: usize) -> Vec<Likely> {
    let all = log_sum_exp(logits);
    let by_logit = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    if (1..ids.len()).contains(&top) {
        ids.select_nth_unstable_by(top - 1, by_logit);
    }
    ids.truncate(top);
    ids.sort_unstable_by(by_logit);
    let of = |id: usize| Likely {
        id: id as u32,
        probability: (f64::from(logits[id]) - all).exp() as f32,
    };
    ids.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests;
