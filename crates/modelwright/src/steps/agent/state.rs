//! What is known of a training, and when something moved last.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use modelwright_api::training::progress::{ProgressPhase, TrainingProgress};

use super::update::Update;

/// What is known of a training.
#[derive(Debug)]
pub(in crate::steps) struct State(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    progress: TrainingProgress,
    moved: Instant,
}

impl State {
    pub(in crate::steps) fn new(now: Instant) -> Self {
        let progress = TrainingProgress { phase: ProgressPhase::Training, ..TrainingProgress::default() };
        Self(Mutex::new(Inner { progress, moved: now }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole, so what a panic left is fine.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something moved.
    pub(in crate::steps) fn moved(&self, now: Instant) {
        let mut inner = self.lock();
        inner.moved = now;
        inner.progress.updated_at = Some(Timestamp::now().to_string());
    }

    pub(in crate::steps) fn set_phase(&self, phase: ProgressPhase, now: Instant) {
        let changed = std::mem::replace(&mut self.lock().progress.phase, phase) != phase;
        if changed {
            self.moved(now);
        }
    }

    /// Takes what the training says; what it does not say stays.
    pub(in crate::steps) fn apply(&self, update: Update, now: Instant) {
        {
            let progress = &mut self.lock().progress;
            progress.progress_percent = update.percent.or(progress.progress_percent);
            progress.epoch = update.epoch.or(progress.epoch);
            progress.eta_seconds = update.eta_seconds.or(progress.eta_seconds);
            if !update.metrics.is_empty() {
                progress.metrics = update.metrics;
            }
        }
        self.moved(now);
    }

    /// The progress as it is told. Only a training can stall: what comes after it is ours and bounded by the deadline.
    pub(in crate::steps) fn progress(&self, now: Instant) -> TrainingProgress {
        let inner = self.lock();
        let still = now.saturating_duration_since(inner.moved).as_secs();
        let training = inner.progress.phase == ProgressPhase::Training;
        TrainingProgress { stalled_seconds: if training { still } else { 0 }, ..inner.progress.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn training_stalls_until_something_moves_and_later_phases_never() {
        let start = Instant::now();
        let state = State::new(start);
        let later = start + Duration::from_secs(90);
        assert_eq!(state.progress(later).stalled_seconds, 90);
        state.apply(Update { epoch: Some(3), ..Update::default() }, later);
        assert_eq!((state.progress(later).stalled_seconds, state.progress(later).epoch), (0, Some(3)));
        assert!(state.progress(later).updated_at.is_some());
        state.set_phase(ProgressPhase::Checking, later);
        assert_eq!(state.progress(later + Duration::from_secs(500)).stalled_seconds, 0);
    }

    #[test]
    fn what_an_update_does_not_say_stays() {
        let (state, now) = (State::new(Instant::now()), Instant::now());
        let metrics = [("loss".to_owned(), 0.5)].into();
        state.apply(Update { percent: Some(10), metrics, ..Update::default() }, now);
        state.apply(Update { eta_seconds: Some(7), ..Update::default() }, now);
        let progress = state.progress(now);
        assert_eq!((progress.progress_percent, progress.eta_seconds), (Some(10), Some(7)));
        assert_eq!(progress.metrics.len(), 1);
    }
}
