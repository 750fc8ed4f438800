//! Gradients with less memory: of each layer only what it was given is kept, and the rest is computed a second time on the way
//! back (Chen et al., 2016, <https://arxiv.org/abs/1604.06174>; `gradient_checkpointing` of transformers).
//!
//! The layers run once without autodiff. Then, from the top down, each runs again with it, and what the layers above say
//! of its output is handed on to its input: the gradient of `sum(output * gradient)` by anything in the layer is the
//! gradient of the loss by it. What is dropped is a function of seed, step and place, so that both passes drop the same.
//!
//! Promise: losses and gradients are those without it, to the rounding of sums over weights that layers share.
//!
//! Deliberately absent: a choice of layers. Each is kept alone, which needs least; but those that the head reads together run
//! together.

use burn::module::Module;
use burn::tensor::Tensor;

use super::accumulate::scaled;
use crate::learn::Gradients;
use crate::model::{Batch, Classifier, Given, Mode};

/// The loss that `loss_of` makes of the answers to `batch`, `[1]`, without autodiff, and its gradients times `scale`. `model` is
/// with autodiff, and of the batch no more than hidden states is given.
pub(super) fn gradients(
    model: &Classifier,
    batch: Batch,
    mode: &Mode,
    scale: f64,
    loss_of: &dyn Fn(Tensor<2>) -> Tensor<1>,
) -> (Tensor<1>, Gradients) {
    let depth = model.encoder.depth();
    let plain = model.valid();
    let (start, first) = plain.begin(&batch, mode);
    // What the head reads must come from one pass.
    let read = model.head.stack().layers;
    let last = depth.saturating_sub(read).max(start);
    // given[n]: what the layer start + n is given, [tokens, hidden].
    let mut given = vec![first];
    for layer in start..last {
        let hidden = given[layer - start].clone();
        given.push(plain.encoder.layers(layer..layer + 1, hidden, &batch, mode));
    }

    let leaf = |hidden: &Tensor<2>| Tensor::from_inner(hidden.clone()).require_grad();
    let top = leaf(&given[last - start]);
    let above = batch.clone().with(Given::Hidden {
        layers: last,
        hidden: top.clone(),
    });
    let loss = loss_of(model.forward(&above, mode));
    let (mut gradients, mut flow) = Gradients::with_input(&scaled(&loss, scale), model, &top);
    for layer in (start..last).rev() {
        let Some(gradient) = flow else {
            break;
        };
        let input = leaf(&given[layer - start]);
        let output = model
            .encoder
            .layers(layer..layer + 1, input.clone(), &batch, mode); // [tokens, hidden]
        let (of_layer, next) = Gradients::with_input(&along(output, gradient), model, &input);
        gradients.add(of_layer);
        flow = next;
    }
    if let (Given::Nothing, 0, false, Some(gradient)) =
        (&batch.given, start, model.begins_frozen(), flow)
    {
        let embedded = model.encoder.embed(&batch, mode); // [tokens, hidden]
        gradients.add(Gradients::of(&along(embedded, gradient), model));
    }
    (loss.inner(), gradients)
}

