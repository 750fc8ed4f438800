//! Parameters by their Hugging Face names, always in one order: embeddings, layers, pooler, head, CRF.
//!
//! This is the one place that knows how a field's path becomes a tensor's name, and which tensors lie transposed: a
//! linear layer's weight is `[out, in]` in a checkpoint and `[in, out]` in burn.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use super::{Classifier, ModelError};

/// What the names of a CRF's parameters begin with.
pub(super) const CRF: &str = "crf.";

/// A parameter without its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// As in a checkpoint of transformers; those of a CRF as in one of pytorch-crf.
    pub name: String,
    /// burn's identity of it, for optimizers and gradients.
    pub id: ParamId,
    /// As in a checkpoint: the weight of a linear layer is `[out, in]`.
    pub shape: Vec<usize>,
}

/// Something to be done with every parameter.
pub trait VisitParameters {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>);
}

/// Something that gives every parameter a new value.
pub trait MapParameters {
    fn map<const D: usize>(&mut self, name: &str, parameter: Param<Tensor<D>>) -> Param<Tensor<D>>;
}

/// Shows each parameter to `visitor`.
pub fn visit_parameters(classifier: &Classifier, visitor: &mut impl VisitParameters) {
    classifier.visit(&mut Walk {
        path: Vec::new(),
        visitor,
    });
}

/// Lets `mapper` replace each parameter.
pub fn map_parameters(classifier: Classifier, mapper: &mut impl MapParameters) -> Classifier {
    classifier.map(&mut Walk {
        path: Vec::new(),
        visitor: mapper,
    })
}

/// All parameters, without reading a value.
pub fn named_parameters(classifier: &Classifier) -> Vec<Parameter> {
    struct List(Vec<Parameter>);
    impl VisitParameters for List {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            let mut shape: Vec<usize> = parameter.lazy_shape().iter().copied().collect();
            if transposed(name) {
                shape.reverse();
            }
            self.0.push(Parameter {
                name: name.to_owned(),
                id: parameter.id,
                shape,
            });
        }
    }
    let mut list = List(Vec::new());
    visit_parameters(classifier, &mut list);
    list.0
}

/// Whether weight decay applies: not to biases and not to LayerNorm, as in transformers' `Trainer`, and not to a CRF, whose
/// parameters are scores added to others, as biases are.
pub fn decays(name: &str) -> bool {
    !name.ends_with("bias") && !name.contains("LayerNorm") && !name.starts_with(CRF)
}

/// The name in a checkpoint of the parameter at a burn module path, dotted, of a [`Classifier`].
///
/// `encoder.encoder.layer.0.attention.self_attention.query.weight` is `bert.encoder.layer.0.attention.self.query.weight`.
pub fn hugging_face_name(path: &str) -> String {
    let mut parts = path.split('.');
    let root = match parts.next() {
        Some("encoder") => Some("bert"),
        Some("head") => None,
        other => other,
    };
    let parts = parts.map(|part| match part {
        "self_attention" => "self",
        "layer_norm" => "LayerNorm",
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    });
    root.into_iter().chain(parts).collect::<Vec<_>>().join(".")
}

/// Whether the tensor lies the other way round in a checkpoint: the weights of linear layers do, which here are all
/// matrices but the embedding tables.
fn transposed(name: &str) -> bool {
    name.ends_with(".weight") && !name.contains("LayerNorm") && !name.contains("_embeddings.")
}

/// Values in a checkpoint's layout as the parameter's new value, on its device and with its gradient setting.
///
/// `values` must have as many elements as the parameter.
pub(super) fn set<const D: usize>(
    name: &str,
    parameter: Param<Tensor<D>>,
    values: Vec<f32>,
) -> Param<Tensor<D>> {
    let shape: Vec<usize> = parameter.lazy_shape().iter().copied().collect();
    let values = match shape[..] {
        [rows, columns] if transposed(name) => transpose(&values, columns, rows),
        _ => values,
    };
    let tensor = Tensor::from_data(TensorData::new(values, shape), &parameter.lazy_device());
    let id = parameter.id;
    parameter.transform_for_load(tensor, id)
}

/// A parameter's values in a checkpoint's layout.
///
/// # Errors
/// The device could not hand them over.
pub(super) fn get<const D: usize>(
    name: &str,
    parameter: &Param<Tensor<D>>,
) -> Result<Vec<f32>, ModelError> {
    let lost = |reason: String| ModelError::ReadBack {
        name: name.to_owned(),
        reason,
    };
    let data = parameter
        .val()
        .try_into_data()
        .map_err(|e| lost(e.to_string()))?;
    let shape: Vec<usize> = data.shape().iter().copied().collect();
    let values = data.try_to_vec::<f32>().map_err(|e| lost(e.to_string()))?;
    Ok(match shape[..] {
        [rows, columns] if transposed(name) => transpose(&values, rows, columns),
        _ => values,
    })
}

/// A row-major matrix of `rows` × `columns` as one of `columns` × `rows`.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |c: usize| {
        values
            .iter()
            .skip(c)
            .step_by(columns.max(1))
            .take(rows)
            .copied()
    };
    (0..columns).flat_map(column).collect()
}

/// Follows burn's walk through the modules and keeps the path.
struct Walk<'a, V> {
    path: Vec<String>,
    visitor: &'a mut V,
}

impl<V> Walk<'_, V> {
    fn name(&self) -> String {
        hugging_face_name(&self.path.join("."))
    }
}

impl<V: VisitParameters> ModuleVisitor for Walk<'_, V> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visitor.visit(&self.name(), param);
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

impl<V: MapParameters> ModuleMapper for Walk<'_, V> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.visitor.map(&self.name(), param)
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_the_names_of_transformers() {
        let pairs = [
            (
                "encoder.embeddings.layer_norm.gamma",
                "bert.embeddings.LayerNorm.weight",
            ),
            (
                "encoder.encoder.layer.0.attention.self_attention.query.weight",
                "bert.encoder.layer.0.attention.self.query.weight",
            ),
            (
                "encoder.encoder.layer.11.output.layer_norm.beta",
                "bert.encoder.layer.11.output.LayerNorm.bias",
            ),
            ("encoder.pooler.dense.bias", "bert.pooler.dense.bias"),
            ("head.classifier.weight", "classifier.weight"),
            ("head.qa_outputs.bias", "qa_outputs.bias"),
            ("head.crf.start_transitions", "crf.start_transitions"),
        ];
        for (path, name) in pairs {
            assert_eq!(hugging_face_name(path), name);
        }
    }

    #[test]
    fn only_linear_weights_lie_transposed() {
        assert!(
            transposed("classifier.weight")
                && transposed("bert.encoder.layer.0.output.dense.weight")
        );
        assert!(
            !transposed("bert.embeddings.word_embeddings.weight") && !transposed("classifier.bias")
        );
        assert!(!transposed("bert.embeddings.LayerNorm.weight") && !transposed("crf.transitions"));
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let other = transpose(&values, 2, 3);
        assert_eq!(other, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(transpose(&other, 3, 2), values);
    }

    #[test]
    fn biases_layer_norms_and_crfs_do_not_decay() {
        assert!(decays("bert.embeddings.word_embeddings.weight") && decays("qa_outputs.weight"));
        assert!(!decays("crf.transitions") && !decays("crf.end_transitions"));
        assert!(!decays("bert.embeddings.LayerNorm.weight") && !decays("classifier.bias"));
    }
}
