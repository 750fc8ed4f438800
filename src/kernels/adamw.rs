//! One step of AdamW for one parameter, and the sum of squares that clipping needs.

use burn::tensor::Tensor;

use super::cpu;
use super::cpu::adamw::Touched;
use super::flex::{self, Numbers};

/// The numbers of one step of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    pub learning_rate: f64,
    /// 0 for a parameter that does not decay.
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
}

/// What is remembered of one parameter's gradients.
#[derive(Debug, Clone)]
pub struct Moments {
    steps: i32,
    /// The running mean, `[elements]`.
    mean: Tensor<1>,
    /// The running mean of the squares, `[elements]`.
    square: Tensor<1>,
    /// Where one of the two is not zero; known on the CPU only.
    touched: Option<Touched>,
}

impl Moments {
    /// Before the first step of a parameter with a gradient like `gradient`, `[elements]`.
    pub fn zero(gradient: &Tensor<1>) -> Moments {
        let [elements] = gradient.dims();
        Moments {
            steps: 0,
            mean: gradient.zeros_like(),
            square: gradient.zeros_like(),
            touched: Some(Touched::nowhere(elements)),
        }
    }

    /// As [`parts`](Self::parts) gave them.
    pub fn from_parts(steps: i32, mean: Tensor<1>, square: Tensor<1>) -> Moments {
        Moments {
            steps,
            mean,
            square,
            touched: None,
        }
    }

    /// The number of steps taken, the mean and the mean of the squares: all that there is to save.
    pub fn parts(&self) -> (i32, Tensor<1>, Tensor<1>) {
        (self.steps, self.mean.clone(), self.square.clone())
    }
}

/// The weight after one more step, with the moments brought up to date: `weight` and `gradient` are `[elements]`, without
/// autodiff. The gradient is first multiplied by `share` (`[1]`), where there is one.
///
/// On the CPU weight and moments change in place, unless somebody else holds them.
///
/// Source: `torch.optim.AdamW` (Loshchilov and Hutter, 2019, <https://arxiv.org/abs/1711.05101>).
pub fn adamw(
    weight: Tensor<1>,
    moments: &mut Moments,
    gradient: Tensor<1>,
    share: Option<Tensor<1>>,
    step: AdamWStep,
) -> Tensor<1> {
    moments.steps += 1;
    if flex::fits(&weight) {
        in_place(weight, moments, gradient, share, step)
    } else {
        composed(weight, moments, gradient, share, step)
    }
}

impl AdamWStep {
    fn decay(&self) -> f64 {
        1.0 - self.learning_rate * self.weight_decay
    }

    /// The learning rate over the correction of the mean after so many steps.
    fn rate(&self, steps: i32) -> f64 {
        self.learning_rate / (1.0 - self.beta1.powi(steps))
    }

    /// The root of the correction of the square after so many steps.
    fn root(&self, steps: i32) -> f64 {
        (1.0 - self.beta2.powi(steps)).sqrt()
    }
}

pub(super) fn composed(
    weight: Tensor<1>,
    moments: &mut Moments,
    gradient: Tensor<1>,
    share: Option<Tensor<1>>,
    step: AdamWStep,
) -> Tensor<1> {
    let gradient = match share {
        Some(share) => gradient * share, // [elements] * [1]
        None => gradient,
    };
    let mean = moments.mean.clone() * step.beta1 + gradient.clone() * (1.0 - step.beta1);
    let square = moments.square.clone() * step.beta2 + gradient.square() * (1.0 - step.beta2);
    let divisor = square.clone().sqrt() / step.root(moments.steps) + step.epsilon;
    let change = mean.clone() / divisor * step.rate(moments.steps);
    moments.mean = mean;
    moments.square = square;
    weight * step.decay() - change
}

fn in_place(
    weight: Tensor<1>,
    moments: &mut Moments,
    gradient: Tensor<1>,
    share: Option<Tensor<1>>,
    step: AdamWStep,
) -> Tensor<1> {
    let gradient = flex::numbers(gradient);
    let elements = gradient.len();
    // What stays behind are empty tensors, so that nobody else holds the moments.
    let nothing = || flex::tensor::<1>(Numbers::new(Vec::new(), &[0]));
    let take =
        |tensor: &mut Tensor<1>| flex::numbers(std::mem::replace(tensor, nothing())).into_vec();
    let mut mean = take(&mut moments.mean);
    let mut square = take(&mut moments.square);
    let mut weight = flex::numbers(weight).into_vec();
    let touched = moments
        .touched
        .get_or_insert_with(|| Touched::everywhere(elements));
    let step = cpu::adamw::Step {
        decay: step.decay() as f32,
        share: share.map_or(1.0, |share| flex::numbers(share)[0]),
        rate: step.rate(moments.steps) as f32,
        root: step.root(moments.steps) as f32,
        beta1: step.beta1 as f32,
        beta2: step.beta2 as f32,
        rest1: (1.0 - step.beta1) as f32,
        rest2: (1.0 - step.beta2) as f32,
        epsilon: step.epsilon as f32,
    };
    cpu::adamw::step(
        &mut weight,
        &mut mean,
        &mut square,
        &gradient,
        touched,
        step,
    );
    moments.mean = flex::tensor(Numbers::new(mean, &[elements]));
    moments.square = flex::tensor(Numbers::new(square, &[elements]));
    flex::tensor(Numbers::new(weight, &[elements]))
}

/// The sum of the squares of all elements of `[elements]`, `[1]`. On the CPU it is formed in one order for any number of
/// threads, which flex's own sum of 4 Mi elements and more is not.
pub fn sum_of_squares(input: Tensor<1>) -> Tensor<1> {
    if flex::fits(&input) {
        let sum = cpu::sums::squares(&flex::numbers(input));
        return flex::tensor(Numbers::new(vec![sum], &[1]));
    }
    input.square().sum()
}
