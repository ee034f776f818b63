use std::num::NonZeroUsize;

use futures::FutureExt;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::fixtures::{Shapley, ShapleyCases};

fn settings(max_evaluations: u64, background_rows: u64, seed: u64) -> ShapleySettings {
    ShapleySettings { max_evaluations, background_rows, batch: Batch::default(), seed }
}

/// Explains a function of the coalition.
fn explain(
    players: usize,
    settings: &ShapleySettings,
    value: impl Fn(&Coalition) -> f64,
) -> Result<Explanation, Error<()>> {
    let evaluate = |coalitions: Vec<Coalition>| {
        let values: Vec<f64> = coalitions.iter().map(&value).collect();
        async move { Ok::<_, ()>(values) }
    };
    shapley_values(players, settings, evaluate).now_or_never().unwrap()
}

/// Explains a row of a fixture, whose columns `encode` makes features of.
fn explain_row(
    fixture: &Shapley,
    row: usize,
    max_evaluations: u64,
    seed: u64,
    encode: impl Fn(Vec<f64>) -> Vec<f64>,
) -> Explanation {
    let row = &fixture.rows[row];
    let settings = settings(max_evaluations, fixture.background.len() as u64, seed);
    let value = |coalition: &Coalition| {
        let against = |baseline: &Vec<f64>| fixture.probability(&encode(coalition.mix(row, baseline)));
        fixture.background.iter().map(against).sum::<f64>() / fixture.background.len() as f64
    };
    explain(row.len(), &settings, value).unwrap()
}

/// The six numbers, and the category as three features.
fn one_hot(columns: Vec<f64>) -> Vec<f64> {
    let mut features = columns;
    let code = features.pop().unwrap();
    features.extend([0.0, 1.0, 2.0].map(|category: f64| f64::from(u8::from((category - code).abs() < 0.5))));
    features
}

#[test]
fn all_coalitions_give_what_shap_gives() {
    let fixture = ShapleyCases::read().columns;
    for (row, expected) in fixture.attributions.iter().enumerate() {
        let found = explain_row(&fixture, row, u64::MAX, 0, one_hot);
        assert_eq!(found.evaluations, 4 << 7);
        assert!((found.prediction - fixture.predictions[row]).abs() < 1e-12);
        assert!((found.base_value - fixture.base[row]).abs() < 1e-12);
        for (found, expected) in found.attributions.iter().zip(expected) {
            assert_eq!(found.standard_error, None);
            assert!((found.value - expected).abs() < 1e-9, "{} where shap has {expected}", found.value);
        }
        assert!(found.additivity_gap().abs() < 1e-12, "{}", found.additivity_gap());
    }
}

#[rstest]
fn samples_are_as_near_to_what_shap_gives_as_they_say(
    #[values(0, 1)] row: usize,
    #[values(1, 2, 3)] seed: u64,
) {
    let fixture = ShapleyCases::read().numbers;
    let budget = sampled_evaluations(14, 50);
    let found = explain_row(&fixture, row, budget, seed, |columns| columns);
    assert_eq!(found.evaluations, budget);
    assert!((found.base_value - fixture.base[row]).abs() < 1e-12);
    for (found, expected) in found.attributions.iter().zip(&fixture.attributions[row]) {
        let (apart, error) = ((found.value - expected).abs(), found.standard_error.unwrap());
        // Four of them, of 84 values in all.
        assert!(apart <= 4.0 * error + 1e-12 && error < 0.02, "{apart} where {error} is to be expected");
    }
    assert!(found.additivity_gap().abs() < 1e-12, "{}", found.additivity_gap());
}

#[test]
fn seeds_choose_what_is_sampled() {
    let fixture = ShapleyCases::read().numbers;
    let explain = |seed| explain_row(&fixture, 0, 200, seed, |columns| columns);
    assert_eq!(explain(1), explain(1));
    assert_ne!(explain(1), explain(2));
}

#[test]
fn an_order_and_its_reverse_are_exact_for_effects_of_two() {
    // Of twelve players, each pair of neighbours adds 1: two for each player, but one for the first and last.
    let value = |coalition: &Coalition| {
        (1..12).filter(|&player| coalition.has(player - 1) && coalition.has(player)).count() as f64
    };
    let found = explain(12, &settings(sampled_evaluations(12, 1), 1, 5), value).unwrap();
    for (player, attribution) in found.attributions.iter().enumerate() {
        let expected = if player == 0 || player == 11 { 0.5 } else { 1.0 };
        assert!((attribution.value - expected).abs() < 1e-12, "{player}: {}", attribution.value);
        assert_eq!(attribution.standard_error, None);
    }
}

#[test]
fn less_than_a_pair_of_orders_is_refused_with_what_is_needed() {
    let error = explain(11, &settings(43, 2, 0), |_| 0.0).unwrap_err();
    assert_eq!(error, Error::TooFewEvaluations { method: "shapley", players: 11, needed: 44, allowed: 43 });
    assert_eq!(explain(11, &settings(44, 2, 0), |_| 0.0).unwrap().evaluations, 44);
}

#[rstest]
#[case(0, 1)]
#[case(1, 2)]
#[case(10, 1024)]
#[case(11, 202)]
#[case(1000, 19_982)]
fn what_is_usual_grows_with_the_players(#[case] players: usize, #[case] expected: u64) {
    assert_eq!(usual_evaluations(players), expected);
}

#[test]
fn a_row_without_columns_is_its_own_baseline() {
    let found = explain(0, &settings(1, 1, 0), |_| 0.25).unwrap();
    assert!(found.attributions.is_empty() && found.additivity_gap() == 0.0);
}

#[test]
fn an_order_of_a_wide_input_is_never_held_as_a_whole() {
    // All coalitions of one pair of orders would be two terabytes.
    let players = 1 << 20;
    let batch = Batch(NonZeroUsize::new(4).unwrap());
    let settings = ShapleySettings { batch, ..settings(u64::MAX, 1, 0) };
    let mut sizes = Vec::new();
    let evaluate = |coalitions: Vec<Coalition>| {
        sizes.push(coalitions.len());
        let found = if sizes.len() < 4 { Ok(vec![0.0; coalitions.len()]) } else { Err("enough") };
        async move { found }
    };
    let error = shapley_values(players, &settings, evaluate).now_or_never().unwrap().unwrap_err();
    assert_eq!((error, sizes), (Error::Evaluation("enough"), vec![2, 4, 4, 4]));
}

#[test]
fn a_model_that_fails_is_the_reason() {
    let evaluate = |_: Vec<Coalition>| async { Err::<Vec<f64>, _>("no memory") };
    let error = shapley_values(3, &settings(100, 1, 0), evaluate).now_or_never().unwrap().unwrap_err();
    assert_eq!(error, Error::Evaluation("no memory"));
}

proptest! {
    #[test]
    fn values_add_up_whatever_the_model(
        values in prop::collection::vec(-1e3_f64..1e3, 64), players in 0_usize..24, pairs in 1_u64..4, seed: u64,
    ) {
        let value = |coalition: &Coalition| {
            let bits = coalition.players().fold(17_usize, |bits, present| {
                bits.wrapping_mul(31).wrapping_add(usize::from(present))
            });
            values[bits % 64]
        };
        let budget = if players <= EXACT_PLAYERS { 1024 } else { sampled_evaluations(players, pairs) };
        let found = explain(players, &settings(budget, 1, seed), value).unwrap();
        prop_assert!(found.additivity_gap().abs() < 1e-9);
        prop_assert!(found.evaluations <= budget);
    }
}
