//! `cargo xtask bench operator`: the operator on a control plane of its own with scripted pods, beside a client that only
//! creates the same objects. The measuring itself is in `tests/e2e/bench/operator`.

use std::process::Command;

use anyhow::ensure;

use crate::cluster::{self, Instance, Kind};

/// Options of the bench of the operator.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many Models.
    #[arg(long, default_value_t = 1000)]
    models: usize,
    /// How many namespaces they are spread over.
    #[arg(long, default_value_t = 1)]
    namespaces: usize,
    /// How many of them are autoscaled; a fifth, unless said. Kubernetes looks at each of these every 15 seconds.
    #[arg(long)]
    autoscaled: Option<usize>,
    /// How many edits are timed.
    #[arg(long, default_value_t = 200)]
    edits: usize,
    /// Seconds in which nothing should be written, before and after a restart of the operator.
    #[arg(long, default_value_t = 300)]
    steady: u64,
    /// Seconds in which Models are edited, deleted and made anew while one in twenty fails; a row for each minute.
    #[arg(long, default_value_t = 0)]
    churn: u64,
    /// Leave out the client that only makes the same objects.
    #[arg(long)]
    without_null: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    cluster::check(Kind::ControlPlane)?;
    let packages = ["--package", "modelwright", "--package", "modelwright-e2e"];
    let programs = ["--bin", "modelwright", "--bin", "operator-bench"];
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet"])
        .args(packages)
        .args(programs)
        .status()?;
    ensure!(status.success(), "the release build failed");
    let bench = crate::root().join("target/release/operator-bench");
    let instance = Instance::new("bench-op")?.with_usual_autoscaling();
    super::on_a_cluster(&instance, Kind::ControlPlane, &bench, |_, _, command| {
        command
            .env("BENCH_MODELS", options.models.to_string())
            .env("BENCH_NAMESPACES", options.namespaces.to_string())
            .env("BENCH_AUTOSCALED", options.autoscaled.unwrap_or(options.models / 5).to_string())
            .env("BENCH_EDITS", options.edits.to_string())
            .env("BENCH_STEADY_SECONDS", options.steady.to_string())
            .env("BENCH_CHURN_SECONDS", options.churn.to_string())
            .env("BENCH_NULL", u8::from(!options.without_null).to_string());
        Ok(())
    })
}
