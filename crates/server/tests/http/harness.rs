//! A server with models of `crates/runtime/testdata`, and clients for it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use modelwright_runtime::{LoadRequest, LoadedModel};
use modelwright_server::{BoundServer, DrainReport, ReadyModel, Registry, Server, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No test waits longer than this for anything; it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The sentence of `{"error": …}`, after checking that the answer has that form.
    pub(crate) fn error(&self) -> String {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        let body: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body.len(), 1, "{self:?}");
        body["error"].as_str().unwrap().to_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) struct TestServer {
    pub(crate) registry: Arc<Registry>,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) client: reqwest::Client,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<DrainReport>,
}

/// Ports that the system picks, and an end without a pause.
pub(crate) fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.listen.set_port(0);
    config.admin_listen.set_port(0);
    config.drain.delay = Duration::ZERO;
    config
}

/// How to load a model of the test data: one session.
pub(crate) fn load_request(name: &str) -> LoadRequest {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/testdata");
    LoadRequest { instances: NonZeroUsize::new(1), ..LoadRequest::new(folder.join(format!("{name}.onnx"))) }
}

/// Fails with the command to run if ONNX Runtime is missing.
pub(crate) fn load(request: &LoadRequest) -> ReadyModel {
    let model = LoadedModel::load(request).unwrap_or_else(|error| panic!("{error}"));
    ReadyModel::new("1", Arc::new(model))
}

pub(crate) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE)
}

impl TestServer {
    /// A server with these models, each under its file's name.
    pub(crate) async fn start(models: &[&str]) -> Self {
        Self::start_with(config(), models).await
    }

    pub(crate) async fn start_with(config: ServerConfig, models: &[&str]) -> Self {
        let registry = Arc::new(Registry::new());
        for name in models {
            registry.ready(*name, load(&load_request(name)));
        }
        let server = Server::bind(config, Arc::clone(&registry)).await.unwrap();
        Self::run(server, registry)
    }

    fn run(server: BoundServer, registry: Arc<Registry>) -> Self {
        let (data, admin) = (server.data_addr(), server.admin_addr());
        let (shutdown, told) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async move {
            // The end of the sender is the signal.
            drop(told.await);
        }));
        Self { registry, data, admin, client: client().build().unwrap(), shutdown, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.data)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        answer(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.client.post(self.url(path)).body(body)).await
    }

    pub(crate) async fn admin(&self, path: &str) -> Answer {
        self.send(self.client.get(format!("http://{}{path}", self.admin))).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.data).await.unwrap()
    }

    /// Sends bytes as they are and reads until the server closes the connection.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// Tells the server to end, and goes on.
    pub(crate) fn begin_shutdown(self) -> Ending {
        drop(self.shutdown);
        Ending { client: self.client, data: self.data, admin: self.admin, task: self.task }
    }

    pub(crate) async fn stop(self) -> DrainReport {
        self.begin_shutdown().wait().await
    }

    /// What the model is doing; it must be ready.
    pub(crate) fn load_of(&self, name: &str) -> modelwright_runtime::Load {
        match self.registry.get(name) {
            Some(modelwright_server::ModelState::Ready(ready)) => ready.model().load_now(),
            other => panic!("{name} is not ready: {other:?}"),
        }
    }
}

/// A server that was told to end.
pub(crate) struct Ending {
    pub(crate) client: reqwest::Client,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    task: JoinHandle<DrainReport>,
}

impl Ending {
    pub(crate) async fn wait(self) -> DrainReport {
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server did not end").unwrap()
    }

    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> Answer {
        answer(self.client.get(format!("http://{address}{path}")).send().await.unwrap()).await
    }
}

pub(crate) async fn answer(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// Reads until the other end closes; a reset counts as that.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    drop(read.expect("the server did not close the connection"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it never happened");
}

/// A V2 request to the model `add`.
pub(crate) const ADD: &str = r#"{"id":"7","inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]},{"name":"b","shape":[1,2],"datatype":"FP32","data":[10,20.5]}]}"#;

/// A V2 request to the model `slow` that takes so many turns of a quarter of a millisecond.
pub(crate) fn slow(turns: i64) -> String {
    format!(
        r#"{{"inputs":[{{"name":"times","shape":[1],"datatype":"INT64","data":[{turns}]}},{{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}}]}}"#
    )
}

/// More turns than anybody waits for.
pub(crate) const ENDLESS: i64 = i64::MAX;
