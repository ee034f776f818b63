//! A pod of the node, and what the node has said of it.
use std::{net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt;

use super::{
    Rules,
    script::PodScript,
    status::{self, Outlook, Situation},
};

/// Where the pods of a node are found again.
pub(super) type Key = (String, String);

pub(super) fn key(pod: &Pod) -> Key {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}

/// A pod that is bound to the node.
pub(super) struct Tracked {
    pub(super) pod: Pod,
    pub(super) ip: Ipv4Addr,
    host_ip: Ipv4Addr,
    rule: usize,
    script: Arc<PodScript>,
    /// The status when that rule took effect, and when that was.
    before: PodStatus,
    since: Timestamp,
    deleted: Option<Timestamp>,
    pub(super) reported: PodStatus,
    /// A write is under way.
    pub(super) writing: bool,
    /// The node has asked for the removal of the object.
    pub(super) removed: bool,
}

impl Tracked {
    pub(super) fn new(pod: Pod, ip: Ipv4Addr, host_ip: Ipv4Addr, rules: &Rules, now: Timestamp) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let (rule, script) = rules.of(&pod);
        warn_of_unknown_containers(&pod, &script);
        let deleted = pod.metadata.deletion_timestamp.is_some().then_some(now);
        Self {
            pod,
            ip,
            host_ip,
            rule,
            script,
            before: status.clone(),
            since: now,
            deleted,
            reported: status,
            writing: false,
            removed: false,
        }
    }

    /// Another version of the same pod.
    pub(super) fn update(&mut self, pod: Pod, rules: &Rules, now: Timestamp) {
        if pod.metadata.deletion_timestamp.is_some() && self.deleted.is_none() {
            self.deleted = Some(now);
        }
        self.pod = pod;
        self.apply(rules, now);
    }

    /// Goes over to the rule that holds now, if it is another, from the present state on.
    pub(super) fn apply(&mut self, rules: &Rules, now: Timestamp) {
        let (rule, script) = rules.of(&self.pod);
        if rule != self.rule {
            warn_of_unknown_containers(&self.pod, &script);
            self.before = self.outlook(now).status;
            let back_off = script.back_off.or(self.script.back_off);
            self.script = Arc::new(PodScript { back_off, ..PodScript::clone(&script) });
            (self.rule, self.since) = (rule, now);
        }
    }

    /// The pod's status now, and the time of the next change.
    pub(super) fn outlook(&self, now: Timestamp) -> Outlook {
        let situation = Situation {
            pod: &self.pod,
            script: &self.script,
            before: &self.before,
            since: self.since,
            deleted: self.deleted,
            reported: &self.reported,
            host_ip: &self.host_ip.to_string(),
            pod_ip: &self.ip.to_string(),
        };
        status::status(&situation, now.duration_since(self.since).try_into().unwrap_or_default())
    }

    /// What an outlook counts its times from.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }
}

fn warn_of_unknown_containers(pod: &Pod, script: &PodScript) {
    for name in script.unknown_containers(pod) {
        eprintln!(
            "scripted node: a rule for pod {} names the container {name:?}, which the pod does not have",
            pod.name_any()
        );
    }
}
