//! What pods on a scripted node do.
use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// What the containers of a pod do over time.
///
/// The default script is that of a healthy pod: every init container completes at once and in order, sidecars and
/// containers run and are ready at once, and end at once with exit code 0 when the pod is deleted.
///
/// Delays count from the moment at which the thing becomes possible: a container's start from its turn, its readiness
/// and its exit from its start. For a container that runs already when the rule is added they count from then.
///
/// ```
/// # use std::time::Duration;
/// # use modelwright_e2e::scripted_node::{ContainerScript, Exit, PodScript};
/// let out_of_memory = PodScript::default().container(
///     "train",
///     ContainerScript::runs().exit_after(Duration::from_secs(1), Exit::oom_killed()),
/// );
/// let bad_input = PodScript::default()
///     .container("fetch", ContainerScript::exits(Exit::code(65).message("no such column: price")));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PodScript {
    pub(super) containers: BTreeMap<String, ContainerScript>,
    /// Until the pod's sandbox is there; `None` is never.
    pub(super) starts: Option<Duration>,
    pub(super) eviction: Option<(Duration, String)>,
    /// `None` is that of the rule before, and at first the kubelet's.
    pub(super) back_off: Option<Duration>,
}

impl Default for PodScript {
    fn default() -> Self {
        Self { containers: BTreeMap::new(), starts: Some(Duration::ZERO), eviction: None, back_off: None }
    }
}

impl PodScript {
    /// Says what the container of that name does: an init container, a sidecar or a main container.
    #[must_use]
    pub fn container(mut self, name: &str, script: ContainerScript) -> Self {
        self.containers.insert(name.to_owned(), script);
        self
    }

    /// The node takes that long before it starts the first container (volumes, network).
    #[must_use]
    pub fn starts_after(mut self, delay: Duration) -> Self {
        self.starts = Some(delay);
        self
    }

    /// The node accepts the pod and never starts a container: it stays Pending.
    #[must_use]
    pub fn stays_pending(mut self) -> Self {
        self.starts = None;
        self
    }

    /// The node evicts the pod for want of a resource: its containers are killed, it is Failed with reason Evicted and
    /// the condition `DisruptionTarget`. That condition is missing, as a kubelet does it, where the message says that the pod
    /// itself wrote more than it may.
    #[must_use]
    pub fn evicted_after(mut self, delay: Duration, message: &str) -> Self {
        self.eviction = Some((delay, message.to_owned()));
        self
    }

    /// The back-off before a container's second restart, which doubles up to thirty times as long. The kubelet's
    /// is 10 s; the first restart comes after a tenth of it. A later rule that names none keeps this one: a container
    /// that waits when the rule is added does not wait longer for it.
    #[must_use]
    pub fn back_off(mut self, first: Duration) -> Self {
        self.back_off = Some(first);
        self
    }

    /// The containers that are named here and that the pod does not have: a misspelt name, most of the time.
    pub(super) fn unknown_containers<'a>(&'a self, pod: &Pod) -> Vec<&'a str> {
        let spec = pod.spec.as_ref();
        let of_pod: Vec<&str> = spec
            .into_iter()
            .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
            .map(|container| container.name.as_str())
            .collect();
        self.containers.keys().map(String::as_str).filter(|name| !of_pod.contains(name)).collect()
    }
}

/// What one container does, run after run: the last run described repeats for as long as the container is restarted.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerScript {
    /// Never empty.
    runs: Vec<Run>,
    pub(super) ends_after: Duration,
    pub(super) end: Exit,
}

/// One run of a container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// `None` is never.
    pub(super) starts: Option<Duration>,
    /// Reason and message of the wait before it.
    pub(super) waiting: Option<(String, String)>,
    /// `None` is never.
    pub(super) ready: Option<Duration>,
    pub(super) exit: Option<(Duration, Exit)>,
}

impl ContainerScript {
    /// Starts at once, is ready at once, and runs until it is asked to end.
    pub fn runs() -> Self {
        let run =
            Run { starts: Some(Duration::ZERO), waiting: None, ready: Some(Duration::ZERO), exit: None };
        Self { runs: vec![run], ends_after: Duration::ZERO, end: Exit::completed() }
    }

