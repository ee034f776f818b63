//! Which of the measured numbers an outcome tells: it has 1,024 bytes, and the metrics of both sets of rows need more.

use std::collections::BTreeMap;

use modelwright_api::training::Gate;
use modelwright_trainer::evaluate::{Metric, MetricName, Named, Set};
use modelwright_trainer::pipeline::metrics::{BaselineMetrics, MetricsDocument};

/// The most numbers of the model.
const OF_MODEL: usize = 8;
/// The most numbers of the simple model.
const OF_BASELINE: usize = 4;

/// Names by importance: what models of the task are compared by, what the gate requires, and the rest.
fn names(measured: &MetricsDocument, gate: &Gate) -> Vec<String> {
    let name = |set, metric| MetricName { set, named: Named::Metric(metric) }.to_string();
    let sets = [Set::Validation, Set::Test];
    let primary = sets.map(|set| name(set, measured.primary));
    let required = gate.require.iter().map(|requirement| requirement.metric.clone());
    let others = sets
        .into_iter()
        .flat_map(|set| Metric::of(measured.task).iter().map(move |metric| name(set, *metric)));
    primary.into_iter().chain(required).chain(others).collect()
}

fn first(metrics: &BTreeMap<String, f64>, names: &[String], most: usize) -> BTreeMap<String, f64> {
    let mut told = BTreeMap::new();
    for name in names {
        if told.len() == most {
            break;
        }
        if let Some(value) = metrics.get(name) {
            told.insert(name.clone(), *value);
        }
    }
    told
}

/// Of the model.
pub(super) fn of_model(measured: &MetricsDocument, gate: &Gate) -> BTreeMap<String, f64> {
    first(&measured.metrics, &names(measured, gate), OF_MODEL)
}

/// Of the better one of the simple models.
pub(super) fn of_baseline(measured: &MetricsDocument, gate: &Gate) -> BTreeMap<String, f64> {
    let primary = measured.primary_name();
    let mut best: Option<&BaselineMetrics> = None;
    for baseline in &measured.baselines {
        let value = |of: &BaselineMetrics| of.metrics.get(&primary).copied();
        let better = match (best.and_then(value), value(baseline)) {
            (Some(former), Some(value)) => measured.primary.direction().better(value, former),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if better {
            best = Some(baseline);
        }
    }
    best.map(|baseline| first(&baseline.metrics, &names(measured, gate), OF_BASELINE)).unwrap_or_default()
}
