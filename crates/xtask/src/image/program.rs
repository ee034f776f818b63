//! The program of the image, built by cargo, and what cargo knows about it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::crates::{self, Crate};

/// The package whose program goes into the image, and the program.
pub(super) const NAME: &str = "modelwright";

/// How the program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// For users: optimised, and looking for ONNX Runtime in the image only.
    Release,
    /// For tests: as `cargo test --workspace` leaves it, so that nothing is left to build after the tests.
    Debug,
}

/// The program's file.
pub(super) fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    let selection: &[&str] = match profile {
        Profile::Release => &["--release", "--package", NAME, "--bin", NAME, "--no-default-features"],
        // Shared dependencies have the features that any selected package asks for, for its tests as well, so only a
        // selection of all packages and a test finds what `cargo test --workspace` built: 5 crates and all that depend on
        // them would be built once more otherwise. That the program then also looks for ONNX Runtime in a cache folder
        // makes no difference where there is none.
        Profile::Debug => &["--workspace", "--bin", NAME, "--test", "local"],
    };
    let output = cargo()
        .args(["build", "--locked", "--message-format=json-render-diagnostics"])
        .args(selection)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo build ended with {}", output.status);
    executable(&String::from_utf8(output.stdout)?).context("cargo built no program of that name")
}

/// Finds the program among cargo's messages, one JSON object per line.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == NAME && message["target"]["kind"][0] == "bin")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The program without symbols for debuggers, in `folder`. They make up half of a debug build and more.
pub(super) fn strip(program: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let stripped = folder.join(NAME);
    let Ok(status) = Command::new("strip").arg("-o").arg(&stripped).arg(program).status() else {
        eprintln!("strip is not installed, so the image keeps the program's symbols and is larger");
        return Ok(program.to_owned());
    };
    ensure!(status.success(), "strip {} ended with {status}", program.display());
    Ok(stripped)
}

/// What cargo knows about the program.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) version: String,
    pub(super) description: String,
    /// An SPDX expression.
    pub(super) license: String,
    /// The licences of all crates in the program, with their texts.
    pub(super) third_parties: String,
    /// The crates in the program, itself first.
    pub(super) crates: Vec<Crate>,
    /// The version of Rust.
    pub(super) rust: String,
}

/// Reads the facts from cargo and from the sources of the crates.
pub(super) fn facts() -> anyhow::Result<Facts> {
    let version = cargo().arg("-vV").output().context("cannot run cargo")?;
    let version = String::from_utf8(version.stdout)?;
    let line = |name: &str| {
        let found = version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.with_context(|| format!("cargo names no {name}"))
    };
    // cargo has the version of the compiler that it comes with.
    let (host, rust) = (line("host")?, line("release")?);
    let output = cargo()
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", host])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "cargo metadata ended with {}", output.status);
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let used = crates(&metadata).context("cargo metadata does not know the program")?;
    let own = used.iter().find(|found| found["name"] == NAME).context("the program is no crate")?;
    let fact = |name: &str| {
        own[name].as_str().map(str::to_owned).with_context(|| format!("the program has no {name}"))
    };
    Ok(Facts {
        version: fact("version")?,
        description: fact("description")?,
        license: fact("license")?,
        third_parties: third_parties(&used)?,
        crates: crates::list(&metadata, host)?,
        rust: rust.to_owned(),
    })
}

/// The packages that the program is made of, itself first: itself and what it depends on for more than building and tests.
fn crates(metadata: &Value) -> Option<Vec<&Value>> {
    let by_id = |list: &'_ Value| -> Option<BTreeMap<String, usize>> {
        let ids = list.as_array()?.iter().enumerate();
        Some(ids.filter_map(|(at, item)| Some((item["id"].as_str()?.to_owned(), at))).collect())
    };
    let (packages, nodes) = (&metadata["packages"], &metadata["resolve"]["nodes"]);
    let (package_at, node_at) = (by_id(packages)?, by_id(nodes)?);
    let own = packages.as_array()?.iter().find(|package| package["name"] == NAME)?;
    let mut found = vec![own["id"].as_str()?];
    let mut next = 0;
    while let Some(id) = found.get(next) {
        for dependency in nodes[*node_at.get(*id)?]["deps"].as_array()? {
            let kinds = dependency["dep_kinds"].as_array()?;
            let package = dependency["pkg"].as_str()?;
            if kinds.iter().any(|kind| kind["kind"].is_null()) && !found.contains(&package) {
                found.push(package);
            }
        }
        next += 1;
    }
    found.iter().map(|id| Some(&packages[*package_at.get(*id)?])).collect()
}

