//! The CRF against the plain definition: every sequence of labels is written down, scored and counted.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::device;

/// Random parameters over a few labels, and texts of mixed lengths.
struct Case {
    values: CrfValues,
    emissions: Vec<Vec<f32>>,
    labels: Vec<Vec<u32>>,
}

impl Case {
    /// Two to four labels; each length from one to five comes first in turn.
    fn random(number: u64) -> Case {
        let mut generator = ChaCha8Rng::seed_from_u64(number);
        let mut below = |bound: u64| generator.next_u64() % bound;
        let count = 2 + number as usize % 3;
        let lengths = [
            1 + number as usize / 3 % 5,
            1 + below(5) as usize,
            1 + below(5) as usize,
            1 + below(5) as usize,
        ];
        let lengths = &lengths[..1 + below(4) as usize];
        let mut numbers = |length: usize, size: f32| -> Vec<f32> {
            let number = |_| (below(1 << 24) as f32 / (1 << 23) as f32 - 1.0) * size;
            (0..length).map(number).collect()
        };
        let values = CrfValues {
            transitions: numbers(count * count, 2.0),
            starts: numbers(count, 2.0),
            ends: numbers(count, 2.0),
        };
        let emissions = lengths
            .iter()
            .map(|length| numbers(length * count, 3.0))
            .collect();
        let mut labels = |length: &usize| -> Vec<u32> {
            (0..*length).map(|_| below(count as u64) as u32).collect()
        };
        let labels = lengths.iter().map(&mut labels).collect();
        Case {
            values,
            emissions,
            labels,
        }
    }

    fn count(&self) -> usize {
        self.values.starts.len()
    }

    fn crf(&self, device: &Device) -> Crf {
        let count = self.count();
        let vector = |values: &[f32]| Param::from_tensor(Tensor::from_data(values, device));
        let square = TensorData::new(self.values.transitions.clone(), [count, count]);
        Crf {
            transitions: Param::from_tensor(Tensor::from_data(square, device)),
            start_transitions: vector(&self.values.starts),
            end_transitions: vector(&self.values.ends),
        }
    }

    /// `[texts, words, labels]`, with `padding` beyond each text.
    fn padded(&self, padding: f32, device: &Device) -> Tensor<3> {
        let count = self.count();
        let longest = self.labels.iter().map(Vec::len).max().unwrap();
        let padded: Vec<f32> = self
            .emissions
            .iter()
            .flat_map(|text| {
                let padding = repeat_n(padding, longest * count - text.len());
                text.iter().copied().chain(padding)
            })
            .collect();
        let shape = [self.labels.len(), longest, count];
        Tensor::from_data(TensorData::new(padded, shape), device)
    }

    fn score(&self, text: usize, path: &[u32]) -> f64 {
        let (count, values) = (self.count(), &self.values);
        let number = |value: f32| f64::from(value);
        let label = |word: usize| path[word] as usize;
        let emitted = (0..path.len())
            .map(|word| number(self.emissions[text][word * count + label(word)]))
            .sum::<f64>();
        let moved = (1..path.len())
            .map(|word| number(values.transitions[label(word - 1) * count + label(word)]))
            .sum::<f64>();
        emitted
            + moved
            + number(values.starts[label(0)])
            + number(values.ends[label(path.len() - 1)])
    }

    /// Every sequence for a text, with its score.
    fn sequences(&self, text: usize) -> Vec<(Vec<u32>, f64)> {
        let (count, words) = (self.count() as u32, self.labels[text].len() as u32);
        let path = |number: u32| {
            (0..words)
                .map(|word| number / count.pow(word) % count)
                .collect()
        };
        let scored = |path: Vec<u32>| {
            let score = self.score(text, &path);
            (path, score)
        };
        (0..count.pow(words)).map(path).map(scored).collect()
    }

    fn log_likelihood(&self, text: usize) -> f64 {
        let all = self.sequences(text);
        let sum: f64 = all.iter().map(|(_, score)| score.exp()).sum();
        self.score(text, &self.labels[text]) - sum.ln()
    }

    fn best(&self, text: usize, allowed: impl Fn(&[u32]) -> bool) -> Option<Vec<u32>> {
        self.sequences(text)
            .into_iter()
            .filter(|(path, _)| allowed(path))
            .max_by(|one, other| one.1.total_cmp(&other.1))
            .map(|(path, _)| path)
    }
}

fn devices() -> Vec<Device> {
    ["flex", "ndarray"]
        .into_iter()
        .filter_map(|name| match device::choose(name) {
            Ok(chosen) => Some(chosen.device),
            Err(_) => {
                eprintln!("this build has no {name}: skipped");
                None
            }
        })
        .collect()
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values = tensor.try_into_vec_as::<f32>().unwrap();
    values.into_iter().map(f64::from).collect()
}

