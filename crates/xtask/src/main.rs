//! The project's chores, run as `cargo xtask COMMAND`: generated files, ONNX Runtime, example models, test servers.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One variant per chore; each lives in the module of the same name.
#[derive(Subcommand)]
enum Command {}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {}
}
