//! A real single-node Kubernetes on this machine, for tests and for trying Modelwright out: `cargo xtask cluster`.
//!
//! The sources of its programs and the script that starts them are in `tests/cluster`.

mod images;
mod instance;
mod keda;
mod programs;
pub(crate) mod requirements;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

pub(crate) use instance::{Instance, Kind};
pub(crate) use keda::Keda;
pub(crate) use programs::Programs;
use requirements::Purpose;

/// What can be done with clusters.
#[derive(Subcommand)]
pub(crate) enum Cluster {
    /// Compile Kubernetes and all that a node needs into the cache folder; a quarter of an hour the first time.
    Build,
    /// Start a cluster, unless it runs, and print what points a shell to it: eval "$(cargo xtask cluster up)".
    Up {
        #[command(flatten)]
        name: Name,
        /// No node, so no root needed: objects are stored and controllers act on them, but no pod runs.
        #[arg(long)]
        control_plane_only: bool,
        /// End the cluster when the process with this number ends.
        #[arg(long, value_name = "PID")]
        owner: Option<u32>,
    },
    /// End a cluster and remove every trace of it.
    Down {
        #[command(flatten)]
        name: Name,
    },
    /// Print the path of the administrator's kubeconfig.
    Kubeconfig {
        #[command(flatten)]
        name: Name,
    },
    /// Load OCI archives, such as those of `cargo xtask image`, into the node.
    LoadImage {
        #[command(flatten)]
        name: Name,
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Run kubectl as the cluster's administrator.
    Kubectl {
        #[command(flatten)]
        name: Name,
        /// Its arguments, such as `get pods`.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a command inside the node, such as `ctr -n k8s.io images list`.
    Node {
        #[command(flatten)]
        name: Name,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// Which cluster.
#[derive(Args)]
pub(crate) struct Name {
    /// Clusters of different names run side by side.
    #[arg(long = "name", default_value = "dev", value_parser = instance::parse_name)]
    name: String,
}

/// Refuses where this machine cannot run a cluster, or cannot build what is left to build for it.
pub(crate) fn check(kind: Kind) -> anyhow::Result<()> {
    let (run, build) = match kind {
        Kind::ControlPlane => (Purpose::RunControlPlane, Purpose::BuildControlPlane),
        Kind::Node => (Purpose::RunNode, Purpose::BuildNode),
    };
    requirements::check(run)?;
    let programs = Programs::folder_of_sources()?;
    if programs.are_built(kind) && (kind == Kind::ControlPlane || images::are_there(&programs)) {
        return Ok(());
    }
    requirements::check(build)
}

/// The program that makes a node's network enforce policies, compiled if it is not there.
pub(crate) fn kube_router() -> anyhow::Result<PathBuf> {
    requirements::check(Purpose::EnforcePolicies)?;
    programs::kube_router()
}

/// Makes what a cluster needs, as far as it is not there.
fn build(kind: Kind) -> anyhow::Result<Programs> {
    let programs = Programs::build(kind)?;
    if kind == Kind::Node {
        images::ensure(&programs)?;
    }
    Ok(programs)
}

/// Does what the command line says.
pub(crate) fn run(command: &Cluster) -> anyhow::Result<()> {
    match command {
        Cluster::Build => {
            requirements::check(Purpose::BuildNode)?;
            let programs = build(Kind::Node)?;
            eprintln!("the programs are in {}", programs.folder().display());
        }
        Cluster::Up { name, control_plane_only, owner } => {
            let kind = if *control_plane_only { Kind::ControlPlane } else { Kind::Node };
            let instance = Instance::new(&name.name)?;
            let programs = instance.up(kind, *owner)?;
            println!("export KUBECONFIG={}", instance.kubeconfig().display());
            println!("export KUBECACHEDIR={}", instance.kubectl_cache().display());
            println!("export PATH={}:$PATH", programs.folder().display());
            if let Some(network) = instance.network() {
                // A proxy would be asked for addresses that exist only here.
                println!("export NO_PROXY=${{NO_PROXY:+$NO_PROXY,}}{network}");
            }
        }
        Cluster::Down { name } => Instance::new(&name.name)?.down()?,
        Cluster::Kubeconfig { name } => {
            println!("{}", Instance::new(&name.name)?.running_kubeconfig()?.display());
        }
        Cluster::LoadImage { name, archives } => {
            let instance = Instance::new(&name.name)?;
            for archive in archives {
                instance.load_image(archive).with_context(|| format!("cannot load {}", archive.display()))?;
            }
        }
        Cluster::Kubectl { name, arguments } => Instance::new(&name.name)?.kubectl(arguments)?,
        Cluster::Node { name, command } => Instance::new(&name.name)?.node(command)?,
    }
    Ok(())
}
