//! Which revisions of a store are too many (`spec.training.keep`), and the Jobs that find them and delete them.
//!
//! One Job lists what goes, and its outcome stands in `status.revisions.expiring` for at least five minutes before another
//! deletes exactly that. Both carry what they were made for, so the Jobs are all the memory there is: a list is made once for
//! each set of revisions that stay, and whatever was made for another set is deleted, at work or not.
//!
//! Nothing else ever waits for any of this. A deletion that is at work when a training or a rollout begins is ended, since the
//! training may give what is being deleted; what is left of it is done afterwards.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use modelwright_api::{
    Model, Outcome,
    conditions::{Cause, Class},
    contract::{OUTCOME_MAX_REVISIONS, annotations, names},
    training::order::DeletionOrder,
};

use super::{
    JobChanges, Pass, Revision, RolloutState,
    attempts::{self, NO_POD, annotation, later},
    deployment::Annotated,
    metadata::Owner,
    origin::Found,
    scale,
    training::TrainingState,
};
use crate::{
    causes::{JobState, job_state},
    observe::Observed,
    settings::Settings,
};

mod job;
#[cfg(test)]
mod tests;

pub(crate) use job::{delete_all, delete_all_name};

/// How long people can see what goes before it goes.
const NOTICE: Duration = Duration::from_mins(5);
/// The pauses between attempts double from the first to the last: nothing is urgent here.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// A mistake of ours is not tried for ever.
const MOST_BUGS: u32 = 5;

/// What is to be done about revisions that are too many.
#[derive(Debug, Default)]
pub(super) struct RetentionPlan {
    pub(super) jobs: JobChanges,
    /// Ids of the revisions that are deleted next.
    pub(super) expiring: Vec<String>,
    /// Why they could not be listed or deleted, if they could not.
    pub(super) failure: Option<Cause>,
    pub(super) look_again_at: Option<Timestamp>,
}

/// What the planning of retention looks at.
pub(super) struct View<'a> {
    pub(super) model: &'a Model,
    pub(super) owner: &'a Owner<'a>,
    pub(super) observed: &'a Observed,
    pub(super) settings: &'a Settings,
    /// Digests or ids of the revisions that stay in any case: active, candidate, wanted, deployed, pinned, the newest that was
    /// trained, and the former one. Another set asks for another list.
    pub(super) protected: Vec<String>,
    /// Whether a revision is served, and nothing is trained or rolled out.
    pub(super) quiet: bool,
    pub(super) now: Timestamp,
}

/// A Job that lists or deletes.
struct Attempt<'a> {
    job: &'a Job,
    name: &'a str,
    order: DeletionOrder,
    /// How many failed before it.
    failures: u32,
    state: JobState,
    /// When it ended, if it did.
    ended: Timestamp,
}