/// What has `gradient` (without autodiff) as its derivative by `output`; both `[tokens, hidden]`. → `[1]`
fn along(output: Tensor<2>, gradient: Tensor<2>) -> Tensor<1> {
    (output * Tensor::from_inner(gradient)).sum()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::learn::batch::{Laid, Layout};
    use crate::learn::objective::tests::{cases, devices, toy};
    use crate::model::{self, ScratchSettings, Vocabulary};

    fn deep(head: &model::HeadKind, layers: usize, device: &Device) -> Classifier {
        let sizes = ScratchSettings {
            layers,
            hidden: 32,
            heads: 2,
            intermediate: None,
            dropout: 0.1,
            max_positions: 16,
        };
        let vocabulary = Vocabulary {
            size: 32,
            pad_id: 0,
        };
        let made = Classifier::scratch(&sizes, vocabulary, head, 5, device);
        made.unwrap().0.train()
    }

    type Found = (f32, std::collections::BTreeMap<String, Vec<f32>>);

    fn values(model: &Classifier, (loss, mut gradients): (Tensor<1>, Gradients)) -> Found {
        let names = model::named_parameters(model).into_iter();
        let values = names.filter_map(|parameter| {
            let gradient = gradients.remove(&parameter.name)?;
            Some((parameter.name, gradient.try_into_vec_as().unwrap()))
        });
        (loss.into_scalar(), values.collect())
    }

    fn both(model: &Classifier, device: &Device) -> Vec<(Found, Found)> {
        let mode = Mode::train(3, 4);
        let rows = toy(9);
        let chosen: Vec<usize> = (0..9).collect();
        let layouts = [Layout::Packed, Layout::Padded { to: None }];
        let of = |layout| {
            let batch = Laid::out(&rows, &chosen, layout, 0, 16).on(device);
            let loss_of = |answers: Tensor<2>| (answers.clone() * answers).mean(); // [1]
            let loss = loss_of(model.forward(&batch, &mode));
            let plain = Gradients::of(&loss, model);
            let plain = values(model, (loss.inner(), plain));
            (
                plain,
                values(model, gradients(model, batch, &mode, 1.0, &loss_of)),
            )
        };
        layouts.map(of).into()
    }

    #[track_caller]
    fn same((plain, checkpointed): &(Found, Found)) {
        assert!((plain.0 - checkpointed.0).abs() <= 1e-6 * plain.0.abs());
        assert!(
            plain.1.keys().eq(checkpointed.1.keys()),
            "{:?}",
            plain.1.keys()
        );
        assert!(!plain.1.is_empty());
        for (name, wanted) in &plain.1 {
            let size = wanted.iter().fold(1e-6_f32, |m, x| m.max(x.abs()));
            for (found, wanted) in checkpointed.1[name].iter().zip(wanted) {
                assert!(
                    (found - wanted).abs() <= 1e-5 * size,
                    "{name}: {found}, {wanted}"
                );
            }
        }
    }

    #[test]
    fn gradients_are_those_without_checkpointing_for_every_head_and_depth() {
        for (_, head) in cases() {
            for device in devices() {
                for layers in [1, 3] {
                    both(&deep(&head, layers, &device), &device)
                        .iter()
                        .for_each(same);
                }
            }
        }
    }

    #[test]
    fn frozen_layers_have_no_gradient_with_checkpointing_either() {
        let (_, head) = &cases()[0];
        let device = Device::flex();
        let model = deep(head, 3, &device);
        for layers in [0, 2, 3] {
            let frozen = |name: &str| {
                let in_layer = |layer| name.contains(&format!("layer.{layer}."));
                name.contains("embeddings") || (0..layers).any(in_layer)
            };
            let model = model::freeze(model.clone(), &frozen).with_frozen(Some(layers));
            let found = both(&model, &device);
            found.iter().for_each(same);
            assert!(
                found
                    .iter()
                    .all(|(plain, _)| !plain.1.keys().any(|name| frozen(name)))
            );
        }
    }

    #[test]
    fn a_head_that_reads_several_layers_gets_the_gradients_of_all() {
        let head = model::HeadSettings {
            pooling: model::Pooling::Mean,
            layers: 2,
            combine: model::Combine::Concat,
            ..model::HeadSettings::default()
        };
        let device = Device::flex();
        let model = deep(&head.over_texts(3), 4, &device);
        both(&model, &device).iter().for_each(same);
        for layers in [1, 3, 4] {
            let frozen = |name: &str| {
                let in_layer = |layer| name.contains(&format!("layer.{layer}."));
                name.contains("embeddings") || (0..layers).any(in_layer)
            };
            let model = model::freeze(model.clone(), &frozen).with_frozen(Some(layers));
            both(&model, &device).iter().for_each(same);
        }
    }

    #[test]
    fn weights_that_layers_share_get_the_gradients_of_all() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for family in [
            "albert",
            "albert-groups",
            "mpnet",
            "deberta-v2-conv",
            "modernbert",
        ] {
            let folder = folder.join("tests/fixtures/families").join(family);
            let head = model::HeadSettings::default().over_texts(3);
            let files = model::EncoderFiles::in_folder(&folder);
            let device = Device::flex();
            let model = Classifier::pretrained(&files, &head, 1, &device).unwrap().0;
            both(&model.train(), &device).iter().for_each(same);
        }
    }
}
