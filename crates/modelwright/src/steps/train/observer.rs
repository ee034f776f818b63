//! How far the training is: for those who ask the port, and for those who read the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_api::training::Task;
use modelwright_api::training::progress::ProgressPhase;
use modelwright_trainer::evaluate::{Metric, MetricName};
use modelwright_trainer::pipeline::Made;
use modelwright_trainer::training::{EpochRecord, Observer, StepProgress};

use crate::steps::agent::state::State;
use crate::steps::agent::update::Update;

/// Steps may take microseconds; between two of them nobody is told more often than this.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How often the log says how far it is.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Who watches one training.
pub(super) struct Watch {
    state: Arc<State>,
    /// The name of the metric of each epoch.
    score: String,
    pace: Pace,
    epochs: u32,
    told: Option<Instant>,
    logged: Instant,
}

impl Watch {
    pub(super) fn new(state: Arc<State>, task: Task) -> Self {
        let score = MetricName::validation(Metric::primary(task)).to_string();
        Self { state, score, pace: Pace::default(), epochs: 0, told: None, logged: Instant::now() }
    }

    pub(super) fn finish(&mut self, made: &Made) {
        self.state.moved(Instant::now());
        let epochs = made.metrics.history.len();
        let continued = made.resumed_from.map_or_else(String::new, |position| {
            format!(", continued after epoch {} and {} steps", position.epochs, position.steps)
        });
        tracing::info!(
            score = made.metrics.primary_value(),
            "trained in {epochs} epochs{continued}; the weights of epoch {} are taken",
            made.metrics.epoch
        );
    }
}

impl Observer for Watch {
    fn step(&mut self, progress: &StepProgress) {
        let now = Instant::now();
        self.epochs = progress.epochs;
        let share = share(progress);
        let left = self.pace.left(share, now);
        if self.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return;
        }
        self.told = Some(now);
        let update = Update {
            percent: Some(percent(share)),
            epoch: Some(u64::from(progress.epoch.saturating_sub(1))),
            eta_seconds: left.map(|left| left.as_secs()),
            ..Update::default()
        };
        self.state.apply(update, now);
    }

    fn epoch(&mut self, record: &EpochRecord) {
        let now = Instant::now();
        let metrics = [
            ("trainLoss", record.training_loss),
            ("valLoss", record.validation_loss),
            (self.score.as_str(), record.validation_score),
        ];
        let metrics = metrics.into_iter().filter(|(_, value)| value.is_finite());
        let update = Update {
            epoch: Some(u64::from(record.epoch)),
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Update::default()
        };
        self.state.apply(update, now);
        if now.duration_since(self.logged) >= LOG_EVERY {
            self.logged = now;
            tracing::info!(
                epoch = record.epoch,
                epochs = self.epochs,
                loss = record.training_loss,
                validation_loss = record.validation_loss,
                score = record.validation_score,
                eta_seconds = self.state.progress(now).eta_seconds,
                "training"
            );
        }
    }

    fn trained(&mut self) {
        self.state.set_phase(ProgressPhase::Checking, Instant::now());
        tracing::info!("fitting the baselines, measuring, and writing the model and its report");
    }
}

/// How much of the epochs is done, 0 to 1. Early stopping may end them sooner.
fn share(progress: &StepProgress) -> f64 {
    let steps = progress.steps.max(1) as f64;
    let done = f64::from(progress.epoch.saturating_sub(1)) + progress.step as f64 / steps;
    (done / f64::from(progress.epochs.max(1))).clamp(0.0, 1.0)
}

fn percent(share: f64) -> u8 {
    // Of a number from 0 to 100, so that nothing is lost.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    let percent = (share * 100.0).floor() as u8;
    percent
}

/// How fast it goes, by what this process has done: what a former one did says nothing about it.
#[derive(Debug, Default)]
struct Pace {
    begun: Option<(f64, Instant)>,
}

impl Pace {
    fn left(&mut self, share: f64, now: Instant) -> Option<Duration> {
        let (from, since) = *self.begun.get_or_insert((share, now));
        let done = share - from;
        let took = now.duration_since(since).as_secs_f64();
        (done > 0.0).then(|| Duration::try_from_secs_f64(took / done * (1.0 - share)).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_counts_steps_within_their_epoch() {
        let at = |epoch, step| share(&StepProgress { epoch, epochs: 4, step, steps: 10 });
        assert_eq!([at(1, 5), at(2, 10), at(4, 10)].map(percent), [12, 50, 100]);
    }

    #[test]
    fn time_left_follows_from_what_this_process_did() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.left(0.5, start), None);
        // A tenth in 20 seconds, so the other four tenths take 80.
        let left = pace.left(0.6, start + Duration::from_secs(20)).unwrap();
        assert!((left.as_secs_f64() - 80.0).abs() < 0.01, "{left:?}");
    }

    #[test]
    fn those_who_ask_see_epochs_and_metrics() {
        let state = Arc::new(State::new(Instant::now()));
        let mut watch = Watch::new(Arc::clone(&state), Task::Binary);
        watch.step(&StepProgress { epoch: 3, epochs: 4, step: 10, steps: 10 });
        watch.epoch(&EpochRecord {
            epoch: 3,
            learning_rate: 0.1,
            training_loss: 0.5,
            validation_loss: 0.25,
            validation_score: f64::NAN,
        });
        let progress = state.progress(Instant::now());
        assert_eq!((progress.progress_percent, progress.epoch), (Some(75), Some(3)));
        assert_eq!(progress.metrics.keys().collect::<Vec<_>>(), ["trainLoss", "valLoss"]);
    }
}
