//! How weights follow the gradient: the methods of `torch.optim`, with its order of operations.
//!
//! There are two deviations. Adam multiplies by the reciprocal of a correction instead of dividing by it, which is faster.
//! And numbers that are kept from step to step and have fallen below [`VANISHED`] become 0. They belong
//! to parameters without a gradient, such as those of units that are never active, change no weight any more, and would
//! soon be so small that processors take a hundred times as long for them.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the processor's vectors")]

use modelwright_api::training::resolved::{Method, ResolvedOptimizer};
use pulp::Arch;

use crate::network::{Gradients, Network};

/// What is 0 for the state of a method.
const VANISHED: f32 = 1e-36;

/// A method and its memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Optimizer {
    method: Method,
    /// The steps that were done.
    pub(super) steps: u64,
    /// For each parameter of the network, in order, the numbers that are kept of it from step to step: as many lists as
    /// the method needs.
    pub(super) memory: Vec<Vec<Vec<f32>>>,
}

impl Optimizer {
    /// A method that has seen nothing.
    pub(super) fn new(settings: &ResolvedOptimizer, network: &Network<f32>) -> Self {
        let lists = match settings.method {
            Method::Sgd { momentum, .. } => usize::from(momentum != 0.0),
            Method::Adam { .. } | Method::AdamW { .. } => 2,
            Method::RmsProp { momentum, .. } => 1 + usize::from(momentum != 0.0),
        };
        let memory = network.parameters().map(|values| vec![vec![0.0; values.len()]; lists]).collect();
        Self { method: settings.method, steps: 0, memory }
    }

    /// Does one step.
    pub(super) fn step(&mut self, network: &mut Network<f32>, gradients: &Gradients<f32>, rate: f64) {
        self.steps += 1;
        let update = Update::of(self.method, self.steps, rate);
        for ((weights, gradients), memory) in
            network.parameters_mut().zip(gradients.parameters()).zip(&mut self.memory)
        {
            let (first, second): (&mut [f32], &mut [f32]) = match memory.as_mut_slice() {
                [] => (&mut [], &mut []),
                [first] => (first, &mut []),
                [first, second, ..] => (first, second),
            };
            update.apply(weights, gradients, first, second);
        }
    }
}

/// The numbers of one step, rounded to single precision where `torch` does that.
#[derive(Clone, Copy, Debug)]
enum Update {
    Sgd { rate: f32 },
    Momentum { rate: f32, momentum: f32, nesterov: bool },
    Adam(Adam),
    RmsProp { rate: f32, rho: f32, rest: f32, epsilon: f32 },
    RmsPropMomentum { rate: f32, rho: f32, rest: f32, epsilon: f32, momentum: f32 },
}

#[derive(Clone, Copy, Debug)]
struct Adam {
    /// What each weight is multiplied by first; 1 without weight decay.
    shrink: f32,
    /// 1 - beta1.
    rest1: f32,
    beta2: f32,
    /// 1 - beta2.
    rest2: f32,
    /// The learning rate over 1 - beta1^steps.
    rate: f32,
    /// 1 / √(1 - beta2^steps).
    correction: f32,
    epsilon: f32,
}

#[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest")]
const fn single(value: f64) -> f32 {
    value as f32
}

impl Adam {
    fn of(steps: u64, rate: f64, [beta1, beta2]: [f64; 2], epsilon: f64, decay: f64) -> Self {
        let steps = steps as f64;
        Self {
            shrink: single(1.0 - rate * decay),
            rest1: single(1.0 - beta1),
            beta2: single(beta2),
            rest2: single(1.0 - beta2),
            rate: single(rate / (1.0 - libm::pow(beta1, steps))),
            correction: single(1.0 / (1.0 - libm::pow(beta2, steps)).sqrt()),
            epsilon: single(epsilon),
        }
    }
}

impl Update {
    fn of(method: Method, steps: u64, rate: f64) -> Self {
        match method {
            Method::Sgd { momentum: 0.0, .. } => Self::Sgd { rate: single(rate) },
            Method::Sgd { momentum, nesterov } => {
                Self::Momentum { rate: single(rate), momentum: single(momentum), nesterov }
            }
            Method::Adam { beta1, beta2, epsilon } => {
                Self::Adam(Adam::of(steps, rate, [beta1, beta2], epsilon, 0.0))
            }
            Method::AdamW { beta1, beta2, epsilon, weight_decay } => {
                Self::Adam(Adam::of(steps, rate, [beta1, beta2], epsilon, weight_decay))
            }
            Method::RmsProp { rho, epsilon, momentum } => {
                let (rate, epsilon) = (single(rate), single(epsilon));
                let (rho, rest) = (single(rho), single(1.0 - rho));
                if momentum == 0.0 {
                    Self::RmsProp { rate, rho, rest, epsilon }
                } else {
                    Self::RmsPropMomentum { rate, rho, rest, epsilon, momentum: single(momentum) }
                }
            }
        }
    }

    /// Changes the weights of one parameter, and what is kept of it.
    fn apply(self, weights: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        let arch = Arch::new();
        match self {
            Self::Sgd { rate } => arch.dispatch(|| {
                for (weight, gradient) in weights.iter_mut().zip(gradients) {
                    *weight -= rate * gradient;
                }
            }),
            Self::Momentum { rate, momentum, nesterov } => arch.dispatch(|| {
                for ((weight, gradient), velocity) in weights.iter_mut().zip(gradients).zip(first) {
                    *velocity = settled(momentum * *velocity + gradient);
                    let ahead = if nesterov { gradient + momentum * *velocity } else { *velocity };
                    *weight -= rate * ahead;
                }
            }),
            Self::Adam(adam) => arch.dispatch(|| adam_loop(adam, weights, gradients, first, second)),
            Self::RmsProp { rate, rho, rest, epsilon } => arch.dispatch(|| {
                for ((weight, gradient), square) in weights.iter_mut().zip(gradients).zip(first) {
                    *square = settled(rho * *square + rest * gradient * gradient);
                    *weight -= rate * gradient / (square.sqrt() + epsilon);
                }
            }),
            Self::RmsPropMomentum { rate, rho, rest, epsilon, momentum } => arch.dispatch(|| {
                for (((weight, gradient), square), velocity) in
                    weights.iter_mut().zip(gradients).zip(first).zip(second)
                {
                    *square = settled(rho * *square + rest * gradient * gradient);
                    *velocity = settled(momentum * *velocity + gradient / (square.sqrt() + epsilon));
                    *weight -= rate * *velocity;
                }
            }),
        }
    }
}

#[inline(always)]
fn adam_loop(adam: Adam, weights: &mut [f32], gradients: &[f32], means: &mut [f32], squares: &mut [f32]) {
    let Adam { shrink, rest1, beta2, rest2, rate, correction, epsilon } = adam;
    for (((weight, gradient), mean), square) in weights.iter_mut().zip(gradients).zip(means).zip(squares) {
        *mean = settled(*mean + rest1 * (gradient - *mean));
        *square = settled(beta2 * *square + rest2 * gradient * gradient);
        let denominator = square.sqrt() * correction + epsilon;
        *weight = *weight * shrink - rate * *mean / denominator;
    }
}

/// The number, or 0 if it has vanished.
#[inline(always)]
fn settled(value: f32) -> f32 {
    if value.abs() < VANISHED { 0.0 } else { value }
}
