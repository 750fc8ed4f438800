//! A linear-chain conditional random field over the labels of words (Lafferty, McCallum and Pereira, 2001,
//! <https://repository.upenn.edu/cis_papers/159/>).
//!
//! The score of a sequence of labels is the sum of its words' emissions (the numbers of the linear layer), of a
//! transition for each pair of neighbours, and of a start and an end. Its likelihood is the softmax of that score over all
//! sequences of the same length. [`Crf::log_likelihood`] computes it with the forward algorithm and [`Crf::decode`] finds
//! the best sequence (Viterbi, 1967, <https://doi.org/10.1109/TIT.1967.1054010>), both as tensor operations over many
//! texts at once. Names, shapes, meaning and first values of the parameters are those of pytorch-crf:
//! `transitions[i][j]` is what label `j` after label `i` adds.
//!
//! Promise: nothing overflows. Sums of exponentials are shifted by their largest term, and what is forbidden costs a
//! large but finite number.
//!
//! Deliberately absent: constraints while learning, as in pytorch-crf; and the knowledge of what may follow what, which
//! comes as plain truth values ([`Forbidden`]).

use std::cmp::Reverse;
use std::iter::repeat_n;

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::{ModelError, parameters};

/// How well labels follow each other, begin and end.
#[derive(Module, Debug)]
pub struct Crf {
    /// `[labels, labels]`, from the row's label to the column's.
    transitions: Param<Tensor<2>>,
    /// `[labels]`.
    start_transitions: Param<Tensor<1>>,
    /// `[labels]`.
    end_transitions: Param<Tensor<1>>,
}

/// Which sequences of labels must not be answered: `true` where something is forbidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// `[labels, labels]`, row by row, from the row's label to the column's.
    pub transitions: Vec<bool>,
    /// `[labels]`: for the first word.
    pub starts: Vec<bool>,
    /// `[labels]`: for the last word.
    pub ends: Vec<bool>,
}

/// What a forbidden step adds to a score: more than any sequence of finite logits makes good, and no infinity, whose
/// difference from another would be no number.
const PENALTY: f32 = -1e9;

/// Transition scores that decoding holds at once; bounds its memory.
const SCORES_AT_ONCE: usize = 1 << 20;
const TEXTS_AT_ONCE: usize = 256;

impl Crf {
    /// Parameters whose values are not yet set.
    pub(super) fn unset(labels: usize, device: &Device) -> Crf {
        Crf {
            transitions: Initializer::Zeros.init([labels, labels], device),
            start_transitions: Initializer::Zeros.init([labels], device),
            end_transitions: Initializer::Zeros.init([labels], device),
        }
    }

    /// How many labels it knows.
    pub fn labels(&self) -> usize {
        self.start_transitions.lazy_shape().num_elements()
    }

    /// The logarithm of the likelihood of each text's `labels`, `[texts]`, given `emissions [texts, words, labels]`. Words
    /// beyond a text's labels are padding, whose emissions must be finite and count for nothing.
    ///
    /// # Panics
    /// When the numbers of texts differ, a text has no label or more labels than words, or a label's number is too large.
    pub fn log_likelihood(&self, emissions: Tensor<3>, labels: &[Vec<u32>]) -> Tensor<1> {
        let [texts, words, _] = emissions.dims();
        let lengths: Vec<usize> = labels.iter().map(Vec::len).collect();
        assert!(
            lengths.len() == texts && lengths.iter().all(|length| (1..=words).contains(length)),
            "{texts} texts of up to {words} words, labelled {lengths:?}"
        );
        let all = self.of_all_sequences(emissions.clone(), &lengths);
        self.of_one_sequence(emissions, labels) - all
    }

    /// The score of each text's `labels`, `[texts]`.
    fn of_one_sequence(&self, emissions: Tensor<3>, labels: &[Vec<u32>]) -> Tensor<1> {
        let [texts, words, count] = emissions.dims();
        let device = emissions.device().without_autodiff();
        // How often each transition, start and end occurs: gradients that are sums over words then come from one product.
        let steps = count * count + 2 * count;
        let mut taken = vec![0.0_f32; texts * steps];
        let mut chosen = vec![0_i32; texts * words];
        let mut real = vec![0.0_f32; texts * words];
        for (text, labels) in labels.iter().enumerate() {
            let labels: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
            let taken = &mut taken[text * steps..][..steps];
            for pair in labels.windows(2) {
                taken[pair[0] * count + pair[1]] += 1.0;
            }
            if let (Some(first), Some(last)) = (labels.first(), labels.last()) {
                taken[count * count + first] += 1.0;
                taken[count * count + count + last] += 1.0;
            }
            for (word, &label) in labels.iter().enumerate() {
                chosen[text * words + word] = label as i32;
                real[text * words + word] = 1.0;
            }
        }
        let parameters = Tensor::cat(
            vec![
                self.transitions.val().reshape([1, count * count]), // [1, labels * labels]
                self.start_transitions.val().unsqueeze::<2>(),
                self.end_transitions.val().unsqueeze::<2>(),
            ],
            1,
        ); // [1, steps]
        let taken = Tensor::<2>::from_data(TensorData::new(taken, [texts, steps]), &device);
        let chosen =
            Tensor::<3, Int>::from_data(TensorData::new(chosen, [texts, words, 1]), &device);
        let real = Tensor::<2>::from_data(TensorData::new(real, [texts, words]), &device);
        let emitted = emissions.gather(2, chosen).reshape([texts, words]) * real; // [texts, words]
        let whole = emitted.sum_dim(1) + (parameters * taken).sum_dim(1); // [texts, 1]
        whole.reshape([texts])
    }

