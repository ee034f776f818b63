//! The connection to the cluster under test.
use std::{path::PathBuf, process::Command};

use anyhow::{Context, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// A client of the cluster that `KUBECONFIG` names, with that file's rights: those of an administrator.
pub async fn connect() -> anyhow::Result<Client> {
    Ok(Client::try_from(config().await?)?)
}

/// Address and credentials of the cluster that `KUBECONFIG` names. The default file in the home directory is not looked
/// at: tests must not reach a cluster that nobody named.
pub async fn config() -> anyhow::Result<Config> {
    if std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty()) {
        bail!(
            "KUBECONFIG is not set: run `cargo xtask e2e`, which starts a cluster, or name any other cluster in \
             KUBECONFIG"
        );
    }
    let kubeconfig = Kubeconfig::from_env()
        .context("KUBECONFIG names a file that cannot be read")?
        .context("KUBECONFIG names no file")?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("KUBECONFIG names a file that describes no cluster")
}

/// A command of the programs that the cluster was started with, such as `kubectl`, or else of the `PATH`.
pub fn program(name: &str) -> Command {
    let folder = std::env::var_os("MODELWRIGHT_E2E_PROGRAMS").map(PathBuf::from);
    Command::new(folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name)))
}
