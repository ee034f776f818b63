//! What a status says of the training: its phase and numbers, and one sentence that does not change by itself.

use std::borrow::Cow;

use modelwright_api::{
    ModelStatus,
    conditions::{Cause, Reason},
    contract::names::revision_id,
    status::{Metrics, TrainingPhase, TrainingStatus},
    training::{Training, progress::TrainingProgress},
};

use super::{Facts, revisions, standing};
use crate::{
    causes::text,
    observe::Progress,
    plan::training::{Trained, TrainingSituation, TrainingState},
};

/// Which metric is shown where a gate names none: the first of these that was measured. The metrics that decide come first:
/// accuracy for classes and R² for numbers.
pub const DECIDING_METRICS: [&str; 11] = [
    "valAccuracy",
    "valR2",
    "valF1",
    "valRocAuc",
    "valPrecision",
    "valRecall",
    "valLogLoss",
    "valRmse",
    "valMae",
    "valMse",
    "valLoss",
];
/// The most metrics of a status.
const MOST_METRICS: usize = 32;
/// The longest name of a metric.
const MOST_NAME: usize = 64;
/// The longest digest: `sha256:` and 64 digits.
const MOST_DIGEST: usize = 71;
/// The longest name of a Job.
const MOST_JOB: usize = 63;
/// The longest text about progress that cannot be read, so that the sentence before it stays whole.
const MOST_FAILURE: usize = 200;

/// Where a training stands, as a word and a sentence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage {
    pub(super) phase: Option<TrainingPhase>,
    pub(super) reason: Cow<'static, str>,
    pub(super) message: String,
}

impl Stage {
    fn new(phase: Option<TrainingPhase>, reason: Reason, message: String) -> Self {
        Self { phase, reason: Cow::Borrowed(reason.as_str()), message }
    }

    fn caused(phase: TrainingPhase, cause: &Cause, message: String) -> Self {
        Self { phase: Some(phase), reason: cause.reason.clone(), message }
    }
}

/// Where it stands; `None` for a Model that is not trained.
pub(super) fn stage(facts: &Facts<'_>) -> Option<Stage> {
    let spec = facts.model.spec.training.as_ref()?;
    let Some(found) = &facts.situation.training else { return Some(as_known(facts)) };
    let job = found.job.as_deref().unwrap_or("the Job");
    Some(match &found.state {
        TrainingState::Idle => idle(facts, spec, found),
        TrainingState::Queued => {
            let queue = spec.queue.as_deref().map_or_else(String::new, |queue| format!(" {queue}"));
            let message = format!("Job {job} waits until its queue{queue} admits it");
            Stage::new(Some(TrainingPhase::Queued), Reason::Queued, message)
        }
        TrainingState::Running { phase, held_up } => {
            let attempt =
                if found.attempt > 1 { format!(", attempt {}", found.attempt) } else { String::new() };
            let message = format!("Job {job} trains{attempt}");
            match held_up_by(facts, found.job.as_deref(), held_up.as_ref()) {
                Some(cause) => Stage::caused(*phase, cause, format!("{message}; {}", cause.message)),
                None => Stage::new(Some(*phase), Reason::Training, message),
            }
        }
        TrainingState::Retrying { cause, at } => {
            let preempted = cause.reason == Reason::TrainingPreempted.as_str();
            let how = if preempted { "was interrupted" } else { "failed" };
            let attempt = found.attempt.max(1);
            let message =
                format!("attempt {attempt} (Job {job}) {how}: {}; tried again at {at}", cause.message);
            Stage::caused(TrainingPhase::Failed, cause, message)
        }
        TrainingState::Failed { cause } => {
            let told = cause.message.contains(job);
            let message = if told { cause.message.clone() } else { format!("Job {job}: {}", cause.message) };
            Stage::caused(TrainingPhase::Failed, cause, message)
        }
    })
}

