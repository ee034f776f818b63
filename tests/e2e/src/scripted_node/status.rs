//! The status of a pod at a time, in the words of the kubelet (1.37). Pure: time is an argument.
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodIP, PodSpec, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;

use super::{
    conditions,
    course::{Course, Start},
    life::{CRASH_LOOP, Ended, Kind, Life, State},
    script::PodScript,
};

/// A container writes at most so many bytes, of which the kubelet reads the last.
const MESSAGE_OF_CONTAINER: usize = 4096;
/// The messages of a pod share so many bytes equally; the first of each are kept.
const MESSAGES_OF_POD: usize = 12 * 1024;

/// What a pod's status depends on, apart from the time.
pub(super) struct Situation<'a> {
    /// As the API server has it.
    pub(super) pod: &'a Pod,
    pub(super) script: &'a PodScript,
    /// The status when the script took effect.
    pub(super) before: &'a PodStatus,
    /// When that was.
    pub(super) since: Timestamp,
    /// When the node saw that the pod is to be deleted.
    pub(super) deleted: Option<Timestamp>,
    /// The status reported last: conditions keep their times.
    pub(super) reported: &'a PodStatus,
    pub(super) host_ip: &'a str,
    pub(super) pod_ip: &'a str,
}

/// The status of a pod and what comes next.
#[derive(Debug)]
pub(super) struct Outlook {
    /// Only what a kubelet owns: conditions of others are not in it.
    pub(super) status: PodStatus,
    /// When the status changes next by itself, counted like `elapsed`.
    pub(super) next: Option<Duration>,
    /// The pod was to be deleted and no container runs any more: the node removes the object.
    pub(super) finished: bool,
}

/// The pod's status so long after the script took effect.
pub(super) fn status(situation: &Situation<'_>, elapsed: Duration) -> Outlook {
    let Situation { pod, before, .. } = situation;
    let over = matches!(before.phase.as_deref(), Some("Succeeded" | "Failed"));
    let Some(spec) = pod.spec.as_ref().filter(|_| !over) else {
        return Outlook {
            status: PodStatus::clone(before),
            next: None,
            finished: situation.deleted.is_some(),
        };
    };
    let grace = pod.metadata.deletion_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let start = Start {
        spec,
        script: situation.script,
        before,
        since: situation.since,
        deleted: situation.deleted.map(|at| (at, Duration::from_secs(grace.unwrap_or(0)))),
    };
    let now = super::life::later(situation.since, elapsed);
    let course = Course::at(now, &start);
    let next =
        course.next.map(|next| Duration::try_from(next.duration_since(situation.since)).unwrap_or_default());
    Outlook { finished: course.finished, next, status: report(situation, spec, &course) }
}

