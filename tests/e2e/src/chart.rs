//! The Helm chart of this repository.
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use crate::{cluster::program, images, namespace::TestNamespace};

/// Where the chart is.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../charts/modelwright")
}

/// Runs helm to its end; what it printed.
pub async fn helm(arguments: &[&str]) -> anyhow::Result<String> {
    let mut helm = tokio::process::Command::from(program("helm"));
    let output = helm.args(arguments).output().await.context("cannot run helm")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "helm {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// Arguments for an operator of this namespace alone, with the image under test. The definition of Models is installed by
/// [`crate::crd::install`], once for all tests.
pub fn arguments(namespace: &TestNamespace) -> Vec<String> {
    let image = images::modelwright();
    let (repository, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
    let values = [
        format!("image.repository={repository}"),
        format!("image.tag={tag}"),
        format!("watchNamespaces={{{}}}", namespace.name),
        format!("fullnameOverride={}", namespace.name),
        "crds.install=false".to_owned(),
        "externalScaler.enabled=true".to_owned(),
        "operator.replicas=1".to_owned(),
        "rbac.aggregateRoles=false".to_owned(),
    ];
    let mut arguments = vec![
        "--namespace".to_owned(),
        namespace.name.clone(),
        "--wait".to_owned(),
        "--timeout=2m".to_owned(),
    ];
    arguments.extend(values.into_iter().flat_map(|value| ["--set".to_owned(), value]));
    arguments
}

/// Installs an operator for this namespace alone and waits until it is available.
pub async fn install(namespace: &TestNamespace) -> anyhow::Result<()> {
    crate::crd::install(&namespace.client).await?;
    let folder = folder().display().to_string();
    let mut all = vec!["install", "modelwright", folder.as_str()];
    let arguments = arguments(namespace);
    all.extend(arguments.iter().map(String::as_str));
    helm(&all).await.map(|_| ())
}
