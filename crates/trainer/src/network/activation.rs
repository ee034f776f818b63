//! What layers apply to each of their values, and its derivative.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use modelwright_api::training::Activation;
use pulp::Arch;

use super::Scalar;

/// Replaces each value z by f(z + b), with the bias b of its column. Of `Gelu`, whose derivative cannot be had from
/// its value, z + b goes to `raw`.
pub(super) fn apply<T: Scalar>(activation: Activation, bias: &[T], values: &mut [T], raw: &mut [T]) {
    match activation {
        Activation::Linear => map(bias, values, |value| value),
        // Not-a-number stays what it is, so that a training that diverges is noticed.
        Activation::Relu => {
            map(bias, values, |value| if value < T::default() { T::default() } else { value });
        }
        Activation::Tanh => map(bias, values, T::tanh),
        Activation::Sigmoid => {
            let one = T::from_f64(1.0);
            map(bias, values, |value| one / (one + (-value).exp()));
        }
        Activation::Gelu => {
            map(bias, values, |value| value);
            raw.copy_from_slice(values);
            for value in values.iter_mut() {
                *value = *value * normal(*value);
            }
        }
    }
}

/// Multiplies each gradient by f' at its value. `values` are those that [`apply`] left; `raw`, for `Gelu`, what it kept.
pub(super) fn differentiate<T: Scalar>(activation: Activation, values: &[T], raw: &[T], gradients: &mut [T]) {
    let one = T::from_f64(1.0);
    match activation {
        Activation::Linear => {}
        Activation::Relu => {
            scale(
                values,
                gradients,
                |value, gradient| {
                    if value > T::default() { gradient } else { T::default() }
                },
            );
        }
        Activation::Tanh => scale(values, gradients, |value, gradient| gradient * (one - value * value)),
        Activation::Sigmoid => scale(values, gradients, |value, gradient| gradient * (value * (one - value))),
        Activation::Gelu => {
            scale(raw, gradients, |value, gradient| gradient * (normal(value) + value * density(value)));
        }
    }
}

/// Φ: the share of a standard normal distribution below `value`.
fn normal<T: Scalar>(value: T) -> T {
    T::from_f64(0.5) * (T::from_f64(1.0) + (value * T::from_f64(FRAC_1_SQRT_2)).erf())
}

/// φ: the density of a standard normal distribution.
fn density<T: Scalar>(value: T) -> T {
    T::from_f64(1.0 / (2.0 * PI).sqrt()) * (T::from_f64(-0.5) * value * value).exp()
}

fn map<T: Scalar>(bias: &[T], values: &mut [T], function: impl Fn(T) -> T) {
    Arch::new().dispatch(|| {
        for row in values.chunks_exact_mut(bias.len()) {
            row.iter_mut().zip(bias).for_each(|(value, bias)| *value = function(*value + *bias));
        }
    });
}

fn scale<T: Scalar>(values: &[T], gradients: &mut [T], function: impl Fn(T, T) -> T) {
    Arch::new().dispatch(|| {
        gradients
            .iter_mut()
            .zip(values)
            .for_each(|(gradient, value)| *gradient = function(*value, *gradient));
    });
}
