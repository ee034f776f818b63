//! Why CUDA cannot be had. Looked into only once ONNX Runtime has refused it: its own messages name an error code where
//! somebody must know whether to change the image, the driver or the node.

use std::path::Path;

use crate::library::loader_message;

/// The part of ONNX Runtime that computes on CUDA, beside the library itself.
const PROVIDER: &str = "libonnxruntime_providers_cuda.so";
/// The interface of NVIDIA's driver.
const DRIVER: &str = "libcuda.so.1";

/// What the machine offers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Findings {
    /// Whether [`PROVIDER`] is beside the library.
    provider: bool,
    /// Why [`DRIVER`] cannot be loaded, or what it says of the devices.
    driver: Result<Devices, String>,
    /// Why [`PROVIDER`] cannot be loaded: a library of CUDA or cuDNN that it needs.
    libraries: Result<(), String>,
}

/// What the driver says of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Devices {
    Count(i32),
    /// `cuInit` or `cuDeviceGetCount` gave this code.
    Failed(i32),
}

/// Says what is missing, and repeats what ONNX Runtime said.
pub(super) fn why_not(library: &Path, said: &str) -> String {
    let provider = library.with_file_name(PROVIDER);
    let findings = Findings {
        provider: provider.is_file(),
        driver: devices(),
        libraries: if provider.is_file() { loadable(&provider) } else { Ok(()) },
    };
    explain(&findings, library, said)
}

fn explain(findings: &Findings, library: &Path, said: &str) -> String {
    let library = library.display();
    match findings {
        Findings { provider: false, .. } => format!(
            "{library} is a build for the CPU: {PROVIDER} is not beside it; use the image for CUDA, or the library of the \
             Python package onnxruntime-gpu"
        ),
        Findings { driver: Err(error), .. } => format!(
            "the NVIDIA driver is missing: {DRIVER} cannot be loaded ({error}); the node needs the driver, and the container a \
             GPU (in a cluster: NVIDIA's device plugin and the resource nvidia.com/gpu)"
        ),
        Findings { libraries: Err(error), .. } => {
            format!(
                "a library of CUDA or cuDNN is missing ({error}); use the image for CUDA, which has them all"
            )
        }
        Findings { driver: Ok(Devices::Failed(code)), .. } => format!(
            "the NVIDIA driver finds no usable device (CUDA error {code}); request a GPU for the container \
             (nvidia.com/gpu), and see that the driver is as new as the CUDA libraries"
        ),
        Findings { driver: Ok(Devices::Count(count)), .. } if *count < 1 => {
            "the NVIDIA driver sees no device; request a GPU for the container (nvidia.com/gpu)".to_owned()
        }
        Findings { driver: Ok(Devices::Count(count)), .. } => {
            format!("driver, libraries and {count} device(s) are there, but ONNX Runtime says: {said}")
        }
    }
}

/// Asks the driver how many devices there are.
#[expect(unsafe_code, reason = "the driver is a shared library with a C interface")]
fn devices() -> Result<Devices, String> {
    // SAFETY: loading runs the initialisers of NVIDIA's driver, which ONNX Runtime was asked to do just before.
    let driver = unsafe { libloading::Library::new(DRIVER) }.map_err(|error| loader_message(&error))?;
    let count = || -> Result<Devices, libloading::Error> {
        // SAFETY: `CUresult cuInit(unsigned int)` and `CUresult cuDeviceGetCount(int *)` since CUDA 2 (`cuda.h`).
        let init = unsafe { driver.get::<unsafe extern "C" fn(u32) -> i32>(b"cuInit\0") }?;
        // SAFETY: as above.
        let get_count =
            unsafe { driver.get::<unsafe extern "C" fn(*mut i32) -> i32>(b"cuDeviceGetCount\0") }?;
        let mut count = 0;
        // SAFETY: the flags must be 0, and the pointer is that of a living integer.
        let code = unsafe {
            match init(0) {
                0 => get_count(&raw mut count),
                code => code,
            }
        };
        Ok(if code == 0 { Devices::Count(count) } else { Devices::Failed(code) })
    };
    count().map_err(|error| loader_message(&error))
}

/// Whether everything that the provider needs can be loaded; the error names what cannot.
#[expect(unsafe_code, reason = "only loading a library tells what it lacks")]
fn loadable(provider: &Path) -> Result<(), String> {
    // SAFETY: loading runs initialisers of ONNX Runtime's provider, which ONNX Runtime was asked to do just before.
    match unsafe { libloading::Library::new(provider) }.map_err(|error| loader_message(&error)) {
        // It asks its host for symbols, which only ONNX Runtime itself gives it; its libraries were found by then.
        Err(error) if !error.contains("undefined symbol") => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(false, Err("x"), Ok(()), "build for the CPU")]
    #[case(true, Err("libcuda.so.1: cannot open shared object file"), Ok(()), "driver is missing: libcuda.so.1")]
    #[case(true, Ok(Devices::Count(1)), Err("libcudnn.so.9: cannot open"), "(libcudnn.so.9: cannot open)")]
    #[case(true, Ok(Devices::Failed(100)), Ok(()), "no usable device (CUDA error 100)")]
    #[case(true, Ok(Devices::Count(0)), Ok(()), "sees no device")]
    #[case(true, Ok(Devices::Count(1)), Ok(()), "ONNX Runtime says: refused")]
    fn what_is_missing_is_named(
        #[case] provider: bool,
        #[case] driver: Result<Devices, &str>,
        #[case] libraries: Result<(), &str>,
        #[case] names: &str,
    ) {
        let findings = Findings {
            provider,
            driver: driver.map_err(str::to_owned),
            libraries: libraries.map_err(str::to_owned),
        };
        let text = explain(&findings, Path::new("/opt/libonnxruntime.so"), "refused");
        assert!(text.contains(names), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_that_cannot_be_loaded_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PROVIDER);
        std::fs::write(&path, b"hello").unwrap();
        assert!(loadable(&path).unwrap_err().contains(PROVIDER));
    }
}
