//! What the containers of one pod suffer from.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodSpec,
};
use modelwright_api::{
    ExitCode, Outcome,
    conditions::{Cause, Class, Reason},
    contract::{self, containers},
};

use super::{Found, Severity, pod, text};

/// The longest text of a command or a kubelet that is passed on, which leaves room for what to do.
const TEXT: usize = 640;
/// A container that was killed for memory this often will be again.
const HOPELESS_KILLS: i32 = 2;

/// The exit code of a training whose result is there already, which is a success.
const PUBLISHED: i32 = ExitCode::AlreadyPublished as i32;
/// Whether a container runs a command of ours, whose words and exit codes mean what the contract says. `train` does, unless an
/// agent stands beside it: then it is the user's.
pub(super) fn is_ours(pod: &Pod, name: &str) -> bool {
    containers::ALL.contains(&name) && !(name == containers::TRAIN && has_agent(pod.spec.as_ref()))
}

/// Whether pods have the sidecar that stands beside a container of the user's.
pub(super) fn has_agent(spec: Option<&PodSpec>) -> bool {
    let inits = spec.and_then(|spec| spec.init_containers.as_ref());
    inits.into_iter().flatten().any(|container| container.name == containers::AGENT)
}

/// Whether a pod belongs to a training.
pub(crate) fn is_training(pod: &Pod) -> bool {
    let role = pod.metadata.labels.as_ref().and_then(|all| all.get(contract::labels::ROLE));
    role.is_some_and(|role| role == contract::labels::ROLE_TRAIN)
}

/// The worst of the containers, those of the beginning first.
pub(super) fn worst(pod: &Pod, now: Timestamp) -> Option<Found> {
    let mut worst: Option<Found> = None;
    for (status, place) in statuses(pod) {
        let Some(mut found) = cause(pod, status, &place, now) else { continue };
        found.container = Some(text::one_line(&status.name, 63));
        // A sidecar ends because what it stands beside does, so of two that failed alike it tells less.
        let said_less = |known: &Found| {
            found.severity == known.severity && known.container.as_deref() == Some(containers::AGENT)
        };
        if worst.as_ref().is_none_or(|known| found.severity > known.severity || said_less(known)) {
            worst = Some(found);
        }
    }
    worst
}

/// Whether no container ran yet.
pub(super) fn none_started(pod: &Pod) -> bool {
    statuses(pod).iter().all(|(status, _)| {
        let state = status.state.as_ref();
        status.restart_count == 0
            && state.is_none_or(|state| state.running.is_none() && state.terminated.is_none())
    })
}

/// Whether every container of the pod passed its startup probe.
pub(super) fn started(pod: &Pod) -> bool {
    let mut statuses =
        pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()).peekable();
    statuses.peek().is_some() && statuses.all(|status| status.started == Some(true))
}

/// The container that keeps its pod from being ready: `serve`, unless another is not and it is.
pub(super) fn unready(pod: &Pod) -> &str {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let names: Vec<_> = statuses.filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
    match names.first() {
        Some(first) if !names.contains(&containers::SERVE) => first,
        _ => containers::SERVE,
    }
}

/// When the last of its containers that ended did.
pub(super) fn last_end(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let ends = all.filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ends.map(|time| time.0).max()
}

/// What the pod's description says of a container.
struct Place<'a> {
    spec: Option<&'a Container>,
    /// Whether it is started again after it ended well.
    restarts: bool,
}