/// What keeps the pods of a training from starting.
pub(super) fn held_up_by<'a>(
    facts: &Facts<'a>,
    job: Option<&str>,
    found: Option<&'a Cause>,
) -> Option<&'a Cause> {
    job.and_then(|job| facts.applied.denials.get(job)).or(found)
}

/// Of a spec that cannot be carried out: what was known.
fn as_known(facts: &Facts<'_>) -> Stage {
    let known = facts.model.status.as_ref().and_then(|status| status.training.as_ref());
    let known = known.and_then(|known| {
        let reason = Cow::Owned(known.reason.clone()?);
        Some(Stage { phase: known.phase, reason, message: known.message.clone().unwrap_or_default() })
    });
    known.unwrap_or_else(|| Stage::new(None, Reason::Training, "nothing was trained yet".to_owned()))
}

/// Of a training that is done, or not begun.
fn idle(facts: &Facts<'_>, spec: &Training, found: &TrainingSituation) -> Stage {
    let failed = |what: &str, cause: &Option<Cause>| {
        cause.as_ref().map_or_else(String::new, |cause| format!("; {what} failed: {}", cause.message))
    };
    let look = failed("looking whether the data changed", &found.look_failed)
        + &failed("deleting revisions that are too many", &found.retention_failed);
    let Some(newest) = &found.newest else {
        let (reason, message) = match (facts.model.spec.suspend, &found.look_failed) {
            (Some(true), _) => (Reason::Suspended, "spec.suspend is true: nothing is trained"),
            (_, _) => (Reason::Training, "a training is about to begin"),
        };
        return Stage::new(None, reason, format!("{message}{look}"));
    };
    let id = revision_id(&newest.revision.digest);
    if let Some(cause) = &newest.refused {
        return Stage::caused(TrainingPhase::Refused, cause, refusal(newest, cause) + &look);
    }
    let measured = metric(spec, &revisions::metrics(facts, &newest.revision.digest))
        .map_or_else(String::new, |metric| format!(", {metric}"));
    let succeeded = Some(TrainingPhase::Succeeded);
    if newest.needs_approval {
        let message = format!(
            "revision {id}{measured}, passed the gate and waits for approval: write it as spec.rollout.revision to serve it"
        );
        return Stage::new(succeeded, Reason::ApprovalRequired, message + &look);
    }
    let (reason, what) = if newest.reused {
        (Reason::Reused, "nothing was trained: of the same data and settings there is")
    } else {
        (Reason::Trained, "the training gave")
    };
    Stage::new(succeeded, reason, format!("{what} revision {id}{measured}{look}"))
}

/// That the gate refused a revision, with what it says: the numbers are in there.
fn refusal(newest: &Trained, cause: &Cause) -> String {
    let id = revision_id(&newest.revision.digest);
    format!("the gate refused revision {id}: {}", cause.message)
}