/// Names, versions and licences of the crates of others, then each text once with the crates that it came with.
fn third_parties(crates: &[&Value]) -> anyhow::Result<String> {
    let mut list = BTreeMap::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Crates of the workspace have no source; their licence is the program's own.
    for package in crates.iter().filter(|package| !package["source"].is_null()) {
        let text = |name: &str| package[name].as_str().unwrap_or_default();
        let name = format!("{} {}", text("name"), text("version"));
        let folder = Path::new(text("manifest_path")).parent().context("a crate has no folder")?;
        for text in license_texts(folder)? {
            texts.entry(text).or_default().push(name.clone());
        }
        list.insert(name, text("license").to_owned());
    }
    let mut document = String::from("Crates in this program, and their licences\n\n");
    for (name, license) in &list {
        // Writing to a `String` cannot fail.
        let _ = writeln!(document, "{name}: {license}");
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, names)| (names, text)).collect();
    texts.sort();
    for (names, text) in texts {
        let _ = write!(document, "\n{}\n{}\n\n{text}\n", "=".repeat(80), names.join(", "));
    }
    Ok(document)
}

/// The texts of the files by which a crate's authors license it, in the order of their names.
fn license_texts(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_license = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start));
        if is_license && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    files.iter().map(|file| Ok(String::from_utf8_lossy(&fs::read(file)?).trim().to_owned())).collect()
}

pub(super) fn cargo() -> Command {
    // Set by cargo for what it runs: the same cargo, of the same toolchain.
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn program_is_found_among_messages() {
        let messages = [
            json!({"reason": "compiler-artifact", "target": {"name": "modelwright", "kind": ["lib"]}, "executable": null}),
            json!({"reason": "compiler-artifact", "target": {"name": "xtask", "kind": ["bin"]}, "executable": "/x"}),
            json!({"reason": "compiler-artifact", "target": {"name": "modelwright", "kind": ["bin"]}, "executable": "/m"}),
            json!({"reason": "build-finished", "success": true}),
        ];
        let messages: Vec<_> = messages.iter().map(Value::to_string).collect();
        assert_eq!(executable(&messages.join("\n")), Some("/m".into()));
        assert_eq!(executable(&messages[1]), None);
    }

    #[test]
    fn crates_are_those_of_the_program_and_not_of_its_tests() {
        let dependency = |id: &str, kind: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                {"id": "c", "name": "crc"}, {"id": "m", "name": "modelwright"}, {"id": "o", "name": "other"},
                {"id": "s", "name": "serde"}, {"id": "t", "name": "rstest"}, {"id": "b", "name": "cc"},
            ],
            "resolve": {"nodes": [
                {"id": "m", "deps": [dependency("s", Value::Null), dependency("t", json!("dev"))]},
                {"id": "s", "deps": [dependency("c", Value::Null), dependency("b", json!("build"))]},
                {"id": "c", "deps": [dependency("s", Value::Null)]},
                {"id": "o", "deps": []}, {"id": "t", "deps": []}, {"id": "b", "deps": []},
            ]},
        });
        let names: Vec<_> = crates(&metadata).unwrap().iter().map(|found| found["name"].clone()).collect();
        assert_eq!(names, ["modelwright", "serde", "crc"]);
    }

    #[test]
    fn each_licence_text_is_there_once_with_its_crates() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, file: &str, text: &str| {
            let source = folder.path().join(name);
            fs::create_dir_all(&source).unwrap();
            fs::write(source.join(file), text).unwrap();
            json!({"name": name, "version": "1.0.0", "license": "MIT", "source": "registry",
                "manifest_path": source.join("Cargo.toml")})
        };
        let own = json!({"name": "modelwright", "version": "0.1.0", "license": "Apache-2.0", "source": null});
        let crates =
            [make("b", "LICENSE-MIT", "text\n"), make("a", "license.txt", "text"), make("c", "README", "no")];
        let crates: Vec<_> = crates.iter().chain([&own]).collect();
        let document = third_parties(&crates).unwrap();
        assert!(document.contains("a 1.0.0: MIT\nb 1.0.0: MIT\nc 1.0.0: MIT\n"), "{document}");
        assert!(document.ends_with("=\nb 1.0.0, a 1.0.0\n\ntext\n"), "{document}");
        assert!(!document.contains("modelwright"));
    }
}
