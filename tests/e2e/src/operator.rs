//! The operator as a process of its own, as a person would start it outside the cluster, for one namespace.
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{faults::FaultyApi, images, namespace::TestNamespace, processes};

/// An operator that watches one namespace, or several. Dropping it kills it.
pub struct Operator {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
    /// Holds the kubeconfig.
    _folder: Folder,
}

/// Describes an operator before it is started.
pub struct Builder {
    namespaces: String,
    own: String,
    kubeconfig: Option<String>,
    environment: Vec<(String, String)>,
}

impl Operator {
    /// An operator for this namespace, which also holds its Lease.
    pub fn of(namespace: &TestNamespace) -> Builder {
        Builder {
            namespaces: namespace.name.clone(),
            own: namespace.name.clone(),
            kubeconfig: None,
            environment: Vec::new(),
        }
    }

    /// Where its admin port is.
    pub fn admin(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills it, as a node that loses power does.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<std::process::ExitStatus> {
        // The process is ours and not waited for yet, so the number is its.
        processes::signal(self.child.id(), "TERM")?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the operator does not end:\n{}", self.log())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the operator ---\n{}", self.log());
        }
    }
}

impl Builder {
    /// Through this proxy, with the rights of this token or else the harness's.
    #[must_use]
    pub fn through(mut self, api: &FaultyApi, token: Option<&str>) -> Self {
        self.kubeconfig = Some(api.kubeconfig(token));
        self
    }

    /// Watches every namespace.
    #[must_use]
    pub fn everywhere(mut self) -> Self {
        self.namespaces = String::new();
        self
    }

    /// With this environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it. It is not the leader yet, nor has it listed anything.
    pub fn start(self) -> anyhow::Result<Operator> {
        let folder = Folder::new(&self.own)?;
        let kubeconfig = match &self.kubeconfig {
            Some(text) => {
                let path = folder.0.join("kubeconfig");
                std::fs::write(&path, text)?;
                path
            }
            None => std::env::var_os("KUBECONFIG").context("KUBECONFIG is not set")?.into(),
        };
        let admin = free_port()?;
        let logs = std::env::var_os("MODELWRIGHT_E2E_LOGS").map_or_else(|| folder.0.clone(), PathBuf::from);
        let log = logs.join(format!("operator-{}-{}.log", self.own, admin.port()));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program()?)
            .args(["operator", "--kubeconfig"])
            .arg(&kubeconfig)
            .env_remove("KUBECONFIG")
            .env("MODELWRIGHT_WATCH_NAMESPACES", &self.namespaces)
            .env("MODELWRIGHT_POD_NAMESPACE", &self.own)
            .env("MODELWRIGHT_POD_NAME", format!("{}-{}", self.own, admin.port()))
            .env("MODELWRIGHT_ADMIN_LISTEN", admin.to_string())
            .env("MODELWRIGHT_IMAGE_CPU", images::modelwright())
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start the operator")?;
        Ok(Operator { child, admin, log, _folder: folder })
    }
}

/// The program of this build: `cargo test --workspace` makes it beside the tests' folder, `cargo build` beside the benches.
pub fn program() -> anyhow::Result<PathBuf> {
    program_called("modelwright")
}

/// Any program of this build.
pub fn program_called(name: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let programs = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    programs
        .into_iter()
        .find(|program| program.is_file())
        .with_context(|| format!("there is no {name} near {}: cargo build --workspace", this.display()))
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A folder that goes with the operator.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> anyhow::Result<Self> {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let path = std::env::temp_dir().join(format!("modelwright-{name}-{time}"));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
