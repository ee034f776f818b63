//! furnace-server, a library that serves what its user gives it: here the model through ONNX Runtime.

use std::path::Path;
use std::process::Command;

use super::{Launch, built};

const PROJECT: built::Project = built::Project {
    name: "furnace-0.16.2",
    files: &[
        ("Cargo.toml", include_str!("furnace_server/Cargo.toml.in")),
        ("main.rs", include_str!("furnace_server/main.rs")),
    ],
    product: "furnace-bench",
};

pub(super) fn install() -> anyhow::Result<()> {
    PROJECT.build().map(drop)
}

pub(super) fn launch(model: &Path) -> anyhow::Result<Launch> {
    let mut launch = Launch::new(Command::new(PROJECT.build()?))?;
    launch
        .command
        .env("BENCH_MODEL", model.canonicalize()?)
        .env("BENCH_PORT", launch.http.port().to_string())
        .env("BENCH_GRPC_PORT", launch.grpc.port().to_string());
    Ok(launch)
}
