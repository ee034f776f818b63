//! Whether a revision may be served. Pure: measured values in, a verdict with its reasons out.
//!
//! A gate fails closed: a metric that is not there, and a comparison that cannot be made, refuse the revision.

use std::collections::BTreeMap;

use modelwright_api::training::{Approval, Beat, Gate, Requirement, Task};

use crate::evaluate::{EvaluateError, parse_name};
use crate::pipeline::metrics::MetricsDocument;

/// What is known of the revision that is served now.
#[derive(Clone, Debug, PartialEq)]
pub enum Active {
    /// There is none: there is nothing to beat.
    None,
    /// It is the candidate itself: it need not beat itself.
    Same,
    /// The primary metric of the active revision on the candidate's validation rows.
    Measured {
        /// The id of the active revision.
        id: String,
        /// Its value.
        value: f64,
    },
    /// It could not be measured on those rows.
    NotComparable {
        /// The id of the active revision.
        id: String,
        /// Why not.
        why: String,
    },
}

/// What a gate says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The revision may be served.
    Passed,
    /// It may be served once a person names it.
    NeedsApproval,
    /// It may not be served.
    Refused(Vec<Refusal>),
}

/// One reason against a revision.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A bound does not hold.
    #[error("{metric} is {value:.4}, and the gate requires {bound}")]
    Bound {
        /// The metric.
        metric: String,
        /// Its value.
        value: f64,
        /// Such as `at least 0.9`.
        bound: String,
    },
    /// A metric was not measured.
    #[error("{metric} was not measured: {why}")]
    NotMeasured {
        /// The metric.
        metric: String,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// A simple model is better.
    #[error("{metric} is {value:.4}, and {name} reaches {baseline:.4}")]
    WorseThanBaseline {
        /// The metric.
        metric: String,
        /// The revision's value.
        value: f64,
        /// The simple model.
        name: String,
        /// Its value.
        baseline: f64,
    },
    /// The active revision is better.
    #[error("{metric} is {value:.4}, and the active revision {id} reaches {active:.4} on the same rows")]
    WorseThanActive {
        /// The metric.
        metric: String,
        /// The revision's value.
        value: f64,
        /// The active revision.
        id: String,
        /// Its value.
        active: f64,
    },
    /// The active revision says nothing about these rows.
    #[error(
        "the active revision {id} cannot be compared: {why}; remove gate.beat, or name this revision in rollout.revision"
    )]
    NotComparable {
        /// The active revision.
        id: String,
        /// Why.
        why: String,
    },
}

impl Refusal {
    /// The reason as one word for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Bound { .. } | Self::NotMeasured { .. } => "RequirementNotMet",
            Self::WorseThanBaseline { .. } => "WorseThanBaseline",
            Self::WorseThanActive { .. } => "WorseThanActive",
            Self::NotComparable { .. } => "NotComparable",
        }
    }
}

/// Checks that a gate's metrics exist, and belong to the task where that is known already; to be asked before any data is
/// read.
pub fn check(gate: &Gate, task: Option<Task>) -> Result<(), EvaluateError> {
    gate.require.iter().try_for_each(|requirement| parse_name(&requirement.metric, task).map(drop))
}

/// Judges a revision by what was measured of it.
pub fn judge(gate: &Gate, measured: &MetricsDocument, active: &Active) -> Verdict {
    let mut refusals = requirements(&gate.require, &measured.metrics, measured.rows.test.is_some());
    match gate.beat {
        Some(Beat::Baseline) => refusals.extend(worse_than_baseline(measured)),
        Some(Beat::Active) => refusals.extend(worse_than_active(measured, active)),
        None => {}
    }
    match (refusals.is_empty(), gate.approval.unwrap_or_default()) {
        (false, _) => Verdict::Refused(refusals),
        (true, Approval::Automatic) => Verdict::Passed,
        (true, Approval::Manual) => Verdict::NeedsApproval,
    }
}

/// The bounds that do not hold. `has_test` says whether there are test rows.
pub fn requirements(
    require: &[Requirement],
    metrics: &BTreeMap<String, f64>,
    has_test: bool,
) -> Vec<Refusal> {
    require.iter().filter_map(|requirement| unmet(requirement, metrics, has_test)).collect()
}

fn unmet(requirement: &Requirement, metrics: &BTreeMap<String, f64>, has_test: bool) -> Option<Refusal> {
    let metric = requirement.metric.clone();
    let Some(&value) = metrics.get(&metric) else {
        let why = if metric.starts_with("test") && !has_test {
            "there are no test rows; write training.data.test"
        } else {
            "it is not defined for these rows or this task, or metrics.json lacks it; require another metric"
        };
        return Some(Refusal::NotMeasured { metric, why });
    };
    // A value that is no number holds no bound.
    let holds = |order: Option<std::cmp::Ordering>, wrong| order.is_some_and(|order| order != wrong);
    let bound = match (requirement.min, requirement.max) {
        (Some(least), _) if !holds(value.partial_cmp(&least), std::cmp::Ordering::Less) => {
            format!("at least {least}")
        }
        (_, Some(most)) if !holds(value.partial_cmp(&most), std::cmp::Ordering::Greater) => {
            format!("at most {most}")
        }
        _ => return None,
    };
    Some(Refusal::Bound { metric, value, bound })
}

fn primary(measured: &MetricsDocument) -> Result<(String, f64), Refusal> {
    let metric = measured.primary_name();
    match measured.primary_value() {
        Some(value) => Ok((metric, value)),
        None => Err(Refusal::NotMeasured {
            metric,
            why: "it is not defined for these validation rows; give more of them",
        }),
    }
}

fn worse_than_baseline(measured: &MetricsDocument) -> Option<Refusal> {
    let (metric, value) = match primary(measured) {
        Ok(found) => found,
        Err(refusal) => return Some(refusal),
    };
    measured
        .baselines
        .iter()
        .filter_map(|baseline| Some((&baseline.name, *baseline.metrics.get(&metric)?)))
        .find(|(_, other)| measured.primary.direction().better(*other, value))
        .map(|(name, baseline)| Refusal::WorseThanBaseline {
            metric: metric.clone(),
            value,
            name: name.clone(),
            baseline,
        })
}

fn worse_than_active(measured: &MetricsDocument, active: &Active) -> Option<Refusal> {
    let (id, active) = match active {
        Active::None | Active::Same => return None,
        Active::NotComparable { id, why } => {
            return Some(Refusal::NotComparable { id: id.clone(), why: why.clone() });
        }
        Active::Measured { id, value } => (id.clone(), *value),
    };
    match primary(measured) {
        Err(refusal) => Some(refusal),
        Ok((metric, value)) => measured
            .primary
            .direction()
            .better(active, value)
            .then_some(Refusal::WorseThanActive { metric, value, id, active }),
    }
}

#[cfg(test)]
mod tests;
