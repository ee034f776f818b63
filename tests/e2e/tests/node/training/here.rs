//! Commands of `modelwright` on this machine, that reach the S3 server as pods do.
use std::{net::SocketAddr, path::Path, process::Stdio};

use anyhow::{Context as _, ensure};
use modelwright_api::{Outcome, contract::environment::STORE_RETRY};
use modelwright_e2e::{namespace::TestNamespace, operator::program, processes, storage::Storage};
use serde_json::json;
use tokio::process::{Child, Command};

/// What they need.
pub(super) struct Here<'a> {
    pub(super) namespace: &'a TestNamespace,
    pub(super) storage: &'a Storage,
    /// For what they write.
    pub(super) folder: &'a Path,
}

impl Here<'_> {
    /// A step with this order. Its last line on standard output is the outcome.
    pub(super) fn step(&self, step: &str, order: &str) -> anyhow::Result<Command> {
        std::fs::create_dir_all(self.folder)?;
        let config = self.folder.join(format!("{step}.json"));
        std::fs::write(&config, order)?;
        let mut command = Command::new(program()?);
        command.args([step, "--allow-loopback", "--config"]).arg(config);
        for prefix in ["", "OUTPUT_"] {
            for (name, value) in self.storage.credentials() {
                command.env(format!("{prefix}{name}"), value);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// The training of [`digits`](super::progress::digits) for a Model of this name and namespace in another cluster.
    pub(super) fn train(
        &self,
        model: &str,
        epochs: u32,
        seed: u32,
        progress: SocketAddr,
    ) -> anyhow::Result<Child> {
        let place = |path: &str| json!({"uri": format!("s3://models/{}/{path}", self.namespace.name)});
        let order = json!({
            "model": model, "namespace": self.namespace.name, "uid": "of-another-cluster", "run": "elsewhere", "attempt": 0,
            "training": {
                "data": {"source": place("digits.csv"), "target": "digit"},
                "builtin": {
                    "epochs": epochs, "earlyStopping": {"enabled": false}, "layers": [{"units": 128}], "seed": seed,
                },
                "output": place("out"),
            },
        });
        let mut command = self.step("train", &order.to_string())?;
        command.arg("--work-dir").arg(self.folder.join("work")).env(STORE_RETRY, "1h");
        Ok(command.args(["--progress-listen", &progress.to_string()]).spawn()?)
    }
}

/// Sends a signal to a command that was not waited for yet, so that its number is its own.
pub(super) fn signal(command: &Child, name: &str) -> anyhow::Result<()> {
    processes::signal(command.id().context("it has ended")?, name)
}

/// What a command says that ended well.
pub(super) async fn ended(command: Child) -> anyhow::Result<Outcome> {
    let output = command.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "it ended with {}: {said}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.trim_end().lines().next_back().unwrap_or_default();
    Outcome::read(line).with_context(|| format!("{line:?} is no outcome"))
}

/// A port of this machine that nobody listens to.
pub(super) fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
