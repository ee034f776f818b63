//! What people see of a training: a bar with loss, metric and time left, then a table.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use modelwright_trainer::evaluate::{Metric, MetricName, Named, Set};
use modelwright_trainer::pipeline::metrics::MetricsDocument;
use modelwright_trainer::pipeline::{Made, Prepared};
use modelwright_trainer::training::{EpochRecord, Observer, StepProgress};

use crate::terminal::Terminal;

/// Where no terminal listens, a line is written at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The bar while epochs pass. Early stopping may end them sooner.
const RUNNING: &str = "{prefix:20} {bar:30} epoch {msg}  at most {eta} left";
/// The bar while the result is measured.
const MEASURING: &str = "{prefix:20} {spinner} {msg}";

/// One training on the screen.
pub(super) struct Screen {
    terminal: Terminal,
    name: String,
    /// `None` where no terminal listens.
    bar: Option<ProgressBar>,
    /// The label of the metric that is shown.
    score: &'static str,
    epochs: u32,
    last: Option<EpochRecord>,
    last_line: Instant,
}

impl Screen {
    pub(super) fn new(terminal: &Terminal, name: &str) -> Self {
        Self {
            terminal: terminal.clone(),
            name: name.to_owned(),
            bar: None,
            score: "",
            epochs: 0,
            last: None,
            last_line: Instant::now(),
        }
    }

    /// Says what is about to be trained from what.
    pub(super) fn describe(&mut self, rows: &Prepared) {
        self.score = Metric::primary(rows.task()).label();
        self.terminal.note(&format!("training {}: {}", self.name, rows.describe()));
        for line in rows.columns_by_type() {
            self.terminal.note(&format!("  {line}"));
        }
        for note in rows.notes() {
            self.terminal.note(&format!("note {}: {note}", self.name));
        }
        self.bar =
            self.terminal.bar(1).map(|bar| bar.with_style(style(RUNNING)).with_prefix(self.name.clone()));
    }

    /// Ends the bar and shows what came of it.
    pub(super) fn finish(&mut self, made: &Made) {
        let metrics = &made.metrics;
        self.clear();
        let epochs = metrics.history.len();
        let continued = made.resumed_from.map_or_else(String::new, |position| {
            format!(", continued after epoch {} and {} steps", position.epochs, position.steps)
        });
        self.terminal.note(&format!(
            "trained {} in {epochs} {}{continued}; the weights of epoch {} are taken",
            self.name,
            if epochs == 1 { "epoch" } else { "epochs" },
            metrics.epoch
        ));
        self.terminal.note(&table(metrics));
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn message(&self, epoch: u32) -> String {
        let mut text = format!("{epoch}/{}", self.epochs);
        if let Some(last) = &self.last {
            let _ = write!(
                text,
                "  loss {:.4}  validation loss {:.4}  {} {:.4}",
                last.training_loss,
                last.validation_loss,
                self.score.to_lowercase(),
                last.validation_score
            );
        }
        text
    }
}

impl Drop for Screen {
    /// A training that failed or was interrupted leaves no bar behind.
    fn drop(&mut self) {
        self.clear();
    }
}

impl Observer for Screen {
    fn step(&mut self, progress: &StepProgress) {
        let first = std::mem::replace(&mut self.epochs, progress.epochs) == 0;
        let Some(bar) = &self.bar else { return };
        bar.set_length(u64::from(progress.epochs) * progress.steps);
        bar.set_position(u64::from(progress.epoch - 1) * progress.steps + progress.step);
        if first {
            // What a former run did says nothing about how fast this one is.
            bar.reset_eta();
        }
        if progress.step == 1 {
            bar.set_message(self.message(progress.epoch));
        }
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.last = Some(*record);
        let message = self.message(record.epoch);
        match &self.bar {
            Some(bar) => bar.set_message(message),
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                self.terminal.note(&format!("training {}: epoch {message}", self.name));
            }
            None => {}
        }
    }

    fn trained(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_style(style(MEASURING));
            bar.set_message("fitting the baselines, measuring, and writing the model and its report");
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The metrics beside those of the simple models.
pub(super) fn table(metrics: &MetricsDocument) -> String {
    let mut rows = vec![vec!["metric".to_owned(), "model".to_owned()]];
    rows[0].extend(metrics.baselines.iter().map(|baseline| baseline.name.clone()));
    let sets =
        if metrics.rows.test.is_some() { &[Set::Validation, Set::Test][..] } else { &[Set::Validation] };
    for &set in sets {
        for &metric in Metric::of(metrics.task) {
            let name = MetricName { set, named: Named::Metric(metric) }.to_string();
            let Some(value) = metrics.metrics.get(&name) else { continue };
            let of_baseline = metrics.baselines.iter().map(|baseline| {
                baseline.metrics.get(&name).map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
            });
            rows.push([name.clone(), format!("{value:.4}")].into_iter().chain(of_baseline).collect());
        }
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(index, (cell, &width))| {
            if index == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  "))
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
