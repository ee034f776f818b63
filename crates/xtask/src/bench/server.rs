//! `cargo xtask bench server`: the inference server beside its peers. The measuring itself is in `tests/bench`, a program of its
//! own because a load that shares the machine with what it measures must be optimised.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::onnxruntime;

/// Options of the bench of the server: those of its program, which reads them.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// See `cargo xtask bench server --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let is_given = |name: &str| {
        let with_value = format!("{name}=");
        options.arguments.iter().any(|argument| argument == name || argument.starts_with(&with_value))
    };
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--quiet", "--package", "modelwright-bench"]);
    if !is_given("--binary") && !is_given("--help") {
        build.args(["--package", "modelwright"]);
    }
    ensure!(build.status()?.success(), "the release build failed");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    let release = target.join("release");
    let bench = release.join("server-bench");
    let mut command = Command::new(&bench);
    if !is_given("--binary") {
        command.arg("--binary").arg(release.join("modelwright"));
    }
    let status = command
        .args(&options.arguments)
        .env("ORT_DYLIB_PATH", onnxruntime::ensure_library()?)
        .status()
        .with_context(|| format!("cannot run {}", bench.display()))?;
    ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}
