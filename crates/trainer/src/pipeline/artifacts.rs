//! From prepared rows to the files of a revision.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::metrics::{METRICS_FILE, MetricsDocument};
use super::prepared::Rows;
use super::samples::{SAMPLES_FILE, Samples};
use super::{Error, Prepared, measure, page};
use crate::NUMERICS_VERSION;
use crate::evaluate::{self, Metric, Named};
use crate::export::replay::{self, Replayed};
use crate::export::schema::SCHEMA_FILE;
use crate::export::scorer::tensors;
use crate::export::{self, EXPLAIN_FILE, Exported, Schema, Scorer, explain};
use crate::matrix::Predictions;
use crate::training::{self, CheckpointPlace, Control, Monitor, Observer, Position, Problem, Trained};

/// The name of the report in a revision's folder.
pub const REPORT_FILE: &str = "report.html";
/// The most validation rows that are replayed through ONNX Runtime.
const REPLAYED_ROWS: usize = 4_096;
/// The most validation rows whose gradients are; double precision computes them in plain loops.
const EXPLAINED_ROWS: usize = 32;

/// What a training made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What was measured.
    pub metrics: MetricsDocument,
    /// Where an interrupted training was continued, if one was.
    pub resumed_from: Option<Position>,
}

impl Prepared {
    /// Trains, and writes `model.onnx`, `explain.onnx`, `schema.json`, `metrics.json`, `samples.json` and `report.html` into
    /// `folder`, which is made anew.
    ///
    /// Where `checkpoint` holds an interrupted training of the same inputs, it is continued. When `stop` becomes true, a
    /// checkpoint is written and the error says so.
    pub fn train(
        &self,
        folder: &Path,
        checkpoint: Option<CheckpointPlace>,
        stop: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Made, Error> {
        let trained = self.fit(Control { observer, checkpoint, stop })?;
        observer.trained();
        let measured = measure::measure(self, &trained);
        let cannot_write = |source| Error::CannotWrite { path: folder.to_owned(), source };
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(cannot_write)?;
        }
        fs::create_dir_all(folder).map_err(cannot_write)?;
        self.write_model(folder, &trained)?;
        self.replay(folder, &trained, &measured.validation)?;
        self.replay_explanations(folder, &trained)?;
        let document = measured.document;
        write(folder, METRICS_FILE, &canonical(&document)?)?;
        write(folder, SAMPLES_FILE, &canonical(&Samples::of(self, &trained.network)?)?)?;
        write(folder, REPORT_FILE, page::render(self, &document, &measured.pictures)?.as_bytes())?;
        Ok(Made { metrics: document, resumed_from: trained.resumed_from })
    }

    fn fit(&self, mut control: Control<'_>) -> Result<Trained, Error> {
        let task = self.task();
        let targets = &self.validation.examples.targets;
        let measure = |metric: Metric| {
            move |predictions: &Predictions| {
                evaluate::single(metric, task, predictions, targets).unwrap_or(f64::NAN)
            }
        };
        let score = measure(Metric::primary(task));
        let monitored = match &self.spec.builtin.early_stopping {
            Some(stopping) => evaluate::parse_monitor(&stopping.monitor, Some(task))?,
            None => Named::Loss,
        };
        let watched = match monitored {
            Named::Loss => None,
            Named::Metric(metric) => Some((metric, measure(metric))),
        };
        let monitor = match &watched {
            None => Monitor::ValidationLoss,
            Some((metric, measure)) => Monitor::Metric {
                higher_is_better: metric.direction() == evaluate::Direction::Higher,
                measure,
            },
        };
        let problem = Problem {
            training: &self.training.examples,
            validation: &self.validation.examples,
            task,
            loss: self.loss,
            center: self.target.center,
            spread: self.target.spread,
            class_weights: self.class_weights.clone(),
            score: &score,
            monitor,
        };
        Ok(training::train(&problem, &self.spec.builtin, &mut control)?)
    }

    /// What the network says of rows, in the trainer's own arithmetic.
    pub(super) fn predict(&self, network: &crate::network::Network<f32>, rows: &Rows) -> Predictions {
        network.predict(&rows.examples.inputs, self.task(), self.target.center, self.target.spread)
    }

    fn write_model(&self, folder: &Path, trained: &Trained) -> Result<(), Error> {
        let schema = self.schema().to_json()?;
        let metadata = BTreeMap::from([
            ("modelwright.schema".to_owned(), String::from_utf8_lossy(&schema).into_owned()),
            ("modelwright.numericsVersion".to_owned(), NUMERICS_VERSION.to_owned()),
        ]);
        let exported = Exported {
            preprocessing: &self.preprocessing,
            target: &self.target,
            network: &trained.network,
            metadata,
        };
        write(folder, modelwright_artifact::MODEL_FILE, &export::model(&exported)?)?;
        write(folder, EXPLAIN_FILE, &export::explain(&exported)?)?;
        write(folder, SCHEMA_FILE, &schema)
    }

    fn schema(&self) -> Schema {
        Schema::new(&self.preprocessing, &self.target).with_baseline(&self.training.table)
    }

    /// Lets ONNX Runtime predict validation rows, as a server will, and compares.
    fn replay(&self, folder: &Path, trained: &Trained, expected: &Predictions) -> Result<(), Error> {
        let rows: Vec<usize> = (0..self.validation.table.rows().min(REPLAYED_ROWS)).collect();
        let got = Scorer::open(folder)?.score(&self.validation.table.select(&rows))?;
        let expected = match expected {
            Predictions::Probabilities(matrix) => Predictions::Probabilities(matrix.select(&rows)),
            Predictions::Numbers(numbers) => Predictions::Numbers(numbers[..rows.len()].to_vec()),
        };
        let inputs = self.validation.examples.inputs.select(&rows);
        let of = Replayed { network: &trained.network, target: &self.target, inputs: &inputs };
        let difference = replay::compare(&expected, &got, &of)?;
        tracing::debug!(difference, rows = rows.len(), "replayed through ONNX Runtime");
        Ok(())
    }

    /// Lets ONNX Runtime explain validation rows against the first of them, and compares with double precision.
    fn replay_explanations(&self, folder: &Path, trained: &Trained) -> Result<(), Error> {
        let rows: Vec<usize> = (0..self.validation.table.rows().min(EXPLAINED_ROWS)).collect();
        let inputs = tensors(&self.schema(), &self.validation.table, 0..rows.len())?;
        let explained = explain::run(&folder.join(EXPLAIN_FILE), &inputs, &self.target)?;
        let inputs = self.validation.examples.inputs.select(&rows);
        let of = Replayed { network: &trained.network, target: &self.target, inputs: &inputs };
        let share = explain::compare(&explained, &of)?;
        tracing::debug!(share, rows = rows.len(), "explanations replayed through ONNX Runtime");
        Ok(())
    }
}

fn canonical(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json_canonicalizer::to_vec(value).map_err(|error| Error::Internal {
        detail: format!("a file of the revision does not serialise: {error}"),
    })
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(|source| Error::CannotWrite { path, source })
}
