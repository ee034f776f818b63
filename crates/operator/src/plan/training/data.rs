//! Looks whether the data of a training changed: a Job that lists its stores and reads no row.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::{containers, labels, names, paths},
};

use super::{
    pod::{self, Stores},
    view::View,
};
use crate::{
    causes::{JobState, job_state},
    plan::{attempts, overlay, pods},
};

/// Longer than any store takes to be listed; a Job that hangs ends some time.
const DEADLINE_SECONDS: i64 = 60 * 60;
/// What the command says of data that differs from the fingerprint it was given, or when it was given none.
const CHANGED: &str = "Changed";

/// What is known of the data's looks.
#[derive(Debug, Default)]
pub(super) struct Looks<'a> {
    /// The newest.
    pub(super) latest: Option<Look<'a>>,
    /// Jobs that nobody needs any more.
    pub(super) superseded: Vec<String>,
    /// The number of the next.
    pub(super) next: u32,
}

/// A Job that looked.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub(super) job: &'a Job,
    pub(super) state: JobState,
    pub(super) ended: Timestamp,
}

impl Look<'_> {
    /// When it found that the data changed, and whether it was told what the data looked like before.
    pub(super) fn changed(&self) -> Option<(Timestamp, bool)> {
        let JobState::Succeeded(outcome) = &self.state else { return None };
        let template = self.job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let mut containers = template.into_iter().flat_map(|spec| &spec.containers);
        let compared = containers
            .any(|container| container.args.iter().flatten().any(|arg| arg == "--unless-fingerprint"));
        (outcome.reason == CHANGED).then_some((self.ended, compared))
    }

    pub(super) fn fingerprint(&self) -> Option<&str> {
        match &self.state {
            JobState::Succeeded(outcome) => outcome.fingerprint.as_deref(),
            _ => None,
        }
    }

    pub(super) fn failure(&self) -> Option<&Cause> {
        match &self.state {
            JobState::Failed(cause) => Some(cause),
            _ => None,
        }
    }
}

impl<'a> View<'a> {
    /// The looks at the data of what is trained now.
    pub(super) fn looks(&self) -> Looks<'a> {
        let (same, others) = attempts::jobs(self.observed, self.owner, "data", self.trained_from);
        let next = same.last().map_or(0, |(number, _)| number + 1);
        let (latest, older) = match same.split_last() {
            Some(((_, latest), older)) => (Some(*latest), older),
            None => (None, &[][..]),
        };
        let mut superseded: Vec<String> = others
            .into_iter()
            .chain(older.iter().map(|(_, job)| *job))
            .map(|job| attempts::name(job).to_owned())
            .collect();
        let latest = latest.map(|job| {
            let pods = || self.observed.pods.iter().map(AsRef::as_ref);
            let state = job_state(job, pods(), self.now);
            Look { job, state, ended: attempts::end(job, pods(), self.now) }
        });
        let old =
            latest.as_ref().filter(|look| !look.state.is_at_work() && attempts::is_old(look.ended, self.now));
        superseded.extend(old.map(|look| attempts::name(look.job).to_owned()));
        Looks { latest, superseded, next }
    }

    /// The Job that looks.
    pub(super) fn look(&self, number: u32, unless: Option<&str>) -> Result<Job, Cause> {
        let order = pod::order(self, "", 0)?;
        let stores = Stores::of_data(self.training);
        let mut args = vec!["data".to_owned(), "--config".to_owned(), paths::ORDER.to_owned()];
        if let Some(fingerprint) = unless {
            args.extend(["--unless-fingerprint".to_owned(), fingerprint.to_owned()]);
        }
        let mut data = pods::container(containers::DATA, &self.settings.images.cpu, self.settings, args);
        pod::reach(self, &mut data, &stores);
        data.resources = Some(pods::resources_of_transfer());
        let mut spec = pod::spec(self, &stores);
        spec.containers = vec![data];
        let template = pod::template(self, labels::ROLE_DATA, &order, spec);
        let template =
            overlay::merge(template, &[("spec.podTemplate", self.model.spec.pod_template.as_ref())])?;
        let name = names::data_job(self.owner.name, self.trained_from, number);
        let mut job = super::job::job(self, name, labels::ROLE_DATA, template);
        if let Some(spec) = &mut job.spec {
            spec.active_deadline_seconds = Some(DEADLINE_SECONDS);
        }
        Ok(job)
    }
}

/// A look that failed, as it is said beside the training.
pub(super) fn look_failed(look: &Look<'_>) -> Option<Cause> {
    let cause = look.failure()?;
    if cause.reason == Reason::JobPodLost.as_str() {
        // The next one will tell.
        return None;
    }
    Some(cause.clone())
}
