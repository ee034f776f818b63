//! One cluster of this machine, by its name.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, ensure};

use super::{Programs, programs};

/// How much of a cluster there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// etcd, API server, controller manager and scheduler.
    ControlPlane,
    /// Those, and a node that runs pods.
    Node,
}

/// A cluster, running or not.
pub(crate) struct Instance {
    name: String,
    state: PathBuf,
    autoscaler_period: Option<&'static str>,
}

/// Takes a name that a network device and a cgroup can carry.
pub(crate) fn parse_name(name: &str) -> Result<String, String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    // A network device's name has at most 15 bytes, and begins with "mw-" here.
    if letters && (1..=12).contains(&name.len()) {
        Ok(name.to_owned())
    } else {
        Err("write 1 to 12 lower-case letters, digits and hyphens".to_owned())
    }
}

/// The path of a Unix socket has at most 107 bytes, and some lie deeper than a cluster's folder.
const LONGEST: usize = 80;

fn fits(folder: &Path) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+@-".contains(&byte);
    folder.to_str().is_some_and(|path| path.len() <= LONGEST && path.bytes().all(plain))
}

impl Instance {
    /// The cluster called `name`, which need not run.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let name = parse_name(name).map_err(anyhow::Error::msg)?;
        let state = modelwright_test_servers::cache_folder()?.join("clusters").join(&name);
        ensure!(
            fits(&state),
            "{} is no folder for a cluster, whose sockets and scripts take at most {LONGEST} letters, digits and /._+@-; set \
             XDG_CACHE_HOME to another one",
            state.display()
        );
        Ok(Self { name, state, autoscaler_period: None })
    }

    /// With autoscalers that are looked at as often as in any cluster. Otherwise it is more often, so that tests need not wait;
    /// of hundreds of autoscalers that would be most of what the controllers do.
    pub(crate) fn with_usual_autoscaling(self) -> Self {
        Self { autoscaler_period: Some("15s"), ..self }
    }

    /// The administrator's kubeconfig; there while the cluster runs.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }

    /// The same, or how to start the cluster.
    pub(crate) fn running_kubeconfig(&self) -> anyhow::Result<PathBuf> {
        let file = self.kubeconfig();
        ensure!(file.is_file(), "cluster {} does not run: cargo xtask cluster up --name {0}", self.name);
        Ok(file)
    }

    /// Where kubectl and Helm keep what they remember of the API server (`KUBECACHEDIR`). It ends with the cluster: the next
    /// one may have the same address, and other resources.
    pub(crate) fn kubectl_cache(&self) -> PathBuf {
        self.state.join("kubectl")
    }

    /// The addresses of a cluster with a node, while it runs.
    pub(crate) fn network(&self) -> Option<String> {
        let net = std::fs::read_to_string(self.state.join("net")).ok()?;
        Some(format!("{}.0.0/16", net.trim()))
    }

    /// The logs of its programs; there while the cluster runs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("log")
    }

    /// The logs of its pods; there while the cluster runs.
    pub(crate) fn pod_logs(&self) -> PathBuf {
        self.state.join("pods")
    }

    /// Starts the cluster unless it runs, and returns its programs. With an `owner` it ends when that process does.
    pub(crate) fn up(&self, kind: Kind, owner: Option<u32>) -> anyhow::Result<Programs> {
        self.up_with(kind, owner, None)
    }

    /// The same, with a program that makes the node's network enforce policies.
    pub(crate) fn up_with(
        &self,
        kind: Kind,
        owner: Option<u32>,
        policies: Option<&Path>,
    ) -> anyhow::Result<Programs> {
        super::check(kind)?;
        let programs = super::build(kind)?;
        let started = Instant::now();
        let mut script = self.script(&programs);
        script.arg("up").env("CLUSTER_PORT", free_port()?.to_string());
        if let Some(owner) = owner {
            script.env("CLUSTER_OWNER", owner.to_string());
        }
        if let Some(policies) = policies {
            script.env("CLUSTER_POLICIES", policies);
        }
        if let Some(period) = self.autoscaler_period {
            script.env("CLUSTER_AUTOSCALER_PERIOD", period);
        }
        if kind == Kind::ControlPlane {
            script.arg("--control-plane-only");
        }
        run(&mut script).with_context(|| format!("cluster {} does not start", self.name))?;
        eprintln!("cluster {} is up ({:.1} s)", self.name, started.elapsed().as_secs_f64());
        Ok(programs)
    }

    /// Ends the cluster and removes every trace of it; nothing happens where there is none.
    pub(crate) fn down(&self) -> anyhow::Result<()> {
        run(self.script(&Programs::folder_of_sources()?).arg("down"))
    }

    /// Loads an OCI archive into the node.
    pub(crate) fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        let archive = File::open(archive)?;
        run(self.script(&Programs::folder_of_sources()?).arg("load-image").stdin(archive))
    }

    /// Runs kubectl as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[String]) -> anyhow::Result<()> {
        let kubectl = Programs::folder_of_sources()?.program("kubectl");
        let status = Command::new(kubectl)
            .args(arguments)
            .env("KUBECONFIG", self.running_kubeconfig()?)
            .env("KUBECACHEDIR", self.kubectl_cache())
            .status()
            .context("cannot run kubectl")?;
        ensure!(status.success(), "kubectl ended with {status}");
        Ok(())
    }

    /// Runs a command inside the node.
    pub(crate) fn node(&self, command: &[String]) -> anyhow::Result<()> {
        let status = self
            .script(&Programs::folder_of_sources()?)
            .arg("node")
            .args(command)
            .stdin(Stdio::inherit())
            .status()?;
        ensure!(status.success(), "the command ended with {status}");
        Ok(())
    }

    fn script(&self, programs: &Programs) -> Command {
        let mut script = Command::new(programs::sources().join("cluster"));
        script
            .stdin(Stdio::null())
            .env("CLUSTER_NAME", format!("mw-{}", self.name))
            .env("CLUSTER_STATE", &self.state)
            .env("CLUSTER_BIN", programs.folder())
            .env("CLUSTER_IMAGES", programs.images())
            .env_remove("CLUSTER_OWNER")
            .env_remove("CLUSTER_POLICIES");
        script
    }
}

/// A port of the loopback address that nothing listens at now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn run(script: &mut Command) -> anyhow::Result<()> {
    let status = script.stdout(std::io::stderr()).status().context("cannot run the cluster's script")?;
    ensure!(status.success(), "the cluster's script ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_a_network_device() {
        for name in ["dev", "t0123abcd", "a-b"] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
        }
        for name in ["", "Dev", "a_b", "../x", "thirteen-long", "a b"] {
            assert!(parse_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn folders_are_short_and_plain() {
        assert!(fits(Path::new("/home/someone/.cache/modelwright/clusters/dev")));
        assert!(!fits(Path::new("/home/some one/.cache/modelwright/clusters/dev")));
        assert!(!fits(&Path::new("/home").join("x".repeat(80))));
    }
}
