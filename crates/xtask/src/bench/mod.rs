//! `cargo xtask bench`: what the project claims about speed and size, measured on the machine at hand.

mod operator;
mod server;
mod trainer;

use clap::Subcommand;

/// One variant per bench.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Measure the operator on a real control plane: time until Models are Ready beside a null client, memory, writes.
    Operator(operator::Options),
    /// Measure the inference server beside its peers: requests per second, latency, CPU, memory, start-up.
    Server(server::Options),
    /// Measure the built-in trainer beside PyTorch: CPU time of an epoch, accuracy, memory, size.
    Trainer(trainer::Options),
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Operator(options) => operator::run(options),
        Bench::Server(options) => server::run(options),
        Bench::Trainer(options) => trainer::run(options),
    }
}
