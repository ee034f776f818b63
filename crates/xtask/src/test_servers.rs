//! Builds and installs the object storage servers that tests start, by their pins in `tests/servers`.

use std::{fs, io, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, bail, ensure};
use modelwright_test_servers::{Program, REQUIRE, Toolchain, required};

use crate::go;

/// Installs every server that is missing.
///
/// Programs are independent of each other: one without its toolchain is skipped by name, and one that fails does not keep
/// the others from being tried.
///
/// # Errors
/// Fails if a program could not be built, or if one was skipped and servers are required.
pub(crate) fn install() -> anyhow::Result<()> {
    let mut failures = Vec::new();
    for program in Program::ALL {
        let started = Instant::now();
        match install_one(program) {
            Ok(Outcome::Present) => eprintln!("{}: installed", program.name()),
            Ok(Outcome::Installed) => {
                eprintln!("{}: installed in {} s", program.name(), started.elapsed().as_secs());
            }
            Ok(Outcome::Skipped(tool)) => {
                eprintln!("SKIPPED: {}: {tool} is not installed", program.name());
                if required() {
                    failures.push(format!("{}: {REQUIRE}=1 forbids to skip it", program.name()));
                }
            }
            Err(error) => failures.push(format!("{}: {error:#}", program.name())),
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// What became of a program.
pub(crate) enum Outcome {
    /// It was installed already.
    Present,
    /// It is now.
    Installed,
    /// The tool that is missing.
    Skipped(&'static str),
}

/// Installs one program unless it is there.
pub(crate) fn install_one(program: Program) -> anyhow::Result<Outcome> {
    if program.file()?.is_file() {
        return Ok(Outcome::Present);
    }
    let toolchain = program.toolchain();
    let needed: &[_] = match toolchain {
        Toolchain::Go => &[("go", "version")],
        Toolchain::Node => &[("node", "--version"), ("npm", "--version")],
    };
    for (tool, question) in needed {
        if Command::new(tool).arg(question).output().is_err() {
            return Ok(Outcome::Skipped(tool));
        }
    }

    let folder = toolchain.folder()?;
    let servers = folder.parent().context("the servers' folder has no parent")?;
    fs::create_dir_all(servers).with_context(|| format!("cannot create {}", servers.display()))?;
    let work = tempfile::Builder::new().prefix(".install-").tempdir_in(servers)?;
    // Not the temporary folder itself: nobody but its owner could enter it after the move.
    let stage = work.path().join("stage");
    fs::create_dir(&stage)?;
    for (name, content) in toolchain.pins() {
        let file = stage.join(name);
        fs::create_dir_all(file.parent().context("a pinned file has no folder")?)?;
        fs::write(file, content)?;
    }
    match toolchain {
        Toolchain::Go => build(program, &stage, &folder)?,
        Toolchain::Node => install_packages(&stage, &folder)?,
    }
    let file = program.file()?;
    ensure!(file.is_file(), "the installation has no {}", file.display());
    Ok(Outcome::Installed)
}

/// Builds one Go program from the pins in `stage` and moves it into `folder`.
fn build(program: Program, stage: &Path, folder: &Path) -> anyhow::Result<()> {
    let built = stage.join(program.name());
    go::build(stage, &[program.package()], &built, "", go::Cgo::Off, program.name())?;
    fs::create_dir_all(folder)?;
    // Replaces the same program if another process was faster.
    fs::rename(built, program.file()?).context("cannot move the program")
}

/// Installs the packages of the lock file in `stage` and moves them to `folder`, all at once.
fn install_packages(stage: &Path, folder: &Path) -> anyhow::Result<()> {
    eprintln!("installing npm packages");
    run(Command::new("npm")
        .current_dir(stage)
        // No package's own script needs to run here.
        .args(["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]))?;
    match fs::rename(stage, folder) {
        // Another process was faster.
        Err(_) if folder.join("node_modules").is_dir() => Ok(()),
        moved => moved.with_context(|| format!("cannot move the packages to {}", folder.display())),
    }
}

/// Runs a tool to its end; what it says goes to standard error.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdout(io::stderr()).status()?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}
