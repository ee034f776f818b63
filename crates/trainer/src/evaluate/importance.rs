//! Which columns a model relies on: how much worse it gets when a column's values are exchanged between rows (permutation
//! importance; Breiman 2001, Fisher et al. 2019).
//!
//! It says what this model uses, not what causes the target: of two columns that say the same, each may look unimportant.

use std::ops::Range;

use modelwright_api::training::Task;
use serde::Serialize;

use super::measure::single;
use super::metric::{Direction, Metric};
use crate::matrix::{Matrix, Predictions, Targets};
use crate::random::{Purpose, Stream};

/// How often the values of each column are exchanged.
pub const REPEATS: usize = 5;
/// The most rows that are predicted.
const MOST_ROWS: usize = 2_000;
/// Fewer rows say nothing.
const LEAST_ROWS: usize = 200;
/// Encoded values that may be predicted from, all exchanges together.
const MOST_VALUES: usize = 2_000_000_000;
/// The position of the stream that chooses rows, beyond those of the columns.
const ROWS: u64 = u64::MAX;

/// How much a model relies on a column.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Importance {
    /// The position of the column in the data, before encoding.
    pub column: usize,
    /// By how much the task's [primary metric](Metric::primary) gets worse, on average; negative where it gets better.
    pub mean: f64,
    /// The standard deviation of that over the exchanges.
    pub deviation: f64,
}

/// The importance of each column, in their order. `spans` are the encoded columns of each, which are exchanged together.
///
/// The cost is bounded: at most 2,000 rows are used, chosen by the seed. Where that times the columns is too much, each
/// column is exchanged less often, at least twice, then fewer rows are used, at least 200. Nothing is given for data that is
/// wider still (more than 2,236 columns of numbers), and where the metric is undefined.
pub fn importance(
    inputs: &Matrix,
    spans: &[Range<usize>],
    targets: &Targets,
    task: Task,
    predict: &mut dyn FnMut(&Matrix) -> Predictions,
    seed: u64,
    repeats: usize,
) -> Vec<Importance> {
    let Some(cost) = Cost::bounded(inputs, spans.len(), repeats) else { return Vec::new() };
    let rows = chosen(inputs.rows(), cost.rows, seed);
    let (mut inputs, targets) = (inputs.select(&rows), targets.select(&rows));
    let metric = Metric::primary(task);
    let mut value = |inputs: &Matrix| single(metric, task, &predict(inputs), &targets);
    let Some(before) = value(&inputs) else { return Vec::new() };
    let original = inputs.clone();
    let mut all = Vec::with_capacity(spans.len());
    for (column, span) in spans.iter().enumerate() {
        let mut losses = Vec::with_capacity(cost.repeats);
        for repeat in 0..cost.repeats {
            // As many positions for each column whatever the cost, so that bounding it changes no other exchange.
            let position = (column * repeats + repeat) as u64;
            let mut order: Vec<usize> = (0..original.rows()).collect();
            Stream::new(seed, Purpose::Importance, position).shuffle(&mut order);
            replace(&mut inputs, &original, span, order.iter().copied());
            losses.extend(value(&inputs).map(|after| match metric.direction() {
                Direction::Higher => before - after,
                Direction::Lower => after - before,
            }));
        }
        replace(&mut inputs, &original, span, 0..original.rows());
        all.extend(summary(column, &losses));
    }
    all
}

/// Gives each row the values of another one in some columns.
fn replace(inputs: &mut Matrix, original: &Matrix, span: &Range<usize>, order: impl Iterator<Item = usize>) {
    for (row, other) in order.enumerate() {
        inputs.row_mut(row)[span.clone()].copy_from_slice(&original.row(other)[span.clone()]);
    }
}

fn summary(column: usize, losses: &[f64]) -> Option<Importance> {
    let count = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / count;
    // Losses that cancel out leave a rest of rounding, which means nothing.
    let mean = if mean.abs() < 1e-12 { 0.0 } else { mean };
    let variance = losses.iter().map(|loss| (loss - mean) * (loss - mean)).sum::<f64>() / count;
    (!losses.is_empty()).then(|| Importance { column, mean, deviation: variance.sqrt() })
}

/// How many rows are predicted, and how often for each column.
#[derive(Debug, PartialEq)]
struct Cost {
    rows: usize,
    repeats: usize,
}

