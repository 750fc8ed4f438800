//! Steps against those of PyTorch 2.15 and, for LAMB, of timm 1.0.31.

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::Deserialize;

use super::*;

/// Settings as in a spec, and what the reference makes of [`weights`](value) with them.
#[derive(Deserialize)]
struct Case {
    settings: OptimizerSettings,
    /// Steps → parameter → its values.
    after: BTreeMap<u64, BTreeMap<String, Vec<f32>>>,
}

/// In the order in which the reference has them.
const PARAMETERS: [(&str, usize); 7] = [
    ("bert.embeddings.word_embeddings.weight", 6),
    ("bert.encoder.layer.0.output.dense.weight", 6),
    ("bert.encoder.layer.0.output.dense.bias", 3),
    ("bert.encoder.layer.1.output.dense.weight", 6),
    ("bert.encoder.layer.1.output.LayerNorm.weight", 3),
    ("classifier.weight", 6),
    ("classifier.bias", 2),
];

const STEPS: u64 = 50;

/// Numbers that look like any, and that both sides have to the last bit.
fn value(seed: u64, place: usize) -> f32 {
    ((place as u64 * 37 + seed * 101 + 13) % 127) as f32 / 64.0 - 63.0 / 64.0
}

fn row(seed: u64, elements: usize) -> Tensor<1> {
    let values: Vec<f32> = (0..elements).map(|place| value(seed, place)).collect();
    Tensor::from_data(values.as_slice(), &Device::flex())
}

fn optimizer(settings: &OptimizerSettings) -> Optimizer {
    let names = PARAMETERS.map(|(name, _)| name.to_owned());
    Optimizer::of(settings, &names).unwrap()
}

fn weights() -> Vec<Tensor<1>> {
    (500..)
        .zip(PARAMETERS)
        .map(|(seed, (_, elements))| row(seed, elements))
        .collect()
}

/// The step number `step`, counted from 1, of all parameters, at a rate that falls in a straight line.
fn step(optimizer: &mut Optimizer, weights: &mut [Tensor<1>], step: u64) {
    let rate = optimizer.settings.learning_rate * (1.0 - (step - 1) as f64 / STEPS as f64);
    for (number, (weight, (name, elements))) in (0..).zip(weights.iter_mut().zip(PARAMETERS)) {
        let gradient = row(step + 60 * number, elements);
        *weight = optimizer.updated(name, weight.clone(), gradient, None, rate);
    }
}

fn values(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.clone().try_into_vec_as().unwrap()
}

#[test]
fn fifty_steps_of_each_method_are_those_of_the_reference() {
    let cases: Vec<Case> = serde_json::from_str(include_str!(
        "../../../tests/fixtures/optimizers_torch.json"
    ))
    .unwrap();
    let mut seen = Vec::new();
    for Case { settings, after } in cases {
        let mut optimizer = optimizer(&settings);
        let mut weights = weights();
        let mut compared = 0;
        for number in 1..=STEPS {
            step(&mut optimizer, &mut weights, number);
            let Some(wanted) = after.get(&number) else {
                continue;
            };
            for (weight, (name, _)) in weights.iter().zip(PARAMETERS) {
                let (found, wanted) = (values(weight), &wanted[name]);
                assert_eq!(found.len(), wanted.len());
                let size = wanted.iter().fold(0.0_f32, |size, x| size.max(x.abs()));
                for (found, wanted) in found.iter().zip(wanted) {
                    assert!(
                        (found - wanted).abs() <= 1e-6 * size,
                        "{settings:?}, {name} after {number}: {found} is not {wanted}"
                    );
                }
            }
            compared += 1;
        }
        assert_eq!(compared, 3, "after 1, 10 and 50 steps");
        seen.push(settings.name);
    }
    for name in [
        OptimizerName::Adamw,
        OptimizerName::Adam,
        OptimizerName::Sgd,
        OptimizerName::Lamb,
    ] {
        assert!(seen.contains(&name), "{name} has no case");
    }
}

fn of(name: OptimizerName) -> OptimizerSettings {
    OptimizerSettings {
        name,
        learning_rate: 1e-2,
        momentum: (name == OptimizerName::Sgd).then_some(0.9),
        weight_decay: Some(0.1),
        ..OptimizerSettings::default()
    }
}

