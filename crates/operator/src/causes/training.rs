//! How far a Job is that trains: what its containers said, and where nothing is left of them, what its condition kept.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::{Job, JobCondition},
    core::v1::{ContainerState, ContainerStateTerminated, Pod},
};
use modelwright_api::{
    ExitCode, Outcome,
    conditions::{Cause, Class, Reason},
    contract::{containers, labels::POD_INDEX},
    status::TrainingPhase,
};

use super::{container, job, pod, text, worst};

/// How far a Job is that trains.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainingJob {
    /// Its queue did not admit it yet.
    Queued,
    /// It has no pod yet.
    WithoutPod,
    /// Its pods have not ended.
    Active {
        /// What its containers are doing.
        phase: TrainingPhase,
        /// What keeps it from starting, if anything does.
        held_up: Option<Cause>,
    },
    /// It gave a revision, or found that there is one already.
    Trained {
        /// What was said; it has a digest.
        outcome: Box<Outcome>,
        /// Why the gate refused the revision, if it did.
        refused: Option<Cause>,
    },
    /// It failed.
    Failed(Cause),
}

/// What the containers of a training do, in the order in which they start.
const PHASES: [(&str, TrainingPhase); 4] = [
    (containers::FETCH, TrainingPhase::Fetching),
    (containers::TRAIN, TrainingPhase::Training),
    (containers::CHECK, TrainingPhase::Checking),
    (containers::PUBLISH, TrainingPhase::Publishing),
];
/// Where several pods train, all but the first have nothing to publish, and say so.
const NOT_FIRST: &str = "NotFirst";
/// What the condition of a Job says where a pod was drained, evicted or preempted.
const DISRUPTED: &str = "condition DisruptionTarget";

/// How far it is, from itself and its pods.
pub(super) fn state<'a>(job: &Job, pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> TrainingJob {
    let mut pods: Vec<&Pod> = pods.into_iter().filter(|pod| job::controls(job, pod)).collect();
    pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod::name(pod)));
    let told = pods.iter().find_map(|pod| revision(pod));
    // What a gang trained counts once every pod of it ended well. That its gate refused it, or that there was nothing to train, the
    // first says for all.
    let waits = told.as_ref().is_some_and(Told::is_fresh) && !is_complete(job, &pods);
    if let Some(Told { outcome, refused, .. }) = told.filter(|_| !waits) {
        return TrainingJob::Trained { outcome: Box::new(outcome), refused };
    }
    let live: Vec<&Pod> = pods.iter().copied().filter(|pod| !pod::has_ended(pod)).collect();
    let held_up = held_up(&live, now);
    if let Some(end) = job::ending(job).filter(|end| end.reason.as_deref() == Some("DeadlineExceeded")) {
        return TrainingJob::Failed(too_slow(job, end, &live, held_up));
    }
    // Of several pods that ended, the one that was not merely ended because of another tells why.
    let mut failures: Vec<Cause> = pods.iter().filter_map(|pod| failure(pod, now)).collect();
    failures.sort_by_key(|cause| cause.reason == Reason::TrainingPreempted.as_str());
    if let Some(cause) = failures.into_iter().next() {
        // The steps of the others fail when one is gone, and `torchrun` then ends with code 1 everywhere.
        let lost = lost_of_several(job, &pods).filter(|_| cause.class != Class::User);
        return TrainingJob::Failed(lost.unwrap_or(cause));
    }
    if let Some(end) = job::finished(job) {
        if let Some(lost) = lost_of_several(job, &pods) {
            return TrainingJob::Failed(lost);
        }
        let silent = pods.first().filter(|_| end.type_ == "Complete");
        return TrainingJob::Failed(silent.map_or_else(|| without_pod(job, end), |pod| without_words(pod)));
    }
    if waits {
        return TrainingJob::Active { phase: TrainingPhase::Publishing, held_up };
    }
    let active = job.status.as_ref().and_then(|status| status.active).unwrap_or_default();
    match (live.first(), is_suspended(job)) {
        (None, true) => TrainingJob::Queued,
        (None, false) if active == 0 => TrainingJob::WithoutPod,
        (first, _) => {
            TrainingJob::Active { phase: first.map_or(TrainingPhase::Starting, |pod| phase(pod)), held_up }
        }
    }
}

fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true))
}

/// What keeps the pods from getting on. One in which a container failed does not: until its sidecar has ended, too, it is not known
/// what that meant, and a reason that is another a moment later helps nobody.
fn held_up(live: &[&Pod], now: Timestamp) -> Option<Cause> {
    let is_disrupted =
        |pod: &Pod| pod::condition(pod, "DisruptionTarget").is_some_and(|told| told.status == "True");
    let ends = |pod: &Pod| !is_disrupted(pod) && terminated(pod).any(|(_, ended)| ended.exit_code != 0);
    let judged: Vec<&Pod> = live.iter().copied().filter(|pod| !ends(pod)).collect();
    worst(&judged, now).map(|found| as_preempted(found.cause))
}

