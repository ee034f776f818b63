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
//! * `route`, `data`, `infer`, `body`, `memory`, `workers`, `answer`: from a request on the data port to its answer.
//! * `admin`, `metrics`, `coldstart`: the admin port, on a thread of its own so that work cannot starve probes.
#![forbid(unsafe_code)]

mod admin;
mod answer;
mod body;
mod coldstart;
pub mod config;
mod connection;
mod data;
pub mod error;
mod infer;
mod memory;
mod metrics;
mod phase;
pub mod registry;
mod route;
pub mod server;
mod workers;

pub use config::{Bounds, Drain, ServerConfig};
pub use error::Error;
pub use registry::{ModelState, ReadyModel, Registry};
pub use server::{BoundServer, DrainReport, Server};
