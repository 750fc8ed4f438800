//! Why a model answers a row as it does: what each token adds to one number of the answer, and the attention between tokens.
//!
//! Two attributions are computed, both of a number f that the head answers:
//!
//! - Gradient × input: the derivative of f by what the first layer is given for a token, times that (a product of vectors).
//!   What the first layer is given is taken, and not the word's embedding, since families that normalise words by themselves
//!   (ModernBERT, DeBERTa v3) do not see how long that embedding is: its product with the gradient is 0 whatever the answer.
//! - Integrated gradients (Sundararajan, Taly and Yan 2017, <https://arxiv.org/abs/1703.01365>): the words of a text come into
//!   being along the straight line from a baseline, and the gradients by each token's word embedding on the way add up to the
//!   difference of f at its two ends. The integral is a sum over the middles of equal steps.
//!
//! The baseline is that of Captum's tutorials on BERT: the same row, with the embedding of the padding token in place of each
//! word's. Special tokens, positions and types stay, and every place of the text is still attended to.
//!
//! Promise: no randomness, no dropout; another number of tokens at once changes nothing but the rounding of floats. The same
//! for every family of encoders.
//!
//! Deliberately absent: which rows and numbers are worth it (`task`), and attention multiplied across layers.

use std::ops::{ControlFlow, Range};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};

use super::LearnError;
use super::batch::{Laid, Layout, Padding, Rows};
use super::gradients::read;
use crate::model::{self, Batch, Classifier, Given, Mode, Reads};

/// A number that a model answers to a row: the sum of some of the numbers of its head, each as its token (0 where a head
/// answers a whole text) and its column.
pub type Output = [(usize, usize)];

/// What each token adds to a number. In double precision, `[tokens]` each.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// The number itself, f.
    pub value: f64,
    /// f at the baseline.
    pub baseline: f64,
    pub gradient_x_input: Vec<f64>,
    pub integrated_gradients: Vec<f64>,
}

impl Attribution {
    /// By how much the sum of the integrated gradients misses the difference of f at the two ends; 0 with infinitely many
    /// steps.
    pub fn delta(&self) -> f64 {
        let sum: f64 = self.integrated_gradients.iter().sum();
        (sum - (self.value - self.baseline)).abs()
    }
}

/// A model that can be asked why.
pub struct Explainer<'a> {
    model: &'a Classifier,
    /// The same with autodiff; its weights ask for no gradient.
    recording: Classifier,
    pad_id: u32,
    /// How many tokens go through the model at once.
    tokens: usize,
    device: &'a Device,
}

impl<'a> Explainer<'a> {
    /// For `model`, which is on `device` and without autodiff. `pad_id` is that of its tokenizer; about as many `tokens` as
    /// said go through it at once, and at least one row.
    pub fn new(model: &'a Classifier, pad_id: u32, tokens: usize, device: &'a Device) -> Self {
        let recording = model::freeze(model.clone(), &|_| true).train();
        Explainer {
            model,
            recording,
            pad_id,
            tokens,
            device,
        }
    }

