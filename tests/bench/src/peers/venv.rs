//! Python environments of peers, each in the cache folder under its release, made when they are first needed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::process::output;

/// The ONNX Runtime of every Python peer: the release that ours loads.
const ONNXRUNTIME: &str = "onnxruntime==1.32.0";

/// An environment.
pub(super) struct Venv {
    name: &'static str,
    release: &'static str,
    /// What is installed with what it asks for.
    packages: &'static [&'static str],
    /// What is installed without what it asks for.
    bare: &'static [&'static str],
}

pub(super) const MLSERVER: Venv = Venv {
    name: "mlserver",
    release: "1.7.1",
    // Newer releases of uvloop have no current event loop where MLServer loads its models.
    packages: &["mlserver==1.7.1", "uvloop<0.22"],
    bare: &[],
};
pub(super) const KSERVE: Venv =
    Venv { name: "kserve", release: "0.21.0", packages: &["kserve==0.21.0"], bare: &[] };
pub(super) const LITSERVE: Venv =
    Venv { name: "litserve", release: "0.2.19", packages: &["litserve==0.2.19"], bare: &[] };
pub(super) const BENTOML: Venv =
    Venv { name: "bentoml", release: "1.4.39", packages: &["bentoml==1.4.39"], bare: &[] };
/// The wheel that ships Triton itself; the packages around its Python interface are not needed. Its Python backend reads arrays of
/// numpy's first version only.
pub(super) const TRITON: Venv =
    Venv { name: "triton", release: "0.7.0", packages: &["numpy<2"], bare: &["nvidia-pytriton==0.7.0"] };

impl Venv {
    /// Where it is, or will be.
    pub(super) fn folder(&self) -> anyhow::Result<PathBuf> {
        Ok(super::cache_folder()?.join(format!("{}-{}", self.name, self.release)))
    }

    /// Makes the environment unless it is there, and returns the path of its Python.
    ///
    /// An environment cannot be moved, so it is made where it stays; one that was not finished is made again.
    pub(super) fn ensure(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder()?;
        let (python, finished) = (folder.join("bin/python"), folder.join("finished"));
        if finished.is_file() {
            return Ok(python);
        }
        eprintln!("installing {} {} into {}", self.name, self.release, folder.display());
        output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .context("python3 with venv and pip is needed for this peer")?;
        let pip = || {
            let mut command = Command::new(&python);
            command.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary=:all:",
            ]);
            command
        };
        if !self.bare.is_empty() {
            output(pip().arg("--no-deps").args(self.bare))?;
        }
        output(pip().args(self.packages).arg(ONNXRUNTIME))?;
        fs::write(&finished, "")?;
        Ok(python)
    }

    /// The folder that holds its packages.
    pub(super) fn packages(&self) -> anyhow::Result<PathBuf> {
        let python = self.ensure()?;
        let path = output(
            Command::new(python).args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]),
        )?;
        Ok(PathBuf::from(path.trim()))
    }
}
