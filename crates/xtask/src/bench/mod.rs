//! `cargo xtask bench`: what the project claims about speed and size, measured on the machine at hand.

mod faults;
mod operator;
mod server;
mod trainer;

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use clap::Subcommand;

use crate::cluster::{Instance, Kind, Programs};

/// One variant per bench.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Take parts of a real cluster away, change and kill pods: requests lost, time until it recovers, what users see.
    Faults(faults::Options),
    /// Measure the operator on a real control plane: time until Models are Ready beside a null client, memory, writes.
    Operator(operator::Options),
    /// Measure the inference server beside its peers: requests per second, latency, CPU, memory, start-up.
    Server(server::Options),
    /// Measure the built-in trainer beside PyTorch: CPU time of an epoch, accuracy, memory, size.
    Trainer(trainer::Options),
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Faults(options) => faults::run(options),
        Bench::Operator(options) => operator::run(options),
        Bench::Server(options) => server::run(options),
        Bench::Trainer(options) => trainer::run(options),
    }
}

/// Runs a program on a cluster of its own, which ends with it however it ends. `prepare` adds to the cluster and the command.
fn on_a_cluster(
    instance: &Instance,
    kind: Kind,
    bench: &Path,
    prepare: impl FnOnce(&Instance, &Programs, &mut Command) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    instance.down()?;
    let programs = instance.up(kind, Some(std::process::id()))?;
    let mut command = Command::new(bench);
    command.env("KUBECONFIG", instance.kubeconfig());
    let outcome = prepare(instance, &programs, &mut command)
        .and_then(|()| command.status().with_context(|| format!("cannot run {}", bench.display())));
    instance.down()?;
    let status = outcome?;
    ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}
