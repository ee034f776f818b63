//! One pass over one Model: observe, plan, apply, report.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, ResourceExt, core::DeserializeGuard, runtime::controller::Action};
use modelwright_api::{
    Model,
    conditions::{Cause, Reason},
};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::{
    Observer, Outcome,
    announcer::Announcer,
    edits::Edits,
    finalizer,
    memory::Written,
    retry::{Attempts, RESYNC, spread, until},
    starts::Starts,
    status,
    trainings::Trainings,
};
use crate::{
    apply::{Applied, Failure, apply},
    clock::Clock,
    error::{Error, ErrorClass, Refusal},
    plan::{Change, DeploymentChange, JobChanges, Plan, plan},
    report::{Announcement, Facts, Report, report},
    settings::Settings,
    stores::{ModelKey, Stores, Triggers},
};

/// Everything that passes need.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) settings: Arc<Settings>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) stores: Stores,
    pub(super) triggers: Triggers,
    pub(super) announcer: Announcer,
    pub(super) edits: Edits,
    pub(super) attempts: Attempts,
    pub(super) written: Written,
    pub(super) starts: Starts,
    pub(super) trainings: Trainings,
    /// The resource versions of Models that could not be read, so that each is said once.
    pub(super) unreadable: Mutex<HashMap<ModelKey, Option<String>>>,
    /// How many passes may run at once, in all namespaces together.
    pub(super) slots: Semaphore,
    pub(super) pass_timeout: Duration,
}

/// How a pass ended that came to its end. Nothing is left to do where the Model, or its namespace, is going away.
#[derive(Debug, Default)]
struct Passed {
    changed: bool,
    /// The classes of what could not be written.
    failures: Vec<ErrorClass>,
    look_again_at: Option<Timestamp>,
}

/// Makes one pass and says when the next is due. It never fails: what fails is in the status, the log and the metrics.
pub(super) async fn reconcile(
    model: Arc<DeserializeGuard<Model>>,
    context: Arc<Context>,
) -> Result<Action, Infallible> {
    let key = ModelKey::of(model.as_ref());
    let Some(turn) = context.triggers.begin(&key) else {
        // It comes back when there is a place for it.
        return Ok(Action::await_change());
    };
    let _slot = context.slots.acquire().await;
    context.observer.waiting(context.triggers.waiting());
    let began = Instant::now();
    let limit = context.pass_timeout;
    let result = match tokio::time::timeout(limit, guarded(&model, &key, &context)).await {
        Ok(result) => result,
        Err(_) => Err(Error::PassTimeout { model: key.clone(), limit }),
    };
    let outcome = match &result {
        Ok(Passed { failures, .. }) if !failures.is_empty() => Outcome::Failed,
        Ok(Passed { changed: true, .. }) => Outcome::Changed,
        Ok(_) => Outcome::Unchanged,
        Err(_) => Outcome::Failed,
    };
    context.observer.passed(outcome, began.elapsed());
    // Somebody else wrote meanwhile: what the user wants has not been looked at yet.
    if turn.edited && matches!(&result, Err(error) if error.class() == ErrorClass::Conflict) {
        context.triggers.edited(&key);
    }
    let pause = context.pause(&key, result);
    debug!(model = %key, ?outcome, ?pause, "pass ended");
    Ok(Action::requeue(pause))
}

async fn guarded(
    model: &DeserializeGuard<Model>,
    key: &ModelKey,
    context: &Context,
) -> Result<Passed, Error> {
    match &model.0 {
        Ok(watched) => match context.written.newest(key, watched) {
            Some(newer) => pass(&newer, key, context).await,
            None => pass(watched, key, context).await,
        },
        Err(invalid) => {
            let message = invalid.error.clone();
            context.complain(
                key,
                invalid.metadata.resource_version.clone(),
                invalid.metadata.uid.clone(),
                &message,
            );
            if let Some(due) = finalizer::unread_goes_at(&invalid.metadata) {
                return context.let_go(&invalid.metadata, key, due).await;
            }
            Err(Error::InvalidModel { model: key.clone(), message })
        }
    }
}

