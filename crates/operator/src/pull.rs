//! Asks a server pod how its start went and how busy it is, and a training pod how far it is: best effort, for
//! `status.coldStart`, `status.runtime` and `status.training`, and for autoscalers. No condition depends on it.
//!
//! The operator can reach pods that others cannot, so what it can be made to ask is small: one path on one port of the
//! address that the cluster itself gave to a pod, no redirects, little time, few bytes, and only numbers and short words of
//! the answer are used.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use modelwright_api::contract::{labels, ports, probes};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::causes;

mod load;
mod progress;

pub use load::PodLoad;
pub use progress::training_pod;

const MAX_BYTES: usize = 64 * 1024;
const MAX_TIME: Duration = Duration::from_secs(2);
/// Pods that are asked at once.
const MAX_REQUESTS: usize = 8;
/// The longest version that is taken over.
const MAX_WORD: usize = 32;

/// How a server's start went, as the server says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColdStart {
    /// Making the model's sessions.
    pub session: Duration,
    /// The runs before the model was called ready.
    pub warm_up: Duration,
    /// The version of ONNX Runtime.
    pub runtime_version: String,
    /// What computes the model: `CPU` or `CUDA`.
    pub execution_provider: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a pod to ask.
    #[error("pod {pod} is not asked: {why}")]
    NotAsked {
        /// The pod's name.
        pod: String,
        /// Why.
        why: &'static str,
    },
    /// No connection, or none that speaks HTTP.
    #[error("{address} cannot be asked: {source}")]
    Connection {
        /// The pod's address.
        address: SocketAddr,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{0} did not answer within {limit} s", limit = MAX_TIME.as_secs())]
    Slow(SocketAddr),
    /// Another answer than 200; a redirect is one.
    #[error("{0} answered {1}")]
    Status(SocketAddr, StatusCode),
    /// Not the report that was asked for.
    #[error("{0}")]
    Answer(String),
}

/// Asks pods, a few at once.
#[derive(Clone, Debug)]
pub struct Puller {
    permits: Arc<Semaphore>,
}

impl Default for Puller {
    fn default() -> Self {
        Self::with_requests(MAX_REQUESTS)
    }
}

impl Puller {
    /// Asks at most so many pods at once.
    pub fn with_requests(most: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(most)) }
    }

    /// Asks a pod of the Model with this name. The caller found the pod in the Model's namespace.
    pub async fn cold_start(&self, model: &str, pod: &Pod) -> Result<ColdStart, Error> {
        let address = address(model, pod)
            .map_err(|why| Error::NotAsked { pod: pod.metadata.name.clone().unwrap_or_default(), why })?;
        self.ask(model, address).await
    }

    async fn ask(&self, model: &str, address: SocketAddr) -> Result<ColdStart, Error> {
        parse(model, &self.get(address, probes::COLD_START).await?).map_err(Error::Answer)
    }

    async fn get(&self, address: SocketAddr, path: &'static str) -> Result<Bytes, Error> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        tokio::time::timeout(MAX_TIME, get(address, path)).await.map_err(|_| Error::Slow(address))?
    }
}

/// Where to ask a pod, if it is one to ask: a ready server of this Model with an address of its own.
pub(crate) fn address(model: &str, pod: &Pod) -> Result<SocketAddr, &'static str> {
    let label = |key: &str| pod.metadata.labels.as_ref()?.get(key).map(String::as_str);
    if label(labels::ROLE) != Some(labels::ROLE_SERVER) || label(labels::MODEL) != Some(model) {
        return Err("it is not a server of this Model");
    }
    // A Deployment's pods belong to its ReplicaSets, whose names begin with its own.
    let owned = pod.metadata.owner_references.iter().flatten().any(|owner| {
        owner.controller == Some(true)
            && owner.kind == "ReplicaSet"
            && owner.name.strip_prefix(model).is_some_and(|rest| rest.starts_with('-'))
    });
    if !owned {
        return Err("the Model's Deployment did not make it");
    }
    if !causes::is_ready(pod) {
        return Err("it is not ready");
    }
    address_of(pod, ports::ADMIN)
}

/// The address that the cluster gave to a pod, if it is one of the pod's own.
fn address_of(pod: &Pod, port: u16) -> Result<SocketAddr, &'static str> {
    if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
        return Err("it has the address of its node");
    }
    let status = pod.status.as_ref().ok_or("it has no status")?;
    let ip = status.pod_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()).ok_or("it has no address")?;
    if status.host_ip.as_deref().and_then(|host| host.parse::<IpAddr>().ok()) == Some(ip) {
        return Err("it has the address of its node");
    }
    if !is_a_pods(ip) {
        return Err("its address cannot be a pod's");
    }
    Ok(SocketAddr::new(ip, port))
}

/// Whether an address can be a pod's: not this machine's, not one that is only for neighbours (a cloud's metadata is there),
/// and that of one host.
fn is_a_pods(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.octets()[0] == Ipv4Addr::UNSPECIFIED.octets()[0])
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast())
        }
    }
}

async fn get(address: SocketAddr, path: &'static str) -> Result<Bytes, Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Connection { address, source };
    let stream = TcpStream::connect(address).await.map_err(|error| failed(error.into()))?;
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_headers(32)
        .max_buf_size(16 * 1024)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = handshake.map_err(|error| failed(error.into()))?;
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(error.into()))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| failed(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(Error::Status(address, response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(failed)?;
        Ok(body.to_bytes())
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven beside the exchange and not on a task, so that it ends with it.
    tokio::select! {
        answer = &mut exchange => answer,
        // It may end before the last of the answer was read.
        _ = connection => exchange.await,
    }
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    models: Vec<ModelStart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelStart {
    name: String,
    session_ms: Option<f64>,
    warm_up_ms: Option<f64>,
    runtime_version: Option<String>,
    execution_provider: Option<String>,
}

/// Reads a server's report about one model.
fn parse(model: &str, body: &[u8]) -> Result<ColdStart, String> {
    let report: Report =
        serde_json::from_slice(body).map_err(|error| format!("not a cold-start report: {error}"))?;
    let start = report.models.into_iter().find(|start| start.name == model);
    let start = start.ok_or_else(|| format!("the report has no model {model}"))?;
    let complete = || {
        Some(ColdStart {
            session: milliseconds(start.session_ms?)?,
            warm_up: milliseconds(start.warm_up_ms?)?,
            runtime_version: word(start.runtime_version?)?,
            execution_provider: word(start.execution_provider?)?,
        })
    };
    complete()
        .ok_or_else(|| format!("the report has no times, version or execution provider of model {model}"))
}

fn milliseconds(milliseconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(milliseconds / 1_000.0).ok()
}

/// Short and printable: it stands in a status.
fn word(text: String) -> Option<String> {
    let plain = |character: char| character.is_ascii_alphanumeric() || ".-+_".contains(character);
    (!text.is_empty() && text.len() <= MAX_WORD && text.chars().all(plain)).then_some(text)
}

#[cfg(test)]
mod tests;
