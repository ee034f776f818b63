//! How the learning rate changes over the epochs.

use std::f64::consts::PI;

use modelwright_api::training::resolved::{ResolvedBuiltin, ResolvedSchedule};

/// The learning rate of an epoch, counted from 0.
pub(super) fn learning_rate(settings: &ResolvedBuiltin, epoch: u32) -> f64 {
    let initial = settings.optimizer.learning_rate;
    match settings.schedule {
        ResolvedSchedule::Constant => initial,
        ResolvedSchedule::Cosine => {
            let done = f64::from(epoch) / f64::from(settings.epochs.max(1));
            initial * (1.0 + libm::cos(PI * done)) / 2.0
        }
        ResolvedSchedule::Step { every_epochs, factor } => {
            initial * libm::pow(factor, f64::from(epoch / every_epochs.max(1)))
        }
    }
}
