//! Peers in Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::venv::{self, Venv};
use super::{Launch, Setting};
use crate::model::{FEATURES, INPUT, OUTPUT};
use crate::wire::MODEL;

/// The model as every one of them runs it.
pub(super) const RUNTIME: &str = include_str!("runtime.py");

/// A folder for a peer's sources, made anew, with [`RUNTIME`] in it.
pub(super) fn folder(setting: &Setting, name: &str) -> anyhow::Result<PathBuf> {
    let folder = setting.work.join(name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("runtime.py"), RUNTIME)?;
    Ok(folder)
}

/// A program of an environment, in the folder, with the model in its surroundings.
fn program(venv: &Venv, name: &str, folder: &Path, model: &Path) -> anyhow::Result<Launch> {
    venv.ensure()?;
    let mut launch = Launch::new(Command::new(venv.folder()?.join("bin").join(name)))?;
    launch
        .command
        .current_dir(folder)
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("BENCH_MODEL", model.canonicalize()?)
        .env("BENCH_PORT", launch.http.port().to_string())
        // None of them is to report its use to its makers.
        .env("DO_NOT_TRACK", "1")
        .env("BENTOML_DO_NOT_TRACK", "true")
        .env("HF_HUB_OFFLINE", "1")
        .env("OTEL_SDK_DISABLED", "true");
    Ok(launch)
}

pub(super) fn mlserver(setting: &Setting, model: &Path) -> anyhow::Result<Launch> {
    let folder = folder(setting, "mlserver")?;
    let mut launch = program(&venv::MLSERVER, "mlserver", &folder, model)?;
    fs::write(folder.join("mlserver_model.py"), include_str!("mlserver_model.py"))?;
    let settings = json!({
        "host": "127.0.0.1", "http_port": launch.http.port(), "grpc_port": launch.grpc.port(),
        "metrics_endpoint": null, "parallel_workers": 0, "debug": false,
    });
    fs::write(folder.join("settings.json"), settings.to_string())?;
    let tensor =
        |name: &str, width: usize| json!([{ "name": name, "datatype": "FP32", "shape": [-1, width] }]);
    let settings = json!({
        "name": MODEL, "implementation": "mlserver_model.Bench",
        "inputs": tensor(INPUT, FEATURES), "outputs": tensor(OUTPUT, 1),
    });
    fs::write(folder.join("model-settings.json"), settings.to_string())?;
    launch.command.args(["start", "."]);
    Ok(launch)
}

pub(super) fn kserve(setting: &Setting, model: &Path) -> anyhow::Result<Launch> {
    let folder = folder(setting, "kserve")?;
    fs::write(folder.join("kserve_server.py"), include_str!("kserve_server.py"))?;
    let mut launch = program(&venv::KSERVE, "python", &folder, model)?;
    launch.command.arg("kserve_server.py");
    Ok(launch)
}

pub(super) fn litserve(setting: &Setting, model: &Path) -> anyhow::Result<Launch> {
    let folder = folder(setting, "litserve")?;
    fs::write(folder.join("litserve_server.py"), include_str!("litserve_server.py"))?;
    let mut launch = program(&venv::LITSERVE, "python", &folder, model)?;
    launch.command.arg("litserve_server.py");
    Ok(launch)
}

pub(super) fn bentoml(setting: &Setting, model: &Path) -> anyhow::Result<Launch> {
    let folder = folder(setting, "bentoml")?;
    fs::write(folder.join("bentoml_service.py"), include_str!("bentoml_service.py"))?;
    let mut launch = program(&venv::BENTOML, "bentoml", &folder, model)?;
    let port = launch.http.port().to_string();
    launch.command.env("BENTOML_HOME", folder.join("home")).args([
        "serve",
        "bentoml_service:Bench",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ]);
    Ok(launch)
}
