//! The API of Modelwright: the `Model` resource, the rules it must keep, and the contract between the system's parts.
//!
//! Everything here is pure: no input or output, no clock, no environment, no async. The same types, rules and messages
//! serve the Kubernetes API server (through the generated CRD), `modelwright run` on one machine, and the operator.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`model`], [`serving`], [`rollout`], [`training`] | What can a user write? |
//! | [`status`], [`conditions`] | What does the system answer, and which words does it use? |
//! | [`free_form`] | How are parts held whose form is Kubernetes' own? |
//! | [`quantity`], [`duration`] | How are Kubernetes quantities and durations read? |
//! | [`rules`] | Which combinations are refused, and with which sentence? |
//! | [`crd`] | What does the API server get? |
//! | [`defaults`] | What holds where a manifest says nothing? |
//! | [`manifest`] | Is this text a list of Models, and if not, what is wrong with it? |
//! | [`contract`] | Which names, ports, labels, paths and exit codes do two parts share? |
//! | [`outcome`] | How does a command that ran in a pod say what came of it? |
#![forbid(unsafe_code)]

pub mod conditions;
pub mod contract;
pub mod crd;
pub mod defaults;
pub mod duration;
pub mod free_form;
pub mod manifest;
pub mod model;
pub mod outcome;
pub mod quantity;
pub mod rollout;
pub mod rules;
pub mod serving;
pub mod status;
pub mod training;

pub use contract::ExitCode;
pub use manifest::{Problem, Problems, parse, parse_for};
pub use model::{Model, ModelSpec};
pub use outcome::Outcome;
pub use quantity::Quantity;
pub use rules::Scope;
pub use serving::ExecutionProvider;
pub use status::ModelStatus;
