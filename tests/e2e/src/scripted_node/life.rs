//! The life of one container: what a script makes of it, event by event. Pure: time is an argument.
use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus};

use super::script::{ContainerScript, Exit, PodScript, Run};

/// The kubelet's first back-off.
const BACK_OFF: Duration = Duration::from_secs(10);
/// The kubelet's back-off ends at 300 s, thirty times its first.
const LONGEST_BACK_OFF: u32 = 30;

/// The place of a container in its pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Init,
    Sidecar,
    Main,
}

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    pub(super) fn of(policy: Option<&str>) -> Self {
        match policy {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    pub(super) exit: Exit,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// `turn` is whether it may start at all; `start` is when, and `None` after its turn is never.
    Waiting { turn: bool, start: Option<Timestamp> },
    /// The script's delays count from `base`: the start, or the moment the rule was added.
    Running { started: Timestamp, base: Timestamp, had_started: bool },
    /// With the time of its restart, if there is one.
    Ended { last: Ended, restart: Option<Timestamp> },
}

pub(super) struct Life<'a> {
    pub(super) spec: &'a Container,
    pub(super) kind: Kind,
    pub(super) state: State,
    /// How the run before ended.
    pub(super) before: Option<Ended>,
    pub(super) restarts: i32,
    restart: Restart,
    script: Cow<'a, ContainerScript>,
    /// Runs that the script has seen begin.
    runs: usize,
    back_off: Duration,
    /// It was asked to end at this time, and is killed at the second.
    ending: Option<(Timestamp, Timestamp)>,
}

impl<'a> Life<'a> {
    /// The life of a container as `status` has it, from `at` on by `script`.
    pub(super) fn new(
        spec: &'a Container,
        kind: Kind,
        pod_restart: Restart,
        script: &'a PodScript,
        status: Option<&ContainerStatus>,
        at: Timestamp,
    ) -> Self {
        let restart = match (kind, spec.restart_policy.as_deref(), pod_restart) {
            (Kind::Sidecar, ..) => Restart::Always,
            (Kind::Init, None, Restart::Always) => Restart::OnFailure,
            (_, Some(own), _) => Restart::of(Some(own)),
            (_, None, pod) => pod,
        };
        let own = script.containers.get(&spec.name).map_or_else(
            || match kind {
                Kind::Init => Cow::Owned(ContainerScript::completes()),
                Kind::Sidecar | Kind::Main => Cow::Owned(ContainerScript::runs()),
            },
            Cow::Borrowed,
        );
        let mut life = Self {
            spec,
            kind,
            state: State::Waiting { turn: false, start: None },
            before: None,
            restarts: status.map_or(0, |status| status.restart_count),
            restart,
            script: own,
            runs: 0,
            back_off: script.back_off.unwrap_or(BACK_OFF),
            ending: None,
        };
        if let Some(status) = status {
            life.continue_from(status, at);
        }
        life
    }

    fn continue_from(&mut self, status: &ContainerStatus, at: Timestamp) {
        let state = status.state.clone().unwrap_or_default();
        self.before = status.last_state.clone().and_then(|last| last.terminated).map(Ended::from);
        if let Some(running) = state.running {
            let started = running.started_at.map_or(at, |time| time.0);
            self.state = State::Running { started, base: at, had_started: status.started == Some(true) };
            self.runs = 1;
        } else if let Some(terminated) = state.terminated {
            self.end(terminated.into(), at);
        } else if state.waiting.and_then(|waiting| waiting.reason).as_deref() == Some(CRASH_LOOP)
            && let Some(last) = self.before.take()
        {
            self.end(last, at);
        }
    }

    /// Its turn has come. Whether that is news.
    pub(super) fn take_turn(&mut self, at: Timestamp) -> bool {
        if !matches!(self.state, State::Waiting { turn: false, .. }) {
            return false;
        }
        let start = self.next_run().starts.map(|delay| later(at, delay));
        self.state = State::Waiting { turn: true, start };
        true
    }

    /// It gets SIGTERM, and SIGKILL at the deadline; it is not started again. Whether that is news.
    pub(super) fn ask_to_end(&mut self, at: Timestamp, deadline: Timestamp) -> bool {
        if self.ending.is_some() {
            return false;
        }
        self.ending = Some((at, deadline));
        match &mut self.state {
            State::Waiting { start, .. } => *start = None,
            State::Ended { restart, .. } => *restart = None,
            State::Running { .. } => {}
        }
        true
    }

    /// It is killed now.
    pub(super) fn kill(&mut self, at: Timestamp) {
        self.ending = Some((at, at));
        if let State::Running { started, .. } = self.state {
            let last = Ended { started, finished: at, exit: Exit::code(137) };
            self.state = State::Ended { last, restart: None };
        }
    }

