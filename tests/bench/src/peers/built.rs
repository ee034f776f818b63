//! Peers that are built: small Rust projects in the cache folder, outside the workspace, whose dependencies are no concern of
//! the project's programs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::process::output;

/// A project and what it makes.
pub(super) struct Project {
    /// With the release of what it builds, so that another release is another folder.
    pub(super) name: &'static str,
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The file in `target/release`.
    pub(super) product: &'static str,
}

impl Project {
    /// Builds it where that has not been done, and returns the product's path.
    pub(super) fn build(&self) -> anyhow::Result<PathBuf> {
        let folder = super::cache_folder()?.join(self.name);
        fs::create_dir_all(&folder)?;
        // Written only where it differs: cargo goes by the times of files.
        for (name, content) in self.files {
            let file = folder.join(name);
            if fs::read_to_string(&file).ok().as_deref() != Some(*content) {
                fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
        let target = folder.join("target");
        let product = target.join("release").join(self.product);
        if !product.is_file() {
            eprintln!("building {} in {}", self.name, folder.display());
        }
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--quiet", "--manifest-path"]).arg(folder.join("Cargo.toml"));
        output(build.arg("--target-dir").arg(&target))
            .with_context(|| format!("{} does not build", self.name))?;
        Ok(product)
    }
}
