use rstest::rstest;

use super::*;
use crate::evaluate::Metric;
use crate::pipeline::metrics::{BaselineMetrics, Rows};

fn measured(metrics: &[(&str, f64)]) -> MetricsDocument {
    let map =
        |pairs: &[(&str, f64)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    MetricsDocument {
        version: MetricsDocument::version(),
        task: Task::Binary,
        primary: Metric::primary(Task::Binary),
        metrics: map(metrics),
        baselines: vec![
            BaselineMetrics { name: "majority class".to_owned(), metrics: map(&[("valAccuracy", 0.6)]) },
            BaselineMetrics {
                name: "logistic regression".to_owned(),
                metrics: map(&[("valAccuracy", 0.95)]),
            },
        ],
        rows: Rows { training: 80, validation: 20, test: None },
        epoch: 1,
        history: vec![],
        confusion_matrix: None,
        importance: vec![],
    }
}

fn require(metric: &str, min: Option<f64>, max: Option<f64>) -> Gate {
    Gate { require: vec![Requirement { metric: metric.to_owned(), min, max }], ..Gate::default() }
}

fn messages(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Refused(refusals) => refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    }
}

#[rstest]
#[case(Some(0.9), None, "Passed")]
#[case(Some(0.92), None, "Passed")]
#[case(Some(0.93), None, "valAccuracy is 0.9200, and the gate requires at least 0.93")]
#[case(None, Some(0.91), "valAccuracy is 0.9200, and the gate requires at most 0.91")]
#[case(Some(0.9), Some(0.95), "Passed")]
fn bounds_include_their_value(#[case] min: Option<f64>, #[case] max: Option<f64>, #[case] expected: &str) {
    let verdict =
        judge(&require("valAccuracy", min, max), &measured(&[("valAccuracy", 0.92)]), &Active::None);
    assert_eq!(messages(&verdict), expected);
}

#[rstest]
#[case("testAccuracy", "there are no test rows")]
#[case("valRocAuc", "not defined")]
fn missing_metric_refuses(#[case] metric: &str, #[case] why: &str) {
    let verdict = judge(&require(metric, Some(0.1), None), &measured(&[("valAccuracy", 1.0)]), &Active::None);
    assert!(messages(&verdict).contains(metric) && messages(&verdict).contains(why), "{verdict:?}");
}

#[test]
fn value_that_is_no_number_refuses() {
    let verdict = judge(
        &require("valAccuracy", Some(0.0), None),
        &measured(&[("valAccuracy", f64::NAN)]),
        &Active::None,
    );
    assert!(matches!(verdict, Verdict::Refused(_)));
}

#[rstest]
#[case(0.94, "logistic regression reaches 0.9500")]
#[case(0.95, "Passed")]
#[case(0.97, "Passed")]
fn baseline_that_is_better_refuses(#[case] value: f64, #[case] expected: &str) {
    let gate = Gate { beat: Some(Beat::Baseline), ..Gate::default() };
    let verdict = judge(&gate, &measured(&[("valAccuracy", value)]), &Active::None);
    assert!(messages(&verdict).contains(expected), "{verdict:?}");
}

#[rstest]
#[case(Active::None, "Passed")]
#[case(Active::Same, "Passed")]
#[case(Active::Measured { id: "a".into(), value: 0.92 }, "Passed")]
#[case(Active::Measured { id: "a".into(), value: 0.93 }, "the active revision a reaches 0.9300")]
#[case(Active::NotComparable { id: "a".into(), why: "it predicts a number".into() }, "cannot be compared: it predicts a number")]
fn active_revision_that_is_better_or_not_comparable_refuses(#[case] active: Active, #[case] expected: &str) {
    let gate = Gate { beat: Some(Beat::Active), ..Gate::default() };
    let verdict = judge(&gate, &measured(&[("valAccuracy", 0.92)]), &active);
    assert!(messages(&verdict).contains(expected), "{verdict:?}");
}

#[test]
fn manual_approval_waits_only_for_what_passed() {
    let mut gate = require("valAccuracy", Some(0.9), None);
    gate.approval = Some(Approval::Manual);
    assert_eq!(judge(&gate, &measured(&[("valAccuracy", 0.92)]), &Active::None), Verdict::NeedsApproval);
    assert!(matches!(judge(&gate, &measured(&[("valAccuracy", 0.8)]), &Active::None), Verdict::Refused(_)));
}

#[test]
fn unknown_metric_is_found_before_anything_is_read() {
    let error = check(&require("valAcuracy", Some(0.9), None), None).unwrap_err().to_string();
    assert!(error.contains("valAccuracy"), "{error}");
    assert!(check(&require("valRmse", None, Some(1.0)), Some(Task::Binary)).is_err());
    check(&require("valRmse", None, Some(1.0)), None).unwrap();
}
