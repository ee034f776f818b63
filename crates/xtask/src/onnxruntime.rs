//! Gets ONNX Runtime's CPU library from the Python wheel that its makers publish.
//!
//! The wheel is the only form of the library that a package registry carries for every platform. Which Python runs
//! here does not matter: pip is told the wheel's Python, not asked for its own, and nothing of the wheel is imported.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use crate::wheel::Wheel;

/// The release whose library is used; `modelwright-runtime` looks for the same one.
const VERSION: &str = "1.32.0";
/// The package and release, as pip takes it.
const REQUIREMENT: &str = "onnxruntime==1.32.0";

/// What differs between the platforms for which the release has a wheel.
struct Platform {
    /// As `std::env::consts` names it.
    os: &'static str,
    /// As `std::env::consts` names it.
    architecture: &'static str,
    /// Platform tags that pip may choose from.
    tags: &'static [&'static str],
    /// SHA-256 of the wheel, hexadecimal.
    sha256: &'static str,
    /// The library inside the wheel.
    library: &'static str,
    /// The library's name in the cache, without a version.
    name: &'static str,
}

/// Intel Macs are absent because ONNX Runtime ends their wheels at 1.23.
const PLATFORMS: [Platform; 3] = [
    Platform {
        os: "linux",
        architecture: "x86_64",
        tags: &["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"],
        sha256: "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
        library: "libonnxruntime.so.1.32.0",
        name: "libonnxruntime.so",
    },
    Platform {
        os: "linux",
        architecture: "aarch64",
        tags: &["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"],
        sha256: "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
        library: "libonnxruntime.so.1.32.0",
        name: "libonnxruntime.so",
    },
    Platform {
        os: "macos",
        architecture: "aarch64",
        tags: &["macosx_14_0_arm64"],
        sha256: "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e",
        library: "libonnxruntime.1.32.0.dylib",
        name: "libonnxruntime.dylib",
    },
];

/// Puts the library into `<cache>/onnxruntime/<version>/` unless it is there, and returns its path.
///
/// `<cache>` is [`modelwright_test_servers::cache_folder`]. The folder appears whole, by one rename, so any number
/// of calls may run at once.
pub(crate) fn ensure_library() -> anyhow::Result<PathBuf> {
    let platform = platform(std::env::consts::OS, std::env::consts::ARCH)?;
    let releases = modelwright_test_servers::cache_folder()?.join("onnxruntime");
    let release = releases.join(VERSION);
    let library = release.join(platform.name);
    if library.is_file() {
        return Ok(library);
    }

    fs::create_dir_all(&releases).with_context(|| format!("cannot create {}", releases.display()))?;
    let work = tempfile::Builder::new().prefix(".download-").tempdir_in(&releases)?;
    eprintln!("downloading ONNX Runtime {VERSION} for {}-{}", platform.os, platform.architecture);
    let staged = stage(platform, &wheel_of(platform).unpack(work.path())?, work.path())?;
    if let Err(error) = fs::rename(&staged, &release) {
        // Another process was faster: its folder holds the same verified bytes.
        ensure!(
            library.is_file(),
            "cannot move ONNX Runtime to {}: {error}; remove that folder and try again",
            release.display()
        );
    }
    Ok(library)
}

/// The wheel from which the library of this machine's platform comes.
pub(crate) fn wheel() -> anyhow::Result<Wheel<'static>> {
    Ok(wheel_of(platform(std::env::consts::OS, std::env::consts::ARCH)?))
}

fn wheel_of(platform: &Platform) -> Wheel<'static> {
    Wheel { requirement: REQUIREMENT, python: "3.12", tags: platform.tags, sha256: platform.sha256 }
}

fn platform(os: &str, architecture: &str) -> anyhow::Result<&'static Platform> {
    PLATFORMS.iter().find(|platform| platform.os == os && platform.architecture == architecture).with_context(
        || {
            let known: Vec<_> = PLATFORMS.iter().map(|p| format!("{}-{}", p.os, p.architecture)).collect();
            format!(
                "ONNX Runtime {VERSION} has no wheel for {os}-{architecture}, only for {}; build the library and name it \
                 in ORT_DYLIB_PATH",
                known.join(", ")
            )
        },
    )
}

/// Makes a folder below `folder` with the unpacked wheel's library under its plain name, and its licences.
fn stage(platform: &Platform, unpacked: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let package = unpacked.join("onnxruntime");
    let staged = folder.join(VERSION);
    fs::create_dir(&staged)?;
    let take = |from: PathBuf, name: &str| {
        fs::rename(&from, staged.join(name)).with_context(|| format!("the wheel has no {}", from.display()))
    };
    take(package.join("capi").join(platform.library), platform.name)?;
    take(package.join("LICENSE"), "LICENSE")?;
    take(package.join("ThirdPartyNotices.txt"), "ThirdPartyNotices.txt")?;
    if platform.os == "linux" {
        // ONNX Runtime looks for it beside itself once a provider that is a library of its own is asked for.
        let shared = "libonnxruntime_providers_shared.so";
        take(package.join("capi").join(shared), shared)?;
    }
    Ok(staged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_pins_a_digest_and_names_its_version() {
        for platform in &PLATFORMS {
            assert_eq!(platform.sha256.len(), 64);
            assert!(platform.library.contains(VERSION));
        }
    }

    #[test]
    fn unknown_platform_is_told_which_exist() {
        let error = platform("macos", "x86_64").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("linux-aarch64") && error.contains("ORT_DYLIB_PATH"), "{error}");
    }
}