    /// The logarithm of the summed exponentials of the scores of all sequences, `[texts]`: the forward algorithm.
    fn of_all_sequences(&self, emissions: Tensor<3>, lengths: &[usize]) -> Tensor<1> {
        let [texts, words, labels] = emissions.dims();
        let device = emissions.device();
        let into = self.transitions.val().transpose().unsqueeze::<3>(); // [1, to, from]
        let start = self.start_transitions.val().unsqueeze::<2>(); // [1, labels]
        let mut forward = word(&emissions, 0) + start; // [texts, labels]
        for place in 1..words {
            let scores = forward.clone().unsqueeze_dim::<3>(1) + into.clone(); // [texts, to, from]
            let next = log_sum_exp(scores) + word(&emissions, place); // [texts, labels]
            forward = match ended(lengths, place, labels, &device) {
                Some(ended) => next.mask_where(ended, forward),
                None => next,
            };
        }
        let last = forward + self.end_transitions.val().unsqueeze::<2>(); // [texts, labels]
        log_sum_exp(last.unsqueeze_dim::<3>(1)).reshape([texts]) // [texts, 1] → [texts]
    }

    /// The best sequence of labels for each text, given its emissions: `[words, labels]` in one list, word by word. What
    /// is `forbidden` is answered only where all else is forbidden too. Of equally good labels, the one with the lowest
    /// number wins.
    ///
    /// # Errors
    /// Emissions or truth values that do not fit the number of labels; a failing device.
    pub fn decode(
        &self,
        emissions: &[Vec<f32>],
        forbidden: Option<&Forbidden>,
    ) -> Result<Vec<Vec<u32>>, ModelError> {
        let labels = self.labels();
        let fits = |found: usize, wanted: Vec<usize>, name: &str| {
            (found == wanted.iter().product::<usize>())
                .then_some(())
                .ok_or(ModelError::WrongLength {
                    name: name.to_owned(),
                    found,
                    wanted,
                })
        };
        for text in emissions {
            fits(
                text.len(),
                vec![text.len().div_ceil(labels), labels],
                "the emissions of a text",
            )?;
        }
        if let Some(Forbidden {
            transitions,
            starts,
            ends,
        }) = forbidden
        {
            fits(
                transitions.len(),
                vec![labels, labels],
                "forbidden transitions",
            )?;
            fits(starts.len(), vec![labels], "forbidden starts")?;
            fits(ends.len(), vec![labels], "forbidden ends")?;
        }
        let steps = Steps::of(self, forbidden);
        let mut order: Vec<usize> = (0..emissions.len())
            .filter(|&text| !emissions[text].is_empty())
            .collect();
        order.sort_by_key(|&text| Reverse(emissions[text].len()));
        let at_once = (SCORES_AT_ONCE / (labels * labels)).clamp(1, TEXTS_AT_ONCE);
        let mut paths = vec![Vec::new(); emissions.len()];
        for chosen in order.chunks(at_once) {
            let lengths: Vec<usize> = chosen
                .iter()
                .map(|&text| emissions[text].len() / labels)
                .collect();
            let longest = lengths.first().copied().unwrap_or_default();
            let padded: Vec<f32> = chosen
                .iter()
                .flat_map(|&text| {
                    let padding = longest * labels - emissions[text].len();
                    emissions[text]
                        .iter()
                        .copied()
                        .chain(repeat_n(0.0, padding))
                })
                .collect();
            let shape = [chosen.len(), longest, labels];
            let batch =
                Tensor::<3>::from_data(TensorData::new(padded, shape), &steps.start.device());
            let found = steps.viterbi(batch, &lengths); // [chosen, longest]
            let found = found
                .try_into_vec_as::<i32>()
                .map_err(|cause| ModelError::ReadBack {
                    name: "the best labels".to_owned(),
                    reason: cause.to_string(),
                })?;
            for ((&text, &length), path) in chosen.iter().zip(&lengths).zip(found.chunks(longest)) {
                paths[text] = path[..length].iter().map(|&label| label as u32).collect();
            }
        }
        Ok(paths)
    }

