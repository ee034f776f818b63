//! The libraries of the CUDA variant: ONNX Runtime with its CUDA execution provider, and what of NVIDIA's CUDA that needs.
//!
//! They come from the wheels that their makers publish, each pinned by its SHA-256. What is linked is seen by
//! `readelf -d`: the provider needs cuBLAS, cuBLASLt, cuRAND and the CUDA runtime. It opens cuDNN and NVRTC while it runs, so
//! no loader would miss them, but convolutions and generated kernels would. It opens cuFFT as well, 240 MB for the operators
//! `Rfft` and `Irfft` of `com.microsoft` alone; that one is left out, and ONNX Runtime says that it is missing. The driver,
//! `libcuda.so.1`, belongs to the node's kernel module and is mounted by the container runtime.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};

use super::libraries::Elsewhere;
use crate::wheel::Wheel;

/// A wheel and what is taken of it.
pub(super) struct Part {
    /// The package and release, as pip takes it.
    requirement: &'static str,
    /// SHA-256 of the wheels for `x86_64` and for `aarch64`.
    sha256: [&'static str; 2],
    /// The wheel's folder of libraries.
    folder: &'static str,
    /// Libraries of that folder that nothing here needs.
    left_out: &'static [&'static str],
    /// The wheel's licences; `{}` stands for its name and version.
    licenses: &'static [&'static str],
    /// An SPDX expression, where the licence has one.
    pub(super) license: Option<&'static str>,
    /// The layer that it is in.
    pub(super) layer: &'static str,
}

/// NVIDIA's wheels have their licence here.
const NVIDIA: &[&str] = &["{}.dist-info/licenses/License.txt"];
const CUDA: &str = "CUDA 13";

/// The layers, by how often they change.
pub(super) const LAYERS: [&str; 3] = [CUDA, "cuDNN 9", "ONNX Runtime for CUDA"];

pub(super) const PARTS: [Part; 6] = [
    Part {
        requirement: "nvidia-cuda-runtime==13.5.37",
        sha256: [
            "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d",
            "de2dc5a7367974228b0a69588a9acc9340d3768bef1bf38bf0801eb08497cd2d",
        ],
        folder: "nvidia/cu13/lib",
        left_out: &[],
        licenses: NVIDIA,
        license: None,
        layer: CUDA,
    },
    Part {
        requirement: "nvidia-cublas==13.10.0.20",
        sha256: [
            "dcc6d63884c53d07e267ce7e6feac17b2538cebaafec5db865736c3e28e4dc84",
            "c5f3418c0a845232a8cabc58f6fa52cfae7d8bd3680d94c3907aca710fd48d70",
        ],
        folder: "nvidia/cu13/lib",
        // For programs that were written against a BLAS without a GPU.
        left_out: &["libnvblas.so.13"],
        licenses: NVIDIA,
        license: None,
        layer: CUDA,
    },
    Part {
        requirement: "nvidia-curand==10.4.5.25",
        sha256: [
            "22bb226a857e5888fe6b54ae465fc4371296bcff13a35f79e19691bcf454f529",
            "07c75d8ba14b627d1a01d2c1bfa1eece88f25d564d3aae7e6b6fb44f7bbec9c1",
        ],
        folder: "nvidia/cu13/lib",
        left_out: &[],
        licenses: NVIDIA,
        license: None,
        layer: CUDA,
    },
    // Compiles kernels while the program runs, for ONNX Runtime, cuBLASLt and cuDNN; all three open it by its name.
    Part {
        requirement: "nvidia-cuda-nvrtc==13.5.37",
        sha256: [
            "86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc",
            "36e4fa2a8ada293f5693d308e531c196ab6f91cf7a0ff479bf96a537d43a6096",
        ],
        folder: "nvidia/cu13/lib",
        left_out: &[],
        licenses: NVIDIA,
        license: None,
        layer: CUDA,
    },
    // All of its libraries: libcudnn.so.9 is a thin one that opens the others by their names once an operator asks for what is
    // in them, which a loader cannot tell and a test with one model would not.
    Part {
        requirement: "nvidia-cudnn-cu13==9.28.1.4",
        sha256: [
            "a54f205b1db1f2895d99f398754db1369816f0569dd459731f925635cf7b65ec",
            "759b6a4919951ed8ec603dec97b96f6a6396c8269b95b3d345526e2471fb433d",
        ],
        folder: "nvidia/cudnn/lib",
        left_out: &[],
        licenses: NVIDIA,
        license: None,
        layer: "cuDNN 9",
    },
    // One minor version behind the CPU's, which is the newest with wheels for GPUs.
    Part {
        requirement: "onnxruntime-gpu==1.31.1",
        sha256: [
            "05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7",
            "a0f1725c5a6d1ef82d63498b5ebc25e2c90c9560e91dc76db9be4a49162d4d33",
        ],
        folder: "onnxruntime/capi",
        // Needs TensorRT, gigabytes more; Modelwright never asks for it.
        left_out: &["libonnxruntime_providers_tensorrt.so"],
        licenses: &["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"],
        license: Some("MIT"),
        layer: "ONNX Runtime for CUDA",
    },
];