impl Cost {
    fn bounded(inputs: &Matrix, columns: usize, repeats: usize) -> Option<Self> {
        let of_row = inputs.columns().saturating_mul(columns).max(1);
        let rows = inputs.rows().min(MOST_ROWS);
        let affordable = MOST_VALUES / of_row;
        let repeats = (affordable / rows.max(1)).clamp(repeats.min(2), repeats);
        let rows = rows.min(affordable / repeats.max(1));
        (rows >= LEAST_ROWS.min(inputs.rows())).then_some(Self { rows, repeats })
    }
}

/// So many of the rows, in ascending order.
fn chosen(rows: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..rows).collect();
    if count < rows {
        Stream::new(seed, Purpose::Importance, ROWS).shuffle(&mut all);
        all.truncate(count);
        all.sort_unstable();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(rows: usize, columns: usize) -> Matrix {
        let mut stream = Stream::new(1, Purpose::Samples, 0);
        #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
        let values = (0..rows * columns).map(|_| stream.unit() as f32).collect();
        Matrix::new(rows, columns, values).unwrap()
    }

    /// Twice the first column plus the third.
    fn predict(inputs: &Matrix) -> Predictions {
        let of_row = |row| 2.0 * inputs.row(row)[0] + inputs.row(row)[2];
        Predictions::Numbers((0..inputs.rows()).map(of_row).collect())
    }

    fn targets(inputs: &Matrix) -> Targets {
        match predict(inputs) {
            Predictions::Numbers(numbers) => Targets::Numbers(numbers),
            Predictions::Probabilities(_) => panic!("probabilities"),
        }
    }

    fn measured(inputs: &Matrix, spans: &[Range<usize>], seed: u64) -> Vec<Importance> {
        importance(inputs, spans, &targets(inputs), Task::Regression, &mut predict, seed, REPEATS)
    }

    #[test]
    fn columns_matter_as_much_as_the_model_uses_them() {
        let inputs = data(300, 4);
        let found = measured(&inputs, &[0..1, 1..2, 2..3, 3..4], 7);
        assert_eq!(found.iter().map(|one| one.column).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(found[0].mean > 2.0 * found[2].mean && found[2].mean > 0.1, "{found:?}");
        for unused in [1, 3] {
            assert_eq!((found[unused].mean, found[unused].deviation), (0.0, 0.0));
        }
    }

    #[test]
    fn encoded_columns_are_exchanged_together() {
        let inputs = data(300, 4);
        let [both, rest] = measured(&inputs, &[0..3, 3..4], 7).try_into().unwrap();
        assert!(both.mean > 1.5, "{both:?}");
        assert_eq!((rest.column, rest.mean), (1, 0.0));
    }

    #[test]
    fn seed_decides_everything() {
        let inputs = data(5_000, 3);
        let spans = [0..1, 1..2, 2..3];
        assert_eq!(measured(&inputs, &spans, 7), measured(&inputs, &spans, 7));
        assert_ne!(measured(&inputs, &spans, 7), measured(&inputs, &spans, 8));
    }

    #[test]
    fn rows_are_bounded() {
        let (inputs, mut most) = (data(5_000, 3), 0);
        let mut counting = |inputs: &Matrix| {
            most = most.max(inputs.rows());
            predict(inputs)
        };
        let spans = [0..1, 1..2, 2..3];
        importance(&inputs, &spans, &targets(&inputs), Task::Regression, &mut counting, 7, REPEATS);
        assert_eq!(most, MOST_ROWS);
    }

    #[test]
    fn wide_data_costs_repeats_then_rows_then_the_answer() {
        let cost = |columns| Cost::bounded(&Matrix::zeros(2_500, columns), columns, REPEATS);
        assert_eq!(cost(400), Some(Cost { rows: 2_000, repeats: 5 }));
        assert_eq!(cost(600), Some(Cost { rows: 2_000, repeats: 2 }));
        assert_eq!(cost(1_000), Some(Cost { rows: 1_000, repeats: 2 }));
        assert_eq!(cost(2_500), None);
    }

    #[test]
    fn nothing_is_said_of_no_rows_and_of_an_undefined_metric() {
        assert_eq!(measured(&Matrix::zeros(0, 3), &[0..1, 1..2], 7), []);
        assert_eq!(measured(&Matrix::zeros(10, 3), &[0..1, 1..2], 7), []);
    }
}