    /// The parameters on the host.
    ///
    /// # Errors
    /// The device could not hand them over.
    pub fn values(&self) -> Result<CrfValues, ModelError> {
        Ok(CrfValues {
            transitions: parameters::get("crf.transitions", &self.transitions)?,
            starts: parameters::get("crf.start_transitions", &self.start_transitions)?,
            ends: parameters::get("crf.end_transitions", &self.end_transitions)?,
        })
    }
}

/// The parameters without autodiff, with the penalties of what is forbidden.
struct Steps {
    /// `[1, labels]`.
    start: Tensor<2>,
    /// `[1, to, from]`.
    into: Tensor<3>,
    /// `[1, labels]`.
    end: Tensor<2>,
}

impl Steps {
    fn of(crf: &Crf, forbidden: Option<&Forbidden>) -> Steps {
        let labels = crf.labels();
        let mut transitions = crf.transitions.val().inner(); // [from, to]
        let mut start = crf.start_transitions.val().inner().unsqueeze::<2>(); // [1, labels]
        let mut end = crf.end_transitions.val().inner().unsqueeze::<2>(); // [1, labels]
        if let Some(forbidden) = forbidden {
            let device = start.device();
            let penalty = |forbidden: &[bool], rows: usize| {
                let costs = |&forbidden: &bool| if forbidden { PENALTY } else { 0.0 };
                let values: Vec<f32> = forbidden.iter().map(costs).collect();
                Tensor::<2>::from_data(TensorData::new(values, [rows, labels]), &device)
            };
            transitions = transitions + penalty(&forbidden.transitions, labels);
            start = start + penalty(&forbidden.starts, 1);
            end = end + penalty(&forbidden.ends, 1);
        }
        Steps {
            start,
            into: transitions.transpose().unsqueeze::<3>(),
            end,
        }
    }

    /// The best labels of each text, `[texts, words]`, given `emissions [texts, words, labels]`; of no meaning at padding.
    fn viterbi(&self, emissions: Tensor<3>, lengths: &[usize]) -> Tensor<2, Int> {
        let [texts, words, labels] = emissions.dims();
        let device = emissions.device();
        let own = Tensor::<1, Int>::arange(0..labels as i64, &device)
            .unsqueeze::<2>()
            .expand([texts, labels]);
        let mut best = word(&emissions, 0) + self.start.clone(); // [texts, labels]
        // For each further word and each label of it, the best label of the word before.
        let mut origins = Vec::with_capacity(words);
        for place in 1..words {
            let scores = best.clone().unsqueeze_dim::<3>(1) + self.into.clone(); // [texts, to, from]
            let (highest, origin) = scores.max_dim_with_indices(2); // [texts, to, 1] each
            let next = highest.reshape([texts, labels]) + word(&emissions, place);
            let origin = origin.reshape([texts, labels]);
            // A text that has ended stays as it was, so that the way back passes through its padding unchanged.
            let (next, origin) = match ended(lengths, place, labels, &device) {
                Some(ended) => (
                    next.mask_where(ended.clone(), best),
                    origin.mask_where(ended, own.clone()),
                ),
                None => (next, origin),
            };
            best = next;
            origins.push(origin);
        }
        let mut label = (best + self.end.clone()).argmax(1); // [texts, 1]
        let mut path = vec![label.clone()];
        for origin in origins.into_iter().rev() {
            label = origin.gather(1, label); // [texts, 1]
            path.push(label.clone());
        }
        path.reverse();
        Tensor::cat(path, 1) // [texts, words]
    }
}

/// The emissions of one word of each text: `[texts, words, labels]` → `[texts, labels]`.
fn word(emissions: &Tensor<3>, place: usize) -> Tensor<2> {
    let [texts, _, labels] = emissions.dims();
    emissions
        .clone()
        .slice([0..texts, place..place + 1, 0..labels]) // [texts, 1, labels]
        .reshape([texts, labels])
}

/// Where texts have no word at `place` any more: `[texts, labels]`, true there; `None` when all have.
fn ended(
    lengths: &[usize],
    place: usize,
    labels: usize,
    device: &Device,
) -> Option<Tensor<2, Bool>> {
    if lengths.iter().all(|&length| place < length) {
        return None;
    }
    let ended: Vec<bool> = lengths
        .iter()
        .flat_map(|&length| repeat_n(place >= length, labels))
        .collect();
    let ended = TensorData::new(ended, [lengths.len(), labels]);
    Some(Tensor::from_data(ended, &device.clone().without_autodiff()))
}