    /// Starts at once and exits at once.
    pub fn exits(exit: Exit) -> Self {
        Self::runs().exit_after(Duration::ZERO, exit)
    }

    /// Starts at once and exits at once with code 0.
    pub fn completes() -> Self {
        Self::exits(Exit::completed())
    }

    /// Never starts, for a reason as the kubelet gives it: `ImagePullBackOff`, `ErrImagePull`,
    /// `CreateContainerConfigError`.
    pub fn waits(reason: &str, message: &str) -> Self {
        let mut script = Self::runs().waiting(reason, message);
        script.last().starts = None;
        script
    }

    /// The reason and message of the wait before the start.
    #[must_use]
    pub fn waiting(mut self, reason: &str, message: &str) -> Self {
        self.last().waiting = Some((reason.to_owned(), message.to_owned()));
        self
    }

    /// Starts that long after its turn has come.
    #[must_use]
    pub fn start_after(mut self, delay: Duration) -> Self {
        self.last().starts = Some(delay);
        self
    }

    /// Is ready that long after its start. With a startup probe it also counts as started only then.
    #[must_use]
    pub fn ready_after(mut self, delay: Duration) -> Self {
        self.last().ready = Some(delay);
        self
    }

    /// Runs and is never ready: its readiness probe fails.
    #[must_use]
    pub fn never_ready(mut self) -> Self {
        self.last().ready = None;
        self
    }

    /// Exits by itself that long after its start.
    #[must_use]
    pub fn exit_after(mut self, delay: Duration, exit: Exit) -> Self {
        self.last().exit = Some((delay, exit));
        self
    }

    /// What the container does when it is restarted. What is said after this is about the later run.
    ///
    /// `ContainerScript::exits(Exit::code(1)).then(ContainerScript::runs())` fails once and then runs.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        self.runs.extend(next.runs);
        Self { runs: self.runs, ends_after: next.ends_after, end: next.end }
    }

    /// How it ends when it is asked to (deleted pod, sidecar whose work is done): that long after SIGTERM. A program
    /// without a handler of that signal exits with code 143.
    #[must_use]
    pub fn ends_after(mut self, delay: Duration, exit: Exit) -> Self {
        self.ends_after = delay;
        self.end = exit;
        self
    }

    fn last(&mut self) -> &mut Run {
        let last = self.runs.len() - 1;
        &mut self.runs[last]
    }

    pub(super) fn run(&self, number: usize) -> &Run {
        &self.runs[number.min(self.runs.len() - 1)]
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    pub(super) code: i32,
    pub(super) reason: String,
    pub(super) message: Option<String>,
}

impl Exit {
    /// Code 0, reason Completed.
    pub fn completed() -> Self {
        Self::code(0)
    }

    /// That exit code, with the reason Error unless it is 0.
    pub fn code(code: i32) -> Self {
        let reason = if code == 0 { "Completed" } else { "Error" };
        Self { code, reason: reason.to_owned(), message: None }
    }

    /// Killed by the kernel for want of memory: code 137, reason `OOMKilled`.
    pub fn oom_killed() -> Self {
        Self { reason: "OOMKilled".to_owned(), ..Self::code(137) }
    }

    /// What the container wrote to its termination message path. It is shortened as the kubelet does.
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        self.message = Some(message.to_owned());
        self
    }
}

/// Which pods a rule is about; every part that is named must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodMatcher {
    namespace: Option<String>,
    name_prefix: Option<String>,
    labels: BTreeMap<String, String>,
}

impl PodMatcher {
    /// Every pod.
    pub fn any() -> Self {
        Self::default()
    }

    /// Pods of that namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Pods whose name begins so.
    #[must_use]
    pub fn name_prefix(mut self, prefix: &str) -> Self {
        self.name_prefix = Some(prefix.to_owned());
        self
    }

    /// Pods with that label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(super) fn matches(&self, pod: &Pod) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| pod.metadata.namespace.as_ref() == Some(namespace))
            && self.name_prefix.as_ref().is_none_or(|prefix| pod.name_any().starts_with(prefix))
            && self.labels.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
    }
}