#[track_caller]
fn assert_close(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(
            (found - wanted).abs() < tolerance,
            "{found} is not {wanted}"
        );
    }
}

const CASES: u64 = 60;

#[test]
fn the_likelihood_is_that_of_counting_every_sequence() {
    for case in (0..CASES).map(Case::random) {
        let texts = 0..case.labels.len();
        let wanted: Vec<f64> = texts
            .clone()
            .map(|text| case.log_likelihood(text))
            .collect();
        for device in devices() {
            let crf = case.crf(&device);
            let found = crf.log_likelihood(case.padded(7.0, &device), &case.labels);
            assert_close(&numbers(found), &wanted, 2e-5);
            assert_eq!(crf.values().unwrap(), case.values);
        }
        let on_host: Vec<f64> = texts
            .map(|text| {
                case.values
                    .log_likelihood(&case.emissions[text], &case.labels[text])
            })
            .collect();
        assert_close(&on_host, &wanted, 1e-9);
    }
}

/// The gradient of a log-likelihood is what the labels have of a thing, less what all sequences have of it on average.
#[test]
fn gradients_are_those_of_counting_every_sequence() {
    for case in (0..CASES).map(Case::random) {
        let count = case.count();
        let longest = case.labels.iter().map(Vec::len).max().unwrap();
        let mut emissions = vec![0.0; case.labels.len() * longest * count];
        let mut transitions = vec![0.0; count * count];
        let (mut starts, mut ends) = (vec![0.0; count], vec![0.0; count]);
        for text in 0..case.labels.len() {
            let mut add = |path: &[u32], weight: f64| {
                for (word, &label) in path.iter().enumerate() {
                    emissions[(text * longest + word) * count + label as usize] += weight;
                }
                for pair in path.windows(2) {
                    transitions[pair[0] as usize * count + pair[1] as usize] += weight;
                }
                starts[path[0] as usize] += weight;
                ends[path[path.len() - 1] as usize] += weight;
            };
            add(&case.labels[text], 1.0);
            let all = case.sequences(text);
            let sum: f64 = all.iter().map(|(_, score)| score.exp()).sum();
            for (path, score) in all {
                add(&path, -score.exp() / sum);
            }
        }
        for device in devices() {
            let crf = case.crf(&device).train();
            let given = case.padded(7.0, &device.autodiff()).require_grad();
            let gradients = crf
                .log_likelihood(given.clone(), &case.labels)
                .sum()
                .backward();
            let of = |tensor: Option<Tensor<1>>| numbers(tensor.unwrap());
            assert_close(&numbers(given.grad(&gradients).unwrap()), &emissions, 1e-5);
            let square = crf.transitions.val().grad(&gradients).unwrap();
            assert_close(&numbers(square), &transitions, 2e-5);
            assert_close(
                &of(crf.start_transitions.val().grad(&gradients)),
                &starts,
                1e-5,
            );
            assert_close(&of(crf.end_transitions.val().grad(&gradients)), &ends, 1e-5);
        }
    }
}

#[test]
fn the_decoded_sequence_is_the_best_of_all() {
    for case in (0..CASES).map(Case::random) {
        let wanted: Vec<Vec<u32>> = (0..case.labels.len())
            .map(|text| case.best(text, |_| true).unwrap())
            .collect();
        for device in devices() {
            let found = case.crf(&device).decode(&case.emissions, None).unwrap();
            assert_eq!(found, wanted);
        }
    }
}

#[test]
fn the_decoded_sequence_is_the_best_of_those_allowed() {
    let mut decided = 0;
    for number in 0..2 * CASES {
        let case = Case::random(number);
        let count = case.count();
        let mut generator = ChaCha8Rng::seed_from_u64(1000 + number);
        let mut some = |length: usize| -> Vec<bool> {
            (0..length)
                .map(|_| generator.next_u64().is_multiple_of(4))
                .collect()
        };
        let forbidden = Forbidden {
            transitions: some(count * count),
            starts: some(count),
            ends: some(count),
        };
        let allowed = |path: &[u32]| {
            let label = |word: usize| path[word] as usize;
            !forbidden.starts[label(0)]
                && !forbidden.ends[label(path.len() - 1)]
                && (1..path.len())
                    .all(|word| !forbidden.transitions[label(word - 1) * count + label(word)])
        };
        for device in devices() {
            let found = case
                .crf(&device)
                .decode(&case.emissions, Some(&forbidden))
                .unwrap();
            for (text, found) in found.iter().enumerate() {
                assert_eq!(found.len(), case.labels[text].len());
                match case.best(text, allowed) {
                    Some(wanted) => {
                        assert_eq!(*found, wanted);
                        decided += 1;
                    }
                    None => assert!(found.iter().all(|&label| (label as usize) < count)),
                }
            }
        }
    }
    assert!(decided > 100, "{decided}");
}

