//! Which epoch is the best, and whether it is worth going on.

use modelwright_api::training::resolved::ResolvedEarlyStopping;

use super::Monitor;
use crate::network::Network;

/// The best epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Best {
    /// The epoch, from 1.
    pub(super) epoch: u32,
    /// Its monitored value.
    pub(super) value: f64,
    /// Its weights, if they are to be restored.
    pub(super) network: Option<Network<f32>>,
}

/// The rules by which epochs are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    higher_is_better: bool,
    stopping: Option<&'a ResolvedEarlyStopping>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(monitor: &Monitor<'_>, stopping: Option<&'a ResolvedEarlyStopping>) -> Self {
        let higher_is_better = match monitor {
            Monitor::ValidationLoss => false,
            Monitor::Metric { higher_is_better, .. } => *higher_is_better,
        };
        Self { higher_is_better, stopping }
    }

    /// Whether the weights of the best epoch are to be kept.
    pub(super) fn restores(self) -> bool {
        self.stopping.is_some_and(|stopping| stopping.restore_best)
    }

    /// Whether a value is better than the best one by more than `min_delta`. What is no number is never better.
    pub(super) fn improves(self, value: f64, best: Option<&Best>) -> bool {
        let least = self.stopping.map_or(0.0, |stopping| stopping.min_delta);
        match best {
            _ if value.is_nan() => false,
            None => true,
            Some(best) if self.higher_is_better => value - least > best.value,
            Some(best) => value + least < best.value,
        }
    }

    /// Whether too many epochs have passed without an improvement.
    pub(super) fn exhausted(self, epochs: u32, best: Option<&Best>) -> bool {
        let waited = epochs - best.map_or(0, |best| best.epoch).min(epochs);
        self.stopping.is_some_and(|stopping| waited >= stopping.patience)
    }
}
