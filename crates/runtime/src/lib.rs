//! ONNX Runtime behind a safe, bounded interface: find and load the library, open models, run them on lanes.
//!
//! * [`library`]: where the shared library comes from and which version it is. Nothing else here works before
//!   [`Library::load`] has succeeded, and everything that needs it calls that itself.
//! * [`session`]: one opened model that one thread runs; options, execution providers, the model's
//!   [`Signature`](modelwright_protocol::Signature).
//! * [`lane`]: how requests reach sessions without waiting for a lock; the rules that bound what may wait.
//! * [`batch`]: how requests share a run.
//! * [`model`]: a model that is loaded, warmed up and ready to answer.
//! * [`cpus`], [`memory`]: how many processors and how much memory the process may use.
//!
//! The crate knows neither HTTP nor where models come from.

pub mod batch;
pub mod cpus;
pub mod error;
pub mod lane;
pub mod library;
pub mod memory;
pub mod model;
mod rejection;
mod run;
pub mod session;
pub mod telemetry;
mod values;
mod warmup;

pub use batch::{Batching, BatchingRequest, Fit};
pub use error::{Error, ErrorClass};
pub use lane::{LaneChoice, LaneKind, Load, Priority, QueueBounds, SubmitOptions};
pub use library::Library;
pub use model::{LoadReport, LoadRequest, LoadedModel, Outcome, Weights};
pub use run::{Run, Runs};
pub use session::{
    ConvolutionSearch, ExecutionProvider, GraphOptimization, ResourceOptions, Session, SessionOptions,
};
pub use warmup::WarmUp;