async fn pass(model: &Model, key: &ModelKey, context: &Context) -> Result<Passed, Error> {
    if model.metadata.deletion_timestamp.is_some() {
        // Children go with their owner, and nothing new may be made but what the finalizer waits for.
        return context.finish(model, key).await;
    }
    let unkept = match finalizer::keep(&context.client, model, key).await {
        Ok(None) => None,
        Ok(Some(changed)) => {
            // What was answered counts until the watch shows it.
            context.written.remember(key.clone(), changed);
            context.triggers.edited(key);
            context.triggers.changed(key.clone());
            return Ok(Passed { changed: true, ..Passed::default() });
        }
        // Somebody else wrote meanwhile: there is a newer Model to look at.
        Err(error) if error.class() == ErrorClass::Conflict => return Err(error),
        Err(error) => {
            warn!(model = %key, %error, "deletionPolicy cannot be kept up; all else goes on");
            Some(error.class())
        }
    };
    if let Some(written) = context.written.take_children(key) {
        context.stores.show(&written).await;
    }
    let now = context.clock.now();
    let mut observed = context.stores.observed(&key.namespace, &key.name);
    observed.progress = context.trainings.told(key);
    let plan = plan(model, &observed, &context.settings, now);
    let Some(applied) = apply(&context.client, model, &observed, &plan).await else {
        return Ok(Passed::default());
    };
    context.written.remember_children(key, applied.written.clone());
    let facts = Facts {
        model,
        observed: &observed,
        situation: &plan.situation,
        applied: &applied,
        settings: &context.settings,
        now,
    };
    let mut report = report(&facts);
    context.starts.complete(key, &mut report.status, &observed, &context.triggers);
    let asks = context.trainings.follow(key, &plan.situation, &observed, &context.triggers);
    let later = context.trainings.too_soon(key, model.status.as_ref(), &report.status);
    let wrote = match later {
        Some(_) => false,
        None => match context.write(model, key, &report).await? {
            Status::Gone => return Ok(Passed::default()),
            Status::AsItWas => false,
            Status::Written => true,
        },
    };
    context.observer.reported(key, Some(&report.status));
    let Applied { failures, denials: _, written: _ } = applied;
    if wrote {
        for Failure { child, cause: Cause { reason, message, class: _ } } in &failures {
            warn!(model = %key, child, %reason, message, "not written");
        }
    }
    let failures = failures.iter().map(|failure| class(&failure.cause)).chain(unkept).collect();
    let pauses = asks.into_iter().chain(later).filter_map(|pause| now.checked_add(pause).ok());
    let look_again_at = pauses.chain(plan.look_again_at).min();
    Ok(Passed { changed: wrote || writes(&plan), failures, look_again_at })
}

/// What came of a status.
enum Status {
    AsItWas,
    Written,
    /// Its Model is not there any more.
    Gone,
}

/// Whether a plan has anything to write.
fn writes(plan: &Plan) -> bool {
    let Plan {
        service_account,
        service,
        headless_service,
        disruption_budget,
        network_policy,
        train_service,
        jobs: JobChanges { deleted, created, without_pod: _ },
        deployment,
        replicas,
        autoscaler,
        situation: _,
        look_again_at: _,
    } = plan;
    !matches!(service_account, Change::Keep)
        || !matches!(service, Change::Keep)
        || !matches!(headless_service, Change::Keep)
        || !matches!(disruption_budget, Change::Keep)
        || !matches!(network_policy, Change::Keep)
        || !matches!(train_service, Change::Keep)
        || !deleted.is_empty()
        || created.is_some()
        || !matches!(deployment, DeploymentChange::Keep)
        || replicas.is_some()
        || !matches!(autoscaler, Change::Keep)
}

impl Context {
    /// Does what is next for a Model that is being deleted.
    async fn finish(&self, model: &Model, key: &ModelKey) -> Result<Passed, Error> {
        let now = self.clock.now();
        let observed = self.stores.observed(&key.namespace, &key.name);
        let done = finalizer::finish(&self.client, model, key, &observed, &self.settings, now).await?;
        let finalizer::Finished { changed, announcement, failure, look_again_at } = done;
        if let Some(announcement) = announcement {
            info!(model = %key, reason = announcement.reason, note = announcement.note, "{}", announcement.action);
            self.announcer.announce(key, model.uid(), &announcement);
        }
        Ok(Passed { changed, failures: failure.into_iter().collect(), look_again_at })
    }

