//! Triton without containers: a Python wheel of NVIDIA's ships the server's own program.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::{Launch, Setting, built, python, venv};
use crate::model::{FEATURES, INPUT, OUTPUT};
use crate::wire::MODEL;

const LIBRARY: built::Project = built::Project {
    name: "triton-backend-1",
    files: &[
        ("Cargo.toml", include_str!("triton_backend/Cargo.toml.in")),
        ("lib.rs", include_str!("triton_backend/lib.rs")),
    ],
    product: "libtriton_bench.so",
};

/// How Triton runs the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    /// By a library in its process, as its own backend for ONNX Runtime does, which is not in the wheel.
    InProcess,
    /// By its Python backend.
    Python,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::InProcess => "bench",
            Self::Python => "python",
        }
    }
}

pub(super) fn install(backend: Backend) -> anyhow::Result<()> {
    venv::TRITON.ensure()?;
    if backend == Backend::InProcess {
        LIBRARY.build()?;
    }
    Ok(())
}

pub(super) fn launch(backend: Backend, setting: &Setting, model: &Path) -> anyhow::Result<Launch> {
    let packages = venv::TRITON.packages()?;
    let server = packages.join("pytriton/tritonserver");
    let folder = python::folder(setting, &format!("triton-{}", backend.name()))?;
    let repository = folder.join("models");
    let version = repository.join(MODEL).join("1");
    fs::create_dir_all(&version)?;
    fs::write(repository.join(MODEL).join("config.pbtxt"), config(backend))?;
    let backends = match backend {
        Backend::Python => {
            fs::write(version.join("model.py"), include_str!("triton_model.py"))?;
            let backends = server.join("backends");
            stub(&packages, &server, &backends.join("python"))?;
            backends
        }
        Backend::InProcess => {
            let backends = folder.join("backends");
            fs::create_dir_all(backends.join("bench"))?;
            fs::copy(LIBRARY.build()?, backends.join("bench/libtriton_bench.so"))?;
            backends
        }
    };
    let mut launch = Launch::new(Command::new(server.join("bin/tritonserver")))?;
    let path = std::env::join_paths([&folder, &packages])?;
    launch
        .command
        .env("BENCH_MODEL", model.canonicalize()?)
        .env("BENCH_PYTHON_PATH", path)
        .arg("--model-repository")
        .arg(&repository)
        .arg("--backend-directory")
        .arg(backends)
        .args(["--http-address", "127.0.0.1", "--http-port", &launch.http.port().to_string()])
        .args(["--grpc-address", "127.0.0.1", "--grpc-port", &launch.grpc.port().to_string()])
        .args(["--allow-metrics", "false", "--disable-auto-complete-config", "--exit-timeout-secs", "3"]);
    Ok(launch)
}

/// Puts the program that the Python backend runs beside it, where it is looked for; the wheel has one for every Python, and each
/// needs the shared library of its own.
fn stub(packages: &Path, server: &Path, backend: &Path) -> anyhow::Result<()> {
    const STUB: &str = "triton_python_backend_stub";
    // Packages are in `lib/python3.11/site-packages`.
    let folder =
        packages.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let python = folder.trim_start_matches("python");
    let (from, to) = (server.join("python_backend_stubs").join(python).join(STUB), backend.join(STUB));
    // A program that runs cannot be written.
    if !to.is_file() {
        fs::copy(&from, &to)
            .with_context(|| format!("this Triton has nothing for Python {python}: no {}", from.display()))?;
    }
    Ok(())
}

/// Batches of up to 32 rows, put together without waiting.
fn config(backend: Backend) -> String {
    format!(
        r#"name: "{MODEL}"
backend: "{}"
max_batch_size: 32
input [ {{ name: "{INPUT}" data_type: TYPE_FP32 dims: [ {FEATURES} ] }} ]
output [ {{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [ 1 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
dynamic_batching {{ }}
"#,
        backend.name()
    )
}
