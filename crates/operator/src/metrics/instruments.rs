//! What the controller does, as metrics and as a sign of life.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use modelwright_api::{ModelStatus, conditions::ConditionType};

use super::{Metrics, ModelCounts, PassOutcome};
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
        let counts = {
            let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
            models.change(model, status.map(counts));
            models.all
        };
        self.metrics.models(counts);
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
    use modelwright_api::status::{Condition, ConditionStatus};

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
}
