//! What is measured of a trained network.

use std::collections::BTreeMap;

use modelwright_api::training::Task;

use super::Prepared;
use super::metrics::{
    BaselineMetrics, ColumnImportance, Epoch, MetricsDocument, Rows as RowCounts, prefixed,
};
use super::prepared::Rows;
use crate::evaluate::importance::REPEATS;
use crate::evaluate::{self, Baselines, Metric, RocCurve};
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
    let sets = [("val", Some(&prepared.validation)), ("test", prepared.test.as_ref())];
    let of = |predict: &dyn Fn(&Rows) -> Predictions| -> BTreeMap<String, f64> {
        let measured =
            sets.iter().filter_map(|(name, rows)| Some((name, (*rows)?))).flat_map(|(name, rows)| {
                let measured = evaluate::measure(task, &predict(rows), &rows.examples.targets);
                measured.into_iter().map(move |(metric, value)| (prefixed(name, metric.name()), value))
            });
        measured.collect()
    };
    let mut metrics = of(&|rows| prepared.predict(&trained.network, rows));
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
        .map(|baseline| BaselineMetrics {
            name: baseline.name().to_owned(),
            metrics: of(&|rows| baseline.predict(&rows.examples.inputs)),
        })
        .to_vec();
    let validation = prepared.predict(&trained.network, &prepared.validation);
    let targets = &prepared.validation.examples.targets;
    let document = MetricsDocument {
        version: MetricsDocument::version(),
        task,
        primary: Metric::primary(task).name().to_owned(),
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
