//! Runs the tests that need a real Kubernetes, each tier with a cluster of its own that ends with the run.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use modelwright_test_servers::{cache_folder, required, sha256};

use crate::{
    cluster::{self, Instance, Keda, Kind, Programs},
    image,
};

/// What to run.
#[derive(Args)]
pub(crate) struct E2e {
    /// The tiers to run; all but `keda`, if none is named.
    #[arg(value_enum)]
    tiers: Vec<Tier>,
    /// Use the cluster of KUBECONFIG instead of one of its own. It needs the images that the tests name.
    #[arg(long)]
    use_kubeconfig: bool,
    /// Leave the cluster running after a failure, to look around.
    #[arg(long)]
    keep: bool,
    /// Also run the tests of examples that need images of their own, and make these: minutes, and 4 GB on the disk.
    #[arg(long, conflicts_with = "use_kubeconfig")]
    examples: bool,
    /// Arguments for the tests, such as a name to filter by.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// A set of tests by what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// The cluster of this repository itself: starts, ends, survives.
    Cluster,
    /// API server and controllers, with a node that is scripted.
    ControlPlane,
    /// The same with what a former release left: nobody else may be in a cluster whose definitions change.
    Upgrade,
    /// Pods that run.
    Node,
    /// Pods on a network that enforces policies. Not among those that run by default: it compiles kube-router, and needs iptables.
    Network,
    /// Pods that run, and a real KEDA, which takes long to compile: on request only.
    Keda,
}

impl Tier {
    /// The name of its test target.
    fn target(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::ControlPlane => "control-plane",
            Self::Upgrade => "upgrade",
            Self::Node | Self::Network => "node",
            Self::Keda => "keda",
        }
    }

    /// What its logs are called by.
    fn name(self) -> &'static str {
        if self == Self::Network { "network" } else { self.target() }
    }

    /// The tests of the target that are its own.
    fn filter(self) -> &'static [&'static str] {
        if self == Self::Network { &["--ignored", "network::"] } else { &[] }
    }

    /// The cluster that it needs.
    fn kind(self) -> Kind {
        match self {
            Self::ControlPlane | Self::Upgrade => Kind::ControlPlane,
            Self::Cluster | Self::Node | Self::Network | Self::Keda => Kind::Node,
        }
    }
}