    /// What each token of a row adds to `output`. `is_text` says of each token whether it stands for text, and so changes on
    /// the way from the baseline; the integral is a sum of `steps` terms. `on_steps` is told how many of them were just
    /// done, and may say stop.
    ///
    /// # Errors
    /// [`LearnError::Interrupted`] when told to stop, [`LearnError::Device`] when the device fails.
    pub fn attribute(
        &self,
        rows: &dyn Rows,
        row: usize,
        output: &Output,
        is_text: &[bool],
        steps: usize,
        on_steps: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Attribution, LearnError> {
        let (value, gradient_x_input) = self.gradient_x_input(rows, row, output)?;
        let (at_baseline, _) = self.on_the_way(rows, row, output, is_text, &[0.0])?;
        let at_once = self
            .layout(rows, row)
            .fitting(self.tokens, rows.length(row));
        let mut sums = vec![0.0; rows.length(row)];
        let steps = steps.max(1);
        let middles: Vec<f32> = (0..steps)
            .map(|step| (step as f32 + 0.5) / steps as f32)
            .collect();
        for shares in middles.chunks(at_once) {
            let (_, moved) = self.on_the_way(rows, row, output, is_text, shares)?;
            for moved in moved {
                for (sum, moved) in sums.iter_mut().zip(moved) {
                    *sum += f64::from(moved);
                }
            }
            if on_steps(shares.len()).is_break() {
                return Err(LearnError::Interrupted);
            }
        }
        Ok(Attribution {
            value,
            baseline: at_baseline.first().copied().unwrap_or_default(),
            gradient_x_input,
            integrated_gradients: sums.into_iter().map(|sum| sum / steps as f64).collect(),
        })
    }

    /// The attention weights between the first tokens of a row: as many of them as `kept` says, given the number of heads in
    /// all layers together. None of an encoder that has none to show.
    ///
    /// # Errors
    /// [`LearnError::Device`] when the device fails.
    pub fn attention(
        &self,
        rows: &dyn Rows,
        row: usize,
        kept: impl Fn(usize) -> usize,
    ) -> Result<Option<Attention>, LearnError> {
        let batch = self.laid(rows, row, 1).on(self.device);
        let layers = self.model.encoder.depth();
        let mut attention = Attention::default();
        for layer in 0..layers {
            let Some(weights) = self.model.attention(&batch, layer) else {
                return Ok(None);
            };
            let [_, heads, length, _] = weights.dims();
            let kept = kept(layers * heads).min(rows.length(row)).min(length);
            let weights = weights.slice([0..1, 0..heads, 0..kept, 0..kept]); // [1, heads, kept, kept]
            let weights = read(weights, "reading attention")?;
            attention.weights.extend(weights);
            (attention.layers, attention.heads, attention.kept) = (layers, heads, kept);
        }
        Ok((attention.layers > 0).then_some(attention))
    }

    fn layout(&self, rows: &dyn Rows, row: usize) -> Layout {
        Layout::on(self.device, Padding::Longest, rows.length(row))
    }

    /// A row so many times.
    fn laid(&self, rows: &dyn Rows, row: usize, times: usize) -> Laid {
        let chosen = vec![row; times];
        let layout = self.layout(rows, row);
        Laid::out(rows, &chosen, layout, self.pad_id, rows.length(row))
    }

    /// The number, and of each token its derivative by what the first layer is given, times that.
    fn gradient_x_input(
        &self,
        rows: &dyn Rows,
        row: usize,
        output: &Output,
    ) -> Result<(f64, Vec<f64>), LearnError> {
        let batch = self.laid(rows, row, 1).on(self.device);
        let embedded = self.model.encoder.embed(&batch, &Mode::EVALUATE); // [tokens, hidden]
        let input = leaf(&embedded);
        let given = Given::Hidden {
            layers: 0,
            hidden: input.clone(),
        };
        let (values, products) = self.back(batch.with(given), output, input, embedded)?;
        // A row without tokens has one of padding.
        let products = products.into_iter().flatten().take(rows.length(row));
        let products = products.map(f64::from).collect();
        Ok((values.first().copied().unwrap_or_default(), products))
    }

    /// With the words of the row so far on the way from the baseline as each of `shares` says: the number, and of each token
    /// the derivative by its word's embedding, times the whole way of that. `[shares]`, `[shares][tokens]`
    fn on_the_way(
        &self,
        rows: &dyn Rows,
        row: usize,
        output: &Output,
        is_text: &[bool],
        shares: &[f32],
    ) -> Result<(Vec<f64>, Vec<Vec<f32>>), LearnError> {
        let laid = self.laid(rows, row, shares.len());
        let mut empty = laid.ids.clone();
        let mut share_of_row = vec![0.0; laid.ids.len()];
        for (tokens, &share) in laid.spans.texts().iter().zip(shares) {
            share_of_row[tokens.clone()].fill(share);
            for (id, &is_text) in empty[tokens.clone()].iter_mut().zip(is_text) {
                if is_text {
                    *id = self.pad_id as i32;
                }
            }
        }
        let batch = laid.on(self.device);
        let table = self.model.encoder.words(); // [vocab, embedding]
        let empty = Tensor::<1, Int>::from_data(empty.as_slice(), self.device);
        let baseline = table.clone().select(0, empty); // [tokens, embedding]
        let way = table.select(0, batch.ids.clone()) - baseline.clone(); // [tokens, embedding]
        let share = Tensor::<1>::from_data(share_of_row.as_slice(), self.device);
        let share = share.unsqueeze_dim::<2>(1); // [tokens, 1]
        let words = leaf(&(baseline + way.clone() * share));
        self.back(batch.with(Given::Words(words.clone())), output, words, way)
    }

    /// Of each text of the batch the number, and of each of its tokens the derivative of that by `input`, times `by`, both
    /// `[tokens, width]`. `[texts]`, `[texts][tokens]`
    fn back(
        &self,
        batch: Batch,
        output: &Output,
        input: Tensor<2>,
        by: Tensor<2>,
    ) -> Result<(Vec<f64>, Vec<Vec<f32>>), LearnError> {
        let answers = self.recording.forward(&batch, &Mode::EVALUATE); // [texts, outputs] or [tokens, outputs]
        let texts = batch.spans.texts();
        let of_texts = matches!(self.model.head.reads(), Reads::Texts(_));
        let cell = |&(token, column): &(usize, usize)| {
            let places = texts
                .iter()
                .enumerate()
                .map(|(text, tokens)| match of_texts {
                    true => text as i32,
                    false => (tokens.start + token) as i32,
                });
            let places: Vec<i32> = places.collect();
            let places = Tensor::<1, Int>::from_data(places.as_slice(), self.device);
            answers.clone().select(0, places).narrow(1, column, 1) // [texts, 1]
        };
        let Some(values) = output.iter().map(cell).reduce(|sum, cell| sum + cell) else {
            let nothing = texts.iter().map(|tokens| vec![0.0; tokens.len()]);
            return Ok((vec![0.0; texts.len()], nothing.collect()));
        };
        let tape = values.clone().sum().backward();
        let gradient = input.grad(&tape).unwrap_or_else(|| by.zeros_like()); // [tokens, width]
        let products = read((gradient * by).sum_dim(1), "computing gradients")?; // [tokens, 1]
        let values = read(values.inner(), "computing gradients")?;
        let of_text = |tokens: &Range<usize>| products[tokens.clone()].to_vec();
        Ok((
            values.into_iter().map(f64::from).collect(),
            texts.iter().map(of_text).collect(),
        ))
    }
}

/// A tensor that a gradient is wanted by.
fn leaf(tensor: &Tensor<2>) -> Tensor<2> {
    Tensor::from_inner(tensor.clone()).require_grad()
}

/// The attention within a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attention {
    pub layers: usize,
    pub heads: usize,
    /// How many of the row's first tokens it is between.
    pub kept: usize,
    /// `[layers, heads, kept, kept]`: what each token (third) takes from each other (fourth).
    pub weights: Vec<f32>,
}

#[cfg(test)]
mod tests;