    /// Lets a Model go that is being deleted and cannot be read, once it waited as long as any.
    async fn let_go(&self, metadata: &ObjectMeta, key: &ModelKey, due: Timestamp) -> Result<Passed, Error> {
        if self.clock.now() < due {
            return Ok(Passed { look_again_at: Some(due), ..Passed::default() });
        }
        let announcement = finalizer::release_unread(&self.client, metadata, key).await?;
        self.announcer.announce(key, metadata.uid.clone(), &announcement);
        Ok(Passed { changed: true, ..Passed::default() })
    }

    /// Writes the status if it differs, and announces what changed.
    ///
    /// Nothing is announced unless the status was written: then it is a change, and the API server answers.
    async fn write(&self, model: &Model, key: &ModelKey, report: &Report) -> Result<Status, Error> {
        let Report { status, announcements } = report;
        if !status::differs(model.status.as_ref(), status) {
            return Ok(Status::AsItWas);
        }
        let result = status::write(&self.client, model, key, status).await;
        match result {
            Ok(answer) => {
                self.written.remember(key.clone(), answer);
                self.trainings.written(key);
            }
            Err(error) if matches!(Refusal::of(&error), Refusal::NotFound | Refusal::NamespaceGone) => {
                return Ok(Status::Gone);
            }
            Err(source) => {
                let doing = format!("write the status of Model {key}");
                return Err(Error::Request { doing, source: Box::new(source) });
            }
        }
        for announcement in announcements {
            info!(model = %key, reason = announcement.reason, note = announcement.note, "{}", announcement.action);
            self.announcer.announce(key, model.uid(), announcement);
        }
        Ok(Status::Written)
    }

    /// Says once that a Model cannot be read. Its status stays as it is: whoever wrote it knew more.
    fn complain(&self, key: &ModelKey, version: Option<String>, uid: Option<String>, message: &str) {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if unreadable.get(key) == Some(&version) {
            return;
        }
        unreadable.insert(key.clone(), version);
        warn!(model = %key, message, "a Model cannot be read; it is left alone until it changes");
        let note = format!(
            "This version of the operator cannot read the Model, and leaves it alone until it changes: {message}"
        );
        let announcement = Announcement { warning: true, reason: "InvalidSpec".into(), action: "Read", note };
        self.announcer.announce(key, uid, &announcement);
    }

    /// How long to wait before the next pass if nothing changes.
    fn pause(&self, key: &ModelKey, result: Result<Passed, Error>) -> Duration {
        let (failures, look_again_at) = match result {
            Ok(Passed { changed: _, failures, look_again_at }) => {
                if failures.is_empty() {
                    self.attempts.forget(key);
                }
                (failures, look_again_at)
            }
            Err(error) => {
                let class = error.class();
                // Loudly only once: while the API server is away, every Model fails again and again. Somebody else's edit in
                // between is no failure at all.
                let quiet = matches!(error, Error::InvalidModel { .. }) || class == ErrorClass::Conflict;
                if quiet || self.attempts.failing(key) {
                    debug!(model = %key, %error, ?class, "a pass failed");
                } else {
                    warn!(model = %key, %error, ?class, "a pass failed; it is tried again until it works");
                }
                (vec![class], None)
            }
        };
        for class in &failures {
            self.observer.failed(*class);
        }
        // One pause for each Model: that of the class that is tried again first.
        let soonest = failures.into_iter().min_by_key(|class| urgency(*class));
        let retry = soonest.map(|class| self.attempts.failed(key, class, Instant::now()));
        let asked = look_again_at.map(|at| until(at, self.clock.now(), key));
        retry.into_iter().chain(asked).fold(spread(RESYNC, key), Duration::min)
    }

    /// A Model is gone: nothing of it is kept.
    pub(super) fn forget(&self, key: &ModelKey) {
        self.attempts.forget(key);
        self.written.forget(key);
        self.starts.forget(key);
        self.trainings.forget(key);
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.edits.forget(key);
        self.triggers.forget(key);
        self.observer.waiting(self.triggers.waiting());
        self.observer.reported(key, None);
    }
}

/// When a child that could not be written is tried again.
fn class(cause: &Cause) -> ErrorClass {
    // Nothing tells when the object of somebody else goes away.
    if cause.reason == Reason::NameConflict.as_str() { ErrorClass::Wait } else { cause.class.into() }
}

/// Smaller is tried again sooner.
fn urgency(class: ErrorClass) -> u8 {
    match class {
        ErrorClass::Conflict => 0,
        ErrorClass::Transient => 1,
        ErrorClass::Bug => 2,
        ErrorClass::Wait => 3,
        ErrorClass::User => 4,
    }
}
