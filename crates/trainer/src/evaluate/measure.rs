//! What the metrics of a task are for some predictions.

use std::collections::BTreeMap;

use modelwright_api::training::Task;

use super::classification::Classified;
use super::metric::Metric;
use super::regression::Estimated;
use crate::matrix::{Predictions, Targets};

/// Every metric of the task, for predictions of the rows of `targets`.
///
/// A metric that is undefined or not finite for them is absent. So all are absent where there are no rows, and where the
/// predictions are not of these rows or not of this task.
pub fn measure(task: Task, predictions: &Predictions, targets: &Targets) -> BTreeMap<Metric, f64> {
    let value = |&metric: &Metric| Some((metric, single(metric, task, predictions, targets)?));
    Metric::of(task).iter().filter_map(value).collect()
}

/// One metric, for predictions of the rows of `targets`; `None` where [`measure`] has none. Time grows with the rows and
/// classes, for [`Metric::RocAuc`] also with the logarithm of the rows.
pub fn single(metric: Metric, task: Task, predictions: &Predictions, targets: &Targets) -> Option<f64> {
    let value =
        if metric.tasks().contains(&task) { value(metric, predictions, targets)? } else { return None };
    value.is_finite().then_some(value)
}

fn value(metric: Metric, predictions: &Predictions, targets: &Targets) -> Option<f64> {
    let classified = || Classified::new(predictions, targets);
    let estimated = || Estimated::new(predictions, targets);
    match metric {
        Metric::Accuracy => Some(classified()?.tally().accuracy()),
        Metric::Precision => Some(classified()?.tally().precision()),
        Metric::Recall => Some(classified()?.tally().recall()),
        Metric::F1 => Some(classified()?.tally().f1()),
        Metric::RocAuc => classified()?.roc_auc(),
        Metric::LogLoss => Some(classified()?.log_loss()),
        Metric::Mse => Some(estimated()?.mse()),
        Metric::Rmse => Some(estimated()?.mse().sqrt()),
        Metric::Mae => Some(estimated()?.mae()),
        Metric::R2 => estimated()?.r2(),
    }
}