/// `status.training`.
pub(super) fn training(facts: &Facts<'_>) -> Option<TrainingStatus> {
    let spec = facts.model.spec.training.as_ref()?;
    let known = facts.model.status.as_ref().and_then(|status| status.training.clone());
    let Some(found) = &facts.situation.training else { return known };
    let stage = stage(facts)?;
    let progress = progress(facts, found);
    let told = progress.and_then(|progress| progress.told.as_ref());
    let newest = found.newest.as_ref();
    let running = told.map(|told| measured(&told.metrics)).filter(|metrics| !metrics.is_empty());
    let metrics = running
        .or_else(|| newest.map(|newest| revisions::metrics(facts, &newest.revision.digest)))
        .unwrap_or_default();
    let message = match progress.and_then(|progress| progress.failure.as_deref()) {
        Some(failure) => {
            format!("{}; progress cannot be read: {}", stage.message, text::one_line(failure, MOST_FAILURE))
        }
        None => stage.message.clone(),
    };
    let look_failed = known.as_ref().and_then(|known| known.look_failed.as_ref());
    let look_failed = standing::look_failed(facts, found.looking, look_failed);
    let done = matches!(found.state, TrainingState::Idle) && newest.is_some();
    Some(TrainingStatus {
        phase: stage.phase,
        trained_from: if done {
            Some(found.trained_from.clone()).filter(|hash| !hash.is_empty())
        } else {
            known.and_then(|known| known.trained_from)
        },
        job: found.job.as_deref().map(|job| text::one_line(job, MOST_JOB)),
        attempt: i32::try_from(found.attempt).ok().filter(|attempt| *attempt > 0),
        started_at: found.started_at.map(|time| time.to_string()),
        next_at: match &found.state {
            TrainingState::Retrying { at, .. } => Some(at.to_string()),
            _ => found.next_at.map(|time| time.to_string()),
        },
        progress_percent: told.and_then(percent),
        epoch: told.and_then(epoch),
        eta_seconds: told.and_then(eta),
        metric: metric(spec, &metrics),
        metrics,
        baseline: newest.map(|newest| measured(&newest.baseline)).unwrap_or_default(),
        inputs_digest: newest.and_then(|newest| newest.inputs_digest.as_deref()).map(digest),
        revision: newest.map(|newest| digest(&newest.revision.digest)),
        passed: newest.map(|newest| newest.refused.is_none()),
        fingerprint: found.fingerprint.as_deref().map(digest),
        // Without polling nobody looks again, and a time would be written for nothing.
        checked_at: found
            .checked_at
            .filter(|_| spec.data.poll_interval.is_some())
            .map(|time| time.to_string()),
        look_failed,
        reason: Some(stage.reason.into_owned()),
        message: Some(text::one_line(&message, text::MAX_MESSAGE_BYTES)),
    })
}

/// A digest that a pod told, no longer than a status takes it: an API server would refuse all of the status.
fn digest(told: &str) -> String {
    text::one_line(told, MOST_DIGEST)
}

/// What the running training told; nothing of one that ended.
fn progress<'a>(facts: &Facts<'a>, found: &TrainingSituation) -> Option<&'a Progress> {
    let running = matches!(found.state, TrainingState::Running { .. });
    facts.observed.progress.as_ref().filter(|told| running && Some(&told.job) == found.job.as_ref())
}

/// Whether nothing changed but what a running training tells of itself.
pub fn differs_in_progress_alone(before: &ModelStatus, after: &ModelStatus) -> bool {
    let (Some(old), Some(new)) = (&before.training, &after.training) else { return false };
    let as_before = TrainingStatus {
        progress_percent: old.progress_percent,
        epoch: old.epoch,
        eta_seconds: old.eta_seconds,
        metric: old.metric.clone(),
        metrics: old.metrics.clone(),
        message: old.message.clone(),
        ..new.clone()
    };
    before != after
        && as_before == *old
        && ModelStatus { training: Some(as_before), ..after.clone() } == *before
}

fn percent(told: &TrainingProgress) -> Option<i32> {
    told.progress_percent.map(|percent| i32::from(percent).clamp(0, 100))
}

fn epoch(told: &TrainingProgress) -> Option<i64> {
    told.epoch.and_then(|epoch| i64::try_from(epoch).ok())
}

fn eta(told: &TrainingProgress) -> Option<i64> {
    told.eta_seconds.and_then(|seconds| i64::try_from(seconds).ok())
}

/// Metrics as a status holds them. Their names are those of a container of the user's: short words, and not many.
pub(super) fn measured(metrics: &Metrics) -> Metrics {
    let word = |name: &str| {
        !name.is_empty()
            && name.len() <= MOST_NAME
            && name.chars().all(|character| character.is_ascii_alphanumeric() || "._-/".contains(character))
    };
    let fit = metrics.iter().filter(|(name, value)| word(name) && value.is_finite());
    fit.take(MOST_METRICS).map(|(name, value)| (name.clone(), *value)).collect()
}

