//! What differs between the images for CPUs and for GPUs: ONNX Runtime, the libraries that it needs, and how they are found.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap::ValueEnum;

use super::{
    cuda,
    layer::{Content, Layer},
    libraries::{self, Elsewhere},
    sbom::Component,
};
use crate::onnxruntime;

/// Where the program looks for ONNX Runtime, seen from its own folder: `../lib`. ONNX Runtime looks for what belongs to it
/// beside itself.
const LIBRARIES: &str = "usr/local/lib";

/// What computes in the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// ONNX Runtime for CPUs.
    #[default]
    Cpu,
    /// ONNX Runtime for NVIDIA GPUs and for CPUs, with CUDA 13 and cuDNN 9.
    Cuda,
}

/// The layers of a variant.
pub(super) struct Runtime {
    pub(super) layers: Vec<Layer>,
    /// The libraries in them, as paths in the image.
    pub(super) libraries: Vec<String>,
    /// The wheels that they come from.
    pub(super) components: Vec<Component>,
}

impl Variant {
    /// What the variant adds to a version to make the tag.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Cpu => "",
            Self::Cuda => "-cuda",
        }
    }

    /// Debian packages beside those of the base.
    pub(super) const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Cpu => &[],
            // cuDNN is linked with it.
            Self::Cuda => &["zlib1g"],
        }
    }

    /// Folders of libraries that the loader does not know by itself.
    pub(super) const fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Cpu => &[],
            Self::Cuda => &[LIBRARIES],
        }
    }

    pub(super) const fn elsewhere(self) -> Elsewhere {
        match self {
            Self::Cpu => Elsewhere::NOTHING,
            Self::Cuda => cuda::ELSEWHERE,
        }
    }

    /// Variables of the image, as `NAME=value`.
    pub(super) fn environment(self) -> Vec<String> {
        // ONNX Runtime 1.32 sends usage data to its makers as soon as it is loaded. Asking it to stop comes too late for what
        // it sends at its start; only this variable keeps that part of it from starting.
        let mut variables = vec!["ORT_DISABLE_TELEMETRY=1".to_owned()];
        if self == Self::Cuda {
            variables.extend([
                // The CUDA provider names no folder for the libraries that it is linked with. The other two are where some
                // platforms, such as GKE, mount the driver.
                format!("LD_LIBRARY_PATH=/{LIBRARIES}:/usr/local/nvidia/lib:/usr/local/nvidia/lib64"),
                // NVIDIA's container runtime reads these: which GPUs (Kubernetes' device plugin replaces it by those that the
                // pod was given), which parts of the driver, and to refuse a node whose driver is too old for CUDA 13.
                "NVIDIA_VISIBLE_DEVICES=all".to_owned(),
                "NVIDIA_DRIVER_CAPABILITIES=compute,utility".to_owned(),
                "NVIDIA_REQUIRE_CUDA=cuda>=13.0".to_owned(),
            ]);
        }
        variables
    }

    /// Gets the variant's libraries, from the cache or from the package index.
    pub(super) fn runtime(self) -> anyhow::Result<Runtime> {
        match self {
            Self::Cpu => cpu(),
            Self::Cuda => cuda(),
        }
    }
}

/// Writes a variant's libraries and their licences below `root`, at their places in an image.
pub(crate) fn write(variant: Variant, root: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
    variant.runtime()?.layers.iter().try_for_each(|layer| libraries::unpack(layer, root))
}

fn cpu() -> anyhow::Result<Runtime> {
    let library = onnxruntime::ensure_library()?;
    let folder = library.parent().context("ONNX Runtime has no folder")?;
    let names = ["libonnxruntime.so", "libonnxruntime_providers_shared.so"];
    let mut layer = Layer::new("ONNX Runtime");
    for name in names {
        layer.add_file(&format!("{LIBRARIES}/{name}"), Content::File(folder.join(name)), 0o644)?;
    }
    for name in ["LICENSE", "ThirdPartyNotices.txt"] {
        let path = format!("usr/share/doc/onnxruntime/{name}");
        layer.add_file(&path, Content::File(folder.join(name)), 0o644)?;
    }
    Ok(Runtime {
        layers: vec![layer],
        libraries: names.map(|name| format!("{LIBRARIES}/{name}")).into(),
        components: vec![Component::wheel(&onnxruntime::wheel()?, Some("MIT"))],
    })
}

fn cuda() -> anyhow::Result<Runtime> {
    let mut layers = cuda::LAYERS.map(Layer::new);
    let (mut libraries, mut components) = (Vec::new(), Vec::new());
    for part in &cuda::PARTS {
        let at = cuda::LAYERS.iter().position(|title| *title == part.layer);
        let layer = &mut layers[at.with_context(|| format!("there is no layer {}", part.layer))?];
        let (folder, wheel) = (part.fetch()?, part.wheel()?);
        for (name, file) in files(&folder.join("lib"))? {
            let path = format!("{LIBRARIES}/{name}");
            layer.add_file(&path, Content::File(file), 0o644)?;
            libraries.push(path);
        }
        let (package, _) = wheel.name_and_version();
        for (name, file) in files(&folder.join("doc"))? {
            layer.add_file(&format!("usr/share/doc/{package}/{name}"), Content::File(file), 0o644)?;
        }
        components.push(Component::wheel(&wheel, part.license));
    }
    Ok(Runtime { layers: layers.into(), libraries, components })
}

/// Names and paths of a folder's files, in the order of the names.
fn files(folder: &Path) -> anyhow::Result<Vec<(String, std::path::PathBuf)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}
