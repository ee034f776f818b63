//! Ports of pods and Services on the loopback address of this machine, through the API server, as `kubectl port-forward`
//! does it: so tests reach pods of any cluster, whether its network is reachable from here or not.
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A local port that leads to one of a pod, while this value lives.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Forward {
    /// Leads to `port` of a pod.
    ///
    /// # Errors
    /// Fails if no local port can be had. That the pod is not there or does not listen shows when a connection is made:
    /// it is closed at once.
    pub async fn to_pod(client: Client, namespace: &str, pod: &str, port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (pods, pod) = (Api::<Pod>::namespaced(client, namespace), pod.to_owned());
        let accepting = tokio::spawn(async move {
            // An error of accept is one of this process, such as too many open files; the test will notice.
            while let Ok((connection, _)) = listener.accept().await {
                let (pods, pod) = (pods.clone(), pod.clone());
                tokio::spawn(async move {
                    if let Err(error) = forward(connection, &pods, &pod, port).await {
                        eprintln!("port {port} of pod {pod}: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, accepting })
    }

    /// Leads to `port` of a Service, by one of its pods that is ready now.
    ///
    /// # Errors
    /// Fails if the Service has no such port, no selector, or no ready pod.
    pub async fn to_service(
        client: Client,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> anyhow::Result<Self> {
        let found = Api::<Service>::namespaced(client.clone(), namespace).get(service).await?;
        let spec = found.spec.with_context(|| format!("Service {service} has no spec"))?;
        let selector = spec.selector.with_context(|| format!("Service {service} has no selector"))?;
        let target =
            spec.ports.unwrap_or_default().into_iter().find(|candidate| candidate.port == i32::from(port));
        let target = target.with_context(|| format!("Service {service} has no port {port}"))?;

        let labels: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let pods = pods.list(&ListParams::default().labels(&labels.join(","))).await?;
        let pod = pods.into_iter().find(is_ready);
        let pod = pod.with_context(|| format!("Service {service} has no pod that is ready"))?;
        let port = target_port(&pod, target.target_port.as_ref(), port)?;
        Self::to_pod(client, namespace, &pod.name_any(), port).await
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT` and `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(mut connection: TcpStream, pods: &Api<Pod>, pod: &str, port: u16) -> anyhow::Result<()> {
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    let mut stream = forwarder.take_stream(port).context("the API server opened no stream")?;
    // A side that closes without saying so, as clients of HTTP do, ends the connection and is no failure.
    drop(copy_bidirectional(&mut connection, &mut stream).await);
    drop(stream);
    if let Some(error) = forwarder.take_error(port)
        && let Some(message) = error.await
    {
        anyhow::bail!(message);
    }
    Ok(())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.is_some_and(|condition| condition.status == "True")
}

/// The pod's port that a Service's port leads to.
fn target_port(pod: &Pod, target: Option<&IntOrString>, same: u16) -> anyhow::Result<u16> {
    let number = match target {
        None => return Ok(same),
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
            let port = containers
                .iter()
                .flat_map(|container| container.ports.iter().flatten())
                .find(|port| port.name.as_ref() == Some(name));
            port.with_context(|| format!("pod {} has no port called {name}", pod.name_any()))?.container_port
        }
    };
    u16::try_from(number).with_context(|| format!("{number} is no port"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec};

    use super::*;

    #[test]
    fn named_port_is_looked_up_in_the_pod() {
        let port = ContainerPort { name: Some("data".into()), container_port: 8080, ..Default::default() };
        let container = Container { ports: Some(vec![port]), ..Default::default() };
        let pod = Pod {
            spec: Some(PodSpec { containers: vec![Container::default(), container], ..Default::default() }),
            ..Default::default()
        };
        let port = |target: Option<&IntOrString>| target_port(&pod, target, 80);
        assert_eq!(port(Some(&IntOrString::String("data".into()))).unwrap(), 8080);
        assert_eq!(port(Some(&IntOrString::Int(9090))).unwrap(), 9090);
        assert_eq!(port(None).unwrap(), 80);
        assert!(port(Some(&IntOrString::String("grpc".into()))).unwrap_err().to_string().contains("grpc"));
    }
}