/// The metric for people, such as `valAccuracy 0.978`: the first that the gate requires, else the first of
/// [`DECIDING_METRICS`] that was measured, else the first by name, those of validation rows before others.
pub(super) fn metric(spec: &Training, metrics: &Metrics) -> Option<String> {
    let required = spec.gate.iter().flat_map(|gate| &gate.require).map(|require| require.metric.as_str());
    let named = required.take(1).chain(DECIDING_METRICS).find_map(|name| metrics.get_key_value(name));
    let of_validation = || metrics.iter().find(|(name, _)| name.starts_with("val"));
    let (name, value) = named.or_else(of_validation).or_else(|| metrics.iter().next())?;
    Some(format!("{name} {}", significant(*value)))
}

/// A number with four significant digits.
fn significant(value: f64) -> String {
    const DIGITS: i32 = 4;
    if value == 0.0 {
        return "0".to_owned();
    }
    #[allow(clippy::cast_possible_truncation, reason = "the logarithm of a finite number is below 400")]
    let magnitude = value.abs().log10().floor() as i32;
    if !(-4..=8).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = usize::try_from(DIGITS - 1 - magnitude).unwrap_or_default();
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use modelwright_api::training::{Gate, Requirement};
    use rstest::rstest;

    use super::*;

    fn metrics(pairs: &[(&str, f64)]) -> Metrics {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[rstest]
    #[case(0.0, "0")]
    #[case(0.978, "0.978")]
    #[case(0.982_456, "0.9825")]
    #[case(1.0, "1")]
    #[case(-0.05, "-0.05")]
    #[case(12_345.678, "12346")]
    #[case(0.000_012_34, "1.234e-5")]
    #[case(1.5e12, "1.500e12")]
    fn numbers_have_four_significant_digits(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(significant(value), expected);
    }

    #[rstest]
    #[case::required("valRecall", &[("valAccuracy", 0.9), ("valRecall", 0.8)], "valRecall 0.8")]
    #[case::required_of_test_rows("testRmse", &[("valR2", 0.9), ("testRmse", 3.25)], "testRmse 3.25")]
    #[case::required_and_not_measured("testRecall", &[("valAccuracy", 0.9), ("valF1", 0.8)], "valAccuracy 0.9")]
    #[case::classes("", &[("valAccuracy", 0.9), ("valF1", 0.8), ("valLoss", 0.2)], "valAccuracy 0.9")]
    #[case::numbers("", &[("valMae", 2.0), ("valR2", 0.7)], "valR2 0.7")]
    #[case::only_loss("", &[("loss", 0.1), ("valLoss", 0.2)], "valLoss 0.2")]
    #[case::of_the_users("", &[("auc", 0.1), ("valQuality", 0.2)], "valQuality 0.2")]
    #[case::of_the_users_without_rows("", &[("auc", 0.1), ("zeta", 0.2)], "auc 0.1")]
    fn metric_for_people_is_what_the_gate_names_or_what_decides(
        #[case] required: &str,
        #[case] measured: &[(&str, f64)],
        #[case] expected: &str,
    ) {
        let require = Requirement { metric: required.to_owned(), ..Requirement::default() };
        let gate = Gate { require: vec![require], ..Gate::default() };
        let gate = Some(gate).filter(|_| !required.is_empty());
        let spec = Training { gate, ..Training::default() };
        assert_eq!(metric(&spec, &metrics(measured)).as_deref(), Some(expected));
        assert_eq!(metric(&spec, &Metrics::new()), None);
    }

    #[test]
    fn metrics_of_a_users_container_are_bounded_words_and_numbers() {
        let mut many: Metrics = (0..50).map(|number| (format!("m{number:02}"), 1.0)).collect();
        many.insert("\u{1b}[31m".to_owned(), 1.0);
        many.insert("a".repeat(65), 1.0);
        many.insert("aNan".to_owned(), f64::NAN);
        let kept = measured(&many);
        assert_eq!((kept.len(), kept.keys().next().unwrap().as_str()), (32, "m00"));
    }
}
