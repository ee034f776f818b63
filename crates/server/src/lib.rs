//! The inference server: models behind the Open Inference Protocol, health, metrics and an orderly end.
//!
//! A caller declares models in a [`Registry`], binds two ports with [`Server::bind`] and runs the result until its
//! shutdown future completes:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use modelwright_runtime::{LoadRequest, LoadedModel};
//! use modelwright_server::{ReadyModel, Registry, Server, ServerConfig};
//!
//! let registry = Arc::new(Registry::new());
//! registry.loading("add");
//! let server = Server::bind(ServerConfig::default(), Arc::clone(&registry)).await?;
//! let model = LoadedModel::load(&LoadRequest::new("add.onnx"))?;
//! registry.ready("add", ReadyModel::new("1", Arc::new(model)));
//! println!("listening on {}", server.data_addr());
//! let report = server.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
//! # drop(report);
//! # Ok(())
//! # }
//! ```
//!
//! * [`registry`]: which models there are, and swapping one without a pause.
//! * [`server`](mod@server): binding, accepting, draining.
//! * [`access`]: who may send requests, and TLS.
//! * [`control`]: loading models again and taking them out of service, on request.
//! * `threads`, `acceptor`, `connection`: the I/O threads of the data port and the connections that they are dealt.
//! * `route`, `data`, `infer`, `explain`, `body`, `memory`, `workers`, `compress`, `answer`, `access_log`: from a request on the
//!   data port to its answer.
//! * `grpc`: the same for gRPC, on the same port.
//! * `counters`, `sharded`, `label`, `documents`: what is counted of each model, and who asks for it.
//! * `trace`, `payload_log`, `observe`, `outbound`: traces of requests and the log of payloads, which leave on threads of their own.
//! * `admin`, `metrics`, `coldstart`, `load`: the admin port, on a thread of its own so that work cannot starve probes.
#![forbid(unsafe_code)]

mod acceptor;
pub mod access;
mod access_log;
mod admin;
mod answer;
mod body;
mod coldstart;
mod compress;
pub mod config;
mod connection;
pub mod control;
mod counters;
mod data;
mod documents;
pub mod error;
mod explain;
mod grpc;
mod infer;
mod label;
mod load;
mod local_models;
mod memory;
mod metrics;
mod observe;
mod outbound;
pub mod payload_log;
mod phase;
pub mod registry;
mod route;
pub mod server;
mod sharded;
mod threads;
mod ticks;
pub mod trace;
mod workers;

pub use access::{Access, AccessConfig, AccessError, ClientLimits, Documents, Fetching, JwtConfig};
pub use config::{Bounds, Drain, ServerConfig};
pub use control::{ControlError, ModelControl};
pub use error::Error;
pub use outbound::{Poster, Posting};
pub use payload_log::{PayloadLog, PayloadLogConfig, PayloadLogError, PayloadMode, PayloadSink};
pub use registry::{ModelState, ReadyModel, Registry};
pub use server::{BoundServer, DrainReport, Server};
pub use trace::{TraceConfig, TraceConfigError, Tracer};