#[test]
fn a_restored_memory_goes_on_to_the_same_bits_as_if_never_stopped() {
    for name in [
        OptimizerName::Adamw,
        OptimizerName::Adam,
        OptimizerName::Sgd,
        OptimizerName::Lamb,
    ] {
        let settings = of(name);
        let (mut kept, mut weights) = (optimizer(&settings), weights());
        (1..=7).for_each(|number| step(&mut kept, &mut weights, number));
        let saved = kept.memory().iter().map(|(parameter, memory)| {
            let (steps, parts) = memory.parts();
            let copy =
                |part: &Tensor<1>| Tensor::from_data(values(part).as_slice(), &part.device());
            let parts = parts.iter().map(copy).collect();
            let memory = Memory::from_parts(name, steps, parts).unwrap();
            (parameter.clone(), memory)
        });
        let mut restored = optimizer(&settings).with_memory(saved.collect());
        let mut others = weights.clone();
        (8..=12).for_each(|number| {
            step(&mut kept, &mut weights, number);
            step(&mut restored, &mut others, number);
        });
        let bits = |weights: &[Tensor<1>]| -> Vec<u32> {
            let all = weights.iter().flat_map(values);
            all.map(f32::to_bits).collect()
        };
        assert_eq!(bits(&weights), bits(&others), "{name}");
    }
}

#[test]
fn the_memory_of_another_method_is_refused() {
    let part = row(1, 3);
    let of = |name, parts: &[&Tensor<1>]| {
        let parts = parts.iter().map(|&part| part.clone()).collect();
        Memory::from_parts(name, 1, parts).is_some()
    };
    assert!(of(OptimizerName::Sgd, &[]) && of(OptimizerName::Sgd, &[&part]));
    assert!(!of(OptimizerName::Sgd, &[&part, &part]));
    assert!(of(OptimizerName::Lamb, &[&part, &part]));
    for parts in [[].as_slice(), &[&part], &[&part; 3], &[&part, &row(1, 2)]] {
        assert!(!of(OptimizerName::Adamw, parts));
    }
}

#[test]
fn layer_norm_and_biases_do_not_decay_unless_a_group_says_so() {
    let after = |settings: &OptimizerSettings, name: &str| {
        let mut optimizer = optimizer(settings);
        let one = Tensor::<1>::ones([1], &Device::flex());
        optimizer
            .updated(name, one.clone(), one.zeros_like(), None, 0.1)
            .into_scalar::<f32>()
    };
    let settings = OptimizerSettings {
        learning_rate: 0.1,
        weight_decay: Some(0.5),
        ..OptimizerSettings::default()
    };
    let norm = "bert.encoder.layer.1.output.LayerNorm.weight";
    assert_eq!(after(&settings, norm), 1.0);
    assert_eq!(after(&settings, "classifier.bias"), 1.0);
    assert_eq!(after(&settings, "classifier.weight"), 0.95);
    let settings = OptimizerSettings {
        groups: vec![ParameterGroup {
            patterns: vec!["*LayerNorm*".to_owned()],
            learning_rate: None,
            weight_decay: Some(0.2),
        }],
        ..settings
    };
    assert_eq!(after(&settings, norm), 0.98);
    assert_eq!(after(&settings, "classifier.bias"), 1.0);
}

#[test]
fn each_setting_of_an_optimizer_changes_its_steps() {
    let after = |settings: &OptimizerSettings| -> Vec<f32> {
        let (mut optimizer, mut weights) = (optimizer(settings), weights());
        (1..=3).for_each(|number| step(&mut optimizer, &mut weights, number));
        weights.iter().flat_map(values).collect()
    };
    type Change<'a> = &'a dyn Fn(&mut OptimizerSettings);
    let cases: [(OptimizerName, Change); 9] = [
        (OptimizerName::Adamw, &|s| s.beta1 = 0.5),
        (OptimizerName::Adamw, &|s| s.beta2 = 0.5),
        (OptimizerName::Lamb, &|s| s.epsilon = 0.1),
        (OptimizerName::Adam, &|s| s.weight_decay = None),
        (OptimizerName::Sgd, &|s| s.momentum = None),
        (OptimizerName::Sgd, &|s| s.nesterov = true),
        (OptimizerName::Sgd, &|s| s.layer_decay = 0.9),
        (OptimizerName::Adamw, &|s| s.head_learning_rate = Some(0.1)),
        (OptimizerName::Lamb, &|s| s.learning_rate = 1e-3),
    ];
    for (name, change) in cases {
        let mut changed = of(name);
        change(&mut changed);
        assert_ne!(after(&of(name)), after(&changed), "{changed:?}");
    }
}
