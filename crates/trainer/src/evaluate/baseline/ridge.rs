//! Ridge regression: ‖y - b - X w‖² + ‖w‖² is minimised, as by scikit-learn's `Ridge` with alpha = 1.
//!
//! Inputs and targets are centred, so the intercept needs no equation and has no penalty. The normal equations
//! `(XᵀX + I) w = Xᵀy` are solved exactly by Cholesky's decomposition where `XᵀX` is not too large, else approximately by
//! conjugate gradients, which need only products with X.

use super::vectors::{add, dot, narrow, widen};
use super::{WORK, passes};
use crate::matrix::Matrix;

/// The most columns whose products are held all at once: 32 MiB.
const EXACT_COLUMNS: usize = 2_000;

/// A fitted model.
#[derive(Clone, Debug)]
pub(super) struct Ridge {
    /// The mean of each column.
    centers: Vec<f64>,
    /// The mean of the target.
    mean: f64,
    weights: Vec<f64>,
}

impl Ridge {
    pub(super) fn fit(inputs: &Matrix, numbers: &[f32]) -> Self {
        let columns = inputs.columns();
        let products = inputs.values().len().saturating_mul(columns);
        let exact = columns <= EXACT_COLUMNS && products <= WORK;
        Self::solve(inputs, numbers, if exact { by_cholesky } else { by_conjugate_gradients })
    }

    fn solve(inputs: &Matrix, numbers: &[f32], solver: impl Fn(&Centred<'_>, Vec<f64>) -> Vec<f64>) -> Self {
        let rows = numbers.len().max(1) as f64;
        let mean = numbers.iter().copied().map(f64::from).sum::<f64>() / rows;
        let mut centers = vec![0.0; inputs.columns()];
        let mut row = centers.clone();
        for index in 0..inputs.rows() {
            widen(inputs.row(index), &mut row);
            add(&mut centers, 1.0, &row);
        }
        // Divided, not multiplied by 1 / rows, which would not be exact for a column that is the same everywhere.
        for center in &mut centers {
            *center /= rows;
        }
        let centred = Centred { inputs, centers: &centers };
        let mut right = vec![0.0; inputs.columns()];
        centred.each(|index, row| add(&mut right, f64::from(numbers[index]) - mean, row));
        let mut weights = solver(&centred, right);
        // Inputs beyond what f64 can square: the mean is the best that is left.
        if weights.iter().any(|weight| !weight.is_finite()) {
            weights.fill(0.0);
        }
        Self { centers, mean, weights }
    }

    /// The mean of the target.
    pub(super) const fn mean(&self) -> f64 {
        self.mean
    }

    /// One number for each row.
    pub(super) fn predict(&self, inputs: &Matrix) -> Vec<f32> {
        let mut predicted = Vec::with_capacity(inputs.rows());
        let centred = Centred { inputs, centers: &self.centers };
        centred.each(|_, row| predicted.push(narrow(self.mean + dot(row, &self.weights))));
        predicted
    }
}

/// Rows minus the mean of each column.
struct Centred<'a> {
    inputs: &'a Matrix,
    centers: &'a [f64],
}

impl Centred<'_> {
    fn each(&self, mut visit: impl FnMut(usize, &[f64])) {
        let mut row = vec![0.0; self.centers.len()];
        for index in 0..self.inputs.rows() {
            widen(self.inputs.row(index), &mut row);
            add(&mut row, -1.0, self.centers);
            visit(index, &row);
        }
    }
}

/// Solves `(XᵀX + I) w = right`.
fn by_cholesky(centred: &Centred<'_>, right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    // Of the symmetric matrix only what is on and left of the diagonal.
    let mut products = vec![0.0; size * size];
    centred.each(|_, row| {
        for (index, &value) in row.iter().enumerate() {
            add(&mut products[index * size..=index * size + index], value, row);
        }
    });
    (0..size).for_each(|index| products[index * size + index] += 1.0);
    for index in 0..size {
        let (above, here) = products.split_at_mut(index * size);
        for column in 0..index {
            let other = &above[column * size..=column * size + column];
            here[column] = (here[column] - dot(&here[..column], &other[..column])) / other[column];
        }
        here[index] = (here[index] - dot(&here[..index], &here[..index])).sqrt();
    }
    let mut solution = right;
    for index in 0..size {
        let row = &products[index * size..=index * size + index];
        solution[index] = (solution[index] - dot(&row[..index], &solution[..index])) / row[index];
    }
    for index in (0..size).rev() {
        let row = &products[index * size..=index * size + index];
        solution[index] /= row[index];
        let known = -solution[index];
        add(&mut solution[..index], known, &row[..index]);
    }
    solution
}

/// Solves `(XᵀX + I) w = right` to a relative residual of 1e-7, or as far as the passes go. Stopping early is a stronger
/// penalty, not a wrong direction.
fn by_conjugate_gradients(centred: &Centred<'_>, right: Vec<f64>) -> Vec<f64> {
    let mut solution = vec![0.0; right.len()];
    let mut residual = right;
    let mut direction = residual.clone();
    let mut square = dot(&residual, &residual);
    let enough = square * 1e-14;
    for _ in 0..passes(centred.inputs, 1) {
        if square <= enough {
            break;
        }
        let mut product = direction.clone();
        centred.each(|_, row| add(&mut product, dot(row, &direction), row));
        let length = square / dot(&direction, &product);
        add(&mut solution, length, &direction);
        add(&mut residual, -length, &product);
        let next = dot(&residual, &residual);
        direction.iter_mut().zip(&residual).for_each(|(part, rest)| *part = rest + next / square * *part);
        square = next;
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn both_solvers_find_the_same_weights() {
        let mut stream = Stream::new(3, Purpose::Samples, 0);
        let mut number = || narrow(stream.unit() * 4.0 - 1.0);
        let inputs = Matrix::new(60, 20, (0..1_200).map(|_| number()).collect()).unwrap();
        let numbers: Vec<f32> = (0..60).map(|_| number()).collect();
        let exact = Ridge::solve(&inputs, &numbers, by_cholesky);
        let iterated = Ridge::solve(&inputs, &numbers, by_conjugate_gradients);
        for (exact, iterated) in exact.weights.iter().zip(&iterated.weights) {
            assert!((exact - iterated).abs() < 1e-6, "{exact} {iterated}");
        }
    }

    #[test]
    fn wide_data_with_equal_columns_is_solved() {
        // Without the penalty there would be no single solution.
        let inputs = Matrix::new(3, 6, (0..18_u8).map(|value| f32::from(value / 6)).collect()).unwrap();
        let ridge = Ridge::fit(&inputs, &[1.0, 2.0, 3.0]);
        for weight in &ridge.weights {
            assert!((weight - ridge.weights[0]).abs() < 1e-12, "{ridge:?}");
        }
        // Six equal weights w: (2·6 + 1) w = 2.
        assert!((ridge.weights[0] - 2.0 / 13.0).abs() < 1e-12, "{ridge:?}");
    }
}
