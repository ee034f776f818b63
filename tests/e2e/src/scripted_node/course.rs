//! The course of a pod: the lives of its containers and the order between them. Pure: time is an argument.
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodSpec, PodStatus};

use super::{
    life::{Kind, Life, Restart, later},
    script::PodScript,
};

/// The grace period of a pod that names none, as in Kubernetes.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// What a pod's course depends on.
pub(super) struct Start<'a> {
    pub(super) spec: &'a PodSpec,
    pub(super) script: &'a PodScript,
    /// The pod's status when the script took effect.
    pub(super) before: &'a PodStatus,
    /// When that was.
    pub(super) since: Timestamp,
    /// When it was asked to end, and the grace period it was given.
    pub(super) deleted: Option<(Timestamp, Duration)>,
}

/// Why the node ended the pod by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) at: Timestamp,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// A pod at a time.
pub(super) struct Course<'a> {
    pub(super) now: Timestamp,
    /// In the order of the spec, init containers first.
    pub(super) lives: Vec<Life<'a>>,
    pub(super) failure: Option<Failure>,
    /// The pod has its network.
    pub(super) sandbox: bool,
    /// It was asked to end and no container runs any more.
    pub(super) finished: bool,
    /// When something happens next.
    pub(super) next: Option<Timestamp>,
}

impl<'a> Course<'a> {
    /// The pod at `now`.
    pub(super) fn at(now: Timestamp, start: &Start<'a>) -> Self {
        let begins = begins(start);
        let planned = failure(start);
        let deleted = start.deleted.map(|(at, _)| at);
        let mut course = Self {
            now: start.since,
            lives: lives(start),
            failure: None,
            sandbox: false,
            finished: false,
            next: None,
        };
        loop {
            course.sandbox = begins.is_some_and(|at| at <= course.now);
            if let Some(failure) = planned.as_ref().filter(|failure| failure.at <= course.now) {
                course.fail(failure);
            }
            course.settle(start);
            let now_at = course.now;
            let outside = [begins, planned.as_ref().map(|failure| failure.at), deleted];
            course.next = course
                .lives
                .iter()
                .filter_map(|life| life.next(now_at))
                .chain(outside.into_iter().flatten())
                .filter(|at| *at > now_at)
                .min();
            match course.next {
                Some(next) if next <= now => course.now = next,
                _ => break,
            }
        }
        course.now = now;
        course.finished = deleted.is_some_and(|at| at <= now) && !course.lives.iter().any(Life::running);
        course
    }

    /// Lets everything happen that is due now.
    fn settle(&mut self, start: &Start<'a>) {
        let now = self.now;
        loop {
            let mut news = false;
            for life in &mut self.lives {
                news |= life.advance(now);
            }
            if !news && !self.coordinate(start) {
                break;
            }
        }
    }

    /// What the pod asks of its containers now. Whether that is news to one of them.
    fn coordinate(&mut self, start: &Start<'a>) -> bool {
        let now = self.now;
        if let Some((deleted, grace)) = start.deleted.filter(|(deleted, _)| *deleted <= now) {
            let deadline = later(deleted, grace);
            let mut news = false;
            for life in self.lives.iter_mut().filter(|life| life.kind != Kind::Sidecar) {
                news |= life.ask_to_end(deleted, deadline);
            }
            let working = self.lives.iter().any(|life| life.kind != Kind::Sidecar && life.running());
            return news || (!working && self.end_sidecars(deadline));
        }
        if self.over() {
            return self.end_sidecars(later(now, grace(start.spec)));
        }
        self.sandbox && self.take_turns()
    }

    /// Nothing is left that sidecars could serve: the main containers are over, or an init container failed for good.
    fn over(&self) -> bool {
        let mut mains = self.lives.iter().filter(|life| life.kind == Kind::Main);
        self.lives.iter().any(|life| life.kind == Kind::Init && life.over() && !life.succeeded())
            || mains.all(Life::over)
    }

    /// Sidecars end one by one, the last one first.
    fn end_sidecars(&mut self, deadline: Timestamp) -> bool {
        let now = self.now;
        for life in self.lives.iter_mut().rev().filter(|life| life.kind == Kind::Sidecar) {
            let news = life.ask_to_end(now, deadline);
            if news || life.running() {
                return news;
            }
        }
        false
    }

    fn take_turns(&mut self) -> bool {
        let now = self.now;
        let (before, mains): (Vec<_>, Vec<_>) =
            self.lives.iter_mut().partition(|life| life.kind != Kind::Main);
        for life in before {
            if life.take_turn(now) {
                return true;
            }
            if !life.initialized(now) {
                return false;
            }
        }
        let mut news = false;
        for life in mains {
            news |= life.take_turn(now);
        }
        news
    }

    fn fail(&mut self, failure: &Failure) {
        if self.failure.is_none() {
            for life in &mut self.lives {
                life.kill(failure.at);
            }
            self.failure = Some(failure.clone());
        }
    }
}

fn lives<'a>(start: &Start<'a>) -> Vec<Life<'a>> {
    let pod_restart = Restart::of(start.spec.restart_policy.as_deref());
    let find = |statuses: &'a Option<Vec<ContainerStatus>>, name: &str| {
        statuses.iter().flatten().find(|status| status.name == name)
    };
    let inits = start.spec.init_containers.iter().flatten().map(|spec| {
        let kind = if spec.restart_policy.as_deref() == Some("Always") { Kind::Sidecar } else { Kind::Init };
        let status = find(&start.before.init_container_statuses, &spec.name);
        Life::new(spec, kind, pod_restart, start.script, status, start.since)
    });
    let mains = start.spec.containers.iter().map(|spec| {
        let status = find(&start.before.container_statuses, &spec.name);
        Life::new(spec, Kind::Main, pod_restart, start.script, status, start.since)
    });
    inits.chain(mains).collect()
}

/// When the pod has its network; a pod that had it when the script took effect keeps it.
fn begins(start: &Start<'_>) -> Option<Timestamp> {
    if start.before.pod_ip.is_some() {
        return Some(start.since);
    }
    start.script.starts.map(|delay| later(start.since, delay))
}

/// The first of the script's eviction and the pod's own deadline.
fn failure(start: &Start<'_>) -> Option<Failure> {
    let eviction = start.script.eviction.as_ref().map(|(delay, message)| Failure {
        at: later(start.since, *delay),
        reason: "Evicted",
        message: message.clone(),
    });
    let started = start.before.start_time.as_ref().map_or(start.since, |time| time.0);
    let deadline = start.spec.active_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let deadline = deadline.map(|seconds| Failure {
        at: later(started, Duration::from_secs(seconds)),
        reason: "DeadlineExceeded",
        message: "Pod was active on the node longer than the specified deadline".to_owned(),
    });
    eviction.into_iter().chain(deadline).min_by_key(|failure| failure.at)
}

fn grace(spec: &PodSpec) -> Duration {
    let seconds = spec.termination_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(DEFAULT_GRACE, Duration::from_secs)
}
