//! Parameters by their Hugging Face names, always in one order: embeddings, layers, pooler, head, CRF.
//!
//! Deliberately absent: how a field's path becomes a name, and which tensors lie transposed; see `names`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use super::names::{Names, transposed};
use super::{Classifier, ModelError};

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
        names: classifier.names,
        visitor,
    });
}

/// Lets `mapper` replace each parameter.
pub fn map_parameters(classifier: Classifier, mapper: &mut impl MapParameters) -> Classifier {
    let names = classifier.names;
    classifier.map(&mut Walk {
        path: Vec::new(),
        names,
        visitor: mapper,
    })
}

/// All parameters, without reading a value.
pub fn named_parameters(classifier: &Classifier) -> Vec<Parameter> {
    struct List(Vec<Parameter>);
    impl VisitParameters for List {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            self.0.push(Parameter {
                name: name.to_owned(),
                id: parameter.id,
                shape: shape(name, parameter),
            });
        }
    }
    let mut list = List(Vec::new());
    visit_parameters(classifier, &mut list);
    list.0
}

/// A parameter's shape in a checkpoint's layout.
pub(super) fn shape<const D: usize>(name: &str, parameter: &Param<Tensor<D>>) -> Vec<usize> {
    let mut shape: Vec<usize> = parameter.lazy_shape().iter().copied().collect();
    if D == 2 && transposed(name) {
        shape.reverse();
    }
    shape
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
pub(super) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    /// Rows that are walked at once, so that what the cache holds of each is used up.
    const BLOCK: usize = 16;
    let mut transposed = vec![0.0; values.len()];
    let blocks = values.chunks(BLOCK * columns.max(1));
    for (block, rows_above) in blocks.zip((0..).step_by(BLOCK)) {
        for (column, target) in transposed.chunks_mut(rows.max(1)).enumerate() {
            let target = target.iter_mut().skip(rows_above);
            let source = block.iter().skip(column).step_by(columns.max(1));
            for (target, &source) in target.zip(source) {
                *target = source;
            }
        }
    }
    transposed
}

/// Follows burn's walk through the modules and keeps the path.
struct Walk<'a, V> {
    path: Vec<String>,
    names: Names,
    visitor: &'a mut V,
}

impl<V> Walk<'_, V> {
    fn name(&self) -> String {
        self.names.of_path(&self.path.join("."))
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
    fn transposing_twice_changes_nothing() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let other = transpose(&values, 2, 3);
        assert_eq!(other, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(transpose(&other, 3, 2), values);
    }
}
