//! The project's chores, run as `cargo xtask COMMAND`: generated files, ONNX Runtime, example models, test servers, benches.
#![forbid(unsafe_code)]

mod bench;
mod chart;
mod clients;
mod cluster;
mod crds;
mod docs;
mod e2e;
mod examples;
mod go;
mod image;
mod onnxruntime;
mod test_servers;
mod wheel;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One variant per chore; each lives in the module of the same name.
#[derive(Subcommand)]
enum Command {
    /// Measure the server or the trainer on this machine.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Write the definition of Models and the version into the Helm chart.
    Chart {
        /// Write nothing; fail if a file is stale or, where Helm is built, the chart does not render.
        #[arg(long)]
        check: bool,
    },
    /// Run the clients that users have, and ONNX's node tests, against the server.
    Clients(clients::Clients),
    /// A real Kubernetes on this machine, for tests and to try Modelwright out.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Write the custom resource definitions from the types.
    Crds {
        /// Write nothing; fail if a file is stale.
        #[arg(long)]
        check: bool,
    },
    /// Write the manifest reference from the types.
    Docs {
        /// Write nothing; fail if a file is stale.
        #[arg(long)]
        check: bool,
    },
    /// Run the tests that need a real Kubernetes, on clusters of their own.
    E2e(e2e::E2e),
    /// Get ONNX Runtime's CPU library into the cache folder, from its Python wheel.
    #[command(name = "onnxruntime")]
    OnnxRuntime {
        /// Write the libraries and licences of an image's variant below this folder instead, at their places in the image.
        #[arg(long, value_name = "FOLDER", conflicts_with = "print")]
        root: Option<PathBuf>,
        /// The variant.
        #[arg(long, value_enum, default_value_t = image::Variant::Cpu, requires = "root")]
        variant: image::Variant,
        /// Print the library's path and nothing else.
        #[arg(long)]
        print: bool,
    },
    /// Write the image of examples/pytorch-training as an OCI archive, with this machine's Python: minutes, and 4 GB on the disk.
    ExampleImage,
    /// Get the models of the examples that are too large to commit.
    Examples,
    /// Write Modelwright's container image as an OCI archive, without Docker, root or a registry.
    Image(image::Options),
    /// Build and install the object storage servers that tests start; minutes the first time.
    TestServers,
    /// Install the Debian packages that clusters need and that are missing; as root, or with sudo.
    Setup,
}

/// The repository's root: `cargo xtask` runs only inside the repository it was built from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn main() -> ExitCode {
    // Not by returning it: that would add a stack backtrace wherever one is asked for of panics.
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Bench(bench) => bench::run(&bench)?,
        Command::Chart { check } => chart::generate(check)?,
        Command::Clients(clients) => clients::run(&clients)?,
        Command::Cluster(cluster) => cluster::run(&cluster)?,
        Command::Crds { check } => crds::generate(check)?,
        Command::Docs { check } => docs::generate(check)?,
        Command::E2e(e2e) => e2e::run(&e2e)?,
        Command::OnnxRuntime { root: Some(root), variant, .. } => image::write_runtime(variant, &root)?,
        Command::OnnxRuntime { print, .. } => {
            let library = onnxruntime::ensure_library()?;
            if print {
                println!("{}", library.display());
            } else {
                eprintln!("ONNX Runtime is at {}", library.display());
            }
        }
        Command::ExampleImage => println!("{}", image::write_pytorch_example()?.display()),
        Command::Examples => examples::fetch()?,
        Command::Setup => cluster::requirements::install()?,
        Command::Image(options) => image::run(&options)?,
        Command::TestServers => test_servers::install()?,
    }
    Ok(())
}
