//! Asks a server pod how busy it was in the last seconds.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use modelwright_api::contract::probes;
use serde::Deserialize;

use super::{Error, Puller, address};

/// How busy a server was, on average over its last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PodLoad {
    /// Requests that waited or ran.
    pub in_flight: f64,
    /// The share of its sessions' time that they ran, from 0 to 1.
    pub utilization: f64,
    /// How long requests waited for a session, in seconds.
    pub queue_seconds: f64,
}

impl Puller {
    /// Asks a pod of the Model with this name. The caller found the pod in the Model's namespace.
    pub async fn load(&self, model: &str, pod: &Pod) -> Result<PodLoad, Error> {
        let address = address(model, pod)
            .map_err(|why| Error::NotAsked { pod: pod.metadata.name.clone().unwrap_or_default(), why })?;
        self.ask_load(model, address).await
    }

    pub(super) async fn ask_load(&self, model: &str, address: SocketAddr) -> Result<PodLoad, Error> {
        parse(model, &self.get(address, probes::LOAD).await?).map_err(Error::Answer)
    }
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    models: Vec<ModelLoad>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelLoad {
    name: String,
    in_flight: f64,
    utilization: f64,
    queue_seconds: f64,
}

/// Reads a server's report about one model. Nothing of the answer goes into an error.
fn parse(model: &str, body: &[u8]) -> Result<PodLoad, String> {
    let report: Report =
        serde_json::from_slice(body).map_err(|_| "the answer is no report of load".to_owned())?;
    let load = report.models.into_iter().find(|load| load.name == model);
    let load = load.ok_or_else(|| format!("the report has no model {model}"))?;
    let all = [load.in_flight, load.utilization, load.queue_seconds];
    // More than any server can have is no load either, and sums of it would be none.
    if all.iter().any(|number| !(0.0..=1e9).contains(number)) {
        return Err(format!("the report of model {model} has numbers that are no load"));
    }
    Ok(PodLoad {
        in_flight: load.in_flight,
        utilization: load.utilization,
        queue_seconds: load.queue_seconds,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::tests::{answering, http};
    use super::*;

    const REPORT: &str = r#"{"uptimeSeconds": 61.5, "models": [
        {"name": "other", "version": "1", "inFlight": 9.0, "utilization": 1.0, "queueSeconds": 1.0},
        {"name": "bc", "version": "0123", "waiting": 1, "waitingRows": 4, "running": 2, "capacity": 2, "busySeconds": 12.25,
         "windowSeconds": 15.2, "inFlight": 2.5, "utilization": 0.75, "queueSeconds": 0.004}]}"#;

    #[tokio::test]
    async fn load_of_a_server_is_read() {
        let address = answering(probes::LOAD, http("200 OK", REPORT)).await;
        let load = Puller::default().ask_load("bc", address).await.unwrap();
        assert_eq!(load, PodLoad { in_flight: 2.5, utilization: 0.75, queue_seconds: 0.004 });
    }

    #[rstest]
    #[case::html("<html>", "no report of load")]
    #[case::no_model(r#"{"models": []}"#, "no model bc")]
    #[case::no_numbers(r#"{"models": [{"name": "bc"}]}"#, "no report of load")]
    #[case::negative(
        r#"{"models": [{"name": "bc", "inFlight": -1, "utilization": 0, "queueSeconds": 0}]}"#,
        "no load"
    )]
    #[case::huge(
        r#"{"models": [{"name": "bc", "inFlight": 1e300, "utilization": 0, "queueSeconds": 0}]}"#,
        "no load"
    )]
    fn other_answers_say_what_is_wrong(#[case] body: &str, #[case] expected: &str) {
        let error = parse("bc", body.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