/// The driver's library and its functions (`cuMemAlloc`, unlike `cudaMalloc` and `cublasCreate` of the libraries above), and
/// the one function by which ONNX Runtime answers its providers, which it loads itself before them.
pub(super) const ELSEWHERE: Elsewhere = Elsewhere {
    libraries: &["libcuda.so.1"],
    is_function: |name| {
        let driver =
            name.strip_prefix("cu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        driver || name == "Provider_GetHost"
    },
};

impl Part {
    /// The wheel for this machine's architecture.
    pub(super) fn wheel(&self) -> anyhow::Result<Wheel<'static>> {
        let (at, tags): (_, &[&str]) = match std::env::consts::ARCH {
            "x86_64" => (0, &X86_64),
            "aarch64" => (1, &AARCH64),
            other => bail!("ONNX Runtime for CUDA has no wheel for {other}, only for x86_64 and aarch64"),
        };
        Ok(Wheel { requirement: self.requirement, python: "3.12", tags, sha256: self.sha256[at] })
    }

    /// The wheel's libraries and licences in `<cache>/cuda/`, downloaded if need be: files of the folders `lib` and `doc`.
    ///
    /// Each wheel has a folder of its own that appears whole, so a download that was cut off goes on with the next one.
    pub(super) fn fetch(&self) -> anyhow::Result<PathBuf> {
        let wheel = self.wheel()?;
        let (name, version) = wheel.name_and_version();
        let parts = modelwright_test_servers::cache_folder()?.join("cuda");
        let folder = parts.join(format!("{name}-{version}-{}", &wheel.sha256[..12]));
        if folder.is_dir() {
            return Ok(folder);
        }
        fs::create_dir_all(&parts).with_context(|| format!("cannot create {}", parts.display()))?;
        let work = tempfile::Builder::new().prefix(".download-").tempdir_in(&parts)?;
        eprintln!("downloading {name} {version}");
        let unpacked = wheel.unpack(work.path())?;
        let staged = work.path().join("staged");
        self.stage(&wheel, &unpacked, &staged)?;
        if let Err(error) = fs::rename(&staged, &folder) {
            // Another process was faster: its folder holds the same verified bytes.
            ensure!(folder.is_dir(), "cannot move {name} to {}: {error}", folder.display());
        }
        Ok(folder)
    }

    fn stage(&self, wheel: &Wheel<'_>, unpacked: &Path, to: &Path) -> anyhow::Result<()> {
        let (name, version) = wheel.name_and_version();
        let (libraries, doc) = (to.join("lib"), to.join("doc"));
        fs::create_dir_all(&libraries)?;
        fs::create_dir_all(&doc)?;
        let mut taken = 0;
        let from = unpacked.join(self.folder);
        for entry in fs::read_dir(&from).with_context(|| format!("{name} has no {}", self.folder))? {
            let file = entry?.path();
            let found = file.file_name().unwrap_or_default().to_string_lossy();
            if let Some(kept) = self.kept(&found) {
                fs::rename(&file, libraries.join(kept))?;
                taken += 1;
            }
        }
        ensure!(taken > 0, "{name} {version} has no library in {}", self.folder);
        for license in self.licenses {
            let file = unpacked.join(license.replace("{}", &format!("{}-{version}", name.replace('-', "_"))));
            let kept = file.file_name().context("a licence has no name")?;
            fs::rename(&file, doc.join(kept)).with_context(|| format!("{name} has no {}", file.display()))?;
        }
        Ok(())
    }

    /// The name under which a file of the wheel's folder goes into the image, if it does.
    fn kept<'a>(&self, name: &'a str) -> Option<&'a str> {
        let is_library = name.starts_with("lib") && name.split('.').skip(1).any(|part| part == "so");
        if !is_library || self.left_out.contains(&name) {
            return None;
        }
        // The program looks for this one without a version; all others are opened by the name that they have.
        Some(if name.starts_with("libonnxruntime.so.") { "libonnxruntime.so" } else { name })
    }
}

