//! What is measured of a trained network.

use std::collections::BTreeMap;

use modelwright_api::training::Task;

use super::Prepared;
use super::metrics::{BaselineMetrics, ColumnImportance, Epoch, MetricsDocument, Rows as RowCounts};
use super::prepared::Rows;
use crate::evaluate::importance::REPEATS;
use crate::evaluate::{self, Baselines, Metric, MetricName, Named, RocCurve, Set};
use crate::matrix::{Predictions, Targets};
use crate::training::Trained;

/// What was measured.
pub(super) struct Measured {
    pub(super) document: MetricsDocument,
    /// The network's own predictions of the validation rows.
    pub(super) validation: Predictions,
    pub(super) pictures: Pictures,
}

/// What only the report shows.
pub(super) struct Pictures {
    pub(super) roc: Vec<RocCurve>,
    pub(super) residuals: Vec<(f32, f32)>,
}

pub(super) fn measure(prepared: &Prepared, trained: &Trained) -> Measured {
    let task = prepared.task();
    let validation = prepared.predict(&trained.network, &prepared.validation);
    let test = prepared.test.as_ref().map(|rows| prepared.predict(&trained.network, rows));
    let mut metrics = all_metrics(prepared, &validation, test.as_ref());
    let history = history(trained);
    // Where the best weights are not restored, those of the last epoch were taken.
    let restored =
        prepared.spec.builtin.early_stopping.as_ref().is_some_and(|stopping| stopping.restore_best);
    let last = history.last().map_or(0, |epoch| epoch.epoch);
    let taken = if restored { trained.best_epoch } else { last };
    if let Some(epoch) = history.iter().find(|epoch| epoch.epoch == taken) {
        metrics.insert("valLoss".to_owned(), epoch.validation_loss);
    }
    let baselines = Baselines::fit(&prepared.training.examples);
    let baselines = [&baselines.constant, &baselines.linear]
        .map(|baseline| {
            let predict = |rows: &Rows| baseline.predict(&rows.examples.inputs);
            let test = prepared.test.as_ref().map(predict);
            BaselineMetrics {
                name: baseline.name().to_owned(),
                metrics: all_metrics(prepared, &predict(&prepared.validation), test.as_ref()),
            }
        })
        .to_vec();
    let targets = &prepared.validation.examples.targets;
    let document = MetricsDocument {
        version: MetricsDocument::version(),
        task,
        primary: Metric::primary(task),
        metrics,
        baselines,
        rows: RowCounts {
            training: prepared.training.table.rows() as u64,
            validation: prepared.validation.table.rows() as u64,
            test: prepared.test.as_ref().map(|rows| rows.table.rows() as u64),
        },
        epoch: taken,
        history,
        confusion_matrix: matches!(targets, Targets::Classes { .. })
            .then(|| evaluate::confusion(&validation, targets)),
        importance: importance(prepared, trained),
    };
    let pictures = match task {
        Task::Regression => Pictures { roc: vec![], residuals: evaluate::residuals(&validation, targets) },
        Task::Binary | Task::Multiclass => {
            Pictures { roc: evaluate::roc(&validation, targets), residuals: vec![] }
        }
    };
    Measured { document, validation, pictures }
}

/// All metrics of predictions of the validation rows, and of the test rows where there are such, by their names.
fn all_metrics(
    prepared: &Prepared,
    validation: &Predictions,
    test: Option<&Predictions>,
) -> BTreeMap<String, f64> {
    let of = |set: Set, rows: &Rows, predictions: &Predictions| {
        let measured = evaluate::measure(prepared.task(), predictions, &rows.examples.targets);
        let named = |(metric, value)| (MetricName { set, named: Named::Metric(metric) }.to_string(), value);
        measured.into_iter().map(named).collect::<Vec<_>>()
    };
    let test = prepared.test.as_ref().zip(test).map(|(rows, predictions)| of(Set::Test, rows, predictions));
    of(Set::Validation, &prepared.validation, validation)
        .into_iter()
        .chain(test.into_iter().flatten())
        .collect()
}

fn history(trained: &Trained) -> Vec<Epoch> {
    let epoch = |record: &crate::training::EpochRecord| Epoch {
        epoch: record.epoch,
        learning_rate: record.learning_rate,
        training_loss: record.training_loss,
        validation_loss: record.validation_loss,
        validation_score: Some(record.validation_score).filter(|score| score.is_finite()),
    };
    trained.history.iter().map(epoch).collect()
}

fn importance(prepared: &Prepared, trained: &Trained) -> Vec<ColumnImportance> {
    let Rows { examples, .. } = &prepared.validation;
    let mut predict = |inputs: &crate::matrix::Matrix| {
        trained.network.predict(inputs, prepared.task(), prepared.target.center, prepared.target.spread)
    };
    let spans = prepared.preprocessing.spans();
    let seed = prepared.spec.builtin.seed;
    let mut found = evaluate::importance(
        &examples.inputs,
        &spans,
        &examples.targets,
        prepared.task(),
        &mut predict,
        seed,
        REPEATS,
    );
    // A stable sort: equal ones stay in the order of the columns.
    found.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    let named = |found: evaluate::Importance| {
        let column = prepared.preprocessing.columns.get(found.column)?.name.clone();
        Some(ColumnImportance { column, mean: found.mean, deviation: found.deviation })
    };
    found.into_iter().filter_map(named).collect()
}
