//! L-BFGS: the minimum of a smooth function from its values and gradients (Nocedal and Wright, Numerical Optimization,
//! 2nd edition, algorithm 7.5), with a line search by bisection for the weak Wolfe conditions.

use std::collections::VecDeque;

use super::vectors::{add, dot, scale};

/// When to stop.
pub(super) struct Limits {
    /// The most evaluations of the function.
    pub(super) evaluations: usize,
    /// No part of the gradient is larger at the minimum.
    pub(super) tolerance: f64,
    /// How many steps are remembered.
    pub(super) history: usize,
}

/// A step and how the gradient changed along it.
struct Step {
    moved: Vec<f64>,
    turned: Vec<f64>,
    /// 1 / (moved · turned).
    inverse: f64,
}

/// A point that was evaluated.
struct Point {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// The best point found from `start`. `function` gives its value and writes its gradient.
pub(super) fn minimise(
    start: Vec<f64>,
    limits: &Limits,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Vec<f64> {
    let mut left = limits.evaluations;
    let mut evaluate = |at: Vec<f64>| {
        let mut gradient = vec![0.0; at.len()];
        let value = function(&at, &mut gradient);
        Point { at, value, gradient }
    };
    let mut here = evaluate(start);
    let mut steps: VecDeque<Step> = VecDeque::new();
    while here.gradient.iter().any(|part| part.abs() > limits.tolerance) {
        let direction = direction(&here.gradient, &steps);
        let length =
            if steps.is_empty() { 1.0 / dot(&here.gradient, &here.gradient).sqrt().max(1.0) } else { 1.0 };
        let Some((next, step)) = search(&here, &direction, length, &mut left, &mut evaluate) else { break };
        here = next;
        // Rounding can hide how the gradient turned; such a step says nothing.
        if step.inverse.is_finite() && step.inverse > 0.0 {
            steps.push_back(step);
        }
        if steps.len() > limits.history {
            steps.pop_front();
        }
    }
    here.at
}

/// Minus the gradient times the approximate inverse of the second derivatives (the two-loop recursion).
fn direction(gradient: &[f64], steps: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|part| -part).collect();
    let mut factors = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        let factor = step.inverse * dot(&step.moved, &direction);
        add(&mut direction, -factor, &step.turned);
        factors.push(factor);
    }
    if let Some(last) = steps.back() {
        scale(&mut direction, 1.0 / (last.inverse * dot(&last.turned, &last.turned)));
    }
    for (step, factor) in steps.iter().zip(factors.iter().rev()) {
        let other = step.inverse * dot(&step.turned, &direction);
        add(&mut direction, factor - other, &step.moved);
    }
    direction
}

/// A point along `direction` that is low enough and where the slope has eased enough; `None` when rounding leaves nothing
/// to gain, or when no evaluations are left.
fn search(
    here: &Point,
    direction: &[f64],
    first_length: f64,
    left: &mut usize,
    evaluate: &mut impl FnMut(Vec<f64>) -> Point,
) -> Option<(Point, Step)> {
    /// The share of the promised decrease that is enough.
    const DECREASE: f64 = 1e-4;
    /// The share of the slope that may remain.
    const SLOPE: f64 = 0.9;
    /// Halvings and doublings before the search gives up.
    const TRIES: usize = 30;
    let slope = dot(&here.gradient, direction);
    if slope.is_nan() || slope >= 0.0 {
        return None;
    }
    let (mut short, mut long) = (0.0, f64::INFINITY);
    let mut length = first_length;
    // The lowest point so far that is low enough, for when the evaluations run out.
    let mut low: Option<Point> = None;
    for _ in 0..TRIES.min(*left) {
        *left -= 1;
        let mut at = here.at.clone();
        add(&mut at, length, direction);
        let point = evaluate(at);
        // Written so that a value that is not a number is not low enough.
        if point.value <= here.value + DECREASE * length * slope {
            let eased = dot(&point.gradient, direction) >= SLOPE * slope;
            low = Some(point);
            if eased {
                break;
            }
            short = length;
        } else {
            long = length;
        }
        length = if long.is_finite() { f64::midpoint(short, long) } else { 2.0 * short };
    }
    let low = low?;
    let difference = |to: &[f64], from: &[f64]| to.iter().zip(from).map(|(to, from)| to - from).collect();
    let moved: Vec<f64> = difference(&low.at, &here.at);
    let turned: Vec<f64> = difference(&low.gradient, &here.gradient);
    let inverse = 1.0 / dot(&moved, &turned);
    Some((low, Step { moved, turned, inverse }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { evaluations: 200, tolerance: 1e-9, history: 10 };

    #[test]
    fn valley_of_rosenbrock_is_followed_to_its_end() {
        let found = minimise(vec![-1.2, 1.0], &LIMITS, |at, gradient| {
            let (across, along) = (at[1] - at[0] * at[0], 1.0 - at[0]);
            gradient[0] = -400.0 * at[0] * across - 2.0 * along;
            gradient[1] = 200.0 * across;
            100.0 * across * across + along * along
        });
        assert!(found.iter().all(|part| (part - 1.0).abs() < 1e-8), "{found:?}");
    }

    #[test]
    fn evaluations_are_bounded() {
        let mut evaluations = 0;
        // No minimum: it falls for ever.
        minimise(vec![0.0], &LIMITS, |at, gradient| {
            evaluations += 1;
            gradient[0] = -1.0;
            -at[0]
        });
        assert!(evaluations <= LIMITS.evaluations + 1, "{evaluations}");
    }

    #[test]
    fn function_that_is_not_a_number_ends_the_search() {
        let found = minimise(vec![3.0], &LIMITS, |_, gradient| {
            gradient[0] = f64::NAN;
            f64::NAN
        });
        assert_eq!(found, [3.0]);
    }
}