#[test]
fn the_likelihoods_of_all_sequences_sum_to_one() {
    let case = Case::random(11);
    let sum: f64 = case
        .sequences(0)
        .iter()
        .map(|(path, _)| case.values.log_likelihood(&case.emissions[0], path).exp())
        .sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
}

#[test]
fn padding_counts_for_nothing() {
    let device = Device::flex();
    for case in (0..10).map(Case::random) {
        let likelihood = |padding| {
            numbers(
                case.crf(&device)
                    .log_likelihood(case.padded(padding, &device), &case.labels),
            )
        };
        assert_eq!(likelihood(0.0), likelihood(-1e6));
    }
}

#[test]
fn huge_numbers_do_not_overflow() {
    let device = Device::flex();
    for mut case in (0..10).map(Case::random) {
        for value in case.emissions.iter_mut().flatten() {
            *value *= 1e4;
        }
        for value in &mut case.values.transitions {
            *value *= 1e3;
        }
        let crf = case.crf(&device).train();
        let found = crf.log_likelihood(case.padded(0.0, &device), &case.labels);
        let gradients = found.clone().sum().backward();
        let gradient = numbers(crf.transitions.val().grad(&gradients).unwrap());
        assert!(
            gradient.iter().all(|value| value.is_finite()),
            "{gradient:?}"
        );
        for (text, found) in numbers(found).into_iter().enumerate() {
            let wanted = case
                .values
                .log_likelihood(&case.emissions[text], &case.labels[text]);
            let off = (found - wanted).abs();
            assert!(
                off <= 1e-6 * wanted.abs().max(1e5),
                "{found} is not {wanted}"
            );
        }
    }
}

#[test]
fn texts_are_answered_in_their_order_and_those_without_words_with_nothing() {
    let device = Device::flex();
    let mut case = Case::random(5);
    let text = case.emissions[0].clone();
    let alone = case
        .crf(&device)
        .decode(std::slice::from_ref(&text), None)
        .unwrap();
    let many = 3 * TEXTS_AT_ONCE;
    case.emissions = (0..many)
        .map(|number| match number % 3 {
            0 => Vec::new(),
            1 => text.clone(),
            _ => text[..case.count()].to_vec(),
        })
        .collect();
    let first = case
        .crf(&device)
        .decode(&[text[..case.count()].to_vec()], None)
        .unwrap();
    let found = case.crf(&device).decode(&case.emissions, None).unwrap();
    for (number, found) in found.iter().enumerate() {
        match number % 3 {
            0 => assert!(found.is_empty()),
            1 => assert_eq!(*found, alone[0]),
            _ => assert_eq!(*found, first[0]),
        }
    }
    assert!(case.crf(&device).decode(&[], None).unwrap().is_empty());
}

#[test]
fn numbers_that_do_not_fit_the_labels_are_errors() {
    let case = Case::random(3);
    let crf = case.crf(&Device::flex());
    let ragged = crf.decode(&[vec![0.0; case.count() + 1]], None);
    assert!(matches!(ragged, Err(ModelError::WrongLength { .. })));
    let forbidden = Forbidden {
        transitions: vec![false; case.count() * case.count()],
        starts: vec![false; case.count()],
        ends: Vec::new(),
    };
    let short = crf.decode(&case.emissions, Some(&forbidden));
    assert!(matches!(short, Err(ModelError::WrongLength { .. })));
}

#[test]
fn a_label_that_is_not_known_has_no_likelihood() {
    let case = Case::random(0);
    let unknown = vec![case.count() as u32; case.labels[0].len()];
    let found = case.values.log_likelihood(&case.emissions[0], &unknown);
    assert_eq!(found, f64::NEG_INFINITY);
    assert_eq!(case.values.log_likelihood(&[], &[]), 0.0);
}

#[test]
fn marginals_are_the_shares_of_all_sequences_that_pass_through() {
    for number in 0..60 {
        let case = Case::random(number);
        for (text, emissions) in case.emissions.iter().enumerate() {
            let found = case.values.marginals(emissions);
            let sequences = case.sequences(text);
            let sum: f64 = sequences.iter().map(|(_, score)| score.exp()).sum();
            for (place, found) in found.iter().enumerate() {
                let (word, label) = (place / case.count(), place % case.count());
                let through = sequences
                    .iter()
                    .filter(|(path, _)| path[word] as usize == label);
                let wanted = through.map(|(_, score)| score.exp()).sum::<f64>() / sum;
                assert!((found - wanted).abs() < 1e-9, "{number}: {found}, {wanted}");
            }
        }
    }
}
