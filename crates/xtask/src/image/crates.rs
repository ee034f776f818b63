//! The crates that are in the program, as bills of materials list them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::program::{NAME, cargo};

/// A crate in the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// As the crate's manifest has it.
    pub(super) license: Option<String>,
    /// SHA-256 of the published crate, hexadecimal; crates of this repository have none.
    pub(super) checksum: Option<String>,
    /// Where the crates that this one uses are in the list.
    pub(super) dependencies: Vec<usize>,
}

/// Name and version.
type Key = (String, String);

/// The crates that a release of the program has inside, itself first and the others by their names.
///
/// `metadata` is cargo's, which knows licences and who depends on whom, but with the features that any package of the
/// workspace asks for. What is left with the program's own features `cargo tree` says. Neither build scripts nor macros are
/// in a program: they ran when it was made.
pub(super) fn list(metadata: &Value, host: &str) -> anyhow::Result<Vec<Crate>> {
    let output = cargo()
        .args(["tree", "--locked", "--package", NAME, "--no-default-features", "--target", host])
        .args(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "cargo tree ended with {}", output.status);
    let inside = inside(&String::from_utf8(output.stdout)?);
    let lock = fs::read_to_string(crate::root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    select(metadata, &inside, &checksums(&lock))
}

/// The packages that `cargo tree` lists, one a line: `name v1.2.3 (where it is)`.
fn inside(tree: &str) -> BTreeSet<Key> {
    let key = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
    };
    tree.lines().filter_map(key).collect()
}

/// The digests of `Cargo.lock`, whose form is fixed: cargo writes one key a line.
fn checksums(lock: &str) -> BTreeMap<Key, String> {
    let packages = lock.split("[[package]]").skip(1).filter_map(|package| {
        let value = |wanted: &str| {
            let mut lines = package.lines();
            lines
                .find_map(|line| line.strip_prefix(wanted)?.strip_prefix(" = "))
                .map(|text| text.trim_matches('"').to_owned())
        };
        Some(((value("name")?, value("version")?), value("checksum")?))
    });
    packages.collect()
}

fn select(
    metadata: &Value,
    inside: &BTreeSet<Key>,
    checksums: &BTreeMap<Key, String>,
) -> anyhow::Result<Vec<Crate>> {
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let text = |package: &Value, name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let mut chosen: Vec<_> = packages
        .iter()
        .map(|package| ((text(package, "name"), text(package, "version")), package))
        .filter(|(key, _)| inside.contains(key))
        .collect();
    chosen.sort_by(|(one, _), (other, _)| (one.0 != NAME, one).cmp(&(other.0 != NAME, other)));
    ensure!(
        chosen.len() == inside.len() && chosen.first().is_some_and(|((name, _), _)| name == NAME),
        "cargo metadata and cargo tree list other crates"
    );
    let ids: BTreeMap<_, _> =
        chosen.iter().enumerate().map(|(at, (_, package))| (text(package, "id"), at)).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().context("cargo metadata has no graph")?;
    let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let dependencies = |package: &Value| -> Vec<usize> {
        let all =
            nodes.get(&text(package, "id")).and_then(|node| node["deps"].as_array()).into_iter().flatten();
        let normal = all.filter(|dependency| {
            dependency["dep_kinds"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        });
        let mut found: Vec<_> =
            normal.filter_map(|dependency| ids.get(dependency["pkg"].as_str()?).copied()).collect();
        found.sort_unstable();
        found
    };
    let crates = chosen.iter().map(|(key, package)| Crate {
        name: key.0.clone(),
        version: key.1.clone(),
        license: package["license"].as_str().map(str::to_owned),
        checksum: checksums.get(key).cloned(),
        dependencies: dependencies(package),
    });
    Ok(crates.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str, version: &str) -> Key {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn tree_is_read_with_repeats_and_places() {
        let tree = "modelwright v0.1.0 (/source/crates/modelwright)\nserde v1.0.2\nserde v1.0.2 (*)\n";
        assert_eq!(inside(tree), [key("modelwright", "0.1.0"), key("serde", "1.0.2")].into());
    }

    #[test]
    fn lock_file_has_the_digests_of_what_is_published() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = [\n \"serde\",\n]\n\n\
                    [[package]]\nname = \"serde\"\nversion = \"1.0.2\"\nsource = \"registry\"\nchecksum = \"ab\"\n";
        assert_eq!(checksums(lock), [(key("serde", "1.0.2"), "ab".to_owned())].into());
    }

    #[test]
    fn crates_are_those_inside_with_licence_digest_and_dependencies() {
        let package = |id: &str, name: &str, version: &str| json!({"id": id, "name": name, "version": version, "license": "MIT"});
        let dependency = |id: &str, kind: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [package("a", "anyhow", "1.0.0"), package("m", NAME, "0.1.0"), package("s", "serde", "1.0.2"),
                package("d", "serde_derive", "1.0.2")],
            "resolve": {"nodes": [
                {"id": "m", "deps": [dependency("s", Value::Null), dependency("a", json!("dev"))]},
                {"id": "s", "deps": [dependency("d", Value::Null), dependency("a", Value::Null)]},
            ]},
        });
        let inside = [key("anyhow", "1.0.0"), key(NAME, "0.1.0"), key("serde", "1.0.2")].into();
        let crates = select(&metadata, &inside, &[(key("serde", "1.0.2"), "ab".to_owned())].into()).unwrap();
        let found: Vec<_> = crates
            .iter()
            .map(|found| (found.name.as_str(), found.checksum.as_deref(), found.dependencies.as_slice()))
            .collect();
        assert_eq!(found, [(NAME, None, &[2][..]), ("anyhow", None, &[]), ("serde", Some("ab"), &[1])]);
        let more = [key(NAME, "0.1.0"), key("gone", "1.0.0")].into();
        assert!(select(&metadata, &more, &BTreeMap::new()).is_err());
    }
}
