use std::num::NonZeroUsize;

use futures::FutureExt;
use rstest::rstest;

use super::*;
use crate::fixtures::IntegratedGradients;

fn settings(steps: u64, batch: usize) -> IntegratedGradientsSettings {
    let batch = Batch(NonZeroUsize::new(batch).unwrap());
    IntegratedGradientsSettings { steps: NonZeroU64::new(steps).unwrap(), batch }
}

/// Explains a class of a row, feature by feature or as `players` puts them together.
fn explain(
    fixture: &IntegratedGradients,
    row: usize,
    class: usize,
    players: &[Range<usize>],
    settings: &IntegratedGradientsSettings,
) -> Explanation {
    let (row_values, baseline) = (&fixture.rows[row], &fixture.baseline);
    let difference: Vec<f64> = row_values.iter().zip(baseline).map(|(row, base)| row - base).collect();
    let gradient = |points: Vec<f64>| {
        let mut mean = vec![0.0; difference.len()];
        for point in &points {
            let at = baseline.iter().zip(&difference).map(|(base, difference)| base + point * difference);
            let gradient = fixture.gradient(class, &at.collect::<Vec<_>>());
            mean.iter_mut().zip(&gradient).for_each(|(mean, slope)| *mean += slope / points.len() as f64);
        }
        let found = MeanGradient { difference: difference.clone(), gradient: mean };
        async move { Ok::<_, ()>(found) }
    };
    let ends = (fixture.base[class], fixture.predictions[row][class]);
    integrated_gradients(ends, players, settings, gradient).now_or_never().unwrap().unwrap()
}

fn one_by_one(features: usize) -> Vec<Range<usize>> {
    (0..features).map(|feature| feature..feature + 1).collect()
}

#[rstest]
#[case::at_once(64)]
#[case::in_uneven_batches(7)]
fn attributions_are_those_of_captum(#[case] batch: usize) {
    let fixture = IntegratedGradients::read();
    for (class, rows) in fixture.attributions.iter().enumerate() {
        for (row, expected) in rows.iter().enumerate() {
            let found = explain(&fixture, row, class, &one_by_one(6), &settings(fixture.steps, batch));
            for (found, expected) in found.attributions.iter().zip(expected) {
                assert!((found.value - expected).abs() < 1e-9, "{} where captum has {expected}", found.value);
            }
        }
    }
}

#[test]
fn more_steps_close_the_gap() {
    let fixture = IntegratedGradients::read();
    let gap = |steps| explain(&fixture, 0, 1, &one_by_one(6), &settings(steps, 256)).additivity_gap().abs();
    assert!(gap(1024) < 1e-3 && gap(1024) < gap(4), "{} and {}", gap(1024), gap(4));
}

#[test]
fn features_of_one_column_are_added() {
    let fixture = IntegratedGradients::read();
    let apart = explain(&fixture, 0, 0, &one_by_one(6), &settings(64, 64));
    let together = explain(&fixture, 0, 0, &[0..1, 1..4, 4..4, 4..6], &settings(64, 64));
    let value = |explanation: &Explanation, player: usize| explanation.attributions[player].value;
    assert!((value(&together, 1) - (1..4).map(|feature| value(&apart, feature)).sum::<f64>()).abs() < 1e-12);
    assert_eq!(value(&together, 2).to_bits(), 0.0_f64.to_bits());
    assert!((together.additivity_gap() - apart.additivity_gap()).abs() < 1e-12);
}

#[test]
fn midpoints_lie_in_the_middle_of_equal_parts() {
    let steps = NonZeroU64::new(4).unwrap();
    assert_eq!(midpoints(steps, 0..4), [0.125, 0.375, 0.625, 0.875]);
    assert_eq!(midpoints(steps, 3..4), [0.875]);
}

#[test]
fn gradients_of_other_features_are_refused() {
    let gradient =
        |_| async { Ok::<_, ()>(MeanGradient { difference: vec![1.0; 2], gradient: vec![1.0; 3] }) };
    let found = integrated_gradients((0.0, 1.0), &one_by_one(2), &settings(1, 1), gradient).now_or_never();
    assert_eq!(found.unwrap().unwrap_err(), Error::WrongCount { wanted: 2, got: 3 });
}
