//! KEDA's operator and its metrics adapter as processes of this machine, for one namespace.
use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use modelwright_e2e::{apply, namespace::TestNamespace};

/// The Service that stands for the adapter.
const SERVICE: &str = "keda-metrics";

/// The processes, which end with this value.
pub(crate) struct Keda(Vec<Child>);

impl Keda {
    /// Installs KEDA's definitions and starts it for a namespace; its API serves external metrics in the whole cluster.
    pub(crate) async fn start(namespace: &TestNamespace) -> anyhow::Result<Self> {
        let programs = folder("MODELWRIGHT_E2E_KEDA")?;
        for definition in fs::read_dir(folder("MODELWRIGHT_E2E_KEDA_DEFINITIONS")?)? {
            apply::yaml(&namespace.client, None, &fs::read_to_string(definition?.path())?).await?;
        }
        let state = logs()?;
        certificate(&state, &namespace.name)?;
        let [probes, metrics, secure, port] = [free_port()?, free_port()?, free_port()?, free_port()?];
        let mut keda = Self(Vec::new());
        keda.spawn(
            namespace,
            &state,
            &programs.join("operator"),
            &[
                "--enable-prometheus-metrics=false".to_owned(),
                format!("--health-probe-bind-address=127.0.0.1:{probes}"),
                format!("--metrics-service-bind-address=127.0.0.1:{metrics}"),
                format!("--cert-dir={}", state.display()),
            ],
        )?;
        let kubeconfig = std::env::var("KUBECONFIG").context("KUBECONFIG is not set")?;
        let file = |name: &str| state.join(name).display().to_string();
        keda.spawn(
            namespace,
            &state,
            &programs.join("adapter"),
            &[
                format!("--secure-port={secure}"),
                format!("--port={port}"),
                format!("--cert-dir={}", state.display()),
                format!("--client-ca-file={}", file("ca.crt")),
                format!("--tls-cert-file={}", file("tls.crt")),
                format!("--tls-private-key-file={}", file("tls.key")),
                format!("--kubeconfig={kubeconfig}"),
                format!("--lister-kubeconfig={kubeconfig}"),
                format!("--authentication-kubeconfig={kubeconfig}"),
                format!("--authorization-kubeconfig={kubeconfig}"),
                format!("--metrics-service-address=127.0.0.1:{metrics}"),
                "--metrics-service-grpc-authority=localhost".to_owned(),
            ],
        )?;
        let api = api(&namespace.name, secure)?;
        apply::yaml(&namespace.client, Some(&namespace.name), &api).await?;
        Ok(keda)
    }

    fn spawn(
        &mut self,
        namespace: &TestNamespace,
        state: &Path,
        program: &Path,
        arguments: &[String],
    ) -> anyhow::Result<()> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let log = File::create(state.join(format!("keda-{name}.log")))?;
        let child = Command::new(program)
            .args(arguments)
            .env("WATCH_NAMESPACE", &namespace.name)
            .env("POD_NAMESPACE", &namespace.name)
            .env("KEDA_CLUSTER_OBJECT_NAMESPACE", &namespace.name)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        self.0.push(child);
        Ok(())
    }
}

impl Drop for Keda {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The API of external metrics, and how the API server reaches the adapter: at the machine's end of the cluster's network.
fn api(namespace: &str, port: u16) -> anyhow::Result<String> {
    let network =
        std::env::var("MODELWRIGHT_E2E_NETWORK").context("cargo xtask e2e keda sets the network")?;
    let machine = network.strip_suffix("0/16").with_context(|| format!("{network:?} is no /16"))?;
    Ok(format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {SERVICE}}}\nspec: {{ports: [{{name: https, port: 443}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {SERVICE}, labels: {{kubernetes.io/service-name: {SERVICE}}}}}\n\
         addressType: IPv4\nports: [{{name: https, port: {port}}}]\nendpoints: [{{addresses: [{machine}1]}}]\n---\n\
         apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {{name: v1beta1.external.metrics.k8s.io}}\n\
         spec:\n  group: external.metrics.k8s.io\n  version: v1beta1\n  groupPriorityMinimum: 100\n  versionPriority: 100\n  \
         insecureSkipTLSVerify: true\n  service: {{name: {SERVICE}, namespace: {namespace}}}\n"
    ))
}

/// One certificate for both of them, which trust each other by it.
fn certificate(state: &Path, namespace: &str) -> anyhow::Result<()> {
    let names = ["localhost".to_owned(), format!("{SERVICE}.{namespace}.svc")];
    let made = rcgen::generate_simple_self_signed(names)?;
    fs::write(state.join("ca.crt"), made.cert.pem())?;
    fs::write(state.join("tls.crt"), made.cert.pem())?;
    fs::write(state.join("tls.key"), made.signing_key.serialize_pem())?;
    Ok(())
}

/// Where logs go, and what else the processes leave.
fn logs() -> anyhow::Result<PathBuf> {
    let folder = folder("MODELWRIGHT_E2E_LOGS")?.join("keda");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn folder(variable: &str) -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    let folder = folder.with_context(|| format!("{variable} is not set: run cargo xtask e2e keda"))?;
    ensure!(folder.is_dir(), "{variable}: there is no {}", folder.display());
    Ok(folder)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
