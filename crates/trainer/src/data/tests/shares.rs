//! Training and validation rows.

use modelwright_api::contract::ExitCode;
use proptest::prelude::*;

use super::super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

fn of_class(part: &[usize], classes: &[u32], class: u32) -> usize {
    part.iter().filter(|row| classes[**row] == class).count()
}

#[test]
fn split_is_the_same_for_a_seed_and_another_for_another() {
    let of = |seed| split(None, 100, 0.2, seed).unwrap();
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
    // The rows of a seed are a promise: a resumed training must find them again.
    assert_eq!(split(None, 20, 0.2, 0).unwrap().validation, [12, 14, 17, 19]);
}

#[test]
fn classes_keep_their_shares() {
    let classes: Vec<u32> =
        (0..100).map(|row| u32::from(row % 10 == 0) + 2 * u32::from(row % 25 == 1)).collect();
    let names = names(4);
    let parts = split(Some(Strata { indices: &classes, names: &names }), 100, 0.25, 1).unwrap();
    assert_eq!(parts.validation.len(), 25);
    // 86, 10 and 4 rows: 21.5, 2.5 and 1; the first of the equal remainders is rounded up.
    let counts = [0, 1, 2].map(|class| of_class(&parts.validation, &classes, class));
    assert_eq!(counts, [22, 2, 1]);
}

#[test]
fn every_class_is_on_both_sides_even_if_that_takes_more_rows() {
    let classes: Vec<u32> = (0..20).map(|row| row / 2).collect();
    let names = names(10);
    let parts = split(Some(Strata { indices: &classes, names: &names }), 20, 0.1, 1).unwrap();
    assert_eq!((parts.training.len(), parts.validation.len()), (10, 10));
}

#[test]
fn class_of_one_row_is_named() {
    let names = names(3);
    let strata = Strata { indices: &[0, 0, 2, 0], names: &names };
    let error = split(Some(strata), 4, 0.5, 1).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("TooFewRows", ExitCode::BadData));
    assert!(error.to_string().starts_with("the class \"class 2\" has one row (row 3)"), "{error}");
}

#[test]
fn empty_parts_are_refused() {
    for (rows, fraction) in [(0, 0.5), (1, 0.5), (2, 0.1), (3, 0.9)] {
        let error = split(None, rows, fraction, 1).unwrap_err();
        assert_eq!(error.reason(), "TooFewRows", "{rows} {fraction}");
        assert!(error.to_string().starts_with(&format!("{rows} rows are too few")), "{error}");
    }
    assert_eq!(
        split(Some(Strata { indices: &[], names: &[] }), 0, 0.5, 1).unwrap_err().reason(),
        "TooFewRows"
    );
    assert_eq!(split(None, 2, 0.5, 1).unwrap().training.len(), 1);
}

proptest! {
    #[test]
    fn parts_are_ascending_disjoint_and_whole(rows in 2_usize..300, fraction in 0.01..0.9_f64, seed: u64) {
        let Ok(parts) = split(None, rows, fraction, seed) else { return Ok(()) };
        prop_assert!(parts.training.is_sorted() && parts.validation.is_sorted());
        let mut all = [parts.training, parts.validation.clone()].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..rows).collect::<Vec<_>>());
        prop_assert!((parts.validation.len() as f64 - rows as f64 * fraction).abs() <= 0.5);
    }

    #[test]
    fn stratified_shares_are_right_within_a_row(
        counts in prop::collection::vec(2_usize..60, 1..12),
        fraction in 0.01..0.9_f64,
        seed: u64,
    ) {
        let mut classes: Vec<u32> = counts.iter().zip(0..).flat_map(|(count, class)| vec![class; *count]).collect();
        crate::random::Stream::new(seed, crate::random::Purpose::Samples, 0).shuffle(&mut classes);
        let names = names(counts.len());
        let rows = classes.len();
        let parts = split(Some(Strata { indices: &classes, names: &names }), rows, fraction, seed).unwrap();
        let mut forced = false;
        for (count, class) in counts.iter().zip(0..) {
            let set_aside = of_class(&parts.validation, &classes, class);
            prop_assert!((1..*count).contains(&set_aside));
            let share = *count as f64 * fraction;
            forced |= share < 1.0 || share > (*count - 1) as f64;
        }
        if !forced {
            prop_assert!((parts.validation.len() as f64 - rows as f64 * fraction).abs() <= 0.5);
            for (count, class) in counts.iter().zip(0..) {
                let share = *count as f64 * fraction;
                let set_aside = of_class(&parts.validation, &classes, class) as f64;
                prop_assert!((set_aside - share).abs() < 1.0, "{} of {}", set_aside, share);
            }
        }
    }
}