/// Runs the tiers that this machine can run, and says which it cannot.
///
/// # Errors
/// Fails if a tier failed, or if one was skipped where nothing may be.
pub(crate) fn run(e2e: &E2e) -> anyhow::Result<()> {
    let tiers = match e2e.tiers.as_slice() {
        [] if e2e.use_kubeconfig => &[Tier::Node],
        [] => [Tier::ControlPlane, Tier::Upgrade, Tier::Node, Tier::Cluster].as_slice(),
        tiers => tiers,
    };
    let mut failures = Vec::new();
    for tier in tiers {
        if !e2e.use_kubeconfig
            && let Err(error) = cluster::check(tier.kind())
        {
            eprintln!("SKIPPED: tests of tier {}: {error}", tier.name());
            if required() || !e2e.tiers.is_empty() {
                failures.push(format!("tier {} could not run", tier.name()));
            }
            continue;
        }
        let started = Instant::now();
        if let Err(error) = run_tier(*tier, e2e) {
            failures.push(format!("tier {}: {error:#}", tier.name()));
        }
        eprintln!("tier {}: {} s", tier.name(), started.elapsed().as_secs());
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn run_tier(tier: Tier, e2e: &E2e) -> anyhow::Result<()> {
    let logs = logs(tier)?;
    // Before the cluster, which would wait for the compiler. The tests of the whole command bring the program with them, which
    // the tests of the operator start.
    succeed(cargo_test(tier).args(["--test", "local", "--no-run"]))?;
    // The tier of clusters starts its own.
    if e2e.use_kubeconfig || tier == Tier::Cluster {
        return test(tier, e2e, None, None, &logs);
    }
    let instance = Instance::new(&name_of_this_checkout(tier))?;
    let _lock = alone(tier)?;
    // What an earlier run left could change the outcome of this one.
    instance.down()?;
    let outcome = test_on(&instance, tier, e2e, &logs);
    if outcome.is_err() {
        copy_folder(&instance.logs(), &logs.join("cluster"))?;
        copy_folder(&instance.pod_logs(), &logs.join("pods"))?;
        if e2e.keep {
            eprintln!("the cluster is left running: export KUBECONFIG={}", instance.kubeconfig().display());
            return outcome;
        }
    }
    instance.down()?;
    outcome.with_context(|| format!("logs of the cluster and its pods: {}", logs.display()))
}

/// Starts the cluster, with the image under test where pods run, and runs the tests.
fn test_on(instance: &Instance, tier: Tier, e2e: &E2e, logs: &Path) -> anyhow::Result<()> {
    // Before the cluster, like what the tests are. The rights of the operator are those of the chart, which Helm writes out.
    if tier == Tier::ControlPlane {
        Programs::build_tools()?;
    }
    let policies = if tier == Tier::Network { Some(cluster::kube_router()?) } else { None };
    let keda = if tier == Tier::Keda { Some(Keda::build()?) } else { None };
    let programs = instance.up_with(tier.kind(), (!e2e.keep).then(std::process::id), policies.as_deref())?;
    if tier.kind() == Kind::Node {
        instance.load_image(&image::build_for_tests()?)?;
        if e2e.examples {
            instance.load_image(&image::write_pytorch_example()?)?;
        }
    }
    test(tier, e2e, Some((instance, &programs)), keda.as_ref(), logs)
}

fn test(
    tier: Tier,
    e2e: &E2e,
    cluster: Option<(&Instance, &Programs)>,
    keda: Option<&Keda>,
    logs: &Path,
) -> anyhow::Result<()> {
    let mut test = cargo_test(tier);
    test.arg("--")
        .args(tier.filter())
        .args(e2e.examples.then_some("--include-ignored"))
        .args(&e2e.arguments)
        .env("MODELWRIGHT_E2E_LOGS", logs)
        .env("MODELWRIGHT_XTASK", std::env::current_exe()?)
        // A failure says what was awaited and what was there; a backtrace through async code says less in more lines.
        .env("RUST_BACKTRACE", "0");
    if !e2e.use_kubeconfig {
        // A proxy would be asked for addresses that exist only here.
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            test.env_remove(proxy);
        }
    }
    if let Some((instance, programs)) = cluster {
        // kubectl of the cluster's version; not on the PATH, which build scripts watch.
        test.env("KUBECONFIG", instance.kubeconfig()).env("MODELWRIGHT_E2E_PROGRAMS", programs.folder());
        test.env("KUBECACHEDIR", instance.kubectl_cache());
    } else if tier == Tier::Cluster {
        test.env_remove("KUBECONFIG").env("MODELWRIGHT_E2E_IMAGE", image::build_for_tests()?);
    }
    if let Some(keda) = keda {
        test.env("MODELWRIGHT_E2E_KEDA", &keda.programs)
            .env("MODELWRIGHT_E2E_KEDA_DEFINITIONS", &keda.definitions);
        test.envs(
            cluster
                .and_then(|(instance, _)| instance.network())
                .map(|network| ("MODELWRIGHT_E2E_NETWORK", network)),
        );
    }
    succeed(&mut test)
}

/// Compiles or runs the tests of a tier. The packages are those of `cargo test --workspace`, so that nothing is compiled
/// twice, with other features.
fn cargo_test(tier: Tier) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).args(["test", "--workspace", "--test", tier.target()]);
    cargo
}

fn succeed(cargo: &mut Command) -> anyhow::Result<()> {
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo test ended with {status}");
    Ok(())
}

/// An empty folder for what a failure leaves.
fn logs(tier: Tier) -> anyhow::Result<PathBuf> {
    let folder = workspace().join("target/e2e").join(tier.name());
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        _ => {}
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn workspace() -> PathBuf {
    let folder = crate::root();
    folder.canonicalize().unwrap_or(folder)
}

/// A name of its own for each checkout, so that the tests of two never meet.
fn name_of_this_checkout(tier: Tier) -> String {
    let mut hash = sha256(workspace().as_os_str().as_encoded_bytes());
    hash.truncate(8);
    let tier = match tier {
        Tier::Cluster => "c",
        Tier::ControlPlane => "p",
        Tier::Upgrade => "u",
        Tier::Node => "n",
        Tier::Network => "w",
        Tier::Keda => "k",
    };
    format!("t{tier}-{hash}")
}

/// Waits until no other run of this checkout uses the tier's cluster.
fn alone(tier: Tier) -> anyhow::Result<File> {
    let folder = cache_folder()?.join("clusters");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join(format!("{}.tests.lock", name_of_this_checkout(tier))))?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another run of these tests in this checkout");
        lock.lock()?;
    }
    Ok(lock)
}

/// Copies what can be read: a log that cannot is not worth losing the others.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else if let Err(error) = fs::copy(&source, &target) {
            eprintln!("cannot keep {}: {error}", source.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_test_clusters_are_valid() {
        let all = [Tier::Cluster, Tier::ControlPlane, Tier::Upgrade, Tier::Node, Tier::Network, Tier::Keda];
        for tier in all {
            Instance::new(&name_of_this_checkout(tier)).map(|_| ()).unwrap();
        }
    }

    #[test]
    fn folders_are_copied_with_what_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/log"), "x").unwrap();
        copy_folder(&folder.path().join("a"), &folder.path().join("c")).unwrap();
        assert_eq!(fs::read(folder.path().join("c/b/log")).unwrap(), b"x");
        copy_folder(&folder.path().join("none"), &folder.path().join("d")).unwrap();
    }
}
