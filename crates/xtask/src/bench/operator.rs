//! `cargo xtask bench operator`: the operator on a control plane of its own with scripted pods, beside a client that only
//! creates the same objects. The measuring itself is in `tests/e2e/bench/operator`.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::cluster::{self, Instance, Kind};

/// Options of the bench of the operator.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many Models; a fifth of them is autoscaled.
    #[arg(long, default_value_t = 1000)]
    models: usize,
    /// How many edits are timed.
    #[arg(long, default_value_t = 200)]
    edits: usize,
    /// Seconds in which nothing should be written, before and after a restart of the operator.
    #[arg(long, default_value_t = 300)]
    steady: u64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    cluster::check(Kind::ControlPlane)?;
    let packages = ["--package", "modelwright", "--package", "modelwright-e2e", "--bins"];
    let status =
        Command::new(env!("CARGO")).args(["build", "--release", "--quiet"]).args(packages).status()?;
    ensure!(status.success(), "the release build failed");
    let instance = Instance::new("bench-op")?;
    instance.down()?;
    instance.up(Kind::ControlPlane, Some(std::process::id()))?;
    let bench = crate::root().join("target/release/operator-bench");
    let outcome = Command::new(&bench)
        .env("KUBECONFIG", instance.kubeconfig())
        .env("BENCH_MODELS", options.models.to_string())
        .env("BENCH_EDITS", options.edits.to_string())
        .env("BENCH_STEADY_SECONDS", options.steady.to_string())
        .status()
        .with_context(|| format!("cannot run {}", bench.display()));
    instance.down()?;
    let status = outcome?;
    ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}
