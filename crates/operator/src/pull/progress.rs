//! Asks a training pod how far it is.

use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use modelwright_api::contract::{containers, labels, ports};
use modelwright_api::training::progress::{PATH, TrainingProgress};

use super::{Error, Puller, address_of};
use crate::causes;

impl Puller {
    /// Asks a pod of this Job of the Model with this name. The caller found the pod in the Model's namespace.
    pub async fn progress(&self, model: &str, job: &str, pod: &Pod) -> Result<TrainingProgress, Error> {
        let address = address(model, job, pod)
            .map_err(|why| Error::NotAsked { pod: pod.metadata.name.clone().unwrap_or_default(), why })?;
        self.ask_progress(address).await
    }

    async fn ask_progress(&self, address: SocketAddr) -> Result<TrainingProgress, Error> {
        let body = self.get(address, PATH).await?;
        // Nothing of the answer goes into the error: it may be anybody's words.
        serde_json::from_slice(&body)
            .map_err(|_| Error::Answer(format!("{address} answered something else than a progress")))
    }
}

/// The pod of a Job that tells of its progress now: the first of those that train together, while the container runs that
/// answers.
pub fn training_pod<'a>(model: &str, job: &str, pods: &'a [Arc<Pod>]) -> Option<&'a Arc<Pod>> {
    pods.iter().find(|pod| tells(pod) && address(model, job, pod).is_ok())
}

/// Whether the container runs that answers: `agent` beside a container of the user's, else `train`.
fn tells(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let statuses = || status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let named = |name: &str| statuses().find(|status| status.name == name);
    named(containers::AGENT).or_else(|| named(containers::TRAIN)).is_some_and(is_running)
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

/// Where to ask a pod, if it is one to ask: that of this Job of this Model with an address of its own.
fn address(model: &str, job: &str, pod: &Pod) -> Result<SocketAddr, &'static str> {
    let label = |key: &str| pod.metadata.labels.as_ref()?.get(key).map(String::as_str);
    if label(labels::ROLE) != Some(labels::ROLE_TRAIN) || label(labels::MODEL) != Some(model) {
        return Err("it does not train this Model");
    }
    let owned = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.controller == Some(true) && owner.kind == "Job" && owner.name == job);
    if !owned {
        return Err("the Model's Job did not make it");
    }
    if label(labels::POD_INDEX).is_some_and(|index| index != "0") {
        return Err("it is not the first of those that train together");
    }
    if causes::has_ended(pod) || pod.metadata.deletion_timestamp.is_some() {
        return Err("it ended");
    }
    address_of(pod, ports::PROGRESS)
}

#[cfg(test)]
mod tests {
    use modelwright_api::training::progress::ProgressPhase;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::tests::{answering, http};
    use super::*;

    const JOB: &str = "bc-train-01234567-1";

    fn pod(change: impl FnOnce(&mut Value)) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {
                "name": "bc-train-01234567-1-x",
                "labels": {"modelwright.dev/role": "train", "modelwright.dev/model": "bc"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": JOB, "uid": "u",
                    "controller": true}],
            },
            "status": {
                // Init containers run: the phase is still Pending.
                "phase": "Pending", "podIP": "10.1.2.3", "hostIP": "192.168.0.7",
                "initContainerStatuses": [status("agent", &json!({"running": {}})), status("train", &json!({"running": {}}))],
            },
        });
        change(&mut pod);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn status(name: &str, state: &Value) -> Value {
        json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state})
    }

    fn asked(pod: Arc<Pod>) -> Option<String> {
        let pods = [pod];
        let pod = training_pod("bc", JOB, &pods)?;
        Some(address("bc", JOB, pod).unwrap().to_string())
    }

    #[test]
    fn training_pod_is_asked_on_the_progress_port() {
        assert_eq!(asked(pod(|_| {})).as_deref(), Some("10.1.2.3:9091"));
        let first = pod(|pod| pod["metadata"]["labels"][labels::POD_INDEX] = "0".into());
        assert!(asked(first).is_some());
        let builtin = pod(|pod| {
            pod["status"]["initContainerStatuses"] = json!([]);
            pod["status"]["containerStatuses"] = json!([status("train", &json!({"running": {}}))]);
        });
        assert!(asked(builtin).is_some());
    }

    #[rstest]
    #[case::other_model(|pod: &mut Value| pod["metadata"]["labels"]["modelwright.dev/model"] = "x".into())]
    #[case::server(|pod: &mut Value| pod["metadata"]["labels"]["modelwright.dev/role"] = "server".into())]
    #[case::nobodys(|pod: &mut Value| pod["metadata"]["ownerReferences"] = json!([]))]
    #[case::former_attempts(|pod: &mut Value| pod["metadata"]["ownerReferences"][0]["name"] = "bc-train-01234567-0".into())]
    #[case::other_rank(|pod: &mut Value| pod["metadata"]["labels"][labels::POD_INDEX] = "1".into())]
    #[case::node_network(|pod: &mut Value| pod["spec"] = json!({"containers": [], "hostNetwork": true}))]
    #[case::node_address(|pod: &mut Value| pod["status"]["hostIP"] = "10.1.2.3".into())]
    #[case::loopback(|pod: &mut Value| pod["status"]["podIP"] = "127.0.0.1".into())]
    #[case::without_address(|pod: &mut Value| pod["status"]["podIP"] = Value::Null)]
    #[case::ended(|pod: &mut Value| pod["status"]["phase"] = "Failed".into())]
    #[case::still_fetching(|pod: &mut Value| pod["status"]["initContainerStatuses"][0]["state"] = json!({"waiting": {}}))]
    fn other_pods_are_not_asked(#[case] change: fn(&mut Value)) {
        assert_eq!(asked(pod(change)), None);
    }

    #[tokio::test]
    async fn progress_is_read_and_other_answers_are_not_repeated() {
        let report = r#"{"phase":"Training","progressPercent":45,"epoch":12,"etaSeconds":95,"metrics":{"valLoss":0.23},
            "stalledSeconds":0,"updatedAt":"2026-11-27T12:00:00Z"}"#;
        let puller = Puller::default();
        let address = answering(PATH, http("200 OK", report)).await;
        let progress = puller.ask_progress(address).await.unwrap();
        assert_eq!((progress.phase, progress.progress_percent), (ProgressPhase::Training, Some(45)));
        assert_eq!(
            (progress.epoch, progress.eta_seconds, progress.metrics["valLoss"]),
            (Some(12), Some(95), 0.23)
        );
        let address = answering(PATH, http("200 OK", "<html>secret</html>")).await;
        let error = puller.ask_progress(address).await.unwrap_err().to_string();
        assert!(error.ends_with("answered something else than a progress"), "{error}");
        let address = answering(PATH, http("302 Found", "")).await;
        assert!(matches!(puller.ask_progress(address).await, Err(Error::Status(..))));
    }
}
