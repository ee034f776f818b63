//! `cargo xtask image`: Modelwright as a container image, made without Docker, root or a registry.
//!
//! Three layers, by how often they change: files of the distribution ([`base`]), ONNX Runtime, the program. The same
//! inputs give the same image, down to the digest: nothing in it tells the time, the machine or the commit.

mod base;
mod blob;
mod debian;
mod layer;
mod libraries;
mod oci;
mod program;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use self::{
    blob::Compression,
    layer::Content,
    oci::Written,
    program::{Facts, Profile},
};
pub(crate) use self::{layer::Layer, oci::Image};
use crate::onnxruntime;

/// Where the program is: on the `PATH` that container runtimes set by themselves.
const PROGRAM: &str = "usr/local/bin/modelwright";
/// Where the program looks for ONNX Runtime, seen from its own folder: `../lib`.
const LIBRARY: &str = "usr/local/lib/libonnxruntime.so";
/// ONNX Runtime looks for it beside itself.
const PROVIDERS: &str = "usr/local/lib/libonnxruntime_providers_shared.so";

#[derive(Args)]
pub(crate) struct Options {
    /// The archive to write.
    #[arg(long, value_name = "FILE", default_value = "target/image/modelwright.tar")]
    output: PathBuf,
    /// The image's name [default: localhost/modelwright:VERSION].
    #[arg(long, value_name = "NAME:TAG")]
    tag: Option<String>,
    /// Put a debug build into the image: minutes less to build, for tests.
    #[arg(long)]
    debug: bool,
    /// Compress the layers, as registries keep them.
    #[arg(long)]
    gzip: bool,
    /// Download the distribution's packages again, to have their security updates.
    #[arg(long)]
    refresh: bool,
}

/// Writes the image with the program as the tests were built with, and returns the archive.
pub(crate) fn build_for_tests() -> anyhow::Result<PathBuf> {
    let output = crate::root().join("target/image/debug.tar");
    run(&Options { output: output.clone(), tag: None, debug: true, gzip: false, refresh: false })?;
    Ok(output)
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let facts = program::facts()?;
    let name = options.tag.clone().unwrap_or_else(|| format!("localhost/modelwright:{}", facts.version));
    oci::tag(&name)?;
    let (release, packages) = debian::packages(options.refresh)?;
    let library = onnxruntime::ensure_library()?;
    let profile = if options.debug { Profile::Debug } else { Profile::Release };
    let work = tempfile::tempdir()?;
    let program = program::build(profile)?;
    let program = match profile {
        // The profile strips by itself.
        Profile::Release => program,
        Profile::Debug => program::strip(&program, work.path())?,
    };

    let layers = vec![
        base::layer(&release, &packages)?,
        onnxruntime_layer(&library)?,
        program_layer(&program, &facts, profile)?,
    ];
    libraries::check(&layers, &[PROGRAM, LIBRARY, PROVIDERS])?;
    let compression = if options.gzip { Compression::Gzip } else { Compression::None };
    let image = image(name, &facts, layers, compression);
    let written = image.write(&options.output)?;
    print!("{}", report(&image.name, &written, &options.output));
    Ok(())
}

fn onnxruntime_layer(library: &Path) -> anyhow::Result<Layer> {
    let folder = library.parent().context("ONNX Runtime has no folder")?;
    let file = |name: &str| folder.join(name);
    Layer::from_files(
        "ONNX Runtime",
        [
            (LIBRARY, library, 0o644),
            (PROVIDERS, &file("libonnxruntime_providers_shared.so"), 0o644),
            ("usr/share/doc/onnxruntime/LICENSE", &file("LICENSE"), 0o644),
            ("usr/share/doc/onnxruntime/ThirdPartyNotices.txt", &file("ThirdPartyNotices.txt"), 0o644),
        ],
    )
}

fn program_layer(program: &Path, facts: &Facts, profile: Profile) -> anyhow::Result<Layer> {
    let note = if profile == Profile::Debug { ", debug build" } else { "" };
    let title = format!("modelwright {}{note}", facts.version);
    let license = crate::root().join("LICENSE");
    let mut layer = Layer::from_files(
        title,
        [(PROGRAM, program, 0o755), ("usr/share/doc/modelwright/LICENSE", &license, 0o644)],
    )?;
    let third_parties = Content::Bytes(facts.third_parties.clone().into_bytes());
    layer.add_file("usr/share/doc/modelwright/third-party-licenses.txt", third_parties, 0o644)?;
    Ok(layer)
}

fn image(name: String, facts: &Facts, layers: Vec<Layer>, compression: Compression) -> Image {
    // No revision and no time: a commit that changes none of the content makes no other image.
    let labels = [
        ("title", "Modelwright"),
        ("description", &facts.description),
        ("version", &facts.version),
        ("licenses", &facts.license),
    ];
    Image {
        name,
        entrypoint: vec![format!("/{PROGRAM}")],
        user: format!("{0}:{0}", base::USER),
        // ONNX Runtime 1.32 sends usage data to its makers as soon as it is loaded. Asking it to stop comes too late for what
        // it sends at its start; only this variable keeps that part of it from starting.
        environment: vec!["ORT_DISABLE_TELEMETRY=1".into()],
        ports: vec![8080, 9090],
        labels: labels
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
            .into(),
        layers,
        compression,
        ..Image::default()
    }
}

/// The layers in a table, and what to do with the archive.
fn report(name: &str, written: &Written, output: &Path) -> String {
    let megabytes = |bytes: u64| format!("{:>8.1} MB", bytes as f64 / 1e6);
    let mut lines = vec![format!("{name}\n{}\n", written.digest)];
    lines.extend(written.layers.iter().map(|(title, size)| format!("{}  {title}", megabytes(*size))));
    let file = output.display();
    lines.push(format!("{}  {file}", megabytes(written.size)));
    lines.push(format!(
        "
Load it with one of
  cargo xtask cluster load-image {file}
  docker load < {file}
  podman load < {file}
  skopeo copy oci-archive:{file} docker://REGISTRY/NAME:TAG
"
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_runs_the_program_as_nobody_special_and_reports_to_nobody() {
        let facts = Facts {
            version: "1.2.3".into(),
            description: "Serve".into(),
            license: "Apache-2.0".into(),
            third_parties: String::new(),
        };
        let image = image("localhost/modelwright:1".into(), &facts, vec![], Compression::None);
        assert_eq!(image.entrypoint, ["/usr/local/bin/modelwright"]);
        assert_eq!(image.user, "65532:65532");
        assert_eq!(image.ports, [8080, 9090]);
        assert_eq!(image.labels["org.opencontainers.image.version"], "1.2.3");
        assert_eq!(image.labels.len(), 4);
        assert_eq!(image.environment, ["ORT_DISABLE_TELEMETRY=1"]);
        assert!(image.command.is_empty());
    }
}
