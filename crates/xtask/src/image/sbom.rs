//! The bill of materials of an image: what is in it, down to bytes where somebody publishes a digest of them.
//!
//! It lies beside the archive and not in it, because it names the image by its digest.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{
    crates::Crate,
    debian::{Package as DebianPackage, Release},
    oci,
    spdx::{Checksum, CreationInfo, Document, ExternalReference, NOT_SAID, Package, Relationship},
};
use crate::wheel::Wheel;

/// Something inside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Component {
    name: String,
    version: String,
    /// By which databases of vulnerabilities know it: <https://github.com/package-url/purl-spec>.
    purl: String,
    /// An SPDX expression.
    license: Option<String>,
    /// Where the image has the licence, where SPDX has no expression for it.
    license_at: Option<String>,
    /// SHA-256 of what was downloaded, hexadecimal.
    sha256: Option<String>,
    download: Option<String>,
    /// What SPDX says that it is for.
    purpose: &'static str,
}

impl Component {
    /// A Python wheel of which files were taken.
    pub(super) fn wheel(wheel: &Wheel<'_>, license: Option<&str>) -> Self {
        let (name, version) = wheel.name_and_version();
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            purl: format!("pkg:pypi/{name}@{}", encode(version)),
            license: license.map(str::to_owned),
            license_at: license.is_none().then(|| format!("/usr/share/doc/{name}")),
            sha256: Some(wheel.sha256.to_owned()),
            download: Some(format!("https://pypi.org/project/{name}/{version}/")),
            purpose: "LIBRARY",
        }
    }

    /// A package of the distribution.
    pub(super) fn debian(release: &Release, package: &DebianPackage) -> anyhow::Result<Self> {
        let field = |name: &str| {
            package.control.field(name).with_context(|| format!("{} has no field {name}", package.name))
        };
        let (version, architecture) = (field("Version")?, field("Architecture")?);
        Ok(Self {
            name: package.name.clone(),
            version: version.to_owned(),
            purl: format!(
                "pkg:deb/{}/{}@{}?arch={architecture}&distro={}",
                release.distribution,
                encode(&package.name),
                encode(version),
                release.number
            ),
            license: None,
            license_at: Some(format!("/usr/share/doc/{}/copyright", package.name)),
            sha256: Some(modelwright_test_servers::sha256(&fs::read(&package.file)?)),
            download: None,
            purpose: "LIBRARY",
        })
    }

    fn of_crate(found: &Crate, is_program: bool) -> Self {
        // Cargo's older notation of a choice.
        let license = found
            .license
            .as_deref()
            .map(|license| license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR "));
        let published = found.checksum.is_some();
        Self {
            name: found.name.clone(),
            version: found.version.clone(),
            purl: format!("pkg:cargo/{}@{}", found.name, encode(&found.version)),
            license,
            license_at: None,
            sha256: found.checksum.clone(),
            download: published.then(|| {
                format!("https://static.crates.io/crates/{0}/{0}-{1}.crate", found.name, found.version)
            }),
            purpose: if is_program { "APPLICATION" } else { "LIBRARY" },
        }
    }

    /// Rust's standard library, which no list of crates has.
    fn standard_library(version: &str) -> Self {
        Self {
            name: "rust-std".to_owned(),
            version: version.to_owned(),
            purl: format!("pkg:generic/rust-std@{}", encode(version)),
            license: Some("MIT OR Apache-2.0".to_owned()),
            license_at: None,
            sha256: None,
            download: None,
            purpose: "LIBRARY",
        }
    }

    fn package(&self, id: String) -> Package {
        let or_not = |value: &Option<String>| value.clone().unwrap_or_else(|| NOT_SAID.to_owned());
        Package {
            name: self.name.clone(),
            id,
            version_info: self.version.clone(),
            download_location: or_not(&self.download),
            files_analyzed: false,
            license_concluded: NOT_SAID,
            license_declared: or_not(&self.license),
            license_comments: self.license_at.as_ref().map(|at| format!("the text is in the image: {at}")),
            copyright_text: NOT_SAID,
            primary_package_purpose: self.purpose,
            checksums: self.sha256.iter().map(|value| sha256(value)).collect(),
            external_refs: vec![ExternalReference {
                category: "PACKAGE-MANAGER",
                kind: "purl",
                locator: self.purl.clone(),
            }],
        }
    }
}

/// What a bill of materials is made of.
pub(super) struct Materials<'a> {
    /// The image's full name.
    pub(super) image: &'a str,
    /// SHA-256 of its manifest, hexadecimal.
    pub(super) digest: &'a str,
    /// SPDX expression of the program's licence.
    pub(super) license: &'a str,
    /// The program's crates, itself first.
    pub(super) crates: &'a [Crate],
    /// The version of the Rust that compiled them.
    pub(super) rust: &'a str,
    /// Packages of the distribution, and wheels.
    pub(super) components: &'a [Component],
    /// See [`created`].
    pub(super) created: String,
}

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-image";

