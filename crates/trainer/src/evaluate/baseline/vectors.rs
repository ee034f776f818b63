//! Sums over f64 vectors in an order that does not depend on the machine.

/// Σ aᵢ bᵢ, in eight sums side by side, so that the processor can add more than one number at a time.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// y += factor · x.
pub(super) fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

/// y *= factor.
pub(super) fn scale(y: &mut [f64], factor: f64) {
    for y in y.iter_mut() {
        *y *= factor;
    }
}

/// Writes `row` into `wide`.
pub(super) fn widen(row: &[f32], wide: &mut [f64]) {
    wide.iter_mut().zip(row).for_each(|(wide, value)| *wide = f64::from(*value));
}

/// The nearest f32, infinite where there is none.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
pub(super) const fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_counts_every_element_once() {
        for length in 0..40_u32 {
            let ones = vec![1.0; length as usize];
            let numbers: Vec<f64> = (0..length).map(f64::from).collect();
            let wanted = f64::from(length * length.saturating_sub(1) / 2);
            assert!((dot(&ones, &numbers) - wanted).abs() < 1e-9, "{length}");
        }
    }
}
