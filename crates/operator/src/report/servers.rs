//! The server pods of one Model, seen from its report.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use modelwright_api::{
    Model,
    contract::{annotations, labels},
};

use super::Facts;
use crate::{
    causes,
    observe::{self, Observed, Ownership},
};

/// Server pods that have not ended for good, and their Deployment.
#[derive(Debug)]
pub(super) struct Servers<'a> {
    /// The Deployment, unless it is somebody else's.
    pub(super) deployment: Option<&'a Deployment>,
    /// All that there are, those that have ended for good as well, by name.
    pub(super) all: Vec<&'a Pod>,
    /// All of them, those that are being deleted too, by name.
    pub(super) live: Vec<&'a Pod>,
    /// Those that answer.
    pub(super) ready: Vec<&'a Pod>,
    /// Whether there are pods of more than one template, or of another than the Deployment makes.
    pub(super) mixed: bool,
}

impl<'a> Servers<'a> {
    pub(super) fn of(model: &Model, observed: &'a Observed) -> Self {
        let deployment = observed
            .deployment
            .as_deref()
            .filter(|deployment| observe::ownership_for(model, &deployment.metadata) != Ownership::Foreign);
        let is_server = |pod: &&Pod| label(pod, labels::ROLE) == Some(labels::ROLE_SERVER);
        let mut all: Vec<&Pod> = observed.pods.iter().map(AsRef::as_ref).filter(is_server).collect();
        all.sort_by_key(|pod| pod.metadata.name.as_deref());
        let live: Vec<&Pod> = all.iter().copied().filter(|pod| !causes::has_ended(pod)).collect();
        let ready = live.iter().copied().filter(|pod| causes::is_ready(pod)).collect();
        let template = deployment.and_then(|deployment| {
            let metadata = deployment.spec.as_ref()?.template.metadata.as_ref()?;
            metadata.annotations.as_ref()?.get(annotations::RENDERED_FROM)
        });
        let mixed = live.iter().any(|pod| {
            let rendered = annotation(pod, annotations::RENDERED_FROM);
            template.is_some() && rendered != template.map(String::as_str)
        });
        Self { deployment, all, live, ready, mixed }
    }

    /// Pods of the present template that have ended for good.
    pub(super) fn former(&self) -> impl Iterator<Item = &'a Pod> {
        let present = self.ready.first().and_then(|pod| annotation(pod, annotations::RENDERED_FROM));
        let ended = self.all.iter().copied().filter(|pod| causes::has_ended(pod));
        ended.filter(move |pod| annotation(pod, annotations::RENDERED_FROM) == present)
    }

    /// The ready pods by the digest that they serve.
    pub(super) fn ready_by_digest(&self) -> BTreeMap<&'a str, Vec<&'a Pod>> {
        let mut by_digest: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in &self.ready {
            if let Some(digest) = digest(pod) {
                by_digest.entry(digest).or_default().push(pod);
            }
        }
        by_digest
    }

    /// The digest that most ready pods serve.
    pub(super) fn ready_digest(&self) -> Option<&'a str> {
        let by_digest = self.ready_by_digest();
        let most =
            by_digest.iter().max_by(|(a, left), (b, right)| left.len().cmp(&right.len()).then(b.cmp(a)));
        most.map(|(digest, _)| *digest)
    }

    /// How many pods there shall be, as far as anybody says.
    fn target(&self, facts: &Facts<'_>) -> Option<usize> {
        let of_deployment = || self.deployment?.spec.as_ref()?.replicas;
        facts.situation.replicas.or_else(of_deployment).and_then(|replicas| usize::try_from(replicas).ok())
    }

    /// Whether fewer are ready than there shall be.
    pub(super) fn short(&self, facts: &Facts<'_>) -> bool {
        self.ready.len() < self.target(facts).unwrap_or(1)
    }

    /// Whether there are more or fewer than there shall be.
    pub(super) fn changing(&self, facts: &Facts<'_>) -> bool {
        self.short(facts) || self.target(facts).is_some_and(|target| self.live.len() > target)
    }
}

fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The digest that a pod serves; what is none is not passed on.
pub(super) fn digest(pod: &Pod) -> Option<&str> {
    annotation(pod, annotations::DIGEST).filter(|digest| digest.starts_with("sha256:") && digest.len() == 71)
}