impl Materials<'_> {
    /// Writes the bill to a file.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.document()?)?;
        text.push(b'\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn document(&self) -> anyhow::Result<Document> {
        let tag = oci::tag(self.image)?;
        let repository = self.image.trim_end_matches(tag).trim_end_matches(':');
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let image = Component {
            name: self.image.to_owned(),
            version: tag.to_owned(),
            purl: format!(
                "pkg:oci/{name}@sha256%3A{}?arch={}&repository_url={}&tag={tag}",
                self.digest,
                oci::architecture()?,
                encode_path(repository)
            ),
            license: Some(self.license.to_owned()),
            license_at: None,
            sha256: Some(self.digest.to_owned()),
            download: None,
            purpose: "CONTAINER",
        };
        let mut packages = vec![image.package(IMAGE.to_owned())];
        let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", IMAGE)];
        let mut add = |component: &Component, kind: &str| {
            let id = id(kind, component);
            packages.push(component.package(id.clone()));
            id
        };
        for component in self.components {
            relationships.push(relationship(IMAGE, "CONTAINS", &add(component, "file")));
        }
        let standard_library = add(&Component::standard_library(self.rust), "rust");
        let ids: Vec<_> = self
            .crates
            .iter()
            .enumerate()
            .map(|(at, found)| add(&Component::of_crate(found, at == 0), "crate"))
            .collect();
        let program = ids.first().context("the program has no crates")?;
        relationships.push(relationship(IMAGE, "CONTAINS", program));
        relationships.push(relationship(program, "DEPENDS_ON", &standard_library));
        for (found, from) in self.crates.iter().zip(&ids) {
            relationships
                .extend(found.dependencies.iter().map(|&to| relationship(from, "DEPENDS_ON", &ids[to])));
        }
        Ok(Document {
            spdx_version: "SPDX-2.3",
            data_license: "CC0-1.0",
            id: DOCUMENT,
            name: self.image.to_owned(),
            namespace: format!("https://spdx.org/spdxdocs/{name}-{tag}-{}", self.digest),
            creation_info: CreationInfo {
                created: self.created.clone(),
                creators: vec![format!("Tool: cargo-xtask-image-{}", env!("CARGO_PKG_VERSION"))],
            },
            packages,
            relationships,
        })
    }
}

/// Where the bill of an archive is: beside it.
pub(super) fn beside(archive: &Path) -> PathBuf {
    archive.with_extension("spdx.json")
}

/// The time that SPDX demands, without making two bills of the same commit differ: `SOURCE_DATE_EPOCH` if it is set
/// (<https://reproducible-builds.org/specs/source-date-epoch/>), else the commit's, else, outside of git, the year 1970.
pub(super) fn created() -> anyhow::Result<String> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds,
        Err(_) => commit_time().unwrap_or_else(|| "0".to_owned()),
    };
    timestamp(seconds.trim())
}

fn timestamp(seconds: &str) -> anyhow::Result<String> {
    let time = seconds.parse().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let time =
        time.with_context(|| format!("SOURCE_DATE_EPOCH is {seconds:?}, which is no time in seconds"))?;
    Ok(time.to_string())
}

fn commit_time() -> Option<String> {
    let log = ["log", "-1", "--format=%ct"];
    let output = Command::new("git").current_dir(crate::root()).args(log).output().ok()?;
    let seconds = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !seconds.trim().is_empty()).then_some(seconds)
}

fn relationship(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship { from: from.to_owned(), kind, to: to.to_owned() }
}

/// An identifier of SPDX has letters, digits, dots and dashes.
fn id(kind: &str, component: &Component) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name = format!("{}-{}", component.name, component.version);
    format!("SPDXRef-{kind}-{}", name.chars().map(plain).collect::<String>())
}

fn sha256(value: &str) -> Checksum {
    Checksum { algorithm: "SHA256", checksum_value: value.to_owned() }
}

/// A name or version in a purl, where `+` and `:` mean other things.
fn encode(text: &str) -> String {
    text.chars().fold(String::new(), |text, c| match c {
        '+' => text + "%2B",
        ':' => text + "%3A",
        '/' => text + "%2F",
        c => text + c.encode_utf8(&mut [0; 4]),
    })
}

/// As [`encode`], for a qualifier, which may hold a path.
fn encode_path(text: &str) -> String {
    text.split('/').map(encode).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
#[path = "sbom_tests.rs"]
mod tests;
