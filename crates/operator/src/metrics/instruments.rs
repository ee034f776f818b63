//! What the controller does, as metrics and as a sign of life.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use modelwright_api::{ModelStatus, conditions::ConditionType};

use super::{Metrics, ModelCounts, PassOutcome, TrainingOutcome, trainings::Seen};
use crate::{
    controller::{Observer, Outcome},
    error::ErrorClass,
    health::Health,
    stores::ModelKey,
};

/// Watches a controller for metrics and probes.
#[derive(Debug)]
pub struct Instruments {
    metrics: Arc<Metrics>,
    health: Health,
    models: Mutex<Models>,
}

/// How each Model is, and how many are so.
#[derive(Debug, Default)]
struct Models {
    each: HashMap<ModelKey, ModelCounts>,
    all: ModelCounts,
    /// Only of Models with a training.
    trainings: HashMap<ModelKey, Seen>,
    running: usize,
    queued: usize,
}

impl Instruments {
    /// Fills these.
    pub fn new(metrics: Arc<Metrics>, health: Health) -> Self {
        Self { metrics, health, models: Mutex::default() }
    }
}

impl Observer for Instruments {
    fn passed(&self, outcome: Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Unchanged => PassOutcome::Unchanged,
            Outcome::Changed => PassOutcome::Changed,
            Outcome::Failed => PassOutcome::Failed,
        };
        self.metrics.reconciled(outcome, took);
        self.health.passed();
    }

    fn failed(&self, class: ErrorClass) {
        self.metrics.failed(class.as_str());
    }

    fn watch_failed(&self, kind: &'static str) {
        self.metrics.watch_restarted(kind);
    }

    fn waiting(&self, models: usize) {
        self.metrics.queue(models);
        self.health.waiting(models);
    }

    fn reported(&self, model: &ModelKey, status: Option<&ModelStatus>) {
        let training = status.and_then(|status| status.training.as_ref());
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.change(model, status.map(counts));
        if let Some(outcome) = models.trained(model, Seen::of(training)) {
            self.metrics.trained(outcome);
        }
        self.metrics.models(models.all);
        self.metrics.trainings(models.running, models.queued);
    }
}

impl Models {
    fn change(&mut self, model: &ModelKey, now: Option<ModelCounts>) {
        let before = match now {
            Some(now) => self.each.insert(model.clone(), now),
            None => self.each.remove(model),
        };
        let (before, now) = (before.unwrap_or_default(), now.unwrap_or_default());
        let moved = |all: usize, before: usize, now: usize| (all + now).saturating_sub(before);
        self.all = ModelCounts {
            ready: moved(self.all.ready, before.ready, now.ready),
            progressing: moved(self.all.progressing, before.progressing, now.progressing),
            stalled: moved(self.all.stalled, before.stalled, now.stalled),
            unavailable: moved(self.all.unavailable, before.unavailable, now.unavailable),
        };
    }
}

impl Models {
    /// Takes over where a Model's training stands. Returns how an attempt ended, if one did.
    fn trained(&mut self, model: &ModelKey, now: Seen) -> Option<TrainingOutcome> {
        let before = self.trainings.remove(model).unwrap_or_default();
        let moved = |all: usize, before: bool, now: bool| {
            (all + usize::from(now)).saturating_sub(usize::from(before))
        };
        self.running = moved(self.running, before.running, now.running);
        self.queued = moved(self.queued, before.queued, now.queued);
        let ended = now.ended(&before);
        if now != Seen::default() {
            self.trainings.insert(model.clone(), now);
        }
        ended
    }
}

fn counts(status: &ModelStatus) -> ModelCounts {
    let holds = |type_| usize::from(status.holds(type_));
    ModelCounts {
        ready: holds(ConditionType::Ready),
        progressing: holds(ConditionType::Progressing),
        stalled: holds(ConditionType::Stalled),
        unavailable: 1 - holds(ConditionType::Available),
    }
}

#[cfg(test)]
mod tests {
    use modelwright_api::status::{Condition, ConditionStatus, TrainingPhase, TrainingStatus};

    use super::*;

    fn status(types: &[&str]) -> ModelStatus {
        let condition = |type_: &&str| Condition {
            type_: (*type_).to_owned(),
            status: ConditionStatus::True,
            ..Condition::default()
        };
        ModelStatus { conditions: types.iter().map(condition).collect(), ..ModelStatus::default() }
    }

    #[test]
    fn models_are_counted_as_they_come_change_and_go() {
        let metrics = Metrics::shared();
        let instruments = Instruments::new(Arc::clone(&metrics), Health::new());
        let (a, b) = (ModelKey::new("n", "a"), ModelKey::new("n", "b"));
        instruments.reported(&a, Some(&status(&["Progressing"])));
        instruments.reported(&b, Some(&status(&["Ready", "Available"])));
        instruments.reported(&a, Some(&status(&["Ready", "Available"])));
        instruments.reported(&b, None);
        let text = metrics.text().unwrap();
        for line in [
            "modelwright_models{state=\"Ready\"} 1",
            "modelwright_models{state=\"Progressing\"} 0",
            "modelwright_models{state=\"Unavailable\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn trainings_are_counted_as_they_begin_end_and_go() {
        let metrics = Metrics::shared();
        let instruments = Instruments::new(Arc::clone(&metrics), Health::new());
        let training = |phase| ModelStatus {
            training: Some(TrainingStatus {
                phase: Some(phase),
                job: Some("j".to_owned()),
                ..TrainingStatus::default()
            }),
            ..ModelStatus::default()
        };
        let (a, b, c) = (ModelKey::new("n", "a"), ModelKey::new("n", "b"), ModelKey::new("n", "c"));
        for model in [&a, &b, &c] {
            instruments.reported(model, Some(&training(TrainingPhase::Training)));
        }
        instruments.reported(&a, Some(&training(TrainingPhase::Succeeded)));
        instruments.reported(&a, Some(&training(TrainingPhase::Succeeded)));
        instruments.reported(&b, Some(&training(TrainingPhase::Queued)));
        instruments.reported(&c, None);
        let text = metrics.text().unwrap();
        for line in [
            "modelwright_trainings_total{outcome=\"Succeeded\"} 1",
            "modelwright_trainings_total{outcome=\"Failed\"} 0",
            "modelwright_trainings_in_progress{state=\"Running\"} 0",
            "modelwright_trainings_in_progress{state=\"Queued\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