/// That the node gives a training's pod up is an interruption, as it is when the pod has ended.
fn as_preempted(cause: Cause) -> Cause {
    if cause.reason == Reason::Evicted.as_str() {
        return Cause::new(Reason::TrainingPreempted, cause.message);
    }
    cause
}

/// Whether every pod of a gang ended well; of a Job with one pod, always. The Job's own word counts, too, which follows its success
/// policy if it has one.
fn is_complete(job: &Job, pods: &[&Pod]) -> bool {
    let spec = job.spec.as_ref().filter(|spec| spec.completion_mode.as_deref() == Some("Indexed"));
    let Some(size) = spec.and_then(|spec| spec.completions).filter(|size| *size > 1) else { return true };
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut said = conditions.filter(|condition| condition.status == "True");
    if said.any(|condition| matches!(condition.type_.as_str(), "SuccessCriteriaMet" | "Complete")) {
        return true;
    }
    let succeeded = pods.iter().filter(|pod| pod::has_succeeded(pod));
    let ranks: BTreeSet<&String> =
        succeeded.filter_map(|pod| pod.metadata.labels.as_ref()?.get(POD_INDEX)).collect();
    i32::try_from(ranks.len()).is_ok_and(|count| count >= size)
}

/// What a pod tells of a revision.
struct Told {
    outcome: Outcome,
    /// Why the gate refused it, if it did.
    refused: Option<Cause>,
    /// Whether it was there before, so that nothing was trained.
    reused: bool,
}

impl Told {
    /// Whether it was trained just now, and the gate let it pass.
    const fn is_fresh(&self) -> bool {
        !self.reused && self.refused.is_none()
    }
}

/// The revision that a pod tells of, and why the gate refused it.
fn revision(pod: &Pod) -> Option<Told> {
    terminated(pod).filter(|(name, _)| container::is_ours(pod, name)).find_map(|(name, terminated)| {
        let outcome = Outcome::read(terminated.message.as_deref()?)?;
        let has_digest = outcome.digest.is_some() && outcome.reason != NOT_FIRST;
        let ended = ExitCode::from_number(terminated.exit_code);
        match ended.filter(|_| has_digest)? {
            // That data was fetched is no revision, whatever digest it tells.
            ExitCode::Done if outcome.ok && name != containers::FETCH => {
                Some(Told { outcome, refused: None, reused: false })
            }
            ExitCode::AlreadyPublished => Some(Told { outcome, refused: None, reused: true }),
            ExitCode::Refused => {
                let said = text::one_line(&outcome.message, text::MAX_MESSAGE_BYTES);
                let refused = Cause::reported(&outcome.reason, said, Class::User);
                Some(Told { outcome, refused: Some(refused), reused: false })
            }
            _ => None,
        }
    })
}