/// log Σ exp over the last dimension: `[texts, to, from]` → `[texts, to]`.
fn log_sum_exp(scores: Tensor<3>) -> Tensor<2> {
    let [texts, to, _] = scores.dims();
    // The shift cancels out, so that no gradient goes through it.
    let largest = scores.clone().inner().max_dim(2); // [texts, to, 1]
    let sum = (scores - largest.clone()).exp().sum_dim(2).log(); // [texts, to, 1]
    (sum + largest).reshape([texts, to])
}

/// The parameters of a [`Crf`] on the host, for sums in double precision.
#[derive(Debug, Clone, PartialEq)]
pub struct CrfValues {
    /// `[labels, labels]`, row by row, from the row's label to the column's.
    pub transitions: Vec<f32>,
    /// `[labels]`.
    pub starts: Vec<f32>,
    /// `[labels]`.
    pub ends: Vec<f32>,
}

impl CrfValues {
    /// The logarithm of the likelihood of `labels`, one for each word, given `emissions`: `[words, labels]` in one list. 0
    /// without words, and minus infinity for a label that is not known.
    pub fn log_likelihood(&self, emissions: &[f32], labels: &[u32]) -> f64 {
        let count = self.starts.len();
        let mut one = 0.0;
        let mut all = vec![0.0; count];
        let mut before = None;
        for (emitted, &label) in emissions.chunks_exact(count.max(1)).zip(labels) {
            let label = label as usize;
            let (Some(&own), Some(&start)) = (emitted.get(label), self.starts.get(label)) else {
                return f64::NEG_INFINITY;
            };
            one += f64::from(own);
            one += f64::from(
                before.map_or(start, |from: usize| self.transitions[from * count + label]),
            );
            let reached = |to: usize| match before {
                None => f64::from(self.starts[to]),
                Some(_) => log_sum_exp_of(
                    (0..count)
                        .map(|from| all[from] + f64::from(self.transitions[from * count + to])),
                ),
            };
            all = (0..count)
                .map(|to| reached(to) + f64::from(emitted[to]))
                .collect();
            before = Some(label);
        }
        match before {
            None => 0.0,
            Some(last) => {
                let ends = all.iter().zip(&self.ends);
                let all = log_sum_exp_of(ends.map(|(all, &end)| all + f64::from(end)));
                one + f64::from(self.ends[last]) - all
            }
        }
    }
}

impl CrfValues {
    /// The probability of each label of each word, over all sequences: the forward and the backward algorithm. `emissions`
    /// and the result are `[words, labels]` in one list.
    pub fn marginals(&self, emissions: &[f32]) -> Vec<f64> {
        let count = self.starts.len().max(1);
        let step = |from: usize, to: usize| f64::from(self.transitions[from * count + to]);
        let words: Vec<&[f32]> = emissions.chunks_exact(count).collect();
        // The sums over all ways to reach a label, its own emission included, and over all ways to go on from it.
        let mut forward: Vec<Vec<f64>> = Vec::with_capacity(words.len());
        for word in &words {
            let reached = |to: usize| match forward.last() {
                None => f64::from(self.starts[to]),
                Some(before) => {
                    log_sum_exp_of((0..count).map(|from| before[from] + step(from, to)))
                }
            };
            let reached = (0..count).map(|to| reached(to) + f64::from(word[to]));
            let reached = reached.collect();
            forward.push(reached);
        }
        let mut ahead: Vec<f64> = self.ends.iter().copied().map(f64::from).collect();
        let mut marginals = vec![0.0; words.len() * count];
        for (place, word) in words.iter().enumerate().rev() {
            let both: Vec<f64> = forward[place]
                .iter()
                .zip(&ahead)
                .map(|(a, b)| a + b)
                .collect();
            let all = log_sum_exp_of(both.iter().copied());
            for (marginal, both) in marginals[place * count..].iter_mut().zip(both) {
                *marginal = (both - all).exp();
            }
            ahead = (0..count)
                .map(|from| {
                    log_sum_exp_of(
                        (0..count).map(|to| step(from, to) + f64::from(word[to]) + ahead[to]),
                    )
                })
                .collect();
        }
        marginals
    }
}

fn log_sum_exp_of(scores: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = scores.clone().fold(f64::NEG_INFINITY, f64::max);
    largest
        + scores
            .map(|score| (score - largest).exp())
            .sum::<f64>()
            .ln()
}

#[cfg(test)]
mod tests;