fn report(situation: &Situation<'_>, spec: &PodSpec, course: &Course<'_>) -> PodStatus {
    let pod = situation.pod;
    let limit = MESSAGES_OF_POD / course.lives.len().max(1);
    let of = |main: bool| -> Vec<ContainerStatus> {
        let lives = course.lives.iter().filter(|life| (life.kind == Kind::Main) == main);
        lives.map(|life| container_status(pod, life, course, limit)).collect()
    };
    let (inits, mut mains) = (of(false), of(true));
    mains.sort_by(|a, b| a.name.cmp(&b.name));
    let phase = phase(spec, course);
    let (reason, message) =
        course.failure.as_ref().map(|failure| (failure.reason.to_owned(), failure.message.clone())).unzip();
    let ip = course.sandbox.then(|| situation.pod_ip.to_owned());
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        reason,
        message,
        host_ip: Some(situation.host_ip.to_owned()),
        host_ips: Some(vec![HostIP { ip: situation.host_ip.to_owned() }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        start_time: Some(situation.before.start_time.clone().unwrap_or(Time(situation.since))),
        qos_class: situation.before.qos_class.clone(),
        observed_generation: pod.metadata.generation,
        init_container_statuses: (!inits.is_empty()).then_some(inits),
        container_statuses: Some(mains),
        ..PodStatus::default()
    };
    status.conditions = Some(conditions::of(situation, spec, course, &status));
    status
}

/// The kubelet's `getPhase`, with what it does to a pod that it ends.
fn phase(spec: &PodSpec, course: &Course<'_>) -> &'static str {
    if course.failure.is_some() {
        return "Failed";
    }
    let of = |kind| course.lives.iter().filter(move |life: &&Life<'_>| life.kind == kind);
    if of(Kind::Init).any(|life| life.over() && !life.succeeded()) {
        return "Failed";
    }
    let has_run =
        of(Kind::Main).any(|life| life.restarts > 0 || !matches!(life.state, State::Waiting { .. }));
    let waits = |life: &Life<'_>| matches!(life.state, State::Waiting { .. }) && life.before.is_none();
    let initializing = of(Kind::Init).any(|life| !life.succeeded() && (waits(life) || life.running()))
        || of(Kind::Sidecar)
            .any(|life| waits(life) || (life.running() && !has_run && !life.started(course.now)));
    let running = course.lives.iter().any(|life| life.kind != Kind::Init && life.running());
    if !course.finished && (initializing || of(Kind::Main).any(waits)) {
        return "Pending";
    }
    if running {
        return "Running";
    }
    let succeeded = of(Kind::Main).all(Life::succeeded);
    let over = of(Kind::Main).all(Life::over);
    match () {
        () if course.finished && !(succeeded && over) => "Failed",
        () if succeeded && over => "Succeeded",
        () if over && spec.restart_policy.as_deref() == Some("Never") => "Failed",
        () if of(Kind::Main).any(|life| !waits(life)) => "Running",
        () => "Pending",
    }
}

fn container_status(pod: &Pod, life: &Life<'_>, course: &Course<'_>, limit: usize) -> ContainerStatus {
    let id = |run: i32| container_id(pod, &life.spec.name, run);
    let terminated = |ended: &Ended, run: i32| ContainerStateTerminated {
        container_id: Some(id(run)),
        exit_code: ended.exit.code,
        reason: Some(ended.exit.reason.clone()),
        message: ended.exit.message.as_deref().map(|message| shortened(message, limit)),
        started_at: Some(Time(ended.started)),
        finished_at: Some(Time(ended.finished)),
        signal: None,
    };
    let mut before = life.before.as_ref().map(|ended| terminated(ended, life.restarts - 1));
    let mut state = ContainerState::default();
    let mut exists = true;
    match (&life.state, life.crash_loop()) {
        (State::Running { started, .. }, _) => {
            state.running = Some(ContainerStateRunning { started_at: Some(Time(*started)) });
        }
        (State::Ended { last, .. }, Some(delay)) => {
            before = Some(terminated(last, life.restarts));
            state.waiting = Some(back_off(pod, life, delay));
        }
        (State::Ended { last, .. }, None) => state.terminated = Some(terminated(last, life.restarts)),
        (State::Waiting { .. }, _) if course.finished && initialized(course) => {
            exists = false;
            state.terminated = Some(lost());
        }
        (State::Waiting { turn, .. }, _) => {
            exists = before.is_some();
            state.waiting = Some(waiting(life, *turn, course));
        }
    }
    ContainerStatus {
        name: life.spec.name.clone(),
        image: life.spec.image.clone().unwrap_or_default(),
        image_id: if exists { image_id(life) } else { String::new() },
        container_id: exists.then(|| id(life.restarts)),
        restart_count: life.restarts,
        ready: life.ready(course.now),
        started: Some(life.started(course.now)),
        state: Some(state),
        last_state: before
            .map(|terminated| ContainerState { terminated: Some(terminated), ..ContainerState::default() }),
        ..ContainerStatus::default()
    }
}

fn waiting(life: &Life<'_>, turn: bool, course: &Course<'_>) -> ContainerStateWaiting {
    if let Some((reason, message)) = life.waiting().filter(|_| turn) {
        return ContainerStateWaiting { reason: Some(reason.clone()), message: Some(message.clone()) };
    }
    let has_inits = course.lives.iter().any(|life| life.kind != Kind::Main);
    let reason = if has_inits { "PodInitializing" } else { "ContainerCreating" };
    ContainerStateWaiting { reason: Some(reason.to_owned()), message: None }
}

fn back_off(pod: &Pod, life: &Life<'_>, delay: Duration) -> ContainerStateWaiting {
    let message = format!(
        "back-off {delay:?} restarting failed container={} pod={}_{}({})",
        life.spec.name,
        pod.name_any(),
        pod.namespace().unwrap_or_default(),
        pod.uid().unwrap_or_default()
    );
    ContainerStateWaiting { reason: Some(CRASH_LOOP.to_owned()), message: Some(message) }
}

/// What the kubelet says of a container that it ends before it has seen it.
fn lost() -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    }
}

pub(super) fn initialized(course: &Course<'_>) -> bool {
    course.lives.iter().all(|life| life.kind == Kind::Main || life.initialized(course.now))
        || course
            .lives
            .iter()
            .any(|life| life.kind == Kind::Main && !matches!(life.state, State::Waiting { .. }))
}

/// Of what a container wrote the kubelet reads the end, and of that it keeps the beginning.
fn shortened(message: &str, limit: usize) -> String {
    let mut from = message.len().saturating_sub(MESSAGE_OF_CONTAINER);
    while !message.is_char_boundary(from) {
        from += 1;
    }
    let mut to = message.len().min(from + limit);
    while !message.is_char_boundary(to) {
        to -= 1;
    }
    message[from..to].to_owned()
}

/// 64 hexadecimal digits, as containerd has them, and another for each run.
fn container_id(pod: &Pod, name: &str, run: i32) -> String {
    let digits = |part: u64| super::hash(&(pod.uid(), name, run, part));
    format!("containerd://{:016x}{:016x}{:016x}{:016x}", digits(0), digits(1), digits(2), digits(3))
}

fn image_id(life: &Life<'_>) -> String {
    let image = life.spec.image.as_deref().unwrap_or_default();
    let digits = |part: u64| super::hash(&(image, part));
    let repository = image.split('@').next().unwrap_or_default();
    format!("{repository}@sha256:{:016x}{:016x}{:016x}{:016x}", digits(0), digits(1), digits(2), digits(3))
}
