//! Compiles Go modules, with progress: Kubernetes takes minutes.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, IsTerminal as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};

/// Whether C is compiled too.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cgo {
    /// Go only: the program needs no library of the system.
    Off,
    /// With a build tag.
    With(&'static str),
}

/// Compiles `packages` of the module in `folder` into `output`, by the versions that its `go.sum` pins.
///
/// Several packages make `output` a folder, which must be there. `flags` go to the linker. `name` is what people see.
pub(crate) fn build(
    folder: &Path,
    packages: &[&str],
    output: &Path,
    flags: &str,
    cgo: Cgo,
    name: &str,
) -> anyhow::Result<()> {
    let (enabled, tags) = match cgo {
        Cgo::Off => ("0", ""),
        Cgo::With(tag) => ("1", tag),
    };
    eprintln!("building {name}");
    let total =
        query(go(folder).env("CGO_ENABLED", enabled).args(["list", "-deps", "-tags", tags]).args(packages))?
            .lines()
            .count();
    let mut build = go(folder);
    build
        .env("CGO_ENABLED", enabled)
        // With -v it names each package that it compiles.
        .args(["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags", tags])
        .args(["-ldflags", &format!("-s -w {flags}"), "-o"])
        .arg(output)
        .args(packages);
    watch(&mut build, total).with_context(|| format!("cannot build {name}"))
}

/// The version of a module that the module in `folder` uses.
pub(crate) fn version_of(folder: &Path, module: &str) -> anyhow::Result<String> {
    query(go(folder).args(["list", "-m", "-f", "{{.Version}}", module]))
}

/// Where the sources of a module that the module in `folder` uses are, downloaded if need be.
pub(crate) fn folder_of(folder: &Path, module: &str) -> anyhow::Result<PathBuf> {
    query(go(folder).args(["mod", "download"]).arg(module))?;
    query(go(folder).args(["list", "-m", "-f", "{{.Dir}}", module])).map(PathBuf::from)
}

/// The packages that the module in `folder` lists as its tools.
pub(crate) fn tools_of(folder: &Path) -> anyhow::Result<Vec<String>> {
    Ok(query(go(folder).args(["list", "tool"]))?.lines().map(str::to_owned).collect())
}

fn go(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder).env("GOWORK", "off").stdin(Stdio::null());
    go
}

/// What a short command prints.
fn query(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stderr(Stdio::inherit()).output().context("cannot run go")?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Runs a build and counts the packages that it names, of `total`; shows what else it said if it fails.
fn watch(build: &mut Command, total: usize) -> anyhow::Result<()> {
    let mut child = build.stderr(Stdio::piped()).spawn().context("cannot run go")?;
    let stderr = child.stderr.take().context("no output of go")?;
    let bar = ProgressBar::new(total as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} packages, {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut said = Instant::now();
    let mut complaints = VecDeque::new();
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        if is_package(&line) {
            bar.inc(1);
        } else if !line.starts_with("go: downloading") {
            complaints.push_back(line);
            // The first errors matter, but a build may print thousands of lines.
            complaints.truncate(50);
        }
        // Logs of continuous integration have no bars, and silence for minutes looks like a hang.
        if !std::io::stderr().is_terminal() && said.elapsed() > Duration::from_mins(1) {
            eprintln!("  {} of at most {total} packages", bar.position());
            said = Instant::now();
        }
    }
    bar.finish_and_clear();
    let status = child.wait()?;
    ensure!(
        status.success(),
        "go build ended with {status}:\n{}",
        complaints.into_iter().collect::<Vec<_>>().join("\n")
    );
    Ok(())
}

/// True for the path of a package, as `go build -v` prints it, and not for a compiler's words.
fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.contains([' ', '\t', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_told_from_complaints() {
        for line in ["k8s.io/kubernetes/pkg/kubelet", "internal/abi", "vendor/golang.org/x/net/idna", "kube"]
        {
            assert!(is_package(line), "{line}");
        }
        for line in ["# kube", "./main.go:3:1: syntax error", "go: downloading x v1", "\tundefined: y", ""] {
            assert!(!is_package(line), "{line}");
        }
    }
}
