//! Runs the tests of `tests/clients`: the Python clients that users have, and ONNX's node tests, against the server.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use modelwright_test_servers::{REQUIRE, cache_folder, required, sha256};

use crate::root;

/// The oldest Python for which every pinned package has a wheel.
const OLDEST: (u32, u32) = (3, 11);
/// Prints the version, and fails where Python came without what makes environments.
const QUESTION: &str = "import ensurepip, venv, sys; print(*sys.version_info[:3], sep='.')";

/// What to run.
#[derive(Args)]
pub(crate) struct Clients {
    /// The scripts to run, such as `test_kserve`; all of them, if none is named.
    scripts: Vec<String>,
    /// Run every node test, not just one for each operator and datatype.
    #[arg(long)]
    all: bool,
    /// Run every node test and write down which pass and why the others do not.
    #[arg(long)]
    update: bool,
}

/// Runs the scripts, or says why they are skipped.
///
/// # Errors
/// Fails if a script failed, if the packages could not be installed, or if Python is missing where nothing may be skipped.
pub(crate) fn run(clients: &Clients) -> anyhow::Result<()> {
    let version = match python_version() {
        Ok(version) => version,
        Err(reason) => {
            eprintln!("SKIPPED: tests of clients: {reason}");
            ensure!(!required(), "tests of clients: {REQUIRE}=1 forbids to skip them");
            return Ok(());
        }
    };
    let python = ensure_packages(&version)?;
    let program = build()?;
    let mut failures = Vec::new();
    for script in scripts(clients)? {
        let started = Instant::now();
        // One process each: the clients of Triton and KServe define the same messages and do not bear each other.
        let mut command = Command::new(&python);
        command.current_dir(folder()).env("MODELWRIGHT_PROGRAM", &program);
        if script == "node_tests" {
            command.arg("node_tests.py");
            command.args(clients.all.then_some("--all")).args(clients.update.then_some("--update"));
        } else {
            command.args(["-m", "unittest", &script]);
        }
        if let Err(error) = succeed(&mut command) {
            failures.push(format!("{script}: {error:#}"));
        }
        eprintln!("{script}: {} s", started.elapsed().as_secs());
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn folder() -> PathBuf {
    root().join("tests/clients")
}

/// The scripts that were asked for, by their names without `.py`.
fn scripts(clients: &Clients) -> anyhow::Result<Vec<String>> {
    if clients.all || clients.update {
        ensure!(clients.scripts.is_empty(), "--all and --update run node_tests and no other script");
        return Ok(vec!["node_tests".to_owned()]);
    }
    let mut known = Vec::new();
    for entry in fs::read_dir(folder()).context("cannot list tests/clients")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        known.extend(name.strip_suffix(".py").filter(|name| is_script(name)).map(str::to_owned));
    }
    known.sort();
    if clients.scripts.is_empty() {
        return Ok(known);
    }
    for script in &clients.scripts {
        ensure!(
            known.contains(script),
            "there is no script {script:?} in tests/clients, only {}",
            known.join(", ")
        );
    }
    Ok(clients.scripts.clone())
}

/// The others are parts of these.
fn is_script(name: &str) -> bool {
    name.starts_with("test_") || name == "node_tests"
}

/// The version of the installed Python, or why there is none that will do.
fn python_version() -> Result<String, String> {
    let needed =
        format!("install Python {}.{} or newer with venv (Debian: python3-venv)", OLDEST.0, OLDEST.1);
    let output = Command::new("python3").args(["-c", QUESTION]).output();
    let output = output.map_err(|error| format!("python3 cannot be run ({error}); {needed}"))?;
    if !output.status.success() {
        return Err(format!("python3 cannot make environments; {needed}"));
    }
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if is_new_enough(&version) { Ok(version) } else { Err(format!("python3 is {version}; {needed}")) }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST)
}