impl View<'_> {
    /// What is to be done. What fails is in the plan, since nothing may fail for it.
    pub(super) fn plan(&self) -> RetentionPlan {
        let mut plan = RetentionPlan::default();
        let attempts = self.attempts();
        let Some(wanted) = self.order() else {
            plan.jobs.deleted = attempts.iter().map(|attempt| attempt.name.to_owned()).collect();
            return plan;
        };
        let (current, others): (Vec<_>, Vec<_>) =
            attempts.into_iter().partition(|attempt| is_for(&attempt.order, &wanted));
        plan.jobs.deleted = others.iter().map(|attempt| attempt.name.to_owned()).collect();
        let (deletions, lists): (Vec<_>, Vec<_>) =
            current.into_iter().partition(|attempt| attempt.order.delete.is_some());
        if !self.quiet {
            let at_work = deletions.iter().filter(|deletion| deletion.state.is_at_work());
            plan.jobs.deleted.extend(at_work.map(|deletion| deletion.name.to_owned()));
        }
        let list = newest(&lists, &mut plan);
        let deletion = newest(&deletions, &mut plan);
        let outcome = match list.map(|list| (list, &list.state)) {
            None => {
                self.start(&wanted, 0, None, self.now, &mut plan);
                return plan;
            }
            Some((list, JobState::Succeeded(outcome))) => (list, outcome),
            Some((list, _)) => {
                self.wait_or_retry(list, &mut plan);
                return plan;
            }
        };
        self.delete(wanted, outcome.0, outcome.1, deletion, &mut plan);
        plan
    }

    /// What a list was found, and what became of it.
    fn delete(
        &self,
        wanted: DeletionOrder,
        list: &Attempt<'_>,
        outcome: &Outcome,
        deletion: Option<&Attempt<'_>>,
        plan: &mut RetentionPlan,
    ) {
        let protected: BTreeSet<&str> =
            wanted.protected.iter().map(|name| names::revision_id(name)).collect();
        let goes = |id: &&String| !protected.contains(id.as_str());
        let ids: Vec<String> = outcome.revisions.iter().filter(goes).cloned().collect();
        if ids.is_empty() {
            return;
        }
        match deletion.map(|deletion| (deletion, &deletion.state)) {
            Some((deletion, JobState::Succeeded(_))) => {
                if outcome.cut || outcome.revisions.len() >= OUTCOME_MAX_REVISIONS {
                    // There may be more than a list holds: it is made anew.
                    plan.jobs.deleted.extend([list.name.to_owned(), deletion.name.to_owned()]);
                }
            }
            Some((deletion, _)) => {
                plan.expiring = ids;
                self.wait_or_retry(deletion, plan);
            }
            None => {
                plan.expiring.clone_from(&ids);
                let due = later(list.ended, NOTICE);
                self.start(&DeletionOrder { delete: Some(ids), ..wanted }, 0, None, due, plan);
            }
        }
    }

    /// What the Jobs are made for now, but for the list of what goes; `None` if nothing is to go.
    fn order(&self) -> Option<DeletionOrder> {
        let training = self.model.spec.training.as_ref()?;
        let keep = u32::try_from(training.keep?).ok()?;
        let mut protected: Vec<String> = self.protected.clone();
        protected.sort();
        protected.dedup();
        Some(DeletionOrder {
            model: self.owner.name.to_owned(),
            namespace: self.owner.namespace.to_owned(),
            uid: self.owner.uid.to_owned(),
            output: training.output.as_ref()?.uri.clone(),
            keep: Some(keep),
            protected,
            delete: None,
        })
    }

    /// Every Job of this Model that lists or deletes.
    fn attempts(&self) -> Vec<Attempt<'_>> {
        let (_, all) = attempts::jobs(self.observed, self.owner, "delete", "");
        let pods = || self.observed.pods.iter().map(AsRef::as_ref);
        let attempt = |job| {
            let order =
                annotation(job, annotations::ORDER).and_then(|order| serde_json::from_str(order).ok());
            Attempt {
                job,
                name: attempts::name(job),
                // One that says nothing that can be read is none of these.
                order: order.unwrap_or_default(),
                failures: attempts::count(job, annotations::FAILURES),
                state: job_state(job, pods(), self.now),
                ended: attempts::end(job, pods(), self.now),
            }
        };
        all.into_iter().map(attempt).collect()
    }

    /// A Job is at work, or failed and is tried again.
    fn wait_or_retry(&self, attempt: &Attempt<'_>, plan: &mut RetentionPlan) {
        match &attempt.state {
            JobState::Succeeded(_) | JobState::Active(_) => {}
            JobState::WithoutPod => {
                attempts::without_pod(attempt.job, self.now, &mut plan.jobs, &mut plan.look_again_at);
            }
            JobState::Failed(cause) => {
                plan.failure = Some(cause.clone());
                let failures = attempt.failures.saturating_add(1);
                let again = match cause.class {
                    Class::User | Class::Settled | Class::Working => false,
                    Class::Bug => failures < MOST_BUGS,
                    Class::Wait | Class::Transient => true,
                };
                if again {
                    let due = later(attempt.ended, attempts::doubled(FIRST_PAUSE, LONGEST_PAUSE, failures));
                    self.start(&attempt.order, failures, Some(attempt.name), due, plan);
                }
            }
        }
    }

    /// Makes a Job when it is due, in the place of the one that failed before.
    fn start(
        &self,
        order: &DeletionOrder,
        failures: u32,
        former: Option<&str>,
        due: Timestamp,
        plan: &mut RetentionPlan,
    ) {
        if !self.quiet || scale::is_suspended(self.model) {
            return;
        }
        if self.now < due {
            plan.look_again_at = Some(due);
            return;
        }
        match job::job(self.model, self.owner, self.settings, order, failures) {
            Ok(job) => {
                plan.jobs.deleted.extend(former.map(str::to_owned));
                plan.jobs.created = Some(Box::new(job));
                plan.look_again_at = Some(later(self.now, NO_POD));
            }
            Err(cause) => plan.failure = Some(cause),
        }
    }
}