/// The states of all containers in the order in which they start.
fn statuses(pod: &Pod) -> Vec<(&ContainerStatus, Place<'_>)> {
    let Some(status) = &pod.status else { return Vec::new() };
    let spec = pod.spec.as_ref();
    let restarts = spec.and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always") == "Always";
    let inits = spec.map_or(&[][..], |spec| spec.init_containers.as_deref().unwrap_or_default());
    let mains = spec.map_or(&[][..], |spec| &spec.containers);
    let mut all = Vec::new();
    for (init, specs, statuses) in
        [(true, inits, &status.init_container_statuses), (false, mains, &status.container_statuses)]
    {
        let mut of_kind: Vec<(usize, &ContainerStatus, Place<'_>)> = statuses
            .iter()
            .flatten()
            .map(|status| {
                let position = specs.iter().position(|spec| spec.name == status.name);
                let spec = position.and_then(|position| specs.get(position));
                let sidecar = spec.is_some_and(|spec| spec.restart_policy.as_deref() == Some("Always"));
                let place = Place { spec, restarts: sidecar || (!init && restarts) };
                (position.unwrap_or(usize::MAX), status, place)
            })
            .collect();
        of_kind.sort_by_key(|(position, ..)| *position);
        all.extend(of_kind.into_iter().map(|(_, status, place)| (status, place)));
    }
    all
}

fn cause(pod: &Pod, status: &ContainerStatus, place: &Place<'_>, now: Timestamp) -> Option<Found> {
    if status.ready && status.state.as_ref().is_none_or(|state| state.waiting.is_none()) {
        return None;
    }
    let last = || status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = |terminated| ended(pod, status, place, terminated);
    match status.state.as_ref() {
        Some(ContainerState { terminated: Some(terminated), .. }) => ended(terminated),
        Some(ContainerState { waiting: Some(waiting), .. }) => {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or_default();
            cannot_start(status, reason, message).or_else(|| last().and_then(ended))
        }
        Some(ContainerState { running: Some(running), .. }) => {
            let found = last().and_then(ended)?;
            // An old end counts only until the container has run long enough to have recovered from it.
            let since = running.started_at.as_ref().map_or(now, |time| time.0);
            // One that runs once, such as `fetch`, recovers by ending: as long as it runs, it may be waiting for the same.
            let goes_on = place.restarts && status.started == Some(true);
            let recovered = goes_on && now.duration_since(since) > pod::YOUNG;
            (!recovered).then_some(found)
        }
        _ => None,
    }
}

/// What a kubelet says of a failed pull without that it pauses now: it says so every other time, and the status would change each
/// time.
fn pull_error(message: &str) -> &str {
    let pauses = message.strip_prefix("Back-off pulling image ");
    let error = pauses.map_or(message, |rest| rest.split_once("\": ").map_or("", |(_, error)| error));
    error.strip_prefix("ErrImagePull: ").unwrap_or(error)
}

/// What a kubelet waits for, where it says so.
fn cannot_start(status: &ContainerStatus, reason: &str, message: &str) -> Option<Found> {
    let text = text::one_line(pull_error(message), TEXT);
    let (word, said) = match reason {
        "ImagePullBackOff"
        | "ErrImagePull"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            let image = text::one_line(&status.image, 300);
            let said = match reason {
                "ErrImageNeverPull" => {
                    format!("the image {image} is not on the node, and its pull policy is Never")
                }
                "InvalidImageName" => format!("the image {image} has no valid name"),
                _ => format!("the image {image} cannot be pulled"),
            };
            (Reason::ImageUnavailable, said)
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            (Reason::ContainerConfigError, format!("cannot be made ({reason})"))
        }
        _ => return None,
    };
    let mut message = if text.is_empty() { said } else { format!("{said}: {text}") };
    if text.contains("runAsNonRoot") || text.contains("non-root") {
        message += "; build the image with a numeric USER that is not 0, or set securityContext.runAsUser of the container in \
                    podTemplate";
    }
    Some(Found::new(Severity::CannotStart, word, message))
}

/// Why a container ended; `None` if that was as it should be.
fn ended(
    pod: &Pod,
    status: &ContainerStatus,
    place: &Place<'_>,
    terminated: &ContainerStateTerminated,
) -> Option<Found> {
    if terminated.reason.as_deref() == Some("OOMKilled") {
        return Some(out_of_memory(status, place));
    }
    if let Some(found) = too_slow(pod, place, terminated) {
        return Some(found);
    }
    if terminated.exit_code == 0 && !place.restarts {
        return None;
    }
    let ours = is_ours(pod, &status.name);
    let outcome = ours.then(|| terminated.message.as_deref().and_then(Outcome::read)).flatten();
    match outcome {
        // It was told to end, by a probe or a node, and did.
        Some(outcome) if outcome.ok && matches!(terminated.exit_code, 0 | PUBLISHED) => None,
        Some(outcome) if !outcome.ok => Some(reported(pod, status, terminated.exit_code, &outcome)),
        _ => Some(silent(pod, status, ours, terminated)),
    }
}

fn out_of_memory(status: &ContainerStatus, place: &Place<'_>) -> Found {
    let limit = place
        .spec
        .and_then(|spec| spec.resources.as_ref()?.limits.as_ref()?.get("memory"))
        .map(|quantity| text::one_line(&quantity.0, 40));
    let message = match limit {
        Some(limit) => format!(
            "killed because it used more memory than its limit of {limit}; raise {}",
            knob(&status.name)
        ),
        None => format!(
            "killed because its node ran out of memory, and it has no limit; set {}",
            knob(&status.name)
        ),
    };
    let again = status.restart_count >= HOPELESS_KILLS;
    Found::new(if again { Severity::Hopeless } else { Severity::Ended }, Reason::OutOfMemory, message)
}

/// Where a user sets a container's memory.
fn knob(container: &str) -> &'static str {
    match container {
        containers::SERVE => "spec.serving.resources.limits.memory",
        containers::TRAIN => "spec.training.resources.limits.memory",
        _ => "its memory limit in podTemplate",
    }
}

