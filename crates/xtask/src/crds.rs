//! Writes the custom resource definitions, or finds that they are not what the types say.

use std::fs;

use anyhow::{Context as _, ensure};

/// Where the definition of Models stands.
const MODELS: &str = "crds/models.modelwright.dev.yaml";

/// Writes `crds/`, or with `check` fails if it would change.
pub(crate) fn generate(check: bool) -> anyhow::Result<()> {
    let definition = modelwright_api::crd::crd_yaml()?;
    keep(MODELS, &definition, "cargo xtask crds", check)
}

/// Writes `content` to `path`, which is relative to the repository's root. With `check` nothing is written, and a file
/// that differs is an error that names the command which repairs it.
pub(crate) fn keep(path: &str, content: &str, command: &str, check: bool) -> anyhow::Result<()> {
    let file = crate::root().join(path);
    let current = fs::read_to_string(&file).unwrap_or_default();
    if current == content {
        return Ok(());
    }
    ensure!(!check, "{path} is stale: run `{command}` and commit the result");
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("wrote {path}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_file_is_named_with_the_command_that_repairs_it() {
        let error = keep("crds/absent.yaml", "a: 1\n", "cargo xtask crds", true).unwrap_err().to_string();
        assert_eq!(error, "crds/absent.yaml is stale: run `cargo xtask crds` and commit the result");
        assert!(!crate::root().join("crds/absent.yaml").exists());
    }

    #[test]
    fn committed_definitions_are_current() {
        generate(true).unwrap();
    }
}