/// The containers of a training that ended.
fn terminated(pod: &Pod) -> impl Iterator<Item = (&str, &ContainerStateTerminated)> {
    let status = pod.status.iter();
    let all = status.flat_map(|status| {
        [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten()
    });
    all.filter_map(|status| {
        let ended = status.state.as_ref()?.terminated.as_ref()?;
        PHASES.iter().any(|(name, _)| *name == status.name).then_some((status.name.as_str(), ended))
    })
}

/// Why a pod failed, if it did.
fn failure(pod: &Pod, now: Timestamp) -> Option<Cause> {
    // Until it has ended, its agent may still bring a checkpoint out.
    if !pod::has_ended(pod) {
        return None;
    }
    let bad = terminated(pod).find(|(_, ended)| ended.exit_code != 0);
    if bad.is_none() && pod::cause(pod, now).is_none() {
        // It ended well, and others may still train.
        return None;
    }
    let name = pod::name(pod);
    let found = pod::cause(pod, now).map(|found| found.placed(name).cause);
    match found {
        Some(cause) if cause.reason == Reason::Evicted.as_str() => Some(as_preempted(cause)),
        // What was killed for memory ends its pod with any code.
        Some(cause) if cause.reason == Reason::OutOfMemory.as_str() => Some(cause),
        _ if bad.is_some_and(|(_, ended)| is_told_to_end(ended)) => {
            Some(preempted(&format!("pod {name}: was told to end")))
        }
        _ if bad.is_some_and(|(_, ended)| is_taken_away(pod, ended)) => Some(taken_away(name)),
        found => found.or_else(|| Some(without_words(pod))),
    }
}

/// It ended well, as far as exit codes go, and said nothing that can be read.
fn without_words(pod: &Pod) -> Cause {
    let name = pod::name(pod);
    let message = format!(
        "pod {name}: ended and left no outcome; check that the image is Modelwright's, and see: kubectl logs {name} \
         --all-containers"
    );
    Cause::new(Reason::ContainerFailed, message)
}

fn is_told_to_end(ended: &ContainerStateTerminated) -> bool {
    ended.exit_code == i32::from(ExitCode::Preempted.number())
}

/// Whether it ended because somebody deleted its pod. Many programs then end with a code of their own, `torchrun` with 1.
fn is_taken_away(pod: &Pod, ended: &ContainerStateTerminated) -> bool {
    let (Some(gone_by), Some(finished)) = (&pod.metadata.deletion_timestamp, &ended.finished_at) else {
        return false;
    };
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    let deleted = gone_by.0.checked_sub(SignedDuration::from_secs(grace)).unwrap_or(gone_by.0);
    // What was killed for memory is known by its reason, not by this code.
    let is_foreign = matches!(ExitCode::from_number(ended.exit_code), None | Some(ExitCode::OutOfMemory));
    deleted <= finished.0 && is_foreign
}

/// Of several pods that train together, the loss of the one that ended first. A pod that failed by itself stays; one that is
/// not there any more was taken away.
fn lost_of_several(job: &Job, pods: &[&Pod]) -> Option<Cause> {
    job.spec.as_ref()?.completions.filter(|pods| *pods > 1)?;
    let said = job::ending(job)?.message.as_deref()?;
    let lost = said.split_whitespace().find_map(|word| word.split_once('/')).map(|(_, pod)| pod)?;
    let is_gone = !pods.iter().any(|pod| pod::name(pod) == lost);
    (is_gone || said.contains(DISRUPTED)).then(|| taken_away(lost))
}

fn taken_away(pod: &str) -> Cause {
    let message = format!("pod {pod}: was taken away; the next attempt goes on from the checkpoint");
    Cause::new(Reason::TrainingPreempted, message)
}

fn preempted(what: &str) -> Cause {
    let message = format!("{what} (exit code 143); the next attempt goes on from its checkpoint");
    Cause::new(Reason::TrainingPreempted, message)
}

/// Time ran out. What kept the pod from starting is the reason, if anything did.
fn too_slow(job: &Job, end: &JobCondition, live: &[&Pod], held_up: Option<Cause>) -> Cause {
    let begun = live.iter().any(|pod| phase(pod) != TrainingPhase::Starting);
    if let Some(held_up) = held_up.filter(|_| !begun) {
        return held_up;
    }
    let seconds = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let within = seconds.map_or_else(
        || text::one_line(end.message.as_deref().unwrap_or_default(), 200),
        |seconds| format!("did not end within {seconds} s"),
    );
    let message = format!(
        "Job {}: {within} (spec.training.deadline); raise it, or give the training more CPU",
        job.metadata.name.as_deref().unwrap_or_default()
    );
    Cause::new(Reason::TrainingDeadlineExceeded, message)
}

/// It ended, and no pod is left that says how. The condition keeps the container and its exit code.
fn without_pod(job: &Job, end: &JobCondition) -> Cause {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let said = end.message.as_deref().unwrap_or_default();
    let place = |text: &str| format!("Job {name}: {text}");
    if said.contains(DISRUPTED) {
        let message =
            place("its pod was removed from its node; the next attempt goes on from its checkpoint");
        return Cause::new(Reason::TrainingPreempted, message);
    }
    let Some((container, code)) = failed_container(said) else { return job::without_words(job, end) };
    let container = text::one_line(container, 63);
    let ours = container != containers::TRAIN
        || !container::has_agent(job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()));
    match ExitCode::from_number(code) {
        Some(ExitCode::Preempted) => preempted(&place("its pod was told to end")),
        // What it said is lost with its pod; the store remembers, and the next attempt is told.
        Some(ExitCode::Done | ExitCode::Refused | ExitCode::AlreadyPublished) if ours => {
            job::without_words(job, end)
        }
        _ => {
            let message = place(&format!(
                "container {container} ended with exit code {code}, and its pod was gone before its words were read"
            ));
            let mut cause = Cause::new(Reason::ContainerFailed, message);
            if ours && code < 128 {
                cause.class = container::class(code);
            }
            cause
        }
    }
}

/// Reads `Container train for pod demo/p failed with exit code 3 matching FailJob rule at index 1`.
fn failed_container(said: &str) -> Option<(&str, i32)> {
    let container = said.strip_prefix("Container ")?.split(' ').next()?;
    let code = said.split_once("exit code ")?.1.split(' ').next()?;
    Some((container, code.parse().ok()?))
}

/// What a pod is doing: the last of its containers that began.
fn phase(pod: &Pod) -> TrainingPhase {
    let status = pod.status.iter();
    let all: Vec<_> = status
        .flat_map(|status| {
            [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten()
        })
        .collect();
    let running = PHASES.iter().rev().find(|(name, _)| {
        let mut of_name = all.iter().filter(|status| status.name == *name);
        of_name.any(|status| {
            matches!(&status.state, Some(ContainerState { running: Some(_), .. }))
                || matches!(&status.state, Some(ContainerState { terminated: Some(_), .. }))
        })
    });
    running.map_or(TrainingPhase::Starting, |(_, phase)| *phase)
}
