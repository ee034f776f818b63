//! Gets Python wheels by name and unpacks them, for the files inside: the form in which ONNX Runtime and models are published.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use modelwright_test_servers::sha256;

/// A wheel, down to its bytes.
pub(crate) struct Wheel<'a> {
    /// The package and release, as `name==version`.
    pub(crate) requirement: &'a str,
    /// The Python that it is for. The one installed here does not matter: nothing of the wheel is imported.
    pub(crate) python: &'a str,
    /// Platform tags that pip may choose from.
    pub(crate) tags: &'a [&'a str],
    /// SHA-256 of the wheel, hexadecimal.
    pub(crate) sha256: &'a str,
}

impl Wheel<'_> {
    /// The package's name and its release.
    pub(crate) fn name_and_version(&self) -> (&str, &str) {
        self.requirement.split_once("==").unwrap_or((self.requirement, ""))
    }

    /// Downloads the wheel, checks its digest, unpacks it below `folder`, and returns where.
    pub(crate) fn unpack(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let wheel = self.download(&folder.join("wheel"))?;
        verify(&wheel, self.sha256)?;
        let unpacked = folder.join("unpacked");
        run(python().args(["-m", "zipfile", "--extract"]).arg(wheel).arg(&unpacked))?;
        Ok(unpacked)
    }

    fn download(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let mut pip = python();
        // Not into pip's own cache as well: what is taken from the wheel is kept, and CUDA's wheels have gigabytes.
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-cache-dir",
            "--no-deps",
        ])
        .args(["--only-binary=:all:", "--python-version", self.python])
        .args(self.tags.iter().flat_map(|tag| ["--platform", tag]))
        .arg("--dest")
        .arg(folder)
        .arg(self.requirement);
        run(&mut pip).with_context(|| format!("pip could not download {}", self.requirement))?;
        let downloaded = fs::read_dir(folder)?.next().context("pip succeeded but downloaded nothing")??;
        Ok(downloaded.path())
    }
}

/// Python 3, which holds pip and reads zip files.
fn python() -> Command {
    Command::new("python3")
}

/// Runs a program to its end; its output goes to standard error, so that standard output stays for results.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().display().to_string();
    let status = command.stdout(io::stderr()).status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!("{program} is not installed: install Python 3 with pip"),
        _ => error.into(),
    })?;
    ensure!(status.success(), "{program} ended with {status}; is pip installed (python3 -m pip --version)?");
    Ok(())
}

/// Refuses a file whose SHA-256 is not `expected` (hexadecimal).
pub(crate) fn verify(file: &Path, expected: &str) -> anyhow::Result<()> {
    let actual = sha256(&fs::read(file)?);
    if actual != expected {
        bail!(
            "{} has sha256 {actual} where {expected} is pinned: the package index serves another file",
            file.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_than_pinned_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wheel");
        fs::write(&file, "abc").unwrap();
        verify(&file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        let other = "0".repeat(64);
        let error = verify(&file, &other).unwrap_err().to_string();
        assert!(error.contains(&other) && error.contains("ba7816bf"), "{error}");
    }
}
