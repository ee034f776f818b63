//! How long a training may take and how often it is tried.

use std::time::Duration;

use modelwright_api::{
    conditions::{Cause, Reason},
    defaults::ResolvedTrainingJobs,
    training::{Training, cron::Schedule},
};

use crate::plan::invalid;

/// What of `spec.training` only the operator reads.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) deadline: Duration,
    pub(super) stall_timeout: Option<Duration>,
    pub(super) poll_interval: Option<Duration>,
    /// How often an attempt that failed is tried again.
    pub(super) retries: u32,
    pub(super) schedule: Option<Schedule>,
}

impl Limits {
    /// Reads them; what cannot be used is named by its field.
    pub(super) fn read(training: &Training) -> Result<Self, Cause> {
        let ResolvedTrainingJobs { deadline, stall_timeout, retries, poll_interval } =
            training.jobs().map_err(|error| invalid(&error))?;
        let schedule =
            training.schedule().map_err(|error| Cause::new(Reason::InvalidSpec, error.to_string()))?;
        Ok(Self { deadline, stall_timeout, poll_interval, retries, schedule })
    }
}