    /// Lets happen what is due. Whether anything was.
    pub(super) fn advance(&mut self, now: Timestamp) -> bool {
        match self.state.clone() {
            State::Waiting { start: Some(start), .. } if start <= now => self.begin(start),
            State::Running { started, .. } => match self.exit() {
                Some((finished, exit)) if finished <= now => {
                    self.end(Ended { started, finished, exit }, finished);
                }
                _ => return false,
            },
            State::Ended { last, restart: Some(restart) } if restart <= now => {
                self.before = Some(last);
                if self.next_run().starts.is_some() {
                    self.restarts += 1;
                    self.begin(restart);
                } else {
                    self.state = State::Waiting { turn: true, start: None };
                }
            }
            _ => return false,
        }
        true
    }

    /// When something happens next by itself, after `now`.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.state {
            State::Waiting { start, .. } => *start,
            State::Ended { restart, .. } => *restart,
            State::Running { .. } => {
                let exit = self.exit().map(|(at, _)| at);
                exit.into_iter().chain(self.ready_at().filter(|at| *at > now)).min()
            }
        }
    }

    /// A regular init container has completed, a sidecar has started: the next may begin.
    pub(super) fn initialized(&self, now: Timestamp) -> bool {
        match self.kind {
            Kind::Init => self.succeeded(),
            Kind::Sidecar | Kind::Main => self.started(now),
        }
    }

    pub(super) fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// It has ended and is not started again.
    pub(super) fn over(&self) -> bool {
        matches!(self.state, State::Ended { restart: None, .. })
    }

    pub(super) fn succeeded(&self) -> bool {
        matches!(&self.state, State::Ended { last, .. } if last.exit.code == 0)
    }

    pub(super) fn started(&self, now: Timestamp) -> bool {
        match self.state {
            State::Running { had_started, .. } => {
                had_started || self.spec.startup_probe.is_none() || self.ready(now)
            }
            _ => false,
        }
    }

    /// As the kubelet reports it: of a regular init container, whether it has completed.
    pub(super) fn ready(&self, now: Timestamp) -> bool {
        match self.kind {
            Kind::Init => self.succeeded(),
            Kind::Sidecar | Kind::Main => self.running() && self.ready_at().is_some_and(|at| at <= now),
        }
    }

    /// The back-off it is in, if it is in one: the first restart comes without.
    pub(super) fn crash_loop(&self) -> Option<Duration> {
        match self.state {
            State::Ended { restart: Some(_), .. } if self.restarts > 0 => Some(self.delay()),
            _ => None,
        }
    }

    /// Reason and message of its wait, as the script has them.
    pub(super) fn waiting(&self) -> Option<&(String, String)> {
        self.next_run().waiting.as_ref()
    }

    fn begin(&mut self, at: Timestamp) {
        self.state = State::Running { started: at, base: at, had_started: false };
        self.runs += 1;
    }

    fn end(&mut self, last: Ended, not_before: Timestamp) {
        let again = match self.restart {
            Restart::Always => true,
            Restart::OnFailure => last.exit.code != 0,
            Restart::Never => false,
        };
        let restart = (again && self.ending.is_none()).then(|| {
            let delay = self.delay().max(self.next_run().starts.unwrap_or_default());
            later(last.finished, delay).max(not_before)
        });
        self.state = State::Ended { last, restart };
    }

    /// Until the next restart. Never nothing: a container that exits at once would be restarted forever in no time.
    fn delay(&self) -> Duration {
        let delay = match u32::try_from(self.restarts).unwrap_or(0) {
            0 => self.back_off / 10,
            restarts => {
                self.back_off * 2_u32.checked_pow(restarts - 1).unwrap_or(u32::MAX).min(LONGEST_BACK_OFF)
            }
        };
        delay.max(Duration::from_millis(1))
    }

    fn run(&self) -> &Run {
        self.script.run(self.runs.saturating_sub(1))
    }

    fn next_run(&self) -> &Run {
        self.script.run(self.runs)
    }

    fn ready_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Running { base, .. } => self.run().ready.map(|delay| later(base, delay)),
            _ => None,
        }
    }

    fn exit(&self) -> Option<(Timestamp, Exit)> {
        let State::Running { base, .. } = self.state else { return None };
        let own = self.run().exit.as_ref().map(|(delay, exit)| (later(base, *delay), exit.clone()));
        let asked = self.ending.map(|(asked, deadline)| {
            let end = later(asked, self.script.ends_after);
            if end <= deadline { (end, self.script.end.clone()) } else { (deadline, Exit::code(137)) }
        });
        own.into_iter().chain(asked).min_by_key(|(at, _)| *at)
    }
}

pub(super) const CRASH_LOOP: &str = "CrashLoopBackOff";

impl From<ContainerStateTerminated> for Ended {
    fn from(state: ContainerStateTerminated) -> Self {
        let finished = state.finished_at.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        Self {
            started: state.started_at.map_or(finished, |time| time.0),
            finished,
            exit: Exit {
                code: state.exit_code,
                reason: state.reason.unwrap_or_default(),
                message: state.message,
            },
        }
    }
}

/// `at + delay`, at most the end of time.
pub(super) fn later(at: Timestamp, delay: Duration) -> Timestamp {
    at.checked_add(delay).unwrap_or(Timestamp::MAX)
}
