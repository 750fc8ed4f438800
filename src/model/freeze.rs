//! Parameters that do not learn.
//!
//! A frozen parameter asks for no gradient: nothing is computed for it on the way back, and an optimizer, which passes over
//! what has no gradient, leaves it as it is.
//!
//! Deliberately absent: which parameters these are; see the settings of a training.

use burn::module::Param;
use burn::tensor::Tensor;

use super::Classifier;
use super::parameters::{MapParameters, map_parameters};

/// Lets the parameters of whose Hugging Face names `frozen` is true no longer learn, and all others learn. It holds for
/// every copy made by burn's `train()` and `valid()`.
pub fn freeze(classifier: Classifier, frozen: &dyn Fn(&str) -> bool) -> Classifier {
    struct Freeze<'a>(&'a dyn Fn(&str) -> bool);
    impl MapParameters for Freeze<'_> {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<D>>,
        ) -> Param<Tensor<D>> {
            parameter.set_require_grad(!(self.0)(name))
        }
    }
    map_parameters(classifier, &mut Freeze(frozen))
}