/// Makes an environment with the pinned packages unless there is one, and returns its interpreter.
///
/// The folder appears whole, by one rename, so any number of calls may run at once.
fn ensure_packages(version: &str) -> anyhow::Result<PathBuf> {
    let requirements = folder().join("requirements.txt").canonicalize().context("no requirements.txt")?;
    let mut hash = sha256(&[version.as_bytes(), &fs::read(&requirements)?].concat());
    hash.truncate(16);
    let cache = cache_folder()?;
    let environment = cache.join(format!("clients-{hash}"));
    let python = Path::new("bin").join("python");
    if environment.join(&python).exists() {
        return Ok(environment.join(python));
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let work = tempfile::Builder::new().prefix(".clients-").tempdir_in(&cache)?;
    let staged = work.path().join("environment");
    let started = Instant::now();
    eprintln!("installing the clients' Python packages");
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&staged))?;
    let mut pip = Command::new(staged.join(&python));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        // The file names every package, so pip has nothing to resolve.
        .args(["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--requirement"])
        .arg(&requirements);
    succeed(&mut pip).with_context(|| {
        format!(
            "pip could not install {}; is the package index reachable (python3 -m pip config list shows which it is)?",
            requirements.display()
        )
    })?;
    match fs::rename(&staged, &environment) {
        // Another process was faster.
        Err(_) if environment.join(&python).exists() => {}
        moved => moved.with_context(|| format!("cannot move the packages to {}", environment.display()))?,
    }
    eprintln!("the clients' Python packages: installed in {} s", started.elapsed().as_secs());
    Ok(environment.join(python))
}

/// Builds the program and returns its path. The packages are those of `cargo test --workspace`, so that nothing is compiled
/// twice, with other features; the tests of the whole command bring the program with them.
fn build() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["test", "--quiet", "--workspace", "--test", "local", "--no-run"]);
    succeed(&mut cargo)?;
    let program = std::env::current_exe()?.with_file_name("modelwright");
    ensure!(program.is_file(), "the build has no {}", program.display());
    Ok(program)
}

/// Runs a program to its end; its output goes to standard error.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().display().to_string();
    let status = command.stdout(io::stderr()).status().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_is_compared_by_number() {
        for (version, enough) in
            [("3.11.2", true), ("3.9.18", false), ("3.14.0", true), ("4.0.0", true), ("", false)]
        {
            assert_eq!(is_new_enough(version), enough, "{version}");
        }
    }

    #[test]
    fn scripts_are_found_and_others_refused() {
        let clients = |scripts: &[&str], all| Clients {
            scripts: scripts.iter().map(|&name| name.to_owned()).collect(),
            all,
            update: false,
        };
        let every = scripts(&clients(&[], false)).unwrap();
        assert_eq!(
            every,
            ["node_tests", "test_kserve", "test_node_cases", "test_triton_grpc", "test_triton_http"]
        );
        assert_eq!(scripts(&clients(&["test_kserve"], false)).unwrap(), ["test_kserve"]);
        let error = scripts(&clients(&["server"], false)).unwrap_err().to_string();
        assert!(error.contains("server") && error.contains("test_kserve"), "{error}");
        assert_eq!(scripts(&clients(&[], true)).unwrap(), ["node_tests"]);
    }

    #[test]
    fn every_package_is_pinned_by_version_and_hash() {
        let requirements = fs::read_to_string(folder().join("requirements.txt")).unwrap();
        let packages: Vec<&str> = requirements.lines().filter(|line| line.contains("==")).collect();
        assert!(packages.len() > 50 && packages.iter().all(|line| line.ends_with('\\')), "{packages:?}");
        for line in fs::read_to_string(folder().join("requirements.in")).unwrap().lines() {
            let name = line.replace("[grpc,http]", "");
            assert!(
                line.starts_with('#') || packages.iter().any(|package| package.starts_with(&name)),
                "{line}"
            );
        }
    }
}