/// A startup probe ended it: it ran as long as the probe allows, and no longer.
fn too_slow(pod: &Pod, place: &Place<'_>, terminated: &ContainerStateTerminated) -> Option<Found> {
    if !matches!(terminated.exit_code, 0 | 137 | 143) {
        return None;
    }
    let probe = place.spec?.startup_probe.as_ref()?;
    let period = i64::from(probe.period_seconds.unwrap_or(10));
    let allowed = i64::from(probe.initial_delay_seconds.unwrap_or(0))
        + period * i64::from(probe.failure_threshold.unwrap_or(3));
    let grace = pod.spec.as_ref()?.termination_grace_period_seconds.unwrap_or(30);
    let ran = terminated.finished_at.as_ref()?.0.duration_since(terminated.started_at.as_ref()?.0);
    let least = SignedDuration::from_secs(allowed - period.max(allowed / 10));
    let most = SignedDuration::from_secs(allowed + grace + 2 * period + 30);
    (least..=most).contains(&ran).then(|| {
        Found::new(
            Severity::Ended,
            Reason::StartupTimeout,
            format!(
                "was not ready within {allowed} s and was ended; raise spec.serving.startupTimeout, or give it more CPU"
            ),
        )
    })
}

/// What a command of ours said.
fn reported(pod: &Pod, status: &ContainerStatus, exit_code: i32, outcome: &Outcome) -> Found {
    let class = class(exit_code);
    let hopeless = class == Class::User && status.name != containers::RESOLVE;
    let text = text::one_line(&outcome.message, TEXT);
    // What is fetched was a good model when it was resolved: bytes that are none are other bytes, like those of another digest.
    let changed = status.name == containers::FETCH
        && !is_training(pod)
        && matches!(ExitCode::from_number(exit_code), Some(ExitCode::DigestMismatch | ExitCode::BadData));
    let cause = if changed {
        let ways_out = format!(
            "put the old bytes back, or accept the new ones with a new value of the annotation {}; spec.source.copyTo \
             prevents it",
            contract::annotations::RESOLVE_AT
        );
        Cause::new(Reason::SourceChanged, format!("the source's bytes changed: {text}; {ways_out}"))
    } else {
        let mut text = if text.is_empty() { format!("ended with exit code {exit_code}") } else { text };
        if outcome.reason == "DiskFull" && !is_training(pod) {
            text += &pod::of_full_disk(pod);
        }
        Cause::reported(&outcome.reason, text, class)
    };
    Found { severity: if hopeless { Severity::Hopeless } else { Severity::Ended }, cause, container: None }
}

/// Whoever must act after a command of ours ended with this code.
pub(super) fn class(exit_code: i32) -> Class {
    match ExitCode::from_number(exit_code).and_then(ExitCode::class) {
        Some(contract::Class::User | contract::Class::Gate) => Class::User,
        Some(contract::Class::Wait) => Class::Wait,
        Some(contract::Class::Transient | contract::Class::Infra) => Class::Transient,
        Some(contract::Class::Reused) => Class::Settled,
        Some(contract::Class::Bug) | None => Class::Bug,
    }
}

/// A container that ended and said nothing that can be read.
fn silent(pod: &Pod, status: &ContainerStatus, ours: bool, terminated: &ContainerStateTerminated) -> Found {
    let code = terminated.exit_code;
    let how = match (code, terminated.signal) {
        (0, _) => "ended by itself, with exit code 0".to_owned(),
        (137, _) | (_, Some(9)) => "was killed (exit code 137), by a liveness probe or its node".to_owned(),
        (143, _) | (_, Some(15)) => {
            "was told to end (exit code 143), by a liveness probe or its node".to_owned()
        }
        _ => format!("ended with exit code {code}"),
    };
    let reason = terminated.reason.as_deref().unwrap_or_default();
    if matches!(reason, "StartError" | "ContainerCannotRun") {
        let text = text::one_line(terminated.message.as_deref().unwrap_or_default(), TEXT);
        return Found::new(
            Severity::CannotStart,
            Reason::ContainerConfigError,
            format!("cannot start: {text}"),
        );
    }
    let message = terminated.message.as_deref().unwrap_or_default();
    // Of a user's training it is the end of its log, whose last line tells most.
    let message = if is_training(pod) && !ours {
        message.trim_end().lines().next_back().unwrap_or_default()
    } else {
        message
    };
    let text = text::one_line(message, 300);
    let said = if text.is_empty() { String::new() } else { format!(", and said: {text}") };
    let logs = format!(
        "see its last lines: kubectl logs {} -c {}",
        pod::name(pod),
        text::one_line(&status.name, 63)
    );
    let previous = if status.restart_count > 0 { " --previous" } else { "" };
    let mut found =
        Found::new(Severity::Ended, Reason::ContainerFailed, format!("{how}{said}; {logs}{previous}"));
    // What a user's program says by these codes of its settings and its data, no further attempt changes.
    if is_training(pod) && !ours && matches!(code, 64 | 65) {
        found.cause.class = Class::User;
    }
    // A code of the contract says who must act even where the words are lost.
    if ours && ExitCode::from_number(code).is_some_and(|code| code.number() < 128 && code != ExitCode::Done) {
        found.cause.class = class(code);
        if found.cause.class == Class::User && status.name != containers::RESOLVE {
            found.severity = Severity::Hopeless;
        }
    }
    found
}
