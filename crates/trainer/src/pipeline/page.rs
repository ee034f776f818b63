//! What the report says of a training.

use modelwright_api::training::{ColumnKind, Scale};

use super::measure::Pictures;
use super::metrics::MetricsDocument;
use super::{Error, Prepared};
use crate::evaluate::importance::REPEATS;
use crate::evaluate::{Direction, Metric, MetricName};
use crate::features::{ColumnSummary as Summary, PreparedKind, Range};
use crate::report::{
    Better, ColumnSummary, ColumnValues, Epoch, Evaluation, FeatureImportance, Importance, Learning,
    MetricRow, Report, RocCurve, Rows, render as render_report,
};

/// The page. It holds nothing that is not part of the revision: no name, no time, no place.
pub(super) fn render(
    prepared: &Prepared,
    measured: &MetricsDocument,
    pictures: &Pictures,
) -> Result<String, Error> {
    let target = &prepared.target;
    let primary = Metric::primary(target.task).label();
    let (epochs, metrics) = (epochs(measured), metrics(measured));
    let features: Vec<_> = measured
        .importance
        .iter()
        .map(|found| FeatureImportance {
            name: found.column.clone(),
            mean: found.mean,
            deviation: found.deviation,
        })
        .collect();
    let columns: Vec<_> = prepared
        .summary
        .iter()
        .filter(|column| column.name != target.name)
        .map(|column| summary(column, prepared))
        .collect();
    let roc: Vec<_> = pictures
        .roc
        .iter()
        .map(|curve| RocCurve {
            class: target.classes.get(curve.class_index).cloned().unwrap_or_default(),
            points: curve.points.clone(),
            area: Some(curve.area),
        })
        .collect();
    let (actual, predicted): (Vec<f32>, Vec<f32>) = pictures.residuals.iter().copied().unzip();
    let settings = settings(prepared);
    let report = Report {
        target: &target.name,
        task: target.task,
        classes: &target.classes,
        notes: prepared.notes(),
        rows: Rows {
            training: prepared.training.table.rows(),
            validation: prepared.validation.table.rows(),
            test: prepared.test.as_ref().map(|rows| rows.table.rows()),
        },
        metrics: &metrics,
        learning: Learning { epochs: &epochs, score: primary, best: Some(measured.epoch) },
        evaluation: match &measured.confusion_matrix {
            Some(confusion) => Evaluation::Classification { confusion, roc: &roc },
            None => Evaluation::Regression { actual: &actual, predicted: &predicted },
        },
        importance: Importance {
            metric: primary,
            repeats: u32::try_from(REPEATS).unwrap_or(0),
            features: &features,
        },
        columns: &columns,
        settings: &settings,
    };
    Ok(render_report(&report)?)
}

fn epochs(measured: &MetricsDocument) -> Vec<Epoch> {
    let epoch = |epoch: &super::metrics::Epoch| Epoch {
        number: epoch.epoch,
        training_loss: epoch.training_loss,
        validation_loss: epoch.validation_loss,
        score: epoch.validation_score.unwrap_or(f64::NAN),
    };
    measured.history.iter().map(epoch).collect()
}

fn metrics(measured: &MetricsDocument) -> Vec<MetricRow> {
    let primary = Metric::primary(measured.task);
    let others = Metric::of(measured.task).iter().copied().filter(|metric| *metric != primary);
    let row = |metric: Metric| {
        let [validation, test] =
            [MetricName::validation(metric), MetricName::test(metric)].map(|name| name.to_string());
        let of_baseline = |index: usize| measured.baselines.get(index)?.metrics.get(&validation).copied();
        MetricRow {
            label: metric.label().to_owned(),
            better: match metric.direction() {
                Direction::Higher => Better::Higher,
                Direction::Lower => Better::Lower,
            },
            model: measured.metrics.get(&validation).copied(),
            constant: of_baseline(0),
            linear: of_baseline(1),
            test: measured.metrics.get(&test).copied(),
        }
    };
    std::iter::once(primary).chain(others).map(row).collect()
}

fn summary(column: &Summary, prepared: &Prepared) -> ColumnSummary {
    let used = prepared.preprocessing.columns.iter().find(|used| used.name == column.name);
    let (fill, scaling) = match used.map(|used| &used.kind) {
        Some(PreparedKind::Numeric { fill, mean, deviation }) => {
            let written = prepared.spec.builtin.columns.iter().find(|written| written.name == column.name);
            let scaled = written.and_then(|written| written.scale) != Some(Scale::None);
            (Some(fill.to_string()), scaled.then_some((f64::from(*mean), f64::from(*deviation))))
        }
        Some(PreparedKind::Boolean { fill }) => (Some(fill.to_string()), None),
        Some(PreparedKind::Text { fill, .. }) => {
            (Some(fill.clone().unwrap_or_else(|| "a category of its own".to_owned())), None)
        }
        None => (None, None),
    };
    ColumnSummary {
        name: column.name.clone(),
        kind: column.kind,
        missing: column.missing,
        distinct: column.distinct,
        values: match (&column.range, column.kind) {
            (Some(Range { min, mean, max }), ColumnKind::Numeric) => {
                ColumnValues::Numbers { min: *min, mean: *mean, max: *max }
            }
            _ if column.top.is_empty() => ColumnValues::Unknown,
            _ => ColumnValues::Categories(column.top.clone()),
        },
        fill,
        scaling,
    }
}

/// The settings that shaped the result, defaults included.
fn settings(prepared: &Prepared) -> Vec<(String, String)> {
    let builtin = &prepared.spec.builtin;
    let layers: Vec<String> = builtin
        .layers
        .iter()
        .map(|layer| {
            let dropout =
                if layer.dropout > 0.0 { format!(", dropout {}", layer.dropout) } else { String::new() };
            let l2 = if layer.l2 > 0.0 { format!(", l2 {}", layer.l2) } else { String::new() };
            format!("{} {:?}{dropout}{l2}", layer.units, layer.activation)
        })
        .collect();
    let named = |name: &str, value: String| (name.to_owned(), value);
    vec![
        named("hidden layers", if layers.is_empty() { "none".to_owned() } else { layers.join("; ") }),
        named("loss", format!("{:?}", prepared.loss)),
        named("optimizer", format!("{:?}", builtin.optimizer.method)),
        named("learning rate", format!("{} ({:?})", builtin.optimizer.learning_rate, builtin.schedule)),
        named("epochs at most", builtin.epochs.to_string()),
        named(
            "batch size",
            builtin.batch_size.map_or_else(|| "all rows".to_owned(), |size| size.to_string()),
        ),
        named(
            "early stopping",
            builtin.early_stopping.as_ref().map_or_else(
                || "off".to_owned(),
                |stopping| format!("{} epochs without a better {}", stopping.patience, stopping.monitor),
            ),
        ),
        named("class weights", format!("{:?}", builtin.class_weights)),
        named("seed", builtin.seed.to_string()),
    ]
}