impl Pass<'_> {
    /// Adds to what was found of a training what is to be done about revisions that are too many. Other Jobs come first, since one
    /// is made at a time.
    pub(super) fn retain(
        &self,
        found: &mut Found,
        wanted: Option<&Revision>,
        deployed: Option<&Annotated>,
        rollout: &RolloutState,
    ) {
        let Pass { model, observed, settings, now, owner } = self;
        let training = found.training.as_ref();
        let idle = training.is_some_and(|training| {
            matches!(training.state, TrainingState::Idle | TrainingState::Failed { .. })
        });
        let newest = training.and_then(|training| training.newest.as_ref());
        let view = View {
            model,
            owner,
            observed,
            settings,
            protected: protected(
                model,
                [wanted, newest.map(|newest| &newest.revision)].into_iter().flatten(),
                deployed,
            ),
            quiet: idle && found.jobs.created.is_none() && *rollout == RolloutState::Settled,
            now: *now,
        };
        let RetentionPlan { jobs, expiring, failure, look_again_at } = view.plan();
        let JobChanges { deleted, created, without_pod } = jobs;
        found.jobs.deleted.extend(deleted);
        found.jobs.without_pod.extend(without_pod);
        found.jobs.created = found.jobs.created.take().or(created);
        found.look_again_at = found.look_again_at.into_iter().chain(look_again_at).min();
        if let Some(training) = &mut found.training {
            (training.expiring, training.retention_failed) = (expiring, failure);
        }
    }
}

/// What stays in any case: what is served or shall be, what was served before, what is pinned, and these. What was served before
/// the Deployment knows, too: without a status it is as safe.
fn protected<'a>(
    model: &Model,
    others: impl Iterator<Item = &'a Revision>,
    deployed: Option<&Annotated>,
) -> Vec<String> {
    let known = model.status.as_ref().and_then(|status| status.revisions.as_ref());
    let deployed = deployed.into_iter().flat_map(|deployed| {
        [Some(&deployed.revision.digest), deployed.former.as_ref().map(|former| &former.digest)]
    });
    let known = known.into_iter().flat_map(|known| {
        known.active.iter().chain(&known.candidate).chain(known.former.first()).map(|known| &known.digest)
    });
    let pin = model.spec.rollout.as_ref().and_then(|rollout| rollout.revision.as_ref());
    known
        .chain(pin)
        .chain(others.map(|revision| &revision.digest))
        .chain(deployed.flatten())
        .cloned()
        .collect()
}

/// Whether an order is what is wanted now, or the deletion of what that found.
fn is_for(order: &DeletionOrder, wanted: &DeletionOrder) -> bool {
    let list = DeletionOrder { delete: None, ..order.clone() };
    list == *wanted
}

/// The newest attempt; those before it go.
fn newest<'a, 'b>(attempts: &'b [Attempt<'a>], plan: &mut RetentionPlan) -> Option<&'b Attempt<'a>> {
    let newest = attempts.iter().max_by_key(|attempt| (attempt.failures, attempt.name))?;
    let former = attempts.iter().filter(|attempt| attempt.name != newest.name);
    plan.jobs.deleted.extend(former.map(|attempt| attempt.name.to_owned()));
    Some(newest)
}
