//! `modelwright check-installation`: whether an installed operator turns a Model into an endpoint. `helm test` runs it as a
//! pod.
//!
//! It serves a tiny model from its own pod, so that it needs neither a bucket nor a way out of the cluster.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode as ProcessExit;
use std::time::{Duration, Instant};

use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, ETAG};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::api::{Api, DeleteParams, PostParams};
use modelwright_api::conditions::ConditionType;
use modelwright_api::contract::ExitCode;
use modelwright_api::{Model, ModelSpec, duration};
use modelwright_operator::client;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::failure::Failure;

/// The Model's name.
const NAME: &str = "modelwright-check";
/// `sum = a + b`, for matrices of two columns.
const MODEL: &[u8] = include_bytes!("../../assets/add.onnx");
/// Where the pod offers the model.
const PORT: u16 = 8000;
/// Between two looks at the Model.
const PAUSE: Duration = Duration::from_millis(500);

/// Check an installation: let the operator serve a tiny model, and make a prediction.
///
/// Runs as a pod, because the model comes from the pod itself. `helm test` does it.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The namespace in which the Model is made and, if all goes well, deleted again.
    #[arg(long)]
    namespace: String,
    /// How long it may take, such as 180s.
    #[arg(long, default_value = "180s", value_parser = parse_timeout)]
    timeout: Duration,
    /// The address of this pod, from which the operator's pods fetch the model.
    #[arg(long, env = "MODELWRIGHT_POD_IP", value_name = "IP")]
    pod_ip: IpAddr,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Runs it.
pub(crate) fn run(arguments: &CheckArguments) -> ProcessExit {
    client::choose_cryptography();
    let exit = match crate::steps::block_on(check(arguments)) {
        Ok(()) => ExitCode::Done,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            failure.exit
        }
    };
    exit.number().into()
}

async fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let started = Instant::now();
    // By its own address, since there may be only IPv6.
    let listener = TcpListener::bind((arguments.pod_ip, PORT)).await.map_err(|error| {
        Failure::new(
            ExitCode::InvalidConfiguration,
            "CannotListen",
            format!("cannot listen on {PORT}: {error}"),
        )
    })?;
    let offering = tokio::spawn(offer(listener));
    let config = client::config(None).await.map_err(|error| no_cluster(&error))?;
    let kube = kube::Client::try_from(config).map_err(|error| no_cluster(&error))?;
    let models: Api<Model> = Api::namespaced(kube, &arguments.namespace);
    let result = tokio::time::timeout(arguments.timeout, predict(&models, arguments, started)).await;
    offering.abort();
    result.map_err(|_| {
        refuse(format!(
            "the Model {NAME} in {} did not answer within {} s; look at it: kubectl describe mdl {NAME} --namespace {0}",
            arguments.namespace,
            arguments.timeout.as_secs()
        ))
    })?
}

async fn predict(models: &Api<Model>, arguments: &CheckArguments, started: Instant) -> Result<(), Failure> {
    create(models, arguments).await?;
    say(started, &format!("made the Model {NAME} in {}", arguments.namespace));
    wait(models, started).await?;
    let url = format!("http://{NAME}.{}.svc/v2/models/{NAME}/infer", arguments.namespace);
    ask(&url, started).await?;
    models.delete(NAME, &DeleteParams::background()).await.map_err(|error| refuse(error.to_string()))?;
    say(started, "the prediction is right; the Model is deleted");
    Ok(())
}

/// Makes the Model. One that an earlier check left is replaced.
async fn create(models: &Api<Model>, arguments: &CheckArguments) -> Result<(), Failure> {
    let address = SocketAddr::new(arguments.pod_ip, PORT);
    let spec: ModelSpec =
        serde_json::from_value(json!({"source": {"uri": format!("http://{address}/add.onnx")}}))
            .map_err(|error| Failure::bug(error.to_string()))?;
    let mut model = Model::new(NAME, spec);
    model.metadata.namespace = Some(arguments.namespace.clone());
    loop {
        match models.create(&PostParams::default(), &model).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // It may be gone in this moment.
                let _ = models.delete(NAME, &DeleteParams::background()).await;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(refuse(format!("cannot make the Model: {error}"))),
        }
    }
}

/// Waits until the Model is ready, and says what it says meanwhile.
async fn wait(models: &Api<Model>, started: Instant) -> Result<(), Failure> {
    let mut said = String::new();
    loop {
        let model = models.get(NAME).await.map_err(|error| refuse(error.to_string()))?;
        if let Some(ready) = model.condition(ConditionType::Ready) {
            let words = format!("{}: {}", ready.reason, ready.message);
            if words != said {
                say(started, &words);
                said = words;
            }
        }
        if model.holds(ConditionType::Ready) {
            return Ok(());
        }
        if model.holds(ConditionType::Stalled) {
            return Err(refuse(format!("the Model is stalled: {said}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes one prediction. The name of a Service that is new may be unknown for a moment.
async fn ask(url: &str, started: Instant) -> Result<(), Failure> {
    let tensor =
        |name: &str, data: [f32; 2]| json!({"name": name, "datatype": "FP32", "shape": [1, 2], "data": data});
    let request = json!({"inputs": [tensor("a", [1.0, 2.0]), tensor("b", [10.0, 20.0])]}).to_string();
    let client = reqwest::Client::new();
    let answer = loop {
        match client.post(url).body(request.clone()).send().await {
            Ok(answer) => break answer,
            Err(error) => {
                say(started, &format!("{url}: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    let status = answer.status();
    let text = answer.text().await.map_err(|error| refuse(format!("{url}: {error}")))?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if status.is_success() && body["outputs"][0]["data"] == json!([11.0, 22.0]) {
        return Ok(());
    }
    Err(refuse(format!("{url} answered {status}: {}", text.chars().take(300).collect::<String>())))
}

/// Offers the model to whoever asks, until it is told to stop.
async fn offer(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = service_fn(|request| std::future::ready(Ok::<_, hyper::Error>(give(&request))));
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

fn give(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    match *request.method() {
        Method::GET => *response.body_mut() = Full::new(Bytes::from_static(MODEL)),
        Method::HEAD => {
            response.headers_mut().insert(CONTENT_LENGTH, MODEL.len().into());
        }
        _ => *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED,
    }
    response.headers_mut().insert(ETAG, hyper::header::HeaderValue::from_static("\"1\""));
    response
}

fn say(started: Instant, words: &str) {
    println!("{:5.1} s  {words}", started.elapsed().as_secs_f64());
}

fn refuse(message: impl Into<String>) -> Failure {
    Failure::new(ExitCode::Refused, "InstallationBroken", message)
}

fn no_cluster(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ExitCode::InvalidConfiguration, "NoCluster", format!("this must run as a pod: {error}"))
}
