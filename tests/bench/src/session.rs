//! ONNX Runtime without anything around it: for the raw run and for the naive server.

use std::path::Path;

use anyhow::Context as _;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;

use crate::model::FEATURES;

/// How a session uses threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One thread that never spins.
    One,
    /// What ONNX Runtime does if nobody says anything: a thread per core, spinning.
    Default,
}

/// Loads the library that the environment names.
pub(crate) fn load_library() -> anyhow::Result<Environment> {
    let path = std::env::var_os("ORT_DYLIB_PATH")
        .context("ORT_DYLIB_PATH does not name ONNX Runtime's library; `cargo xtask bench server` sets it")?;
    let path = Path::new(&path);
    let environment = ort::init_from(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    environment.with_telemetry(false).build().map_err(|error| anyhow::anyhow!("ONNX Runtime: {error}"))
}

pub(crate) fn open(environment: &Environment, model: &Path, threads: Threads) -> anyhow::Result<Session> {
    let builder = Session::builder(environment);
    let builder = match threads {
        Threads::Default => builder,
        Threads::One => builder
            .and_then(|builder| Ok(builder.with_intra_threads(1)?))
            .and_then(|builder| Ok(builder.with_intra_op_spinning(false)?)),
    };
    let opened = builder.and_then(|mut builder| builder.commit_from_file(model));
    opened.map_err(|error| anyhow::anyhow!("cannot open {}: {error}", model.display()))
}

/// Runs rows of [`FEATURES`] numbers; one prediction for each.
pub(crate) fn predict(session: &mut Session, rows: &[f32]) -> anyhow::Result<Vec<f32>> {
    let run = || -> ort::Result<Vec<f32>> {
        let input = TensorRef::from_array_view(([rows.len() / FEATURES, FEATURES], rows))?;
        let outputs = session.run(ort::inputs![input])?;
        let (_, numbers) = outputs[0].try_extract_tensor::<f32>()?;
        Ok(numbers.to_vec())
    };
    let mut run = run;
    run().map_err(|error| anyhow::anyhow!("the model failed: {error}"))
}
