//! What a status says of the model itself: its facts, what it runs on, and how long it took to start.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use modelwright_api::{
    ExecutionProvider, ModelStatus, Outcome,
    contract::containers,
    status::{ColdStart, ModelFacts, Runtime, SourceStatus},
};

use super::{Facts, servers, servers::Servers, standing};
use crate::{causes, causes::text, facts, plan::SourceState};

/// What the source was found to hold, the newest that is known; of a source that is being read anew, the former.
pub(super) fn source(facts: &Facts<'_>) -> Option<SourceStatus> {
    // A Model that is trained now has none, whatever it was before.
    facts.model.spec.source.as_ref()?;
    let known = facts.model.status.as_ref().and_then(|status| status.source.clone());
    let Some(resolution) = &facts.situation.resolution else { return known };
    let polls = facts.model.spec.source.as_ref().is_some_and(|source| source.poll_interval.is_some());
    Some(SourceStatus {
        resolved_from: resolution.resolved_from.clone(),
        digest: resolution.revision.digest.clone(),
        uri: resolution.revision.uri.clone(),
        retrievable: resolution.revision.retrievable,
        fingerprint: resolution.fingerprint.clone(),
        // Without polling nobody looks again, and a time would be written for nothing.
        checked_at: resolution.checked_at.filter(|_| polls).map(|time| time.to_string()),
        look_failed: standing::look_failed(
            facts,
            matches!(facts.situation.source, SourceState::Resolving { poll: true, .. }),
            known.as_ref().and_then(|known| known.look_failed.as_ref()),
        ),
    })
}

/// The digest that `status.model` speaks of: the active revision's, else that of the one on its way, else the source's.
fn subject(status: &ModelStatus) -> Option<&str> {
    let revisions = status.revisions.as_ref();
    let revision = revisions.and_then(|revisions| revisions.active.as_ref().or(revisions.candidate.as_ref()));
    let source = || status.source.as_ref().map(|source| source.digest.as_str());
    revision.map(|revision| revision.digest.as_str()).or_else(source)
}

/// Facts about the active revision: what its Job said, else what was known, else what a pod said when it fetched it.
pub(super) fn model(facts: &Facts<'_>, servers: &Servers<'_>, status: &ModelStatus) -> Option<ModelFacts> {
    let digest = subject(status)?;
    let of_job = facts.situation.resolution.as_ref().filter(|found| found.revision.digest == digest);
    let known = facts.model.status.as_ref().filter(|known| subject(known) == Some(digest));
    let of_pods = || {
        servers.live.iter().filter(|pod| servers::digest(pod) == Some(digest)).find_map(|pod| fetched(pod))
    };
    of_job
        .and_then(|found| found.facts.clone())
        .or_else(|| known.and_then(|known| known.model.clone()))
        .or_else(of_pods)
}

/// What a pod's `fetch` said of the model.
fn fetched(pod: &Pod) -> Option<ModelFacts> {
    let outcome = Outcome::read(terminated(pod, containers::FETCH)?.message.as_deref()?)?;
    outcome.ok.then(|| facts::of(&outcome))?
}

fn terminated<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStateTerminated> {
    let status = pod.status.as_ref()?;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.find(|status| status.name == container)?.state.as_ref()?.terminated.as_ref()
}

/// What the servers run on: what the pods that answer were told, else what the Deployment tells new ones, else the spec. The
/// version is the server's to say and stays.
pub(super) fn runtime(facts: &Facts<'_>, servers: &Servers<'_>) -> Runtime {
    let known = facts.model.status.as_ref().and_then(|status| status.runtime.as_ref());
    let of_deployment = || {
        let template = &servers.deployment?.spec.as_ref()?.template;
        provider(template.spec.as_ref()?)
    };
    let of_spec = || facts.model.spec.serving.as_ref().and_then(|serving| serving.execution_provider);
    let served = servers.ready.iter().find_map(|pod| provider(pod.spec.as_ref()?)).or_else(of_deployment);
    let execution_provider = Some(served.or_else(of_spec).unwrap_or_default());
    let same = known.filter(|known| known.execution_provider == execution_provider);
    Runtime { execution_provider, version: same.and_then(|known| known.version.clone()) }
}

/// The execution provider that a pod's server is told to use.
fn provider(pod: &k8s_openapi::api::core::v1::PodSpec) -> Option<ExecutionProvider> {
    const FLAG: &str = "--execution-provider";
    let server = pod.containers.iter().find(|container| container.name == containers::SERVE)?;
    let words: Vec<&str> = server.command.iter().chain(&server.args).flatten().map(String::as_str).collect();
    let word = words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix(FLAG)? {
        "" => words.get(index + 1).copied(),
        value => value.strip_prefix('='),
    })?;
    [ExecutionProvider::Cpu, ExecutionProvider::Cuda].into_iter().find(|provider| provider.as_str() == word)
}

/// Where the time went until the active revision's first pod was ready. It is measured once for each revision: later pods
/// find images and files on their nodes.
pub(super) fn first_cold_start(
    facts: &Facts<'_>,
    servers: &Servers<'_>,
    status: &ModelStatus,
) -> Option<ColdStart> {
    let active = |status: &ModelStatus| Some(status.revisions.as_ref()?.active.as_ref()?.digest.clone());
    let digest = active(status)?;
    let known = facts.model.status.as_ref().filter(|known| active(known).as_ref() == Some(&digest));
    if let Some(known) = known.and_then(|known| known.cold_start.clone()) {
        return Some(known);
    }
    let ready = servers.ready.iter().filter(|pod| servers::digest(pod) == Some(&digest));
    let first =
        ready.min_by_key(|pod| (causes::condition_time(pod, "Ready"), pod.metadata.name.as_deref()))?;
    Some(cold_start(first))
}

/// Where the time went until a pod was ready, as far as Kubernetes says, in milliseconds. Session and warm-up are the
/// server's to say.
pub fn cold_start(pod: &Pod) -> ColdStart {
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let scheduled = causes::condition_time(pod, "PodScheduled");
    let ready = causes::condition_time(pod, "Ready");
    let fetch = terminated(pod, containers::FETCH);
    let begun = fetch.and_then(|fetch| fetch.started_at.as_ref()).map(|time| time.0);
    let fetched = fetch.and_then(|fetch| fetch.finished_at.as_ref()).map(|time| time.0);
    ColdStart {
        pod: text::one_line(pod.metadata.name.as_deref().unwrap_or_default(), 253),
        scheduled: between(created, scheduled),
        image: between(scheduled, begun),
        fetch: between(begun, fetched),
        session: None,
        warmup: None,
        total: between(scheduled, ready),
    }
}

/// Adds what a server says of its own start to what Kubernetes says of its pod; `None` if it is another pod.
pub fn with_server_times(
    known: &ColdStart,
    pod: &str,
    session: Option<i64>,
    warmup: Option<i64>,
) -> Option<ColdStart> {
    (known.pod == pod).then(|| ColdStart {
        session: session.or(known.session),
        warmup: warmup.or(known.warmup),
        ..known.clone()
    })
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<i64> {
    let milliseconds = to?.duration_since(from?).as_millis();
    // Times of different machines may be the wrong way round.
    i64::try_from(milliseconds).ok().map(|milliseconds| milliseconds.max(0))
}
