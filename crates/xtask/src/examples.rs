//! Gets the models of the examples that are too large to commit, each from the package that publishes it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use modelwright_test_servers::cache_folder;

use crate::wheel::{Wheel, verify};

/// A model inside a wheel.
struct Model {
    /// The example's folder below `examples/`.
    example: &'static str,
    wheel: Wheel<'static>,
    /// The model inside the wheel.
    path: &'static str,
    /// SHA-256 of the model, hexadecimal: what the example's manifest pins.
    sha256: &'static str,
}

const MODELS: [Model; 2] = [
    Model {
        example: "image-classifier",
        wheel: Wheel {
            requirement: "rapidocr-onnxruntime==1.4.4",
            python: "3.12",
            tags: &["any"],
            sha256: "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        },
        path: "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        sha256: "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    },
    Model {
        example: "file-type",
        wheel: Wheel {
            requirement: "magika==1.0.3",
            python: "3.12",
            // The model is the same in the wheel of every platform.
            tags: &["manylinux_2_28_x86_64"],
            sha256: "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
        },
        path: "magika/models/standard_v3_3/model.onnx",
        sha256: "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    },
];

/// Puts every model into its example's folder unless it is there.
pub(crate) fn fetch() -> anyhow::Result<()> {
    for model in &MODELS {
        let target = Path::new("examples").join(model.example).join("model").join("model.onnx");
        if verify(&target, model.sha256).is_ok() {
            continue;
        }
        let cached = cached(model)?;
        fs::create_dir_all(target.parent().context("the target has no folder")?)?;
        fs::copy(&cached, &target).with_context(|| format!("cannot write {}", target.display()))?;
        eprintln!("{} is there", target.display());
    }
    Ok(())
}

/// The model in the cache folder, downloaded if need be. It appears whole, by one rename.
fn cached(model: &Model) -> anyhow::Result<PathBuf> {
    let folder = cache_folder()?.join("examples");
    let file = folder.join(format!("{}.onnx", model.sha256));
    if file.is_file() {
        return Ok(file);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let work = tempfile::Builder::new().prefix(".download-").tempdir_in(&folder)?;
    eprintln!("downloading {} for examples/{}", model.wheel.requirement, model.example);
    let unpacked = model.wheel.unpack(work.path())?.join(model.path);
    ensure!(unpacked.is_file(), "{} has no {}", model.wheel.requirement, model.path);
    verify(&unpacked, model.sha256)?;
    fs::rename(&unpacked, &file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fetched_model_is_the_one_that_its_manifest_pins() {
        for model in &MODELS {
            let manifest = crate::root().join("examples").join(model.example);
            let text = fs::read_to_string(manifest.join("model.yaml")).unwrap();
            assert!(text.contains(&format!("sha256:{}", model.sha256)), "{}:\n{text}", model.example);
        }
    }
}
