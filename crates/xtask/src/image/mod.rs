//! `cargo xtask image`: Modelwright as a container image, made without Docker, root or a registry.
//!
//! Layers, by how often they change: files of the distribution ([`base`]), ONNX Runtime and what it needs ([`variant`]), the
//! program. The same inputs give the same image, down to the digest: nothing in it tells the time, the machine or the commit.
//! Beside the archive lies the list of what is in it ([`sbom`]).

mod base;
mod blob;
mod crates;
mod cuda;
mod debian;
#[cfg(test)]
mod dockerfile_tests;
#[cfg(test)]
mod example_tests;
mod layer;
mod libraries;
mod oci;
mod program;
mod pytorch;
mod sbom;
mod spdx;
mod stand_ins;
mod variant;

use std::path::{Path, PathBuf};

use clap::Args;

use self::{
    blob::Compression,
    layer::Content,
    oci::Written,
    program::{Facts, Profile},
    sbom::{Component, Materials},
};
pub(crate) use self::{
    layer::Layer,
    oci::Image,
    pytorch::write as write_pytorch_example,
    variant::{Variant, write as write_runtime},
};

/// Where the program is: on the `PATH` that container runtimes set by themselves.
const PROGRAM: &str = "usr/local/bin/modelwright";

#[derive(Args)]
pub(crate) struct Options {
    /// What computes in the image.
    #[arg(long, value_enum, default_value_t = Variant::Cpu)]
    variant: Variant,
    /// The archive to write; what is in it is listed beside it as FILE.spdx.json, without the archive's ending
    /// [default: target/image/modelwright.tar, modelwright-cuda.tar].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The image's name [default: localhost/modelwright:VERSION, VERSION-cuda].
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
    let archive = crate::root().join("target/image/debug.tar");
    let output = Some(archive.clone());
    run(&Options { variant: Variant::Cpu, output, tag: None, debug: true, gzip: false, refresh: false })?;
    Ok(archive)
}

/// Writes the image as users get it, and returns the archive.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let archive = default_output(Variant::Cpu);
    run(&Options {
        variant: Variant::Cpu,
        output: Some(archive.clone()),
        tag: None,
        debug: false,
        gzip: false,
        refresh: false,
    })?;
    Ok(archive)
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let variant = options.variant;
    let facts = program::facts()?;
    let name = options.tag.clone().unwrap_or_else(|| default_name(variant, &facts.version));
    oci::tag(&name)?;
    let output = options.output.clone().unwrap_or_else(|| default_output(variant));
    let (release, packages) = debian::packages(options.refresh, variant.packages())?;
    let runtime = variant.runtime()?;
    let profile = if options.debug { Profile::Debug } else { Profile::Release };
    let work = tempfile::tempdir()?;
    let program = program::build(profile)?;
    let program = match profile {
        // The profile strips by itself.
        Profile::Release => program,
        Profile::Debug => program::strip(&program, work.path())?,
    };

    let mut layers = vec![base::layer(&release, &packages)?];
    layers.extend(runtime.layers);
    layers.push(program_layer(&program, &facts, profile)?);
    let checked: Vec<_> = [PROGRAM.to_owned()].into_iter().chain(runtime.libraries).collect();
    libraries::check(&layers, &checked, variant.folders(), variant.elsewhere())?;
    let compression = if options.gzip { Compression::Gzip } else { Compression::None };
    let image = image(name, variant, &facts, layers, compression);
    let written = image.write(&output)?;

    let mut components = Vec::new();
    for package in &packages {
        components.push(Component::debian(&release, package)?);
    }
    components.extend(runtime.components);
    let materials = Materials {
        image: &image.name,
        digest: written.digest.hexadecimal(),
        license: &facts.license,
        crates: &facts.crates,
        rust: &facts.rust,
        components: &components,
        created: sbom::created()?,
    };
    let bill = sbom::beside(&output);
    materials.write(&bill)?;
    print!("{}", report(&image.name, &written, &output, &bill));
    Ok(())
}

fn default_name(variant: Variant, version: &str) -> String {
    format!("localhost/modelwright:{version}{}", variant.suffix())
}

fn default_output(variant: Variant) -> PathBuf {
    format!("target/image/modelwright{}.tar", variant.suffix()).into()
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

fn image(
    name: String,
    variant: Variant,
    facts: &Facts,
    layers: Vec<Layer>,
    compression: Compression,
) -> Image {
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
        environment: variant.environment(),
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
fn report(name: &str, written: &Written, output: &Path, bill: &Path) -> String {
    let megabytes = |bytes: u64| format!("{:>8.1} MB", bytes as f64 / 1e6);
    let mut lines = vec![format!("{name}\n{}\n", written.digest)];
    lines.extend(written.layers.iter().map(|(title, size)| format!("{}  {title}", megabytes(*size))));
    let file = output.display();
    lines.push(format!("{}  {file}", megabytes(written.size)));
    lines.push(format!("{:11}  {}, what is in it", "", bill.display()));
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

    pub(super) fn facts() -> Facts {
        Facts {
            version: "1.2.3".into(),
            description: "Serve".into(),
            license: "Apache-2.0".into(),
            third_parties: String::new(),
            crates: Vec::new(),
            rust: String::new(),
        }
    }

    #[test]
    fn image_runs_the_program_as_nobody_special_and_reports_to_nobody() {
        for variant in [Variant::Cpu, Variant::Cuda] {
            let image = image("localhost/modelwright:1".into(), variant, &facts(), vec![], Compression::None);
            assert_eq!(image.entrypoint, ["/usr/local/bin/modelwright"]);
            assert_eq!(image.user, "65532:65532");
            assert_eq!(image.ports, [8080, 9090]);
            assert_eq!(image.labels["org.opencontainers.image.version"], "1.2.3");
            assert_eq!(image.labels.len(), 4);
            assert_eq!(image.environment[0], "ORT_DISABLE_TELEMETRY=1");
            assert!(image.command.is_empty());
        }
    }

    #[test]
    fn variants_have_names_and_archives_of_their_own() {
        for (variant, name, archive) in [
            (Variant::Cpu, "localhost/modelwright:1.2.3", "target/image/modelwright.tar"),
            (Variant::Cuda, "localhost/modelwright:1.2.3-cuda", "target/image/modelwright-cuda.tar"),
        ] {
            assert_eq!(default_name(variant, "1.2.3"), name);
            assert_eq!(default_output(variant), Path::new(archive));
        }
    }

    #[test]
    fn image_for_gpus_asks_for_a_driver_and_says_where_its_libraries_are() {
        assert_eq!(Variant::Cpu.environment().len(), 1);
        let variables = Variant::Cuda.environment();
        for expected in ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"] {
            assert!(variables.iter().any(|variable| variable == expected), "{variables:?}");
        }
        assert!(variables.iter().any(|variable| variable.starts_with("LD_LIBRARY_PATH=/usr/local/lib:")));
    }
}