const X86_64: [&str; 5] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
];
const AARCH64: [&str; 3] = ["manylinux_2_34_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"];

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> &'static Part {
        PARTS.iter().find(|part| part.requirement.starts_with(name)).unwrap()
    }

    #[test]
    fn every_part_pins_its_wheels_and_has_a_layer_and_a_licence() {
        for part in &PARTS {
            assert!(part.requirement.contains("=="), "{}", part.requirement);
            assert!(part.sha256.iter().all(|sha256| sha256.len() == 64), "{}", part.requirement);
            assert!(LAYERS.contains(&part.layer) && !part.licenses.is_empty(), "{}", part.requirement);
        }
    }

    #[test]
    fn libraries_are_taken_and_what_nothing_needs_is_not() {
        for (package, file, expected) in [
            ("onnxruntime", "libonnxruntime.so.1.31.1", Some("libonnxruntime.so")),
            ("onnxruntime", "libonnxruntime_providers_cuda.so", Some("libonnxruntime_providers_cuda.so")),
            ("onnxruntime", "libonnxruntime_providers_tensorrt.so", None),
            ("onnxruntime", "onnxruntime_pybind11_state.cpython-312-x86_64-linux-gnu.so", None),
            ("nvidia-cublas", "libcublasLt.so.13", Some("libcublasLt.so.13")),
            ("nvidia-cublas", "libnvblas.so.13", None),
            ("nvidia-cuda-runtime", "libcudart_static.a", None),
            ("nvidia-cudnn", "libcudnn_engines_precompiled.so.9", Some("libcudnn_engines_precompiled.so.9")),
        ] {
            assert_eq!(part(package).kept(file), expected, "{file}");
        }
    }

    #[test]
    fn driver_is_the_nodes_and_all_else_of_cuda_is_the_images() {
        for (function, expected) in [
            ("cuTensorMapEncodeTiled", true),
            ("Provider_GetHost", true),
            ("cudaMalloc", false),
            ("cublasCreate_v2", false),
            ("memcpy", false),
        ] {
            assert_eq!((ELSEWHERE.is_function)(function), expected, "{function}");
        }
    }

    #[test]
    fn wheel_is_staged_with_its_libraries_and_its_licence() {
        let folder = tempfile::tempdir().unwrap();
        let unpacked = folder.path().join("unpacked");
        let license = "nvidia_cublas-13.10.0.20.dist-info/licenses/License.txt";
        for file in ["nvidia/cu13/lib/libcublas.so.13", "nvidia/cu13/lib/libnvblas.so.13", license] {
            let file = unpacked.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        let staged = folder.path().join("staged");
        let cublas = part("nvidia-cublas");
        let wheel = Wheel { requirement: cublas.requirement, python: "", tags: &[], sha256: "" };
        cublas.stage(&wheel, &unpacked, &staged).unwrap();
        assert!(staged.join("lib/libcublas.so.13").is_file() && staged.join("doc/License.txt").is_file());
        assert!(!staged.join("lib/libnvblas.so.13").exists());
    }
}
