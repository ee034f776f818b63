//! furnace-server around ONNX Runtime: the server runs no model itself, and this is the model it is given.

use std::sync::{Mutex, PoisonError};

use furnace::{HostTensor, IoSpec, Model, Server, TensorModel, Values};
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;

const FEATURES: usize = 1000;
/// As many as furnace runs at the same time by default.
const SESSIONS: usize = 4;

struct Bench {
    _environment: Environment,
    idle: Mutex<Vec<Session>>,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Bench")
    }
}

impl TensorModel for Bench {
    fn name(&self) -> &str {
        "bench"
    }

    fn backend(&self) -> &str {
        "onnxruntime"
    }

    fn inputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::fp32("input", &[FEATURES])]
    }

    fn outputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::fp32("output", &[1])]
    }

    fn run(&self, inputs: Vec<HostTensor>) -> furnace::Result<Vec<HostTensor>> {
        let Values::F32(rows) = &inputs[0].values else { unreachable!("checked by the server") };
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = idle().pop().expect("a session for each worker");
        let input = TensorRef::from_array_view(([rows.len() / FEATURES, FEATURES], rows.as_slice())).expect("whole rows");
        let predictions = {
            let outputs = session.run(ort::inputs![input]).expect("the model runs");
            outputs[0].try_extract_tensor::<f32>().expect("an FP32 output").1.to_vec()
        };
        idle().push(session);
        Ok(vec![HostTensor { shape: vec![predictions.len(), 1], values: Values::F32(predictions) }])
    }
}

fn open() -> ort::Result<Bench> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let environment = ort::init_from(variable("ORT_DYLIB_PATH")).map_err(ort::Error::wrap)?.with_telemetry(false).build()?;
    let session = || -> ort::Result<Session> {
        Session::builder(&environment)?
            .with_intra_threads(1)?
            .with_intra_op_spinning(false)?
            .commit_from_file(variable("BENCH_MODEL"))
    };
    let idle = (0..SESSIONS).map(|_| session()).collect::<ort::Result<Vec<_>>>()?;
    Ok(Bench { idle: Mutex::new(idle), _environment: environment })
}

#[tokio::main]
async fn main() {
    let port = |name: &str| std::env::var(name).ok().and_then(|port| port.parse().ok()).expect("a port");
    Server::new()
        .host("127.0.0.1")
        .port(port("BENCH_PORT"))
        .max_batch_size(32)
        .configure(|config| config.grpc_port = Some(port("BENCH_GRPC_PORT")))
        .model(Model::custom(open().expect("the sessions open")))
        .serve()
        .await
        .expect("the server serves");
}
